"""The command `python -m recordings.record`: record runs of real services as labelled log lines.

For each service it starts itself again inside namespaces (`namespaces`), has the service record a run (`service`) and
writes the run's lines and intervals (`files`).
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from recordings.corpus import SERVICES, SPLITS, Run, check_services
from recordings.files import write_tables
from recordings.namespaces import run_in_namespace
from recordings.service import Service

HELP = {
    "service": "the services to run, one after another",
    "all": "every service",
    "output": "folder for SERVICE-SETTINGS-SEED.parquet and the intervals beside it (default: runs)",
    "seed": "decides load, faults and their order; timing still varies between runs",
    "settings": "style and detail of the log (default: each service's first)",
    "split": "the split that the run belongs to (default: train)",
    "no-faults": "record the healthy twin: the same load and plan, with a pause in place of each fault",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recordings.record",
        description="Record real services under ordinary load and injected faults, labelled line by line. Needs root "
        "in a container and the packages of recordings/install.sh. Everything happens in fresh namespaces, on "
        "their loopback; nothing is left behind.",
        epilog="example: python -m recordings.record nginx postgresql --seed 1",
    )
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE", help=f"{HELP['service']}: {', '.join(SERVICES)}")
    add("--all", action="store_true", help=HELP["all"])
    add("--seed", type=int, required=True, metavar="N", help=HELP["seed"])
    add("--output", type=Path, default=Path("runs"), metavar="FOLDER", help=HELP["output"])
    add("--settings", metavar="NAME", help=HELP["settings"])
    add("--duration", type=float, default=120.0, metavar="S", help="seconds to record after set-up (default: 120)")
    add("--split", choices=SPLITS, help=HELP["split"])
    add("--no-faults", action="store_true", help=HELP["no-faults"])
    return parser


def service_named(name: str) -> Service:
    """The `SERVICE` of a module in `recordings/services`. Raises `ModuleNotFoundError` if its driver is missing."""
    try:
        service: Service = importlib.import_module(f"recordings.services.{name}").SERVICE
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; run recordings/install.sh, which installs what the recorder needs"
        ) from error
    return service


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(argv)
    names = list(SERVICES) if options.all else options.services
    if not names or (options.all and options.services):
        parser.error("name at least one service, or pass --all alone")
    try:
        check_services(names)
    except ValueError as error:
        parser.error(str(error))
    if options.no_faults and options.split:
        parser.error("--no-faults records a twin, which belongs to no split; leave out --split")
    if options.duration <= 0:
        parser.error(f"--duration: expected more than 0 seconds, not {options.duration}")
    for name in names:
        known = service_named(name).settings
        if options.settings is not None and options.settings not in known:
            parser.error(f"--settings: {name} has {', '.join(known)}, not {options.settings!r}")
    options.output.mkdir(parents=True, exist_ok=True)

    for name in names:
        service = service_named(name)
        settings = options.settings or next(iter(service.settings))
        arguments = [name, "--seed", str(options.seed), "--settings", settings, "--duration", str(options.duration)]
        arguments += ["--output", str(options.output.absolute())]
        arguments += ["--no-faults"] if options.no_faults else ["--split", options.split or "train"]
        try:
            status = run_in_namespace(arguments, service.private_folder)
        except PermissionError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        if status is None:  # inside
            run = Run(settings, options.seed, "twin" if options.no_faults else options.split or "train")
            recording = service.record(run, options.duration)
            lines, intervals = recording.lines_table(), recording.intervals_table()
            write_tables(lines, intervals, options.output / f"{recording.name}.parquet")
            anomalous = sum(lines["label"].to_pylist())
            print(f"{recording.name}: {lines.num_rows} lines, {anomalous} anomalous, {intervals.num_rows} faults")
        elif status:
            return status
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
