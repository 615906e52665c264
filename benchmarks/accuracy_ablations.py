"""What each piece brings to the checkpoint as it is: parts `pieces`, `features`, `routing`, `lengths`. No retraining.

*Pieces*: the scores of `recordings`, taken apart. *Features*: a group of them is unknown to the terms and to the sum
of ranks, of the judged windows and of the healthy ones alike; the stack reads on. *Routing*: other `router_top_p`
than it was trained with, with the experts that are active and the time that the stack takes. *Lengths*: windows of
other lengths, which are other windows, with other labels.
"""

import re
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accuracy_detectors import LOGMOE, UNTRAINED, predict
from accuracy_metrics import mean_and_spread, of_calls, of_scores, paired_intervals
from accuracy_recordings import Recorded, Truth
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe.applying_logmoe import PredictedLog, PreparedLog
from logmoe.judging_logmoe import anomaly_margin
from logmoe.reference_logmoe import LogReference
from logmoe.surprise_logmoe import INPUTS, lower_quarter, sequence_inputs
from logmoe.weighing_logmoe import _scale_of, untrained_score

OWN_FILES = ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_ablations.py")
TOP_P = (0.01, 0.3, 0.5, 0.8, 1.0)
LENGTHS = (1, 4, 8, 16, 32)
TIMED_SEQUENCES, REPEATS = 128, 5
ABLATION_DRAWS = 2

# Groups of inputs, by what their names hold.
GROUPS = {
    "templates": r"template_",
    "texts": r"text_",
    "new entries": r"_new_",
    "rarity": r"rarity",
    "order (transitions, unseen pairs)": r"transition|unseen_pairs",
    "counts": r"_count_(?:max|mean|top)",
    "distance of embeddings": r"distance",
    "healthy ranks": r"^rank_",
    "values": r"^(?!rank_|above_)",
    "departure from the log's own level": r"^above_",
    "longer memory (rates over 128 and 512 entries)": r"rate\d",
    "silence (missing, overdue, late)": r"missing|overdue|late_",
    "times (gaps, pace)": r"(?:^|_)gap|slow|fast|_time$",
    "nearest healthy window, distinct entries": r"nearest_window|distinct",
}


def columns_of(group: str) -> np.ndarray:
    """The inputs of a group, bool `(len(INPUTS),)`."""
    return np.array([bool(re.search(GROUPS[group], name)) for name in INPUTS])


# --- runs that are judged --------------------------------------------------------------------------------------------


@dataclass
class Judged:
    """A run that tests, judged as it is."""

    log: PreparedLog
    truth: Truth
    reference: LogReference
    predicted: PredictedLog


def judged_runs(bench: Any, recorded: Recorded, kind: str, draw: int) -> list[Judged]:
    """The runs that test, by one kind of reference."""
    found = []
    for run in [run for run in recorded.faulty if run.split == "test"]:
        reference = recorded.reference(run, kind, draw)
        if reference is not None:
            log = recorded.prepare(run.parsed)
            truth = recorded.truth(run, run.parsed, log.sequences)
            found.append(Judged(log, truth, reference, predict(bench.pipe, log, reference, "reference")))
    return found


def joined(bench: Any, judged: Judged, is_left_out: np.ndarray) -> np.ndarray:
    """Scores without some inputs, on the scale that healthy windows without them make."""
    reference, model = judged.reference, bench.pipe.model
    healthy = reference.healthy(judged.log.rule.max_sequence_length)
    own = sequence_inputs(healthy.features, healthy.features, lower_quarter(healthy.features))
    stack_of_healthy = healthy.scores[model][0] - bench.pipe.predictor.term_margins(own)
    stack = anomaly_margin(np.stack([prediction.logits for prediction in judged.predicted.predictions]))
    scores = []
    for inputs, of_stack in ((own, stack_of_healthy), (judged.predicted.evidence.inputs, stack)):
        masked = np.where(is_left_out, np.nan, inputs).astype(np.float32)
        scores.append((of_stack + bench.pipe.predictor.term_margins(masked), untrained_score(masked)))
    config = model.config
    scale = _scale_of(
        *scores[0],
        float(config.untrained_weight),
        tuple(config.reference_scale),
        np.zeros(len(INPUTS), np.float32),
        0.0,
    )
    return scale.joined(*scores[1])


# --- parts -----------------------------------------------------------------------------------------------------------


def keys(options: Any) -> list[Key]:
    """A step for each service and draw."""
    return [
        {"service": service, "draw": draw}
        for service in options.services
        for draw in range(min(options.draws, ABLATION_DRAWS))
    ]


