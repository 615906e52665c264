"""Measure the corpus: `python -m recordings.describe > recordings/MEASURED.md` writes that page.

Out come counts of lines, windows and faults for each service, what simple detectors reach on the test runs, and
what a run has in common with its twin. Needs the package's extra `train` (scikit-learn).
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from logmoe.rules_logmoe import ALARM_PATTERN
from recordings.corpus import FOLDER, SERVICES, SPLITS, TEST_ONLY, check_services, read_intervals
from recordings.labels import ORDINARY
from recordings.windows import WINDOW, Row, Window, read_runs

ALARM = re.compile(ALARM_PATTERN)

TRAINING_STRIDE = 8
"""Entries from one training window to the next."""

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|(?<![A-Za-z0-9])(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}(?![A-Za-z0-9])|\d+")
_NAME = re.compile(r"\"[^\"\s]*\"|'[^'\s]*'|\b(?:user|db|database|app|client)=[\w.-]+|\b\w+@[\w.]+")
_WEEKDAY_OR_MONTH = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b")


def template(line: str) -> str:
    """The constant part of a line: without numbers, hexadecimal ids and, except in JSON, names."""
    if not line.startswith("{"):
        line = _NAME.sub("*", line)
    return _WEEKDAY_OR_MONTH.sub("*", _VARIABLE.sub("*", line))


def scores(pairs: Iterable[tuple[bool, bool]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of (predicted, true) pairs; 0 where undefined."""
    counts = Counter(pairs)
    hits, alarms, missed = counts[True, True], counts[True, False], counts[False, True]
    precision = hits / (hits + alarms) if hits + alarms else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0


def has_severity(row: Row) -> bool:
    """Whether the line has a word such as WARN, FATAL or failed."""
    return ALARM.search(row["line"]) is not None


class Measured:
    """One service's runs, with their windows and labels."""

    def __init__(self, service: str, folder: Path, lines_only: bool = False) -> None:
        self.service, self.lines_only = service, lines_only
        self.intervals = read_intervals([service], folder).to_pylist()
        self.runs = {split: list(read_runs(service, [split], folder)) for split in (*SPLITS, "twin")}

    def lines(self, *splits: str) -> list[Row]:
        """All lines of some splits."""
        return [row for split in splits for run in self.runs[split] for row in run.rows]

    def windows(self, *splits: str, stride: int = WINDOW) -> list[Window]:
        """All windows of some splits."""
        return [
            window
            for split in splits
            for run in self.runs[split]
            for window in run.windows(stride=stride, lines_only=self.lines_only)
        ]

    def line_rules(self) -> dict[str, Callable[[Row], bool]]:
        """Detectors that look at one line; all but the first know the training runs."""
        train = self.lines("train")
        healthy = {template(row["line"]) for row in train if not row["label"]}
        votes: dict[str, Counter[int]] = defaultdict(Counter)
        for row in train:
            votes[template(row["line"])][row["label"]] += 1
        mostly = {name for name, vote in votes.items() if vote[1] > vote[0]}
        return {
            "severity word": has_severity,
            "template new to healthy lines": lambda row: template(row["line"]) not in healthy,
            "template mostly anomalous": lambda row: template(row["line"]) in mostly,
        }

    def bag_of_words(self) -> list[tuple[bool, bool]]:
        """(predicted, true) of the test windows, by logistic regression on the counts of their words."""
        model = make_pipeline(
            CountVectorizer(preprocessor=lambda window: "\n".join(template(row["line"]) for row in window.rows)),
            Normalizer(),
            LogisticRegression(C=100.0, max_iter=2000, class_weight="balanced"),
        )
        train, test = self.windows("train", stride=TRAINING_STRIDE), self.windows("test")
        model.fit(train, [window.label for window in train])
        return [(bool(guess), window.label) for guess, window in zip(model.predict(test), test, strict=True)]


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in row)} |", flush=True)


