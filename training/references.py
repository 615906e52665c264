"""Labelled logs seen through a reference: what the model reads of them beside text.

The normal logs of the training split, and no others, make the reference that is stored with the checkpoint. A training
log is measured against the reference without the block of time in which it stands itself; validation and test logs
against all of it, as logs are that are judged later. `train.py` calls `fit_reference` and `see`; `batches` hands on
what they give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from logmoe import LogMoEForSequenceClassification, SequenceRule
from logmoe.fitting_logmoe import origin_of
from logmoe.folds_logmoe import HEALTHY_FOLDS
from logmoe.measuring_logmoe import LogMeasure
from logmoe.parsing_logmoe import ParsedLog
from logmoe.reference_logmoe import MAX_REFERENCE_ENTRIES, LogReference, ReferenceBuilder
from logmoe.sequences_logmoe import count_windows
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS
from logmoe.training.logs import LabelledLogs, LogStore, SeenLog
from logmoe.training.splits import Splits, shares_lines

FEATURES = {
    "calibration_mode": "reference",
    "entry_feature_names": list(ENTRY_FEATURES),
    "sequence_feature_names": list(INPUTS),
    "sequence_feature_terms": {"surprise": list(INPUTS)},
    "feature_pieces": 4,
}
"""Fields of the config of a model that sees logs through a reference."""

# Of the margins of healthy logs.
SMALLEST_SPREAD = 1e-3
# Two sequences in each block that others are measured against.
FEWEST_SEQUENCES = 2 * HEALTHY_FOLDS.blocks
# Logs from which it is learned how features are distributed.
STATISTICS = 8192
# Logs that are measured at once.
LOGS_PER_CHUNK = 512

# Embeddings `(texts, encoder_hidden)` of distinct texts.
Encode = Callable[[Sequence[str]], torch.Tensor]


@dataclass(frozen=True)
class SeenSplits:
    """What `see` gives.

    Attributes:
        reference: with embeddings, to be stored with the checkpoint.
        embeds: `(rows, encoder_hidden)`, what the encoder reads of each row of the store.
        train: the training logs, by their index among the distinct logs of the store, each measured without itself.
        held_out: the same of all other logs, measured against the whole reference.
    """

    reference: LogReference
    embeds: torch.Tensor
    train: dict[int, SeenLog]
    held_out: dict[int, SeenLog]

    def facts(self) -> dict[str, int]:
        """What `results.json` and the card say of the reference."""
        return {
            "entries": self.reference.num_entries,
            "distinct_texts": len(self.reference.texts),
            "unmeasured_training_logs": sum(bool(np.isnan(log.inputs).all()) for log in self.train.values()),
        }

    def set_statistics(self, model: LogMoEForSequenceClassification) -> None:
        """Tells a new model how features are distributed over the training logs."""
        logs = list(self.train.values())
        chosen = logs[:: max(1, -(-len(logs) // STATISTICS))]
        inputs = np.concatenate([log.inputs for log in chosen])
        model.set_feature_statistics(
            entry_features=np.concatenate([features for log in chosen for features in log.entry_features]),
            sequence_features=inputs,
        )
        # What is never known of these logs, such as their times, is not learned, and must not count where another
        # reference knows it.
        _ignore(model, np.isnan(inputs).all(axis=0))


@torch.no_grad()
def _ignore(model: LogMoEForSequenceClassification, is_unknown: np.ndarray) -> None:
    """Gives some inputs of the terms the weight 0, which stays: they are 0 in all training data."""
    terms: Any = model.sequence_terms
    width = 1 + model.config.feature_pieces
    for name, columns in terms.columns.items():
        unknown = torch.from_numpy(np.repeat(is_unknown[columns], width))
        terms.terms[name].hidden.weight[:, unknown] = 0.0


class _Logs:
    """The distinct logs of a store, as the measuring of logs takes them."""

    def __init__(self, store: LogStore):
        self.store, self.texts = store, store.texts
        self.lengths = np.array([len(rows) for rows in store.distinct_logs], np.int64)
        self.rule = SequenceRule(store.processor.max_sequence_length)
        # As the pipeline cuts logs of a model that measures surprise; sessions it leaves as they are.
        self.fills_last = not store.processor.session_pattern

    def places(self, logs: LabelledLogs) -> np.ndarray:
        """Where each log would begin if one stood after the other, with a gap between: they are no neighbours."""
        steps = self.lengths[logs.distinct_log] + 1
        return steps.cumsum() - steps

    def joined(self, distinct: np.ndarray, places: np.ndarray) -> tuple[ParsedLog, np.ndarray]:
        """Distinct logs that begin at these places, and the position at which each begins.

        Without times: a log that occurs often has many.
        """
        logs, lengths = [self.store.distinct_logs[index] for index in distinct], self.lengths[distinct]
        starts = lengths.cumsum() - lengths
        rows, entry_index = np.unique(np.concatenate(logs), return_inverse=True)
        nothing = np.empty(0, np.int64)
        log = ParsedLog(
            pa.array([], pa.large_string()),
            nothing,
            nothing,
            entry_index.astype(np.int64),
            pa.array([self.texts[row] for row in rows.tolist()], pa.large_string()),
            seconds=np.full(len(entry_index), np.nan),
            number=np.repeat(places - starts, lengths) + np.arange(len(entry_index)),
        )
        return log, starts

    def cut(self, index: int, fills_last: bool) -> list[np.ndarray]:
        """The sequences of a distinct log, positions of its entries."""
        positions, length = np.arange(self.lengths[index]), self.rule.max_sequence_length
        sequences, _ = count_windows(positions, self.rule)
        if fills_last and len(sequences[-1]) < length:
            sequences[-1] = positions[-length:]
        return sequences

    def measured(
        self, measure: LogMeasure, distinct: np.ndarray, embeds: torch.Tensor, places: np.ndarray | None = None
    ) -> dict[int, SeenLog]:
        """Distinct logs by their index, measured.

        Args:
            embeds: of all rows of the store.
            places: int64 `(logs,)`, of the first entry of each, where it matters in which block it stands.
        """
        seen: dict[int, SeenLog] = {}
        for start in range(0, len(distinct), LOGS_PER_CHUNK):
            chunk = distinct[start : start + LOGS_PER_CHUNK]
            lengths = self.lengths[chunk]
            of_chunk = lengths.cumsum() - lengths if places is None else places[start : start + LOGS_PER_CHUNK]
            log, starts = self.joined(chunk, of_chunk)
            cuts = [self.cut(index, self.fills_last) for index in chunk]
            sequences = [first + positions for first, cut in zip(starts, cuts, strict=True) for positions in cut]
            rows = np.unique(np.concatenate([self.store.distinct_logs[index] for index in chunk]))
            measured = measure.push(log, sequences, embeds[rows].numpy())
            row = 0
            for index, cut in zip(chunk.tolist(), cuts, strict=True):
                features = measured.entry_features[row : row + len(cut), :, : len(ENTRY_FEATURES)]
                of_entries = [of[: len(positions)].copy() for of, positions in zip(features, cut, strict=True)]
                seen[index] = SeenLog(cut, of_entries, measured.inputs[row : row + len(cut)].copy())
                row += len(cut)
        return seen


def fit_reference(
    train: LabelledLogs, store: LogStore, model: LogMoEForSequenceClassification, most: int = MAX_REFERENCE_ENTRIES
) -> LogReference:
    """A reference of the normal logs among the training logs, in their order.

    Each distinct log counts once in each of the blocks that training logs are measured without: what came once is
    known as well as what came a thousand times. Logs that overlap others are left out, so that each line is in it
    once. Of more than `most` entries, every so manyth log is kept.

    Raises:
        ValueError: there are too few normal logs.
    """
    logs = _Logs(store)
    normal = _without_overlaps(train, np.flatnonzero(train.labels == 0))
    block = np.arange(len(normal)) * HEALTHY_FOLDS.blocks // max(1, len(normal))
    _, first = np.unique(block * len(store.distinct_logs) + train.distinct_log[normal], return_index=True)
    chosen = normal[np.sort(first)]
    number = int(logs.lengths[train.distinct_log[chosen]].sum())
    chosen = chosen[:: max(1, -(-number // most))]
    distinct = train.distinct_log[chosen]
    sequences = [logs.cut(index, fills_last=False) for index in distinct]
    if sum(map(len, sequences)) < FEWEST_SEQUENCES:
        raise ValueError(
            f"`--reference auto` needs {FEWEST_SEQUENCES} distinct sequences of normal training logs or more, got "
            f"{sum(map(len, sequences))}: give more normal logs, or `--reference none`."
        )
    log, starts = logs.joined(distinct, logs.places(train)[chosen])
    origin = origin_of(model, store.processor, store.processor.sequence_rule())
    builder = ReferenceBuilder(replace(origin, is_separate=True), most)
    builder.start_log()
    builder.add(log, [start + positions for start, cut in zip(starts, sequences, strict=True) for positions in cut])
    return builder.finish()


def see(splits: Splits, store: LogStore, reference: LogReference, encode: Encode) -> SeenSplits:
    """Measures the logs of all splits.

    Args:
        splits: the logs.
        store: holds them.
        reference: what `fit_reference` made of the training split.
        encode: the frozen encoder.
    """

    def encode_all(texts: list[str]) -> np.ndarray:
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}  # templates may read alike
        embeds: np.ndarray = encode(list(place)).numpy()
        return embeds[[place[text] for text in texts]]

    reference.encode(encode_all)
    logs, train = _Logs(store), splits["train"]
    against_all = LogMeasure(reference, logs.rule.max_sequence_length)
    embeds = _embeddings(against_all, logs.texts, encode)
    held_out = [logs_of.distinct_log for name, logs_of in splits.items() if name != "train"]
    others = np.unique(np.concatenate(held_out)) if held_out else np.empty(0, np.int64)

    # A log that occurs often is seen as at any one of its occurrences.
    order = np.random.default_rng(0).permutation(len(train))
    distinct, first = np.unique(train.distinct_log[order], return_index=True)
    occurrence, places = order[first], logs.places(train)
    against_others = LogMeasure(reference, logs.rule.max_sequence_length, is_self=True)
    seen = logs.measured(against_others, distinct, embeds, places[occurrence])
    is_across = _across_blocks(train, reference, places, logs.lengths[train.distinct_log])
    seen |= {index: seen[index].unseen() for index in distinct[is_across[occurrence]].tolist()}
    return SeenSplits(reference, embeds, seen, logs.measured(against_all, others, embeds))


def _across_blocks(
    train: LabelledLogs, reference: LogReference, places: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Which training logs, bool `(logs,)`, would be measured against themselves: those that share lines with a normal
    log of another block, or stand in two."""
    edges = reference.blocks()[1:-1]
    block = np.searchsorted(edges, places, side="right")
    is_across = np.searchsorted(edges, places + lengths - 1, side="right") != block
    for number in range(HEALTHY_FOLDS.blocks):
        inside = np.flatnonzero(block == number)
        is_across[inside] |= shares_lines(train, inside, np.flatnonzero((block != number) & (train.labels == 0)))
    return is_across


def _without_overlaps(logs: LabelledLogs, chosen: np.ndarray) -> np.ndarray:
    """Some of the chosen logs, of which no two share a line, in their order."""
    kept, end = [], -1
    for row in chosen[np.argsort(logs.first[chosen], kind="stable")].tolist():
        # A log that covers a single position is a session, or has a row of its own: it overlaps none.
        if logs.first[row] > end or logs.last[row] == logs.first[row]:
            kept.append(row)
            end = max(end, int(logs.last[row]))
    return np.sort(np.array(kept, np.int64))


def _embeddings(measure: LogMeasure, texts: list[str], encode: Encode) -> torch.Tensor:
    """What the model reads of each text: the embedding of its template, or of itself where the reference has none."""
    read = measure.encoder_texts(texts)
    rows, table = measure.reference.embedding_rows(), torch.from_numpy(measure.reference.embeddings)
    new = [text for text in dict.fromkeys(read) if text not in rows]
    row_of = rows | {text: len(table) + place for place, text in enumerate(new)}
    table = torch.cat([table, encode(new)]) if new else table
    return table[[row_of[text] for text in read]]
