"""Judged sequences in, findings out: neighbouring anomalous sequences that tell of one thing become one.

`docs/findings.md` explains the rule. Findings are made as sequences come, and given out as soon as nothing more can
join them, so that memory stays bounded. Called by the pipeline and the command.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from .accepting_logmoe import TOPIC_SHARE, LeavesOut
from .applying_logmoe import PredictedLog
from .findings_logmoe import (
    Expired,
    Finding,
    FindingEntry,
    Findings,
    LogSpan,
    LogSummary,
    Reason,
    Skipped,
    Summary,
    in_order,
    in_time,
    instant,
    summary_of,
    suspected,
)
from .judging_logmoe import ANOMALY, Judge
from .parsing_logmoe import LogParser, ParsedLog
from .reading_logmoe import EmptyLogError, WithPauses
from .reasons_logmoe import ranked
from .scanning_logmoe import LogScan
from .sequences_logmoe import session_of
from .sources_logmoe import words_of
from .suspects_logmoe import Suspects
from .weighing_logmoe import Against
from .wording_logmoe import alarms, has_words, placed

# Of the strongest entry's share: an entry with less is no help to a reader.
TELLING_SHARE = 0.1
# Entries that a finding shows, and different ones that it keeps while it is open.
SHOWN_ENTRIES = 10
KEPT_ENTRIES = 256
# Entries and reasons of a finding that a reader sees first: what stands behind them may be a suspect.
READ_ENTRIES, READ_REASONS = 3, 2
# Names of sessions that a finding keeps.
KEPT_SESSIONS = 5
# Findings that are open at once; findings of sessions that wait for others like them.
OPEN_FINDINGS = 64
OPEN_SESSIONS = 1024
# Sequences of a stream after which a finding is given out, though it may go on.
STREAM_SEQUENCES = 8
# These are about what is not there: no entry of the sequence is what they are about.
ABSENT_KINDS = ("missing_entry", "unusual_pace")


# ---------------------------------------------------------------------- sequences, with what findings need


@dataclass(frozen=True)
class DetailingJudge(Judge):
    """A judge whose anomalous results also say of each entry its masked text and its time.

    Attributes:
        parser: reads times.
        span: when the log begins and ends, as far as it was judged.
    """

    parser: LogParser | None = None
    span: LogSpan = field(default_factory=LogSpan, compare=False)
    _readers: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, judge: Judge, parser: LogParser) -> "DetailingJudge":
        """The same judge, with details."""
        return cls(**{column.name: getattr(judge, column.name) for column in fields(Judge)}, parser=parser)

    def see(self, parsed: ParsedLog) -> None:
        assert self.parser is not None
        self.span.add(parsed, self.parser)

    def sequence_results(
        self, parsed: ParsedLog, sequences: list[np.ndarray], *args: Any, **kwargs: Any
    ) -> Iterator[Any]:
        """As of [`Judge`]; the entries of an anomalous sequence have `masked` and `time`, ISO 8601 or None, too."""
        times: list[str | None] | None = None
        results = super().sequence_results(parsed, sequences, *args, **kwargs)
        for positions, result in zip(sequences, results, strict=False):
            if result is not None and result["label"] == self.id2label[ANOMALY]:
                if times is None:  # of all entries at once, and only where something was found
                    times = self._times(parsed, result["source"])
                masked = parsed.distinct.take(pa.array(parsed.entry_index[positions])).to_pylist()
                for entry, text, position in zip(result["entries"], masked, positions.tolist(), strict=True):
                    entry |= {"masked": text, "time": times[position]}
            yield result

    def _times(self, parsed: ParsedLog, source: str | None) -> list[str | None]:
        assert self.parser is not None
        # One reader for a log: which of day and month comes first is decided once.
        if source not in self._readers:
            self._readers.clear()
            self._readers[source] = self.parser.header_reader()
        return self.parser.headers(parsed, self._readers[source]).iso()


# ---------------------------------------------------------------------- one finding, while it is open


@dataclass
class _Folded:
    """Entries that are equal once they are masked."""

    line: int
    text: str
    best: float
    total: float
    count: int
    first: tuple[int, str | None]
    last: tuple[int, str | None]

    def add(self, other: "_Folded") -> None:
        if other.best > self.best:
            self.line, self.text, self.best = other.line, other.text, other.best
        self.total += other.total
        self.count += other.count
        self.first = min(self.first, other.first, key=lambda place: place[0])
        self.last = max(self.last, other.last, key=lambda place: place[0])

    def places(self) -> tuple[int, int, str | None, str | None]:
        return self.first[0], self.last[0], *in_time(self.first[1], self.last[1])


class _Open:
    """A finding that sequences may still join.

    Args:
        sequence: the first of them, an anomalous one.
        anomaly: the name of that label.
        session: its session; None where it has none.
    """

    def __init__(self, sequence: dict[str, Any], anomaly: str, session: str | None = None):
        self.source, self.mode, self.service = sequence["source"], sequence["mode"], sequence.get("service")
        self.first_line, self.last_line, self.span = sequence["first_line"], sequence["last_line"], 1
        self.last_place = -1  # among the entries of its service
        self.start: str | None = None
        self.end: str | None = None
        self.score, self.strength, self.rarity = 0.0, -np.inf, np.inf
        self.reasons: dict[str, tuple[Reason, str | None]] = {}  # and the masked entry that each is about
        self.folded: dict[str, _Folded] = {}
        self.dropped = 0
        self.total = 0.0  # of all that speaks for an anomaly
        self.topics: set[str] = set()
        self.sequences = 0
        self.sessions: list[str] = [] if session is None else [session]
        self.num_sessions = len(self.sessions)
        self.anomaly = anomaly
        self.add(sequence)

    def add(self, sequence: dict[str, Any]) -> None:
        """Takes a sequence."""
        self.sequences += 1
        entries, evidence = sequence["entries"], sequence.get("evidence") or {}
        counted_to = self.last_line if self.sequences > 1 else 0
        self.first_line = min(self.first_line, sequence["first_line"])
        self.last_line = max(self.last_line, sequence["last_line"])
        self.span = max(self.span, sequence["last_line"] - sequence["first_line"] + 1)
        self.last_place = max(self.last_place, sequence.get("places", (-1, -1))[1])
        times = [entry["time"] for entry in entries if entry["time"]]
        self.start, self.end = self.start or (times[0] if times else None), times[-1] if times else self.end
        self.score = max(self.score, sequence["probabilities"][self.anomaly])
        self.strength = max(self.strength, sequence["logits"][1] - sequence["logits"][0])
        if sequence["healthy_rarity"] is not None:
            self.rarity = min(self.rarity, sequence["healthy_rarity"])
        self.total += sum(share for share in evidence.values() if share > 0)
        for entry in entries:
            place = entry["line"], entry["time"]
            # Windows may overlap: what is in two of them is one entry.
            count = int(entry["line"] > counted_to)
            self.total += max(0.0, entry["score"])
            one = _Folded(entry["line"], entry["text"], entry["score"], entry["score"], count, place, place)
            self._fold(entry["masked"], one)
        for reason in sequence["reasons"]:
            told = Reason(reason["kind"], reason.get("text", ""), reason.get("weight", 0.0), reason.get("line"))
            self._add_reason(told, _about(reason, entries))
        self.topics |= topics_of(sequence)
        self._shrink()

    def touches(self, sequence: dict[str, Any]) -> bool:
        """Whether nothing lies between it and a sequence that begins no earlier, of the same service."""
        if "places" in sequence:
            return bool(sequence["places"][0] <= self.last_place + 1)
        return bool(sequence["first_line"] <= self.last_line + 1)

    def absorb(self, other: "_Open") -> None:
        """Takes another finding, of another session."""
        self.first_line, self.last_line = min(self.first_line, other.first_line), max(self.last_line, other.last_line)
        self.start = min((time for time in (self.start, other.start) if time), default=None, key=instant)
        self.end = max((time for time in (self.end, other.end) if time), default=None, key=instant)
        self.score, self.strength = max(self.score, other.score), max(self.strength, other.strength)
        self.rarity, self.total = min(self.rarity, other.rarity), self.total + other.total
        self.sequences += other.sequences
        self.num_sessions += other.num_sessions
        self.sessions = (self.sessions + other.sessions)[:KEPT_SESSIONS]
        for masked, folded in other.folded.items():
            self._fold(masked, folded)
        for reason, about in other.reasons.values():
            self._add_reason(reason, about)
        self._shrink()

    def _fold(self, masked: str, one: _Folded) -> None:
        if masked in self.folded:
            self.folded[masked].add(one)
        else:
            self.folded[masked] = replace(one, count=max(1, one.count))

    def _add_reason(self, reason: Reason, about: str | None) -> None:
        before = self.reasons.get(reason.kind)
        if before is None:
            self.reasons[reason.kind] = reason, about
            return
        kept, kept_about = (reason, about) if reason.weight > before[0].weight else before
        self.reasons[reason.kind] = replace(kept, sequences=before[0].sequences + reason.sequences), kept_about

    def _shrink(self) -> None:
        """Forgets the least telling entries when there are too many different ones."""
        if len(self.folded) > KEPT_ENTRIES:
            kept = sorted(self.folded, key=lambda masked: -self.folded[masked].total)[: KEPT_ENTRIES // 2]
            self.folded = {masked: self.folded[masked] for masked in kept}
            self.topics &= self.folded.keys() | {about for _, about in self.reasons.values() if about is not None}

    # ------------------------------------------------------------------ what it is

    @property
    def kind(self) -> str | None:
        """Kind of the strongest reason."""
        return max(self.reasons, key=lambda kind: _rank(self.reasons[kind][0])) if self.reasons else None

    def id(self) -> str:
        """See [`Finding`]."""
        about = self.reasons[self.kind][1] if self.kind is not None else None
        if about is None:
            about = max(self.folded, key=lambda masked: self.folded[masked].total)
        # The first line: what follows, such as a stack trace, is told differently each time.
        said = f"{self.kind or ''}\n{about.strip().split(chr(10), 1)[0].rstrip()}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def finish(self) -> Finding:
        """The finding as it is now."""
        ordered = sorted(self.folded.items(), key=lambda item: (-item[1].total, item[1].line))
        least = TELLING_SHARE * ordered[0][1].total
        # Entries of the same text may speak for and against: the sum of those that speak for is the larger one.
        total = max(self.total, sum(max(0.0, of.total) for _, of in ordered)) or 1.0
        telling = [(masked, of) for masked, of in ordered if of.total / total > 0 and of.total >= least]
        shown = _as_read(telling[:SHOWN_ENTRIES])
        entries = tuple(
            FindingEntry(of.line, of.text, of.total / total, of.count, *of.places(), masked) for masked, of in shown
        )
        first, last = (self.first_line, self.start), (self.last_line, self.end)
        if shown and self.kind not in ABSENT_KINDS:
            first = min((of.first for _, of in shown), key=lambda place: place[0])
            last = max((of.last for _, of in shown), key=lambda place: place[0])
        reasons = [
            replace(reason, text=placed(reason.text, reason.line, first[0], last[0]))
            for reason in sorted((reason for reason, _ in self.reasons.values()), key=_rank, reverse=True)
        ]
        return Finding(
            self.id(),
            self.source,
            first[0],
            last[0],
            *in_time(first[1] or self.start, last[1] or self.end),
            self.score,
            float(self.strength),
            None if np.isinf(self.rarity) else self.rarity,
            self.mode,
            tuple(reasons),
            entries,
            len(telling) - len(shown),
            self.sequences,
            self.num_sessions or None,
            tuple(self.sessions),
            service=self.service,
        )


def _as_read(telling: list[tuple[str, _Folded]]) -> list[tuple[str, _Folded]]:
    """Entries, the most telling first: banners of symbols last, and what failed among those that are read."""
    ordered = sorted(telling, key=lambda item: not has_words(item[1].text))  # stable
    failed = next((place for place, (_, of) in enumerate(ordered) if alarms(of.text)), 0)
    if failed >= READ_ENTRIES:
        ordered.insert(READ_ENTRIES - 1, ordered.pop(failed))
    return ordered


def _rank(reason: Reason) -> float:
    return ranked(reason.kind, reason.weight)


def _about(reason: dict[str, Any], entries: list[dict[str, Any]]) -> str | None:
    """The masked entry that a reason is about: of the sequence, or, of what is missing, of the healthy log."""
    if reason["kind"] not in ABSENT_KINDS and reason.get("line") is not None:
        for entry in entries:
            if entry["line"] == reason["line"]:
                return str(entry["masked"])
    return reason.get("entry") if reason["kind"] == "missing_entry" else None


def topics_of(sequence: dict[str, Any]) -> set[str]:
    """What a sequence is about: its most telling entries, masked, and the entry of its strongest reason."""
    entries = sequence["entries"]
    least = TOPIC_SHARE * max(entry["score"] for entry in entries)
    topics = {entry["masked"] for entry in entries if entry["score"] > 0 and entry["score"] >= least}
    for reason in sequence["reasons"][:1]:
        about = _about(reason, entries)
        topics |= set() if about is None else {about}
    return topics


# ---------------------------------------------------------------------- sequences → findings


class FindingMaker:
    """Makes findings of sequences, as these come.

    Two anomalous sequences of a log are one finding if nothing lies between them and they stand out for the same kind
    of reason, or if they are near and are about the same entry. Near: no more lines between them than the longer one
    has. With sessions, each session has one finding, and those with the same `id` become one.

    Args:
        id2label: names of the two labels.
        session_pattern: by which the log was cut into sessions, if it was.
        parser: masks entries and reads their times where the sequences do not say these.
        longest: sequences after which a finding is given out although more may join it; None for no such bound.
        leaves_out: those that were accepted.
    """

    def __init__(
        self,
        id2label: dict[int, str],
        session_pattern: str | None = None,
        parser: LogParser | None = None,
        longest: int | None = None,
        leaves_out: LeavesOut | None = None,
    ):
        self.anomaly, self.longest = id2label[ANOMALY], longest
        self.leaves_out = leaves_out or LeavesOut({})
        self.suspects: Suspects | None = None  # are told what findings show
        self.session_pattern = session_pattern or None
        self.parser = parser
        self._source: str | None = None
        # By service; the one that a sequence joined last comes last.
        self._opened: dict[str | None, list[_Open]] = {}
        self._open: list[_Open] = []  # of the service of the last sequence
        self._session: _Open | None = None
        self._sessions: OrderedDict[str, _Open] = OrderedDict()

    def add(self, sequence: dict[str, Any]) -> list[Finding]:
        """Takes the next sequence, also a normal one, as `pipe.scan` gives it.

        Returns:
            The findings that nothing more can join.
        """
        closed: list[_Open] = []
        if sequence["source"] != self._source:
            closed, self._source = self._close_all(), sequence["source"]
        self._open = self._opened.setdefault(sequence.get("service"), [])
        if sequence["label"] != self.anomaly:
            closed += self._close_passed(sequence)
        else:
            sequence = self._detailed(sequence)
            name = None if self.session_pattern is None else session_of(sequence, self.session_pattern)
            closed += self._add_window(sequence) if name is None else self._add_session(sequence, name)
        return self._finished(closed)

    def close(self) -> list[Finding]:
        """The findings that are open: at the end of a log, or where a stream pauses."""
        return self._finished(self._close_all())

    def _finished(self, closed: list[_Open]) -> list[Finding]:
        given = []
        for of in closed:
            finding = of.finish()
            is_fine = self.leaves_out.is_left_out(finding)
            if self.suspects is not None:
                shown = [entry.masked for entry in finding.entries[:READ_ENTRIES]]
                quoted = [of.reasons[reason.kind][1] for reason in finding.reasons[:READ_REASONS]]
                self.suspects.tell(of.folded if is_fine else shown)
                self.suspects.tell(about for about in quoted if about is not None)
            given += [] if is_fine else [finding]
        return given

    def _close_all(self) -> list[_Open]:
        opened = [of for of_service in self._opened.values() for of in of_service]
        closed = opened + self._fold_session(None) + list(self._sessions.values())
        self._opened.clear()
        self._sessions.clear()
        return sorted(closed, key=lambda finding: finding.first_line)

    def _close_passed(self, sequence: dict[str, Any]) -> list[_Open]:
        """Those that end too far before a sequence; later ones begin no earlier."""
        size = sequence["last_line"] - sequence["first_line"] + 1
        far = [
            of
            for of in self._open
            if sequence["first_line"] - of.last_line - 1 > max(of.span, size) and not of.touches(sequence)
        ]
        self._open[:] = [of for of in self._open if of not in far]
        return far

    def _add_window(self, sequence: dict[str, Any]) -> list[_Open]:
        closed = self._close_passed(sequence)
        topics = topics_of(sequence)
        kind = sequence["reasons"][0]["kind"] if sequence["reasons"] else None
        for place in range(len(self._open) - 1, -1, -1):
            of = self._open[place]
            if of.mode == sequence["mode"] and ((of.touches(sequence) and kind == of.kind) or topics & of.topics):
                of.add(sequence)
                self._open.append(self._open.pop(place))
                if self.longest is not None and of.sequences >= self.longest:
                    closed.append(self._open.pop())
                return closed
        self._open.append(_Open(sequence, self.anomaly))
        if len(self._open) > OPEN_FINDINGS:
            closed.append(self._open.pop(0))
        return closed

    def _add_session(self, sequence: dict[str, Any], name: str) -> list[_Open]:
        if self._session is not None and self._session.sessions == [name]:
            self._session.add(sequence)
            return []
        return self._fold_session(_Open(sequence, self.anomaly, name))

    def _fold_session(self, following: _Open | None) -> list[_Open]:
        """Puts the finding of a session that ended with those like it."""
        ended, self._session = self._session, following
        if ended is None:
            return []
        key = f"{ended.id()} {ended.mode}"
        if key in self._sessions:
            self._sessions[key].absorb(ended)
            self._sessions.move_to_end(key)
        else:
            self._sessions[key] = ended
        return [self._sessions.popitem(last=False)[1]] if len(self._sessions) > OPEN_SESSIONS else []

    def _detailed(self, sequence: dict[str, Any]) -> dict[str, Any]:
        """The sequence, with masked texts and times of its entries."""
        entries = sequence["entries"]
        if all("masked" in entry and "time" in entry for entry in entries):
            return sequence
        texts = [entry["text"] for entry in entries]
        masked, times = texts, list[str | None]([None] * len(texts))
        if self.parser is not None:
            masked = self.parser.mask(texts).to_pylist()
            times = self.parser.header_reader().read(pa.array(texts, pa.large_string())).iso()
        detailed = [
            entry | {"masked": entry.get("masked", text), "time": entry.get("time", time)}
            for entry, text, time in zip(entries, masked, times, strict=True)
        ]
        return sequence | {"entries": detailed}


# ---------------------------------------------------------------------- findings of scans


class FindingScan(Iterator[Finding]):
    """Iterator over the findings of a scan of one log; threads may take them in turn.

    Args:
        scan: made by [`LogAnomalyPipeline.scan`]. With normal sequences too a finding is given out as soon as
            the log is past it; without, when the next anomalous one comes.
        pause: of a stream: seconds without a sequence after which what was found is given out. A finding that goes on
            without a pause is given out in parts.

    Attributes:
        found: how many were given out.
    """

    def __init__(self, scan: LogScan, pause: float | None = None):
        self.scan, self.found = scan, 0
        scan.judge = judge = DetailingJudge.of(scan.judge, scan.processor)
        scan.has_suspects = True
        self.span = judge.span
        longest = None if pause is None else STREAM_SEQUENCES
        leaves_out = LeavesOut.of(scan.against)
        self.maker = FindingMaker(scan.judge.id2label, scan.rule.session_pattern, scan.processor, longest, leaves_out)
        self._sequences: Iterator[Any] = scan if pause is None else WithPauses(scan, pause)
        self._findings = self._run()
        self._lock = threading.RLock()

    def __next__(self) -> Finding:
        with self._lock:
            finding = next(self._findings)
            self.found += 1
            return finding

    def _run(self) -> Iterator[Finding]:
        try:
            for sequence in self._sequences:
                self.maker.suspects = self.scan.suspects
                yield from self.maker.close() if sequence is None else self.maker.add(sequence)
        except Exception:  # what was found before a log broke off is said
            yield from self.maker.close()
            raise
        yield from self.maker.close()

    def close(self) -> None:
        """Ends the scan early."""
        self.scan.close()
        if isinstance(self._sequences, WithPauses):
            self._sequences.stop()

    def summary(self) -> LogSummary:
        """What was seen so far."""
        return LogSummary.of(self.scan.statistics, self.found, self.span, self.maker.leaves_out, self.scan.suspects)


def findings_of_logs(
    scans: Iterable[Callable[[], LogScan]], reference: Any = None, order: str = "strength"
) -> Findings:
    """The findings of several logs; a log among others that cannot be read is skipped, and the summary says why.

    Args:
        scans: start the scan of a log each.
        reference, order: see `summary_of`, [`Findings`].

    Raises:
        EmptyLogError, OSError, ValueError: none of the logs could be read; what is wrong with the first.
    """
    in_order((), order)  # checks it
    found: list[Finding] = []
    seen: list[LogSummary] = []
    problems: list[tuple[str | None, Exception]] = []
    summary = Summary()
    for start in scans:
        scan = start()
        of_log = FindingScan(scan)
        summary = summary_of(scan.against, scan.rule, scan.judge, reference)
        try:
            found += of_log
        except (EmptyLogError, OSError, ValueError, EOFError) as error:
            problems.append((scan.statistics.source, error))
        finally:
            of_log.close()
        if scan.statistics.entries:
            seen.append(of_log.summary())
    if problems and not seen:
        raise problems[0][1]
    skipped = tuple(Skipped(source, words_of(error)) for source, error in problems)
    return Findings(found, replace(summary, logs=tuple(seen), skipped=skipped), order)


def findings_in_memory(
    predicted: PredictedLog, judge: DetailingJudge, against: Against | None, reference: Any, order: str
) -> Findings:
    """The findings of a log in memory.

    Args:
        predicted: the log.
        judge: labels its sequences.
        against, reference, order: see `summary_of`, [`Findings`].
    """
    prepared, how = predicted.prepared, predicted.how
    parsed = prepared.parsed
    maker = FindingMaker(judge.id2label, prepared.rule.session_pattern, leaves_out=LeavesOut.of(against))
    maker.suspects = predicted.gathered()
    judge.see(parsed)
    anomalous = predicted.results(judge, only_anomalies=True)
    found = [finding for sequence in anomalous for finding in maker.add(sequence)] + maker.close()
    seen = LogSummary(
        None,
        int(parsed.last_line.max()),
        len(parsed),
        predicted.num_sequences,
        len(anomalous),
        len(found),
        how.mode,
        how.familiarity,
        how.kept_rate if judge.keeps_promise else None,
        parsed.replaced_bytes,
        predicted.num_truncated,
        backward_entries=how.backward_entries,
        **{name: getattr(how, name) for name in LogSummary.CARRIED},
        **suspected(maker.suspects),
        **judge.span.times(),
        accepted=maker.leaves_out.number,
        expired=Expired.of(maker.leaves_out),
        promised_rate=how.promised_rate if judge.keeps_promise else None,
    )
    summary = summary_of(against, prepared.rule, judge, reference)
    return Findings(found, replace(summary, logs=(seen,)), order)


__all__ = [
    "DetailingJudge",
    "FindingMaker",
    "FindingScan",
    "findings_in_memory",
    "findings_of_logs",
    "summary_of",
]
