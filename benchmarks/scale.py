"""What does judging many files on a Ray cluster cost, beside one process that judges them one after the other?

    python benchmarks/scale.py [--large 4] [--small 1000] [--repeats 1]

Files of 10 MB and of 20 kB, of the recorded training services: their lines from a random one on, repeated. The plain
process with one thread and with two; Ray with one actor and with two, of one thread each, on a cluster of this
machine. Each in a fresh process, turn by turn. Seconds until judging begins, files and megabytes per second from then
on, processor seconds of the processes that judge, and the memory of each. Writes `results/scale.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results" / "scale.json"
LARGE, SMALL = 10_000_000, 20_000
WAYS = ("plain, 1 thread", "plain, 2 threads", "Ray, 1 actor", "Ray, 2 actors")


def write_logs(folder: Path, number: int, size: int) -> None:
    """Files of a size, each of one recorded service."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import numpy as np

    from recordings import corpus

    services = [service for service in corpus.SERVICES if service not in corpus.TEST_ONLY]
    generator = np.random.default_rng(size)
    lines = {service: corpus.read_lines([service], ["train"])["line"].to_pylist() for service in services}
    for place in range(number):
        of = lines[services[place % len(services)]]
        start = int(generator.integers(len(of)))
        (folder / f"{place:05}.log").write_bytes(repeated(of[start:] + of[:start], size))


