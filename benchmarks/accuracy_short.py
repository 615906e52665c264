"""How often healthy logs are called, however short they are: part `short`.

A step is a service and a number of entries: parts of its healthy runs, each judged as a log of its own against what is
healthy of earlier runs, at 1% promised.
"""

from typing import Any

import numpy as np
from accuracy_detectors import predict
from accuracy_store import Arrays, Kept, Key, Part, Record

LENGTHS, LOGS_OF_EACH = (1, 8, 32, 33, 64), 100
"""Entries of the logs, and how many of each length a healthy run gives, at most."""


def keys(options: Any) -> list[Key]:
    """A step for each service and length."""
    return [{"service": service, "entries": length} for service in options.services for length in LENGTHS]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Logs and sequences of one service, and how many of them are called."""
    recorded, length = bench.recorded(key["service"]), key["entries"]
    record = dict.fromkeys(("logs", "called_logs", "sequences", "called"), 0)
    for run in recorded.twins:
        reference = recorded.reference(run, "earlier", 0)
        if reference is None:
            continue
        number = min(LOGS_OF_EACH, len(run.parsed) // length)
        for start in np.linspace(0, len(run.parsed) - length, number).astype(int).tolist():
            log = recorded.prepare(run.parsed.take(np.arange(start, start + length)))
            evidence = predict(bench.pipe, log, reference, "reference").evidence
            assert evidence is not None
            is_called = evidence.margins >= 0
            record["logs"] += 1
            record["called_logs"] += int(is_called.any())
            record["sequences"] += len(is_called)
            record["called"] += int(is_called.sum())
    return record, None


def summarise(kept: Kept) -> Record:
    """Shares that are called, by length: of all services together, and of each one's logs."""
    rows = []
    for length in sorted({key["entries"] for key in kept.keys}):
        of = {kept.keys[place]["service"]: kept.records[place] for place in kept.places(entries=length)}
        of = {service: record for service, record in of.items() if record["logs"]}
        if of:
            whole = {name: sum(record[name] for record in of.values()) for name in next(iter(of.values()))}
            rows.append(
                {"entries": length, "logs": whole["logs"], "called": whole["called"] / whole["sequences"]}
                | {"called_logs": whole["called_logs"] / whole["logs"]}
                | {"services": {service: record["called_logs"] / record["logs"] for service, record in of.items()}}
            )
    return {"rows": rows}


PARTS = (
    Part("short", keys, measure, summarise, ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_short.py")),
)
