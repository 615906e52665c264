"""Labelled logs to training examples: distinct entries are kept once, examples name them by row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from logmoe import LogMoEProcessor

LABEL_IDS = {"0": 0, "1": 1, "normal": 0, "anomaly": 1, "正常": 0, "异常": 1}


def label_id(label: Any) -> int:
    """0 for normal, 1 for anomaly, from 0/1, `normal`/`anomaly` or 正常/异常.

    Raises:
        ValueError: anything else.
    """
    is_number = isinstance(label, bool | np.bool_) or (isinstance(label, float) and label.is_integer())
    key = str(int(label)) if is_number else str(label).strip().lower()
    if key not in LABEL_IDS:
        raise ValueError(f"A label must be one of {', '.join(LABEL_IDS)}, got {label!r}.")
    return LABEL_IDS[key]


@dataclass
class EntryTable:
    """The distinct masked entries of everything read so far."""

    row_of: dict[str, int] = field(default_factory=dict)

    def rows(self, distinct: Iterable[str]) -> np.ndarray:
        """The row of each text, new rows for new texts."""
        return np.array([self.row_of.setdefault(text, len(self.row_of)) for text in distinct], dtype=np.int64)

    @property
    def texts(self) -> list[str]:
        return list(self.row_of)


def read_examples(
    logs: Iterable[str | Sequence[str]], labels: Iterable[Any], processor: LogMoEProcessor, table: EntryTable
) -> list[dict[str, Any]]:
    """Parses labelled logs into examples.

    Args:
        logs: each a multi-line text or a list of entries, of at most `max_sequence_length` entries.
        labels: one for each log; see `label_id`.
        processor: splits and masks the logs.
        table: takes in their distinct entries.

    Returns:
        For each log `{"labels": int, "entry_rows": int64 (entries,)}`.

    Raises:
        ValueError: a log that is empty, too long or no text, or an unknown label; the message names the log.
    """
    examples = []
    for position, (log, label) in enumerate(zip(logs, labels, strict=True)):
        try:
            parsed = processor.parse(log)
            target = label_id(label)
        except ValueError as error:
            raise ValueError(f"Log {position} of the data: {error}") from error
        if len(parsed) > processor.max_sequence_length:
            raise ValueError(
                f"Log {position} of the data has {len(parsed)} entries, but a sequence holds at most "
                f"{processor.max_sequence_length} (`max_sequence_length`): cut it into labelled sequences."
            )
        rows = table.rows(parsed.distinct.to_pylist())
        examples.append({"labels": target, "entry_rows": rows[parsed.entry_index]})
    return examples


@dataclass
class CompactCollator:
    """Batches examples in the compact form: each distinct entry of the batch once.

    Args:
        processor: pads.
        token_ids: of each row of the entry table.
    """

    processor: LogMoEProcessor
    token_ids: list[list[int]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = np.concatenate([example["entry_rows"] for example in examples])
        distinct, index = np.unique(rows, return_inverse=True)
        batch = _labels_and_index(examples, index)
        return batch | self.processor.pad([self.token_ids[row] for row in distinct])


@dataclass
class EmbeddedCollator:
    """Batches examples whose entries were embedded before, for a frozen encoder.

    Args:
        embeds: `(rows, encoder_hidden)`, an embedding for each row of the entry table.
    """

    embeds: torch.Tensor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = _labels_and_index(examples, np.concatenate([example["entry_rows"] for example in examples]))
        entry_index = batch.pop("entry_index")
        entry_mask = entry_index >= 0
        return batch | {"entry_embeds": self.embeds[entry_index.clamp(min=0)], "entry_mask": entry_mask}


def _labels_and_index(examples: list[dict[str, Any]], index: np.ndarray) -> dict[str, torch.Tensor]:
    """`labels` and the padded `entry_index`, first in the batch because the Trainer counts examples by the first."""
    lengths = [len(example["entry_rows"]) for example in examples]
    entry_index = torch.full((len(examples), max(lengths)), -1, dtype=torch.long)
    for row, (start, length) in enumerate(zip(np.cumsum([0, *lengths]), lengths, strict=False)):
        entry_index[row, :length] = torch.from_numpy(index[start : start + length])
    return {"labels": torch.tensor([example["labels"] for example in examples]), "entry_index": entry_index}
