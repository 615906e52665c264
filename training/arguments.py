"""The arguments of `train.py`: three dataclasses, and the parser that fills them from flags and recipes.

`train.py` parses its command line here; the rest of `training/` reads the dataclasses. It is also decided here
which arguments `arguments.json` records, and which of those may differ when a run is resumed.
"""

import argparse
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import HfArg

from logmoe import LogMoEConfig

DESCRIPTION = """Trains LogMoE on labelled logs, measures it next to simple baselines, and saves a complete checkpoint.

Arguments may come from a YAML or JSON recipe, named first; flags after it win: train.py recipe.yaml --seed 1."""
LAST_CHECKPOINT = "last"


def _of_config(name: str, help: str) -> Any:
    """A field of `LogMoEConfig` as an argument, with the config's default."""
    return HfArg(default=getattr(LogMoEConfig, name), help=help)


@dataclass
class ModelArguments:
    """What to train."""

    _argument_group_name = "model"

    encoder: str = HfArg(help="BERT-like encoder: a folder, or a Hub name such as google-bert/bert-base-uncased.")
    train_encoder: bool = HfArg(default=False, help="Train the encoder too; it is frozen by default.")
    lora: bool = HfArg(default=False, help="Train LoRA adapters of the encoder and merge them at the end.")
    lora_rank: int = HfArg(default=8, help="Rank of the LoRA adapters.")
    dense_share: float = HfArg(default=0.3, help="Share of the steps in phase 1, with equal weights for all experts.")
    hidden_size: int = _of_config("hidden_size", "Width of the sequence stack.")
    num_hidden_layers: int = _of_config("num_hidden_layers", "Layers of the sequence stack.")
    num_attention_heads: int = _of_config("num_attention_heads", "Attention heads per layer.")
    num_experts: int = _of_config("num_experts", "Experts per layer.")
    moe_intermediate_size: int = _of_config("moe_intermediate_size", "Inner width of each expert.")
    router_top_p: float = _of_config("router_top_p", "Probability mass the kept experts must reach.")
    load_balance_loss_coef: float = _of_config("load_balance_loss_coef", "Weight of the load-balancing loss.")
    router_entropy_loss_coef: float = _of_config(
        "router_entropy_loss_coef", "Weight of the router-entropy loss; raise it to keep fewer experts active."
    )
    router_z_loss_coef: float = _of_config("router_z_loss_coef", "Weight of the router z-loss.")
    hidden_dropout_prob: float = _of_config("hidden_dropout_prob", "Dropout of the sequence stack.")
    attention_probs_dropout_prob: float = _of_config("attention_probs_dropout_prob", "Dropout of the attention.")
    max_log_entry_length: int = _of_config("max_log_entry_length", "Tokens per log entry; the rest is truncated.")
    max_sequence_length: int = _of_config("max_sequence_length", "Log entries per sequence.")
    reference: str = HfArg(
        default="none",
        help="auto: the model sees every log through a reference, made of the normal training logs and stored with "
        "the checkpoint; none: it reads text alone.",
        metadata={"choices": ["auto", "none"]},
    )
    word_term_bound: float = HfArg(
        default=2.0,
        help="Beside the stack, learn what each word speaks for; all words of a sequence move the margin by less than "
        "this, 0 leaves them out. Not with --reference auto, where it is 0.",
    )
    hide_severity: bool = HfArg(default=False, help="Mask severity words such as INFO and FATAL.")
    embedding_cache: str | None = HfArg(
        default=None, help="Folder for entry embeddings (default: in the Hub's cache)."
    )

    def __post_init__(self) -> None:
        if self.train_encoder and self.lora:
            raise ValueError("Give `--train_encoder` or `--lora`, not both.")
        if self.reference not in ("auto", "none"):
            raise ValueError(f"`--reference` must be auto or none, got {self.reference}.")
        if self.sees_reference and not self.encoder_is_frozen:
            raise ValueError(
                "`--reference auto` needs a frozen encoder, whose embeddings of what is normal stay what they are: "
                f"leave out `--{'lora' if self.lora else 'train_encoder'}`, or give `--reference none`."
            )

    def config(self) -> dict[str, Any]:
        """The arguments that are fields of `LogMoEConfig`."""
        names = {entry.name for entry in fields(LogMoEConfig)}
        given = {name: value for name, value in vars(self).items() if name in names}
        return given | ({"word_term_bound": 0.0} if self.sees_reference else {})

    @property
    def sees_reference(self) -> bool:
        return self.reference == "auto"

    @property
    def encoder_is_frozen(self) -> bool:
        return not (self.train_encoder or self.lora)


