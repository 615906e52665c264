"""Numbers, durations and lines as people read them.

A long line is cut where it tells least: at its end, and before that its time goes, which is told beside it anyway.
Called where reasons are worded, where findings are made, and where the command prints entries.
"""

import re

from .rules_logmoe import ALARM_PATTERN, MONTH, WEEKDAY

# Where a larger share of entries is older than the one before, it is said that the log is not sorted by time.
BACKWARD_SHARE = 0.05
# Of a text that is quoted in a sentence.
SHOWN_CHARACTERS = 160
# A time at the start of a line, as most programs write it, with what closes it; how times are read is another matter.
_TIME = re.compile(
    rf"[\[(]?(?:(?:{WEEKDAY}|{MONTH})[a-z]*[,.]? +"
    r"|\d{1,4}(?:[-/.](?:\d{1,4}|[A-Z][a-z]{2})){0,2}[ T:,]+){0,4}"
    r"\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?(?: ?(?:[AP]M|Z|UTC|GMT|[+-]\d\d:?\d\d))?(?: \d{4})?(?![\w.:])[\])]?[\s|,:-]*"
)
_LONGEST_TIME = 64
# What names an exception in a stack trace, as Java, .NET, JavaScript and others write it.
_EXCEPTION = re.compile(
    r"\s*(?:Caused by: )?(?:[A-Za-z_][\w$]*(?:\.|::))*(?:[A-Z]\w*)?(?:Error|Exception)\b(?: \[\w+\])?(?::|$)"
)
_ALARM = re.compile(ALARM_PATTERN)
# What says so without calling itself anything.
_TROUBLE = re.compile(
    r"(?i)(?<![\w/.-])(?:out of (?:memory|space)|oom[-_ ]?kill(?:ed|er)?|killed process|no space left|segfault"
    r"|core dumped|kernel panic|cannot|can't|could not|couldn't|unable to|refused|denied|timed out|unreachable"
    r"|corrupt(?:ed|ion)?)(?![\w/-])"
)
# That there was none of it: `errors=0`, `Failures: 0`, `0 failed`, `unreachable=0`, `Corrupt blocks: 0`. Words are
# not followed for longer: a text of one letter would take the square of its length.
_NONE_OF = r"\w{0,40}(?:fail|err|refused|denied|unreachable|corrupt|timed out|oomkill)\w{0,40}"
_NO_ALARM = re.compile(
    rf"(?i)\b{_NONE_OF}[\"']?(?: [a-z]{{1,40}})? ?[=:] {{0,8}}[\"']?(?:0|false)\b"
    rf"|\b(?:0 (?:[a-z]{{1,40}} )?|no ){_NONE_OF}"
)
# Where an entry in JSON says what happened.
_MESSAGE = re.compile(r'"(?:msg|message|error|err|exception|reason|event)":')
# `pay_test.go:7: no money`
_PLACE = re.compile(r"\S+\.\w+:\d+(?::\d+)?: \S")
_WORD = re.compile(r"[^\W\d_]{2}")
_TRACEBACK = "Traceback (most recent call last):"
# java.util.logging writes what it says below a line that says when and where.
_BELOW = re.compile(r"[^\W\d]+\.? \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d\s?\S* \S+ \S+[ \t\r]*\n[^\W\d]+: ")


