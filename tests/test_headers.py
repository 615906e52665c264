"""Headers of entries: times of every common shape, zones, severities, and what is neither."""

import copy
import datetime
import itertools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmoe.headers_logmoe import HeaderReader, Headers
from logmoe.parsing_logmoe import LogParser
from logmoe.severities_logmoe import SEVERITY_RULES
from logmoe.times_logmoe import TIME_RULES


def read(*entries: str, **settings_of_reader) -> Headers:
    return HeaderReader(**settings_of_reader).read(pa.array(entries, pa.large_string()))


# One line of a log, its time, its severity.
KNOWN = [
    # ISO 8601 and its cousins
    ("2024-02-29T23:59:59Z INFO leap day", "2024-02-29T23:59:59Z", "INFO"),
    ("2025-07-04T10:20:30.5Z WARN half a second", "2025-07-04T10:20:30.5Z", "WARNING"),
    ("2025-07-04 10:20:30,123 [main] DEBUG c.e.Shop - ok", "2025-07-04T10:20:30.123", "DEBUG"),
    ("2025-07-04 10:20:30.123456 | ERROR    | shop:pay:40 - no", "2025-07-04T10:20:30.123456", "ERROR"),
    ("2025-07-04T10:20:30.123456789-03:30 TRACE x", "2025-07-04T13:50:30.123456789Z", "TRACE"),
    ("2025-07-04 10:20:30 +0530 FATAL x", "2025-07-04T04:50:30Z", "FATAL"),
    ("2025-07-04 10:20:30.123+02 [7] x", "2025-07-04T08:20:30.123Z", None),
    ("2025-07-04 10:20:30 EST x", "2025-07-04T15:20:30Z", None),
    ("2025-07-04 10:20:30.123 CEST [12] shop@shop LOG:  checkpoint", "2025-07-04T08:20:30.123Z", "INFO"),
    ("2025-07-04 10:20 minutes only", "2025-07-04T10:20:00", None),
    ("2025-07-04T10:20:30.1234567890123Z too fine", "2025-07-04T10:20:30.123456789Z", None),
    ("20250704T102030.123+0200 basic", "2025-07-04T08:20:30.123Z", None),
    ("2025.07.04 10:20:30 dots", "2025-07-04T10:20:30", None),
    ("2025-07-04_10:20:30.12345 svlogd", "2025-07-04T10:20:30.12345", None),
    ("2025-07-04T10:20:30+09:00[Asia/Tokyo] java", "2025-07-04T01:20:30Z", None),
    ("[2025-07-04 10:20:30 Europe/Paris] PHP Warning:  Undefined key", "2025-07-04T08:20:30Z", "WARNING"),
    ("[2025-01-04 10:20:30 Europe/Paris] PHP Notice:  Undefined key", "2025-01-04T09:20:30Z", "INFO"),
    ("2025-07-04 10:20:30 UTC+2 x", "2025-07-04T08:20:30Z", None),
    ("\ufeff2025-07-04 10:20:30 mark of the encoding", "2025-07-04T10:20:30", None),
    ("2025-07-04\t10:20:30\tIAD\t9201\t10.0.0.9\tGET", "2025-07-04T10:20:30", None),
    ("2025-11-24  3:37:12 34 [Note] ready", "2025-11-24T03:37:12", "INFO"),
    ("Fri 2025-07-04 10:20:30 CEST host app[7]: x", "2025-07-04T08:20:30Z", None),
    # dotted clocks
    ("2005-06-03-15.42.50.363779 R02 RAS KERNEL INFO parity error corrected", "2005-06-03T15:42:50.363779", "INFO"),
    (
        "- 1117838570 2005.06.03 R02 2005-06-03-15.42.50.675872 R02 RAS APP FATAL x",
        "2005-06-03T15:42:50.675872",
        "FATAL",
    ),
    ("2025-07-04 10.20.30,9 shop", "2025-07-04T10:20:30.9", None),
    # names of months
    ('10.0.0.8 - ann [04/Jul/2025:10:20:30 -0700] "GET /ERROR HTTP/1.1" 500 7', "2025-07-04T17:20:30Z", None),
    ("[Fri Jul 04 10:20:30.123456 2025] [proxy:warn] [pid 7] x", "2025-07-04T10:20:30.123456", "WARNING"),
    ("[Fri Jul  4 10:20:30 2025] [notice] resuming", "2025-07-04T10:20:30", "INFO"),
    ("Fri Jul  4 10:20:30 CEST 2025", "2025-07-04T08:20:30Z", None),
    ("Fri Jul  4 10:20:30 PM UTC 2025", "2025-07-04T22:20:30Z", None),
    ("Fri, 04 Jul 2025 10:20:30 GMT crit: x", "2025-07-04T10:20:30Z", "FATAL"),
    ("04-Jul-2025 10:20:30.123 SEVERE [main] x", "2025-07-04T10:20:30.123", "ERROR"),
    ("04-Jul-2025 10:20:30.123 FINE [main] x", "2025-07-04T10:20:30.123", "DEBUG"),
    ("=ERROR REPORT==== 4-Jul-2025::10:20:30.123456 ===", "2025-07-04T10:20:30.123456", "ERROR"),
    ("7:M 04 Jul 2025 10:20:30.123 # Can't save in background: fork", "2025-07-04T10:20:30.123", "WARNING"),
    ("[7] 04 Jul 10:20:30.123 * ready", "--07-04T10:20:30.123", "INFO"),
    ("Jul 4, 2025 10:20:30 PM org.example.Shop pay\nSEVERE: no money", "2025-07-04T22:20:30", "ERROR"),
    ("Jul 4, 2025, 10:20:30\u202fPM org.example.Shop pay\nFINER: entry", "2025-07-04T22:20:30", "TRACE"),
    ("Friday, July 4, 2025 at 12:20:30 AM", "2025-07-04T00:20:30", None),
    ("Fri Jul 04 2025 10:20:30 GMT+0200 (CEST) x", "2025-07-04T08:20:30Z", None),
    ("2025 Jul  4 10:20:30.123 core1 %LINK-3-UPDOWN: Interface down", "2025-07-04T10:20:30.123", "ERROR"),
    ("Jul 04 2025 10:20:30: %ASA-4-106023: Deny tcp", "2025-07-04T10:20:30", "WARNING"),
    ("*Jul  4 10:20:30.123: %SYS-5-CONFIG_I: Configured", "--07-04T10:20:30.123", "INFO"),
    ("Jul  4 10:20:30 mail postfix/smtpd[9]: warning: hostname", "--07-04T10:20:30", "WARNING"),
    ("Feb 29 10:20:30 host cron[9]: x", "--02-29T10:20:30", None),
    ("<11>Jul  4 10:20:30 host app: x", "--07-04T10:20:30", "ERROR"),
    ("<14>1 2025-07-04T10:20:30.123Z host app 7 - - x", "2025-07-04T10:20:30.123Z", "INFO"),
    ("<14>Jul  4 10:20:30 host app: ERROR the text counts for more", "--07-04T10:20:30", "ERROR"),
    # numbers in the order of the US and of Europe
    ("7/14/2025 10:20:30 AM x", "2025-07-14T10:20:30", None),
    ("14/7/2025 10:20:30 x", "2025-07-14T10:20:30", None),
    ("04.07.2025 10:20:30,123 FEHLER x", "2025-07-04T10:20:30.123", None),
    ("07/14/2025, 12:20:30 p.m. x", "2025-07-14T12:20:30", None),
    ("[7/14/25 10:20:30:123 CET] 0000004a SystemErr     E x", "2025-07-14T09:20:30.123Z", "ERROR"),
    ("17/06/09 20:10:40 INFO executor.Executor: x", "2017-06-09T20:10:40", "INFO"),
    # compact
    ("20250704 102030 7 WARN dfs.DataNode: x", "2025-07-04T10:20:30", "WARNING"),
    ("250704 102030 7 INFO dfs.DataNode: x", "2025-07-04T10:20:30", "INFO"),
    ("250704 10:20:30 [ERROR] mysqld: x", "2025-07-04T10:20:30", "ERROR"),
    ("20250704-10:20:30:123|Step|7|x", "2025-07-04T10:20:30.123", None),
    ("20250704102030 x", "2025-07-04T10:20:30", None),
    ("07-04 10:20:30.123  1702  2395 E ActivityManager: x", "--07-04T10:20:30.123", "ERROR"),
    ("[10.30 16:49:06] app.exe - proxy.example:80 close", "--10-30T16:49:06", None),
    ("[0704/102030.123:ERROR:shop.cc(88)] x", "--07-04T10:20:30.123", "ERROR"),
    ("E0704 10:20:30.123456       7 main.go:88] x", "--07-04T10:20:30.123456", "ERROR"),
    ("W20250704 10:20:30.123456 7 main.cc:88] x", "2025-07-04T10:20:30.123456", "WARNING"),
    # since 1970
    ("1751624430 x", "2025-07-04T10:20:30", None),
    ("[1751624430] unbound[7:0] info: start", "2025-07-04T10:20:30", "INFO"),
    ("1751624430.123      7 10.0.0.8 TCP_MISS/200 7 GET http://a.example/ - -", "2025-07-04T10:20:30.123", None),
    ("1751624430123 x", "2025-07-04T10:20:30.123", None),
    ("1751624430123456 x", "2025-07-04T10:20:30.123456", None),
    ("1751624430123456789 x", "2025-07-04T10:20:30.123456789", None),
    # other scripts
    ("2025年7月4日 10:20:30 エラー", "2025-07-04T10:20:30", None),
    ("2025年07月04日 10时20分30秒 启动", "2025-07-04T10:20:30", None),
    ("时间：2025-07-04 10:20:30 级别 ERROR", "2025-07-04T10:20:30", "ERROR"),
    # after other fields
    ("nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 7 INFO nova.api", "2017-05-16T00:00:00.008", "INFO"),
    ("[GIN] 2025/07/04 - 10:20:30 | 200 |", "2025-07-04T10:20:30", None),
    ("web-7c9 app 2025-07-04T10:20:30Z x", "2025-07-04T10:20:30Z", None),
    ("INFO  [main] 2025-07-04 10:20:30,123 Server.java:7 - x", "2025-07-04T10:20:30.123", "INFO"),
    ("WARN 2025/07/04 10:20:30 x", "2025-07-04T10:20:30", "WARNING"),
    ("2025/07/04 10:20:30 [emerg] 7#7: bind() failed", "2025-07-04T10:20:30", "FATAL"),
    ('Started GET "/carts" for 10.0.0.8 at 2025-07-04 10:20:30 +0200', "2025-07-04T08:20:30Z", None),
    ("date=2025-07-04 time=10:20:30 devname=fw level=notice x", "2025-07-04T10:20:30", "INFO"),
    ('"2025-07-04 10:20:30","WARN","x"', "2025-07-04T10:20:30", "WARNING"),
    ("# Time: 2025-07-04T10:20:30.123456Z\n# Query_time: 2", "2025-07-04T10:20:30.123456Z", None),
    # keys
    ('{"level":50,"time":1751624430123,"msg":"pino"}', "2025-07-04T10:20:30.123", "ERROR"),
    (
        '{"name":"shop","level":20,"msg":"bunyan","time":"2025-07-04T10:20:30.123Z"}',
        "2025-07-04T10:20:30.123Z",
        "DEBUG",
    ),
    ('{"level":"dpanic","ts":1751624430.123456,"msg":"zap"}', "2025-07-04T10:20:30.123456", "FATAL"),
    (
        '{"@t":"2025-07-04T10:20:30.1234567Z","@mt":"serilog","@l":"Warning"}',
        "2025-07-04T10:20:30.1234567Z",
        "WARNING",
    ),
    ('{"t":{"$date":"2025-07-04T10:20:30.123+02:00"},"s":"W","c":"NETWORK"}', "2025-07-04T08:20:30.123Z", "WARNING"),
    ('{"version":"1.1","host":"a","timestamp":1751624430.123,"level":3}', "2025-07-04T10:20:30.123", "ERROR"),
    ('{"asctime":"2025-07-04 10:20:30,123","levelname":"CRITICAL","message":"x"}', "2025-07-04T10:20:30.123", "FATAL"),
    ('{"levelno": 30, "time": "2025-07-04T10:20:30"}', "2025-07-04T10:20:30", "WARNING"),
    ('{"timeUnixNano":"1751624430123456789","severityNumber":17}', "2025-07-04T10:20:30.123456789", "ERROR"),
    ('{"log":{"level":"warn"},"@timestamp":"2025-07-04T10:20:30Z"}', "2025-07-04T10:20:30Z", "WARNING"),
    ('{"date":"2025-07-04","time":"10:20:30","level":"info"}', "2025-07-04T10:20:30", "INFO"),
    (
        '{\n  "message": "error 2001-01-01 00:00:00",\n  "time": "2025-07-04T10:20:30Z"\n}',
        "2025-07-04T10:20:30Z",
        None,
    ),
    ('{"msg":"' + "x" * 900 + '","time":"2025-07-04T10:20:30Z","level":"error"}', "2025-07-04T10:20:30Z", "ERROR"),
    ('{"log":"2025/07/04 10:20:30 listening\\n","stream":"stderr"}', "2025-07-04T10:20:30", None),
    ('{"start time":"2001-01-01T00:00:00Z","ts":"2025-07-04T10:20:30Z"}', "2025-07-04T10:20:30Z", None),
    ('{"PRIORITY":"4","__REALTIME_TIMESTAMP":"1751624430123456"}', "2025-07-04T10:20:30.123456Z", "WARNING"),
    (
        "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1751624430123456\nPRIORITY=2\nMESSAGE=x",
        "2025-07-04T10:20:30.123456Z",
        "FATAL",
    ),
    ('time=2025-07-04T10:20:30.123Z level=WARN msg="slog"', "2025-07-04T10:20:30.123Z", "WARNING"),
    ('msg="seen 2001-01-01 00:00:00" lvl=eror t=2025-07-04T10:20:30+0000', "2025-07-04T10:20:30Z", "ERROR"),
    (
        "Log Name:      Application\nSource:        Shop\nDate:          7/14/2025 1:20:30 PM\nEvent ID:      7\n"
        "Level:         Critical\nDescription:\nerror 5",
        "2025-07-14T13:20:30",
        "FATAL",
    ),
    ("07/14/2025 01:20:30 PM\nLogName=Security\nType=Information\nMessage=x", "2025-07-14T13:20:30", "INFO"),
    (
        "<Event xmlns='http://schemas.example/event'><System><EventID>7</EventID><Level>2</Level>"
        "<TimeCreated SystemTime='2025-07-04T10:20:30.1234567Z'/></System></Event>",
        "2025-07-04T10:20:30.1234567Z",
        "ERROR",
    ),
    # severities without a time
    ("fail: Shop.Pay[0]\n      refused", None, "ERROR"),
    ("dbug: Shop.Pay[0]", None, "DEBUG"),
    ("[10:20:30 FTL] serilog", None, "FATAL"),
    ("[10:20:30 VRB] serilog", None, "TRACE"),
    ("10:20:30.123 [main] WARN  c.e.Shop - logback", None, "WARNING"),
    ("10:20:30.123 [error] elixir", None, "ERROR"),
    ("10:20PM WRN zerolog", None, "WARNING"),
    ("ERROR:root:python", None, "ERROR"),
    ("npm ERR! code ENOENT", None, "ERROR"),
    ("INFO:     10.0.0.8:51022 - uvicorn", None, "INFO"),
    ("E/Shop( 1702): brief", None, "ERROR"),
    # tools that build
    ("shop.c:12:5: error: expected ';' before 'return'", None, "ERROR"),
    ("src/shop.c:12:10: fatal error: pay.h: No such file or directory", None, "ERROR"),
    ("shop.c:12:5: warning: unused variable 'total' [-Wunused-variable]", None, "WARNING"),
    ("shop.c:9:5: note: declared here", None, "INFO"),
    ("Shop.java:3: error: incompatible types: String cannot be converted to int", None, "ERROR"),
    ("src/shop.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.", None, "ERROR"),
    ("src/shop.ts:3:5 - error TS2322: Type 'string' is not assignable to type 'number'.", None, "ERROR"),
    (r"C:\src\shop.c(12): warning C4101: 'total': unreferenced local variable", None, "WARNING"),
    ("make[2]: *** [Makefile:3: all] Error 1", None, "ERROR"),
    ("CMake Error at CMakeLists.txt:3 (find_package):", None, "ERROR"),
    ("CMake Deprecation Warning at CMakeLists.txt:1 (cmake_minimum_required):", None, "WARNING"),
    ("E: Unable to locate package shop", None, "ERROR"),
    ("W: Some index files failed to download.", None, "WARNING"),
    # verdicts of tests
    ("FAIL: gdb.base/shop.exp: print error", None, "ERROR"),
    ("PASS: gdb.base/shop.exp: print error", None, "INFO"),
    ("XFAIL: shop/pay", None, "INFO"),
    ("XPASS: shop/pay", None, "WARNING"),
    ("FAILED: java/net/Shop.java", None, "ERROR"),
    ("Passed: java/net/Error.java#id0", None, "INFO"),
    ("FAILED: [code=1] shop ", None, "ERROR"),
    ("Failed: 0/12", None, None),
    ("Failed: 0.0%", None, None),
    ("not ok 3 - pays with a card", None, "ERROR"),
    ("    ok 3 - refuses what FAILED", None, "INFO"),
    ("ok  \tshop.example/pay\t0.3s", None, "INFO"),
    ("FAIL\tshop.example/pay\t0.3s", None, "ERROR"),
    ("    --- FAIL: TestPay/card (0.00s)", None, "ERROR"),
    ("FAIL src/pay.test.js", None, "ERROR"),
    ("PASS src/error.test.js", None, "INFO"),
    ("[  FAILED  ] Shop.Pay (0 ms)", None, "ERROR"),
    ("[       OK ] Shop.Error (0 ms)", None, "INFO"),
    ("[FAILED] Failed to start shop.service.", None, "ERROR"),
    ("FAILED test_pay.py::test_card - AssertionError: assert 1 == 2", None, "ERROR"),
    ("tests/test_pay.py::test_error PASSED        [ 50%]", None, "INFO"),
    ("tests/test_pay.py::test_card[1-x y] FAILED  [100%]", None, "ERROR"),
    ("test_card (shop.Pay.test_card) ... FAIL", None, "ERROR"),
    ("test_card (shop.Pay.test_card) ... skipped 'no card'", None, "INFO"),
    ("test pay::card ... FAILED", None, "ERROR"),
    ("t/pay.t .. Failed 1/3 subtests", None, "ERROR"),
    ("t/card.t ......... ok", None, "INFO"),
    (" 2/10 Test  #2: pay ................***Failed    0.01 sec", None, "ERROR"),
    (" 1/10 Test  #1: FAILED ..............   Passed    0.01 sec", None, "INFO"),
    ("2/5 pay FAIL 0.01s   exit status 1", None, "ERROR"),
    ("  \u2713 throws an error (2 ms)", None, "INFO"),
    ("  \u2715 pays (3 ms)", None, "ERROR"),
    ("ok: [web1]", None, "INFO"),
    ("failed: [web1] (item=shop)", None, "ERROR"),
    # neither: sentences
    ("FAIL to plan and plan to fail", None, None),
    ("ok, 3 are left", None, None),
    ("it is ok", None, None),
    ("wait ... ok then", None, None),
    ("the shop.c:12 error is known", None, None),
    ("D, [2025-07-04T10:20:30.123456 #7] DEBUG -- : ruby", "2025-07-04T10:20:30.123456", "DEBUG"),
    ("[2025-07-04 10:20:30] production.CRITICAL: laravel", "2025-07-04T10:20:30", "FATAL"),
    ("[2025-07-04 10:20:30,123: WARNING/MainProcess] celery", "2025-07-04T10:20:30.123", "WARNING"),
    ("[2025-07-04T10:20:30,123][INFO ][o.e.n.Node] elasticsearch", "2025-07-04T10:20:30.123", "INFO"),
    ("2025-07-04T10:20:30.123+0000 I NETWORK  [conn7] mongod", "2025-07-04T10:20:30.123Z", "INFO"),
    ("2025-07-04 10:20:30 UTC [7] app@shop DETAIL:  Key exists ERROR", "2025-07-04T10:20:30Z", None),
    ("2025-07-04 10:20:30.10 spid7s      Error: 9002, Severity: 17", "2025-07-04T10:20:30.10", "ERROR"),
    ("Fri Jul  4 10:20:30 2025 daemon.warn dnsmasq[9]: openwrt", "2025-07-04T10:20:30", "WARNING"),
    ("Jul  4 10:20:30 h NetworkManager[9]: <info>  [1751624430.1] x", "--07-04T10:20:30", "INFO"),
    ("Jul  4 10:20:30 h kubelet[9]: E0704 10:20:30.123456 9 kubelet.go:1] x", "--07-04T10:20:30", "ERROR"),
    ("[I 2025-07-04 10:20:30.123 ServerApp] jupyter", "2025-07-04T10:20:30.123", "INFO"),
    ("[W 250704 10:20:30 web:2243] tornado", "2025-07-04T10:20:30", "WARNING"),
    ("2025-07-04 10:20:30.123456: W core/tensor.cc:55] x", "2025-07-04T10:20:30.123456", "WARNING"),
    ("2025-07-04 10:20:30.123 1702-2395/com.example E/Shop: x", "2025-07-04T10:20:30.123", "ERROR"),
    ("04.07.25 10:20:30 short year", "2025-07-04T10:20:30", None),
    ("Fri 4 Jul 10:20:30 2025 x", "2025-07-04T10:20:30", None),
    # neither
    ("", None, None),
    ("06:25:01 clock only", None, None),
    ("[   12.233441] usb 1-1: new device", None, None),
    ("2025-13-04 10:20:30 month 13", None, None),
    ("2025-02-29 10:20:30 no leap year", None, None),
    ("2025-07-04 25:20:30 hour 25", None, None),
    ("0751624430 before 2001", None, None),
    ("9999999999 after 2100", None, None),
    ("12345678901 eleven digits", None, None),
    ("order 1751624430 paid", None, None),
    ("snapshot restored from 2025-07-04 10:20:30", None, None),
    ("the certificate of the shop expires 2025-07-04T10:20:30Z", None, None),
    ('"GET /orders?since=2025-07-04T10:20:30Z HTTP/1.1" 200', None, None),
    ("upload of /data/2025-07-04T10:20:30Z.csv done", None, None),
    ("first line\n2025-07-04 10:20:30 second line ERROR", None, None),
    ("GET /error/help 200", None, None),
    ("2025-07-04 10:20:30 cannot go on, read error: x", "2025-07-04T10:20:30", None),
    ("2025-07-04 10:20:30 shop stopped\n  [error] of another line", "2025-07-04T10:20:30", None),
    ("2025-07-04 10:20:30 the warning lamp is off", "2025-07-04T10:20:30", None),
    ("2025-07-04 10:20:30 error_count=0", "2025-07-04T10:20:30", None),
    ("2025-07-04 10:20:30 info: 0 errors, 0 warnings", "2025-07-04T10:20:30", "INFO"),
    ("2025-07-04 10:20:30 DEBUG last status was ERROR", "2025-07-04T10:20:30", "DEBUG"),
    ('{"level":"high","priority":"none","msg":"ERROR"}', None, None),
    ("2025-07-04 10:20:30 I am here", "2025-07-04T10:20:30", None),
]


