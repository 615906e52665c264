"""Files of findings in, reports out: `logmoe report` writes what was found before in another format.

So a log is judged once, where it lies, and its page made where people read it. Needs no model.
"""

import os
import shutil
import sys
from collections.abc import Sequence

from logmoe.answering import answer, misfits, notes
from logmoe.findings_logmoe import Findings
from logmoe.reporting import format_of, plain, render, require, write
from logmoe.reports import read_findings


def report(
    files: Sequence[str],
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
        output: files to write, each in the format of its extension; without any, the report is printed.
        form: of what is printed.
        by: order, `"strength"` or `"time"`.
        limit: most findings that are shown to people; None for all.
        lines: entries that are shown of each, at most.
        fail_on_finding: the exit code is 1 if there is a finding.

    Returns:
        Exit code.
    """
    try:
        forms = [(path, format_of(path)) for path in output]
        for name in {form, *(of for _, of in forms)}:
            require(name)
        findings = read_findings(files, by)
        for path, name in forms:
            write(render(findings, name, limit), path)
        if not forms:
            _print(findings, form, limit, lines)
            sys.stdout.flush()
        summary = findings.summary
        unfit = misfits(summary) if forms or form != "text" else []
        for warning in [*unfit, *(note for log in summary.logs for note in notes(log))]:
            print(f"warning: {warning}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return 2
    return 1 if fail_on_finding and len(findings) else 0


def _print(findings: Findings, form: str, limit: int | None, lines: int) -> None:
    if form == "text":
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in answer(findings, limit, lines, width):
            print(line)
    else:
        print(render(findings, form, limit), end="")


__all__ = ["report"]
