"""Entries in, times and severities out: reads the header of each log entry.

The rules are data (`TIME_RULES`, `SEVERITY_RULES`), patterns with named groups. They are tried on shapes, texts with
every digit zeroed, so once for all entries that look alike; the digits are then picked from the entries by position.
A reader remembers shapes, so that a long log costs little more than its digits. Knows nothing of lines and masks.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .masking_logmoe import Shapes, digit_alternatives
from .rules_logmoe import SEVERITY_WORDS, check_pattern, dictionary_indices, matches

Rule = Mapping[str, Any]

LEVELS = list(SEVERITY_WORDS)

# How much of an entry is read, in bytes. The prefix holds most headers and keeps shapes few; where it is not enough,
# the head is read, and more of blocks (JSON, events), whose keys stand in any order.
PREFIX_BYTES = 72
HEAD_BYTES = 320
BLOCK_BYTES = 4096
# The value of a key, from its first byte on.
VALUE_BYTES = 48
# A time this close to where a text was cut may go on behind the cut.
_PREFIX_MARGIN = 16
_VALUE_MARGIN = 8
# A header's time starts within so many bytes; its severity stands within so many after the time, or, without a time,
# after the beginning.
MAX_TIME_START = 160
MAX_SEVERITY_DISTANCE = 100
# Entries that are read at once, and shapes that are remembered.
_BLOCK_ENTRIES = 1 << 15
_KNOWN_SHAPES = 1 << 14
# How many rules may match an entry with values out of range, and how often it is searched anew after that.
_CANDIDATES = 3
_ATTEMPTS = 3
# With more shapes, a pass with all patterns joined pays: compiling it takes a few milliseconds.
_MANY_SHAPES = 256

# ---------------------------------------------------------------------- time rules

_DAY = 86_400

# Zones by name, in hours. Where a name has several meanings, the one most seen in logs.
ZONES = {
    **dict.fromkeys(("Z", "UTC", "GMT", "WET", "UCT"), 0.0),
    **dict.fromkeys(("WEST", "BST", "CET", "MET"), 1.0),
    **dict.fromkeys(("CEST", "MEST", "EET", "SAST"), 2.0),
    **dict.fromkeys(("EEST", "MSK", "EAT"), 3.0),
    **{"IST": 5.5, "PKT": 5.0, "WIB": 7.0, "HKT": 8.0, "SGT": 8.0, "AWST": 8.0, "JST": 9.0, "KST": 9.0},
    **{"ACST": 9.5, "ACDT": 10.5, "AEST": 10.0, "AEDT": 11.0, "NZST": 12.0, "NZDT": 13.0},
    **{"NST": -3.5, "NDT": -2.5, "AST": -4.0, "ADT": -3.0, "EST": -5.0, "EDT": -4.0, "CST": -6.0, "CDT": -5.0},
    **{"MST": -7.0, "MDT": -6.0, "PST": -8.0, "PDT": -7.0, "AKST": -9.0, "AKDT": -8.0, "HST": -10.0},
    **{"BRT": -3.0, "ART": -3.0},
}
_REGIONS = "Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc"

_WEEKDAY = r"(?i:Mon|Tues?|Wed(?:nes)?|Thu(?:rs?)?|Fri|Sat(?:ur)?|Sun)(?i:day)?"
_MONTH = (
    r"(?P<b>(?i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?))"
)
_HAS_MONTH = "(?i)jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_MONTH_PREFIXES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FRACTION = r"(?:[.,:](?P<f>\d+))?"
_AMPM = r"(?:[ \x{A0}\x{202F}]?(?P<p>[AaPp]\.?[Mm]\b\.?))?"
_ZONE = (
    r"(?: ?\(?(?P<z>[+-]\d{2}:?\d{2}|(?:UTC|GMT)[+-]\d{1,2}(?::?\d{2})?"
    rf"|(?:{'|'.join(sorted(ZONES, key=len, reverse=True))}|z)\b"
    rf"|(?:{_REGIONS})/[A-Z]\w+(?:/[A-Z]\w+)?)|(?P<zh>[+-]\d{{2}}))?"
)
_SECONDS = rf"(?P<H>\d{{1,2}}):(?P<M>\d{{2}}):(?P<S>\d{{2}}){_FRACTION}"
_CLOCK = rf"(?P<H>\d{{1,2}}):(?P<M>\d{{2}})(?::(?P<S>\d{{2}}){_FRACTION})?{_AMPM}{_ZONE}"
_YEAR, _MONTH_NUMBER, _DAY_NUMBER = r"(?P<Y>\d{4})", r"(?P<m>\d{1,2})", r"(?P<d>\d{1,2})"
_COMPACT = r"(?P<m>\d{2})(?P<d>\d{2})"
_COMPACT_CLOCK = rf"(?P<H>\d{{2}})(?P<M>\d{{2}})(?P<S>\d{{2}}){_FRACTION}"

# How a time is written, tried on texts with every digit zeroed: a pattern may say `\d`, but name no digit. Groups: `Y`
# year, `y` year of two digits, `m` month, `b` its name, `d` day, `n1` and `n2` day and month in an order that the log
# must settle, `H`, `M`, `S`, `f` fraction, `p` AM or PM, `z` or `zh` zone, and `s`, `ms`, `us`, `ns` since 1970. The
# earliest time wins, then the order of rules. `place`: "head" (default) near the beginning, "start" only at the very
# beginning, where brackets, quotes and a syslog priority may stand before it, and as the value of a key. `needs` is a
# cheap pattern that matches wherever the rule does; it spares the dear one.
TIME_RULES: list[dict[str, str]] = [
    # 2026-03-12T06:25:01.104522+09:00, 2026/03/12 - 06:25:01, 2026-03-12 06:25
    {
        "name": "iso",
        "needs": r"\d{4}[-/.]\d",
        "pattern": rf"{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY_NUMBER}(?:[Tt_:-]|,?[ \t]+(?:- )?){_CLOCK}",
    },
    # 2026-03-12 06.25.01,104, 2005-06-03-15.42.50.363779
    {
        "name": "dotted clock",
        "needs": r"\d\.\d\d\.",
        "pattern": rf"{_YEAR}-(?P<m>\d{{2}})-(?P<d>\d{{2}})[-T ](?P<H>\d{{2}})\.(?P<M>\d{{2}})\.(?P<S>\d{{2}})"
        rf"{_FRACTION}{_ZONE}",
    },
    # 20260312T062501Z
    {"name": "iso basic", "needs": r"\d{8}[Tt]", "pattern": rf"{_YEAR}{_COMPACT}[Tt]{_COMPACT_CLOCK}{_ZONE}"},
    # 12/Mar/2026:06:25:01 +0000
    {"name": "access log", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}/{_MONTH}/{_YEAR}[: ]{_CLOCK}"},
    # 12-Mar-2026 06:25:01, 12-Mar-2026::06:25:01
    {"name": "day-month", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}-{_MONTH}-{_YEAR}(?:::?|[ T]){_CLOCK}"},
    {"name": "day-month short", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}-{_MONTH}-(?P<y>\d{{2}})[ T]{_CLOCK}"},
    # Thu, 12 Mar 2026 06:25:01 GMT
    {
        "name": "day month",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_DAY_NUMBER}\.? {_MONTH},? {_YEAR},?(?: at)? {_CLOCK}",
    },
    # Sun Dec 04 04:47:44.123456 2005, Thu Mar 12 06:25:01 AM CET 2026
    {
        "name": "ctime",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER} {_SECONDS}{_AMPM}{_ZONE} {_YEAR}(?: (?:GMT|UTC))?",
    },
    # Thursday, March 12, 2026 6:25:01 AM, Mar 12 2026 06:25:01
    {
        "name": "month day",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER},? {_YEAR},?(?: at)? {_CLOCK}",
    },
    # 2026 Mar 12 06:25:01.104
    {"name": "year month day", "needs": _HAS_MONTH, "pattern": rf"{_YEAR}[ -]{_MONTH}[ -]+{_DAY_NUMBER} {_CLOCK}"},
    # Mar 12 06:25:01
    {
        "name": "syslog",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER} {_SECONDS}{_ZONE}",
    },
    # 12 Mar 06:25:01.104
    {"name": "day month without year", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER} {_MONTH} {_SECONDS}{_ZONE}"},
    # Thu 12 Mar 06:25:01 2026
    {
        "name": "weekday day month",
        "needs": _HAS_MONTH,
        "pattern": rf"{_WEEKDAY},? {_DAY_NUMBER} {_MONTH} {_SECONDS}{_ZONE} {_YEAR}",
    },
    # 2026年3月12日 06:25:01, 2026年03月12日 06时25分01秒
    {
        "name": "cjk",
        "needs": "[年년]",
        "pattern": rf"{_YEAR}[年년] ?{_MONTH_NUMBER}[月월] ?{_DAY_NUMBER}[日일] ?(?:[(（]\p{{Han}}[)）] ?)?"
        rf"(?P<H>\d{{1,2}})[:：时時](?P<M>\d{{1,2}})(?:[:：分](?P<S>\d{{1,2}})秒?{_FRACTION})?{_ZONE}",
    },
    # date=2026-03-12 time=06:25:01
    {
        "name": "date and time keys",
        "needs": "time",
        "pattern": rf"{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY_NUMBER}[\"']?[,; ]+[\"']?time[\"']?[:=] ?[\"']?{_CLOCK}",
    },
    # 12/31/2026 06:25:01 PM, 31.12.2026 18:25:01
    {
        "name": "slashes",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/{_YEAR}(?:,?[ \t]+|[T:-]|,){_CLOCK}",
    },
    {
        "name": "dots and dashes",
        "needs": r"\d[.-]\d{4}",
        "pattern": rf"(?P<n1>\d{{1,2}})[.-](?P<n2>\d{{1,2}})[.-]{_YEAR}(?:,?[ \t]+|[T:]|,){_CLOCK}",
    },
    # 12/31/26 6:25:01 PM, [3/12/26 6:25:01:104 CET], 03/12/26,06:25:01
    {
        "name": "slashes short",
        "needs": r"\d/\d",
        "pattern": r"(?P<n1>\d{1,2})/(?P<n2>\d{1,2})/(?P<y>\d{2}),?[ \t]+"
        rf"{_SECONDS}[ \x{{A0}}\x{{202F}}]?(?P<p>[AaPp]\.?[Mm]\b\.?){_ZONE}",
    },
    {
        "name": "comma short",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/(?P<y>\d{{2}}),[ \t]*{_CLOCK}",
    },
    # 17/06/09 20:10:40
    {
        "name": "year first",
        "needs": r"\d/\d",
        "pattern": rf"(?P<y>\d{{2}})/(?P<m>\d{{2}})/(?P<d>\d{{2}}) {_SECONDS}{_ZONE}",
    },
    {
        "name": "slashes of websphere",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/(?P<y>\d{{2}}) {_SECONDS}{_ZONE}",
    },
    # I0312 06:25:01.104522 and, with a year, I20260312 06:25:01.104522
    {"name": "klog", "needs": r"\d{4}", "pattern": rf"{_COMPACT} {_SECONDS}", "place": "letter"},
    {"name": "glog", "needs": r"\d{8}", "pattern": rf"{_YEAR}{_COMPACT} {_SECONDS}", "place": "letter"},
    # 20171223-22:15:29:606, 20260312 06:25:01
    {"name": "compact date", "needs": r"\d{6}", "pattern": rf"{_YEAR}{_COMPACT}[-_T ]{_CLOCK}", "place": "start"},
    # 20081109 203615, 20260312062501
    {
        "name": "compact",
        "needs": r"\d{6}",
        "pattern": rf"{_YEAR}{_COMPACT}[-_ ]?{_COMPACT_CLOCK}{_ZONE}",
        "place": "start",
    },
    # 081109 203615
    {"name": "hadoop", "needs": r"\d{6}", "pattern": rf"(?P<y>\d{{2}}){_COMPACT} {_COMPACT_CLOCK}", "place": "start"},
    # 130812 15:22:33
    {"name": "mysql", "needs": r"\d{6}", "pattern": rf"(?P<y>\d{{2}}){_COMPACT} +{_SECONDS}", "place": "start"},
    # 03-12 06:25:01.104
    {
        "name": "android",
        "needs": r"\d-\d\d \d",
        "pattern": rf"(?P<m>\d{{2}})-(?P<d>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    # 12.03.26 06:25:01
    {
        "name": "dots short",
        "needs": r"\d\.\d\d\.\d\d ",
        "pattern": rf"(?P<d>\d{{2}})\.(?P<m>\d{{2}})\.(?P<y>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    # [10.30 16:49:06], [0312/062501.104:
    {
        "name": "proxifier",
        "needs": r"\d\.\d\d \d",
        "pattern": rf"(?P<m>\d{{2}})\.(?P<d>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    {"name": "chromium", "needs": r"\d{4}", "pattern": rf"{_COMPACT}/{_COMPACT_CLOCK}", "place": "start"},
    # 1773296701, 1773296701.104522, 1773296701104 and longer
    {"name": "epoch", "needs": r"\d{6}", "pattern": r"(?P<s>\d{10})(?:\.(?P<f>\d+))?", "place": "start"},
    {"name": "epoch ms", "needs": r"\d{6}", "pattern": r"(?P<ms>\d{13})(?:\.\d+)?", "place": "start"},
    {"name": "epoch us", "needs": r"\d{6}", "pattern": r"(?P<us>\d{16})(?:\.\d+)?", "place": "start"},
    {"name": "epoch ns", "needs": r"\d{6}", "pattern": r"(?P<ns>\d{19})", "place": "start"},
    # Started GET "/carts" for 10.0.0.8 at 2026-03-12 06:25:01 +0900
    {
        "name": "rails",
        "needs": "Started",
        "pattern": rf'^Started [A-Z]+ "[^"\n]*" for \S+ at {_YEAR}-{_MONTH_NUMBER}-{_DAY_NUMBER} {_CLOCK}',
        "place": "line",
    },
]

# What may stand before and after a time, by the rule's place.
_PLACES = {
    "head": r"(?:^|[^\w./+%&?\\-])",
    "start": r"^\x{FEFF}?(?:<\d{1,3}>\d? ?)?[\s\[(<{\"'#*]*(?:[DIWEFC] )?",
    "letter": r"^\s*[DIWEFC]",
    "line": "",
}
_TIME_END = r"(?:$|[^0-9A-Za-z])"

# A time is no header after this: prose ("restored at", "the backup of volume seven from"), the value of some key, a
# request, an earlier line.
_NOT_HEADER = (
    r"(?i:\b(?:at|on|since|until|till|from|to|by|before|after|than|of|is|was|for|in|between|and|or|expires?|expired"
    r"|due|as|the|updated|created|modified|next|last)[ \t:]+[\"'\[(]?$)"
    r"|(?:\b[A-Za-z]*[a-z]{2}[ \t]+){3}[\"'\[(]?$"
    r"|[=?&][\"'\[(]?$|\w[\"']:\s*[\"']?$|\"[A-Z]{3,8} [^\"]*$|\n"
)

TIME_KEYS = (
    r"@?timestamp|@t|ts|t|time|date|date_?time|event_?time(?:stamp)?|log_?time|(?:log)?timestamp_?(?:ms|ns)?|asctime"
    r"|time_?(?:local|iso8601|millis|generated|created|stamp|unix_?nano)|observed_?time(?:_?unix_?nano)?|instant"
    r"|receive_?timestamp|created(?:_?at)?|start_?time|logged_?at|when|epoch(?:_?(?:second|ms|millis))?|__REALTIME_TIMESTAMP"
    r"|_SOURCE_REALTIME_TIMESTAMP"
)
# The part of a key that says its numbers are UTC.
_UTC_KEYS = r"[A-Z_]*_REALTIME_TIMESTAMP"
_VALUE = (
    r"(?P<value>\d{4}[-/.年]|\d{8}|\d{4} [A-Z]|\d{1,2}[-/. ][\dA-Z]"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[ ,])"
)
_KEYED_TIME = (
    rf"(?:\\?\"(?:(?P<utc>{_UTC_KEYS})|(?i:{TIME_KEYS}))\\?\"\s*:\s*(?:\{{\s*\"[$\w]+\"\s*:\s*){{0,2}}\\?\"?"
    rf"|(?:^|[\s,;|\[({{])(?:(?P<utc2>{_UTC_KEYS})|(?i:{TIME_KEYS}))=\\?[\"'\[]?"
    r"|(?m:^)[# \t]*(?i:Date|Time|Timestamp|TimeCreated|TimeGenerated|Logged)[ \t]*:[ \t]+|SystemTime=[\"'])" + _VALUE
)
_KEYED_MESSAGE = r"\"(?i:log|message|msg|text)\"\s*:\s*\"(?P<value>[^\"])"

# The header of these stands in keys, in any order: JSON, XML events, event blocks, records of a journal. And of these
# in keys first of all: logfmt.
_BLOCK = r"^\s*(?:\[?\{|<Event\b|Log ?Name\s*[:=]|EventCode=|TimeCreated\s*:|__CURSOR=|_[A-Z_]+=)"
_KEYED = r"^\s*[\w.@-]+="

# ---------------------------------------------------------------------- severity rules

_TIME_MARK = "\x1a"

# Further words and abbreviations, by severity; None is a word in a severity's place that says nothing of it.
_MORE_WORDS: dict[str | None, tuple[str, ...]] = {
    "TRACE": ("verbose", "verb", "vrb", "trc", "trce", "finer", "finest", "silly"),
    "DEBUG": ("dbg", "dbug", "fine", "config"),
    "INFO": ("inf", "informational", "note", "log", "success", "system", "http"),
    "WARNING": ("wrn", "warnings", "deprecated", "strict"),
    "ERROR": ("errors", "fail", "failed", "parse", "recoverable", "eror"),
    "FATAL": ("crt", "ftl", "emrg", "dpanic", "assert", "unhandled"),
    None: ("statement", "detail", "hint", "context", "query", "location", "default", "unspecified"),
}
VOCABULARY: dict[str, str | None] = {
    **{word: level for level, words in SEVERITY_WORDS.items() for word in words},
    **{word: level for level, words in _MORE_WORDS.items() for word in words},
}
_LETTERS = {
    **{"V": "TRACE", "T": "TRACE", "D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR", "C": "FATAL"},
    **{"F": "FATAL", "A": "FATAL", "U": None},
}
_SYSLOG = dict(enumerate(("FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")))
# Bunyan and pino count in tens from 10; what is below comes from syslog.
_PINO = {
    **_SYSLOG,
    **{number: LEVELS[number // 10 - 1] for number in range(10, 70)},
}

_PLAIN = (
    "trace|debug|info|information|notice|warn|warning|err|error|severe|crit|critical|fatal|emerg|panic|verbose|vrb"
    "|trc|trce|dbg|dbug|inf|note|wrn|ftl|crt|finest|finer|fine|config|success|dpanic"
)
_ENCLOSED = f"{_PLAIN}|alert|emergency|failure|fail|informational|log"
_UPPER = (
    "TRACE|DEBUG|INFO|INFORMATION|NOTICE|WARN|WARNING|ERR|ERROR|FAILURE|SEVERE|CRIT|CRITICAL|ALERT|EMERG|EMERGENCY"
    "|FATAL|PANIC|VERBOSE|VRB|DBG|INF|WRN|FTL|CRT|TRC|SUCCESS|DPANIC"
)
_LEVEL_KEYS = (
    r"(?:log|syslog|event|slog)?[._]?(?:level|lvl|severity|prio(?:rity)?)(?:_?(?:text|name))?|loglevel|levelname|@l"
)
_TAG = r"[ \t]+[^\s:\[(|<]*[a-z0-9][^\s:\[]*(?:\[[^\]\s]*\])?"
_CLOCK_ONLY = r"^[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?: ?[AaPp][Mm])?|^\[ *\d+\.\d+\]"

# Where a severity is written, tried in order on texts with every digit zeroed and `\x1a` in place of the time. The
# groups `word`, `word2`, ... are looked up in `words` (`VOCABULARY` by default, in any case), `number` in `numbers`,
# modulo `modulo`; a word that is not listed is none, and the next rule is tried. `level` decides without a group, None
# against a severity. Only `keyed` rules are tried on JSON and event blocks, and others on the first line alone unless
# they say `lines`.
SEVERITY_RULES: list[dict[str, Any]] = [
    {
        "name": "key",
        "pattern": rf"(?i)\\?\"(?:{_LEVEL_KEYS})\\?\"\s*:\s*\\?\"\s*(?P<word>[a-z]+)\d?\s*\\?\"",
        "keyed": True,
    },
    {
        "name": "key with a letter",
        "pattern": r"\"(?:s|(?i:level|severity|lvl|l))\"\s*:\s*\"(?P<word>[VTDIWECF])\d?\"",
        "words": _LETTERS,
        "keyed": True,
    },
    {
        "name": "python number",
        "pattern": r"\"(?:levelno|level_no)\"\s*:\s*(?P<number>\d\d)\b",
        "numbers": {10: "DEBUG", 20: "INFO", 25: "INFO", 30: "WARNING", 40: "ERROR", 50: "FATAL"},
        "keyed": True,
    },
    {
        "name": "opentelemetry number",
        "pattern": r"(?i)\"severity_?number\"\s*:\s*\"?(?P<number>\d{1,2})\b",
        "numbers": {number: LEVELS[(number - 1) // 4] for number in range(1, 25)},
        "keyed": True,
    },
    {
        "name": "key with a number",
        "pattern": rf"(?i)\"(?:{_LEVEL_KEYS})\"\s*:\s*\"?(?P<number>\d{{1,2}})(?:[\"\s,}}]|$)",
        "numbers": _PINO,
        "keyed": True,
    },
    {
        "name": "windows xml",
        "pattern": r"<Level>(?P<number>\d)</Level>",
        "numbers": {0: "INFO", 1: "FATAL", 2: "ERROR", 3: "WARNING", 4: "INFO", 5: "TRACE"},
        "keyed": True,
    },
    {
        "name": "windows",
        "pattern": r"(?m)^[ \t]*(?:Level(?:DisplayName)?|(?:Entry)?Type)[ \t]*[:=][ \t]*"
        r"(?:Audit )?(?P<word>[A-Z][a-z]+)",
        "words": {
            **{"Critical": "FATAL", "Error": "ERROR", "Warning": "WARNING", "Information": "INFO", "Verbose": "TRACE"},
            **{"Success": "INFO", "Failure": "WARNING"},
        },
        "keyed": True,
    },
    {
        "name": "logfmt",
        "pattern": rf"(?i)(?:^|[\s,;|\[({{])(?:{_LEVEL_KEYS}|at|pri)=\\?[\"']?(?P<word>[a-z]+)",
        "keyed": True,
    },
    {
        "name": "logfmt with a number",
        "pattern": rf"(?i)(?:^|[\s,;|\[({{])(?:{_LEVEL_KEYS})=\\?[\"']?(?P<number>\d{{1,2}})(?:[\"'\s,;}}]|$)",
        "numbers": _PINO,
        "keyed": True,
    },
    # I0312 06:25:01.104522, I, [2026-03-12T06:25:01
    {
        "name": "letter before the time",
        "pattern": r"^\s*(?P<word>[DIWEFC])\x1a|\]: (?P<word2>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ ",
        "words": _LETTERS,
    },
    # [I 2026-03-12 06:25:01.104 ServerApp], E [06:25:01, 2026-03-12 06:25:01.104522: W core/tensor.cc:55]
    {
        "name": "letter at the time",
        "pattern": r"^\[?(?P<word>[DIWEFC]) \[?(?:\x1a|\d\d:\d\d:\d\d)|^\x1a: (?P<word2>[IWEF]) \S",
        "words": _LETTERS,
    },
    {"name": "ruby", "pattern": r"^(?P<word>[DIWEFAU]), \[", "words": _LETTERS},
    # 03-12 06:25:01.104  1702  2395 E Tag:, E/Tag( 1702):
    {
        "name": "android",
        "pattern": r"^\x1a +(?:\d+ +){1,2}(?P<word>[VDIWEFA])[ /]|^(?:\x1a )?(?P<word2>[VDIWEFA])/[^\s(:]+ *[(:]"
        r"|^\x1a +\d+-\d+/\S+ (?P<word3>[VDIWEFA])[ /]",
        "words": _LETTERS,
    },
    # 2026-03-12T06:25:01.104+0100 I NETWORK  [conn7]
    {"name": "mongodb", "pattern": r"^\x1a (?P<word>[FEWID])\d? +(?:[A-Z_]+|-) +\[", "words": _LETTERS},
    # [3/12/26 6:25:01:104 CET] 0000000a SystemOut     O
    {
        "name": "websphere",
        "pattern": r"^\[\x1a\] [0-9a-f]{8} \S+ +(?P<word>[FEWAICDO]) ",
        "words": {**_LETTERS, "A": "INFO", "C": "DEBUG", "O": "INFO"},
    },
    {"name": "letter in brackets", "pattern": r"\x1a[^\n\"]{0,60}[\[|] ?(?P<word>[TDIWEF]) ?[\]|]", "words": _LETTERS},
    # 7:M 12 Mar 2026 06:25:01.104 * ready, [7] 12 Mar 06:25:01.104 # warning
    {
        "name": "redis",
        "pattern": r"^(?:\d+:[A-Z]|\[\d+\]) \x1a (?P<word>[.*#-]) ",
        "words": {".": "DEBUG", "-": "DEBUG", "*": "INFO", "#": "WARNING"},
    },
    # %ASA-6-302013:
    {
        "name": "cisco",
        "pattern": r"%[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-(?P<number>\d)-[A-Z0-9_]+:",
        "numbers": _SYSLOG,
    },
    # The message is on the line below the time.
    {
        "name": "java.util.logging",
        "lines": True,
        "pattern": r"^\x1a [^\n]+\n(?P<word>SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ",
    },
    {
        "name": "php",
        "pattern": r"\bPHP (?P<word>Fatal|Parse|Recoverable|Warning|Notice|Deprecated|Strict|Unhandled)\b",
        "words": {
            **{"Fatal": "FATAL", "Parse": "ERROR", "Recoverable": "ERROR", "Unhandled": "FATAL"},
            **{"Warning": "WARNING", "Notice": "INFO", "Deprecated": "WARNING", "Strict": "WARNING"},
        },
    },
    {
        "name": "postgresql",
        "pattern": r"\b(?P<word>LOG|NOTICE|INFO|WARNING|ERROR|FATAL|PANIC|DEBUG|STATEMENT|DETAIL|HINT|CONTEXT"
        r"|QUERY|LOCATION)\d?:  ",
    },
    # Mar 12 06:25:01 2026 daemon.err uhttpd[9]:
    {
        "name": "syslog facility",
        "pattern": r"\x1a (?:kern|user|mail|daemon|auth|authpriv|syslog|lpr|news|uucp|cron|ftp|local\d)"
        r"\.(?P<word>[a-z]+) ",
    },
    {"name": "sql server", "pattern": r"^\x1a (?:spid\w+|Logon|Server|Backup) +(?P<word>Error|Warning)\b"},
    {"name": "mysql", "pattern": r"\x1a\s+\d+ \[(?P<word>Note|System|Warning|ERROR)\]"},
    # 10.0.0.8 - - [12/Mar/2026:06:25:01 +0000] "GET /ERROR HTTP/1.1": what follows is the client's.
    {"name": "access log", "pattern": r"\x1a[^\"\n]{0,8}\] \"(?:[A-Z]{3,16} |-\"|\\x)", "level": None},
    # sshd[340]: error: the message starts with it.
    {
        "name": "start of the message",
        "pattern": rf"\x1a[\])]?(?:(?:{_TAG}){{1,3}}:|(?:{_TAG}){{0,2}}[ \t]+[\w./-]+\[[^\]\s]*\]:?)[ \t]+"
        rf"(?i:(?P<word>{_ENCLOSED})):(?:\s|$)",
    },
    {
        "name": "word",
        "pattern": (
            # [error], [core:error], [INFO ], |warn|, <info>
            rf"<(?P<word5>trace|debug|info|warn|error)>|[\[|](?:[\w.-]{{0,24}}:)?\s*(?i:(?P<word>{_ENCLOSED}))\d?\s*(?::[\w.-]{{1,24}})?[\]|]"
            # right after the time
            rf"|(?:\x1a|{_CLOCK_ONLY})[\])}}\"']*[ \t|:,;/-]*[\[(<|\"']*(?i:(?P<word2>{_PLAIN}))\d?"
            r"(?:[\s\])>|:,;\"'/!]|$)"
            # capitals near it
            rf"|(?:^|[ \t\[(|:<=,\"'*])(?P<word3>{_UPPER})\d?(?:[\s\])>|:,;\"'/!]|$)"
            # production.ERROR:
            rf"|\w\.(?P<word4>{_UPPER}): "
            # error: at the beginning
            rf"|^[\s\[(]*(?i:(?P<word6>{_ENCLOSED})):(?:\s|$)"
        ),
    },
    # <134>Mar 12 06:25:01: facility and severity
    {"name": "syslog priority", "pattern": r"^<(?P<number>\d{1,3})>", "numbers": _SYSLOG, "modulo": 8},
]

# ---------------------------------------------------------------------- headers


@dataclass
class Headers:
    """The times and severities of entries. A time without a zone is taken as if it were UTC.

    Attributes:
        seconds: int64 `(entries,)`, since 1970; 0 without a time. Without a year, years count from 2000 and all have
            366 days, so that February 29 is in each.
        nanoseconds: int32 `(entries,)`, the fraction of the second.
        has_time, has_year: bool `(entries,)`.
        has_zone: bool `(entries,)`, the zone is known and applied: `seconds` is UTC. Seconds since 1970 always are.
        severity: int8 `(entries,)`, the position in `SEVERITY_WORDS`; -1 if unknown.
        names_zone: bool `(entries,)`, the log itself names the zone.
        fraction_digits: int8 `(entries,)`, how many digits of the fraction are written, at most 9.
    """

    seconds: np.ndarray
    nanoseconds: np.ndarray
    has_time: np.ndarray
    has_year: np.ndarray
    has_zone: np.ndarray
    severity: np.ndarray
    names_zone: np.ndarray
    fraction_digits: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)

    def iso(self) -> list[str | None]:
        """Times in ISO 8601, with as many digits of the fraction as the log has; None for entries without a time.

        Where the log names the zone, the time is UTC and ends in `Z`; seconds since 1970 name none. Where the year is
        missing, it reads `--03-12T06:25:01`.
        """
        # Years of 366 days become 2000.
        seconds = np.where(
            self.has_year, self.seconds, _START_OF_2000 + (self.seconds - _START_OF_2000) % (366 * _DAY)
        )
        written = np.datetime_as_string(seconds.astype("datetime64[s]"))
        return [
            None
            if not has_time
            else (
                f"{text if has_year else '-' + text[4:]}"
                f"{'.' + f'{nanoseconds:09d}'[:digits] if digits else ''}{'Z' if zone else ''}"
            )
            for text, nanoseconds, digits, has_time, has_year, zone in zip(
                written.tolist(),
                self.nanoseconds.tolist(),
                self.fraction_digits.tolist(),
                self.has_time.tolist(),
                self.has_year.tolist(),
                self.names_zone.tolist(),
                strict=True,
            )
        ]

    def severities(self) -> list[str | None]:
        """Severities by name, such as `ERROR`; None if unknown."""
        return [LEVELS[level] if level >= 0 else None for level in self.severity.tolist()]


_START_OF_2000 = 946_684_800


class HeaderReader:
    """Reads the headers of one log, which may come in chunks.

    Whether the day or the month comes first is decided once for a log, by the first entry that settles it; until a
    chunk holds one, the month comes first in `3/12/2026` and the day in `3-12-2026`. In `12.3.2026` the day always
    does. Where the year is missing, a jump back of more than half a year begins the next.

    Args:
        time_rules (`list` of `dict`): how times are written, as in `TIME_RULES`.
        severity_rules (`list` of `dict`): where severities are written, as in `SEVERITY_RULES`.

    Attributes:
        day_first: whether the day comes first; None while nothing settled it. May be set.

    Raises:
        ValueError: a rule is not complete, its pattern is not RE2, or a time's pattern names a digit.
    """

    def __init__(self, time_rules: Sequence[Rule] | None = None, severity_rules: Sequence[Rule] | None = None) -> None:
        self._times = _TimeRules(TIME_RULES if time_rules is None else time_rules)
        self._severities = _SeverityRules(SEVERITY_RULES if severity_rules is None else severity_rules)
        self._known_times = _KnownShapes(self._times.find, _KNOWN_SHAPES)
        self._known_severities = _KnownShapes(self._severities.find, _KNOWN_SHAPES)
        self._known_heads = _KnownShapes(self._severities.find, _KNOWN_SHAPES // 4)
        self.start()

    def start(self) -> None:
        """Begins a new log."""
        self.day_first: bool | None = None
        self._years = 0  # New Years passed, of times without a year
        self._last_yearless: int | None = None  # in seconds of 2000

    def read(self, text: pa.Array | pa.ChunkedArray) -> Headers:
        """Reads the headers of the next entries of the log.

        Args:
            text: entries, strings of any length `(entries,)`.
        """
        if isinstance(text, pa.ChunkedArray):
            text = text.combine_chunks()
        text = text.cast(pa.large_string())
        if text.null_count:
            text = text.fill_null("")
        blocks = [text.slice(start, _BLOCK_ENTRIES) for start in range(0, len(text), _BLOCK_ENTRIES)] or [text]
        fields_of_blocks, severities = zip(*map(self._read_block, blocks), strict=True)
        written = {
            name: np.concatenate([getattr(each, name) for each in fields_of_blocks]) for name in _Written.names()
        }
        return self._dated(_Written(**written), np.concatenate(severities))

    # ------------------------------------------------------------------ one block

    def _read_block(self, text: pa.Array) -> tuple["_Written", np.ndarray]:
        """Finds what is written in the headers of entries, and their severities."""
        written = _Written.empty(len(text))
        if not len(text) or not text.buffers()[2]:
            return written, np.full(len(text), -1, dtype=np.int8)
        entries = _Texts(text)
        prefix = Shapes(entries.cut(0, PREFIX_BYTES))
        is_block = matches(prefix.distinct, _BLOCK)[prefix.index]
        is_keyed = is_block | matches(prefix.distinct, _KEYED)[prefix.index]
        whole = entries.lengths <= PREFIX_BYTES

        # Most entries: a time at the beginning, of a shape that is known.
        plain = np.flatnonzero(~is_keyed)
        end = np.where(whole, PREFIX_BYTES, PREFIX_BYTES - _PREFIX_MARGIN)
        used, rows = _used(prefix.index[plain], len(prefix.distinct))
        found = self._known_times.look_up(prefix.distinct.take(pa.array(used)))
        self._pick(written, entries, plain, np.zeros(len(plain), dtype=np.int64), rows, found, end[plain])

        has_candidate = np.zeros(len(text), dtype=bool)
        has_candidate[plain] = found["rule"][rows, 0] >= 0

        keyed = np.flatnonzero(is_keyed)
        self._read_keys(written, entries, keyed, _Located.keys(prefix.distinct, _KEYED_TIME).take(prefix.index[keyed]))
        missing = np.flatnonzero(~written.is_found)
        if len(missing):
            limits = np.where(is_block[missing], BLOCK_BYTES, HEAD_BYTES)
            # There is nothing more to see in a short entry that holds neither a time nor a key.
            has_key = matches(prefix.distinct, _KEYED_TIME)[prefix.index[missing]]
            more = (~whole | is_keyed | has_candidate)[missing] | has_key
            missing, limits = missing[more], limits[more]
            heads = Shapes(entries.take(missing).cut(0, limits))
            located = _Located.keys(heads.distinct, _KEYED_TIME).take(heads.index)
            self._read_keys(written, entries, missing, located)
            rest = ~written.is_found[missing]
            json = rest & is_block[missing]
            if json.any():
                messages = _Located.keys(heads.distinct, _KEYED_MESSAGE).take(heads.index[json])
                self._read_keys(written, entries, missing[json], messages, at_start=False)
            rest &= ~is_block[missing]
            if rest.any():
                self._read_heads(written, entries, missing[rest], heads.take(np.flatnonzero(rest)))
        severity = self._read_severities(written, entries, prefix, is_block)
        return written, severity

    def _read_keys(
        self, written: "_Written", entries: "_Texts", positions: np.ndarray, located: "_Located", at_start: bool = True
    ) -> None:
        """Reads times from the values of keys."""
        has_value = located.start >= 0
        positions, start = positions[has_value], located.start[has_value]
        if not len(positions):
            return
        limit = VALUE_BYTES if at_start else HEAD_BYTES
        values = entries.take(positions)
        shapes = Shapes(values.cut(start, limit))
        found = self._known_times.look_up(shapes.distinct)
        end = np.where(values.lengths - start <= limit, limit, limit - _VALUE_MARGIN)
        self._pick(written, entries, positions, start, shapes.index, found, end, at_start)
        utc = positions[located.is_utc[has_value]]
        written.names_zone[utc] |= written.is_found[utc]

    def _read_heads(self, written: "_Written", entries: "_Texts", positions: np.ndarray, heads: Shapes) -> None:
        """Reads times from longer heads. After values out of range the text is searched anew behind them."""
        used, rows = _used(heads.index, len(heads.distinct))
        texts = heads.distinct.take(pa.array(used))
        for _ in range(_ATTEMPTS):
            found = self._times.find(texts)
            nowhere = np.zeros(len(positions), dtype=np.int64)
            self._pick(written, entries, positions, nowhere, rows, found, np.full(len(positions), HEAD_BYTES))
            again = ~written.is_found[positions] & (found["rule"][rows, 0] >= 0)
            if not again.any():
                return
            positions = positions[again]
            used, rows = _used(rows[again], len(texts))
            time = found["spans"][used, 0, _TIME]
            texts = _blanked(texts.take(pa.array(used)), time[:, 0])

    def _pick(
        self,
        written: "_Written",
        entries: "_Texts",
        positions: np.ndarray,
        base: np.ndarray,
        rows: np.ndarray,
        found: dict[str, np.ndarray],
        end: np.ndarray,
        at_start: bool = False,
    ) -> None:
        """Picks the digits of times from entries, candidate by candidate, until their values are in range.

        Args:
            written: takes them.
            positions: which entries, `(picked,)`.
            base: where in each the searched text starts, in bytes `(picked,)`.
            rows: of each the row in `found`.
            found: of `_TimeRules.find`.
            end: where a time must end in the searched text, in bytes `(picked,)`.
            at_start: the time must stand at the beginning of the searched text.
        """
        pending = np.arange(len(positions))
        for candidate in range(_CANDIDATES):
            rule = found["rule"][rows[pending], candidate]
            spans = found["spans"][rows[pending], candidate]  # (pending, groups, 2)
            fits = (rule >= 0) & (spans[:, _TIME].sum(axis=1) <= end[pending])
            if at_start:
                fits &= spans[:, _TIME, 0] <= 1
            pending, spans = pending[fits], spans[fits].astype(np.int64)
            if not len(pending):
                return
            which = positions[pending]
            is_valid = written.pick(entries, which, base[pending], spans, self._times.zones)
            pending = pending[~is_valid]

    # ------------------------------------------------------------------ severities

    def _read_severities(
        self, written: "_Written", entries: "_Texts", prefix: Shapes, is_block: np.ndarray
    ) -> np.ndarray:
        """Severities, int8 `(entries,)`; -1 if unknown."""
        severity = np.full(len(is_block), -1, dtype=np.int8)
        if not self._severities.rules:
            return severity
        has_mark = written.is_found & ~is_block
        start = np.where(has_mark, written.start, -1)
        end = np.where(has_mark, written.end, -1)
        whole = entries.lengths <= PREFIX_BYTES
        in_prefix = end <= PREFIX_BYTES - _PREFIX_MARGIN

        # Entries of one shape, with the time at one place, are one text.
        first = np.flatnonzero(in_prefix)
        key = (prefix.index[first] * 256 + start[first] + 1) * 256 + end[first] + 1
        _, sample, rows = np.unique(key, return_index=True, return_inverse=True)
        sample = first[sample]
        marked = _marked(_Texts(prefix.distinct.take(pa.array(prefix.index[sample]))), start[sample], end[sample])
        found = self._known_severities.look_up(_with_kind(marked, is_block[sample]))
        # At the cut a word may go on.
        is_inside = found["text_end"] < pc.binary_length(marked).to_numpy(zero_copy_only=False) - 2
        settled = whole[first] | ((found["level"] > _UNKNOWN) & is_inside)[rows]
        positions = first[settled]
        severity[positions] = self._severities.resolve(
            entries, positions, {name: values[rows[settled]] for name, values in found.items()}, start, end
        )

        late = np.flatnonzero(~in_prefix)
        second = np.union1d(first[~settled], late)
        if len(second):
            limits = np.where(is_block[second], BLOCK_BYTES, np.maximum(end[second], 0) + MAX_SEVERITY_DISTANCE)
            # Keys may stand further away.
            keyed = matches(prefix.distinct, _KEYED)[prefix.index[second]]
            limits = np.where(keyed, np.maximum(limits, HEAD_BYTES), limits)
            heads = Shapes(_marked(entries.take(second), start[second], end[second], limits))
            kinds = is_block[second]
            kind_rows = heads.index * 2 + kinds
            used, rows = _used(kind_rows, 2 * len(heads.distinct))
            texts = _with_kind(heads.distinct.take(pa.array(used // 2)), used % 2 == 1)
            found = self._known_heads.look_up(texts)
            severity[second] = self._severities.resolve(
                entries, second, {name: values[rows] for name, values in found.items()}, start, end
            )
        return severity

    # ------------------------------------------------------------------ dates

    def _dated(self, written: "_Written", severity: np.ndarray) -> Headers:
        """Turns what is written into seconds since 1970: settles the order of day and month, adds missing years."""
        month, day = written.month.copy(), written.day.copy()
        first, second = written.first_number, written.second_number
        open_order = written.is_found & (first > 0)
        if open_order.any():
            settled = np.flatnonzero(open_order & (first != second) & ((first > 12) | (second > 12)))
            settled = settled[written.is_dotted[settled] == 0]
            if self.day_first is None and len(settled):
                self.day_first = bool(first[settled[0]] > 12)
            by_default = written.is_dashed if self.day_first is None else np.full(len(first), self.day_first)
            day_first = (first > 12) | ((second <= 12) & (by_default | written.is_dotted))
            month = np.where(open_order, np.where(day_first, second, first), month)
            day = np.where(open_order, np.where(day_first, first, second), day)
        has_year = written.is_found & (written.year >= 0)
        is_epoch = written.is_found & written.is_epoch
        year = np.where(has_year, written.year, 2000)
        seconds = _days_since_1970(year, np.maximum(month, 1), np.maximum(day, 1)) * _DAY + written.clock
        yearless = np.flatnonzero(written.is_found & ~has_year & ~is_epoch)
        if len(yearless):
            seconds[yearless] += self._passed_years(seconds[yearless]) * 366 * _DAY
        seconds = np.where(is_epoch, written.epoch, seconds - written.zone_offset)
        self._apply_regions(seconds, written)
        has_zone = written.is_found & (written.has_zone | is_epoch)
        return Headers(
            seconds=np.where(written.is_found, seconds, 0),
            nanoseconds=np.where(written.is_found, written.nanoseconds, 0).astype(np.int32),
            has_time=written.is_found,
            has_year=has_year | is_epoch,
            has_zone=has_zone,
            severity=severity,
            names_zone=written.is_found & (written.has_zone | written.names_zone),
            fraction_digits=np.where(written.is_found, written.fraction_digits, 0).astype(np.int8),
        )

    def _passed_years(self, seconds: np.ndarray) -> np.ndarray:
        """How many New Years were passed before each time without a year, int64 `(times,)`.

        Args:
            seconds: of 2000, in the order of the log.

        A jump back of more than half a year passes one. A jump ahead of more than eleven months takes it back: around
        New Year the entries of several hosts may come out of order.
        """
        before = np.append(seconds[0] if self._last_yearless is None else self._last_yearless, seconds[:-1])
        jumps = seconds - before
        years = self._years + np.cumsum((jumps < -183 * _DAY).astype(np.int64) - (jumps > 335 * _DAY))
        years -= np.minimum(np.minimum.accumulate(years), 0)
        self._years, self._last_yearless = int(years[-1]), int(seconds[-1])
        return years

    def _apply_regions(self, seconds: np.ndarray, written: "_Written") -> None:
        """Applies zones such as `Europe/Berlin`, with their summer time, in place."""
        for region in np.unique(written.region[written.is_found & (written.region > 0)]):
            which = np.flatnonzero(written.is_found & (written.region == region))
            local = pa.array(seconds[which]).cast(pa.timestamp("s"))
            name = self._times.zones.regions[region - 1]
            utc = pc.assume_timezone(local, name, ambiguous="earliest", nonexistent="earliest")
            seconds[which] = utc.cast(pa.int64()).to_numpy(zero_copy_only=False)
            written.has_zone[which] = True


# ---------------------------------------------------------------------- texts


class _Texts:
    """Texts and the bytes they are made of.

    Attributes:
        text: large strings `(texts,)`.
        data: uint8, the bytes of all texts; of each those from `begin`, int64 `(texts,)`, on.
        lengths: int64 `(texts,)`, in bytes.
    """

    def __init__(self, text: pa.Array):
        self.text = text
        _, offsets, data = text.buffers()
        offsets = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        self.data = np.frombuffer(data, dtype=np.uint8) if data else np.zeros(1, dtype=np.uint8)
        self.begin, self.lengths = offsets[:-1], np.diff(offsets)

    def __len__(self) -> int:
        return len(self.begin)

    def take(self, positions: np.ndarray) -> "_Texts":
        return _Texts(self.text.take(pa.array(positions)))

    def cut(self, start: int | np.ndarray, size: int | np.ndarray) -> pa.Array:
        """Of each text at most `size` bytes from `start` on, large strings; no character is cut apart."""
        if not len(self):
            return self.text
        start = np.minimum(start, self.lengths)
        size = np.minimum(size, self.lengths - start)
        begin, end = self.begin + start, self.begin + start + size
        last = self.begin + self.lengths
        for _ in range(3):
            inside = (end < last) & (end > begin)
            end = end - (inside & (self.data[np.minimum(end, len(self.data) - 1)] & 0xC0 == 0x80))
        bounds = np.empty(2 * len(self), dtype=np.int64)
        bounds[::2], bounds[1::2] = begin, end
        pieces = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(self.data))
        return pieces.take(pa.array(np.arange(0, len(bounds), 2)))

    def digits(self, positions: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
        """The numbers written at `start` in texts, int64; 0 where `size`, in bytes, is 0."""
        value = np.zeros(len(positions), dtype=np.int64)
        place = self.begin[positions] + start
        for index in range(int(size.max(initial=0))):
            digit = self.data[np.minimum(place + index, len(self.data) - 1)].astype(np.int64) - ord("0")
            value = np.where(index < size, value * 10 + digit, value)
        return value

    def letter(self, positions: np.ndarray, start: np.ndarray, index: int = 0) -> np.ndarray:
        """The byte at `start` + `index` in texts, in lower case, int64."""
        place = np.minimum(self.begin[positions] + start + index, len(self.data) - 1)
        return self.data[place].astype(np.int64) | 0x20


def _used(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of `size` rows an index uses, and the index into those."""
    is_used = np.zeros(size, dtype=bool)
    is_used[index] = True
    return np.flatnonzero(is_used), (is_used.cumsum() - 1)[index]


