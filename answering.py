"""Results in, sentences out: what `logmoe LOG…` prints of a log.

A heading says what the log was judged against, then come its sequences, each with the reasons and the entries that
made it odd, and a line that sums up and says what is promised. The one place that holds these words.
"""

import shutil
import sys
from typing import Any

from logmoe.explaining import visible
from logmoe.judging_logmoe import ANOMALY
from logmoe.reference_logmoe import LogReference
from logmoe.scanning_logmoe import LogScan
from logmoe.weighing_logmoe import FAMILIAR_SHARE

# Reasons that are shown of a sequence.
REASONS = 2
# Of the strongest entry's share: an entry with less is no help to a reader.
TELLING_SHARE = 0.1
# Entries after which it is known how much of a log is familiar: results wait for them, for that comes first.
SETTLED_ENTRIES = 10_000
# With fewer entries, a share of familiar ones says little about a reference.
FEWEST_FITTING_ENTRIES = 64


class TextAnswer:
    """Prints what a scan of one log finds.

    Args:
        scan: of the log.
        name: of the log.
        baseline: name of the healthy log that it is judged against, if one was given.
        is_live: results are wanted as they come, as of a stream.
        can_measure: the log may be judged against itself.
        lines: entries that are shown of a sequence, at most.
    """

    def __init__(
        self, scan: LogScan, name: str, baseline: str | None, is_live: bool, can_measure: bool, lines: int = 3
    ):
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
        width = shutil.get_terminal_size((160, 24)).columns
        what, digits = sequence["label"], 4 if sequence["mode"] == "none" else 2
        is_anomaly = what == self.scan.judge.id2label[ANOMALY]
        if sequence["mode"] == "self" and is_anomaly:
            what = "stands out"
        head = f"\n  lines {sequence['first_line']}-{sequence['last_line']}: {what} {sequence['score']:.{digits}f}"
        if sequence["healthy_rarity"] is not None:
            head += f", {rarity(sequence['healthy_rarity'])}"
        lines = [head]
        for reason in [reason["text"] for reason in sequence["reasons"] if reason.get("text")][:REASONS]:
            lines.append("    " + _fitted(visible(reason), width - 4))
        # Of a normal sequence, asked for by --all, those that come nearest to odd.
        shown = telling(sequence, self.lines) if is_anomaly else _first(sequence["entries"], self.lines)
        for entry in shown:
            more = entry["last_line"] - entry["line"]
            head = f"  {entry['line']:>8}  {entry['score']:+7.2f}  "
            tail = f" (+{more} lines)" if more else ""
            text = visible(entry["text"].split("\n", 1)[0].expandtabs())
            lines.append(head + _fitted(text, max(20, width - len(head) - len(tail))) + tail)
        return lines


def heading(
    scan: LogScan, baseline: str | None = None, is_live: bool = False, can_measure: bool = True, is_whole: bool = True
) -> str:
    """How a log is judged; see [`TextAnswer`].

    Args:
        is_whole: the scan is at its end.
    """
    statistics = scan.statistics
    if statistics.mode == "reference":
        facts = [count(reference_of(scan).num_entries, "healthy entry")]
        if is_whole or not is_live:
            part = "this log is" if is_whole else f"its first {statistics.measured_entries:,} entries are"
            facts.append(f"{_familiar(scan)} of {part} familiar")
        return f"judged against {baseline or 'a healthy log'} ({', '.join(facts)})"
    if statistics.mode == "self":
        return "judged against itself: shows what stands out, promises nothing"
    if not can_measure:
        return "judged by its wording"
    if is_live:
        return "a stream, with no healthy log (--baseline) to judge it against: judged by its wording"
    return f"too short to have habits ({count(statistics.entries, 'entry')}): judged by its wording"


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
        return f"{percent(share)} of healthy sequences are as odd"
    return f"1 in {round(1 / share):,} healthy sequences is as odd"


def misfit_of(scan: LogScan) -> str | None:
    """Says that a reference does not fit the log, if it does not."""
    seen = scan.statistics
    if seen.mode != "reference" or seen.measured_entries < FEWEST_FITTING_ENTRIES:
        return None
    if seen.familiar_entries / seen.measured_entries >= FAMILIAR_SHARE:
        return None
    return f"this reference does not fit this log: only {_familiar(scan)} of its entries are familiar"


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
    against, kept = scan.against, scan.statistics.kept_rate
    assert against is not None
    if kept is None:
        return "too few healthy sequences to promise how many of them would be"
    asked, unit = against.false_alarm_rate, 1.0
    if against.false_alarms_per_day is not None:
        unit = reference_of(scan).sequences_per_day(scan.rule.max_sequence_length)
        asked = min(1.0, against.false_alarms_per_day / unit)

    def said(rate: float) -> str:
        return percent(rate) if against.false_alarms_per_day is None else f"{rate * unit:.3g} a day"

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


def _familiar(scan: LogScan) -> str:
    # Rounded down: what is not all is not 100%.
    return f"{100 * scan.statistics.familiar_entries // max(scan.statistics.measured_entries, 1)}%"


def _fitted(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
