"""From a split to the batches the Trainer reads.

Training goes through `TrainingVisits` in the order of `SimilarLengthSampler`, measuring through `DistinctLogs`;
`LogCollator` turns either one's examples into model inputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from logmoe import LogMoEProcessor, SequenceRule
from logmoe.sequences_logmoe import count_windows, pad_sequences
from logmoe.training.arguments import DataArguments
from logmoe.training.logs import LabelledLogs, LogStore, SeenLog, jitter

PADDING = -1  # Stands for an example where a batch must be filled.
# Of visits that show a log without the reference, so that the model can also judge by wording alone.
UNSEEN_SHARE = 0.1


class TrainingVisits(torch.utils.data.Dataset):
    """What an epoch visits: each distinct labelled log, weighted by how often it occurs.

    A log that occurs n times counts c = n ** repeat_power. It is visited ceil(c / m) times, where m is the mean of c
    over distinct logs, each time with a weight proportional to c / ceil(c / m): no visit weighs more than m, and an
    epoch has at most twice as many visits as there are distinct logs. With a repeat_power of 1 the weighted mean of
    the loss over an epoch is the mean over all logs. The mean weight is 1, so every batch is a fair sample.

    Args:
        logs: the training split.
        store: holds the logs.
        args: give `anomaly_weight`, `repeat_power`, `collapse` and `order_jitter`.
        seed: of the jitter.
        seen: the logs as seen through a reference, by their index among the distinct logs; None without one.
    """

    def __init__(
        self,
        logs: LabelledLogs,
        store: LogStore,
        args: DataArguments,
        seed: int = 0,
        seen: dict[int, SeenLog] | None = None,
    ):
        self.seen = seen
        self.store, self.order_jitter, self.seed, self.epoch = store, args.order_jitter, seed, 0
        pairs = logs.distinct_log * 2 + logs.labels  # The same log may carry either label.
        counts = np.ones(len(pairs))
        if args.collapse:
            pairs, repeats = np.unique(pairs, return_counts=True)
            counts = repeats.astype(np.float64) ** args.repeat_power
        self.num_distinct = len(pairs)
        visits = np.ceil(counts / counts.mean()).astype(np.int64)
        anomaly_weight = args.relative_anomaly_weight()
        if anomaly_weight is None:  # Both kinds weigh the same in total.
            anomaly_weight = counts[pairs % 2 == 0].sum() / counts[pairs % 2 == 1].sum()
        weights = np.repeat(counts / visits * np.where(pairs % 2, anomaly_weight, 1.0), visits)
        self.pairs = np.repeat(pairs, visits)
        self.weights = weights / weights.mean()
        self.lengths = np.array([len(store.distinct_logs[index]) for index in pairs // 2]).repeat(visits)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate, here or through the sampler, whichever of the two it reaches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, visit: int) -> dict[str, Any]:
        """One visit; `PADDING` gives one of weight 0, which no loss counts."""
        index, label = divmod(int(self.pairs[visit]), 2)
        rows = self.store.distinct_logs[index]
        example = {"labels": label, "weights": 0.0 if visit == PADDING else float(self.weights[visit])}
        if self.seen is None and not self.order_jitter:
            return example | {"rows": rows}
        # Seeded by epoch and visit, so that a resumed run and any number of processes see the same.
        generator = np.random.default_rng((self.seed, self.epoch, visit % len(self)))
        if self.seen is None:
            return example | {"rows": rows[jitter(len(rows), self.order_jitter, generator)]}
        log = self.seen[index]
        log = log.unseen() if generator.random() < UNSEEN_SHARE else log
        log = log.jittered(self.order_jitter, generator) if self.order_jitter else log
        return example | {"rows": rows, "seen": log}


class SimilarLengthSampler(torch.utils.data.Sampler):
    """A random order with logs of similar length in each batch, so that there is little padding.

    The order depends on seed and epoch alone: a resumed run, and any number of processes, see the same batches.
    `PADDING` fills up the last batch; otherwise several processes would fill it with logs visited before.

    Args:
        visits: the training data.
        batch_size: examples per step, over all processes.
        seed: of the order.
    """

    BATCHES_SORTED_TOGETHER = 50

    def __init__(self, visits: TrainingVisits, batch_size: int, seed: int):
        self.visits, self.lengths, self.batch_size, self.seed = visits, visits.lengths, batch_size, seed

    def set_epoch(self, epoch: int) -> None:
        self.visits.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.visits.epoch))
        order = generator.permutation(len(self.lengths))
        size = self.batch_size * self.BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            chunk = chunk[self.lengths[chunk].argsort(kind="stable")]
            batches += [chunk[first : first + self.batch_size] for first in range(0, len(chunk), self.batch_size)]
        # The last batch may be smaller: it stays last.
        last = np.append(batches.pop(), np.full(len(self) - len(order), PADDING))
        shuffled = [batches[row] for row in generator.permutation(len(batches))]
        return iter(np.concatenate([*shuffled, last]).tolist())


class DistinctLogs(torch.utils.data.Dataset):
    """Each distinct log of a split once, longest first, for prediction; `expand` goes back to all logs.

    Args:
        logs: the split.
        store: holds the logs.
        seen: see `TrainingVisits`.

    Attributes:
        labels: `(logs,)`, of all logs of the split.
    """

    def __init__(self, logs: LabelledLogs, store: LogStore, seen: dict[int, SeenLog] | None = None):
        self.seen = seen
        distinct, inverse = np.unique(logs.distinct_log, return_inverse=True)
        order = np.argsort([-len(store.distinct_logs[index]) for index in distinct], kind="stable")
        self.store, self.labels, self._distinct = store, logs.labels.astype(int), distinct[order]
        self._row = order.argsort()[inverse]

    def __len__(self) -> int:
        return len(self._distinct)

    def __getitem__(self, row: int) -> dict[str, Any]:
        # The Trainer computes metrics only if there are labels. These are placeholders: logs have labels, distinct
        # logs do not.
        index = int(self._distinct[row])
        seen = {} if self.seen is None else {"seen": self.seen[index]}
        return {"rows": self.store.distinct_logs[index], "labels": 0, "weights": 1.0} | seen

    def expand(self, predictions: np.ndarray) -> np.ndarray:
        """From one row per distinct log to one row per log."""
        return predictions[self._row]


@dataclass
class LogCollator:
    """Batches logs, each cut into sequences of at most `max_sequence_length` entries, as the pipeline cuts them.

    Returns `labels` and `weights` `(logs,)`, `log_index` `(sequences,)`, the log of each sequence, and the sequences:
    `entry_index` `(sequences, entries)` with `input_ids` and `attention_mask` `(distinct_entries, tokens)`, or
    `entry_embeds` with `entry_mask`; of logs that are seen through a reference also `entry_features` and
    `sequence_features`. `labels` come first because the Trainer counts examples by the first tensor.

    Args:
        processor: pads.
        max_sequence_length: entries per sequence.
        token_ids: of each row of the store, where the encoder is trained.
        embeds: `(rows, encoder_hidden)`, the embedding of each row, where the encoder is frozen.
    """

    processor: LogMoEProcessor
    max_sequence_length: int
    token_ids: list[list[int]] | None = None
    embeds: torch.Tensor | None = None

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        seen: list[SeenLog] = [example["seen"] for example in examples if "seen" in example]
        rows, log_index = self._cut([example["rows"] for example in examples], seen)
        batch = {
            "labels": torch.tensor([example["labels"] for example in examples]),
            "weights": torch.tensor([example["weights"] for example in examples], dtype=torch.float32),
            "log_index": torch.from_numpy(log_index),
        }
        if self.embeds is not None:
            index = torch.from_numpy(rows)
            batch |= {"entry_embeds": self.embeds[index.clamp(min=0)], "entry_mask": index >= 0}
            return batch | (_features_of(seen, rows.shape[1]) if seen else {})
        assert self.token_ids is not None
        real = rows >= 0
        distinct, inverse = np.unique(rows[real], return_inverse=True)
        entry_index = np.full_like(rows, -1)
        entry_index[real] = inverse
        padded = self.processor.pad([self.token_ids[row] for row in distinct])
        return batch | {"entry_index": torch.from_numpy(entry_index)} | padded

    def _cut(self, logs: list[np.ndarray], seen: list[SeenLog]) -> tuple[np.ndarray, np.ndarray]:
        """Entry rows `(sequences, entries)`, -1 where padded, and the log of each sequence `(sequences,)`; int64."""
        rule = SequenceRule(self.max_sequence_length)
        if seen:
            cuts = zip(logs, seen, strict=True)
            sequences = [[rows[positions] for positions in log.sequences] for rows, log in cuts]
        else:
            sequences = [count_windows(rows, rule)[0] for rows in logs]
        log_index = np.repeat(np.arange(len(logs)), [len(windows) for windows in sequences])
        return pad_sequences([window for windows in sequences for window in windows]), log_index


def _features_of(seen: list[SeenLog], length: int) -> dict[str, torch.Tensor]:
    """The features of the sequences of some logs, padded to so many entries."""
    of_entries = [features for log in seen for features in log.entry_features]
    padded = np.zeros((len(of_entries), length, of_entries[0].shape[1]), np.float32)
    for row, features in enumerate(of_entries):
        padded[row, : len(features)] = features
    inputs = np.concatenate([log.inputs for log in seen])
    return {"entry_features": torch.from_numpy(padded), "sequence_features": torch.from_numpy(inputs)}
