"""Sequences become findings: the rule of `docs/findings.md`, as properties; then real logs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import MINI, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from logmoe.findings_logmoe import Findings, LogSpan, LogSummary, Summary, in_order, in_time
from logmoe.gathering_logmoe import KEPT_ENTRIES, OPEN_FINDINGS, OPEN_SESSIONS, FindingMaker
from logmoe.parsing_logmoe import LogParser

LABELS = {0: "normal", 1: "anomaly"}
FAULTY, HEALTHY = ROOT / "examples" / "apache-faulty.log", ROOT / "examples" / "apache-healthy.log"


def sequence(first, scores, kind="new_entry", label="anomaly", source="a.log", margin=2.0, **changed):
    """A judged sequence of consecutive lines: a dict or list of (masked text, score)."""
    scores = list(scores.items()) if isinstance(scores, dict) else scores
    entries = [
        {
            "line": line,
            "last_line": line,
            "text": f"{text} {line}",
            "masked": text,
            "score": score,
            "time": stamp(line),
        }
        for line, (text, score) in enumerate(scores, first)
    ]
    strongest = max(entries, key=lambda entry: entry["score"])
    reason = {"kind": kind, "text": f"because of {strongest['text']}", "weight": margin, "line": strongest["line"]}
    return {
        "label": label,
        "score": 0.9,
        "probabilities": {"normal": 0.1, "anomaly": 0.9},
        "logits": [-margin / 2, margin / 2],
        "first_line": first,
        "last_line": first + len(entries) - 1,
        "source": source,
        "mode": "reference",
        "healthy_rarity": 0.01,
        "evidence": {},
        "reasons": [] if kind is None else [reason],
        "entries": entries,
    } | changed


def stamp(line):
    return f"2026-03-12T{line // 3600:02}:{line // 60 % 60:02}:{line % 60:02}"


def found(*sequences, pattern=None):
    maker = FindingMaker(LABELS, pattern)
    closed = [finding for one in sequences for finding in maker.add(one)]
    return closed + maker.close()


def ten(text, score=1.0):
    """A sequence's entries: nine that do not matter, and one."""
    return [("usual", 0.0)] * 9 + [(text, score)]


# ---------------------------------------------------------------------- the rule


def test_neighbours_that_stand_out_for_one_kind_of_reason_are_one_finding():
    (finding,) = found(sequence(1, ten("x")), sequence(11, ten("y")))
    assert (finding.sequences, finding.first_line, finding.last_line) == (2, 10, 20)
    assert len(found(sequence(1, ten("x")), sequence(11, ten("y"), kind="unusual_order"))) == 2
    assert len(found(sequence(1, ten("x")), sequence(12, ten("y")))) == 2  # a line lies between them


def test_near_ones_that_are_about_the_same_entry_are_one_finding():
    for kind in ("new_entry", "unusual_order"):
        assert len(found(sequence(1, ten("x")), sequence(21, ten("x"), kind=kind))) == 1
    far = found(sequence(1, ten("x")), sequence(22, ten("x")))
    assert len(far) == 2  # eleven lines between them
    assert far[0].id == far[1].id
    assert len(found(sequence(1, ten("x")), sequence(1, ten("x"), source="b.log"))) == 2
    between = sequence(11, ten("y"), kind="unusual_count")
    (first, second) = found(sequence(1, ten("x")), between, sequence(21, ten("x")))
    assert sorted([first.sequences, second.sequences]) == [1, 2]


def test_repetitions_fold():
    many = sequence(1, [("x", 1.0), ("usual", 0.0), ("x", 3.0), ("y", 0.6), ("z", -1.0), ("x", 1.0)])
    (finding,) = found(many, sequence(7, [("x", 0.4)]))
    top, other = finding.entries
    assert (top.masked, top.line, top.text, top.count) == ("x", 3, "x 3", 4)
    assert (top.first_line, top.last_line, top.first_time, top.last_time) == (1, 7, stamp(1), stamp(7))
    assert (other.masked, other.count, other.share) == ("y", 1, pytest.approx(0.1))
    assert top.share == pytest.approx(0.9)
    assert (finding.start, finding.end) == (stamp(1), stamp(7))


