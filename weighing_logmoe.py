"""Evidence in, a score out: what speaks against a sequence, on the scale of healthy sequences of the same log.

Two scores are joined: what the model learned from other services, and the untrained sum of how far a sequence's
features rank among healthy ones. Each is brought to the scale of the reference's own healthy sequences, measured
against each other, so that scores mean the same for every log; these sequences also keep the promise on false alarms
(split conformal prediction, Papadopoulos et al., 2002). Called by the pipeline and the scan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .judging_logmoe import Evidence, Explanation, Prediction, anomaly_margin
from .measuring_logmoe import Measured
from .predicting_logmoe import Predictor
from .reference_logmoe import LogReference
from .surprise_logmoe import ENTRY_FEATURES, INPUTS, POOLS, SEQUENCE_FEATURES, lower_quarter, sequence_inputs

FALSE_ALARM_RATE = 0.01
# With fewer healthy sequences the model's own scale takes their place.
FEWEST_HEALTHY = 20
# Healthy sequences that go through the model at once.
BATCH_SIZE = 128

RANKS = np.array([name.startswith("rank_") for name in INPUTS])
"""Which inputs are ranks."""

_OF_ENTRY = (*ENTRY_FEATURES, "gap")
KINDS = (
    "new_entry",
    "rare_entry",
    "unusual_order",
    "unusual_count",
    "missing_entry",
    "unusual_pace",
    "known_anomaly",
)


def kind_of(feature: str) -> str:
    """The kind of reason that a feature of `INPUTS` belongs to."""
    name = feature.removeprefix("rank_").removeprefix("above_")
    for marks, kind in (
        (("missing", "overdue", "late", "_low"), "missing_entry"),
        (("gap", "slow", "fast"), "unusual_pace"),
        (("distance", "_new_", "nearest_rarity"), "new_entry"),
        (("transition", "unseen_pairs"), "unusual_order"),
        (("_rarity",), "rare_entry"),
    ):
        if any(mark in name for mark in marks):
            return kind
    return "unusual_count"


KIND_OF_INPUT = np.array([KINDS.index(kind_of(name)) for name in INPUTS])


@dataclass(frozen=True)
class Against:
    """What logs are judged against.

    Attributes:
        reference: healthy logs; None for each log's own other blocks.
        false_alarm_rate: share of healthy sequences that may be called anomalous.
        false_alarms_per_day: the same as a number, for healthy logs with times; in place of the rate.
    """

    reference: LogReference | None
    false_alarm_rate: float = FALSE_ALARM_RATE
    false_alarms_per_day: float | None = None

    def weigher(self, predictor: Predictor, reference: LogReference, length: int) -> "Weigher":
        """Weighs sequences of up to `length` entries against the reference, or the log's own."""
        rate = self.false_alarm_rate
        if self.false_alarms_per_day is not None:
            rate = min(1.0, self.false_alarms_per_day / reference.sequences_per_day(length))
        return Weigher(predictor, reference, length, self.reference is None, rate)


@dataclass(frozen=True)
class Scale:
    """Healthy sequences, as the scale of scores.

    Attributes:
        learned, untrained: center and spread of either score: median, and from there to the 99th percentile.
        weight: of the untrained score, in [0, 1].
        healthy: joined scores of healthy sequences, ascending; empty in self mode, which promises nothing.
        baseline: `(len(INPUTS),)`, a healthy median sequence.
        stack: median margin of the sequence stack.
    """

    learned: tuple[float, float]
    untrained: tuple[float, float]
    weight: float
    healthy: np.ndarray
    baseline: np.ndarray
    stack: float

    def joined(self, learned: np.ndarray, untrained: np.ndarray) -> np.ndarray:
        """The joined score: 0 for a healthy median sequence, 1 for the most anomalous in a hundred."""
        return (1 - self.weight) * (learned - self.learned[0]) / self.learned[1] + self.weight * (
            untrained - self.untrained[0]
        ) / self.untrained[1]

    def rarity(self, scores: np.ndarray) -> np.ndarray:
        """Share of healthy sequences that are at least as odd, counting the judged one; NaN without any."""
        if not len(self.healthy):
            return np.full(len(scores), np.nan)
        at_least = len(self.healthy) - np.searchsorted(self.healthy, scores, side="left")
        return (at_least + 1) / (len(self.healthy) + 1)

    def threshold(self, rate: float) -> tuple[float, float]:
        """The score from which on a sequence is anomalous.

        Args:
            rate: share of healthy sequences that may be.

        Returns:
            The threshold, and the rate that it keeps: `rate`, or more if there are too few healthy sequences for it.
        """
        if not len(self.healthy):
            return 1.0, np.nan
        number = len(self.healthy) + 1
        allowed = int(np.floor(rate * number + 1e-9)) - 1  # of the healthy ones
        if allowed < 0:
            return float(np.nextafter(self.healthy[-1], np.inf)), 1 / number
        return float(np.nextafter(self.healthy[len(self.healthy) - 1 - allowed], np.inf)), rate


