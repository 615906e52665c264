"""Lines in, records of several lines out: the blocks of `KEY=value` that a journal exports, one blank line apart.

The record's message becomes the text of its first line; the other lines belong to that line. Called by the unwrapper,
for a log with such records alone.
"""

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import is_empty, matches, put_rows, take_rows
from .transports_logmoe import wrapper_groups

# A journal writes a value of several lines after its length: eight bytes, the lowest first, of which those that are no
# characters may have got lost.
_LENGTH = re.compile(r"\A[^\0]{0,4}\0{4,7}")
_LENGTH_BEGUN = re.compile(r"\A[^\0]{0,4}\0{0,3}\Z")


@dataclass
class Records:
    """Records among lines.

    Attributes:
        members: int64 `(members,)`, the rows that belong to records.
        first: int64 `(records,)`, the first row of each; of a record that an earlier chunk began, its first row here.
        starts: bool `(records,)`, the record begins there.
        message, time, priority, program: large strings `(records,)`, null where a record does not say it.
    """

    members: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    message: pa.Array
    time: pa.Array
    priority: pa.Array
    program: pa.Array


class RecordReader:
    """Reads the records of one log, which may come in chunks.

    Args:
        rule: the transport with `begins`, see `TRANSPORTS` in `transports_logmoe.py`.
    """

    def __init__(self, rule: dict[str, Any]):
        self.rule = rule
        self.start()

    def start(self) -> None:
        """Begins a new log."""
        self.is_open = False  # the last line belongs to a record
        self._open_field = ""  # whose value of several lines the last line belongs to

    def open_from(self, lines: pa.Array, candidates: np.ndarray) -> int:
        """The row from which on lines may belong to a record that the next chunk continues; their number if none do.

        Args:
            lines: large strings `(lines,)`.
            candidates: rows that may begin a record.
        """
        begins = self._begins(lines, candidates)
        if not begins.any():
            return len(lines)
        # On a copy, as these lines will be read again. A blank line may be part of a value, which only reading tells.
        ahead = copy.copy(self)
        _, _, begins, _ = ahead._members(lines, begins, matches(lines, self.rule["pattern"]), is_ahead=True)
        rows = np.flatnonzero(begins)
        return int(rows[-1]) if ahead.is_open and len(rows) else len(lines)

    def read(self, lines: pa.Array, candidates: np.ndarray) -> Records | None:
        """Finds the records among the next lines; None if there are none.

        Args:
            lines: large strings `(lines,)`.
            candidates: rows that may begin a record.
        """
        begins = self._begins(lines, candidates)
        if not (begins.any() or self.is_open):
            return None
        is_member, is_value, begins, open_field = self._members(lines, begins, matches(lines, self.rule["pattern"]))
        if not is_member.any():
            return None

        first = np.flatnonzero(is_member & (begins | ~np.append(False, is_member[:-1])))
        members = np.flatnonzero(is_member)
        record = np.searchsorted(first, members, side="right") - 1  # (members,)
        fields = wrapper_groups(take_rows(lines, members), self.rule["pattern"])
        name = pc.if_else(pa.array(is_value[members]), None, fields["field"])

        def of(field: str) -> pa.Array:
            rows = np.flatnonzero(pc.equal(name, field).fill_null(False).to_numpy(zero_copy_only=False))
            _, once = np.unique(record[rows], return_index=True)
            values = fields["value"].take(pa.array(rows[once]))
            return put_rows(pa.nulls(len(first), pa.large_string()), record[rows[once]], values)

        texts: list[str | None] = [None] * len(first)
        # Values of several lines: rare, and each a small loop.
        for run in _runs(np.flatnonzero(is_value[members])):
            if (name[int(run[0]) - 1].as_py() if run[0] else open_field) == "MESSAGE":
                value = "\n".join(lines.take(pa.array(members[run])).to_pylist())
                texts[record[run[0]]] = re.sub(_LENGTH, "", value)
        message = of("MESSAGE")
        if any(value is not None for value in texts):
            message = pc.coalesce(pa.array(texts, pa.large_string()), message)
        priority = of("PRIORITY")
        return Records(
            members=members,
            first=first,
            starts=begins[first],
            message=message,
            time=of("__REALTIME_TIMESTAMP"),
            priority=pc.if_else(pc.match_substring_regex(priority, r"^[0-7]$"), priority, None),
            program=of("SYSLOG_IDENTIFIER"),
        )

    def _begins(self, lines: pa.Array, candidates: np.ndarray) -> np.ndarray:
        """Which lines look like the first of a record, bool `(lines,)`."""
        begins = np.zeros(len(lines), dtype=bool)
        if len(candidates):
            begins[candidates] = matches(take_rows(lines, candidates), self.rule["begins"])
        return begins

    def _members(
        self, lines: pa.Array, begins: np.ndarray, is_field: np.ndarray, is_ahead: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """Which lines belong to a record, which of them to a value of several lines, and which begin a record.

        Args:
            lines: large strings `(lines,)`.
            begins, is_field: bool `(lines,)`, which look like the first line of a record, and like a field.
            is_ahead: more lines will be read together with these.

        Returns:
            Three times bool `(lines,)`, and the field whose value an earlier chunk began, or "".
        """
        open_field = self._open_field
        is_blank = is_empty(lines)
        is_value = np.zeros(len(lines), dtype=bool)
        is_bare = is_field & ~pc.match_substring(lines, "=").to_numpy(zero_copy_only=False).astype(bool)
        sizes = np.append(0, (pc.binary_length(lines).to_numpy(zero_copy_only=False) + 1).cumsum())
        breaks, starts, ends = (np.flatnonzero(rows) for rows in (~is_field, begins, is_field | is_blank))
        value_end, last_break = 0, -1
        if open_field:
            is_end = is_field | is_blank
            # The length alone may be on the first line, and then that line may be empty.
            value_end = len(lines) if not is_end[1:].any() else 1 + int(np.argmax(is_end[1:]))
            value_end = 0 if is_end[0] else value_end
            is_value[:value_end] = True
        for row in np.flatnonzero(is_bare).tolist():
            if row < value_end:
                continue
            before = int(np.searchsorted(breaks, row)) - 1
            if before >= 0 and breaks[before] >= value_end:
                last_break = int(breaks[before])
            begun = int(np.searchsorted(starts, row)) - 1
            if (begun >= 0 and starts[begun] > last_break) or (self.is_open and last_break < 0):
                value_end = _value_end(lines, row + 1, sizes, ends, is_ahead)
                is_value[row + 1 : value_end] = True
                is_field[row] = value_end > row + 1 or value_end == len(lines)
                if value_end == len(lines):
                    self._open_field = lines[row].as_py()
        begins = begins & ~is_value
        position = np.arange(len(lines))
        opened = np.maximum.accumulate(np.where(begins, position, -1))
        closed = np.maximum.accumulate(np.where(is_field | is_value, -1, position))
        is_member = (opened > closed) | (self.is_open & (closed < 0))
        # Another `__` field belongs to the record that the first one began.
        rows = np.flatnonzero(begins)
        rows = rows[np.append(self.is_open, is_member[:-1])[rows]]
        begins[rows[~matches(lines.take(pa.array(rows)), "^__CURSOR=")]] = False
        self.is_open = bool(is_member[-1])
        if value_end < len(lines) or not self.is_open:
            self._open_field = ""
        return is_member, is_value, begins, open_field


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """Splits ascending rows into runs without gaps."""
    return np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []


def _value_end(lines: pa.Array, first: int, sizes: np.ndarray, ends: np.ndarray, is_ahead: bool) -> int:
    """The row after a journal's value of several lines that begins in row `first`; `first` if there is no value.

    What may be the beginning of a length counts as one if `is_ahead`: more lines will come.
    """
    head = "\n".join(lines.slice(first, 4).to_pylist())
    if first < len(lines) and not _LENGTH.match(head):
        return len(lines) if is_ahead and first + 4 > len(lines) and _LENGTH_BEGUN.match(head) else first
    length = head.encode()[:8]
    if len(length) == 8 and max(length) < 0x80 and not any(length[4:]):
        end_size = sizes[first] + 9 + int.from_bytes(length, "little")
        end = int(np.searchsorted(sizes, end_size))
        if end >= len(lines) or sizes[end] == end_size:
            return min(end, len(lines))
    place = int(np.searchsorted(ends, first + 1))
    return int(ends[place]) if place < len(ends) else len(lines)


__all__ = ["RecordReader", "Records"]
