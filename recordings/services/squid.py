"""Squid as the proxy of an office: ordinary browsing, faults, and which entries a fault caused.

`python -m recordings.services.squid` answers what Squid asks the world besides pages: names (DNS) and tunnels.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recordings import faults, web
from recordings.clients import CLIENT_ADDRESSES, Client, authorization, http_request, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, Rule
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, children_of, is_listening, is_running, make_folder, python_daemon, run_tool
from recordings.service import Fault, Lab, Service
from recordings.web import scan

HOME = Path("/srv/squid")
CACHE, SITE = HOME / "cache", HOME / "site"
PORT, SITE_PORT, STAFF_PORT, TUNNEL_PORT = 3128, 80, 8080, 443
NAME_SERVER = "127.0.0.53"


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    log_format: str  # Squid's name for it
    debug_options: str
    pace: float  # requests per second of one client


SETTINGS = {
    "native": Settings("squid", "ALL,1", 5.0),
    "combined": Settings("combined", "ALL,1", 5.0),
    "json": Settings("own", "ALL,1 85,2 88,2", 0.6),
}

AGENTS = (*web.AGENTS[:2], "Debian APT-HTTP/1.3 (2.6.1)", "curl/8.5.0")
STAFF = {"editor": "correct horse", "owner": "battery staple", "clerk": "green apple"}
SITES = tuple(f"{name}.example.org" for name in ("shop", "news", "www", "mirror", "maps", "static"))
"""Sites on port 80; what they are called is known from DNS."""
TUNNELS = tuple(f"{name}.example.org:{TUNNEL_PORT}" for name in ("bank", "mail", "chat"))

CONFIGURATION = """\
http_port 127.0.0.1:{port}
cache_effective_user proxy
visible_hostname proxy.example.org
pid_filename {home}/squid.pid
cache_log {home}/log/squid.log
logformat own {{"time":"%tl","client":"%>a","method":"%rm","url":"%ru","status":%>Hs,"result":"%Ss","bytes":%<st,\
"ms":%tr,"user":"%[un","peer":"%Sh/%<a","detail":"%err_code/%err_detail","agent":"%{{User-Agent}}>h"}}
access_log stdio:{home}/log/squid.log {log_format}
buffered_logs off
logfile_rotate 0
debug_options {debug_options}
coredump_dir none
pinger_enable off
hosts_file /run/hosts
dns_nameservers {name_server}
dns_timeout 2 seconds
dns_retransmit_interval 1 seconds
positive_dns_ttl 2 seconds
negative_dns_ttl 1 seconds
cache_mem 256 KB
maximum_object_size_in_memory 4 KB
cache_dir ufs {home}/cache 3 4 16
max_filedescriptors 160
shutdown_lifetime 1 seconds
connect_timeout 1 seconds
read_timeout 2 seconds
forward_timeout 3 seconds
request_timeout 2 seconds
request_start_timeout 5 seconds
client_lifetime 1 minute
pconn_timeout 5 seconds
request_body_max_size 100 KB
auth_param basic program /usr/lib/squid/basic_ncsa_auth {home}/passwords
auth_param basic children {helpers} startup=3 idle=1
auth_param basic realm office
auth_param basic credentialsttl 1 seconds
acl safe_ports port 80 443 8080 8099
acl tunnels method CONNECT
acl tunnel_ports port 443
acl games dstdomain .games.example.org
acl intranet dstdomain intranet.example.org
acl staff proxy_auth REQUIRED
acl office src 127.0.0.0/8
{extra}
http_access deny !safe_ports
http_access deny tunnels !tunnel_ports
http_access deny games
http_access deny intranet !staff
http_access allow office
http_access deny all
"""


class Squid(Lab):
    """Squid, the sites it fetches from, and the name server."""

    settings: Settings
    log = HOME / "log" / "squid.log"
    configuration = HOME / "squid.conf"

    def start(self) -> None:
        """Folders, names, sites, Squid."""
        make_folder(HOME / "log", "proxy")
        make_folder(SITE)
        make_folder(SITE / "staff")
        faults.mount_small_disk(CACHE, "5m", "proxy")
        Path("/run/hosts").write_text("127.0.0.1 localhost server1 proxy.example.org intranet.example.org\n")
        self.write_passwords()
        self.write_configuration()
        self.site = self.helper("backend", SITE_PORT, SITE_PORT, SITE)
        self.intranet = self.helper("backend", STAFF_PORT, STAFF_PORT, SITE / "staff")
        self.world = self.helper("services.squid", TUNNEL_PORT)
        for daemon in (self.site, self.intranet, self.world):
            daemon.start()
        run_tool("squid", "-z", "-N", "-f", self.configuration, cwd="/")
        self.follower = LogFollower(self.log)
        self.squid = Daemon(
            ["squid", "-N", "-f", self.configuration], HOME / "console.txt", lambda: is_listening(PORT)
        )
        self.squid.start()

    def helper(self, module: str, port: int, *arguments: object) -> Daemon:
        """A program of the outside world."""
        return python_daemon(module, *arguments, console=HOME / "world.txt", port=port)

    def write_passwords(self) -> None:
        """Write the logins of those who may read the intranet."""
        with (HOME / "passwords").open("w") as file:
            for user, word in STAFF.items():
                file.write(f"{user}:{run_tool('openssl', 'passwd', '-1', word).decode()}")

    def write_configuration(self, extra: str = "", helpers: int = 5) -> None:
        """Write the configuration, with `extra` lines before the rules of access."""
        text = CONFIGURATION.format(
            home=HOME,
            port=PORT,
            name_server=NAME_SERVER,
            log_format=self.settings.log_format,
            debug_options=self.settings.debug_options,
            extra=extra,
            helpers=helpers,
        )
        self.configuration.write_text(text)

    def employ_clients(self) -> None:
        """People in the office, a monitor."""
        for number in range(10):
            self.crew.start(Reader(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).work)
        self.crew.start(lambda: self.watch(self.probe))

    def probe(self) -> None:
        """One probe of the monitor."""
        ask("http://www.example.org/health", CLIENT_ADDRESSES[6], agent="monitor/2.1", timeout=3.0)

    def stop(self) -> None:
        """Squid, and the world."""
        for daemon in (self.squid, self.world, self.intranet, self.site):
            daemon.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written; a remark on a request gets the request's client."""
        entries = split_entries(self.follower.close(), parse)
        clients: dict[str, str | None] = {}
        client = None
        for number in range(len(entries) - 1, -1, -1):
            entry = entries[number]
            if entry.process == "access":
                clients[entry.message] = entry.remote_host
                continue
            if peer := _PEER.search("\n".join(entry.lines)):
                entries[number] = replace(entry, remote_host=peer[1])
            if about := _ABOUT.search(entry.message):
                client = clients.get(about[1])
            if about or "clientAccessCheck2" in entry.message:  # between two that name the request
                entries[number] = replace(entry, remote_host=client)
        return entries


