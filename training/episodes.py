"""Episodes: stretches of recorded logs, each seen through a reference drawn for it, as the features that a model reads.

`general.py` trains the default checkpoint on them. What an episode is judged by never holds the stretch itself: other
recordings of the service under the same settings, without faults (`earlier`), a run without faults (`twin`), `both`, a
`small` part of these, or the log's own other blocks (`self`). Faults are short in the recordings; in `spliced` logs
they last. All is measured once, by the functions that serve, and kept in memory.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from logmoe import LogParser
from logmoe.surprise_logmoe import (
    INPUTS,
    Occurrences,
    RunningLevel,
    Surprise,
    Vocabulary,
    cross_fitted,
    lower_quarter,
    sequence_inputs,
    windows_of,
)
from logmoe.templates_logmoe import learn_templates
from recordings.corpus import FOLDER, SPLITS, TEST_ONLY, read_intervals
from recordings.windows import WINDOW, ParsedRun, read_runs

KINDS = ("earlier", "twin", "both", "self", "small", "spliced", "spliced_self", "short", "healthy")
"""By what the sequences of an episode are judged. `healthy`: sequences of a reference by the rest of it."""

VISIBLE = ("normal", "text", "order", "silence")
"""What a fault shows by in a sequence, by number; the first means that there is none."""

BLOCKS = 3
"""Blocks of a log that is judged by itself."""

SMALL = 200
"""Entries of a small reference."""

# A log whose times are rarely known has none.
_LEAST_TIMES = 0.05
# The last sequence of a log is filled up with entries before it, unless it would have fewer of its own.
_LEAST_REST = 8
# A stretch between two faults from which nothing can be learned is shorter; and what a fault may cause before and
# after it is known to have begun and ended, in seconds.
_LEAST_STRETCH, _BEFORE, _AFTER = 8, 1, 2


# --- recordings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """A recording as occurrences.

    Attributes:
        name, settings, split: as in the corpus; a twin's name ends in `-twin`.
        text: int64 `(entries,)`, rows of the service's masked texts.
        time: float64 `(entries,)`, seconds, as a reader of the log knows it: by the entries' headers.
        clock: float64 `(entries,)`, seconds, when the entry was written.
        is_faulty: bool `(entries,)`, caused by a fault.
        shown: int8 `(entries,)`, rows of `VISIBLE`: what that fault shows by; 0 elsewhere.
        faults: `(start, end, visible)` of each, by `clock` and rows of `VISIBLE`.
    """

    name: str
    settings: str
    split: str
    text: np.ndarray
    time: np.ndarray
    clock: np.ndarray
    is_faulty: np.ndarray
    shown: np.ndarray
    faults: list[tuple[float, float, int]]

    @property
    def log(self) -> Occurrences:
        return Occurrences(self.text, self.time, np.zeros(len(self.text), np.int64))

    def labels(self, sequences: np.ndarray) -> np.ndarray:
        """What a fault shows by in each sequence: rows of `VISIBLE`, int8 `(sequences,)`.

        A sequence is anomalous as `corpus.is_anomalous` has it: if a fault caused an entry, or one that shows by order
        or silence was on.

        Args:
            sequences: int64 `(sequences, entries)`, positions, -1 at padding.
        """
        is_entry = sequences >= 0
        label = np.where(is_entry & self.is_faulty[sequences], self.shown[sequences], len(VISIBLE)).min(axis=1)
        start, end = self.clock[sequences[:, 0]], self.clock[np.where(is_entry, sequences, -1).max(axis=1)]
        for begun, ended, visible in sorted(self.faults, key=lambda fault: fault[2]):
            if VISIBLE[visible] in ("order", "silence"):
                label = np.where((label == len(VISIBLE)) & (start <= ended) & (begun <= end), visible, label)
        return np.where(label == len(VISIBLE), 0, label).astype(np.int8)

    def healthy_stretches(self) -> list[tuple[int, int]]:
        """Bounds of the stretches without faults."""
        is_bad = self.is_faulty.copy()
        for begun, ended, _ in self.faults:
            is_bad |= (self.clock >= begun - _BEFORE) & (self.clock <= ended + _AFTER)
        edges = np.flatnonzero(np.diff(np.r_[True, is_bad, True]))
        return [(a, b) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True) if b - a >= _LEAST_STRETCH]


def filled_times(time: np.ndarray) -> np.ndarray:
    """Times with that of the entry before in place of NaN; all NaN where hardly any is known."""
    known = np.flatnonzero(~np.isnan(time))
    if len(known) < max(2, _LEAST_TIMES * len(time)):
        return np.full(len(time), np.nan)
    before = np.searchsorted(known, np.arange(len(time)), side="right") - 1
    return time[known[np.maximum(before, 0)]]


@dataclass(frozen=True)
class Service:
    """The recordings of a service, and what is said in them.

    Attributes:
        name: in the corpus.
        recordings: of all splits, the twin last.
        template_of: int64 `(texts,)`, the template of each masked text.
        templates: of the service's own distinct masked texts.
    """

    name: str
    recordings: list[Recording]
    template_of: np.ndarray
    templates: list[str]


def read_service(name: str, folder: Path = FOLDER) -> Service:
    """Reads and parses all recordings of a service."""
    intervals = read_intervals([name], folder).to_pylist()
    parser, texts, recordings = LogParser(), {}, []
    for run in read_runs(name, (*SPLITS, "twin"), folder):
        mine = [row for row in intervals if row["recording"] == run.name]
        recordings.append(_recording(run, mine, parser, texts))
    learned = learn_templates(list(texts))
    return Service(name, recordings, learned.match(list(texts)), learned.texts)


def _recording(run: ParsedRun, intervals: list[dict], parser: LogParser, texts: dict[str, int]) -> Recording:
    known = np.array([texts.setdefault(text, len(texts)) for text in run.parsed.distinct.to_pylist()])
    lines = list(zip((run.parsed.first_line - 1).tolist(), run.parsed.last_line.tolist(), strict=True))
    shown_by = {row["fault"]: VISIBLE.index(row["visible"]) for row in intervals}
    faults = [next((row["fault"] for row in run.rows[a:b] if row["label"]), None) for a, b in lines]
    name = run.name + "-twin" * (run.split == "twin" and not run.name.endswith("-twin"))
    return Recording(
        name=name,
        settings=name.removesuffix("-twin").rsplit("-", 1)[0],
        split=run.split,
        text=known[run.parsed.entry_index],
        time=filled_times(parser.timestamps(run.parsed)),
        clock=np.array([run.rows[a]["time"].timestamp() for a, _ in lines]),
        is_faulty=run.labels.astype(bool),
        shown=np.array([0 if fault is None else shown_by.get(fault, 1) for fault in faults], np.int8),
        faults=[
            (row["start"].timestamp(), row["end"].timestamp(), VISIBLE.index(row["visible"])) for row in intervals
        ],
    )


# --- references ------------------------------------------------------------------------------------------------------


class Judge:
    """What sequences of other logs are judged by: a reference, and how surprising its own sequences are to the rest.

    Args:
        healthy: entries of the reference.
        vocabulary: of the service.
    """

    def __init__(self, healthy: Occurrences, vocabulary: Vocabulary):
        self.surprise = Surprise(healthy, vocabulary, WINDOW)
        self.sequences = windows_of(healthy.stretch, WINDOW, WINDOW)
        self.entry_features, self.features = cross_fitted(healthy, self.sequences, vocabulary, WINDOW, BLOCKS)
        self.text = np.where(self.sequences >= 0, healthy.text[self.sequences], -1)
        self.level = lower_quarter(self.features)

    def measure(self, log: Occurrences, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entry features and inputs of the terms, as a log's sequences get them when it is read once."""
        entry_features, features = self.surprise.measure(log, sequences)
        return entry_features, sequence_inputs(features, self.features, RunningLevel(self.level).push(features))

    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Those of the reference's own sequences."""
        level = np.broadcast_to(self.level, self.features.shape)
        return self.entry_features, sequence_inputs(self.features, self.features, level)


