"""What no finding tells and yet deserves a look: a new kind of entry in a log that is usual but for it."""

import dataclasses
import io
import json

import jsonschema
import numpy as np
import pytest
import torch
from conftest import ROOT, make_model, tiny_processor

from logmoe import LogAnomalyPipeline, LogParser, answering, fitting_logmoe, inference, suspects_logmoe
from logmoe.findings_logmoe import Finding, FindingEntry, Findings, LogSummary, Summary
from logmoe.judging_logmoe import Prediction
from logmoe.page import html
from logmoe.reporting import markdown, summary_record
from logmoe.reports import read_findings
from logmoe.suspects_logmoe import Suspect, Suspects

BROKEN = "cp: cannot stat 'tree/dir5/file7.dat': No such file or directory"


def copied(broken=None):
    """What `cp -rv` of a tree and `tar -cvf` of the copy write."""
    files, rest = [f"file{number}.dat" for number in range(1, 13)], ["README.md", "setup.cfg", "LICENSE", "main.py"]
    copies, packed = ["'tree' -> 'out'"], ["./"]
    for folder in (f"dir{number}" for number in range(1, 11)):
        copies += [
            f"'tree/{folder}' -> 'out/{folder}'",
            *(f"'tree/{folder}/{name}' -> 'out/{folder}/{name}'" for name in files),
        ]
        packed += [f"./{folder}/", *(f"./{folder}/{name}" for name in files)]
    lines = [*copies, *(f"'tree/{name}' -> 'out/{name}'" for name in rest), *packed, *(f"./{name}" for name in rest)]
    return lines if broken is None else [*lines[:65], broken, *lines[66:]]


@pytest.fixture(scope="module")
def pipe():
    return inference.load_pipeline(inference.DEFAULT_CHECKPOINT, device="cpu")


@pytest.fixture(scope="module")
def reference(pipe):
    return pipe.fit("\n".join(copied()))


@pytest.mark.parametrize("chunk_bytes", [97, 1000, 1 << 20])
def test_a_new_kind_of_entry_is_told_where_it_is_too_little_for_a_finding(pipe, reference, tmp_path, chunk_bytes):
    log = tmp_path / "red.log"
    log.write_text("\n".join(copied(BROKEN)))
    findings = pipe.findings(log, reference=reference, chunk_bytes=chunk_bytes)
    (seen,) = findings.summary.logs
    assert not len(findings)
    assert seen.suspect_kinds == 1
    (suspect,) = seen.suspects
    assert (suspect.line, suspect.text) == (66, BROKEN)
    assert suspect.wording > 0.5
    said = list(answering.answer(findings))
    assert said[2] == "one kind of entry is new to the healthy log, though too little for a finding:"
    assert said[3] == f"  line 66  {BROKEN}"
    (called,) = pipe.findings(log.read_text(), reference=reference).summary.logs
    assert called.suspect_kinds == 1
    assert dataclasses.replace(called.suspects[0], wording=0) == dataclasses.replace(suspect, wording=0)
    assert called.suspects[0].wording == pytest.approx(suspect.wording, abs=1e-3)


def test_a_healthy_log_has_none(pipe, reference):
    (seen,) = pipe.findings("\n".join(copied()), reference=reference).summary.logs
    assert (seen.suspect_kinds, seen.suspects) == (0, ())


def test_what_findings_show_first_is_no_suspect_and_what_they_do_not_show_may_be(pipe):
    usual = [f"'tree/dir{number}/a.dat' -> 'out/dir{number}/a.dat'" for number in range(270)]
    reference, broken = pipe.fit("\n".join(usual)), "tar: Error is not recoverable: exiting now"
    others = ["rm: nothing to do", "sync: done", "umount: busy", "mount: done", broken, "fsck: clean", "ls: done"]
    lines = [*usual[:100], *others, *usual[100:]]
    findings = pipe.findings("\n".join(lines), reference=reference)
    (seen,) = findings.summary.logs
    shown = {entry.text for finding in findings for entry in finding.entries[:3]}
    shown |= {lines[reason.line - 1] for finding in findings for reason in finding.reasons[:2] if reason.line}
    assert shown & set(others)
    assert {one.text for one in seen.suspects} == set(others) - shown
    assert seen.suspect_kinds == len(seen.suspects)
    assert broken in shown or seen.suspects[0].text == broken
    reference.accept(findings)
    (seen,) = pipe.findings("\n".join(lines), reference=reference).summary.logs
    assert seen.accepted == len(findings)
    assert not seen.suspects  # of what was accepted all is fine


