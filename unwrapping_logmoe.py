"""Physical lines in, inner lines out: what a transport put around each line is taken off, and so are colour codes.

A transport is whatever carried a program's output on its way into a file: container runtime, journal, syslog, Docker
Compose, kubectl, CI job. The transports are data (`TRANSPORTS`), saved with a checkpoint. A strongly marked wrapper
is recognised line by line; one that ordinary text may resemble counts only where most lines around it look alike.
Every step works on whole Arrow columns, and a log without wrappers pays for a look at the first character of its
lines.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .masking_logmoe import Shapes, digit_alternatives
from .rules_logmoe import (
    CONTINUATION_PATTERN,
    EXCEPTION_PATTERN,
    SEVERITY_WORDS,
    check_pattern,
    dictionary_indices,
    matches,
    severity_alternatives,
)

# A wrapper within a wrapper within a wrapper: a syslog record in Docker's JSON in a CRI file.
MAX_LEVELS = 3
# Where lines only look wrapped, this share of the lines in a stretch of this length must look so.
MIN_SHARE = 0.8
STRETCH_LINES = 1000
# Services or hosts that are remembered per transport.
MAX_NAMES = 10_000

# ---------------------------------------------------------------------- transports, as data

_ISO = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})"
_ISO_HEAD = "0000-00-00T"
# Patterns that end in one of these are decided by what comes before it; `_prefix` knows them.
_REST = r"(?P<text>(?s:.*))$"
_OPTIONAL_REST = r"(?: (?P<text>(?s:.*)))?$"
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SYSLOG_TIME = (
    rf"(?:(?:{'|'.join(_MONTH_NAMES)}) [ \d]\d (?:\d{{4}} )?\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d+)?"
    rf"|(?:{'|'.join(_WEEKDAY_NAMES)}) \d{{4}}-\d{{2}}-\d{{2}} \d{{2}}:\d{{2}}:\d{{2}}(?:\.\d+)? [A-Z]{{1,5}}|{_ISO})"
)
_SYSLOG_HEADS = [
    *(f"{name} .0 " for name in _MONTH_NAMES),
    *(f"{name} 0000-00-00 " for name in _WEEKDAY_NAMES),
    _ISO_HEAD,
]
_PRIORITY = r"<(?P<priority>\d{1,3})>"
# An IPv6 address may hold colons, but what ends in one is the process.
_HOST = r"(?P<host>[^\s\[\]]*[^\s\[\]:])"
_SEVERITY = severity_alternatives()
_JSON_TEXT = r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'
_STRUCTURED_DATA = r'(?:\[[^\s\]="]+(?: [^\s\]="]+="(?:[^"\\\]]|\\.)*")*\])+'

# Tried in this order. The keys:
#   name      the format; several items may share one
#   heads     how its lines begin: 0 is a digit, . any character, the rest stands for itself. A cheap first test
#   pattern   RE2, anchored, over the whole line. Its named groups:
#               text      what was wrapped            time      when the transport took it, as written
#               process, pid  kept: `app[9]: text`     priority  syslog's number; severity: a word
#               flag      a key of `flags`            bytes     a JSON array in place of `text`
#   fields    further patterns, for lines that `pattern` matches, searched for anywhere; the first must be found
#   stream    groups that name the stream which a continuation stays in
#   flags     "joins": the text goes on in the stream's next line; "joined": it goes on from the line above
#   is_json   the text is the inside of a JSON string
#   is_record a line is a whole record, so it starts an entry unless its text could continue one
#   recurs    the group whose values must recur; with it or `evidence`, only lines that most others look like count
#   evidence  what at least one such line must match before any counts
#   typical   what half of a few such lines must match before the others are looked at; by default `pattern`
#   unless    lines that do not count; `never_with`: lines that no wrapped log has (a table's rule)
#   is_known  counts only where `recurs` has a value that an item of the same name found
#   begins    for records of several lines: what begins one; `pattern` then matches a `field` and its `value`
TRANSPORTS: list[dict[str, Any]] = [
    {
        "name": "journal-export",
        "heads": ["__"],
        "begins": r"^__(?:CURSOR=|REALTIME_TIMESTAMP=\d+$)",
        "pattern": r"^(?P<field>[A-Z_][A-Z\d_]{0,63})(?:=(?P<value>(?s:.*)))?$",
    },
    {
        "name": "cri",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>{_ISO}) (?P<stream>stdout|stderr) (?P<flag>[FP])(?::[^ ]*)?{_OPTIONAL_REST}",
        "stream": ["stream"],
        "flags": {"P": "joins"},
    },
    {
        "name": "docker-json",
        "heads": ["{"],
        "pattern": (
            rf'^\{{\s*(?:"(?:log|stream|time)"\s*:\s*"{_JSON_TEXT}"\s*,?\s*|"attrs"\s*:\s*\{{[^{{}}]*\}}\s*,?\s*)'
            r"{2,4}\}\s*$"
        ),
        # Docker cuts lines of more than 16 KiB; only the last piece ends in a newline.
        "fields": [
            r'"log"\s*:\s*"(?P<text>(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*?)(?P<newline>(?:\\r)*\\n)?"',
            rf'"stream"\s*:\s*"(?P<stream>{_JSON_TEXT})"',
            rf'"time"\s*:\s*"(?P<time>{_JSON_TEXT})"',
        ],
        "stream": ["stream"],
        "is_json": True,
    },
    {
        "name": "journal-json",
        "heads": ["{"],
        # The names of its fields are capitals, so that other JSON is told by its first key.
        "pattern": (
            r'^\{\s*(?:"[A-Z_][A-Z\d_]*"\s*:(?s:.*)"__(?:CURSOR|REALTIME_TIMESTAMP)'
            r'|"__(?:CURSOR|REALTIME_TIMESTAMP))"\s*:'
        ),
        "fields": [
            rf'"MESSAGE"\s*:\s*(?:"(?P<text>{_JSON_TEXT})"|(?P<bytes>\[(?:"{_JSON_TEXT}"|[\d\s,])*\])|null)',
            r'"__REALTIME_TIMESTAMP"\s*:\s*"?(?P<time>\d+)',
            r'"PRIORITY"\s*:\s*"?(?P<priority>\d)',
            rf'"SYSLOG_IDENTIFIER"\s*:\s*"(?P<identifier>{_JSON_TEXT})"',
            rf'"_SYSTEMD_UNIT"\s*:\s*"(?P<unit>{_JSON_TEXT})"',
            r'"_PID"\s*:\s*"?(?P<number>\d+)',
        ],
        "stream": ["identifier", "unit", "number"],
        "is_json": True,
        "is_record": True,
    },
    {  # without a message, the structured data says it
        "name": "syslog-5424",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}\d{{1,2}} (?:-|(?P<time>{_ISO})) (?P<host>\S+) "
            r"(?:-|(?P<process>\S+)) (?:-|(?P<pid>\S+)) \S+ "
            rf"(?:-|(?P<text>{_STRUCTURED_DATA}))\s*$"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
    },
    {
        "name": "syslog-5424",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}\d{{1,2}} (?:-|(?P<time>{_ISO})) (?P<host>\S+) "
            r"(?:-|(?P<process>\S+)) (?:-|(?P<pid>\S+)) \S+ "
            rf"(?:-|{_STRUCTURED_DATA}) \x{{FEFF}}?{_REST}"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
    },
    {
        "name": "syslog",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}(?P<time>{_SYSLOG_TIME}) (?:{_HOST} )?"
            rf"(?P<process>[^\s:\[\]]+)(?:\[(?P<pid>[^\s\]]+)\])?: ?{_REST}"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
        "recurs": "host",
        "is_certain": True,
    },
    {
        "name": "syslog",
        "heads": ["<0"],
        "pattern": rf"^{_PRIORITY}(?P<time>{_SYSLOG_TIME}) (?P<host>\S+) {_REST}",
        "stream": ["host"],
        "is_record": True,
    },
    {  # the kernel's own ring buffer (dmesg --raw); the time is part of the message
        "name": "syslog",
        "heads": ["<0"],
        "pattern": rf"^{_PRIORITY}(?P<text>\[ *\d+\.\d+\](?s:.*))$",
        "is_record": True,
    },
    {
        "name": "gitlab",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>{_ISO}) (?P<stream>[0-9a-f]{{2}}[OE])(?:(?P<flag>[ +]){_REST[:-1]})?$",
        "stream": ["stream"],
        "flags": {"+": "joined"},
    },
    {
        "name": "gitlab",
        "heads": ["section_"],
        "pattern": rf"^section_(?:start|end):(?P<time>\d+):[\w.-]+(?:\[[^\]]*\])?(?:[\r ]*\r+{_REST[:-1]})?$",
    },
    {
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": (rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} (?P<process>[^\s:\[\]]+)\[(?P<pid>[^\s\]]+)\]: ?{_REST}"),
        "stream": ["host", "process", "pid"],
        "is_record": True,
        "recurs": "host",
        "is_certain": True,
        "unless": rf"^(?:\S+ +)+?(?i:{_SEVERITY}) \S+\[",
    },
    {
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} (?P<process>[^\s:\[\]]+): ?{_REST}",
        "stream": ["host", "process"],
        "is_record": True,
        "recurs": "host",
        "unless": rf"^{_SYSLOG_TIME} (?i:{_SEVERITY}) ",
    },
    {  # "last message repeated 2 times"
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} {_REST}",
        "stream": ["host"],
        "is_record": True,
        "recurs": "host",
        "is_known": True,
    },
    {
        "name": "kubectl",
        "heads": ["[pod/"],
        "pattern": rf"^\[pod/(?P<stream>[^\]\s/]+/[^\]\s/]+)\]{_OPTIONAL_REST}",
        "stream": ["stream"],
        "evidence": "",
    },
    {
        "name": "github",
        "heads": [_ISO_HEAD],
        "pattern": (
            r"^(?P<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{7}Z)"
            rf"(?: (?:##\[(?:(?P<severity>error|warning|notice|debug)|[a-z]+)\])?{_REST[:-1]})?$"
        ),
        "evidence": r"^\S+ ##\[[a-z]+\]",
    },
    {  # gh run view --log
        "name": "github",
        "pattern": (
            r"^(?P<job>[^\t]+)\t[^\t]+\t\x{FEFF}?(?P<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{7}Z)"
            rf"(?: (?:##\[(?:(?P<severity>error|warning|notice|debug)|[a-z]+)\])?{_REST[:-1]})?$"
        ),
        "stream": ["job"],
        "recurs": "job",
    },
    {  # kubectl logs --timestamps, docker logs --timestamps
        "name": "timestamps",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d{{1,9}})?Z){_OPTIONAL_REST}",
        "typical": r"^\S+\.\d{7,9}Z(?: |$)",
        # A program stamps its messages alone; a transport stamps blank and indented lines as well, JSON, and what has
        # a time of its own. Two spaces before a severity are a program's padding.
        "evidence": (
            r'^\S+\.\d{7,9}Z(?: ?$| (?:\t+\S| {2,}(?:[^\sA-Z]|[A-Z][a-z])|\{"|\[?\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:))'
        ),
    },
    {
        "name": "compose",
        "pattern": rf"^(?P<stream>[\w.-]*[A-Za-z][\w.-]*) +\|{_OPTIONAL_REST}",
        "stream": ["stream"],
        "recurs": "stream",
        "unless": rf"^(?i:{_SEVERITY}) ",
        "never_with": r"^[ |+]*[-=]{2,}[-=+| ]*$",
    },
]

FORMATS = ["plain", *dict.fromkeys(rule["name"] for rule in TRANSPORTS)]

_LEVELS = list(SEVERITY_WORDS)
# Syslog's priorities 0 (emergency) to 7 (debug).
_LEVEL_OF_PRIORITY = np.array(
    [_LEVELS.index(name) for name in ("FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")],
    dtype=np.int8,
)
_LEVEL_OF_WORD = {word: level for level, words in enumerate(SEVERITY_WORDS.values()) for word in words}
_MAY_CONTINUE = f"{CONTINUATION_PATTERN}|{EXCEPTION_PATTERN}"


# ---------------------------------------------------------------------- lines without their wrapping


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
        joins: bool `(lines,)`, the text goes on in the next line of the stream, without a newline between.
        joined: bool `(lines,)`, the text goes on from the line above of its stream. Other than `joins`, this is known
            even where the line above was in an earlier chunk.
        starts: bool `(lines,)`, certainly starts an entry.
        is_wrapped: bool `(lines,)`.
        format: int8 `(lines,)`, index into `Unwrapper.formats`; the outermost wrapping.
    """

    text: pa.Array
    message: pa.Array
    stream: np.ndarray
    time: pa.Array
    severity: np.ndarray
    joins: np.ndarray
    joined: np.ndarray
    starts: np.ndarray
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
            joins=np.zeros(count, dtype=bool),
            joined=np.zeros(count, dtype=bool),
            starts=np.zeros(count, dtype=bool),
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


