"""A log of any size in, results out: one pass that reads, encodes and judges repeated content once.

    read ─ parse chunks of whole entries ─ cut ─ encode new entries ─ predict new sequences ─ judge in order

Each step is a task of a small pool: a chunk is read and masked while the model computes on those before it, and memory
stays bounded. On a CPU a task runs on one thread, so that cores never wait for each other inside an operation. Called
by the pipeline's `scan`.
"""

import contextlib
import copy
import ctypes
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from .caching_logmoe import EntryCache, ScanCache
from .fitting_logmoe import ReferenceFit, StreamMemory, StreamPast, origin_of, read_sequences, with_places
from .judging_logmoe import ANOMALY, Judge, Prediction
from .kinds_logmoe import KindCount, StreamKind, has_kinds, of_kind
from .measuring_logmoe import LogMeasure, Measured
from .parsing_logmoe import EntryChunk, EntryStream, ParsedLog, longer_than
from .predicting_logmoe import Predictor, use_one_thread
from .reading_logmoe import EmptyLogError, LogReader
from .reference_logmoe import LogReference
from .rerun_logmoe import Beginning
from .sequences_logmoe import SequenceCutter, SequenceRule
from .sources_logmoe import is_readable_twice, visible
from .statistics_logmoe import ScanStatistics
from .surprise_logmoe import ENTRY_FEATURES, measures_surprise
from .suspects_logmoe import Suspects
from .weighing_logmoe import Against, Weigher, faults_prevail

logger = logging.get_logger(__name__)

# Chunks that are parsed ahead of the model, and that wait for it to finish.
CHUNKS_AHEAD = 2
# Bytes of a log after which freed memory goes back to the system. glibc keeps what it cannot cut off at the end of a
# heap: some hundred MiB over a long log, of blocks that last between blocks that come and go. Giving them back costs
# some milliseconds.
TRIM_BYTES = 2 << 20
# Tells apart the sequences of logs that are measured against different references.
_SERIAL = itertools.count(1)
# Entries that a task of the encoder takes.
ENTRIES_PER_TASK = 64


# ---------------------------------------------------------------------- the scan


@dataclass
class _Awaited:
    """A prediction that the model is working on."""

    batch: Future  # of a list of predictions
    position: int


@dataclass
class _Job:
    """A chunk whose sequences are with the model."""

    log: ParsedLog
    is_truncated: np.ndarray  # bool `(entries,)`
    sequences: list[np.ndarray]
    keys: list[bytes]  # of each sequence
    predictions: dict[bytes, Prediction | _Awaited]
    statistics: dict[str, int]
    measured: Measured | None
    weigher: Weigher | None
    embeddings: torch.Tensor
    rows_of: np.ndarray  # of each distinct entry


class _ReadAhead:
    """Reads in a thread of its own, a few chunks ahead.

    A daemon: a read may block for as long as a pipe is silent, and must not keep the process from ending.

    Attributes:
        parsed: chunks of entries, each with the future of the parsed log that it becomes; None at the end.
        room: to be released for each chunk that was taken.
        error: what reading raised.
    """

    def __init__(self, reader: LogReader, stream: EntryStream, submit: Callable[[EntryChunk], Future]):
        self.reader, self.stream, self.submit = reader, stream, submit
        self.parsed: queue.Queue[tuple[EntryChunk, Future] | None] = queue.Queue()
        self.room = threading.Semaphore(CHUNKS_AHEAD)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._read, name="logmoe-read", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for lines in self.reader:
                chunk = self.stream.push(lines)
                while not self.room.acquire(timeout=0.1):
                    if self.reader.is_stopped:
                        return
                self.parsed.put((chunk, self.submit(chunk)))
        except BaseException as error:
            if not self.reader.is_stopped:
                self.error = error
        finally:
            self.parsed.put(None)

    def stop(self) -> None:
        self.reader.stop()
        self.thread.join(1)


