"""How entries and sequences depart from a healthy log: surprise features, as arrays.

`Habits` are the tables of what is usual in some healthy stretches; `Surprise` measures sequences of a log against them,
at two granularities: an entry is its masked text, and its template. Nothing here loops over occurrences. Used by the
reference, which says what is healthy; the model reads the features beside the embeddings.

Entries are numbers: row `i` of a `Vocabulary` is a distinct masked text, and belongs to one template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRANULARITIES = ("text", "template")
# Of each entry in a sequence, functions of the sequence's entries alone.
_OF_ENTRY = ("new", "rarity", "nearest_rarity", "transition", "unseen_pairs", "count")
ENTRY_FEATURES = (
    "distance",
    *(f"{granularity}_{name}" for granularity in GRANULARITIES for name in _OF_ENTRY),
)
# How the features of a sequence's entries become the sequence's.
POOLS = ("max", "mean", "top3", "top8")
# Trailing entries over which rates are compared.
HORIZONS = (128, 512)
_OF_SEQUENCE = (
    "missing",
    "nearest_window",
    "distinct",
    *(f"rate{horizon}_{name}" for horizon in HORIZONS for name in ("max", "mean", "top3", "low")),
)
SEQUENCE_FEATURES = (
    *(f"{name}_{pool}" for pool in POOLS for name in (*ENTRY_FEATURES, "gap")),
    *(f"{granularity}_{name}" for granularity in GRANULARITIES for name in _OF_SEQUENCE),
    "slow",
    "fast",
    *("overdue_time", "overdue_count", "late_time", "late_count"),
)

# An entry that stands in more than this share of healthy windows is usual: its absence tells.
USUAL = 0.5
# Entries whose returns are timed, the most frequent ones, and how often they must return.
TIMED_ENTRIES = 64
RETURNS = 8
# Healthy windows that a sequence is compared with.
COMPARED_WINDOWS = 512
# Healthy windows from which counts are learned.
COUNTED_WINDOWS = 1 << 15
# Entries before an entry that make its neighbourhood.
NEIGHBOURS = 5


@dataclass(frozen=True)
class Vocabulary:
    """The distinct entries of a log and its reference.

    Attributes:
        template_of: int64 `(texts,)`, the template of each text.
        embeddings: `(templates, encoder_hidden)`, unit length.
    """

    template_of: np.ndarray
    embeddings: np.ndarray

    def size(self, granularity: str) -> int:
        """Distinct entries at a granularity."""
        return len(self.template_of) if granularity == "text" else len(self.embeddings)


@dataclass(frozen=True)
class Occurrences:
    """Entries in the order of a log.

    Attributes:
        text: int64 `(entries,)`, rows of the vocabulary.
        time: float64 `(entries,)`, seconds since 1970, NaN where unknown.
        stretch: int64 `(entries,)`, ascending: entries of different stretches are no neighbours.
    """

    text: np.ndarray
    time: np.ndarray
    stretch: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def take(self, positions: np.ndarray, stretch: np.ndarray | None = None) -> "Occurrences":
        """The entries at these positions."""
        return Occurrences(
            self.text[positions], self.time[positions], self.stretch[positions] if stretch is None else stretch
        )


def windows_of(stretch: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Windows that lie within stretches.

    Args:
        stretch: as in `Occurrences`.
        length: entries of a window; a shorter stretch is one shorter window.
        stride: entries from the start of one to the start of the next.

    Returns:
        int64 `(windows, length)`, positions, -1 at padding.
    """
    if not len(stretch):
        return np.empty((0, length), np.int64)
    starts = np.flatnonzero(np.diff(stretch, prepend=stretch[0] - 1))
    sizes = np.diff(np.append(starts, len(stretch)))
    counts = np.maximum(0, (sizes - length) // stride) + 1
    first = np.repeat(starts, counts) + stride * (np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts))
    positions = first[:, None] + np.arange(length)
    return np.where(positions < np.repeat(starts + sizes, counts)[:, None], positions, -1)


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


