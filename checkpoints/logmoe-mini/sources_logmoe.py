"""What a source stands for: the logs in a folder or pattern, what is no text, what is compressed.

Tells files by their first bytes, for names lie. Called by the reader, the pipeline and the fit.
"""

import bz2
import codecs
import contextlib
import glob
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import unicodedata
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from transformers.utils import logging

logger = logging.get_logger(__name__)

# What is looked at to tell the encoding, and what may stand before it.
HEAD_BYTES = 4096
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before that of UTF-16, which begins alike
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What decompressing xz may take: twice what `xz -9e` asks for. The format allows 4 GiB, in a file of 80 bytes.
MAX_XZ_BYTES = 128 << 20

# Told by the first bytes: names lie, and a pipe has none.
COMPRESSIONS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lambda raw: _XzStream(raw),
    b"\x28\xb5\x2f\xfd": lambda raw: _ArrowStream(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")),
}
# What these raise on damaged data.
DAMAGES = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
LONGEST_MAGIC = max(map(len, COMPRESSIONS))


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
# What `logmoe fit` saves, perhaps among the logs that it learns from, by the names of files.
OF_REFERENCE = re.compile(r"reference\.json|reference-[0-9a-f]{16}\.[a-z]+|\.accepting\.lock")
# Control characters that text does not hold; NUL is no sign, for a crashed machine leaves runs of it in its logs.
_NO_TEXT = bytes({*range(1, 32)} - set(b"\t\n\v\f\r\x1b\x08\x07\x0e\x0f\x1c\x1d\x1e\x1f"))
MAX_CONTROL_SHARE = 0.02


# Control, format and surrogate characters, separators of lines; and what is no character, nor allowed in XML.
_RAW_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
_NO_CHARACTERS = {*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF}


def visible(text: Any) -> str:
    """Escapes what could control a terminal, deceive its reader or break a file.

    All that others wrote, such as logs, names of files and texts of errors, goes through here before it is shown.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _RAW_CATEGORIES or ord(character) in _NO_CHARACTERS
        else character
        for character in text
    )


def words_of(error: BaseException) -> str:
    """What an error says; that of a file its path and what is wrong with it, without a number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def find_logs(source: Any) -> list[Any]:
    """Finds the logs that a source stands for.

    Args:
        source: a file, a folder (every file in it, at any depth), a pattern such as `logs/*.gz`, `"-"` for standard
            input, an open file, or a list of those.

    Returns:
        Paths in natural order (`app.log.2` before `app.log.10`), `"-"` and open files. Folders and patterns leave out,
        with a warning, what is empty, not text, or no file at all, such as a pipe. What cannot be opened is among the
        paths: reading it gives the error.

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
    closed_ones = set(closed)
    for path in sorted(set(found), key=_natural):
        what = None if path in closed_ones else _no_log(path)
        if what is None:
            logs.append(path)
        elif what:
            logger.warning(f"skipping {visible(path)}: it is {what}")
    if not logs:
        raise FileNotFoundError(f"no log in {name!r}: every file in it is empty or not text")
    return logs


def is_readable_twice(source: Any) -> bool:
    """Whether a source is a file, not a stream."""
    return isinstance(source, str | os.PathLike) and source != "-" and os.path.isfile(source)


class Repeats:
    """Tells healthy logs and saved references that came before: by another name, or a copy, however it is compressed.

    Each is to be learned from once: two equal ones know each other's every line, so that nothing in them is odd, and
    what is new to both begins to count too early.
    """

    def __init__(self) -> None:
        self._by_head: dict[bytes, str] = {}  # the first that begins so
        self._by_whole: dict[bytes, str] = {}
        self._digests: dict[str, bytes] = {}

    def of(self, source: Any) -> str | None:
        """What to say of one that came before; None for another one, or a stream, which can be read only once."""
        if not isinstance(source, str | os.PathLike) or source == "-":
            return None
        path = os.fspath(source)
        # Logs differ in their beginning, for it has times: few are read further.
        if (head := _digest(path, HEAD_BYTES)) is None:
            return None
        if head not in self._by_head:
            self._by_head[head] = path
            return None
        first = self._by_head[head]
        self._by_whole.setdefault(self._whole(first), first)
        if (other := self._by_whole.get(self._whole(path))) is None:
            self._by_whole[self._whole(path)] = path
            return None
        what = "it was given before" if other == path else f"it holds the same as {visible(other)}"
        return f"{what}, and what is healthy counts once"

    def _whole(self, path: str) -> bytes:
        if path not in self._digests:
            self._digests[path] = _digest(path) or os.fsencode(path)
        return self._digests[path]


def _digest(path: str, size: int | None = None) -> bytes | None:
    """Of the bytes of a log's text, as far as they can be read, or of a reference; None if there are none."""
    if "://" in path:  # elsewhere: known by its address alone
        return os.fsencode(path)
    if not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe, which waits for its writer
        return None
    file = os.path.join(path, "reference.json") if os.path.isdir(path) else path  # which names its other files
    digest, read = hashlib.blake2b(digest_size=16), 0
    with contextlib.ExitStack() as opened:
        # What is wrong with it is said where it is read, and what came before is learned from.
        opened.enter_context(contextlib.suppress(*DAMAGES, ValueError))
        stream = decompressed(opened.enter_context(open(file, "rb")))
        stream = opened.enter_context(io.BufferedReader(stream, 1 << 20))
        while data := stream.read(1 << 20 if size is None else size - read):
            digest.update(data)
            read += len(data)
    return digest.digest() if read else None


