"""Record the whole corpus again: `python -m recordings.build --output FOLDER [SERVICE ...]`.

Needs root, and the packages of install.sh.

Calls `record` for every run of `corpus.runs_of` and puts the runs together by split. Training runs come first, then
validation, then test. Several runs at a time on few cores make the services answer more slowly, as on any busy
machine; labels do not depend on it.
"""

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.corpus import SERVICES, SPLITS, Run, check_services, read_lines, runs_in, runs_of
from recordings.files import LINES_SCHEMA, intervals_path, write_table
from recordings.record import service_named

ORDER = (*SPLITS, "twin")
DESCRIPTION = "Record the whole corpus again. Needs root, and the packages of recordings/install.sh."
EXCERPT = 250
"""Lines of each example."""


def record(service: str, run: Run, duration: float, folder: Path) -> bool:
    """Record one run into `folder` unless it is already there, and print the outcome; return whether it succeeded."""
    path = folder / f"{run.name(service)}.parquet"
    if path.exists():
        print(f"{path.stem}: kept", flush=True)
        return True
    command = [sys.executable, "-m", "recordings.record", service, "--seed", str(run.seed), "--settings", run.settings]
    command += ["--duration", str(duration), "--output", str(folder)]
    command += ["--no-faults"] if run.split == "twin" else ["--split", run.split]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout.strip() if done.returncode == 0 else f"{path.stem} failed:\n{done.stderr[-3000:]}", flush=True)
    return done.returncode == 0


def assemble(service: str, runs: Sequence[Run], source: Path, target: Path) -> None:
    """Write the runs of a service as one file per split, and one for all intervals."""
    target.mkdir(parents=True, exist_ok=True)
    for split in ORDER:
        names = [run.name(service) for run in runs if run.split == split]
        tables = [pq.read_table(source / f"{name}.parquet", schema=LINES_SCHEMA) for name in names]
        write_table(pa.concat_tables(tables), target / f"{split}.parquet")
    names = [run.name(service) for run in runs if run.split != "twin"]
    intervals = [pq.read_table(intervals_path(source / f"{name}.parquet")) for name in names]
    write_table(pa.concat_tables(intervals), target / "intervals.parquet")


def write_excerpt(service: str, source: Path, target: Path) -> None:
    """Write `EXCERPT` lines of a test run as raw text: the stretch that shows the most kinds of faults."""
    rows = next(runs_in(read_lines([service], ["test"], source).to_pylist()))
    starts = [number for number, row in enumerate(rows[:-EXCERPT]) if row["line"][:1] not in (" ", "\t", "")]

    def variety(start: int) -> int:
        return len({row["fault"] for row in rows[start : start + EXCERPT]})

    best = max(starts[::10], key=variety, default=0)
    target.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row['line']}\n" for row in rows[best : best + EXCERPT])
    (target / f"{service}.log").write_text(text, encoding="utf-8", newline="\n")


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` of every Parquet file below `folder`, as sha256sum checks it."""
    paths = sorted(folder.glob("*/*.parquet"))
    rows = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths]
    (folder / "SHA256SUMS").write_text("".join(rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m recordings.build", description=DESCRIPTION)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="default: all")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="where the corpus goes, one folder per service"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="FOLDER",
        help="where single runs are kept and, if already there, reused (default: runs)",
    )
    parser.add_argument(
        "--excerpts", type=Path, metavar="FOLDER", help="where SERVICE.log goes, some lines of a test run"
    )
    parser.add_argument(
        "--duration", type=float, default=120.0, metavar="S", help="seconds to record per run (default: 120)"
    )
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="runs at a time (default: 4)")
    options = parser.parse_args(argv)
    services = options.services or list(SERVICES)
    try:
        check_services(services)
    except ValueError as error:
        parser.error(str(error))
    runs = {service: runs_of(service, list(service_named(service).settings)) for service in services}
    options.runs.mkdir(parents=True, exist_ok=True)
    for splits in (
        ("train",),
        ("validation",),
        ("test", "twin"),
    ):  # no test run starts before the last training run is done
        jobs = [(service, run) for service in services for run in runs[service] if run.split in splits]
        with ThreadPoolExecutor(options.parallel) as pool:
            done = list(pool.map(lambda job: record(job[0], job[1], options.duration, options.runs), jobs))
        if not all(done):
            print(f"{done.count(False)} runs failed; run the same command again to record only those", file=sys.stderr)
            return 1
    for service in services:
        assemble(service, runs[service], options.runs, options.output / service)
        if options.excerpts:
            write_excerpt(service, options.output, options.excerpts)
    write_checksums(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
