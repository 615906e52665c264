import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, tiny_encoder_config, tiny_tokenizer
from transformers import AutoModel, pipeline

from logmoe.train import TwoPhases, main, probabilities
from logmoe.training.data import CompactCollator, EmbeddedCollator, EntryTable, label_id, read_examples
from logmoe.training.metrics import detection_metrics


@pytest.fixture
def encoder(tmp_path):
    """A folder with a tiny random BERT and its tokenizer."""
    torch.manual_seed(0)
    AutoModel.from_config(tiny_encoder_config(hidden_dropout_prob=0.0)).save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def data(tmp_path):
    """Sequences that are anomalous when `fatal` is in them; both label languages, text and lists."""
    generator = np.random.default_rng(0)
    for name, number in (("train", 64), ("test", 16)):
        with (tmp_path / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in range(number):
                words = list(generator.choice(["info a", "warn b", "error c", "info d"], size=5))
                if row % 2:
                    words[generator.integers(5)] = "fatal e"
                label = (["正常", "异常"] if row % 3 else [0, 1])[row % 2]
                print(json.dumps({"log_sequence": "\n".join(words), "label": str(label)}), file=file)
    return tmp_path


def arguments(encoder, data, *more):
    return [
        *f"--encoder {encoder} --train_file {data / 'train.jsonl'} --test_file {data / 'test.jsonl'}".split(),
        *f"--output_dir {data / 'out'} --hidden_size 32 --num_hidden_layers 1 --num_attention_heads 2".split(),
        *"--moe_intermediate_size 16 --max_log_entry_length 16 --max_sequence_length 8 --learning_rate 3e-3".split(),
        *"--num_train_epochs 12 --per_device_train_batch_size 8 --save_strategy no --use_cpu".split(),
        *"--logging_steps 8 --disable_tqdm true".split(),
        *more,
    ]


@pytest.mark.parametrize("train_encoder", [False, True])
def test_training_learns_and_leaves_a_complete_checkpoint(encoder, data, train_encoder, capsys):
    before = AutoModel.from_pretrained(encoder).embeddings.word_embeddings.weight
    assert main(arguments(encoder, data, *(["--train_encoder"] if train_encoder else []))) == 0
    pipe = pipeline("log-anomaly", model=str(data / "out"))
    assert pipe.model.config.routing_mode == "top_p"
    rows = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    verdicts = [result["label"] == "anomaly" for result in pipe([row["log_sequence"] for row in rows])]
    right = np.mean([verdict == (label_id(row["label"]) == 1) for verdict, row in zip(verdicts, rows, strict=True)])
    assert right >= 0.9
    after = pipe.model.get_input_embeddings().weight[: len(before)]
    assert torch.equal(before, after) == (not train_encoder)  # a frozen encoder is left alone
    card = (data / "out" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "| test |" in card
    printed = capsys.readouterr().out
    for name in ("load_balance_loss", "mean_active_experts", "expert_load_3"):
        assert name in printed


def test_phases_follow_the_step_alone(model):
    class State:
        max_steps = 10
        best_metric, best_model_checkpoint = 0.9, "checkpoint-2"

    phases, modes = TwoPhases(0.3), []
    for step in (0, 2, 3, 9):
        State.global_step = step
        phases.on_step_begin(None, State, None, model=model)
        modes.append(model.config.routing_mode)
        # The best of the dense phase is forgotten with it.
        assert (State.best_metric is None) == (step >= 3)
    assert modes == ["dense", "dense", "top_p", "top_p"]
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1.0"):
        TwoPhases(1.0)


def test_collators_give_the_same_logits(pipe):
    processor, model = pipe.processor, pipe.model
    table = EntryTable()
    examples = read_examples(["a 1\nb\na 2", ["c"], "b\nd"], [0, "异常", "normal"], processor, table)
    assert table.texts == ["a <NUM>", "b", "c", "d"]
    assert [example["labels"] for example in examples] == [0, 1, 0]
    token_ids, _ = processor.tokenize(table.texts)
    compact = CompactCollator(processor, token_ids)(examples)
    assert next(iter(compact)) == "labels"
    assert compact["entry_index"].tolist() == [[0, 1, 0], [2, -1, -1], [1, 3, -1]]
    embedded = EmbeddedCollator(pipe.encode(token_ids).detach())(examples)
    torch.testing.assert_close(model(**compact).logits, model(**embedded).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "expected"), [(0, 0), (1.0, 1), (True, 1), ("正常", 0), ("异常", 1), ("Anomaly", 1), (" normal ", 0)]
)
def test_labels(label, expected):
    assert label_id(label) == expected


@pytest.mark.parametrize("label", ["", "abnormal", 2, None, float("nan")])
def test_unknown_labels_are_refused(label):
    with pytest.raises(ValueError, match="label"):
        label_id(label)


def test_known_metrics():
    labels = np.array([0, 0, 0, 1, 1])
    metrics = detection_metrics(labels, np.array([0.1, 0.6, 0.2, 0.9, 0.4]), threshold=0.5)
    assert metrics["precision"] == metrics["recall"] == metrics["f1"] == 0.5
    assert metrics["false_positive_rate"] == pytest.approx(1 / 3)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["auroc"] == pytest.approx(5 / 6)
    assert np.isnan(detection_metrics(np.zeros(3), np.zeros(3), 0.5)["auroc"])
    assert probabilities(np.array([[0.0, np.log(3)], [900.0, -900.0]])).tolist() == pytest.approx([0.75, 0.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"log": "a", "label": 0}\n', "lacks ['log_sequence']"),
        ('{"log_sequence": "a", "label": "odd"}\n', "Log 0 of the data"),
        ('{"log_sequence": "", "label": 0}\n', "Log 0 of the data"),
        ('{"log_sequence": "a", "label": 0}\n', "one label only"),
        ("", "holds no JSON lines"),
        ("{broken", "holds no JSON lines"),
        (json.dumps({"log_sequence": "a\n" * 9, "label": 0}) + "\n", "9 entries"),
    ],
)
def test_bad_data_ends_with_a_message_and_exit_code_2(encoder, data, content, message, capsys):
    (data / "train.jsonl").write_text(content)
    assert main(arguments(encoder, data)) == 2
    assert message in capsys.readouterr().err
    assert not (data / "out").exists()


def test_bad_encoder_and_bad_shape(encoder, data, capsys):
    assert main(arguments(data / "nowhere", data)) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(arguments(encoder, data, "--num_attention_heads", "5")) == 2
    assert "multiple of `num_attention_heads` (5)" in capsys.readouterr().err


def test_accelerate_launch_from_an_install(encoder, data):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "-m", "logmoe.train"]
    done = subprocess.run(
        [*command, *arguments(encoder, data, "--num_train_epochs", "1")], cwd=data, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (data / "out" / "model.safetensors").exists()
    failing = subprocess.run(
        [*command, *arguments(data / "nowhere", data)], cwd=data, capture_output=True, text=True, env=os.environ
    )
    assert failing.returncode != 0


@pytest.mark.slow
def test_train_demo(tmp_path):
    """`make train-demo`, into another folder: about five minutes."""
    script = ROOT / "examples" / "train_mini.py"
    done = subprocess.run([sys.executable, str(script), "--output_dir", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
    assert size <= 5e6
    pipe = pipeline("log-anomaly", model=str(tmp_path))
    result = pipe((ROOT / "examples" / "postgresql.log").read_text(encoding="utf-8"))
    assert {sequence["label"] for sequence in result["sequences"]} == {"normal", "anomaly"}
