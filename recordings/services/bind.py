"""BIND as a company's name server, with zones of its own and a resolver's work: ordinary questions, faults, and which
entries a fault caused.

named answers for `example.org`, takes updates for `dyn.example.org`, copies `corp.example.org` from elsewhere, and
asks a forwarder for everything else. `Upstream` is both that elsewhere and the forwarder.
"""

import base64
import contextlib
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES, Client
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, Rule, any_of, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, is_listening, make_folder
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/bind")
DYNAMIC = HOME / "dynamic"
PORT, UPSTREAM = 53, "127.0.0.53"
SECRETS = {
    name: base64.b64encode(f"secret of {name}".encode().ljust(32)).decode()
    for name in ("dhcp", "staff", "rndc", "new")
}


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    channel: str  # what a line begins with
    level: str
    pace: float  # questions per second of one client


SETTINGS = {
    "full": Settings("print-time yes; print-category yes; print-severity yes;", "info", 4.0),
    "iso": Settings("print-time iso8601-utc; print-category no; print-severity yes;", "debug 1", 2.0),
    "bare": Settings("print-time no; print-category yes; print-severity no;", "info", 4.0),
}

CONFIGURATION = """\
key dhcp {{ algorithm hmac-sha256; secret "{dhcp}"; }};
key staff {{ algorithm hmac-sha256; secret "{staff}"; }};
key rndc {{ algorithm hmac-sha256; secret "{rndc}"; }};
controls {{ inet 127.0.0.1 port 953 allow {{ 127.0.0.1; }} keys {{ rndc; }}; }};
logging {{
    channel all {{ file "{home}/log/bind.log"; severity {level}; {channel} }};
    category default {{ all; }};
    category queries {{ all; }};
    category query-errors {{ all; }};
    category rate-limit {{ all; }};
    category lame-servers {{ all; }};
}};
options {{
    directory "{home}/zones";
    pid-file "{home}/run/named.pid";
    session-keyfile "{home}/run/session.key";
    managed-keys-directory "{dynamic}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    querylog yes;
    recursion yes;
    allow-recursion {{ 127.0.0.2; 127.0.0.3; 127.0.0.4; 127.0.0.5; 127.0.0.6; 127.0.0.9; }};
    forward only;
    forwarders {{ {upstream}; }};
    dnssec-validation no;
    max-cache-ttl 5;
    max-ncache-ttl 2;
    servfail-ttl 0;
    recursive-clients 30;
    tcp-clients 10;
    tcp-initial-timeout 25;
    notify explicit;
    also-notify {{ {upstream}; }};
    notify-delay 0;
    min-refresh-time 1;
    min-retry-time 1;
    max-retry-time 2;
    rate-limit {{ responses-per-second 25; window 3; slip 2; ipv4-prefix-length 32; }};
    {extra}
}};
zone "example.org" {{
    type primary; file "example.org.zone"; allow-transfer {{ 127.0.0.6; key staff; }};
}};
zone "dyn.example.org" {{
    type primary; file "{dynamic}/dyn.example.org.zone";
    update-policy {{ grant dhcp zonesub ANY; grant staff zonesub A; }};
}};
zone "corp.example.org" {{
    type secondary; file "{dynamic}/corp.example.org.zone"; masterfile-format text; primaries {{ {upstream}; }};
    request-ixfr no;
}};
"""

ZONE = """\
$TTL 300
@ IN SOA ns.example.org. hostmaster.example.org. {serial} 3600 600 86400 60
@ IN NS ns.example.org.
"""
HOSTS = tuple(f"host{number}" for number in range(60))
SITES = ("www", "mail", "cdn", "login", "api", "news", "img", "shop")


# --- the machine -----------------------------------------------------------------------------------------------------


