"""Lines in, masked entries out: lines are grouped into entries, their variable parts masked, equal entries found.

`LogParser` holds the rules and parses logs that are in memory, one or many at once; `EntryStream` lets it parse a log
that arrives in chunks. Every step works on whole Arrow columns. Called by the processor, which is a `LogParser` with a
tokenizer, and by the scan.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .headers_logmoe import SEVERITY_RULES, TIME_RULES, HeaderReader, Headers
from .masking_logmoe import Shapes, mask_distinct
from .reading_logmoe import Chunk, split_lines, to_utf8
from .rules_logmoe import (
    BLOCKS,
    CONTINUATION_PATTERN,
    DIRECTIVE_PATTERN,
    EXCEPTION_PATTERN,
    INDENTED_ENTRY_PATTERN,
    MASKS,
    PLACEHOLDER,
    TEXT_PATTERN,
    TIMED_ENTRY_PATTERN,
    TRACEBACK_PATTERN,
    check_pattern,
    dictionary_indices,
    matches,
)
from .unwrapping_logmoe import TRANSPORTS, InnerLines, Unwrapper, strip_colour, visible

# How much of an entry that does not end is held back before it is given out unfinished, at least.
MAX_ENTRY_BYTES = 1 << 20


@dataclass
class Entries:
    """Entries of one log or of many, one log after the other.

    Attributes:
        text: the entries without what a transport put around them, large strings `(entries,)`; the lines of an entry
            are joined by newlines.
        first_line, last_line: int64 `(entries,)`, one-based physical lines; positions if a log is a list of entries.
        counts: int64 `(logs,)`, the number of entries of each log.
        time: the transport's time for each entry as written, large strings `(entries,)`; None if no log has any.
        severity: the transport's severity, int8 `(entries,)`, a row of `SEVERITY_WORDS` or -1; None likewise.
    """

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    counts: np.ndarray
    time: pa.Array | None = None
    severity: np.ndarray | None = None

    def take(self, positions: np.ndarray) -> "Entries":
        """Some of the entries, as those of one log."""
        return Entries(
            self.text.take(pa.array(positions)),
            self.first_line[positions],
            self.last_line[positions],
            np.array([len(positions)]),
            None if self.time is None else self.time.take(pa.array(positions)),
            None if self.severity is None else self.severity[positions],
        )


@dataclass
class ParsedLog:
    """A log as entries, and its distinct masked entries.

    Attributes:
        text, first_line, last_line, time, severity: see [`Entries`].
        entry_index: int64 `(entries,)`, the row of each entry in `distinct`.
        distinct: the distinct masked entries, large strings, in order of first appearance.
        replaced_bytes: how many bytes were not valid UTF-8 and became U+FFFD.
    """

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    entry_index: np.ndarray
    distinct: pa.Array
    replaced_bytes: int = 0
    time: pa.Array | None = None
    severity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.entry_index)

    def take(self, positions: np.ndarray) -> "ParsedLog":
        """The entries at these positions, with the rows of `distinct` that they need."""
        rows, entry_index = np.unique(self.entry_index[positions], return_inverse=True)
        return ParsedLog(
            self.text.take(pa.array(positions)),
            self.first_line[positions],
            self.last_line[positions],
            entry_index.astype(np.int64),
            self.distinct.take(pa.array(rows)),
            time=None if self.time is None else self.time.take(pa.array(positions)),
            severity=None if self.severity is None else self.severity[positions],
        )

    def __add__(self, other: "ParsedLog") -> "ParsedLog":
        """This log followed by the other."""
        both = pc.dictionary_encode(pa.concat_arrays([self.distinct, other.distinct]))
        rows = dictionary_indices(both)
        logs, sizes = (self, other), (len(self), len(other))
        time = severity = None
        if self.time is not None or other.time is not None:
            time = _concatenated([log.time for log in logs], sizes)
        if self.severity is not None or other.severity is not None:
            pairs = zip(logs, sizes, strict=True)
            unknown = [np.full(n, -1, np.int8) if log.severity is None else log.severity for log, n in pairs]
            severity = np.concatenate(unknown)
        return ParsedLog(
            pa.concat_arrays([self.text, other.text]),
            np.concatenate([self.first_line, other.first_line]),
            np.concatenate([self.last_line, other.last_line]),
            rows[np.concatenate([self.entry_index, other.entry_index + len(self.distinct)])],
            both.dictionary,
            self.replaced_bytes + other.replaced_bytes,
            time,
            severity,
        )


def _concatenated(arrays: Sequence[pa.Array | None], sizes: Sequence[int]) -> pa.Array:
    """Strings one after the other, with nulls in place of an array that is None."""
    kind = pa.large_string()
    return pa.concat_arrays([pa.nulls(n, kind) if a is None else a for a, n in zip(arrays, sizes, strict=True)])


class LogParser:
    r"""Groups the lines of a log into entries and masks them. All patterns are RE2.

    Args:
        masks (`list` of `dict`): variable parts to replace, in order: `pattern`, `replacement` (`\1` is the pattern's
            first group) and, if the replacement holds a placeholder such as `<IP>`, `phrase`, its meaning in words.
        entry_pattern (`str`, *optional*): what starts an entry. By default every line that does not match
            `continuation_pattern`.
        continuation_pattern (`str`): what continues the entry above.
        exception_pattern (`str`): the line that names an exception. It continues the message above or ends a Python
            traceback; after another exception or its frames it starts an entry.
        indented_entry_pattern (`str`): indented lines that start an entry all the same.
        directive_pattern (`str`, *optional*): lines that say how to read the log, and belong to no entry.
        blocks (`list` of `dict`): entries of several lines, whatever is in them; see `BLOCKS` in `rules_logmoe.py`.
        transports (`list` of `dict`): what may wrap a line; see `TRANSPORTS` in `unwrapping_logmoe.py`.
        time_rules, severity_rules (`list` of `dict`): how the header of an entry is read; see `headers_logmoe.py`.
        max_entry_characters (`int`): characters of an entry that are read; a longer entry is flagged as truncated.

    Raises:
        ValueError: a pattern is not RE2, a placeholder has no phrase, or a length is below 1.
    """

    def __init__(
        self,
        masks: list[dict[str, Any]] | None = None,
        entry_pattern: str | None = None,
        continuation_pattern: str = CONTINUATION_PATTERN,
        exception_pattern: str = EXCEPTION_PATTERN,
        indented_entry_pattern: str = INDENTED_ENTRY_PATTERN,
        directive_pattern: str | None = DIRECTIVE_PATTERN,
        blocks: list[dict[str, Any]] | None = None,
        transports: list[dict[str, Any]] | None = None,
        time_rules: list[dict[str, Any]] | None = None,
        severity_rules: list[dict[str, Any]] | None = None,
        header_pattern: str | None = None,
        max_entry_characters: int = 8192,
    ):
        def rules(given: list[dict[str, Any]] | None, default: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [dict(rule) for rule in (default if given is None else given)]

        self.masks = rules(masks, MASKS)
        self.entry_pattern = entry_pattern
        self.continuation_pattern = continuation_pattern
        self.exception_pattern = exception_pattern
        self.indented_entry_pattern = indented_entry_pattern
        self.directive_pattern = directive_pattern
        self.blocks = rules(blocks, BLOCKS)
        self.transports = rules(transports, TRANSPORTS)
        self.time_rules = rules(time_rules, TIME_RULES)
        self.severity_rules = rules(severity_rules, SEVERITY_RULES)
        self.header_pattern = header_pattern
        self.max_entry_characters = check_integer("max_entry_characters", max_entry_characters, 1)
        self._check_rules()

    def _check_rules(self) -> None:
        for name in (
            "entry_pattern",
            "continuation_pattern",
            "exception_pattern",
            "indented_entry_pattern",
            "directive_pattern",
            "header_pattern",
        ):
            if getattr(self, name) is not None:
                check_pattern(name, getattr(self, name))
        if self.header_pattern is not None and "(?P<timestamp>" not in self.header_pattern:
            raise ValueError(f"`header_pattern` needs a group named `timestamp`, got {self.header_pattern!r}.")
        for name in ("blocks", "transports", "time_rules", "severity_rules"):
            for rule in getattr(self, name):
                for key in ("pattern", "start", "end"):
                    if key in rule:
                        check_pattern(name, rule[key])
        for mask in self.masks:
            if not {"pattern", "replacement"} <= set(mask):
                raise ValueError(f"A mask needs `pattern` and `replacement`, got {mask}.")
            check_pattern("masks", mask["pattern"], mask["replacement"])
            if PLACEHOLDER.search(mask["replacement"]) and not mask.get("phrase"):
                raise ValueError(f"The mask {mask} needs a `phrase` that says what its placeholder stands for.")

    # ------------------------------------------------------------------ logs in memory

    def parse(self, log: str | bytes | Sequence[str]) -> ParsedLog:
        """Parses one log.

        Args:
            log: text of any number of lines, its bytes, or a list of entries.

        Raises:
            ValueError: the log is not text, or has no entries.
        """
        parsed, _ = self.parse_batch([log])
        if len(parsed) == 0:
            raise ValueError("no log entries: the log is empty or all blank lines")
        return parsed

    def parse_batch(self, logs: Sequence[str | bytes | Sequence[str]]) -> tuple[ParsedLog, np.ndarray]:
        """Parses many logs at once, each as `parse` would; small logs take a twentieth of the time.

        Args:
            logs: each as for `parse`, except that a log without entries is no error here.

        Returns:
            The entries of all logs, one log after the other, with lines counted within each log and one common
            `distinct`; and `offsets`, int64 `(logs + 1,)`: the entries of log i are `offsets[i]:offsets[i + 1]`.

        Raises:
            ValueError: a log is not text.
        """
        texts, line_counts, entry_counts = [], [], []
        given: list[str] = []
        replaced_bytes = 0
        for log in logs:
            if isinstance(log, str | bytes):
                data, replaced = to_utf8(log)
                replaced_bytes += replaced
                texts.append(data)
                line_counts.append(data.count(b"\n") + 1)
            elif isinstance(log, list | tuple) and all(isinstance(entry, str) for entry in log):
                for entry in log:
                    data, replaced = to_utf8(entry)
                    replaced_bytes += replaced
                    given.append(data.decode())
                entry_counts.append(len(log))
            else:
                kind = f"a list of {_type_names(log)}" if isinstance(log, list | tuple) else type(log).__name__
                raise ValueError(
                    f"A log must be a str of one or more lines or a list of entries (list of str), got {kind}."
                )
        groups = []
        if texts:
            groups.append(self._parse_lines(split_lines(b"\n".join(texts)), np.array(line_counts)))
        if entry_counts:
            groups.append(_given_entries(pa.array(given, pa.large_string()), np.array(entry_counts)))
        if len(groups) == 2:
            entries = _interleave(groups, [isinstance(log, list | tuple) for log in logs])
        else:
            nothing = np.empty(0, dtype=np.int64)
            entries = groups[0] if groups else Entries(pa.array([], pa.large_string()), nothing, nothing, nothing)
        return self.masked(entries, replaced_bytes), np.append(0, entries.counts.cumsum()).astype(np.int64)

    def _parse_lines(self, lines: pa.Array, line_counts: np.ndarray) -> Entries:
        """The lines of many whole logs, one after the other, as entries."""
        ends = line_counts.cumsum()
        number = np.arange(len(lines)) - np.repeat(ends - line_counts, line_counts) + 1
        if self.transports:
            unwrapper, unwrapped = Unwrapper(self.transports), []
            for end, count in zip(ends, line_counts, strict=True):
                unwrapper.start()
                unwrapped.append(unwrapper.unwrap(lines.slice(end - count, count)))
            inner = InnerLines.concatenate(unwrapped)
        else:
            inner = InnerLines.of(lines)
        log_of_line = np.repeat(np.arange(len(ends)), line_counts)
        return self.group(inner, np.stack([number, number], axis=1), log_of_line).entries()

    def masked(self, entries: Entries, replaced_bytes: int = 0) -> ParsedLog:
        """Masks entries and finds the distinct ones."""
        entry_index, distinct = mask_distinct(entries.text, self.masks, self.max_entry_characters)
        return ParsedLog(
            entries.text,
            entries.first_line,
            entries.last_line,
            entry_index,
            distinct,
            replaced_bytes,
            entries.time,
            entries.severity,
        )

    def mask(self, text: pa.Array | Sequence[str]) -> pa.Array:
        """Masks entries.

        Args:
            text: entries, an Arrow array of strings or a list of str.

        Returns:
            The masked entries, large strings of the same length.
        """
        entries = text.cast(pa.large_string()) if isinstance(text, pa.Array) else pa.array(text, pa.large_string())
        entry_index, distinct = mask_distinct(entries, self.masks, self.max_entry_characters)
        return distinct.take(pa.array(entry_index))

    # ------------------------------------------------------------------ lines to entries

    def group(
        self,
        lines: InnerLines,
        numbers: np.ndarray,
        log_of_line: np.ndarray,
        indentation: int | None = None,
    ) -> "Grouping":
        """Groups lines into entries, log by log and, within a log, stream by stream.

        Args:
            lines: of all logs.
            numbers: int64 `(lines, 2)`, the first and last physical line, one-based in its log, that each stands for.
            log_of_line: `(lines,)`, ascending.
            indentation: characters of white space that the lines of a log share; by default each log is looked at.
        """
        num_logs = int(log_of_line[-1]) + 1 if len(log_of_line) else 0
        group = log_of_line
        if len(lines.stream) and (lines.stream != lines.stream[0]).any():
            streams, stream = np.unique(lines.stream, return_inverse=True)
            group = log_of_line * len(streams) + stream
            order = group.argsort(kind="stable")
            lines, numbers, log_of_line, group = lines.take(order), numbers[order], log_of_line[order], group[order]
        if lines.joins.any() or lines.joined.any():
            lines, first, last = lines.together(group)
            numbers = np.stack([numbers[first, 0], numbers[last, 1]], axis=1)
            log_of_line, group = log_of_line[first], group[first]
        shapes = Shapes(lines.message)
        is_text = shapes.match(TEXT_PATTERN)
        if self.directive_pattern is not None:
            is_text &= ~shapes.match(self.directive_pattern)
        if not is_text.all():  # blank lines neither end nor start an entry
            kept = np.flatnonzero(is_text)
            shapes, lines, numbers = shapes.take(kept), lines.take(kept), numbers[kept]
            log_of_line, group = log_of_line[kept], group[kept]
        if not len(log_of_line):
            nothing = np.empty(0, dtype=np.int64)
            return Grouping(lines, numbers, log_of_line, nothing, nothing, num_logs)
        group_starts = np.append(True, group[1:] != group[:-1])
        if self.entry_pattern is not None:
            starts = shapes.match(self.entry_pattern)
        else:
            starts = self._entry_starts(shapes, group_starts, indentation)
        return Grouping(lines, numbers, log_of_line, group, np.flatnonzero(starts | group_starts | lines.starts), num_logs)

    def _entry_starts(self, lines: Shapes, log_starts: np.ndarray, indentation: int | None) -> np.ndarray:
        """Which lines start an entry by the default rules, bool `(lines,)`; `log_starts`: the first of each log."""
        first_of_log = np.flatnonzero(log_starts)
        log_of_line = log_starts.cumsum() - 1
        common = np.minimum.reduceat(_indentation(lines.distinct)[lines.index], first_of_log)[log_of_line]
        if indentation is not None:
            common = np.minimum(common, indentation)
        for width in np.unique(common[common > 0]):  # a log pasted from an indented place
            dedented = pc.utf8_slice_codeunits(lines.text, int(width))
            lines = Shapes(pc.if_else(pa.array(common == width), dedented, lines.text))
        exception = lines.match(self.exception_pattern)
        indented = lines.match(r"^[ \t]")
        starts = ~(lines.match(self.continuation_pattern) | exception) | lines.match(self.indented_entry_pattern)

        position = np.arange(len(lines.index))
        log_start = first_of_log[log_of_line]

        def latest(which: np.ndarray) -> np.ndarray:
            return np.maximum.accumulate(np.where(which, position, -1))

        def before(places: np.ndarray) -> np.ndarray:
            return np.append(-1, places[:-1])

        # A Python traceback is open from its first line to the first that is not indented, which ends it.
        traceback = before(latest(lines.match(TRACEBACK_PATTERN)))
        ended = before(latest(~indented & ~lines.match(TRACEBACK_PATTERN)))
        ends_traceback = (traceback > ended) & (traceback >= log_start) & ~indented
        starts &= ~ends_traceback
        follows_trace = np.append(False, (exception | indented)[:-1]) & ~log_starts
        starts |= exception & follows_trace & ~ends_traceback
        return self._with_blocks(lines, starts, log_start, latest, before)

    def _with_blocks(
        self,
        lines: Shapes,
        starts: np.ndarray,
        log_start: np.ndarray,
        latest: Callable[[np.ndarray], np.ndarray],
        before: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Keeps the lines of a block together, see `BLOCKS` in `rules_logmoe.py`."""
        block_starts = [lines.match(block["start"]) for block in self.blocks]
        if not any(which.any() for which in block_starts):
            return starts
        timed = lines.match(TIMED_ENTRY_PATTERN)
        any_start = np.any(block_starts, axis=0)
        position = np.arange(len(starts))
        for block, which in zip(self.blocks, block_starts, strict=True):
            if not which.any():
                continue
            opened = which & ~np.append(False, which[:-1])
            opening = latest(opened)
            inside = (opening >= log_start) & (position > opening) & (opening > latest((any_start & ~which) | timed))
            if "end" in block:
                inside &= opening > before(latest(lines.match(block["end"])))
            if "lines" in block:
                inside &= position - opening <= block["lines"]
            starts = (starts | opened) & ~inside
        return starts

    # ------------------------------------------------------------------ headers

    def header_reader(self) -> HeaderReader:
        """Reads the headers of one log, which may come in chunks."""
        return HeaderReader(self.time_rules, self.severity_rules)

    def headers(self, parsed: ParsedLog, reader: HeaderReader | None = None) -> Headers:
        """The time and severity of each entry: its own, or else its transport's.

        Args:
            parsed: a log, or the next entries of one.
            reader: of this log, if it comes in chunks.
        """
        reader = reader or self.header_reader()
        text = parsed.text
        if self.header_pattern is not None:
            text = pc.struct_field(pc.extract_regex(text, self.header_pattern), "timestamp").fill_null("")
        headers = reader.read(text)
        if self.header_pattern is not None:
            headers.severity = self.header_reader().read(parsed.text).severity
        if parsed.time is not None and not headers.has_time.all():
            headers.fill_times(self.header_reader().read(parsed.time.fill_null("")))
        if parsed.severity is not None:
            headers.severity = np.where(headers.severity < 0, parsed.severity, headers.severity)
        return headers

    def timestamps(self, parsed: ParsedLog, reader: HeaderReader | None = None) -> np.ndarray:
        """The time of each entry in seconds since 1970 (UTC if its zone is known), float64 `(entries,)`; NaN if none."""
        headers = self.headers(parsed, reader)
        return np.where(headers.has_time, headers.seconds + headers.nanoseconds * 1e-9, np.nan)


