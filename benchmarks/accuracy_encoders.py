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
from accuracy_retrained import MEASURED, mean_auroc
from accuracy_store import Arrays, Kept, Key, Part, Record, digest_of

from logmoe.reference_logmoe import readable
from logmoe.training import general
from logmoe.training.episodes import read_service, training_services
from recordings.corpus import SERVICES

LAYERS = (6, 3, 2, 0)
"""Without any there are token embeddings alone."""
SEED = 0
GROUPS = 2
"""Half of the services are left out at a time, which takes half as long as a quarter."""
TIMED_TEMPLATES = 2000
NAMES = training_services(SERVICES)


def keys(options: Any) -> list[Key]:
    """A step for each depth; none without an encoder."""
    if options.encoder is None:
        return []
    weights = digest_of([options.encoder / "model.safetensors"])
    return [{"layers": layers, "encoder": weights, "steps": options.steps} for layers in LAYERS]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One depth: speed, what distances alone tell, and what networks make of them."""
    options = bench.options

    def new() -> Any:
        torch.manual_seed(SEED)
        return general.new_model(options.encoder, key["layers"])

    model, processor = new()
    if (depth := model.config.encoder_config.num_hidden_layers) != key["layers"]:
        raise ValueError(f"--encoder {options.encoder} has {depth} layers, and {key['layers']} are needed.")
    model.eval()
    episodes, embeddings = general.measure(NAMES, model, processor, SEED)
    every = (readable(template) for name in NAMES for template in read_service(name).templates)
    templates = list(itertools.islice(every, TIMED_TEMPLATES))  # without reading more services again
    begun = time.process_time()
    general.encode(model, processor, templates)
    spent = time.process_time() - begun
    begun = time.process_time()
    recipe = general.Recipe(steps=options.steps)
    scores = general.leave_groups_out(lambda: new()[0], episodes, embeddings, None, recipe, SEED, GROUPS)
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


TRAINING = ("../training/general.py", "../training/episodes.py")
PARTS = (Part("encoders", keys, measure, summarise, ("accuracy_encoders.py", "accuracy_retrained.py", *TRAINING)),)
