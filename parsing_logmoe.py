"""Lines in, masked entries out: lines are grouped into entries, their variable parts masked, equal entries found.

`LogParser` holds the rules and parses logs that are in memory, one or many at once; `EntryStream` lets it parse a log
that arrives in chunks. Every step works on whole Arrow columns. Called by the processor, which is a `LogParser` with a
tokenizer, and by the scan.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .masking_logmoe import Shapes, mask_distinct
from .reading_logmoe import Chunk, split_lines, to_utf8
from .rules_logmoe import (
    BARE_HEADER_PATTERN,
    CONTINUATION_PATTERN,
    EXCEPTION_PATTERN,
    HEADER_PATTERN,
    INDENTED_ENTRY_PATTERN,
    MASKS,
    PLACEHOLDER,
    TEXT_PATTERN,
    TIMESTAMP_CLEANUP,
    TIMESTAMP_FORMATS,
    check_pattern,
    dictionary_indices,
    matches,
)

# How much of an entry that does not end is held back before it is given out unfinished, at least.
MAX_ENTRY_BYTES = 1 << 20


@dataclass
class ParsedLog:
    """A log as entries, and its distinct masked entries.

    Attributes:
        text: the entries as written, large strings `(entries,)`; the lines of an entry are joined by newlines.
        first_line, last_line: int64 `(entries,)`, one-based physical lines; positions if the log is a list of entries.
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
        )

    def __add__(self, other: "ParsedLog") -> "ParsedLog":
        """This log followed by the other."""
        both = pc.dictionary_encode(pa.concat_arrays([self.distinct, other.distinct]))
        rows = dictionary_indices(both)
        return ParsedLog(
            pa.concat_arrays([self.text, other.text]),
            np.concatenate([self.first_line, other.first_line]),
            np.concatenate([self.last_line, other.last_line]),
            rows[np.concatenate([self.entry_index, other.entry_index + len(self.distinct)])],
            both.dictionary,
            self.replaced_bytes + other.replaced_bytes,
        )