@dataclass
class Grouping:
    """Lines, and which of them start an entry.

    Attributes:
        lines: without blank ones, those of a stream together.
        numbers: int64 `(lines, 2)`, first and last physical line.
        log: `(lines,)`, the log of each line.
        group: `(lines,)`, equal for the lines of one stream of one log.
        first: `(entries,)`, the position of each entry's first line.
        num_logs: how many logs there are.
    """

    lines: InnerLines
    numbers: np.ndarray
    log: np.ndarray
    group: np.ndarray
    first: np.ndarray
    num_logs: int

    def entries(self) -> Entries:
        """The entries, ordered by log and first line."""
        first, text = self.first, self.lines.text
        last = np.append(first[1:], len(text)) - 1 if len(first) else first
        if len(first) < len(text):
            offsets = pa.array(np.append(first, len(text)), pa.int64())
            text = pc.binary_join(pa.LargeListArray.from_arrays(offsets, text), pa.scalar("\n", text.type))
        counts = np.bincount(self.log[first], minlength=self.num_logs).astype(np.int64)
        entries = Entries(text, self.numbers[first, 0], self.numbers[last, 1], counts)
        if self.lines.is_wrapped.any():
            entries.time, entries.severity = self.lines.time.take(pa.array(first)), self.lines.severity[first]
        order = np.lexsort((entries.first_line, self.log[first]))
        if (np.diff(order) < 0).any():
            entries = entries.take(order)
            entries.counts = counts
        return entries

    def held_from(self, max_bytes: int) -> tuple[int | None, int]:
        """From which physical line on the lines of a log that goes on must be held back, and what is given up.

        The last entry of each stream may go on, and entries are given out in the order of their first lines.

        Args:
            max_bytes: how much text may be held back; if it is more, the oldest open entries are given out as they are.

        Returns:
            The number of the line, None to hold nothing back; and how many open entries are given out unfinished.
        """
        if not len(self.first):
            return None, 0
        is_last = np.append(self.group[self.first][1:] != self.group[self.first][:-1], True)
        starts = np.sort(self.numbers[self.first[is_last], 0])
        entry_of_line = np.searchsorted(self.first, np.arange(len(self.group)), side="right") - 1
        entry_start = self.numbers[self.first[entry_of_line], 0]
        sizes = pc.binary_length(self.lines.text).to_numpy(zero_copy_only=False)
        for given_up, start in enumerate(starts):
            if sizes[entry_start >= start].sum() <= max_bytes:
                return int(start), given_up
        return None, len(starts)

    def lines_from(self, number: int) -> tuple[InnerLines, np.ndarray]:
        """The lines, with their numbers, of the entries that start at a physical line or after it."""
        entry_of_line = np.searchsorted(self.first, np.arange(len(self.group)), side="right") - 1
        held = np.flatnonzero(self.numbers[self.first[entry_of_line], 0] >= number)
        held = held[self.numbers[held, 0].argsort(kind="stable")]
        return self.lines.take(held), self.numbers[held]


