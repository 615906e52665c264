"""Findings that somebody called fine: left out of what is found, and nothing else is."""

import io
import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from conftest import make_model, run_command, tiny_processor
from test_baseline_command import FAULT, service

from logmoe import LogAnomalyPipeline, inference, page
from logmoe.accept_command import LOCK
from logmoe.accepting_logmoe import LONGEST_MASKED, Accepted, LeavesOut, moment, together
from logmoe.findings_logmoe import Finding, FindingEntry, Findings
from logmoe.reference_logmoe import LogReference
from logmoe.reporting import jsonl

OTHER = "ERROR disk: /var is full, 0 bytes left"


def finding(*told, id="0123456789ab"):
    entries = tuple(FindingEntry(1, text, share, 1, 1, 1, None, None, text) for text, share in told)
    return Finding(id, None, 1, 1, None, None, 0.9, 2.0, None, "reference", (), entries)


def is_left_out(found, **accepted):
    return LeavesOut({found.id: Accepted(found.id, **accepted)}).is_left_out(found)


# --- which findings --------------------------------------------------------------------------------------------------


def test_a_finding_is_left_out_if_it_is_about_accepted_entries_only():
    known = {"masked": ("a", "b")}
    assert is_left_out(finding(("a", 0.5), ("b", 0.4)), **known)
    assert is_left_out(finding(("a", 0.5), ("c", 0.1)), **known)  # in passing
    assert not is_left_out(finding(("a", 0.5), ("c", 0.2)), **known)
    assert not LeavesOut({"0123456789ab": Accepted("0123456789ab", ("a",))}).is_left_out(
        finding(("a", 1), id="f" * 12)
    )


def test_entries_that_a_page_leaves_out_of_its_marks_are_not_compared():
    assert LONGEST_MASKED == page.MARKED_CHARACTERS
    found = finding(("a" * (LONGEST_MASKED + 1), 0.6), ("b", 0.4))
    accepted = Accepted.of(json.loads(page.mark(found)))
    assert accepted.masked == ("b",)
    assert accepted.covers(found)


def test_what_is_accepted_for_a_while_is_reported_again_and_named():
    found = finding(("a", 1.0))
    end = datetime(2027, 1, 31, 12, tzinfo=UTC)
    accepted = {found.id: Accepted(found.id, ("a",), until=end.isoformat())}
    before, after = (LeavesOut(accepted, end + timedelta(seconds=late)) for late in (-1, 1))
    assert before.is_left_out(found)
    assert not after.is_left_out(found)
    assert (before.number, list(before.ended)) == (1, [])
    assert (after.number, list(after.ended)) == (0, [found.id])


def test_a_date_means_its_end_and_nonsense_is_refused():
    assert moment("2027-01-31").replace(tzinfo=None) == datetime(2027, 1, 31, 23, 59, 59, 999999)
    assert moment("2027-01-31T18:00:00+02:00").astimezone(UTC).hour == 16
    assert moment("2027-01-31T18:00").tzinfo is not None
    for nonsense in ("tomorrow", "", "2027-02-30", 7, "9" * 200):
        with pytest.raises(ValueError, match="give a date such as"):
            moment(nonsense)


def test_accepting_twice_joins_entries_and_keeps_the_last_end():
    first = Accepted("0123456789ab", ("a",), None, "2026-01-01T00:00:00+00:00")
    later = Accepted("0123456789ab", ("b",), "2027-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00")
    expected = {later.id: replace(later, masked=("a", "b"))}
    assert together([first], [later]) == together([later, first]) == expected
    assert together([first] * 1000, [later] * 1000) == expected


# --- a real log ------------------------------------------------------------------------------------------------------


def log(*troubles, seed=2):
    """A day with each of these troubles, far from each other."""
    lines = service(320 * (len(troubles) + 1), seed)
    for number, trouble in enumerate(troubles, 1):
        for row in range(320 * number, 320 * number + 12):
            lines[row] = lines[row][:20] + trouble
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def judged():
    """The pipeline, a reference, a log with two troubles, and what is found in it."""
    pipe = inference.load_pipeline(inference.DEFAULT_CHECKPOINT, device="cpu")
    reference = pipe.fit("\n".join(service(2000, 1)) + "\n")
    findings = pipe.findings(log(FAULT, OTHER), reference=reference)
    assert {FAULT[:9], OTHER[:9]} <= {of.entries[0].text[20:29] for of in findings}
    return SimpleNamespace(pipe=pipe, reference=reference, findings=findings)


