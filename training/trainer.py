"""The Trainer of LogMoE: two phases, logs longer than a sequence, weights, and runs that may be killed at any time."""

import json
import logging
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints

from logmoe.modeling_logmoe import router_statistics, weighted_router_loss
from logmoe.training.data import SimilarLengthSampler

logger = logging.getLogger("logmoe.train")

TRAINER_STATE = "trainer_state.json"


class TwoPhases(TrainerCallback):
    """Dense routing for the first share of the steps, Top-P after it.

    Decided from the step alone, so that a resumed run is in the phase it was interrupted in.
    """

    def __init__(self, dense_share: float):
        if not 0 <= dense_share < 1:
            raise ValueError(f"`dense_share` must be in [0, 1), got {dense_share}: the last phase is Top-P.")
        self.dense_share = dense_share

    def first_top_p_step(self, max_steps: int) -> int:
        """The first step, counted from 0, that routes by Top-P."""
        return int(np.ceil(self.dense_share * max_steps))

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        first = self.first_top_p_step(state.max_steps)
        assert model is not None  # the Trainer always passes it
        model = getattr(model, "module", model)
        if state.global_step == first > 0:
            # A checkpoint of the dense phase is no candidate for the best: it is measured as another model.
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None
        model.set_routing_mode("dense" if state.global_step < first else "top_p")


class StopOnSignal(TrainerCallback):
    """SIGTERM: the step is finished, a checkpoint saved, and training stops. To be used as a context manager."""

    def __init__(self) -> None:
        self.received = False
        self.stopped = False
        self.accelerator: Any = None

    def __enter__(self) -> "StopOnSignal":
        self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: Any) -> None:
        self.received = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        stop = self.received
        if self.accelerator is not None and self.accelerator.num_processes > 1:
            # The processes hear of it at different steps, but must save at the same.
            if stop:
                self.accelerator.set_trigger()
            stop = self.accelerator.check_trigger()
        if stop and not control.should_training_stop:
            control.should_save = control.should_training_stop = self.stopped = True


def _for_people(logs: dict[str, float]) -> dict[str, float]:
    """Without the load of each expert of each layer, which only TensorBoard and the plots can show."""
    return {name: value for name, value in logs.items() if not name.startswith("expert_load/")}


class ShortPrinter(PrinterCallback):
    """Prints a line of the training log that a person can read."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, _for_people(logs), **kwargs)


class ShortProgress(ProgressCallback):
    """The same, above a progress bar."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, _for_people(logs), **kwargs)


def _kind(accelerator: Any) -> str:
    """How the processes share the work, in accelerate's words."""
    return "FSDP" if getattr(accelerator, "is_fsdp2", False) else str(accelerator.distributed_type.value)


def complete_checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoints that were saved to their end, the oldest first.

    The trainer state is written last, so a checkpoint is complete when that can be read.
    """
    complete = []
    for folder in sort_checkpoints(str(output_dir)) if Path(output_dir).is_dir() else []:
        try:
            json.loads(Path(folder, TRAINER_STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        complete.append(Path(folder))
    return complete


class LogMoETrainer(Trainer):
    """The Trainer for batches of `LogCollator`.

    - A log of several parts is judged, and learned, by its most anomalous part, as the pipeline judges it
      (multiple-instance learning).
    - The loss is the mean over the logs of the global batch, with weights of mean 1, plus the router losses: several
      processes, and one with the whole batch, have the same loss and gradient.
    - A checkpoint is complete or is not taken for one, and loads with `pipeline()`.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for shown, short in ((PrinterCallback, ShortPrinter), (ProgressCallback, ShortProgress)):
            if self.pop_callback(shown) is not None:
                self.add_callback(short)
        accelerator = self.accelerator
        logger.info("%d process(es), %s on %s", accelerator.num_processes, _kind(accelerator), accelerator.device.type)

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        visits = self.train_dataset if train_dataset is None else train_dataset
        batch_size = self.args.train_batch_size * self.args.world_size
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return SimilarLengthSampler(visits, batch_size, seed)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        labels, weights, log_index = (inputs[name] for name in ("labels", "weights", "log_index"))
        inputs = {name: value for name, value in inputs.items() if name not in ("labels", "weights", "log_index")}
        training = model.training
        outputs = model(**inputs, output_router_logits=training)
        logits = most_anomalous_part(outputs.logits, log_index, len(labels))
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        if not training:  # Processes may differ in the number of batches here: nothing is exchanged.
            return (losses.mean(), {"logits": logits}) if return_outputs else losses.mean()
        average = self._average_over_processes if self.accelerator.num_processes > 1 else None
        # The weights of an epoch have mean 1: the number of logs, unlike the weight of those that a batch happens to
        # hold, makes each batch's loss an unbiased estimate.
        num_logs = (weights > 0).sum().float()
        loss = (losses * weights).sum() / (average(num_logs) if average else num_logs)
        entry_mask = inputs["entry_mask"] if "entry_mask" in inputs else inputs["entry_index"] >= 0
        entry_mask = entry_mask & (weights > 0)[log_index][:, None]  # Nor has padding a part in the routers' losses.
        config = self.accelerator.unwrap_model(model).config
        statistics = router_statistics(outputs.router_logits, entry_mask, config, average)
        loss = loss + weighted_router_loss(statistics, config)
        # Tensors, read when they are logged: reading them at each step would make a GPU wait.
        self.router_log = {name: value.detach() for name, value in statistics.items()}
        return (loss, {"logits": logits}) if return_outputs else loss

    def _average_over_processes(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor.detach(), reduction="mean")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            if not np.isfinite(logs["loss"]):
                raise FloatingPointError(
                    f"The loss is {logs['loss']} at step {self.state.global_step}: try a lower `--learning_rate`, or "
                    "float32 in place of lower precision."
                )
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

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The trainer state, which marks a checkpoint as complete, comes after the files of every process.
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        # Left by a run that was killed while it saved: nothing in it can be trusted.
        if self.is_world_process_zero():
            (folder / TRAINER_STATE).unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError, RuntimeError) as error:
            if self.is_world_process_zero():
                shutil.rmtree(folder, ignore_errors=True)  # Half a checkpoint is of no use, and in the way.
            last = complete_checkpoints(self.args.output_dir)
            raise OSError(
                f"The checkpoint {folder} cannot be saved: {error}. "
                + (f"{last[-1]} is complete: make room, and go on with `--resume`." if last else "None was saved yet.")
            ) from error


def most_anomalous_part(logits: torch.Tensor, log_index: torch.Tensor, num_logs: int) -> torch.Tensor:
    """The logits of each log: those of its part with the largest margin, the first among equals.

    Args:
        logits: `(parts, 2)`.
        log_index: int64 `(parts,)`, ascending, each log at least once.
        num_logs: how many logs there are.

    Returns:
        `(logs, 2)`.
    """
    if len(logits) == num_logs:
        return logits
    margin = (logits[:, 1] - logits[:, 0]).detach()
    best = margin.new_full((num_logs,), float("-inf")).scatter_reduce(0, log_index, margin, "amax")
    part = torch.arange(len(margin), device=margin.device)
    part = torch.where(margin >= best[log_index], part, len(margin) - 1)
    return logits[part.new_full((num_logs,), len(margin)).scatter_reduce(0, log_index, part, "amin")]
