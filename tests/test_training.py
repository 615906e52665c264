"""Training from arguments to checkpoint, in this process; test_training_runs.py starts processes of its own."""

import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from training_fixtures import TINY, WORDS, make_encoder, make_logs, weights_of, write_jsonl
from transformers import AutoModel, pipeline

from logmoe.train import VisibleFormatter, main
from logmoe.training.arguments import arguments_of_file, make_parser
from logmoe.training.metrics import expected_calibration_error
from logmoe.training.run_folder import RunFolder, complete_checkpoints


@pytest.fixture
def encoder(tmp_path):
    return make_encoder(tmp_path / "encoder")


@pytest.fixture
def data(tmp_path):
    """JSON lines with Chinese labels; some logs are longer than a sequence, some occur twice."""
    logs = make_logs(120)
    logs += [(words * 3, label) for words, label in make_logs(20, seed=1)] + logs[:20]
    return write_jsonl(tmp_path / "logs.jsonl", logs, ("正常", "异常"))


def arguments(encoder, data, *more):
    folder = Path(data).parent
    return [
        *f"--encoder {encoder} --train_file {data} --embedding_cache {folder / 'cache'}".split(),
        *f"--output_dir {folder / 'out'} --split random".split(),
        *TINY,
        *"--num_train_epochs 6".split(),
        *more,
    ]


