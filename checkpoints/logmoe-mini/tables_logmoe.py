"""Lines of values in, lines of named values out: for logs whose fields are listed by a directive above them.

So it is with the W3C extended log format (IIS, CloudFront) and with Zeek: `#Fields: date time cs-uri-stem sc-status`,
then `2026-03-12 06:25:01 /cart 500`, which becomes `date=2026-03-12 time=06:25:01 cs-uri-stem=/cart sc-status=500`.
Called by the unwrapper, for a log with such a directive alone.
"""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import join_texts, matches, put_rows, take_rows

# In place of a space between quotes.
_QUOTED_SPACE = "\x1f"
# The time of such a log stands in these fields, in any order.
_TIME_FIELDS = ("date", "time")
# Characters of a directive that names fields, at most.
LONGEST_NAMES = 1 << 12


class TableReader:
    """Names the values of one log, which may come in chunks.

    Args:
        rule: the transport with `lists`, see `TRANSPORTS` in `transports_logmoe.py`.
    """

    def __init__(self, rule: dict[str, Any]):
        self.rule = rule
        self.start()

    def start(self) -> None:
        """Begins a new log."""
        self.fields: list[str] = []  # in force

    def read(self, lines: pa.Array, candidates: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        """Names the values of the next lines.

        Args:
            lines: large strings `(lines,)`.
            candidates: rows that may hold a directive.

        Returns:
            The rows with as many values as there are fields, int64, and their new text, large strings.
        """
        candidates = candidates[matches(take_rows(lines, candidates), self.rule["pattern"])]
        lists = pc.extract_regex(lines.take(pa.array(candidates)), self.rule["pattern"])
        bounds = [0, *candidates.tolist(), len(lines)]
        found = [(np.empty(0, dtype=np.int64), pa.array([], pa.large_string()))]
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            if number:
                written = lists[number - 1]["fields"].as_py()
                # Every row repeats the names: longer ones are nobody's table.
                self.fields = written.split() if len(written) <= LONGEST_NAMES else []
            if self.fields and end > start:
                rows, named = _named(lines.slice(start, end - start), self.fields)
                found.append((rows + start, named))
        return np.concatenate([rows for rows, _ in found]), pa.concat_arrays([named for _, named in found])


def _named(lines: pa.Array, fields: list[str]) -> tuple[np.ndarray, pa.Array]:
    """Lines that hold as many values as there are fields: their rows, int64, and the values with their names."""
    lines = _hide_quoted_spaces(lines)
    is_tabbed = pc.match_substring(lines, "\t").to_numpy(zero_copy_only=False).astype(bool)
    is_no_row = matches(lines, r"^(?:#|\s*$)")  # a directive, or blank
    rows_of_kinds, named_of_kinds = [], []
    first = [fields.index(field) for field in _TIME_FIELDS if field in fields]
    order = first + [place for place in range(len(fields)) if place not in first]
    for which, separator in ((is_tabbed, "\t"), (~is_tabbed, " ")):
        rows = np.flatnonzero(which & ~is_no_row)
        values = pc.split_pattern(lines.take(pa.array(rows)), separator)
        fits = pc.list_value_length(values).to_numpy(zero_copy_only=False) == len(fields)
        rows, values = rows[fits], values.filter(pa.array(fits))
        if not len(rows):
            continue
        columns = pc.list_flatten(values)
        parts: list[pa.Array | str] = []
        for place in order:
            written = columns.take(pa.array(np.arange(len(rows)) * len(fields) + place))
            parts += [f"{' ' if parts else ''}{fields[place]}=", written]
        rows_of_kinds.append(rows)
        named_of_kinds.append(join_texts(*parts))
    rows = np.concatenate([np.empty(0, np.int64), *rows_of_kinds])
    named = pa.concat_arrays([lines.slice(0, 0), *named_of_kinds])
    ascending = rows.argsort()
    named = pc.replace_substring(named.take(pa.array(ascending)), _QUOTED_SPACE, " ")
    return rows[ascending], named


def _hide_quoted_spaces(lines: pa.Array) -> pa.Array:
    quoted = np.flatnonzero(pc.match_substring(lines, '"').to_numpy(zero_copy_only=False))
    if not len(quoted):
        return lines
    pieces = pc.split_pattern(lines.take(pa.array(quoted)), '"')
    offsets = pieces.offsets.to_numpy(zero_copy_only=False)
    place = np.arange(offsets[-1] - offsets[0]) - np.repeat(offsets[:-1] - offsets[0], np.diff(offsets))
    texts = pc.list_flatten(pieces)
    hidden = pc.if_else(pa.array(place % 2 == 1), pc.replace_substring(texts, " ", _QUOTED_SPACE), texts)
    pieces = pa.LargeListArray.from_arrays(pa.array(offsets - offsets[0], pa.int64()), hidden)
    return put_rows(lines, quoted, pc.binary_join(pieces, pa.scalar('"', pa.large_string())))


__all__ = ["TableReader"]
