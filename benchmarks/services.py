"""What is found in a journal of several services that are told apart, beside what is found in it as one log.

    python benchmarks/services.py

Recordings of services are put into one log, in the order of time, as a syslog daemon writes them. One service at a
time has faults, the others are healthy. The healthy log is of two earlier recordings with the same settings, put
together likewise, without what faults caused. Two rows for each group of services: each judged for itself, as it is
done, and all as one log.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from throughput import MINI, RESULTS

from logmoe.applying_logmoe import PreparedLog
from logmoe.fitting_logmoe import ReferenceFit, origin_of
from logmoe.gathering_logmoe import DetailingJudge, findings_in_memory
from logmoe.inference import load_pipeline
from logmoe.parsing_logmoe import ParsedLog
from logmoe.reference_logmoe import LogReference
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule
from logmoe.services_logmoe import ServiceCount
from recordings.corpus import TEST_ONLY, read_lines, runs_in

GROUPS = {
    "MariaDB, nginx, RabbitMQ, Postfix": ("mariadb", "nginx", "rabbitmq", "postfix"),
    "Redis, HAProxy, OpenSSH, Squid": ("redis", "haproxy", "openssh", "squid"),
    "etcd, Tomcat, PostgreSQL": ("etcd", "tomcat", "postgresql"),
    "never seen: " + ", ".join(TEST_ONLY): tuple(TEST_ONLY),
}
BEGIN = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
# Seconds without an entry that a fault caused, after which those that follow are of another.
APART = 5.0

Run = list[dict[str, Any]]


def runs_of(service: str, split: str) -> list[Run]:
    """The recordings of a service in a split."""
    return list(runs_in(read_lines([service], [split]).to_pylist()))


def together(runs: dict[str, Run]) -> Run:
    """Recordings of services as one log: rows in the order of time, from the beginning of each recording."""
    rows = [
        row | {"service": service, "second": (row["time"] - run[0]["time"]).total_seconds()}
        for service, run in runs.items()
        for row in run
    ]
    return sorted(rows, key=lambda row: float(row["second"]))


def as_syslog(rows: Run) -> str:
    """The text of a log, each line after the time and the program that wrote it."""
    lines = []
    for row in rows:
        time = (BEGIN + datetime.timedelta(seconds=row["second"])).isoformat(timespec="microseconds")
        lines.append(f"{time} host {row['service']}[77]: {row['line']}\n")
    return "".join(lines)


def parsed(pipe: Any, rows: Run, is_apart: bool) -> ParsedLog:
    """The entries of a log, at the times of the journal: those in the lines are of the days of their recordings."""
    log = pipe.processor.parse(as_syslog(rows))
    log.number = np.arange(len(log))
    log.seconds = np.array([row["second"] for row in rows])[log.first_line - 1]
    log.program = log.program if is_apart else None
    return log


def fit(pipe: Any, logs: list[ParsedLog], rule: SequenceRule) -> LogReference:
    """The reference of healthy logs."""
    count = ServiceCount()
    for log in logs:
        count.add(log)
    origin = origin_of(pipe.model, pipe.processor, rule)
    learning = ReferenceFit(pipe.processor, rule, origin, services=count.services())
    for log in logs:
        learning.add_parsed(log)
    return learning.finish().encode(pipe._encode_texts)


def measure(pipe: Any, rows: Run, log: ParsedLog, rule: SequenceRule, reference: Any) -> dict[str, int]:
    """What is called in a log, and what of it is caused by faults."""
    prepared = PreparedLog(log, SequenceCutter(rule, pipe.processor).cut(log), rule)
    predicted = pipe._forward([prepared], reference=reference)[0]
    judge = DetailingJudge.of(pipe._judge(), pipe.processor)
    is_caused = np.array([bool(row["label"]) for row in rows])
    seconds = np.array([row["second"] for row in rows])
    is_called = np.zeros(len(rows), bool)
    for result in predicted.results(judge, only_anomalies=True):
        is_called[[entry["line"] - 1 for entry in result["entries"]]] = True
    caused = np.flatnonzero(is_caused)
    faults = np.split(caused, np.flatnonzero(np.diff(seconds[caused]) > APART) + 1) if len(caused) else []
    against = pipe._against(pipe.processor, rule, reference)
    return {
        "faults": len(faults),
        "found": sum(bool(is_called[fault].any()) for fault in faults),
        "normal_lines": int((~is_caused).sum()),
        "normal_called": int(is_called[~is_caused].sum()),
        "findings": len(findings_in_memory(predicted, judge, against, reference, "strength")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS / "services.json", help="where the JSON goes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipe = load_pipeline(MINI, device="cpu")
    rule = pipe._rule(pipe.processor)
    rows: list[dict[str, Any]] = []
    for group, services in GROUPS.items():
        healthy = []
        for split in ("train", "validation"):
            runs = {service: [row for row in runs_of(service, split)[0] if not row["label"]] for service in services}
            healthy.append(together(runs))
        twins = {service: runs_of(service, "twin")[0] for service in services}
        faulty = [together(twins | {service: runs_of(service, "test")[0]}) for service in services]
        quiet = together(twins)
        for judged, is_apart in (("each for itself", True), ("as one log", False)):
            fitted = fit(pipe, [parsed(pipe, log, is_apart) for log in healthy], rule)
            for mode, reference in (("reference", fitted), ("self", "self")):
                found = [measure(pipe, log, parsed(pipe, log, is_apart), rule, reference) for log in [*faulty, quiet]]
                in_quiet = found.pop()
                total = {name: sum(one[name] for one in found) for name in found[0]}
                rows.append(
                    {
                        "services": group,
                        "mode": mode,
                        "judged": judged,
                        "faults": total["faults"],
                        "found": total["found"],
                        "normal_called": total["normal_called"] / total["normal_lines"],
                        "findings": total["findings"],
                        "healthy_called": in_quiet["normal_called"] / in_quiet["normal_lines"],
                        "healthy_findings": in_quiet["findings"],
                    }
                )
                print(rows[-1], flush=True)
    args.output.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=2) + "\n")
    print(
        "\n| services | judged | | faults found | findings | normal lines called | findings, healthy | lines called |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['services']} | {row['mode']} | {row['judged']} | {row['found']} of {row['faults']} | "
            f"{row['findings']} | {row['normal_called']:.3f} | {row['healthy_findings']} | "
            f"{row['healthy_called']:.3f} |"
        )


if __name__ == "__main__":
    main()
