"""Episodes: stretches of recorded logs, each seen through a reference drawn for it, as a model reads them.

`general.py` trains the default checkpoint on them. What an episode is judged by never holds the stretch itself: other
recordings of the service under the same settings, without faults (`earlier`), a run without faults (`twin`), `both`, a
`small` part of these, or the log's own other blocks (`self`). Faults are short in the recordings; in `spliced` logs
they last. All is measured once, by the functions that serve, and kept in memory.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from logmoe import LogParser
from logmoe.folds_logmoe import OWN_FOLDS
from logmoe.habits_logmoe import usable_times, windows_of
from logmoe.surprise_logmoe import (
    ENTRY_FEATURES,
    Occurrences,
    RunningLevel,
    Surprise,
    Vocabulary,
    cross_fitted,
    lower_quarter,
    sequence_inputs,
)
from logmoe.templates_logmoe import learn_templates
from recordings.corpus import FOLDER, SPLITS, TEST_ONLY, read_intervals
from recordings.windows import WINDOW, ParsedRun, read_runs

KINDS = ("earlier", "twin", "both", "self", "small", "spliced", "spliced_self", "short", "healthy")
"""By what the sequences of an episode are judged. `healthy`: sequences of a reference by the rest of it."""

VISIBLE = ("normal", "text", "order", "silence")
"""What a fault shows by in a sequence, by number; the first means that there is none."""

SMALL = 200
"""Entries of a small reference."""

SHORT, SHORT_OF_EACH = (1, 2, 4, 8, 12, 16, 24), 6
"""Entries of short logs, with nothing before them; and how many of each length a recording gives."""

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
        return [
            (a, b) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True) if b - a >= _LEAST_STRETCH
        ]


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

    def log(self, recording: Recording, positions: np.ndarray | None = None) -> Occurrences:
        """The entries of a recording, or those at some positions, as one stretch."""
        part = slice(None) if positions is None else positions
        text = recording.text[part]
        return Occurrences(text, self.template_of[text], recording.time[part], np.zeros(len(text), np.int64))

    def reference(self, of: Recording, kind: str) -> Occurrences | None:
        """The entries by which a recording is judged: of others under the same settings; None if there are none.

        Args:
            kind: "earlier", "twin" or "both".
        """
        parts = []
        for other in self.recordings:
            if other.name == of.name or other.settings != of.settings:
                continue
            if other.split == "twin":
                parts += [(other, 0, len(other.text))] * (kind != "earlier")
            elif kind != "twin" and other.split != "test":
                parts += [(other, a, b) for a, b in other.healthy_stretches()]
        if not parts:
            return None
        text = np.concatenate([other.text[a:b] for other, a, b in parts])
        time = np.concatenate([other.time[a:b] for other, a, b in parts])
        return Occurrences(
            text, self.template_of[text], time, np.repeat(np.arange(len(parts)), [b - a for _, a, b in parts])
        )


def read_service(name: str, folder: Path = FOLDER) -> Service:
    """Reads and parses all recordings of a service."""
    intervals = read_intervals([name], folder).to_pylist()
    parser, recordings = LogParser(), []
    texts: dict[str, int] = {}
    for run in read_runs(name, (*SPLITS, "twin"), folder):
        mine = [row for row in intervals if row["recording"] == run.name]
        recordings.append(_recording(run, mine, parser, texts))
    learned = learn_templates(list(texts))
    return Service(name, recordings, learned.match(list(texts)), learned.texts)


def _recording(run: ParsedRun, intervals: list[dict[str, Any]], parser: LogParser, texts: dict[str, int]) -> Recording:
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
        time=usable_times(parser.timestamps(run.parsed)),
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
        number: of the reference.
        healthy: its entries.
        vocabulary: of the service.
    """

    def __init__(self, number: int, healthy: Occurrences, vocabulary: Vocabulary):
        self.number, self.healthy = number, healthy
        self.surprise = Surprise(healthy, vocabulary, WINDOW)
        self.sequences = windows_of(healthy.stretch, WINDOW, WINDOW)
        self.entry_features, self.features = cross_fitted(healthy, self.sequences, vocabulary, WINDOW)
        self.level = lower_quarter(self.features)

    def measure(self, log: Occurrences, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entry features and inputs of the terms, as a log's sequences get them when it is read once."""
        entry_features, features = self.surprise.measure(log, sequences)
        return entry_features, sequence_inputs(
            features, self.features, RunningLevel(self.level, features).push(features)
        )

    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Those of the reference's own sequences."""
        level = np.broadcast_to(self.level, self.features.shape)
        return self.entry_features, sequence_inputs(self.features, self.features, level)


def measure_itself(log: Occurrences, sequences: np.ndarray, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Entry features and inputs of the terms of a log that is judged by its own other blocks."""
    entry_features, features = cross_fitted(log, sequences, vocabulary, WINDOW, OWN_FOLDS)
    level = np.broadcast_to(lower_quarter(features), features.shape)
    return entry_features, sequence_inputs(features, features, level)


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
class Batch:
    """Sequences as the model takes them; all NaN are the features of those without a reference."""

    entry_embeds: torch.Tensor
    entry_mask: torch.Tensor
    entry_features: torch.Tensor
    sequence_features: torch.Tensor

    def inputs(self) -> dict[str, torch.Tensor]:
        """By the names of the model's arguments."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def joined(self, other: "Batch") -> "Batch":
        """These sequences, then those."""
        return Batch(**{name: torch.cat([values, getattr(other, name)]) for name, values in self.inputs().items()})


@dataclass(frozen=True)
class Episodes:
    """Sequences of many episodes, as arrays.

    Attributes:
        service, kind: int16 `(sequences,)`, rows of the services and of `KINDS`.
        reference: int32 `(sequences,)`, the same number for the same reference; -1 in a log judged by itself.
        is_twin: bool `(sequences,)`, of a run without faults.
        template: int32 `(sequences, entries)`, rows of the templates of all services, -1 at padding.
        entry_features: float16 `(sequences, entries, len(ENTRY_FEATURES))`.
        inputs: float32 `(sequences, len(INPUTS))`.
        visible: int8 `(sequences,)`, rows of `VISIBLE`.
    """

    service: np.ndarray
    kind: np.ndarray
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

    def batch(self, rows: np.ndarray, embeddings: torch.Tensor, alone: int = 0) -> Batch:
        """Some of the sequences, the last `alone` of them without a reference.

        Args:
            embeddings: `(templates, encoder_hidden)`, of all services' templates, as the encoder gives them.
        """
        template = torch.from_numpy(self.template[rows]).long()
        entry_features = torch.from_numpy(self.entry_features[rows]).float()
        inputs = torch.from_numpy(self.inputs[rows])
        if alone:
            entry_features[-alone:] = torch.nan
            inputs[-alone:] = torch.nan
        return Batch(embeddings[template.clamp(min=0)], template >= 0, entry_features, inputs)

    @staticmethod
    def concatenate(parts: Sequence["Episodes"]) -> "Episodes":
        """All sequences of some episodes."""
        return Episodes(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Episodes)))