def cut(line: str, most: int) -> str:
    """A line in so many characters: if it is longer, without its time, and then without its end; of an object in JSON
    from its message on, if that would not be seen.
    """
    if len(line) <= most:
        return line
    if line.startswith("{") and (message := _MESSAGE.search(line, most // 2)):
        line = f"…{line[message.start() :]}"
    time = _TIME.match(line[:_LONGEST_TIME])
    if time and time.end() < len(line):
        line = f"…{line[time.end() :]}"
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def telling_line(text: str) -> tuple[str, int]:
    """What stands for a text of several lines, and how many more it has: its first line; below a header, both."""
    line, *more = text.split("\n")
    if more and _BELOW.match(text):
        return f"{line.rstrip()} {more[0]}", len(more) - 1
    return line, len(more)


def message_of(text: str) -> str | None:
    """The line of an entry that says which exception its stack trace is about; None if none below its first does."""
    first, *lines = text.rstrip().split("\n")
    if _TRACEBACK in text:  # Python's last line, or of several exceptions that of the latest
        return next((line.rstrip() for line in reversed(lines) if line[:1].strip() and has_words(line)), None)
    if first.rstrip().endswith(":") and " panicked at " in first and lines:  # Rust
        return lines[0].strip()
    return next((line.strip() for line in lines if _EXCEPTION.match(line)), None)


def inner_line(text: str) -> str | None:
    """The line below the first that says most: which exception it is, or that something failed, or where; or the only
    one. None if none does.
    """
    if (message := message_of(text)) is not None:
        return message
    below = map(str.strip, text.rstrip().split("\n")[1:])
    lines = [line for line in below if has_words(line) and not line.startswith("at ")]  # the frames of a stack trace
    if len(lines) == 1:
        return lines[0]
    return next((line for line in lines if alarms(line) or _PLACE.match(line)), None)


def alarms(text: str) -> bool:
    """Whether a text says that something failed, or calls itself a warning or worse."""
    text = _NO_ALARM.sub("", text)
    return (_ALARM.search(text) or _TROUBLE.search(text)) is not None


def has_words(text: str) -> bool:
    """Whether there is anything to read in a text: a banner of symbols has nothing."""
    return _WORD.search(text) is not None


def is_about_exception(text: str) -> bool:
    """Whether an entry is an exception, or ends in the stack trace of one."""
    return _EXCEPTION.match(text) is not None or message_of(text) is not None


def shown(text: str) -> str:
    """A text as it is quoted: its first line, cut."""
    return cut(telling_line(text.strip())[0].rstrip(), SHOWN_CHARACTERS)


def seconds_in_words(seconds: float) -> str:
    """A duration in the unit that people would use."""
    if seconds < 0.0995:
        return f"{number_in_words(1000 * seconds)} ms" if seconds >= 0.0005 else "no time"
    for limit, unit_seconds, unit in ((99.5, 1, "s"), (99.5 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{number_in_words(seconds / unit_seconds)} {unit}"
    return f"{number_in_words(seconds / 86400)} days"


def number_in_words(value: float) -> str:
    """Two digits of a small number, all of a large one."""
    return f"{value:,.0f}" if value >= 9.95 or value == int(value) else f"{value:.1f}"


def times_in_words(count: int) -> str:
    """How often something came."""
    return "once" if count == 1 else f"{count:,} times"


def out_of_order(backward: int, entries: int) -> str | None:
    """That a log is not in the order of time, and what helps; None if it is, or nearly so.

    Args:
        backward: entries that stand behind newer ones, of so many in all.
    """
    if backward <= BACKWARD_SHARE * entries:
        return None
    # Of entries that are only out of order, at most every other one can be older than the one before.
    is_newest_first = 2 * backward > entries
    order = "has its newest entries first" if is_newest_first else "is not in the order of time"
    way_out = "turn it round first, as `tac` does" if is_newest_first else "sort it first"
    return (
        f"{backward} of {entries} entries are older than the one before: this log {order}, so order, pace and silence "
        f"tell nothing; {way_out}"
    )


def placed(text: str, line: int | None, first: int, last: int) -> str:
    """A reason, with where it is if the line that it is about is not among those that are shown.

    Args:
        line: that it is about; None for no line in particular.
        first, last: lines that are shown.
    """
    names_line = line is not None and f"line {line:,}" in text
    if line is None or first <= line <= last or not (names_line or "`" in text):
        return text
    where = f"{'before' if line < first else 'after'} these lines"
    return f"{where}: {text}" if names_line else f"{where}, at line {line:,}: {text}"


__all__ = [
    "SHOWN_CHARACTERS",
    "alarms",
    "cut",
    "has_words",
    "inner_line",
    "is_about_exception",
    "message_of",
    "number_in_words",
    "out_of_order",
    "placed",
    "seconds_in_words",
    "shown",
    "telling_line",
    "times_in_words",
]
