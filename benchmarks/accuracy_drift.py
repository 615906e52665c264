"""What the product says where a healthy log no longer fits: part `drift`.

A step is a service, whether the network was trained on it or not: its runs without faults, judged against what is
healthy of its earlier runs, and against what is healthy of another service, as if somebody had named the wrong file.
Where far more is called anomalous than was promised, the answer should begin with the words that the reference does
not fit.
"""

from typing import Any

import numpy as np
from accuracy_detectors import predict
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe.folds_logmoe import FAMILIAR_SHARE
from recordings import corpus

FAR_MORE = 5
"""So many times what was promised is far more."""


def keys(options: Any) -> list[Key]:
    """A step for each service."""
    return [{"service": service} for service in corpus.SERVICES]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Healthy runs of one service, by a reference of its own for each draw, and by one of the next service."""
    services = list(corpus.SERVICES)
    other = bench.recorded(services[(services.index(key["service"]) + 1) % len(services)])
    wrong = other.reference(other.twins[0], "earlier", 0)
    recorded = bench.recorded(key["service"])
    rows: list[Record] = []
    for run in recorded.twins:
        log = recorded.prepare(run.parsed)
        own = [recorded.reference(run, "earlier", draw) for draw in range(bench.options.draws)]
        for which, references in (("own", own), ("another service's", [wrong])):
            for reference in filter(None, references):
                predicted = predict(bench.pipe, log, reference, "reference")
                assert predicted.evidence is not None
                margins = predicted.evidence.margins
                rows.append(
                    {"reference": which, "windows": len(margins), "called": float((margins >= 0).mean())}
                    | {"kept": predicted.how.kept_rate, "familiarity": predicted.how.familiarity}
                )
    return {"rows": rows}, None


def summarise(kept: Kept) -> Record:
    """For each service and reference the means over draws, and how often the product says that it does not fit."""
    rows = []
    for key, record in zip(kept.keys, kept.records, strict=True):
        for which in dict.fromkeys(row["reference"] for row in record["rows"]):
            found = [row for row in record["rows"] if row["reference"] == which]
            rows.append(
                {
                    "service": key["service"],
                    "is_trained_on": key["service"] not in corpus.TEST_ONLY,
                    "reference": which,
                    "windows": float(np.mean([row["windows"] for row in found])),
                    "called": float(np.mean([row["called"] for row in found])),
                    "kept": float(np.mean([row["kept"] for row in found])),
                    "familiarity": float(np.mean([row["familiarity"] for row in found])),
                    "warned": float(np.mean([row["familiarity"] < FAMILIAR_SHARE for row in found])),
                }
            )
    return {"rows": rows, "far_more": FAR_MORE, "familiar_share": FAMILIAR_SHARE}


PARTS = (
    Part("drift", keys, measure, summarise, ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_drift.py")),
)