class Upstream:
    """The forwarder, and the server that `corp.example.org` is copied from; `mode` says how it behaves.

    Even on good days it fails for names that begin with `broken`, and never answers for `lost`.
    """

    def __init__(self) -> None:
        self.mode = "good"
        self.primary = True
        self._open: list[socket.socket] = []

    def start(self) -> None:
        """Listen."""
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((UPSTREAM, PORT))
        streams = socket.create_server((UPSTREAM, PORT))
        self._open = [datagrams, streams]
        threading.Thread(target=self._serve_datagrams, args=(datagrams,), daemon=True).start()
        threading.Thread(target=self._serve_streams, args=(streams,), daemon=True).start()

    def stop(self) -> None:
        """Leave nobody listening."""
        for link in self._open:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def _serve_datagrams(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, who = link.recvfrom(4096)
                if not data:  # closed
                    return
                for answer, delay in self._answers(data, False):
                    threading.Timer(delay, self._send, (link, answer, who)).start()

    @staticmethod
    def _send(link: socket.socket, data: bytes, who: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            link.sendto(data, who)

    def _serve_streams(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = server.accept()
                threading.Thread(target=self._serve_stream, args=(link,), daemon=True).start()

    def _serve_stream(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError, struct.error, dns.exception.DNSException):
            link.settimeout(5.0)
            while True:
                size = struct.unpack("!H", link.recv(2, socket.MSG_WAITALL))[0]
                for answer, delay in self._answers(link.recv(size, socket.MSG_WAITALL), True):
                    time.sleep(delay)
                    link.sendall(struct.pack("!H", len(answer)) + answer)

    def _answers(self, data: bytes, stream: bool) -> Iterator[tuple[bytes, float]]:
        """What to send back, and after how many seconds."""
        question = dns.message.from_wire(data)
        name, kind = question.question[0].name, question.question[0].rdtype
        reply = dns.message.make_response(question, recursion_available=True)
        if question.opcode() == dns.opcode.NOTIFY:
            yield reply.to_wire(), 0
        elif name.is_subdomain(dns.name.from_text("corp.example.org.")):
            if self.primary:
                yield self._corp(reply, kind), 0
        elif self.mode == "silent" or name.labels[0].startswith(b"lost"):
            return
        else:
            yield self._forwarded(reply, name, kind, stream), 0.3 if name.labels[0].startswith(b"late") else 0.0

    def _corp(self, reply: dns.message.Message, kind: dns.rdatatype.RdataType) -> bytes:
        """The zone that others copy; it changes every few seconds."""
        serial = int(time.time()) // 5
        soa = dns.rrset.from_text(
            "corp.example.org.", 30, "IN", "SOA", f"ns.example.net. hostmaster.example.net. {serial} 2 1 6 5"
        )
        reply.flags |= dns.flags.AA
        reply.answer.append(soa)
        if kind == dns.rdatatype.AXFR:
            reply.answer.append(dns.rrset.from_text("corp.example.org.", 30, "IN", "NS", "ns.example.net."))
            for number, host in enumerate(HOSTS):
                reply.answer.append(
                    dns.rrset.from_text(f"{host}.corp.example.org.", 30, "IN", "A", f"10.1.0.{number}")
                )
            reply.answer.append(soa)
        return reply.to_wire(max_size=65535)

    def _forwarded(
        self, reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType, stream: bool
    ) -> bytes:
        """The world's answers."""
        first = name.labels[0]
        if self.mode in ("SERVFAIL", "REFUSED") or first.startswith(b"broken"):
            reply.set_rcode(dns.rcode.REFUSED if self.mode == "REFUSED" else dns.rcode.SERVFAIL)
        elif self.mode == "garbage":
            return reply.to_wire()[:2] + b"\x81\x80\0\1\0\3\0\0\0\0" + reply.to_wire()[12:] + b"\xc0\x0c\0\1\0\1"
        elif first.startswith(b"no"):
            reply.set_rcode(dns.rcode.NXDOMAIN)
            zone = name.parent().to_text()
            reply.authority.append(dns.rrset.from_text(zone, 5, "IN", "SOA", f"ns.{zone} hostmaster.{zone} 1 9 9 9 2"))
        elif first.startswith(b"big") and not stream:
            reply.flags |= dns.flags.TC
        elif kind == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(name, 3, "IN", "A", "10.9.0.1", "10.9.0.2"))
        elif kind == dns.rdatatype.MX:
            reply.answer.append(dns.rrset.from_text(name, 3, "IN", "MX", "10 mail.example.net."))
        return reply.to_wire()


class Bind(Lab):
    """named, and the server it copies from and forwards to."""

    settings: Settings
    log = HOME / "log" / "bind.log"
    configuration = HOME / "named.conf"

    def start(self) -> None:
        """Files, the server upstream, named."""
        self.serial = 2024010100
        for name in ("log", "zones", "run"):
            make_folder(HOME / name, "bind")
        faults.mount_small_disk(DYNAMIC, "1m", "bind")
        make_folder(Path("/run/named"), "bind")
        self.write_zone()
        self.write_configuration()
        (HOME / "rndc.conf").write_text(
            f'key rndc {{ algorithm hmac-sha256; secret "{SECRETS["rndc"]}"; }};\n'
            "options { default-server 127.0.0.1; default-key rndc; };\n"
        )
        self.renew_dynamic()
        self.upstream = Upstream()
        self.upstream.start()
        self.follower = LogFollower(self.log)
        command: list[str | Path] = ["named", "-f", "-4", "-n", "2", "-u", "bind", "-L", self.log]
        self.named = Daemon([*command, "-c", self.configuration], HOME / "console.txt", self.is_ready)
        self.named.start()

    def write_zone(self, extra: str = "") -> None:
        """Write `example.org`, newer than before."""
        self.serial += 1
        hosts = "".join(f"{host} IN A 10.0.0.{number}\n" for number, host in enumerate((*HOSTS, *SITES)))
        text = (
            ZONE.format(serial=self.serial)
            + "ns IN A 127.0.0.1\n"
            + hosts
            + '@ IN MX 10 mail\n@ IN TXT "v=spf1 -all"\n*.apps IN CNAME www\n'
        )
        (HOME / "zones/example.org.zone").write_text(text + "dyn IN NS ns\ncorp IN NS ns\n" + extra)

    def write_configuration(self, extra: str = "", dhcp: str = "dhcp") -> None:
        """Write the configuration, with `extra` lines among its options."""
        self.configuration.write_text(
            CONFIGURATION.format(
                home=HOME,
                dynamic=DYNAMIC,
                port=PORT,
                upstream=UPSTREAM,
                level=self.settings.level,
                channel=self.settings.channel,
                extra=extra,
                dhcp=SECRETS[dhcp],
                staff=SECRETS["staff"],
                rndc=SECRETS["rndc"],
            )
        )

    def renew_dynamic(self) -> None:
        """A `dyn.example.org` without hosts, and without a journal."""
        for path in DYNAMIC.glob("dyn.*"):
            path.unlink()
        path = DYNAMIC / "dyn.example.org.zone"
        path.write_text(ZONE.format(serial=1))
        subprocess.run(["chown", "bind:bind", path], check=True)

    def is_ready(self) -> bool:
        """Whether it listens; asked of the kernel, since a question would be logged."""
        return is_listening(PORT, "127.0.0.1") and self.rndc("status") == 0

    def rndc(self, *arguments: str) -> int:
        """A command to the running server; its exit status."""
        command: list[str | Path] = ["rndc", "-c", HOME / "rndc.conf", "-p", "953", *arguments]
        return subprocess.run(command, capture_output=True, timeout=15).returncode

    def employ_clients(self) -> None:
        """People's machines, a DHCP server that updates names, a secondary, a monitor."""
        for number in range(7):
            self.crew.start(Machine(self, CLIENT_ADDRESSES[number % 5], self.client_rng(number)).ask)
        self.crew.start(Machine(self, "127.0.0.7", self.client_rng(10)).visit)
        self.crew.start(Machine(self, "127.0.0.6", self.client_rng(11)).lease)
        self.crew.start(Machine(self, "127.0.0.6", self.client_rng(12)).copy)
        self.crew.start(Machine(self, "127.0.0.8", self.client_rng(13)).probe)

    def stop(self) -> None:
        """named, the server upstream."""
        self.named.stop()
        self.upstream.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), Reader().parse)