@pytest.mark.parametrize(("entry", "time", "severity"), KNOWN, ids=[entry[:40] for entry, _, _ in KNOWN])
def test_known_headers(entry, time, severity):
    headers = read(entry)
    assert (headers.iso(), headers.severities()) == ([time], [severity])


def test_entries_read_together_as_alone():
    entries = [entry for entry, _, _ in KNOWN if "/2025" not in entry[:12]]
    headers = read(*entries)
    expected = {entry: (time, severity) for entry, time, severity in KNOWN}
    assert list(zip(headers.iso(), headers.severities(), strict=True)) == [expected[entry] for entry in entries]


def test_zones_are_applied():
    headers = read(
        "2025-07-04T10:20:30+02:00 a", "2025-07-04T08:20:30Z b", "2025-07-04 08:20:30 c", "1751617230 d", "e"
    )
    assert headers.seconds.tolist() == [1751617230] * 4 + [0]
    assert headers.has_zone.tolist() == [True, True, False, True, False]
    assert headers.has_time.tolist() == headers.has_year.tolist() == [True] * 4 + [False]


def test_array_types():
    headers = read("2025-07-04 10:20:30.25 x", "x")
    assert headers.seconds.dtype == np.int64
    assert headers.nanoseconds.dtype == np.int32
    assert headers.severity.dtype == np.int8
    assert headers.nanoseconds.tolist() == [250_000_000, 0]
    assert len(headers) == 2


