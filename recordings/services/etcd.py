"""A member of an etcd cluster of three: ordinary clients over gRPC, faults, and which entries a fault caused.

Only the log of member `a` is recorded. It names the client's address under some settings only, so numbers tell the
injector's work as well: its user is `svc-9`, and its keys, tenants and roles have numbers divisible by seven, which
ordinary clients never use.
"""

import contextlib
import random
import re
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, http_request, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, any_of, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, answers, make_folder, wait_until
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/etcd")
TLS_PORT = 2381
CLIENT_PORTS = {"a": 2379, "b": 22379, "c": 32379}
PEER_PORTS = {"a": 2380, "b": 22380, "c": 32380}
PASSWORD = "correct horse"
OWN = 7
"""The injector's numbers are its multiples."""


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log, and how much is done to fill it."""

    flags: tuple[str, ...]
    pace: float  # requests per second of one client
    administration: float  # share of them that manage tenants and roles
    slow: str  # requests that take longer are worth a warning


SETTINGS = {
    "json": Settings(("--logger=zap", "--log-level=debug"), 2.2, 0.15, "15ms"),
    "text": Settings(("--logger=capnslog", "--debug"), 2.2, 0.15, "15ms"),
    "info": Settings(("--logger=zap", "--log-level=info"), 3.6, 0.75, "15ms"),
}


# --- gRPC without a library: none lets a client choose its address ---------------------------------------------------


def varint(number: int) -> bytes:
    """An integer, seven bits a byte."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def message(**fields: int | str | bytes) -> bytes:
    """A protobuf message; the field `f3` has number 3."""
    out = b""
    for name, value in fields.items():
        number = int(name[1:]) << 3
        if isinstance(value, int):
            out += varint(number) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number | 2) + varint(len(data)) + data
    return out


