"""Writes `docs/results.md` from `results/accuracy.json`: every number on the page stands in the JSON."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from accuracy_plots import draw

Content = Mapping[str, Any]
Result = Mapping[str, Any]

AGAINST = {
    "earlier": "fault-free stretches of earlier recordings with the same settings",
    "twin": "a run without faults",
    "both": "both of these",
    "dirty": "`earlier`, 2% of whose entries faults caused",
    "self": "nothing but the log itself: its other blocks",
    "none": "its wording alone",
}
LOGMOE, BOOSTING = "LogMoE", "gradient boosting on LogMoE's features"
UNTRAINED = "sum of ranks, untrained"
BAG_OF_WORDS, STACK = "bag of words, logistic regression", "LogMoE's stack alone"


def number(value: Any, digits: int = 3) -> str:
    """A number for a table, with its spread if it is a pair; nothing for none."""
    if isinstance(value, list | tuple):
        shown, spread = number(value[0], digits), number(value[1], digits)
        return f"{shown} ± {spread}" if shown and spread else shown
    return "" if value is None else f"{value:,.{digits}f}"


def mean(value: Any, digits: int = 3) -> str:
    """The mean of a pair."""
    return number(value[0] if isinstance(value, list | tuple) else value, digits)


def interval(value: Mapping[str, Any]) -> str:
    """A difference with its interval, bold where 0 lies outside."""
    low, high = value["interval"]
    text = f"{value['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; nothing without rows."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) if rows else ""


# --- sections --------------------------------------------------------------------------------------------------------


def recordings(result: Result) -> list[str]:
    """Questions a and b."""
    kinds = result["judged_against"]
    services = ", ".join(result["services"])
    texts = [
        f"Services: {services}. No part of the checkpoint was trained on them or chosen by them. Windows of 32 "
        f"entries; {max(kind['draws'] for kind in kinds.values())} draws of each reference; means over services, ± "
        "the standard deviation over draws. Judged against "
        + "; ".join(f"`{kind}`: {AGAINST[kind]}" for kind in kinds)
        + ". The slow rivals are measured in one draw, and have no ±.",
        "AUROC and average precision are of the scores. All else is at 1% promised false alarms: each rival's "
        "threshold lies where 1% of the reference's own windows are called, those fitted to the other two thirds of "
        "it. *Healthy called* is the share of windows of a healthy run, *normal called* that of normal windows of "
        "runs with faults, which stand beside faults. *Faults found* counts a fault once, however many windows it "
        "fills.",
    ]
    for kind, figures in kinds.items():
        texts += [f"### Against {AGAINST[kind]} (`{kind}`)", detectors_table(figures)]
        if figures["logmoe_less"]:
            texts.append(
                "LogMoE's AUROC less that of others, with 95% intervals (paired bootstrap of blocks of eight "
                "windows): "
                + "; ".join(f"{name} {interval(value)}" for name, value in figures["logmoe_less"].items())
                + "."
            )
        texts.append(findings_text(figures))
    texts += ["### By service, AUROC of LogMoE", services_table(kinds), verdict(kinds)]
    return texts


def left_out(result: Result) -> list[str]:
    """Question a and b once more, of the training services."""
    kinds = result["judged_against"]
    names = {name for figures in kinds.values() for name in figures["detectors"]}

    def mean_of(name: str) -> float:
        return fmean(figures["detectors"][name]["auroc"][0] for figures in kinds.values())

    rows = [
        [f"**{name}**" if name == LOGMOE else name]
        + [number(figures["detectors"][name]["auroc"]) for figures in kinds.values()]
        for name in sorted(names, key=mean_of, reverse=True)
    ]
    own = []
    for kind, figures in kinds.items():
        of, found = figures["detectors"][LOGMOE], figures["findings"]
        cells = [mean(of.get(f"auroc_{shown}")) for shown in ("text", "order", "silence")]
        cells += [mean(of.get(name)) for name in ("average_precision", "f1", "recall", "called_normal")]
        cells += [mean(of.get("called_healthy")), f"{of['faults_found']:.0f} of {of['faults']:.0f}"]
        cells += [number(found["others_per_2000_lines"], 2), number(found["healthy_per_2000_lines"], 2)]
        own.append([kind, *cells, mean(of.get("top_line_caused"), 2)])
    header = ["LogMoE against", "text", "order", "silence", "average precision", "F1", "recall", "normal called"]
    header += ["healthy called", "faults found", "other findings in 2,000 lines", "of healthy runs"]
    return [
        f"The {len(result['services'])} services that the checkpoint was trained on, each judged by a network that "
        "was trained without it and its group of two or three, by the recipe of the default checkpoint without mined "
        "statements. All else is the product as it is, with what was chosen on these services: the recipe, the scale "
        "of scores in self mode. AUROC, means over services, ± the standard deviation over draws of the reference. "
        "Gradient boosting is trained without the judged service alone, so on one or two services more.",
        table(["detector", *kinds], rows),
        table([*header, "top line caused by the fault"], own),
        "AUROC of LogMoE by service:",
        services_table(kinds),
        "LogMoE's AUROC less that of others, with 95% intervals (paired bootstrap of blocks of eight windows). "
        + differences({f"`{kind}`": figures["logmoe_less"] for kind, figures in kinds.items()}),
    ]


def detectors_table(figures: Result) -> str:
    """All figures of all detectors against one kind of reference."""
    rows = []
    ordered = sorted(figures["detectors"].items(), key=lambda item: -(item[1]["auroc"][0] or 0))
    for name, of in ordered:
        found = f"{of['faults_found']:.0f} of {of['faults']:.0f}" if "faults" in of else ""
        cells = [number(of["auroc"]), *(mean(of.get(f"auroc_{shown}")) for shown in ("text", "order", "silence"))]
        cells += [mean(of["average_precision"])]
        cells += [mean(of.get(metric)) for metric in ("f1", "recall", "mcc", "called_normal", "called_healthy")]
        rows.append([f"**{name}**" if name == LOGMOE else name, *cells, found])
    header = ["detector", "AUROC", "text", "order", "silence", "average precision", "F1", "recall", "MCC"]
    return table([*header, "normal called", "healthy called", "faults found"], rows)


def findings_text(figures: Result) -> str:
    """What people are shown."""
    of, counted = figures["detectors"][LOGMOE], figures["findings"]
    told = f"{counted['faults_found']:.0f} of {counted['faults']:.0f}"
    parts = [
        f"As findings, LogMoE tells {told} faults, with {number(counted['per_fault_found'], 2)} findings for each, "
        f"and {number(counted['others_per_2000_lines'], 2)} findings in 2,000 lines that tell of none"
    ]
    if counted["healthy_per_2000_lines"] is not None:
        parts.append(f"on healthy runs {number(counted['healthy_per_2000_lines'], 2)} in 2,000 lines")
    parts.append(f"top line caused by the fault {mean(of.get('top_line_caused'), 2)}")
    parts.append(f"expected calibration error {mean(of.get('calibration_error'))}")
    return "; ".join(parts) + "."


def services_table(kinds: Result) -> str:
    """AUROC of LogMoE by service."""
    services = list(dict.fromkeys(name for kind in kinds.values() for name in kind["services"]))
    rows = [[name, *(number(kind["services"].get(name)) for kind in kinds.values())] for name in services]
    return table(["service", *kinds], rows)


def verdict(kinds: Result) -> str:
    """Whether the network earns its place beside boosting on its own features, in words."""
    told = standing({f"`{kind}`": figures["logmoe_less"].get(BOOSTING) for kind, figures in kinds.items()})
    return f"Does the network earn its place? Against gradient boosting on its own features: {told}."


def standing(differences: Mapping[str, Any]) -> str:
    """Where LogMoE stands against one detector, in words; nothing of what was not compared."""
    told = []
    for name, less in differences.items():
        if less is not None:
            low, high = less["interval"]
            word = "ahead" if low > 0 else "behind" if high < 0 else "even"
            told.append(f"{name} {word} ({less['difference']:+.3f})")
    return ", ".join(told)


def differences(less: Mapping[str, Mapping[str, Any]]) -> str:
    """LogMoE less each rival, log by log, with intervals."""
    told = (
        f"{log}: " + "; ".join(f"{name} {interval(value)}" for name, value in of_rivals.items())
        for log, of_rivals in less.items()
    )
    return ". ".join(told) + "."


def promises(result: Result) -> list[str]:
    """False alarms promised and realised."""
    rows = [
        [
            row["service"],
            f"{row['promised']:.1%}",
            number(row["kept"], 4),
            f"{row['windows']:,}",
            number(row["realised"], 4),
            "{:.4f} to {:.4f}".format(*row["interval"]),
        ]
        for row in result["rows"]
    ]
    return [
        "Windows of healthy runs, judged against what is healthy of earlier runs. With too few healthy windows for a "
        "promise the lowest rate that they allow is kept, and said. Windows are counted in each draw; the 95% "
        "intervals (Clopper and Pearson) count those of one draw.",
        table(["service", "promised", "kept", "windows", "realised", "95% interval"], rows),
    ]


def short(result: Result) -> list[str]:
    """False alarms on healthy logs of any length."""
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["services"]))
    rows = [
        [f"{row['entries']}", f"{row['logs']:,}", number(row["called"]), number(row["called_logs"])]
        + [number(row["services"].get(name)) for name in names]
        for row in result["rows"]
    ]
    return [
        "Parts of the healthy runs, each judged as a log of its own against what is healthy of earlier runs, at 1% "
        "promised: which share of their sequences is called, and in which share of the logs one is, of all services "
        "together and of each.",
        table(["entries of a healthy log", "logs", "sequences called", "logs called", *names], rows),
    ]


def drift(result: Result) -> list[str]:
    """What is called by references that fit and by others, and what the product says."""
    shown, far = [], result["far_more"]
    for row in result["rows"]:
        name = row["service"] + (" (trained on)" if row["is_trained_on"] else "")
        share, familiarity = f"{row['called']:.1%}", f"{row['familiarity']:.1%}"
        shown.append([name, row["reference"], f"{row['kept']:.1%}", share, familiarity, f"{row['warned']:.0%}"])
    broken = [row for row in result["rows"] if row["called"] > far * row["kept"]]
    told = sum(row["warned"] > 0.5 for row in broken)
    fitting = [row for row in result["rows"] if row["reference"] == "own" and row not in broken]
    silent = ", ".join(row["service"] for row in broken if row["warned"] <= 0.5)
    return [
        "Healthy runs of all services by what is healthy of their own earlier runs (mean over draws), and by the "
        f"healthy log of another service. Below {result['familiar_share']:.0%} familiar entries the answer begins "
        'with "this reference does not fit this log"; *said* is in how many draws.',
        table(["service", "reference", "kept", "called", "familiar", "said"], shown),
        f"Where more than {far} times as much was called as was kept, the product said so in {told} of {len(broken)} "
        "cases"
        + (f"; silent: {silent}" if silent else "")
        + f". Where a log's own reference kept its promise that far, it said so in "
        f"{sum(row['warned'] > 0.5 for row in fitting)} of {len(fitting)}.",
    ]


def per_day(result: Result) -> list[str]:
    """One false alarm a day, promised and realised."""
    rows = [
        [
            row["service"],
            number(24 * row["days"], 2),
            f"{row['windows']:,.0f}",
            number(row["kept_rate"], 4),
            number(row["kept"], 0),
            number(row["called"], 1),
            number(row["realised"], 0),
            "{:.0f} to {:.0f}".format(*row["interval"]),
        ]
        for row in result["rows"]
    ]
    return [
        "The same healthy runs, judged as `--false-alarms-per-day 1` judges them. The recordings are minutes under "
        "load, at whose pace a day has tens of thousands of windows: no reference made of minutes can promise one "
        "alarm among these. *Kept* is what it promises in its place and says so, one in its own windows; by the day "
        "it is to be compared with what was called. Means over draws; the 95% intervals (Garwood) count the alarms of "
        "one draw.",
        table(
            ["service", "hours", "windows", "rate kept", "kept a day", "called", "called a day", "95% interval"], rows
        ),
    ]


def times(result: Result) -> list[str]:
    """Seconds to fit and to judge."""
    rows = [
        [name, number(of["fit"], 2), number(of["judge"], 2)]
        for name, of in result["seconds_for_10000_entries"].items()
    ]
    return [
        "Seconds of the processor, one thread, for 10,000 entries that are parsed already. LogMoE's own time holds "
        "its encoder, and is also that of what reads its features: new template, 1-NN distance, the sum of ranks.",
        table(["detector", "to fit", "to judge"], rows),
    ]


SUSPECTS, QUIET = ("shown", "told"), ("false_findings", "suspect_kinds")
QUESTIONS = {
    "size": ("How much healthy log", "entries, at most"),
    "age": ("How old it may be", "reference"),
    "dirt": ("How dirty", "entries that faults caused"),
}


def amount(result: Result) -> list[str]:
    """How much, how old, how dirty."""
    texts = ["Runs that test; LogMoE at 1% promised. *Kept* is the rate that the reference allows to promise."]
    for question, (title, first) in QUESTIONS.items():
        rows = []
        for row in result.get(question, ()):
            value = row["value"]
            shown = value if isinstance(value, str) else f"{value:.1%}" if question == "dirt" else f"{value:,.0f}"
            cells = [
                number(row["auroc"]),
                *(mean(row[name]) for name in ("f1", "recall", "called_normal", "kept_rate")),
            ]
            rows.append([shown, mean(row["entries"], 0), str(row["services"]), *cells, mean(row["familiarity"], 2)])
        header = [first, "entries", "services", "AUROC", "F1", "recall", "normal called", "kept", "familiarity"]
        texts += [f"**{title}.**", table(header, rows)]
    return texts


def suspects(result: Result) -> list[str]:
    """Whether the one line of a fault is told."""
    rows = [
        [
            f"{int(size):,}",
            str(of["tries"]),
            *(mean(of[name], 2) for name in SUSPECTS),
            *(mean(of[name], 1) for name in QUIET),
        ]
        for size, of in result.items()
    ]
    header = ["lines of healthy log", "lines put in", "shown by a finding", "or among the suspects"]
    return [
        "Of the run without faults some lines are the healthy log, and the 200 after those are judged, with one line "
        "put in that a fault caused in another recording and whose kind the healthy lines lack. Is that line told? "
        "A finding shows its three most telling entries, and the answer three suspects. Beside it what the same 200 "
        "lines show without that line. Means over services and draws.",
        table([*header, "findings without it", "kinds of suspects"], rows),
    ]


def pieces(result: Result) -> list[str]:
    """The score, taken apart."""
    names = list(dict.fromkeys(name for of_kind in result.values() for name in of_kind))
    rows = [[name, *(number(of.get(name, {}).get("auroc")) for of in result.values())] for name in names]
    told = [
        f"`{kind}` {interval(of['all terms, no stack']['logmoe_less'])}"
        for kind, of in result.items()
        if "all terms, no stack" in of
    ]
    return [
        "AUROC of what the score is made of. The learned score is the stack, the mixture of experts over entries, and "
        "three small networks (terms) over features of the whole window; LogMoE joins it with the untrained sum of "
        "ranks.",
        table(["piece", *result], rows),
        f"What the stack and the sum bring together beside the terms, in AUROC: {'; '.join(told)}.",
    ]


def features(result: Result) -> list[str]:
    """Groups of features left out at judging."""
    rows = [[name, *(number(of[kind]) for kind in ("earlier", "twin"))] for name, of in result.items()]
    return [
        "AUROC on runs that test if the terms and the sum of ranks do not know a group of features, without training "
        "anew: what is left when a piece breaks, not what a network could make of the rest.",
        table(["left out", "earlier", "twin"], rows),
    ]


def routing(result: Result) -> list[str]:
    """Other `router_top_p`."""
    names = ("earlier", "twin", "earlier_stack", "twin_stack")
    rows = [
        [top_p, mean(of["active_experts"], 2), mean(of["microseconds"], 1), *(number(of[name]) for name in names)]
        for top_p, of in result.items()
    ]
    header = ["`router_top_p`", "active experts", "µs per entry", "earlier", "twin", "stack alone: earlier", "twin"]
    return [
        "The checkpoint, routed otherwise than it was trained. Time is the processor's, for everything above the "
        "encoder, one thread, 128 windows at once. `dense` gives every expert the same weight.",
        table(header, rows),
    ]


def lengths(result: Result) -> list[str]:
    """Windows of other lengths."""
    rows = []
    for length, of in result.items():
        cells = [
            cell
            for kind in ("earlier", "twin")
            for cell in (
                number(of[kind]["auroc"]),
                mean(of[kind]["called_normal"]),
                number(of[kind]["faults_found"], 2),
            )
        ]
        rows.append([length, *cells])
    header = ["entries", "AUROC, earlier", "normal called", "faults found", "AUROC, twin", "normal called"]
    return [
        "Shorter windows are other windows with other labels: AUROC compares within a row only. The checkpoint reads "
        "32 entries at most; 64 would need another one.",
        table([*header, "faults found"], rows),
    ]


def errors(result: Result) -> list[str]:
    """The worst errors, in kinds."""
    totals: dict[str, dict[str, int]] = {"misses": {}, "false_alarms": {}}
    for of in result["services"].values():
        for what, counted in of.get("kinds", {}).items():
            for kind, times_found in counted.items():
                totals[what][kind] = totals[what].get(kind, 0) + times_found
    texts = ["Against earlier stretches, first draw. Misses are faults none of whose windows is called."]
    for what, title in (("misses", "missed faults"), ("false_alarms", "false alarms")):
        ordered = sorted(totals[what].items(), key=lambda item: -item[1])
        rows = [[kind, str(times_found), result["needs"].get(kind, "")] for kind, times_found in ordered]
        texts.append(table([f"kind of {title}", "number", "what it would need"], rows))
    for service, of in result["services"].items():
        rows = []
        for what, listed in (("miss", of["misses"]), ("false alarm", of["false_alarms"])):
            for row in listed:
                where = row.get("fault") or "lines {}–{}".format(*row["lines"])
                line = row["line"].replace("|", "¦").replace("`", "´")
                rows.append([what, row["kind"], where, f"{row['margin']:+.2f}", f"`{line}`"])
        texts += [f"**{service}**", table(["error", "kind", "fault, or where", "margin", "a line of it"], rows)]
    return texts


def experts(result: Result) -> list[str]:
    """What each expert is kept for."""
    rows, shares = [], []
    for place, layer in enumerate(result["layers"]):
        for name, of in layer["by"].items():
            rows.append(
                [str(place + 1), name, number(of["bits"]), number(of["shuffled"], 4), number(of["of_bits"], 2)]
            )
            for value, kept in of["shares"].items():
                shares.append([str(place + 1), name, value, *(f"{share:.2f}" for share in kept)])
    active = ", ".join(f"{layer['active']:.2f}" for layer in result["layers"])
    count = len(result["layers"][0]["kept"]) if result["layers"] else 0
    return [
        f"{result['entries']:,} entries, services alike. Experts that an entry keeps, by layer: {active} of {count}. "
        "How much the kept experts tell of each label, in bits; shuffled choices tell what is noise.",
        table(["layer", "of", "bits told", "shuffled", "bits there are"], rows),
        "Share of entries that keep each expert:",
        table(["layer", "by", "", *(f"expert {place + 1}" for place in range(count))], shares),
    ]


def retrained(result: Result) -> list[str]:
    """Variants that were trained anew."""
    kinds = ("earlier", "twin", "both", "self", "small")
    rows = []
    for name, of in result["variants"].items():
        cells = [f"{of['parameters']:,.0f}", number(of["microseconds"], 1), number(of["seconds"], 0)]
        spread = number(of["spread"]) if of["seeds"] > 1 else ""
        stack = [*(number(of["stack"][kind]) for kind in kinds), spread]
        rows.append([name, str(of["seeds"]), *cells, *stack, number(of["whole"]["earlier"])])
    header = ["variant", "seeds", "parameters", "µs per entry, untrained", "seconds of training"]
    return [
        "The training services, each scored by a network that was trained without it and its group; recipe of the "
        "default checkpoint without mined statements. AUROC of the stack alone and of the whole learned score, means "
        f"over the {next(iter(result['variants'].values()))['shared_seeds']} seeds that all variants have, and how "
        "far the mean of the stack's spreads over all its seeds. Times are those of the first seed.",
        table([*header, *(f"stack, {kind}" for kind in kinds), "spread", "whole, earlier"], rows),
        comparison(result),
    ]


def shuffled(result: Result) -> list[str]:
    """What networks make of shuffled labels."""
    told = "; ".join(f"{part} {', '.join(number(value) for value in values)}" for part, values in result.items())
    return [
        "The training services, scored likewise, after their labels were shuffled over all services: AUROC of each "
        "shuffle, `earlier`: "
        f"{told}. Features that rise together with faults give any function of them an AUROC above or below .50; a "
        "leak would lift all of them."
    ]


def comparison(result: Result) -> str:
    """Whether the mixture beats dense, in words."""
    variants, ahead = result["variants"], result["ahead"].get("dense, 4 experts")
    if ahead is None:
        return ""
    sparse, dense = variants["Top-P, 4 experts"], variants["dense, 4 experts"]
    # A mean of so many differences is told from none where it is twice its own spread away, and counts from .001 on.
    is_told = ahead["mean"] > max(2 * ahead["spread"] / ahead["seeds"] ** 0.5, 0.001)
    others = "; ".join(
        f"ahead of {name} by {of['mean']:+.4f} ± {of['spread']:.4f}" for name, of in result["ahead"].items()
    )
    return (
        f"The mixture {'beats' if is_told else 'does not beat'} dense in accuracy (stack, mean of the five AUROCs, "
        f"{ahead['seeds']} seeds, one by one: {others}); its entries take "
        f"{number(sparse['microseconds'], 1)} µs, dense ones {number(dense['microseconds'], 1)} µs."
    )


def encoders(result: Result) -> list[str]:
    """Encoders of other depths."""
    names = {"distance": "distance alone", "terms": "terms", "stack": "stack", "whole": "whole"}
    columns = [(part, kind) for part in names for kind in ("earlier", "self")]
    rows = []
    for layers, of in result.items():
        shown = "token embeddings alone" if layers == "0" else layers
        figures = [number(of[part][kind]) for part, kind in columns]
        rows.append([shown, str(of["seeds"]), number(of["entries_per_second"], 0), *figures])
    header = [
        "layers of MiniLM",
        "seeds",
        "templates per second",
        *(f"{names[part]}, {kind}" for part, kind in columns),
    ]
    return [
        "The training services, features and networks made anew with each encoder; each service is scored by a "
        "network that learned from the other half of the services alone. AUROC of the distance to the nearest healthy "
        "entries, of the learned score and of what it is made of: means and their spread over seeds. Speed is that of "
        "one thread, of the first seed.",
        table(header, rows),
    ]


READINGS = {"all": "all masks", "times": "those of times alone", "none": "none"}


def masks(result: Result) -> list[str]:
    """What recurs with masks and without."""
    rows, entries, distinct = [], 0, dict.fromkeys(READINGS, 0)
    for name, of in result.items():
        cells = [f"{of[reading][what]:,}" for reading in READINGS for what in ("distinct", "templates")]
        rows.append([name, f"{of['entries']:,}", *cells])
        entries += of["entries"]
        distinct = {reading: number + of[reading]["distinct"] for reading, number in distinct.items()}
    told = ", ".join(f"{number / entries:.1%} with {READINGS[reading]}" for reading, number in distinct.items())
    header = [cell for words in READINGS.values() for cell in (f"{words}: distinct", "templates")]
    return [
        "All recordings of the training services, read with all masks, with those of times alone, and without any. "
        f"Of all entries are distinct texts: {told}. Each would be new to a healthy log, and templates do not make up "
        "for masks, as hardly two texts then differ in one word.",
        table(["service", "entries", *header], rows),
    ]


def unmasked(result: Result) -> list[str]:
    """What logs that are read without masks are judged by."""
    rows = []
    for kind in ("earlier", "self"):
        for reading, words in READINGS.items():
            of = result[reading][kind]
            services = [number(value) for name, value in of["auroc"].items() if name != "mean"]
            rates = [number(of[figure]["mean"], 2) for figure in ("recall", "called_normal", "familiarity")]
            rows.append([kind, words, number(of["auroc"]["mean"]), *services, *rates])
    names = [name for name in result["all"]["earlier"]["auroc"] if name != "mean"]
    header = ["judged against", "masks", "AUROC", *names, "found", "normal windows called", "familiar entries"]
    return [
        "The services that the model has never seen, runs that test, each read with all masks, with those of times "
        "alone, and without any; the network is the same. Means over runs and services, one draw of the reference. "
        "Without masks nearly each entry is new to a healthy log.",
        table(header, rows),
    ]


LABEL_METRICS = {
    "auroc": "AUROC",
    "pr_auc": "Average precision",
    "f1": "F1 at the threshold that validation data gave",
    "mcc": "Matthews correlation there",
    "expected_calibration_error": "Expected calibration error",
}
SPLITS = {
    "chronological": "by time, with an embargo",
    "group": "scenarios or applications",
    "random": "machines, at random",
    "own": "recordings",
}


def labels(result: Result) -> list[str]:
    """Labels of one's own."""
    rows = result["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["detectors"]))
    texts = [
        "Each detector learns from labelled sequences and is judged on others, split as the table says; all read the "
        f"same masked entries. LogMoE: its encoder frozen, all above it new, {result['training_steps']} steps of "
        f"{result['batch']} sequences by the trainer of `train.py`; no more, so that all logs fit into minutes "
        "([benchmarks/detection.py](../benchmarks/README.md) trains longer). Public logs are thinned evenly to the "
        "sequences counted here. *Unseen*: sequences whose set of entries no training sequence has. *Masked*: words "
        "of severity masked for all detectors. Mean ± standard deviation over draws: seeds, and splits where these "
        "are not by time; what draws nothing is measured once, and so is the slow LSTM.",
        sizes_table(rows),
    ]
    for metric, title in LABEL_METRICS.items():
        for which, words in (("all", ""), ("unseen", ", unseen alone")):
            if which == "unseen" and metric not in ("auroc", "f1"):
                continue
            cells = [
                [row["log"], row["severity"]]
                + [number(row["detectors"][name][which][metric]) if name in row["detectors"] else "" for name in names]
                for row in rows
            ]
            texts += [f"{title}{words}:", table(["log", "severity", *names], cells)]
    times = [
        [row["log"], row["severity"], number(row["encode"], 1)]
        + [
            "{:.1f} + {:.2f}".format(row["detectors"][name]["fit"], row["detectors"][name]["judge"])
            if name in row["detectors"]
            else ""
            for name in names
        ]
        for row in rows
    ]
    less = {f"{row['log']} ({row['severity']})": row["logmoe_less"] for row in rows}
    return [
        *texts,
        "Seconds of the processor to fit and to judge the test sequences, one thread; *encode* is LogMoE's encoder on "
        "all distinct entries, unless another draw had read them:",
        table(["log", "severity", "encode", *names], times),
        "LogMoE's AUROC less that of others, first draw, with 95% intervals (paired bootstrap of blocks of eight "
        "sequences). " + differences(less),
        "Does it pay where there are labels? Against a bag of words with logistic regression: "
        + standing({log: of_rivals.get(BAG_OF_WORDS) for log, of_rivals in less.items()})
        + ". What its [term of words](training.md#words) brings, against its stack alone: "
        + standing({log: of_rivals.get(STACK) for log, of_rivals in less.items()})
        + ".",
    ]


def sizes_table(rows: Sequence[Result]) -> str:
    """How labelled logs were split."""
    cells = [
        [row["log"], row["severity"], SPLITS[row["how"]], str(row["draws"])]
        + [f"{row['sizes'][name]:,}" for name in ("train", "validation")]
        + [f"{row['sizes']['test']:,} ({row['anomalous']:,})"]
        + [f"{row['unseen']:,} ({row['unseen_anomalous']:,})"]
        for row in rows
    ]
    header = ["log", "severity", "split", "draws", "training", "validation", "test (anomalous)", "unseen (anomalous)"]
    return table(header, cells)


def public(result: Result) -> list[str]:
    """Public logs."""
    rows = []
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["auroc"]))
    for row in result["rows"]:
        judged = f"{row['judged']:,} ({row['anomalous']:.1%})"
        cells = [number(row["auroc"].get(name)) for name in names]
        rows.append(
            [row["log"], row["reference"], judged, *cells, number(row["found"], 2), number(row["called_normal"])]
        )
    header = ["log", "judged against", "judged (anomalous)", *names, "anomalous found", "normal called"]
    kinds = list(dict.fromkeys(row["reference"] for row in result["rows"]))
    means = []
    for kind in kinds:
        of_kind = [row for row in result["rows"] if row["reference"] == kind]
        by_all = [name for name in names if all(row["auroc"].get(name) is not None for row in of_kind)]
        mean = {name: fmean(row["auroc"][name] for row in of_kind) for name in by_all}
        told = ", ".join(f"{name} {number(value)}" for name, value in sorted(mean.items(), key=lambda item: -item[1]))
        means.append(f"`{kind}`, of those that judge all {len(of_kind)} logs: {told}")

    less = {f"{row['log']} (`{row['reference']}`)": row["logmoe_less"] for row in result["rows"]}
    boosting, untrained = (
        standing({log: of_rivals.get(rival) for log, of_rivals in less.items()}) for rival in (BOOSTING, UNTRAINED)
    )
    return [
        "In windows of 32 entries or sessions; the reference is the healthy part of the first third and nothing else; "
        "`self` is the log itself, all of it. AUROC, and what LogMoE finds and calls at 1%. A log in which what "
        "stands out reads less like a fault than the rest, as in Spirit by itself, is judged by its wording, and no "
        "rival that knows none is asked.",
        table(header, rows),
        "Mean AUROC. " + ". ".join(means) + ".",
        f"Does the network earn its place? Against gradient boosting on its own features: {boosting}. Against the "
        f"untrained sum of ranks: {untrained}.",
        "LogMoE's AUROC less that of others, with 95% intervals (paired bootstrap of blocks of eight sequences). "
        + differences(less),
    ]


