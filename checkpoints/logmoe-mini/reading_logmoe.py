"""Bytes in, lines out: files, folders, compressed files, pipes and growing files become chunks of whole UTF-8 lines.

Memory stays bounded however large the log and however long its lines. This module knows nothing of entries. Called by
the scan, which hands the chunks to the parser; `to_utf8` and `split_lines` also serve logs that are in memory.
"""

import bz2
import codecs
import contextlib
import glob
import gzip
import io
import itertools
import lzma
import os
import re
import select
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Read and masked at once. Masking twice as much at once is 9 to 18% faster, but a scan's memory is a multiple of this.
CHUNK_BYTES = 2 << 20
# The longest line that is kept whole; of a longer one the rest is dropped, and counted.
MAX_LINE_BYTES = 1 << 20
# What is looked at to tell the encoding.
HEAD_BYTES = 4096
# How long a pipe may gather before its lines are given out, and how often a growing file is looked at, in seconds.
PIPE_SECONDS = 0.5
POLL_SECONDS = 0.25
# How long a replaced file is still read while the new one is empty, in seconds.
ROTATION_SECONDS = 10.0

# Told by the first bytes: names lie, and a pipe has none.
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda raw: _ArrowStream(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")),
}
# What these raise on damaged data.
_DAMAGES = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
_LONGEST_MAGIC = max(map(len, _COMPRESSIONS))


# What a file is that is no text, by its first bytes, and what to do with it.
_BINARIES: list[tuple[int, bytes, str]] = [
    (0, b"ElfFile\x00", "a Windows event log: export it as text or XML (`wevtutil qe FILE /lf /f:text`)"),
    (0, b"LPKSHHRH", "a systemd journal: export it (`journalctl --file FILE -o export`)"),
    (0, b"PK\x03\x04", "a zip archive: unpack it and give the folder"),
    (257, b"ustar", "a tar archive: unpack it and give the folder"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and give the folder"),
    (0, b"Rar!", "a rar archive: unpack it and give the folder"),
    (0, b"PAR1", "a Parquet file: train.py reads those"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"\xd4\xc3\xb2\xa1", "a packet capture: print it (`tcpdump -r FILE`)"),
    (0, b"\x0a\x0d\x0d\x0a", "a packet capture: print it (`tshark -r FILE`)"),
    (0, b"\x7fELF", "a program or a core dump"),
    (0, b"MZ\x90", "a Windows program"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89PNG", "an image"),
    (0, b"\xff\xd8\xff", "an image"),
    (0, b"\x93NUMPY", "a NumPy array"),
]
# Control characters that text does not hold; NUL is no sign, for a crashed machine leaves runs of it in its logs.
_NO_TEXT = bytes({*range(1, 32)} - set(b"\t\n\v\f\r\x1b\x08\x07\x0e\x0f\x1c\x1d\x1e\x1f"))
MAX_CONTROL_SHARE = 0.02

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Chunk:
    """A run of whole lines.

    Attributes:
        data: the lines in UTF-8; all end in a newline, except the last line of a log perhaps.
        first_line: the number of the first line, one-based.
        replaced_bytes: how many bytes were not valid UTF-8 and became U+FFFD.
        is_last: the log ends here.
        is_idle: nothing new came for a while, so whatever waits for more should be judged as it is.
    """

    data: bytes
    first_line: int = 1
    replaced_bytes: int = 0
    is_last: bool = False
    is_idle: bool = False


class EmptyLogError(ValueError):
    """A log has no entries: it is empty, or all blank lines."""


def find_logs(source: Any) -> list[Any]:
    """Finds the logs that a source stands for.

    Args:
        source: a file, a folder (every file in it, at any depth), a pattern such as `logs/*.gz`, `"-"` for standard
            input, an open file, or a list of those.

    Returns:
        Paths in natural order (`app.log.2` before `app.log.10`), `"-"` and open files. Folders and patterns leave out,
        with a warning, files that are empty or not text. A folder that cannot be opened is among the paths: reading it
        gives the error.

    Raises:
        FileNotFoundError: the source does not exist, or has no log in it.
        ValueError: the source is none of the above.
    """
    if hasattr(source, "read") and not isinstance(source, os.PathLike):
        return [source]
    if isinstance(source, list | tuple):
        return [log for each in source for log in find_logs(each)]
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            f"cannot read a log from {type(source).__name__}: give a path, '-', an open file, or a list of those"
        )
    name = os.fspath(source)
    if name == "-" or os.path.isfile(name) or (os.path.exists(name) and not os.path.isdir(name)):
        return [name]
    if os.path.isdir(name):
        closed: list[str] = []
        walk = os.walk(name, onerror=lambda error: closed.append(error.filename))
        found = [os.path.join(folder, file) for folder, _, files in walk for file in files] + closed
    else:
        found, closed = glob.glob(name, recursive=True), []
        if not found:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
                os.stat(name)  # which says if a folder on the way may not be entered
            raise FileNotFoundError(f"no log at {name!r}: no such file or folder, and no file matches it as a pattern")
    logs = []
    for path in sorted((path for path in found if os.path.isfile(path) or path in closed), key=_natural):
        if path in closed:
            logs.append(path)
        elif not os.path.getsize(path):
            logger.warning(f"skipping {path}: it is empty")
        elif (what := _no_text(path)) is not None:
            logger.warning(f"skipping {path}: it is {what}")
        else:
            logs.append(path)
    if not logs:
        raise FileNotFoundError(f"no log in {name!r}: every file in it is empty or not text")
    return logs


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]


