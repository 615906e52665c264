"""HAProxy before an application on three servers: ordinary customers, faults, and which entries a fault caused."""

import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, Client, authorization, http_request, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, Rule, any_of
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, answers, children_of, make_folder, python_daemon, wait_until
from recordings.service import Fault, Lab, Service
from recordings.web import AGENTS, Visitor, get, scan

HOME = Path("/srv/haproxy")
PORT, TLS_PORT, LEDGER_PORT, PARTNER_PORT = 80, 443, 5000, 8443
SERVERS = {"app1": 8001, "app2": 8002, "app3": 8003}
HOST = "bank.example.org"
SOCKET = HOME / "admin.sock"


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    target: str  # form of each line, as `log stdout format` takes it
    web: str  # how requests are written
    tcp: str  # how connections to the ledger are written; empty for the built-in form
    checks: bool  # whether a health check is logged whose result differs from the one before
    pace: float  # requests per second of one customer


SETTINGS = {
    "httplog": Settings("rfc3164", "option httplog", "option tcplog", True, 3.0),
    "tcplog": Settings("iso", "option tcplog", "", False, 3.4),
    "json": Settings(
        "raw",
        """log-format '{"time":"%tr","client":"%ci","port":%cp,"frontend":"%ft","backend":"%b","server":"%s","""
        """"status":%ST,"state":"%ts","retries":%rc,"bytes":%B,"queue_ms":%Tw,"connect_ms":%Tc,"total_ms":%Ta,"""
        """"method":"%HM","uri":"%HU","agent":"%[capture.req.hdr(0),json]"}'""",
        """log-format '{"time":"%t","client":"%ci","port":%cp,"frontend":"%ft","backend":"%b","server":"%s","""
        """"state":"%ts","retries":%rc,"bytes":%B,"total_ms":%Tt}'""",
        True,
        3.0,
    ),
}

CONFIGURATION = """\
global
    log stdout format {target} local0
    log-send-hostname server1
    stats socket {socket} mode 600 level admin
    maxconn 500
    nbthread 2
    hard-stop-after 2s
    tune.bufsize 8192
defaults
    log global
    mode http
    timeout connect 1s
    timeout client 3s
    timeout server 3s
    timeout queue 1s
    timeout http-request 2s
    timeout http-keep-alive 1s
    timeout check 1s
    retries 2
    option redispatch 1
    {checks}
    default-server inter 400ms fall 2 rise 2
userlist desk
    user teller insecure-password first-window
    user auditor insecure-password second-floor
frontend web
    bind 127.0.0.1:{port}
    maxconn 80
    {web}
    capture request header User-Agent len 40
    stick-table type ip size 1k expire 5s store http_req_rate(3s)
    http-request track-sc0 src if {{ path_beg /search }}
    http-request deny deny_status 429 if {{ path_beg /search }} {{ sc_http_req_rate(0) gt {searches} }}
    http-request deny if {{ path_beg /internal }}
    http-request auth realm desk if {{ path_beg /desk }} !{{ http_auth(desk) }}
    http-request return status 204 if {{ path /errors/report }}
    http-request redirect prefix /items if {{ path_beg /accounts }}
    http-request set-path /items%[path] if {{ path_beg /desk }}
    use_backend reports if {{ path_beg /report }}
    use_backend partner if {{ path_beg /rates }}
    default_backend app
frontend secure
    bind 127.0.0.1:{tls} ssl crt {home}/tls/site.pem
    {web}
    capture request header User-Agent len 40
    default_backend app
frontend ledger_in
    bind 127.0.0.1:{ledger}
    mode tcp
    {tcp}
    default_backend ledger
backend app
    balance roundrobin
    option httpchk GET /health
    server app1 127.0.0.1:8001 check
    server app2 127.0.0.1:8002 check
    server app3 127.0.0.1:8003 check
backend reports
    balance leastconn
    option httpchk GET /health
    server app2 127.0.0.1:8002 check maxconn 2
    server app3 127.0.0.1:8003 check maxconn 2
backend partner
    server exchange 127.0.0.1:{partner} check check-ssl ssl verify required ca-file {home}/tls/ca.pem
backend ledger
    mode tcp
    server app1 127.0.0.1:8001 check
{extra}
"""
PARTNER = """\
defaults
    mode http
    timeout client 2s
    timeout server 2s
    timeout connect 1s
frontend exchange
    bind 127.0.0.1:{partner} ssl crt {home}/tls/{certificate}-site.pem
    http-request return status 200 content-type text/plain string rates
"""


