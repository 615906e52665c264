"""Entries are masked: variable parts become placeholders by their shape, what tells a failure apart stays."""

import base64
import json
import re
import string
import time
import uuid
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmoe import LogParser, masking_logmoe

PARSER = LogParser()


@pytest.fixture
def parser():
    return PARSER


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
    "dates of HTTP, of cookies, of mail and of certificates": (
        '{"Date":"Mon, 30 Nov 2026 12:29:13 GMT","Expires":"Monday, 30-Nov-26 12:29:13 GMT"} at Tue, 01 Dec 2026 '
        "01:02:03 +0100 until Nov 30 12:29:13 2026 GMT",
        '{"Date":"<TIME>","Expires":"<TIME>"} at <TIME> until <TIME>',
    ),
    "identifiers behind a key that says so": (
        '{"reqId":"req-2s","trace_id":"k9"} err_id=z9x8d1 X-Request-Id: Abc/d-7== ReqId: none requestId=12 prid=a',
        '{"reqId":"<ID>","trace_id":"<ID>"} err_id=<ID> X-Request-Id: <ID> ReqId: none requestId=<NUM> prid=a',
    ),
    "a line in the middle of others": ("======== 528 passed in 3.21s ========", "= <NUM> passed in <DURATION> ="),
    "a line in the middle of others, wider": ("========= 9 passed in 3s =========", "= <NUM> passed in <DURATION> ="),
    "a title, the same whatever it counts": ("==== short test summary ====", "==== short test summary ===="),
    "a test that was slow this time": ("    ✓ takes 3 cards (12 ms)", "✓ takes <NUM> cards"),
    "a test that took long and failed": ("✕ takes 3 cards (12 ms)", "✕ takes <NUM> cards (<DURATION>)"),
    "rules that do not stand around": ("a ==== 3 b ====", "a ==== <NUM> b ===="),
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
    "access log, of Flask's server": (
        '127.0.0.1 - - [30/Nov/2026 03:20:14] "GET /shop/item/42 HTTP/1.1" 500 -',
        '<IP> - - [<TIME>] "GET <PATH> HTTP/<NUM>" <HTTP_SERVER_ERROR> 500 -',
    ),
    "fingerprint": (
        "sha256 Fingerprint=93:4D:97:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:6A of 93:4D:97:AA:BB:CC",
        "sha<NUM> Fingerprint=<HEX> of <MAC>",
    ),
    "a key that is named like a unit": (
        "resized width=160 ms=162 after 160 ms, at 12 min=3",
        "resized width=<NUM> ms=<NUM> after <DURATION>, at <NUM> min=<NUM>",
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
        "<TIME> [error] <NUM>#<NUM>: *<NUM> connect() failed (111: Connection refused) while connecting to upstream,"
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
    masked = PARSER.mask([text])[0].as_py()
    assert PARSER.mask([masked])[0].as_py() == masked


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


def masked_plainly(parser, entries):
    """The reference: every mask in order, on the entries as they are."""
    masked = pa.array([entry[: parser.max_entry_characters] for entry in entries], pa.large_string())
    for mask in parser.masks:
        masked = pc.replace_substring_regex(masked, mask["pattern"], mask["replacement"])
    return pc.utf8_trim_whitespace(masked).to_pylist()


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
    parser = PARSER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking_logmoe, "FEW_ENTRIES", 0)
        assert parser.mask(entries).to_pylist() == masked_plainly(parser, entries)


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
    assert parser.mask(entries).to_pylist() == masked_plainly(parser, entries)


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


# ---------------------------------------------------------------------- what tells one failure from another stays