def test_each_log_of_a_scan_has_its_own(pipe, reference, tmp_path):
    for name, broken in (("green", None), ("red", BROKEN), ("blue", "rm: cannot remove 'x': Permission denied")):
        (tmp_path / f"{name}.log").write_text("\n".join(copied(broken)))
    findings = pipe.findings(tmp_path, reference=reference)
    assert [len(log.suspects) for log in findings.summary.logs] == [1, 0, 1]
    said = list(answering.told_suspects(findings))
    assert said[1].startswith("entries of 2 logs are new to the healthy log, though too little for a finding;")
    assert {line.split("  ", 2)[2] for line in said[2:]} == {BROKEN, "rm: cannot remove 'x': Permission denied"}
    assert all(f"{name}.log, line 66" in "".join(said) for name in ("red", "blue"))


def test_without_a_healthy_log_wording_tells(pipe):
    short = ["INFO backup: dumped billing in 3 s", "INFO backup: done"] * 8
    (seen,) = pipe.findings("\n".join(short), reference=False).summary.logs
    assert seen.suspect_kinds == 2
    assert not answering.suspects(Findings([], Summary((seen,))))  # nothing reads like a fault


def test_by_itself_these_are_the_kinds_of_one_block(pipe, monkeypatch):
    """Also of a long log, of which entries are left out: all are counted."""
    usual = [f"INFO cart: item {number} added to cart of {10 * number}" for number in range(1200)]
    usual[::7] = ["ERROR smtp: connection refused by relay, retrying"] * len(usual[::7])  # usual, though it sounds bad
    lines = [*usual[:300], "DEBUG cache: warmed", *usual[300:700], "WARN proxy: upstream timed out", *usual[700:]]
    for most in (None, 600):
        if most is not None:
            monkeypatch.setattr(fitting_logmoe, "MAX_REFERENCE_ENTRIES", most)
        findings = pipe.findings("\n".join(lines))
        (seen,) = findings.summary.logs
        assert seen.mode == "self"
        told = {one.text for one in seen.suspects} | {entry.text for of in findings for entry in of.entries[:3]}
        assert {lines[300], lines[701]} <= told
        assert not any("smtp" in one.text for one in seen.suspects)


def test_by_itself_a_rare_error_that_comes_again_and_again_is_a_suspect(pipe, tmp_path):
    lines = [f"INFO cart: item {number} added to cart of {10 * number}" for number in range(2000)]
    lines[50::250] = ["ERROR payment: card declined"] * 8
    lines[60::50] = ["ERROR smtp: connection refused by relay, retrying"] * 39  # too often
    lines[70::250] = ["WARN payment: slow"] * 8  # no error
    (tmp_path / "x.log").write_text("\n".join(lines))
    for log in ("\n".join(lines), tmp_path / "x.log"):
        (seen,) = pipe.findings(log).summary.logs
        assert (seen.mode, seen.suspect_kinds) == ("self", 1)
        assert [(one.text, one.is_usual) for one in seen.suspects] == [(lines[50], True)]


def test_a_stream_by_its_past_has_those_that_its_past_lacks(pipe):
    usual = ["ERROR smtp: connection refused by relay, retrying", "INFO cart: item 7 added", "INFO page served"] * 500
    log = io.BytesIO("\n".join([*usual, "FATAL disk: no space left", *usual[:30]]).encode())
    findings = pipe.findings(log)
    (seen,) = findings.summary.logs
    assert seen.mode == "self"
    told = {one.text for one in seen.suspects} | {entry.text for of in findings for entry in of.entries[:3]}
    assert "FATAL disk: no space left" in told
    assert not any("smtp" in one.text for one in seen.suspects)


@pytest.mark.parametrize("how", [{"window_seconds": 5}, {"session_pattern": r"dir(\d+)/"}, {"stride": 16}])
def test_call_and_scan_agree_however_a_log_is_cut(pipe, tmp_path, how):
    times = [f"2026-03-01 10:{number // 60:02}:{number % 60:02} " for number in range(400)]
    healthy = "\n".join(map("".join, zip(times, copied(), strict=False)))
    lines = "\n".join(map("".join, zip(times, copied(BROKEN), strict=False)))
    reference, log = pipe.fit(healthy, **how), tmp_path / "red.log"
    log.write_text(lines)
    (called,) = pipe.findings(lines, reference=reference, **how).summary.logs
    (scanned,) = pipe.findings(log, reference=reference, chunk_bytes=300, **how).summary.logs
    assert called.suspect_kinds == scanned.suspect_kinds
    assert [(one.line, one.text) for one in called.suspects] == [(one.line, one.text) for one in scanned.suspects]