@dataclass
class EntryChunk:
    """Entries that are complete, out of a log that arrives in chunks.

    Attributes:
        entries: in the order of their first lines.
        num_lines, num_bytes: what was read of the log since the last chunk of entries.
        replaced_bytes, is_last, is_idle: see [`Chunk`].
        formats: names of the transports of these lines.
    """

    entries: Entries
    num_lines: int
    num_bytes: int
    replaced_bytes: int
    is_last: bool
    is_idle: bool
    formats: set[str]


class EntryStream:
    """Groups a log that arrives in chunks: takes chunks of whole lines, gives the entries that are complete.

    The lines of open entries, which the next chunk may continue, are held back, so that entries do not depend on where
    chunks end. Masking what comes out (`LogParser.masked`) may be done in any order, by any thread.

    Args:
        parser: says where entries start.
        chunk_bytes: when open entries take more than twice that, and more than `MAX_ENTRY_BYTES`, the oldest are given
            out unfinished.

    Attributes:
        indentation: characters of white space that all lines of the log share, judged by its first chunk; -1 before.
        oversized_entries: how many entries were given out unfinished.
    """

    def __init__(self, parser: LogParser, chunk_bytes: int):
        self.parser = parser
        self.max_open_bytes = max(2 * chunk_bytes, MAX_ENTRY_BYTES)
        self.oversized_entries = 0
        self._start_log()

    def _start_log(self) -> None:
        self.indentation = -1
        self._unwrapper = Unwrapper(self.parser.transports)
        self._open = InnerLines.of(pa.array([], pa.large_string())), np.empty((0, 2), dtype=np.int64)

    def push(self, chunk: Chunk) -> EntryChunk:
        """Takes the next lines of the log; after `is_last` the next chunk begins another log."""
        data = chunk.data.removesuffix(b"\n")
        lines = split_lines(data) if chunk.data else pa.array([], pa.large_string())
        number = np.arange(len(lines)) + chunk.first_line
        unwrapped = self._unwrapper.unwrap(lines)
        inner = InnerLines.concatenate([self._open[0], unwrapped])
        numbers = np.concatenate([self._open[1], np.stack([number, number], axis=1)])
        if self.indentation < 0 and len(inner.text):
            self.indentation = shared_indentation(inner.message)
        log_of_line = np.zeros(len(numbers), dtype=np.int64)
        grouping = self.parser.group(inner, numbers, log_of_line, max(self.indentation, 0))
        entries = grouping.entries()
        held_from: int | None = None
        if not (chunk.is_last or chunk.is_idle):
            held_from, given_up = grouping.held_from(self.max_open_bytes)
            self.oversized_entries += given_up
        if held_from is None:
            self._open = inner.take(np.arange(0)), numbers[:0]
        else:
            self._open = grouping.lines_from(held_from)
            entries = entries.take(np.flatnonzero(entries.first_line < held_from))
        if chunk.is_last:
            self._start_log()
        return EntryChunk(
            entries=entries,
            num_lines=len(lines),
            num_bytes=len(chunk.data),
            replaced_bytes=chunk.replaced_bytes,
            is_last=chunk.is_last,
            is_idle=chunk.is_idle,
            formats={self._unwrapper.formats[number] for number in np.unique(unwrapped.format)},
        )


