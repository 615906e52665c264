"""Findings: what is wrong in a log, since when, which lines, and why; and what was seen in the run that found it.

A sequence is how the model reads a log, not what people ask for: neighbouring anomalous sequences that tell of one
thing are one `Finding`. Only data is here, and tables of it for notebooks; `gathering_logmoe.py` makes it. Used by the
pipeline, the command and what it writes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from .accepting_logmoe import LeavesOut
from .headers_logmoe import HeaderReader
from .judging_logmoe import Judge
from .parsing_logmoe import LogParser, ParsedLog
from .sequences_logmoe import SequenceRule
from .silences_logmoe import Silence
from .statistics_logmoe import ScanStatistics
from .suspects_logmoe import Suspect, Suspects
from .weighing_logmoe import Against

ORDERS = ("strength", "time")
# Entries at an end of a log, or of a part of it, of which one should have a time.
END_ENTRIES = 64


@dataclass(frozen=True)
class Reason:
    """Why a finding stands out.

    Attributes:
        kind: one of `reasons_logmoe.KINDS`.
        text: the reason in words.
        weight: what the score loses without it, in logit units, where it is strongest.
        line: of the entry that it names, or None.
        sequences: how many sequences gave it.
    """

    kind: str
    text: str
    weight: float
    line: int | None = None
    sequences: int = 1


@dataclass(frozen=True)
class FindingEntry:
    """An entry that makes a finding, with its repetitions: entries that are equal once they are masked.

    Attributes:
        line: of the most telling one, from 1.
        text: of that one, as the log has it.
        share: their part of all that speaks for an anomaly in the finding, in (0, 1].
        count: how many there are.
        first_line, last_line: where the first and the last one begin.
        first_time, last_time: when these were written, in ISO 8601 as `Headers.iso` gives it; None if unknown.
        masked: what they have in common.
    """

    line: int
    text: str
    share: float
    count: int
    first_line: int
    last_line: int
    first_time: str | None
    last_time: str | None
    masked: str


@dataclass(frozen=True)
class ContextLine:
    """A line of a log, near what is telling in a finding.

    Attributes:
        line: its number, from 1.
        text: as the log has it; the beginning and "…" of one that is long.
        share: of the entry that it belongs to, if that is telling.
    """

    line: int
    text: str
    share: float | None = None


@dataclass(frozen=True)
class Context:
    """Lines around what is telling in a finding.

    Attributes:
        lines: ascending; lines far from what is telling are left out.
        note: why some are missing, in words.
    """

    lines: tuple[ContextLine, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        id: the same wherever and whenever the same thing is found: a digest of the kind of its strongest reason and of
            the masked entry that it is about.
        source: path of the log; None for a stream or a log in memory.
        first_line, last_line: from the first entry shown to the last, or, where something is missing or late, of the
            sequences; from 1.
        start, end: when those were written; None if unknown.
        score: highest probability of "anomaly" of its sequences.
        strength: highest margin of the logits; orders findings where scores are all near 1.
        healthy_rarity: share of healthy sequences at least as odd as its oddest; None where it cannot be said.
        mode: `"reference"`, `"self"` or `"none"`, see [`LogAnomalyPipeline`].
        reasons: strongest first.
        entries: most telling first.
        more_entries: other telling entries, different from those, that are not shown.
        sequences: how many anomalous sequences it is made of.
        sessions: how many sessions tell of it; None where a log is not cut into sessions.
        session_names: the first of these.
        service: that wrote these entries, by the name of its program; None where those of a log are not told apart,
            and of entries that are of none of them.
        context: the lines around, where they were asked for.
    """

    id: str
    source: str | None
    first_line: int
    last_line: int
    start: str | None
    end: str | None
    score: float
    strength: float
    healthy_rarity: float | None
    mode: str
    reasons: tuple[Reason, ...]
    entries: tuple[FindingEntry, ...]
    more_entries: int = 0
    sequences: int = 1
    sessions: int | None = None
    session_names: tuple[str, ...] = ()
    service: str | None = None
    context: Context | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data, for `json.dumps`; with `service` and context where it has these."""
        plain = asdict(self)
        context = plain.pop("context")
        if self.service is None:
            plain.pop("service")
        if context is not None:
            plain["context"] = list(context["lines"])
            if context["note"]:
                plain["context_note"] = context["note"]
        return plain | {name: list(plain[name]) for name in ("reasons", "entries", "session_names")}


# ---------------------------------------------------------------------- findings of a run


@dataclass
class LogSpan:
    """When a log begins and ends; it may come in parts.

    Attributes:
        start, end: time of the first entry that has one, and of the last, in ISO 8601; None if unknown.
    """

    start: str | None = None
    end: str | None = None
    _reader: HeaderReader | None = None

    def add(self, part: ParsedLog, parser: LogParser) -> None:
        """Takes the next entries. Only a few of them are read: times of all take as long as masking."""
        rows = np.arange(len(part)) if part.seconds is None else np.flatnonzero(np.isfinite(part.seconds))
        self._reader = self._reader or parser.header_reader()
        if self.start is None:
            self.start = next(filter(None, _times(part, rows[:END_ENTRIES], parser, self._reader)), None)
        self.end = next(filter(None, reversed(_times(part, rows[-END_ENTRIES:], parser, self._reader))), self.end)

    def times(self) -> dict[str, Any]:
        """`start` and `end`, the earlier first, also of a log with its newest lines first."""
        start, end = in_time(self.start, self.end)
        return {"start": start, "end": end}


def in_time(start: str | None, end: str | None) -> tuple[str | None, str | None]:
    """Two times in ISO 8601, the earlier first; those without a year as they came, as a year may pass in between."""
    is_backward = start is not None and end is not None and start[0] != "-" and instant(end) < instant(start)
    return (end, start) if is_backward else (start, end)


def instant(time: str) -> tuple[str, str]:
    """By which times in ISO 8601 are ordered: the fraction of a second apart, as some have none."""
    whole, _, fraction = time.rstrip("Z").partition(".")
    return whole, fraction


def _times(part: ParsedLog, rows: np.ndarray, parser: LogParser, reader: HeaderReader) -> list[str | None]:
    headers = parser.headers(part.take(rows), reader)
    if part.seconds is not None:
        # Which of day and month comes first was settled by all of the log.
        headers.seconds = np.floor(part.seconds[rows]).astype(np.int64)
    return headers.iso()


@dataclass(frozen=True)
class Expired:
    """A finding that is reported again: it was accepted until a time that has passed, in ISO 8601."""

    id: str
    until: str

    @classmethod
    def of(cls, leaves_out: LeavesOut) -> "tuple[Expired, ...]":
        """What was found again."""
        return tuple(cls(one.id, one.until or "") for one in leaves_out.ended.values())


@dataclass(frozen=True)
class LogSummary:
    """What was seen of one log.

    Attributes:
        source: its path; None for a stream or a log in memory.
        lines, entries, sequences, anomalous_sequences: how many.
        findings: how many.
        mode: how it was judged, see [`LogAnomalyPipeline`].
        familiarity: share of its entries that the healthy log knows; None where it was judged otherwise.
        kept_rate: share of healthy sequences that may be called anomalous; None where nothing is promised.
        replaced_bytes, truncated_entries, oversized_entries, split_sessions, backward_entries: see [`ScanStatistics`].
        faults_prevail, is_rerun, missing_kinds, first_missing: see [`ScanStatistics`].
        suspect_kinds, suspects: what no finding shows and yet deserves a look, see `Suspects`: how many kinds of
            entries are new to the healthy log, come in one block of the log only or are rare in it and called errors,
            or, by wording, at all; and the first of them.
        start, end: see [`LogSpan`].
        accepted: findings that were left out, because somebody accepted them.
        expired: those that are reported again.
        healthy_entries, promised_rate, services, silent: see [`ScanStatistics`].
    """

    source: str | None
    lines: int
    entries: int
    sequences: int
    anomalous_sequences: int
    findings: int
    mode: str
    familiarity: float | None = None
    kept_rate: float | None = None
    replaced_bytes: int = 0
    truncated_entries: int = 0
    oversized_entries: int = 0
    split_sessions: int = 0
    backward_entries: int = 0
    faults_prevail: bool = False
    is_rerun: bool = False
    missing_kinds: int = 0
    first_missing: str | None = None
    suspect_kinds: int = 0
    suspects: tuple[Suspect, ...] = ()
    start: str | None = None
    end: str | None = None
    accepted: int = 0
    expired: tuple[Expired, ...] = ()
    healthy_entries: int | None = None
    promised_rate: float | None = None
    services: int = 1
    silent: tuple[Silence, ...] = ()
    # What is as where the log was judged.
    CARRIED: ClassVar[tuple[str, ...]] = (
        "faults_prevail",
        "is_rerun",
        "missing_kinds",
        "first_missing",
        "healthy_entries",
        "services",
        "silent",
    )

    @classmethod
    def of(
        cls,
        seen: ScanStatistics,
        findings: int,
        span: LogSpan | None = None,
        leaves_out: LeavesOut | None = None,
        suspects: Suspects | None = None,
    ) -> "LogSummary":
        """Of a scan of one log; its span, and what was left out, are known where its findings are made."""
        named = (*_COUNTS, *cls.CARRIED, "promised_rate", "kept_rate", "mode", "source")
        same = {name: getattr(seen, name) for name in named}
        span = span or LogSpan()
        leaves_out = leaves_out or LeavesOut({})
        return cls(
            **same,
            anomalous_sequences=seen.anomalies,
            findings=findings,
            familiarity=seen.familiarity,
            **span.times(),
            accepted=leaves_out.number,
            expired=Expired.of(leaves_out),
            **suspected(suspects),
        )

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data, for `json.dumps`."""
        return asdict(self) | {
            name: [asdict(one) for one in getattr(self, name)] for name in ("suspects", "expired", "silent")
        }


