"""Faults that services share: ways to break something for a while, and injections built from them.

A *breakage* is a context manager: broken inside the `with` statement, healed after it. `lasting` and the builders
below turn breakages and single acts into what `service.Fault.inject` expects, a function of the lab and the interval.
A seed's run depends on what `lab.rng` draws and in which order: keep both when you change anything here.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from recordings.clients import send_raw
from recordings.labels import INJECTOR_ADDRESS, Interval
from recordings.processes import make_folder

Injection = Callable[[Any, Interval], None]


# --- breakages -------------------------------------------------------------------------------------------------------


class Stoppable(Protocol):
    """Something that can be ended and started again, such as a `Daemon`."""

    def stop(self, how: signal.Signals) -> None:
        """End it."""

    def start(self) -> None:
        """Start it and wait until it is ready."""


@contextlib.contextmanager
def down(daemon: Stoppable, how: signal.Signals = signal.SIGKILL) -> Iterator[None]:
    """A daemon dies; someone starts it again."""
    daemon.stop(how)
    yield
    daemon.start()


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Processes stand still."""
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def network_cut(port: int, reset: bool = False, source: str | None = None) -> Iterator[None]:
    """Packets to a TCP port are dropped, or answered with a reset; if `source` is given, only those from it."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(port)]
    rule += ["-s", source] if source else []
    rule += ["-j", "REJECT", "--reject-with", "tcp-reset"] if reset else ["-j", "DROP"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@contextlib.contextmanager
def held_connections(port: int, count: int, say: Callable[[int], bytes] = lambda number: b"") -> Iterator[None]:
    """The injector opens `count` connections, sends `say(number)` on each, and keeps them open."""
    with contextlib.ExitStack() as held:
        for number in range(count):
            with contextlib.suppress(OSError):
                link = held.enter_context(socket.create_connection(("127.0.0.1", port), 1.0, (INJECTOR_ADDRESS, 0)))
                link.sendall(say(number))
        yield


def mount_small_disk(path: Path, size: str, owner: str | None = None, mode: int = 0o755) -> Path:
    """Mount a tmpfs at `path` for `full_disk` to fill (`size` as mount takes it, such as 8m)."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "disk", path], check=True)
    return make_folder(path, owner, mode)


@contextlib.contextmanager
def full_disk(path: Path, leave: int = 0) -> Iterator[None]:
    """The small disk at `path` is full but for `leave` bytes."""
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
def permissions(path: Path, wrong: int, right: int) -> Iterator[None]:
    """Someone changes the permissions of a file or folder."""
    path.chmod(wrong)
    yield
    path.chmod(right)


@contextlib.contextmanager
def flag(path: Path, content: str = "") -> Iterator[None]:
    """A file is there that makes one of the recorder's own programs misbehave, or pause."""
    path.write_text(content)
    try:
        yield
    finally:
        path.unlink()


def slow_backend(folder: Path, seconds: float) -> AbstractContextManager[None]:
    """The application of `recordings/backend.py` with this folder takes `seconds` for each answer."""
    return flag(folder / "slow", str(seconds))


@contextlib.contextmanager
def swapped(put: Callable[[Any], object], wrong: Any, right: Any) -> Iterator[None]:
    """`put(wrong)` in the place of `put(right)`."""
    put(wrong)
    try:
        yield
    finally:
        put(right)


@contextlib.contextmanager
def silent_monitor(lab: Any) -> Iterator[None]:
    """The monitor's probes stop."""
    lab.monitor_is_silent.set()
    yield
    lab.monitor_is_silent.clear()


# --- injections ------------------------------------------------------------------------------------------------------


def settle(seconds: float) -> Callable[[Any], None]:
    """Wait for the aftermath of a fault."""
    return lambda lab: time.sleep(seconds)


def lasting(
    breakage: Callable[[Any], AbstractContextManager[object]],
    least: float,
    most: float,
    then: Callable[[Any], object] = lambda lab: None,
) -> Injection:
    """The breakage of a lab lasts between `least` and `most` seconds; `then` waits for the service to recover."""

    def inject(lab: Any, interval: Interval) -> None:
        with breakage(lab):
            lab.hold(least, most)
        then(lab)

    return inject


monitor_silent = lasting(silent_monitor, 4.0, 7.0)
"""The monitor's probes stop; nothing else changes."""


def repeated(act: Callable[[Any, int], object], least: int, most: int, pause: float | None = None) -> Injection:
    """`act(lab, number)` happens `least` to `most` times, each followed by up to `pause` seconds."""

    def inject(lab: Any, interval: Interval) -> None:
        for number in range(lab.rng.randint(least, most)):
            act(lab, number)
            if pause is not None:
                lab.hold(0.0, pause)

    return inject


def garbage(
    port: int, pieces: Sequence[bytes], least: int, most: int, pause: float | None = None, timeout: float = 0.4
) -> Injection:
    """The injector sends some of `pieces`, `least` to `most` times."""
    return repeated(
        lambda lab, _: send_raw(port, lab.rng.choice(pieces), INJECTOR_ADDRESS, timeout=timeout), least, most, pause
    )


def broken_reloads(
    lines: Sequence[str],
    reload: Callable[[Any], object],
    most_times: int,
    least: float,
    most: float,
    repair: Callable[[Any], object] | None = None,
) -> Injection:
    """Up to `most_times` reloads of a configuration with one of the wrong `lines`; then the right one comes back.

    Needs `lab.write_configuration(extra=...)`. The service keeps running with what it read before, so the right
    configuration needs no reload; if the operator reloads all the same (`repair`), that is ordinary work.
    """

    def inject(lab: Any, interval: Interval) -> None:
        for _ in range(lab.rng.randint(1, most_times)):
            lab.write_configuration(extra=lab.rng.choice(lines))
            reload(lab)
            lab.hold(least, most)
        lab.write_configuration()
        if repair is not None:
            interval.repair = datetime.now(UTC)
            repair(lab)

    return inject


def start_in_vain(daemon: Stoppable) -> None:
    """A start that fails."""
    with contextlib.suppress(RuntimeError):
        daemon.start()
        raise AssertionError("the service started although it should have failed")


def broken_restart(
    server: Callable[[Any], Stoppable],
    lines: Sequence[str],
    most_times: int,
    least: float,
    most: float,
    then: Callable[[Any], object] = lambda lab: None,
) -> Injection:
    """A restart with one of the wrong `lines` in the configuration; the service gives up until it is put right."""

    def inject(lab: Any, interval: Interval) -> None:
        server(lab).stop(signal.SIGTERM)
        time.sleep(0.3)
        interval.start = datetime.now(UTC)
        lab.write_configuration(extra=lab.rng.choice(lines))
        for _ in range(lab.rng.randint(1, most_times)):
            start_in_vain(server(lab))
            lab.hold(least, most)
        lab.write_configuration()
        interval.repair = datetime.now(UTC)
        server(lab).start()
        then(lab)

    return inject