# ---------------------------------------------------------------------- order of day and month


@pytest.mark.parametrize(
    ("entries", "months"),
    [
        (["05/03/2025 10:20:30 a", "31/03/2025 10:20:30 b"], [3, 3]),
        (["05/03/2025 10:20:30 a", "05/31/2025 10:20:30 b"], [5, 5]),
        (["05/31/2025 10:20:30 a", "31/05/2025 10:20:30 b", "05/06/2025 10:20:30 c"], [5, 5, 5]),
        (["05/03/2025 10:20:30 nothing settles it"], [5]),
        (["05-03-2025 10:20:30 nothing settles it"], [3]),
        (["05/31/2025 10:20:30 a", "05.03.2025 10:20:30 dots are day first"], [5, 3]),
        (["05/05/2025 10:20:30 a", "06/04/2025 10:20:30 b", "13/04/2025 10:20:30 c"], [5, 4, 4]),
    ],
)
def test_first_settling_entry_decides_the_order(entries, months):
    assert [int(time[5:7]) for time in read(*entries).iso()] == months


def test_order_is_kept_over_chunks_until_the_next_log():
    reader = HeaderReader()
    reader.read(pa.array(["31/03/2025 10:20:30 x"]))
    ambiguous = pa.array(["05/03/2025 10:20:30 x"])
    assert reader.day_first is True
    assert reader.read(ambiguous).iso() == ["2025-03-05T10:20:30"]
    reader.start()
    assert reader.read(ambiguous).iso() == ["2025-05-03T10:20:30"]
    reader.day_first = True
    assert reader.read(ambiguous).iso() == ["2025-03-05T10:20:30"]


