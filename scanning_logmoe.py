"""A log of any size in, results out: one pass that reads, encodes and judges repeated content once.

    read ─ parse chunks of whole entries ─ cut ─ encode new entries ─ predict new sequences ─ judge in order

Each step is a task of a small pool: a chunk is read and masked while the model computes on those before it, and memory
stays bounded. On a CPU a task runs on one thread, so that cores never wait for each other inside an operation. Called
by the pipeline's `scan`.
"""

import contextlib
import copy
import ctypes
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from .caching_logmoe import ScanCache
from .engine_logmoe import ScanEngine
from .fitting_logmoe import (
    OwnReferences,
    ServiceCutters,
    StreamPast,
    origin_of,
    read_parsed,
    services_of_source,
    with_places,
)
from .following_logmoe import Job, LogFollower
from .judging_logmoe import ANOMALY, Judge
from .kinds_logmoe import StreamKind, has_kinds, of_service
from .parsing_logmoe import EntryChunk, EntryStream, ParsedLog
from .predicting_logmoe import Predictor
from .reading_logmoe import EmptyLogError, LogReader
from .reference_logmoe import LogReference
from .sequences_logmoe import SequenceRule
from .services_logmoe import AHEAD_ENTRIES, REST, Services
from .silences_logmoe import SilenceWatch
from .sources_logmoe import is_readable_twice, visible
from .statistics_logmoe import HowJudged, ScanStatistics
from .surprise_logmoe import measures_surprise
from .suspects_logmoe import Suspects
from .weighing_logmoe import Against, faults_prevail

logger = logging.get_logger(__name__)

# Chunks that are parsed ahead of the model, and that wait for it to finish.
CHUNKS_AHEAD = 2
# Bytes of a log after which freed memory goes back to the system. glibc keeps what it cannot cut off at the end of a
# heap: some hundred MiB over a long log, of blocks that last between blocks that come and go. Giving them back costs
# some milliseconds.
TRIM_BYTES = 2 << 20

# ---------------------------------------------------------------------- the scan


