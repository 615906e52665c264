"""The transports, as data: what may carry a program's output on its way into a file, and how to take it off.

Container runtime, journal, syslog, Docker Compose, kubectl, CI job. The unwrapper takes its defaults from here, and a
checkpoint carries them. To read something new, add an item to `TRANSPORTS`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import Shapes, buffers, group_texts, slices
from .rules_logmoe import DAYS, MONTH, MONTHS, WEEKDAY, severity_alternatives

_ISO = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})"
_ISO_HEAD = "0000-00-00T"
# Patterns that end in one of these are decided by what comes before it; `prefix_of` knows them.
REST = r"(?P<text>(?s:.*))$"
OPTIONAL_REST = r"(?: (?P<text>(?s:.*)))?$"
_SYSLOG_TIME = (
    rf"(?:{MONTH} [ \d]\d (?:\d{{4}} )?\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d+)?"
    rf"|{WEEKDAY} \d{{4}}-\d{{2}}-\d{{2}} \d{{2}}:\d{{2}}:\d{{2}}(?:\.\d+)? [A-Z]{{1,5}}|{_ISO})"
)
_SYSLOG_HEADS = [
    *(f"{name} .0 " for name in MONTHS),
    *(f"{name} 0000-00-00 " for name in DAYS),
    _ISO_HEAD,
]
_PRIORITY = r"<(?P<priority>\d{1,3})>"
# An IPv6 address may hold colons, but what ends in one is the process.
_HOST = r"(?P<host>[^\s\[\]]*[^\s\[\]:])"
_SEVERITY = severity_alternatives()
_JSON_TEXT = r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*'
# A bracket in a value should be escaped, and often is not.
_STRUCTURED_DATA = r'(?:\[[^\s\]="]+(?: [^\s\]="]+="(?:[^"\\]|\\.)*")*\])+'

# Tried in this order. The keys:
#   name      the format; several items may share one
#   heads     how its lines begin: 0 is a digit, . any character, the rest stands for itself. A cheap first test
#   pattern   RE2, anchored, over the whole line. Its named groups:
#               text      what was wrapped            time      when the transport took it, as written
#               process, pid  kept: `app[9]: text`     priority  syslog's number; severity: a word
#               flag      a key of `flags`            bytes     a JSON array in place of `text`
#   fields    further patterns, for lines that `pattern` matches, searched for anywhere; the first must be found
#   stream    groups that name the stream which a continuation stays in
#   flags     "joins": the text goes on in the stream's next line; "joined": it goes on from the line above
#   is_json   the text is the inside of a JSON string
#   is_record a line is a whole record, so it starts an entry unless its text could continue one
#   recurs    the group whose values must recur; with it or `evidence`, only lines that most others look like count
#   is_certain  with `recurs`: counts line by line all the same, and its values are known from then on
#   evidence  what at least one such line must match before any counts; with `recurs`, what half of them match where
#             the values do not recur yet
#   typical   what half of a few such lines must match before the others are looked at; by default `pattern`
#   unless    lines that do not count; `never_with`: lines that no wrapped log has (a table's rule)
#   is_known  counts only where `recurs` has a value that an item of the same name found
#   lists     `pattern` finds a directive whose `fields` name the values of the lines below it
#   begins    for records of several lines: what begins one; `pattern` then matches a `field` and its `value`
TRANSPORTS: list[dict[str, Any]] = [
    {
        "name": "journal-export",
        "heads": ["__"],
        "begins": r"^__(?:CURSOR=|REALTIME_TIMESTAMP=\d+$)",
        "pattern": r"^(?P<field>[A-Z_][A-Z\d_]{0,63})(?:=(?P<value>(?s:.*)))?$",
    },
    {
        "name": "w3c",
        "heads": ["#F", "#f"],
        "lists": True,
        "pattern": r"^#[Ff]ields:?[ \t]+(?P<fields>\S.*)$",
    },
    {
        "name": "cri",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>{_ISO}) (?P<stream>stdout|stderr) (?P<flag>[FP])(?::[^ ]*)?{OPTIONAL_REST}",
        "stream": ["stream"],
        "flags": {"P": "joins"},
    },
    {
        "name": "docker-json",
        "heads": ["{"],
        "pattern": (
            rf'^\{{\s*(?:"(?:log|stream|time)"\s*:\s*"{_JSON_TEXT}"\s*,?\s*|"attrs"\s*:\s*\{{[^{{}}]*\}}\s*,?\s*)'
            r"{2,4}\}\s*$"
        ),
        # Docker cuts lines of more than 16 KiB; only the last piece ends in a newline (see `DOCKER_PIECE_BYTES`).
        "fields": [
            r'"log"\s*:\s*"(?P<text>(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*?)(?P<newline>(?:\\r)*\\n)?"',
            rf'"stream"\s*:\s*"(?P<stream>{_JSON_TEXT})"',
            rf'"time"\s*:\s*"(?P<time>{_JSON_TEXT})"',
        ],
        "stream": ["stream"],
        "is_json": True,
    },
    {
        "name": "journal-json",
        "heads": ["{"],
        # The names of its fields are capitals, so that other JSON is told by its first key.
        "pattern": (
            r'^\{\s*(?:"[A-Z_][A-Z\d_]*"\s*:(?s:.*)"__(?:CURSOR|REALTIME_TIMESTAMP)'
            r'|"__(?:CURSOR|REALTIME_TIMESTAMP))"\s*:'
        ),
        "fields": [
            rf'"MESSAGE"\s*:\s*(?:"(?P<text>{_JSON_TEXT})"|(?P<bytes>\[(?:"{_JSON_TEXT}"|[\d\s,])*\])|null)',
            r'"__REALTIME_TIMESTAMP"\s*:\s*"?(?P<time>\d+)',
            r'"PRIORITY"\s*:\s*"?(?P<priority>\d)',
            rf'"SYSLOG_IDENTIFIER"\s*:\s*"(?P<identifier>{_JSON_TEXT})"',
            rf'"_SYSTEMD_UNIT"\s*:\s*"(?P<unit>{_JSON_TEXT})"',
            r'"_PID"\s*:\s*"?(?P<number>\d+)',
        ],
        "stream": ["identifier", "unit", "number"],
        "is_json": True,
        "is_record": True,
    },
    {  # without a message, the structured data says it
        "name": "syslog-5424",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}\d{{1,2}} (?:-|(?P<time>{_ISO})) (?P<host>\S+) "
            r"(?:-|(?P<process>\S+)) (?:-|(?P<pid>\S+)) \S+ "
            rf"(?:-|(?P<text>{_STRUCTURED_DATA}))\s*$"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
    },
    {
        "name": "syslog-5424",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}\d{{1,2}} (?:-|(?P<time>{_ISO})) (?P<host>\S+) "
            r"(?:-|(?P<process>\S+)) (?:-|(?P<pid>\S+)) \S+ "
            rf"(?:-|{_STRUCTURED_DATA}) \x{{FEFF}}?{REST}"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
    },
    {
        "name": "syslog",
        "heads": ["<0"],
        "pattern": (
            rf"^{_PRIORITY}(?P<time>{_SYSLOG_TIME}) (?:{_HOST} )?"
            rf"(?P<process>[^\s:\[\]]+)(?:\[(?P<pid>[^\s\]]+)\])?: ?{REST}"
        ),
        "stream": ["host", "process", "pid"],
        "is_record": True,
        "recurs": "host",
        "is_certain": True,
    },
    {
        "name": "syslog",
        "heads": ["<0"],
        "pattern": rf"^{_PRIORITY}(?P<time>{_SYSLOG_TIME}) (?P<host>\S+) {REST}",
        "stream": ["host"],
        "is_record": True,
    },
    {  # the kernel's own ring buffer (dmesg --raw); the time is part of the message
        "name": "syslog",
        "heads": ["<0"],
        "pattern": rf"^{_PRIORITY}(?P<text>\[ *\d+\.\d+\](?s:.*))$",
        "is_record": True,
    },
    {
        "name": "gitlab",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>{_ISO}) (?P<stream>[0-9a-f]{{2}}[OE])(?:(?P<flag>[ +]){REST[:-1]})?$",
        "stream": ["stream"],
        "flags": {"+": "joined"},
    },
    {
        "name": "gitlab",
        "heads": ["section_"],
        "pattern": rf"^section_(?:start|end):(?P<time>\d+):[\w.-]+(?:\[[^\]]*\])?(?:[\r ]*\r+{REST[:-1]})?$",
    },
    {
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": (rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} (?P<process>[^\s:\[\]]+)\[(?P<pid>[^\s\]]+)\]: ?{REST}"),
        "stream": ["host", "process", "pid"],
        "is_record": True,
        "recurs": "host",
        "is_certain": True,
        "unless": rf"^(?:\S+ +)+?(?i:{_SEVERITY}) \S+\[",
    },
    {
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} (?P<process>[^\s:\[\]]+): ?{REST}",
        "stream": ["host", "process"],
        "is_record": True,
        "recurs": "host",
        "unless": rf"^{_SYSLOG_TIME} (?i:{_SEVERITY}) ",
    },
    {  # without a host: journalctl --no-hostname, Heroku
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": rf"^(?P<time>{_SYSLOG_TIME}) (?P<process>[^\s:\[\]]+)\[(?P<pid>[^\s\]]+)\]: ?{REST}",
        "stream": ["process", "pid"],
        "is_record": True,
        "recurs": "process",
        "unless": rf"^{_SYSLOG_TIME} (?i:{_SEVERITY})\[",
    },
    {  # "last message repeated 2 times"
        "name": "syslog",
        "heads": _SYSLOG_HEADS,
        "pattern": rf"^(?P<time>{_SYSLOG_TIME}) {_HOST} {REST}",
        "stream": ["host"],
        "is_record": True,
        "recurs": "host",
        "is_known": True,
    },
    {
        "name": "kubectl",
        "heads": ["[pod/"],
        "pattern": rf"^\[pod/(?P<stream>[^\]\s/]+/[^\]\s/]+)\]{OPTIONAL_REST}",
        "stream": ["stream"],
        "evidence": "",
    },
    {
        "name": "github",
        "heads": [_ISO_HEAD],
        "pattern": (
            r"^(?P<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{7}Z)"
            rf"(?: (?:##\[(?:(?P<severity>error|warning|notice|debug)|[a-z]+)\])?{REST[:-1]})?$"
        ),
        "evidence": r"^\S+ ##\[[a-z]+\]",
    },
    {  # gh run view --log
        "name": "github",
        "pattern": (
            r"^(?P<job>[^\t]+)\t(?P<step>[^\t]+)\t\x{FEFF}?(?P<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{7}Z)"
            rf"(?: (?:##\[(?:(?P<severity>error|warning|notice|debug)|[a-z]+)\])?{REST[:-1]})?$"
        ),
        "stream": ["job", "step"],
        "recurs": "job",
    },
    {  # kubectl logs --timestamps, docker logs --timestamps
        "name": "timestamps",
        "heads": [_ISO_HEAD],
        "pattern": rf"^(?P<time>\d{{4}}-\d{{2}}-\d{{2}}T\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d{{1,9}})?Z){OPTIONAL_REST}",
        "typical": r"^\S+\.\d{7,9}Z(?: |$)",
        # A program stamps its messages alone; a transport stamps blank and indented lines as well, JSON, and what has
        # a time of its own. Two spaces before a severity are a program's padding.
        "evidence": (
            r'^\S+\.\d{7,9}Z(?: ?$| (?:\t+\S| {2,}(?:[^\sA-Z]|[A-Z][a-z])|\{"|\[?\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:))'
        ),
    },
    {
        "name": "compose",
        "pattern": rf"^(?P<stream>(?:\d+\|)?[\w.@-]*[A-Za-z][\w.@-]*) +\|{OPTIONAL_REST}",
        "stream": ["stream"],
        "recurs": "stream",
        # A few lines are enough if what is after the bar begins with a time and goes on, without another bar.
        "evidence": r"^[^|]+\| \[?\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:[^|]*\s[^|]*[A-Za-z][^|]*$",
        "unless": rf"^(?i:{_SEVERITY}) ",
        "never_with": r"^[ |+]*[-=]{2,}[-=+| ]*$",
    },
]


def prefix_of(pattern: str) -> str:
    """The part of a pattern that decides whether it matches: all but a rest of the line that may be anything."""
    if pattern.endswith(OPTIONAL_REST):
        return pattern.removesuffix(OPTIONAL_REST) + "(?: |$)"
    return pattern.removesuffix(REST)


def wrapper_groups(text: pa.Array, pattern: str) -> dict[str, pa.Array]:
    """What the named groups of a pattern match in texts that it matches.

    Wrappers repeat up to their digits, and what follows them does not matter: so the groups are looked for once in
    each distinct wrapper.

    Returns:
        For each group a large string `(texts,)`, null where it has no part in the match.
    """
    prefix = prefix_of(pattern)
    if prefix == pattern:
        return group_texts(Shapes(text), pattern)
    rest = pc.replace_substring_regex(text, prefix, "", max_replacements=1)
    lengths = np.diff(buffers(text)[0]) - np.diff(buffers(rest)[0])
    wrapper = slices(text, np.zeros(len(text), dtype=np.int64), lengths)
    return {**group_texts(Shapes(wrapper), prefix), "text": rest}


__all__ = ["TRANSPORTS"]
