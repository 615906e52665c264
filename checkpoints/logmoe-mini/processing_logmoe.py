"""Text in: raw log → physical lines → entries → masked entries → distinct entries → sequences → model inputs.

Every step works on whole columns with Arrow kernels; the rules are data, saved with the checkpoint, so that text is
prepared for serving exactly as it was for training.
"""

import codecs
import copy
import functools
import inspect
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import AddedToken, AutoTokenizer, BatchFeature, ProcessorMixin

# What continues the entry above it: an indented line, the unindented lines of Java and Python stack traces, and the
# closing brackets of an object printed over several lines.
CONTINUATION_PATTERN = (
    r"^(?:[ \t]|Caused by: |Suppressed: |\.\.\. \d+ (?:more|common frames)"
    r"|Traceback \(most recent call last\):|During handling of the above exception|The above exception was the direct"
    r"|[}\])]+[,;]?\s*$)"
)
# The line that names an exception continues the message before it, or ends the Python traceback above it. After
# another exception or its frames it is an entry of its own.
EXCEPTION_PATTERN = r"^(?:[a-z_][\w$]*\.)*[A-Z][\w$]*(?:Exception|Error|Throwable|Interrupt)(?::|\s*$)"

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?"
# Zones by name: any capitals would swallow the severity that often follows a timestamp.
_ZONE = (
    r"(?: ?(?:Z\b|(?:UTC|GMT|MSK|CES?T|EES?T|WES?T|(?:[ECMPAHNIJKB]|AK|NZ|AE|AC|AW|SA)[SD]T)\b|[+-]\d{2}:?\d{2}\b))?"
)
_TIMESTAMP = (
    r"(?:"
    rf"\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}[T -]{_CLOCK}{_ZONE}"  # ISO 8601 and its cousins
    r"|\d{4}-\d{2}-\d{2}-\d{2}\.\d{2}\.\d{2}\.\d+"  # Blue Gene
    rf"|\d{{1,2}}/{_MONTH}/\d{{4}}:{_CLOCK}{_ZONE}"  # Apache and nginx access logs
    rf"|{_WEEKDAY},? {_MONTH} +\d{{1,2}} {_CLOCK}{_ZONE}(?: \d{{4}})?"  # Apache error logs, date(1)
    rf"|{_MONTH} +\d{{1,2}} {_CLOCK}"  # syslog
    rf"|\d{{2}}-{_MONTH}-\d{{4}} {_CLOCK}"  # Tomcat, BIND
    rf"|\d{{1,2}} {_MONTH} \d{{4}} {_CLOCK}"  # Redis
    rf"|\d{{2}}-\d{{2}} {_CLOCK}"  # Android
    rf"|\d{{2}}/\d{{2}}/\d{{2}} {_CLOCK}"  # Spark
    r")"
)
# Seconds or milliseconds since 1970, and Hadoop's digits: times only where a timestamp stands, numbers elsewhere.
_BARE_TIMESTAMP = r"(?:1\d{9}(?:\.\d+|\d{3})?|\d{6} \d{6})\b"
_BARE_PLACE = r"""(?:^[\s\[<("]*|"(?:ts|time|timestamp)": ?"?|\b(?:ts|time|timestamp)=)"""
_SEVERITY = r"(?i:trace|debug|info|notice|warn|warning|err|error|severe|crit|critical|alert|emerg|fatal|panic)\d?\b"
# Indented lines that start an entry all the same: they begin with their time or severity. In capitals, for a column
# named error in an indented statement is none.
INDENTED_ENTRY_PATTERN = (
    rf"^[ \t]+[\[(]?(?:{_TIMESTAMP}"
    r"|(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|ALERT|FATAL|PANIC)[\])]?:?(?: |$))"
)

# Finds what the head of an entry says of its time and severity. Serves windows by time and the severity-blind
# benchmark.
HEADER_PATTERN = (
    rf"^(?:.{{0,200}}?(?P<timestamp>{_TIMESTAMP}))?(?:.{{0,120}}?\b(?P<severity>{_SEVERITY}|(?:LOG|log)\b))?"
)
_BARE_HEADER = rf"{_BARE_PLACE}(?P<timestamp>{_BARE_TIMESTAMP})"

# strptime formats, tried in order on the timestamp without its fraction and zone. A missing year counts as 2000, which
# has a 29th of February.
TIMESTAMP_FORMATS = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d-%H.%M.%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%b %d %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%m-%d %H:%M:%S",
    "%y/%m/%d %H:%M:%S",
    "%y%m%d %H%M%S",
    "%s",
]

# Replaced in this order. `phrase` says in plain words what the placeholder stands for: the mean of its word pieces is
# where the placeholder's embedding starts. Status codes come before numbers: 200 and 502 are not the same news.
_STATUS = (
    r"""(HTTP/[\d.]+"?,? (?:status: )?"""
    r"""|\b(?:http_)?status(?:_?code)?=|\bhttp_code=|"(?:http_?)?status(?:_?code)?": ?"?)"""
)
_STATUS_END = r"""([\s,;"'}\])]|$)"""
_IPV6_GROUPS = r"(?::[0-9a-fA-F]{1,4})"

_COLOUR = r"\x1b\[[0-9;?]*[A-Za-z]"
_BLANK = r"\s\x00\p{Z}\x{FEFF}\x{200B}"

