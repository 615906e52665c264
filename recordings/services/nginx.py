"""nginx as a reverse proxy with files of its own: ordinary visitors, faults, and which entries a fault caused."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, authorization, http_request, send_raw
from recordings.labels import GRACE, Entry, Interval, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, answers, children_of, make_folder, python_daemon, wait_until
from recordings.service import Fault, Lab, Service
from recordings.web import AGENTS, Visitor, get, scan

HOME = Path("/srv/nginx")
PORT, PROXY_PORT, TLS_BACKEND_PORT = 80, 8001, 8443


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    log_format: str  # nginx's `log_format`; empty for the built-in `combined`
    error_level: str
    pace: float  # requests per second of one client


SETTINGS = {
    "combined": Settings("", "notice", 3.0),
    "json": Settings(
        'escape=json \'{"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request","status":$status,'
        '"bytes":$body_bytes_sent,"request_time":$request_time,"upstream":"$upstream_addr",'
        '"upstream_status":"$upstream_status","agent":"$http_user_agent"}\'',
        "warn",
        3.0,
    ),
    "timed": Settings(
        '\'$remote_addr - $host "$request" $status $bytes_sent rt=$request_time ut=$upstream_response_time '
        "cs=$upstream_cache_status'",
        "info",
        2.0,
    ),
}


CONFIGURATION = """\
user www-data;
worker_processes 2;
pid {home}/nginx.pid;
error_log {home}/log/nginx.log {error_level};
events {{ worker_connections 96; }}
http {{
    {log_format}
    access_log {home}/log/nginx.log {format_name};
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    proxy_cache_path {home}/cache levels=1 keys_zone=items:1m max_size=2m inactive=10s use_temp_path=off;
    limit_req_zone $binary_remote_addr zone=visitors:1m rate={rate}r/s;
    client_max_body_size 256k;
    client_body_buffer_size 8k;
    client_header_timeout 2s;
    client_body_timeout 2s;
    keepalive_timeout 1s;
    upstream app {{ server 127.0.0.1:{backend} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        server_name shop.example.org;
        root {home}/www;
        proxy_connect_timeout 1s;
        proxy_read_timeout 2s;
        limit_req zone=visitors burst=40 nodelay;
        location /static/ {{ }}
        location /admin/ {{ auth_basic "Staff"; auth_basic_user_file {home}/passwords; }}
        location /items/ {{ proxy_pass http://app; proxy_cache items; proxy_cache_valid 200 2s; }}
        location /partner/ {{
            proxy_pass https://127.0.0.1:{tls}/items/;
            proxy_ssl_verify on; proxy_ssl_trusted_certificate {home}/tls/ca.pem; proxy_ssl_name localhost;
            proxy_ssl_session_reuse off;
        }}
        location / {{ proxy_pass http://app; }}
    }}
}}
"""
TLS_CONFIGURATION = """\
user www-data; pid {home}/partner.pid; error_log /dev/null; daemon off;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{tls} ssl; ssl_certificate {home}/tls/{name}.pem; ssl_certificate_key {home}/tls/{name}.key;
        location / {{ return 200 "partner"; }}
    }}
}}
"""


class Nginx(Lab):
    """nginx, the application it stands before, and a partner's server that it reaches over TLS."""

    settings: Settings
    log = HOME / "log" / "nginx.log"
    configuration = HOME / "nginx.conf"

    def start(self) -> None:
        """Files, certificates, application, partner, nginx."""
        for name in ("log", "www/static", "app"):
            make_folder(HOME / name)
        for name in ("proxy", "fastcgi", "uwsgi", "scgi", "cache"):
            make_folder(HOME / name, "www-data")
        faults.mount_small_disk(HOME / "body", "1m", "www-data")
        for number in range(40):
            (HOME / "www/static" / f"style-{number}.css").write_text("body { margin: 0 }\n" * (20 + number))
        (HOME / "passwords").write_text("editor:{PLAIN}correct horse\nowner:{PLAIN}battery staple\n")
        authority = CertificateAuthority(HOME / "tls")
        authority.issue("good")
        authority.issue("expired", expired=True)
        self.backend = python_daemon(
            "backend", PROXY_PORT, HOME / "app", console=HOME / "app" / "console.txt", port=PROXY_PORT
        )
        self.backend.start()
        self.partner_with("good")
        self.write_configuration()
        self.follower = LogFollower(self.log)
        self.nginx = Daemon(
            ["nginx", "-e", self.log, "-g", "daemon off;", "-c", self.configuration],
            HOME / "console.txt",
            self.is_ready,
        )
        self.nginx.start()

    def partner_with(self, certificate: str) -> None:
        """Start the partner's server with this certificate."""
        path = HOME / "partner.conf"
        path.write_text(TLS_CONFIGURATION.format(home=HOME, tls=TLS_BACKEND_PORT, name=certificate))
        self.partner = Daemon(
            ["nginx", "-e", "/dev/null", "-c", path], HOME / "app" / "partner.txt", lambda: answers(TLS_BACKEND_PORT)
        )
        self.partner.start()

    def replace_partner(self, certificate: str) -> None:
        """Restart the partner's server with another certificate."""
        self.partner.stop()
        self.partner_with(certificate)

    def is_ready(self) -> bool:
        """Whether it serves."""
        return len(children_of(self.nginx.pid)) >= 2 and answers(PORT)

    def write_configuration(self, rate: int = 20, extra: str = "") -> None:
        """Write the configuration, with `extra` lines inside the server."""
        style = self.settings.log_format
        text = CONFIGURATION.format(
            home=HOME,
            port=PORT,
            backend=PROXY_PORT,
            tls=TLS_BACKEND_PORT,
            rate=rate,
            error_level=self.settings.error_level,
            log_format=f"log_format own {style};" if style else "",
            format_name="own" if style else "combined",
        )
        self.configuration.write_text(text.replace("    location / {", f"    {extra}\n        location / {{"))

    def workers(self) -> list[int]:
        """The worker processes."""
        return [pid for pid, command in children_of(self.nginx.pid).items() if "worker process" in command]

    def employ_clients(self) -> None:
        """Visitors, an API client, a monitor."""
        for number in range(9):
            self.crew.start(Shopper(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).visit)
        self.crew.start(lambda: self.watch(self.probe))

    def probe(self) -> None:
        """One probe of the monitor."""
        http_request(PORT, "GET", "/health", CLIENT_ADDRESSES[6], headers={"User-Agent": "monitor/2.1"}, timeout=3.0)

    def stop(self) -> None:
        """nginx, the partner, the application."""
        for daemon in (self.nginx, self.partner, self.backend):
            daemon.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), parse)