# --- the log ---------------------------------------------------------------------------------------------------------

_CACHE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?\|(?: \d+,\d+\|)? ?(.*)$")
_NATIVE = re.compile(r"^\d{10}\.\d{3} +\d+ ([\d.]+) \w+/(\d{3}) \d+ (\S+ \S+) ")
_COMBINED = re.compile(r'^([\d.]+) - \S+ \[[^]]*\] "(.*?) \w+/\d+\.\d+" (\d+) ')
_CONTINUED = re.compile(r"^(?:\s|$|CPU Usage:|Maximum Resident Size:|Page faults with)")
_PEER = re.compile(r"remote=([\d.]+):")
_ABOUT = re.compile(r"The (?:request|reply for) (\S+ \S+) is ")


def parse(line: str) -> Head | None:
    """A line of Squid about itself, or an access line in one of the styles."""
    if own := _CACHE.match(line):
        return Head(own[1], 0, "cache")
    if native := _NATIVE.match(line):
        return Head(native[3], 0, "access", native[1], native[2])
    if combined := _COMBINED.match(line):
        return Head(combined[2], 0, "access", combined[1], combined[3])
    if line.startswith("{"):
        row = json.loads(line)
        return Head(f"{row['method']} {row['url']}", 0, "access", row["client"], str(row["status"]))
    if _CONTINUED.match(line):
        return None
    return Head(line, 0, "cache")


