"""Healthy logs of several kinds: each log is judged as if those of its own kind alone had been given."""

import io
from dataclasses import replace

import numpy as np
import pytest
from test_reference import EVENTS, LENGTH, PARSER, encoded, features_pipe, fit, make_log
from test_reference import same as same_reference
from test_weighing import FAULTY

from logmoe import kinds_logmoe
from logmoe.answering import heading, judged, promised
from logmoe.findings_logmoe import LogSummary, Summary
from logmoe.kinds_logmoe import FIRST_OF_STREAM, KindCount, alike, kinds_of, of_kind
from logmoe.reference_logmoe import LogReference

OTHER = ("debug kernel slab {number} of zebra", "debug kernel cgroup moved to {word}", "debug mail from {word} queued")
FEW = ("error never seen in {word}", "fatal gone at {number}")


@pytest.fixture(scope="module")
def pipe():
    return features_pipe()


@pytest.fixture(scope="module")
def healthy():
    """Two logs of a kind, and two of others, of which one goes on for longer than both."""
    return {
        "one": make_log(400, 1),
        "two": make_log(300, 2),
        "kernel": make_log(900, 3, events=OTHER, pace=9),
        "tiny": make_log(LENGTH, 4, events=OTHER[2:]),
    }


@pytest.fixture(scope="module")
def own(pipe, healthy):
    return pipe.fit(healthy["one"], healthy["two"])


def results(pipe, log, reference, **kwargs):
    return pipe(log, reference=reference, **kwargs)["sequences"]


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ("ab/cd/ba", "010"),
        ("aabb/aacc/bbcc", "000"),  # half of either
        ("abc/cde/edx", "011"),
        ("aaaa/aabbcdef/bcdef", "011"),  # most of one, little of the other
        ("a/b/c/d/a/d", "012303"),
        ("abcd", "0"),
    ],
)
@pytest.mark.parametrize("most", [2, 512])
def test_kinds_of_healthy_logs(monkeypatch, logs, expected, most):
    monkeypatch.setattr(kinds_logmoe, "MOST_COMPARED", most)
    ids = np.array(["abcdefx".index(letter) for letter in logs.replace("/", "")])
    log = np.repeat(np.arange(logs.count("/") + 1), [len(part) for part in logs.split("/")])
    if most == 2 and max(expected) > "1":
        expected = "012304"  # with those that come later none is compared
    assert "".join(map(str, kinds_of(ids, log))) == expected


@pytest.mark.parametrize(
    ("logs", "judged", "expected"),
    [
        ("ab/cd", "aab", "10"),
        ("ab/cd", "ccd", "01"),
        ("ab/cd", "xyz", "11"),  # nothing is known: neither is of its kind
        ("ab/cd", "axyzxyz", "10"),  # of what is known at all
        ("ab/cd", "abcd", "11"),
        ("ab/bc/de", "bb", "110"),
        ("s/aaaabbbb/cd", "sababababab", "110"),  # a start-up, all of which it has
        ("abz/cdz", "abababz", "10"),  # what both have
        # What these lack adds the log that knows most of it.
        ("aaaabcd/xxxyef/xxxyeg", "a" * 90 + "eeeeeeeeef", "110"),
        # But a hundredth may be missing.
        ("aaaabcd/xxxyef/xxxyeg", "a" * 199 + "e", "100"),
    ],
)
def test_which_logs_are_of_a_kind(logs, judged, expected):
    letters = "abcdefgsxyz"
    ids = np.array([letters.index(letter) for letter in logs.replace("/", "")])
    log = np.repeat(np.arange(logs.count("/") + 1), [len(part) for part in logs.split("/")])
    number = np.array([judged.count(letter) if letter in logs else 0 for letter in letters])
    assert "".join(map(str, alike(ids, log, number).astype(int))) == expected


@pytest.mark.parametrize("order", [("one", "two", "kernel", "tiny"), ("tiny", "one", "kernel", "two")], ids=str)
def test_the_part_of_a_reference_is_what_its_logs_alone_would_give(healthy, order):
    whole = encoded(fit(*(healthy[name] for name in order)))
    assert whole.num_logs == 4
    kind = KindCount().add(parsed_with_numbers(make_log(100, 9, events=FAULTY)))
    part = of_kind(whole, kind.number, None)
    alone = encoded(fit(*(healthy[name] for name in order if name in ("one", "two"))))
    same_reference(part, alone)
    np.testing.assert_array_equal(part.embeddings, alone.embeddings)
    assert (part.num_entries, part.num_logs) == (700, 2)
    assert of_kind(whole, kind.number, None) is part
    # Of its own logs, which are all of a kind, and of one that none of them knows, all are taken.
    for reference, log in ((alone, make_log(50, 1)), (whole, make_log(50, 1, events=FEW))):
        assert of_kind(reference, KindCount().add(parsed_with_numbers(log)).number, None) is reference


