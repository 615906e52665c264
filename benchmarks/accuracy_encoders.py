"""How deep an encoder must be. Part `encoders`, on the training services.

Each depth of MiniLM embeds the templates, its own distances make the features, and networks are trained anew: each
service is scored by one that learned from the other half of the services alone.
"""

import itertools
import time
from typing import Any

import numpy as np
import torch
from accuracy_detectors import FEATURE
from accuracy_metrics import mean_and_spread
from accuracy_retrained import MEASURED, mean_auroc
from accuracy_store import Arrays, Kept, Key, Part, Record, digest_of

from logmoe.templates_logmoe import readable
from logmoe.training import general
from logmoe.training.episodes import read_service, training_services
from recordings.corpus import SERVICES

LAYERS = (6, 3, 2, 0)
"""Without any there are token embeddings alone."""
SEEDS = (0, 1, 2)
GROUPS = 2
"""Half of the services are left out at a time, which takes half as long as a quarter."""
TIMED_TEMPLATES = 2000
NAMES = training_services(SERVICES)
PARTS_OF = ("whole", "stack", "terms", "distance")
"""What is measured of each: the learned score, what it is made of, and the distance to the nearest healthy entry."""


def keys(options: Any) -> list[Key]:
    """A step for each depth and seed; none without an encoder."""
    if options.encoder is None:
        return []
    weights = digest_of([options.encoder / "model.safetensors"])
    same = {"encoder": weights, "steps": options.steps}
    return [{"layers": layers, "seed": seed} | same for seed in SEEDS for layers in LAYERS]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One depth: speed, what distances alone tell, and what networks make of them."""
    options = bench.options

    def new() -> Any:
        torch.manual_seed(key["seed"])
        return general.new_model(options.encoder, key["layers"])

    model, processor = new()
    if (depth := model.config.encoder_config.num_hidden_layers) != key["layers"]:
        raise ValueError(f"--encoder {options.encoder} has {depth} layers, and {key['layers']} are needed.")
    model.eval()
    episodes, embeddings = general.measure(NAMES, model, processor, key["seed"])
    every = (readable(template) for name in NAMES for template in read_service(name).templates)
    templates = list(itertools.islice(every, TIMED_TEMPLATES))  # without reading more services again
    begun = time.process_time()
    general.encode(model, processor, templates)
    spent = time.process_time() - begun
    begun = time.process_time()
    recipe = general.Recipe(steps=options.steps)
    scores = general.leave_groups_out(lambda: new()[0], episodes, embeddings, None, recipe, key["seed"], GROUPS)
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
    """By depth: of each figure the mean and its spread over seeds; speed is the first seed's."""
    result: Record = {}
    for layers in LAYERS:
        records = [kept.records[place] for place in kept.places(layers=layers)]
        if records:
            facts = {"seeds": len(records), "entries_per_second": records[0]["entries_per_second"]}
            result[str(layers)] = facts | {
                part: {
                    kind: mean_and_spread(np.array([[record[part][kind] for record in records]])) for kind in MEASURED
                }
                for part in PARTS_OF
            }
    return result


TRAINING = ("../training/general.py", "../training/episodes.py")
PARTS = (Part("encoders", keys, measure, summarise, ("accuracy_encoders.py", "accuracy_retrained.py", *TRAINING)),)
