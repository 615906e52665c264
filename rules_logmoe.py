"""The default rules for reading log text, as data: what starts an entry, what its header looks like, what is masked.

`LogParser` takes its defaults from here and saves the rules it uses with the checkpoint, so that serving reads text
exactly as training did. All patterns are RE2 (linear time whatever the input), applied to whole Arrow columns.
To mask something new, add an item to `MASKS`.
"""

import re
from typing import Any

# ---------------------------------------------------------------------- severities

# By rising severity; the only list of such words in the project.
SEVERITY_WORDS = {
    "TRACE": ("trace",),
    "DEBUG": ("debug",),
    "INFO": ("info", "information", "notice"),
    "WARNING": ("warn", "warning"),
    "ERROR": ("err", "error", "failure", "severe"),
    "FATAL": ("crit", "critical", "alert", "emerg", "emergency", "fatal", "panic"),
}


def severity_alternatives(lowest: str = "TRACE") -> str:
    """The severity words from a level upwards, as alternatives of a pattern."""
    levels = list(SEVERITY_WORDS)
    return "|".join(word for level in levels[levels.index(lowest) :] for word in SEVERITY_WORDS[level])


# What people grep for: the severities from WARNING upwards, and words that report a failure without being a level. The
# simple rule that every detector is measured against.
ALARM_PATTERN = rf"(?i)\b(?:{severity_alternatives('WARNING')}|fail|failed|exception)\b"

# An optional mask: in some logs the severity alone gives the label away.
SEVERITY_MASK = {
    "pattern": rf"(?i)\b(?:{severity_alternatives()})\b",
    "replacement": "<SEVERITY>",
    "phrase": "severity",
}

# ---------------------------------------------------------------------- times

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?"
# Zones by name: any run of capitals would swallow the severity that often follows a timestamp.
_ZONE = (
    r"(?: ?(?:Z\b|(?:UTC|GMT|MSK|CES?T|EES?T|WES?T|(?:[ECMPAHNIJKB]|AK|NZ|AE|AC|AW|SA)[SD]T)\b|[+-]\d{2}:?\d{2}\b))?"
)
_TIMESTAMP = (
    r"(?:"
    rf"\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}[T -]{_CLOCK}{_ZONE}"  # ISO 8601 and its cousins
    r"|\d{4}-\d{2}-\d{2}-\d{2}\.\d{2}\.\d{2}\.\d+"  # Blue Gene
    rf"|\d{{1,2}}/{_MONTH}/\d{{4}}:{_CLOCK}{_ZONE}"  # Apache and nginx access logs
    rf"|{_WEEKDAY},? {_MONTH} +\d{{1,2}} {_CLOCK}{_ZONE}(?: \d{{4}})?"  # Apache error logs, date(1)
    rf"|{_MONTH} +\d{{1,2}} {_CLOCK}"  # syslog
    rf"|\d{{2}}-{_MONTH}-\d{{4}} {_CLOCK}"  # Tomcat, BIND
    rf"|\d{{1,2}} {_MONTH} \d{{4}} {_CLOCK}"  # Redis
    rf"|\d{{2}}-\d{{2}} {_CLOCK}"  # Android
    rf"|\d{{2}}/\d{{2}}/\d{{2}} {_CLOCK}"  # Spark
    r")"
)
# Seconds or milliseconds since 1970, and Hadoop's digits: a time where a timestamp belongs, a number elsewhere.
_BARE_TIMESTAMP = r"(?:1\d{9}(?:\.\d+|\d{3})?|\d{6} \d{6})\b"
_BARE_PLACE = r"""(?:^[\s\[<("]*|"(?:ts|time|timestamp)": ?"?|\b(?:ts|time|timestamp)=)"""

# ---------------------------------------------------------------------- entries

_COLOUR = r"\x1b\[[0-9;?]*[A-Za-z]"
_BLANK = r"\s\x00\p{Z}\x{FEFF}\x{200B}"
# A line with text. A crashed machine leaves runs of NUL bytes at the end of its log, a progress bar colours alone.
TEXT_PATTERN = rf"^(?:{_COLOUR}|[{_BLANK}])*(?:[^\x1b{_BLANK}]|\x1b(?:[^\[]|\[[0-9;?]*[^0-9;?A-Za-z]))"