def fields_of(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message."""
    found: dict[int, int | bytes] = {}
    at = 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = take()
        number = take()
        if key & 7 == 2:
            found[key >> 3] = data[at : at + number]
            at += number
        else:
            found[key >> 3] = number
    return found


def part_of(data: bytes | None, number: int) -> dict[int, int | bytes]:
    """The fields of a message inside a message; none if there is none."""
    inner = fields_of(data or b"").get(number, b"")
    return fields_of(inner) if isinstance(inner, bytes) else {}


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(number: int) -> bytes:
    return bytes([number]) if number < 127 else b"\x7f" + varint(number - 127)


class Link:
    """One connection to a member, from a chosen address."""

    DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8

    def __init__(self, address: str, port: int = CLIENT_PORTS["a"], timeout: float = 2.5) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout, (address, 0))
        self._stream, self._rest = -1, b""
        window = frame(self.WINDOW, 0, 0, struct.pack(">I", 1 << 29))
        settings = frame(self.SETTINGS, 0, 0, b"\x00\x04\x3f\xff\xff\xff")
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + window)

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("closed by the member")
            self._rest += part
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def send(self, method: str, request: bytes, token: str = "") -> None:
        """Send a request, such as `KV/Put`."""
        self._stream += 2
        headers = {":method": "POST", ":scheme": "http", ":path": f"/etcdserverpb.{method}", ":authority": "localhost"}
        headers |= {"content-type": "application/grpc", "te": "trailers"} | ({"token": token} if token else {})
        block = b"".join(
            b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value.encode()
            for name, value in headers.items()
        )
        body = b"\0" + struct.pack(">I", len(request)) + request
        parts = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
        data = [frame(self.DATA, int(part is parts[-1]), self._stream, part) for part in parts]
        self._socket.sendall(frame(self.HEADERS, 4, self._stream, block) + b"".join(data))

    def answer(self) -> bytes | None:
        """The answer's message; None when there was only an error."""
        out: bytes | None = None
        while True:
            head = self._take(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self._take(int.from_bytes(head[:3], "big"))
            if kind in (self.SETTINGS, self.PING) and not flags & 1:
                self._socket.sendall(frame(kind, 1, 0, payload if kind == self.PING else b""))
            elif kind == self.GO_AWAY:
                raise ConnectionError("the member leaves")
            elif stream == self._stream:
                if kind == self.DATA:
                    out = (out or b"") + payload
                if kind == self.RESET or (flags & 1 and kind in (self.DATA, self.HEADERS)):
                    return out[5:] if out is not None else None

    def call(self, method: str, request: bytes = b"", token: str = "") -> bytes | None:
        """A request and its answer."""
        self.send(method, request, token)
        return self.answer()

    def log_in(self, user: str, password: str = PASSWORD) -> str:
        """A token for the requests that follow; empty if refused."""
        answer = self.call("Auth/Authenticate", message(f1=user, f2=password))
        token = fields_of(answer).get(2, b"") if answer else b""
        assert isinstance(token, bytes)
        return token.decode()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@contextlib.contextmanager
def linked(address: str, user: str, port: int = CLIENT_PORTS["a"]) -> Iterator[Callable[..., bytes | None]]:
    """Someone logged in; the `with` statement binds a function that calls methods."""
    link = Link(address, port, 6.0)
    try:
        token = link.log_in(user)
        yield lambda method, **fields: link.call(method, message(**fields), token)
    finally:
        link.close()


def insist(call: Callable[..., bytes | None], method: str, **fields: int | str | bytes) -> bytes:
    """Call a method until it succeeds: users and roles that change meanwhile make the cluster refuse a request."""
    for _ in range(20):
        if (answer := call(method, **fields)) is not None:
            return answer
        time.sleep(0.05)
    raise RuntimeError(f"{method} was refused again and again")


# --- the cluster -----------------------------------------------------------------------------------------------------


class Etcd(Lab):
    """Member `a`, whose log is recorded, and its peers `b` and `c`."""

    settings: Settings
    log = HOME / "log" / "etcd.log"

    def start(self) -> None:
        """Certificates, members, users and roles."""
        make_folder(HOME / "log")
        faults.mount_small_disk(HOME / "a", "200m")
        self.authority = CertificateAuthority(HOME / "tls")
        for name in ("server", "a", "b", "c"):
            self.authority.issue(name)
        self.authority.issue("expired", expired=True)
        self.compacting = threading.Event()
        self.compacting.set()
        self.follower = LogFollower(self.log)
        self.members = {name: self.member(name) for name in "bca"}
        for daemon in self.members.values():
            daemon.start()
        self.set_up_users()

    def member(self, name: str, *more: str) -> Daemon:
        """A member, with `more` flags."""
        own, peer = f"http://127.0.0.1:{CLIENT_PORTS[name]}", f"https://127.0.0.1:{PEER_PORTS[name]}"
        cluster = ",".join(f"{other}=https://127.0.0.1:{port}" for other, port in PEER_PORTS.items())
        recorded, tls = name == "a", HOME / "tls"
        command = [
            *("etcd", "--name", name, "--data-dir", f"{HOME}/{name}"),
            *("--listen-client-urls", f"{own},https://127.0.0.1:{TLS_PORT}" if recorded else own),
            *("--advertise-client-urls", own, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", cluster, "--initial-cluster-token", "shop", "--bcrypt-cost", "4"),
            *("--snapshot-count", "40", "--quota-backend-bytes", "4194304"),
            *("--experimental-warning-apply-duration", self.settings.slow),
            *("--peer-cert-file", f"{tls}/{name}.pem", "--peer-key-file", f"{tls}/{name}.key"),
            *("--peer-trusted-ca-file", f"{tls}/ca.pem", "--peer-client-cert-auth"),
            *(("--cert-file", f"{tls}/server.pem", "--key-file", f"{tls}/server.key") if recorded else ()),
            *(self.settings.flags if recorded else ("--logger=zap", "--log-level=error")),
            *more,
        ]
        ready = (lambda: answers(CLIENT_PORTS["a"])) if recorded else (lambda: True)
        return Daemon(command, self.log if recorded else HOME / f"{name}.txt", ready)

    @property
    def recorded(self) -> Daemon:
        """The member whose log is recorded."""
        return self.members["a"]

    def set_up_users(self) -> None:
        """Services 1 to 8 may use the orders, service 9 is the injector's, and an administrator."""
        link = Link("127.0.0.1", timeout=10.0)
        orders = message(f1=2, f2="/orders/", f3="/orders0")
        steps = [("Auth/UserAdd", message(f1="root", f2=PASSWORD)), ("Auth/RoleAdd", message(f1="root"))]
        steps += [("Auth/RoleAdd", message(f1="service"))]
        steps += [("Auth/RoleGrantPermission", message(f1="service", f2=orders))]
        for number in range(1, 10):
            name = f"svc-{number}"
            steps += [("Auth/UserAdd", message(f1=name, f2=PASSWORD))]
            steps += [("Auth/UserGrantRole", message(f1=name, f2="root" if number == 9 else "service"))]
        for number in (number for number in range(1, 62) if number % OWN):
            steps += [("Auth/UserAdd", message(f1=f"tenant-{number}", f2=PASSWORD))]
            steps += [("Auth/RoleAdd", message(f1=f"role-{number}"))]
        steps += [("Auth/UserGrantRole", message(f1="root", f2="root")), ("Auth/AuthEnable", b"")]
        for method, request in steps:
            if link.call(method, request) is None:
                raise RuntimeError(f"{method} was refused")
        link.close()
        self.ids: dict[int | bytes, str] = {}
        for name, port in CLIENT_PORTS.items():
            wait_until(lambda port=port: answers(port), 10, f"{name} answers")  # type: ignore[misc]
            self.ids[self.status(name)[0]] = name

    def status(self, name: str) -> tuple[int | bytes, int | bytes]:
        """The ids of a member and of the leader it follows, as the monitor asks."""
        with linked("127.0.0.1", "root", CLIENT_PORTS[name]) as call:
            answer = call("Maintenance/Status") or b""
        return part_of(answer, 1)[2], fields_of(answer).get(4, 0)

    def leader(self) -> str:
        """The leader, as member `b` sees it, so that the recorded log does not show the question; "" if unknown."""
        with contextlib.suppress(OSError, KeyError):
            return self.ids.get(self.status("b")[1], "")
        return ""

    def healthy(self) -> bool:
        """Whether all agree on a leader and the recorded member serves."""
        with contextlib.suppress(OSError, KeyError):
            leaders = {self.status(name)[1] for name in "bc"}
            return len(leaders) == 1 and leaders <= set(self.ids) and answers(CLIENT_PORTS["a"])
        return False

    def recover(self) -> None:
        """Wait until the cluster is whole, and until its clients have come back."""
        wait_until(self.healthy, 20, "the cluster is whole")
        time.sleep(1.2)

    def employ_clients(self) -> None:
        """Services, an administrator's program, a program that compacts, a monitor."""
        for number in range(8):
            self.crew.start(Worker(self, number + 1, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).work)
        self.crew.start(Keeper(self, CLIENT_ADDRESSES[6], self.client_rng(19)).work)
        self.crew.start(Monitor(self, CLIENT_ADDRESSES[6], self.client_rng(20)).probe)

    def stop(self) -> None:
        """All members."""
        for daemon in self.members.values():
            daemon.stop(signal.SIGTERM, 5)

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), parse)


# --- the log ---------------------------------------------------------------------------------------------------------

_START = re.compile(
    r'^(?:\{"|\d{4}-\d\d-\d\d |raft\d{4}/|(?:INFO|WARNING|ERROR): \d{4}/|flag provided|panic: |\[WARNING\] )'
)
_REMOTE = re.compile(r'(?:"remote":"|remote = |"remote-addr":"|rejected connection from ")([\d.]+):')
_OWN_USER = re.compile(r"\bsvc-9\b")
_NUMBERED = re.compile(r"(?:tenant-|role-|/orders/(?=\d{5}\b)|/secret/)(\d+)")


def parse(line: str) -> Head | None:
    """The first line of an entry; its client's address, or the injector's when the numbers are."""
    if not _START.match(line):
        return None
    remote = _REMOTE.search(line)
    address = remote[1] if remote else None
    numbers = _NUMBERED.findall(line)
    if _OWN_USER.search(line) or (numbers and all(int(number) % OWN == 0 for number in numbers)):
        address = INJECTOR_ADDRESS
    return Head(line, 0, "", address)


# --- ordinary work ---------------------------------------------------------------------------------------------------


def ordinary_number(rng: random.Random, most: int) -> int:
    """A number that is not the injector's."""
    number = rng.randint(1, most)
    return number if number % OWN else number + 1


class Worker:
    """A service that keeps orders; sometimes its administrator, who keeps tenants and roles."""

    def __init__(self, lab: Etcd, number: int, address: str, rng: random.Random) -> None:
        self.lab, self.address, self.rng = lab, address, rng
        self.users = (f"svc-{number}", "root")
        self.links: dict[str, tuple[Link, str]] = {}
        self.lease = 1000 * number
        self.tenants: list[str] = []
        self.roles: list[str] = []

    def ask(self, user: str, method: str, **fields: int | str | bytes) -> None:
        """One request of a user; logs in if need be, and again after a refusal."""
        if user not in self.links:
            link = Link(self.address)
            self.links[user] = link, ""
        link, token = self.links[user]
        if not token:
            token = link.log_in(user)
            self.links[user] = link, token
        if link.call(method, message(**fields), token) is None:
            self.links[user] = link, "" if self.rng.random() < 0.5 else token

    def hang_up(self) -> None:
        """Close all connections."""
        for link, _ in self.links.values():
            link.close()
        self.links.clear()

    def work(self) -> None:
        """One step, and a pause."""
        rng, settings = self.rng, self.lab.settings
        try:
            if rng.random() < 0.045:
                rng.choice((self.mistype, self.watch, self.vanish, self.hang_up, self.distrust, self.forbidden))()
            elif rng.random() < settings.administration:
                self.administrate()
            else:
                self.serve()
        except OSError:
            self.hang_up()
            self.lab.crew.stopping.wait(0.3)
        self.lab.crew.stopping.wait(rng.expovariate(settings.pace))

    def key(self) -> str:
        """An order."""
        return f"/orders/{ordinary_number(self.rng, 40000):05d}"

    def serve(self) -> None:
        """One thing that a service does with orders."""
        rng, user = self.rng, self.users[0]
        key, value = self.key(), "v" * rng.randint(20, 400)
        some = f"/orders/{rng.randint(0, 39)}"
        compare = message(f1=0, f2=0, f3=key, f4=0)
        put, get = message(f2=message(f1=key, f2=value)), message(f1=message(f1=key))
        kinds: Sequence[Callable[[], None]] = (
            *[lambda: self.ask(user, "KV/Put", f1=key, f2=value)] * 5,
            *[lambda: self.ask(user, "KV/Range", f1=key)] * 4,
            lambda: self.ask(user, "KV/Range", f1=key, f7=1),
            lambda: self.ask(user, "KV/Range", f1="/orders/", f2="/orders0", f3=rng.randint(5, 40)),
            lambda: self.ask(user, "KV/Range", f1=some, f2=some + "~", f9=1),
            *[lambda: self.ask(user, "KV/Txn", f1=compare, f2=put, f3=get)] * 2,
            lambda: self.ask(user, "KV/DeleteRange", f1=key),
            lambda: self.ask(user, "Lease/LeaseGrant", f1=rng.randint(2, 5), f2=self.next_lease()),
            lambda: self.ask(user, "Lease/LeaseRevoke", f1=self.lease - rng.randint(0, 6)),
            lambda: self.ask(user, "Lease/LeaseTimeToLive", f1=self.lease),
        )
        rng.choice(kinds)()

    def next_lease(self) -> int:
        """A new lease."""
        self.lease += 1
        return self.lease

    def administrate(self) -> None:
        """Tenants and roles come and go, and so do rights; now and then something is not there or there already."""
        rng = self.rng
        tenant, role = f"tenant-{ordinary_number(rng, 60)}", f"role-{ordinary_number(rng, 40)}"
        new_tenant, new_role = f"tenant-{ordinary_number(rng, 9000)}", f"role-{ordinary_number(rng, 9000)}"
        low, high = f"/orders/{rng.randint(0, 3)}", "/orders/5"
        if rng.random() < 0.3 and self.tenants:
            self.ask("root", "Auth/UserDelete", f1=self.tenants.pop())
            self.ask("root", "Auth/RoleDelete", f1=self.roles.pop())
            return
        kinds: Sequence[tuple[str, dict[str, int | str | bytes], int]] = (
            ("Auth/UserAdd", {"f1": new_tenant, "f2": PASSWORD}, 8),
            ("Auth/UserChangePassword", {"f1": tenant, "f2": PASSWORD}, 6),
            ("Auth/UserGrantRole", {"f1": tenant, "f2": role}, 8),
            ("Auth/UserRevokeRole", {"f1": tenant, "f2": role}, 1),
            ("Auth/UserGet", {"f1": tenant}, 1),
            ("Auth/RoleGrantPermission", {"f1": role, "f2": message(f1=rng.randint(0, 2), f2=low, f3=high)}, 8),
            ("Auth/RoleRevokePermission", {"f1": role, "f2": low, "f3": high}, 2),
            ("Auth/UserList", {}, 1),
            ("Maintenance/Snapshot", {}, 1),
            ("Maintenance/HashKV", {"f1": 0}, 1),
            ("Cluster/MemberList", {}, 1),
        )
        method, fields, _ = rng.choices(kinds, [weight for *_, weight in kinds])[0]
        self.ask("root", method, **fields)
        if method == "Auth/UserAdd":
            self.ask("root", "Auth/RoleAdd", f1=new_role)
            self.tenants.append(new_tenant)
            self.roles.append(new_role)

    def mistype(self) -> None:
        """A mistyped password."""
        link = Link(self.address)
        link.log_in(self.rng.choice(self.users), PASSWORD[:-1])
        link.close()

    def watch(self) -> None:
        """Looks at changes for a moment."""
        link = Link(self.address)
        link.send("Watch/Watch", message(f1=message(f1="/orders/", f2="/orders0")))
        self.lab.crew.stopping.wait(0.2)
        link.close()

    def vanish(self) -> None:
        """Hangs up before the answer."""
        link = Link(self.address)
        link.send("KV/Put", message(f1=self.key(), f2="v"), self.links.get(self.users[0], (None, ""))[1])
        link.close()

    def distrust(self) -> None:
        """A program that does not know the authority, or one that speaks without TLS."""
        if self.rng.random() < 0.5:
            send_raw(TLS_PORT, b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n", self.address, timeout=0.5)
            return
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", TLS_PORT), 2.0, (self.address, 0)) as link,
        ):
            ssl.create_default_context().wrap_socket(link, server_hostname="localhost")

    def forbidden(self) -> None:
        """A key that services may not use."""
        self.ask(self.users[0], "KV/Put", f1=f"/secret/{ordinary_number(self.rng, 90)}", f2="v")


class Keeper:
    """Compacts history twice a second; a fault may silence it."""

    def __init__(self, lab: Etcd, address: str, rng: random.Random) -> None:
        self.lab, self.address, self.rng = lab, address, rng
        self.done: int | bytes = 0

    def work(self) -> None:
        """One round."""
        if self.lab.compacting.is_set():
            with contextlib.suppress(OSError), linked(self.address, "root") as call:
                while self.lab.compacting.wait(0) and not self.lab.crew.stopping.wait(0.5):
                    answer = call("KV/Range", f1="/orders/00001")
                    revision = part_of(answer, 1).get(3, 0)
                    # Nothing may have been written since; then it is refused, which happens now and then.
                    if revision == self.done and self.rng.random() < 0.9:
                        continue
                    if not answer or call("KV/Compact", f1=revision) is None:
                        break
                    self.done = revision
        self.lab.crew.stopping.wait(0.5)


class Monitor:
    """Asks for health, version and figures."""

    def __init__(self, lab: Etcd, address: str, rng: random.Random) -> None:
        self.lab, self.address, self.rng = lab, address, rng

    def probe(self) -> None:
        """One question."""
        path = self.rng.choice(["/health", "/health", "/version", "/metrics", "/v2/keys/config"])
        http_request(CLIENT_PORTS["a"], "GET", path, self.address, timeout=3.0)
        self.lab.crew.stopping.wait(0.8)


# --- faults ----------------------------------------------------------------------------------------------------------


member_killed = faults.lasting(lambda lab: faults.down(lab.recorded), 0.5, 1.5, Etcd.recover)
"""SIGKILL to the recorded member; it starts again."""


peer_killed = faults.lasting(lambda lab: faults.down(lab.members[lab.rng.choice("bc")]), 1.0, 3.0, Etcd.recover)
"""SIGKILL to a peer, which may be the leader."""


def leader_stands_still(lab: Etcd, interval: Interval) -> None:
    """The leader stops for longer than an election takes; the recorded member is only ever a follower of it."""
    lead = lab.leader()
    if lead == "a":
        give_away(lab, INJECTOR_ADDRESS, "svc-9")
        lead = lab.leader()
    with faults.frozen([lab.members[lead if lead in ("b", "c") else "b"].pid]):
        lab.hold(2.5, 4.0)
    lab.recover()


def quorum_lost(lab: Etcd, interval: Interval) -> None:
    """Both peers are gone; nothing can be written."""
    peers = [lab.members[name] for name in "bc"]
    for peer in peers:
        peer.stop(signal.SIGKILL)
    lab.hold(1.5, 3.0)
    for peer in peers:
        peer.start()
    lab.recover()


peer_cut_off = faults.lasting(
    lambda lab: faults.network_cut(PEER_PORTS[lab.rng.choice("bc")], reset=lab.rng.random() < 0.5),
    3.0,
    5.0,
    Etcd.recover,
)
"""Nobody reaches a peer any more."""


def no_space(lab: Etcd, interval: Interval) -> None:
    """Someone fills the data base up to its quota; nobody can write until it is tidied up and the alarm put off."""
    with linked(INJECTOR_ADDRESS, "svc-9") as call:
        refusals = 0
        for number in range(120):
            answer = call("KV/Put", f1=f"/orders/{OWN * (number + 1):05d}", f2="x" * 60_000)
            refusals = 0 if answer is not None else refusals + 1
            if refusals == 4:
                break
        lab.hold(1.5, 3.0)
        answer = insist(call, "KV/DeleteRange", f1=f"/orders/{OWN:05d}", f2=f"/orders/{OWN * 121:05d}")
        call("KV/Compact", f1=part_of(answer, 1).get(3, 0), f2=1)
    for name, port in CLIENT_PORTS.items():
        with linked(INJECTOR_ADDRESS if name == "a" else "127.0.0.1", "svc-9", port) as call:
            insist(call, "Maintenance/Defragment")
    with linked(INJECTOR_ADDRESS, "svc-9") as call:
        for member in lab.ids:
            insist(call, "Maintenance/Alarm", f1=2, f2=member, f3=1)
    lab.recover()


def disk_full(lab: Etcd, interval: Interval) -> None:
    """No room for the next snapshot or page; the member gives up."""
    with faults.full_disk(HOME / "a"):
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not answers(CLIENT_PORTS["a"]), 6, "the member gives up")
        lab.hold(0.2, 0.8)
    lab.recorded.stop(signal.SIGKILL)
    lab.recorded.start()
    lab.recover()


