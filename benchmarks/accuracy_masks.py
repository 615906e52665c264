"""What masks are for: parts `masks` and `unmasked`.

Logs are read with all masks, with those of times alone, and without any. `masks` counts distinct entries and
templates of the training services. `unmasked` judges the runs that test of the services that the model has never seen,
by earlier healthy stretches and by themselves; the network is the same, and learned from masked text.
"""

import copy
from typing import Any

import numpy as np
from accuracy_detectors import LOGMOE, score
from accuracy_metrics import of_calls, of_scores
from accuracy_recordings import Recorded
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe import LogMoEProcessor, LogParser
from logmoe.masks_logmoe import MASKS
from logmoe.templates_logmoe import learn_templates
from logmoe.training.episodes import training_services
from recordings.corpus import SERVICES, SPLITS
from recordings.windows import read_runs

READINGS: dict[str, list[dict[str, str]] | None] = {
    "all": None,
    "times": [mask for mask in MASKS if "<TIME>" in mask["replacement"]],
    "none": [],
}
"""Masks by name; None stands for the published ones."""
KINDS = ("earlier", "self")


def keys(options: Any) -> list[Key]:
    """A step for each training service."""
    return [{"service": name} for name in training_services(SERVICES)]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Distinct entries and templates of a service."""
    record: Record = {}
    for name, masks in READINGS.items():
        texts: dict[str, None] = {}
        record["entries"] = 0
        for run in read_runs(key["service"], (*SPLITS, "twin"), parser=LogParser(masks=masks)):
            texts |= dict.fromkeys(run.parsed.distinct.to_pylist())
            record["entries"] += len(run.parsed)
        record[name] = {"distinct": len(texts), "templates": len(learn_templates(list(texts)).texts)}
    return record, None


def summarise(kept: Kept) -> Record:
    """By service."""
    return {key["service"]: record for key, record in zip(kept.keys, kept.records, strict=True)}


def unmasked_keys(options: Any) -> list[Key]:
    """A step for each service and reading."""
    return [{"service": service, "masks": name} for service in options.services for name in READINGS]


def measure_unmasked(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One service, read in one way."""
    pipe = copy.copy(bench.pipe)
    pipe.processor = LogMoEProcessor.from_pretrained(bench.options.model, masks=READINGS[key["masks"]])
    recorded = Recorded(key["service"], pipe, pipe.processor)
    rows: dict[str, list[Record]] = {kind: [] for kind in KINDS}
    for run in [run for run in recorded.faulty if run.split == "test"]:
        log = recorded.prepare(run.parsed)
        labels = recorded.truth(run, run.parsed, log.sequences).labels
        references = {"earlier": recorded.reference(run, "earlier", 0), "self": None}
        for kind, reference in references.items():
            if reference is not None or kind == "self":
                mode = "self" if kind == "self" else "reference"
                scored = score(pipe, log, reference, mode, None, rivals=(), with_thresholds=False)
                row = of_scores(labels, scored.scores[LOGMOE]) | of_calls(labels, scored.is_called)
                rows[kind].append(row | {"familiarity": scored.predicted.how.familiarity})
    return dict(rows), None


FIGURES = ("auroc", "recall", "called_normal", "familiarity")


def summarise_unmasked(kept: Kept) -> Record:
    """By masks, kind of reference and figure: the mean of the runs of each service, and that of the services."""
    result: Record = {}
    for name in READINGS:
        for kind in KINDS:
            of_kind = result.setdefault(name, {})[kind] = {figure: {} for figure in FIGURES}
            for place in kept.places(masks=name):
                for figure, by_service in of_kind.items():
                    known = [row[figure] for row in kept.records[place][kind] if row[figure] is not None]
                    by_service[kept.keys[place]["service"]] = float(np.mean(known)) if known else None
            for by_service in of_kind.values():
                known = [value for value in by_service.values() if value is not None]
                by_service["mean"] = float(np.mean(known)) if known else None
    return result


PARTS = (
    Part("masks", keys, measure, summarise, ("accuracy_masks.py",)),
    Part(
        "unmasked",
        unmasked_keys,
        measure_unmasked,
        summarise_unmasked,
        ("accuracy_masks.py", "accuracy_recordings.py", "accuracy_detectors.py"),
    ),
)
