"""What a scan remembers: embeddings of distinct entries and predictions for distinct sequences, within bounds.

Logs repeat, so most of what comes was seen before. Scans with the same model may share a cache, in any threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch

from .judging_logmoe import Prediction
from .parsing_logmoe import check_integer
from .predicting_logmoe import Predictor, in_precision


class EntryCache:
    """The embeddings of the distinct entries seen last.

    Args:
        capacity: entries.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.row_of: OrderedDict[str, int] = OrderedDict()  # by masked text, the latest last
        self.table: torch.Tensor | None = None  # (rows, encoder_hidden)
        self.is_truncated = np.zeros(0, dtype=bool)
        # Numbers are never used twice: an entry that comes back after it was dropped gets a new one.
        self.numbers = np.zeros(0, dtype=np.int64)
        self.next_number = 0
        self._lock = threading.Lock()

    def look_up(
        self, texts: list[str], encode: Callable[[list[str]], tuple[torch.Tensor, np.ndarray]]
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """The embeddings of entries; those not in the cache are encoded.

        Args:
            texts: distinct masked entries, of any number.
            encode: gives embeddings `(entries, encoder_hidden)` and which entries were truncated, bool `(entries,)`.

        Returns:
            Embeddings `(texts, encoder_hidden)`, numbers int64 `(texts,)` that are equal only for equal texts, and
            which entries were truncated, bool `(texts,)`.
        """
        # Held while entries are encoded too: the other scan would encode the same ones.
        with self._lock, torch.inference_mode():
            return self._look_up(texts, encode)

    def _look_up(
        self, texts: list[str], encode: Callable[[list[str]], tuple[torch.Tensor, np.ndarray]]
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        rows = np.array([self.row_of.get(text, -1) for text in texts], dtype=np.int64)
        known = np.flatnonzero(rows >= 0)
        for position in known:
            self.row_of.move_to_end(texts[position])
        missing = np.flatnonzero(rows < 0)
        numbers = np.empty(len(texts), dtype=np.int64)
        is_truncated = np.empty(len(texts), dtype=bool)
        numbers[known], is_truncated[known] = self.numbers[rows[known]], self.is_truncated[rows[known]]
        if not len(texts):
            return torch.empty(0), numbers, is_truncated
        if not len(missing):
            assert self.table is not None
            return self.table[torch.from_numpy(rows).to(self.table.device)], numbers, is_truncated
        new, is_truncated[missing] = encode([texts[position] for position in missing])
        numbers[missing] = np.arange(self.next_number, self.next_number + len(missing))
        self.next_number += len(missing)
        embeddings = new
        if len(known):
            assert self.table is not None
            embeddings = new.new_empty(len(texts), new.shape[1])
            embeddings[torch.from_numpy(known).to(new.device)] = self.table[
                torch.from_numpy(rows[known]).to(new.device)
            ]
            embeddings[torch.from_numpy(missing).to(new.device)] = new
        self._keep([texts[position] for position in missing], new, numbers[missing], is_truncated[missing])
        return embeddings, numbers, is_truncated

    def _keep(self, texts: list[str], embeddings: torch.Tensor, numbers: np.ndarray, is_truncated: np.ndarray) -> None:
        kept = slice(max(0, len(texts) - self.capacity), None)
        texts, embeddings, numbers, is_truncated = texts[kept], embeddings[kept], numbers[kept], is_truncated[kept]
        needed = min(self.capacity, len(self.row_of) + len(texts))
        if len(self.numbers) < needed:
            size = min(self.capacity, max(needed, 2 * len(self.numbers), 1024))
            table = embeddings.new_empty(size, embeddings.shape[1])
            if self.table is not None:
                table[: len(self.table)] = self.table
            self.table = table
            self.numbers = np.resize(self.numbers, size)
            self.is_truncated = np.resize(self.is_truncated, size)
        rows = [
            len(self.row_of) + place if len(self.row_of) + place < self.capacity else -1 for place in range(len(texts))
        ]
        rows = [self.row_of.popitem(last=False)[1] if row < 0 else row for row in rows]
        assert self.table is not None
        self.table[torch.tensor(rows, device=embeddings.device)] = embeddings
        self.numbers[rows], self.is_truncated[rows] = numbers, is_truncated
        self.row_of.update(zip(texts, rows, strict=True))  # last, so that an interrupt leaves no row half filled


class ScanCache:
    """What a scan remembers, for other scans with the same model, whose weights must not change in between.

    Args:
        max_entries: distinct entries whose embeddings are kept, and templates of logs that are judged by themselves.
        max_sequences: distinct sequences whose predictions are kept.
    """

    def __init__(self, max_entries: int = 32768, max_sequences: int = 32768):
        self.entries = EntryCache(check_integer("max_entries", max_entries, 1))
        # Apart, for what a log is judged by keeps half the digits, and is what its entries are compared with.
        self.templates = EntryCache(max_entries)
        self.max_sequences = check_integer("max_sequences", max_sequences, 1)
        self.predictions: OrderedDict[bytes, Prediction] = OrderedDict()  # by numbers of entries, the latest last
        self.predictor: Predictor | None = None  # in the precision of the scans
        self._user: tuple | None = None
        self._lock = threading.Lock()

    def find(self, key: bytes) -> Prediction | None:
        """The prediction for a sequence, by the numbers of its entries; None if it is not kept."""
        with self._lock:
            if key in self.predictions:
                self.predictions.move_to_end(key)
            return self.predictions.get(key)

    def keep(self, predictions: dict[bytes, Prediction]) -> None:
        """Keeps predictions; those used the longest time ago make room."""
        with self._lock:
            self.predictions.update(predictions)
            while len(self.predictions) > self.max_sequences:
                self.predictions.popitem(last=False)

    def bind(self, predictor: Predictor, dtype: torch.dtype, max_log_entry_length: int | None) -> Predictor:
        """The predictor in the scans' precision.

        Raises:
            ValueError: what is kept came from another model, tokenizer, device, dtype or entry length.
        """
        # What masked text becomes; how entries are told apart makes no difference.
        user = (predictor.model, predictor.processor.tokenizer, predictor.device, dtype, max_log_entry_length)
        with self._lock:
            if self._user is not None and self._user != user:
                raise ValueError(
                    "This ScanCache holds results of another model, tokenizer, device, dtype or max_log_entry_length: "
                    "make a new ScanCache for each."
                )
            self._user = user
            if self.predictor is None:
                model = in_precision(predictor.model, dtype)
                self.predictor = Predictor(model, predictor.processor, predictor.device)
            return self.predictor


__all__ = ["EntryCache", "ScanCache"]
