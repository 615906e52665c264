"""Writes docs/formats.md: what LogMoE reads, keeps and masks, by reading an example of each with the rules.

Run it after changing a rule: `python docs/formats.py`. A test holds the page equal to what this writes, and fails if a
rule has no example here.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from logmoe.headers_logmoe import HeaderReader
from logmoe.masks_logmoe import MASKS, PLACEHOLDER
from logmoe.parsing_logmoe import LogParser
from logmoe.rules_logmoe import BLOCKS
from logmoe.severities_logmoe import SEVERITY_RULES
from logmoe.times_logmoe import TIME_RULES
from logmoe.transports_logmoe import TRANSPORTS

PAGE = Path(__file__).with_name("formats.md")

# By transport: what it is, and lines of it.
TRANSPORT_EXAMPLES: dict[str, tuple[str, str]] = {
    "journal-export": (
        "`journalctl -o export`",
        "__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1773296701104522\nPRIORITY=3\nMESSAGE=disk full\n",
    ),
    "w3c": (
        "W3C extended log (IIS, CloudFront) and Zeek, by their fields line",
        "#Fields: date time cs-method cs-uri-stem sc-status\n2026-03-12 06:25:01 GET /cart 500",
    ),
    "cri": ("Kubernetes, containerd and CRI-O", "2026-03-12T06:25:01.104522123Z stderr F ERROR disk full"),
    "docker-json": (
        "Docker's JSON files",
        '{"log":"ERROR disk full\\n","stream":"stderr","time":"2026-03-12T06:25:01.104522123Z"}',
    ),
    "journal-json": (
        "`journalctl -o json`",
        '{"__REALTIME_TIMESTAMP":"1773296701104522","PRIORITY":"3","SYSLOG_IDENTIFIER":"app","MESSAGE":"disk full"}',
    ),
    "syslog-5424": ("syslog, RFC 5424", "<163>1 2026-03-12T06:25:01.003Z edge1 app 12 ID47 - disk full"),
    "syslog": ("syslog, RFC 3164 and its cousins", "<163>Mar 12 06:25:01 edge1 app[12]: disk full"),
    "gitlab": ("GitLab jobs", "2026-03-12T06:25:01.104522Z 00E ERROR: Job failed: exit code 1"),
    "kubectl": ("`kubectl logs --prefix`", "[pod/web-0/app] ERROR disk full\n[pod/web-1/app] ready"),
    "github": (
        "GitHub Actions",
        "2026-03-12T06:25:01.1045221Z ##[group]Run make\n2026-03-12T06:25:02.1045221Z ##[error]exit code 2",
    ),
    "timestamps": (
        "`docker logs --timestamps`, `kubectl logs --timestamps`",
        "2026-03-12T06:25:01.104522123Z ERROR disk full\n2026-03-12T06:25:01.104522124Z     at shop.Pay",
    ),
    "compose": ("Docker Compose", "web-1  | ERROR disk full\ndb-1   | ready\nweb-1  | retry\ndb-1   | idle"),
}

# By time rule.
TIME_EXAMPLES = {
    "iso": "2026-03-12T06:25:01.104522+09:00",
    "dotted clock": "2005-06-03-15.42.50.363779",
    "iso basic": "20260312T062501Z",
    "access log": "[12/Mar/2026:06:25:01 +0100]",
    "day-month": "12-Mar-2026 06:25:01.104",
    "day-month short": "12-Mar-26 06:25:01",
    "day month": "Thu, 12 Mar 2026 06:25:01 GMT",
    "ctime": "Thu Mar 12 06:25:01.104522 2026",
    "month day": "Mar 12, 2026 6:25:01 AM",
    "year month day": "2026 Mar 12 06:25:01.104",
    "syslog": "Mar 12 06:25:01",
    "day month without year": "12 Mar 06:25:01.104",
    "weekday day month": "Thu 12 Mar 06:25:01 2026",
    "cjk": "2026年3月12日 06:25:01",
    "date and time keys": "date=2026-03-12 time=06:25:01",
    "slashes": "12/31/2026 06:25:01 PM",
    "dots and dashes": "31.12.2026 18:25:01",
    "slashes short": "3/12/26 6:25:01 AM",
    "comma short": "03/12/26,06:25:01",
    "slashes in brackets": "[03/12/26 06:25:01]",
    "year first": "17/06/09 20:10:40",
    "geth": "ERROR [03-12|06:25:01.104]",
    "forge": "[12Mar2026 06:25:01.104]",
    "unreal": "[2026.03.12-06.25.01:104]",
    "audit": "type=LOGIN msg=audit(1773296701.104:4711): disk full",
    "ros": "[ERROR] [1773296701.104522123] [shop]: disk full",
    "slashes of websphere": "[3/12/26 6:25:01:104 CET]",
    "klog": "I0312 06:25:01.104522",
    "glog": "I20260312 06:25:01.104522",
    "compact date": "20171223-22:15:29:606",
    "compact": "20260312062501",
    "hadoop": "081109 203615",
    "mysql": "130812 15:22:33",
    "android": "03-12 06:25:01.104",
    "dots short": "12.03.26 06:25:01",
    "proxifier": "[10.30 16:49:06]",
    "chromium": "[0312/062501.104:",
    "epoch": "1773296701.104522",
    "epoch ms": "1773296701104",
    "epoch us": "1773296701104522",
    "epoch ns": "1773296701104522123",
    "mikrotik": "mar/12/2026 06:25:01",
    "cjk slashes": "2026/03/12 下午 06:25:01",
    "rails": 'Started GET "/carts" for 10.0.0.8 at 2026-03-12 06:25:01 +0900',
}

# By severity rule.
SEVERITY_EXAMPLES = {
    "key": '{"level":"warn","msg":"disk full"}',
    "key with a letter": '{"t":{"$date":"2026-03-12T06:25:01.104+00:00"},"s":"E","c":"NETWORK","msg":"x"}',
    "python number": '{"levelno": 40, "message": "disk full"}',
    "opentelemetry number": '{"severityNumber":17,"body":"disk full"}',
    "key with a number": '{"level":50,"msg":"disk full"}',
    "windows xml": "<Event><System><Level>2</Level></System></Event>",
    "windows": "Log Name:      Application\nLevel:         Error",
    "logfmt": 'level=error msg="disk full"',
    "logfmt with a number": 'level=3 msg="disk full"',
    "letter before the time": "E0312 06:25:01.104522       1 main.go:7] disk full",
    "letter at the time": "[E 2026-03-12 06:25:01.104 ServerApp] disk full",
    "ruby": "E, [2026-03-12T06:25:01.104522 #7] ERROR -- : disk full",
    "android": "03-12 06:25:01.104  1702  2395 E Disk    : full",
    "mongodb": "2026-03-12T06:25:01.104+0100 E STORAGE  [conn7] disk full",
    "websphere": "[3/12/26 6:25:01:104 CET] 0000000a Disk          E   full",
    "letter in brackets": "2026-03-12 06:25:01 [main] [E] disk full",
    "redis": "7:M 12 Mar 2026 06:25:01.104 # disk full",
    "cisco": "Mar 12 2026 06:25:01: %ASA-3-302013: disk full",
    "java.util.logging": "Mar 12, 2026 6:25:01 AM shop.Pay run\nSEVERE: disk full",
    "diagnostic": "shop.c:12:5: error: expected ';' before 'return'",
    "make": "make: *** [Makefile:3: all] Error 1",
    "cmake": "CMake Error at CMakeLists.txt:3 (find_package):",
    "apt": "E: Unable to locate package shop",
    "verdict": "not ok 3 - the disk is not full",
    "verdict at the end": "test_disk.py::test_full FAILED     [ 50%]",
    "oracle": "2026-03-12T06:25:01.104522+00:00\nORA-00600: internal error code",
    "php": "[12-Mar-2026 06:25:01 UTC] PHP Fatal error:  disk full",
    "postgresql": "2026-03-12 06:25:01.104 UTC [7] ERROR:  disk full",
    "syslog facility": "Thu Mar 12 06:25:01 2026 daemon.err uhttpd[9]: disk full",
    "sql server": "2026-03-12 06:25:01.10 spid7      Error: 9002, Severity: 17, State: 2.",
    "mysql": "2026-03-12T06:25:01.104522Z 7 [ERROR] disk full",
    "access log": '10.0.0.8 - - [12/Mar/2026:06:25:01 +0000] "GET /ERROR HTTP/1.1" 200 7',
    "start of the message": "Mar 12 06:25:01 edge1 sshd[340]: error: disk full",
    "suricata": '{"timestamp":"2026-03-12T06:25:01.1Z","event_type":"alert","alert":{"action":"no","severity":1}}',
    "letter of a device": "E (3141) wifi: disk full",
    "glusterfs": "[2026-03-12 06:25:01.104522 +0000] E [MSGID: 108006] disk full",
    "installer": "npm error code ETARGET",
    "build": "> Task :shop:test FAILED",
    "latex": "! Undefined control sequence.",
    "letter of minitest": "PayTest#test_full = 0.01 s = E",
    "thread and severity": "[06:25:01] [Server thread/ERROR]: disk full",
    "asterisk": "[Mar 12 06:25:01] WARNING[4154][C-00000168] chan_sip.c: disk full",
    "macos": "2026-03-12 06:25:01.104522+0000 0x6aab     Error       0x0  257  0  kernel: disk full",
    "unreal": "[2026.03.12-06.25.01:104][  7]LogNet: Error: disk full",
    "event viewer": "Error,3/12/2026 6:25:01 AM,disk,7,None",
    "db2": "2026-03-12-06.25.01.104522+060 I1234E500   LEVEL: Severe",
    "esxi": "2026-03-12T06:25:01.104Z cpu3:2097)WARNING: NMP: disk full",
    "kubernetes event": "5m12s   Warning   BackOff   pod/web-0   Back-off restarting failed container",
    "word": "2026-03-12 06:25:01,104 ERROR [main] disk full",
    "logrus": "ERRO[0007] disk full",
    "postgresql csv": (
        '2026-03-12 06:25:01.104 UTC,"app","shop",7,"10.0.0.8:5",69b2,1,"idle",2026-03-12 06:20:00 UTC,3/7,0,'
        'ERROR,53100,"disk full"'
    ),
    "log": "2026-03-12 06:25:01.104 UTC [7] LOG ready",
    ".net": "2026-03-12 06:25:01 fail: Shop.Pay[0] disk full",
    "topics": "mar/12/2026 06:25:01 system,error,critical disk full",
    "syslog priority": "<11>disk full",
}

# By block: entries of several lines.
BLOCK_EXAMPLES = {
    "head of a query log": (
        "/usr/sbin/mariadbd, Version: 10.11.6. started with:\nTcp port: 3306  Unix socket: /run/s.sock\n"
        "Time\t\t    Id Command\tArgument"
    ),
    "slow query": "# Time: 2026-03-12T06:25:01.104522Z\n# User@Host: app[app] @ web [10.0.0.8]\nSELECT 1;",
    "query": "\t\t    7 Query\tSELECT price\nFROM cart",
    "java.util.logging": "Mar 12, 2026 6:25:01 AM shop.Pay run\nSEVERE: disk full",
    "Oracle alert": "2026-03-12T06:25:01.104522+00:00\nErrors in file /srv/shop.trc:\nORA-00600: internal error",
    "CSV with a field of several lines": 'Error,3/12/2026 6:25:01 AM,disk,7,None,"Faulting shop.exe\nException: 7"',
    "report of Erlang": "=ERROR REPORT==== 12-Mar-2026::06:25:01 ===\nshop: disk full\nby order 7",
    "announced": "2026-03-12 06:25:01 INFO settings:\ndisk: full\nretry: 7",
    "Windows event": "Log Name:      Application\nLevel:         Error\nDescription:\ndisk full",
    "XML event": "<Event>\n<System><Level>2</Level></System>\n</Event>",
    "object over several lines": '{\n"level": "error",\n"msg": "disk full"\n}',
    "Rust panic": "thread 'main' panicked at src/main.rs:7:5:\ndisk full",
}
# Entries of several lines by the shape of their lines: a message, and what belongs to it.
ENTRY_EXAMPLES = {
    "Python": (
        'ERROR order 7\nTraceback (most recent call last):\n  File "shop.py", line 7, in pay\n    charge()\n'
        "shop.Declined: card"
    ),
    "Java": (
        "ERROR order 7\njava.io.IOException: card\n\tat shop.Pay.run(Pay.java:7)\nCaused by: java.net.Fault: x\n"
        "\t... 3 more"
    ),
    ".NET": (
        "fail: Shop.Pay[0]\n      order 7\n      System.Exception: card\n         at Shop.Pay.Run()\n"
        "      --- End of inner exception stack trace ---"
    ),
    "JavaScript": "TypeError: card is undefined\n    at pay (/srv/shop.js:7:3)\n    at main (/srv/shop.js:9:1)",
    "Go": "panic: card\n\ngoroutine 1 [running]:\nmain.pay(0x7)\n\t/src/shop.go:7 +0x1d\nexit status 2",
    "PHP": (
        "PHP Fatal error:  Uncaught Exception: card\nStack trace:\n#0 /srv/shop.php(7): pay()\n#1 {main}\n"
        "  thrown in /srv/shop.php"
    ),
    "SQL": "2026-03-12 06:25:01.104 UTC [7] STATEMENT:  SELECT\n\tprice\n\tFROM cart",
}

# By placeholder: texts that hold what it stands for.
MASK_EXAMPLES = {
    "<TOKEN>": "bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.dBjftJeZ4CVP",
    "<URL>": "fetch https://shop.example/cart?id=7",
    "<AGENT>": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "<UUID>": "order 3f2b8c1e-9a4d-4c1b-8e7f-0a1b2c3d4e5f",
    "<TIME>": "2026-03-12T06:25:01Z ready",
    "<EMAIL>": "mail to ann@example.org",
    "<MAC>": "from 52:54:00:12:34:56",
    "<IP>": "from 10.0.0.8:443 and fe80::1",
    "<PATH>": "open /srv/shop/cart.db",
    "<HEX>": "at 0x7ffd10 commit 9fceb02",
    "<ID>": "pod web-7d4b9c6f5d-x2k9q ready",
    "<NUM>": "7 of 12 carts",
    "<DURATION>": "took 12.5ms, then 1h2m",
    "<SIZE>": "read 512MB of 1.5 GiB",
    "<HTTP_SUCCESS>": '"GET /cart HTTP/1.1" 200 17',
    "<HTTP_REDIRECT>": '"GET /cart HTTP/1.1" 301 17',
    "<HTTP_NOT_FOUND>": '"GET /cart HTTP/1.1" 404 17',
    "<HTTP_FORBIDDEN>": '"GET /cart HTTP/1.1" 403 17',
    "<HTTP_CLIENT_ERROR>": '"GET /cart HTTP/1.1" 418 17',
    "<HTTP_UNAVAILABLE>": '"GET /cart HTTP/1.1" 503 17',
    "<HTTP_SERVER_ERROR>": '"GET /cart HTTP/1.1" 500 17',
}
KEPT_EXAMPLES = [
    "child exited with code 137",
    "Tests run: 12, Failures: 0, Errors: 3",
    "connect failed: ECONNREFUSED (errno 111)",
    "killed by signal 9",
    "SQLSTATE[40P01] deadlock detected",
    '{"level":50,"msg":"disk full"}',
    "用户 张伟 登录失败",
    "user ann on host edge1 cannot open table carts",
]


def _code(text: str | None) -> str:
    if text is None:
        return "–"
    fence = "``" if "`" in text else "`"
    shown = text.replace("\n", "⏎ ").replace("\t", "→ ").replace("|", "\\|")
    return f"{fence}{shown}{fence}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page() -> str:
    """The whole page, in Markdown."""
    parser = LogParser()

    def read(log: str) -> list[str]:
        parsed = parser.parse(log)
        headers = parser.headers(parsed)
        return [_code(parsed.text[0].as_py()), _code(headers.iso()[0]), headers.severities()[0] or "–"]

    def mask(text: str) -> str:
        return _code(parser.mask([text])[0].as_py())

    def iso(text: str) -> str:
        return _code(HeaderReader().read(pa.array([text], pa.large_string())).iso()[0])

    def severity(text: str) -> str:
        return HeaderReader().read(pa.array([text], pa.large_string())).severities()[0] or "–"

    def names_of(rules: list[dict[str, Any]]) -> list[str]:
        return list(dict.fromkeys(rule["name"] for rule in rules))

    placeholders = list(dict.fromkeys(name for mask in MASKS for name in PLACEHOLDER.findall(mask["replacement"])))
    phrases = {
        name: mask["phrase"]
        for mask in reversed(MASKS)
        for name in PLACEHOLDER.findall(mask["replacement"])
        if "phrase" in mask
    }
    sections = [
        "# What is read, what is kept, what is masked",
        "Written by `python docs/formats.py`, which reads each example with the default rules. `logmoe explain LOG` "
        "shows the same for your log: where something is misread, there you see it. In the examples ⏎ is the end of a "
        "line and → a tab.",
        "## Text\n\nUTF-8 with or without a mark, UTF-16 and UTF-32 with a mark or told by their zero "
        "bytes; `--encoding` for the rest. Bytes that are not valid become U+FFFD and are counted. Compressed with "
        "gzip, bzip2, xz or zstd, told by the first bytes. Colours and other terminal sequences go; after a "
        "carriage return the visible text starts anew.",
        "## What may wrap a line\n\nIt comes off, nested up to three deep; its time and severity are used where the "
        "entry has none of its own, and a continuation belongs to the entry of its own stream.\n\n"
        "Ordinary text may resemble `timestamps`, `compose`, `kubectl`, `github`, and `syslog` without the number "
        "of a process. These come off where at least 80% of 1,000 lines look so, as far as the log was read by "
        "then: a file by 2 MiB or 32,768 lines, a pipe by what comes in half a second. So where a log begins or "
        "ceases to look wrapped, entries may depend on how it was read; no line is lost by that.",
        _table(
            ["format", "of", "example", "entry", "time", "severity"],
            [
                [f"`{name}`", what, _code(log.rstrip("\n")), *read(log)]
                for name, (what, log) in ((name, TRANSPORT_EXAMPLES[name]) for name in names_of(TRANSPORTS))
            ],
        ),
        "## Entries of several lines\n\nBy the shape of the lines, whatever a class is called. `--entry-pattern` "
        "overrules it.",
        _table(
            ["kind", "one entry"],
            [
                [name, _one_entry(parser, log)]
                for name, log in (
                    *ENTRY_EXAMPLES.items(),
                    *((name, BLOCK_EXAMPLES[name]) for name in names_of(BLOCKS)),
                )
            ],
        ),
        "## Times\n\nIn ISO 8601, with `Z` where the log names a zone. Day before month or month before day is "
        "decided from the whole log; a missing year counts on across New Year.",
        _table(
            ["rule", "example", "time"],
            [[name, _code(TIME_EXAMPLES[name]), iso(TIME_EXAMPLES[name])] for name in names_of(TIME_RULES)],
        ),
        "## Severities",
        _table(
            ["rule", "example", "severity"],
            [
                [name, _code(SEVERITY_EXAMPLES[name]), severity(SEVERITY_EXAMPLES[name])]
                for name in names_of(SEVERITY_RULES)
            ],
        ),
        "## What is masked\n\nBy shape, and never a word of natural language, in any script. JSON's inner objects "
        "have no order: their keys go by the alphabet.",
        _table(
            ["placeholder", "stands for", "example", "masked"],
            [
                [f"`{name}`", phrases[name], _code(MASK_EXAMPLES[name]), mask(MASK_EXAMPLES[name])]
                for name in placeholders
            ],
        ),
        "## What is kept\n\nHTTP statuses (above), and what a process said when it ended; that there were no failures "
        "or errors; names of users, hosts and tables.",
        _table(["example", "masked"], [[_code(text), mask(text)] for text in KEPT_EXAMPLES]),
    ]
    return "\n\n".join(sections) + "\n"


def _one_entry(parser: LogParser, log: str) -> str:
    parsed = parser.parse(log)
    if len(parsed) != 1:
        raise ValueError(f"{len(parsed)} entries where the page promises one: {parsed.text.to_pylist()}")
    return _code(log)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
