"""The endpoint's handler, called as Hugging Face's inference toolkit does: by file, with a checkpoint's folder."""

import importlib.util
import json
import re
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import pytest
from conftest import MINI, ROOT
from packaging.requirements import Requirement
from transformers import pipeline

from logmoe.handler import REFERENCE_FOLDER, REQUIREMENTS

HEALTHY, FAULTY = ((ROOT / "examples" / f"apache-{kind}.log") for kind in ("healthy", "faulty"))
SCHEMA = json.loads((ROOT / "findings.schema.json").read_text())


def load(folder: Path, monkeypatch):
    """As `check_and_register_custom_pipeline_from_directory` of huggingface-inference-toolkit does."""
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", folder / "handler.py")
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "handler.EndpointHandler", module)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


@pytest.fixture(scope="module")
def handler():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load(MINI, monkeypatch)


@pytest.fixture(scope="module")
def answer(handler):
    return handler({"inputs": FAULTY.read_text(), "parameters": {"reference": HEALTHY.read_text()}})


def test_findings_are_records(handler, answer):
    assert [record["type"] for record in answer] == ["finding"] * 3 + ["summary"]
    assert (answer[3]["mode"], answer[3]["healthy_entries"]) == ("reference", 2000)
    for record in answer:
        jsonschema.validate(json.loads(json.dumps(record)) | {"version": "0"}, SCHEMA)
    # Entries are the same log, and what was learned is remembered.
    entries = FAULTY.read_text().splitlines()
    again = handler({"inputs": entries, "parameters": {"reference": HEALTHY.read_text().splitlines()}})
    assert [record["id"] for record in again[:3]] == [record["id"] for record in answer[:3]]
    learned = handler._latest[1]
    handler({"inputs": entries[:40], "parameters": {"reference": HEALTHY.read_text().splitlines()}})
    assert handler._latest[1] is learned


def test_parameters(handler):
    log = "\n".join(FAULTY.read_text().splitlines()[:300])
    assert handler({"inputs": log})[-1]["mode"] == "self"
    assert handler({"inputs": log, "parameters": {"reference": False}})[-1]["mode"] == "none"
    whole = handler({"inputs": log, "parameters": {"format": "sequences", "reference": "self"}})
    assert whole["mode"] == "self"
    assert len(whole["sequences"]) == 10
    lines = handler({"inputs": log.splitlines(), "parameters": {"format": "sequences"}})
    assert [each["label"] for each in lines["sequences"]] == [each["label"] for each in whole["sequences"]]
    # The toolkit passes a query's values as texts.
    low = handler({"inputs": log, "parameters": {"format": "sequences", "threshold": "0.0001"}})
    assert sum(each["label"] == "anomaly" for each in low["sequences"]) > sum(
        each["label"] == "anomaly" for each in whole["sequences"]
    )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], 'expected {"inputs": log'),
        ({"text": "a"}, 'expected {"inputs": log'),
        ({"inputs": 1}, "`inputs` must be a log"),
        ({"inputs": []}, "`inputs` must be a log"),
        ({"inputs": ["a", 1]}, "`inputs` must be a log"),
        ({"inputs": " \n"}, "no log entries"),
        ({"inputs": "a", "parameters": {"thresold": 0.5}}, "`parameters` may hold threshold, reference, format"),
        ({"inputs": "a", "parameters": {"threshold": "high"}}, "`threshold` must be a number, got 'high'"),
        ({"inputs": "a", "parameters": {"threshold": True}}, "`threshold` must be a number, got True"),
        ({"inputs": "a", "parameters": {"threshold": 2}}, "threshold"),
        ({"inputs": "a", "parameters": {"format": "csv"}}, "`format` must be one of findings, sequences"),
        ({"inputs": "a", "parameters": {"reference": {"path": "x"}}}, "`reference` must be a log"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(handler, request_, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        handler(request_)


def test_paths_are_texts(handler, tmp_path):
    """Nothing that a client names is opened."""
    secret = tmp_path / "secret.log"
    secret.write_text("2024-01-01 10:00:00 ERROR the secret\n" * 300)
    for given in (str(secret), f"{secret}\n", [str(secret)], str(tmp_path)):
        answer = handler({"inputs": given, "parameters": {"reference": given}})
        assert answer[-1]["entries"] == answer[-1]["healthy_entries"] == 1


def test_requests_at_once_get_the_answers_of_one(handler, answer):
    asked = {"inputs": FAULTY.read_text(), "parameters": {"reference": HEALTHY.read_text()}}
    with ThreadPoolExecutor(4) as threads:
        assert all(other == answer for other in threads.map(handler, [asked] * 4))


def test_a_checkpoint_may_hold_its_own_reference(tmp_path, monkeypatch, answer):
    pipe = pipeline("log-anomaly", model=str(MINI))
    pipe.save_pretrained(tmp_path / "own", reference=pipe.fit(HEALTHY))
    assert (tmp_path / "own" / REFERENCE_FOLDER / "reference.json").exists()
    own = load(tmp_path / "own", monkeypatch)
    found = own({"inputs": FAULTY.read_text()})
    assert [record["id"] for record in found[:3]] == [record["id"] for record in answer[:3]]
    assert found[-1]["baseline"] == "the checkpoint's own reference"  # where it lies is nobody's business
    assert own({"inputs": FAULTY.read_text(), "parameters": {"reference": "self"}})[-1]["mode"] == "self"


def test_an_endpoint_installs_what_the_code_needs():
    needed = {Requirement(line) for line in REQUIREMENTS.splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert needed <= {Requirement(line) for line in project["dependencies"]}
    assert {"torch", "transformers", "numpy", "pyarrow"} <= {each.name for each in needed}
    assert (MINI / "requirements.txt").read_text() == REQUIREMENTS