# Directives of a W3C extended log (IIS) or of Zeek: they say how to read the log, and belong to no entry.
DIRECTIVE_PATTERN = (
    r"^#(?:(?:Software|Version|Date|Fields|Remark|Start-Date|End-Date|GMT-Offset|System-Id): "
    r"|(?:separator|set_separator|empty_field|unset_field|path|open|close|fields|types)[ \t])"
)
# Continues the entry above, by structure: an indented line, the unindented lines of the stack traces of Java, Python,
# .NET, Go, Rust and PHP, and the closing brackets of an object printed over several lines.
CONTINUATION_PATTERN = (
    r"^(?:[ \t]|Caused by: |Suppressed: |\.\.\. \d+ (?:more|common frames)"
    r"|Traceback \(most recent call last\):|During handling of the above exception|The above exception was the direct"
    r"|--- End of |---> "
    r"|goroutine \d+ (?:gp=\S+ m=\S+ )?\[|created by \S+|\[signal SIG|exit status \d+\s*$"
    r"|[\w./\[\]-]+(?:\.\(\*?[\w.\[\]]+\))?\.[\w.\[\]·-]+\((?:\)|\.\.\.|0x[0-9a-f]|\{0x|\{\.\.\.).*$"
    r"|stack backtrace:|note: (?:run with|Some details are omitted)"
    r"|Stack trace:\s*$|#\d+ (?:/|\{main\}|\[internal function\])|thrown in "
    r"|[}\])]+[,;]?\s*$)"
)
# A line that names an exception continues the message above it. After another exception or its frames it is an entry
# of its own.
EXCEPTION_PATTERN = r"^(?:[A-Za-z_][\w$]*\.)*[A-Z][\w$]*(?:Exception|Error|Throwable|Interrupt)(?::|\s*$)"
# Opens a Python traceback, which the first line that is not indented ends, whatever the exception is called.
TRACEBACK_PATTERN = r"^Traceback \(most recent call last\):"
# Entries of several lines, whatever is in them: from a line that matches `start` to one that matches `end`, or for so
# many `lines`, or else to the next line that begins with a time or starts a block. Of several starts in a row only the
# first counts.
BLOCKS: list[dict[str, Any]] = [
    {"name": "head of a query log", "start": r"^\S*(?:mysqld|mariadbd)\S*, Version: ", "lines": 2},
    {"name": "slow query", "start": r"^# (?:Time|User@Host): "},
    {"name": "Windows event", "start": r"^Log Name:\s"},
    {"name": "XML event", "start": r"^<Event[ >]", "end": r"</Event>"},
    {"name": "object over several lines", "start": r"^[\[{]\s*$", "end": r"^[}\]],?\s*$"},
    {"name": "Rust panic", "start": r"^thread '[^']*' (?:\(\d+\) )?panicked at .*:$", "lines": 1},
]
# A line that begins with a time starts an entry, even inside a block.
TIMED_ENTRY_PATTERN = rf"^[\[(<]{{0,2}}(?:{_TIMESTAMP}|[IWEF]\d{{4}} \d\d:\d\d:\d\d\.|\d{{4}}-\d\d-\d\dT\d\d:\d\d)"
# An indented line that starts an entry all the same: it begins with a time or a severity. Capitals only: a column
# named "error" in an indented SQL statement is no severity.
INDENTED_ENTRY_PATTERN = (
    # MySQL's and MariaDB's general log
    r"^\t+ *\d+ (?:Query|Connect|Quit|Prepare|Execute|Close stmt|Reset stmt|Fetch|Statistics|Ping|Init DB|Change user"
    r"|Field List|Refresh|Shutdown|Kill|Long Data|Set option|Binlog Dump|Register Slave|Delayed insert)(?:\t|$)"
    rf"|^[ \t]+[\[(]?(?:{_TIMESTAMP}"
    rf"|(?:{severity_alternatives().upper()})[\])]?:?(?: |$))"
)

# ---------------------------------------------------------------------- masks

