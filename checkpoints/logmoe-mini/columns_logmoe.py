"""Columns of text: Arrow arrays of strings, handled as a whole.

What the layers that read log text share: patterns on columns, texts up to their digits, where in a text a group of a
pattern matched, and cutting and joining by bytes. Knows nothing of logs.
"""

import functools
import itertools
import json
import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# With more texts, one pass with all patterns joined pays before each is tried: compiling it takes a few milliseconds.
MANY_TEXTS = 256
# How many shapes are remembered, and how many bytes of them.
KNOWN_SHAPES = 1 << 14
KNOWN_BYTES = 4 << 20
# Of a pattern, and of what it is replaced by: rules may come from a checkpoint that somebody else made.
MAX_PATTERN_CHARACTERS = 10_000
MAX_REPLACEMENT_CHARACTERS = 100
# RE2 numbers no more in a replacement.
MAX_GROUPS = 9

# ---------------------------------------------------------------------- patterns


def check_pattern(name: str, pattern: str, replacement: str = "") -> None:
    """Checks that RE2 takes a pattern and a replacement: the one gate for patterns that a user or a checkpoint gives.

    RE2 takes linear time whatever the text, Python's `re` does not: no such pattern may reach it.

    Raises:
        ValueError: it does not, or one is too long; the message names the rule.
    """
    for what, text, longest in (
        ("pattern", pattern, MAX_PATTERN_CHARACTERS),
        ("replacement", replacement, MAX_REPLACEMENT_CHARACTERS),
    ):
        if not isinstance(text, str):
            raise ValueError(f"`{name}`: a {what} must be a str, got {type(text).__name__}.")
        if len(text) > longest:
            raise ValueError(f"`{name}`: a {what} has at most {longest} characters, got {len(text)}: {text[:80]!r}…")
    _compile(name, pattern, replacement)


# Once per process: many logs are short, and compiling the rules takes longer than reading them.
@functools.lru_cache(maxsize=4096)
def _compile(name: str, pattern: str, replacement: str) -> None:
    try:
        pc.replace_substring_regex(pa.array([""]), pattern, replacement)
    except (pa.ArrowInvalid, UnicodeEncodeError) as error:
        raise ValueError(f"`{name}`: {pattern!r} is not a valid RE2 pattern: {error}") from error


def check_groups(name: str, pattern: str) -> None:
    """Checks a pattern by whose groups something is named, see `named_by`.

    Raises:
        ValueError: RE2 does not take it, or it has too many groups; the message names the rule.
    """
    check_pattern(name, pattern)
    groups = sum(
        re.match(r"\((?!\?)|\(\?P?<", part["open"] or "") is not None for part in _PATTERN_PART.finditer(pattern)
    )
    if groups > MAX_GROUPS and count_groups(pattern) == MAX_GROUPS:
        raise ValueError(f"`{name}`: {pattern!r} has {groups} groups, more than {MAX_GROUPS}: write (?:…) for some.")


@functools.lru_cache(maxsize=256)
def count_groups(pattern: str) -> int:
    """How many groups a pattern has; `MAX_GROUPS` if there are more."""
    for number in range(1, MAX_GROUPS + 1):
        try:
            pc.replace_substring_regex(pa.array([""]), pattern, f"\\{number}")
        except pa.ArrowInvalid:
            return number - 1
    return MAX_GROUPS


def named_by(text: pa.Array, pattern: str) -> list[list[str]]:
    """What each match of a pattern names: its first group that took part, or the whole match.

    Args:
        text: large strings `(texts,)`.
        pattern: that `check_groups` took.

    Returns:
        For each text the names in order, without those that are empty.
    """
    # A mark that no text holds; it cannot arise from the end of one piece and the start of another either, for its
    # ends are two characters that it holds once each.
    data = bytes_of(text)
    used = {int(number) for number in re.findall(rb"\xef\xb7\x90(\d{1,9})\xef\xb7\x91", data)}
    mark = f"\ufdd0{next(number for number in itertools.count() if number not in used)}\ufdd1"
    groups = count_groups(pattern)
    inserted = mark.join(["", *(f"\\{number}" for number in [*range(1, groups + 1), 0]), ""])
    found = []
    for marked in pc.replace_substring_regex(text, pattern, inserted).to_pylist():
        pieces = marked.split(mark)  # text, then the groups, the match and the text behind it of each match
        size = groups + 2
        matches = (pieces[start : start + groups + 1] for start in range(1, len(pieces), size))
        found.append([name for match in matches if (name := next(filter(None, match), ""))])
    return found


