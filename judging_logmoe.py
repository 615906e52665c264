"""Predictions in, results out: the one place where logits become labels, scores and probabilities.

A prediction is what the model gives for a sequence: two logits and a score for each entry. `Judge` holds temperature
and threshold and builds the results that people see. Called by the pipeline and the scan; training measures with the
same probabilities.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .configuration_logmoe import LogMoEConfig
from .parsing_logmoe import ParsedLog

NORMAL, ANOMALY = 0, 1


@dataclass
class Prediction:
    """What the model gives for a sequence: its logits `(2,)`, normal then anomaly, and a score for each entry."""

    logits: np.ndarray
    entry_scores: np.ndarray


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
    """

    id2label: dict[int, str]
    temperature: float
    threshold: float

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
            threshold = config.anomaly_threshold
        elif isinstance(threshold, str) or not 0 < threshold < 1:
            raise ValueError(f"`threshold` must be a number in (0, 1), got {threshold!r}.")
        return cls(config.id2label, config.calibration_temperature, threshold)

    def highest_probability(self, predictions: list[Prediction]) -> float:
        """Probability of "anomaly" of the most anomalous prediction."""
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
    ) -> Iterator[Any]:
        """Judges the sequences of a log.

        Args:
            parsed: the log.
            sequences: positions of the entries of each sequence.
            predictions: one per sequence.
            is_truncated: bool `(entries,)`, which entries the model did not read to their end.
            source: where the log was read from.
            only_anomalies: give None in place of a normal sequence.

        Returns:
            For each sequence a dict, see [`LogAnomalyPipeline.__call__`].
        """
        if not sequences:
            return
        margins = _margins(predictions)
        of_anomaly = anomaly_probability(margins, self.temperature).tolist()
        of_normal = anomaly_probability(-margins, self.temperature).tolist()
        for positions, prediction, normal, anomaly in zip(sequences, predictions, of_normal, of_anomaly, strict=True):
            label = ANOMALY if anomaly >= self.threshold else NORMAL
            if only_anomalies and label == NORMAL:
                yield None
                continue
            entries = zip(
                parsed.first_line[positions].tolist(),
                parsed.last_line[positions].tolist(),
                parsed.text.take(pa.array(positions)).to_pylist(),
                np.asarray(prediction.entry_scores, dtype=float).tolist(),
                is_truncated[positions].tolist(),
                strict=True,
            )
            keys = ("line", "last_line", "text", "score", "truncated")
            yield {
                "label": self.id2label[label],
                "score": anomaly if label == ANOMALY else normal,
                "probabilities": {self.id2label[NORMAL]: normal, self.id2label[ANOMALY]: anomaly},
                "logits": prediction.logits.tolist(),
                "first_line": int(parsed.first_line[positions[0]]),
                "last_line": int(parsed.last_line[positions].max()),
                "source": source,
                "entries": [dict(zip(keys, entry, strict=True)) for entry in entries],
            }

    def log_result(self, sequences: list[dict[str, Any]]) -> dict[str, Any]:
        """The result of a log from those of its sequences: the label is that of its most anomalous sequence."""
        worst = max(sequences, key=lambda sequence: sequence["probabilities"][self.id2label[ANOMALY]])
        return {key: worst[key] for key in ("label", "score", "probabilities", "logits")} | {"sequences": sequences}


def _margins(predictions: list[Prediction]) -> np.ndarray:
    return anomaly_margin(np.concatenate([prediction.logits for prediction in predictions]).reshape(-1, 2))


__all__ = ["ANOMALY", "NORMAL", "Judge", "Prediction", "anomaly_margin", "anomaly_probability"]
