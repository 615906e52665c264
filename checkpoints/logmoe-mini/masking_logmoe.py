"""Entries in, distinct masked entries out: each variable part, such as a number or an address, becomes a placeholder.

The masks are data (`MASKS` in `masks_logmoe.py`). Logs repeat, so this module never masks the same thing twice:
entries that differ in their digits alone go through the masks as one. Called by the parser.
"""

import functools
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import (
    KNOWN_BYTES,
    KNOWN_SHAPES,
    Shapes,
    bytes_of,
    dictionary_indices,
    digit_alternatives,
    matches,
)

# With fewer entries, finding those that are equal up to their digits takes longer than masking them.
FEW_ENTRIES = 512
# How many times as long as it may be read a text may become while it is masked. Masks shorten; but one that doubles
# its match, applied some forty times, would fill any memory.
MAX_GROWTH = 16

Masks = list[dict[str, Any]]


class Masker:
    """Masks entries, and remembers what became of them: a log says the same things from chunk to chunk.

    Entries that are equal up to their digits, of one shape, are masked once: a million distinct lines are then a few
    thousand shapes. This is exact. A pattern that names no digit treats all digits alike. Where one that does, such as
    `404`, could match a shape, its entries are masked one by one, and so are those that keep a digit to the end.

    Threads may share one.

    Args:
        masks: applied in order, each with `pattern` and `replacement`.
        max_characters: characters of an entry that are read; the rest is left out.
    """

    def __init__(self, masks: Masks, max_characters: int):
        self.masks, self.max_characters = masks, max_characters
        self._longest = MAX_GROWTH * max(1024, max_characters)
        # Random numbers, in hexadecimal say, make ever new shapes; behind the masks of those few texts are left.
        self._boundary = next((n + 1 for n, mask in enumerate(masks) if mask["replacement"] == "<IP>"), len(masks))
        # Of shapes, of shapes behind the boundary, of texts behind the boundary.
        self._shapes, self._late_shapes, self._late_texts = _Memory(), _Memory(), _Memory()

    def mask(self, text: pa.Array, shapes: Shapes | None = None) -> tuple[np.ndarray, pa.Array]:
        """Masks entries.

        Args:
            text: entries, large strings `(entries,)`.
            shapes: of them, if they are known.

        Returns:
            For each entry the row of its masked text among the distinct ones, int64 `(entries,)`, and the distinct
            masked texts in order of first appearance.
        """
        # A character takes at least one byte.
        if (pc.max(pc.binary_length(text)).as_py() or 0) > self.max_characters:
            text, shapes = pc.utf8_slice_codeunits(text, 0, self.max_characters), None
        if not self.masks or len(text) < FEW_ENTRIES:
            index, values = self._mask_texts(text)
        else:
            index, values = self._mask_shapes(shapes or Shapes(text))
        values = pc.utf8_trim_whitespace(values)
        masked = pc.dictionary_encode(with_sorted_keys(values) if self.masks else values)
        index = dictionary_indices(masked)[index]
        first_seen = np.full(len(masked.dictionary), len(index))
        first_seen[index[::-1]] = np.arange(len(index))[::-1]
        # Rows that no entry uses are those of other entries, remembered or masked one by one.
        order = first_seen.argsort()[: np.count_nonzero(first_seen < len(index))]
        rank = np.empty(len(first_seen), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[index], masked.dictionary.take(pa.array(order))

    def _mask_texts(self, text: pa.Array) -> tuple[np.ndarray, pa.Array]:
        """Masks entries one by one.

        Returns:
            For each entry the row, int64 `(entries,)`, of its masked text in an array of texts; the array may hold
            others.
        """
        written = pc.dictionary_encode(text)
        early = written.dictionary
        literals = _Literals(early)
        for mask in self.masks[: self._boundary]:
            early, literals = self._apply(mask, early, literals)
        late = pc.dictionary_encode(early)
        row, known, _ = self._late_texts.look_up(late.dictionary)
        new = np.flatnonzero(row < 0)
        values = late.dictionary.take(pa.array(new))
        if len(new):
            fresh = values
            for mask in self.masks[self._boundary :]:
                values, literals = self._apply(mask, values, literals)
            self._late_texts.add(fresh, values, np.zeros(len(new), dtype=bool))
        row[new] = len(known) + np.arange(len(new))
        return row[dictionary_indices(late)][dictionary_indices(written)], pa.concat_arrays([known, values])

    def _mask_shapes(self, shapes: Shapes) -> tuple[np.ndarray, pa.Array]:
        """As `_mask_texts`, once for all entries of a shape where that may be."""
        row, values, is_split = self._shapes.look_up(shapes.distinct)
        arrays, row_of_shape = [values], np.where((row >= 0) & is_split[np.maximum(row, 0)], -1, row)
        new = np.flatnonzero(row < 0)
        if len(new):
            fresh = shapes.distinct.take(pa.array(new))
            row_of_new, values = self._mask_new_shapes(fresh)
            whole = values.take(pa.array(np.maximum(row_of_new, 0))) if len(values) else _blank(len(fresh))
            self._shapes.add(fresh, whole, row_of_new < 0)
            row_of_shape[new] = np.where(row_of_new >= 0, row_of_new + len(arrays[0]), -1)
            arrays.append(values)
        rows = row_of_shape[shapes.index]
        split = np.flatnonzero(rows < 0)
        if len(split):
            index, values = self._mask_texts(shapes.text.take(pa.array(split)))
            rows[split] = index + sum(map(len, arrays))
            arrays.append(values)
        return rows, pa.concat_arrays(arrays)

    def _mask_new_shapes(self, distinct: pa.Array) -> tuple[np.ndarray, pa.Array]:
        """Masks shapes, large strings `(shapes,)`.

        Returns:
            For each shape the row, int64 `(shapes,)`, of its masked text in an array of texts, which may hold others;
            -1 if its entries must be masked one by one.
        """
        literals = _Literals(distinct)
        values, row_of_shape = distinct, np.arange(len(distinct))
        is_open = np.ones(len(distinct), dtype=bool)  # (shapes,), neither split up nor known so far

        def leave(hit: np.ndarray) -> None:
            """Goes on without these shapes (bool `(shapes,)`), and without the values that they alone have."""
            nonlocal values, row_of_shape
            np.logical_and(is_open, ~hit, out=is_open)
            in_use = np.zeros(len(values), dtype=bool)
            in_use[row_of_shape[is_open]] = True
            values, row_of_shape = values.filter(pa.array(in_use)), (in_use.cumsum() - 1)[row_of_shape]

        late, example = values.slice(0, 0), row_of_shape[:0]  # values at the boundary, and a shape of each
        known_row, known = np.full(len(distinct), -1), late
        for number, mask in enumerate(self.masks):
            if number == self._boundary:
                row, known, is_split = self._late_shapes.look_up(values)
                row = np.where(is_open, row[row_of_shape], -1)
                known_row = np.where((row >= 0) & ~is_split[np.maximum(row, 0)], row, -1)
                if (row >= 0).any():
                    leave(row >= 0)
                late, example = values, np.zeros(len(values), dtype=np.int64)
                example[row_of_shape[is_open]] = np.flatnonzero(is_open)
            if not len(values):
                break
            if not literals.allow(mask, values):
                continue
            digit_pattern, has_others = digit_alternatives(mask["pattern"])
            if digit_pattern is not None:
                hit = matches(values, digit_pattern)[row_of_shape] & is_open
                if hit.any():
                    leave(hit)
                    if not len(values):
                        break
            if has_others:
                masked, literals = self._apply(mask, values, literals)
                if masked is not values:
                    merged = pc.dictionary_encode(masked)
                    values, row_of_shape = merged.dictionary, dictionary_indices(merged)[row_of_shape]
        if is_open.any():
            hit = matches(values, "[0-9]")[row_of_shape] & is_open
            np.logical_and(is_open, ~hit, out=is_open)
        if len(late):
            final = np.where(is_open[example], row_of_shape[example], 0)
            self._late_shapes.add(
                late, values.take(pa.array(final)) if len(values) else _blank(len(late)), ~is_open[example]
            )
        return (
            np.where(is_open, row_of_shape, np.where(known_row >= 0, known_row + len(values), -1)),
            pa.concat_arrays([values, known]),
        )

    def _apply(self, mask: dict[str, Any], texts: pa.Array, literals: "_Literals") -> tuple[pa.Array, "_Literals"]:
        """Replaces what a mask matches; gives the same array if that is nothing for sure."""
        if not literals.allow(mask, texts):
            return texts, literals
        masked = pc.replace_substring_regex(texts, mask["pattern"], mask["replacement"])
        if (pc.max(pc.binary_length(masked)).as_py() or 0) > self._longest:
            masked = pc.utf8_slice_codeunits(masked, 0, self._longest)
        # Without a mark in between, what stood before and behind the match is one literal now.
        return masked, literals if _MARKS & set(mask["replacement"]) else _Literals(masked)


# Objects that deep in others are put in order, in texts of so many characters; JSON is that deep in nobody's log, and
# to look for what closes an object takes the square of the length where nothing does.
DEEPEST, LONGEST_SORTED = 8, 1 << 14
# An object within an object; and one without another in it, with the key before it.
_NESTED = r'": ?\{'
_INNERMOST = re.compile(r'(": ?)\{((?:[^{}"]++|"(?:[^"\\]++|\\.)*+")*)\}')
_SET_ASIDE = re.compile("\0(\\d+)\0")
# A key with its value, which may be a list.
_MEMBER = re.compile(r'(?:[^,\[\]"]|"(?:[^"\\]|\\.)*"|\[(?:[^\[\]"]|"(?:[^"\\]|\\.)*")*\])+')


def with_sorted_keys(texts: pa.Array) -> pa.Array:
    """JSON in masked texts, large strings `(texts,)`, with the keys of inner objects in the order of the alphabet.

    JSON's objects have no order (RFC 8259), and hash tables are written in another one each time: the headers of a
    request in Caddy's log. Outermost keys stay as they are, for programs write these one by one.
    """
    hit = pc.match_substring_regex(texts, _NESTED)
    if not pc.any(hit).as_py():
        return texts
    encoded = pc.dictionary_encode(texts.filter(hit))
    changed = pa.array([_sort_keys(text) for text in encoded.dictionary.to_pylist()], texts.type)
    return pc.replace_with_mask(texts, hit, changed.take(encoded.indices))


def _sort_keys(text: str) -> str:
    if "\0" in text or len(text) > LONGEST_SORTED:  # that character stands for an object below
        return text
    inner: list[str] = []

    def set_aside(match: re.Match[str]) -> str:
        members, written = _MEMBER.findall(match[2]), match[2]
        is_json = all(member.lstrip().startswith('"') for member in members)
        if is_json and sum(map(len, members)) + len(members) - 1 == len(written):
            between = ", " if any(member.startswith(" ") for member in members[1:]) else ","
            written = between.join(sorted(member.strip() for member in members))
        inner.append("{" + written + "}")
        return f"{match[1]}\0{len(inner) - 1}\0"

    for _ in range(DEEPEST):
        text, changes = _INNERMOST.subn(set_aside, text)
        if not changes:
            break
    for _ in range(DEEPEST):
        text = _SET_ASIDE.sub(lambda match: inner[int(match[1])], text)
    return text


def _blank(count: int) -> pa.Array:
    return pa.array([""] * count, pa.large_string())


class _Memory:
    """Texts and what they become. What it holds is replaced as a whole, so that threads may use it at once."""

    def __init__(self) -> None:
        nothing = pa.array([], pa.large_string())
        self._held = nothing, nothing, np.zeros(0, dtype=bool)

    def look_up(self, texts: pa.Array) -> tuple[np.ndarray, pa.Array, np.ndarray]:
        """The row of each text in what is held, int64, -1 if it is not; and what those rows become, with a mark."""
        keys, values, marks = self._held
        row = pc.index_in(texts, value_set=keys).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return row, values, marks if len(marks) else np.zeros(1, dtype=bool)

    def add(self, texts: pa.Array, values: pa.Array, marks: np.ndarray) -> None:
        """Adds texts that are not held. Where there is no room, they take the place of the others, or none."""
        keys, known, marked = self._held
        for first, second, third in (
            (pa.concat_arrays([keys, texts]), pa.concat_arrays([known, values]), np.append(marked, marks)),
            (texts, values, marks),
        ):
            if len(first) <= KNOWN_SHAPES and first.nbytes + second.nbytes <= KNOWN_BYTES:
                self._held = first, second, third
                return


# A replacement puts these around what it inserts, so that no other literal comes into being.
_MARKS = frozenset("<>⟦⟧⟪⟫⟨⟩")


class _Literals:
    """Tells, far faster than a pattern, that a mask cannot match: none of the literals it requires is in the texts.

    Args:
        texts: large strings. What masks make of them may hold their literals, and those with a mark.
    """

    def __init__(self, texts: pa.Array):
        self._texts = texts
        self._data = self._marked_data = bytes_of(texts)
        self._present: dict[bytes, bool] = {}
        codes = np.frombuffer(self._data, dtype=np.uint8).astype(np.uint16)
        self._pairs = np.zeros(1 << 16, dtype=bool)  # of neighbouring bytes
        self._pairs[codes[:-1] << 8 | codes[1:]] = True

    def allow(self, mask: dict[str, Any], texts: pa.Array) -> bool:
        """Whether one of the texts may hold a literal that the mask requires."""
        return "requires" not in mask or any(
            self._may_hold(texts, *literal) for literal in _literal_bytes(tuple(mask["requires"]))
        )

    def _may_hold(self, texts: pa.Array, literal: bytes, pairs: np.ndarray, is_marked: bool) -> bool:
        if is_marked:
            if texts is not self._texts:
                self._texts, self._marked_data = texts, bytes_of(texts)
            return literal in self._marked_data
        if literal not in self._present:
            self._present[literal] = bool(self._pairs[pairs].all()) and literal in self._data
        return self._present[literal]


@functools.lru_cache(maxsize=1024)
def _literal_bytes(literals: tuple[str, ...]) -> list[tuple[bytes, np.ndarray, bool]]:
    """Each literal, the pairs of neighbouring bytes in it, and whether it holds a mark."""
    found = []
    # A shape has a 0 in place of the digits that a literal may name.
    for text in dict.fromkeys(text for x in literals for text in (x, re.sub("[1-9]", "0", x))):
        codes = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)
        found.append((text.encode(), codes[:-1] << 8 | codes[1:], bool(_MARKS & set(text))))
    return found
