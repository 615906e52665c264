"""How good a detector is: metrics, and the temperature, offset and threshold fitted on validation data.

Labels and scores come in as arrays with one value per log, plain numbers go out. `train.py` calibrates and measures
with it, the trainer measures validation data, `baselines` and `plots` share the metrics.
"""

from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    matthews_corrcoef,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from logmoe.judging_logmoe import anomaly_probability

CALIBRATION_BINS = 15
# Beyond these a fitted temperature says more about the size of the validation data than about the model.
TEMPERATURE_RANGE = (0.05, 20.0)
LARGEST_SCALED_MARGIN = 30.0


class DetectionMetric(evaluate.Metric):
    """All metrics of a detector as one `evaluate` module that needs no Hub.

    `compute(predictions=scores, references=labels, threshold=…)` takes the probability of anomaly and the label
    (0 normal, 1 anomaly) of each log. Metrics that are undefined because all labels are equal are NaN.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Precision, recall, F1 and others of an anomaly detector.",
            citation="",
            inputs_description=self.__doc__ or "",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, threshold: float = 0.5) -> dict[str, float]:
        return detection_metrics(np.asarray(references), np.asarray(predictions), threshold)


def detection_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Compares the probability of anomaly with the labels.

    Args:
        labels: `(logs,)`, 0 normal, 1 anomaly.
        scores: `(logs,)`, probability of anomaly.
        threshold: a score at or above it counts as a detection.

    Returns:
        `accuracy`, `precision`, `recall`, `f1`, `mcc` and `false_positive_rate` at the threshold; `pr_auc` (average
        precision) and `auroc` over all thresholds; `expected_calibration_error`. NaN where undefined.
    """
    if not len(labels):
        names = "accuracy precision recall f1 mcc false_positive_rate pr_auc auroc expected_calibration_error"
        return dict.fromkeys(names.split(), float("nan"))
    detected = scores >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(labels, detected, average="binary", zero_division=0)
    normal = labels == 0
    both = 0 < normal.sum() < len(labels)
    return {
        "accuracy": float(accuracy_score(labels, detected)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "mcc": float(matthews_corrcoef(labels, detected)) if both else float("nan"),
        "false_positive_rate": float(detected[normal].mean()) if normal.any() else float("nan"),
        "pr_auc": float(average_precision_score(labels, scores)) if both else float("nan"),
        "auroc": auroc(labels, scores),
        "expected_calibration_error": expected_calibration_error(labels, scores),
    }


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN where there is one class only."""
    return float(roc_auc_score(labels, scores)) if 0 < np.sum(labels) < len(labels) else float("nan")


def reliability(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score, share of anomalies and number of logs in each bin of the score, empty bins left out."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    used = counts > 0
    mean_score = np.bincount(bins, scores, CALIBRATION_BINS)[used] / counts[used]
    anomaly_rate = np.bincount(bins, labels, CALIBRATION_BINS)[used] / counts[used]
    return mean_score, anomaly_rate, counts[used]


def expected_calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean distance between score and share of anomalies over bins of the score (Naeini et al., AAAI 2015)."""
    mean_score, anomaly_rate, counts = reliability(labels, scores)
    return float((np.abs(mean_score - anomaly_rate) * counts).sum() / counts.sum())


def log_loss(labels: np.ndarray, margin: np.ndarray) -> float:
    """Mean cross-entropy in nats of labels `(logs,)` under margins `(logs,)`."""
    sign = np.where(labels == 1, -1.0, 1.0)
    return float(np.logaddexp(0, sign * margin).mean())


def fit_calibration(labels: np.ndarray, margin: np.ndarray) -> tuple[float, float]:
    """Temperature and offset that minimise the cross-entropy of `sigmoid((margin + offset) / temperature)`.

    This is Platt scaling (1999) with his smoothed targets: if all validation logs are on the right side, plain targets
    would push the scores to certainty. Temperature alone (Guo et al., ICML 2017) cannot correct for logs that weigh
    more in training than they occur. The offset belongs in the head's bias.
    Labels and margins are `(logs,)`, with both labels among them.
    """
    anomalies = int(labels.sum())
    normals = len(labels) - anomalies
    targets = np.where(labels == 1, (anomalies + 1) / (anomalies + 2), 1 / (normals + 2))
    center, scale = float(np.median(margin)), float(max(np.ptp(margin), 1e-6))
    standard = (margin - center) / scale

    def cross_entropy(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = parameters[0] * standard + parameters[1]
        residual = expit(scaled) - targets
        gradient = np.array([(residual * standard).mean(), residual.mean()])
        return float((np.logaddexp(0, scaled) - targets * scaled).mean()), gradient

    # The slope stays within the temperature's range, and within what float64 can tell from certainty: scores rounded
    # to 1 could not be separated by any threshold.
    low, high = scale / TEMPERATURE_RANGE[1], min(scale / TEMPERATURE_RANGE[0], LARGEST_SCALED_MARGIN)
    limits = [(low, max(low, high)), (-LARGEST_SCALED_MARGIN, LARGEST_SCALED_MARGIN)]
    # Convex: any start will do.
    found = minimize(cross_entropy, np.array([max(low, min(high, scale)), 0.0]), jac=True, bounds=limits)
    temperature = scale / found.x[0]
    return float(temperature), float(found.x[1] * temperature - center)


def fit_threshold(
    labels: np.ndarray, margin: np.ndarray, temperature: float = 1.0, false_positive_rate: float | None = None
) -> float:
    """The threshold on the probability of anomaly, chosen on validation data.

    Args:
        labels: `(logs,)`, with both labels.
        margin: `(logs,)`, anomaly logit minus normal logit.
        temperature: of the probability.
        false_positive_rate: the highest share of normal logs that may be labelled anomalous; by default the threshold
            has the best F1.

    Returns:
        A probability in (0, 1): that of the middle between the two margins it separates.
    """
    distinct = np.unique(margin)  # Ascending.
    if false_positive_rate is None:
        precision, recall, cuts = precision_recall_curve(labels, margin)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        cut = cuts[f1[:-1].argmax()]
    else:
        normal = np.sort(margin[labels == 0])
        allowed = int(np.floor(false_positive_rate * len(normal)))
        # The lowest margin that leaves no more than the allowed number of normal logs at or above it.
        above = distinct[distinct > normal[len(normal) - 1 - allowed]] if allowed < len(normal) else distinct
        cut = above[0] if len(above) else np.inf
    place = np.searchsorted(distinct, cut)
    below = distinct[place - 1] if place > 0 else distinct[0] - 2.0
    above_it = distinct[place] if place < len(distinct) else distinct[-1] + 2.0
    threshold = anomaly_probability((below + above_it) / 2, temperature)
    # float64 may round it out of (0, 1), which the config does not accept.
    return float(np.clip(threshold, 1e-300, np.nextafter(1.0, 0.0)))
