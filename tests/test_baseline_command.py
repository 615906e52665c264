"""Judging against healthy logs: the command's words, `logmoe fit`, `LogAnomalyDetector.fit`, and the demo."""

import contextlib
import gzip
import json
import random
import re
import runpy
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from filelock import FileLock

from logmoe import LogAnomalyDetector, accept_command, answering, inference, loading
from logmoe.answering import TextAnswer, percent, promise, rarity, telling
from logmoe.judging_logmoe import Judge
from logmoe.reference_logmoe import LogReference
from logmoe.services_logmoe import Services
from logmoe.statistics_logmoe import ScanStatistics
from logmoe.weighing_logmoe import Against

FAULT = "ERROR db: connection refused by 10.0.0.9, orders are lost"


def service(entries: int, seed: int) -> list[str]:
    """A web shop's ordinary day."""
    rng = random.Random(seed)
    kinds = [
        "INFO http: GET /cart/{n} 200 in {n} ms",
        "INFO http: GET /goods/{n} 200 in {n} ms",
        "INFO http: POST /order/{n} 201 in {n} ms",
        "INFO db: transaction {n} committed",
        "INFO cache: {n} keys expired",
        "WARN http: client 10.0.0.{n} gave up",
    ]
    return [
        f"2026-03-12 {6 + row // 3600:02}:{row // 60 % 60:02}:{row % 60:02} "
        + rng.choices(kinds, (30, 30, 12, 12, 6, 2))[0].format(n=rng.randrange(1, 255))
        for row in range(entries)
    ]


def faulty(entries: int, seed: int) -> list[str]:
    lines = service(entries, seed)
    middle = entries // 2
    return [line[:20] + FAULT if middle <= row < middle + 12 else line for row, line in enumerate(lines)]


@pytest.fixture(scope="module")
def general():
    return inference.load_pipeline(inference.DEFAULT_CHECKPOINT, device="cpu")


