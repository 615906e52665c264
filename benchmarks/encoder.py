"""Is a lighter form of the built-in checkpoint's text encoder worth it on a CPU?

    pip install onnx onnxruntime onnxscript openvino
    python benchmarks/encoder.py [--services NAME…] [--texts 3000]

Each form encodes the same distinct entries of the recorded training services on one thread: entries per second of
processor time, how near the embeddings are to float32's, and how often an entry's nearest neighbour stays. Then each
judges the recordings of these services, against fault-free stretches of earlier recordings of the same settings: AUROC
of windows of 32 entries, mean over services, of LogMoE (which was trained on these services), and of two detectors
that nothing was trained for. Last, the encoder's share of a scan: of a service's log, judged against itself with an
empty cache, as it is and repeated to 10 MB. Writes `results/encoder.json`. The test-only services are
left alone.
"""

import argparse
import copy
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from accuracy_detectors import FEATURE, RememberingPipeline, predict
from accuracy_recordings import Recorded
from accuracy_store import model_digest
from machine import describe
from scale import LARGE, repeated

from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline
from logmoe.training.metrics import auroc
from logmoe.weighing_logmoe import untrained_score
from recordings import corpus
from recordings.windows import read_runs

RESULTS = Path(__file__).parent / "results" / "encoder.json"
SERVICES = ("nginx", "redis", "postgresql", "openssh", "rabbitmq", "tomcat")
FORMS = (
    "torch float32",
    "torch bfloat16",
    "ONNX Runtime float32",
    "ONNX Runtime int8",
    "OpenVINO float32",
    "OpenVINO bfloat16",
)
ENTRIES_PER_CALL = 64


class Encoder(torch.nn.Module):
    """Token states `(entries, tokens, hidden)` alone, for export."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.config._attn_implementation = "eager"

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def pooled(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Means over real tokens, as the model pools them."""
    mask = mask[..., None].to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def use(form: str, pipe: Any, folder: Path) -> float:
    """Makes the pipeline encode in another form; returns the megabytes that this form would add to a checkpoint."""
    model = pipe.model.model
    assert pipe.model.config.entry_pooling == "mean"
    if form == "torch float32":
        return 0.0
    if form == "torch bfloat16":
        light = copy.deepcopy(model.encoder).to(torch.bfloat16)

        def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return pooled(light(input_ids=ids, attention_mask=mask).last_hidden_state.float(), mask)

        model._encode_batch = run
        return 0.0
    encoder = Encoder(model.encoder).eval()
    example = (torch.randint(5, 100, (4, 16)), torch.ones(4, 16, dtype=torch.int64))
    if form.startswith("ONNX"):
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = folder / "encoder.onnx"
        names = ["input_ids", "attention_mask"]
        axes = {name: {0: "entries", 1: "tokens"} for name in [*names, "states"]}
        torch.onnx.export(
            encoder, example, str(path), input_names=names, output_names=["states"], dynamic_axes=axes, dynamo=False
        )
        if form.endswith("int8"):
            quantize_dynamic(path, folder / "int8.onnx", weight_type=QuantType.QInt8)
            path = folder / "int8.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            (states,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
            return pooled(torch.from_numpy(states), mask)

        model._encode_batch = run
        return path.stat().st_size / 1e6
    import openvino

    exported = openvino.convert_model(encoder, example_input=example)
    openvino.save_model(exported, folder / "encoder.xml", compress_to_fp16=True)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if form.endswith("bfloat16") else "f32",
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(folder / "encoder.xml", "CPU", settings)

    def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = compiled([ids.numpy(), mask.numpy()])[0]
        return pooled(torch.from_numpy(np.array(states)), mask)

    model._encode_batch = run
    return (folder / "encoder.bin").stat().st_size / 1e6


def distinct_texts(services: list[str], most: int) -> list[str]:
    """Distinct masked entries of the services' recordings, the same in every run."""
    texts: dict[str, None] = {}
    for service in services:
        for run in read_runs(service, ("train", "validation", "twin")):
            texts |= dict.fromkeys(run.parsed.distinct.to_pylist())
    chosen = np.random.default_rng(0).permutation(len(texts))[:most]
    every = list(texts)
    return [every[row] for row in sorted(chosen.tolist())]


@torch.inference_mode()
def encode(pipe: Any, token_ids: list[list[int]]) -> tuple[np.ndarray, float]:
    """Embeddings `(entries, hidden)`, in calls as a scan makes them, and the seconds of processor time."""
    order = sorted(range(len(token_ids)), key=lambda row: -len(token_ids[row]))
    begun = time.process_time()
    parts = [
        pipe.predictor.encode([token_ids[row] for row in order[start : start + ENTRIES_PER_CALL]])
        for start in range(0, len(order), ENTRIES_PER_CALL)
    ]
    seconds = time.process_time() - begun
    return torch.cat(parts).float().numpy()[np.argsort(order)], seconds


def detection(pipe: RememberingPipeline, services: list[str]) -> dict[str, dict[str, float]]:
    """AUROC of each detector on each service."""
    found: dict[str, dict[str, float]] = {}
    for service in services:
        recorded = Recorded(service, pipe)
        labels, scores = [], {name: [] for name in ("LogMoE", "sum of ranks, untrained", "1-NN distance")}
        for run in recorded.faulty:
            reference = recorded.reference(run, "earlier", 0)
            if reference is None:
                continue
            log = recorded.prepare(run.parsed)
            evidence = predict(pipe, log, reference, "reference").evidence
            assert evidence is not None
            labels.append(recorded.truth(run, run.parsed, log.sequences).labels)
            scores["LogMoE"].append(evidence.margins)
            scores["sum of ranks, untrained"].append(untrained_score(evidence.inputs))
            scores["1-NN distance"].append(np.nan_to_num(evidence.inputs)[:, FEATURE["distance_top8"]])
        truth = np.concatenate(labels)
        found[service] = {name: auroc(truth, np.concatenate(values)) for name, values in scores.items()}
    return found


