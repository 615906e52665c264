"""How entries and sequences depart from a healthy log: surprise features, as arrays.

`Surprise` measures sequences of a log against the habits of healthy stretches, at two granularities: an entry is its
masked text, and its template. Nothing here loops over occurrences. Used by the reference, which says what is healthy;
the model reads the features beside the embeddings.

Entries are numbers: below the size of a `Vocabulary`, rows of it; from there on, texts and templates that it lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .folds_logmoe import HEALTHY_FOLDS, Folds, blocks_of
from .habits_logmoe import (
    OF_ENTRY,
    OF_SEQUENCE,
    RETURNS,
    TIMED_ENTRIES,
    Habits,
    Past,
    Runs,
    tail_evidence,
    windows_of,
)
from .sequences_logmoe import SEQUENCES_PER_CALL

# Features that differ by less, relatively, are equal.
TIE = 1e-4
GRANULARITIES = ("text", "template")
ENTRY_FEATURES = (
    "distance",
    *(f"{granularity}_{name}" for granularity in GRANULARITIES for name in OF_ENTRY),
)
"""Names of the features of each entry in a sequence: functions of the sequence's entries alone."""

# How the features of a sequence's entries become the sequence's.
POOLS, POOLED = ("max", "mean", "top3", "top8"), (*ENTRY_FEATURES, "gap")
NUM_POOLED = len(POOLS) * len(POOLED)
SEQUENCE_FEATURES = (
    *(f"{name}_{pool}" for pool in POOLS for name in POOLED),
    *(f"{granularity}_{name}" for granularity in GRANULARITIES for name in OF_SEQUENCE),
    "slow",
    "fast",
    *("overdue_time", "overdue_count", "late_time", "late_count"),
)


# Of times, in seconds: far beyond the year 9999.
LATEST = 1e12
# So many similarities of embeddings are held at once.
NEAREST_CELLS = 1 << 22


def _are_rows(values: np.ndarray, below: int, number: int) -> bool:
    """Whether this is `number` integers from 0 to below a number."""
    is_right = values.shape == (number,) and values.dtype.kind in "iu"
    return is_right and (not number or bool(0 <= values.min() <= values.max() < below))


@dataclass(frozen=True)
class Vocabulary:
    """The distinct entries of a reference.

    Attributes:
        template_of: int64 `(texts,)`, the template of each text.
        embeddings: float32 `(templates, encoder_hidden)`, unit length.
    """

    template_of: np.ndarray
    embeddings: np.ndarray

    def size(self, granularity: str) -> int:
        """Distinct entries at a granularity."""
        return len(self.template_of) if granularity == "text" else len(self.embeddings)

    def check(self, texts: Sequence[str], templates: Sequence[str], count: np.ndarray) -> None:
        """Refuses what no reference has, as somebody's file may.

        Raises:
            ValueError: texts and numbers do not belong together.
        """
        is_missing = np.isnan(self.embeddings)
        if not (
            all(isinstance(text, str) for text in (*texts, *templates))
            and len(set(texts)) == len(texts) == len(count)
            and len(set(templates)) == len(templates)
            and _are_rows(self.template_of, len(templates), len(texts))
            and (not len(count) or 0 <= count.min() <= count.max() < 1 << 50)
            and self.embeddings.ndim == 2
            and len(self.embeddings) == len(templates)
            and not np.isinf(self.embeddings).any()
            and (is_missing.all(1) | ~is_missing.any(1)).all()
        ):
            raise ValueError("texts, templates, counts and embeddings do not belong together")