# ---------------------------------------------------------------------- years that are not written


def test_new_year_is_passed():
    entries = ["Nov 30 10:00:00 a", "Dec 31 23:59:59 a", "Jan  1 00:00:00 a", "Feb 29 00:00:00 a", "Dec 31 23:59:59 a"]
    entries += ["Jan  1 00:00:01 a"]
    headers = read(*entries)
    assert not headers.has_year.any()
    assert (np.diff(headers.seconds) > 0).all()
    assert headers.seconds[2] - headers.seconds[1] == 1
    assert headers.seconds[5] - headers.seconds[4] == 2
    assert headers.iso()[2:4] == ["--01-01T00:00:00", "--02-29T00:00:00"]


def test_entries_out_of_order_around_new_year_stay_near():
    headers = read("Dec 31 23:59:58 a", "Jan  1 00:00:01 b", "Dec 31 23:59:59 a", "Jan  1 00:00:02 b")
    assert (headers.seconds - headers.seconds[0]).tolist() == [0, 3, 1, 4]


def test_gap_of_many_months_is_no_new_year():
    headers = read("Jan  5 00:00:00 a", "Nov  5 00:00:00 a")
    assert headers.seconds[1] - headers.seconds[0] == 305 * 86_400


def test_a_time_without_a_year_has_that_of_its_neighbours():
    written = [
        "Dec 31 23:59:57 proxy started",
        "[31/Dec/2026:23:59:58 +0000] request",
        "Dec 31 23:59:59 server is down",
        "Jan  1 00:00:01 server is up",
        "[01/Jan/2027:00:00:02 +0000] request",
        "Dec 31 23:59:58 late",
        "Feb 28 00:00:00 much later",
    ]
    parser = LogParser()
    parsed = parser.parse(written)
    at = parser.timestamps(parsed)
    assert (at[1:] - at[1]).tolist() == [0, 1, 3, 4, 0, 58 * 86_400 + 2]
    assert parser.headers(parsed).iso()[2] == "--12-31T23:59:59"  # what is written
    reader = parser.time_reader()
    chunks = [parser.timestamps(parsed.take(np.array(part)), reader) for part in ([0, 1], [2, 3, 4], [5, 6])]
    assert np.concatenate(chunks).tolist() == at.tolist()


