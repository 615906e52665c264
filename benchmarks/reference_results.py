"""The results of `reference.py`: a JSON that grows record by record, and the tables that are made of it."""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

Record = dict[str, Any]


class Results:
    """Records in a JSON file, which is written anew with each of them.

    Args:
        path: of the file; what it holds already is kept.
        model: digest of the checkpoint that is measured.
        fresh: begin anew.

    Attributes:
        content: of the file: `model`, `machine`, and a list of records for each part.

    Raises:
        ValueError: the file is of another checkpoint.
    """

    def __init__(self, path: Path, model: str, fresh: bool = False):
        self.path = path
        self.content: dict[str, Any] = {"model": model, "machine": describe()}
        self._begun = time.monotonic()
        if path.exists() and not fresh:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.get("model") != model:
                raise ValueError(
                    f"{path} is of the checkpoint {found.get('model', 'of an earlier version')}, and this one is "
                    f"{model}: give --fresh to begin anew, or --output for another file"
                )
            self.content = found

    def has(self, part: str, key: Record) -> bool:
        """Whether a record is there."""
        return any(key.items() <= record.items() for record in self.content.get(part, []))

    def add(self, part: str, key: Record, record: Record | None) -> None:
        """Adds a record, or that there is nothing to record."""
        whole = without_nan({**key, **({"nothing": True} if record is None else record)})
        self.content.setdefault(part, []).append(whole)
        # A run that is killed meanwhile leaves the file as it was.
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)
        told = " ".join(str(value) for value in key.values())
        print(f"{part} {told}: {time.monotonic() - self._begun:.0f} s", file=sys.stderr, flush=True)


def without_nan(value: Any) -> Any:
    """A value for JSON, which has no NaN: None in its place, in dicts and lists as well."""
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value


# --- means -----------------------------------------------------------------------------------------------------------


def value_of(record: Record, keys: Sequence[str]) -> float | None:
    """What a record says under these keys, one inside the other; None if nothing."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def share(values: Sequence[bool] | np.ndarray) -> float | None:
    """The share of true values; None of none."""
    return float(np.mean(values)) if len(values) else None


def over_draws(records: Sequence[Record], *keys: str) -> tuple[float, float]:
    """Mean over services, then mean and standard deviation over draws; NaN where nothing is known.

    Of a service with fewer draws than others, the mean over its draws stands for those it lacks.
    """
    services = sorted({record["service"] for record in records})
    draws = sorted({record["draw"] for record in records})
    table = np.full((len(services), len(draws)), np.nan)
    for record in records:
        value = value_of(record, keys)
        if value is not None:
            table[services.index(record["service"]), draws.index(record["draw"])] = value
    table = table[~np.isnan(table).all(axis=1)]
    if not table.size:
        return float("nan"), float("nan")
    table = np.where(np.isnan(table), np.nanmean(table, axis=1, keepdims=True), table)
    means = table.mean(axis=0)
    return float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else float("nan")


def shown(value: float | None, spread: float = float("nan"), digits: int = 3) -> str:
    """A number for a table, with its spread if there is one; nothing for none."""
    if value is None or np.isnan(value):
        return ""
    return f"{value:.{digits}f}" + ("" if np.isnan(spread) else f" ± {spread:.{digits}f}")


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; nothing without rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


# --- tables ----------------------------------------------------------------------------------------------------------


def by_kind(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by kind of reference, in the order of their appearance."""
    kinds: dict[str, list[Record]] = {}
    for record in records:
        kinds.setdefault(record["reference"], []).append(record)
    return kinds


def detectors_table(records: Sequence[Record]) -> str:
    """AUROC of each detector, by what the fault shows by."""
    rows = []
    for kind, mine in by_kind(records).items():
        for name in mine[0]["auroc"]:
            cells = [shown(*over_draws(mine, "auroc", name, "all"))]
            cells += [shown(over_draws(mine, "auroc", name, by)[0]) for by in ("text", "order", "silence")]
            rows.append([kind, name, *cells])
    return table_of(["judged against", "detector", "AUROC", "text", "order", "silence"], rows)


