"""Bytes in: files, folders, compressed files, pipes and growing files → chunks of whole entries, in bounded memory."""

import bz2
import codecs
import contextlib
import glob
import gzip
import io
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

import pyarrow as pa
from transformers.utils import logging

from .processing_logmoe import LogMoEProcessor, to_utf8, valid_utf8

logger = logging.get_logger(__name__)

# Read and masked at once. Twice as much is masked 9 to 18% faster, but the memory of a scan is a multiple of it.
CHUNK_BYTES = 2 << 20
# Entries are kept whole up to twice a chunk, and at least up to this.
MIN_ENTRY_BYTES = 1 << 20
# Seconds after which what a pipe has given so far is looked at, and between looks at a file that may have grown.
PIPE_SECONDS = 0.5
POLL_SECONDS = 0.25
# How long a replaced file is still read while the new one is empty.
ROTATION_SECONDS = 10.0

# By the first bytes: names lie, and a pipe has none.
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda raw: _ArrowStream(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")),
}
# What they raise on damaged data.
_DAMAGES = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
_LONGEST_MAGIC = max(map(len, _COMPRESSIONS))


@dataclass
class Chunk:
    """A run of whole entries.

    Attributes:
        data: UTF-8, without the newline that ends it.
        first_line: the number of its first line, one-based.
        replaced_bytes: how many bytes were no UTF-8 and became U+FFFD.
        indentation: characters of white space that all lines of the log share.
        is_last: the log ends here.
        is_idle: nothing came for a while, so that what waits for more should be judged as it is.
    """

    data: bytes
    first_line: int
    replaced_bytes: int
    indentation: int
    is_last: bool = False
    is_idle: bool = False


def find_logs(source: Any) -> list[Any]:
    """The logs that a name means.

    Args:
        source: a file, a folder (all files in it, at any depth), a pattern such as `logs/*.gz`, `"-"` for standard
            input, an open file, or a list of those.

    Returns:
        Paths in natural order, `app.log.2` before `app.log.10`, `"-"` and open files. In a folder and by a pattern,
        empty files and, with a warning, those that are not text are left out.

    Raises:
        FileNotFoundError: nothing is there, or a folder holds no log.
        ValueError: none of the above.
    """
    if hasattr(source, "read") and not isinstance(source, os.PathLike):
        return [source]
    if isinstance(source, list | tuple):
        return [log for each in source for log in find_logs(each)]
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"A log is a path, '-', an open file, or a list of those; got {type(source).__name__}.")
    name = os.fspath(source)
    if name == "-" or os.path.isfile(name) or (os.path.exists(name) and not os.path.isdir(name)):
        return [name]
    if os.path.isdir(name):
        found = [os.path.join(folder, file) for folder, _, files in os.walk(name) for file in files]
    else:
        found = glob.glob(name, recursive=True)
        if not found:
            raise FileNotFoundError(f"No log at {name!r}: it is no file, no folder, and as a pattern matches nothing.")
    logs = []
    for path in sorted(filter(os.path.isfile, found), key=_natural):
        if _looks_binary(path):
            logger.warning(f"{path} is left out: it holds NUL bytes, which no text does. Name it to read it anyway.")
        elif os.path.getsize(path):
            logs.append(path)
    if not logs:
        raise FileNotFoundError(f"No log in {name!r}: it holds no file with text.")
    return logs


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]


