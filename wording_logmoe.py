"""Numbers, durations and lines as people read them.

A long line is cut where it tells least: at its end, and before that its time goes, which is told beside it anyway.
Called where reasons are worded, and where the command prints entries.
"""

import re

# Of a text that is quoted in a sentence.
SHOWN_CHARACTERS = 160
_NAMES = "Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# A time at the start of a line, as most programs write it, with what closes it; how times are read is another matter.
_TIME = re.compile(
    rf"[\[(]?(?:(?:{_NAMES})[a-z]*[,.]? +|\d{{1,4}}(?:[-/.](?:\d{{1,4}}|[A-Z][a-z]{{2}})){{0,2}}[ T:,]+){{0,4}}"
    r"\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?(?: ?(?:[AP]M|Z|UTC|GMT|[+-]\d\d:?\d\d))?(?: \d{4})?(?![\w.:])[\])]?[\s|,:-]*"
)
_LONGEST_TIME = 64


def cut(line: str, most: int) -> str:
    """A line in so many characters: if it is longer, without its time, and then without its end."""
    if len(line) <= most:
        return line
    time = _TIME.match(line[:_LONGEST_TIME])
    if time and time.end() < len(line):
        line = f"…{line[time.end() :]}"
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def shown(text: str) -> str:
    """A text as it is quoted: its first line, cut."""
    return cut(text.strip().split("\n", 1)[0].rstrip(), SHOWN_CHARACTERS)


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


__all__ = ["SHOWN_CHARACTERS", "cut", "number_in_words", "seconds_in_words", "shown", "times_in_words"]
