"""What recording any service has in common: a private place to run it, the book of what was injected when, the
entries of its log, labels by cause, and the Parquet files.

A service module (`recordings/postgresql.py` is the first) brings the rest: how to start it, its ordinary work, its
faults and how each is healed, and which of its entries a fault causes.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ORDINARY = "ordinary"
INJECTOR_ADDRESS = "127.0.0.9"
"""Every connection that injects a fault comes from here, and no other connection does."""

HOST_NAME = "server1"
"""What the machine is called in every recording."""

_INSIDE = "RECORDINGS_INSIDE_NAMESPACE"

LINES_SCHEMA = pa.schema(
    [
        ("service", pa.string()),
        ("recording", pa.string()),
        ("split", pa.string()),
        ("line_number", pa.int32()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("scenario", pa.string()),
        ("fault", pa.string()),
        ("label", pa.int8()),
        ("line", pa.string()),
    ]
)
INTERVALS_SCHEMA = pa.schema(
    [
        ("service", pa.string()),
        ("recording", pa.string()),
        ("scenario", pa.string()),
        ("fault", pa.string()),
        ("start", pa.timestamp("us", tz="UTC")),
        ("end", pa.timestamp("us", tz="UTC")),
        ("visible", pa.string()),
    ]
)


# --- a private place -------------------------------------------------------------------------------------------------


def run_in_namespace(argv: Sequence[str], private_folder: Path) -> int | None:
    """Run `python -m recordings.record` again where nothing can leak out, and return its exit status.

    The copy has mount, process, network, host name and IPC namespaces of its own: `private_folder`, `/run` and
    `/dev/shm` are an empty tmpfs each, at the same path in every run, so that paths in the log do not tell one run
    from another; loopback is the only network; and when the copy ends, however it ends, the kernel ends every process
    and mount it made. Inside the copy the function prepares all this and returns None.

    Raises `PermissionError` when not root.
    """
    if os.environ.get(_INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for folder, mode in ((private_folder, "755"), (Path("/run"), "755"), (Path("/dev/shm"), "1777")):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "recording", str(folder)], check=True)
        socket.sethostname(HOST_NAME)
        hosts = Path("/run/hosts")
        hosts.write_text(f"127.0.0.1 localhost {HOST_NAME}\n")
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
        # The first process of a namespace gets no signal it has no handler for.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return None
    if os.geteuid() != 0:
        raise PermissionError("recording needs root: it makes namespaces, mounts a tmpfs and starts the service")
    private_folder.mkdir(parents=True, exist_ok=True)
    unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*unshare, sys.executable, "-m", "recordings.record", *argv], env={**os.environ, _INSIDE: "1"}
    )
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return process.wait()
    finally:
        process.kill()  # --kill-child passes it on
        process.wait()
        signal.signal(signal.SIGTERM, previous)


def free_port(preferred: int) -> int:
    """`preferred` (the service's usual port) when it is free on loopback, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `condition()` holds; raise `TimeoutError` naming `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether process `pid` exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> dict[int, str]:
    """Process ids of the direct children of `pid`, each with its command line."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ").strip()
    return found


def end_process(pid: int, how: signal.Signals, seconds: float = 20.0) -> None:
    """Send `how` to `pid` and wait until it is gone; after `seconds`, kill it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
        try:
            wait_until(lambda: not is_running(pid), seconds, f"process {pid} ends")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_running(pid), seconds, f"process {pid} ends after SIGKILL")


# --- the book --------------------------------------------------------------------------------------------------------


CLOCK_STEP = timedelta(milliseconds=1)
"""Log times are cut to it."""

_STILL_OPEN = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass
class Interval:
    """One scheduled step: a fault, or (with `fault` None) healthy maintenance worth naming."""

    scenario: str
    fault: str | None
    visible: str  # "text": lines of its own; "order": ordinary lines in unusual number; "silence": lines missing
    start: datetime
    end: datetime = _STILL_OPEN
    repair: datetime | None = None
    """When the operator began to put things right, if that itself writes to the log; that is ordinary work."""
    touched: dict[int, datetime] = field(default_factory=dict)
    """Processes that the fault acted on, each with the time."""

    def contains(self, moment: datetime, grace: float = 0.0) -> bool:
        """Whether a log time lies in the interval, lengthened by `grace` seconds."""
        return self.start - CLOCK_STEP <= moment <= self.end + timedelta(seconds=grace)


class Book:
    """Keeps the time of everything that was injected, in the order it happened."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []

    @contextlib.contextmanager
    def step(self, scenario: str, fault: str | None, visible: str = "text") -> Iterator[Interval]:
        """An interval around the body of a `with` statement."""
        interval = Interval(scenario, fault, visible, datetime.now(UTC))
        self.intervals.append(interval)
        try:
            yield interval
        finally:
            interval.end = datetime.now(UTC)


class LineCounter:
    """Counts the lines of a growing file without reading any part of it twice."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self.lines = path, 0, 0

    def update(self) -> int:
        """Lines so far."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        self.lines += data.count(b"\n")
        return self.lines


class Crew:
    """Threads that do ordinary work until told to stop; an unexpected exception in one is raised by `close`."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[[], None]) -> None:
        """Call `work` again and again, each time in the same new thread."""

        def loop() -> None:
            try:
                while not self.stopping.is_set():
                    work()
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=loop, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop all threads; raise what one of them raised."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(timeout=15)
        if self._errors:
            raise self._errors[0]
        if stuck := sum(thread.is_alive() for thread in self._threads):
            raise TimeoutError(f"{stuck} ordinary clients did not stop within 15 s")