def try_to_start(lab: Etcd, *more: str) -> None:
    """A start that is expected to fail."""
    lab.members["a"] = lab.member("a", *more)
    with contextlib.suppress(RuntimeError, TimeoutError):
        lab.members["a"].start(4.0)
    lab.members["a"].stop(signal.SIGKILL)


def corrupted_file(lab: Etcd, interval: Interval) -> None:
    """After a crash its log or its data base is not what it wrote; the good copy comes back."""
    lab.recorded.stop(signal.SIGKILL)
    member = HOME / "a" / "member"
    path = lab.rng.choice([sorted((member / "wal").glob("*.wal"))[-1], member / "snap" / "db"])
    with path.open("r+b") as file:
        start = 900 if path.suffix == ".wal" else 0
        file.seek(start)
        good = file.read(9000)
        file.seek(start)
        file.write(lab.rng.randbytes(len(good)))
        file.flush()
        for _ in range(lab.rng.randint(1, 2)):
            try_to_start(lab)
        file.seek(start)
        file.write(good)
    lab.members["a"] = lab.member("a")
    lab.recorded.start()
    lab.recover()


BAD_FLAGS = (
    ("--heartbeat-interval=2000",),
    ("--initial-cluster-token=", "--listen-client-urls=http://127.0.0.1:22379"),
    ("--auth-token=jwt,pub-key=/srv/etcd/tls/token.pub,sign-method=RS256",),
    ("--peer-cert-file=/srv/etcd/tls/d.pem",),
    ("--listen-client-urls=http://shop.example.org:2379",),
    ("--snapshot-cuont=40",),
)


