"""Findings in, files out: JSON lines, SARIF, JUnit and Markdown, for programs, CI and pull requests.

What a log holds was written by anybody: nothing of it may control a terminal, deceive a reader, or become markup.
JSON lines need nothing but Python; SARIF and JUnit are written by libraries of the extra `logmoe[report]`, so that
they are what others read; pages are made in `page.py`. `findings.schema.json` describes the JSON lines.
"""

import importlib
import json
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from logmoe import __version__
from logmoe.answering import (
    KIND_WORDS,
    answer,
    headline,
    how_odd,
    main_reasons,
    misfits,
    name_of,
    place,
    promised,
    quoted,
    remarks,
    repetitions,
    sessions,
    skipped,
    title,
    told,
    told_suspects,
    unclear,
    when,
)
from logmoe.console import json_text, visible
from logmoe.context import told_context
from logmoe.findings_logmoe import Finding, Findings, Summary

EXTENSIONS = {
    ".html": "html",
    ".txt": "text",
    ".jsonl": "jsonl",
    ".sarif": "sarif",
    ".xml": "junit",
    ".md": "markdown",
}
LIBRARIES = {"html": "jinja2", "sarif": "sarif_pydantic.sarif", "junit": "junitparser"}
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "logmoeFinding/v1"
# The only one that code scanning on GitHub goes by; of equal ones it wants to know which.
GITHUB_FINGERPRINT = "primaryLocationLineHash"
# Findings of a Markdown report, and characters of a line in it: a comment on GitHub holds 65,536.
MARKDOWN_FINDINGS = 20
MARKDOWN_LINE = 240
MARKDOWN_ENTRIES = 5
# Characters of the lines around findings; of those that have no room, none are shown.
MARKDOWN_CONTEXT = 30_000
_OUR_WORDS = re.compile(r"[\w ,.:;()%'+-]*")


def format_of(path: str) -> str:
    """The format of a file, by its extension.

    Raises:
        ValueError: the extension is not known.
    """
    extension = PurePath(path).suffix.lower()
    if extension not in EXTENSIONS:
        known = ", ".join(f"{name} ({what})" for name, what in EXTENSIONS.items())
        raise ValueError(f"{path!r} does not say what to write: its name must end in one of {known}.")
    return EXTENSIONS[extension]


def require(name: str) -> Any:
    """The library that writes a format; None if it needs none.

    Raises:
        ImportError: it is not installed.
    """
    if name not in LIBRARIES:
        return None
    try:
        return importlib.import_module(LIBRARIES[name])
    except ImportError as error:
        raise ImportError(
            f"{name} reports need a library that is not installed ({error}): pip install 'logmoe[report]'"
        ) from error


def render(findings: Findings, name: str, limit: int | None = None, encoding: str | None = None) -> str:
    """A report.

    Args:
        findings: in the order of the report.
        name: `"text"`, `"html"`, `"jsonl"`, `"sarif"`, `"junit"` or `"markdown"`.
        limit: most findings that are shown in text and Markdown; a page and programs get all.
        encoding: of the logs, if it was given.
    """
    if name == "text":
        return "\n".join(answer(findings, limit)) + "\n"
    if name == "markdown":
        return markdown(findings, MARKDOWN_FINDINGS if limit is None else limit)
    if name == "html":
        require(name)
        # Here, for only who wants a page needs its library.
        from logmoe.page import html

        return html(findings, encoding)
    reports: dict[str, Callable[[Findings], str]] = {"jsonl": jsonl, "sarif": sarif, "junit": junit}
    return reports[name](findings)


def renamed(findings: Findings, path: str | os.PathLike, name: str, baseline: str | None = None) -> Findings:
    """Findings of one log that call it as its sender does: where it lay is nobody's business.

    Args:
        path: where it lay.
        baseline: name of the healthy log; by default what the findings call it.
    """
    seen, lay = findings.summary, os.fspath(path)
    summary = replace(
        seen,
        logs=tuple(replace(log, source=name) for log in seen.logs),
        skipped=tuple(replace(log, source=name, reason=log.reason.replace(lay, name)) for log in seen.skipped),
        baseline=baseline or seen.baseline,
    )
    return Findings((replace(finding, source=name) for finding in findings), summary, findings.order)


def check_targets(paths: Iterable[str], sources: Iterable[str] = ()) -> None:
    """Checks that reports can be written, for that is to be known before the work, not after.

    Args:
        paths: of the reports.
        sources: what is read, which no report may replace.

    Raises:
        OSError: there is no folder for a report, or something else is in the way.
        ImportError: a library is not installed.
        ValueError: an extension is not known, or a report would replace what is read.
    """
    read = [source for source in sources if os.path.isfile(source)]
    for path in paths:
        require(format_of(path))
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
        if os.path.isdir(path):
            raise IsADirectoryError(f"cannot write {path}: it is a folder")
        is_device = os.path.exists(path) and not os.path.isfile(path)
        if not os.access(path if is_device else os.path.dirname(os.path.realpath(path)), os.W_OK):
            raise PermissionError(f"cannot write {path}: permission denied")
        if os.path.isfile(path) and any(os.path.samefile(path, source) for source in read):
            raise ValueError(f"cannot write {path}: it is read as a log, which the report would replace")


