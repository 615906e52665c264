"""How healthy logs, and logs that are judged by themselves, are cut into blocks that are measured against each other.

Nothing is ever measured against itself (block cross-fitting): one implementation for references, self mode and
training.
"""

from dataclasses import dataclass

import numpy as np

# Of whose entries a smaller share is known to healthy logs, that log is another one's.
FAMILIAR_SHARE = 0.5


@dataclass(frozen=True)
class Folds:
    """How a log is cut into blocks whose sequences are measured against the rest.

    Attributes:
        blocks: how many, contiguous.
        beside: blocks on either side that are no part of the rest. An incident that goes on from one block into the
            next is then no habit. At -1 not even the block itself is left out.
        has_past: what stands before a sequence tells; not so where each is measured as if it were a whole log.
    """

    blocks: int
    beside: int = 0
    has_past: bool = True

    def left_out(self, block: int) -> tuple[int, int]:
        """The first block that is left out for the sequences of one, and the one after the last."""
        return max(0, block - self.beside), min(self.blocks, block + 1 + self.beside)


HEALTHY_FOLDS = Folds(3)
"""Of a reference, whose sequences are all healthy."""
SHORT_FOLDS = Folds(3, has_past=False)
"""Of a reference, by which a log is judged that is shorter than a sequence."""
OWN_FOLDS = Folds(8, beside=1)
"""Of a log that is judged by itself."""
RUN_FOLDS = Folds(1, beside=-1)
"""Of a healthy run that another run of the same is compared with: each sequence is measured against all of it."""


def in_other_blocks(values: np.ndarray, blocks: int) -> tuple[np.ndarray, float]:
    """Each value once, ascending, and the share of all that come in another of so many blocks too."""
    if not len(values):
        return values, 0.0
    known, row = np.unique(values, return_inverse=True)
    return known, float(elsewhere(row, np.arange(len(values)) * blocks // len(values)).mean())


def parts_of(ids: np.ndarray, part: np.ndarray, size: int) -> np.ndarray:
    """In how many parts of a log each of so many entries stands, int64 `(size,)`."""
    number = int(part.max()) + 1
    pairs = np.unique(ids * number + part)
    return np.bincount(pairs // number, minlength=size)


def elsewhere(ids: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Whether each entry stands in another part than its own, too: bool `(entries,)`."""
    return parts_of(ids, part, int(ids.max()) + 1)[ids] > 1


def blocks_of(number: int, blocks: int) -> np.ndarray:
    """Which of so many contiguous blocks of one size each of a number of entries is in, int64 `(entries,)`."""
    return np.searchsorted([number * edge // blocks for edge in range(1, blocks)], np.arange(number), side="right")


def log_blocks(ids: np.ndarray, log: np.ndarray, blocks: int, fewest: int) -> np.ndarray:
    """Which of so many blocks each entry of healthy logs is in, int64 `(entries,)`.

    As `blocks_of`; but a log that the other blocks hardly know is one of another kind, and is cut into blocks by
    itself: beside others alone all of it would be new, and then what is new is nothing odd.

    Args:
        ids: int64 `(entries,)`, equal numbers for equal entries.
        log: int64 `(entries,)`, the number of each one's log, ascending from 0.
        blocks: how many.
        fewest: entries of a log that is cut by itself.
    """
    block = blocks_of(len(ids), blocks)
    size = np.bincount(log)
    start = size.cumsum() - size
    known = np.bincount(log, elsewhere(ids, block)) / size
    is_in_all = block[start + size - 1] - block[start] == blocks - 1
    is_other = (known < FAMILIAR_SHARE) & (size >= fewest) & ~is_in_all
    return np.where(is_other[log], (np.arange(len(ids)) - start[log]) * blocks // size[log], block)


__all__ = [
    "FAMILIAR_SHARE",
    "HEALTHY_FOLDS",
    "OWN_FOLDS",
    "RUN_FOLDS",
    "SHORT_FOLDS",
    "Folds",
    "blocks_of",
    "elsewhere",
    "in_other_blocks",
    "log_blocks",
    "parts_of",
]
