"""What a model must beat: simple rules and classical learners, on the same splits and the same masked entries.

`train.py` calls `measure_baselines` after training; the results stand next to the model's in table and card.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.tree import DecisionTreeClassifier

from logmoe.rules_logmoe import ALARM_PATTERN
from logmoe.training.logs import LabelledLogs, LogStore
from logmoe.training.metrics import detection_metrics
from logmoe.training.splits import Splits

logger = logging.getLogger("logmoe.train")

# The nearest neighbour is searched among this many distinct training logs; larger sets are sampled, and it says so.
MOST_NEIGHBOURS = 20_000


def measure_baselines(
    splits: Splits, store: LogStore, name: str = "test", seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Fits every baseline on the training split and measures it on another.

    Args:
        splits: with "train"; "validation", if there is one, chooses the threshold of each baseline.
        store: holds the logs.
        name: the split to measure on.
        seed: of the decision tree and of the sample of neighbours.

    Returns:
        For each baseline, `{"all": metrics, "unseen": metrics}`; the latter on the logs that do not occur in training.
    """
    features = Features(splits["train"], store)
    labels, unseen = splits[name].labels, splits.unseen(name)
    results = {}
    for title, fit in BASELINES.items():
        score = fit(features, seed)
        threshold = 0.5
        if "validation" in splits:
            threshold = best_threshold(splits["validation"].labels, _score_logs(score, splits["validation"]))
        scores = _score_logs(score, splits[name])
        results[title] = {
            "all": detection_metrics(labels, scores, threshold),
            "unseen": detection_metrics(labels[unseen], scores[unseen], threshold),
        }
    return results


# From indices of distinct logs to their scores in [0, 1].
Scorer = Callable[[np.ndarray], np.ndarray]


