"""Lines in, masked entries out: lines are grouped into entries, their variable parts masked, equal entries found.

`LogParser` holds the rules and parses logs that are in memory, one or many at once; `EntryStream` lets it parse a log
that arrives in chunks. Every step works on whole Arrow columns. Called by the processor, which is a `LogParser` with a
tokenizer, and by the scan.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import KnownMatches, check_pattern, dictionary_indices, matches
from .grouping_logmoe import Entries, LineGrouper
from .headers_logmoe import HeaderReader, HeaderRules, Headers
from .lines_logmoe import InnerLines
from .masking_logmoe import Masker
from .masks_logmoe import MASKS, PLACEHOLDER
from .reading_logmoe import Chunk, EmptyLogError, split_lines, to_utf8
from .rules_logmoe import (
    BLOCKS,
    CONTINUATION_PATTERN,
    DIRECTIVE_PATTERN,
    EXCEPTION_PATTERN,
    INDENTED_ENTRY_PATTERN,
    TEXT_PATTERN,
)
from .severities_logmoe import SEVERITY_RULES
from .terminal_logmoe import visible, without_escapes
from .times_logmoe import TIME_RULES
from .transports_logmoe import TRANSPORTS
from .unwrapping_logmoe import Unwrapper

# Of rules of each kind, and of `max_entry_characters`: a checkpoint that somebody else made must not take all memory.
MAX_RULES = 1000
MAX_ENTRY_CHARACTERS = 1 << 20
# How much of an entry that does not end is held back before it is given out unfinished, at least.
MAX_ENTRY_BYTES = 1 << 20
# Where a rule of any kind has a pattern.
PATTERN_KEYS = ("pattern", "start", "then", "end")


@dataclass
class ParsedLog:
    """A log as entries, and its distinct masked entries.

    Attributes:
        text, first_line, last_line, time, severity, program: see [`Entries`].
        entry_index: int64 `(entries,)`, the row of each entry in `distinct`.
        distinct: the distinct masked entries, large strings, in order of first appearance.
        replaced_bytes: how many bytes were not valid UTF-8 and became U+FFFD.
        seconds: float64 `(entries,)`, when each was written, see `LogParser.timestamps`; None if it was not read.
        number: int64 `(entries,)`, place of each in its log, from 0; None if it is not kept.
    """

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    entry_index: np.ndarray
    distinct: pa.Array
    replaced_bytes: int = 0
    time: pa.Array | None = None
    severity: np.ndarray | None = None
    seconds: np.ndarray | None = None
    number: np.ndarray | None = None
    program: pa.Array | None = None

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
            seconds=None if self.seconds is None else self.seconds[positions],
            number=None if self.number is None else self.number[positions],
            program=None if self.program is None else self.program.take(pa.array(positions)),
        )

    def __add__(self, other: "ParsedLog") -> "ParsedLog":
        """This log followed by the other."""
        both = pc.dictionary_encode(pa.concat_arrays([self.distinct, other.distinct]))
        rows = dictionary_indices(both)
        logs, sizes = (self, other), (len(self), len(other))
        time = severity = program = None
        if self.time is not None or other.time is not None:
            time = _concatenated([log.time for log in logs], sizes)
        if self.program is not None or other.program is not None:
            program = _concatenated([log.program for log in logs], sizes)
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
            _both(self.seconds, other.seconds),
            _both(self.number, other.number),
            program,
        )


def _both(one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
    return None if one is None or two is None else np.concatenate([one, two])


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
        self.masks = _rules("masks", masks, MASKS)
        self.entry_pattern = entry_pattern
        self.continuation_pattern = continuation_pattern
        self.exception_pattern = exception_pattern
        self.indented_entry_pattern = indented_entry_pattern
        self.directive_pattern = directive_pattern
        self.blocks = _rules("blocks", blocks, BLOCKS)
        self.transports = _rules("transports", transports, TRANSPORTS)
        self.time_rules = _rules("time_rules", time_rules, TIME_RULES)
        self.severity_rules = _rules("severity_rules", severity_rules, SEVERITY_RULES)
        self.header_pattern = header_pattern
        self.max_entry_characters = check_integer(
            "max_entry_characters", max_entry_characters, 1, MAX_ENTRY_CHARACTERS
        )
        self._check_rules()
        self._masker = Masker(self.masks, self.max_entry_characters)

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
                _check_foreign(name, getattr(self, name))
        if self.header_pattern is not None and "(?P<timestamp>" not in self.header_pattern:
            raise ValueError(f"`header_pattern` needs a group named `timestamp`, got {self.header_pattern!r}.")
        for name in ("blocks", "transports", "time_rules", "severity_rules"):
            for rule in getattr(self, name):
                for key in PATTERN_KEYS:
                    if key in rule:
                        _check_foreign(name, rule[key])
        for mask in self.masks:
            if not {"pattern", "replacement"} <= set(mask):
                raise ValueError(f"`masks`: a mask needs `pattern` and `replacement`, got {mask}.")
            required = mask.get("requires", [])
            if not isinstance(required, list | tuple) or not all(isinstance(text, str) for text in required):
                raise ValueError(f"`masks`: `requires` must be a list of str, got {required!r}.")
            _check_foreign("masks", mask["pattern"], mask["replacement"])
            if PLACEHOLDER.search(mask["replacement"]) and not mask.get("phrase"):
                raise ValueError(f"The mask {mask} needs a `phrase` that says what its placeholder stands for.")

    # ------------------------------------------------------------------ logs in memory

    def parse(self, log: str | bytes | Sequence[str]) -> ParsedLog:
        """Parses one log.

        Args:
            log: text of any number of lines, its bytes, or a list of entries.

        Raises:
            ValueError: the log is not text, or, as an `EmptyLogError`, has no entries.
        """
        parsed, _ = self.parse_batch([log])
        if len(parsed) == 0:
            raise EmptyLogError("no log entries: the log is empty or all blank lines")
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
                data = data.removesuffix(b"\n")  # what it ends is a line; nothing follows
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
        inner = Unwrapper(self.transports).unwrap_logs(lines, ends)
        log_of_line = np.repeat(np.arange(len(ends)), line_counts)
        return self._grouper.group(inner, np.stack([number, number], axis=1), log_of_line).entries()

    def masked(self, entries: Entries, replaced_bytes: int = 0) -> ParsedLog:
        """Masks entries and finds the distinct ones."""
        entry_index, distinct = self._masker.mask(entries.text, entries.shapes)
        return ParsedLog(
            entries.text,
            entries.first_line,
            entries.last_line,
            entry_index,
            distinct,
            replaced_bytes,
            entries.time,
            entries.severity,
            program=entries.program,
        )

    @property
    def _grouper(self) -> LineGrouper:
        return LineGrouper(
            self.entry_pattern,
            self.continuation_pattern,
            self.exception_pattern,
            self.indented_entry_pattern,
            self.directive_pattern,
            self.blocks,
        )

    def mask(self, text: pa.Array | Sequence[str]) -> pa.Array:
        """Masks entries.

        Args:
            text: entries, an Arrow array of strings or a list of str.

        Returns:
            The masked entries, large strings of the same length.
        """
        entries = text.cast(pa.large_string()) if isinstance(text, pa.Array) else pa.array(text, pa.large_string())
        entry_index, distinct = self._masker.mask(entries)
        return distinct.take(pa.array(entry_index))

    # ------------------------------------------------------------------ headers

    @functools.cached_property
    def _header_rules(self) -> HeaderRules:
        return HeaderRules(self.time_rules, self.severity_rules)

    def header_reader(self) -> HeaderReader:
        """Reads the headers of one log, which may come in chunks."""
        return HeaderReader(rules=self._header_rules)

    def time_reader(self) -> HeaderReader:
        """The same without severities, which take half the time."""
        return HeaderReader(rules=self._header_rules, reads_severities=False)

    def headers(self, parsed: ParsedLog, reader: HeaderReader | None = None) -> Headers:
        """The time and severity of each entry: its own, or else its transport's.

        Args:
            parsed: a log, or the next entries of one.
            reader: of this log, if it comes in chunks.
        """
        headers = self._times(parsed, reader or self.header_reader())
        if self.header_pattern is not None:
            headers.severity = self.header_reader().read(parsed.text).severity
        if parsed.severity is not None:
            headers.severity = np.where(headers.severity < 0, parsed.severity, headers.severity)
        return headers

    def timestamps(self, parsed: ParsedLog, reader: HeaderReader | None = None) -> np.ndarray:
        """The time of each entry in seconds since 1970 (UTC if its zone is known), float64 `(entries,)`, or NaN.

        A time without a year has that of the log's other times, as far as one with a year came before it.
        """
        reader = reader or self.time_reader()
        headers = self._times(parsed, reader)
        reader.add_years(headers)
        return np.where(headers.has_time, headers.seconds + headers.nanoseconds * 1e-9, np.nan)

    def _times(self, parsed: ParsedLog, reader: HeaderReader) -> Headers:
        """The time of each entry, its own or else its transport's; severities only where the reader reads them."""
        text = parsed.text
        if self.header_pattern is not None:
            text = pc.struct_field(pc.extract_regex(text, self.header_pattern), "timestamp").fill_null("")
        headers = reader.read(text)
        if parsed.time is not None and not headers.has_time.all():
            headers.fill(reader.read_transport(parsed.time))
        return headers


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
    chunks end. So are all lines as long as each is indented: the first that is not says that they continue an entry.
    An idle chunk, and as many bytes as an open entry may take, decide before that. Masking what comes out
    (`LogParser.masked`) may be done in any order, by any thread.

    Args:
        parser: says where entries start.
        chunk_bytes: when open entries take more than twice that, and more than `MAX_ENTRY_BYTES`, the oldest are given
            out unfinished.

    Attributes:
        indentation: characters of white space that all lines of the log share; None as long as nobody knows.
        oversized_entries: how many entries were given out unfinished.
    """

    def __init__(self, parser: LogParser, chunk_bytes: int):
        self.parser = parser
        self.max_open_bytes = max(2 * chunk_bytes, MAX_ENTRY_BYTES)
        self.oversized_entries = 0
        self._start_log()

    def _start_log(self) -> None:
        self.indentation: int | None = None
        self._unwrapper = Unwrapper(self.parser.transports)
        self._known = KnownMatches()
        self._record = pa.array([], pa.large_string())  # lines of a transport's record that goes on
        self._open = InnerLines.of(self._record), np.empty((0, 2), dtype=np.int64)

    def push(self, chunk: Chunk) -> EntryChunk:
        """Takes the next lines of the log; after `is_last` the next chunk begins another log."""
        data = chunk.data.removesuffix(b"\n")
        new = split_lines(data) if chunk.data else pa.array([], pa.large_string())
        lines = pa.concat_arrays([self._record, new])
        number = np.arange(len(lines)) + chunk.first_line - len(self._record)
        is_open = not (chunk.is_last or chunk.is_idle)
        end = self._unwrapper.open_from(lines) if is_open else len(lines)
        if lines.nbytes > self.max_open_bytes:
            end = len(lines)
        self._record, lines, number = lines.slice(end), lines.slice(0, end), number[:end]
        unwrapped = self._unwrapper.unwrap(lines)
        inner = InnerLines.concatenate([self._open[0], unwrapped])
        numbers = np.concatenate([self._open[1], np.stack([number, number], axis=1)])
        log_of_line = np.zeros(len(numbers), dtype=np.int64)
        grouping = self.parser._grouper.group(inner, numbers, log_of_line, self.indentation, self._known)
        entries = grouping.entries()
        is_undecided = self.indentation is None and bool(grouping.indentation)
        if is_undecided and is_open and inner.text.nbytes <= self.max_open_bytes:
            held_from: int | None = 0
        else:
            self.indentation, held_from = grouping.indentation if len(entries.text) else self.indentation, None
            if is_open:
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
            num_lines=len(new),
            num_bytes=len(chunk.data),
            replaced_bytes=chunk.replaced_bytes,
            is_last=chunk.is_last,
            is_idle=chunk.is_idle,
            formats={self._unwrapper.formats[number] for number in np.unique(unwrapped.format)},
        )


# ---------------------------------------------------------------------- helpers


def _rules(name: str, given: Any, default: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies of rules, the default ones if none are given.

    Raises:
        ValueError: they are not a list of dicts, or too many.
    """
    given = default if given is None else given
    if not isinstance(given, list | tuple) or not all(isinstance(rule, dict) for rule in given):
        raise ValueError(f"`{name}` must be a list of dicts, got {_shown(given)}.")
    if len(given) > MAX_RULES:
        raise ValueError(f"`{name}` holds {len(given)} rules, more than {MAX_RULES}.")
    return [dict(rule) for rule in given]