# --- the log ---------------------------------------------------------------------------------------------------------

_CLIENT = re.compile(r"client (?:@0x[0-9a-f]+ )?(127\.0\.0\.\d+)#|127\.0\.0\.9(?=[#/])")
_QUERY = re.compile(r"query: (\S+) IN (\w+) ")
_FETCH = re.compile(r"fetch: (\S+)/(\w+)$|resolving '(\S+?)/(\w+)/IN'")


class Reader:
    """Finds the client behind each line; where a line names only a question, that is whoever asked it last."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], str] = {}

    def parse(self, line: str) -> Head | None:
        """A line; None for the lines of a full message, which continue the line above."""
        if line.startswith(";") or not line.strip():
            return None
        if "*stop limiting" in line:
            return Head(line)
        client = _CLIENT.search(line)
        address = (client[1] or client[0]) if client else None
        if address and (query := _QUERY.search(line)):
            self._asked[query[1], query[2]] = address
        elif fetch := _FETCH.search(line):
            address = self._asked.get((fetch[1] or fetch[3], fetch[2] or fetch[4]))
        return Head(line, remote_host=address)


# --- ordinary work ---------------------------------------------------------------------------------------------------


def send(message: dns.message.Message, address: str, stream: bool = False, timeout: float = 2.0) -> None:
    """One message from `address`, and wait for the answer."""
    ask = dns.query.tcp if stream else dns.query.udp
    with contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
        ask(message, "127.0.0.1", timeout=timeout, source=address)


def question(
    address: str, name: str, kind: str = "A", stream: bool = False, timeout: float = 2.0, **more: Any
) -> None:
    """One question from `address`."""
    send(dns.message.make_query(name, kind, **more), address, stream, timeout)


def update(address: str, key: str | None, secret: str, change: Callable[[dns.update.UpdateMessage], object]) -> None:
    """One update of `dyn.example.org`, signed with `key`."""
    message = dns.update.UpdateMessage("dyn.example.org")
    if key is not None:
        message.use_tsig(dns.tsigkeyring.from_text({key: secret}), key, algorithm=dns.tsig.HMAC_SHA256)
    change(message)
    send(message, address)


def transfer(address: str, zone: str, key: str | None = None) -> None:
    """Ask for a whole zone."""
    message = dns.message.make_query(zone, "AXFR")
    if key is not None:
        message.use_tsig(dns.tsigkeyring.from_text({key: SECRETS[key]}), key, algorithm=dns.tsig.HMAC_SHA256)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2.0, (address, 0)) as link:
        data = message.to_wire()
        link.sendall(struct.pack("!H", len(data)) + data)
        link.settimeout(0.3)
        while link.recv(65536):
            pass


class Machine(Client):
    """A machine that asks for names."""

    def rest(self, seconds: float) -> None:
        """Wait `seconds` on average."""
        self.lab.crew.stopping.wait(self.rng.expovariate(1 / seconds))

    def name(self) -> str:
        """A name to ask for."""
        rng = self.rng
        local = f"{rng.choice(HOSTS + SITES)}.example.org"
        corp = f"{rng.choice(HOSTS)}.corp.example.org"
        world = f"{rng.choice(SITES)}{rng.randint(1, 400)}.example.{rng.choice(['net', 'com'])}"
        special = f"{rng.choice(['late', 'big', 'no', 'no'])}{rng.randint(1, 400)}.example.net"
        lease = f"lease{rng.randint(1, 40)}.dyn.example.org"
        return rng.choice(
            [
                local,
                local,
                local,
                corp,
                corp,
                world,
                world,
                world,
                special,
                lease,
                f"app{rng.randint(1, 9)}.apps.example.org",
            ]
        )

    def ask(self) -> None:
        """One question, and a pause."""
        rng = self.rng
        slips: Sequence[Callable[[], object]] = (
            *[lambda: question(self.address, f"broken{rng.randint(1, 99)}.example.net")] * 5,
            lambda: question(self.address, f"lost{rng.randint(1, 99)}.example.com", timeout=2.0),
            *[lambda: question(self.address, f"{rng.choice(['wwww', 'mial', 'hots3', 'intranet'])}.example.org")] * 2,
            lambda: transfer(self.address, rng.choice(["example.org", "dyn.example.org"])),
            self.wrong_key,
            lambda: update(self.address, None, "", lambda message: message.delete("lease1")),
            self.taken,
            lambda: question(self.address, "version.bind", "TXT", rdclass="CH"),
            lambda: question(self.address, "host1.example.org", use_edns=3),
            self.broken_message,
        )
        if rng.random() < 0.13:
            rng.choice(slips)()
        else:
            kind = rng.choice(["A", "A", "A", "A", "AAAA", "AAAA", "MX", "TXT", "HTTPS"])
            question(self.address, self.name(), kind, stream=rng.random() < 0.06, want_dnssec=rng.random() < 0.2)
        self.rest(1 / self.lab.settings.pace)

    def visit(self) -> None:
        """A guest's machine, which may ask for this company's names only."""
        question(self.address, self.name())
        self.rest(3.0 / self.lab.settings.pace)

    def wrong_key(self) -> None:
        """A member of staff with an old key."""
        update(self.address, "staff", SECRETS["new"], lambda message: message.add("printer", 60, "A", "10.0.3.3"))

    def taken(self) -> None:
        """A member of staff wants a name that is in use."""

        def change(message: dns.update.UpdateMessage) -> None:
            message.absent("ns.example.org." if self.rng.random() < 0.3 else "@")
            message.add("printer", 60, "A", "10.0.3.3")

        update(self.address, "staff", SECRETS["staff"], change)

    def broken_message(self) -> None:
        """A message that ends too early."""
        data = dns.message.make_query("www.example.org", "A").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.bind((self.address, 0))
            link.sendto(data[: self.rng.randint(13, len(data) - 1)], ("127.0.0.1", PORT))

    def lease(self) -> None:
        """The DHCP server names a machine, or forgets one."""
        name, number = f"lease{self.rng.randint(1, 40)}", self.rng.randint(2, 250)
        if self.rng.random() < 0.3:
            update(self.address, "dhcp", SECRETS["dhcp"], lambda message: message.delete(name))
        else:
            update(
                self.address,
                "dhcp",
                SECRETS["dhcp"],
                lambda message: message.replace(name, 60, "A", f"10.0.2.{number}"),
            )
        self.rest(1.2)

    def copy(self) -> None:
        """A secondary copies the zone."""
        question(self.address, "example.org", "SOA")
        transfer(self.address, "example.org", self.rng.choice([None, "staff"]))
        self.rest(3.0)

    def probe(self) -> None:
        """The monitor; a fault may silence it."""
        self.lab.watch(lambda: question(self.address, "example.org", "SOA"))


# --- faults ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def upstream_down(upstream: Upstream) -> Iterator[None]:
    """Nobody listens upstream."""
    upstream.stop()
    yield
    upstream.start()


@contextlib.contextmanager
def upstream_mode(upstream: Upstream, mode: str) -> Iterator[None]:
    """The forwarder misbehaves."""
    upstream.mode = mode
    yield
    upstream.mode = "good"


upstream_gone = faults.lasting(lambda lab: upstream_down(lab.upstream), 2.5, 4.0)  # less than copies of zones last
"""The forwarder dies; someone starts it again."""


upstream_silent = faults.lasting(lambda lab: upstream_mode(lab.upstream, "silent"), 12.0, 14.0)
"""The forwarder takes questions and answers none; named gives a question up after 10 seconds."""


upstream_fails = faults.lasting(
    lambda lab: upstream_mode(lab.upstream, lab.rng.choice(["SERVFAIL", "REFUSED"])), 3.0, 5.0
)
"""The forwarder refuses, or says that it failed."""


upstream_garbage = faults.lasting(lambda lab: upstream_mode(lab.upstream, "garbage"), 3.0, 5.0)
"""Something on the way mangles the forwarder's answers."""