def test_what_is_in_two_windows_counts_once():
    lines = [(text, 1.0) for text in "abcabc"]
    (finding,) = found(sequence(1, lines[:4]), sequence(3, lines[2:]))
    assert {entry.masked: entry.count for entry in finding.entries} == {"a": 2, "b": 2, "c": 2}


def test_of_each_kind_of_reason_the_strongest_is_told():
    one = sequence(1, ten("x"))
    one["reasons"] += [{"kind": "known_anomaly", "text": "known", "weight": 3.0, "line": 1}]
    two = sequence(11, ten("x"), margin=2.5)
    (finding,) = found(one, two)
    assert [(of.kind, of.text, of.sequences) for of in finding.reasons] == [
        ("new_entry", "because of x 20", 2),
        ("known_anomaly", "known", 1),  # not twice as strong
    ]
    assert (finding.strength, finding.score, finding.healthy_rarity) == (2.5, 0.9, 0.01)


def test_a_reason_that_is_about_none_of_the_lines_shown_says_where_it_is():
    one = sequence(1001, [("early", 0.0), *ten("x"), ("late", 0.0)])
    said = (
        ("unusual_count", "4 times in 12 entries: `early`", 1001),
        ("unusual_pace", "nothing for 9 s before line 1,012; usually less", 1012),
        ("rare_entry", "a rare entry (line 1,011): `x`", 1011),
        ("known_anomaly", "in wording and order like faults", 1002),  # of all of them
        ("missing_entry", "`beat` is missing", None),
    )
    one["reasons"] += [
        {"kind": kind, "text": text, "weight": 1 - place / 10, "line": line}
        for place, (kind, text, line) in enumerate(said)
    ]
    (finding,) = found(one)
    assert (finding.first_line, finding.last_line) == (1011, 1011)
    assert {of.kind: of.text for of in finding.reasons[1:]} == {
        **{kind: text for kind, text, _ in said},
        "unusual_count": "before these lines, at line 1,001: 4 times in 12 entries: `early`",
        "unusual_pace": "after these lines: nothing for 9 s before line 1,012; usually less",
    }


def test_what_is_missing_is_where_the_sequences_are():
    one = sequence(1, [("a", 0.0), ("b", 0.2), ("c", 0.0)], kind="missing_entry")
    one["reasons"][0] = {"kind": "missing_entry", "text": "`beat` is missing", "weight": 1.0, "entry": "beat"}
    one["evidence"] = {"missing_entry": 1.8}
    (finding,) = found(one)
    assert (finding.first_line, finding.last_line, finding.start) == (1, 3, stamp(1))
    assert [(entry.masked, entry.share) for entry in finding.entries] == [("b", pytest.approx(0.1))]
    other = one | {"entries": [entry | {"score": 0.0} for entry in one["entries"]]}
    assert found(other)[0].id == finding.id
    assert found(other)[0].entries == ()


def test_an_id_survives_other_numbers_other_lines_and_another_day():
    parser = LogParser()
    maker = FindingMaker(LABELS, parser=parser)

    def plain(day, pid, first):
        text = f"2026-03-{day:02} 10:00:00 ERROR worker[{pid}]: connection to 10.0.0.{day} refused"
        one = sequence(first, ten("x"))
        for entry in one["entries"]:
            del entry["masked"], entry["time"]
        one["entries"][-1]["text"] = text
        return one

    maker.add(plain(1, 77, 1))
    (today,) = maker.close()
    maker.add(plain(2, 99, 501))
    (tomorrow,) = maker.close()
    assert today.id == tomorrow.id
    assert today.start == "2026-03-01T10:00:00"
    assert today.entries[0].masked == parser.mask([today.entries[0].text])[0].as_py()
    assert found(sequence(1, ten("y")))[0].id != found(sequence(1, ten("x")))[0].id
    assert found(sequence(1, ten("x"), kind="rare_entry"))[0].id != found(sequence(1, ten("x")))[0].id


