"""Beyond one machine: `scan` judges thousands of files, and `fit` learns from them, on a Ray cluster.

    files ─ groups of a few megabytes ─ Ray Data: actors with a pipeline each ─ a folder of Parquet (`result_folder`)
    healthy files ─ groups ─ Ray tasks: a reference each ─ merged eight at a time, in a tree ─ one reference

A log is judged as a whole, by one actor, for its sequences are measured against what came before them: so the result
of a file is that of one process. Ray schedules, starts actors anew that died, and repeats their tasks; here is only
what makes a repeated task harmless, and a file that kills its workers end as a row. Needs `pip install 'logmoe[ray]'`.
"""

import contextlib
import functools
import hashlib
import logging as python_logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import pyarrow as pa
import torch
from transformers.utils import logging

from logmoe.applying_logmoe import SELF, is_saved_reference, warn_of_few, warn_of_repeat
from logmoe.caching_logmoe import ScanCache
from logmoe.findings_logmoe import Finding
from logmoe.fitting_logmoe import encoder_digest
from logmoe.gathering_logmoe import FindingScan, summary_of
from logmoe.inference import DEFAULT_CHECKPOINT
from logmoe.loading import load_pipeline
from logmoe.parsing_logmoe import check_integer
from logmoe.pipeline_logmoe import LogAnomalyPipeline
from logmoe.reading_logmoe import find_logs
from logmoe.reference_logmoe import MAX_REFERENCE_ENTRIES, LogReference
from logmoe.result_folder import KILLED, FileRow, ResultFolder, file_table, is_local
from logmoe.sources_logmoe import Repeats, words_of
from logmoe.weighing_logmoe import Against

# What a task takes: files of a few megabytes in all, so that what a task costs beside judging hardly shows; few enough
# that a worker's death repeats little. A larger file is a task of its own.
GROUP_BYTES = 8 << 20
GROUP_LOGS = 256
# Tasks for each actor, at least: the last ones should end together.
TASKS_PER_ACTOR = 4
# References that are merged at once.
MERGED_AT_ONCE = 8
TRIES = 3
# Rows of a given dataset that are a task.
DATASET_BATCH = 16
_PATHS = "paths"
# glibc keeps an arena of freed memory for each of many threads otherwise.
_WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}


# ---------------------------------------------------------------------- scan


@dataclass
class ScanProgress:
    """How far a scan is.

    Attributes:
        files, of_files: that have a row, and all; the latter None where it is not known.
        findings, errors: in those of this run.
    """

    files: int = 0
    of_files: int | None = None
    findings: int = 0
    errors: int = 0


