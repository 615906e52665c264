"""Entry embeddings on disk: a frozen encoder reads each distinct entry once, for all epochs, seeds and runs.

`train.py` passes the masked entries of its `LogStore` and gets their embeddings for the `LogCollator`.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from logmoe.predicting_logmoe import Predictor

logger = logging.getLogger("logmoe.train")

DEFAULT_FOLDER = Path(HF_HOME) / "logmoe" / "entry_embeddings"


def cache_key(predictor: Predictor) -> str:
    """Hexadecimal digest of everything, apart from its masked text, that determines an entry's embedding.

    These are the encoder's weights and configuration, the pooling, the tokenizer, and the rules of the processor.
    """
    model, processor = predictor.model, predictor.processor
    digest = hashlib.sha256()
    for text in (
        model.config.encoder_config.to_json_string(),
        model.config.entry_pooling,
        repr(sorted(processor.rules().items())),
        processor.tokenizer.backend_tokenizer.to_str(),
    ):
        digest.update(text.encode() + b"\0")
    for name, tensor in sorted(model.model.encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class EmbeddingCache:
    """Embeddings of masked entries, in one file per encoder and rules.

    Args:
        predictor: encodes entries that are not in the file yet.
        folder: holds the files; created if it does not exist.
    """

    def __init__(self, predictor: Predictor, folder: str | Path | None = None):
        self.predictor = predictor
        self.path = Path(folder or DEFAULT_FOLDER) / f"{cache_key(predictor)}.safetensors"

    @torch.no_grad()
    def embeddings_of(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 `(entries, encoder_hidden)` on the CPU; missing ones are computed and added to the file.

        An unreadable file is replaced. If the file cannot be written, the next run computes the embeddings again.
        """
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        row_of, known = self._read()
        missing = [row for row, digest in enumerate(digests) if digest not in row_of]
        found = len(texts) - len(missing)
        logger.info(
            "%d distinct entries: %d embeddings from %s, %d to compute",
            len(texts),
            found,
            self.path.parent,
            len(missing),
        )
        if missing:
            token_ids, _ = self.predictor.processor.tokenize([texts[row] for row in missing])
            new = self.predictor.embed(token_ids).float().cpu()
            row_of |= {digests[row]: len(row_of) + place for place, row in enumerate(missing)}
            known = torch.cat([known, new]) if len(known) else new
            self._write(list(row_of), known)
        return known[[row_of[digest] for digest in digests]]

    def _read(self) -> tuple[dict[bytes, int], torch.Tensor]:
        if self.path.exists():
            try:
                tensors = load_file(self.path)
                return {bytes(row): place for place, row in enumerate(tensors["digests"].numpy())}, tensors["embeds"]
            except (SafetensorError, KeyError, OSError) as error:
                logger.warning("cannot read %s, replacing it: %s", self.path, error)
        return {}, torch.empty(0)

    def _write(self, digests: list[bytes], embeds: torch.Tensor) -> None:
        tensors = {
            "digests": torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16).copy()),
            "embeds": embeds.contiguous(),
        }
        temporary = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Written beside it and renamed: no reader ever sees half a file.
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, suffix=".partial")
            os.close(handle)
            save_file(tensors, temporary)
            os.replace(temporary, self.path)
        except (OSError, SafetensorError) as error:
            logger.warning("cannot write %s, the next run will compute these embeddings again: %s", self.path, error)
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
