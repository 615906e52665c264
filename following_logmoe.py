"""Entries in as they come, judged sequences out: what is known of a log, or of one service in it, while it is read.

A follower knows what its entries are judged against, measures them, hands new sequences to the engine, and weighs what
comes back. Called by the scan, which reads and cuts the log and decides how it is judged.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from .engine_logmoe import Awaited, ScanEngine
from .fitting_logmoe import StreamMemory
from .judging_logmoe import Evidence, Prediction
from .kinds_logmoe import KindCount, has_kinds, of_kind
from .measuring_logmoe import LogMeasure, Measured
from .parsing_logmoe import ParsedLog, longer_than
from .reference_logmoe import LogReference
from .rerun_logmoe import Beginning
from .sequences_logmoe import SequenceRule
from .services_logmoe import REST
from .statistics_logmoe import HowJudged
from .surprise_logmoe import ENTRY_FEATURES
from .suspects_logmoe import Suspects
from .weighing_logmoe import Against, Weigher

# Tells apart the sequences of logs that are measured against different references.
_SERIAL = itertools.count(1)


@dataclass
class Job:
    """Entries whose sequences are with the model."""

    follower: "LogFollower"
    log: ParsedLog
    is_truncated: np.ndarray  # bool `(entries,)`
    sequences: list[np.ndarray]
    keys: list[bytes]  # of each sequence
    predictions: dict[bytes, Prediction | Awaited]
    statistics: dict[str, int]
    measured: Measured | None
    weigher: Weigher | None
    embeddings: torch.Tensor
    rows_of: np.ndarray  # of each distinct entry

    def finish(self) -> tuple[list[Prediction], list[Prediction], Evidence | None]:
        """The predictions of the sequences, those of different ones, and the evidence."""
        known = self.follower.engine.finished(self.predictions)
        predictions = [known[key] for key in self.keys]
        evidence = None
        if self.sequences and self.measured is not None and self.weigher is not None:
            evidence = self.weigher.weigh(self.measured, predictions)
        return predictions, list(known.values()), evidence

    def suspect(self, suspects: Suspects) -> None:
        """Gives the suspects of these entries."""
        is_new, is_few = np.ones(len(self.rows_of), bool), None
        if self.measured is not None:
            is_new, is_few = self.measured.is_new, self.measured.is_few
        suspects.add(self.log, self.sequences, is_new, self.embeddings, self.rows_of, is_few)


class LogFollower:
    """Judges a log, or what one service wrote into it, as its entries come.

    Args:
        engine: runs the model.
        rule: how entries become sequences.
        against: what logs are judged against; None for wording alone.
        reference: what this one is; None for wording alone.
        past: of a stream that is judged by another one later.
        service: whose entries these are.
        faults_prevail: see [`HowJudged`].

    Attributes:
        reference: what the sequences that come next are judged against.
    """

    def __init__(
        self,
        engine: ScanEngine,
        rule: SequenceRule,
        against: Against | None = None,
        reference: LogReference | None = None,
        past: StreamMemory | None = None,
        service: int = REST,
        faults_prevail: bool = False,
    ):
        self.faults_prevail = faults_prevail
        self.engine, self.rule, self.against, self.past, self.service = engine, rule, against, past, service
        self._is_rerun = False
        self._measure: LogMeasure | None = None
        self._weigher: Weigher | None = None
        self._ahead: np.ndarray | None = None
        self._judge_by(reference)

    def _judge_by(self, reference: LogReference | None) -> None:
        self.reference = reference
        if reference is not None:
            self._prefix = next(_SERIAL).to_bytes(8, "little")

    @property
    def how(self) -> HowJudged:
        """How it is judged, as far as that is known."""
        measure, weigher = self._measure, self._weigher
        if self.reference is None or self.against is None:
            return HowJudged(faults_prevail=self.faults_prevail)
        how = HowJudged("self" if self.against.reference is None else "reference")
        if measure is None or weigher is None:
            return how
        how.measured_entries, how.familiar_entries = measure.num_entries, measure.num_familiar
        how.backward_entries, how.is_rerun = measure.order.num_backward, self._is_rerun
        how.missing_kinds, how.first_missing = measure.missing()
        how.kept_rate = weigher.kept_rate
        if self.against.reference is not None:
            how.healthy_entries = measure.reference.num_entries
            if how.kept_rate is not None:
                how.promised_rate = self.against.rate(measure.reference, measure.length)
        return how

    # ------------------------------------------------------------------ before it is judged

    def look_ahead(self, chunks: Iterable[tuple[ParsedLog, list[np.ndarray]]]) -> None:
        """Reads the beginning of the log, which tells its kind, its level and whether it is another run.

        Args:
            chunks: its entries, with `seconds` and `number`, and sequences; as many are taken as are needed.
        """
        assert self.against is not None
        assert self.reference is not None
        reference, read = self.reference, []
        chunks = iter(chunks)
        if self.against.is_comparing and has_kinds(reference):
            kind = KindCount()
            for chunk in chunks:
                read.append(chunk)
                if kind.add(chunk[0]).is_complete:
                    break
            reference = of_kind(reference, kind.number, self.engine.encode_texts)
        measure, beginning = LogMeasure(reference, self.rule.max_sequence_length), Beginning(reference)
        for log, sequences in itertools.chain(read, chunks):
            beginning.add(measure.push(log, sequences[: beginning.left], self._array_of(measure, log)))
            if not beginning.left:
                break
        self._ahead = beginning.features
        self._is_rerun = self.against.is_comparing and beginning.is_rerun
        self._judge_by(reference.as_run() if self._is_rerun else reference)

    # ------------------------------------------------------------------ as it is judged

    def start_all(self, log: ParsedLog, sequences: list[np.ndarray], num_new: int) -> list[Job]:
        """Encodes new entries, and hands new sequences to the model.

        Args:
            log: entries, the last `num_new` of which were not counted yet.
            sequences: positions in it.
        """
        if self.past is None:
            return [self._start(log, sequences, num_new)]
        assert log.number is not None
        jobs = []
        # What a stream is judged by becomes another in the middle of a chunk, so that results do not depend on chunks.
        numbers = np.array([int(log.number[sequence[0]]) for sequence in sequences], np.int64)
        while (place := int(np.searchsorted(numbers, self.past.renew_at))) < len(sequences):
            jobs.append(self._start(log, sequences[:place], 0))
            self.past.add(log, sequences[:place])
            renewed = self.past.renew(self.engine.encode_texts)
            sequences, numbers = sequences[place:], numbers[place:]
            if renewed is self.reference:
                continue
            first = int(numbers[0])
            order = self._measure.order if self._measure is not None and self._is_settled else None
            self._judge_by(renewed)
            self._measure, self._weigher = self._new_measure(renewed, self.rule.max_sequence_length)
            self.past.resume(self._measure, first, order, self._array_of)
            # Nor on how much of the past the chunk happens to hold.
            assert log.number is not None
            rows = np.flatnonzero(log.number >= first - self.past.RECENT)
            sequences = [np.searchsorted(rows, sequence) for sequence in sequences]
            log = log.take(rows)
        jobs.append(self._start(log, sequences, num_new))
        self.past.add(log, sequences)
        self.past.keep_recent(log)
        return jobs

    def _start(self, log: ParsedLog, sequences: list[np.ndarray], num_new: int) -> Job:
        engine, number_before = self.engine, self.engine.num_encoded
        measured = weigher = features = None
        if self.reference is None:
            embeddings, numbers, is_truncated = engine.look_up(log.distinct.to_pylist())
            rows_of = np.arange(len(numbers))
            keys = [numbers[log.entry_index[positions]].tobytes() for positions in sequences]
        else:
            embeddings, rows_of, is_truncated, measured, weigher = self._measured(log, sequences)
            keys = [self._prefix + key for key in measured.keys] if measured is not None else []
        is_truncated = is_truncated[log.entry_index] | longer_than(log.text, engine.processor.max_entry_characters)
        if measured is not None:
            of_entries = measured.entry_features

            def features(row: int, number: int) -> np.ndarray:
                return of_entries[row, :number, : len(ENTRY_FEATURES)]

        predictions, num_predicted = engine.predict(
            keys, embeddings, lambda row: rows_of[log.entry_index[sequences[row]]], features
        )
        statistics = {
            "encoded_entries": engine.num_encoded - number_before,
            "predicted_sequences": num_predicted,
            "truncated_entries": int(is_truncated[len(log) - min(len(log), num_new) :].sum()),
        }
        return Job(
            self,
            log,
            is_truncated,
            sequences,
            keys,
            predictions,
            statistics,
            measured,
            weigher,
            embeddings,
            rows_of,
        )

    def _measured(
        self, log: ParsedLog, sequences: list[np.ndarray]
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray, Measured | None, Weigher | None]:
        """Encodes what a reference says is to be read of the entries, and measures the sequences.

        Returns:
            Embeddings, the row of each distinct entry in them, which distinct entries were truncated, and the
            sequences with what weighs them, or None before the first one: what the log is measured by depends on its
            length.
        """
        assert self.reference is not None
        measure, weigher = self._measure, self._weigher
        if measure is None or weigher is None or not self._is_settled:
            if not sequences:
                texts = log.distinct.to_pylist()
                is_truncated = self.engine.tokenize(texts)[1] if texts else np.zeros(0, bool)
                return torch.empty(0), np.zeros(len(texts), np.int64), is_truncated, None, None
            reference, length = self.reference.for_log(sequences, self.rule.max_sequence_length)
            measure, weigher = self._new_measure(reference, length)
            # A log that only pauses at its beginning goes on with longer sequences, and is measured anew.
            self._measure, self._weigher = measure, weigher
        embeddings, rows_of, is_truncated = self._embed(measure, log)
        measured = measure.push(log, sequences, _as_array(embeddings)[rows_of])
        return embeddings, rows_of, is_truncated[rows_of], measured, weigher

    @property
    def _is_settled(self) -> bool:
        """What the log is measured by is settled, for it is longer than a sequence."""
        return self._measure is not None and self._measure.length == self.rule.max_sequence_length

    def _new_measure(self, reference: LogReference, length: int) -> tuple[LogMeasure, Weigher]:
        """What follows a log of sequences of up to `length` entries, and what weighs them."""
        assert self.against is not None
        # What a stream is judged by is of its past, of which no sequence is a part.
        is_self = self.against.reference is None and self.past is None
        weigher = self.against.weigher(self.engine.predictor, reference, length)
        return LogMeasure(reference, length, is_self, self._ahead), weigher

    # ------------------------------------------------------------------ embeddings

    def _embed(self, measure: LogMeasure, log: ParsedLog) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Embeddings of what is read of distinct entries, their rows there, and which texts were truncated."""
        texts = measure.encoder_texts(log.distinct.to_pylist())
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        embeddings, is_truncated = self.engine.look_up_beside(measure.reference, list(place))
        return embeddings, np.array([place[text] for text in texts], np.int64), is_truncated

    def _array_of(self, measure: LogMeasure, log: ParsedLog) -> np.ndarray:
        """Embeddings float32 `(distinct, encoder_hidden)` of what is read of distinct entries."""
        embeddings, rows_of, _ = self._embed(measure, log)
        return _as_array(embeddings)[rows_of]


def _as_array(embeddings: torch.Tensor) -> np.ndarray:
    """Embeddings `(texts, encoder_hidden)` in float32; `(0, 0)` of none."""
    return embeddings.float().cpu().numpy() if len(embeddings) else np.empty((0, 0), np.float32)


__all__ = ["Job", "LogFollower"]
