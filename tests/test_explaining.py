"""`logmoe explain` shows how a log is read, and what cannot be read is named, beside what can."""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from logmoe.inference import main

LOG = """no header at all
2026-03-12 06:25:01,104 INFO ready
2026-03-12 06:25:02,104 ERROR order 7 failed
Traceback (most recent call last):
  File "/srv/shop.py", line 7, in pay
shop.Declined: card
2026-03-12 06:25:03,104 done
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "server.log"
    path.write_text(LOG)
    return path


def explain(capsys, checkpoint, *arguments):
    code = main(["explain", "--model", str(checkpoint), *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_says_of_each_entry_how_it_was_read(capsys, checkpoint, log):
    code, out, _ = explain(capsys, checkpoint, log, "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(e["first_line"], e["last_line"], e["time"], e["severity"]) for e in entries] == [
        (1, 1, None, None),
        (2, 2, "2026-03-12T06:25:01.104", "INFO"),
        (3, 6, "2026-03-12T06:25:02.104", "ERROR"),
        (7, 7, "2026-03-12T06:25:03.104", None),
    ]
    assert entries[2]["text"] == "\n".join(LOG.splitlines()[2:6])
    assert entries[1]["masked"] == "<TIME> INFO ready"
    assert list(entries[0]) == ["first_line", "last_line", "time", "severity", "text", "masked"]


def test_text_names_the_format_and_shows_the_first_entries(capsys, checkpoint, tmp_path):
    path = tmp_path / "pod.log"
    path.write_text("".join(f"2026-03-12T06:25:{row:02}.104522123Z stderr F WARN slow {row}\n" for row in range(40)))
    code, out, _ = explain(capsys, checkpoint, path)
    assert code == 0
    assert "cri" in out
    assert out.count("WARNING") == 20
    assert out.count("| WARN slow") == 20
    assert explain(capsys, checkpoint, path, "--all")[1].count("| WARN slow") == 40


def test_a_clock_across_chunks_is_one_clock(capsys, checkpoint, tmp_path):
    """Day before month is decided once for a log, New Year is passed once."""
    path = tmp_path / "year.log"
    rows = [f"Dec 31 23:59:{row:02} edge1 app[7]: tick" for row in range(60)]
    path.write_text("\n".join([*rows, "Jan  1 00:00:00 edge1 app[7]: tock"]))
    lines = explain(capsys, checkpoint, path, "--json", "--all")[1].splitlines()
    assert json.loads(lines[-1])["time"].endswith("-01-01T00:00:00")
    assert len(lines) == 61


def test_a_terminal_that_cannot_show_a_character_does_not_end_it(checkpoint, tmp_path, monkeypatch):
    """As Python starts in such a terminal; test_inference.py has the whole command start in one."""
    path = tmp_path / "zh.log"
    path.write_text("2026-03-12 06:25:01 ERROR 磁盘已满\n", encoding="utf-8")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert main(["explain", str(path), "--model", str(checkpoint)]) == 0
    sys.stdout.flush()
    assert b"| 2026-03-12 06:25:01 ERROR \\u78c1\\u76d8" in shown.getvalue()


def test_entry_pattern_and_encoding(capsys, checkpoint, tmp_path):
    path = tmp_path / "gb.log"
    path.write_bytes("[开始] 一\n续\n[开始] 二\n".encode("gb18030"))
    options = ("--json", "--encoding", "gb18030", "--entry_pattern", r"^\[")
    code, out, _ = explain(capsys, checkpoint, path, *options)
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["[开始] 一\n续", "[开始] 二"]
    code, _, err = explain(capsys, checkpoint, path, "--encoding", "klingon")
    assert code == 2
    assert "'klingon'" in err
    code, _, err = explain(capsys, checkpoint, path, "--entry_pattern", "(")
    assert code == 2
    assert "not a valid RE2 pattern" in err


# ---------------------------------------------------------------------- what cannot be read

BINARIES = {
    "a Windows event log": b"ElfFile\x00" + bytes(4000),
    "a systemd journal": b"LPKSHHRH" + bytes(4000),
    "a zip archive": b"PK\x03\x04" + os.urandom(100),
    "a tar archive": bytes(257) + b"ustar\x0000" + bytes(300),
    "a Parquet file": b"PAR1" + os.urandom(100),
    "control characters": bytes(range(1, 32)) * 30,
}


@pytest.mark.parametrize("command", [["explain"], ["--sequences", "--lines", "9"]], ids=["explain", "scan"])
@pytest.mark.parametrize("kind", BINARIES)
def test_a_binary_file_is_named_and_the_rest_is_judged(capsys, checkpoint, log, tmp_path, command, kind):
    path = tmp_path / "what.bin"
    path.write_bytes(BINARIES[kind])
    assert main([*command, str(path), str(log), "--model", str(checkpoint), "--all"]) == 2
    out, err = capsys.readouterr()
    assert f"error: {path}: not a log, it is" in err
    assert kind in err
    assert "order 7 failed" in out


@pytest.mark.parametrize("command", [["explain"], ["--sequences", "--lines", "9"]], ids=["explain", "scan"])
def test_an_empty_file_among_others_is_passed_over(capsys, checkpoint, log, tmp_path, command):
    empty = tmp_path / "empty.log"
    empty.write_text("\n \n")
    assert main([*command, str(empty), str(log), "--model", str(checkpoint), "--all"]) == 0
    out, err = capsys.readouterr()
    assert f"skipped: no log entries in {empty}" in err
    assert "order 7 failed" in out
    assert main([*command, str(empty), "--model", str(checkpoint)]) == 2
    assert f"error: no log entries in {empty}" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_an_unreadable_folder_is_among_the_logs_so_that_reading_it_says_why():
    """As somebody who may not read it: root may read everything, and pytest's folders are its own."""
    with tempfile.TemporaryDirectory() as name:
        folder, closed = Path(name), Path(name) / "closed"
        folder.chmod(0o755)
        closed.mkdir()
        (folder / "server.log").write_text(LOG)
        (closed / "secret.log").write_text("ERROR hidden\n")
        closed.chmod(0)
        code = """
import os, sys, types
package = sys.modules["package"] = types.ModuleType("package")  # The file and what it uses, without a model.
package.__path__ = [sys.argv[2]]
from package.reading_logmoe import LogReader, find_logs
if not os.geteuid():
    os.seteuid(65534)
logs = find_logs(sys.argv[1])
print([os.path.basename(log) for log in logs])
for attempt in (lambda: list(LogReader(logs[0])), lambda: find_logs(logs[0] + "/secret.log")):
    try:
        attempt()
    except PermissionError as error:
        print(error)
"""
        done = subprocess.run([sys.executable, "-c", code, name, str(ROOT)], capture_output=True, text=True)
        closed.chmod(0o755)
    listed, *errors = done.stdout.splitlines()
    assert listed == "['closed', 'server.log']", done.stderr
    assert len(errors) == 2
    assert all("Permission denied" in error and str(closed) in error for error in errors)
