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

# strptime formats, tried in order on a timestamp without fraction and zone. A missing year counts as 2000, which has a
# 29th of February.
TIMESTAMP_FORMATS = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d-%H.%M.%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%b %d %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%m-%d %H:%M:%S",
    "%y/%m/%d %H:%M:%S",
    "%y%m%d %H%M%S",
    "%s",
]

# Brings a timestamp to the shape of TIMESTAMP_FORMATS: no fraction, no zone, one separator.
TIMESTAMP_CLEANUP = [
    (r"(:\d{2}|^\d{10}|-\d{2}\.\d{2}\.\d{2})[.,]\d+", r"\1"),
    (r"^(\d{10})\d{3}$", r"\1"),
    (r"(:\d{2}) ?(?:Z|[A-Z]{2,4}|[+-]\d{2}:?\d{2})\b", r"\1"),
    (r"^(\d{4})[-/.](\d{2})[-/.](\d{2})[T -](\d{1,2}:)", r"\1-\2-\3 \4"),
    (r"\s+", " "),
]

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
    r"^(?:[ \t]|Caused by:(?: |\s*$)|Suppressed: |\.\.\. \d+ (?:more|common frames)"
    # frames that lost their indentation
    r"|at \S+\.\S+ ?\(.*\)(?: in .*)?\s*$|at \S.*:\d+:\d+\)?\s*$|\S+:\d+:in [`'][^`']*'\s*$"
    r"|Traceback \(most recent call last\):|During handling of the above exception|The above exception was the direct"
    r"|--- End of |---> |Node\.js v\d+\.\d|Require stack:\s*$|- (?:/|[A-Za-z]:\\)\S*\s*$"
    r"|goroutine \d+ (?:gp=\S+ m=\S+ )?\[|created by \S+|\[signal SIG|exit status \d+\s*$"
    r"|[\w./\[\]-]+(?:\.\(\*?[\w.\[\]]+\))?\.[\w.\[\]·-]+\((?:\)|\.\.\.|0x[0-9a-f]|\{0x|\{\.\.\.).*$"
    r"|panic\((?:0x|\{0x|\.\.\.)"
    r"|stack backtrace:|note: (?:run with|Some details are omitted)"
    r"|Stack trace:\s*$|\[stacktrace\]\s*$|#\d+ (?:/|[A-Za-z]:\\|phar://|\{main\}|\[internal function\])|thrown in "
    r"|Next [\w\\]+(?:: .*)? in \S.*:\d+\s*$"
    r"|\*\* \(|Last message(?: \(from [^)]*\))?: |State: [%#{\[]|Client #PID<"  # Elixir
    r"|\"?[}\])]+[,;]?\s*$)"
)
# A line that names an exception continues the message above it. After another exception or its frames it is an entry
# of its own.
EXCEPTION_PATTERN = (
    r"^(?:(?:[A-Za-z_][\w$]*(?:\.|::))*[A-Z][\w$]*|(?:[A-Za-z_][\w$]*(?:\.|::))+)"
    r"(?:Exception|Error|Throwable|Interrupt)(?::|\s*$| \(.*\):\s*$)"
)
# Whatever it is called, a class right above a frame is an exception. `Error` is one below a line with a time.
FRAME_PATTERN = r"^[ \t]+at \S"
CLASS_PATTERN = r"^(?:[A-Za-z_$][\w$]*(?:\.|::))+[A-Z][\w$]*(?::\s|\s*$)"
ERROR_PATTERN = r"^(?:Uncaught )?(?:[A-Z][\w$]*)?Error(?: \[\w+\])?:?(?:\s|$)"
# Points at code: an exception below it is what the code failed with.
CARET_PATTERN = r"^[ \t]+[~^]+\s*$"
# Opens a Python traceback, which the first line that is not indented ends, whatever the exception is called.
TRACEBACK_PATTERN = r"^Traceback \(most recent call last\):\s*$"
# A frame of Go is two lines, a function and the place below it. Without arguments the function is told by the place.
PLACE_PATTERN = r"^\t\S+\.\w+:\d+(?: \+\w+)?\s*$"
FUNCTION_PATTERN = r"^[\w./@~-]+\.[^\s:=]+$"
# Where entries begin with a time, what stands below an exception is the rest of its message, unless it begins so.
HEAD_PATTERN = (
    rf"^(?:[\[(<]{{0,2}}(?:(?i:{severity_alternatives()})\d?[:\])>|\[]|(?:{severity_alternatives().upper()})\d?(?:\s|$))"
    r"|.{0,48}\d\d:\d\d:\d\d|\{\"|(?:panic|fatal error): |Unhandled |Uncaught |Exception in "
    r"|[\w.@-]+=\S|[\w./-]+\[\d+\]: )"
)
_QUERIES = (
    r"(?:Query|Connect|Quit|Prepare|Execute|Close stmt|Reset stmt|Fetch|Statistics|Ping|Init DB|Change user|Field List"
    r"|Refresh|Shutdown|Kill|Long Data|Set option|Binlog Dump(?: GTID)?|Register Slave|Delayed insert)(?:\t|$)"
)
# Entries of several lines, whatever is in them: from a line that matches `start` to one that matches `end`, or for so
# many `lines`, or else to the next line that begins with a time or starts a block. Of several starts in a row only the
# first counts, unless `each` does. `then` is what the line below must match. `timed`: the line itself begins with a
# time. `below`: "time" continues a line right above that begins with one.
BLOCKS: list[dict[str, Any]] = [
    {"name": "head of a query log", "start": r"^\S*(?:mysqld|mariadbd)\S*, Version: ", "lines": 2},
    {"name": "query", "start": rf"^(?:\S+(?:[ \t]+[\d:.]+)?)?\t+ *\d+ {_QUERIES}", "each": True},
    {"name": "slow query", "start": r"^# (?:Time|User@Host): "},
    {"name": "Windows event", "start": r"^(?:Log Name:\s|Event\[\d+\]:?\s*$|(?:Index|TimeCreated) +: )"},
    {"name": "XML event", "start": r"^<(?:\w+:)?[Ee]vent[ >]", "end": r"</(?:\w+:)?[Ee]vent>"},
    {"name": "object over several lines", "start": r"^[\[{]\s*$", "end": r"^[}\]],?\s*$", "below": "time"},
    {"name": "Rust panic", "start": r"^thread '[^']*' (?:\(\d+\) )?panicked at .*:$", "lines": 1},
    # "Mar 12, 2026 6:25:01 AM demo.Shop pay" above "SEVERE: no money", in the words of any language
    {
        "name": "java.util.logging",
        "start": r"^\p{L}+\.? \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d[\s\p{Z}]?\S* \S+ \S+\s*$",
        "then": r"^[\p{L} ]+: ",
        "lines": 1,
    },
    {"name": "report of Erlang", "start": r"^=(?:[A-Z]+ )+REPORT==== "},
    # A line that ends in a colon announces the lines below, be it a table, YAML or prose.
    {"name": "announced", "start": r"[:：]\s*$", "timed": True, "each": True},
]
# A line that begins with a time starts an entry, even inside a block.
TIMED_ENTRY_PATTERN = (
    rf"^[\[(<]{{0,2}}(?:{_TIMESTAMP}|[IWEF]\d{{4}} \d\d:\d\d:\d\d\.|\d{{4}}-\d\d-\d\d(?:T| +)\d{{1,2}}:\d\d"
    r"|\d\d:\d\d:\d\d[.,\s\]]|\d{6} +\d{1,2}:\d\d:\d\d|\d{8}[T ]\d{2}:?\d{2}:?\d{2}"
    r"|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4},?[ T]\d{1,2}:\d\d|\p{L}{3,9} \d{1,2},? \d{4},? \d{1,2}:\d\d"
    r"|\d{4}[年년] ?\d|\w{3}, \d{2} \w{3} \d{4} \d\d:)"
)
# An indented line that starts an entry all the same: it begins with a time or a severity. Capitals only: a column
# named "error" in an indented SQL statement is no severity.
INDENTED_ENTRY_PATTERN = (
    rf"^\t+ *\d+ {_QUERIES}"  # MySQL's and MariaDB's general log
    rf"|^[ \t]+[\[(]?(?:{_TIMESTAMP}"
    rf"|(?:{severity_alternatives().upper()})[\])]?:?(?: |$))"
)