class _Entries(NamedTuple):
    """Entries of many logs: text, one-based first and last line, and the number of entries of each log `(logs,)`."""

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    counts: np.ndarray


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
        header_pattern (`str`): finds the groups `timestamp` and `severity` at the head of an entry.
        timestamp_formats (`list` of `str`): strptime formats of a `timestamp` without fraction and zone.
        max_entry_characters (`int`): characters of an entry that are read; a longer entry is flagged as truncated.

    Raises:
        ValueError: a pattern is not RE2, a placeholder has no phrase, or a length is below 1.
    """

    def __init__(
        self,
        masks: list[dict[str, str]] | None = None,
        entry_pattern: str | None = None,
        continuation_pattern: str = CONTINUATION_PATTERN,
        exception_pattern: str = EXCEPTION_PATTERN,
        indented_entry_pattern: str = INDENTED_ENTRY_PATTERN,
        header_pattern: str = HEADER_PATTERN,
        timestamp_formats: list[str] | None = None,
        max_entry_characters: int = 8192,
    ):
        self.masks = [dict(mask) for mask in (MASKS if masks is None else masks)]
        self.entry_pattern = entry_pattern
        self.continuation_pattern = continuation_pattern
        self.exception_pattern = exception_pattern
        self.indented_entry_pattern = indented_entry_pattern
        self.header_pattern = header_pattern
        self.timestamp_formats = list(TIMESTAMP_FORMATS if timestamp_formats is None else timestamp_formats)
        self.max_entry_characters = check_integer("max_entry_characters", max_entry_characters, 1)
        self._check_rules()

    def _check_rules(self) -> None:
        for name in (
            "entry_pattern",
            "continuation_pattern",
            "exception_pattern",
            "indented_entry_pattern",
            "header_pattern",
        ):
            if getattr(self, name) is not None:
                check_pattern(name, getattr(self, name))
        if "(?P<timestamp>" not in self.header_pattern:
            raise ValueError(f"`header_pattern` needs a group named `timestamp`, got {self.header_pattern!r}.")
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
        entries: list[str] = []
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
                    entries.append(data.decode())
                entry_counts.append(len(log))
            else:
                given = f"a list of {_type_names(log)}" if isinstance(log, list | tuple) else type(log).__name__
                raise ValueError(
                    f"A log must be a str of one or more lines or a list of entries (list of str), got {given}."
                )
        groups = []
        if texts:
            groups.append(self._group_lines(split_lines(b"\n".join(texts)), np.array(line_counts)))
        if entry_counts:
            groups.append(_given_entries(pa.array(entries, pa.large_string()), np.array(entry_counts)))
        if len(groups) == 2:
            grouped = _interleave(groups, [isinstance(log, list | tuple) for log in logs])
        else:
            nothing = np.empty(0, dtype=np.int64)
            grouped = groups[0] if groups else _Entries(pa.array([], pa.large_string()), nothing, nothing, nothing)
        return self._masked(grouped, replaced_bytes), np.append(0, grouped.counts.cumsum()).astype(np.int64)

    def _masked(self, entries: _Entries, replaced_bytes: int) -> ParsedLog:
        entry_index, distinct = mask_distinct(entries.text, self.masks, self.max_entry_characters)
        return ParsedLog(entries.text, entries.first_line, entries.last_line, entry_index, distinct, replaced_bytes)

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

    # ------------------------------------------------------------------ logs that arrive in chunks

    def parse_chunk(self, chunk: Chunk, indentation: int) -> ParsedLog:
        """Parses a run of whole entries out of a longer log; see `EntryStream`.

        Args:
            chunk: as `EntryStream.push` gives it.
            indentation: of the whole log, `EntryStream.indentation`.

        Returns:
            The entries, with the line numbers of the whole log.
        """
        # With its last newline the chunk would have one more line, an empty one.
        lines = split_lines(chunk.data.removesuffix(b"\n"))
        entries = self._group_lines(lines, np.array([len(lines)]), indentation)
        parsed = self._masked(entries, chunk.replaced_bytes)
        parsed.first_line = parsed.first_line + (chunk.first_line - 1)
        parsed.last_line = parsed.last_line + (chunk.first_line - 1)
        return parsed

    def indentation(self, data: bytes) -> int:
        """Characters of white space that all lines of a log share; 0 if it has no text."""
        lines = Shapes(split_lines(data)).distinct
        lines = lines.filter(pa.array(matches(lines, TEXT_PATTERN)))
        return int(_indentation(lines).min()) if len(lines) else 0

    def last_entry_start(self, data: bytes, indentation: int) -> int | None:
        """Finds where the last entry starts in a run of lines.

        Args:
            data: whole lines in UTF-8, without a newline at the end.
            indentation: of the whole log.

        Returns:
            Offset of the last line that starts an entry whatever is above it; None if there is no such line.
        """
        lines = split_lines(data)
        shapes = Shapes(lines)
        if self.entry_pattern is not None:
            starts = shapes.match(self.entry_pattern)
        else:
            indentation = min(indentation, self.indentation(data))
            if indentation:
                shapes = Shapes(pc.utf8_slice_codeunits(lines, indentation))
            starts = self._certain_starts(shapes)
        last = np.flatnonzero(starts & shapes.match(TEXT_PATTERN))
        if not len(last):
            return None
        newlines = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
        return int(newlines[last[-1] - 1]) + 1 if last[-1] else 0

    # ------------------------------------------------------------------ lines to entries

    def _certain_starts(self, lines: Shapes) -> np.ndarray:
        """Which lines start an entry by the default rules, whatever is above them, bool `(lines,)`."""
        starts = ~(lines.match(self.continuation_pattern) | lines.match(self.exception_pattern))
        return starts | lines.match(self.indented_entry_pattern)

    def _group_lines(self, lines: pa.Array, line_counts: np.ndarray, indentation: int | None = None) -> _Entries:
        """Groups physical lines into entries, log by log."""
        log_of_line = np.repeat(np.arange(len(line_counts)), line_counts)
        number = np.arange(len(lines)) - (line_counts.cumsum() - line_counts)[log_of_line] + 1
        shapes = Shapes(lines)
        is_text = shapes.match(TEXT_PATTERN)
        if not is_text.all():  # blank lines neither end nor start an entry
            kept = np.flatnonzero(is_text)
            shapes, log_of_line, number = shapes.take(kept), log_of_line[kept], number[kept]
            lines = shapes.text
        if not len(lines):
            return _Entries(lines, number, number, np.zeros(len(line_counts), dtype=np.int64))
        log_starts = np.append(True, log_of_line[1:] != log_of_line[:-1])
        if self.entry_pattern is not None:
            starts = shapes.match(self.entry_pattern)
        else:
            starts = self._entry_starts(shapes, log_starts, indentation)
        first = np.flatnonzero(starts | log_starts)
        last = np.append(first[1:], len(lines)) - 1
        if len(first) < len(lines):
            offsets = pa.array(np.append(first, len(lines)), pa.int64())
            lines = pc.binary_join(pa.LargeListArray.from_arrays(offsets, lines), pa.scalar("\n", lines.type))
        return _Entries(
            lines, number[first], number[last], np.bincount(log_of_line[first], minlength=len(line_counts))
        )

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
        starts = self._certain_starts(lines)

        position = np.arange(len(lines.index))

        def latest(which: np.ndarray) -> np.ndarray:
            return np.maximum.accumulate(np.where(which, position, -1))

        # A traceback is open from its first line to the exception that ends it, or to the end of its log.
        ended = np.append(-1, latest(starts | exception)[:-1])
        traceback = latest(lines.match(r"^Traceback \(most recent call last\):"))
        in_traceback = (traceback > ended) & (traceback >= first_of_log[log_of_line])
        follows_trace = np.append(False, (exception | indented)[:-1]) & ~log_starts
        return starts | (exception & follows_trace & ~in_traceback)

    # ------------------------------------------------------------------ headers

    def timestamps(self, text: pa.Array) -> np.ndarray:
        """The time of each entry in seconds since 1970, float64 `(entries,)`; NaN if none. Zones are ignored."""
        bare = pc.struct_field(pc.extract_regex(text, BARE_HEADER_PATTERN), "timestamp")
        stamp = pc.coalesce(bare, pc.struct_field(pc.extract_regex(text, self.header_pattern), "timestamp"))
        stamp = stamp.cast(pa.string())
        # A fraction follows the seconds of a clock or ten digits; a Blue Gene clock has full stops only.
        fraction = pc.extract_regex(stamp, r"(?::\d{2}|^\d{10}|\.\d{2}\.\d{2})[.,](?P<digits>\d+)")
        fraction = pc.binary_join_element_wise("0.", pc.struct_field(fraction, "digits"), "").cast(pa.float64())
        milliseconds = pc.struct_field(pc.extract_regex(stamp, r"^\d{10}(?P<digits>\d{3})$"), "digits")
        milliseconds = pc.divide(milliseconds.cast(pa.float64()), 1000.0)
        fraction = pc.coalesce(fraction, milliseconds, 0.0).to_numpy(zero_copy_only=False)
        for pattern, replacement in TIMESTAMP_CLEANUP:
            stamp = pc.replace_substring_regex(stamp, pattern, replacement)
        seconds = np.full(len(text), np.nan)
        for form in self.timestamp_formats:
            missing = np.flatnonzero(np.isnan(seconds))
            if not len(missing):
                break
            candidates = stamp.take(pa.array(missing))
            if form == "%s":
                is_epoch = matches(candidates, r"^\d{10}$")
                candidates = pc.if_else(pa.array(is_epoch), candidates, None)
                found = pc.cast(candidates, pa.float64()).to_numpy(zero_copy_only=False)
            else:
                if "%Y" not in form and "%y" not in form:
                    candidates, form = pc.binary_join_element_wise("2000", candidates, " "), f"%Y {form}"
                parsed = pc.strptime(candidates, format=form, unit="s", error_is_null=True)
                found = pc.cast(pc.cast(parsed, pa.int64()), pa.float64()).to_numpy(zero_copy_only=False)
            seconds[missing] = found
        return seconds + fraction


class EntryStream:
    """Lets a log be parsed chunk by chunk: takes chunks of whole lines, gives chunks of whole entries.

    The lines of the open entry, which the next chunk may continue, are held back. This is cheap; the chunks that come
    out may be parsed (`LogParser.parse_chunk`) in any order, by any thread.

    Args:
        parser: says where entries start.
        chunk_bytes: an open entry of more than twice that, and more than `MAX_ENTRY_BYTES`, is given out unfinished.

    Attributes:
        indentation: characters of white space that all lines of the log share, judged by its first chunk; -1 before.
        oversized_entries: how many entries were given out unfinished.
    """

    def __init__(self, parser: LogParser, chunk_bytes: int):
        self.parser = parser
        self.max_entry_bytes = max(2 * chunk_bytes, MAX_ENTRY_BYTES)
        self.oversized_entries = 0
        self._start_log()

    def _start_log(self) -> None:
        self.indentation = -1
        self._open = Chunk(b"")  # the lines of the open entry

    def push(self, lines: Chunk) -> tuple[Chunk, int] | None:
        """Takes the next lines of the log; after `is_last` the next chunk begins another log.

        Returns:
            A run of whole entries and the log's indentation, to be parsed; None if no entry is complete.
        """
        held = self._open
        data = held.data + lines.data
        first_line = held.first_line if held.data else lines.first_line
        replaced_bytes = held.replaced_bytes + lines.replaced_bytes
        if self.indentation < 0 and data:
            self.indentation = self.parser.indentation(data.removesuffix(b"\n"))
        indentation = max(self.indentation, 0)
        if lines.is_last or lines.is_idle:
            self._open = Chunk(b"")
            if lines.is_last:
                self._start_log()
            return Chunk(data, first_line, replaced_bytes, lines.is_last, lines.is_idle), indentation
        end = self._last_start(data)
        if not end and len(data) > self.max_entry_bytes:
            self.oversized_entries += 1
            end = len(data)
        if not end:
            self._open = Chunk(data, first_line, replaced_bytes)
            return None
        self._open = Chunk(data[end:], first_line + data.count(b"\n", 0, end))
        return Chunk(data[:end], first_line, replaced_bytes), indentation

    def _last_start(self, data: bytes) -> int:
        """Offset of the last line that starts an entry whatever is above it; 0 if only the first does, or none."""
        size = 1 << 14  # a tail that almost always holds an entry
        while True:
            begin = data.rfind(b"\n", 0, max(0, len(data) - size)) + 1
            start = self.parser.last_entry_start(data[begin:].removesuffix(b"\n"), self.indentation)
            if start is not None and begin + start > 0:
                return begin + start
            if begin == 0:
                return 0
            size *= 8


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


def _indentation(lines: pa.Array) -> np.ndarray:
    """Characters of white space before each line, `(lines,)`."""
    trimmed = pc.utf8_length(pc.utf8_ltrim_whitespace(lines))
    return pc.subtract(pc.utf8_length(lines), trimmed).to_numpy(zero_copy_only=False)


def _given_entries(entries: pa.Array, entry_counts: np.ndarray) -> _Entries:
    """Takes lists of entries as they are, without blank ones; their lines are positions in the list."""
    log_of_entry = np.repeat(np.arange(len(entry_counts)), entry_counts)
    kept = np.flatnonzero(matches(entries, TEXT_PATTERN))
    number = (np.arange(len(entries)) - (entry_counts.cumsum() - entry_counts)[log_of_entry] + 1)[kept]
    counts = np.bincount(log_of_entry[kept], minlength=len(entry_counts))
    return _Entries(entries.take(pa.array(kept)), number, number, counts)


def _interleave(groups: list[_Entries], is_second: list[bool]) -> _Entries:
    """Brings the entries of two groups of logs into the order of the logs; `is_second` says which group each is in."""
    group = np.array(is_second, dtype=int)
    counts = np.empty(len(group), dtype=np.int64)
    for which in (0, 1):
        counts[group == which] = groups[which].counts
    # Stable: the entries of a group are in order already.
    order = np.repeat(group, counts).argsort(kind="stable").argsort(kind="stable")
    text = pa.concat_arrays([entries.text for entries in groups]).take(pa.array(order))
    first_line, last_line = (np.concatenate([entries[row] for entries in groups])[order] for row in (1, 2))
    return _Entries(text, first_line, last_line, counts)


__all__ = ["EntryStream", "LogParser", "ParsedLog"]