def test_a_run_leaves_a_complete_checkpoint_with_what_was_measured(encoder, data, capsys):
    assert main(arguments(encoder, data)) == 0
    out = data.parent / "out"
    results = json.loads((out / "results.json").read_text())
    pipe = pipeline("log-anomaly", model=str(out))
    config = pipe.model.config
    assert config.routing_mode == "top_p"
    # Temperature and threshold are fitted, saved, and used by the pipeline.
    assert (config.calibration_temperature, config.anomaly_threshold) == (results["temperature"], results["threshold"])
    assert config.calibration_temperature != 1.0
    test = [json.loads(line) for line in data.read_text().splitlines()]
    predicted = [result["label"] == "anomaly" for result in pipe([row["log_sequence"] for row in test])]
    assert np.mean(np.equal(predicted, [row["label"] == "异常" for row in test])) >= 0.9
    assert results["test"]["all"]["f1"] >= 0.9
    assert results["test"]["unseen"]["recall"] >= 0.9
    assert set(results["seconds"]) == {"read", "embed", "train", "measure", "baselines", "save"}
    # A frozen encoder is left alone.
    before = AutoModel.from_pretrained(encoder).embeddings.word_embeddings.weight
    assert torch.equal(before, pipe.model.get_input_embeddings().weight[: len(before)])
    # Split, arguments, card, plots, event files.
    split = json.loads((out / "split.json").read_text())
    assert split["train"]["logs"] + split["validation"]["logs"] + split["test"]["logs"] == 160
    assert split["test"]["logs_seen_in_training"] > 0
    card = (out / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    names = {metric["type"] for metric in metadata["model-index"][0]["results"][0]["metrics"]}
    assert {"f1", "precision", "expected_calibration_error", "false_positive_rate"} <= names
    assert metadata["pipeline_tag"] == "text-classification"
    assert "look-up of training logs" in card
    assert str(data.parent) not in card
    # How to load it, with what it answers.
    assert 'pipeline("log-anomaly", model="out", trust_remote_code=True)' in card
    assert re.search(r"```text\n(normal|anomaly) 0\.\d{4}\n1 [+-]\d", card)
    assert (out / "requirements.txt").exists()
    assert (out / "handler.py").exists()
    for plot in ("training.png", "precision_recall.png", "reliability.png", "expert_load.png"):
        assert f"]({plot})" in card
        assert (out / plot).read_bytes().startswith(b"\x89PNG")
    assert list(out.glob("runs/*/events.out.tfevents*"))
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert {"load_balance_loss", "mean_active_experts", "expert_load/layer_0_expert_3"} <= set(history[0])
    printed = capsys.readouterr().out
    assert "| LogMoE (test) |" in printed
    assert "mean_active_experts" in printed
    assert "expert_load" not in printed  # For TensorBoard, not for people.


def test_the_phase_is_in_each_checkpoint(encoder, data):
    more = "--dense_share 0.5 --save_total_limit 9 --load_best_model_at_end false --baselines false"
    assert main(arguments(encoder, data, *more.split())) == 0
    modes = {
        path.name: json.loads((path / "config.json").read_text())["routing_mode"]
        for path in complete_checkpoints(data.parent / "out")
    }
    assert list(modes.values()) == ["dense"] * 3 + ["top_p"] * 3
    # Each is complete: the pipeline loads it.
    assert pipeline("log-anomaly", model=str(data.parent / "out" / list(modes)[-1]))("a")["label"]


@pytest.mark.parametrize("how", [[], ["--train_encoder"]])
def test_the_projection_begins_with_the_entries_of_training_logs_whitened(encoder, data, tmp_path, how):
    """A run that learns next to nothing; the test logs have other entries, which do not count."""
    test = write_jsonl(tmp_path / "test.jsonl", [(["info other", "fatal other"], row % 2) for row in range(8)])
    more = f"--test_file {test} --learning_rate 1e-9 --max_steps 1 --baselines false"
    assert main(arguments(encoder, data, *more.split(), *how)) == 0
    pipe = pipeline("log-anomaly", model=str(data.parent / "out"))

    def mean(entries):
        inputs = pipe.processor.pad(pipe.processor.tokenize(entries)[0])
        embeds = pipe.model.model.encode_entries(**inputs)
        return pipe.model.model.sequence_stack.projection(embeds).detach().mean(dim=0)

    assert mean([*WORDS, "fatal e"]).abs().max() < 1e-3
    assert mean(["info other", "fatal other"]).abs().max() > 0.1


@pytest.mark.parametrize("how", ["--train_encoder", "--lora"])
def test_the_encoder_can_be_trained(encoder, data, how):
    assert main(arguments(encoder, data, how, "--num_train_epochs", "2", "--baselines", "false")) == 0
    out = data.parent / "out"
    before, after = weights_of(encoder), weights_of(out)
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[name], after[f"model.encoder.{name}"])
    assert not [name for name in after if "lora" in name]  # Merged: the checkpoint needs no PEFT.
    words = "embeddings.word_embeddings.weight"
    changed = not torch.equal(before[words], after[f"model.encoder.{words}"][: len(before[words])])
    assert changed == (how == "--train_encoder")
    assert pipeline("log-anomaly", model=str(out))("a\nfatal e")["label"]


def test_given_splits_are_used_as_given(encoder, data, tmp_path):
    for name, seed in (("validation", 5), ("test", 6)):
        write_jsonl(tmp_path / f"{name}.jsonl", make_logs(10, seed))
    files = f"--validation_file {tmp_path}/validation.jsonl --test_file {tmp_path}/test.jsonl --baselines false"
    assert main(arguments(encoder, data, *files.split(), "--num_train_epochs", "1")) == 0
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    assert [split[name]["logs"] for name in ("train", "validation", "test")] == [160, 10, 10]
    assert split["embargoed_logs"] == 0
    # What was measured is what the saved checkpoint says, to the last probability.
    measured = json.loads((tmp_path / "out" / "results.json").read_text())["test"]["all"]
    judged = pipeline("log-anomaly", model=str(tmp_path / "out"))([words for words, _ in make_logs(10, 6)])
    scores = np.array([result["probabilities"]["anomaly"] for result in judged])
    labels = np.array([label for _, label in make_logs(10, 6)])
    found = np.array([result["label"] == "anomaly" for result in judged])
    assert measured["expected_calibration_error"] == pytest.approx(
        expected_calibration_error(labels, scores), abs=1e-5
    )
    assert measured["accuracy"] == np.mean(found == labels)