def test_a_log_of_one_rare_line_is_judged_by_all_days_of_its_kind(pipe, healthy):
    """Though only one of these has that line."""
    days = [make_log(300, seed) for seed in (1, 2)]
    days[1] += make_log(1, 3, events=FEW[1:])
    mixed = pipe.fit(healthy["kernel"], *days)
    (log,) = pipe.findings(make_log(1, 4, events=FEW[1:]).splitlines(), reference=mixed).summary.logs
    assert (log.healthy_entries, log.familiarity) == (601, 1)


def parsed_with_numbers(log):
    parsed = PARSER.parse(log)
    parsed.number = np.arange(len(parsed))
    return parsed


def test_parts_are_remembered_for_a_few_kinds(monkeypatch):
    monkeypatch.setattr(kinds_logmoe, "MOST_PARTS", 2)
    logs = [make_log(50, 1, events=(f"info {word} {{number}} of {word} {word}",)) for word in "vwxyz"]
    whole = encoded(fit(*logs))
    counts = [KindCount().add(parsed_with_numbers(log)).number for log in logs]
    parts = [of_kind(whole, count, None) for count in counts]
    assert [part.num_entries for part in parts] == [50] * 5
    assert len(whole.parts) <= 2
    assert of_kind(whole, counts[4], None) is parts[4]


@pytest.mark.parametrize("order", [("one", "two", "kernel", "tiny"), ("kernel", "tiny", "one", "two")], ids=str)
def test_other_kinds_of_healthy_logs_change_nothing(pipe, healthy, own, tmp_path, order):
    mixed = pipe.fit(*(healthy[name] for name in order))
    mixed.save_pretrained(tmp_path / "saved")
    merged = pipe.fit(healthy["kernel"]).merge(own)
    log = make_log(500, 5, events=FAULTY)
    expected = results(pipe, log, own)
    assert {sequence["label"] for sequence in expected} == {"normal", "anomaly"}
    for reference in (mixed, LogReference.from_pretrained(tmp_path / "saved"), merged):
        assert results(pipe, log, reference) == expected
    (tmp_path / "today.log").write_text(log)
    one, two = (list(pipe.scan(tmp_path / "today.log", reference=reference)) for reference in (own, mixed))
    assert one == two
    # What speaks for another kind, or for none, is judged by that, or by all.
    kernel = make_log(200, 6, events=OTHER, pace=9)
    assert results(pipe, kernel, mixed) != results(pipe, kernel, own)
    strange = pipe(make_log(200, 6, events=FEW), reference=mixed)
    assert strange["familiarity"] == 0


def test_files_of_several_kinds_are_judged_in_one_run_as_each_alone(pipe, healthy, tmp_path):
    """Whatever of another file is remembered."""
    mixed = pipe.fit(healthy["one"], healthy["kernel"])
    stray = make_log(2, 8, events=EVENTS[:1])  # of which the other kind knows the template
    logs = make_log(300, 5, events=FAULTY), make_log(300, 6, events=OTHER) + stray, make_log(200, 7)
    files = [tmp_path / f"{number}.log" for number in range(len(logs))]
    for file, log in zip(files, logs, strict=True):
        file.write_text(log)
    together = list(pipe.scan(files, reference=mixed))
    assert together == [result for file in files for result in pipe.scan(file, reference=mixed)]
    findings = pipe.findings(files, reference=mixed)
    assert [log.healthy_entries for log in findings.summary.logs] == [400, 900, 400]
    assert "1,300 healthy entries, each log by those of its kind" in judged(findings.summary)


@pytest.mark.parametrize(("chunk_bytes", "cut"), [(1000, {}), (5000, {}), (4000, {"stride": 3})], ids=str)
def test_a_stream_is_judged_by_those_of_its_kind_once_that_is_known(pipe, healthy, own, chunk_bytes, cut):
    log = make_log(FIRST_OF_STREAM + 200, 5, events=FAULTY)
    mixed = pipe.fit(healthy["kernel"], healthy["one"], healthy["two"])
    expected = list(pipe.scan(io.StringIO(log), reference=own, **cut))
    scan = pipe.scan(io.StringIO(log), reference=mixed, chunk_bytes=chunk_bytes, **cut)
    found = list(scan)
    first = FIRST_OF_STREAM // cut.get("stride", LENGTH) + bool(cut)
    assert [one["first_line"] for one in found] == [one["first_line"] for one in expected]
    margin, alone = ([sequence["logits"][1] for sequence in sequences] for sequences in (found, expected))
    assert margin[:8] != pytest.approx(alone[:8], abs=0.1)  # not known yet
    assert margin[first:] == pytest.approx(alone[first:], abs=1e-5)
    assert scan.statistics.mode == "reference"
    assert scan.statistics.healthy_entries == 700
    whole = pipe.scan(io.StringIO(log), reference=own, **cut)
    list(whole)
    for name in ("measured_entries", "familiar_entries", "backward_entries", "kept_rate"):
        assert getattr(scan.statistics, name) == getattr(whole.statistics, name), name