def measure_itself(log: Occurrences, sequences: np.ndarray, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Entry features and inputs of the terms of a log that is judged by its own other blocks."""
    entry_features, features = cross_fitted(log, sequences, vocabulary, WINDOW, BLOCKS)
    level = np.broadcast_to(lower_quarter(features), features.shape)
    return entry_features, sequence_inputs(features, features, level)


def draw_reference(service: Service, of: Recording, kind: str) -> Occurrences | None:
    """The entries by which a recording is judged: of others under the same settings; None if there are none.

    Args:
        kind: "earlier", "twin" or "both".
    """
    parts = []
    for other in service.recordings:
        if other.name == of.name or other.settings != of.settings:
            continue
        if other.split == "twin":
            parts += [(other, 0, len(other.text))] * (kind != "earlier")
        elif kind != "twin" and other.split != "test":
            parts += [(other, a, b) for a, b in other.healthy_stretches()]
    if not parts:
        return None
    return Occurrences(
        np.concatenate([other.text[a:b] for other, a, b in parts]),
        np.concatenate([other.time[a:b] for other, a, b in parts]),
        np.repeat(np.arange(len(parts)), [b - a for _, a, b in parts]),
    )


def cut(length: int, window: int = WINDOW) -> np.ndarray:
    """Windows of a log as they are judged: the last, short one with the entries before it."""
    if length < window:
        return np.arange(length)[None]
    sequences = windows_of(np.zeros(length, np.int64), window, window)
    if length - len(sequences) * window >= _LEAST_REST:
        sequences = np.concatenate([sequences, np.arange(length - window, length)[None]])
    return sequences


# --- episodes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Episodes:
    """Sequences of many episodes, as arrays.

    Attributes:
        service, kind: int16 `(sequences,)`, rows of the services and of `KINDS`.
        episode: int32 `(sequences,)`, ascending: of the same log and reference.
        reference: int32 `(sequences,)`, the same number for the same reference; -1 in a log judged by itself.
        is_twin: bool `(sequences,)`, of a run without faults.
        template: int32 `(sequences, entries)`, rows of the templates of all services, -1 at padding.
        entry_features: float16 `(sequences, entries, len(ENTRY_FEATURES))`.
        inputs: float32 `(sequences, len(INPUTS))`.
        visible: int8 `(sequences,)`, rows of `VISIBLE`.
    """

    service: np.ndarray
    kind: np.ndarray
    episode: np.ndarray
    reference: np.ndarray
    is_twin: np.ndarray
    template: np.ndarray
    entry_features: np.ndarray
    inputs: np.ndarray
    visible: np.ndarray

    def __len__(self) -> int:
        return len(self.service)

    def take(self, rows: np.ndarray) -> "Episodes":
        """Some of the sequences."""
        return Episodes(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def concatenate(parts: Sequence["Episodes"]) -> "Episodes":
        """All sequences of some episodes."""
        return Episodes(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Episodes)))


class Measured:
    """Measures the episodes of services.

    Args:
        services: what to draw from.
        embeddings: of the templates of all of them, one service after the other, unit length.
        seed: of the draws.
    """

    def __init__(self, services: Sequence[Service], embeddings: np.ndarray, seed: int = 0):
        self.services, self.embeddings, self.seed = services, embeddings, seed
        self._episodes = 0
        self._judges: dict[tuple, tuple[int, Judge] | None] = {}
        self._references = 0

    def __iter__(self) -> Iterator[Episodes]:
        first = 0
        for row, service in enumerate(self.services):
            last = first + len(service.templates)
            self._judges.clear()
            yield from self._of_service(row, service, first, Vocabulary(service.template_of, self.embeddings[first:last]))
            first = last

    def _of_service(self, row: int, service: Service, first: int, vocabulary: Vocabulary) -> Iterator[Episodes]:
        for recording in service.recordings:
            generator = np.random.default_rng([self.seed, zlib.crc32(recording.name.encode())])
            is_twin = recording.split == "twin"

            def episode(
                kind: str,
                log: Occurrences,
                sequences: np.ndarray,
                visible: np.ndarray,
                judge: tuple[int, Judge] | None = None,
                measured: tuple[np.ndarray, np.ndarray] | None = None,
                is_twin: bool = is_twin,
            ) -> Episodes:
                if measured is None:
                    measured = (
                        judge[1].measure(log, sequences) if judge else measure_itself(log, sequences, vocabulary)
                    )
                text = np.where(sequences >= 0, log.text[sequences], -1)
                self._episodes += 1
                number = len(sequences)
                template = np.where(text >= 0, first + service.template_of[text], -1)
                missing = ((0, 0), (0, WINDOW - template.shape[1]))
                return Episodes(
                    np.full(number, row, np.int16),
                    np.full(number, KINDS.index(kind), np.int16),
                    np.full(number, self._episodes, np.int32),
                    np.full(number, judge[0] if judge else -1, np.int32),
                    np.full(number, is_twin),
                    np.pad(template, missing, constant_values=-1).astype(np.int32),
                    np.pad(measured[0], (*missing, (0, 0))).astype(np.float16),
                    measured[1],
                    visible,
                )

            log = recording.log
            sequences = cut(len(log))
            visible = recording.labels(sequences)
            for kind in ("earlier",) if is_twin else ("earlier", "twin", "both"):
                is_new = self._key(recording, kind) not in self._judges
                judge = self._judge(service, recording, kind, vocabulary)
                if judge is None:
                    continue
                yield episode(kind, log, sequences, visible, judge)
                if is_new:
                    own = judge[1]
                    healthy = draw_reference(service, recording, kind)
                    nothing = np.zeros(len(own.sequences), np.int8)
                    yield episode("healthy", healthy, own.sequences, nothing, judge, own.own(), True)
            yield episode("self", log, sequences, visible)

            judge = self._judge(service, recording, "earlier" if is_twin else "both", vocabulary)
            if judge is None:
                continue
            healthy = draw_reference(service, recording, "earlier" if is_twin else "both")
            start = int(generator.integers(0, max(1, len(healthy) - SMALL)))
            part = healthy.take(np.arange(start, min(len(healthy), start + SMALL)))
            self._references += 1
            small = self._references, Judge(part, vocabulary)
            yield episode("small", log, sequences, visible, small)
            for part, positions in short_logs(log, generator):
                yield episode("short", part, np.arange(len(part))[None], recording.labels(positions[None]), judge)
            for kind, most in () if is_twin else (("spliced", 0.6), ("spliced_self", 0.35)):
                positions, time, shown = splice(recording, float(generator.uniform(0.05, most)), generator)
                long = Occurrences(recording.text[positions], time, np.zeros(len(positions), np.int64))
                windows = cut(len(long))
                label = np.where(shown[windows] > 0, shown[windows], len(VISIBLE)).min(axis=1)
                label = np.where(label == len(VISIBLE), 0, label).astype(np.int8)
                yield episode(kind, long, windows, label, judge if kind == "spliced" else None)

    def _key(self, recording: Recording, kind: str) -> tuple:
        # A recording that would be part of the reference has one of its own.
        is_part = kind != "twin" and recording.split in ("train", "validation")
        return kind, recording.settings, recording.name if is_part else ""

    def _judge(
        self, service: Service, recording: Recording, kind: str, vocabulary: Vocabulary
    ) -> tuple[int, Judge] | None:
        key = self._key(recording, kind)
        if key not in self._judges:
            healthy = draw_reference(service, recording, kind)
            self._references += 1
            self._judges[key] = None if healthy is None else (self._references, Judge(healthy, vocabulary))
        return self._judges[key]


def short_logs(
    log: Occurrences, generator: np.random.Generator, lengths: Sequence[int] = (1, 2, 4, 8, 12, 16, 24), each: int = 6
) -> Iterator[tuple[Occurrences, np.ndarray]]:
    """Logs of few entries, each with nothing before it, and their positions in the log that they are taken from."""
    for length in lengths:
        for start in generator.integers(0, len(log) - length, each).tolist():
            positions = np.arange(start, start + length)
            yield log.take(positions), positions


def splice(
    recording: Recording, share: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A log in which faults last: what a fault said is repeated, until faults fill a share of the log.

    Returns:
        Positions of its entries in the recording; their times, which go on from repetition to repetition; and what
        the fault shows by, rows of `VISIBLE`, 0 outside.
    """
    marks = recording.is_faulty.copy()
    shown = recording.shown.copy()
    for begun, ended, visible in recording.faults:
        if VISIBLE[visible] in ("order", "silence"):
            is_in = (recording.clock >= begun) & (recording.clock <= ended)
            shown = np.where(is_in & (shown == 0), visible, shown).astype(np.int8)
            marks |= is_in
    # Entries between two of one fault belong to its stretch, though they keep their own label.
    edges = []
    for begun, ended, _ in recording.faults:
        inside = np.flatnonzero(marks & (recording.clock >= begun) & (recording.clock <= ended + _AFTER))
        if len(inside) and (not edges or inside[0] >= edges[-1][1]):
            edges.append((int(inside[0]), int(inside[-1]) + 1))
    if not edges:
        return np.arange(len(marks)), recording.time, shown
    # Few faults, each long: as many of them as are drawn fill their part of the share.
    chosen = sorted(generator.choice(len(edges), size=min(len(edges), int(generator.integers(1, 4))), replace=False))
    healthy = [np.arange(a, b) for a, b in recording.healthy_stretches()]
    wanted = share / (1 - share) * sum(map(len, healthy)) / len(chosen)
    pieces = list(healthy)
    for fault in chosen:
        start, stop = edges[fault]
        pieces += [np.arange(start, stop)] * int(np.clip(round(wanted / (stop - start)), 1, 64))
    order = sorted(range(len(pieces)), key=lambda number: (pieces[number][0], number))
    pieces = [pieces[number] for number in order]
    positions = np.concatenate(pieces)
    steps = np.diff(recording.time[positions], prepend=recording.time[positions[0]])
    # Where pieces meet, time goes on by the recording's median step, not back to the start of the fault.
    joints = np.cumsum([len(piece) for piece in pieces])[:-1]
    within = np.diff(recording.time)
    steps[joints] = np.clip(steps[joints], 0, None) if np.isnan(within).all() else np.nanmedian(np.maximum(within, 0))
    return positions, recording.time[positions[0]] + np.cumsum(steps), shown[positions]


def training_services(services: Sequence[str]) -> list[str]:
    """Those that a general model may learn from."""
    return [name for name in services if name not in TEST_ONLY]


__all__ = ["INPUTS", "KINDS", "VISIBLE", "Episodes", "Judge", "Measured", "Service", "read_service"]