# Access logs, errors and prose; STATUS is where an HTTP status stands.
WITH_STATUS = [
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a HTTP/1.1" STATUS 145',
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a HTTP/1.1" STATUS 145 "-" "curl/7.88.1"',
    (
        'shop.example.com:443 10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a HTTP/1.1" STATUS 145 "ht'
        'tps://x.y/z" "Mozilla/5.0 (X11; Linux)" 0.123 0.120 .'
    ),
    (
        'shop.example.com 10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a HTTP/1.1" STATUS - "-" "-" r'
        't=0.1 uct="0.0" urt="0.1"'
    ),
    "10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] GET /a HTTP/1.1 STATUS 145",
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.0" STATUS 0',
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a" STATUS 145',
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "-" STATUS 0 "-" "-"',
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "\\x16\\x03\\x01" STATUS 157 "-" "-"',
    ('::1 - - [12/Mar/2026:06:25:01 +0000] "OPTIONS * HTTP/1.0" STATUS 126 "-" "Apache (internal dummy connection)"'),
    "date=2026-03-12 time=06:25:01 sc-status=STATUS sc-bytes=12 cs-method=GET",
    "cs-method=GET cs-uri-stem=/a sc-status=STATUS sc-substatus=0 sc-win32-status=64 time-taken=15",
    (
        "haproxy[14389]: 10.0.1.2:33317 [12/Mar/2026:12:14:14.655] http-in static/srv1 10/0/30/69/109 ST"
        'ATUS 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"'
    ),
    (
        "haproxy[1]: 10.0.1.2:33317 [12/Mar/2026:12:14:14.655] http-in~ app/<NOSRV> 0/-1/-1/-1/0 STATUS "
        '217 - - SC-- 0/0/0/0/0 0/0 "GET / HTTP/1.1"'
    ),
    (
        "haproxy[1]: 10.0.1.2:33317 [12/Mar/2026:12:14:14.655] http-in app/s1 0/0/1/+30/+31 STATUS +217 "
        '- - ---- 0/0/0/0/0 0/0 "GET / HTTP/1.1"'
    ),
    (
        "1286536309.450    892 192.168.0.68 TCP_MISS/STATUS 507 POST http://rcv-srv37.inplay.tubemogul.c"
        "o/StreamReceiver/services - DIRECT/10.0.0.1 application/xml"
    ),
    "1286536309.450    892 192.168.0.68 TCP_TUNNEL/STATUS 507 CONNECT a.b:443 - HIER_DIRECT/10.0.0.1 -",
    "1286536309.450    892 192.168.0.68 NONE/STATUS 507 GET error:invalid-request - HIER_NONE/- text/html",
    "1286536309.450    892 192.168.0.68 NONE_NONE/STATUS 0 - error:x - HIER_NONE/- -",
    "1286536309.450    892 192.168.0.68 TCP_MISS_ABORTED/STATUS 0 GET http://a.b/ - HIER_DIRECT/10.1.1.1 -",
    (
        '[2026-03-12T06:25:01.104Z] "GET /a HTTP/1.1" STATUS - 0 14 22 21 "-" "curl" "b1a2c3d4-1111-4222'
        '-8333-123456789abc" "svc" "10.0.0.1:80"'
    ),
    (
        '[2026-03-12T06:25:01.104Z] "GET /a HTTP/1.1" STATUS UF,URX via_upstream - "-" 0 91 2 - "-" "cur'
        'l/7.88" "b1a2c3d4-1111-4222-8333-123456789abc" "svc:9080" "10.0.0.1:9080" outbound|9080||svc.ns'
        ".svc.cluster.local - 10.0.0.1:9080 10.0.0.2:1234 - default"
    ),
    '[2026-03-12T06:25:01.104Z] "- - HTTP/1.1" STATUS DPE 0 11 0 - "-" "-" "-" "-" "-"',
    '[GIN] 2026/03/12 - 06:25:01 | STATUS |     1.234ms |       10.0.0.1 | GET      "/ping"',
    (
        "[GIN] 2026/03/12 - 06:25:01 |\x1b[97;42m STATUS \x1b[0m|     12.5µs |       10.0.0.1 |\x1b[97;44m GET   "
        '  \x1b[0m "/ping"'
    ),
    "2026/03/12 06:25:01 | STATUS | 1ms | 10.0.0.1 | GET | /ping",
    "[06:25:01] STATUS -   12ms GET /ping",
    "06:25:01 | STATUS |   45.792µs | 127.0.0.1 | GET | / | -",
    "GET /api/users STATUS 12.345 ms - 512",
    "GET /api/users STATUS - - ms - -",
    "GET /api/users STATUS 512 - 12.345 ms",
    "::1 GET /api/users HTTP/1.1 STATUS 512 - 12.345 ms",
    "::1 - GET /api/users HTTP/1.1 STATUS 512 - 12.345 ms",
    '::ffff:10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET /a HTTP/1.1" STATUS 512 "-" "node"',
    'INFO:     127.0.0.1:54321 - "GET /items/5 HTTP/1.1" STATUS Bad Gateway',
    'INFO:     127.0.0.1:54321 - "GET /items/5 HTTP/1.1" STATUS',
    '127.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.1" STATUS 145 "-" "gunicorn"',
    '[12/Mar/2026 06:25:01] "GET /admin/ HTTP/1.1" STATUS 145',
    '"GET / HTTP/1.1" STATUS 145',
    "Completed STATUS Internal Server Error in 12ms (Views: 0.5ms | ActiveRecord: 0.3ms | Allocations: 123)",
    (
        "I, [2026-03-12T06:25:01.104 #123]  INFO -- : [b1a2c3d4-1111-4222-8333-123456789abc] Completed S"
        "TATUS OK in 12ms"
    ),
    "method=GET path=/a format=html controller=X action=show status=STATUS duration=58.33 view=40.43 db=15.26",
    (
        '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.1" STATUS 1 "-" "-" 35 "router@docker" '
        '"http://10.0.0.2:80" 12ms'
    ),
    (
        '{"ClientAddr":"10.0.0.1:1234","DownstreamStatus":STATUS,"Duration":123,"OriginStatus":STATUS,"R'
        'equestMethod":"GET"}'
    ),
    (
        '{"level":"error","ts":1646861401.5241024,"logger":"http.log.access","msg":"handled request","re'
        'quest":{"method":"GET","uri":"/"},"bytes_read":0,"duration":0.1,"size":12,"status":STATUS,"resp'
        '_headers":{}}'
    ),
    (
        '{"time":"2026-03-12T06:25:01+00:00","remote_addr":"10.0.0.1","status": "STATUS","body_bytes_sen'
        't":"12","request":"GET / HTTP/1.1"}'
    ),
    '{"http.status_code":STATUS,"x":1}',
    '{"http":{"response":{"status_code":STATUS}}}',
    '{"http.response.status_code": STATUS}',
    '{"statusCode":STATUS,"time":3}',
    '{"res":{"statusCode":STATUS},"responseTime":12}',
    '{"StatusCode": STATUS}',
    '{"response_code": "STATUS"}',
    '{"responseCode":STATUS}',
    '{"resp_status":STATUS}',
    '{"httpStatus":STATUS}',
    '{"http_status":"STATUS"}',
    '{"status_code":"STATUS"}',
    '{\\"status\\":STATUS,\\"a\\":1}',
    '10.0.0.1 - - [12/Mar/2026 06:25:01] "GET / HTTP/1.1" STATUS -',
    '127.0.0.1 - - [12/Mar/2026 06:25:01] "\x1b[33mGET /x HTTP/1.1\x1b[0m" STATUS -',
    (
        "h2 2026-03-12T06:25:01.104Z app/lb/50dc6c495c0c9188 10.0.0.1:2817 10.0.0.2:80 0.000 0.001 0.000"
        ' STATUS 200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticl'
        'oadbalancing:us-east-2:123456789012:targetgroup/t/73e2d6bc24d8a067 "Root=1-58337262-36d228ad5d9'
        '9923122bbe354" "-" "-" 0 2026-03-12T06:25:01.104Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"'
    ),
    (
        "http 2026-03-12T06:25:01.104Z app/lb/50dc6c495c0c9188 10.0.0.1:2817 - -1 -1 -1 STATUS - 34 366 "
        '"GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - -'
    ),
    (
        "2026-03-12T06:25:01.104Z my-lb 10.0.0.1:2817 10.0.0.2:80 0.000073 0.001048 0.000057 STATUS 200 "
        '0 29 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -'
    ),
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.1" STATUS 12 "-" "Jetty" 5',
    '10.0.0.1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.1" STATUS - 0.0123',
    "HTTP STATUS",
    "got HTTP STATUS from upstream",
    "HTTP error STATUS",
    "HTTP status STATUS",
    "HTTP code: STATUS",
    "HTTP response code: STATUS",
    "Server returned HTTP response code: STATUS for URL: http://x.y/z",
    "status code STATUS",
    "status code: STATUS",
    "Request failed with status code STATUS",
    "unexpected status code STATUS: x",
    "status=STATUS",
    "status: STATUS",
    "Status: STATUS Bad Gateway",
    "status_code=STATUS",
    "statusCode=STATUS",
    "http_status: STATUS",
    "http_status=STATUS",
    "HttpStatus: STATUS",
    "httpStatusCode=STATUS",
    "HTTP/1.1 STATUS Internal Server Error",
    "HTTP/2 STATUS",
    "HTTP/2 STATUS ",
    "< HTTP/1.1 STATUS X",
    "response STATUS",
    "response: STATUS",
    "response code STATUS",
    "response status STATUS",
    "responded with STATUS",
    "responded STATUS",
    "returned STATUS Bad Gateway",
    "received status STATUS",
    "got STATUS Bad Gateway",
    "HTTPError: STATUS Client Error: Not Found for url: https://x.y/z",
    "requests.exceptions.HTTPError: STATUS Server Error: Bad Gateway for url: https://x.y/z",
    "urllib.error.HTTPError: HTTP Error STATUS: Service Unavailable",
    "AxiosError: Request failed with status code STATUS",
    "Response status code does not indicate success: STATUS (Bad Gateway).",
    'org.springframework.web.client.HttpServerErrorException$BadGateway: STATUS Bad Gateway: "x"',
    "Request finished HTTP/1.1 GET http://localhost:5000/ - STATUS 0 - 12.3456ms",
    "Request finished HTTP/2 GET https://localhost:5001/a - - - STATUS - text/plain 1.2ms",
    "HTTP GET /a responded STATUS in 12.3 ms",
    "Request finished in 12.3ms STATUS text/html; charset=utf-8",
    "AH01071: Got error, status STATUS",
    "Error response from daemon: status STATUS",
    "proxy: upstream responded with status STATUS",
    '2026/03/12 06:25:01 "GET http://localhost:3000/ HTTP/1.1" from [::1]:5 - STATUS 13B in 12.5µs',
    (
        '{"time":"2026-03-12T06:25:01.1Z","id":"","remote_ip":"10.0.0.1","method":"GET","uri":"/","statu'
        's":STATUS,"error":"","latency":1,"latency_human":"1ns"}'
    ),
    "level=info msg=request method=GET path=/ status=STATUS took=12ms",
    'caller=logging.go:12 status_code=STATUS msg="GET /api (STATUS) 12.3ms"',
    'msg="GET /ready (STATUS) 61.2µs"',
    (
        'at=error code=H12 desc="Request timeout" method=GET path="/" host=x.herokuapp.com fwd="10.0.0.1'
        '" dyno=web.1 connect=0ms service=30000ms status=STATUS bytes=0 protocol=https'
    ),
    '"GET /v1/x" STATUS',
    "GET /x => generated 12 bytes in 3 msecs (HTTP/1.1 STATUS) 2 headers in 80 bytes (1 switches on core 0)",
    "failed with STATUS Bad Gateway",
    "error STATUS Bad Gateway",
    "GET https://x.y/z STATUS (Bad Gateway)",
    "GET https://x.y/z: STATUS",
    "curl: (22) The requested URL returned error: STATUS",
    "curl: (22) The requested URL returned error: STATUS Not Found",
    "npm ERR! STATUS Not Found - GET https://registry.npmjs.org/x",
    "npm http fetch GET STATUS https://registry.npmjs.org/x 123ms (cache miss)",
    "E: Failed to fetch http://x.y/z  STATUS  Not Found [IP: 10.0.0.1 80]",
    "ERROR STATUS: Not Found.",
    "2026-03-12 06:25:01 ERROR STATUS: Not Found.",
    "HTTP request sent, awaiting response... STATUS Not Found",
    "http_code:STATUS",
    "status:STATUS",
    '"status" : STATUS ,',
    "'status': STATUS",
    "status => STATUS",
    "<status>STATUS</status>",
    "Status Code:STATUS",
    "HTTP-Status: STATUS",
    ":status: STATUS",
    "http.status=STATUS",
    "rsp.status=STATUS",
    "upstream_status=STATUS",
    'upstream_status="STATUS"',
    "elb_status_code=STATUS",
    "Http response STATUS",
    "HTTP/3 STATUS",
    'HTTP/3.0" STATUS 12',
    'HTTP/1.1\\" STATUS 12',
]
STATUS_CLASSES = {
    200: "HTTP_SUCCESS",
    302: "HTTP_REDIRECT",
    404: "HTTP_NOT_FOUND",
    403: "HTTP_FORBIDDEN",
    400: "HTTP_CLIENT_ERROR",
    503: "HTTP_UNAVAILABLE",
    500: "HTTP_SERVER_ERROR",
}