def answered(*patterns: str, grace: float = 1.5) -> Rule:
    """Requests whose status, method and address match, and those answered with a stale copy."""
    compiled = re.compile("|".join(patterns))

    def rule(entry: Entry, interval: Interval) -> bool:
        if entry.process != "access" or not interval.contains(entry.time, grace):
            return False
        return compiled.match(f"{entry.code} {entry.message}") is not None or "REFRESH_FAIL" in entry.lines[0]

    return rule


def own_words(entry: Entry, interval: Interval) -> bool:
    """Everything Squid says about itself, except its remarks on requests."""
    return (
        entry.process == "cache"
        and interval.contains(entry.time, 0.3)
        and not re.search(r"AccessCheck|AccessResult", entry.message)
    )


# --- ordinary work ---------------------------------------------------------------------------------------------------


def ask(
    url: str, address: str, method: str = "GET", user: str = "", agent: str = AGENTS[0], **more: object
) -> int | None:
    """One request to the proxy, with the login `user:password`."""
    headers = {"User-Agent": agent, "Host": url.split("/")[2] if "://" in url else url}
    if user:
        headers["Proxy-Authorization"] = authorization(*user.split(":", 1))
    return http_request(PORT, method, url, address, headers=headers, **more)  # type: ignore[arg-type]


def tunnel(target: str, address: str, agent: str = AGENTS[0]) -> None:
    """A tunnel with a few bytes through it."""
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\n\r\n".encode()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 5.0, (address, 0)) as link:
        link.sendall(request)
        if b" 200 " in link.recv(4096):
            link.sendall(b"hello\n")
            link.recv(100)