SECTIONS: dict[str, tuple[str, Callable[[Result], list[str]]]] = {
    "recordings": ("Services it has never seen", recordings),
    "left_out": ("Training services, left out", left_out),
    "public": ("Public logs", public),
    "labels_recorded": ("Labels of one's own: the recordings", labels),
    "labels": ("Labels of one's own: public logs", labels),
    "promises": ("Promises on false alarms", promises),
    "per_day": ("One false alarm a day", per_day),
    "short": ("Healthy logs of any length", short),
    "drift": ("Where the healthy log does not fit", drift),
    "times": ("Time", times),
    "amount": ("How much healthy log is enough", amount),
    "suspects": ("A fault of one line", suspects),
    "pieces": ("What each piece brings", pieces),
    "features": ("Features left out", features),
    "routing": ("Routing", routing),
    "lengths": ("Length of a window", lengths),
    "retrained": ("Trained without", retrained),
    "shuffled": ("Shuffled labels", shuffled),
    "encoders": ("Encoders", encoders),
    "masks": ("Masks", masks),
    "unmasked": ("Judged without masks", unmasked),
    "experts": ("What the experts do", experts),
    "errors": ("Errors, read by eye", errors),
}


def page(content: Content) -> str:
    """The whole page."""
    texts = [
        "# Results",
        "Written by `python benchmarks/accuracy.py` from [accuracy.json](../benchmarks/results/accuracy.json), in "
        "which every number here stands; `make accuracy` measures the recordings anew. How references work: "
        "[reference.md](reference.md). How `train.py` does on labels of one's own: "
        "[benchmarks/detection.py](../benchmarks/README.md).",
    ]
    for name, (title, section) in SECTIONS.items():
        part = content.get("parts", {}).get(name)
        if part is None or not part["result"]:
            continue
        texts.append(f"## {title}")
        if part["model"] != content["model"]:
            texts.append(f"*Measured with an earlier checkpoint, {part['model']}; today's is {content['model']}.*")
        texts += [text for text in section(part["result"]) if text]
        plot = PLOTS.get(name)
        if plot is not None:
            texts.append(f"![{title}](images/{plot})")
    texts += ["## How long it took", cost_table(content)]
    return "\n\n".join(texts) + "\n"


