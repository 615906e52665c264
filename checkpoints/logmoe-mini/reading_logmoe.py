"""Bytes in, lines out: files, folders, compressed files, pipes and growing files become chunks of whole UTF-8 lines.

Memory stays bounded however large the log and however long its lines. This module knows nothing of entries. Called by
the scan, which hands the chunks to the parser; `to_utf8` and `split_lines` also serve logs that are in memory.
"""

import codecs
import contextlib
import io
import itertools
import os
import queue
import re
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers.utils import logging

from .sources_logmoe import (
    COMPRESSIONS,
    DAMAGES,
    HEAD_BYTES,
    LONGEST_MAGIC,
    Peeked,
    binary_kind,
    decompressed,
    find_logs,
    visible,
    wide_encoding_of,
)

logger = logging.get_logger(__name__)

# Read and masked at once. Masking twice as much at once is 9 to 18% faster, but a scan's memory is a multiple of this.
CHUNK_BYTES = 2 << 20
# Text that is unpacked at once: so much of it may be lost in front of a damaged place.
UNPACKED_BYTES = 4096
# Nor are more lines: of short ones, what is kept of each takes far more than its text.
CHUNK_LINES = 1 << 15
# The longest line that is kept whole; of a longer one the rest is dropped, and counted.
MAX_LINE_BYTES = 1 << 20
# How long a pipe may gather before its lines are given out, and how often a growing file is looked at, in seconds.
PIPE_SECONDS = 0.5
POLL_SECONDS = 0.25
# How long a replaced file is still read while the new one is empty, in seconds.
ROTATION_SECONDS = 10.0
# The beginning of a followed file by which it is known, in bytes.
KNOWN_BYTES = 1024

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


class DamagedLogError(ValueError):
    """A compressed log cannot be read to its end."""


