"""The detectors that `reference.py` compares: all score the same sequences against the same references.

Those on counts know how often each template stands in a sequence, the usual input of log anomaly detectors: an
isolation forest (Liu et al., 2008) and PCA (Xu et al., 2009), as scikit-learn and numpy have them, fitted on the
reference's own sequences; against the log itself, on its other blocks. A template that the reference lacks has one
column of its own with all others of that kind; an isolation forest, which has never seen it filled, cannot use it.
Gradient boosting reads what LogMoE's terms read, and learned from the episodes that LogMoE learned from: it tests
whether the network earns its place.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the recordings are no part of the installed package

from logmoe.applying_logmoe import PredictedLog, PreparedLog, predict_measured
from logmoe.fitting_logmoe import ReferenceFit, origin_of
from logmoe.judging_logmoe import anomaly_margin
from logmoe.parsing_logmoe import ParsedLog
from logmoe.pipeline_logmoe import LogAnomalyPipeline
from logmoe.predicting_logmoe import Predictor
from logmoe.reference_logmoe import LogReference
from logmoe.rules_logmoe import SEVERITY_WORDS
from logmoe.sequences_logmoe import SequenceRule, pad_sequences
from logmoe.surprise_logmoe import INPUTS
from logmoe.training import general
from logmoe.training.episodes import KINDS, Episodes, training_services
from logmoe.weighing_logmoe import Against, untrained_score
from recordings.corpus import SERVICES

BATCH_SIZE = 128
FEATURE = {name: column for column, name in enumerate(INPUTS)}
EXPLAINED = 0.95
"""Share of the variance of counts that the principal components keep."""
FOREST, PCA, BOOSTING = "isolation forest on counts", "PCA on counts", "gradient boosting on LogMoE's features"


# --- the pipeline ----------------------------------------------------------------------------------------------------


class RememberingPredictor(Predictor):
    """Encodes each text once, however many logs and references have it."""

    def __init__(self, *args: Any, known: dict[tuple[int, ...], torch.Tensor]):
        super().__init__(*args)
        self.known = known

    def encode(self, token_ids: list[list[int]]) -> torch.Tensor:
        keys = [tuple(ids) for ids in token_ids]
        new = [key for key in dict.fromkeys(keys) if key not in self.known]
        if new:
            self.known |= zip(new, super().encode([list(key) for key in new]), strict=True)
        return torch.stack([self.known[key] for key in keys])


class RememberingPipeline(LogAnomalyPipeline):
    """The pipeline, with a memory of embeddings that draws and kinds of reference share."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def predictor(self) -> Predictor:
        return RememberingPredictor(self.model, self.processor, self.device, known=self._known)

    def forget(self) -> None:
        """Forgets all embeddings."""
        self._known.clear()


