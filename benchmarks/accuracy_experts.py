"""What do the experts specialise in? Part `experts`.

For each entry of the runs that test, against earlier stretches, which experts its layers keep. Shares by service, by
kind of entry and by whether a fault caused it; and how much the choice tells of each of these, in bits: the mutual
information less that of shuffled choices, which is what is more than noise.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from accuracy_ablations import judged_runs
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe.fitting_logmoe import with_places
from logmoe.measuring_logmoe import LogMeasure
from logmoe.modeling_logmoe import top_p_mask
from logmoe.rules_logmoe import ALARM_PATTERN
from logmoe.surprise_logmoe import ENTRY_FEATURES

SHUFFLES = 20


def keys(options: Any) -> list[Key]:
    """A step for each service."""
    return [{"service": service} for service in options.services]


@torch.inference_mode()
def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """The experts that each entry keeps."""
    recorded, model = bench.recorded(key["service"]), bench.pipe.model
    columns: dict[str, list[np.ndarray]] = {}
    for judged in judged_runs(bench, recorded, "earlier", 0):
        parsed = with_places(judged.log.parsed, bench.pipe.processor)
        measure_of = LogMeasure(judged.reference, recorded.rule.max_sequence_length)
        texts = measure_of.encoder_texts(parsed.distinct.to_pylist())
        embeddings = bench.pipe._encode_texts(texts)
        measured = measure_of.push(parsed, judged.log.sequences, embeddings, len(judged.log.sequences))
        is_alarm = pc.match_substring_regex(parsed.distinct, ALARM_PATTERN).to_numpy(zero_copy_only=False)
        features = measured.entry_features[..., : len(ENTRY_FEATURES)]
        for start in range(0, len(judged.log.sequences), 128):
            rows = range(start, min(start + 128, len(judged.log.sequences)))
            length = max(len(judged.log.sequences[row]) for row in rows)
            index = np.full((len(rows), length), -1)
            for place, row in enumerate(rows):
                index[place, : len(judged.log.sequences[row])] = parsed.entry_index[judged.log.sequences[row]]
            output = model(
                entry_embeds=torch.from_numpy(embeddings),
                entry_index=torch.from_numpy(index),
                entry_features=torch.from_numpy(features[list(rows), :length]),
                output_router_logits=True,
            )
            is_entry = index >= 0
            kept = [
                top_p_mask(logits.float().softmax(-1), model.config.router_top_p).numpy()[is_entry]
                for logits in output.router_logits
            ]
            caused = np.zeros(index.shape, bool)
            for place, row in enumerate(rows):
                caused[place, : len(judged.truth.caused[row])] = judged.truth.caused[row]
            of_entry = features[list(rows), :length][is_entry]
            kind = np.where(of_entry[:, ENTRY_FEATURES.index("template_new")] > 0, 2, 0)
            kind = np.where((kind == 0) & is_alarm[index[is_entry]], 1, kind)
            for name, values in (
                ("kept", np.stack(kept, axis=1)),
                ("caused", caused[is_entry]),
                ("kind", kind),
            ):
                columns.setdefault(name, []).append(values)
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    return {"entries": len(arrays["caused"])}, arrays


KINDS = ("ordinary", "severity word", "new to the reference")


def mutual_information(choice: np.ndarray, of: np.ndarray) -> float:
    """Bits that one label tells of another, both int64 `(entries,)`."""
    table = np.zeros((choice.max() + 1, of.max() + 1))
    np.add.at(table, (choice, of), 1)
    joint = table / table.sum()
    alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    is_there = joint > 0
    return float((joint[is_there] * np.log2(joint[is_there] / alone[is_there])).sum())


def summarise(kept: Kept) -> Record:
    """Shares by service, kind and cause; mutual information against shuffled choices."""
    arrays = [kept.arrays(place) for place in range(len(kept.keys))]
    names = [key["service"] for key in kept.keys]
    # Services alike, so that none drowns the others.
    least = min(len(one["caused"]) for one in arrays)
    generator = np.random.default_rng(0)
    rows = [np.sort(generator.choice(len(one["caused"]), least, replace=False)) for one in arrays]
    chosen = np.concatenate([one["kept"][row] for one, row in zip(arrays, rows, strict=True)])
    labels = {
        "service": np.repeat(np.arange(len(names)), least),
        "kind of entry": np.concatenate([one["kind"][row] for one, row in zip(arrays, rows, strict=True)]),
        "caused by a fault": np.concatenate(
            [one["caused"][row] for one, row in zip(arrays, rows, strict=True)]
        ).astype(np.int64),
    }
    values = {"service": names, "kind of entry": list(KINDS), "caused by a fault": ["healthy", "caused"]}
    layers = []
    for layer in range(chosen.shape[1]):
        of_layer = chosen[:, layer]
        code = of_layer @ (1 << np.arange(of_layer.shape[1]))
        told = {}
        for name, label in labels.items():
            shuffled = [mutual_information(generator.permutation(code), label) for _ in range(SHUFFLES)]
            share = np.bincount(label) / len(label)
            entropy = abs(float((share[share > 0] * np.log2(share[share > 0])).sum()))
            told[name] = {
                "bits": mutual_information(code, label),
                "shuffled": float(np.mean(shuffled)),
                "shuffled_most": float(np.max(shuffled)),
                "of_bits": entropy,
                "shares": {
                    value: (of_layer[label == number].mean(axis=0)).tolist()
                    for number, value in enumerate(values[name])
                    if (label == number).any()
                },
            }
        layers.append(
            {"active": float(of_layer.sum(axis=1).mean()), "kept": of_layer.mean(axis=0).tolist()} | {"by": told}
        )
    return {"entries": len(chosen), "layers": layers}


PARTS = (
    Part(
        "experts",
        keys,
        measure,
        summarise,
        ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_ablations.py", "accuracy_experts.py"),
    ),
)
