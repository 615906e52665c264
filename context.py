"""Findings in, the same findings out with the lines around what is telling, read from their logs once more.

A log is read again from its file, as it was judged: decompressed, decoded, once for all of its findings, and only the
lines that are shown are kept. A stream cannot be read again. A file that has changed in between would show lines of
something else: `stamp`, taken before a log is judged, tells. Used by the command, after the logs are judged.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from logmoe.console import visible
from logmoe.findings_logmoe import Context, ContextLine, Finding
from logmoe.reading_logmoe import LogReader
from logmoe.scanning_logmoe import is_readable_twice

# Lines around each telling one that may be asked for, and lines that all findings of a call together get.
MOST_AROUND = 100
MOST_LINES = 100_000
# Characters of a line: there are lines of millions, and nobody reads them here.
LINE_CHARACTERS = 1000
# Lines of one entry, such as a stack trace, that are telling.
ENTRY_LINES = 20
# Bytes at the beginning of a file, and before its former end, that tell whether it is the same.
STAMPED_BYTES = 4096

_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True)
class Stamp:
    """What a file was like. One that only grew since is the same: its lines are where they were.

    Attributes:
        size: in bytes, as stored.
        digest: of its first and last `STAMPED_BYTES`.
    """

    size: int
    digest: bytes


def stamp(source: str | None, size: int | None = None) -> Stamp | None:
    """What a log is like now; None for what is no file, or cannot be read.

    Args:
        source: its path.
        size: how much of it counts, in bytes; by default all.
    """
    if not is_readable_twice(source) or source is None:
        return None
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size if size is None else size
            read = file.read(min(size, STAMPED_BYTES))
            file.seek(max(0, size - STAMPED_BYTES))
            return Stamp(size, hashlib.sha256(read + file.read(min(size, STAMPED_BYTES))).digest())
    except OSError:
        return None


def with_context(
    findings: Iterable[Finding], around: int, encoding: str | None = None, stamps: Mapping[str, Stamp] | None = None
) -> list[Finding]:
    """The findings with `context`: the lines of their logs around the first and the telling ones.

    Args:
        findings: of any logs; should there be too many lines, the strongest get theirs.
        around: lines before, and lines after.
        encoding: of the logs, if it was given.
        stamps: of logs, from before they were judged. Without one a log counts as unchanged.

    Raises:
        ValueError: `around` is out of range.
    """
    check_around(around)
    findings = list(findings)
    wanted: list[list[int]] = [[] for _ in findings]
    left = MOST_LINES
    by_source: dict[str | None, list[int]] = {}
    for place in sorted(range(len(findings)), key=lambda place: -findings[place].strength):
        lines = _wanted(findings[place], around)
        if len(lines) > left:
            break
        wanted[place], left = lines, left - len(lines)
        by_source.setdefault(findings[place].source, []).append(place)
    enough = f"no lines around this finding: those of stronger ones are {MOST_LINES:,} already; ask for fewer"
    contexts = [Context((), enough) for _ in findings]
    for source, places in by_source.items():
        lines = sorted({line for place in places for line in wanted[place]})
        texts, problem = _read(source, lines, encoding, (stamps or {}).get(source or ""))
        for place in places:
            finding = findings[place]
            is_whole = all(line in texts for line in _anchors(finding))
            own = {line: texts[line] for line in wanted[place] if line in texts}
            shares = _shares(finding, own)
            shown = [ContextLine(line, text, shares.get(line)) for line, text in own.items()]
            contexts[place] = Context(tuple(shown), None if is_whole else problem or "the log is shorter than it was")
    return [replace(finding, context=context) for finding, context in zip(findings, contexts, strict=True)]


def check_around(around: int) -> None:
    """
    Raises:
        ValueError: no such number of lines can be asked for.
    """
    if isinstance(around, bool) or not isinstance(around, int) or not 0 <= around <= MOST_AROUND:
        raise ValueError(f"lines around a finding must be a number from 0 to {MOST_AROUND}, got {around!r}.")


def _anchors(finding: Finding) -> list[int]:
    return [finding.first_line, *(entry.line for entry in finding.entries)]


def _wanted(finding: Finding, around: int) -> list[int]:
    """Numbers of the lines that a finding's context has if its log has them, ascending."""
    spans = [(finding.first_line, 0)]
    spans += [(entry.line, min(entry.text.count("\n"), ENTRY_LINES - 1)) for entry in finding.entries]
    return sorted({line for at, more in spans for line in range(max(1, at - around), at + more + around + 1)})


