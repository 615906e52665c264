"""Mosquitto with a bridge to a partner's broker: ordinary devices, faults, and which entries a fault caused."""

import contextlib
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, Client, send_raw
from recordings.labels import FAILED_START, INJECTOR_ADDRESS, Entry, Interval, failed_start, says
from recordings.logs import Head, LogFollower, read_from, size_of, split_entries
from recordings.processes import Daemon, answers, make_folder
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/mosquitto")
PORT, TLS_PORT, PARTNER_PORT = 1883, 8883, 1884
MAX_CONNECTIONS = 40


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    lines: str  # of the configuration
    pace: float  # sessions per second of one client


SETTINGS = {
    "epoch": Settings("", 0.9),
    "dated": Settings(
        "log_timestamp_format %b %e %H:%M:%S\n"
        + "".join(f"log_type {kind}\n" for kind in ("error", "warning", "notice", "information", "subscribe")),
        0.75,
    ),
    "all": Settings("log_timestamp_format %Y-%m-%dT%H:%M:%S\nlog_type all", 0.22),
}

CONFIGURATION = """\
per_listener_settings false
user mosquitto
allow_anonymous false
password_file {home}/passwords
acl_file {home}/acl
persistence true
persistence_location {home}/data/
autosave_interval 7
max_inflight_messages 5
max_queued_messages 10
log_dest stderr
{lines}
listener {port} 127.0.0.1
max_connections {most}
listener {tls} 127.0.0.1
certfile {home}/tls/server.pem
keyfile {home}/tls/server.key
connection partner
address 127.0.0.1:{partner}
topic alarms/# out 1
keepalive_interval 5
restart_timeout 1
{extra}
"""
PARTNER_CONFIGURATION = "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n"

PASSWORDS = {"meter": "correct horse", "sensor": "battery staple", "display": "staple battery", "monitor": "ping"}
ACCESS = "".join(f"user {user}\ntopic readwrite {user}s/#\ntopic read news/#\n\n" for user in PASSWORDS).replace(
    "user sensor\n", "user sensor\ntopic write alarms/#\ntopic read meters/#\n"
)


class Mosquitto(Lab):
    """The broker, and the partner's broker that it passes alarms on to."""

    settings: Settings
    log = HOME / "log" / "mosquitto.log"
    data = HOME / "data"
    configuration = HOME / "mosquitto.conf"

    def start(self) -> None:
        """Files, certificates, both brokers."""
        make_folder(self.log.parent)
        faults.mount_small_disk(self.data, "1m", "mosquitto")
        self.authority = CertificateAuthority(HOME / "tls")
        for name in ("good", "expired"):
            self.authority.issue(name, expired=name == "expired", owner="mosquitto")
        self.authority.install("good")
        self.write_passwords(PASSWORDS)
        (HOME / "acl").write_text(ACCESS)
        (HOME / "acl").chmod(0o644)
        self.write_configuration()
        self.careful = False
        self.door = threading.Lock()
        """Held while someone logs in, so that `<unknown>` clients in the log are the last one that came."""
        (HOME / "partner.conf").write_text(PARTNER_CONFIGURATION.format(port=PARTNER_PORT))
        self.partner = Daemon(
            ["mosquitto", "-c", HOME / "partner.conf"], HOME / "partner.txt", lambda: answers(PARTNER_PORT)
        )
        self.partner.start()
        self.follower = LogFollower(self.log)
        self.broker = Daemon(["mosquitto", "-c", self.configuration], self.log, self.is_ready)
        self.start_broker()

    def write_configuration(self, extra: str = "") -> None:
        """Write the configuration, with `extra` lines at its end."""
        text = CONFIGURATION.format(
            home=HOME,
            lines=self.settings.lines,
            port=PORT,
            tls=TLS_PORT,
            partner=PARTNER_PORT,
            most=MAX_CONNECTIONS,
            extra=extra,
        )
        self.configuration.write_text(text)

    def write_passwords(self, passwords: dict[str, str]) -> None:
        """Write the file of users."""
        path = HOME / "passwords.new"
        path.write_text("".join(f"{user}:{password}\n" for user, password in passwords.items()))
        subprocess.run(["mosquitto_passwd", "-U", path], check=True)
        path.chmod(0o644)
        path.rename(HOME / "passwords")

    def is_ready(self) -> bool:
        """Whether it said so since its last start."""
        return b" running" in read_from(self.log, self.started_at)

    def start_broker(self, seconds: float = 20.0) -> None:
        """Start the broker."""
        self.started_at = size_of(self.log)
        self.broker.start(seconds)

    @contextlib.contextmanager
    def killed_broker(self) -> Iterator[None]:
        """The broker is killed, and starts again."""
        self.broker.stop(signal.SIGKILL)
        yield
        self.start_broker()

    def reload(self) -> None:
        """Have the broker read its files again."""
        self.broker.send(signal.SIGHUP)
        time.sleep(0.2)

    def use_certificate(self, name: str) -> None:
        """Have the broker read another certificate."""
        self.authority.install(name)
        self.reload()

    def let_in(self, address: str, name: str, user: str, password: str, **more: object) -> "Session":
        """Log in; the door is held until the log tells how that went."""
        with self.door:
            try:
                return Session(address, name, user, password, **more)  # type: ignore[arg-type]
            except OSError:
                time.sleep(0.03)
                raise

    def employ_clients(self) -> None:
        """Meters, sensors, displays, TLS clients, a monitor."""
        for number in range(6):
            self.crew.start(Device(self, CLIENT_ADDRESSES[number % 5], self.client_rng(number)).report)
        for number in range(6, 9):
            self.crew.start(Device(self, CLIENT_ADDRESSES[number - 4], self.client_rng(number), number).watch)
        for number in range(9, 11):
            self.crew.start(Device(self, CLIENT_ADDRESSES[5], self.client_rng(number)).whisper)
        self.crew.start(Device(self, CLIENT_ADDRESSES[6], self.client_rng(11)).probe)

    def stop(self) -> None:
        """Both brokers."""
        self.broker.stop()
        self.partner.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), Parser())


