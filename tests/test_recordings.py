"""The shipped recordings, their splits, labels and windows, and the recorder's own parts."""

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT))  # the recorder is no part of the installed package

from logmoe import LogParser, SequenceCutter, SequenceRule
from recordings import build, corpus, describe, faults, files, labels, logs, processes, record, windows
from recordings.services import nginx, postgresql

DATA = ROOT / "recordings" / "data"
SCHEMA = {
    "service": pa.string(),
    "recording": pa.string(),
    "split": pa.string(),
    "line_number": pa.int32(),
    "time": pa.timestamp("us", tz="UTC"),
    "scenario": pa.string(),
    "fault": pa.string(),
    "label": pa.int8(),
    "line": pa.string(),
}


@pytest.fixture(scope="module")
def lines():
    return corpus.read_lines()


@pytest.fixture(scope="module")
def intervals():
    return corpus.read_intervals()


# ---------------------------------------------------------------------- the files


def test_checksums_name_every_file():
    rows = dict(reversed(row.split()) for row in (DATA / "SHA256SUMS").read_text().splitlines())
    assert set(rows) == {str(path.relative_to(DATA)) for path in DATA.glob("*/*.parquet")}
    for name, digest in rows.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest
    assert sum((DATA / name).stat().st_size for name in rows) < 15e6


@pytest.mark.parametrize("service", corpus.SERVICES)
def test_schema(service):
    for split in (*corpus.SPLITS, "twin"):
        table = pq.read_table(DATA / service / f"{split}.parquet")
        assert {field.name: field.type for field in table.schema} == SCHEMA
        assert set(table["service"].to_pylist()) == {service}
        assert set(table["split"].to_pylist()) == {split}
        assert not pc.any(pc.match_substring_regex(table["line"], "\n")).as_py()
    intervals = pq.read_table(DATA / service / "intervals.parquet")
    assert intervals.schema.equals(files.INTERVALS_SCHEMA)


def test_corpus_size_and_variety(lines, intervals):
    assert len(lines) >= 100_000
    assert set(corpus.TEST_ONLY) < set(corpus.SERVICES)
    assert len(corpus.SERVICES) >= 12
    assert len(corpus.TEST_ONLY) == 4
    for service in corpus.SERVICES:
        faults = {row["fault"]: row["visible"] for row in intervals.to_pylist() if row["service"] == service}
        assert len(faults) >= 6, service
        assert {"text", "order", "silence"} == set(faults.values()), service
        own = lines.filter(pc.equal(lines["service"], service))
        assert 0.03 < pc.mean(own["label"]).as_py() < 0.45, service


def test_no_run_is_divided_and_later_runs_test(lines):
    times = [("time", "min"), ("time", "max")]
    runs = lines.group_by(["service", "recording", "split"]).aggregate(times).to_pylist()
    assert len({run["recording"] for run in runs}) == len(runs)
    for service in corpus.SERVICES:
        own = [run for run in runs if run["service"] == service]
        first_test = min(run["time_min"] for run in own if run["split"] == "test")
        # PostgreSQL's validation runs were recorded beside its first test run.
        earlier = ("train",) if service == "postgresql" else ("train", "validation")
        assert max(run["time_max"] for run in own if run["split"] in earlier) < first_test, service
    numbers = Counter(lines["recording"].to_pylist())
    last = lines.group_by("recording").aggregate([("line_number", "max")]).to_pylist()
    assert {row["recording"]: row["line_number_max"] for row in last} == numbers


def test_a_line_is_anomalous_exactly_if_it_names_a_fault(lines, intervals):
    is_anomalous = pc.equal(lines["label"], 1)
    assert pc.all(pc.equal(is_anomalous, pc.is_valid(lines["fault"]))).as_py()
    assert set(pc.unique(lines["label"]).to_pylist()) == {0, 1}
    known = {(row["recording"], row["fault"]) for row in intervals.to_pylist()}
    pairs = lines.filter(is_anomalous).group_by(["recording", "fault"]).aggregate([]).to_pylist()
    assert {(row["recording"], row["fault"]) for row in pairs} <= known


