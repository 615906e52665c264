"""The trainer line by line, against known answers; test_training.py and test_training_runs.py train with it.

Nothing here trains: losses are computed by hand, callbacks are fed by hand, and checkpoints are saved at a step that
the test says. `make mutants MODULES=training/trainer` runs this file.
"""

import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, tiny_encoder_config
from safetensors import SafetensorError
from transformers import EvalPrediction, PrinterCallback, ProgressCallback, Trainer, TrainerControl, TrainingArguments

from logmoe.modeling_logmoe import router_statistics
from logmoe.training.batches import DistinctLogs, LogCollator
from logmoe.training.logs import LabelledLogs, LogStore
from logmoe.training.run_folder import complete_checkpoints
from logmoe.training.trainer import (
    LogMoETrainer,
    ReadablePrinter,
    ReadableProgress,
    StopOnSignal,
    StoppedBySignal,
    TwoPhases,
    most_anomalous_sequence,
)

COEFFICIENTS = {"load_balance_loss_coef": 0.3, "router_entropy_loss_coef": 0.2, "router_z_loss_coef": 0.1}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def make_trainer(folder, model=None, eval_dataset=None, data_collator=None, stop=None, **arguments):
    arguments = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    } | arguments
    return LogMoETrainer(
        stop or StopOnSignal(),
        model=model or make_model(**NO_DROPOUT, **COEFFICIENTS),
        args=TrainingArguments(folder, **arguments),
        eval_dataset=eval_dataset,
        data_collator=data_collator,
    )


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(tmp_path)


# ---------------------------------------------------------------------- phases


def test_the_last_phase_begins_with_the_first_whole_step():
    starts = [TwoPhases(share).first_top_p_step(steps) for share, steps in ((0.0, 7), (0.3, 10), (0.5, 7), (0.99, 10))]
    assert starts == [0, 3, 4, 10]
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"\[0, 1\), got {share}"):
            TwoPhases(share)


def phase_at(phases, model, step):
    """What the state says of the best checkpoint, and the routing, once this step of ten has begun."""
    state = SimpleNamespace(max_steps=10, global_step=step)
    state.best_metric, state.best_model_checkpoint, state.best_global_step = 0.9, "checkpoint-2", 2
    phases.on_step_begin(None, state, None, model=model)
    config = getattr(model, "module", model).config
    return config.routing_mode, (state.best_metric, state.best_model_checkpoint, state.best_global_step)


def test_phases_follow_the_step_alone(model):
    best, forgotten = (0.9, "checkpoint-2", 2), (None, None, None)
    phases = TwoPhases(0.3)
    # The best of the dense phase is forgotten with it; that of the last phase is kept, also by a run that resumes.
    for step, expected in ((2, ("dense", best)), (3, ("top_p", forgotten)), (4, ("top_p", best))):
        assert phase_at(phases, model, step) == expected
    assert phase_at(TwoPhases(0.1), model, 1) == ("top_p", forgotten)
    assert phase_at(phases, SimpleNamespace(module=model), 0)[0] == "dense"  # As several processes wrap it.
    assert phase_at(TwoPhases(0.0), model, 0) == ("top_p", best)  # Without a dense phase none ends.


# ---------------------------------------------------------------------- signals


