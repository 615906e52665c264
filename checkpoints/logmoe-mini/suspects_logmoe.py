"""What no finding shows and yet deserves a look: suspects, what calls itself an error first.

One new entry among hundreds of usual ones is often too little for a finding that keeps its promise, and the one that
somebody looks for; and of a finding with many new entries the first ones need not be the telling ones. So what is new
to the healthy log is told beside the findings: each kind of entry once, ordered by the severity that it states (an
error, neither, information) and then by how the model reads it alone. Of a log that is judged by itself these are the
entries that come in one block of it only, and behind them what calls itself an error throughout and yet is rare, as
tests that fail do; by its wording all. Suspects promise nothing and change no score. Called by the scan, for logs in
memory, and where findings are made.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from .judging_logmoe import anomaly_margin, anomaly_probability
from .parsing_logmoe import ParsedLog
from .predicting_logmoe import Predictor
from .wording_logmoe import has_words, is_about_exception

# Suspects of a log that are given, of those that are kept while it is judged, of those that are read at once.
GIVEN, KEPT, READ = 10, 64, 1024
# Kinds of entries that are remembered, so that each counts once.
REMEMBERED_KINDS = 1 << 14
# Of a long entry its beginning and its end are kept, in characters: a stack trace says there what it is about.
KEPT_BEGINNING, KEPT_END = 3000, 1000
# Which suspects come first, by the severity they state; others and none stand between, and before the last, what calls
# itself an error and is usual in the log.
FIRST, BETWEEN, USUAL, LAST = range(4)
CALLS_ITSELF = {"FATAL": FIRST, "ERROR": FIRST, "INFO": LAST, "DEBUG": LAST, "TRACE": LAST}
# Two read alike, and only one is given, if their embeddings' cosine is this or more, or at most this share of their
# words differ.
ALIKE, OTHER_WORDS = 0.9, 0.2


@dataclass(frozen=True)
class Suspect:
    """A kind of entry that deserves a look.

    Attributes:
        line: where one stands, counted from 1.
        text: of that one; of a long one the beginning and the end, with an ellipsis between.
        masked: the same, masked: what makes it a kind.
        wording: probability of "anomaly" by its wording alone.
        severity: that it states, as `SEVERITY_RULES` read it; None if it states none.
        is_usual: it stands in several blocks of a log that is judged by itself, and calls itself an error.
    """

    line: int
    text: str
    masked: str
    wording: float
    severity: str | None = None
    is_usual: bool = False

    @property
    def place(self) -> int:
        """`FIRST` of what states the severity of an error, or states none and is about an exception."""
        if self.is_usual:
            return USUAL
        if self.severity is None:
            return FIRST if is_about_exception(self.text) else BETWEEN
        return CALLS_ITSELF.get(self.severity, BETWEEN)

    @property
    def order(self) -> tuple[int, float, int]:
        """What deserves the first look has the lowest.

        In the recordings of the training services, read by wording by a model that knows mined statements alone, the
        first is caused by a fault in .82 of the logs, and .76 of the first ten are; by wording alone .78 and .73.
        """
        return self.place, -self.wording, self.line


@dataclass(frozen=True)
class _Read:
    """A suspect, and what it is compared by."""

    suspect: Suspect
    direction: torch.Tensor  # `(encoder_hidden,)`, of length 1
    words: tuple[str, ...]

    def is_like(self, other: "_Read") -> bool:
        if len(self.words) == len(other.words):
            others = sum(one != two for one, two in zip(self.words, other.words, strict=True))
            if others <= OTHER_WORDS * len(self.words):
                return True
        return float(self.direction @ other.direction) >= ALIKE


class Suspects:
    """Gathers the suspects of one log, whose sequences come in chunks. Threads may share one.

    Args:
        predictor: reads entries alone; its processor reads what severity they state.

    Attributes:
        kinds: how many there are so far; what comes again after `REMEMBERED_KINDS` others counts anew.
    """

    def __init__(self, predictor: Predictor):
        self.predictor, self.kinds = predictor, 0
        self._is_told: OrderedDict[str, bool] = OrderedDict()  # by kind, whether a finding shows it
        self._waiting: list[tuple[int, str, str, str | None, bool]] = []  # line, text, masked, severity, is usual
        self._embeddings: list[torch.Tensor] = []
        self._best: list[_Read] = []
        self._lock = threading.RLock()

    @classmethod
    def of(cls, predictor: Predictor, taken: tuple[Any, ...], others: "Suspects | None" = None) -> "Suspects":
        """Of a log in memory, by what `add` takes; together with others of it."""
        suspects = others or cls(predictor)
        suspects.add(*taken)
        return suspects

    def add(
        self,
        log: ParsedLog,
        sequences: list[np.ndarray],
        is_suspicious: np.ndarray,
        embeddings: torch.Tensor,
        rows_of: np.ndarray,
        is_few: np.ndarray | None = None,
    ) -> None:
        """Takes sequences.

        Args:
            log: what they are of.
            sequences: positions in it, of each.
            is_suspicious: bool `(distinct,)`, which distinct entries deserve a look.
            embeddings, rows_of: what the encoder made of entries, and int64 `(distinct,)` the row of each.
            is_few: bool `(distinct,)`, which deserve one besides if they call themselves an error.
        """
        is_few = np.zeros_like(is_suspicious) if is_few is None else is_few & ~is_suspicious
        if not sequences or not (is_suspicious | is_few).any():
            return
        positions = np.unique(np.concatenate(sequences))
        entries = log.entry_index[positions]
        few = positions[is_few[entries]]
        # One kind may be called an error now and then: all its entries are looked at.
        wanted = np.append(positions[is_suspicious[entries]], few[self._are_errors(log, few)])
        distinct, first = np.unique(log.entry_index[wanted], return_index=True)
        positions = wanted[first]
        texts = log.distinct.take(pa.array(distinct)).to_pylist()
        with self._lock:
            new = [place for place, text in enumerate(texts) if text not in self._is_told]
            if new:
                found = log.take(positions[new])
                severities = self.predictor.processor.headers(found).severities()
                usual = (~is_suspicious[distinct[new]]).tolist()
                for place, line, text, severity, is_usual in zip(
                    new, found.first_line.tolist(), found.text.to_pylist(), severities, usual, strict=True
                ):
                    self._is_told[texts[place]] = False
                    self._waiting.append((line, _kept(text), texts[place], severity, is_usual))
                self.kinds += len(new)
                self._embeddings.append(embeddings[torch.from_numpy(rows_of[distinct[new]]).to(embeddings.device)])
            self._forget()
            if len(self._waiting) >= READ:
                self._rank()

    def _are_errors(self, log: ParsedLog, positions: np.ndarray) -> np.ndarray:
        if not len(positions):
            return np.zeros(0, bool)
        severities = self.predictor.processor.headers(log.take(positions)).severities()
        return np.array([CALLS_ITSELF.get(of or "") == FIRST for of in severities])

    def tell(self, shown: Iterable[str]) -> None:
        """Takes masked entries that a finding shows: they are no suspects."""
        with self._lock:
            for masked in shown:
                self.kinds -= self._is_told.get(masked) is False
                self._is_told[masked] = True
                self._is_told.move_to_end(masked)
            self._best = [of for of in self._best if not self._is_told.get(of.suspect.masked)]
            self._forget()

    def _forget(self) -> None:
        while len(self._is_told) > REMEMBERED_KINDS:
            self._is_told.popitem(last=False)

    def _rank(self) -> None:
        """Reads those that wait, and keeps the best of all; of those that are told, or have no words, none,
        and of those that read alike one.
        """
        if not self._waiting:
            return
        embeddings = torch.cat(self._embeddings)
        directions = torch.nn.functional.normalize(embeddings.float(), dim=1)
        read = [
            _Read(Suspect(line, text, masked, wording, severity, usual), direction.clone(), tuple(masked.split()))
            for (line, text, masked, severity, usual), wording, direction in zip(
                self._waiting, self._read(embeddings), directions, strict=True
            )
        ]
        self._waiting, self._embeddings = [], []
        ordered = sorted(self._best + read, key=lambda of: of.suspect.order)
        self._best = []
        for of in ordered:
            if len(self._best) == KEPT:
                break
            is_told = self._is_told.get(of.suspect.masked)
            if not is_told and has_words(of.suspect.masked) and not any(map(of.is_like, self._best)):
                self._best.append(of)

    def _read(self, embeddings: torch.Tensor) -> list[float]:
        """Probability of "anomaly" of each entry by its wording, as a sequence of its own."""
        alone = [np.array([row]) for row in range(len(embeddings))]
        device = embeddings.device
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            logits = np.concatenate([found.logits for found in self.predictor.predict(embeddings, alone, READ)])
        temperature = self.predictor.model.config.calibration_temperature
        return anomaly_probability(anomaly_margin(logits.reshape(-1, 2)), temperature).tolist()

    def given(self) -> tuple[Suspect, ...]:
        """The suspects so far, in their order, and of those that read alike the first."""
        with self._lock:
            self._rank()
            return tuple(of.suspect for of in self._best[:GIVEN])


def _kept(text: str) -> str:
    if len(text) <= KEPT_BEGINNING + KEPT_END:
        return text
    return f"{text[:KEPT_BEGINNING]}…\n…{text[-KEPT_END:]}"


__all__ = ["FIRST", "USUAL", "Suspect", "Suspects"]
