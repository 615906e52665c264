"""How well are logs read: how many entries are new although nothing is, and at how many lines per second?

    python benchmarks/text.py [--data FOLDER] [--show_new 20] [--against CHECKOUT] [--quick]

Reads every run of the recordings, `examples/logs/*.log` and, with `--data`, the public logs that
`benchmarks/README.md` names. A text is an entry with its variable parts masked. On a healthy log a new text is a false
alarm that masking causes: each service's healthy twin is compared with the healthy stretches of its training runs.
With `--against`, another checkout of the project reads the same logs, turn by turn in fresh processes.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from machine import describe

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the recordings are no part of the installed package

RESULTS = Path(__file__).parent / "results" / "text.json"

MOST_NEW = 0.01
"""The share of a healthy twin's entries that may be new; the table names services above it."""

SMALL_SECONDS = 2.0
"""A log that is read faster than this is read three times."""

# Name: file, column of the text, and whether each row is a log of its own instead of a line of one log.
PUBLIC = {
    "IoTDB": ("multilog_iotdb_lines.parquet", "line", False),
    "BGL": ("bgl_stream.parquet", "line", False),
    "Spirit": ("spirit_stream.parquet", "line", False),
    "HDFS": ("hdfs_2pct_raw.parquet", "log_sequence", True),
    "Hadoop": ("hadoop_containers_raw.parquet", "log_sequence", True),
    "OpenStack": ("openstack_kalaki_raw.parquet", "log_sequence", True),
    "LO2": ("lo2_raw_labelled.parquet", "log_sequence", True),
}

# A line of MySQL's or MariaDB's general log that begins a statement or another command of a connection, with the time
# or without. The reading has a rule of its own for these lines; this one only counts.
STATEMENT = r"^(?:\d{6} +\d{1,2}:\d{2}:\d{2})?\t+ *\d+ [A-Z][a-z]+(?: [A-Za-z]+)*(?:\t|$)"
GENERAL_LOG = ("mariadb", "-general-")
"""The service that writes a general log, and how its recordings are named."""

TURNS = 3
"""How often each checkout reads a log; the medians are compared."""


# ---------------------------------------------------------------------- counting


def novelty(entry_index: np.ndarray) -> dict[str, float]:
    """How many texts a log has, and how many of its entries are new.

    Args:
        entry_index: `(entries,)`, the row of each entry's text among the distinct ones.

    Returns:
        `entries`, `distinct`, `once` (the share of entries whose text no other entry has) and `later_new` (the share
        of the later half's entries whose text the earlier half never had).
    """
    half = len(entry_index) // 2
    counts = np.bincount(entry_index) if len(entry_index) else np.empty(0, dtype=np.int64)
    later = entry_index[half:]
    return {
        "entries": len(entry_index),
        "distinct": int(np.count_nonzero(counts)),
        "once": float((counts == 1).sum() / max(1, len(entry_index))),
        "later_new": float(np.count_nonzero(~np.isin(later, entry_index[:half])) / max(1, len(later))),
    }


def words(text: str) -> set[str]:
    """The words of a text, placeholders and the names that hold them among them."""
    return set(re.split(r"[\s\"'=,;:()\[\]{}|]+", text))


def new_texts(known: set[str], texts: Sequence[str], examples: Sequence[str]) -> list[dict[str, Any]]:
    """The masked texts of a log that are not among `known`.

    Args:
        known: masked texts.
        texts: the masked text of each entry.
        examples: the entries as they were written.

    Returns:
        For each new text `text`, `count`, `example` (its first entry) and `new_words` (those that no known text has;
        none if known words only meet in another way), the most frequent first.
    """
    counts = Counter(text for text in texts if text not in known)
    known_words = set().union(*map(words, known))
    first: dict[str, str] = {}
    for text, example in zip(texts, examples, strict=True):
        first.setdefault(text, example)
    return [
        {
            "text": text,
            "count": count,
            "example": first[text],
            "new_words": sorted(words(text) - known_words),
        }
        for text, count in counts.most_common()
    ]


def statements(lines: Sequence[str], first_line: np.ndarray) -> dict[str, int]:
    """How many statements a general log has, and how many of them begin an entry.

    Args:
        lines: all lines of the log.
        first_line: of each entry, from 1.
    """
    is_statement = pc.match_substring_regex(pa.array(lines, pa.large_string()), STATEMENT).to_numpy(
        zero_copy_only=False
    )
    return {
        "lines": len(lines),
        "entries": len(first_line),
        "statements": int(is_statement.sum()),
        "statements_that_begin_an_entry": int(is_statement[first_line - 1].sum()),
    }