# --- the log ---------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^(?:\d{9,}|\w{3} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT[\d:]{8}): (.*)$")
_NEW = re.compile(r"^New connection from ([\d.]+):\d+ on port")
_NAMED = re.compile(r"^New client connected from ([\d.]+):\d+ as (\S+) ")
_DIRECT = re.compile(r" (?:from|to) (127\.\d+\.\d+\.\d+)\b")
_NAME = re.compile(r"(?<![\w/'])[a-z]+-\d+(?:-\d+)?\b")


class Parser:
    """Reads line after line; a client's later lines have its name only, and some lines belong to the one above."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.newcomer: str | None = None
        self.above: str | None = None

    def __call__(self, line: str) -> Head | None:
        """The head of an entry; None for a further line of the same event."""
        match = _LINE.match(line)
        if match is None:
            return None
        self.above = self.address(match[1])
        return Head(match[1], remote_host=self.above)

    def address(self, message: str) -> str | None:
        """The address of the client that a line is about."""
        if new := _NEW.match(message):
            self.newcomer = new[1]
            return new[1]
        if named := _NAMED.match(message):
            self.addresses[named[2]] = named[1]
            return named[1]
        if direct := _DIRECT.search(message):
            return direct[1]
        if message.startswith(("\t", "No will message", "Will message specified")):
            return self.above
        if message.startswith("OpenSSL Error") or "<unknown>" in message:
            return self.newcomer
        name = _NAME.search(message)
        return self.addresses.get(name[0]) if name else None


# --- clients ---------------------------------------------------------------------------------------------------------


class Refused(OSError):
    """The broker did not let the client in."""


def text(value: str) -> bytes:
    """A string of MQTT."""
    return struct.pack(">H", len(value)) + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    """A packet of MQTT."""
    size, length = b"", len(body)
    while True:
        length, digit = divmod(length, 128)
        size += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


class Session:
    """One MQTT 3.1.1 connection: enough of the protocol to work and to misbehave."""

    def __init__(
        self,
        address: str,
        name: str,
        user: str,
        password: str,
        *,
        keepalive: int = 60,
        clean: bool = True,
        will: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        port = TLS_PORT if tls else PORT
        self.link = socket.create_connection(("127.0.0.1", port), timeout=6.0, source_address=(address, 0))
        try:
            self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.link = tls.wrap_socket(self.link, server_hostname="localhost")
            flags = 0xC0 | clean * 0x02 | will * 0x04
            body = text("MQTT") + bytes([4, flags]) + struct.pack(">H", keepalive) + text(name)
            body += text(f"{user}s/gone") + text("gone") if will else b""
            self.link.sendall(packet(0x10, body + text(user) + text(password)))
            answer = self.link.recv(4)
            if len(answer) < 4 or answer[3]:
                raise Refused(f"connection refused: {answer!r}")
        except BaseException:
            self.link.close()
            raise

    def publish(self, topic: str, message: str, number: int = 0, retain: bool = False) -> None:
        """Send a message; with a number, once it arrives for sure."""
        body = text(topic) + (struct.pack(">H", number) if number else b"") + message.encode()
        self.link.sendall(packet(0x30 | (2 if number else 0) | retain, body))
        if number:
            self.drain()

    def subscribe(self, *topics: str) -> None:
        """Subscribe."""
        body = struct.pack(">H", 1) + b"".join(text(topic) + b"\x01" for topic in topics)
        self.link.sendall(packet(0x82, body))
        self.drain()

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe."""
        self.link.sendall(packet(0xA2, struct.pack(">H", 2) + text(topic)))
        self.drain()

    def ping(self) -> None:
        """Send a keep-alive."""
        self.link.sendall(packet(0xC0, b""))
        self.drain()

    def drain(self) -> None:
        """Read what comes, and acknowledge nothing."""
        if not self.link.recv(4096):
            raise Refused("the broker hung up")

    def close(self) -> None:
        """Disconnect properly."""
        with contextlib.suppress(OSError):
            self.link.sendall(packet(0xE0, b""))
            self.link.shutdown(socket.SHUT_WR)
        self.link.close()


