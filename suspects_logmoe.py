"""What no finding shows and yet deserves a look: suspects, those worded most like a fault first.

One new entry among hundreds of usual ones is often too little for a finding that keeps its promise, and the one that
somebody looks for; and of a finding with many new entries the first ones need not be the telling ones. So what is new
to the healthy log is told beside the findings: each kind of entry once, ordered by how the model reads it alone. Of a
log that is judged by itself these are the entries that come in one block of it only, by its wording all. Suspects
promise nothing and change no score. Called by the scan, for logs in memory, and where findings are made.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from .judging_logmoe import anomaly_margin, anomaly_probability
from .parsing_logmoe import ParsedLog
from .predicting_logmoe import Predictor

# Suspects of a log that are given, of those that are kept while it is judged, of those that are read at once.
GIVEN, KEPT, READ = 10, 64, 1024
# Kinds of entries that are remembered, so that each counts once.
REMEMBERED_KINDS = 1 << 16
# Cosine of two embeddings from which on they read alike, and only one is given.
ALIKE = 0.9


@dataclass(frozen=True)
class Suspect:
    """A kind of entry that deserves a look.

    Attributes:
        line: where one stands, counted from 1.
        text: of that one.
        masked: the same, masked: what makes it a kind.
        wording: probability of "anomaly" by its wording alone.
    """

    line: int
    text: str
    masked: str
    wording: float


class Suspects:
    """Gathers the suspects of one log, whose sequences come in chunks.

    Args:
        predictor: reads entries alone.

    Attributes:
        kinds: how many there are so far; what comes again after `REMEMBERED_KINDS` others counts anew.
    """

    def __init__(self, predictor: Predictor):
        self.predictor, self.kinds = predictor, 0
        self._is_told: OrderedDict[str, bool] = OrderedDict()  # by kind, whether a finding shows it
        self._waiting: list[tuple[int, str, str]] = []  # line, text, masked
        self._embeddings: list[torch.Tensor] = []
        self._best: list[tuple[Suspect, torch.Tensor]] = []

    def add(
        self,
        log: ParsedLog,
        sequences: list[np.ndarray],
        is_suspicious: np.ndarray,
        embeddings: torch.Tensor,
        rows_of: np.ndarray,
    ) -> None:
        """Takes sequences.

        Args:
            log: what they are of.
            sequences: positions in it, of each.
            is_suspicious: bool `(distinct,)`, which distinct entries deserve a look.
            embeddings, rows_of: what the encoder made of entries, and int64 `(distinct,)` the row of each.
        """
        if not sequences or not is_suspicious.any():
            return
        positions = np.unique(np.concatenate(sequences))
        distinct, first = np.unique(log.entry_index[positions], return_index=True)
        is_wanted = is_suspicious[distinct]
        distinct, positions = distinct[is_wanted], positions[first[is_wanted]]
        texts = log.distinct.take(pa.array(distinct)).to_pylist()
        new = [place for place, text in enumerate(texts) if text not in self._is_told]
        for place in new:
            position = int(positions[place])
            self._is_told[texts[place]] = False
            self._waiting.append((int(log.first_line[position]), log.text[position].as_py(), texts[place]))
        if new:
            self.kinds += len(new)
            self._embeddings.append(embeddings[torch.from_numpy(rows_of[distinct[new]]).to(embeddings.device)])
        self._forget()
        if len(self._waiting) >= READ:
            self._rank()

    def tell(self, shown: Iterable[str]) -> None:
        """Takes masked entries that a finding shows: they are no suspects."""
        for masked in shown:
            self.kinds -= self._is_told.get(masked) is False
            self._is_told[masked] = True
        self._forget()

    def _forget(self) -> None:
        while len(self._is_told) > REMEMBERED_KINDS:
            self._is_told.popitem(last=False)

    def _rank(self) -> None:
        """Reads those that wait, and keeps the best of all."""
        if not self._waiting:
            return
        embeddings = torch.cat(self._embeddings)
        found = zip(self._waiting, self._read(embeddings).tolist(), embeddings, strict=True)
        # A copy: a row would keep the whole table alive.
        self._best += [(Suspect(*waiting, wording), row.clone()) for waiting, wording, row in found]
        self._best.sort(key=lambda one: (-one[0].wording, one[0].line))
        del self._best[KEPT:]
        self._waiting, self._embeddings = [], []

    def _read(self, embeddings: torch.Tensor) -> np.ndarray:
        """Probability of "anomaly" of each entry by its wording, as a sequence of its own, float64 `(entries,)`."""
        alone = [np.array([row]) for row in range(len(embeddings))]
        logits = np.concatenate([found.logits for found in self.predictor.predict(embeddings, alone, READ)])
        temperature = self.predictor.model.config.calibration_temperature
        return anomaly_probability(anomaly_margin(logits.reshape(-1, 2)), temperature)

    def given(self) -> tuple[Suspect, ...]:
        """The suspects so far, those worded most like a fault first, and of those that read alike the first."""
        self._rank()
        given: dict[str, Suspect] = {}
        directions: list[torch.Tensor] = []
        for suspect, embedding in self._best:
            if self._is_told.get(suspect.masked) or suspect.masked in given:
                continue
            direction = torch.nn.functional.normalize(embedding.float(), dim=0)
            if all(float(direction @ other) < ALIKE for other in directions):
                given[suspect.masked] = suspect
                directions.append(direction)
        return tuple(given.values())[:GIVEN]


__all__ = ["Suspect", "Suspects"]
