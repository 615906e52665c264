"""A reference that is stored with a checkpoint: logs are judged against it wherever no other is given."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MINI, ROOT, run_command
from starlette.testclient import TestClient
from transformers import pipeline

from hub_server import HubServer
from logmoe import LogAnomalyDetector
from logmoe.distributed import reference_of_workers
from logmoe.loading import load_pipeline
from logmoe.serving import Service, create_app

HEALTHY, FAULTY = (ROOT / "examples" / f"apache-{kind}.log" for kind in ("healthy", "faulty"))


@pytest.fixture(scope="module")
def shipped():
    return pipeline("log-anomaly", model=str(MINI))


@pytest.fixture(scope="module")
def reference(shipped):
    return shipped.fit([*HEALTHY.read_text().splitlines()[:600]])


@pytest.fixture(scope="module")
def folder(shipped, reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "checkpoint"
    shipped.save_pretrained(folder, reference=reference)
    return folder


@pytest.fixture(scope="module")
def log():
    return FAULTY.read_text().splitlines()[1120:1420]


def answers(result):
    return result["mode"], [each["probabilities"]["anomaly"] for each in result["sequences"]]


def test_a_log_is_judged_against_it_unless_another_way_is_asked_for(shipped, reference, folder, log, tmp_path):
    pipe = pipeline("log-anomaly", model=str(folder))
    expected = answers(shipped([log], reference=reference)[0])
    assert expected[0] == "reference"
    assert answers(pipe([log])[0]) == expected
    assert answers(pipe([log], reference="self")[0]) == answers(shipped([log])[0])
    assert answers(pipe([log], reference=False)[0]) == answers(shipped([log], reference=False)[0])
    other = shipped.fit(FAULTY)
    assert answers(pipe([log], reference=other)[0]) == answers(shipped([log], reference=other)[0])
    # Its promises are those of any healthy log.
    found = pipe.findings(log, false_alarm_rate=0.05).summary
    assert (found.baseline, found.promised_rate) == ("the checkpoint's own reference", 0.05)
    (tmp_path / "x.log").write_text("\n".join(log))
    scan = pipe.scan(tmp_path / "x.log", num_workers=1)
    assert [each["label"] for each in scan] == [each["label"] for each in pipe([log])[0]["sequences"]]
    assert scan.statistics.mode == "reference"
    assert shipped.stored_reference is None


def test_workers_elsewhere_judge_as_this_process_does(folder, log):
    pipe = pipeline("log-anomaly", model=str(folder))
    for given in (None, "self", False, pipe.fit(FAULTY)):
        sent = reference_of_workers(pipe.scan([], reference=given).against)
        assert answers(pipe([log], reference=sent)[0]) == answers(pipe([log], reference=given)[0])
    # The stored one is at hand there, with all that is known of it.
    assert reference_of_workers(pipe.scan([]).against) is None


def test_the_detector_and_the_command_use_it(folder, log, tmp_path, capsys):
    detector = LogAnomalyDetector(folder, labels="en")
    text = "\n".join(log)
    assert detector.findings(text.encode()).summary.mode == "reference"
    assert detector.findings(text.encode(), reference=False).summary.mode == "none"
    (tmp_path / "x.log").write_text(text)
    assert run_command("scan", tmp_path / "x.log", model=folder, false_alarm_rate=0.02) == 0
    out = capsys.readouterr().out
    assert "judged against the checkpoint's own reference (600 healthy entries" in out
    assert run_command("scan", tmp_path / "x.log", model=folder, no_baseline=True) == 0
    assert "judged by its wording" in capsys.readouterr().out
    assert run_command("scan", tmp_path / "x.log", model=folder, baseline=[HEALTHY], sequences=True) == 0
    out = capsys.readouterr().out
    assert "apache-healthy.log (2,000 healthy entries" in out
    assert "own reference" not in out


def test_the_service_uses_it_too(reference, folder, log):
    service = Service(pipeline("log-anomaly", model=str(folder)), references={"same": reference})
    with TestClient(create_app(service), "http://localhost") as client:

        def asked(query=""):
            return client.post(f"/findings?format=text{query}", content="\n".join(log).encode()).text

        answer = asked()
        assert "judged against the checkpoint's own reference (600 healthy entries" in answer
        assert asked("&reference=same") == answer.replace("the checkpoint's own reference", "same")
        assert "; judged against itself: " in asked("&reference=self")
        assert "upload: 1 finding in 300 lines; judged by its wording\n" in asked("&reference=none")


def test_what_is_wrong_with_it_is_said(shipped, folder, log, tmp_path, capsys):
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    for part in (broken / "reference").glob("*.safetensors"):
        part.write_bytes(b"half a file")
    pipe = pipeline("log-anomaly", model=str(broken))
    with pytest.raises(ValueError, match="cannot be used .* is not what was saved"):
        pipe([log])
    assert pipe([log], reference=False)[0]["mode"] == "none"
    assert run_command("serve", model=broken, port=0) == 2
    assert "is not what was saved" in capsys.readouterr().err
    # Another way of cutting logs than that of its own.
    pipe = pipeline("log-anomaly", model=str(folder))
    with pytest.raises(
        ValueError, match=r"stored with the checkpoint \(`reference=False` judges without it\) was cut"
    ):
        pipe([log], window_seconds=60)
    with pytest.raises(ValueError, match="stands for the checkpoint's own reference, and there is none"):
        shipped.save_pretrained(tmp_path / "x", reference=True)


PUSH_AND_LOAD = """
import sys
from transformers import pipeline
from logmoe.loading import load_pipeline
pipe, log = load_pipeline(sys.argv[1]), open(sys.argv[2]).read()
pipe.push_to_hub("org/model")
pipe.push_to_hub("org/ours", reference=True)
for pipe in (pipeline("log-anomaly", model="org/ours"), load_pipeline("org/ours"), load_pipeline("org/model")):
    print(pipe(log)["mode"])
"""


@pytest.mark.slow
def test_it_comes_from_the_hub_with_the_checkpoint(folder, log, tmp_path):
    (tmp_path / "x.log").write_text("\n".join(log))
    with HubServer() as hub:
        done = subprocess.run(
            [sys.executable, "-c", PUSH_AND_LOAD, str(folder), str(tmp_path / "x.log")],
            capture_output=True,
            text=True,
            env=hub.env(tmp_path) | {"HF_HUB_OFFLINE": "0"},
        )
        # What is pushed without it, is judged without it.
        assert done.stdout.split() == ["reference", "reference", "self"], done.stderr
        assert hub.repo("models", "org/ours").private
        assert not [path for path in hub.files("org/model") if path.startswith("reference/")]


def test_a_pipeline_loads_it_once(folder, log, monkeypatch):
    pipe = load_pipeline(folder)
    first = pipe.stored_reference
    assert first is pipe.stored_reference
    assert len(first.texts) > 0