BAD_RECORDS = (
    "wiki IN A 10.0.0.256\n",
    "wiki IN AAA 10.0.0.7\n",
    "wiki IN CNAME www\nwiki IN A 10.0.0.7\n",
    "wiki IN MX mail\n",
    "wiki.example.com. IN A 10.0.0.7\n@ IN SOA ns hostmaster 1 2 3 4\n",
    "$INCLUDE hosts.zone\n",
)


def zone_broken(lab: Bind, interval: Interval) -> None:
    """A typo in a zone's file, and a reload; the zone stays as it was."""
    for _ in range(lab.rng.randint(1, 3)):
        lab.write_zone(lab.rng.choice(BAD_RECORDS))
        lab.rndc("reload", "example.org")
        lab.hold(0.4, 1.2)
    lab.write_zone()


def zone_unreadable(lab: Bind, interval: Interval) -> None:
    """A deployment leaves a zone's file that named may not read."""
    lab.write_zone()
    path = HOME / "zones/example.org.zone"
    path.chmod(0o600)
    for _ in range(lab.rng.randint(1, 3)):
        lab.rndc("reload", "example.org")
        lab.hold(0.4, 1.2)
    path.chmod(0o644)


BAD_OPTIONS = (
    "recursoin yes;",
    "max-cache-ttl often;",
    "allow-query { internal; };",
    "forwarders { 127.0.0.300; };",
    "dnssec-validation maybe;",
    "max-cache-size 10m",
)