def repeated(lines: list[str], size: int) -> bytes:
    """Lines repeated up to a size in bytes, as they are: with other digits, times would be none."""
    text = ("\n".join(lines) + "\n").encode()
    return (text * (size // len(text) + 1))[:size]


class Watch(threading.Thread):
    """Looks at the processes that judge, a few times a second.

    Attributes:
        seen: by process: processor seconds, highest resident memory and of it what is not shared, in MiB.
        begun: when the first task of a job began.
    """

    def __init__(self, results: Path | None):
        super().__init__(daemon=True)
        self.results, self.is_over = results, threading.Event()
        self.seen: dict[int, dict[str, float]] = {}
        self.begun: float | None = None

    def run(self) -> None:
        while not self.is_over.wait(0.1):
            if self.results is not None and self.begun is None and any(self.results.glob("tries/*.json")):
                self.begun = time.time()
            self.look()

    def look(self) -> None:
        own = psutil.Process()
        processes = [own] if self.results is None else own.children(recursive=True)
        for process in processes:
            try:
                if self.results is not None and "_Judge" not in " ".join(process.cmdline()):
                    continue
                used, memory = process.cpu_times(), process.memory_info()
                known = self.seen.setdefault(process.pid, {"rss_mib": 0.0, "own_mib": 0.0, "cpu_before": -1.0})
                known["cpu"] = used.user + used.system
                if self.begun is not None and known["cpu_before"] < 0:
                    known["cpu_before"] = known["cpu"]
                known["rss_mib"] = max(known["rss_mib"], memory.rss / (1 << 20))
                known["own_mib"] = max(known["own_mib"], (memory.rss - memory.shared) / (1 << 20))
            except psutil.Error:
                continue


def child(way: str, logs: str) -> None:
    threads = 2 if "2 threads" in way else 1
    import torch

    paths = sorted(str(path) for path in Path(logs).iterdir())
    with tempfile.TemporaryDirectory() as temporary:
        results = Path(temporary, "results")
        if way.startswith("plain"):
            torch.set_num_threads(threads)
            from logmoe.caching_logmoe import ScanCache
            from logmoe.gathering_logmoe import FindingScan
            from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline

            pipe, cache = load_pipeline(DEFAULT_CHECKPOINT, "cpu"), ScanCache()
            watch = Watch(None)
            watch.begun = time.time()
            watch.look()
            watch.start()
            found = 0
            for path in paths:
                found += len(list(FindingScan(pipe.scan(path, only_anomalies=True, cache=cache, num_workers=threads))))
            ended = time.time()
        else:
            from logmoe import distributed

            actors = 2 if "2" in way else 1
            watch = Watch(results)
            watch.start()
            told: list[float] = []
            folder = distributed.scan(
                paths,
                output=results,
                address="local",
                ray_options={"concurrency": actors},
                on_progress=lambda _: told.append(time.time()),
            )
            ended = told[-1]
            found = sum(folder.files()["findings"].to_pylist())
        whole = time.time()
        watch.is_over.set()
        watch.join()
        if way.startswith("plain"):
            watch.look()
    assert watch.begun is not None
    print(
        json.dumps(
            {
                "way": way,
                "findings": found,
                "seconds_to_start": watch.begun - psutil.Process().create_time(),
                "seconds_to_judge": ended - watch.begun,
                "seconds_to_end": whole - ended,
                "cpu_seconds": sum(of["cpu"] - max(0.0, of["cpu_before"]) for of in watch.seen.values()),
                "rss_mib": max(of["rss_mib"] for of in watch.seen.values()),
                "own_mib": max(of["own_mib"] for of in watch.seen.values()),
            }
        ),
        flush=True,
    )


def memory() -> None:
    """Prints what a worker's memory goes into: resident MiB after each step."""
    steps: list[tuple[str, float]] = []

    def note(step: str) -> None:
        steps.append((step, psutil.Process().memory_info().rss / (1 << 20)))

    import ray.data  # noqa: F401

    note("Ray Data")
    import torch  # noqa: F401

    note("PyTorch")
    import transformers  # noqa: F401

    note("transformers")
    from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline

    note("logmoe")
    pipe = load_pipeline(DEFAULT_CHECKPOINT, "cpu")
    note("a pipeline")
    examples = Path(__file__).resolve().parent.parent / "examples"
    for _ in pipe.scan(examples / "postgresql.log", only_anomalies=True, num_workers=1):
        pass
    note("a log judged")
    print(json.dumps(steps), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=4, help="files of 10 MB (default: 4)")
    parser.add_argument("--small", type=int, default=1000, help="files of 20 kB (default: 1000)")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        memory() if args.child[0] == "memory" else child(*args.child)
        return
    results = []
    print("| files | way | start s | judging s | files/s | MB/s | CPU s | CPU s/MB | MiB | not shared |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for number, size in ((args.large, LARGE), (args.small, SMALL)):
        if not number:
            continue
        with tempfile.TemporaryDirectory() as logs:
            write_logs(Path(logs), number, size)
            runs: dict[str, list[dict[str, Any]]] = {way: [] for way in args.ways}
            for _ in range(args.repeats):
                for way in args.ways:
                    done = subprocess.run(
                        [sys.executable, __file__, "--child", way, logs], stdout=subprocess.PIPE, text=True, check=True
                    )
                    runs[way].append(json.loads(done.stdout.splitlines()[-1]))
        for way, all_runs in runs.items():
            row: dict[str, Any] = {"files": number, "bytes_each": size} | all_runs[0]
            for name in ("seconds_to_start", "seconds_to_judge", "cpu_seconds", "rss_mib", "own_mib"):
                row[name] = statistics.median(run[name] for run in all_runs)
            row["runs"] = [run["seconds_to_judge"] for run in all_runs]
            results.append(row)
            megabytes = number * size / 1e6
            print(
                f"| {number:,} × {size / 1e6:g} MB | {way} | {row['seconds_to_start']:.1f} | "
                f"{row['seconds_to_judge']:.1f} | {number / row['seconds_to_judge']:.2f} | "
                f"{megabytes / row['seconds_to_judge']:.2f} | {row['cpu_seconds']:.1f} | "
                f"{row['cpu_seconds'] / megabytes:.2f} | {row['rss_mib']:.0f} | {row['own_mib']:.0f} |",
                flush=True,
            )
    done = subprocess.run(
        [sys.executable, __file__, "--child", "memory", ""],
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    steps = json.loads(done.stdout.splitlines()[-1])
    print("\nmemory of a worker, MiB after " + ", ".join(f"{step}: {mib:.0f}" for step, mib in steps))
    from machine import describe  # imports PyTorch, and so do workers that are measured

    machine = describe() | {"ray": version("ray"), "cores": os.cpu_count()}
    args.output.write_text(
        json.dumps({"machine": machine, "results": results, "memory_of_a_worker": steps}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