@functools.cache
def _own_patterns() -> frozenset[tuple[str, str]]:
    """The default rules' patterns, with what they are replaced by."""
    rules = [rule for rules in (BLOCKS, TRANSPORTS, TIME_RULES, SEVERITY_RULES) for rule in rules]
    own = {(rule[key], "") for rule in rules for key in PATTERN_KEYS if key in rule}
    of_lines = CONTINUATION_PATTERN, EXCEPTION_PATTERN, INDENTED_ENTRY_PATTERN, DIRECTIVE_PATTERN
    return frozenset(own | {(mask["pattern"], mask["replacement"]) for mask in MASKS} | {(of, "") for of in of_lines})


def _check_foreign(name: str, pattern: str, replacement: str = "") -> None:
    """Checks a pattern unless it is one of the default rules, which the tests check: compiling all takes a while."""
    is_text = isinstance(pattern, str) and isinstance(replacement, str)
    if not is_text or (pattern, replacement) not in _own_patterns():
        check_pattern(name, pattern, replacement)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"


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


def _given_entries(entries: pa.Array, entry_counts: np.ndarray) -> Entries:
    """Takes lists of entries as they are, without blank ones; their lines are positions in the list."""
    log_of_entry = np.repeat(np.arange(len(entry_counts)), entry_counts)
    entries = visible(without_escapes(entries))
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
        np.concatenate(
            [
                np.full(size, -1, np.int8) if entries.severity is None else entries.severity
                for entries, size in zip(groups, sizes, strict=True)
            ]
        ),
        _concatenated([entries.program for entries in groups], sizes),
    ).take(order)
    joined.counts = counts
    return joined


def is_in_memory(log: Any) -> bool:
    """Whether this is a log, not where one is: a text of several lines, bytes, or a list of entries."""
    if isinstance(log, str):
        return "\n" in log
    return isinstance(log, bytes) or (isinstance(log, list | tuple) and all(isinstance(entry, str) for entry in log))


__all__ = ["Entries", "EntryChunk", "EntryStream", "LogParser", "ParsedLog"]
