"""Lines without their wrapping: the text, and what the transport around it said of time, severity and stream.

The unwrapper makes them; the grouper turns them into entries.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass
class InnerLines:
    """Lines without their wrapping; as many as there were with it.

    Attributes:
        text: large strings `(lines,)`, the inner text without colour. A record of a journal may hold newlines.
        message: as `text`, but without the process that a syslog record names: what tells whether the line continues
            an entry.
        stream: int64 `(lines,)`, a name for where the line came from (container stream, service, pod, process): a
            continuation belongs to the entry of its own stream. A line without a name of its own takes that of the
            line above; 0 before the first name.
        time: large strings `(lines,)`, the transport's time as written (ISO, syslog, seconds or microseconds since
            1970); null where there is none.
        severity: int8 `(lines,)`, index into `list(SEVERITY_WORDS)`; -1 where the transport gives none.
        program: large strings `(lines,)`, the program that the outermost transport names; null where none does.
        joins: bool `(lines,)`, the text goes on in the next line of the stream, without a newline between.
        joined: bool `(lines,)`, the text goes on from the line above of its stream. Other than `joins`, this is known
            even where the line above was in an earlier chunk.
        starts: bool `(lines,)`, certainly starts an entry.
        belongs: bool `(lines,)`, part of the record above: it counts to the entry even if nothing of it is left.
        is_wrapped: bool `(lines,)`.
        format: int8 `(lines,)`, index into `Unwrapper.formats`; the outermost wrapping.
    """

    text: pa.Array
    message: pa.Array
    stream: np.ndarray
    time: pa.Array
    severity: np.ndarray
    program: pa.Array
    joins: np.ndarray
    joined: np.ndarray
    starts: np.ndarray
    belongs: np.ndarray
    is_wrapped: np.ndarray
    format: np.ndarray

    @classmethod
    def of(cls, lines: pa.Array) -> "InnerLines":
        """Lines without any wrapping."""
        count = len(lines)
        return cls(
            text=lines,
            message=lines,
            stream=np.zeros(count, dtype=np.int64),
            time=pa.nulls(count, pa.large_string()),
            severity=np.full(count, -1, dtype=np.int8),
            program=pa.nulls(count, pa.large_string()),
            joins=np.zeros(count, dtype=bool),
            joined=np.zeros(count, dtype=bool),
            starts=np.zeros(count, dtype=bool),
            belongs=np.zeros(count, dtype=bool),
            is_wrapped=np.zeros(count, dtype=bool),
            format=np.zeros(count, dtype=np.int8),
        )

    def take(self, rows: np.ndarray) -> "InnerLines":
        """Some of the lines."""
        picked = pa.array(rows)
        columns = (getattr(self, column.name) for column in fields(self))
        return InnerLines(*(c[rows] if isinstance(c, np.ndarray) else c.take(picked) for c in columns))

    @classmethod
    def concatenate(cls, parts: Iterable["InnerLines"]) -> "InnerLines":
        """Lines one after the other."""
        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        columns = ([getattr(part, column.name) for part in parts] for column in fields(cls))
        return cls(*(np.concatenate(c) if isinstance(c[0], np.ndarray) else pa.concat_arrays(c) for c in columns))

    def together(self, group: np.ndarray) -> tuple["InnerLines", np.ndarray, np.ndarray]:
        """Joins the lines that a transport took apart.

        Args:
            group: `(lines,)`, ascending; equal for the lines of one stream of one log.

        Returns:
            The lines, and the first and the last of the given lines that each is made of.
        """
        same = np.append(False, group[1:] == group[:-1])
        continues = same & (self.joined | np.append(False, self.joins[:-1]))
        first = np.flatnonzero(~continues)
        last = np.append(first[1:], len(group)) - 1
        lines = self.take(first)
        offsets = pa.array(np.append(first, len(group)), pa.int64())
        for column in ("text", "message"):
            parts = pa.LargeListArray.from_arrays(offsets, getattr(self, column))
            setattr(lines, column, pc.binary_join(parts, pa.scalar("", pa.large_string())))
        lines.joins = self.joins[last]
        return lines, first, last


__all__ = ["InnerLines"]