@pytest.fixture
def handled():
    """Signals that reached the handlers of before; without these a signal too many would end the tests."""
    seen = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, frame: seen.append(number)) for number in numbers]
    yield seen
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_signals_are_remembered_until_the_end(handled):
    for number in (signal.SIGTERM, signal.SIGINT):
        with StopOnSignal() as stop:
            assert stop.received is None
            signal.raise_signal(number)
            assert stop.received == number
            assert not stop.stopped
        assert not handled
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    assert handled == [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_sigint_stops_at_once_and_a_second_sigterm_does_not(handled, first):
    with StopOnSignal() as stop:
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def control_after(stop, epoch, ends_epoch=False, **due):
    """What the trainer is told to do after a step, and after the epoch if it ends, where so much was due."""
    control = TrainerControl(**due)
    state = SimpleNamespace(epoch=epoch)
    stop.on_step_end(None, state, control)
    if ends_epoch:
        control.should_save, control.should_evaluate = True, True  # As the Trainer's own callback has it.
        stop.on_epoch_end(None, state, control)
    return control.should_training_stop, control.should_save, control.should_evaluate


def stopping(received=signal.SIGTERM, accelerator=None):
    stop = StopOnSignal()
    stop.received, stop.accelerator = received, accelerator
    return stop


def test_within_an_epoch_it_is_saved_after_the_step_and_nothing_is_evaluated():
    for epoch in (1.2, 1.9):
        stop = stopping()
        assert control_after(stop, epoch) == (True, True, False)
        assert stop.stopped
        # The Trainer takes that for the end of the epoch.
        assert control_after(stopping(), epoch, ends_epoch=True) == (True, False, False)


def test_at_the_end_of_an_epoch_what_is_due_comes_before_the_save():
    assert control_after(stopping(), 2.0) == (True, False, False)
    assert control_after(stopping(), 2.0, should_save=True) == (True, True, False)  # It was due after the step.
    assert control_after(stopping(), 2.0, ends_epoch=True) == (True, True, True)
    stop, control = stopping(), TrainerControl(should_evaluate=False)
    stop.on_step_end(None, SimpleNamespace(epoch=2.0), control)
    stop.on_epoch_end(None, None, control)
    assert (control.should_save, control.should_evaluate) == (True, False)  # Nothing is evaluated that was not due.


def test_what_ends_by_itself_is_not_stopped():
    for stop, due in ((stopping(None), {}), (stopping(), {"should_training_stop": True})):
        assert control_after(stop, 1.5, ends_epoch=True, **due) == (bool(due), True, True)
        assert not stop.stopped


class OneOfTwo:
    """The accelerator of one of two processes; the other has the signal, or nothing at all.

    Attributes:
        reduced: what was averaged, and how.
    """

    num_processes = 2

    def __init__(self, other_has_signal=False):
        self.trigger, self.reduced = other_has_signal, []

    def set_trigger(self):
        self.trigger = True

    def check_trigger(self):
        return self.trigger

    def unwrap_model(self, model):
        return model

    def reduce(self, value, reduction):
        if isinstance(value, dict):
            return {name: self.reduce(item, reduction) for name, item in value.items()}
        self.reduced.append((value.requires_grad, reduction))
        return value / 2


def test_all_processes_stop_if_one_has_the_signal():
    for received, other, stops in (
        (None, False, False),
        (None, True, True),
        (signal.SIGTERM, False, True),
    ):
        accelerator = OneOfTwo(other)
        assert control_after(stopping(received, accelerator), 1.5)[0] == stops
        assert accelerator.trigger == stops
    # One process alone asks nobody.
    alone = SimpleNamespace(num_processes=1)
    assert control_after(stopping(accelerator=alone), 1.5)[0]
    assert not control_after(stopping(None, alone), 1.5)[0]


def test_the_message_of_a_stop():
    stop = StoppedBySignal(signal.SIGINT, Path("out/checkpoint-5"))
    assert str(stop) == "stopped by SIGINT, saved out/checkpoint-5: continue with `--resume`."
    assert stop.number == signal.SIGINT


# ---------------------------------------------------------------------- what is shown


def kinds(trainer):
    return {type(callback) for callback in trainer.callback_handler.callbacks}


def test_the_load_of_every_expert_is_not_printed(tmp_path, capsys):
    for quiet, shown, other in (
        (True, ReadablePrinter, ReadableProgress),
        (False, ReadableProgress, ReadablePrinter),
    ):
        found = kinds(make_trainer(tmp_path, disable_tqdm=quiet))
        assert shown in found
        assert not found & {other, PrinterCallback, ProgressCallback}
    state = SimpleNamespace(is_local_process_zero=True)
    ReadablePrinter().on_log(None, state, None, {"loss": 0.5, "expert_load/layer_0_expert_1": 0.25})
    assert capsys.readouterr().out == "{'loss': '0.5'}\n"


def test_a_trainer_stops_on_a_signal_and_says_where_it_trains(tmp_path, caplog):
    stop = StopOnSignal()
    with caplog.at_level("INFO", "logmoe.train"):
        trainer = make_trainer(tmp_path, stop=stop)
    assert stop in trainer.callback_handler.callbacks
    assert stop.accelerator is trainer.accelerator
    assert "1 process(es), NO on cpu" in caplog.text


@pytest.mark.parametrize(
    ("sharded", "frozen", "at_once"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_sharded_processes_encode_in_one_call(tmp_path, monkeypatch, caplog, sharded, frozen, at_once):
    prepared = Trainer.create_accelerator_and_postprocess

    def prepare(self):
        prepared(self)
        self.is_fsdp_enabled = sharded

    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", prepare)
    monkeypatch.setattr("accelerate.Accelerator.is_fsdp2", sharded)
    collator = LogCollator(None, 8, **({"embeds": torch.zeros(1, 32)} if frozen else {"token_ids": [[1]]}))
    model = make_model()
    with caplog.at_level("INFO", "logmoe.train"):
        make_trainer(tmp_path, model, data_collator=collator)
    assert (model.model.tokens_per_batch == sys.maxsize) == at_once
    assert ("1 process(es), FSDP on cpu" in caplog.text) == sharded


# ---------------------------------------------------------------------- the loss


def batch_by_hand(padding=True):
    """Three logs of two, one and one sequences; the last one is padding, and unlike the others."""
    generator = torch.Generator().manual_seed(3)
    embeds = torch.randn(4, 3, 32, generator=generator) * 2
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [True, True, True]])
    batch = {
        "labels": torch.tensor([1, 0, 1]),
        "weights": torch.tensor([1.6, 0.5, 0.0]),
        "log_index": torch.tensor([0, 0, 1, 2]),
        "entry_embeds": embeds,
        "entry_mask": mask,
    }
    if not padding:
        batch = {name: value[: 2 if name in ("labels", "weights") else 3] for name, value in batch.items()}
    return batch


def loss_by_hand(model, batch, counted):
    """Mean of the weighted cross-entropy over the logs that count, and the router losses of their sequences.

    Divided by the weights that happen to be in a batch, a batch of rare anomalies would count as any other.
    """
    outputs = model(entry_embeds=batch["entry_embeds"], entry_mask=batch["entry_mask"], output_router_logits=True)
    logits = most_anomalous_sequence(outputs.logits, batch["log_index"], len(batch["labels"]))
    losses = [
        (weight * (row.logsumexp(0) - row[label])).item()
        for weight, row, label in zip(batch["weights"], logits, batch["labels"], strict=True)
    ]
    sequences = batch["log_index"] < counted
    routers = tuple(layer[sequences] for layer in outputs.router_logits)
    statistics = router_statistics(routers, batch["entry_mask"][sequences], model.config)
    names = ("load_balance_loss", "router_entropy_loss", "router_z_loss")
    router_loss = sum(COEFFICIENTS[f"{name}_coef"] * statistics[name].item() for name in names)
    return sum(losses) / counted + router_loss, statistics


def test_padding_counts_in_no_loss(trainer):
    model = trainer.model.train()
    batch = batch_by_hand()
    expected, statistics = loss_by_hand(model, batch, counted=2)
    loss = trainer.compute_loss(model, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    # What is logged is what was computed, and keeps no graph.
    assert trainer.router_log.keys() == statistics.keys()
    for name, value in trainer.router_log.items():
        assert not value.requires_grad
        torch.testing.assert_close(value, statistics[name].detach())
    # As if there were none, in its gradient too.
    gradients = []
    for some in (batch, batch_by_hand(padding=False)):
        model.zero_grad()
        trainer.compute_loss(model, some).backward()
        gradients.append([value.grad.clone() for value in model.parameters() if value.grad is not None])
    for whole, without in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, without, atol=1e-6, rtol=1e-4)
    assert "labels" in batch  # The batch is the caller's.


def test_padding_counts_in_no_loss_where_the_encoder_is_trained(trainer, compact_batch):
    model = make_model(**NO_DROPOUT, **COEFFICIENTS, encoder_config=tiny_encoder_config(**NO_DROPOUT)).train()
    logs = {"labels": torch.tensor([1, 0]), "log_index": torch.tensor([0, 1])}
    whole = trainer.compute_loss(model, compact_batch | logs | {"weights": torch.tensor([1.0, 0.0])})
    first = {name: value[:1] for name, value in logs.items()} | {"weights": torch.tensor([1.0])}
    # Its entries in another order: the first of the batch counts as any other.
    flipped = {name: compact_batch[name].flip(0) for name in ("input_ids", "attention_mask")}
    alone = flipped | first | {"entry_index": 4 - compact_batch["entry_index"][:1, :3]}
    torch.testing.assert_close(whole, trainer.compute_loss(model, alone), atol=1e-6, rtol=1e-5)


def test_the_loss_is_over_the_logs_of_all_processes(trainer):
    """Beside a process that has nothing but padding, averages are half of what they are alone: all losses double."""
    model, batch = trainer.model.train(), batch_by_hand()
    alone = trainer.compute_loss(model, batch)
    trainer.accelerator = OneOfTwo()
    torch.testing.assert_close(trainer.compute_loss(model, batch), 2 * alone)
    assert len(trainer.accelerator.reduced) == 3  # The numbers of logs and of entries, the pairs of the experts.
    assert set(trainer.accelerator.reduced) == {(False, "mean")}


def test_the_loss_of_what_is_measured_has_no_weights_and_no_router(trainer, monkeypatch):
    model, batch = trainer.model.eval(), batch_by_hand()
    trainer.accelerator = OneOfTwo()
    outputs = model(entry_embeds=batch["entry_embeds"], entry_mask=batch["entry_mask"])
    logits = most_anomalous_sequence(outputs.logits, batch["log_index"], 3)
    asked, forward = [], model.forward
    monkeypatch.setattr(
        model, "forward", lambda **inputs: asked.append(inputs["output_router_logits"]) or forward(**inputs)
    )
    loss, returned = trainer.compute_loss(model, batch, return_outputs=True)
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch["labels"]))
    torch.testing.assert_close(returned["logits"], logits)
    torch.testing.assert_close(trainer.compute_loss(model, batch), loss)
    assert not trainer.accelerator.reduced  # Processes may have different numbers of batches.
    assert not hasattr(trainer, "router_log")
    model.train()
    loss, returned = trainer.compute_loss(model, batch, return_outputs=True)
    assert loss.requires_grad
    torch.testing.assert_close(returned["logits"], logits)
    assert asked == [False, False, True]  # The routers' logits, where their loss is needed.


