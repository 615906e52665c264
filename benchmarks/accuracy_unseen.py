"""Services never seen: against a healthy log, against themselves, by wording; parts `recordings`, `promises`, `times`.

A step is a service, what it is judged against, and a draw. It keeps scores, labels and faults of all windows, from
which all figures are made.
"""

from typing import Any

import numpy as np
from accuracy_detectors import LOGMOE, RATES, Scored, predict, score, score_severity
from accuracy_metrics import calibration_error, mean_and_spread, of_calls, of_scores, paired_intervals, share_interval
from accuracy_recordings import KINDS, VISIBLE, Recorded, Truth
from accuracy_rivals import RIVALS, SLOW, timed_rivals
from accuracy_store import Arrays, Kept, Key, Part, Record

from recordings.windows import ParsedRun

OWN_FILES = ("accuracy_recordings.py", "accuracy_detectors.py", "accuracy_rivals.py", "accuracy_unseen.py")
SLOW_DRAWS = 1
"""Draws that the slow rivals are measured in."""
WITH_TWINS = ("earlier", "dirty", "self", "none")
"""What the healthy runs can be judged against."""


def keys(options: Any) -> list[Key]:
    """A step for each service, kind and draw."""
    return [
        {"service": service, "reference": kind, "draw": draw}
        for service in options.services
        for kind in KINDS
        for draw in range(options.draws)
    ]


# --- measuring -------------------------------------------------------------------------------------------------------