# Numbers that are kept, for 200 and 502 are not the same news: they stand in brackets until the end, which no mask of
# numbers looks into.
_KEPT = "[^⟦⟪"
_METHOD = r"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PROPFIND|REPORT|PURGE)"
_METHODS = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PROPFIND "]
_METHODS += ["REPORT ", "PURGE "]
# Where an HTTP status stands: what is before it, what is after it, and what the mask requires.
_STATUS_PLACES: list[tuple[str, str, list[str]]] = [
    (
        r"""(HTTP/[\d.]+"?,? (?:status: )?)""",
        r"""([\s,;"'}\])]|$)""",
        ["HTTP/"],
    ),  # access logs: combined, Envoy, uvicorn
    (
        r"""("?\b[\w.]*(?:[sS]tatus(?:_?[cC]ode)?|[rR]esponse_?[cC]ode|http_code)"?\s*[=:]\s*"?)""",
        r"""([\s,;"'}\])]|$)""",
        ["tatus", "esponse", "http_code"],
    ),  # JSON and logfmt
    (rf"\b({_METHOD} \S+ )", r"( |$)", _METHODS),  # morgan, Go
    (r"(\| *)", r"( *\|)", ["|"]),  # Gin
    (r"( -?\d+(?:/[-+]?\d+){3,4} )", r"( )", ["/"]),  # HAProxy
    (r"\b((?:TCP|UDP|NONE|TAG)[A-Z_]*/)", r"( )", ["TCP_", "UDP_", "NONE", "TAG_"]),  # Squid
    (
        r"((?i:\b(?:http|status|completed|response)(?: status)?(?: code)?) )",
        r"([\s,;.:)\]]|$)",
        ["TTP ", "ttp ", "tatus ", "TATUS ", "ompleted ", "esponse "],
    ),  # prose
    (r"(<HTTP_[A-Z_]+> )", r"(\D|$)", ["<HTTP_"]),  # masked before
]
# What a process said when it ended, and what the system told it.
_CODE = (
    r"((?i:\bexit(?:ed|ing)?(?: with)?(?: (?:code|status|value))?|\bexit_?(?:code|status)|\breturn code|\berrno|\brc"
    r"""|\bsignal)"?[ =:]{1,2}"?\(?-?)(\d{1,3})\b"""
)
_IPV6_GROUPS = r"(?::[0-9a-fA-F]{1,4})"
# Digits and letters of one case, eight or more, with a digit behind a letter: hexadecimal and neither a word nor a
# number with a unit.
_LONG_HEX = "|".join(
    alternative
    for letters in ("a-f", "A-F")
    for alternative in (
        *(rf"[0-9{letters}]{{{n}}}[{letters}][0-9][0-9{letters}]{{{6 - n},}}" for n in range(6)),
        rf"[0-9{letters}]{{6,}}[{letters}][0-9][0-9{letters}]*",
    )
)
# What a file's name is made of, the hexadecimal numbers masked before included.
_NAME = r"(?:[\w.@%+~-]|<HEX>)"
_UNIT_OF_TIME = r"(?:[nuµμm]s|[smhd]|m?secs?|mins?|hrs?)"

PLACEHOLDER = re.compile(r"<[A-Z_]+>")

