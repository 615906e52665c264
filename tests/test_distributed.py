"""Logs judged, and references fitted, on a real Ray cluster of two nodes on this machine."""

import contextlib
import functools
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import MINI, ROOT

from logmoe import LogReference, distributed
from logmoe.inference import load_pipeline
from logmoe.result_folder import KILLED, ResultFolder

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'logmoe[ray]'")
pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install 'logmoe[ray]'")

if " " in sys.executable:
    pytest.skip("Ray starts no workers with a Python whose path holds a space", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore::FutureWarning")]
FAULTY = (ROOT / "examples" / "apache-faulty.log").read_text().splitlines(keepends=True)


def test_a_python_that_ray_cannot_start_workers_with_is_refused_where_a_cluster_is_started(monkeypatch):
    fresh = SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setattr(sys, "executable", "/home/a user/bin/python")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for address in (None, "local"):
        with pytest.raises(ValueError, match="path holds a space, got '/home/a user/bin/python': install logmoe"):
            distributed._ray_data(fresh, address).__enter__()


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    started.add_node(**node)
    ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
    yield started
    ray.shutdown()
    started.shutdown()


@functools.cache
def plain_pipeline():
    return load_pipeline(MINI, "cpu")


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """Six good logs, one that is cut off, one that is empty, one that is no log, and one to be killed over."""
    folder = tmp_path_factory.mktemp("logs")
    for part in range(6):
        (folder / f"part-{part}.log").write_text("".join(FAULTY[part * 200 : part * 200 + 400]))
    packed = gzip.compress("".join(FAULTY).encode())
    (folder / "cut.log.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "empty.log").touch()
    (folder / "archive.log").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "poison.log").write_text("".join(FAULTY) * 4)
    return folder


class Killer(threading.Thread):
    """Kills the worker that begins a task: each one with the poisoned log in it, and the first one without."""

    def __init__(self, results: Path):
        super().__init__(daemon=True)
        self.tries, self.killed, self.is_over = results / "tries", [], threading.Event()
        self.seen: set[str] = set()

    def run(self) -> None:
        while not self.is_over.wait(0.002):
            for note in self.tries.glob("*.json"):
                if note.name in self.seen:
                    continue
                try:
                    begun = json.loads(note.read_text())
                except FileNotFoundError:
                    continue
                self.seen.add(note.name)
                kind = "poison" if any("poison" in log for log in begun["logs"]) else "good"
                if kind == "poison" or kind not in self.killed:
                    os.kill(begun["pid"], signal.SIGKILL)
                    self.killed.append(kind)


def test_two_nodes_give_what_one_process_gives_though_workers_die(cluster, logs, tmp_path):
    """A bad file is a row, a killed worker costs a repetition, and a file that always kills ends as a row."""
    results = tmp_path / "results"
    paths = [str(path) for path in sorted(logs.iterdir())]
    killer = Killer(results)
    killer.start()
    seen = []
    try:
        folder = distributed.scan(
            paths, output=results, tries=2, on_progress=lambda progress: seen.append(progress.files)
        )
    finally:
        killer.is_over.set()
        killer.join()
    assert killer.killed.count("good") == 1
    assert 1 <= killer.killed.count("poison") <= 2

    rows = {row["source"]: row for row in folder.files().to_pylist()}
    assert list(rows) == paths == sorted(set(paths))  # each once
    assert seen[-1] == len(paths)
    kinds = {Path(path).name: row["error_kind"] for path, row in rows.items() if row["error"] is not None}
    poison = rows.pop(str(logs / "poison.log"))
    assert kinds.pop("poison.log") == poison["error_kind"] == KILLED
    assert poison["tries"] == 2

    pipe = plain_pipeline()
    for path, row in rows.items():
        # One process, file by file: what it says of a bad one, and what it found until then.
        try:
            whole = pipe.findings(Path(path))
        except (ValueError, OSError) as error:
            whole, said = None, str(error)
        if whole is None:
            assert (row["error"], row["findings"], row["entries"]) == (said, 0, 0)
            continue
        (seen_of_log,) = whole.summary.logs
        skipped = [log.reason for log in whole.summary.skipped]
        assert [row["error"]] == (skipped or [None])
        for name in ("lines", "entries", "sequences", "anomalous_sequences", "mode"):
            assert row[name] == getattr(seen_of_log, name)
        found = [finding for finding in folder.findings() if finding.source == path]
        assert [one.id for one in found] == [one.id for one in whole]
        for ours, theirs in zip(found, whole, strict=True):
            assert (ours.first_line, ours.last_line, ours.start, ours.sequences) == (
                theirs.first_line,
                theirs.last_line,
                theirs.start,
                theirs.sequences,
            )
            assert ours.strength == pytest.approx(theirs.strength, abs=1e-3)
    assert sum(row["findings"] for row in rows.values()) == len(folder.findings()) > 0
    assert set(kinds) == {"cut.log.gz", "empty.log", "archive.log"}
    # One actor for each core, on both nodes, and each loaded its pipeline once or was killed.
    assert folder.is_whole
    assert not os.listdir(results / "tries")


def test_a_reference_of_many_files_is_that_of_one_process(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "GROUP_BYTES", 1)  # a task for each file
    monkeypatch.setattr(distributed, "MERGED_AT_ONCE", 2)
    healthy = (ROOT / "examples" / "apache-healthy.log").read_text().splitlines(keepends=True)
    paths = []
    for part in range(5):
        paths.append(tmp_path / f"good-{part}.log")
        paths[-1].write_text("".join(healthy[part * 400 : part * 400 + 400]))
    merged = distributed.fit(*paths)
    whole = plain_pipeline().fit(*paths)
    assert isinstance(merged, LogReference)
    assert merged.texts == whole.texts
    assert merged.templates.texts == whole.templates.texts
    assert merged.num_entries == whole.num_entries
    for name in ("count", "time", "first"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    for name in ("text", "template", "stretch"):
        np.testing.assert_array_equal(getattr(merged.entries, name), getattr(whole.entries, name))
    np.testing.assert_allclose(merged.embeddings, whole.embeddings, atol=2e-3)
    with pytest.raises(FileNotFoundError, match="no log at"):
        distributed.fit(tmp_path / "nothing.log")
    (tmp_path / "empty.log").touch()
    with pytest.raises(ValueError, match=r"no log entries in .*empty\.log"):
        distributed.fit(tmp_path / "empty.log")


@pytest.mark.slow
def test_a_dataset_of_paths_judged_against_a_reference(cluster, logs, tmp_path):
    reference = plain_pipeline().fit(ROOT / "examples" / "apache-healthy.log")
    paths = [str(logs / f"part-{part}.log") for part in range(6)]
    dataset = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=3)
    options = {"concurrency": 1, "batch_size": 2}
    folder = distributed.scan(dataset, output=tmp_path / "results", reference=reference, ray_options=options)
    assert folder.files()["source"].to_pylist() == paths
    for path in paths:
        whole = plain_pipeline().findings(Path(path), reference=reference)
        found = [finding for finding in folder.findings() if finding.source == path]
        assert [one.id for one in found] == [one.id for one in whole]
    summary = folder.findings().summary
    assert (summary.healthy_entries, summary.promised_rate) == (reference.num_entries, 0.01)
    # Again: there is nothing left to do.
    again = distributed.scan(dataset, output=tmp_path / "results", reference=reference, resume=True)
    assert len(again.files()) == len(paths)
    with pytest.raises(ValueError, match="another reference"):
        distributed.scan(dataset, output=tmp_path / "results", resume=True)


def run_command(*arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "logmoe_command", "scan", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_that_is_killed_goes_on_from_its_results(logs, tmp_path):
    """The command, its cluster and its workers die at once, when some of the files have a row."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for copy in range(4):
        for part in range(6):
            (copies / f"{copy}-{part}.log").write_text((logs / f"part-{part}.log").read_text())
    results = tmp_path / "results"
    command = ("--ray", "local", "--results", results, "--ray-option", "concurrency=1", copies)
    job = run_command(*command)
    while not list((results / "files").glob("part-*")):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.05)
    children = _children_of(job.pid)
    for process in [job.pid, *children]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    job.communicate()
    done = ResultFolder(results).files()["source"].to_pylist()
    assert 0 < len(done) < 24
    before = {path.name: path.stat().st_mtime_ns for path in (results / "files").glob("part-*")}

    refused = run_command(*command)
    assert "--resume" in refused.communicate()[1]
    assert refused.returncode == 2
    report = tmp_path / "report.jsonl"
    again = run_command(*command, "--resume", "-o", report)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "Loading weights" not in err  # a bar, and this is no terminal
    folder = ResultFolder(results)
    assert folder.is_whole
    assert folder.files()["source"].to_pylist() == sorted(str(path) for path in copies.iterdir())
    after = {path.name: path.stat().st_mtime_ns for path in (results / "files").glob("part-*")}
    assert before.items() <= after.items()  # what was done was not done again
    found, lines = len(folder.findings()), sum(folder.files()["lines"].to_pylist())
    assert f"24 logs: {found} findings in {lines:,} lines" in out
    assert len(report.read_text().splitlines()) == found + 1


def _children_of(pid: int) -> list[int]:
    """All processes below one, also those that began sessions of their own."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found, waiting = [], [pid]
    while waiting:
        above = waiting.pop()
        below = [child for child, parent in parents.items() if parent == above]
        found += below
        waiting += below
    return found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")
def test_an_actor_takes_a_gpu_where_there_is_one(logs, tmp_path):
    job = run_command("--ray", "local", "--results", tmp_path / "results", logs / "part-0.log")
    _, err = job.communicate()
    assert job.returncode == 0, err
    folder = ResultFolder(tmp_path / "results")
    (row,) = folder.files().to_pylist()
    whole = load_pipeline(MINI, "cuda").findings(logs / "part-0.log")
    assert row["error"] is None
    assert [one.id for one in folder.findings()] == [one.id for one in whole]