broken_configuration = faults.broken_reloads(BAD_OPTIONS, lambda lab: lab.named.send(signal.SIGHUP), 3, 0.5, 1.2)


killed = faults.lasting(lambda lab: faults.down(lab.named), 0.5, 2.0)
"""SIGKILL to named, which logs nothing about it; then it starts again."""


def journal_corrupt(lab: Bind, interval: Interval) -> None:
    """A crash leaves a journal that cannot be read; the zone is gone until someone sets it up again."""
    lab.named.stop(signal.SIGKILL)
    journal = DYNAMIC / "dyn.example.org.zone.jnl"
    if journal.exists():
        data = bytearray(journal.read_bytes())
        data[64:] = lab.rng.randbytes(len(data) - 64)
        journal.write_bytes(data)
    lab.named.start()
    lab.hold(2.0, 4.0)
    lab.renew_dynamic()
    lab.rndc("reload", "dyn.example.org")
    time.sleep(0.3)


def disk_full(lab: Bind, interval: Interval) -> None:
    """No room for journals and copied zones."""
    lab.rndc("sync", "-clean", "dyn.example.org")
    with faults.full_disk(DYNAMIC):
        lab.hold(4.0, 6.0)
    journal = DYNAMIC / "dyn.example.org.zone.jnl"
    if journal.exists() and not journal.stat().st_size:
        journal.unlink()


