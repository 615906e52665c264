"""Training services as if they were new: each judged by a network that was trained without it; part `left_out`.

The services are left out in groups, as `training/general.py` leaves them out to set thresholds; the recipe is that of
the default checkpoint without mined statements, so that its wording is not measured. All else is the product as it
judges services that it has never seen (`accuracy_unseen.py`): references, ranks, untrained sum, promises, findings.
Each process trains for itself, so that one worker takes least: `--workers 1`.
"""

import functools
from typing import Any

import accuracy_retrained
import accuracy_unseen
import numpy as np
from accuracy_detectors import Boosting, RememberingPipeline
from accuracy_recordings import Latest
from accuracy_retrained import TOP_P, VARIANTS
from accuracy_store import Arrays, Key, Part, Record

from logmoe.inference import load_pipeline
from logmoe.training import general
from logmoe.training.episodes import training_services
from recordings.corpus import SERVICES

MEASURED = ("earlier", "twin", "both", "self")
NAMES = training_services(SERVICES)


class Trained(Latest):
    """What the steps of a group share: to `accuracy_unseen.measure` it is the bench.

    Args:
        pipe: the product, with a network that was trained without the group.
        boosting: trained without the service that is judged alone.
    """

    def __init__(self, pipe: RememberingPipeline, boosting: Boosting):
        super().__init__(pipe)
        self.boosting = boosting


def keys(options: Any) -> list[Key]:
    """A step for each service, kind and draw, group by group."""
    return [
        {"service": service, "reference": kind, "draw": draw}
        for group in range(options.groups)
        for service in NAMES[group :: options.groups]
        for kind in MEASURED
        for draw in range(options.draws)
    ]


@functools.lru_cache(maxsize=1)
def trained_without(bench: Any, group: int) -> Trained:
    """The product, its network trained anew without a group of services."""
    episodes, embeddings = bench.boosting.episodes
    rows = np.flatnonzero(~np.isin(episodes.service, np.arange(len(NAMES))[group :: bench.options.groups]))
    model = accuracy_retrained.new_model(bench, VARIANTS[TOP_P], seed=0)
    model.model.encoder.load_state_dict(bench.pipe.model.model.encoder.state_dict())
    recipe = general.Recipe(steps=bench.options.steps)
    general.fit(model, episodes.take(rows), embeddings, None, recipe, seed=0)
    pipe = load_pipeline(bench.options.model, device="cpu", pipeline_class=RememberingPipeline)
    assert isinstance(pipe, RememberingPipeline)
    pipe.model.load_state_dict(model.state_dict())
    return Trained(pipe, bench.boosting)


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One service, judged in one way."""
    group = NAMES.index(key["service"]) % bench.options.groups
    return accuracy_unseen.measure(trained_without(bench, group), key)


PARTS = (
    Part(
        "left_out",
        keys,
        measure,
        accuracy_unseen.summarise,
        (
            *accuracy_unseen.OWN_FILES,
            "accuracy_retrained.py",
            "accuracy_left_out.py",
            "../training/general.py",
            "../training/episodes.py",
        ),
        with_boosting=True,
    ),
)