def child(form: str, services: list[str], most: int, repeats: int, embeddings: Path) -> None:
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    pipe = load_pipeline(DEFAULT_CHECKPOINT, device="cpu", pipeline_class=RememberingPipeline)
    pipe.model.config._attn_implementation = "sdpa"
    with tempfile.TemporaryDirectory() as folder:
        megabytes = use(form, pipe, Path(folder))
        token_ids, _ = pipe.processor.tokenize(distinct_texts(services, most))
        rates = []
        for _ in range(repeats + 1):
            pipe.forget()
            encoded, seconds = encode(pipe, token_ids)
            rates.append(len(token_ids) / seconds)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        np.save(embeddings, encoded)
        pipe.forget()
        record = {
            "form": form,
            "entries": len(token_ids),
            "tokens": sum(map(len, token_ids)),
            "entries_per_cpu_second": sorted(rates[1:])[repeats // 2],
            "added_megabytes": megabytes,
            "peak_memory_mib": peak,
            "auroc": detection(pipe, services),
        }
    print(json.dumps(record), flush=True)


def share_of_scan(services: list[str]) -> list[dict[str, Any]]:
    """What part of a scan's processor time the encoder takes, in float32 on one thread."""
    torch.set_num_threads(1)
    pipe = load_pipeline(DEFAULT_CHECKPOINT, device="cpu")
    inner, spent = pipe.model.model._encode_batch, [0.0]

    def timed(*batch: torch.Tensor) -> torch.Tensor:
        begun = time.thread_time()
        embeddings = inner(*batch)
        spent[0] += time.thread_time() - begun
        return embeddings

    pipe.model.model._encode_batch = timed
    records = []
    for service in services:
        lines = corpus.read_lines([service], ["train"])["line"].to_pylist()
        for size in (len("\n".join(lines).encode()), LARGE):
            with tempfile.TemporaryDirectory() as folder:
                log = Path(folder, "a.log")
                log.write_bytes(repeated(lines, size))
                spent[0], begun = 0.0, time.process_time()
                for _ in pipe.scan(log, only_anomalies=True, num_workers=1):
                    pass
                seconds = time.process_time() - begun
            records.append({"service": service, "bytes": size, "cpu_seconds": seconds, "share": spent[0] / seconds})
    return records


def likeness(embeddings: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """How near embeddings `(entries, hidden)` are to exact ones."""

    def units(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    ours, theirs = units(embeddings), units(exact)

    def nearest(rows: np.ndarray) -> np.ndarray:
        near = rows @ rows.T
        np.fill_diagonal(near, -1)
        return near.argmax(axis=1)

    cosine = (ours * theirs).sum(axis=1)
    same = float((nearest(ours) == nearest(theirs)).mean())
    return {"cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min()), "same_neighbour": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", nargs="+", default=list(SERVICES))
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    corpus.check_services(args.services)
    if barred := set(args.services) & set(corpus.TEST_ONLY):
        parser.error(f"{', '.join(sorted(barred))}: for tests only, nothing is chosen by them")
    if args.child:
        child(args.child[0], args.services, args.texts, args.repeats, Path(args.child[1]))
        return
    results: list[dict[str, Any]] = []
    exact: np.ndarray | None = None
    print("| form | entries per CPU second | cosine, mean | least | same neighbour | LogMoE | untrained | 1-NN |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for form in args.forms:
        with tempfile.TemporaryDirectory() as folder:
            embeddings = Path(folder, "embeddings.npy")
            options = ["--services", *args.services, "--texts", str(args.texts), "--repeats", str(args.repeats)]
            done = subprocess.run(
                [sys.executable, __file__, *options, "--child", form, str(embeddings)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            encoded = np.load(embeddings)
        exact = encoded if exact is None else exact
        record = json.loads(done.stdout.splitlines()[-1]) | likeness(encoded, exact)
        means = {
            name: float(np.mean([of_service[name] for of_service in record["auroc"].values()]))
            for name in next(iter(record["auroc"].values()))
        }
        results.append(record | {"mean_auroc": means})
        print(
            f"| {form} | {record['entries_per_cpu_second']:,.0f} | {record['cosine_mean']:.4f} | "
            f"{record['cosine_min']:.4f} | {record['same_neighbour']:.3f} | "
            + " | ".join(f"{means[name]:.4f}" for name in means)
            + " |",
            flush=True,
        )
    libraries = {}
    for name in ("onnxruntime", "openvino", "onnx"):
        try:
            libraries[name] = version(name)
        except ImportError:
            continue
    print("\n| log | MB | CPU s | encoder's share |\n|---|---|---|---|")
    shares = share_of_scan(args.services)
    for row in shares:
        print(f"| {row['service']} | {row['bytes'] / 1e6:.1f} | {row['cpu_seconds']:.1f} | {row['share']:.0%} |")
    pipe = load_pipeline(DEFAULT_CHECKPOINT, device="cpu", pipeline_class=RememberingPipeline)
    content = {
        "machine": describe() | libraries,
        "checkpoint": model_digest(pipe.model),
        "services": args.services,
        "results": results,
        "encoder_share_of_scan": shares,
    }
    args.output.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