def scan(
    logs: Any,
    *,
    output: str | os.PathLike,
    reference: Any = None,
    resume: bool = False,
    tries: int = TRIES,
    model: str | os.PathLike = DEFAULT_CHECKPOINT,
    device: str | None = None,
    trust_remote_code: bool = False,
    encoding: str | None = None,
    address: str | None = None,
    ray_options: dict[str, Any] | None = None,
    on_progress: Callable[[ScanProgress], None] | None = None,
    **overrides: Any,
) -> ResultFolder:
    """Judges many files on a Ray cluster; the result of each is that of `pipe.findings(file)`.

    Args:
        logs: files, folders, patterns or fsspec URLs of them, which all nodes must reach; or a Ray dataset with their
            paths in a column `path`. Each is judged once, however often it is named.
        output: folder or fsspec URL of the results, which all nodes must reach.
        reference: as for `pipe.scan`; read or fitted here, once, and sent to the workers.
        resume: go on with what a job that was cut off left in `output`; begin where there is nothing.
        tries: how often a file is begun whose worker dies meanwhile, before a row says so.
        model, device, trust_remote_code: see [`load_pipeline`]; by default an actor takes a GPU if there is one.
        encoding: of the logs.
        address: of the cluster, as `ray.init` takes it; by default the one that Ray finds, or a new one on this
            machine. Nothing is started where the process is connected already.
        ray_options: go to `ray.data.Dataset.map_batches` as they are: `compute`, or `concurrency` for a number of
            actors or a pair of the fewest and the most (by default as many as there is room for), `num_cpus` (1; an
            actor has as many threads), `num_gpus`, `memory`, `resources`, `runtime_env`, and, for a dataset,
            `batch_size`.
        on_progress: called as files are done.
        overrides: as for `pipe.scan`, such as `false_alarm_rate`, `dtype`, `max_sequence_length`.

    Returns:
        The folder of the results: `files()`, `findings_table()`, `findings()`.

    Raises:
        ImportError: Ray is not installed.
        FileExistsError: there are results, or other things, at `output`.
        FileNotFoundError: there is no log, or no checkpoint.
        ValueError: an argument is out of range, or the results at `output` are of another job.
    """
    ray = require_ray()
    check_integer("tries", tries, 1)
    folder = ResultFolder(os.path.abspath(output) if "://" not in os.fspath(output) else output)
    is_dataset = isinstance(logs, ray.data.Dataset)
    found = [] if is_dataset else find_files(logs)
    pipe = load_pipeline(model, "cpu", trust_remote_code)
    # Without logs: what is wrong with an argument is said now, and not by every row.
    plan = pipe.scan([], encoding=encoding, reference=reference, **overrides)
    against = reference_of_workers(plan.against)
    summary = summary_of(plan.against, plan.rule, plan.judge, reference)
    # The checkpoint must be there for the workers, too.
    model = os.path.abspath(model) if os.path.isdir(model) else os.fspath(model)
    with folder.locked(), _ray_data(ray, address):
        done = folder.start(_settings(pipe, plan.against, encoding, overrides), resume)
        options = _with_defaults(ray, ray_options or {}, device)
        progress = ScanProgress(len(done), None if is_dataset else len(found))
        if is_dataset:
            dataset, batch_size = logs, options.pop("batch_size", DATASET_BATCH)
            dataset.context.enable_progress_bars = False
        else:
            left = [file for file in found if file.name not in done]
            groups = grouped(left, _bytes_per_group(ray, left, options))
            groups.sort(key=lambda group: -sum(file.size for file in group))
            tables = [pa.table({_PATHS: [[os.fsencode(file.path) for file in group]]}) for group in groups]
            dataset, batch_size = ray.data.from_arrow(tables) if tables else None, 1
            options.pop("batch_size", None)
        if dataset is not None:
            rows = dataset.map_batches(
                _Judge,
                batch_size=batch_size,
                batch_format="pyarrow",
                fn_constructor_kwargs={
                    "folder": folder.folder,
                    "tries": tries,
                    "load": {"model_path": model, "trust_remote_code": trust_remote_code},
                    "device": device,
                    "reference": against if not isinstance(against, LogReference) else [ray.put(against)],
                    "done": ray.put(done) if is_dataset else None,
                    "options": {"encoding": encoding, **overrides},
                },
                **options,
            )
            for part in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
                progress.files += len(part)
                progress.findings += sum(part["findings"].to_pylist())
                progress.errors += len(part) - part["error"].null_count
                if on_progress is not None:
                    on_progress(progress)
        folder.finish(summary)
    return folder


def reference_of_workers(against: Against | None) -> LogReference | str | bool | None:
    """What `pipe.scan` takes as its `reference` to judge as this says, by a pipeline of the same checkpoint."""
    if against is None:
        return False
    if against.is_stored:
        return None  # it comes with the checkpoint
    return SELF if against.reference is None else against.reference


class _Judge:
    """What a Ray actor holds: a pipeline, loaded once, and what its scans remember."""

    def __init__(
        self,
        folder: str,
        tries: int,
        load: dict[str, Any],
        device: str | None,
        reference: Any,
        done: Any,
        options: dict[str, Any],
    ):
        ray = require_ray()
        assigned = ray.get_runtime_context().get_assigned_resources()
        threads = max(1, int(assigned.get("CPU", 1)))
        torch.set_num_threads(threads)
        logging.set_verbosity_error()  # what is said of a log stands in its row
        if device is None:
            device = "cuda" if assigned.get("GPU") and torch.cuda.is_available() else "cpu"
        self.pipe = load_pipeline(device=device, **load)
        self.folder, self.tries = ResultFolder(folder), tries
        if isinstance(reference, list):  # an object of Ray's, which would be fetched too early if it stood alone
            reference = ray.get(reference[0])
        self.options = {"num_workers": threads, "cache": ScanCache(), **options, "reference": reference}
        self.done: set[str] = ray.get(done) if done is not None else set()

    def __call__(self, batch: pa.Table) -> pa.Table:
        if _PATHS in batch.column_names:
            paths = [os.fsdecode(path) for group in batch[_PATHS].to_pylist() for path in group]
        elif "path" in batch.column_names:
            paths = list(dict.fromkeys(batch["path"].to_pylist()))
        else:
            raise ValueError(f"the dataset needs a column `path`, it has {', '.join(batch.column_names)}")
        paths = [path for path in paths if name_of(path) not in self.done]
        return judge_part(self.folder, paths, self.judge, self.tries) if paths else file_table([])

    def judge(self, path: str, number: int) -> tuple[FileRow, list[Finding]]:
        """Judges one file, for so manyth time; whatever is wrong with it is said in its row."""
        name, started = name_of(path), time.monotonic()
        size: int | None = None
        found: list[Finding] = []
        row: FileRow | None = None
        local = path
        try:
            with local_copy(path) as local:
                size = os.path.getsize(local)
                of_log = FindingScan(self.pipe.scan(local, only_anomalies=True, **self.options))
                try:
                    found += of_log  # keeps those before an error
                finally:
                    of_log.close()
                    row = FileRow(replace(of_log.summary(), source=name))
        except Exception as error:
            text = words_of(error).replace(local, name) or type(error).__name__
            row = replace(row or FileRow.of_error(name, "", ""), error_kind=type(error).__name__, error=text)
        row = replace(row, size=size, seconds=time.monotonic() - started, tries=number)
        return row, [replace(finding, source=name) for finding in found]