def test_small_jump_back_is_no_new_year():
    headers = read("Jul  5 00:00:00 a", "Mar  5 00:00:00 a")
    assert headers.seconds[1] < headers.seconds[0]


# ---------------------------------------------------------------------- rules


def test_rules_are_data():
    assert HeaderReader(json.loads(json.dumps(TIME_RULES)), json.loads(json.dumps(SEVERITY_RULES))).read(
        pa.array([entry for entry, _, _ in KNOWN[:30]])
    ).iso() == [time for _, time, _ in KNOWN[:30]]


def test_own_rules():
    headers = read(
        "stardate 2025~185@ 10h20 loud x",
        time_rules=[{"name": "own", "pattern": r"(?P<Y>\d{4})~(?P<m>\d)(?P<d>\d{2})@ (?P<H>\d{2})h(?P<M>\d{2})"}],
        severity_rules=[{"name": "own", "pattern": r"\x1a (?P<word>\w+)", "words": {"loud": "FATAL"}}],
    )
    assert headers.iso() == [None]  # day 85
    headers = read(
        "stardate 2025~115@ 10h20 loud x",
        time_rules=[{"name": "own", "pattern": r"(?P<Y>\d{4})~(?P<m>\d)(?P<d>\d{2})@ (?P<H>\d{2})h(?P<M>\d{2})"}],
        severity_rules=[{"name": "own", "pattern": r"\x1a (?P<word>\w+)", "words": {"loud": "FATAL"}}],
    )
    assert (headers.iso(), headers.severities()) == (["2025-01-15T10:20:00"], ["FATAL"])


