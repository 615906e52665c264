"""Evidence in, a score out: what speaks against a sequence, on the scale of healthy sequences of the same log.

Two scores are joined: what the model learned from other services, and the untrained sum of how far a sequence's
features rank among healthy ones. Each is brought to the scale of the reference's own healthy sequences, measured
against each other, so that scores mean the same for every log; these sequences also keep the promise on false alarms
(split conformal prediction, Papadopoulos et al., 2002). Called by the pipeline and the scan.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .judging_logmoe import Evidence, Explanation, Prediction, anomaly_margin
from .measuring_logmoe import Measured
from .predicting_logmoe import Predictor
from .reasons_logmoe import KINDS, KNOWN, LEAST_REASON, SMALLEST_REASON, Scene, ranked
from .reasons_logmoe import NEW as NEW_KIND
from .reference_logmoe import LogReference
from .surprise_logmoe import ENTRY_FEATURES, INPUTS, SEQUENCE_FEATURES, lower_quarter, sequence_inputs

FALSE_ALARM_RATE = 0.01
# With fewer healthy sequences the model's own scale takes their place.
FEWEST_HEALTHY = 4
# The smallest spreads of healthy scores. A log that repeats itself to the letter has none, and every second that is
# lost would be an anomaly. The learned one is a share of that of logs judged by themselves, the untrained one counts
# decades of ranks; references of the training services have .40 and 13.8 or more.
LEAST_LEARNED, LEAST_UNTRAINED = 0.3, 10.0
# The usual ones, and how many healthy sequences count as much as these: the 99th percentile of a few is a guess. On
# services left out, with references of a third the size, AUROC .886 / .903 (earlier / both) against .858 / .879.
USUAL_LEARNED, USUAL_UNTRAINED, USUAL_COUNTS = 0.5, 38.0, 100
# Sequences at the head of a healthy log that may be its start: written once, odder than all that follows, no measure.
LONGEST_START = 4
# Rank correlation of standing out, by either score, and of being worded like a fault below which faults are what is
# usual in a log. In training logs as they are it is .35 +- .16 by models that were trained without the service, -.09
# at least, and .41 +- .16 by the untrained score, .02 at least. Of 15 that turn over because one fault was drawn out
# over three fifths, 9 are below, by the learned score alone 5. Of few sequences it is chance.
TURNED, FEWEST_TURNED = -0.4, 64
# The untrained score of a usual healthy median: 25.4 +- 2.1 in references of the training services. That of the
# learned one is the center of the model's own scale.
USUAL_SUM = 25.4
# Where a promise ends hangs on the most anomalous of a few healthy sequences, and what their median is on which they
# are: margins that begin there, in units of their spread, cannot be compared from one healthy log to another. Margins
# begin where a usual log's would, and from there to the threshold they grow this much slower or faster, so that their
# sign is that of the label.
SLOWER, FASTER = 0.1, 4.0
# What is as odd as the oddest healthy sequence lies a last bit below the threshold. So far below 0, in logit units,
# its probability is not rounded to a half, which would make it anomalous.
BELOW = 1e-9
# Healthy sequences that go through the model at once.
BATCH_SIZE = 128

RANKS = np.array([float(name.startswith("rank_")) for name in INPUTS])
NEW = np.array([float(name == "template_new_top3") for name in INPUTS])
"""What the untrained score is the sum of, by input: ranks; new entries."""
_NEW_SHARE, _NEW_ABOVE = INPUTS.index("template_new_mean"), INPUTS.index("above_template_new_mean")
# Both scales, the weight of the untrained score, and what it is the sum of, where the score is the learned margin.
_Start = tuple[tuple[float, float], tuple[float, float], float, np.ndarray]
AS_IT_IS: _Start = ((0.0, 1.0), (0.0, 1.0), 0.0, RANKS)
# So much more than the oddest place of a healthy run is as odd, in units of the scale: the same place, measured in
# another way or a few entries later, differs by less.
AS_ODD = 0.01
# A sequence is anomalous, whatever speaks against it, if its share of entries of new kinds is so much higher than in
# all healthy sequences and than is usual in its log. Its score is the threshold and so much for a whole of excess.
# On services left out, of those that were not called otherwise .57 / .84 are anomalous (`earlier` / `twin`), .88 in
# logs of up to 24 entries, and one is of a healthy run.
EXCESS, ABOVE = 0.25, 0.01
# How much new entries count against a small reference, and which share of three makes up a spread.
NEW_WEIGHT, NEW_SPREAD = 0.5, 0.25


@dataclass(frozen=True)
class Against:
    """What logs are judged against.

    Attributes:
        reference: healthy logs; None for each log's own other blocks.
        false_alarm_rate: share of healthy sequences that may be called anomalous.
        false_alarms_per_day: the same as a number, for healthy logs with times; in place of the rate.
        is_stored: the reference is the one that is stored with the checkpoint.
        by_labels: the model learned from labels through this very reference: what it says of a sequence is judged by
            the threshold that was fitted on labels, in place of any promise about healthy sequences.
    """

    reference: LogReference | None
    false_alarm_rate: float = FALSE_ALARM_RATE
    false_alarms_per_day: float | None = None
    is_stored: bool = False
    by_labels: bool = False

    @property
    def is_comparing(self) -> bool:
        """A healthy log was given, or is stored, and it alone says what is normal."""
        return self.reference is not None and not self.by_labels

    def rate(self, reference: LogReference, length: int) -> float:
        """Share of healthy sequences of up to `length` entries that may be called anomalous, in (0, 1]."""
        if self.false_alarms_per_day is None:
            return self.false_alarm_rate
        if self.reference is not None and self.reference.services:  # the number is that of all its services
            reference = self.reference
        return min(1.0, self.false_alarms_per_day / reference.sequences_per_day(length))

    def weigher(self, predictor: Predictor, reference: LogReference, length: int) -> "Weigher":
        """Weighs sequences of up to `length` entries against the reference, or the log's own."""
        rate = self.rate(reference, length)
        return Weigher(predictor, reference, length, self.reference is None, rate, self.by_labels)