def found_table(records: Sequence[Record]) -> str:
    """What LogMoE finds at 1% promised, and its false alarms."""
    rows = []
    for kind, mine in by_kind(records).items():
        draws = len({record["draw"] for record in mine})
        found, faults = (sum(record[key] for record in mine) / draws for key in ("text_faults_found", "text_faults"))
        rows.append(
            [
                kind,
                shown(*over_draws(mine, "found_windows"), 2),
                shown(*over_draws(mine, "called_normal_windows")),
                shown(*over_draws(mine, "called_twin_windows")),
                f"{found:.0f} of {faults:.0f}",
                shown(*over_draws(mine, "top_line_caused"), 2),
            ]
        )
    header = ["judged against", "anomalous windows found", "normal windows of faulty runs called", "of healthy twins"]
    return table_of([*header, "text faults found", "top line caused by the fault"], rows)


def services_table(records: Sequence[Record], detector: str) -> str:
    """AUROC of one detector by service."""
    kinds = by_kind(records)
    rows = []
    for service in dict.fromkeys(record["service"] for record in records):
        cells = []
        for mine in kinds.values():
            of_service = [record for record in mine if record["service"] == service]
            cells.append(shown(*over_draws(of_service, "auroc", detector, "all")) if of_service else "")
        rows.append([service, *cells])
    return table_of([f"AUROC of {detector}", *kinds], rows)


def dirt_table(records: Sequence[Record]) -> str:
    """AUROC lost where entries that faults caused are in the reference."""
    kinds = by_kind(records)
    if not {"earlier", "dirty"} <= set(kinds):
        return ""
    rows = []
    for name in kinds["earlier"][0]["auroc"]:
        clean, dirty = (over_draws(kinds[kind], "auroc", name, "all")[0] for kind in ("earlier", "dirty"))
        rows.append([name, shown(clean), shown(dirty), shown(clean - dirty)])
    return table_of(["detector", "healthy reference", "2% of it from faults", "AUROC lost"], rows)


def lengths_table(records: Sequence[Record]) -> str:
    """False alarms on short healthy logs: all services together, then logs by service."""
    services = list(dict.fromkeys(record["service"] for record in records))
    rows = []
    for length in sorted({record["length"] for record in records}):
        mine = {record["service"]: record for record in records if record["length"] == length}
        cells = []
        for number, called in (("sequences", "called"), ("logs", "called_logs")):
            whole = sum(record[number] for record in mine.values())
            cells.append(shown(sum(record[called] * record[number] for record in mine.values()) / whole))
        cells += [shown(mine[service]["called_logs"]) if service in mine else "" for service in services]
        rows.append([str(length), str(sum(record["logs"] for record in mine.values())), *cells])
    return table_of(["entries of a healthy log", "logs", "sequences called", "logs called", *services], rows)


def times_table(records: Sequence[Record]) -> str:
    """Seconds for 10,000 entries, all services together.

    Parsing is left out. LogMoE encodes, and measures what "new template", "1-NN distance", the sum of ranks and
    gradient boosting read: they take as long.
    """
    if not records:
        return ""
    rows = []
    for name in records[0]["seconds"]:
        cells = []
        for step, entries in (("fit", "reference_entries"), ("judge", "entries")):
            seconds = sum(record["seconds"][name][step] for record in records)
            cells.append(shown(10_000 * seconds / sum(record[entries] for record in records), digits=2))
        rows.append([name, *cells])
    return table_of(["seconds for 10,000 parsed entries", "to fit", "to judge"], rows)


def public_table(records: Sequence[Record]) -> str:
    """Public logs: AUROC by detector, and what LogMoE finds."""
    if not records:
        return ""
    names = list(dict.fromkeys(name for record in records for name in record["auroc"]))
    rows = []
    for record in records:
        cells = [shown(record["auroc"].get(name)) for name in names]
        number = f"{record['judged']:,} ({record['anomalous']:.1%})"
        found = [shown(record["found"], digits=2), shown(record["called_normal"])]
        rows.append([record["log"], record["reference"], number, *cells, *found])
    header = ["log", "judged against", "judged (anomalous)", *names, "anomalous found", "normal called"]
    return table_of(header, rows)


def print_tables(content: dict[str, Any]) -> str:
    """All tables of results that are there."""
    parts = {
        part: [record for record in content.get(part, []) if not record.get("nothing")]
        for part in ("recordings", "lengths", "times", "public")
    }
    recordings = parts["recordings"]
    tables = [
        detectors_table(recordings),
        found_table(recordings),
        services_table(recordings, "LogMoE"),
        services_table(recordings, "gradient boosting on LogMoE's features"),
        dirt_table(recordings),
        lengths_table(parts["lengths"]),
        times_table(parts["times"]),
        public_table(parts["public"]),
    ]
    return "\n\n".join(table for table in tables if table)


__all__ = ["Results", "over_draws", "print_tables", "share", "shown", "table_of"]
