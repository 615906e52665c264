"""Labels by cause: what was injected when (`Book`), which entries that caused (`find_cause`), and the labelled tables.

A service's faults keep the book while they run and bring the rules; `Recording` joins both with the entries of the log
into the tables that `files` writes. No label depends on how a line looks alone.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from recordings.files import INTERVALS_SCHEMA, LINES_SCHEMA

INJECTOR_ADDRESS = "127.0.0.9"
"""Every connection that injects a fault comes from here, and no other connection does."""

ORDINARY = "ordinary"
"""The scenario of a line written between two steps."""

GRACE = 0.5
"""Seconds after its end during which a fault's consequences may still be written."""

CLOCK_STEP = timedelta(milliseconds=1)
"""Log times are cut to it."""

_STILL_OPEN = datetime(9000, 1, 1, tzinfo=UTC)


# --- the book --------------------------------------------------------------------------------------------------------


@dataclass
class Interval:
    """One scheduled step: a fault, or (if `fault` is None) healthy maintenance worth naming."""

    scenario: str
    fault: str | None
    visible: str  # "text": lines of its own; "order": ordinary lines in unusual number; "silence": lines missing
    start: datetime
    end: datetime = _STILL_OPEN
    repair: datetime | None = None
    """When the operator began to put things right, if the repair writes to the log itself; that is ordinary work."""
    touched: dict[int, datetime] = field(default_factory=dict)
    """Processes that the fault acted on, each with the time."""

    def contains(self, moment: datetime, grace: float = 0.0) -> bool:
        """Whether a log time lies in the interval, extended by `grace` seconds."""
        return self.start - CLOCK_STEP <= moment <= self.end + timedelta(seconds=grace)


class Book:
    """Records what was injected and when, in the order it happened."""

    def __init__(self) -> None:
        self.intervals: list[Interval] = []

    @contextlib.contextmanager
    def step(self, scenario: str, fault: str | None, visible: str = "text") -> Iterator[Interval]:
        """An interval around the body of a `with` statement."""
        interval = Interval(scenario, fault, visible, datetime.now(UTC))
        self.intervals.append(interval)
        try:
            yield interval
        finally:
            interval.end = datetime.now(UTC)


# --- entries and rules -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One log event: its physical lines as written, and what the recorder knows about it besides."""

    lines: tuple[str, ...]
    time: datetime
    message: str
    pid: int = 0
    process: str = ""  # the kind of process that wrote it, in the service's own words
    remote_host: str | None = None
    code: str | None = None  # the service's own: a status, an error number, an SQLSTATE
    severity: str = ""
    statement: str = ""


Rule = Callable[[Entry, Interval], bool]
"""Whether an entry that neither the injector nor a touched process wrote was caused by a fault."""


def by_address(entry: Entry, interval: Interval) -> bool:
    """The rule of faults that show in the injector's own sessions (and in touched processes) only."""
    return False


def first_line(entry: Entry) -> str:
    """The first line of an entry."""
    return entry.lines[0]


def whole_text(entry: Entry) -> str:
    """All lines of an entry."""
    return "\n".join(entry.lines)


def says(
    *patterns: str, grace: float = GRACE, text: Callable[[Entry], str] = first_line, flags: re.RegexFlag = re.NOFLAG
) -> Rule:
    """Entries whose `text` matches one of these regular expressions while the fault is on.

    For what a fault makes the service itself, or its ordinary clients' requests, write. The words alone are no cause,
    the interval is; choose patterns that ordinary work does not match.
    """
    compiled = re.compile("|".join(f"(?:{pattern})" for pattern in patterns), flags)

    def rule(entry: Entry, interval: Interval) -> bool:
        return interval.contains(entry.time, grace) and compiled.search(text(entry)) is not None

    return rule


def any_of(*rules: Rule) -> Rule:
    """Entries that at least one of these rules takes."""
    return lambda entry, interval: any(rule(entry, interval) for rule in rules)


FAILED_START = -1
"""Stands in `Interval.touched` for the process id of a service that does not come up."""


def failed_start(entry: Entry, interval: Interval) -> bool:
    """What a service says that cannot start; the clean stop before and the start after are ordinary work."""
    begun, mended = interval.touched.get(FAILED_START), interval.repair
    return begun is not None and mended is not None and begun <= entry.time < mended


def find_cause(entry: Entry, intervals: Sequence[Interval], rules: dict[str, Rule]) -> Interval | None:
    """The faulty interval that caused `entry`, or None if the entry is healthy.

    Three causes count, in this order: the injector wrote it; a process that the fault acted on wrote it afterwards;
    the fault's own rule says so.
    """
    faulty = [interval for interval in intervals if interval.fault is not None]
    if entry.remote_host == INJECTOR_ADDRESS:
        begun = [interval for interval in faulty if interval.start - CLOCK_STEP <= entry.time]
        if not begun:
            raise ValueError(f"the injector wrote before any fault: {entry.lines[0]}")
        return begun[-1]
    for interval in faulty:
        touched = interval.touched.get(entry.pid)
        if touched is not None and touched - CLOCK_STEP <= entry.time:
            return interval
        if rules[interval.fault or ""](entry, interval):
            return interval
    return None


def scenario_at(moment: datetime, intervals: Iterable[Interval]) -> str:
    """The name of the step that was on at `moment`, else `ORDINARY`."""
    return next((interval.scenario for interval in intervals if interval.contains(moment)), ORDINARY)


# --- the labelled run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """One labelled run, cut to the time between `start` and `end`: no set-up, no shutdown."""

    service: str
    name: str
    split: str
    entries: Sequence[Entry]
    intervals: Sequence[Interval]
    start: datetime
    end: datetime
    rules: dict[str, Rule]

    def lines_table(self) -> pa.Table:
        """One row per physical line, with the columns of `LINES_SCHEMA`; all lines of an entry share its label."""
        rows: dict[str, list[object]] = {name: [] for name in ("time", "scenario", "fault", "label", "line")}
        for entry in self.entries:
            if not self.start <= entry.time < self.end:
                continue
            cause = find_cause(entry, self.intervals, self.rules)
            scenario = cause.scenario if cause else scenario_at(entry.time, self.intervals)
            for line in entry.lines:
                rows["time"].append(entry.time)
                rows["scenario"].append(scenario)
                rows["fault"].append(cause.fault if cause else None)
                rows["label"].append(int(cause is not None))
                rows["line"].append(line)
        count = len(rows["line"])
        constant = {"service": [self.service] * count, "recording": [self.name] * count, "split": [self.split] * count}
        return pa.table({**constant, "line_number": range(1, count + 1), **rows}, schema=LINES_SCHEMA)

    def intervals_table(self) -> pa.Table:
        """One row per injected fault, with the columns of `INTERVALS_SCHEMA`; healthy steps have none."""
        faulty = [interval for interval in self.intervals if interval.fault is not None]
        columns: dict[str, list[object]] = {
            "service": [self.service] * len(faulty),
            "recording": [self.name] * len(faulty),
        }
        for name in ("scenario", "fault", "start", "end", "visible"):
            columns[name] = [getattr(interval, name) for interval in faulty]
        return pa.table(columns, schema=INTERVALS_SCHEMA)
