"""How much healthy log is enough, how old may it be, how dirty? Part `amount`.

LogMoE alone, on the runs that test of the services that it has never seen. *How much*: the first lines of what is
healthy of the earlier runs and the healthy run together, 100 to all of it. *How old*: the later runs by the earliest
run with the same settings, by the latest before it, and by the healthy run of its own load. *How dirty*: 0 to 5% of
the entries of an earlier reference are what faults caused.
"""

from typing import Any

import numpy as np
from accuracy_detectors import predict
from accuracy_metrics import mean_and_spread, of_calls, of_scores
from accuracy_recordings import Recorded, settings_of
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe.reference_logmoe import LogReference
from recordings.windows import ParsedRun

SIZES = (100, 300, 1_000, 3_000, 100_000)
"""Entries of a reference, at most."""
DIRT = (0.0, 0.005, 0.01, 0.02, 0.05)
AGES = ("earliest", "latest", "twin")


def keys(options: Any) -> list[Key]:
    """A step for each service, question and draw."""
    return [
        {"service": service, "question": question, "draw": draw}
        for service in options.services
        for question in ("size", "age", "dirt")
        for draw in range(options.draws)
    ]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One service, one question, one draw."""
    recorded: Recorded = bench.recorded(key["service"])
    references = {"size": by_size, "age": by_age, "dirt": by_dirt}[key["question"]]
    rows: list[Record] = []
    for run in [run for run in recorded.faulty if run.split == "test"]:
        for value, reference in references(recorded, run, key["draw"]):
            rows.append({"value": value, "entries": len(reference)} | judge(bench, recorded, run, reference))
    return {"rows": rows}, None


def judge(bench: Any, recorded: Recorded, run: ParsedRun, reference: LogReference) -> Record:
    """What LogMoE makes of a run."""
    log = recorded.prepare(run.parsed)
    predicted = predict(bench.pipe, log, reference, "reference")
    truth = recorded.truth(run, run.parsed, log.sequences)
    margins = predicted.evidence.margins
    record = of_scores(truth.labels, margins) | of_calls(truth.labels, margins >= 0)
    return record | {"kept_rate": predicted.how.kept_rate, "familiarity": predicted.how.familiarity}


def healthy_parts(recorded: Recorded, others: list[ParsedRun], draw: int) -> list[np.ndarray]:
    """Which entries of some runs are healthy; all but the first draw begin elsewhere in each of them."""
    masks = [recorded.is_healthy(other) for other in others]
    if draw:
        generator = np.random.default_rng(draw)
        for mask in masks:
            mask[: int(generator.integers(0, len(mask) // 4))] = False
    return masks


def by_size(recorded: Recorded, run: ParsedRun, draw: int) -> list[tuple[float, LogReference]]:
    """References of the first so many entries, most recent run first."""
    others = recorded.others(run, "both")[::-1]
    if not others:
        return []
    found, before = [], -1
    for size in SIZES:
        masks, left = healthy_parts(recorded, others, draw), size
        for mask in masks:
            mask &= mask.cumsum() <= left
            left -= int(mask.sum())
        number = sum(int(mask.sum()) for mask in masks)
        if number > before:  # no more than there are
            found.append((float(size), recorded.fit_parts(others, masks)))
        before = number
    return found


def by_age(recorded: Recorded, run: ParsedRun, draw: int) -> list[tuple[float, LogReference]]:
    """References of one run each; the value is a place in `AGES`."""
    same = [other for other in recorded.runs if other is not run and settings_of(other) == settings_of(run)]
    earlier = [other for other in same if other.split in ("train", "validation")]
    chosen = {0: earlier[:1], 1: earlier[-1:] if len(earlier) > 1 else [], 2: [o for o in same if o.split == "twin"]}
    return [
        (float(age), recorded.fit_parts(others, healthy_parts(recorded, others, draw)))
        for age, others in chosen.items()
        if others
    ]


def by_dirt(recorded: Recorded, run: ParsedRun, draw: int) -> list[tuple[float, LogReference]]:
    """References with dirt."""
    others = recorded.others(run, "earlier")
    fitted = [(dirt, recorded.fit(others, "earlier", draw, dirt)) for dirt in DIRT] if others else []
    return [(dirt, reference) for dirt, reference in fitted if reference is not None]


FIGURES = ("auroc", "average_precision", "f1", "recall", "called_normal", "mcc", "entries", "kept_rate", "familiarity")


def summarise(kept: Kept) -> Record:
    """By question and value: means over services, and their spread over draws."""
    result: Record = {}
    services = sorted({key["service"] for key in kept.keys})
    draws = sorted({key["draw"] for key in kept.keys})
    for question in dict.fromkeys(key["question"] for key in kept.keys):
        tables: dict[float, dict[str, np.ndarray]] = {}
        for place in kept.places(question=question):
            where = services.index(kept.keys[place]["service"]), draws.index(kept.keys[place]["draw"])
            for value in {row["value"] for row in kept.records[place]["rows"]}:
                rows = [row for row in kept.records[place]["rows"] if row["value"] == value]
                for name in FIGURES:
                    empty = np.full((len(services), len(draws)), np.nan)
                    table = tables.setdefault(value, {}).setdefault(name, empty)
                    known = [row[name] for row in rows if row[name] is not None]
                    table[where] = np.mean(known) if known else np.nan
        result[question] = [
            {"value": AGES[int(value)] if question == "age" else value}
            | {name: mean_and_spread(table) for name, table in of_value.items()}
            | {"services": int((~np.isnan(of_value["auroc"])).any(axis=1).sum())}
            for value, of_value in sorted(tables.items())
        ]
    return result


PARTS = (
    Part(
        "amount",
        keys,
        measure,
        summarise,
        ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_amount.py"),
    ),
)