@pytest.mark.parametrize("status", STATUS_CLASSES)
def test_http_status_stays_with_its_class(parser, status):
    lines = [line.replace("STATUS", str(status)) for line in WITH_STATUS]
    masked = parser.mask(lines).to_pylist()
    lost = [
        line for line, text in zip(lines, masked, strict=True) if f"<{STATUS_CLASSES[status]}> {status}" not in text
    ]
    assert not lost


# Numbers of three digits that are something else.
WITHOUT_STATUS = [
    "listening on port 404",
    "port 502",
    "PID 200",
    "pid=404",
    "took 200 ms",
    "completed 200 requests",
    "processed 404 items",
    "response 200 bytes",
    "size 404",
    "status 200 items",
    "exit status 200",
    "exited with status 137",
    "HTTP port 443",
    "http 443",
    "line 404",
    "id 502",
    "responseTime=200",
    "response_time: 200",
    "completed 200 of 404 tasks",
    "Completed 300 jobs",
    "Completed 200 iterations",
    "response in 200 ms",
    "count=404",
    "timeout 503 s",
    "retries: 500",
    "GET 200 items",
    "POST 5000",
    "status=2000",
    "status=20",
    "Killed process 404",
    "thread 500",
    "user 404",
    "error 404 rows",
    "| 200 | foo | 300 |",
    "a | 404 | b",
    "received 200 packets",
    "returned 404 rows",
    "returned 200 results",
    "got 500 bytes",
    "status 500 MB",
    "status=500ms",
    "response 250 ms",
    "HTTP 200 ms",
    "returned 3 rows",
    "query returned 500 rows in 3 s",
    "responded 200 ms",
    "sent 404 errors",
    "PUT /a/b 404 bytes",
    "DELETE 300 rows",
    "TRACE 200",
    "code 500 lines",
    "up 200 days",
    "status after 200 retries",
]