@dataclass
class _Step:
    """A chunk whose sequences are with the model."""

    parsed: ParsedLog
    jobs: list[Job]
    statistics: dict[str, int]


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
        self.processor = predictor.processor
        self.only_anomalies, self.encoding = only_anomalies, encoding
        self.follow, self.from_start, self.idle_seconds = follow, from_start, idle_seconds
        self.chunk_bytes, self.max_waiting_entries = chunk_bytes, max_waiting_entries
        self.on_progress = on_progress
        self.predictor = cache.bind(predictor, dtype, max_log_entry_length)
        self.engine = ScanEngine(self.predictor, cache, max_log_entry_length, batch_size, num_workers)
        self.statistics = ScanStatistics(dtype=str(dtype).removeprefix("torch."))
        self.has_suspects = False
        self.suspects: Suspects | None = None
        self._lock = threading.RLock()  # threads may take results in turn
        self._untrimmed = 0
        self._is_closed = False
        self._reader: LogReader | None = None
        # Of the log that is being read: who judges it, by service, and those that the services have.
        self._followers: dict[int, LogFollower] = {}
        self._services = Services()
        self._watch: SilenceWatch | None = None
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
        with self.engine:
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

    def _scan_one(self, source: Any) -> Iterator[dict[str, Any]]:
        name = _name(source)
        self.statistics.source = name
        # The processor reads the beginning of an entry only: four bytes at most for each character of it.
        max_line_bytes = 4 * self.processor.max_entry_characters
        self._begin(source)
        reader = LogReader(source, self.chunk_bytes, max_line_bytes, self.encoding, self.follow, self.idle_seconds)
        reader.from_start = self.from_start
        self._reader = reader
        stream = EntryStream(self.processor, self.chunk_bytes)
        waiting = self.max_waiting_entries
        cutters = ServiceCutters(self.rule, self.processor, waiting, self._services, is_stream=not self._is_twice)
        before = copy.copy(self.statistics)
        if self._is_closed:
            return
        headers, number = self.processor.time_reader(), 0
        ahead = _ReadAhead(
            reader,
            stream,
            lambda chunk: self.engine.pool.submit(self.processor.masked, chunk.entries, chunk.replaced_bytes),
        )
        steps: deque[_Step] = deque()
        is_open = True
        try:
            while is_open or steps:
                # Results that wait come before a wait for more input.
                if is_open and len(steps) < CHUNKS_AHEAD and not (steps and ahead.parsed.empty()):
                    item = ahead.parsed.get()
                    if item is None:
                        is_open = False
                    else:
                        chunk, future = item
                        parsed = future.result()
                        if self._measures:
                            parsed = with_places(parsed, self.processor, headers, number)
                            number += len(parsed)
                        steps.append(self._start(chunk, parsed, cutters))
                        self._untrimmed += chunk.num_bytes
                        ahead.room.release()
                else:
                    step = steps.popleft()
                    self.statistics.bytes_read, self.statistics.total_bytes = reader.bytes_read, reader.total_bytes
                    oversized = reader.oversized_lines + stream.oversized_entries
                    self.statistics.oversized_entries = before.oversized_entries + oversized
                    self.statistics.split_sessions = before.split_sessions + cutters.split_sessions
                    yield from self._finish(step, name)
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

    # ------------------------------------------------------------------ how it is judged

    def _begin(self, source: Any) -> None:
        """Finds what the next log is judged against, which without a reference takes a first pass over it."""
        self._followers, self._services, self._watch, self._is_worded = {}, Services(), None, False
        self.statistics.say(HowJudged())
        has_suspects = self.has_suspects and measures_surprise(self.predictor.model.config)
        self.suspects = Suspects(self.predictor) if has_suspects else None
        self._is_twice = is_readable_twice(source) and not self.follow
        self._is_windowed = self.rule.window_seconds is None and not self.rule.session_pattern
        if self.against is None:
            return
        if self.against.reference is not None:
            self._services = self.against.reference.services
            self._watch = SilenceWatch(self.against.reference) if self._services else None
            if self._is_twice and self.against.reference.origin.has_past:
                self._look_ahead(source)
        else:
            self.engine.forget_references()
            if self._is_twice:
                self._begin_by_itself(source)
        self._say()

    def _say(self) -> None:
        """Says how the log is judged, as far as that is known."""
        given = None if self.against is None else self.against.reference
        ways = [follower.how for follower in self._followers.values()]
        ways = ways or [HowJudged("none" if given is None else "reference")]
        how = HowJudged.together(ways, None if given is None else given.num_entries)
        how.silent = () if self._watch is None else self._watch.found()
        if not self.judge.keeps_promise:
            how.kept_rate = how.promised_rate = None
        self.statistics.say(how)

    @property
    def _measures(self) -> bool:
        """Whether entries may be measured, for which their times and places are needed."""
        if self.against is None or self.against.reference is not None:
            return self.against is not None
        is_stream = not self._is_twice and self._is_windowed
        return is_stream or any(follower.reference is not None for follower in self._followers.values())

    def _begin_by_itself(self, source: Any) -> None:
        """Reads a log once, each of whose services is then judged by its own other blocks."""
        model = self.predictor.model
        origin = origin_of(model, self.processor, self.rule)
        how = self.encoding, self.chunk_bytes
        # What cannot be read is said by the second pass, after the results of what could be.
        with contextlib.suppress(ValueError, OSError, EOFError):
            if self._is_windowed:
                self._services = services_of_source(source, self.processor, self.encoding)
        own = OwnReferences(self.processor, self.rule, origin, self._services, self.max_waiting_entries)
        with contextlib.suppress(ValueError, OSError, EOFError):
            for parsed, is_last in read_parsed(source, self.processor, *how, self.engine.num_workers):
                own.add(parsed, is_last)
        for service, reference in own.finish().items():
            if reference is not None:
                reference.encode(self.engine.encode_texts)
            is_turned = reference is not None and faults_prevail(
                self.predictor, reference, self.rule.max_sequence_length
            )
            reference = None if is_turned else reference
            follower = LogFollower(self.engine, self.rule, self.against, reference, None, service, is_turned)
            self._followers[service] = follower

    def _look_ahead(self, source: Any) -> None:
        """Reads the beginning of a log, which tells its kind, its level and whether it is another run."""
        number_before = self.engine.num_encoded
        if not self._services:
            self._follower(REST).look_ahead((log, sequences) for _, log, sequences in self._beginning(source))
        else:
            read: dict[int, list[tuple[ParsedLog, list[np.ndarray]]]] = {}
            for service, log, sequences in self._beginning(source):
                read.setdefault(service, []).append((log, sequences))
            for service, chunks in read.items():
                self._follower(service).look_ahead(chunks)
        self.statistics.encoded_entries += self.engine.num_encoded - number_before

    def _beginning(self, source: Any) -> Iterator[tuple[int, ParsedLog, list[np.ndarray]]]:
        """The first entries of a log, by service, as far as they can be read; with their sequences."""
        cutters = ServiceCutters(self.rule, self.processor, self.max_waiting_entries, self._services)
        how = self.encoding, self.chunk_bytes, self.engine.num_workers
        with contextlib.suppress(ValueError, OSError, EOFError):
            for parsed, is_last in read_parsed(source, self.processor, *how):
                assert parsed.number is not None
                # Not by chunks, on whose size nothing may hang.
                is_enough = bool(self._services) and len(parsed) > 0 and parsed.number[-1] >= AHEAD_ENTRIES - 1
                if is_enough:
                    parsed, is_last = parsed.take(np.flatnonzero(parsed.number < AHEAD_ENTRIES)), False
                for service, log, sequences, _ in cutters.push(parsed, is_last):
                    yield service, log, sequences
                if is_enough:
                    return

    def _follower(self, service: int) -> LogFollower:
        """Who judges the entries of a service; of one that comes late, or of a stream, nothing is known beforehand."""
        if service not in self._followers:
            past: StreamPast | StreamKind | None = None
            reference: LogReference | None = None
            if self.against is not None and self.against.reference is not None:
                reference = of_service(self.against.reference, service, self.engine.encode_texts)
                is_stream = not self._is_twice and self._is_windowed
                if is_stream and self.against.is_comparing and has_kinds(reference):
                    past = StreamKind(reference)
            elif self.against is not None and self._is_windowed and not self._is_twice:
                past = StreamPast(origin_of(self.predictor.model, self.processor, self.rule))
            self._followers[service] = LogFollower(self.engine, self.rule, self.against, reference, past, service)
        return self._followers[service]

    # ------------------------------------------------------------------ the steps

    def _start(self, chunk: EntryChunk, parsed: ParsedLog, cutters: ServiceCutters) -> _Step:
        """Cuts, encodes new entries, and hands new sequences to the model."""
        jobs: list[Job] = []
        for service, log, sequences, num_new in cutters.push(parsed, chunk.is_last, chunk.is_idle):
            jobs += self._follower(service).start_all(log, sequences, num_new)
        if self._watch is not None:
            self._watch.add(parsed)
        self._say()
        statistics = {"lines": chunk.num_lines, "entries": len(parsed), "replaced_bytes": chunk.replaced_bytes}
        return _Step(parsed, jobs, statistics)

    def _finish(self, step: _Step, source: str | None) -> Iterator[dict[str, Any]]:
        self.judge.see(step.parsed)
        self.statistics.add(step.statistics)
        for job in step.jobs:
            predictions, different, evidence = job.finish()
            self.statistics.add(job.statistics)
            if not job.sequences:
                continue
            if self.suspects is not None:
                is_worded = job.measured is None and job.follower.past is not None
                if self._is_worded and not is_worded:  # a stream that is judged by its past now: all of it was new
                    self.suspects = Suspects(self.predictor)
                self._is_worded = is_worded
                job.suspect(self.suspects)
            highest = self.judge.highest_probability(different, evidence)
            self.statistics.highest_probability = max(self.statistics.highest_probability, highest)
            for result in self.judge.sequence_results(
                job.log,
                job.sequences,
                predictions,
                job.is_truncated,
                source,
                self.only_anomalies,
                evidence,
                writer=self._services.writer(job.follower.service),
            ):
                self.statistics.sequences += 1
                if result is not None:
                    self.statistics.anomalies += result["label"] == self.judge.id2label[ANOMALY]
                    yield result

    def _trim(self) -> None:
        if self._untrimmed >= TRIM_BYTES:
            self._untrimmed = 0
            with contextlib.suppress(OSError, AttributeError):  # other C libraries neither have it nor need it
                ctypes.CDLL(None).malloc_trim(0)


def _name(source: Any) -> str | None:
    """What results call a source: its path; None for a stream."""
    return str(source) if source != "-" and not hasattr(source, "read") else None


__all__ = ["LogScan", "ScanCache"]
