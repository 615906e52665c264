"""Physical lines in, inner lines out: what a transport put around each line is taken off, and so are colour codes.

A transport is whatever carried a program's output on its way into a file: container runtime, journal, syslog, Docker
Compose, kubectl, CI job. The transports are data (`TRANSPORTS`), saved with a checkpoint. A strongly marked wrapper
is recognised line by line; one that ordinary text may resemble counts only where most lines around it look alike.
Every step works on whole Arrow columns, and a log without wrappers pays for a look at the first character of its
lines.
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import (
    Heads,
    Shapes,
    buffers,
    byte_test,
    check_pattern,
    dictionary_indices,
    group_texts,
    is_empty,
    join_texts,
    json_array_text,
    json_unescape,
    matches,
    put_rows,
    take_rows,
)
from .lines_logmoe import InnerLines
from .records_logmoe import RecordReader
from .rules_logmoe import CONTINUATION_PATTERN, EXCEPTION_PATTERN, SEVERITY_WORDS
from .tables_logmoe import TableReader
from .terminal_logmoe import control_rows, visible, without_escapes
from .transports_logmoe import TRANSPORTS, prefix_of, wrapper_groups

# A wrapper within a wrapper within a wrapper: a syslog record in Docker's JSON in a CRI file.
MAX_LEVELS = 3
# Where lines only look wrapped, this share of the lines in a stretch of this length must look so.
MIN_SHARE = 0.8
STRETCH_LINES = 1000
# Characters of each earlier line that are looked at beside a chunk, at most.
LONGEST_RECENT = 1 << 13
# Docker cuts longer lines into pieces of this size: `defaultBufSize` in moby's daemon/logger/copier.go, since 1.13.
DOCKER_PIECE_BYTES = 16 * 1024
# Transports whose stream is a service, and what tells copies of it apart there: the number that PM2 puts first or
# Compose last; of a pod the hash of its ReplicaSet and five letters, or its place in a StatefulSet.
NAMED_BY_STREAM = {
    "compose": (r"^\d+\||[-_]\d+$", ""),
    "kubectl": (r"^([^/]+?)(?:(?:-[a-f\d]{6,10})?-[bcdfghjklmnpqrstvwxz2456789]{5}|-\d+)/", r"\1/"),
}
# Services or hosts that are remembered per transport.
MAX_NAMES = 10_000

_LEVELS = list(SEVERITY_WORDS)
# Syslog's priorities 0 (emergency) to 7 (debug).
_LEVEL_OF_PRIORITY = np.array(
    [_LEVELS.index(name) for name in ("FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")],
    dtype=np.int8,
)
_LEVEL_OF_WORD = {word: level for level, words in enumerate(SEVERITY_WORDS.values()) for word in words}
_MAY_CONTINUE = f"{CONTINUATION_PATTERN}|{EXCEPTION_PATTERN}"


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
                    check_pattern(f"{rule['name']}.{key}", rule[key])
            for pattern in rule.get("fields", ()):
                check_pattern(f"{rule['name']}.fields", pattern)
        self.formats = ["plain", *dict.fromkeys(rule["name"] for rule in self.rules)]
        self._records = [RecordReader(rule) for rule in self.rules if "begins" in rule]
        self._tables = [TableReader(rule) for rule in self.rules if "lists" in rule]
        wrappers = [rule for rule in self.rules if not {"begins", "lists"} & set(rule)]
        self._certain = _by_heads(rule for rule in wrappers if not _is_weak(rule))
        self._weak = _by_heads(rule for rule in wrappers if _is_weak(rule))
        self._first_bytes = np.zeros(256, dtype=bool)
        for head in {head for rule in self.rules for head in rule.get("heads", ())}:
            self._first_bytes[byte_test(head[0])(np.arange(256, dtype=np.uint8))] = True
        self.start()

    def start(self) -> None:
        """Begins a new log: forgets what was learned of the one before."""
        self._known: dict[str, set[str]] = {}  # per transport the services or hosts seen; "" if it names none
        self._recent: dict[int, pa.Array] = {}  # per level the last lines of a log that comes in small chunks
        self._stream = 0  # of the last line that names one
        self._unfinished: set[int] = set()  # streams whose last line goes on in the next
        for records in self._records:
            records.start()
        for table in self._tables:
            table.start()

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
        heads = Heads(lines, self._first_bytes)
        in_record = self._unwrap_records(inner, own_stream, heads)
        is_plain = in_record is None

        lines = self._name_values(inner, lines, heads)
        text = lines
        positions = None if in_record is None else np.flatnonzero(~in_record)  # of `text` in the lines; None for all
        if positions is not None:
            text = inner.text.take(pa.array(positions))
        for level in range(MAX_LEVELS + 1):
            plain = without_escapes(text)
            if plain is not text:
                text, is_plain = plain, False
                inner.text = put_rows(inner.text, positions, text)
            if text is not lines:
                heads = Heads(text, self._first_bytes)
            if level == MAX_LEVELS or not len(text):
                break
            outer = inner.format if positions is None else inner.format[positions]
            found = []
            for rule, rows in self._find(text, heads, level, outer):
                places = rows if positions is None else positions[rows]
                unwrapped, names = self._take_off(rule, take_rows(text, rows), places, inner, own_stream)
                if names is not None:
                    process = pa.nulls(len(lines), pa.large_string()) if process is None else process
                    process = put_rows(process, places, names)
                found.append((places, unwrapped))
            if not found:
                break
            is_plain = False
            positions = np.concatenate([places for places, _ in found])
            text = pa.concat_arrays([unwrapped for _, unwrapped in found])
            if len(found) > 1:
                order = positions.argsort()
                positions, text = positions[order], text.take(pa.array(order))
            inner.text = put_rows(inner.text, positions, text)

        inner.stream[:] = self._stream
        if is_plain:
            return inner
        inner.text = inner.message = visible(inner.text)
        self._follow_streams(inner, own_stream)
        if inner.starts.any():
            many_lines = [self._index(reader.rule["name"]) for reader in self._records]
            records = np.flatnonzero(inner.starts & ~np.isin(inner.format, many_lines))
            inner.starts[records] = ~matches(inner.message.take(pa.array(records)), _MAY_CONTINUE)
        if process is not None:
            inner.text = _with_process(inner.message, process)
        return inner

    def unwrap_logs(self, lines: pa.Array, ends: np.ndarray) -> InnerLines:
        """Unwraps many whole logs, each for itself. Logs without a sign of any wrapping, most often all, go at once.

        Args:
            lines: large strings `(lines,)`, one log after the other.
            ends: int64 `(logs,)`, where each ends.
        """
        inner = InnerLines.of(lines)
        maybe = np.zeros(len(lines), dtype=bool)
        heads = Heads(lines, self._first_bytes)
        for rule in self.rules:
            if "heads" in rule:
                maybe[heads.rows(rule["heads"])] = True
            elif not maybe.all():
                maybe |= matches(lines, prefix_of(rule["pattern"]))
        maybe[control_rows(lines, is_return=True)] = True
        starts, before = np.append(0, ends[:-1]), np.append(0, maybe.cumsum())
        wrapped = np.flatnonzero(before[ends] > before[starts])
        if not len(wrapped):
            return inner
        unwrapped, done = [], 0
        for log in wrapped.tolist():
            self.start()
            unwrapped += [InnerLines.of(lines.slice(done, starts[log] - done))] if starts[log] > done else []
            unwrapped.append(self.unwrap(lines.slice(starts[log], ends[log] - starts[log])))
            done = ends[log]
        if done < len(lines):
            unwrapped.append(InnerLines.of(lines.slice(done)))
        self.start()
        return InnerLines.concatenate(unwrapped)

    def _index(self, name: str) -> int:
        return self.formats.index(name) if name in self.formats else -1

    def open_from(self, lines: pa.Array) -> int:
        """The row from which on lines belong to a record that the next chunk may continue; their number if none do.

        Those lines should be unwrapped together with the rest of their record.
        """
        if not self._records or not len(lines):
            return len(lines)
        heads = Heads(lines, self._first_bytes)
        return min(
            records.open_from(lines, rows) if len(rows := heads.rows(records.rule["heads"])) else len(lines)
            for records in self._records
        )

    # ------------------------------------------------------------------ which lines are wrapped

    def _find(
        self, text: pa.Array, heads: "Heads", level: int, outer: np.ndarray
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
            lines = take_rows(text, rows)
            hits = matches(lines, pattern)
            rows, lines = rows[hits], lines.filter(pa.array(hits))
            for rule in rules:
                if not len(rows):
                    break
                hits = matches(lines, prefix_of(rule["pattern"]))
                for field in rule.get("fields", ())[:1]:
                    hits = hits & matches(lines, field) if hits.any() else hits
                if "unless" in rule and hits.any():
                    hits = hits & ~matches(lines, rule["unless"])
                if not hits.any():
                    continue
                free[rows[hits]] = False
                if "recurs" in rule:
                    self._remember(rule, pc.unique(wrapper_groups(lines, rule["pattern"])[rule["recurs"]]).drop_null())
                yield rule, rows[hits]
                rows, lines = rows[~hits], lines.filter(pa.array(~hits))

        context = self._recent.get(level) if len(text) < STRETCH_LINES else None
        shift = 0 if context is None else len(context)
        whole = text if context is None else pa.concat_arrays([context, text])
        if shift:
            heads = Heads(whole, self._first_bytes)
        recent = whole.slice(max(0, len(whole) - STRETCH_LINES))
        # They are looked at again with every chunk, and wrappers stand at the beginning of a line.
        is_long = (pc.max(pc.binary_length(recent)).as_py() or 0) > LONGEST_RECENT
        self._recent[level] = pc.utf8_slice_codeunits(recent, 0, LONGEST_RECENT) if is_long else recent
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
        lines = take_rows(text, rows)
        hits = matches(lines, prefix_of(rule["pattern"])) if len(rows) else np.empty(0, dtype=bool)
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
        names = pc.dictionary_encode(wrapper_groups(lines, rule["pattern"])[rule["recurs"]])
        code = dictionary_indices(names)
        if not rule.get("is_known"):
            # Names recur: a service writes more than one line.
            pairs = np.unique(stretch * len(names.dictionary) + code) // len(names.dictionary)
            counts = np.bincount(stretch, minlength=stretches.count)
            recurring = 2 * np.bincount(pairs, minlength=stretches.count) <= counts
            if "evidence" in rule and not recurring.all():
                evident = stretch[matches(lines, rule["evidence"])]
                recurring |= 2 * np.bincount(evident, minlength=stretches.count) >= counts
            looks_alike &= recurring
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
                groups.update(group_texts(shapes, pattern))
        else:
            groups = wrapper_groups(lines, rule["pattern"])
        text = groups.get("text", pa.nulls(len(lines), pa.large_string()))
        if rule.get("is_json"):
            text = json_unescape(text)
            if "bytes" in groups:
                text = pc.coalesce(text, json_array_text(groups["bytes"]))
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
            # One without a newline may also be a prompt, the last words of a process, or of a tool that drops all.
            is_full = pc.greater_equal(pc.binary_length(text), DOCKER_PIECE_BYTES)
            inner.joins[positions] |= pc.and_(is_full, groups["newline"].is_null()).to_numpy(zero_copy_only=False)
        if "stream" in rule:
            stream[positions] = _stream_numbers(rule, [groups[name] for name in rule["stream"]], stream[positions])

        program = _program_of(rule, groups)
        if program is not None:
            known = inner.program.take(pa.array(positions))
            inner.program = put_rows(inner.program, positions, pc.coalesce(known, program))
        process = groups.get("process")
        if process is not None and "pid" in groups:
            process = pc.coalesce(join_texts(process, "[", groups["pid"], "]"), process)
        return text, process

    def _follow_streams(self, inner: InnerLines, own: np.ndarray) -> None:
        """Numbers the streams of all lines, and joins the pieces of lines that a transport cut."""
        last_named = np.maximum.accumulate(np.where(own != 0, np.arange(len(own)), -1))
        inner.stream = np.where(last_named < 0, self._stream, own[last_named])
        self._stream = int(inner.stream[-1])
        if not (inner.joins.any() or inner.joined.any() or self._unfinished):
            return
        rows = np.flatnonzero(inner.is_wrapped)
        if not len(rows):
            return
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

    def _name_values(self, inner: InnerLines, lines: pa.Array, heads: Heads) -> pa.Array:
        """Names the values of tables; gives the lines with these in place."""
        for table in self._tables:
            candidates = heads.rows(table.rule["heads"])
            if len(candidates) or table.fields:
                rows, named = table.read(lines, candidates)
                if len(rows):
                    lines = put_rows(lines, rows, named)
                    inner.text = inner.message = put_rows(inner.text, rows, named)
                    inner.format[rows] = self._index(table.rule["name"])
        return lines

    def _unwrap_records(self, inner: InnerLines, stream: np.ndarray, heads: "Heads") -> np.ndarray | None:
        """Unwraps records of several lines. The first line of a record gets the message, the others a blank text.

        Returns:
            Which lines belong to such records, bool `(lines,)`; None if none does.
        """
        in_record: np.ndarray | None = None
        for reader in self._records:
            candidates = heads.rows(reader.rule["heads"])
            if not (len(candidates) or reader.is_open):
                continue
            records = reader.read(inner.text, candidates)
            if records is None:
                continue
            in_record = np.zeros(len(inner.text), dtype=bool) if in_record is None else in_record
            in_record[records.members] = True
            text = pa.array(np.full(len(records.members), ""), pa.large_string())
            text = put_rows(text, np.searchsorted(records.members, records.first), records.message.fill_null(""))
            inner.text = put_rows(inner.text, records.members, text)
            inner.is_wrapped[records.members] = True
            inner.belongs[records.members] = True
            inner.belongs[records.first[records.starts]] = False
            inner.starts[records.first[records.starts]] = True
            inner.format[records.members] = self._index(reader.rule["name"])
            stream[records.members] = _number_of(reader.rule["name"])
            _put_valid(inner, "time", records.first, records.time)
            _put_valid(inner, "program", records.first, records.program)
            priority = records.priority.cast(pa.int64()).fill_null(-1).to_numpy()
            inner.severity[records.first[priority >= 0]] = _LEVEL_OF_PRIORITY[priority[priority >= 0]]
        return in_record


def _with_process(message: pa.Array, process: pa.Array) -> pa.Array:
    """Messages after the process that they name, `app[9]: message`, large strings `(lines,)`; null is no process."""
    named = np.flatnonzero(process.is_valid().to_numpy(zero_copy_only=False))
    some = message.take(pa.array(named))
    # What is indented continues the record above: naming the process again would hide that.
    kept = ~matches(some, r"^[ \t]+\S")
    named, some = named[kept], some.filter(pa.array(kept))
    return put_rows(message, named, join_texts(process.take(pa.array(named)), ": ", some))


def _program_of(rule: dict[str, Any], groups: dict[str, pa.Array]) -> pa.Array | None:
    """The program that each line of a transport names, large strings `(lines,)`; None if this transport names none.

    Copies of a service have one name: `web-1` and `web-2` of Compose, pods of one deployment.
    """
    if "process" in groups:
        return groups["process"]
    if "identifier" in groups:
        return pc.coalesce(groups["identifier"], groups["unit"]) if "unit" in groups else groups["identifier"]
    if rule["name"] in NAMED_BY_STREAM:
        return pc.replace_substring_regex(groups["stream"], *NAMED_BY_STREAM[rule["name"]])
    return None


def _is_weak(rule: dict[str, Any]) -> bool:
    return ("recurs" in rule or "evidence" in rule) and not rule.get("is_certain")


def _by_heads(rules: Iterator[dict[str, Any]]) -> list[tuple[list[str], str, list[dict[str, Any]]]]:
    """Rules that share their heads, with one pattern that any line matches which one of them does."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for rule in rules:
        groups.setdefault(tuple(rule.get("heads", ())), []).append(rule)
    return [
        (list(heads), "|".join(re.sub(r"\(\?P<\w+>", "(?:", prefix_of(rule["pattern"])) for rule in group), group)
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
        key = join_texts(*(part for name in names for part in ("\0", name.fill_null(""))))
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


# ---------------------------------------------------------------------- where most lines look alike


class _Stretches:
    """Stretches of `STRETCH_LINES` lines; a shorter rest belongs to the last one."""

    def __init__(self, text: pa.Array):
        self.text = text
        self.count = max(1, len(text) // STRETCH_LINES)
        self.step = max(1, min(STRETCH_LINES // 4, len(text) // STRETCH_LINES))
        offsets, _ = buffers(text)
        has_text = offsets[1:][:: self.step] > offsets[:-1][:: self.step]
        self.sampled = np.flatnonzero(has_text) * self.step

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The stretch of each row."""
        return np.minimum(rows // STRETCH_LINES, self.count - 1)

    @functools.cached_property
    def text_lines(self) -> np.ndarray:
        """How many lines of each stretch are not empty, int64 `(stretches,)`, at least 1."""
        rows = np.flatnonzero(~is_empty(self.text))
        return np.maximum(1, np.bincount(self.of(rows), minlength=self.count))

    def sample(self, candidates: np.ndarray | None, pattern: str) -> np.ndarray:
        """Rows of a few lines that match a pattern, int64; None stands for all rows as candidates."""
        rows = self.sampled if candidates is None else self.sampled[np.isin(self.sampled, candidates)]
        return rows[matches(self.text.take(pa.array(rows)), pattern)] if len(rows) else rows

    def promising(self, candidates: np.ndarray | None, sample: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
        """The candidates in stretches where half of the few lines are what a rule looks for, int64."""
        if not len(sample):
            return sample
        hits = sample[matches(self.text.take(pa.array(sample)), rule.get("typical", prefix_of(rule["pattern"])))]
        if "unless" in rule and len(hits):
            hits = hits[~matches(self.text.take(pa.array(hits)), rule["unless"])]
        counts = np.bincount(self.of(self.sampled), minlength=self.count)
        is_promising = 2 * np.bincount(self.of(hits), minlength=self.count) >= np.maximum(1, counts)
        if candidates is None:
            candidates = np.arange(len(self.text)) if is_promising.any() else sample[:0]
        return candidates[is_promising[self.of(candidates)]]


def _put_valid(inner: InnerLines, column: str, rows: np.ndarray, new: pa.Array) -> None:
    valid = new.is_valid().to_numpy(zero_copy_only=False)
    setattr(inner, column, put_rows(getattr(inner, column), rows[valid], new.filter(pa.array(valid))))


__all__ = ["Unwrapper"]
