"""What people use, for `accuracy.py`: detectors that are fitted to healthy windows, without labels and without LogMoE.

All read what LogMoE reads, masked texts and their templates, in the same windows.

- Isolation forest, PCA, one-class SVM on counts: how often each template stands in a window. scikit-learn's defaults
(Liu et al., 2008; Schölkopf et al., 2001), and what departs from the principal components (Xu et al., 2009). A
template that is not known has one column with all others of that kind.
- n-grams of templates: the share of a window's 1-, 2- and 3-grams that no healthy window has (Forrest et al., 1996).
- Look-up of windows: 1 if no healthy window has the same templates as often.
- Hashed tokens, nearest neighbour, logreduce's way: cosine distance of each line's hashed tokens to the nearest
healthy line, the mean of the three largest.
- Next-entry LSTM, DeepLog's way (Du et al., 2017), small: one layer of 64 reads the window's templates and predicts
the next one; the mean of the eight largest surprises, in nats.

The rivals that read LogMoE's own features, and LogMoE, are in `accuracy_detectors.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.svm import OneClassSVM

from logmoe.applying_logmoe import PreparedLog
from logmoe.folds_logmoe import HEALTHY_FOLDS
from logmoe.habits_logmoe import windows_of
from logmoe.reference_logmoe import LogReference
from logmoe.sequences_logmoe import pad_sequences

EXPLAINED = 0.95
"""Share of the variance of counts that the principal components keep."""
PROMISED = 0.01
"""Share of healthy windows that a rival's threshold may call anomalous."""


@dataclass(frozen=True)
class Windows:
    """Windows as the rivals read them.

    Attributes:
        template: int64 `(windows, entries)`, below `number` templates that are known, `number` for all others, -1 at
            padding.
        text: the same of rows of `texts`, masked texts.
        number: how many templates are known.
    """

    template: np.ndarray
    text: np.ndarray
    texts: list[str]
    number: int

    def __len__(self) -> int:
        return len(self.template)

    def take(self, rows: np.ndarray) -> "Windows":
        """Some of the windows."""
        return Windows(self.template[rows], self.text[rows], self.texts, self.number)

    def counts(self) -> np.ndarray:
        """How often each template stands in each window, float32 `(windows, number + 1)`."""
        return count_templates(self.template, self.number)


Scorer = Callable[[Windows], np.ndarray]
"""Windows in, scores `(windows,)` out, higher for odder ones."""
Rival = Callable[[Windows, int], Scorer]
"""Healthy windows and a seed in."""


def windows_of_reference(reference: LogReference, length: int) -> Windows:
    """A reference's own windows."""
    positions = windows_of(reference.entries.stretch, length, length)
    is_entry = positions >= 0
    template = np.where(is_entry, reference.entries.template[positions], -1)
    text = np.where(is_entry, reference.entries.text[positions], -1)
    return Windows(template, text, reference.texts, len(reference.templates.texts))


def windows_of_log(reference: LogReference, log: PreparedLog) -> Windows:
    """A log's windows, by the templates of a reference."""
    number, texts = len(reference.templates.texts), log.parsed.distinct.to_pylist()
    row_of = reference.templates.match(texts)
    template = np.where(row_of < 0, number, row_of)[log.parsed.entry_index]
    positions = pad_sequences(log.sequences)
    is_entry = positions >= 0
    text = np.where(is_entry, log.parsed.entry_index[positions], -1)
    return Windows(np.where(is_entry, template[positions], -1), text, texts, number)


# --- on counts -------------------------------------------------------------------------------------------------------


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


def isolation_forest(healthy: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """An isolation forest of 100 trees, fitted to counts `(windows, columns)`."""
    forest = IsolationForest(random_state=seed).fit(healthy)
    return lambda counts: -forest.score_samples(counts)


def principal_components(healthy: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Squared distance from the principal components of counts that explain most of their variance."""
    center = healthy.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(healthy, rowvar=False, bias=True).reshape(healthy.shape[1], -1))
    reach, whole = variances[::-1].cumsum(), variances.sum()
    number = int(np.searchsorted(reach, EXPLAINED * whole)) + 1 if whole > 1e-9 else 0  # all windows may be alike
    kept = directions[:, ::-1][:, :number]

    def score(counts: np.ndarray) -> np.ndarray:
        departure = counts - center
        return np.square(departure - departure @ kept @ kept.T).sum(axis=1)

    return score


def one_class_svm(healthy: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A one-class SVM on counts, damped by the logarithm, for one template may fill a window."""
    svm = OneClassSVM().fit(np.log1p(healthy))
    return lambda counts: -svm.score_samples(np.log1p(counts))


def _on_counts(fit: Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray]]) -> Rival:
    def rival(healthy: Windows, seed: int) -> Scorer:
        score = fit(healthy.counts(), seed)
        return lambda windows: np.asarray(score(windows.counts()), np.float64)

    return rival