class LogScan(Iterator[dict[str, Any]]):
    """Iterator over the results of a scan; made by [`LogAnomalyPipeline.scan`], which explains the arguments.

    Args:
        sources: paths, `"-"` and open files, as `find_logs` gives them.
        predictor: model, processor and device.
        judge: labels the sequences.
        rule: how entries become sequences.
        against: what they are judged against; None for wording alone.

    Attributes:
        statistics: what it has seen so far.
        has_suspects: they are wanted; read when a log begins.
        suspects: of the log that is being read; None where the model was trained on labels alone.
    """

    def __init__(
        self,
        sources: list[Any],
        predictor: Predictor,
        judge: Judge,
        rule: SequenceRule,
        against: Against | None = None,
        *,
        max_log_entry_length: int | None,
        batch_size: int,
        only_anomalies: bool,
        encoding: str | None,
        follow: bool,
        from_start: bool = True,
        idle_seconds: float,
        dtype: torch.dtype,
        num_workers: int,
        on_progress: Callable[[ScanStatistics], None] | None,
        chunk_bytes: int,
        cache: ScanCache,
        max_waiting_entries: int,
    ):
        self.sources, self.judge, self.rule, self.against = sources, judge, rule, against
        self.processor, self.device = predictor.processor, predictor.device
        self.max_log_entry_length = max_log_entry_length
        self.batch_size, self.only_anomalies = batch_size, only_anomalies
        self.encoding = encoding
        self.follow, self.from_start, self.idle_seconds = follow, from_start, idle_seconds
        self.chunk_bytes = chunk_bytes
        self.num_workers, self.max_waiting_entries = num_workers, max_waiting_entries
        self.on_progress = on_progress
        self.cache, self.predictor = cache, cache.bind(predictor, dtype, max_log_entry_length)
        self.awaited: dict[bytes, _Awaited] = {}
        self.statistics = ScanStatistics(dtype=str(dtype).removeprefix("torch."))
        self.has_suspects = False
        self.suspects: Suspects | None = None
        self._lock = threading.RLock()  # threads may take results in turn
        self._untrimmed = self._num_encoded = 0
        self._is_closed = False
        self._reader: LogReader | None = None
        # Of the log that is being read: what it is judged against, from its first sequence on.
        self._reference: LogReference | None = None
        self._measure: LogMeasure | None = None
        self._weigher: Weigher | None = None
        self._past: StreamMemory | None = None  # of a stream that is judged by another one later
        self._ahead: np.ndarray | None = None
        # What was read of entries, beside one reference: that keeps half the digits, and another has other rows.
        self._known: tuple[np.ndarray, EntryCache] | None = None
        self._is_worded = False
        self._results = self._run()

    def __next__(self) -> dict[str, Any]:
        with self._lock:
            return next(self._results)

    def __enter__(self) -> "LogScan":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the scan early, and its threads with it. Any thread may call it."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.stop()
        with contextlib.suppress(ValueError):  # another thread is in it, and will soon find nothing more to read
            self._results.close()

    # ------------------------------------------------------------------ the flow

    def _run(self) -> Generator[dict[str, Any], None, None]:
        self._started = time.monotonic()
        is_on_cpu = self.device.type == "cpu"
        with (
            ThreadPoolExecutor(self.num_workers, "logmoe") as self._pool,
            # One thread queues the accelerator's work; the pool then only parses.
            ThreadPoolExecutor(1, "logmoe-model") as accelerator,
        ):
            self._model_pool = self._pool if is_on_cpu else accelerator
            try:
                if is_on_cpu:
                    use_one_thread(self._pool, self.num_workers)
                first_error: Exception | None = None
                for source in self.sources:
                    if self._is_closed:
                        break
                    try:
                        yield from self._scan_one(source)
                    except (OSError, ValueError, EOFError) as error:  # one bad log does not stop the others
                        if len(self.sources) > 1:
                            logger.warning(
                                f"{visible(_name(source) or 'the stream')} was not read to its end: {visible(error)}"
                            )
                        first_error = first_error or error
                if first_error is not None:
                    raise first_error
            finally:
                for pool in (self._pool, accelerator):
                    pool.shutdown(wait=True, cancel_futures=True)

    def _scan_one(self, source: Any) -> Iterator[dict[str, Any]]:
        name = _name(source)
        self.statistics.source = name
        # The processor reads the beginning of an entry only: four bytes at most for each character of it.
        max_line_bytes = 4 * self.processor.max_entry_characters
        self._start_measuring(source)
        reader = LogReader(source, self.chunk_bytes, max_line_bytes, self.encoding, self.follow, self.idle_seconds)
        reader.from_start = self.from_start
        self._reader = reader
        stream = EntryStream(self.processor, self.chunk_bytes)
        cutter = SequenceCutter(self.rule, self.processor, self.max_waiting_entries)
        before = copy.copy(self.statistics)
        if self._is_closed:
            return
        headers, number = self.processor.time_reader(), 0
        ahead = _ReadAhead(
            reader, stream, lambda chunk: self._pool.submit(self.processor.masked, chunk.entries, chunk.replaced_bytes)
        )
        jobs: deque[_Job] = deque()
        is_open = True
        try:
            while is_open or jobs:
                # Results that wait come before a wait for more input.
                if is_open and len(jobs) < CHUNKS_AHEAD and not (jobs and ahead.parsed.empty()):
                    item = ahead.parsed.get()
                    if item is None:
                        is_open = False
                    else:
                        chunk, future = item
                        parsed = future.result()
                        if self._reference is not None or self._past is not None:
                            parsed = with_places(parsed, self.processor, headers, number)
                            number += len(parsed)
                        jobs += self._start_all(chunk, parsed, cutter)
                        self._untrimmed += chunk.num_bytes
                        ahead.room.release()
                else:
                    job = jobs.popleft()
                    self.statistics.bytes_read, self.statistics.total_bytes = reader.bytes_read, reader.total_bytes
                    oversized = reader.oversized_lines + stream.oversized_entries
                    self.statistics.oversized_entries = before.oversized_entries + oversized
                    self.statistics.split_sessions = before.split_sessions + cutter.split_sessions
                    yield from self._finish(job, name)
                    self._trim()
                    self.statistics.seconds = time.monotonic() - self._started
                    if self.on_progress is not None:
                        self.on_progress(self.statistics)
        finally:
            ahead.stop()
        if ahead.error is not None:  # raised after the results of what could be read
            raise ahead.error
        if self.statistics.entries == before.entries and not (self.follow or self._is_closed):
            raise EmptyLogError(f"no log entries in {visible(name or 'the stream')}: it is empty or all blank lines")

    # ------------------------------------------------------------------ the steps

    def _start_all(self, chunk: EntryChunk, parsed: ParsedLog, cutter: SequenceCutter) -> list[_Job]:
        """Cuts, encodes new entries, and hands new sequences to the model."""
        log, sequences = cutter.push(parsed, chunk.is_last, chunk.is_idle)
        statistics = {"lines": chunk.num_lines, "entries": len(parsed), "replaced_bytes": chunk.replaced_bytes}
        if self._past is None:
            return [self._start(log, sequences, len(parsed), statistics)]
        assert log.number is not None
        assert self.against is not None
        jobs = []
        # What a stream is judged by becomes another in the middle of a chunk, so that results do not depend on chunks.
        numbers = np.array([int(log.number[sequence[0]]) for sequence in sequences], np.int64)
        while (place := int(np.searchsorted(numbers, self._past.renew_at))) < len(sequences):
            jobs.append(self._start(log, sequences[:place], 0, {}))
            self._past.add(log, sequences[:place])
            renewed = self._past.renew(self._encode_texts)
            sequences, numbers = sequences[place:], numbers[place:]
            if renewed is self._reference:
                continue
            self._reference = renewed
            self._prefix = next(_SERIAL).to_bytes(8, "little")
            first, order = int(numbers[0]), self._measure.order if self._measure is not None else None
            self._measure, self._weigher = self._new_measure(self._reference, self.rule.max_sequence_length)
            self._past.resume(self._measure, first, order, self._array_of)
            self.statistics.mode = "self" if self.against.reference is None else "reference"
            # Nor on how much of the past the chunk happens to hold.
            assert log.number is not None
            rows = np.flatnonzero(log.number >= first - self._past.RECENT)
            sequences = [np.searchsorted(rows, sequence) for sequence in sequences]
            log = log.take(rows)
        jobs.append(self._start(log, sequences, len(parsed), statistics))
        self._past.add(log, sequences)
        self._past.keep_recent(log)
        return jobs

    def _start(self, log: ParsedLog, sequences: list[np.ndarray], num_new: int, statistics: dict[str, int]) -> _Job:
        """Encodes entries, and hands sequences to the model.

        Args:
            log: entries, the last `num_new` of which were not counted yet.
            sequences: positions in it; `statistics` are added once they are judged.
        """
        number_before = self._num_encoded
        measured = weigher = None
        if self._reference is None:
            embeddings, numbers, is_truncated = self._look_up(log.distinct.to_pylist(), self._encode)
            rows_of = np.arange(len(numbers))
            keys = [numbers[log.entry_index[positions]].tobytes() for positions in sequences]
        else:
            embeddings, rows_of, is_truncated, measured, weigher = self._measured(log, sequences)
            keys = [self._prefix + key for key in measured.keys] if measured is not None else []
        is_truncated = is_truncated[log.entry_index] | longer_than(log.text, self.processor.max_entry_characters)

        predictions: dict[bytes, Prediction | _Awaited] = {}
        new: dict[bytes, int] = {}  # by key one of its sequences
        for row, key in enumerate(keys):
            if key in predictions or key in new:
                continue
            if (known := self.cache.find(key)) is not None:
                predictions[key] = known
            elif key in self.awaited:
                predictions[key] = self.awaited[key]
            else:
                new[key] = row
        # Those of like length together, so that there is little padding.
        ordered = sorted(new, key=lambda key: -len(key))
        size = min(self.batch_size, max(1, -(-len(ordered) // self.num_workers)))
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            rows = [new[key] for key in batch]
            entries = [rows_of[log.entry_index[sequences[row]]] for row in rows]
            features = None
            if measured is not None:
                features = [
                    measured.entry_features[row, : len(of_row), : len(ENTRY_FEATURES)]
                    for row, of_row in zip(rows, entries, strict=True)
                ]
            predicting = self._model_pool.submit(self._predict, embeddings, entries, features)
            self.awaited |= {key: _Awaited(predicting, position) for position, key in enumerate(batch)}
        predictions |= {key: self.awaited[key] for key in new}
        statistics = statistics | {
            "encoded_entries": self._num_encoded - number_before,
            "predicted_sequences": len(new),
            "truncated_entries": int(is_truncated[len(log) - min(len(log), num_new) :].sum()),
        }
        return _Job(
            log, is_truncated, sequences, keys, predictions, statistics, measured, weigher, embeddings, rows_of
        )

    def _predict(
        self, embeddings: torch.Tensor, sequences: list[np.ndarray], entry_features: list[np.ndarray] | None
    ) -> list[Prediction]:
        with self._on_device():
            return self.predictor.predict(embeddings, sequences, len(sequences), entry_features)

    def _start_measuring(self, source: Any) -> None:
        """Finds what the next log is judged against, which without a reference takes a first pass over it."""
        self._measure = self._weigher = self._reference = self._past = self._ahead = None
        self.statistics.mode, self.statistics.kept_rate, self.statistics.first_missing = "none", None, None
        self.statistics.faults_prevail, self.statistics.is_rerun, self.statistics.missing_kinds = False, False, 0
        self.statistics.healthy_entries = self.statistics.promised_rate = None
        self._is_worded = False
        has_suspects = self.has_suspects and measures_surprise(self.predictor.model.config)
        self.suspects = Suspects(self.predictor) if has_suspects else None
        self.statistics.measured_entries = self.statistics.familiar_entries = self.statistics.backward_entries = 0
        if self.against is None:
            return
        is_twice = is_readable_twice(source) and not self.follow
        is_windowed = self.rule.window_seconds is None and not self.rule.session_pattern
        if (given := self.against.reference) is not None:
            self._reference, self.statistics.mode = given, "reference"
            if is_twice and given.origin.has_past:
                self._reference = self._look_ahead(source, given)
            elif not is_twice and is_windowed and self.against.is_comparing and has_kinds(given):
                self._past = StreamKind(given)
        elif is_twice:
            fit = ReferenceFit(self.processor, self.rule, origin_of(self.predictor.model, self.processor, self.rule))
            # What cannot be read is said by the second pass, after the results of what could be.
            with contextlib.suppress(ValueError, OSError, EOFError):
                fit.add_source(source, self.encoding, self.chunk_bytes, self.max_waiting_entries, self.num_workers)
            own = fit.finish_own()
            if own is not None:
                own, length = own.encode(self._encode_texts), self.rule.max_sequence_length
                self.statistics.faults_prevail = faults_prevail(self.predictor, own, length)
                if not self.statistics.faults_prevail:
                    self._reference, self.statistics.mode = own, "self"
        elif is_windowed:
            self._past = StreamPast(origin_of(self.predictor.model, self.processor, self.rule))
        if self._reference is not None:
            self._prefix = next(_SERIAL).to_bytes(8, "little")

    def _look_ahead(self, source: Any, reference: LogReference) -> LogReference:
        """Reads the beginning of a log, which tells its kind, its level and whether it is another run."""
        assert self.against is not None
        number_before = self._num_encoded
        chunks, read = self._chunks_of(source), []
        if self.against.is_comparing and has_kinds(reference):
            kind = KindCount()
            for chunk in chunks:
                read.append(chunk)
                if kind.add(chunk[0]).is_complete:
                    break
            reference = of_kind(reference, kind.number, self._encode_texts)
        measure, beginning = LogMeasure(reference, self.rule.max_sequence_length), Beginning(reference)
        for log, sequences in itertools.chain(read, chunks):
            beginning.add(measure.push(log, sequences[: beginning.left], self._array_of(measure, log)))
            if not beginning.left:
                break
        self.statistics.encoded_entries += self._num_encoded - number_before
        self._ahead = beginning.features
        self.statistics.is_rerun = self.against.is_comparing and beginning.is_rerun
        return reference.as_run() if self.statistics.is_rerun else reference

    def _chunks_of(self, source: Any) -> Iterator[tuple[ParsedLog, list[np.ndarray]]]:
        """A log and its sequences as far as they can be read: what cannot is said by the pass that judges."""
        how = self.rule, self.encoding, self.chunk_bytes, self.max_waiting_entries, self.num_workers
        with contextlib.suppress(ValueError, OSError, EOFError):
            for log, sequences, _ in read_sequences(source, self.processor, *how):
                yield log, sequences

    def _embed(self, measure: LogMeasure, log: ParsedLog) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """Embeddings of what is read of distinct entries, their rows there, and which texts were truncated."""
        reference = measure.reference
        if self._known is None or self._known[0] is not reference.embeddings:
            self._known = reference.embeddings, EntryCache(self.cache.entries.capacity)
        texts = measure.encoder_texts(log.distinct.to_pylist())
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        embeddings, _, is_truncated = self._known[1].look_up(list(place), partial(self._encode_unknown, reference))
        return embeddings, np.array([place[text] for text in texts], np.int64), is_truncated

    def _array_of(self, measure: LogMeasure, log: ParsedLog) -> np.ndarray:
        """Embeddings float32 `(distinct, encoder_hidden)` of what is read of distinct entries."""
        embeddings, rows_of, _ = self._embed(measure, log)
        return _as_array(embeddings)[rows_of]

    def _measured(
        self, log: ParsedLog, sequences: list[np.ndarray]
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray, Measured | None, Weigher | None]:
        """Encodes what a reference says is to be read of the entries, and measures the sequences.

        Returns:
            Embeddings, the row of each distinct entry in them, which distinct entries were truncated, and the
            sequences with what weighs them, or None before the first one: what the log is measured by depends on its
            length.
        """
        assert self._reference is not None
        assert self.against is not None
        measure, weigher = self._measure, self._weigher
        if measure is None or weigher is None:
            if not sequences:
                texts = log.distinct.to_pylist()
                is_truncated = np.zeros(0, bool)
                if texts:
                    _, is_truncated = self.processor.tokenize(texts, self.max_log_entry_length)
                return torch.empty(0), np.zeros(len(texts), np.int64), is_truncated, None, None
            reference, length = self._reference.for_log(sequences, self.rule.max_sequence_length)
            measure, weigher = self._new_measure(reference, length)
            # A log that only pauses at its beginning goes on with longer sequences, and is measured anew.
            if length == self.rule.max_sequence_length:
                self._measure, self._weigher = measure, weigher
        embeddings, rows_of, is_truncated = self._embed(measure, log)
        measured = measure.push(log, sequences, _as_array(embeddings)[rows_of])
        self.statistics.measured_entries = measure.num_entries
        self.statistics.familiar_entries = measure.num_familiar
        self.statistics.backward_entries = measure.order.num_backward
        self.statistics.missing_kinds, self.statistics.first_missing = measure.missing()
        return embeddings, rows_of, is_truncated[rows_of], measured, weigher

    def _new_measure(self, reference: LogReference, length: int) -> tuple[LogMeasure, Weigher]:
        """What follows a log of sequences of up to `length` entries, and what weighs them."""
        assert self.against is not None
        # What a stream is judged by is of its past, of which no sequence is a part.
        is_self = self.against.reference is None and self._past is None
        weigher = self.against.weigher(self.predictor, reference, length)
        self.statistics.kept_rate = weigher.kept_rate if self.judge.keeps_promise else None
        if self.against.reference is not None:
            self.statistics.healthy_entries = reference.num_entries
            if self.statistics.kept_rate is not None:
                self.statistics.promised_rate = self.against.rate(reference, length)
        return LogMeasure(reference, length, is_self, self._ahead), weigher

    def _look_up(
        self, texts: list[str], encode: Any, cache: EntryCache | None = None
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """As [`EntryCache.look_up`]; counts what this scan, of those that share the cache, has encoded."""

        def counted(new: list[str]) -> tuple[torch.Tensor, np.ndarray]:
            self._num_encoded += len(new)
            return encode(new)

        return (cache or self.cache.entries).look_up(texts, counted)

    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        return self._look_up(texts, self._encode, self.cache.templates)[0].float().cpu().numpy()

    def _encode_unknown(self, reference: LogReference, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        """As `_encode`, without those that the reference has the embeddings of."""
        rows = reference.embedding_rows()
        known = np.array([rows.get(text, -1) for text in texts])
        missing = np.flatnonzero(known < 0)
        table = torch.from_numpy(reference.embeddings[known])
        embeddings = table.to(self.device, self.predictor.model.dtype)
        _, is_truncated = self.processor.tokenize(texts, self.max_log_entry_length)
        if len(missing):
            new, _, _ = self._look_up([texts[position] for position in missing], self._encode)
            embeddings[torch.from_numpy(missing).to(self.device)] = new
        return embeddings, is_truncated

    def _encode(self, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        token_ids, truncated = self.processor.tokenize(texts, self.max_log_entry_length)
        lengths = np.array([len(ids) for ids in token_ids])
        order = (-lengths).argsort(kind="stable")
        ordered = [token_ids[row] for row in order]
        size = ENTRIES_PER_TASK if self._model_pool is self._pool else len(ordered)
        tasks = [
            self._model_pool.submit(self._encode_batch, ordered[start : start + size])
            for start in range(0, len(ordered), size)
        ]
        embeddings = torch.cat([task.result() for task in tasks])
        return embeddings[torch.from_numpy(order.argsort()).to(embeddings.device)], truncated

    @torch.inference_mode()
    def _encode_batch(self, token_ids: list[list[int]]) -> torch.Tensor:
        with self._on_device():
            return self.predictor.encode(token_ids)

    def _on_device(self) -> contextlib.AbstractContextManager[Any]:
        """Makes the device the current one: a new thread begins with the first GPU."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext()

    def _trim(self) -> None:
        if self._untrimmed >= TRIM_BYTES:
            self._untrimmed = 0
            with contextlib.suppress(OSError, AttributeError):  # other C libraries neither have it nor need it
                ctypes.CDLL(None).malloc_trim(0)

    def _finish(self, job: _Job, source: str | None) -> Iterator[dict[str, Any]]:
        known: dict[bytes, Prediction] = {}
        new: dict[bytes, Prediction] = {}
        for key, prediction in job.predictions.items():
            if isinstance(prediction, _Awaited):
                prediction = prediction.batch.result()[prediction.position]
                self.awaited.pop(key, None)
                new[key] = prediction
            known[key] = prediction
        self.cache.keep(new)
        for name, value in job.statistics.items():
            setattr(self.statistics, name, getattr(self.statistics, name) + value)
        if not job.sequences:
            return
        predictions = [known[key] for key in job.keys]
        if self.suspects is not None:
            is_worded = job.measured is None
            if self._is_worded and not is_worded:  # a stream that has come to be judged by its past: all of it was new
                self.suspects = Suspects(self.predictor)
            self._is_worded = is_worded
            is_new, is_few = np.ones(len(job.rows_of), bool), None
            if job.measured is not None:
                is_new, is_few = job.measured.is_new, job.measured.is_few
            self.suspects.add(job.log, job.sequences, is_new, job.embeddings, job.rows_of, is_few)
        evidence = None
        if job.measured is not None and job.weigher is not None:
            evidence = job.weigher.weigh(job.measured, predictions)
        highest = self.judge.highest_probability(list(known.values()), evidence)
        self.statistics.highest_probability = max(self.statistics.highest_probability, highest)
        for result in self.judge.sequence_results(
            job.log, job.sequences, predictions, job.is_truncated, source, self.only_anomalies, evidence
        ):
            self.statistics.sequences += 1
            if result is not None:
                self.statistics.anomalies += result["label"] == self.judge.id2label[ANOMALY]
                yield result


def _as_array(embeddings: torch.Tensor) -> np.ndarray:
    """Embeddings `(texts, encoder_hidden)` in float32; `(0, 0)` of none."""
    return embeddings.float().cpu().numpy() if len(embeddings) else np.empty((0, 0), np.float32)


def _name(source: Any) -> str | None:
    """What results call a source: its path; None for a stream."""
    return str(source) if source != "-" and not hasattr(source, "read") else None


__all__ = ["LogScan", "ScanCache"]
