"""Findings read back from JSON lines: written again they are the same, and whatever is wrong is named by its line."""

import copy
import io
import json
from types import SimpleNamespace

import jsonschema
import pytest
from conftest import run_command
from test_reporting import BY_WORDING, FORMATS, MALICIOUS, NOTHING, ORDINARY, SCHEMA, SESSIONS, UNREAD, finding

from logmoe.findings_logmoe import Expired, Findings
from logmoe.reporting import jsonl, render
from logmoe.reports import read_findings

ALL = {
    "ordinary": ORDINARY,
    "nothing": NOTHING,
    "unread": UNREAD,
    "by wording": BY_WORDING,
    "sessions": SESSIONS,
    "malicious": MALICIOUS,
}
RECORDS = [json.loads(line) for line in jsonl(ORDINARY).splitlines()]


@pytest.fixture
def written(tmp_path):
    def written(text, name="findings.jsonl"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return written


def lines_of(records):
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("name", ALL)
def test_what_was_written_is_read_back(name, written):
    read = read_findings([written(jsonl(ALL[name]))])
    assert list(read) == list(ALL[name])
    assert read.summary == ALL[name].summary
    for form in FORMATS:
        assert render(read, form) == render(ALL[name], form)


def test_what_is_new_to_the_summary_is_read_back(written):
    (log,) = ORDINARY.summary.logs
    logs = (type(log)(**vars(log) | {"accepted": 2, "expired": (Expired("f" * 12, "2026-01-01"),)}),)
    summary = type(ORDINARY.summary)(**vars(ORDINARY.summary) | {"logs": logs})
    assert read_findings([written(jsonl(Findings(ORDINARY, summary)))]).summary == summary


def test_keys_and_types_of_later_versions_are_passed_over(written):
    records = [record | {"later": [1]} for record in RECORDS]
    read = read_findings([written(lines_of([*records, {"type": "later"}]))])
    assert list(read) == list(ORDINARY)


def test_several_runs_become_one_report(written):
    other = Findings([finding(id="c" * 12, source="b.log")], BY_WORDING.summary)
    read = read_findings([written(jsonl(ORDINARY)), written(jsonl(other) + jsonl(UNREAD), "others.jsonl")])
    assert {of.id for of in read} == {of.id for of in (*ORDINARY, *other)}
    assert [log.source for log in read.summary.logs] == ["app.log", None]
    assert [log.source for log in read.summary.skipped] == ["a.log.gz"]
    assert read.summary.baseline == "several healthy logs"
    assert read.summary.healthy_entries is read.summary.promised_rate is None
    for form in FORMATS:
        assert render(read, form)


def changes():
    """Records with one value each that is wrong, and the name of what is wrong."""
    for row, path, wrong in (
        (0, ("id",), "0123"),
        (0, ("id",), None),
        (0, ("first_line",), 0),
        (0, ("first_line",), 2.5),
        (0, ("first_line",), True),
        (0, ("last_line",), "9"),
        (0, ("score",), 1.5),
        (0, ("score",), None),
        (0, ("healthy_rarity",), -0.1),
        (0, ("mode",), "guess"),
        (0, ("source",), 7),
        (0, ("start",), 7),
        (0, ("reasons",), None),
        (0, ("reasons", 0, "text"), 7),
        (0, ("reasons", 0, "weight"), "much"),
        (0, ("entries", 1, "share"), 2),
        (0, ("entries", 1, "masked"), None),
        (0, ("entries", 1, "line"), 0),
        (0, ("session_names",), [7]),
        (2, ("logs",), {}),
        (2, ("logs", 0, "mode"), "guess"),
        (2, ("logs", 0, "lines"), -1),
        (2, ("skipped",), ["a.log"]),
        (2, ("promised_rate",), "1%"),
        (2, ("promised_rate",), 0),
        (2, ("promised_per_day",), 0),
        (2, ("promised_per_day",), -1),
    ):
        records = copy.deepcopy(RECORDS)
        of = records[row]
        for name in path[:-1]:
            of = of[name]
        of[path[-1]] = wrong
        yield pytest.param(records, row, str(path[-1]), id=f"{'.'.join(map(str, path))}={wrong}")
        if len(path) == 1 and path[0] not in ("promised_rate", "promised_per_day", "session_names"):  # may be left out
            records = copy.deepcopy(RECORDS)
            del records[row][path[0]]
            yield pytest.param(records, row, path[0], id=f"no {path[0]}")


@pytest.mark.parametrize(("records", "row", "name"), list(changes()))
def test_a_wrong_value_is_named(records, row, name, written):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(records[row], SCHEMA)
    path = written(lines_of(records))
    with pytest.raises(ValueError, match=rf"line {row + 1}: \".*{name}\b") as refused:
        read_findings([path])
    assert str(refused.value).startswith(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "does not end with a summary"),
        (jsonl(ORDINARY).splitlines()[0], "does not end with a summary"),
        (jsonl(ORDINARY)[:-40], "line 3: no JSON"),
        ("7\n", "line 1: a JSON object is needed, got 7"),
        ("{}\n", 'line 1: "type" must say'),
        ("\n" + "[" * 200_000, "line 2: "),
        (b'{"type": "\xff"}', "line 1: not UTF-8"),
        (jsonl(ORDINARY).replace('"strength": 2.0', '"strength": NaN'), "line 1: no JSON"),
        (jsonl(ORDINARY).replace('"strength": 2.0', '"strength": 1e999'), 'line 1: "strength" must be a finite'),
        (jsonl(ORDINARY).replace('"first_line": 5,', f'"first_line": {10**30},', 1), 'line 1: "first_line"'),
        (jsonl(ORDINARY).replace('"last_line": 9,', '"last_line": 4,', 1), 'line 1: "last_line" 4 comes before'),
    ],
)
def test_files_that_hold_no_findings(text, said, written, capsys):
    path = written(text)
    assert run_command("report", path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path}")
    assert said in err


