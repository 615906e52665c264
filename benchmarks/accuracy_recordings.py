"""The recordings as `accuracy.py` judges them: what is healthy for each run, and what the truth of each window is.

References: `earlier`, the stretches without faults of other recordings of training and validation with the same
settings; `twin`, a run without faults; `both`; `dirty`, `earlier` with 2% of entries that faults caused; `self`, the
log's other blocks; `none`, wording alone. Each draw leaves out a fifth of the stretches, or begins the log elsewhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from accuracy_detectors import RememberingPipeline, fit_reference, stretches_of

from logmoe import LogParser
from logmoe.applying_logmoe import PreparedLog
from logmoe.fitting_logmoe import with_places
from logmoe.parsing_logmoe import ParsedLog
from logmoe.reference_logmoe import LogReference
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule, count_windows
from recordings import corpus
from recordings.windows import ParsedRun, read_runs

KINDS = ("earlier", "twin", "both", "dirty", "self", "none")
VISIBLE = ("normal", "text", "order", "silence")
"""What the fault of a window shows by, by number."""
SETTLING = (1.0, 2.0)
"""Seconds before and after a fault that are no healthy log."""
SHORTEST_STRETCH = 8
LEFT_OUT = 0.2
"""Share of the healthy stretches that a draw leaves out."""
PIECES = 10
"""Stretches that a run without faults counts as."""
DIRT = 0.02
"""Entries that faults caused in a dirty reference, as a share of the healthy ones."""


@dataclass(frozen=True)
class Truth:
    """What is true of the windows of a log.

    Attributes:
        labels: int8 `(windows,)`.
        visible: int8 `(windows,)`, rows of `VISIBLE`; a window that faults which show by order or silence overlap is
            theirs unless a fault caused one of its lines.
        faults: bool `(windows, faults)`, whose lines it holds, or, of those that show by order or silence, during
            which it was written; in the order of the intervals.
        wrote: the same of those alone that caused a line of it.
        caused: of each window which of its entries a fault caused.
    """

    labels: np.ndarray
    visible: np.ndarray
    faults: np.ndarray
    wrote: np.ndarray
    caused: list[np.ndarray]


class Recorded:
    """The runs of a service, and what may serve as healthy for each.

    Args:
        service: its name.
        pipe: makes references of them, and judges them.
        parser: reads them; the published one by default.
    """

    def __init__(self, service: str, pipe: RememberingPipeline, parser: LogParser | None = None):
        self.service, self.pipe = service, pipe
        self.rule: SequenceRule = pipe._rule(pipe.processor)
        self.runs = list(read_runs(service, (*corpus.SPLITS, "twin"), parser=parser))
        self.intervals = corpus.read_intervals([service]).to_pylist()
        self._placed = {id(run): with_places(run.parsed, pipe.processor) for run in self.runs}
        self._is_healthy = {id(run): self.is_healthy(run) for run in self.runs}
        self._references: dict[tuple[Any, ...], LogReference | None] = {}
        pipe.forget()  # another service's texts

    @property
    def faulty(self) -> list[ParsedRun]:
        """The runs with faults."""
        return [run for run in self.runs if run.split != "twin"]

    @property
    def twins(self) -> list[ParsedRun]:
        """The runs without."""
        return [run for run in self.runs if run.split == "twin"]

    def is_healthy(self, run: ParsedRun) -> np.ndarray:
        """Which entries no fault is near to, bool `(entries,)`; without stretches that are too short."""
        if run.split == "twin":
            return np.ones(len(run.parsed), bool)
        clock = np.array([run.rows[line - 1]["time"].timestamp() for line in run.parsed.first_line])
        is_bad = run.labels.astype(bool)
        for interval in self.intervals_of(run):
            start, end = interval["start"].timestamp(), interval["end"].timestamp()
            is_bad |= (clock >= start - SETTLING[0]) & (clock <= end + SETTLING[1])
        is_healthy = np.zeros(len(is_bad), bool)
        for stretch in stretches_of(~is_bad):
            is_healthy[stretch] = len(stretch) >= SHORTEST_STRETCH
        return is_healthy

    def intervals_of(self, run: ParsedRun) -> list[dict[str, Any]]:
        """The faults of a run."""
        return [] if run.split == "twin" else [row for row in self.intervals if row["recording"] == run.name]

    def others(self, run: ParsedRun, kind: str) -> list[ParsedRun]:
        """The runs that have a reference's entries for a run."""
        splits = {"twin": ("twin",), "both": ("train", "validation", "twin")}.get(kind, ("train", "validation"))
        return [
            other
            for other in self.runs
            if other is not run and settings_of(other) == settings_of(run) and other.split in splits
        ]

    def reference(self, run: ParsedRun, kind: str, draw: int) -> LogReference | None:
        """What is healthy for a run; None if there is nothing. Runs that have the same one share it."""
        others = self.others(run, kind)
        key = kind, draw, *(id(other) for other in others)
        if key not in self._references:
            if any(known[:2] != (kind, draw) for known in self._references):
                self._references.clear()
            self._references[key] = self.fit(others, kind, draw)
        return self._references[key]

    def fit(self, others: list[ParsedRun], kind: str, draw: int, dirt: float | None = None) -> LogReference | None:
        """A reference of what is healthy in some runs; None if nothing is.

        Args:
            dirt: entries that faults caused, as a share; by default none, or `DIRT` if the kind is "dirty".
        """
        healthy = [self._is_healthy[id(other)] for other in others]
        kept = [mask.copy() for mask in healthy]
        stretches = [
            (mask, piece)
            for other, mask in zip(others, kept, strict=True)
            for stretch in stretches_of(mask)
            for piece in np.array_split(stretch, PIECES if other.split == "twin" else 1)
        ]
        if not stretches:
            return None
        if draw:
            is_left_out = np.random.default_rng(draw).random(len(stretches)) < LEFT_OUT
            is_left_out[0] &= not is_left_out.all()
            for (mask, stretch), out in zip(stretches, is_left_out, strict=True):
                mask[stretch] &= not out
        dirt = (DIRT if kind == "dirty" else 0.0) if dirt is None else dirt
        if dirt:
            is_caused = [other.labels.astype(bool) for other in others]
            soil(kept, healthy, is_caused, np.random.default_rng([draw, 1]), dirt)
        return self.fit_parts(others, kept)

    def fit_parts(self, others: list[ParsedRun], kept: list[np.ndarray]) -> LogReference:
        """A reference of these entries of some runs, bool `(entries,)` of each."""
        parts = []
        for other, mask in zip(others, kept, strict=True):
            windows = [count_windows(stretch, self.rule)[0] for stretch in stretches_of(mask)]
            parts.append((self._placed[id(other)], [window for some in windows for window in some]))
        return fit_reference(self.pipe, self.rule, parts)

    def prepare(self, parsed: ParsedLog) -> PreparedLog:
        """A log as the pipeline cuts it."""
        return PreparedLog(parsed, SequenceCutter(self.rule, self.pipe.processor).cut(parsed), self.rule)

    def truth(self, run: ParsedRun, parsed: ParsedLog, sequences: list[np.ndarray]) -> Truth:
        """What is true of windows of a run.

        Args:
            parsed: the run, or part of it.
            sequences: positions in it.
        """
        intervals = self.intervals_of(run)
        spans = run.spans if run.split != "twin" else []
        labels = np.zeros(len(sequences), np.int8)
        visible = np.zeros(len(sequences), np.int8)
        wrote = np.zeros((len(sequences), len(intervals)), bool)
        faults = np.zeros_like(wrote)
        caused = []
        for place, positions in enumerate(sequences):
            bounds = zip(parsed.first_line[positions], parsed.last_line[positions], strict=True)
            entries = [run.rows[first - 1 : last] for first, last in bounds]
            rows = [row for entry in entries for row in entry]
            labels[place] = corpus.is_anomalous(rows, spans)
            caused.append(np.array([any(row["label"] for row in entry) for entry in entries]))
            for row in rows:
                if row["label"] and (number := fault_of(row, intervals)) is not None:
                    wrote[place, number] = True
            shown = {intervals[number]["visible"] for number in np.flatnonzero(wrote[place])}
            over = [
                number
                for number, interval in enumerate(intervals)
                if interval["visible"] in ("order", "silence")
                and rows[0]["time"] <= interval["end"]
                and interval["start"] <= rows[-1]["time"]
            ]
            faults[place] = wrote[place]
            faults[place, over] = True
            if caused[-1].any():
                kind = "text" if "text" in shown or not shown else sorted(shown)[0]
            else:
                kinds = {intervals[number]["visible"] for number in over}
                kind = next((name for name in ("order", "silence") if name in kinds), "normal")
            visible[place] = VISIBLE.index(kind)
        return Truth(labels, visible, faults, wrote, caused)


