"""A log in, reports out, for the Space: each is judged by a process of its own, which ends with its answer.

So nothing of a log stays in memory, one that takes too long can be ended, and one that brings a process down takes
nobody else's answer along. The next process loads the model while nobody waits for it. Knows nothing of Gradio; run as
a script it is such a process.
"""

import html
import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPORTS = ("report.html", "report.md", "report.jsonl", "report.sarif")
# Size of a file as it is given, compressed or not; seconds until an answer; logs that are judged at once.
MEGABYTES, SECONDS, WORKERS = 20, 60.0, 2
# A longer page is not shown, for a browser gets it as an attribute: it is a file to save.
PAGE_CHARACTERS = 8_000_000
# A page may run its own script, not reach what surrounds it; it has no address, so no cookies and no storage either.
SANDBOX = "allow-scripts allow-downloads"


class NotJudged(Exception):
    """Why a log was not judged, in words for whoever gave it."""


class Workers:
    """Processes that have loaded the model and wait for a log.

    Args:
        number: how many; no more logs are judged at once, others wait.
        command: what starts one.
    """

    def __init__(self, number: int = WORKERS, command: Sequence[str] = (sys.executable, __file__)):
        self.command = command
        self._waiting: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._threads = max(1, (os.cpu_count() or 1) // number)
        self._all = [self._start() for _ in range(number)]

    def judge(self, log: str, healthy: str | None, into: Path) -> str:
        """Judges a log against a healthy one, if there is one, and writes the reports.

        Returns:
            What was found, in a line.

        Raises:
            NotJudged: it was not.
        """
        for path in filter(None, (log, healthy)):
            if os.path.getsize(path) > MEGABYTES << 20:
                raise NotJudged(f"{os.path.basename(path)} is larger than {MEGABYTES} MB: give a part of it")
        worker = self._waiting.get()
        try:
            assert worker.stdout is not None
            if not worker.stdout.readline():  # until it has loaded the model
                raise NotJudged("nothing can be judged here at the moment: the model could not be loaded")
            task = json.dumps({"log": log, "healthy": healthy, "into": str(into)})
            said, _ = worker.communicate(task + "\n", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise NotJudged(f"this took longer than {SECONDS:g} s, and was ended: give a shorter log") from None
        finally:
            worker.kill()
            worker.communicate()
            self._all.remove(worker)
            self._all.append(self._start())
        if not said:
            raise NotJudged("this log could not be judged: its process has ended")
        answer = json.loads(said)
        if "error" in answer:
            raise NotJudged(answer["error"])
        return answer["headline"]

    def close(self) -> None:
        """Ends all processes; they also end by themselves when this one does."""
        for worker in self._all:
            worker.kill()
            worker.communicate()

    def _start(self) -> "subprocess.Popen[str]":
        worker = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(self._threads), "HF_HUB_OFFLINE": "1"},
        )
        self._waiting.put(worker)
        return worker


def framed(page: str) -> str:
    """A page of findings as an element that can be shown among others' and reaches none of them."""
    return (
        f'<iframe title="Findings" sandbox="{SANDBOX}" allow="clipboard-write" srcdoc="{html.escape(page)}" '
        'style="width: 100%; height: 80vh; border: 0"></iframe>'
    )


# ---------------------------------------------------------------------- in a process of its own


def work() -> None:
    """Loads the model, judges one log, and ends."""
    # What libraries print is not the answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    from logmoe.console import visible
    from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline

    pipe = load_pipeline(DEFAULT_CHECKPOINT, device="cpu")
    pipe.findings(["warm up"])
    print("ready", file=answers, flush=True)
    if not (line := sys.stdin.readline()):
        return
    task = json.loads(line)
    try:
        answer = {"headline": judge(pipe, **task)}
    except (ValueError, OSError, EOFError) as error:
        said = str(error)
        for path in filter(None, (task["log"], task["healthy"])):
            said = said.replace(path, os.path.basename(path))
        answer = {"error": visible(said)}
    print(json.dumps(answer), file=answers, flush=True)


def judge(pipe: Any, log: str, healthy: str | None, into: str) -> str:
    """Judges a log and writes its reports, which know files by their names alone."""
    from logmoe.answering import headline
    from logmoe.reporting import format_of, renamed, render, write

    reference = None if healthy is None else pipe.fit(Path(healthy))
    baseline = None if healthy is None else os.path.basename(healthy)
    findings = renamed(pipe.findings(Path(log), reference=reference), log, os.path.basename(log), baseline)
    for report in REPORTS:
        write(render(findings, format_of(report)), os.path.join(into, report))
    return headline(findings.summary)


if __name__ == "__main__":
    work()