def broken_configuration(lab: Etcd, interval: Interval) -> None:
    """A restart with flags that are wrong, until someone puts the old ones back."""
    lab.recorded.stop()
    for flags in lab.rng.sample(BAD_FLAGS, lab.rng.randint(1, 3)):
        try_to_start(lab, *flags)
    lab.members["a"] = lab.member("a")
    lab.recorded.start()
    lab.recover()


def expired_certificate(lab: Etcd, interval: Interval) -> None:
    """A peer comes back with a certificate that has expired."""
    name = lab.rng.choice("bc")
    peer, tls = lab.members[name], HOME / "tls"
    good = {suffix: (tls / f"{name}.{suffix}").read_bytes() for suffix in ("pem", "key")}
    peer.stop(signal.SIGKILL)
    for suffix in good:
        (tls / f"{name}.{suffix}").write_bytes((tls / f"expired.{suffix}").read_bytes())
    peer.start()
    lab.hold(2.0, 4.0)
    peer.stop(signal.SIGKILL)
    for suffix, data in good.items():
        (tls / f"{name}.{suffix}").write_bytes(data)
    peer.start()
    lab.recover()


def brute_force(lab: Etcd, interval: Interval) -> None:
    """Guessing passwords."""
    link = Link(INJECTOR_ADDRESS)
    for number in range(lab.rng.randint(20, 50)):
        link.log_in(lab.rng.choice(["svc-9", f"tenant-{OWN * lab.rng.randint(1, 1200)}"]), f"password{number}")
        lab.hold(0.0, 0.06)
    link.close()