def _score_logs(score: Scorer, logs: LabelledLogs) -> np.ndarray:
    distinct, inverse = np.unique(logs.distinct_log, return_inverse=True)
    return score(distinct)[inverse]


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The one with the best F1; among equals the nearest to 0.5, so that rules that score 0 or 1 keep 0.5."""
    candidates = np.unique(scores)
    candidates = np.append((candidates[1:] + candidates[:-1]) / 2, 0.5)
    if len(candidates) > 512:
        candidates = np.append(np.quantile(candidates, np.linspace(0, 1, 512)), 0.5)
    positives = labels.sum()
    f1 = [2 * (labels[scores >= cut].sum()) / max((scores >= cut).sum() + positives, 1) for cut in candidates]
    best = candidates[np.isclose(f1, max(f1))]
    return float(best[np.abs(best - 0.5).argmin()])


def count_entries(store: LogStore, distinct: np.ndarray, column: np.ndarray, num_columns: int) -> sparse.csr_matrix:
    """How often entries occur in each log, `(logs, columns)`; `column` `(entries,)` is the column of each entry."""
    rows = [store.distinct_logs[index] for index in distinct]
    log_of_entry = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    columns = column[np.concatenate(rows)]
    ones = np.ones(len(columns))
    return sparse.coo_matrix((ones, (log_of_entry, columns)), shape=(len(rows), num_columns)).tocsr()


class Features:
    """The training split as the baselines see it: distinct logs, how often each occurs, and with which label."""

    def __init__(self, train: LabelledLogs, store: LogStore):
        self.store = store
        self.distinct, inverse = np.unique(train.distinct_log, return_inverse=True)
        self.normal = np.bincount(inverse, train.labels == 0, len(self.distinct))
        self.anomalous = np.bincount(inverse, train.labels == 1, len(self.distinct))
        self.anomaly_share = self.anomalous / (self.normal + self.anomalous)
        texts = store.texts
        words = CountVectorizer(token_pattern=r"[^\W_]+|<[A-Z0-9_]+>", lowercase=True, binary=False)
        trained_entries = np.unique(np.concatenate([store.distinct_logs[index] for index in self.distinct]))
        # New entries share one column behind those of training.
        self.column = np.full(len(texts), len(texts))
        self.column[trained_entries] = trained_entries
        words.fit(texts[row] for row in trained_entries)
        self.words = words.transform(texts)  # (entries, words)

    def counts(self, distinct: np.ndarray) -> sparse.csr_matrix:
        """How often each entry of training occurs in each log, `(logs, entries + 1)`; new entries come last."""
        return count_entries(self.store, distinct, self.column, len(self.column) + 1)

    def bag_of_words(self, distinct: np.ndarray) -> sparse.csr_matrix:
        """How often each word occurs in each log, damped, `(logs, words)`."""
        size = len(self.column)
        return (count_entries(self.store, distinct, np.arange(size), size) @ self.words).log1p()

    def both(self, matrix: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
        """Features, labels and weights, with a row for each label that a log carries."""
        weights = np.concatenate([self.normal, self.anomalous])
        labels = np.repeat([0, 1], len(self.distinct))
        kept = weights > 0
        return sparse.vstack([matrix, matrix]).tocsr()[kept], labels[kept], weights[kept]


def _any_entry(features: Features, is_anomalous: np.ndarray) -> Scorer:
    """A log is anomalous if one of its entries is; `is_anomalous` is bool `(entries,)`."""
    logs = features.store.distinct_logs
    return lambda distinct: np.array([is_anomalous[logs[index]].any() for index in distinct], dtype=float)


def _severity_word(features: Features, seed: int) -> Scorer:
    texts = pa.array(features.store.texts)
    return _any_entry(features, pc.match_substring_regex(texts, ALARM_PATTERN).to_numpy(zero_copy_only=False))


def _new_entry(features: Features, seed: int) -> Scorer:
    """An entry is anomalous if it occurs in no normal training log."""
    is_new = np.ones(len(features.store.entry_rows), dtype=bool)
    for index in features.distinct[features.normal > 0]:
        is_new[features.store.distinct_logs[index]] = False
    return _any_entry(features, is_new)


def _look_up(features: Features, seed: int) -> Scorer:
    """The share of anomalies among equal training logs; a log unseen in training is anomalous."""
    share = dict(zip(features.distinct, features.anomaly_share, strict=True))
    return lambda distinct: np.array([share.get(index, 1.0) for index in distinct])


def _look_up_counts(features: Features, seed: int) -> Scorer:
    """The same, but the order of entries does not matter."""

    def key(index: int) -> bytes:
        return np.sort(features.store.distinct_logs[index]).tobytes()

    totals: dict[bytes, np.ndarray] = {}
    for index, normal, anomalous in zip(features.distinct, features.normal, features.anomalous, strict=True):
        totals.setdefault(key(index), np.zeros(2))
        totals[key(index)] += (normal, anomalous)
    share = {name: total[1] / total.sum() for name, total in totals.items()}
    return lambda distinct: np.array([share.get(key(index), 1.0) for index in distinct])


def _learner(model: Any, matrix_of: Callable[[np.ndarray], sparse.csr_matrix], features: Features) -> Scorer:
    model.fit(*features.both(matrix_of(features.distinct)))
    return lambda distinct: model.predict_proba(matrix_of(distinct))[:, 1]


def _nearest_neighbour(features: Features, seed: int) -> Scorer:
    """The share of anomalies of the training log whose counts are most similar (cosine)."""
    kept = np.arange(len(features.distinct))
    if len(kept) > MOST_NEIGHBOURS:
        logger.info("1-nearest neighbour: searches %d of %d distinct training logs", MOST_NEIGHBOURS, len(kept))
        kept = np.sort(np.random.default_rng(seed).permutation(kept)[:MOST_NEIGHBOURS])
    model = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute")
    model.fit(normalize(features.counts(features.distinct[kept])))
    share = features.anomaly_share[kept]
    return lambda distinct: share[model.kneighbors(normalize(features.counts(distinct)))[1][:, 0]]


BASELINES: dict[str, Callable[[Features, int], Scorer]] = {
    "always anomalous": lambda features, seed: lambda distinct: np.ones(len(distinct)),
    "severity word": _severity_word,
    "entry not in normal training logs": _new_entry,
    "look-up of training logs, unseen is anomalous": _look_up,
    "look-up of entry counts, unseen is anomalous": _look_up_counts,
    "bag of words, logistic regression": lambda features, seed: _learner(
        LogisticRegression(max_iter=1000), features.bag_of_words, features
    ),
    "entry counts, decision tree": lambda features, seed: _learner(
        DecisionTreeClassifier(random_state=seed), features.counts, features
    ),
    "entry counts, 1-nearest neighbour": _nearest_neighbour,
}
