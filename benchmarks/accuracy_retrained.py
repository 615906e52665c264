"""What each piece brings if the network is trained without it: parts `retrained` and `shuffled`.

Only the training services: each is scored by a network that was trained on other groups of them, by the recipe of the
default checkpoint without mined statements. Stack and terms share no weights. `shuffled` learns from labels that were
shuffled over all services. Whatever function it learns, features that rise together with faults give it an AUROC above
or below .50; the mean over shuffles is .50, unless something leaks.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accuracy_metrics import auroc
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe import LogMoEConfig, LogMoEForSequenceClassification, modeling_logmoe
from logmoe.training import general
from logmoe.training.episodes import KINDS, Episodes

SEEDS = 5
MEASURED = ("earlier", "twin", "both", "self", "small")


@dataclass(frozen=True)
class Variant:
    """One way to build and to train.

    Attributes:
        config: fields of the config.
        recipe: fields of the recipe.
        top_k: experts that are kept, in place of Top-P.
        is_shuffled: learns from shuffled labels.
        read: "both", "embeddings" or "features": what the stack reads.
    """

    config: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    top_k: int | None = None
    is_shuffled: bool = False
    read: str = "both"


TOP_P, DENSE = "Top-P, 4 experts", "dense, 4 experts"
VARIANTS = {
    TOP_P: Variant(),
    "top-1 of 4": Variant(top_k=1),
    "top-2 of 4": Variant(top_k=2),
    DENSE: Variant(recipe={"dense_share": 2.0}),
    "one expert, parameters of 4": Variant({"num_experts": 1, "moe_intermediate_size": 384}),
    "one expert, size of 1": Variant({"num_experts": 1}),
    "embeddings only in the stack": Variant(read="embeddings"),
    "features only in the stack": Variant(read="features"),
}
SHUFFLED = Variant(is_shuffled=True)


def keys(options: Any) -> list[Key]:
    """A step for each seed and variant, which takes eight minutes of a processor."""
    return [{"variant": name, "seed": seed} for seed in range(SEEDS) for name in VARIANTS]


def shuffled_keys(options: Any) -> list[Key]:
    """A step for each shuffle."""
    return [{"seed": seed} for seed in range(SEEDS)]


@contextlib.contextmanager
def routed_to(top_k: int | None) -> Iterator[None]:
    """Within, entries keep the `top_k` likeliest experts."""
    before = modeling_logmoe.top_p_mask
    if top_k is not None:

        def mask(probs: torch.Tensor, top_p: float) -> torch.Tensor:
            chosen = probs.topk(min(top_k, probs.shape[-1]), dim=-1).indices
            return torch.zeros_like(probs, dtype=torch.bool).scatter(-1, chosen, True)

        modeling_logmoe.top_p_mask = mask
    try:
        yield
    finally:
        modeling_logmoe.top_p_mask = before


def new_model(bench: Any, variant: Variant, seed: int) -> LogMoEForSequenceClassification:
    """A model as the default checkpoint, all above the encoder new; embeddings are known."""
    torch.manual_seed(seed)
    config = LogMoEConfig.from_dict(bench.pipe.model.config.to_dict() | variant.config)
    model = LogMoEForSequenceClassification(config)
    model.freeze_encoder()
    return model


def changed(episodes: Episodes, variant: Variant, seed: int) -> Episodes:
    """The episodes as a variant learns from them."""
    if variant.is_shuffled:
        return replace(episodes, visible=np.random.default_rng(seed).permutation(episodes.visible))
    if variant.read == "features":
        return replace(episodes, template=np.where(episodes.template >= 0, 0, -1).astype(episodes.template.dtype))
    if variant.read == "embeddings":
        return replace(episodes, entry_features=np.zeros_like(episodes.entry_features))
    return episodes


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One variant, or shuffled labels: trained for each group that is left out, and scored on it."""
    variant = VARIANTS[key["variant"]] if "variant" in key else SHUFFLED
    original, embeddings = bench.boosting.episodes
    episodes = changed(original, variant, key["seed"])
    if variant.read == "features":
        embeddings = torch.zeros_like(embeddings)
    options = bench.options
    recipe = general.Recipe(steps=options.steps, **variant.recipe)
    begun = time.process_time()
    with routed_to(variant.top_k):
        make: Callable[[], Any] = lambda: new_model(bench, variant, key["seed"])  # noqa: E731
        scores = general.leave_groups_out(make, episodes, embeddings, None, recipe, key["seed"], options.groups)
        trained = time.process_time() - begun
        cost = stack_cost(bench, variant, episodes, embeddings)
    record: Record = {"seconds": trained} | cost
    for name, values in (
        ("whole", scores.whole),
        ("stack", scores.stack),
        ("terms", scores.terms.sum(axis=1)),
    ):
        record[name] = {kind: mean_auroc(original, values, kind) for kind in MEASURED}
    return record, None