# ---------------------------------------------------------------------- helpers


def check_integer(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """An integer of any type within bounds, as `int`.

    Raises:
        ValueError: it is not an integer, or out of bounds; the message names it.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if isinstance(value, bool | np.bool_) or number < lowest or (highest is not None and number > highest):
        rule = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"`{name}` must be an integer {rule}, got {value!r}.")
    return number


def longer_than(text: pa.Array, max_characters: int) -> np.ndarray:
    """Which entries have more characters than are read, bool `(entries,)`."""
    longer = pc.greater(pc.binary_length(text), max_characters)
    if pc.any(longer).as_py():  # a character takes at least one byte
        longer = pc.greater(pc.utf8_length(text), max_characters)
    return longer.to_numpy(zero_copy_only=False).astype(bool)


def _type_names(items: Sequence[Any]) -> str:
    return " and ".join(sorted({type(item).__name__ for item in items})) or "nothing"


def shared_indentation(lines: pa.Array) -> int:
    """Characters of white space that all lines share; 0 if none has text."""
    lines = Shapes(lines).distinct
    lines = lines.filter(pa.array(matches(lines, TEXT_PATTERN)))
    return int(_indentation(lines).min()) if len(lines) else 0


def _indentation(lines: pa.Array) -> np.ndarray:
    """Characters of white space before each line, `(lines,)`."""
    trimmed = pc.utf8_length(pc.utf8_ltrim_whitespace(lines))
    return pc.subtract(pc.utf8_length(lines), trimmed).to_numpy(zero_copy_only=False)


def _given_entries(entries: pa.Array, entry_counts: np.ndarray) -> Entries:
    """Takes lists of entries as they are, without blank ones; their lines are positions in the list."""
    log_of_entry = np.repeat(np.arange(len(entry_counts)), entry_counts)
    entries = strip_colour(entries)
    kept = np.flatnonzero(matches(entries, TEXT_PATTERN))
    number = (np.arange(len(entries)) - (entry_counts.cumsum() - entry_counts)[log_of_entry] + 1)[kept]
    counts = np.bincount(log_of_entry[kept], minlength=len(entry_counts))
    return Entries(entries.take(pa.array(kept)), number, number, counts)


def _interleave(groups: list[Entries], is_second: list[bool]) -> Entries:
    """Brings the entries of two groups of logs into the order of the logs; `is_second` says which group each is in."""
    group = np.array(is_second, dtype=int)
    counts = np.empty(len(group), dtype=np.int64)
    for which in (0, 1):
        counts[group == which] = groups[which].counts
    # Stable: the entries of a group are in order already.
    order = np.repeat(group, counts).argsort(kind="stable").argsort(kind="stable")
    sizes = [len(entries.text) for entries in groups]
    joined = Entries(
        pa.concat_arrays([entries.text for entries in groups]),
        np.concatenate([entries.first_line for entries in groups]),
        np.concatenate([entries.last_line for entries in groups]),
        counts,
        _concatenated([entries.time for entries in groups], sizes),
        np.concatenate([
            np.full(size, -1, np.int8) if entries.severity is None else entries.severity
            for entries, size in zip(groups, sizes, strict=True)
        ]),
    ).take(order)
    joined.counts = counts
    return joined


__all__ = ["Entries", "EntryChunk", "EntryStream", "LogParser", "ParsedLog"]