class Reader(Client):
    """Someone who browses, with the usual slips."""

    def __init__(self, lab: Squid, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.agent = rng.choice(AGENTS)

    def work(self) -> None:
        """One request, and a pause."""
        usual = [self.page] * 12 + [self.tunnel] * 3 + [self.intranet] * 3 + [self.upload, self.head, self.again]
        slips = [self.missing] * 5 + [self.forgot, self.wrong_password, self.game, self.impatient, self.nonsense]
        slips += [self.old_site, self.no_such_host, self.bad_port, self.too_large, self.broken]
        self.act(usual, slips, 0.22)

    def ask(self, url: str, method: str = "GET", **more: object) -> None:
        """One request with the own browser."""
        ask(url, self.address, method, agent=self.agent, **more)  # type: ignore[arg-type]

    def page(self) -> None:
        """A page, from the cache or not."""
        rng = self.rng
        words = rng.choice(("hat", "hat", "red+coat", "gift", "warning+signs"))
        kinds = (f"items/{rng.randint(1, 120)}", f"report/{rng.randint(1, 60)}", f"items/hat-{rng.randint(1, 30)}")
        path = rng.choice((*kinds, f"search?q={words}&page={rng.randint(1, 9)}"))
        self.ask(f"http://{rng.choice(SITES)}/{path}")

    def again(self) -> None:
        """A page that everyone reads."""
        self.ask(f"http://news.example.org/items/{self.rng.randint(1, 4)}")

    def tunnel(self) -> None:
        """A tunnel to a site over TLS."""
        tunnel(self.rng.choice(TUNNELS), self.address, self.agent)

    def intranet(self, login: str | None = None) -> None:
        """A page that needs a login."""
        user = self.rng.choice(sorted(STAFF))
        path = self.rng.choice(("items/1", "search?q=holidays", f"report/{self.rng.randint(1, 9)}"))
        self.ask(
            f"http://intranet.example.org:{STAFF_PORT}/{path}",
            user=f"{user}:{STAFF[user]}" if login is None else login,
        )

    def forgot(self) -> None:
        """The login is left out."""
        self.intranet("")

    def wrong_password(self) -> None:
        """A mistyped login."""
        user = self.rng.choice(sorted(STAFF))
        self.intranet(self.rng.choice((f"{user}:{STAFF[user][:-1]}", f"{user}s:{STAFF[user]}")))

    def upload(self) -> None:
        """A form."""
        self.ask(f"http://{self.rng.choice(SITES)}/upload", "POST", body=b"x" * self.rng.choice([300, 4000, 20000]))

    def head(self) -> None:
        """Check whether something is new."""
        self.ask(f"http://mirror.example.org/items/{self.rng.randint(1, 90)}", "HEAD")

    def missing(self) -> None:
        """A page that does not exist."""
        path = self.rng.choice(("favicon.ico", "old/index.html", "error.css", "logo.png", "docs/warning"))
        self.ask(f"http://{self.rng.choice(SITES)}/{path}")

    def broken(self) -> None:
        """The site has a fault of its own."""
        self.ask(f"http://{self.rng.choice(SITES[:2])}/broken")

    def game(self) -> None:
        """A site that is blocked in the office."""
        self.ask(f"http://{self.rng.choice(('chess', 'cards'))}.games.example.org/items/{self.rng.randint(1, 9)}")

    def impatient(self) -> None:
        """Leaves before the answer."""
        self.ask(f"http://www.example.org/report/{self.rng.randint(1, 60)}", timeout=0.03)

    def nonsense(self) -> None:
        """Something that is not HTTP, or half of a request."""
        pieces = (
            b"HELLO\r\n\r\n",
            b"GET http://shop.example.org/items/7 HTTP/1.1\r\nHost: shop",
            b"GET /items/3 HTTP/1.1\r\n\r\n",
        )
        send_raw(PORT, self.rng.choice(pieces), self.address, timeout=0.3)

    def old_site(self) -> None:
        """A bookmark of a server that is no longer there."""
        self.ask(f"http://{self.rng.choice(SITES[:3])}:8099/items/{self.rng.randint(1, 9)}")

    def no_such_host(self) -> None:
        """A mistyped name."""
        self.ask(f"http://{self.rng.choice(('shpo', 'nwes', 'missing'))}.nowhere.example.org/")

    def bad_port(self) -> None:
        """A port that the rules forbid."""
        self.ask(f"http://www.example.org:{self.rng.choice([8000, 9090])}/items/1")

    def too_large(self) -> None:
        """An upload beyond the limit."""
        self.ask(f"http://{self.rng.choice(SITES)}/upload", "POST", body=b"x" * 120_000)


# --- faults ----------------------------------------------------------------------------------------------------------


site_dead = faults.lasting(lambda lab: faults.down(lab.site), 2.0, 4.0)
"""The sites are gone; someone starts them again."""


site_slow = faults.lasting(lambda lab: faults.slow_backend(SITE, 2.8), 3.0, 5.0, faults.settle(2.0))
"""The sites take longer than Squid waits."""


site_unreachable = faults.lasting(lambda lab: faults.network_cut(SITE_PORT), 2.5, 4.5, faults.settle(1.0))
"""The network to the sites drops everything."""


names_gone = faults.lasting(lambda lab: faults.down(lab.world), 3.5, 5.5, faults.settle(2.5))  # until Squid asks again
"""The name server is gone, and the tunnels' servers with it."""


def passwords_lost(lab: Squid, interval: Interval) -> None:
    """The file of passwords is emptied by mistake."""
    content = (HOME / "passwords").read_bytes()
    (HOME / "passwords").write_text("")
    lab.hold(3.0, 5.0)
    (HOME / "passwords").write_bytes(content)
    os.utime(HOME / "passwords", (time.time() + 5, time.time() + 5))  # the helpers look for a new time


def guess_password(lab: Squid, number: int) -> None:
    """Someone guesses the logins of the intranet."""
    user = lab.rng.choice([*STAFF, "admin", "root"])
    ask(f"http://intranet.example.org:{STAFF_PORT}/items/1", INJECTOR_ADDRESS, user=f"{user}:word{number}")


def scan_ports(lab: Squid, interval: Interval) -> None:
    """Someone looks for servers behind the proxy."""
    for port in lab.rng.sample((21, 22, 23, 25, 110, 143, 389, 445, 1433, 3306, 5432, 6379, 8000, 9090, 11211), 12):
        if lab.rng.random() < 0.6:
            tunnel(f"www.example.org:{port}", INJECTOR_ADDRESS)
        else:
            ask(f"http://www.example.org:{port}/", INJECTOR_ADDRESS)


SCANNED = (
    *("wp-login.php", ".env", ".git/config", "phpmyadmin/", "admin.php", "old/index.html", "xmlrpc.php", "docs/api"),
)

scan_site = scan(
    lambda lab, path: ask(f"http://{lab.rng.choice(SITES)}{path}", INJECTOR_ADDRESS), SCANNED, 20, 50, pause=0.04
)
"""Someone looks through the proxy for what sites leave open; each line is an ordinary 404."""


def storm_request(lab: Squid, _number: int) -> None:
    """One address asks for ordinary pages, far too often."""
    path = lab.rng.choice((f"items/{lab.rng.randint(1, 120)}", f"search?q=hat&page={lab.rng.randint(1, 9)}"))
    ask(f"http://{lab.rng.choice(SITES)}/{path}", INJECTOR_ADDRESS, agent=lab.rng.choice(AGENTS))


MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET http://shop.example.org/\x00\x01 HTTP/1.0\r\n\r\n",
    b"POST http://shop.example.org/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n",
    b"GET ftp:/// HTTP/1.1\r\nHost: a\r\n\r\n",
    b"SSH-2.0-Go\r\n\r\n",
    b"GET http://shop.example.org/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http:// HTTP/9.1\r\nHost: a\r\n\r\n",
    b"GET http://shop.example.org/items/1 HTTP/1.1\r\n folded: x\r\nbad header\r\n: y\r\n\r\n",
)

