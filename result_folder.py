"""What a scan of many files leaves: a folder of Parquet tables that is never taken for whole while it is not.

    job.json               what the job is, so that no other one goes on with it
    files/part-….parquet   a row for each log: its counts, or what is wrong with it
    findings/part-….parquet   a row for each finding
    summary.json           written last: all logs have a row

A part is what one task judged. Its findings are written first, then the rows of its logs, each file whole under a
hidden name before it takes its own: findings without rows of their logs do not count, and `sweep` removes them. The
folder may lie where fsspec reaches. Written by `distributed`; knows nothing of Ray.
"""

import contextlib
import hashlib
import json
import os
import platform
import tempfile
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from logmoe.findings_logmoe import Finding, Findings, LogSummary, Skipped, Summary
from logmoe.reports import OF_RUN, built
from logmoe.saving_logmoe import table_of

FORMAT_VERSION = 1
JOB, SUMMARY, LOCK = "job.json", "summary.json", ".lock"
FILES, FINDINGS, TRIES = "files", "findings", "tries"
# Of a log that its worker did not survive.
KILLED = "WorkerKilled"


@dataclass(frozen=True)
class FileRow:
    """What became of one log.

    Attributes:
        log: what was seen of it, perhaps not to its end.
        size: bytes, as stored; None if unknown.
        seconds: that judging it took.
        tries: how often it was begun.
        error_kind, error: what is wrong with it: the name of the exception, and its text.
    """

    log: LogSummary
    size: int | None = None
    seconds: float = 0.0
    tries: int = 1
    error_kind: str | None = None
    error: str | None = None

    @classmethod
    def of_error(cls, source: str, kind: str, error: str, **others: Any) -> "FileRow":
        """Of a log of which nothing was seen."""
        return cls(LogSummary(source, 0, 0, 0, 0, 0, "none"), error_kind=kind, error=error, **others)


# ---------------------------------------------------------------------- rows


def _arrow_type(hint: Any) -> pa.DataType:
    """The column type of a field of a dataclass, by its annotation."""
    of = [each for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) in (Union, types.UnionType):
        return _arrow_type(of[0])
    if get_origin(hint) is tuple:
        return pa.list_(_arrow_type(of[0]))
    if is_dataclass(hint):
        return pa.struct(_columns(hint))
    return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}[hint]


def _columns(of: Any) -> list[pa.Field]:
    hints = get_type_hints(of)
    return [pa.field(column.name, _arrow_type(hints[column.name])) for column in fields(of)]


FINDING_ROWS = pa.schema([column for column in _columns(Finding) if column.name != "context"])
FILE_ROWS = pa.schema([*_columns(LogSummary), *(column for column in _columns(FileRow) if column.name != "log")])


def file_table(rows: Iterable[FileRow]) -> pa.Table:
    """A row for each log, by the names of [`LogSummary`] and [`FileRow`]."""
    flat = [asdict(row.log) | {name: value for name, value in asdict(row).items() if name != "log"} for row in rows]
    return pa.Table.from_pylist(flat, FILE_ROWS)


def _with_defaults(table: pa.Table) -> pa.Table:
    """A part of `files`, with the columns that it lacks, as it was written before there were any."""
    for column in fields(LogSummary):
        if column.name not in table.column_names and column.default is not MISSING:
            kind = FILE_ROWS.field(column.name)
            table = table.append_column(kind, pa.array([column.default] * len(table), kind.type))
    return table.select([name for name in FILE_ROWS.names if name in table.column_names])


def part_name(sources: Sequence[str]) -> str:
    """The name of the part that holds these logs: the same however often it is written, and by whom."""
    return hashlib.sha256("\n".join(sources).encode("utf-8", "surrogatepass")).hexdigest()[:24]


# ---------------------------------------------------------------------- the folder