@dataclass(frozen=True)
class _Runs:
    """Distinct entries of each sequence with how often they stand in it, sequence by sequence."""

    row: np.ndarray  # (runs,) of the sequence
    entry: np.ndarray
    count: np.ndarray
    inverse: np.ndarray  # (sequences, entries) of each entry its run; -1 at padding
    starts: np.ndarray  # (sequences,) first run of each

    @classmethod
    def of(cls, ids: np.ndarray) -> "_Runs":
        """Runs of `ids` `(sequences, entries)`, -1 at padding."""
        order = np.argsort(ids, axis=1, kind="stable")
        ordered = np.take_along_axis(ids, order, 1)
        is_new = np.ones(ordered.shape, bool)
        is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        is_new &= ordered >= 0
        run = is_new.ravel().cumsum().reshape(is_new.shape) - 1
        first = np.flatnonzero(is_new.ravel())
        inverse = np.empty(ids.shape, np.int64)
        np.put_along_axis(inverse, order, np.where(ordered >= 0, run, -1), 1)
        row = first // max(1, ids.shape[1])
        count = np.bincount(run[ordered >= 0], minlength=len(first))
        per_row = np.bincount(row, minlength=len(ids))
        return cls(row, ordered.ravel()[first], count, inverse, per_row.cumsum() - per_row)

    def pooled(self, values: np.ndarray, how: np.ufunc) -> np.ndarray:
        """`how.reduceat` over the runs of each sequence, none of which is empty."""
        return how.reduceat(values, self.starts)