def test_a_stream_has_suspects_at_its_end(pipe, reference, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(copied(BROKEN)).encode())))
    (seen,) = pipe.findings("-", reference=reference).summary.logs
    assert [suspect.line for suspect in seen.suspects] == [66]


def test_a_model_of_labels_alone_has_none():
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    pipe = LogAnomalyPipeline(model=model, processor=processor)
    (seen,) = pipe.findings(["info started", "error failed"] * 4).summary.logs
    assert (seen.suspect_kinds, seen.suspects) == (0, ())


# ---------------------------------------------------------------------- gathering


class Reader:
    """Reads of each entry the margin that its embedding begins with."""

    processor = LogParser()

    class model:
        class config:
            calibration_temperature = 0.5

    def predict(self, embeddings, sequences, batch_size):
        assert [len(sequence) for sequence in sequences] == [1] * len(embeddings)
        margins = embeddings[:, 0].double().numpy()
        return [Prediction(np.array([0.0, margin]), np.zeros(1)) for margin in margins]


def gathered(suspects, lines, margins):
    """Sequences of four entries, each of a direction of its own; what is usual deserves no look."""
    parsed = LogParser().parse(lines)
    sequences = [np.arange(start, start + 4) for start in range(0, len(lines), 4)]
    texts = parsed.distinct.to_pylist()
    table = torch.zeros(len(texts), 256)
    for row, text in enumerate(texts):
        table[row, 0] = margins[text]
        table[row, 1 + list(margins).index(text)] = 99.0
    suspects.add(parsed, sequences, np.array([text != "usual" for text in texts]), table, np.arange(len(table)))
    return suspects


MARGINS = {"usual": 3.0, "odd": -1.0, "bad": 2.0, "told": 4.0}


def test_each_kind_counts_once_and_the_most_faulty_comes_first():
    suspects = gathered(Suspects(Reader()), ["usual", "odd", "bad", "odd", "told", "usual", "usual", "told"], MARGINS)
    suspects.tell(["told", "usual"])
    gathered(suspects, ["bad", "odd", "told", "usual"], MARGINS)
    assert suspects.kinds == 2
    assert [(one.line, one.text) for one in suspects.given()] == [(3, "bad"), (2, "odd")]
    assert [one.wording for one in suspects.given()] == pytest.approx([1 / (1 + np.exp(-4)), 1 / (1 + np.exp(2))])


def test_what_is_called_an_error_comes_first_and_what_is_called_information_last():
    margins = {
        "INFO cart: payment failed": 4.0,
        "WARN cart: payment failed again": 3.0,
        "FAIL: pay": -2.0,
        "cart emptied": 1.0,
        "shop.PayError: none": -3.0,
        "ERROR cart: all is well": -1.0,
        "PASS: error": 4.0,
        "on it went": 0.0,
        "so it goes": 0.5,
        "usual": 0.0,
    }
    given = gathered(Suspects(Reader()), [*margins, "usual", "usual"], margins).given()
    errors = ["ERROR cart: all is well", "FAIL: pay", "shop.PayError: none"]
    others = ["WARN cart: payment failed again", "cart emptied", "so it goes", "on it went"]
    assert [one.text for one in given] == [*errors, *others, "INFO cart: payment failed", "PASS: error"]
    assert [one.severity for one in given] == ["ERROR", "ERROR", None, "WARNING", None, None, None, "INFO", "INFO"]


def test_what_is_usual_is_a_suspect_if_it_is_called_an_error_and_few():
    lines = ["PASS: pay", "FAIL: pay", "ERROR cart: retrying", "WARN cart: slow", "odd", "INFO cart: emptied"]
    parsed, rows = LogParser().parse(lines * 2), np.arange(6)
    texts = parsed.distinct.to_pylist()
    is_new = np.array([text in ("odd", "INFO cart: emptied") for text in texts])
    is_few = np.array(["retrying" not in text for text in texts])
    suspects = Suspects(Reader())
    for sequence in np.split(np.arange(12), 2):
        suspects.add(parsed, [sequence], is_new, 9 * torch.eye(6), rows, is_few)
    given = suspects.given()
    assert [(one.text, one.is_usual) for one in given] == [("odd", False), ("FAIL: pay", True), (lines[-1], False)]
    assert suspects.kinds == 3
    suspects.tell(["FAIL: pay"])
    assert [one.text for one in suspects.given()] == ["odd", lines[-1]]


