"""Files of findings in, reports out: `logmoe report` writes what was found before in another format.

So a log is judged once, where it lies, and its page made where people read it. Needs no model.
"""

from collections.abc import Sequence

from logmoe.answering import answer, misfits, notes
from logmoe.console import Console
from logmoe.reporting import check_targets, render, require, write_all
from logmoe.reports import read_findings


def report(
    files: Sequence[str],
    console: Console,
    *,
    output: Sequence[str] = (),
    form: str = "text",
    by: str = "strength",
    limit: int | None = 20,
    lines: int = 3,
    fail_on_finding: bool = False,
) -> int:
    """Writes findings in other formats.

    Args:
        files: of JSON lines, as `logmoe LOG -o FILE.jsonl` writes them; `"-"` is standard input.
        console: where the report is printed.
        output: files to write, each in the format of its extension; without any, the report is printed.
        form: of what is printed.
        by: order, `"strength"` or `"time"`.
        limit: most findings that are shown to people; None for all.
        lines: entries that are shown of each, at most.
        fail_on_finding: the exit code is 1 if there is a finding.

    Returns:
        The exit code.

    Raises:
        OSError, ImportError: a file cannot be read, or a report not be written.
        ValueError: a file holds something else; names it, and the line.
    """
    check_targets(output)
    require(form)
    findings = read_findings(files, by)
    unwritten = write_all(findings, output, limit)
    if not output:
        if form == "text":
            for line in answer(findings, limit, lines, console.width, paint=console.paint):
                print(line)
        else:
            print(render(findings, form, limit), end="")
    summary = findings.summary
    unfit = misfits(summary) if output or form != "text" else []
    for note in [*unfit, *(note for log in summary.logs for note in notes(log))]:
        console.note(note)
    for error in unwritten:
        console.error(error)
    if unwritten:
        return 2
    return 1 if fail_on_finding and len(findings) else 0


__all__ = ["report"]