@pytest.fixture
def folder(judged, tmp_path):
    judged.reference.save_pretrained(tmp_path / "shop.reference")
    return tmp_path / "shop.reference"


def about(findings, trouble):
    return next(of for of in findings if of.entries[0].text[20:] == trouble)


@pytest.fixture
def piped(monkeypatch):
    def piped(text):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode()), isatty=lambda: False))

    return piped


def test_what_the_page_collects_is_left_out_and_all_else_stays(judged, folder, piped, capsys, tmp_path):
    fine = about(judged.findings, FAULT)
    piped(page.mark(fine) + "\n\n")
    assert run_command("accept", folder) == 0
    assert capsys.readouterr().out == f"{folder}: 1 finding accepted; 1 in all\n"
    again = judged.pipe.findings(log(FAULT, OTHER), reference=str(folder))
    assert list(again) == [of for of in judged.findings if of != fine]
    assert again.summary.total("accepted") == 1
    assert again.summary.total("findings") == len(again)
    assert again.summary.total("anomalous_sequences") == judged.findings.summary.total("anomalous_sequences")
    (tmp_path / "tomorrow.log").write_text(log(OTHER, FAULT, seed=5))
    tomorrow = judged.pipe.findings(tmp_path / "tomorrow.log", reference=str(folder))
    assert [of.id for of in tomorrow if of.entries[0].text[20:] == FAULT] == []
    assert about(tomorrow, OTHER)
    assert tomorrow.summary.to_dict()["accepted"] == 1


def test_trouble_that_joins_what_is_fine_is_reported(judged, folder):
    reference = LogReference.from_pretrained(folder)
    reference.accept([about(judged.findings, FAULT)])
    lines = log(FAULT).splitlines()
    lines[326] = lines[326][:20] + "FATAL db: corrupted page 7, giving up"
    found = judged.pipe.findings("\n".join(lines) + "\n", reference=reference)
    assert any("FATAL" in entry.text for of in found for entry in of.entries)


def test_a_time_that_has_passed_is_said(judged, folder):
    reference = LogReference.from_pretrained(folder)
    fine = about(judged.findings, FAULT)
    reference.accept([fine], until="2020-01-01")
    again = judged.pipe.findings(log(FAULT, OTHER), reference=reference)
    assert list(again) == list(judged.findings)
    (expired,) = again.summary.expired
    assert (expired.id, expired.until[:10]) == (fine.id, "2020-01-01")
    assert again.summary.to_dict()["expired"] == [{"id": fine.id, "until": expired.until}]


# --- the command -----------------------------------------------------------------------------------------------------


def tiny_reference(path):
    """Without a checkpoint's weights being read."""
    pipe = LogAnomalyPipeline(model=make_model(), processor=tiny_processor())
    pipe._require_surprise = lambda: None
    reference = pipe.fit("a b c\nd e\n" * 20)
    reference.save_pretrained(path)
    return reference


@pytest.fixture
def small(tmp_path):
    tiny_reference(tmp_path / "small")
    return tmp_path / "small"


def test_ids_are_looked_up_in_files(small, tmp_path, capsys, judged):
    written = tmp_path / "findings.jsonl"
    found = (finding(("a", 1.0)), finding(("b", 1.0), id="f" * 12))
    written.write_text(jsonl(Findings(found, judged.findings.summary)))
    assert run_command("accept", small, "f" * 12, findings=[str(written)], until="2099-12-31") == 0
    assert f"accepted until {moment('2099-12-31').isoformat(' ', 'minutes')}; 1 in all" in capsys.readouterr().out
    (accepted,) = LogReference.from_pretrained(small).accepted.values()
    assert (accepted.id, accepted.masked) == ("f" * 12, ("b",))
    for arguments, said in (
        ({"ids": ["0" * 12, "f" * 12], "findings": [str(written)]}, f"no finding {'0' * 12} in {written}"),
        ({"ids": ["f" * 12]}, "give --findings FILE.jsonl"),
        ({"ids": [str(written)]}, f"{written} is a file, not the id of a finding: give --findings {written} and"),
        ({"findings": [str(written)]}, "name the ids"),
        ({"ids": ["f" * 12], "findings": [str(written)], "until": "soon"}, "'soon' is no time"),
        ({"ids": ["f" * 12], "findings": [str(tmp_path / "gone.jsonl")]}, "No such file"),
    ):
        assert run_command("accept", small, *arguments.pop("ids", ()), **arguments) == 2
        assert said in capsys.readouterr().err
    assert len(LogReference.from_pretrained(small).accepted) == 1