def key_changed(lab: Bind, interval: Interval) -> None:
    """The key of the DHCP server changes here but not there."""
    lab.write_configuration(dhcp="new")
    lab.rndc("reconfig")
    lab.hold(4.0, 6.0)
    lab.write_configuration()
    lab.rndc("reconfig")
    time.sleep(0.2)


def primary_gone(lab: Bind, interval: Interval) -> None:
    """The server that a zone is copied from does not serve it for so long that the copy expires."""
    lab.upstream.primary = False
    lab.hold(9.0, 11.0)
    lab.upstream.primary = True
    lab.rndc("refresh", "corp.example.org")
    time.sleep(1.0)


def recursion_exhausted(lab: Bind, interval: Interval) -> None:
    """Someone asks for names that nobody answers for, until there is no room for other questions."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((INJECTOR_ADDRESS, 0))
        for _ in range(lab.rng.randint(70, 110)):
            name = f"lost{lab.rng.randint(1000, 99999)}.example.com"
            link.sendto(dns.message.make_query(name, "A").to_wire(), ("127.0.0.1", PORT))
            time.sleep(0.035)
        time.sleep(10.3)  # until named gives the last of them up


def streams_exhausted(lab: Bind, interval: Interval) -> None:
    """Someone opens connections, asks once, and keeps them, until named takes no more."""

    def ask(number: int) -> bytes:
        data = dns.message.make_query(f"{lab.rng.choice(HOSTS)}.example.org", "A").to_wire()
        return struct.pack("!H", len(data)) + data

    with faults.held_connections(PORT, 30, ask):
        lab.hold(2.0, 4.0)


def amplification(lab: Bind, interval: Interval) -> None:
    """The same large answer asked for again and again, until named holds back."""
    message = dns.message.make_query("example.org", lab.rng.choice(["ANY", "TXT", "MX"]), use_edns=0, payload=4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((INJECTOR_ADDRESS, 0))
        for _ in range(lab.rng.randint(60, 140)):
            link.sendto(message.to_wire(), ("127.0.0.1", PORT))
            time.sleep(0.015)
    time.sleep(0.3)


def name_guessing(lab: Bind, interval: Interval) -> None:
    """Someone goes through a list of names; every line is ordinary."""
    words = (
        "dev",
        "test",
        "vpn",
        "intranet",
        "git",
        "backup",
        "db",
        "ftp",
        "stage",
        "owa",
        "sip",
        "ldap",
        "jira",
        "ci",
    )
    for _ in range(lab.rng.randint(40, 110)):
        question(
            INJECTOR_ADDRESS,
            f"{lab.rng.choice(words)}{lab.rng.choice(['', '1', '2', '-old'])}.example.org",
            timeout=0.3,
        )
        lab.hold(0.0, 0.03)


def query_storm(lab: Bind, interval: Interval) -> None:
    """A machine that asks for the ordinary things, far too often; every line is ordinary."""
    machine = Machine(lab, INJECTOR_ADDRESS, random.Random(lab.rng.random()))
    for _ in range(lab.rng.randint(50, 120)):
        question(INJECTOR_ADDRESS, machine.name(), lab.rng.choice(["A", "AAAA"]), timeout=0.3)


def tunnelling(lab: Bind, interval: Interval) -> None:
    """Data leaves in the names of questions."""
    for _ in range(lab.rng.randint(25, 60)):
        name = f"{lab.rng.randbytes(24).hex()}.{lab.rng.randbytes(9).hex()}.t.example.net"
        question(INJECTOR_ADDRESS, name, "TXT", timeout=0.3)
        lab.hold(0.0, 0.06)


def forbidden(lab: Bind, interval: Interval) -> None:
    """Someone tries to get whole zones, and to change them."""
    zones = ["example.org", "dyn.example.org", "corp.example.org"]
    attempts: Sequence[Callable[[], None]] = (
        lambda: transfer(INJECTOR_ADDRESS, lab.rng.choice(zones)),
        lambda: question(INJECTOR_ADDRESS, "version.bind", "TXT", rdclass="CH"),
        lambda: update(INJECTOR_ADDRESS, None, "", lambda message: message.add("www", 60, "A", "10.6.6.6")),
        lambda: update(INJECTOR_ADDRESS, "dhcp", SECRETS["new"], lambda message: message.delete("lease2")),
        lambda: update(INJECTOR_ADDRESS, "admin", SECRETS["new"], lambda message: message.delete("lease2")),
    )
    for _ in range(lab.rng.randint(10, 25)):
        lab.rng.choice(attempts)()
        lab.hold(0.0, 0.1)


def malformed_messages(lab: Bind, interval: Interval) -> None:
    """Malformed messages, over both transports."""
    good = dns.message.make_query("www.example.org", "A").to_wire()
    pieces = (
        good[:-2],
        good[:2] + b"\x28\0" + good[4:],
        good[:4] + b"\0\x09" + good[6:],
        good + b"trailing",
        bytes(12),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        good[:12] + b"\xc0\x0c\0\1\0\1",
        dns.message.make_query("www.example.org", "A", use_edns=9).to_wire(),
        dns.message.make_query("www.example.org", "IXFR").to_wire(),
    )
    for _ in range(lab.rng.randint(15, 40)):
        data = lab.rng.choice(pieces)
        if lab.rng.random() < 0.3:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", PORT), 1, (INJECTOR_ADDRESS, 0)) as link,
            ):
                link.sendall(struct.pack("!H", len(data)) + data)
                link.settimeout(0.1)
                link.recv(100)
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
                link.bind((INJECTOR_ADDRESS, 0))
                link.sendto(data, ("127.0.0.1", PORT))
        lab.hold(0.0, 0.1)


standstill = faults.lasting(lambda lab: faults.frozen([lab.named.pid]), 1.5, 3.0)
"""named stands still for some seconds, then goes on."""


def without_client(grace: float = 0.2) -> Rule:
    """What named says about itself while the fault is on, except its ordinary dealings with the server upstream."""
    dealings = re.compile(
        r"resolving '|corp\.example\.org|sending notifies|client |stop limiting|fetch: "
        r"|zone_(settimer|timer|maintenance|needdump): zone dyn"
    )

    def rule(entry: Entry, interval: Interval) -> bool:
        return (
            entry.remote_host is None and interval.contains(entry.time, grace) and not dealings.search(entry.message)
        )

    return rule


def limit_ended(entry: Entry, interval: Interval) -> bool:
    """A minute after it began to hold back, named says that it no longer does."""
    return "*stop limiting" in entry.message and interval.start <= entry.time


ORDINARY_TROUBLE = r"(?!broken|lost)"
UNRESOLVED = says(
    rf"resolving '{ORDINARY_TROUBLE}[^']*\.(net|com)/",
    rf"\({ORDINARY_TROUBLE}[^)]*\.(net|com)\): query failed \((?!REFUSED)",
    r"REFUSED unexpected RCODE resolving",
    rf"DNS format error from \S+ resolving {ORDINARY_TROUBLE}",
)
"""Questions for the world's names that got no answer."""