def test_other_numbers_are_no_http_status(parser):
    masked = dict(zip(WITHOUT_STATUS, parser.mask(WITHOUT_STATUS).to_pylist(), strict=True))
    assert not {line: text for line, text in masked.items() if "HTTP_" in text}


# What a process, the system or a database said, and what of it must stay.
CODES = [
    ("exit code 137", "137"),
    ("exited with code 1", "1"),
    ("exit status 2", "2"),
    ("code=exited, status=203/EXEC", "203/EXEC"),
    ("Main process exited, code=exited, status=1/FAILURE", "1/FAILURE"),
    ("code=killed, status=9/KILL", "9/KILL"),
    ("code=dumped, status=11/SEGV", "11/SEGV"),
    ("returned 127", "127"),
    ("returned non-zero exit status 2.", "2"),
    ("returned a non-zero code: 137", "137"),
    ("rc=1", "rc=1"),
    ('"exitCode":1', "1"),
    ('"exitCode": 137', "137"),
    ("exit_code=137", "137"),
    ("ExitCode: 137", "137"),
    ("(exit 1)", "exit 1"),
    ("exit 1", "1"),
    ("exit: 1", "1"),
    ("Exit 1", "1"),
    ("exited (137)", "137"),
    ("Exited (137) 3 minutes ago", "137"),
    ("container exited with 137", "137"),
    ("process exited with status 1", "1"),
    ("Process completed with exit code 1.", "1"),
    ("exited with return code 2", "2"),
    ("return code: 2", "2"),
    ("returncode=2", "2"),
    ("return code = 2", "2"),
    ("returned exit status 3", "3"),
    ("exit value 3", "3"),
    ("finished with non-zero exit value 1", "1"),
    ("error code 1", "1"),
    ("status code 1", "1"),
    ("failed with exit code -1", "-1"),
    ("terminated with exit code 139", "139"),
    ("exited on signal 11", "11"),
    ("make: *** [all] Error 2", "2"),
    ("npm ERR! errno 1", "1"),
    ("npm ERR! code ELIFECYCLE", "ELIFECYCLE"),
    ("exitcode=0", "0"),
    ("exit-code: 3", "3"),
    ("exit=1", "1"),
    ("ret=-22", "-22"),
    ("ret=-110", "-110"),
    ("returned -110", "-110"),
    ("error -110", "-110"),
    ("failed with error -5", "-5"),
    ("err=-5", "-5"),
    ("errno=13", "13"),
    ("ConnectionRefusedError(111, 'Connection refused')", "111"),
    ("errno 111", "111"),
    ("errno: 111", "111"),
    ("[Errno 111] Connection refused", "111"),
    ("Errno 13", "13"),
    ("OSError: [Errno 28] No space left on device", "28"),
    ("(111: Connection refused)", "111"),
    ("(13)Permission denied", "13"),
    ("error 13: x", "13"),
    ("ECONNREFUSED 10.0.0.1:5432", "ECONNREFUSED"),
    ("connect ECONNREFUSED", "ECONNREFUSED"),
    ("signal 9", "9"),
    ("signal: 9", "9"),
    ("signal: killed", "killed"),
    ("SIGSEGV", "SIGSEGV"),
    ("killed by signal 11", "11"),
    ("terminated by signal 6", "6"),
    ("caught signal 15", "15"),
    ("Signal 15 (SIGTERM)", "15"),
    ("received signal 15", "15"),
    ("fatal signal 11 (SIGSEGV), code 1", "11"),
    ("sig=11", "11"),
    ("server process (PID 12) was terminated by signal 9: Killed", "9"),
    ("SQLSTATE[HY000] [2002] x", "HY000"),
    ("SQLSTATE 40P01", "40P01"),
    ("SQLSTATE: 40001", "40001"),
    ("sqlstate=23505", "23505"),
    ("SQLState: 08S01", "08S01"),
    ("(SQLSTATE 23505)", "23505"),
    ("ERROR: 57014: canceling", "57014"),
    ("ERROR:  40P01: deadlock detected", "40P01"),
    ("FATAL:  28P01: password", "28P01"),
    ("SQLSTATE = 42P01", "42P01"),
    ('"sqlState":"42S02"', "42S02"),
    ("ERROR 1045 (28000): Access denied", "28000"),
    ("ERROR 1045 (28000): Access denied", "1045"),
    ("ORA-00942: table", "ORA-00942"),
    ("TNS-12541", "TNS-12541"),
    ("ERROR 1062 (23000) at line 3", "1062"),
    ("error 0x80070005", "0x80070005"),
    ("exception code 0xc0000005", "0xc0000005"),
    ("MySQL error 1213", "1213"),
    ("[MY-010116] [Server]", "MY-010116"),
    ("AH00558: x", "AH00558"),
    ("errno: -111", "-111"),
    ("code: 13", "13"),
    ("code = Unavailable", "Unavailable"),
    ("grpc-status: 14", "14"),
    ("grpc.code=Unavailable", "Unavailable"),
    ("grpc_status=14", "14"),
    ('"grpc.status_code": 14', "14"),
    ("SQLCODE=-911", "-911"),
    ("error code: 0x80004005", "0x80004005"),
    ("Error 1326", "1326"),
    ("Win32 error 5", "5"),
    ("(os error 2)", "os error 2"),
    ("No such file or directory (os error 2)", "2"),
    ("code 137", "137"),
    ("exit status 0xc0000142", "0xc0000142"),
    ("OOMKilled exitCode: 137 reason", "137"),
    ("Command failed: exit 127", "127"),
    ("status: exit status: 101", "101"),
    ("signal: 9 (SIGKILL)", "9"),
    ("exited with code: 3", "3"),
    ("exit_status: 7", "7"),
    ("exitStatus=7", "7"),
    ("request_finished code=500 path=/x", "500"),
    ("%LINK-3-UPDOWN: Interface Gi0/1 down", "%LINK-3-UPDOWN"),
    ("%ASA-1-104001: Switching to ACTIVE", "%ASA-1-104001"),
    ("E [MSGID: 108006] [afr-common.c:6140:x]", "108006"),
    ("AMQ9202E: Remote host not available", "AMQ9202E"),
    ("CWWKF0011I: The server is ready", "CWWKF0011I"),
    ("<Error> <JDBC> <BEA-000337> <x>", "BEA-000337"),
    ("Event ID: 4625 logon failed", "4625"),
    ("EventID=4624 logon", "4624"),
    ("<EventID>7036</EventID>", "7036"),
]