# Applied in this order. `phrase` says in plain words what the placeholder stands for: its embedding starts as the mean
# of the phrase's word pieces. A mask with `requires` is applied where a text holds one of these literals, which is
# found far faster than a pattern.
MASKS: list[dict[str, Any]] = [
    {"pattern": _COLOUR, "replacement": "", "requires": ["\x1b["]},
    # A sequence of letters and digits that says who asks: a JSON web token.
    {
        "pattern": r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?",
        "replacement": "<TOKEN>",
        "phrase": "token",
        "requires": ["eyJ"],
    },
    {
        "pattern": r"\b(?:[a-zA-Z][a-zA-Z0-9+-]{1,15}://|jdbc:[a-z]+:)[^\s\"'<>)\]},;]+",
        "replacement": "<URL>",
        "phrase": "url",
        "requires": ["://", "jdbc:"],
    },
    {
        "pattern": r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4,12}\b",
        "replacement": "<UUID>",
        "phrase": "unique identifier",
    },
    # The random end of a pod's name: Kubernetes uses no vowels there, so that it never is a word.
    {
        "pattern": r"-[bcdfghjklmnpqrstvwxz0-9]{8,10}-[bcdfghjklmnpqrstvwxz0-9]{5}\b",
        "replacement": "-<ID>",
        "phrase": "identifier",
    },
    # Early, for these are what tells most entries apart: the masks below then see each text once.
    {"pattern": r"\b0[xX][0-9a-fA-F]+\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    {"pattern": rf"\b(?:{_LONG_HEX})\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    {
        "pattern": rf"\b(?:{_TIMESTAMP}|\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}\b|{_CLOCK}\b)",
        "replacement": "<TIME>",
        "phrase": "time",
    },
    {"pattern": rf"({_BARE_PLACE}){_BARE_TIMESTAMP}", "replacement": r"\1<TIME>", "phrase": "time"},
    {
        "pattern": r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b",
        "replacement": "<EMAIL>",
        "phrase": "email address",
        "requires": ["@"],
    },
    # Behind a key the domain may be a single word; elsewhere user@database is a name.
    {
        "pattern": r"([=<])[\w.+-]+@[\w-]+\b",
        "replacement": r"\1<EMAIL>",
        "phrase": "email address",
        "requires": ["@"],
    },
    {
        "pattern": r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b",
        "replacement": "<MAC>",
        "phrase": "hardware address",
    },
    {
        # IPv4, full IPv6, and shortened IPv6 of the ranges in use: `std::string` and `a1::b` are not addresses.
        "pattern": (
            r"(?:::ffff:)?\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:[:/]\d{1,5})?\b"
            r"|\[?\b(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
            rf"|(?:[23][0-9a-fA-F]{{3}}|[fF][cCdDeEfF][0-9a-fA-F]{{2}}){_IPV6_GROUPS}{{0,6}}:"
            rf"(?:{_IPV6_GROUPS}{{1,7}}|:))"
            r"(?:%\w+)?(?:\]:\d{1,5}|\]|/\d{1,3}\b)?"
            r"|\[?\B::1\b(?:\]:\d{1,5}|\])?"
        ),
        "replacement": "<IP>",
        "phrase": "ip address",
    },
    {"pattern": _CODE, "replacement": r"\1⟪\2⟫", "requires": ["xit", "XIT", "eturn", "rrno", "rc", "ignal", "IGNAL"]},
    {"pattern": r"\b(status=)(\d{1,3})(/[A-Z])", "replacement": r"\1⟪\2⟫\3", "requires": ["status="]},  # systemd
    *(
        {"pattern": rf"{before}(\d{{3}}){after}", "replacement": r"\1⟦\2⟧\3", "requires": literals}
        for before, after, literals in _STATUS_PLACES
    ),
    {
        "pattern": r"((?i:sqlstate)[ =:\[\"'(]+)([0-9A-Z])([0-9A-Z])([0-9A-Z])([0-9A-Z])([0-9A-Z])\b",
        "replacement": r"\1⟪\2⟫⟪\3⟫⟪\4⟫⟪\5⟫⟪\6⟫",
        "requires": ["qlstate", "QLSTATE", "qlState", "QLState"],
    },
    {
        "pattern": (
            r"""(^|[\s"'=(\[:,>\p{Han}“‘：，（])"""
            rf"""(?:[A-Za-z]:\\(?:[^\s"'<>|,;)\]]|<HEX>)*|~?(?:/{_NAME}+){{2,}}/?(?:[?#][^\s"']*)?"""
            rf"""|(?:{_NAME}+/)+{_NAME}+\.[A-Za-z][A-Za-z0-9]{{0,7}}\b)"""  # relative, with an extension
        ),
        "replacement": r"\1<PATH>",
        "phrase": "file path",
    },
    # Base64 that is padded, or long.
    {
        "pattern": (
            r"""(^|[\s"'=:(\[,])(?:[A-Za-z0-9+/_-]{14,}={1,2}"""
            r"""|[A-Za-z+/]*(?:[0-9]+[A-Za-z]+[+/]?[A-Za-z]*){2,}[0-9]*[+/][A-Za-z0-9+/]{8,})($|[\s"',;)\]])"""
        ),
        "replacement": r"\1<TOKEN>\2",
        "phrase": "token",
        "requires": ["=", "/", "+"],
    },
    # An identifier such as blk_-160 keeps its name whatever the sign.
    {"pattern": r"\b([A-Za-z]+_)-?\d+\b", "replacement": r"\1<NUM>", "phrase": "number"},
    {
        "pattern": (
            rf"(^|{_KEPT}\w.])(?:(?:\d+(?:[.,]\d+)?{_UNIT_OF_TIME})+"
            r"|\d+(?:[.,]\d+)? (?:[nuµμm]s|m?secs?|seconds?|minutes?|hours?|days?))\b"
        ),
        "replacement": r"\1<DURATION>",
        "phrase": "duration",
    },
    {
        "pattern": rf"(^|{_KEPT}\w.])\d+(?:[.,]\d+)? ?(?:[KMGTPEkmgtp]i?[Bb](?:ytes)?|[Bb]ytes?|B|[KMGTPE]i?)\b",
        "replacement": r"\1<SIZE>",
        "phrase": "size",
    },
    {"pattern": rf"(^|{_KEPT}\w])\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?\b", "replacement": r"\1<NUM>", "phrase": "number"},
    # Eight digits or more, or the seven of a short hash such as git's, with a decimal digit among them.
    {
        "pattern": (
            r"\b(?:[0-9a-fA-F]{8,}|\d[0-9a-f]{6}|[a-f]\d[0-9a-f]{5}|[a-f]{2}\d[0-9a-f]{4}|[a-f]{3}\d[0-9a-f]{3}"
            r"|[a-f]{4}\d[0-9a-f]{2}|[a-f]{5}\d[0-9a-f]|[a-f]{6}\d)\b"
        ),
        "replacement": "<HEX>",
        "phrase": "hexadecimal number",
    },
    {
        "pattern": r"@[0-9a-f]{5,8}\b",
        "replacement": "@<HEX>",
        "phrase": "hexadecimal number",
        "requires": ["@"],
    },
    # Identifiers, unlike words that hold a number: letters follow digits twice (7f1c2d3, x2k9q), or something long has
    # a capital after a digit and another digit after that (base64 such as RzZuJ9P-SyqVdVCnTCb3hQ).
    {
        "pattern": r"\b(?:[A-Za-z]*(?:[0-9]+[A-Za-z]+){2,}[\w-]*|[a-z]\d{2,})\b",
        "replacement": "<ID>",
        "phrase": "identifier",
    },
    {
        "pattern": (
            r"""(^|[\s"'=(\[,:])(?:[\w-]{8,}[0-9][A-Z][\w-]*[0-9][\w-]*"""
            r"""|[\w-]*[0-9][A-Z](?:[\w-]*[0-9][\w-]{4,}|[\w-]{6,}[0-9][\w-]*))\b"""
        ),
        "replacement": r"\1<ID>",
        "phrase": "identifier",
    },
    {"pattern": rf"(^|{_KEPT}\d])\d+(?:[.,]\d+)*", "replacement": r"\1<NUM>", "phrase": "number"},
    # A list means the same however long it is.
    {"pattern": r"<NUM>(?:[,;:|/ ]{1,2}<NUM>){2,}", "replacement": "<NUM>", "phrase": "number"},
    *(
        {"pattern": rf"⟦({codes})⟧", "replacement": rf"<{name}> \1", "phrase": phrase, "requires": ["⟦"]}
        for codes, name, phrase in (
            (r"2\d\d", "HTTP_SUCCESS", "success"),
            (r"[13]\d\d", "HTTP_REDIRECT", "moved"),
            ("404", "HTTP_NOT_FOUND", "not found"),
            ("40[13]", "HTTP_FORBIDDEN", "forbidden"),
            (r"4\d\d", "HTTP_CLIENT_ERROR", "bad request"),
            ("50[234]", "HTTP_UNAVAILABLE", "unavailable"),
            (r"5\d\d", "HTTP_SERVER_ERROR", "server error"),
        )
    ),
    {"pattern": r"⟦\d+⟧", "replacement": "<NUM>", "phrase": "number", "requires": ["⟦"]},
    # Of a text that was masked before.
    {"pattern": "(?:<HTTP_[A-Z_]+> )+(<HTTP_[A-Z_]+> )", "replacement": r"\1", "requires": ["> <HTTP_"]},
    {"pattern": "[⟦⟧⟪⟫]", "replacement": "", "requires": ["⟧", "⟫"]},
    {"pattern": r"[\s\p{Z}]+", "replacement": " "},
]