@dataclass
class DataArguments:
    """What to train on."""

    _argument_group_name = "data"

    train_file: list[str] | None = HfArg(  # noqa: RUF009 - HfArg is dataclasses.field
        default=None,
        help="Labelled logs: .jsonl, .csv or .parquet with one row per log (`log_sequence`, `label`) or per line "
        "(`line`, `label`); anything else is raw log text. Several files, or patterns such as 'logs/*.jsonl'.",
    )
    validation_file: list[str] | None = HfArg(  # noqa: RUF009
        default=None, help="Chooses epoch, temperature and threshold; split off the training data if not given."
    )
    test_file: list[str] | None = HfArg(  # noqa: RUF009
        default=None, help="Measured once, at the end; split off the training data if not given."
    )
    dataset_name: str | None = HfArg(default=None, help="Data set on the Hub, instead of files.")
    dataset_config_name: str | None = HfArg(default=None, help="Its configuration.")
    dataset_train_split: str = HfArg(default="train", help="Its split to train on.")
    dataset_validation_split: str | None = HfArg(default=None, help="Its validation split, if it has one.")
    dataset_test_split: str | None = HfArg(default=None, help="Its test split, if it has one.")
    streaming: bool = HfArg(
        default=False, help="Read the data set while it downloads; files are read in chunks anyway."
    )
    sequence_column: str = HfArg(default="log_sequence", help="Column with the logs: texts, or lists of entries.")
    label_column: str = HfArg(default="label", help="Column with the labels: 0/1, normal/anomaly or 正常/异常.")
    line_column: str = HfArg(default="line", help="Column with the lines, where each line has its own label.")
    time_column: str | None = HfArg(default=None, help="Column that puts the logs in order of time.")
    group_column: str | None = HfArg(
        default=None, help="Column that names what belongs together: for --split group, or the log of a line."
    )
    normal_label: str | None = HfArg(default=None, help="The label that means normal; all others then mean anomaly.")
    line_label_pattern: str | None = HfArg(
        default=None,
        help="Raw text with a label in each line: a pattern (RE2) with a group (?P<label>...); what it matches is "
        "removed.",
    )
    session_pattern: str | None = HfArg(
        default=None, help=r"Raw text: what names a line's session, such as 'blk_-?\d+'."
    )
    session_labels_file: str | None = HfArg(default=None, help="Table of two columns, session and label.")
    window_seconds: float | None = HfArg(default=None, help="Cut labelled lines into windows of this many seconds.")
    stride: int | None = HfArg(default=None, help="Entries from window to window (default: --max_sequence_length).")
    split: str = HfArg(
        default="chronological",
        help="How to split off validation and test data that have no file.",
        metadata={"choices": ["chronological", "random", "group"]},
    )
    validation_share: float = HfArg(default=0.1, help="Share of the logs for validation.")
    test_share: float = HfArg(default=0.2, help="Share of the logs for the test.")
    embargo: int | None = HfArg(default=None, help="Logs left out before each later split (default: 1%%, at most 32).")
    split_seed: int = HfArg(default=0, help="Seed of the random and the group split.")
    anomaly_weight: str = HfArg(
        default="1", help="Weight of an anomalous log in the loss, relative to a normal one; or 'balanced'."
    )
    collapse: bool = HfArg(default=True, help="Train on identical logs once, weighted by how often they occur.")
    repeat_power: float = HfArg(
        default=1.0,
        help="A log that occurs n times has weight n to this power: 1 as if each stood alone, less where rare logs "
        "should count for more, 0 to count each distinct log once.",
    )
    order_jitter: int = HfArg(
        default=0,
        help="Move entries at random by up to this many places, anew at each visit: for logs that several writers "
        "interleave, where order means little.",
    )
    false_positive_rate: float | None = HfArg(
        default=None, help="Fit the threshold to this rate on validation data (default: to the best F1)."
    )
    baselines: bool = HfArg(default=True, help="Measure simple rules and learners next to the model.")
    data_description: str | None = HfArg(default=None, help="What the data are, for the model card.")
    model_card: str | None = HfArg(default=None, help="Template of the model card (default: built in).")
    license: str | None = HfArg(default=None, help="Licence of the model, for its card: apache-2.0, …")
    language: str | None = HfArg(default=None, help="Of the logs, for the model card: en, zh, …")

    def __post_init__(self) -> None:
        if self.window_seconds is not None and self.session_pattern is not None:
            raise ValueError("Give `--window_seconds` or `--session_pattern`, not both.")
        if self.false_positive_rate is not None and not 0 <= self.false_positive_rate < 1:
            raise ValueError(f"`--false_positive_rate` must be in [0, 1), got {self.false_positive_rate}.")
        if self.order_jitter < 0:
            raise ValueError(f"`--order_jitter` must be at least 0, got {self.order_jitter}.")
        if not 0 <= self.repeat_power <= 1:
            raise ValueError(f"`--repeat_power` must be in [0, 1], got {self.repeat_power}.")
        weight = self.relative_anomaly_weight()
        if weight is not None and not 0 < weight < math.inf:
            raise ValueError(f"`--anomaly_weight` must be a positive number or 'balanced', got {self.anomaly_weight}.")

    def relative_anomaly_weight(self) -> float | None:
        """`anomaly_weight` as a number; None for 'balanced', NaN if it is neither."""
        if self.anomaly_weight == "balanced":
            return None
        try:
            return float(self.anomaly_weight)
        except ValueError:
            return math.nan