def _shares(finding: Finding, texts: dict[int, str]) -> dict[int, float]:
    """The share of each line that is telling: where an entry is most telling, where it comes first and last, and where
    nothing but numbers differs.

    What an entry goes on with is looked for: a transport, or another stream, may stand between its lines.
    """
    shares: dict[int, float] = {}
    places: dict[str, list[int]] = {}
    for line, text in texts.items():
        places.setdefault(_shape(text), []).append(line)
    for entry in finding.entries:
        head = entry.text[: LINE_CHARACTERS + 1].split("\n", 1)[0]
        lines = [entry.line, entry.first_line, entry.last_line, *places.get(_shape(_cut(head)), ())]
        for line, text in enumerate(entry.text.split("\n", ENTRY_LINES)[1:ENTRY_LINES], entry.line + 1):
            text = text.strip()[: LINE_CHARACTERS // 2]
            if not text or text not in texts.get(line, ""):
                break
            lines.append(line)
        for line in lines:
            shares[line] = max(entry.share, shares.get(line, 0.0))
    return shares


def _shape(text: str) -> str:
    return _NUMBER.sub("0", text)


def _cut(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}…"


def _read(
    source: str | None, lines: list[int], encoding: str | None, before: Stamp | None
) -> tuple[dict[int, str], str | None]:
    """Some lines of a log by their numbers, and in words what kept it from being read to the last of them.

    Args:
        lines: their numbers, ascending.
        before: what the log was like.
    """
    if source is None or source == "-":
        return {}, "a stream cannot be read again for the lines around"
    if not os.path.exists(source):
        return {}, "the log is gone, and with it the lines around"
    if not is_readable_twice(source):
        return {}, "the log is no file, and cannot be read again for the lines around"
    texts: dict[int, str] = {}
    problem = None
    try:
        place = 0
        for chunk in LogReader(source, encoding=encoding):
            place = _take(chunk.data, chunk.first_line, lines, place, texts)
            if place == len(lines):
                break
    except (OSError, ValueError, EOFError) as error:
        problem = f"the lines around could not be read: {error}"
    if before is not None and stamp(source, before.size) != before:
        return {}, "the log has changed since it was judged: its lines are others now"
    return texts, problem


def _take(data: bytes, first: int, lines: list[int], place: int, texts: dict[int, str]) -> int:
    """Puts the wanted lines of a chunk into `texts`.

    Args:
        data, first: the chunk, and the number of its first line.
        lines, place: numbers of wanted lines, and the place of the first of them that is not read yet.

    Returns:
        The place after the last one read.
    """
    after = first + data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    if place == len(lines) or lines[place] >= after:
        return place
    ends = np.append(np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")), len(data))
    while place < len(lines) and lines[place] < after:
        row = lines[place] - first
        start, end = (int(ends[row - 1]) + 1 if row else 0), int(ends[row])
        text = data[start : min(end, start + 4 * LINE_CHARACTERS + 4)].decode("utf-8", "ignore")
        texts[lines[place]] = _cut(text.rstrip("\r"))
        place += 1
    return place


def told_context(finding: Finding, margin: str = "", width: int | None = None) -> Iterator[str]:
    """The context of a finding as lines of text; those that are telling have a mark. None if it was not asked for.

    Args:
        margin: before each line.
        width: columns to fit lines into; None cuts nothing.
    """
    if finding.context is None:
        return
    lines = finding.context.lines
    digits = len(str(lines[-1].line)) if lines else 0
    above = None
    for line in lines:
        if above is not None and line.line > above + 1:
            yield f"{margin}  {'':>{digits}}  ⋮"
        above = line.line
        text = visible(line.text.expandtabs())
        head = f"{margin}{' ' if line.share is None else '>'} {line.line:>{digits}}  "
        room = max(20, (width or 0) - len(head))
        yield head + (text if width is None or len(text) <= room else f"{text[: room - 1]}…")
    if finding.context.note:
        yield f"{margin}({visible(finding.context.note)})"


__all__ = ["Stamp", "check_around", "stamp", "told_context", "with_context"]