README_KINDS = {
    "earlier": "earlier stretches",
    "twin": "a healthy run",
    "both": "both",
    "self": "the log itself",
}
README_DETECTORS = {
    LOGMOE: "LogMoE",
    BOOSTING: BOOSTING,
    "sum of ranks, untrained": "untrained sum of healthy ranks",
    "PCA on counts": "PCA on counts",
    "1-NN distance": "1-nearest neighbour on embeddings",
    "new template": "new template",
    "severity words": "severity words",
}
BEGIN, END = "<!-- results: written by benchmarks/accuracy.py -->", "<!-- end of results -->"


def summary(content: Content) -> str:
    """The table of the README, ten rows, between its marks."""
    found = content["parts"]["recordings"]["result"]["judged_against"]
    kinds = {kind: words for kind, words in README_KINDS.items() if kind in found}
    of = {kind: found[kind]["detectors"] for kind in kinds}
    shown = {
        kind: {name: mean(of[kind][name]["auroc"]) for name in README_DETECTORS if name in of[kind]} for kind in kinds
    }
    rows = []
    for name, words in README_DETECTORS.items():
        cells = [(one.get(name, ""), max(one.values())) for one in shown.values()]
        rows.append([words, *(f"**{text}**" if text == best else text for text, best in cells)])
    told = [found[kind]["findings"] for kind in kinds]
    mine = [of[kind][LOGMOE] for kind in kinds]
    rows += [
        ["faults told", *(f"{one['faults_found']:.0f} of {one['faults']:.0f}" for one in told)],
        ["top line caused by the fault", *(mean(one.get("top_line_caused"), 2) for one in mine)],
        ["windows of healthy runs called anomalous", *(mean(one.get("called_healthy")) for one in mine)],
    ]
    draws = max(found[kind]["draws"] for kind in kinds)
    where = (
        f"Means of {draws} draws of the reference ([accuracy.json](benchmarks/results/accuracy.json)). All metrics "
        "and rivals, promises, public logs, labels of one's own, ablations: [docs/results.md](docs/results.md)."
    )
    return "\n\n".join([BEGIN, table(["", *kinds.values()], rows), where, END])


