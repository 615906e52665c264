"""Processes of the machine: daemons that the recorder starts and ends by id, and questions to the kernel about them.

Services start with it what they run: `Daemon` for a program, `python_daemon` for a module of this package. Nothing
here knows about logs, labels or faults.
"""

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The folder that `recordings` is imported from."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `condition()` holds; raise `TimeoutError` naming `what` if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def run_tool(*command: str | Path, **options: Any) -> bytes:
    """Run a program to its end (`options` as for `subprocess.run`) and return its output.

    Raises:
        RuntimeError: it failed; the message ends with its last words.
    """
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace")[-2000:].strip()
        raise RuntimeError(f"`{shlex.join(map(str, command))}` ended with exit status {done.returncode}:\n{words}")
    return done.stdout


def make_folder(path: Path, owner: str | None = None, mode: int = 0o755) -> Path:
    """Create a folder with its parents and give it to `owner`."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if owner is not None:
        shutil.chown(path, owner, _group_of(owner))
    return path


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


# --- questions to the kernel -----------------------------------------------------------------------------------------


def is_running(pid: int) -> bool:
    """Whether process `pid` exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> dict[int, str]:
    """The direct children of `pid`: process id to command line."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().replace("\0", " ").strip()
    return found


def end_process(pid: int, how: signal.Signals, seconds: float = 20.0) -> None:
    """Send `how` to `pid` and wait until it is gone; kill it after `seconds`."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
        try:
            wait_until(lambda: not is_running(pid), seconds, f"process {pid} ends")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_running(pid), seconds, f"process {pid} ends after SIGKILL")


def free_port(preferred: int) -> int:
    """`preferred` (the service's usual port) if it is free on loopback, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a TCP connection to a port is accepted. Many services log it; `is_listening` leaves no trace."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def is_listening(port: int, host: str = "") -> bool:
    """Whether the kernel has a listening TCP socket at a port, of `host` or of any address."""
    address = socket.inet_aton(host)[::-1].hex().upper() if host else ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, own, _, state, *_ = line.split()
        if own.startswith(address) and own.endswith(f":{port:04X}") and state == "0A":
            return True
    return False


# --- daemons ---------------------------------------------------------------------------------------------------------


class Daemon:
    """A program run in the foreground, with all the processes that it starts.

    Args:
        command: the program and its arguments.
        console: file to which its standard output and error are appended.
        ready: whether it serves by now.
        user: who runs it; root if None.
        env: its environment besides `PATH`, `LANG` and `TZ`.
        cwd: its working directory.
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

    def has_ended(self) -> bool:
        """Whether the first process has ended by itself."""
        assert self._process is not None, "not started"
        return self._process.poll() is not None

    def start(self, seconds: float = 60.0) -> None:
        """Start it and wait until it is ready.

        Raises:
            TimeoutError: not ready within `seconds`; the message ends with what it wrote to its console.
            RuntimeError: it ended; likewise.
        """
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
            wait_until(lambda: self.has_ended() or self.ready(), seconds, "")
        except TimeoutError:
            raise TimeoutError(
                f"{self.command[0]} is not ready after {seconds} s; its console says:\n{self._said()}"
            ) from None
        if self.has_ended():
            code = self._process.returncode
            raise RuntimeError(f"{self.command[0]} ended with exit status {code}; its console says:\n{self._said()}")

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


def python_daemon(module: str, *arguments: object, console: Path, port: int) -> Daemon:
    """A module of this package as a daemon, such as `backend`; ready once it answers at `port`."""
    command = [sys.executable, "-m", f"recordings.{module}", *map(str, arguments)]
    return Daemon(command, console, lambda: answers(port), env={"PYTHONPATH": str(ROOT)})