class HAProxy(Lab):
    """HAProxy, the application on three servers, and a partner's server that it reaches over TLS."""

    settings: Settings
    log = HOME / "log" / "haproxy.log"
    configuration = HOME / "haproxy.cfg"

    def start(self) -> None:
        """Certificates, application, partner, HAProxy."""
        for name in ("log", "console", *SERVERS):
            make_folder(HOME / name)
        authority = CertificateAuthority(HOME / "tls")
        for name in ("good", "expired"):
            certificate, key = authority.issue(name, expired=name == "expired")
            (HOME / "tls" / f"{name}-site.pem").write_text(certificate.read_text() + key.read_text())
        (HOME / "tls/site.pem").write_text((HOME / "tls/good-site.pem").read_text())
        self.trust = ssl.create_default_context(cafile=str(authority.certificate))
        self.servers = {name: self.server(name, port) for name, port in SERVERS.items()}
        for server in self.servers.values():
            server.start()
        self.partner_with("good")
        self.write_configuration()
        self.log.touch()
        self.follower = LogFollower(self.log)
        self.haproxy = Daemon(["haproxy", "-W", "-db", "-f", self.configuration], self.log, self.is_ready)
        self.haproxy.start()

    def server(self, name: str, port: int) -> Daemon:
        """One server of the application."""
        return python_daemon("backend", port, HOME / name, console=HOME / "console" / f"{name}.txt", port=port)

    def any_server(self) -> Daemon:
        """A server that a fault chooses."""
        return self.servers[self.rng.choice(list(SERVERS))]

    def partner_with(self, certificate: str) -> None:
        """Start the partner's server with this certificate."""
        path = HOME / "partner.cfg"
        path.write_text(PARTNER.format(home=HOME, partner=PARTNER_PORT, certificate=certificate))
        console = HOME / "console" / "partner.txt"
        self.partner = Daemon(["haproxy", "-db", "-f", path], console, lambda: answers(PARTNER_PORT))
        self.partner.start()

    def replace_partner(self, certificate: str) -> None:
        """Restart the partner's server with another certificate."""
        self.partner.stop()
        self.partner_with(certificate)

    def is_ready(self) -> bool:
        """Whether a worker accepts commands, and so requests."""
        return bool(self.workers()) and self.order("show version") != ""

    def order(self, words: str) -> str:
        """Send the worker an operator's command; return its answer."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(SOCKET))
            link.sendall(f"{words}\n".encode())
            return link.recv(65536).decode()
        return ""

    def all_up(self) -> bool:
        """Whether every server of every backend is up."""
        rows = [line.split() for line in self.order("show servers state").splitlines()[2:] if line.strip()]
        return len(rows) >= 7 and all(row[5] == "2" and row[6] == "0" for row in rows)

    def await_recovery(self) -> None:
        """Wait until the health checks find everything healthy again."""
        wait_until(self.all_up, 30, "all servers are up")

    def write_configuration(self, searches: int = 5, extra: str = "") -> None:
        """Write the configuration, with `extra` lines at its end."""
        text = CONFIGURATION.format(
            home=HOME,
            socket=SOCKET,
            target=self.settings.target,
            web=self.settings.web,
            tcp=self.settings.tcp,
            checks="option log-health-checks" if self.settings.checks else "",
            port=PORT,
            tls=TLS_PORT,
            ledger=LEDGER_PORT,
            partner=PARTNER_PORT,
            searches=searches,
            extra=extra,
        )
        self.configuration.write_text(text)

    def workers(self) -> list[int]:
        """The worker processes."""
        return list(children_of(self.haproxy.pid))

    def employ_clients(self) -> None:
        """Customers, a bookkeeper, a monitor."""
        for number in range(9):
            self.crew.start(Customer(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).visit)
        self.crew.start(Bookkeeper(self, CLIENT_ADDRESSES[5], self.client_rng(9)).book)
        self.crew.start(lambda: self.watch(self.probe))

    def probe(self) -> None:
        """One probe of the monitor."""
        headers = {"User-Agent": "blackbox/0.25", "Host": HOST}
        http_request(PORT, "GET", "/health", CLIENT_ADDRESSES[6], headers=headers, timeout=3.0)

    def stop(self) -> None:
        """HAProxy, the partner, the application."""
        for daemon in (self.haproxy, self.partner, *self.servers.values()):
            daemon.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), parse)


# --- the log ---------------------------------------------------------------------------------------------------------

_FIRST = r"([\d.]+):\d+ \[\d\d/[^]]+\] "
_END = r"\d+/\d+/\d+/\d+/(\S+) "
_HTTP = re.compile(_FIRST + r"\S+ (\S+)/\S+ \S+ (?:\d+|-1) \S+ \S+ \S+ (\S\S)\S\S " + _END)
_TCP = re.compile(_FIRST + r"\S+ (\S+)/\S+ \S+ \d+ (\S\S) " + _END)
_JSON = re.compile(
    r'^\{"time":"[^"]*","client":"([\d.]+)",.*?"backend":"([^"]*)",.*?"state":"(\S\S)","retries":([^,]+),'
)
_OTHER = re.compile(r"(?:Connect from |^.{0,60}?)([\d.]+):\d+ (?:to |\[\d\d/)")
_OWN = re.compile(r"^\[\w+\] +\((\d+)\)|haproxy\[(\d+)\]: ")


def parse(line: str) -> Head:
    """A request (`process` is its backend, `code` how it ended, `severity` its retries) or HAProxy's own message."""
    if row := _JSON.match(line) or _HTTP.search(line) or _TCP.search(line):
        return Head(line, 0, row[2], row[1], row[3], row[4])
    if other := _OTHER.search(line):
        return Head(line, 0, "none", other[1])
    own = _OWN.search(line)
    return Head(line, int(own[1] or own[2]) if own else 0, "own")