def test_a_stream_of_no_kind_and_one_that_is_short_are_judged_by_all(pipe, healthy, own):
    mixed = pipe.fit(healthy["kernel"], healthy["one"])
    for log in (make_log(FIRST_OF_STREAM + 100, 5, events=FEW), make_log(100, 5)):
        scan = pipe.scan(io.StringIO(log), reference=mixed)
        list(scan)
        assert scan.statistics.healthy_entries == 1300


def test_sessions_are_judged_by_all_healthy_logs(pipe, healthy):
    """They may be complete last, so that the beginning of a log tells nothing of them."""
    cut = {"session_pattern": "started|moved|time"}
    mixed = pipe.fit(healthy["kernel"], healthy["one"], **cut)
    (log,) = pipe.findings(make_log(100, 5).splitlines(), reference=mixed, **cut).summary.logs
    assert log.healthy_entries == 1300


def test_windows_by_time_are_judged_by_their_kind(pipe, healthy, tmp_path):
    cut = {"window_seconds": 20.0}
    own, mixed = pipe.fit(healthy["one"], **cut), pipe.fit(healthy["kernel"], healthy["one"], **cut)
    log = make_log(300, 5, events=FAULTY)
    assert results(pipe, log, mixed, **cut) == results(pipe, log, own, **cut)
    (tmp_path / "today.log").write_text(log)
    one, two = (list(pipe.scan(tmp_path / "today.log", reference=reference, **cut)) for reference in (own, mixed))
    assert one == two


def test_of_a_bounded_reference_a_part_is_counted_as_a_whole(healthy):
    bounded = fit(healthy["one"], make_log(900, 3, events=(*OTHER, EVENTS[-1])), bound=400)
    assert len(bounded) <= 400 < bounded.num_entries
    kind = KindCount().add(parsed_with_numbers(make_log(100, 9)))
    part = of_kind(bounded, kind.number, lambda texts: np.zeros((len(texts), 4)))
    assert len(part) < len(bounded)
    assert part.num_entries == pytest.approx(400, rel=0.1)
    assert part.count.sum() == part.num_entries


def test_the_answer_tells_by_which_healthy_logs(pipe, healthy, tmp_path):
    mixed = pipe.fit(healthy["one"], healthy["kernel"])
    (tmp_path / "today.log").write_text(make_log(300, 5))
    findings = pipe.findings(tmp_path / "today.log", reference=mixed)
    assert "judged against a healthy log (400 of 1,300 healthy entries, in logs of its kind, " in judged(
        findings.summary
    )
    scan = pipe.scan(tmp_path / "today.log", reference=mixed)
    list(scan)
    assert "(400 of 1,300 healthy entries, in logs of its kind, " in heading(scan)
    in_memory = pipe.findings(make_log(300, 5).splitlines(), reference=mixed)
    assert in_memory.summary.logs[0].healthy_entries == 400
    alone = pipe.findings(tmp_path / "today.log", reference=pipe.fit(healthy["one"]))
    assert "judged against a healthy log (400 healthy entries, " in judged(alone.summary)


def test_a_promise_by_day_is_told_by_the_days_of_its_kind(pipe, healthy, tmp_path):
    """The kernel's log takes nine times as long for as many entries."""
    (tmp_path / "today.log").write_text(make_log(300, 5))
    said = []
    for reference in (pipe.fit(healthy["one"]), pipe.fit(healthy["one"], healthy["kernel"])):
        for per_day in (5, 2000):
            findings = pipe.findings(tmp_path / "today.log", reference=reference, false_alarms_per_day=per_day)
            said.append(promised(findings.summary))
    assert said[:2] == said[2:]
    assert "too few healthy sequences for 5 a day: " in said[0]
    assert "at most 2e+03 of healthy ones would be" in said[1] or "at most 2e+03 a day" in said[1]


def test_of_several_promises_the_weakest_is_told():
    log = LogSummary("x.log", 1, 1, 1, 0, 0, "reference", 1.0, 0.02, promised_rate=0.02)
    summary = Summary((log,), baseline="good", healthy_entries=9, promised_rate=0.01, promised_per_day=1.0)
    assert promised(summary).endswith("at most 1 a day of healthy ones would be")
    weak = replace(log, kept_rate=0.04, promised_rate=0.01)
    said = promised(replace(summary, logs=(log, weak)))
    assert said.endswith("too few healthy sequences for 1 a day: 4 a day is what they allow")
    # As a file of an earlier version says it.
    assert promised(replace(summary, logs=(replace(log, promised_rate=None, kept_rate=0.01),))).endswith(
        "at most 1 a day of healthy ones would be"
    )
