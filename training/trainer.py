"""The Trainer of LogMoE and its callbacks: two phases, logs longer than a sequence, runs that survive being killed.

`train.py` makes a `LogMoETrainer` for each seed from `batches`; it trains, and predicts the margins of a split.
"""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from transformers import EvalPrediction, PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from logmoe.judging_logmoe import anomaly_margin, anomaly_probability
from logmoe.modeling_logmoe import router_statistics, weighted_router_loss
from logmoe.training.batches import DistinctLogs, LogCollator, SimilarLengthSampler
from logmoe.training.metrics import DetectionMetric, log_loss
from logmoe.training.run_folder import CHECKPOINT_PREFIX, SAVING, complete_checkpoints

logger = logging.getLogger("logmoe.train")


class TwoPhases(TrainerCallback):
    """Dense routing for the first share of the steps, Top-P after that.

    The phase depends on the step alone, so a resumed run is in the phase it was interrupted in.
    """

    def __init__(self, dense_share: float):
        if not 0 <= dense_share < 1:
            raise ValueError(f"`--dense_share` must be in [0, 1), got {dense_share}: the last phase is Top-P.")
        self.dense_share = dense_share

    def first_top_p_step(self, max_steps: int) -> int:
        """The first step, counted from 0, that routes by Top-P."""
        return int(np.ceil(self.dense_share * max_steps))

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        first = self.first_top_p_step(state.max_steps)
        if state.global_step == first > 0:
            # The best checkpoint is one of the Top-P phase: in the dense phase it is another model that is measured.
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None
        getattr(model, "module", model).set_routing_mode("dense" if state.global_step < first else "top_p")


class StopOnSignal(TrainerCallback):
    """On SIGTERM or SIGINT finishes the step, saves a checkpoint and stops training. A context manager.

    A run that goes on from there ends with the weights of one that was never stopped: nothing is evaluated or saved
    that it would not have been, for both move the random state on. A second SIGINT stops at once.

    Attributes:
        received: the signal, if there was one.
        stopped: training was stopped.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.stopped = False
        self.accelerator: Any = None

    def __enter__(self) -> "StopOnSignal":
        self._before = [signal.signal(number, self._remember) for number in self.SIGNALS]
        return self

    def __exit__(self, *exception: object) -> None:
        for number, before in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, before)

    def _remember(self, number: int, frame: Any) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        stop = self.received is not None
        if self.accelerator is not None and self.accelerator.num_processes > 1:
            # The processes notice it at different steps, but must save at the same one.
            if stop:
                self.accelerator.set_trigger()
            stop = self.accelerator.check_trigger()
        if stop and not control.should_training_stop:
            control.should_training_stop = self.stopped = True
            # After the last step of an epoch comes what is due at its end, and only then the save.
            self._is_saved = state.epoch != round(state.epoch)
            control.should_save |= self._is_saved

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stopped:  # The Trainer ends an epoch early, and takes that for its end.
            control.should_save = not self._is_saved
            control.should_evaluate &= not self._is_saved


class StoppedBySignal(Exception):
    """A signal stopped the training; all that is needed to go on is saved.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: signal.Signals, checkpoint: Path):
        super().__init__(f"stopped by {number.name}, saved {checkpoint}: continue with `--resume`.")
        self.number = number