def test_the_most_anomalous_sequence():
    logits = torch.tensor([[0.0, 1.0], [3.0, 2.0], [0.0, 4.0], [5.0, 9.0]])
    index = torch.tensor([0, 1, 1, 1])
    assert most_anomalous_sequence(logits, index, 2).tolist() == [[0.0, 1.0], [0.0, 4.0]]  # The first of equals.
    # Wherever it stands: first, last, or in the midst of its log; negative margins too.
    logits = torch.tensor([[5.0, 1.0], [5.0, 2.0], [5.0, 0.0], [2.0, 9.0], [0.0, 4.0], [1.0, 4.0], [1.0, 6.0]])
    index = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    assert most_anomalous_sequence(logits, index, 3).tolist() == [[5.0, 2.0], [2.0, 9.0], [1.0, 6.0]]
    torch.testing.assert_close(most_anomalous_sequence(logits, torch.arange(7), 7), logits)


# ---------------------------------------------------------------------- what is measured and logged


def split_of(store, logs, labels):
    logs, place = np.array(logs), np.arange(len(logs))
    return DistinctLogs(
        LabelledLogs(logs, np.array(labels, dtype=np.int8), place.astype(float), None, place, place), store
    )


@pytest.fixture
def measured(processor, tmp_path):
    """A trainer that evaluates four logs, two of them distinct, and a split with another log."""
    store = LogStore(processor)
    store.add_logs(["a", "b\nc", "d\ne\na"])
    embeds = torch.randn(len(store.texts), 32, generator=torch.Generator().manual_seed(5))
    collator = LogCollator(processor, 8, embeds=embeds)
    validation = split_of(store, [0, 1, 0, 0], [0, 1, 0, 1])
    trainer = make_trainer(tmp_path, eval_dataset=validation, data_collator=collator)
    return trainer, split_of(store, [2, 0, 2], [1, 0, 1])


