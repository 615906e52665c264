"""Token ids in, predictions out: runs the model over distinct entries and distinct sequences, in batches that fit.

`Predictor` holds model, processor and device; it halves a batch when memory runs out and refuses logits that are not
finite. Called by the pipeline, the scan and training.
"""

import copy
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from .judging_logmoe import Prediction
from .processing_logmoe import LogMoEProcessor
from .sequences_logmoe import SEQUENCES_PER_CALL, pad_sequences

logger = logging.get_logger(__name__)

# Entries that are padded together on their way to the encoder, which sorts them by length.
ENTRIES_PER_CALL = 4096


class Predictor:
    """Runs a LogMoE classifier.

    Args:
        model: a [`LogMoEForSequenceClassification`].
        processor: pads its inputs.
        device: where the model is.
    """

    def __init__(self, model: Any, processor: LogMoEProcessor, device: torch.device):
        self.model, self.processor, self.device = model, processor, device

    @torch.no_grad()  # unlike inference mode leaves tensors that training may use
    def encode(self, token_ids: list[list[int]]) -> torch.Tensor:
        """Encodes entries, each for itself.

        Args:
            token_ids: of each entry, see [`LogMoEProcessor.tokenize`].

        Returns:
            Embeddings `(entries, encoder_hidden)`, on the model's device; with one more number where the model has a
            term of words.
        """
        embeddings = []
        size = ENTRIES_PER_CALL
        start = 0
        while start < len(token_ids):
            padded = self.processor.pad(token_ids[start : start + size])
            batch = {name: self._to_device(tensor) for name, tensor in padded.items()}
            # After memory ran out: as few tokens at once as it takes.
            tokens_per_batch = None if size == ENTRIES_PER_CALL else size
            try:
                embeddings.append(self.model.encode_entries(**batch, tokens_per_batch=tokens_per_batch))
            except torch.OutOfMemoryError:
                size = _halved(size, "entries")
                continue
            start += size
        return torch.cat(embeddings)

    def embed(self, token_ids: list[list[int]]) -> torch.Tensor:
        """As `encode`, `(entries, encoder_hidden)` with or without a term of words, whose number is no embedding."""
        return self.encode(token_ids)[:, : self.model.config.encoder_config.hidden_size]

    @torch.inference_mode()
    def predict(
        self,
        embeddings: torch.Tensor,
        sequences: list[np.ndarray],
        batch_size: int,
        entry_features: list[np.ndarray] | None = None,
    ) -> list[Prediction]:
        """Runs the model over sequences; those of like length go together.

        Args:
            embeddings: `(distinct_entries, encoder_hidden)`, as `encode` gives them.
            sequences: for each sequence the rows of its entries in `embeddings`.
            batch_size: sequences per call of the model; halved when memory runs out.
            entry_features: for each sequence `(entries, features)`, seen through a reference.

        Returns:
            One prediction per sequence, in the order given.

        Raises:
            FloatingPointError: a logit is not finite.
        """
        predictions: list[Any] = [None] * len(sequences)
        bad = 0
        order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
        start = 0
        while start < len(order):
            rows = order[start : start + batch_size]
            entry_index = torch.from_numpy(pad_sequences([sequences[row] for row in rows]))
            features = {}
            if entry_features is not None:
                padded = np.full((*entry_index.shape, entry_features[rows[0]].shape[1]), np.nan, np.float32)
                for place, row in enumerate(rows):
                    padded[place, : len(sequences[row])] = entry_features[row]
                features["entry_features"] = self._to_device(torch.from_numpy(padded))
            try:
                output = self.model(entry_embeds=embeddings, entry_index=self._to_device(entry_index), **features)
            except torch.OutOfMemoryError:
                batch_size = _halved(batch_size, "sequences")
                continue
            logits = output.logits.double().cpu().numpy()
            bad += int((~np.isfinite(logits)).any(axis=1).sum())
            entry_scores = output.entry_scores.float().cpu().numpy()
            for row, sequence_logits, scores in zip(rows, logits, entry_scores, strict=True):
                # Copies: a view would keep the whole batch alive for as long as one prediction is remembered.
                predictions[row] = Prediction(sequence_logits.copy(), scores[: len(sequences[row])].copy())
            start += len(rows)
        if bad:
            raise FloatingPointError(
                f"The model's logits are not finite for {bad} of {len(sequences)} distinct sequences, which cannot be "
                "judged. Its weights are damaged, or overflow in half precision: load it again, in float32."
            )
        return predictions

    @torch.inference_mode()
    def term_margins(self, inputs: np.ndarray) -> np.ndarray:
        """What the features of sequences `(sequences, features)` add to their margins, float64 `(sequences,)`."""
        if self.model.sequence_terms is None:
            return np.zeros(len(inputs))
        margins = [
            self.model.sequence_terms(self._to_device(torch.from_numpy(np.ascontiguousarray(part)))).sum(dim=1)
            for part in np.split(inputs, range(SEQUENCES_PER_CALL, len(inputs), SEQUENCES_PER_CALL))
        ]
        return torch.cat(margins).double().cpu().numpy()

    def feature_shares(self, inputs: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        """What each feature adds against a baseline, float64; see `LogMoEForSequenceClassification.feature_shares`."""
        return self.model.feature_shares(inputs, baseline).double().cpu().numpy()

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        # From pinned memory the copy runs beside the computation.
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def _halved(size: int, what: str) -> int:
    """Half the size of a batch; called while the error is handled, which goes on if nothing is left to halve."""
    if size == 1:
        raise
    logger.warning(f"Out of memory with {size} {what} at once: going on with {size // 2}.")
    return size // 2


# ---------------------------------------------------------------------- threads

# Held while the process's number of threads is another; a fork waits for that.
_NUM_THREADS = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_NUM_THREADS.acquire, after_in_parent=_NUM_THREADS.release, after_in_child=_NUM_THREADS.release
    )


