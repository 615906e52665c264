"""The folder of a scan of many files: what is cut off or repeated there neither loses nor doubles a log."""

import gzip
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from conftest import MINI, ROOT

import logmoe_command
from logmoe import distributed, ray_command
from logmoe.distributed import File, find_files, grouped, judge_part, name_of
from logmoe.findings_logmoe import Finding, FindingEntry, LogSummary, Reason, Summary
from logmoe.inference import load_pipeline
from logmoe.result_folder import FINDING_ROWS, KILLED, FileRow, ResultFolder, part_name


def finding(source: str) -> Finding:
    entry = FindingEntry(3, "a\n\tb", 1.0, 2, 3, 9, "2024-01-01T00:00:00Z", None, "a <NUM>")
    reason = Reason("new_entry", "a new kind of entry", 1.5, 3, 2)
    return Finding(
        "0123456789ab", source, 3, 9, None, None, 0.9, 2.5, None, "self", (reason,), (entry,), sessions=None
    )


def judged(path: str, number: int) -> tuple[FileRow, list[Finding]]:
    row = FileRow(LogSummary(path, 9, 9, 1, 1, 1, "self"), size=90, tries=number)
    return row, [finding(path)]


def names_of(folder: ResultFolder) -> tuple[list[str], list[str]]:
    """The logs of all rows, and of all findings, as whoever reads the tables finds them."""
    return folder.files()["source"].to_pylist(), sorted(folder.findings_table()["source"].to_pylist())


@pytest.fixture
def folder(tmp_path) -> ResultFolder:
    folder = ResultFolder(tmp_path / "results")
    folder.start({}, resume=False)
    return folder


# ---------------------------------------------------------------------- what it holds


def test_findings_come_back_as_they_were(tmp_path, folder):
    pipe = load_pipeline(MINI, "cpu")
    log = str(ROOT / "examples" / "apache-faulty.log")
    whole = pipe.findings(Path(log), reference=str(ROOT / "examples" / "apache-healthy.log"))
    assert len(whole) > 1
    folder.finish_part([log], [FileRow(whole.summary.logs[0])], whole)
    folder.finish(whole.summary)
    back = ResultFolder(folder.folder).findings()
    assert list(back) == list(whole)
    assert back.summary == whole.summary


def test_tables_are_read_by_any_reader(folder):
    folder.finish_part(["b", "a"], [judged("b", 1)[0], judged("a", 1)[0]], [finding("b"), finding("a")])
    table = pq.read_table(os.path.join(folder.folder, "findings"))
    assert table.schema.names == FINDING_ROWS.names
    assert table["entries"].to_pylist()[0][0]["text"] == "a\n\tb"
    assert folder.files()["source"].to_pylist() == ["a", "b"]
    summary = folder.finish(Summary(baseline="good.log"))
    assert (summary["files"], summary["findings"], summary["with_errors"], summary["size"]) == (2, 2, 0, 180)
    assert folder.findings().summary.baseline == "good.log"


def test_results_from_before_a_log_had_a_column_are_read(folder):
    folder.finish_part(["a"], [judged("a", 1)[0]], [finding("a")])
    (part,) = Path(folder.folder, "files").iterdir()
    pq.write_table(pq.read_table(part).drop_columns(["is_rerun"]), part)
    (log,) = folder.findings().summary.logs
    assert not log.is_rerun


def test_what_is_half_written_does_not_count(folder):
    folder.finish_part(["a"], [judged("a", 1)[0]], [finding("a")])
    folder.finish_part(["b"], [judged("b", 1)[0]], [finding("b")])
    # As when its worker died before the rows of the logs, and in the middle of a file.
    os.unlink(os.path.join(folder.folder, "files", f"part-{part_name(['b'])}.parquet"))
    Path(folder.folder, "files", ".part-x.parquet.abc").write_bytes(b"PAR1")
    folder.begin(["b"], 1)
    assert names_of(folder) == (["a"], ["a"])
    assert ResultFolder(folder.folder).start({}, resume=True) == {"a"}
    assert sorted(os.listdir(os.path.join(folder.folder, "findings"))) == [f"part-{part_name(['a'])}.parquet"]
    assert sorted(os.listdir(os.path.join(folder.folder, "files"))) == [f"part-{part_name(['a'])}.parquet"]
    assert not folder.tries(["b"])
    assert not folder.is_whole