@dataclass
class LogMoETrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with defaults for LogMoE; `--help_all` shows all of them."""

    _argument_group_name = "training (more of transformers' TrainingArguments: --help_all)"

    output_dir: str = HfArg(default="final_moe_model", help="Folder of the checkpoint.")
    resume_from_checkpoint: str | None = HfArg(
        default=None,
        aliases="--resume",
        help="Continue from the last complete checkpoint in --output_dir, or start if there is none; or continue from "
        "the checkpoint of this run that is given.",
        metadata={"nargs": "?", "const": LAST_CHECKPOINT, "metavar": "CHECKPOINT"},
    )
    overwrite_output_dir: bool = HfArg(default=False, help="Replace the run in --output_dir.")
    num_seeds: int = HfArg(default=1, help="Train this many times, from --seed upwards, and report the spread.")
    num_train_epochs: float = HfArg(default=5.0, help="Passes over the distinct training logs.")
    per_device_train_batch_size: int = HfArg(default=32, help="Logs per step and device.")
    per_device_eval_batch_size: int = HfArg(default=128, help="Logs per batch when measuring.")
    learning_rate: float = HfArg(default=5e-4, help="Peak learning rate.")
    lr_scheduler_type: str = HfArg(default="cosine", help="Schedule of the learning rate.")
    warmup_steps: float = HfArg(default=0.1, help="Steps, or share of them, until the learning rate peaks.")
    weight_decay: float = HfArg(default=0.01, help="Weight decay of AdamW.")
    eval_strategy: str = HfArg(default="epoch", help="When to measure on validation data.")
    save_strategy: str = HfArg(default="epoch", help="When to save a checkpoint to resume from.")
    save_total_limit: int | None = HfArg(default=2, help="Checkpoints to keep, besides the best.")
    load_best_model_at_end: bool | None = HfArg(
        default=None, help="Keep the best checkpoint of the Top-P phase (default: if each one saved is measured)."
    )
    metric_for_best_model: str | None = HfArg(default="pr_auc", help="The metric that decides which is best.")
    eval_steps: float | None = HfArg(default=None, help="Steps between measurements (default: --save_steps).")
    logging_steps: float = HfArg(default=10, help="Steps between lines of the training log.")
    logging_first_step: bool = HfArg(default=True, help="Log the first step too.")
    logging_nan_inf_filter: bool = HfArg(default=False, help="Hide losses that are not finite.")
    report_to: None | str | list[str] = HfArg(  # noqa: RUF009, RUF036 - HfArgumentParser reads this order only
        default="tensorboard", help="Where to log, or 'none'."
    )
    push_to_hub: bool = HfArg(default=False, help="Upload checkpoint, card, plots and event files at the end.")
    push_reference: bool = HfArg(
        default=False,
        help="Upload the reference too. It holds masked text of training logs: a new repository is then private.",
    )
    hub_model_id: str | None = HfArg(
        default=None, help="Repository to upload to: org/name (default: your own, named after --output_dir)."
    )
    ddp_find_unused_parameters: bool | None = HfArg(default=False, help="See DistributedDataParallel.")

    def __post_init__(self) -> None:
        if self.eval_strategy == self.save_strategy == "steps" and self.eval_steps is None:
            self.eval_steps = self.save_steps  # transformers' own default would be `logging_steps`.
        if self.load_best_model_at_end is None:
            same = self.eval_strategy == self.save_strategy and self.eval_steps in (None, self.save_steps)
            self.load_best_model_at_end = same and self.eval_strategy != "no"
        if self.num_seeds < 1:
            raise ValueError(f"`--num_seeds` must be at least 1, got {self.num_seeds}.")
        # A recipe's `resume: true` arrives as text, a call from Python may give the bool.
        yes, no = ("true", "yes", "t", "y", "1", LAST_CHECKPOINT), ("false", "no", "f", "n", "0", "none")
        words = dict.fromkeys(yes, LAST_CHECKPOINT) | dict.fromkeys(no)
        self.resume_from_checkpoint = words.get(str(self.resume_from_checkpoint).lower(), self.resume_from_checkpoint)
        if self.resume_from_checkpoint is not None and self.overwrite_output_dir:
            raise ValueError("Give `--resume` or `--overwrite_output_dir`, not both.")
        self.remove_unused_columns = False
        super().__post_init__()


# ---------------------------------------------------------------------- what a run records

# Neither the weights nor the results depend on these: not recorded, so a run may be resumed with others.
_FREE = re.compile(
    r"(?:output_dir|overwrite_output_dir|resume_from_checkpoint|disable_tqdm|report_to|run_name|project"
    r"|push_to_hub|push_reference|save_total_limit|save_only_model|save_on_each_node|do_\w+|use_cpu|per_device_eval_batch_size|eval_\w*accumulation"
    r"\w*|ddp_\w+|dataloader_\w+|hub_\w+|trackio\w*|log\w*|local_rank|skip_memory_metrics|include_\w+|enable_jit\w*)$"
)
# Recorded, but a run may be resumed with others.
UNIMPORTANT = ("data_description", "model_card", "license", "language", "embedding_cache", "baselines")


def recorded_arguments(
    model_args: ModelArguments, data_args: DataArguments, args: LogMoETrainingArguments
) -> dict[str, dict[str, Any]]:
    """The arguments as `arguments.json` records them, under `model`, `data` and `training`."""
    training = {name: value for name, value in args.to_dict().items() if not _FREE.match(name)}
    precision = {"no": "float32"}.get(args.mixed_precision, args.mixed_precision)
    training |= {"world_size": args.world_size, "precision": precision}
    return {"model": asdict(model_args), "data": asdict(data_args), "training": training}


# ---------------------------------------------------------------------- the command line

# Shown by --help; --help_all shows the other hundred.
COMMON_ARGUMENTS = {
    *("output_dir", "resume_from_checkpoint", "overwrite_output_dir", "num_seeds", "seed", "num_train_epochs"),
    *("max_steps", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "eval_strategy", "save_strategy"),
    *("save_total_limit", "save_steps", "eval_steps", "load_best_model_at_end", "metric_for_best_model"),
    *("logging_steps", "bf16", "activation_checkpointing", "use_cpu", "disable_tqdm", "report_to", "push_to_hub"),
    *("push_reference", "hub_model_id", "hub_private_repo"),
}


class _ShortHelp(argparse.ArgumentDefaultsHelpFormatter):
    """Omits the hyphenated spelling of each option, and defaults that are None."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        names = sorted((name for name in action.option_strings if "-" not in name.lstrip("-")), key=len)
        metavar = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(names)} {metavar}"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = getattr(action.type, "__name__", "value")
        return {"str": "TEXT", "int": "N", "float": "X", "string_to_bool": "true|false"}.get(kind, "VALUE")

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.required:
            return action.help
        return super()._get_help_string(action)


def make_parser(show_all: bool = False) -> HfArgumentParser:
    """The parser of `train.py`; `show_all` has `--help` list every training argument, not only the common ones."""
    parser = HfArgumentParser(
        (ModelArguments, DataArguments, LogMoETrainingArguments),
        description=DESCRIPTION,
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
        ValueError: it is not a mapping from argument names to values.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read recipe {path}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"recipe {path} must map argument names to values, got a {type(values).__name__}.")
    flags: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list) else [value]
        flags += [f"--{name}", *(json.dumps(item) if isinstance(item, dict) else str(item) for item in items)]
    return flags
