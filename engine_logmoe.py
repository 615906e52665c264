"""Masked texts in, embeddings out; sequences in, predictions out: each distinct one once, on a small pool of threads.

What a scan computes with, whatever it judges its logs by: the model and its cache. On a CPU a task runs on one thread,
so that cores never wait for each other inside an operation. Called by what follows logs.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from .caching_logmoe import EntryCache, ScanCache
from .judging_logmoe import Prediction
from .predicting_logmoe import Predictor, use_one_thread
from .reference_logmoe import LogReference

# Entries that a task of the encoder takes.
ENTRIES_PER_TASK = 64
# References beside which something is remembered.
MOST_TABLES = 64


@dataclass
class Awaited:
    """A prediction that the model is working on."""

    batch: Future  # of a list of predictions
    position: int


class ScanEngine:
    """Runs the model for a scan, on threads that live as long as it is entered.

    Args:
        predictor: model, processor and device, in the precision of the scan.
        cache: what scans remember, for this one and others.
        max_log_entry_length: tokens of an entry that are read.
        batch_size: sequences per call of the model.
        num_workers: threads.

    Attributes:
        pool: for work on the CPU.
        num_encoded: entries that were encoded so far.
    """

    def __init__(
        self,
        predictor: Predictor,
        cache: ScanCache,
        max_log_entry_length: int | None,
        batch_size: int,
        num_workers: int,
    ):
        self.predictor, self.cache = predictor, cache
        self.processor, self.device = predictor.processor, predictor.device
        self.max_log_entry_length, self.batch_size, self.num_workers = max_log_entry_length, batch_size, num_workers
        self.num_encoded = 0
        # What was read of entries beside references, each of which keeps half the digits, and has other rows.
        self._beside = EntryCache(cache.entries.capacity)
        self._tables: list[np.ndarray] = []
        self._num_tables = 0
        self._awaited: dict[bytes, Awaited] = {}

    def __enter__(self) -> "ScanEngine":
        is_on_cpu = self.device.type == "cpu"
        self.pool = ThreadPoolExecutor(self.num_workers, "logmoe")
        # One thread queues the accelerator's work; the pool then only parses.
        self._model_pool = self.pool if is_on_cpu else ThreadPoolExecutor(1, "logmoe-model")
        if is_on_cpu:
            use_one_thread(self.pool, self.num_workers)
        return self

    def __exit__(self, *exception: object) -> None:
        for pool in (self.pool, self._model_pool):
            pool.shutdown(wait=True, cancel_futures=True)

    # ------------------------------------------------------------------ entries

    def look_up(
        self,
        texts: list[str],
        encode: Callable[[list[str]], tuple[torch.Tensor, np.ndarray]] | None = None,
        cache: EntryCache | None = None,
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """As [`EntryCache.look_up`]; counts what this scan, of those that share the cache, has encoded."""

        def counted(new: list[str]) -> tuple[torch.Tensor, np.ndarray]:
            self.num_encoded += len(new)
            return (encode or self.encode)(new)

        return (cache or self.cache.entries).look_up(texts, counted)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Embeddings float32 `(texts, encoder_hidden)` of templates of a log that is judged by itself."""
        return self.look_up(texts, cache=self.cache.templates)[0].float().cpu().numpy()

    def look_up_beside(self, reference: LogReference, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        """Embeddings of texts, those that a reference has as it has them; and which texts were truncated."""
        places = [place for place, table in enumerate(self._tables) if table is reference.embeddings]
        if not places:
            self._tables.append(reference.embeddings)
            self._num_tables += 1
            del self._tables[:-MOST_TABLES]
            places = [len(self._tables) - 1]
        # A number that no other table ever has.
        beside = f"{self._num_tables - len(self._tables) + places[0]} "
        rows = reference.embedding_rows()

        def encode(new: list[str]) -> tuple[torch.Tensor, np.ndarray]:
            some = [text.removeprefix(beside) for text in new]
            known = np.array([rows.get(text, -1) for text in some])
            missing = np.flatnonzero(known < 0)
            table = torch.from_numpy(reference.embeddings[known])
            embeddings = table.to(self.device, self.predictor.model.dtype)
            if len(missing):
                embeddings[torch.from_numpy(missing).to(self.device)] = self.look_up(
                    [some[position] for position in missing]
                )[0]
            return embeddings, self.tokenize(some)[1]

        embeddings, _, is_truncated = self._beside.look_up([beside + text for text in texts], encode)
        return embeddings, is_truncated

    def forget_references(self) -> None:
        """Lets go of what was read beside references, of which the next log has others."""
        self._tables, self._beside = [], EntryCache(self.cache.entries.capacity)

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        """Embeddings `(texts, encoder_hidden)`, and which texts were truncated, bool `(texts,)`."""
        token_ids, truncated = self.tokenize(texts)
        lengths = np.array([len(ids) for ids in token_ids])
        order = (-lengths).argsort(kind="stable")
        ordered = [token_ids[row] for row in order]
        size = ENTRIES_PER_TASK if self._model_pool is self.pool else len(ordered)
        tasks = [
            self._model_pool.submit(self._encode_batch, ordered[start : start + size])
            for start in range(0, len(ordered), size)
        ]
        embeddings = torch.cat([task.result() for task in tasks])
        return embeddings[torch.from_numpy(order.argsort()).to(embeddings.device)], truncated

    def tokenize(self, texts: list[str]) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of each text, and which texts were truncated."""
        return self.processor.tokenize(texts, self.max_log_entry_length)

    @torch.inference_mode()
    def _encode_batch(self, token_ids: list[list[int]]) -> torch.Tensor:
        with self._on_device():
            return self.predictor.encode(token_ids)

    # ------------------------------------------------------------------ sequences

    def predict(
        self,
        keys: list[bytes],
        embeddings: torch.Tensor,
        entries: Callable[[int], np.ndarray],
        features: Callable[[int, int], np.ndarray] | None = None,
    ) -> tuple[dict[bytes, Prediction | Awaited], int]:
        """Hands sequences to the model that it has not seen.

        Args:
            keys: of the sequences, equal for equal ones.
            embeddings: `(rows, encoder_hidden)`.
            entries: of a sequence, by its place, rows of `embeddings`.
            features: of a sequence, by its place and number of entries, what the stack reads beside them.

        Returns:
            What is known or will be of each, and how many are new.
        """
        predictions: dict[bytes, Prediction | Awaited] = {}
        new: dict[bytes, int] = {}  # by key one of its sequences
        for row, key in enumerate(keys):
            if key in predictions or key in new:
                continue
            if (known := self.cache.find(key)) is not None:
                predictions[key] = known
            elif key in self._awaited:
                predictions[key] = self._awaited[key]
            else:
                new[key] = row
        # Those of like length together, so that there is little padding.
        ordered = sorted(new, key=lambda key: -len(key))
        size = min(self.batch_size, max(1, -(-len(ordered) // self.num_workers)))
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            of_batch = [entries(new[key]) for key in batch]
            beside = None
            if features is not None:
                beside = [features(new[key], len(rows)) for key, rows in zip(batch, of_batch, strict=True)]
            predicting = self._model_pool.submit(self._predict, embeddings, of_batch, beside)
            self._awaited |= {key: Awaited(predicting, position) for position, key in enumerate(batch)}
        predictions |= {key: self._awaited[key] for key in new}
        return predictions, len(new)

    def _predict(
        self, embeddings: torch.Tensor, sequences: list[np.ndarray], entry_features: list[np.ndarray] | None
    ) -> list[Prediction]:
        with self._on_device():
            return self.predictor.predict(embeddings, sequences, len(sequences), entry_features)

    def finished(self, predictions: dict[bytes, Prediction | Awaited]) -> dict[bytes, Prediction]:
        """The same once the model is done with them; they are remembered."""
        known: dict[bytes, Prediction] = {}
        new: dict[bytes, Prediction] = {}
        for key, prediction in predictions.items():
            if isinstance(prediction, Awaited):
                prediction = prediction.batch.result()[prediction.position]
                self._awaited.pop(key, None)
                new[key] = prediction
            known[key] = prediction
        self.cache.keep(new)
        return known

    def _on_device(self) -> contextlib.AbstractContextManager[object]:
        """Makes the device the current one: a new thread begins with the first GPU."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext()


__all__ = ["Awaited", "ScanEngine"]