def _natural(path: str) -> list[tuple[int, str]]:
    # Digits that are not ASCII, such as ², are no numbers to Python.
    parts = re.split(r"([0-9]+)", path)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def _holds_reference(folder: str) -> bool:
    names = os.path.join(glob.escape(folder), "reference-*.safetensors")
    return os.path.isfile(os.path.join(folder, "reference.json")) and bool(glob.glob(names))


def _no_log(path: str) -> str | None:
    """What a path found in a folder is if it is no log; "" if that needs no word. None if it may be one."""
    try:
        found = os.stat(path)
    except OSError:  # a link to nothing or to itself, or gone by now: reading it says so
        return None
    if stat.S_ISDIR(found.st_mode):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "no file but a pipe, a socket or a device: name it to read it"
    folder, name = os.path.split(path)
    if OF_REFERENCE.fullmatch(name) and _holds_reference(folder):
        return "a saved reference, and no log" if name == "reference.json" else ""
    if not found.st_size:
        return "empty"
    try:
        with open(path, "rb") as raw, io.BufferedReader(decompressed(raw)) as stream:
            head = stream.read(HEAD_BYTES)
    except (*DAMAGES, ValueError):
        return None  # reading it will say what is wrong
    kind = binary_kind(head)
    if kind is None and b"\x00" in head and wide_encoding_of(head) is None:
        return "not text, for it contains NUL bytes: name the file to read it"
    return kind


def binary_kind(head: bytes) -> str | None:
    """What a file is that is no text, and what to do with it, by its first bytes; None if it may be text."""
    for place, mark, kind in _BINARIES:
        if head.startswith(mark, place):
            return kind
    if wide_encoding_of(head) is None and len(head) - len(head.translate(None, _NO_TEXT)) > MAX_CONTROL_SHARE * len(
        head
    ):
        return "not text, for it is full of control characters: give its `encoding` if it is"
    return None


def wide_encoding_of(data: bytes) -> str | None:
    """The kind of UTF-16 or UTF-32 that a text is in; None if it is in neither.

    Told by its mark or, without one, by where its zero bytes are and that what it would say is text.
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark) and (name == "utf-16" or _is_text(data[:HEAD_BYTES], name)):
            return name
    head = np.frombuffer(data[: min(len(data), HEAD_BYTES) // 2 * 2], dtype=np.uint8).reshape(-1, 2)
    if not len(head) or head.all():
        return None
    wide = head[: len(head) // 2 * 2].reshape(-1, 4)
    if len(wide) > 1:
        of_wide = (wide == 0).mean(axis=0)
        for name, zeros in (("utf-32-le", of_wide), ("utf-32-be", of_wide[::-1])):
            if zeros[3] == 1 and zeros[2] > 0.9 and zeros[0] < 0.1 and _is_text(wide.tobytes(), name):
                return name
    zeros = (head == 0).mean(axis=0)  # of the first and of the second byte of each character
    name = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    ascii_bytes = head[head[:, zeros.argmax()] == 0, zeros.argmin()]
    is_printed = ((ascii_bytes >= ord(" ")) & (ascii_bytes < 0x7F)) | np.isin(ascii_bytes, list(b"\t\n\r\x1b"))
    if zeros.max() >= 0.4 and zeros.min() <= 0.02 and is_printed.mean() >= 0.95:
        return name
    # Of another script its spaces and digits tell, unless it may as well be UTF-8 with zeros in it.
    is_one_sided = zeros.min() == 0 and (head[:, zeros.argmax()] == 0).sum() > 1 and is_printed.all()
    return (
        name if is_one_sided and not _is_text(head.tobytes(), "utf-8", 0) and _is_text(head.tobytes(), name) else None
    )


def _is_text(data: bytes, encoding: str, share: float = 0.95) -> bool:
    """Whether bytes, perhaps cut off, are text in an encoding, of which this share can be printed."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return sum(character.isprintable() or character in "\t\n\r\x1b\ufeff" for character in text) >= share * len(text)


class Peeked(io.RawIOBase):
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


class _XzStream(io.RawIOBase):
    """What xz holds, within `MAX_XZ_BYTES`: `LZMAFile` knows no limit."""

    def __init__(self, raw: Any):
        self.raw, self.decoder, self.is_over = raw, lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES), False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.is_over:
            data, is_new = b"", self.decoder.eof
            if is_new:  # another stream may follow, behind zeros
                data = self.decoder.unused_data.lstrip(b"\x00")
                while not data:
                    if not (more := self.raw.read(1 << 16)):
                        return 0
                    data = more.lstrip(b"\x00")
                self.decoder = lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)
            elif self.decoder.needs_input and not (data := self.raw.read(1 << 16)):
                raise EOFError("it ends too early")
            try:
                data = self.decoder.decompress(data, max_length=len(buffer))
            except lzma.LZMAError as error:
                if "limit" in str(error):
                    raise ValueError(
                        f"reading this xz file takes more than {MAX_XZ_BYTES >> 20} MiB of memory, for its dictionary "
                        "is as large: unpack it with `xz -d`"
                    ) from None
                if not is_new:
                    raise
                self.is_over, data = True, b""  # what follows the log is something else
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0


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


def decompressed(raw: Any) -> Any:
    """The bytes of the text, whatever `raw` is compressed with; `raw` need not be seekable."""
    head = b""
    while len(head) < LONGEST_MAGIC and (more := raw.read(LONGEST_MAGIC - len(head))):
        head += more
    for magic, opener in COMPRESSIONS.items():
        if head.startswith(magic):
            return opener(io.BufferedReader(Peeked(head, raw), 1 << 20))
    return Peeked(head, raw)


__all__ = ["OF_REFERENCE", "Repeats", "find_logs", "is_readable_twice", "visible", "words_of"]
