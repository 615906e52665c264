"""The shipped recordings, and the rules by which the recorder labels."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT))  # the recorder is no part of the installed package

RECORDINGS = ROOT / "recordings"
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
    return pq.read_table(RECORDINGS / "postgresql.parquet")


@pytest.fixture(scope="module")
def intervals():
    return pq.read_table(RECORDINGS / "postgresql_intervals.parquet")


def test_checksums():
    for row in (RECORDINGS / "SHA256SUMS").read_text().splitlines():
        digest, name = row.split()
        assert hashlib.sha256((RECORDINGS / name).read_bytes()).hexdigest() == digest


def test_schema(lines, intervals):
    assert {field.name: field.type for field in lines.schema} == SCHEMA
    assert intervals.column_names == ["service", "recording", "scenario", "fault", "start", "end", "visible"]
    assert set(intervals["visible"].to_pylist()) <= {"text", "order", "silence"}
    assert not pc.any(pc.match_substring_regex(lines["line"], "\n")).as_py()


def test_whole_runs_are_split(lines):
    runs = lines.group_by(["recording", "split"]).aggregate([])
    assert len(set(runs["recording"].to_pylist())) == len(runs)
    assert set(runs["split"].to_pylist()) == {"train", "validation", "test"}
    for recording in set(runs["recording"].to_pylist()):
        numbers = lines.filter(pc.equal(lines["recording"], recording))["line_number"].to_pylist()
        assert numbers == list(range(1, len(numbers) + 1))


def test_labels_and_faults_go_together(lines, intervals):
    for label, fault in zip(lines["label"].to_pylist(), lines["fault"].to_pylist(), strict=True):
        assert label in (0, 1)
        assert (label == 1) == (fault is not None)
    share = pc.mean(lines["label"]).as_py()
    assert 0.08 < share < 0.3
    assert set(pc.unique(pc.drop_null(lines["fault"])).to_pylist()) <= set(intervals["fault"].to_pylist())
    assert len(set(intervals["fault"].to_pylist())) >= 5


def test_anomalous_lines_lie_in_the_interval_of_their_fault(lines, intervals):
    spans = {}
    for row in intervals.to_pylist():
        spans.setdefault((row["recording"], row["fault"]), []).append((row["start"], row["end"]))
    slack = 1.0  # seconds: what a fault leaves to be written after it is healed
    anomalous = lines.filter(pc.equal(lines["label"], 1)).select(["recording", "fault", "time"]).to_pylist()
    outside = [
        row
        for row in anomalous
        if not any(
            (start - row["time"]).total_seconds() <= slack and (row["time"] - end).total_seconds() <= slack
            for start, end in spans[row["recording"], row["fault"]]
        )
    ]
    assert outside == []


def test_the_example_log_is_a_recording_of_the_test_split(lines):
    run = lines.filter(pc.equal(lines["recording"], "postgresql-debian-4"))
    assert set(run["split"].to_pylist()) == {"test"}
    log = (ROOT / "examples" / "postgresql.log").read_text(encoding="utf-8")
    assert log == "\n".join(run["line"].to_pylist()) + "\n"


# ---------------------------------------------------------------------- label rules, on entries made by hand

harness = pytest.importorskip("recordings.harness")
postgresql = pytest.importorskip("recordings.postgresql", reason="needs the extra `record`")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def entry(seconds, message, **fields):
    defaults = {"pid": 7, "process": "client backend", "remote_host": "127.0.0.2", "code": "00000", "severity": "LOG"}
    fields = defaults | {"statement": ""} | fields
    return harness.Entry(lines=(message,), time=at(seconds), message=message, **fields)


def cause(entry, *intervals):
    found = harness.find_cause(entry, intervals, postgresql.RULES)
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


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not list(Path("/usr/lib").glob("postgresql/*/bin/postgres")),
    reason="needs root and PostgreSQL",
)
def test_record_one_run(tmp_path):
    """About a minute. Install what it needs with recordings/install.sh."""
    output = tmp_path / "run.parquet"
    command = [sys.executable, "-m", "recordings.record", "postgresql", "--seed", "3", "--duration", "40"]
    done = subprocess.run([*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = pq.read_table(output)
    assert {field.name: field.type for field in run.schema} == SCHEMA
    assert len(run) > 500
    assert 0 < pc.mean(run["label"]).as_py() < 0.6