def test_no_rules():
    headers = read("2025-07-04 10:20:30 ERROR x", time_rules=[], severity_rules=[])
    assert (headers.iso(), headers.severities()) == ([None], [None])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"time_rules": [{"pattern": r"(?P<Y>\d{4})"}]}, "a time rule needs `name` and `pattern`"),
        ({"time_rules": [{"name": "own", "pattern": r"(?P<Y>\d{4}"}]}, "time rule own"),
        ({"time_rules": [{"name": "own", "pattern": r"(?P<year>\d{4})"}]}, "'own' needs groups named"),
        ({"time_rules": [{"name": "own", "pattern": r"(?P<Y>2\d{3})"}]}, "'own' names a digit"),
        ({"time_rules": [{"name": "own", "pattern": r"(?P<Y>\d{4})", "place": "end"}]}, "'own' needs a `place`"),
        ({"severity_rules": [{"name": "own", "pattern": "x"}]}, "'own' needs groups named"),
        ({"severity_rules": [{"name": "own", "pattern": "(?P<word>x", "words": {}}]}, "severity rule own"),
        (
            {"severity_rules": [{"name": "own", "pattern": "(?P<word>x)", "words": {"x": "LOUD"}}]},
            "'own' names 'LOUD'",
        ),
        ({"severity_rules": [{"name": "own", "pattern": "(?P<word>x)", "colour": 1}]}, "a severity rule needs"),
    ],
)
def test_wrong_rule_is_named(rules, message):
    with pytest.raises(ValueError, match=message):
        HeaderReader(**rules)


