"""A log that is another run of the healthy one is compared with it: test runs of a real test runner, green and red."""

import copy
import dataclasses
import io
import json
import pickle
import re
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from conftest import ROOT

from logmoe import answering, inference, rerun_logmoe
from logmoe.findings_logmoe import LogSummary, Summary
from logmoe.fitting_logmoe import ReferenceFit, origin_of, with_places
from logmoe.measuring_logmoe import LogMeasure
from logmoe.rerun_logmoe import NEW_STEPS, Beginning
from logmoe.surprise_logmoe import INPUTS
from logmoe.weighing_logmoe import Weigher, untrained_score
from recordings.windows import read_runs

MODULES = "accounts orders stock prices mail login audit upload".split()
CASES = "create read update delete list filter empty unicode limit permission rollback retry timeout paging".split()
BROKEN = "orders", "rollback"


def run_tests(folder, broken=None) -> str:
    """What `unittest -v` writes of 112 tests, each of which says what it does; one of them may fail."""
    folder.mkdir(parents=True)
    for module in MODULES:
        lines = ["import sys, unittest", f"class {module.title()}(unittest.TestCase):"]
        for case in CASES:
            fails = (module, case) == broken
            lines += [
                f"    def test_{case}(self):",
                f"        print('{module}: {case} twelve rows in the test database', file=sys.stderr)",
                "        raise OSError('no space left on device')" if fails else "        self.assertEqual(1, 1)",
            ]
        (folder / f"test_{module}.py").write_text("\n".join(lines))
    ran = subprocess.run([sys.executable, "-m", "unittest", "-v"], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == (broken is not None), ran.stderr
    return ran.stderr


@pytest.fixture(scope="module")
def pipe():
    return inference.load_pipeline(inference.DEFAULT_CHECKPOINT, device="cpu")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for number, (name, broken) in enumerate((("green", None), ("again", None), ("red", BROKEN))):
        # No two runs take equally long, as they may to the millisecond: of logs that are the same one counts.
        written, times = re.subn(
            r"(?m)^(Ran 112 tests in )\S+$", rf"\g<1>0.00{number + 5}s", run_tests(folder / name, broken)
        )
        assert times == 1
        (folder / f"{name}.log").write_text(written)
    return folder


@pytest.fixture(scope="module")
def reference(pipe, logs):
    return pipe.fit(logs / "green.log")


def nothing(texts):
    """Embeddings that tell nothing: steps do not depend on them."""
    return np.zeros((len(texts), 384), np.float32)


def fitted(pipe, lines):
    """A reference of which steps alone are asked."""
    rule = pipe.processor.sequence_rule()
    fit = ReferenceFit(pipe.processor, rule, origin_of(pipe.model, pipe.processor, rule))
    fit.add_parsed(pipe.processor.parse("\n".join(lines)))
    return fit.finish().encode(nothing)


def beginning_of(pipe, reference, lines):
    """The beginning of a log, as a call reads it."""
    prepared = pipe.preprocess("\n".join(lines))
    parsed = with_places(prepared.parsed, pipe.processor)
    measure = LogMeasure(reference, 32)
    texts = measure.encoder_texts(parsed.distinct.to_pylist())
    return Beginning(reference).add(measure.push(parsed, prepared.sequences, nothing(texts)))


def test_a_red_run_shows_what_failed_and_a_green_one_nothing(pipe, logs, reference):
    """Among the healthy run's own sequences, all of them new to the rest of it, nothing of this would be odd."""
    findings = pipe.findings(logs / "red.log", reference=reference)
    (seen,) = findings.summary.logs
    assert (seen.mode, seen.is_rerun, seen.kept_rate) == ("reference", True, None)
    lines = (logs / "red.log").read_text().splitlines()
    failed = {row for row, line in enumerate(lines, 1) if "OSError" in line or "ERROR" in line or "FAILED" in line}
    assert {line for finding in findings for line in range(finding.first_line, finding.last_line + 1)} >= failed
    assert all(finding.reasons[0].kind == "new_entry" for finding in findings)
    assert not any(reason.kind == "rare_entry" for finding in findings for reason in finding.reasons)
    again = pipe.findings(logs / "again.log", reference=reference)
    assert again.summary.logs[0].is_rerun
    assert not len(again)


@pytest.mark.parametrize("entries", [48, 100, 224])
def test_the_healthy_run_itself_has_no_findings(pipe, logs, entries):
    """Whatever is odd in it is fine, wherever its last window begins."""
    text = "".join((logs / "green.log").read_text().splitlines(keepends=True)[:entries])
    findings = pipe.findings(text, reference=pipe.fit(text))
    assert findings.summary.logs[0].is_rerun
    assert not len(findings)


@pytest.mark.parametrize(
    ("entries", "place", "odd"),
    [
        (224, 216, [f"ERROR fatal: connection refused, attempt {attempt}" for attempt in range(40)]),
        (96, 10, ["ERROR out of memory", "WARN retrying"] * 10),
    ],
    ids=["attempts", "memory"],
)
def test_what_is_odd_in_the_healthy_run_is_fine_wherever_its_threshold_lies(pipe, logs, entries, place, odd):
    lines = (logs / "green.log").read_text().splitlines()[:entries]
    text = "\n".join(lines[:place] + odd + lines[place:])
    reference = pipe.fit(text)
    assert Weigher(pipe.predictor, reference.as_run(), 32).threshold > 1
    findings = pipe.findings(text, reference=reference)
    assert findings.summary.logs[0].is_rerun
    assert not len(findings)


@pytest.mark.parametrize("chunk_bytes", [700, 1 << 20])
def test_calls_and_scans_agree_and_shares_are_exact(pipe, logs, reference, chunk_bytes):
    text = (logs / "red.log").read_text()
    weigher = Weigher(pipe.predictor, reference.as_run(), 32)
    scale = weigher.scale
    median = scale.baseline[None]
    learned = scale.stack + pipe.predictor.term_margins(median)
    score = float(scale.joined(learned, untrained_score(median, scale.counts))[0])
    healthy = weigher.margin(np.array(score))  # of a median sequence of the healthy run
    assert healthy < 0
    called = pipe(text, reference=reference)["sequences"]
    with pipe.scan(logs / "red.log", reference=reference, chunk_bytes=chunk_bytes) as scan:
        scanned = list(scan)
    assert scan.statistics.is_rerun
    for one, other in zip(called, scanned, strict=True):
        assert one["logits"] == pytest.approx(other["logits"], abs=1e-4)
        shares = sum(entry["score"] for entry in one["entries"]) + sum(one["evidence"].values())
        assert one["logits"][1] - one["logits"][0] - shares == pytest.approx(healthy, abs=1e-4)


def recorded(service, split) -> list[str]:
    """The lines of a recorded run; one of "twin" is without faults."""
    return [row["line"] for row in next(read_runs(service, (split,))).rows]


@pytest.mark.parametrize("entries", [150, 600])
@pytest.mark.parametrize("service", ["nginx", "redis", "postgresql"])
def test_a_service_is_no_run(pipe, service, entries):
    """A short log of it knows of another about what it knows of itself: the promise holds, and is kept."""
    reference = fitted(pipe, recorded(service, "twin")[:entries])
    assert reference.steps[1] < 1 - NEW_STEPS
    assert not beginning_of(pipe, reference, recorded(service, "train")).is_rerun


def test_a_service_that_repeats_its_steps_is_no_run(pipe, monkeypatch):
    """Which of its routines follow one another is another matter each day; but most of them come again and again."""
    generator, weights = np.random.default_rng(0), 1 / np.arange(1, len(MODULES) + 1) ** 1.5

    def day():
        routines = generator.choice(MODULES, 100, p=weights / weights.sum())
        return [f"INFO {name} of the broker: step {step}" for name in routines for step in ("aaaa", "bbbb", "cccc")]

    reference, other = fitted(pipe, day()), day()
    assert not beginning_of(pipe, reference, other).is_rerun
    monkeypatch.setattr(rerun_logmoe, "GONE_ONCE", 0.0)
    assert beginning_of(pipe, reference, other).is_rerun  # by all else


@pytest.mark.parametrize("service", ["nginx", "redis"])
def test_a_log_that_has_grown_is_no_run(pipe, service):
    """What was there when the reference was fitted is known trivially; what came since tells."""
    lines = recorded(service, "twin")
    size = round(0.65 * len(lines))
    reference = fitted(pipe, lines[:size])
    assert not beginning_of(pipe, reference, lines).is_rerun
    # By times, where the log begins later than the reference, and else by what is the whole of it.
    assert not beginning_of(pipe, reference, lines[size // 3 :]).is_rerun
    reference.time = reference.time + 86400
    assert not beginning_of(pipe, reference, lines).is_rerun
    assert beginning_of(pipe, reference, lines[:size]).is_rerun
    assert beginning_of(pipe, reference, lines[1 : round(1.1 * size)]).is_rerun  # neither


def test_a_run_that_failed_after_its_last_step_is_one(pipe, logs, reference):
    lines = (logs / "green.log").read_text().splitlines()
    findings = pipe.findings("\n".join([*lines, "ERROR cannot upload the report"]), reference=reference)
    assert [finding.entries[0].text for finding in findings] == ["ERROR cannot upload the report"]


def test_several_green_runs_are_compared_with_as_one_is(pipe, logs):
    """They know each other, so that of the reference nothing comes once."""
    reference = pipe.fit(logs / "green.log", logs / "again.log")
    assert reference.steps[1] > 1 - NEW_STEPS
    findings = pipe.findings(logs / "red.log", reference=reference)
    assert findings.summary.logs[0].is_rerun
    assert any("OSError" in entry.text for finding in findings for entry in finding.entries)


@pytest.mark.parametrize("chunk_bytes", [700, 1 << 20])
def test_steps_that_are_missing_are_said(pipe, logs, reference, chunk_bytes, tmp_path):
    """No line of the log tells of them. What one healthy run of two has is not missing."""
    lines = (logs / "green.log").read_text().splitlines()
    cut = tmp_path / "cut.log"
    cut.write_text("\n".join(lines[: len(lines) // 2]))
    findings = pipe.findings(cut, reference=reference, chunk_bytes=chunk_bytes)
    (seen,) = findings.summary.logs
    (said,) = answering.remarks(findings.summary)
    assert seen.is_rerun
    assert seen.missing_kinds > 20
    assert f"{seen.missing_kinds} kinds of entries of the healthy run never come here, first `" in said
    assert (
        "one kind of entry of the healthy run never comes here: `OK`"
        in answering.remarks(Summary((dataclasses.replace(seen, missing_kinds=1, first_missing="OK"),)))[0]
    )
    (called,) = pipe.findings(cut.read_text(), reference=reference).summary.logs
    assert (called.missing_kinds, called.first_missing) == (seen.missing_kinds, seen.first_missing)
    both = pipe.fit(logs / "green.log", cut)
    (seen,) = pipe.findings(cut, reference=both).summary.logs
    assert seen.is_rerun
    assert seen.missing_kinds == 0


def uniform(tests):
    """What a test run writes that says the same again and again."""
    cases = [f"test_{number} (shop.Pay.test_{number}) ... ok" for number in range(tests)]
    return ["running the tests of shop", *cases, "-" * 60, f"Ran {tests} tests in 3.1s", "", "OK"]


@pytest.mark.parametrize("chunk_bytes", [700, 1 << 20])
def test_a_uniform_run_that_lacks_its_end_is_told(pipe, tmp_path, chunk_bytes):
    """It is no other run of the healthy one by its steps, of which there are few, and without its end looks green."""
    reference, cut = pipe.fit("\n".join(uniform(600))), tmp_path / "cut.log"
    cut.write_text("\n".join(uniform(610)[:300]))
    findings = pipe.findings(cut, reference=reference, chunk_bytes=chunk_bytes)
    (seen,) = findings.summary.logs
    assert (seen.is_rerun, seen.missing_kinds) == (False, 3)
    (said,) = answering.remarks(findings.summary)
    assert said.endswith(f"3 kinds of entries with which the healthy log ends never come here, first `{'-' * 60}`")
    (called,) = pipe.findings(cut.read_text(), reference=reference).summary.logs
    assert (called.missing_kinds, called.first_missing) == (seen.missing_kinds, seen.first_missing)
    for whole in (uniform(600), uniform(640)):
        (seen,) = pipe.findings("\n".join(whole), reference=reference).summary.logs
        assert (seen.missing_kinds, seen.first_missing) == (0, None)


def test_the_end_of_a_log_that_is_cut_anywhere_is_none(pipe):
    """Nor does a log lack it that is begun otherwise; what one healthy log of two ends with is not its end."""
    whole, begun = uniform(600), uniform(610)[:300]
    for healthy, log in (
        ((whole[:400],), begun[:200]),
        ((whole, [*uniform(500)[:-2], "FAILED"]), begun),
        ((whole,), ["the tests of another shop begin", *[f"{number} left" for number in range(8)], *begun[8:]]),
    ):
        reference = pipe.fit(*("\n".join(lines) for lines in healthy))
        (seen,) = pipe.findings("\n".join(log), reference=reference).summary.logs
        assert seen.missing_kinds == 0


def test_another_job_is_no_run_of_this_one(pipe, reference):
    other = [f"copied {name} to the mirror" for name in CASES * 8]
    assert not beginning_of(pipe, reference, other).is_rerun
    assert not Beginning(reference).is_rerun


def test_a_copied_reference_compares_as_well(pipe, logs, reference, tmp_path):
    """Worker processes get one that has compared before."""
    text = (logs / "red.log").read_text()
    expected = [sequence["logits"] for sequence in pipe(text, reference=reference)["sequences"]]
    reference.save_pretrained(tmp_path)
    for copied in (pickle.loads(pickle.dumps(reference)), copy.deepcopy(reference), str(tmp_path)):
        found = pipe(text, reference=copied)
        assert [sequence["logits"] for sequence in found["sequences"]] == expected
    assert pickle.loads(pickle.dumps(reference)).as_run().is_run


def test_what_is_new_counts_without_ranks_too(pipe, logs, reference, monkeypatch):
    monkeypatch.setattr(pipe.model.config, "untrained_weight", 0.0)
    weigher = Weigher(pipe.predictor, reference.as_run(), 32)
    new, known = (np.where(np.array(INPUTS) == "template_new_top3", value, 0.0)[None] for value in (1.0, 0.0))
    new, known = (untrained_score(inputs, weigher.scale.counts) for inputs in (new, known))
    assert weigher.scale.joined(np.zeros(1), new) > weigher.scale.joined(np.zeros(1), known)


def test_few_steps_are_no_evidence(pipe, logs, reference):
    lines = (logs / "green.log").read_text().splitlines()
    assert not beginning_of(pipe, reference, lines[:2]).is_rerun
    assert beginning_of(pipe, reference, lines[:60]).is_rerun


def test_a_stream_is_not_known_to_be_a_run_and_that_is_said(pipe, logs, reference):
    with pipe.scan(io.BytesIO((logs / "red.log").read_bytes()), reference=reference) as scan:
        list(scan)
    assert not scan.statistics.is_rerun
    seen = LogSummary(None, 300, 280, 9, 0, 0, "reference", 0.9, 0.1)
    summary = Summary((seen,), healthy_entries=251, promised_rate=0.01, healthy_familiarity=0.5)
    assert "as a file" in answering.advised(summary)
    assert "as a file" not in answering.unclear(summary)


def test_the_answer_says_what_it_was_compared_with(logs, capsys):
    for form in ([], ["--sequences"]):
        assert inference.main([str(logs / "again.log"), "--baseline", str(logs / "green.log"), *form]) == 0
        assert "another run of the healthy log: shows what differs, promises nothing" in capsys.readouterr().out
    assert inference.main([str(logs / "red.log"), "--baseline", str(logs / "green.log"), "--format", "jsonl"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    schema = json.loads((ROOT / "findings.schema.json").read_text())
    for record in records:
        jsonschema.validate(record, schema)
    (of_log,) = [log for record in records for log in record.get("logs", [])]
    assert of_log["is_rerun"] is True


def test_of_several_logs_the_promise_is_that_of_those_that_are_no_runs():
    run = LogSummary("red.log", 300, 280, 9, 3, 1, "reference", 0.9, None, is_rerun=True)
    other = LogSummary("other.log", 300, 280, 9, 0, 0, "reference", 0.9, 0.1)
    summary = Summary((run, other), healthy_entries=251, promised_rate=0.01, healthy_familiarity=0.5)
    assert summary.kept_rate == 0.1
    said = answering.promised(summary)
    assert said.startswith("3 of 18 sequences anomalous; too few healthy sequences for 1%: 10% is what they allow; ")
    assert said.endswith("1 log of 2: another run of the healthy log: shows what differs, promises nothing")