def percent(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{100 * part / max(1, whole):.1f}%"


INTRODUCTION = f"""\
# The corpus, measured

Written by `python -m recordings.describe`. A window is {WINDOW} entries; a severity word is one like WARN, ERROR,
FATAL, CRIT, ALERT, SEVERE or FAILED (`ALARM_PATTERN` in `rules_logmoe.py`).
"""
COUNTS_HEADER = (
    *("service", "runs", "lines", "fault kinds", "faults", "anomalous lines", "anomalous windows"),
    *("anomalous lines without a severity word", "healthy lines with one"),
)
RULES_TITLE = """\
## Simple rules: F1 on the test runs, per line and per window

A rule calls a window anomalous if it calls one of its lines so. All but the severity word know the training runs of
the service. Bag of words: logistic regression on how often each word occurs in a window."""
RULES_HEADER = (
    *("service", "severity word, lines", "template new to healthy lines, lines", "template mostly anomalous, lines"),
    *("severity word, windows", "template new to healthy lines, windows", "template mostly anomalous, windows"),
    *("bag of words, windows", "always, windows"),
)
TWIN_HEADER = (
    *("run", "lines of the twin", "anomalous lines of a template that the twin has too"),
    "healthy lines of a template that it lacks",
)


def counts(measured: Measured) -> list[object]:
    """The row of one service in the first table."""
    lines = measured.lines(*SPLITS)
    anomalous = [row for row in lines if row["label"]]
    healthy = [row for row in lines if not row["label"]]
    windows = measured.windows(*SPLITS)
    seen = {row["fault"] for row in measured.intervals}
    return [
        measured.service + (" (test only)" if measured.service in TEST_ONLY else ""),
        sum(len(measured.runs[split]) for split in SPLITS),
        f"{len(lines):,}",
        len(seen),
        len(measured.intervals),
        percent(len(anomalous), len(lines)),
        percent(sum(window.label for window in windows), len(windows)),
        percent(sum(not has_severity(row) for row in anomalous), len(anomalous)),
        percent(sum(map(has_severity, healthy)), len(healthy)),
    ]


def rules(measured: Measured) -> list[object]:
    """The row of one service in the second table: F1 on the test runs."""
    lines, windows = measured.lines("test"), measured.windows("test")
    of_lines, of_windows = [], []
    for rule in measured.line_rules().values():
        of_lines.append(scores((rule(row), bool(row["label"])) for row in lines)[2])
        of_windows.append(scores((any(map(rule, window.rows)), window.label) for window in windows)[2])
    always = scores((True, window.label) for window in windows)[2]
    return [measured.service, *of_lines, *of_windows, scores(measured.bag_of_words())[2], always]


def twin(measured: Measured) -> list[object]:
    """The row of one service in the third table: what a run has in common with its twin without faults."""
    healthy_run = measured.lines("twin")
    name = healthy_run[0]["recording"].removesuffix("-twin")
    run = [row for row in measured.lines("test") if row["recording"] == name]
    known = {template(row["line"]) for row in healthy_run}
    anomalous = [template(row["line"]) for row in run if row["label"]]
    healthy = [template(row["line"]) for row in run if not row["label"]]
    return [
        name,
        len(healthy_run),
        percent(sum(text in known for text in anomalous), len(anomalous)),
        percent(sum(text not in known for text in healthy), len(healthy)),
    ]


def faults(measured: Measured) -> None:
    """Print how often each fault of a service was injected and how many lines it caused."""
    split_of = {run.name: split for split in SPLITS for run in measured.runs[split]}
    lines = Counter((row["fault"], row["split"]) for row in measured.lines(*SPLITS) if row["label"])
    times = Counter((row["fault"], split_of[row["recording"]]) for row in measured.intervals)
    visible = {row["fault"]: row["visible"] for row in measured.intervals}
    print_table(
        f"### {measured.service}",
        ["fault", "visible", *SPLITS],
        [
            [fault, visible[fault], *(f"{times[fault, split]} / {lines[fault, split]}" for split in SPLITS)]
            for fault in sorted(visible)
        ],
    )


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recordings.describe", description="Measure the corpus; print the page MEASURED.md."
    )
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="default: all")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the corpus lies (default: recordings/data)")
    parser.add_argument(
        "--lines_only",
        action="store_true",
        help="label windows by their lines alone, leaving out faults that show by order or silence",
    )
    options = parser.parse_args()
    try:
        check_services(options.services)
    except ValueError as error:
        parser.error(str(error))
    services = [Measured(service, options.folder, options.lines_only) for service in options.services or SERVICES]
    lines = [row for measured in services for row in measured.lines(*SPLITS)]
    anomalous = [row for row in lines if row["label"]]
    silent = [row for row in anomalous if not has_severity(row)]
    healthy = [row for row in lines if not row["label"]]
    late = sum(row["scenario"] == ORDINARY for row in anomalous)
    print(INTRODUCTION)
    print(
        f"{len(lines):,} lines, {percent(len(anomalous), len(lines))} anomalous. "
        f"{percent(len(silent), len(anomalous))} of the anomalous lines carry no severity word, "
        f"{percent(sum(map(has_severity, healthy)), len(healthy))} of the healthy ones do. "
        f"Anomalous lines without a scenario: {late}."
    )
    print_table("## Services", COUNTS_HEADER, map(counts, services))
    print_table(RULES_TITLE, RULES_HEADER, map(rules, services))
    print_table("## Twins: the same load and plan without faults", TWIN_HEADER, map(twin, services))
    print("\n## Faults: times injected / anomalous lines")
    for service in services:
        faults(service)
    return 0


if __name__ == "__main__":
    sys.exit(main())