def test_a_share_too_small_for_a_number_is_not_shown():
    entries = [("a", 5e-324), ("b", 2.0), ("b", -2.0), ("c", 0.0)]
    assert found(sequence(1, entries))[0].entries == ()


@st.composite
def logs(draw):
    """Sequences of a log or two, some of them anomalous, windows that may overlap."""
    kinds = st.sampled_from(["new_entry", "unusual_count", "missing_entry", None])
    entries = st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-3, 3)), min_size=4, max_size=4)
    sequences = []
    for source in draw(st.sampled_from([["a.log"], ["a.log", "b.log"]])):
        stride = draw(st.sampled_from([2, 4]))
        for place in range(draw(st.integers(1, 20))):
            label = draw(st.sampled_from(["normal", "anomaly"]))
            one = sequence(1 + place * stride, draw(entries), draw(kinds), label, source, draw(st.floats(0, 5)))
            sequences.append(one)
    return sequences


@settings(deadline=None, max_examples=200)
@given(logs())
def test_every_anomalous_sequence_is_in_one_finding(sequences):
    findings = found(*sequences)
    anomalous = [one for one in sequences if one["label"] == "anomaly"]
    assert sum(finding.sequences for finding in findings) == len(anomalous)
    for finding in findings:
        within = [one for one in anomalous if one["source"] == finding.source]
        assert min(one["first_line"] for one in within) <= finding.first_line
        assert finding.last_line <= max(one["last_line"] for one in within)
        assert finding.strength in [one["logits"][1] - one["logits"][0] for one in within]
        shares = [entry.share for entry in finding.entries]
        assert all(share > 0 for share in shares)
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9
        for entry in finding.entries:
            assert finding.first_line <= entry.first_line <= entry.line <= entry.last_line <= finding.last_line
            lines = {of["line"] for one in anomalous for of in one["entries"] if one["source"] == finding.source}
            assert 1 <= entry.count <= len(lines)
        assert json.loads(json.dumps(finding.to_dict()))["id"] == finding.id


@settings(deadline=None, max_examples=100)
@given(logs())
def test_normal_sequences_change_nothing(sequences):
    anomalous = [one for one in sequences if one["label"] == "anomaly"]
    by_line = [
        sorted(found(*some), key=lambda of: (of.source, of.first_line, of.strength)) for some in (sequences, anomalous)
    ]
    assert by_line[0] == by_line[1]


def test_a_finding_is_given_out_once_nothing_more_can_join_it():
    maker = FindingMaker(LABELS)
    assert maker.add(sequence(1, ten("x"))) == []
    assert maker.add(sequence(11, ten("usual"), label="normal")) == []
    assert maker.add(sequence(21, ten("usual"), label="normal")) == []  # ten lines between: still near
    (finding,) = maker.add(sequence(31, ten("usual"), label="normal"))
    assert finding.last_line == 10
    maker.add(sequence(41, ten("x")))
    (at_the_end_of_the_log,) = maker.add(sequence(1, ten("usual"), label="normal", source="b.log"))
    assert at_the_end_of_the_log.first_line == 50


def test_memory_is_bounded():
    maker = FindingMaker(LABELS)
    given_out = 0
    for row in range(1000):  # in one place, of kinds of their own
        given_out += len(maker.add(sequence(1, [(f"x{row}", 1.0)], kind=f"k{row}")))
        assert len(maker._open) <= OPEN_FINDINGS
    assert given_out == 1000 - OPEN_FINDINGS
    maker = FindingMaker(LABELS)
    for row in range(200):  # one that does not end, of other entries each time
        maker.add(sequence(1 + 10 * row, [(f"x{row} {place}", 1.0) for place in range(10)]))
    assert len(maker._open[0].folded) <= KEPT_ENTRIES
    assert len(maker._open[0].topics) <= 2 * KEPT_ENTRIES
    (finding,) = maker.close()
    assert finding.sequences == 200
    assert finding.more_entries > 0


