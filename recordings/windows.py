"""The recordings as the detector sees them: entries and windows of entries, each with an anomaly label.

Entries and windows are cut by the product's own rules, so that what is measured or trained here is what the detector
reads later. `describe` and the training of the shipped checkpoint read the corpus through `read_runs`. Needs the
package `logmoe`, and with it torch; the recorder does without.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from logmoe import LogParser, ParsedLog, SequenceCutter, SequenceRule
from recordings.corpus import FOLDER, SPLITS, is_anomalous, read_intervals, read_lines, runs_in, unseen_spans

WINDOW = 32
"""Entries per window."""

Row = dict[str, Any]
"""One physical line, with the columns of `files.LINES_SCHEMA`."""


# --- runs and windows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Consecutive entries of a run, read together.

    Attributes:
        entries: the text of each entry.
        rows: the lines of these entries.
        label: whether it is anomalous.
    """

    entries: list[str]
    rows: list[Row]
    label: bool


@dataclass(frozen=True)
class ParsedRun:
    """One run of a service as entries.

    Attributes:
        name: for example `postgresql-debian-101`.
        split: train, validation, test or twin.
        rows: all lines, in the order of the log.
        spans: when a fault was on that shows by order or silence, not by the text of lines.
        parsed: the run as entries.
        labels: `(entries,)`, 1 where a fault caused one of the entry's lines.
    """

    name: str
    split: str
    rows: list[Row]
    spans: list[tuple[datetime, datetime]]
    parsed: ParsedLog
    labels: np.ndarray

    @property
    def entries(self) -> list[str]:
        """The text of each entry."""
        entries: list[str] = self.parsed.text.to_pylist()
        return entries

    def windows(self, length: int = WINDOW, stride: int = WINDOW, lines_only: bool = False) -> Iterator[Window]:
        """Windows of `length` entries, one starting every `stride` entries.

        A window is anomalous if one of its lines is or, unless `lines_only`, if it overlaps one of `spans` in time
        (`corpus.is_anomalous`).
        """
        entries, spans = self.entries, [] if lines_only else self.spans
        for positions in SequenceCutter(SequenceRule(length, stride), LogParser()).cut(self.parsed):
            lines = zip(self.parsed.first_line[positions], self.parsed.last_line[positions], strict=True)
            rows = [row for first, last in lines for row in self.rows[first - 1 : last]]
            yield Window([entries[position] for position in positions], rows, is_anomalous(rows, spans))


def read_runs(
    service: str, splits: Sequence[str] = SPLITS, folder: Path = FOLDER, parser: LogParser | None = None
) -> Iterator[ParsedRun]:
    """The runs of a service, in the order of `splits` and of their recording.

    Args:
        service: a name among `corpus.SERVICES`.
        splits: among `corpus.SPLITS` and "twin".
        folder: where the corpus lies.
        parser: the published one by default.

    Raises:
        ValueError: unknown service or split.
    """
    parser = LogParser() if parser is None else parser
    intervals = read_intervals([service], folder).to_pylist()
    for rows in runs_in(read_lines([service], splits, folder).to_pylist()):
        parsed = parser.parse("\n".join(row["line"] for row in rows))
        lines = zip(parsed.first_line, parsed.last_line, strict=True)
        labels = [max(row["label"] for row in rows[first - 1 : last]) for first, last in lines]
        yield ParsedRun(
            name=rows[0]["recording"],
            split=rows[0]["split"],
            rows=rows,
            spans=unseen_spans(intervals, rows[0]["recording"]),
            parsed=parsed,
            labels=np.array(labels, dtype=np.int8),
        )