def test_a_kind_that_is_called_an_error_now_and_then_is_a_suspect():
    """Its severity stands outside its text; the line is one where it is called so."""
    lines = [f"<{12 - number // 2}>Mar 12 06:25:0{number} web cart: declined" for number in range(4)]
    parsed, suspects = LogParser().parse(lines), Suspects(Reader())
    assert len(parsed.distinct) == 1
    for chunk in ([0, 1], [1, 2, 3]):
        suspects.add(parsed, [np.array(chunk)], np.zeros(1, bool), torch.ones(1, 4), np.arange(1), np.ones(1, bool))
    assert [(one.line, one.severity, one.is_usual) for one in suspects.given()] == [(3, "ERROR", True)]


def test_what_a_finding_shows_is_none_whenever_it_is_told():
    suspects = Suspects(Reader())
    suspects.tell(["told"])  # a finding may be given out before its chunk is at its end
    gathered(suspects, ["bad", "usual", "told", "odd"], MARGINS)
    assert [one.text for one in suspects.given()] == ["bad", "odd"]
    suspects.tell(["bad"])
    suspects.tell(["bad"])
    assert suspects.kinds == 1
    assert [one.text for one in suspects.given()] == ["odd"]


def test_of_those_that_read_alike_one_is_given():
    """By their embeddings or by their words; those that others are like take no room from these."""
    suspects = Suspects(Reader())
    names = ["".join(chr(97 + int(digit)) for digit in f"{number:03}") for number in range(100)]
    lines = [f"cannot open {name}: no such file" for name in names] + ["denied", "refused", "the disk is full"]
    table = torch.randn(103, 300, generator=torch.Generator().manual_seed(0))
    table[:, 0] = torch.linspace(3, 1, 103)
    table[101] = table[100] + 0.01
    suspects.add(LogParser().parse(lines), [np.arange(103)], np.ones(103, bool), table, np.arange(103))
    assert suspects.kinds == 103
    assert [one.text for one in suspects.given()] == [lines[0], "refused", "the disk is full"]


def test_of_a_long_entry_beginning_and_end_are_kept():
    suspects = Suspects(Reader())
    text = "Traceback (most recent call last):\n" + "  File x\n" * 2000 + "OSError: full"
    suspects.add(LogParser().parse([text]), [np.arange(1)], np.ones(1, bool), torch.zeros(1, 4), np.arange(1))
    (one,) = suspects.given()
    assert len(one.text) < 5000
    assert answering.quoted("", one.text)[1] == "OSError: full"


def test_what_was_told_is_not_forgotten_before_others(monkeypatch):
    monkeypatch.setattr(suspects_logmoe, "REMEMBERED_KINDS", 4)
    suspects = gathered(Suspects(Reader()), ["bad", "odd", "usual", "usual"], MARGINS)
    suspects.tell(["bad"])
    gathered(suspects, ["ant", "bee", "cat", "usual"], dict.fromkeys(("ant", "bee", "cat", "usual"), 0.0))
    gathered(suspects, ["bad", "usual", "usual", "usual"], MARGINS)
    assert "bad" not in {one.text for one in suspects.given()}


def test_the_best_of_many_are_given_however_they_come(monkeypatch):
    """In bounded memory: ranked when enough wait, forgotten when too many are known."""
    monkeypatch.setattr(suspects_logmoe, "READ", 16)
    monkeypatch.setattr(suspects_logmoe, "KEPT", 12)
    monkeypatch.setattr(suspects_logmoe, "REMEMBERED_KINDS", 20)
    names = ["".join(chr(97 + int(digit)) for digit in f"{number:03}") for number in range(120)]
    margins = {f"kind {name}": 37 * place % 120 / 20 - 3 for place, name in enumerate(names)}
    suspects = Suspects(Reader())
    for start in range(0, 120, 8):
        gathered(suspects, list(margins)[start : start + 8], margins)
    assert suspects.kinds == 120
    assert len(suspects._best) <= 12 + 16
    assert len(suspects._is_told) <= 20
    best = sorted(margins, key=lambda text: -margins[text])
    assert [one.text for one in suspects.given()] == best[:10]


# ---------------------------------------------------------------------- words and reports


HOSTILE = "error: <script>alert(1)</script> `code` \x1b[31m @everyone"