# --- on order, on whole windows --------------------------------------------------------------------------------------


def n_grams(healthy: Windows, seed: int) -> Scorer:
    """Share of unseen 1-, 2- and 3-grams of templates."""

    def grams(windows: Windows, size: int) -> np.ndarray:  # (windows, entries - size + 1), -1 where one is padding
        width = windows.template.shape[1] - size + 1
        value = np.zeros((len(windows), max(width, 0)), np.int64)
        is_whole = np.ones_like(value, bool)
        for place in range(size if width > 0 else 0):
            column = windows.template[:, place : place + width]
            value = value * (windows.number + 2) + column + 1
            is_whole &= column >= 0
        return np.where(is_whole, value, -1)

    known = [np.unique(grams(healthy, size)) for size in (1, 2, 3)]

    def score(windows: Windows) -> np.ndarray:
        shares = np.zeros(len(windows))
        for size, seen in zip((1, 2, 3), known, strict=True):
            found = grams(windows, size)
            is_gram = found >= 0
            unseen = (is_gram & ~np.isin(found, seen)).sum(axis=1)
            shares += unseen / np.maximum(is_gram.sum(axis=1), 1)
        return shares / 3

    return score


def look_up(healthy: Windows, seed: int) -> Scorer:
    """Whether no healthy window has the same templates as often."""
    known = {row.tobytes() for row in np.sort(healthy.template, axis=1)}
    return lambda windows: np.array([row.tobytes() not in known for row in np.sort(windows.template, axis=1)], float)


def hashed_tokens(healthy: Windows, seed: int) -> Scorer:
    """The three lines farthest from any healthy line."""
    hashing = HashingVectorizer(n_features=1 << 18, alternate_sign=False, norm="l2", token_pattern=r"[^\W_]+|<[A-Z]+>")
    known = np.unique(healthy.text[healthy.text >= 0])
    neighbours = hashing.transform([healthy.texts[row] for row in known])

    def score(windows: Windows) -> np.ndarray:
        rows = np.unique(windows.text[windows.text >= 0])
        similarity = hashing.transform([windows.texts[row] for row in rows]) @ neighbours.T
        distance = np.zeros(len(windows.texts))
        distance[rows] = 1 - similarity.max(axis=1).toarray().ravel()
        of_entry = np.where(windows.text >= 0, distance[windows.text], 0.0)
        return np.asarray(np.sort(of_entry, axis=1)[:, -3:].mean(axis=1))

    return score


class NextEntry(torch.nn.Module):
    """Predicts each template of a window from those before it."""

    def __init__(self, number: int, width: int = 64):
        super().__init__()
        self.embedding = torch.nn.Embedding(number + 2, width)
        self.lstm = torch.nn.LSTM(width, width, batch_first=True)
        self.output = torch.nn.Linear(width, number + 2)

    def forward(self, template: torch.Tensor) -> torch.Tensor:
        """Surprise of each entry but the first, nats `(windows, entries - 1)`; 0 at padding.

        Args:
            template: int64 `(windows, entries)`, 0 at padding.
        """
        states, _ = self.lstm(self.embedding(template[:, :-1]))
        logits = self.output(states).transpose(1, 2)
        return F.cross_entropy(logits, template[:, 1:], ignore_index=0, reduction="none")


