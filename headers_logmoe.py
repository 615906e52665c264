"""Entries in, times and severities out: reads the header of each log entry.

Says where in an entry a time and a severity may stand; the rules of `times_logmoe.py` and `severities_logmoe.py` say
what they look like. Readers of the same rules remember shapes together, so that a long log costs little more than its
digits, and a short one what it says anew. Knows nothing of lines and masks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import Shapes, TextBytes, dictionary_indices, group_spans, matches
from .rules_logmoe import MONTH, WEEKDAY
from .severities_logmoe import LEVELS, SEVERITY_RULES, TIME_MARK, UNKNOWN, SeverityRules
from .times_logmoe import (
    CANDIDATES,
    DAY_SECONDS,
    TIME_RULES,
    WHOLE_TIME,
    Rule,
    TimeRules,
    WrittenTimes,
    Zones,
    days_since_1970,
)

# How much of an entry is read, in bytes. The prefix holds most headers and keeps shapes few; where it is not enough,
# the head is read, and more of blocks (JSON, events), whose keys stand in any order.
PREFIX_BYTES = 72
HEAD_BYTES = 320
BLOCK_BYTES = 4096
# The value of a key, from its first byte on.
VALUE_BYTES = 48
# A time this close to where a text was cut may go on behind the cut.
_PREFIX_MARGIN = 16
_VALUE_MARGIN = 8
# A severity stands within so many bytes after the time, or, without a time, after the beginning.
MAX_SEVERITY_DISTANCE = 100
# Entries that are read at once, and shapes that are remembered.
_BLOCK_ENTRIES = 1 << 15
_KNOWN_SHAPES = 1 << 14
# How often an entry is searched anew after a time with values out of range.
_ATTEMPTS = 3

TIME_KEYS = (
    r"@?timestamp|@t|ts|t|time|date|date_?time|event_?time(?:stamp)?|log_?time|(?:log)?timestamp_?(?:ms|ns)?|asctime"
    r"|time_?(?:local|iso8601|millis|generated|created|stamp|unix_?nano)|observed_?time(?:_?unix_?nano)?|instant"
    r"|receive_?timestamp|written_at|created(?:_?at)?|start_?time|logged_?at|when|epoch(?:_?(?:second|ms|millis))?|__REALTIME_TIMESTAMP"
    r"|_SOURCE_REALTIME_TIMESTAMP"
)
# The part of a key that says its numbers are UTC.
_UTC_KEYS = r"[A-Z_]*_REALTIME_TIMESTAMP"
_VALUE = (
    r"(?P<value>\d{4}[-/.年]|\d{8}|\d{4} [A-Z]|\d{1,2}[-/. ][\dA-Z]"
    rf"|(?:{WEEKDAY}|{MONTH})[a-z]*[ ,])"
)
_KEYED_TIME = (
    rf"(?:\\?\"(?:(?P<utc>{_UTC_KEYS})|(?i:{TIME_KEYS}))\\?\"\s*:\s*(?:\{{\s*\"[$\w]+\"\s*:\s*){{0,2}}\\?\"?"
    rf"|(?:^|[\s,;|\[({{])(?:(?P<utc2>{_UTC_KEYS})|(?i:{TIME_KEYS}))=\\?[\"'\[]?"
    r"|(?m:^)[# \t]*(?i:Date|Time|Timestamp|TimeCreated|TimeGenerated|Logged)[ \t]*:[ \t]+|SystemTime=[\"'])" + _VALUE
)
_KEYED_MESSAGE = r"\"(?i:log|message|msg|text)\"\s*:\s*\"(?P<value>[^\"])"

# The header of these stands in keys, in any order: JSON, XML events, event blocks, records of a journal. And of these
# in keys first of all: logfmt.
_BLOCK = (
    r"^\s*(?:\[?\{|<Event\b|Log ?Name\s*[:=]|EventCode=|TimeCreated\s*:|Index +: \d|Event\[\d+\]|__CURSOR=|_[A-Z_]+=)"
)
_KEYED = r"^\s*[\w.@-]+="

# ---------------------------------------------------------------------- headers


@dataclass
class Headers:
    """The times and severities of entries. A time without a zone is taken as if it were UTC.

    Attributes:
        seconds: int64 `(entries,)`, since 1970; 0 without a time. Without a year, years count from 2000 and all have
            366 days, so that February 29 is in each.
        nanoseconds: int32 `(entries,)`, the fraction of the second.
        has_time, has_year: bool `(entries,)`.
        has_zone: bool `(entries,)`, the zone is known and applied: `seconds` is UTC. Seconds since 1970 always are.
        severity: int8 `(entries,)`, the position in `SEVERITY_WORDS`; -1 if unknown.
        names_zone: bool `(entries,)`, the log itself names the zone.
        fraction_digits: int8 `(entries,)`, how many digits of the fraction are written, at most 9.
    """

    seconds: np.ndarray
    nanoseconds: np.ndarray
    has_time: np.ndarray
    has_year: np.ndarray
    has_zone: np.ndarray
    severity: np.ndarray
    names_zone: np.ndarray
    fraction_digits: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)

    def iso(self) -> list[str | None]:
        """Times in ISO 8601, with as many digits of the fraction as the log has; None for entries without a time.

        Where the log names the zone, the time is UTC and ends in `Z`; seconds since 1970 name none. Where the year is
        missing, it reads `--03-12T06:25:01`.
        """
        seconds = np.where(self.has_year, self.seconds, _of_2000(self.seconds))
        written = np.datetime_as_string(seconds.astype("datetime64[s]"))
        return [
            None
            if not has_time
            else (
                f"{text if has_year else '-' + text[4:]}"
                f"{'.' + f'{nanoseconds:09d}'[:digits] if digits else ''}{'Z' if zone else ''}"
            )
            for text, nanoseconds, digits, has_time, has_year, zone in zip(
                written.tolist(),
                self.nanoseconds.tolist(),
                self.fraction_digits.tolist(),
                self.has_time.tolist(),
                self.has_year.tolist(),
                self.names_zone.tolist(),
                strict=True,
            )
        ]

    def fill(self, others: "Headers") -> None:
        """Takes times and severities from others, `(entries,)`, where an entry has none of its own; in place."""
        missing = ~self.has_time & others.has_time
        for column in fields(self):
            if column.name != "severity" and missing.any():
                setattr(self, column.name, np.where(missing, getattr(others, column.name), getattr(self, column.name)))
        self.severity = np.where(self.severity < 0, others.severity, self.severity)

    def severities(self) -> list[str | None]:
        """Severities by name, such as `ERROR`; None if unknown."""
        return [LEVELS[level] if level >= 0 else None for level in self.severity.tolist()]


_START_OF_2000 = 946_684_800
_NEVER = np.iinfo(np.int64).min


class HeaderReader:
    """Reads the headers of one log, which may come in chunks.

    Whether the day or the month comes first is decided once for a log, by the first entry that settles it; until a
    chunk holds one, the month comes first in `3/12/2026` and the day in `3-12-2026`. In `12.3.2026` the day always
    does. Where the year is missing, a jump back of more than half a year begins the next, see also `add_years`.

    Args:
        time_rules (`list` of `dict`): how times are written, as in `TIME_RULES`.
        severity_rules (`list` of `dict`): where severities are written, as in `SEVERITY_RULES`.
        rules: both, in place of these, shared with other readers.
        reads_severities: whether severities are read, which takes half the time.

    Attributes:
        day_first: whether the day comes first; None while nothing settled it. May be set.

    Raises:
        ValueError: a rule is not complete, its pattern is not RE2, or a time's pattern names a digit.
    """

    def __init__(
        self,
        time_rules: Sequence[Rule] | None = None,
        severity_rules: Sequence[Rule] | None = None,
        *,
        rules: "HeaderRules | None" = None,
        reads_severities: bool = True,
    ) -> None:
        self._rules = rules or HeaderRules(time_rules, severity_rules)
        self._zones = Zones()  # numbers those that it meets, and so is no other reader's
        self._reads_severities = reads_severities
        self.start()

    def start(self) -> None:
        """Begins a new log."""
        self._transport: HeaderReader | None = None
        self.day_first: bool | None = None
        self._years = 0  # New Years passed, of times without a year
        self._last_yearless: int | None = None  # in seconds of 2000
        self._last_dated = _NEVER  # since 1970, of entries with a year

    def read_transport(self, time: pa.Array) -> Headers:
        """Reads the times that a transport gave the next entries: another clock, written in another way.

        Args:
            time: strings `(entries,)`, null where there is none.
        """
        if self._transport is None:
            self._transport = HeaderReader(rules=self._rules, reads_severities=False)
        headers = self._transport.read(time)
        headers.names_zone = headers.has_zone  # what a transport counts since 1970 is UTC
        return headers

    def read(self, text: pa.Array | pa.ChunkedArray) -> Headers:
        """Reads the headers of the next entries of the log.

        Args:
            text: entries, strings of any length `(entries,)`.
        """
        if isinstance(text, pa.ChunkedArray):
            text = text.combine_chunks()
        text = text.cast(pa.large_string())
        if text.null_count:
            text = text.fill_null("")
        blocks = [text.slice(start, _BLOCK_ENTRIES) for start in range(0, len(text), _BLOCK_ENTRIES)] or [text]
        fields_of_blocks, severities = zip(*map(self._read_block, blocks), strict=True)
        written = {
            name: np.concatenate([getattr(each, name) for each in fields_of_blocks]) for name in WrittenTimes.names()
        }
        return self._dated(WrittenTimes(**written), np.concatenate(severities))

    def add_years(self, headers: Headers) -> None:
        """Gives times without a year that in which they are nearest to the last time with one; in place.

        Args:
            headers: of the next entries of the log.
        """
        is_dated = headers.has_time & headers.has_year
        last = np.maximum.accumulate(np.where(is_dated, np.arange(len(headers)), -1))
        near = np.where(last >= 0, headers.seconds[last], self._last_dated)
        if not len(near):
            return
        self._last_dated = int(near[-1])
        open_year = np.flatnonzero(headers.has_time & ~headers.has_year & (near != _NEVER))
        if len(open_year):
            headers.seconds[open_year] = _in_nearest_year(headers.seconds[open_year], near[open_year])
            headers.has_year[open_year] = True

    # ------------------------------------------------------------------ one block

    def _read_block(self, text: pa.Array) -> tuple["WrittenTimes", np.ndarray]:
        """Finds what is written in the headers of entries, and their severities."""
        written = WrittenTimes.empty(len(text))
        if not len(text) or not text.buffers()[2]:
            return written, np.full(len(text), -1, dtype=np.int8)
        entries = TextBytes(text)
        prefix = Shapes(entries.cut(0, PREFIX_BYTES))
        is_block = matches(prefix.distinct, _BLOCK)[prefix.index]
        is_keyed = is_block | matches(prefix.distinct, _KEYED)[prefix.index]
        whole = entries.lengths <= PREFIX_BYTES

        # Most entries: a time at the beginning, of a shape that is known.
        plain = np.flatnonzero(~is_keyed)
        end = np.where(whole, PREFIX_BYTES, PREFIX_BYTES - _PREFIX_MARGIN)
        used, rows = _used(prefix.index[plain], len(prefix.distinct))
        found = self._rules.known_times.look_up(prefix.distinct.take(pa.array(used)))
        self._pick(written, entries, plain, np.zeros(len(plain), dtype=np.int64), rows, found, end[plain])

        has_candidate = np.zeros(len(text), dtype=bool)
        has_candidate[plain] = found["rule"][rows, 0] >= 0

        keyed = np.flatnonzero(is_keyed)
        self._read_keys(written, entries, keyed, _Located.keys(prefix.distinct, _KEYED_TIME).take(prefix.index[keyed]))
        missing = np.flatnonzero(~written.is_found)
        if len(missing):
            limits = np.where(is_block[missing], BLOCK_BYTES, HEAD_BYTES)
            # There is nothing more to see in a short entry that holds neither a time nor a key.
            has_key = matches(prefix.distinct, _KEYED_TIME)[prefix.index[missing]]
            more = (~whole | is_keyed | has_candidate)[missing] | has_key
            missing, limits = missing[more], limits[more]
            heads = Shapes(entries.take(missing).cut(0, limits))
            located = _Located.keys(heads.distinct, _KEYED_TIME).take(heads.index)
            self._read_keys(written, entries, missing, located)
            rest = ~written.is_found[missing]
            json = rest & is_block[missing]
            if json.any():
                messages = _Located.keys(heads.distinct, _KEYED_MESSAGE).take(heads.index[json])
                self._read_keys(written, entries, missing[json], messages, at_start=False)
            rest &= ~is_block[missing]
            if rest.any():
                self._read_heads(written, entries, missing[rest], heads.take(np.flatnonzero(rest)))
        severity = self._read_severities(written, entries, prefix, is_block)
        return written, severity

    def _read_keys(
        self,
        written: "WrittenTimes",
        entries: "TextBytes",
        positions: np.ndarray,
        located: "_Located",
        at_start: bool = True,
    ) -> None:
        """Reads times from the values of keys."""
        has_value = located.start >= 0
        positions, start = positions[has_value], located.start[has_value]
        if not len(positions):
            return
        limit = VALUE_BYTES if at_start else HEAD_BYTES
        values = entries.take(positions)
        shapes = Shapes(values.cut(start, limit))
        found = self._rules.known_times.look_up(shapes.distinct)
        end = np.where(values.lengths - start <= limit, limit, limit - _VALUE_MARGIN)
        self._pick(written, entries, positions, start, shapes.index, found, end, at_start)
        utc = positions[located.is_utc[has_value]]
        written.names_zone[utc] |= written.is_found[utc]

    def _read_heads(self, written: "WrittenTimes", entries: "TextBytes", positions: np.ndarray, heads: Shapes) -> None:
        """Reads times from longer heads. After values out of range the text is searched anew behind them."""
        used, rows = _used(heads.index, len(heads.distinct))
        texts = heads.distinct.take(pa.array(used))
        for _ in range(_ATTEMPTS):
            found = self._rules.times.find(texts)
            nowhere = np.zeros(len(positions), dtype=np.int64)
            self._pick(written, entries, positions, nowhere, rows, found, np.full(len(positions), HEAD_BYTES))
            again = ~written.is_found[positions] & (found["rule"][rows, 0] >= 0)
            if not again.any():
                return
            positions = positions[again]
            used, rows = _used(rows[again], len(texts))
            time = found["spans"][used, 0, WHOLE_TIME]
            texts = _blanked(texts.take(pa.array(used)), time[:, 0])

    def _pick(
        self,
        written: "WrittenTimes",
        entries: "TextBytes",
        positions: np.ndarray,
        base: np.ndarray,
        rows: np.ndarray,
        found: dict[str, np.ndarray],
        end: np.ndarray,
        at_start: bool = False,
    ) -> None:
        """Picks the digits of times from entries, candidate by candidate, until their values are in range.

        Args:
            written: takes them.
            positions: which entries, `(picked,)`.
            base: where in each the searched text starts, in bytes `(picked,)`.
            rows: of each the row in `found`.
            found: of `TimeRules.find`.
            end: where a time must end in the searched text, in bytes `(picked,)`.
            at_start: the time must stand at the beginning of the searched text.
        """
        pending = np.arange(len(positions))
        for candidate in range(CANDIDATES):
            rule = found["rule"][rows[pending], candidate]
            spans = found["spans"][rows[pending], candidate]  # (pending, groups, 2)
            fits = (rule >= 0) & (spans[:, WHOLE_TIME].sum(axis=1) <= end[pending])
            if at_start:
                fits &= spans[:, WHOLE_TIME, 0] <= 1
            pending, spans = pending[fits], spans[fits].astype(np.int64)
            if not len(pending):
                return
            which = positions[pending]
            is_valid = written.pick(entries, which, base[pending], spans, self._zones)
            pending = pending[~is_valid]

    # ------------------------------------------------------------------ severities

    def _read_severities(
        self, written: "WrittenTimes", entries: "TextBytes", prefix: Shapes, is_block: np.ndarray
    ) -> np.ndarray:
        """Severities, int8 `(entries,)`; -1 if unknown."""
        severity = np.full(len(is_block), -1, dtype=np.int8)
        if not (self._reads_severities and self._rules.severities.rules):
            return severity
        has_mark = written.is_found & ~is_block
        start = np.where(has_mark, written.start, -1)
        end = np.where(has_mark, written.end, -1)
        whole = entries.lengths <= PREFIX_BYTES
        in_prefix = end <= PREFIX_BYTES - _PREFIX_MARGIN

        # Entries of one shape, with the time at one place, are one text.
        first = np.flatnonzero(in_prefix)
        key = (prefix.index[first] * 256 + start[first] + 1) * 256 + end[first] + 1
        _, sample, rows = np.unique(key, return_index=True, return_inverse=True)
        sample = first[sample]
        marked = _marked(TextBytes(prefix.distinct.take(pa.array(prefix.index[sample]))), start[sample], end[sample])
        found = self._rules.known_severities.look_up(_with_kind(marked, is_block[sample]))
        # At the cut a word may go on.
        is_inside = found["text_end"] < pc.binary_length(marked).to_numpy(zero_copy_only=False) - 2
        settled = whole[first] | ((found["level"] > UNKNOWN) & is_inside)[rows]
        positions = first[settled]
        severity[positions] = self._rules.severities.resolve(
            entries, positions, {name: values[rows[settled]] for name, values in found.items()}, start, end
        )

        late = np.flatnonzero(~in_prefix)
        second = np.union1d(first[~settled], late)
        if len(second):
            limits = np.where(is_block[second], BLOCK_BYTES, np.maximum(end[second], 0) + MAX_SEVERITY_DISTANCE)
            # Keys may stand further away.
            keyed = matches(prefix.distinct, _KEYED)[prefix.index[second]]
            limits = np.where(keyed, np.maximum(limits, HEAD_BYTES), limits)
            heads = Shapes(_marked(entries.take(second), start[second], end[second], limits))
            kinds = is_block[second]
            kind_rows = heads.index * 2 + kinds
            used, rows = _used(kind_rows, 2 * len(heads.distinct))
            texts = _with_kind(heads.distinct.take(pa.array(used // 2)), used % 2 == 1)
            found = self._rules.known_heads.look_up(texts)
            severity[second] = self._rules.severities.resolve(
                entries, second, {name: values[rows] for name, values in found.items()}, start, end
            )
        return severity

    # ------------------------------------------------------------------ dates

    def _dated(self, written: "WrittenTimes", severity: np.ndarray) -> Headers:
        """Turns what is written into seconds since 1970: settles the order of day and month, adds missing years."""
        month, day = written.month.copy(), written.day.copy()
        first, second = written.first_number, written.second_number
        open_order = written.is_found & (first > 0)
        if open_order.any():
            settled = np.flatnonzero(open_order & (first != second) & ((first > 12) | (second > 12)))
            settled = settled[written.is_dotted[settled] == 0]
            if self.day_first is None and len(settled):
                self.day_first = bool(first[settled[0]] > 12)
            by_default = written.is_dashed if self.day_first is None else np.full(len(first), self.day_first)
            day_first = (first > 12) | ((second <= 12) & (by_default | written.is_dotted))
            month = np.where(open_order, np.where(day_first, second, first), month)
            day = np.where(open_order, np.where(day_first, first, second), day)
        has_year = written.is_found & (written.year >= 0)
        is_epoch = written.is_found & written.is_epoch
        year = np.where(has_year, written.year, 2000)
        seconds = days_since_1970(year, np.maximum(month, 1), np.maximum(day, 1)) * DAY_SECONDS + written.clock
        yearless = np.flatnonzero(written.is_found & ~has_year & ~is_epoch)
        if len(yearless):
            seconds[yearless] += self._passed_years(seconds[yearless]) * 366 * DAY_SECONDS
        seconds = np.where(is_epoch, written.epoch, seconds - written.zone_offset)
        self._apply_regions(seconds, written)
        has_zone = written.is_found & (written.has_zone | is_epoch)
        return Headers(
            seconds=np.where(written.is_found, seconds, 0),
            nanoseconds=np.where(written.is_found, written.nanoseconds, 0).astype(np.int32),
            has_time=written.is_found,
            has_year=has_year | is_epoch,
            has_zone=has_zone,
            severity=severity,
            names_zone=written.is_found & (written.has_zone | written.names_zone),
            fraction_digits=np.where(written.is_found, written.fraction_digits, 0).astype(np.int8),
        )

    def _passed_years(self, seconds: np.ndarray) -> np.ndarray:
        """How many New Years were passed before each time without a year, int64 `(times,)`.

        Args:
            seconds: of 2000, in the order of the log.

        A jump back of more than half a year passes one. A jump ahead of more than eleven months takes it back: around
        New Year the entries of several hosts may come out of order.
        """
        before = np.append(seconds[0] if self._last_yearless is None else self._last_yearless, seconds[:-1])
        jumps = seconds - before
        years = self._years + np.cumsum((jumps < -183 * DAY_SECONDS).astype(np.int64) - (jumps > 335 * DAY_SECONDS))
        years -= np.minimum(np.minimum.accumulate(years), 0)
        self._years, self._last_yearless = int(years[-1]), int(seconds[-1])
        return years

    def _apply_regions(self, seconds: np.ndarray, written: "WrittenTimes") -> None:
        """Applies zones such as `Europe/Berlin`, with their summer time, in place."""
        for region in np.unique(written.region[written.is_found & (written.region > 0)]):
            which = np.flatnonzero(written.is_found & (written.region == region))
            local = pa.array(seconds[which]).cast(pa.timestamp("s"))
            name = self._zones.regions[region - 1]
            utc = pc.assume_timezone(local, name, ambiguous="earliest", nonexistent="earliest")
            seconds[which] = utc.cast(pa.int64()).to_numpy(zero_copy_only=False)
            written.has_zone[which] = True


def _of_2000(seconds: np.ndarray) -> np.ndarray:
    """Times without a year as those of 2000: years of 366 days are counted from there."""
    return _START_OF_2000 + (seconds - _START_OF_2000) % (366 * DAY_SECONDS)


def _in_nearest_year(seconds: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Times without a year in that in which they are nearest to others, int64 `(times,)`, both since 1970."""
    date = _of_2000(seconds).astype("datetime64[s]")
    month = date.astype("datetime64[M]")
    years = near.astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) - 30  # since 2000
    found = np.stack(
        [(month + 12 * (years + step)).astype("datetime64[s]") + (date - month) for step in (-1, 0, 1)]
    ).astype(np.int64)
    return found[np.abs(found - near).argmin(axis=0), np.arange(len(near))]


