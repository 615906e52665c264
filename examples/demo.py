"""Judges the log of a web server that the built-in model has never seen, twice: `make demo`.

First against a healthy log of the same server, then with nothing but the log itself. Beside each finding stands what
was really injected, of which the model knows nothing.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import Any

from demo_logs import FAULTS, FAULTY, HEALTHY, faulty_lines

from logmoe.answering import heading, rarity, summary, telling
from logmoe.console import visible
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline, run_examples

SHOWN = 5
WIDTH = shutil.get_terminal_size((150, 24)).columns


def demo(model: str) -> int:
    pipe = load_pipeline(model)
    rows = faulty_lines()
    # Of each line the fault that caused it.
    causes = [row["fault"] if row["label"] else None for row in rows]

    print(f"{FAULTY.name}: {len(rows):,} lines of an Apache web server, a service that the model has never seen.")
    print("Injected into it, unknown to the model:")
    for fault, what in FAULTS.items():
        lines = [number for number, cause in enumerate(causes, 1) if cause == fault]
        print(f"  lines {f'{lines[0]}-{lines[-1]}':<10} {what}")

    found = {}
    for title, reference in (
        ("With a healthy log", pipe.fit(HEALTHY)),
        ("With nothing but the log itself", None),
    ):
        scan = pipe.scan(FAULTY, reference=reference)
        sequences = list(scan)
        anomalies = [sequence for sequence in sequences if sequence["label"] == "anomaly"]
        found[title] = [causes_of(sequence, causes) for sequence in anomalies]
        print(f"\n{title}: {heading(scan, HEALTHY.name)}")
        stretches = sorted(neighbours(anomalies), key=lambda stretch: -strongest(stretch)["logits"][1])
        for stretch in sorted(stretches[:SHOWN], key=lambda stretch: stretch[0]["first_line"]):
            show(stretch, causes)
        if len(stretches) > SHOWN:
            print(f"\n  … and {len(stretches) - SHOWN} weaker")
        print(f"\n  {summary(scan)}")

    print("\nWhat it found of what was injected:\n")
    everything = [causes_of(sequence, causes) for sequence in sequences]
    print(f"  {'':30}" + "".join(f"{title:>34}" for title in found))
    for fault in FAULTS:
        print_row(fault, found, everything, lambda of, fault=fault: fault in of)
    print_row("nothing, yet called odd", found, everything, lambda of: not of)

    print("\nThe original guide's four examples, too short to have habits, judged by their wording:")
    return run_examples(model)


def print_row(
    name: str, found: dict[str, list[set[str]]], everything: list[set[str]], counts: Callable[[set[str]], bool]
) -> None:
    """One row of the table: how many of the sequences that count were found, each way."""
    total = sum(map(counts, everything))
    cells = [f"{sum(map(counts, of))} of {total} sequences" for of in found.values()]
    print(f"  {name:30}" + "".join(f"{cell:>34}" for cell in cells))


def causes_of(sequence: dict[str, Any], causes: list[str | None]) -> set[str]:
    """The faults that caused a line of a sequence."""
    return {cause for cause in causes[sequence["first_line"] - 1 : sequence["last_line"]] if cause}


def neighbours(sequences: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Sequences, those that follow each other together."""
    stretches: list[list[dict[str, Any]]] = []
    for sequence in sequences:
        if stretches and sequence["first_line"] <= stretches[-1][-1]["last_line"] + 1:
            stretches[-1].append(sequence)
        else:
            stretches.append([sequence])
    return stretches


def strongest(stretch: list[dict[str, Any]]) -> dict[str, Any]:
    return max(stretch, key=lambda sequence: sequence["logits"][1])


def show(stretch: list[dict[str, Any]], causes: list[str | None]) -> None:
    """Prints a stretch: where, how rare, why, its most telling entries, and what really happened there."""
    worst = strongest(stretch)
    rare = "" if worst["healthy_rarity"] is None else f", {rarity(worst['healthy_rarity'])}"
    really = " and ".join(sorted(set().union(*(causes_of(sequence, causes) for sequence in stretch)))) or "nothing"
    print(f"\n  lines {stretch[0]['first_line']}-{stretch[-1]['last_line']}{rare}  [injected: {really}]")
    for reason in [reason["text"] for reason in worst["reasons"] if reason.get("text")][:2]:
        print(f"    {visible(reason)[: WIDTH - 4]}")
    for entry in telling(worst, 2):
        text = visible(entry["text"].split("\n", 1)[0].expandtabs())
        print(f"  {entry['line']:>6} {entry['score']:+6.2f}  {text[: WIDTH - 17]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT, help="checkpoint (default: built in)")
    sys.exit(demo(parser.parse_args().model))
