"""What users may pass by mistake gives an error that helps, or the documented behaviour."""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from conftest import tiny_encoder_config, tiny_tokenizer
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import BertModel, pipeline

from logmoe import LogAnomalyDetector, LogAnomalyPipeline, LogMoEProcessor
from logmoe.inference import main


@pytest.fixture
def detector(checkpoint):
    return LogAnomalyDetector(checkpoint, device="cpu")


@pytest.mark.parametrize("log", [None, 5, 1.5, {"log": "a"}, object()])
def test_log_that_is_not_text(pipe, detector, log):
    with pytest.raises(ValueError, match=type(log).__name__):
        pipe(log)
    with pytest.raises(ValueError, match=f"a log must be a str, got {type(log).__name__}"):
        detector.predict(log)
    with pytest.raises(ValueError, match=f"Log 1 of the batch: .*{type(log).__name__}"):
        pipe(["a", log])
    with pytest.raises(ValueError, match=f"Log 1 of the batch: .*{type(log).__name__}"):
        detector.predict_batch(["a", log])


def test_entries_that_are_not_strings(pipe):
    with pytest.raises(ValueError, match="Log 0 of the batch: .*list of int and str"):
        pipe([["a", 5]])


@pytest.mark.parametrize("log", ["", "\n", " \n\t\r\n  ", "\x00\x00\n"])
def test_log_without_entries(pipe, detector, log):
    for predict in (pipe, detector.predict):
        with pytest.raises(ValueError, match="no log entries"):
            predict(log)
    with pytest.raises(ValueError, match="Log 2 of the batch: .*no log entries"):
        pipe(["a\nb", "c\nd", log])


def test_empty_list_of_entries(pipe):
    with pytest.raises(ValueError, match="Log 0 of the batch: .*no log entries"):
        pipe([[]])


def test_binary_bytes(pipe, detector):
    result = pipe(bytes(range(256)) * 4)
    assert result["label"] in ("normal", "anomaly")
    with pytest.raises(ValueError, match="bytes"):
        detector.predict(b"a")


def test_invalid_utf8_and_nul_are_judged_and_kept(pipe):
    (sequence,) = pipe(b"a \xff b\nc \x00 d")["sequences"]
    assert [e["text"] for e in sequence["entries"]] == ["a \ufffd b", "c \x00 d"]


def test_line_of_ten_megabytes(pipe):
    line = "error 12 " * (10 * 2**20 // 9)
    start = time.perf_counter()
    (sequence,) = pipe("a\n" + line)["sequences"]
    assert time.perf_counter() - start < 20
    assert [e["truncated"] for e in sequence["entries"]] == [False, True]
    assert sequence["entries"][1]["text"] == line


def test_a_hundred_thousand_lines(pipe):
    result = pipe("\n".join(f"info a {row}" for row in range(100_000)))
    assert len(result["sequences"]) == 12_500
    assert result["sequences"][-1]["last_line"] == 100_000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"max_sequence_length": 0}, "from 1 to 8, got 0"),
        ({"max_sequence_length": -1}, "from 1 to 8, got -1"),
        ({"max_sequence_length": 9}, "from 1 to 8, got 9"),
        ({"max_sequence_length": "4"}, "from 1 to 8, got '4'"),
        ({"max_sequence_length": True}, "from 1 to 8, got True"),
        ({"max_log_entry_length": 0}, "from 1 to 64, got 0"),
        ({"max_log_entry_length": 2}, "at least 3, got 2"),
        ({"max_log_entry_length": 65}, "from 1 to 64, got 65"),
        ({"stride": 0}, "stride"),
        ({"stride": 9}, "stride"),
        ({"batch_size": 0}, "batch_size"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": "0.5"}, "threshold"),
        ({"window_seconds": "5"}, "window_seconds"),
        ({"window_seconds": 10}, "needs timestamps"),
        ({"session_pattern": "("}, "not a valid RE2 pattern"),
    ],
)
def test_overrides_out_of_range(pipe, overrides, message):
    with pytest.raises(ValueError, match=message):
        pipe("a\nb", **overrides)


def test_integers_of_any_type_are_accepted(pipe):
    assert len(pipe("a\nb\nc", max_sequence_length=np.int64(2), batch_size=np.int32(4))["sequences"]) == 2
    assert len(pipe("a\nb\nc", max_sequence_length=2, stride=np.int64(1))["sequences"]) == 2


def test_containers_that_are_not_batches(pipe, tmp_path):
    (tmp_path / "log").write_text("a\nb\n")
    with (tmp_path / "log").open() as file, pytest.raises(ValueError, match=r"file\.read"):
        pipe(file)
    table = Dataset.from_dict({"log": ["a", "b"]})
    for data in (table, table.to_pandas()):
        with pytest.raises(ValueError, match="one of its columns"):
            pipe(data)
    assert len(pipe(table.to_pandas()["log"])) == 2