# ---------------------------------------------------------------------- sessions


def session(first, name, text, **changed):
    one = sequence(first, [("usual", 0.0), (text, 1.0)], **changed)
    for entry in one["entries"]:
        entry["text"] += f" blk_{name} of blk_0"
    return one


def test_the_same_trouble_in_many_sessions_is_one_finding_that_counts_them():
    pattern = r"(blk_\d+)"
    parts = [session(1, 1, "x"), session(3, 1, "y"), session(5, 2, "x"), session(7, 3, "z"), session(9, 2, "x")]
    alone = sequence(20, [("no session", 1.0)])
    findings = {finding.entries[0].masked: finding for finding in found(*parts, alone, pattern=pattern)}
    assert sorted(findings) == ["no session", "x", "z"]
    assert (findings["x"].sessions, findings["x"].sequences) == (3, 4)  # that of block 2 came in two parts
    assert findings["x"].session_names == ("blk_1", "blk_2", "blk_2")
    assert findings["x"].entries[0].count == 3
    assert findings["z"].sessions == 1
    assert findings["no session"].sessions is None


def test_sessions_that_wait_are_bounded():
    maker = FindingMaker(LABELS, r"(blk_\d+)")
    given_out = sum(len(maker.add(session(2 * row + 1, row, f"x{row}"))) for row in range(OPEN_SESSIONS + 50))
    assert given_out == 49  # the last one is not over
    assert len(maker.close()) == OPEN_SESSIONS + 1


# ---------------------------------------------------------------------- findings of a run


def test_orders():
    (one,) = found(sequence(1, ten("x"), margin=1.0))
    late = replace(one, start="2026-03-13T00:00:00", source="a.log", strength=3.0)
    early = replace(one, start="2026-03-12T00:00:00", source="b.log", strength=2.0)
    untimed, yearless = replace(one, start=None), replace(one, start="--03-12T00:00:00", first_line=11)
    findings = Findings([yearless, late, untimed, early], Summary())
    assert list(findings) == [late, early, yearless, untimed]
    assert list(findings.ordered("time")) == [early, late, untimed, yearless]
    with pytest.raises(ValueError, match="'size'"):
        in_order([], "size")


def test_tables():
    findings = Findings(found(sequence(1, ten("x")), sequence(21, {"y": 2.0, "z": 1.0}, margin=3.0)), Summary())
    table, entries = findings.table(), findings.entries_table()
    assert table.column("strength").to_pylist() == [3.0, 2.0]
    assert table.column("reason").to_pylist() == ["because of y 21", "because of x 10"]
    assert entries.column("finding").to_pylist() == [0, 0, 1]
    assert entries.column("masked").to_pylist() == ["y", "z", "x"]
    assert Findings([], Summary()).table().schema == table.schema
    pandas = pytest.importorskip("pandas")
    assert isinstance(table.to_pandas(), pandas.DataFrame)


def test_a_summary_adds_up():
    one = LogSummary("a", 10, 5, 2, 1, 1, "reference", 0.5, 0.01)
    two = LogSummary("b", 30, 15, 4, 0, 0, "reference", 0.9, 0.02)
    both = Summary((one, two))
    assert (both.total("lines"), both.mode, both.kept_rate) == (40, "reference", 0.02)
    assert both.familiarity == pytest.approx(0.8)
    assert Summary((one, replace(two, mode="self", kept_rate=None))).mode == "mixed"
    assert Summary((one, replace(two, kept_rate=None))).kept_rate is None
    assert Summary().mode is None
    json.dumps(both.to_dict())


