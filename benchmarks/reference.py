"""How well are logs judged without labels: against a healthy log, against themselves, by their wording?

    python benchmarks/reference.py [--services test_only|training|NAME…] [--draws 5] [--data FOLDER] [--model FOLDER]
    python benchmarks/reference.py --tables        # prints the tables of results that are there

Judges every recording of each service as the pipeline would, in windows of 32 entries. References: `earlier`, the
stretches without faults of other recordings of training and validation with the same settings; `twin`, a run without
faults; `both`; `dirty`, `earlier` with 2% of entries that faults caused; `self`, the log's other blocks; `none`,
wording alone. Each draw leaves out a fifth of the stretches, or begins the log elsewhere. Then parts of the healthy
runs as short logs, the time that each detector takes, and public logs (`reference_public.py` says which). Prints
tables and writes `results/reference.json`, record by record: started again, it goes on where it was.
"""

import argparse
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import reference_detectors as detectors
import reference_public as public
import torch
from reference_detectors import Boosting, RememberingPipeline, fit_reference, stretches_of
from reference_results import Results, print_tables, share

from logmoe.applying_logmoe import PreparedLog
from logmoe.fitting_logmoe import with_places
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline
from logmoe.parsing_logmoe import ParsedLog
from logmoe.reference_logmoe import LogReference
from logmoe.sequences_logmoe import SequenceCutter, count_windows
from logmoe.training.metrics import auroc
from recordings import corpus
from recordings.windows import ParsedRun, read_runs

RESULTS = Path(__file__).parent / "results" / "reference.json"
KINDS = ("earlier", "twin", "both", "dirty", "self", "none")
PARTS = ("recordings", "lengths", "times", "public")
SETTLING = (1.0, 2.0)
"""Seconds before and after a fault that are no healthy log."""
SHORTEST_STRETCH = 8
LEFT_OUT = 0.2
"""Share of the healthy stretches that a draw leaves out."""
PIECES = 10
"""Stretches that a run without faults counts as."""
DIRT = 0.02
"""Entries that faults caused in a dirty reference, as a share of the healthy ones."""
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