@dataclass(frozen=True)
class Scale:
    """Healthy sequences, as the scale of scores.

    Attributes:
        learned, untrained: center and spread of either score: median, and from there to the 99th percentile, drawn to
            the usual spread where few sequences tell.
        weight: of the untrained score, in [0, 1]; 0 in self mode.
        healthy: joined scores of healthy sequences, ascending; empty where nothing is promised: in self mode, for
            another run of the healthy log, of few healthy sequences.
        counts: `(len(INPUTS),)`, how much each input counts in the untrained score: ranks do, or, where there are too
            few healthy sequences to rank among, what is new; of another run of the healthy log, both.
        baseline: `(len(INPUTS),)`, a healthy median sequence.
        stack: median margin of the sequence stack.
        least: the lowest threshold: 0, or more where a spread is below the least one, 1 where there is none at all;
            without healthy sequences 1, or more where another run is compared: what the healthy one has is fine.
        most_new: the largest share of entries of new kinds in one of these sequences; infinite without any.
        above_usual: how far the healthy median lies above that of a usual log, as far as few sequences tell.
    """

    learned: tuple[float, float]
    untrained: tuple[float, float]
    weight: float
    counts: np.ndarray
    healthy: np.ndarray
    baseline: np.ndarray
    stack: float
    least: float = 0.0
    most_new: float = np.inf
    above_usual: float = 0.0

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
            return max(1.0, self.least), np.nan
        number = len(self.healthy) + 1
        allowed = int(np.floor(rate * number + 1e-9)) - 1  # of the healthy ones
        highest = self.healthy[len(self.healthy) - 1 - max(allowed, 0)]
        threshold = max(float(np.nextafter(highest, np.inf)), self.least)
        # Few healthy sequences promise little. Where one in a hundred would lie by the usual spread, fewer are called.
        return (threshold, rate) if allowed >= 0 else (max(threshold, 1.0), 1 / number)


