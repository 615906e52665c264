"""A ZooKeeper server in an ensemble of three: ordinary clients, faults, and which entries a fault caused.

Only the log of server 1 is recorded. Its entries name a client's address or its session; the injector's sessions are
noted as it opens them.
"""

import contextlib
import random
import re
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES, Client, receive, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, make_folder, wait_until
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/zookeeper")
PORTS = {1: 2181, 2: 2182, 3: 2183}
CLASSES = ":".join(f"/usr/share/java/{name}.jar" for name in ("zookeeper", "slf4j-log4j12", "log4j-1.2"))
MOST_CONNECTIONS = 16
PASSWORD = "shop:correct horse"


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    pattern: str  # of log4j
    debug: tuple[str, ...] = ()  # classes that say more
    layout: str = "PatternLayout"
    audit: bool = True
    pace: float = 2.8  # requests per second of one client


SETTINGS = {
    "default": Settings("%d{ISO8601} - %-5p [%t:%C{1}@%L] - %m%n"),
    "short": Settings("%d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'} %p %c{1} %m%n%throwable{1}", layout="EnhancedPatternLayout"),
    "debug": Settings(
        "%d{HH:mm:ss,SSS} [%t] %-5p %c - %m%n",
        ("server.NIOServerCnxn", "server.ZooKeeperServer", "server.PrepRequestProcessor", "server.SessionTrackerImpl",
         "server.FinalRequestProcessor", "server.quorum.LearnerHandler", "server.quorum.LearnerSessionTracker"),
        audit=False,
        pace=1.6,
    ),
}  # fmt: skip

CONFIGURATION = """\
tickTime=500
initLimit=10
syncLimit=6
minSessionTimeout=1500
dataDir={home}/{number}
dataLogDir={home}/transactions{number}
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns={connections}
admin.enableServer=false
snapCount=400
4lw.commands.whitelist=ruok,srvr,stat,mntr,conf,isro
standaloneEnabled=false
server.1=127.0.0.1:2881:3881
server.2=127.0.0.1:2882:3882
server.3=127.0.0.1:2883:3883
{extra}
"""


# --- the protocol: the driver does not let a client choose its address -----------------------------------------------

CREATE, DELETE, EXISTS, GET, SET, SET_ACL, CHILDREN, SYNC, PING, MULTI = 1, 2, 3, 4, 5, 7, 8, 9, 11, 14
AUTH, CLOSE = 100, -11
OPEN_TO_ALL = (31, "world", "anyone")


def text(value: str | bytes) -> bytes:
    """A string or buffer with its length."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">i", len(data)) + data


def rights(*entries: tuple[int, str, str]) -> bytes:
    """An access control list."""
    return struct.pack(">i", len(entries)) + b"".join(
        struct.pack(">i", bits) + text(scheme) + text(name) for bits, scheme, name in entries
    )


def create_body(path: str, data: bytes, flags: int = 0, acl: bytes = b"") -> bytes:
    """A new node; flags: 1 ephemeral, 2 sequential."""
    return text(path) + text(data) + (acl or rights(OPEN_TO_ALL)) + struct.pack(">i", flags)


class Session:
    """One session, from a chosen address."""

    def __init__(
        self,
        address: str,
        timeout: int = 4000,
        modern: bool = True,
        wait: float = 3.0,
        old: "Session | None" = None,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", PORTS[1]), wait, (address, 0))
        self._xid = 0
        self.secret = b""
        number, secret = (old.id, old.secret) if old else (0, bytes(16))
        try:
            self._send(struct.pack(">iqiq", 0, 0, timeout, number) + text(secret) + (b"\0" if modern else b""))
            answer = self._receive()
            self.id: int = struct.unpack(">q", answer[8:16])[0]
            self.secret = answer[20:36]
        except OSError:
            self._socket.close()
            raise
        if not self.id:
            self._socket.close()
            raise ConnectionError("no session")

    def _send(self, data: bytes) -> None:
        self._socket.sendall(text(data))

    def _receive(self) -> bytes:
        return receive(self._socket, struct.unpack(">i", receive(self._socket, 4))[0])

    def send(self, kind: int, body: bytes = b"") -> None:
        """A request."""
        self._xid += 1
        xid = {PING: -2, AUTH: -4}.get(kind, self._xid)
        self._send(struct.pack(">ii", xid, kind) + body)

    def ask(self, kind: int, body: bytes = b"") -> int:
        """A request and its answer's error number; 0 when all is well."""
        self.send(kind, body)
        while True:
            xid, _, error = struct.unpack(">iqi", self._receive()[:16])
            if xid != -1:  # not a watch
                return int(error)

    def log_in(self, credentials: str = PASSWORD) -> None:
        """Authenticate."""
        self.ask(AUTH, struct.pack(">i", 0) + text("digest") + text(credentials))

    def hang_up(self) -> None:
        """Leave without a word; the session lives on until it expires."""
        self._socket.close()

    def close(self) -> None:
        """End the session."""
        with contextlib.suppress(OSError):
            self.ask(CLOSE)
        self._socket.close()


