"""Shapes in, severities out: where an entry says how severe it is, as data, and which of six levels that means.

The rules (`SEVERITY_RULES`) are tried on shapes with a mark in place of the time. Called by the header reader.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import MANY_TEXTS, TextBytes, check_pattern, group_spans, matches, without_names
from .rules_logmoe import SEVERITY_WORDS
from .times_logmoe import Rule, check_rule

LEVELS = list(SEVERITY_WORDS)

# ---------------------------------------------------------------------- severity rules

TIME_MARK = "\x1a"

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
# Numbers are written as strings, as a checkpoint saves them: the keys of JSON are.
_SYSLOG_LEVELS = ("FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")
_SYSLOG = {str(number): level for number, level in enumerate(_SYSLOG_LEVELS)}
# Bunyan and pino count in tens from 10; what is below comes from syslog.
_PINO = {
    **_SYSLOG,
    **{str(number): LEVELS[number // 10 - 1] for number in range(10, 70)},
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
# What tools that test and check say of each case; as they write it.
_VERDICTS: dict[str, str | None] = {
    **dict.fromkeys("PASS PASSED Passed OK ok RUN XFAIL KFAIL EXPECTEDFAIL ✓ ✔".split(), "INFO"),
    **dict.fromkeys("SKIP SKIPPED Skipped skipped ignored UNTESTED UNSUPPORTED".split(), "INFO"),
    **dict.fromkeys("XPASS KPASS UNEXPECTEDPASS".split(), "WARNING"),
    **dict.fromkeys("FAIL FAILED Failed failed ERROR UNRESOLVED TIMEOUT Timeout Exception".split(), "ERROR"),
    **dict.fromkeys(("not ok", "Not Run", "unreachable", "Dubious", *"✕✖✗✘×"), "ERROR"),
}
_PYTEST_VERDICT = "PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS"
_VERDICT = "PASS|XPASS|KPASS|FAIL|XFAIL|KFAIL|ERROR|UNRESOLVED|UNTESTED|UNSUPPORTED|SKIP"

_LEVEL_KEYS = (
    r"(?:log|syslog|event|slog)?[._]?(?:level|lvl|severity|prio(?:rity)?)(?:_?(?:text|name))?|loglevel|levelname"
    r"|error_severity|@l"
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
        "numbers": {"10": "DEBUG", "20": "INFO", "25": "INFO", "30": "WARNING", "40": "ERROR", "50": "FATAL"},
        "keyed": True,
    },
    {
        "name": "opentelemetry number",
        "pattern": r"(?i)\"severity_?number\"\s*:\s*\"?(?P<number>\d{1,2})\b",
        "numbers": {str(number): LEVELS[(number - 1) // 4] for number in range(1, 25)},
        "keyed": True,
    },
    # Of an alert of Suricata: 1 is the worst.
    {
        "name": "suricata",
        "pattern": r"\"event_type\"\s*:\s*\"alert\".*\"severity\"\s*:\s*(?P<number>\d)\b",
        "numbers": {"1": "ERROR", "2": "WARNING", "3": "INFO", "4": "INFO"},
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
        "numbers": {"0": "INFO", "1": "FATAL", "2": "ERROR", "3": "WARNING", "4": "INFO", "5": "TRACE"},
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
    # 10.0.0.8 - - [12/Mar/2026:06:25:01 +0000] "GET /ERROR HTTP/1.1": what follows is the client's. W3C likewise.
    {
        "name": "access log",
        "pattern": r"\bcs-(?:method|uri-stem)=|\x1a[^\"\n]{0,8}\] \"(?:[A-Z]{3,16} |-\"|\\x)"
        r"|^\x1a(?: [^\s=\[][^\s=]*){1,5} (?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PROPFIND) (?:/|https?://)",
        "level": None,
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
        "pattern": r"^\[?(?P<word>[DIWEFC]) \[?(?:\x1a|\d\d:\d\d:\d\d)|^\x1a: (?P<word2>[IWEF]) \S"
        r"|^\x1a (?P<word3>[VDIWEFC]) (?:[\w./-]+: |\[|\| )",
        "words": _LETTERS,
    },
    # E (3141) wifi: lost, [1234][E][WiFi.cpp:275], [06:25:01][E][mqtt:031]; E! [outputs.file] disk full
    {
        "name": "letter of a device",
        "pattern": r"^(?P<word>[VDIWE]) \(0+\) [\w./-]+: |^\[[ 0:.]+\]\[(?P<word2>[VDIWEC])\]\[\S"
        r"|^\x1a (?P<word3>[DIWE])! ",
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
    # [2026-03-12 06:25:01.104522 +0000] E [MSGID: 108006]
    {"name": "glusterfs", "pattern": r"^\[\x1a\] (?P<word>[TDIWECA]) \[", "words": _LETTERS},
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
    # shop.c:12:5: error: expected ';', shop.ts(3,5): error TS2322: no
    {
        "name": "diagnostic",
        "pattern": r"^(?:[A-Za-z]:)?[^\s:()]+(?:\(0+(?:,0+)?\)|(?::0+){1,2})(?: -|:)? "
        r"(?:fatal )?(?P<word>error|warning|note|info|remark)\b(?::| TS0+:| [A-Z]{1,4}0+:|\[)",
    },
    # make: *** [Makefile:3: all] Error 1
    {"name": "make", "pattern": r"^\S*make(?:\[0+\])?: \*\*\* ", "level": "ERROR"},
    {"name": "cmake", "pattern": r"^CMake (?:Deprecation )?(?P<word>Error|Warning)\b"},
    {"name": "apt", "pattern": r"^(?P<word>[EW]): \S", "words": {"E": "ERROR", "W": "WARNING"}},
    # npm error code ETARGET, error Couldn't find any versions, dpkg: error processing package, [webpack-cli] Error: no
    {
        "name": "installer",
        "pattern": r"^npm (?P<word>ERR!|error|WARN|warn|notice) |^(?P<word2>error|warning) (?:[A-Z\"]|\S+(?: > |@|: ))"
        r"|^dpkg(?:-[\w-]+)?: (?P<word3>error|warning)\b|^(?:\[[\w-]+\]|[│╷]) (?P<word4>Error|Warning): ",
        "words": {
            **dict.fromkeys(("ERR!", "error", "Error"), "ERROR"),
            **dict.fromkeys(("WARN", "warn", "warning", "Warning"), "WARNING"),
            "notice": "INFO",
        },
    },
    # > Task :shop:test FAILED, BUILD FAILED in 40s, //shop:rate_test FAILED, ❯ pay.spec.js (4 tests | 1 failed)
    {
        "name": "build",
        "pattern": r"^> Task :\S+ (?P<word>FAILED)$|^BUILD (?P<word2>FAILED|FAILURE)\b"
        r"|^//\S+ +(?:\(cached\) )?(?P<word3>PASSED|FAILED|TIMEOUT|FLAKY)\b"
        r"|^\s*❯ \S+ \(.*\| 0+ (?P<word4>failed)\b",
        "words": {
            **dict.fromkeys(("FAILED", "FAILURE", "TIMEOUT", "failed"), "ERROR"),
            "PASSED": "INFO",
            "FLAKY": "WARNING",
        },
    },
    {
        "name": "latex",
        "pattern": r"^(?P<word>!) \S|^(?:LaTeX|(?:Package|Class) \w+)(?: \w+)? (?P<word2>Warning|Info): ",
        "words": {"!": "ERROR", "Warning": "WARNING", "Info": "INFO"},
    },
    # what tests and checks say of each case
    {
        "name": "verdict",
        # FAIL: shop/pay, FAIL<tab>shop/pay, FAIL src/pay.test.js, FAILED test_pay.py::test_full
        "pattern": rf"^(?P<word>{_VERDICT})(?:: |\t| [^\s:]*[./][^\s:]*(?:\s|$)|$)"
        # FAILED: java/net/Pay.java, FAILED: [code=1] src/pay.o
        rf"|^(?P<word2>{_PYTEST_VERDICT}|Passed|Failed)"
        r"(?: [^\s:]+::|: (?:\[code=0+\] \S|[^\s:]*(?:/[^\s:]*[a-z]|\.[a-z])[^\s:]*(?:\s|$)))"
        # not ok 3 - pay, ok<tab>shop/pay; failed: [web1]
        r"|^\s*(?P<word3>not ok|ok)(?: 0+\b| *\t)|^(?P<word4>ok|failed|unreachable): \["
        # --- FAIL: TestPay (0.00s), [  FAILED  ] Shop.Pay
        r"|^\s*--- (?P<word5>PASS|FAIL|SKIP): |^\[ {0,10}(?P<word6>OK|RUN|PASSED|FAILED|SKIPPED) {0,10}\] "
        r"|^\s*(?P<word7>[✓✔✕✖✗✘×]) |^\s+(?P<word8>PASS|FAIL|Passed|Failed|Skipped) +\S",
        "words": _VERDICTS,
    },
    {
        "name": "letter of minitest",
        "pattern": r"^\S+#test_.* = 0+\.0+ s = (?P<word>[.EFS])$",
        "words": {".": "INFO", "S": "INFO", "E": "ERROR", "F": "ERROR"},
    },
    {
        "name": "verdict at the end",
        # test_full (shop.Pay) ... FAIL, test pay::full ... FAILED
        "pattern": r"(?: |\.)\.{2,} ?(?P<word>ok|FAIL|FAILED|ERROR|skipped|ignored)(?: ['\"].*)?\s*$"
        # t/pay.t .. Failed 1/3 subtests
        r"|\.{2,} (?P<word5>Dubious|Failed)(?:,| 0)"
        # test_pay.py::test_full FAILED  [ 50%]
        rf"|::\S.* (?P<word2>{_PYTEST_VERDICT})(?: +\[ *0+%\])?\s*$"
        # 2/10 Test  #2: pay ....***Failed    0.01 sec; 2/5 pay FAIL 0.01s
        r"|^ *0+/0+ Test +#0+: .*(?P<word3>Passed|Failed|Exception|Timeout|Not Run|Skipped)\b"
        r"|^ *0+/0+ .* (?P<word4>OK|FAIL|SKIP|TIMEOUT|ERROR|EXPECTEDFAIL|UNEXPECTEDPASS) +0+\.0+ ?s\b",
        "words": _VERDICTS,
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
    # The time is on a line of its own, and the error some lines below it.
    {
        "name": "oracle",
        "lines": True,
        "pattern": r"^\x1a\s*\n(?:.*\n)*?(?:Errors in file |ORA-0{5}\b)",
        "level": "ERROR",
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
    # [06:25:01] [Server thread/ERROR]: disk full
    {
        "name": "thread and severity",
        "pattern": r"\[[^\]\n]{1,48}/(?P<word>TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\]",
    },
    # [Mar 12 06:25:01] WARNING[4154][C-00000168] chan_sip.c: no
    {
        "name": "asterisk",
        "pattern": r"^\[\x1a\] (?P<word>VERBOSE|DEBUG|NOTICE|WARNING|ERROR)\[0+\]",
    },
    # 2026-03-12 06:25:01.104522+0000 0x6aab     Error       0x0
    {
        "name": "macos",
        "pattern": r"^\x1a +0x[0-9a-f]+ +(?P<word>Default|Info|Debug|Error|Fault) +0x",
        "words": {"Default": "INFO", "Info": "INFO", "Debug": "DEBUG", "Error": "ERROR", "Fault": "FATAL"},
    },
    # [2026.03.12-06.25.01:104][  7]LogNet: Error: no
    {
        "name": "unreal",
        "pattern": r"^\[\x1a\]\[ *0+\]\w+: (?P<word>Fatal|Error|Warning|Display|Verbose): ",
        "words": {"Fatal": "FATAL", "Error": "ERROR", "Warning": "WARNING", "Display": "INFO", "Verbose": "TRACE"},
    },
    # Error,3/12/2026 6:25:01 AM,disk,7,None: what Windows' event viewer saves, in English, German and French
    {
        "name": "event viewer",
        "pattern": r"^\"?(?P<word>\p{Lu}[\p{Ll} ]+)\"?[,;\t]\"?\x1a\"?[,;\t]",
        "words": {
            **dict.fromkeys(("Critical", "Kritisch", "Critique"), "FATAL"),
            **dict.fromkeys(("Error", "Fehler", "Erreur"), "ERROR"),
            **dict.fromkeys(("Warning", "Warnung", "Avertissement"), "WARNING"),
            **dict.fromkeys(("Information", "Informationen", "Informations"), "INFO"),
            **dict.fromkeys(("Audit Success", "Audit Failure", "Verbose"), "INFO"),
        },
    },
    # 2026-03-12-06.25.01.104522+060 I1234E500   LEVEL: Severe
    {"name": "db2", "pattern": r"^\x1a\S* +\S+ +LEVEL: (?P<word>Critical|Severe|Error|Warning|Info|Event)\b"},
    # 2026-03-12T06:25:01.104Z cpu3:2097)WARNING: NMP: no
    {"name": "esxi", "pattern": r"\x1a \S*cpu0+:0+[^)]{0,60}\)(?P<word>WARNING|ALERT): "},
    # 5m12s   Warning   BackOff   pod/web-0   Back-off restarting failed container
    {
        "name": "kubernetes event",
        "pattern": r"^(?:[a-z][\w-]* +)?(?:0+[smhd])+(?: \(x0+ over (?:0+[smhd])+\))? +(?P<word>Normal|Warning)"
        r" +[A-Z]\w+ +\w+/",
        "words": {"Normal": "INFO", "Warning": "WARNING"},
    },
    {"name": "sql server", "pattern": r"^\x1a (?:spid\w+|Logon|Server|Backup) +(?P<word>Error|Warning)\b"},
    # INFO[0003] text, WARN[2026-03-12T06:25:01Z] text: logrus in a terminal
    {
        "name": "logrus",
        "pattern": r"^(?P<word>TRAC|DEBU|INFO|WARN|ERRO|FATA|PANI)\[(?:\d{4,}|\x1a)\]",
        "words": {
            **{"TRAC": "TRACE", "DEBU": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "ERRO": "ERROR", "FATA": "FATAL"},
            **{"PANI": "FATAL"},
        },
    },
    # 2026-03-12 06:25:01.104 UTC,"shop","shop",49,...,LOG,00000,"text"
    {"name": "postgresql csv", "pattern": r"^\x1a,.*,(?P<word>[A-Z]{3,7})\d?,[\dA-Z]{5},"},
    # [Nest] 9  - 03/12/2026, 6:25:01 AM     LOG [Factory] text
    {"name": "log", "pattern": r"\x1a[ \t]+(?P<word>LOG)(?:[ :\[]|$)"},
    # 2026-03-12 06:25:01 fail: Shop.Pay[0]
    {"name": ".net", "pattern": r"\x1a ?(?P<word>trce|dbug|info|warn|fail|crit): [\w.`]+\["},
    # mar/12/2026 06:25:01 system,error,critical text
    {
        "name": "topics",
        "pattern": r"^\x1a (?:[a-z\d!-]+,)+(?P<word>debug|info|warning|error|critical)(?:,[a-z\d!-]+)* ",
    },
    {"name": "mysql", "pattern": r"\x1a\s+\d+ \[(?P<word>Note|System|Warning|ERROR)\]"},
    # sshd[340]: error: the message starts with it.
    {
        "name": "start of the message",
        "pattern": rf"\x1a[\])]?(?:(?:{_TAG}){{1,3}}:|(?:{_TAG}){{0,2}}[ \t]+[\w./-]+\[[^\]\s]*\]:?)[ \t]+"
        rf"(?i:(?P<word>{_ENCLOSED})):(?:\s|$)"
        rf"|\x1a(?:[ \t]+\[[^\]\n]{{0,40}}\])+[ \t]+(?i:(?P<word3>{_ENCLOSED})):(?:\s|$)"
        # without the time, as what syslog carried
        rf"|^(?:[\w./@()<>-]+(?:\[[^\]\s]*\])?: ){{1,3}}(?i:(?P<word2>{_ENCLOSED})):(?:\s|$)",
    },
    {
        "name": "word",
        "pattern": (
            # [error], [core:error], [INFO ], <info>, and |warn| behind a time: a table has such columns
            rf"<(?i:(?P<word5>trace|debug|dbg|info|inf|information|notice|warn|wrn|warning|err|error|critical|fatal))>|\[(?:[\w.-]{{0,24}}:)?\s*(?i:(?P<word>{_ENCLOSED}))\d?\s*(?::[\w.-]{{1,24}})?\]"
            rf"|\x1a[^\n]{{0,60}}\|\s*(?i:(?P<word7>{_ENCLOSED}))\s*\|"
            # right after the time
            rf"|(?:\x1a|{_CLOCK_ONLY})[\])}}\"']*[ \t|:,;/-]*[\[(<|\"']*(?i:(?P<word2>{_PLAIN}))\d?"
            r"(?:[\s\])>|:,;\"'/!]|$)"
            # capitals near it
            rf"|(?:^|[ \t\[(|:<=,\"'*])(?P<word3>{_UPPER})\d?(?:[\s\])>|:,;\"'/!]|$)"
            # production.ERROR:
            rf"|\w\.(?P<word4>{_UPPER}): "
            # error: at the beginning
            rf"|^[\s\[(]*(?i:(?P<word6>{_ENCLOSED}))(?: error|\[\w+\])?:(?:\s|$)"
        ),
    },
    # <134>Mar 12 06:25:01: facility and severity
    {"name": "syslog priority", "pattern": r"^<(?P<number>\d{1,3})>", "numbers": _SYSLOG, "modulo": 8},
]

# ---------------------------------------------------------------------- severities

_WORD_GROUPS = ("word", "word2", "word3", "word4", "word5", "word6", "word7", "word8")
# Levels of a shape that are no severity.
_NONE, UNKNOWN = -1, -2


class SeverityRules:
    """Finds severities in shapes that have a mark in place of the time."""

    def __init__(self, rules: Sequence[Rule]):
        self.rules: list[dict[str, Any]] = []
        allowed = {"name", "pattern", "words", "numbers", "modulo", "level", "keyed", "lines"}
        for rule in rules:
            check_rule("severity", rule, allowed)
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
        self.any_pattern = "|".join(f"(?:{without_names(rule['pattern'])})" for rule in self.rules)

    def find(self, texts: pa.Array) -> dict[str, np.ndarray]:
        """Finds severities.

        Args:
            texts: shapes with a mark in place of the time, after a byte that tells blocks (`_with_kind`).

        Returns:
            Arrays `(texts,)`: `level`, int8, a severity, or -1 where a rule decides against one, or -2; `rule`, the
            rule that finds a number, else -1; `start` and `size` of the number, and `text_end` of all that was found.
        """
        level = np.full(len(texts), UNKNOWN, dtype=np.int8)
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
        texts = TextBytes(texts).cut(1, 1 << 30)
        line_end = pc.find_substring(texts, "\n").to_numpy(zero_copy_only=False)
        lines = TextBytes(texts).cut(0, np.where(line_end < 0, 1 << 30, line_end))
        open_rows = np.arange(len(texts))
        if len(texts) > MANY_TEXTS:  # one pass over all pays
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
            spans, _ = group_spans(some, rule["pattern"], (*_WORD_GROUPS, "number"))
            done = np.zeros(len(rows), dtype=bool)
            if rule["has_word"]:
                word = spans[np.arange(len(rows)), (spans[:, :-1, 1] > 0).argmax(axis=1)]
                written = TextBytes(some).cut(word[:, 0], word[:, 1])
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
        entries: TextBytes,
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


__all__ = ["LEVELS", "SEVERITY_RULES"]