def stretches_of(mask: np.ndarray) -> list[np.ndarray]:
    """Positions of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [np.arange(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def fit_reference(
    pipe: LogAnomalyPipeline, rule: SequenceRule, logs: Iterable[tuple[ParsedLog, list[np.ndarray]]]
) -> LogReference:
    """A reference of these sequences.

    Args:
        logs: entries as `with_places` gives them, and positions of each sequence among them, in the order of the log;
            no entry is in two. Sequences that follow one another in the log are neighbours.
    """
    fit = ReferenceFit(pipe.processor, rule, origin_of(pipe.model, pipe.processor, rule))
    for parsed, sequences in logs:
        if sequences:
            # Of the entries these alone: a reference knows every text of the log that it is given.
            part = parsed.take(np.concatenate(sequences))
            ends = np.cumsum([len(sequence) for sequence in sequences])
            fit.builder.start_log()
            fit.builder.add(part, np.split(np.arange(len(part)), ends[:-1]))
    return fit.finish().encode(pipe._encode_texts)


# --- counts ----------------------------------------------------------------------------------------------------------

Scorer = Callable[[np.ndarray], np.ndarray]
"""Counts `(sequences, columns)` in, scores `(sequences,)` out, higher for odder ones."""


def isolation_forest(healthy: np.ndarray, seed: int) -> Scorer:
    """An isolation forest of 100 trees, fitted to counts `(sequences, columns)`."""
    forest = IsolationForest(random_state=seed).fit(healthy)
    return lambda counts: -forest.score_samples(counts)


def principal_components(healthy: np.ndarray, seed: int) -> Scorer:
    """Squared distance from the principal components of counts that explain most of their variance."""
    center = healthy.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(healthy, rowvar=False, bias=True).reshape(healthy.shape[1], -1))
    reach, whole = variances[::-1].cumsum(), variances.sum()
    number = int(np.searchsorted(reach, EXPLAINED * whole)) + 1 if whole > 1e-9 else 0  # all sequences may be alike
    kept = directions[:, ::-1][:, :number]

    def score(counts: np.ndarray) -> np.ndarray:
        departure = counts - center
        return np.square(departure - departure @ kept @ kept.T).sum(axis=1)

    return score


ON_COUNTS: dict[str, Callable[[np.ndarray, int], Scorer]] = {FOREST: isolation_forest, PCA: principal_components}


def count_templates(template: np.ndarray, number: int) -> np.ndarray:
    """How often each template stands in each sequence, float32 `(sequences, number + 1)`.

    Args:
        template: int64 `(sequences, entries)`, rows of the templates; -1 at padding, and `number` for an unknown one,
            which is the last column.
    """
    rows, places = np.nonzero(template >= 0)
    width = number + 1
    counts = np.bincount(rows * width + template[rows, places], minlength=len(template) * width)
    return counts.reshape(-1, width).astype(np.float32)


def counts_of(reference: LogReference, log: PreparedLog) -> np.ndarray:
    """Counts of a log's sequences, by the templates of a reference."""
    number = len(reference.templates.texts)
    row_of = reference.templates.match(log.parsed.distinct.to_pylist())
    template = np.where(row_of < 0, number, row_of)[log.parsed.entry_index]
    positions = pad_sequences(log.sequences)
    return count_templates(np.where(positions >= 0, template[positions], -1), number)


def healthy_counts(reference: LogReference, rule: SequenceRule) -> np.ndarray:
    """Counts of a reference's own sequences."""
    template = reference.healthy(rule.max_sequence_length).templates
    return count_templates(template, len(reference.templates.texts))


def score_by_counts(reference: LogReference, log: PreparedLog, is_self: bool, seed: int) -> dict[str, np.ndarray]:
    """Scores of a log's sequences by the detectors on counts.

    Args:
        is_self: the reference is of this very log: each block is judged by the others that LogMoE judges it by.
    """
    counts = counts_of(reference, log)
    if not is_self:
        healthy = healthy_counts(reference, log.rule)
        return {name: fit(healthy, seed)(counts) for name, fit in ON_COUNTS.items()}
    first = np.array([sequence[0] for sequence in log.sequences])
    block = np.searchsorted(reference.blocks()[1:-1], first, side="right")
    scores = {name: np.zeros(len(counts)) for name in ON_COUNTS}
    for number in np.unique(block).tolist():
        low, high = reference.folds.left_out(number)
        is_own, rest = block == number, counts[(block < low) | (block >= high)]
        for name, fit in ON_COUNTS.items():
            scores[name][is_own] = fit(rest, seed)(counts[is_own])
    return scores


# --- gradient boosting -----------------------------------------------------------------------------------------------


class Boosting:
    """Gradient boosting, trained on the episodes of the training services without the one that is judged.

    scikit-learn's defaults; episodes are weighted as the network draws them.
    """

    def __init__(self, pipe: LogAnomalyPipeline):
        self.pipe = pipe
        self.names = training_services(SERVICES)
        self.seconds: dict[str, float] = {}
        self._episodes: Episodes | None = None
        self._fitted: dict[str, HistGradientBoostingClassifier] = {}

    def without(self, service: str) -> HistGradientBoostingClassifier:
        """Fitted to all training services but this one; to all of them if it is none of these."""
        left_out = service if service in self.names else ""
        if left_out not in self._fitted:
            if self._episodes is None:
                begun = time.perf_counter()
                self._episodes, _ = general.measure(self.names, self.pipe.model, self.pipe.processor, seed=0)
                self.seconds["measure"] = time.perf_counter() - begun
            begun = time.perf_counter()
            row = self.names.index(left_out) if left_out else -1
            self._fitted[left_out] = fit_boosting(self._episodes, np.flatnonzero(self._episodes.service != row))
            self.seconds["fit"] = time.perf_counter() - begun
        return self._fitted[left_out]


