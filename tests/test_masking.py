"""Entries are masked: variable parts become placeholders by their shape, what tells a failure apart stays."""

import time

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe import LogParser, masking_logmoe


@pytest.fixture
def parser():
    return LogParser()


# ---------------------------------------------------------------------- masks


# For each format, a line (or entry) as written and as masked.
MASKED = {
    "syslog": (
        "Nov  3 06:25:01 web-1 sshd[1234]: Failed password for root from 192.168.1.10 port 22 ssh2",
        "<TIME> web-<NUM> sshd[<NUM>]: Failed password for root from <IP> port <NUM> ssh<NUM>",
    ),
    "ISO timestamp, UTC": ("2026-11-23T16:24:01.123456Z INFO done", "<TIME> INFO done"),
    "ISO timestamp, offset": ("2026-11-23T16:24:01+02:00 WARN slow", "<TIME> WARN slow"),
    "ISO timestamp, comma": ("2026-11-23 16:24:01,123 ERROR boom", "<TIME> ERROR boom"),
    "named time zone, but not a severity": ("2026-11-23 16:24:01 CET FATAL x", "<TIME> FATAL x"),
    "words after a time that are not a zone": (
        "2024-01-01 10:00:00 POST /a/b, 2024-01-01T10:00:00 LOST 2024-01-01 10:00:00,123 TEST 10:00:00 AEST LAST",
        "<TIME> POST <PATH>, <TIME> LOST <TIME> TEST <TIME> AEST LAST",
    ),
    "epoch seconds": ("1700000000: New connection on port 1883.", "<TIME>: New connection on port <NUM>."),
    "epoch milliseconds": ("1700000000123 level=info", "<TIME> level=info"),
    "JSON line": (
        '{"time":"2024-01-01T10:00:00Z","level":"error","msg":"dial tcp [::1]:5432: connection refused","try":3}',
        '{"time":"<TIME>","level":"error","msg":"dial tcp <IP>: connection refused","try":<NUM>}',
    ),
    "logfmt": (
        'ts=2024-01-01T10:00:00.000Z caller=main.go:42 level=warn msg="slow query" duration=1.5s rows=20',
        'ts=<TIME> caller=main.go:<NUM> level=warn msg="slow query" duration=<DURATION> rows=<NUM>',
    ),
    "access log": (
        '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /shop/item/42?id=1 HTTP/1.1" 200 2326 "-" "curl/7.88.1"',
        '<IP> - frank [<TIME>] "GET <PATH> HTTP/<NUM>" <HTTP_SUCCESS> 200 <NUM> "-" "curl/<NUM>"',
    ),
    "access log, not found": (
        '10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /robots.txt HTTP/1.1" 404 153',
        '<IP> - - [<TIME>] "GET /robots.txt HTTP/<NUM>" <HTTP_NOT_FOUND> 404 <NUM>',
    ),
    "access log, bad gateway": (
        '::1 - - [10/Oct/2000:13:55:36 -0700] "POST / HTTP/2.0" 502 157',
        '<IP> - - [<TIME>] "POST / HTTP/<NUM>" <HTTP_UNAVAILABLE> 502 <NUM>',
    ),
    "Apache error log": (
        "[Wed Oct 11 14:32:52.123456 2000] [core:error] [pid 35708:tid 432] [client 72.15.99.187:1234] "
        "File does not exist: /usr/local/apache2/htdocs/favicon.ico",
        "[<TIME>] [core:error] [pid <NUM>:tid <NUM>] [client <IP>] File does not exist: <PATH>",
    ),
    "nginx error log": (
        "2026/11/23 16:24:01 [error] 31#31: *5 connect() failed (111: Connection refused) while connecting to "
        'upstream, client: 127.0.0.1, upstream: "http://127.0.0.1:8081/api"',
        "<TIME> [error] <NUM>#<NUM>: *<NUM> connect() failed (<NUM>: Connection refused) while connecting to upstream,"
        ' client: <IP>, upstream: "<URL>"',
    ),
    "PostgreSQL": (
        '2026-11-23 16:24:01.123 UTC [4242] app@shop ERROR:  duplicate key value violates constraint "users_pkey"',
        '<TIME> [<NUM>] app@shop ERROR: duplicate key value violates constraint "users_pkey"',
    ),
    "Java stack trace": (
        "2026-11-23 16:24:01,123 ERROR [main] c.e.App - boom\njava.lang.IllegalStateException: no\n"
        "\tat com.example.Foo.bar(Foo.java:42)\nCaused by: java.io.IOException: closed\n\t... 12 more",
        "<TIME> ERROR [main] c.e.App - boom java.lang.IllegalStateException: no at com.example.Foo.bar(Foo.java:<NUM>)"
        " Caused by: java.io.IOException: closed ... <NUM> more",
    ),
    "Python stack trace": (
        "2026-11-23 16:24:01,123 ERROR boom\nTraceback (most recent call last):\n"
        '  File "/srv/app/x.py", line 1, in f\nValueError: bad\n\nDuring handling of the above exception, another '
        'exception occurred:\n\nTraceback (most recent call last):\n  File "/srv/app/y.py", line 2\napp.LostError: no',
        '<TIME> ERROR boom Traceback (most recent call last): File "<PATH>", line <NUM>, in f ValueError: bad During '
        "handling of the above exception, another exception occurred: Traceback (most recent call last): File "
        '"<PATH>", line <NUM> app.LostError: no',
    ),
    "IPv4 with port and mask": ("10.0.0.1:8080 10.1.0.0/16 10.0.0.1", "<IP> <IP> <IP>"),
    "IPv6": (
        "2001:0db8:0000:0000:0000:ff00:0042:8329 2001:db8::8a2e:370:7334 fe80::1ff:fe23:4567:890a%eth0 ::1 [::1]:80",
        "<IP> <IP> <IP> <IP> <IP>",
    ),
    "not IPv6": ("std::vector abc::def a::b :: e::create", "std::vector abc::def a::b :: e::create"),
    "UUID": ("req 550e8400-e29b-41d4-a716-446655440000 done", "req <UUID> done"),
    "MAC": ("from 00:1a:2b:3c:4d:5e", "from <MAC>"),
    "identifiers": (
        "id RzZuJ9P-SyqVdVCnTCb3hQ pod web-x2k9q task@7f1c2d3 commit 1a2b3c4",
        "id <ID> pod web-<ID> task@<HEX> commit <HEX>",
    ),
    "words containing a number": (
        "c.n.Oauth2CodeHandler S3UploadFailedException: [DB2Timeout] ipv4",
        "c.n.Oauth<NUM>CodeHandler S<NUM>UploadFailedException: [DB<NUM>Timeout] ipv<NUM>",
    ),
    "HTTP status outside access logs": (
        '{"status":500} {"status":"500"} status=404 http_code=502 "GET / HTTP/1.1" status: 503 len: 12',
        '{"status":<HTTP_SERVER_ERROR> 500} {"status":"<HTTP_SERVER_ERROR> 500"} status=<HTTP_NOT_FOUND> 404 '
        'http_code=<HTTP_UNAVAILABLE> 502 "GET / HTTP/<NUM>" '
        "status: <HTTP_UNAVAILABLE> 503 len: <NUM>",
    ),
    "exit status, not HTTP": (
        "exit status: 200, code=exited, status=203/EXEC",
        "exit status: 200, code=exited, status=203/EXEC",
    ),
    "large numbers, not epoch times": (
        "Response time: 1500000000 ns, size 1234567890 bytes, 0.1731331234 done, 4294967295 and 123456 654321 pages",
        "Response time: <DURATION>, size <SIZE>, <NUM> done, <NUM> and <NUM> <NUM> pages",
    ),
    "hex": (
        "at 0xDEADBEEF sum d41d8cd98f00b204e9800998ecf8427e commit 1a2b3c4d5e",
        "at <HEX> sum <HEX> commit <HEX>",
    ),
    "words of hex letters": ("added faced dead beef decade", "added faced dead beef decade"),
    "path in Chinese text": ("路径/var/log/x失败", "路径<PATH>失败"),
    "Unix path": ("open /var/lib/x.db: No such file", "open <PATH>: No such file"),
    "Windows path": (r"C:\Windows\System32\drivers\etc\hosts missing", "<PATH> missing"),
    "slashes that are not paths": ("and/or I/O tcp/ip N/A", "and/or I/O tcp/ip N/A"),
    "URL": ("see https://example.com:443/a?b=1, then jdbc:mysql://db/x", "see <URL>, then <URL>"),
    "e-mail": ("bounce from root@mail.example.org", "bounce from <EMAIL>"),
    "Hadoop block": (
        "081109 203615 148 INFO dfs.DataNode: Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106",
        "<TIME> <NUM> INFO dfs.DataNode: Receiving block blk_<NUM> src: /<IP>",
    ),
    "Blue Gene": (
        "2005-06-03-15.42.50.675872 R02-M1-N0-C:J12-U11 RAS KERNEL INFO parity error corrected",
        "<TIME> R<NUM>-M<NUM>-N<NUM>-C:J<NUM>-U<NUM> RAS KERNEL INFO parity error corrected",
    ),
    "numbers with units, in words, in lists": (
        "took 12.5ms, 3,000 rows of node12, sizes [1, 2, 3, 4]",
        "took <DURATION>, <NUM> rows of node<NUM>, sizes [<NUM>]",
    ),
    "Chinese": (
        "2024-01-01 10:00:02 错误 数据库连接失败,耗时 123ms,主机 10.0.0.5",
        "<TIME> 错误 数据库连接失败,耗时 <DURATION>,主机 <IP>",
    ),
    "colours and aligned columns": ("\x1b[31mERROR\x1b[0m   wide    gap", "ERROR wide gap"),
}