def judge_part(
    folder: ResultFolder,
    paths: Sequence[str],
    judge: Callable[[str, int], tuple[FileRow, list[Finding]]],
    tries: int = TRIES,
) -> pa.Table:
    """Judges the files of a task, so that a repeated one neither loses nor doubles any.

    The first time all become one part. If a worker died over it, each becomes a part of its own, so that the next
    death repeats one file only; one that was begun so often as may be gets a row that says so.

    Args:
        judge: takes a path, and for how manyth time it is begun.

    Returns:
        The rows of these files.
    """
    names = [name_of(path) for path in paths]
    if (known := folder.rows_of(names)) is not None:  # its worker died between writing and telling
        return known
    deaths = folder.tries(names)
    if not deaths:
        folder.begin(names, 1)
        judged = [judge(path, 1) for path in paths]
        return folder.finish_part(names, [row for row, _ in judged], [one for _, found in judged for one in found])
    folder.drop_findings(names)
    rows = []
    for path, name in zip(paths, names, strict=True):
        if (known := folder.rows_of([name])) is None:
            # Of a part of one log the notes of the part are those of the log.
            begun = folder.tries([name]) + (1 if len(names) > 1 else 0)
            if begun >= tries:
                error = f"its worker was killed each time that it was judged, {begun} times"
                known = folder.finish_part([name], [FileRow.of_error(name, KILLED, error, tries=begun)], [])
            else:
                folder.begin([name], folder.tries([name]) + 1)
                row, found = judge(path, begun + 1)
                known = folder.finish_part([name], [row], found)
        rows.append(known)
    return pa.concat_tables(rows)


# ---------------------------------------------------------------------- fit


