"""What `logmoe scan --ray LOG…` does: judges many files on a Ray cluster, then answers from the folder of results."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc
from tqdm import tqdm
from transformers.utils import logging

from logmoe.answering import count
from logmoe.console import Console, visible
from logmoe.distributed import ResultFolder, ScanProgress, find_files, require_ray, scan
from logmoe.explaining import tell_problem
from logmoe.findings_command import AnswerOptions, print_answer, print_notes
from logmoe.findings_logmoe import Findings
from logmoe.fitting_command import given, learn, load
from logmoe.inference import DEFAULT_CHECKPOINT
from logmoe.reading_logmoe import EmptyLogError
from logmoe.reporting import check_targets, require, write_all
from logmoe.scan_command import CUTTING, baseline_name


def scan_on_ray(
    logs: Sequence[str],
    console: Console,
    address: str | None,
    results: str,
    resume: bool = False,
    ray_options: dict[str, Any] | None = None,
    baseline: Sequence[str] = (),
    no_baseline: bool = False,
    output: Sequence[str] = (),
    form: str = "text",
    by: str = "strength",
    limit: int = 20,
    show_all: bool = False,
    lines: int = 3,
    fail_on_finding: bool = False,
    encoding: str | None = None,
    model: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    **overrides: Any,
) -> int:
    """Judges files and prints the answer; see `logmoe scan --help` for the options.

    Returns:
        The exit code: 2 if something could not be read, 1 with `fail_on_finding` if there is a finding, else 0.

    Raises:
        ImportError: Ray, or what writes a report, is not installed.
        OSError, ValueError: as [`scan`].
    """
    # What Ray's core says to the terminal is about Ray's own ways. Read when it is imported.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    require_ray()
    logging.disable_progress_bar()  # the answer's readers want no bar of weights
    check_targets(output, [*logs, *baseline])
    require(form)
    ResultFolder(results).check(resume)
    overrides = given(overrides)
    found, failed, repeated = [], False, 0
    for log in logs:
        try:
            found += [file.path for file in find_files(log)]
        except (OSError, ValueError) as error:  # one bad argument must not keep the others from being read
            tell_problem(console, log, error, "error")
            failed = True
    if not found:
        return 2
    if baseline:
        cutting = {name: overrides[name] for name in CUTTING if name in overrides}
        pipe = load(console, model, "cpu", trust_remote_code)
        overrides["reference"], read = learn(pipe, baseline, encoding, console, **cutting)
        failed |= read["failed"] > 0
        repeated = read["repeated"]
    elif no_baseline:
        overrides["reference"] = False
    with tqdm(desc="files", unit="file", total=len(found), disable=not console.shows_progress, leave=False) as bar:

        def show(progress: ScanProgress) -> None:
            bar.set_postfix_str(f"{count(progress.findings, 'finding')}, {count(progress.errors, 'error')}", False)
            bar.update(progress.files - bar.n)

        folder = scan(
            found,
            output=results,
            resume=resume,
            model=model or DEFAULT_CHECKPOINT,
            device=device,
            trust_remote_code=trust_remote_code,
            encoding=encoding,
            address=address,
            ray_options=ray_options,
            on_progress=show,
            **overrides,
        )
    findings = folder.findings(by)
    summary = replace(findings.summary, baseline=baseline_name(baseline, repeated) or findings.summary.baseline)
    options = AnswerOptions(
        form=form,
        outputs=tuple(output),
        order=by,
        limit=None if show_all else limit,
        lines=lines,
        baseline=summary.baseline,
        can_measure=not no_baseline,
        encoding=encoding,
    )
    findings = Findings(findings, summary, by)
    unwritten = write_all(findings, options.outputs, options.limit, encoding)
    print_answer(findings, console, options)
    sys.stdout.flush()
    print_notes(summary, console, options)
    failed |= _tell_problems(folder, console)
    for problem in unwritten:
        console.error(problem)
    console.note(f"{visible(results)} has a row for each file and each finding", "results")
    if failed or unwritten:
        return 2
    return 1 if len(findings) and fail_on_finding else 0


def _tell_problems(folder: ResultFolder, console: Console) -> bool:
    """Says what is wrong with files; returns whether that is an error. An empty log among others is none."""
    files = folder.files()
    bad = files.filter(pc.is_valid(files["error"])).to_pylist()
    is_error = [row["error_kind"] != EmptyLogError.__name__ or len(bad) == len(files) for row in bad]
    for row, of_row in zip(bad, is_error, strict=True):
        kind = EmptyLogError if row["error_kind"] == EmptyLogError.__name__ else OSError
        tell_problem(console, row["source"], kind(row["error"]), "error" if of_row else "skipped")
    return any(is_error)