class Device(Client):
    """A meter, sensor or display, with the usual slips."""

    def __init__(self, lab: Mosquitto, address: str, rng: random.Random, number: int = 0) -> None:
        super().__init__(lab, address, rng)
        self.number = number
        self.tls = ssl.create_default_context(cafile=HOME / "tls/ca.pem")
        self.stranger = ssl.create_default_context()

    def session(self, user: str, password: str | None = None, **more: object) -> Session:
        """A session of one of the devices."""
        name = f"{user}-{self.number or self.rng.randint(20, 80)}"
        return self.lab.let_in(self.address, name, user, password or PASSWORDS[user], **more)

    def report(self) -> None:
        """A short session to report a value, and a pause."""
        slips: Sequence[Callable[[], object]] = (
            self.mistyped,
            self.mistyped,
            self.vanish,
            self.vanish,
            self.asleep,
            self.confused,
            self.confused,
            self.confused,
            self.twice,
            self.silent,
        )
        with contextlib.suppress(OSError):
            self.rng.choice(slips if self.rng.random() < 0.25 else [self.value])()
        self.pause()

    def value(self, tls: ssl.SSLContext | None = None) -> None:
        """Report values."""
        user = self.rng.choice(["meter", "meter", "sensor"])
        session = self.session(user, will=self.rng.random() < 0.2, tls=tls)
        try:
            for number in range(self.rng.randint(1, 3)):
                topic = "alarms/heat" if user == "sensor" and self.rng.random() < 0.4 else f"{user}s/{number}/value"
                topic = "meters2/x" if self.rng.random() < 0.04 else topic  # which it may not write
                session.publish(topic, str(self.rng.random()), self.rng.choice([0, number + 1]))
            self.lab.crew.stopping.wait(self.rng.uniform(0, 0.2))
        finally:
            session.close()

    def mistyped(self) -> None:
        """A wrong password or user."""
        if not self.lab.careful:
            user, password = self.rng.choice([("meter", "correct hrose"), ("sensor", "battery"), ("metre", "x")])
            self.session(user, password)

    def vanish(self) -> None:
        """Leave without a word."""
        session = self.session("meter", will=self.rng.random() < 0.5)
        session.publish("meters/1/value", "1")
        session.link.close()

    def asleep(self) -> None:
        """Promise keep-alives, and sleep."""
        session = self.session("sensor", keepalive=1)
        self.lab.crew.stopping.wait(3.0)
        session.link.close()

    def confused(self) -> None:
        """Send what makes no sense, after login."""
        session = self.session("meter")
        session.link.sendall(self.rng.choice([packet(0xF0, b"\0"), packet(0x36, text("a")), packet(0x20, b"\0\0")]))
        with contextlib.suppress(OSError):
            session.drain()
        session.link.close()

    def twice(self) -> None:
        """Come back before the old session has ended."""
        with self.lab.door:
            name = f"display-{self.rng.randint(10, 19)}"
            first = Session(self.address, name, "display", PASSWORDS["display"])
            second = Session(self.address, name, "display", PASSWORDS["display"])
        second.close()
        first.link.close()

    def silent(self) -> None:
        """Connect, and leave before login."""
        with self.lab.door:
            socket.create_connection(("127.0.0.1", PORT), 5.0, (self.address, 0)).close()
            time.sleep(0.02)

    def watch(self) -> None:
        """A display's session of some seconds, and a pause."""
        with contextlib.suppress(OSError):
            session = self.session("display", clean=self.rng.random() < 0.7, keepalive=30)
            try:
                session.subscribe(*self.rng.sample(["displays/all", "news/#", "displays/1", "news/today"], 2))
                for _ in range(self.rng.randint(1, 4)):
                    self.lab.crew.stopping.wait(self.rng.uniform(0.3, 1.0))
                    session.ping()
                    if self.rng.random() < 0.3:
                        session.publish("displays/all", "refresh", retain=True)
                if self.rng.random() < 0.4:
                    session.unsubscribe("news/#")
            finally:
                session.close()
        self.pause()

    def whisper(self) -> None:
        """One session over TLS, sometimes of someone who does not know the authority, and a pause."""
        with contextlib.suppress(OSError):
            self.value(tls=self.stranger if self.rng.random() < 0.4 else self.tls)
        self.pause()

    def probe(self) -> None:
        """The monitor looks in every second; a fault may silence it."""
        self.lab.watch(self.check, 1.0)

    def check(self) -> None:
        """One visit of the monitor."""
        with contextlib.suppress(OSError):
            session = self.session("monitor")
            session.publish(f"monitors/{self.rng.randint(1, 9)}", "state " * 1000, retain=True)
            session.close()