def test_listed_and_undone(small, piped, capsys):
    piped(page.mark(finding(("a\x1b[2J", 1.0))))
    assert run_command("accept", small) == 0
    capsys.readouterr()
    assert run_command("accept", small, list=True) == 0
    assert capsys.readouterr().out == '0123456789ab  for good  ["a\\u001b[2J"]\n'
    assert run_command("accept", small, "0123456789ab", undo=True) == 0
    assert run_command("accept", small, "0123456789ab", undo=True) == 2
    assert "not accepted" in capsys.readouterr().err
    assert not LogReference.from_pretrained(small).accepted
    assert not list(small.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "standard input is empty"),
        ("nonsense", "line 1: no JSON"),
        ('{"id": "0123456789ab", "masked": []}\n[]', "line 2: a JSON object is needed"),
        ('{"id": "../../etc", "masked": []}', '"id" must be the 12 hexadecimal digits'),
        ('{"id": "0123456789ab", "masked": [1]}', '"masked" must be a list'),
        ('{"id": "0123456789ab"}', '"masked" must be a list'),
        ("[" * 200_000, "line 1: "),
    ],
)
def test_lines_that_are_no_findings_change_nothing(small, piped, capsys, text, said):
    piped(text)
    before = (small / "reference.json").read_bytes()
    assert run_command("accept", small) == 2
    assert said in capsys.readouterr().err
    assert (small / "reference.json").read_bytes() == before


def test_a_folder_that_is_no_reference(tmp_path, piped, capsys):
    piped(page.mark(finding(("a", 1.0))))
    assert run_command("accept", tmp_path / "none") == 2
    assert "no reference at" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_runs_at_once_lose_nothing(small):
    """Each reads, changes and writes the whole."""
    from logmoe.accept_command import _change

    records = [{"id": f"{number:012x}", "masked": ["a"]} for number in range(8)]
    threads = [
        threading.Thread(target=lambda record=of: list(_change(small, [record], None, False))) for of in records
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(LogReference.from_pretrained(small).accepted) == 8
    assert sorted(os.listdir(small)) == sorted({LOCK, "reference.json", *_named(small)})


def _named(folder):
    return json.loads((folder / "reference.json").read_text())["files"]


def test_merging_and_fitting_anew_keep_what_is_fine(small):
    reference, other = LogReference.from_pretrained(small), LogReference.from_pretrained(small)
    reference.accept([finding(("a", 1.0))])
    other.accept([finding(("b", 1.0)), finding(("c", 1.0), id="f" * 12)])
    merged = reference.merge(other)
    assert merged.accepted["0123456789ab"].masked == ("a", "b")
    assert len(merged.accepted) == 2


def test_what_another_reference_accepts_is_taken_over_with_its_dates(small, tmp_path, capsys):
    """As when a log is learned anew, and the old one is to go."""
    old = LogReference.from_pretrained(small)
    old.accept([finding(("a", 1.0))], until="2099-12-31")
    old.accept([finding(("b", 1.0), id="f" * 12)])
    old.save_pretrained(tmp_path / "old")
    assert run_command("accept", small, like=tmp_path / "old") == 0
    assert "2 findings accepted; 2 in all" in capsys.readouterr().out
    assert LogReference.from_pretrained(small).accepted == old.accepted
    assert run_command("accept", small, "f" * 12, like=tmp_path / "old") == 2
    assert "goes with REFERENCE alone" in capsys.readouterr().err
    assert run_command("accept", small, like=tmp_path / "none") == 2
    assert "no reference at" in capsys.readouterr().err


def test_a_damaged_list_is_refused(small):
    reference = LogReference.from_pretrained(small)
    reference.accept([finding(("a", 1.0))])
    reference.save_pretrained(small)
    (path,) = small.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(ValueError, match="is not what was saved"):
        LogReference.from_pretrained(small)
