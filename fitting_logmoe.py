"""Healthy logs in, a reference out: one pass over files of any size, or over logs in memory, after their beginnings.

The pipeline's `fit` calls it, and the scan of a file without a reference, which first becomes its own.
"""

import copy
import hashlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .folds_logmoe import OWN_FOLDS
from .grouping_logmoe import Entries
from .habits_logmoe import HORIZONS
from .measuring_logmoe import LogMeasure, TimeOrder
from .parsing_logmoe import EntryStream, ParsedLog
from .processing_logmoe import LogMoEProcessor
from .reading_logmoe import EmptyLogError, LogReader, split_lines
from .reference_logmoe import MAX_REFERENCE_ENTRIES, Encode, LogReference, Origin, ReferenceBuilder
from .sequences_logmoe import SequenceCutter, SequenceRule
from .services_logmoe import FIRST_LINES, ServiceCount, ServiceParts, Services, names_program
from .unwrapping_logmoe import Unwrapper
from .wording_logmoe import out_of_order

# Chunks that are masked at once.
CHUNKS_AHEAD = 2
# A log of fewer entries has no habits to be judged by.
FEWEST_SELF_ENTRIES = 256
# Bytes that are read at once of a log whose services are looked for.
BEGINNING_BYTES = 1 << 17
# Of many services each keeps so many at least.
FEWEST_KEPT = 1 << 14


def origin_of(model: Any, processor: LogMoEProcessor, rule: SequenceRule) -> Origin:
    """What a reference is made with, to be compared with what it is used with."""
    return Origin(
        rules=_digest_of(processor.rules()),
        encoder=encoder_digest(model),
        max_sequence_length=rule.max_sequence_length,
        window_seconds=rule.window_seconds,
        session_pattern=rule.session_pattern or None,
    )


