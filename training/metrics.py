"""Numbers that say how good a detector is."""

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
)


def detection_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Measures anomaly scores against the truth.

    Args:
        labels: `(examples,)`, 0 normal, 1 anomaly.
        scores: `(examples,)`, probability of anomaly.
        threshold: a score of at least this much is a detection.

    Returns:
        `accuracy`, `precision`, `recall`, `f1`, `false_positive_rate` and `mcc` at the threshold; `pr_auc` and `auroc`
        over all thresholds, NaN where the labels are all equal.
    """
    detected = scores >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(labels, detected, average="binary", zero_division=0)
    normal = labels == 0
    both = 0 < normal.sum() < len(labels)
    return {
        "accuracy": float(accuracy_score(labels, detected)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "false_positive_rate": float(detected[normal].mean()) if normal.any() else float("nan"),
        "mcc": float(matthews_corrcoef(labels, detected)),
        "pr_auc": float(average_precision_score(labels, scores)) if both else float("nan"),
        "auroc": float(roc_auc_score(labels, scores)) if both else float("nan"),
    }