def surge(lab: Etcd, interval: Interval) -> None:
    """One client does ordinary things far too often."""
    with linked(INJECTOR_ADDRESS, "svc-9") as call:
        for _ in range(lab.rng.randint(80, 160)):
            key = f"/orders/{OWN * lab.rng.randint(1, 5000):05d}"
            if lab.rng.random() < 0.5:
                call("KV/Put", f1=key, f2="v" * lab.rng.randint(20, 400))
            else:
                call("KV/Range", f1=key)


def tenants_churn(lab: Etcd, interval: Interval) -> None:
    """A program gone wrong makes and deletes the same tenants and roles again and again."""
    with linked(INJECTOR_ADDRESS, "svc-9") as call:
        for _ in range(lab.rng.randint(6, 12)):
            tenant, role = (f"{kind}-{OWN * lab.rng.randint(1, 1200)}" for kind in ("tenant", "role"))
            call("Auth/UserAdd", f1=tenant, f2=PASSWORD)
            call("Auth/RoleAdd", f1=role)
            call("Auth/UserGrantRole", f1=tenant, f2=role)
            call("Auth/UserChangePassword", f1=tenant, f2=PASSWORD)
            call("Auth/RoleDelete", f1=role)
            call("Auth/UserDelete", f1=tenant)
            lab.hold(0.0, 0.1)