def measure_features(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """AUROC without each group of inputs, and with it alone."""
    recorded = bench.recorded(key["service"])
    record: Record = {}
    for kind in ("earlier", "twin"):
        runs = judged_runs(bench, recorded, kind, key["draw"])
        if not runs:
            continue
        label = np.concatenate([run.truth.labels for run in runs])
        nothing = np.zeros(len(INPUTS), bool)
        masks = {"nothing": nothing}
        masks |= {f"without {group}": columns_of(group) for group in GROUPS}
        for name, mask in masks.items():
            scores = np.concatenate([joined(bench, run, mask) for run in runs])
            record.setdefault(name, {})[kind] = of_scores(label, scores)["auroc"]
    return record, None


def measure_routing(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Accuracy, active experts and time of the stack at other `router_top_p`."""
    recorded, model = bench.recorded(key["service"]), bench.pipe.model
    before, mode = model.config.router_top_p, model.config.routing_mode
    record: Record = {}
    try:
        for top_p in (*TOP_P, "dense"):
            model.set_routing_mode("dense" if top_p == "dense" else "top_p")
            model.config.router_top_p = before if top_p == "dense" else top_p
            for reference in recorded._references.values():  # their own scores are of another routing
                if reference is not None:
                    for healthy in reference._healthy.values():
                        healthy.scores.clear()
            row: Record = {}
            for kind in ("earlier", "twin"):
                runs = judged_runs(bench, recorded, kind, key["draw"])
                if runs:
                    label = np.concatenate([run.truth.labels for run in runs])
                    whole = np.concatenate([run.predicted.evidence.margins for run in runs])
                    stack = np.concatenate(
                        [anomaly_margin(np.stack([p.logits for p in run.predicted.predictions])) for run in runs]
                    )
                    row[kind] = of_scores(label, whole)["auroc"]
                    row[f"{kind}_stack"] = of_scores(label, stack)["auroc"]
            record[str(top_p)] = row | time_stack(bench, recorded)
    finally:
        model.set_routing_mode(mode)
        model.config.router_top_p = before
        recorded._references.clear()
    return record, None


def time_stack(bench: Any, recorded: Recorded) -> Record:
    """Experts per entry, and microseconds of the processor per entry for everything above the encoder."""
    model, run = bench.pipe.model, recorded.faulty[-1]
    generator = np.random.default_rng(0)
    texts = bench.pipe.processor.tokenize(run.parsed.distinct.to_pylist()[:512])[0]
    embeddings = bench.pipe.predictor.encode(texts)
    length = recorded.rule.max_sequence_length
    index = torch.from_numpy(run.parsed.entry_index[: TIMED_SEQUENCES * length] % len(embeddings))
    index = index[: len(index) // length * length].reshape(-1, length)
    features = torch.from_numpy(
        generator.normal(size=(*index.shape, len(model.config.entry_feature_names))).astype(np.float32)
    )
    times = []
    with torch.inference_mode():
        for _ in range(REPEATS):
            begun = time.process_time()
            output = model(entry_embeds=embeddings, entry_index=index, entry_features=features)
            times.append(time.process_time() - begun)
    with torch.inference_mode():
        output = model(entry_embeds=embeddings, entry_index=index, entry_features=features, output_router_logits=True)
    return {
        "microseconds": 1e6 * float(np.median(times)) / index.numel(),
        "active_experts": float(output.mean_active_experts),
    }


def measure_lengths(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """AUROC of windows of other lengths, and faults found at 1%."""
    recorded: Recorded = bench.recorded(key["service"])
    before, record = recorded.rule, {}
    try:
        for length in LENGTHS:
            recorded.rule = replace(before, max_sequence_length=length, stride=length)
            recorded._references.clear()
            rows = []
            for kind in ("earlier", "twin"):
                runs = judged_runs(bench, recorded, kind, key["draw"])
                if runs:
                    label = np.concatenate([run.truth.labels for run in runs])
                    margins = np.concatenate([run.predicted.evidence.margins for run in runs])
                    found = sum(
                        int(run.truth.faults[run.predicted.evidence.margins >= 0].any(axis=0).sum()) for run in runs
                    )
                    there = sum(int(run.truth.faults.any(axis=0).sum()) for run in runs)
                    figures = of_scores(label, margins) | of_calls(label, margins >= 0)
                    rows.append({"kind": kind, "found": found, "faults": there} | figures)
            record[str(length)] = rows
    finally:
        recorded.rule = before
        recorded._references.clear()
    return record, None


def table_of(kept: Kept, value_of: Any) -> list[float]:
    """Mean over services and spread over draws of one value of the records."""
    services = sorted({key["service"] for key in kept.keys})
    draws = sorted({key["draw"] for key in kept.keys})
    table = np.full((len(services), len(draws)), np.nan)
    for key, record in zip(kept.keys, kept.records, strict=True):
        value = value_of(record)
        table[services.index(key["service"]), draws.index(key["draw"])] = np.nan if value is None else value
    return mean_and_spread(table)


def summarise_features(kept: Kept) -> Record:
    """By what is left out."""
    return {
        name: {kind: table_of(kept, lambda r, n=name, k=kind: r.get(n, {}).get(k)) for kind in ("earlier", "twin")}
        for name in kept.records[0]
    }


def summarise_routing(kept: Kept) -> Record:
    """By `router_top_p`."""
    names = ("earlier", "twin", "earlier_stack", "twin_stack", "microseconds", "active_experts")
    return {
        top_p: {name: table_of(kept, lambda r, t=top_p, n=name: r[t].get(n)) for name in names}
        for top_p in kept.records[0]
    }


def summarise_lengths(kept: Kept) -> Record:
    """By length."""
    result: Record = {}
    for length in kept.records[0]:
        for kind in ("earlier", "twin"):

            def of(name: str, record: Record, length: str = length, kind: str = kind) -> float | None:
                rows = [row for row in record[length] if row["kind"] == kind]
                return rows[0][name] if rows else None

            row = {name: table_of(kept, lambda r, n=name, f=of: f(n, r)) for name in ("auroc", "f1", "called_normal")}
            found = [(of("found", r), of("faults", r)) for r in kept.records if of("faults", r)]
            row["faults_found"] = sum(f for f, _ in found) / max(1, sum(t for _, t in found))
            result.setdefault(length, {})[kind] = row
    return result


# --- pieces ----------------------------------------------------------------------------------------------------------

PIECES = {
    "LogMoE": LOGMOE,
    "learned score alone": "part/learned",
    "all terms, no stack": ("part/surprise", "part/taught", "part/silence"),
    "terms of surprise alone": ("part/surprise", "part/taught"),
    "that which learned from labels alone": "part/surprise",
    "that which learned from trees alone": "part/taught",
    "term of silence alone": "part/silence",
    "stack alone": "part/stack",
    "untrained sum of ranks alone": UNTRAINED,
}


def piece_keys(options: Any) -> list[Key]:
    """One step: everything is in the arrays of `recordings`."""
    return [{"draws": options.draws, "services": "+".join(options.services)}]


def measure_pieces(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """AUROC of each piece of the score, and what LogMoE is ahead of it."""
    kept = bench.kept("recordings")
    record: Record = {}
    for kind in ("earlier", "twin", "both", "self"):
        places = [place for place in kept.places(reference=kind) if not kept.records[place].get("nothing")]
        services = sorted({kept.keys[place]["service"] for place in places})
        draws = sorted({kept.keys[place]["draw"] for place in places})
        groups = []
        tables = {name: np.full((len(services), len(draws)), np.nan) for name in PIECES}
        for place in places:
            arrays = kept.arrays(place)
            is_judged = ~arrays["is_twin"]
            label = arrays["label"][is_judged]
            scores = {name: piece_of(arrays, piece)[is_judged] for name, piece in PIECES.items()}
            groups.append((arrays["run"][is_judged], label, scores))
            where = services.index(kept.keys[place]["service"]), draws.index(kept.keys[place]["draw"])
            for name, values in scores.items():
                tables[name][where] = of_scores(label, values)["auroc"]
        if groups:
            ahead = paired_intervals(groups, "LogMoE")
            record[kind] = {
                name: {"auroc": mean_and_spread(table)} | ({"logmoe_less": ahead[name]} if name in ahead else {})
                for name, table in tables.items()
            }
    return record, None


def piece_of(arrays: Arrays, piece: str | tuple[str, ...]) -> np.ndarray:
    """One piece of the score of each window."""
    if isinstance(piece, tuple):
        return np.sum([arrays[name] for name in piece], axis=0)
    return arrays[piece if piece.startswith("part/") else f"score/{piece}"]


def first_record(kept: Kept) -> Record:
    """Of a part of one step."""
    return kept.records[0] if kept.records else {}


PARTS = (
    Part("pieces", piece_keys, measure_pieces, first_record, OWN_FILES, ("recordings",)),
    Part("features", keys, measure_features, summarise_features, OWN_FILES),
    Part("routing", keys, measure_routing, summarise_routing, OWN_FILES),
    Part("lengths", keys, measure_lengths, summarise_lengths, OWN_FILES),
)