@dataclass(frozen=True)
class Occurrences:
    """Entries in the order of a log.

    Attributes:
        text, template: int64 `(entries,)`; equal numbers for equal ones, those of the vocabulary its rows.
        time: float64 `(entries,)`, seconds since 1970, NaN where unknown.
        stretch: int64 `(entries,)`, ascending: entries of different stretches are no neighbours.
    """

    text: np.ndarray
    template: np.ndarray
    time: np.ndarray
    stretch: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def check(self, vocabulary: Vocabulary, first: np.ndarray) -> None:
        """Refuses what no reference has, as somebody's file may.

        Args:
            first: see [`LogReference`].

        Raises:
            ValueError: entries and texts do not belong together.
        """
        number = len(self.text)
        if not (
            number
            and _are_rows(self.text, vocabulary.size("text"), number)
            and _are_rows(first, 1 << 50, number)
            and _are_rows(self.stretch, number, number)
            and self.stretch[0] == 0
            and np.isin(np.diff(self.stretch), (0, 1)).all()
            and self.time.shape == (number,)
            and self.time.dtype == np.float64
            and not (np.abs(self.time) > LATEST).any()
        ):
            raise ValueError("entries, their texts and times do not belong together")

    def ids(self, granularity: str) -> np.ndarray:
        """The entries at a granularity."""
        return self.text if granularity == "text" else self.template

    def take(self, positions: np.ndarray, stretch: np.ndarray | None = None) -> "Occurrences":
        """The entries at these positions."""
        stretch = self.stretch[positions] if stretch is None else stretch
        return Occurrences(self.text[positions], self.template[positions], self.time[positions], stretch)


