"""The shipped recordings, their splits and labels, and the rules by which the recorder labels."""

import hashlib
import os
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

from recordings import corpus, harness, lab, record

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
    assert intervals.schema.equals(harness.INTERVALS_SCHEMA)


def test_the_corpus_is_as_large_and_varied_as_it_says(lines, intervals):
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


def test_whole_runs_are_split_and_later_ones_test(lines):
    runs = lines.group_by(["service", "recording", "split"]).aggregate([("time", "min")]).to_pylist()
    assert len({run["recording"] for run in runs}) == len(runs)
    for service in corpus.SERVICES:
        began = {
            split: [run["time_min"] for run in runs if run["service"] == service and run["split"] == split]
            for split in corpus.SPLITS
        }
        assert max(began["train"]) < min(began["test"]), service
    numbers = Counter(lines["recording"].to_pylist())
    last = lines.group_by("recording").aggregate([("line_number", "max")]).to_pylist()
    assert {row["recording"]: row["line_number_max"] for row in last} == numbers


def test_labels_and_faults_go_together(lines, intervals):
    is_anomalous = pc.equal(lines["label"], 1)
    assert pc.all(pc.equal(is_anomalous, pc.is_valid(lines["fault"]))).as_py()
    assert set(pc.unique(lines["label"]).to_pylist()) == {0, 1}
    known = {(row["recording"], row["fault"]) for row in intervals.to_pylist()}
    pairs = lines.filter(is_anomalous).group_by(["recording", "fault"]).aggregate([]).to_pylist()
    assert {(row["recording"], row["fault"]) for row in pairs} <= known


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


def test_twins_are_healthy():
    for service in corpus.SERVICES:
        twin = corpus.read_lines([service], ["twin"])
        assert pc.sum(twin["label"]).as_py() == 0
        assert len(twin) > 300


def test_the_example_logs_are_recordings_of_the_test_split():
    run = corpus.read_lines(["postgresql"], ["test"])
    run = run.filter(pc.equal(run["recording"], "postgresql-debian-109"))
    log = (ROOT / "examples" / "postgresql.log").read_text(encoding="utf-8")
    assert log == "\n".join(run["line"].to_pylist()) + "\n"
    for service in corpus.SERVICES:
        excerpt = (ROOT / "examples" / "logs" / f"{service}.log").read_text(encoding="utf-8")
        text = "\n".join(corpus.read_lines([service], ["test"])["line"].to_pylist()) + "\n"
        assert excerpt in text


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


def test_a_general_model_never_sees_the_services_that_only_test():
    parts = corpus.general()
    for split in corpus.SPLITS:
        assert not set(parts[split]["service"].to_pylist()) & set(corpus.TEST_ONLY)
    assert set(parts["unseen"]["service"].to_pylist()) == set(corpus.TEST_ONLY)


def test_leave_one_out_leaves_it_out():
    parts = corpus.leave_one_out("redis")
    assert "redis" not in parts["train"]["service"].to_pylist() + parts["validation"]["service"].to_pylist()
    assert set(parts["test"]["service"].to_pylist()) == {"redis"}
    assert not set(parts["train"]["service"].to_pylist()) & set(corpus.TEST_ONLY)


def test_within_a_service_no_recording_is_in_two_parts():
    parts = corpus.within_service("nginx")
    names = [name for part in parts.values() for name in set(part["recording"].to_pylist())]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("arguments", [(["apache", "iis"],), (["apache"], ["tests"])])
def test_unknown_names_are_named(arguments):
    with pytest.raises(ValueError, match="no such (service: iis|split: tests)"):
        corpus.read_lines(*arguments)


def window(*rows):
    return [{"time": at(second), "label": label} for second, label in rows]


def test_a_window_is_anomalous_by_a_line_or_by_an_interval_without_text():
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


# ---------------------------------------------------------------------- what any service shares


def test_a_follower_reads_lines_that_arrive_in_pieces(tmp_path):
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_bytes(b"")
    follower = lab.LogFollower(first, second)
    with first.open("ab", buffering=0) as log:
        log.write(b"one\nhal")
        time.sleep(0.05)
        second.write_bytes(b"other \xff\n")
        time.sleep(0.05)
        log.write(b"f\n")
    seen = follower.close()
    assert [line for _, line in seen] == ["one", "other \\xff", "half"]
    assert [moment for moment, _ in seen] == sorted(moment for moment, _ in seen)


def test_a_follower_refuses_half_a_line(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"whole\nhalf")
    with pytest.raises(ValueError, match="middle of a line: b'half'"):
        lab.LogFollower(log).close()


def test_lines_that_do_not_parse_continue_the_entry_above():
    def parse(line):
        return lab.Head(line, pid=3) if line.startswith("ERROR") else None

    entries = lab.split_entries([(at(1), "ERROR a"), (at(2), "\tat b"), (at(3), "ERROR c")], parse)
    assert [(entry.lines, entry.time, entry.pid) for entry in entries] == [
        (("ERROR a", "\tat b"), at(1), 3),
        (("ERROR c",), at(3), 3),
    ]


