"""A service at work: started, driven by ordinary clients, broken and healed along a plan, and read.

`Lab` is one running service, `Fault` one way to break it, `Service` all that a module such as `recordings/nginx.py`
has to say of its service. The rest are tools that the modules share: daemons, logs as they grow, HTTP from a chosen
address, full disks, cut networks, standstills, certificates.
"""

import abc
import base64
import contextlib
import http.client
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recordings.corpus import Run
from recordings.harness import (
    INJECTOR_ADDRESS,
    Book,
    Crew,
    Entry,
    Interval,
    LineCounter,
    Recording,
    Rule,
    children_of,
    end_process,
    is_running,
    wait_until,
)

CLIENT_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 9))
"""Ordinary clients come from these."""

GRACE = 0.5
"""Seconds after its end in which a fault's consequences may still be written."""

HEALTHY_STRETCH = 110
"""Lines of ordinary work between two steps: several windows of 32 entries."""
LONGEST_STRETCH = 12.0
"""Seconds after which a quiet service gets its next step all the same."""


# --- a service, its faults, and one run ------------------------------------------------------------------------------


class Lab(abc.ABC):
    """One running service in its private folder.

    Attributes:
        settings: one of the service's settings (style and detail of its log).
        seed: decides ordinary work, faults and their order.
        rng: source of chance of the faults. Clients have their own, so that a twin without faults works alike.
        crew: the ordinary clients.
        monitor_is_silent: set while the monitor's probes stop.
        log: the file whose growth paces the plan.
    """

    log: Path

    def __init__(self, settings: Any, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.rng = random.Random(seed)
        self.crew = Crew()
        self.monitor_is_silent = threading.Event()

    @abc.abstractmethod
    def start(self) -> None:
        """Set the service up, with all it depends on, and return once it answers."""

    @abc.abstractmethod
    def employ_clients(self) -> None:
        """Start the ordinary clients on `crew`."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End every process of the service, by its own id."""

    @abc.abstractmethod
    def entries(self) -> Sequence[Entry]:
        """The whole log, after `stop`."""

    def client_rng(self, number: int) -> random.Random:
        """The source of chance of an ordinary client; the same in the twin without faults."""
        return random.Random(f"{self.seed} client {number}")

    def hold(self, least: float, most: float) -> None:
        """Let a fault last between `least` and `most` seconds."""
        time.sleep(self.rng.uniform(least, most))

    def watch(self, ask: Callable[[], object], pause: float = 0.5) -> None:
        """One probe of a monitor, unless a fault has silenced it, and a pause of so many seconds."""
        if not self.monitor_is_silent.is_set():
            ask()
        self.crew.stopping.wait(pause)

    def send_garbage(
        self, port: int, pieces: Sequence[bytes], least: int, most: int, pause: float, timeout: float = 0.4
    ) -> None:
        """The injector sends some of `pieces`, `least` to `most` times, with up to `pause` seconds between them."""
        for _ in range(self.rng.randint(least, most)):
            send_raw(port, self.rng.choice(pieces), INJECTOR_ADDRESS, timeout=timeout)
            self.hold(0.0, pause)


def monitor_silent(lab: Lab, interval: Interval) -> None:
    """The monitor's probes stop; nothing else changes."""
    lab.monitor_is_silent.set()
    lab.hold(4.0, 7.0)
    lab.monitor_is_silent.clear()


def by_address(entry: Entry, interval: Interval) -> bool:
    """Faults that only the injector's own sessions (and processes acted on) show."""
    return False


def always(settings: Any) -> bool:
    """Under any settings."""
    return True


@dataclass(frozen=True)
class Fault:
    """How to inject it (and heal it again), which entries it causes besides the injector's, and how it shows.

    Attributes:
        inject: breaks the service, lets that last, and heals it.
        rule: whether an entry that neither the injector nor a touched process wrote was caused by it.
        visible: `text` (lines of its own), `order` (ordinary lines in unusual number) or `silence` (lines missing).
        often: twice as often as the others.
        possible: whether it can show under the settings at all.
    """

    inject: Callable[[Any, Interval], None]
    rule: Rule = by_address
    visible: str = "text"
    often: bool = True
    possible: Callable[[Any], bool] = always


@dataclass(frozen=True)
class Service:
    """All that the recorder needs to know of one service."""

    name: str
    lab: Callable[[Any, int], Lab]
    settings: Mapping[str, Any]
    faults: Mapping[str, Fault]
    healthy_steps: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    """How often a healthy step comes in a round, 2 where nothing is said."""
    private_folder: Path = Path("/srv")
    """An empty tmpfs in every run."""

    def plan(self, rng: random.Random, settings: Any) -> Iterator[str]:
        """Names of steps, without end: rounds of every fault and healthy step, each round in a new order."""
        names = [name for name, fault in self.faults.items() if fault.possible(settings)]
        names += [name for name in names if self.faults[name].often]
        names += [name for name in self.healthy_steps for _ in range(self.repeats.get(name, 2))]
        while True:
            rng.shuffle(names)
            yield from names

    def record(self, run: Run, duration: float) -> Recording:
        """Run the service for `duration` seconds after its set-up and label what it wrote.

        In a twin every fault of the plan is a pause instead.
        """
        lab, book = self.lab(self.settings[run.settings], run.seed), Book()
        lab.start()
        try:
            lab.employ_clients()
            time.sleep(2.0)  # until every client has arrived
            start, ends, counter = datetime.now(UTC), time.monotonic() + duration, LineCounter(lab.log)
            # Of its own, from the same state: what a fault draws must not change the order of the next round.
            plan_rng = random.Random()
            plan_rng.setstate(lab.rng.getstate())
            for step in self.plan(plan_rng, lab.settings):
                quiet_from, lines = time.monotonic(), counter.update()
                while counter.update() - lines < HEALTHY_STRETCH and time.monotonic() - quiet_from < LONGEST_STRETCH:
                    time.sleep(0.1)
                lab.hold(0.0, 1.0)
                if time.monotonic() > ends:
                    break
                if step in self.healthy_steps:
                    with book.step(step, None):
                        self.healthy_steps[step](lab)
                elif run.split != "twin":
                    with book.step(step, step, self.faults[step].visible) as interval:
                        self.faults[step].inject(lab, interval)
                else:
                    lab.hold(1.0, 3.0)
            end = datetime.now(UTC)
            lab.crew.close()
        finally:
            lab.crew.stopping.set()
            lab.stop()
        rules = {name: fault.rule for name, fault in self.faults.items()}
        return Recording(self.name, run.name(self.name), run.split, lab.entries(), book.intervals, start, end, rules)


# --- processes -------------------------------------------------------------------------------------------------------


class Daemon:
    """A service's first process, started in the foreground, with all the processes it starts.

    Args:
        command: the program and its arguments.
        console: file that gets its standard output and error (appended).
        ready: whether it answers by now.
        user: who runs it; root when None.
        env: its environment besides `PATH`, `LANG` and `TZ`.
        cwd: where it runs.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        console: Path,
        ready: Callable[[], bool],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = Path("/"),
    ) -> None:
        self.command, self.console, self.ready, self.user, self.cwd = command, console, ready, user, cwd
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the first process."""
        assert self._process is not None, "not started"
        return self._process.pid

    def pids(self) -> list[int]:
        """The first process and all its descendants."""
        found = [self.pid]
        for pid in found:
            found.extend(children_of(pid))
        return found

    def start(self, seconds: float = 60.0) -> None:
        """Start it and wait until it is ready. Raises `TimeoutError` with the end of its console."""
        identity: dict[str, Any] = {}
        if self.user is not None:
            identity = {"user": self.user, "group": _group_of(self.user), "extra_groups": []}
        with self.console.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.cwd,
                **identity,
            )
        try:
            wait_until(
                lambda: self._process is not None and (self._process.poll() is not None or self.ready()), seconds, ""
            )
        except TimeoutError:
            raise TimeoutError(f"{self.command[0]} is not ready after {seconds} s; it said:\n{self._said()}") from None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.command[0]} ended with {self._process.returncode}; it said:\n{self._said()}")

    def _said(self) -> str:
        return self.console.read_text(errors="replace")[-2000:]

    def send(self, how: signal.Signals) -> None:
        """Send a signal to the first process."""
        os.kill(self.pid, how)

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> None:
        """End the first process with `how`, then whatever it started that is still there."""
        if self._process is None:
            return
        family = self.pids()
        self._process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=seconds)
        for pid in family[1:]:
            with contextlib.suppress(TimeoutError):
                wait_until(lambda pid=pid: not is_running(pid), 2, f"process {pid} leaves")  # type: ignore[misc]
            end_process(pid, signal.SIGKILL)


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether someone accepts TCP connections at a port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def make_folder(path: Path, owner: str | None = None, mode: int = 0o755) -> Path:
    """A new folder, with its parents, that belongs to `owner`."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner is not None:
        shutil.chown(path, owner, _group_of(owner))
    return path


# --- logs ------------------------------------------------------------------------------------------------------------


class LogFollower:
    """Reads logs as they grow and notes when each line arrived, to a few milliseconds.

    Most services stamp their lines to the second only, each in its own way; labels need better. Lines of several
    files go into one sequence in the order of their arrival, as when a container's output is collected.
    """

    POLL = 0.005

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
                raise ValueError(f"{path} shrank from {self._offsets[path]} bytes to {size} while it was read")
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
        """Stop; all lines with their times. Raises what went wrong while they were read."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._look()
        for path, rest in self._rests.items():
            if rest:
                raise ValueError(f"{path} ends in the middle of a line: {rest[-200:]!r}")
        return self._lines