# --- the ensemble ----------------------------------------------------------------------------------------------------


class ZooKeeper(Lab):
    """Server 1, whose log is recorded, and servers 2 and 3."""

    settings: Settings
    log = HOME / "log" / "zookeeper.log"

    def start(self) -> None:
        """Folders, configurations, servers, first nodes."""
        make_folder(HOME / "log")
        self.log.touch()
        faults.mount_small_disk(HOME / "transactions1", "24m")
        self.own_sessions: set[int] = set()
        self.follower = LogFollower(self.log)
        for number in PORTS:
            make_folder(HOME / str(number))
            make_folder(HOME / f"transactions{number}")
            (HOME / str(number) / "myid").write_text(f"{number}\n")
            self.write_configuration(number)
        self.servers = {number: self.server(number) for number in PORTS}
        for daemon in self.servers.values():
            daemon.start()
        wait_until(self.healthy, 90, "the ensemble is whole")
        session = Session("127.0.0.1", timeout=8000)
        for path in ("/shop", "/shop/orders", "/shop/locks", "/shop/config", "/shop/workers", "/shop/queue"):
            session.ask(CREATE, create_body(path, b""))
        session.log_in()
        session.ask(CREATE, create_body("/shop/secret", b"key", acl=rights((31, "auth", ""))))
        session.close()

    def write_configuration(self, number: int, extra: str = "", **changes: str) -> None:
        """A server's configuration, with lines added or replaced, and how it logs."""
        lines = CONFIGURATION.format(
            home=HOME, number=number, port=PORTS[number], connections=MOST_CONNECTIONS, extra=extra
        )
        for name, value in changes.items():
            lines = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", lines)
        (HOME / f"{number}.cfg").write_text(lines)
        recorded = number == 1
        appender = {
            "": "org.apache.log4j.FileAppender",
            ".File": self.log if recorded else HOME / f"{number}.txt",
            ".layout": f"org.apache.log4j.{self.settings.layout}",
            ".layout.ConversionPattern": self.settings.pattern,
        }
        log = [f"log4j.rootLogger={'INFO' if recorded else 'WARN'}, FILE"]
        log += [f"log4j.appender.FILE{name}={value}" for name, value in appender.items()]
        if recorded:
            log += [f"log4j.logger.org.apache.zookeeper.{name}=DEBUG" for name in self.settings.debug]
        (make_folder(HOME / f"conf{number}") / "log4j.properties").write_text("\n".join(log) + "\n")

    def server(self, number: int) -> Daemon:
        """One server."""
        command: list[str | Path] = [
            *("java", "-Xmx128m", "-Xms48m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"),
            *("-XX:-UsePerfData", "-cp", f"{HOME}/conf{number}:{CLASSES}"),
            *("-Dzookeeper.preAllocSize=16", "-Djute.maxbuffer=262144"),
            f"-Dzookeeper.audit.enable={'true' if self.settings.audit and number == 1 else 'false'}",
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", HOME / f"{number}.cfg"),
        ]
        return Daemon(command, HOME / f"console{number}.txt", lambda: True)

    @property
    def recorded(self) -> Daemon:
        """The server whose log is recorded."""
        return self.servers[1]

    def mode(self, number: int) -> str:
        """A server's role, in its own words; "" if it does not serve. Asking server 1 would show in the log."""
        answer = send_raw(PORTS[number], b"srvr", "127.0.0.1", timeout=1.0).decode(errors="replace")
        return found[1] if (found := re.search(r"Mode: (\w+)", answer)) else ""

    def serves(self) -> bool:
        """Whether server 1 lets a client in."""
        with contextlib.suppress(OSError):
            Session("127.0.0.1", wait=1.5).close()
            return True
        return False

    def healthy(self) -> bool:
        """Whether all three serve."""
        time.sleep(0.7)
        return all(self.mode(number) for number in (2, 3)) and self.serves()

    def recover(self) -> None:
        """Wait until the ensemble is whole, and until its clients have come back."""
        wait_until(self.healthy, 90, "the ensemble is whole")
        time.sleep(1.2)

    def leader(self) -> int:
        """The leader: server 1 if neither of the others is."""
        return next((number for number in (2, 3) if self.mode(number) == "leader"), 1)

    def own_session(self, timeout: int = 4000) -> Session:
        """A session of the injector."""
        session = Session(INJECTOR_ADDRESS, timeout=timeout)
        self.own_sessions.add(session.id)
        return session

    def employ_clients(self) -> None:
        """Workers that share orders, and a monitor."""
        for number in range(9):
            self.crew.start(Worker(self, number, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).work)
        self.crew.start(Monitor(self, CLIENT_ADDRESSES[6], self.client_rng(20)).probe)

    def stop(self) -> None:
        """All servers."""
        for daemon in self.servers.values():
            daemon.stop(signal.SIGTERM, 5)

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        parser = Parser(self.own_sessions)
        return [
            # An exception may name its session behind the first line only.
            replace(entry, remote_host=INJECTOR_ADDRESS) if any(map(parser.is_own, entry.lines[1:])) else entry
            for entry in split_entries(self.follower.close(), parser)
        ]


