"""How well `train.py` learns to find anomalies, and what it costs, from a file of labelled logs to a saved checkpoint.

Each data set is split chronologically, or comes with its splits, and is trained on with several seeds, each in its own
process, whose time and peak memory are measured. The baselines that a model must beat are measured on the same split.
`benchmarks/README.md` says where the public data come from; without `--data`, only the PostgreSQL recordings are used.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

from logmoe.training.report import METRICS, as_float

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "detection.json"

# A small stack is enough: the data have few templates, and the frozen encoder has already read them. Its dropout was
# chosen on validation recordings of five services, whose training recordings gave the threshold: F1 .78, .77 without.
SMALL = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "moe_intermediate_size": 128,
    "router_entropy_loss_coef": 0.001,
    "hidden_dropout_prob": 0.3,
    "attention_probs_dropout_prob": 0.1,
    "learning_rate": 0.001,
    "per_device_train_batch_size": 64,
    "logging_steps": 50,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


@dataclass
class Task:
    """A data set, and the arguments to train on it."""

    title: str
    file: str | None
    arguments: dict[str, Any] = field(default_factory=dict)


TASKS = {
    "hdfs": Task(
        "HDFS_v1, 460,048 sessions, the last 20% in time",
        "hdfs_full_templates.parquet",
        # Sessions of up to 75 entries, interleaved from several nodes; a dozen kinds make up nearly all of them.
        {"max_sequence_length": 80, "order_jitter": 32, "repeat_power": 0, "num_train_epochs": 12}
        | {"validation_share": 0.05},
    ),
    "bgl": Task(
        "BGL, 151,878 windows of 20 lines, the last 20% in time",
        "bgl_windows20.parquet",
        {"max_sequence_length": 20, "repeat_power": 0, "num_train_epochs": 6, "validation_share": 0.05},
    ),
    "bgl_without_severity": Task(
        "The same, severity words masked",
        "bgl_windows20.parquet",
        {"max_sequence_length": 20, "repeat_power": 0, "num_train_epochs": 6, "validation_share": 0.05}
        | {"hide_severity": True},
    ),
    "recordings": Task(
        "The shipped PostgreSQL recordings, three of them the test",
        None,
        {"max_sequence_length": 32, "stride": 8, "num_train_epochs": 6, "line_column": "line"}
        | {"group_column": "recording", "max_log_entry_length": 128},
    ),
}


def files_of(task: Task, data: Path | None) -> dict[str, str] | None:
    """The arguments that name a task's files; None if its file is missing."""
    if task.file is not None:
        path = None if data is None else data / task.file
        return {"train_file": str(path)} if path is not None and path.exists() else None
    recordings = ROOT / "recordings" / "data" / "postgresql"
    return {f"{split}_file": str(recordings / f"{split}.parquet") for split in ("train", "validation", "test")}


