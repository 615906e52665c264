"""Training on labels through a reference of the normal training logs: `train.py --reference auto`."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_model, tiny_processor
from training_fixtures import TINY, make_encoder, make_logs, weights_of, write_jsonl
from transformers import pipeline

from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS
from logmoe.train import main
from logmoe.training.arguments import ModelArguments
from logmoe.training.batches import LogCollator, TrainingVisits
from logmoe.training.logs import LabelledLogs, LogStore
from logmoe.training.metrics import detection_metrics
from logmoe.training.references import FEATURES, fit_reference, see
from logmoe.training.run_folder import RunFolder, complete_checkpoints
from logmoe.training.splits import Splits

NEW = ENTRY_FEATURES.index("text_new")


def labelled(store: LogStore, logs: list[list[str]], labels: list[int] | None = None, spans=None) -> LabelledLogs:
    place = np.arange(len(logs))
    first, last = (place, place) if spans is None else np.array(spans).T
    labels = [0] * len(logs) if labels is None else labels
    return LabelledLogs(store.add_logs(logs), np.array(labels, np.int8), place.astype(float), None, first, last)


@pytest.fixture(scope="module")
def sees():
    """Gives what `see` makes of training logs and, if there are any, test logs."""
    processor = tiny_processor()
    model = make_model(**FEATURES)
    model.add_placeholders(processor)

    def encode(texts):
        inputs = processor.pad(processor.tokenize(list(texts))[0])
        return model.encode_entries(inputs["input_ids"], inputs["attention_mask"]).detach()

    def view(train, labels=None, test=(), spans=None, most=1 << 17):
        store = LogStore(processor)
        splits = Splits({"train": labelled(store, train, labels, spans)})
        if test:
            splits["test"] = labelled(store, test)
        reference = fit_reference(splits["train"], store, model, most)
        return SimpleNamespace(store=store, splits=splits, model=model, seen=see(splits, store, reference, encode))

    return view


USUAL = [["info a", "warn b", "info c"], ["info a", "info c", "warn b"], ["warn b", "info a", "info c"]]


def test_each_training_log_is_measured_without_itself_and_others_against_all(sees):
    once = ["info a", "error d"]  # is normal, and occurs once
    train = [*(USUAL * 4), once, *(USUAL * 4), ["fatal e", "info a"]]
    got = sees(train, [0] * (len(train) - 1) + [1], test=[once, ["info a", "failed started"]])
    seen, test = got.seen, got.splits["test"].distinct_log
    # The text of the log that occurs once is unknown where the log stands itself, and known to all later ones.
    assert seen.train[test[0]].entry_features[0][:, NEW].tolist() == [0, 1]
    assert seen.held_out[test[0]].entry_features[0][:, NEW].tolist() == [0, 0]
    assert seen.held_out[test[1]].entry_features[0][:, NEW].tolist() == [0, 1]
    # Normal training logs alone are what is healthy.
    assert set(seen.reference.texts) == {"info a", "warn b", "info c", "error d"}
    # What occurs in every block is usual wherever it stands.
    usual = got.splits["train"].distinct_log[0]
    assert not seen.train[usual].entry_features[0][:, NEW].any()
    # Each log stands for itself: neither times nor what was before it are known.
    assert not seen.reference.origin.has_past
    known = {name for name, value in zip(INPUTS, seen.held_out[test[1]].inputs[0], strict=True) if not np.isnan(value)}
    assert "template_new_max" in known
    assert not known & {"slow", "gap_max", "overdue_count", "text_rate128_max"}


def test_windows_that_share_lines_with_another_block_are_read_without_the_reference(sees):
    lines = [["info a", "warn b", "info c", "info d"][row % 4] for row in range(60)]
    starts = range(0, 56, 2)  # windows of 4 lines, each sharing two with the next
    # Each window differs, so that it stands in one place only.
    train = [[*lines[start : start + 3], f"info {'a' * (start % 7 + 1)} {'b' * (start // 7 + 1)}"] for start in starts]
    got = sees(train, spans=[(start, start + 3) for start in starts])
    # Each line is in the reference once: every second window.
    assert got.seen.reference.num_entries == 4 * len(starts) / 2
    is_unseen = [np.isnan(got.seen.train[index].inputs).all() for index in got.splits["train"].distinct_log]
    # At either edge between blocks, one window on each side or the window that lies across it.
    assert 2 <= sum(is_unseen) <= 4
    assert got.seen.facts()["unmeasured_training_logs"] == sum(is_unseen)


def test_a_reference_is_bounded_and_needs_enough_normal_logs(sees):
    train = [[f"info {'a' * row}", "warn b"] for row in range(1, 41)]
    assert len(sees(train).seen.reference) == 80
    assert 20 <= len(sees(train, most=40).seen.reference) <= 40
    with pytest.raises(ValueError, match="needs 6 distinct sequences of normal training logs or more, got 3"):
        sees(USUAL)


def test_long_logs_are_cut_as_the_pipeline_cuts_them(sees):
    long = [f"info {'a' * (row % 5 + 1)}" for row in range(19)]
    got = sees([*USUAL * 4, ["info a"] * 9], test=[long])
    (index,) = got.splits["test"].distinct_log
    (ends,) = [[(positions[0], positions[-1]) for positions in got.seen.held_out[index].sequences]]
    assert ends == [(0, 7), (8, 15), (11, 18)]  # the last is filled up with entries before it
    batch = LogCollator(got.store.processor, 8, embeds=got.seen.embeds)(
        [{"rows": got.store.distinct_logs[index], "labels": 0, "weights": 1.0, "seen": got.seen.held_out[index]}]
    )
    assert batch["entry_features"].shape == (3, 8, len(ENTRY_FEATURES))
    assert batch["log_index"].tolist() == [0, 0, 0]
    got.model(**{name: batch[name] for name in ("entry_embeds", "entry_mask", "entry_features", "sequence_features")})


def test_visits_move_features_with_their_entries_and_sometimes_hide_the_reference(sees):
    got = sees([*USUAL * 8, ["fatal e", "info a"]], [0] * 24 + [1])
    args = SimpleNamespace(collapse=False, repeat_power=1, order_jitter=3, relative_anomaly_weight=lambda: 1.0)
    visits = TrainingVisits(got.splits["train"], got.store, args, seen=got.seen.train)
    hidden, moved = 0, 0
    for epoch in range(12):
        visits.set_epoch(epoch)
        for visit in range(len(visits)):
            example = visits[visit]
            seen, whole = example["seen"], got.seen.train[int(visits.pairs[visit]) // 2]
            hidden += bool(np.isnan(seen.inputs).all())
            (order,), (features,) = seen.sequences, seen.entry_features
            moved += order.tolist() != sorted(order.tolist())
            assert np.isnan(features).all() or np.array_equal(features, whole.entry_features[0][order])
            assert np.array_equal(visits[visit]["seen"].sequences[0], order)  # a visit is the same each time
    assert 0.05 < hidden / (12 * len(visits)) < 0.16
    assert moved


def test_what_is_never_known_in_training_counts_for_nothing(sees):
    got = sees([*USUAL * 8, ["fatal e", "info a"]], [0] * 24 + [1])
    got.seen.set_statistics(got.model)
    inputs = np.stack([log.inputs[0] for log in got.seen.train.values()])
    unknown = np.isnan(inputs).all(axis=0)
    assert unknown.any()
    with torch.no_grad():
        before = got.model.sequence_terms(torch.from_numpy(inputs))
        after = got.model.sequence_terms(torch.from_numpy(np.where(unknown, 5.0, inputs).astype(np.float32)))
        assert torch.equal(before, after)
        assert not torch.equal(before, got.model.sequence_terms(torch.from_numpy(inputs + 1)))


# ---------------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    make_encoder(folder / "encoder")
    logs = make_logs(120) + [(words * 3, label) for words, label in make_logs(24, seed=1)]
    write_jsonl(folder / "logs.jsonl", logs)
    return folder


def arguments(folder, *more):
    return [
        *f"--encoder {folder / 'encoder'} --train_file {folder / 'logs.jsonl'} --output_dir {folder / 'out'}".split(),
        *f"--embedding_cache {folder / 'cache'} --split random --baselines false --report_to none".split(),
        *TINY,
        *"--reference auto --num_train_epochs 2 --order_jitter 1 --save_total_limit 9".split(),
        *more,
    ]


@pytest.fixture(scope="module")
def trained(folder):
    assert main(arguments(folder)) == 0
    return folder / "out"


@pytest.fixture
def pipe(trained):
    return pipeline("log-anomaly", model=str(trained))


def test_the_pipeline_judges_as_was_measured(folder, trained, pipe):
    """Through the stored reference, by the threshold that was fitted on labels."""
    results = json.loads((trained / "results.json").read_text())
    assert pipe.model.config.calibration_mode == "reference"
    assert results["reference"]["entries"] == pipe.stored_reference.num_entries > 0
    rows = [json.loads(line) for line in (folder / "logs.jsonl").read_text().splitlines()]
    # The random split of the run, which the seed gives.
    sizes = [results["split"][name]["logs"] for name in ("train", "validation", "test")]
    order = np.random.default_rng(0).permutation(len(rows))
    test = [rows[place] for place in np.sort(order[sum(sizes[:2]) :])]
    found = pipe([row["log_sequence"] for row in test])
    assert {result["mode"] for result in found} == {"reference"}
    labels = np.array([row["label"] == "anomaly" for row in test]).astype(int)
    measured = detection_metrics(
        labels, np.array([result["probabilities"]["anomaly"] for result in found]), results["threshold"]
    )
    for name in ("f1", "pr_auc", "auroc", "expected_calibration_error"):
        assert measured[name] == pytest.approx(results["test"]["all"][name], abs=1e-4), name
    assert measured["f1"] >= 0.9
    called = [result["label"] == "anomaly" for result in found]
    assert called == [result["probabilities"]["anomaly"] >= results["threshold"] for result in found]
    card = (trained / "README.md").read_text()
    assert "`reference/`" in card
    assert "| `reference` | `auto` |" in card


LOG = "\n".join(["info a", "warn b", "error c", "info d", "info a"] * 6 + ["fatal e"] + ["info d", "info a"] * 10)


def test_shares_add_up_and_a_scan_says_the_same(pipe, tmp_path):
    result = pipe(LOG)
    (tmp_path / "x.log").write_text(LOG)
    scanned = list(pipe.scan(tmp_path / "x.log", num_workers=1))
    assert [each["label"] for each in scanned] == [each["label"] for each in result["sequences"]]
    odd = max(result["sequences"], key=lambda each: each["probabilities"]["anomaly"])
    assert odd["label"] == "anomaly"
    assert any(entry["text"] == "fatal e" for entry in odd["entries"])
    assert odd["reasons"]
    # Against a healthy median sequence, whose margin is the same for all.
    of_others = set()
    for each in result["sequences"]:
        margin = pipe.model.config.calibration_temperature * np.log(
            each["probabilities"]["anomaly"] / each["probabilities"]["normal"]
        )
        shares = sum(entry["score"] for entry in each["entries"]) + sum(each["evidence"].values())
        of_others.add(round(margin - shares, 2))
    assert len(of_others) == 1


def test_other_ways_of_judging_are_there_when_asked_for(pipe, trained, tmp_path, caplog):
    assert pipe(LOG, reference=False)["mode"] == "none"
    assert pipe(LOG * 10, reference="self")["mode"] == "self"
    found = pipe.findings(LOG.encode())
    assert (found.summary.mode, found.summary.baseline) == ("reference", "the checkpoint's own reference")
    assert found.summary.promised_rate is found.summary.kept_rate is None
    # A promise is about healthy sequences, and they are there.
    promised = pipe.findings(LOG.encode(), false_alarm_rate=0.2).summary
    assert promised.promised_rate == 0.2
    assert promised.kept_rate is not None
    given = pipe.findings(LOG.encode(), reference=pipe.stored_reference).summary
    assert given.promised_rate == 0.01
    # Without the folder the model says what is missing, and goes on without it.
    shutil.copytree(trained, tmp_path / "without", ignore=shutil.ignore_patterns("reference", "checkpoint-*"))
    without = pipeline("log-anomaly", model=str(tmp_path / "without"))
    assert without(LOG)["mode"] == "none"
    assert "was trained with a reference, which is not with it" in caplog.text


def test_a_run_through_a_reference_resumes_to_the_same_weights(folder, trained):
    weights, results = weights_of(trained), json.loads((trained / "results.json").read_text())
    first, *_, last = complete_checkpoints(trained)
    assert first != last
    assert main(arguments(folder, "--resume_from_checkpoint", str(first))) == 0
    again = weights_of(trained)
    assert not [name for name in weights if not torch.equal(weights[name], again[name])]
    assert json.loads((trained / "results.json").read_text())["test"] == results["test"]


def test_a_reference_is_published_only_when_asked_and_leaves_with_its_run(trained, tmp_path):
    folder = RunFolder(trained)
    assert not [pattern for pattern in folder.upload_patterns() if pattern.startswith("reference/")]
    assert "reference/*" in folder.upload_patterns(with_reference=True)
    copy = shutil.copytree(trained, tmp_path / "copy")
    replaced = RunFolder(copy, overwrite=True)
    replaced.start("an/encoder", {}, {})
    replaced.release()
    assert not (copy / "reference").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--train_encoder"], "needs a frozen encoder, whose embeddings of what is normal stay what they are"),
        (["--lora"], "leave out `--lora`, or give `--reference none`"),
    ],
)
def test_what_cannot_be_trained_through_a_reference_is_said(folder, capsys, more, message):
    assert main(arguments(folder, *more)) == 2
    assert message in capsys.readouterr().err


def test_text_alone_is_read_by_default():
    assert not ModelArguments(encoder="x").sees_reference
    with pytest.raises(ValueError, match="must be auto or none, got always"):
        ModelArguments(encoder="x", reference="always")