class Weigher:
    """Weighs the evidence of sequences that were measured against a reference.

    Args:
        predictor: the model.
        reference: with embeddings.
        length: entries per sequence, at most.
        is_self: the reference is of the judged log itself.
        false_alarm_rate: share of healthy sequences that may be called anomalous.

    Attributes:
        scale: of the scores.
        threshold: the score from which on a sequence is anomalous.
        kept_rate: the rate that this promises: more than was asked if there are too few healthy sequences, NaN without
            any.
    """

    def __init__(
        self,
        predictor: Predictor,
        reference: LogReference,
        length: int,
        is_self: bool = False,
        false_alarm_rate: float = FALSE_ALARM_RATE,
    ):
        self.predictor, self.reference, self.is_self = predictor, reference, is_self
        self.slope = float(predictor.model.config.reference_slope)
        self.scale = self._make_scale(length)
        self.threshold, self.kept_rate = self.scale.threshold(false_alarm_rate)

    def _make_scale(self, length: int) -> Scale:
        config = self.predictor.model.config
        healthy = self.reference.healthy(length)
        center, spread, untrained_center, untrained_spread = config.reference_scale
        weight = float(config.untrained_weight)
        stored = ((center, spread), (untrained_center, untrained_spread), weight)
        if not len(healthy.features):
            return Scale(*stored, np.empty(0), np.zeros(len(INPUTS), np.float32), 0.0)
        key = self.predictor.model
        if key not in healthy.scores:
            healthy.scores.clear()
            healthy.scores[key] = self._score_healthy(length)
        learned, untrained, stack, baseline = healthy.scores[key]
        if self.is_self or len(learned) < FEWEST_HEALTHY:
            return Scale(*stored, np.empty(0), baseline, stack)
        scales = [_center_and_spread(values) for values in (learned, untrained)]
        scale = Scale(scales[0], scales[1], weight, np.empty(0), baseline, stack)
        return Scale(*scales, weight, np.sort(scale.joined(learned, untrained)), baseline, stack)

    def _score_healthy(self, length: int) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Both scores of the healthy sequences, the median margin of the stack, and the median inputs."""
        healthy = self.reference.healthy(length)
        inputs = sequence_inputs(healthy.features, healthy.features, lower_quarter(healthy.features))
        embeddings = torch.from_numpy(self.reference.embeddings).to(self.predictor.device, self.predictor.model.dtype)
        sequences = [row[row >= 0] for row in healthy.templates]
        features = [
            rows[: len(sequence), : len(ENTRY_FEATURES)]
            for rows, sequence in zip(healthy.entry_features, sequences, strict=True)
        ]
        predictions = self.predictor.predict(embeddings, sequences, BATCH_SIZE, features)
        stack = anomaly_margin(np.stack([prediction.logits for prediction in predictions]))
        with np.errstate(all="ignore"):
            baseline = np.where(np.isnan(inputs).all(0), np.nan, np.nanmedian(inputs, axis=0)).astype(np.float32)
        return stack + self.predictor.term_margins(inputs), untrained_score(inputs), float(np.median(stack)), baseline

    def weigh(self, measured: Measured, predictions: Sequence[Prediction]) -> Evidence:
        """The evidence of sequences.

        Args:
            measured: the sequences, one at least.
            predictions: of the sequence stack.
        """
        stack = anomaly_margin(np.stack([prediction.logits for prediction in predictions]))
        learned = stack + self.predictor.term_margins(measured.inputs)
        score = self.scale.joined(learned, untrained_score(measured.inputs))
        return Evidence(
            "self" if self.is_self else "reference",
            self.slope * (score - self.threshold),
            self.scale.rarity(score),
            lambda row: self.explain(measured, row, predictions[row]),
        )

    def explain(self, measured: Measured, row: int, prediction: Prediction) -> Explanation:
        """What made the margin of one sequence."""
        entry_shares, of_sequence, losses = self.shares(measured, row, prediction)
        reasons = [
            {"kind": kind, "weight": self.slope * loss}
            for kind, loss in sorted(losses.items(), key=lambda item: -item[1])
            if loss > 0
        ]
        evidence = {kind: self.slope * share for kind, share in of_sequence.items()}
        return Explanation(self.slope * entry_shares, evidence, reasons)

    def shares(
        self, measured: Measured, row: int, prediction: Prediction
    ) -> tuple[np.ndarray, dict[str, float], dict[str, float]]:
        """What makes the score of one sequence: exact, they add up to its score less that of the healthy median.

        Args:
            measured, row: the sequence.
            prediction: of the sequence stack.

        Returns:
            The share of each entry, `(entries,)`; the shares of evidence that belongs to no entry, by kind; and what
            the score loses if all evidence of a kind is neutralised, by kind.
        """
        scale, number = self.scale, len(prediction.entry_scores)
        inputs = measured.inputs[row : row + 1]
        stack_margin = float(anomaly_margin(prediction.logits[None])[0])
        shares = np.asarray(prediction.entry_scores, np.float64)
        # What the head's biases add belongs to no entry in particular.
        shares = shares + (stack_margin - scale.stack - shares.sum()) / number
        entry_shares = shares * (1 - scale.weight) / scale.learned[1]
        of_input = np.nan_to_num(self.predictor.feature_shares(inputs, scale.baseline)[0])
        of_input *= (1 - scale.weight) / scale.learned[1]
        ranks = np.nan_to_num(inputs[0][RANKS]) - np.nan_to_num(scale.baseline[RANKS])
        of_input[RANKS] += ranks * scale.weight / scale.untrained[1]

        of_sequence: dict[str, float] = {}
        losses = {"known_anomaly": float(entry_shares.sum())}
        values = np.nan_to_num(measured.entry_features[row, :number].astype(np.float64))
        for column in np.flatnonzero(of_input):
            share, kind = float(of_input[column]), KINDS[KIND_OF_INPUT[column]]
            losses[kind] = losses.get(kind, 0.0) + share
            bare = column % len(SEQUENCE_FEATURES)
            if bare < len(POOLS) * len(_OF_ENTRY):
                entry_shares += share * _weights(values[:, bare % len(_OF_ENTRY)], POOLS[bare // len(_OF_ENTRY)])
            else:
                of_sequence[kind] = of_sequence.get(kind, 0.0) + share
        return entry_shares, of_sequence, losses


def untrained_score(inputs: np.ndarray) -> np.ndarray:
    """The sum of the rank evidence of all features, float64 `(sequences,)`."""
    return np.nansum(inputs[:, RANKS], axis=1, dtype=np.float64)  # type: ignore[no-any-return]


def _weights(values: np.ndarray, pool: str) -> np.ndarray:
    """How a pooled feature's share is divided among the entries `(entries,)`, by what each brings to it."""
    brings = np.zeros(len(values))
    number = {"max": 1, "mean": len(values), "top3": 3, "top8": 8}[pool]
    top = np.argsort(-values, kind="stable")[:number]
    brings[top] = np.maximum(values[top] - min(0.0, values.min()), 0)
    if brings.sum() <= 0:
        brings[top] = 1
    return brings / brings.sum()


def _center_and_spread(values: np.ndarray) -> tuple[float, float]:
    center, high = np.median(values), np.quantile(values, 0.99)
    return float(center), float(max(high - center, 1e-3))


__all__ = ["KINDS", "Scale", "Weigher", "kind_of", "untrained_score"]
