"""Record one run of a service as labelled log lines, or merge recordings into one file."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from recordings import harness

SERVICES = ("postgresql",)

HELP = {
    "output": "where the lines go; the intervals go beside it, into FILE_intervals.parquet",
    "seed": "decides load, faults and their order; timing still varies from run to run",
    "settings": "style and detail of the log (postgresql: debian, host, terse; default: debian)",
    "split": "which part of the data the run belongs to (default: train)",
    "no-faults": "record the healthy twin: the same load and plan, each fault replaced by a pause",
    "merge": "record nothing; put these recordings, in this order, into the output",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recordings.record",
        description="Record one run of a real service under ordinary load and injected faults, labelled line by line. "
        "Needs root and the packages of recordings/install.sh. Everything happens in namespaces of its own, on their "
        "loopback, and nothing is left behind.",
        epilog="example: python -m recordings.record postgresql --seed 1 --settings debian --output run.parquet",
    )
    add = parser.add_argument
    add("service", nargs="?", choices=SERVICES, help="the service to run")
    add("--output", required=True, type=Path, metavar="FILE.parquet", help=HELP["output"])
    add("--seed", type=int, metavar="N", help=HELP["seed"])
    add("--settings", default="debian", metavar="NAME", help=HELP["settings"])
    add("--duration", type=float, default=120.0, metavar="S", help="seconds to record after set-up (default: 120)")
    add("--recording", metavar="NAME", help="name of the run in the file (default: SERVICE-SETTINGS-SEED)")
    add("--split", choices=("train", "validation", "test"), default="train", help=HELP["split"])
    add("--no-faults", action="store_true", help=HELP["no-faults"])
    add("--merge", nargs="+", type=Path, metavar="FILE.parquet", help=HELP["merge"])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.output.absolute().parent.is_dir():
        parser.error(f"--output: the folder {options.output.absolute().parent} does not exist")
    if options.merge:
        if options.service or options.seed is not None:
            parser.error("--merge records nothing: leave out the service and --seed")
        for path in options.merge:
            if not path.is_file() or not harness.intervals_path(path).is_file():
                parser.error(f"--merge: {path} or {harness.intervals_path(path)} is missing")
        harness.merge(options.merge, options.output)
        return 0
    if options.service is None or options.seed is None:
        parser.error("name a service and a --seed, or use --merge")
    if options.duration <= 0:
        parser.error(f"--duration: {options.duration} s is not a time to record in")
    service = importlib.import_module(f"recordings.{options.service}")
    if options.settings not in service.SETTINGS:
        parser.error(f"--settings: {options.settings!r} is none of {', '.join(service.SETTINGS)}")

    try:
        status = harness.run_in_namespace(arguments, service.PRIVATE_FOLDER)
    except PermissionError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    if status is not None:
        return status
    recording = service.record(
        seed=options.seed,
        settings_name=options.settings,
        duration=options.duration,
        faults=not options.no_faults,
        name=options.recording or f"{options.service}-{options.settings}-{options.seed}",
        split=options.split,
    )
    lines, intervals = recording.lines_table(), recording.intervals_table()
    harness.write_tables(lines, intervals, options.output)
    anomalous = sum(lines["label"].to_pylist())
    print(f"{recording.name}: {lines.num_rows} lines, {anomalous} anomalous, {intervals.num_rows} faults")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
