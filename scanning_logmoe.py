"""One pass over logs of any size: what repeats is read, encoded and judged once, and memory stays bounded.

    read ─ chunks of whole entries ─ parse ─ cut ─ encode new entries ─ judge new sequences ─ results in order

Each step is a task of a small pool: a chunk is read and masked while the model computes on those before it. On a CPU a
task runs on one thread, so that cores never wait for each other inside an operation.
"""

import contextlib
import copy
import ctypes
import math
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import PreTrainedModel

from .processing_logmoe import LogMoEProcessor, ParsedLog, check_integer, group_by
from .reading_logmoe import Chunk, LogReader

# Chunks that are read and parsed ahead of the model, and that wait for it to finish.
CHUNKS_AHEAD = 2
TRIM_BYTES = 2 << 20
"""Bytes of a log after which memory that was freed goes back to the system.

glibc keeps what it cannot cut off at the end of a heap: some hundred MiB over a long log, of blocks that last
between blocks that come and go. Giving them back costs some milliseconds.
"""
# Entries that a task of the encoder takes.
ENTRIES_PER_TASK = 64


@dataclass
class ScanStatistics:
    """What a scan has seen so far.

    Attributes:
        source: the log that is being read.
        bytes_read, total_bytes: of that log, as stored; the total is None where it is not known.
        lines, entries, sequences, anomalies: over all logs; of results given out.
        highest_probability: of "anomaly", over all sequences so far.
        encoded_entries, judged_sequences: how often the two parts of the model ran, over all logs.
        replaced_bytes: bytes that were no UTF-8 and became U+FFFD.
        truncated_entries: occurrences of entries that are longer than the model reads.
        cut_entries: lines or entries longer than a chunk, which were cut.
        split_groups: sessions that were judged before their log's end, because too many were open.
        dtype: the precision that the model computes in.
        seconds: since the scan began.
    """

    source: str | None = None
    bytes_read: int = 0
    total_bytes: int | None = None
    lines: int = 0
    entries: int = 0
    sequences: int = 0
    anomalies: int = 0
    highest_probability: float = 0.0
    encoded_entries: int = 0
    judged_sequences: int = 0
    replaced_bytes: int = 0
    truncated_entries: int = 0
    cut_entries: int = 0
    split_groups: int = 0
    dtype: str = "float32"
    seconds: float = 0.0


