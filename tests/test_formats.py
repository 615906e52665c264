"""Logs as programs and their carriers write them, end to end: which lines form an entry, its time, its severity."""
# ruff: noqa: E501

import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe.parsing_logmoe import EntryStream, LogParser
from logmoe.reading_logmoe import LogReader
from logmoe.transports_logmoe import TRANSPORTS

# A log follows each `== name`. In it, each entry follows `» time severity`, `-` for none; a bare `»` precedes lines
# that belong to no entry. So that it can be seen: ⇥ tab, ␛ escape, ⏎ carriage return, ▮ byte order mark, ␠ space at the
# end of a line, ▒ 16 KiB of text.
FORMATS = r"""
== cri, two streams of one container, plain and JSON
» 2026-03-12T06:25:01.104522123Z INFO
2026-03-12T06:25:01.104522123Z stdout F [INFO] plugin/reload: Running configuration SHA512 = 8f1c
» --03-12T06:25:02.000001 ERROR
2026-03-12T06:25:02.000000001Z stderr F E0312 06:25:02.000001       1 reflector.go:147] failed to list *v1.Pod: Unauthorized
» 2026-03-12T06:25:03Z WARNING
2026-03-12T06:25:03.000000002Z stdout F {"level":"warn","time":"2026-03-12T06:25:03Z","message":"queue is long"}
== docker json-file with attributes and partial lines
» 2026-03-12T06:25:01.104522123Z -
{"log":"first half, ▒","stream":"stdout","attrs":{"tag":"web"},"time":"2026-03-12T06:25:01.104522123Z"}
{"log":"second half\n","stream":"stdout","attrs":{"tag":"web"},"time":"2026-03-12T06:25:01.104522124Z"}
» 2026-03-12T06:25:02.1Z ERROR
{"log":"ERROR: cannot open /etc/app.conf\n","stream":"stderr","attrs":{"tag":"web"},"time":"2026-03-12T06:25:02.1Z"}
{"log":"  caused by a missing file\n","stream":"stderr","attrs":{"tag":"web"},"time":"2026-03-12T06:25:02.2Z"}
== kubectl logs --prefix
» --03-12T06:25:01.104522 INFO
[pod/web-7c9f8d6b5-x2x7k/web] I0312 06:25:01.104522       1 controller.go:211] starting
» - ERROR
[pod/web-7c9f8d6b5-x2x7k/proxy] level=error msg="no upstream"
» - -
[pod/web-7c9f8d6b5-9k2lm/web] ready
== kubectl logs --timestamps
» 2026-03-12T06:25:01.104522123Z ERROR
2026-03-12T06:25:01.104522123Z ERROR cannot bind to port
2026-03-12T06:25:01.104522124Z ⇥at demo.Server.start(Server.java:11)
» 2026-03-12T06:25:02.104522125Z -
2026-03-12T06:25:02.104522125Z shutting down
== journalctl short
» --03-12T06:25:01 -
Mar 12 06:25:01 edge1 systemd[1]: Started nginx.service - A high performance web server.
» --03-12T06:25:02 -
Mar 12 06:25:02 edge1 sshd[812]: Accepted publickey for deploy from 10.0.0.8 port 51022 ssh2: ED25519 SHA256:abc
» --03-12T06:25:03 ERROR
Mar 12 06:25:03 edge1 sshd[813]: error: kex_exchange_identification: Connection closed by remote host
» --03-12T06:25:04 -
Mar 12 06:25:04 edge1 sudo[814]:   deploy : TTY=pts/0 ; PWD=/home/deploy ; USER=root ; COMMAND=/usr/bin/ls
» --03-12T06:25:05 -
Mar 12 06:25:05 edge1 CRON[815]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)
» --03-12T06:25:06 WARNING
Mar 12 06:25:06 edge1 postfix/smtpd[816]: warning: hostname mail.example does not resolve to address 10.0.0.9
» --03-12T06:25:07 -
Mar 12 06:25:07 edge1 kernel: usb 1-1: new high-speed USB device number 4 using xhci_hcd
== journalctl short-iso
» 2026-03-12T05:25:01Z -
2026-03-12T06:25:01+0100 edge1 systemd[1]: Starting logrotate.service - Rotate log files...
» 2026-03-12T05:25:02Z -
2026-03-12T06:25:02+0100 edge1 systemd[1]: logrotate.service: Deactivated successfully.
» 2026-03-12T05:25:03Z -
2026-03-12T06:25:03+0100 edge1 kernel: audit: type=1400 audit(1773296703.104:35): apparmor="DENIED" operation="open"
== journalctl short-precise
» --03-12T06:25:01.104522 -
Mar 12 06:25:01.104522 edge1 systemd[1]: nginx.service: Main process exited, code=exited, status=1/FAILURE
» --03-12T06:25:01.204522 -
Mar 12 06:25:01.204522 edge1 systemd[1]: nginx.service: Failed with result 'exit-code'.
== journalctl with-unit
» 2026-03-12T06:25:01Z -
Thu 2026-03-12 06:25:01 UTC edge1 nginx.service[812]: nginx: configuration file /etc/nginx/nginx.conf test is successful
» 2026-03-12T06:25:02Z INFO
Thu 2026-03-12 06:25:02 UTC edge1 cron.service[815]: (CRON) INFO (Running @reboot jobs)
== journalctl verbose header and boot mark
» - -
-- Journal begins at Thu 2026-03-05 06:00:00 UTC, ends at Thu 2026-03-12 06:25:02 UTC. --
» --03-12T06:25:01 -
Mar 12 06:25:01 edge1 systemd[1]: Stopping nginx.service...
» - -
-- Boot 6f2a9c0d1e2f4a5b8c7d6e5f4a3b2c1d --
» --03-12T06:26:01 -
Mar 12 06:26:01 edge1 kernel: Linux version 6.1.0-18-amd64
== journalctl -o json
» 2026-03-12T06:25:01.104522Z INFO
{"PRIORITY":"6","SYSLOG_IDENTIFIER":"systemd","_PID":"1","MESSAGE":"Started nginx.service.","__REALTIME_TIMESTAMP":"1773296701104522","_HOSTNAME":"edge1"}
» 2026-03-12T06:25:02.104522Z ERROR
{"__REALTIME_TIMESTAMP":"1773296702104522","MESSAGE":"Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 1","PRIORITY":"3","_PID":"9","SYSLOG_IDENTIFIER":"app"}
» 2026-03-12T06:25:03.104522Z INFO
{"__REALTIME_TIMESTAMP":"1773296703104522","MESSAGE":[72,105,32,9731],"PRIORITY":"6"}
== journalctl -o export
» 2026-03-12T06:25:01.104522Z WARNING
__CURSOR=s=1;i=1
__REALTIME_TIMESTAMP=1773296701104522
__MONOTONIC_TIMESTAMP=112
PRIORITY=4
SYSLOG_IDENTIFIER=app
MESSAGE=disk 91% full
» 2026-03-12T06:25:02.104522Z INFO
__CURSOR=s=1;i=2
__REALTIME_TIMESTAMP=1773296702104522
PRIORITY=6
MESSAGE=done
== rsyslog with PRI
» --03-12T06:25:01 FATAL
<34>Mar 12 06:25:01 mymachine su: 'su root' failed for lonvick on /dev/pts/8
» --03-12T06:25:02 INFO
<13>Mar 12 06:25:02 web1 myapp[9]: user logged in
» 2026-03-12T06:25:03.003Z INFO
<165>1 2026-03-12T06:25:03.003Z web1 evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App \"x\" \]"] An application event
» 2026-03-12T04:25:04.003Z FATAL
<34>1 2026-03-12T06:25:04.003+02:00 web1 su - ID47 - ▮'su root' failed
» - INFO
<14>1 - web1 app 12 - - started
== rsyslog file format with and without precision
» 2026-03-12T06:25:01.104Z INFO
2026-03-12T06:25:01.104522+00:00 web1 dockerd[812]: time="2026-03-12T06:25:01.104Z" level=info msg="API listen on /run/docker.sock"
» 2026-03-12T06:25:02.104522Z -
2026-03-12T06:25:02.104522+00:00 web1 kernel: [ 9.104] EXT4-fs (sda1): re-mounted
== docker compose v1 with colours
» 2026-03-12T06:25:01.104Z INFO
␛[36mdb_1     |␛[0m 2026-03-12 06:25:01.104 UTC [1] LOG:  database system is ready to accept connections
» - ERROR
␛[33mweb_1    |␛[0m Error: connect ECONNREFUSED 10.0.0.2:5432
␛[33mweb_1    |␛[0m     at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1187:16)
» - INFO
␛[32mcache_1  |␛[0m INFO ready
» - -
␛[32mcache_1  |␛[0m saved
» 2026-03-12T06:25:02.104Z FATAL
␛[36mdb_1     |␛[0m 2026-03-12 06:25:02.104 UTC [9] FATAL:  role "shop" does not exist
» - -
␛[33mweb_1 exited with code 1
== docker compose v2 of many services
» 2026-03-12T06:25:01.104Z INFO
shop-db-1     | 2026-03-12 06:25:01.104 UTC [1] LOG:  starting PostgreSQL 16.2
» 2026-03-12T06:25:01 INFO
shop-web-1    | INFO 2026-03-12 06:25:01 listening
» 2026-03-12T06:25:02.104Z ERROR
shop-db-1     | 2026-03-12 06:25:02.104 UTC [33] ERROR:  relation "carts" does not exist at character 15
» 2026-03-12T06:25:02.104Z -
shop-db-1     | 2026-03-12 06:25:02.104 UTC [33] STATEMENT:  SELECT *
shop-db-1     | ⇥FROM carts
» 2026-03-12T06:25:03 WARNING
shop-web-1    | WARN 2026-03-12 06:25:03 retrying
== github actions raw log
» 2026-03-12T06:25:01.1045220Z -
2026-03-12T06:25:01.1045220Z Current runner version: '2.321.0'
» 2026-03-12T06:25:01.1145220Z -
2026-03-12T06:25:01.1145220Z ##[group]Operating System
» 2026-03-12T06:25:01.1245220Z -
2026-03-12T06:25:01.1245220Z Ubuntu
»
2026-03-12T06:25:01.1345220Z ##[endgroup]
» 2026-03-12T06:25:02.1345220Z WARNING
2026-03-12T06:25:02.1345220Z ##[warning]Node.js 16 actions are deprecated.
» 2026-03-12T06:25:03.1345220Z ERROR
2026-03-12T06:25:03.1345220Z ##[error]Process completed with exit code 1.
== gh run view --log
» 2026-03-12T06:25:01.1045220Z -
build⇥Set up job⇥▮2026-03-12T06:25:01.1045220Z Current runner version: '2.321.0'
» 2026-03-12T06:25:02.1045220Z -
build⇥Run make test⇥2026-03-12T06:25:02.1045220Z Traceback (most recent call last):
build⇥Run make test⇥2026-03-12T06:25:02.1145220Z   File "a.py", line 3, in <module>
build⇥Run make test⇥2026-03-12T06:25:02.1245220Z demo.Odd: no
» 2026-03-12T06:25:03.1045220Z ERROR
build⇥Run make test⇥2026-03-12T06:25:03.1045220Z ##[error]Process completed with exit code 2.
» 2026-03-12T06:25:04.1045220Z -
lint⇥Set up job⇥2026-03-12T06:25:04.1045220Z Prepare workflow directory
== gitlab job log
» - -
Running with gitlab-runner 16.9.0 (656c1943)
  on docker-runner x1Y2z3, system ID: s_1
» 2026-03-12T06:25:01Z -
section_start:1773296701:prepare_executor⏎␛[0K␛[0K␛[36;1mPreparing the "docker" executor␛[0;m
» - -
$ make test
» - ERROR
ERROR: Job failed: exit code 1
== gitlab job log with times
» 2026-03-12T06:25:01.104522Z -
2026-03-12T06:25:01.104522Z 00O ␛[0KRunning with gitlab-runner 17.5.0␛[0;m
» 2026-03-12T06:25:02.104522Z -
2026-03-12T06:25:02.104522Z 01O $ make test
» 2026-03-12T06:25:03.104522Z ERROR
2026-03-12T06:25:03.104522Z 01E error: linker `cc` not found
== loggers in JSON
» 2026-03-12T06:25:01.104Z ERROR
{"name":"shop","hostname":"web1","pid":9,"level":50,"msg":"cannot pay","time":"2026-03-12T06:25:01.104Z","v":0}
» 2026-03-12T06:25:01.104 WARNING
{"level":40,"time":1773296701104,"pid":9,"hostname":"web1","msg":"slow"}
» 2026-03-12T06:25:01.104522 ERROR
{"level":"error","ts":1773296701.104522,"caller":"shop/pay.go:71","msg":"no money","stacktrace":"main.pay\n\t/src/pay.go:71"}
» 2026-03-12T05:25:01Z FATAL
{"level":"fatal","error":"boom","time":"2026-03-12T06:25:01+01:00","message":"bye"}
» 2026-03-12T06:25:01Z WARNING
{"level":"warning","msg":"A walrus","size":10,"time":"2026-03-12T06:25:01Z"}
» 2026-03-12T06:25:01.104522Z INFO
{"event": "order paid", "order": 71, "level": "info", "logger": "shop", "timestamp": "2026-03-12T06:25:01.104522Z"}
» 2026-03-12T06:25:01.1045220Z FATAL
{"@t":"2026-03-12T06:25:01.1045220Z","@mt":"Gone {Id}","@l":"Fatal","Id":7}
» 2026-03-12T06:25:01.104Z ERROR
{"@timestamp":"2026-03-12T06:25:01.104Z","log.level":"error","message":"boom","ecs.version":"1.2.0","service.name":"shop"}
» 2026-03-12T06:25:01.104 ERROR
{"version":"1.1","host":"web1","short_message":"boom","timestamp":1773296701.104,"level":3,"_pid":9}
» 2026-03-12T06:25:01.104522123 WARNING
{"timeUnixNano":"1773296701104522123","severityNumber":13,"severityText":"WARN","body":{"stringValue":"slow"}}
» 2026-03-12T06:25:01.104522123Z ERROR
{"severity":"ERROR","timestamp":"2026-03-12T06:25:01.104522123Z","logName":"projects/shop/logs/stderr","textPayload":"boom"}
» 2026-03-12T06:25:01.104Z INFO
{"timestamp":"2026-03-12T06:25:01.104Z","level":"INFO","message":"Lambda invoked","requestId":"9f1c"}
» 2026-03-12T06:25:01.1045222 INFO
{"level":"info","ts":1773296701.1045222,"logger":"http.log.access","msg":"handled request","request":{"method":"GET","uri":"/"},"status":200}
» 2026-03-12T06:25:01Z ERROR
{"ClientAddr":"10.0.0.8:51022","DownstreamStatus":502,"level":"error","msg":"","time":"2026-03-12T06:25:01Z"}
» 2026-03-12T05:25:01.104Z ERROR
{"t":{"$date":"2026-03-12T06:25:01.104+01:00"},"s":"E","c":"NETWORK","id":4712102,"ctx":"conn12","msg":"Host failed in replica set"}
» 2026-03-12T06:25:01.104522Z WARNING
{"time":"2026-03-12T06:25:01.104522Z","level":"WARN","msg":"slog","order":71}
» 2026-03-12T06:25:01.104Z INFO
{"@timestamp":"2026-03-12T06:25:01.104Z","@version":"1","message":"Started","logger_name":"demo.Shop","thread_name":"main","level":"INFO","level_value":20000}
» 2026-03-12T06:25:01.104Z WARNING
{"level":"warn","message":"winston","timestamp":"2026-03-12T06:25:01.104Z"}
» 2026-03-12T06:25:01.104522Z ERROR
{"message":"Uncaught","context":{},"level":400,"level_name":"ERROR","channel":"app","datetime":"2026-03-12T06:25:01.104522+00:00","extra":{}}
» 2026-03-12T06:25:01.104Z WARNING
{"Timestamp":"2026-03-12T06:25:01.104Z","EventId":0,"LogLevel":"Warning","Category":"Shop.Pay","Message":"slow"}
» 2026-03-12T06:25:01.104Z ERROR
{"type": "server", "timestamp": "2026-03-12T06:25:01,104Z", "level": "ERROR", "component": "o.e.b.Bootstrap", "message": "node validation exception"}
» 2026-03-12T06:25:01.104522Z ERROR
{"timestamp":"2026-03-12T06:25:01.104522Z","level":"ERROR","fields":{"message":"no"},"target":"shop::pay"}
== python logging
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 - shop.pay - ERROR - cannot pay order 71
» 2026-03-12T06:25:01.104 WARNING
2026-03-12 06:25:01,104 [WARNING] shop.pay: slow
» - WARNING
WARNING:shop.pay:slow
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 | INFO     | shop.pay:run:71 - paid
» 2026-03-12T06:25:01.104 FATAL
2026-03-12 06:25:01.104 | CRITICAL | __main__:<module>:3 - gone
» - INFO
INFO:     Started server process [9]
» - ERROR
ERROR:    Exception in ASGI application
» 2026-03-12T06:25:01Z INFO
[2026-03-12 06:25:01 +0000] [9] [INFO] Starting gunicorn 21.2.0
» 2026-03-12T06:25:01Z FATAL
[2026-03-12 06:25:01 +0000] [9] [CRITICAL] WORKER TIMEOUT (pid:12)
» 2026-03-12T06:25:01 -
[12/Mar/2026 06:25:01] "GET /admin/ HTTP/1.1" 302 0
» 2026-03-12T06:25:01.104 WARNING
WARNING 2026-03-12 06:25:01,104 log 9 140 Not Found: /favicon.ico
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01,104 INFO sqlalchemy.engine.Engine BEGIN (implicit)
» 2026-03-12T06:25:01.104 WARNING
[2026-03-12 06:25:01,104: WARNING/ForkPoolWorker-1] Task shop.pay retried
» 2026-03-12T06:25:01.104Z INFO
[2026-03-12T06:25:01.104+0000] {taskinstance.py:1157} INFO - Dependencies all met
» 2026-03-12T06:25:01 INFO
2026-03-12 06:25:01 [scrapy.core.engine] INFO: Spider opened
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 9 INFO nova.compute.manager [req-9f1c - - - - -] Running instance usage audit
» 2026-03-12T06:25:01 INFO
2026-03-12 06:25:01 [info     ] order paid                     order=71
== java
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR [main] demo.Shop: cannot pay
» - WARNING
06:25:01.104 [http-nio-8080-exec-1] WARN  demo.Shop -- slow
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104  INFO 9 --- [           main] demo.ShopApplication                     : Started in 2.1 seconds
» 2026-03-12T05:25:01.104Z ERROR
2026-03-12T06:25:01.104+01:00 ERROR 9 --- [shop] [nio-8080-exec-1] o.a.c.c.C.[.[.[/].[dispatcherServlet]    : Servlet.service() threw exception
» 2026-03-12T06:25:01.104 INFO
12-Mar-2026 06:25:01.104 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [812] milliseconds
» 2026-03-12T06:25:01 ERROR
Mar 12, 2026 6:25:01 AM org.apache.catalina.core.StandardContext startInternal
SEVERE: One or more listeners failed to start
» 2026-03-12T18:25:01 INFO
Mar 12, 2026 6:25:01 PM demo.Shop main
INFO: done
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR [org.jboss.as.controller.management-operation] (Controller Boot Thread) WFLYCTL0013: Operation ("deploy") failed
» - INFO
06:25:01,104 INFO  [org.jboss.as] (Controller Boot Thread) WFLYSRV0025: WildFly Full 30.0.1 started
» 2026-03-12T06:25:01.104 WARNING
[2026-03-12 06:25:01,104] WARN [Consumer clientId=c1] Connection to node -1 could not be established (org.apache.kafka.clients.NetworkClient)
» 2026-03-12T06:25:01.104 ERROR
[2026-03-12T06:25:01,104][ERROR][o.e.b.ElasticsearchUncaughtExceptionHandler] [node-1] uncaught exception in thread [main]
» 2026-03-12T06:25:01.104 WARNING
[2026-03-12T06:25:01,104][WARN ][o.e.d.z.ZenDiscovery     ] [node-1] not enough master nodes
» 2026-03-12T06:25:01.104 WARNING
2026-03-12 06:25:01,104 [myid:1] - WARN  [NIOWorkerThread-1:NIOServerCnxn@380] - Close of session 0x0
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01,104 INFO org.apache.hadoop.hdfs.StateChange: BLOCK* allocate blk_1073741825
» 2026-03-12T06:25:01.104 ERROR
ERROR [MutationStage-2] 2026-03-12 06:25:01,104 StorageProxy.java:180 - Failed to apply mutation locally
» 2026-03-12T06:25:01.104 DEBUG
2026-03-12T06:25:01.104 DEBUG 9 --- [main] demo.Shop : x
» 2026-03-12T06:25:01.104Z INFO
2026-03-12 06:25:01.104+0000 INFO  Starting Neo4j.
» 2026-03-12T06:25:01.104Z WARNING
2026-03-12 06:25:01.104+0000 [id=31]⇥WARNING⇥hudson.model.Executor#resetWorkUnit: no work unit
» - INFO
[main] INFO demo.Shop - simple logger of slf4j
» 2026-03-12T06:25:01.104 ERROR
[12.03.2026 06:25:01.104] ERROR demo.Shop: European
== rails
» 2026-03-12T05:25:01Z -
Started GET "/carts" for 10.0.0.8 at 2026-03-12 06:25:01 +0100
» - -
Processing by CartsController#show as HTML
  Parameters: {"id"=>"7"}
» - -
Completed 500 Internal Server Error in 12ms (ActiveRecord: 0.9ms | Allocations: 812)
» 2026-03-12T06:25:01.104522 FATAL
F, [2026-03-12T06:25:01.104522 #9] FATAL -- : [9f1c] ActionController::RoutingError (No route matches [GET] "/x"):
» 2026-03-12T06:25:01.104522 INFO
I, [2026-03-12T06:25:01.104522 #9]  INFO -- : [9f1c] [10.0.0.8] Completed 200 OK in 12ms
== php
» 2026-03-12T06:25:01 ERROR
[2026-03-12 06:25:01] production.ERROR: Class "Shop" not found {"exception":"[object] (Error(code: 0): Class \"Shop\" not found at /srv/a.php:7)
[stacktrace]
#0 /srv/vendor/a.php(12): Shop->pay()
#1 {main}
"}␠
» 2026-03-12T06:25:01 INFO
[2026-03-12 06:25:01] local.INFO: paid␠␠
» 2026-03-12T05:25:01.104522Z FATAL
[2026-03-12T06:25:01.104522+01:00] request.CRITICAL: Uncaught PHP Exception RuntimeException: "no" at /srv/a.php line 7 {"exception":"[object]"} []
» 2026-03-12T06:25:01Z FATAL
[12-Mar-2026 06:25:01 UTC] PHP Fatal error:  Uncaught RuntimeException: no in /srv/a.php:7
Stack trace:
#0 /srv/b.php(3): pay(7)
#1 /srv/b.php(9): App\Shop->run()
#2 {main}
  thrown in /srv/a.php on line 7
» 2026-03-12T06:25:02Z WARNING
[12-Mar-2026 06:25:02 UTC] PHP Warning:  Undefined variable $x in /srv/a.php on line 3
» 2026-03-12T06:25:03 INFO
[12-Mar-2026 06:25:03] NOTICE: fpm is running, pid 1
» 2026-03-12T06:25:04 WARNING
[12-Mar-2026 06:25:04] WARNING: [pool www] server reached pm.max_children setting (5), consider raising it
» - FATAL
PHP Fatal error:  Uncaught Error: Call to undefined function foo() in /srv/a.php:3
== go and rust
» 2026-03-12T05:25:01.104Z ERROR
time=2026-03-12T06:25:01.104+01:00 level=ERROR msg="no money" order=71
» 2026-03-12T06:25:01Z WARNING
time="2026-03-12T06:25:01Z" level=warning msg="slow" took=3s
» 2026-03-12T06:25:01 -
2026/03/12 06:25:01 main.go:71: listening on :8080
» 2026-03-12T06:25:01 INFO
2026/03/12 06:25:01 INFO slog default order=71
» 2026-03-12T06:25:01.104Z ERROR
ts=2026-03-12T06:25:01.104Z caller=main.go:71 level=error component=tsdb msg="compaction failed"
» 2026-03-12T06:25:01Z ERROR
[2026-03-12T06:25:01Z ERROR shop::pay] no money
» 2026-03-12T06:25:01.104522Z WARNING
␛[2m2026-03-12T06:25:01.104522Z␛[0m ␛[33m WARN␛[0m ␛[2mshop::pay␛[0m␛[2m:␛[0m slow ␛[3morder␛[0m␛[2m=␛[0m71
» 2026-03-12T06:25:01.104522Z DEBUG
2026-03-12T06:25:01.104522Z DEBUG request{id=7}: shop: handled
» - INFO
␛[36mINFO␛[0m[0003] logrus in a terminal                         ␛[36msize␛[0m=10
» - WARNING
WARN[0003] logrus without colours
» - INFO
␛[90m6:25AM␛[0m ␛[32mINF␛[0m zerolog of a terminal ␛[36morder=␛[0m71
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z⇥ERROR⇥shop/pay.go:71⇥no money⇥{"order": 71}
main.pay
⇥/src/pay.go:71
main.main
⇥/src/main.go:9
» 2026-03-12T06:25:02.104Z INFO
2026-03-12T06:25:02.104Z⇥INFO⇥shop/pay.go:72⇥paid
» 2026-03-12T06:25:01 -
[GIN] 2026/03/12 - 06:25:01 | 500 |     1.104ms |        10.0.0.8 | GET      "/pay"
» - WARNING
[GIN-debug] [WARNING] Running in "debug" mode. Switch to "release" mode in production.
== .net console
» - INFO
info: Microsoft.Hosting.Lifetime[14]
      Now listening on: http://localhost:5000
» - ERROR
fail: Microsoft.AspNetCore.Server.Kestrel[13]
      Connection id "0HN", Request id "0HN:1": An unhandled exception was thrown by the application.
      System.InvalidOperationException: no money
       ---> System.IO.IOException: broken pipe
         at Demo.Net.Send() in /src/Net.cs:line 40
         --- End of inner exception stack trace ---
         at Demo.Shop.Pay() in /src/Shop.cs:line 20
» - WARNING
␛[40m␛[1m␛[33mwarn␛[39m␛[22m␛[49m: Microsoft.AspNetCore.DataProtection[35]
      No XML encryptor configured.
» - FATAL
crit: Microsoft.AspNetCore.Hosting[0]
      Application startup exception
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 info: Shop.Pay[0] single line with a time
» 2026-03-12T06:25:01.1045 ERROR
2026-03-12 06:25:01.1045|ERROR|Shop.Pay|nlog
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 [7] ERROR Shop.Pay - log4net
== postgresql
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12 06:25:01.104 UTC [49] shop@shop ERROR:  duplicate key value violates unique constraint "orders_pkey"
» 2026-03-12T06:25:01.104Z -
2026-03-12 06:25:01.104 UTC [49] shop@shop DETAIL:  Key (id)=(71) already exists.
» 2026-03-12T06:25:01.104Z -
2026-03-12 06:25:01.104 UTC [49] shop@shop STATEMENT:  INSERT INTO orders
⇥(id, price)
⇥VALUES (71, 3)
» 2026-03-12T06:25:02.104Z INFO
2026-03-12 06:25:02.104 UTC [50] LOG:  checkpoint starting: time
» 2026-03-12T05:25:02.104Z FATAL
2026-03-12 06:25:02.104 CET [50] FATAL:  password authentication failed for user "shop"
» 2026-03-12T06:25:03.104Z INFO
2026-03-12 06:25:03.104 UTC [51] LOG:  duration: 3001.104 ms  statement: SELECT o.id,
⇥       sum(l.price)
⇥FROM orders o
⇥WHERE o.at > '2026-03-12 00:00:00';
» 2026-03-12T06:25:04.104Z INFO
2026-03-12 06:25:04.104 UTC,"shop","shop",49,"10.0.0.8:51022",65f0,1,"SELECT",2026-03-12 06:00:00 UTC,3/12,0,LOG,00000,"duration: 1.1 ms",,,,,,,,,"psql"
== mysql and mariadb error logs
» 2026-03-12T06:25:01.104522Z ERROR
2026-03-12T06:25:01.104522Z 0 [ERROR] [MY-010119] [Server] Aborting
» 2026-03-12T06:25:01.104522Z INFO
2026-03-12T06:25:01.104522Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections.
» 2026-03-12T06:25:01.104522Z INFO
2026-03-12T06:25:01.104522Z 9 [Note] Access denied for user 'root'@'localhost' (using password: YES)
» 2026-03-12T06:25:01 INFO
2026-03-12  6:25:01 0 [Note] InnoDB: Buffer pool(s) load completed at 260312  6:25:01
» 2026-03-12T06:25:01 WARNING
2026-03-12  6:25:01 12 [Warning] Aborted connection 12 to db: 'shop' user: 'shop' host: '10.0.0.8' (Got timeout reading communication packets)
» 2026-03-12T06:25:01 -
260312 06:25:01 mysqld_safe Starting mariadbd daemon with databases from /var/lib/mysql
== mysql general log
» - -
/usr/sbin/mysqld, Version: 8.0.36 (MySQL Community Server - GPL). started with:
Tcp port: 3306  Unix socket: /var/run/mysqld/mysqld.sock
Time                 Id Command    Argument
» 2026-03-12T06:25:01.104522Z -
2026-03-12T06:25:01.104522Z⇥    8 Connect⇥shop@10.0.0.8 on shop using TCP/IP
» 2026-03-12T06:25:01.204522Z -
2026-03-12T06:25:01.204522Z⇥    8 Query⇥SELECT o.id,
       sum(l.price)
FROM orders o
WHERE o.id = 7
» 2026-03-12T06:25:01.304522Z -
2026-03-12T06:25:01.304522Z⇥    8 Quit⇥
== mariadb general log
» - -
/usr/sbin/mariadbd, Version: 10.11.6-MariaDB-0+deb12u1 (Debian 12). started with:
Tcp port: 0  Unix socket: /run/mysqld/mysqld.sock
Time⇥⇥    Id Command⇥Argument
» 2026-03-12T06:25:01 -
260312  6:25:01⇥     3 Connect⇥root@localhost on  using Socket
» - -
⇥⇥     3 Query⇥select @@version_comment limit 1
» - -
⇥⇥     3 Query⇥SELECT a,
  b
FROM t
» - -
⇥⇥     3 Quit⇥
» 2026-03-12T06:25:09 -
260312  6:25:09⇥     4 Connect⇥shop@localhost on shop using Socket
== mariadb slow log
» 2026-03-12T06:25:01 -
# Time: 260312  6:25:01
# User@Host: root[root] @ localhost []
# Thread_id: 8  Schema: shop  QC_hit: No
# Query_time: 3.000299  Lock_time: 0.000000  Rows_sent: 1  Rows_examined: 0
SET timestamp=1773296701;
select sleep(3);
» 2026-03-12T06:25:03 -
# User@Host: root[root] @ localhost []
# Thread_id: 8  Schema: shop  QC_hit: No
# Query_time: 2.000299  Lock_time: 0.000000  Rows_sent: 1  Rows_examined: 0
SET timestamp=1773296703;
select
  sleep(2);
== redis
» 2026-03-12T06:25:01.104 INFO
1:C 12 Mar 2026 06:25:01.104 * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo
» 2026-03-12T06:25:01.104 WARNING
1:M 12 Mar 2026 06:25:01.104 # WARNING Memory overcommit must be enabled!
» 2026-03-12T06:25:01.104 INFO
1:M 12 Mar 2026 06:25:01.104 * DB loaded from disk: 0.000 seconds
== rabbitmq
» 2026-03-12T05:25:01.104522Z ERROR
2026-03-12 06:25:01.104522+01:00 [error] <0.812.0> closing AMQP connection <0.812.0> (10.0.0.8:51022 -> 10.0.0.2:5672):
» 2026-03-12T05:25:01.104522Z ERROR
2026-03-12 06:25:01.104522+01:00 [error] <0.812.0> missed heartbeats from client, timeout: 60s
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 [info] <0.9.0> Running boot step pre_boot
» 2026-03-12T06:25:01 INFO
=INFO REPORT==== 12-Mar-2026::06:25:01 ===
accepting AMQP connection <0.812.0>
» 2026-03-12T06:25:02 ERROR
=ERROR REPORT==== 12-Mar-2026::06:25:02 ===
closing AMQP connection <0.812.0>:
{writer,send_failed,{error,timeout}}
== nginx
» 2026-03-12T05:25:01Z -
10.0.0.8 - - [12/Mar/2026:06:25:01 +0100] "GET /error?level=ERROR HTTP/1.1" 502 157 "-" "curl/8.5.0"
» 2026-03-12T06:25:01 ERROR
2026/03/12 06:25:01 [error] 9#9: *12 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.8
» 2026-03-12T06:25:01 INFO
2026/03/12 06:25:01 [notice] 9#9: signal process started
» 2026-03-12T06:25:01 FATAL
2026/03/12 06:25:01 [crit] 9#9: *13 SSL_do_handshake() failed
== apache
» 2026-03-12T06:25:01.104522 ERROR
[Thu Mar 12 06:25:01.104522 2026] [core:error] [pid 9:tid 140] [client 10.0.0.8:51022] AH00126: Invalid URI in request
» 2026-03-12T06:25:01.104522 INFO
[Thu Mar 12 06:25:01.104522 2026] [mpm_event:notice] [pid 9] AH00489: Apache/2.4.58 (Ubuntu) configured
» 2026-03-12T06:25:01 ERROR
[Thu Mar 12 06:25:01 2026] [error] [client 10.0.0.8] File does not exist: /var/www/favicon.ico
» 2026-03-12T06:25:01Z -
shop.example:443 10.0.0.8 - - [12/Mar/2026:06:25:01 +0000] "POST /pay HTTP/1.1" 500 812 "-" "Mozilla/5.0 (fatal)"
» - -
AH00526: Syntax error on line 7 of /etc/apache2/sites-enabled/shop.conf:
== haproxy
» 2026-03-12T06:25:01.104 -
Mar 12 06:25:01 lb1 haproxy[9]: 10.0.0.8:51022 [12/Mar/2026:06:25:01.104] http-in shop/web1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"
» --03-12T06:25:02 -
Mar 12 06:25:02 lb1 haproxy[9]: Server shop/web1 is DOWN, reason: Layer4 connection problem
» 2026-03-12T06:25:03.104 -
Mar 12 06:25:03 lb1 haproxy[9]: 10.0.0.8:51022 [12/Mar/2026:06:25:03.104] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0
== haproxy and squid without syslog
» - WARNING
[WARNING]  (9) : Server shop/web1 is DOWN, reason: Layer4 timeout
» - FATAL
[ALERT]    (9) : config : parsing [/etc/haproxy/haproxy.cfg:7] : unknown keyword
» 2026-03-12T06:25:01.104 -
1773296701.104    109 10.0.0.8 TCP_MISS/503 4200 GET http://shop.example/ - HIER_DIRECT/10.0.0.2 text/html
» 2026-03-12T06:25:01 -
2026/03/12 06:25:01 kid1| Starting Squid Cache version 5.7
» 2026-03-12T06:25:01 WARNING
2026/03/12 06:25:01| WARNING: no_suid: setuid(0): (1) Operation not permitted
== envoy and istio
» 2026-03-12T06:25:01.104Z -
[2026-03-12T06:25:01.104Z] "GET /pay HTTP/1.1" 503 UF 0 91 3 - "-" "curl/8.5.0" "9f1c" "shop:8080" "10.0.0.2:8080"
» 2026-03-12T06:25:01.104 WARNING
[2026-03-12 06:25:01.104][9][warning][config] [source/common/config/grpc_stream.h:201] StreamAggregatedResources gRPC config stream closed
» 2026-03-12T06:25:01.104522Z INFO
2026-03-12T06:25:01.104522Z⇥info⇥xdsproxy⇥connected to upstream XDS server: istiod:15012
== morgan and others
» - -
GET /pay 500 12.104 ms - 157
» 2026-03-12T06:25:01Z -
::1 - - [12/Mar/2026:06:25:01 +0000] "GET / HTTP/1.1" 304 - "-" "Mozilla/5.0"
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z [error]: winston says no
» 2026-03-12T06:25:01.104 ERROR
[2026-03-12T06:25:01.104] [ERROR] default - log4js
» - WARNING
npm WARN deprecated request@2.88.2: request has been deprecated
» - ERROR
npm ERR! code ELIFECYCLE
» 2026-03-12T06:25:01 INFO
[Nest] 9  - 03/12/2026, 6:25:01 AM     LOG [NestFactory] Starting Nest application...
» 2026-03-12T06:25:01 ERROR
[Nest] 9  - 03/12/2026, 6:25:01 AM   ERROR [ExceptionsHandler] no money
== iis
»
#Software: Microsoft Internet Information Services 10.0
#Version: 1.0
#Date: 2026-03-12 06:25:01
#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus sc-win32-status time-taken
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 10.0.0.2 GET /pay - 443 - 10.0.0.8 Mozilla/5.0 500 0 0 109
» 2026-03-12T06:25:02 -
2026-03-12 06:25:02 10.0.0.2 GET /error level=ERROR 443 - 10.0.0.8 Mozilla/5.0 200 0 0 9
== windows event text of wevtutil
» 2026-03-12T06:25:01.104 ERROR
Event[0]:
  Log Name: System
  Source: Service Control Manager
  Date: 2026-03-12T06:25:01.104
  Event ID: 7031
  Task: N/A
  Level: Error
  Description:␠
The Print Spooler service terminated unexpectedly.

» 2026-03-12T06:26:01.104 INFO
Event[1]:
  Log Name: System
  Source: Service Control Manager
  Date: 2026-03-12T06:26:01.104
  Event ID: 7036
  Level: Information
  Description:␠
The Print Spooler service entered the running state.
== windows event xml over several lines
» 2026-03-12T06:25:01.1045220Z ERROR
<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event">
  <System>
    <Provider Name="Service Control Manager" />
    <EventID>7031</EventID>
    <Level>2</Level>
    <TimeCreated SystemTime="2026-03-12T06:25:01.1045220Z" />
  </System>
  <EventData>
    <Data Name="param1">Print Spooler</Data>
  </EventData>
</Event>
» 2026-03-12T06:26:01.1045220Z INFO
<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Level>4</Level><TimeCreated SystemTime="2026-03-12T06:26:01.1045220Z" /></System></Event>
== get-eventlog list
» 2026-03-12T06:25:01 ERROR
Index              : 812
EntryType          : Error
InstanceId         : 7031
Message            : The Print Spooler service terminated.
Source             : Service Control Manager
TimeGenerated      : 3/12/2026 6:25:01 AM

» 2026-03-12T06:26:01 INFO
Index              : 813
EntryType          : Information
InstanceId         : 7036
Message            : The Print Spooler service entered the running state.
Source             : Service Control Manager
TimeGenerated      : 3/12/2026 6:26:01 AM
== dmesg
» - -
[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)
» - -
[    1.104522] EXT4-fs error (device sda1): ext4_find_entry:1463: inode #2: comm ls: reading directory lblock 0
» - -
[   12.104522] Out of memory: Killed process 812 (java) total-vm:8123kB
» 2026-03-12T06:25:01 -
[Thu Mar 12 06:25:01 2026] usb 1-1: USB disconnect, device number 4
== klog and glog
» --03-12T06:25:01.104522 INFO
I0312 06:25:01.104522       1 server.go:412] "Starting" version="v1.29.1"
» --03-12T06:25:01.104522 WARNING
W0312 06:25:01.104522       1 client_config.go:618] Neither --kubeconfig nor --master was specified.
» --03-12T06:25:01.104522 FATAL
F0312 06:25:01.104522       1 main.go:71] cannot listen
goroutine 1 [running]:
k8s.io/klog/v2.stacks(0x1)
⇥/go/pkg/mod/klog.go:1026 +0x8a
» 2026-03-12T06:25:01.104522 ERROR
E20260312 06:25:01.104522   812 rpc_server.cc:71] refused
== cisco
» 2026-03-12T06:25:01 WARNING
Mar 12 2026 06:25:01: %ASA-4-106023: Deny tcp src outside:10.0.0.8/51022 dst inside:10.0.0.2/22
» 2026-03-12T06:25:01 ERROR
Mar 12 2026 06:25:01 fw1 : %ASA-3-710003: TCP access denied by ACL
» --03-12T06:25:01.104 ERROR
000812: *Mar 12 06:25:01.104: %LINK-3-UPDOWN: Interface GigabitEthernet0/1, changed state to down
» --03-12T05:25:01.104Z INFO
*Mar 12 06:25:01.104 CET: %SYS-5-CONFIG_I: Configured from console by vty0
» --03-12T06:25:01 INFO
<189>812: Mar 12 06:25:01: %SYS-5-RESTART: System restarted --
== android logcat
» --03-12T06:25:01.104 ERROR
03-12 06:25:01.104  1702  2395 E AndroidRuntime: FATAL EXCEPTION: main
» --03-12T06:25:01.104 ERROR
03-12 06:25:01.104  1702  2395 E AndroidRuntime: java.lang.NullPointerException
» --03-12T06:25:01.204 INFO
03-12 06:25:01.204  1702  2395 I ActivityManager: Start proc
» --03-12T06:25:01.304 WARNING
03-12 06:25:01.304 W/ActivityManager( 1702): Slow
» - -
--------- beginning of crash
== daemons under syslog
» --03-12T06:25:01 -
Mar 12 06:25:01 mx dovecot: imap-login: Login: user=<ann>, method=PLAIN, rip=10.0.0.8
» --03-12T06:25:02 ERROR
Mar 12 06:25:02 mx dovecot: imap(ann)<9><x>: Error: Mailbox INBOX: read() failed
» --03-12T06:25:03 -
Mar 12 06:25:03 mx dnsmasq[9]: query[A] shop.example from 10.0.0.8
» --03-12T06:25:04 -
Mar 12 06:25:04 mx charon: 07[IKE] IKE_SA shop[1] established
» --03-12T06:25:05 -
Mar 12 06:25:05 mx pvedaemon[9]: <root@pam> successful auth for user 'root@pam'
» --03-12T06:25:06 WARNING
Mar 12 06:25:06 mx NetworkManager[9]: <warn>  [1773296706.1045] device (eth0): no carrier
» --03-12T06:25:07 -
Mar 12 06:25:07 mx last message repeated 3 times
» --03-12T06:25:08 -
Mar 12 06:25:08 mx named[9]: client @0x7f 10.0.0.8#51022 (shop.example): query failed (SERVFAIL)
== daemons with files of their own
» 2026-03-12T06:25:01.104 ERROR
12-Mar-2026 06:25:01.104 general: error: zone shop.example/IN: not loaded due to errors.
» 2026-03-12T06:25:01.104 INFO
12-Mar-2026 06:25:01.104 queries: info: client @0x7f 10.0.0.8#51022 (shop.example): query: shop.example IN A + (10.0.0.2)
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 OpenVPN 2.6.3 x86_64-pc-linux-gnu [SSL (OpenSSL)] built on Mar 1 2026
» 2026-03-12T06:25:01 WARNING
2026-03-12 06:25:01 WARNING: No server certificate verification method has been enabled.
» 2026-03-12T06:25:01 -
Thu Mar 12 06:25:01 2026 TLS Error: TLS handshake failed
» 2026-03-12T06:25:01 ERROR
Thu Mar 12 06:25:01 2026 daemon.err dnsmasq[9]: failed to create listening socket
» 2026-03-12T06:25:01 INFO
Thu Mar 12 06:25:01 2026 kern.info kernel: [   12.104522] br-lan: port 1(eth0) entered forwarding state
» 2026-03-12T06:25:01 FATAL
mar/12/2026 06:25:01 system,error,critical login failure for user root from 10.0.0.8 via ssh
» 2026-03-12T06:25:01 WARNING
2026-03-12T06:25:01 nas synoscheduler[9]: [WARNING] Volume 1 degraded
» --03-12T06:25:01.104522 ERROR
[812:812:0312/062501.104522:ERROR:gpu_process_host.cc(991)] GPU process exited unexpectedly
» 2026-03-12T06:25:01.104Z -
2026-03-12T06:25:01.104Z 9f1c START RequestId: 9f1c Version: $LATEST
== dates of Europe, decided from the whole log
» 2026-03-12T06:25:01 -
12/03/2026 06:25:01 started
» 2026-03-31T06:25:02 ERROR
31/03/2026 06:25:02 ERROR no
== dates of the US
» 2026-12-03T18:25:01 -
12/03/2026 6:25:01 PM started
» 2026-12-31T18:25:02 ERROR
12/31/2026 6:25:02 PM [ERROR] no
== dates in Chinese, Japanese and Korean
» 2026-03-12T06:25:01 ERROR
2026年3月12日 06:25:01 ERROR 無効です
» 2026-03-12T06:25:01 -
2026年03月12日 6時25分01秒 起動
» 2026-03-12T06:25:01 -
2026年3月12日(木) 06:25:01 完了
» 2026-03-12T06:25:01 -
2026년 3월 12일 06:25:01 시작
» 2026-03-12T18:25:01 -
2026年3月12日 下午6:25:01 完成
== a syslog across New Year
» --12-31T23:59:59 -
Dec 31 23:59:59 edge1 cron[9]: (root) CMD (true)
» --01-01T00:00:01 -
Jan  1 00:00:01 edge1 cron[9]: (root) CMD (true)
== times in front
» 2026-03-12T06:25:01.104522123Z -
2026-03-12T06:25:01.104522123Z x
» 2026-03-12T06:25:01 -
1773296701 x
» 2026-03-12T06:25:01.104 -
1773296701104 x
» 2026-03-12T06:25:01.104522 -
1773296701104522 x
» 2026-03-12T06:25:01.104522123 -
1773296701104522123 x
» 2026-03-12T06:25:01 -
[1773296701] x
» 2026-03-12T11:25:01Z -
2026-03-12 06:25:01 EST x
» 2026-03-12T05:25:01Z -
Thu Mar 12 06:25:01 CET 2026 x
» 2026-03-12T05:25:01Z -
Thu, 12 Mar 2026 06:25:01 +0100 x
» 2026-03-12T00:25:01 -
03/12/2026 12:25:01 AM x
» 2026-03-12T12:25:01 -
3/12/2026 12:25:01 PM x
» 2026-03-12T06:25:01.104Z -
20260312T062501.104Z x
» 2026-03-12T06:25:01.104 -
2026-03-12_06:25:01.104 x
» 2026-03-12T06:25:01 -
Thursday, March 12, 2026 6:25:01 AM x
» 2026-03-12T06:25:01 -
12 March 2026 06:25:01 x
» 2026-03-12T06:25:01 -
2026-Mar-12 06:25:01 x
» 2026-03-12T06:25:01.104 -
2026-03-12 06:25:01:104 x
» 2026-03-12T06:25:01 -
(2026-03-12 06:25:01) x
» 2026-03-12T06:25:01.104 -
|2026-03-12 06:25:01.104| x
== words that are no severity
» 2026-03-12T06:25:01 INFO
2026-03-12 06:25:01 INFO ERROR count is 0
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 no errors found
» - -
warning signs along the road
» - -
Info desk opened
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 job error-handler started
== python, direct cause, caret and notes
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR shop.pay cannot pay
Traceback (most recent call last):
  File "/srv/a.py", line 10, in load
    return cache[key]
           ~~~~~^^^^^
KeyError: 'k-71'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/a.py", line 22, in run
    load(job)
demo.LoadFailed: job 71 is not cached
tried three times
» 2026-03-12T06:25:02.104 ERROR
2026-03-12 06:25:02,104 ERROR shop.pay again
Traceback (most recent call last):
  File "/srv/a.py", line 31, in go
    sock.connect(addr)
TimeoutError

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/a.py", line 35, in go
    raise Gone
demo.Gone
» 2026-03-12T06:25:03.104 INFO
2026-03-12 06:25:03,104 INFO shop.pay next
== python, uncaught, and a syntax error
» - -
starting
  File "/srv/a.py", line 3
    print("a"
         ^
SyntaxError: '(' was never closed
» - -
done
== python exception group
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR asyncio Task exception was never retrieved
  + Exception Group Traceback (most recent call last):
  |   File "/srv/g.py", line 3, in <module>
  |     raise ExceptionGroup("two", [a, b])
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/g.py", line 9, in f
    | ValueError: a
    +---------------- 2 ----------------
    | KeyError: 'b'
    +------------------------------------
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02,104 INFO asyncio done
== python traceback without a message before it, in a journal
» --03-12T06:25:01 -
Mar 12 06:25:01 web1 app[9]: Traceback (most recent call last):
Mar 12 06:25:01 web1 app[9]:   File "/srv/a.py", line 3, in <module>
Mar 12 06:25:01 web1 app[9]:     main()
Mar 12 06:25:01 web1 app[9]: demo.Gone: no
» --03-12T06:25:01 -
Mar 12 06:25:01 web1 systemd[1]: app.service: Main process exited, code=exited, status=1/FAILURE
» --03-12T06:25:02 -
Mar 12 06:25:02 web1 systemd[1]: app.service: Failed with result 'exit-code'.
== python traceback under CRI
» 2026-03-12T06:25:01.100Z ERROR
2026-03-12T06:25:01.100Z stderr F ERROR cannot pay
2026-03-12T06:25:01.101Z stderr F Traceback (most recent call last):
2026-03-12T06:25:01.102Z stderr F   File "/srv/a.py", line 3, in <module>
2026-03-12T06:25:01.103Z stderr F     pay()
2026-03-12T06:25:01.104Z stderr F demo.Gone: no
2026-03-12T06:25:01.105Z stderr F␠
2026-03-12T06:25:01.106Z stderr F During handling of the above exception, another exception occurred:
2026-03-12T06:25:01.107Z stderr F␠
2026-03-12T06:25:01.108Z stderr F Traceback (most recent call last):
2026-03-12T06:25:01.109Z stderr F   File "/srv/a.py", line 9, in <module>
2026-03-12T06:25:01.110Z stderr F demo.Worse
» 2026-03-12T06:25:02.104Z INFO
2026-03-12T06:25:02.104Z stderr F INFO next
== java, caused by, suppressed, common frames
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR [main] demo.Shop: cannot pay
java.lang.IllegalStateException: no money
⇥at demo.Shop.pay(Shop.java:71)
⇥at java.base/java.lang.Thread.run(Thread.java:840)
⇥Suppressed: java.io.IOException: close
⇥⇥at demo.Net.close(Net.java:9)
⇥⇥... 1 more
Caused by: java.sql.SQLException: ORA-00942: table or view does not exist
⇥at demo.Db.query(Db.java:3)
⇥... 12 common frames omitted
Caused by: java.net.ConnectException: Connection refused
⇥... 31 more
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02,104 INFO [main] demo.Shop: next
== java, uncaught and kotlin
» - -
Exception in thread "main" java.lang.NullPointerException: Cannot invoke "String.length()" because "s" is null
⇥at demo.Shop.main(Shop.java:3)
» - -
kotlin.UninitializedPropertyAccessException: lateinit property x has not been initialized
⇥at demo.ShopKt.main(Shop.kt:3)
⇥at demo.ShopKt$main$1.invokeSuspend(Shop.kt:9)
» - -
java.lang.Error: second
⇥at demo.Shop.main(Shop.java:3)
== java, message of several lines
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01.104 ERROR 9 --- [main] o.s.b.d.LoggingFailureAnalysisReporter   :␠

***************************
APPLICATION FAILED TO START
***************************

Description:

Web server failed to start. Port 8080 was already in use.

Action:

Identify and stop the process that is listening on port 8080.
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02.104  INFO 9 --- [main] demo.Shop : next
== scala and akka
» 2026-03-12T06:25:01.104 ERROR
[ERROR] [03/12/2026 06:25:01.104] [sys-akka.actor.default-dispatcher-3] [akka://sys/user/pay] no money
java.lang.RuntimeException: no money
⇥at demo.Pay$$anonfun$receive$1.applyOrElse(Pay.scala:9)
» 2026-03-12T06:25:02.104 INFO
[INFO] [03/12/2026 06:25:02.104] [main] [akka://sys] next
== .net exceptions
» 2026-03-12T05:25:01.104Z ERROR
2026-03-12 06:25:01.104 +01:00 [ERR] An unhandled exception has occurred
System.AggregateException: One or more errors occurred. (no money)
 ---> System.InvalidOperationException: no money
   at Demo.Shop.Pay() in /src/Shop.cs:line 20
   --- End of inner exception stack trace ---
   at System.Threading.Tasks.Task.Wait()
---> (Inner Exception #0) System.InvalidOperationException: no money
   at Demo.Shop.Pay() in /src/Shop.cs:line 20<---

» 2026-03-12T05:25:02.104Z INFO
2026-03-12 06:25:02.104 +01:00 [INF] next
» - -
Unhandled exception. System.ApplicationException: gave up
   at Demo.Main(String[] args)
== .net, frames that lost their indentation
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 [7] ERROR Shop.Pay - no
System.NullReferenceException: Object reference not set to an instance of an object.
at Demo.Shop.Pay() in C:\src\Shop.cs:line 20
at Demo.Shop.Run(String a, Int32 b)
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02,104 [7] INFO Shop.Pay - next
== node, uncaught
» - -
listening on :3000
» - -
/srv/app/index.js:7
    throw new Error('no money');
    ^

Error: no money
    at Object.<anonymous> (/srv/app/index.js:7:9)
    at node:internal/main/run_main_module:23:47 {
  code: 'EPAY',
  [cause]: TypeError: x is not a function
      at pay (/srv/app/pay.js:3:1)
}

Node.js v20.11.0
» - -
listening on :3000
== node, module not found and rejections
» - -
node:internal/modules/cjs/loader:1080
  throw err;
  ^

Error: Cannot find module 'express'
Require stack:
- /srv/app/index.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1077:15) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/srv/app/index.js' ]
}

Node.js v18.19.0
» - -
(node:9) UnhandledPromiseRejectionWarning: Error: no
    at pay (/srv/app/pay.js:3:1)
» - -
(Use `node --trace-warnings ...` to show where the warning was created)
== winston and console with a stack
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z [error]: cannot pay
TypeError: Cannot read properties of undefined (reading 'id')
    at pay (/srv/app/pay.js:3:1)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
» 2026-03-12T06:25:02.104Z INFO
2026-03-12T06:25:02.104Z [info]: next
== go panic
» 2026-03-12T06:25:01 -
2026/03/12 06:25:01 listening
» - FATAL
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45e1]

goroutine 1 [running]:
main.(*Shop).Pay(0x0, {0xc000012345, 0x3})
⇥/src/shop.go:71 +0x1d
main.main()
⇥/src/main.go:9 +0x20

goroutine 18 [chan receive, 5 minutes]:
net/http.(*conn).serve(0xc0000b2000, {0x7f, 0xc0})
⇥/usr/local/go/src/net/http/server.go:2009 +0x5f4
created by net/http.(*Server).Serve in goroutine 1
⇥/usr/local/go/src/net/http/server.go:3086 +0x5cb
exit status 2
» 2026-03-12T06:25:02 -
2026/03/12 06:25:02 listening
== go panic recovered, and fatal error
» 2026-03-12T06:25:01 -
2026/03/12 06:25:01 http: panic serving 10.0.0.8:51022: no money
goroutine 34 [running]:
net/http.(*conn).serve.func1()
⇥/usr/local/go/src/net/http/server.go:1854 +0xbf
panic({0x1234, 0x5678})
⇥/usr/local/go/src/runtime/panic.go:890 +0x263
» - FATAL
fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.main()
⇥/src/main.go:9 +0x20
== go panic re-raised
» - FATAL
panic: first [recovered]
⇥panic: second
goroutine 1 [running]:
main.main.func1()
⇥/src/main.go:7 +0x5b
== controller-runtime
» 2026-03-12T06:25:01Z ERROR
2026-03-12T06:25:01Z⇥ERROR⇥Reconciler error⇥{"controller": "shop", "error": "no"}
sigs.k8s.io/controller-runtime/pkg/internal/controller.(*Controller[...]).reconcileHandler
⇥/go/pkg/mod/sigs.k8s.io/controller-runtime@v0.19.0/pkg/internal/controller/controller.go:316
sigs.k8s.io/controller-runtime/pkg/internal/controller.(*Controller[...]).Start.func2.2
⇥/go/pkg/mod/sigs.k8s.io/controller-runtime@v0.19.0/pkg/internal/controller/controller.go:227
» 2026-03-12T06:25:02Z INFO
2026-03-12T06:25:02Z⇥INFO⇥Starting workers⇥{"controller": "shop"}
== rust panic
» 2026-03-12T06:25:01Z INFO
[2026-03-12T06:25:01Z INFO  shop] starting
» - -
thread 'main' panicked at src/main.rs:3:10:
called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: "No such file or directory" }
stack backtrace:
   0: rust_begin_unwind
             at /rustc/07dca489ac2d933c78d3c5158e3f43beefeb02ce/library/std/src/panicking.rs:645:5
   1: core::panicking::panic_fmt
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
» 2026-03-12T06:25:02Z INFO
[2026-03-12T06:25:02Z INFO  shop] starting
» - -
thread 'tokio-runtime-worker' panicked at 'no money', src/pay.rs:9:5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
» - ERROR
Error: no money

Caused by:
    0: cannot connect
    1: Connection refused (os error 111)
== php on windows, one exception after another
» - FATAL
PHP Fatal error:  Uncaught Exception: no in /srv/a.php:7
Stack trace:
#0 C:\srv\b.php(3): pay(7)
#1 [internal function]: App\Shop->run()
#2 {main}

Next RuntimeException: worse in /srv/a.php:9
Stack trace:
#0 {main}
  thrown in /srv/a.php on line 9
» 2026-03-12T06:25:02 INFO
[2026-03-12 06:25:02] app.INFO: next
== ruby
» - -
/srv/a.rb:3:in `pay': no money (RuntimeError)
⇥from /srv/a.rb:9:in `<main>'
» - -
/srv/a.rb:3:in 'Shop#pay': no money (Shop::Broke)
⇥from /srv/a.rb:9:in 'Shop.run'
⇥from /srv/a.rb:12:in '<main>'
» 2026-03-12T06:25:01.104522 FATAL
F, [2026-03-12T06:25:01.104522 #9] FATAL -- :␠␠␠
ActionView::Template::Error (undefined method `name' for nil:NilClass):
    1: <h1><%= @shop.name %></h1>
␠␠
app/views/shop/show.html.erb:1:in `render'
== elixir and erlang
» - ERROR
06:25:01.104 [error] GenServer Shop.Pay terminating
** (RuntimeError) no money
    (shop 0.1.0) lib/shop/pay.ex:7: Shop.Pay.handle_call/3
    (stdlib 5.2) gen_server.erl:1131: :gen_server.try_handle_call/4
Last message (from #PID<0.812.0>): :pay
State: %{orders: []}
» - INFO
06:25:02.104 [info] next
» 2026-03-12T06:25:03.104522Z ERROR
2026-03-12 06:25:03.104522+00:00 [error] <0.812.0>   crasher:
» 2026-03-12T06:25:03.104522Z ERROR
2026-03-12 06:25:03.104522+00:00 [error] <0.812.0>     initial call: shop:init/1
== perl
» --03-12T06:25:01 -
Mar 12 06:25:01 web1 app[9]: Can't locate Shop.pm in @INC at /srv/a.pl line 3.
Mar 12 06:25:01 web1 app[9]: ⇥main::pay(7) called at /srv/a.pl line 9
» --03-12T06:25:02 -
Mar 12 06:25:02 web1 app[9]: BEGIN failed--compilation aborted at /srv/a.pl line 3.
== object after a header line
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 INFO config loaded: {
  "port": 8080,
  "hosts": [
    "a",
    "b"
  ]
}
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02.104 INFO next
» 2026-03-12T06:25:03.104 DEBUG
2026-03-12 06:25:03.104 DEBUG request
{
  "id": 7
}
» 2026-03-12T06:25:04.104 INFO
2026-03-12 06:25:04.104 INFO next
== objects alone
» 2026-03-12T06:25:01Z ERROR
{
  "time": "2026-03-12T06:25:01Z",
  "level": "error",
  "message": "no money"
}
» 2026-03-12T06:25:02Z INFO
{
  "time": "2026-03-12T06:25:02Z",
  "level": "info",
  "nested": {
    "a": [1, 2]
  }
}
== yaml below a message
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 INFO config:
shop:
  port: 8080
  hosts:
  - a
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02.104 INFO next
== announced and what follows
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 INFO plan:
  ~ instance_type = "t2.micro" -> "t3.micro"
  - tags          = {}
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02.104 INFO sizes:
+------+-------+
| name | bytes |
+------+-------+
| a    | 12    |
+------+-------+
» 2026-03-12T06:25:03.104 INFO
2026-03-12 06:25:03.104 INFO next
== level first
» - ERROR
ERROR cannot pay
» - INFO
INFO next
» - WARNING
WARNING: slow
» - ERROR
Error: no money
» - -
TypeError in the shop is solved
» - -
# a remark
» - -
} else {
» - -
Errors: 0
== tables
» - -
name | error | info
» - -
-----+-------+-----
» - -
web  | 12    | 3
» - -
db   | 0     | 4
== a program of plain words
» - -
at 7 o'clock the shop opens
» - INFO
note: bring money
» - -
ValueError is a word
» - -
exit status of the shop: fine
» - -
Caused a stir
» - -
main.py
» - -
web.example.com
» - -
goroutine leak suspected
== format changes half way
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01,104 INFO shop one
» 2026-03-12T06:25:02.104 ERROR
2026-03-12 06:25:02,104 ERROR shop two
Traceback (most recent call last):
  File "a.py", line 1
demo.Gone
» 2026-03-12T06:25:03Z INFO
{"time":"2026-03-12T06:25:03Z","level":"info","msg":"three"}
» 2026-03-12T06:25:04Z ERROR
{"time":"2026-03-12T06:25:04Z","level":"error","msg":"four"}
» 2026-03-12T06:25:05.000000001Z -
2026-03-12T06:25:05.000000001Z stdout F five
» --03-12T06:25:06 -
Mar 12 06:25:06 web1 app[9]: six
== klog with a stack and continued lines
» --03-12T06:25:01.104522 ERROR
E0312 06:25:01.104522       1 runtime.go:77] Observed a panic: "no money"
goroutine 71 [running]:
k8s.io/apimachinery/pkg/util/runtime.logPanic({0x1a2b3c, 0xc000123456})
⇥/go/pkg/mod/k8s.io/apimachinery@v0.29.0/pkg/util/runtime/runtime.go:75 +0x85
panic({0x1a2b3c?, 0xc000123456?})
⇥/usr/local/go/src/runtime/panic.go:914 +0x21f
» --03-12T06:25:02.104522 INFO
I0312 06:25:02.104522       1 main.go:9] next
== serilog in a console
» - INFO
[06:25:01 INF] Now listening on: http://localhost:5000
» - ERROR
[06:25:02 ERR] HTTP POST /pay responded 500 in 12.1040 ms
Demo.Broke: no money
   at Demo.Shop.Pay() in /src/Shop.cs:line 20
   at Demo.Shop.Run() in /src/Shop.cs:line 12
» - FATAL
[06:25:03 FTL] Host terminated unexpectedly
== .net console with a time and a single line
» 2026-03-12T05:25:01.104Z ERROR
2026-03-12T06:25:01.104+01:00 fail: Shop.Pay[0] cannot pay System.InvalidOperationException: no    at Demo.Shop.Pay()
» - -
Unhandled exception. Demo.Broke: no money
   at Demo.Program.Main(String[] args) in /src/Program.cs:line 3
» - -
Aborted (core dumped)
== python, several tracebacks of one process without times
» - ERROR
ERROR:root:cannot pay
Traceback (most recent call last):
  File "/srv/a.py", line 3, in <module>
    pay()
demo.Gone
» - INFO
INFO:root:next
» - ERROR
ERROR:root:cannot pay
Traceback (most recent call last):
  File "/srv/a.py", line 3, in <module>
    pay()
ValueError: invalid literal for int() with base 10: 'x'
» - INFO
INFO:root:next
== python, messages over several lines
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01,104 ERROR db cannot insert
Traceback (most recent call last):
  File "/srv/a.py", line 3, in <module>
    insert()
sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) UNIQUE constraint failed: orders.id
[SQL: INSERT INTO orders (id) VALUES (?)]
[parameters: (7,)]
(Background on this error at: https://sqlalche.me/e/20/gkpj)
» 2026-03-12T06:25:02.104 ERROR
2026-03-12 06:25:02,104 ERROR api bad request
Traceback (most recent call last):
  File "/srv/a.py", line 9, in check
    Order(**data)
pydantic_core._pydantic_core.ValidationError: 1 validation error for Order
id
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.6/v/missing
» 2026-03-12T06:25:03.104 INFO
2026-03-12 06:25:03,104 INFO api next
== java, an exception with a message over several lines
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01.104 ERROR [main] demo.Db : migration failed
org.flywaydb.core.internal.command.DbMigrate$FlywayMigrateException: Migration V2__orders.sql failed
-----------------------------------
SQL State  : 42P01
Error Code : 0
Message    : ERROR: relation "orders" does not exist
⇥at org.flywaydb.core.internal.command.DbMigrate.doMigrateGroup(DbMigrate.java:382)
Caused by: org.postgresql.util.PSQLException: ERROR: relation "orders" does not exist
  Position: 13
⇥at org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2713)
⇥... 9 common frames omitted
» 2026-03-12T06:25:02.104 INFO
2026-03-12 06:25:02.104  INFO [main] demo.Db : next
== a crash below lines with a time
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 INFO listening
» - FATAL
panic: no money
goroutine 1 [running]:
main.main()
⇥/src/main.go:9 +0x20
» - -
Unhandled exception. Demo.Broke: no money
   at Demo.Program.Main(String[] args) in /src/Program.cs:line 3
» - -
Exception in thread "main" demo.Broke: no money
⇥at demo.Shop.main(Shop.java:3)
» - -
Segmentation fault (core dumped)
== aws cloudwatch and lambda
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z⇥9f1c2d3e-0000-4000-8000-9f1c2d3e4f50⇥ERROR⇥Invoke Error⇥{"errorType":"Error","errorMessage":"no money"}
» - -
START RequestId: 9f1c2d3e-0000-4000-8000-9f1c2d3e4f50 Version: $LATEST
» 2026-03-12T06:25:01.104Z ERROR
[ERROR]⇥2026-03-12T06:25:01.104Z⇥9f1c2d3e-0000-4000-8000-9f1c2d3e4f50⇥cannot pay
Traceback (most recent call last):
  File "/var/task/app.py", line 3, in handler
    pay()
Broke: no money
» - -
REPORT RequestId: 9f1c2d3e-0000-4000-8000-9f1c2d3e4f50⇥Duration: 12.10 ms⇥Billed Duration: 13 ms⇥Memory Size: 128 MB
== severities in places of their own
» - ERROR
error: could not compile `shop` (bin "shop") due to 1 previous error
» - WARNING
warning: unused variable: `x`
» 2026-03-12T06:25:01.104 WARNING
[WARN] 2026-03-12 06:25:01.104 shop slow
» 2026-03-12T06:25:01.104 ERROR
<ERROR> 2026-03-12 06:25:01.104 shop
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01.104 <Error> Shop: no
» 2026-03-12T06:25:01.104522 INFO
2026.03.12 06:25:01.104522 [ 9 ] {} <Information> Application: starting up
» 2026-03-12T06:25:01.104522 ERROR
2026.03.12 06:25:01.104522 [ 9 ] {9f1c} <Error> executeQuery: Code: 60. DB::Exception
» 2026-03-12T06:25:01 ERROR
2026-03-12 06:25:01 E shop: no
» 2026-03-12T06:25:01.104 ERROR
E 2026-03-12 06:25:01.104 shop no
» - ERROR
E/Shop: no
» 2026-03-12T06:25:01 ERROR
2026-03-12 06:25:01 (ERROR) shop no
» 2026-03-12T06:25:01 ERROR
2026-03-12 06:25:01 - ERROR - shop no
» 2026-03-12T06:25:01 ERROR
2026-03-12 06:25:01;ERROR;shop;no
» 2026-03-12T06:25:01 ERROR
2026-03-12 06:25:01,ERROR,shop,no
» 2026-03-12T06:25:01 FATAL
2026-03-12 06:25:01 *** FATAL *** shop
» 2026-03-12T06:25:01.104Z WARNING
2026-03-12T06:25:01.104Z warn [shop] slow
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z [shop] error: no money
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01.104 [shop-thread-1] [ERROR] no
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 [shop-thread-1] INFO: no errors
» - ERROR
level=error msg=no
» - WARNING
[shop] WARN slow
» - ERROR
shop: ERROR: no
» - ERROR
ERROR shop.pay:71 no
» - INFO
* INFO started
» - -
Starting the warning service
» - -
GET /warning 200
» - -
failed=0 changed=1 ok=7
» - -
errors: []
== mongodb
» 2026-03-12T06:25:01.104Z INFO
{"t":{"$date":"2026-03-12T06:25:01.104+00:00"},"s":"I",  "c":"CONTROL",  "id":23285,   "ctx":"-","msg":"Automatically disabling TLS 1.0"}
» 2026-03-12T06:25:01.104Z WARNING
{"t":{"$date":"2026-03-12T06:25:01.104Z"},"s":"W",  "c":"STORAGE",  "id":22271,   "ctx":"initandlisten","msg":"Detected unclean shutdown","attr":{"severity":"E"}}
» 2026-03-12T06:25:01.104Z FATAL
{"t":{"$date":"2026-03-12T06:25:01.104Z"},"s":"F",  "c":"-",        "id":23091,   "ctx":"conn1","msg":"Fatal assertion"}
» 2026-03-12T06:25:01.104Z DEBUG
{"t":{"$date":"2026-03-12T06:25:01.104Z"},"s":"D1", "c":"REPL",     "id":21,      "ctx":"conn1","msg":"x"}
» 2026-03-12T06:25:01.104Z INFO
2026-03-12T06:25:01.104+0000 I  NETWORK  [listener] connection accepted from 10.0.0.8:51022 #7 (1 connection now open)
== loggers in JSON, numbers and names of other kinds
» 2026-03-12T06:25:01.104Z INFO
{"timestamp":"2026-03-12T06:25:01.104Z","severity":"NOTICE","message":"x"}
» 2026-03-12T06:25:01.104Z FATAL
{"time":"2026-03-12T06:25:01.104Z","severity":"EMERGENCY","message":"x"}
» 2026-03-12T06:25:01.104 FATAL
{"level":60,"time":1773296701104,"msg":"gone"}
» 2026-03-12T06:25:01.104 TRACE
{"level":10,"time":1773296701104,"msg":"in"}
» 2026-03-12T06:25:01 ERROR
{"written_at":"x","ts":1773296701,"level":"ERROR","msg":"x"}
» 2026-03-12T06:25:01.104Z ERROR
{"Timestamp":"2026-03-12T06:25:01.104Z","Level":"Error","MessageTemplate":"no {Id}","Properties":{"Id":7}}
» 2026-03-12T06:25:01.104Z -
{"@t":"2026-03-12T06:25:01.104Z","@mt":"fine"}
» 2026-03-12T06:25:01.104522123 ERROR
{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1773296701104522123","severityNumber":17,"severityText":"Error","body":{"stringValue":"no"}}]}]}]}
» 2026-03-12T06:25:01.104Z WARNING
{"log":{"level":"warn","logger":"shop"},"@timestamp":"2026-03-12T06:25:01.104Z","message":"x"}
» 2026-03-12T06:25:01Z ERROR
{"msg":"level is info","err":"x","lvl":"error","t":"2026-03-12T06:25:01Z"}
» 2026-03-12T06:25:01 ERROR
{"instant":{"epochSecond":1773296701,"nanoOfSecond":104000000},"thread":"main","level":"ERROR","loggerName":"demo.Shop","message":"no"}
== access logs have none
» 2026-03-12T06:25:01Z -
10.0.0.8 - - [12/Mar/2026:06:25:01 +0000] "GET /x?level=error HTTP/1.1" 500 9 "https://e.example/WARN" "ERROR fatal"
» - -
10.0.0.8 - - "GET /error HTTP/1.1" 404 -
» - INFO
INFO:     10.0.0.8:51022 - "GET /error HTTP/1.1" 500 Internal Server Error
» - -
10.0.0.8:51022 GET /fatal 200 1ms
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 10.0.0.8 GET /critical level=error 443 - 10.0.0.8 curl 200 0 0 9
== times with a prefix
» 2026-03-12T06:25:01.104 INFO
shop-7 | 2026-03-12 06:25:01.104 | INFO | x
» 2026-03-12T06:25:01 -
[main] 2026-03-12 06:25:01 x
» 2026-03-12T06:25:01.104Z WARNING
web1 2026-03-12T06:25:01.104Z WARN x
» 2026-03-12T06:25:01Z ERROR
app_name="shop" ts=2026-03-12T06:25:01Z level=error msg=x
» 2026-03-12T06:25:01 ERROR
#1 2026-03-12 06:25:01 ERROR x
» 2026-03-12T06:25:01 -
"2026-03-12 06:25:01" x
» 2026-03-12T06:25:01.104 INFO
INFO|2026-03-12 06:25:01.104|shop|x
» 2026-03-12T06:25:01Z -
::ffff:10.0.0.8 - - [Thu, 12 Mar 2026 06:25:01 GMT] "GET / HTTP/1.1" 200 9
» 2026-03-12T06:25:01.104Z INFO
<14>1 2026-03-12T06:25:01.104Z web1 app 9 ID47 [meta sequenceId="1"] started
» 2026-03-12T06:25:01 -
2026-03-12T06:25:01 x
» 2026-03-12T13:25:01Z -
Mar 12, 2026 06:25:01 PDT x
» 2026-03-12T06:25:01.000 -
2026/03/12 06:25:01.000 x
» 2026-03-12T06:25:01.104 -
12.03.2026 06:25:01,104 x
» 2026-03-12T18:25:01 -
12/Mar/2026 6:25:01 PM x
» 2026-03-12T00:55:01Z -
2026-03-12T06:25:01+05:30 x
» 2026-03-12T06:25:01Z -
2026-03-12 06:25:01 (UTC) x
» 2026-03-12T05:25:01Z -
2026-03-12 06:25:01 Europe/Berlin x
» 2026-03-12T06:25:01 -
20260312 06:25:01 x
== sql below statements
» 2026-03-12T06:25:01.104 DEBUG
2026-03-12 06:25:01.104 DEBUG 9 --- [main] org.hibernate.SQL :␠
    select
        o.id
    from
        orders o
» 2026-03-12T06:25:02.104Z INFO
2026-03-12 06:25:02.104 UTC [9] LOG:  statement: CREATE TABLE t (
⇥  id int,
⇥  at timestamp DEFAULT '2026-03-12 06:25:01'
⇥);
» 2026-03-12T06:25:03.104Z ERROR
2026-03-12 06:25:03.104 UTC [9] ERROR:  syntax error at or near "FORM" at character 10
» 2026-03-12T06:25:03.104Z -
2026-03-12 06:25:03.104 UTC [9] STATEMENT:  SELECT *␠
⇥FORM t
⇥WHERE x = '
⇥error
⇥';
== windows events exported as text
» 2026-03-12T06:25:01 ERROR
TimeCreated  : 3/12/2026 6:25:01 AM
ProviderName : Service Control Manager
Id           : 7031
LevelDisplayName : Error
Message      : The Print Spooler service terminated.

» 2026-03-13T06:25:01 WARNING
TimeCreated  : 3/13/2026 6:25:01 AM
ProviderName : Service Control Manager
Id           : 7045
LevelDisplayName : Warning
Message      : A service was installed in the system.
== xml of log4j
» 2026-03-12T06:25:01.104 ERROR
<log4j:event logger="demo.Shop" timestamp="1773296701104" level="ERROR" thread="main">
  <log4j:message><![CDATA[no money]]></log4j:message>
</log4j:event>
» 2026-03-12T06:25:02.104 INFO
<log4j:event logger="demo.Shop" timestamp="1773296702104" level="INFO" thread="main">
  <log4j:message><![CDATA[next]]></log4j:message>
</log4j:event>
== journalctl -o verbose
» 2026-03-12T06:25:01.104522Z INFO
Thu 2026-03-12 06:25:01.104522 UTC [s=9f1c;i=1;b=2d3e;m=4f;t=5a;x=6b]
    PRIORITY=6
    SYSLOG_IDENTIFIER=systemd
    MESSAGE=Started nginx.service.
» 2026-03-12T06:25:02.104522Z ERROR
Thu 2026-03-12 06:25:02.104522 UTC [s=9f1c;i=2;b=2d3e;m=4f;t=5a;x=6b]
    PRIORITY=3
    MESSAGE=Failed to start shop.service.
== journalctl -o json-pretty
» 2026-03-12T06:25:01.104522Z ERROR
{
⇥"__CURSOR" : "s=9f1c;i=1",
⇥"__REALTIME_TIMESTAMP" : "1773296701104522",
⇥"PRIORITY" : "3",
⇥"MESSAGE" : "Failed to start shop.service."
}
» 2026-03-12T06:25:02.104522Z INFO
{
⇥"__CURSOR" : "s=9f1c;i=2",
⇥"__REALTIME_TIMESTAMP" : "1773296702104522",
⇥"PRIORITY" : "6",
⇥"MESSAGE" : "Started shop.service."
}
== journalctl with fractions, a boot and no hostname
» --03-12T06:25:01 -
Mar 12 06:25:01 systemd[1]: Started nginx.service.
» --03-12T06:25:02 ERROR
Mar 12 06:25:02 sshd[9]: error: Could not load host key
» --03-12T06:25:03 -
Mar 12 06:25:03 systemd[1]: Reached target multi-user.target.
== docker compose logs with times
» 2026-03-12T06:25:01.104522123Z ERROR
web-1  | 2026-03-12T06:25:01.104522123Z ERROR cannot pay
web-1  | 2026-03-12T06:25:01.104522124Z ⇥at demo.Shop.pay(Shop.java:7)
» 2026-03-12T06:25:02.104522123Z -
web-1  | 2026-03-12T06:25:02.104522123Z shutting down
» 2026-03-12T06:25:02.204Z INFO
db-1   | 2026-03-12T06:25:02.204522123Z 2026-03-12 06:25:02.204 UTC [1] LOG:  ready
» 2026-03-12T06:25:03.204522123Z -
db-1   | 2026-03-12T06:25:03.204522123Z PostgreSQL init process complete
== docker service logs
» - INFO
shop_web.1.x2x7kq9z4m5n@node1    | INFO listening
» - ERROR
shop_web.1.x2x7kq9z4m5n@node1    | ERROR cannot pay
shop_web.1.x2x7kq9z4m5n@node1    | java.io.IOException: closed
shop_web.1.x2x7kq9z4m5n@node1    | ⇥at demo.Shop.pay(Shop.java:7)
» - -
shop_web.2.b8c9d0f1g2h3@node2    | listening
» - WARNING
shop_web.2.b8c9d0f1g2h3@node2    | WARN slow
== pm2
» - -
0|shop  | listening on 3000
» - ERROR
0|shop  | Error: no money
0|shop  |     at pay (/srv/app/pay.js:3:1)
» - -
1|mail  | sent
» - -
1|mail  | sent
== foreman
» - -
06:25:01 web.1    | started with pid 9
» - ERROR
06:25:01 web.1    | ERROR no money
» - -
06:25:01 worker.1 | started with pid 10
» - WARNING
06:25:02 worker.1 | WARN slow
== heroku
» 2026-03-12T06:25:01.104522Z INFO
2026-03-12T06:25:01.104522+00:00 heroku[router]: at=info method=GET path="/" host=shop.example status=200
» 2026-03-12T06:25:01.104522Z -
2026-03-12T06:25:01.104522+00:00 app[web.1]: listening on 3000
» 2026-03-12T06:25:02.104522Z ERROR
2026-03-12T06:25:02.104522+00:00 app[web.1]: Error: no money
2026-03-12T06:25:02.104523+00:00 app[web.1]:     at pay (/app/pay.js:3:1)
» 2026-03-12T06:25:02.204522Z -
2026-03-12T06:25:02.204522+00:00 app[web.1]: next
» 2026-03-12T06:25:03.104522Z -
2026-03-12T06:25:03.104522+00:00 app[api]: Release v7 created by user ann@example.org
== kubectl logs --prefix --timestamps
» 2026-03-12T06:25:01.104522123Z ERROR
[pod/web-1/web] 2026-03-12T06:25:01.104522123Z ERROR cannot pay
[pod/web-1/web] 2026-03-12T06:25:01.104522124Z ⇥at demo.Shop.pay(Shop.java:7)
» 2026-03-12T06:25:02.104522123Z -
[pod/web-1/web] 2026-03-12T06:25:02.104522123Z next
== syslog in docker in cri
» 2026-03-12T06:25:01Z ERROR
2026-03-12T06:25:03.1Z stdout F {"log":"\u003c11\u003e1 2026-03-12T06:25:01Z web1 app 9 - - no\n","stream":"stdout","time":"2026-03-12T06:25:02Z"}
» 2026-03-12T06:25:02Z -
2026-03-12T06:25:03.2Z stdout F {"log":"plain\n","stream":"stdout","time":"2026-03-12T06:25:02Z"}
== fluent bit and fly
» 2026-03-12T06:25:01 INFO
[2026/03/12 06:25:01] [ info] [storage] ver=1.5.1, type=memory
» 2026-03-12T06:25:01 ERROR
[2026/03/12 06:25:01] [error] [output:es:es.0] HTTP status=400 URI=/_bulk
» 2026-03-12T06:25:01 WARNING
[2026/03/12 06:25:01] [ warn] [engine] failed to flush chunk
» 2026-03-12T06:25:01Z INFO
2026-03-12T06:25:01Z app[9f1c2d3e] fra [info]listening
== ansible, make and compilers
» - ERROR
make[1]: *** [Makefile:7: all] Error 1
» - ERROR
main.c:3:5: error: expected ';' before 'return'
    3 |     x
      |     ^
» - ERROR
src/pay.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.
» - ERROR
error[E0382]: borrow of moved value: `x`
 --> src/main.rs:3:5
== go test
» - -
=== RUN   TestPay
» - ERROR
--- FAIL: TestPay (0.00s)
    pay_test.go:7: no money
» - ERROR
FAIL
exit status 1
== jest, vitest and mocha
» - ERROR
FAIL src/pay.test.js
  pay
» - INFO
    ✓ takes a card (2 ms)
» - ERROR
    ✕ takes cash
      Error: no change
» - INFO
 ✓ src/pay.test.js > takes a card 2ms
» - ERROR
 × src/pay.test.js > takes cash 9ms
   → no change
» - -
1 failed
== go test -v, with subtests
» - -
=== RUN   TestPay
    === RUN   TestPay/card
» - ERROR
--- FAIL: TestPay (0.00s)
» - INFO
    --- PASS: TestPay/card (0.00s)
» - ERROR
    --- FAIL: TestPay/cash (0.00s)
        pay_test.go:7: no change
== ctest
» - -
Test project /src/build
» - -
      Start  1: pay.card
» - INFO
 1/10 Test  #1: pay.card .........................   Passed    0.01 sec
» - -
      Start  2: pay.cash
» - ERROR
 2/10 Test  #2: pay.cash .........................***Failed    0.01 sec
== terraform and helm
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12T06:25:01.104Z [ERROR] provider.terraform-provider-aws: no credentials
» - ERROR
│ Error: no money
» - ERROR
Error: INSTALLATION FAILED: cannot re-use a name that is still in use
== indented verdicts of more tools
» - -
Running 3 tests using 2 workers
» - INFO
  ✓  1 a.spec.js › cart › adds up (77ms)
» - ERROR
  ✘  2 a.spec.js › cart › rounds (12ms)
» - INFO
 PASS  src/a.test.js
» - ERROR
 FAIL  src/b.test.js
  ● cart › rounds
    expected 3
» - INFO
  Passed Shop.Tests.A [2 ms]
» - ERROR
  Failed Shop.Tests.B [3 ms]
  Error Message:
   no
» - ERROR
  Failed Shop.Tests.C [< 1 ms]
  Failed to start component [Shop[pay]]
» - -
  31 passing (2s)
» - -
  1 failing
» - -
Price
  adds
» - -
  knows the highest (FAILED - 1)
» - -
  2) Error:
» - -
PriceTest#test_total:
» - INFO
 ✓ v/stock.spec.mjs (4 tests) 121ms
» - ERROR
 ❯ v/coupon.spec.mjs (4 tests | 1 failed) 142ms
== headings among verdicts
» - -
  cart
» - INFO
    ✔ adds up (81ms)
» - INFO
    ✔ rounds half up

» - -
  refund
» - INFO
    ✔ adds up

» - -
  31 passing (2s)
» - -
CartTest [test/cart_test.exs]
» - -
  * test pays order 3 [L#18]
== events of a server, the number on the right
» 2026-11-13T09:33:16Z -
   1 | 11/13/2026 | 09:33:16 UTC | Physical Security #0x51 | General Chassis intrusion () | Deasserted
» 2026-11-14T07:55:09Z -
  c7 | 11/14/2026 | 07:55:09 UTC | Memory #0x87 | Uncorrectable ECC (DIMM_B2) | Asserted
== alert log of Oracle
» 2026-11-04T08:59:54.216734Z ERROR
2026-11-04T09:59:54.216734+01:00
Errors in file /u01/app/SHOP_ora_4711.trc:
ORA-00600: internal error code, arguments: [kdsgrp1], [], []
» 2026-11-04T08:59:55.216734Z -
2026-11-04T09:59:55.216734+01:00
Thread 1 advanced to log sequence 7
== game servers and engines
» - ERROR
[06:25:01] [Server thread/ERROR]: no
» - WARNING
[06:25:01] [Worker-Main-1/WARN] [net.minecraft.server]: no
» 2026-03-12T06:25:01.104 FATAL
[12Mar2026 06:25:01.104] [main/FATAL] [mixin/]: no
» 2026-03-12T06:25:01.104 ERROR
[2026.03.12-06.25.01:104][  7]LogNet: Error: no
» 2026-03-12T06:25:01.104 INFO
[2026.03.12-06.25.01:104][123]LogInit: Display: ready
» 2026-03-12T06:25:01.104 -
[2026.03.12-06.25.01:104][123]LogInit: Build: shop
== telephones, devices, robots
» 2026-03-12T06:25:01 WARNING
[2026-03-12 06:25:01] WARNING[4154622][C-00000168] chan_sip.c: no
» --03-12T06:25:01 ERROR
[Mar 12 06:25:01] ERROR[13892]: res_pjsip.c: no
» - ERROR
E (3141) esp-tls: no
» - INFO
I (3141) wifi: ready
» - ERROR
[  1234][E][WiFiClient.cpp:275] connect(): no
» - WARNING
[06:25:01][W][mqtt:031]: no
» - ERROR
[00:00:12.345,000] <err> wifi: no
» 2026-03-12T06:25:01.104522123 ERROR
[ERROR] [1773296701.104522123] [controller_server]: no
» 2026-03-12T06:25:01.104522123 WARNING
[ WARN] [1773296701.104522123]: no
== storage, databases, hypervisors
» 2026-03-12T06:25:01.104522Z ERROR
[2026-03-12 06:25:01.104522 +0000] E [MSGID: 108006] [afr-common.c:6140:afr_notify] 0-v: no
» 2026-03-12T06:25:01.104522 ERROR
2026-03-12-06.25.01.104522+060 I1234E500   LEVEL: Severe
» 2026-03-12T06:25:01Z ERROR
{"timestamp":"2026-03-12 06:25:01 UTC","pid":7,"error_severity":"ERROR","message":"deadlock detected"}
» 2026-03-12T06:25:01.104Z WARNING
2026-03-12T06:25:01.104Z cpu3:2097)WARNING: NMP: no
» 2026-03-12T06:25:01Z ERROR
2026-03-12T06:25:01Z E! [inputs.cpu] Error in plugin
» 2026-03-12T06:25:01.104Z -
{"written_at":"2026-03-12T06:25:01.104Z","shop":"ready"}
== what systems say of themselves
» 2026-03-12T06:25:01.104 -
type=USER_AUTH msg=audit(1773296701.104:4711): pid=7 res=failed
» 2026-03-12T06:25:01.104 -
node=web1 type=LOGIN msg=audit(1773296701.104:4712): pid=7 res=1
» 2026-03-12T06:25:01.104522Z ERROR
2026-03-12 06:25:01.104522+0000 0x6aab     Error       0x0                  257    0    kernel: no
» 2026-03-12T06:25:01.104522Z FATAL
2026-03-12 06:25:01.104522+0000 0x6aab     Fault       0x0                  257    0    shopd: no
» 2026-03-12T06:25:01 ERROR
Error,3/12/2026 6:25:01 AM,disk,7,None,"no"
» 2026-03-13T06:25:01 WARNING
Warning⇥3/13/2026 6:25:01 AM⇥disk⇥7⇥None
» - WARNING
shop 5m12s Warning BackOff pod/web-0 Back-off restarting failed container
» - INFO
12m         Normal    Pulled    pod/web-0    ready
» 2026-03-12T06:25:01Z ERROR
{"timestamp":"2026-03-12T06:25:01Z","event_type":"alert","alert":{"signature":"scan","severity":1}}
» 2026-03-12T06:25:01Z INFO
{"timestamp":"2026-03-12T06:25:01Z","event_type":"alert","alert":{"signature":"curl","severity":3}}
» 2026-03-12T06:25:01.123 ERROR
2026-03-12 06:25:01.123 [ERR] HTTP GET /items/7 responded 500 in 3.1 ms
» 2026-03-12T06:25:01 -
2026-03-12 06:25:01 10.0.0.8 GET /ERROR - 80
== rows with a field of several lines
» 2026-03-12T06:25:01 INFO
Information,3/12/2026 6:25:01 AM,shop,7,None,"ready"
» 2026-03-12T06:25:02 ERROR
Error,3/12/2026 6:25:02 AM,Application Error,1000,(100),"Faulting application name: shop.exe, version: 1
Faulting module name: ""pay"".dll
Exception code: 0xc0000005"
» 2026-03-13T06:25:03 INFO
Information,3/13/2026 6:25:03 AM,shop,7,None,"ready, ""steady"" now"
» 2026-03-12T06:25:01.123 ERROR
1773296701123,"ERROR no money
⇥at shop.Pay
"
» 2026-03-12T06:25:02.123 INFO
1773296702123,INFO ready
== Windows in German
» 2026-03-12T06:25:01 ERROR
Fehler⇥12.03.2026 06:25:01⇥disk⇥7⇥Keine
» 2026-03-12T06:25:01 INFO
Informationen⇥12.03.2026 06:25:01⇥disk⇥7⇥Keine
== Rich
» 2026-11-04T06:25:01 ERROR
[11/04/26 06:25:01] ERROR    no                                   shop.py:7
» 2026-11-14T06:25:01 -
[11/14/26 06:25:01] ready                                         shop.py:7
== geth
» --11-03T06:25:01.104 ERROR
ERROR [11-03|06:25:01.104] no                                     err=none
== installers and builds
» - ERROR
npm error code ETARGET
» - WARNING
npm warn deprecated glob@7.2.3: no longer supported
» - ERROR
npm ERR! code ERESOLVE
» - ERROR
error Couldn't find any versions for "mkdirp" that matches "0.99.6"
» - WARNING
warning shop@1.0.0: no license
» - ERROR
dpkg: error processing package openssh-server (--configure):
» - ERROR
[webpack-cli] Error: no
» - -
> Task :shop:compileJava
» - ERROR
> Task :shop:test FAILED
» - ERROR
BUILD FAILED in 40s
» - -
BUILD SUCCESSFUL in 40s
» - ERROR
//src/tax:rate_test                              FAILED TO BUILD
» - INFO
//src/tax:sum_test                      (cached) PASSED in 0.1s
» - ERROR
! Undefined control sequence.
» - WARNING
LaTeX Warning: Reference `tax' on page 1 undefined on input line 7.
» - ERROR
PriceTest#test_parse = 0.00 s = E
» - INFO
PriceTest#test_total = 0.00 s = .
» - -
error of the sum is small
== opensearch, solr, activemq
» 2026-03-12T06:25:01.104 INFO
2026-03-12 06:25:01.104 INFO  (main) [   ] o.e.j.u.log Logging initialized @812ms
» 2026-03-12T06:25:01.104 WARNING
2026-03-12 06:25:01,104 | WARN  | Transport Connection to: tcp://10.0.0.8:51022 failed | org.apache.activemq.broker.TransportConnection | ActiveMQ Transport
» 2026-03-12T06:25:01.104Z ERROR
2026-03-12 06:25:01.104 +0000 ERROR [main] (demo.Shop) no
» - ERROR
06:25:01.104 ERROR [main]: no
» - WARNING
06:25:01,104 |-WARN in ch.qos.logback.core - no
» 2026-03-12T06:25:01.104 INFO
2026-03-12T06:25:01.104 [main] INFO  demo.Shop - no
» 2026-03-12T06:25:01 INFO
[INFO] 2026-03-12 06:25:01 x
» - ERROR
[ERROR] Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin
» 2026-03-12T06:25:01.104 WARNING
2026-03-12 06:25:01.104 WARN  [http-1] c.e.S.pay():71 - no
» 2026-03-12T06:25:01.104522 INFO
2026-03-12 06:25:01.104522 I | etcdmain: etcd Version: 3.3.25
» 2026-03-12T06:25:01.104522 WARNING
2026-03-12 06:25:01.104522 W | etcdserver: slow
» 2026-03-12T06:25:01.104 ERROR
2026-03-12 06:25:01.104 (12.104s) [main] shop.cc:71 ERR| no
"""