def _blanked(text: pa.Array, start: np.ndarray) -> pa.Array:
    """Texts with a letter in place of the byte at `start`, which is one of ASCII."""
    texts = _Texts(text)
    before, after = texts.cut(0, start), texts.cut(start + 1, texts.lengths)
    return pc.binary_join_element_wise(before, after, pa.scalar("x", pa.large_string()))


def _marked(texts: _Texts, start: np.ndarray, end: np.ndarray, limit: np.ndarray | int = BLOCK_BYTES) -> pa.Array:
    """Texts up to `limit` bytes with a mark in place of the time from `start` to `end`; none where `start` is -1."""
    limit = np.broadcast_to(limit, start.shape)
    before = texts.cut(0, np.where(start < 0, limit, start))
    after = texts.cut(np.maximum(end, 0), np.where(start < 0, 0, limit - end))
    mark = pc.if_else(pa.array(start < 0), "", _TIME_MARK).cast(pa.large_string())
    return pc.binary_join_element_wise(before, mark, after, pa.scalar("", pa.large_string()))


def _with_kind(text: pa.Array, is_block: np.ndarray) -> pa.Array:
    """Texts whose header stands in keys alone are told apart by a byte at the beginning."""
    kind = pc.if_else(pa.array(is_block), "\x1d", "\x1c").cast(pa.large_string())
    return pc.binary_join_element_wise(kind, text, pa.scalar("", pa.large_string()))