MASKS: list[dict[str, str]] = [
    {"pattern": _COLOUR, "replacement": ""},
    {
        "pattern": r"\b(?:[a-zA-Z][a-zA-Z0-9+-]{1,15}://|jdbc:[a-z]+:)[^\s\"'<>)\]},;]+",
        "replacement": "<URL>",
        "phrase": "url",
    },
    {
        "pattern": r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4,12}\b",
        "replacement": "<UUID>",
        "phrase": "unique identifier",
    },
    {
        "pattern": rf"\b(?:{_TIMESTAMP}|\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}\b|{_CLOCK}\b)",
        "replacement": "<TIME>",
        "phrase": "time",
    },
    {"pattern": rf"({_BARE_PLACE}){_BARE_TIMESTAMP}", "replacement": r"\1<TIME>", "phrase": "time"},
    {"pattern": r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", "replacement": "<EMAIL>", "phrase": "email address"},
    {
        "pattern": r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b",
        "replacement": "<MAC>",
        "phrase": "hardware address",
    },
    {
        # IPv4, full IPv6, and shortened IPv6 of the ranges in use: `std::string` and `a1::b` are no addresses.
        "pattern": (
            r"(?:::ffff:)?\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]\d{1,5})?\b"
            r"|\[?\b(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
            rf"|(?:[23][0-9a-fA-F]{{3}}|[fF][cCdDeEfF][0-9a-fA-F]{{2}}){_IPV6_GROUPS}{{0,6}}:"
            rf"(?:{_IPV6_GROUPS}{{1,7}}|:))"
            r"(?:%\w+)?(?:\]:\d{1,5}|\]|/\d{1,3}\b)?"
            r"|\[?\B::1\b(?:\]:\d{1,5}|\])?"
        ),
        "replacement": "<IP>",
        "phrase": "ip address",
    },
    *(
        {"pattern": f"{_STATUS}{codes}{_STATUS_END}", "replacement": rf"\1<{name}>\2", "phrase": phrase}
        for codes, name, phrase in (
            (r"2\d\d", "HTTP_SUCCESS", "success"),
            (r"[13]\d\d", "HTTP_REDIRECT", "moved"),
            ("404", "HTTP_NOT_FOUND", "not found"),
            ("40[13]", "HTTP_FORBIDDEN", "forbidden"),
            (r"4\d\d", "HTTP_CLIENT_ERROR", "bad request"),
            ("50[234]", "HTTP_UNAVAILABLE", "unavailable"),
            (r"5\d\d", "HTTP_SERVER_ERROR", "server error"),
        )
    ),
    {
        "pattern": (
            r"""(^|[\s"'=(\[:,>\p{Han}“‘：，（])"""
            r"""(?:[A-Za-z]:\\[^\s"'<>|,;)\]]*|~?(?:/[\w.@%+~-]+){2,}/?(?:[?#][^\s"']*)?)"""
        ),
        "replacement": r"\1<PATH>",
        "phrase": "file path",
    },
    {"pattern": r"\b0[xX][0-9a-fA-F]+\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    # An identifier such as blk_-160 keeps its name whatever the sign.
    {"pattern": r"\b([A-Za-z]+_)-?\d+\b", "replacement": r"\1<NUM>", "phrase": "number"},
    {"pattern": r"\d+(?:[.,]\d+)+|\b\d+\b", "replacement": "<NUM>", "phrase": "number"},
    {"pattern": r"\b[0-9a-fA-F]{8,}\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    {"pattern": r"@[0-9a-f]{5,8}\b", "replacement": "@<HEX>", "phrase": "hexadecimal number"},
    # No word with a number in it: letters follow digits twice (7f1c2d3, x2k9q), or a capital follows a digit and
    # another digit follows that, in something long (the base64 of RzZuJ9P-SyqVdVCnTCb3hQ).
    {
        "pattern": r"\b[A-Za-z]*(?:[0-9]+[A-Za-z]+){2,}[\w-]*\b",
        "replacement": "<ID>",
        "phrase": "identifier",
    },
    {
        "pattern": (
            r"""(^|[\s"'=(\[,:])(?:[\w-]{8,}[0-9][A-Z][\w-]*[0-9][\w-]*"""
            r"""|[\w-]*[0-9][A-Z](?:[\w-]*[0-9][\w-]{4,}|[\w-]{6,}[0-9][\w-]*))\b"""
        ),
        "replacement": r"\1<ID>",
        "phrase": "identifier",
    },
    {"pattern": r"\d+", "replacement": "<NUM>", "phrase": "number"},
    # A list says the same however long it is.
    {"pattern": r"<NUM>(?:[,;:|/ ]{1,2}<NUM>){2,}", "replacement": "<NUM>", "phrase": "number"},
    {"pattern": r"[\s\p{Z}]+", "replacement": " "},
]

# Brings a timestamp to the shape of TIMESTAMP_FORMATS: no fraction, no zone, one separator.
_PLAIN_STAMP = [
    (r"(:\d{2}|^\d{10}|-\d{2}\.\d{2}\.\d{2})[.,]\d+", r"\1"),
    (r"^(\d{10})\d{3}$", r"\1"),
    (r"(:\d{2}) ?(?:Z|[A-Z]{2,4}|[+-]\d{2}:?\d{2})\b", r"\1"),
    (r"^(\d{4})[-/.](\d{2})[-/.](\d{2})[T -](\d{1,2}:)", r"\1-\2-\3 \4"),
    (r"\s+", " "),
]

# NUL bytes alone are what a crashed machine leaves at the end of its log, colours alone what a progress bar does.
_TEXT_PATTERN = rf"^(?:{_COLOUR}|[{_BLANK}])*(?:[^\x1b{_BLANK}]|\x1b(?:[^\[]|\[[0-9;?]*[^0-9;?A-Za-z]))"

# With fewer, finding those that are equal up to their digits takes longer than masking them.
FEW_ENTRIES = 512

_PLACEHOLDER = re.compile(r"<[A-Z_]+>")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class ParsedLog:
    """A log as entries, and its distinct masked entries.

    Attributes:
        text: the entries as written, the lines of one joined by a newline.
        first_line, last_line: `(entries,)`, one-based physical lines; positions where a list of entries was given.
        entry_index: `(entries,)`, the row of `distinct` that each entry became.
        distinct: the distinct masked entries, in order of first appearance.
        replaced_bytes: bytes that were no UTF-8 and became U+FFFD.
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
        """The entries at these positions; of `distinct` only what they need."""
        rows, entry_index = np.unique(self.entry_index[positions], return_inverse=True)
        return ParsedLog(
            self.text.take(pa.array(positions)),
            self.first_line[positions],
            self.last_line[positions],
            entry_index.astype(np.int64),
            self.distinct.take(pa.array(rows)),
        )

    def __add__(self, other: "ParsedLog") -> "ParsedLog":
        """This log and the other behind it."""
        both = pc.dictionary_encode(pa.concat_arrays([self.distinct, other.distinct]))
        rows = _indices(both)
        return ParsedLog(
            pa.concat_arrays([self.text, other.text]),
            np.concatenate([self.first_line, other.first_line]),
            np.concatenate([self.last_line, other.last_line]),
            rows[np.concatenate([self.entry_index, other.entry_index + len(self.distinct)])],
            both.dictionary,
            self.replaced_bytes + other.replaced_bytes,
        )


class _Entries(NamedTuple):
    """Entries of many logs: text, one-based first and last line, and how many each log has, `(logs,)`."""

    text: pa.Array
    first_line: np.ndarray
    last_line: np.ndarray
    counts: np.ndarray


class LogMoEProcessor(ProcessorMixin):
    r"""Turns log text into the inputs of LogMoE. All patterns are RE2 (linear time whatever the input).

    Args:
        tokenizer (`PreTrainedTokenizerFast`): the encoder's tokenizer; the placeholders become tokens of it.
        masks (`list` of `dict`): variable parts, replaced in order: `pattern`, `replacement` (`\1` is the pattern's
            first group), and where the replacement holds a placeholder such as `<IP>`, `phrase`, its meaning in words.
        entry_pattern (`str`, *optional*): what starts an entry. By default every line does that does not match
            `continuation_pattern`.
        continuation_pattern (`str`): what continues the entry above it.
        exception_pattern (`str`): the line that names an exception; it continues the message before it, and ends a
            Python traceback, but after another exception or its frames it starts an entry.
        indented_entry_pattern (`str`): indented lines that start an entry all the same.
        header_pattern (`str`): finds the groups `timestamp` and `severity` at the head of an entry.
        timestamp_formats (`list` of `str`): strptime formats of `timestamp` without fraction and zone.
        session_pattern (`str`, *optional*): identifies the session of an entry by the first of its groups that
            matches, or by the whole match; then sequences are sessions rather than windows.
        max_log_entry_length (`int`): tokens per entry; what is longer is truncated and flagged.
        max_entry_characters (`int`): characters of an entry that are read at all; what is longer is flagged too.
        max_sequence_length (`int`): entries per sequence.

    Raises:
        ValueError: a pattern that is not RE2, a placeholder without phrase, a length below 1.
    """

    def __init__(
        self,
        tokenizer=None,
        masks=None,
        entry_pattern=None,
        continuation_pattern=CONTINUATION_PATTERN,
        exception_pattern=EXCEPTION_PATTERN,
        indented_entry_pattern=INDENTED_ENTRY_PATTERN,
        header_pattern=HEADER_PATTERN,
        timestamp_formats=None,
        session_pattern=None,
        max_log_entry_length=128,
        max_entry_characters=8192,
        max_sequence_length=32,
    ):
        self.masks = [dict(mask) for mask in (MASKS if masks is None else masks)]
        self.entry_pattern = entry_pattern
        self.continuation_pattern = continuation_pattern
        self.exception_pattern = exception_pattern
        self.indented_entry_pattern = indented_entry_pattern
        self.header_pattern = header_pattern
        self.timestamp_formats = list(TIMESTAMP_FORMATS if timestamp_formats is None else timestamp_formats)
        self.session_pattern = session_pattern
        self.max_log_entry_length = max_log_entry_length
        self.max_entry_characters = max_entry_characters
        self.max_sequence_length = max_sequence_length
        self._check_rules()
        super().__init__(tokenizer)
        known = self.tokenizer.get_vocab()
        self._new_placeholders = [name for name in self.placeholders() if name not in known]
        # Not normalised: a lower-casing tokenizer would find them in a log's own "<ip>".
        self.tokenizer.add_tokens([AddedToken(name, normalized=False) for name in self._new_placeholders])

    @classmethod
    def from_encoder_pretrained(cls, encoder_name_or_path: str, **rules: Any) -> "LogMoEProcessor":
        """A processor around the tokenizer of a pretrained encoder.

        Args:
            encoder_name_or_path: folder or Hub name of the encoder.
            rules: arguments of the constructor.
        """
        return cls(AutoTokenizer.from_pretrained(encoder_name_or_path), **rules)

    def rules(self) -> dict[str, Any]:
        """The constructor's arguments, all but the tokenizer."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: copy.deepcopy(getattr(self, name)) for name in names if name not in ("self", "tokenizer")}

    @property
    def model_input_names(self) -> list[str]:
        return ["input_ids", "attention_mask", "entry_index"]

    def placeholders(self) -> list[str]:
        """The placeholders of the masks, each once, in order."""
        found = (_PLACEHOLDER.findall(mask["replacement"]) for mask in self.masks)
        return list(dict.fromkeys(placeholder for group in found for placeholder in group))

    def new_placeholder_token_ids(self) -> dict[int, list[int]]:
        """The token ids of the placeholders that this processor added to its tokenizer.

        Returns:
            For each the token ids of the phrase that says what it stands for.
        """
        phrases = {
            placeholder: mask["phrase"]
            for mask in self.masks
            for placeholder in _PLACEHOLDER.findall(mask["replacement"])
        }
        return {
            self.tokenizer.convert_tokens_to_ids(placeholder): self.tokenizer(phrase, add_special_tokens=False)[
                "input_ids"
            ]
            for placeholder, phrase in phrases.items()
            if placeholder in self._new_placeholders
        }

    # ------------------------------------------------------------------ text to entries

    def parse(self, log: str | bytes | Sequence[str]) -> ParsedLog:
        """Splits a log into entries, masks them and finds the distinct ones.

        Args:
            log: one log: text of any number of lines, its UTF-8 bytes, or a list of entries.

        Raises:
            ValueError: not text, or text that holds no entry.
        """
        parsed, _ = self.parse_batch([log])
        if len(parsed) == 0:
            raise ValueError("The log holds no entry: it is empty or all blank lines.")
        return parsed

    def parse_batch(
        self, logs: Sequence[str | bytes | Sequence[str]], indentation: int | None = None
    ) -> tuple[ParsedLog, np.ndarray]:
        """Parses many logs at once, each as `parse` does alone: small logs take a twentieth of the time.

        Args:
            logs: each as in `parse`, but one without entries is no error here.
            indentation: characters of white space that the lines of all logs share, for parts of a greater log; by
                default each log is looked at.

        Returns:
            The entries of all logs, one log after the other, their lines counted within each, over one common
            `distinct`; and `offsets`, int64 `(logs + 1,)`: log i has the entries `offsets[i]:offsets[i + 1]`.

        Raises:
            ValueError: not text.
        """
        pieces, line_counts, entry_counts = [], [], []
        entries: list[str] = []
        replaced_bytes = 0
        for log in logs:
            if isinstance(log, str | bytes):
                # Only a whole log begins with a byte order mark.
                data, replaced = to_utf8(log) if isinstance(log, str) or indentation is None else valid_utf8(log)
                replaced_bytes += replaced
                pieces.append(data)
                line_counts.append(data.count(b"\n") + 1)
            elif isinstance(log, list | tuple) and all(isinstance(entry, str) for entry in log):
                for entry in log:
                    data, replaced = to_utf8(entry)
                    replaced_bytes += replaced
                    entries.append(data.decode())
                entry_counts.append(len(log))
            else:
                kind = f"a list of {_kinds(log)}" if isinstance(log, list | tuple) else type(log).__name__
                raise ValueError(
                    f"A log is a str of one or more lines, or a list of entries (list of str), got {kind}."
                )
        parts = []
        if pieces:
            parts.append(self._group_lines(_split_lines(b"\n".join(pieces)), np.array(line_counts), indentation))
        if entry_counts:
            parts.append(_given_entries(pa.array(entries, pa.large_string()), np.array(entry_counts)))
        if len(parts) == 2:
            text, first_line, last_line, counts = _interleave(parts, [isinstance(log, list | tuple) for log in logs])
        elif parts:
            text, first_line, last_line, counts = parts[0]
        else:
            text = pa.array([], pa.large_string())
            first_line = last_line = counts = np.empty(0, dtype=np.int64)
        entry_index, distinct = self._mask_distinct(text)
        parsed = ParsedLog(text, first_line, last_line, entry_index, distinct, replaced_bytes)
        return parsed, np.append(0, counts.cumsum()).astype(np.int64)

    def mask(self, text: pa.Array | Sequence[str]) -> pa.Array:
        """Replaces the variable parts of entries by placeholders.

        Args:
            text: entries, as an Arrow array of strings or a list of str.

        Returns:
            The masked entries, an Arrow array of equal length.
        """
        entries = text.cast(pa.large_string()) if isinstance(text, pa.Array) else pa.array(text, pa.large_string())
        entry_index, distinct = self._mask_distinct(entries)
        return distinct.take(pa.array(entry_index))

    def _mask_distinct(self, text: pa.Array) -> tuple[np.ndarray, pa.Array]:
        """The row of each entry among the distinct masked ones, int64, and those, in order of first appearance."""
        # A character is at least a byte.
        if (pc.max(pc.binary_length(text)).as_py() or 0) > self.max_entry_characters:
            text = pc.utf8_slice_codeunits(text, 0, self.max_entry_characters)
        index, values = self._mask_from(0, text)
        masked = pc.dictionary_encode(pc.utf8_trim_whitespace(values))
        index = _indices(masked)[index]
        first_seen = np.full(len(masked.dictionary), len(index))
        first_seen[index[::-1]] = np.arange(len(index))[::-1]
        # Without those that stood for texts which were then taken apart.
        order = first_seen.argsort()[: np.count_nonzero(first_seen < len(index))]
        rank = np.empty(len(first_seen), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[index], masked.dictionary.take(pa.array(order))

    def _mask_from(self, first: int, text: pa.Array) -> tuple[np.ndarray, pa.Array]:
        """Applies the masks from number `first` on.

        Entries that are equal up to their digits go through the masks as one: a million distinct lines are then a few
        thousand. It is exact. A pattern that names no digit treats all digits alike; where one that does, such as
        `404`, could match if it did not, the entries are taken apart again, and so are those that keep a digit to the
        end.

        Returns:
            For each entry the row, int64 `(entries,)`, of its masked text in an array of texts, which may hold others.
        """
        if first == len(self.masks) or len(text) < FEW_ENTRIES:
            written = pc.dictionary_encode(text)
            values = written.dictionary
            for mask in self.masks[first:]:
                values = pc.replace_substring_regex(values, mask["pattern"], mask["replacement"])
            return _indices(written), values

        shapes = Shapes(text)
        values, row_of_shape = shapes.distinct, np.arange(len(shapes.distinct))
        is_whole = np.ones(len(row_of_shape), dtype=bool)  # by shape: not taken apart
        changed_by: list[np.ndarray] = []  # for each mask so far, bool by shape
        apart: list[tuple[np.ndarray, np.ndarray, pa.Array]] = []

        def take_apart(hit: np.ndarray, number: int) -> None:
            """Entries of these shapes, bool by shape, go on for themselves from mask `number`."""
            positions = np.flatnonzero(hit[shapes.index])
            written = pc.dictionary_encode(text.take(pa.array(positions)))
            pieces = written.dictionary
            for mask, changed in zip(self.masks[first:number], changed_by, strict=True):
                if changed[hit].any():
                    pieces = pc.replace_substring_regex(pieces, mask["pattern"], mask["replacement"])
            if number < len(self.masks):
                mask = self.masks[number]
                pieces = pc.replace_substring_regex(pieces, mask["pattern"], mask["replacement"])
                index, pieces = self._mask_from(number + 1, pieces)
            else:
                index = np.arange(len(pieces))
            apart.append((positions, index[_indices(written)], pieces))

        for number, mask in enumerate(self.masks[first:], first):
            telling, others = _digit_patterns(mask["pattern"])
            if telling is not None:
                hit = _matches(values, telling)[row_of_shape] & is_whole
                if hit.any():
                    take_apart(hit, number)
                    is_whole &= ~hit
                    in_use = np.zeros(len(values), dtype=bool)
                    in_use[row_of_shape[is_whole]] = True
                    values, row_of_shape = values.filter(pa.array(in_use)), (in_use.cumsum() - 1)[row_of_shape]
                    if not len(values):
                        break
            if not others:
                changed_by.append(np.zeros(len(row_of_shape), dtype=bool))
                continue
            masked = pc.replace_substring_regex(values, mask["pattern"], mask["replacement"])
            if _may_repeat_digits(mask["replacement"]):
                changed = _matches(values, mask["pattern"])
            else:
                changed = _to_numpy(pc.not_equal(masked, values)).astype(bool)
            changed_by.append(changed[row_of_shape])
            if changed.any():
                merged = pc.dictionary_encode(masked)
                values, row_of_shape = merged.dictionary, _indices(merged)[row_of_shape]
        if is_whole.any():
            hit = _matches(values, "[0-9]")[row_of_shape] & is_whole
            if hit.any():
                take_apart(hit, len(self.masks))

        rows = row_of_shape[shapes.index]
        arrays = [values]
        for positions, index, pieces in apart:
            rows[positions] = index + sum(map(len, arrays))
            arrays.append(pieces)
        return rows, pa.concat_arrays(arrays)

    def indentation(self, data: bytes) -> int:
        """Characters of white space that all lines of a log share."""
        lines = Shapes(_split_lines(data)).distinct
        lines = lines.filter(pa.array(_matches(lines, _TEXT_PATTERN)))
        return int(_indentation(lines).min()) if len(lines) else 0

    def last_entry_start(self, data: bytes, indentation: int = 0) -> int | None:
        """Where the last entry starts in a part of a log.

        Args:
            data: whole lines in UTF-8.
            indentation: see `parse_batch`.

        Returns:
            Offset of the last line that starts an entry whatever stands before it; None when there is none.
        """
        lines = _split_lines(data)
        shapes = Shapes(lines)
        if self.entry_pattern is not None:
            starts = shapes.match(self.entry_pattern)
        else:
            indentation = min(indentation, self.indentation(data))
            if indentation:
                shapes = Shapes(pc.utf8_slice_codeunits(lines, indentation))
            starts = self._certain_starts(shapes)
        last = np.flatnonzero(starts & shapes.match(_TEXT_PATTERN))
        if not len(last):
            return None
        newlines = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
        return int(newlines[last[-1] - 1]) + 1 if last[-1] else 0

    def _certain_starts(self, lines: "Shapes") -> np.ndarray:
        """Bool `(lines,)`: which lines start an entry by the default rules, whatever stands before them."""
        starts = ~(lines.match(self.continuation_pattern) | lines.match(self.exception_pattern))
        return starts | lines.match(self.indented_entry_pattern)

    def _group_lines(self, lines: pa.Array, line_counts: np.ndarray, indentation: int | None = None) -> "_Entries":
        """Physical lines to entries, log by log."""
        log_of_line = np.repeat(np.arange(len(line_counts)), line_counts)
        number = np.arange(len(lines)) - (line_counts.cumsum() - line_counts)[log_of_line] + 1
        shapes = Shapes(lines)
        is_text = shapes.match(_TEXT_PATTERN)
        if not is_text.all():  # Blank lines end nothing and start nothing.
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

    def _entry_starts(self, lines: "Shapes", log_starts: np.ndarray, indentation: int | None) -> np.ndarray:
        """Bool `(lines,)`: which lines start an entry, by the default rules; `log_starts`: the first of each log."""
        first_of_log = np.flatnonzero(log_starts)
        log_of_line = log_starts.cumsum() - 1
        common = np.minimum.reduceat(_indentation(lines.distinct)[lines.index], first_of_log)[log_of_line]
        if indentation is not None:
            common = np.minimum(common, indentation)
        for width in np.unique(common[common > 0]):  # A log pasted from an indented place.
            dedented = pc.utf8_slice_codeunits(lines.text, int(width))
            lines = Shapes(pc.if_else(pa.array(common == width), dedented, lines.text))
        exception = lines.match(self.exception_pattern)
        indented = lines.match(r"^[ \t]")
        starts = self._certain_starts(lines)

        position = np.arange(len(lines.index))

        def latest(what: np.ndarray) -> np.ndarray:
            return np.maximum.accumulate(np.where(what, position, -1))

        # A traceback is open from its first line to the exception that ends it, or to the end of its log.
        ended = np.append(-1, latest(starts | exception)[:-1])
        traceback = latest(lines.match(r"^Traceback \(most recent call last\):"))
        in_traceback = (traceback > ended) & (traceback >= first_of_log[log_of_line])
        follows_trace = np.append(False, (exception | indented)[:-1]) & ~log_starts
        return starts | (exception & follows_trace & ~in_traceback)

    # ------------------------------------------------------------------ entries to sequences

    def cut(
        self,
        parsed: ParsedLog,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
    ) -> list[np.ndarray]:
        """Cuts a log into sequences; every entry is in at least one.

        By default windows by count. With `window_seconds` or `session_pattern` the log is first cut by time, or
        gathered by identifier, and what is longer than `max_sequence_length` is cut again by count. An entry that
        names several sessions belongs to each; entries that name none form windows of their own.

        Args:
            max_sequence_length: entries per sequence; by default the processor's.
            stride: entries from the start of a window to the start of the next; by default `max_sequence_length`,
                that is without overlap.
            window_seconds: length of a window by time. An entry without timestamp belongs to the one before it.
            session_pattern: see the constructor; by default the processor's; "" for none.

        Returns:
            For each sequence the positions of its entries, ascending; sequences ordered by their first entry.

        Raises:
            ValueError: an argument out of range, or no timestamp or session found in the whole log.
        """
        self.check_cut(max_sequence_length, stride, window_seconds, session_pattern)
        length = self.max_sequence_length if max_sequence_length is None else max_sequence_length
        stride = length if stride is None else stride
        if window_seconds is not None:
            groups = self._windows_by_time(parsed, window_seconds)
        elif pattern := self.session_pattern if session_pattern is None else session_pattern:
            groups = list(self.sessions(parsed, pattern).values())
        else:
            groups = [np.arange(len(parsed))]
        sequences = [
            group[start : start + length]
            for group in groups
            for start in range(0, max(len(group) - length, 0) + stride, stride)
            if start < len(group)
        ]
        return sorted(sequences, key=lambda positions: int(positions[0]))

    def check_cut(
        self,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
    ) -> None:
        """Raises ValueError for what `cut` does not take."""
        length = self.max_sequence_length if max_sequence_length is None else max_sequence_length
        length = check_integer("max_sequence_length", length, 1)
        if stride is not None:
            check_integer("stride", stride, 1, length)
        if window_seconds is not None and session_pattern is not None:
            raise ValueError("Give `window_seconds` or `session_pattern`, not both.")
        if window_seconds is not None and (isinstance(window_seconds, str) or not 0 < window_seconds < float("inf")):
            raise ValueError(f"`window_seconds` must be a positive number, got {window_seconds!r}.")
        if session_pattern:
            _check_pattern(session_pattern, "session_pattern")

    def timestamps(self, text: pa.Array) -> np.ndarray:
        """Seconds since 1970 of each entry (`(entries,)` float64), NaN where none is found; zones are not applied."""
        bare = pc.struct_field(pc.extract_regex(text, _BARE_HEADER), "timestamp")
        stamp = pc.coalesce(bare, pc.struct_field(pc.extract_regex(text, self.header_pattern), "timestamp"))
        stamp = stamp.cast(pa.string())
        # A fraction follows the seconds of a clock or stands behind ten digits; a Blue Gene clock has full stops only.
        fraction = pc.extract_regex(stamp, r"(?::\d{2}|^\d{10}|\.\d{2}\.\d{2})[.,](?P<digits>\d+)")
        fraction = pc.binary_join_element_wise("0.", pc.struct_field(fraction, "digits"), "").cast(pa.float64())
        milliseconds = pc.struct_field(pc.extract_regex(stamp, r"^\d{10}(?P<digits>\d{3})$"), "digits")
        milliseconds = pc.divide(milliseconds.cast(pa.float64()), 1000.0)
        fraction = pc.coalesce(fraction, milliseconds, 0.0).to_numpy(zero_copy_only=False)
        for pattern, replacement in _PLAIN_STAMP:
            stamp = pc.replace_substring_regex(stamp, pattern, replacement)
        seconds = np.full(len(text), np.nan)
        for form in self.timestamp_formats:
            missing = np.flatnonzero(np.isnan(seconds))
            if not len(missing):
                break
            candidates = stamp.take(pa.array(missing))
            if form == "%s":
                is_epoch = _matches(candidates, r"^\d{10}$")
                candidates = pc.if_else(pa.array(is_epoch), candidates, None)
                found = pc.cast(candidates, pa.float64()).to_numpy(zero_copy_only=False)
            else:
                if "%Y" not in form and "%y" not in form:
                    candidates, form = pc.binary_join_element_wise("2000", candidates, " "), f"%Y {form}"
                parsed = pc.strptime(candidates, format=form, unit="s", error_is_null=True)
                found = pc.cast(pc.cast(parsed, pa.int64()), pa.float64()).to_numpy(zero_copy_only=False)
            seconds[missing] = found
        return seconds + fraction

    def filled_timestamps(self, text: pa.Array, before: float | None = None) -> np.ndarray:
        """Seconds since 1970 of each entry, `(entries,)`: of the last timestamp up to it.

        Args:
            text: entries.
            before: the last timestamp before them; by default those before the first take the time of the first.

        Raises:
            ValueError: there is no timestamp.
        """
        seconds = self.timestamps(text)
        known = np.flatnonzero(~np.isnan(seconds))
        if not len(known):
            if before is not None:
                return np.full(len(seconds), before)
            raise ValueError(
                "No timestamp was found in the log, which `window_seconds` needs. Give the processor a "
                "`header_pattern` with a group named `timestamp`, or cut by count."
            )
        previous = np.searchsorted(known, np.arange(len(seconds)), side="right") - 1
        filled = seconds[known[np.maximum(previous, 0)]]
        return filled if before is None else np.where(previous < 0, before, filled)

    def _windows_by_time(self, parsed: ParsedLog, window_seconds: float) -> list[np.ndarray]:
        seconds = self.filled_timestamps(parsed.text)
        window = np.floor((seconds - seconds[0]) / window_seconds)
        return list(group_by(window).values())

    def sessions(self, parsed: ParsedLog, pattern: str, must_match: bool = True) -> dict[str | None, np.ndarray]:
        """Gathers the entries of each session.

        Args:
            parsed: a parsed log.
            pattern: see `session_pattern` of the constructor.
            must_match: a log without any session is an error; a part of one may have none.

        Returns:
            For each identifier the positions of its entries, ascending; under None those that name none.

        Raises:
            ValueError: a pattern that is not RE2, or that matches nowhere.
        """
        _check_pattern(pattern, "session_pattern")
        try:
            # Python finds the second and further identifiers of an entry; ASCII classes are what RE2's are.
            compiled = re.compile(pattern, re.ASCII)
        except re.error as error:
            raise ValueError(f"`session_pattern` {pattern!r} is RE2 that Python does not read: {error}") from error
        count = _to_numpy(pc.count_substring_regex(parsed.text, pattern))
        if must_match and not count.any():
            raise ValueError(f"`session_pattern` {pattern!r} matches no entry of the log.")
        sessions: dict[str | None, list[np.ndarray]] = {}
        if (count == 0).any():
            sessions[None] = [np.flatnonzero(count == 0)]
        several = count > 1
        if compiled.groups > 1:
            several = count > 0
        else:
            # Around the only match, which is the name unless it has a group.
            inner = f"(?:{pattern})" if compiled.groups else f"({pattern})"
            single = np.flatnonzero(count == 1)
            around = rf"(?s:^.*?){inner}(?s:.*)$"
            names = pc.dictionary_encode(pc.replace_substring_regex(parsed.text.take(pa.array(single)), around, r"\1"))
            for row, positions in group_by(_indices(names)).items():
                if name := names.dictionary[row].as_py():
                    sessions[name] = [single[positions]]
                else:  # the group took no part in the match
                    several[single[positions]] = True
        for position in np.flatnonzero(several):
            found = compiled.finditer(parsed.text[int(position)].as_py())
            # The first group that took part, or the whole match.
            groups = (next((group for group in match.groups() if group), match[0]) for match in found)
            for identifier in list(dict.fromkeys(groups)) or [None]:
                sessions.setdefault(identifier, []).append(np.array([position]))
        return {identifier: np.sort(np.concatenate(parts)) for identifier, parts in sessions.items()}

    # ------------------------------------------------------------------ distinct entries to token ids

    def tokenize(
        self, masked: Sequence[str], max_log_entry_length: int | None = None
    ) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of masked entries.

        Args:
            masked: masked entries, usually the distinct ones.
            max_log_entry_length: tokens per entry, special tokens included; by default the processor's.

        Returns:
            The token ids, unpadded, and a bool array that flags the truncated entries.

        Raises:
            ValueError: a length that leaves no room between the special tokens.
        """
        length = self.max_log_entry_length if max_log_entry_length is None else max_log_entry_length
        # Room for one token between the special ones.
        length = check_integer("max_log_entry_length", length, self.tokenizer.num_special_tokens_to_add() + 1)
        # A "[SEP]" in a log is text.
        encoded = self.tokenizer(list(masked), truncation=True, max_length=length, split_special_tokens=True)
        truncated = np.array([bool(encoding.overflowing) for encoding in encoded.encodings])
        # Fast tokenizers remember how they cut, and would save it with the checkpoint.
        self.tokenizer.backend_tokenizer.no_truncation()
        return encoded["input_ids"], truncated

    def pad(self, token_ids: list[list[int]]) -> dict[str, torch.Tensor]:
        """Pads token ids to the longest: `input_ids` and `attention_mask`, int64 `(entries, tokens)`."""
        longest = max(len(ids) for ids in token_ids)
        input_ids = torch.full((len(token_ids), longest), self.tokenizer.pad_token_id or 0, dtype=torch.long)
        attention_mask = torch.zeros_like(input_ids)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            attention_mask[row, : len(ids)] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def __call__(
        self,
        log: str | bytes | Sequence[str],
        *,
        max_log_entry_length: int | None = None,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """One log to model inputs in the compact form.

        Args:
            log: see `parse`.
            max_log_entry_length: see `tokenize`.
            max_sequence_length, stride, window_seconds, session_pattern: see `cut`.
            return_tensors: `"pt"`, `"np"` or None for lists.

        Returns:
            `input_ids` and `attention_mask` `(distinct_entries, tokens)`, `entry_index` `(sequences, entries)`, -1
            where padded; int64.

        Raises:
            ValueError: see `parse`, `tokenize` and `cut`.
        """
        parsed = self.parse(log)
        sequences = self.cut(parsed, max_sequence_length, stride, window_seconds, session_pattern)
        token_ids, _ = self.tokenize(parsed.distinct.to_pylist(), max_log_entry_length)
        entry_index = np.full((len(sequences), max(map(len, sequences))), -1, dtype=np.int64)
        for row, positions in enumerate(sequences):
            entry_index[row, : len(positions)] = parsed.entry_index[positions]
        inputs = {name: tensor.numpy() for name, tensor in self.pad(token_ids).items()} | {"entry_index": entry_index}
        if return_tensors is None:
            return BatchFeature({name: values.tolist() for name, values in inputs.items()})
        return BatchFeature(inputs, tensor_type=return_tensors)

    def _check_rules(self) -> None:
        for name in ("max_log_entry_length", "max_entry_characters", "max_sequence_length"):
            setattr(self, name, check_integer(name, getattr(self, name), 1))
        for name in (
            "entry_pattern",
            "continuation_pattern",
            "exception_pattern",
            "indented_entry_pattern",
            "header_pattern",
            "session_pattern",
        ):
            if getattr(self, name) is not None:
                _check_pattern(getattr(self, name), name)
        if "(?P<timestamp>" not in self.header_pattern:
            raise ValueError(f"`header_pattern` needs a group named `timestamp`, got {self.header_pattern!r}.")
        for mask in self.masks:
            if not {"pattern", "replacement"} <= set(mask):
                raise ValueError(f"A mask needs `pattern` and `replacement`, got {mask}.")
            _check_pattern(mask["pattern"], "masks", mask["replacement"])
            if _PLACEHOLDER.search(mask["replacement"]) and not mask.get("phrase"):
                raise ValueError(f"The mask {mask} needs a `phrase` that says what its placeholder stands for.")


def check_integer(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """An integer of any kind in a range, as `int`.

    Raises:
        ValueError: no integer, or out of range; the message says which and what was given.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if isinstance(value, bool | np.bool_) or number < lowest or (highest is not None and number > highest):
        rule = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"`{name}` must be an integer {rule}, got {value!r}.")
    return number


def group_by(values: np.ndarray) -> dict[Any, np.ndarray]:
    """For each value its positions, ascending."""
    order = values.argsort(kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(values[order])) + 1)
    return {values[group[0]].item(): group for group in groups if len(group)}


def _check_pattern(pattern: str, name: str, replacement: str = "") -> None:
    """Raises ValueError for what RE2 does not take."""
    try:
        pc.replace_substring_regex(pa.array([""]), pattern, replacement)
    except pa.ArrowInvalid as error:
        raise ValueError(f"`{name}`: {pattern!r} is not a valid RE2 pattern: {error}") from error


def _kinds(items: Sequence[Any]) -> str:
    return " and ".join(sorted({type(item).__name__ for item in items})) or "nothing"


def to_utf8(text: str | bytes) -> tuple[bytes, int]:
    """Valid UTF-8 without byte order mark, and how many bytes were not valid: they became U+FFFD."""
    if isinstance(text, str):
        # Lone surrogates come from files read with errors="surrogateescape"; each stands for one byte.
        text, replaced = _SURROGATE.subn("\ufffd", text)
        return text.removeprefix("\ufeff").encode(), replaced
    if text[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        decoded = text.decode("utf-16", "replace")
        return decoded.encode(), decoded.count("\ufffd")
    return valid_utf8(text.removeprefix(codecs.BOM_UTF8))


def valid_utf8(data: bytes) -> tuple[bytes, int]:
    """As `to_utf8`, for a part of a text."""
    try:
        data.decode()
        return data, 0
    except UnicodeDecodeError:
        kept = len(data.decode("utf-8", "ignore").encode())
        return data.decode("utf-8", "replace").encode(), len(data) - kept


def _split_lines(data: bytes) -> pa.Array:
    """Physical lines, cut at each newline; a carriage return before it belongs to the line's end."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(buffer == ord("\n"))
    # Offsets that step over the newlines: each even slot is a line, each odd one the newline itself.
    ends = np.append(newlines, len(data))
    starts = np.append(0, newlines + 1)
    offsets = np.append(np.stack([starts, ends], axis=1).ravel(), len(data)).astype(np.int64)
    pieces = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    lines = pieces.take(pa.array(np.arange(0, len(pieces), 2)))
    return pc.replace_substring_regex(lines, r"\r$", "") if b"\r" in data else lines


def _indentation(lines: pa.Array) -> np.ndarray:
    """Characters of white space before each line, `(lines,)`."""
    return _to_numpy(pc.subtract(pc.utf8_length(lines), pc.utf8_length(pc.utf8_ltrim_whitespace(lines))))


def _given_entries(entries: pa.Array, entry_counts: np.ndarray) -> _Entries:
    """Lists of entries are taken as they are, blank ones left out; their lines are positions in the list."""
    log_of_entry = np.repeat(np.arange(len(entry_counts)), entry_counts)
    kept = np.flatnonzero(_matches(entries, _TEXT_PATTERN))
    number = (np.arange(len(entries)) - (entry_counts.cumsum() - entry_counts)[log_of_entry] + 1)[kept]
    counts = np.bincount(log_of_entry[kept], minlength=len(entry_counts))
    return _Entries(entries.take(pa.array(kept)), number, number, counts)


def _interleave(parts: list[_Entries], belongs_to: list[bool]) -> _Entries:
    """Brings the entries of two kinds of logs into the order of the logs."""
    kind = np.array(belongs_to, dtype=int)
    counts = np.empty(len(kind), dtype=np.int64)
    for which in (0, 1):
        counts[kind == which] = parts[which].counts
    # Stable: the entries of a kind are in order already.
    order = np.repeat(kind, counts).argsort(kind="stable").argsort(kind="stable")
    text = pa.concat_arrays([part.text for part in parts]).take(pa.array(order))
    first_line, last_line = (np.concatenate([part[row] for part in parts])[order] for row in (1, 2))
    return _Entries(text, first_line, last_line, counts)


class Shapes:
    """Texts up to their digits: what no pattern tells apart is looked at once.

    Attributes:
        text: large strings `(texts,)`.
        index: int64 `(texts,)`, the row of `distinct` that a text becomes when each of its digits is a 0.
        distinct: those rows, in order of first appearance.
    """

    def __init__(self, text: pa.Array):
        shapes = pc.dictionary_encode(_without_digits(text))
        self.text, self.index, self.distinct = text, _indices(shapes), shapes.dictionary

    def take(self, positions: np.ndarray) -> "Shapes":
        taken = copy.copy(self)
        taken.text, taken.index = self.text.take(pa.array(positions)), self.index[positions]
        return taken

    def match(self, pattern: str) -> np.ndarray:
        """Bool `(texts,)`."""
        if _digit_patterns(pattern)[0] is None:
            return _matches(self.distinct, pattern)[self.index]
        return _matches(self.text, pattern)


def _without_digits(text: pa.Array) -> pa.Array:
    """Large strings with a 0 in the place of every ASCII digit."""
    _, offsets, data = text.buffers()
    if data is None:
        return text
    characters = np.frombuffer(data, dtype=np.uint8)
    is_digit = characters - np.uint8(ord("0")) < 10
    merged = pa.py_buffer(np.where(is_digit, np.uint8(ord("0")), characters))
    return pa.LargeStringArray.from_buffers(len(text), offsets, merged, offset=text.offset)


# A pattern as its parser sees it: what may hold a digit without naming one, what names one, and the structure.
_PATTERN_PART = re.compile(
    r"""(?P<code>\\x(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{2}))"""
    r"""|(?P<unknown>\\[0-7Q]|\(\?[a-zA-Z-]+\))"""
    r"""|(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"""
    r"""|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:))?)|(?P<close>\))|(?P<or>\|)"""
    r"""|(?P<other>\\.|\{\d+(?:,\d*)?\})"""
    r"""|(?P<digit>[0-9])""",
    re.DOTALL,
)


def _may_repeat_digits(replacement: str) -> bool:
    """Whether it could put a zero in the place of another digit: then a shape that stays as it is tells nothing."""
    groups = re.findall(r"\\[0-9]", replacement)
    return len(groups) > 1 or bool(re.search("[0-9]", re.sub(r"\\[0-9]", "", replacement)))


@functools.lru_cache(maxsize=1024)
def _digit_patterns(pattern: str) -> tuple[str | None, bool]:
    """What tells digits apart in a pattern.

    Returns:
        A pattern of those of its alternatives that name a digit, with any digit in its place, or None if none does:
        where it does not match, `pattern` treats all digits alike. And whether `pattern` has other alternatives. What
        is too intricate to say may match everywhere.
    """
    alternatives: list[str] = [""]
    naming: set[int] = set()
    depth = end = 0
    for part in [*_PATTERN_PART.finditer(pattern), None]:
        alternatives[-1] += pattern[end : part.start() if part else None]
        if part is None:
            break
        end = part.end()
        widened = part[0]
        if part["unknown"] or (part["code"] and chr(int(part[0][2:].strip("{}"), 16)).isdigit()):
            return "", True
        if part["or"] and depth == 0:
            alternatives.append("")
            continue
        depth += bool(part["open"]) - bool(part["close"])
        if part["digit"]:
            widened = "[0-9]"
            naming.add(len(alternatives))
        elif part["class"]:
            rest = re.sub(r"\\[dDsSwWpP]|(?<!-)0-9", "", part[0])
            if re.search(r"\\x(?:\{0*3[0-9]\}|3[0-9])|\\[0-7]", rest):
                return "", True
            if re.search("[0-9]", re.sub(r"\\x(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{2})", "", rest)):
                # A negated class would match less without its digits, not more; a range may begin or end at one.
                if part[0].startswith("[^") or "-" in rest:
                    return "", True
                widened = part[0][:-1] + "0-9]"
                naming.add(len(alternatives))
        alternatives[-1] += widened
    telling = "|".join(alternatives[number - 1] for number in sorted(naming))
    return telling if naming else None, len(naming) < len(alternatives)


def _matches(text: pa.Array, pattern: str) -> np.ndarray:
    """Bool `(entries,)`."""
    return _to_numpy(pc.match_substring_regex(text, pattern)).astype(bool)


def _to_numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)


def _indices(encoded: pa.DictionaryArray) -> np.ndarray:
    """Int64 `(texts,)`: the row of each in the dictionary."""
    return _to_numpy(encoded.indices).astype(np.int64)


LogMoEProcessor.register_for_auto_class("AutoProcessor")

__all__ = ["LogMoEProcessor", "ParsedLog"]