def test_margins_are_of_each_log_of_a_split(measured):
    trainer, split = measured
    margins = trainer.predict_margins(split)
    logits = (
        trainer.model(
            **{
                name: value
                for name, value in trainer.data_collator([split[0], split[1]]).items()
                if name not in ("labels", "weights", "log_index")
            }
        )
        .logits.detach()
        .numpy()
    )
    assert margins.dtype == np.float64
    longest, short = (float(row[1]) - float(row[0]) for row in logits)
    assert margins == pytest.approx([longest, short, longest], abs=1e-5)
    assert trainer.compute_metrics is None


def test_metrics_are_those_of_all_logs(measured, tmp_path, monkeypatch):
    trainer, _ = measured
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "metrics"))
    # One row for each distinct log, the longest first: "b\nc" is judged an anomaly, "a" normal.
    logits = np.array([[0.0, 2.0], [1.0, 0.0]], dtype=np.float32)
    figures = trainer._measure(EvalPrediction(logits, np.zeros(2)))
    losses = [np.log1p(np.exp(-1.0)), np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))]
    assert figures["loss"] == pytest.approx(np.mean(losses))
    assert (figures["recall"], figures["precision"]) == (0.5, 1.0)
    assert trainer.compute_metrics == trainer._measure
    assert not [path for path in (tmp_path / "metrics").rglob("*") if path.is_file()]  # They need no disk.


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_end_the_training(measured, value):
    trainer, _ = measured
    trainer.state.global_step = 7
    with pytest.raises(
        FloatingPointError, match="Some logits are not finite at step 7: try a lower `--learning_rate`"
    ):
        trainer._measure(EvalPrediction(np.array([[0.0, 2.0], [value, 0.0]]), np.zeros(2)))
    with pytest.raises(FloatingPointError, match=f"The loss is {value} at step 7: try a lower `--learning_rate`, or "):
        trainer.log({"loss": value})


