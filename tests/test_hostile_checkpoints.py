"""Checkpoints that somebody else made: no code of theirs runs, nobody is asked, and damage is named."""

import io
import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import make_model, tiny_processor
from safetensors.torch import load_file, save_file
from transformers import BertConfig

from logmoe import LogAnomalyDetector, LogAnomalyPipeline, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.loading import load_pipeline, load_processor


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "checkpoint"
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    LogAnomalyPipeline(model, processor=processor).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder):
    """What loading says, which is a ValueError or that something is missing."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_pipeline(folder, device="cpu")
    return str(error.value)


# ---------------------------------------------------------------------- code

EVIL = """
import pathlib
pathlib.Path({ran!r}).touch()
from transformers import BertTokenizerFast, PretrainedConfig, ProcessorMixin
class Config(PretrainedConfig): model_type = "evil"
class Processor(ProcessorMixin): pass
class Tokenizer(BertTokenizerFast): pass
"""

FOREIGN = {
    "config": ("config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}),
    "model": ("config.json", {"auto_map": {"AutoModelForSequenceClassification": "evil.Model"}}),
    "pipeline": ("config.json", {"custom_pipelines": {"log-anomaly": {"impl": "evil.Pipeline", "pt": []}}}),
    "processor": (
        "processor_config.json",
        {"processor_class": "EvilProcessor", "auto_map": {"AutoProcessor": "evil.Processor"}},
    ),
    "tokenizer": (
        "tokenizer_config.json",
        {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}},
    ),
    "encoder": ("config.json", {"encoder_config": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_code_of_a_checkpoint_runs_and_nobody_is_asked(kind, copy, tmp_path, monkeypatch, capsys):
    """A log on standard input must not answer a question: here each of its lines would say yes."""
    name, values = FOREIGN[kind]
    change(copy / name, **values)
    (copy / "evil.py").write_text(EVIL.format(ran=str(tmp_path / "ran")))
    (tmp_path / "log").write_text("y\n" * 100)
    with (tmp_path / "log").open() as log:
        monkeypatch.setattr(sys, "stdin", log)
        said = refused(copy)
        assert log.tell() == 0
    assert re.search(f"names code that is not LogMoE's, 'evil.* in {name}: .*trust_remote_code=True", said)
    with pytest.raises(ValueError, match="names code"):
        LogAnomalyDetector(copy)
    if name != "config.json":
        with pytest.raises(ValueError, match="names code"):
            load_processor(copy)
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().out == ""


def test_code_runs_where_it_is_asked_for(copy, tmp_path, monkeypatch):
    """The same tokenizer as in the test before: so that one can fail."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    name, values = FOREIGN["tokenizer"]
    change(copy / name, **values)
    (copy / "evil.py").write_text(EVIL.format(ran=str(tmp_path / "ran")))
    pipe = load_pipeline(copy, device="cpu", trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert type(pipe.model).__module__ == "logmoe.modeling_logmoe"  # our own code comes from the package all the same


def test_our_code_is_that_of_the_package(copy):
    for path in copy.glob("*_logmoe.py"):
        path.write_text("raise SystemExit('the code of the folder ran')")
    change(copy / "config.json", auto_map={"AutoConfig": "org/logmoe--configuration_logmoe.LogMoEConfig"})
    assert type(load_pipeline(copy, device="cpu")).__module__ == "logmoe.pipeline_logmoe"


@pytest.mark.parametrize("load", [LogMoEProcessor, LogMoEForSequenceClassification])
def test_no_code_of_an_encoder_runs(load, tmp_path, monkeypatch):
    (tmp_path / "encoder").mkdir()
    codes = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", None]}
    config = {"model_type": "evil", "tokenizer_class": "EvilTokenizer", "auto_map": codes}
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / "encoder" / name).write_text(json.dumps(config))
    (tmp_path / "encoder" / "evil.py").write_text(EVIL.format(ran=str(tmp_path / "ran")))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    with pytest.raises(ValueError, match="trust_remote_code=True|does not recognize"):
        load.from_encoder_pretrained(str(tmp_path / "encoder"))
    assert sys.stdin.tell() == 0
    assert not (tmp_path / "ran").exists()


def test_weights_of_an_encoder_that_can_run_code_are_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="has no safetensors weights.*use_safetensors=False"):
        LogMoEForSequenceClassification.from_encoder_pretrained(str(tmp_path))


# ---------------------------------------------------------------------- other files than those of the checkpoint


