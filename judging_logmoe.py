"""Predictions in, results out: the one place where logits become labels, scores and probabilities.

A prediction is what the model gives for a sequence: two logits and a score for each entry. `Judge` holds temperature
and threshold and builds the results that people see. Called by the pipeline and the scan; training measures with the
same probabilities.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from .configuration_logmoe import LogMoEConfig
from .parsing_logmoe import ParsedLog
from .services_logmoe import Writer

NORMAL, ANOMALY = 0, 1


@dataclass
class Prediction:
    """What the model gives for a sequence: its logits `(2,)`, normal then anomaly, and a score for each entry."""

    logits: np.ndarray
    entry_scores: np.ndarray


@dataclass
class Explanation:
    """What made the margin of a sequence.

    Attributes:
        entry_scores: of each entry its share, in logit units.
        evidence: shares that belong to no entry, by kind. With those of the entries they add up to the margin less
            that of a healthy median sequence.
        reasons: the strongest first (what the model knows from other services only if it is twice as strong), each a
            dict with `kind`, `text` and `weight`, what the margin loses without it.
    """

    entry_scores: np.ndarray
    evidence: dict[str, float] = field(default_factory=dict)
    reasons: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Evidence:
    """Sequences that were judged against healthy ones.

    Attributes:
        mode: `"reference"`, or `"self"` for the log's own other blocks.
        scores: float64 `(sequences,)`, on the scale of healthy ones: 0 for a median one, 1 for the most anomalous in a
            hundred; of a model that learned from labels its margins.
        margins: float64 `(sequences,)`, in logit units; 0 is where the promise on false alarms ends.
        rarity: float64 `(sequences,)`, share of healthy sequences at least as odd; NaN where it cannot be said.
        inputs: float32 `(sequences, inputs)`, what the model's terms read.
        explain: what made the margin of a sequence, by its row, and whether reasons in words are wanted.
        is_calibrated: the margins are logits whose temperature and threshold were fitted on labels; nothing is
            promised, and 0 is no more than even odds.
    """

    mode: str
    scores: np.ndarray
    margins: np.ndarray
    rarity: np.ndarray
    inputs: np.ndarray
    explain: Callable[[int, bool], Explanation]
    is_calibrated: bool = False


def anomaly_margin(logits: np.ndarray) -> np.ndarray:
    """Anomaly logit minus normal logit, float64 `(sequences,)`, from logits `(sequences, 2)`."""
    return logits[:, ANOMALY].astype(np.float64) - logits[:, NORMAL]


def anomaly_probability(margin: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probability of "anomaly", shaped as the margin: `sigmoid(margin / temperature)`, the softmax of two logits."""
    # In a form that neither overflows nor rounds small probabilities to 0.
    return np.exp(-np.logaddexp(0.0, -margin / temperature))