# --- ordinary work ---------------------------------------------------------------------------------------------------


class Customer(Visitor):
    """Someone who looks at accounts and reports, with the usual slips."""

    AGENTS = (*AGENTS[1:4], "BankApp/7.3 (Android 14)", "BankApp/7.1 (iOS 17.5)", "Java/21.0.3")
    HEADERS = {"Host": HOST}

    def visit(self) -> None:
        """One step, and a pause."""
        rng = self.rng
        kinds: Sequence[Callable[[], object]] = (
            *[lambda: self.ask("GET", f"/items/{rng.choice(['balance', 'card', 'loan'])}-{rng.randint(1, 99)}")] * 6,
            *[lambda: self.ask("GET", f"/report/{rng.randint(1, 12)}?year={rng.randint(2019, 2025)}")] * 3,
            *[lambda: self.ask("POST", "/upload", body=b"x" * rng.choice([200, 3000, 20000]))] * 2,
            lambda: self.ask("GET", f"/search?iban={rng.randint(1000, 9999)}"),
            *[lambda: self.ask("GET", f"/rates/{rng.choice(['eur', 'usd', 'chf', 'sek'])}")] * 2,
            *[self.ask_securely] * 4,
            *[self.desk] * 2,
            lambda: self.ask("GET", f"/accounts/{rng.randint(1, 99)}"),
            lambda: self.ask("HEAD", f"/items/card-{rng.randint(1, 99)}"),
            lambda: self.ask("POST", "/errors/report", body=b"TypeError: amount is undefined"),
        )
        slips: Sequence[Callable[[], object]] = (
            *[lambda: self.ask("GET", rng.choice(["/favicon.ico", "/touch-icon.png", "/itmes/4", "/login"]))] * 3,
            *[lambda: self.ask("GET", f"/internal/{rng.choice(['metrics', 'users', 'errors'])}")] * 2,
            *[lambda: self.desk(wrong=True)] * 3,
            lambda: self.ask("GET", "/broken"),
            *[lambda: send_raw(TLS_PORT, b"GET / HTTP/1.1\r\nHost: bank.example.org\r\n\r\n", self.address)] * 3,
            *[lambda: tls_request("/", self.address, UNTRUSTING)] * 3,
            lambda: send_raw(PORT, b"GET /items/loan-7 HTTP/1.1\r\n", self.address, wait=False),
            lambda: send_raw(PORT, b"", self.address, wait=False),
            lambda: send_raw(PORT, b"GET /items /loan HTTP/1.1\r\nHost: bank.example.org\r\n\r\n", self.address),
            lambda: self.ask("GET", f"/report/{rng.randint(1, 12)}", timeout=0.03),
            self.hurry,
        )
        self.act(kinds, slips, 0.14)

    def ask_securely(self) -> None:
        """A request over TLS."""
        tls_request(f"/items/card-{self.rng.randint(1, 99)}", self.address, self.lab.trust, self.agent)

    def hurry(self) -> None:
        """Searches faster than allowed (429)."""
        for _ in range(6):
            self.ask("GET", f"/search?iban={self.rng.randint(1000, 9999)}")

    def desk(self, wrong: bool = False) -> None:
        """A page that needs a password."""
        user, password = self.rng.choice([("teller", "first-window"), ("auditor", "second-floor")])
        if wrong:
            user, password = self.rng.choice([(user, password.upper()), (user.upper(), password)])
        path = f"/desk/{self.rng.choice(['queue', 'limits', 'failed-payments', 'closing'])}"
        self.ask("GET", path, headers={"Authorization": authorization(user, password)})