def test_several_seeds(encoder, data):
    more = "--num_seeds 2 --num_train_epochs 1 --seed 3 --baselines false"
    assert main(arguments(encoder, data, *more.split())) == 0
    out = data.parent / "out"
    results = json.loads((out / "results.json").read_text())
    assert list(results["seeds"]) == ["3", "4"]
    assert results["spread"]["seeds"] == 2
    assert results["test"] == results["seeds"]["3"]["test"]  # The published model is that of the first seed.
    assert "over 2 seeds" in (out / "README.md").read_text()
    assert json.loads((out / "seed-4" / "results.json").read_text()) == results["seeds"]["4"]
    last = complete_checkpoints(out / "seed-4")[-1]
    name = "classification_head.classifier.weight"
    assert not torch.equal(weights_of(last)[name], weights_of(complete_checkpoints(out)[-1])[name])
    # A path in a seed's folder trains that seed again from there, even if it was finished.
    (out / "seed-4" / "results.json").write_text("{}")
    assert main(arguments(encoder, data, *more.split(), "--resume_from_checkpoint", str(last))) == 0
    assert json.loads((out / "results.json").read_text())["seeds"] == results["seeds"]
    # A recipe may say it too; without a path, finished seeds are not trained again.
    (data.parent / "recipe.yaml").write_text("resume: true\n")
    (out / "seed-4" / "results.json").write_text(json.dumps(results["seeds"]["4"] | {"steps": -1}))
    assert main([str(data.parent / "recipe.yaml"), *arguments(encoder, data, *more.split())]) == 0
    assert json.loads((out / "results.json").read_text())["seeds"]["4"]["steps"] == -1


def test_a_false_positive_rate_can_be_asked_for(encoder, data):
    more = "--false_positive_rate 0 --num_train_epochs 1 --anomaly_weight balanced --order_jitter 2 --hide_severity"
    assert main(arguments(encoder, data, *more.split())) == 0
    out = data.parent / "out"
    assert json.loads((out / "results.json").read_text())["validation"]["all"]["false_positive_rate"] == 0
    masked = pipeline("log-anomaly", model=str(out)).processor.mask(["Fatal e", "info a"]).to_pylist()
    assert masked == ["<SEVERITY> e", "<SEVERITY> a"]


# ---------------------------------------------------------------------- arguments


def test_a_recipe_holds_arguments_and_flags_win(encoder, data, tmp_path):
    recipe = {"num_train_epochs": 1, "use_cpu": True, "learning_rate": 1e-3, "train_file": [str(data)], "seed": None}
    text = yaml.safe_dump(recipe | {"encoder": str(encoder), "output_dir": str(tmp_path / "other"), "split": "random"})
    (tmp_path / "recipe.yaml").write_text(text)
    assert "--seed" not in arguments_of_file(str(tmp_path / "recipe.yaml"))
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    assert "0.001" in arguments_of_file(str(tmp_path / "recipe.json"))
    tiny = [flag for flag in TINY if flag not in ("--learning_rate", "3e-3", "--use_cpu")]
    more = "--num_train_epochs 2 --baselines false --report_to none".split()
    assert main([str(tmp_path / "recipe.yaml"), *tiny, *more]) == 0
    saved = json.loads((tmp_path / "other" / "arguments.json").read_text())["training"]
    assert (saved["num_train_epochs"], saved["learning_rate"]) == (2, 1e-3)


def test_help_shows_what_matters(capsys):
    for flag, shown in (("--help", False), ("--help_all", True)):
        with pytest.raises(SystemExit) as done:
            main([flag])
        assert done.value.code == 0
        text = capsys.readouterr().out
        for name in ("--train_file", "--encoder", "--output_dir", "--resume", "--learning_rate", "final_moe_model"):
            assert name in text
        assert ("--adam_beta1" in text) == shown