def write_all(
    findings: Findings, paths: Iterable[str], limit: int | None = None, encoding: str | None = None
) -> list[OSError]:
    """Writes reports, each in the format of its extension; see [`render`].

    Returns:
        What kept some from being written: the others are there all the same.
    """
    problems = []
    for path in paths:
        try:
            write(render(findings, format_of(path), limit, encoding), path)
        except OSError as error:
            problem = OSError(f"cannot write {path}: {error.strerror or error}")
            problem.__cause__ = error
            problems.append(problem)
    return problems


def write(text: str, path: str) -> None:
    """Writes a report so that whoever reads the file finds the old one or the new one, and never half of it."""
    target = Path(os.path.realpath(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):  # a pipe or a device
        target.write_text(text, encoding="utf-8")
        return
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(file.name, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~mask)
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def _plain_data(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _plain_data(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_plain_data(value) for value in data]
    return visible(data) if isinstance(data, str) else data


# ---------------------------------------------------------------------- JSON lines


def jsonl(findings: Findings) -> str:
    """One record per finding, and a last one with the summary."""
    return "".join(f"{line}\n" for line in (*map(finding_record, findings), summary_record(findings.summary)))


def finding_record(finding: Finding) -> str:
    """A finding as one line of JSON."""
    return json_text({"type": "finding"} | finding.to_dict())


def summary_record(summary: Summary) -> str:
    """The summary of a run as one line of JSON."""
    return json_text({"type": "summary", "version": __version__} | summary.to_dict())


# ---------------------------------------------------------------------- SARIF


def sarif(findings: Findings) -> str:
    """SARIF 2.1.0, for code scanning. A finding's `id` is its fingerprint: it stays one alert from run to run."""
    sp = require("sarif")
    kinds = [kind or "wording" for kind in KIND_WORDS]
    seen: Counter[str] = Counter()

    def fingerprints(finding: Finding) -> dict[str, str]:
        seen[finding.id] += 1
        return {FINGERPRINT: finding.id, GITHUB_FINGERPRINT: f"{finding.id}:{seen[finding.id]}"}

    def message(text: str) -> Any:
        # In a message "[text](target)" would be a link.
        return sp.Message(text=visible(text).replace("](", "]\\("))

    def location(source: str | None, first: int, last: int, text: str | None = None) -> Any:
        region = sp.Region(start_line=first, end_line=last)
        if text is not None:
            region.snippet = sp.ArtifactContent(text=visible(text))
        at = sp.ArtifactLocation(uri=_uri(source))
        return sp.Location(physical_location=sp.PhysicalLocation(artifact_location=at, region=region))

    results = [
        sp.Result(
            rule_id=(kind := finding.reasons[0].kind if finding.reasons else "wording"),
            rule_index=kinds.index(kind) if kind in kinds else None,
            level=sp.Level.WARNING if finding.mode == "reference" else sp.Level.NOTE,
            message=message("; ".join(_facts(finding))),
            locations=[location(finding.source, finding.first_line, finding.last_line)],
            related_locations=[
                location(finding.source, entry.line, entry.line + entry.text.count("\n"), entry.text)
                for entry in finding.entries
            ]
            or None,
            partial_fingerprints=fingerprints(finding),
            properties={
                name: getattr(finding, name)
                for name in ("score", "strength", "healthy_rarity", "mode", "start", "end", "sequences", "sessions")
            },
        )
        for finding in findings
    ]
    notifications = [
        sp.Notification(level=sp.Level.ERROR, message=message(line)).model_dump(**_SARIF)
        for line in skipped(findings.summary)
    ]
    invocation = sp.Invocation(
        execution_successful=not notifications, **{"toolExecutionNotifications": notifications or None}
    )
    rules = [
        sp.ReportingDescriptor(id=kind, name=_pascal(kind), short_description=sp.Message(text=words))
        for kind, words in zip(kinds, KIND_WORDS.values(), strict=True)
    ]
    driver = sp.ToolDriver(name="LogMoE", version=__version__, rules=rules)
    run = sp.Run(
        tool=sp.Tool(driver=driver),
        invocations=[invocation],
        results=results,
        properties=_plain_data({"headline": headline(findings.summary)} | findings.summary.to_dict()),
    )
    log = sp.Sarif(runs=[run], **{"$schema": SARIF_SCHEMA})
    # DEL is the one that json.dumps leaves.
    return json.dumps(log.model_dump(**_SARIF), indent=1, allow_nan=False).replace("\x7f", "\\u007f") + "\n"


_SARIF = {"mode": "json", "by_alias": True, "exclude_none": True}


def _pascal(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_"))


def _uri(source: str | None) -> str:
    if source is None:
        return "stdin"
    path = PurePath(source)
    try:
        encoded = os.fsencode(path.as_posix())
    except UnicodeEncodeError:  # no file is called so
        encoded = path.as_posix().encode("utf-8", "backslashreplace")
    name = quote(encoded, safe="/")
    # A colon before the first slash would begin a scheme; quote escapes it.
    return f"file://{name}" if path.is_absolute() else name


# ---------------------------------------------------------------------- JUnit


def junit(findings: Findings) -> str:
    """JUnit XML: a suite for each log, a failed test for each finding in it, a passed one where there is none."""
    jp = require("junit")
    report = jp.JUnitXml(name="logmoe")
    # A suite counts its cases anew with each that is added, and is compared with all others: both once at the end.
    cases: dict[str | None, list[Any]] = {log.source: [] for log in findings.summary.logs}
    for finding in findings:
        case = jp.TestCase(visible(f"{title(finding)} ({finding.id})"), classname=visible(name_of(finding.source)))
        kind = visible(finding.reasons[0].kind) if finding.reasons else None
        failure = jp.Failure(visible("; ".join(_facts(finding))), kind)
        failure.text = plain_lines(told(finding, 1))
        case.result = [failure]
        cases.setdefault(finding.source, []).append(case)
    for source, found in cases.items():
        if not found:
            found.append(jp.TestCase("no findings", classname=visible(name_of(source))))
    for log in findings.summary.skipped:
        case = jp.TestCase("could be read", classname=visible(name_of(log.source)))
        case.result = [jp.Error(visible(log.reason))]
        cases.setdefault(log.source, []).append(case)
    for source, found in cases.items():
        suite = jp.TestSuite(visible(name_of(source)))
        suite.add_testcases(found)
        report.append(suite)
    report.update_statistics()
    text: bytes | str = report.tostring()
    body = text.decode("utf-8") if isinstance(text, bytes) else text
    return body if body.startswith("<?xml") else f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def plain_lines(lines: Iterator[str]) -> str:
    """Lines of text that are safe in XML."""
    return "\n".join(map(visible, lines))


# ---------------------------------------------------------------------- Markdown


def markdown(findings: Findings, limit: int = MARKDOWN_FINDINGS) -> str:
    """Markdown for a comment on a pull request. All that logs hold is code: it is neither markup nor mentions anybody.

    Args:
        findings: in the order of the report.
        limit: most that are shown.
    """
    summary = findings.summary
    room = MARKDOWN_CONTEXT
    lines = ["### LogMoE", *(f"\n{code(line)}" for line in (*misfits(summary), headline(summary)))]
    for number, finding in enumerate(findings[:limit], 1):
        facts = ", ".join(filter(None, [when(finding), how_odd(finding)]))
        lines += [
            "",
            f"**{number}. {harmless(title(finding)[0].upper() + title(finding)[1:])}** in {code(place(finding))}",
            harmless(facts),
        ]
        around = list(map(_cut, told_context(finding)))
        if (room := room - sum(map(len, around))) < 0:
            around = []
        lines += ["", *fenced(_block(finding) + ([""] if around else []) + around)]
    if len(findings) > limit:
        lines += ["", f"{len(findings) - limit:,} more not shown."]
    if told_of := list(told_suspects(findings, findings[:limit], MARKDOWN_ENTRIES)):
        lines += ["", harmless(told_of[1]), "", *fenced(list(map(_cut, told_of[2:])))]
    for line in [*filter(None, [promised(summary), unclear(summary)]), *remarks(summary)]:
        lines += ["", harmless(line)]
    lines += [f"\n{code(line)}" for line in skipped(summary)]
    return "\n".join(lines) + "\n"


def _block(finding: Finding) -> list[str]:
    lines = [visible(reason.text) for reason in main_reasons(finding)]
    heads = ((f"{entry.share:>4.0%}  {repetitions(entry)}  ", entry) for entry in finding.entries[:MARKDOWN_ENTRIES])
    entries = [line for head, entry in heads for line in quoted(head, entry.text)]
    block = lines + ([""] if lines and entries else []) + entries
    return list(map(_cut, block))


def _cut(line: str) -> str:
    line = visible(line)
    return line if len(line) <= MARKDOWN_LINE else f"{line[: MARKDOWN_LINE - 1]}…"


def code(text: str) -> str:
    """Inline code, whatever backticks the text has."""
    text = visible(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def harmless(text: str) -> str:
    """A text of ours; as code if something of somebody else's in it could be markup: findings may come from a file."""
    return text if _OUR_WORDS.fullmatch(text) else code(text)


def fenced(lines: list[str]) -> list[str]:
    """A block of code, whatever backticks the lines have."""
    ticks = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    return [f"{ticks}text", *lines, ticks]


def _facts(finding: Finding) -> list[str]:
    """What a finding is, in one line."""
    facts = [reason.text for reason in finding.reasons[:1]] or [title(finding)]
    if finding.service is not None:
        facts.append(visible(finding.service))
    if finding.sessions is not None:
        facts.append(sessions(finding))
    if finding.entries and finding.entries[0].count > 1:
        facts.append(f"{finding.entries[0].count:,} times")
    return [*facts, *filter(None, [when(finding)]), how_odd(finding)]


__all__ = [
    "EXTENSIONS",
    "finding_record",
    "format_of",
    "jsonl",
    "junit",
    "markdown",
    "render",
    "require",
    "sarif",
    "summary_record",
    "write",
]