# --- the log ---------------------------------------------------------------------------------------------------------

_START = re.compile(r"^(?:\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d[,.]\d{3}Z? ")
_ADDRESS = re.compile(r"(?:/|ip=|user=)(127\.0\.0\.\d+)\b(?!:(?:\d888\d|\d88\d)\b)")
_SESSION = re.compile(r"0x([0-9a-f]{9,16})\b")


class Parser:
    """Knows the injector's sessions."""

    def __init__(self, own_sessions: set[int]) -> None:
        self.own = {f"{number & (1 << 64) - 1:x}" for number in own_sessions}
        self._prepared_own = False  # whether a leader prepares the injector's request; it names the session once

    def is_own(self, line: str) -> bool:
        """Whether the line names the injector's address or a session of its own."""
        return INJECTOR_ADDRESS in _ADDRESS.findall(line) or any(name in self.own for name in _SESSION.findall(line))

    def __call__(self, line: str) -> Head | None:
        """The first line of an entry, with its client's address."""
        if not _START.match(line):
            return None
        addresses = _ADDRESS.findall(line)
        sessions = _SESSION.findall(line)
        own = self.is_own(line)
        if "[ProcessThread(" in line and "DEBUG" in line:
            if "ession" in line and sessions:
                self._prepared_own = own
            own = own or self._prepared_own
        if own:
            return Head(line, 0, "", INJECTOR_ADDRESS)
        return Head(line, 0, "", addresses[0] if addresses else None)


# --- ordinary work ---------------------------------------------------------------------------------------------------


