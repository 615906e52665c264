"""A log seen through a reference: what the model reads of its sequences beside text, as they come.

`LogMeasure` follows one log, which may arrive in chunks of any size, and remembers of it what later sequences need:
the trailing entries, when usual entries were last seen, how surprising the log is as a rule. With a reference of the
log itself, each sequence is measured against the other blocks. Called by the pipeline and the scan.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .folds_logmoe import parts_of
from .habits_logmoe import HORIZONS, filled_times
from .parsing_logmoe import ParsedLog
from .reference_logmoe import LogReference, unit
from .sequences_logmoe import SEQUENCES_PER_CALL, pad_sequences
from .surprise_logmoe import (
    ENTRY_FEATURES,
    INPUTS,
    SEQUENCE_FEATURES,
    Occurrences,
    RunningLevel,
    Surprise,
    lower_quarter,
    sequence_inputs,
)
from .templates_logmoe import readable

# Texts that a reference lacks and that are remembered: more than the longest horizon and a chunk's hold.
REMEMBERED_TEXTS = 1 << 16
# Of so many entries of a template, a long log by itself may have kept none.
RARE_ENTRIES = 3
# Share of a log's entries that a kind makes up at most of which few are said to be.
FEW = 0.01
# A log is begun as a healthy one was if most of its first entries are those of that; and of the last ones of healthy
# logs, what stands nowhere else in them tells that one came to its end.
HEAD, ALIKE_IN_HEAD, END = 8, 6, 8
# Entries that are remembered, however long a sequence waits to be complete.
REMEMBERED_ENTRIES = 1 << 16


@dataclass(frozen=True)
class Surroundings:
    """What measured sequences stood in, kept for the reasons that are given for some of them.

    Attributes:
        log: entries of the log, those of the sequences among them.
        entries: the same and those that were remembered, in the order of the log.
        in_log, positions: int64 `(sequences, entries)`, of the sequences' entries in `log` and in `entries`; -1 at
            padding.
        block: int64 `(sequences,)`, which block of the log each was measured without; 0 against another log.
        last: by block what `Surprise.last_seen` says of the log before `entries`.
        surprise: by block what sequences were measured against.
    """

    log: ParsedLog
    entries: Occurrences
    in_log: np.ndarray
    positions: np.ndarray
    block: np.ndarray
    last: dict[int, np.ndarray]
    surprise: Callable[[int], Surprise]
    _positions: dict[int, np.ndarray] = field(default_factory=dict)

    def positions_of(self, template: int) -> np.ndarray:
        """Where a template stands in `entries`, ascending; found once for all sequences."""
        if template not in self._positions:
            self._positions[template] = np.flatnonzero(self.entries.template == template)
        return self._positions[template]


@dataclass
class Measured:
    """Sequences as the model reads them.

    Attributes:
        keys: of each sequence; sequences with equal keys have equal entries and equal entry features.
        entry_features: float32 `(sequences, entries, len(ENTRY_FEATURES) + 1)`, the last their gaps.
        inputs: float32 `(sequences, len(INPUTS))`.
        template, near: int64 `(sequences, entries)`, the template of each entry and the one that healthy entries know
            and that is nearest to it; 0 at padding.
        is_new: bool `(distinct,)`, which distinct entries of the log have a template that the reference lacks; of a
            log that is its own reference, one that stands in one of its blocks only.
        is_few: bool `(distinct,)`, which have a template that makes up no more than `FEW` of a log that is its own
            reference; none by another reference.
        around: what the sequences stood in; None without any sequence.
    """

    keys: list[bytes]
    entry_features: np.ndarray
    inputs: np.ndarray
    template: np.ndarray
    near: np.ndarray
    is_new: np.ndarray
    is_few: np.ndarray
    around: Surroundings | None = None


@dataclass
class TimeOrder:
    """Whether the entries of a log stand in the order of time.

    Attributes:
        number: of the first entry that is not counted yet.
        latest: time of the last counted entry that has one, `(1,)`, or `(0,)`.
        back, late: entries written before the one ahead of them, and those of these by more than a second, which
            threads that write to one log do not explain.
        alike, forward: entries written at the same time as the one ahead of them, and after it.
    """

    FEWEST = 3

    number: int = 0
    latest: np.ndarray = field(default_factory=lambda: np.empty(0))
    back: int = 0
    late: int = 0
    alike: int = 0
    forward: int = 0

    def add(self, number: np.ndarray, seconds: np.ndarray) -> None:
        """Counts those of the next entries of the log that are not counted yet."""
        times = np.append(self.latest, seconds[(number >= self.number) & ~np.isnan(seconds)])
        steps = np.diff(times)
        self.back += int((steps < 0).sum())
        self.late += int((steps < -1).sum())
        self.alike += int((steps == 0).sum())
        self.forward += int((steps > 0).sum())
        self.latest, self.number = times[-1:], max(self.number, int(number.max(initial=-1)) + 1)

    @property
    def num_backward(self) -> int:
        """Entries that stand behind newer ones.

        Where the newest come first, these are all: also where a step back is no longer than a second, and where a time
        without seconds is the same as the one ahead of it.
        """
        is_newest_first = self.back >= self.FEWEST and self.back > 2 * self.forward
        return self.back + self.alike if is_newest_first else self.late


class LogMeasure:
    """Measures the sequences of one log against a reference.

    Args:
        reference: with embeddings.
        length: entries per sequence, at most.
        is_self: the reference is of this very log, whose blocks are left out for their own sequences.
        ahead: sequence features of the log's first sequences, by which its level is known beforehand; see
            [`RunningLevel`].

    Attributes:
        num_entries: entries seen so far.
        num_familiar: those of them whose template the reference knows.
        is_seen: bool `(templates,)`, which of those that the reference knows have come.
        order: whether they stand in the order of time.
    """

    def __init__(self, reference: LogReference, length: int, is_self: bool = False, ahead: np.ndarray | None = None):
        self.reference, self.length = reference, length
        self.healthy = reference.healthy(length).features
        self.has_past = reference.origin.has_past
        self._measures_past = self.has_past and reference.folds.has_past
        # The healthy sequences of a log that is its own reference are all of it: its level is known beforehand. Logs
        # that stand for themselves have no level but that of all of them.
        self._level = lower_quarter(self.healthy)
        self._running = None if is_self or reference.origin.is_separate else RunningLevel(self._level, ahead)
        self._is_self = is_self
        self._blocks = reference.blocks().tolist() if is_self else [0, 0]
        self._surprise: dict[int, Surprise] = {}
        self._last: dict[int, np.ndarray] = {}  # by block
        # Texts that the reference lacks: number, number of the template, and by block the nearest one.
        self._unknown: OrderedDict[str, tuple[int, int, dict[int, tuple[int, float]]]] = OrderedDict()
        self._next_number = len(reference.texts) + len(reference.templates.texts)
        nothing = np.empty(0, np.int64)
        self._tail, self._tail_number = Occurrences(nothing, nothing, np.empty(0), nothing), nothing
        self._has_time = not np.isnan(reference.entries.time).all()
        self.order = TimeOrder()
        self.num_entries = self.num_familiar = 0
        self.is_seen = np.zeros(len(reference.templates.texts), bool)
        template, size = reference.entries.template, len(self.is_seen)
        self._heads, self._head = None, np.full(HEAD, -1)
        if reference.is_run:
            runs = parts_of(template, reference.entries.stretch, size)
            self._expected = runs == runs.max()
        elif self.has_past and not is_self:
            self._expected, self._heads = ends_of(reference.entries, size)
        else:
            self._expected = np.zeros(size, bool)
        # By template; the last stands for all that are not known.
        self._is_new, self._is_few = np.append(np.zeros(size, bool), True), np.zeros(size + 1, bool)
        if is_self:
            block = np.searchsorted(self._blocks[1:-1], reference.first, side="right")
            number = np.bincount(reference.template_of, reference.count, size)
            # Of a long log entries are left out, but all are counted: what is rare stands in few blocks anyway.
            is_known = (number == np.bincount(template, minlength=size)) | (number <= RARE_ENTRIES)
            self._is_new[:-1] = is_known & (parts_of(template, block, size) <= 1)
            self._is_few[:-1] = number <= FEW * number.sum()

    def start_at(self, recent: ParsedLog | None, number: int, order: TimeOrder | None = None) -> None:
        """Begins in the middle of a log.

        Args:
            recent: the entries before those that come next, as many as are kept.
            number: of the first entry that is to be counted.
            order: of the entries that were measured before, in another way.
        """
        if recent is not None and len(recent):
            self.push(recent, [], np.empty((0, 0), np.float32))
        self.num_entries, self.num_familiar, self.order = number, 0, order or TimeOrder(number)

    # ------------------------------------------------------------------ entries

    def encoder_texts(self, distinct: list[str]) -> list[str]:
        """What the encoder reads of each distinct entry: its template, or itself where the reference has none."""
        reference, templates = self.reference, self.reference.templates.texts
        self._meet(distinct)
        texts = []
        for text in distinct:
            row = reference.row_of.get(text)
            template = int(reference.template_of[row]) if row is not None else self._unknown[text][1]
            texts.append(readable(templates[template]) if template < len(templates) else text)
        return texts

    def _meet(self, distinct: list[str]) -> None:
        """Numbers the texts that the reference lacks."""
        known = self.reference.row_of
        new = [text for text in distinct if text not in known and text not in self._unknown]
        if new:
            for text, template in zip(new, self.reference.templates.match(new).tolist(), strict=True):
                number = self._next_number
                self._next_number += 1
                self._unknown[text] = (number, template if template >= 0 else number, {})
        for text in distinct:
            if text in self._unknown:
                self._unknown.move_to_end(text)
        while len(self._unknown) > max(REMEMBERED_TEXTS, len(distinct)):
            self._unknown.popitem(last=False)

    def _numbers(self, distinct: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Text and template of each distinct entry, as numbers."""
        self._meet(distinct)
        rows = np.array([self.reference.row_of.get(text, -1) for text in distinct], np.int64)
        text, template = rows.copy(), self.reference.template_of[rows]
        for place in np.flatnonzero(rows < 0).tolist():
            text[place], template[place], _ = self._unknown[distinct[place]]
        return text, template

    def _nearest(
        self, block: int, distinct: list[str], template: np.ndarray, embeddings: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest template that a block's healthy entries know, and the distance to it, of each distinct entry."""
        surprise, size = self._surprise_of(block), len(self.reference.templates.texts)
        near, far = surprise.locate(np.minimum(template, size - 1))
        near, far = near.copy(), far.copy()
        lacking = np.flatnonzero(template >= size).tolist()
        missing = [place for place in lacking if block not in self._unknown[distinct[place]][2]]
        if missing:
            found = surprise.nearest(unit(embeddings[missing].astype(np.float32)))
            for place, there, distance in zip(missing, *(column.tolist() for column in found), strict=True):
                self._unknown[distinct[place]][2][block] = (there, distance)
        for place in lacking:
            near[place], far[place] = self._unknown[distinct[place]][2][block]
        return near, far

    def _surprise_of(self, block: int) -> Surprise:
        if block not in self._surprise:
            if not self._is_self:
                self._surprise[block] = self.reference.surprise(self.length)
            else:
                self._surprise[block] = self.reference.surprise_without(block, self.length)
        return self._surprise[block]

    # ------------------------------------------------------------------ sequences

    def push(self, log: ParsedLog, sequences: list[np.ndarray], embeddings: np.ndarray, ahead: int = 0) -> Measured:
        """Measures the sequences of a log that are complete.

        Args:
            log: with `seconds` and `number`: the entries that are new, and those before them that sequences hold.
            sequences: positions in it.
            embeddings: `(distinct, encoder_hidden)`, of the `encoder_texts` of `log.distinct`.
            ahead: so many of these, the first ones of the log, are known before it is judged, and tell its level.
        """
        assert log.seconds is not None
        assert log.number is not None
        distinct = log.distinct.to_pylist()
        text, template = self._numbers(distinct)
        self.is_seen[template[template < len(self.is_seen)]] = True
        is_early = log.number < HEAD
        self._head[log.number[is_early]] = template[log.entry_index[is_early]]
        if not len(log):
            return self._nothing()
        is_new = log.number >= self.num_entries
        self.num_familiar += int((template[log.entry_index[is_new]] < len(self.reference.templates.texts)).sum())
        self.order.add(log.number, log.seconds)
        self.num_entries = max(self.num_entries, int(log.number.max()) + 1)

        # Entries that wait for their sequence, as those of a window by time, may stand among those that do not.
        kept = np.flatnonzero(~np.isin(self._tail_number, log.number)) if self.has_past else np.empty(0, np.int64)
        number = np.concatenate([self._tail_number[kept], log.number])
        order = np.argsort(number, kind="stable")
        seconds = log.seconds if self._has_time else np.full(len(log), np.nan)
        entries = Occurrences(
            np.concatenate([self._tail.text[kept], text[log.entry_index]])[order],
            np.concatenate([self._tail.template[kept], template[log.entry_index]])[order],
            filled_times(np.concatenate([self._tail.time[kept], seconds])[order]),
            np.zeros(len(number), np.int64),
        )
        number = number[order]
        place = np.searchsorted(number, log.number)
        measured = self._nothing()
        if sequences:
            measured = self._measure(log, sequences, entries, place, distinct, template, embeddings, ahead)
        is_waiting = np.ones(len(log), bool)
        is_waiting[np.concatenate(sequences) if sequences else []] = False
        self._remember(entries, number, int(place[is_waiting].min()) if is_waiting.any() else len(number))
        return measured

    def missing(self) -> tuple[int, str | None]:
        """What each healthy run has and this log, another run, has not so far; of a log that is none, but is begun as
        healthy ones were, what these end with.

        Returns:
            How many kinds of entries, and the masked text of the first of them.
        """
        entries, is_missing = self.reference.entries, self._expected & ~self.is_seen
        is_begun = self._heads is None or ((self._heads == self._head).sum(axis=1) >= ALIKE_IN_HEAD).any()
        if not (is_begun and is_missing.any()):  # asked with each chunk
            return 0, None
        return int(is_missing.sum()), self.reference.texts[entries.text[is_missing[entries.template].argmax()]]

    def _nothing(self) -> Measured:
        return Measured(
            [],
            np.empty((0, 0, len(ENTRY_FEATURES) + 1), np.float32),
            np.empty((0, len(INPUTS)), np.float32),
            np.empty((0, 0), np.int64),
            np.empty((0, 0), np.int64),
            np.empty(0, bool),
            np.empty(0, bool),
        )

    def _measure(
        self,
        log: ParsedLog,
        sequences: list[np.ndarray],
        entries: Occurrences,
        place: np.ndarray,
        distinct: list[str],
        template: np.ndarray,
        embeddings: np.ndarray,
        ahead: int,
    ) -> Measured:
        assert log.number is not None
        positions = pad_sequences(sequences)
        in_entries = np.where(positions >= 0, place[positions], -1)
        block_of = np.searchsorted(self._blocks[1:-1], log.number[positions[:, 0]], side="right")
        entry_features = np.zeros((*positions.shape, len(ENTRY_FEATURES) + 1), np.float32)
        nearest = np.zeros(positions.shape, np.int64)
        features = np.zeros((len(sequences), len(SEQUENCE_FEATURES)), np.float32)
        for block in np.unique(block_of).tolist():
            near, far = self._nearest(block, distinct, template, embeddings)
            located = np.zeros(len(entries), near.dtype), np.zeros(len(entries), far.dtype)
            located[0][place], located[1][place] = near[log.entry_index], far[log.entry_index]
            of_block = np.flatnonzero(block_of == block)
            for start in range(0, len(of_block), SEQUENCES_PER_CALL):
                rows = of_block[start : start + SEQUENCES_PER_CALL]
                nearest[rows] = np.where(positions[rows] >= 0, near[log.entry_index[positions[rows]]], 0)
                entry_features[rows], features[rows] = self._surprise_of(block).measure(
                    entries, in_entries[rows], located, self._last.get(block), self._measures_past
                )
        if ahead and self._running is not None:
            self._running = RunningLevel(self._level, features[:ahead])
        level = self._level if self._running is None else self._running.push(features)
        text = entries.text[place]
        keys = [
            bytes([block]) + text[sequence].tobytes()
            for sequence, block in zip(sequences, block_of.tolist(), strict=True)
        ]
        inputs = sequence_inputs(features, self.healthy, level)
        templates = np.where(positions >= 0, template[log.entry_index[positions]], 0)
        around = Surroundings(log, entries, positions, in_entries, block_of, dict(self._last), self._surprise_of)
        known = np.minimum(template, len(self.is_seen))
        is_new, is_few = self._is_new[known], self._is_few[known]
        return Measured(keys, entry_features, inputs, templates, nearest, is_new, is_few, around)

    def _remember(self, entries: Occurrences, number: np.ndarray, waiting: int) -> None:
        """Keeps what the next sequences reach back to, the first of which begins no earlier than at `waiting`."""
        if not self.has_past:
            return
        cut = max(0, waiting - HORIZONS[-1] - 2 * self.length, len(number) - REMEMBERED_ENTRIES)
        for block in range(len(self._blocks) - 1):
            if self._is_self or block in self._surprise:
                last = self._surprise_of(block).last_seen(entries, cut, self._last.get(block))
                last[0] -= cut
                self._last[block] = last
        self._tail, self._tail_number = entries.take(np.arange(cut, len(number))), number[cut:]


def ends_of(healthy: Occurrences, templates: int) -> tuple[np.ndarray, np.ndarray]:
    """What healthy logs end with, and how they begin.

    Args:
        healthy: their entries, a stretch for each.
        templates: how many there are.

    Returns:
        bool `(templates,)`, which stand at the end of all of them and nowhere else: none if that is not so of what
        they end with, as where a log is cut anywhere; int64 `(logs, HEAD)`, the first templates of each, -1 beyond
        its end.
    """
    is_start = np.diff(healthy.stretch, prepend=-1) != 0
    start, log = np.flatnonzero(is_start), is_start.cumsum() - 1
    end = np.append(start[1:], len(healthy))
    is_at_end = np.arange(len(healthy)) >= end[log] - END
    is_elsewhere = np.bincount(healthy.template[~is_at_end], minlength=templates) > 0
    is_end = (parts_of(healthy.template[is_at_end], log[is_at_end], templates) == len(start)) & ~is_elsewhere
    head = start[:, None] + np.arange(HEAD)
    heads = np.where(head < end[:, None], healthy.template[np.minimum(head, len(healthy) - 1)], -1)
    return is_end & is_end[healthy.template[end - 1]].all(), heads


__all__ = ["LogMeasure", "Measured", "Surroundings", "TimeOrder"]