@pytest.mark.parametrize("recipe", sorted((ROOT / "examples" / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_understood(recipe):
    make_parser().parse_args_into_dataclasses(args=[*arguments_of_file(str(recipe)), "--use_cpu"])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", None),
        ("--resume", "last"),
        ("--resume yes", "last"),
        ("--resume true", "last"),
        ("--resume_from_checkpoint True", "last"),
        ("--resume_from_checkpoint last", "last"),
        ("--resume --resume_from_checkpoint false", None),
        ("--resume_from_checkpoint out/checkpoint-5", "out/checkpoint-5"),
    ],
)
def test_the_two_resume_flags_are_one(flags, expected):
    more = "--encoder folder --use_cpu".split()
    *_, args = make_parser().parse_args_into_dataclasses(args=[*more, *flags.split()])
    assert args.resume_from_checkpoint == expected
    assert "--resume, --resume_from_checkpoint" in make_parser().format_help()


# ---------------------------------------------------------------------- what cannot be trained


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"log": "a", "label": 0}\n', "the columns ['log_sequence'] are missing"),
        ('{"log_sequence": "a", "label": "odd"}\n', "row 1: A label must be one of"),
        ('{"log_sequence": "a", "label": 0}\n{"log_sequence": "", "label": 0}\n', "row 2: no log entries"),
        ('{"log_sequence": "a", "label": 0}\n' * 9, "one label only"),
        ("", "the file is empty"),
        ("{broken", "row 1 is not JSON"),
    ],
)
def test_bad_data_ends_with_a_message_and_exit_code_2(encoder, data, content, message, capsys):
    data.write_text(content)
    assert main(arguments(encoder, data)) == 2
    assert message in capsys.readouterr().err
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--encoder nowhere/at/all", "nowhere/at/all"),
        ("--num_attention_heads 5", "multiple of `num_attention_heads` (5)"),
        ("--train_file nothing.jsonl", "no such file: 'nothing.jsonl'"),
        ("--dataset_name some/name", "either `--train_file` or `--dataset_name`"),
        ("--lora --train_encoder", "not both"),
        ("--resume --overwrite_output_dir", "not both"),
        ("--resume_from_checkpoint true --overwrite_output_dir", "not both"),
        ("--resume_from_checkpoint out/checkpoint-5", "out/checkpoint-5 is not a complete checkpoint"),
        ("--model_card nothing.md", "--model_card` nothing.md"),
        ("--max_log_entry_length 65 --train_encoder", "65"),
        ("--anomaly_weight heavy", "positive number or 'balanced', got heavy"),
        ("--false_positive_rate 1.5", "[0, 1), got 1.5"),
        ("--repeat_power 2", "[0, 1], got 2.0"),
        ("--num_seeds 0", "at least 1, got 0"),
        ("--test_share 1", "leave something for training"),
        ("--split group", "--group_column"),
        ("--dense_share 1", "[0, 1), got 1.0"),
    ],
)
def test_bad_arguments_end_with_a_message_and_exit_code_2(encoder, data, more, message, capsys):
    assert main(arguments(encoder, data, *more.split())) == 2
    assert message in capsys.readouterr().err
    assert not (data.parent / "out").exists()


