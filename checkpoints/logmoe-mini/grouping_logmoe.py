"""Lines in, entries out: a line with what belongs to it, such as the stack trace below a message.

Where entries start is decided by structure: indentation, frames, headers and the blocks of `rules_logmoe.py`, log by
log and stream by stream. Called by the parser.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import KnownMatches, Shapes, digit_alternatives, matches
from .lines_logmoe import InnerLines
from .rules_logmoe import (
    BLOCKS,
    CARET_PATTERN,
    CLASS_PATTERN,
    CONTINUATION_PATTERN,
    DIRECTIVE_PATTERN,
    ERROR_PATTERN,
    EXCEPTION_PATTERN,
    FRAME_PATTERN,
    FUNCTION_PATTERN,
    HEAD_PATTERN,
    INDENTED_ENTRY_PATTERN,
    PLACE_PATTERN,
    TEXT_PATTERN,
    TIMED_ENTRY_PATTERN,
    TRACEBACK_PATTERN,
)


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
        program: the program that the transport names for each entry, large strings `(entries,)`; None likewise.
        shapes: of the texts, if they are known.
    """

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    counts: np.ndarray
    time: pa.Array | None = None
    severity: np.ndarray | None = None
    program: pa.Array | None = None
    shapes: Shapes | None = None

    def take(self, positions: np.ndarray) -> "Entries":
        """Some of the entries, as those of one log."""
        return Entries(
            self.text.take(pa.array(positions)),
            self.first_line[positions],
            self.last_line[positions],
            np.array([len(positions)]),
            None if self.time is None else self.time.take(pa.array(positions)),
            None if self.severity is None else self.severity[positions],
            None if self.program is None else self.program.take(pa.array(positions)),
            None if self.shapes is None else self.shapes.take(positions),
        )


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
        shapes: of the lines' messages.
        indentation: characters of white space that all lines of the only log share; None if it has no line.
    """

    lines: InnerLines
    numbers: np.ndarray
    log: np.ndarray
    group: np.ndarray
    first: np.ndarray
    num_logs: int
    shapes: Shapes
    indentation: int | None = None

    def entries(self) -> Entries:
        """The entries, ordered by log and first line."""
        first, text = self.first, self.lines.text
        last = np.append(first[1:], len(text)) - 1 if len(first) else first
        if len(first) < len(text):
            offsets = pa.array(np.append(first, len(text)), pa.int64())
            text = pc.binary_join(pa.LargeListArray.from_arrays(offsets, text), pa.scalar("\n", text.type))
        counts = np.bincount(self.log[first], minlength=self.num_logs).astype(np.int64)
        entries = Entries(text, self.numbers[first, 0], self.numbers[last, 1], counts)
        if len(first) == len(self.lines.text) and self.lines.text is self.lines.message:
            entries.shapes = self.shapes
        if self.lines.is_wrapped.any():
            entries.time, entries.severity = self.lines.time.take(pa.array(first)), self.lines.severity[first]
            if self.lines.program.null_count < len(self.lines.program):
                entries.program = self.lines.program.take(pa.array(first))
        order = np.lexsort((entries.first_line, self.log[first]))
        if (np.diff(order) < 0).any():
            entries = entries.take(order)
            entries.counts = counts
        return entries

    def held_from(self, max_bytes: int) -> tuple[int | None, int]:
        """From which physical line on the lines of a log that goes on must be held back, and what is given up.

        The last entry of each stream may go on, and entries are given out in the order of their first lines.

        Args:
            max_bytes: how much text may be held back; of more, the oldest open entries are given out as they are.

        Returns:
            The number of the line, None to hold nothing back; and how many entries are given out unfinished because
            they are too long. One that is given out because its stream is quiet has most likely ended.
        """
        if not len(self.first):
            return None, 0
        is_last = np.append(self.group[self.first][1:] != self.group[self.first][:-1], True)
        opened = np.flatnonzero(is_last)
        # A line whose frame is still to come may belong to the entry above.
        maybe = opened[(opened > 0) & (self.first[opened] == np.append(self.first[1:], len(self.group))[opened] - 1)]
        lines = self.lines.message.take(pa.array(self.first[maybe]))
        maybe = maybe[matches(lines, f"{FUNCTION_PATTERN}|{CLASS_PATTERN}|{ERROR_PATTERN}")]
        maybe = maybe[self.group[self.first[maybe - 1]] == self.group[self.first[maybe]]]
        starts = np.sort(self.numbers[self.first[np.union1d(opened, maybe - 1)], 0])
        if len(starts) < 3 and self.group[0] == self.group[-1]:  # one stream, and its last entry is what may go on
            begins = [int(np.searchsorted(self.numbers[:, 0], start)) for start in starts]
            size_from = [pc.sum(pc.binary_length(self.lines.text.slice(begin))).as_py() for begin in begins]
            own = [all_ - after for all_, after in zip(size_from, [*size_from[1:], 0], strict=True)]
            too_long = [each > max_bytes for each in own]
            for number, all_ in enumerate(size_from):
                if all_ <= max_bytes:
                    return int(starts[number]), sum(too_long[:number])
            return None, sum(too_long)
        entry_of_line = np.searchsorted(self.first, np.arange(len(self.group)), side="right") - 1
        entry_start = self.numbers[self.first[entry_of_line], 0]
        sizes = pc.binary_length(self.lines.text).to_numpy(zero_copy_only=False)
        ascending, entry = np.unique(entry_start, return_inverse=True)
        size = np.bincount(entry, sizes)  # of each entry
        place = np.searchsorted(ascending, starts)
        to_hold = np.flatnonzero(np.flip(np.flip(size).cumsum())[place] <= max_bytes)
        given_up = place[: to_hold[0] if len(to_hold) else None]
        return int(starts[to_hold[0]]) if len(to_hold) else None, int((size[given_up] > max_bytes).sum())

    def lines_from(self, number: int) -> tuple[InnerLines, np.ndarray]:
        """The lines, with their numbers, of the entries that start at a physical line or after it."""
        if self.group[0] == self.group[-1]:
            held = np.arange(self.first[np.searchsorted(self.numbers[self.first, 0], number)], len(self.group))
            return self.lines.take(held), self.numbers[held]
        entry_of_line = np.searchsorted(self.first, np.arange(len(self.group)), side="right") - 1
        held = np.flatnonzero(self.numbers[self.first[entry_of_line], 0] >= number)
        held = held[self.numbers[held, 0].argsort(kind="stable")]
        return self.lines.take(held), self.numbers[held]


@dataclass
class LineGrouper:
    """Groups lines into entries; the rules are those of `LogParser`."""

    entry_pattern: str | None = None
    continuation_pattern: str = CONTINUATION_PATTERN
    exception_pattern: str = EXCEPTION_PATTERN
    indented_entry_pattern: str = INDENTED_ENTRY_PATTERN
    directive_pattern: str | None = DIRECTIVE_PATTERN
    blocks: list[dict[str, Any]] = field(default_factory=lambda: BLOCKS)

    def group(
        self,
        lines: InnerLines,
        numbers: np.ndarray,
        log_of_line: np.ndarray,
        indentation: int | None = None,
        known: KnownMatches | None = None,
    ) -> "Grouping":
        """Groups lines into entries, log by log and, within a log, stream by stream.

        Args:
            lines: of all logs.
            numbers: int64 `(lines, 2)`, the first and last physical line, one-based in its log, that each stands for.
            log_of_line: `(lines,)`, ascending.
            indentation: characters of white space that the lines of a log share; by default each log is looked at.
            known: remembers matches, for a log in chunks.
        """
        num_logs = int(log_of_line[-1]) + 1 if len(log_of_line) else 0
        group = log_of_line
        if len(lines.stream) and (lines.stream != lines.stream[0]).any():
            streams, stream = np.unique(lines.stream, return_inverse=True)
            group = log_of_line * len(streams) + stream
            order = group.argsort(kind="stable")
            lines, numbers, log_of_line, group = lines.take(order), numbers[order], log_of_line[order], group[order]
        if lines.joins.any() or lines.joined.any():
            # Nothing goes on from a line that no transport wrapped and that is no text: of an entry that is held for
            # the next chunk it is gone.
            kept = np.flatnonzero(lines.is_wrapped | self._is_text(Shapes(lines.message, known)))
            if len(kept) < len(group):
                lines, numbers, log_of_line, group = lines.take(kept), numbers[kept], log_of_line[kept], group[kept]
            lines, first, last = lines.together(group)
            numbers = np.stack([numbers[first, 0], numbers[last, 1]], axis=1)
            log_of_line, group = log_of_line[first], group[first]
        shapes = Shapes(lines.message, known)
        is_text = self._is_text(shapes)
        if lines.belongs.any():  # what is left of a record counts to the line above that has text
            owner = np.maximum.accumulate(np.where(is_text, np.arange(len(is_text)), -1))
            rows = np.flatnonzero(lines.belongs & (owner >= 0))
            rows = rows[group[owner[rows]] == group[rows]]
            numbers = numbers.copy()
            np.maximum.at(numbers[:, 1], owner[rows], numbers[rows, 1])
        if not is_text.all():  # blank lines neither end nor start an entry
            kept = np.flatnonzero(is_text)
            shapes, lines, numbers = shapes.take(kept), lines.take(kept), numbers[kept]
            log_of_line, group = log_of_line[kept], group[kept]
        if not len(log_of_line):
            nothing = np.empty(0, dtype=np.int64)
            return Grouping(lines, numbers, log_of_line, nothing, nothing, num_logs, shapes)
        common = np.zeros(1, dtype=np.int64)  # where a pattern tells, indentation does not
        group_starts = np.append(True, group[1:] != group[:-1])
        if self.entry_pattern is not None:
            starts = shapes.match(self.entry_pattern) | lines.starts
        else:
            log_starts = np.append(True, log_of_line[1:] != log_of_line[:-1])
            # Of the whole log: all lines of a stream may be parts of a stack trace.
            common = np.minimum.reduceat(_indentation(shapes.distinct)[shapes.index], np.flatnonzero(log_starts))
            if indentation is not None:
                common = np.minimum(common, indentation)
            below_blank = np.append(False, numbers[1:, 0] > numbers[:-1, 1] + 1) & ~group_starts
            widths = common[log_starts.cumsum() - 1]
            starts = self._entry_starts(shapes, group_starts, widths, lines.starts, below_blank)
        first = np.flatnonzero(starts | group_starts)
        return Grouping(lines, numbers, log_of_line, group, first, num_logs, shapes, int(common[0]))

    def _is_text(self, shapes: Shapes) -> np.ndarray:
        """Which lines may be in an entry, neither blank nor directives, bool `(lines,)`."""
        is_text = shapes.match(TEXT_PATTERN)
        if self.directive_pattern is not None:
            is_text &= ~shapes.match(self.directive_pattern)
        return is_text

    def _entry_starts(
        self,
        lines: Shapes,
        group_starts: np.ndarray,
        common: np.ndarray,
        records: np.ndarray,
        below_blank: np.ndarray,
    ) -> np.ndarray:
        """Which lines start an entry by the default rules, bool `(lines,)`.

        Args:
            group_starts: the first line of each stream of each log, bool `(lines,)`.
            common: characters of white space that all lines of a log share, int64 `(lines,)`.
            records: lines that the transport says start one, bool `(lines,)`.
            below_blank: lines that do not stand right below the one before, bool `(lines,)`.
        """
        first_of_log = np.flatnonzero(group_starts)
        log_of_line = group_starts.cumsum() - 1
        for width in np.unique(common[common > 0]):  # a log pasted from an indented place
            dedented = pc.utf8_slice_codeunits(lines.text, int(width))
            lines = Shapes(pc.if_else(pa.array(common == width), dedented, lines.text))
        exception = lines.match(self.exception_pattern)
        indented = lines.match(_INDENTED)
        caret, frame, place = _match_each(lines, [CARET_PATTERN, FRAME_PATTERN, PLACE_PATTERN], _INDENTED)
        caret = np.append(False, caret[:-1]) & ~group_starts
        above_frame = np.append(frame[1:] & ~group_starts[1:], False) & ~indented
        if above_frame.any() or caret.any():
            below_time = np.append(False, lines.match(TIMED_ENTRY_PATTERN)[:-1]) & ~group_starts
            exception |= above_frame & lines.match(CLASS_PATTERN)
            exception |= ((above_frame & below_time) | caret) & lines.match(ERROR_PATTERN)
        indented_entry = lines.match(self.indented_entry_pattern)
        starts = ~(lines.match(self.continuation_pattern) | exception) | indented_entry
        # The next heading among verdicts belongs to none of them.
        starts |= below_blank & np.append(False, indented_entry[:-1])

        position = np.arange(len(lines.index))
        log_start = first_of_log[log_of_line]

        def latest(which: np.ndarray) -> np.ndarray:
            return np.maximum.accumulate(np.where(which, position, -1))

        def before(places: np.ndarray) -> np.ndarray:
            return np.append(-1, places[:-1])

        # A Python traceback is open from its first line to the first that is not indented, which ends it, or to an
        # indented one that starts an entry.
        traceback = before(latest(lines.match(TRACEBACK_PATTERN)))
        ended = before(latest((~indented & ~lines.match(TRACEBACK_PATTERN)) | indented_entry))
        ends_traceback = (traceback > ended) & (traceback >= log_start) & ~indented
        starts &= ~ends_traceback
        if exception.any():
            follows_trace = np.append(False, (exception | indented)[:-1]) & ~group_starts
            starts |= exception & follows_trace & ~ends_traceback & ~caret
        if place.any():
            starts &= ~(np.append(place[1:] & ~group_starts[1:], False) & lines.match(FUNCTION_PATTERN))
        raised = exception | ends_traceback
        if raised.any():  # the rest of a message
            timed = lines.match(TIMED_ENTRY_PATTERN)
            entry = latest(timed)
            loose = starts & ~timed & ~exception & ~lines.match(HEAD_PATTERN)
            loose &= (entry >= log_start) & (latest(raised) > entry)
            starts &= ~(loose & (latest(starts & ~timed & ~loose) < entry))
        return self._with_blocks(lines, starts | (records & ~ends_traceback), log_start, latest, before)

    def _with_blocks(
        self,
        lines: Shapes,
        starts: np.ndarray,
        log_start: np.ndarray,
        latest: Callable[[np.ndarray], np.ndarray],
        before: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Keeps the lines of a block together, see `BLOCKS` in `rules_logmoe.py`."""
        block_starts = _match_each(lines, [block["start"] for block in self.blocks])
        if not any(which.any() for which in block_starts):
            return starts
        position = np.arange(len(starts))
        timed = lines.match(TIMED_ENTRY_PATTERN)
        for block, which in zip(self.blocks, block_starts, strict=True):
            if "then" in block and which.any():
                which[:-1] &= lines.match(block["then"])[1:] & (log_start[1:] == log_start[:-1])
                which[-1:] = False
            if block.get("timed"):
                which &= timed
        ends = np.any(block_starts, axis=0) | timed
        for block, which in zip(self.blocks, block_starts, strict=True):
            if not which.any():
                continue
            ended = lines.match(block["end"]) if "end" in block else np.zeros(len(starts), dtype=bool)
            opened = which
            if not block.get("each"):  # the first of several, wherever a chunk or another log ends
                opened = which & (~np.append(False, (which & ~ended)[:-1]) | (position == log_start))
            opening = latest(opened)
            inside = (opening >= log_start) & (position > opening) & (opening > latest(ends & ~which))
            if "end" in block:
                inside &= opening > before(latest(ended))
            if "lines" in block:
                inside &= position - opening <= block["lines"]
            starts = (starts | opened) & ~inside
            if block.get("below") == "time":
                starts &= ~(opened & np.append(False, timed[:-1]) & (position > log_start))
        return starts