# --- faults ----------------------------------------------------------------------------------------------------------


def intrude(lab: Mosquitto, name: str, user: str = "meter", password: str = "", **more: object) -> Session | None:
    """A session of the injector, or None if it is refused."""
    with contextlib.suppress(OSError):
        return lab.let_in(INJECTOR_ADDRESS, name, user, password or PASSWORDS[user], **more)
    return None


def guess_password(lab: Mosquitto, number: int) -> None:
    """Someone guesses passwords; each line is that of an ordinary slip."""
    user = lab.rng.choice(["meter", "sensor", "admin", "root"])
    intrude(lab, f"{user}-{number}", user, f"pass{number}")


def connection_storm(lab: Mosquitto, interval: Interval) -> None:
    """A device in a loop: it comes, says a word and leaves, again and again; every line is ordinary."""
    name = f"meter-{lab.rng.randint(20, 80)}"
    for number in range(lab.rng.randint(20, 50)):
        with contextlib.suppress(OSError):
            if session := intrude(lab, f"{name}-{number}"):
                session.publish("meters/1/value", "1")
                session.close()
        time.sleep(0.02)


def stolen_name(lab: Mosquitto, interval: Interval) -> None:
    """A second device uses a display's name: each drives the other out."""
    for _ in range(lab.rng.randint(6, 15)):
        session = intrude(lab, f"display-{lab.rng.choice([6, 7, 8])}", "display")
        lab.hold(0.1, 0.4)
        if session:
            session.close()
            time.sleep(0.05)


def snoop(lab: Mosquitto, interval: Interval) -> None:
    """Someone with a sensor's password asks for everything, one topic after another, under ever new names."""
    for number in range(lab.rng.randint(10, 25)):
        with contextlib.suppress(OSError):
            if session := intrude(lab, f"sensor-{number + 100}", "sensor"):
                session.subscribe(*lab.rng.sample(["meters/#", "alarms/#", "displays/#", "news/#", "$SYS/#"], 3))
                session.close()
        lab.hold(0.02, 0.1)


def connection_limit(lab: Mosquitto, interval: Interval) -> None:
    """Someone's sessions are never closed: no connections are left."""
    held = [intrude(lab, f"meter-{number + 100}") for number in range(MAX_CONNECTIONS)]
    lab.hold(1.5, 3.0)
    for session in held:
        if session:
            session.link.close()
    time.sleep(0.3)