def _no_text(path: str) -> str | None:
    """What a file is if it does not look like text."""
    try:
        with open(path, "rb") as raw, io.BufferedReader(_decompressed(raw)) as stream:
            head = stream.read(HEAD_BYTES)
    except _DAMAGES:
        return None  # reading it will say what is wrong
    kind = binary_kind(head)
    if kind is None and b"\x00" in head and utf16_of(head) is None:
        return "not text, for it contains NUL bytes: name the file to read it"
    return kind


def binary_kind(head: bytes) -> str | None:
    """What a file is that is no text, and what to do with it, by its first bytes; None if it may be text."""
    for place, mark, kind in _BINARIES:
        if head.startswith(mark, place):
            return kind
    if utf16_of(head) is None and len(head) - len(head.translate(None, _NO_TEXT)) > MAX_CONTROL_SHARE * len(head):
        return "not text, for it is full of control characters: give its `encoding` if it is"
    return None


class _Peeked(io.RawIOBase):
    """A stream whose first bytes have been read already."""

    def __init__(self, head: bytes, stream: Any):
        self.head, self.stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.head[: len(buffer)] or self.stream.read(len(buffer)) or b""
        self.head = self.head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


class _ArrowStream(io.RawIOBase):
    """An Arrow stream as a Python one."""

    def __init__(self, stream: pa.NativeFile):
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _decompressed(raw: Any) -> Any:
    """The bytes of the text, whatever `raw` is compressed with; `raw` need not be seekable."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (more := raw.read(_LONGEST_MAGIC - len(head))):
        head += more
    for magic, opener in _COMPRESSIONS.items():
        if head.startswith(magic):
            return opener(io.BufferedReader(_Peeked(head, raw), 1 << 20))
    return _Peeked(head, raw)


@dataclass
class LogReader:
    """Reads one log as chunks of whole lines.

    Args:
        source: a path, `"-"` for standard input, or an open file, binary or text.
        chunk_bytes: bytes read at once.
        max_line_bytes: the longest line that is kept whole; at least `chunk_bytes` and `MAX_LINE_BYTES` are.
        encoding: of the text; by default UTF-8, or UTF-16 if a mark or the zero bytes of its first characters say so.
        follow: at the end of the file wait for more, and start anew when the file is replaced or truncated.
        idle_seconds: with `follow`, how long nothing new may come before an idle chunk says so.

    Attributes:
        bytes_read: how far the source has been read, in bytes as stored.
        total_bytes: its size as stored, None if unknown.
        oversized_lines: how many lines were longer than `max_line_bytes`.
    """

    source: Any
    chunk_bytes: int = CHUNK_BYTES
    max_line_bytes: int = MAX_LINE_BYTES
    encoding: str | None = None
    follow: bool = False
    idle_seconds: float = 2.0
    bytes_read: int = field(default=0, init=False)
    total_bytes: int | None = field(default=None, init=False)
    oversized_lines: int = field(default=0, init=False)
    is_stopped: bool = field(default=False, init=False)
    _is_replaced: bool = field(default=False, init=False)
    _is_live: bool = field(default=False, init=False)
    _replaced_bytes: int = field(default=0, init=False)  # found before the text was cut into lines

    def __iter__(self) -> Iterator[Chunk]:
        for pieces in self._logs():
            for chunk in self._lines(pieces):
                if self.is_stopped:
                    return
                yield chunk

    def stop(self) -> None:
        """Ends a wait for more; for another thread to call."""
        self.is_stopped = True

    # ------------------------------------------------------------------ bytes

    def _logs(self) -> Iterator[Iterator[bytes | None]]:
        """One iterator over pieces of bytes per log; a replaced file is a new log. None: nothing new for a while."""
        if self.follow:
            self._is_live = True
            yield from self._follow(os.fspath(self.source))
        elif isinstance(self.source, str | os.PathLike) and os.fspath(self.source) != "-":
            if os.path.isdir(self.source):
                os.listdir(self.source)  # which says why the folder cannot be read
            with open(self.source, "rb") as raw:
                if _descriptor(raw) is None:
                    self.total_bytes = os.fstat(raw.fileno()).st_size
                yield self._read(raw)
        else:
            yield self._read(sys.stdin.buffer if isinstance(self.source, str) else self.source)

    def _read(self, raw: Any) -> Iterator[bytes]:
        if isinstance(raw, io.TextIOWrapper) and _descriptor(raw.buffer) is not None and _is_utf8(raw.encoding):
            raw = raw.buffer  # which can tell what has arrived
        if isinstance(raw, io.TextIOBase):
            if self.encoding is not None:
                raise ValueError(
                    f"`encoding` {self.encoding!r} cannot apply to a file that is open as text: open it in binary "
                    "mode, or leave out `encoding`"
                )
            while text := raw.read(self.chunk_bytes):
                data, replaced = to_utf8(text)
                self._replaced_bytes += replaced
                self.bytes_read += len(data)
                yield data
            return
        descriptor = _descriptor(raw)
        self._is_live = descriptor is not None
        if descriptor is not None and not self._wait(descriptor):
            return
        counted = _Counted(raw, self)
        stream = _decompressed(counted)
        if descriptor is not None and isinstance(stream, _Peeked):
            yield stream.head + counted.left
            yield from self._read_pipe(counted, descriptor)
            return
        try:
            while piece := stream.read(self.chunk_bytes):
                yield piece
        except _DAMAGES as error:
            if isinstance(stream, _Peeked):
                raise
            raise ValueError(
                f"the compressed log is damaged after {self.bytes_read} bytes, what came before was read: {error}"
            ) from error

    def _wait(self, descriptor: int) -> bool:
        """Waits until there is something to read; false if the reader was stopped."""
        while not self.is_stopped:
            if select.select([descriptor], [], [], PIPE_SECONDS)[0]:
                return True
        return False

    def _read_pipe(self, counted: "_Counted", descriptor: int) -> Iterator[bytes]:
        """What a pipe gives, as soon as there is enough of it or its first byte has waited long enough."""
        while self._wait(descriptor):
            parts: list[bytes] = []
            size = 0
            deadline = time.monotonic() + PIPE_SECONDS
            while (
                size < self.chunk_bytes and select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]
            ):
                data = counted.read_some()
                if not data:
                    if parts:
                        yield b"".join(parts)
                    return
                parts.append(data)
                size += len(data)
                if time.monotonic() > deadline:
                    break
            yield b"".join(parts)

    def _follow(self, path: str) -> Iterator[Iterator[bytes | None]]:
        while not self.is_stopped:
            if not os.path.exists(path):  # between the two steps of a rotation
                time.sleep(POLL_SECONDS)
                continue
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as raw:
                if raw.read(_LONGEST_MAGIC).startswith(tuple(_COMPRESSIONS)):
                    raise ValueError(f"cannot follow {path}: it is compressed; read it without `follow`")
                self._is_replaced = False
                while not self._is_replaced and not self.is_stopped:
                    raw.seek(0)  # again after a truncation
                    yield self._grow(path, raw)

    def _grow(self, path: str, raw: BinaryIO) -> Iterator[bytes | None]:
        """Pieces of a growing file until it is truncated or replaced."""
        quiet_since = time.monotonic()
        is_told = True  # that nothing new has come
        replaced_at: float | None = None
        while not self.is_stopped:
            if data := raw.read(self.chunk_bytes):
                self.bytes_read += len(data)
                quiet_since, is_told = time.monotonic(), False
                yield data
                continue
            if self._is_replaced:
                return
            opened = os.fstat(raw.fileno())
            if opened.st_size < raw.tell():
                return
            try:
                named = os.stat(path)
            except FileNotFoundError:
                named = opened
            if (named.st_ino, named.st_dev) != (opened.st_ino, opened.st_dev):
                # The writer may hold on to the old file for a while; it is read to its end before it is left.
                replaced_at = replaced_at or time.monotonic()
                is_over = named.st_size > 0 or time.monotonic() - replaced_at > ROTATION_SECONDS
                self._is_replaced = is_over and time.monotonic() - quiet_since > 2 * POLL_SECONDS
            if not is_told and time.monotonic() - quiet_since > self.idle_seconds:
                is_told = True
                yield None
            time.sleep(POLL_SECONDS)

    # ------------------------------------------------------------------ lines

    def _lines(self, pieces: Iterator[bytes | None]) -> Iterator[Chunk]:
        longest = max(self.chunk_bytes, MAX_LINE_BYTES, self.max_line_bytes)
        number, held = 1, b""
        is_skipping = False  # the rest of an oversized line
        for piece in self._utf8(pieces):
            if piece is None:
                # Nobody knows whether the last line is complete; one that ends in a newline is.
                end = held.rfind(b"\n") + 1
                yield self._chunk(held[:end], number, is_idle=True)
                number, held = number + held.count(b"\n"), held[end:]
                continue
            if is_skipping:
                newline = piece.find(b"\n")
                if newline < 0:
                    continue
                piece, is_skipping = piece[newline:], False
            held += piece
            if len(held) < self.chunk_bytes and not self._is_live:
                continue
            if end := held.rfind(b"\n") + 1:
                yield self._chunk(held[:end], number)
                number, held = number + held.count(b"\n", 0, end), held[end:]
            if len(held) > longest:
                self.oversized_lines += 1
                # Not within a character.
                kept = longest - next((back for back in range(4) if not 0x80 <= held[longest - back] < 0xC0), 0)
                held, is_skipping = held[:kept], True
        yield self._chunk(held, number, is_last=True)

    def _utf8(self, pieces: Iterator[bytes | None]) -> Iterator[bytes | None]:
        """Whatever the encoding, the text becomes UTF-8, and a byte order mark is dropped."""
        decoder: codecs.IncrementalDecoder | None = None
        head: bytes | None = b""  # until the encoding is known
        for piece in itertools.chain((piece for piece in pieces if piece != b""), [b""]):  # b"" is the end
            if piece is None:
                yield None
                continue
            is_beginning = head is not None
            if head is not None:
                head += piece
                if piece and len(head) < HEAD_BYTES and not self._is_live:
                    continue
                encoding = self.encoding or utf16_of(head)
                if encoding is None and (kind := binary_kind(head)) is not None:
                    raise ValueError(f"not a log, it is {kind}")
                decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)("replace")
                data, head = head, None
            else:
                data = piece
            if decoder is not None:
                text = decoder.decode(data, final=not piece)
                self._replaced_bytes += text.count("\ufffd")
                data = text.encode()
            yield data.removeprefix(codecs.BOM_UTF8) if is_beginning else data

    def _chunk(self, data: bytes, first_line: int, **flags: bool) -> Chunk:
        data, replaced_bytes = valid_utf8(data)
        replaced_bytes += self._replaced_bytes
        self._replaced_bytes = 0
        return Chunk(data, first_line, replaced_bytes, **flags)


class _Counted(io.RawIOBase):
    """Counts what is read from a raw stream, and takes what a pipe has without waiting for more.

    Attributes:
        left: what was taken but has not been asked for yet.
    """

    def __init__(self, raw: Any, reader: LogReader):
        self.raw, self.reader = raw, reader
        self.left = b""

    def readable(self) -> bool:
        return True

    def read_some(self, size: int = 1 << 20) -> bytes:
        # At this size read1 leaves nothing behind in the stream's own buffer.
        data = (getattr(self.raw, "read1", None) or self.raw.read)(size) or b""
        if isinstance(data, str):
            raise ValueError(f"{type(self.raw).__name__}.read() returned str, not bytes: open the log in binary mode")
        self.reader.bytes_read += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        self.left = self.left or self.read_some(max(len(buffer), 1 << 20))
        data, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _descriptor(source: Any) -> int | None:
    """The descriptor of something to wait for: a pipe, socket or terminal with no buffer other than Python's."""
    if os.name != "posix" or not isinstance(getattr(source, "raw", source), io.FileIO):
        return None
    descriptor = source.fileno()
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return None if is_file or descriptor >= 1024 else int(descriptor)  # select knows no more


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def to_utf8(text: str | bytes) -> tuple[bytes, int]:
    """Valid UTF-8 without a byte order mark, and how many bytes became U+FFFD because they were not valid."""
    if isinstance(text, str):
        # Lone surrogates come from files read with errors="surrogateescape"; each stands for one byte.
        text, replaced = _SURROGATE.subn("\ufffd", text)
        return text.removeprefix("\ufeff").encode(), replaced
    if (encoding := utf16_of(text)) is not None:
        decoded = text.decode(encoding, "replace")
        return decoded.removeprefix("\ufeff").encode(), decoded.count("\ufffd")
    return valid_utf8(text.removeprefix(codecs.BOM_UTF8))