# ---------------------------------------------------------------------- properties

TEXT = st.text(max_size=40) | st.text('0123456789:-/.,TZ[]{}"=<> \n\x1aAPMJanerror|', max_size=60)
ENTRY = st.one_of(
    TEXT,
    st.sampled_from([entry for entry, _, _ in KNOWN]),
    st.builds("{}{}".format, st.sampled_from([entry for entry, _, _ in KNOWN]), TEXT),
    st.builds("{}{}".format, TEXT, st.sampled_from([entry for entry, _, _ in KNOWN])),
)


@settings(deadline=None)
@given(st.lists(ENTRY, max_size=20))
@example(["9" * 19 + " x", "9999-99-99 99:99:99", '"level":99', "<999>", "\x1a\x1a", "\x00", "é" * 60])
def test_nothing_raises(entries):
    headers = read(*entries)
    assert len(headers.iso()) == len(headers.severities()) == len(entries)
    assert ((headers.nanoseconds >= 0) & (headers.nanoseconds < 10**9)).all()
    assert (~headers.has_time <= (headers.seconds == 0)).all()


@settings(deadline=None)
@given(st.lists(ENTRY, max_size=20), st.lists(st.integers(0, 20), max_size=4))
def test_chunks_do_not_matter(entries, cuts):
    whole, reader = HeaderReader(), HeaderReader()
    whole.day_first = reader.day_first = False
    expected = whole.read(pa.array(entries, pa.string()))
    bounds = [0, *sorted(min(cut, len(entries)) for cut in cuts), len(entries)]
    text = pa.array(entries, pa.large_string())
    chunks = [reader.read(text.slice(a, b - a)) for a, b in itertools.pairwise(bounds)]
    for name in vars(expected):
        np.testing.assert_array_equal(
            getattr(expected, name), np.concatenate([getattr(chunk, name) for chunk in chunks]), err_msg=name
        )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(ENTRY, max_size=8), min_size=2, max_size=6))
