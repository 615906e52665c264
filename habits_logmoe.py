"""What is usual in healthy logs: the tables that surprise is measured against, at one granularity.

`Habits` counts what stands in healthy stretches, what follows what, and how much of it a window holds; nothing here
loops over occurrences. `Surprise` has one for masked texts and one for templates.
"""

from dataclasses import dataclass

import numpy as np

# What is measured of each entry in a sequence, and of each sequence.
OF_ENTRY = ("new", "rarity", "nearest_rarity", "transition", "unseen_pairs", "count")
# Trailing entries over which rates are compared.
HORIZONS = (128, 512)
OF_SEQUENCE = (
    "missing",
    "nearest_window",
    "distinct",
    *(f"rate{horizon}_{name}" for horizon in HORIZONS for name in ("max", "mean", "top3", "low")),
)

# An entry that stands in more than this share of healthy windows is usual: its absence tells.
USUAL = 0.5
# Entries whose returns are timed, the most frequent ones, and how often they must return.
TIMED_ENTRIES = 64
RETURNS = 8
# Returns are regular if this share of them takes between half the median and twice as much, and this share of the time
# that all take: of ten entries in a second and then none for an hour, nine in ten returns are alike.
REGULAR_RETURNS, REGULAR_TIME = 0.8, 0.5
# Healthy windows that a sequence is compared with.
COMPARED_WINDOWS = 512
# Sequences that are compared at once, each with all windows.
COMPARED_AT_ONCE = 256
# A table of entries by windows holds so many cells at most; in a larger one entries of fewer windows than this have no
# row: they stand in lists.
TABLE_CELLS, RARE_WINDOWS = 1 << 20, 16
# The square of a distance is 0 below this; one entry more or less, of a thousand, makes 2.5e-4.
SMALLEST_DISTANCE = 1e-4
# Healthy windows from which counts are learned.
COUNTED_WINDOWS = 1 << 15
# Entries before an entry that make its neighbourhood.
NEIGHBOURS = 5
# Windows that each entry of a run is in.
RUN_OVERLAP = 4
# Below this share of entries with a time, a log has none.
TIMED_SHARE = 0.05


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
    first = np.repeat(starts, counts) + stride * (
        np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    )
    positions = first[:, None] + np.arange(length)
    return np.where(positions < np.repeat(starts + sizes, counts)[:, None], positions, -1)