def test_a_log_goes_from_its_first_time_to_its_last():
    parser = LogParser()
    lines = ["a banner", "2026-03-12T06:00:00.5Z up", "2026-03-12T07:00:00Z work", "2026-03-12T06:30:00Z late", "bye"]
    parsed = parser.parse(lines)
    for parts in ([parsed], [parsed.take(np.arange(3)), parsed.take(np.arange(3, 5))]):
        span = LogSpan()
        for part in parts:
            span.add(part, parser)
        assert (span.start, span.end) == ("2026-03-12T06:00:00.5Z", "2026-03-12T06:30:00Z")
    for nothing in (parser.parse(["up", "down"]), parsed.take(np.arange(0))):
        span.add(nothing, parser)
        assert span.end == "2026-03-12T06:30:00Z"


def test_of_a_log_with_its_newest_lines_first_the_earlier_time_is_the_start():
    backward = sequence(1, {"disk is full": 3.0, "retry": 1.0})
    for entry in backward["entries"]:
        entry["time"] = stamp(100 - entry["line"])
    (finding,) = found(backward)
    assert (finding.start, finding.end) == (stamp(98), stamp(99))
    for entry in finding.entries:
        assert entry.first_time <= entry.last_time
    parser = LogParser()
    span = LogSpan()
    span.add(parser.parse(["2026-03-12T07:00:00.25Z stop", "2026-03-12T07:00:00Z start"]), parser)
    assert span.times() == {"start": "2026-03-12T07:00:00Z", "end": "2026-03-12T07:00:00.25Z"}
    # Without a year, the end may be in the next one.
    assert in_time("--12-31T23:59:59", "--01-01T00:00:01") == ("--12-31T23:59:59", "--01-01T00:00:01")
    assert in_time("2026-03-12T07:00:00Z", "2026-03-12T07:00:00.5Z")[0] == "2026-03-12T07:00:00Z"


def test_what_all_of_a_log_says_of_its_dates_holds_at_its_ends():
    parser = LogParser()
    parsed = parser.parse(["03/12/2026 06:00:00 up", "13/12/2026 06:00:00 down", "04/12/2026 07:00:00 up"])
    rows = np.array([0, 2])  # of which nothing says that the day comes first
    parsed.seconds = parser.timestamps(parsed)
    span = LogSpan()
    span.add(parsed.take(rows), parser)
    assert (span.start, span.end) == ("2026-12-03T06:00:00", "2026-12-04T07:00:00")


# ---------------------------------------------------------------------- real logs


@pytest.fixture(scope="module")
def general():
    return pipeline("log-anomaly", model=str(MINI), device="cpu")


@pytest.fixture(scope="module")
def reference(general):
    return general.fit(HEALTHY)


def test_the_examples_three_faults_are_three_findings(general, reference):
    findings = general.findings(FAULTY, reference=reference, order="time")
    assert [finding.reasons[0].kind for finding in findings] == ["new_entry"] * 3
    for finding, word in zip(findings, ("client 127.0.0.9", ".htaccess", "Connection refused"), strict=True):
        assert any(word in entry.text for entry in finding.entries)
        assert finding.start < finding.end
        assert finding.entries[0].count > 3
    log = findings.summary.logs[0]
    assert (log.lines, log.mode, log.kept_rate, log.findings) == (1436, "reference", pytest.approx(1 / 63), 3)
    # The first and the last entry of the log, not of what was found.
    assert (log.start, log.end) == ("2026-11-24T03:19:30Z", "2026-11-24T03:20:17Z")
    assert findings.summary.promised_rate == 0.01
    alone = general.findings(FAULTY)
    assert {finding.id for finding in alone} == {finding.id for finding in findings}
    assert (alone.summary.mode, alone.summary.kept_rate) == ("self", None)