def bytes_of(texts: pa.Array) -> bytes:
    """The bytes of large strings, one after the other, and perhaps others."""
    data = texts.buffers()[2]
    return b"" if data is None else data.to_pybytes()


def matches(text: pa.Array, pattern: str) -> np.ndarray:
    """Which texts match a pattern, bool `(texts,)`."""
    return pc.match_substring_regex(text, pattern).to_numpy(zero_copy_only=False).astype(bool)


def dictionary_indices(encoded: pa.DictionaryArray) -> np.ndarray:
    """For each text its row in the dictionary, int64 `(texts,)`."""
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def without_names(pattern: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


def group_spans(text: pa.Array, pattern: str, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where the groups of a pattern stand in texts.

    Returns:
        Start and length in bytes, int32 `(texts, groups, 2)`, both 0 for a group that takes no part; and which texts
        match, bool `(texts,)`.
    """
    spans = np.zeros((len(text), len(groups), 2), dtype=np.int32)
    if not len(text):
        return spans, np.zeros(0, dtype=bool)
    struct = pc.extract_regex_span(text, pattern)
    is_match = struct.is_valid().to_numpy(zero_copy_only=False)
    if is_match.any():
        for number, group in enumerate(groups):
            index = struct.type.get_field_index(group)
            if index >= 0:
                column = struct.field(index)
                values = column.values.fill_null(0).to_numpy(zero_copy_only=False).reshape(-1, 2)
                takes_part = column.is_valid().to_numpy(zero_copy_only=False) & is_match
                spans[:, number] = np.where(takes_part[:, None], values, 0)
    return spans, is_match


# ---------------------------------------------------------------------- texts up to their digits


class KnownMatches:
    """Remembers which shapes match which patterns, for a text that comes in chunks and repeats itself."""

    def __init__(self) -> None:
        self._keys, self._found = pa.array([], pa.large_string()), dict[str, np.ndarray]()

    def rows(self, distinct: pa.Array) -> np.ndarray:
        """The row of each shape among those that are held, int64; where there is no room, the others are forgotten."""
        row = pc.index_in(distinct, value_set=self._keys).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        new = np.flatnonzero(row < 0)
        if len(new) and (len(self._keys) + len(new) > KNOWN_SHAPES or self._keys.nbytes > KNOWN_BYTES):
            self._keys, self._found = distinct, {}
            return np.arange(len(distinct))
        row[new] = len(self._keys) + np.arange(len(new))
        self._keys = pa.concat_arrays([self._keys, distinct.take(pa.array(new))])
        return row

    def match(self, row: np.ndarray, distinct: pa.Array, pattern: str) -> np.ndarray:
        """Which shapes match, bool `(shapes,)`; `row` of `rows`."""
        found = self._found.get(pattern, np.empty(0, dtype=np.int8))
        found = np.append(found, np.full(len(self._keys) - len(found), -1, dtype=np.int8))
        new = np.flatnonzero(found[row] < 0)
        if len(new):
            found[row[new]] = matches(distinct.take(pa.array(new)), pattern)
        self._found[pattern] = found
        return found[row] > 0


class Shapes:
    """Texts up to their digits, so that a pattern looks once at texts it cannot tell apart.

    Attributes:
        text: large strings `(texts,)`.
        index: int64 `(texts,)`, the row of each text's shape in `distinct`.
        distinct: the distinct shapes, texts with a 0 in place of every digit, in order of first appearance.
    """

    def __init__(self, text: pa.Array, known: KnownMatches | None = None):
        shapes = pc.dictionary_encode(_zero_digits(text))
        self.text, self.index, self.distinct = text, dictionary_indices(shapes), shapes.dictionary
        self._known = known
        self._row = None if known is None else known.rows(self.distinct)

    def take(self, positions: np.ndarray) -> "Shapes":
        """The shapes of some of the texts."""
        taken = object.__new__(Shapes)
        taken.text, taken.index = self.text.take(pa.array(positions)), self.index[positions]
        taken.distinct, taken._known, taken._row = self.distinct, self._known, self._row
        return taken

    def match(self, pattern: str) -> np.ndarray:
        """Which texts match, bool `(texts,)`."""
        if digit_alternatives(pattern)[0] is None:
            return self.match_shapes(pattern)[self.index]
        return matches(self.text, pattern)

    def match_shapes(self, pattern: str) -> np.ndarray:
        """Which shapes match a pattern that treats all digits alike, bool `(shapes,)`."""
        if self._known is not None and self._row is not None:
            return self._known.match(self._row, self.distinct, pattern)
        return matches(self.distinct, pattern)


_BLOCK = 1 << 17


def _zero_digits(text: pa.Array) -> pa.Array:
    """Large strings with a 0 in place of every ASCII digit."""
    _, offsets, data = text.buffers()
    if data is None:
        return text
    characters = np.frombuffer(data, dtype=np.uint8)
    zeroed = np.empty_like(characters)
    # By blocks that stay in the processor's cache: five times as fast.
    for start in range(0, len(characters), _BLOCK):
        block = characters[start : start + _BLOCK]
        digit = block - np.uint8(ord("0"))
        digit *= digit < 10
        np.subtract(block, digit, out=zeroed[start : start + _BLOCK])
    return pa.LargeStringArray.from_buffers(len(text), offsets, pa.py_buffer(zeroed), offset=text.offset)


# The parts of a pattern that matter here: those that may hold a digit without naming one, those that name one, and
# the structure.
_PATTERN_PART = re.compile(
    r"""(?P<code>\\x(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{2}))"""
    r"""|(?P<unknown>\\[0-7Q]|\(\?[a-zA-Z-]+\))"""
    r"""|(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"""
    r"""|(?P<open>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:))?)|(?P<close>\))|(?P<or>\|)"""
    r"""|(?P<other>\\.|\{\d+(?:,\d*)?\})"""
    r"""|(?P<digit>[0-9])""",
    re.DOTALL,
)


@functools.lru_cache(maxsize=1024)
def digit_alternatives(pattern: str) -> tuple[str | None, bool]:
    """Finds what in a pattern tells digits apart.

    Returns:
        The alternatives of the pattern that name a digit, with any digit in its place, or None if none does: where
        that does not match, `pattern` treats all digits alike. And whether `pattern` has other alternatives. For what
        is too intricate to analyse the first is "", which matches everywhere.
    """
    alternatives: list[str] = [""]
    naming: set[int] = set()
    depth = end = 0
    for part in itertools.chain(_PATTERN_PART.finditer(pattern), [None]):
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
    digit_pattern = "|".join(alternatives[number - 1] for number in sorted(naming))
    return digit_pattern if naming else None, len(naming) < len(alternatives)


# ---------------------------------------------------------------------- bytes of texts


def buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets, int64 `(texts + 1,)`, and bytes of large strings."""
    _, offsets, data = text.buffers()
    if offsets is None or not len(text):
        return np.zeros(len(text) + 1, dtype=np.int64), np.empty(0, dtype=np.uint8)
    offset = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    return offset, np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, dtype=np.uint8)