def flags(arguments: dict[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        yield from (f"--{name}", str(value))


def train(arguments: dict[str, Any]) -> tuple[dict[str, Any], float, float]:
    """Runs `train.py` in its own process.

    Returns:
        The contents of `results.json`, seconds from start to exit, and peak memory in MiB.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *flags(arguments)], stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"train.py failed:\n{log.read()[-4000:]}")
    results = json.loads(Path(arguments["output_dir"], "results.json").read_text(encoding="utf-8"))
    return results, seconds, usage.ru_maxrss / 1024


def measure(task: Task, files: dict[str, str], encoder: str, seeds: int, folder: Path) -> dict[str, Any]:
    """Trains with each seed; measures the baselines once, since all seeds share the split."""
    runs = []
    for seed in range(seeds):
        results, seconds, memory = train(
            SMALL
            | task.arguments
            | files
            | {"encoder": encoder, "seed": seed, "baselines": seed == 0, "output_dir": folder / f"seed-{seed}"}
            | {"embedding_cache": folder / f"cache-{seed}"}  # A new one: no run finds embeddings of another.
        )
        print(f"  seed {seed}: F1 {results['test']['all']['f1']:.4f}, {seconds:.0f} s, {memory:.0f} MiB", flush=True)
        runs.append(results | {"wall_seconds": seconds, "peak_memory_mib": memory})
    return {
        "title": task.title,
        "arguments": {name: str(value) for name, value in (SMALL | task.arguments).items()},
        "split": runs[0]["split"],
        "seeds": [
            {name: run[name] for name in ("validation", "test", "threshold", "temperature", "steps", "seconds")}
            | {name: run[name] for name in ("wall_seconds", "peak_memory_mib")}
            for run in runs
        ],
        "baselines": runs[0]["baselines"],
    }


def table(result: dict[str, Any]) -> str:
    """Mean and standard deviation over the seeds, and the baselines, on all test logs and on the unseen ones."""
    lines = []
    for name, title in (("all", "all test logs"), ("unseen", "test logs that do not occur in training")):
        number = result["split"]["test"]["logs" if name == "all" else "logs_unseen_in_training"]
        if not number:
            continue
        lines += ["", f"| {title} ({number:,}) | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 1) + "|"]
        rows = np.array([[as_float(run["test"][name][metric]) for metric in METRICS] for run in result["seeds"]])
        deviation = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
        cells = [f"{mean:.4f} ± {std:.4f}" for mean, std in zip(rows.mean(axis=0), deviation, strict=True)]
        lines.append(f"| LogMoE, {len(rows)} seeds | {' | '.join(cells)} |")
        for baseline, figures in result["baselines"].items():
            cells = [f"{as_float(figures[name][metric]):.4f}" for metric in METRICS]
            lines.append(f"| {baseline} | {' | '.join(cells)} |")
    seconds = {stage: np.median([run["seconds"][stage] for run in result["seeds"]]) for stage in STAGES}
    wall = np.median([run["wall_seconds"] for run in result["seeds"]])
    memory = max(run["peak_memory_mib"] for run in result["seeds"])
    # No stage counts starting Python, importing and loading the encoder.
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items())
    lines += ["", f"From file to saved checkpoint {wall:.0f} s ({stages}), peak memory {memory:,.0f} MiB."]
    return "\n".join(lines)


STAGES = ("read", "embed", "train", "measure", "save")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the public data, see benchmarks/README.md")
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2", help="folder or Hub name")
    parser.add_argument("--seeds", type=int, default=3, help="training runs per task (default: %(default)s)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all")
    parser.add_argument(
        "--reference",
        choices=("none", "auto"),
        default="none",
        help="auto: logs seen through a reference of the normal training logs (default: text alone)",
    )
    parser.add_argument("--without_words", action="store_true", help="text is read by the stack alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes")
    args = parser.parse_args()
    if args.without_words and args.reference == "auto":
        parser.error("--without_words belongs to text alone: with --reference auto there is no term of words anyway.")

    results = json.loads(args.output.read_text()) if args.output.exists() else {"tasks": {}}
    for name in args.tasks:
        task = TASKS[name]
        if args.reference == "auto":
            task = Task(f"{task.title}, through a reference", task.file, task.arguments | {"reference": "auto"})
            name = f"{name}_reference"
        if args.without_words:
            task = Task(f"{task.title}, without words", task.file, task.arguments | {"word_term_bound": 0})
            name = f"{name}_without_words"
        with tempfile.TemporaryDirectory() as folder:
            files = files_of(task, args.data)
            if files is None:
                print(f"{name}: skipped, there is no {task.file} in {args.data or 'a folder given by --data'}")
                continue
            print(f"{name}: {task.title}", flush=True)
            measured = measure(task, files, args.encoder, args.seeds, Path(folder))
        # The machine is recorded with each task: tasks may run on different days.
        results["tasks"][name] = measured | {"machine": describe()}
        print(table(measured), flush=True)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
