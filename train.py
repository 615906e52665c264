"""Trains LogMoE on labelled logs: `accelerate launch train.py --train_file logs.jsonl --encoder … --output_dir …`.

Arguments may stand in a YAML or JSON file, named first; flags after it win: `train.py recipe.yaml --seed 1`.
From data to a published checkpoint: read and split, embed each distinct entry once, train in two phases (every expert
with equal weight, then Top-P routing), fit temperature and threshold on validation data, measure beside simple rules,
save with card and plots, push.
"""

import argparse
import json
import logging
import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import PartialState
from huggingface_hub.errors import StrictDataclassError
from transformers import EvalPrediction, HfArgumentParser, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from logmoe import LogAnomalyPipeline, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.processing_logmoe import MASKS
from logmoe.training.baselines import measure_baselines
from logmoe.training.data import (
    DistinctLogs,
    LogCollator,
    LogStore,
    Source,
    Splits,
    TrainingVisits,
    require_both_labels,
    split_facts,
    split_logs,
    unseen_in_training,
)
from logmoe.training.embeddings import EmbeddingCache
from logmoe.training.metrics import (
    DetectionMetric,
    fit_calibration,
    fit_threshold,
    log_loss,
    probabilities,
    shift_logits,
)
from logmoe.training.report import (
    check_template,
    draw_plots,
    published_files,
    push,
    render_card,
    results_table,
    save_card,
    save_complete,
    spread,
    write_json,
)
from logmoe.training.trainer import LogMoETrainer, StopOnSignal, TwoPhases, complete_checkpoints

logger = logging.getLogger("logmoe.train")

EXIT_ERROR = 2
EXIT_TERMINATED = 128 + 15  # As the shell reports a process that SIGTERM ended.
UNIMPORTANT = ("data_description", "model_card", "license", "embedding_cache", "baselines")
ARGUMENTS_FILE, SPLIT_FILE, RESULTS_FILE = "arguments.json", "split.json", "results.json"
# Masked where `--hide_severity` is given: on some logs the word alone gives the label away.
SEVERITY_MASK = {
    "pattern": r"(?i)\b(?:trace|debug|info|information|notice|warn|warning|err|error|severe|crit|critical|alert|emerg"
    r"|emergency|fatal|failure|panic)\b",
    "replacement": "<SEVERITY>",
    "phrase": "severity",
}


@dataclass
class ModelArguments:
    """What to train."""

    _argument_group_name = "model"

    encoder: str = field(
        metadata={"help": "BERT-like encoder: a folder, or a name on the Hub such as google-bert/bert-base-uncased."}
    )
    train_encoder: bool = field(default=False, metadata={"help": "Train the encoder too; by default it is frozen."})
    lora: bool = field(default=False, metadata={"help": "Train the encoder by LoRA adapters, merged at the end."})
    lora_rank: int = field(default=8, metadata={"help": "Rank of the LoRA adapters."})
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
    hidden_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout of the sequence stack."})
    attention_probs_dropout_prob: float = field(default=0.1, metadata={"help": "Dropout of its attention."})
    max_log_entry_length: int = field(default=128, metadata={"help": "Tokens per log entry."})
    max_sequence_length: int = field(default=32, metadata={"help": "Log entries per sequence."})
    hide_severity: bool = field(default=False, metadata={"help": "Mask severity words such as INFO and FATAL."})
    embedding_cache: str | None = field(
        default=None,
        metadata={"help": "Folder where the embeddings of entries are kept (default: logmoe in the Hub's cache)."},
    )

    def config(self) -> dict[str, Any]:
        """The fields of `LogMoEConfig` among the arguments."""
        others = {"encoder", "train_encoder", "lora", "lora_rank", "dense_share", "hide_severity", "embedding_cache"}
        return {name: value for name, value in vars(self).items() if name not in others}

    @property
    def encoder_is_frozen(self) -> bool:
        return not (self.train_encoder or self.lora)