# ---------------------------------------------------------------------- the logs


def measure(logs: Sequence[str]) -> dict[str, float]:
    """Reads logs and counts; `lines_per_second` is that of raw text to entries."""
    from logmoe import LogParser

    times: list[float] = []
    while len(times) < 3 and not (times and times[0] > SMALL_SECONDS):
        start = time.perf_counter()
        parsed, _ = LogParser().parse_batch(logs)
        times.append(time.perf_counter() - start)
    lines = sum(log.count("\n") + 1 for log in logs)
    return {
        "lines": lines,
        **novelty(parsed.entry_index),
        "lines_per_second": lines / statistics.median(times),
    }


def recorded(service: str) -> list[str]:
    """The runs of a service that are not twins."""
    from recordings.corpus import read_lines, runs_in

    rows = read_lines([service]).select(["recording", "line"]).to_pylist()
    return ["\n".join(row["line"] for row in run) for run in runs_in(rows)]


def public(data: Path, name: str, most_lines: int) -> list[str] | None:
    """The logs of a public data set, at most so many lines of them; None if its file is missing."""
    file, column, is_session = PUBLIC[name]
    path = data / file
    if not path.exists():
        return None
    logs, left = [], most_lines
    for batch in pq.ParquetFile(path).iter_batches(columns=[column]):
        for text in batch.column(0).to_pylist():
            logs.append(text)
            left -= text.count("\n") + 1
            if left <= 0:
                break
        if left <= 0:
            break
    return logs if is_session else ["\n".join(logs)]


