"""What a terminal would show of a line: colours, cursor moves and overwritten text are taken out.

Escape sequences are removed, the text of links stays, and a carriage return starts the visible text anew, as a
progress bar does. Called by the unwrapper, before lines are grouped.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import buffers, put_rows, take_rows

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
            (rf"(?:\r(?:[ \t\r\x00]|{_ESCAPES})*)+(\n|\z)", r"\1"),
            (r"[^\n]*\r", ""),
        ],
        is_return=True,
    )


def without_escapes(lines: pa.Array) -> pa.Array:
    """Removes colours; what starts the visible text anew becomes a carriage return. The same array if nothing does."""
    return _replaced(lines, [(_REWRITES, "\r"), (_ESCAPES, ""), (r"\A\r+", "")], is_return=True)


def _replaced(lines: pa.Array, replacements: list[tuple[str, str]], is_return: bool) -> pa.Array:
    rows = control_rows(lines, is_return)
    if not len(rows):
        return lines
    text = take_rows(lines, rows)
    for pattern, replacement in replacements:
        text = pc.replace_substring_regex(text, pattern, replacement)
    return put_rows(lines, rows, text)


def control_rows(lines: pa.Array, is_return: bool) -> np.ndarray:
    """Rows of the lines with an escape, an 8-bit control or, if `is_return`, a carriage return, int64."""
    offsets, data = buffers(lines)
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


__all__ = ["strip_colour", "visible"]
