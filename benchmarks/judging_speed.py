"""Lines per second of judging a log against a healthy one, and by itself, beside Drain3 with the same masks.

    python benchmarks/judging_speed.py --data FOLDER [--lines 100000] [--rounds 3]

The log is the second `--lines` raw lines of MultiLog's IoTDB cluster, the healthy log its first ones; see
benchmarks/README.md. All rows read the same file, each in one thread at a time, one after the other, in an order that
turns round from round to round. A scan is always the first one: with an empty cache. Figures are medians of processor
seconds, all threads together, and of wall time, which other work on the machine makes longer.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from drain3 import TemplateMiner
from drain3.masking import AbstractMaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig
from machine import describe
from throughput import MINI, RESULTS, drain_masks

from logmoe.inference import load_pipeline

# What few lines tell is enough of a row that treats each line alike.
SAMPLE = 20_000


class SameMask(AbstractMaskingInstruction):
    """One of LogMoE's masks, as Python reads it."""

    def __init__(self, mask: dict[str, Any]):
        super().__init__(mask["replacement"])
        # Two ways of RE2 to write what Python writes otherwise.
        pattern = re.sub(r"\\x\{([0-9A-Fa-f]{4})\}", r"\\u\1", mask["pattern"]).replace(r"\p{Z}", "")
        self.regex, self.replacement = re.compile(pattern), mask["replacement"]

    def mask(self, content: str, mask_prefix: str, mask_suffix: str) -> str:
        return self.regex.sub(self.replacement, content)


def drain(path: Path, masks: list[AbstractMaskingInstruction], most: int) -> int:
    """Finds the templates of a log; returns the number of lines read."""
    config = TemplateMinerConfig()
    config.profiling_enabled = False
    config.masking_instructions = masks
    miner = TemplateMiner(config=config)
    number = 0
    with open(path, encoding="utf-8", errors="replace") as log:
        for number, line in enumerate(log, 1):
            miner.add_log_message(line.rstrip("\n"))
            if number == most:
                break
    return number


def share_masked_alike(pipe: Any, masks: list[SameMask], path: Path) -> float:
    """Share of lines that Drain3's masks turn into the text that LogMoE's do."""
    with open(path, encoding="utf-8") as log:
        lines = [line.rstrip("\n") for line, _ in zip(log, range(SAMPLE // 10), strict=False)]
    ours = pipe.processor.mask(lines).to_pylist()
    alike = 0
    for line, expected in zip(lines, ours, strict=True):
        for mask in masks:
            line = mask.mask(line, "", "")
        alike += line == expected
    return alike / len(lines)


def write_logs(data: Path, lines: int, folder: Path) -> tuple[Path, Path]:
    """The healthy log and the one to be judged."""
    table = pq.read_table(data / "multilog_iotdb_lines.parquet", columns=["line"]).slice(0, 2 * lines)
    if len(table) < 2 * lines:
        raise SystemExit(f"the data have {len(table):,} lines; --lines must be half of that at most")
    paths = folder / "healthy.log", folder / "judged.log"
    for start, path in zip((0, lines), paths, strict=True):
        path.write_text("".join(f"{line}\n" for line in table["line"].slice(start, lines).to_pylist()), "utf-8")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public logs, see benchmarks/README.md")
    parser.add_argument("--lines", type=int, default=100_000, help="of each log (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are shown (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS / "judging-speed.json", help="where the JSON goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipe = load_pipeline(MINI, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        healthy, judged = write_logs(args.data, args.lines, Path(folder))
        reference = pipe.fit(healthy)
        seen: dict[str, dict[str, Any]] = {}

        def scan(row: str, **how: Any) -> int:
            found = pipe.scan(judged, only_anomalies=True, **how)
            for _ in found:
                pass
            statistics_of_scan = found.statistics
            seen[row] = {
                "anomalies": statistics_of_scan.anomalies,
                "sequences": statistics_of_scan.sequences,
                "mode": statistics_of_scan.mode,
                "dtype": statistics_of_scan.dtype,
            }
            return statistics_of_scan.lines

        def fit() -> int:
            pipe.fit(healthy)
            return args.lines

        same = [SameMask(mask) for mask in pipe.processor.masks]
        few = drain_masks()
        rows: dict[str, tuple[str, Callable[[], int]]] = {
            "drain": (f"Drain3 with the same {len(same)} masks", lambda: drain(judged, same, SAMPLE)),
            "drain-few": (f"Drain3 with {len(few)} masks", lambda: drain(judged, few, args.lines)),
            "fit": ("`fit`, once for a healthy log", fit),
            "reference": ("`scan` against a reference", lambda: scan("reference", reference=reference)),
            "wording": ("`scan` by wording, one pass", lambda: scan("wording", reference=False)),
            "self": ("`scan` against the log itself", lambda: scan("self")),
        }
        scan("reference", reference=reference)  # what is done once for a reference
        spent: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
        read: dict[str, int] = {}
        for number in range(args.rounds):
            for row in list(rows)[:: -1 if number % 2 else 1]:
                wall, process = time.perf_counter(), time.process_time()
                read[row] = rows[row][1]()
                spent[row].append((time.perf_counter() - wall, time.process_time() - process))
        alike = share_masked_alike(pipe, same, judged)

    found = {}
    for row, (what, _) in rows.items():
        wall, process = (statistics.median(times) for times in zip(*spent[row], strict=True))
        found[row] = {
            "what": what,
            "lines": read[row],
            "processor_seconds": process,
            "wall_seconds": wall,
            "lines_per_processor_second": read[row] / process,
            "lines_per_second": read[row] / wall,
            "processor_seconds_of_rounds": [process for _, process in spent[row]],
        } | seen.get(row, {})

    def rate(row: str) -> float:
        return float(found[row]["lines_per_processor_second"])

    output = {
        "machine": describe(),
        "lines": args.lines,
        "rounds": args.rounds,
        "masked_alike": alike,
        "times_drain": rate("reference") / rate("drain"),
        "times_drain_few": rate("reference") / rate("drain-few"),
        "self_times_one_pass": rate("wording") / rate("self"),
        "self_times_reference": rate("reference") / rate("self"),
        "rows": found,
    }
    args.output.write_text(json.dumps(output, indent=2) + "\n")
    print(
        "| row | lines | processor seconds | lines per processor second | lines/s | times Drain3, same masks | few |"
    )
    print("|---|---|---|---|---|---|---|")
    for row, values in found.items():
        cells = [values["what"], f"{values['lines']:,}", f"{values['processor_seconds']:.1f}", f"{rate(row):,.0f}"]
        cells += [f"{values['lines_per_second']:,.0f}"]
        cells += [f"{rate(row) / rate(base):.2f}" for base in ("drain", "drain-few")]
        print("| " + " | ".join(cells) + " |")
    print(f"\nAgainst itself: {output['self_times_one_pass']:.2f} times one pass by wording, ", end="")
    print(f"{output['self_times_reference']:.2f} times one against a reference. Masked alike: {alike:.1%} of lines.")


if __name__ == "__main__":
    main()