def test_codes_and_signals_stay(parser):
    masked = parser.mask([line for line, _ in CODES]).to_pylist()
    assert not [(line, text) for (line, kept), text in zip(CODES, masked, strict=True) if kept not in text]


@pytest.mark.parametrize("line", ["exit code 1", "exit 137", "signal 9", "[Errno 13]", "SQLSTATE 40P01", "ret=-22"])
def test_another_code_is_another_entry(parser, line):
    other = line.translate(str.maketrans("123479", "234581"))
    assert other != line
    assert len(parser.parse(f"{line}\n{other}").distinct) == 2


# How many there are of what is trouble.
TROUBLE = [
    "Tests run: 12, Failures: {}, Errors: 0, Skipped: 1, Time elapsed: 0.05 s -- in org.example.ShopTest",
    "Tests run: 12, Failures: 0, Errors: {}, Skipped: 1",
    "web1 : ok=3 changed=0 unreachable=0 failed={} skipped=2",
    "web1 : ok=3 changed=0 unreachable={} failed=0 skipped=2",
    "tests=12 errors={} failures=0",
    "errors=0 failures={}",
    "Errors: 0 Failures: {} Skipped: 1",
    "{} failed, 12 passed",
    "12 passed ({} failed)",
    "12 tests, {} failures",
    "backup finished: {} files failed",
    "compiled with {} errors and 3 warnings",
    "{} Error(s)",
    "Passed: 5 Failed: {} Total: 5",
    "Passed!  - Failed:     {}, Passed:    12, Skipped:     0",
    '{{"level":"info","failed":{},"passed":12}}',
    '{{"msg":"done","error_count": {}}}',
    'failures="{}" errors="0"',
    "num_errors={}",
    "failedTests: {}",
    "RESULT tag=101 err={} text=",
    "2 packets transmitted, {} lost",
]


@pytest.mark.parametrize("line", TROUBLE)
def test_no_trouble_is_another_entry_than_some(parser, line):
    none, some, more = parser.mask([line.format(count) for count in (0, 3, 17)]).to_pylist()
    assert none != some == more


@pytest.mark.parametrize(
    "line",
    [
        "java.lang.IllegalArgumentException: {} pieces of item 7",
        "Error: {} pieces of item 7",
        "order 12{} failed",
        "1.{} failed",
        "failed after {} attempts",
        "ok={} changed={} skipped={}",
        "lost {} of 3",
    ],
)
def test_where_nothing_is_counted_digits_are_alike(parser, line):
    zero, other = parser.mask([line.replace("{}", digit) for digit in "07"]).to_pylist()
    assert zero == other


# ---------------------------------------------------------------------- the log of another day is the same log