UNTRUSTING = ssl.create_default_context()
"""Does not know the authority that signed the site's certificate, like an old phone."""


def tls_request(path: str, address: str, trust: ssl.SSLContext, agent: str = AGENTS[0]) -> None:
    """One request over TLS from `address`."""
    headers = {"User-Agent": agent, "Host": "secure.example.org"}
    http_request(TLS_PORT, "GET", path, address, headers=headers, timeout=5, tls=trust)


class Bookkeeper(Client):
    """Writes to the ledger over TCP, twice a second."""

    def book(self) -> None:
        """One entry, now and then given up."""
        text = f"GET /items/{self.rng.randint(1, 999)} HTTP/1.0\r\n\r\n"
        send_raw(LEDGER_PORT, text.encode(), self.address, wait=self.rng.random() < 0.9)
        self.lab.crew.stopping.wait(self.rng.expovariate(2.0))


# --- faults ----------------------------------------------------------------------------------------------------------


server_killed = faults.lasting(lambda lab: faults.down(lab.any_server()), 1.5, 3.0, HAProxy.await_recovery)
"""One server of the application dies; someone starts it again."""


def application_killed(lab: HAProxy, interval: Interval) -> None:
    """All servers of the application die; someone starts them again."""
    for server in lab.servers.values():
        server.stop(signal.SIGKILL)
    lab.hold(1.5, 3.0)
    for server in lab.servers.values():
        server.start()
    lab.await_recovery()