@dataclass
class DataArguments:
    """What to train on."""

    _argument_group_name = "data"

    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Labelled logs: .jsonl, .csv or .parquet, with a row per log (`log_sequence`, `label`) or per "
            "line (`line`, `label`); anything else is raw log text. Several files, or patterns such as 'logs/*.jsonl'."
        },
    )
    validation_file: list[str] | None = field(
        default=None, metadata={"help": "Chooses epoch, temperature and threshold; else cut from the training data."}
    )
    test_file: list[str] | None = field(
        default=None, metadata={"help": "Measured once, at the end; else cut from the training data."}
    )
    dataset_name: str | None = field(default=None, metadata={"help": "Data set of the Hub, in place of files."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its configuration."})
    dataset_train_split: str = field(default="train", metadata={"help": "Its split to train on."})
    dataset_validation_split: str | None = field(default=None, metadata={"help": "Its validation split, if any."})
    dataset_test_split: str | None = field(default=None, metadata={"help": "Its test split, if any."})
    streaming: bool = field(
        default=False, metadata={"help": "Read the data set as it downloads. Files are always read in chunks."}
    )
    sequence_column: str = field(default="log_sequence", metadata={"help": "Column of texts, or lists of entries."})
    label_column: str = field(default="label", metadata={"help": "Column of 0/1, normal/anomaly or 正常/异常."})
    line_column: str = field(default="line", metadata={"help": "Column of single lines, where each has a label."})
    time_column: str | None = field(default=None, metadata={"help": "Column that orders the logs in time."})
    group_column: str | None = field(
        default=None, metadata={"help": "Column of what belongs together: for --split group, or the log of a line."}
    )
    normal_label: str | None = field(
        default=None, metadata={"help": "The label that means normal; every other is then an anomaly."}
    )
    line_label_pattern: str | None = field(
        default=None,
        metadata={
            "help": "Raw text with a label in each line: a pattern (RE2) with a group (?P<label>...). What it matches "
            "is taken out of the line."
        },
    )
    session_pattern: str | None = field(
        default=None, metadata={"help": r"Raw text: gather the lines of a session by this, such as 'blk_-?\d+'."}
    )
    session_labels_file: str | None = field(
        default=None, metadata={"help": "Table of two columns, the session and its label."}
    )
    window_seconds: float | None = field(default=None, metadata={"help": "Cut labelled lines into windows by time."})
    stride: int | None = field(
        default=None, metadata={"help": "Entries from one window to the next (default: --max_sequence_length)."}
    )
    split: str = field(
        default="chronological",
        metadata={"help": "How parts without a file are cut.", "choices": ["chronological", "random", "group"]},
    )
    validation_share: float = field(default=0.1, metadata={"help": "Share of the logs for validation."})
    test_share: float = field(default=0.2, metadata={"help": "Share of the logs for the test."})
    embargo: int | None = field(
        default=None,
        metadata={"help": "Logs left out before each later part (default: 1%% of all, at most 32)."},
    )
    split_seed: int = field(default=0, metadata={"help": "Seed of the random and the group split."})
    anomaly_weight: str = field(
        default="1", metadata={"help": "An anomalous log counts so much more in the loss; or 'balanced'."}
    )
    collapse: bool = field(default=True, metadata={"help": "Train on identical logs once, weighted by their number."})
    repeat_power: float = field(
        default=1.0,
        metadata={
            "help": "A log that occurs n times counts n to this power: 1 as if each stood alone, less where rare logs "
            "matter more than their number, 0 for each distinct log once."
        },
    )
    order_jitter: int = field(
        default=0,
        metadata={
            "help": "Move entries at random by up to so many places at each visit, where the lines of a log come from "
            "several writers and their order means little."
        },
    )
    false_positive_rate: float | None = field(
        default=None, metadata={"help": "Fit the threshold to this rate on validation data (default: to the best F1)."}
    )
    baselines: bool = field(default=True, metadata={"help": "Measure simple rules and learners beside the model."})
    data_description: str | None = field(default=None, metadata={"help": "What the data are, for the model card."})
    model_card: str | None = field(default=None, metadata={"help": "Template of the model card (default: built in)."})
    license: str | None = field(default=None, metadata={"help": "Licence of the model, for its card: apache-2.0, …"})

    def source(self) -> Source:
        return Source(**{entry.name: getattr(self, entry.name) for entry in fields(Source)})


@dataclass
class LogMoETrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with defaults for LogMoE; `--help_all` shows all of them."""

    _argument_group_name = "training (more of transformers' TrainingArguments: --help_all)"

    output_dir: str = field(default="final_moe_model", metadata={"help": "Folder of the checkpoint."})
    resume: bool = field(
        default=False,
        metadata={"help": "Go on from the last complete checkpoint in --output_dir; start where there is none."},
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace what is in --output_dir."})
    num_seeds: int = field(
        default=1, metadata={"help": "Train so many times, from --seed upwards, and report the spread."}
    )
    num_train_epochs: float = field(default=5.0, metadata={"help": "Passes over the distinct training logs."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Logs per step and device."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "Logs per call when measuring."})
    learning_rate: float = field(default=5e-4, metadata={"help": "Highest learning rate."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Course of the learning rate."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps, or share of them, to reach the learning rate."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay of AdamW."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to measure on validation data."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint to resume from."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept, besides the best."})
    load_best_model_at_end: bool | None = field(
        default=None,
        metadata={"help": "Keep the best checkpoint of the Top-P phase (default: where it is saved when measured)."},
    )
    metric_for_best_model: str | None = field(default="pr_auc", metadata={"help": "By what it is the best."})
    eval_steps: float | None = field(
        default=None, metadata={"help": "Steps between two measurements (default: --save_steps)."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Steps between two lines of the training log."})
    logging_first_step: bool = field(default=True, metadata={"help": "Log the first step too."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hide losses that are not finite."})
    report_to: None | str | list[str] = field(  # noqa: RUF036 - HfArgumentParser reads the union in this order only
        default="tensorboard", metadata={"help": "Where to log, or 'none'."}
    )
    push_to_hub: bool = field(
        default=False, metadata={"help": "Upload checkpoint, card, plots and event files at the end."}
    )
    hub_model_id: str | None = field(
        default=None, metadata={"help": "Where to: org/name (default: the name of --output_dir, your own)."}
    )
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "See DistributedDataParallel."})

    def __post_init__(self) -> None:
        if self.eval_strategy == self.save_strategy == "steps" and self.eval_steps is None:
            self.eval_steps = self.save_steps  # transformers' own default would be `logging_steps`.
        if self.load_best_model_at_end is None:
            same = self.eval_strategy == self.save_strategy and self.eval_steps in (None, self.save_steps)
            self.load_best_model_at_end = same and self.eval_strategy != "no"
        if self.num_seeds < 1:
            raise ValueError(f"`num_seeds` must be at least 1, got {self.num_seeds}.")
        self.remove_unused_columns = False
        super().__post_init__()


# Shown by --help; the other hundred by --help_all.
COMMON_ARGUMENTS = {
    *("output_dir", "resume", "overwrite_output_dir", "num_seeds", "seed", "num_train_epochs", "max_steps"),
    *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("lr_scheduler_type", "warmup_steps", "weight_decay", "eval_strategy", "save_strategy", "save_total_limit"),
    *("save_steps", "eval_steps", "load_best_model_at_end", "metric_for_best_model", "logging_steps", "bf16"),
    *("activation_checkpointing", "use_cpu", "disable_tqdm", "report_to", "push_to_hub", "hub_model_id"),
    *("hub_private_repo",),
}
# Shown in the model card.
CARD_ARGUMENTS = (
    *("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("lr_scheduler_type", "warmup_steps", "weight_decay", "seed", "num_seeds", "world_size"),
)
# All that changes neither the weights nor the figures: a run may be resumed with others.
FREE_ARGUMENTS = re.compile(
    r"(?:output_dir|resume|overwrite_output_dir|resume_from_checkpoint|disable_tqdm|report_to|run_name|project|push_to_hub"
    r"|save_total_limit|save_only_model|save_on_each_node|do_\w+|use_cpu|per_device_eval_batch_size|eval_\w*accumulation"
    r"\w*|ddp_\w+|dataloader_\w+|hub_\w+|trackio\w*|log\w*|local_rank|skip_memory_metrics|include_\w+|enable_jit\w*)$"
)


class Stopwatch:
    """Where the time goes: seconds of each stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def train(
    model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments
) -> dict[str, Any] | None:
    """Trains, measures and saves a complete checkpoint in `args.output_dir`.

    Returns:
        What `results.json` holds; None where SIGTERM stopped the training after saving a checkpoint.

    Raises:
        ValueError: data or arguments that cannot be trained on.
        FileExistsError: something is in the output folder already.
        OSError: a checkpoint that cannot be saved; the last complete one is left as it was.
    """
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs and one process: start one for each with `accelerate launch train.py …`, or name one "
            "with CUDA_VISIBLE_DEVICES."
        )
    output_dir = Path(args.output_dir)
    phases = TwoPhases(model_args.dense_share)
    anomaly_weight = _check_arguments(model_args, data_args, args)
    _check_output_dir(output_dir, model_args, data_args, args)
    clock = Stopwatch()
    is_main = args.process_index == 0

    with clock("read"):
        rules: dict[str, Any] = {
            name: getattr(model_args, name) for name in ("max_log_entry_length", "max_sequence_length")
        }
        rules["session_pattern"] = data_args.session_pattern  # What was learned by session is judged by session.
        if model_args.hide_severity:
            rules["masks"] = [*MASKS, SEVERITY_MASK]
        processor = LogMoEProcessor.from_encoder_pretrained(model_args.encoder, **rules)
        store = LogStore(processor)
        splits = read_splits(data_args, store)
        require_both_labels(splits)
    facts = split_facts(splits, store)
    visits = TrainingVisits(
        splits.parts["train"],
        store,
        anomaly_weight,
        data_args.repeat_power,
        data_args.collapse,
        data_args.order_jitter,
        args.seed,
    )
    facts["train"]["distinct_labelled_logs"] = visits.num_distinct
    facts["train"]["visits_per_epoch"] = len(visits)
    if args.resume and (output_dir / SPLIT_FILE).exists():
        saved = json.loads((output_dir / SPLIT_FILE).read_text(encoding="utf-8"))
        if saved != facts:
            raise ValueError(f"The data are not those that {output_dir} was trained on: {saved} then, {facts} now.")
    _log_facts(facts)

    with clock("embed"):
        set_seed(args.seed)
        model = new_model(model_args, processor)
        collator = LogCollator(processor, processor.max_sequence_length)
        # Made here in any case: it refuses a processor and a model that do not fit, now rather than after training.
        embedder = LogAnomalyPipeline(model.eval(), processor=processor, device=args.device)
        if model_args.encoder_is_frozen:
            with args.main_process_first(desc="embedding the distinct entries"):
                collator.embeds = EmbeddingCache(embedder, model_args.embedding_cache).embed(store.texts)
        else:
            collator.token_ids, truncated = processor.tokenize(store.texts)
            logger.info("%d distinct entries, %d of them truncated", len(truncated), truncated.sum())

    if is_main:
        _clear_output_dir(output_dir, args)
        write_json(_all_arguments(model_args, data_args, args), output_dir / ARGUMENTS_FILE)
        write_json(facts, output_dir / SPLIT_FILE)
    PartialState().wait_for_everyone()

    push_to_hub, args.push_to_hub = args.push_to_hub, False  # We push once, at the end, with our card.
    results: dict[str, Any] = {"split": facts, "seeds": {}, "seconds": clock.seconds}
    with StopOnSignal() as stop:
        for seed in range(args.seed + args.num_seeds - 1, args.seed - 1, -1):
            # The first seed comes last, so that its model is at hand to be published.
            is_first = seed == args.seed
            folder = output_dir if is_first else output_dir / f"seed-{seed}"
            if args.resume and not is_first and (folder / RESULTS_FILE).exists():
                results["seeds"][seed] = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
                continue
            run_args = _arguments_of_seed(args, folder, seed)
            visits.seed = seed
            if not is_first or args.num_seeds > 1:
                set_seed(seed)
                model = new_model(model_args, processor)
            trainer = make_trainer(model, run_args, phases, visits, splits, store, collator, stop)
            if (trained := run(trainer, splits, store, data_args, clock)) is None:
                return None
            results["seeds"][seed], logits = trained
            if is_main and not is_first:
                write_json(results["seeds"][seed], folder / RESULTS_FILE)

    results["seeds"] = dict(sorted(results["seeds"].items()))
    results |= results["seeds"][args.seed]
    results["spread"] = spread(list(results["seeds"].values()))
    if model_args.lora:
        model.model.encoder = model.model.encoder_adapter.merge_and_unload()
        del model.model.encoder_adapter
    state_dict = trainer.accelerator.get_state_dict(trainer.model_wrapped) if trainer.is_fsdp_enabled else None
    trainer.accelerator.wait_for_everyone()
    if not is_main:  # What follows may take longer than the others would wait.
        return results
    if data_args.baselines and "test" in splits.parts:
        with clock("baselines"):
            results["baselines"] = measure_baselines(splits, store)
    with clock("save"):
        model.set_routing_mode("top_p")
        shift = torch.tensor([-results["offset"] / 2, results["offset"] / 2])
        if state_dict is None:
            bias = model.classification_head.classifier.bias
            bias.data += shift.to(bias)
        else:
            state_dict["classification_head.classifier.bias"] += shift
        # The weights first: whatever goes wrong with plots or card, they are there.
        save_complete(LogAnomalyPipeline(model.eval(), processor=processor), output_dir, state_dict)
        trainer.state.save_to_json(str(output_dir / "trainer_state.json"))
        figures = draw_plots(
            output_dir,
            trainer.state.log_history,
            phases.first_top_p_step(trainer.state.max_steps),
            {name: (splits.parts[name].labels, logits[name]) for name in logits},
            model.config,
        )
        arguments = _all_arguments(model_args, data_args, args)
        arguments["training"] = {name: arguments["training"][name] for name in (*CARD_ARGUMENTS, "precision")}
        save_card(render_card(data_args, model, results, arguments, figures), output_dir)
    write_json(results, output_dir / RESULTS_FILE)
    print(results_table(results))
    seconds = ", ".join(f"{stage} {time:.0f} s" for stage, time in clock.seconds.items())
    logger.info("%s\nsaved in %s", seconds, output_dir)
    if push_to_hub:
        push(output_dir, args.hub_model_id or output_dir.resolve().name, args.hub_token, args.hub_private_repo)
    return results


def read_splits(data_args: DataArguments, store: LogStore) -> Splits:
    """Reads the parts that are given, and cuts the others from the training data."""
    source = data_args.source()
    if (data_args.train_file is None) == (data_args.dataset_name is None):
        raise ValueError("Give either `--train_file` or `--dataset_name`.")
    given = {}
    for name in ("train", "validation", "test"):
        files = getattr(data_args, f"{name}_file")
        split = getattr(data_args, f"dataset_{name}_split")
        if files:
            given[name] = source.read_files(files, store)
        elif data_args.dataset_name is not None and split is not None:
            given[name] = source.read_dataset(data_args.dataset_name, data_args.dataset_config_name, split, store)
    shares = {name: getattr(data_args, f"{name}_share") for name in ("validation", "test") if name not in given}
    cut = split_logs(given["train"], shares, data_args.split, data_args.embargo, data_args.split_seed)
    parts = {**cut.parts, **{name: part for name, part in given.items() if name != "train"}}
    return Splits({name: parts[name] for name in ("train", "validation", "test") if name in parts}, cut.embargoed)


def new_model(model_args: ModelArguments, processor: LogMoEProcessor) -> LogMoEForSequenceClassification:
    """A new model on the pretrained encoder, frozen, trained whole, or with adapters."""
    model = LogMoEForSequenceClassification.from_encoder_pretrained(
        model_args.encoder, processor=processor, **model_args.config()
    )
    if not model_args.train_encoder:
        model.freeze_encoder()
    if model_args.lora:
        try:
            from peft import LoraConfig, LoraModel
        except ImportError as error:
            raise ValueError("`--lora` needs PEFT: pip install 'logmoe[train,lora]'.") from error
        config = LoraConfig(r=model_args.lora_rank, lora_alpha=2 * model_args.lora_rank, target_modules="all-linear")
        # Puts the adapters into the encoder where it stands; kept to merge them at the end.
        object.__setattr__(model.model, "encoder_adapter", LoraModel(model.model.encoder, config, "default"))
    return model


def make_trainer(
    model: LogMoEForSequenceClassification,
    args: LogMoETrainingArguments,
    phases: TwoPhases,
    visits: TrainingVisits,
    splits: Splits,
    store: LogStore,
    collator: LogCollator,
    stop: StopOnSignal,
) -> LogMoETrainer:
    """The Trainer of one run."""
    validation = splits.parts.get("validation")
    distinct = None if validation is None else DistinctLogs(validation, store)
    if distinct is None:
        args.eval_strategy, args.load_best_model_at_end = "no", False
    metric = DetectionMetric(keep_in_memory=True)

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        assert validation is not None
        assert distinct is not None
        logits = distinct.expand(prediction.predictions)
        _require_finite(logits, trainer.state.global_step)
        figures = metric.compute(predictions=probabilities(logits), references=validation.labels.astype(int))
        return figures | {"loss": log_loss(validation.labels, logits)}

    trainer = LogMoETrainer(
        model=model,
        args=args,
        train_dataset=visits,
        eval_dataset=distinct,
        data_collator=collator,
        processing_class=store.processor,
        callbacks=[phases, stop],
        compute_metrics=compute_metrics,
    )
    stop.accelerator = trainer.accelerator
    if trainer.is_fsdp_enabled and collator.token_ids is not None:
        # Processes have entries of different lengths, but must gather the encoder equally often: in one call.
        model.model.tokens_per_batch = sys.maxsize
    return trainer


def _require_finite(logits: np.ndarray, step: int) -> None:
    """Raises FloatingPointError where there is nothing to measure."""
    if not np.isfinite(logits).all():
        raise FloatingPointError(
            f"The model gives logits that are not finite at step {step}: try a lower `--learning_rate`, or float32 in "
            "place of lower precision."
        )


def run(
    trainer: LogMoETrainer, splits: Splits, store: LogStore, data_args: DataArguments, clock: Stopwatch
) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Trains with one seed, fits temperature and threshold on validation data, and measures.

    Returns:
        The figures, and the logits `(logs, 2)` of each part besides training; None where training was stopped.
    """
    args = trainer.args
    checkpoints = complete_checkpoints(args.output_dir) if args.resume else []
    if checkpoints:
        logger.info("going on from %s", checkpoints[-1])
    stop = next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, StopOnSignal))
    with clock("train"):
        trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    if stop.stopped:
        if args.process_index == 0:
            last = complete_checkpoints(args.output_dir)[-1]
            print(f"stopped by SIGTERM, saved {last}: go on with `--resume`.", file=sys.stderr)
        return None
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.set_routing_mode("top_p")
    with clock("measure"):
        trainer.compute_metrics = None
        logits = {}
        for name, part in splits.parts.items():
            if name != "train":
                distinct = DistinctLogs(part, store)
                logits[name] = distinct.expand(trainer.predict(distinct).predictions)
                _require_finite(logits[name], trainer.state.global_step)
        config, offset = model.config, 0.0
        if "validation" in logits:
            labels = splits.parts["validation"].labels
            config.calibration_temperature, offset = fit_calibration(labels, logits["validation"])
            logits = {name: shift_logits(values, offset) for name, values in logits.items()}
            config.anomaly_threshold = fit_threshold(
                labels, logits["validation"], config.calibration_temperature, data_args.false_positive_rate
            )
        figures: dict[str, Any] = {
            "temperature": config.calibration_temperature,
            "threshold": config.anomaly_threshold,
            "offset": offset,  # Of the margin, to be added to the head's bias.
            "best_step": trainer.state.best_global_step if args.load_best_model_at_end else None,
            "steps": trainer.state.global_step,
        }
        metric = DetectionMetric(keep_in_memory=True)
        for name in logits:
            labels = splits.parts[name].labels.astype(int)
            scores = probabilities(logits[name], config.calibration_temperature)
            unseen = unseen_in_training(splits, name)
            figures[name] = {
                slice_name: metric.compute(
                    predictions=scores[chosen], references=labels[chosen], threshold=config.anomaly_threshold
                )
                if chosen.any()
                else None
                for slice_name, chosen in (("all", np.ones(len(labels), dtype=bool)), ("unseen", unseen))
            }
    return figures, logits


# ---------------------------------------------------------------------- arguments and the output folder


def _check_arguments(
    model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments
) -> float | None:
    """Refuses what would fail late; returns how much more an anomalous log counts, None for balanced."""
    if model_args.train_encoder and model_args.lora:
        raise ValueError("Give `--train_encoder` or `--lora`, not both.")
    if args.resume and args.overwrite_output_dir:
        raise ValueError("Give `--resume` or `--overwrite_output_dir`, not both.")
    if data_args.window_seconds is not None and data_args.session_pattern is not None:
        raise ValueError("Give `--window_seconds` or `--session_pattern`, not both.")
    if data_args.model_card is not None:
        check_template(data_args.model_card)
    rate = data_args.false_positive_rate
    if rate is not None and not 0 <= rate < 1:
        raise ValueError(f"`--false_positive_rate` must be in [0, 1), got {rate}.")
    if data_args.order_jitter < 0:
        raise ValueError(f"`--order_jitter` must be at least 0, got {data_args.order_jitter}.")
    if not 0 <= data_args.repeat_power <= 1:
        raise ValueError(f"`--repeat_power` must be in [0, 1], got {data_args.repeat_power}.")
    if data_args.anomaly_weight == "balanced":
        return None
    try:
        weight = float(data_args.anomaly_weight)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(
            f"`--anomaly_weight` must be a positive number or 'balanced', got {data_args.anomaly_weight}."
        )
    return weight


def _all_arguments(
    model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments
) -> dict[str, Any]:
    values = {name: value for name, value in args.to_dict().items() if not FREE_ARGUMENTS.match(name)}
    values |= {
        "world_size": args.world_size,
        "precision": {"no": "float32"}.get(args.mixed_precision, args.mixed_precision),
    }
    return {"model": asdict(model_args), "data": asdict(data_args), "training": values}


def _check_output_dir(
    output_dir: Path, model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments
) -> None:
    """Refuses to touch what is there, unless told to, and to resume a run that was another."""
    if output_dir.exists() and not output_dir.is_dir():
        raise FileExistsError(f"`--output_dir` {output_dir} is a file.")
    encoder = Path(model_args.encoder)
    if encoder.exists() and encoder.resolve().is_relative_to(output_dir.resolve()):
        raise ValueError(f"`--encoder` {encoder} lies in `--output_dir` {output_dir}, where the checkpoint goes.")
    # Half a file of a run that was killed at its very start is nothing.
    there = [path for path in output_dir.iterdir() if path.suffix != ".partial"] if output_dir.exists() else []
    if not there or args.overwrite_output_dir:
        return
    if not args.resume:
        raise FileExistsError(
            f"`--output_dir` {output_dir} is not empty: give `--resume` to go on with what is there, "
            "`--overwrite_output_dir` to replace it, or another folder."
        )
    try:
        before = json.loads((output_dir / ARGUMENTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f"`--resume`: {output_dir} holds no run of train.py, its {ARGUMENTS_FILE} cannot be read: {error}. Give "
            "`--overwrite_output_dir` to replace what is there, or another folder."
        ) from error
    # As JSON gives them back.
    now = json.loads(json.dumps(_all_arguments(model_args, data_args, args)))
    changed = [
        f"{name} was {before.get(kind, {}).get(name)!r}, is {value!r}"
        for kind, values in now.items()
        for name, value in values.items()
        if before.get(kind, {}).get(name) != value and name not in UNIMPORTANT
    ]
    if changed:
        raise ValueError(f"`--resume` needs the arguments that {output_dir} was started with: {'; '.join(changed)}.")


def _clear_output_dir(output_dir: Path, args: LogMoETrainingArguments) -> None:
    """With `--overwrite_output_dir` removes what a former run left; all else stays."""
    output_dir.mkdir(parents=True, exist_ok=True)
    if not args.overwrite_output_dir or not (output_dir / ARGUMENTS_FILE).exists():
        return
    for folder in output_dir.iterdir():
        if folder.is_dir() and (
            folder.name == "runs" or folder.name.startswith("seed-") or folder.name.startswith("checkpoint-")
        ):
            shutil.rmtree(folder)
    for name in published_files(output_dir):
        (output_dir / name).unlink()


def _arguments_of_seed(args: LogMoETrainingArguments, folder: Path, seed: int) -> LogMoETrainingArguments:
    run_args = LogMoETrainingArguments(
        **{entry.name: getattr(args, entry.name) for entry in fields(args) if entry.init and entry.name != "_n_gpu"}
        | {"output_dir": str(folder), "seed": seed}
    )
    return run_args


def _log_facts(facts: dict[str, Any]) -> None:
    for name in ("train", "validation", "test"):
        if name not in facts:
            continue
        part = facts[name]
        line = f"{name}: {part['logs']} logs, {part['anomaly_rate']:.2%} anomalous, {part['distinct_logs']} distinct"
        if name != "train":
            line += f"; {part['logs_seen_in_training']} occur in training, {part['logs_unseen_in_training']} do not"
        logger.info(line)
    logger.info(
        "%d distinct entries; %d logs left out between the parts", facts["distinct_entries"], facts["embargoed_logs"]
    )


class _ShortHelp(argparse.ArgumentDefaultsHelpFormatter):
    """Each option under one name, and a default only where there is one."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        metavar = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{action.option_strings[0]} {metavar}"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = getattr(action.type, "__name__", "value")
        return {"str": "TEXT", "int": "N", "float": "X", "string_to_bool": "true|false"}.get(kind, "VALUE")

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.required:
            return action.help
        return super()._get_help_string(action)


def make_parser(show_all: bool = False) -> HfArgumentParser:
    """The parser of `train.py`; `--help` shows the common training arguments or all."""
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, LogMoETrainingArguments),
        description=__doc__,
        formatter_class=_ShortHelp,
        usage="train.py [recipe.yaml|recipe.json] --train_file FILE... --encoder ENCODER [--output_dir FOLDER] ...",
    )
    parser.add_argument("--help_all", action="help", help="show every training argument too")
    if not show_all:
        training = {entry.name for entry in fields(TrainingArguments)}
        for action in parser._actions:
            if action.dest in training - COMMON_ARGUMENTS:
                action.help = argparse.SUPPRESS
    return parser


def arguments_of_file(path: str) -> list[str]:
    """A recipe, YAML or JSON, as flags.

    Raises:
        ValueError: it is no mapping of argument names.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold names and values of arguments, got {type(values).__name__}.")
    flags: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list) else [value]
        flags += [f"--{name}", *(json.dumps(item) if isinstance(item, dict) else str(item) for item in items)]
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `train.py` and of the console script `logmoe-train`; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        if argv and argv[0].endswith((".yaml", ".yml", ".json")):
            argv = arguments_of_file(argv[0]) + argv[1:]
        model_args, data_args, args = make_parser("--help_all" in argv).parse_args_into_dataclasses(args=argv)
    except (ValueError, OSError) as error:  # TrainingArguments checks what the machine can do.
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    logging.basicConfig(level=logging.INFO if args.should_log else logging.WARNING, format="%(message)s")
    transformers_logging.disable_progress_bar()  # Of loading and saving; the Trainer's own stays.
    try:
        results = train(model_args, data_args, args)
    except (ValueError, StrictDataclassError, FileNotFoundError, FileExistsError) as error:
        if args.process_index == 0:  # All processes read the same.
            print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except (OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_TERMINATED if results is None else 0


if __name__ == "__main__":
    sys.exit(main())