def next_entry(healthy: Windows, seed: int, epochs: int = 15, batch: int = 32) -> Scorer:
    """An LSTM that was trained on the healthy windows, with Adam at a rate of 0.005."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = NextEntry(healthy.number)
        template = torch.from_numpy(healthy.template + 1)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
        for _ in range(epochs):
            for rows in torch.randperm(len(template)).split(batch):
                surprise = network(template[rows])
                loss = surprise.sum() / max(1, int((template[rows, 1:] > 0).sum()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    @torch.inference_mode()
    def score(windows: Windows) -> np.ndarray:
        surprise = network(torch.from_numpy(windows.template + 1)).numpy().astype(np.float64)
        return np.asarray(np.sort(surprise, axis=1)[:, -8:].mean(axis=1))

    return score


FOREST, PCA, SVM = "isolation forest on counts", "PCA on counts", "one-class SVM on counts"
LSTM = "next-entry LSTM"
RIVALS: dict[str, Rival] = {
    FOREST: _on_counts(isolation_forest),
    PCA: _on_counts(principal_components),
    SVM: _on_counts(one_class_svm),
    "n-grams of templates": n_grams,
    "look-up of windows": look_up,
    "hashed tokens, nearest neighbour": hashed_tokens,
    LSTM: next_entry,
}
SLOW = (FOREST, LSTM)
"""Those that take seconds to fit."""


# --- all of them -----------------------------------------------------------------------------------------------------


def promised_threshold(healthy: np.ndarray, rate: float = PROMISED) -> float:
    """The score above which no more than the rate of healthy windows lie (split conformal); infinite if too few."""
    allowed = int(np.floor(rate * (len(healthy) + 1) + 1e-9)) - 1
    return float(np.sort(healthy)[len(healthy) - 1 - allowed]) if allowed >= 0 else float(np.max(healthy, initial=0.0))


def cross_fitted_scores(fit: Rival, healthy: Windows, seed: int) -> np.ndarray:
    """Scores of healthy windows, each by a detector that was fitted to the other blocks of them."""
    block = np.arange(len(healthy)) * HEALTHY_FOLDS.blocks // max(1, len(healthy))
    scores = np.zeros(len(healthy))
    for number in np.unique(block):
        rest = np.flatnonzero(block != number)
        if len(rest):
            rows = np.flatnonzero(block == number)
            scores[rows] = fit(healthy.take(rest), seed)(healthy.take(rows))
    return scores


def score_rivals(
    reference: LogReference, log: PreparedLog, is_self: bool, seed: int, names: Iterable[str] = tuple(RIVALS)
) -> dict[str, np.ndarray]:
    """Scores of a log's windows.

    Args:
        is_self: the reference is of this very log: each block is judged by the others that LogMoE judges it by.
    """
    windows = windows_of_log(reference, log)
    if not is_self:
        healthy = windows_of_reference(reference, log.rule.max_sequence_length)
        return {name: RIVALS[name](healthy, seed)(windows) for name in names}
    first = np.array([sequence[0] for sequence in log.sequences])
    block = np.searchsorted(reference.blocks()[1:-1], first, side="right")
    scores = {name: np.zeros(len(windows)) for name in names}
    for number in np.unique(block).tolist():
        low, high = reference.folds.left_out(number)
        own, rest = np.flatnonzero(block == number), np.flatnonzero((block < low) | (block >= high))
        for name in scores:
            scores[name][own] = RIVALS[name](windows.take(rest), seed)(windows.take(own))
    return scores


def thresholds_of(reference: LogReference, length: int, seed: int, names: Iterable[str]) -> dict[str, float]:
    """The threshold of each rival that calls 1% of the reference's own windows anomalous."""
    healthy = windows_of_reference(reference, length)
    return {name: promised_threshold(cross_fitted_scores(RIVALS[name], healthy, seed)) for name in names}


def timed_rivals(reference: LogReference, log: PreparedLog, clock: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Seconds that each rival takes to fit to a reference, and to judge a log."""
    healthy = windows_of_reference(reference, log.rule.max_sequence_length)
    seconds = {}
    for name, fit in RIVALS.items():
        begun = clock()
        score = fit(healthy, 0)
        fitted = clock()
        score(windows_of_log(reference, log))
        seconds[name] = {"fit": fitted - begun, "judge": clock() - fitted}
    return seconds


__all__ = [
    "LSTM",
    "PCA",
    "RIVALS",
    "SLOW",
    "SVM",
    "Windows",
    "count_templates",
    "cross_fitted_scores",
    "isolation_forest",
    "principal_components",
    "promised_threshold",
    "score_rivals",
    "thresholds_of",
    "timed_rivals",
    "windows_of_log",
    "windows_of_reference",
]
