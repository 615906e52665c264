"""What is saved and pushed beside the weights, and what only where it is asked for."""

import shlex
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from conftest import MINI, ROOT, make_model, tiny_processor
from transformers import pipeline

from hub_server import TOKEN, HubServer
from logmoe import LogAnomalyPipeline, LogReference
from logmoe.publishing_logmoe import named_card

LOG = "".join(f"2024-01-01 10:00:{second:02} INFO a\n" for second in range(60))


@pytest.fixture
def hub(monkeypatch):
    """A Hub that this process pushes to."""
    with HubServer(lfs=True) as hub:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        constants = {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        }
        for name, value in constants.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        yield hub
        assert hub.unknown_requests == []


@pytest.fixture(scope="module")
def reference() -> LogReference:
    return pipeline("log-anomaly", model=str(MINI)).fit(LOG)


def of_reference(hub, name):
    return {path for path in hub.files(name) if path.startswith("reference/")}


def test_a_push_holds_a_reference_only_when_asked(hub, pipe, reference):
    pipe.push_to_hub("org/model")
    files = hub.files("org/model")
    assert {"README.md", "handler.py", "requirements.txt", "model.safetensors", "pipeline_logmoe.py"} <= set(files)
    assert not of_reference(hub, "org/model")
    assert not hub.repo("models", "org/model").private
    with pytest.raises(ValueError, match="org/model is public, and the reference holds masked text of its logs"):
        pipe.push_to_hub("org/model", reference=reference)
    assert hub.files("org/model") == files
    pipe.push_to_hub("org/model", reference=reference, private=False)
    assert len(of_reference(hub, "org/model")) == 3
    pipe.push_to_hub("org/ours", reference=reference)
    assert hub.repo("models", "org/ours").private
    before = of_reference(hub, "org/ours")
    pipe.push_to_hub("org/ours", reference=pipeline("log-anomaly", model=str(MINI)).fit(LOG + "more\n"))
    assert len(before | of_reference(hub, "org/ours")) > len(of_reference(hub, "org/ours")) == 3
    # That of other weights goes; its own stays.
    pipe.model.config.name_or_path = "org/ours"
    pipe.push_to_hub("org/ours")
    assert len(of_reference(hub, "org/ours")) == 3
    pipe.model.config.name_or_path = ""
    pipe.push_to_hub("org/ours")
    assert not of_reference(hub, "org/ours")


def test_a_checkpoint_that_replaces_another_does_not_take_over_its_reference(pipe, reference, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    (folder / "reference").mkdir(parents=True)
    (folder / "reference" / "notes.txt").write_text("no reference")
    pipe.save_pretrained(folder)
    assert (folder / "reference" / "notes.txt").exists()
    pipe.save_pretrained(folder, reference=reference)
    with monkeypatch.context() as patched:
        patched.setattr(pipe.processor, "save_pretrained", lambda folder: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            pipe.save_pretrained(folder)
    assert len(LogReference.from_pretrained(folder / "reference").texts) == len(reference.texts)
    # Loaded from there, it is its own, unless it says that it has none.
    own = pipeline("log-anomaly", model=str(folder))
    own.save_pretrained(folder)
    assert own.stored_reference is not None
    assert (folder / "reference" / "reference.json").exists()
    own.save_pretrained(folder, reference=False)
    assert not (folder / "reference").exists()
    pipe.save_pretrained(folder, reference=reference)
    pipe.save_pretrained(folder)
    assert not (folder / "reference").exists()
    assert not list(folder.glob(".saving*"))
    assert pipeline("log-anomaly", model=str(folder)).stored_reference is None


def test_a_card_names_its_repository_and_takes_its_pictures_along(hub, tmp_path):
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    source = tmp_path / "source"
    LogAnomalyPipeline(model, processor=processor).save_pretrained(source)
    card = (source / "README.md").read_text()
    assert 'pipeline("log-anomaly", model="source", trust_remote_code=True)' in card
    card += "![one](one.png) ![missing](missing.png) ![up](../up.png) ![code](config.json)\n"
    (source / "README.md").write_text(card)
    (source / "one.png").write_bytes(b"picture")
    (tmp_path / "up.png").write_bytes(b"somebody's")
    pipe = pipeline("log-anomaly", model=str(source))
    pipe.push_to_hub("mine")  # the Hub adds the owner
    files = hub.files("tester/mine")
    assert files["README.md"].decode() == card.replace('model="source"', 'model="tester/mine"')
    assert files["one.png"] == b"picture"
    assert not {path for path in files if "up.png" in path or "missing" in path}
    assert "architectures" in files["config.json"].decode()
    # A card that is there is kept.
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "README.md").write_text("mine")
    pipe.save_pretrained(tmp_path / "kept")
    assert (tmp_path / "kept" / "README.md").read_text() == "mine"
    assert not (tmp_path / "kept" / "one.png").exists()


def test_saving_over_a_checkpoint_is_all_or_nothing(pipe, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    pipe.save_pretrained(folder, max_shard_size="20KB")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    with monkeypatch.context() as patched:
        patched.setattr(pipe.processor, "save_pretrained", lambda folder: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            pipe.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "notes.txt").write_text("mine")
    pipe.save_pretrained(folder)
    # Nothing is left that would be loaded in place of the new weights.
    assert {path.name for path in folder.glob("model*.safetensors*")} == {"model.safetensors"}
    assert not list(folder.glob(".saving*"))
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match="it is a file, a folder is needed"):
        pipe.save_pretrained(folder / "notes.txt")


def test_a_card_is_named_wherever_it_says_how_to_load():
    card = "pipeline('log-anomaly', model='a/b')\npipeline(\"log-anomaly\", model=\"\", device=0)\nmodel='other'"
    assert named_card(card, "org/c") == (
        "pipeline('log-anomaly', model='org/c')\npipeline(\"log-anomaly\", model=\"org/c\", device=0)\nmodel='other'"
    )


def test_the_recordings_are_pushed_by_the_command_of_their_card_and_load_from_there(tmp_path):
    card = (ROOT / "recordings" / "README.md").read_text()
    (command,) = (line.split() for line in card.splitlines() if line.strip().startswith("hf upload"))
    words = [
        str(Path(sys.executable).parent / "hf"),
        *shlex.split(" ".join(command).replace("ORG/", "org/"))[1:],
    ]
    load = (
        "from datasets import load_dataset; print(len(load_dataset('org/logmoe-recordings', 'redis', split='test')))"
    )
    with HubServer() as hub:
        pushed = subprocess.run(words, cwd=ROOT, env=hub.env(tmp_path), capture_output=True, text=True)
        assert pushed.returncode == 0, pushed.stderr
        files = hub.files("org/logmoe-recordings", repo_type="dataset")
        assert files["README.md"].decode() == card
        assert not [name for name in files if name.endswith(".py")]
        loaded = subprocess.run([sys.executable, "-c", load], env=hub.env(tmp_path), capture_output=True, text=True)
        assert loaded.stdout == "5278\n", loaded.stderr