@dataclass
class _Located:
    """Where in texts the value of a key starts, int64, -1 if nowhere; and whether the key says that it is UTC."""

    start: np.ndarray
    is_utc: np.ndarray

    @classmethod
    def keys(cls, text: pa.Array, pattern: str) -> "_Located":
        spans, is_match = _spans(text, pattern, ("value", "utc", "utc2"))
        start = np.where(is_match, spans[:, 0, 0], -1)
        return cls(start, is_match & (spans[:, 1:, 1] > 0).any(axis=1))

    def take(self, rows: np.ndarray) -> "_Located":
        return _Located(self.start[rows], self.is_utc[rows])


def _spans(text: pa.Array, pattern: str, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where the groups of a pattern stand in texts.

    Returns:
        Start and length in bytes, int32 `(texts, groups, 2)`, both 0 for a group that takes no part; and which texts
        match, bool `(texts,)`.
    """
    spans = np.zeros((len(text), len(groups), 2), dtype=np.int32)
    if not len(text):
        return spans, np.zeros(0, dtype=bool)
    struct = pc.extract_regex_span(text, pattern)
    is_match = struct.is_valid().to_numpy(zero_copy_only=False)
    if is_match.any():
        for number, group in enumerate(groups):
            index = struct.type.get_field_index(group)
            if index >= 0:
                column = struct.field(index)
                values = column.values.fill_null(0).to_numpy(zero_copy_only=False).reshape(-1, 2)
                takes_part = column.is_valid().to_numpy(zero_copy_only=False) & is_match
                spans[:, number] = np.where(takes_part[:, None], values, 0)
    return spans, is_match


class _KnownShapes:
    """Remembers what was found in shapes.

    Args:
        find: takes shapes, gives arrays with a row for each.
        size: how many shapes are remembered at most.
    """

    def __init__(self, find: Callable[[pa.Array], dict[str, np.ndarray]], size: int):
        self.find, self.size = find, size
        self.texts: pa.Array = pa.array([], pa.large_string())
        self.rows = find(self.texts)

    def look_up(self, shapes: pa.Array) -> dict[str, np.ndarray]:
        """What `find` gives for shapes."""
        index = pc.index_in(shapes, value_set=self.texts).fill_null(-1).to_numpy(zero_copy_only=False)
        rows, is_new = self.rows, index < 0
        if is_new.any():
            encoded = pc.dictionary_encode(shapes.filter(pa.array(is_new)))
            new, found = encoded.dictionary, self.find(encoded.dictionary)
            index = index.copy()
            index[is_new] = dictionary_indices(encoded) + len(self.texts)
            rows = {name: np.concatenate([rows[name], found[name]]) for name in rows}
            if len(new) + len(self.texts) <= self.size:
                self.texts, self.rows = pa.concat_arrays([self.texts, new]), rows
            elif len(new) <= self.size // 4:  # the log has moved on
                self.texts, self.rows = new, found
        return {name: values[index] for name, values in rows.items()}


# ---------------------------------------------------------------------- times

_GROUPS = ("time", *"YymbdHMSfpz", "zh", "n1", "n2", "s", "ms", "us", "ns")
_TIME = 0
_GROUP = {name: number for number, name in enumerate(_GROUPS)}


def _without_names(pattern: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


class _TimeRules:
    """Finds times in shapes."""

    def __init__(self, rules: Sequence[Rule]):
        self.rules: list[tuple[str, str]] = []  # pattern, and what a text needs to match
        for rule in rules:
            _check_rule("time", rule, {"name", "pattern", "place", "needs"})
            name, pattern, place = rule["name"], rule["pattern"], rule.get("place", "head")
            groups = set(re.findall(r"\(\?P<(\w+)>", pattern))
            if place not in _PLACES:
                raise ValueError(f"the time rule {name!r} needs a `place` of {', '.join(_PLACES)}, got {place!r}")
            if not groups or not groups <= set(_GROUPS[1:]):
                raise ValueError(
                    f"the time rule {name!r} needs groups named {', '.join(_GROUPS[1:])}, "
                    f"got {sorted(groups) or 'none'}"
                )
            if digit_alternatives(pattern)[0] is not None:
                raise ValueError(f"the time rule {name!r} names a digit in {pattern!r}: write \\d, ranges are checked")
            complete = f"{_PLACES[place]}(?P<time>{pattern}){_TIME_END}"
            needs = rule.get("needs", r"\d")
            check_pattern(f"time rule {name}", complete)
            check_pattern(f"time rule {name}", needs)
            self.rules.append((complete, needs))
        self.any_pattern = "|".join(f"(?:{_without_names(pattern)})" for pattern, _ in self.rules)
        self.zones = _Zones()

    def find(self, shapes: pa.Array) -> dict[str, np.ndarray]:
        """Finds the times in shapes.

        Returns:
            `rule`, int16 `(shapes, candidates)`, the rules that match, the earliest time first, -1 for none; and
            `spans`, int16 `(shapes, candidates, groups, 2)`, where their groups stand: start and length in bytes.
        """
        rule = np.full((len(shapes), _CANDIDATES), -1, dtype=np.int16)
        spans = np.zeros((len(shapes), _CANDIDATES, len(_GROUPS), 2), dtype=np.int16)
        hits = np.arange(len(shapes))
        if len(hits) > _MANY_SHAPES:  # one pass over all pays
            hits = np.flatnonzero(matches(shapes, self.any_pattern))
        if not len(hits) or not self.rules:
            return {"rule": rule, "spans": spans}
        texts = shapes.take(pa.array(hits))
        nowhere = np.int32(1 << 30)
        start = np.full((len(hits), len(self.rules)), nowhere, dtype=np.int32)
        rows_of_rules: list[np.ndarray] = []
        spans_of_rules: list[np.ndarray] = []
        needed: dict[str, np.ndarray] = {}
        for number, (pattern, needs) in enumerate(self.rules):
            if needs not in needed:
                needed[needs] = np.flatnonzero(matches(texts, needs))
            rows = needed[needs]
            some = texts.take(pa.array(rows))
            if len(rows) > _MANY_SHAPES:
                hit = np.flatnonzero(matches(some, pattern))
                rows, some = rows[hit], some.take(pa.array(hit))
            of_rule, is_match = _spans(some, pattern, _GROUPS)
            begin = of_rule[:, _TIME, 0]
            is_match &= begin <= MAX_TIME_START
            if is_match.any() and not pattern.startswith("^"):
                is_match &= ~matches(_Texts(some).cut(0, begin), _NOT_HEADER)
            start[rows[is_match], number] = begin[is_match]
            row_of_hit = np.full(len(hits), -1)
            row_of_hit[rows] = np.arange(len(rows))
            rows_of_rules.append(row_of_hit)
            spans_of_rules.append(of_rule)
        order = start.argsort(axis=1, kind="stable")[:, :_CANDIDATES]
        for candidate in range(min(_CANDIDATES, len(self.rules))):
            chosen = order[:, candidate]
            exists = start[np.arange(len(hits)), chosen] < nowhere
            rule[hits[exists], candidate] = chosen[exists]
            for number in np.unique(chosen[exists]):
                of_rule = exists & (chosen == number)
                spans[hits[of_rule], candidate] = spans_of_rules[number][rows_of_rules[number][of_rule]]
        return {"rule": rule, "spans": spans}


@dataclass
class _Written:
    """What is written in the headers of entries, each an array `(entries,)`; -1 or 0 for what is not."""

    is_found: np.ndarray
    start: np.ndarray
    end: np.ndarray
    year: np.ndarray
    month: np.ndarray
    day: np.ndarray
    first_number: np.ndarray
    second_number: np.ndarray
    is_dotted: np.ndarray
    is_dashed: np.ndarray
    clock: np.ndarray
    nanoseconds: np.ndarray
    fraction_digits: np.ndarray
    is_epoch: np.ndarray
    epoch: np.ndarray
    has_zone: np.ndarray
    names_zone: np.ndarray
    zone_offset: np.ndarray
    region: np.ndarray

    @classmethod
    def names(cls) -> list[str]:
        return [each.name for each in fields(cls)]

    @classmethod
    def empty(cls, size: int) -> "_Written":
        is_flag = ("is_", "has_", "names_")
        return cls(
            **{
                name: np.zeros(size, dtype=bool) if name.startswith(is_flag) else np.full(size, 0, dtype=np.int64)
                for name in cls.names()
            }
        )

    def pick(
        self, entries: _Texts, positions: np.ndarray, base: np.ndarray, spans: np.ndarray, zones: "_Zones"
    ) -> np.ndarray:
        """Picks the values of times from entries and keeps those in range.

        Args:
            positions: which entries, `(picked,)`.
            base: what the spans count from, in bytes `(picked,)`.
            spans: where the groups stand, int64 `(picked, groups, 2)`.

        Returns:
            Which are in range, bool `(picked,)`.
        """

        def has(group: str) -> np.ndarray:
            return spans[:, _GROUP[group], 1] > 0

        def number(group: str, longest: int = 19) -> np.ndarray:
            start, size = spans[:, _GROUP[group], 0], spans[:, _GROUP[group], 1]
            if not size.any():
                return np.zeros(len(positions), dtype=np.int64)
            return entries.digits(positions, base + start, np.minimum(size, longest))

        def letter(group: str, index: int = 0) -> np.ndarray:
            return entries.letter(positions, base + spans[:, _GROUP[group], 0], index)

        short_year = number("y")
        year = np.where(
            has("Y"), number("Y"), np.where(has("y"), short_year + np.where(short_year < 70, 2000, 1900), -1)
        )
        month, day = number("m"), number("d")
        if has("b").any():
            name = (letter("b") << 16) | (letter("b", 1) << 8) | letter("b", 2)
            by_name = np.zeros(len(name), dtype=np.int64)
            for index, prefix in enumerate(_MONTH_PREFIXES):
                by_name[name == int.from_bytes(prefix.encode(), "big")] = index + 1
            month = np.where(has("b"), by_name, month)
        first, second = number("n1"), number("n2")
        is_open = has("n1")
        separator = entries.letter(positions, base + spans[:, _GROUP["n1"]].sum(axis=1))
        hour, minute, second_of_minute = number("H"), number("M"), number("S")
        is_valid = (hour < 24) & (minute < 60) & (second_of_minute <= 60)
        if has("p").any():
            is_pm = letter("p") == ord("p")
            is_valid &= ~has("p") | ((hour >= 1) & (hour <= 12)) | ((hour > 12) & is_pm) | ((hour == 0) & ~is_pm)
            hour = np.where(has("p") & (hour <= 12), hour % 12 + 12 * is_pm, hour)

        digits = np.minimum(spans[:, _GROUP["f"], 1], 9)
        nanoseconds = number("f", 9) * 10 ** (9 - digits)
        is_epoch = np.zeros(len(positions), dtype=bool)
        epoch = np.zeros(len(positions), dtype=np.int64)
        for group, places in (("s", 0), ("ms", 3), ("us", 6), ("ns", 9)):
            given = has(group)
            if given.any():
                value, unit = number(group), 10**places
                is_epoch |= given
                epoch = np.where(given, value // unit, epoch)
                if places:
                    digits = np.where(given, places, digits)
                    nanoseconds = np.where(given, value % unit * 10 ** (9 - places), nanoseconds)
        in_month = _days_in_month(np.where(year >= 0, year, 2000), np.clip(month, 1, 12))
        is_date = (month >= 1) & (month <= 12) & (day >= 1) & (day <= in_month)
        small, large = np.minimum(first, second), np.maximum(first, second)
        # Whether the larger can be a day is settled only where it can be nothing else.
        is_date = np.where(
            is_open,
            (small >= 1) & (small <= 12) & (large <= _days_in_month(np.maximum(year, 0), np.clip(small, 1, 12))),
            is_date,
        )
        is_valid &= is_date & ((year < 0) | ((year >= 1970) & (year < 2200)))
        is_valid = np.where(is_epoch, (epoch >= _EARLIEST_EPOCH) & (epoch < _LATEST_EPOCH), is_valid)

        has_zone, offset, region = zones.read(entries, positions, base, spans)
        values = {
            **{"is_found": is_valid, "start": base + spans[:, _TIME, 0], "end": base + spans[:, _TIME].sum(axis=1)},
            **{"year": year, "month": month, "day": day, "first_number": first, "second_number": second},
            **{"is_dotted": separator == ord("."), "is_dashed": separator == ord("-")},
            **{"clock": hour * 3600 + minute * 60 + second_of_minute, "nanoseconds": nanoseconds},
            **{"fraction_digits": digits, "is_epoch": is_epoch, "epoch": epoch},
            **{"has_zone": has_zone, "zone_offset": offset, "region": region},
        }
        kept = positions[is_valid]
        for name, value in values.items():
            getattr(self, name)[kept] = value[is_valid]
        return is_valid


# 2001-01-01 and 2100-01-01
_EARLIEST_EPOCH, _LATEST_EPOCH = 978_307_200, 4_102_444_800


class _Zones:
    """Reads zones.

    Attributes:
        regions: the names of regions seen, such as `Europe/Berlin`.
    """

    def __init__(self) -> None:
        self.regions: list[str] = []
        self._read = functools.lru_cache(maxsize=4096)(self._parse)

    def read(
        self, entries: _Texts, positions: np.ndarray, base: np.ndarray, spans: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads the zones of times: whether it is known, bool; its offset in seconds; its region, one-based, or 0."""
        has_zone = np.zeros(len(positions), dtype=bool)
        offset, region = np.zeros(len(positions), dtype=np.int64), np.zeros(len(positions), dtype=np.int64)
        full, hours = spans[:, _GROUP["z"]], spans[:, _GROUP["zh"]]
        span = np.where(full[:, 1:] > 0, full, hours)
        which = np.flatnonzero(span[:, 1] > 0)
        if len(which):
            texts = entries.take(positions[which]).cut(base[which] + span[which, 0], span[which, 1])
            encoded = pc.dictionary_encode(texts)
            # A handful of zones.
            read = np.array([self._read(zone) for zone in encoded.dictionary.to_pylist()], dtype=np.int64)
            read = read[dictionary_indices(encoded)]
            has_zone[which], offset[which], region[which] = read[:, 0] > 0, read[:, 1], read[:, 2]
        return has_zone, offset, region

    def _parse(self, zone: str) -> tuple[int, int, int]:
        if zone.upper() in ZONES:
            return 1, round(ZONES[zone.upper()] * 3600), 0
        found = re.fullmatch(r"(?:UTC|GMT)?([+-])([0-9]{1,2}):?([0-9]{2})?", zone)
        if found:
            hours, minutes = int(found[2]), int(found[3] or 0)
            if hours > 14 or minutes not in (0, 15, 30, 45):
                return 0, 0, 0
            return 1, (hours * 3600 + minutes * 60) * (1 if found[1] == "+" else -1), 0
        try:
            pc.assume_timezone(pa.array([0], pa.timestamp("s")), zone)
        except (pa.ArrowException, ValueError, OSError):
            return 0, 0, 0
        self.regions.append(zone)
        return 0, 0, len(self.regions)


_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def _days_in_month(year: np.ndarray, month: np.ndarray) -> np.ndarray:
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return _MONTH_DAYS[month - 1] + (is_leap & (month == 2))


def _days_since_1970(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Days of dates of the Gregorian calendar, int64."""
    months = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1


# ---------------------------------------------------------------------- severities

_WORD_GROUPS = ("word", "word2", "word3", "word4", "word5", "word6")
# Levels of a shape that are no severity.
_NONE, _UNKNOWN = -1, -2


class _SeverityRules:
    """Finds severities in shapes that have a mark in place of the time."""

    def __init__(self, rules: Sequence[Rule]):
        self.rules: list[dict[str, Any]] = []
        allowed = {"name", "pattern", "words", "numbers", "modulo", "level", "keyed", "lines"}
        for rule in rules:
            _check_rule("severity", rule, allowed)
            name, pattern = rule["name"], rule["pattern"]
            check_pattern(f"severity rule {name}", pattern)
            groups = set(re.findall(r"\(\?P<(\w+)>", pattern))
            if not groups <= {*_WORD_GROUPS, "number"} or not (groups or "level" in rule):
                raise ValueError(
                    f"the severity rule {name!r} needs groups named {', '.join(_WORD_GROUPS)} or number, "
                    f"or a `level`, got {sorted(groups) or 'none'}"
                )
            words, fold = rule.get("words"), "words" not in rule
            words = VOCABULARY if words is None else words
            numbers = np.full(256, _NONE, dtype=np.int8)
            for number, level in rule.get("numbers", {}).items():
                numbers[int(number)] = _level(name, level)
            self.rules.append(
                {
                    "pattern": pattern,
                    "fold": fold,
                    "words": pa.array(list(words), pa.large_string()),
                    "levels": np.array([_level(name, level) for level in words.values()], dtype=np.int8),
                    "numbers": numbers,
                    "modulo": int(rule.get("modulo", 256)),
                    "level": _level(name, rule.get("level")),
                    "keyed": bool(rule.get("keyed", False)),
                    "lines": bool(rule.get("keyed", False) or rule.get("lines", False)),
                    "has_number": "number" in groups,
                    "has_word": bool(groups - {"number"}),
                }
            )
        self.any_pattern = "|".join(f"(?:{_without_names(rule['pattern'])})" for rule in self.rules)

    def find(self, texts: pa.Array) -> dict[str, np.ndarray]:
        """Finds severities.

        Args:
            texts: shapes with a mark in place of the time, after a byte that tells blocks (`_with_kind`).

        Returns:
            Arrays `(texts,)`: `level`, int8, a severity, or -1 where a rule decides against one, or -2; `rule`, the
            rule that finds a number, else -1; `start` and `size` of the number, and `text_end` of all that was found.
        """
        level = np.full(len(texts), _UNKNOWN, dtype=np.int8)
        rule_of_row = np.full(len(texts), -1, dtype=np.int16)
        start, size, text_end = (np.zeros(len(texts), dtype=np.int64) for _ in range(3))
        found: dict[str, np.ndarray] = {
            "level": level,
            "rule": rule_of_row,
            "start": start,
            "size": size,
            "text_end": text_end,
        }
        if not len(texts) or not self.rules:
            return found
        is_block = pc.starts_with(texts, "\x1d").to_numpy(zero_copy_only=False)
        texts = _Texts(texts).cut(1, 1 << 30)
        line_end = pc.find_substring(texts, "\n").to_numpy(zero_copy_only=False)
        lines = _Texts(texts).cut(0, np.where(line_end < 0, 1 << 30, line_end))
        open_rows = np.arange(len(texts))
        if len(texts) > _MANY_SHAPES:  # one pass over all pays
            open_rows = np.flatnonzero(matches(texts, self.any_pattern))
        for number, rule in enumerate(self.rules):
            rows = open_rows if rule["keyed"] else open_rows[~is_block[open_rows]]
            if not len(rows):
                continue
            some = (texts if rule["lines"] else lines).take(pa.array(rows))
            hit = np.flatnonzero(matches(some, rule["pattern"]))
            if not len(hit):
                continue
            rows, some = rows[hit], some.take(pa.array(hit))
            if not (rule["has_word"] or rule["has_number"]):
                level[rows] = rule["level"]
                open_rows = np.setdiff1d(open_rows, rows, assume_unique=True)
                continue
            spans, _ = _spans(some, rule["pattern"], (*_WORD_GROUPS, "number"))
            done = np.zeros(len(rows), dtype=bool)
            if rule["has_word"]:
                word = spans[np.arange(len(rows)), (spans[:, :-1, 1] > 0).argmax(axis=1)]
                written = _Texts(some).cut(word[:, 0], word[:, 1])
                written = pc.ascii_lower(written) if rule["fold"] else written
                index = pc.index_in(written, value_set=rule["words"]).fill_null(-1).to_numpy(zero_copy_only=False)
                done = (index >= 0) & (word[:, 1] > 0)
                level[rows[done]] = rule["levels"][index[done]]
                text_end[rows[done]] = word.sum(axis=1)[done]
            if rule["has_number"]:
                given = ~done & (spans[:, -1, 1] > 0)
                level[rows[given]], rule_of_row[rows[given]] = _NONE, number
                start[rows[given]], size[rows[given]] = spans[given, -1].T
                text_end[rows[given]] = spans[given, -1].sum(axis=1)
                done |= given
            open_rows = np.setdiff1d(open_rows, rows[done], assume_unique=True)
        return found

    def resolve(
        self,
        entries: _Texts,
        positions: np.ndarray,
        found: dict[str, np.ndarray],
        time_start: np.ndarray,
        time_end: np.ndarray,
    ) -> np.ndarray:
        """The severities of entries: reads the digits of numbers.

        Args:
            positions: which entries, `(picked,)`.
            found: of `find`, for each of them.
            time_start, time_end: where the time is that the mark stands for, of all entries; -1 for none.
        """
        severity = np.maximum(found["level"], _NONE)
        for number in np.unique(found["rule"][found["rule"] >= 0]):
            rule = self.rules[number]
            which = np.flatnonzero(found["rule"] == number)
            start = found["start"][which]
            begin, end = time_start[positions[which]], time_end[positions[which]]
            start = np.where((begin >= 0) & (start > begin), start - 1 + end - begin, start)
            value = entries.digits(positions[which], start, found["size"][which])
            severity[which] = rule["numbers"][np.clip(value % rule["modulo"], 0, 255)]
        return severity


def _level(rule: str, level: str | None) -> int:
    if level is None:
        return _NONE
    if level not in LEVELS:
        raise ValueError(f"the severity rule {rule!r} names {level!r}: a severity is one of {', '.join(LEVELS)}")
    return LEVELS.index(level)


def _check_rule(kind: str, rule: Rule, allowed: set[str]) -> None:
    if not {"name", "pattern"} <= set(rule) <= allowed:
        raise ValueError(f"a {kind} rule needs `name` and `pattern` and may have {sorted(allowed)}, got {dict(rule)}")


__all__ = ["SEVERITY_RULES", "TIME_RULES", "HeaderReader", "Headers"]