def application_slow(lab: HAProxy, interval: Interval) -> None:
    """Some or all servers take longer than HAProxy waits."""
    slow = [HOME / name / "slow" for name in lab.rng.choice([("app2",), ("app1", "app3"), tuple(SERVERS)])]
    for path in slow:
        path.write_text("3.4")
    lab.hold(2.5, 4.0)
    for path in slow:
        path.unlink()
    time.sleep(3.1)
    lab.await_recovery()


server_frozen = faults.lasting(lambda lab: faults.frozen([lab.any_server().pid]), 2.5, 4.0, HAProxy.await_recovery)
"""One server accepts connections and says nothing."""


def server_unreachable(lab: HAProxy, interval: Interval) -> None:
    """The network between HAProxy and one server drops everything, or answers for it."""
    with faults.network_cut(lab.rng.choice(list(SERVERS.values())), reset=lab.rng.random() < 0.4):
        lab.hold(2.5, 4.0)
    time.sleep(1.0)
    lab.await_recovery()


@contextlib.contextmanager
def babbler(port: int) -> Iterator[None]:
    """A server at a port that answers every request with something that is not HTTP."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        ending = threading.Event()
        listener.settimeout(0.1)

        def babble() -> None:
            while not ending.is_set():
                with contextlib.suppress(OSError):
                    link, _ = listener.accept()
                    with link:
                        link.settimeout(0.3)
                        link.recv(4096)
                        link.sendall(b"\x15\x03\x01 out of memory\r\n\r\n")

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def garbled_answers(lab: HAProxy, interval: Interval) -> None:
    """Another program has taken the port of one server."""
    name = lab.rng.choice(["app2", "app3"])
    lab.servers[name].stop()
    with babbler(SERVERS[name]):
        lab.hold(1.5, 3.0)
    lab.servers[name].start()
    lab.await_recovery()


def worker_killed(lab: HAProxy, interval: Interval) -> None:
    """SIGKILL to the worker; the master gives up, and all starts again."""
    for pid in lab.workers():
        os.kill(pid, lab.rng.choice([signal.SIGKILL, signal.SIGSEGV]))
    lab.hold(0.8, 2.0)
    lab.haproxy.stop()
    lab.haproxy.start()
    time.sleep(0.6)  # until the first health checks


def all_killed(lab: HAProxy, interval: Interval) -> None:
    """SIGKILL to all of HAProxy, which logs nothing about it; then it starts again."""
    pids = lab.haproxy.pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    lab.haproxy.stop(signal.SIGKILL)
    lab.hold(0.8, 2.0)
    lab.haproxy.start()
    time.sleep(0.6)  # until the first health checks


BAD_LINES = (
    "    sever app4 127.0.0.1:8004 check",
    "    server app4 127.0.0.1:8004 chek",
    "    timeout server soon",
    "frontend web\n    bind 127.0.0.1:80\n    default_backend apps",
    "    http-request deny if { path_bgn /old }",
    "    server exchange2 127.0.0.1:8444 ssl verify required ca-file /srv/haproxy/tls/partners.pem",
    "frontend archive\n    bind 127.0.0.1:81\n    default_backend archive",
)


broken_configuration = faults.broken_reloads(
    BAD_LINES, lambda lab: lab.haproxy.send(signal.SIGUSR2), 3, 0.6, 1.2, repair=lambda lab: reload(lab)
)


def connections_exhausted(lab: HAProxy, interval: Interval) -> None:
    """Someone opens connections and says little, until others wait for theirs."""

    def begin(number: int) -> bytes:
        return b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n" if number % 3 else b""

    with faults.held_connections(PORT, lab.rng.randint(60, 110), begin):
        lab.hold(1.5, 2.8)


def queue_flooded(lab: HAProxy, interval: Interval) -> None:
    """Someone asks for many reports at once, and others wait too long for theirs."""

    def report(number: int) -> bytes:
        return f"GET /report/{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()

    with faults.held_connections(PORT, lab.rng.randint(45, 70), report):
        lab.hold(2.0, 3.0)


MALFORMED = (
    b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + bytes(30),
    b"GET /items/\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 9\r\n\r\n",
    b"GET /items/1 HTTP/4.2\r\nHost: a\r\n\r\n",
    b"GET /" + b"b" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"EHLO bank.example.org\r\n",
    b"GET http://10.1.1.1/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\r\n\r\n",
)

malformed_requests = faults.garbage(PORT, MALFORMED, 15, 40, pause=0.08)
"""Garbage, TLS on a plain port, requests that contradict themselves."""


def tls_probes(lab: HAProxy, interval: Interval) -> None:
    """Someone probes the TLS port with something that is not TLS, old versions, and a distrust of the certificate."""
    old = b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + bytes(32) + b"\x00\x00\x04\x00\x05\x00\x0a\x01\x00"
    for _ in range(lab.rng.randint(15, 40)):
        if lab.rng.random() < 0.4:
            tls_request("/", INJECTOR_ADDRESS, UNTRUSTING)
        else:
            send_raw(TLS_PORT, lab.rng.choice([old, b"GET / HTTP/1.0\r\n\r\n"]), INJECTOR_ADDRESS, timeout=0.4)
        lab.hold(0.0, 0.08)


SCANNED = (
    *("actuator/env", "owa/auth/logon.aspx", "solr/admin/cores", "jenkins/login", "phpinfo.php", "v2/_catalog"),
    *("remote/", "internal/users", "console/", ".aws/credentials", "boaform/admin", "login", "hudson", "favicon.ico"),
)


scan_site = scan(lambda lab, path: get(PORT, path, AGENTS[2], Host=HOST), SCANNED, 20, 60, pause=0.06)
"""Someone looks for what other sites leave open; each line is an ordinary one of a mistyped address."""


def surge(lab: HAProxy, interval: Interval) -> None:
    """One address asks for account after account, far too often."""
    agent = lab.rng.choice(AGENTS[1:4])
    for number in range(lab.rng.randint(60, 140)):
        path = lab.rng.choice([f"/items/balance-{number}", f"/items/card-{number}", f"/search?iban={1000 + number}"])
        get(PORT, path, agent, Host=HOST)
        lab.hold(0.0, 0.02)


def guess_password(lab: HAProxy, number: int) -> None:
    """Someone guesses the passwords of the desk's pages."""
    user = lab.rng.choice(["teller", "auditor", "manager"])
    get(PORT, "/desk/queue", AGENTS[1], Host=HOST, Authorization=authorization(user, f"spring{number}"))