# --- the log ---------------------------------------------------------------------------------------------------------

_ERROR = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (\d+)#\d+: (?:\*(\d+) )?(.*)$")
_CLIENT = re.compile(r"client:? ([\d.]+)")
_ACCESS = re.compile(r'^([\d.]+) - \S+ (?:\[[^]]*\] )?"(.*?)" (\d{3}) ')
# Not by a JSON parser: bytes that are no UTF-8 stand in it as they came.
_JSON_ACCESS = re.compile(r'^\{"time":"[^"]*","remote_addr":"([\d.]+)","request":"(.*?)","status":(\d+),')


def parse(line: str) -> Head | None:
    """An error line, or an access line in one of the styles."""
    if error := _ERROR.match(line):
        client = _CLIENT.search(line)
        return Head(error[4], int(error[2]), "error", client[1] if client else None, None, error[1])
    if access := _ACCESS.match(line):
        return Head(access[2], 0, "access", access[1], access[3])
    if access := _JSON_ACCESS.match(line):
        return Head(access[2], 0, "access", access[1], access[3])
    return None


# --- ordinary work ---------------------------------------------------------------------------------------------------


class Shopper(Visitor):
    """Someone who looks around, with the usual slips."""

    HEADERS = {"Host": "shop.example.org"}

    def visit(self) -> None:
        """One step, and a pause."""
        rng = self.rng
        kinds: Sequence[Callable[[], object]] = (
            *[lambda: self.ask("GET", f"/items/{rng.randint(1, 500)}")] * 6,
            *[lambda: self.ask("GET", f"/static/style-{rng.randint(0, 39)}.css")] * 5,
            *[
                lambda: self.ask(
                    "GET", f"/search?q={rng.choice(['shoe', 'hat', 'red+coat', 'gift'])}&page={rng.randint(1, 9)}"
                )
            ]
            * 3,
            *[lambda: self.ask("GET", f"/report/{rng.randint(1, 60)}")] * 2,
            *[lambda: self.ask("POST", "/upload", body=b"x" * rng.choice([300, 4000, 20000, 60000]))] * 3,
            lambda: self.ask("GET", f"/partner/{rng.randint(1, 90)}"),
            lambda: self.ask("HEAD", f"/items/{rng.randint(1, 500)}"),
            self.staff,
        )
        slips: Sequence[Callable[[], object]] = (
            *[
                lambda: self.ask(
                    "GET", rng.choice(["/favicon.ico", "/itms/12", "/about-us", "/static/logo.png", "/robots.txt"])
                )
            ]
            * 5,
            *[lambda: self.ask("GET", f"/static/style-{rng.randint(40, 90)}.css")] * 2,
            lambda: self.ask("GET", "/broken"),
            lambda: self.ask("POST", "/static/style-1.css", body=b"a=1"),
            lambda: self.ask("POST", "/upload", body=b"x" * 300_000),
            lambda: self.staff(wrong=True),
            lambda: send_raw(PORT, b"GET /items/7 HTTP/1.1\r\nHost: shop.example.org\r\n", self.address, wait=False),
            self.impatient,
        )
        self.act(kinds, slips, 0.12)

    def staff(self, wrong: bool = False) -> None:
        """A page that needs a password."""
        user, password = self.rng.choice([("editor", "correct horse"), ("owner", "battery staple")])
        if wrong:
            user, password = self.rng.choice([(user, password[:-1]), (user + "s", password)])
        page = f"/admin/{self.rng.choice(['', 'orders', 'prices'])}"
        self.ask("GET", page, headers={"Authorization": authorization(user, password)})

    def impatient(self) -> None:
        """Leaves before the answer (499)."""
        self.ask("GET", f"/report/{self.rng.randint(1, 60)}", timeout=0.03)