def test_no_healthy_line_names_the_injector(lines):
    healthy = lines.filter(pc.equal(lines["label"], 0))
    named = healthy.filter(pc.match_substring_regex(healthy["line"], r"\b127\.0\.0\.9\b"))
    assert named.select(["recording", "line"]).to_pylist() == []


def test_every_fault_visible_as_text_left_a_line(lines, intervals):
    anomalous = lines.filter(pc.equal(lines["label"], 1)).select(["recording", "fault", "time"]).to_pylist()
    times = {}
    for row in anomalous:
        times.setdefault((row["recording"], row["fault"]), []).append(row["time"])
    slack = timedelta(seconds=labels.GRACE)
    mute = [
        (row["recording"], row["fault"])
        for row in intervals.to_pylist()
        if row["visible"] == "text"
        and not any(
            row["start"] - slack <= moment <= row["end"] + slack
            for moment in times.get((row["recording"], row["fault"]), [])
        )
    ]

    assert mute == []


def test_anomalous_lines_lie_in_the_interval_of_their_fault(lines, intervals):
    spans = {}
    for row in intervals.to_pylist():
        spans.setdefault((row["recording"], row["fault"]), []).append((row["start"], row["end"]))
    slack = timedelta(seconds=1)  # what a fault leaves to be written after it is healed
    anomalous = lines.filter(pc.equal(lines["label"], 1)).select(["recording", "fault", "time"]).to_pylist()
    outside = [
        row
        for row in anomalous
        if not any(start - slack <= row["time"] <= end + slack for start, end in spans[row["recording"], row["fault"]])
    ]
    # The injector's sessions may say their last words later.
    assert len(outside) < 0.02 * len(anomalous)


def test_twins_are_of_a_test_run():
    for service in corpus.SERVICES:
        [name] = pc.unique(corpus.read_lines([service], ["twin"])["recording"]).to_pylist()
        assert name.removesuffix("-twin") in corpus.read_lines([service], ["test"])["recording"].to_pylist()


def test_the_example_logs_are_recordings_of_the_test_split():
    run = corpus.read_lines(["postgresql"], ["test"])
    run = run.filter(pc.equal(run["recording"], "postgresql-debian-109"))
    log = (ROOT / "examples" / "postgresql.log").read_text(encoding="utf-8")
    assert log == "\n".join(run["line"].to_pylist()) + "\n"
    for service in corpus.SERVICES:
        excerpt = (ROOT / "examples" / "logs" / f"{service}.log").read_text(encoding="utf-8")
        text = "\n".join(corpus.read_lines([service], ["test"])["line"].to_pylist()) + "\n"
        assert excerpt in text
        assert excerpt.count("\n") == build.EXCERPT


@pytest.mark.parametrize("page", ["README.md", "MEASURED.md"])
def test_pages_state_the_counts_of_the_files(page, lines, intervals):
    text = (ROOT / "recordings" / page).read_text(encoding="utf-8")
    assert f"{len(lines):,} lines" in text
    for service in corpus.SERVICES:
        count = pc.sum(pc.equal(lines["service"], service)).as_py()
        injected = pc.sum(pc.equal(intervals["service"], service)).as_py()
        row = next(row for row in text.splitlines() if row.startswith(f"| {service}") and f"| {count:,} |" in row)
        assert f"| {injected} |" in row