class Habits:
    """What is usual in healthy stretches, at one granularity.

    Args:
        ids: int64 `(entries,)`, below `size`.
        stretch: as in `Occurrences`.
        size: distinct entries there are, in the stretches or not.
        length: entries of the windows that counts are learned from.
    """

    def __init__(self, ids: np.ndarray, stretch: np.ndarray, size: int, length: int):
        self.size, self.length = size, length
        self.total = len(ids)
        self.count = np.bincount(ids, minlength=size)
        self.is_known = self.count > 0
        self.known = np.flatnonzero(self.is_known)
        self.row_of = np.full(size, -1)
        self.row_of[self.known] = np.arange(len(self.known))

        keys = [ids[:-d][same] * size + ids[d:][same] for d, same in self._apart(stretch)]
        self.pairs, self.pair_counts = np.unique(keys[0], return_counts=True) if keys else (np.empty(0, int),) * 2
        self.near_pairs = np.unique(np.concatenate(keys)) if keys else np.empty(0, int)
        self.before = np.bincount(keys[0] // size, minlength=size) if keys else np.zeros(size, int)

        windows = _thinned(windows_of(stretch, length, max(1, length // 2)), COUNTED_WINDOWS)
        self.num_windows = len(windows)
        window_ids = np.where(windows >= 0, ids[windows], -1)
        runs = _Runs.of(window_ids)
        # Of each known entry the number of windows that hold at least so many of it.
        tail = np.zeros((len(self.known), length + 2), np.int32)
        np.add.at(tail, (self.row_of[runs.entry], runs.count), 1)
        self.tail = tail[:, ::-1].cumsum(1)[:, ::-1]
        presence = self.tail[:, 1] / max(1, self.num_windows)
        usual = np.flatnonzero(presence > USUAL)
        self.usual = self.known[usual]
        self.usual_evidence = -np.log(np.maximum(1 - presence[usual], 1 / (self.num_windows + 1)))

        # Windows to be near to: each kind once.
        ordered = np.unique(np.sort(window_ids, axis=1), axis=0)
        compared = _Runs.of(_thinned(ordered, COMPARED_WINDOWS))
        columns, column = np.unique(compared.entry, return_inverse=True)
        self.column_of = np.full(size, len(columns))
        self.column_of[columns] = np.arange(len(columns))
        self.compared = np.zeros((len(columns) + 1, len(compared.starts)), np.float32)
        self.compared[column, compared.row] = np.sqrt(compared.count)
        self.compared_sizes = (self.compared**2).sum(0)

    @staticmethod
    def _apart(stretch: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return [(d, stretch[d:] == stretch[:-d]) for d in range(1, NEIGHBOURS + 1) if d < len(stretch)]

    def entry_features(self, ids: np.ndarray, place: np.ndarray, runs: _Runs) -> np.ndarray:
        """Features `(sequences, entries, 6)` in the order of the names.

        Args:
            ids: int64 `(sequences, entries)`, -1 at padding.
            place: the nearest known entry of each, itself where it is known; -1 at padding.
            runs: of `place`.
        """
        features = np.zeros((*ids.shape, len(_OF_ENTRY)), np.float32)
        rarity = -np.log((self.count + 0.5) / (self.total + 1)).astype(np.float32)
        features[..., 0] = ~self.is_known[ids]
        features[..., 1] = rarity[ids]
        features[..., 2] = rarity[place]
        # Follows the entry before it as often as expected? A Dirichlet prior of weight 2 on how common it is.
        before, after = place[:, :-1], place[:, 1:]
        hits = _counts(self.pairs, self.pair_counts, before * self.size + after)
        prior = (self.count[after] + 0.5) / (self.total + 0.5 * max(1, len(self.known)))
        features[:, 1:, 3] = -np.log((hits + 2 * prior) / (self.before[before] + 2))
        unseen = np.zeros(ids.shape, np.float32)
        for distance in range(1, min(NEIGHBOURS + 1, ids.shape[1])):
            pair = place[:, :-distance] * self.size + place[:, distance:]
            unseen[:, distance:] += ~_found(self.near_pairs, pair)
        features[..., 4] = unseen / np.clip(np.arange(ids.shape[1]), 1, NEIGHBOURS)
        features[..., 5] = self._count_tail(runs)[runs.inverse]
        features[ids < 0] = 0
        return features

    def _count_tail(self, runs: _Runs) -> np.ndarray:
        count = np.minimum(runs.count, self.length + 1)
        row = self.row_of[runs.entry]
        at_least = np.where(row >= 0, self.tail[row, count], 0)
        return -np.log10((at_least + 1) / (self.num_windows + 1))

    def sequence_features(
        self, runs: _Runs, own: _Runs, ends: np.ndarray, past: "Past"
    ) -> np.ndarray:
        """Features `(sequences, 11)` in the order of the names.

        Args:
            runs: of the nearest known entries of each sequence.
            own: of the entries themselves.
            ends: int64 `(sequences,)`, position in the log after the last entry.
            past: the log up to there.
        """
        rows = len(runs.starts)
        features = np.zeros((rows, len(_OF_SEQUENCE)), np.float32)
        is_usual = np.zeros(self.size, bool)
        is_usual[self.usual] = True
        evidence = np.zeros(self.size)
        evidence[self.usual] = self.usual_evidence
        features[:, 0] = self.usual_evidence.sum() - runs.pooled(evidence[runs.entry], np.add)
        features[:, 1] = self._nearest_window(runs)
        features[:, 2] = np.log1p(np.diff(np.append(runs.starts, len(runs.row))))
        frequent = self.known[self.count[self.known] / max(1, self.total) * HORIZONS[-1] >= 4]
        for number, horizon in enumerate(HORIZONS):
            lows = np.maximum(past.first, ends - horizon)
            seen = past.counts(own.entry, lows[own.row], ends[own.row])
            length = ends - lows
            departure = _departure(seen, length[own.row] * (self.count[own.entry] + 0.25) / (self.total + 1))
            column = 3 + 4 * number
            features[:, column] = own.pooled(departure, np.maximum)
            per_row = np.diff(np.append(own.starts, len(own.row)))
            features[:, column + 1] = own.pooled(departure, np.add) / per_row
            order = np.lexsort((-departure, own.row))
            is_top = np.arange(len(order)) - np.repeat(own.starts, per_row) < 3
            features[:, column + 2] = own.pooled(np.where(is_top, departure[order], 0), np.add) / np.minimum(per_row, 3)
            low = np.zeros(rows)
            for entry in frequent[np.argsort(-self.count[frequent], kind="stable")][:TIMED_ENTRIES]:
                expected = length * self.count[entry] / self.total
                away = _departure(past.counts(np.full(rows, entry), lows, ends), expected)
                low = np.minimum(low, np.where(expected >= 3, away, 0))
            features[:, column + 3] = low
        return features

    def _nearest_window(self, runs: _Runs) -> np.ndarray:
        """Hellinger-like distance of each sequence's counts to the nearest healthy window's."""
        nearest = np.empty(len(runs.starts), np.float32)
        bounds = np.append(runs.starts, len(runs.row))
        for low in range(0, len(nearest), 1024):
            high = min(low + 1024, len(nearest))
            part = slice(bounds[low], bounds[high])
            shares = self.compared[self.column_of[runs.entry[part]]] * np.sqrt(runs.count[part], dtype=np.float32)[:, None]
            common = np.add.reduceat(shares, runs.starts[low:high] - bounds[low], axis=0)
            sizes = np.add.reduceat(runs.count[part], runs.starts[low:high] - bounds[low])
            distance = sizes[:, None] + self.compared_sizes - 2 * common
            nearest[low:high] = np.sqrt(np.maximum(0, distance.min(1)))
        return nearest


def _found(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether each wanted key is among the sorted `keys`."""
    if not len(keys):
        return np.zeros(wanted.shape, bool)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[place] == wanted


def _counts(keys: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The count of each wanted key, 0 where it is not among the sorted `keys`."""
    if not len(keys):
        return np.zeros(wanted.shape, int)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, counts[place], 0)


def _departure(count: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far a count is from a Poisson rate, with the variance made even (Anscombe, 1948)."""
    return 2 * (np.sqrt(count + 0.375) - np.sqrt(expected + 0.375))


class Past:
    """Where each entry stands in a log, for counts over any stretch of it.

    Args:
        ids: int64 `(entries,)`.
        first: position of the first of them in the log.
    """

    def __init__(self, ids: np.ndarray, first: int = 0):
        self.first, self.end = first, first + len(ids)
        self._span = self.end + 1
        position = np.arange(len(ids)) + first
        self._keys = np.sort(ids * self._span + position)

    def counts(self, entry: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How often each entry stands at positions from `low` to before `high`."""
        return self._before(entry, high) - self._before(entry, low)

    def _before(self, entry: np.ndarray, position: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._keys, entry * self._span + position)

    def last_before(self, entry: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Position of each entry's last occurrence before `position`; -1 if there is none."""
        place = self._before(entry, position) - 1
        key = self._keys[np.maximum(place, 0)]
        return np.where((place >= 0) & (key // self._span == entry), key % self._span, -1)

    def first_from(self, entry: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Position of each entry's first occurrence from `position` on; the log's end if there is none."""
        place = self._before(entry, position)
        key = self._keys[np.minimum(place, len(self._keys) - 1)]
        return np.where((place < len(self._keys)) & (key // self._span == entry), key % self._span, self.end)


class Surprise:
    """Measures sequences of a log against healthy entries.

    Args:
        healthy: the healthy entries.
        vocabulary: of these and of the logs to be measured.
        length: entries of the sequences to be measured, at most.
    """

    def __init__(self, healthy: Occurrences, vocabulary: Vocabulary, length: int):
        self.vocabulary, self.length = vocabulary, length
        template = vocabulary.template_of[healthy.text]
        self.habits = {
            "text": Habits(healthy.text, healthy.stretch, vocabulary.size("text"), length),
            "template": Habits(template, healthy.stretch, vocabulary.size("template"), length),
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
        full = windows[is_full] if is_full.any() else windows
        durations = _durations(healthy.time, full)
        self.durations = np.sort(durations[~np.isnan(durations)])
        self._time_returns(template, healthy)

    def _time_returns(self, template: np.ndarray, healthy: Occurrences) -> None:
        """How long, and for how many entries, the most frequent entries stay away."""
        habits = self.habits["template"]
        frequent = habits.known[np.argsort(-habits.count[habits.known], kind="stable")][:TIMED_ENTRIES]
        self.timed, self.return_times, self.return_counts = [], [], []
        for entry in frequent.tolist():
            positions = np.flatnonzero(template == entry)
            same = healthy.stretch[positions[1:]] == healthy.stretch[positions[:-1]]
            if same.sum() < RETURNS:
                continue
            away = np.diff(healthy.time[positions])[same]
            self.timed.append(entry)
            self.return_times.append(np.sort(away[~np.isnan(away)]))
            self.return_counts.append(np.sort(np.diff(positions)[same]))

    def _find_nearest(self, templates: np.ndarray) -> None:
        """Fills in the nearest known template of those not met before."""
        new = np.unique(templates[self._place[templates] < 0])
        known = self.habits["template"].known
        for start in range(0, len(new), 1024):
            part = new[start : start + 1024]
            similarity = self.vocabulary.embeddings[part] @ self.vocabulary.embeddings[known].T
            self._place[part] = known[similarity.argmax(1)]
            self._distance[part] = np.maximum(0, 1 - similarity.max(1))

    def measure(
        self, log: Occurrences, sequences: np.ndarray, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of sequences of a log.

        Args:
            log: the log, or its part from position `first` on that holds all that is needed.
            sequences: int64 `(sequences, entries)`, positions in `log`, -1 at padding.

        Returns:
            Entry features `(sequences, entries, len(ENTRY_FEATURES))` and sequence features
            `(sequences, len(SEQUENCE_FEATURES))`, float32; NaN where a log has no times.
        """
        text = np.where(sequences >= 0, log.text[sequences], -1)
        template = np.where(text >= 0, self.vocabulary.template_of[text], -1)
        self._find_nearest(np.unique(template[template >= 0]))
        place = np.where(template >= 0, self._place[template], -1)
        is_known = self.habits["text"].is_known[text]
        text_place = np.where(text < 0, -1, np.where(is_known, text, self._usual_text[place]))

        ends = np.where(sequences >= 0, sequences, -1).max(1) + 1
        found = []
        of_sequence = []
        for granularity, ids, near in (("text", text, text_place), ("template", template, place)):
            runs, own = _Runs.of(near), _Runs.of(ids)
            found.append(self.habits[granularity].entry_features(ids, near, runs))
            ids_of_log = log.text if granularity == "text" else self.vocabulary.template_of[log.text]
            past = Past(ids_of_log)
            of_sequence.append(self.habits[granularity].sequence_features(runs, own, ends, past))
        distance = np.where(template >= 0, self._distance[template], 0)[..., None]
        entry = np.concatenate([distance, *found], axis=2).astype(np.float32)
        gaps = self._gap_tails(log)
        gap = np.where(sequences >= 0, gaps[sequences], 0)[..., None].astype(np.float32)
        pooled = pool(np.concatenate([entry, gap], axis=2), sequences >= 0)
        timing = self._timing(log, sequences)
        overdue = self._overdue(log, sequences, past)
        return entry, np.concatenate([pooled, *of_sequence, timing, overdue], axis=1).astype(np.float32)

    def _gap_tails(self, log: Occurrences) -> np.ndarray:
        same = log.stretch[1:] == log.stretch[:-1]
        gap = np.append(0.0, np.where(same, np.maximum(np.diff(log.time), 0), 0))
        tail = 1 - np.searchsorted(self.gaps, gap) / len(self.gaps) + 1 / len(self.gaps)
        return np.where(np.isnan(gap), np.nan, -np.log10(tail))

    def _timing(self, log: Occurrences, sequences: np.ndarray) -> np.ndarray:
        """Slower, and faster, than healthy windows: -log10 of the tails."""
        duration = _durations(log.time, sequences)
        if not len(self.durations):
            return np.full((len(sequences), 2), np.nan)
        rank = np.searchsorted(self.durations, duration) / len(self.durations)
        floor = 1 / len(self.durations)
        both = np.stack([-np.log10(1 - rank + floor), -np.log10(rank + floor)], 1)
        return np.where(np.isnan(duration)[:, None], np.nan, both)

    def _overdue(self, log: Occurrences, sequences: np.ndarray, past: Past) -> np.ndarray:
        """Evidence that usual entries stay away, against how long they stay away in the healthy entries.

        For each timed entry the longest absence that reaches into the sequence. Maxima and sums of the tails.
        """
        rows = len(sequences)
        most = np.zeros((rows, 2))
        late = np.zeros((rows, 2))
        starts, last = sequences[:, 0], np.where(sequences >= 0, sequences, -1).max(1)
        zeros = np.zeros(rows, np.int64)
        for entry, times, counts in zip(self.timed, self.return_times, self.return_counts, strict=True):
            wanted = zeros + entry
            before = np.maximum(past.last_before(wanted, starts), 0)
            here = np.minimum(past.first_from(wanted, starts), last)
            passed = here - before
            tail = (len(counts) - np.searchsorted(counts, passed) + 1) / (len(counts) + 1)
            evidence = -np.log10(tail)
            most[:, 1] = np.maximum(most[:, 1], evidence)
            late[:, 1] += np.where(passed > counts[-1], evidence, 0)
            if len(times):
                away = log.time[here] - log.time[before]
                tail = (len(times) - np.searchsorted(times, away) + 1) / (len(times) + 1)
                evidence = np.where(np.isnan(away), np.nan, -np.log10(tail))
                most[:, 0] = np.fmax(most[:, 0], evidence)
                late[:, 0] += np.where(away > times[-1], evidence, 0)
        if not any(len(times) for times in self.return_times):
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
    top = np.where(np.arange(top.shape[1])[None, :, None] < number[..., None], top, 0)
    mean = np.where(is_entry[..., None], values, 0).sum(1) / number
    return np.concatenate(
        [top[:, 0], mean, top[:, :3].sum(1) / np.minimum(number, 3), top[:, :8].sum(1) / np.minimum(number, 8)], axis=1
    )


__all__ = ["ENTRY_FEATURES", "SEQUENCE_FEATURES", "Habits", "Occurrences", "Past", "Surprise", "Vocabulary", "pool"]


def cross_fitted(
    log: Occurrences, sequences: np.ndarray, vocabulary: Vocabulary, length: int, blocks: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Features of sequences of a log against the log's other blocks: never against themselves.

    Args:
        log: the log.
        sequences: int64 `(sequences, entries)`, positions, -1 at padding, ordered by their first entry.
        blocks: contiguous blocks of sequences.

    Returns:
        As `Surprise.measure`.
    """
    first = sequences[:, 0]
    edges = [first[0] + (len(log) - first[0]) * block // blocks for block in range(blocks + 1)]
    block_of = np.searchsorted(edges[1:-1], first, side="right")
    entry = np.zeros((*sequences.shape, len(ENTRY_FEATURES)), np.float32)
    of_sequence = np.zeros((len(sequences), len(SEQUENCE_FEATURES)), np.float32)
    for block in np.unique(block_of):
        rows = np.flatnonzero(block_of == block)
        is_own = np.zeros(len(log), bool)
        own = sequences[rows]
        is_own[own[own >= 0]] = True
        rest = np.flatnonzero(~is_own)
        # Entries on the two sides of the block are no neighbours.
        jump = np.append(0, (np.diff(rest) > 1).cumsum())
        stretch = log.stretch[rest] + jump
        surprise = Surprise(log.take(rest, stretch), vocabulary, length)
        entry[rows], of_sequence[rows] = surprise.measure(log, own)
    return entry, of_sequence


def rank_evidence(values: np.ndarray, healthy: np.ndarray) -> np.ndarray:
    """-log10 of the share of healthy sequences with at least such a value, `(sequences, features)`.

    Args:
        values: `(sequences, features)`.
        healthy: `(healthy_sequences, features)`, NaN where unknown.
    """
    evidence = np.empty(values.shape, np.float32)
    for column in range(values.shape[1]):
        known = np.sort(healthy[:, column][~np.isnan(healthy[:, column])])
        at_least = len(known) - np.searchsorted(known, values[:, column], side="left")
        evidence[:, column] = -np.log10((at_least + 1) / (len(known) + 1))
    return np.where(np.isnan(values), np.nan, evidence)


class RunningLevel:
    """How surprising a log is as a rule: the lower quarter of each feature over its sequences so far.

    What stands above it stands out of this log, however badly the reference fits. Renewed whenever the log has half as
    many sequences again, so that it depends on the log alone, not on how it arrives.

    Args:
        prior: `(features,)`, the lower quarter of healthy sequences, in use until there are `FIRST` of the log's own.
    """

    FIRST = 16
    MOST = 2048

    def __init__(self, prior: np.ndarray):
        self.level = prior
        self._renew_at = self.FIRST
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
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(values).all(0)
        level = np.full(values.shape[1], np.nan, np.float32)
        if known.any():
            level[known] = np.nanquantile(values[:, known], 0.25, axis=0)
    return level


INPUTS = (
    *SEQUENCE_FEATURES,
    *(f"rank_{name}" for name in SEQUENCE_FEATURES),
    *(f"above_{name}" for name in SEQUENCE_FEATURES),
)
"""Names of what the model's terms read of a sequence: each feature, its rank among healthy ones, and how far it stands
above the log's own level."""


def sequence_inputs(features: np.ndarray, healthy: np.ndarray, level: np.ndarray) -> np.ndarray:
    """What the model's terms read, `(sequences, len(INPUTS))`.

    Args:
        features: `(sequences, len(SEQUENCE_FEATURES))`.
        healthy: the same of cross-fitted healthy sequences.
        level: of the log, `(features,)` or of each sequence.
    """
    return np.concatenate([features, rank_evidence(features, healthy), features - level], axis=1).astype(np.float32)