_INDENTED = r"^[ \t]"


def _match_each(lines: Shapes, patterns: list[str], needs: str | None = None) -> list[np.ndarray]:
    """Which lines match each pattern, bool `(lines,)`.

    Anchored patterns are tried together first (or `needs`, which matches wherever they do), and each on what is left.
    """
    cheap = [pattern for pattern in patterns if pattern.startswith("^") and digit_alternatives(pattern)[0] is None]
    some = np.flatnonzero(lines.match_shapes(needs or "|".join(cheap)) if cheap else [])
    few = lines.distinct.take(pa.array(some, pa.int64()))
    found = []
    for pattern in patterns:
        if pattern not in cheap:
            found.append(lines.match(pattern))
        elif not len(some):
            found.append(np.zeros(len(lines.index), dtype=bool))
        else:
            is_match = np.zeros(len(lines.distinct), dtype=bool)
            is_match[some] = matches(few, pattern)
            found.append(is_match[lines.index])
    return found


def _indentation(lines: pa.Array) -> np.ndarray:
    """Characters of white space before each line, `(lines,)`."""
    trimmed = pc.utf8_length(pc.utf8_ltrim_whitespace(lines))
    return pc.subtract(pc.utf8_length(lines), trimmed).to_numpy(zero_copy_only=False)


__all__ = ["Entries", "Grouping", "LineGrouper"]