SIGNS = str.maketrans({"⇥": "\t", "␛": "\x1b", "⏎": "\r", "▮": "\ufeff", "␠": " ", "▒": "x " * 8 * 1024})


def logs(text):
    """For each name the lines of its log, and for each entry its first and last line, time and severity."""
    found = {}
    for section in re.split(r"(?m)^== ", text)[1:]:
        name, _, body = section.removesuffix("\n").partition("\n")
        assert name not in found, f"two logs are named {name}"
        lines, marks = [], []
        for line in body.split("\n"):
            if line.startswith("»"):
                marks.append((len(lines) + 1, line[1:].split()))
            else:
                lines.append(line.translate(SIGNS))
        entries = []
        for (first, mark), (end, _) in zip(marks, [*marks[1:], (len(lines) + 1, None)], strict=True):
            last = max(number for number in range(first, end) if lines[number - 1].strip())
            if mark:
                entries.append((first, last, *(None if word == "-" else word for word in mark)))
        found[name] = lines, entries
    return found


LOGS = logs(FORMATS)


@pytest.fixture(scope="module")
def parser():
    return LogParser()


@pytest.mark.parametrize("name", LOGS)
def test_known_logs(parser, name):
    lines, expected = LOGS[name]
    parsed = parser.parse("\n".join(lines))
    headers = parser.headers(parsed)
    found = zip(
        parsed.first_line.tolist(), parsed.last_line.tolist(), headers.iso(), headers.severities(), strict=True
    )
    assert list(found) == expected