def test_reports_are_written_and_printed(written, tmp_path, capsys, monkeypatch):
    path = written(jsonl(ORDINARY))
    wanted = {"report.html": "html", "report.sarif": "sarif", "report.xml": "junit", "report.md": "markdown"}
    assert run_command("report", path, output=[str(tmp_path / name) for name in wanted]) == 0
    assert capsys.readouterr().out == ""
    for name, form in wanted.items():
        assert (tmp_path / name).read_text() == render(ORDINARY, form)
    assert run_command("report", path, fail_on_finding=True) == 1
    assert capsys.readouterr().out == render(ORDINARY, "text")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(jsonl(ORDINARY).encode())))
    assert run_command("report", "-", format="markdown") == 0
    assert capsys.readouterr().out == render(ORDINARY, "markdown")
    assert run_command("report", path, output=["report.pdf"]) == 2
    assert "its name must end in" in capsys.readouterr().err
    assert run_command("report", path, by="size") == 2


def test_what_cannot_be_written_keeps_nothing_else_from_it(written, tmp_path, capsys):
    path = written(jsonl(ORDINARY))
    (tmp_path / "full.md").symlink_to("/dev/full")
    (tmp_path / "folder.md").mkdir()
    one, full = tmp_path / "one.md", tmp_path / "full.md"
    assert run_command("report", path, output=[str(full), str(one)]) == 2
    assert capsys.readouterr().err.count(f"error: cannot write {full}: No space left on device") == 1
    assert one.read_text() == render(ORDINARY, "markdown")
    one.unlink()
    for wrong, said in (("folder.md", "it is a folder"), ("none/report.md", "there is no folder")):
        assert run_command("report", path, output=[str(one), str(tmp_path / wrong)]) == 2
        assert f"error: cannot write {tmp_path / wrong}: {said}" in capsys.readouterr().err
        assert not one.exists()  # for that is known before the work