# --- entries and labels ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One log event: its physical lines as written, and what the service's private copy of the log says about it."""

    lines: tuple[str, ...]
    time: datetime
    message: str
    pid: int = 0
    process: str = ""  # what kind of process wrote it, in the service's own words
    remote_host: str | None = None
    code: str | None = None  # the service's own, such as an SQLSTATE or a status
    severity: str = ""
    statement: str = ""


Rule = Callable[[Entry, Interval], bool]
"""Whether an entry of an ordinary client or of the service itself was caused by a fault."""


def find_cause(entry: Entry, intervals: Sequence[Interval], rules: dict[str, Rule]) -> Interval | None:
    """The faulty interval that caused `entry`, or None when it is healthy.

    Three causes count, in this order: the injector wrote it; a process the fault acted on wrote it, afterwards; the
    fault's own rule says so.
    """
    faulty = [interval for interval in intervals if interval.fault is not None]
    if entry.remote_host == INJECTOR_ADDRESS:
        begun = [interval for interval in faulty if interval.start - CLOCK_STEP <= entry.time]
        if not begun:
            raise ValueError(f"the injector wrote before any fault: {entry.lines[0]}")
        return begun[-1]
    for interval in faulty:
        touched = interval.touched.get(entry.pid)
        if touched is not None and touched - CLOCK_STEP <= entry.time:
            return interval
        if rules[interval.fault or ""](entry, interval):
            return interval
    return None


def scenario_at(moment: datetime, intervals: Iterable[Interval]) -> str:
    """Name of the step that was on at `moment`, `ORDINARY` when none was."""
    return next((interval.scenario for interval in intervals if interval.contains(moment)), ORDINARY)


@dataclass(frozen=True)
class Recording:
    """One labelled run, cut to the time between `start` and `end`: no set-up, no shutdown."""

    service: str
    name: str
    split: str
    entries: Sequence[Entry]
    intervals: Sequence[Interval]
    start: datetime
    end: datetime
    rules: dict[str, Rule]

    def lines_table(self) -> pa.Table:
        """One row per physical line; a continuation line has the label of its entry."""
        rows: dict[str, list[object]] = {name: [] for name in ("time", "scenario", "fault", "label", "line")}
        for entry in self.entries:
            if not self.start <= entry.time < self.end:
                continue
            cause = find_cause(entry, self.intervals, self.rules)
            scenario = cause.scenario if cause else scenario_at(entry.time, self.intervals)
            for line in entry.lines:
                rows["time"].append(entry.time)
                rows["scenario"].append(scenario)
                rows["fault"].append(cause.fault if cause else None)
                rows["label"].append(int(cause is not None))
                rows["line"].append(line)
        count = len(rows["line"])
        constant = {"service": [self.service] * count, "recording": [self.name] * count, "split": [self.split] * count}
        return pa.table({**constant, "line_number": range(1, count + 1), **rows}, schema=LINES_SCHEMA)

    def intervals_table(self) -> pa.Table:
        """One row per injected fault. Healthy steps are named in the lines only."""
        faulty = [interval for interval in self.intervals if interval.fault is not None]
        columns: dict[str, list[object]] = {
            "service": [self.service] * len(faulty),
            "recording": [self.name] * len(faulty),
        }
        for name in ("scenario", "fault", "start", "end", "visible"):
            columns[name] = [getattr(interval, name) for interval in faulty]
        return pa.table(columns, schema=INTERVALS_SCHEMA)


# --- files -----------------------------------------------------------------------------------------------------------


def intervals_path(path: Path) -> Path:
    """Where the intervals of the recordings in `path` are: `x.parquet` has `x_intervals.parquet`."""
    return path.with_name(f"{path.stem}_intervals{path.suffix}")


def write_table(table: pa.Table, target: Path) -> None:
    """Write a Parquet file, complete or not at all."""
    partial = target.with_name(target.name + ".partial")
    try:
        # Plain text in one page compresses best, beside its like; numbers that grow do as differences.
        growing = {"line_number", "time", "start", "end"}
        pq.write_table(
            table,
            partial,
            compression="zstd",
            compression_level=22,
            row_group_size=1 << 20,
            data_page_size=1 << 26,
            use_dictionary=[name for name in table.column_names if name not in {*growing, "line"}],
            column_encoding={name: "DELTA_BINARY_PACKED" for name in table.column_names if name in growing},
            write_statistics=False,
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_tables(lines: pa.Table, intervals: pa.Table, path: Path) -> None:
    """Write the lines of a run to `path`, its intervals beside it; the lines last, as the sign that both are there."""
    write_table(intervals, intervals_path(path))
    write_table(lines, path)