malformed_requests = faults.garbage(PORT, MALFORMED, 10, 30, pause=0.08, timeout=0.3)
"""Garbage, other protocols, requests that contradict themselves."""


descriptors_exhausted = faults.lasting(lambda lab: faults.held_connections(PORT, 170), 1.0, 2.0)
"""Someone opens connections and says nothing, until Squid has no descriptors left."""


def revive(lab: Squid) -> None:
    """Start Squid again if it has ended."""
    if not is_listening(PORT) or not is_running(lab.squid.pid):
        lab.squid.stop()
        lab.squid.start()
    time.sleep(0.8)


cache_full = faults.lasting(lambda lab: faults.full_disk(CACHE), 2.0, 4.0, revive)
"""No room on the cache's disk, which is too much for Squid; it is started again."""


def cache_forbidden(lab: Squid, interval: Interval) -> None:
    """Someone changes the owner of the cache's folders."""
    folders = [path for path in CACHE.glob("0*/*") if path.is_dir()]
    for path in folders:
        shutil.chown(path, "root")
        path.chmod(0o700)
    lab.hold(3.0, 5.0)
    for path in folders:
        shutil.chown(path, "proxy")
        path.chmod(0o755)
    revive(lab)


killed = faults.lasting(lambda lab: faults.down(lab.squid), 1.0, 2.0, faults.settle(0.8))
"""SIGKILL to Squid, which logs nothing about it; then it starts again."""


def damaged_index(lab: Squid, interval: Interval) -> None:
    """The machine dies and the cache's index is damaged."""
    lab.squid.stop(signal.SIGKILL)
    index = CACHE / "swap.state"
    size = index.stat().st_size
    with index.open("r+b") as file:
        for _ in range(lab.rng.randint(2, 5)):
            file.seek(lab.rng.randrange(max(1, size - 200)))
            file.write(lab.rng.randbytes(120))
    lab.hold(0.5, 1.0)
    lab.squid.start()
    time.sleep(1.0)


BAD_LINES = (
    "cache_mem lots",
    "acl office src 127.0.0.0/8/8",
    "http_acess allow all",
    "acl night time 25:00-26:00",
    "http_access allow visitors",
    "include /srv/squid/conf.d/shop.conf",
    "cache_peer",
)


def broken_configuration(lab: Squid, interval: Interval) -> None:
    """A reload of a configuration that is wrong ends Squid, or not; then the right one comes back."""
    lab.write_configuration(extra=lab.rng.choice(BAD_LINES))
    lab.squid.send(signal.SIGHUP)
    lab.hold(1.5, 2.5)
    lab.write_configuration()
    if is_listening(PORT):
        lab.squid.send(signal.SIGHUP)
    revive(lab)