# --- faults ----------------------------------------------------------------------------------------------------------


backend_killed = faults.lasting(lambda lab: faults.down(lab.backend), 2.0, 4.0)
"""The application dies; someone starts it again."""


backend_slow = faults.lasting(lambda lab: faults.slow_backend(HOME / "app", 2.6), 3.0, 5.0, faults.settle(2.2))
"""The application takes longer than nginx waits."""


backend_unreachable = faults.lasting(lambda lab: faults.network_cut(PROXY_PORT), 2.5, 4.0, faults.settle(1.0))
"""The network between nginx and the application drops everything."""


def worker_killed(lab: Nginx, interval: Interval) -> None:
    """SIGKILL to one worker; the master starts another."""
    for _ in range(lab.rng.choice([1, 1, 3])):
        os.kill(lab.rng.choice(lab.workers()), signal.SIGKILL)
        lab.hold(0.2, 0.8)


master_killed = faults.lasting(lambda lab: faults.down(lab.nginx), 1.0, 2.5)
"""SIGKILL to all of nginx, which logs nothing about it; then it starts again."""


BAD_LINES = (
    "proxy_conect_timeout 5s;",
    "client_max_body_size lots;",
    "location /new/ { proxy_pass http://app",
    "proxy_pass http://app;",
    "auth_basic;",
    "include /srv/nginx/conf.d/shop.conf;",
)


broken_configuration = faults.broken_reloads(BAD_LINES, lambda lab: lab.nginx.send(signal.SIGHUP), 4, 0.4, 1.2)


connections_exhausted = faults.lasting(lambda lab: faults.held_connections(PORT, 230), 1.0, 1.8)
"""Someone opens connections and says nothing, until the workers have none left."""


MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\x00\x01 HTTP/1.0\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /items/1 HTTP/9.1\r\nHost: a\r\n\r\n",
    b"SSH-2.0-Go\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
)

malformed_requests = faults.garbage(PORT, MALFORMED, 10, 40, pause=0.1)
"""Garbage, TLS on a plain port, requests that contradict themselves."""

SCANNED = (
    "wp-login.php",
    ".env",
    ".git/config",
    "phpmyadmin/",
    "admin.php",
    "backup.sql",
    "xmlrpc.php",
    "cgi-bin/test",
    "api/v1/pods",
)


scan_site = scan(lambda lab, path: get(PORT, path, AGENTS[0]), SCANNED, 20, 60, pause=0.05)
"""Someone looks for what other sites leave open; each line is an ordinary 404, and the agent looks like a browser."""


