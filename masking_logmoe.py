"""Entries in, distinct masked entries out: each variable part, such as a number or an address, becomes a placeholder.

The masks are data (`MASKS` in `rules_logmoe.py`). Logs repeat, so this module never masks the same thing twice:
entries that differ in their digits alone go through the masks as one. Called by the parser.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import Shapes, dictionary_indices, digit_alternatives, matches

# With fewer entries, finding those that are equal up to their digits takes longer than masking them.
FEW_ENTRIES = 512

Masks = list[dict[str, Any]]


def mask_distinct(text: pa.Array, masks: Masks, max_characters: int) -> tuple[np.ndarray, pa.Array]:
    """Masks entries.

    Args:
        text: entries, large strings `(entries,)`.
        masks: applied in order, each with `pattern` and `replacement`.
        max_characters: characters of an entry that are read; the rest is left out.

    Returns:
        For each entry the row of its masked text among the distinct ones, int64 `(entries,)`, and the distinct masked
        texts in order of first appearance.
    """
    # A character takes at least one byte.
    if (pc.max(pc.binary_length(text)).as_py() or 0) > max_characters:
        text = pc.utf8_slice_codeunits(text, 0, max_characters)
    index, values = _mask(text, masks)
    masked = pc.dictionary_encode(pc.utf8_trim_whitespace(values))
    index = dictionary_indices(masked)[index]
    first_seen = np.full(len(masked.dictionary), len(index))
    first_seen[index[::-1]] = np.arange(len(index))[::-1]
    # Rows that no entry uses stood for shapes that were split up.
    order = first_seen.argsort()[: np.count_nonzero(first_seen < len(index))]
    rank = np.empty(len(first_seen), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[index], masked.dictionary.take(pa.array(order))


def _mask(text: pa.Array, masks: Masks) -> tuple[np.ndarray, pa.Array]:
    """Applies masks, once for all entries that are equal up to their digits: a million distinct lines are then a few
    thousand shapes.

    This is exact. A pattern that names no digit treats all digits alike. Where one that does, such as `404`, could
    match a shape, the entries of that shape are split up again and masked one by one, and so are those that keep a
    digit to the end.

    Returns:
        For each entry the row, int64 `(entries,)`, of its masked text in an array of texts; the array may hold others.
    """
    literals = _Literals()
    if not masks or len(text) < FEW_ENTRIES:
        written = pc.dictionary_encode(text)
        values = written.dictionary
        for mask in masks:
            values = _apply(mask, values, literals)
        return dictionary_indices(written), values

    shapes = Shapes(text)
    values, row_of_shape = shapes.distinct, np.arange(len(shapes.distinct))
    is_whole = np.ones(len(row_of_shape), dtype=bool)  # (shapes,), not split up so far
    changed_by: list[np.ndarray] = []  # for each mask so far, which shapes it changed
    split_up: list[tuple[np.ndarray, np.ndarray, pa.Array]] = []

    def split(hit: np.ndarray, number: int) -> None:
        """From mask `number` on, the entries of these shapes (bool `(shapes,)`) are masked for themselves."""
        positions = np.flatnonzero(hit[shapes.index])
        written = pc.dictionary_encode(text.take(pa.array(positions)))
        texts = written.dictionary
        for mask, changed in zip(masks[:number], changed_by, strict=True):
            if changed[hit].any():
                texts = _apply(mask, texts, literals)
        if number < len(masks):
            texts = _apply(masks[number], texts, literals)
            index, texts = _mask(texts, masks[number + 1 :])
        else:
            index = np.arange(len(texts))
        split_up.append((positions, index[dictionary_indices(written)], texts))

    for number, mask in enumerate(masks):
        if not literals.allow(mask, values):
            changed_by.append(np.zeros(len(row_of_shape), dtype=bool))
            continue
        digit_pattern, has_others = digit_alternatives(mask["pattern"])
        if digit_pattern is not None:
            hit = matches(values, digit_pattern)[row_of_shape] & is_whole
            if hit.any():
                split(hit, number)
                is_whole &= ~hit
                in_use = np.zeros(len(values), dtype=bool)
                in_use[row_of_shape[is_whole]] = True
                values, row_of_shape = values.filter(pa.array(in_use)), (in_use.cumsum() - 1)[row_of_shape]
                if not len(values):
                    break
        if not has_others:
            changed_by.append(np.zeros(len(row_of_shape), dtype=bool))
            continue
        masked = _apply(mask, values, literals)
        if _may_repeat_digits(mask["replacement"]):
            changed = matches(values, mask["pattern"])
        else:
            changed = pc.not_equal(masked, values).to_numpy(zero_copy_only=False).astype(bool)
        changed_by.append(changed[row_of_shape])
        if changed.any():
            merged = pc.dictionary_encode(masked)
            values, row_of_shape = merged.dictionary, dictionary_indices(merged)[row_of_shape]
    if is_whole.any():
        hit = matches(values, "[0-9]")[row_of_shape] & is_whole
        if hit.any():
            split(hit, len(masks))

    rows = row_of_shape[shapes.index]
    arrays = [values]
    for positions, index, texts in split_up:
        rows[positions] = index + sum(map(len, arrays))
        arrays.append(texts)
    return rows, pa.concat_arrays(arrays)


class _Literals:
    """Tells, far faster than a pattern, that a mask cannot match: none of the literals it requires is in the texts."""

    def __init__(self) -> None:
        self._texts: pa.Array | None = None

    def allow(self, mask: dict[str, Any], texts: pa.Array) -> bool:
        """Whether one of the texts may hold a literal that the mask requires."""
        literals = mask.get("requires")
        if literals is None:
            return True
        if texts is not self._texts:  # a mask rarely changes them
            data = texts.buffers()[2]
            self._texts, self._data = texts, b"" if data is None else data.to_pybytes()
        # A shape has a 0 in place of the digits that a literal may name.
        return any(text.encode() in self._data for text in {*literals, *(re.sub("[1-9]", "0", x) for x in literals)})


def _apply(mask: dict[str, Any], texts: pa.Array, literals: _Literals) -> pa.Array:
    """Replaces what a mask matches."""
    if not literals.allow(mask, texts):
        return texts
    return pc.replace_substring_regex(texts, mask["pattern"], mask["replacement"])


def _may_repeat_digits(replacement: str) -> bool:
    """Whether a replacement could swap digits: then a shape that stays as it is proves nothing about its texts."""
    groups = re.findall(r"\\[0-9]", replacement)
    return len(groups) > 1 or bool(re.search("[0-9]", re.sub(r"\\[0-9]", "", replacement)))