def run_windows(stretch: np.ndarray, length: int) -> np.ndarray:
    """As `windows_of`, with each entry in several windows, and the last window of a stretch no shorter than others.

    Another run begins its windows elsewhere after the first line that differs.
    """
    windows = windows_of(stretch, length, max(1, length // RUN_OVERLAP))
    if not len(stretch):
        return windows
    starts = np.flatnonzero(np.diff(stretch, prepend=stretch[0] - 1))
    last = np.append(starts[1:], len(stretch)) - length
    at_end = last[last >= starts][:, None] + np.arange(length)
    return np.concatenate([windows, at_end])


def steps_of(template: np.ndarray, stretch: np.ndarray, templates: int) -> np.ndarray:
    """Neighbouring entries of a stretch, by their templates `(entries,)`: int64, one number for each pair.

    Args:
        templates: how many are known; that number stands for all others.
    """
    pairs: np.ndarray = template[:-1] * (templates + 1) + template[1:]
    return pairs[stretch[1:] == stretch[:-1]]


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


@dataclass(frozen=True)
class Runs:
    """Distinct entries of each sequence with how often they stand in it, sequence by sequence."""

    row: np.ndarray  # (runs,) of the sequence
    entry: np.ndarray
    count: np.ndarray
    inverse: np.ndarray  # (sequences, entries) of each entry its run; -1 at padding
    starts: np.ndarray  # (sequences,) first run of each

    @classmethod
    def of(cls, ids: np.ndarray) -> "Runs":
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

    def per_row(self) -> np.ndarray:
        """Distinct entries of each sequence."""
        return np.diff(np.append(self.starts, len(self.row)))


class ComparedWindows:
    """Healthy windows that sequences are compared with, by the square roots of how often each entry stands in them.

    Args:
        runs: of the windows.
        size: entries of the vocabulary.

    Attributes:
        sizes: float32 `(windows,)`, their entries.
    """

    def __init__(self, runs: Runs, size: int):
        self.number, self._starts = len(runs.starts), runs.starts
        self._entry, self._root = runs.entry, np.sqrt(runs.count).astype(np.float32)
        self.sizes = np.zeros(self.number, np.float32)
        np.add.at(self.sizes, runs.row, self._root**2)
        columns, column, windows = np.unique(runs.entry, return_inverse=True, return_counts=True)
        is_large = (len(columns) + 1) * self.number > TABLE_CELLS
        is_listed = (windows < RARE_WINDOWS) & is_large
        rows = columns[~is_listed]
        self._row_of = np.full(size, len(rows))  # the last row is that of all others
        self._row_of[rows] = np.arange(len(rows))
        self._table = np.zeros((len(rows) + 1, self.number), np.float32)
        listed = is_listed[column]
        self._table[self._row_of[runs.entry[~listed]], runs.row[~listed]] = self._root[~listed]
        order = np.flatnonzero(listed)[np.argsort(runs.entry[listed], kind="stable")]
        self._listed = runs.entry[order], runs.row[order], self._root[order]

    def common(self, entry: np.ndarray, root: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """What sequences have in common with each window: float32 `(sequences, windows)`.

        Args:
            entry: distinct entries of each sequence, sequence by sequence.
            root: float32, the square root of how often each stands in its sequence.
            starts: of each sequence its first entry.
        """
        common = np.add.reduceat(self._table[self._row_of[entry]] * root[:, None], starts, axis=0)
        listed, window, listed_root = self._listed
        if len(listed):
            low = np.searchsorted(listed, entry)
            number = np.searchsorted(listed, entry, side="right") - low
            of_entry = np.repeat(np.arange(len(entry)), number)
            place = np.arange(len(of_entry)) - np.repeat(number.cumsum() - number - low, number)
            sequence = np.searchsorted(starts, of_entry, side="right") - 1
            shares = np.bincount(
                sequence * self.number + window[place], root[of_entry] * listed_root[place], common.size
            )
            common += shares.reshape(common.shape).astype(np.float32)
        return common

    def window(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The distinct entries of a window, and the square root of how often each stands in it."""
        part = slice(self._starts[number], self._starts[number + 1] if number + 1 < self.number else None)
        return self._entry[part], self._root[part]


class Habits:
    """What is usual in healthy stretches, at one granularity.

    Args:
        ids: int64 `(entries,)`, below `size`.
        stretch: as in `Occurrences`.
        size: distinct entries of the vocabulary, in the stretches or not.
        length: entries of the windows that counts are learned from.
        count: int64 `(size,)`, how often each was seen, if `ids` are only a sample of that.
    """

    def __init__(self, ids: np.ndarray, stretch: np.ndarray, size: int, length: int, count: np.ndarray | None = None):
        self.size, self.length = size + 1, length  # the last row stands for all that the vocabulary lacks
        size = self.size
        self.count = np.bincount(ids, minlength=size) if count is None else np.append(count, 0)
        self.total = int(self.count.sum())
        self.is_known = self.count > 0
        self.known = np.flatnonzero(self.is_known)
        self.row_of = np.full(size, -1)
        self.row_of[self.known] = np.arange(len(self.known))

        keys = [ids[:-d][same] * size + ids[d:][same] for d, same in self._apart(stretch)]
        first = keys[0] if keys else np.empty(0, np.int64)
        self.pairs: np.ndarray
        self.pair_counts: np.ndarray
        self.pairs, self.pair_counts = np.unique(first, return_counts=True)
        self.near_pairs = np.unique(np.concatenate(keys)) if keys else np.empty(0, int)
        self.before = np.bincount(keys[0] // size, minlength=size) if keys else np.zeros(size, int)

        windows = _thinned(windows_of(stretch, length, max(1, length // 2)), COUNTED_WINDOWS)
        self.num_windows = len(windows)
        window_ids = np.where(windows >= 0, ids[windows], -1)
        runs = Runs.of(window_ids)
        # Of each known entry the number of windows that hold at least so many of it.
        tail = np.zeros((len(self.known), length + 2), np.int32)
        np.add.at(tail, (self.row_of[runs.entry], runs.count), 1)
        self.tail = tail[:, ::-1].cumsum(1, np.int32)[:, ::-1]
        presence = self.tail[:, 1] / max(1, self.num_windows)
        usual = np.flatnonzero(presence > USUAL)
        self.usual = self.known[usual]
        self.usual_evidence = -np.log(np.maximum(1 - presence[usual], 1 / (self.num_windows + 1)))

        # Windows to be near to: each kind once.
        ordered = np.unique(np.sort(window_ids, axis=1), axis=0)
        self.compared = ComparedWindows(Runs.of(_thinned(ordered, COMPARED_WINDOWS)), size)

    @staticmethod
    def _apart(stretch: np.ndarray) -> list[tuple[int, np.ndarray]]:
        return [(d, stretch[d:] == stretch[:-d]) for d in range(1, NEIGHBOURS + 1) if d < len(stretch)]

    def entry_features(self, ids: np.ndarray, place: np.ndarray, runs: Runs) -> np.ndarray:
        """Features `(sequences, entries, 6)` in the order of the names.

        Args:
            ids: int64 `(sequences, entries)`, -1 at padding.
            place: the nearest known entry of each, itself where it is known; -1 at padding.
            runs: of `place`.
        """
        is_padding = ids < 0
        ids = np.minimum(ids, self.size - 1)
        features = np.zeros((*ids.shape, len(OF_ENTRY)), np.float32)
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
            unseen[:, distance:] += ~is_among(self.near_pairs, pair)
        features[..., 4] = unseen / np.clip(np.arange(ids.shape[1]), 1, NEIGHBOURS)
        features[..., 5] = self._count_tail(runs)[runs.inverse]
        features[is_padding] = 0
        return features

    def _count_tail(self, runs: Runs) -> np.ndarray:
        count = np.minimum(runs.count, self.length + 1)
        row = self.row_of[runs.entry]
        at_least = np.where(row >= 0, self.tail[row, count], 0)
        return -np.log10((at_least + 1) / (self.num_windows + 1))

    def sequence_features(self, runs: Runs, own: Runs, ends: np.ndarray, past: "Past | None") -> np.ndarray:
        """Features `(sequences, 11)` in the order of the names.

        Args:
            runs: of the nearest known entries of each sequence.
            own: of the entries themselves.
            ends: int64 `(sequences,)`, position in `past` after the last entry.
            past: the log up to there; None if sequences are no stretches of it.
        """
        features = np.zeros((len(runs.starts), len(OF_SEQUENCE)), np.float32)
        evidence = np.zeros(self.size)
        evidence[self.usual] = self.usual_evidence
        features[:, 0] = self.usual_evidence.sum() - runs.pooled(evidence[runs.entry], np.add)
        features[:, 1] = self._nearest_window(runs)
        features[:, 2] = np.log1p(runs.per_row())
        for number, horizon in enumerate(HORIZONS):
            columns = slice(3 + 4 * number, 7 + 4 * number)
            features[:, columns] = np.nan if past is None else self._rates(own, ends, past, horizon)
        return features

    def _rates(self, own: Runs, ends: np.ndarray, past: "Past", horizon: int) -> np.ndarray:
        """How far entries depart from their healthy rates over the trailing `horizon` entries.

        Returns:
            `(sequences, 4)`: maximum, mean and mean of the top three over the sequence's entries, and how far the
            lowest of the entries that are frequent in healthy logs is below its rate.
        """
        lows = np.maximum(0, ends - horizon)
        length = ends - lows
        seen = past.counts(own.entry, lows[own.row], ends[own.row])
        rate = (self.count[np.minimum(own.entry, self.size - 1)] + 0.25) / (self.total + 1)
        departures = departure(seen, length[own.row] * rate)
        per_row = own.per_row()
        order = np.lexsort((-departures, own.row))
        is_top = np.arange(len(order)) - np.repeat(own.starts, per_row) < 3
        top = own.pooled(np.where(is_top, departures[order], 0), np.add) / np.minimum(per_row, 3)
        frequent = self.known[self.count[self.known] * horizon >= 3 * self.total]
        low = np.zeros(len(ends))
        for entry in frequent[np.argsort(-self.count[frequent], kind="stable")][:TIMED_ENTRIES].tolist():
            expected = length * (self.count[entry] / self.total)
            away = departure(past.counts_of(entry, lows, ends), expected)
            low = np.maximum(low, np.where(expected >= 3, -away, 0))
        return np.stack(
            [own.pooled(departures, np.maximum), own.pooled(departures, np.add) / per_row, top, low], axis=1
        )

    def _nearest_window(self, runs: Runs) -> np.ndarray:
        """Hellinger-like distance of each sequence's counts to the nearest healthy window's."""
        nearest = np.empty(len(runs.starts), np.float32)
        bounds = np.append(runs.starts, len(runs.row))
        for low in range(0, len(nearest), COMPARED_AT_ONCE):
            high = min(low + COMPARED_AT_ONCE, len(nearest))
            part, starts = slice(bounds[low], bounds[high]), runs.starts[low:high] - bounds[low]
            common = self.compared.common(runs.entry[part], np.sqrt(runs.count[part], dtype=np.float32), starts)
            sizes = np.add.reduceat(runs.count[part], starts)
            distance = (sizes[:, None] + self.compared.sizes - 2 * common).min(1)
            # What rounding leaves of 0 would have a root that looks like a distance.
            nearest[low:high] = np.sqrt(np.where(distance < SMALLEST_DISTANCE, 0, distance))
        return nearest


def is_among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
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


def departure(count: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far a count is from a Poisson rate, with the variance made even (Anscombe, 1948)."""
    return 2 * (np.sqrt(count + 0.375) - np.sqrt(expected + 0.375))


def rate_weights(departures: np.ndarray, entry: np.ndarray) -> dict[str, np.ndarray]:
    """How what is pooled of rates is divided among the entries of a sequence.

    By the square of how far each distinct entry is above its rate, the terms of a chi-squared statistic, and evenly
    among its places.

    Args:
        departures: `(distinct,)`, of the sequence's distinct entries.
        entry: int64 `(entries,)`, the distinct entry at each place.

    Returns:
        By pool, `(entries,)`, which sums to 1.
    """
    order = np.argsort(-departures, kind="stable")
    weights = {}
    for pool, number in (("max", 1), ("mean", len(order)), ("top3", 3)):
        brings = np.zeros(len(order))
        brings[order[:number]] = np.maximum(departures[order[:number]], 0) ** 2
        if not brings.any():
            brings[order[:number]] = 1
        weights[pool] = (brings / brings.sum() / np.bincount(entry))[entry]
    return weights


def tail_evidence(ordered: np.ndarray, values: np.ndarray | float) -> np.ndarray:
    """-log10 of the share of ordered values that are at least as large, counting the judged one."""
    evidence: np.ndarray = -np.log10((len(ordered) - np.searchsorted(ordered, values) + 1) / (len(ordered) + 1))
    return evidence


def is_regular(ordered: np.ndarray) -> bool:
    """Whether returns are about equally long, which makes an entry periodic; what comes in bursts is not.

    Args:
        ordered: times or numbers of entries, one at least.
    """
    usual = np.median(ordered)
    like = ordered[(ordered >= usual / 2) & (ordered <= 2 * usual)]
    is_most = len(like) >= REGULAR_RETURNS * len(ordered)
    return bool(usual > 0 and is_most and like.sum() >= REGULAR_TIME * ordered.sum())


class Past:
    """Where each entry stands in a log, for counts over any stretch of it.

    Args:
        ids: int64 `(entries,)`.
    """

    def __init__(self, ids: np.ndarray):
        self.ids, self._span = ids, len(ids) + 1
        self._keys = np.sort(ids * self._span + np.arange(len(ids)))

    def counts(self, entry: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """How often each entry stands at positions from `low` to before `high`."""
        return self._before(entry, high) - self._before(entry, low)

    def counts_of(self, entry: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The same of one entry."""
        so_far = np.append(0, (self.ids == entry).cumsum())
        return so_far[high] - so_far[low]

    def _before(self, entry: np.ndarray, position: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._keys, entry * self._span + position)


def usable_times(time: np.ndarray, stretch: np.ndarray | None = None) -> np.ndarray:
    """As `filled_times`; none, if hardly any is known."""
    is_timed = len(time) and np.mean(~np.isnan(time)) >= TIMED_SHARE
    return filled_times(time, stretch) if is_timed else np.full(len(time), np.nan)


def filled_times(time: np.ndarray, stretch: np.ndarray | None = None) -> np.ndarray:
    """Times `(entries,)`, each unknown one that of the latest entry before it, in its stretch, with a time."""
    place = np.where(np.isnan(time), -1, np.arange(len(time)))
    previous = np.maximum.accumulate(place) if len(time) else place
    is_known = previous >= 0
    if stretch is not None:
        is_known &= stretch[previous] == stretch
    return np.where(is_known, time[previous], np.nan)


__all__ = [
    "Habits",
    "Past",
    "Runs",
    "departure",
    "filled_times",
    "is_among",
    "is_regular",
    "rate_weights",
    "run_windows",
    "steps_of",
    "tail_evidence",
    "usable_times",
    "windows_of",
]