def test_processor_with_longer_limits_than_the_model(model):
    with pytest.raises(ValueError, match="at most 8 for `max_sequence_length`, but the processor's is 32"):
        LogAnomalyPipeline(model, processor=LogMoEProcessor(tiny_tokenizer(), max_log_entry_length=32))
    with pytest.raises(ValueError, match="at most 64 for `max_log_entry_length`, but the processor's is 128"):
        LogAnomalyPipeline(model, processor=LogMoEProcessor(tiny_tokenizer(), max_sequence_length=8))


def test_unknown_override(pipe):
    with pytest.raises(TypeError, match="max_length"):
        pipe("a", max_length=5)


def test_detector_lengths(detector):
    assert detector.predict("a\nb", max_log_entry_length=4, max_sequence_length=1)["prediction"] in ("正常", "异常")
    for overrides in ({"max_sequence_length": 9}, {"max_log_entry_length": 1000}, {"max_sequence_length": 0}):
        with pytest.raises(ValueError, match=next(iter(overrides))):
            detector.predict("a", **overrides)
        with pytest.raises(ValueError, match=next(iter(overrides))):
            detector.preprocess_log_sequence(
                "a", **({"max_log_entry_length": 32, "max_sequence_length": 8} | overrides)
            )


def test_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        LogAnomalyDetector(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
        LogAnomalyDetector(tmp_path)
    with pytest.raises(FileNotFoundError, match="cannot load 'nobody/nothing'"):
        LogAnomalyDetector("nobody/nothing")  # a Hub name, with no Hub to reach


def test_checkpoint_of_another_model(tmp_path, processor):
    bert = BertModel(tiny_encoder_config())
    bert.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="not a LogMoE checkpoint but a 'bert' model"):
        LogAnomalyDetector(tmp_path)
    with pytest.raises(ValueError, match="needs a LogMoE checkpoint"):
        LogAnomalyPipeline(bert, processor=processor)


def test_pipeline_without_processor(model):
    with pytest.raises(ValueError, match="processor"):
        LogAnomalyPipeline(model)


def test_truncated_weights(checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="checkpoint damaged"):
        LogAnomalyDetector(checkpoint)


def test_missing_weights_file(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        LogAnomalyDetector(checkpoint)


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer.json"])
def test_missing_processor_files(checkpoint, name):
    """transformers alone would carry on, with default rules or an empty vocabulary."""
    (checkpoint / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        LogAnomalyDetector(checkpoint)


def test_missing_weights_are_not_initialised_at_random(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "classification_head" not in name}
    save_file(kept, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"5 weights are missing \(classification_head"):
        LogAnomalyDetector(checkpoint)


def test_weights_of_another_shape(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"moe_intermediate_size": 24}))
    with pytest.raises(ValueError, match="checkpoint damaged"):
        LogAnomalyDetector(checkpoint)
    assert main(["app.log", "--model", str(checkpoint)]) == 2


def test_broken_config(checkpoint):
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(ValueError, match=f"checkpoint damaged: '{checkpoint}': config.json: "):
        LogAnomalyDetector(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_raise(checkpoint, value):
    weights = load_file(checkpoint / "model.safetensors")
    weights["model.sequence_stack.norm.weight"][3] = value
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="'model.sequence_stack.norm.weight' hold numbers that are not finite"):
        LogAnomalyDetector(checkpoint)
    pipe = pipeline("log-anomaly", model=str(checkpoint), device="cpu")  # which does not look at them
    with pytest.raises(FloatingPointError, match="cannot be judged"):
        pipe("a\nb")


def test_unknown_language_of_labels(checkpoint):
    with pytest.raises(ValueError, match="'fr'"):
        LogAnomalyDetector(checkpoint, labels="fr")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_missing_device(checkpoint):
    with pytest.raises(ValueError, match="finds no GPU"):
        LogAnomalyDetector(checkpoint, device="cuda:0")


def test_predict_batch_takes_an_iterable_but_not_a_single_log(detector):
    with pytest.raises(ValueError, match="use `predict`"):
        detector.predict_batch("a\nb")
    assert len(detector.predict_batch(log for log in ["a", "b"])) == 2


def test_encoder_of_another_shape(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="bert_path"):
        LogAnomalyDetector(checkpoint, bert_path=tmp_path / "nowhere")
    BertModel(tiny_encoder_config(hidden_size=64)).save_pretrained(tmp_path / "wide")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, tmp_path / "wide")
    with pytest.raises(ValueError, match="hidden_size 64 instead of 32"):
        LogAnomalyDetector(checkpoint, bert_path=tmp_path / "wide")
    BertModel(tiny_encoder_config()).save_pretrained(tmp_path / "mute")
    with pytest.raises(FileNotFoundError, match="no tokenizer at `bert_path`"):
        LogAnomalyDetector(checkpoint, bert_path=tmp_path / "mute")