class Latest:
    """The recordings of the service that was asked for last.

    Args:
        pipe: makes references of them, and judges them.
    """

    def __init__(self, pipe: RememberingPipeline):
        self.pipe = pipe
        self._recorded: Recorded | None = None

    def recorded(self, service: str) -> Recorded:
        """The recordings of a service."""
        if self._recorded is None or self._recorded.service != service:
            self._recorded = Recorded(service, self.pipe)
        return self._recorded


def fault_of(row: dict[str, Any], intervals: list[dict[str, Any]]) -> int | None:
    """Which fault caused a line: the last of its name that had begun."""
    begun = [
        number
        for number, interval in enumerate(intervals)
        if interval["fault"] == row["fault"] and interval["start"] <= row["time"]
    ]
    named = [number for number, interval in enumerate(intervals) if interval["fault"] == row["fault"]]
    return begun[-1] if begun else named[0] if named else None


def settings_of(run: ParsedRun) -> str:
    """The settings that a run was recorded with."""
    return run.name.removesuffix("-twin").rsplit("-", 1)[0]


def soil(
    kept: list[np.ndarray],
    is_healthy: list[np.ndarray],
    is_caused: list[np.ndarray],
    generator: np.random.Generator,
    share: float = DIRT,
) -> None:
    """Adds to what is kept of some logs stretches around faults, as they were recorded.

    Until faults caused `share` as many entries as were kept, or there are no more.

    Args:
        kept: bool `(entries,)` of each log, changed in place.
        is_healthy: the same of all that may be kept; the stretches are what is between.
        is_caused: the same of entries that a fault caused.
        generator: draws the stretches.
        share: of dirt.
    """
    wanted = round(share * sum(int(mask.sum()) for mask in kept))
    stretches = [
        (mask, stretch, caused[stretch])
        for mask, healthy, caused in zip(kept, is_healthy, is_caused, strict=True)
        for stretch in stretches_of(~healthy)
        if caused[stretch].any()
    ]
    for number in generator.permutation(len(stretches)):
        mask, stretch, caused = stretches[number]
        if wanted <= 0:
            break
        # No more of the last one than is wanted.
        within = caused.cumsum() <= wanted
        mask[stretch[within]] = True
        wanted -= int(caused[within].sum())