def reference_summary(content: Content) -> str:
    """The table of `docs/reference.md`, between its marks: what LogMoE tells by each kind of reference."""
    recordings = content["parts"]["recordings"]["result"]
    rows = []
    for kind, figures in recordings["judged_against"].items():
        of, found = figures["detectors"][LOGMOE], figures["findings"]
        cells = [number(of["auroc"]), number(of["auroc_of_all"])]
        cells += [mean(of.get(f"auroc_{shown}")) for shown in ("text", "order", "silence")]
        cells += [mean(figures["detectors"].get(BOOSTING, {}).get("auroc")), mean(of["recall"], 2)]
        cells += [mean(of["called_normal"]), mean(of.get("called_healthy"))]
        cells += [f"{of[f'{shown}faults_found']:.0f} of {of[f'{shown}faults']:.0f}" for shown in ("", "text_")]
        cells += [f"{found['faults_found']:.0f} of {found['faults']:.0f}", mean(of.get("top_line_caused"), 2)]
        rows.append([f"`{kind}`: {AGAINST[kind]}", *cells])
    header = ["judged against", "AUROC", "first draw", "text", "order", "silence", "boosting", "windows found"]
    header += ["normal called", "healthy called", "faults found", "text faults found", "faults told"]
    header += ["top line caused by the fault"]
    where = (
        "All detectors, every service, promises, short logs, drift and dirt, times, public logs: "
        "[results.md](results.md), of [accuracy.json](../benchmarks/results/accuracy.json)."
    )
    return "\n\n".join([BEGIN, table(header, rows), where, END])