def test_logs_and_threads_that_share_shapes_do_not_meet(logs):
    """Readers of one parser remember shapes together; what one log said of its dates is not known to another."""
    parser = LogParser()
    texts = [pa.array(entries, pa.large_string()) for entries in logs]
    expected = [HeaderReader().read(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: parser.header_reader().read(text), texts * 3))
    for one, other in zip(expected * 3, together, strict=True):
        for name in vars(one):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_logs_of_other_regions_are_read_alike_by_one_parser_also_in_another_process():
    parser = LogParser()
    logs = {
        "2025-07-04 10:20:30 Europe/Berlin x": "2025-07-04T08:20:30Z",
        "2025-07-04 10:20:30 America/New_York x": "2025-07-04T14:20:30Z",
        "2025-07-04 10:20:30 Asia/Kolkata x": "2025-07-04T04:50:30Z",
    }
    readers = [parser.header_reader() for _ in logs]
    for _ in range(2):
        for reader, (entry, time) in zip(readers, logs.items(), strict=True):
            assert reader.read(pa.array([entry], pa.large_string())).iso() == [time]
    for used in (pickle.loads(pickle.dumps(parser)), copy.deepcopy(parser)):
        for entry, time in logs.items():
            assert used.header_reader().read(pa.array([entry], pa.large_string())).iso() == [time]


def test_rules_that_differ_share_nothing():
    entries = pa.array(["2025-07-04 10:20:30 ERROR x"], pa.large_string())
    assert HeaderReader().read(entries).severities() == ["ERROR"]
    assert HeaderReader(None, []).read(entries).severities() == [None]
    assert HeaderReader([], None).read(entries).iso() == [None]
    changed = [dict(rule) for rule in TIME_RULES]
    HeaderReader(changed)
    for rule in changed:  # also where somebody changes the very list that a reader was given
        rule["pattern"] = r"(?P<n1>\d+)NEVER"
    assert HeaderReader(changed).read(entries).iso() == [None]


FORMS = [
    "%Y-%m-%d %H:%M:%S{f} x",
    "[%Y/%m/%d %H:%M:%S{f}] x",
    "%d/%b/%Y:%H:%M:%S{f} x",
    "%d-%b-%Y %H:%M:%S{f} x",
    "%a, %d %b %Y %H:%M:%S{f} x",
    "%b %d %Y %H:%M:%S{f} x",
    "%a %b %d %H:%M:%S{f} %Y",
    "%d.%m.%Y %H:%M:%S{f} x",
    "%Y%m%dT%H%M%S{f} x",
    '{{"msg":"x","time":"%Y-%m-%dT%H:%M:%S{f}"}}',
    "%B %d, %Y %I:%M:%S{f} %p",
]


TIMES = st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2199, 12, 31))


# Lists, because a call costs the same for one entry and for many.
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TIMES, st.sampled_from(FORMS), st.integers(0, 6)), min_size=1, max_size=20))
def test_written_time_is_read_back(written):
    entries, expected = [], []
    for time, form, digits in written:
        fraction = f".{time.microsecond:06d}"[: digits + 1] if digits else ""
        entries.append(time.strftime(form.replace("{{", "{").replace("}}", "}").replace("{f}", fraction)))
        expected.append(time.strftime("%Y-%m-%dT%H:%M:%S") + fraction)
    assert read(*entries).iso() == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TIMES, st.integers(-14 * 4, 14 * 4)), min_size=1, max_size=20))
def test_offset_is_subtracted(written):
    zoned = [
        time.replace(microsecond=0, tzinfo=datetime.timezone(datetime.timedelta(minutes=15 * quarters)))
        for time, quarters in written
    ]
    headers = read(*(f"{time.isoformat()} x" for time in zoned))
    assert headers.seconds.tolist() == [int(time.timestamp()) for time in zoned]
    assert headers.names_zone.all()


def test_many_shapes():
    """More shapes than are remembered, and more entries than are read at once."""
    letters = ["".join(chr(97 + number // 26**place % 26) for place in range(4)) for number in range(40_000)]
    entries = [f"2025-07-04 10:20:30.{number:06d} {word} ERROR x" for number, word in enumerate(letters)]
    headers = read(*entries)
    assert headers.nanoseconds.tolist() == [number * 1000 for number in range(40_000)]
    assert (headers.severity == 4).all()


def test_null_and_chunked_text():
    text = pa.chunked_array([pa.array(["2025-07-04 10:20:30 x", None]), pa.array([], pa.string())])
    assert HeaderReader().read(text).iso() == ["2025-07-04T10:20:30", None]