# The time and severity at the head of an entry, for windows by time.
HEADER_PATTERN = (
    rf"^(?:.{{0,200}}?(?P<timestamp>{_TIMESTAMP}))?"
    rf"(?:.{{0,120}}?\b(?P<severity>(?i:{severity_alternatives()})\d?\b|(?:LOG|log)\b))?"
)
# Tried before HEADER_PATTERN.
BARE_HEADER_PATTERN = rf"{_BARE_PLACE}(?P<timestamp>{_BARE_TIMESTAMP})"

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
        rf"^(.*\b{_METHOD} \S+ .* )",
        r"((?: \d+){2,3})$",
        _METHODS,
    ),  # W3C (IIS): status, substatus, Windows status, time taken
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
    *(
        {"pattern": rf"{before}(\d{{3}}){after}", "replacement": r"\1⟦\2⟧\3", "requires": literals}
        for before, after, literals in _STATUS_PLACES
    ),
    {"pattern": _CODE, "replacement": r"\1⟪\2⟫", "requires": ["xit", "XIT", "eturn", "rrno", "rc", "ignal", "IGNAL"]},
    {"pattern": r"\b(status=)(\d{1,3})(/[A-Z])", "replacement": r"\1⟪\2⟫\3", "requires": ["status="]},  # systemd
    {
        "pattern": r"((?i:sqlstate)[ =:\[\"'(]+)([0-9A-Z])([0-9A-Z])([0-9A-Z])([0-9A-Z])([0-9A-Z])\b",
        "replacement": r"\1⟪\2⟫⟪\3⟫⟪\4⟫⟪\5⟫⟪\6⟫",
        "requires": ["qlstate", "QLSTATE", "qlState", "QLState"],
    },
    {
        "pattern": (
            r"""(^|[\s"'=(\[:,>\p{Han}“‘：，（])"""
            r"""(?:[A-Za-z]:\\[^\s"'<>|,;)\]]*|~?(?:/[\w.@%+~-]+){2,}/?(?:[?#][^\s"']*)?"""
            r"""|(?:[\w.@%+~-]+/)+[\w@%+~-][\w.@%+~-]*\.[A-Za-z][A-Za-z0-9]{0,7}\b)"""  # relative, with an extension
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
    {"pattern": r"\b0[xX][0-9a-fA-F]+\b", "replacement": "<HEX>", "phrase": "hexadecimal number"},
    # The random end of a pod's name: Kubernetes uses no vowels there, so that it never is a word.
    {
        "pattern": r"-[bcdfghjklmnpqrstvwxz0-9]{8,10}-[bcdfghjklmnpqrstvwxz0-9]{5}\b",
        "replacement": "-<ID>",
        "phrase": "identifier",
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