def test_words_are_a_cause_only_while_the_fault_is_on():
    rule = lab.says("connection (refused|lost)", grace=1)
    fault = interval("backend_killed", 10, 20)
    lost = harness.Entry(("backend: connection lost",), at(15), "connection lost")
    assert rule(lost, fault)
    assert rule(replace(lost, time=at(20.9)), fault)
    assert not rule(replace(lost, time=at(22)), fault)
    assert not rule(replace(lost, lines=("backend: connection made",)), fault)


# ---------------------------------------------------------------------- label rules, on entries made by hand

nginx = pytest.importorskip("recordings.nginx")
postgresql = pytest.importorskip("recordings.postgresql", reason="needs the extra `record`")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def entry(seconds, message, **fields):
    defaults = {"pid": 7, "process": "client backend", "remote_host": "127.0.0.2", "code": "00000", "severity": "LOG"}
    fields = defaults | {"statement": ""} | fields
    return harness.Entry(lines=(message,), time=at(seconds), message=message, **fields)


def cause(entry, *intervals):
    found = harness.find_cause(entry, intervals, {name: fault.rule for name, fault in postgresql.FAULTS.items()})
    return None if found is None else found.fault


def interval(fault, start, end, **fields):
    return harness.Interval(scenario=fault, fault=fault, visible="text", start=at(start), end=at(end), **fields)


def test_the_injectors_own_entries_are_anomalous():
    fault = interval("brute_force", 10, 20)
    wrong = entry(12, 'password authentication failed for user "app"', code="28P01")
    assert cause(wrong, fault) is None  # an ordinary client's slip, though a fault is on
    assert cause(replace(wrong, remote_host=harness.INJECTOR_ADDRESS), fault) == "brute_force"
    with pytest.raises(ValueError, match="before any fault"):
        cause(replace(wrong, remote_host=harness.INJECTOR_ADDRESS, time=at(1)), fault)


def test_what_a_touched_process_says_afterwards_is_anomalous():
    fault = interval("sessions_terminated", 10, 20, touched={7: at(12)})
    assert cause(entry(11, "duration: 3 ms"), fault) is None
    assert cause(entry(13, "terminating connection", code="57P01"), fault) == "sessions_terminated"


def test_exhausted_connections_blame_the_refused_only():
    fault = interval("connections_exhausted", 10, 20)
    assert cause(entry(15, "sorry, too many clients already", code="53300"), fault) == "connections_exhausted"
    assert cause(entry(15, "syntax error", code="42601"), fault) is None
    assert cause(entry(30, "sorry, too many clients already", code="53300"), fault) is None


def test_a_crash_takes_the_servers_own_lines_and_the_lost_sessions():
    fault = interval("backend_killed", 10, 20)
    assert cause(entry(15, "database system was interrupted", process="startup", remote_host=None), fault)
    assert cause(entry(15, "terminating connection because of crash", code="57P02"), fault)
    assert cause(entry(15, "duplicate key", code="23505"), fault) is None
    assert cause(entry(25, "checkpoint starting: time", process="checkpointer", remote_host=None), fault) is None


def test_a_step_without_fault_causes_nothing():
    restart = harness.Interval(scenario="clean_restart", fault=None, visible="text", start=at(10), end=at(20))
    stop = entry(15, "received fast shutdown request", process="postmaster", remote_host=None)
    assert cause(stop, restart) is None
    assert harness.scenario_at(at(15), [restart]) == "clean_restart"
    assert harness.scenario_at(at(25), [restart]) == "ordinary"


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


def test_every_fault_has_a_rule_and_a_way_to_show():
    for name in corpus.SERVICES:
        service = record.service_named(name)
        assert service.name == name
        assert len(service.settings) >= 2, name
        assert {fault.visible for fault in service.faults.values()} == {"text", "order", "silence"}, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name services or use --all"),
        (["nginx", "--all"], "name services or use --all"),
        (["iis"], "iis: the services are postgresql, "),
        (["nginx", "--settings", "debian"], "nginx knows combined, json, timed, not 'debian'"),
        (["nginx", "--duration", "0"], "0.0 s is not a time to record in"),
    ],
)
def test_the_command_names_what_is_wrong(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        record.main([*arguments, "--seed", "1", "--output", str(tmp_path)])
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, and the packages of recordings/install.sh")
@pytest.mark.parametrize("service", ["postgresql", "nginx"])
def test_record_one_run(service, tmp_path):
    """About a minute each. Install what it needs with recordings/install.sh."""
    command = [sys.executable, "-m", "recordings.record", service, "--seed", "3", "--duration", "40"]
    done = subprocess.run([*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [lines] = [path for path in tmp_path.glob(f"{service}-*-3.parquet") if "intervals" not in path.name]
    run = pq.read_table(lines)
    assert {field.name: field.type for field in run.schema} == SCHEMA
    assert len(run) > 500
    assert 0 < pc.mean(run["label"]).as_py() < 0.6
    assert pq.read_table(harness.intervals_path(lines)).num_rows > 0