class Worker(Client):
    """Takes orders from a queue, keeps a lock, reads its configuration."""

    def __init__(self, lab: ZooKeeper, number: int, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.number = number
        self.session: Session | None = None
        self.lost: Session | None = None
        self.orders = ["/shop/orders/order-00000"]

    def new_order(self) -> str:
        """An order; older ones are forgotten."""
        self.orders = [*self.orders[-20:], f"/shop/orders/order-{self.rng.randint(1, 99999):05d}"]
        return self.orders[-1]

    def connected(self) -> Session:
        """Its session, a new one if need be."""
        if self.session is None and self.lost is not None:
            lost, self.lost = self.lost, None
            try:
                self.session = Session(self.address, old=lost)
            except TimeoutError:
                self.lost = lost
                raise
        if self.session is None:
            # Old libraries do not say whether they would be content with reading; the server remarks on it.
            modern = self.rng.random() < 0.7
            self.session = Session(self.address, timeout=self.rng.choice([4000, 6000, 10000]), modern=modern)
            if self.rng.random() < 0.6:
                self.session.log_in()
            if self.rng.random() < 0.7:
                self.session.ask(CREATE, create_body(f"/shop/workers/worker-{self.number}-", b"up", 3))
        return self.session

    def work(self) -> None:
        """One step, and a pause."""
        rng = self.rng
        try:
            if rng.random() < 0.06:
                rng.choice((self.leave, self.leave, self.vanish, self.impatient, self.intrude, self.half_ask))()
            else:
                self.serve()
        except OSError:
            if self.session is not None:
                self.session.hang_up()
                self.lost = self.session
            self.session = None
            self.lab.crew.stopping.wait(rng.uniform(1.0, 2.5))
        self.pause()

    def serve(self) -> None:
        """What a worker does."""
        rng, ask = self.rng, self.connected().ask
        order, fresh = rng.choice(self.orders), rng.randint(0, len(self.orders) - 1)
        value = b"v" * rng.randint(10, 300)
        lock = f"/shop/locks/stock-{rng.randint(1, 60)}"
        any_version, old_version = struct.pack(">i", -1), struct.pack(">i", rng.randint(0, 2))
        operation = struct.pack(">i?i", CREATE, False, -1) + create_body(f"{order}-copy", value)
        second = struct.pack(">i?i", SET, False, -1) + text("/shop/config") + text(b"x") + any_version
        kinds: Sequence[tuple[Callable[[], int], int]] = (
            (lambda: ask(CREATE, create_body(self.new_order(), value)), 10),
            (lambda: ask(SET, text(order) + text(value) + any_version), 6),
            (lambda: ask(SET, text(order) + text(value) + old_version), 1),
            (lambda: ask(DELETE, text(self.orders.pop(fresh)) + any_version) if fresh else 0, 6),
            (lambda: ask(GET, text(order) + b"\0"), 4),
            (lambda: ask(EXISTS, text(order) + b"\1"), 2),
            (lambda: ask(CHILDREN, text(rng.choice(["/shop/workers", "/shop/locks", "/shop/queue"])) + b"\0"), 2),
            (lambda: ask(CREATE, create_body(lock, b"mine", 1)), 2),
            (lambda: ask(DELETE, text(lock) + any_version), 1),
            (lambda: ask(CREATE, create_body("/shop/queue/job-", value, 2)), 2),
            (lambda: ask(DELETE, text(f"/shop/queue/job-{rng.randint(0, 300):010d}") + any_version), 1),
            (lambda: ask(SET, text("/shop/config") + text(value) + any_version), 1),
            (
                lambda: ask(MULTI, operation + second + struct.pack(">i?i", -1, True, -1)),
                int(self.lab.settings.audit),
            ),  # its debug lines hold raw bytes
            (lambda: ask(SET_ACL, text(order) + rights(OPEN_TO_ALL) + any_version), 1),
            (lambda: ask(SYNC, text("/shop")), 1),
            (lambda: ask(PING), 2),
        )
        rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def leave(self) -> None:
        """Ends its session properly."""
        if self.session is not None:
            self.session.close()
        self.session = None

    def vanish(self) -> None:
        """Its machine is switched off; the session expires."""
        if self.session is not None:
            self.session.hang_up()
        self.session = None

    def impatient(self) -> None:
        """Hangs up before the answer."""
        self.connected().send(SYNC, text("/shop"))
        self.vanish()

    def intrude(self) -> None:
        """Asks for what it may not see, with a mistyped password or none."""
        session = Session(self.address)
        if self.rng.random() < 0.5:
            session.log_in(PASSWORD[:-1])
        session.ask(GET, text("/shop/secret") + b"\0")
        session.ask(SET, text("/shop/secret") + text(b"x") + struct.pack(">i", -1))
        session.close()

    def half_ask(self) -> None:
        """A port check: connects and leaves."""
        send_raw(PORTS[1], b"", self.address, wait=False)


class Monitor(Client):
    """Sends four-letter words, some of which are not allowed; a fault may silence it."""

    def probe(self) -> None:
        """One question."""
        self.lab.watch(self._ask, 0.4)

    def _ask(self) -> None:
        words = self.rng.choices([b"ruok", b"mntr", b"srvr", b"conf", b"cons"], [6, 4, 2, 1, 1])[0]
        send_raw(PORTS[1], words, self.address, timeout=1.0)


# --- faults ----------------------------------------------------------------------------------------------------------


server_killed = faults.lasting(lambda lab: faults.down(lab.recorded), 0.3, 1.0, ZooKeeper.recover)
"""SIGKILL to the recorded server; it starts again."""


def kill_and_start(lab: ZooKeeper, numbers: Sequence[int], least: float, most: float) -> None:
    """SIGKILL to other servers; after a while they start again."""
    for number in numbers:
        lab.servers[number].stop(signal.SIGKILL)
    lab.hold(least, most)
    for number in numbers:
        lab.servers[number].start()
    lab.recover()


def peer_killed(lab: ZooKeeper, interval: Interval) -> None:
    """SIGKILL to another server; where it leads, an election follows."""
    kill_and_start(lab, [lab.rng.choice([2, 3])], 1.0, 2.5)


def leader_killed(lab: ZooKeeper, interval: Interval) -> None:
    """SIGKILL to the leader."""
    lead = lab.leader()
    if lead == 1:
        server_killed(lab, interval)
    else:
        kill_and_start(lab, [lead], 1.0, 2.5)


def quorum_lost(lab: ZooKeeper, interval: Interval) -> None:
    """Both other servers are gone; nobody is served."""
    kill_and_start(lab, [2, 3], 1.5, 3.0)


def peer_stands_still(lab: ZooKeeper, interval: Interval) -> None:
    """The leader, or another server, stops for longer than the others wait."""
    lead = lab.leader()
    with faults.frozen([lab.servers[lead if lead != 1 else 2].pid]):
        lab.hold(3.5, 4.5)
    lab.recover()


def leader_unreachable(lab: ZooKeeper, interval: Interval) -> None:
    """The network drops what goes to the leader."""
    lead = lab.leader()
    with faults.network_cut(2880 + lead):
        lab.hold(3.5, 4.5)
    lab.recover()


def too_many_connections(lab: ZooKeeper, interval: Interval) -> None:
    """One address opens more connections than it may."""
    held: list[Session] = []
    try:
        for _ in range(lab.rng.randint(35, 60)):
            with contextlib.suppress(OSError):
                held.append(lab.own_session())
        lab.hold(0.5, 1.5)
    finally:
        for session in held:
            session.close()


def sessions_expire(lab: ZooKeeper, interval: Interval) -> None:
    """Many workers appear at once and fall silent; their sessions expire with what they held."""
    held = []
    for number in range(lab.rng.randint(8, MOST_CONNECTIONS - 2)):
        session = lab.own_session(1500)
        session.ask(CREATE, create_body(f"/shop/workers/worker-{number}-", b"up", 3))
        held.append(session)
    time.sleep(2.6)
    for session in held:
        session.hang_up()


def session_storm(lab: ZooKeeper, interval: Interval) -> None:
    """A program opens a session for each thing that it does."""
    for number in range(lab.rng.randint(15, 35)):
        with contextlib.suppress(OSError):
            session = lab.own_session()
            session.log_in()
            session.ask(CREATE, create_body(f"/shop/locks/stock-{number % 12 + 1}", b"mine", 1))
            session.close()


def surge(lab: ZooKeeper, interval: Interval) -> None:
    """One client does ordinary things far too often."""
    session = lab.own_session()
    for _ in range(lab.rng.randint(50, 100)):
        order = f"/shop/orders/order-{lab.rng.randint(1, 99999):05d}"
        session.ask(CREATE, create_body(order, b"v" * 100))
        if lab.rng.random() < 0.8:
            session.ask(DELETE, text(order) + struct.pack(">i", -1))
    session.close()


def brute_force(lab: ZooKeeper, interval: Interval) -> None:
    """Guessing the password of a node."""
    session = lab.own_session()
    for number in range(lab.rng.randint(15, 40)):
        session.log_in(f"{lab.rng.choice(['shop', 'admin', 'super'])}:password{number}")
        session.ask(SET, text("/shop/secret") + text(b"x") + struct.pack(">i", -1))
        lab.hold(0.0, 0.05)
    session.close()


def wrong_scheme(lab: ZooKeeper, interval: Interval) -> None:
    """A client authenticates in a way that the server does not know."""
    for _ in range(lab.rng.randint(8, 20)):
        with contextlib.suppress(OSError):
            session = lab.own_session()
            scheme = lab.rng.choice(["ldap", "kerberos", "x509"])
            session.ask(AUTH, struct.pack(">i", 0) + text(scheme) + text("shop"))
            session.close()
        lab.hold(0.0, 0.1)


MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"SSH-2.0-Go\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    struct.pack(">i", -5) + bytes(20),
    struct.pack(">i", 900_000) + bytes(200),
    text(b"\0" * 9),
    text(struct.pack(">iqiq", 0, 0, 4000, 0) + struct.pack(">i", 5000)),
)