def with_summary(document: str, summary: str, name: str) -> str:
    """A document with a table of the JSON between its marks.

    Raises:
        ValueError: it lacks the marks; `name` says which document.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{name} has no lines {BEGIN!r} and {END!r} to write its table between: put them back")
    return f"{before}{summary}{after}"


PLOTS = {"recordings": "accuracy-recordings.svg", "amount": "accuracy-amount.svg", "experts": "accuracy-experts.svg"}


def cost_table(content: Content) -> str:
    """Seconds of each part."""
    rows = []
    for name, part in content.get("parts", {}).items():
        spent = [number(part["seconds"][clock], 0) for clock in ("wall", "processor")]
        steps = f"{part['steps']} of {part['steps_asked']}"
        rows.append([f"`{name}`", steps, *spent, part["date"], part["machine"]["processor"]])
    return table(["part", "steps", "seconds", "of the processor", "date", "processor"], rows)


def write(content: Content, path: Path, readme: Path, reference: Path) -> None:
    """Writes the page, its plots, and the tables of the README and of the page on references."""
    path.write_text(page(content), encoding="utf-8")
    if "recordings" in content.get("parts", {}):
        for document, summarise in ((readme, summary), (reference, reference_summary)):
            text = with_summary(document.read_text(encoding="utf-8"), summarise(content), document.name)
            document.write_text(text, encoding="utf-8")
    for name, plot in PLOTS.items():
        part = content.get("parts", {}).get(name)
        if part is not None and part["result"]:
            draw(name, part["result"], path.parent / "images" / plot)