def all_logs(data: Path | None, most_lines: int, services: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Every log with its name."""
    for service in services:
        yield f"recordings: {service}", recorded(service)
    for path in sorted((ROOT / "examples" / "logs").glob("*.log")):
        yield f"examples: {path.stem}", [path.read_text(encoding="utf-8").rstrip("\n")]
    for name in PUBLIC if data else ():
        logs = public(data, name, most_lines)
        if logs is None:
            print(f"{name}: skipped, there is no {PUBLIC[name][0]} in {data}", file=sys.stderr)
        else:
            yield name, logs


def measure_twin(service: str) -> dict[str, Any]:
    """The healthy twin of a service against the healthy stretches of its training runs."""
    from recordings.windows import read_runs

    known: set[str] = set()
    for run in read_runs(service, ["train"]):
        rows = np.unique(run.parsed.entry_index[run.labels == 0])
        known.update(run.parsed.distinct.take(pa.array(rows)).to_pylist())
    texts: list[str] = []
    entries: list[str] = []
    for run in read_runs(service, ["twin"]):
        texts += run.parsed.distinct.take(pa.array(run.parsed.entry_index)).to_pylist()
        entries += run.entries
    found = new_texts(known, texts, entries)
    new = sum(text["count"] for text in found)
    return {
        "entries": len(texts),
        "new_entries": new,
        "new_share": new / len(texts),
        "new_entries_of_known_words": sum(text["count"] for text in found if not text["new_words"]),
        "new_texts": found,
    }


def measure_general_log() -> dict[str, int]:
    """Statements and entries of the recorded general logs, all of them together."""
    from recordings.windows import read_runs

    service, setting = GENERAL_LOG
    total: Counter[str] = Counter()
    for run in read_runs(service, ["train", "validation", "test", "twin"]):
        if setting in run.name:
            total.update(statements([row["line"] for row in run.rows], run.parsed.first_line))
    return dict(total)


# ---------------------------------------------------------------------- two checkouts


def child(path: str) -> None:
    """Reads a file from lines to sequences with the package that Python finds; prints processor seconds."""
    from logmoe import LogParser, SequenceCutter, SequenceRule

    parser = LogParser()
    cutter = SequenceCutter(SequenceRule(32), parser)
    cutter.cut(parser.parse("INFO it works\n" * 64))  # what is done once is not counted
    data = Path(path).read_bytes()
    start = time.process_time()
    parsed = parser.parse(data)
    sequences = cutter.cut(parsed)
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "entries": len(parsed), "sequences": len(sequences)}))


def compare(checkouts: dict[str, Path], logs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Lines per processor second, from raw lines to sequences of distinct entries, of each checkout on each log.

    Args:
        checkouts: name and folder.
        logs: name and text.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, checkout in checkouts.items():
            Path(folder, name).mkdir()
            Path(folder, name, "logmoe").symlink_to(checkout.resolve(), target_is_directory=True)
        for log, text in logs:
            path = Path(folder, "log")
            path.write_text(text, encoding="utf-8")
            runs: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
            for _ in range(TURNS):
                for name in checkouts:
                    command = [sys.executable, __file__, "--child", str(path)]
                    environment = os.environ | {"PYTHONPATH": str(Path(folder, name))}
                    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                    runs[name].append(json.loads(output.stdout))
            lines = text.count("\n") + 1
            found[log] = {"lines": lines}
            for name, turns in runs.items():
                seconds = [turn["seconds"] for turn in turns]
                found[log][name] = {
                    "lines_per_processor_second": lines / statistics.median(seconds),
                    "processor_seconds": seconds,
                    "entries": turns[0]["entries"],
                    "sequences": turns[0]["sequences"],
                }
    return found


# ---------------------------------------------------------------------- the tables


def print_row(*cells: object) -> None:
    """Print a row of a Markdown table: integers with separators, shares in percent."""
    written = [
        f"{cell:,}" if isinstance(cell, int) else f"{cell:.2%}" if isinstance(cell, float) else str(cell)
        for cell in cells
    ]
    print(f"| {' | '.join(written)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the public logs, see benchmarks/README.md")
    parser.add_argument("--most_lines", type=int, default=400_000, help="of each public log (default: %(default)s)")
    parser.add_argument("--services", nargs="+", help="recorded services (default: all)")
    parser.add_argument("--show_new", type=int, default=0, metavar="N", help="print the N most frequent new texts")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, to compare the speed with")
    parser.add_argument("--quick", action="store_true", help="40,000 lines of each public log")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    from recordings.corpus import SERVICES, check_services

    services = args.services or SERVICES
    try:
        check_services(services)
    except ValueError as error:
        parser.error(str(error))
    most_lines = min(args.most_lines, 40_000) if args.quick else args.most_lines
    results: dict[str, Any] = {"machine": describe(), "logs": {}, "twins": {}}

    print("| log | lines | entries | distinct | seen once | new in the later half | lines/s |\n" + "|---" * 7 + "|")
    for name, logs in all_logs(args.data, most_lines, services):
        found = results["logs"][name] = measure(logs)
        figures = [found[key] for key in ("lines", "entries", "distinct", "once", "later_new")]
        print_row(name, *figures, round(found["lines_per_second"]))

    print("\n| healthy twin | entries | new | share | of known words | |\n" + "|---" * 6 + "|")
    for service in services:
        found = results["twins"][service] = measure_twin(service)
        verdict = f"above {MOST_NEW:.0%}" if found["new_share"] > MOST_NEW else ""
        figures = [found[key] for key in ("entries", "new_entries", "new_share", "new_entries_of_known_words")]
        print_row(service, *figures, verdict)
    for service, found in results["twins"].items():
        if args.show_new and found["new_texts"]:
            print(f"\n{service}: {len(found['new_texts'])} new texts")
            for text in found["new_texts"][: args.show_new]:
                print(f"{text['count']:6} {text['text'][:300]}\n       {text['example'][:300]!r}")
        del found["new_texts"][20:]  # enough to see in the JSON what kind they are

    if GENERAL_LOG[0] in services:
        found = results["general_log"] = measure_general_log()
        print("\n| general log | lines | entries | statements | statements that begin an entry |\n" + "|---" * 5 + "|")
        print_row(GENERAL_LOG[0], *found.values())

    if args.against:
        streams = [name for name in PUBLIC if args.data and not PUBLIC[name][2] and public(args.data, name, 1)]
        logs = ((name, "\n".join(public(args.data, name, most_lines) or [])) for name in streams)
        recordings = ("recordings", "\n".join(log for service in services for log in recorded(service)))
        found = results["speed"] = compare({"this": ROOT, "against": args.against}, [*logs, recordings])
        print("\n| raw lines to sequences | lines | this, lines/processor s | against | ratio |\n" + "|---" * 5 + "|")
        for name, figures in found.items():
            rates = [figures[which]["lines_per_processor_second"] for which in ("this", "against")]
            print_row(name, figures["lines"], *map(round, rates), rates[0] / rates[1])

    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