class Unwrapper:
    """Unwraps the lines of one log after the other; a log may arrive in chunks.

    Args:
        rules: the transports, tried in order; see `TRANSPORTS`, the default.

    Attributes:
        formats: names, `InnerLines.format` points into them.

    Raises:
        ValueError: a rule has no name, or a pattern of it is not RE2.
    """

    def __init__(self, rules: Sequence[dict[str, Any]] | None = None):
        self.rules = [dict(rule) for rule in (TRANSPORTS if rules is None else rules)]
        for rule in self.rules:
            if not {"name", "pattern"} <= set(rule):
                raise ValueError(f"A transport needs `name` and `pattern`, got {rule}.")
            for key in ("pattern", "begins", "evidence", "typical", "unless", "never_with"):
                if key in rule:
                    _check(f"{rule['name']}.{key}", rule[key])
            for pattern in rule.get("fields", ()):
                _check(f"{rule['name']}.fields", pattern)
        self.formats = ["plain", *dict.fromkeys(rule["name"] for rule in self.rules)]
        self._records = [rule for rule in self.rules if "begins" in rule]
        self._certain = _by_heads(rule for rule in self.rules if "begins" not in rule and not _is_weak(rule))
        self._weak = _by_heads(rule for rule in self.rules if "begins" not in rule and _is_weak(rule))
        self._first_bytes = np.zeros(256, dtype=bool)
        for head in {head for rule in self.rules for head in rule.get("heads", ())}:
            self._first_bytes[_byte_test(head[0])(np.arange(256, dtype=np.uint8))] = True
        self.start()

    def start(self) -> None:
        """Begins a new log: forgets what was learned of the one before."""
        self._known: dict[str, set[str]] = {}  # per transport the services or hosts seen; "" if it names none
        self._recent: dict[int, pa.Array] = {}  # per level the last lines of a log that comes in small chunks
        self._stream = 0  # of the last line that names one
        self._unfinished: set[int] = set()  # streams whose last line goes on in the next
        self._in_record = False  # the last line belongs to a record of several lines
        self._open_field = ""  # the field whose value of several lines the last line belongs to
        self._has_newlines = False  # Docker's lines end in one, so that one without it goes on

    def unwrap(self, lines: pa.Array) -> InnerLines:
        """Unwraps the next lines of the log.

        Args:
            lines: large strings `(lines,)`, whole physical lines, with the carriage returns and colours inside them.
        """
        if lines.type != pa.large_string():
            lines = lines.cast(pa.large_string())
        inner = InnerLines.of(lines)
        if not len(lines):
            return inner
        process = None  # large strings (lines,), `app[9]` where a syslog record names it
        own_stream = np.zeros(len(lines), dtype=np.int64)
        heads = _Heads(lines, self._first_bytes)
        in_record = self._unwrap_records(inner, own_stream, heads)
        is_plain = in_record is None

        text = lines
        positions = None if in_record is None else np.flatnonzero(~in_record)  # of `text` in the lines; None for all
        if positions is not None:
            text = inner.text.take(pa.array(positions))
        for level in range(MAX_LEVELS + 1):
            plain = _without_escapes(text)
            if plain is not text:
                text, is_plain = plain, False
                inner.text = _put(inner.text, positions, text)
            if text is not lines:
                heads = _Heads(text, self._first_bytes)
            if level == MAX_LEVELS or not len(text):
                break
            outer = inner.format if positions is None else inner.format[positions]
            found = []
            for rule, rows in self._find(text, heads, level, outer):
                places = rows if positions is None else positions[rows]
                unwrapped, names = self._take_off(rule, _take(text, rows), places, inner, own_stream)
                if names is not None:
                    process = pa.nulls(len(lines), pa.large_string()) if process is None else process
                    process = _put(process, places, names)
                found.append((places, unwrapped))
            if not found:
                break
            is_plain = False
            positions = np.concatenate([places for places, _ in found])
            text = pa.concat_arrays([unwrapped for _, unwrapped in found])
            if len(found) > 1:
                order = positions.argsort()
                positions, text = positions[order], text.take(pa.array(order))
            inner.text = _put(inner.text, positions, text)

        inner.stream[:] = self._stream
        if is_plain:
            return inner
        inner.text = inner.message = visible(inner.text)
        self._follow_streams(inner, own_stream)
        if inner.starts.any():
            records = np.flatnonzero(inner.starts & (inner.format != self._index("journal-export")))
            inner.starts[records] = ~matches(inner.message.take(pa.array(records)), _MAY_CONTINUE)
        if process is not None:
            inner.text = _with_process(inner.message, process)
        return inner

    def _index(self, name: str) -> int:
        return self.formats.index(name) if name in self.formats else -1

    # ------------------------------------------------------------------ which lines are wrapped

    def _find(
        self, text: pa.Array, heads: "_Heads", level: int, outer: np.ndarray
    ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Rules, and the rows, int64, that each of them unwraps; no row twice.

        Args:
            text: large strings `(rows,)`.
            heads: how they begin.
            level: 0 for the lines themselves, 1 for what was within the first wrapping, and so on.
            outer: int8 `(rows,)`, the format of the outermost wrapping so far.
        """
        free = np.ones(len(text), dtype=bool)
        for group_heads, pattern, rules in self._certain:
            rows = heads.rows(group_heads)
            if not len(rows):
                continue
            lines = _take(text, rows)
            hits = matches(lines, pattern)
            rows, lines = rows[hits], lines.filter(pa.array(hits))
            for rule in rules:
                if not len(rows):
                    break
                hits = matches(lines, _prefix(rule["pattern"]))
                for field in rule.get("fields", ())[:1]:
                    hits = hits & matches(lines, field) if hits.any() else hits
                if "unless" in rule and hits.any():
                    hits = hits & ~matches(lines, rule["unless"])
                if not hits.any():
                    continue
                free[rows[hits]] = False
                if "recurs" in rule:
                    self._remember(rule, pc.unique(_groups(lines, rule["pattern"])[rule["recurs"]]).drop_null())
                yield rule, rows[hits]
                rows, lines = rows[~hits], lines.filter(pa.array(~hits))

        context = self._recent.get(level) if len(text) < STRETCH_LINES else None
        shift = 0 if context is None else len(context)
        whole = text if context is None else pa.concat_arrays([context, text])
        if shift:
            heads = _Heads(whole, self._first_bytes)
        self._recent[level] = whole.slice(max(0, len(whole) - STRETCH_LINES))
        stretches = _Stretches(whole)
        for group_heads, pattern, rules in self._weak:
            candidates = heads.rows(group_heads) if group_heads else None
            if candidates is not None and not len(candidates):
                continue
            sample = stretches.sample(candidates, pattern)
            for rule in rules:
                rows = self._find_weak(rule, whole, candidates, stretches, sample) - shift
                rows = rows[rows >= 0]
                rows = rows[free[rows] & ((outer[rows] == 0) | (outer[rows] != self._index(rule["name"])))]
                if len(rows):
                    free[rows] = False
                    yield rule, rows

    def _find_weak(
        self,
        rule: dict[str, Any],
        text: pa.Array,
        candidates: np.ndarray | None,
        stretches: "_Stretches",
        sample: np.ndarray,
    ) -> np.ndarray:
        """Rows that a rule unwraps which counts only where most lines look alike.

        Args:
            candidates: rows that may match; None for all.
            sample: a few of those that do, or match a rule with the same heads.
        """
        known = self._known.get(rule["name"], set())
        is_named = "recurs" in rule
        if rule.get("is_known") and not known:
            return sample[:0]
        if known and is_named:
            rows = np.arange(len(text)) if candidates is None else candidates
        else:
            rows = stretches.promising(candidates, sample, rule)
        lines = _take(text, rows)
        hits = matches(lines, _prefix(rule["pattern"])) if len(rows) else np.empty(0, dtype=bool)
        if "unless" in rule and hits.any():
            hits &= ~matches(lines, rule["unless"])
        rows, lines = rows[hits], lines.filter(pa.array(hits))
        if not len(rows):
            return rows
        stretch = stretches.of(rows)
        looks_alike = np.bincount(stretch, minlength=stretches.count) >= MIN_SHARE * stretches.text_lines
        if "never_with" in rule and looks_alike.any():
            looks_alike[stretches.of(np.flatnonzero(matches(text, rule["never_with"])))] = False
        if not is_named:
            alike = looks_alike[stretch]
            if not known and not matches(lines.filter(pa.array(alike)), rule["evidence"]).any():
                return rows[:0]
            self._known[rule["name"]] = {""}
            return rows[alike]
        names = pc.dictionary_encode(_groups(lines, rule["pattern"])[rule["recurs"]])
        code = dictionary_indices(names)
        if not rule.get("is_known"):
            # Names recur: a service writes more than one line.
            pairs = np.unique(stretch * len(names.dictionary) + code) // len(names.dictionary)
            looks_alike &= 2 * np.bincount(pairs, minlength=stretches.count) <= np.bincount(
                stretch, minlength=stretches.count
            )
            found = np.unique(code[looks_alike[stretch]])
            self._remember(rule, names.dictionary.take(pa.array(found)))
            known = self._known.get(rule["name"], set())
        is_known = np.array([name in known for name in names.dictionary.to_pylist()], dtype=bool)
        return rows[is_known[code]]

    def _remember(self, rule: dict[str, Any], names: pa.Array) -> None:
        if len(names):
            known = self._known.setdefault(rule["name"], set())
            known.update(names.slice(0, max(0, MAX_NAMES - len(known))).to_pylist())

    # ------------------------------------------------------------------ what is in a wrapping

    def _take_off(
        self, rule: dict[str, Any], lines: pa.Array, positions: np.ndarray, inner: InnerLines, stream: np.ndarray
    ) -> tuple[pa.Array, pa.Array | None]:
        """Takes a wrapping off lines that a rule matches; notes in `inner` and `stream` what the wrapping says.

        Args:
            lines: large strings `(rows,)`.
            positions: int64 `(rows,)`, where they are in `inner` and `stream`.

        Returns:
            The inner texts, large strings `(rows,)`, and the process that each names, or None if none does.
        """
        groups: dict[str, pa.Array] = {}
        if "fields" in rule:
            shapes = Shapes(lines)
            for pattern in rule["fields"]:
                groups.update(_spans(shapes, pattern))
        else:
            groups = _groups(lines, rule["pattern"])
        text = groups.get("text", pa.nulls(len(lines), pa.large_string()))
        if rule.get("is_json"):
            text = _unescape(text)
            if "bytes" in groups:
                text = pc.coalesce(text, _from_array(groups["bytes"]))
        text = text.fill_null("")

        inner.is_wrapped[positions] = True
        inner.starts[positions] |= rule.get("is_record", False)
        unset = positions[inner.format[positions] == 0]
        inner.format[unset] = self._index(rule["name"])
        if "time" in groups:
            _put_valid(inner, "time", positions, groups["time"])
        if "priority" in groups:
            priority = groups["priority"].cast(pa.int64()).fill_null(-1).to_numpy()
            inner.severity[positions[priority >= 0]] = _LEVEL_OF_PRIORITY[priority[priority >= 0] & 7]
        if "severity" in groups:
            words = pc.dictionary_encode(groups["severity"].fill_null(""))
            levels = np.array([_LEVEL_OF_WORD.get(word, -1) for word in words.dictionary.to_pylist()], dtype=np.int8)
            level = levels[dictionary_indices(words)]
            inner.severity[positions[level >= 0]] = level[level >= 0]
        for flag, meaning in rule.get("flags", {}).items():
            flags: np.ndarray = getattr(inner, meaning)
            flags[positions] |= pc.equal(groups["flag"], flag).fill_null(False).to_numpy(zero_copy_only=False)
        if "newline" in groups:
            ended = groups["newline"].is_valid().to_numpy(zero_copy_only=False)
            self._has_newlines |= bool(ended.any())
            # Some tools drop the newline of every line; then its absence says nothing.
            inner.joins[positions] |= ~ended & self._has_newlines
        if "stream" in rule:
            stream[positions] = _stream_numbers(rule, [groups[name] for name in rule["stream"]], stream[positions])

        process = groups.get("process")
        if process is not None and "pid" in groups:
            process = pc.coalesce(_join(process, "[", groups["pid"], "]"), process)
        return text, process

    def _follow_streams(self, inner: InnerLines, own: np.ndarray) -> None:
        """Numbers the streams of all lines, and joins the pieces of lines that a transport cut."""
        last_named = np.maximum.accumulate(np.where(own != 0, np.arange(len(own)), -1))
        inner.stream = np.where(last_named < 0, self._stream, own[last_named])
        self._stream = int(inner.stream[-1])
        if not (inner.joins.any() or inner.joined.any() or self._unfinished):
            return
        rows = np.flatnonzero(inner.is_wrapped)
        rows = rows[inner.stream[rows].argsort(kind="stable")]
        stream = inner.stream[rows]
        is_first = np.append(True, stream[1:] != stream[:-1])
        is_last = np.append(is_first[1:], True)
        inner.joins[rows[:-1]] |= inner.joined[rows[1:]] & ~is_first[1:]
        inner.joined[rows[1:]] |= inner.joins[rows[:-1]] & ~is_first[1:]
        going_on = np.array([number in self._unfinished for number in stream[is_first].tolist()], dtype=bool)
        inner.joined[rows[is_first]] |= going_on
        self._unfinished -= set(stream[is_last & ~inner.joins[rows]].tolist())
        self._unfinished |= set(stream[is_last & inner.joins[rows]].tolist())

    # ------------------------------------------------------------------ records of several lines

    def _unwrap_records(self, inner: InnerLines, stream: np.ndarray, heads: "_Heads") -> np.ndarray | None:
        """Unwraps records of several lines, `KEY=value` blocks between blank lines.

        The first line of a record gets the message, the others a blank text. Of a record that an earlier chunk began
        the first line in this chunk gets what is left of it.

        Returns:
            Which lines belong to such records, bool `(lines,)`; None if none does.
        """
        if not self._records:
            return None
        rule, lines = self._records[0], inner.text
        candidates = heads.rows(rule["heads"])
        if not (len(candidates) or self._in_record):
            return None
        begins = np.zeros(len(lines), dtype=bool)
        if len(candidates):
            begins[candidates] = matches(_take(lines, candidates), rule["begins"])
        if not (begins.any() or self._in_record):
            return None
        is_member, is_value, begins, open_field = self._members(lines, begins, matches(lines, rule["pattern"]))
        if not is_member.any():
            return None

        first = np.flatnonzero(is_member & (begins | ~np.append(False, is_member[:-1])))
        members = np.flatnonzero(is_member)
        record = np.searchsorted(first, members, side="right") - 1  # (members,)
        fields = _groups(_take(lines, members), rule["pattern"])
        name = pc.if_else(pa.array(is_value[members]), None, fields["field"])

        def of(field: str) -> tuple[np.ndarray, pa.Array]:
            rows = np.flatnonzero(pc.equal(name, field).fill_null(False).to_numpy(zero_copy_only=False))
            _, once = np.unique(record[rows], return_index=True)
            return record[rows[once]], fields["value"].take(pa.array(rows[once]))

        text = pa.array(np.full(len(members), ""), pa.large_string())
        texts: list[str | None] = [None] * len(first)
        records, messages = of("MESSAGE")
        messages_of_records = _put(pa.nulls(len(first), pa.large_string()), records, messages)
        # Values of several lines: rare, and each a small loop.
        for run in _runs(np.flatnonzero(is_value[members])):
            if (name[int(run[0]) - 1].as_py() if run[0] else open_field) == "MESSAGE":
                value = "\n".join(lines.take(pa.array(members[run])).to_pylist())
                texts[record[run[0]]] = re.sub(_LENGTH, "", value)
        if any(value is not None for value in texts):
            messages_of_records = pc.coalesce(pa.array(texts, pa.large_string()), messages_of_records)
        at_first = np.searchsorted(members, first)
        text = _put(text, at_first, messages_of_records.fill_null(""))

        inner.text = _put(lines, members, text)
        inner.is_wrapped[members] = True
        inner.format[members] = self._index(rule["name"])
        inner.starts[np.flatnonzero(begins & is_member)] = True
        stream[members] = _number_of(rule["name"])
        records, times = of("__REALTIME_TIMESTAMP")
        _put_valid(inner, "time", first[records], times)
        records, priorities = of("PRIORITY")
        levels = pc.if_else(pc.match_substring_regex(priorities, r"^[0-7]$"), priorities, None).cast(pa.int64())
        level = levels.fill_null(-1).to_numpy()
        inner.severity[first[records[level >= 0]]] = _LEVEL_OF_PRIORITY[level[level >= 0]]
        return is_member

    def _members(
        self, lines: pa.Array, begins: np.ndarray, is_field: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """Which lines belong to a record, which of them to a value of several lines, and which begin a record.

        Returns:
            Three times bool `(lines,)`, and the field whose value an earlier chunk began, or "".
        """
        open_field = self._open_field
        is_empty = _is_empty(lines)
        is_value = np.zeros(len(lines), dtype=bool)
        is_bare = is_field & ~pc.match_substring(lines, "=").to_numpy(zero_copy_only=False).astype(bool)
        sizes = np.append(0, (pc.binary_length(lines).to_numpy(zero_copy_only=False) + 1).cumsum())
        breaks, starts = np.flatnonzero(~is_field), np.flatnonzero(begins)
        value_end, last_break = 0, -1
        if open_field:
            is_end = is_field | is_empty
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
            if (begun >= 0 and starts[begun] > last_break) or (self._in_record and last_break < 0):
                value_end = _value_end(lines, row + 1, sizes, is_field | is_empty)
                is_value[row + 1 : value_end] = True
                is_field[row] = value_end > row + 1 or value_end == len(lines)
                if value_end == len(lines):
                    self._open_field = lines[row].as_py()
        begins = begins & ~is_value
        position = np.arange(len(lines))
        opened = np.maximum.accumulate(np.where(begins, position, -1))
        closed = np.maximum.accumulate(np.where(is_field | is_value, -1, position))
        is_member = (opened > closed) | (self._in_record & (closed < 0))
        # Another `__` field belongs to the record that the first one began.
        rows = np.flatnonzero(begins)
        rows = rows[np.append(self._in_record, is_member[:-1])[rows]]
        begins[rows[~matches(lines.take(pa.array(rows)), "^__CURSOR=")]] = False
        self._in_record = bool(is_member[-1])
        if value_end < len(lines) or not self._in_record:
            self._open_field = ""
        return is_member, is_value, begins, open_field


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """Splits ascending rows into runs without gaps."""
    return np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []


def _with_process(message: pa.Array, process: pa.Array) -> pa.Array:
    """Messages after the process that they name, `app[9]: message`, large strings `(lines,)`; null is no process."""
    named = np.flatnonzero(process.is_valid().to_numpy(zero_copy_only=False))
    some = message.take(pa.array(named))
    # What is indented continues the record above: naming the process again would hide that.
    kept = ~matches(some, r"^[ \t]+\S")
    named, some = named[kept], some.filter(pa.array(kept))
    return _put(message, named, _join(process.take(pa.array(named)), ": ", some))


# Rules are checked once per process: many logs are short, and compiling takes longer than reading them.
_check = functools.lru_cache(maxsize=1024)(check_pattern)


def _is_weak(rule: dict[str, Any]) -> bool:
    return ("recurs" in rule or "evidence" in rule) and not rule.get("is_certain")


def _prefix(pattern: str) -> str:
    """The part of a pattern that decides whether it matches: all but a rest of the line that may be anything."""
    if pattern.endswith(_OPTIONAL_REST):
        return pattern.removesuffix(_OPTIONAL_REST) + "(?: |$)"
    return pattern.removesuffix(_REST)


def _by_heads(rules: Iterator[dict[str, Any]]) -> list[tuple[list[str], str, list[dict[str, Any]]]]:
    """Rules that share their heads, with one pattern that any line matches which one of them does."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for rule in rules:
        groups.setdefault(tuple(rule.get("heads", ())), []).append(rule)
    return [
        (list(heads), "|".join(re.sub(r"\(\?P<\w+>", "(?:", _prefix(rule["pattern"])) for rule in group), group)
        for heads, group in groups.items()
    ]


def _number_of(*key: str | None) -> int:
    """A number for a stream that is the same in every chunk and needs no memory: a hash, never 0."""
    digest = hashlib.blake2b("\0".join(part or "" for part in key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _stream_numbers(rule: dict[str, Any], names: list[pa.Array], outer: np.ndarray) -> np.ndarray:
    """Numbers streams by their names and the streams around them (0 if none), int64 `(rows,)`."""
    key = names[0].fill_null("")
    if len(names) > 1:
        key = _join(*(part for name in names for part in ("\0", name.fill_null(""))))
    encoded = pc.dictionary_encode(key)
    code = dictionary_indices(encoded)
    outers, outer_code = np.unique(outer, return_inverse=True)
    pairs, pair = np.unique(outer_code * len(encoded.dictionary) + code, return_inverse=True)
    values = encoded.dictionary.to_pylist()
    numbers = [
        _number_of(str(outers[number // len(values)]), rule["name"], values[number % len(values)])
        for number in pairs.tolist()
    ]
    return np.array(numbers, dtype=np.int64)[pair]


# A journal writes a value of several lines after its length: eight bytes, the lowest first, of which those that are no
# characters may have got lost.
_LENGTH = re.compile(r"\A[^\0]{0,4}\0{4,7}")


def _value_end(lines: pa.Array, first: int, sizes: np.ndarray, is_end: np.ndarray) -> int:
    """The row after a journal's value of several lines that begins in row `first`; `first` if there is no value."""
    head = "\n".join(lines.slice(first, 4).to_pylist())
    if first < len(lines) and not _LENGTH.match(head):
        return first
    length = head.encode()[:8]
    if len(length) == 8 and max(length) < 0x80 and not any(length[4:]):
        end_size = sizes[first] + 9 + int.from_bytes(length, "little")
        end = int(np.searchsorted(sizes, end_size))
        if end >= len(lines) or sizes[end] == end_size:
            return min(end, len(lines))
    ends = np.flatnonzero(is_end[first + 1 :])
    return first + 1 + int(ends[0]) if len(ends) else len(lines)


def _is_empty(lines: pa.Array) -> np.ndarray:
    return pc.binary_length(lines).to_numpy(zero_copy_only=False) == 0


# ---------------------------------------------------------------------- where most lines look alike


class _Stretches:
    """Stretches of `STRETCH_LINES` lines; a shorter rest belongs to the last one."""

    def __init__(self, text: pa.Array):
        self.text = text
        self.count = max(1, len(text) // STRETCH_LINES)
        self.step = max(1, min(STRETCH_LINES // 4, len(text) // STRETCH_LINES))
        offsets, _ = _buffers(text)
        has_text = offsets[1:][:: self.step] > offsets[:-1][:: self.step]
        self.sampled = np.flatnonzero(has_text) * self.step

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The stretch of each row."""
        return np.minimum(rows // STRETCH_LINES, self.count - 1)

    @functools.cached_property
    def text_lines(self) -> np.ndarray:
        """How many lines of each stretch are not empty, int64 `(stretches,)`, at least 1."""
        rows = np.flatnonzero(~_is_empty(self.text))
        return np.maximum(1, np.bincount(self.of(rows), minlength=self.count))

    def sample(self, candidates: np.ndarray | None, pattern: str) -> np.ndarray:
        """Rows of a few lines that match a pattern, int64; None stands for all rows as candidates."""
        rows = self.sampled if candidates is None else self.sampled[np.isin(self.sampled, candidates)]
        return rows[matches(self.text.take(pa.array(rows)), pattern)] if len(rows) else rows

    def promising(self, candidates: np.ndarray | None, sample: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
        """The candidates in stretches where half of the few lines are what a rule looks for, int64."""
        if not len(sample):
            return sample
        hits = sample[matches(self.text.take(pa.array(sample)), rule.get("typical", _prefix(rule["pattern"])))]
        if "unless" in rule and len(hits):
            hits = hits[~matches(self.text.take(pa.array(hits)), rule["unless"])]
        counts = np.bincount(self.of(self.sampled), minlength=self.count)
        is_promising = 2 * np.bincount(self.of(hits), minlength=self.count) >= np.maximum(1, counts)
        if candidates is None:
            candidates = np.arange(len(self.text)) if is_promising.any() else sample[:0]
        return candidates[is_promising[self.of(candidates)]]


# ---------------------------------------------------------------------- text columns


def _buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, int64 `(texts + 1,)`, and bytes of large strings."""
    _, offsets, data = text.buffers()
    if offsets is None or not len(text):
        return np.zeros(len(text) + 1, dtype=np.int64), np.empty(0, dtype=np.uint8)
    offset = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return offset, np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)


class _Heads:
    """Finds lines by their first characters, without a look at the rest."""

    def __init__(self, text: pa.Array, first_bytes: np.ndarray):
        self.offsets, self.data = _buffers(text)
        self.all_rows = np.empty(0, dtype=np.int64)
        if len(self.data):
            # An empty line shows the first character of the next one; patterns have the last word.
            first = self.data.take(self.offsets[:-1], mode="clip")
            self.all_rows = np.flatnonzero(first_bytes.take(first))
            self._first = first if len(self.all_rows) == len(first) else first[self.all_rows]
        self._found: dict[str, np.ndarray] = {}

    def rows(self, heads: Sequence[str]) -> np.ndarray:
        """Rows of lines that begin with one of these, int64, and perhaps a few others."""
        if not len(self.all_rows):
            return self.all_rows
        found = [rows for rows in map(self._rows, heads) if len(rows)]
        if len(found) < 2:
            return found[0] if found else self.all_rows[:0]
        return np.unique(np.concatenate(found))

    def _rows(self, head: str) -> np.ndarray:
        if head not in self._found:
            fits = _byte_test(head[0])(self._first)
            rows = self.all_rows if fits.all() else self.all_rows[fits]
            # The last character tells most: many logs begin with a date.
            for place in range(len(head) - 1, 0, -1):
                if head[place] != "." and len(rows):
                    characters = self.data.take(self.offsets[rows] + place, mode="clip")
                    rows = rows[_byte_test(head[place])(characters)]
            self._found[head] = rows
        return self._found[head]


def _byte_test(character: str) -> Callable[[np.ndarray], np.ndarray]:
    if character == "0":
        return lambda data: data - np.uint8(ord("0")) < 10
    return lambda data: data == ord(character)


def _take(text: pa.Array, rows: np.ndarray) -> pa.Array:
    return text if len(rows) == len(text) else text.take(pa.array(rows))


def _join(*parts: pa.Array | str) -> pa.Array:
    """Texts one after the other; null where one of them is."""
    scalars = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in (*parts, "")]
    return pc.binary_join_element_wise(*scalars)


def _put(text: pa.Array, rows: np.ndarray | None, new: pa.Array) -> pa.Array:
    """A column with other texts in some rows, which ascend; None for all."""
    if rows is None or len(rows) == len(text):
        return new
    if not len(rows):
        return text
    mask = np.zeros(len(text), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(text, pa.array(mask), new)


def _put_valid(inner: InnerLines, column: str, rows: np.ndarray, new: pa.Array) -> None:
    valid = new.is_valid().to_numpy(zero_copy_only=False)
    setattr(inner, column, _put(getattr(inner, column), rows[valid], new.filter(pa.array(valid))))


def _groups(text: pa.Array, pattern: str) -> dict[str, pa.Array]:
    """What the named groups of a pattern match in texts that it matches.

    Wrappers repeat up to their digits, and what follows them does not matter: so the groups are looked for once in
    each distinct wrapper.

    Returns:
        For each group a large string `(texts,)`, null where it has no part in the match.
    """
    prefix = _prefix(pattern)
    if prefix == pattern:
        return _spans(Shapes(text), pattern)
    rest = pc.replace_substring_regex(text, prefix, "", max_replacements=1)
    lengths = np.diff(_buffers(text)[0]) - np.diff(_buffers(rest)[0])
    wrapper = _slices(text, np.zeros(len(text), dtype=np.int64), lengths)
    return {**_spans(Shapes(wrapper), prefix), "text": rest}


def _spans(shapes: Shapes, pattern: str) -> dict[str, pa.Array]:
    """What the named groups of a pattern match in texts, as `_groups`.

    A pattern that treats all digits alike looks once at texts that are equal up to their digits: what it finds lies
    in the same place in all of them.
    """
    by_shape = digit_alternatives(pattern)[0] is None
    found = pc.extract_regex_span(shapes.distinct if by_shape else shapes.text, pattern)
    matched = found.is_valid().to_numpy(zero_copy_only=False)
    groups = {}
    for number, field in enumerate(found.type):
        spans = found.field(number)
        places = spans.values.to_numpy(zero_copy_only=False).reshape(-1, 2)[spans.offset :][: len(spans)]
        valid = matched & spans.is_valid().to_numpy(zero_copy_only=False)
        places = np.where(valid[:, None], places, 0).astype(np.int64)
        if by_shape:
            places, valid = places[shapes.index], valid[shapes.index]
        groups[field.name] = _slices(shapes.text, places[:, 0], places[:, 1], valid)
    return groups


def _slices(text: pa.Array, start: np.ndarray, length: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """A run of bytes of each text, large strings `(texts,)`; null where not `valid`."""
    offsets, data = _buffers(text)
    if not len(data):
        return text if valid is None else pc.if_else(pa.array(valid), text, None)
    begin = offsets[:-1] + start
    # Each even slot is a slice, each odd one what lies between it and the next.
    bounds = np.append(np.stack([begin, begin + length], axis=1).ravel(), offsets[-1])
    pieces = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    rows = np.arange(0, len(pieces), 2)
    return pieces.take(pa.array(rows, mask=None if valid is None or valid.all() else ~valid))


def _unescape(text: pa.Array) -> pa.Array:
    """The texts of JSON strings, given what is between their quotes; nulls stay."""
    escaped = np.flatnonzero(pc.match_substring(text, "\\").fill_null(False).to_numpy(zero_copy_only=False))
    if not len(escaped):
        return text
    written = pc.dictionary_encode(text.take(pa.array(escaped)))
    values = json.loads('["' + '","'.join(written.dictionary.to_pylist()) + '"]', strict=False)
    try:
        plain = pa.array(values, pa.large_string())
    except UnicodeEncodeError:  # halves of surrogate pairs
        plain = pa.array(
            [value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") for value in values],
            pa.large_string(),
        )
    return _put(text, escaped, plain.take(pa.array(dictionary_indices(written))))


def _from_array(text: pa.Array) -> pa.Array:
    """The texts of JSON arrays: of bytes, as a journal writes what is no text, or of strings. Nulls stay."""

    def decode(array: str) -> str:
        try:
            values = json.loads(array, strict=False)
            if all(isinstance(value, int) for value in values):
                return bytes(values).decode("utf-8", "replace")
            lines = "\n".join(str(value) for value in values)
            return lines.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        except ValueError:
            return array

    encoded = pc.dictionary_encode(text)
    values = pa.array([decode(value) for value in encoded.dictionary.to_pylist()], pa.large_string())
    return values.take(encoded.indices)


# ---------------------------------------------------------------------- colours and carriage returns

_ESCAPES = (
    r"(?:\x1b\[[0-?]*[ -/]*[@-~]?|\x{9B}[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b\]|\x{9D})[^\x07\x1b\x{9C}]*(?:\x07|\x1b\\|\x{9C})"  # OSC: titles, links
    r"|(?:\x1b[PX^_]|[\x{90}\x{98}\x{9E}\x{9F}])[^\x07\x1b\x{9C}]*(?:\x1b\\|\x{9C})"  # other strings
    r"|\x1b[ -/]*[0-~]?)"  # character sets, cursor saved and restored
)
# Erases the line or moves the cursor to its beginning: what follows replaces what is there.
_REWRITES = r"(?:\x1b\[|\x{9B})(?:1?G|[12]K|2J|1?(?:;1?)?[Hf])"
_BLOCK_BYTES = 1 << 18


def strip_colour(lines: pa.Array) -> pa.Array:
    """Removes terminal control sequences from large strings `(lines,)`: colours, cursor moves, titles, link targets.

    The text of a link stays.
    """
    return _replaced(lines, [(_ESCAPES, "")], is_return=False)


def visible(lines: pa.Array) -> pa.Array:
    """What a terminal shows of large strings `(lines,)` at the end: a carriage return starts the text anew.

    So does a sequence that erases the line or moves the cursor to its beginning. Text that nothing was written over
    stays, even if the line ends in a return.
    """
    return _replaced(
        lines,
        [
            (_REWRITES, "\r"),
            (rf"(?:\r(?:[ \t\r]|{_ESCAPES})*)+(\n|\z)", r"\1"),
            (r"[^\n]*\r", ""),
        ],
        is_return=True,
    )


def _without_escapes(lines: pa.Array) -> pa.Array:
    """Removes colours; what starts the visible text anew becomes a carriage return. The same array if nothing does."""
    return _replaced(lines, [(_REWRITES, "\r"), (_ESCAPES, ""), (r"\A\r+", "")], is_return=True)


def _replaced(lines: pa.Array, replacements: list[tuple[str, str]], is_return: bool) -> pa.Array:
    rows = _control_rows(lines, is_return)
    if not len(rows):
        return lines
    text = _take(lines, rows)
    for pattern, replacement in replacements:
        text = pc.replace_substring_regex(text, pattern, replacement)
    return _put(lines, rows, text)


def _control_rows(lines: pa.Array, is_return: bool) -> np.ndarray:
    """Rows of the lines with an escape, an 8-bit control or, if `is_return`, a carriage return, int64."""
    offsets, data = _buffers(lines)
    data = data[offsets[0] : offsets[-1]]
    found = []
    for begin in range(0, len(data), _BLOCK_BYTES):
        block = data[begin : begin + _BLOCK_BYTES]
        # As signed numbers, all but printable ASCII are below a space.
        if block.view(np.int8).min() >= ord(" "):
            continue
        is_control = block == 0x1B
        if is_return:
            is_control |= block == ord("\r")
        # U+0090 to U+009F are C2 and another byte, which other characters have as well.
        if block.max() >= 0x80:
            before = np.append(data[begin - 1 : begin] if begin else 0, block[:-1])
            is_control |= (block & 0xF0 == 0x90) & (before == 0xC2)
        if is_control.any():
            found.append(np.flatnonzero(is_control) + (begin + offsets[0]))
    if not found:
        return np.empty(0, dtype=np.int64)
    return np.unique(np.searchsorted(offsets, np.concatenate(found), side="right") - 1)


__all__ = ["FORMATS", "TRANSPORTS", "InnerLines", "Unwrapper", "strip_colour", "visible"]