def mean_auroc(episodes: Episodes, values: np.ndarray, kind: str) -> float:
    """Mean over services of the AUROC of one kind of episodes, faulty runs alone."""
    found = []
    for service in np.unique(episodes.service):
        rows = (episodes.service == service) & (episodes.kind == KINDS.index(kind)) & ~episodes.is_twin
        found.append(auroc((episodes.visible[rows] > 0).astype(int), values[rows]))
    return float(np.nanmean(found))


@torch.inference_mode()
def stack_cost(bench: Any, variant: Variant, episodes: Episodes, embeddings: torch.Tensor) -> Record:
    """Parameters above the encoder, and microseconds per entry, as the variant is drawn."""
    model = new_model(bench, variant, 0).eval()
    model.set_routing_mode("dense" if variant.recipe.get("dense_share", 0) > 1 else "top_p")
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    batch = episodes.batch(np.arange(128), embeddings).inputs() | {"sequence_features": None}
    times = []
    for _ in range(5):
        begun = time.process_time()
        model(**batch)
        times.append(time.process_time() - begun)
    return {"parameters": parameters, "microseconds": 1e6 * float(np.median(times)) / int(batch["entry_mask"].sum())}


def mean_over_kinds(record: Record) -> float:
    """Mean AUROC of the stack over all kinds of episodes."""
    return float(np.mean([record["stack"][kind] for kind in MEASURED]))


def summarise(kept: Kept) -> Record:
    """By variant its AUROCs, the means over the seeds that all variants have, and the times of the first, which were
    taken side by side; over all its seeds the spread of the stack's, and how far the mixture is ahead of each, seed by
    seed.
    """
    of = {
        name: {kept.keys[place]["seed"]: kept.records[place] for place in kept.places(variant=name)}
        for name in dict.fromkeys(key["variant"] for key in kept.keys)
    }
    variants: Record = {}
    ahead: Record = {}
    shared = [seed for seed in next(iter(of.values())) if all(seed in by_seed for by_seed in of.values())]
    for name, by_seed in of.items():
        means = {seed: mean_over_kinds(record) for seed, record in by_seed.items()}
        aurocs = {
            part: {kind: float(np.mean([by_seed[seed][part][kind] for seed in shared])) for kind in MEASURED}
            for part in ("whole", "stack", "terms")
        }
        first = next(iter(by_seed.values()))  # keys are in the order of their seeds
        variants[name] = (
            first
            | aurocs
            | {
                "seeds": len(by_seed),
                "shared_seeds": len(shared),
                "spread": spread(list(means.values())),
                "by_seed": {str(seed): record for seed, record in by_seed.items()},
            }
        )
        mixture = {seed: mean_over_kinds(record) for seed, record in of.get(TOP_P, {}).items()}
        differences = [mixture[seed] - mean for seed, mean in means.items() if seed in mixture]
        if name != TOP_P and len(differences) > 1:
            ahead[name] = {
                "mean": float(np.mean(differences)),
                "spread": spread(differences),
                "seeds": len(differences),
            }
    return {"variants": variants, "ahead": ahead}


def summarise_shuffled(kept: Kept) -> Record:
    """AUROC against earlier stretches, by what scored, of each shuffle."""
    return {part: [record[part]["earlier"] for record in kept.records] for part in ("whole", "stack", "terms")}


def spread(values: list[float]) -> float:
    """Standard deviation over seeds; 0 of one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


FILES = ("accuracy_detectors.py", "accuracy_retrained.py", "../training/general.py", "../training/episodes.py")
PARTS = (
    Part("retrained", keys, measure, summarise, FILES),
    Part("shuffled", shuffled_keys, measure, summarise_shuffled, FILES),
)