MALFORMED = (
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"SSH-2.0-Go\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x00\x00\x02\x00\x00",
    b"\x80\x2e\x01\x00\x02" + bytes(40),
    b"\x15\x03\x01\x00\x02\x02\x28",
)

malformed_requests = faults.garbage(TLS_PORT, MALFORMED, 15, 40, pause=0.05, timeout=0.2)
"""Garbage at the port that expects TLS."""


def rights_revoked(lab: Etcd, interval: Interval) -> None:
    """Someone takes away what the services need; their requests are refused."""
    with linked("127.0.0.1", "svc-9", CLIENT_PORTS["b"]) as call:
        insist(call, "Auth/RoleRevokePermission", f1="service", f2="/orders/", f3="/orders0")
        lab.hold(2.0, 4.0)
        insist(call, "Auth/RoleGrantPermission", f1="service", f2=message(f1=2, f2="/orders/", f3="/orders0"))
    time.sleep(0.2)


def give_away(lab: Etcd, address: str, user: str) -> None:
    """The leader hands over to another member."""
    lead = lab.leader()
    if lead:
        others = [number for number, name in lab.ids.items() if name != lead]
        with (
            contextlib.suppress(OSError),
            linked(address if lead == "a" else "127.0.0.1", user, CLIENT_PORTS[lead]) as call,
        ):
            call("Maintenance/MoveLeader", f1=lab.rng.choice(others))