malformed_packets = faults.garbage(PORTS[1], MALFORMED, 6, 14, pause=0.1, timeout=0.3)
"""Garbage, other protocols, packets that are too long."""


def probing(lab: ZooKeeper, interval: Interval) -> None:
    """Someone tries every four-letter word there is."""
    for word in lab.rng.choices(
        ["wchp", "dump", "stat", "srvr", "conf", "mntr", "isro", "ruok"], k=lab.rng.randint(30, 50)
    ):
        send_raw(PORTS[1], word.encode(), INJECTOR_ADDRESS, timeout=0.5)
        lab.hold(0.0, 0.05)


def rights_revoked(lab: ZooKeeper, interval: Interval) -> None:
    """Someone takes away the right to make and delete orders; the workers are refused."""
    session = lab.own_session(10000)
    session.log_in("owner:battery staple")
    session.ask(
        SET_ACL, text("/shop/orders") + rights((1, "world", "anyone"), (31, "auth", "")) + struct.pack(">i", -1)
    )
    lab.hold(2.0, 3.5)
    session.ask(SET_ACL, text("/shop/orders") + rights(OPEN_TO_ALL) + struct.pack(">i", -1))
    session.close()


def disk_full(lab: ZooKeeper, interval: Interval) -> None:
    """No room for the transaction log; the server gives up."""
    with faults.full_disk(HOME / "transactions1"), contextlib.suppress(TimeoutError):
        wait_until(lambda: lab.recorded.has_ended(), 2.5, "the server gives up")
    lab.recorded.stop(signal.SIGKILL)
    lab.recorded.start()
    lab.recover()