@dataclass(frozen=True)
class Head:
    """What the first line of an entry says of itself."""

    message: str
    pid: int = 0
    process: str = ""
    remote_host: str | None = None
    code: str | None = None  # the service's own: a status, an error number
    severity: str = ""


def split_entries(lines: Iterable[tuple[datetime, str]], parse: Callable[[str], Head | None]) -> list[Entry]:
    """Group lines into entries: one for which `parse` gives None continues the entry above."""
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


def says(*patterns: str, grace: float = GRACE) -> Rule:
    """Entries whose first line matches one of these regular expressions while the fault is on.

    For what a fault makes the service itself, or its ordinary clients' requests, write: the words alone are no cause,
    the interval is. Choose patterns that ordinary work does not match.
    """
    compiled = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))

    def rule(entry: Entry, interval: Interval) -> bool:
        return interval.contains(entry.time, grace) and compiled.search(entry.lines[0]) is not None

    return rule


# --- clients ---------------------------------------------------------------------------------------------------------


def http_request(
    port: int,
    method: str,
    path: str,
    address: str,
    *,
    host: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
) -> int | None:
    """One HTTP request that comes from `address`; its status, or None when there was no answer in time."""
    link = http.client.HTTPConnection(host, port, timeout=timeout, source_address=(address, 0))
    try:
        link.request(method, path, body=body, headers=dict(headers or {}))
        answer = link.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def send_raw(port: int, data: bytes, address: str, *, timeout: float = 2.0, wait: bool = True) -> bytes:
    """Send bytes over TCP from `address`, and return what comes back until the other side closes or `timeout`."""
    received = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(address, 0)) as link,
    ):
        link.sendall(data)
        while wait and (part := link.recv(65536)):
            received += part
    return received


