"""How well are logs judged without labels: against a healthy log, against themselves, by their wording?

    python benchmarks/reference.py [--services test_only|training|NAME…] [--draws 5] [--data FOLDER] [--model FOLDER]
    python benchmarks/reference.py --tables        # prints the tables of results that are there

Judges every recording of each service as the pipeline would, in windows of 32 entries. References: `earlier`, the
stretches without faults of other recordings of training and validation with the same settings; `twin`, a run without
faults; `both`; `dirty`, `earlier` with 2% of entries that faults caused; `self`, the log's other blocks; `none`,
wording alone. Each draw leaves out a fifth of the stretches, or begins the log elsewhere. Then parts of the healthy
runs as short logs, the time that each detector takes, and public logs (`accuracy_public.py` says which). Prints
tables and writes `results/reference.json`, record by record: started again, it goes on where it was.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy_detectors as detectors
import accuracy_public as public
import numpy as np
from accuracy_detectors import Boosting, RememberingPipeline
from accuracy_recordings import KINDS, VISIBLE, Recorded
from accuracy_rivals import FOREST, PCA, timed_rivals
from accuracy_store import model_digest
from reference_results import Results, print_tables, share

from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline
from logmoe.training.metrics import auroc
from recordings import corpus
from recordings.windows import ParsedRun

RESULTS = Path(__file__).parent / "results" / "reference.json"
PARTS = ("recordings", "lengths", "times", "public")
RIVALS = (FOREST, PCA)
LENGTHS, LOGS_OF_EACH = (1, 8, 32, 33, 64), 100
"""Entries of the short logs, and how many of each length a healthy run gives, at most."""


# --- recordings ------------------------------------------------------------------------------------------------------


@dataclass
class Judged:
    """The sequences of one log.

    Attributes:
        scores: by detector, float64 `(sequences,)`.
        is_called: bool `(sequences,)`, labelled anomalous at 1% promised.
        labels: int `(sequences,)`.
        visible: what the fault shows by, or "normal".
        faults: of each sequence the faults that caused a line of it.
        top_is_caused: whether a fault caused the most telling line, of sequences that are called and hold such a line.
    """

    scores: dict[str, np.ndarray]
    is_called: np.ndarray
    labels: np.ndarray
    visible: np.ndarray
    faults: list[set[str]]
    top_is_caused: list[bool]


def judge(recorded: Recorded, boosting: Boosting, run: ParsedRun, kind: str, draw: int) -> Judged | None:
    """One run, judged; None if there is no reference."""
    is_alone = kind in ("self", "none")
    reference = None if is_alone else recorded.reference(run, kind, draw)
    if reference is None and not is_alone:
        return None
    parsed = run.parsed.take(np.arange(6 * draw if is_alone else 0, len(run.parsed)))
    log, mode = recorded.prepare(parsed), kind if is_alone else "reference"
    scored = detectors.score(
        recorded.pipe, log, reference, mode, boosting.without(recorded.service), draw, RIVALS, with_thresholds=False
    )
    truth = recorded.truth(run, parsed, log.sequences)
    names = [interval["fault"] for interval in recorded.intervals_of(run)]
    # Here a fault counts where it caused a line.
    faults = [{names[number] for number in np.flatnonzero(of_window)} for of_window in truth.wrote]
    tops = [
        bool(truth.caused[place][scored.top_entry(place)])
        for place in np.flatnonzero(scored.is_called).tolist()
        if truth.caused[place].any()
    ]
    visible = np.array(VISIBLE)[truth.visible]
    return Judged(scored.scores, scored.is_called, truth.labels, visible, faults, tops)


def measure_recordings(recorded: Recorded, boosting: Boosting, kind: str, draw: int) -> dict[str, Any] | None:
    """The record of a service, a kind of reference and a draw; None if no run has such a reference."""
    judged = {run.name: judge(recorded, boosting, run, kind, draw) for run in recorded.faulty}
    logs = {name: log for name, log in judged.items() if log is not None}
    if not logs:
        return None
    labels = np.concatenate([log.labels for log in logs.values()])
    visible = np.concatenate([log.visible for log in logs.values()])
    record: dict[str, Any] = {"auroc": {}}
    for name in next(iter(logs.values())).scores:
        scores = np.concatenate([log.scores[name] for log in logs.values()])
        record["auroc"][name] = {"all": auroc(labels, scores)} | {
            shown: auroc(labels[chosen], scores[chosen])
            for shown in ("text", "order", "silence")
            if (chosen := (labels == 0) | (visible == shown)).any()
        }
    is_called = np.concatenate([log.is_called for log in logs.values()])
    record["found_windows"] = share(is_called[labels == 1])
    record["found_text_windows"] = share(is_called[visible == "text"])
    record["called_normal_windows"] = share(is_called[labels == 0])
    there = {(name, fault) for name, log in logs.items() for found in log.faults for fault in found}
    found = {
        (name, fault)
        for name, log in logs.items()
        for faults, called in zip(log.faults, log.is_called, strict=True)
        if called
        for fault in faults
    }
    record["text_faults"], record["text_faults_found"] = len(there), len(found)
    record["top_line_caused"] = share([top for log in logs.values() for top in log.top_is_caused])
    if kind in ("earlier", "dirty", "self", "none"):
        twins = [judge(recorded, boosting, run, kind, draw) for run in recorded.twins]
        called = [log.is_called for log in twins if log is not None]
        record["called_twin_windows"] = share(np.concatenate(called)) if called else None
    return record


# --- short logs, time ------------------------------------------------------------------------------------------------


def measure_lengths(recorded: Recorded, length: int) -> dict[str, Any] | None:
    """False alarms on parts of the healthy run, each judged as a log of its own, at 1% promised."""
    sequences: list[bool] = []
    logs: list[bool] = []
    for run in recorded.twins:
        reference = recorded.reference(run, "earlier", 0)
        if reference is None:
            continue
        number = min(LOGS_OF_EACH, len(run.parsed) // length)
        starts = np.linspace(0, len(run.parsed) - length, number).astype(int).tolist()
        parts = [recorded.prepare(run.parsed.take(np.arange(start, start + length))) for start in starts]
        for predicted in recorded.pipe._forward(parts, detectors.BATCH_SIZE, reference=reference):
            assert predicted.evidence is not None
            is_called = predicted.evidence.margins >= 0
            sequences += is_called.tolist()
            logs.append(bool(is_called.any()))
    if not logs:
        return None
    return {"logs": len(logs), "called_logs": share(logs), "sequences": len(sequences), "called": share(sequences)}


def measure_times(recorded: Recorded, boosting: Boosting) -> dict[str, Any] | None:
    """Seconds that detectors take to fit to a reference, and to judge a test run; both are parsed beforehand."""
    pipe, rule = recorded.pipe, recorded.rule
    model = boosting.without(recorded.service)  # now, and not within what is timed
    for run in recorded.faulty[::-1]:
        if others := recorded.others(run, "earlier"):
            break
    else:
        return None
    pipe.forget()
    reference, fitting = timed(recorded.fit, others, "earlier", 0)
    _, learning = timed(recorded.fit, others, "earlier", 0)  # all texts are encoded: what detectors on counts need
    log = recorded.prepare(run.parsed)
    # The first judgement makes what all others share: that is part of fitting.
    start = recorded.prepare(run.parsed.take(np.arange(min(len(run.parsed), rule.max_sequence_length))))
    _, warming = timed(detectors.predict, pipe, start, reference, "reference")
    pipe.forget()
    predicted, judging = timed(detectors.predict, pipe, log, reference, "reference")
    seconds = {"LogMoE": {"fit": fitting + warming, "judge": judging}}
    for name, spent in timed_rivals(reference, log, time.perf_counter, RIVALS).items():
        seconds[name] = spent | {"fit": spent["fit"] + learning}
    _, deciding = timed(model.decision_function, predicted.evidence.inputs)
    seconds[detectors.BOOSTING] = {"fit": seconds["LogMoE"]["fit"], "judge": judging + deciding}
    _, reading = timed(detectors.score_severity, log)
    seconds["severity words"] = {"fit": 0.0, "judge": reading}
    record = {"reference_entries": len(reference), "entries": len(log.parsed), "seconds": seconds}
    return record | {"boosting_trained_in": sum(boosting.seconds.values())}


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What a call gives, and the seconds it takes."""
    begun = time.perf_counter()
    return call(*arguments), time.perf_counter() - begun