def use_one_thread(pool: ThreadPoolExecutor, workers: int) -> None:
    """Makes each thread of the pool compute alone; the rest of the process computes as before."""
    all_started = threading.Barrier(workers + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # at first use a thread takes the process's number, now 1 as well
        all_started.wait()

    with _NUM_THREADS:
        threads = torch.get_num_threads()
        try:
            for _ in range(workers):
                pool.submit(start)
            all_started.wait()
        except BaseException:
            all_started.abort()  # or the threads that did start would wait for ever
            raise
        finally:
            torch.set_num_threads(threads)  # what threads that start later compute with


# ---------------------------------------------------------------------- precision


def resolve_dtype(dtype: str | torch.dtype, model: PreTrainedModel, device: torch.device) -> torch.dtype:
    """The precision to compute in.

    Args:
        dtype: `"auto"`, a torch dtype, or its name.
        model, device: decide what "auto" is, see `best_dtype`.

    Raises:
        ValueError: not a precision that the model computes in.
    """
    if dtype == "auto":
        return best_dtype(model, device)
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    dtype = known.get(str(dtype).removeprefix("torch."), dtype)
    if not isinstance(dtype, torch.dtype) or dtype not in known.values():
        raise ValueError(f"`dtype` must be 'auto' or one of {', '.join(known)}, got {dtype!r}.")
    return dtype


def best_dtype(model: PreTrainedModel, device: torch.device) -> torch.dtype:
    """The fastest precision that fits: bfloat16 if the device computes in it and the model is large enough to gain.

    The weights' own precision if that is not float32.
    """
    if model.dtype != torch.float32:
        return model.dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Measured: below this width the matrix products are too small to gain.
    is_large = min(model.config.hidden_size, model.config.encoder_config.hidden_size) >= 256
    # Other CPUs convert bfloat16 back and forth.
    is_fast = device.type == "cpu" and (_cpu_has("avx512_bf16") or _cpu_has("amx_bf16"))
    return torch.bfloat16 if is_large and is_fast else torch.float32


def _cpu_has(extension: str) -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(extension))


def in_precision(model: Any, dtype: torch.dtype) -> Any:
    """The model itself, or a copy in another precision; the routers keep theirs, for they decide."""
    if model.dtype == dtype:
        return model
    converted = copy.deepcopy(model).to(dtype)
    # Measured at 32 entries in bfloat16. Without AMX, attention written out takes two thirds of the time of torch's
    # own kernel; with AMX it makes the whole stack a tenth to a fifth slower.
    is_written_out = model.device.type == "cpu" and dtype == torch.bfloat16 and not _cpu_has("amx_bf16")
    # By class name: adapters may wrap the modules, and the modeling file stands above this one.
    for ours, theirs in zip(converted.modules(), model.modules(), strict=True):
        if type(ours).__name__ == "LogMoETopPRouter":
            ours.weight.data = theirs.weight.data
        if type(ours).__name__ == "LogMoESequenceStack" and is_written_out:
            ours.config._attn_implementation = "eager"
    return converted


__all__ = ["Predictor", "best_dtype", "in_precision", "resolve_dtype", "use_one_thread"]