def test_load_dataset_on_the_folder(tmp_path):
    """In a fresh process without a network, as one would use it from the Hub."""
    code = (
        "from datasets import load_dataset\n"
        "lines = load_dataset('recordings')\n"
        "assert {'train', 'validation', 'test', 'unseen'} == set(lines), lines\n"
        "print(sum(map(len, lines.values())), lines['unseen'].unique('service'))\n"
        "redis = load_dataset('recordings', 'redis', split='test')\n"
        "intervals = load_dataset('recordings', 'intervals', split='full')\n"
        "print(len(redis), len(intervals), redis[0]['line'])\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    total, rest = done.stdout.split("\n")[0].split(" ", 1)
    assert int(total) == len(corpus.read_lines())
    assert all(service in rest for service in corpus.TEST_ONLY)


# ---------------------------------------------------------------------- splits and windows


def test_general_split_hides_the_test_only_services():
    tables = corpus.general()
    for split in corpus.SPLITS:
        assert not set(tables[split]["service"].to_pylist()) & set(corpus.TEST_ONLY)
    assert set(tables["unseen"]["service"].to_pylist()) == set(corpus.TEST_ONLY)


def test_leave_one_out():
    tables = corpus.leave_one_out("redis")
    assert "redis" not in tables["train"]["service"].to_pylist() + tables["validation"]["service"].to_pylist()
    assert set(tables["test"]["service"].to_pylist()) == {"redis"}
    assert not set(tables["train"]["service"].to_pylist()) & set(corpus.TEST_ONLY)


def test_no_recording_is_in_two_splits_of_a_service():
    tables = corpus.within_service("nginx")
    names = [name for table in tables.values() for name in set(table["recording"].to_pylist())]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("arguments", [(["apache", "iis"],), (["apache"], ["tests"])])
def test_unknown_service_or_split_is_an_error(arguments):
    with pytest.raises(ValueError, match="no such (service: iis|split: tests)"):
        corpus.read_lines(*arguments)


def window(*rows):
    return [{"time": at(second), "label": label} for second, label in rows]


def test_window_is_anomalous_by_a_line_or_by_an_interval_without_text():
    spans = corpus.unseen_spans(
        [
            {"recording": "a", "visible": "silence", "start": at(10), "end": at(20)},
            {"recording": "a", "visible": "text", "start": at(40), "end": at(50)},
            {"recording": "b", "visible": "order", "start": at(70), "end": at(80)},
        ],
        "a",
    )
    assert spans == [(at(10), at(20))]
    assert not corpus.is_anomalous(window((1, 0), (9, 0)), spans)
    assert corpus.is_anomalous(window((1, 0), (9, 1)), spans)
    assert corpus.is_anomalous(window((9, 0), (21, 0)), spans)  # the silence lies between its lines
    assert not corpus.is_anomalous(window((41, 0), (49, 0)), spans)  # a fault that shows as text, in none of these
    assert not corpus.is_anomalous(window((71, 0), (79, 0)), spans)


def test_windows_are_those_of_the_detector():
    [run, *_] = windows.read_runs("zookeeper", ["test"])
    parsed = LogParser().parse("\n".join(row["line"] for row in run.rows))
    assert run.entries == parsed.text.to_pylist()
    assert len(run.entries) < len(run.rows)  # stack traces
    lines = zip(parsed.first_line, parsed.last_line, strict=True)
    assert run.labels.tolist() == [any(row["label"] for row in run.rows[first - 1 : last]) for first, last in lines]
    found = list(run.windows(stride=8))
    assert [window.entries for window in found] == [
        [run.entries[position] for position in positions]
        for positions in SequenceCutter(SequenceRule(windows.WINDOW, 8), LogParser()).cut(parsed)
    ]
    assert {len(window.entries) for window in found[:-1]} == {windows.WINDOW}


def test_windows_are_labelled_by_lines_and_by_intervals_without_text():
    [run, *_] = windows.read_runs("redis", ["train"])
    assert run.spans
    by_lines = [window.label for window in run.windows(lines_only=True)]
    for window, label in zip(run.windows(), by_lines, strict=True):
        assert label == any(row["label"] for row in window.rows)
        assert window.label == corpus.is_anomalous(window.rows, run.spans)
    assert sum(by_lines) < sum(window.label for window in run.windows())


@pytest.mark.parametrize(
    ("module", "absent"),
    [("recordings.corpus", ["torch", "transformers", "logmoe"]), ("recordings.build", ["torch", "logmoe"])],
)
def test_corpus_and_recorder_do_without_the_detector(module, absent):
    services = "".join(f", recordings.services.{name}" for name in corpus.SERVICES if module.endswith("build"))
    code = f"import sys, {module}{services}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------- what services share


def test_follower_reads_lines_that_arrive_in_pieces(tmp_path):
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_bytes(b"")
    follower = logs.LogFollower(first, second)
    with first.open("ab", buffering=0) as log:
        log.write(b"one\nhal")
        time.sleep(0.05)
        second.write_bytes(b"other \xff\n")
        time.sleep(0.05)
        log.write(b"f\n")
    seen = follower.close()
    assert [line for _, line in seen] == ["one", "other \\xff", "half"]
    assert [moment for moment, _ in seen] == sorted(moment for moment, _ in seen)


def test_follower_rejects_an_unfinished_line(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"whole\nhalf")
    with pytest.raises(ValueError, match="middle of a line: b'half'"):
        logs.LogFollower(log).close()


def test_unparsed_lines_continue_the_entry_above():
    def parse(line):
        return logs.Head(line, pid=3) if line.startswith("ERROR") else None

    entries = logs.split_entries([(at(1), "ERROR a"), (at(2), "\tat b"), (at(3), "ERROR c")], parse)
    assert [(entry.lines, entry.time, entry.pid) for entry in entries] == [
        (("ERROR a", "\tat b"), at(1), 3),
        (("ERROR c",), at(3), 3),
    ]


def test_words_count_only_while_the_fault_is_on():
    rule = labels.says("connection (refused|lost)", grace=1)
    fault = interval("backend_killed", 10, 20)
    lost = labels.Entry(("backend: connection lost",), at(15), "connection lost")
    assert rule(lost, fault)
    assert rule(replace(lost, time=at(20.9)), fault)
    assert not rule(replace(lost, time=at(22)), fault)
    assert not rule(replace(lost, lines=("backend: connection made",)), fault)


class FakeLab:
    """Notes what a fault does to it."""

    def __init__(self):
        self.rng, self.done = random.Random(1), []

    def hold(self, least, most):
        self.done.append(("hold", least, most))

    def write_configuration(self, extra=""):
        self.done.append(("write", extra))


def test_a_lasting_fault_breaks_holds_heals_and_settles():
    @contextlib.contextmanager
    def broken(lab):
        lab.done.append("broken")
        yield
        lab.done.append("healed")

    lab = FakeLab()
    faults.lasting(broken, 1.0, 2.0, lambda lab: lab.done.append("settled"))(lab, None)
    assert lab.done == ["broken", ("hold", 1.0, 2.0), "healed", "settled"]


def test_a_repeated_act_is_numbered_and_paused():
    lab = FakeLab()
    faults.repeated(lambda lab, number: lab.done.append(number), 2, 2, pause=0.5)(lab, None)
    assert lab.done == [0, ("hold", 0.0, 0.5), 1, ("hold", 0.0, 0.5)]


def test_broken_reloads_end_with_the_right_configuration_and_note_the_repair():
    def reload(lab):
        lab.done.append("reload")

    lab, step = FakeLab(), interval("broken_configuration", 10, 20)
    faults.broken_reloads(["typo"], reload, 1, 0.5, 1.0, repair=reload)(lab, step)
    assert lab.done == [("write", "typo"), "reload", ("hold", 0.5, 1.0), ("write", ""), "reload"]
    assert step.repair is not None


def test_the_kernel_knows_who_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert processes.is_listening(port)
        assert processes.is_listening(port, "127.0.0.1")
        assert not processes.is_listening(port, "127.0.0.2")
    assert not processes.is_listening(port)


# ---------------------------------------------------------------------- label rules, on hand-written entries

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def entry(seconds, message, **fields):
    defaults = {"pid": 7, "process": "client backend", "remote_host": "127.0.0.2", "code": "00000", "severity": "LOG"}
    fields = defaults | {"statement": ""} | fields
    return labels.Entry(lines=(message,), time=at(seconds), message=message, **fields)


def cause(entry, *intervals):
    found = labels.find_cause(entry, intervals, {name: fault.rule for name, fault in postgresql.FAULTS.items()})
    return None if found is None else found.fault


def interval(fault, start, end, **fields):
    return labels.Interval(scenario=fault, fault=fault, visible="text", start=at(start), end=at(end), **fields)


def test_the_injectors_entries_are_anomalous():
    fault = interval("brute_force", 10, 20)
    wrong = entry(12, 'password authentication failed for user "app"', code="28P01")
    assert cause(wrong, fault) is None  # an ordinary client's slip, though a fault is on
    assert cause(replace(wrong, remote_host=labels.INJECTOR_ADDRESS), fault) == "brute_force"
    with pytest.raises(ValueError, match="before any fault"):
        cause(replace(wrong, remote_host=labels.INJECTOR_ADDRESS, time=at(1)), fault)


def test_a_touched_process_is_anomalous_from_then_on():
    fault = interval("sessions_terminated", 10, 20, touched={7: at(12)})
    assert cause(entry(11, "duration: 3 ms"), fault) is None
    assert cause(entry(13, "terminating connection", code="57P01"), fault) == "sessions_terminated"


def test_exhausted_connections_cause_refusals_only():
    fault = interval("connections_exhausted", 10, 20)
    assert cause(entry(15, "sorry, too many clients already", code="53300"), fault) == "connections_exhausted"
    assert cause(entry(15, "syntax error", code="42601"), fault) is None
    assert cause(entry(30, "sorry, too many clients already", code="53300"), fault) is None


def test_a_crash_causes_server_lines_and_lost_sessions():
    fault = interval("backend_killed", 10, 20)
    assert cause(entry(15, "database system was interrupted", process="startup", remote_host=None), fault)
    assert cause(entry(15, "terminating connection because of crash", code="57P02"), fault)
    assert cause(entry(15, "duplicate key", code="23505"), fault) is None
    assert cause(entry(25, "checkpoint starting: time", process="checkpointer", remote_host=None), fault) is None


def test_a_healthy_step_causes_nothing():
    restart = labels.Interval(scenario="clean_restart", fault=None, visible="text", start=at(10), end=at(20))
    stop = entry(15, "received fast shutdown request", process="postmaster", remote_host=None)
    assert cause(stop, restart) is None
    assert labels.scenario_at(at(15), [restart]) == "clean_restart"
    assert labels.scenario_at(at(25), [restart]) == "ordinary"


@pytest.mark.parametrize(
    ("line", "address", "code"),
    [
        ('127.0.0.9 - - [24/Nov/2026:02:01:06 +0000] "GET /a HTTP/1.1" 404 167 "-" "curl"', "127.0.0.9", "404"),
        ('127.0.0.3 - shop.example.org "GET /a HTTP/1.1" 200 9 rt=0.001 ut=- cs=-', "127.0.0.3", "200"),
        (
            '{"time":"2026-11-24T02:01:06+00:00","remote_addr":"127.0.0.9","request":"\\xfc","status":400,',
            "127.0.0.9",
            "400",
        ),
        ("2026/11/24 02:01:06 [error] 160#160: *251 open() failed, client: 127.0.0.7, server: x", "127.0.0.7", None),
        ("2026/11/24 02:01:06 [notice] 160#160: signal 17 (SIGCHLD) received from 21", None, None),
    ],
)
def test_nginx_lines_name_their_client(line, address, code):
    head = nginx.parse(line)
    assert (head.remote_host, head.code) == (address, code)


def test_service_modules_fulfil_the_contract():
    modules = {path.stem for path in (ROOT / "recordings" / "services").glob("*.py")} - {"__init__"}
    assert modules == set(corpus.SERVICES)
    for name in corpus.SERVICES:
        service = record.service_named(name)
        assert service.name == name
        assert len(service.settings) >= 2, name
        assert {fault.visible for fault in service.faults.values()} == {"text", "order", "silence"}, name


def entry_of_nginx(line):
    [one] = logs.split_entries([(at(15), line)], nginx.parse)
    return one


@pytest.mark.parametrize(
    ("fault", "line", "is_caused"),
    [
        ("backend_killed", '127.0.0.3 - - [x] "GET /items/1 HTTP/1.1" 502 1 "-" "-"', True),
        ("backend_killed", '127.0.0.3 - - [x] "GET /items/1 HTTP/1.1" 200 1 "-" "-"', False),
        (
            "backend_killed",
            '{"time":"x","remote_addr":"127.0.0.3","request":"GET /items/1","status":200,"upstream":"127.0.0.1:1"',
            False,
        ),
        ("backend_killed", "2026/11/24 02:01:06 [error] 1#1: *2 connect() failed while connecting to upstream", True),
        ("disk_full", '127.0.0.3 - - [x] "POST /upload HTTP/1.1" 500 1 "-" "-"', True),
        ("disk_full", '127.0.0.3 - - [x] "GET /broken HTTP/1.1" 500 1 "-" "-"', False),
        ("unreadable_files", '127.0.0.3 - - [x] "GET /static/a.css HTTP/1.1" 403 1 "-" "-"', True),
        ("unreadable_files", '127.0.0.3 - - [x] "GET /static/a.css HTTP/1.1" 404 1 "-" "-"', False),
    ],
)
def test_nginx_faults_cause_their_own_lines_only(fault, line, is_caused):
    rules = {name: known.rule for name, known in nginx.FAULTS.items()}
    found = labels.find_cause(entry_of_nginx(line), [interval(fault, 10, 20)], rules)
    assert (found is not None) == is_caused


def one_run(folder, service, run):
    times = pa.array([at(1)], files.LINES_SCHEMA.field("time").type)
    values = [[service], [run.name(service)], [run.split], [1], times, ["ordinary"], [None], [0], ["a line"]]
    lines = pa.table(dict(zip(files.LINES_SCHEMA.names, values, strict=True)), schema=files.LINES_SCHEMA)
    files.write_tables(lines, files.INTERVALS_SCHEMA.empty_table(), folder / f"{run.name(service)}.parquet")


def test_build_joins_runs_by_split(tmp_path):
    runs = corpus.runs_of("nginx", ["combined", "json", "timed"])
    for run in runs:
        one_run(tmp_path, "nginx", run)
    build.assemble("nginx", runs, tmp_path, tmp_path / "data" / "nginx")
    build.write_checksums(tmp_path / "data")
    tables = corpus.within_service("nginx", tmp_path / "data")
    assert {split: len(table) for split, table in tables.items()} == {"train": 3, "validation": 1, "test": 2}
    assert len((tmp_path / "data" / "SHA256SUMS").read_text().splitlines()) == 5


def test_build_stops_when_a_run_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "record", lambda *_: False)
    arguments = ["nginx", "--output", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    assert build.main(arguments) == 1
    assert "3 runs failed" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_follower_rejects_a_log_that_shrinks(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    follower = logs.LogFollower(log)
    time.sleep(0.05)
    log.write_bytes(b"")
    time.sleep(0.05)
    with pytest.raises(ValueError, match="shrank from 8 bytes to 0"):
        follower.close()


def test_templates_lose_numbers_and_ids_but_keep_words():
    line = 'Nov 24 03:39:22 mail postfix/qmgr[267]: DE707CE: from="a b", user=web facade 0x7f'
    assert describe.template(line) == '* * *:*:* mail postfix/qmgr[*]: *: from="a b", * facade *'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one service, or pass --all alone"),
        (["nginx", "--all"], "name at least one service, or pass --all alone"),
        (["iis"], "no such service: iis; the corpus has postgresql, "),
        (["nginx", "--split", "test", "--no-faults"], "leave out --split"),
        (["nginx", "--settings", "debian"], "nginx has combined, json, timed, not 'debian'"),
        (["nginx", "--duration", "0"], "expected more than 0 seconds, not 0.0"),
    ],
)
def test_command_line_errors(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        record.main([*arguments, "--seed", "1", "--output", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_a_failing_tool_says_why():
    with pytest.raises(RuntimeError, match=r"`sh -c 'echo no room >&2; exit 3'` ended with exit status 3:\nno room"):
        processes.run_tool("sh", "-c", "echo no room >&2; exit 3")
    assert processes.run_tool("cat", input=b"word") == b"word"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and the packages of recordings/install.sh")
@pytest.mark.parametrize("service", corpus.SERVICES)
def test_record_one_run(service, tmp_path):
    """About a minute each. Install what they need with recordings/install.sh."""
    command = [sys.executable, "-m", "recordings.record", service, "--seed", "3", "--duration", "40"]
    done = subprocess.run([*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [lines] = [path for path in tmp_path.glob(f"{service}-*-3.parquet") if "intervals" not in path.name]
    run = pq.read_table(lines)
    assert {field.name: field.type for field in run.schema} == SCHEMA
    assert len(run) > 500
    assert 0 < pc.mean(run["label"]).as_py() < 0.6
    assert pq.read_table(files.intervals_path(lines)).num_rows > 0