class ResultFolder:
    """The results of a scan of many files.

    Args:
        folder: its path, or a URL that fsspec knows.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.fspath(folder)
        self._system, root = fsspec.url_to_fs(self.folder)
        self._root = root.rstrip("/")
        self.is_local = is_local(self._system)

    def __repr__(self) -> str:
        return f"ResultFolder({self.folder!r})"

    @property
    def is_whole(self) -> bool:
        """Whether the job that wrote it came to its end."""
        return self._exists(SUMMARY)

    def files(self) -> pa.Table:
        """A row for each log, ordered by name: counts, or what is wrong with it."""
        parts = (_with_defaults(self._read(path)) for path in self._parts(FILES))
        return pa.concat_tables([FILE_ROWS.empty_table(), *parts]).sort_by("source")

    def findings_table(self) -> pa.Table:
        """A row for each finding, those of a log together."""
        judged = {os.path.basename(path) for path in self._parts(FILES)}
        parts = [path for path in self._parts(FINDINGS) if os.path.basename(path) in judged]
        return pa.concat_tables([FINDING_ROWS.empty_table(), *map(self._read, parts)])

    def findings(self, order: str = "strength", like: Summary | None = None) -> Findings:
        """The findings with the summary of their logs, for reports.

        Args:
            order: see [`Findings`].
            like: what else is known of the run; by default what its `summary.json` says.

        Raises:
            FileNotFoundError: there are no results.
            ValueError: a table does not hold what was written.
        """
        if like is None:
            like = built(Summary, self._json(SUMMARY)["run"], "run") if self.is_whole else Summary()
        logs, skipped = [], []
        rows = self.files().to_pylist()
        if not rows and not self._exists(JOB):
            raise FileNotFoundError(f"no results of a scan in {self.folder!r}: it has no {JOB}")
        place = {row["source"]: number for number, row in enumerate(rows)}
        for row in rows:
            if row["error"] is not None:
                skipped.append(Skipped(row["source"], row["error"]))
            if row["entries"]:
                logs.append(built(LogSummary, row, "log"))
        found = [built(Finding, record, "finding") for record in self.findings_table().to_pylist()]
        found.sort(key=lambda finding: place.get(finding.source or "", len(place)))
        return Findings(found, replace(like, logs=tuple(logs), skipped=tuple(skipped)), order)

    # ------------------------------------------------------------------ a job, from its start to its end

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other jobs of this machine out; a job that was killed holds no lock.

        Raises:
            FileExistsError: another job writes here.
        """
        if not self.is_local:  # stores of objects know no lock
            yield
            return
        os.makedirs(self._root, exist_ok=True)
        try:
            with FileLock(f"{self._root}/{LOCK}", timeout=0):
                yield
        except Timeout as error:
            raise FileExistsError(f"another job is writing to {self.folder}: wait for it, or name another") from error

    def start(self, settings: dict[str, Any], resume: bool) -> set[str]:
        """Begins a job, or goes on with it.

        Args:
            settings: all that the results depend on, but for the logs.
            resume: go on with what is there; begin if nothing is.

        Returns:
            The logs that have a row.

        Raises:
            FileExistsError: something is there, and the job is not to go on with it.
            ValueError: what is there is of a job with other settings.
        """
        settings = json.loads(json.dumps(settings))
        self.check(resume)
        if self._exists(JOB):
            job = self._json(JOB)
            if job.get("format_version") != FORMAT_VERSION:
                raise ValueError(
                    f"{self.folder} was written in version {job.get('format_version')}, this code writes "
                    f"{FORMAT_VERSION}: name another folder"
                )
            before = job.get("settings", {})
            names = sorted(name for name in {*settings, *before} if settings.get(name) != before.get(name))
            if names:
                name = names[0]
                raise ValueError(
                    f"{self.folder} holds results of a job with another {name} ({before.get(name)!r}, now "
                    f"{settings.get(name)!r}): go on with the same, or name another folder"
                )
            self._remove(SUMMARY)
            self.sweep()
            return set(self.files()["source"].to_pylist())
        self.put(JOB, json.dumps({"format_version": FORMAT_VERSION, "settings": settings}, indent=2).encode())
        return set()

    def check(self, resume: bool) -> None:
        """Refuses a folder that a job may not write to; see `start`."""
        if self._exists(JOB):
            if not resume:
                raise FileExistsError(
                    f"{self.folder} holds results: `resume` (--resume) goes on with them; or name another folder"
                )
        elif [path for path in self._listed(self._root) if os.path.basename(path) != LOCK]:
            raise FileExistsError(f"{self.folder} holds other things: name a new folder for the results")

    def finish(self, like: Summary) -> dict[str, Any]:
        """Says that all is there, and what that is: the content of `summary.json`."""
        self.sweep()
        files = self.files()
        is_bad = pa.array([error is not None for error in files["error"].to_pylist()], pa.bool_())
        counted = ("lines", "entries", "sequences", "anomalous_sequences", "findings", "accepted", "size")
        of_all = {name: sum(value or 0 for value in files[name].to_pylist()) for name in counted}
        run = {name: getattr(like, name) for name in OF_RUN}
        summary = {"files": len(files), "with_errors": sum(is_bad.to_pylist()), **of_all, "run": run}
        self.put(SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
        return summary

    def sweep(self) -> None:
        """Removes what a job left that was cut off, and what was written twice; only while no worker writes."""
        for path in self._listed(f"{self._root}/{TRIES}"):
            self._system.rm_file(path)
        for kind in (FILES, FINDINGS):
            for path in self._listed(f"{self._root}/{kind}"):
                if not path.endswith(".parquet") or os.path.basename(path).startswith("."):
                    self._system.rm_file(path)
        # A worker that was given up for dead may have finished a part whose logs were judged again one by one.
        seen: set[str] = set()
        parts = [(self._read(path)["source"].to_pylist(), path) for path in self._parts(FILES)]
        for sources, path in sorted(parts, key=lambda part: -len(part[0])):
            if seen.issuperset(sources):
                self._system.rm_file(path)
            seen.update(sources)
        kept = {os.path.basename(path) for path in self._parts(FILES)}
        for path in self._parts(FINDINGS):
            if os.path.basename(path) not in kept:
                self._system.rm_file(path)

    # ------------------------------------------------------------------ what workers write

    def rows_of(self, sources: Sequence[str]) -> pa.Table | None:
        """The rows of a part, if it was finished."""
        name = f"{FILES}/part-{part_name(sources)}.parquet"
        return self._read(f"{self._root}/{name}") if self._exists(name) else None

    def finish_part(self, sources: Sequence[str], rows: Sequence[FileRow], findings: Iterable[Finding]) -> pa.Table:
        """Writes what was found in some logs; returns the rows of these."""
        name = f"part-{part_name(sources)}.parquet"
        plain = [{key: value for key, value in finding.to_dict().items() if key != "context"} for finding in findings]
        table = file_table(rows)
        self.put(f"{FINDINGS}/{name}", _parquet(pa.Table.from_pylist(plain, FINDING_ROWS)))
        self.put(f"{FILES}/{name}", _parquet(table))
        return table

    def drop_findings(self, sources: Sequence[str]) -> None:
        """Removes the findings of a part that was not finished."""
        self._remove(f"{FINDINGS}/part-{part_name(sources)}.parquet")

    def tries(self, sources: Sequence[str]) -> int:
        """How often a part was begun in this job."""
        number = 0
        while self._exists(f"{TRIES}/{part_name(sources)}-{number + 1}.json"):
            number += 1
        return number

    def begin(self, sources: Sequence[str], number: int) -> None:
        """Notes that a part is begun for so manyth time, and by whom: whoever finds the note knows how it ended."""
        told = json.dumps({"pid": os.getpid(), "host": platform.node(), "logs": list(sources)})
        self.put(f"{TRIES}/{part_name(sources)}-{number}.json", told.encode())

    # ------------------------------------------------------------------ files

    def put(self, name: str, data: bytes) -> None:
        """Writes a file so that it is never seen half written."""
        path = f"{self._root}/{name}"
        if not self.is_local:  # stores of objects take one whole or not at all
            self._system.makedirs(os.path.dirname(path), exist_ok=True)
            self._system.pipe_file(path, data)
            return
        folder, base = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{base}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _exists(self, name: str) -> bool:
        return bool(self._system.exists(f"{self._root}/{name}"))

    def _remove(self, name: str) -> None:
        if self._exists(name):
            self._system.rm_file(f"{self._root}/{name}")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads(self._system.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no results of a scan in {self.folder!r}: it has no {name}") from error
        except ValueError as error:
            raise ValueError(f"{name} in {self.folder!r} is damaged ({error})") from error
        if not isinstance(values, dict):
            raise ValueError(f"{name} in {self.folder!r} is damaged: it holds no object")
        return values

    def _listed(self, folder: str) -> list[str]:
        """Paths of what lies in a folder; none if there is none."""
        self._system.invalidate_cache()
        try:
            return sorted(self._system.ls(folder, detail=False))
        except FileNotFoundError:
            return []

    def _parts(self, kind: str) -> list[str]:
        return [
            path
            for path in self._listed(f"{self._root}/{kind}")
            if os.path.basename(path).startswith("part-") and path.endswith(".parquet")
        ]

    def _read(self, path: str) -> pa.Table:
        return table_of(self._system.cat_file(path))


def is_local(system: Any) -> bool:
    """Whether a file system of fsspec is this machine's."""
    return "file" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


__all__ = ["FileRow", "ResultFolder", "is_local", "part_name"]