# Streams that take turns: the lines, and of each entry its first and last line, its text and its severity.
INTERLEAVED = {
    "two streams of a container": (
        [
            "2026-03-12T06:25:01.1Z stderr F Traceback (most recent call last):",
            "2026-03-12T06:25:01.2Z stdout P GET /pay ",
            '2026-03-12T06:25:01.3Z stderr F   File "a.py", line 3',
            "2026-03-12T06:25:01.4Z stdout F 200",
            "2026-03-12T06:25:01.5Z stderr F demo.Gone: no",
            "2026-03-12T06:25:01.6Z stdout F GET / 200",
            "2026-03-12T06:25:01.7Z stderr F ERROR next",
        ],
        [
            (1, 5, 'Traceback (most recent call last):\n  File "a.py", line 3\ndemo.Gone: no', None),
            (2, 4, "GET /pay 200", None),
            (6, 6, "GET / 200", None),
            (7, 7, "ERROR next", "ERROR"),
        ],
    ),
    "services of a composition": (
        [
            "shop-web-1  | ERROR cannot pay",
            "shop-db-1   | 2026-03-12 06:25:01.104 UTC [9] ERROR:  syntax error",
            "shop-web-1  | java.io.IOException: closed",
            "shop-db-1   | 2026-03-12 06:25:01.104 UTC [9] STATEMENT:  SELECT",
            "shop-web-1  | \tat demo.Shop.pay(Shop.java:7)",
            "shop-db-1   | \t1",
            "shop-web-1  | Caused by: demo.Gone",
            "shop-web-1  | INFO next",
        ],
        [
            (
                1,
                7,
                "ERROR cannot pay\njava.io.IOException: closed\n\tat demo.Shop.pay(Shop.java:7)\nCaused by: demo.Gone",
                "ERROR",
            ),
            (2, 2, "2026-03-12 06:25:01.104 UTC [9] ERROR:  syntax error", "ERROR"),
            (4, 6, "2026-03-12 06:25:01.104 UTC [9] STATEMENT:  SELECT\n\t1", None),
            (8, 8, "INFO next", "INFO"),
        ],
    ),
    "processes of a host": (
        [
            "Mar 12 06:25:01 web1 app[9]: Traceback (most recent call last):",
            "Mar 12 06:25:01 web1 cron[7]: (root) CMD (true)",
            'Mar 12 06:25:01 web1 app[9]:   File "a.py", line 3',
            "Mar 12 06:25:01 web1 app[8]: error: no",
            "Mar 12 06:25:01 web1 app[9]: demo.Gone",
            "Mar 12 06:25:01 web1 app[9]: bye",
        ],
        [
            (1, 5, 'app[9]: Traceback (most recent call last):\n  File "a.py", line 3\napp[9]: demo.Gone', None),
            (2, 2, "cron[7]: (root) CMD (true)", None),
            (4, 4, "app[8]: error: no", "ERROR"),
            (6, 6, "app[9]: bye", None),
        ],
    ),
    "pods": (
        [
            "[pod/web-1/web] panic: no money",
            "[pod/web-2/web] listening",
            "[pod/web-1/web] ",
            "[pod/web-1/web] goroutine 1 [running]:",
            "[pod/web-2/web] closed",
            "[pod/web-1/web] main.main()",
            "[pod/web-1/web] \t/src/main.go:9 +0x20",
        ],
        [
            (1, 7, "panic: no money\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:9 +0x20", "FATAL"),
            (2, 2, "listening", None),
            (5, 5, "closed", None),
        ],
    ),
}


