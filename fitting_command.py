"""Healthy logs in, a reference out: `logmoe fit` saves what `--baseline` would learn from them each time.

Holds also how both find out what they were given: a log, a folder of logs, a pattern, or a saved reference.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from logmoe import LogAnomalyPipeline
from logmoe.answering import count
from logmoe.explaining import add_reading_arguments, visible
from logmoe.reading_logmoe import find_logs
from logmoe.reference_logmoe import MAX_REFERENCE_ENTRIES, LogReference

# How logs are cut into sequences; a reference holds for logs that are cut alike.
CUTTING = ("max_sequence_length", "window_seconds", "session_pattern", "entry_pattern")


def fit(argv: Sequence[str], default_model: str, load_pipeline: Callable[..., LogAnomalyPipeline]) -> int:
    """`logmoe fit GOOD… -o REFERENCE`: learns what is healthy, and saves it."""
    parser = argparse.ArgumentParser(
        prog="logmoe fit",
        description="Learns from healthy logs what is usual, for `logmoe LOG --baseline REFERENCE`.",
        epilog="The reference holds masked text of the logs: share it as you would the logs.",
    )
    parser.add_argument(
        "logs", nargs="+", metavar="GOOD", help="healthy logs: files, folders, patterns, - ; or references, to merge"
    )
    parser.add_argument("-o", "--output", required=True, metavar="REFERENCE", help="folder to save the reference in")
    parser.add_argument("--model", default=default_model, help="checkpoint that will judge (default: built in)")
    parser.add_argument(
        "--max_reference_entries",
        type=int,
        help=f"most entries to keep; of more, every so manyth sequence (default: {MAX_REFERENCE_ENTRIES:,})",
    )
    add_cutting_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument("--device", help="as for logmoe")
    args = parser.parse_args(argv)
    try:
        refuse_to_overwrite(args.output)
        pipe = load_pipeline(args.model, device=args.device)
        reference, read = learn(
            pipe, args.logs, args.encoding, max_reference_entries=args.max_reference_entries, **cutting(args)
        )
        reference.save_pretrained(args.output)
        print(f"{visible(args.output)}: {told(reference, read)}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    return 0


def add_cutting_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max_sequence_length", type=int, help="entries per sequence")
    parser.add_argument("--window_seconds", type=float, help="cut windows by time instead of by count")
    parser.add_argument("--session_pattern", help="gather sessions by the identifier that this RE2 pattern matches")


def cutting(args: argparse.Namespace) -> dict[str, Any]:
    """Those of the arguments that say how logs are cut."""
    return {name: getattr(args, name) for name in CUTTING if getattr(args, name) is not None}


def learn(
    pipe: LogAnomalyPipeline,
    given: Sequence[str],
    encoding: str | None,
    max_reference_entries: int | None = None,
    **overrides: Any,
) -> tuple[LogReference, dict[str, int]]:
    """Makes one reference of healthy logs and saved references.

    Args:
        pipe: what will judge against it.
        given: paths of logs, folders of logs, patterns, `"-"`, and folders of references.
        encoding: of the logs.
        max_reference_entries: see [`LogAnomalyPipeline.fit`]; by default its own, or that of the largest reference.
        overrides: how logs are cut.

    Returns:
        The reference, and how many logs and references were read.

    Raises:
        FileNotFoundError: there is no log.
        EmptyLogError: a log is empty.
        ValueError: a reference belongs to another checkpoint, or as `pipe.fit`.
    """
    healthy: list[Any] = []
    read = {"log": 0, "reference": 0}
    for path in given:
        if is_reference(path):
            healthy.append(LogReference.from_pretrained(path))
            read["reference"] += 1
            continue
        found = find_logs(path)
        healthy += found
        read["log"] += len(found)
    if [type(log) for log in healthy] == [LogReference] and max_reference_entries is None:
        return healthy[0], read  # whether it fits is checked where it is used
    if max_reference_entries is None:
        bounds = [log.max_reference_entries for log in healthy if isinstance(log, LogReference)]
        max_reference_entries = max([MAX_REFERENCE_ENTRIES, *bounds])
    reference = pipe.fit(*healthy, encoding=encoding, max_reference_entries=max_reference_entries, **overrides)
    return reference, read


def is_reference(path: str) -> bool:
    """Whether a saved reference lies there."""
    return os.path.isfile(os.path.join(path, "reference.json"))


def refuse_to_overwrite(folder: str) -> None:
    """Refuses to save a reference where something else lies.

    Raises:
        FileExistsError: there is a file, or a folder with other things in it.
    """
    path = Path(folder)
    if path.is_file() or (path.is_dir() and not is_reference(folder) and any(path.iterdir())):
        what = "a file" if path.is_file() else "a folder that holds no reference"
        raise FileExistsError(f"{folder} is {what}: name a new folder, or one with a reference, which is replaced")


def told(reference: LogReference, read: dict[str, int]) -> str:
    """What was read, kept and dropped, in words."""
    sources = [count(read[kind], kind) for kind in ("log", "reference") if read[kind]]
    kept = f"{len(reference):,} kept" if len(reference) < reference.num_entries else "all kept"
    texts = f"{count(len(reference.texts), 'distinct text')}, {count(len(reference.templates.texts), 'template')}"
    dropped = reference.num_entries - len(reference)
    parts = [f"{count(reference.num_entries, 'healthy entry')} from {' and '.join(sources)}; {kept}; {texts}"]
    if dropped:
        parts.append(f"dropped {dropped:,}, evenly over the logs (--max_reference_entries)")
    if reference.num_dropped_texts:
        parts.append(f"{reference.num_dropped_texts:,} of them with a text that is not known at all")
    return "; ".join(parts)
