"""Draws the plots of `docs/results.md`, as SVG that stays the same for the same numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure  # without pyplot: needs no display

Result = Mapping[str, Any]
KINDS = ("earlier", "twin", "both", "self")


def _recordings(result: Result) -> Figure:
    """AUROC of each detector, by what is judged against."""
    kinds = {kind: of for kind, of in result["judged_against"].items() if kind in KINDS}
    first = next(iter(kinds.values()))["detectors"]
    names = sorted(first, key=lambda name: first[name]["auroc"][0] or 0)
    figure = Figure(figsize=(7, 0.3 * len(names) + 1))
    axis = figure.subplots()
    for place, (kind, of) in enumerate(kinds.items()):
        there = [(row, of["detectors"][name]["auroc"]) for row, name in enumerate(names) if name in of["detectors"]]
        axis.errorbar(
            [value[0] for _, value in there],
            [row + 0.15 * (place - 1.5) for row, _ in there],
            xerr=[value[1] or 0.0 for _, value in there],
            fmt="o",
            markersize=4,
            label=kind,
        )
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel("AUROC of windows, mean over services; ± over draws")
    axis.axvline(0.5, color="grey", linewidth=0.5)
    axis.legend(fontsize=8)
    return figure


def _amount(result: Result) -> Figure:
    """AUROC and recall by how much healthy log there is, and how dirty it is."""
    figure = Figure(figsize=(7, 3))
    left, right = figure.subplots(1, 2)
    for axis, question, label, scale in (
        (left, "size", "entries of the reference", "log"),
        (right, "dirt", "share of its entries that faults caused", "linear"),
    ):
        rows = result.get(question, [])
        places = [row["entries"][0] if question == "size" else row["value"] for row in rows]
        for name in ("auroc", "recall"):
            axis.plot(places, [row[name][0] for row in rows], "o-", label={"auroc": "AUROC"}.get(name, name))
        axis.set_xscale(scale)
        axis.set_xlabel(label, fontsize=8)
        axis.legend(fontsize=8)
    return figure


def _experts(result: Result) -> Figure:
    """Share of entries that keep each expert."""
    layers = result["layers"]
    figure = Figure(figsize=(7, 3))
    for place, (axis, layer) in enumerate(zip(figure.subplots(1, len(layers)), layers, strict=True)):
        rows = [(value, kept) for of in layer["by"].values() for value, kept in of["shares"].items()]
        image = axis.imshow([kept for _, kept in rows], vmin=0, vmax=1, aspect="auto", cmap="viridis")
        axis.set_yticks(range(len(rows)), [value for value, _ in rows], fontsize=7)
        axis.set_xticks(range(len(layer["kept"])), range(1, len(layer["kept"]) + 1), fontsize=7)
        axis.set_xlabel(f"expert of layer {place + 1}", fontsize=8)
        figure.colorbar(image, ax=axis)
    figure.tight_layout()
    return figure


DRAWN: dict[str, Callable[[Result], Figure]] = {"recordings": _recordings, "amount": _amount, "experts": _experts}


def draw(name: str, result: Result, path: Path) -> None:
    """Draws the plot of a part into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "accuracy", "font.family": "sans-serif"}):
        DRAWN[name](result).savefig(path, bbox_inches="tight", metadata={"Date": None})