def utf16_of(data: bytes) -> str | None:
    """The kind of UTF-16 that a text is in, by its mark or, in text that is mostly ASCII, by its zero bytes."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    head = np.frombuffer(data[: min(len(data), HEAD_BYTES) // 2 * 2], dtype=np.uint8).reshape(-1, 2)
    if not len(head):
        return None
    zeros = (head == 0).mean(axis=0)  # of the first and of the second byte of each character
    ascii_bytes = head[head[:, zeros.argmax()] == 0, zeros.argmin()]
    is_printed = ((ascii_bytes >= ord(" ")) & (ascii_bytes < 0x7F)) | np.isin(ascii_bytes, list(b"\t\n\r\x1b"))
    if zeros.max() < 0.4 or zeros.min() > 0.02 or is_printed.mean() < 0.95:
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def check_encoding(encoding: str | None) -> None:
    """
    Raises:
        ValueError: Python knows no such encoding of text.
    """
    try:
        if encoding is not None and not codecs.lookup(encoding)._is_text_encoding:
            raise LookupError
    except LookupError:
        raise ValueError(
            f"`encoding` must name an encoding of text, such as 'gb18030', 'latin-1' or 'shift_jis', got {encoding!r}."
        ) from None


def valid_utf8(data: bytes) -> tuple[bytes, int]:
    """As `to_utf8`, for what is not the beginning of a text."""
    try:
        data.decode()
        return data, 0
    except UnicodeDecodeError:
        kept = len(data.decode("utf-8", "ignore").encode())
        return data.decode("utf-8", "replace").encode(), len(data) - kept


def split_lines(data: bytes) -> pa.Array:
    """Splits UTF-8 at each newline into large strings `(lines,)`; a carriage return before a newline goes with it."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(buffer == ord("\n"))
    # Offsets that step over the newlines: each even slot is a line, each odd one the newline itself.
    ends = np.append(newlines, len(data))
    starts = np.append(0, newlines + 1)
    offsets = np.append(np.stack([starts, ends], axis=1).ravel(), len(data)).astype(np.int64)
    pieces = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    lines = pieces.take(pa.array(np.arange(0, len(pieces), 2)))
    return pc.replace_substring_regex(lines, r"\r$", "") if b"\r" in data else lines


__all__ = ["CHUNK_BYTES", "Chunk", "LogReader", "find_logs", "split_lines", "to_utf8"]