def helpers_killed(lab: Squid, interval: Interval) -> None:
    """SIGKILL to the helpers that check passwords; Squid starts others, or gives up and is started again."""
    for pid, command in children_of(lab.squid.pid).items():
        if "ncsa" in command:
            os.kill(pid, signal.SIGKILL)
            lab.hold(0.1, 0.3)
    lab.hold(1.0, 2.0)
    revive(lab)


standstill = faults.lasting(lambda lab: faults.frozen(lab.squid.pids()), 2.0, 3.5)
"""All of Squid stands still for some seconds, then goes on."""


SITE_FAILS = r"50[234] \S+ http://(?:shop|news|www|mirror|maps|static)\.example\.org/"
PROBE_FAILS = r"0+ GET http://www\.example\.org/health"
FAULTS = {
    "site_dead": Fault(site_dead, answered(SITE_FAILS)),
    "site_slow": Fault(site_slow, answered(SITE_FAILS, PROBE_FAILS)),
    "site_unreachable": Fault(site_unreachable, answered(SITE_FAILS, PROBE_FAILS), often=False),
    "names_gone": Fault(names_gone, answered(SITE_FAILS, PROBE_FAILS, "50[24] ", "50[0-4] CONNECT")),
    "passwords_lost": Fault(passwords_lost, answered("407 .*intranet", grace=0.3)),
    "guess_passwords": Fault(faults.repeated(guess_password, 15, 40, pause=0.06)),
    "scan_ports": Fault(scan_ports),
    "scan_site": Fault(scan_site, visible="order"),
    "storm": Fault(faults.repeated(storm_request, 50, 120), visible="order"),
    "malformed_requests": Fault(malformed_requests),
    "descriptors_exhausted": Fault(descriptors_exhausted, own_words, often=False),
    "cache_full": Fault(cache_full, own_words),
    "cache_forbidden": Fault(cache_forbidden, own_words),
    "killed": Fault(killed, own_words, often=False),
    "damaged_index": Fault(damaged_index, own_words, often=False),
    "broken_configuration": Fault(broken_configuration, own_words, often=False),
    "helpers_killed": Fault(helpers_killed, own_words),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, visible="silence", often=False),
}


def clean_restart(lab: Squid) -> None:
    """What an administrator does after an update."""
    lab.squid.stop(signal.SIGTERM)
    lab.squid.start()
    time.sleep(0.5)


def valid_reload(lab: Squid) -> None:
    """A reload that changes a limit, or nothing."""
    lab.write_configuration(helpers=lab.rng.choice([4, 5, 6]))
    lab.squid.send(signal.SIGHUP)
    time.sleep(1.0)


def reopen_logs(lab: Squid) -> None:
    """What a rotation of logs does."""
    lab.squid.send(signal.SIGUSR1)
    time.sleep(0.5)


SERVICE = Service(
    name="squid",
    lab=Squid,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "reopen_logs": reopen_logs},
)


# --- the world outside -----------------------------------------------------------------------------------------------


class Names(socketserver.BaseRequestHandler):
    """Every name of example.org is here, but for those in nowhere.example.org."""

    def handle(self) -> None:
        """One question."""
        data, link = self.request
        end = data.index(b"\0", 12) + 5
        question, kind = data[12:end], data[end - 4 : end - 2]
        known = b"\x07nowhere" not in question
        answer = known and kind == b"\0\x01"
        head = data[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\x01\0" + bytes([answer]) + bytes(4)
        record = b"\xc0\x0c\0\x01\0\x01" + (2).to_bytes(4) + b"\0\x04" + socket.inet_aton("127.0.0.1")
        link.sendto(head + question + record * answer, self.client_address)


class Tunnels(socketserver.StreamRequestHandler):
    """The other end of tunnels."""

    timeout = 10

    def handle(self) -> None:
        """Echo a line."""
        with contextlib.suppress(OSError):
            self.wfile.write(self.rfile.readline())


class Server(socketserver.ThreadingTCPServer):
    """Takes many connections at once."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Be the name server and the other end of tunnels."""
    names = socketserver.ThreadingUDPServer((NAME_SERVER, 53), Names)
    threading.Thread(target=names.serve_forever, daemon=True).start()
    Server(("127.0.0.1", TUNNEL_PORT), Tunnels).serve_forever()


if __name__ == "__main__":
    main()