partner_expired = faults.lasting(
    lambda lab: faults.swapped(lab.replace_partner, "expired", "good"), 2.5, 4.0, HAProxy.await_recovery
)
"""The partner's certificate has expired."""


def wrong_maintenance(lab: HAProxy, interval: Interval) -> None:
    """The operator takes every server out of service, as for a deployment of one, and notices late."""
    everything = [*(f"app/{name}" for name in SERVERS), "reports/app2", "reports/app3"]
    for name in everything:
        lab.order(f"set server {name} state maint")
    lab.hold(1.5, 3.0)
    for name in everything:
        lab.order(f"set server {name} state ready")
    lab.await_recovery()


def few_files(lab: HAProxy, interval: Interval) -> None:
    """The worker may hold hardly any more files open than it already does."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in lab.workers()}
    for pid, (_, hard) in before.items():
        taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(1000)) - taken) + 1, hard))
    lab.hold(0.8, 1.4)
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    lab.await_recovery()


standstill = faults.lasting(lambda lab: faults.frozen(lab.haproxy.pids()), 1.5, 3.0, HAProxy.await_recovery)
"""All of HAProxy stands still for some seconds, then goes on."""


def of_servers(*backends: str) -> Rule:
    """Requests to these backends that a server failed or that were tried again, and what health checks say of them."""
    checks = re.compile(rf"(?:[Ss]erver|[Bb]ackend) '?(?:{'|'.join(backends)})\b")

    def rule(entry: Entry, interval: Interval) -> bool:
        if not interval.contains(entry.time, 0.2):
            return False
        if entry.process == "own":
            return checks.search(entry.message) is not None
        failed = entry.code is not None and (entry.code[0] in "sS" or entry.code in ("PH", "cD"))
        return entry.process in backends and (failed or entry.severity.lstrip("+") not in ("", "0"))

    return rule


def of_itself(entry: Entry, interval: Interval) -> bool:
    """Whatever HAProxy says about itself until the repair."""
    until_repair = interval.repair is None or entry.time < interval.repair
    return entry.process == "own" and interval.contains(entry.time, 0.2) and until_repair


_APPLICATION = of_servers("app", "reports", "ledger")


_EVERYTHING_BEHIND = of_servers("app", "reports", "ledger", "partner")


of_anything = any_of(_EVERYTHING_BEHIND, of_itself)
"""What HAProxy says about itself, and what went wrong with any server."""


FAULTS = {
    "server_killed": Fault(server_killed, _APPLICATION),
    "application_killed": Fault(application_killed, _APPLICATION),
    "application_slow": Fault(application_slow, _APPLICATION),
    "server_frozen": Fault(server_frozen, _APPLICATION, often=False),
    "server_unreachable": Fault(server_unreachable, _APPLICATION, often=False),
    "garbled_answers": Fault(garbled_answers, _APPLICATION, often=False),
    "worker_killed": Fault(worker_killed, of_itself, often=False),
    "all_killed": Fault(all_killed, of_itself, often=False),
    "broken_configuration": Fault(broken_configuration, of_itself),
    "connections_exhausted": Fault(connections_exhausted),
    "queue_flooded": Fault(queue_flooded, of_servers("reports"), visible="order"),
    "malformed_requests": Fault(malformed_requests),
    "tls_probes": Fault(tls_probes),
    "scan": Fault(scan_site, visible="order"),
    "surge": Fault(surge, visible="order"),
    "brute_force": Fault(faults.repeated(guess_password, 20, 50, pause=0.06), visible="order"),
    "partner_expired": Fault(partner_expired, of_servers("partner"), often=False),
    "wrong_maintenance": Fault(wrong_maintenance, _APPLICATION, often=False),
    "few_files": Fault(few_files, of_anything, often=False),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, of_anything, visible="silence", often=False),
}


def clean_restart(lab: HAProxy) -> None:
    """What an administrator does after an update, at once or after the last request."""
    lab.haproxy.stop(lab.rng.choice([signal.SIGTERM, signal.SIGUSR1]))
    lab.haproxy.start()


def reload(lab: HAProxy) -> None:
    """A new worker takes over from the old one."""
    before = set(lab.workers())
    lab.haproxy.send(signal.SIGUSR2)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: bool(set(lab.workers()) - before) and not before & set(lab.workers()), 4, "the old ones go")
    time.sleep(0.2)


def valid_reload(lab: HAProxy) -> None:
    """A reload that changes a limit, or nothing."""
    lab.write_configuration(searches=lab.rng.choice([5, 5, 7]))
    reload(lab)


def deployment(lab: HAProxy) -> None:
    """One server gets no more new requests, starts in a new version, and comes back."""
    name = lab.rng.choice(["app2", "app3"])
    state = lab.rng.choice(["drain", "drain", "maint"])
    for backend in ("app", "reports"):
        lab.order(f"set server {backend}/{name} state {state}")
    time.sleep(0.6)
    lab.servers[name].stop()
    lab.hold(0.9, 1.4)
    lab.servers[name].start()
    time.sleep(1.0)
    for backend in ("app", "reports"):
        lab.order(f"set server {backend}/{name} state ready")
    lab.await_recovery()


SERVICE = Service(
    name="haproxy",
    lab=HAProxy,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "deployment": deployment},
)
