"""How deep an encoder must be, and what masks are for: parts `encoders` and `masks`, on the training services.

Each depth of MiniLM embeds the templates, its own distances make the features, and networks are trained anew: each
service is scored by one that learned from the other half of the services alone. Without masks hardly an entry recurs;
`masks` counts that.
"""

import time
from typing import Any

import numpy as np
from accuracy_detectors import FEATURE
from accuracy_retrained import MEASURED, mean_auroc
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe import LogParser
from logmoe.reference_logmoe import readable
from logmoe.templates_logmoe import learn_templates
from logmoe.training import general
from logmoe.training.episodes import read_service, training_services
from recordings.corpus import SERVICES, SPLITS
from recordings.windows import read_runs

LAYERS = (6, 3, 2, 1, 0)
"""Without any there are token embeddings alone."""
GROUPS = 2
"""Half of the services are left out at a time, which takes half as long as a quarter."""
TIMED_TEMPLATES = 2000
NAMES = training_services(SERVICES)


def keys(options: Any) -> list[Key]:
    """A step for each depth; none without an encoder."""
    return [] if options.encoder is None else [{"layers": layers} for layers in LAYERS]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One depth: speed, what distances alone tell, and what networks make of them."""
    options = bench.options

    def new() -> Any:
        return general.new_model(options.encoder, key["layers"])

    model, processor = new()
    model.eval()
    episodes, embeddings = general.measure(NAMES, model, processor, seed=0)
    templates = [readable(template) for name in NAMES for template in read_service(name).templates][:TIMED_TEMPLATES]
    begun = time.process_time()
    general.encode(model, processor, templates)
    spent = time.process_time() - begun
    begun = time.process_time()
    recipe = general.Recipe(steps=options.steps)
    scores = general.leave_groups_out(lambda: new()[0], episodes, embeddings, None, recipe, 0, GROUPS)
    values = {
        "whole": scores.whole,
        "stack": scores.stack,
        "terms": scores.terms.sum(axis=1),
        "distance": episodes.inputs[:, FEATURE["distance_top8"]].astype(np.float64),
    }
    record: Record = {name: {kind: mean_auroc(episodes, of, kind) for kind in MEASURED} for name, of in values.items()}
    record["entries_per_second"] = len(templates) / spent
    return record | {"seconds": time.process_time() - begun}, None


def summarise(kept: Kept) -> Record:
    """By depth."""
    return {str(key["layers"]): record for key, record in zip(kept.keys, kept.records, strict=True)}


def mask_keys(options: Any) -> list[Key]:
    """A step for each service."""
    return [{"service": name} for name in NAMES]


def measure_masks(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Distinct entries and templates of a service, with masks and without."""
    record: Record = {}
    for name, masks in (("masked", None), ("unmasked", [])):
        texts: dict[str, None] = {}
        record["entries"] = 0
        for run in read_runs(key["service"], (*SPLITS, "twin"), parser=LogParser(masks=masks)):
            texts |= dict.fromkeys(run.parsed.distinct.to_pylist())
            record["entries"] += len(run.parsed)
        record[name] = {"distinct": len(texts), "templates": len(learn_templates(list(texts)).texts)}
    return record, None


def summarise_masks(kept: Kept) -> Record:
    """By service."""
    return {key["service"]: record for key, record in zip(kept.keys, kept.records, strict=True)}


TRAINING = ("../training/general.py", "../training/episodes.py")
PARTS = (
    Part("encoders", keys, measure, summarise, ("accuracy_encoders.py", "accuracy_retrained.py", *TRAINING)),
    Part("masks", mask_keys, measure_masks, summarise_masks, ("accuracy_encoders.py",)),
)