class Recorded:
    """The runs of a service, and what may serve as healthy for each."""

    def __init__(self, service: str, pipe: RememberingPipeline, boosting: Boosting):
        self.service, self.pipe, self.boosting = service, pipe, boosting
        self.rule = pipe._rule(pipe.processor)
        self.runs = list(read_runs(service, (*corpus.SPLITS, "twin")))
        self.intervals = corpus.read_intervals([service]).to_pylist()
        self._placed = {id(run): with_places(run.parsed, pipe.processor) for run in self.runs}
        self._is_healthy = {id(run): self.is_healthy(run) for run in self.runs}
        self._references: dict[tuple[Any, ...], LogReference | None] = {}
        pipe.forget()  # another service's texts

    @property
    def faulty(self) -> list[ParsedRun]:
        """The runs with faults."""
        return [run for run in self.runs if run.split != "twin"]

    @property
    def twins(self) -> list[ParsedRun]:
        """The runs without."""
        return [run for run in self.runs if run.split == "twin"]

    def is_healthy(self, run: ParsedRun) -> np.ndarray:
        """Which entries no fault is near to, bool `(entries,)`; without stretches that are too short."""
        if run.split == "twin":
            return np.ones(len(run.parsed), bool)
        clock = np.array([run.rows[line - 1]["time"].timestamp() for line in run.parsed.first_line])
        is_bad = run.labels.astype(bool)
        for interval in self._intervals(run):
            start, end = interval["start"].timestamp(), interval["end"].timestamp()
            is_bad |= (clock >= start - SETTLING[0]) & (clock <= end + SETTLING[1])
        is_healthy = np.zeros(len(is_bad), bool)
        for stretch in stretches_of(~is_bad):
            is_healthy[stretch] = len(stretch) >= SHORTEST_STRETCH
        return is_healthy

    def _intervals(self, run: ParsedRun) -> list[dict[str, Any]]:
        return [] if run.split == "twin" else [row for row in self.intervals if row["recording"] == run.name]

    def others(self, run: ParsedRun, kind: str) -> list[ParsedRun]:
        """The runs that have a reference's entries for a run."""
        splits = {"twin": ("twin",), "both": ("train", "validation", "twin")}.get(kind, ("train", "validation"))
        return [
            other
            for other in self.runs
            if other is not run and settings_of(other) == settings_of(run) and other.split in splits
        ]

    def reference(self, run: ParsedRun, kind: str, draw: int) -> LogReference | None:
        """What is healthy for a run; None if there is nothing. Runs that have the same one share it."""
        others = self.others(run, kind)
        key = kind, draw, *(id(other) for other in others)
        if key not in self._references:
            if any(known[:2] != (kind, draw) for known in self._references):
                self._references.clear()
            self._references[key] = self.fit(others, kind, draw)
        return self._references[key]

    def fit(self, others: list[ParsedRun], kind: str, draw: int) -> LogReference | None:
        """A reference of what is healthy in some runs; None if nothing is."""
        healthy = [self._is_healthy[id(other)] for other in others]
        kept = [mask.copy() for mask in healthy]
        stretches = [
            (mask, piece)
            for other, mask in zip(others, kept, strict=True)
            for stretch in stretches_of(mask)
            for piece in np.array_split(stretch, PIECES if other.split == "twin" else 1)
        ]
        if not stretches:
            return None
        if draw:
            is_left_out = np.random.default_rng(draw).random(len(stretches)) < LEFT_OUT
            is_left_out[0] &= not is_left_out.all()
            for (mask, stretch), out in zip(stretches, is_left_out, strict=True):
                mask[stretch] &= not out
        if kind == "dirty":
            is_caused = [other.labels.astype(bool) for other in others]
            soil(kept, healthy, is_caused, np.random.default_rng([draw, 1]))
        parts = []
        for other, mask in zip(others, kept, strict=True):
            windows = [count_windows(stretch, self.rule)[0] for stretch in stretches_of(mask)]
            parts.append((self._placed[id(other)], [window for some in windows for window in some]))
        return fit_reference(self.pipe, self.rule, parts)

    def prepare(self, parsed: ParsedLog) -> PreparedLog:
        """A log as the pipeline cuts it."""
        return PreparedLog(parsed, SequenceCutter(self.rule, self.pipe.processor).cut(parsed), self.rule)

    def judge(self, run: ParsedRun, kind: str, draw: int) -> Judged | None:
        """One run, judged; None if there is no reference."""
        is_alone = kind in ("self", "none")
        reference = None if is_alone else self.reference(run, kind, draw)
        if reference is None and not is_alone:
            return None
        parsed = run.parsed.take(np.arange(6 * draw if is_alone else 0, len(run.parsed)))
        log, mode = self.prepare(parsed), kind if is_alone else "reference"
        boosting = self.boosting.without(self.service)
        scored = detectors.score(self.pipe, log, reference, mode, boosting, seed=draw)
        labels, visible, faults, caused = self._truth(run, parsed, log.sequences)
        tops = [
            caused[place][scored.top_entry(place)]
            for place in np.flatnonzero(scored.is_called).tolist()
            if any(caused[place])
        ]
        return Judged(scored.scores, scored.is_called, labels, visible, faults, tops)

    def _truth(
        self, run: ParsedRun, parsed: ParsedLog, sequences: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, list[set[str]], list[list[bool]]]:
        shown = {interval["fault"]: interval["visible"] for interval in self._intervals(run)}
        labels, visible, faults, caused = [], [], [], []
        for positions in sequences:
            bounds = list(zip(parsed.first_line[positions], parsed.last_line[positions], strict=True))
            entries = [run.rows[first - 1 : last] for first, last in bounds]
            rows = [row for entry in entries for row in entry]
            spans = run.spans if run.split != "twin" else []
            labels.append(int(corpus.is_anomalous(rows, spans)))
            caused.append([any(row["label"] for row in entry) for entry in entries])
            found = {row["fault"] for row in rows if row["label"] and row["fault"]}
            faults.append(found)
            if any(row["label"] for row in rows):
                kinds = {shown.get(fault, "text") for fault in found} or {"text"}
                visible.append("text" if "text" in kinds else sorted(kinds)[0])
            else:
                over = {
                    interval["visible"]
                    for interval in self._intervals(run)
                    if rows[0]["time"] <= interval["end"] and interval["start"] <= rows[-1]["time"]
                }
                visible.append(next((kind for kind in ("order", "silence") if kind in over), "normal"))
        return np.array(labels), np.array(visible), faults, caused