# What is written at two moments, and what is masked of it.
MOMENTS = [
    (
        "Nov 3, 2026 8:15:02 AM shop.Orders place",
        "Dec 14, 2026 11:40:59 PM shop.Orders place",
        "<TIME> shop.Orders place",
    ),
    ("<Nov 3, 2026, 8:15:02,123 AM CET> <Error>", "<May 14, 2027, 9:15:02,123 PM CEST> <Error>", "<<TIME>> <Error>"),
    ("11/4/2026 8:15:02 AM ready", "1/14/2027 10:15:02 PM ready", "<TIME> ready"),
    ("2026-11-04 08:15:02 AM ready", "2026-12-14 11:15:02 PM ready", "<TIME> ready"),
    ("8:15:02\u202fAM ready", "11:15:02\u202fPM ready", "<TIME> ready"),
    ("Tue Nov 03 2026 08:15:02 GMT+0100 (CET) x", "Thu Jul 02 2026 18:15:02 GMT+0200 (CEST) x", "<TIME> x"),
    ("Tue, 2026-11-03, 08:15:02 13[IKE] x", "Sat, 2026-12-12, 18:15:02 13[IKE] x", "<TIME> <NUM>[IKE] x"),
    ("Tuesday, November 3, 2026 8:15:02 AM x", "Friday, May 13, 2027 at 8:15:02 PM x", "<TIME> x"),
    ("set at 08:15:02 UTC Tue Nov 3 2026", "set at 18:15:02 CEST Sun Jul 12 2026", "set at <TIME>"),
    ("November 3, 2026 08:15:02 x", "Dec 3 2026 08:15:02 x", "<TIME> x"),
    ("3 November 2026 08:15:02 x", "Mon, 14 Dec 2026 08:15:02 +0100 x", "<TIME> x"),
]


@pytest.mark.parametrize(("one", "other", "masked"), MOMENTS)
def test_a_time_is_masked_whole(parser, one, other, masked):
    assert parser.mask([one, other]).to_pylist() == [masked, masked]


@pytest.mark.parametrize(
    "text", ["May I march on Monday", "Sun sets", "12 Mar", "at <SIZE> PM", "Wed <b>", "Sat > am"]
)
def test_words_that_belong_to_no_time_stay(parser, text):
    assert parser.mask([text])[0].as_py() == text.replace("12", "<NUM>")


# What varies from one time to the next, in programs that many people run.
VARYING = [
    ("port 3(vethd1555a3) entered", "port 3(veth0b2c4d5) entered"),
    ("1lrvgM-00xofM-lj Completed", "1wAb3D-000zQx-2A Completed"),
    ("1rlZbd-0000000AbCd-1ABc Completed", "1wAb3D-00000zQx2A4-09Zz Completed"),
    ("answered PJSIP/326-ddebfabf", "answered PJSIP/326-0debfab1"),
    ('"shop",6053,"10.20.7.11:52728",6f4632bb.8b6b,4,', '"shop",6053,"10.20.7.11:52728",6f46aa01.1f,4,'),
    ("volume kube-api-access-zkhqs mounted", "volume kube-api-access-4btfg mounted"),
    ("session=<ERFn2wBFvz+9Bsko>", "session=<aaBc+/BFvzZZZZko==>"),
    ("SPIs e75153de_i f3149a54_o", "SPIs 00112233_i abcdefab_o"),
    ("uid=CeKkxSTmrjndUlmafi", "uid=C1Kkx2Tmrj3dUlmaf9"),
    ("[logs-app/HafQDsRAiLwWffaJlhToEA] created", "[logs-app/0afQ_sRA-LwWffaJlhToEA] created"),
    ("key pair packer_170159d8-d259-8c90-1eab-5c26c9dae97a", "key pair packer_aaaaaaaa-d259-8c90-1eab-5c26c9dae97a"),
    ("SUCCESSFUL in 1m 4s", "SUCCESSFUL in 42s"),
    ("PASS src/cart.test.js (5.865 s)", "PASS src/cart.test.js (12 s)"),
    ("45%|████▌     | 27/60 [26:15<00:00,  3.81it/s]", "100%|██████████| 60/60 [1:26:15<00:10:02,  1.2s/it]"),
]


@pytest.mark.parametrize(("one", "other"), VARYING)
def test_what_varies_is_one_entry(parser, one, other):
    masked = parser.mask([one, other]).to_pylist()
    assert masked[0] == masked[1]
    assert masked[0] != one


# ---------------------------------------------------------------------- objects have no order

json_values = st.sampled_from(["x", "a,b", "{q}", 'say "no"', "", 7, None, True, ["x", "y,z"], [], {}])