def judge(bench: Any, recorded: Recorded, run: ParsedRun, kind: str, draw: int) -> tuple[Scored, Truth] | None:
    """One run, judged; None if there is no reference."""
    is_alone = kind in ("self", "none")
    reference = None if is_alone else recorded.reference(run, kind, draw)
    if reference is None and not is_alone:
        return None
    parsed = run.parsed.take(np.arange(6 * draw if is_alone else 0, len(run.parsed)))
    log = recorded.prepare(parsed)
    boosting = bench.boosting.without(recorded.service)
    rivals = [name for name in RIVALS if draw < SLOW_DRAWS or name not in SLOW]
    mode = kind if is_alone else "reference"
    scored = score(bench.pipe, log, reference, mode, boosting, draw, rivals)
    return scored, recorded.truth(run, parsed, log.sequences)


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One service, judged in one way."""
    recorded = bench.recorded(key["service"])
    kind, draw = key["reference"], key["draw"]
    columns: dict[str, list[np.ndarray]] = {}
    faults: list[dict[str, Any]] = []
    findings: dict[str, int] = {"of_faults": 0, "others": 0, "faults": 0, "faults_found": 0, "lines": 0, "twin": 0}
    findings["twin_lines"] = 0
    runs = recorded.faulty + (recorded.twins if kind in WITH_TWINS else [])
    first_fault = 0
    for number, run in enumerate(runs):
        judged = judge(bench, recorded, run, kind, draw)
        if judged is None:
            continue
        scored, truth = judged
        size = len(truth.labels)
        lengths = [len(caused) for caused in truth.caused]
        parsed = scored.predicted.prepared.parsed
        first = [int(parsed.first_line[positions[0]]) for positions in scored.predicted.prepared.sequences]
        last = [int(parsed.last_line[positions[-1]]) for positions in scored.predicted.prepared.sequences]
        row = {
            "run": np.full(size, number, np.int16),
            "is_twin": np.full(size, run.split == "twin"),
            "label": truth.labels,
            "visible": truth.visible,
            "first_line": np.array(first, np.int32),
            "last_line": np.array(last, np.int32),
            "caused_share": np.array([caused.mean() for caused in truth.caused], np.float32),
            "entries": np.array(lengths, np.int16),
            "is_called": scored.is_called,
            "top_is_caused": top_is_caused(scored, truth),
            **{f"called/{rate}": called for rate, called in scored.called_at.items()},
            **{f"kept/{rate}": np.full(size, kept) for rate, kept in scored.kept_rates.items()},
            **{f"part/{name}": values for name, values in scored.parts.items()},
            **{f"score/{name}": values for name, values in scored.scores.items()},
            **{f"threshold/{name}": np.full(size, value) for name, value in scored.thresholds.items()},
        }
        for name, values in row.items():
            columns.setdefault(name, []).append(values)
        intervals = recorded.intervals_of(run)
        is_there = truth.faults.any(axis=0)
        for fault in np.flatnonzero(is_there).tolist():
            windows = np.flatnonzero(truth.faults[:, fault]).tolist()
            faults.append(
                {"run": run.name, "fault": intervals[fault]["fault"], "visible": intervals[fault]["visible"]}
                | {"windows": [first_fault + place for place in windows]}
            )
        first_fault += size
        count_findings(findings, scored, truth, recorded, run, bench)
    if not columns:
        return {"nothing": True}, None
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    return {"runs": [run.name for run in runs], "faults": faults, "findings": findings}, arrays


def top_is_caused(scored: Scored, truth: Truth) -> np.ndarray:
    """Whether a fault caused the most telling line, int8 `(windows,)`; -1 if not called, or if it holds none."""
    found = np.full(len(truth.labels), -1, np.int8)
    for place in np.flatnonzero(scored.is_called).tolist():
        if truth.caused[place].any():
            found[place] = truth.caused[place][scored.top_entry(place)]
    return found


def count_findings(
    counted: dict[str, int], scored: Scored, truth: Truth, recorded: Recorded, run: ParsedRun, bench: Any
) -> None:
    """Adds what is shown of a run: findings that tell of a fault, those that do not, and the faults that are told."""
    found = scored.findings(bench.pipe)
    prepared = scored.predicted.prepared
    if run.split == "twin":
        counted["twin"] += len(found)
        counted["twin_lines"] += len(run.rows)
        return
    bounds = np.array(
        [(prepared.parsed.first_line[p[0]], prepared.parsed.last_line[p[-1]]) for p in prepared.sequences]
    )
    told: set[int] = set()
    for finding in found:
        rows = run.rows[finding.first_line - 1 : finding.last_line]
        touches = (bounds[:, 0] <= finding.last_line) & (bounds[:, 1] >= finding.first_line)
        # Of the faults in its windows: those that caused one of its lines, or show by no line.
        near = np.flatnonzero(truth.faults[touches].any(axis=0)).tolist() if touches.any() else []
        intervals = recorded.intervals_of(run)
        named = {row["fault"] for row in rows if row["label"]}
        mine = {f for f in near if intervals[f]["fault"] in named or intervals[f]["visible"] in ("order", "silence")}
        told |= mine
        counted["of_faults" if mine else "others"] += 1
    counted["faults"] += int(truth.faults.any(axis=0).sum())
    counted["faults_found"] += len(told)
    counted["lines"] += len(run.rows)


# --- figures ---------------------------------------------------------------------------------------------------------


def summarise(kept: Kept) -> Record:
    """Tables by what is judged against: means over services, and their spread over draws."""
    result: Record = {"services": sorted({key["service"] for key in kept.keys}), "judged_against": {}}
    for kind in dict.fromkeys(key["reference"] for key in kept.keys):
        places = [place for place in kept.places(reference=kind) if not kept.records[place].get("nothing")]
        if places:
            result["judged_against"][kind] = summarise_kind(kept, places)
    return result


def summarise_kind(kept: Kept, places: list[int]) -> Record:
    """What was measured against one kind of reference."""
    services = sorted({kept.keys[place]["service"] for place in places})
    draws = sorted({kept.keys[place]["draw"] for place in places})
    figures: dict[str, dict[str, np.ndarray]] = {}
    by_service: dict[str, list[float]] = {service: [] for service in services}
    groups = []
    fault_counts: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def put(detector: str, name: str, where: tuple[int, int], value: float) -> None:
        tables = figures.setdefault(detector, {})
        if name not in tables:
            tables[name] = np.full((len(services), len(draws)), np.nan)
        tables[name][where] = value

    for place in places:
        key, arrays = kept.keys[place], kept.arrays(place)
        where = services.index(key["service"]), draws.index(key["draw"])
        is_judged = ~arrays["is_twin"]
        label, visible = arrays["label"][is_judged], arrays["visible"][is_judged]
        scores = {name[6:]: values for name, values in arrays.items() if name.startswith("score/")}
        groups.append((arrays["run"][is_judged], label, {name: values[is_judged] for name, values in scores.items()}))
        for name, values in scores.items():
            mine = values[is_judged]
            for metric, value in of_scores(label, mine).items():
                put(name, metric, where, value)
            for shown in VISIBLE[1:]:
                chosen = (label == 0) | (visible == VISIBLE.index(shown))
                put(name, f"auroc_{shown}", where, of_scores(label[chosen], mine[chosen])["auroc"])
            threshold = arrays.get(f"threshold/{name}")
            is_called = arrays["is_called"] if name == LOGMOE else None if threshold is None else values > threshold
            if is_called is not None:
                for metric, value in of_calls(label, is_called[is_judged]).items():
                    put(name, metric, where, value)
                put(name, "called_healthy", where, share(is_called[arrays["is_twin"]]))
                for kind, faults in by_visibility(kept.records[place]["faults"]).items():
                    found = [bool(is_called[fault["windows"]].any()) for fault in faults]
                    fault_counts.setdefault((name, kind), []).append((sum(found), len(found)))
        put(LOGMOE, "calibration_error", where, calibration_error(label, scores[LOGMOE][is_judged]))
        top = arrays["top_is_caused"][is_judged]
        put(LOGMOE, "top_line_caused", where, share(top[top >= 0] == 1))
        by_service[key["service"]].append(of_scores(label, scores[LOGMOE][is_judged])["auroc"])
    detectors = {
        name: {metric: mean_and_spread(table) for metric, table in tables.items()}
        | {"draws": int((~np.isnan(tables["auroc"])).any(axis=0).sum())}
        # Of the first draw alone, in which references lack nothing.
        | {"auroc_of_all": float(tables["auroc"][:, 0].mean()) if draws[0] == 0 else None}
        for name, tables in figures.items()
    }
    for (name, kind), counts in fault_counts.items():
        number = detectors[name]["draws"]
        detectors[name][f"{kind}faults_found"] = sum(found for found, _ in counts) / number
        detectors[name][f"{kind}faults"] = sum(there for _, there in counts) / number
    counted = [kept.records[place]["findings"] for place in places]
    whole = {name: sum(one[name] for one in counted) / len(draws) for name in counted[0]}
    return {
        "draws": len(draws),
        "detectors": detectors,
        "services": {service: [float(np.mean(v)), float(np.std(v))] for service, v in by_service.items() if v},
        "logmoe_less": paired(groups, draws),
        "findings": whole
        | {
            "per_fault_found": ratio(whole["of_faults"], whole["faults_found"]),
            "others_per_2000_lines": ratio(2000 * whole["others"], whole["lines"]),
            "healthy_per_2000_lines": ratio(2000 * whole["twin"], whole["twin_lines"]),
        },
    }


def by_visibility(faults: list[Record]) -> dict[str, list[Record]]:
    """All faults, and those that show by text, by what figures of them are named with."""
    return {"": faults, "text_": [fault for fault in faults if fault["visible"] == "text"]}


def paired(groups: list[Any], draws: list[int]) -> Record:
    """Differences to each detector; to those of the first draw alone, in that draw."""
    names = {name for _, _, scores in groups for name in scores}
    everywhere = {name for name in names if all(name in scores for _, _, scores in groups)}
    result = paired_intervals([(run, label, pick(scores, everywhere)) for run, label, scores in groups], LOGMOE)
    if names - everywhere:
        some = [(r, y, pick(s, (names - everywhere) | {LOGMOE})) for r, y, s in groups if names <= set(s)]
        result |= paired_intervals(some, LOGMOE)
    return dict(sorted(result.items(), key=lambda item: item[1]["difference"]))


def pick(scores: dict[str, np.ndarray], names: set[str]) -> dict[str, np.ndarray]:
    """Some of the scores."""
    return {name: values for name, values in scores.items() if name in names}


def share(values: np.ndarray) -> float:
    """The share of true values; NaN of none."""
    return float(np.mean(values)) if len(values) else np.nan


def ratio(value: float, number: float) -> float:
    """A quotient; NaN by zero."""
    return value / number if number else np.nan


# --- promises --------------------------------------------------------------------------------------------------------


def promise_keys(options: Any) -> list[Key]:
    """One step: everything is in the arrays of `recordings`."""
    return [{"draws": options.draws, "services": "+".join(options.services)}]


def measure_promises(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """False alarms on healthy runs at each promise, by service and together; each run's windows count once a draw."""
    kept = bench.kept("recordings")
    rows: list[Record] = []
    for service in sorted({step["service"] for step in kept.keys}):
        for rate in RATES:
            hits = number = 0
            promised = []
            for place in kept.places(service=service, reference="earlier"):
                if kept.records[place].get("nothing"):
                    continue
                arrays = kept.arrays(place)
                called = arrays[f"called/{rate}"][arrays["is_twin"]]
                hits, number = hits + int(called.sum()), number + len(called)
                promised += arrays[f"kept/{rate}"][arrays["is_twin"]].tolist()
            if number:
                rows.append(promise_row(service, rate, hits, number, float(np.mean(promised)), key["draws"]))
    for rate in RATES:
        mine = [row for row in rows if row["promised"] == rate]
        hits, number = (sum(row[name] for row in mine) for name in ("called", "windows"))
        kept_rate = float(np.mean([row["kept"] for row in mine])) if mine else np.nan
        if number:
            rows.append(promise_row("all", rate, hits, number, kept_rate, key["draws"]))
    return {"rows": rows}, None