def surge_request(lab: Nginx, _number: int) -> None:
    """One address asks for the ordinary things, far too often; beyond the limit it is refused (503)."""
    path = lab.rng.choice([f"/items/{lab.rng.randint(1, 500)}", f"/search?q=hat&page={lab.rng.randint(1, 9)}"])
    get(PORT, path, lab.rng.choice(AGENTS))


def guess_password(lab: Nginx, number: int) -> None:
    """Someone guesses the passwords of the staff's pages."""
    user = lab.rng.choice(["editor", "owner", "admin", "root"])
    get(PORT, "/admin/", AGENTS[1], Authorization=authorization(user, f"password{number}"))


disk_full = faults.lasting(lambda lab: faults.full_disk(HOME / "body"), 3.0, 5.0)
"""No room for the bodies of uploads."""


unreadable_files = faults.lasting(lambda lab: faults.permissions(HOME / "www/static", 0o700, 0o755), 2.0, 4.0)
"""A deployment takes away the permission to read static files."""


expired_certificate = faults.lasting(lambda lab: faults.swapped(lab.replace_partner, "expired", "good"), 4.0, 7.0)
"""The partner's certificate has expired."""


standstill = faults.lasting(lambda lab: faults.frozen(lab.nginx.pids()), 2.0, 3.5)
"""All of nginx stands still for some seconds, then goes on."""


def proxied(*errors: str, status: str) -> Callable[[Entry, Interval], bool]:
    """Requests that ended in `status`, and what nginx says of them. `/broken` fails at any time."""
    text = says(*errors)

    def rule(entry: Entry, interval: Interval) -> bool:
        if entry.process == "error":
            return text(entry, interval)
        return entry.code == status and "/broken" not in entry.message and interval.contains(entry.time, GRACE)

    return rule


def refused_files(entry: Entry, interval: Interval) -> bool:
    """Static files that may not be read."""
    return interval.contains(entry.time, 0.1) and (
        "Permission denied" in entry.message or (entry.code == "403" and "/static/" in entry.message)
    )


FAULTS = {
    "backend_killed": Fault(backend_killed, proxied(r"upstream", status="502")),
    "backend_slow": Fault(backend_slow, proxied(r"upstream timed out", status="504")),
    "backend_unreachable": Fault(backend_unreachable, proxied(r"upstream timed out", status="504"), often=False),
    "worker_killed": Fault(worker_killed, says(r"signal 17|exited on signal 9|start worker process|signal 29")),
    "master_killed": Fault(
        master_killed,
        says(r"\[(notice|alert|emerg)\]"),
        often=False,
        possible=lambda settings: settings.error_level != "warn",  # it says nothing of its start there
    ),
    "broken_configuration": Fault(
        broken_configuration, says(r"\[emerg\]|signal 1 \(SIGHUP\)|reconfiguring", grace=0.1)
    ),
    "connections_exhausted": Fault(connections_exhausted, says(r"worker_connections")),
    "malformed_requests": Fault(malformed_requests),
    "scan": Fault(scan_site, visible="order"),
    "surge": Fault(faults.repeated(surge_request, 60, 160), visible="order"),
    "brute_force": Fault(faults.repeated(guess_password, 15, 50, pause=0.06)),
    "disk_full": Fault(disk_full, proxied(r"No space left on device", status="500")),
    "unreadable_files": Fault(unreadable_files, refused_files, often=False),
    "expired_certificate": Fault(
        expired_certificate, proxied(r"\[error\].*(certificate|/partner/)", status="502"), often=False
    ),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, proxied(r"timed out", status="504"), visible="silence", often=False),
}


def clean_restart(lab: Nginx) -> None:
    """What an administrator does after an update."""
    lab.nginx.stop(signal.SIGQUIT)
    lab.nginx.start()


def valid_reload(lab: Nginx) -> None:
    """A reload that changes a limit, or nothing."""
    lab.write_configuration(rate=lab.rng.choice([20, 25, 30]))
    before = set(lab.workers())
    lab.nginx.send(signal.SIGHUP)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not before & set(lab.workers()), 3, "the old workers leave")


def reopen_logs(lab: Nginx) -> None:
    """What a rotation of logs does."""
    lab.nginx.send(signal.SIGUSR1)
    time.sleep(0.2)


SERVICE = Service(
    name="nginx",
    lab=Nginx,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "reopen_logs": reopen_logs},
)