@pytest.mark.parametrize("processes", [1, 2])
def test_what_the_routers_did_is_logged_with_the_loss(trainer, processes):
    load = torch.tensor([[0.5, 0.25], [0.125, 0.0]])
    trainer.log({"eval_loss": 0.5})
    assert trainer.state.log_history[-1] == {"eval_loss": 0.5, "step": 0, "epoch": 0}
    trainer.router_log = {"router_z_loss": torch.tensor(4.0), "expert_load": load}
    if processes == 2:
        trainer.accelerator = OneOfTwo()
    trainer.log({"loss": 0.5})
    share = 1 / processes
    assert trainer.state.log_history[-1] == {
        "loss": 0.5,
        "router_z_loss": 4.0 * share,
        "expert_load/layer_0_expert_0": 0.5 * share,
        "expert_load/layer_0_expert_1": 0.25 * share,
        "expert_load/layer_1_expert_0": 0.125 * share,
        "expert_load/layer_1_expert_1": 0.0,
        "step": 0,
        "epoch": 0,
    }
    if processes == 2:
        assert set(trainer.accelerator.reduced) == {(False, "mean")}


def test_batches_are_sampled_for_all_processes(tmp_path, monkeypatch):
    visits, others = (SimpleNamespace(lengths=np.ones(number), epoch=0) for number in (5, 6))
    for seeds, seed in (({"seed": 3}, 3), ({"seed": 3, "data_seed": 4}, 4), ({"seed": 3, "data_seed": 0}, 0)):
        trainer = make_trainer(tmp_path, per_device_train_batch_size=4, **seeds)
        trainer.train_dataset = visits
        with monkeypatch.context() as patched:
            patched.setattr(TrainingArguments, "world_size", 3)
            sampler, other = trainer._get_train_sampler(), trainer._get_train_sampler(others)
        assert (sampler.visits, sampler.batch_size, sampler.seed) == (visits, 12, seed)
        assert other.visits is others


# ---------------------------------------------------------------------- checkpoints


@pytest.fixture
def saving(trainer):
    """A trainer that has something to save, at step 5."""
    trainer.create_optimizer_and_scheduler(10)
    trainer.state.global_step = 5
    return trainer


def save(trainer):
    trainer._save_checkpoint(trainer.model, None)


def names(folder):
    return {path.name for path in folder.iterdir()}


WHOLE = {"config.json", "model.safetensors", "trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"}


