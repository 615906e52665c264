"""Lines per second and peak memory of LogMoE, beside the original guide's way, Drain3 and sentence-transformers.

    python benchmarks/throughput.py LOG [--tokenizer DIR] [--sentence_encoder DIR] [--rows a,b,…]

All rows read the same plain text log, one line per entry. They run one after the other, each in its own process, so
that each peak of memory is its own. What would take hours (the guide's way, encoding every line) runs on lines sampled
over the whole file until its time is up. Models have random weights: what a model has learned affects speed only
through the number of active experts, which each row states. Routing is `dense` (all experts), `random` (routers as
drawn) or `shipped` (routers scaled until they keep as many experts on average as the built-in checkpoint does on its
demo log).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
MINI = ROOT / "checkpoints" / "logmoe-mini"

BERT_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
MINI_LM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
GUIDE_HEAD = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "moe_intermediate_size": 256}
SMALL_HEAD = {"hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "moe_intermediate_size": 128}

# Name of the row: its title, the runner (see `child`) and the runner's options.
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a": ("the guide's way: entry by entry, padded to 128 tokens, all experts", "guide", {}),
    "b": ("batched, nothing shared", "batched", {}),
    "c-dense": ("LogMoE, the guide's sizes, dense", "scan", {"routing": "dense"}),
    "c-random": ("LogMoE, the guide's sizes, routers as drawn", "scan", {"routing": "random"}),
    "c": ("LogMoE, the guide's sizes, routers as sparse as the shipped ones", "scan", {"routing": "shipped"}),
    "c-float32": ("the same in float32", "scan", {"routing": "shipped", "dtype": "float32"}),
    "d": ("LogMoE, MiniLM's shape and a small head", "scan", {"size": "small", "routing": "shipped"}),
    "d-float32": ("the same in float32", "scan", {"size": "small", "routing": "shipped", "dtype": "float32"}),
    "mini": ("LogMoE, the shipped checkpoint", "scan", {"size": "mini", "routing": "shipped"}),
    "e": ("Drain3 with masks", "drain", {}),
    "e-unmasked": ("Drain3 without masks", "drain", {"masks": False}),
    "f": ("Drain3 with masks, template counts, logistic regression", "drain", {"classify": True}),
    "g": ("sentence-transformers on every line, logistic regression", "sentences", {}),
}


# ---------------------------------------------------------------------- the rows, each in its own process


def build(args: argparse.Namespace, size: str = "guide") -> Any:
    """A pipeline around a model of the given size with random weights; "mini" is the built-in checkpoint."""
    from transformers import AutoTokenizer, BertConfig

    from logmoe import LogAnomalyPipeline, LogMoEConfig, LogMoEForSequenceClassification, LogMoEProcessor
    from logmoe.inference import load_pipeline

    if size == "mini":
        return load_pipeline(MINI, device="cpu")
    torch.manual_seed(0)
    processor = LogMoEProcessor(AutoTokenizer.from_pretrained(args.tokenizer), max_log_entry_length=128)
    encoder = BertConfig(vocab_size=len(processor.tokenizer), **(BERT_BASE if size == "guide" else MINI_LM))
    config = LogMoEConfig(encoder_config=encoder, **(GUIDE_HEAD if size == "guide" else SMALL_HEAD))
    processor.tokenizer.model_max_length = 512
    return LogAnomalyPipeline(LogMoEForSequenceClassification(config).eval(), processor=processor)


@torch.inference_mode()
def encoded_inputs(pipe: Any, text: str) -> dict[str, torch.Tensor]:
    """The model's inputs for a log, with its entries already encoded."""
    inputs = pipe.processor(text)
    embeds = pipe.model.encode_entries(inputs["input_ids"], inputs["attention_mask"])
    return {"entry_embeds": embeds, "entry_index": inputs["entry_index"]}


@torch.inference_mode()
def mean_active_experts(pipe: Any, inputs: dict[str, torch.Tensor]) -> float:
    return float(pipe.model(**inputs, output_router_logits=True).mean_active_experts)