def promise_row(service: str, rate: float, hits: int, number: int, kept: float, draws: int) -> Record:
    """One row; the interval counts the windows of a single draw, for draws share them."""
    once = max(1, round(number / draws))
    return {
        "service": service,
        "promised": rate,
        "kept": kept,
        "windows": number,
        "called": hits,
        "realised": hits / number,
        "interval": share_interval(round(hits / draws), once),
    }


# --- time ------------------------------------------------------------------------------------------------------------


def time_keys(options: Any) -> list[Key]:
    """A step for each service."""
    return [{"service": service} for service in options.services]


def measure_times(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """Seconds of the processor to fit a reference that is parsed already, and to judge a run, one thread."""
    recorded = bench.recorded(key["service"])
    pipe, clock = bench.pipe, bench.processor_clock
    for run in recorded.faulty[::-1]:
        if others := recorded.others(run, "earlier"):
            break
    boosting = bench.boosting.without(key["service"])
    pipe.forget()
    begun = clock()
    reference = recorded.fit(others, "earlier", 0)
    log = recorded.prepare(run.parsed)
    # The first judgement makes what all others share: that is part of fitting.
    predict(
        pipe, recorded.prepare(run.parsed.take(np.arange(recorded.rule.max_sequence_length))), reference, "reference"
    )
    fitted = clock()
    pipe.forget()
    predicted = predict(pipe, log, reference, "reference")
    judged = clock()
    boosting.decision_function(predicted.evidence.inputs)
    boosted = clock()
    own = {"fit": fitted - begun, "judge": judged - fitted}
    seconds = {LOGMOE: own, "gradient boosting on LogMoE's features": own | {"judge": boosted - fitted}}
    begun = clock()
    recorded.fit(others, "earlier", 0)
    learning = clock() - begun  # of templates: what the others need
    for name, spent in timed_rivals(reference, log, clock).items():
        seconds[name] = spent | {"fit": spent["fit"] + learning}
    begun = clock()
    score_severity(log)
    seconds["severity words"] = {"fit": 0.0, "judge": clock() - begun}
    return {"reference_entries": len(reference), "entries": len(log.parsed), "seconds": seconds}, None


def summarise_times(kept: Kept) -> Record:
    """Seconds for 10,000 entries, all services together."""
    table: Record = {}
    for name in kept.records[0]["seconds"] if kept.records else ():
        table[name] = {
            step: 10_000
            * sum(record["seconds"][name][step] for record in kept.records)
            / sum(record[entries] for record in kept.records)
            for step, entries in (("fit", "reference_entries"), ("judge", "entries"))
        }
    return {"seconds_for_10000_entries": table}


def first_record(kept: Kept) -> Record:
    """Of a part of one step."""
    return kept.records[0] if kept.records else {}


PARTS = (
    Part("recordings", keys, measure, summarise, OWN_FILES, with_boosting=True),
    Part("promises", promise_keys, measure_promises, first_record, OWN_FILES, ("recordings",)),
    Part("times", time_keys, measure_times, summarise_times, OWN_FILES, with_boosting=True),
)