def try_to_start(lab: ZooKeeper) -> None:
    """A start that is expected to fail."""
    lab.recorded.start()
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: lab.recorded.has_ended(), 3, "the server gives up")
    lab.recorded.stop(signal.SIGKILL)


def corrupted_file(lab: ZooKeeper, interval: Interval) -> None:
    """After a crash its snapshots or its log are not what it wrote; the good copies come back."""
    lab.recorded.stop(signal.SIGKILL)
    files = sorted((HOME / "1" / "version-2").glob(lab.rng.choice(["snapshot.*", "*Epoch"])))
    good = {path: path.read_bytes() for path in files}
    for path, data in good.items():
        path.write_bytes(lab.rng.randbytes(200) + data[200:])
    try_to_start(lab)
    for path, data in good.items():
        path.write_bytes(data)
    lab.recorded.start()
    lab.recover()


BAD_CONFIGURATIONS = (
    {"initLimit": "ten"},
    {"dataDir": "/srv/zookeeper/new"},
    {"extra": "syncLimt=5\nserver.4=127.0.0.1"},
    {"clientPort": "2182"},
    {"tickTime": "0"},
    {"clientPortAddress": "shop.example.org"},
)


def broken_configuration(lab: ZooKeeper, interval: Interval) -> None:
    """A restart with a configuration that is wrong, until the right one comes back."""
    lab.recorded.stop()
    for changes in lab.rng.sample(BAD_CONFIGURATIONS, lab.rng.randint(1, 2)):
        lab.write_configuration(1, **changes)
        try_to_start(lab)
    lab.write_configuration(1)
    lab.recorded.start()
    lab.recover()


standstill = faults.lasting(lambda lab: faults.frozen([lab.recorded.pid]), 2.0, 5.0, ZooKeeper.recover)
"""The recorded server stands still for some seconds, then goes on."""


