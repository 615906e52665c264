"""What `accuracy.py` counts: metrics of windows and of faults, and paired bootstrap intervals on differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import beta
from sklearn.metrics import average_precision_score

from logmoe.training.metrics import auroc, expected_calibration_error

BLOCK = 8
"""Windows that are drawn together, for neighbours are alike."""
REPLICATES = 400
LEVEL = 0.95


def of_calls(label: np.ndarray, is_called: np.ndarray) -> dict[str, float]:
    """F1, precision, recall, Matthews correlation, and the share of normal windows called; NaN where undefined."""
    label, is_called = label.astype(bool), is_called.astype(bool)
    hit, false = int((label & is_called).sum()), int((~label & is_called).sum())
    missed, rest = int((label & ~is_called).sum()), int((~label & ~is_called).sum())
    whole = np.sqrt(float(hit + false) * (hit + missed) * (rest + false) * (rest + missed))
    return {
        "f1": 2 * hit / max(1, 2 * hit + false + missed),
        "precision": hit / (hit + false) if hit + false else np.nan,
        "recall": hit / (hit + missed) if hit + missed else np.nan,
        "mcc": (hit * rest - false * missed) / whole if whole else 0.0,
        "called_normal": false / (false + rest) if false + rest else np.nan,
    }


def of_scores(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """AUROC and average precision."""
    both = 0 < label.sum() < len(label)
    return {
        "auroc": auroc(label, score),
        "average_precision": float(average_precision_score(label, score)) if both else np.nan,
    }


def calibration_error(label: np.ndarray, margin: np.ndarray) -> float:
    """Expected calibration error of the probabilities that margins are shown as."""
    return expected_calibration_error(label, 1 / (1 + np.exp(-np.clip(margin, -500, 500))))


def share_interval(hits: int, number: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper-Pearson interval of a share."""
    low = beta.ppf((1 - level) / 2, hits, number - hits + 1) if hits else 0.0
    high = beta.ppf((1 + level) / 2, hits + 1, number - hits) if hits < number else 1.0
    return float(low), float(high)


# --- bootstrap -------------------------------------------------------------------------------------------------------


def block_weights(run: np.ndarray, generator: np.random.Generator, replicates: int = REPLICATES) -> np.ndarray:
    """How often each window is drawn, where blocks of neighbours of a run are drawn together.

    Args:
        run: `(windows,)`, windows of one run stand together.

    Returns:
        float64 `(replicates, windows)`.
    """
    place = np.arange(len(run)) - np.searchsorted(run, run) if np.all(np.diff(run) >= 0) else np.arange(len(run))
    _, block = np.unique(np.stack([run, place // BLOCK]), axis=1, return_inverse=True)
    number = int(block.max()) + 1
    drawn = generator.multinomial(number, np.full(number, 1 / number), size=replicates)
    return drawn[:, block.ravel()].astype(np.float64)


def weighted_auroc(label: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of windows that count as often as the weights `(replicates, windows)` say, `(replicates,)`."""
    order = np.argsort(score, kind="stable")
    label, weights = label[order].astype(bool), weights[:, order]
    _, group = np.unique(score[order], return_inverse=True)
    normal, anomalous = weights * ~label, weights * label
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    of_group = np.add.reduceat(normal, starts, axis=1)  # equal scores count half
    below = np.cumsum(of_group, axis=1) - of_group / 2
    hits = (np.add.reduceat(anomalous, starts, axis=1) * below).sum(axis=1)
    whole = normal.sum(axis=1) * anomalous.sum(axis=1)
    return np.where(whole > 0, hits / np.maximum(whole, 1e-9), np.nan)


def paired_intervals(
    groups: Sequence[tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]],
    against: str,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> dict[str, dict[str, Any]]:
    """AUROC of one detector less that of each other, with intervals: all see the same resampled windows.

    Args:
        groups: of each service and draw the run and the label of each window, and scores by detector.
        against: the detector that the others are taken from.

    Returns:
        By detector `difference` and `interval` (the 2.5th and 97.5th percentile), means over the groups.
    """
    generator = np.random.default_rng(seed)
    names = [name for name in groups[0][2] if name != against and all(name in scores for _, _, scores in groups)]
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    whole: dict[str, list[float]] = {name: [] for name in names}
    for run, label, scores in groups:
        weights = block_weights(run, generator, replicates)
        own, exact = weighted_auroc(label, scores[against], weights), auroc(label, scores[against])
        for name in names:
            drawn[name].append(own - weighted_auroc(label, scores[name], weights))
            whole[name].append(exact - auroc(label, scores[name]))
    tails = [100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2]
    return {
        name: {
            "difference": float(np.nanmean(whole[name])),
            "interval": np.nanpercentile(np.nanmean(drawn[name], axis=0), tails).tolist(),
        }
        for name in names
    }


# --- means -----------------------------------------------------------------------------------------------------------


def mean_and_spread(table: np.ndarray) -> list[float]:
    """Mean over services, then mean and sample standard deviation over draws.

    Args:
        table: `(services, draws)`, NaN where nothing is known; of a service with fewer draws than others, the mean
            over its draws stands for those it lacks.
    """
    table = table[~np.isnan(table).all(axis=1)]
    if not table.size:
        return [float("nan"), float("nan")]
    table = np.where(np.isnan(table), np.nanmean(table, axis=1, keepdims=True), table)
    means = table.mean(axis=0)
    return [float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else float("nan")]


__all__ = [
    "auroc",
    "block_weights",
    "calibration_error",
    "mean_and_spread",
    "of_calls",
    "of_scores",
    "paired_intervals",
    "share_interval",
    "weighted_auroc",
]
