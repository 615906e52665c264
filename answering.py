"""Results in, sentences out: what `logmoe LOG…` prints, and what its reports say.

First a line that says what was found, in what, judged against what; then the findings, each with reasons and entries;
then what is promised and what was skipped. With `--sequences` the same by sequences. The one place that holds these
words.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from logmoe.applying_logmoe import FEW_REFERENCE_ENTRIES
from logmoe.console import PLAIN, Paint, named, visible
from logmoe.context import told_context
from logmoe.findings_logmoe import STORED_REFERENCE, Finding, FindingEntry, Findings, LogSummary, Reason, Summary
from logmoe.fitting_logmoe import FEWEST_SELF_ENTRIES
from logmoe.folds_logmoe import FAMILIAR_SHARE
from logmoe.gathering_logmoe import TELLING_SHARE
from logmoe.judging_logmoe import ANOMALY
from logmoe.reference_logmoe import LogReference
from logmoe.scanning_logmoe import LogScan
from logmoe.suspects_logmoe import FIRST, USUAL, Suspect
from logmoe.wording_logmoe import cut, inner_line, out_of_order, seconds_in_words, shown, telling_line

# What a kind of reason means, in a few words; None is a log that was judged by its wording.
KIND_WORDS = {
    "new_entry": "something new",
    "rare_entry": "something rare",
    "unusual_order": "an unusual order",
    "unusual_count": "an unusual number",
    "missing_entry": "something is missing",
    "unusual_pace": "an unusual pace",
    "known_anomaly": "like faults of other services",
    None: "worded like a fault",
}
_FRACTION = re.compile(r"\.\d+")
OF_ITSELF = "judged against itself: shows what stands out, promises nothing"
BY_WORDING = "judged by its wording"
RERUN = "another run of the healthy log: shows what differs, promises nothing"
READS_LESS = "what stands out in it reads less like a fault than the rest"
PREVAILING = f"{READS_LESS}, and is no measure"
# Reasons that are shown of a sequence or a finding.
REASONS = 2
# Entries after which it is known how much of a log is familiar: results wait for them, for that comes first.
SETTLED_ENTRIES = 10_000
# With fewer entries, a share of familiar ones says little about a reference.
FEWEST_FITTING_ENTRIES = 64
# A healthy log that knows less of itself is a start-up, say, or too short, and what is new is nothing odd to it. It is
# said where nothing was found in logs of which it knows less than the other share.
KNOWS_ITSELF, KNOWS_LOG = 0.9, 0.95
# Of another service's log healthy ones know hardly any; from this share on what they do not know may be a fault.
TROUBLE_PERCENT = 10
# Where so much of a log stands out of the rest of it, that may be what it is made of: of good runs of jobs and small
# services those with habits show a ninth at most, those that go through stages .27 to .64. Recordings half of which
# are faults have .18 to .34 in the median, by service.
MUCH_STANDS_OUT = 0.25
# Places of the same trouble that are named.
PLACES = 3
# Suspects that are shown, of all logs together; without a healthy log those that read more like a fault than not.
SUSPECTS, READS_LIKE_A_FAULT = 3, 0.5
# A suspect, and the log that it is of.
ShownSuspect = tuple[LogSummary, Suspect]


class TextAnswer:
    """Prints what a scan of one log finds.

    Args:
        scan: of the log.
        name: of the log.
        baseline: name of the healthy log that it is judged against, if one was given.
        is_live: results are wanted as they come, as of a stream.
        can_measure: the log may be judged against itself.
        lines: entries that are shown of a sequence, at most.
        width: where lines are cut; None for nowhere.
    """

    def __init__(
        self,
        scan: LogScan,
        name: str,
        baseline: str | None,
        is_live: bool,
        can_measure: bool,
        lines: int = 3,
        width: int | None = None,
    ):
        self.width = width
        self.scan, self.name, self.baseline = scan, name, baseline
        self.is_live, self.can_measure, self.lines = is_live, can_measure, lines
        self._waiting: list[str] = []
        self._has_heading = self._has_misfit = False

    def add(self, sequence: dict[str, Any]) -> None:
        """Takes the next result, and prints what is ready."""
        self._waiting += self._sequence(sequence)
        statistics = self.scan.statistics
        if self.is_live or max(statistics.measured_entries, statistics.entries) >= SETTLED_ENTRIES:
            self._print(is_whole=False)

    def finish(self) -> None:
        """Prints the rest, once the log has ended."""
        self._print(is_whole=True)
        print(f"{self.name}: {summary(self.scan)}", flush=True)

    def flush(self) -> None:
        """Prints what waits, when the log could not be read to its end."""
        if self._waiting:
            self._print(is_whole=False)

    def _print(self, is_whole: bool) -> None:
        if not self._has_misfit and (misfit := misfit_of(self.scan)):
            print(f"{self.name}: {misfit}")
            self._has_misfit = True
        if not self._has_heading:
            print(f"{self.name}: {heading(self.scan, self.baseline, self.is_live, self.can_measure, is_whole)}")
            self._has_heading = True
        for line in self._waiting:
            print(line)
        self._waiting.clear()
        sys.stdout.flush()

    def _sequence(self, sequence: dict[str, Any]) -> list[str]:
        """A result as lines: what it is, why, and its most telling entries."""
        what, digits = sequence["label"], 4 if sequence["mode"] == "none" else 2
        is_anomaly = what == self.scan.judge.id2label[ANOMALY]
        if sequence["mode"] == "self" and is_anomaly:
            what = "stands out"
        head = f"\n  lines {sequence['first_line']}-{sequence['last_line']}: {what} {sequence['score']:.{digits}f}"
        if sequence["healthy_rarity"] is not None:
            head += f", {rarity(sequence['healthy_rarity'])}"
        lines = [head]
        for reason in [reason["text"] for reason in sequence["reasons"] if reason.get("text")][:REASONS]:
            lines.append("    " + self._cut(visible(reason), 4))
        # Of a normal sequence, asked for by --all, those that come nearest to odd.
        shown = telling(sequence, self.lines) if is_anomaly else _first(sequence["entries"], self.lines)
        for entry in shown:
            more = entry["last_line"] - entry["line"] - entry["text"].count("\n")
            lines += quoted(f"  {entry['line']:>8}  {entry['score']:+7.2f}  ", entry["text"], self.width, more)
        return lines

    def _cut(self, text: str, beside: int) -> str:
        return text if self.width is None else cut(text, max(20, self.width - beside))


def heading(
    scan: LogScan, baseline: str | None = None, is_live: bool = False, can_measure: bool = True, is_whole: bool = True
) -> str:
    """How a log is judged; see [`TextAnswer`].

    Args:
        is_whole: the scan is at its end.
    """
    statistics = scan.statistics
    if statistics.mode == "reference":
        facts = [_healthy(reference_of(scan).num_entries, [statistics.healthy_entries], statistics.services)]
        if is_whole or not is_live:
            part = "this log is" if is_whole else f"its first {statistics.measured_entries:,} entries are"
            facts.append(f"{_familiar(scan)} of {part} familiar")
        stored = scan.against is not None and scan.against.is_stored
        named = baseline or (STORED_REFERENCE if stored else "a healthy log")
        return f"judged against {named} ({', '.join(facts)})"
    if statistics.mode == "self":
        return _of_itself(statistics.services)
    if not can_measure:
        return BY_WORDING
    if is_live:
        return "a stream, with no healthy log (--baseline) to judge it against: judged by its wording"
    if statistics.faults_prevail:
        return f"{PREVAILING}: {BY_WORDING}"
    return f"{_too_short(statistics.entries)}: {BY_WORDING}"


def telling(sequence: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The entries that speak most for "anomaly", at most so many, in the order of the log; none that hardly does."""
    least = TELLING_SHARE * max(entry["score"] for entry in sequence["entries"])
    speaking = [entry for entry in sequence["entries"] if entry["score"] > max(least, 0)]
    return _first(speaking, number)