def test_a_log_in_memory_has_the_findings_of_its_file(general, reference):
    text = FAULTY.read_text()
    for options in ({"reference": reference}, {}, {"reference": False}):
        of_file = general.findings(FAULTY, **options)
        for log in (text, text.encode(), text.splitlines()):
            of_log = general.findings(log, **options)
            assert [finding.id for finding in of_log] == [finding.id for finding in of_file]
            for one, other in zip(of_log, of_file, strict=True):
                assert (one.first_line, one.last_line, one.start) == (other.first_line, other.last_line, other.start)
                assert one.strength == pytest.approx(other.strength, abs=1e-3)
            assert of_log.summary.familiarity == of_file.summary.familiarity
            assert of_log.summary.kept_rate == of_file.summary.kept_rate
            assert of_log.summary.logs[0].start == of_file.summary.logs[0].start is not None


def test_what_cannot_be_read_is_skipped_and_said(general, reference, tmp_path):
    shutil.copy(FAULTY, tmp_path / "b.log")
    (tmp_path / "a.log").write_text("\n \n")
    (tmp_path / "c.log.gz").write_bytes(b"\x1f\x8bnot gzip at all")
    (tmp_path / "d.log").symlink_to("d.log")
    findings = general.findings(tmp_path, reference=reference)
    assert len(findings) == 3
    *_, link = findings.summary.skipped
    assert (link.source, link.reason.count("d.log"), "[Errno" in link.reason) == (str(tmp_path / "d.log"), 1, False)
    (tmp_path / "d.log").unlink()
    findings = general.findings(tmp_path, reference=reference)
    assert [log.source for log in findings.summary.logs] == [str(tmp_path / "b.log")]
    assert [log.source for log in findings.summary.skipped] == [str(tmp_path / "a.log"), str(tmp_path / "c.log.gz")]
    assert "no log entries" in findings.summary.skipped[0].reason
    with pytest.raises(ValueError, match="no log entries"):
        general.findings(tmp_path / "a.log", reference=reference)
    with pytest.raises(FileNotFoundError):
        general.findings(tmp_path / "nowhere.log")
    with pytest.raises(ValueError, match="`order`"):
        general.findings(FAULTY, order="size")


def test_what_logs_have_in_common_is_encoded_once(general, tmp_path):
    for name in ("first.log", "second.log"):
        shutil.copy(FAULTY, tmp_path / name)
    encoded = []
    encoder = general.model.get_submodule(f"{general.model.base_model_prefix}.encoder")
    hook = encoder.register_forward_hook(lambda *call: encoded.append(len(call[2].last_hidden_state)))
    try:
        general.findings(tmp_path / "first.log")
        of_one = sum(encoded)
        general.findings([tmp_path / "first.log", tmp_path / "second.log"])
    finally:
        hook.remove()
    assert of_one > 0
    assert sum(encoded) == 2 * of_one


def test_sequences_stay_as_they_are(general, reference):
    """Findings need more of an entry than results promise."""
    keys = ["line", "last_line", "text", "score", "truncated"]
    assert all(list(of) == keys for one in general.scan(FAULTY, reference=reference) for of in one["entries"])


def test_sessions_of_a_real_log(general, tmp_path):
    log = tmp_path / "hdfs.log"
    steps = ["receiving {}", "received {}", "served {} to 10.0.0.1", "deleting {}"]
    lines = []
    for block in range(60):
        for step in [*steps[:2], "exception while serving {}: disk is full", *steps[2:]] if block % 20 == 3 else steps:
            lines.append(step.format(f"blk_{block}"))
    log.write_text("\n".join(lines))
    findings = general.findings(log, session_pattern=r"(blk_\d+)", reference=False, threshold=1e-6)
    assert sum(finding.sessions for finding in findings) == 60
    assert sum(finding.sequences for finding in findings) == 60
    assert all(name.startswith("blk_") for finding in findings for name in finding.session_names)
