"""New files beside old ones, which they replace only when all are written; and files that are read whole.

What a killed process left half written is swept by the next that saves in the same folder, and never what a living one
writes. Called by what saves references and checkpoints.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Begins the name of a folder of files that are not complete yet.
SAVING = ".saving_"


@contextlib.contextmanager
def new_files(folder: Path, index: str | None = None, part: re.Pattern[str] | None = None) -> Iterator[Path]:
    """A folder inside another for files that are to be moved there; it is removed in the end, with what is left in it.

    Whoever saves shares a lock on `folder`, which no dead process holds; who finds it free sweeps first. Where there
    are no such locks, as on Windows and some network file systems, nothing is swept.

    Args:
        folder: is made if needed.
        index, part: name of a file that names others, see `named_files`, and what their names are like: those that it
            does not name are swept too.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(folder) as descriptor:
        if _is_locked(descriptor, "LOCK_EX", "LOCK_NB"):
            for unfinished in folder.glob(f"{SAVING}*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            if index is not None and part is not None and (named := named_files(folder / index)) is not None:
                for path in folder.iterdir():
                    if part.fullmatch(path.name) and path.name not in named:
                        path.unlink(missing_ok=True)
        _is_locked(descriptor, "LOCK_SH")
        with tempfile.TemporaryDirectory(dir=folder, prefix=SAVING) as temporary:
            yield Path(temporary)


def named_files(index: Path) -> set[str] | None:
    """The names under `files` in a file of JSON; none if there is no such file, None if that cannot be told."""
    try:
        return {Path(name).name for name in json.loads(index.read_text(encoding="utf-8"))["files"]}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_named(index: Path, version: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A file of JSON, and the content of the files that it names, by the ending of their names.

    Args:
        index: has `format_version` and `files`, by name the SHA-256 of each.
        version: the latest that is read.

    Raises:
        FileNotFoundError: one is missing.
        Exception: one is damaged, of many kinds.
    """
    while True:
        written = index.read_text(encoding="utf-8")
        facts = json.loads(written)
        if facts["format_version"] not in range(1, version + 1):
            raise ValueError(f"version {facts['format_version']!r}, this code reads versions up to {version}")
        try:
            contents = {Path(name).suffix: (index.parent / Path(name).name).read_bytes() for name in facts["files"]}
        except FileNotFoundError:
            if index.read_text(encoding="utf-8") == written:
                raise
            continue  # others were saved over them meanwhile
        for name, digest in facts["files"].items():
            if hashlib.sha256(contents[Path(name).suffix]).hexdigest() != digest:
                raise ValueError(f"{name} is not what was saved")
        return facts, contents


def table_of(data: bytes) -> pa.Table:
    """The table that the bytes of a Parquet file hold.

    Read in this thread alone, not as `pq.read_table` does: where the machine is busy, a thread of its own that is
    still there when Python ends aborts the process.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor to lock the folder by; None if there can be none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # on Windows, or where it may be written but not read
        yield None
        return
    try:
        yield descriptor
    finally:
        _is_locked(descriptor, "LOCK_UN")  # also for processes that were forked meanwhile
        os.close(descriptor)


def _is_locked(descriptor: int | None, *flags: str) -> bool:
    """Locks a file; false if it is another's, or cannot be locked."""
    if descriptor is None or fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, sum(getattr(fcntl, flag) for flag in flags))
    except OSError:
        return False
    return True


__all__ = ["SAVING", "named_files", "new_files", "read_named", "table_of"]