def _first(entries: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Those of the highest scores, in the order of the log."""
    return sorted(sorted(entries, key=lambda entry: -entry["score"])[:number], key=lambda entry: entry["line"])


def rarity(share: float) -> str:
    """How rare a sequence is among healthy ones, in words."""
    if share > 0.1:
        return f"at most {percent(share)} of healthy sequences are as odd"
    share = max(share, 1e-9)  # 0, say, from a file
    return f"at most 1 in {round(1 / share):,} healthy sequences is as odd"


def misfit_of(scan: LogScan) -> str | None:
    """Says that a reference does not fit the log, if it does not."""
    seen = scan.statistics
    if seen.mode != "reference" or seen.measured_entries < FEWEST_FITTING_ENTRIES:
        return None
    share = seen.familiar_entries / seen.measured_entries
    return None if share >= FAMILIAR_SHARE else _misfit(share)


def summary(scan: LogScan) -> str:
    """What was seen, what was found, and what is promised."""
    seen, judge = scan.statistics, scan.judge
    lines, of_all = count(seen.lines, "line"), f"{seen.anomalies:,} of {seen.sequences:,} sequences"
    if seen.mode == "self":
        return f"{lines}, {of_all} stand{'s' * (seen.anomalies == 1)} out"
    if seen.mode == "reference":
        return f"{lines}, {of_all} anomalous; {promise(scan)}"
    is_anomaly, highest = seen.anomalies > 0, seen.highest_probability
    label = judge.id2label[int(is_anomaly)]
    return f"{label} ({highest if is_anomaly else 1 - highest:.4f}); {lines}, {of_all} anomalous"


def promise(scan: LogScan) -> str:
    """How many healthy sequences may be called anomalous, in words."""
    against = scan.against
    assert against is not None
    if against.by_labels:
        return "by a threshold that was fitted on labels"
    if scan.statistics.is_rerun:
        return RERUN
    if not scan.judge.keeps_promise:
        return "at a threshold below 0.5, which promises nothing"
    asked = scan.statistics.promised_rate or against.rate(reference_of(scan), scan.rule.max_sequence_length)
    return _promise(asked, scan.statistics.kept_rate, against.false_alarms_per_day)


def _promise(asked: float, kept: float | None, per_day: float | None) -> str:
    if kept is None:
        return "too few healthy sequences to promise how many of them would be"

    def said(rate: float) -> str:
        return percent(rate) if per_day is None else f"{rate / asked * per_day:.3g} a day"

    if kept > asked and said(kept) != said(asked):
        return f"too few healthy sequences for {said(asked)}: {said(kept)} is what they allow"
    return f"at most {said(kept)} of healthy ones would be"


def reference_of(scan: LogScan) -> LogReference:
    """The reference that was given to a scan."""
    assert scan.against is not None
    assert scan.against.reference is not None
    return scan.against.reference


def count(number: int, noun: str) -> str:
    """A number of things."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def percent(share: float) -> str:
    """A share as a percentage, to two digits."""
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"


def _of_itself(services: int) -> str:
    return OF_ITSELF if services == 1 else f"each of its {services} services {OF_ITSELF}"


def _healthy(given: int, used: Sequence[int | None], services: int = 1) -> str:
    """How many healthy entries were given, and whether each log was judged by all of them."""
    said = count(given, "healthy entry")
    fewer = [number for number in used if number is not None and number < given]
    if services > 1:
        apart = f"each of {services} services by its own" if len(used) == 1 else "each service by its own"
        return f"{f'{fewer[0]:,} of ' if fewer and len(used) == 1 else ''}{said}, {apart}"
    if not fewer:
        return said
    if len(used) == 1:
        return f"{fewer[0]:,} of {said}, in logs of its kind"
    return f"{said}, each log by those of its kind"


def _familiar(scan: LogScan) -> str:
    return rounded_down(scan.statistics.familiar_entries / max(scan.statistics.measured_entries, 1))


def rounded_down(share: float) -> str:
    # What is not all is not 100%; a hundredth that lost its last bit is one all the same.
    return f"{_whole_percent(share)}%"


def _new(familiar: float) -> str:
    """The rest of what `rounded_down` says: both add up to 100%."""
    return f"{100 - _whole_percent(familiar)}%"


def _whole_percent(share: float) -> int:
    return int(100 * share + 1e-9)


def _too_short(entries: int) -> str:
    return f"too short to have habits ({count(entries, 'entry')})"


def _misfit(familiar: float) -> str:
    share = f"only {rounded_down(familiar)}" if _whole_percent(familiar) else "less than 1%"
    what = f"this reference does not fit this log: {share} of its entries are familiar"
    return what + "; or most of it is trouble" * (_whole_percent(familiar) >= TROUBLE_PERCENT)


# ---------------------------------------------------------------------- findings


def answer(
    findings: Findings,
    limit: int | None = None,
    lines: int = 3,
    width: int | None = None,
    can_measure: bool = True,
    paint: Paint = PLAIN,
) -> Iterator[str]:
    """The answer to what is wrong, as lines of text.

    Args:
        findings: in the order in which they are shown.
        limit: most that are shown.
        lines: entries that are shown of each, at most.
        width: where lines are broken, entries cut; None for nowhere.
        can_measure: logs may be judged against themselves.
        paint: colours.
    """
    summary = findings.summary
    for misfit in misfits(summary):
        yield from map(paint.warning, _wrapped(misfit, "  ", width))
    yield from map(paint.strong, _wrapped(headline(summary, can_measure), "  ", width))
    names_log = len(summary.logs) > 1
    # The same trouble at several places is told once.
    same: dict[str, list[Finding]] = {}
    for finding in findings:
        same.setdefault(finding.id, []).append(finding)
    shown = list(same.values())[:limit]
    for number, (finding, *others) in enumerate(shown, 1):
        yield ""
        yield from told(finding, number, names_log, lines, width, paint)
        if others:
            margin = " " * (len(str(number)) + 2)
            yield from _wrapped(f"{margin}the same at {_places(others, names_log)}", margin + "  ", width)
    if len(shown) < len(same):
        left = count(sum(map(len, same.values())) - sum(map(len, shown)), "more finding")
        yield from ("", f"{left} not shown (--limit N, --all)")
    yield from told_suspects(findings, [finding for finding, *_ in shown], lines, width)
    said = promised(summary), advised(summary, can_measure)
    ending = [*filter(None, said), *remarks(summary), *skipped(summary)]
    yield from [""] if ending else []
    for line in ending:
        yield from _wrapped(line, "  ", width)


def headline(summary: Summary, can_measure: bool = True) -> str:
    """What was found, in what, and against what it was judged."""
    logs, entries = summary.logs, summary.total("entries")
    where = name_of(logs[0].source) if len(logs) == 1 else count(len(logs), "log")
    size = count(summary.total("lines"), "line")
    if entries != summary.total("lines"):
        size += f" ({count(entries, 'entry')})"
    number = summary.total("findings")
    found = count(number, "finding") if number else "no findings"
    if not logs:
        return "nothing was judged"
    return f"{where}: {found} in {size}; {judged(summary, can_measure)}"


def judged(summary: Summary, can_measure: bool = True) -> str:
    """Against what logs were judged, and how far they are familiar."""
    mode, one = summary.mode, len(summary.logs) == 1
    if mode == "reference":
        facts = []
        if summary.healthy_entries is not None:
            services = max(log.services for log in summary.logs)
            facts.append(_healthy(summary.healthy_entries, [log.healthy_entries for log in summary.logs], services))
        if summary.familiarity is not None:
            of = "this log is" if one else "these logs is"
            facts.append(f"{rounded_down(summary.familiarity)} of {of} familiar")
        return f"judged against {visible(summary.baseline or 'a healthy log')} ({', '.join(facts)})"
    if mode == "self":
        return _of_itself(summary.logs[0].services) if one else f"each {OF_ITSELF}"
    if mode == "mixed":
        worded = [log for log in summary.logs if log.mode == "none"]
        faulty = sum(log.faults_prevail for log in worded)
        cases = [(len(worded) - faulty, "it is too short"), (faulty, READS_LESS)]
        where = " or ".join(f"{what} ({count(number, 'log')})" for number, what in cases if number)
        return f"each judged against itself, or, where {where}, by its wording"
    is_asked = any(log.entries >= FEWEST_SELF_ENTRIES and not log.faults_prevail for log in summary.logs)
    if not can_measure or is_asked:  # for that, or a stream
        return BY_WORDING
    if one:
        why = PREVAILING if summary.logs[0].faults_prevail else _too_short(summary.total("entries"))
    else:
        why = "too short to have habits"
        if any(log.faults_prevail for log in summary.logs):
            why += f", or {READS_LESS}"
    return f"{why}: {BY_WORDING}"


def misfits(summary: Summary) -> list[str]:
    """Says of each log that the reference does not fit it, if so."""
    return [
        f"{name_of(log.source)}: {_misfit(log.familiarity)}"
        for log in summary.logs
        if log.familiarity is not None and log.familiarity < FAMILIAR_SHARE and log.entries >= FEWEST_FITTING_ENTRIES
    ]


def promised(summary: Summary) -> str | None:
    """How many sequences are anomalous, and what is promised about false alarms; None without a healthy log."""
    if summary.mode != "reference":
        return None
    of_all = f"{summary.total('anomalous_sequences'):,} of {count(summary.total('sequences'), 'sequence')} anomalous"
    reruns = sum(log.is_rerun for log in summary.logs)
    if reruns == len(summary.logs):
        return f"{of_all}; {RERUN}"
    if summary.promised_rate is None:
        return f"{of_all}; nothing is promised"
    asked, kept = summary.promised_rate, summary.kept_rate
    if kept is not None:  # healthy logs of different kinds have more sequences a day or fewer
        rates = [(log.promised_rate or asked, log.kept_rate or 0) for log in summary.logs if not log.is_rerun]
        asked, kept = max(rates, key=lambda rate: rate[1] / rate[0])
    said = _promise(asked, kept, summary.promised_per_day)
    return f"{of_all}; {said}" + f"; {count(reruns, 'log')} of {len(summary.logs)}: {RERUN}" * bool(reruns)


def advised(summary: Summary, can_measure: bool = True) -> str | None:
    """What helps where logs or the healthy log were too short, or nothing stood out; None elsewhere."""
    if summary.mode == "reference":
        said = unclear(summary, can_measure)
        known, number = summary.healthy_familiarity, summary.healthy_entries
        is_short = (
            known is not None and number is not None and (known < KNOWS_ITSELF or number < FEW_REFERENCE_ENTRIES)
        )
        if is_short and any(log.source is None for log in summary.logs) and not summary.total("findings"):
            # It is judged before it is known whether it is another run of the healthy log.
            hint = "a stream is judged as it comes: as a file, another run of the healthy log is compared with it"
            return f"{said}; {hint}" if said else hint
        return said
    if not can_measure:
        return None
    if summary.mode == "self" and not summary.total("findings") + summary.total("accepted"):
        return (
            "finding nothing that stands out is no all-clear: compare with the log of a day or a run that went well "
            "(--baseline GOOD)"
        )
    if summary.mode not in ("none", "mixed"):
        return None
    return (
        "wording alone tells little, and finding nothing in it is no all-clear: compare with the log of a run that "
        "went well (--baseline GOOD)"
    )


def unclear(summary: Summary, can_measure: bool = True) -> str | None:
    """Says that finding nothing tells little, where the healthy log knows little of the logs and of itself."""
    known, familiarity = summary.healthy_familiarity, summary.familiarity
    if known is None or familiarity is None or summary.total("findings") or summary.total("accepted"):
        return None
    if known >= KNOWS_ITSELF or familiarity >= KNOWS_LOG:
        return None
    if all(log.is_rerun for log in summary.logs):
        return f"no all-clear: {_new(familiarity)} of these entries are new to the healthy log"
    none = ", or none (without --baseline a log is judged against itself)" * can_measure
    return (
        f"no all-clear: {_new(familiarity)} of these entries are new to the healthy log; so are {_new(known)} of its "
        f"own to the rest of it, as in a start-up, and nothing was odder than those. Give a longer healthy log{none}"
    )


def _standing_out(log: LogSummary) -> float:
    """The share of its sequences that is anomalous."""
    return log.anomalous_sequences / max(1, log.sequences)


def remarks(summary: Summary) -> list[str]:
    """Says that much stands out, what logs lack that go or begin as the healthy one, and what was accepted."""
    said = []
    by_itself = [log for log in summary.logs if log.mode == "self" and log.findings]
    much = [log for log in by_itself if _standing_out(log) > MUCH_STANDS_OUT]
    if much:
        share, name = percent(_standing_out(much[0])), name_of(much[0].source)
        if len(much) == 1:
            what = f"{share} of {'this log' if len(summary.logs) == 1 else name} stands out"
        else:
            what = f"more than a quarter of each of {len(much):,} logs stands out, first {name} ({share})"
        stages = "the stages of a job do so, and trouble that lasts; the log of a run that went well tells them apart"
        said.append(f"{what}: {stages}")
    for log in summary.logs:
        if log.missing_kinds:
            is_one, first = log.missing_kinds == 1, visible(shown(log.first_missing or ""))
            kinds = "one kind of entry" if is_one else f"{log.missing_kinds:,} kinds of entries"
            come = f"never come{'s' * is_one} here{':' if is_one else ', first'} `{first}`"
            whose = "of the healthy run" if log.is_rerun else "with which the healthy log ends"
            said.append(f"{name_of(log.source)}: {kinds} {whose} {come}")
        for silence in log.silent:
            since = "in this log" if silence.line is None else f"since line {silence.line:,}"
            times = [seconds_in_words(seconds) for seconds in (silence.seconds, silence.longest)]
            usual = f"never for more than {times[1]} in the healthy log"
            said.append(
                f"{name_of(log.source)}: {visible(silence.service)} writes nothing {since}, for {times[0]}; {usual}"
            )
    return said + accepted(summary)


def suspects(
    findings: Findings, those_shown: Sequence[Finding] | None = None, lines: int | None = None
) -> list[ShownSuspect]:
    """What no finding shows and yet deserves a look, of all logs.

    Args:
        findings: with the summary of their logs.
        those_shown: findings that people see; None for all.
        lines: entries that are shown of each, at most.
    """
    seen = findings if those_shown is None else those_shown
    is_shown = {entry.masked for finding in seen for entry in finding.entries[:lines]}
    found: dict[str, ShownSuspect] = {}
    for log in findings.summary.logs:
        for suspect in log.suspects:
            is_fitting = log.familiarity is None or log.familiarity >= FAMILIAR_SHARE
            # Of a log that the reference does not fit most is new to it, and what calls itself an error as ever.
            tells = is_fitting if log.mode == "reference" else suspect.wording > READS_LIKE_A_FAULT
            is_wanted = tells or suspect.place in (FIRST, USUAL)
            known = found.get(suspect.masked)
            if is_wanted and suspect.masked not in is_shown and (known is None or suspect.order < known[1].order):
                found[suspect.masked] = log, suspect
    return sorted(found.values(), key=lambda one: one[1].order)


def of_suspects(findings: Findings, found: list[ShownSuspect]) -> str:
    """What suspects are, as the beginning of a list of the first of them.

    Args:
        findings: with the summary of their logs.
        found: see `suspects`.
    """
    beside = "beside what the findings show, " * bool(findings.summary.total("findings"))
    if findings.summary.mode != "reference":
        return f"{beside or 'too little for a finding, but '}called an error or worded like a fault:"
    logs = {id(log): log for log, _ in found}.values()
    kinds = max(len(found), sum(log.suspect_kinds for log in logs))
    if len(logs) > 1:
        what = f"entries of {len(logs)} logs are"
    else:
        what = "one kind of entry is" if kinds == 1 else f"{kinds:,} kinds of entries are"
    little = "" if beside else ", though too little for a finding"
    number = min(len(found), SUSPECTS)
    are = "this one is called an error" if number == 1 else "these are called errors"
    first = f"; {are} or worded most like a fault" if len(logs) > 1 or kinds > number else ""
    return f"{beside}{what} new to the healthy log{little}{first}:"


def told_suspects(
    findings: Findings,
    those_shown: Sequence[Finding] | None = None,
    lines: int | None = None,
    width: int | None = None,
) -> Iterator[str]:
    """Suspects as lines of text, after an empty one; nothing if there are none. See `suspects`."""
    if found := suspects(findings, those_shown, lines):
        yield ""
        yield from _wrapped(of_suspects(findings, found), "  ", width)
        names_log = len(findings.summary.logs) > 1
        for log, suspect in found[:SUSPECTS]:
            yield from quoted(f"  {place_of(log, suspect, names_log)}  ", suspect.text, width)


def place_of(log: LogSummary, suspect: Suspect, names_log: bool) -> str:
    """Where a suspect is."""
    return f"{name_of(log.source)}, line {suspect.line}" if names_log else f"line {suspect.line}"


def accepted(summary: Summary) -> list[str]:
    """Says what was left out because somebody accepted it, and what is reported again."""
    number = summary.total("accepted")
    return [f"{count(number, 'accepted finding')} left out"] * bool(number) + [
        f"finding {visible(one.id)} was accepted until {visible(one.until)}: it is reported again"
        for one in summary.expired
    ]


def skipped(summary: Summary) -> list[str]:
    """What was not judged, and why."""
    return [f"skipped {named(name_of(log.source), visible(log.reason))}" for log in summary.skipped]


def notes(log: LogSummary, encoding: str | None = None) -> list[str]:
    """What a reader should know of how a log was read."""
    said = [
        (
            log.replaced_bytes,
            ("byte is", "bytes are"),
            f"not valid {encoding or 'UTF-8'}; each became U+FFFD; --encoding says what the text is in",
        ),
        (
            log.truncated_entries,
            ("entry is", "entries are"),
            "longer than the model reads; it read only the beginning",
        ),
        (log.oversized_entries, ("line or entry is", "lines or entries are"), "too long to be kept whole"),
        (
            log.split_sessions,
            ("session was", "sessions were"),
            "judged before the end of the log, because too many were open",
        ),
    ]
    order = out_of_order(log.backward_entries, log.entries)
    told = [f"{number:,} {words[number > 1]} {what}" for number, words, what in said if number] + [order] * bool(order)
    return [f"{name_of(log.source)}: {what}" for what in told]


def told(
    finding: Finding,
    number: int,
    names_log: bool = True,
    lines: int = 3,
    width: int | None = None,
    paint: Paint = PLAIN,
) -> Iterator[str]:
    """A finding as lines of text; see `answer`."""
    margin = " " * (len(str(number)) + 2)
    parts = [place(finding, names_log), *filter(None, [when(finding), how_odd(finding)])]
    yield from map(
        paint.strong, _wrapped(f"{number}. " + "; ".join([*parts, f"id {visible(finding.id)}"]), margin, width)
    )
    for reason in main_reasons(finding):
        yield from _wrapped(margin + visible(reason.text), margin + "  ", width)
    for entry in finding.entries[:lines]:
        yield from quoted(f"{margin}{percent(entry.share):>5}  {repetitions(entry)}  ", entry.text, width, paint=paint)
    if finding.context is not None:
        yield ""
        yield from told_context(finding, margin, width)


def quoted(head: str, text: str, width: int | None = None, left_out: int = 0, paint: Paint = PLAIN) -> list[str]:
    """An entry as it is shown: its telling line, and below it the one that says what failed.

    Args:
        head: what stands before it.
        text: of the entry, in whose lines `left_out` were not kept.
        width: where lines are cut; None for nowhere.
    """
    line, more = telling_line(text)
    more += left_out
    tail = f" (+{count(more, 'line')})" if more else ""

    def fitted(said: str, beside: int) -> str:
        said = visible(said.expandtabs())
        return said if width is None else cut(said, max(20, width - beside))

    message = inner_line(text)
    lines = [paint.faint(head) + fitted(line, len(head) + len(tail)) + paint.faint(tail)]
    return lines if message is None or message in line else [*lines, " " * len(head) + fitted(message, len(head))]


def main_reasons(finding: Finding) -> list[Reason]:
    """The reasons that are shown. What other services' faults are like says little beside anything else."""
    others = [reason for reason in finding.reasons if reason.kind != "known_anomaly" or reason is finding.reasons[0]]
    return others[:REASONS]


def place(finding: Finding, names_log: bool = True) -> str:
    """Where a finding is."""
    first, last = finding.first_line, finding.last_line
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    if finding.service is not None:
        where = f"{visible(finding.service)}, {where}"
    named = f"{name_of(finding.source)}, {where}" if names_log else where
    return named if finding.sessions is None else f"{named}, {sessions(finding)}"


def _places(findings: list[Finding], names_log: bool) -> str:
    """Where findings are, the first few of them."""
    named = [place(finding, names_log) for finding in sorted(findings, key=lambda one: one.first_line)]
    more = f" and {count(len(named) - PLACES, 'more place')}" if len(named) > PLACES else ""
    return ", ".join(named[:PLACES]) + more


def sessions(finding: Finding) -> str:
    """The sessions that tell of a finding."""
    names, number = [visible(name) for name in finding.session_names], finding.sessions or 0
    more = f" and {number - len(names):,} more" if number > len(names) else ""
    return f"{count(number, 'session')} ({', '.join(names)}{more})"


def when(finding: Finding) -> str | None:
    """When a finding began and ended; None if that is unknown."""
    if not finding.start:
        return None
    # To the second: who needs more has it in the entries.
    times = (finding.start, finding.end or finding.start)
    start, end = (visible(_FRACTION.sub("", time)).removeprefix("--") for time in times)  # which stands for no year
    if start.endswith("Z") != end.endswith("Z"):  # lines of several writers, of which some say no zone
        start, end = start.removesuffix("Z"), end.removesuffix("Z")
    told = start.replace("T", " ")
    if end == start:
        return told
    day, _, time = end.partition("T")
    return f"{told} to {time if start.startswith(day) else f'{day} {time}'}"


def how_odd(finding: Finding) -> str:
    """How odd a finding is, in terms of how it was judged."""
    if finding.healthy_rarity is not None:
        return rarity(finding.healthy_rarity)
    return "stands out" if finding.mode == "self" else f"anomaly {finding.score:.2f}"


def repetitions(entry: FindingEntry) -> str:
    """How often an entry of a finding comes, and where."""
    if entry.count == 1:
        return f"line {entry.line}"
    return f"{entry.count:,} times, lines {entry.first_line}-{entry.last_line}"


def title(finding: Finding) -> str:
    """What kind of finding it is, in a few words."""
    return KIND_WORDS.get(finding.reasons[0].kind if finding.reasons else None, "an anomaly")


def name_of(source: str | None) -> str:
    """What an answer calls a log."""
    return "standard input" if source in (None, "-") else visible(source)


def _wrapped(text: str, margin: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(40, width), subsequent_indent=margin, drop_whitespace=True) or [text]