@pytest.mark.parametrize("name", MASKED)
def test_masks(parser, name):
    raw, masked = MASKED[name]
    assert parser.mask([raw]).to_pylist() == [masked]


@pytest.mark.parametrize(
    "word",
    "TRACE DEBUG INFO NOTICE WARN WARNING ERROR ERR SEVERE CRITICAL CRIT ALERT EMERG FATAL PANIC error warn 错误"
    " 警告".split(),
)
def test_severity_words_survive(parser, word):
    line = f"2024-01-01 10:00:02.123 UTC {word} [db-7] connection 12 to 10.0.0.1:5432 failed"
    assert word in parser.mask([line])[0].as_py().split()


@given(st.lists(st.sampled_from([raw for raw, _ in MASKED.values()]), min_size=1, max_size=3).map(" ".join))
def test_masking_a_masked_line_changes_nothing(text):
    parser = LogParser()
    masked = parser.mask([text])[0].as_py()
    assert parser.mask([masked])[0].as_py() == masked


@pytest.mark.parametrize("name", [name for name, (raw, _) in MASKED.items() if "\n" in raw])
def test_a_stack_trace_is_one_entry(parser, name):
    raw, masked = MASKED[name]
    assert parser.parse(f"before\n{raw}\n2024-01-01 10:00:00 INFO after").distinct.to_pylist()[1] == masked