# --- command ---------------------------------------------------------------------------------------------------------


def tasks_of(services: Sequence[str], draws: int, parts: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record of the recordings to be made: its part, and what tells it from others."""
    for service in services:
        for kind in KINDS if "recordings" in parts else ():
            for draw in range(draws):
                yield "recordings", {"service": service, "reference": kind, "draw": draw}
        for length in LENGTHS if "lengths" in parts else ():
            yield "lengths", {"service": service, "length": length}
        if "times" in parts:
            yield "times", {"service": service}


def run_recordings(
    pipe: RememberingPipeline, boosting: Boosting, results: Results, tasks: Iterator[tuple[str, dict[str, Any]]]
) -> None:
    """Makes the records that are missing."""
    recorded: Recorded | None = None
    for part, key in tasks:
        if results.has(part, key):
            continue
        if recorded is None or recorded.service != key["service"]:
            recorded = Recorded(key["service"], pipe)
        if part == "recordings":
            record = measure_recordings(recorded, boosting, key["reference"], key["draw"])
        elif part == "lengths":
            record = measure_lengths(recorded, key["length"])
        else:
            record = measure_times(recorded, boosting)
        results.add(part, key, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", nargs="+", default=["test_only"], help="test_only, training, or names")
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--draws", type=int, default=5, help="of each reference (default: 5)")
    parser.add_argument("--data", type=Path, help="folder of the public logs, see accuracy_public.py")
    parser.add_argument("--most_lines", type=int, default=public.MOST_LINES, help="of each part of a public log")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--fresh", action="store_true", help="begin anew, in place of going on")
    parser.add_argument("--tables", action="store_true", help="print the tables of the results that are there")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.tables:
        print(print_tables(json.loads(args.output.read_text(encoding="utf-8"))))
        return
    logging.getLogger("transformers").setLevel(logging.ERROR)
    known = {
        "test_only": list(corpus.TEST_ONLY),
        "training": [service for service in corpus.SERVICES if service not in corpus.TEST_ONLY],
    }
    services = [service for given in args.services for service in known.get(given, [given])]
    corpus.check_services(services)
    pipe = load_pipeline(args.model, device="cpu", pipeline_class=RememberingPipeline)
    assert isinstance(pipe, RememberingPipeline)
    try:
        results = Results(args.output, model_digest(pipe.model), args.fresh)
    except ValueError as error:
        parser.error(str(error))
    boosting = Boosting(pipe)
    run_recordings(pipe, boosting, results, tasks_of(services, args.draws, args.parts))
    if args.data is not None and "public" in args.parts:
        public.run(pipe, boosting, results, args.data, args.most_lines)
    print(print_tables(results.content))


if __name__ == "__main__":
    main()
