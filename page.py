"""Findings in, a page out: one HTML file that opens from disk, needs no network, and can be sent to a colleague.

First what was judged, against what, and a picture of when; then the findings, each with its reasons and entries. The
template `page.html.j2` holds the markup, the style and the script; what is drawn and said is worked out here. What a
log holds was written by anybody: every value is made visible and escaped by the template engine, and the
page's own policy lets nothing run or load but its own style and script, which it names by their digests.
"""

import base64
import functools
import hashlib
import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from logmoe import __version__
from logmoe.answering import (
    KIND_WORDS,
    SUSPECTS,
    count,
    how_odd,
    judged,
    misfits,
    name_of,
    notes,
    of_suspects,
    percent,
    place,
    place_of,
    promised,
    remarks,
    repetitions,
    rounded_down,
    suspects,
    title,
    unclear,
    when,
)
from logmoe.console import json_text, visible
from logmoe.findings_logmoe import Context, Finding, FindingEntry, Findings, LogSummary, Reason, in_order
from logmoe.suspects_logmoe import Suspect

TEMPLATE = Path(__file__).with_name("page.html.j2")

# Of an entry: a line of a log may have millions of characters, and nobody reads them here.
SHOWN_CHARACTERS = 4000
# Of a reason, a name and the like, which are short unless somebody made them long.
SAID_CHARACTERS = 2000
# Longer masked entries are left out of what is marked as fine: the finding's id stands for them.
MARKED_CHARACTERS = 20_000
# The picture: rows of logs, bars in a row, labels below, and how far apart the numbers of findings stand, in percent.
LANES, BARS, TICKS, NUMBERS_APART = 12, 200, 5, 4
# Findings whose numbers are written in the picture, at most: the strongest.
NUMBERED = 24
# The shortest bar, of the weakest finding, in percent of the row; the strongest one's is 100.
SHORTEST_BAR = 30
# Space at both ends of the picture, in percent.
MARGIN = 1.5
# Degrees of shading; `page.html.j2` has as many.
SHADES = 10
# Digits of the numbers of lines, for which the column has room; `page.html.j2` has as many.
DIGITS = 9
# Findings and logs up to which all are open when the page is.
OPEN_FINDINGS, OPEN_LOGS = 1, 8
# Findings that a page opens with, and how many of the others are read at once: elements cost a browser far more than
# text.
FIRST, PART = 200, 500

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# What may lie between two labels of the picture, in seconds.
_STEPS = (
    *(1, 2, 5, 10, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY * days for days in (1, 2, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650, 36_500)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CODE = re.compile("`([^`]+)`")


def html(findings: Findings, encoding: str | None = None) -> str:
    """A page with all findings.

    Args:
        findings: in the order in which they are shown at first.
        encoding: of the logs, if it was given.
    """
    summary = findings.summary
    rows = _rows(findings)
    kinds = Counter(kind for row in rows for kind in row.kinds)
    return _template().render(
        findings=findings,
        summary=summary,
        rows=rows,
        picture=picture(rows, summary.logs),
        heading=_heading(findings),
        judged=_sentence(judged(summary)) if summary.logs else None,
        promised=" ".join(map(_sentence, [promised(summary) or "", unclear(summary) or "", *remarks(summary)])),
        of_suspects=_sentence(of_suspects(findings, found))[:-1] if (found := suspects(findings)) else None,
        suspects=[(place_of(log, one, len(summary.logs) > 1), _entry_text(one)) for log, one in found[:SUSPECTS]],
        facts=list(_facts(findings)),
        warnings=misfits(summary),
        notes=[note for log in summary.logs for note in notes(log, encoding)],
        kinds=[(kind or "wording", words, kinds[kind or "wording"]) for kind, words in KIND_WORDS.items()],
        logs=list(dict.fromkeys(row.finding.source for row in rows)),
        version=__version__,
        FIRST=FIRST,
        PART=PART,
    )


@functools.cache
def _template() -> Any:
    # Every value that the template shows passes through `finalize`, and then through the escaping.
    environment = Environment(
        autoescape=True, finalize=_finalized, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"digest": _digest, "with_code": _with_code, "file_name": _file_name}
    environment.globals |= {
        "count": count,
        "context_lines": _context_lines,
        "entry_text": _entry_text,
        "how_odd": how_odd,
        "name_of": name_of,
        "percent": percent,
        "place": place,
        "repetitions": repetitions,
        "rounded_down": rounded_down,
        "sentence": _sentence,
        "shade": _shade,
        "title": title,
        "when": when,
        "DIGITS": DIGITS,
        "OPEN_FINDINGS": OPEN_FINDINGS,
        "OPEN_LOGS": OPEN_LOGS,
        "SHADES": SHADES,
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


# ---------------------------------------------------------------------- what is said


@dataclass(frozen=True)
class Row:
    """A finding in the list.

    Attributes:
        number: its place in the report, from 1.
        anchor: what links to it: its id, and for the same trouble at another place a number.
        kinds: of its reasons.
        moment: its place in the order of time.
        mark: what says that it is fine, as a line of JSON.
    """

    finding: Finding
    number: int
    anchor: str
    kinds: tuple[str, ...]
    moment: int
    mark: str

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.finding.reasons


def _rows(findings: Sequence[Finding]) -> list[Row]:
    seen: Counter[str] = Counter()
    moments = {id(finding): moment for moment, finding in enumerate(in_order(findings, "time"))}
    rows = []
    for number, finding in enumerate(findings, 1):
        seen[finding.id] += 1
        again = seen[finding.id]
        rows.append(
            Row(
                finding,
                number,
                finding.id if again == 1 else f"{finding.id}-{again}",
                tuple(dict.fromkeys(reason.kind for reason in finding.reasons)) or ("wording",),
                moments[id(finding)],
                mark(finding),
            )
        )
    return rows


def mark(finding: Finding) -> str:
    """What says that a finding is fine: its id and the masked entries that it is about, as a line of JSON in ASCII."""
    masked = [entry.masked for entry in finding.entries if len(entry.masked) <= MARKED_CHARACTERS]
    return json_text({"id": finding.id, "masked": masked})


def _heading(findings: Findings) -> str:
    logs = findings.summary.logs
    if not logs:
        return "Nothing was judged"
    found = count(len(findings), "finding") if len(findings) else "No findings"
    return f"{found} in {_file_name(logs[0].source) if len(logs) == 1 else count(len(logs), 'log')}"


def _facts(findings: Findings) -> Iterator[tuple[str, str]]:
    """What was seen, as names and numbers."""
    summary = findings.summary
    if not summary.logs:
        return
    lines, entries = summary.total("lines"), summary.total("entries")
    yield ("line" if lines == 1 else "lines"), f"{lines:,}"
    if entries != lines:
        yield "entries", f"{entries:,}"
    yield "anomalous sequences", f"{summary.total('anomalous_sequences'):,} of {summary.total('sequences'):,}"
    if summary.healthy_entries is not None:
        yield "healthy entries", f"{summary.healthy_entries:,}"
    if summary.familiarity is not None:
        yield "familiar", rounded_down(summary.familiarity)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _file_name(source: str | None) -> str:
    """A log's name without its folder."""
    name = name_of(source)
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name


def _entry_text(entry: FindingEntry | Suspect) -> str:
    return _shortened(
        entry.text.expandtabs(4) if len(entry.text) <= SHOWN_CHARACTERS else entry.text, SHOWN_CHARACTERS
    )


def _context_lines(context: Context) -> Markup:
    """The lines around what is telling, in columns: share, number, text. One element a line, for there may be many."""
    digits = min(len(str(context.lines[-1].line)), DIGITS)
    parts = [
        Markup('<pre class="context w{}" tabindex="0" role="group" aria-label="The lines around">').format(digits)
    ]
    above = None
    for line in context.lines:
        if above is not None and line.line > above + 1:
            parts.append(Markup("<span>{:>{}}  ⋮</span>").format("", digits + 4))
        above = line.line
        shown = f"{line.line:>{digits + 2}}  {_finalized(line.text.expandtabs(4))}"
        if line.share is None:
            parts.append(Markup("<span>{:>4}{}</span>").format("", shown))
        else:
            of = Markup('<mark class="h{}">{:>4}{}</mark>')
            parts.append(of.format(_shade(line.share), percent(line.share), shown))
    return Markup("").join([*parts, Markup("</pre>")])


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[:room]}… ({len(text) - room:,} more characters)"


def _finalized(value: Any) -> Any:
    """A value as the template shows it: whatever is no markup of ours can neither control nor deceive."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "\n".join(map(visible, value.split("\n")))


def _with_code(text: str) -> Markup:
    """A reason, with what it quotes as code."""
    text = _finalized(_shortened(text, SAID_CHARACTERS))
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _digest(code: Markup) -> str:
    """What a page's policy calls a style or a script; the same bytes must stand between the tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _shade(share: float) -> int:
    """A share as a degree of shading; roots, for most shares are small."""
    return max(1, math.ceil(SHADES * math.sqrt(min(max(share, 0.0), 1.0))))


# ---------------------------------------------------------------------- the picture


@dataclass(frozen=True)
class Bar:
    """One finding, or several that stand at one place; percentages.

    Attributes:
        row: of the strongest one.
        number: how many there are.
        start, width, height: where the bar stands, how long they went on, how strong the strongest is.
        is_numbered: the number is written above it.
        text: what it is, in words.
    """

    row: Row
    number: int
    start: float
    width: float
    height: float
    is_numbered: bool
    text: str


@dataclass(frozen=True)
class Lane:
    """A log, or several that share a row, in the picture; `start` and `end` are those of the log in percent."""

    name: str
    found: int
    start: float
    end: float
    bars: list[Bar]


@dataclass(frozen=True)
class Picture:
    """When, or where, the findings are.

    Attributes:
        by_time: where they stand is a time; else a line.
        caption: from when to when; of lines nothing.
        ticks: places in percent, and what is written there.
        lanes: one for each log, the strongest first.
    """

    by_time: bool
    caption: str | None
    ticks: list[tuple[float, str]]
    lanes: list[Lane]


def picture(rows: Sequence[Row], logs: Iterable[LogSummary]) -> Picture | None:
    """Draws when the findings are in their logs, or, if that is not known of one or all is one moment, where.

    Args:
        rows: in the order of the report.
        logs: those that they are in; what is not said of one is taken from its findings.
    """
    if not rows:
        return None
    by_source: dict[str | None, list[int]] = defaultdict(list)
    for of, row in enumerate(rows):
        by_source[row.finding.source].append(of)
    seen = {log.source: log for log in logs if log.source in by_source}
    times = _times([row.finding for row in rows], seen)
    if times is not None:
        spans, whole = times.spans, dict(times.logs)
        caption = when(replace(rows[0].finding, start=times.first, end=times.last))
    else:
        spans = [(float(row.finding.first_line), float(row.finding.last_line)) for row in rows]
        whole, caption = {source: (1.0, float(log.lines)) for source, log in seen.items()}, None
    for source, found in by_source.items():
        start, end = whole.get(source, spans[found[0]])
        whole[source] = min(start, *(spans[of][0] for of in found)), max(end, *(spans[of][1] for of in found))
    low = min(start for start, _ in whole.values()) if times else 1.0
    high = max(*(end for _, end in whole.values()), low + 1e-3)

    def at(value: float) -> float:
        return round(MARGIN + (100 - 2 * MARGIN) * (value - low) / (high - low), 3)

    strongest = sorted(by_source, key=lambda source: -max(rows[of].finding.strength for of in by_source[source]))
    drawn = [(name_of(source), [source]) for source in strongest]
    if len(drawn) > LANES:
        rest = strongest[LANES - 1 :]
        drawn = [*drawn[: LANES - 1], (f"{len(rest):,} other logs", rest)]
    strengths = [row.finding.strength for row in rows]
    numbered = heapq.nlargest(NUMBERED, strengths)[-1]
    weakest, range_ = min(strengths), max(strengths) - min(strengths)

    def height(row: Row) -> float:
        return SHORTEST_BAR + (100 - SHORTEST_BAR) * ((row.finding.strength - weakest) / range_ if range_ else 1)

    lanes = []
    for name, sources in drawn:
        found = sorted(of for source in sources for of in by_source[source])
        start, end = min(whole[source][0] for source in sources), max(whole[source][1] for source in sources)
        bars = [(rows[of], at(spans[of][0]), at(spans[of][1])) for of in found]
        lanes.append(Lane(name, len(found), at(start), at(end), _bars(bars, numbered, height)))
    ticks = _time_ticks(low, high) if times else _line_ticks(high)
    return Picture(times is not None, caption, [(at(value), text) for value, text in ticks], lanes)


def _bars(found: Iterable[tuple[Row, float, float]], strength: float, height: Callable[[Row], float]) -> list[Bar]:
    """Findings that begin at nearly one place share a bar, which leads to the strongest.

    Args:
        found: findings, and where they begin and end, in percent.
        strength: the least whose number is written.
        height: of a bar, in percent.
    """
    together: dict[int, list[tuple[Row, float, float]]] = defaultdict(list)
    for row, start, end in found:
        together[int(start * BARS / 100)].append((row, start, end))
    bars: list[Bar] = []
    numbered: list[float] = []
    for group in sorted(together.values(), key=lambda group: -max(row.finding.strength for row, _, _ in group)):
        row = max(group, key=lambda one: one[0].finding.strength)[0]
        start, end = min(start for _, start, _ in group), max(end for _, _, end in group)
        middle = (start + end) / 2
        is_numbered = row.finding.strength >= strength and all(
            abs(middle - other) >= NUMBERS_APART for other in numbered
        )
        if is_numbered:
            numbered.append(middle)
        bars.append(
            Bar(
                row,
                len(group),
                start,
                round(end - start, 3),
                round(height(row), 1),
                is_numbered,
                _said(row, len(group)),
            )
        )
    return sorted(bars, key=lambda bar: bar.start)


def _said(row: Row, number: int) -> str:
    finding = row.finding
    facts = "; ".join(filter(None, [place(finding, False), when(finding), how_odd(finding)]))
    more = f" (and {number - 1:,} near it)" if number > 1 else ""
    return f"Finding {row.number}: {title(finding)}; {facts}{more}"


@dataclass(frozen=True)
class _Times:
    """When findings, and the logs that they are in, begin and end, in seconds since 1970.

    Attributes:
        spans: of the findings.
        logs: of those logs whose times are known.
        first, last: the first and the last of all these times, as they are written.
    """

    spans: list[tuple[float, float]]
    logs: dict[str | None, tuple[float, float]]
    first: str
    last: str


def _times(findings: Sequence[Finding], logs: dict[str | None, LogSummary]) -> _Times | None:
    """Their times; None if one of a finding is unknown, some have a year and some have none, or all is one moment."""
    yearless = _is_yearless(findings[0])
    written: dict[float, str] = {}

    def read(time: str | None) -> float | None:
        seconds = _seconds(time)
        if seconds is None or time is None:
            return None
        # Without a year, what is more than half a year off is on the other side of a New Year.
        middle = next(iter(written), seconds)
        if yearless and abs(seconds - middle) > 183 * _DAY:
            seconds += math.copysign(366 * _DAY, middle - seconds)
        written.setdefault(seconds, time)
        return seconds

    spans = []
    for finding in findings:
        start = read(finding.start)
        if start is None or _is_yearless(finding) != yearless:
            return None
        end = read(finding.end)
        end = start if end is None else end
        spans.append((min(start, end), max(start, end)))  # the newest entries may come first
    whole = {}
    for source, log in logs.items():
        if log.start and log.end and _is_yearless(log) == yearless:
            start, end = read(log.start), read(log.end)
            if start is not None and end is not None:
                whole[source] = min(start, end), max(start, end)
    first, last = min(written), max(written)
    return None if first == last else _Times(spans, whole, written[first], written[last])


def _is_yearless(of: Finding | LogSummary) -> bool:
    return bool(of.start) and str(of.start).startswith("--")


def _seconds(time: str | None) -> float | None:
    """Seconds since 1970 of a time as findings have it. Without a zone it is taken for UTC, without a year 2000."""
    if not time:
        return None
    try:
        read = datetime.fromisoformat(f"2000{time[1:]}" if time.startswith("--") else time)
    except ValueError:
        return None
    return ((read if read.tzinfo else read.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def _time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = next((step for step in _STEPS if (high - low) / step <= TICKS), _STEPS[-1])
    form = "%H:%M:%S" if step < _MINUTE else "%H:%M" if step < _DAY else "%m-%d" if step < 365 * _DAY else "%Y-%m-%d"
    ticks, value = [], math.ceil(low / step) * step
    while value <= high:
        moment = _EPOCH + timedelta(seconds=value)
        is_midnight = _MINUTE <= step < _DAY and value % _DAY == 0
        ticks.append((float(value), moment.strftime("%m-%d" if is_midnight else form)))
        value += step
    return ticks


def _line_ticks(high: float) -> list[tuple[float, str]]:
    size = 10 ** max(0, math.floor(math.log10(max(high / TICKS, 1))))
    step = next(size * step for step in (1, 2, 5, 10, 20) if high / (size * step) <= TICKS)
    return [(1.0, "line 1"), *((float(line), f"{line:,}") for line in range(step, int(high) + 1, step))]


__all__ = ["html", "mark", "picture"]
