"""Where the time of a scan goes, and how far each stage is from its limit.

    python benchmarks/stages.py LOG [--size guide|small|mini] [--tokenizer DIR]

Times are processor seconds, summed over all threads. The limits come from the same run on the same machine: for text,
one RE2 pattern and a dictionary over all lines; for the model, the seconds that its matrix products alone would take
at the measured rate, in its precision and at its shapes.
"""

import argparse
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from machine import describe
from throughput import MINI, RESULTS, build, sample_lines, set_routing

from logmoe import LogMoEProcessor
from logmoe.reading_logmoe import split_lines
from logmoe.scanning_logmoe import LogScan


def product_rate(dtype: torch.dtype, rows: int, inner: int, outer: int) -> float:
    """Floating-point operations per second of `(rows, inner) @ (inner, outer)` on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(outer, inner).to(dtype)
    times = []
    with torch.inference_mode():
        for _ in range(12):
            start = time.perf_counter()
            F.linear(left, right)
            times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return 2 * rows * inner * outer / float(np.median(times))


def operations(pipe: Any, active: float, mean_tokens: float) -> tuple[float, float]:
    """Operations in matrix products: per entry in the encoder, and per occurrence in the sequence stack and head."""
    encoder, config = pipe.model.config.encoder_config, pipe.model.config
    per_token = (
        encoder.num_hidden_layers
        * 2
        * (4 * encoder.hidden_size**2 + 2 * encoder.hidden_size * encoder.intermediate_size)
    )
    per_token += encoder.num_hidden_layers * 4 * mean_tokens * encoder.hidden_size
    layer = 2 * 4 * config.hidden_size**2 + 4 * 32 * config.hidden_size
    layer += active * 4 * config.hidden_size * config.moe_intermediate_size
    # Plus the head's hidden layer, minus the first layer's query, key and value, which distinct entries share, as they
    # do the projection.
    stack = config.num_hidden_layers * layer + 2 * config.hidden_size**2 - 6 * config.hidden_size**2
    return per_token * mean_tokens, stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="a plain text log")
    parser.add_argument("--size", choices=["guide", "small", "mini"], default="guide")
    parser.add_argument("--tokenizer", default=str(MINI), help="folder (default: the built-in checkpoint's)")
    parser.add_argument("--name", help="names the log in the JSON's file name (default: the file's)")
    args = parser.parse_args()

    pipe = build(args, args.size)
    active = set_routing(pipe, "shipped", "\n".join(sample_lines(args.log, 512)))
    spent: Counter[str] = Counter()
    tokens: list[int] = []
    lock = threading.Lock()

    def watch(stage: str, owner: type, method: str) -> None:
        inner = getattr(owner, method)

        def watched(self: Any, *arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(self, *arguments)
            finally:
                with lock:
                    spent[stage] += time.thread_time() - start
                    if method == "_encode_batch":
                        tokens.extend(map(len, arguments[0]))

        setattr(owner, method, watched)

    watch("split and mask", LogMoEProcessor, "parse_chunk")
    watch("encoder", LogScan, "_encode_batch")
    watch("sequence stack", LogScan, "_predict")
    scan = pipe.scan(args.log, only_anomalies=True, threshold=1 - 1e-12)
    start, process = time.perf_counter(), time.process_time()
    for _ in scan:
        pass
    wall, total = time.perf_counter() - start, time.process_time() - process
    spent["all else: read, cut, look up, report"] = total - sum(spent.values())
    seen = scan.statistics

    # The limits.
    data = Path(args.log).read_bytes()[: 64 << 20]
    start = time.perf_counter()
    Path(args.log).read_bytes()
    read_seconds = time.perf_counter() - start
    lines = split_lines(data)
    pa.set_cpu_count(1)
    start = time.process_time()
    pc.dictionary_encode(pc.replace_substring_regex(lines, r"[0-9a-fA-F]*[0-9][0-9a-fA-F.:]*", "<NUM>"))
    one_pattern = len(lines) / (time.process_time() - start)
    dtype = getattr(torch, seen.dtype)
    config = pipe.model.config
    encoder_rate = product_rate(
        dtype, 1024, config.encoder_config.hidden_size, config.encoder_config.intermediate_size
    )
    stack_rate = product_rate(dtype, 4096, config.hidden_size, config.hidden_size)
    # The cost of an entry is taken as linear in its tokens, so the mean length is enough.
    encoder_operations, stack_operations = operations(pipe, active, float(np.mean(tokens)))
    occurrences = seen.predicted_sequences * seen.entries / max(seen.sequences, 1)
    limits = {
        "split and mask": seen.lines / one_pattern,
        "encoder": encoder_operations * seen.encoded_entries / encoder_rate,
        "sequence stack": stack_operations * occurrences / stack_rate,
    }
    print(f"{seen.lines:,} lines in {wall:.1f} s ({seen.lines / wall:,.0f} lines/s), {seen.dtype}, ", end="")
    print(f"{active:.2f} of {config.num_experts} experts active, {torch.get_num_threads()} threads\n")
    print("| stage | processor seconds | share | at the limit | share of the limit |\n|---|---|---|---|---|")
    for stage, seconds in spent.items():
        limit = limits.get(stage)
        cells = [f"{limit:.1f}", f"{limit / seconds:.0%}"] if limit else ["", ""]
        print(f"| {stage} | {seconds:.1f} | {seconds / total:.0%} | " + " | ".join(cells) + " |")
    print(f"\nReading the file alone: {read_seconds:.2f} s. One RE2 pattern: {one_pattern:,.0f} lines/s. ", end="")
    print(f"Products, one thread: {encoder_rate / 1e9:.0f} and {stack_rate / 1e9:.0f} GFLOP/s.")
    found = {
        "machine": describe(),
        "size": args.size,
        "lines": seen.lines,
        "wall_seconds": wall,
        "processor_seconds": dict(spent),
        "seconds_at_the_limit": limits,
        "read_seconds": read_seconds,
        "one_pattern_lines_per_second": one_pattern,
        "encoder_product_flops": encoder_rate,
        "stack_product_flops": stack_rate,
        "dtype": seen.dtype,
        "mean_active_experts": active,
        "distinct_entries": seen.encoded_entries,
        "mean_tokens": float(np.mean(tokens)),
        "judged_sequences": seen.predicted_sequences,
    }
    path = RESULTS / f"stages-{args.size}-{args.name or Path(args.log).stem}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