NOT_LOADED = says(r"zone not loaded|update failed: not authoritative|: expired$")
"""What happens to questions and updates for zones that a crash has taken down."""

FAULTS = {
    "upstream_gone": Fault(
        upstream_gone, any_of(UNRESOLVED, says(r"refresh: (failure|could not)|connection refused"))
    ),
    "upstream_silent": Fault(upstream_silent, any_of(UNRESOLVED, says(r"recursive-clients")), often=False),
    "upstream_fails": Fault(upstream_fails, UNRESOLVED),
    "upstream_garbage": Fault(upstream_garbage, UNRESOLVED),
    "zone_broken": Fault(zone_broken, without_client()),
    "zone_unreadable": Fault(zone_unreadable, without_client()),
    "broken_configuration": Fault(broken_configuration, without_client()),
    "killed": Fault(killed, any_of(without_client(), NOT_LOADED), often=False),
    "journal_corrupt": Fault(journal_corrupt, any_of(without_client(), NOT_LOADED), often=False),
    "disk_full": Fault(disk_full, says(r"disc full|journal|control channel command 'sync|sync: dumping")),
    "key_changed": Fault(key_changed, any_of(without_client(), says(r"BADSIG.*dhcp|dhcp.*BADSIG"))),
    "primary_gone": Fault(
        primary_gone, says(r"corp\.example\.org.*(expired|fail|refresh|SERVFAIL|timed out)|command 'refresh")
    ),
    "recursion_exhausted": Fault(
        recursion_exhausted,
        any_of(limit_ended, UNRESOLVED, says(r"recursive-clients|no more recursive clients")),
        often=False,
    ),
    "streams_exhausted": Fault(streams_exhausted, says(r"TCP connection failed|tcp-clients|quota")),
    "amplification": Fault(amplification, limit_ended),
    "name_guessing": Fault(name_guessing, limit_ended, visible="order"),
    "query_storm": Fault(query_storm, limit_ended, visible="order"),
    "tunnelling": Fault(tunnelling, limit_ended, visible="order"),
    "forbidden": Fault(forbidden),
    "malformed_messages": Fault(malformed_messages, often=False),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, visible="silence", often=False),
}


def clean_restart(lab: Bind) -> None:
    """What an administrator does after an update."""
    lab.named.stop(signal.SIGTERM)
    lab.named.start()


def valid_reload(lab: Bind) -> None:
    """A reload with one host more, or no change."""
    lab.write_zone(lab.rng.choice(["", "wiki IN A 10.0.0.7\n"]))
    lab.named.send(signal.SIGHUP)
    time.sleep(0.5)


def upkeep(lab: Bind) -> None:
    """The commands of an ordinary day."""
    for command in lab.rng.sample(
        ["flush", "stats", "sync dyn.example.org", "freeze", "reload example.org", "notify example.org"], 3
    ):
        lab.rndc(*command.split())
        if command == "freeze":
            lab.hold(0.2, 0.5)
            lab.rndc("thaw")
        lab.hold(0.1, 0.4)


SERVICE = Service(
    name="bind",
    lab=Bind,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "upkeep": upkeep},
)