def settings_of(run: ParsedRun) -> str:
    """The settings that a run was recorded with."""
    return run.name.removesuffix("-twin").rsplit("-", 1)[0]


def soil(
    kept: list[np.ndarray],
    is_healthy: list[np.ndarray],
    is_caused: list[np.ndarray],
    generator: np.random.Generator,
) -> None:
    """Adds to what is kept of some logs stretches around faults, as they were recorded.

    Until faults caused `DIRT` as many entries as were kept, or there are no more.

    Args:
        kept: bool `(entries,)` of each log, changed in place.
        is_healthy: the same of all that may be kept; the stretches are what is between.
        is_caused: the same of entries that a fault caused.
        generator: draws the stretches.
    """
    wanted = round(DIRT * sum(int(mask.sum()) for mask in kept))
    stretches = [
        (mask, stretch, caused[stretch])
        for mask, healthy, caused in zip(kept, is_healthy, is_caused, strict=True)
        for stretch in stretches_of(~healthy)
        if caused[stretch].any()
    ]
    for number in generator.permutation(len(stretches)):
        mask, stretch, caused = stretches[number]
        if wanted <= 0:
            break
        # No more of the last one than is wanted.
        within = caused.cumsum() <= wanted
        mask[stretch[within]] = True
        wanted -= int(caused[within].sum())


def measure_recordings(recorded: Recorded, kind: str, draw: int) -> dict[str, Any] | None:
    """The record of a service, a kind of reference and a draw; None if no run has such a reference."""
    judged = {run.name: recorded.judge(run, kind, draw) for run in recorded.faulty}
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
        twins = [recorded.judge(run, kind, draw) for run in recorded.twins]
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


def measure_times(recorded: Recorded) -> dict[str, Any] | None:
    """Seconds that detectors take to fit to a reference, and to judge a test run; both are parsed beforehand."""
    pipe, rule = recorded.pipe, recorded.rule
    boosting = recorded.boosting.without(recorded.service)  # now, and not within what is timed
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
    healthy, counting = timed(detectors.healthy_counts, reference, rule)
    counts, counting_log = timed(detectors.counts_of, reference, log)
    for name, fit in detectors.ON_COUNTS.items():
        scorer, fitting = timed(fit, healthy, 0)
        _, scoring = timed(scorer, counts)
        seconds[name] = {"fit": learning + counting + fitting, "judge": counting_log + scoring}
    _, deciding = timed(boosting.decision_function, predicted.evidence.inputs)
    seconds[detectors.BOOSTING] = {"fit": seconds["LogMoE"]["fit"], "judge": judging + deciding}
    _, reading = timed(detectors.score_severity, log)
    seconds["severity words"] = {"fit": 0.0, "judge": reading}
    record = {"reference_entries": len(reference), "entries": len(log.parsed), "seconds": seconds}
    return record | {"boosting_trained_in": sum(recorded.boosting.seconds.values())}


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
            recorded = Recorded(key["service"], pipe, boosting)
        if part == "recordings":
            record = measure_recordings(recorded, key["reference"], key["draw"])
        elif part == "lengths":
            record = measure_lengths(recorded, key["length"])
        else:
            record = measure_times(recorded)
        results.add(part, key, record)


def model_digest(pipe: RememberingPipeline) -> str:
    """Tells one checkpoint from another: by its weights and its config."""
    digest = hashlib.sha256(pipe.model.config.to_json_string().encode())
    for name, tensor in sorted(pipe.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", nargs="+", default=["test_only"], help="test_only, training, or names")
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--draws", type=int, default=5, help="of each reference (default: 5)")
    parser.add_argument("--data", type=Path, help="folder of the public logs, see reference_public.py")
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
        results = Results(args.output, model_digest(pipe), args.fresh)
    except ValueError as error:
        parser.error(str(error))
    boosting = Boosting(pipe)
    run_recordings(pipe, boosting, results, tasks_of(services, args.draws, args.parts))
    if args.data is not None and "public" in args.parts:
        public.run(pipe, boosting, results, args.data, args.most_lines)
    print(print_tables(results.content))


if __name__ == "__main__":
    main()
