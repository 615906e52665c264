"""What does accepting a finding leave out: the same trouble elsewhere, other trouble, faults?

    python benchmarks/accepting.py [--services redis nginx …]

Judges three recordings of each service, those with the settings of its run without faults, against that run, and
accepts each finding alone. What a finding tells of is known from the recordings: which faults caused the lines at
which its entries are most telling, first or last. A false alarm holds no line of a fault from its first line to its
last, and was not written while a fault was on that shows by order or silence; a finding that is neither is left aside.
Writes `results/accepting.json`.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from machine import describe
from transformers import pipeline
from transformers.utils import logging

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the recordings are no part of the installed package

import logmoe  # noqa: E402, F401  registers the pipeline
from logmoe.accepting_logmoe import Accepted  # noqa: E402
from logmoe.findings_logmoe import Finding  # noqa: E402
from recordings import corpus  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "accepting.json"
FALSE_ALARM_RATE = 0.05
RECORDINGS = 3


@dataclass(frozen=True)
class Told:
    """A finding, and what it tells of.

    Attributes:
        faults: the kinds that caused its lines; empty for a false alarm.
    """

    recording: str
    finding: Finding
    accepted: Accepted
    faults: frozenset[str]

    def is_left_out_by(self, other: "Told") -> bool:
        """Whether this finding is left out once the other was accepted."""
        return other.accepted.covers(self.finding)

    def has_entries_of(self, other: "Told") -> bool:
        """The same by the entries alone."""
        return replace(other.accepted, id=self.finding.id).covers(self.finding)


def findings_of(pipe: object, service: str) -> Iterator[Told]:
    """The findings of the recordings of a service; those that are neither of a fault nor false alarms are left out."""
    twin = corpus.read_lines([service], ["twin"]).to_pylist()
    settings = twin[0]["recording"].removesuffix("-twin").rsplit("-", 1)[0]
    reference = pipe.fit("".join(f"{row['line']}\n" for row in twin))
    rows = corpus.read_lines([service]).to_pylist()
    runs = [run for run in corpus.runs_in(rows) if run[0]["recording"].rsplit("-", 1)[0] == settings]
    intervals = corpus.read_intervals([service]).to_pylist()
    for run in runs[-RECORDINGS:]:
        name = run[0]["recording"]
        spans = corpus.unseen_spans(intervals, name)
        log = "".join(f"{row['line']}\n" for row in run).encode()
        for finding in pipe.findings(log, reference=reference, false_alarm_rate=FALSE_ALARM_RATE):
            lines = {line for entry in finding.entries for line in (entry.line, entry.first_line, entry.last_line)}
            faults = frozenset(run[line - 1]["fault"] for line in lines) - {None}
            if faults or not corpus.is_anomalous(run[finding.first_line - 1 : finding.last_line], spans):
                yield Told(name, finding, Accepted.of({"type": "finding"} | finding.to_dict()), faults)


def measure(told: Sequence[Told]) -> Counter[str]:
    """Counts, over the findings of one service."""
    seen: Counter[str] = Counter()
    of_faults = [one for one in told if one.faults]
    found: dict[tuple[str, str], list[Told]] = {}
    for one in of_faults:
        for fault in one.faults:
            found.setdefault((one.recording, fault), []).append(one)
    for one in told:
        kind = "of_a_fault" if one.faults else "false_alarms"
        seen[kind] += 1
        for (_, fault), tell in found.items():
            if fault not in one.faults:
                seen[f"{kind}:faults"] += 1
                seen[f"{kind}:faults_hidden"] += all(other.is_left_out_by(one) for other in tell)
    for one in of_faults:
        for other in of_faults:
            if one.recording != other.recording:
                kind = "same" if one.faults & other.faults else "different"
                seen[f"{kind}:pairs"] += 1
                seen[f"{kind}:left_out"] += other.is_left_out_by(one)
                seen[f"{kind}:by_id_alone"] += other.finding.id == one.finding.id
                seen[f"{kind}:by_entries_alone"] += other.has_entries_of(one)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--services", nargs="+", default=list(corpus.SERVICES), metavar="NAME")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    corpus.check_services(args.services)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pipe = pipeline("log-anomaly", model=str(ROOT / "checkpoints" / "logmoe-mini"), device="cpu")
    services = {}
    for service in args.services:
        services[service] = measure(list(findings_of(pipe, service)))
        print(service, dict(services[service]), flush=True)
    seen: Counter[str] = Counter()
    for counts in services.values():
        seen.update(counts)
    output = {
        "machine": describe(),
        "false_alarm_rate": FALSE_ALARM_RATE,
        "recordings": RECORDINGS,
        "all": dict(seen),
        "services": {service: dict(counts) for service, counts in services.items()},
    }
    args.output.write_text(json.dumps(output, indent=2) + "\n")
    print(
        "\n| accepted, each alone | | other kinds of faults, of each recording | of these hidden |\n|---|---|---|---|"
    )
    for kind, what in (("false_alarms", "false alarms"), ("of_a_fault", "findings of a fault")):
        print(f"| {what} | {seen[kind]:,} | {seen[f'{kind}:faults']:,} | {seen[f'{kind}:faults_hidden']:,} |")
    print("\n| findings of two recordings, of | pairs | left out | by the id alone | by the entries alone |")
    print("|---|---|---|---|---|")
    for kind, what in (("same", "one kind of fault"), ("different", "different kinds")):
        cells = (seen[f"{kind}:{name}"] for name in ("pairs", "left_out", "by_id_alone", "by_entries_alone"))
        print(f"| {what} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
