"""Logs in, an answer out: what `logmoe LOG…` does once its arguments are read.

Goes through the logs, gathers their findings, and gives the answer: of files when all are read, for the first line
says what was found; of a stream as findings come. Knows nothing of how arguments are written.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from logmoe.answering import (
    advised,
    answer,
    heading,
    headline,
    misfit_of,
    misfits,
    name_of,
    notes,
    promised,
    remarks,
    told,
    told_suspects,
)
from logmoe.console import Console, words_of
from logmoe.context import Stamp, stamp, with_context
from logmoe.explaining import for_each_log, tell_problem
from logmoe.findings_logmoe import Finding, Findings, LogSummary, Skipped, Summary
from logmoe.gathering_logmoe import FindingScan, summary_of
from logmoe.reporting import finding_record, render, summary_record, write_all
from logmoe.scanning_logmoe import LogScan
from logmoe.statistics_logmoe import ScanStatistics

# Seconds of silence after which a stream's findings are given out.
PAUSE = 2.0
# Formats that can be written as findings come.
AS_THEY_COME = ("text", "jsonl")


@dataclass(frozen=True)
class AnswerOptions:
    """How the answer is given.

    Attributes:
        form: of what is printed, one of the formats of `reporting.render`.
        outputs: files to write as well, each in the format that its extension names.
        order: `"strength"` or `"time"`; a stream's findings come as they come.
        limit: most findings that are shown to people; None for all.
        lines: entries that are shown of each, at most.
        around: lines of the log around what is telling that are shown; None for none.
        is_live: findings are wanted as they come, as of a stream.
        follow: the log goes on for ever.
        baseline: name of the healthy log, if one was given.
        can_measure: logs may be judged against themselves.
        encoding: of the logs, if it was given.
    """

    form: str = "text"
    outputs: tuple[str, ...] = ()
    order: str = "strength"
    limit: int | None = 20
    lines: int = 3
    around: int | None = None
    is_live: bool = False
    follow: bool = False
    baseline: str | None = None
    can_measure: bool = True
    encoding: str | None = None


class ScanProgress:
    """A bar on a terminal: bytes of the log read so far, lines per second, distinct entries, anomalies."""

    def __init__(self, console: Console, name: str, is_shown: bool = True):
        self.bar = console.progress(name, is_shown)

    def update(self, statistics: ScanStatistics) -> None:
        if self.bar.disable:
            return
        self.bar.total = statistics.total_bytes
        rate = statistics.lines / max(statistics.seconds, 1e-9)
        self.bar.set_postfix_str(
            f"{rate:,.0f} lines/s, {statistics.encoded_entries:,} distinct entries, "
            f"{statistics.anomalies:,} anomalies",
            refresh=False,
        )
        self.bar.update(statistics.bytes_read - self.bar.n)


def effort(name: str, seen: ScanStatistics) -> str:
    """What a scan took, in words."""
    return (
        f"{name}: {seen.lines:,} lines in {seen.seconds:.1f} s; {seen.encoded_entries:,} distinct entries and "
        f"{seen.predicted_sequences:,} distinct sequences went through the model, in {seen.dtype}"
    )


def print_answer(findings: Findings, console: Console, options: AnswerOptions) -> None:
    """Prints findings that are all there, in the form that was asked for."""
    if options.form != "text":
        print(render(findings, options.form, options.limit, options.encoding), end="")
    elif findings.summary.logs:
        # What was skipped is said on the other stream, where errors belong.
        shown = Findings(findings, replace(findings.summary, skipped=()), options.order)
        for line in answer(shown, options.limit, options.lines, console.width, options.can_measure, console.paint):
            print(line)


def print_notes(summary: Summary, console: Console, options: AnswerOptions) -> None:
    """Says what a reader should know of how the logs were read, and judged."""
    if options.form != "text":
        for misfit in misfits(summary):
            console.note(misfit)
    for log in summary.logs:
        for note in notes(log, options.encoding):
            console.note(note)


class FindingsRun:
    """Finds what is wrong in the logs of one run of the command.

    Args:
        start: starts the scan of a log, and tells how far it is.
        console: where it is told.
        options: how the answer is given.

    Attributes:
        found: how many findings there are.
    """

    def __init__(
        self,
        start: Callable[[str, Callable[[ScanStatistics], None]], LogScan],
        console: Console,
        options: AnswerOptions = AnswerOptions(),
    ):
        self.start, self.console, self.options, self.found = start, console, options, 0
        self._prints_as_they_come = options.is_live and options.form in AS_THEY_COME
        self._keeps = not self._prints_as_they_come or bool(options.outputs)
        self._findings: list[Finding] = []
        self._logs: list[LogSummary] = []
        self._stamps: dict[str, Stamp] = {}
        self._problems: list[tuple[str, Exception, str]] = []
        self._summary = Summary()
        self._headed: LogScan | None = None  # the scan whose heading is printed

    def run(self, logs: Sequence[str]) -> bool:
        """Judges logs and gives the answer, also when it is interrupted.

        Returns:
            Whether something could not be read, or written.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        try:
            _, failed = for_each_log(logs, self._judge, self._tell)
        except KeyboardInterrupt:
            self._finish()
            raise
        return self._finish() or failed

    def _judge(self, log: str) -> None:
        name = name_of(log)
        progress = ScanProgress(self.console, name, not self.options.follow)
        if self.options.around is not None and (before := stamp(log)):
            self._stamps[log] = before
        scan = self.start(log, progress.update)
        summary = summary_of(scan.against, scan.rule, scan.judge)
        self._summary = replace(summary, baseline=self.options.baseline or summary.baseline)
        findings = FindingScan(scan, PAUSE if self.options.is_live else None)
        try:
            for finding in findings:
                progress.bar.clear()
                self.found += 1
                if self._keeps:
                    self._findings.append(finding)
                if self._prints_as_they_come:
                    self._print(finding, scan, name)
        finally:
            findings.close()
            progress.bar.close()
            if scan.statistics.entries:
                self._logs.append(replace(findings.summary(), source=None if log == "-" else log))
        self.console.effort(effort(name, scan.statistics))

    def _tell(self, log: str, error: Exception, what: str) -> None:
        if self.options.is_live:
            tell_problem(self.console, log, error, what)
        self._problems.append((log, error, what))

    def _print(self, finding: Finding, scan: LogScan, name: str) -> None:
        if self.options.form == "jsonl":
            print(finding_record(finding), flush=True)
            return
        if scan is not self._headed:
            if self._headed is not None:  # of the log before, whose findings stand above
                print()
            self._headed = scan
            options = self.options
            print(f"{name}: {heading(scan, options.baseline, True, options.can_measure, is_whole=False)}")
            if misfit := misfit_of(scan):
                print(self.console.paint.warning(f"{name}: {misfit}"))
        print()
        for line in told(finding, self.found, False, self.options.lines, self.console.width, self.console.paint):
            print(line)
        sys.stdout.flush()

    def _finish(self) -> bool:
        """Gives the answer; returns whether a report could not be written."""
        options = self.options
        skipped = tuple(Skipped(None if log == "-" else log, words_of(error)) for log, error, _ in self._problems)
        summary = replace(self._summary, logs=tuple(self._logs), skipped=skipped)
        if options.around is not None:
            self._findings = with_context(self._findings, options.around, options.encoding, self._stamps)
        findings = Findings(self._findings, summary, options.order)
        unwritten = write_all(findings, options.outputs, options.limit, options.encoding)
        if self._prints_as_they_come:
            self._sum_up(summary)
        else:
            print_answer(findings, self.console, options)
        sys.stdout.flush()
        print_notes(summary, self.console, options)
        if not options.is_live:
            for problem in self._problems:
                tell_problem(self.console, *problem)
        for error in unwritten:
            self.console.error(error)
        return bool(unwritten)

    def _sum_up(self, summary: Summary) -> None:
        if self.options.form == "jsonl":
            print(summary_record(summary))
        elif summary.logs:
            print(f"\n{headline(summary, self.options.can_measure)}" if self.found else headline(summary))
            of_run = Findings(self._findings, summary)
            suspected = list(told_suspects(of_run, None, self.options.lines, self.console.width))
            for line in [*suspected, *[""] * bool(suspected)]:
                print(line)
            said = promised(summary), advised(summary, self.options.can_measure)
            for line in [*filter(None, said), *remarks(summary)]:
                print(line)