def _digest_of(values: Any) -> str:
    """A digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def encoder_digest(model: Any) -> str:
    """A digest of the weights of a model's encoder, whatever precision it computes in."""
    known = getattr(model, "_encoder_digest", None)
    if known is None:
        digest = hashlib.sha256(model.config.entry_pooling.encode())
        for name, tensor in sorted(model.model.encoder.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            if tensor.is_floating_point():
                # bfloat16 is what all precisions have in common.
                digest.update(tensor.detach().cpu().to(torch.bfloat16).contiguous().view(torch.uint8).numpy().data)
        known = model._encoder_digest = digest.hexdigest()[:16]
    return known


class ReferenceFit:
    """Fits a reference to logs that come one after the other.

    Args:
        processor: reads and cuts them.
        rule: how.
        origin: see `origin_of`.
        max_reference_entries: see [`ReferenceBuilder`].
        services: of the logs, which are taken apart by them.
    """

    def __init__(
        self,
        processor: LogMoEProcessor,
        rule: SequenceRule,
        origin: Origin,
        max_reference_entries: int = MAX_REFERENCE_ENTRIES,
        services: Services | None = None,
    ):
        self.processor = processor
        self.rule = replace(rule, stride=None, fill_last=False)  # each entry once
        self.builder = ReferenceBuilder(origin, max_reference_entries, services)
        self.num_entries = 0  # each once, in however many sessions it is

    def add_parsed(self, parsed: ParsedLog) -> str | None:
        """Takes a whole log; returns what is to be said of its order, see `out_of_order`."""
        return self._add([(with_places(parsed, self.processor), True)])

    def _add(self, chunks: Iterable[tuple[ParsedLog, bool]], max_waiting_entries: int = 65536) -> str | None:
        """Takes a log, see `read_parsed`; returns what is to be said of its order."""
        self.builder.start_log()
        cutters = ServiceCutters(self.rule, self.processor, max_waiting_entries, self.builder.services)
        # Each service by its own clock: they need not agree.
        orders: dict[int, TimeOrder] = {}
        before = self.num_entries
        for parsed, is_last in chunks:
            self.num_entries += len(parsed)
            for service, log, sequences, _ in cutters.push(parsed, is_last):
                self.builder.add(log, sequences, service)
                assert log.number is not None
                assert log.seconds is not None
                orders.setdefault(service, TimeOrder()).add(log.number, log.seconds)
        return out_of_order(sum(order.num_backward for order in orders.values()), self.num_entries - before)

    def add_source(
        self,
        source: Any,
        encoding: str | None,
        chunk_bytes: int,
        max_waiting_entries: int,
        num_workers: int = 2,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> str | None:
        """Takes a log from where `find_logs` found it.

        Args:
            on_progress: called after each chunk with the bytes read, as stored, and the log's size, None if unknown.

        Returns:
            What is to be said of its order, see `out_of_order`.

        Raises:
            EmptyLogError: it has no entries.
        """
        before = self.num_entries
        chunks = read_parsed(source, self.processor, encoding, chunk_bytes, num_workers, on_progress)
        said = self._add(chunks, max_waiting_entries)
        if self.num_entries == before:
            raise EmptyLogError(f"no log entries in {source}: it is empty or all blank lines")
        return said

    def finish(self) -> LogReference:
        """The reference, without embeddings."""
        return self.builder.finish()

    def finish_own(self) -> LogReference | None:
        """The reference of a log that is to be judged by its own other blocks; None if these are too few entries."""
        if self.num_entries < FEWEST_SELF_ENTRIES or not self.builder.num_entries:
            return None
        reference = self.finish()
        reference.folds = OWN_FOLDS
        return reference if reference.can_judge_itself(self.rule.max_sequence_length) else None


# Embeddings float32 `(distinct, encoder_hidden)` of what is read of a log's distinct entries.
Embed = Callable[[LogMeasure, ParsedLog], np.ndarray]


class StreamMemory:
    """What is remembered of a stream that comes to be judged against another reference as it goes on.

    Args:
        renew_at: number of the first entry that is.

    Attributes:
        renew_at: the same, of the next reference.
    """

    RECENT = HORIZONS[-1] + 128

    def __init__(self, renew_at: int):
        self.renew_at = renew_at

    def add(self, log: ParsedLog, sequences: list[np.ndarray]) -> None:
        """Takes sequences that were judged."""
        raise NotImplementedError

    def keep_recent(self, log: ParsedLog) -> None:
        """Remembers the last of these entries, at most `RECENT`, if they are needed."""

    def renew(self, encode: Encode) -> LogReference:
        """The reference from now on."""
        raise NotImplementedError

    def resume(self, measure: LogMeasure, number: int, order: TimeOrder | None, embed: Embed) -> None:
        """Brings what measures the stream against a new reference to where it stands.

        Args:
            number: of the first entry of the sequences that come next.
            order: of the entries so far.
            embed: embeddings of a log's distinct entries.
        """
        raise NotImplementedError


class StreamPast(StreamMemory):
    """What a stream is judged by that nothing else is known of: all that came before, renewed as it doubles.

    Args:
        origin: see `origin_of`.

    Attributes:
        recent: the last entries of the chunks before.
    """

    FIRST = 1024

    def __init__(self, origin: Origin):
        super().__init__(self.FIRST)
        self.builder = ReferenceBuilder(origin)
        self.recent: ParsedLog | None = None
        self._next = 0  # number of the first entry that is not in the past yet
        self._known: dict[str, np.ndarray] = {}

    def add(self, log: ParsedLog, sequences: list[np.ndarray]) -> None:
        """Takes sequences that were judged; entries of overlapping ones once."""
        assert log.number is not None
        new = [sequence[log.number[sequence] >= self._next] for sequence in sequences]
        new = [sequence for sequence in new if len(sequence)]
        if new:
            # As one: what overlaps is cut unevenly.
            positions = np.unique(np.concatenate(new))
            self._next = int(log.number[positions[-1]]) + 1
            length = self.builder.origin.max_sequence_length
            # Without what follows them: no text of the future is known.
            self.builder.add(
                log.take(positions), np.split(np.arange(len(positions)), np.arange(length, len(positions), length))
            )

    def before(self, number: int) -> ParsedLog | None:
        """The recent entries among the last `RECENT` before this one."""
        if self.recent is None:
            return None
        assert self.recent.number is not None
        numbers = self.recent.number
        return self.recent.take(np.flatnonzero((numbers >= number - self.RECENT) & (numbers < number)))

    def keep_recent(self, log: ParsedLog) -> None:
        if len(log):
            both = log if self.recent is None else self.recent + log
            assert both.number is not None
            # The first ones are those that waited in the log before.
            _, places = np.unique(both.number, return_index=True)
            self.recent = both.take(places[-self.RECENT :])

    def renew(self, encode: Encode) -> LogReference:
        """The reference of all that came before."""
        self.renew_at = 2 * max(self.renew_at, self._next)
        reference = self.builder.finish(self._known or None).encode(encode)
        self._known = dict(zip(reference.templates.texts, reference.embeddings, strict=True))
        return reference

    def resume(self, measure: LogMeasure, number: int, order: TimeOrder | None, embed: Embed) -> None:
        measure.start_at(self.before(number), number, order)


class ServiceCutters:
    """Cuts a log into the sequences of each of its services, as if each had written a log of its own.

    Args:
        rule, parser, max_waiting_entries: see [`SequenceCutter`].
        services: that are told apart.
        is_stream: what a service wrote is not to wait until it has written a whole sequence.
    """

    # After so many entries of a stream what waits is given out as it is, filled up with what was judged before, if it
    # is a quarter of a sequence, or has waited so many times: the fewer, the more often the same entries are judged.
    STREAM_ENTRIES, QUARTER, LONGEST_WAIT = 512, 4, 16

    def __init__(
        self,
        rule: SequenceRule,
        parser: LogMoEProcessor,
        max_waiting_entries: int,
        services: Services | None = None,
        is_stream: bool = False,
    ):
        self._every = self.STREAM_ENTRIES if services and is_stream else None
        self._fewest = max(1, rule.max_sequence_length // self.QUARTER)
        self._waits: dict[int, int] = {}  # by service, how many times
        self._new = lambda: SequenceCutter(rule, parser, max_waiting_entries)
        self._parts = ServiceParts(services or Services())
        self._cutters: dict[int, SequenceCutter] = {}

    @property
    def split_sessions(self) -> int:
        """See [`SequenceCutter`]."""
        return sum(cutter.split_sessions for cutter in self._cutters.values())

    def push(
        self, parsed: ParsedLog, is_last: bool = False, is_idle: bool = False
    ) -> list[tuple[int, ParsedLog, list[np.ndarray], int]]:
        """Takes the next entries of the log; see [`SequenceCutter.push`].

        Returns:
            Of each service its number, entries, the sequences that are complete, and how many of the entries are new.
        """
        found = []
        if self._every is not None and len(parsed):
            assert parsed.number is not None
            # At places of the stream, so that nothing hangs on how it comes.
            nothing = parsed.take(np.arange(0))
            ends = np.flatnonzero((parsed.number + 1) % self._every == 0) + 1
            for part in np.split(np.arange(len(parsed)), ends)[: len(ends)]:
                found += self._push(parsed.take(part), False, False) + self._push_waiting(nothing)
            parsed = parsed.take(np.arange(ends[-1] if len(ends) else 0, len(parsed)))
        return found + self._push(parsed, is_last, is_idle)

    def _push_waiting(self, nothing: ParsedLog) -> list[tuple[int, ParsedLog, list[np.ndarray], int]]:
        """What has waited for too long."""
        found = []
        for service, cutter in self._cutters.items():
            number = cutter.num_waiting
            self._waits[service] = self._waits.get(service, 0) + 1 if number else 0
            if number >= self._fewest or self._waits[service] >= self.LONGEST_WAIT:
                self._waits[service] = 0
                found.append((service, *cutter.push(nothing, False, True), 0))
        return found

    def _push(
        self, parsed: ParsedLog, is_last: bool, is_idle: bool
    ) -> list[tuple[int, ParsedLog, list[np.ndarray], int]]:
        parts = self._parts.of(parsed)
        if is_last or is_idle:
            parts |= {service: parsed.take(np.arange(0)) for service in self._cutters if service not in parts}
        found = []
        for service, log in parts.items():
            if service not in self._cutters:
                self._cutters[service] = self._new()
            found.append((service, *self._cutters[service].push(log, is_last, is_idle), len(log)))
        return found


def most_of_own(services: Services) -> int:
    """Entries that are kept of each service of a log that is judged by itself: of all together hardly more."""
    return max(MAX_REFERENCE_ENTRIES // (len(services) + 1), FEWEST_KEPT)


class OwnReferences:
    """What a log is judged by that is judged by itself: of each of its services its own other blocks.

    Args:
        processor, rule, origin, services: see [`ReferenceFit`].
        max_waiting_entries: see [`SequenceCutter`].
    """

    def __init__(
        self,
        processor: LogMoEProcessor,
        rule: SequenceRule,
        origin: Origin,
        services: Services,
        max_waiting_entries: int = 65536,
    ):
        self._new = lambda: ReferenceFit(processor, rule, origin, most_of_own(services))
        self._fits: dict[int, ReferenceFit] = {}
        rule = replace(rule, stride=None, fill_last=False)
        self._cutters = ServiceCutters(rule, processor, max_waiting_entries, services)

    def add(self, parsed: ParsedLog, is_last: bool) -> None:
        """Takes the next entries of the log, with `seconds` and `number`."""
        for service, log, sequences, num_new in self._cutters.push(parsed, is_last):
            if service not in self._fits:
                self._fits[service] = self._new()
            self._fits[service].builder.add(log, sequences)
            self._fits[service].num_entries += num_new

    def finish(self) -> dict[int, LogReference | None]:
        """The reference of each service, without embeddings; None of too few entries."""
        return {service: fit.finish_own() for service, fit in self._fits.items()}


def services_of_source(source: Any, processor: LogMoEProcessor, encoding: str | None) -> Services:
    """The services that wrote a log, by its beginning, see [`ServiceCount`]."""
    return ServiceCount().add_all(read_entries(source, processor, encoding), processor).services()


def read_entries(source: Any, processor: LogMoEProcessor, encoding: str | None) -> Iterator[Entries]:
    """The entries of a log as they are complete, not masked yet; none if its first lines name no programs."""
    reader = LogReader(source, BEGINNING_BYTES, 4 * processor.max_entry_characters, encoding, False, 0.0)
    # Without a look at more than what wraps the lines: most logs name none.
    unwrapper, left = Unwrapper(processor.transports), FIRST_LINES
    chunks, read = iter(reader), []
    for chunk in chunks:
        read.append(chunk)
        program = unwrapper.unwrap(split_lines(chunk.data.removesuffix(b"\n"))).program.slice(0, left)
        left -= len(program)
        if names_program(program):
            stream = EntryStream(processor, BEGINNING_BYTES)
            yield from (stream.push(lines).entries for lines in itertools.chain(read, chunks))
        if left <= 0:
            return


def read_parsed(
    source: Any,
    processor: LogMoEProcessor,
    encoding: str | None,
    chunk_bytes: int,
    num_workers: int,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Iterator[tuple[ParsedLog, bool]]:
    """The entries of a log, as they are complete, and whether these are the last ones."""
    reader = LogReader(source, chunk_bytes, 4 * processor.max_entry_characters, encoding, False, 0.0)
    stream = EntryStream(processor, chunk_bytes)
    headers, number = processor.time_reader(), 0
    with ThreadPoolExecutor(num_workers, "logmoe-fit") as pool:
        for chunk, parsed in _ahead(pool, (stream.push(lines) for lines in reader), processor):
            parsed = with_places(parsed, processor, headers, number)
            number += len(parsed)
            yield parsed, chunk.is_last
            if on_progress is not None:
                on_progress(reader.bytes_read, reader.total_bytes)


def _ahead(pool: ThreadPoolExecutor, chunks: Iterable[Any], processor: LogMoEProcessor) -> Any:
    """Masks chunks of entries while those before them are used; gives each with what became of it."""
    waiting: deque[Any] = deque()
    problem = None
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(processor.masked, chunk.entries, chunk.replaced_bytes)))
            if len(waiting) > CHUNKS_AHEAD:
                done, future = waiting.popleft()
                yield done, future.result()
    except Exception as error:  # what came before is used
        problem = error
    for done, future in waiting:
        yield done, future.result()
    if problem is not None:
        raise problem


def with_places(parsed: ParsedLog, processor: LogMoEProcessor, headers: Any = None, first: int = 0) -> ParsedLog:
    """The same entries with `seconds` and `number`; those that have both are as they are.

    Args:
        headers: reader of this log's headers, if it comes in chunks.
        first: number of the first of them.
    """
    if parsed.seconds is not None and parsed.number is not None:
        return parsed
    placed = copy.copy(parsed)
    placed.seconds = processor.timestamps(parsed, headers) if len(parsed) else np.empty(0)
    placed.number = np.arange(first, first + len(parsed))
    return placed


__all__ = [
    "FEWEST_SELF_ENTRIES",
    "Embed",
    "OwnReferences",
    "ReferenceFit",
    "ServiceCutters",
    "StreamMemory",
    "StreamPast",
    "encoder_digest",
    "most_of_own",
    "origin_of",
    "read_entries",
    "read_parsed",
    "services_of_source",
    "with_places",
]
