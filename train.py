"""Trains LogMoE on labelled log sequences: `accelerate launch train.py --train_file … --encoder … --output_dir …`.

Two phases: first every expert with equal weight, then Top-P routing.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    HfArgumentParser,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from logmoe import LogAnomalyPipeline, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.training.data import CompactCollator, EmbeddedCollator, EntryTable, read_examples
from logmoe.training.metrics import detection_metrics

logger = logging.getLogger("logmoe.train")


@dataclass
class ModelArguments:
    """What to train."""

    encoder: str = field(metadata={"help": "Folder or Hub name of a BERT-like encoder."})
    train_encoder: bool = field(default=False, metadata={"help": "Train the encoder too; by default it is frozen."})
    dense_share: float = field(
        default=0.3, metadata={"help": "Share of the steps in phase 1, with every expert at equal weight."}
    )
    hidden_size: int = field(default=512, metadata={"help": "Width of the sequence stack."})
    num_hidden_layers: int = field(default=6, metadata={"help": "Layers of the sequence stack."})
    num_attention_heads: int = field(default=8, metadata={"help": "Attention heads of each layer."})
    num_experts: int = field(default=4, metadata={"help": "Experts of each layer."})
    moe_intermediate_size: int = field(default=256, metadata={"help": "Inner width of each expert."})
    router_top_p: float = field(default=0.8, metadata={"help": "Probability mass that the kept experts reach."})
    load_balance_loss_coef: float = field(default=0.01, metadata={"help": "Weight of the load-balancing loss."})
    router_entropy_loss_coef: float = field(
        default=1e-4, metadata={"help": "Weight of the router-entropy loss: more of it keeps fewer experts active."}
    )
    router_z_loss_coef: float = field(default=1e-3, metadata={"help": "Weight of the router z-loss."})
    max_log_entry_length: int = field(default=128, metadata={"help": "Tokens per log entry."})
    max_sequence_length: int = field(default=32, metadata={"help": "Log entries per sequence."})


@dataclass
class DataArguments:
    """What to train on: JSON lines with `log_sequence` (text or list of entries) and `label`."""

    train_file: str = field(metadata={"help": "Labelled sequences to train on."})
    validation_file: str | None = field(default=None, metadata={"help": "Labelled sequences to watch."})
    test_file: str | None = field(default=None, metadata={"help": "Labelled sequences to report on, used once."})
    data_description: str | None = field(default=None, metadata={"help": "What the data are, for the model card."})
    model_card: str | None = field(default=None, metadata={"help": "Template of the model card (default: built in)."})


class TwoPhases(TrainerCallback):
    """Dense routing for the first share of the steps, Top-P after it.

    Decided from the step alone, so that a resumed run is in the phase it was interrupted in.
    """

    def __init__(self, dense_share: float):
        if not 0 <= dense_share < 1:
            raise ValueError(f"`dense_share` must be in [0, 1), got {dense_share}: the last phase is Top-P.")
        self.dense_share = dense_share

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        dense = state.global_step < self.dense_share * state.max_steps
        assert model is not None  # the Trainer always passes it
        model = getattr(model, "module", model)
        if not dense and model.config.routing_mode == "dense":
            # A checkpoint of the dense phase is no candidate for the best: it is measured as another model.
            state.best_metric = state.best_model_checkpoint = None
        model.set_routing_mode("dense" if dense else "top_p")


class LogMoETrainer(Trainer):
    """The Trainer, which also logs the model's named losses and the load of the experts."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            # Tensors, read when they are logged: reading them at each step would make a GPU wait.
            names = ("load_balance_loss", "router_entropy_loss", "router_z_loss", "mean_active_experts")
            self.router_log = {name: outputs[name].detach() for name in names}
            load = outputs.expert_load.mean(dim=0)  # (num_experts,), over layers
            self.router_log |= {f"expert_load_{i}": share for i, share in enumerate(load)}
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= {name: value.item() for name, value in self.router_log.items()}
        super().log(logs, start_time)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Probability of anomaly `(examples,)` from logits `(examples, 2)`."""
    return np.exp(-np.logaddexp(0, logits[:, 0] - logits[:, 1]))


def train(
    model_args: ModelArguments, data_args: DataArguments, training_args: TrainingArguments
) -> dict[str, dict[str, float]]:
    """Trains, measures and saves a complete checkpoint in `output_dir`.

    Returns:
        The metrics of each split that was given besides the training data.

    Raises:
        ValueError: data or arguments that cannot be trained on.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    phases = TwoPhases(model_args.dense_share)
    set_seed(training_args.seed)
    lengths = {name: getattr(model_args, name) for name in ("max_log_entry_length", "max_sequence_length")}
    processor = LogMoEProcessor.from_encoder_pretrained(model_args.encoder, **lengths)
    table = EntryTable()
    splits = {}
    for split in ("train", "validation", "test"):
        path = getattr(data_args, f"{split}_file")
        if path is None:
            continue
        try:
            data = load_dataset("json", data_files=path, split="train")
        except (DatasetsError, StopIteration) as error:
            raise ValueError(f"{path} holds no JSON lines that can be read: {error or 'it is empty'}") from error
        missing = {"log_sequence", "label"} - set(data.column_names)
        if missing:
            raise ValueError(f"{path} lacks {sorted(missing)}; it has {data.column_names}.")
        splits[split] = read_examples(data["log_sequence"], data["label"], processor, table)
        anomalies = sum(example["labels"] for example in splits[split])
        logger.info("%s: %d sequences, %d anomalous", split, len(splits[split]), anomalies)
    if len({example["labels"] for example in splits["train"]}) < 2:
        raise ValueError(f"{data_args.train_file} has sequences of one label only; training needs both.")
    token_ids, truncated = processor.tokenize(table.texts)
    logger.info("%d distinct entries, %d of them truncated", len(token_ids), truncated.sum())

    not_config = ("encoder", "train_encoder", "dense_share")
    model = LogMoEForSequenceClassification.from_encoder_pretrained(
        model_args.encoder,
        processor=processor,
        **{name: value for name, value in vars(model_args).items() if name not in not_config},
    )
    collator: CompactCollator | EmbeddedCollator
    if model_args.train_encoder:
        collator = CompactCollator(processor, token_ids)
    else:
        model.freeze_encoder()
        embedder = LogAnomalyPipeline(model.eval(), processor=processor)
        with torch.no_grad():
            collator = EmbeddedCollator(embedder.encode(token_ids).cpu())

    training_args.remove_unused_columns = False
    trainer = LogMoETrainer(
        model=model,
        args=training_args,
        train_dataset=splits["train"],
        eval_dataset=splits.get("validation"),
        data_collator=collator,
        processing_class=processor,
        callbacks=[phases],
        compute_metrics=lambda prediction: detection_metrics(
            prediction.label_ids, probabilities(prediction.predictions), threshold=0.5
        ),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    model.set_routing_mode("top_p")

    metrics = {}
    for split in splits:
        if split != "train":
            metrics[split] = trainer.evaluate(splits[split], metric_key_prefix=split)
            trainer.log_metrics(split, metrics[split])
    if trainer.is_world_process_zero():
        output_dir = Path(training_args.output_dir)
        render_card(data_args, model, metrics).save(output_dir / "README.md")
        LogAnomalyPipeline(model.eval(), processor=processor).save_pretrained(output_dir)
        logger.info("saved in %s", output_dir)
    return metrics


def render_card(
    data_args: DataArguments, model: LogMoEForSequenceClassification, metrics: dict[str, dict[str, float]]
) -> ModelCard:
    """The model card, filled with what was measured."""
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["log-anomaly", "log-anomaly-detection", "mixture-of-experts"],
    )
    rows = {
        split: {
            name.removeprefix(f"{split}_"): value
            for name, value in values.items()
            if name.removeprefix(f"{split}_") in ("precision", "recall", "f1", "pr_auc", "auroc", "mcc")
        }
        for split, values in metrics.items()
    }
    return ModelCard.from_template(
        data,
        template_path=data_args.model_card or str(Path(__file__).parent / "model_card.md"),
        data_description=data_args.data_description,
        config=model.config,
        num_parameters=model.num_parameters(),
        metrics=rows,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `train.py` and of the console script `logmoe-train`; returns the exit code."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    try:
        model_args, data_args, training_args = parser.parse_args_into_dataclasses(args=argv)
    except ValueError as error:  # TrainingArguments checks what the machine can do.
        print(f"error: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO if training_args.should_log else logging.WARNING, format="%(message)s")
    try:
        train(model_args, data_args, training_args)
    except (OSError, ValueError, StrictDataclassError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