def missed_keepalive(lab: Mosquitto, interval: Interval) -> None:
    """Devices that promise a keep-alive every second, and freeze."""
    held = [intrude(lab, f"sensor-{number + 100}", "sensor", keepalive=1) for number in range(lab.rng.randint(5, 15))]
    time.sleep(5.0)
    for session in held:
        if session:
            session.link.close()


def slow_consumer(lab: Mosquitto, interval: Interval) -> None:
    """A subscriber that acknowledges nothing; its messages pile up and are dropped."""
    with contextlib.suppress(OSError):
        session = intrude(lab, "sensor-100", "sensor")
        writer = intrude(lab, "meter-100")
        if session and writer:
            session.subscribe("meters/#")
            for number in range(1, lab.rng.randint(20, 40)):
                writer.publish("meters/1/value", "1", number)
            lab.hold(0.5, 1.5)
            session.link.close()
            writer.close()
    time.sleep(0.1)


def garbage(lab: Mosquitto, interval: Interval) -> None:
    """Something that is not MQTT, or only half of it."""
    pieces = (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        packet(0x10, text("MQTT") + b"\x09\x02\0\x3c" + text("a")),
        packet(0x10, text("XQTT") + b"\x04\x02\0\x3c" + text("a")),
        packet(0x10, text("MQTT") + b"\x04\xc2\0\x3c" + text("a") + b"\0\xff"),
        packet(0x30, text("meters/1") + b"x"),
        b"\x10\xff\xff\xff\xff\xff",
    )
    for _ in range(lab.rng.randint(10, 25)):
        with lab.door:
            send_raw(PORT, lab.rng.choice(pieces), INJECTOR_ADDRESS, timeout=0.15)
            time.sleep(0.03)
        lab.hold(0.0, 0.1)


killed = faults.lasting(Mosquitto.killed_broker, 0.8, 2.0)
"""SIGKILL to the broker; it starts again."""


BRIDGE_RETURNS = 7.0
"""Seconds from a break until the bridge tries again."""


def partner_killed(lab: Mosquitto, interval: Interval) -> None:
    """The partner's broker dies; the bridge waits, and tries again."""
    begun = time.monotonic()
    lab.partner.stop(signal.SIGKILL)
    lab.hold(2.0, 4.5)
    lab.partner.start()
    time.sleep(max(0.5, begun + BRIDGE_RETURNS - time.monotonic()))


def partner_unreachable(lab: Mosquitto, interval: Interval) -> None:
    """The network between the brokers is cut."""
    begun = time.monotonic()
    with faults.network_cut(PARTNER_PORT, reset=True):
        lab.hold(3.0, 5.0)
    time.sleep(max(0.5, begun + BRIDGE_RETURNS + 1 - time.monotonic()))


BAD_LINES = (
    "max_conections 40",
    "autosave_interval often",
    "listener many",
    "connection partner",
    "log_type everything",
    "include_dir",
)


broken_configuration = faults.broken_reloads(BAD_LINES, Mosquitto.reload, 4, 0.2, 1.0)


def passwords_lost(lab: Mosquitto, interval: Interval) -> None:
    """A reload with an old file of users: meters may not log in; their lines are those of ordinary slips."""
    lab.careful = True  # nobody mistypes meanwhile, so that every refusal is the fault's
    time.sleep(0.3)
    interval.start = datetime.now(UTC)
    lab.write_passwords({user: password for user, password in PASSWORDS.items() if user != "meter"})
    lab.reload()
    lab.hold(4.0, 6.0)
    lab.write_passwords(PASSWORDS)
    lab.reload()
    lab.careful = False


def disk_full(lab: Mosquitto, interval: Interval) -> None:
    """No room for the broker's database."""
    with faults.full_disk(lab.data):
        for _ in range(lab.rng.randint(2, 4)):
            lab.broker.send(signal.SIGUSR1)
            lab.hold(0.5, 1.0)


def unwritable_folder(lab: Mosquitto, interval: Interval) -> None:
    """Someone takes away the permission to write where the broker saves."""
    shutil.chown(lab.data, "root", "root")
    lab.data.chmod(0o700)
    for _ in range(lab.rng.randint(2, 4)):
        lab.broker.send(signal.SIGUSR1)
        lab.hold(0.5, 1.0)
    lab.data.chmod(0o755)
    shutil.chown(lab.data, "mosquitto", "mosquitto")


