"""RabbitMQ with AMQP, STOMP and TLS clients and a shovel: ordinary work, faults, and which entries a fault caused."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, Client, receive, send_raw
from recordings.labels import FAILED_START, INJECTOR_ADDRESS, Entry, Interval, failed_start, says, whole_text
from recordings.logs import Head, LogFollower, read_from, size_of, split_entries
from recordings.processes import Daemon, answers, make_folder
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/rabbitmq")
PORT, PARTNER_PORT, TLS_PORT, STOMP_PORT = 5672, 5673, 5671, 61613
COOKIE = "RECORDINGSRECORDINGS"
MAX_CONNECTIONS = 40


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    lines: str  # of the configuration
    pace: float  # sessions per second of one client


SETTINGS = {
    "plain": Settings("log.console.level = info\nlog.console.use_colors = off", 0.75),
    "json": Settings("log.console.level = info\nlog.console.formatter = json", 0.75),
    "verbose": Settings(
        "log.console.level = debug\nlog.default.level = info\nlog.connection.level = debug\n"
        "log.channel.level = debug\nlog.console.use_colors = off\n"
        "log.console.formatter.time_format = rfc3339_T\nlog.console.formatter.level_format = uc4\n"
        "log.console.formatter.plaintext.format = $time $level $pid $msg",
        0.45,
    ),
}

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.tcp.2 = 127.0.0.1:{partner}
listeners.ssl.1 = 127.0.0.1:{tls}
stomp.listeners.tcp.1 = 127.0.0.1:{stomp}
ssl_options.cacertfile = {home}/tls/ca.pem
ssl_options.certfile = {home}/tls/server.pem
ssl_options.keyfile = {home}/tls/server.key
ssl_options.versions.1 = tlsv1.2
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
log.console = true
log.file = false
{lines}
handshake_timeout = 2500
disk_free_limit.absolute = 24MB
{extra}
"""

PASSWORDS = {"orders": "correct horse", "billing": "battery staple", "reports": "staple battery", "monitor": "ping"}
QUEUES = ("orders", "invoices", "mail", "stock", "audit")

SETUP = f"""
rabbit_disk_monitor:set_min_check_interval(300), rabbit_disk_monitor:set_max_check_interval(600),
[case rabbit_auth_backend_internal:exists(U) of
    true -> ok;
    false -> rabbit_auth_backend_internal:add_user(U, P, <<"admin">>),
             rabbit_auth_backend_internal:set_permissions(U, <<"/">>, C, <<".*">>, <<".*">>, <<"admin">>)
 end || {{U, P, C}} <- [{", ".join(f'{{<<"{u}">>, <<"{p}">>, <<"^[a-z]+$">>}}' for u, p in PASSWORDS.items())}]],
rabbit_vhost_limit:set(<<"/">>, [{{<<"max-connections">>, {MAX_CONNECTIONS}}}], <<"admin">>).
"""
SHOVEL = f"""
rabbit_runtime_parameters:set(<<"/">>, <<"shovel">>, <<"to-partner">>, [
    {{<<"src-protocol">>, <<"amqp091">>}}, {{<<"src-uri">>, <<"amqp://">>}}, {{<<"src-queue">>, <<"audit">>}},
    {{<<"dest-protocol">>, <<"amqp091">>}}, {{<<"dest-queue">>, <<"archive">>}}, {{<<"reconnect-delay">>, 2}},
    {{<<"dest-uri">>, <<"amqp://billing:battery%20staple@127.0.0.1:{PARTNER_PORT}/%2f?heartbeat=2&connection_timeout=1000">>}}
], none).
"""
NO_SHOVEL = 'rabbit_runtime_parameters:clear(<<"/">>, <<"shovel">>, <<"to-partner">>, <<"admin">>).'


