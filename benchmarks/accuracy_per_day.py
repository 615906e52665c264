"""The promise of one false alarm a day, on healthy runs of services never seen: part `per_day`.

A step is a service and a draw of the reference: each run without faults, judged against what is healthy of earlier
runs, as `--false-alarms-per-day 1` judges it.

A recording is minutes of a busy service. A day of it has tens of thousands of windows, and no reference that was made
of minutes can promise one among them: what it keeps is one in its own windows and the judged one, and the answer says
so. That is compared here, by the day, with what was called.
"""

from typing import Any

import numpy as np
from accuracy_detectors import predict
from accuracy_store import Arrays, Kept, Key, Part, Record
from scipy.stats import chi2

from logmoe.weighing_logmoe import Against

PROMISED = 1.0
"""False alarms a day."""
DAY = 86_400.0


def keys(options: Any) -> list[Key]:
    """A step for each service and draw."""
    return [{"service": service, "draw": draw} for service in options.services for draw in range(options.draws)]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Healthy runs of one service: their windows and days, what is called, and what was promised of them."""
    recorded, pipe = bench.recorded(key["service"]), bench.pipe
    runs: list[Record] = []
    for run in recorded.twins:
        reference = recorded.reference(run, "earlier", key["draw"])
        if reference is None:
            continue
        log = recorded.prepare(run.parsed)
        evidence = predict(pipe, log, reference, "reference").evidence
        assert evidence is not None
        length = log.rule.max_sequence_length
        of_day = Against(reference, false_alarms_per_day=PROMISED).weigher(pipe.predictor, reference, length)
        is_called = (evidence.scores >= of_day.threshold) | np.isfinite(of_day.floor(evidence.inputs))
        seconds = (run.rows[-1]["time"] - run.rows[0]["time"]).total_seconds()
        runs.append(
            {"run": run.name, "windows": len(evidence.scores), "days": seconds / DAY}
            | {"called": int(is_called.sum()), "kept_rate": of_day.kept_rate}
            | {"healthy_per_day": reference.sequences_per_day(length)}
        )
    return {"runs": runs}, None


def count_interval(count: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of the mean of a Poisson count (Garwood, 1936)."""
    low = chi2.ppf((1 - level) / 2, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf((1 + level) / 2, 2 * count + 2) / 2)


def summarise(kept: Kept) -> Record:
    """A row for each service, and one for all: called a day, beside what was kept of the promise."""
    rows = []
    services = list(dict.fromkeys(key["service"] for key in kept.keys))
    for service in services:
        records = [kept.records[place] for place in kept.places(service=service)]
        rows += row_of(service, [record["runs"] for record in records])
    return {"rows": rows + row_of("all", [record["runs"] for record in kept.records], len(services))}


def row_of(name: str, steps: list[list[Record]], services: int = 1) -> list[Record]:
    """The row of some steps; none if no run of them was judged.

    Args:
        steps: the runs of each.
        services: how many; the steps of each are its draws, which share their runs and count as one.
    """
    runs = [run for step in steps for run in step]
    days = sum(run["days"] for run in runs)
    if not days:
        return []
    draws = len(steps) / services
    called = sum(run["called"] for run in runs)
    low, high = count_interval(round(called / draws))
    rates = [run["kept_rate"] for run in runs if run["kept_rate"] is not None]
    return [
        {
            "service": name,
            "promised": PROMISED,
            "kept_rate": float(np.mean(rates)) if rates else None,
            "kept": sum((run["kept_rate"] or 0.0) * run["windows"] for run in runs) / days,
            "days": days / draws,
            "windows": sum(run["windows"] for run in runs) / draws,
            "called": called / draws,
            "realised": called / days,
            "interval": [low * draws / days, high * draws / days],
        }
    ]


PARTS = (
    Part(
        "per_day", keys, measure, summarise, ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_per_day.py")
    ),
)