def test_bad_recipes(tmp_path, capsys):
    for name, content, message in (
        ("a.yaml", "[1, 2]", "must map argument names to values"),
        ("b.json", "{", "cannot read recipe"),
        ("c.yaml", "a: [", "cannot read recipe"),
    ):
        (tmp_path / name).write_text(content)
        assert main([str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
    assert main([str(tmp_path / "none.yaml")]) == 2


def test_existing_files_are_replaced_only_on_request(encoder, data, capsys):
    out = data.parent / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert main(arguments(encoder, data)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(arguments(encoder, data, "--resume")) == 2
    assert "there is no run of train.py in" in capsys.readouterr().err
    short = ("--num_train_epochs", "1", "--baselines", "false")
    assert main(arguments(encoder, data, *short, "--overwrite_output_dir")) == 0
    assert (out / "mine.txt").read_text() == "mine"
    first = weights_of(out)
    assert main(arguments(encoder, data, *short)) == 2
    # Another seed in its place leaves nothing of the first.
    assert main(arguments(encoder, data, *short, "--overwrite_output_dir", "--seed", "7")) == 0
    assert any(not torch.equal(first[name], value) for name, value in weights_of(out).items())
    # A run resumes with its own arguments and data only.
    capsys.readouterr()
    assert main(arguments(encoder, data, *short, "--resume")) == 2
    assert "seed was 7, is 42" in capsys.readouterr().err
    data.write_text(data.read_text() + data.read_text().splitlines()[0] + "\n")
    assert main(arguments(encoder, data, *short, "--resume", "--seed", "7")) == 2
    assert "The data changed" in capsys.readouterr().err


def test_two_runs_never_share_a_folder(tmp_path):
    first, second = RunFolder(tmp_path / "out"), RunFolder(tmp_path / "out")
    for run in (first, second):
        run.check("encoder", {})  # Both find it free, and read their data.
    first.start("encoder", {}, {})
    for attempt in (
        lambda: second.start("encoder", {}, {}),
        lambda: RunFolder(tmp_path / "out", overwrite=True).check("encoder", {}),
        lambda: RunFolder(tmp_path / "out", resume="last").check("encoder", {}),
    ):
        with pytest.raises(FileExistsError, match="another run is writing to `--output_dir`"):
            attempt()
    first.release()
    with pytest.raises(FileExistsError, match="is not empty"):  # What was checked before the wait no longer holds.
        second.start("encoder", {}, {})
    second.release()
    third = RunFolder(tmp_path / "out", resume="last")
    third.check("encoder", {})
    third.start("encoder", {}, {})
    third.release()


def test_nobody_sees_half_a_checkpoint_of_a_run(encoder, data, monkeypatch):
    out = data.parent / "out"
    seen = []

    def while_saving(trainer, output_dir):
        seen.append((f"checkpoint-{trainer.state.global_step}", [path.name for path in out.glob("checkpoint-*")]))

    monkeypatch.setattr("transformers.Trainer._save_scaler", while_saving)
    steps = "--eval_strategy steps --save_strategy steps --save_steps 5 --eval_steps 5 --num_train_epochs 1".split()
    assert main(arguments(encoder, data, *steps, "--baselines", "false")) == 0
    assert len(seen) > 1
    assert not [name for name, names in seen if name in names]
    for checkpoint in complete_checkpoints(out):
        assert {"model.safetensors", "config.json", "optimizer.pt", "tokenizer.json"} <= set(os.listdir(checkpoint))
    assert not list(out.glob(".saving*"))


def test_nobody_loads_half_a_model(pipe, tmp_path, monkeypatch):
    """Over another one, too: without config.json there is none."""
    folder = RunFolder(tmp_path)
    folder.save_checkpoint(pipe)
    placed, replace = [], os.replace

    def noticed(source, target):
        placed.append((Path(target).name, (tmp_path / "config.json").exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", noticed)
    folder.save_checkpoint(pipe)
    assert {"model.safetensors", "tokenizer.json"} < set(dict(placed))
    assert placed[-1][0] == "config.json"
    assert not any(is_loadable for _, is_loadable in placed)
    assert (tmp_path / "config.json").exists()


def test_what_training_logs_controls_no_terminal():
    record = logging.LogRecord("logmoe.train", logging.INFO, "", 0, "saved in %s\n\tdone", ("a\x1b[2J\u202e",), None)
    assert VisibleFormatter("%(message)s").format(record) == "saved in a\\x1b[2J\\u202e\n        done"
