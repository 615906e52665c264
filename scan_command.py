"""What `logmoe scan LOG…` does once its options are read: loads the model, learns what is healthy, judges the logs.

Findings are gathered and told by `findings_command`; with `--sequences` and `--json` sequences are printed here.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from logmoe.answering import TextAnswer, misfit_of, name_of, notes
from logmoe.caching_logmoe import ScanCache
from logmoe.console import Console
from logmoe.explaining import for_each_log, print_json, tell_problem
from logmoe.findings_command import AnswerOptions, FindingsRun, ScanProgress, effort
from logmoe.findings_logmoe import LogSummary
from logmoe.fitting_command import given, learn, load
from logmoe.reporting import check_targets, require
from logmoe.scanning_logmoe import LogScan
from logmoe.statistics_logmoe import ScanStatistics

# How logs are cut into sequences; a reference holds for logs that are cut alike.
CUTTING = ("max_sequence_length", "window_seconds", "session_pattern", "entry_pattern")


def scan(
    logs: Sequence[str],
    console: Console,
    baseline: Sequence[str] = (),
    no_baseline: bool = False,
    output: Sequence[str] = (),
    form: str = "text",
    by: str = "strength",
    limit: int = 20,
    show_all: bool = False,
    lines: int = 3,
    context: int | None = None,
    sequences: bool = False,
    as_json: bool = False,
    fail_on_finding: bool = False,
    follow: bool = False,
    from_start: bool = False,
    encoding: str | None = None,
    model: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    dtype: str = "auto",
    **overrides: Any,
) -> int:
    """Judges logs and prints the answer; see `logmoe scan --help` for the options.

    Args:
        overrides: of the checkpoint's rules, by the names of a call's parameters; None stands for the default.

    Returns:
        The exit code: 2 if something could not be read, 1 with `fail_on_finding` if there is a finding, else 0.

    Raises:
        OSError, ImportError: there is no checkpoint or healthy log, or a report cannot be written.
        ValueError: an argument is out of range, or a reference belongs to another checkpoint.
    """
    check_targets(output, [*logs, *baseline])
    require(form)
    overrides = given(overrides)
    pipe = load(console, model, device, trust_remote_code)
    unread = repeated = 0
    if baseline:
        cutting = {name: overrides[name] for name in CUTTING if name in overrides}
        overrides["reference"], read = learn(pipe, baseline, encoding, console, **cutting)
        unread, repeated = read["failed"], read["repeated"]
    elif no_baseline:
        overrides["reference"] = False
    cache = ScanCache()
    is_live = "-" in logs or follow
    shows_all = show_all if as_json or sequences else is_live

    def start(log: str, on_progress: Callable[[ScanStatistics], None]) -> LogScan:
        return pipe.scan(
            log,
            only_anomalies=not shows_all,
            encoding=encoding,
            follow=follow,
            from_start=from_start or not follow,
            dtype=dtype,
            on_progress=on_progress,
            cache=cache,
            **overrides,
        )

    options = AnswerOptions(
        form=form,
        outputs=tuple(output),
        order=by,
        limit=None if show_all else limit,
        lines=lines,
        around=context,
        is_live=is_live,
        follow=follow,
        baseline=baseline_name(baseline, repeated),
        can_measure=pipe.measures_surprise and not no_baseline,
        encoding=encoding,
    )
    run = (
        SequencesRun(start, console, options, as_json)
        if as_json or sequences
        else FindingsRun(start, console, options)
    )
    failed = run.run(logs)
    if failed or unread:
        return 2
    return 1 if run.found and fail_on_finding else 0


class SequencesRun:
    """Prints the sequences of the logs of one run, as they come.

    Args:
        start, console, options: as for [`FindingsRun`]; of the options those that say how a log is judged.
        as_json: each as a JSON object in a line.

    Attributes:
        found: how many are anomalous.
    """

    def __init__(
        self,
        start: Callable[[str, Callable[[ScanStatistics], None]], LogScan],
        console: Console,
        options: AnswerOptions,
        as_json: bool,
    ):
        self.start, self.console, self.options, self.as_json, self.found = start, console, options, as_json, 0

    def run(self, logs: Sequence[str]) -> bool:
        """Returns whether something could not be read."""
        _, failed = for_each_log(logs, self._judge, partial(tell_problem, self.console))
        return failed

    def _judge(self, log: str) -> None:
        name, options = name_of(log), self.options
        progress = ScanProgress(self.console, name, not options.follow)
        scan = self.start(log, progress.update)
        is_live = log == "-" or options.follow
        answer = TextAnswer(
            scan, name, options.baseline, is_live, options.can_measure, options.lines, self.console.width
        )
        try:
            for sequence in scan:
                progress.bar.clear()
                if self.as_json:
                    print_json(sequence)
                else:
                    answer.add(sequence)
        finally:
            scan.close()
            progress.bar.close()
            self.found += scan.statistics.anomalies
            if sys.exc_info()[0] is not None:
                answer.flush()
        seen = scan.statistics
        if not self.as_json:
            answer.finish()
        elif misfit := misfit_of(scan):
            self.console.note(f"{name}: {misfit}")
        for note in notes(LogSummary.of(seen, 0), options.encoding):
            self.console.note(note)
        self.console.effort(effort(name, seen))


def baseline_name(baseline: Sequence[str], repeated: int = 0) -> str | None:
    """What the heading calls the healthy logs, of which some paths name nothing new."""
    if not baseline:
        return None
    others = len(baseline) - 1 - repeated
    return name_of(baseline[0]) + (f" and {others} other{'s' * (others > 1)}" if others else "")
