"""What a training run leaves: results, plots, the model card, and a complete checkpoint, on disk and on the Hub."""

import json
import logging
import math
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from safetensors import SafetensorError

from logmoe import LogAnomalyPipeline, LogMoEConfig, LogMoEForSequenceClassification
from logmoe.training.metrics import probabilities, reliability

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
# Of what a run writes, what concerns nobody else.
PRIVATE = {"arguments.json", "trainer_state.json", "training_args.bin"}
PLOTS = {
    "training.png": "Loss, and F1 on validation data at the threshold 0.5, over steps.",
    "precision_recall.png": "Precision and recall over all thresholds.",
    "reliability.png": "Share of anomalies among logs of like score: on the diagonal a score is a probability.",
    "expert_load.png": "Share of the kept (entry, expert) pairs of a layer that went to each expert, last logged.",
}


def write_json(values: Any, path: Path) -> None:
    """Writes a file whole or not at all; NaN becomes null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(plain(values), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def spread(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (of the sample) over seeds, of each figure of the test part, or of validation."""
    part = "test" if "test" in runs[0] else "validation"
    figures: dict[str, Any] = {"part": part, "seeds": len(runs)}
    for name in ("all", "unseen"):
        rows = [run.get(part, {}).get(name) for run in runs]
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
    """A figure of `results.json`, where NaN is null."""
    return math.nan if value is None else value


def table_rows(results: dict[str, Any]) -> list[tuple[str, dict[str, float | None], str]]:
    """The rows of the results table: name, figures and, over several seeds, the spread of F1."""
    rows = []
    for name, title in (("all", "LogMoE"), ("unseen", "LogMoE, unseen in training")):
        for part in ("test", "validation"):
            if results.get(part, {}).get(name):
                deviation = ""
                if results["spread"]["seeds"] > 1 and part == results["spread"]["part"] and name in results["spread"]:
                    f1 = results["spread"][name]["f1"]
                    deviation = f"F1 {f1['mean']:.4f} ± {f1['std']:.4f} over {results['spread']['seeds']} seeds"
                rows.append((f"{title} ({part})", results[part][name], deviation))
    for name, measured in results.get("baselines", {}).items():
        rows.append((f"{name} (test)", measured["all"], ""))
    for name, measured in results.get("baselines", {}).items():
        if results["split"]["test"]["logs_unseen_in_training"]:
            rows.append((f"{name}, unseen in training (test)", measured["unseen"], ""))
    return rows


