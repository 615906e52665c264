"""Loading the way users do: in a fresh process, in another folder, offline or from a Hub on loopback."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, make_model, tiny_processor

from hub_server import HubServer
from logmoe import LogAnomalyPipeline

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
    *("tokenizer_config.json", "handler.py", "requirements.txt"),
    *(path.name for path in ROOT.glob("*_logmoe.py")),
}


def test_saved_checkpoint_is_complete(checkpoint):
    assert {path.name for path in checkpoint.iterdir()} == COMPLETE
    for path in checkpoint.glob("*.py"):
        assert path.read_text() == (ROOT / path.name).read_text()


UNTRUSTED = """
from transformers import pipeline
try:
    pipeline("log-anomaly", model=sys.argv[1], trust_remote_code=False)
except ValueError as error:
    print(" ".join(str(error).split()))
assert not [name for name in sys.modules if name.endswith("_logmoe")]
"""

LOAD_WITHOUT_THE_PACKAGE = """
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

LOAD_WITH_THE_PACKAGE = """
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

# The Hub of the test refuses one commit.
PUSH = """
pipe = pipeline("log-anomaly", model=folder)
try:
    pipe.push_to_hub("org/whole", private=True, commit_message="first")
except Exception as error:
    print(type(error).__name__)
pipe.push_to_hub("org/whole", private=True, commit_message="first")
pipe.model.push_to_hub("org/parts")
pipe.processor.push_to_hub("org/parts")
from logmoe.loading import load_pipeline
loaded = load_pipeline("org/whole", device="cpu")
assert loaded.model.name_or_path == "org/whole"
print(loaded(log)["score"])
"""

LOAD_FROM_THE_HUB = """
for name in ("org/parts", "org/whole"):
    AutoModel.from_pretrained(name, **trust)
    AutoProcessor.from_pretrained(name, **trust)
    print(pipeline("log-anomaly", model=name, **trust)(log)["score"])
pipe = pipeline("log-anomaly", model="org/whole", **trust)
pipe.push_to_hub("org/copy")
"""


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    """A checkpoint's way through three fresh processes, without the package, with it, and without it again.

    Each loads the folder that the one before saved; the second pushes to a Hub, and the third loads from there too.
    Starting a process takes seconds, so each does all that the tests below ask about.
    """
    folder = tmp_path_factory.mktemp("journey")
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    pipe = LogAnomalyPipeline(model, processor=processor)
    pipe.save_pretrained(folder / "checkpoint")
    first, second, third = (folder / name for name in ("first", "second", "third"))
    without = NOT_INSTALLED + UNTRUSTED + LOAD_WITHOUT_THE_PACKAGE
    with HubServer(fail_commits=1) as hub:
        printed = [run(without, first, str(folder / "checkpoint"), LOG)]
        env = hub.env(folder / "home of the second")
        printed += [run(LOAD_WITH_THE_PACKAGE + PUSH, second, str(first / "again"), LOG, env=env)]
        env = hub.env(folder / "home of the third")
        without = NOT_INSTALLED + LOAD_WITHOUT_THE_PACKAGE + LOAD_FROM_THE_HUB
        printed += [run(without, third, str(second / "again"), LOG, env=env)]
        yield SimpleNamespace(
            here=pipe(LOG),
            checkpoint=folder / "checkpoint",
            last=third / "again",
            hub=hub,
            printed=[text.splitlines() for text in printed],
        )


def test_loading_with_and_without_the_package_and_across_both(journey):
    assert {path.name for path in journey.last.iterdir()} == COMPLETE
    for result in (journey.printed[0][1], journey.printed[1][0], journey.printed[2][0]):
        result = json.loads(result)
        assert result["label"] == journey.here["label"]
        assert result["logits"] == pytest.approx(journey.here["logits"], abs=1e-5)
        assert [e["line"] for e in result["sequences"][0]["entries"]] == [1, 2, 4]
    # Each folder's card says how that folder is loaded.
    card = (journey.checkpoint / "README.md").read_text()
    assert 'model="checkpoint"' in card
    assert (journey.last / "README.md").read_text() == card.replace('"checkpoint"', '"again"')


def test_untrusted_code_is_not_run(journey):
    assert "trust_remote_code=True" in journey.printed[0][0]


def test_push_to_hub_leaves_repositories_that_load(journey):
    hub, expected = journey.hub, journey.here["score"]
    assert set(hub.files("org/whole")) - {".gitattributes"} == COMPLETE
    # The card travels from one repository to the next, and names each.
    card = (journey.checkpoint / "README.md").read_text()
    for name in ("org/whole", "org/copy"):
        assert hub.files(name)["README.md"].decode() == card.replace('"checkpoint"', f'"{name}"')
    assert set(hub.files("org/copy")) - {".gitattributes"} == COMPLETE
    assert hub.unknown_requests == []
    assert [float(score) for score in journey.printed[2][1:]] == pytest.approx([expected, expected], abs=1e-5)


def test_a_failed_push_raises_and_can_be_repeated(journey):
    assert journey.printed[1][1] == "HfHubHTTPError"


def test_load_pipeline_reads_from_the_hub(journey):
    assert float(journey.printed[1][2]) == pytest.approx(journey.here["score"], abs=1e-5)
