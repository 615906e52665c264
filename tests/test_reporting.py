"""Findings as text and as files: valid by their own standards, and harmless whatever a log holds."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import unicodedata
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree

import jsonschema
import pytest
from conftest import MINI, ROOT, run_command

from logmoe import answering, inference, reporting
from logmoe.console import Console
from logmoe.findings_command import FindingsRun
from logmoe.findings_logmoe import Finding, FindingEntry, Findings, LogSummary, Reason, Skipped, Summary
from logmoe.reading_logmoe import WithPauses
from logmoe.reporting import format_of, render, write

HOSTILE = (
    "a\x1b[2J\x07\x00\x7f\x9b \u202egnp\u2066 \ud800 \ufffe \u2028 ```` <script>alert(1)</script> ]]> & @everyone "
    "[x](http://evil.example) {0} | # \\ \U000e0041"
)
SCHEMA = json.loads((ROOT / "findings.schema.json").read_text())
FORMATS = ("text", "jsonl", "sarif", "junit", "markdown")


def entry(text="connection refused", **changed):
    given = FindingEntry(7, text, 0.5, 3, 5, 9, "2026-03-12T06:00:05.5", "2026-03-12T06:00:09Z", "<masked>")
    return replace(given, **changed)


def finding(text="connection refused", **changed):
    reasons = (Reason("new_entry", f"a new kind of entry: `{text}`", 2.0, 7), Reason("known_anomaly", "known", 0.1))
    given = Finding(
        id="0123456789ab",
        source="app.log",
        first_line=5,
        last_line=9,
        start="2026-03-12T06:00:05.5",
        end="2026-03-12T06:00:09.25",
        score=0.9,
        strength=2.0,
        healthy_rarity=0.005,
        mode="reference",
        reasons=reasons,
        entries=(entry(text), entry(text + "\n\tat b", line=9, count=1, share=0.2)),
    )
    return replace(given, **changed)


def log_summary(source="app.log", **changed):
    return replace(LogSummary(source, 100, 90, 3, 1, 1, "reference", 0.955, 0.01), **changed)


def findings_of(*found, logs=None, **changed):
    logs = (log_summary(findings=len(found)),) if logs is None else logs
    given = Summary(logs, (), "good.log", 5000, 0.01)
    return Findings(found, replace(given, **changed))


ORDINARY = findings_of(finding(), finding("disk full", id="ba9876543210", strength=1.0))
NOTHING = findings_of()
UNREAD = findings_of(logs=(), skipped=(Skipped("a.log.gz", "damaged"),))
BY_WORDING = findings_of(
    finding(reasons=(), mode="none", healthy_rarity=None, start=None, end=None, source=None),
    logs=(log_summary(None, mode="none", familiarity=None, kept_rate=None),),
    baseline=None,
    healthy_entries=None,
    promised_rate=None,
)
SESSIONS = findings_of(finding(sessions=7, session_names=("blk_1", "blk_2")))
MALICIOUS = findings_of(
    finding(HOSTILE, source=f"{HOSTILE}.log", sessions=1, session_names=(HOSTILE,)),
    logs=(log_summary(f"{HOSTILE}.log", familiarity=0.1),),
    skipped=(Skipped(HOSTILE, HOSTILE),),
    baseline=HOSTILE,
)
ALL = {
    "ordinary": ORDINARY,
    "nothing": NOTHING,
    "unread": UNREAD,
    "wording": BY_WORDING,
    "sessions": SESSIONS,
    "malicious": MALICIOUS,
}
each = pytest.mark.parametrize("findings", ALL.values(), ids=ALL)


# ---------------------------------------------------------------------- by their own standards


@each
def test_json_lines_are_as_the_schema_says(findings):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    records = [json.loads(line) for line in render(findings, "jsonl").splitlines()]
    assert [record["type"] for record in records] == ["finding"] * len(findings) + ["summary"]
    for record in records:
        jsonschema.validate(record, SCHEMA, jsonschema.Draft202012Validator)
        declared = SCHEMA["$defs"][record["type"]]["properties"]
        # Nothing is given that the schema does not explain; lines around were not asked for, services not told apart.
        assert list(record) == [name for name in declared if name not in ("service", "context", "context_note")]
    for of, record in zip(findings, records, strict=False):
        assert record["entries"][0]["text"] == of.entries[0].text
        assert list(record["entries"][0]) == list(SCHEMA["$defs"]["entry"]["properties"])
        assert all(list(reason) == list(SCHEMA["$defs"]["reason"]["properties"]) for reason in record["reasons"])
    assert all(set(log) == set(SCHEMA["$defs"]["log"]["properties"]) for log in records[-1]["logs"])


def test_the_schema_refuses_what_is_wrong():
    record = json.loads(reporting.finding_record(finding()))
    for wrong in ({"id": "x"}, {"first_line": 0}, {"score": 2}, {"type": "guess"}, {"mode": "magic"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(record | wrong, SCHEMA)


@each
def test_sarif_is_valid_by_the_official_schema(findings):
    # Of OASIS, as the SchemaStore has it: json.schemastore.org/sarif-2.1.0.json.
    schema = json.loads((ROOT / "tests" / "data" / "sarif-schema-2.1.0.json").read_text())
    log = json.loads(render(findings, "sarif"))
    jsonschema.validate(log, schema, jsonschema.Draft7Validator)
    (run,) = log["runs"]
    assert len(run["results"]) == len(findings)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for of, result in zip(findings, run["results"], strict=True):
        assert result["partialFingerprints"] == {"logmoeFinding/v1": of.id, "primaryLocationLineHash": f"{of.id}:1"}
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["region"] == {"startLine": of.first_line, "endLine": of.last_line}
        assert [at["physicalLocation"]["region"]["startLine"] for at in result["relatedLocations"]] == [7, 9]
        assert "](" not in result["message"]["text"]
    assert run["invocations"][0]["executionSuccessful"] == (not findings.summary.skipped)


def test_sarif_names_files_by_uris():
    for source, uri in (
        ("a b/ü#1.log", "a%20b/%C3%BC%231.log"),
        ("/var/x.log", "file:///var/x.log"),
        ("c:d", "c%3Ad"),
    ):
        log = json.loads(render(findings_of(finding(source=source)), "sarif"))
        place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == uri


@each
def test_junit_is_xml_that_its_readers_read(findings):
    from junitparser import JUnitXml

    text = render(findings, "junit")
    root = ElementTree.fromstring(text)
    assert int(root.get("failures")) == len(findings)
    assert int(root.get("errors")) == len(findings.summary.skipped)
    assert int(root.get("tests")) == max(1, len(findings) + len(findings.summary.skipped))
    assert len(list(JUnitXml.fromstring(text))) == len(root)
    for of, failure in zip(findings, root.iter("failure"), strict=True):
        assert of.id in failure.text


def test_markdown_shows_the_first_ones():
    many = [finding(id=f"{row:012x}", strength=-row) for row in range(30)]
    text = render(findings_of(*many), "markdown")
    assert text.count("Something new") == 20
    assert "10 more not shown." in text
    assert render(findings_of(*many), "markdown", limit=3).count("Something new") == 3
    long = [replace(of, entries=tuple(entry("x" * 10_000) for _ in range(10))) for of in many]
    assert len(render(findings_of(*long), "markdown")) < 65_536


# ---------------------------------------------------------------------- whatever a log holds


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_controls_or_deceives(form):
    text = render(MALICIOUS, form)
    text.encode("utf-8")  # no lone surrogates
    bad = [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char != "\n"]
    assert bad == []
    assert "alert(1)" in text


def test_markdown_holds_no_markup_of_a_log():
    """Every line that shows something of the log is in a block or a span of code."""
    outside, fence = [], None
    for line in render(MALICIOUS, "markdown").splitlines():
        if fence is None and line.startswith("```") and line.count("`") == len(line.removesuffix("text")):
            fence = line.removesuffix("text")
        elif line == fence:
            fence = None
        elif fence is None:
            outside.append(line)
    assert fence is None
    for line in outside:
        spans = line
        while (start := spans.find("`")) >= 0:
            ticks = len(spans[start:]) - len(spans[start:].lstrip("`"))
            end = spans.index("`" * ticks, start + ticks)
            spans = spans[:start] + spans[end + ticks :]
        assert not set("<@[#`") & set(spans.removeprefix("### ")), line


# ---------------------------------------------------------------------- text


def test_the_answer_first_then_detail():
    assert list(answering.answer(ORDINARY)) == [
        "app.log: 2 findings in 100 lines (90 entries); judged against good.log (5,000 healthy entries, 95% of this "
        "log is familiar)",
        "",
        "1. lines 5-9; 2026-03-12 06:00:05 to 06:00:09; at most 1 in 200 healthy sequences is as odd; id 0123456789ab",
        "   a new kind of entry: `connection refused`",
        "     50%  3 times, lines 5-9  connection refused",
        "     20%  line 9  connection refused (+1 line)",
        "",
        "2. lines 5-9; 2026-03-12 06:00:05 to 06:00:09; at most 1 in 200 healthy sequences is as odd; id ba9876543210",
        "   a new kind of entry: `disk full`",
        "     50%  3 times, lines 5-9  disk full",
        "     20%  line 9  disk full (+1 line)",
        "",
        "1 of 3 sequences anomalous; at most 1% of healthy ones would be",
    ]
    limited = list(answering.answer(ORDINARY, limit=1))
    assert limited[5:8] == [
        "     20%  line 9  connection refused (+1 line)",
        "",
        "1 more finding not shown (--limit N, --all)",
    ]
    assert "ba9876543210" not in "\n".join(limited)
    assert list(answering.answer(UNREAD)) == ["nothing was judged", "", "skipped a.log.gz: damaged"]
    assert next(answering.answer(NOTHING)).startswith("app.log: no findings in 100 lines")


def test_the_same_trouble_at_several_places_is_told_once():
    places = [finding(first_line=line, last_line=line + 3, strength=-line) for line in (9, 20, 30, 40, 50)]
    other = finding(first_line=60, last_line=60, strength=-60, id="f" * 12)
    text = list(answering.answer(findings_of(*places, other), limit=1))
    assert sum(line.startswith(("1. ", "2. ")) for line in text) == 1
    assert "   the same at lines 20-23, lines 30-33, lines 40-43 and 1 more place" in text
    assert "1 more finding not shown (--limit N, --all)" in text


def test_what_was_skipped_is_named_once():
    gone = Skipped("a\x1b.log", "a\x1b.log: No such file or directory")
    told = answering.skipped(Summary(skipped=(gone, Skipped("b.log", "it is empty"))))
    assert told == ["skipped a\\x1b.log: No such file or directory", "skipped b.log: it is empty"]


def test_notes_count_in_words():
    """One thing is one, and more are more; what is not there is not said."""
    names = ("replaced_bytes", "truncated_entries", "oversized_entries", "split_sessions")
    one = "\n".join(answering.notes(log_summary(**dict.fromkeys(names, 1))))
    assert all(f": 1 {words} " in one for words in ("byte is", "entry is", "line or entry is", "session was"))
    more = "\n".join(answering.notes(log_summary(**dict.fromkeys(names, 1200))))
    said = ("bytes are", "entries are", "lines or entries are", "sessions were")
    assert all(f": 1,200 {words} " in more for words in said)
    assert answering.notes(log_summary()) == []


def test_a_log_much_of_which_stands_out_is_told_to_be_compared():
    """Each for itself, by itself alone, and where findings are shown."""
    out = log_summary("a.log", mode="self", sequences=30, anomalous_sequences=8, findings=1)
    quarter = replace(out, source="b.log", sequences=32)
    worded = replace(out, source="c.log", mode="none")
    accepted = replace(out, findings=0, accepted=1)
    against_healthy = replace(out, mode="reference")
    for logs, told in (
        ([out], "27% of this log stands out: the stages"),
        ([quarter], None),
        ([quarter, out, worded], "27% of a.log stands out: the stages"),
        ([out, replace(out, source="b.log"), quarter], "more than a quarter of each of 2 logs stands out, f"),
        ([worded], None),
        ([accepted], None),
        ([against_healthy], None),
    ):
        findings = findings_of(finding(), logs=tuple(logs))
        said = "\n".join(answering.answer(findings))
        assert ("stages of a job" in said) == (told is not None)
        assert told is None or told in said
        for kind in ("markdown", "html"):
            assert ("stages of a job" in render(findings, kind)) == (told is not None)


def test_a_log_that_is_not_in_the_order_of_time_is_told_so():
    assert not answering.notes(log_summary(backward_entries=4))
    (note,) = answering.notes(log_summary(backward_entries=5))
    assert note.startswith(
        "app.log: 5 of 90 entries are older than the one before: this log is not in the order of time"
    )
    (note,) = answering.notes(log_summary(backward_entries=89))
    assert "this log has its newest entries first, so order, pace and silence tell nothing; turn it round" in note


def test_words_for_every_way_of_judging():
    said = "\n".join(answering.answer(BY_WORDING))
    assert said.startswith(
        "standard input: 1 finding in 100 lines (90 entries); too short to have habits (90 entries)"
    )
    assert "1. lines 5-9; anomaly 0.90; id " in said
    assert said.endswith("compare with the log of a run that went well (--baseline GOOD)")
    assert "--baseline" not in "\n".join(answering.answer(BY_WORDING, can_measure=False))
    assert "--baseline" not in "\n".join(answering.answer(ORDINARY))
    assert "7 sessions (blk_1, blk_2 and 5 more)" in "\n".join(answering.answer(SESSIONS))
    yearless = finding(start="--03-12T23:59:59", end="--03-13T00:00:01")
    assert answering.when(yearless) == "03-12 23:59:59 to 03-13 00:00:01"
    of_two = finding(start="2026-03-12T10:00:00", end="2026-03-12T10:00:02Z")  # one of its writers says its zone
    assert answering.when(of_two) == "2026-03-12 10:00:00 to 10:00:02"
    two = (log_summary("a.log", mode="self"), log_summary("b.log", mode="none"))
    assert "each judged against itself, or, where it is too short (1 log), by" in answering.headline(Summary(two))
    start = findings_of(logs=(log_summary(familiarity=0.78, findings=0),), healthy_familiarity=0.79)
    advice = "22% of these entries are new to the healthy log; so are 21% of its own to the rest of it"
    *_, said = answering.answer(start)
    assert advice in said
    assert advice in render(start, "markdown")
    assert f"No all-clear: {advice}" in render(start, "html")
    assert said.endswith("or none (without --baseline a log is judged against itself)")
    *_, said = answering.answer(start, can_measure=False)
    assert said.endswith("Give a longer healthy log")
    for known, own, found, left_out in (
        (0.95, 0.5, (), 0),
        (0.5, 0.9, (), 0),
        (0.5, None, (), 0),
        (0.5, 0.5, (finding(),), 0),
        (0.5, 0.5, (), 1),
    ):
        logs = (log_summary(familiarity=known, findings=len(found), accepted=left_out),)
        others = findings_of(*found, logs=logs, healthy_familiarity=own)
        assert "all-clear" not in "\n".join(answering.answer(others))
    misfit = findings_of(logs=(log_summary(familiarity=0.1), log_summary("b.log")))
    first, second, *_ = answering.answer(misfit)
    familiar = "only 10% of its entries are familiar; or most of it is trouble"
    assert first == f"app.log: this reference does not fit this log: {familiar}"
    assert second.startswith("2 logs: ")


def test_text_fits_a_terminal_and_is_whole_elsewhere():
    long = findings_of(finding("word " * 200))
    shown = list(answering.answer(long, width=80))
    assert max(map(len, shown[1:])) <= 80
    whole = "\n".join(answering.answer(long))
    assert "word " * 200 in whole
    assert "…" not in whole


# ---------------------------------------------------------------------- files


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    write("old", str(path))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    (tmp_path / "link.md").symlink_to(path)
    write("new", str(tmp_path / "link.md"))
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o640)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write("newer", str(path))
    assert path.read_text() == "new"
    assert sorted(of.name for of in tmp_path.iterdir()) == ["link.md", "report.md"]


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe.md").read_text()))
    reader.start()
    write("through", str(tmp_path / "pipe.md"))
    reader.join(10)
    assert read == ["through"]


def test_formats_by_extension():
    assert {format_of(f"a/b{extension}") for extension in (".txt", ".jsonl", ".SARIF", ".xml", ".md")} == set(FORMATS)
    with pytest.raises(ValueError, match=r"'report.pdf'.*\.sarif \(sarif\)"):
        format_of("report.pdf")


@pytest.mark.parametrize(("form", "library"), [("sarif", "sarif_pydantic.sarif"), ("junit", "junitparser")])
def test_without_its_library_a_format_says_how_to_get_it(form, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'logmoe\[report\]'"):
        render(NOTHING, form)
    assert all(render(NOTHING, other) for other in FORMATS if other not in ("sarif", "junit"))


# ---------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def general():
    return inference.load_pipeline(MINI, device="cpu")


@pytest.fixture
def run(general, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "load_pipeline", lambda *_, **__: general)

    def run(*arguments):
        code = inference.main([str(ROOT / "examples" / "apache-faulty.log"), *arguments])
        return code, *capsys.readouterr()

    return run


BASELINE = ["--baseline", str(ROOT / "examples" / "apache-healthy.log")]


def test_reports_of_a_real_log(run, tmp_path):
    outputs = [f"report{extension}" for extension in reporting.EXTENSIONS]
    code, out, err = run(*BASELINE, "--by", "time", *[word for name in outputs for word in ("-o", name)])
    assert (code, err) == (0, "")
    assert [line.split(";")[0] for line in out.splitlines() if line[:2] in ("1.", "2.", "3.")] == [
        "1. lines 115-210",
        "2. lines 985-1036",
        "3. lines 1161-1288",
    ]
    assert (tmp_path / "report.txt").read_text() == out
    records = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    for record in records:
        jsonschema.validate(record, SCHEMA)
    assert [record["first_line"] for record in records[:3]] == [115, 985, 1161]
    assert records[3]["logs"][0]["source"].endswith("apache-faulty.log")
    ids = [record["id"] for record in records[:3]]
    for name in outputs:
        text = (tmp_path / name).read_text()
        assert name == "report.md" or all(of in text for of in ids)
    for form in ("jsonl", "sarif", "junit", "markdown"):
        extension = {what: name for name, what in reporting.EXTENSIONS.items()}[form]
        assert run(*BASELINE, "--by", "time", "--format", form)[1] == (tmp_path / f"report{extension}").read_text()


def test_what_cannot_be_written_is_said_before_the_work(run, general, monkeypatch):
    monkeypatch.setattr(general, "scan", None)
    for wrong, said in (("report.pdf", ".sarif"), ("nowhere/report.md", "there is no folder nowhere")):
        code, out, err = run("-o", wrong)
        assert (code, out) == (2, "")
        assert said in err


def test_limit_and_all(run):
    assert "1 more finding not shown (--limit N, --all)" in run("--limit", "2")[1]
    assert "not shown" not in run("--limit", "2", "--all")[1]


def test_logs_that_cannot_be_read_are_in_every_report(run, tmp_path):
    (tmp_path / "bad.log.gz").write_bytes(b"\x1f\x8bnot gzip at all")
    (tmp_path / "blank.log").write_text("\n\n")
    code, out, err = run("bad.log.gz", "blank.log", "nowhere.log", "--format", "jsonl")
    assert code == 2
    skipped = json.loads(out.splitlines()[-1])["skipped"]
    assert [log["source"] for log in skipped] == ["bad.log.gz", "nowhere.log", "blank.log"]
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error", "skipped"]


def test_what_was_found_so_far_is_said_when_it_is_interrupted(general, tmp_path, capsys):
    for name in ("first", "second"):
        (tmp_path / name).write_bytes((ROOT / "examples" / "apache-faulty.log").read_bytes())

    def start(log, _):
        if log.endswith("second"):
            raise KeyboardInterrupt
        return general.scan(log, only_anomalies=True)

    with pytest.raises(KeyboardInterrupt):
        FindingsRun(start, Console()).run([str(tmp_path / "first"), str(tmp_path / "second")])
    assert "first: 3 findings in 1,436 lines" in capsys.readouterr().out


# ---------------------------------------------------------------------- streams


def test_pauses():
    def results():
        yield 1
        yield 2
        time.sleep(0.6)
        yield 3
        raise ValueError("broken")

    given = WithPauses(results(), 0.2)
    assert [next(given) for _ in range(4)] == [1, 2, None, 3]
    with pytest.raises(ValueError, match="broken"):
        next(given)


@pytest.mark.parametrize("form", ["text", pytest.param("jsonl", marks=pytest.mark.slow)])
def test_a_stream_answers_while_it_is_open(form):
    """A finding comes when the stream pauses, and the summary when it ends."""
    command = [sys.executable, str(ROOT / "inference.py"), "-", *BASELINE, "--format", form, "--device", "cpu"]
    lines = (ROOT / "examples" / "apache-faulty.log").read_bytes().splitlines(keepends=True)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"".join(lines[960:1100]))
        process.stdin.flush()
        first = [process.stdout.readline().decode() for _ in range(3 if form == "text" else 1)]
        if form == "text":
            assert first[0].startswith("standard input: judged against ")
            assert first[2].startswith("1. lines ")
        else:
            assert json.loads(first[0])["type"] == "finding"
            assert json.loads(first[0])["source"] is None
        process.stdin.close()
        rest = process.stdout.read().decode()
        assert process.wait(60) == 0
    if form == "text":
        assert "\nstandard input: 1 finding in 140 lines; judged against " in rest
    else:
        summary = json.loads(rest.splitlines()[-1])
        assert (summary["type"], summary["lines"], summary["findings"]) == ("summary", 140, 1)


def test_a_followed_log_ends_quietly_when_it_is_interrupted(tmp_path):
    log, report = tmp_path / "app.log", tmp_path / "report.jsonl"
    log.write_bytes(
        b"".join((ROOT / "examples" / "apache-faulty.log").read_bytes().splitlines(keepends=True)[960:1100])
    )
    arguments = [
        str(log),
        "--follow",
        "--from-start",
        *BASELINE,
        "--format",
        "jsonl",
        "-o",
        str(report),
        "--device",
        "cpu",
    ]
    command = [sys.executable, str(ROOT / "inference.py"), *arguments]
    # A shell that starts the tests in the background has them ignore the signal, and all that they start.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds) as process:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    last = json.loads(rest.splitlines()[-1])
    assert (last["type"], last["findings"]) == ("summary", 1)
    assert [json.loads(line) for line in report.read_text().splitlines()] == [first, last]


def test_lines_around_on_the_command_line(run, tmp_path):
    code, out, _ = run(*BASELINE, "--context", "1", "--limit", "1", "-o", "report.jsonl")
    assert code == 0
    (first,) = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()][:1]
    telling = [line for line in first["context"] if line["share"]]
    assert telling
    log = (ROOT / "examples" / "apache-faulty.log").read_text().splitlines()
    for line in first["context"]:
        assert log[line["line"] - 1] == line["text"]
        mark = ">" if line["share"] else " "
        assert f"\n   {mark} {line['line']}  {line['text']}" in out
    code, _, err = run("-", "--context", "1")
    assert (code, "--context reads a log once more" in err) == (2, True)


def test_what_is_said_is_visible_and_json_has_no_nan(capsys, monkeypatch):
    """All through one function: names of files and labels, texts of errors, bars."""
    shown = Console(is_verbose=True)
    shown.note(HOSTILE + "\nerror: forged")
    shown.effort(HOSTILE)
    shown.note(f"{HOSTILE}\nerror: forged", "error")
    shown.error(ValueError(HOSTILE + "\nerror: forged"))
    said = capsys.readouterr().err
    assert {c for c in said if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} == {"\n"}
    assert not {"\ufffe"} & set(said)
    assert said.count("\nerror: forged") == 1  # by the last line of the traceback alone
    monkeypatch.setattr(Console, "shows_progress", True)
    with shown.progress(HOSTILE) as bar:
        assert "\x1b" not in bar.desc
    with pytest.raises(ValueError, match="Out of range float"):
        render(findings_of(finding(score=float("nan"))), "jsonl")


def test_markdown_of_findings_from_a_file_holds_no_markup():
    """Times and kinds are ours unless somebody else wrote the file."""
    report = render(findings_of(finding(start="[x](http://evil.example) \x1b[2J", end="**b**")), "markdown")
    assert "\x1b" not in report
    assert "`[x](http://evil.example) \\x1b[2J to **b**" in report


def assert_visible(text):
    """Nothing in it controls a terminal, deceives its reader or is no text."""
    assert {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n"}
    text.encode()


@pytest.mark.parametrize("form", [*FORMATS, "html"])
def test_whatever_field_holds_it_nothing_raw_is_in_a_report(form):
    """Names of logs, labels, kinds, ids and times may come from a file that somebody else wrote."""
    texts = dict.fromkeys(("id", "source", "start", "end", "mode"), HOSTILE)
    told = (Reason(HOSTILE, HOSTILE, 2.0, 7), Reason(HOSTILE + "2", HOSTILE, 1.0))
    where = entry(HOSTILE, masked=HOSTILE, first_time=HOSTILE, last_time=HOSTILE)
    found = finding(**texts, reasons=told, entries=(where,), sessions=2, session_names=(HOSTILE,))
    given = findings_of(found, logs=(log_summary(HOSTILE),), skipped=(Skipped(HOSTILE, HOSTILE),), baseline=HOSTILE)
    assert_visible(render(given, form).replace("\t" if form == "junit" else "\n", " "))


def test_a_models_name_and_its_labels_are_shown_harmlessly(checkpoint, tmp_path, capsys):
    (tmp_path / "a.log").write_text("a\n")
    name = "evil\x1b]0;title\x07\n\u202emodel"
    assert run_command("scan", tmp_path / "a.log", model=tmp_path / name) == 2
    config = json.loads((checkpoint / "config.json").read_text())
    labels = {"id2label": {"0": "normal", "1": "\x1b[2J\u202e"}, "label2id": {"normal": 0, "\x1b[2J\u202e": 1}}
    (checkpoint / "config.json").write_text(json.dumps(config | labels))
    assert run_command("scan", tmp_path / "a.log", model=checkpoint) == 2
    said = capsys.readouterr().err
    assert "`id2label` must be" in said
    assert "evil\\x1b]0;title\\x07" in said
    assert_visible(said)