@given(
    headers=st.dictionaries(st.sampled_from(["Accept", "Host", "Range", "X-Id", "Via"]), json_values, min_size=2),
    inner=st.dictionaries(st.sampled_from("abcde"), json_values, min_size=2),
    random=st.randoms(use_true_random=False),
    separators=st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_keys_of_inner_objects_have_no_order(headers, inner, random, separators):
    def written(shuffle):
        def keys(one):
            return dict(random.sample(list(one.items()), len(one))) if shuffle else one

        request = keys({"headers": keys(headers), "tls": keys(inner), "method": "GET"})
        return json.dumps({"level": "info", "request": request, "size": 7}, separators=separators)

    one, other = LogParser().mask([written(False), written(True)]).to_pylist()
    assert one == other


@pytest.mark.parametrize(
    "line",
    [
        '{"b": 1, "a": 2}',  # programs write the outermost one by one
        'set "x": { b, a }',
        '"x": {"b": "c", "a"',
        '"x": {"b": [["d"], ["c"]], "a": "c"}',
        '"x": {}',
    ],
)
def test_the_order_of_all_else_stays(line):
    assert LogParser().mask([line])[0].as_py() == re.sub(r"\d", "<NUM>", line)


def test_objects_that_nothing_closes_are_left_soon():
    """What looked for their ends once took four seconds for one such line."""
    line = '"x": {"b": c, "a": ' + '\\": {' * 1600
    assert LogParser().mask([line])[0].as_py() == line[:8192]
    parser = LogParser(max_entry_characters=1 << 20)
    for more in (100, masking_logmoe.LONGEST_SORTED):
        line = f'"x": {{"b": "c", "a": "{"z" * more}"}}'
        is_sorted = parser.mask([line])[0].as_py().startswith('"x": {"a"')
        assert is_sorted == (more == 100)


# ---------------------------------------------------------------------- tokens go by their shape

HEX_DIGITS, BASE62 = "0123456789abcdef", string.digits + string.ascii_letters
CROCKFORD, KUBERNETES = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", "bcdfghjklmnpqrstvwxz2456789"


def drawn(random, characters, size):
    return "".join(random.choices(characters, k=size))


def base64_of(random, size):
    return base64.b64encode(random.randbytes(size)).decode()


# For each kind how to draw one, and the mask.
TOKENS = {
    "base64, padded": (lambda r: base64_of(r, 32), "<TOKEN>"),
    "base64, padded twice": (lambda r: base64_of(r, 64), "<TOKEN>"),
    "JSON web token": (
        lambda r: f"eyJhbGciOiJIUzI1NiJ9.{drawn(r, BASE62, 40)}.{drawn(r, BASE62 + '_-', 43)}",
        "<TOKEN>",
    ),
    "UUID": (lambda r: str(uuid.UUID(bytes=r.randbytes(16))), "<UUID>"),
    "UUID in braces": (lambda r: f"{{{uuid.UUID(bytes=r.randbytes(16))}}}".upper(), "{<UUID>}"),
    "UUID without dashes": (lambda r: r.randbytes(16).hex(), "<HEX>"),
    "ULID": (lambda r: "01" + drawn(r, CROCKFORD, 24), "<ID>"),
    "ULID in small letters": (lambda r: "01" + drawn(r, CROCKFORD, 24).lower(), "<ID>"),
    "object of MongoDB": (lambda r: f'ObjectId("65{r.randbytes(11).hex()}")', 'ObjectId("<HEX>")'),
    "commit": (lambda r: r.randbytes(20).hex(), "<HEX>"),
    "digest": (lambda r: f"sha256:{r.randbytes(32).hex()}", "sha<NUM>:<HEX>"),
    "session": (lambda r: f"session={drawn(r, BASE62, 26)}7Qa", "session=<ID>"),
    "pod of a deployment": (
        lambda r: f"web-{drawn(r, 'bcdf456789', r.choice([8, 9, 10]))}-{drawn(r, KUBERNETES, 5)}",
        "web-<ID>",
    ),
    "pod of a cron job": (lambda r: f"backup-2841{r.randrange(1000, 9999)}-{drawn(r, KUBERNETES, 5)}", "backup-<ID>"),
    "pod of a daemon set": (
        lambda r: f'pod="kube-system/kube-proxy-{drawn(r, KUBERNETES, 5)}"',
        'pod="kube-system/kube-proxy-<ID>"',
    ),
    "pod of a stateful set": (lambda r: f"pg-{r.randrange(20)}", "pg-<NUM>"),
    "trace": (lambda r: f"trace_id={r.randbytes(16).hex()}", "trace_id=<HEX>"),
    "temporary file": (lambda r: f"/tmp/tmp{drawn(r, BASE62 + '_', 8)}", "<PATH>"),
    "temporary file of Windows": (
        lambda r: rf"C:\Users\bob\AppData\Local\Temp\tmp{drawn(r, HEX_DIGITS, 4)}.tmp",
        "<PATH>",
    ),
    "layer": (lambda r: f"/var/lib/docker/overlay2/{r.randbytes(32).hex()}/merged", "<PATH>"),
    "version in a path": (lambda r: f"/opt/app/{r.randrange(9)}.{r.randrange(30)}.0/lib/x.so", "<PATH>"),
    "milliseconds": (lambda r: f"{r.randrange(9999)}ms", "<DURATION>"),
    "seconds": (lambda r: f"{r.uniform(0, 99):.3f}s", "<DURATION>"),
    "several units": (lambda r: r.choice(["2h30m", "1m2.5s", "5h46m1.71s", "12.3µs", "450ns"]), "<DURATION>"),
    "units in words": (lambda r: r.choice(["3 seconds", "1 second", "12.5 µs", "5 min", "2 hours"]), "<DURATION>"),
    "ISO duration": (lambda r: r.choice(["PT5S", "PT1M2.5S", "P1DT2H"]), "<DURATION>"),
    "size": (lambda r: r.choice(["512MB", "1.2 GiB", "4096 bytes", "10k", "715B", "64Mi", "3 kB"]), "<SIZE>"),
    "e-mail": (lambda r: f"a.{drawn(r, 'abcdef', 6)}+y@{drawn(r, 'abc', 5)}.example.org", "<EMAIL>"),
    "message id": (lambda r: f"<{r.randbytes(8).hex()}@mail.example.org>", "<<EMAIL>>"),
    "address": (lambda r: f"10.{r.randrange(256)}.0.{r.randrange(256)}:{r.randrange(1, 65536)}", "<IP>"),
    "IPv6": (lambda r: f"[2001:db8::{drawn(r, HEX_DIGITS, 4)}]:443", "<IP>"),
    "hardware address": (lambda r: r.randbytes(6).hex(":"), "<MAC>"),
    "hardware address with dots": (lambda r: r.randbytes(6).hex(".", 2), "<MAC>"),
    "URL": (lambda r: f"https://example.org/{drawn(r, BASE62, 8)}?q={drawn(r, BASE62, 8)}", "<URL>"),
    "object of Java": (lambda r: f"com.example.Foo@{drawn(r, HEX_DIGITS, 7)}", "com.example.Foo@<HEX>"),
    "float": (lambda r: r.choice(["1e-05", "2.5E+10", "1.0", "1,234"]), "<NUM>"),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens_of_a_kind_have_one_mask(parser, kind):
    draw, masked = TOKENS[kind]
    random = Random(17)
    assert set(parser.mask([f"got {draw(random)} there" for _ in range(200)]).to_pylist()) == {f"got {masked} there"}


@pytest.mark.parametrize("size", [16, 24, 33])
def test_nearly_all_random_words_have_one_mask(parser, size):
    """Their shape is a matter of chance."""
    random = Random(17)
    tokens = [base64.urlsafe_b64encode(random.randbytes(size)).decode().rstrip("=") for _ in range(1000)]
    assert parser.mask(tokens).to_pylist().count("<ID>") > 930
    keyed = parser.mask([f"id={token}" for token in tokens]).to_pylist()
    assert keyed.count("id=<ID>") > 960


# ---------------------------------------------------------------------- words stay

WORDS = """
facade decade accede defaced effaced deadbeef cafebabe beaded Deadbeef and/or I/O tcp/ip N/A read/write km/h
数据库连接失败 请求超时 接続に失敗しました データベース 연결실패 데이터베이스 соединение отклонено Превышено время
فشل الاتصال خطأ σφάλμα σύνδεσης Datenbankverbindungsfehler Geschwindigkeitsbegrenzungsüberschreitung échec délai
การเชื่อมต่อล้มเหลว त्रुटि कनेक्शन שגיאה חיבור kết nối bağlantı hatası připojení ñandú
NullPointerException java.lang.OutOfMemoryError AbstractSingletonProxyFactoryBean XMLHttpRequest getElementById OSError
MyAppIsRunning iPhone LaTeX PostgreSQL OpenTelemetry kube-proxy ingress-nginx-controller innodb_buffer_pool_size
innodb_buffer_pool_size= max_connections_per_user UPPER_CASE_CONSTANT_NAME CrashLoopBackOff ImagePullBackOff
rsync httpd tmpfs xhtml foo-https my-httpd postgres@shop ECONNREFUSED SIGSEGV GET/POST/PUT/DELETE/PATCH
connection-refused-by-peer not_found_in_registry_cache
""".split()
# Their number goes, and nothing else.
NUMBERED = """
node1 web-01 eth0 utf8 sha256 x86_64 ipv6 h2o log4j s3 ec2 k8s i18n p99 md5 base64 python3 oauth2 http2 v1beta1
Oauth2CodeHandler S3UploadFailedException EC2InstanceMetadata log4j2ConfigurationFactory Utf8ToUtf16Converter
IPv6ToIPv4Gateway ECDHE-RSA-AES128-GCM-SHA256 my-s3cmd grpc-http2 html5 MyAppToS3Bucket us-east-1a h264 mysql8
""".split()


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join))
def test_words_of_any_script_stay(text):
    assert PARSER.mask([text]).to_pylist() == [text]