@dataclass(frozen=True)
class Judge:
    """Turns predictions into results.

    Attributes:
        id2label: names of the two labels.
        temperature: the logits are divided by it before the softmax.
        threshold: smallest probability of "anomaly" that gives that label.
        evidence_threshold: the same for sequences that were judged against healthy ones.
    """

    id2label: dict[int, str]
    temperature: float
    threshold: float
    evidence_threshold: float = 0.5

    @classmethod
    def from_config(cls, config: LogMoEConfig, threshold: float | None = None) -> "Judge":
        """The judge of a checkpoint.

        Args:
            config: the checkpoint's.
            threshold: in (0, 1); by default the checkpoint's.

        Raises:
            ValueError: the threshold is out of range.
        """
        if threshold is None:
            return cls(config.id2label, config.calibration_temperature, config.anomaly_threshold)
        if isinstance(threshold, str) or not 0 < threshold < 1:
            raise ValueError(f"`threshold` must be a number in (0, 1), got {threshold!r}.")
        return cls(config.id2label, config.calibration_temperature, threshold, threshold)

    @property
    def keeps_promise(self) -> bool:
        """Whether no more healthy sequences are called anomalous than the promise on false alarms allows."""
        return self.evidence_threshold >= 0.5

    def see(self, parsed: ParsedLog) -> None:
        """Is shown the entries of a log, as they come, before it judges what they are part of."""

    def highest_probability(self, predictions: list[Prediction], evidence: Evidence | None = None) -> float:
        """Probability of "anomaly" of the most anomalous prediction."""
        if evidence is not None:
            return float(anomaly_probability(_finite(evidence.margins).max(), self._scale_of(evidence)[0]))
        margins = _margins(predictions)
        return float(anomaly_probability(margins.max(), self.temperature))

    def sequence_results(
        self,
        parsed: ParsedLog,
        sequences: list[np.ndarray],
        predictions: list[Prediction],
        is_truncated: np.ndarray,
        source: str | None = None,
        only_anomalies: bool = False,
        evidence: Evidence | None = None,
        writer: Writer | None = None,
    ) -> Iterator[Any]:
        """Judges the sequences of a log.

        Args:
            parsed: the log.
            sequences: positions of the entries of each sequence.
            predictions: one per sequence.
            is_truncated: bool `(entries,)`, which entries the model did not read to their end.
            source: where the log was read from.
            only_anomalies: give None in place of a normal sequence.
            evidence: of the sequences, if they were judged against healthy ones.
            writer: of the log, with `number`, where the services of a log are told apart.

        Returns:
            For each sequence a dict, see [`LogAnomalyPipeline.__call__`].

        Raises:
            FloatingPointError: a logit or a share in it is not finite.
        """
        if not sequences:
            return
        if evidence is None:
            margins, temperature, threshold = _margins(predictions), self.temperature, self.threshold
        else:
            margins, (temperature, threshold) = _finite(evidence.margins), self._scale_of(evidence)
        of_anomaly = anomaly_probability(margins, temperature).tolist()
        of_normal = anomaly_probability(-margins, temperature).tolist()
        for row, (positions, prediction) in enumerate(zip(sequences, predictions, strict=True)):
            normal, anomaly = of_normal[row], of_anomaly[row]
            label = ANOMALY if anomaly >= threshold else NORMAL
            if only_anomalies and label == NORMAL:
                yield None
                continue
            if evidence is None:
                logits, rarity = prediction.logits.tolist(), None
                explanation = Explanation(prediction.entry_scores)
            else:
                logits = [-margins[row] / 2, margins[row] / 2]
                rarity = None if np.isnan(evidence.rarity[row]) else float(evidence.rarity[row])
                explanation = evidence.explain(row, label == ANOMALY)
                weights = [reason["weight"] for reason in explanation.reasons]
                _finite(np.array([*explanation.evidence.values(), *weights], dtype=float))
            scores = _finite(np.asarray(explanation.entry_scores, dtype=float)).tolist()
            entries = zip(
                parsed.first_line[positions].tolist(),
                parsed.last_line[positions].tolist(),
                parsed.text.take(pa.array(positions)).to_pylist(),
                scores,
                is_truncated[positions].tolist(),
                strict=True,
            )
            keys = ("line", "last_line", "text", "score", "truncated")
            result = {
                "label": self.id2label[label],
                "score": anomaly if label == ANOMALY else normal,
                "probabilities": {self.id2label[NORMAL]: normal, self.id2label[ANOMALY]: anomaly},
                "logits": [float(logit) for logit in logits],
                "first_line": int(parsed.first_line[positions[0]]),
                "last_line": int(parsed.last_line[positions].max()),
                "source": source,
                "mode": "none" if evidence is None else evidence.mode,
                "healthy_rarity": rarity,
                "evidence": explanation.evidence,
                "reasons": explanation.reasons,
                "entries": [dict(zip(keys, entry, strict=True)) for entry in entries],
            }
            if writer is not None:
                assert parsed.number is not None
                result |= writer.of(parsed.number[positions])
            yield result

    def _scale_of(self, evidence: Evidence) -> tuple[float, float]:
        """Temperature and threshold of the margins of evidence."""
        return (self.temperature, self.threshold) if evidence.is_calibrated else (1.0, self.evidence_threshold)

    def log_result(self, sequences: list[dict[str, Any]]) -> dict[str, Any]:
        """The result of a log from those of its sequences: the label is that of its most anomalous sequence."""
        worst = max(sequences, key=lambda sequence: sequence["probabilities"][self.id2label[ANOMALY]])
        return {key: worst[key] for key in ("label", "score", "probabilities", "logits")} | {"sequences": sequences}


def _margins(predictions: list[Prediction]) -> np.ndarray:
    return _finite(anomaly_margin(np.concatenate([prediction.logits for prediction in predictions]).reshape(-1, 2)))


def _finite(numbers: np.ndarray) -> np.ndarray:
    """The same numbers. A NaN would be called normal: no threshold is below it."""
    if not np.isfinite(numbers).all():
        raise FloatingPointError(
            "the logits are not finite: the sequence cannot be judged. The checkpoint or the reference is damaged, or "
            "the precision too low (try float32)."
        )
    return numbers


__all__ = [
    "ANOMALY",
    "NORMAL",
    "Evidence",
    "Explanation",
    "Judge",
    "Prediction",
    "anomaly_margin",
    "anomaly_probability",
]