# ---------------------------------------------------------------------- texts


def _used(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `size` rows an index uses, and the index into those."""
    is_used = np.zeros(size, dtype=bool)
    is_used[index] = True
    return np.flatnonzero(is_used), (is_used.cumsum() - 1)[index]


def _blanked(text: pa.Array, start: np.ndarray) -> pa.Array:
    """Texts with a letter in place of the byte at `start`, which is one of ASCII."""
    texts = TextBytes(text)
    before, after = texts.cut(0, start), texts.cut(start + 1, texts.lengths)
    return pc.binary_join_element_wise(before, after, pa.scalar("x", pa.large_string()))


def _marked(texts: TextBytes, start: np.ndarray, end: np.ndarray, limit: np.ndarray | int = BLOCK_BYTES) -> pa.Array:
    """Texts up to `limit` bytes with a mark in place of the time from `start` to `end`; none where `start` is -1."""
    limit = np.broadcast_to(limit, start.shape)
    before = texts.cut(0, np.where(start < 0, limit, start))
    after = texts.cut(np.maximum(end, 0), np.where(start < 0, 0, limit - end))
    mark = pc.if_else(pa.array(start < 0), "", TIME_MARK).cast(pa.large_string())
    return pc.binary_join_element_wise(before, mark, after, pa.scalar("", pa.large_string()))


def _with_kind(text: pa.Array, is_block: np.ndarray) -> pa.Array:
    """Texts whose header stands in keys alone are told apart by a byte at the beginning."""
    kind = pc.if_else(pa.array(is_block), "\x1d", "\x1c").cast(pa.large_string())
    return pc.binary_join_element_wise(kind, text, pa.scalar("", pa.large_string()))


@dataclass
class _Located:
    """Where in texts the value of a key starts, int64, -1 if nowhere; and whether the key says that it is UTC."""

    start: np.ndarray
    is_utc: np.ndarray

    @classmethod
    def keys(cls, text: pa.Array, pattern: str) -> "_Located":
        spans, is_match = group_spans(text, pattern, ("value", "utc", "utc2"))
        start = np.where(is_match, spans[:, 0, 0], -1)
        return cls(start, is_match & (spans[:, 1:, 1] > 0).any(axis=1))

    def take(self, rows: np.ndarray) -> "_Located":
        return _Located(self.start[rows], self.is_utc[rows])


class HeaderRules:
    """How times and severities are written, and what was found in the shapes of headers so far.

    A shape means the same in each log, and to prepare the rules takes longer than to read a short one: logs, and
    threads, share them.

    Args:
        time_rules, severity_rules: see [`HeaderReader`].

    Raises:
        ValueError: as [`HeaderReader`].
    """

    def __init__(self, time_rules: Sequence[Rule] | None = None, severity_rules: Sequence[Rule] | None = None):
        self.times = TimeRules(TIME_RULES if time_rules is None else time_rules)
        self.severities = SeverityRules(SEVERITY_RULES if severity_rules is None else severity_rules)
        self.known_times = _KnownShapes(self.times.find, _KNOWN_SHAPES)
        self.known_severities = _KnownShapes(self.severities.find, _KNOWN_SHAPES)
        self.known_heads = _KnownShapes(self.severities.find, _KNOWN_SHAPES // 4)


class _KnownShapes:
    """Remembers what was found in shapes. What it holds is replaced as a whole, so that threads may use it at once.

    Args:
        find: takes shapes, gives arrays with a row for each.
        size: how many shapes are remembered at most.
    """

    def __init__(self, find: Callable[[pa.Array], dict[str, np.ndarray]], size: int):
        self.find, self.size = find, size
        nothing = pa.array([], pa.large_string())
        self._held = nothing, find(nothing)

    def look_up(self, shapes: pa.Array) -> dict[str, np.ndarray]:
        """What `find` gives for shapes."""
        texts, rows = self._held
        index = pc.index_in(shapes, value_set=texts).fill_null(-1).to_numpy(zero_copy_only=False)
        is_new = index < 0
        if is_new.any():
            encoded = pc.dictionary_encode(shapes.filter(pa.array(is_new)))
            new, found = encoded.dictionary, self.find(encoded.dictionary)
            index = index.copy()
            index[is_new] = dictionary_indices(encoded) + len(texts)
            rows = {name: np.concatenate([rows[name], found[name]]) for name in rows}
            if len(new) + len(texts) <= self.size:
                self._held = pa.concat_arrays([texts, new]), rows
            elif len(new) <= self.size // 4:  # the log has moved on
                self._held = new, found
        return {name: values[index] for name, values in rows.items()}


__all__ = ["HeaderReader", "HeaderRules", "Headers"]