class Surprise:
    """Measures sequences of a log against healthy entries.

    Args:
        healthy: the healthy entries.
        vocabulary: of these, and perhaps of more.
        length: entries of the sequences to be measured, at most.
        count: int64 `(texts,)`, how often each text was seen, if `healthy` is only a sample of that.
    """

    def __init__(self, healthy: Occurrences, vocabulary: Vocabulary, length: int, count: np.ndarray | None = None):
        self.vocabulary, self.length = vocabulary, length
        counts: dict[str, np.ndarray | None] = {"text": count, "template": None}
        if count is not None:
            counts["template"] = np.bincount(vocabulary.template_of, count, vocabulary.size("template")).astype(int)
        self.habits = {
            name: Habits(healthy.ids(name), healthy.stretch, vocabulary.size(name), length, counts[name])
            for name in GRANULARITIES
        }
        # The commonest text of a template stands for its unknown ones.
        texts = self.habits["text"].known
        by_count = texts[np.argsort(self.habits["text"].count[texts], kind="stable")]
        self._usual_text = np.zeros(vocabulary.size("template"), np.int64)
        self._usual_text[vocabulary.template_of[by_count]] = by_count
        self._place = np.full(vocabulary.size("template"), -1)
        self._distance = np.zeros(vocabulary.size("template"), np.float32)
        known = self.habits["template"].known
        self._place[known] = known

        same = healthy.stretch[1:] == healthy.stretch[:-1]
        gaps = np.diff(healthy.time)[same]
        self.gaps = np.sort(np.append(np.maximum(gaps[~np.isnan(gaps)], 0), 0.0))
        windows = windows_of(healthy.stretch, length, max(1, length // 2))
        is_full = windows[:, -1] >= 0
        durations = _durations(healthy.time, windows[is_full] if is_full.any() else windows)
        self.durations = np.sort(durations[~np.isnan(durations)])
        self._time_returns(healthy)

    def _time_returns(self, healthy: Occurrences) -> None:
        """How long, and for how many entries, the most frequent entries stay away."""
        habits = self.habits["template"]
        frequent = habits.known[np.argsort(-habits.count[habits.known], kind="stable")][:TIMED_ENTRIES]
        self.timed: list[int] = []
        self.return_times: list[np.ndarray] = []
        self.return_counts: list[np.ndarray] = []
        for entry in frequent.tolist():
            positions = np.flatnonzero(healthy.template == entry)
            same = healthy.stretch[positions[1:]] == healthy.stretch[positions[:-1]]
            if same.sum() < RETURNS:
                continue
            away = np.diff(healthy.time[positions])[same]
            self.timed.append(entry)
            self.return_times.append(np.sort(away[~np.isnan(away)]))
            self.return_counts.append(np.sort(np.diff(positions)[same]))

    def nearest(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The known template nearest to each embedding, and the cosine distance to it.

        Args:
            embeddings: float32 `(templates, encoder_hidden)`, unit length.
        """
        known = self.habits["template"].known
        healthy = self.vocabulary.embeddings
        healthy = (healthy if len(known) == len(healthy) else healthy[known]).T
        place = np.empty(len(embeddings), np.int64)
        distance = np.empty(len(embeddings), np.float32)
        size = max(64, NEAREST_CELLS // max(1, len(known)))
        for start in range(0, len(embeddings), size):
            similarity = embeddings[start : start + size] @ healthy
            place[start : start + size] = known[similarity.argmax(1)]
            distance[start : start + size] = np.maximum(0, 1 - similarity.max(1))
        return place, distance

    def locate(self, templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of templates of the vocabulary, by their rows."""
        missing = np.unique(templates[self._place[templates] < 0])
        if len(missing):
            place, distance = self.nearest(self.vocabulary.embeddings[missing])
            self._distance[missing] = distance
            self._place[missing] = place  # last, for it tells other threads that both are known
        return self._place[templates], self._distance[templates]

    def measure(
        self,
        log: Occurrences,
        sequences: np.ndarray,
        located: tuple[np.ndarray, np.ndarray] | None = None,
        last: np.ndarray | None = None,
        has_past: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of sequences of a log.

        Args:
            log: the log, or as much of it as the sequences and the longest horizon before them reach.
            sequences: int64 `(sequences, entries)`, positions in `log`, -1 at padding.
            located: int64 and float32 `(entries,)`, the nearest known template of each entry and the distance to it;
                by default all are in the vocabulary.
            last: float64 `(2, timed)`, see `last_seen`, of the log before `log`.
            has_past: sequences are stretches of the log, and what stands before them tells; not so of sessions.

        Returns:
            `(sequences, entries, len(ENTRY_FEATURES) + 1)`, the last of each entry its gap, which is no function of
            the entries alone, and sequence features `(sequences, len(SEQUENCE_FEATURES))`; float32, NaN where they
            cannot be known.
        """
        near, far = self.locate(log.template) if located is None else located
        is_known = self.habits["text"].is_known[np.minimum(log.text, self.vocabulary.size("text"))]
        near_text = np.where(is_known, log.text, self._usual_text[near])
        is_entry = sequences >= 0

        ends = sequences.max(1) + 1
        entry = [np.where(is_entry, far[sequences], 0)[..., None]]
        of_sequence = []
        for name, places in (("text", near_text), ("template", near)):
            ids = np.where(is_entry, log.ids(name)[sequences], -1)
            place = np.where(is_entry, places[sequences], -1)
            runs = Runs.of(place)
            past = Past(log.ids(name)) if has_past else None
            entry.append(self.habits[name].entry_features(ids, place, runs))
            of_sequence.append(self.habits[name].sequence_features(runs, Runs.of(ids), ends, past))
        entry.append(self._gap_tails(log, sequences, has_past)[..., None])
        features = np.concatenate(entry, axis=2).astype(np.float32)
        pooled = pool(features, is_entry)
        overdue = self._overdue(log, sequences, last) if has_past else np.full((len(sequences), 4), np.nan)
        timing = self._timing(log, sequences)
        return features, np.concatenate([pooled, *of_sequence, timing, overdue], axis=1).astype(np.float32)

    def _gap_tails(self, log: Occurrences, sequences: np.ndarray, has_past: bool) -> np.ndarray:
        """-log10 of the share of healthy gaps at least as long as the one before each entry; 0 at padding."""
        if has_past:
            gap = np.diff(log.time, prepend=log.time[:1])[sequences]
        else:
            gap = np.diff(log.time[sequences], axis=1, prepend=log.time[sequences[:, :1]])
        # No gap at all is as equal as any other: above 1 it would depend on how many healthy ones there are.
        tail = np.minimum(1 - (np.searchsorted(self.gaps, np.maximum(gap, 0)) - 1) / len(self.gaps), 1)
        return np.where(sequences < 0, 0, np.where(np.isnan(gap), np.nan, -np.log10(tail)))

    def _timing(self, log: Occurrences, sequences: np.ndarray) -> np.ndarray:
        """Slower, and faster, than healthy windows: -log10 of the tails; NaN of a single entry, which takes none."""
        duration = np.where((sequences >= 0).sum(1) > 1, _durations(log.time, sequences), np.nan)
        if not len(self.durations):
            return np.full((len(sequences), 2), np.nan)
        rank = np.searchsorted(self.durations, duration) / len(self.durations)
        floor = 1 / len(self.durations)
        both = -np.log10(np.minimum(np.stack([1 - rank, rank], 1) + floor, 1))
        return np.where(np.isnan(duration)[:, None], np.nan, both)

    def last_seen(self, log: Occurrences, number: int, last: np.ndarray | None = None) -> np.ndarray:
        """Where each timed entry stood last in the first `number` entries of a log.

        Args:
            last: the same of the log before `log`.

        Returns:
            float64 `(2, timed)`: the position, negative before `log`, and the time. An entry that was never seen
            counts as seen when the log began.
        """
        if last is None:
            last = np.stack([np.zeros(len(self.timed)), np.full(len(self.timed), log.time[0] if len(log) else np.nan)])
        last = last.copy()
        for row, entry in enumerate(self.timed):
            positions = np.flatnonzero(log.template[:number] == entry)
            if len(positions):
                last[:, row] = positions[-1], log.time[positions[-1]]
        return last

    def _overdue(self, log: Occurrences, sequences: np.ndarray, last: np.ndarray | None) -> np.ndarray:
        """Evidence that usual entries stay away, against how long they stay away in the healthy entries.

        For each timed entry the longest absence that reaches into the sequence. Maxima and sums of the tails.
        """
        rows = len(sequences)
        most, late = np.zeros((rows, 2)), np.zeros((rows, 2))
        starts, ends = sequences[:, 0], sequences.max(1)
        before_log = self.last_seen(log, 0, last)
        for row, entry in enumerate(self.timed):
            times, counts = self.return_times[row], self.return_counts[row]
            positions = np.flatnonzero(log.template == entry)
            earlier = np.searchsorted(positions, starts) - 1
            place = np.append(positions, len(log))
            here = np.minimum(place[earlier + 1], ends)
            is_seen = earlier >= 0
            before = np.where(is_seen, place[earlier], before_log[0, row])
            passed = here - before
            evidence = tail_evidence(counts, passed)
            most[:, 1] = np.maximum(most[:, 1], evidence)
            late[:, 1] += np.where(passed > counts[-1], evidence, 0)
            if len(times):
                then = np.where(is_seen, log.time[np.minimum(place[earlier], len(log) - 1)], before_log[1, row])
                away = log.time[here] - then
                evidence = tail_evidence(times, away)
                most[:, 0] = np.fmax(most[:, 0], np.where(np.isnan(away), np.nan, evidence))
                late[:, 0] += np.where(away > times[-1], evidence, 0)
        if not any(len(times) for times in self.return_times) or np.isnan(log.time).all():
            most[:, 0] = late[:, 0] = np.nan
        return np.concatenate([most, np.log1p(late)], axis=1)


def _durations(time: np.ndarray, sequences: np.ndarray) -> np.ndarray:
    if not len(sequences):
        return np.empty(0)
    last = np.where(sequences >= 0, sequences, -1).max(1)
    return np.maximum(0, time[last] - time[sequences[:, 0]])


def pool(values: np.ndarray, is_entry: np.ndarray) -> np.ndarray:
    """Maximum, mean, mean of the three and of the eight largest of each feature.

    Args:
        values: `(sequences, entries, features)`.
        is_entry: bool `(sequences, entries)`.

    Returns:
        `(sequences, 4 * features)`, pool by pool.
    """
    number = is_entry.sum(1)[:, None]
    hidden = np.where(is_entry[..., None], values, -np.inf)
    top = -np.sort(-hidden, axis=1)[:, :8] if values.shape[1] > 8 else -np.sort(-hidden, axis=1)
    # NaN sorts behind the padding, whose place it then takes.
    top = np.where(np.isneginf(top), np.nan, top)
    top = np.where(np.arange(top.shape[1])[None, :, None] < number[..., None], top, 0)
    mean = np.where(is_entry[..., None], values, 0).sum(1) / number
    return np.concatenate(
        [top[:, 0], mean, top[:, :3].sum(1) / np.minimum(number, 3), top[:, :8].sum(1) / np.minimum(number, 8)], axis=1
    )


def pool_weights(values: np.ndarray) -> np.ndarray:
    """How pooled features are divided among the entries, by what each brings to them.

    Args:
        values: `(entries, features)`.

    Returns:
        `(4 * features, entries)`, pool by pool as of `pool`; rows sum to 1.
    """
    features = values.T
    place = np.argsort(np.argsort(-features, axis=1, kind="stable"), axis=1, kind="stable")
    rise = np.maximum(features - np.minimum(features.min(1, keepdims=True), 0), 0)
    weights = []
    for number in (1, len(values), 3, 8):
        is_top = place < number
        brings = np.where(is_top, rise, 0)
        brings = np.where(brings.sum(1, keepdims=True) > 0, brings, is_top)
        weights.append(brings / brings.sum(1, keepdims=True))
    return np.concatenate(weights)


@dataclass
class Healthy:
    """What healthy sequences of a length look like, each measured against the reference's other blocks.

    Attributes:
        features: float32 `(sequences, len(SEQUENCE_FEATURES))`.
        entry_features: float32 `(sequences, entries, len(ENTRY_FEATURES) + 1)`, the last their gaps.
        templates: int64 `(sequences, entries)`, -1 at padding.
        scores: what a model makes of them, by the model; filled where they are weighed.
    """

    features: np.ndarray
    entry_features: np.ndarray
    templates: np.ndarray
    scores: dict[Any, Any] = field(default_factory=dict)


def cross_fitted(
    log: Occurrences,
    sequences: np.ndarray,
    vocabulary: Vocabulary,
    length: int,
    folds: Folds = HEALTHY_FOLDS,
    has_past: bool = True,
    measured: np.ndarray | None = None,
    block: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Features of sequences of a log against the log's other blocks: never against themselves, but for `RUN_FOLDS`.

    Args:
        log: the log.
        sequences: int64 `(sequences, entries)`, positions, -1 at padding, ordered by their first entry.
        folds: the blocks.
        has_past: see `Surprise.measure`.
        measured: int64, the rows of the sequences whose features are wanted, ascending; by default all. The others are
            no more part of what their block is measured against.
        block: int64 `(entries,)`, which of the folds' blocks each entry is in; by default contiguous ones of one size.

    Returns:
        As `Surprise.measure`; NaN for sequences besides which the log has nothing that they are measured against.
    """
    if block is None:
        block = blocks_of(len(log), folds.blocks)
    block_of = block[sequences[:, 0]]
    if measured is None:
        measured = np.arange(len(sequences))
    entry = np.zeros((len(measured), sequences.shape[1], len(ENTRY_FEATURES) + 1), np.float32)
    of_sequence = np.zeros((len(measured), len(SEQUENCE_FEATURES)), np.float32)
    for number in np.unique(block_of[measured]).tolist():
        rows = np.flatnonzero(block_of[measured] == number)
        low, high = folds.left_out(number)
        left_out = sequences[(block_of >= low) & (block_of < high)]
        is_left_out = np.zeros(len(log), bool)
        is_left_out[left_out[left_out >= 0]] = True
        rest = np.flatnonzero(~is_left_out)
        if not len(rest):
            entry[rows] = of_sequence[rows] = np.nan
            continue
        # Entries on the two sides of what is left out are no neighbours.
        jump = np.append(0, (np.diff(rest) > 1).cumsum())
        stretch = log.stretch[rest] + jump
        surprise = Surprise(log.take(rest, stretch), vocabulary, length)
        wanted = sequences[measured[rows]]
        entry[rows], of_sequence[rows] = surprise.measure(log, wanted, has_past=has_past and folds.has_past)
    return entry, of_sequence


def rank_evidence(values: np.ndarray, healthy: np.ndarray) -> np.ndarray:
    """-log10 of the share of healthy sequences with at least such a value, `(sequences, features)`.

    Args:
        values: `(sequences, features)`.
        healthy: `(healthy_sequences, features)`, NaN where unknown.
    """
    evidence = np.empty(values.shape, np.float32)
    # Many features are equal in many sequences, and rounding must not tell them apart.
    lowest = values - TIE * (1 + np.abs(values))
    for column in range(values.shape[1]):
        known = np.sort(healthy[:, column][~np.isnan(healthy[:, column])])
        at_least = len(known) - np.searchsorted(known, lowest[:, column], side="left")
        evidence[:, column] = -np.log10((at_least + 1) / (len(known) + 1))
    return np.where(np.isnan(values), np.nan, evidence)


class RunningLevel:
    """How surprising a log is as a rule: the lower quarter of each feature over its sequences so far.

    What stands above it stands out of this log, however badly the reference fits. Renewed whenever the log has half as
    many sequences again, so that it depends on the log alone, not on how it arrives.

    Args:
        prior: `(features,)`, the lower quarter of healthy sequences, in use until there are `FIRST` of the log's own.
        ahead: `(sequences, features)`, the first `AHEAD` sequences of the log, or all of a shorter one, if it can be
            read before it is judged; None for a stream.
    """

    FIRST = 16
    AHEAD = 256
    MOST = 2048

    def __init__(self, prior: np.ndarray, ahead: np.ndarray | None = None):
        self.level = prior
        self._renew_at = self.FIRST
        if ahead is not None and len(ahead) >= self.FIRST:
            ahead = ahead[: self.AHEAD]
            self.level, self._renew_at = lower_quarter(ahead), len(ahead) * 3 // 2
        self._seen = 0
        self._step = 1  # every so manyth sequence is kept
        self._kept: list[np.ndarray] = []

    def push(self, values: np.ndarray) -> np.ndarray:
        """The level of each sequence, `(sequences, features)`, of the next sequences of the log."""
        levels = np.empty_like(values)
        for start, stop in self._pieces(len(values)):
            levels[start:stop] = self.level
            piece = values[start:stop]
            self._kept.append(piece[(-self._seen) % self._step :: self._step])
            self._seen += len(piece)
            if self._seen == self._renew_at:
                kept = np.concatenate(self._kept)
                self.level = lower_quarter(kept)
                while len(kept) > self.MOST:
                    kept, self._step = kept[::2], self._step * 2
                self._kept = [kept]
                self._renew_at += self._renew_at // 2
        return levels

    def _pieces(self, number: int) -> list[tuple[int, int]]:
        """The sequences up to each renewal."""
        pieces, start, seen, renew_at = [], 0, self._seen, self._renew_at
        while start < number:
            stop = min(number, start + renew_at - seen)
            pieces.append((start, stop))
            seen += stop - start
            if seen == renew_at:
                renew_at += renew_at // 2
            start = stop
        return pieces


def lower_quarter(values: np.ndarray) -> np.ndarray:
    """The lower quartile of each feature, `(features,)`; NaN where it is never known."""
    if not len(values):
        return np.full(values.shape[1], np.nan, np.float32)
    # As `np.nanquantile`, which goes through the features one by one.
    ordered = np.sort(values, axis=0)  # NaN last
    place = 0.25 * np.maximum((~np.isnan(values)).sum(0) - 1, 0)
    low, columns = place.astype(np.int64), np.arange(values.shape[1])
    lower, upper = ordered[low, columns], ordered[np.minimum(low + 1, len(values) - 1), columns]
    part = place - low
    return np.where(part > 0, lower + (upper - lower) * part, lower).astype(np.float32)


INPUTS = (
    *SEQUENCE_FEATURES,
    *(f"rank_{name}" for name in SEQUENCE_FEATURES),
    *(f"above_{name}" for name in SEQUENCE_FEATURES),
)
"""Names of what the model's terms read of a sequence: each feature, its rank among healthy ones, and how far it stands
above the log's own level."""


def measures_surprise(config: Any) -> bool:
    """Whether a model reads what is measured here, by its config; one that was trained on labels alone does not."""
    return tuple(config.sequence_feature_names) == INPUTS and tuple(config.entry_feature_names) == ENTRY_FEATURES


def sequence_inputs(features: np.ndarray, healthy: np.ndarray, level: np.ndarray) -> np.ndarray:
    """What the model's terms read, `(sequences, len(INPUTS))`.

    Args:
        features: `(sequences, len(SEQUENCE_FEATURES))`.
        healthy: the same of cross-fitted healthy sequences.
        level: of the log, `(features,)` or of each sequence.
    """
    level = np.broadcast_to(level, features.shape)
    inputs = np.empty((len(features), 3 * features.shape[1]), np.float32)
    for start in range(0, len(features), SEQUENCES_PER_CALL):
        rows = slice(start, start + SEQUENCES_PER_CALL)
        ranks = rank_evidence(features[rows], healthy)
        inputs[rows] = np.concatenate([features[rows], ranks, features[rows] - level[rows]], axis=1)
    return inputs


__all__ = [
    "ENTRY_FEATURES",
    "GRANULARITIES",
    "INPUTS",
    "NUM_POOLED",
    "POOLED",
    "POOLS",
    "SEQUENCE_FEATURES",
    "Healthy",
    "Occurrences",
    "RunningLevel",
    "Surprise",
    "Vocabulary",
    "cross_fitted",
    "lower_quarter",
    "measures_surprise",
    "pool",
    "pool_weights",
    "rank_evidence",
    "sequence_inputs",
]
