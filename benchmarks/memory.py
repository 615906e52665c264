"""Peak memory of a scan: does it depend on the length of the log, or on the number of distinct entries?

    python benchmarks/memory.py LOG [--gigabytes 0.1 10] [--distinct 1000000]
    python benchmarks/memory.py LOG --worst [a few of base, letters, words, newlines, stride]

The log is repeated until it reaches the size given, each time with new random digits; nothing is written to disk.
`--worst` reads what takes the most memory for its size, from a file, so that a log is judged by itself as well.
Each size runs in its own process, so that each peak is its own.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

RESULTS = Path(__file__).parent / "results" / "memory.json"
BASE_BYTES = 32 << 20


class Repeated(io.RawIOBase):
    """The log repeated until it reaches `size` bytes, each time with other digits."""

    def __init__(self, path: str, size: int):
        with open(path, "rb") as log:
            data = log.read(BASE_BYTES)
        self.base = np.frombuffer(data[: data.rfind(b"\n") + 1], dtype=np.uint8)
        self.digits = np.flatnonzero((self.base >= ord("0")) & (self.base <= ord("9")))
        self.rng = np.random.default_rng(0)
        self.left, self.piece, self.place = size, b"", 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.place >= len(self.piece):
            if self.left <= 0:
                return b""
            fresh = self.base.copy()
            fresh[self.digits] = self.rng.integers(ord("0"), ord("9") + 1, len(self.digits), dtype=np.uint8)
            self.piece, self.place = fresh.tobytes(), 0
            self.left -= len(self.piece)
        data = self.piece[self.place : self.place + size]
        self.place += len(data)
        return data


class Distinct(io.RawIOBase):
    """Entries that stay distinct under every mask: their numbers are spelled in letters."""

    def __init__(self, entries: int):
        self.rows = iter(range(0, entries, 10_000))
        self.entries = entries

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        start = next(self.rows, None)
        if start is None:
            return b""
        letters = str.maketrans("0123456789", "bdfghklmnp")
        lines = (
            f"worker could not open item {str(row).translate(letters)}"
            for row in range(start, min(start + 10_000, self.entries))
        )
        return ("\n".join(lines) + "\n").encode()


def write_worst(name: str, path: Path, share: float) -> dict[str, Any]:
    """Writes one of the worst logs, or a share of it; returns the options of its scan."""
    of_log = {"base": 1, "words": 500_000, "newlines": 100_000_000}
    lines = max(1, int(of_log.get(name, 1_000_000) * share))
    with path.open("wb") as log:
        for start in range(0, lines, 100_000):
            rows = range(start, min(lines, start + 100_000))
            if name == "newlines":
                log.write(b"\n" * len(rows))
            elif name == "words":  # distinct, and spelled in letters
                digits = str.maketrans("0123456789", "bdfghklmnp")
                log.write("".join(f"{str(row).translate(digits)}\n" for row in rows).encode())
            else:
                log.write(b"".join(b"abcdefgh"[row * row % 7 :][:1] + b"\n" for row in rows))
        if name == "newlines":
            log.write(b"a\n")
    return {"stride": 1} if name == "stride" else {}


def child(args: argparse.Namespace) -> None:
    from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline

    pipe = load_pipeline(DEFAULT_CHECKPOINT, device="cpu")
    options: dict[str, Any] = {}
    log: Any
    if args.child_worst:
        name, share = args.child_worst.split(":")
        folder = tempfile.TemporaryDirectory()  # goes at the end of the process
        log = Path(folder.name, "worst.log")
        options = write_worst(name, log, float(share))
    elif args.child_distinct:
        log = Distinct(args.child_distinct)
    else:
        log = Repeated(args.log, int(args.child_gigabytes * 1e9))
    start = time.perf_counter()
    scan = pipe.scan(log, only_anomalies=True, threshold=1 - 1e-12, **options)
    for _ in scan:
        pass
    seen = scan.statistics
    print(
        json.dumps(
            {
                "bytes": seen.bytes_read,
                "lines": seen.lines,
                "seconds": time.perf_counter() - start,
                "encoded_entries": seen.encoded_entries,
                "judged_sequences": seen.predicted_sequences,
                "sequences": seen.sequences,
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", nargs="?", help="a plain text log; not needed for --worst")
    parser.add_argument(
        "--gigabytes", type=float, nargs="+", default=[0.1, 10], help="sizes to scan (default: 0.1 10)"
    )
    parser.add_argument(
        "--distinct", type=int, default=1_000_000, help="distinct entries, 0 for none (default: 1000000)"
    )
    parser.add_argument("--worst", nargs="*", help="the worst logs only, a tenth of each and all of it")
    parser.add_argument("--child_worst", help=argparse.SUPPRESS)
    parser.add_argument("--child_gigabytes", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--child_distinct", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child_worst or args.child_gigabytes or args.child_distinct:
        child(args)
        return
    results = []
    runs = [[f"{size} GB", "--child_gigabytes", str(size)] for size in args.gigabytes]
    runs += [[f"{args.distinct:,} distinct entries", "--child_distinct", str(args.distinct)]] if args.distinct else []
    if args.worst is not None:
        # A single line first: what the libraries and the model take.
        names = args.worst or ["base", "letters", "words", "newlines", "stride"]
        runs = [[f"{n}, {share:.0%}", "--child_worst", f"{n}:{share}"] for n in names for share in (0.1, 1)]
    print("| log | lines | seconds | lines/s | encoded entries | predicted sequences | peak MiB |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, *options in runs:
        done = subprocess.run(
            [sys.executable, __file__, *([args.log] if args.log else []), *options],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = {"log": name} | json.loads(done.stdout.splitlines()[-1])
        results.append(row)
        print(
            f"| {name} | {row['lines']:,} | {row['seconds']:.1f} | {row['lines'] / row['seconds']:,.0f} | "
            f"{row['encoded_entries']:,} | {row['judged_sequences']:,} | {row['peak_memory_mib']:,} |",
            flush=True,
        )
    path = RESULTS if args.worst is None else RESULTS.with_name("memory_worst.json")
    path.write_text(json.dumps({"machine": describe(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
