"""Which of several healthy logs a log is judged against: those of its kind.

A folder of healthy logs may hold those of a web server, of a mail server and of the kernel. Put together they are no
measure of any of them: what is odd for one is usual beside the others, and what one does each minute another never
does. So each log is judged against the healthy logs that know its entries, as if these alone had been given. Called by
the pipeline and by the scan.
"""

import itertools
import sys
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from .fitting_logmoe import Embed, StreamMemory
from .folds_logmoe import FAMILIAR_SHARE
from .measuring_logmoe import LogMeasure, TimeOrder
from .parsing_logmoe import ParsedLog
from .reference_logmoe import Encode, LogReference

# Of a log's entries that healthy ones know, the share that those of its kind may lack.
LACKING_SHARE = 0.01
# Entries at the beginning of a log that tell its kind, and of a stream, whose first ones do not wait for them.
FIRST_ENTRIES, FIRST_OF_STREAM = 8192, 512
# Parts of a reference that are remembered, for logs of as many kinds.
MOST_PARTS = 32
# Kinds that a healthy log is compared with, the first ones.
MOST_COMPARED = 512


def kinds_of(ids: np.ndarray, log: np.ndarray) -> np.ndarray:
    """The kind of each of several healthy logs, int64 `(logs,)`, numbered in the order in which kinds come.

    That of the first log that knows half of its entries and of whose entries it knows half, as of another day.

    Args:
        ids: int64 `(entries,)`, equal numbers for equal entries.
        log: int64 `(entries,)`, the number of each one's log, ascending from 0.
    """
    size = int(ids.max()) + 1
    pairs, counts = np.unique(log * size + ids, return_counts=True)
    share = counts / np.bincount(log)[pairs // size]
    kind = np.empty(int(log[-1]) + 1, np.int64)
    shares = np.zeros((0, size), np.float32)  # of the entries of each kind's first log
    number = 0
    starts = np.searchsorted(pairs, np.arange(len(kind) + 1) * size)
    for row, (start, stop) in enumerate(itertools.pairwise(starts.tolist())):
        entry, own = pairs[start:stop] % size, share[start:stop]
        there = shares[:number, entry]
        both = np.minimum(there.sum(1), (there > 0) @ own)
        if number and both.max() >= FAMILIAR_SHARE:
            kind[row] = both.argmax()
            continue
        kind[row], number = number, number + 1
        if len(shares) < min(number, MOST_COMPARED):
            shares = np.concatenate([shares, np.zeros((len(shares) + 1, size), np.float32)])[:MOST_COMPARED]
        if number <= MOST_COMPARED:
            shares[kind[row], entry] = own
    return kind


def alike(ids: np.ndarray, kind: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Which kinds of healthy logs a log that is to be judged is of, bool `(kinds,)`; all of them if it is of none.

    One that knows half of those entries of the judged log that any of them knows, or of which that log knows half, as
    of a start-up that it begins with. Together they know nearly all of what all of them know: where they do not, the
    kind is added that knows most of the rest. On training services, with healthy logs of one, three and ten others
    beside, the larger share is .62 or more of each healthy log of its own, .00 of others'.

    Args:
        ids: int64 `(entries,)`, equal numbers for equal entries.
        kind: int64 `(entries,)`, of each one's log.
        number: `(size,)`, how often each of so many entries comes in the judged log, or in its beginning.
    """
    share = number / max(number.sum(), 1)
    pairs, counts = np.unique(kind * len(share) + ids, return_counts=True)
    of_kind, entry = pairs // len(share), pairs % len(share)
    knows = np.bincount(of_kind, share[entry])
    is_known = np.bincount(of_kind, counts * (share[entry] > 0)) / np.bincount(kind)
    is_alike = np.maximum(knows, is_known) >= FAMILIAR_SHARE
    if not is_alike.any():
        return ~is_alike
    while True:
        lacking = share.copy()
        lacking[entry[is_alike[of_kind]]] = 0
        gain = np.bincount(of_kind, lacking[entry])
        if gain.max() == 0 or lacking.sum() <= LACKING_SHARE:
            return is_alike
        is_alike[gain.argmax()] = True


def has_kinds(reference: LogReference) -> bool:
    """Whether a reference's logs are of several kinds; found out once."""
    if reference.kinds is None:
        reference.kinds = kinds_of(reference.entries.template, reference.log)
    return bool(reference.kinds.any())


def of_kind(reference: LogReference, number: Mapping[str, int], encode: Encode) -> LogReference:
    """Those of a reference's logs that are of the kind of a log that is to be judged, see `alike`.

    Args:
        number: how often each masked text comes in the beginning of that log.
        encode: embeddings of masked texts.

    Returns:
        What fitting these logs alone would give; the reference itself if these are all.
    """
    if not has_kinds(reference) or not number:
        return reference
    assert reference.kinds is not None
    kind = reference.kinds[reference.log]
    rows = np.array([reference.row_of.get(text, -1) for text in number])
    template = reference.template_of[rows]
    template[rows < 0] = reference.templates.match(
        [text for text, row in zip(number, rows.tolist(), strict=True) if row < 0]
    )
    known, counts = template >= 0, np.array(list(number.values()))
    of_log = np.bincount(template[known], counts[known], len(reference.templates.texts))
    is_alike = alike(reference.entries.template, kind, of_log)
    if is_alike.all():
        return reference
    key = is_alike.tobytes()
    part = reference.parts.get(key)
    if part is None:
        part = part_of(reference, np.flatnonzero(is_alike[kind])).encode(encode)
        if len(reference.parts) >= MOST_PARTS:
            reference.parts = {}  # replaced as a whole: another thread may be reading it
        reference.parts[key] = part
    return part


def of_service(reference: LogReference, service: int, encode: Encode) -> LogReference:
    """What fitting the logs of one of a reference's services alone would give; all of it if none has such entries."""
    if not reference.services:
        return reference
    part = reference.of_service.get(service)
    if part is None:
        kept = np.flatnonzero(reference.service == service)
        part = part_of(reference, kept).encode(encode) if 0 < len(kept) < len(reference) else reference
        part = reference.of_service.setdefault(service, part)
    return part


def part_of(reference: LogReference, kept: np.ndarray) -> LogReference:
    """A reference of these entries, which are all of some of its logs."""
    rows, text = np.unique(reference.entries.text[kept], return_inverse=True)
    # Of a long log entries are left out, but all are counted.
    share = np.bincount(text) / np.bincount(reference.entries.text, minlength=len(reference.texts))[rows]
    count = np.round(reference.count[rows] * share).astype(np.int64)
    return LogReference(
        [reference.texts[row] for row in rows.tolist()],
        count,
        text,
        reference.time[kept],
        np.append(0, (np.diff(reference.entries.stretch[kept]) != 0).cumsum()),
        reference.origin,
        int(count.sum()),
        max_reference_entries=reference.max_reference_entries,
        first=reference.first[kept],
        known=reference.known_embeddings(),
    )


class KindCount:
    """Counts the masked texts at the beginning of a log.

    Attributes:
        number: how often each has come.
    """

    def __init__(self) -> None:
        self.number: dict[str, int] = {}
        self._next = 0  # number of the first entry that is not counted yet

    @property
    def is_complete(self) -> bool:
        """Whether as many entries as tell its kind have come."""
        return self._next >= FIRST_ENTRIES

    def add(self, log: ParsedLog) -> "KindCount":
        """Counts those of the next entries of the log, with `number`, that are not counted yet."""
        assert log.number is not None
        rows = np.flatnonzero((log.number >= self._next) & (log.number < FIRST_ENTRIES))
        if len(rows):
            distinct, counts = np.unique(log.entry_index[rows], return_counts=True)
            for text, count in zip(log.distinct.take(pa.array(distinct)).to_pylist(), counts.tolist(), strict=True):
                self.number[text] = self.number.get(text, 0) + count
            self._next = int(log.number[rows].max()) + 1
        return self


class StreamKind(StreamMemory):
    """The healthy logs that a stream is judged against: all of them, and those of its kind once that is known.

    Args:
        reference: of healthy logs.
    """

    def __init__(self, reference: LogReference):
        super().__init__(FIRST_OF_STREAM)
        self._reference = reference
        # The first sequences, of which each entry is kept once, and the numbers of theirs.
        self._log: ParsedLog | None = None
        self._numbers: list[np.ndarray] = []

    def add(self, log: ParsedLog, sequences: list[np.ndarray]) -> None:
        if self.renew_at != FIRST_OF_STREAM or not sequences:
            return
        assert log.number is not None
        self._numbers += [log.number[sequence] for sequence in sequences]
        new = log.take(np.unique(np.concatenate(sequences)))
        both = new if self._log is None else self._log + new
        assert both.number is not None
        self._log = both.take(np.unique(both.number, return_index=True)[1])

    def renew(self, encode: Encode) -> LogReference:
        self.renew_at = sys.maxsize
        number = KindCount().add(self._log).number if self._log is not None else {}
        return of_kind(self._reference, number, encode)

    def resume(self, measure: LogMeasure, number: int, order: TimeOrder | None, embed: Embed) -> None:
        # Measured once more, so that all that follows is as if the reference had been this one from the beginning.
        log, self._log = self._log, None
        if log is not None:
            assert log.number is not None
            sequences = [np.searchsorted(log.number, numbers) for numbers in self._numbers]
            measure.push(log, sequences, embed(measure, log))


__all__ = [
    "FIRST_ENTRIES",
    "KindCount",
    "StreamKind",
    "alike",
    "has_kinds",
    "kinds_of",
    "of_kind",
    "of_service",
    "part_of",
]