class ServiceEpisodes:
    """The episodes of one service, measured.

    Args:
        row: of the service among all.
        service: what to draw from.
        first: row of its first template among those of all services.
        embeddings: `(templates, encoder_hidden)`, of its templates, unit length.
        seed: of the draws.
    """

    def __init__(self, row: int, service: Service, first: int, embeddings: np.ndarray, seed: int = 0):
        self.row, self.service, self.first, self.seed = row, service, first, seed
        self.vocabulary = Vocabulary(service.template_of, embeddings)
        self._judges: dict[tuple[str, str, str], Judge | None] = {}
        self._references = 0

    def __iter__(self) -> Iterator[Episodes]:
        for recording in self.service.recordings:
            yield from self._of_whole(recording)
            yield from self._of_parts(recording)
        # Sequences of references, each by the rest: the scale of all others, and more that is healthy.
        for judge in self._judges.values():
            if judge is not None:
                visible = np.zeros(len(judge.sequences), np.int8)
                yield self._episode("healthy", judge.healthy, judge.sequences, visible, True, judge, judge.own())

    def _of_whole(self, recording: Recording) -> Iterator[Episodes]:
        """A recording as it is, by every reference, and by itself."""
        log, is_twin = self.service.log(recording), recording.split == "twin"
        sequences = cut(len(log))
        visible = recording.labels(sequences)
        for kind in ("earlier",) if is_twin else ("earlier", "twin", "both"):
            if (judge := self._judge(recording, kind)) is not None:
                yield self._episode(kind, log, sequences, visible, is_twin, judge)
        yield self._episode("self", log, sequences, visible, is_twin)

    def _of_parts(self, recording: Recording) -> Iterator[Episodes]:
        """Parts of a recording, by parts of its reference; and a recording whose faults last."""
        is_twin = recording.split == "twin"
        judge = self._judge(recording, "earlier" if is_twin else "both")
        if judge is None:
            return
        generator = np.random.default_rng([self.seed, zlib.crc32(recording.name.encode())])
        log = self.service.log(recording)
        start = int(generator.integers(0, max(1, len(judge.healthy) - SMALL)))
        part = judge.healthy.take(np.arange(start, min(len(judge.healthy), start + SMALL)))
        sequences = cut(len(log))
        visible = recording.labels(sequences)
        yield self._episode("small", log, sequences, visible, is_twin, self._new_judge(part))
        for length in SHORT:
            for start in generator.integers(0, len(log) - length, SHORT_OF_EACH).tolist():
                positions = np.arange(start, start + length)
                visible = recording.labels(positions[None])
                yield self._episode("short", log.take(positions), positions[None] - start, visible, is_twin, judge)
        if not is_twin:
            for kind, most in (("spliced", 0.6), ("spliced_self", 0.35)):
                positions, time, shown = splice(recording, float(generator.uniform(0.05, most)), generator)
                spliced = replace(self.service.log(recording, positions), time=time)
                sequences = cut(len(spliced))
                label = np.where(shown[sequences] > 0, shown[sequences], len(VISIBLE)).min(axis=1)
                label = np.where(label == len(VISIBLE), 0, label).astype(np.int8)
                yield self._episode(kind, spliced, sequences, label, False, judge if kind == "spliced" else None)

    def _episode(
        self,
        kind: str,
        log: Occurrences,
        sequences: np.ndarray,
        visible: np.ndarray,
        is_twin: bool,
        judge: Judge | None = None,
        measured: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Episodes:
        if measured is None:
            measured = judge.measure(log, sequences) if judge else measure_itself(log, sequences, self.vocabulary)
        entry_features, inputs = measured
        template = np.where(sequences >= 0, self.first + log.template[sequences], -1)
        missing = ((0, 0), (0, WINDOW - template.shape[1]))
        number = len(sequences)
        return Episodes(
            np.full(number, self.row, np.int16),
            np.full(number, KINDS.index(kind), np.int16),
            np.full(number, judge.number if judge else -1, np.int32),
            np.full(number, is_twin),
            np.pad(template, missing, constant_values=-1).astype(np.int32),
            # What of it depends on the log before the sequence is no input of the stack.
            np.pad(entry_features[..., : len(ENTRY_FEATURES)], (*missing, (0, 0))).astype(np.float16),
            inputs,
            visible,
        )

    def _judge(self, recording: Recording, kind: str) -> Judge | None:
        """The reference of a recording; those of which it would itself be part are its own."""
        is_part = kind != "twin" and recording.split in ("train", "validation")
        key = kind, recording.settings, recording.name if is_part else ""
        if key not in self._judges:
            healthy = self.service.reference(recording, kind)
            self._judges[key] = None if healthy is None else self._new_judge(healthy)
        return self._judges[key]

    def _new_judge(self, healthy: Occurrences) -> Judge:
        self._references += 1
        return Judge((self.row << 16) + self._references, healthy, self.vocabulary)


def measure_episodes(services: Sequence[Service], embeddings: np.ndarray, seed: int = 0) -> Episodes:
    """All episodes of services.

    Args:
        embeddings: of their templates, one service after the other, unit length.
        seed: of the draws.
    """
    parts: list[Episodes] = []
    first = 0
    for row, service in enumerate(services):
        last = first + len(service.templates)
        parts += ServiceEpisodes(row, service, first, embeddings[first:last], seed)
        first = last
    return Episodes.concatenate(parts)


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
    edges: list[tuple[int, int]] = []
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


__all__ = [
    "KINDS",
    "VISIBLE",
    "WINDOW",
    "Batch",
    "Episodes",
    "Recording",
    "Service",
    "ServiceEpisodes",
    "measure_episodes",
    "read_service",
    "splice",
    "training_services",
]
