"""Processes that start with everything imported: forked from one that did nothing but import.

Each is a process of its own: it can be killed, run out of space and exit with a code like any other; only the seconds
that importing takes are spent once. Where starting itself is the point, or the environment is read while importing, a
test starts an interpreter instead.
"""

import glob
import importlib
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "logmoe.train", "logmoe.training.plots", "matplotlib.pyplot", "forking"])


def _die_at(pattern: str):
    """Kills this process when a path matches, before it opens or renames another file: no poll could miss that."""

    def kill(event: str, _):
        if event in ("open", "os.rename") and glob.glob(pattern):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)


def _run(
    program: str,
    arguments: list[str],
    env: dict[str, str],
    outputs: tuple[str, str],
    max_file_bytes: int,
    kill_at: str,
):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    os.environ.update(env)
    for number, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    if kill_at:
        _die_at(kill_at)
    sys.argv = [program, *arguments]
    sys.exit(importlib.import_module(program).main())


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def train(
    arguments: list[str],
    *,
    program: str = "logmoe.train",
    env: dict[str, str] | None = None,
    processes: int = 1,
    max_file_bytes: int = 0,
    kill_at: str = "",
    signal_when: tuple[Callable[[], bool], int] | None = None,
    watch: Callable[[int], None] | None = None,
    timeout: float = 200.0,
) -> subprocess.CompletedProcess:
    """Runs `train.py` with these arguments, in one process or in several that know of each other as torchrun has it.

    Args:
        program: the module whose `main` is called.
        env: for the environment; what is read while importing is read already.
        max_file_bytes: no file may grow beyond that, if not 0.
        kill_at: a pattern; each process kills itself once a path matches it, before it opens or renames another file.
        signal_when: a condition, and the signal sent to all processes as soon as it holds.
        watch: called again and again with the number of the first process, as long as it runs.

    Raises:
        AssertionError: the processes ended before the condition held, or the time is up.
    """
    ranks: list[dict[str, str]] = [{}]  # What each finds in its environment.
    if processes > 1:
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        ranks = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = (f"{folder}/stdout", f"{folder}/stderr")
        environments = [(env or {}) | rank for rank in ranks]
        running = [
            FORKS.Process(target=_run, args=(program, arguments, environment, outputs, max_file_bytes, kill_at))
            for environment in environments
        ]
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):  # The first start reads it.
            for process in running:
                process.start()
        deadline = time.monotonic() + timeout
        while any(process.is_alive() for process in running):
            if signal_when and signal_when[0]():
                for process in running:
                    os.kill(process.pid, signal_when[1])
                signal_when = None
            if watch and running[0].is_alive():
                watch(running[0].pid)
            # As torchrun does: where one fails, the others would wait for it.
            late = time.monotonic() > deadline
            if late or any(process.exitcode for process in running):
                for process in running:
                    process.join(0 if late else 60)
                    process.kill()
            ends = [process.sentinel for process in running if process.is_alive()]
            multiprocessing.connection.wait(ends, 0.002 if signal_when or watch else 1)
        stdout, stderr = (Path(path).read_text() if Path(path).exists() else "" for path in outputs)
        assert time.monotonic() < deadline, f"still running after {timeout} seconds:\n{stderr}"
        assert not signal_when, f"ended before the condition held:\n{stdout}{stderr}"
        code = next((process.exitcode for process in running if process.exitcode), 0)
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)
