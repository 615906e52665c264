"""What a model must beat: simple rules and classical learners, on the same split and the same masked entries."""

import logging
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.tree import DecisionTreeClassifier

from logmoe.training.data import LabelledLogs, LogStore, Splits, unseen_in_training
from logmoe.training.metrics import detection_metrics

logger = logging.getLogger("logmoe.train")

SEVERITY_WORDS = r"(?i)\b(?:err|error|severe|crit|critical|alert|emerg|fatal|panic|failure|failed|exception)\b"
# Distinct training logs among which the nearest neighbour is looked for; of more a sample is taken, and said.
MOST_NEIGHBOURS = 20_000


def measure_baselines(
    splits: Splits, store: LogStore, name: str = "test", seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Fits every baseline on the training part and measures it on another.

    Args:
        splits: with a part "train"; "validation", where there is one, chooses the threshold of those that have one.
        store: holds the logs.
        name: the part to measure on.
        seed: of the decision tree and of the sample of neighbours.

    Returns:
        For each baseline, `{"all": metrics, "unseen": metrics}`; the latter on the logs that training lacks.
    """
    features = Features(splits.parts["train"], store)
    part = splits.parts[name]
    unseen = unseen_in_training(splits, name)
    results = {}
    for title, fit in BASELINES.items():
        score = fit(features, seed)
        threshold = 0.5
        if "validation" in splits.parts:
            validation = splits.parts["validation"]
            threshold = _best_threshold(validation.labels, _score_logs(score, validation))
        scores = _score_logs(score, part)
        results[title] = {
            "all": detection_metrics(part.labels, scores, threshold),
            "unseen": detection_metrics(part.labels[unseen], scores[unseen], threshold),
        }
    return results


# Takes distinct logs, gives each a score in [0, 1].
Scorer = Callable[[np.ndarray], np.ndarray]


def _score_logs(score: Scorer, logs: LabelledLogs) -> np.ndarray:
    distinct, inverse = np.unique(logs.log, return_inverse=True)
    return score(distinct)[inverse]


def _best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Of the best F1; among equals the one that is nearest to 0.5, so that rules of 0 and 1 keep theirs."""
    candidates = np.unique(scores)
    candidates = np.append((candidates[1:] + candidates[:-1]) / 2, 0.5)
    if len(candidates) > 512:
        candidates = np.append(np.quantile(candidates, np.linspace(0, 1, 512)), 0.5)
    positives = labels.sum()
    f1 = [2 * (labels[scores >= cut].sum()) / max((scores >= cut).sum() + positives, 1) for cut in candidates]
    best = candidates[np.isclose(f1, max(f1))]
    return float(best[np.abs(best - 0.5).argmin()])


class Features:
    """The training part as the baselines see it: distinct logs, how often each occurs, and with which label."""

    def __init__(self, train: LabelledLogs, store: LogStore):
        self.store = store
        self.distinct, inverse = np.unique(train.log, return_inverse=True)
        self.normal = np.bincount(inverse, train.labels == 0, len(self.distinct))
        self.anomalous = np.bincount(inverse, train.labels == 1, len(self.distinct))
        texts = store.texts
        words = CountVectorizer(token_pattern=r"[^\W_]+|<[A-Z0-9_]+>", lowercase=True, binary=False)
        trained_entries = np.unique(np.concatenate([store.logs[log] for log in self.distinct]))
        self.known_entries = np.zeros(len(texts), dtype=bool)
        self.known_entries[trained_entries] = True
        words.fit(texts[row] for row in trained_entries)
        self.words = words.transform(texts)  # (entries, words)

    def counts(self, distinct: np.ndarray) -> sparse.csr_matrix:
        """How often each entry of training occurs in each log, `(logs, entries)`; entries new to it share a column."""
        rows = [self.store.logs[log] for log in distinct]
        lengths = np.array([len(row) for row in rows])
        column = np.concatenate(rows)
        new = self.known_entries.shape[0]
        column = np.where(self.known_entries[column], column, new)
        matrix = sparse.coo_matrix(
            (np.ones(len(column)), (np.repeat(np.arange(len(rows)), lengths), column)), shape=(len(rows), new + 1)
        )
        return matrix.tocsr()

    def bag_of_words(self, distinct: np.ndarray) -> sparse.csr_matrix:
        """How often each word occurs in each log, damped, `(logs, words)`."""
        rows = [self.store.logs[log] for log in distinct]
        lengths = np.array([len(row) for row in rows])
        log_of_entry = np.repeat(np.arange(len(rows)), lengths)
        shape = (len(rows), self.words.shape[0])
        of_log = sparse.coo_matrix((np.ones(len(log_of_entry)), (log_of_entry, np.concatenate(rows))), shape=shape)
        return (of_log.tocsr() @ self.words).log1p()

    def both(self, matrix: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
        """Each row twice, once for each label it carries: features, labels and weights."""
        weights = np.concatenate([self.normal, self.anomalous])
        labels = np.repeat([0, 1], len(self.distinct))
        kept = weights > 0
        return sparse.vstack([matrix, matrix]).tocsr()[kept], labels[kept], weights[kept]


def _always(features: Features, seed: int) -> Scorer:
    return lambda distinct: np.ones(len(distinct))


def _severity_word(features: Features, seed: int) -> Scorer:
    has_word = pc.match_substring_regex(pa.array(features.store.texts), SEVERITY_WORDS).to_numpy(zero_copy_only=False)
    return lambda distinct: np.array([has_word[features.store.logs[log]].any() for log in distinct], dtype=float)


def _new_entry(features: Features, seed: int) -> Scorer:
    """A log with an entry that no normal training log has."""
    normal = features.distinct[features.normal > 0]
    known = np.zeros(len(features.store.entry_rows), dtype=bool)
    if len(normal):
        known[np.unique(np.concatenate([features.store.logs[log] for log in normal]))] = True
    return lambda distinct: np.array([(~known[features.store.logs[log]]).any() for log in distinct], dtype=float)


def _look_up(features: Features, seed: int) -> Scorer:
    """The share of anomalies among equal training logs; what training lacks is anomalous."""
    share = dict(zip(features.distinct, features.anomalous / (features.normal + features.anomalous), strict=True))
    return lambda distinct: np.array([share.get(log, 1.0) for log in distinct])


def _look_up_counts(features: Features, seed: int) -> Scorer:
    """The same, but order does not matter."""

    def key(log: int) -> bytes:
        return np.sort(features.store.logs[log]).tobytes()

    totals: dict[bytes, np.ndarray] = {}
    for log, normal, anomalous in zip(features.distinct, features.normal, features.anomalous, strict=True):
        totals.setdefault(key(log), np.zeros(2))
        totals[key(log)] += (normal, anomalous)
    share = {name: total[1] / total.sum() for name, total in totals.items()}
    return lambda distinct: np.array([share.get(key(log), 1.0) for log in distinct])


def _logistic_regression(features: Features, seed: int) -> Scorer:
    model = LogisticRegression(max_iter=1000)
    matrix, labels, weights = features.both(features.bag_of_words(features.distinct))
    model.fit(matrix, labels, weights)
    return lambda distinct: model.predict_proba(features.bag_of_words(distinct))[:, 1]


def _decision_tree(features: Features, seed: int) -> Scorer:
    model = DecisionTreeClassifier(random_state=seed)
    matrix, labels, weights = features.both(features.counts(features.distinct))
    model.fit(matrix, labels, weights)
    return lambda distinct: model.predict_proba(features.counts(distinct))[:, 1]


def _nearest_neighbour(features: Features, seed: int) -> Scorer:
    """The share of anomalies of the training log with the most similar counts (cosine)."""
    share = features.anomalous / (features.normal + features.anomalous)
    kept = np.arange(len(features.distinct))
    if len(kept) > MOST_NEIGHBOURS:
        logger.info("1-nearest neighbour: %d of %d distinct training logs are used", MOST_NEIGHBOURS, len(kept))
        kept = np.sort(np.random.default_rng(seed).permutation(kept)[:MOST_NEIGHBOURS])
    model = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute")
    model.fit(normalize(features.counts(features.distinct[kept])))
    return lambda distinct: share[kept][model.kneighbors(normalize(features.counts(distinct)))[1][:, 0]]


BASELINES: dict[str, Callable[[Features, int], Scorer]] = {
    "always anomalous": _always,
    "severity word": _severity_word,
    "entry not in normal training logs": _new_entry,
    "look-up of training logs, unseen is anomalous": _look_up,
    "look-up of entry counts, unseen is anomalous": _look_up_counts,
    "bag of words, logistic regression": _logistic_regression,
    "entry counts, decision tree": _decision_tree,
    "entry counts, 1-nearest neighbour": _nearest_neighbour,
}
