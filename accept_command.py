"""Findings that are fine in, a reference that knows of them out: `logmoe accept`.

Takes word for word what the page collects as fine, or the ids of findings that were written to a file. Needs no model,
so that it takes a moment. What was accepted is left out when logs are judged against the reference; see
`accepting_logmoe.py`.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from logmoe.accepting_logmoe import FINDING_ID, Accepted, moment, together
from logmoe.answering import count
from logmoe.console import visible
from logmoe.reference_logmoe import LogReference
from logmoe.reports import parse, records_in

# Seconds to wait for another run that changes the same reference.
PATIENCE = 30.0
LOCK = ".accepting.lock"


def accept(
    reference: str,
    ids: Sequence[str] = (),
    *,
    findings: Sequence[str] = (),
    until: str | None = None,
    like: str | None = None,
    undo: bool = False,
    show: bool = False,
) -> int:
    """Accepts findings in a saved reference, all or none.

    Args:
        reference: folder of the reference, which is changed.
        ids: of findings; without any, lines of JSON are read from standard input.
        findings: files of JSON lines, which say what the ids stand for.
        until: they are reported again from then on, a date or date-time; by default never.
        like: folder of another reference: what is accepted there is accepted here too, until the same dates.
        undo: they are not accepted any more.
        show: changes nothing, and lists what is accepted.

    Returns:
        The exit code.

    Raises:
        OSError: there is no reference, or another run has been changing it for too long.
        ValueError: arguments exclude each other, an id stands for nothing, or a line is no finding.
    """
    if undo and until is not None:
        raise ValueError("--until and --undo exclude each other: what is undone is reported again at once")
    if show:
        if ids or findings or undo or until is not None or like is not None:
            raise ValueError("--list changes nothing: it goes with REFERENCE alone")
        for accepted in LogReference.from_pretrained(_folder(reference)).accepted.values():
            print(_told(accepted))
        return 0
    if until is not None:
        moment(until)
    folder = _folder(reference)
    if like is not None:
        if ids or findings or undo or until is not None:
            raise ValueError("--like takes over what is accepted in OTHER as it is: it goes with REFERENCE alone")
        others = LogReference.from_pretrained(_folder(like)).accepted.values()
        records: list[Any] = [asdict(one) | {"masked": list(one.masked)} for one in others]
    elif undo and ids:
        records = [{"id": one, "masked": []} for one in ids]
    elif ids:
        records = _named(ids, findings)
    else:
        if findings:
            raise ValueError("--findings says what ids stand for: name the ids of the findings that are fine")
        records = list(_piped())
    for line in _change(folder, records, until, undo, as_they_are=like is not None):
        print(line)
    return 0


def _folder(reference: str) -> Path:
    folder = Path(reference)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no reference at {reference!r}: name the folder of one that `logmoe fit` saved; one on the Hub must be "
            "downloaded first, and uploaded again"
        )
    return folder


def _change(
    folder: Path, records: list[dict[str, Any]], until: str | None, undo: bool, as_they_are: bool = False
) -> Iterator[str]:
    """Reads the reference, changes it and saves it, while nobody else does.

    `as_they_are`: the records keep the dates that they have.
    """
    with being_changed(folder):
        reference = LogReference.from_pretrained(folder)
        before = set(reference.accepted)
        given = dict.fromkeys(Accepted.of(record).id for record in records)
        if undo:
            if unknown := [one for one in given if one not in before]:
                raise ValueError(f"not accepted in {str(folder)!r}: {', '.join(unknown)}; --list shows what is")
            for one in given:
                del reference.accepted[one]
        elif as_they_are:
            reference.accepted = together(reference.accepted.values(), map(Accepted.of, records))
        else:
            reference.accept(records, until)
        reference.save_pretrained(folder)
    if undo:
        said = f"{count(len(given), 'finding')} reported again"
        yield f"{visible(folder)}: {said}; {len(reference.accepted):,} accepted"
        return
    said = f"{count(len(given), 'finding')} accepted"
    if until is not None:
        said += f" until {moment(until).isoformat(' ', 'minutes')}"
    if known := len(before & given.keys()):
        said += f", {known:,} of them not for the first time"
    yield f"{visible(folder)}: {said}; {len(reference.accepted):,} in all"


@contextlib.contextmanager
def being_changed(folder: Path) -> Iterator[None]:
    """Keeps other runs of `accept` and `fit` from a reference while it is read, changed and saved.

    Raises:
        OSError: it cannot be written, or another run has been changing it for too long.
    """
    lock = FileLock(folder / LOCK, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(
            f"{str(folder)!r} is being changed by another run since {PATIENCE:.0f} seconds: try again later"
        ) from error
    except NotImplementedError:  # this file system has no locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _named(ids: Sequence[str], files: Sequence[str]) -> list[dict[str, Any]]:
    """The records of findings that were written to files, by their ids.

    Raises:
        ValueError: none has such an id; names them.
    """
    if named := [one for one in ids if not FINDING_ID.fullmatch(one) and os.path.isfile(one)]:
        file = visible(named[0])
        raise ValueError(
            f"{file} is a file, not the id of a finding: give --findings {file} and the ids of those that are fine"
        )
    if not files:
        raise ValueError(
            "what these ids stand for is not known: give --findings FILE.jsonl, as `logmoe LOG -o FILE.jsonl` wrote "
            "it, or the lines that the page collects on standard input"
        )
    wanted = dict.fromkeys(ids)
    found = []
    for file in files:
        for _, record in records_in(file):
            if record.get("type") == "finding" and record.get("id") in wanted:
                found.append(record)
    known = {record["id"] for record in found}
    if unknown := [one for one in wanted if one not in known]:
        raise ValueError(f"no finding {', '.join(map(visible, unknown))} in {', '.join(map(visible, files))}")
    return found


def _piped() -> Iterator[dict[str, Any]]:
    """The records on standard input.

    Raises:
        ValueError: a line is no finding, says which; or there is none.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(
            "nothing to accept: name ids with --findings FILE.jsonl, or pipe in the lines that the page collects"
        )
    number = 0
    for number, record in parse(getattr(sys.stdin, "buffer", sys.stdin), "standard input"):
        if isinstance(record, dict) and record.get("type") == "summary":
            continue
        try:
            Accepted.of(record)
        except ValueError as error:
            raise ValueError(f"standard input, line {number}: {error}") from error
        yield record
    if not number:
        raise ValueError("nothing to accept: standard input is empty")


def _told(accepted: Accepted) -> str:
    """What is accepted, in one line: its id, until when, and what it is about."""
    until = "for good" if accepted.until is None else f"until {accepted.until}"
    return f"{accepted.id}  {until}  {json.dumps(list(accepted.masked))}"


__all__ = ["accept", "being_changed"]