def corrupted_database(lab: Mosquitto, interval: Interval) -> None:
    """After a clean stop the saved sessions are damaged: the broker does not start until they come from a copy."""
    lab.broker.stop()
    time.sleep(0.1)  # until the last line of that has been read
    path, copy = lab.data / "mosquitto.db", HOME / "copy.db"
    shutil.copy2(path, copy)
    data = bytearray(path.read_bytes())
    size = lab.rng.choice([8, 14])
    data[:size] = b"damaged" * 2 if size == 14 else bytes(size)
    path.write_bytes(data)
    interval.touched[FAILED_START] = datetime.now(UTC)
    with contextlib.suppress(RuntimeError, TimeoutError):
        lab.start_broker(1.5)
    lab.broker.stop(signal.SIGKILL)
    time.sleep(0.1)
    interval.repair = datetime.now(UTC)
    shutil.copyfile(copy, path)
    shutil.chown(path, "mosquitto", "mosquitto")
    lab.start_broker()


expired_certificate = faults.lasting(lambda lab: faults.swapped(lab.use_certificate, "expired", "good"), 5.0, 7.0)
"""The broker's certificate has expired; its TLS clients turn away."""


monitor_silent = faults.lasting(faults.silent_monitor, 5.0, 7.0)
"""The monitor's visits stop; nothing else changes."""


standstill = faults.lasting(lambda lab: faults.frozen([lab.broker.pid]), 2.0, 3.0)
"""The broker stands still for some seconds, then goes on."""


BRIDGE_COMES = says(r"[Bb]ridge|Client local|connection local|(UNSUBACK|SUBACK) from local")
"""What the broker says when the bridge comes or goes; not what passes over it."""


def broker_lines(entry: Entry, interval: Interval) -> bool:
    """Whatever the broker itself says until it is back; sessions of ordinary clients are their own."""
    return entry.remote_host is None and (interval.contains(entry.time) or BRIDGE_COMES(entry, interval))


FAULTS = {
    "brute_force": Fault(faults.repeated(guess_password, 15, 40, pause=0.05)),
    "connection_storm": Fault(connection_storm, visible="order"),
    "stolen_name": Fault(stolen_name, says(r"display-[678] already connected"), visible="order"),
    "snoop": Fault(snoop, visible="order"),
    "connection_limit": Fault(connection_limit, says(r"max_connections")),
    "missed_keepalive": Fault(missed_keepalive),
    "slow_consumer": Fault(slow_consumer, often=False),
    "garbage": Fault(garbage),
    "killed": Fault(killed, broker_lines),
    "partner_killed": Fault(partner_killed, BRIDGE_COMES, often=False),
    "partner_unreachable": Fault(partner_unreachable, BRIDGE_COMES, often=False),
    "broken_configuration": Fault(broken_configuration, says(r"Reloading|: Error", grace=0.1)),
    "passwords_lost": Fault(passwords_lost, says(r"not authorised|Reloading", grace=0.0)),
    "disk_full": Fault(disk_full, says(r"Error saving|: Error: ")),
    "unwritable_folder": Fault(unwritable_folder, says(r"Error saving|: Error: ")),
    "corrupted_database": Fault(corrupted_database, failed_start, often=False),
    "expired_certificate": Fault(expired_certificate, says(r"certificate expired"), often=False),
    "monitor_silent": Fault(monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, visible="silence", often=False),
}


def clean_restart(lab: Mosquitto) -> None:
    """What an administrator does after an update."""
    lab.broker.stop()
    lab.start_broker()


def valid_reload(lab: Mosquitto) -> None:
    """A reload that changes nothing that matters."""
    lab.write_configuration(extra=lab.rng.choice(["", "max_queued_bytes 100000", "sys_interval 20"]))
    lab.reload()


def saved(lab: Mosquitto) -> None:
    """An administrator has the broker save its sessions before a backup."""
    lab.broker.send(signal.SIGUSR1)
    time.sleep(0.2)


SERVICE = Service(
    name="mosquitto",
    lab=Mosquitto,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "saved": saved},
)