def set_routing(pipe: Any, routing: str, sample: str) -> float:
    """Sets how sparse the routers are; returns the mean number of active experts on the sample."""
    if routing == "dense":
        pipe.model.set_routing_mode("dense")
        return float(pipe.model.config.num_experts)
    inputs = encoded_inputs(pipe, sample)
    if routing == "shipped" and pipe.model.config.hidden_size != 128:
        shipped = build(argparse.Namespace(), "mini")
        target = mean_active_experts(shipped, encoded_inputs(shipped, (ROOT / "examples/postgresql.log").read_text()))
        low, high = 0.1, 100.0
        layers = pipe.model.model.sequence_stack.layers
        drawn = [layer.moe.router.weight.data.clone() for layer in layers]
        for _ in range(12):
            factor = (low * high) ** 0.5
            for layer, weight in zip(layers, drawn, strict=True):
                layer.moe.router.weight.data = weight * factor
            low, high = (factor, high) if mean_active_experts(pipe, inputs) > target else (low, factor)
    return mean_active_experts(pipe, inputs)


def sample_lines(path: str, number: int) -> list[str]:
    """`number` lines as runs of 32 consecutive ones, spread over the file."""
    size = os.path.getsize(path)
    lines: list[str] = []
    with open(path, "rb") as log:
        for start in np.linspace(0, size * 0.95, max(1, number // 32)).astype(int):
            log.seek(start)
            log.readline()
            lines += [log.readline().decode("utf-8", "replace").rstrip("\n") or "-" for _ in range(32)]
    return lines


def row_scan(args: argparse.Namespace, size: str = "guide", routing: str = "random", dtype: str = "auto") -> dict:
    from logmoe import ScanCache

    pipe = build(args, size)
    active = set_routing(pipe, routing, "\n".join(sample_lines(args.log, 512)))
    cache = ScanCache()
    found = {}
    for state in ("cold", "warm"):
        cache.predictions.clear()  # Warm: embeddings are known, predictions are not.
        scan = pipe.scan(args.log, only_anomalies=True, dtype=dtype, cache=cache, threshold=1 - 1e-12)
        start = time.perf_counter()
        for _ in scan:
            pass
        found[f"{state}_seconds"] = time.perf_counter() - start
    seen = scan.statistics
    config = pipe.model.config
    return found | {
        "lines": seen.lines,
        "cold_lines_per_second": seen.lines / found["cold_seconds"],
        "lines_per_second": seen.lines / found["warm_seconds"],
        "distinct_entries": len(cache.entries.row_of),
        "sequences": seen.sequences,
        "distinct_sequences": seen.predicted_sequences,
        "dtype": seen.dtype,
        "mean_active_experts": active,
        "router_top_p": config.router_top_p,
        "num_experts": config.num_experts,
    }


@torch.inference_mode()
def row_guide(args: argparse.Namespace) -> dict:
    """Encodes each entry alone, padded to 128 tokens; then reads sequences of 32 with every expert."""
    pipe = build(args)
    pipe.model.set_routing_mode("dense")
    lines = sample_lines(args.log, 100_000)

    def read(batch: list[str]) -> None:
        embeds = []
        for line in batch:
            inputs = pipe.processor.tokenizer(
                line, padding="max_length", truncation=True, max_length=128, return_tensors="pt"
            )
            states = pipe.model.model.encoder(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).last_hidden_state
            embeds.append(states.mean(dim=1))
        pipe.model(entry_embeds=torch.cat(embeds)[None])

    return timed(read, lines, args.seconds) | {
        "dtype": "float32",
        "mean_active_experts": 4.0,
        "router_top_p": None,
        "num_experts": 4,
    }


@torch.inference_mode()
def row_batched(args: argparse.Namespace) -> dict:
    """Eight sequences of 32 at a time, entries of similar length together, nothing masked and nothing shared."""
    pipe = build(args)
    lines = sample_lines(args.log, 100_000)
    active = set_routing(pipe, "shipped", "\n".join(lines[:512]))

    def read(batch: list[str]) -> None:
        token_ids, _ = pipe.processor.tokenize(batch)
        embeds = pipe.predictor.encode(token_ids)
        pipe.model(entry_embeds=embeds.view(-1, 32, embeds.shape[1]))

    return timed(read, lines, args.seconds, 256) | {
        "dtype": "float32",
        "mean_active_experts": active,
        "router_top_p": pipe.model.config.router_top_p,
        "num_experts": 4,
    }


def timed(read: Any, lines: list[str], seconds: float, size: int = 32) -> dict:
    """Calls `read` on batches of lines until the time is up."""
    read(lines[:size])
    start, done = time.perf_counter(), 0
    for begin in range(size, len(lines) - size + 1, size):
        read(lines[begin : begin + size])
        done += size
        if time.perf_counter() - start > seconds:
            break
    return {"lines": done, "lines_per_second": done / (time.perf_counter() - start), "is_sample": True}


def drain_masks() -> list[Any]:
    """Masks that somebody would write for Drain3, comparable to LogMoE's."""
    from drain3.masking import MaskingInstruction

    return [
        MaskingInstruction(pattern, name)
        for pattern, name in (
            (r"\b[a-zA-Z][a-zA-Z0-9+-]{1,15}://[^\s\"'<>)\]},;]+", "URL"),
            (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "UUID"),
            (r"\b\d{4}-\d{2}-\d{2}[T -]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?", "TIME"),
            (r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b", "IP"),
            (r"(?<=[\s\"'=(\[:,])(?:/[\w.@%+~-]+){2,}/?", "PATH"),
            (r"\b0[xX][0-9a-fA-F]+\b", "HEX"),
            (r"\b[0-9a-fA-F]{8,}\b", "HEX"),
            (r"\d+", "NUM"),
        )
    ]


def row_drain(args: argparse.Namespace, masks: bool = True, classify: bool = False) -> dict:
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.profiling_enabled = False
    if masks:
        config.masking_instructions = drain_masks()
    miner = TemplateMiner(config=config)
    with open(args.log, encoding="utf-8", errors="replace") as log:
        if classify:
            # What it learns does not affect speed: it is fitted to random counts.
            from sklearn.linear_model import LogisticRegression

            width = 4096
            learner = LogisticRegression(max_iter=200)
            counts = np.random.default_rng(0).poisson(0.01, (2000, width))
            learner.fit(counts, counts[:, 0] > 0)
        start, done = time.perf_counter(), 0
        window = np.zeros((32, 4096), dtype=np.float32) if classify else None
        for line in log:
            found = miner.add_log_message(line.rstrip("\n"))
            if window is not None:
                window[done // 32 % 32, found["cluster_id"] % 4096] += 1
                if (done + 1) % 1024 == 0:
                    learner.predict_proba(window)
                    window[:] = 0
            done += 1
            if done % 1000 == 0 and time.perf_counter() - start > args.drain_seconds:
                break
    taken = time.perf_counter() - start
    return {
        "lines": done,
        "lines_per_second": done / taken,
        "templates": len(miner.drain.clusters),
        "is_sample": taken > args.drain_seconds,
    }


def row_sentences(args: argparse.Namespace) -> dict:
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(args.sentence_encoder, device="cpu")
    lines = sample_lines(args.log, 100_000)
    embeds = model.encode(lines[:256], show_progress_bar=False)
    learner = LogisticRegression().fit(embeds, np.arange(len(embeds)) % 2)

    def read(batch: list[str]) -> None:
        learner.predict_proba(model.encode(batch, batch_size=32, show_progress_bar=False))

    return timed(read, lines, args.seconds, 256) | {"dtype": "float32"}


def latency(args: argparse.Namespace) -> dict:
    """Milliseconds of one call on a log of 32 unrelated entries, at the guide's sizes."""
    pipe = build(args)
    set_routing(pipe, "shipped", "\n".join(sample_lines(args.log, 512)))
    logs = ["\n".join(sample_lines(args.log, 3200)[start::100]) for start in range(24)]
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        pipe.model.to(dtype)
        times = []
        for log in logs:
            start = time.perf_counter()
            pipe(log)
            times.append((time.perf_counter() - start) * 1000)
        name = str(dtype).removeprefix("torch.")
        found[name] = {"p50_ms": statistics.median(times[2:]), "p95_ms": float(np.quantile(times[2:], 0.95))}
    return found


def scaling(args: argparse.Namespace) -> dict:
    """Lines per second of row d by the length of the log, which is repeated if it is too short."""
    pipe = build(args, "small")
    set_routing(pipe, "shipped", "\n".join(sample_lines(args.log, 512)))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for lines in (10**4, 10**5, 10**6, 10**7):
            path = Path(folder, "log")
            with open(path, "wb") as log:
                left = lines
                while left:
                    with open(args.log, "rb") as source:
                        for line in source:
                            log.write(line)
                            left -= 1
                            if not left:
                                break
            start = time.perf_counter()
            scan = pipe.scan(path, only_anomalies=True, threshold=1 - 1e-12)
            for _ in scan:
                pass
            seconds = time.perf_counter() - start
            found[lines] = {
                "seconds": seconds,
                "lines_per_second": lines / seconds,
                "distinct_entries": scan.statistics.encoded_entries,
                "judged_sequences": scan.statistics.predicted_sequences,
                "sequences": scan.statistics.sequences,
            }
    return found


# ---------------------------------------------------------------------- the table


def run_child(args: argparse.Namespace, what: str) -> dict:
    command = [sys.executable, __file__, args.log, "--child", what, "--seconds", str(args.seconds)]
    command += ["--tokenizer", args.tokenizer, "--drain_seconds", str(args.drain_seconds)]
    command += ["--sentence_encoder", args.sentence_encoder] if args.sentence_encoder else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"Row {what} ended with exit code {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def child(args: argparse.Namespace) -> None:
    runners = {
        "scan": row_scan,
        "guide": row_guide,
        "batched": row_batched,
        "drain": row_drain,
        "sentences": row_sentences,
    }
    if args.child in ROWS:
        _, kind, options = ROWS[args.child]
        result = runners[kind](args, **options)
    else:
        result = {"latency": latency, "scaling": scaling}[args.child](args)
    result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="a plain text log")
    parser.add_argument("--tokenizer", default=str(MINI), help="folder (default: the built-in checkpoint's)")
    parser.add_argument(
        "--sentence_encoder", help="folder of a sentence-transformers model; without it, row g is skipped"
    )
    parser.add_argument("--rows", help="comma-separated (default: all)")
    parser.add_argument("--no_scaling", action="store_true", help="skip the table by length of the log")
    parser.add_argument(
        "--seconds", type=float, default=20, help="per row that runs on a sample (default: %(default)s)"
    )
    parser.add_argument(
        "--drain_seconds", type=float, default=60, help="limit of each Drain3 row (default: %(default)s)"
    )
    parser.add_argument("--name", help="names the log in the JSON's file name (default: the file's)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    rows = args.rows.split(",") if args.rows else [row for row in ROWS if row != "g" or args.sentence_encoder]
    results = {}
    print(
        "| row | what | dtype | active experts | cold, lines/s | lines/s | times (a) | times (e) | peak MiB |",
        flush=True,
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for row in rows:
        found = results[row] = {"what": ROWS[row][0]} | run_child(args, row)
        cells = [row, found["what"], found.get("dtype", "")]
        active = found.get("mean_active_experts")
        cells.append(f"{active:.2f} of {found['num_experts']}" if active else "")
        cold = found.get("cold_lines_per_second")
        cells += [
            f"{cold:,.0f}" if cold else "",
            f"{found['lines_per_second']:,.{0 if found['lines_per_second'] > 99 else 1}f}",
        ]
        for base in ("a", "e"):
            ratio = found["lines_per_second"] / results[base]["lines_per_second"] if base in results else None
            cells.append(f"{ratio:,.{0 if ratio > 99 else 2}f}" if ratio else "")
        print("| " + " | ".join([*cells, str(found["peak_memory_mib"])]) + " |", flush=True)
    output: dict[str, Any] = {
        "machine": describe(),
        "log": {"lines": None, "bytes": os.path.getsize(args.log)},
        "rows": results,
    }
    with open(args.log, "rb") as log:
        output["log"]["lines"] = sum(1 for _ in log)
    if "c" in rows:
        output["latency"] = run_child(args, "latency")
        print("\nOne log of 32 unrelated entries at the guide's sizes, milliseconds:", output["latency"])
    if not args.no_scaling:
        output["scaling_of_d"] = run_child(args, "scaling")
        print("\n| lines | lines/s (d, cold) | seconds |\n|---|---|---|")
        for lines, found in output["scaling_of_d"].items():
            if lines.isdigit():
                print(f"| {int(lines):,} | {found['lines_per_second']:,.0f} | {found['seconds']:.1f} |")
    path = RESULTS / f"throughput-{args.name or Path(args.log).stem}.json"
    path.write_text(json.dumps(output, indent=2) + "\n")


if __name__ == "__main__":
    main()