def test_a_checkpoint_takes_its_name_when_all_is_there(saving, tmp_path, monkeypatch):
    # What was left of a killed run, and a checkpoint of that name: nothing of them is mixed in.
    for folder in (".saving-5", "checkpoint-5"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old").touch()
    seen, rng = [], Trainer._save_rng_state

    def while_saving(self, output_dir):
        seen.append((Path(output_dir).name, names(tmp_path / "checkpoint-5")))
        rng(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_rng_state", while_saving)
    save(saving)
    assert seen == [(".saving-5", {"old"})]
    assert names(tmp_path) == {"checkpoint-5"}
    assert names(tmp_path / "checkpoint-5") >= WHOLE
    assert "old" not in names(tmp_path / "checkpoint-5")
    assert saving.state.best_model_checkpoint is None


def test_what_is_saved_later_is_the_callers(saving, tmp_path, monkeypatch):
    save(saving)
    pushed = []
    saving.args.push_to_hub = True
    monkeypatch.setattr(saving, "push_to_hub", lambda **_: pushed.append(len(pushed)))
    saving.save_model(str(tmp_path / "inner"), _internal_call=True)
    assert not pushed
    saving.save_model(str(tmp_path / "model"))
    assert len(pushed) == 1
    assert "model.safetensors" in names(tmp_path / "inner") & names(tmp_path / "model")


def test_a_checkpoint_of_the_model_alone(tmp_path):
    trainer = make_trainer(tmp_path, save_only_model=True)
    trainer.state.global_step = 5
    save(trainer)
    assert names(tmp_path) == {"checkpoint-5"}
    assert {"model.safetensors", "trainer_state.json"} <= names(tmp_path / "checkpoint-5")
    assert "optimizer.pt" not in names(tmp_path / "checkpoint-5")


def test_the_best_checkpoint_is_the_one_that_was_measured_best(saving, tmp_path):
    for step, best, expected in (
        (5, 5, "checkpoint-5"),
        (6, 4, "checkpoint-5"),
        (7, 8, "checkpoint-5"),
        (8, 8, "checkpoint-8"),
    ):
        # Those of steps 4 and 7 were measured only: the one that was saved last as the best stays it.
        saving.state.global_step, saving.state.best_global_step = step, best
        save(saving)
        assert saving.state.best_model_checkpoint == str(tmp_path / expected)
        state = json.loads((tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text())
        assert state["best_model_checkpoint"] == str(tmp_path / expected)


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize("error", [OSError("full"), SafetensorError("full"), RuntimeError("full")])
def test_what_cannot_be_saved_leaves_nothing_behind(saving, tmp_path, monkeypatch, error):
    folder = tmp_path / "checkpoint-5"
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_optimizer_and_scheduler", failing(error))
        with pytest.raises(OSError, match=f"cannot save checkpoint {folder}: full. It is the first.") as raised:
            save(saving)
    assert raised.value.__cause__ is error
    assert names(tmp_path) == set()
    for saving.state.global_step in (4, 5):
        save(saving)
    saving.state.global_step = 6
    last = f"full. {folder} is complete: make room, then continue with `--resume`"
    for method in ("_save_optimizer_and_scheduler", "_save_rng_state"):
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, method, failing(error))
            with pytest.raises(OSError, match=last):
                save(saving)
        assert names(tmp_path) == {"checkpoint-4", "checkpoint-5"}
    # It has its name already, and lacks the trainer state.
    monkeypatch.setattr("transformers.TrainerState.save_to_json", failing(error))
    with pytest.raises(OSError, match=last):
        save(saving)
    assert names(tmp_path) == {"checkpoint-4", "checkpoint-5"}


def test_a_complete_checkpoint_survives_what_fails_after_it(saving, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.trainer.rotate_checkpoints", failing(OSError("full")))
    with pytest.raises(OSError, match=f"full. {tmp_path / 'checkpoint-5'} is complete"):
        save(saving)
    assert complete_checkpoints(tmp_path) == [tmp_path / "checkpoint-5"]
    # And so does one whose name it would take: the other is written beside it.
    saving.state.global_step = 5
    monkeypatch.setattr(Trainer, "_save_scaler", failing(OSError("full")))
    with pytest.raises(OSError, match="is complete"):
        save(saving)
    assert complete_checkpoints(tmp_path) == [tmp_path / "checkpoint-5"]


def test_other_errors_are_not_hidden_and_later_saves_are_not_led_astray(saving, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_scaler", failing(KeyError("a fault of the program")))
        with pytest.raises(KeyError):
            save(saving)
    saving._save_scaler(str(tmp_path))
    saving.save_model(str(tmp_path / "checkpoint-5"))
    assert "model.safetensors" in names(tmp_path / "checkpoint-5")


def test_only_the_first_process_moves_and_removes(saving, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "is_world_process_zero", lambda: False)
    (tmp_path / ".saving-5").mkdir()
    (tmp_path / ".saving-5" / "of-the-first").touch()
    monkeypatch.setattr("transformers.TrainerState.save_to_json", lambda *_: None)
    save(saving)
    assert names(tmp_path) == {".saving-5"}
    assert "of-the-first" in names(tmp_path / ".saving-5")
    monkeypatch.setattr(Trainer, "_save_scaler", failing(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save(saving)
    assert names(tmp_path) == {".saving-5"}


def test_while_a_checkpoint_is_saved_other_folders_keep_their_place(trainer, tmp_path):
    trainer._place = tmp_path / "checkpoint-5", tmp_path / ".saving-5"
    assert trainer._written(str(tmp_path / "checkpoint-5")) == str(tmp_path / ".saving-5")
    for other in ("model", "best"):
        assert trainer._written(str(tmp_path / other)) == str(tmp_path / other)
    assert trainer._written(None) is None
    trainer._place = None
    assert trainer._written(str(tmp_path / "checkpoint-5")) == str(tmp_path / "checkpoint-5")