def test_masking_time_is_linear_in_line_length():
    """A backtracking pattern would never finish on these lines."""
    parser = LogParser(max_entry_characters=10**6)
    start = time.perf_counter()
    for line in ("1:" * 50_000, "a" * 100_000 + "!", "/a" * 50_000, "-1a" * 30_000, ' "=' * 30_000, "1 " * 50_000):
        assert parser.mask([line])[0].as_py() is not None
    assert time.perf_counter() - start < 20


# ---------------------------------------------------------------------- entries that differ only in their digits


def masked_one_by_one(parser, entry):
    """The reference: every mask in order, on one entry at a time."""
    masked = pa.array([entry[: parser.max_entry_characters]], pa.large_string())
    for mask in parser.masks:
        masked = pc.replace_substring_regex(masked, mask["pattern"], mask["replacement"])
    return pc.utf8_trim_whitespace(masked)[0].as_py()


digit_pieces = st.sampled_from(
    [
        *"0123456789",
        *"abxf:.-/ \n",
        *("HTTP/1.1 ", "status=", "0x", "::", "192.168.", "1700000000", "2001:db8::", "é", "\x1b[0m"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(digit_pieces, max_size=12).map("".join), max_size=12))
def test_masking_entries_together_equals_masking_each_alone(entries):
    parser = LogParser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking_logmoe, "FEW_ENTRIES", 0)
        assert parser.mask(entries).to_pylist() == [masked_one_by_one(parser, entry) for entry in entries]