def fit_boosting(episodes: Episodes, rows: np.ndarray) -> HistGradientBoostingClassifier:
    """Gradient boosting on the inputs of some of the episodes' sequences."""
    kind, service = episodes.kind[rows].astype(np.int64), episodes.service[rows].astype(np.int64)
    share = np.array([general.SHARES.get(name, 0.0) for name in KINDS])[kind]
    group = service * len(KINDS) + kind
    weight = share / np.bincount(group)[group]
    fitted = HistGradientBoostingClassifier(random_state=0, early_stopping=False)
    return fitted.fit(episodes.inputs[rows], episodes.visible[rows] > 0, sample_weight=weight / weight.mean())


# --- all of them -----------------------------------------------------------------------------------------------------


@dataclass
class Scored:
    """The sequences of a log, scored.

    Attributes:
        scores: by detector, float64 `(sequences,)`.
        is_called: bool `(sequences,)`, labelled anomalous by LogMoE at 1% promised.
        predicted: what LogMoE says of them.
    """

    scores: dict[str, np.ndarray]
    is_called: np.ndarray
    predicted: PredictedLog

    def top_entry(self, place: int) -> int:
        """The place of the most telling entry of a sequence."""
        evidence = self.predicted.evidence
        if evidence is None:
            return int(np.argmax(self.predicted.predictions[place].entry_scores))
        return int(np.argmax(evidence.explain(place, False).entry_scores))


def score_severity(log: PreparedLog) -> np.ndarray:
    """Entries of each sequence that have a word of severity."""
    words = re.compile("|".join(SEVERITY_WORDS), re.IGNORECASE)
    severe = np.array([bool(words.search(text)) for text in log.parsed.distinct.to_pylist()])[log.parsed.entry_index]
    return np.array([severe[positions].sum() for positions in log.sequences], float)


def predict(pipe: LogAnomalyPipeline, log: PreparedLog, reference: LogReference | None, mode: str) -> PredictedLog:
    """LogMoE's predictions for one log.

    Args:
        reference: to judge by; in mode "self" that of the log itself.
        mode: "reference", "self" or "none".
    """
    if mode == "self" and log.rule.session_pattern is not None:
        # Sessions that were gathered beforehand: the pipeline would cut the log again.
        assert reference is not None
        against = Against(None)
        return predict_measured(pipe.predictor, log, against, reference, pipe.processor, BATCH_SIZE, None)
    given = {"none": False, "self": None}.get(mode, reference)
    return pipe._forward([log], BATCH_SIZE, reference=given)[0]


def score(
    pipe: LogAnomalyPipeline,
    log: PreparedLog,
    reference: LogReference | None,
    mode: str,
    boosting: HistGradientBoostingClassifier,
    seed: int = 0,
) -> Scored:
    """The sequences of one log by every detector that the mode allows.

    Args:
        reference: to judge by; in mode "self" it is made here if it is None.
        mode: "reference", "self" or "none".
        seed: of detectors that draw.
    """
    if mode == "self" and reference is None:
        fit = ReferenceFit(pipe.processor, log.rule, origin_of(pipe.model, pipe.processor, log.rule))
        fit.add_parsed(log.parsed)
        reference = fit.finish_own()
    predicted = predict(pipe, log, reference, mode)
    scores = {"severity words": score_severity(log)}
    evidence = predicted.evidence
    if evidence is None:
        margins = anomaly_margin(np.stack([prediction.logits for prediction in predicted.predictions]))
    else:
        assert reference is not None
        margins, inputs = evidence.margins, np.nan_to_num(evidence.inputs)
        scores |= {
            "new template": inputs[:, FEATURE["template_new_mean"]],
            "1-NN distance": inputs[:, FEATURE["distance_top8"]],
            **score_by_counts(reference, log, mode == "self", seed),
            "sum of ranks, untrained": untrained_score(evidence.inputs),
            BOOSTING: boosting.decision_function(evidence.inputs),
        }
    return Scored({**scores, "LogMoE": margins}, margins >= 0, predicted)


__all__ = [
    "BATCH_SIZE",
    "BOOSTING",
    "FOREST",
    "ON_COUNTS",
    "PCA",
    "Boosting",
    "RememberingPipeline",
    "Scored",
    "count_templates",
    "counts_of",
    "fit_reference",
    "healthy_counts",
    "isolation_forest",
    "predict",
    "principal_components",
    "score",
    "score_by_counts",
    "score_severity",
    "stretches_of",
]
