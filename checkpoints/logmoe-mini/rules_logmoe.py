"""The default rules for reading log text, as data: what starts an entry, what its header looks like.

`LogParser` takes its defaults from here and saves the rules it uses with the checkpoint, so that serving reads text
exactly as training did. All patterns are RE2 (linear time whatever the input), applied to whole Arrow columns.
"""

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

# ---------------------------------------------------------------------- times

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONTH, WEEKDAY = f"(?:{'|'.join(MONTHS)})", f"(?:{'|'.join(DAYS)})"
CLOCK = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?"
# Zones by name: any run of capitals would swallow the severity that often follows a timestamp.
ZONE = (
    r"(?: ?(?:Z\b|(?:UTC|GMT|MSK|CES?T|EES?T|WES?T|(?:[ECMPAHNIJKB]|AK|NZ|AE|AC|AW|SA)[SD]T)\b|[+-]\d{2}:?\d{2}\b))?"
)
# A date that names its month, and that has a year.
_DATE = (
    rf"(?:{WEEKDAY}[a-z]*,? )?(?:{MONTH}[a-z]*\.? {{1,2}}\d{{1,2}},? \d{{4}}|\d{{1,2}}\.? {MONTH}[a-z]*\.?,? \d{{4}})"
)
TIMESTAMP = (
    r"(?:"
    rf"\d{{4}}[-/.]\d{{2}}[-/.]\d{{2}}(?:[T -]| {{2}}){CLOCK}{ZONE}"  # ISO 8601 and its cousins
    rf"|\d{{6}} {{1,2}}{CLOCK}"  # MySQL
    r"|\d{4}-\d{2}-\d{2}-\d{2}\.\d{2}\.\d{2}\.\d+"  # Blue Gene
    rf"|\d{{1,2}}/{MONTH}/\d{{4}}[: ]{CLOCK}{ZONE}"  # access logs of Apache and nginx; of Python's servers
    rf"|{WEEKDAY},? {MONTH} +\d{{1,2}} {CLOCK}{ZONE}(?: \d{{4}})?"  # Apache error logs, date(1)
    rf"|{MONTH} +\d{{1,2}} {CLOCK}(?: \d{{4}} GMT\b)?"  # syslog; certificates
    rf"|\d{{2}}-{MONTH}-\d{{4}} {CLOCK}"  # Tomcat, BIND
    rf"|{WEEKDAY}[a-z]*, \d{{2}}[ -]{MONTH}[ -](?:\d{{2}}){{1,2}} {CLOCK}{ZONE}"  # HTTP and mail
    rf"|\d{{1,2}} {MONTH} \d{{4}} {CLOCK}"  # Redis
    rf"|\d{{2}}-\d{{2}} {CLOCK}"  # Android
    rf"|\d{{2}}/\d{{2}}/\d{{2}} {CLOCK}"  # Spark
    rf"|{_DATE},?(?: at)? {CLOCK}{ZONE}"  # Java, browsers
    rf"|\d{{2}}{MONTH}\d{{4}} {CLOCK}"  # Forge
    rf"|\d{{1,2}}/\d{{1,2}}/\d{{4}},? {{1,2}}{CLOCK}{ZONE}"  # Windows
    r")"
)
# ---------------------------------------------------------------------- entries

COLOUR = r"\x1b\[[0-9;?]*[A-Za-z]"
_BLANK = r"\s\x00\p{Z}\x{FEFF}\x{200B}"
# A line with text. A crashed machine leaves runs of NUL bytes at the end of its log, a progress bar colours alone.
TEXT_PATTERN = rf"^(?:{COLOUR}|[{_BLANK}])*(?:[^\x1b{_BLANK}]|\x1b(?:[^\[]|\[[0-9;?]*[^0-9;?A-Za-z]))"

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
    r"|[\w./\[\]-]+(?:\.\(\*?[\w.\[\]]+\))?\.[\w.\[\]·-]+\((?:\)|\.\.\.|\dx[0-9a-f]|\{\dx|\{\.\.\.).*$"
    r"|panic\((?:\dx|\{\dx|\.\.\.)"
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
_FIELD = r"(?:[^\",]*,|\"[^\"]*\",)"
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
    # The time is on a line of its own.
    {"name": "Oracle alert", "start": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}[+-]\d\d:\d\d\s*$"},
    # A row of a table whose last field is in quotes and has several lines: what Windows and CloudWatch save.
    {
        "name": "CSV with a field of several lines",
        "start": rf"^\"?(?:\p{{Lu}}[\p{{Ll}} ]+\"?,{_FIELD}{{3}}|\d[\d/.: T-]{{9,}}(?: [AP]M)?\"?,){_FIELD}*"
        r"\"(?:[^\"]|\"\")*$",
        "end": r"(?:^|[^\"])(?:\"\")*\"\s*(?:,[^\"]*)?$",
        "each": True,
    },
    {"name": "report of Erlang", "start": r"^=(?:[A-Z]+ )+REPORT==== "},
    # A line that ends in a colon announces the lines below, be it a table, YAML or prose.
    {"name": "announced", "start": r"[:：]\s*$", "timed": True, "each": True},
]
# A line that begins with a time starts an entry, even inside a block.
TIMED_ENTRY_PATTERN = (
    rf"^[\[(<]{{0,2}}(?:{TIMESTAMP}|[IWEF]\d{{4}} \d\d:\d\d:\d\d\.|\d{{4}}-\d\d-\d\d(?:T| +)\d{{1,2}}:\d\d"
    r"|\d\d:\d\d:\d\d[.,\s\]]|\d{6} +\d{1,2}:\d\d:\d\d|\d{8}[T ]\d{2}:?\d{2}:?\d{2}"
    r"|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4},?[ T]\d{1,2}:\d\d|\p{L}{3,9} \d{1,2},? \d{4},? \d{1,2}:\d\d"
    r"|\d{4}[年년] ?\d|\w{3}, \d{2} \w{3} \d{4} \d\d:)"
)
# An indented line that starts an entry all the same: it begins with a time, a severity or the verdict of a test.
# Capitals only: a column named "error" in an indented SQL statement is no severity.
INDENTED_ENTRY_PATTERN = (
    rf"^\t+ *\d+ {_QUERIES}"  # MySQL's and MariaDB's general log
    rf"|^[ \t]+[\[(]?(?:{TIMESTAMP}"
    rf"|(?:{severity_alternatives().upper()})[\])]?:?(?: |$)"
    # verdicts of jest, mocha, vitest and Playwright, of go's subtests, of ctest, .NET, Minitest, RSpec and ExUnit
    r"|[✓✔✕✖✗✘×] {1,3}\S|❯ \S+ \(\d+ tests?\b|(?:PASS|FAIL) {1,2}\S|\d+ (?:passing|failing|pending)\b"
    r"|--- (?:PASS|FAIL|SKIP): |\d+/\d+ Test +#|Start +\d+: "
    r"|(?:Passed|Failed|Skipped) \S.* \[(?:< )?\d+ [hms][^\]]*\]\s*$"
    r"|\d+\) (?:Error|Failure|Skipped):|\* test |\S.* \(FAILED - \d+\)\s*$"
    # numbers on the right: what ipmitool shows of a system's events
    r"|[0-9a-f]+ \| \d\d/\d\d/\d{2,4} \| )"
)
