"""Loading the way users do: in a fresh process, in another folder, offline or from a Hub on loopback."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT

from hub_server import HubServer

LOG = "2024-01-01 10:00:00 INFO a\n2024-01-01 10:00:01 ERROR b\n\tat c\nd"

# Makes `import logmoe` fail, as it does where the package is not installed.
NOT_INSTALLED = """
import sys
sys.modules["logmoe"] = None
try:
    import logmoe
    raise SystemExit("logmoe can be imported")
except ImportError:
    pass
"""


def run(code: str, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Runs code in a fresh process, in a folder of its own, and returns what it prints."""
    folder.mkdir(exist_ok=True)
    if env is None:
        env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


COMPLETE = {
    *("README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json"),
    "tokenizer_config.json",
    *(path.name for path in ROOT.glob("*_logmoe.py")),
}


def test_saved_checkpoint_is_complete(checkpoint):
    assert {path.name for path in checkpoint.iterdir()} == COMPLETE
    for path in checkpoint.glob("*.py"):
        assert path.read_text() == (ROOT / path.name).read_text()


WITHOUT_THE_PACKAGE = (
    NOT_INSTALLED
    + """
import json, sys
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline

folder, log = sys.argv[1:]
trust = {"trust_remote_code": True}
pipe = pipeline("log-anomaly", model=folder, **trust)
result = pipe(log)
assert type(AutoConfig.from_pretrained(folder, **trust)).__name__ == "LogMoEConfig"
batch = AutoProcessor.from_pretrained(folder, **trust)(log)
assert type(AutoModel.from_pretrained(folder, **trust)).__name__ == "LogMoEModel"
model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True, **trust)
assert not info["missing_keys"] and not info["unexpected_keys"], info
logits = model(**batch).logits[0].tolist()
assert max(abs(a - b) for a, b in zip(logits, result["logits"])) < 1e-5
assert type(pipe).__module__.startswith("transformers_modules.")
pipe.save_pretrained("again")
print(json.dumps(result))
"""
)

WITH_THE_PACKAGE = """
import json, sys
import logmoe
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline

folder, log = sys.argv[1:]
pipe = pipeline("log-anomaly", model=folder)
assert type(pipe) is logmoe.LogAnomalyPipeline
assert type(AutoConfig.from_pretrained(folder)) is logmoe.LogMoEConfig
assert type(AutoProcessor.from_pretrained(folder)) is logmoe.LogMoEProcessor
assert type(AutoModel.from_pretrained(folder)) is logmoe.LogMoEModel
assert type(AutoModelForSequenceClassification.from_pretrained(folder)) is logmoe.LogMoEForSequenceClassification
trusted = pipeline("log-anomaly", model=folder, trust_remote_code=True)
assert trusted(log)["label"] == pipe(log)["label"]
pipe.save_pretrained("again")
print(json.dumps(pipe(log)))
"""


def test_loading_with_and_without_the_package_and_across_both(checkpoint, pipe, tmp_path):
    here = pipe(LOG)
    without = json.loads(run(WITHOUT_THE_PACKAGE, tmp_path / "without", str(checkpoint), LOG))
    with_it = json.loads(run(WITH_THE_PACKAGE, tmp_path / "with", str(tmp_path / "without" / "again"), LOG))
    again = json.loads(run(WITHOUT_THE_PACKAGE, tmp_path / "third", str(tmp_path / "with" / "again"), LOG))
    assert {path.name for path in (tmp_path / "third" / "again").iterdir()} == COMPLETE
    for result in (without, with_it, again):
        assert result["label"] == here["label"]
        assert result["logits"] == pytest.approx(here["logits"], abs=1e-5)
        assert [e["line"] for e in result["sequences"][0]["entries"]] == [1, 2, 4]
    readme = (checkpoint / "README.md").read_text()
    assert (tmp_path / "third" / "again" / "README.md").read_text() == readme


def test_untrusted_code_is_not_run(checkpoint, tmp_path):
    code = NOT_INSTALLED + (
        "from transformers import pipeline\n"
        "try:\n    pipeline('log-anomaly', model=sys.argv[1], trust_remote_code=False)\n"
        "except ValueError as error:\n    print(error)\n"
    )
    assert "trust_remote_code=True" in run(code, tmp_path / "elsewhere", str(checkpoint))


def test_push_to_hub_leaves_repositories_that_load(checkpoint, pipe, tmp_path):
    push = """
    import sys
    import logmoe
    from transformers import pipeline

    pipe = pipeline("log-anomaly", model=sys.argv[1])
    pipe.model.push_to_hub("org/parts")
    pipe.processor.push_to_hub("org/parts")
    pipe.push_to_hub("org/whole", private=True, commit_message="first")
    """
    load = (
        NOT_INSTALLED
        + """
from transformers import AutoModel, AutoProcessor, pipeline

for name in ("org/parts", "org/whole"):
    AutoModel.from_pretrained(name, trust_remote_code=True)
    AutoProcessor.from_pretrained(name, trust_remote_code=True)
    print(pipeline("log-anomaly", model=name, trust_remote_code=True)(sys.argv[1])["score"])
pipe = pipeline("log-anomaly", model="org/whole", trust_remote_code=True)
pipe.push_to_hub("org/copy")
"""
    )
    with HubServer() as hub:
        run(push, tmp_path / "pusher", str(checkpoint), env=hub.env(tmp_path / "pusher-home"))
        assert set(hub.files("org/whole")) - {".gitattributes"} == COMPLETE
        assert hub.files("org/whole")["README.md"].decode() == (checkpoint / "README.md").read_text()
        printed = run(load, tmp_path / "loader", LOG, env=hub.env(tmp_path / "loader-home"))
        # The card travels from one repository to the next.
        assert hub.files("org/copy")["README.md"] == hub.files("org/whole")["README.md"]
        assert set(hub.files("org/copy")) - {".gitattributes"} == COMPLETE
        assert hub.unknown_requests == []
    expected = pipe(LOG)["score"]
    assert [float(score) for score in printed.split()] == pytest.approx([expected, expected], abs=1e-5)


def test_a_failed_push_raises_and_can_be_repeated(pipe, tmp_path, monkeypatch):
    code = """
    import sys
    import logmoe
    from transformers import pipeline

    pipe = pipeline("log-anomaly", model=sys.argv[1])
    try:
        pipe.push_to_hub("org/whole")
    except Exception as error:
        print(type(error).__name__)
    pipe.push_to_hub("org/whole")
    """
    pipe.save_pretrained(tmp_path / "checkpoint")
    with HubServer(fail_commits=1) as hub:
        printed = run(code, tmp_path / "pusher", str(tmp_path / "checkpoint"), env=hub.env(tmp_path / "home"))
        assert printed.strip() == "HfHubHTTPError"
        assert set(hub.files("org/whole")) - {".gitattributes"} == COMPLETE