class Cutter:
    """Cuts a log that comes in parts into the sequences that [`LogMoEProcessor.cut`] cuts it into whole.

    Two limits make memory bounded, and with them the sequences may differ from those of the whole log: a window by
    time is closed when an entry of the next but one has come, and with more than `max_waiting` entries in open
    sessions those that were quiet for longest are closed.

    Args:
        processor: finds times and sessions.
        max_sequence_length, stride, window_seconds, session_pattern: as for `cut`, none of them left out but
            `window_seconds` and `session_pattern`.
        max_waiting: entries.
    """

    def __init__(
        self,
        processor: LogMoEProcessor,
        max_sequence_length: int,
        stride: int,
        window_seconds: float | None,
        session_pattern: str | None,
        max_waiting: int,
    ):
        self.processor = processor
        self.length, self.stride = max_sequence_length, stride
        self.window_seconds, self.session_pattern = window_seconds, session_pattern
        self.max_waiting = max_waiting
        self.split_groups = 0
        self.start()

    def start(self) -> None:
        """A new log."""
        self.waiting: ParsedLog | None = None
        self.untimed: ParsedLog | None = None  # entries before the first timestamp
        # Of each open group its positions in `waiting`, and whether a sequence of it was given out.
        self.groups: dict[Any, tuple[np.ndarray, bool]] = {}
        self.newest_window = 0.0
        self.first_seconds: float | None = None
        self.last_seconds: float | None = None
        self.has_sessions = False

    def push(self, parsed: ParsedLog, is_last: bool, is_idle: bool = False) -> tuple[ParsedLog, list[np.ndarray]]:
        """Takes the next part of the log.

        Args:
            parsed: its entries.
            is_last: the log ends with it.
            is_idle: open sequences are complete as they are.

        Returns:
            A log, and the sequences that are complete, as positions in it; ordered by their first entry.

        Raises:
            ValueError: the log has no timestamp, or no session, though it is to be cut by them.
        """
        if self.window_seconds is not None and self.last_seconds is None:
            parsed = parsed if self.untimed is None else self.untimed + parsed
            is_timed = len(parsed) and not np.isnan(self.processor.timestamps(parsed.text)).all()
            if not (is_timed or is_last or len(parsed) > self.max_waiting):
                self.untimed = parsed
                return parsed.take(np.arange(0)), []
            self.untimed = None
        offset = 0 if self.waiting is None else len(self.waiting)
        log = parsed if self.waiting is None else self.waiting + parsed
        groups = self.groups
        for key, positions in self._group(parsed).items():
            held, is_started = groups.pop(key, (np.empty(0, dtype=np.int64), False))
            groups[key] = (np.concatenate([held, positions + offset]), is_started)  # the latest behind
        if is_last and self.session_pattern and not self.has_sessions and len(log):
            raise ValueError(f"`session_pattern` {self.session_pattern!r} matches no entry of the log.")

        sequences: list[np.ndarray] = []
        open_groups: dict[Any, tuple[np.ndarray, bool]] = {}
        for key, (positions, is_started) in groups.items():
            complete = max(0, (len(positions) - self.length) // self.stride + 1)
            starts = range(0, complete * self.stride, self.stride)
            sequences += [positions[start : start + self.length] for start in starts]
            rest = positions[complete * self.stride :]
            is_started |= complete > 0
            is_past = self.window_seconds is not None and abs(key - self.newest_window) >= 2
            if is_last or is_idle or is_past:
                sequences += self._close(rest, is_started)
            elif len(rest):
                open_groups[key] = (rest, is_started)
        if self.session_pattern and open_groups:
            sizes = pc.binary_length(log.text).to_numpy(zero_copy_only=False)
            waiting = sum(len(rest) for rest, _ in open_groups.values())
            waiting_bytes = sum(int(sizes[rest].sum()) for rest, _ in open_groups.values())
            for key in list(open_groups):
                if waiting <= self.max_waiting and waiting_bytes <= 1024 * self.max_waiting:
                    break
                rest, is_started = open_groups.pop(key)
                sequences += self._close(rest, is_started)
                waiting -= len(rest)
                waiting_bytes -= int(sizes[rest].sum())
                self.split_groups += 1

        kept = np.unique(np.concatenate([rest for rest, _ in open_groups.values()])) if open_groups else None
        self.waiting = None if kept is None else log.take(kept)
        self.groups = {
            key: (np.searchsorted(kept, rest), is_started)  # type: ignore[arg-type]
            for key, (rest, is_started) in open_groups.items()
        }
        return log, sorted(sequences, key=lambda positions: int(positions[0]))

    def _close(self, rest: np.ndarray, is_started: bool) -> list[np.ndarray]:
        """The last sequence of a group: its rest, unless the one before holds it."""
        return [rest] if len(rest) > (self.length - self.stride if is_started else 0) else []

    def _group(self, parsed: ParsedLog) -> dict[Any, np.ndarray]:
        if not len(parsed):
            return {}
        if self.window_seconds is not None:
            seconds = self.processor.filled_timestamps(parsed.text, self.last_seconds)
            self.first_seconds = seconds[0] if self.first_seconds is None else self.first_seconds
            self.last_seconds = seconds[-1]
            windows = np.floor((seconds - self.first_seconds) / self.window_seconds)
            self.newest_window = windows[-1]
            return group_by(windows)
        if self.session_pattern:
            sessions = self.processor.sessions(parsed, self.session_pattern, must_match=False)
            self.has_sessions |= any(name is not None for name in sessions)
            return sessions
        return {None: np.arange(len(parsed))}


class EntryCache:
    """The embeddings of the distinct entries that were seen last.

    Args:
        capacity: entries.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.row_of: OrderedDict[str, int] = OrderedDict()  # by masked text, the latest behind
        self.table: torch.Tensor | None = None  # (rows, encoder_hidden)
        self.is_truncated = np.zeros(0, dtype=bool)
        # Numbers that are never used twice: an entry that comes back after it was dropped is another one.
        self.numbers = np.zeros(0, dtype=np.int64)
        self.next_number = 0

    @torch.inference_mode()
    def embed(
        self, texts: list[str], encode: Callable[[list[str]], tuple[torch.Tensor, np.ndarray]]
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        """
        Args:
            texts: distinct masked entries, as many as there may be.
            encode: gives embeddings `(entries, encoder_hidden)` and bool `(entries,)`, what was truncated.

        Returns:
            Embeddings `(texts, encoder_hidden)`, numbers int64 `(texts,)` that are equal only for equal texts, and
            bool `(texts,)`, what was truncated.
        """
        rows = np.array([self.row_of.get(text, -1) for text in texts], dtype=np.int64)
        known = np.flatnonzero(rows >= 0)
        for position in known:
            self.row_of.move_to_end(texts[position])
        missing = np.flatnonzero(rows < 0)
        numbers = np.empty(len(texts), dtype=np.int64)
        is_truncated = np.empty(len(texts), dtype=bool)
        numbers[known], is_truncated[known] = self.numbers[rows[known]], self.is_truncated[rows[known]]
        if not len(texts):
            return torch.empty(0), numbers, is_truncated
        if not len(missing):
            assert self.table is not None
            return self.table[torch.from_numpy(rows).to(self.table.device)], numbers, is_truncated
        new, is_truncated[missing] = encode([texts[position] for position in missing])
        numbers[missing] = np.arange(self.next_number, self.next_number + len(missing))
        self.next_number += len(missing)
        embeds = new
        if len(known):
            assert self.table is not None
            embeds = new.new_empty(len(texts), new.shape[1])
            embeds[torch.from_numpy(known).to(new.device)] = self.table[torch.from_numpy(rows[known]).to(new.device)]
            embeds[torch.from_numpy(missing).to(new.device)] = new
        self._keep([texts[position] for position in missing], new, numbers[missing], is_truncated[missing])
        return embeds, numbers, is_truncated

    def _keep(self, texts: list[str], embeds: torch.Tensor, numbers: np.ndarray, is_truncated: np.ndarray) -> None:
        kept = slice(max(0, len(texts) - self.capacity), None)
        texts, embeds, numbers, is_truncated = texts[kept], embeds[kept], numbers[kept], is_truncated[kept]
        needed = min(self.capacity, len(self.row_of) + len(texts))
        if len(self.numbers) < needed:
            size = min(self.capacity, max(needed, 2 * len(self.numbers), 1024))
            table = embeds.new_empty(size, embeds.shape[1])
            if self.table is not None:
                table[: len(self.table)] = self.table
            self.table = table
            self.numbers = np.resize(self.numbers, size)
            self.is_truncated = np.resize(self.is_truncated, size)
        rows = [
            len(self.row_of) + place if len(self.row_of) + place < self.capacity else -1 for place in range(len(texts))
        ]
        rows = [self.row_of.popitem(last=False)[1] if row < 0 else row for row in rows]
        assert self.table is not None
        self.table[torch.tensor(rows, device=embeds.device)] = embeds
        self.numbers[rows], self.is_truncated[rows] = numbers, is_truncated
        self.row_of.update(zip(texts, rows, strict=True))  # last, so that an interrupt leaves nothing half known


class ScanCache:
    """What a scan remembers, for other scans with the same model, whose weights must not change meanwhile.

    Args:
        max_entries: distinct entries whose embeddings are kept.
        max_sequences: distinct sequences whose verdicts are kept.
    """

    def __init__(self, max_entries: int = 32768, max_sequences: int = 32768):
        self.entries = EntryCache(check_integer("max_entries", max_entries, 1))
        self.max_sequences = check_integer("max_sequences", max_sequences, 1)
        self.verdicts: OrderedDict[bytes, Verdict] = OrderedDict()  # by the numbers of the entries, the latest behind
        self.model: Any = None  # in the precision of the scans
        self._user: tuple | None = None

    def bind(self, *user: Any) -> None:
        """Raises ValueError when what is kept came from another model, processor, device, dtype or entry length."""
        if self._user is not None and self._user != user:
            raise ValueError(
                "This ScanCache holds what another model, processor, device, dtype or max_log_entry_length computed: "
                "make one for each."
            )
        self._user = user


@dataclass
class Verdict:
    """What the model said of a sequence: logits `(2,)` and a score for each entry."""

    logits: np.ndarray
    entry_scores: np.ndarray


@dataclass
class _Awaited:
    """A verdict that the model is at."""

    batch: Future  # of a list of verdicts
    position: int


@dataclass
class _Job:
    """A chunk whose sequences are with the model."""

    log: ParsedLog
    is_truncated: np.ndarray  # bool `(entries,)`
    sequences: list[np.ndarray]
    keys: list[bytes]  # of each sequence
    verdicts: dict[bytes, Verdict | _Awaited]
    statistics: dict[str, int]


class _ReadAhead:
    """Reads in a thread of its own, a few chunks ahead.

    A daemon: a read may block for as long as a pipe is silent, and must not keep the process from ending.

    Attributes:
        parsed: chunks, each with the future of what it holds; None at the end.
        room: to be released for each chunk that was taken.
        error: what reading raised.
    """

    def __init__(self, reader: LogReader, submit: Callable[[Chunk], Future]):
        self.reader, self.submit = reader, submit
        self.parsed: queue.Queue[tuple[Chunk, Future] | None] = queue.Queue()
        self.room = threading.Semaphore(CHUNKS_AHEAD)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._read, name="logmoe-read", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for chunk in self.reader:
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
    """Iterator over the results of a scan; see [`LogAnomalyPipeline.scan`], which makes it.

    Attributes:
        statistics: what it has seen so far.
    """

    def __init__(
        self,
        pipe: Any,
        sources: list[Any],
        *,
        cut: dict[str, Any],
        max_log_entry_length: int | None,
        threshold: float | None,
        batch_size: int,
        only_anomalies: bool,
        follow: bool,
        idle_seconds: float,
        dtype: torch.dtype,
        workers: int,
        on_progress: Callable[[ScanStatistics], None] | None,
        chunk_bytes: int,
        cache: ScanCache,
        max_waiting: int,
    ):
        self.pipe, self.sources = pipe, sources
        self.cut, self.max_log_entry_length, self.threshold = cut, max_log_entry_length, threshold
        self.batch_size, self.only_anomalies = batch_size, only_anomalies
        self.follow, self.idle_seconds, self.chunk_bytes = follow, idle_seconds, chunk_bytes
        self.workers = workers
        self.on_progress = on_progress
        cache.bind(pipe.model, pipe.processor, pipe.device, dtype, max_log_entry_length)
        if cache.model is None:
            cache.model = _in_precision(pipe.model, dtype)
        self.cache, self.entries, self.model = cache, cache.entries, cache.model
        self.awaited: dict[bytes, _Awaited] = {}
        self.max_waiting = max_waiting
        self.statistics = ScanStatistics(dtype=str(dtype).removeprefix("torch."))
        self._untrimmed = 0
        self._is_closed = False
        self._reader: LogReader | None = None
        self._results = self._run()

    def __next__(self) -> dict[str, Any]:
        return next(self._results)

    def __enter__(self) -> "LogScan":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the scan before its time, and its threads with it. Any thread may call it."""
        self._is_closed = True
        if self._reader is not None:
            self._reader.stop()
        with contextlib.suppress(ValueError):  # Another thread is in it, and will soon find nothing more to read.
            self._results.close()

    # ------------------------------------------------------------------ the flow

    def _run(self) -> Generator[dict[str, Any], None, None]:
        self._started = time.monotonic()
        is_on_cpu = self.pipe.device.type == "cpu"
        with (
            ThreadPoolExecutor(self.workers, "logmoe") as self._pool,
            # An accelerator's work is queued by one thread; the pool then only reads.
            ThreadPoolExecutor(1, "logmoe-model") as accelerator,
        ):
            self._model_pool = self._pool if is_on_cpu else accelerator
            try:
                if is_on_cpu:
                    _use_one_thread(self._pool, self.workers)
                for source in self.sources:
                    if self._is_closed:
                        break
                    yield from self._scan_one(source)
            finally:
                for pool in (self._pool, accelerator):
                    pool.shutdown(wait=True, cancel_futures=True)

    def _scan_one(self, source: Any) -> Iterator[dict[str, Any]]:
        name = _name(source)
        self.statistics.source = name
        reader = LogReader(self.pipe.processor, source, self.chunk_bytes, self.follow, self.idle_seconds)
        self._reader = reader
        cutter = Cutter(self.pipe.processor, **self.cut, max_waiting=self.max_waiting)
        before = copy.copy(self.statistics)
        if self._is_closed:
            return
        ahead = _ReadAhead(reader, lambda chunk: self._pool.submit(self._parse, chunk))
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
                        jobs.append(self._start(chunk, future.result(), cutter))
                        self._untrimmed += len(chunk.data)
                        ahead.room.release()
                else:
                    job = jobs.popleft()
                    self.statistics.bytes_read, self.statistics.total_bytes = reader.bytes_read, reader.total_bytes
                    self.statistics.cut_entries = before.cut_entries + reader.cut_entries
                    self.statistics.split_groups = before.split_groups + cutter.split_groups
                    yield from self._finish(job, name)
                    self._trim()
                    self.statistics.seconds = time.monotonic() - self._started
                    if self.on_progress is not None:
                        self.on_progress(self.statistics)
        finally:
            ahead.stop()
        if ahead.error is not None:  # Raised behind the results of what could be read.
            raise ahead.error
        if self.statistics.entries == before.entries and not (self.follow or self._is_closed):
            raise ValueError(f"{name or 'The log'} holds no entry: it is empty or all blank lines.")

    # ------------------------------------------------------------------ the steps

    def _parse(self, chunk: Chunk) -> ParsedLog:
        parsed, _ = self.pipe.processor.parse_batch([chunk.data], chunk.indentation)
        parsed.first_line = parsed.first_line + (chunk.first_line - 1)
        parsed.last_line = parsed.last_line + (chunk.first_line - 1)
        return parsed

    def _start(self, chunk: Chunk, parsed: ParsedLog, cutter: Cutter) -> _Job:
        """Cuts, encodes what is new, and hands new sequences to the model."""
        log, sequences = cutter.push(parsed, chunk.is_last, chunk.is_idle)
        if chunk.is_last:
            cutter.start()
        number_before = self.entries.next_number
        embeds, numbers, is_truncated = self.entries.embed(log.distinct.to_pylist(), self._encode)
        is_truncated = is_truncated[log.entry_index] | longer_than(log.text, self.pipe.processor.max_entry_characters)

        keys: list[bytes] = []
        verdicts: dict[bytes, Verdict | _Awaited] = {}
        new: dict[bytes, np.ndarray] = {}
        entry_numbers = numbers[log.entry_index]
        for positions in sequences:
            key = entry_numbers[positions].tobytes()
            keys.append(key)
            if key in verdicts or key in new:
                continue
            if key in self.cache.verdicts:
                self.cache.verdicts.move_to_end(key)
                verdicts[key] = self.cache.verdicts[key]
            elif key in self.awaited:
                verdicts[key] = self.awaited[key]
            else:
                new[key] = log.entry_index[positions]
        # Those of a length together, so that there is little padding.
        ordered = sorted(new, key=lambda key: -len(key))
        size = min(self.batch_size, max(1, -(-len(ordered) // self.workers)))
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            judging = self._model_pool.submit(self._judge, embeds, [new[key] for key in batch])
            self.awaited |= {key: _Awaited(judging, position) for position, key in enumerate(batch)}
        verdicts |= {key: self.awaited[key] for key in new}
        statistics = {
            "lines": chunk.data.count(b"\n") + bool(chunk.data),
            "entries": len(parsed),
            "replaced_bytes": chunk.replaced_bytes,
            "encoded_entries": self.entries.next_number - number_before,
            "judged_sequences": len(new),
            "truncated_entries": int(is_truncated[max(0, len(log) - len(parsed)) :].sum()),
        }
        return _Job(log, is_truncated, sequences, keys, verdicts, statistics)

    @torch.inference_mode()
    def _judge(self, embeds: torch.Tensor, sequences: list[np.ndarray]) -> list[Verdict]:
        with self.pipe.device_placement():  # A thread begins with the first GPU.
            logits, entry_scores = self.pipe.judge(embeds, sequences, len(sequences), self.model)
        # Copies: a view would keep its whole batch alive for as long as one of its verdicts is remembered.
        return [
            Verdict(row.copy(), scores.astype(np.float32)) for row, scores in zip(logits, entry_scores, strict=True)
        ]

    def _encode(self, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        token_ids, truncated = self.pipe.processor.tokenize(texts, self.max_log_entry_length)
        lengths = np.array([len(ids) for ids in token_ids])
        order = (-lengths).argsort(kind="stable")
        ordered = [token_ids[row] for row in order]
        size = ENTRIES_PER_TASK if self._model_pool is self._pool else len(ordered)
        tasks = [
            self._model_pool.submit(self._encode_batch, ordered[start : start + size])
            for start in range(0, len(ordered), size)
        ]
        embeds = torch.cat([task.result() for task in tasks])
        return embeds[torch.from_numpy(order.argsort()).to(embeds.device)], truncated

    @torch.inference_mode()
    def _encode_batch(self, token_ids: list[list[int]]) -> torch.Tensor:
        with self.pipe.device_placement():
            return self.pipe.encode(token_ids, self.model)

    def _trim(self) -> None:
        if self._untrimmed >= TRIM_BYTES:
            self._untrimmed = 0
            with contextlib.suppress(OSError, AttributeError):  # Other C libraries neither have it nor need it.
                ctypes.CDLL(None).malloc_trim(0)

    def _finish(self, job: _Job, source: str | None) -> Iterator[dict[str, Any]]:
        known: dict[bytes, Verdict] = {}
        for key, verdict in job.verdicts.items():
            if isinstance(verdict, _Awaited):
                verdict = verdict.batch.result()[verdict.position]
                self.awaited.pop(key, None)
                self.cache.verdicts[key] = verdict
            known[key] = verdict
        while len(self.cache.verdicts) > self.cache.max_sequences:
            self.cache.verdicts.popitem(last=False)
        for name, value in job.statistics.items():
            setattr(self.statistics, name, getattr(self.statistics, name) + value)
        if not job.sequences:
            return
        verdicts = [known[key] for key in job.keys]
        margins = [verdict.logits[1] - verdict.logits[0] for verdict in known.values()]
        # The sigmoid, in a form that does not overflow.
        highest = 0.5 + 0.5 * math.tanh(max(margins) / self.pipe.model.config.calibration_temperature / 2)
        self.statistics.highest_probability = max(self.statistics.highest_probability, highest)
        for result in self.pipe.sequence_results(
            job.log,
            job.sequences,
            np.stack([verdict.logits for verdict in verdicts]),
            [verdict.entry_scores for verdict in verdicts],
            job.is_truncated,
            self.threshold,
            source,
            self.only_anomalies,
        ):
            self.statistics.sequences += 1
            if result is not None:
                self.statistics.anomalies += result["label"] == "anomaly"
                yield result


def longer_than(text: pa.Array, max_characters: int) -> np.ndarray:
    """Bool `(entries,)`: the entry has more characters than are read."""
    longer = pc.greater(pc.binary_length(text), max_characters)
    if pc.any(longer).as_py():  # A character is at least a byte.
        longer = pc.greater(pc.utf8_length(text), max_characters)
    return longer.to_numpy(zero_copy_only=False).astype(bool)


def best_dtype(model: PreTrainedModel, device: torch.device) -> torch.dtype:
    """The fastest precision that fits: bfloat16 where the device computes in it and the model is large enough to gain.

    The weights' own precision where that is not float32.
    """
    if model.dtype != torch.float32:
        return model.dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Measured: below this width products are too small to gain.
    is_large = min(model.config.hidden_size, model.config.encoder_config.hidden_size) >= 256
    # Elsewhere bfloat16 is converted back and forth.
    is_fast = device.type == "cpu" and (_cpu_has("avx512_bf16") or _cpu_has("amx_bf16"))
    return torch.bfloat16 if is_large and is_fast else torch.float32


def _cpu_has(extension: str) -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(extension))


def _in_precision(model: Any, dtype: torch.dtype) -> Any:
    """The model itself or a copy in another precision; the routers stay as they are, for they decide."""
    if model.dtype == dtype:
        return model
    converted = copy.deepcopy(model).to(dtype)
    # Measured at 32 entries in bfloat16. Without AMX, attention written out takes two thirds of the time of torch's
    # own kernel; with AMX, the whole stack takes a tenth to a fifth longer by it.
    is_written_out = model.device.type == "cpu" and dtype == torch.bfloat16 and not _cpu_has("amx_bf16")
    # By their names, for adapters may wrap them: their file imports this one.
    for ours, theirs in zip(converted.modules(), model.modules(), strict=True):
        if type(ours).__name__ == "LogMoETopPRouter":
            ours.weight.data = theirs.weight.data
        if type(ours).__name__ == "LogMoESequenceStack" and is_written_out:
            ours.config._attn_implementation = "eager"
    return converted


def _use_one_thread(pool: ThreadPoolExecutor, workers: int) -> None:
    """Makes each of the pool's threads compute alone; the rest of the process computes as before."""
    threads = torch.get_num_threads()
    all_started = threading.Barrier(workers + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # At its first use a thread takes the process's number, which is now 1 too.
        all_started.wait()

    try:
        for _ in range(workers):
            pool.submit(start)
        all_started.wait()
    except BaseException:
        all_started.abort()  # or those that did start would wait for ever
        raise
    torch.set_num_threads(threads)  # What threads that start later compute with.


def _name(source: Any) -> str | None:
    """What results call a source: its path; None for a stream."""
    return str(source) if source != "-" and not hasattr(source, "read") else None


__all__ = ["Cutter", "EntryCache", "LogScan", "ScanCache", "ScanStatistics", "best_dtype", "longer_than"]