WORK = (
    r"operation=(?!server)|Got user-level|Processing \w{4} command|not in the whitelist|auth (packet|success)"
    r"|old client"
    r"|Expiring session|Processing request|Creating new log|Snapshotting|(Committing|Submitting) global"
    r"|attempting to (renew|establish)|[rR]evalidat|Invalid session|(Too many|accepting new) connection"
    r"|Authentication failed|quota|\bDEBUG\b|Closed? (socket|session)"
)
"""Lines that ordinary requests and upkeep cause."""
_WORK = re.compile(WORK)
_GONE = re.compile("NIOServerCnxn.*Unexpected exception")
"""A client went away, as happens every other second."""
_EXPIRED = re.compile("Expiring session|Invalid session|DeletionOnSessionClose")


def server_lines(entry: Entry, interval: Interval) -> bool:
    """The ensemble's and the server's own lines: all but those of requests and upkeep."""
    line = entry.lines[0]
    ordinary = _WORK.search(line) or _GONE.search(line)
    # The thread that follows or leads closes all connections when it no longer can.
    closing = "[QuorumPeer[" in line and " DEBUG " in line
    return interval.contains(entry.time, 0.5) and (closing or not ordinary)


def restart_lines(entry: Entry, interval: Interval) -> bool:
    """The same, and the nodes of sessions that ended before the start, which it reads from its log."""
    return server_lines(entry, interval) or (
        interval.contains(entry.time) and "DeletionOnSessionClose" in entry.lines[0]
    )


def outage_lines(entry: Entry, interval: Interval) -> bool:
    """The same, and clients that gave up waiting or whose sessions expired."""
    line = entry.lines[0]
    lost = _GONE.search(line) or _EXPIRED.search(line)
    return server_lines(entry, interval) or (interval.contains(entry.time) and lost is not None)


def refused(entry: Entry, interval: Interval) -> bool:
    """Orders that may not be made or deleted."""
    line = entry.lines[0]
    return interval.contains(entry.time, 0.1) and (
        re.search(r"operation=(create|delete)\t.*/shop/orders/.*result=failure", line) is not None
        or re.search(r"type:(create|delete) .*txntype:-1 reqpath:/shop/orders/", line) is not None
    )


FAULTS = {
    "server_killed": Fault(server_killed, restart_lines),
    "peer_killed": Fault(peer_killed, server_lines),
    "leader_killed": Fault(leader_killed, outage_lines, often=False),
    "quorum_lost": Fault(quorum_lost, outage_lines, often=False),
    "peer_stands_still": Fault(peer_stands_still, outage_lines, often=False),
    "leader_unreachable": Fault(leader_unreachable, outage_lines, often=False),
    "too_many_connections": Fault(too_many_connections),
    "sessions_expire": Fault(sessions_expire),
    "session_storm": Fault(session_storm, visible="order"),
    "surge": Fault(surge, visible="order"),
    "brute_force": Fault(brute_force),
    "wrong_scheme": Fault(wrong_scheme, says("No authentication provider|Authentication failed")),
    "malformed_packets": Fault(malformed_packets, says(r"session 0x0\b(?!.*/127)|Len error|Unreasonable")),
    "probing": Fault(probing, says("Stat command output", r"Command (?!cons)\w+ is not executed"), visible="order"),
    "rights_revoked": Fault(rights_revoked, refused),
    "disk_full": Fault(disk_full, restart_lines, often=False),
    "corrupted_file": Fault(corrupted_file, restart_lines, often=False),
    "broken_configuration": Fault(broken_configuration, restart_lines, often=False),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, outage_lines, visible="silence", often=False),
}


def clean_restart(lab: ZooKeeper) -> None:
    """What an administrator does after an update."""
    lab.recorded.stop()
    lab.recorded.start()
    lab.recover()


def peer_restart(lab: ZooKeeper) -> None:
    """The same, for another server."""
    peer = lab.servers[lab.rng.choice([2, 3])]
    peer.stop()
    peer.start()
    lab.recover()


SERVICE = Service(
    name="zookeeper",
    lab=ZooKeeper,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "peer_restart": peer_restart},
)
