"""How well are logs judged without labels: against a healthy log, against themselves, by their wording?

    python benchmarks/reference.py [--services test_only|training|NAME…] [--draws 5] [--model FOLDER]

Judges every recording of each service as the pipeline would, in windows of 32 entries. References: `earlier`, the
stretches without faults of other recordings of training and validation with the same settings; `twin`, a run without
faults; `both`; `self`, the log's other blocks; `none`, wording alone. Each draw leaves out a fifth of the stretches,
or begins the log elsewhere. Prints tables and writes `results/reference.json`.
"""

import argparse
import json
import logging
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the recordings are no part of the installed package

from logmoe.applying_logmoe import PreparedLog  # noqa: E402
from logmoe.fitting_logmoe import ReferenceFit, origin_of  # noqa: E402
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline  # noqa: E402
from logmoe.judging_logmoe import anomaly_margin  # noqa: E402
from logmoe.parsing_logmoe import ParsedLog  # noqa: E402
from logmoe.pipeline_logmoe import LogAnomalyPipeline  # noqa: E402
from logmoe.rules_logmoe import SEVERITY_WORDS  # noqa: E402
from logmoe.sequences_logmoe import SequenceCutter  # noqa: E402
from logmoe.surprise_logmoe import INPUTS  # noqa: E402
from logmoe.training.metrics import auroc  # noqa: E402
from logmoe.weighing_logmoe import untrained_score  # noqa: E402
from recordings import corpus  # noqa: E402
from recordings.windows import ParsedRun, read_runs  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "reference.json"
KINDS = ("earlier", "twin", "both", "self", "none")
SETTLING = (1.0, 2.0)
"""Seconds before and after a fault that are no healthy log."""
SHORTEST_STRETCH = 8
LEFT_OUT = 0.2
"""Share of the healthy stretches that a draw leaves out."""
FEATURE = {name: column for column, name in enumerate(INPUTS)}


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

    def __init__(self, service: str, pipe: LogAnomalyPipeline):
        self.service, self.pipe = service, pipe
        self.runs = list(read_runs(service, (*corpus.SPLITS, "twin")))
        self.intervals = corpus.read_intervals([service]).to_pylist()

    def healthy_stretches(self, run: ParsedRun) -> list[np.ndarray]:
        """Positions of entries that no fault is near to, stretch by stretch."""
        clock = np.array([run.rows[line - 1]["time"].timestamp() for line in run.parsed.first_line])
        is_bad = run.labels.astype(bool)
        for interval in self._intervals(run):
            start, end = interval["start"].timestamp(), interval["end"].timestamp()
            is_bad |= (clock >= start - SETTLING[0]) & (clock <= end + SETTLING[1])
        edges = np.flatnonzero(np.diff(np.concatenate([[1], is_bad.astype(int), [1]])))
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [np.arange(start, end) for start, end in pairs if end - start >= SHORTEST_STRETCH]

    def _intervals(self, run: ParsedRun) -> list[dict[str, Any]]:
        return [] if run.split == "twin" else [row for row in self.intervals if row["recording"] == run.name]

    def reference(self, run: ParsedRun, kind: str, draw: int) -> Any:
        """What is healthy for a run; None if there is nothing."""
        stretches: list[ParsedLog] = []
        for other in self.runs:
            if other is run or settings_of(other) != settings_of(run):
                continue
            if other.split == "twin":
                stretches += [other.parsed] if kind != "earlier" else []
            elif kind != "twin" and other.split != "test":
                stretches += [other.parsed.take(positions) for positions in self.healthy_stretches(other)]
        if not stretches:
            return None
        generator = np.random.default_rng(draw)
        kept = generator.random(len(stretches)) >= LEFT_OUT if draw else np.ones(len(stretches), bool)
        kept[0] |= not kept.any()
        rule = self.pipe._rule(self.pipe.processor)
        fit = ReferenceFit(self.pipe.processor, rule, origin_of(self.pipe.model, self.pipe.processor, rule))
        for stretch, is_kept in zip(stretches, kept, strict=True):
            if is_kept:
                fit.add_parsed(stretch)
        return fit.finish().encode(self.pipe._encode_texts)

    def judge(self, run: ParsedRun, kind: str, draw: int) -> Judged | None:
        """One run, judged."""
        first = 6 * draw if kind in ("self", "none") else 0
        parsed = run.parsed.take(np.arange(first, len(run.parsed)))
        reference = None
        if kind not in ("self", "none"):
            reference = self.reference(run, kind, draw)
            if reference is None:
                return None
        judged = judge(self.pipe, parsed, kind, reference)
        labels, visible, faults, caused = self._truth(run, parsed, judged["sequences"])
        tops = [
            bool(caused[place][entry])
            for place, entry in judged["tops"].items()
            if labels[place] and any(caused[place])
        ]
        return Judged(judged["scores"], judged["is_called"], labels, visible, faults, tops)

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