def leadership_wanders(lab: Etcd, interval: Interval) -> None:
    """The leader changes again and again."""
    for _ in range(lab.rng.randint(4, 8)):
        give_away(lab, INJECTOR_ADDRESS, "svc-9")
        lab.hold(0.1, 0.5)
    lab.recover()


def keeper_silent(lab: Etcd, interval: Interval) -> None:
    """History is no longer compacted; nothing else changes."""
    lab.compacting.clear()
    lab.hold(4.0, 7.0)
    lab.compacting.set()


standstill = faults.lasting(lambda lab: faults.frozen([lab.recorded.pid]), 2.0, 4.0, Etcd.recover)
"""The recorded member stands still for some seconds, then goes on."""


REQUEST = (
    r"request stats|start time = |apply request took|took too long \(|failed to apply|[pP]assword|authori[sz]ed"
    r"|authenticat|\b(created|deleted|added|changed|granted|updated|revoked|ignored) .*\b(user|role|permission)"
    r"|/health OK|purged"
    r"|[rR]ole \S+ is created|granted role|(deleted|revoked|new) (role|user)|'s permission of key|revoked key"
    r"|compacted [rR]aft|compact tree|index: compact|scheduled compaction|(triggering|saved|start to) snapshot"
    r"|database (snapshot|sha256)|rejected connection(?!.*:2380\b)"
)
"""Lines that ordinary requests cause, in either style."""
_REQUEST = re.compile(REQUEST)
LATE = (
    r'trace\[\d+\]|"(?:time spent|took)":"[\d.]+s"|too long \([\d.]+s\)|time spent = [\d.]+s|timed out'
    r"|leader changed|no leader|rpc not capable"
)
GONE = (
    r"transport is closing|loopyWriter|failed to write status|context canceled|client disconnected|invalid auth token"
)
CLUSTER = (
    r'"caller":"(raft|rafthttp|etcdmain|membership)/|^raft\d{4}/| rafthttp: |"caller":"etcdserver/raft\.go|'
    r"sending buffer|heartbeat|overloaded|health check for peer|prober|leadership|the clock difference"
    r"|(?:established|lost).*stream|ReadIndex|ignored out-of-date|failed to (?:reach|get|send)|transferring"
    r"|cannot get the version"
)


