"""Files of findings in, findings out: reads what `-o findings.jsonl` wrote, for other formats and for `logmoe accept`.

Such a file may come from anywhere: every value is checked before anything is made of it, and what is wrong is named
with its file and line. Keys that are not known, and types of records that later versions may add, are passed over.
"""

import json
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from logmoe.findings_logmoe import Finding, Findings, LogSummary, Skipped, Summary, in_order

Data = TypeVar("Data")
MODES = ("reference", "self", "none")
# Lines are counted from 1; others may be none. Larger numbers fit no column.
_FROM_ONE = ("line", "first_line", "last_line", "count")
_LARGEST = 2**63 - 1
_RATES = (
    "score",
    "share",
    "wording",
    "healthy_rarity",
    "familiarity",
    "kept_rate",
    "promised_rate",
    "healthy_familiarity",
)
# More than nothing was asked for.
_POSITIVE = ("promised_rate", "promised_per_day")
# What all logs of a run have in common.
OF_RUN = ("baseline", "healthy_entries", "healthy_familiarity", "promised_rate", "promised_per_day")


def read_findings(files: Sequence[str], order: str = "strength") -> Findings:
    """Findings that were written as JSON lines; those of several files, or of several runs in one, are put together.

    Args:
        files: paths; `"-"` is standard input.
        order: see [`Findings`].

    Raises:
        OSError: a file cannot be read.
        ValueError: a record is wrong, or there is no summary where one must be; names file and line.
    """
    in_order((), order)  # checks it
    if not files:
        raise ValueError("there is no file of findings to read")
    found: list[Finding] = []
    summaries: list[Summary] = []
    for file in files:
        is_whole = False
        for number, record in records_in(file):
            kind = record.get("type")
            try:
                if kind == "finding":
                    found.append(_finding(record))
                elif kind == "summary":
                    summaries.append(_summary(record))
                elif not isinstance(kind, str):
                    raise ValueError(f'"type" must say what the record is, "finding" or "summary", got {_shown(kind)}')
            except ValueError as error:
                raise ValueError(f"{file}, line {number}: {error}") from error
            is_whole = kind == "summary" or (is_whole and kind != "finding")
        if not is_whole:
            raise ValueError(
                f"{file} does not end with a summary: it is not what `-o FILE.jsonl` wrote, or the run that wrote it "
                "was cut off; judge the log again"
            )
    return Findings(found, _together(summaries), order)


def records_in(file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file, each with its line.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line holds no JSON object; names file and line.
    """
    if file == "-":
        if sys.stdin is None:
            raise ValueError("standard input is closed")
        yield from _objects(getattr(sys.stdin, "buffer", sys.stdin), "standard input")
        return
    with open(file, "rb") as stream:
        yield from _objects(stream, file)


def _objects(stream: Iterable[bytes | str], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, record in parse(stream, name):
        if not isinstance(record, dict):
            raise ValueError(f"{name}, line {number}: a JSON object is needed, got {_shown(record)}")
        yield number, record


def parse(stream: Iterable[bytes | str], name: str) -> Iterator[tuple[int, Any]]:
    """What JSON lines hold, each with its number; blank lines are passed over.

    Raises:
        ValueError: a line is no JSON; says which of what.
    """
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8") if isinstance(line, bytes) else line
            yield number, json.loads(text, parse_constant=_no_number)
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}, line {number}: not UTF-8 ({error.reason})") from error
        except RecursionError as error:
            raise ValueError(f"{name}, line {number}: nested too deeply") from error
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: no JSON ({error})") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


# ---------------------------------------------------------------------- records


def _finding(record: dict[str, Any]) -> Finding:
    finding = built(Finding, record, "")
    if finding.mode not in MODES:
        raise ValueError(f'"mode" must be one of {", ".join(MODES)}, got {_shown(finding.mode)}')
    if len(finding.id) != 12 or not set(finding.id) <= set("0123456789abcdef"):
        raise ValueError(f'"id" must be 12 hexadecimal digits, got {_shown(finding.id)}')
    if finding.last_line < finding.first_line:
        raise ValueError(f'"last_line" {finding.last_line} comes before "first_line" {finding.first_line}')
    return finding


def _summary(record: dict[str, Any]) -> Summary:
    if missing := [name for name in ("logs", "skipped") if name not in record]:
        raise ValueError(f'"{missing[0]}" is missing')
    summary = built(Summary, record, "")
    for place, log in enumerate(summary.logs):
        if log.mode not in MODES:
            raise ValueError(f'"logs[{place}].mode" must be one of {", ".join(MODES)}, got {_shown(log.mode)}')
    return summary


def built(of: type[Data], record: Any, where: str) -> Data:
    """A dataclass from plain data, whose every field is what it is declared to be."""
    if not isinstance(record, dict):
        raise ValueError(f'"{where}" must be an object, got {_shown(record)}')
    hints, values = get_type_hints(of), {}
    for column in fields(of):  # type: ignore[arg-type]
        name = f"{where}.{column.name}" if where else column.name
        if column.name in record:
            values[column.name] = _value(hints[column.name], record[column.name], name)
        elif column.default is MISSING and column.default_factory is MISSING:
            raise ValueError(f'"{name}" is missing')
    return of(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    """A value, checked against its declared type."""
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in allowed:
        return None
    kind = next(one for one in allowed if one is not type(None))
    last = name.rsplit(".", 1)[-1]
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f'"{name}" must be a list, got {_shown(value)}')
        return tuple(_value(get_args(kind)[0], one, f"{name}[{place}]") for place, one in enumerate(value))
    if is_dataclass(kind):
        return built(kind, value, name)  # type: ignore[arg-type]
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        if not int(last in _FROM_ONE) <= value <= _LARGEST:
            raise ValueError(f'"{name}" must be {int(last in _FROM_ONE)} or more, got {_shown(value)}')
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        # What float32 makes of 1 may be a little more.
        if not abs(value) <= sys.float_info.max or (last in _RATES and not 0 <= value <= 1 + 1e-6):
            needed = "between 0 and 1" if last in _RATES else "a finite number"
            raise ValueError(f'"{name}" must be {needed}, got {_shown(value)}')
        if last in _POSITIVE and value < sys.float_info.min:  # less is counted in ever fewer digits
            raise ValueError(f'"{name}" must be above 0, got {_shown(value)}')
        return float(value)
    words = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}.get(kind, str(kind))
    none = " or null" if type(None) in allowed else ""
    raise ValueError(f'"{name}" must be {words}{none}, got {_shown(value)}')


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


# ---------------------------------------------------------------------- several runs


def _together(summaries: list[Summary]) -> Summary:
    """One summary of several runs; what differs between them is left open."""
    first, *others = summaries
    if not others:
        return first
    logs: tuple[LogSummary, ...] = tuple(log for summary in summaries for log in summary.logs)
    skipped: tuple[Skipped, ...] = tuple(dict.fromkeys(log for summary in summaries for log in summary.skipped))
    judging = [summary for summary in summaries if summary.logs] or summaries
    same = {name: {getattr(summary, name) for summary in judging} for name in OF_RUN}
    kept = {name: values.pop() if len(values) == 1 else None for name, values in same.items()}
    if kept["baseline"] is None and any(summary.baseline for summary in judging):
        kept["baseline"] = "several healthy logs"
    return replace(first, logs=logs, skipped=skipped, **kept)


__all__ = ["built", "parse", "read_findings", "records_in"]