def judge(pipe: LogAnomalyPipeline, parsed: ParsedLog, kind: str, reference: Any) -> dict[str, Any]:
    """Sequences of a log with their scores by every detector that needs no training here."""
    rule = pipe._rule(pipe.processor)
    sequences = SequenceCutter(rule, pipe.processor).cut(parsed)
    prepared = PreparedLog(parsed, sequences, rule)
    words = re.compile("|".join(SEVERITY_WORDS), re.IGNORECASE)
    severe = np.array([bool(words.search(text)) for text in parsed.distinct.to_pylist()])[parsed.entry_index]
    scores = {"severity words": np.array([severe[positions].sum() for positions in sequences], float)}
    given = {"none": False, "self": None}.get(kind, reference)
    (predicted,) = pipe._forward([prepared], 128, reference=given)
    evidence = predicted.evidence
    if evidence is None:
        margins = anomaly_margin(np.stack([prediction.logits for prediction in predicted.predictions]))
    else:
        inputs = np.nan_to_num(evidence.inputs)
        margins = evidence.margins
        scores |= {
            "new template": inputs[:, FEATURE["template_new_mean"]],
            "1-NN distance": inputs[:, FEATURE["distance_top8"]],
            "sum of ranks, untrained": untrained_score(evidence.inputs),
        }
    is_called = margins >= 0
    scores["LogMoE"] = margins
    tops = {}
    for place in np.flatnonzero(is_called).tolist():
        shares = (
            predicted.predictions[place].entry_scores
            if evidence is None
            else evidence.explain(place, False).entry_scores
        )
        tops[place] = int(np.argmax(shares))
    return {"sequences": sequences, "scores": scores, "is_called": is_called, "tops": tops}


def measure_recordings(pipe: LogAnomalyPipeline, services: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
    """One record for each service, kind of reference and draw."""
    for service in services:
        recorded = Recorded(service, pipe)
        for kind in KINDS:
            for draw in range(draws):
                judged = {run.name: recorded.judge(run, kind, draw) for run in recorded.runs if run.split != "twin"}
                logs = [log for log in judged.values() if log is not None]
                labels = np.concatenate([log.labels for log in logs])
                visible = np.concatenate([log.visible for log in logs])
                record: dict[str, Any] = {"service": service, "reference": kind, "draw": draw, "auroc": {}}
                for name in logs[0].scores:
                    scores = np.concatenate([log.scores[name] for log in logs])
                    record["auroc"][name] = {"all": auroc(labels, scores)} | {
                        shown: auroc(labels[chosen], scores[chosen])
                        for shown in ("text", "order", "silence")
                        if (chosen := (labels == 0) | (visible == shown)).any()
                    }
                is_called = np.concatenate([log.is_called for log in logs])
                record["found_windows"] = float(is_called[labels == 1].mean())
                record["found_text_windows"] = float(is_called[visible == "text"].mean())
                record["called_normal_windows"] = float(is_called[labels == 0].mean())
                there = {
                    (name, fault) for name, log in judged.items() if log for found in log.faults for fault in found
                }
                found = {
                    (name, fault)
                    for name, log in judged.items()
                    if log
                    for faults, called in zip(log.faults, log.is_called, strict=True)
                    if called
                    for fault in faults
                }
                record["text_faults"], record["text_faults_found"] = len(there), len(found)
                tops = [top for log in logs for top in log.top_is_caused]
                record["top_line_caused"] = float(np.mean(tops)) if tops else None
                if kind in ("earlier", "self", "none"):
                    twins = [recorded.judge(run, kind, draw) for run in recorded.runs if run.split == "twin"]
                    called = np.concatenate([log.is_called for log in twins if log is not None])
                    record["called_twin_windows"] = float(called.mean())
                yield record


# --- tables ----------------------------------------------------------------------------------------------------------


def mean(records: list[dict[str, Any]], *keys: str) -> float:
    """Mean over services of the mean over draws."""
    by_service = defaultdict(list)
    for record in records:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and not np.isnan(value):
            by_service[record["service"]].append(value)
    return float(np.mean([np.mean(values) for values in by_service.values()])) if by_service else float("nan")


def print_tables(records: list[dict[str, Any]]) -> str:
    lines = ["| judged against | detector | AUROC | text | order | silence |", "|---|---|---|---|---|---|"]
    for kind in KINDS:
        mine = [record for record in records if record["reference"] == kind]
        if not mine:
            continue
        for name in mine[0]["auroc"]:
            values = [mean(mine, "auroc", name, shown) for shown in ("all", "text", "order", "silence")]
            lines.append(f"| {kind} | {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    lines += [
        "",
        "| judged against | anomalous windows found | normal windows of faulty runs called | of healthy twins | "
        "text faults found | top line caused by the fault |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        mine = [record for record in records if record["reference"] == kind]
        if not mine:
            continue
        draws = len({record["draw"] for record in mine})
        found, faults = (sum(record[key] for record in mine) / draws for key in ("text_faults_found", "text_faults"))
        lines.append(
            f"| {kind} | {mean(mine, 'found_windows'):.2f} | {mean(mine, 'called_normal_windows'):.3f} | "
            f"{mean(mine, 'called_twin_windows'):.3f} | {found:.0f} of {faults:.0f} | "
            f"{mean(mine, 'top_line_caused'):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", nargs="+", default=["test_only"])
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    pipe = load_pipeline(args.model, device="cpu")
    known = {
        "test_only": list(corpus.TEST_ONLY),
        "training": [service for service in corpus.SERVICES if service not in corpus.TEST_ONLY],
    }
    services = [service for given in args.services for service in known.get(given, [given])]
    corpus.check_services(services)
    begun, records = time.monotonic(), []
    for record in measure_recordings(pipe, services, args.draws):
        records.append(record)
        seconds = time.monotonic() - begun
        print(
            f"{record['service']} {record['reference']} {record['draw']}: AUROC "
            f"{record['auroc']['LogMoE']['all']:.3f}, {seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    args.output.write_text(json.dumps({"machine": describe(), "recordings": records}, indent=2) + "\n")
    print(print_tables(records))


if __name__ == "__main__":
    main()