def suspected(suspects: Suspects | None) -> dict[str, Any]:
    """What [`LogSummary`] says of suspects; None where there is nothing that gathers them."""
    return {} if suspects is None else {"suspect_kinds": suspects.kinds, "suspects": suspects.given()}


_COUNTS = (
    "lines",
    "entries",
    "sequences",
    "replaced_bytes",
    "truncated_entries",
    "oversized_entries",
    "split_sessions",
    "backward_entries",
)


@dataclass(frozen=True)
class Skipped:
    """A log that was not judged, or not to its end, and why."""

    source: str | None
    reason: str


@dataclass(frozen=True)
class Summary:
    """What was seen in a run, and against what it was judged.

    Attributes:
        logs: of each log.
        skipped: what was not judged.
        baseline: name of the healthy log, if one was given.
        healthy_entries: how many entries that holds; None without one.
        promised_rate: share of healthy sequences that may be called anomalous, as it was asked for; None without a
            healthy log, where labels set the threshold, and where the one that was given lies below the promise's.
        promised_per_day: the same as a number, if it was asked for so.
        healthy_familiarity: share of the healthy entries that the rest of the healthy log knows, see
            [`LogReference.own_familiarity`]; None without one.
    """

    logs: tuple[LogSummary, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    baseline: str | None = None
    healthy_entries: int | None = None
    promised_rate: float | None = None
    promised_per_day: float | None = None
    healthy_familiarity: float | None = None

    def total(self, name: str) -> int:
        """A count of `LogSummary` over all logs."""
        return sum(getattr(log, name) for log in self.logs)

    @property
    def mode(self) -> str | None:
        """How the logs were judged: a mode, `"mixed"`, or None if none was."""
        modes = {log.mode for log in self.logs}
        return None if not modes else modes.pop() if len(modes) == 1 else "mixed"

    @property
    def expired(self) -> tuple[Expired, ...]:
        """Findings that are reported again, because the time for which they were accepted has passed."""
        return tuple(dict.fromkeys(one for log in self.logs for one in log.expired))

    @property
    def familiarity(self) -> float | None:
        """Share of all entries that the healthy log knows; None without one."""
        known = [(log.familiarity, log.entries) for log in self.logs if log.familiarity is not None]
        return sum(share * size for share, size in known) / sum(size for _, size in known) if known else None

    @property
    def kept_rate(self) -> float | None:
        """The highest rate of false alarms that a log's promise allows; None if one is promised nothing.

        Another run of the healthy log is promised nothing, and does not count beside logs that are none.
        """
        rates = [log.kept_rate for log in self.logs if not log.is_rerun]
        return None if not rates or None in rates else max(rate for rate in rates if rate is not None)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data, for `json.dumps`."""
        counts = {name: self.total(name) for name in (*_COUNTS, "anomalous_sequences", "findings", "accepted")}
        return counts | {
            "mode": self.mode,
            "baseline": self.baseline,
            "healthy_entries": self.healthy_entries,
            "healthy_familiarity": self.healthy_familiarity,
            "familiarity": self.familiarity,
            "promised_rate": self.promised_rate,
            "promised_per_day": self.promised_per_day,
            "kept_rate": self.kept_rate,
            "expired": [asdict(one) for one in self.expired],
            "logs": [log.to_dict() for log in self.logs],
            "skipped": [asdict(log) for log in self.skipped],
        }


# What the reference is called that is stored with the checkpoint.
STORED_REFERENCE = "the checkpoint's own reference"


def summary_of(against: Against | None, rule: SequenceRule, judge: Judge, reference: Any = None) -> Summary:
    """What is known of a run before it begins.

    Args:
        against: what its logs are judged against.
        rule: how they are cut.
        judge: labels their sequences.
        reference: what the caller gave; its name, if it has one, is that of the healthy log.
    """
    if against is None or against.reference is None:
        return Summary()
    named = str(reference) if isinstance(reference, str | os.PathLike) else None
    is_promised = not against.by_labels and judge.keeps_promise
    return Summary(
        baseline=STORED_REFERENCE if against.is_stored else named,
        healthy_entries=against.reference.num_entries,
        promised_rate=against.rate(against.reference, rule.max_sequence_length) if is_promised else None,
        promised_per_day=against.false_alarms_per_day if is_promised else None,
        healthy_familiarity=against.reference.own_familiarity,
    )


class Findings(Sequence[Finding]):
    """The findings of a run.

    Args:
        findings: in any order.
        summary: of the run.
        order: `"strength"`, the strongest first; `"time"`, those with a time by it, then the others by log and line.

    Raises:
        ValueError: there is no such order.
    """

    def __init__(self, findings: Iterable[Finding], summary: Summary, order: str = "strength"):
        self.summary, self.order = summary, order
        self._findings = in_order(findings, order)

    def __getitem__(self, place: Any) -> Any:
        return self._findings[place]

    def __len__(self) -> int:
        return len(self._findings)

    def __repr__(self) -> str:
        seen = self.summary
        return f"Findings({len(self)} in {seen.total('lines')} lines of {len(seen.logs)} logs, mode={seen.mode!r})"

    def ordered(self, order: str) -> "Findings":
        """The same findings in another order."""
        return Findings(self._findings, self.summary, order)

    def table(self) -> pa.Table:
        """One row per finding; `.to_pandas()` makes it a data frame. `reason` is the text of the strongest reason."""
        rows = [
            {name: getattr(finding, name) for name in _FINDING_COLUMNS.names if hasattr(finding, name)}
            | {
                "kind": finding.reasons[0].kind if finding.reasons else None,
                "reason": finding.reasons[0].text if finding.reasons else None,
                "line": finding.entries[0].line if finding.entries else None,
                "text": finding.entries[0].text if finding.entries else None,
            }
            for finding in self
        ]
        return pa.Table.from_pylist(rows, _FINDING_COLUMNS)

    def to_pandas(self) -> Any:
        """A pandas data frame of `table()`; times are text, as ISO 8601 writes them.

        Raises:
            ImportError: pandas is not installed.
        """
        return _frame(self.table())

    def entries_to_pandas(self) -> Any:
        """A pandas data frame of `entries_table()`; `finding` is the index of the finding in `to_pandas()`."""
        return _frame(self.entries_table())

    def entries_table(self) -> pa.Table:
        """One row per entry of each finding; `finding` is the row of the finding in `table()`, `id` its id."""
        rows = [
            {"finding": row, "id": finding.id, "source": finding.source} | asdict(entry)
            for row, finding in enumerate(self)
            for entry in finding.entries
        ]
        return pa.Table.from_pylist(rows, _ENTRY_COLUMNS)


def _frame(table: pa.Table) -> Any:
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"data frames need pandas, which is not installed ({error}): pip install pandas, or use table()"
        ) from error
    return table.to_pandas()


_FINDING_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("first_line", pa.int64()),
        ("last_line", pa.int64()),
        ("start", pa.string()),
        ("end", pa.string()),
        ("score", pa.float64()),
        ("strength", pa.float64()),
        ("healthy_rarity", pa.float64()),
        ("mode", pa.string()),
        ("sequences", pa.int64()),
        ("sessions", pa.int64()),
        ("kind", pa.string()),
        ("reason", pa.string()),
        ("line", pa.int64()),
        ("text", pa.string()),
    ]
)
_ENTRY_COLUMNS = pa.schema(
    [
        ("finding", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("text", pa.string()),
        ("share", pa.float64()),
        ("count", pa.int64()),
        ("first_line", pa.int64()),
        ("last_line", pa.int64()),
        ("first_time", pa.string()),
        ("last_time", pa.string()),
        ("masked", pa.string()),
    ]
)


def in_order(findings: Iterable[Finding], order: str) -> list[Finding]:
    """Findings by `"strength"` or by `"time"`; see [`Findings`]."""
    if order == "strength":
        return sorted(findings, key=lambda finding: -finding.strength)
    if order != "time":
        raise ValueError(f"`order` must be one of {ORDERS}, got {order!r}.")
    # Times without a year begin with "-", and cannot be compared with others: they come by log and line.
    return sorted(
        findings,
        key=lambda finding: (
            (0, finding.start, "", finding.first_line)
            if finding.start and finding.start[0] != "-"
            else (1, "", finding.source or "", finding.first_line)
        ),
    )


__all__ = [
    "ORDERS",
    "Context",
    "ContextLine",
    "Expired",
    "Finding",
    "FindingEntry",
    "Findings",
    "LogSpan",
    "LogSummary",
    "Reason",
    "Skipped",
    "Summary",
    "in_order",
    "in_time",
    "instant",
    "summary_of",
]
