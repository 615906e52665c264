"""A log in, how it is read out: `logmoe explain` shows the entries of a log before any model sees them.

With each entry's lines, time, severity and masked text: where a log is misread, this shows it. Holds also what the
command's parts share: going through the logs that were named.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from logmoe import LogMoEProcessor
from logmoe.answering import name_of
from logmoe.console import AnswerError, Console, json_text, named, visible, words_of
from logmoe.inference import DEFAULT_CHECKPOINT
from logmoe.loading import load_processor
from logmoe.parsing_logmoe import EntryStream
from logmoe.reading_logmoe import EmptyLogError, LogReader, check_encoding, find_logs

Answer = TypeVar("Answer")

# Entries that are shown by default, and what is said of each with --json.
EXPLAINED = 20
EXPLAINED_KEYS = ("first_line", "last_line", "time", "severity", "text", "masked")


def explain(
    logs: Sequence[str],
    console: Console,
    model: str | None = None,
    show_all: bool = False,
    as_json: bool = False,
    encoding: str | None = None,
    entry_pattern: str | None = None,
    trust_remote_code: bool = False,
) -> int:
    """`logmoe explain LOG…`: shows how the entries of logs are read, before any model sees them.

    Returns:
        The exit code: 2 if something could not be read.

    Raises:
        OSError: there is no checkpoint at `model`.
        ValueError: the encoding or the pattern is none.
    """
    processor = load_processor(model or DEFAULT_CHECKPOINT, trust_remote_code=trust_remote_code)
    if entry_pattern is not None:
        processor = processor.with_entry_pattern(entry_pattern)
    check_encoding(encoding)
    limit = None if show_all else EXPLAINED
    _, failed = for_each_log(
        logs, lambda log: _explain_log(processor, log, limit, as_json, encoding), partial(tell_problem, console)
    )
    return 2 if failed else 0


def _explain_log(
    processor: LogMoEProcessor, source: str, most: int | None, as_json: bool, encoding: str | None
) -> None:
    name = name_of(source)
    reader = LogReader(source, encoding=encoding, max_line_bytes=4 * processor.max_entry_characters)
    stream, headers_of_log = EntryStream(processor, reader.chunk_bytes), processor.header_reader()
    shown, formats = 0, set()
    for lines in reader:
        chunk = stream.push(lines)
        formats |= chunk.formats
        parsed = processor.masked(chunk.entries)
        if not len(parsed):
            continue
        headers = processor.headers(parsed, headers_of_log)
        limit = len(parsed) if most is None else min(len(parsed), most - shown)
        columns = zip(
            parsed.first_line[:limit].tolist(),
            parsed.last_line[:limit].tolist(),
            headers.iso(),
            headers.severities(),
            parsed.text[:limit].to_pylist(),
            parsed.distinct.take(pa.array(parsed.entry_index[:limit])).to_pylist(),
            strict=False,
        )
        for entry in columns:
            if as_json:
                print_json(dict(zip(EXPLAINED_KEYS, entry, strict=True)))
            else:
                _print_explained(name if not shown else None, *entry)
            shown += 1
        if most is not None and shown >= most:
            break
    if not shown:
        raise EmptyLogError(f"no log entries in {name}: it is empty or all blank lines")
    if not as_json:
        print(
            f"\n{name}: {', '.join(sorted(formats))}; {shown} entries shown"
            + ("" if most is None else " (--all: every one)")
        )
    reader.stop()


def _print_explained(
    name: str | None, first: int, last: int, time: str | None, severity: str | None, text: str, masked: str
) -> None:
    if name is not None:
        print(f"{name}:")
    lines = f"{first}" if first == last else f"{first}-{last}"
    print(f"\n  {lines:<9} {time or 'no time'}  {severity or 'no severity'}")
    for line in text.split("\n"):
        print(f"    | {visible(line.expandtabs())}")
    print(f"    = {visible(masked)}")


# ---------------------------------------------------------------------- what the parts of the command share


def tell_problem(console: Console, log: str, error: Exception, what: str) -> None:
    """Says what is wrong with a log: `what` is `"error"` or `"skipped"`."""
    # That a log is empty, or not there, is said with its name.
    said = words_of(error)
    is_named = isinstance(error, EmptyLogError) or repr(log) in said
    console.note(said if is_named else named(visible(log), visible(said)), what)


def for_each_log(
    given: Sequence[str],
    handle: Callable[[str], Answer],
    tell: Callable[[str, Exception, str], None],
) -> tuple[list[Answer], bool]:
    """Handles the logs that arguments name. What is wrong with one is told, and the others are still handled.

    An empty log among others is passed over with a note; if all are empty, that is an error.

    Args:
        tell: takes a log, what is wrong with it, and `"error"` or `"skipped"`.

    Returns:
        What `handle` gave for each log, and whether something was wrong.
    """
    answers: list[Answer] = []
    empty: list[tuple[str, EmptyLogError]] = []
    failed = False
    for argument in given:
        for log, problem in _expanded(argument):
            try:
                if problem is not None:
                    raise problem
                answers.append(handle(log))
            except (BrokenPipeError, AnswerError):
                raise
            except EmptyLogError as error:
                empty.append((log, error))
            except Exception as error:
                tell(log, error, "error")
                failed = True
    is_error = bool(empty) and not answers and not failed
    for log, of_log in empty:
        tell(log, of_log, "error" if is_error else "skipped")
    return answers, failed or is_error


def _expanded(given: str) -> list[tuple[str, Exception | None]]:
    """The logs that an argument stands for, or the argument and what is wrong with it."""
    try:
        return [(log, None) for log in find_logs(given)]
    except Exception as error:  # one bad argument must not keep the others from being read
        return [(given, error)]


def print_json(sequence: dict[str, Any]) -> None:
    print(json_text(sequence), flush=True)