@pytest.fixture
def logs(tmp_path, general, monkeypatch):
    """A folder of logs, and a command that need not load the checkpoint anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "load_pipeline", lambda *_, **__: general)
    for name, lines in (
        ("yesterday.log", service(4000, 1)),
        ("today.log", faulty(640, 2)),
        ("quiet.log", service(640, 3)),
        ("short.log", faulty(30, 4)),
        ("other.log", [f"kernel: usb {row % 7}-1: new device number {row}" for row in range(600)]),
    ):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def run(logs, capsys):
    def run(*arguments):
        code = inference.main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def results(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def first_line(out: str) -> str:
    return out.splitlines()[0]


# ---------------------------------------------------------------------- the command


def test_against_a_healthy_log(run):
    code, out, _ = run("today.log", "--baseline", "yesterday.log", "--fail-on-finding")
    assert code == 1
    assert first_line(out).endswith("% of this log is familiar)")
    assert " in 640 lines; judged against yesterday.log (4,000 healthy entries, 9" in first_line(out)
    first = out.split("\n\n")[1]
    assert first.startswith("1. lines 321-332; 2026-03-12 06:05:20 to 06:05:31; at most 1 in ")
    assert f" 12 times, lines 321-332  2026-03-12 06:05:20 {FAULT}" in first
    assert out.splitlines()[-1].endswith("of 20 sequences anomalous; at most 1% of healthy ones would be")


def test_sequences_against_a_healthy_log(run):
    code, out, _ = run("today.log", "--baseline", "yesterday.log", "--sequences", "--fail_on_anomaly")
    assert code == 1
    assert first_line(out).startswith("today.log: judged against yesterday.log (4,000 healthy entries, 9")
    assert first_line(out).endswith("% of this log is familiar)")
    assert "\n  lines 321-352: anomaly " in out
    assert " healthy sequences is as odd\n" in out
    assert FAULT in out
    summary = out.splitlines()[-1]
    assert summary.startswith("today.log: 640 lines, ")
    assert summary.endswith("of 20 sequences anomalous; at most 1% of healthy ones would be")


@pytest.mark.parametrize(("threshold", "is_kept"), [(0.2, False), (0.5, True), (0.8, True)])
def test_below_the_threshold_of_the_promise_nothing_is_promised(run, general, threshold, is_kept):
    given = ["today.log", "--baseline", "yesterday.log", "--threshold", str(threshold)]
    promise, none = "at most 1% of healthy ones would be", "at a threshold below 0.5, which promises nothing"
    answer = run(*given)[1].rstrip()
    assert (promise in answer) == is_kept
    assert ("of 20 sequences anomalous; nothing is promised" in answer) != is_kept
    _, of_sequences, _ = run(*given, "--sequences")
    assert of_sequences.rstrip().endswith(promise if is_kept else none)
    for log in ("today.log", Path("today.log").read_text()):
        summary = general.findings(log, reference="yesterday.log", threshold=threshold).summary
        rates = (0.01, pytest.approx(0.01, rel=0.3)) if is_kept else (None, None)
        assert (summary.promised_rate, summary.kept_rate) == rates


def test_a_saved_reference_says_the_same_as_its_log(run, general, monkeypatch):
    code, out, err = run("fit", "yesterday.log", "-o", "yesterday.reference")
    assert (code, err) == (0, "")
    assert out.startswith("yesterday.reference: 4,000 healthy entries from 1 log; all kept; 5 distinct texts, 5 temp")
    _, of_log, _ = run("today.log", "--baseline", "yesterday.log", "--json", "--all")
    monkeypatch.setattr(general, "fit", None)  # a reference is not fitted again
    _, of_reference, _ = run("today.log", "--baseline", "yesterday.reference", "--json", "--all")
    assert len(results(of_log)) == 20
    for one, other in zip(results(of_log), results(of_reference), strict=True):
        assert one["logits"] == pytest.approx(other["logits"], abs=1e-4)
        assert (one["label"], one["healthy_rarity"]) == (other["label"], other["healthy_rarity"])
    _, out, _ = run("today.log", "--baseline", "yesterday.reference")
    assert "judged against yesterday.reference (4,000 healthy entries" in out


def test_the_healthy_logs_are_read_once(run, general, monkeypatch):
    fitted = []
    fit = general.fit
    monkeypatch.setattr(general, "fit", lambda *logs, **kwargs: fitted.append(logs) or fit(*logs, **kwargs))
    _, out, _ = run("today.log", "quiet.log", "--baseline", "yesterday.log", "--baseline", "other.log")
    assert fitted == [("yesterday.log", "other.log")]
    assert first_line(out).startswith("2 logs: ")
    assert " in 1,280 lines; judged against yesterday.log and 1 other (4,600 healthy entries" in first_line(out)
    assert "1. today.log, lines 321-332; " in out


def test_a_healthy_log_of_another_kind_does_not_hide_a_fault(run, logs):
    """Whichever comes first. All of it is new to the other one, and nothing may be odd because of that."""
    (logs / "kernel.log").write_text(
        "\n".join(f"kernel: usb {row % 7}-1: new device number {row}" for row in range(576))
    )
    for healthy in (("yesterday.log", "kernel.log"), ("kernel.log", "yesterday.log")):
        _, out, _ = run("today.log", *(word for name in healthy for word in ("--baseline", name)))
        assert "1. lines 321-332; " in out
        assert FAULT in out


def test_folders_patterns_and_empty_logs(run, logs):
    (logs / "old").mkdir()
    for seed, name in ((5, "a.log"), (6, "b.log")):
        (logs / "old" / name).write_text("\n".join(service(600, seed)))
    (logs / "old" / "c.log").touch()
    for baseline in ("old", "old/*.log"):
        _, out, _ = run("quiet.log", "--baseline", baseline)
        assert f" in 640 lines; judged against {baseline} (1,200 healthy entries" in first_line(out)
    _, out, _ = run("fit", "old", "-o", "old.reference")
    assert "from 2 logs;" in out
    code, _, err = run("fit", "old/c.log", "-o", "none")
    assert code == 2
    assert "old/c.log" in err
    assert not (logs / "none").exists()


def test_a_healthy_log_that_is_given_twice_counts_once(run, logs):
    """Counted twice, its own repetition would make it look more regular than it is, and more would be called."""
    with gzip.open(logs / "copy.log.gz", "wb") as copy:
        copy.write((logs / "quiet.log").read_bytes())
    (logs / "link.log").symlink_to("quiet.log")
    _, alone, _ = run("short.log", "--baseline", "quiet.log")
    again = [word for name in ("quiet.log", "./quiet.log", "copy.log.gz", "link.log") for word in ("--baseline", name)]
    code, out, err = run("short.log", *again)
    assert (code, out) == (0, alone)
    assert "judged against quiet.log (640 healthy entries" in first_line(out)
    assert err.splitlines() == [
        "skipped: ./quiet.log: it holds the same as quiet.log, and what is healthy counts once",
        "skipped: copy.log.gz: it holds the same as quiet.log, and what is healthy counts once",
        "skipped: link.log: it holds the same as quiet.log, and what is healthy counts once",
    ]
    _, out, err = run("fit", "quiet.log", "quiet.log", "other.log", "-o", "one")
    assert out.startswith("one: 1,240 healthy entries from 2 logs; all kept")
    assert err == "skipped: quiet.log: it was given before, and what is healthy counts once\n"
    _, out, err = run("fit", "one", "one/", "short.log", "-o", "all")
    assert out.startswith("all: 1,270 healthy entries from 1 log and 1 reference; all kept")
    assert err == "skipped: one/: it holds the same as one, and what is healthy counts once\n"


def test_logs_that_begin_alike_are_two(general, logs, caplog):
    beginning = "\n".join(["kernel: usb 1-1: new device"] * 300) + "\n"
    for name in ("first.log", "second.log"):
        (logs / name).write_text(f"{beginning}kernel: {name}\n")
    assert general.fit("first.log", "second.log").num_entries == 602
    assert not caplog.records
    assert general.fit("first.log", "second.log", "first.log").num_entries == 602
    assert "skipping first.log: it was given before" in caplog.text


def test_fit_merges_references(run):
    run("fit", "yesterday.log", "-o", "one")
    run("fit", "quiet.log", "-o", "two")
    _, out, _ = run("fit", "one", "two", "short.log", "-o", "all")
    assert out.startswith("all: 4,670 healthy entries from 1 log and 2 references; all kept")
    assert LogReference.from_pretrained("all").num_entries == 4670
    run("fit", "all", "today.log", "-o", "all")  # a reference is replaced
    assert LogReference.from_pretrained("all").num_entries == 5310


def test_fit_says_what_it_dropped(run):
    _, out, _ = run("fit", "yesterday.log", "-o", "small", "--max-reference-entries", "1000")
    reference = LogReference.from_pretrained("small")
    assert 500 <= len(reference) <= 1000
    assert f"{len(reference):,} kept" in out
    assert f"dropped {4000 - len(reference):,}, evenly over the logs (--max-reference-entries)" in out


def test_fit_says_that_a_healthy_log_is_not_in_the_order_of_time(run, logs, general, caplog):
    newest_first = service(700, 5)[::-1]
    (logs / "reversed.log").write_text("\n".join(newest_first))
    said = "699 of 700 entries are older than the one before: this log has its newest entries first, so order, pace"
    code, _, err = run("fit", "reversed.log", "quiet.log", "-o", "both")
    assert code == 0
    assert err.startswith(f"warning: reversed.log: {said}")
    assert err.count("\n") == 1
    assert run("fit", "reversed.log", "-o", "both", "-q")[2] == ""
    general.fit("\n".join(newest_first))
    assert caplog.records[-1].getMessage().startswith(f"the healthy log: {said}")


def test_fit_overwrites_nothing_but_references(run, logs):
    (logs / "photos").mkdir()
    (logs / "photos" / "cat.png").write_bytes(b"cat")
    for folder, what in (("photos", "a folder that holds no reference"), ("today.log", "a file")):
        code, _, err = run("fit", "yesterday.log", "-o", folder)
        assert code == 2
        assert err.startswith(f"error: {folder} is {what}: name a new folder")
    assert [path.name for path in (logs / "photos").iterdir()] == ["cat.png"]
    code, _, err = run("fit", "nowhere.log", "-o", "new")
    assert code == 2
    assert "nowhere.log" in err
    assert not (logs / "new").exists()


def test_a_log_by_itself_stands_out_and_promises_nothing(run):
    promises_nothing = "judged against itself: shows what stands out, promises nothing"
    _, out, _ = run("today.log")
    assert first_line(out) == f"today.log: 1 finding in 640 lines; {promises_nothing}"
    assert "; stands out; id " in out
    assert "anomal" not in out
    _, out, _ = run("today.log", "--sequences", "--all")
    assert first_line(out) == f"today.log: {promises_nothing}"
    assert " stands out " in out
    assert "anomal" not in out
    assert out.splitlines()[-1].endswith((" stand out", " stands out"))
    _, out, _ = run("today.log", "--json")
    assert {(of["label"], of["mode"]) for of in results(out)} == {("anomaly", "self")}


def test_a_short_log_is_judged_by_its_wording(run, general, logs):
    too_short = "too short to have habits (30 entries): judged by its wording"
    _, out, _ = run("short.log", "--sequences")
    assert first_line(out) == f"short.log: {too_short}"
    _, out, _ = run("short.log")
    # Little, by words alone; what is called an error is shown all the same, and that this is no all-clear.
    assert first_line(out) == f"short.log: no findings in 30 lines; {too_short}"
    assert f"  line 16  2026-03-12 06:00:15 {FAULT}\n" in out
    assert "no all-clear" in out
    for arguments in (["short.log"], ["today.log", "--no_baseline"]):
        _, out, _ = run(*arguments, "--json", "--all")
        expected = general((logs / arguments[0]).read_text(), reference=False)["sequences"]
        assert [of["mode"] for of in results(out)] == ["none"] * len(expected)
        for one, other in zip(results(out), expected, strict=True):
            assert one["logits"] == pytest.approx(other["logits"], abs=1e-3)
    assert first_line(run("today.log", "--no_baseline", "--sequences")[1]) == "today.log: judged by its wording"
    assert first_line(run("today.log", "--no_baseline")[1]).endswith(" in 640 lines; judged by its wording")


def test_a_reference_of_another_service_is_said_first(run):
    misfit = "other.log: this reference does not fit this log: less than 1% of its entries are familiar"
    for form in ([], ["--sequences"]):
        _, out, _ = run("other.log", "--baseline", "yesterday.log", *form)
        assert first_line(out) == misfit
        assert out.count("does not fit") == 1
    for form in (["--json"], ["--format", "jsonl"]):
        _, out, err = run("other.log", "--baseline", "yesterday.log", *form)
        assert results(out)
        assert err == f"warning: {misfit}\n"
    assert "does not fit" not in run("quiet.log", "--baseline", "yesterday.log")[1]


def test_a_green_job_of_a_dozen_lines_against_a_red_one(run, logs):
    steps = [f"step {row}: {name} ok" for row, name in enumerate(["fetch", "build", "lint", "types"] * 3)]
    (logs / "green.log").write_text("\n".join(steps))
    (logs / "red.log").write_text("\n".join([*steps[:9], "AssertionError: 3 != 4", "1 failed, 211 passed"]))
    code, out, _ = run("red.log", "--baseline", "green.log", "--json", "--all")
    assert code == 0
    (result,) = results(out)
    top = sorted(result["entries"], key=lambda entry: -entry["score"])[:2]
    # An exception belongs to the message above it.
    assert {entry["last_line"] for entry in top} == {10, 11}


def test_what_was_found_before_a_log_broke_off_is_said(run, logs, general, monkeypatch):
    monkeypatch.setattr(general, "scan", partial(general.scan, chunk_bytes=1 << 14))
    packed = gzip.compress("\n".join(faulty(4000, 7)).encode())
    (logs / "broken.log.gz").write_bytes(packed[: len(packed) * 3 // 4])
    for form in ([], ["--sequences"]):
        code, out, err = run("broken.log.gz", "--baseline", "yesterday.log", *form)
        assert code == 2
        assert err.startswith("error: broken.log.gz: ")
        assert "judged against yesterday.log (4,000 healthy entries, " in first_line(out)
        assert FAULT in out


def test_what_is_promised(run, logs):
    _, out, _ = run("quiet.log", "--baseline", "yesterday.log", "--false_alarm_rate", "0.1")
    assert out.endswith("; at most 10% of healthy ones would be\n")
    _, out, _ = run("quiet.log", "--baseline", "today.log")  # 20 sequences
    assert out.endswith("; too few healthy sequences for 1%: 4.8% is what they allow\n")
    (logs / "morning.log").write_text("\n".join(service(100, 6)))
    _, out, _ = run("quiet.log", "--baseline", "morning.log")
    assert out.endswith("; too few healthy sequences to promise how many of them would be\n")
    _, out, _ = run("quiet.log", "--baseline", "yesterday.log", "--false_alarms_per_day", "100")
    assert out.endswith("; at most 100 a day of healthy ones would be\n")
    _, out, _ = run("quiet.log", "--baseline", "yesterday.log", "--false_alarms_per_day", "1")
    assert "; too few healthy sequences for 1 a day: " in out
    code, _, err = run("quiet.log", "--baseline", "yesterday.log", "--false_alarms_per_day", "5e-324")
    assert code == 2
    assert "`false_alarms_per_day` must be a number in (1e-09, inf), got 5e-324" in err
    code, _, err = run("other.log", "--baseline", "other.log", "--false_alarms_per_day", "1")
    assert code == 2
    assert "`false_alarm_rate`" in err


def test_fitting_tells_how_far_it_is(logs, general):
    seen = []
    general.fit("yesterday.log", "quiet.log", chunk_bytes=40_000, on_progress=lambda *far: seen.append(far))
    first, second = ((logs / name).stat().st_size for name in ("yesterday.log", "quiet.log"))
    assert len(seen) > 4
    assert (first, first) in seen
    assert seen[-1] == (second, second)
    assert all(read <= total for read, total in seen)


@pytest.mark.parametrize(
    "arguments",
    [
        ["today.log", "--false_alarm_rate", "0.1"],
        ["today.log", "--no_baseline", "--false_alarms_per_day", "1"],
        ["today.log", "--baseline", "yesterday.log", "--false_alarm_rate", "0.1", "--false_alarms_per_day", "1"],
        ["today.log", "--baseline", "yesterday.log", "--no_baseline"],
        ["-", "--baseline", "-"],
        ["fit", "yesterday.log"],
    ],
)
def test_arguments_that_do_not_go_together(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "\nerror: " in err


def test_a_checkpoint_trained_on_labels_alone_has_no_baseline(run, checkpoint, monkeypatch):
    labels_alone = loading.load_pipeline(checkpoint)
    monkeypatch.setattr(inference, "load_pipeline", lambda *_, **__: labels_alone)
    code, _, err = run("short.log", "--baseline", "yesterday.log")
    assert code == 2
    assert "trained on labels alone" in err
    assert first_line(run("today.log")[1]) == "today.log: no findings in 640 lines; judged by its wording"


# ---------------------------------------------------------------------- its words


def fake_scan(mode="reference", measured=20_000, familiar=19_000, kept=0.01, against=None):
    statistics = ScanStatistics(mode=mode, measured_entries=measured, familiar_entries=familiar, kept_rate=kept)
    statistics.entries = statistics.lines = measured
    reference = SimpleNamespace(num_entries=5000, services=Services(), sequences_per_day=lambda length: 200.0)
    return SimpleNamespace(
        statistics=statistics,
        against=against or Against(reference),
        judge=Judge({0: "normal", 1: "anomaly"}, 1.0, 0.5),
        rule=SimpleNamespace(max_sequence_length=32),
    )


def fake_sequence(scores, mode="reference", reasons=(), rare=0.005):
    return {
        "label": "anomaly",
        "score": 0.987,
        "first_line": 1,
        "last_line": len(scores),
        "mode": mode,
        "healthy_rarity": rare,
        "reasons": list(reasons),
        "entries": [
            {"line": row, "last_line": row, "text": f"entry {row}", "score": score}
            for row, score in enumerate(scores, 1)
        ],
    }


def test_a_sequence_says_why_it_is_odd(capsys):
    answer = TextAnswer(fake_scan(), "a.log", "good.log", is_live=False, can_measure=True)
    reasons = [
        {"kind": "new_entry", "text": "never seen: \x1b[2J", "weight": 2.0},
        {"kind": "rare_entry", "weight": 1.5},
        {"kind": "unusual_count", "text": "17 times in 32 entries, usually 2 times at most", "weight": 1.0},
        {"kind": "unusual_pace", "text": "too soon", "weight": 0.5},
    ]
    answer.add(fake_sequence([2.0, 0.01, -1.0, 0.5, 0.0, 1.0, 0.4], reasons=reasons))
    assert capsys.readouterr().out.splitlines() == [
        "a.log: judged against good.log (5,000 healthy entries, 95% of its first 20,000 entries are familiar)",
        "",
        "  lines 1-7: anomaly 0.99, at most 1 in 200 healthy sequences is as odd",
        "    never seen: \\x1b[2J",
        "    17 times in 32 entries, usually 2 times at most",
        "         1    +2.00  entry 1",
        "         4    +0.50  entry 4",
        "         6    +1.00  entry 6",
    ]


def test_results_wait_until_it_is_known_how_much_is_familiar(capsys):
    scan = fake_scan(measured=500, familiar=500)
    answer = TextAnswer(scan, "a.log", "good.log", is_live=False, can_measure=True)
    answer.add(fake_sequence([1.0]))
    assert capsys.readouterr().out == ""
    scan.statistics.measured_entries = scan.statistics.entries = 1250
    answer.finish()
    first, *rest = capsys.readouterr().out.splitlines()
    familiar = "only 40% of its entries are familiar; or most of it is trouble"
    assert first == f"a.log: this reference does not fit this log: {familiar}"
    assert rest[0] == "a.log: judged against good.log (5,000 healthy entries, 40% of this log is familiar)"
    assert rest[2].startswith("  lines 1-1: anomaly")


def test_a_stream_does_not_wait(capsys):
    scan = fake_scan(measured=32, familiar=0)
    answer = TextAnswer(scan, "a.log", "good.log", is_live=True, can_measure=True)
    answer.add(fake_sequence([1.0]))
    out = capsys.readouterr().out
    assert first_line(out) == "a.log: judged against good.log (5,000 healthy entries)"  # too early to say more
    scan.statistics.measured_entries = 64
    answer.add(fake_sequence([1.0]))
    answer.add(fake_sequence([1.0]))
    out = capsys.readouterr().out
    assert first_line(out) == "a.log: this reference does not fit this log: less than 1% of its entries are familiar"
    assert out.count("does not fit") == 1
    live = TextAnswer(fake_scan("none"), "standard input", None, is_live=True, can_measure=True)
    live.add(fake_sequence([1.0], mode="none", rare=None))
    assert "(--baseline)" in first_line(capsys.readouterr().out)


def test_numbers_in_words():
    assert [percent(share) for share in (0.01, 0.0333, 0.0001, 0.25, 1.0)] == ["1%", "3.3%", "0.01%", "25%", "100%"]
    assert rarity(0.005) == "at most 1 in 200 healthy sequences is as odd"
    assert rarity(0.5) == "at most 50% of healthy sequences are as odd"
    assert promise(fake_scan(kept=1 / 98)) == "at most 1% of healthy ones would be"  # as near as is said
    daily = Against(fake_scan().against.reference, false_alarms_per_day=1)
    assert promise(fake_scan(kept=0.005, against=daily)) == "at most 1 a day of healthy ones would be"
    assert promise(fake_scan(kept=0.05, against=daily)) == (
        "too few healthy sequences for 1 a day: 10 a day is what they allow"
    )
    assert telling(fake_sequence([-1.0, -2.0, 0.0]), 3) == []
    assert [answering.count(number, "entry") for number in (1, 1200)] == ["1 entry", "1,200 entries"]


# ---------------------------------------------------------------------- LogAnomalyDetector


def test_detector_learns_what_is_healthy(logs, general):
    detector = LogAnomalyDetector(inference.DEFAULT_CHECKPOINT, labels="en")
    today = (logs / "today.log").read_text()
    alone = detector.predict(today)
    assert detector.reference is None
    reference = detector.fit("yesterday.log")
    assert isinstance(reference, LogReference)
    assert detector.reference is reference
    result = detector.predict(today)
    assert list(result) == ["prediction", "confidence", "probabilities", "logits"]
    assert result["prediction"] == "anomaly"
    assert result["logits"] == pytest.approx(general(today, reference=reference)["logits"], abs=1e-4)
    assert result["logits"] != pytest.approx(alone["logits"], abs=1e-2)
    assert detector.predict_batch([today])[0]["logits"] == pytest.approx(result["logits"], abs=1e-4)
    by_wording = general(today, reference=False)["logits"]
    assert detector.predict(today, reference=False)["logits"] == pytest.approx(by_wording, abs=1e-4)
    assert detector.predict_batch([today], reference=False)[0]["logits"] == pytest.approx(by_wording, abs=1e-4)
    other = detector.pipeline.fit(service(700, 8))
    given = detector.predict(today, reference=other)["logits"]
    assert given == pytest.approx(general(today, reference=other)["logits"], abs=1e-4)
    assert detector.reference is reference


# ---------------------------------------------------------------------- the demo


@pytest.fixture
def demo_logs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import demo_logs

    return demo_logs


def test_the_demos_logs_come_from_the_recordings(demo_logs):
    for path, lines in (
        (demo_logs.HEALTHY, demo_logs.healthy_lines()),
        (demo_logs.FAULTY, [row["line"] for row in demo_logs.faulty_lines()]),
    ):
        assert path.read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    assert {row["fault"] for row in demo_logs.faulty_lines() if row["label"]} == set(demo_logs.FAULTS)


def test_the_demo_finds_what_was_injected(demo_logs, general, monkeypatch, capsys):
    monkeypatch.setattr(inference, "load_pipeline", lambda *_, **__: general)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert re.search(r"judged against\s+apache-healthy\.log\s+\(2,000\s+healthy\s+entries", out)
    assert "\n  1. lines " in out
    assert "judged against itself" in out
    _, table = out.split("What was injected, and the findings")
    for fault in demo_logs.FAULTS:
        (row,) = [line.split() for line in table.splitlines() if line.strip().startswith(fault)]
        with_a_healthy_log, alone = row[1:]
        assert with_a_healthy_log[0].isdigit(), fault
        assert alone[0].isdigit(), fault


def test_a_report_that_cannot_be_written_costs_no_answer(logs, run):
    (logs / "full.md").symlink_to("/dev/full")
    code, out, err = run("today.log", "--baseline", "yesterday.log", "-o", "full.md", "-o", "findings.jsonl")
    assert code == 2
    assert out.startswith("today.log: ")
    assert "error: cannot write full.md: No space left on device" in err
    assert json.loads((logs / "findings.jsonl").read_text().splitlines()[-1])["type"] == "summary"


def test_a_report_never_replaces_what_is_read(logs, run):
    log = (logs / "today.log").rename(logs / "today.txt")
    before = log.read_bytes()
    for arguments in (("today.txt",), ("quiet.log", "--baseline", "today.txt")):
        code, out, err = run(*arguments, "-o", "./today.txt")
        assert (code, out) == (2, "")
        assert "cannot write ./today.txt: it is read as a log" in err
        assert log.read_bytes() == before


def test_fitting_over_accepted_findings_says_that_they_go(logs, run):
    assert run("fit", "quiet.log", "-o", "ref")[0] == 0
    reference = LogReference.from_pretrained("ref")
    reference.accept([{"id": "0123456789ab", "masked": ["a"]}])
    reference.save_pretrained("ref")
    code, _, err = run("fit", "ref", "yesterday.log", "-o", "ref")
    assert (code, err) == (0, "")
    assert len(LogReference.from_pretrained("ref").accepted) == 1
    code, _, err = run("fit", "quiet.log", "-o", "ref")
    assert code == 0
    assert "warning: ref is replaced, and with it 1 accepted finding: to keep what is accepted, name it among" in err
    assert run("fit", "quiet.log", "-o", "ref")[2] == ""


def test_as_they_come_each_log_has_a_heading_of_its_own(logs, run, monkeypatch):
    with open("today.log") as piped:
        monkeypatch.setattr("sys.stdin", piped)
        code, out, _ = run("-", "today.log", "--baseline", "yesterday.log")
    assert code == 0
    assert out.startswith("standard input: judged against yesterday.log")
    assert out.count("\n\ntoday.log: judged against yesterday.log") == 1


@pytest.fixture
def good(logs):
    """Healthy logs of which two cannot be read, or not to the end."""
    (logs / "good").mkdir()
    (logs / "good" / "a.log").write_text("\n".join(service(600, 5)))
    whole = gzip.compress("\n".join(service(600, 6)).encode())
    (logs / "good" / "b.log.gz").write_bytes(whole[: len(whole) // 2])
    (logs / "good" / "c.log").write_text("\n \n")
    (logs / "good" / "d\x1b[2J.log").symlink_to("nowhere")
    return logs / "good"


def test_a_bad_log_keeps_fit_from_none_of_the_others(run, good):
    code, out, err = run("fit", "good", "-o", "ref")
    assert code == 2
    assert "error: good/b.log.gz: the compressed log is damaged after " in err
    assert "error: good/d\\x1b[2J.log: No such file or directory\n" in err  # its name once, and no number
    assert "skipped: no log entries in good/c.log" in err
    assert out.endswith("; 2 logs not read to the end\n")
    assert 600 < LogReference.from_pretrained("ref").num_entries < 1200  # of the damaged one what came before
    code, out, err = run("quiet.log", "--baseline", "good")
    assert code == 2
    assert "error: good/b.log.gz: " in err
    assert " in 640 lines; judged against good (" in first_line(out)


def test_where_nothing_can_be_learned_nothing_is_saved(run, good):
    (good / "a.log").unlink()
    (good / "b.log.gz").write_bytes(b"\x1f\x8b")
    code, out, err = run("fit", "good", "-o", "new/ref")
    assert (code, out) == (2, "")
    assert err.endswith("error: no log entry could be read, so nothing was learned\n")
    assert not (good.parent / "new").exists()


def test_the_pipeline_names_the_log_that_it_cannot_learn_from(general, good):
    with pytest.raises(ValueError, match=r"good/b\.log\.gz: the compressed log is damaged"):
        general.fit(good)
    problems = []
    reference = general.fit(good, on_problem=lambda log, error: problems.append((log.rsplit("/")[-1], type(error))))
    assert reference.num_entries > 600
    assert [log[0] for log, _ in problems] == ["b", "c", "d"]


def test_fit_knows_before_the_work_that_it_cannot_save(run, logs, monkeypatch):
    monkeypatch.setattr(inference, "load_pipeline", lambda *_, **__: pytest.fail("the model was loaded"))
    code, _, err = run("fit", "yesterday.log", "-o", "today.log/ref")
    assert code == 2
    assert err.startswith("error: cannot save a reference in today.log/ref: ")
    monkeypatch.setattr(accept_command, "PATIENCE", 0.1)
    (logs / "ref").mkdir()
    with FileLock(logs / "ref" / accept_command.LOCK):  # of another fit, or of `accept`
        code, _, err = run("fit", "yesterday.log", "-o", "ref")
    assert code == 2
    assert "'ref' is being changed by another run" in err


def test_fit_takes_a_folder_that_a_killed_one_left(run, logs):
    (logs / "ref" / ".saving_abc").mkdir(parents=True)
    (logs / "ref" / ".saving_abc" / "texts.parquet").write_text("half")
    (logs / "ref" / f"reference-{'0' * 16}.parquet").write_text("no index names it")
    (logs / "ref" / accept_command.LOCK).touch()
    assert run("fit", "quiet.log", "-o", "ref")[0] == 0
    names = sorted(path.suffix for path in (logs / "ref").iterdir() if path.name != accept_command.LOCK)
    assert names == [".json", ".parquet", ".safetensors"]


@pytest.mark.parametrize("arguments", [("--json", "--all"), ("--sequences",), (), ("--format", "jsonl")])
def test_a_full_disk_below_the_answer_is_no_fault_of_the_log(logs, capsys, monkeypatch, arguments):
    code = None
    with (
        contextlib.suppress(OSError),
        open("/dev/full", "w") as full,
    ):  # which cannot be closed without an error either
        monkeypatch.setattr("sys.stdout", full)
        code = inference.main(["today.log", "--no-baseline", *arguments])
    assert code == 2
    assert capsys.readouterr().err == "error: cannot write the answer: No space left on device\n"


OUTAGE = (
    FAULT,
    "ERROR http: order failed: database is not reachable",
    "ERROR db: connect to 10.0.0.9 timed out, giving up",
    "INFO http: GET /cart/{n} 500 in {n} ms",
)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.7])
def test_a_log_most_of_which_is_the_fault_is_judged_by_wording(general, logs, share):
    """By itself it would show as odd what is left of ordinary life."""
    rng, lines, start = random.Random(1), service(70 * 32, 1), 10 * 32
    end = start + round(share * 70) * 32
    for row in range(start, end):
        lines[row] = lines[row][:20] + rng.choice(OUTAGE).format(n=rng.randrange(1, 255))
    (logs / "outage.log").write_text("\n".join(lines))
    prevail = share > 0.5
    scan = general.scan(logs / "outage.log")
    margins = {True: [], False: []}
    for sequence in scan:
        margins[start < sequence["first_line"] <= end].append(sequence["logits"][1] - sequence["logits"][0])
    assert (scan.statistics.mode, scan.statistics.faults_prevail) == (("self", "none")[prevail], prevail)
    assert np.median(margins[True]) > max(margins[False])
    if not prevail:
        return
    findings = general.findings("\n".join(lines))
    assert findings.summary.logs[0].faults_prevail
    assert findings[0].first_line == start + 1
    assert "reads less like a fault than the rest" in answering.headline(findings.summary)
    assert "reads less like a fault than the rest" in answering.heading(scan)


def test_nothing_that_stands_out_is_no_all_clear(run):
    """By itself a fault that is like the rest of the log is missed; where something is found nobody is advised."""
    advice = "no all-clear: compare with the log of a day or a run that went well (--baseline GOOD)\n"
    code, out, _ = run("quiet.log")
    assert code == 0
    assert "no findings" in first_line(out)
    assert out.endswith(advice)
    assert "no all-clear" not in run("today.log")[1]
    assert "no all-clear" not in run("quiet.log", "--baseline", "yesterday.log")[1]
