"""What transports put around lines comes off, what merely looks like it stays, and no text gets lost."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe import unwrapping_logmoe
from logmoe.rules_logmoe import SEVERITY_WORDS
from logmoe.terminal_logmoe import strip_colour, visible
from logmoe.transports_logmoe import TRANSPORTS
from logmoe.unwrapping_logmoe import InnerLines, Unwrapper

LEVELS = list(SEVERITY_WORDS)
FORMATS = Unwrapper().formats


def array(lines) -> pa.Array:
    return pa.array(list(lines), pa.large_string())


def unwrap(*lines: str) -> InnerLines:
    return Unwrapper().unwrap(array(lines))


def formats(inner: InnerLines) -> list[str]:
    return [FORMATS[number] for number in inner.format]


def severities(inner: InnerLines) -> list[str | None]:
    return [LEVELS[level] if level >= 0 else None for level in inner.severity]


# One row per line that is recognised by itself: format, line, inner text, time, severity.
WRAPPED = [
    (
        "cri",
        "2026-03-12T06:25:01.104522123Z stdout F starting worker pool size=8",
        "starting worker pool size=8",
        "2026-03-12T06:25:01.104522123Z",
        None,
    ),
    (
        "cri",
        "2026-03-12T07:25:01.1+01:00 stderr F \tat demo.Pool.take(Pool.java:51)",
        "\tat demo.Pool.take(Pool.java:51)",
        "2026-03-12T07:25:01.1+01:00",
        None,
    ),
    ("cri", "2026-03-12T06:25:01.104Z stderr F", "", "2026-03-12T06:25:01.104Z", None),
    ("cri", "2026-03-12T06:25:01Z stdout F:app a F b", "a F b", "2026-03-12T06:25:01Z", None),
    ("cri", "2026-03-12T06:25:01Z stdout F  two spaces", " two spaces", "2026-03-12T06:25:01Z", None),
    (
        "docker-json",
        r'{"log":"listening on :8080\n","stream":"stdout","time":"2026-03-12T06:25:01.104522123Z"}',
        "listening on :8080",
        "2026-03-12T06:25:01.104522123Z",
        None,
    ),
    (
        "docker-json",
        r'{ "time" : "2026-03-12T06:25:01Z", "stream" : "stderr" , "log" : "a \"b\" c:\\d\n" }',
        r'a "b" c:\d',
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "docker-json",
        r'{"log":"\tat a\/b \u00e9\u4e2d \ud83d\ude00 \\n\r\n","stream":"stderr","time":"2026-03-12T06:25:01Z"}',
        "\tat a/b é中 😀 \\n",
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "docker-json",
        r'{"log":"x\n","attrs":{"tag":"web","log":"no"},"stream":"stdout","time":"2026-03-12T06:25:01Z"}',
        "x",
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "docker-json",
        r'{"log":"half \ud83d of a pair\n","stream":"stdout","time":"2026-03-12T06:25:01Z"}',
        "half \ufffd of a pair",
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "docker-json",
        r'{"log":"\u001b[31mred\u001b[0m 10%\r100%\n","stream":"stdout","time":"2026-03-12T06:25:01Z"}',
        "100%",
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "journal-json",
        '{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1773296701104522","PRIORITY":"4","MESSAGE":"disk 91%"}',
        "disk 91%",
        "1773296701104522",
        "WARNING",
    ),
    (
        "journal-json",
        r'{"MESSAGE" : "one\n  two \"three\"", "PRIORITY" : "2", "__REALTIME_TIMESTAMP" : "1773296701104522"}',
        'one\n  two "three"',
        "1773296701104522",
        "FATAL",
    ),
    (
        "journal-json",
        '{"MESSAGE":[27,91,51,49,109,104,195,169,13],"PRIORITY":"7","__REALTIME_TIMESTAMP":"1773296701104522"}',
        "hé",
        "1773296701104522",
        "DEBUG",
    ),
    ("journal-json", '{"MESSAGE":[300],"__REALTIME_TIMESTAMP":"1773296701104522"}', "[300]", "1773296701104522", None),
    (
        "journal-json",
        '{"MESSAGE":["a","b]"],"__REALTIME_TIMESTAMP":"1773296701104522","PRIORITY":"5"}',
        "a\nb]",
        "1773296701104522",
        "INFO",
    ),
    (
        "journal-json",
        '{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1773296701104522","PRIORITY":"3"}',
        "",
        "1773296701104522",
        "ERROR",
    ),
    (
        "syslog",
        "<34>Mar 12 06:25:01 edge1 sshd[812]: Failed password for root",
        "sshd[812]: Failed password for root",
        "Mar 12 06:25:01",
        "FATAL",
    ),
    (
        "syslog",
        "<13>Mar  2 06:25:01 cron[9]: (root) CMD (run-parts)",
        "cron[9]: (root) CMD (run-parts)",
        "Mar  2 06:25:01",
        "INFO",
    ),
    ("syslog", "<11>Mar  2 06:25:01 edge1 app: a: b", "app: a: b", "Mar  2 06:25:01", "ERROR"),
    ("syslog", "<12>Mar  2 06:25:01 edge1 no tag here", "no tag here", "Mar  2 06:25:01", "WARNING"),
    ("syslog", "<15>2026-03-12T06:25:01.1+00:00 edge1 app[9]: x", "app[9]: x", "2026-03-12T06:25:01.1+00:00", "DEBUG"),
    ("syslog", "<6>[   12.345678] usb 1-1: new device", "[   12.345678] usb 1-1: new device", None, "INFO"),
    (
        "syslog",
        "Mar 12 06:25:01 edge1 sshd[812]: Accepted publickey for deploy",
        "sshd[812]: Accepted publickey for deploy",
        "Mar 12 06:25:01",
        None,
    ),
    (
        "syslog",
        "2026-03-12T06:25:01.104522+00:00 edge1 postfix/smtpd[812]: connect from unknown",
        "postfix/smtpd[812]: connect from unknown",
        "2026-03-12T06:25:01.104522+00:00",
        None,
    ),
    ("syslog", "2026-03-12T06:25:01+0100 fe80::1 app[9]: x", "app[9]: x", "2026-03-12T06:25:01+0100", None),
    ("syslog", "Thu 2026-03-12 06:25:01 UTC edge1 app[9]: x", "app[9]: x", "Thu 2026-03-12 06:25:01 UTC", None),
    ("syslog", "Mar 12 06:25:01.104522 edge1 app[9]:   indented", "  indented", "Mar 12 06:25:01.104522", None),
    (
        "syslog-5424",
        '<165>1 2026-03-12T06:25:01.003Z edge1 evntslog 12 ID47 [a@1 iut="3" q="\\"]"][b@2 x="1"] An event',
        "evntslog[12]: An event",
        "2026-03-12T06:25:01.003Z",
        "INFO",
    ),
    (
        "syslog-5424",
        "<34>1 2026-03-12T06:25:01.003Z edge1 su - ID47 - \ufeff'su root' failed",
        "su: 'su root' failed",
        "2026-03-12T06:25:01.003Z",
        "FATAL",
    ),
    ("syslog-5424", "<11>1 - - - - - - boom", "boom", None, "ERROR"),
    (
        "syslog-5424",
        '<11>1 2026-03-12T06:25:01Z edge1 app 9 - [a@1 code="7"]',
        'app[9]: [a@1 code="7"]',
        "2026-03-12T06:25:01Z",
        "ERROR",
    ),
    (
        "gitlab",
        "2026-03-12T06:25:01.104522Z 00O $ make test",
        "$ make test",
        "2026-03-12T06:25:01.104522Z",
        None,
    ),
    ("gitlab", "2026-03-12T06:25:01.104522Z 01E", "", "2026-03-12T06:25:01.104522Z", None),
    (
        "gitlab",
        "section_start:1773296701:prepare_executor\r\x1b[0K\x1b[0K\x1b[36;1mPreparing\x1b[0;m",
        "Preparing",
        "1773296701",
        None,
    ),
    ("gitlab", "section_end:1773296701:prepare_executor\r\x1b[0K", "", "1773296701", None),
    (
        "gitlab",
        "section_end:1773296701:a\r\x1b[0Ksection_start:1773296702:b[collapsed=true]\r\x1b[0KRunning",
        "Running",
        "1773296702",
        None,
    ),
    (
        "gitlab",
        "2026-03-12T06:25:01.104522Z 00O section_start:1773296701:script\r\x1b[0KRunning",
        "Running",
        "1773296701",
        None,
    ),
    # within one another
    (
        "cri",
        r'2026-03-12T06:25:02Z stderr F {"log":"\u001b[31mboom\n","stream":"stderr","time":"2026-03-12T06:25:01Z"}',
        "boom",
        "2026-03-12T06:25:01Z",
        None,
    ),
    (
        "docker-json",
        r'{"log":"<11>Mar 12 06:25:01 edge1 app[9]: boom\n","stream":"stdout","time":"2026-03-12T06:25:02Z"}',
        "app[9]: boom",
        "Mar 12 06:25:01",
        "ERROR",
    ),
    ("cri", "\x1b[2m2026-03-12T06:25:01Z\x1b[0m stdout F \x1b[31mX\x1b[0m y", "X y", "2026-03-12T06:25:01Z", None),
    ("cri", "2026-03-12T06:25:01Z stdout F 10%\r55%\r100%", "100%", "2026-03-12T06:25:01Z", None),
]

# Lines that no transport wrapped, alone or all of them together.
PLAIN = {
    "JSON of a program": [
        '{"level":"info","msg":"started","time":"2026-03-12T06:25:01Z"}',
        '{"log":"a","level":"info","time":"2026-03-12T06:25:01Z"}',
        '{"MESSAGE":"x","PRIORITY":"3"}',
        '{"message":"__CURSOR","MESSAGE":"x"}',
        r'{"log":"bad escape \x","stream":"stdout","time":"2026-03-12T06:25:01Z"}',
        '{"log":"no end',
    ],
    "program's own times": [
        "2026-03-12T06:25:01.104Z ERROR demo::pool: closed",
        "2026-03-12T06:25:01.104522123Z  INFO demo: ok",
        "2026-03-12T06:25:01.104522123Z  WARN demo: slow",
        "2026-03-12T06:25:02.104522123Z ERROR demo: boom",
    ],
    "looks like CRI": ["2026-03-12T06:25:01Z stdout X a", "2026-03-12T06:25:01Z stdin F a", "stdout F a"],
    "a table": ["name  | state", "------+------", "app   | up", "app   | down", "db    | up", "db    | down"],
    "columns of a program": ["INFO  | a.b | started", "INFO  | a.b | x", "ERROR | a.b | y", "INFO  | a.b | z"],
    "numbers before a bar": ["1 | a", "1 | b", "2 | c", "2 | d"],
    "bars here and there": ["app | a", "x", "y", "app | b", "z", "app | c"],
    "a program's pods": ["[pod/web-0] ready", "[pod/web-0] ready", "[pod/web-1] ready"],
    "severity in the place of a host": ["Mar 12 06:25:01 ERROR main: boom", "Mar 12 06:25:02 ERROR main: boom"] * 2,
    "severity in the place of a host, with a number": ["Mar 12 06:25:01 INFO worker[9]: x"],
    "an angle bracket": ["<html>", "<1> item", "<34>", "<12>Mar 12 nothing"],
    "journal fields outside a record": ["MESSAGE=x", "PRIORITY=3"],
    "looks like GitLab": ["section_start: x", "2026-03-12T06:25:01Z 0xO x"],
    "an attacker": ["__CURSOR", "[pod/", "{", "<0", "section_", "Mar ", "2026-", "\x1b", "\r", "\x9b"],
}

# Logs that are recognised as a whole: format, lines, inner texts.
LOGS = {
    "Compose": (
        "compose",
        [
            "app-1  | 2026-03-12 06:25:01 ERROR boom",
            "app-1  | Traceback (most recent call last):",
            'app-1  |   File "a.py", line 3, in f',
            "db-1   | ready",
            "app-1  | KeyError: 1",
            "app-1  |",
            "db-1   | a | b",
        ],
        [
            "2026-03-12 06:25:01 ERROR boom",
            "Traceback (most recent call last):",
            '  File "a.py", line 3, in f',
            "ready",
            "KeyError: 1",
            "",
            "a | b",
        ],
    ),
    "Compose in colour": (
        "compose",
        ["\x1b[36mapp_1  | \x1b[0m\x1b[31ma\x1b[0m", "\x1b[33mdb_1   | \x1b[0mb"] * 2,
        ["a", "b"] * 2,
    ),
    "Compose with timestamps": (
        "compose",
        ["app-1  | 2026-03-12T06:25:01.104522123Z x", "app-1  | 2026-03-12T06:25:01.104522124Z \tat y"],
        ["x", "\tat y"],
    ),
    "kubectl logs --prefix": (
        "kubectl",
        ["[pod/web-7d4b9c-x2k9q/app] started", "[pod/web-7d4b9c-x2k9q/app]   indented", "[pod/db-0/pg] ready"],
        ["started", "  indented", "ready"],
    ),
    "kubectl logs --prefix --timestamps": (
        "kubectl",
        [
            "[pod/web-0/app] 2026-03-12T06:25:01.104522123Z 2026-03-12 06:25:01 INFO a",
            "[pod/web-0/app] 2026-03-12T06:25:01.10452213Z b",
        ],
        ["2026-03-12 06:25:01 INFO a", "b"],
    ),
    "kubectl logs --timestamps": (
        "timestamps",
        [
            "2026-03-12T06:25:01.104522123Z Traceback (most recent call last):",
            '2026-03-12T06:25:01.104522124Z   File "a.py", line 3, in f',
            "2026-03-12T06:25:01.10452Z KeyError: 1",
            "2026-03-12T06:25:01.104522126Z",
        ],
        ["Traceback (most recent call last):", '  File "a.py", line 3, in f', "KeyError: 1", ""],
    ),
    "GitHub Actions": (
        "github",
        [
            "2026-03-12T06:25:01.1045221Z ##[group]Run npm test",
            "2026-03-12T06:25:01.1045222Z \x1b[36;1mnpm test\x1b[0m",
            "2026-03-12T06:25:01.1045223Z ##[endgroup]",
            "2026-03-12T06:25:01.1045224Z Error: boom",
            "2026-03-12T06:25:01.1045225Z     at Object.<anonymous> (/x.js:1:2)",
            "2026-03-12T06:25:01.1045226Z ##[error]Process completed with exit code 1.",
            "2026-03-12T06:25:01.1045227Z ##[warning]Node 16 is deprecated",
        ],
        [
            "Run npm test",
            "npm test",
            "",
            "Error: boom",
            "    at Object.<anonymous> (/x.js:1:2)",
            "Process completed with exit code 1.",
            "Node 16 is deprecated",
        ],
    ),
    "gh run view --log": (
        "github",
        [
            "build\tSet up job\t\ufeff2026-03-12T06:25:01.1045221Z ##[group]Runner",
            "build\tSet up job\t2026-03-12T06:25:01.1045221Z x y",
        ],
        ["Runner", "x y"],
    ),
    "syslog without process numbers": (
        "syslog",
        [
            "Mar 12 06:25:01 edge1 kernel: [ 12.3] usb 1-1: new device",
            "Mar 12 06:25:02 edge1 app: x",
            "Mar 12 06:25:03 edge1 last message repeated 2 times",
            "Mar 12 06:25:04 edge1 -- MARK --",
            "Mar 12 06:25:05 edge1 cron[9]: y",
        ],
        ["kernel: [ 12.3] usb 1-1: new device", "app: x", "last message repeated 2 times", "-- MARK --", "cron[9]: y"],
    ),
}


@pytest.mark.parametrize(("name", "line", "text", "time", "severity"), WRAPPED, ids=[line[1][:60] for line in WRAPPED])
def test_a_strongly_marked_line_is_unwrapped_by_itself(name, line, text, time, severity):
    inner = unwrap(line)
    assert (formats(inner), inner.text.to_pylist()) == ([name], [text])
    assert (inner.time.to_pylist(), severities(inner)) == ([time], [severity])
    assert inner.is_wrapped.tolist() == [True]


def test_strongly_marked_lines_of_all_formats_may_be_mixed():
    inner = unwrap(*(line for _, line, *_ in WRAPPED for line in (line, "plain text", "")))
    assert inner.text.to_pylist()[::3] == [text for _, _, text, *_ in WRAPPED]
    assert inner.text.to_pylist()[1::3] == ["plain text"] * len(WRAPPED)
    assert formats(inner)[::3] == [name for name, *_ in WRAPPED]
    assert not inner.is_wrapped[1::3].any()


@pytest.mark.parametrize("lines", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("times", [1, 700])
def test_what_only_looks_wrapped_stays(lines, times):
    inner = unwrap(*lines * times)
    assert not inner.is_wrapped.any()
    assert inner.text.to_pylist() == visible(strip_colour(array(lines * times))).to_pylist()
    assert not inner.stream.any()
    assert set(inner.severity) == {-1}
    assert inner.time.null_count == len(inner.time)


@pytest.mark.parametrize(("name", "lines", "texts"), LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("times", [1, 700])
def test_a_log_whose_lines_look_alike_is_unwrapped(name, lines, texts, times):
    inner = unwrap(*lines * times)
    assert inner.text.to_pylist() == texts * times
    assert set(formats(inner)) == {name}


@pytest.mark.parametrize(("name", "lines", "texts"), LOGS.values(), ids=LOGS)
def test_a_log_may_change_its_format_half_way(name, lines, texts):
    plain = [f"2026-03-12 06:25:01 INFO request {number}" for number in range(3000)]
    wrapped = lines * (3000 // len(lines))
    inner = unwrap(*plain, *wrapped, *plain)
    assert inner.text.to_pylist()[:3000] == inner.text.to_pylist()[-3000:] == plain
    # Where the format changes, a stretch of a thousand lines may hold too few wrapped ones.
    assert inner.is_wrapped[3000:-3000].mean() > 0.65
    unwrapped = dict(zip(lines, texts, strict=True))
    for line, text, is_wrapped in zip(
        wrapped, inner.text[3000:-3000].to_pylist(), inner.is_wrapped[3000:], strict=False
    ):
        assert not is_wrapped or text == unwrapped[line]


def test_of_long_lines_the_beginning_is_looked_at_again(monkeypatch):
    """Earlier lines are kept, so that what is wrapped does not hang on chunks, but not whole."""
    monkeypatch.setattr(unwrapping_logmoe, "LONGEST_RECENT", 100)
    prose = [f"{'so it goes ' * 50}{number}" for number in range(60)]
    table = ["web  | started up and serves", "web  | 2026-03-12 06:25:01 ready"] * 8
    for lines in (prose, []):
        unwrapper, found = Unwrapper(), []
        for chunk in filter(None, (lines, *(table[start : start + 4] for start in range(0, 16, 4)))):
            found += unwrapper.unwrap(pa.array(chunk, pa.large_string())).text.to_pylist()
            assert max(len(line) for kept in unwrapper._recent.values() for line in kept.to_pylist()) <= 100
        assert (found[-1] == table[-1]) == bool(lines)


def test_a_table_whose_rows_differ_is_no_log():
    assert not unwrap("app  | up", "db   | down", "web  | up", "mail | up").is_wrapped.any()
    assert not unwrap("app  | 2026-03-12 06:25:01", "db   | 2026-03-12 06:25:01").is_wrapped.any()


def test_a_time_after_the_bar_makes_up_for_few_lines():
    inner = unwrap("app | 2026-03-12 06:25:01 ERROR boom", "db  | 2026-03-12 06:25:01.1 UTC [9] LOG:  ok")
    assert inner.text.to_pylist() == ["2026-03-12 06:25:01 ERROR boom", "2026-03-12 06:25:01.1 UTC [9] LOG:  ok"]


def test_severities_of_marks():
    inner = unwrap(*LOGS["GitHub Actions"][1])
    assert severities(inner) == [None, None, None, None, None, "ERROR", "WARNING"]
    assert inner.time.to_pylist()[5] == "2026-03-12T06:25:01.1045226Z"


def test_priorities_of_syslog():
    inner = unwrap(*(f"<{24 + priority}>Mar 12 06:25:01 edge1 app[9]: x" for priority in range(8)))
    assert severities(inner) == ["FATAL", "FATAL", "FATAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG"]


# ---------------------------------------------------------------------- streams, joined lines, records


def test_a_stream_is_where_a_line_came_from():
    inner = unwrap(
        "2026-03-12T06:25:01Z stdout F a",
        "2026-03-12T06:25:01Z stderr F b",
        "2026-03-12T06:25:01Z stdout F c",
        "not wrapped",
        '{"log":"d\\n","stream":"stdout","time":"2026-03-12T06:25:01Z"}',
    )
    first, second, third, plain, docker = inner.stream.tolist()
    assert first == third == plain
    assert len({first, second, docker, 0}) == 4


def test_services_and_processes_are_streams():
    inner = unwrap(*LOGS["Compose"][1])
    app, db = inner.stream[0], inner.stream[3]
    assert inner.stream.tolist() == [app, app, app, db, app, app, db]
    inner = unwrap(
        *(f"Mar 12 06:25:01 {host} app[{pid}]: x" for host, pid in (("a", 1), ("a", 2), ("b", 1), ("a", 1)))
    )
    assert len(set(inner.stream.tolist())) == 3
    assert inner.stream[0] == inner.stream[3]


def test_streams_within_streams():
    line = '{} stdout F {{"log":"a\\n","stream":"{}","time":"2026-03-12T06:25:01Z"}}'
    inner = unwrap(*(line.format("2026-03-12T06:25:01Z", stream) for stream in ("stdout", "stderr", "stdout")))
    assert inner.stream[0] == inner.stream[2] != inner.stream[1]


def test_pieces_of_a_line_are_joined_within_their_stream():
    lines = [
        "2026-03-12T06:25:01Z stdout P one ",
        "2026-03-12T06:25:01Z stderr F other",
        "2026-03-12T06:25:01Z stdout P two ",
        "2026-03-12T06:25:01Z stdout F three",
        "2026-03-12T06:25:01Z stdout F four",
    ]
    inner = unwrap(*lines)
    assert inner.text.to_pylist() == ["one ", "other", "two ", "three", "four"]
    assert inner.joins.tolist() == [True, False, True, False, False]
    assert inner.joined.tolist() == [False, False, True, True, False]
    for cut in range(len(lines) + 1):
        unwrapper = Unwrapper()
        chunks = [unwrapper.unwrap(array(chunk)) for chunk in (lines[:cut], lines[cut:])]
        assert np.concatenate([chunk.joined for chunk in chunks]).tolist() == inner.joined.tolist()


def test_gitlab_marks_the_later_piece():
    inner = unwrap(
        "2026-03-12T06:25:01.104522Z 00O one",
        "2026-03-12T06:25:01.104522Z 01O other",
        "2026-03-12T06:25:01.104522Z 00O+ two",
    )
    assert inner.text.to_pylist() == ["one", "other", " two"]
    assert inner.joins.tolist() == [True, False, False]
    assert inner.joined.tolist() == [False, False, True]


def test_docker_joins_a_full_piece_that_does_not_end_in_a_newline():
    """Shorter ones are whole: a prompt, the last words of a process, a tool that drops newlines."""
    line = '{{"log":"{}","stream":"stdout","time":"2026-03-12T06:25:01Z"}}'.format
    full = 16 * 1024
    inner = unwrap(
        line(r"a\n"),
        line("b" * full),
        line(r"c\n"),
        line("é" * (full // 2 - 1) + r"\\n"),  # by bytes, not by characters or as escaped
        line("d" * (full - 1)),
        line(r"\"" * (full - 1)),
        line("e" * full + r"\r\n"),
        line("f"),
        line("g" * full),
    )
    assert inner.text[3].as_py().endswith(r"é\n")
    assert inner.joins.tolist() == [False, True, False, True, False, False, False, False, True]


def test_a_record_starts_an_entry_unless_it_could_continue_one():
    inner = unwrap(
        "Mar 12 06:25:01 edge1 app[9]: boom",
        "Mar 12 06:25:01 edge1 app[9]: Traceback (most recent call last):",
        'Mar 12 06:25:01 edge1 app[9]:   File "a.py", line 3, in f',
        "Mar 12 06:25:01 edge1 app[9]: KeyError: 1",
        "Mar 12 06:25:01 edge1 app[9]: again",
        "2026-03-12T06:25:01Z stdout F a",
        '{"MESSAGE":"x","__REALTIME_TIMESTAMP":"1"}',
    )
    assert inner.starts.tolist() == [True, False, False, False, True, False, True]
    assert inner.text[2].as_py() == '  File "a.py", line 3, in f'
    assert inner.text[3].as_py() == "app[9]: KeyError: 1"
    assert inner.message[3].as_py() == "KeyError: 1"


def test_a_journal_record_of_several_lines_is_one_entry():
    records = [
        ["__CURSOR=s=1", "__REALTIME_TIMESTAMP=1773296701104522", "PRIORITY=6", "_PID=8", "MESSAGE=a=b  c", "", ""],
        ["__REALTIME_TIMESTAMP=1773296701104523", "PRIORITY=3", "MESSAGE=boom", "_HOSTNAME=MESSAGE=no"],
        ["__CURSOR=s=3", "MESSAGE=third", "not a field"],
    ]
    inner = unwrap("before", *(line for record in records for line in record))
    assert [(row, text) for row, text in enumerate(inner.text.to_pylist()) if text] == [
        (0, "before"),
        (1, "a=b  c"),
        (8, "boom"),
        (12, "third"),
        (14, "not a field"),
    ]
    assert np.flatnonzero(inner.starts).tolist() == [1, 8, 12]
    assert np.flatnonzero(~inner.is_wrapped).tolist() == [0, 6, 7, 14]
    assert inner.time[1].as_py() == "1773296701104522"
    assert [severities(inner)[row] for row in (1, 8, 12)] == ["INFO", "ERROR", None]


@pytest.mark.parametrize(
    "message", ["one\n  two", "a" * 10, "KEY=value\n\nMESSAGE=x", "é" * 70 + "\nx", "a\n" * 100 + "b"]
)
def test_a_journal_value_of_several_lines(message):
    length = len(message.encode()).to_bytes(8, "little").decode("utf-8", "replace")
    dump = "COREDUMP\n\x03" + "\0" * 7 + "x\ny"
    log = f"__CURSOR=s=1\n{dump}\nMESSAGE\n{length}{message}\nPRIORITY=2\n\n__CURSOR=s=2\nMESSAGE=z"
    inner = unwrap(*log.split("\n"))
    starts = np.flatnonzero(inner.starts)
    assert [inner.text[int(row)].as_py() for row in starts] == [message, "z"]
    assert sum(bool(text) for text in inner.text.to_pylist()) == 2
    assert severities(inner)[0] == "FATAL"


def test_a_bare_word_in_a_journal_record_swallows_nothing():
    inner = unwrap("__CURSOR=s=1", "MESSAGE=a", "ERROR", "something else", "and more")
    assert inner.text.to_pylist() == ["a", "", "ERROR", "something else", "and more"]


# ---------------------------------------------------------------------- colours and carriage returns


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mERROR\x1b[0m x", "ERROR x"),
        ("\x1b[38;5;208mid\x1b[m=7", "id=7"),
        ("\x1b[38:2::1:2:3mx", "x"),
        ("\x1b[?25l\x1b[2Ja\x1b[?25h", "a"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b]8;;http://x.example\x07link\x1b]8;;\x07", "link"),
        ("\x1b]8;id=1;http://x.example\x1b\\link\x1b]8;;\x1b\\ after", "link after"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]0;no end", "0;no end"),
        ("\x1b(B\x1b[mtext\x1b7\x1b8\x1b=", "text"),
        ("\x1bPq#0\x1b\\text", "text"),
        ("a\x1b", "a"),
        ("a\x1b[", "a"),
        ("a\x1b[31", "a"),
        ("中\x1b[31m文é\x1b[0m", "中文é"),
        ("[31m is no colour", "[31m is no colour"),
    ],
)
def test_colours_go_and_text_stays(text, plain):
    assert strip_colour(array([text, "x", text])).to_pylist() == [plain, "x", plain]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10%\r55%\r100%", "100%"),
        ("text\r", "text"),
        ("text\r\r", "text"),
        ("a\rtext\r  ", "text"),
        ("text\r\x1b[K", "text"),
        ("a\x1b[2K\x1b[1Gb", "b"),
        ("\x1b[2K\x1b[1G\x1b[31mx\x1b[0m", "\x1b[31mx\x1b[0m"),
        ("a\x1b[Kb", "a\x1b[Kb"),
        ("1%\r2%\nx\r\n3%\r4%", "2%\nx\n4%"),
        ("\r", ""),
    ],
)
def test_a_carriage_return_starts_the_visible_text_anew(text, shown):
    assert visible(array(["x", text])).to_pylist() == ["x", shown]


def test_lines_without_control_characters_are_not_copied():
    lines = array(["plain text", "中文 日志", "\ttab"])
    assert strip_colour(lines) is visible(lines) is lines
    assert unwrap("plain text", "中文").text.to_pylist() == ["plain text", "中文"]


def test_control_characters_are_found_wherever_they_are():
    lines = array(["x" * 1000] * 1000)
    for row in (0, 262, 999):
        for control in ("\x1b[31m", "\x9b31m"):
            for place in (0, 143, 144, 1000):
                some = lines.to_pylist()
                some[row] = some[row][:place] + control + some[row][place:]
                assert strip_colour(array(some)).equals(lines)
                assert strip_colour(array(some).slice(1)).equals(lines.slice(1))


# ---------------------------------------------------------------------- properties

STAMP = "2026-03-12T06:25:01.1045221"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x1b\x90\x98\x9b\x9d\x9e\x9f"), max_size=30)
WRAPPERS = {
    "cri": lambda text, number: f"{STAMP}22Z {('stdout', 'stderr')[number % 2]} F {text}",
    "docker-json": lambda text, number: json.dumps({"log": text + "\n", "stream": "stdout", "time": f"{STAMP}Z"}),
    "docker-json, as it is": lambda text, number: json.dumps(
        {"time": f"{STAMP}Z", "stream": "stderr", "log": text + "\n"}, ensure_ascii=False
    ),
    "journal-json": lambda text, number: json.dumps(
        {"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1773296701104522", "MESSAGE": text, "PRIORITY": "6"}
    ),
    "journal-json, bytes": lambda text, number: json.dumps(
        {"MESSAGE": list(text.encode()), "__REALTIME_TIMESTAMP": "1773296701104522"}
    ),
    "syslog": lambda text, number: f"<14>Mar 12 06:25:01 edge1 app[{number}]: {text}",
    "syslog without priority": lambda text, number: f"Mar 12 06:25:01 edge1 app[{number}]: {text}",
    "compose": lambda text, number: f"app-{number % 3}  | {text}",
    "kubectl": lambda text, number: f"[pod/web-{number % 3}/app] {text}",
    "github": lambda text, number: f"{STAMP}Z {text}",
    "gitlab": lambda text, number: f"{STAMP[:-1]}Z 00O {text}",
    "cri, docker-json": lambda text, number: WRAPPERS["cri"](WRAPPERS["docker-json"](text, number), number),
    "compose, colour": lambda text, number: f"\x1b[36mapp-1  | \x1b[0m\x1b[31m{text}\x1b[0m",
}


def wrap(name: str, texts: list[str]) -> list[str]:
    head = ["##[group]Run"] if name == "github" else ["first"] * 8
    return [WRAPPERS[name](text, number) for number, text in enumerate(head + texts)]


@pytest.mark.parametrize("name", WRAPPERS)
@settings(deadline=None, max_examples=60)
@given(texts=st.lists(TEXT.map(lambda text: "x " + text), min_size=1, max_size=20))
def test_unwrapping_a_wrapped_log_gives_the_log(name, texts):
    inner = unwrap(*wrap(name, texts))
    assert inner.message.to_pylist()[-len(texts) :] == texts
    assert inner.is_wrapped.all()


@pytest.mark.parametrize("name", WRAPPERS)
@settings(deadline=None, max_examples=30)
@given(texts=st.lists(TEXT.map(lambda text: "x " + text), min_size=1, max_size=20), data=st.data())
def test_chunks_do_not_matter(name, texts, data):
    lines = wrap(name, texts)
    head = len(lines) - len(texts)
    whole = unwrap(*lines)
    cuts = sorted(data.draw(st.lists(st.integers(head, len(lines)), max_size=5)))
    unwrapper = Unwrapper()
    chunks = [
        unwrapper.unwrap(array(lines[begin:end])) for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)
    ]
    for field in ("text", "message", "time"):
        assert pa.concat_arrays([getattr(chunk, field) for chunk in chunks]).equals(getattr(whole, field))
    for field in ("stream", "severity", "joins", "joined", "starts", "is_wrapped", "format"):
        assert np.concatenate([getattr(chunk, field) for chunk in chunks]).tolist() == getattr(whole, field).tolist()


def test_lines_may_arrive_one_by_one():
    for name in WRAPPERS:
        unwrapper = Unwrapper()
        lines = wrap(name, [f"text {number}" for number in range(50)])
        chunks = [unwrapper.unwrap(array([line])) for line in lines]
        assert [chunk.message[0].as_py() for chunk in chunks[-50:]] == [f"text {number}" for number in range(50)], name


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=8), st.data())
def test_a_journal_export_in_chunks(texts, data):
    lines = []
    for text in texts:
        lines += ["__CURSOR=s=1", "__REALTIME_TIMESTAMP=1773296701104522", f"MESSAGE={text}", "PRIORITY=3", ""]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=6)))
    unwrapper = Unwrapper()
    inner = [
        unwrapper.unwrap(array(lines[begin:end])) for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)
    ]
    assert [text for chunk in inner for text in chunk.text.to_pylist() if text] == texts
    assert sum(int(chunk.starts.sum()) for chunk in inner) == len(texts)
    assert [level for chunk in inner for level in chunk.severity.tolist() if level >= 0] == [4] * len(texts)
    is_wrapped = np.concatenate([chunk.is_wrapped for chunk in inner])
    assert is_wrapped.tolist() == [bool(line) for line in lines]


PIECES = st.sampled_from(
    [line[:cut] for _, line, *_ in WRAPPED for cut in (None, 12, 35)]
    + [line for _, lines, _ in LOGS.values() for line in lines]
    + [
        "__CURSOR=s=1",
        "MESSAGE",
        "MESSAGE=x",
        "\x03" + "\0" * 7 + "abc",
        "\0" * 7 + "x",
        "",
        " ",
        "\x1b[",
        "\x1b]8;;",
        "\r",
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(PIECES, TEXT, st.text(st.characters(codec="utf-8", exclude_characters="\n"))), max_size=30))
def test_any_text_is_taken(lines):
    unwrapper = Unwrapper()
    for _ in range(2):
        inner = unwrapper.unwrap(array(lines))
        for field in vars(inner).values():
            assert len(field) == len(lines)
        assert inner.text.null_count == inner.message.null_count == 0
        inner.text.validate(full=True)
    strip_colour(array(lines)).validate(full=True)
    visible(array(lines)).validate(full=True)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(PIECES, st.text(st.characters(codec="utf-8", exclude_characters="\n"))), max_size=20))
def test_stripping_twice_changes_nothing_more_of_plain_text(lines):
    once = visible(strip_colour(array(lines)))
    assert visible(once).equals(once)


def same_lines(inner: InnerLines, other: InnerLines) -> None:
    for name, column in vars(inner).items():
        expected = getattr(other, name)
        assert column.tolist() == expected.tolist() if isinstance(column, np.ndarray) else column.equals(expected), (
            name
        )


LOG = st.one_of(
    st.lists(PIECES, max_size=8),
    st.sampled_from([lines for _, lines, _ in LOGS.values()]),
    st.sampled_from(list(PLAIN.values())),
    st.lists(TEXT, max_size=4),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(LOG, max_size=6))
def test_many_logs_at_once_are_unwrapped_as_each_alone(logs):
    """What was learned of one log, wrapped or plain, says nothing of the next; an empty log shifts nothing."""
    together = Unwrapper().unwrap_logs(
        array(line for log in logs for line in log), np.cumsum([len(log) for log in logs], dtype=np.int64)
    )
    alone = [unwrap(*log) for log in logs]
    same_lines(together, InnerLines.concatenate(alone or [unwrap()]))


def test_wrapped_logs_among_plain_ones():
    compose, plain = LOGS["Compose"][1], ["app-1  | x", "2026-03-12 06:25:01 INFO x", "\x1b[31mred"]
    docker = [r'{"log":"cut","stream":"stdout","time":"2026-03-12T06:25:01Z"}']
    logs = [plain, compose, [], plain, docker, docker, ["x"], LOGS["syslog without process numbers"][1]]
    ends = np.cumsum([len(log) for log in logs])
    inner = Unwrapper().unwrap_logs(array(line for log in logs for line in log), ends)
    texts = [inner.text[begin:end].to_pylist() for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    shown = ["app-1  | x", "2026-03-12 06:25:01 INFO x", "red"]
    assert texts[:7] == [shown, LOGS["Compose"][2], [], shown, ["cut"], ["cut"], ["x"]]
    assert texts[7] == LOGS["syslog without process numbers"][2]


def test_a_new_log_begins_with_start():
    unwrapper = Unwrapper()
    unwrapper.unwrap(array(LOGS["Compose"][1]))
    assert unwrapper.unwrap(array(["app-1  | x"])).text.to_pylist() == ["x"]
    unwrapper.start()
    inner = unwrapper.unwrap(array(["app-1  | x"]))
    assert inner.text.to_pylist() == ["app-1  | x"]
    assert inner.stream.tolist() == [0]


# ---------------------------------------------------------------------- rules


def test_rules_are_data():
    assert json.loads(json.dumps(TRANSPORTS)) == TRANSPORTS
    rules = [{"name": "ours", "heads": ["@"], "pattern": r"^@(?P<time>\d+) (?P<text>.*)$"}]
    unwrapper = Unwrapper(rules)
    inner = unwrapper.unwrap(array(["@12 x", "@x", "2026-03-12T06:25:01Z stdout F a"]))
    assert inner.text.to_pylist() == ["x", "@x", "2026-03-12T06:25:01Z stdout F a"]
    assert [unwrapper.formats[number] for number in inner.format] == ["ours", "plain", "plain"]
    assert inner.time.to_pylist() == ["12", None, None]
    assert Unwrapper([]).unwrap(array(["a"])).text.to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "x"}, "needs `name` and `pattern`"),
        ({"name": "x", "pattern": "("}, r"x\.pattern.*not a valid RE2 pattern"),
        ({"name": "x", "pattern": "a", "fields": ["("]}, r"x\.fields.*not a valid RE2 pattern"),
    ],
)
def test_a_rule_that_does_not_work_is_named(rule, message):
    with pytest.raises(ValueError, match=message):
        Unwrapper([rule])


def test_an_empty_chunk():
    inner = unwrap()
    assert len(inner.text) == len(inner.stream) == 0


def test_strings_and_slices_are_taken():
    lines = pa.array(["x", "2026-03-12T06:25:01Z stdout F a", "b"]).slice(1)
    assert Unwrapper().unwrap(lines).text.to_pylist() == ["a", "b"]


def test_a_chunk_without_wrapped_lines_may_come_while_a_line_is_unfinished():
    unwrapper = Unwrapper()
    unwrapper.unwrap(array(["2026-03-12T06:25:01.104522123Z stderr P a part "]))
    later = unwrapper.unwrap(array(["\x1b[31mred\x1b[0m"]))
    assert later.message.to_pylist() == ["red"]
    assert not later.joined.any()