def _looks_binary(path: str) -> bool:
    try:
        with open(path, "rb") as raw, io.BufferedReader(_decompressed(raw)) as stream:
            head = stream.read(4096)
    except _DAMAGES:
        return False  # Whoever reads it will say what is wrong.
    return b"\x00" in head and head[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Peeked(io.RawIOBase):
    """A stream whose first bytes were read already."""

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
    """Arrow's stream as one of Python's."""

    def __init__(self, stream: pa.NativeFile):
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _decompressed(raw: Any) -> Any:
    """The text's bytes, whatever they are compressed with; `raw` need not seek."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (more := raw.read(_LONGEST_MAGIC - len(head))):
        head += more
    for magic, opener in _COMPRESSIONS.items():
        if head.startswith(magic):
            return opener(io.BufferedReader(_Peeked(head, raw), 1 << 20))
    return _Peeked(head, raw)


@dataclass
class LogReader:
    """Reads one log in chunks that end where an entry ends.

    Args:
        processor: says where entries start.
        source: a path, `"-"` for standard input, or an open file, binary or text.
        chunk_bytes: bytes that are read at once. Of a line much longer than that the end is left out, an entry of many
            lines is cut; both are counted.
        follow: goes on at the end of the file, waits for more, and starts anew when the file is replaced or truncated.
        idle_seconds: with `follow`: after so long without news, what is there is given out as a chunk.

    Attributes:
        bytes_read: how far the source was read, in bytes as they are stored.
        total_bytes: size as stored, None where it is not known.
        cut_entries: entries longer than `chunk_bytes`.
        indentation: characters of white space that all lines share, judged by what is read first; -1 before.
    """

    processor: LogMoEProcessor
    source: Any
    chunk_bytes: int = CHUNK_BYTES
    follow: bool = False
    idle_seconds: float = 2.0
    bytes_read: int = field(default=0, init=False)
    total_bytes: int | None = field(default=None, init=False)
    cut_entries: int = field(default=0, init=False)
    indentation: int = field(default=-1, init=False)
    is_stopped: bool = field(default=False, init=False)
    _is_replaced: bool = field(default=False, init=False)
    _is_live: bool = field(default=False, init=False)
    _replaced_bytes: int = field(default=0, init=False)  # found before the text was cut into chunks

    def __iter__(self) -> Iterator[Chunk]:
        for pieces in self._logs():
            for chunk in self._chunks(pieces):
                if self.is_stopped:
                    return
                yield chunk

    def stop(self) -> None:
        """Makes a wait for more end soon; for another thread to call."""
        self.is_stopped = True

    # ------------------------------------------------------------------ bytes

    def _logs(self) -> Iterator[Iterator[bytes | None]]:
        """One iterator of pieces of bytes per log; a replaced file is a new log. None: nothing new for a while."""
        if self.follow:
            self._is_live = True
            yield from self._follow(os.fspath(self.source))
        elif isinstance(self.source, str | os.PathLike) and os.fspath(self.source) != "-":
            with open(self.source, "rb") as raw:
                if _descriptor(raw) is None:
                    self.total_bytes = os.fstat(raw.fileno()).st_size
                yield self._read(raw)
        else:
            yield self._read(sys.stdin.buffer if isinstance(self.source, str) else self.source)

    def _read(self, raw: Any) -> Iterator[bytes]:
        if isinstance(raw, io.TextIOWrapper) and _descriptor(raw.buffer) is not None and _is_utf8(raw.encoding):
            raw = raw.buffer  # which tells what has come from what has not
        if isinstance(raw, io.TextIOBase):
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
            raise ValueError(f"The compressed log is damaged after {self.bytes_read} bytes: {error}") from error

    def _wait(self, descriptor: int) -> bool:
        """Waits until there is something to read; false when there will be none, for the scan is over."""
        while not self.is_stopped:
            if select.select([descriptor], [], [], PIPE_SECONDS)[0]:
                return True
        return False

    def _read_pipe(self, counted: "_Counted", descriptor: int) -> Iterator[bytes]:
        """What a pipe gives, as soon as it is enough or its first byte has waited long enough."""
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
            if not os.path.exists(path):  # Between a rotation's two steps.
                time.sleep(POLL_SECONDS)
                continue
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as raw:
                if raw.read(_LONGEST_MAGIC).startswith(tuple(_COMPRESSIONS)):
                    raise ValueError(f"{path} is compressed: a file to follow must be plain text.")
                self._is_replaced = False
                while not self._is_replaced and not self.is_stopped:
                    raw.seek(0)  # again when it was truncated
                    yield self._grow(path, raw)

    def _grow(self, path: str, raw: BinaryIO) -> Iterator[bytes | None]:
        """Pieces of a growing file until it is truncated or replaced."""
        quiet_since = time.monotonic()
        is_told = True
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
                # Who writes may hold on to the old file for a while. It is read once more before it is left.
                replaced_at = replaced_at or time.monotonic()
                is_over = named.st_size > 0 or time.monotonic() - replaced_at > ROTATION_SECONDS
                self._is_replaced = is_over and time.monotonic() - quiet_since > 2 * POLL_SECONDS
            if not is_told and time.monotonic() - quiet_since > self.idle_seconds:
                is_told = True
                yield None
            time.sleep(POLL_SECONDS)

    # ------------------------------------------------------------------ whole entries

    def _chunks(self, pieces: Iterator[bytes | None]) -> Iterator[Chunk]:
        line, held = 1, b""
        self.indentation = -1
        is_skipping = False  # the rest of a line that is too long
        for piece in self._utf8(pieces):
            if piece is None:
                # Nobody knows whether the last line is whole: what ends in a newline is.
                end = held.rfind(b"\n") + 1
                yield self._chunk(held[:end], line, is_idle=True)
                line, held = line + held.count(b"\n"), held[end:]
                continue
            if is_skipping:
                newline = piece.find(b"\n")
                if newline < 0:
                    continue
                piece, is_skipping = piece[newline:], False
            held += piece
            if len(held) < self.chunk_bytes and not self._is_live:
                continue
            newline = held.rfind(b"\n") + 1
            end = self._last_start(held[:newline]) if newline else 0
            if not end and newline and len(held) > max(2 * self.chunk_bytes, MIN_ENTRY_BYTES):
                self.cut_entries += 1
                end = newline
            # A line without end. The processor reads its beginning only, so the rest need not be kept.
            kept = max(self.chunk_bytes, MIN_ENTRY_BYTES, 4 * self.processor.max_entry_characters)
            if not newline and len(held) > kept:
                self.cut_entries += 1
                # Not within a character.
                kept -= next((back for back in range(4) if not 0x80 <= held[kept - back] < 0xC0), 0)
                held, is_skipping = held[:kept], True
            if end:
                yield self._chunk(held[:end], line)
                line, held = line + held.count(b"\n", 0, end), held[end:]
        yield self._chunk(held, line, is_last=True)

    def _utf8(self, pieces: Iterator[bytes | None]) -> Iterator[bytes | None]:
        """What the first bytes tell: UTF-16 becomes UTF-8, a byte order mark goes."""
        decoder: codecs.IncrementalDecoder | None = None
        is_first = True
        for piece in pieces:
            if piece and is_first:
                is_first = False
                if piece[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                    decoder = codecs.getincrementaldecoder("utf-16")("replace")
                piece = piece.removeprefix(codecs.BOM_UTF8)
            if decoder is not None and piece:
                text = decoder.decode(piece)
                self._replaced_bytes += text.count("\ufffd")
                piece = text.encode()
            yield piece
        if decoder is not None and (rest := decoder.decode(b"", final=True)):
            self._replaced_bytes += len(rest)
            yield rest.encode()

    def _chunk(self, data: bytes, line: int, **flags: bool) -> Chunk:
        # With its last newline it would have one line more, an empty one.
        data, replaced_bytes = valid_utf8(data.removesuffix(b"\n"))
        replaced_bytes += self._replaced_bytes
        self._replaced_bytes = 0
        if self.indentation < 0:
            self.indentation = self.processor.indentation(data)
        return Chunk(data, line, replaced_bytes, self.indentation, **flags)

    def _last_start(self, data: bytes) -> int:
        """Offset of the last line that starts an entry whatever stands before it; 0: none does after the first."""
        if self.indentation < 0:
            self.indentation = self.processor.indentation(valid_utf8(data)[0])
        size = 1 << 14
        while True:
            begin = data.rfind(b"\n", 0, max(0, len(data) - size)) + 1
            # Bytes that are no UTF-8 are replaced one by one here, so that offsets stay true.
            tail = data[begin:].removesuffix(b"\n")
            try:
                tail.decode()
            except UnicodeDecodeError:
                tail = tail.decode("ascii", "replace").replace("\ufffd", "?").encode()
            start = self.processor.last_entry_start(tail, self.indentation)
            if start is not None and begin + start > 0:
                return begin + start
            if begin == 0:
                return 0
            size *= 8


class _Counted(io.RawIOBase):
    """Counts what is read of a raw stream, and takes what a pipe has without waiting for more.

    Attributes:
        left: what was taken but not asked for yet.
    """

    def __init__(self, raw: Any, reader: LogReader):
        self.raw, self.reader = raw, reader
        self.left = b""

    def readable(self) -> bool:
        return True

    def read_some(self, size: int = 1 << 20) -> bytes:
        # Of that size read1 leaves nothing behind in the stream's own buffer.
        data = (getattr(self.raw, "read1", None) or self.raw.read)(size) or b""
        if isinstance(data, str):
            raise ValueError(f"{type(self.raw).__name__}.read() gave str: open the log in binary mode.")
        self.reader.bytes_read += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        self.left = self.left or self.read_some(max(len(buffer), 1 << 20))
        data, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _descriptor(source: Any) -> int | None:
    """The descriptor of what can be waited for: a pipe, a socket or a terminal, with no other buffer than Python's."""
    if os.name != "posix" or not isinstance(getattr(source, "raw", source), io.FileIO):
        return None
    descriptor = source.fileno()
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return None if is_file or descriptor >= 1024 else int(descriptor)  # more than select knows


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


__all__ = ["CHUNK_BYTES", "Chunk", "LogReader", "find_logs"]
