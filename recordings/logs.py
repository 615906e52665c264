"""Logs as they grow: read line by line with the time of arrival, counted, searched, and grouped into entries.

A service's `Lab` follows the files that its service writes and hands `split_entries` a parser of its own, which says
what the first line of an entry (`Head`) looks like. Out come `labels.Entry` objects, ready to be labelled.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recordings.labels import Entry


class LogFollower:
    """Reads logs as they grow and notes when each line arrived, to within a few milliseconds.

    Most services stamp their lines to the second only, each in its own way; labels need better. Lines of several files
    become one sequence in order of arrival, as when a container's output is collected.
    """

    POLL = 0.005  # seconds

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._rests = dict.fromkeys(paths, b"")
        self._offsets = dict.fromkeys(paths, 0)
        self._lines: list[tuple[datetime, str]] = []
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            while not self._stopping.wait(self.POLL):
                self._look()
        except Exception as error:
            self._error = error

    def _look(self) -> None:
        for path in self._paths:
            size = path.stat().st_size if path.exists() else 0
            if size < self._offsets[path]:
                raise ValueError(f"{path} shrank from {self._offsets[path]} bytes to {size} while being read")
            if size == self._offsets[path]:
                continue
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                data = file.read()
            now = datetime.now(UTC)
            self._offsets[path] += len(data)
            *lines, self._rests[path] = (self._rests[path] + data).split(b"\n")
            self._lines.extend((now, line.decode(errors="backslashreplace")) for line in lines)

    def close(self) -> list[tuple[datetime, str]]:
        """Stop and return all lines with their times. Raises whatever went wrong while reading."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._look()
        for path, rest in self._rests.items():
            if rest:
                raise ValueError(f"{path} ends in the middle of a line: {rest[-200:]!r}")
        return self._lines


class LineCounter:
    """Counts the lines of a growing file, reading each byte once."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self.lines = path, 0, 0

    def update(self) -> int:
        """The number of lines so far."""
        data = read_from(self._path, self._offset)
        self._offset += len(data)
        self.lines += data.count(b"\n")
        return self.lines


def size_of(path: Path) -> int:
    """A file's size in bytes, 0 if there is no such file: the place from which to `read_from` what comes next."""
    return path.stat().st_size if path.exists() else 0


def read_from(path: Path, offset: int) -> bytes:
    """What a file holds from byte `offset` on."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


@dataclass(frozen=True)
class Head:
    """What the first line of an entry says about it; the fields are those of `labels.Entry`."""

    message: str
    pid: int = 0
    process: str = ""
    remote_host: str | None = None
    code: str | None = None
    severity: str = ""


def split_entries(lines: Iterable[tuple[datetime, str]], parse: Callable[[str], Head | None]) -> list[Entry]:
    """Group lines into entries: a line for which `parse` returns None continues the entry above."""
    groups: list[tuple[datetime, Head, list[str]]] = []
    for moment, line in lines:
        head = parse(line)
        if head is None and groups:
            groups[-1][2].append(line)
        else:
            groups.append((moment, head or Head(line), [line]))
    return [
        Entry(tuple(text), moment, head.message, head.pid, head.process, head.remote_host, head.code, head.severity)
        for moment, head, text in groups
    ]