def fit(
    *logs: Any,
    model: str | os.PathLike = DEFAULT_CHECKPOINT,
    device: str | None = None,
    trust_remote_code: bool = False,
    encoding: str | None = None,
    max_reference_entries: int = MAX_REFERENCE_ENTRIES,
    address: str | None = None,
    ray_options: dict[str, Any] | None = None,
    **overrides: Any,
) -> LogReference:
    """Learns from many healthy files on a Ray cluster: references of a few files each, merged in a tree.

    Where nothing is dropped for size, the reference is that of `pipe.fit` over the same files in the same order, but
    for the last bit of its embeddings. Where there are more entries than `max_reference_entries`, entries are dropped
    at each merge, evenly over what is merged: how often each kept text came stays exact.

    Args:
        logs: as for `scan`, but no dataset; and saved references.
        ray_options: of Ray's tasks, such as `num_cpus`, `memory`, `max_retries`, `runtime_env`.
        model, device, trust_remote_code, encoding, address: as for `scan`.
        max_reference_entries, overrides: as for `pipe.fit`.

    Raises:
        ImportError: Ray is not installed.
        FileNotFoundError, EmptyLogError, ValueError: as `pipe.fit`; a log that cannot be read is named.
    """
    if not logs:
        raise ValueError("`fit` needs at least one healthy log: a path, a folder, a pattern or a URL.")
    ray = require_ray()
    model = os.path.abspath(model) if os.path.isdir(model) else os.fspath(model)
    load: dict[str, Any] = {"model_path": model, "device": device or "cpu", "trust_remote_code": trust_remote_code}
    options = {"max_reference_entries": max_reference_entries, **overrides}
    pipe = load_pipeline(**load)
    pipe.scan([], **overrides)  # what is wrong with an argument is said now
    pipe._require_surprise()
    groups: list[list[Any]] = []
    repeats = Repeats()
    for log in logs:
        if is_saved_reference(log):
            if not warn_of_repeat(log, repeats):
                groups.append([LogReference.from_pretrained(log)])
        elif isinstance(log, LogReference):
            groups.append([log])
        else:
            files = [file for file in find_files(log) if not warn_of_repeat(file.path, repeats)]
            groups += [[file.path for file in group] for group in grouped(files, GROUP_BYTES)]
    with _ray_data(ray, address):
        given = {"num_cpus": 1, "max_retries": TRIES, **(ray_options or {})}
        fit_one = ray.remote(**_with_environment(given))(_fit_some)
        waiting = [fit_one.remote(load, group, {"encoding": encoding, **options}) for group in groups]
        while True:
            waiting = [
                fit_one.remote(load, [], options, *waiting[start : start + MERGED_AT_ONCE])
                if len(waiting[start : start + MERGED_AT_ONCE]) > 1
                else waiting[start]
                for start in range(0, len(waiting), MERGED_AT_ONCE)
            ]
            if len(waiting) == 1:
                break
        try:
            reference: LogReference = ray.get(waiting[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
    warn_of_few(reference)
    return reference


def _fit_some(load: dict[str, Any], paths: list[Any], options: dict[str, Any], *references: LogReference) -> Any:
    """A reference of files, or of references: those of Ray's objects that are given."""
    logging.set_verbosity_error()  # that one of the parts is small says nothing
    pipe = _pipeline_of(**load)
    if references:
        return pipe.fit(*references, **options)
    with contextlib.ExitStack() as copies:
        logs = [path if isinstance(path, LogReference) else copies.enter_context(local_copy(path)) for path in paths]
        return pipe.fit(*logs, **options)


@functools.lru_cache(maxsize=1)
def _pipeline_of(**load: Any) -> LogAnomalyPipeline:
    """The pipeline of a worker's process, for all of its tasks."""
    return load_pipeline(**load)


# ---------------------------------------------------------------------- files


@dataclass(frozen=True)
class File:
    """A file that is a log: its path or URL, and its size, 0 if unknown."""

    path: str
    size: int = 0

    @property
    def name(self) -> str:
        """What its row calls it."""
        return name_of(self.path)


def name_of(path: str) -> str:
    """A path as text that any table can hold: bytes of a name that are no UTF-8 are written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def find_files(logs: Any) -> list[File]:
    """Finds the files that are to be judged, in their order, each once.

    Args:
        logs: as for [`find_logs`], or fsspec URLs of files, folders and patterns.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a log is not in a file.
    """
    named = logs if isinstance(logs, list | tuple) else [logs]
    files: list[File] = []
    for log in named:
        if hasattr(log, "read") or log == "-":
            raise ValueError("a stream can be read by one process only: name files, folders, patterns or URLs of them")
        if isinstance(log, str) and "://" in log:
            files += _at_url(log)
        else:
            files += [File(os.path.abspath(path), _size_of(path)) for path in find_logs(log)]
    return list({file.path: file for file in files}.values())


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # reading it will say what is wrong
        return 0


def _at_url(url: str) -> list[File]:
    system, path = fsspec.url_to_fs(url)
    if is_local(system):
        return [File(os.path.abspath(each), _size_of(each)) for each in find_logs(path)]
    if system.isdir(path):
        found = system.find(path, detail=True)
    elif any(sign in path for sign in "*?["):
        found = system.glob(path, detail=True)
    else:
        found = {path: system.info(path)}
    sizes = {name: int(of.get("size") or 0) for name, of in found.items() if of.get("type", "file") == "file"}
    files = [File(system.unstrip_protocol(name), size) for name, size in sorted(sizes.items()) if size]
    if not files:
        raise FileNotFoundError(f"no log at {url!r}: no file is there that is not empty")
    return files


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A log as a file of this machine: one that is elsewhere is fetched, for it is read twice."""
    if "://" not in path:
        yield path
        return
    system, remote = fsspec.url_to_fs(path)
    with tempfile.TemporaryDirectory(prefix="logmoe-") as folder:
        local = os.path.join(folder, os.path.basename(remote) or "log")
        system.get_file(remote, local)
        yield local


def grouped(files: Iterable[File], most_bytes: int) -> list[list[File]]:
    """Neighbouring files, together as much as a task should take; a large one alone."""
    groups: list[list[File]] = []
    room = 0
    for file in files:
        if not groups or file.size > room or len(groups[-1]) >= GROUP_LOGS:
            groups.append([])
            room = most_bytes
        groups[-1].append(file)
        room -= file.size
    return groups


# ---------------------------------------------------------------------- Ray


def require_ray() -> Any:
    """The module `ray`, with `ray.data`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            f"work on many machines needs Ray, which is not installed ({error}): pip install 'logmoe[ray]'"
        ) from error
    return ray


@contextlib.contextmanager
def _ray_data(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to a cluster; what was started for it ends with it.

    Raises:
        ValueError: a cluster must be started here, with a Python that Ray cannot start workers with.
    """
    is_ours = not ray.is_initialized()
    if is_ours:
        # Ray writes the path into a line of shell as it is; its workers would die, and it would wait for ever.
        if " " in sys.executable and (address == "local" or (address is None and "RAY_ADDRESS" not in os.environ)):
            raise ValueError(
                f"Ray starts no workers with a Python whose path holds a space, got {sys.executable!r}: install "
                "logmoe in an environment at another path, or name a cluster that runs."
            )
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        python_logging.getLogger("ray.data").setLevel("ERROR")
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = before
        if is_ours:
            ray.shutdown()


def _with_environment(options: dict[str, Any]) -> dict[str, Any]:
    runtime = dict(options.get("runtime_env") or {})
    return options | {"runtime_env": runtime | {"env_vars": _WORKER_ENVIRONMENT | runtime.get("env_vars", {})}}


def _with_defaults(ray: Any, options: dict[str, Any], device: str | None) -> dict[str, Any]:
    """Options of `map_batches`: a GPU for each actor if the cluster has some, and as many actors as there is room."""
    options = _with_environment({"num_cpus": 1, **options})
    resources = ray.cluster_resources()
    if device is None or device.startswith("cuda"):
        options.setdefault("num_gpus", 1 if resources.get("GPU") else None)
    if "compute" not in options:
        actors = options.pop("concurrency", None) or _room(resources, options)
        # Of a pair, the fewest and the most; Ray's own word for both is `compute` by now.
        fewest, most = actors if isinstance(actors, tuple | list) else (actors, actors)
        options["compute"] = ray.data.ActorPoolStrategy(min_size=fewest, max_size=most)
    return options


def _room(resources: dict[str, float], options: dict[str, Any]) -> int:
    """How many actors a cluster has room for."""
    wanted = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus"), "memory": options.get("memory")}
    rooms = [resources.get(name, 0) // number for name, number in wanted.items() if number]
    return max(1, int(min(rooms, default=1)))


def _bytes_per_group(ray: Any, files: list[File], options: dict[str, Any]) -> int:
    """Bytes of a task: fewer than it may take where all would have but a few of them."""
    actors = _room(ray.cluster_resources(), options)
    return max(1, min(GROUP_BYTES, sum(file.size for file in files) // (TASKS_PER_ACTOR * actors)))


# ---------------------------------------------------------------------- what results depend on


def _settings(
    pipe: LogAnomalyPipeline, against: Against | None, encoding: str | None, overrides: dict[str, Any]
) -> dict[str, Any]:
    """All that results depend on, but for the logs; by digests where it is large."""
    reference = None if against is None else against.reference
    return {
        "checkpoint": _digest_of_model(pipe),
        "reference": reference_of_workers(against) if reference is None else _digest_of(reference),
        "encoding": encoding,
        **{name: str(value) for name, value in sorted(overrides.items())},
    }


def _digest_of_model(pipe: LogAnomalyPipeline) -> str:
    digest = hashlib.sha256(encoder_digest(pipe.model).encode() + pipe.model.config.to_json_string().encode())
    for name, tensor in sorted(pipe.model.state_dict().items()):
        if not name.startswith("model.encoder.") and tensor.is_floating_point():
            digest.update(name.encode() + tensor.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest_of(reference: LogReference) -> str:
    digest = hashlib.sha256("\n".join([*reference.texts, *sorted(reference.accepted)]).encode("utf-8", "replace"))
    for column in (reference.count, reference.entries.text, reference.time, reference.first):
        digest.update(column.tobytes())
    return digest.hexdigest()[:16]


__all__ = ["ResultFolder", "ScanProgress", "fit", "scan"]