def test_a_worker_given_up_for_dead_that_finishes_later_doubles_nothing(folder):
    for one in ("a", "b"):
        folder.finish_part([one], [judged(one, 2)[0]], [finding(one)])
    folder.finish_part(["a", "b"], [judged("a", 1)[0], judged("b", 1)[0]], [finding("a"), finding("b")])
    folder.finish(Summary())
    assert names_of(folder) == (["a", "b"], ["a", "b"])


def test_a_folder_of_other_things_or_of_another_job_is_refused(tmp_path):
    folder = ResultFolder(tmp_path / "results")
    assert folder.start({"encoding": None, "stride": "4"}, resume=True) == set()  # a job may always say so
    with pytest.raises(FileExistsError, match="--resume"):
        folder.start({"encoding": None, "stride": "4"}, resume=False)
    with pytest.raises(ValueError, match="another stride .'4', now None"):
        folder.start({"encoding": None}, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="other things"):
        ResultFolder(tmp_path / "mine").start({}, resume=True)
    with pytest.raises(FileNotFoundError, match="no results of a scan"):
        ResultFolder(tmp_path / "mine").findings()
    Path(folder.folder, "job.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        folder.start({}, resume=True)


def test_one_job_at_a_time_writes(folder):
    with folder.locked():
        with pytest.raises(FileExistsError, match="another job"), ResultFolder(folder.folder).locked():
            pass
        assert ResultFolder(folder.folder).start({}, resume=True) == set()
    with folder.locked():
        pass


def test_results_may_lie_where_fsspec_reaches():
    folder = ResultFolder("memory://results-of-a-test")
    folder.start({}, resume=False)
    folder.begin(["a"], 1)
    assert folder.tries(["a"]) == 1
    judge_part(folder, ["b"], judged)
    folder.finish(Summary())
    again = ResultFolder("memory://results-of-a-test")
    assert again.is_whole
    assert names_of(again) == (["b"], ["b"])
    assert not again.tries(["a"])


# ---------------------------------------------------------------------- workers that die


def survives(work) -> bool:
    """Runs something in a process of its own; whether it came to its end."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="a process is forked to be killed")


@needs_fork
@pytest.mark.parametrize("logs", [["a", "poison", "b", "c"], ["poison"]])
def test_a_log_that_kills_its_worker_each_time_ends_as_a_row(folder, logs):
    def judge(path, number):
        if path == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return judged(path, number)

    lives = 0
    while not survives(lambda: judge_part(folder, logs, judge, tries=3)):
        lives += 1
        assert lives <= 3
    assert lives == 3
    folder.finish(Summary())
    good = [log for log in sorted(logs) if log != "poison"]
    assert names_of(folder) == (sorted(logs), good)
    rows = {row["source"]: row for row in folder.files().to_pylist()}
    assert rows["poison"]["error_kind"] == KILLED
    assert rows["poison"]["tries"] == 3
    assert "killed each time" in rows["poison"]["error"]
    assert all(rows[log]["error"] is None for log in good)
    assert folder.findings().summary.skipped[0].source == "poison"


@needs_fork
@pytest.mark.parametrize("at", ["findings", "files"])
def test_a_worker_that_dies_while_it_writes_loses_and_doubles_nothing(folder, at, monkeypatch):
    """After its findings are there, or after its rows are, but before anybody was told."""
    put = ResultFolder.put

    def dying(self, name, data):
        put(self, name, data)
        if name.startswith(at):
            os.kill(os.getpid(), signal.SIGKILL)

    def first_life():
        monkeypatch.setattr(ResultFolder, "put", dying)
        judge_part(folder, ["a", "b"], judged)

    assert not survives(first_life)
    rows = judge_part(folder, ["a", "b"], judged)
    assert rows["source"].to_pylist() == ["a", "b"]
    assert names_of(folder) == (["a", "b"], ["a", "b"])
    assert set(rows["tries"].to_pylist()) == {1 if at == "files" else 2}


# ---------------------------------------------------------------------- files, and tasks of them


def test_small_files_share_a_task_and_large_ones_have_their_own():
    files = [File(str(place), size) for place, size in enumerate([3, 3, 3, 99, 1, 1, 1])]
    sizes = [[file.size for file in group] for group in grouped(files, 6)]
    assert sizes == [[3, 3], [3], [99], [1, 1, 1]]
    assert max(len(group) for group in grouped([File("a", 1)] * 1000, 1 << 20)) == distributed.GROUP_LOGS


def test_files_are_found_once_by_paths_patterns_and_urls(tmp_path):
    for name in ("b.log", "a10.log", "a2.log"):
        (tmp_path / name).write_text("INFO a\n")
    with gzip.open(tmp_path / "c.log.gz", "wt") as log:
        log.write("INFO b\n")
    (tmp_path / "empty.log").touch()
    found = [Path(file.path).name for file in find_files([str(tmp_path), str(tmp_path / "b.log")])]
    assert found == ["a2.log", "a10.log", "b.log", "c.log.gz"]
    assert [file.path for file in find_files(f"file://{tmp_path}/a*.log")] == [
        str(tmp_path / name) for name in ("a2.log", "a10.log")
    ]
    with pytest.raises(FileNotFoundError, match="no log"):
        find_files(str(tmp_path / "nothing*"))
    with pytest.raises(ValueError, match="one process"):
        find_files("-")


def test_files_elsewhere_are_found_and_fetched():
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe_file("/logs-of-a-test/x/a.log", b"INFO a\n")
    system.pipe_file("/logs-of-a-test/b.log", b"INFO b\n")
    system.pipe_file("/logs-of-a-test/empty.log", b"")
    files = find_files("memory://logs-of-a-test")
    assert [file.path.rsplit("/", 1)[1] for file in files] == ["b.log", "a.log"]
    assert {file.size for file in files} == {7}
    assert len(find_files("memory://logs-of-a-test/*.log")) == 1
    with distributed.local_copy(files[0].path) as copy:
        assert Path(copy).read_bytes() == b"INFO b\n"
    assert not os.path.exists(copy)
    with pytest.raises(FileNotFoundError):
        find_files("memory://logs-of-a-test/nothing.log")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_name_that_is_no_text_has_a_row(tmp_path, folder):
    path = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.log")
    Path(path).write_text("INFO a\n")
    (file,) = find_files(path)
    assert file.name.endswith("caf\\xe9.log")
    folder.finish_part([file.name], [FileRow.of_error(name_of(path), "ValueError", "bad")], [])
    assert folder.files()["source"].to_pylist() == [file.name]


@pytest.mark.parametrize(
    ("resources", "options", "device", "gpus", "actors"),
    [
        ({"CPU": 7.0, "memory": 64e9}, {}, None, None, (7, 7)),
        ({"CPU": 7.0, "memory": 64e9}, {"num_cpus": 2}, None, None, (3, 3)),
        ({"CPU": 7.0, "memory": 64e9}, {"memory": 20e9}, "cpu", None, (3, 3)),
        ({"CPU": 16.0, "GPU": 2.0}, {}, None, 1, (2, 2)),
        ({"CPU": 16.0, "GPU": 2.0}, {"num_gpus": 0.5}, "cuda", 0.5, (4, 4)),
        ({"CPU": 16.0, "GPU": 2.0}, {}, "cpu", None, (16, 16)),
        ({"CPU": 16.0, "GPU": 2.0}, {"concurrency": (1, 5)}, None, 1, (1, 5)),
        ({"CPU": 0.0}, {}, None, None, (1, 1)),
    ],
)
def test_actors_fill_the_cluster_and_take_gpus_where_there_are_some(resources, options, device, gpus, actors):
    """Ray's own part, the pool of actors, is kept as it is asked for."""
    ray = SimpleNamespace(
        cluster_resources=lambda: resources,
        data=SimpleNamespace(ActorPoolStrategy=lambda min_size, max_size: (min_size, max_size)),
    )
    given = distributed._with_defaults(ray, options, device)
    assert (given.get("num_gpus"), given["compute"]) == (gpus, actors)
    assert "concurrency" not in given
    assert given["runtime_env"]["env_vars"]["MALLOC_ARENA_MAX"] == "2"


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'logmoe\[ray\]'"):
        distributed.scan(str(tmp_path), output=tmp_path / "results")
    with pytest.raises(ImportError, match=r"pip install 'logmoe\[ray\]'"):
        distributed.fit(str(tmp_path))
    assert not (tmp_path / "results").exists()


def test_the_summary_says_what_is_in_the_folder(folder):
    folder.finish_part(["a"], [FileRow.of_error("a", "OSError", "gone")], [])
    folder.finish(Summary())
    written = json.loads(Path(folder.folder, "summary.json").read_text())
    assert (written["files"], written["with_errors"], written["findings"]) == (1, 1, 0)


# ---------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--resume", "a.log"], "--resume goes with --ray"),
        (["--results", "out", "a.log"], "--results goes with --ray"),
        (["--ray-option", "num_cpus=1", "a.log"], "--ray-option goes with --ray"),
        (["--ray", "a.log"], "--ray needs --results"),
        (["--results", "out", "--ray"], "Missing argument 'LOG...'"),
        (["--results", "out", "-", "--ray"], "one process only"),
        (["--results", "out", "a.log", "--ray", "--follow"], "--follow does not go with --ray"),
        (["--results", "out", "a.log", "--ray", "--json"], "--json does not go with --ray"),
        (["--results", "out", "a.log", "--ray", "--ray-option", "two"], "NAME=VALUE, got 'two'"),
    ],
)
def test_what_does_not_go_together_is_said(given, said, capsys):
    assert logmoe_command.main(["scan", *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "logs", "address"),
    [
        (["--ray", "logs/", "b.log"], ("logs/", "b.log"), None),
        (["b.log", "--ray"], ("b.log",), None),
        (["--ray", "head:6379", "b.log"], ("b.log",), "head:6379"),
        (["--ray=auto", "b.log"], ("b.log",), "auto"),
        (["--ray", "ray://10.0.0.1:10001", "b.log"], ("b.log",), "ray://10.0.0.1:10001"),
        (["--ray", "./head:6379"], ("./head:6379",), None),
    ],
)
def test_what_follows_ray_is_an_address_or_a_log(given, logs, address, monkeypatch):
    seen = []
    monkeypatch.setattr(
        ray_command, "scan_on_ray", lambda logs, console, address, **other: seen.append((logs, address, other)) or 0
    )
    options = ("--results", "out", "--ray-option", "num_cpus=0.5", "--ray-option", "accelerator_type=A100")
    assert logmoe_command.main(["scan", *options, *given]) == 0
    ((seen_logs, seen_address, other),) = seen
    assert (seen_logs, seen_address) == (logs, address)
    assert other["ray_options"] == {"num_cpus": 0.5, "accelerator_type": "A100"}


def test_the_command_without_ray_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    log = tmp_path / "a.log"
    log.write_text("INFO a\n")
    assert logmoe_command.main(["scan", "--ray", "--results", str(tmp_path / "out"), str(log)]) == 2
    assert "pip install 'logmoe[ray]'" in capsys.readouterr().err
