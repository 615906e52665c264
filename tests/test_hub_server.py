"""The stand-in for the Hub: what is pushed comes back unchanged, and a failed push changes nothing."""

import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from transformers import BertConfig, BertModel

from hub_server import LFS_THRESHOLD, TOKEN, HubServer


@pytest.fixture
def online(monkeypatch):
    """Let this process talk to a Hub as a process started with `env()` does: directly, and to no other server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    # With Xet, `upload_folder` retries a refused commit for half a minute before giving up.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(config).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_a_pushed_model_can_be_pulled_at_each_commit(online, checkpoint, tmp_path):
    with HubServer() as hub:
        api = HfApi(endpoint=hub.url, token=TOKEN)
        api.create_repo("org/bert")
        api.create_repo("org/bert", exist_ok=True)
        first = api.upload_folder(repo_id="org/bert", folder_path=checkpoint)
        unchanged = api.upload_folder(repo_id="org/bert", folder_path=checkpoint)
        api.upload_file(repo_id="org/bert", path_or_fileobj=b"log", path_in_repo="examples/日志.txt")
        api.delete_file("config.json", repo_id="org/bert")

        pulled = api.snapshot_download("org/bert", revision=first.oid, cache_dir=tmp_path / "cache")

        assert unchanged.oid == first.oid
        assert contents(Path(pulled)) == hub.files("org/bert", revision=first.oid) == contents(checkpoint)
        assert sorted(hub.files("org/bert")) == ["examples/日志.txt", "model.safetensors"]
        assert hub.unknown_requests == []
    expected = BertModel.from_pretrained(checkpoint).state_dict()
    torch.testing.assert_close(BertModel.from_pretrained(pulled).state_dict(), expected, rtol=0, atol=0)


def test_a_failed_commit_changes_neither_side(online, checkpoint):
    before = contents(checkpoint)
    with HubServer(fail_commits=1) as hub:
        api = HfApi(endpoint=hub.url, token=TOKEN)
        api.create_repo("org/bert")
        with pytest.raises(HfHubHTTPError, match="503"):
            api.upload_folder(repo_id="org/bert", folder_path=checkpoint)
        assert hub.files("org/bert") == {}
        assert contents(checkpoint) == before

        api.upload_folder(repo_id="org/bert", folder_path=checkpoint)
        assert hub.files("org/bert") == before


def test_large_files_are_uploaded_apart_from_the_commit(tmp_path):
    """In a fresh process, the only place where `env()` takes effect."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "small.json").write_bytes(b"{}")
    (folder / "large.safetensors").write_bytes(bytes(LFS_THRESHOLD + 1))
    client = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("org/weights")
api.upload_folder(repo_id="org/weights", folder_path=sys.argv[1])
large = {file.path: file.lfs for file in api.list_repo_tree("org/weights")}
assert large["small.json"] is None and large["large.safetensors"] is not None, large
api.snapshot_download("org/weights", local_dir=sys.argv[2])
"""
    with HubServer(lfs=True) as hub:
        command = [sys.executable, "-c", client, str(folder), str(tmp_path / "pulled")]
        subprocess.run(command, env=hub.env(tmp_path / "home"), check=True, timeout=60)
        assert hub.files("org/weights") == contents(folder) == contents(tmp_path / "pulled")
        assert list(hub.large_files.values()) == [
            hub.repo("models", "org/weights").at("main").tree["large.safetensors"]
        ]
        assert hub.unknown_requests == []