def stopped(entry: Entry, interval: Interval) -> bool:
    """The member's own end and start: all but what requests bring about, and those that took too long."""
    if not interval.contains(entry.time, 0.5):
        return _overdue(entry, interval)
    return not _REQUEST.search(entry.lines[0]) or re.search(LATE, entry.lines[0]) is not None


_clustered = says(CLUSTER, LATE, GONE)
# Requests give up seven seconds after they were made.
_overdue = says(r"failed to revoke lease|request timed out|time spent[\":= ]+[\d.]+s\b", grace=7.5)


clustered = any_of(_clustered, _overdue)
"""Lines about the other members, and requests that had to wait for them."""


refused_peer = any_of(clustered, says(r"rejected connection.*\b127\.0\.0\.1:"))
"""The same, and the peer's connections that are refused."""


def refused(entry: Entry, interval: Interval) -> bool:
    """Orders that may not be used, and the rights that come and go."""
    line = entry.lines[0]
    if not interval.contains(entry.time, 0.1):
        return False
    if re.search(r"role-name\":\"service|user-name\":\"service|role service|role_name: service", line):
        return True
    return "/secret/" not in line and re.search(r'permission denied|\.KV/.*response size(":| = )0\b', line) is not None


def names_requests(settings: Settings) -> bool:
    """Whether ordinary requests are in the log."""
    return settings.flags != SETTINGS["info"].flags


FAULTS = {
    "member_killed": Fault(member_killed, stopped),
    "peer_killed": Fault(peer_killed, clustered),
    "leader_stands_still": Fault(leader_stands_still, clustered),
    "quorum_lost": Fault(quorum_lost, clustered, often=False),
    "peer_cut_off": Fault(peer_cut_off, clustered, often=False),
    "no_space": Fault(
        no_space,
        says(
            r"[aA]larm|ALARM|NOSPACE|no space|space exceeded|exceeded backend quota|defrag",
            r"\.KV/(Put|Txn).*response size(?:\":| = )0\b",
        ),
    ),
    "disk_full": Fault(disk_full, stopped, often=False),
    "corrupted_file": Fault(corrupted_file, stopped, often=False),
    "broken_configuration": Fault(broken_configuration, stopped, often=False),
    "expired_certificate": Fault(expired_certificate, refused_peer, often=False),
    "brute_force": Fault(brute_force),
    "surge": Fault(surge, visible="order", possible=names_requests),
    "tenants_churn": Fault(tenants_churn, visible="order"),
    "malformed_requests": Fault(malformed_requests),
    "rights_revoked": Fault(rights_revoked, refused),
    "leadership_wanders": Fault(leadership_wanders, clustered, visible="order", often=False),
    "keeper_silent": Fault(keeper_silent, visible="silence", often=False),
    "standstill": Fault(standstill, clustered, visible="silence", often=False),
}


def clean_restart(lab: Etcd) -> None:
    """What an administrator does after an update."""
    lab.recorded.stop()
    lab.recorded.start()
    lab.recover()


def peer_restart(lab: Etcd) -> None:
    """The same, for a peer."""
    peer = lab.members[lab.rng.choice("bc")]
    peer.stop()
    peer.start()
    lab.recover()


def move_leader(lab: Etcd) -> None:
    """Before work on a machine its member stops leading."""
    give_away(lab, CLIENT_ADDRESSES[6], "root")
    time.sleep(0.5)


def defragment(lab: Etcd) -> None:
    """Upkeep of the data base."""
    with linked(CLIENT_ADDRESSES[6], "root") as call:
        call("Maintenance/Defragment")


def learner(lab: Etcd) -> None:
    """A member is announced and taken back."""
    with linked(CLIENT_ADDRESSES[6], "root") as call:
        added = call("Cluster/MemberAdd", f1="https://127.0.0.1:42380", f2=1)
        time.sleep(0.8)
        if added:
            call("Cluster/MemberRemove", f1=part_of(added, 2)[1])


SERVICE = Service(
    name="etcd",
    lab=Etcd,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={
        "clean_restart": clean_restart,
        "peer_restart": peer_restart,
        "move_leader": move_leader,
        "defragment": defragment,
        "learner": learner,
    },
)
