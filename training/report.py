"""Tells people what a run measured: the results table, the model card, and the upload to the Hub.

`train.py` calls it at the end with what `results.json` holds.
"""

import logging
import math
import os
import shlex
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from logmoe import LogMoEForSequenceClassification
from logmoe.handler import REFERENCE_FOLDER
from logmoe.inference import load_pipeline
from logmoe.publishing_logmoe import create_repository, named_card
from logmoe.training.arguments import DataArguments
from logmoe.training.card import SEQUENCES_CODE, TAGS, hub_name, output_of
from logmoe.training.run_folder import RunFolder

logger = logging.getLogger("logmoe.train")

METRICS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "pr_auc": "PR-AUC",
    "auroc": "AUROC",
    "mcc": "MCC",
    "false_positive_rate": "FPR",
    "expected_calibration_error": "ECE",
}
TEMPLATE = Path(__file__).resolve().parent.parent / "model_card.md"
# Of the Trainer's arguments the card shows these; of the others all but the hidden ones.
CARD_ARGUMENTS = (
    *("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("lr_scheduler_type", "warmup_steps", "weight_decay", "seed", "num_seeds", "world_size", "precision"),
)
HIDDEN_ARGUMENTS = ("data_description", "model_card", "embedding_cache")


def spread(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over seeds of each metric, on the test split, or else on validation."""
    split = "test" if "test" in runs[0] else "validation"
    figures: dict[str, Any] = {"part": split, "seeds": len(runs)}
    for name in ("all", "unseen"):
        rows = [run.get(split, {}).get(name) for run in runs]
        if not all(rows):
            continue
        figures[name] = {
            key: {
                "mean": float(np.mean([as_float(row[key]) for row in rows])),
                "std": float(np.std([as_float(row[key]) for row in rows], ddof=1)) if len(rows) > 1 else 0.0,
            }
            for key in rows[0]
        }
    return figures


def as_float(value: float | None) -> float:
    """A metric of `results.json`, where NaN is null."""
    return math.nan if value is None else value


def results_table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, with the baselines on the same split."""
    rows, notes = [], []
    deviations = results["spread"]
    for slice_name, title in (("all", "LogMoE"), ("unseen", "LogMoE, unseen in training")):
        for split in ("test", "validation"):
            if measured := results.get(split, {}).get(slice_name):
                name = f"{title} ({split})"
                rows.append((name, measured))
                if deviations["seeds"] > 1 and split == deviations["part"] and slice_name in deviations:
                    f1 = deviations[slice_name]["f1"]
                    notes.append(f"{name}: F1 {f1['mean']:.4f} ± {f1['std']:.4f} over {deviations['seeds']} seeds.")
    baselines = results.get("baselines", {})
    rows += [(f"{name} (test)", measured["all"]) for name, measured in baselines.items()]
    if baselines and results["split"]["test"]["logs_unseen_in_training"]:
        rows += [(f"{name}, unseen in training (test)", measured["unseen"]) for name, measured in baselines.items()]
    lines = [f"| | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 1) + "|"]
    for name, measured in rows:
        cells = [as_float(measured.get(metric)) for metric in METRICS]
        lines.append(f"| {name} | {' | '.join('–' if math.isnan(cell) else f'{cell:.4f}' for cell in cells)} |")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


# ---------------------------------------------------------------------- the card


def check_template(path: str) -> None:
    """
    Raises:
        ValueError: no file, or not a Jinja template: known before training rather than after it.
    """
    try:
        jinja2.Template(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, jinja2.TemplateSyntaxError) as error:
        raise ValueError(f"`--model_card` {path} is not a usable template: {error}") from error


def render_card(
    data_args: DataArguments,
    model: LogMoEForSequenceClassification,
    results: dict[str, Any],
    arguments: dict[str, dict[str, Any]],
    captions: dict[str, str],
    folder: Path,
) -> ModelCard:
    """The model card; results and arguments as in `results.json` and `arguments.json`, captions by plot file.

    Args:
        folder: where the checkpoint lies; what the card shows of it is what it does.
    """
    split = next((name for name in ("test", "validation") if name in results), None)
    dataset = data_args.dataset_name or "labelled logs"
    on_hub = hub_name(data_args.dataset_name)
    evaluated: dict[str, Any] = {}
    if split is not None:
        evaluated = {
            "model_name": "LogMoE",
            "eval_results": [
                EvalResult(
                    task_type="text-classification",
                    task_name="Log anomaly detection",
                    dataset_type=on_hub or "logs",
                    dataset_config=slice_name,  # results of one configuration would be told as one
                    dataset_name=dataset if slice_name == "all" else f"{dataset}, unseen in training",
                    dataset_split=split,
                    metric_type=metric,
                    metric_name=METRICS.get(metric, metric),
                    metric_value=round(float(value), 6),
                )
                for slice_name in ("all", "unseen")
                for metric, value in (results[split].get(slice_name) or {}).items()
                if value is not None and math.isfinite(value)
            ],
        }
    data = ModelCardData(
        license=data_args.license,
        language=data_args.language,
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=hub_name(arguments["model"]["encoder"]),
        datasets=[on_hub] if on_hub else None,
        tags=list(TAGS),
        **evaluated,
    )
    shown = arguments | {"training": {name: arguments["training"][name] for name in CARD_ARGUMENTS}}
    return ModelCard.from_template(
        data,
        template_path=data_args.model_card or str(TEMPLATE),
        data_description=data_args.data_description,
        config=model.config,
        num_parameters=model.num_parameters(),
        results=results,
        part=split,
        table=results_table(results) if split else None,
        arguments={
            name: str(_shortened(value)).replace("|", "\\|")
            for values in shown.values()
            for name, value in values.items()
            if name not in HIDDEN_ARGUMENTS and value is not None
        },
        figures=captions,
        name=folder.resolve().name,
        code=SEQUENCES_CODE,
        printed=_printed(folder),
    )


def _printed(folder: Path) -> str | None:
    """What the code of the card prints; None if the checkpoint cuts logs in a way that leaves nothing of that one."""
    try:
        return output_of(SEQUENCES_CODE, load_pipeline(folder, device="cpu"))
    except ValueError:
        return None


def _shortened(value: Any) -> Any:
    """Without the folders of the machine that trained, which mean nothing to a reader."""
    if isinstance(value, list):
        return ", ".join(str(_shortened(item)) for item in value)
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


# ---------------------------------------------------------------------- the Hub


def push_command(folder: RunFolder, repo_id: str, private: bool | None = None, with_reference: bool = False) -> str:
    """The command that uploads the same files again."""
    words = ["hf", "upload", repo_id, str(folder.path), ".", *(["--private"] if private else [])]
    patterns = folder.upload_patterns(with_reference)
    return shlex.join(words + [word for pattern in patterns for word in ("--include", pattern)])


def push(
    folder: RunFolder,
    repo_id: str,
    token: str | None = None,
    private: bool | None = None,
    with_reference: bool = False,
) -> None:
    """Uploads the checkpoint with its card, plots and results.

    Args:
        with_reference: also the reference that it was trained with, which holds masked text of its logs and makes a
            new repository private unless `private` says otherwise.

    Raises:
        OSError: the upload failed; the message says how to try again.
    """
    api = HfApi(token=token)
    try:
        repo_id = create_repository(api, repo_id, private, with_reference)
        folder.change_card(lambda card: named_card(card, repo_id))
        patterns = folder.upload_patterns(with_reference)
        address = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder.path,
            allow_patterns=patterns,
            delete_patterns=[f"{REFERENCE_FOLDER}/*"],  # of the checkpoint before it
            commit_message="Upload LogMoE",
        )
    except Exception as error:  # Of many kinds, from sockets to the Hub's answers.
        raise OSError(
            f"the push to {repo_id} failed: {error}\nThe checkpoint in {folder.path} is complete; push it again with\n"
            f"    {push_command(folder, repo_id, private, with_reference)}"
        ) from error
    logger.info("pushed to %s", address)