class Weigher:
    """Weighs the evidence of sequences that were measured against a reference.

    Args:
        predictor: the model.
        reference: with embeddings.
        length: entries per sequence, at most.
        is_self: the reference is of the judged log itself.
        false_alarm_rate: share of healthy sequences that may be called anomalous.
        by_labels: see [`Against`].

    Attributes:
        scale: of the scores.
        threshold: the score from which on a sequence is anomalous.
        kept_rate: the rate that this promises: more than was asked if there are too few healthy sequences, None
            without any.
    """

    def __init__(
        self,
        predictor: Predictor,
        reference: LogReference,
        length: int,
        is_self: bool = False,
        false_alarm_rate: float = FALSE_ALARM_RATE,
        by_labels: bool = False,
    ):
        self.predictor, self.reference, self.is_self, self.by_labels = predictor, reference, is_self, by_labels
        self.slope = 1.0 if by_labels else float(predictor.model.config.reference_slope)
        self.scale = self._make_scale(length)
        # By labels the score is the margin that they were fitted to, as it is.
        self.threshold, kept = (0.0, np.nan) if by_labels else self.scale.threshold(false_alarm_rate)
        self.kept_rate = None if np.isnan(kept) else kept

    def _make_scale(self, length: int) -> Scale:
        config = self.predictor.model.config
        healthy = self.reference.healthy(length)
        center, spread = config.reference_scale
        # Sums of ranks differ from log to log; without healthy sequences to compare them with they do not count. What
        # is new to a small reference does: the model, which has seen many, makes little of it.
        few = 0.0 if self.is_self else NEW_WEIGHT
        by_model: _Start = ((center, spread), (0.0, NEW_SPREAD), few, NEW)
        stored = AS_IT_IS if self.by_labels else by_model
        if not len(healthy.features):
            return Scale(*stored, np.empty(0), np.zeros(len(INPUTS), np.float32), 0.0)
        learned, untrained, stack, baseline = _healthy_scores(self.predictor, self.reference, length)
        if self.by_labels:
            return Scale(*stored, np.sort(learned), baseline, stack)
        if self.reference.is_run:
            return self._scale_of_run(learned, untrained, baseline, stack)
        if self.is_self or len(learned) < FEWEST_HEALTHY:
            # So few healthy sequences are new to each other; nothing new is what is healthy.
            return Scale(*stored, np.empty(0), np.where(NEW > 0, 0, baseline).astype(np.float32), stack)
        weight = float(config.untrained_weight)
        scale = _scale_of(learned, untrained, weight, (center, spread), baseline, stack)
        joined = scale.joined(learned, untrained)
        start = _length_of_start(joined)
        if start:
            scale = _scale_of(learned[start:], untrained[start:], weight, (center, spread), baseline, stack)
            joined = scale.joined(learned[start:], untrained[start:])
        most_new = float(healthy.features[start:, _NEW_SHARE].max())
        return replace(scale, healthy=np.sort(joined), most_new=most_new)

    def _scale_of_run(self, learned: np.ndarray, untrained: np.ndarray, baseline: np.ndarray, stack: float) -> Scale:
        """The scale for another run of the healthy one, from the scores of that: what is new counts beside ranks."""
        config = self.predictor.model.config
        weight = float(config.untrained_weight)
        scale = _scale_of(learned, untrained, weight, tuple(config.reference_scale), baseline, stack)
        if weight:
            counts = RANKS + NEW * (NEW_WEIGHT / NEW_SPREAD * scale.untrained[1] / weight)
            scale = replace(scale, counts=counts)
        else:  # in place of ranks, which do not count
            scale = replace(scale, untrained=(0.0, NEW_SPREAD), weight=NEW_WEIGHT, counts=NEW)
        highest = scale.joined(learned, untrained if weight else np.zeros_like(untrained)).max()
        return replace(scale, least=float(highest) + AS_ODD)

    def weigh(self, measured: Measured, predictions: Sequence[Prediction]) -> Evidence:
        """The evidence of sequences.

        Args:
            measured: the sequences, one at least.
            predictions: of the sequence stack.
        """
        stack = anomaly_margin(np.stack([prediction.logits for prediction in predictions]))
        learned = stack + self.predictor.term_margins(measured.inputs)
        joined = self.scale.joined(learned, untrained_score(measured.inputs, self.scale.counts))
        floor = self.floor(measured.inputs)
        score = np.maximum(joined, floor)
        return Evidence(
            "self" if self.is_self else "reference",
            score,
            self.margin(score),
            self.scale.rarity(score),
            measured.inputs,
            lambda row, with_reasons: self.explain(
                measured, row, predictions[row], float(joined[row]), float(floor[row]), with_reasons
            ),
            self.by_labels,
        )

    def floor(self, inputs: np.ndarray) -> np.ndarray:
        """The lowest score that sequences can have, by how many of their entries are of new kinds.

        Args:
            inputs: `(sequences, len(INPUTS))`.

        Returns:
            `(sequences,)`: just above the threshold, so that a probability higher than .5 may be asked to leave them
            out; -inf where they have no such excess.
        """
        excess = np.minimum(inputs[:, _NEW_SHARE] - self.scale.most_new, inputs[:, _NEW_ABOVE])
        return np.where(excess >= EXCESS, self.threshold + ABOVE * excess, -np.inf)

    def margin(self, score: np.ndarray) -> np.ndarray:
        """The margins of scores, in logit units: increasing, 0 at the threshold, lower only below it.

        A straight line from where a usual log's threshold would lie, as far as their sign allows it.
        """
        over = score - self.threshold
        straight = over if self.by_labels else score + self.scale.above_usual - 1
        slower, faster = SLOWER * over, FASTER * over
        bent = np.clip(straight, np.minimum(slower, faster), np.maximum(slower, faster))
        return self.slope * bent - np.where(over < 0, BELOW, 0.0)

    def explain(
        self,
        measured: Measured,
        row: int,
        prediction: Prediction,
        joined: float,
        floor: float,
        with_reasons: bool = True,
    ) -> Explanation:
        """What made the margin of one sequence.

        Args:
            measured, row: the sequence.
            prediction: of the sequence stack.
            joined, floor: of the sequence; the higher is its score.
            with_reasons: also say it in words, which takes longer.
        """
        score = max(joined, floor)
        scene = Scene(measured, row, self.reference, self.is_self)
        parts = scene.parts(of_entries=with_reasons)
        entry_shares, of_sequence = self.shares(measured, row, prediction, parts, scene.weights)
        if score > joined:
            is_new = scene.value("template_new") > 0
            entry_shares += (score - joined) * is_new / is_new.sum()
        # From the healthy median's score to this one's the margin rises by so much for each unit.
        rise = float(entry_shares.sum()) + sum(of_sequence.values())
        slope = self._rise(score, np.array([rise])).item() / rise if rise else self.slope
        entry_shares, evidence = slope * entry_shares, {kind: slope * share for kind, share in of_sequence.items()}
        if not with_reasons:
            return Explanation(entry_shares, evidence)
        losses = self.losses(measured, row, prediction, parts, joined, floor)
        smallest = max(SMALLEST_REASON * max(losses.values()), LEAST_REASON)
        kept = {kind: loss for kind, loss in losses.items() if loss > 0 and loss >= smallest}
        telling = {kind: loss for kind, loss in kept.items() if scene.is_telling(kind, parts)} or kept
        weights = self._rise(score, np.array(list(telling.values()))).tolist()
        ordered = sorted(zip(telling, weights, strict=True), key=lambda item: -ranked(*item))
        reasons = [scene.reason(kind, prediction.entry_scores) | {"weight": weight} for kind, weight in ordered]
        return Explanation(entry_shares, evidence, reasons)

    def _rise(self, score: float, loss: np.ndarray) -> np.ndarray:
        """How much lower the margin of a score would be if that lost so much."""
        return self.margin(np.array(score)) - self.margin(score - loss)

    def losses(
        self, measured: Measured, row: int, prediction: Prediction, parts: np.ndarray, joined: float, floor: float
    ) -> dict[str, float]:
        """What the score of one sequence loses where all that a kind of reason brings is as in a healthy median one.

        Args:
            measured, row, prediction, joined, floor: as in `explain`.
            parts: `(kinds, len(INPUTS))`, which part of each input each kind brings.

        Returns:
            By kind, those that no input belongs to left out.
        """
        scale, inputs = self.scale, measured.inputs[row]
        used = np.flatnonzero(parts.any(axis=1))
        # Where the median is not known, neither is what has been neutralised.
        back = np.where(parts[used] > 0, parts[used] * (inputs - scale.baseline), 0.0)
        rows = np.concatenate([inputs[None], inputs - back]).astype(np.float32)
        learned, untrained = self.predictor.term_margins(rows), untrained_score(rows, scale.counts)
        lost = (1 - scale.weight) * (learned[0] - learned[1:]) / scale.learned[1]
        lost += scale.weight * (untrained[0] - untrained[1:]) / scale.untrained[1]
        losses = dict(zip((KINDS[kind] for kind in used), lost.tolist(), strict=True))
        stack_margin = float(anomaly_margin(prediction.logits[None])[0])
        losses[KINDS[KNOWN]] = (1 - scale.weight) * (stack_margin - scale.stack) / scale.learned[1]
        # Without new entries there is no floor; without anything else the score does not fall below it.
        lifted, room = max(floor - joined, 0.0), max(joined - floor, 0.0)
        return {
            kind: lifted + max(loss, 0.0) if kind == KINDS[NEW_KIND] else min(loss + lifted, room)
            for kind, loss in losses.items()
        }

    def shares(
        self, measured: Measured, row: int, prediction: Prediction, parts: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, dict[str, float]]:
        """What makes the score of one sequence: exact, they add up to its score less that of the healthy median.

        Args:
            measured, row, prediction, parts: as in `losses`.
            weights: see `Scene.weights`.

        Returns:
            The share of each entry, `(entries,)`, and the shares of evidence that belongs to no entry, by kind.
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
        departure = np.nan_to_num(inputs[0]) - np.nan_to_num(scale.baseline)
        of_input += scale.counts * departure * scale.weight / scale.untrained[1]

        # A feature's value, its rank and its distance from the level come from the same entries.
        of_feature = of_input.reshape(-1, len(SEQUENCE_FEATURES)).sum(axis=0)
        entry_shares += of_feature @ weights
        of_none = parts[:, : len(SEQUENCE_FEATURES)] * ~weights.any(axis=1)
        of_sequence = of_none @ of_feature
        return entry_shares, {KINDS[kind]: float(of_sequence[kind]) for kind in np.flatnonzero(of_sequence)}


def faults_prevail(predictor: Predictor, own: LogReference, length: int) -> bool:
    """Whether what stands out in a log reads less like faults than what is usual in it: then it is no measure.

    Args:
        predictor: the model.
        own: reference of the log itself, with embeddings.
        length: entries per sequence, at most.
    """
    if len(own.healthy(length).features) < FEWEST_TURNED:
        return False
    learned, untrained, *_ = _healthy_scores(predictor, own, length)
    worded = _stack_margins(predictor, own, length, with_features=False)
    return min(rank_correlation(learned, worded), rank_correlation(untrained, worded)) < TURNED


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, of two `(values,)`; 0 where either is the same throughout."""
    ranks = []
    for values in (one, other):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts + 1) / 2  # equal values share their ranks' mean
        ranks.append(middle[place] - (len(values) - 1) / 2)
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / spread if spread else 0.0


