"""Draws a run's plots into its folder; `report` shows them in the model card with the captions returned here."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # Without pyplot: needs no display and shares no state with the caller.
from sklearn.metrics import precision_recall_curve

from logmoe import LogMoEConfig
from logmoe.training.metrics import reliability
from logmoe.training.run_folder import EXPERT_LOAD_PLOT, PRECISION_RECALL_PLOT, RELIABILITY_PLOT, TRAINING_PLOT

CAPTIONS = {
    TRAINING_PLOT: "Loss, and F1 on validation data at the threshold 0.5, over steps.",
    PRECISION_RECALL_PLOT: "Precision and recall over all thresholds.",
    RELIABILITY_PLOT: "Share of anomalies among logs of like score: on the diagonal a score is a probability.",
    EXPERT_LOAD_PLOT: "Share of the kept (entry, expert) pairs of a layer that went to each expert, last logged.",
}


def draw_plots(
    folder: Path,
    history: list[dict[str, float]],
    first_top_p_step: int,
    measured: dict[str, tuple[np.ndarray, np.ndarray]],
    config: LogMoEConfig,
) -> dict[str, str]:
    """Draws every plot there are data for, and returns the caption of each file.

    Args:
        folder: where the PNG files go.
        history: the Trainer's log.
        first_top_p_step: where phase 2 starts.
        measured: labels and probabilities of anomaly, both `(logs,)`, of each split but training.
        config: has the threshold and the numbers of layers and experts.
    """
    figures = {
        TRAINING_PLOT: _training(history, first_top_p_step),
        PRECISION_RECALL_PLOT: _precision_recall(measured, config.anomaly_threshold) if measured else None,
        RELIABILITY_PLOT: _reliability(measured) if measured else None,
        EXPERT_LOAD_PLOT: _expert_load(history, config),
    }
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=100, bbox_inches="tight")
    return {name: CAPTIONS[name] for name in drawn}


def _training(history: list[dict[str, float]], first_top_p_step: int) -> Figure | None:
    losses = [(row["step"], row["loss"]) for row in history if "loss" in row]
    if not losses:
        return None
    figure = Figure(figsize=(7, 4))
    axis = figure.subplots()
    axis.plot(*zip(*losses, strict=True), label="training loss", color="tab:blue")
    evaluations = [row for row in history if "eval_f1" in row]
    if evaluations:
        steps = [row["step"] for row in evaluations]
        axis.plot(steps, [row["eval_loss"] for row in evaluations], "o-", label="validation loss", color="tab:cyan")
        f1_axis = axis.twinx()
        f1_axis.plot(steps, [row["eval_f1"] for row in evaluations], "s-", color="tab:orange")
        f1_axis.set_ylabel("validation F1 at 0.5", color="tab:orange")
        f1_axis.set_ylim(0, 1.02)
    axis.axvline(first_top_p_step, color="grey", linestyle="--", label="dense | Top-P")
    axis.set(xlabel="step", ylabel="loss", yscale="log")
    axis.legend(loc="upper center")
    return figure


def _precision_recall(measured: dict[str, tuple[np.ndarray, np.ndarray]], threshold: float) -> Figure:
    figure = Figure(figsize=(5, 4.5))
    axis = figure.subplots()
    for name, (labels, scores) in measured.items():
        precision, recall, _ = precision_recall_curve(labels, scores)
        (line,) = axis.plot(recall, precision, label=name)
        found = scores >= threshold
        if found.any():  # The dot is the fitted threshold.
            axis.plot(found[labels == 1].mean(), labels[found].mean(), "o", color=line.get_color())
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.legend()
    return figure


def _reliability(measured: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    figure = Figure(figsize=(5, 4.5))
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="grey", linestyle="--")
    for name, (labels, scores) in measured.items():
        mean_score, anomaly_rate, _ = reliability(labels, scores)
        axis.plot(mean_score, anomaly_rate, "o-", label=name)
    axis.set(xlabel="score (probability of anomaly)", ylabel="share of anomalies")
    axis.legend()
    return figure


def _expert_load(history: list[dict[str, float]], config: LogMoEConfig) -> Figure | None:
    last = next((row for row in reversed(history) if "expert_load/layer_0_expert_0" in row), None)
    if last is None:
        return None
    load = np.empty((config.num_hidden_layers, config.num_experts))
    for layer, expert in np.ndindex(load.shape):
        load[layer, expert] = last[f"expert_load/layer_{layer}_expert_{expert}"]
    figure = Figure(figsize=(1.5 + 0.8 * load.shape[1], 1.2 + 0.5 * load.shape[0]))
    axis = figure.subplots()
    axis.imshow(load, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (layer, expert), share in np.ndenumerate(load):
        color = "black" if share < 0.6 else "white"
        axis.text(expert, layer, f"{share:.2f}", ha="center", va="center", color=color)
    axis.set(xlabel="expert", ylabel="layer", xticks=range(load.shape[1]), yticks=range(load.shape[0]))
    return figure