def shard(folder, name="model-00001-of-00001.safetensors"):
    """Splits nothing, but writes the weights as shards are."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_an_index_names_files_of_its_folder_alone(copy, tmp_path):
    outside = tmp_path / "outside.safetensors"
    shutil.copy(copy / "model.safetensors", outside)
    shard(copy)
    assert load_pipeline(copy, device="cpu")("a\nb")["label"] in ("normal", "anomaly")
    (copy / "link.safetensors").symlink_to(outside)
    for name in ("../outside.safetensors", str(outside), "link.safetensors", "..", "", "model.bin"):
        index = {"metadata": {}, "weight_map": {"a": name}}
        (copy / "model.safetensors.index.json").write_text(json.dumps(index))
        assert f"checkpoint damaged: '{copy}': model.safetensors.index.json names {name!r}, which" in refused(copy)


def test_a_snapshot_in_the_cache_of_the_hub_links_to_its_blobs(copy, tmp_path):
    repository = tmp_path / "models--org--logmoe"
    shard(copy)
    (repository / "blobs").mkdir(parents=True)
    (repository / "snapshots").mkdir()
    snapshot = copy.rename(repository / "snapshots" / "abc")
    for path in list(snapshot.iterdir()):
        blob = path.rename(repository / "blobs" / f"blob of {path.name}")
        path.symlink_to(os.path.relpath(blob, snapshot))
    assert load_pipeline(snapshot, device="cpu")("a\nb")["label"] in ("normal", "anomaly")


def test_weights_that_can_run_code_are_refused_with_the_way_to_convert_them(copy):
    weights = load_file(copy / "model.safetensors")
    torch.save(weights, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    said = refused(copy)
    assert "pytorch_model.bin, a format that can run code" in said
    exec(said.split("`")[1])  # what it says works
    assert load_pipeline(copy, device="cpu")("a\nb")["label"] in ("normal", "anomaly")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"transformers_weights": "../other.safetensors"}),
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}),
        ("config.json", {"_attn_implementation": "kernels-community/flash-attn"}),
        (
            "processor_config.json",
            {"audio_tokenizer": {"audio_tokenizer_class": "X", "audio_tokenizer_name_or_path": "a"}},
        ),
    ],
)
def test_nothing_else_is_loaded_with_a_checkpoint(name, values, copy):
    change(copy / name, **values)
    assert f"{name} has {next(iter(values))!r}" in refused(copy)


def test_adapters_are_refused(copy):
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "org/other"}')
    assert "has an adapter" in refused(copy)


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("config.json", {"hidden_act": "eval"}, "config.json: `hidden_act` must be an activation"),
        ("config.json", {"encoder_config": {"model_type": "clip"}}, "`encoder_config` must be of an encoder of text"),
        ("config.json", {"encoder_config": {"model_type": "none"}}, "config.json: .*none"),
        (
            "config.json",
            {"encoder_config": {"model_type": "bert", "hidden_act": "evil"}},
            "`encoder_config.hidden_act` must be an activation that transformers knows, got 'evil'",
        ),
        ("config.json", {"encoder_config": 5}, "config.json: "),
        ("config.json", {"hidden_size": 64}, "of shape .*, config.json asks for"),
        ("config.json", {"num_hidden_layers": 10**9}, "`num_hidden_layers` must be from 1 to 1024"),
        ("config.json", {"num_hidden_layers": 1024, "num_experts": 4096}, "of shape .*, config.json asks for"),
        ("config.json", {"num_hidden_layers": 1024}, "weights are missing"),
        ("config.json", {"calibration_temperature": 1e-320}, "`calibration_temperature` must be in"),
        ("config.json", {"id2label": {"0": "a", "1": "b", "2": "c"}}, "`id2label` must be"),
        ("processor_config.json", {"masks": [{"pattern": "("}]}, "a mask needs `pattern` and `replacement`"),
        ("processor_config.json", {"masks": 5}, "`masks` must be a list of dicts"),
        ("processor_config.json", {"transports": [{}]}, "A transport needs `name` and `pattern`"),
        ("processor_config.json", {"max_log_entry_length": 64}, "is 64 in processor_config.json, but 32"),
        ("tokenizer.json", {"model": {"type": "WordPiece"}}, "tokenizer.json"),
        ("tokenizer.json", {"added_tokens": 5}, "tokenizer.json"),
        ("tokenizer.json", {"post_processor": {"type": "None"}}, "tokenizer.json"),
    ],
)
def test_damage_is_named(name, values, said, copy):
    change(copy / name, **values)
    with pytest.raises(ValueError, match=f"(?s)checkpoint damaged: '{copy}': .*{said}"):
        load_pipeline(copy, device="cpu")


def test_a_key_that_is_missing_is_named_in_words(copy):
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text("{}")
    said = "model.safetensors.index.json: 'weight_map' is missing or not known"
    assert refused(copy).startswith(f"checkpoint damaged: '{copy}': {said}")


@pytest.mark.parametrize("text", ["", "[]", "5", "{", "[" * 100_000, '"\\ud800"', "\x00"])
@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_files_that_are_no_objects(name, text, copy):
    (copy / name).write_text(text)
    assert refused(copy).startswith(f"checkpoint damaged: '{copy}': {name}") or name.startswith("tokenizer")


def test_ids_beyond_the_table(copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["beyond"] = 10_000
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "tokenizer.json has the id 10000, but the encoder has" in refused(copy)


def test_masks_that_grow_the_text_do_not_fill_the_memory(copy):
    """Forty masks that double their match would make 10^12 characters of one."""
    doubling = [{"pattern": r"(?s)^.*$", "replacement": r"\0\0"}] * 40
    change(copy / "processor_config.json", masks=doubling, max_entry_characters=100)
    pipe = load_pipeline(copy, device="cpu")
    parsed = pipe.processor.parse("a\nb")
    assert max(map(len, parsed.distinct.to_pylist())) <= 16 * 1024
    assert pipe("a\nb")["label"] in ("normal", "anomaly")


def test_random_damage_is_named_or_harmless(copy):
    """A byte is changed anywhere: the checkpoint is refused in words, or judges."""
    draw = random.Random(0)
    names = ["config.json", "processor_config.json", "tokenizer.json", "model.safetensors"]
    whole = {name: (copy / name).read_bytes() for name in names}
    judged, said = [], []
    for _ in range(24):
        name = draw.choice(names)
        data = bytearray(whole[name])
        # In the weights only the head has a form that can be damaged.
        data[draw.randrange(min(len(data), 4000))] = draw.randrange(256)
        (copy / name).write_bytes(data)
        try:
            result = load_pipeline(copy, device="cpu")("a 1\nb")
            json.dumps(result, allow_nan=False)
            judged.append(name)
        except (ValueError, FileNotFoundError) as error:
            said.append(str(error))
        (copy / name).write_bytes(whole[name])
    assert judged
    assert said
    assert [text for text in said if not re.match("checkpoint damaged|.* (is not a LogMoE|names code)", text)] == []