def found(*suspects, kinds=None, findings=(), **values):
    log = LogSummary("red.log", 300, 280, 9, len(findings), len(findings), "reference", 0.99, 0.1)
    values |= {"suspects": suspects, "suspect_kinds": kinds or len(suspects)}
    return Findings(findings, Summary((dataclasses.replace(log, **values),)))


def suspect(text, wording=0.9, line=7):
    return Suspect(line, text, text, wording)


def finding_of(*texts):
    entries = tuple(FindingEntry(3, text, 0.2, 1, 3, 3, None, None, text) for text in texts)
    return Finding("0" * 12, "red.log", 3, 3, None, None, 0.9, 2.0, 0.01, "reference", (), entries, 0, 1, None, ())


def test_words():
    three = [suspect(text, wording) for text, wording in (("a", 0.3), ("b", 0.2), ("c", 0.1))]
    said = "{} new to the healthy log, though too little for a finding{}:".format

    def heading(findings):
        return next(iter(list(answering.told_suspects(findings))[1:]))

    assert heading(found(*three)) == said("3 kinds of entries are", "")
    assert heading(found(*three, kinds=1200)) == said(
        "1,200 kinds of entries are", "; these are called errors or worded most like a fault"
    )
    assert heading(found(three[0], kinds=2)) == said(
        "2 kinds of entries are", "; this one is called an error or worded most like a fault"
    )
    beside = found(three[0], findings=[finding_of("x")])
    assert heading(beside) == "beside what the findings show, one kind of entry is new to the healthy log:"
    worded = found(suspect("a"), mode="self", familiarity=None)
    assert heading(worded) == "too little for a finding, but called an error or worded like a fault:"
    assert list(answering.told_suspects(found(*three)))[2:] == ["  line 7  a", "  line 7  b", "  line 7  c"]
    long = list(answering.told_suspects(found(suspect("x" * 500 + "\nmore")), width=80))
    assert len(long[-1]) <= 80
    assert long[-2].endswith("… (+1 line)")
    assert long[-1].strip() == "more"


def test_what_is_shown_is_not_repeated():
    """The more entries of a finding are shown, the fewer are suspects."""
    findings = found(suspect("b"), suspect("c", 0.8), findings=[finding_of("a", "b"), finding_of("c")])
    assert [one.text for _, one in answering.suspects(findings, lines=1)] == ["b"]
    assert [one.text for _, one in answering.suspects(findings, findings[:1])] == ["c"]
    assert not answering.suspects(findings)
    assert "  line 7  b" in list(answering.answer(findings, lines=1))
    # What is told as the same at another place is not seen.
    assert "  line 7  c" in list(answering.answer(findings))
    other = dataclasses.replace(finding_of("c"), id="1" * 12)
    apart = found(suspect("c"), findings=[finding_of("a"), finding_of("b"), other])
    assert "  line 7  c" in list(answering.answer(apart, limit=1))
    assert "  line 7  c" not in list(answering.answer(apart, limit=2))


def test_a_reference_that_does_not_fit_shows_what_is_called_an_error_alone():
    misfit = found(suspect("a"), familiarity=0.2)
    assert not answering.suspects(misfit)
    error = dataclasses.replace(suspect("b"), severity="ERROR")
    assert [one.text for _, one in answering.suspects(found(suspect("a"), error, familiarity=0.2))] == ["b"]
    both = Findings([], Summary((*misfit.summary.logs, *found(suspect("b")).summary.logs)))
    assert list(answering.told_suspects(both))[1].startswith("one kind of entry is new")


def test_reports_hold_suspects_and_nothing_of_a_log_becomes_markup(tmp_path):
    findings = found(suspect(HOSTILE), suspect("usual", 0.1))
    record = summary_record(findings.summary)
    jsonschema.validate(json.loads(record), json.loads((ROOT / "findings.schema.json").read_text()))
    file = tmp_path / "findings.jsonl"
    file.write_text(record + "\n")
    assert read_findings([str(file)]).summary.logs == findings.summary.logs
    page = html(findings)
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "too little for a finding:" in page
    for text in (markdown(findings), page, "\n".join(answering.answer(findings))):
        assert "\x1b" not in text
        assert "line 7" in text
    file.write_text(record.replace('"wording": 0.9', '"wording": 1.9').replace('"wording":0.9', '"wording":1.9'))
    with pytest.raises(ValueError, match=r'logs\[0\].suspects\[0\].wording" must be between 0 and 1'):
        read_findings([str(file)])