def take_rows(text: pa.Array, rows: np.ndarray) -> pa.Array:
    return text if len(rows) == len(text) else text.take(pa.array(rows))


def join_texts(*parts: pa.Array | str) -> pa.Array:
    """Texts one after the other; null where one of them is."""
    scalars = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in (*parts, "")]
    return pc.binary_join_element_wise(*scalars)


def put_rows(text: pa.Array, rows: np.ndarray | None, new: pa.Array) -> pa.Array:
    """A column with other texts in some rows, which ascend; None for all."""
    if rows is None or len(rows) == len(text):
        return new
    if not len(rows):
        return text
    mask = np.zeros(len(text), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(text, pa.array(mask), new)


def slices(text: pa.Array, start: np.ndarray, length: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """A run of bytes of each text, large strings `(texts,)`; null where not `valid`."""
    offsets, data = buffers(text)
    if not len(data):
        return text if valid is None else pc.if_else(pa.array(valid), text, None)
    begin = offsets[:-1] + start
    # Each even slot is a slice, each odd one what lies between it and the next.
    bounds = np.append(np.stack([begin, begin + length], axis=1).ravel(), offsets[-1])
    pieces = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    rows = np.arange(0, len(pieces), 2)
    return pieces.take(pa.array(rows, mask=None if valid is None or valid.all() else ~valid))


def group_texts(shapes: Shapes, pattern: str) -> dict[str, pa.Array]:
    """What the named groups of a pattern match in texts, as `group_columns`.

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
        groups[field.name] = slices(shapes.text, places[:, 0], places[:, 1], valid)
    return groups


def is_empty(lines: pa.Array) -> np.ndarray:
    return pc.binary_length(lines).to_numpy(zero_copy_only=False) == 0


class TextBytes:
    """Texts and the bytes they are made of.

    Attributes:
        text: large strings `(texts,)`.
        data: uint8, the bytes of all texts; of each those from `begin`, int64 `(texts,)`, on.
        lengths: int64 `(texts,)`, in bytes.
    """

    def __init__(self, text: pa.Array):
        self.text = text
        _, offsets, data = text.buffers()
        offsets = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        self.data = np.frombuffer(data, dtype=np.uint8) if data else np.zeros(1, dtype=np.uint8)
        self.begin, self.lengths = offsets[:-1], np.diff(offsets)

    def __len__(self) -> int:
        return len(self.begin)

    def take(self, positions: np.ndarray) -> "TextBytes":
        return TextBytes(self.text.take(pa.array(positions)))

    def cut(self, start: int | np.ndarray, size: int | np.ndarray) -> pa.Array:
        """Of each text at most `size` bytes from `start` on, large strings; no character is cut apart."""
        if not len(self):
            return self.text
        start = np.minimum(start, self.lengths)
        size = np.minimum(size, self.lengths - start)
        begin, end = self.begin + start, self.begin + start + size
        last = self.begin + self.lengths
        for _ in range(3):
            inside = (end < last) & (end > begin)
            end = end - (inside & (self.data[np.minimum(end, len(self.data) - 1)] & 0xC0 == 0x80))
        bounds = np.empty(2 * len(self), dtype=np.int64)
        bounds[::2], bounds[1::2] = begin, end
        pieces = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(self.data))
        return pieces.take(pa.array(np.arange(0, len(bounds), 2)))

    def digits(self, positions: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
        """The numbers written at `start` in texts, int64; 0 where `size`, in bytes, is 0."""
        value = np.zeros(len(positions), dtype=np.int64)
        place = self.begin[positions] + start
        for index in range(int(size.max(initial=0))):
            digit = self.data[np.minimum(place + index, len(self.data) - 1)].astype(np.int64) - ord("0")
            value = np.where(index < size, value * 10 + digit, value)
        return value

    def letter(self, positions: np.ndarray, start: np.ndarray, index: int = 0) -> np.ndarray:
        """The byte at `start` + `index` in texts, in lower case, int64."""
        place = np.minimum(self.begin[positions] + start + index, len(self.data) - 1)
        return self.data[place].astype(np.int64) | 0x20


class Heads:
    """Finds lines by their first characters, without a look at the rest."""

    def __init__(self, text: pa.Array, first_bytes: np.ndarray):
        self.offsets, self.data = buffers(text)
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
            fits = byte_test(head[0])(self._first)
            rows = self.all_rows if fits.all() else self.all_rows[fits]
            # The last character tells most: many logs begin with a date.
            for place in range(len(head) - 1, 0, -1):
                if head[place] != "." and len(rows):
                    characters = self.data.take(self.offsets[rows] + place, mode="clip")
                    rows = rows[byte_test(head[place])(characters)]
            self._found[head] = rows
        return self._found[head]


def byte_test(character: str) -> Callable[[np.ndarray], np.ndarray]:
    if character == "0":
        return lambda data: data - np.uint8(ord("0")) < 10
    return lambda data: data == ord(character)


# ---------------------------------------------------------------------- JSON


def json_unescape(text: pa.Array) -> pa.Array:
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
    return put_rows(text, escaped, plain.take(pa.array(dictionary_indices(written))))


def json_array_text(text: pa.Array) -> pa.Array:
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