@pytest.mark.parametrize("word", NUMBERED)
def test_words_with_a_number_keep_their_letters(parser, word):
    assert parser.mask([word]).to_pylist() == [re.sub("[0-9]+", "<NUM>", word)]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("请访问http://x.y/z，然后重试", "请访问<URL>，然后重试"),
        (r"打开C:\a\b.txt失败", "打开<PATH>失败"),
        ("文件/tmp/abc/d.txt不存在", "文件<PATH>不存在"),
        ("耗时123ms完成，大小5MB", "耗时<DURATION>完成，大小<SIZE>"),
        ("状态码：502，重试", "状态码：<HTTP_UNAVAILABLE> 502，重试"),
        ("接続先192.168.0.1:80に失敗", "接続先<IP>に失敗"),
        ("ошибка соединения с 10.0.0.1", "ошибка соединения с <IP>"),
    ],
)
def test_text_without_spaces_keeps_its_words(parser, text, masked):
    assert parser.mask([text]).to_pylist() == [masked]


# ---------------------------------------------------------------------- properties


def mixtures():
    tokens = st.builds(
        lambda kind, seed: TOKENS[kind][0](Random(seed)), st.sampled_from(list(TOKENS)), st.integers(0, 99)
    )
    codes = st.sampled_from([line for line, _ in CODES] + [line.replace("STATUS", "503") for line in WITH_STATUS])
    parts = tokens | codes | st.sampled_from(WORDS + NUMBERED)
    return st.lists(parts, min_size=1, max_size=4).flatmap(
        lambda p: st.sampled_from([" ", ", ", "=", ": "]).map(lambda s: s.join(p))
    )


@settings(max_examples=150, deadline=None)
@example(["C:\\Users\\a\\b=exit status 2"])
@given(st.lists(mixtures(), min_size=1, max_size=20))
def test_masking_mixtures_is_idempotent_and_exact(entries):
    masked = PARSER.mask(entries)
    assert PARSER.mask(masked).to_pylist() == masked.to_pylist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking_logmoe, "FEW_ENTRIES", 0)
        assert PARSER.mask(entries).to_pylist() == masked.to_pylist() == masked_plainly(PARSER, entries)


def test_a_literal_that_a_mask_requires_may_name_a_digit(monkeypatch):
    monkeypatch.setattr(masking_logmoe, "FEW_ENTRIES", 0)
    parser = LogParser(masks=[{"pattern": "a7", "replacement": "<SEVEN>", "phrase": "seven", "requires": ["a7"]}])
    assert parser.mask(["a7", "a8", "b7"]).to_pylist() == ["<SEVEN>", "a8", "b7"]
