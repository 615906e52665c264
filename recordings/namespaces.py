"""A private place for one run, so that nothing leaks out of it and no path tells one run from another.

`record` calls `run_in_namespace` with its own arguments; it starts the same command again inside fresh namespaces, and
there prepares mounts, loopback and host name.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HOST_NAME = "server1"
"""The machine's name in every recording."""

_INSIDE = "RECORDINGS_INSIDE_NAMESPACE"


def run_in_namespace(argv: Sequence[str], private_folder: Path) -> int | None:
    """Run `python -m recordings.record` again in isolation, and return its exit status.

    The copy has mount, process, network, host name and IPC namespaces of its own. `private_folder`, `/run` and
    `/dev/shm` are each an empty tmpfs, loopback is the only network, and however the copy ends, the kernel ends every
    process and mount that it made. Inside the copy this function sets all this up and returns None.

    Raises:
        PermissionError: not root.
    """
    if os.environ.get(_INSIDE):
        _prepare(private_folder)
        return None
    if os.geteuid() != 0:
        raise PermissionError("recording needs root: it creates namespaces, mounts a tmpfs and starts the service")
    private_folder.mkdir(parents=True, exist_ok=True)
    unshare = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*unshare, sys.executable, "-m", "recordings.record", *argv], env={**os.environ, _INSIDE: "1"}
    )
    previous = signal.signal(signal.SIGTERM, _exit_on_sigterm)
    try:
        return process.wait()
    finally:
        process.kill()  # --kill-child passes it on
        process.wait()
        signal.signal(signal.SIGTERM, previous)


def _prepare(private_folder: Path) -> None:
    """Set up loopback, tmpfs mounts, host name and /etc/hosts inside the namespaces."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for folder, mode in ((private_folder, "755"), (Path("/run"), "755"), (Path("/dev/shm"), "1777")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "recording", str(folder)], check=True)
    socket.sethostname(HOST_NAME)
    hosts = Path("/run/hosts")
    hosts.write_text(f"127.0.0.1 localhost {HOST_NAME}\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    # The first process of a PID namespace receives only signals that it handles.
    signal.signal(signal.SIGTERM, _exit_on_sigterm)


def _exit_on_sigterm(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)