def results_table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, baselines on the same split in it."""
    lines = [f"| | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 1) + "|"]
    notes = []
    for name, figures, note in table_rows(results):
        cells = [as_float(figures.get(metric)) for metric in METRICS]
        lines.append(f"| {name} | {' | '.join('–' if math.isnan(cell) else f'{cell:.4f}' for cell in cells)} |")
        if note:
            notes.append(f"{name}: {note}.")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


# ---------------------------------------------------------------------- plots


def draw_plots(
    folder: Path,
    history: list[dict[str, float]],
    first_top_p_step: int,
    judged: dict[str, tuple[np.ndarray, np.ndarray]],
    config: LogMoEConfig,
) -> dict[str, str]:
    """Draws what there is to draw.

    Args:
        folder: where the PNG files go.
        history: the Trainer's log.
        first_top_p_step: where the phases change.
        judged: for each part but training, labels `(logs,)` and logits `(logs, 2)`.
        config: gives temperature and threshold.

    Returns:
        Caption of each file that was drawn.
    """
    from matplotlib.figure import Figure  # Without pyplot: no display, and no state shared with the caller.
    from sklearn.metrics import precision_recall_curve

    drawn = []

    def save(figure: Figure, name: str) -> None:
        figure.savefig(folder / name, dpi=100, bbox_inches="tight")
        drawn.append(name)

    steps = [(row["step"], row["loss"]) for row in history if "loss" in row]
    measured = [row for row in history if "eval_f1" in row]
    if steps:
        figure = Figure(figsize=(7, 4))
        axis = figure.subplots()
        axis.plot(*zip(*steps, strict=True), label="training loss", color="tab:blue")
        if measured:
            axis.plot(
                [row["step"] for row in measured],
                [row["eval_loss"] for row in measured],
                "o-",
                label="validation loss",
                color="tab:cyan",
            )
            other = axis.twinx()
            other.plot(
                [row["step"] for row in measured], [row["eval_f1"] for row in measured], "s-", color="tab:orange"
            )
            other.set_ylabel("validation F1 at 0.5", color="tab:orange")
            other.set_ylim(0, 1.02)
        axis.axvline(first_top_p_step, color="grey", linestyle="--", label="dense | Top-P")
        axis.set_xlabel("step")
        axis.set_ylabel("loss")
        axis.set_yscale("log")
        axis.legend(loc="upper center")
        save(figure, "training.png")

    if judged:
        figure, calibration = Figure(figsize=(5, 4.5)), Figure(figsize=(5, 4.5))
        axis, other = figure.subplots(), calibration.subplots()
        other.plot([0, 1], [0, 1], color="grey", linestyle="--")
        for name, (labels, logits) in judged.items():
            scores = probabilities(logits, config.calibration_temperature)
            precision, recall, _ = precision_recall_curve(labels, scores)
            axis.plot(recall, precision, label=name)
            found = scores >= config.anomaly_threshold
            if found.any():
                axis.plot(found[labels == 1].mean(), labels[found].mean(), "o", color=axis.lines[-1].get_color())
            mean_score, anomaly_rate, _ = reliability(labels, scores)
            other.plot(mean_score, anomaly_rate, "o-", label=name)
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        other.set(xlabel="score (probability of anomaly)", ylabel="share of anomalies")
        axis.legend()
        other.legend()
        save(figure, "precision_recall.png")
        save(calibration, "reliability.png")

    load = np.full((config.num_hidden_layers, config.num_experts), np.nan)
    last = next((row for row in reversed(history) if "expert_load/layer_0_expert_0" in row), None)
    if last is not None:
        for layer, expert in np.ndindex(load.shape):
            load[layer, expert] = last[f"expert_load/layer_{layer}_expert_{expert}"]
        figure = Figure(figsize=(1.5 + 0.8 * load.shape[1], 1.2 + 0.5 * load.shape[0]))
        axis = figure.subplots()
        axis.imshow(load, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (layer, expert), share in np.ndenumerate(load):
            axis.text(
                expert, layer, f"{share:.2f}", ha="center", va="center", color="black" if share < 0.6 else "white"
            )
        axis.set(xlabel="expert", ylabel="layer", xticks=range(load.shape[1]), yticks=range(load.shape[0]))
        save(figure, "expert_load.png")
    return {name: PLOTS[name] for name in drawn}


# ---------------------------------------------------------------------- the card


def check_template(path: str) -> None:
    """
    Raises:
        ValueError: no file, or no Jinja template: said before training rather than after it.
    """
    try:
        jinja2.Template(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, jinja2.TemplateSyntaxError) as error:
        raise ValueError(f"`--model_card` {path} is no template of a card: {error}") from error


def render_card(
    data_args: Any,
    model: LogMoEForSequenceClassification,
    results: dict[str, Any],
    arguments: dict[str, Any],
    figures: dict[str, str],
) -> ModelCard:
    """The model card, filled with what was measured.

    Args:
        data_args: gives template, description of the data and licence.
        model: gives sizes.
        results: as `results.json`.
        arguments: of the run, to be shown.
        figures: caption of each plot.
    """
    part = next((name for name in ("test", "validation") if name in results), None)
    evaluated: dict[str, Any] = {}
    if part is not None:
        evaluated = {
            "model_name": "LogMoE",
            "eval_results": [
                EvalResult(
                    task_type="text-classification",
                    task_name="Log anomaly detection",
                    dataset_type="logs",
                    dataset_name=name if slice_name == "all" else f"{name}, unseen in training",
                    dataset_split=part,
                    metric_type=metric,
                    metric_name=METRICS.get(metric, metric),
                    metric_value=round(float(value), 6),
                )
                for name in (arguments["data"]["dataset_name"] or "labelled logs",)
                for slice_name in ("all", "unseen")
                for metric, value in (results[part].get(slice_name) or {}).items()
                if value is not None and math.isfinite(value)
            ],
        }
    data = ModelCardData(
        license=data_args.license,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["log-anomaly", "log-anomaly-detection", "mixture-of-experts"],
        **evaluated,
    )
    hidden = ("data_description", "model_card", "embedding_cache")
    return ModelCard.from_template(
        data,
        template_path=data_args.model_card or str(TEMPLATE),
        data_description=data_args.data_description,
        config=model.config,
        num_parameters=model.num_parameters(),
        results=results,
        part=part,
        table=results_table(results) if part else None,
        # Paths of the machine that trained say nothing to a reader: their last part stays.
        arguments={
            name: str(_shortened(value)).replace("|", "\\|")
            for values in arguments.values()
            for name, value in values.items()
            if name not in hidden and value is not None
        },
        figures=figures,
    )


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_shortened(item)) for item in value)
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


# ---------------------------------------------------------------------- saving and pushing


def save_card(card: ModelCard, folder: Path) -> None:
    """Writes README.md whole or not at all."""
    card.save(folder / "README.partial")
    os.replace(folder / "README.partial", folder / "README.md")


def save_complete(pipe: LogAnomalyPipeline, folder: Path, state_dict: dict[str, torch.Tensor] | None = None) -> None:
    """Saves a complete checkpoint; each file replaces its predecessor only when all are written.

    Args:
        pipe: model and processor.
        folder: an existing folder.
        state_dict: of the model, where it is spread over processes.

    Raises:
        OSError: it cannot be written; what was in the folder is unharmed.
    """
    staging = folder / ".saving"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        pipe.save_pretrained(staging, **({} if state_dict is None else {"state_dict": state_dict}))
        for path in sorted(staging.iterdir()):
            os.replace(path, folder / path.name)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise OSError(
            f"The trained model cannot be saved in {folder}: {error}. Make room, and go on with `--resume`."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def published_files(folder: Path) -> list[str]:
    """The files at the top of a run's folder that a run writes there."""
    names = {
        *("config.json", "model.safetensors", "README.md", "processor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "arguments.json", "split.json", "results.json", "trainer_state.json", *PLOTS),
        *("training_args.bin", "special_tokens_map.json", "vocab.txt", "model.safetensors.index.json"),
    }
    return [
        path.name
        for path in folder.iterdir()
        if path.is_file() and (path.name in names or path.name.endswith("_logmoe.py"))
    ]


def _patterns(folder: Path) -> list[str]:
    """What is uploaded: files that the run wrote, and no others that lie there."""
    return [*sorted(set(published_files(folder)) - PRIVATE), "runs/**"]


def push_command(folder: Path, repo_id: str, private: bool | None = None) -> str:
    """The command that uploads a trained folder again."""
    words = ["hf", "upload", repo_id, str(folder), ".", *(["--private"] if private else [])]
    return shlex.join(words + [word for pattern in _patterns(folder) for word in ("--include", pattern)])


def push(folder: Path, repo_id: str, token: str | None = None, private: bool | None = None) -> None:
    """Uploads the checkpoint with its card, plots and results.

    Raises:
        OSError: it did not work; the message says how to push again.
    """
    api = HfApi(token=token)
    try:
        # The Hub adds the owner where there is none.
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        address = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=_patterns(folder),
            commit_message="Upload LogMoE",
        )
    except Exception as error:  # Of many kinds, from sockets to the Hub's answers.
        raise OSError(
            f"{error}\nThe push to {repo_id} failed. The checkpoint is complete in {folder}; push it again with\n"
            f"    {push_command(folder, repo_id, private)}"
        ) from error
    logger.info("pushed to %s", address)
