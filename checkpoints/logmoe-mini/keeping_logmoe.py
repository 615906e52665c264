"""Which entries of healthy logs are kept where there are more than a reference holds.

Of the longest log half are left out first, and so on: a short log beside a long one is kept whole, and of logs of one
length equal shares are. Of very many logs, every so manyth of each service is kept. Called by what fits references.
"""

from collections.abc import Iterator, Sequence

import numpy as np

# Sequences that are kept or dropped together, so that what stands beside each other mostly stays so.
SEQUENCES_PER_GROUP = 8


class KeptEntries:
    """Entries of logs, within a bound; what is kept depends on their order alone, not on how they arrive.

    Args:
        most: entries that are kept; half of these at least, if there are so many.
        length: entries of a sequence, as a rule at most.
    """

    def __init__(self, most: int, length: int):
        self.most = most
        # Small enough that several groups fit.
        self._group_size = max(1, min(SEQUENCES_PER_GROUP, most // (8 * length)))
        self._row_of: dict[int, int] = {}  # of logs, in the order in which they come
        self._place: list[int] = []  # by row, among the logs of its service
        self._num_logs: dict[int, int] = {}  # by service
        # By row: pieces of a log's columns, the last of these the group; of how many groups one is kept.
        self._pieces: dict[int, list[list[np.ndarray]]] = {}
        self._every: dict[int, int] = {}
        self._sizes = np.zeros(1, np.int64)  # entries that are kept, by row
        self._every_log = 1  # of how many logs one is kept
        self._is_full = False

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def add(self, log: int, sequence: np.ndarray, columns: Sequence[np.ndarray], service: int = 0) -> None:
        """Takes the next entries of a log.

        Args:
            log: its number.
            sequence: int64 `(entries,)`, the number of each one's sequence in its log, from 0.
            columns: what is kept of them, each `(entries,)`.
            service: that wrote the log.
        """
        if log not in self._row_of:
            self._row_of[log] = len(self._row_of)
            self._place.append(self._num_logs.get(service, 0))
            self._num_logs[service] = self._place[-1] + 1
        row = self._row_of[log]
        if row >= len(self._sizes):
            self._sizes = np.append(self._sizes, np.zeros(row, np.int64))
        rest = [*columns, sequence // self._group_size]
        while len(rest[0]) and self._place[row] % self._every_log == 0 and not self._is_full:
            is_kept = rest[-1] % self._every.setdefault(row, 1) == 0
            # Up to the first one that is too many.
            number = min(int(is_kept.sum()), self.most + 1 - len(self))
            stop = int(np.searchsorted(is_kept.cumsum(), number)) + 1 if number < is_kept.sum() else len(is_kept)
            self._pieces.setdefault(row, []).append([column[:stop][is_kept[:stop]] for column in rest])
            self._sizes[row] += number
            rest = [column[stop:] for column in rest]
            if len(self) > self.most:
                self._leave_out()

    def logs(self) -> Iterator[list[np.ndarray]]:
        """What is kept of each log, its columns with entries in the order in which they came."""
        for log in sorted(self._row_of):
            if self._sizes[self._row_of[log]]:
                yield self._columns(self._row_of[log])[:-1]

    def _columns(self, row: int) -> list[np.ndarray]:
        return [np.concatenate(column) for column in zip(*self._pieces[row], strict=True)]

    def _leave_out(self) -> None:
        """Makes room: in the longest log, of whole logs, or, where one group is all there is, at its end."""
        longest = int(self._sizes.argmax())
        columns = self._columns(longest)
        is_kept = columns[-1] % (2 * self._every[longest]) == 0
        if is_kept.all():
            self._every_log *= 2
            left_out = [row for row in self._pieces if self._place[row] % self._every_log]
            for row in left_out:
                del self._pieces[row]
                self._sizes[row] = 0
            if left_out:
                return
            self._is_full = not any(self._place[row] for row in self._pieces)
            if not self._is_full:
                self._leave_out()
                return
            is_kept[len(is_kept) - (len(self) - self.most) :] = False
        self._every[longest] *= 2
        self._pieces[longest], self._sizes[longest] = [[column[is_kept] for column in columns]], is_kept.sum()


__all__ = ["KeptEntries"]
