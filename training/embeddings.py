"""Entry embeddings on disk: with a frozen encoder each distinct entry is encoded once, over epochs, runs and seeds."""

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

from logmoe import LogAnomalyPipeline

logger = logging.getLogger("logmoe.train")

DEFAULT_FOLDER = Path(HF_HOME) / "logmoe" / "entry_embeddings"


def cache_key(pipe: LogAnomalyPipeline) -> str:
    """Hexadecimal digest of all that an entry's embedding depends on, but for its masked text.

    That is the encoder's weights and configuration, how it is pooled, the tokenizer and the rules of the processor.
    """
    model, processor = pipe.model, pipe.processor
    digest = hashlib.sha256()
    for part in (
        model.config.encoder_config.to_json_string(),
        model.config.entry_pooling,
        repr(sorted(processor.rules().items())),
        processor.tokenizer.backend_tokenizer.to_str(),
    ):
        digest.update(part.encode() + b"\0")
    for name, tensor in sorted(model.model.encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class EmbeddingCache:
    """Embeddings of masked entries, in one file for each encoder and its rules.

    Args:
        pipe: encodes what is not there yet.
        folder: where the files lie; made if it is not there.
    """

    def __init__(self, pipe: LogAnomalyPipeline, folder: str | Path | None = None):
        self.pipe = pipe
        self.path = Path(folder or DEFAULT_FOLDER) / f"{cache_key(pipe)}.safetensors"

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings `(entries, encoder_hidden)` float32, on the CPU; what was missing is added to the file.

        A file that cannot be read is written anew; one that cannot be written costs only the time of the next run.
        """
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
        row_of, known = self._read()
        missing = [row for row, digest in enumerate(digests) if digest not in row_of]
        logger.info(
            "%d distinct entries: %d embeddings from %s, %d to compute",
            len(texts),
            len(texts) - len(missing),
            self.path.parent,
            len(missing),
        )
        if missing:
            token_ids, _ = self.pipe.processor.tokenize([texts[row] for row in missing])
            new = self.pipe.encode(token_ids).float().cpu()
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
                logger.warning("%s cannot be read and is written anew: %s", self.path, error)
        return {}, torch.empty(0)

    def _write(self, digests: list[bytes], embeds: torch.Tensor) -> None:
        tensors = {
            "digests": torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16).copy()),
            "embeds": embeds.contiguous(),
        }
        temporary = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Beside it, then renamed: no reader ever sees half a file.
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, suffix=".partial")
            os.close(handle)
            save_file(tensors, temporary)
            os.replace(temporary, self.path)
        except (OSError, SafetensorError) as error:
            logger.warning("The embeddings are not kept for the next run, %s cannot be written: %s", self.path, error)
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
