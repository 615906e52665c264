"""Errors to be read by eye: of each service the worst misses and the worst false alarms. Part `errors`.

A miss is a fault, judged against earlier stretches, none of whose windows is called at 1% promised; shown is what it
wrote, or, if it wrote nothing, what was written meanwhile. A false alarm is a window that is called, holds no line
that a fault caused and was not written during one. Each is put into a kind by rule, and `NEEDS` says what a kind would
need."""

from typing import Any

import numpy as np
from accuracy_recordings import SETTLING, Recorded
from accuracy_store import Arrays, Kept, Key, Part, Record

from recordings.windows import ParsedRun

WORST = 10
LONGEST = 160
"""Characters of a line that are shown."""
NEEDS = {
    "silence": "a longer memory of what should have come; the window itself holds nothing odd",
    "order": "the number of ordinary lines in relation to the load",
    "few lines": "one or two lines among thirty: a score by entry that can call a window alone",
    "known lines": "lines that healthy clients cause too: who causes them, and how often",
    "new lines": "a lower threshold: what it wrote is new, and ranked just below it",
    "after a fault": "nothing: what a restart or a reconnecting client writes; a person would want to see it once",
    "before a fault": "nothing to be had: an ordinary stretch near a fault",
    "new in health": "more healthy log: the reference lacks what this stretch says",
    "ordinary load": "a wider scale of counts: more of the same than in the healthy log",
}


def keys(options: Any) -> list[Key]:
    """A step for each service."""
    return [{"service": service} for service in options.services]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """The worst errors of a service, from the first draw."""
    recorded: Recorded = bench.recorded(key["service"])
    kept = bench.kept("recordings")
    places = kept.places(service=key["service"], reference="earlier", draw=0)
    if not places or kept.records[places[0]].get("nothing"):
        return {"misses": [], "false_alarms": [], "kinds": {}}, None
    record, arrays = kept.records[places[0]], kept.arrays(places[0])
    runs = {run.name: run for run in recorded.runs}
    margin, is_called = arrays["score/LogMoE"], arrays["is_called"]
    new = arrays["score/new template"]
    misses = []
    for fault in record["faults"]:
        windows = np.array(fault["windows"])
        if not is_called[windows].any():
            best = int(windows[margin[windows].argmax()])
            run = runs[fault["run"]]
            row = {"run": fault["run"], "fault": fault["fault"], "margin": float(margin[best])}
            misses.append(
                row | {"kind": kind_of_miss(fault, arrays, windows, new), "line": line_of(run, arrays, best)}
            )
    alarms = []
    names = record["runs"]
    for place in np.flatnonzero(is_called & (arrays["label"] == 0)).tolist():
        run = runs[names[arrays["run"][place]]]
        first, last = int(arrays["first_line"][place]), int(arrays["last_line"][place])
        row = {"run": run.name, "lines": [first, last], "margin": float(margin[place])}
        kind = kind_of_alarm(recorded, run, first, last, bool(new[place] > 0))
        alarms.append(row | {"kind": kind, "line": run.rows[first - 1]["line"][:LONGEST]})
    kinds = {
        "misses": count(row["kind"] for row in misses),
        "false_alarms": count(row["kind"] for row in alarms),
    }
    misses.sort(key=lambda row: row["margin"])
    alarms.sort(key=lambda row: -row["margin"])
    return {"misses": misses[:WORST], "false_alarms": alarms[:WORST], "kinds": kinds}, None


def kind_of_miss(fault: Record, arrays: Arrays, windows: np.ndarray, new: np.ndarray) -> str:
    """Why a fault is hard to see."""
    if fault["visible"] in ("silence", "order"):
        return str(fault["visible"])
    lines = float((arrays["caused_share"][windows] * arrays["entries"][windows]).sum())
    if not (new[windows] > 0).any():
        return "known lines"
    return "few lines" if lines <= 2 else "new lines"


def kind_of_alarm(recorded: Recorded, run: ParsedRun, first: int, last: int, is_new: bool) -> str:
    """Why a healthy window looks odd."""
    start, end = run.rows[first - 1]["time"].timestamp(), run.rows[last - 1]["time"].timestamp()
    for interval in recorded.intervals_of(run):
        begun, ended = interval["start"].timestamp(), interval["end"].timestamp()
        if begun - SETTLING[0] <= end and start <= ended + 5 * SETTLING[1]:
            return "after a fault" if end >= begun else "before a fault"
    return "new in health" if is_new else "ordinary load"


def line_of(run: ParsedRun, arrays: Arrays, place: int) -> str:
    """A line of a window that a fault caused, or its first."""
    rows = run.rows[int(arrays["first_line"][place]) - 1 : int(arrays["last_line"][place])]
    line: str = next((row["line"] for row in rows if row["label"]), rows[0]["line"])
    return line[:LONGEST]


def count(kinds: Any) -> dict[str, int]:
    """How often each kind occurs, most frequent first."""
    counted: dict[str, int] = {}
    for kind in kinds:
        counted[kind] = counted.get(kind, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def summarise(kept: Kept) -> Record:
    """By service, and what the kinds need."""
    return {
        "services": {key["service"]: record for key, record in zip(kept.keys, kept.records, strict=True)},
        "needs": NEEDS,
    }


PARTS = (
    Part(
        "errors",
        keys,
        measure,
        summarise,
        ("accuracy_recordings.py", "accuracy_errors.py"),
        ("recordings",),
    ),
)