def authorization(user: str, password: str) -> str:
    """The value of HTTP's header for basic authentication."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@contextlib.contextmanager
def held_connections(port: int, count: int, say: Callable[[int], bytes] = lambda number: b"") -> Iterator[None]:
    """The injector opens so many connections, says on each what `say` gives for its number, and keeps them open."""
    with contextlib.ExitStack() as held:
        for number in range(count):
            with contextlib.suppress(OSError):
                link = held.enter_context(socket.create_connection(("127.0.0.1", port), 1.0, (INJECTOR_ADDRESS, 0)))
                link.sendall(say(number))
        yield


@contextlib.contextmanager
def slow_backend(folder: Path, seconds: float) -> Iterator[None]:
    """The application of `recordings/backend.py` with this folder takes so long for each answer."""
    slow = folder / "slow"
    slow.write_text(str(seconds))
    try:
        yield
    finally:
        slow.unlink()


# --- faults of the machine -------------------------------------------------------------------------------------------


def run_tool(*command: str | Path, **options: Any) -> bytes:
    """Run a program that should say nothing (`options` as `subprocess.run` takes them), and return its output.

    Raises `RuntimeError` with its last words when it fails.
    """
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace")[-2000:].strip()
        raise RuntimeError(f"`{shlex.join(map(str, command))}` ended with exit status {done.returncode}:\n{words}")
    return done.stdout


def mount_small_disk(path: Path, size: str, owner: str | None = None, mode: int = 0o755) -> Path:
    """A tmpfs of its own (`size` as mount takes it, such as 8m) at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "disk", path], check=True)
    return make_folder(path, owner, mode)


@contextlib.contextmanager
def full_disk(path: Path, leave: int = 0) -> Iterator[None]:
    """Fill the small disk at `path` but for `leave` bytes, and make room again."""
    ballast = path / "ballast"
    try:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        if leave:
            os.truncate(ballast, max(0, ballast.stat().st_size - leave))
        yield
    finally:
        ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def network_cut(port: int, reset: bool = False, source: str | None = None) -> Iterator[None]:
    """Packets to a TCP port are dropped, or answered with a reset; only those from `source` when given."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(port)]
    rule += ["-s", source] if source else []
    rule += ["-j", "REJECT", "--reject-with", "tcp-reset"] if reset else ["-j", "DROP"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """These processes stand still."""
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class CertificateAuthority:
    """Signs certificates for any time, past ones too."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\nunique_subject=no\ncopy_extensions=copy\n[p]\ncommonName=supplied\n"
        )
        self._run(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650", "-subj", "/CN=Recordings CA"
        )

    def _run(self, command: str, *more: str) -> None:
        run_tool("openssl", *command.split(), *more, cwd=self.folder)

    def issue(
        self, name: str, host: str = "localhost", expired: bool = False, owner: str | None = None
    ) -> tuple[Path, Path]:
        """A certificate and its key for `host`, valid from 2025 to 2045, or expired since February 2025."""
        end = "20250201000000Z" if expired else "20450101000000Z"
        request = f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={host}"
        self._run(f"{request} -addext subjectAltName=DNS:{host},IP:127.0.0.1")
        signing = f"ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -notext"
        self._run(f"{signing} -startdate 20250101000000Z -enddate {end}")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if owner is not None:
            shutil.chown(key, owner)
        return certificate, key
