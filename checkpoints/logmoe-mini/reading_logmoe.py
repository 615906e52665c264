"""Bytes in: files, folders, compressed files, pipes and growing files → chunks of whole entries, in bounded memory."""

import bz2
import codecs
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
from transformers.utils import logging

from .processing_logmoe import LogMoEProcessor, to_utf8

logger = logging.get_logger(__name__)

# Read and masked at once. More is not faster, and the memory of a scan is a small multiple of it.
CHUNK_BYTES = 4 << 20
# Entries are kept whole up to twice a chunk, and at least up to this.
MIN_ENTRY_BYTES = 1 << 20
# Seconds after which what a pipe has given so far is looked at, and between looks at a file that may have grown.
PIPE_SECONDS = 0.5
POLL_SECONDS = 0.25

# By the first bytes: names lie, and a pipe has none.
_COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"),
}
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
        with open(path, "rb") as raw, _decompressed(raw) as stream:
            head = stream.read(4096)
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException):
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
    _is_stopped: bool = field(default=False, init=False)
    _is_replaced: bool = field(default=False, init=False)

    def __iter__(self) -> Iterator[Chunk]:
        for pieces in self._logs():
            for chunk in self._chunks(pieces):
                if self._is_stopped:
                    return
                yield chunk

    def stop(self) -> None:
        """Makes a wait for more end soon; for another thread to call."""
        self._is_stopped = True

    # ------------------------------------------------------------------ bytes

    def _logs(self) -> Iterator[Iterator[bytes | None]]:
        """One iterator of pieces of bytes per log; a replaced file is a new log. None: nothing new for a while."""
        if self.follow:
            yield from self._follow(os.fspath(self.source))
            return
        if isinstance(self.source, str | os.PathLike) and os.fspath(self.source) != "-":
            with open(self.source, "rb") as raw:
                self.total_bytes = os.fstat(raw.fileno()).st_size
                yield self._read(raw)
        else:
            yield self._read(sys.stdin.buffer if self.source == "-" else self.source)

    def _read(self, raw: Any) -> Iterator[bytes]:
        if isinstance(raw, io.TextIOBase):
            while text := raw.read(self.chunk_bytes):
                data, _ = to_utf8(text)
                self.bytes_read += len(data)
                yield data
            return
        counted = _Counted(raw, self)
        stream = _decompressed(counted)
        is_plain = isinstance(stream, _Peeked)
        if is_plain and self._is_pipe():
            yield stream.head
            yield from self._read_pipe(raw)
            return
        try:
            while piece := stream.read(self.chunk_bytes):
                yield piece
        except (EOFError, OSError, lzma.LZMAError, pa.ArrowException) as error:
            if is_plain:
                raise
            raise ValueError(f"The compressed log is damaged after {self.bytes_read} bytes: {error}") from error

    def _is_pipe(self) -> bool:
        """A pipe, a socket or a terminal, which gives what it has as it comes."""
        return _descriptor(sys.stdin.buffer if self.source == "-" else self.source) is not None

    def _read_pipe(self, raw: Any) -> Iterator[bytes]:
        """What a pipe gives, as soon as it is enough or has waited long enough."""
        descriptor = _descriptor(raw)
        read = getattr(raw, "read1", raw.read)  # The latter would wait until all of it is there.
        parts: list[bytes] = []
        is_buffered = True  # a first read may have taken more than was asked for
        while not self._is_stopped:
            ready = is_buffered or bool(select.select([descriptor], [], [], PIPE_SECONDS)[0])
            is_buffered = False
            data = read(1 << 20) if ready else b""
            self.bytes_read += len(data)
            parts.append(data)
            if not data or sum(map(len, parts)) >= self.chunk_bytes:
                if any(parts):
                    yield b"".join(parts)
                parts = []
                if ready and not data:
                    return

    def _follow(self, path: str) -> Iterator[Iterator[bytes | None]]:
        while not self._is_stopped:
            while not os.path.exists(path) and not self._is_stopped:  # Between a rotation's two steps.
                time.sleep(POLL_SECONDS)
            with open(path, "rb") as raw:
                if raw.read(_LONGEST_MAGIC).startswith(tuple(_COMPRESSIONS)):
                    raise ValueError(f"{path} is compressed: a file to follow must be plain text.")
                self._is_replaced = False
                while not self._is_replaced and not self._is_stopped:
                    raw.seek(0)  # again when it was truncated
                    yield self._grow(path, raw)

    def _grow(self, path: str, raw: BinaryIO) -> Iterator[bytes | None]:
        """Pieces of a growing file until it is truncated or replaced."""
        quiet_since = time.monotonic()
        is_told = True
        while not self._is_stopped:
            if data := raw.read(self.chunk_bytes):
                self.bytes_read += len(data)
                quiet_since, is_told = time.monotonic(), False
                yield data
                continue
            opened = os.fstat(raw.fileno())
            if opened.st_size < raw.tell():
                return
            if self._is_replaced:
                return
            try:
                named = os.stat(path)
                # Looked at once more before it is left, for what was written up to now.
                self._is_replaced = (named.st_ino, named.st_dev) != (opened.st_ino, opened.st_dev)
            except FileNotFoundError:
                pass
            if not is_told and time.monotonic() - quiet_since > self.idle_seconds:
                is_told = True
                yield None
            time.sleep(POLL_SECONDS)

    # ------------------------------------------------------------------ whole entries

    def _chunks(self, pieces: Iterator[bytes | None]) -> Iterator[Chunk]:
        line, held = 1, b""
        self.indentation = -1
        is_skipping = False  # the rest of a line that is too long
        is_live = self.follow or self._is_pipe()
        for piece in _utf16_to_utf8(pieces):
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
            if len(held) < self.chunk_bytes and not is_live:
                continue
            newline = held.rfind(b"\n") + 1
            end = self._last_start(held[:newline]) if newline else 0
            if not end and len(held) > max(2 * self.chunk_bytes, MIN_ENTRY_BYTES):
                self.cut_entries += 1
                end = newline
                if not end:
                    # A line without end. The processor reads its beginning only, so the rest need not be kept.
                    held, is_skipping = held[: self.chunk_bytes], True
            if end:
                yield self._chunk(held[:end], line)
                line, held = line + held.count(b"\n", 0, end), held[end:]
        yield self._chunk(held, line, is_last=True)

    def _chunk(self, data: bytes, line: int, **flags: bool) -> Chunk:
        # With its last newline it would have one line more, an empty one.
        data, replaced_bytes = to_utf8(data.removesuffix(b"\n"))
        if self.indentation < 0:
            self.indentation = self.processor.indentation(data)
        return Chunk(data, line, replaced_bytes, self.indentation, **flags)

    def _last_start(self, data: bytes) -> int:
        """Offset of the last line that starts an entry whatever stands before it; 0: none does after the first."""
        if self.indentation < 0:
            self.indentation = self.processor.indentation(to_utf8(data)[0])
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


def _utf16_to_utf8(pieces: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """UTF-16, which its first bytes tell, becomes UTF-8."""
    decoder: codecs.IncrementalDecoder | None = None
    is_first = True
    for piece in pieces:
        if piece and is_first:
            is_first = False
            if piece[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield decoder.decode(piece).encode() if decoder is not None and piece else piece


class _Counted(io.RawIOBase):
    """Counts what is read of a raw stream."""

    def __init__(self, raw: Any, reader: LogReader):
        self.raw, self.reader = raw, reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.raw.read(len(buffer)) or b""
        if isinstance(data, str):
            raise ValueError(f"{type(self.raw).__name__}.read() gave str: open the log in binary mode.")
        buffer[: len(data)] = data
        self.reader.bytes_read += len(data)
        return len(data)


def _descriptor(source: Any) -> int | None:
    """The descriptor of what can be waited for: a pipe, a socket or a terminal."""
    try:
        descriptor = source.fileno()
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (AttributeError, OSError, ValueError):
        return None
    # Windows waits for sockets only.
    return None if is_file or os.name != "posix" else int(descriptor)


__all__ = ["CHUNK_BYTES", "Chunk", "LogReader", "find_logs"]