@dataclass
class LogReader:
    """Reads one log as chunks of whole lines.

    Args:
        source: a path, `"-"` for standard input, or an open file, binary or text.
        chunk_bytes: bytes read at once.
        max_line_bytes: the longest line that is kept whole; at least `chunk_bytes` and `MAX_LINE_BYTES` are.
        encoding: of the text; by default UTF-8, or UTF-16 or UTF-32 if a mark or zero bytes in its beginning say so.
        follow: at the end of the file wait for more, and start anew when the file is replaced or truncated. A file
            that is truncated and written past the old place within a poll is told by its first `KNOWN_BYTES` bytes.
            Where these are the same as before, or it is replaced twice within a poll, what came between is not seen.
        idle_seconds: with `follow`, how long nothing new may come before an idle chunk says so.
        from_start: with `follow`, read what the file holds already; false to begin with its last line if that is not
            finished, or else with the next one.

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
    from_start: bool = True
    bytes_read: int = field(default=0, init=False)
    total_bytes: int | None = field(default=None, init=False)
    oversized_lines: int = field(default=0, init=False)
    is_stopped: bool = field(default=False, init=False)
    _is_replaced: bool = field(default=False, init=False)
    _is_live: bool = field(default=False, init=False)
    _lines_before: int = field(default=0, init=False)  # those that are not read
    _replaced_bytes: int = field(default=0, init=False)  # found before the text was cut into lines

    def __iter__(self) -> Iterator[Chunk]:
        for pieces in self._logs():
            for whole in self._lines(pieces):
                for chunk in _with_few_lines(whole):
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
        stream = decompressed(counted)
        if descriptor is not None and isinstance(stream, Peeked):
            yield stream.head + counted.left
            yield from self._read_pipe(counted, descriptor)
            return
        try:
            read = getattr(stream, "read1", stream.read)
            size = self.chunk_bytes if isinstance(stream, Peeked) else min(self.chunk_bytes, UNPACKED_BYTES)
            while piece := read(size):
                yield piece
        except DAMAGES as error:
            if isinstance(stream, Peeked):
                raise
            raise DamagedLogError(
                f"the compressed log is damaged after {self.bytes_read} bytes, what came before was read, but perhaps "
                f"for the last {UNPACKED_BYTES} characters: {error}"
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
        raw: io.FileIO | None = None
        successors: deque[io.FileIO] = deque()  # files that took the path's place, and are still to be read
        is_first = True
        try:
            while not self.is_stopped:
                try:
                    raw = successors.popleft() if successors else _open_file(path)
                except PermissionError:
                    if is_first:
                        raise
                    raw = None
                if raw is None:  # between the two steps of a rotation
                    time.sleep(POLL_SECONDS)
                    continue
                if raw.read(LONGEST_MAGIC).startswith(tuple(COMPRESSIONS)):
                    raise ValueError(f"cannot follow {visible(path)}: it is compressed; read it without `follow`")
                self._is_replaced = False
                place = 0 if self.from_start or not is_first else self._last_line(raw)
                is_first = False
                while not self._is_replaced and not self.is_stopped:
                    raw.seek(place)
                    yield self._grow(path, raw, successors)
                    place = self._lines_before = 0  # again after a truncation
                raw.close()
        finally:
            for file in ([] if raw is None else [raw]) + list(successors):
                file.close()

    def _last_line(self, raw: io.FileIO) -> int:
        """Where the last line of a file begins; counts those before, for lines are named by their numbers."""
        raw.seek(0)
        if self.encoding is None and wide_encoding_of(raw.read(HEAD_BYTES)) is None:
            place = end = raw.seek(0)
            while piece := raw.read(self.chunk_bytes):
                self._lines_before += piece.count(b"\n")
                place = end + piece.rfind(b"\n") + 1 if b"\n" in piece else place
                end += len(piece)
            return place
        logger.warning("Only UTF-8 can be followed from its end: this log is read from its start.")
        return 0

    def _grow(self, path: str, raw: io.FileIO, successors: deque[io.FileIO]) -> Iterator[bytes | None]:
        """Pieces of a growing file until it is truncated or replaced."""
        quiet_since = time.monotonic()
        is_told = True  # that nothing new has come
        replaced_at: float | None = None
        known = b""
        while not self.is_stopped:
            head = _beginning(raw)
            if not head.startswith(known):
                return  # truncated and written anew
            known = head
            if data := raw.read(self.chunk_bytes):
                self.bytes_read += len(data)
                quiet_since, is_told = time.monotonic(), False
                yield data
                continue
            if self._is_replaced:
                return
            if os.fstat(raw.fileno()).st_size < raw.tell():
                return
            # Opened at once: the path may have become another file's again before this one is left.
            if (named := _open_file(path, unlike=successors[-1] if successors else raw)) is not None:
                successors.append(named)
            if successors:
                # The writer may hold on to the old file for a while; it is read to its end before it is left.
                replaced_at = replaced_at or time.monotonic()
                is_used = len(successors) > 1 or os.fstat(successors[0].fileno()).st_size > 0
                is_over = is_used or time.monotonic() - replaced_at > ROTATION_SECONDS
                self._is_replaced = is_over and time.monotonic() - quiet_since > 2 * POLL_SECONDS
            if not is_told and time.monotonic() - quiet_since > self.idle_seconds:
                is_told = True
                yield None
            time.sleep(POLL_SECONDS)

    # ------------------------------------------------------------------ lines

    def _lines(self, pieces: Iterator[bytes | None]) -> Iterator[Chunk]:
        longest = max(self.chunk_bytes, MAX_LINE_BYTES, self.max_line_bytes)
        number, held = self._lines_before + 1, bytearray()  # which grows without being copied each time
        end = 0  # of the last whole line in it
        is_skipping = False  # the rest of an oversized line

        def take(size: int, is_idle: bool = False) -> Chunk:
            nonlocal number, end
            data = bytes(held[:size])
            del held[:size]
            chunk = self._chunk(self._shortened(data, longest), number, is_idle=is_idle)
            number, end = number + data.count(b"\n"), 0
            return chunk

        problems: list[Exception] = []
        for piece in self._utf8(_until_it_fails(pieces, problems)):
            if piece is None:
                # Nobody knows whether the last line is complete; one that ends in a newline is.
                yield take(end, is_idle=True)
                continue
            if is_skipping:
                newline = piece.find(b"\n")
                if newline < 0:
                    continue
                piece, is_skipping = piece[newline:], False
            if newline := piece.rfind(b"\n") + 1:
                end = len(held) + newline
            held += piece
            if len(held) < self.chunk_bytes and not self._is_live:
                continue
            if end:
                yield take(end)
            if len(held) > longest:
                held, is_skipping = bytearray(self._shortened(bytes(held), longest)), True
        yield self._chunk(self._shortened(bytes(held), longest), number, is_last=True)
        if problems:
            raise problems[0]

    def _shortened(self, data: bytes, longest: int) -> bytes:
        """Lines without what is beyond the longest line, wherever they were cut into pieces."""
        if len(data) <= longest:
            return data
        newlines = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n"))
        starts, ends = np.append(0, newlines + 1), np.append(newlines, len(data))
        parts, done = [], 0
        for line in np.flatnonzero(ends - starts > longest).tolist():
            self.oversized_lines += 1
            end = int(starts[line]) + longest
            end -= next((back for back in range(4) if not 0x80 <= data[end - back] < 0xC0), 0)  # not in a character
            parts.append(data[done:end])
            done = int(ends[line])
        return b"".join([*parts, data[done:]]) if parts else data

    def _utf8(self, pieces: Iterator[bytes | None]) -> Iterator[bytes | None]:
        """Whatever the encoding, the text becomes UTF-8, and a byte order mark is dropped."""
        decoder: codecs.IncrementalDecoder | None = None
        head: bytes | None = b""  # until the encoding is known
        seen: bytes | None = b""  # until it is known whether this is text
        for piece in itertools.chain((piece for piece in pieces if piece != b""), [b""]):  # b"" is the end
            if piece is None:
                yield None
                continue
            is_beginning = head is not None
            if head is not None:
                head += piece
                # Of what comes slowly the first line must do.
                if piece and len(head) < HEAD_BYTES and not (self._is_live and b"\n" in head):
                    continue
                encoding = self.encoding or wide_encoding_of(head)
                seen = b"" if encoding is None else None
                decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)("replace")
                data, head = head, None
            else:
                data = piece
            if seen is not None:
                seen += data[: HEAD_BYTES - len(seen)]
                if (not piece or len(seen) == HEAD_BYTES) and (kind := binary_kind(seen)) is not None:
                    raise ValueError(f"not a log, it is {kind}")
                seen = None if len(seen) == HEAD_BYTES else seen
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


def _until_it_fails(pieces: Iterator[bytes | None], problems: list[Exception]) -> Iterator[bytes | None]:
    """Pieces until reading fails, as if the log ended there: what was read is a log. Why goes to `problems`."""
    try:
        yield from pieces
    except (DamagedLogError, OSError) as error:
        problems.append(error)


def _with_few_lines(chunk: Chunk) -> Iterator[Chunk]:
    """A chunk in parts of `CHUNK_LINES` lines at most."""
    if chunk.data.count(b"\n") > CHUNK_LINES:
        newlines = np.flatnonzero(np.frombuffer(chunk.data, dtype=np.uint8) == ord("\n"))
        start, number = 0, chunk.first_line
        for end in (newlines[CHUNK_LINES - 1 : -1 : CHUNK_LINES] + 1).tolist():
            yield Chunk(chunk.data[start:end], number)
            start, number = end, number + CHUNK_LINES
        chunk = replace(chunk, data=chunk.data[start:], first_line=number)
    yield chunk


class _Counted(io.RawIOBase):
    """Counts what is read from a raw stream, and takes what a pipe has without waiting for more.

    Attributes:
        left: what was taken but has not been asked for yet.
    """

    def __init__(self, raw: Any, reader: LogReader):
        self.raw, self.reader = raw, reader
        self.left = memoryview(b"")

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
        self.left = self.left or memoryview(self.read_some(max(len(buffer), 1 << 20)))
        data, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _open_file(path: str, unlike: io.FileIO | None = None) -> io.FileIO | None:
    """Opens what a path names, without a buffer, which would not see changes.

    None if that is nothing, no file, or the very file that is `unlike`.

    Raises:
        PermissionError: it may not be read.
    """

    def is_wanted(found: os.stat_result) -> bool:
        is_known = unlike is not None and os.path.samestat(found, os.fstat(unlike.fileno()))
        return stat.S_ISREG(found.st_mode) and not is_known

    try:
        raw = io.FileIO(path) if is_wanted(os.stat(path)) else None
    except PermissionError:
        if unlike is None:
            raise
        return None
    except OSError:
        return None
    if raw is not None and not is_wanted(os.fstat(raw.fileno())):
        raw.close()
        return None
    return raw


def _beginning(raw: io.FileIO) -> bytes:
    """The first bytes of a file, wherever it is read."""
    place = raw.tell()
    raw.seek(0)
    head = raw.read(KNOWN_BYTES)
    raw.seek(place)
    return head


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
    if (encoding := wide_encoding_of(text)) is not None:
        decoded = text.decode(encoding, "replace")
        return decoded.removeprefix("\ufeff").encode(), decoded.count("\ufffd")
    return valid_utf8(text.removeprefix(codecs.BOM_UTF8))


# Python counts these in. They are of names, and one is read in the square of a text's length.
_OF_NAMES = ("punycode", "idna", "undefined")


def check_encoding(encoding: str | None) -> None:
    """
    Raises:
        ValueError: Python knows no such encoding of text.
    """
    try:
        found = None if encoding is None else codecs.lookup(encoding)
        if found is not None and (not found._is_text_encoding or found.name in _OF_NAMES):
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


class WithPauses(Iterator[Any]):
    """What an iterator gives, and None where it gave nothing for so many seconds; once for each pause."""

    def __init__(self, results: Iterator[Any], seconds: float):
        self.results, self.seconds = results, seconds
        self._waiting: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=64)
        self._is_stopped = threading.Event()
        self._is_paused = True
        # A daemon: a stream may be silent for ever, and must not keep the process from ending.
        self._thread = threading.Thread(target=self._pump, name="logmoe-scan", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        try:
            for result in self.results:
                self._put("result", result)
                if self._is_stopped.is_set():
                    return
            self._put("end", StopIteration())
        except BaseException as error:
            self._put("error", error)

    def _put(self, what: str, result: Any) -> None:
        while not self._is_stopped.is_set():
            with contextlib.suppress(queue.Full):
                return self._waiting.put((what, result), timeout=0.1)

    def __next__(self) -> Any:
        try:
            what, result = self._waiting.get(timeout=None if self._is_paused else self.seconds)
        except queue.Empty:
            self._is_paused = True
            return None
        self._is_paused = False
        if what in ("error", "end"):
            raise result
        return result

    def stop(self) -> None:
        """Waits for the thread, which must not be inside the model when the process ends."""
        self._is_stopped.set()
        self._thread.join(5)


__all__ = ["CHUNK_BYTES", "Chunk", "LogReader", "WithPauses", "find_logs", "split_lines", "to_utf8"]