@pytest.mark.parametrize("name", INTERLEAVED)
def test_continuations_belong_to_their_stream(parser, name):
    lines, expected = INTERLEAVED[name]
    parsed = parser.parse("\n".join(lines))
    severities = parser.headers(parsed).severities()
    found = zip(
        parsed.first_line.tolist(), parsed.last_line.tolist(), parsed.text.to_pylist(), severities, strict=True
    )
    assert list(found) == expected


# ---------------------------------------------------------------------- properties

# Mixtures: pieces of logs, one after the other.
MIXTURES = st.lists(
    st.tuples(st.sampled_from(sorted(LOGS)), st.integers(0, 12), st.integers(1, 12)).map(
        lambda piece: LOGS[piece[0]][0][piece[1] : piece[1] + piece[2]]
    ),
    min_size=1,
    max_size=5,
).map(lambda pieces: [line for piece in pieces for line in piece])


def is_outside(line):
    return not line.strip(" \t\r\n\ufeff") or re.match("#(Software|Version|Date|Fields): ", line)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(MIXTURES)
def test_each_line_lies_in_one_entry(lines):
    """Without transports, which may leave nothing of a line, an entry is its lines."""
    parsed, _ = LogParser(transports=[]).parse_batch(["\n".join(lines)])
    plain, covered = [re.sub("\x1b\\[[0-9;]*[mK]", "", line) for line in lines], set()
    for first, last, text in zip(
        parsed.first_line.tolist(), parsed.last_line.tolist(), parsed.text.to_pylist(), strict=True
    ):
        assert not covered & set(range(first, last + 1))
        covered |= set(range(first, last + 1))
        inside = [line for line in plain[first - 1 : last] if not is_outside(line)]
        assert text.split("\n") == [line.rpartition("\r")[2] for line in inside]
    assert not [line for number, line in enumerate(plain, 1) if number not in covered and not is_outside(line)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(MIXTURES)
def test_line_numbers_are_true_whatever_wraps_the_lines(lines):
    """What an entry says stands in its lines: each word of it, without what JSON escapes."""
    parsed, _ = LogParser().parse_batch(["\n".join(lines)])
    assert (parsed.first_line <= parsed.last_line).all()
    for first, last, text in zip(
        parsed.first_line.tolist(), parsed.last_line.tolist(), parsed.text.to_pylist(), strict=True
    ):
        source = "\n".join(lines[first - 1 : last])
        missing = [word for word in re.findall(r"[a-z]{3,}", text) if word not in source]
        assert not missing


@settings(max_examples=25, deadline=None, derandomize=True)
@given(MIXTURES, st.integers(1, 400), st.booleans())
def test_entries_do_not_depend_on_where_chunks_end(lines, chunk_bytes, ends_in_newline):
    # A transport that counts only where most lines look alike is judged by what has been read.
    parser = LogParser(transports=[rule for rule in TRANSPORTS if not {"recurs", "evidence"} & set(rule)])
    lines = ["first", *lines]  # what all lines share is judged by the first chunk
    data = ("\n".join(lines) + "\n" * ends_in_newline).encode()
    whole, _ = parser.parse_batch([data])
    stream = EntryStream(parser, chunk_bytes)
    found = []
    for chunk in LogReader(io.BytesIO(data), chunk_bytes):
        entries = stream.push(chunk).entries
        found += zip(entries.first_line.tolist(), entries.last_line.tolist(), entries.text.to_pylist(), strict=True)
    assert found == list(zip(whole.first_line.tolist(), whole.last_line.tolist(), whole.text.to_pylist(), strict=True))


def test_masking_is_idempotent(parser):
    parsed, _ = parser.parse_batch(["\n".join(lines) for lines, _ in LOGS.values()])
    again = parser.mask(parsed.distinct).to_pylist()
    changed = [pair for pair in zip(parsed.distinct.to_pylist(), again, strict=True) if pair[0] != pair[1]]
    # Not yet: the frames of Rust, where the second pass takes `:<NUM> <NUM>:` for one number.
    assert [pair for pair in changed if "stack backtrace: " not in pair[0]] == []


def in_journal(lines):
    records = (
        {"MESSAGE": line, "_PID": "9", "SYSLOG_IDENTIFIER": "app", "__REALTIME_TIMESTAMP": f"17732967{number:08}"}
        for number, line in enumerate(lines)
    )
    return [json.dumps(record) for record in records]


def in_cri(lines):
    return [f"2026-03-12T06:25:01.{number:09}Z stdout F {line}" for number, line in enumerate(lines)]


def in_docker(lines):
    return [
        json.dumps({"log": line + "\n", "stream": "stdout", "time": f"2026-03-12T06:25:01.{number:09}Z"})
        for number, line in enumerate(lines)
    ]


def in_pods(lines):
    return [f"[pod/web-7c9f8d6b5-x2x7k/web] {line}" for line in lines]


# Logs of programs that carry nothing around their lines.
INNER = "python, direct cause, caret and notes|java, caused by, suppressed, common frames|controller-runtime"
INNER += "|node, uncaught|objects alone|announced and what follows|java"


@pytest.mark.parametrize("wrap", [in_cri, in_docker, in_pods, lambda lines: in_cri(in_docker(lines))])
@pytest.mark.parametrize("name", INNER.split("|"))
def test_entries_are_the_same_in_any_wrapping(parser, name, wrap):
    lines, expected = LOGS[name]
    wrapped = parser.parse("\n".join(wrap(lines)))
    spans = [(first, last) for first, last, *_ in expected]
    inner = ["\n".join(line for line in lines[first - 1 : last] if line.strip()) for first, last in spans]
    assert wrapped.text.to_pylist() == inner
    assert wrapped.first_line.tolist() == [first for first, *_ in expected]
    headers = parser.headers(wrapped)
    assert headers.severities() == [severity for *_, severity in expected]
    assert [time for time, (*_, own, _) in zip(headers.iso(), expected, strict=True) if own] == [
        own for *_, own, _ in expected if own
    ]


@pytest.mark.parametrize(
    "name", ["python, uncaught, and a syntax error", "java, caused by, suppressed, common frames"]
)
def test_a_trace_comes_out_of_a_journal(parser, name):
    """Each line is a record, and those of a trace belong together."""
    lines, expected = LOGS[name]
    parsed = parser.parse("\n".join(in_journal(line for line in lines if line)))
    assert len(parsed) == len(expected)
