"""Measure recordings: the figures of recordings/README.md, as Markdown tables."""

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recordings.harness import ORDINARY, intervals_path

SEVERITY = re.compile(r"\b(WARNING|ERROR|FATAL|PANIC):")
WINDOW = 32  # entries

_PREFIX = re.compile(r"^\S+ \S+ UTC \[\d+\].*? (?=[A-Z][A-Z0-9]+:  )")
_VARIABLE = re.compile(r"\"[^\"]*\"|'[^']*'|(?<=user=)\S+|(?<=database=)\S+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+(\.\d+)*")

Row = dict[str, Any]


def template(line: str) -> str:
    """The constant part of a line: without prefix, names and numbers."""
    return _VARIABLE.sub("*", _PREFIX.sub("", line))


def f1(pairs: Iterable[tuple[bool, bool]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of (predicted, true) pairs; 0 where undefined."""
    counts = Counter(pairs)
    hits, alarms, missed = counts[True, True], counts[True, False], counts[False, True]
    precision = hits / (hits + alarms) if hits + alarms else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0


def entries_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Lines grouped into entries: an indented line continues the one above it."""
    entries: list[list[Row]] = []
    for row in rows:
        if row["line"][:1] in (" ", "\t", "") and entries:
            entries[-1].append(row)
        else:
            entries.append([row])
    return entries


def windows_of(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Lines of `WINDOW` consecutive entries at a time, without overlap."""
    entries = entries_of(rows)
    for first in range(0, len(entries), WINDOW):
        yield [row for entry in entries[first : first + WINDOW] for row in entry]


def is_anomalous(rows: Iterable[Row]) -> bool:
    """Whether any of the lines is."""
    return any(row["label"] for row in rows)


def has_severity(rows: Iterable[Row]) -> bool:
    """Whether any of the lines carries a severity word above LOG."""
    return any(SEVERITY.search(row["line"]) for row in rows)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in row)} |")


def describe(rows: Sequence[Row], intervals: Sequence[Row]) -> None:
    """Print counts per recording and per fault, and what simple rules reach."""
    recordings: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        recordings[row["recording"]].append(row)

    def counts(name: str) -> list[object]:
        lines = recordings[name]
        anomalous = [row for row in lines if row["label"]]
        healthy = [row for row in lines if not row["label"]]
        windows = [is_anomalous(window) for window in windows_of(lines)]
        return [
            *(name, lines[0]["split"], len(lines), len(entries_of(lines)), len(anomalous)),
            f"{100 * len(anomalous) / len(lines):.1f}%",
            sum(interval["recording"] == name for interval in intervals),
            f"{sum(windows)} of {len(windows)}",
            f"{100 * sum(not has_severity([row]) for row in anomalous) / max(1, len(anomalous)):.0f}%",
            f"{100 * sum(has_severity([row]) for row in healthy) / max(1, len(healthy)):.1f}%",
        ]

    header = ["recording", "split", "lines", "entries", "anomalous lines", "share", "faults", "anomalous windows"]
    header += ["anomalous lines without a severity word", "healthy lines with one"]
    print_table("Recordings", header, map(counts, recordings))

    lines_of = Counter((row["fault"], row["split"]) for row in rows if row["label"])
    split_of = {row["recording"]: row["split"] for row in rows}
    times = Counter((interval["fault"], split_of[interval["recording"]]) for interval in intervals)
    visible = {interval["fault"]: interval["visible"] for interval in intervals}
    splits = list(dict.fromkeys(split_of.values()))
    print_table(
        "Faults: how often injected / anomalous lines",
        ["fault", "visible", *splits],
        [
            [fault, visible[fault], *(f"{times[fault, split]} / {lines_of[fault, split]}" for split in splits)]
            for fault in sorted(visible)
        ],
    )
    outside = sum(row["label"] and row["scenario"] == ORDINARY for row in rows)
    print(f"\nAnomalous lines without a scenario: {outside}")
    with_lines = {(row["recording"], row["fault"]) for row in rows if row["label"]}
    mute = [interval for interval in intervals if (interval["recording"], interval["fault"]) not in with_lines]
    print(f"Injected faults of a kind that left no anomalous line in their recording: {len(mute)} of {len(intervals)}")

    train, test = ([row for row in rows if row["split"] == split] for split in ("train", "test"))
    seen = {template(row["line"]) for row in train}
    healthy_seen = {template(row["line"]) for row in train if not row["label"]}
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    for row in train:
        votes[template(row["line"])][row["label"]] += 1
    anomalous_mostly = {name for name, vote in votes.items() if vote[1] > vote[0]}
    rules = {
        "a severity word": lambda row: has_severity([row]),
        "template absent from train": lambda row: template(row["line"]) not in seen,
        "template absent from healthy train lines": lambda row: template(row["line"]) not in healthy_seen,
        "template anomalous in most train lines": lambda row: template(row["line"]) in anomalous_mostly,
    }
    test_windows = [
        window
        for name, lines in recordings.items()
        if lines[0]["split"] == "test"
        for window in windows_of(recordings[name])
    ]
    print_table(
        f"Simple rules on the test recordings: precision / recall / F1 per line and per window of {WINDOW} entries",
        ["a line is called anomalous by", "lines", "windows"],
        [
            [
                name,
                " / ".join(f"{value:.2f}" for value in f1((bool(rule(row)), bool(row["label"])) for row in test)),
                " / ".join(
                    f"{value:.2f}"
                    for value in f1((any(map(rule, window)), is_anomalous(window)) for window in test_windows)
                ),
            ]
            for name, rule in {**rules, "always": lambda row: True}.items()
        ],
    )


def compare(rows: Sequence[Row], twin: Sequence[Row]) -> None:
    """Print how much of a recording's anomalous part its fault-free twin has too."""
    name = twin[0]["recording"]
    anomalous = [template(row["line"]) for row in rows if row["recording"] == name and row["label"]]
    healthy = [template(row["line"]) for row in rows if row["recording"] == name and not row["label"]]
    known = {template(row["line"]) for row in twin}
    kinds = set(anomalous)
    print(f"\nFault-free twin of {name}: {len(twin)} lines, {sum(row['label'] for row in twin)} labelled anomalous.")
    print(
        f"Of {len(kinds)} anomalous templates {len(kinds & known)} also occur in it, "
        f"and with them {sum(text in known for text in anomalous)} of {len(anomalous)} anomalous lines."
    )
    print(f"Of {len(healthy)} healthy lines {sum(text not in known for text in healthy)} have a template it lacks.")


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m recordings.describe", description="Measure recordings.")
    parser.add_argument("recordings", type=Path, metavar="FILE.parquet", help="made by recordings.record")
    parser.add_argument("--twin", type=Path, metavar="FILE.parquet", help="a run of the same name with --no-faults")
    options = parser.parse_args()
    rows = pq.read_table(options.recordings).to_pylist()
    describe(rows, pq.read_table(intervals_path(options.recordings)).to_pylist())
    if options.twin:
        compare(rows, pq.read_table(options.twin).to_pylist())
    return 0


if __name__ == "__main__":
    sys.exit(main())