class RabbitMQ(Lab):
    """One node, the port mapper it needs, and a shovel that carries messages to a partner."""

    settings: Settings
    log = HOME / "log" / "rabbitmq.log"
    data = HOME / "data"
    configuration = HOME / "rabbitmq.conf"

    def start(self) -> None:
        """Files, certificates, port mapper, node, users, shovel."""
        make_folder(HOME / "log")
        faults.mount_small_disk(self.data, "120m", "rabbitmq")
        cookie = self.data / ".erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)
        os.chown(cookie, self.data.stat().st_uid, self.data.stat().st_gid)
        (HOME / "plugins").write_text("[rabbitmq_stomp,rabbitmq_shovel].\n")
        (HOME / "inetrc").write_text("{lookup, [file]}.\n")
        self.authority = CertificateAuthority(HOME / "tls")
        for name in ("good", "expired"):
            self.authority.issue(name, expired=name == "expired", owner="rabbitmq")
        self.authority.install("good")
        self.write_configuration()
        self.planting = False
        self.serving, self.telling = threading.Event(), threading.Lock()
        self.follower = LogFollower(self.log)
        self.epmd = Daemon(["epmd", "-address", "127.0.0.1"], HOME / "epmd.txt", lambda: answers(4369), "rabbitmq")
        self.epmd.start()
        self.node = Daemon(
            ["/usr/lib/rabbitmq/bin/rabbitmq-server"], self.log, self.is_ready, "rabbitmq", self.environment()
        )
        self.start_node()
        self.tell(SHOVEL)

    def environment(self) -> dict[str, str]:
        """Where the node finds everything; it sleeps when idle, and writes no dumps."""
        return {
            "HOME": str(self.data),
            "HOSTNAME": "localhost",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.configuration.with_suffix("")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(HOME / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_PID_FILE": str(self.data / "pid"),
            "RABBITMQ_LOG_BASE": str(self.data),
            "ERL_INETRC": str(HOME / "inetrc"),  # no name servers: none can be reached
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def write_configuration(self, extra: str = "") -> None:
        """Write the configuration, with `extra` lines at its end."""
        self.configuration.write_text(
            CONFIGURATION.format(
                home=HOME,
                port=PORT,
                partner=PARTNER_PORT,
                tls=TLS_PORT,
                stomp=STOMP_PORT,
                lines=self.settings.lines,
                extra=extra,
            )
        )

    def is_ready(self) -> bool:
        """Whether it said so since its last start."""
        return b"Server startup complete" in read_from(self.log, self.started_at)

    def start_node(self) -> None:
        """Start the node and make sure that users and limits exist."""
        self.started_at = size_of(self.log)
        self.node.start(90)
        self.tell(SETUP)
        self.serving.set()

    def stop_node(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the node: in good order, or its Erlang machine at once."""
        self.serving.clear()
        with self.telling:
            if how == signal.SIGKILL:
                os.kill(self.machine(), how)
            self.node.stop()

    @contextlib.contextmanager
    def killed_machine(self) -> Iterator[None]:
        """The Erlang machine is killed, and the node starts again."""
        self.stop_node(signal.SIGKILL)
        yield
        self.start_node()

    def tell(self, expressions: str) -> str:
        """Have the node evaluate Erlang, as its control tool does."""
        for _ in range(20):
            with self.telling:  # all calls have one name, which the node lets in once at a time
                done = subprocess.run(
                    ["erl_call", "-sname", "rabbit@localhost", "-c", COOKIE, "-e"],
                    input=f"{expressions.strip()}\n".encode(),
                    capture_output=True,
                    env={**self.environment(), "PATH": "/usr/bin:/bin"},
                    timeout=20,
                )
            if b"failed to connect" not in done.stderr:
                return done.stdout.decode()
            time.sleep(0.1)
        raise RuntimeError(f"the node does not listen: {done.stderr.decode()}")

    def use_certificate(self, name: str) -> None:
        """Have the node read another certificate."""
        self.authority.install(name)
        self.tell("ssl:clear_pem_cache().")

    def machine(self) -> int:
        """Process id of the Erlang machine."""
        return next(pid for pid in self.node.pids() if Path(f"/proc/{pid}/comm").read_text().startswith("beam"))

    def employ_clients(self) -> None:
        """Workers, STOMP and TLS clients, a monitor, an administrator."""
        for number in range(6):
            self.crew.start(Worker(self, CLIENT_ADDRESSES[number % 5], self.client_rng(number)).work)
        for number in range(6, 8):
            self.crew.start(Worker(self, CLIENT_ADDRESSES[number - 3], self.client_rng(number)).talk)
        self.crew.start(Worker(self, CLIENT_ADDRESSES[5], self.client_rng(8)).whisper)
        self.crew.start(Worker(self, CLIENT_ADDRESSES[6], self.client_rng(9)).probe)
        self.crew.start(Administrator(self, self.client_rng(10)).manage)

    def stop(self) -> None:
        """The node, then the port mapper that outlives it."""
        self.node.stop()
        self.epmd.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        entries = split_entries(self.follower.close(), Parser())
        return [
            replace(entry, remote_host=INJECTOR_ADDRESS)
            if any(INJECTOR_ADDRESS in line for line in entry.lines)
            else entry
            for entry in entries  # reports of several lines tell the peer further down
        ]


# --- the log ---------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\S+) \[?(\w+)\]? (<\d+\.\d+\.\d+>) ?(.*)$")
_PEER = re.compile(r"(<\d+\.\d+\.\d+>) \((\d+\.\d+\.\d+\.\d+):\d+ ->")


class Parser:
    """Reads line after line. Lines of one event share time and process; a connection's process belongs to its peer."""

    def __init__(self) -> None:
        self.peers: dict[str, str] = {}
        self.newcomer = ""
        self.last: tuple[str, ...] = ()

    def __call__(self, line: str) -> Head | None:
        """The head of an entry; None for a further line of the same event."""
        if line.startswith('{"time"'):
            row = json.loads(line)
            return self.head(row["msg"], row["pid"], row["level"])
        match = _LINE.match(line)
        if match is None:  # the console's own words are events when something ends, else they belong to the line above
            return Head(line) if line == "Killed" or line.startswith(" completed with") else None
        event, self.last = self.last, (match[1], match[2], match[3])
        return None if event == self.last else self.head(match[4], match[3], match[2])

    def head(self, message: str, process: str, level: str) -> Head:
        """One event, with the peer's address where the connection is known."""
        if "Starting RabbitMQ" in message or "Feature flags: list of" in message:
            self.peers.clear()  # a new node numbers its processes from the start
        if message.startswith("User '") and process not in self.peers:
            self.peers[process] = self.newcomer  # STOMP logs in through a process of its own
        if peer := _PEER.search(message):
            self.peers[peer[1]] = peer[2]
            if message.startswith("accepting STOMP"):
                self.newcomer = peer[2]
            return Head(message, 0, process, peer[2], None, level)
        return Head(message, 0, process, self.peers.get(process), None, level)


tells = partial(says, text=whole_text, flags=re.IGNORECASE)
"""Entries that match one of these regular expressions anywhere while the fault is on."""


# --- clients ---------------------------------------------------------------------------------------------------------


class Refused(OSError):
    """The node closed the session or the channel."""


def short(text: str) -> bytes:
    """A short string of AMQP."""
    return bytes([len(text)]) + text.encode()


def long(data: bytes) -> bytes:
    """A long string or table of AMQP."""
    return struct.pack(">I", len(data)) + data


class Session:
    """One AMQP 0-9-1 connection with one channel: enough of the protocol to work and to misbehave."""

    def __init__(
        self,
        address: str,
        user: str,
        password: str,
        vhost: str = "/",
        name: str = "",
        heartbeat: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        port = TLS_PORT if tls else PORT
        self.link = socket.create_connection(("127.0.0.1", port), timeout=9.0, source_address=(address, 0))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if tls:
                self.link = tls.wrap_socket(self.link, server_hostname="localhost")
            self.link.sendall(b"AMQP\0\0\x09\x01")
            self.expect((10, 10))
            abilities = long(short("authentication_failure_close") + b"t\x01")
            properties = short("capabilities") + b"F" + abilities
            properties += short("connection_name") + b"S" + long(name.encode()) if name else b""
            answer = short("PLAIN") + long(f"\0{user}\0{password}".encode()) + short("en_US")
            self.send(0, 10, 11, long(properties) + answer)
            self.expect((10, 30))
            self.send(0, 10, 31, struct.pack(">HIH", 64, 131072, heartbeat))
            self.send(0, 10, 40, short(vhost) + short("") + b"\0")
            self.expect((10, 41))
            self.send(1, 20, 10, short(""))
            self.expect((20, 11))
        except BaseException:
            self.link.close()
            raise

    def frame(self, kind: int, channel: int, payload: bytes) -> None:
        """Send one frame."""
        self.link.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    def send(self, channel: int, klass: int, method: int, arguments: bytes = b"") -> None:
        """Send one method."""
        self.frame(1, channel, struct.pack(">HH", klass, method) + arguments)

    def expect(self, *wanted: tuple[int, int]) -> None:
        """Read until one of these methods; `Refused` if the node closes instead."""
        while True:
            kind, _, size = struct.unpack(">BHI", receive(self.link, 7))
            payload = receive(self.link, size + 1)
            if kind != 1:
                continue
            method = struct.unpack(">HH", payload[:4])
            if method in wanted:
                return
            if method == (10, 50):
                self.send(0, 10, 51)
                raise Refused("connection closed by the node")
            if method == (20, 40):
                self.send(1, 20, 41)
                raise Refused("channel closed by the node")

    def declare(self, queue: str, durable: bool = True, passive: bool = False) -> None:
        """Declare a queue."""
        bits = passive * 1 + durable * 2
        self.send(1, 50, 10, b"\0\0" + short(queue) + bytes([bits]) + long(b""))
        self.expect((50, 11))

    def publish(self, queue: str, body: bytes, exchange: str = "") -> None:
        """Put a message into a queue."""
        self.send(1, 60, 40, b"\0\0" + short(exchange) + short(queue) + b"\0")
        self.frame(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0))
        self.frame(3, 1, body)

    def get(self, queue: str) -> None:
        """Fetch a message, if there is one."""
        self.send(1, 60, 70, b"\0\0" + short(queue) + b"\x01")
        self.expect((60, 71), (60, 72))

    def close(self) -> None:
        """Close properly."""
        try:
            self.send(0, 10, 50, struct.pack(">H", 200) + short("bye") + bytes(4))
            self.expect((10, 51))
        finally:
            self.link.close()


STOMP_DOOR = threading.Lock()
"""Held during a STOMP session, so that a login without an address belongs to the last client that came."""


def stomp(address: str, user: str, password: str, frames: str, bye: bool = True) -> None:
    """One STOMP session."""
    text = f"CONNECT\nlogin:{user}\npasscode:{password}\nhost:/\naccept-version:1.2\n\n\0{frames}"
    text += "DISCONNECT\nreceipt:bye\n\n\0" if bye else ""
    with (
        contextlib.suppress(OSError),
        STOMP_DOOR,
        socket.create_connection(("127.0.0.1", STOMP_PORT), timeout=9.0, source_address=(address, 0)) as link,
    ):
        link.sendall(text.encode())
        while part := link.recv(4096):
            if not bye or b"RECEIPT" in part or b"ERROR" in part:
                break
        time.sleep(0.02)


class Worker(Client):
    """A program that sends and fetches messages, with the usual slips."""

    def __init__(self, lab: RabbitMQ, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.tls = ssl.create_default_context(cafile=HOME / "tls/ca.pem")
        self.stranger = ssl.create_default_context()

    def session(self, **more: object) -> Session:
        """A session of one of the users."""
        user = self.rng.choice(["orders", "orders", "billing", "reports"])
        name = self.rng.choice(["", "", f"{user}-job-{self.rng.randint(1, 9)}"])
        return Session(self.address, user, **{"password": PASSWORDS[user], "name": name, **more})  # type: ignore[arg-type]

    def work(self) -> None:
        """One session over AMQP, and a pause."""
        slips: Sequence[Callable[[], object]] = (
            lambda: self.session(password=self.rng.choice(["correct hrose", "", "battery"])),
            lambda: self.session(vhost=self.rng.choice(["test", "shop"])),
            self.vanish,
            self.vanish,
            lambda: self.session().declare(self.rng.choice(["order", "invoice", "post"]), passive=True),
            lambda: self.session().declare(self.rng.choice(QUEUES), durable=False),
            lambda: self.session().declare("Archive2"),
            self.no_exchange,
            lambda: send_raw(PORT, b"", self.address, wait=False),
        )
        with contextlib.suppress(OSError):
            self.rng.choice([*slips] if self.rng.random() < 0.13 else [self.errand])()
        self.pause()

    def errand(self, **more: object) -> None:
        """Send or fetch some messages."""
        session = self.session(**more)
        queue = self.rng.choice(QUEUES)
        session.declare(queue)
        for _ in range(self.rng.randint(1, 4)):
            if self.rng.random() < 0.3:
                session.publish(queue, b"x" * self.rng.randint(20, 900))
            else:
                session.get(queue)
        self.lab.crew.stopping.wait(self.rng.uniform(0, 0.3))
        session.close()

    def vanish(self) -> None:
        """Leave without a word."""
        session = self.session()
        session.get("mail")
        session.link.close()

    def no_exchange(self) -> None:
        """Publish to an exchange that does not exist."""
        session = self.session()
        session.publish("mail", b"x", exchange=self.rng.choice(["events", "news"]))
        session.expect((60, 71))

    def talk(self) -> None:
        """One session over STOMP, and a pause."""
        user = self.rng.choice(["orders", "billing"])
        queue = self.rng.choice(QUEUES)
        message = f"SEND\ndestination:/amq/queue/{queue}\n\nhello\0"
        kind = self.rng.random()
        if kind < 0.05:
            stomp(self.address, user, "wrong", "")
        elif kind < 0.1:
            stomp(self.address, user, PASSWORDS[user], "SUBSCRIBE\nid:0\ndestination:/nowhere/a\n\n\0")
        else:
            stomp(self.address, user, PASSWORDS[user], message, bye=kind < 0.9)
        self.pause()

    def whisper(self) -> None:
        """One session over TLS, sometimes of someone who does not know the authority, and a pause."""
        with contextlib.suppress(OSError):
            self.errand(tls=self.stranger if self.rng.random() < 0.1 else self.tls)
        self.pause()

    def probe(self) -> None:
        """The monitor looks in twice a second; a fault may silence it."""
        self.lab.watch(self.check, 0.5)

    def check(self) -> None:
        """One visit of the monitor."""
        with contextlib.suppress(OSError):
            Session(self.address, "monitor", PASSWORDS["monitor"], name="monitor").close()


class Administrator:
    """Makes and removes users, permissions, policies and virtual hosts."""

    TASKS = (
        'rabbit_auth_backend_internal:add_user(<<"guest{n}">>, <<"secret{n}">>, <<"admin">>).',
        'rabbit_auth_backend_internal:change_password(<<"guest{n}">>, <<"geheim{n}">>, <<"admin">>).',
        'rabbit_auth_backend_internal:set_tags(<<"guest{n}">>, [monitoring], <<"admin">>).',
        'rabbit_auth_backend_internal:set_permissions(<<"guest{n}">>, <<"/">>, <<"">>, <<"">>, <<".*">>, <<"a">>).',
        'rabbit_auth_backend_internal:clear_permissions(<<"guest{n}">>, <<"/">>, <<"admin">>).',
        'rabbit_auth_backend_internal:delete_user(<<"guest{n}">>, <<"admin">>).',
        'rabbit_policy:set(<<"/">>, <<"length-{n}">>, <<"^tmp">>, [{{<<"max-length">>, 9}}], 1, <<"all">>, <<"a">>).',
        'rabbit_policy:delete(<<"/">>, <<"length-{n}">>, <<"admin">>).',
        'rabbit_vhost:put_vhost(<<"branch{n}">>, <<"a branch">>, <<"shop">>, false, <<"admin">>).',
        'rabbit_vhost:delete(<<"branch{n}">>, <<"admin">>).',
    )

    def __init__(self, lab: RabbitMQ, rng: random.Random) -> None:
        self.lab, self.rng = lab, rng

    def manage(self) -> None:
        """One task, and a pause."""
        if self.lab.serving.is_set() and not self.lab.planting:
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):  # it may just be ending
                self.lab.tell(self.rng.choice(self.TASKS).format(n=self.rng.randint(1, 3)))
        self.lab.crew.stopping.wait(self.rng.expovariate(1.0))


# --- faults ----------------------------------------------------------------------------------------------------------


killed = faults.lasting(RabbitMQ.killed_machine, 0.5, 1.5)
"""SIGKILL to the Erlang machine; the node starts again and recovers."""


BAD_LINES = (
    "vm_memory_high_watermark.relative = much",
    "disc_free_limit.absolute = 50MB",
    "log.console.level = loud",
    "heartbeat = often",
    "listeners.tcp.3 = 127.0.0.1:amqp",
)


def broken_configuration(lab: RabbitMQ, interval: Interval) -> None:
    """A restart with a configuration that is wrong: the node does not come up until someone mends it."""
    lab.stop_node()
    time.sleep(0.1)  # until the last line of that has been read
    interval.touched[FAILED_START] = datetime.now(UTC)
    lab.write_configuration(extra=lab.rng.choice(BAD_LINES))
    with contextlib.suppress(RuntimeError, TimeoutError):
        lab.start_node()
    interval.repair = datetime.now(UTC)
    lab.write_configuration()
    lab.start_node()


def brute_force(lab: RabbitMQ, interval: Interval) -> None:
    """Guessing passwords."""
    for number in range(lab.rng.randint(8, 20)):
        user = lab.rng.choice(["orders", "billing", "admin", "guest"])
        if lab.rng.random() < 0.4:
            stomp(INJECTOR_ADDRESS, user, f"pass{number}", "")
        else:
            with contextlib.suppress(OSError):
                Session(INJECTOR_ADDRESS, user, f"pass{number}")
        lab.hold(0.0, 0.1)


def connection_storm(lab: RabbitMQ, interval: Interval) -> None:
    """A client in a loop: it connects, asks nothing and leaves, again and again; every line is ordinary."""
    for _ in range(lab.rng.randint(25, 60)):
        with contextlib.suppress(OSError):
            Session(INJECTOR_ADDRESS, "reports", PASSWORDS["reports"]).close()


def stomp_storm(lab: RabbitMQ, interval: Interval) -> None:
    """A STOMP client in a loop; every line is ordinary."""
    for _ in range(lab.rng.randint(30, 60)):
        stomp(INJECTOR_ADDRESS, "orders", PASSWORDS["orders"], "", bye=lab.rng.random() < 0.9)


def channel_errors(lab: RabbitMQ, interval: Interval) -> None:
    """A deployment with the wrong names and types of queues; it tries and tries."""
    for _ in range(lab.rng.randint(8, 20)):
        with contextlib.suppress(OSError):
            session = Session(INJECTOR_ADDRESS, "orders", PASSWORDS["orders"])
            try:
                session.declare(lab.rng.choice(["orders", "orders", "order"]), durable=False, passive=False)
            finally:
                session.link.close()
        lab.hold(0.0, 0.1)


def connection_limit(lab: RabbitMQ, interval: Interval) -> None:
    """Someone's sessions are never closed: no more connections to the virtual host."""
    held = []
    try:
        for _ in range(MAX_CONNECTIONS):
            with contextlib.suppress(OSError):
                held.append(Session(INJECTOR_ADDRESS, "reports", PASSWORDS["reports"]))
        lab.hold(1.0, 2.5)
    finally:
        for session in held:
            session.link.close()
    time.sleep(0.5)


def missed_heartbeats(lab: RabbitMQ, interval: Interval) -> None:
    """Clients that promise a heartbeat every second, and freeze."""
    held = []
    for _ in range(lab.rng.randint(3, 8)):
        with contextlib.suppress(OSError):
            held.append(Session(INJECTOR_ADDRESS, "orders", PASSWORDS["orders"], name="frozen", heartbeat=1))
    time.sleep(3.5)
    for session in held:
        session.link.close()


def garbage(lab: RabbitMQ, interval: Interval) -> None:
    """Something that is not AMQP, a protocol too old, and a client that says nothing."""
    pieces = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"AMQP\x01\x01\x08\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"AMQP\0\0\x09\x01\x01\0\0\xff\xff\xff\xff",
        b"SSH-2.0-Go\r\n",
        b"AMQP",
    )
    for _ in range(lab.rng.randint(5, 12)):
        port = lab.rng.choice([PORT, PORT, STOMP_PORT])
        with STOMP_DOOR:
            send_raw(port, lab.rng.choice(pieces), INJECTOR_ADDRESS, timeout=0.3)
        lab.hold(0.0, 0.1)
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", PORT), 5.0, (INJECTOR_ADDRESS, 0)) as link,
    ):
        link.recv(10)  # until the node's patience ends


def set_watermark(lab: RabbitMQ, share: float) -> None:
    """Say what share of the memory the node may use."""
    lab.tell(f"vm_memory_monitor:set_vm_memory_high_watermark({share}).")


memory_alarm = faults.lasting(
    lambda lab: faults.swapped(partial(set_watermark, lab), 0.0001, 0.4), 2.0, 4.0, faults.settle(0.5)
)
"""The node's memory limit drops below what it uses; it blocks publishers."""


disk_alarm = faults.lasting(lambda lab: faults.full_disk(lab.data, leave=8 << 20), 2.5, 4.0, faults.settle(1.2))
"""Something else fills the disk that holds the messages."""


expired_certificate = faults.lasting(lambda lab: faults.swapped(lab.use_certificate, "expired", "good"), 7.0, 9.0)
"""The node's certificate has expired; its TLS clients turn away. It lasts until one of them has come."""


partner_unreachable = faults.lasting(
    lambda lab: faults.network_cut(PARTNER_PORT, reset=True), 2.2, 2.8, faults.settle(3.0)
)
"""The network between shovel and partner is cut; the shovel tries again every other second."""


def permissions_lost(lab: RabbitMQ, interval: Interval) -> None:
    """An administrator takes a user's permissions away by mistake."""
    lab.tell('rabbit_auth_backend_internal:clear_permissions(<<"orders">>, <<"/">>, <<"admin">>).')
    lab.hold(2.0, 4.0)
    rights = '<<"^[a-z]+$">>, <<".*">>, <<".*">>'
    lab.tell(f'rabbit_auth_backend_internal:set_permissions(<<"orders">>, <<"/">>, {rights}, <<"admin">>).')


def accounts_planted(lab: RabbitMQ, interval: Interval) -> None:
    """Someone makes accounts and virtual hosts in the ordinary way, far too many, and tidies up."""
    lab.planting = True  # the administrator rests, so that all of this is the fault's
    time.sleep(0.2)
    interval.start = datetime.now(UTC)
    numbers = lab.rng.sample(range(1, 10), lab.rng.randint(3, 6))
    tasks = Administrator.TASKS
    for number in numbers:
        for task in (tasks[0], tasks[2], tasks[3], *lab.rng.sample((tasks[1], tasks[8]), 1)):
            lab.tell(task.format(n=number))
    for number in numbers:
        for task in (tasks[5], tasks[9]):
            lab.tell(task.format(n=number))
    time.sleep(0.3)
    lab.planting = False


def queue_crash(lab: RabbitMQ, interval: Interval) -> None:
    """A queue's process dies; its supervisor starts it again."""
    for name in lab.rng.sample(QUEUES, lab.rng.randint(1, 3)):
        lookup = f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{name}">>))'
        lab.tell(f"{lookup}, exit(amqqueue:get_pid(Q), kill).")
        lab.hold(0.2, 0.8)


monitor_silent = faults.lasting(faults.silent_monitor, 4.0, 6.0)
"""The monitor's visits stop; nothing else changes."""


standstill = faults.lasting(lambda lab: faults.frozen([lab.machine()]), 1.5, 2.2)
"""The Erlang machine stands still for a while, then goes on."""


def node_lines(entry: Entry, interval: Interval) -> bool:
    """Whatever the node itself says meanwhile; sessions of ordinary clients are their own."""
    return interval.contains(entry.time) and entry.remote_host is None


def administration(entry: Entry, interval: Interval) -> bool:
    """What the node says of users and virtual hosts, and of the stores that come and go with these."""
    return node_lines(entry, interval) and ADMINISTRATION.search(whole_text(entry)) is not None


ADMINISTRATION = re.compile(
    r"guest\d|branch\d|vhost|virtual host|essage store|essage location|esetting|ecover|refcount"
)


FAULTS = {
    "killed": Fault(killed, node_lines, often=False),
    "broken_configuration": Fault(broken_configuration, failed_start, often=False),
    "brute_force": Fault(brute_force),
    "connection_storm": Fault(connection_storm, visible="order"),
    "stomp_storm": Fault(stomp_storm, visible="order"),
    "channel_errors": Fault(channel_errors),
    "connection_limit": Fault(
        connection_limit, tells(r"connection limit|vhost: 'none'|access (not allowed|denied)"), often=False
    ),
    "missed_heartbeats": Fault(missed_heartbeats),
    "garbage": Fault(garbage),
    "memory_alarm": Fault(memory_alarm, tells(r"memory|wal: opening")),
    "disk_alarm": Fault(disk_alarm, tells(r"disk")),
    "expired_certificate": Fault(expired_certificate, tells(r"certificate expired"), often=False),
    "partner_unreachable": Fault(
        partner_unreachable, tells(r"shovel|amqp_", rf"-> 127.0.0.1:{PARTNER_PORT}"), often=False
    ),
    "permissions_lost": Fault(
        permissions_lost,
        tells(
            r"permissions.*'orders'|'orders'.*permissions|refused for user 'orders'|vhost: 'none'",
            r"access (not allowed|denied)",
        ),
    ),
    "accounts_planted": Fault(accounts_planted, administration),
    "queue_crash": Fault(queue_crash, tells(r"crash|supervisor")),
    "monitor_silent": Fault(monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, tells(r"timeout"), visible="silence", often=False),
}


def clean_restart(lab: RabbitMQ) -> None:
    """What an administrator does after an update."""
    lab.stop_node()
    lab.start_node()


def shovel_renewed(lab: RabbitMQ) -> None:
    """The shovel is taken down and set up again."""
    lab.tell(NO_SHOVEL)
    time.sleep(0.5)
    lab.tell(SHOVEL)
    time.sleep(0.5)


def memory_limit_changed(lab: RabbitMQ) -> None:
    """An administrator moves the memory limit to where it does no harm."""
    set_watermark(lab, lab.rng.choice([0.4, 0.5, 0.6]))
    time.sleep(0.3)


def sessions_ended(lab: RabbitMQ) -> None:
    """An administrator ends the sessions of a user, as before an upgrade of its program."""
    lab.tell('rabbit_networking:close_all_user_connections(<<"reports">>, "Closed via management plugin").')
    time.sleep(0.5)


SERVICE = Service(
    name="rabbitmq",
    lab=RabbitMQ,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={
        "clean_restart": clean_restart,
        "shovel_renewed": shovel_renewed,
        "memory_limit_changed": memory_limit_changed,
        "sessions_ended": sessions_ended,
    },
)
