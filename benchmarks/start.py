"""How long after it is typed does the command answer: `logmoe LOG` from its start to the first line of its answer.

    python benchmarks/start.py LOG [--rounds 5]

Beside it stands what no answer can do without: importing torch, importing what transformers' models need, importing
LogMoE, and loading the built-in checkpoint. Each is a fresh process; they take turns, and the medians are given, with
the processor time, which tells less of whatever else the machine does meanwhile.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import describe

RESULTS = Path(__file__).parent / "results" / "start.json"
LOAD = (
    "from logmoe.inference import DEFAULT_CHECKPOINT as folder\n"
    "from logmoe.loading import load_pipeline\n"
    "load_pipeline(folder)"
)


def steps(log: Path) -> dict[str, list[str]]:
    """What is measured, each holding those before it."""
    code = {
        "logmoe --help": "import logmoe_command; logmoe_command.main(['--help'])",
        "import torch": "import torch; print()",
        "import transformers.modeling_utils": "import transformers.modeling_utils; print()",
        "import logmoe": "import logmoe; print()",
        "the checkpoint loaded": f"{LOAD}; print()",
    }
    answer = [sys.executable, "-m", "logmoe_command", str(log)]
    return {name: [sys.executable, "-c", of] for name, of in code.items()} | {"logmoe LOG": answer}


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds until the first line is printed, and seconds of processor time in all."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("log", type=Path, help="of about a megabyte")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    measured: dict[str, list[tuple[float, float]]] = {}
    waiting = [os.getloadavg()[0]]
    for _ in range(args.rounds):
        for name, command in steps(args.log).items():
            measured.setdefault(name, []).append(measure(command))
        waiting.append(os.getloadavg()[0])
    result: dict[str, Any] = {
        "machine": describe(),
        "log_bytes": args.log.stat().st_size,
        "rounds": args.rounds,
        # Processes that wanted to run: with more than there are cores, seconds are not the command's alone.
        "load_average": round(statistics.median(waiting), 1),
        "steps": {
            name: {
                "seconds": round(statistics.median(seconds for seconds, _ in of), 2),
                "processor_seconds": round(statistics.median(processor for _, processor in of), 2),
            }
            for name, of in measured.items()
        },
    }
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, of in result["steps"].items():
        print(f"{name:40}{of['seconds']:8.2f} s{of['processor_seconds']:8.2f} s of a processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