class _Readable:
    """Prints the training log without the load of every expert, which is for TensorBoard and the plots."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        logs = {name: value for name, value in logs.items() if not name.startswith("expert_load/")}
        super().on_log(args, state, control, logs, **kwargs)  # type: ignore[misc]


class ReadablePrinter(_Readable, PrinterCallback):
    pass


class ReadableProgress(_Readable, ProgressCallback):
    pass


class LogMoETrainer(Trainer):
    """The Trainer for batches of `LogCollator`.

    - A log of several sequences is learned and predicted by its most anomalous one, as the pipeline judges it
      (multiple-instance learning).
    - The loss is the mean over the logs of the global batch, with weights of mean 1, plus the router losses: several
      processes, and one with the whole batch, have the same loss and gradient.
    - A checkpoint is complete or not taken for one, and loads with `pipeline()`.

    Args:
        stop: stops the training on a signal, at the same step in all processes.
        kwargs: of the Trainer. Its metrics are those of `eval_dataset`, which is `DistinctLogs`.
    """

    def __init__(self, stop: StopOnSignal, **kwargs: Any):
        super().__init__(compute_metrics=self._measure, **kwargs)
        self.add_callback(stop)
        stop.accelerator = accelerator = self.accelerator
        for shown, readable in ((PrinterCallback, ReadablePrinter), (ProgressCallback, ReadableProgress)):
            if self.pop_callback(shown) is not None:
                self.add_callback(readable)
        if self.is_fsdp_enabled and isinstance(self.data_collator, LogCollator) and self.data_collator.token_ids:
            # Processes have entries of different lengths, but must gather the encoder equally often: in one call.
            self.model.model.tokens_per_batch = sys.maxsize
        kind = "FSDP" if accelerator.is_fsdp2 else accelerator.distributed_type.value
        logger.info("%d process(es), %s on %s", accelerator.num_processes, kind, accelerator.device.type)

    def predict_margins(self, logs: DistinctLogs) -> np.ndarray:
        """Anomaly logit minus normal logit of each log of a split, float64 `(logs,)`.

        Raises:
            FloatingPointError: margins that are not finite.
        """
        self.compute_metrics = None  # What is measured, and when, is the caller's choice from here on.
        return self._margins(logs, self.predict(logs).predictions)

    def _measure(self, prediction: EvalPrediction) -> dict[str, float]:
        margin = self._margins(self.eval_dataset, prediction.predictions)
        labels = self.eval_dataset.labels
        metric = DetectionMetric(keep_in_memory=True)
        figures = metric.compute(predictions=anomaly_probability(margin), references=labels)
        return figures | {"loss": log_loss(labels, margin)}

    def _margins(self, logs: DistinctLogs, logits: np.ndarray) -> np.ndarray:
        margin = anomaly_margin(logs.expand(logits))
        if not np.isfinite(margin).all():
            self._stop_as_not_finite("Some logits are not finite")
        return margin

    def _stop_as_not_finite(self, what: str) -> None:
        raise FloatingPointError(
            f"{what} at step {self.state.global_step}: try a lower `--learning_rate`, or float32 instead of lower "
            "precision."
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        visits = self.train_dataset if train_dataset is None else train_dataset
        batch_size = self.args.train_batch_size * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return SimilarLengthSampler(visits, batch_size, seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        inputs = dict(inputs)
        labels, weights, log_index = (inputs.pop(name) for name in ("labels", "weights", "log_index"))
        training = model.training
        outputs = model(**inputs, output_router_logits=training)
        logits = most_anomalous_sequence(outputs.logits, log_index, len(labels))
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        if not training:  # Processes may have different numbers of batches: they exchange nothing here.
            return (losses.mean(), {"logits": logits}) if return_outputs else losses.mean()
        average = self._average_over_processes if self.accelerator.num_processes > 1 else None
        # The weights of an epoch have mean 1: divided by the number of logs, and not by the weights that happen to be
        # in the batch, its loss is an unbiased estimate.
        num_logs = (weights > 0).sum().float()
        loss = (losses * weights).sum() / (average(num_logs) if average else num_logs)
        entry_mask = inputs["entry_mask"] if "entry_mask" in inputs else inputs["entry_index"] >= 0
        entry_mask = entry_mask & (weights > 0)[log_index][:, None]  # Padding does not count.
        config = self.accelerator.unwrap_model(model).config
        statistics = router_statistics(outputs.router_logits, entry_mask, config, average)
        loss = loss + weighted_router_loss(statistics, config)
        # Stay tensors until they are logged: reading them at each step would make a GPU wait.
        self.router_log = {name: value.detach() for name, value in statistics.items()}
        return (loss, {"logits": logits}) if return_outputs else loss

    def _average_over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor.detach(), reduction="mean")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            if not np.isfinite(logs["loss"]):
                self._stop_as_not_finite(f"The loss is {logs['loss']}")
            router_log = self.router_log
            if self.accelerator.num_processes > 1:
                router_log = self.accelerator.reduce(router_log, reduction="mean")
            load = router_log["expert_load"]  # (layers, num_experts)
            logs |= {name: value.item() for name, value in router_log.items() if value.dim() == 0}
            logs |= {
                f"expert_load/layer_{layer}_expert_{expert}": share
                for layer, row in enumerate(load.tolist())
                for expert, share in enumerate(row)
            }
        super().log(logs, start_time)

    # ------------------------------------------------------------------ checkpoints
    #
    # The files of a checkpoint are written to another folder, which takes its name when they are all there: nobody
    # can load half of one, nor a mixture with one that was there before. The trainer state, which marks a checkpoint
    # as complete for `--resume`, comes last.

    _place: tuple[Path, Path] | None = None  # Where a checkpoint goes, and where it is written; None between saves.

    def _written(self, output_dir: str | None) -> str | None:
        if self._place is None or output_dir is None or Path(output_dir) != self._place[0]:
            return output_dir
        return str(self._place[1])

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(self._written(output_dir), _internal_call)
        if self._place is not None:
            if self.state.best_global_step == self.state.global_step:
                self.state.best_model_checkpoint = str(self._place[0])  # The Trainer finds no folder of this name yet.
            if self.args.save_only_model:
                self._put_in_place()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(self._written(output_dir))

    def _save_scaler(self, output_dir: str) -> None:
        super()._save_scaler(self._written(output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(self._written(output_dir))
        self._put_in_place()

    def _put_in_place(self) -> None:
        self.accelerator.wait_for_everyone()  # The files of every process are written.
        if self._place is not None and self.is_world_process_zero():
            folder, written = self._place
            before = written.with_name(f"{written.name}.before")
            if folder.exists():
                os.replace(folder, before)
            os.replace(written, folder)
            shutil.rmtree(before, ignore_errors=True)
        self._place = None
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir, f"{CHECKPOINT_PREFIX}{self.state.global_step}")
        written = folder.with_name(f"{SAVING}-{self.state.global_step}")
        if self.is_world_process_zero():
            shutil.rmtree(written, ignore_errors=True)  # May have been left by a run that was killed.
        self.accelerator.wait_for_everyone()
        self._place = folder, written
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            if self.is_world_process_zero():
                # Half a checkpoint only takes up room.
                shutil.rmtree(written, ignore_errors=True)
                if folder not in complete_checkpoints(self.args.output_dir):
                    shutil.rmtree(folder, ignore_errors=True)
            last = complete_checkpoints(self.args.output_dir)
            state = (
                f"{last[-1]} is complete: make room, then continue with `--resume`." if last else "It is the first."
            )
            raise OSError(f"cannot save checkpoint {folder}: {error}. {state}") from error
        finally:
            self._place = None


def most_anomalous_sequence(logits: torch.Tensor, log_index: torch.Tensor, num_logs: int) -> torch.Tensor:
    """The logits of each log, `(logs, 2)`: those of its sequence with the largest margin, the first among equals.

    Args:
        logits: `(sequences, 2)`.
        log_index: int64 `(sequences,)`, the log of each sequence, ascending; each log at least once.
        num_logs: the number of logs.
    """
    if len(logits) == num_logs:
        return logits
    margin = (logits[:, 1] - logits[:, 0]).detach()
    best = margin.new_full((num_logs,), float("-inf")).scatter_reduce(0, log_index, margin, "amax")
    sequence = torch.arange(len(margin), device=margin.device)
    sequence = torch.where(margin >= best[log_index], sequence, len(margin) - 1)
    return logits[sequence.new_full((num_logs,), len(margin)).scatter_reduce(0, log_index, sequence, "amin")]