def _healthy_scores(
    predictor: Predictor, reference: LogReference, length: int
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Both scores of the healthy sequences, the median margin of the stack, and the median inputs.

    They are kept with the reference, for one model.
    """
    healthy = reference.healthy(length)
    scores: tuple[np.ndarray, np.ndarray, float, np.ndarray] | None = healthy.scores.get(predictor.model)
    if scores is None:
        inputs = sequence_inputs(healthy.features, healthy.features, lower_quarter(healthy.features))
        stack = _stack_margins(predictor, reference, length, with_features=True)
        baseline = np.full(inputs.shape[1], np.nan, np.float32)
        is_known = ~np.isnan(inputs).all(0)
        baseline[is_known] = np.nanmedian(inputs[:, is_known], axis=0)
        learned = stack + predictor.term_margins(inputs)
        scores = learned, untrained_score(inputs), float(np.median(stack)), baseline
        healthy.scores.clear()
        healthy.scores[predictor.model] = scores
    return scores


def _stack_margins(predictor: Predictor, reference: LogReference, length: int, with_features: bool) -> np.ndarray:
    """What the sequence stack says of the healthy sequences, `(sequences,)`, with or without a reference to go by."""
    healthy = reference.healthy(length)
    embeddings = torch.from_numpy(reference.embeddings).to(predictor.device, predictor.model.dtype)
    sequences = [row[row >= 0] for row in healthy.templates]
    features = None
    if with_features:
        features = [
            rows[: len(sequence), : len(ENTRY_FEATURES)]
            for rows, sequence in zip(healthy.entry_features, sequences, strict=True)
        ]
    predictions = predictor.predict(embeddings, sequences, BATCH_SIZE, features)
    return anomaly_margin(np.stack([prediction.logits for prediction in predictions]))


def untrained_score(inputs: np.ndarray, counts: np.ndarray = RANKS) -> np.ndarray:
    """The sum of the inputs that count, by default the rank evidence of all features, float64 `(sequences,)`."""
    chosen = counts > 0
    return np.nan_to_num(inputs[:, chosen]).astype(np.float64) @ counts[chosen]


def _scale_of(
    learned: np.ndarray,
    untrained: np.ndarray,
    weight: float,
    stored: tuple[float, float],
    baseline: np.ndarray,
    stack: float,
) -> Scale:
    """The scale that healthy scores `(sequences,)` make, without these; `stored` is the model's own scale."""
    own = len(learned) / (len(learned) + USUAL_COUNTS)
    scales, natural, above_usual = [], 0.0, 0.0
    for values, counts, usual_center, usual, least in (
        (learned, 1 - weight, stored[0], USUAL_LEARNED * stored[1], LEAST_LEARNED * stored[1]),
        (untrained, weight, USUAL_SUM, USUAL_UNTRAINED, LEAST_UNTRAINED),
    ):
        center = float(np.median(values))
        natural_spread = float(np.quantile(values, 0.99)) - center
        spread = max(own * natural_spread + (1 - own) * usual, least)
        scales.append((center, spread))
        natural += counts * min(1.0, natural_spread / least)
        above_usual += counts * (1 - own) * (center - usual_center) / spread
    return Scale(
        scales[0], scales[1], weight, RANKS, np.empty(0), baseline, stack, 1 - natural, above_usual=above_usual
    )


def _length_of_start(scores: np.ndarray) -> int:
    """Sequences at the head, each odder than all that follow."""
    start = 0
    while start < LONGEST_START and len(scores) - start > FEWEST_HEALTHY and scores[start] > scores[start + 1 :].max():
        start += 1
    return start


__all__ = ["Scale", "Weigher", "faults_prevail", "untrained_score"]