@pytest.mark.parametrize(
    "masks",
    [
        [{"pattern": "[^7]", "replacement": "<ODD>", "phrase": "a"}],
        [{"pattern": "[3-6a]+", "replacement": "<SOME>", "phrase": "a"}],
        [{"pattern": r"\x37", "replacement": "<SEVEN>", "phrase": "a"}],
        [{"pattern": r"\067", "replacement": "<SEVEN>", "phrase": "a"}],
        [{"pattern": r"\Q7\E|8", "replacement": "<SEVEN>", "phrase": "a"}],
        [{"pattern": "(?i)7A", "replacement": "<SEVEN>", "phrase": "a"}],
        [{"pattern": "a(?P<digits1>7|8)", "replacement": r"\1<SEVEN>", "phrase": "a"}],
        [{"pattern": r"a\d", "replacement": "<TWO>", "phrase": "a"}],
        [{"pattern": r"\d+", "replacement": "0"}],
        [{"pattern": r"(\d)(\d)", "replacement": r"\2\1"}, {"pattern": r"\d{2}4", "replacement": "x"}],
        [{"pattern": r"[.-0-9]+", "replacement": "<SOME>", "phrase": "a"}],
        [{"pattern": "a", "replacement": "7"}, {"pattern": "77", "replacement": "<SEVEN>", "phrase": "a"}],
        [],
    ],
)
def test_masks_that_tell_digits_apart_or_keep_some(masks, monkeypatch):
    monkeypatch.setattr(masking_logmoe, "FEW_ENTRIES", 0)
    parser = LogParser(masks=masks)
    entries = [f"{word}{first}{last}A" for word in ("a", "b ", "é") for first in range(10) for last in (0, 4, 7, 8)]
    assert parser.mask(entries).to_pylist() == [masked_one_by_one(parser, entry) for entry in entries]


def test_digits_that_a_pattern_names():
    tells = masking_logmoe.digit_alternatives
    assert tells(r"\d{1,3}[0-9a-f]+(?P<n1>[[:digit:]])\x1b\p{N}") == (None, True)
    assert tells(r"ab|(?:1|c)\d|[23]x") == (r"(?:[0-9]|c)\d|[230-9]x", True)
    assert tells("404") == ("[0-9][0-9][0-9]", False)
    for intricate in ("[^5]", "[1-5]", r"\x30", r"\x{37}", r"[\x37]", r"\07", r"\Q1\E", "(?i)a1"):
        assert tells(intricate) == ("", True)


def test_large_log_of_few_shapes_is_masked_once_per_shape(parser, monkeypatch):
    masked = []
    replace = pc.replace_substring_regex

    def counted(text, *arguments, **options):
        masked.append(len(text))
        return replace(text, *arguments, **options)

    monkeypatch.setattr(masking_logmoe.pc, "replace_substring_regex", counted)
    log = "\n".join(f"took {1000 + row} ms from 10.0.{row % 90 + 10}.1" for row in range(5000))
    assert parser.parse(log).distinct.to_pylist() == ["took <DURATION> from <IP>"]
    assert max(masked) == 1
