"""Redis with a replica behind a shop, whose scripts write to the log too: faults, and which entries a fault caused."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES
from recordings.labels import GRACE, INJECTOR_ADDRESS, Entry, Interval, any_of, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, children_of, make_folder, wait_until
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/redis")
PORT, REPLICA_PORT = 6379, 6380


@dataclass(frozen=True)
class Settings:
    """Detail of the log, and how the data are kept."""

    level: str
    append_only: bool
    pace: float  # steps per second of one client


SETTINGS = {
    "verbose": Settings("verbose", True, 1.9),
    "notice": Settings("notice", True, 3.4),
    "debug": Settings("debug", False, 1.7),
}

CONFIGURATION = """\
bind 127.0.0.1
daemonize no
logfile ""
loglevel {level}
dir {home}/{folder}
appendonly {append_only}
auto-aof-rewrite-min-size 48kb
save 2 5
maxclients 70
timeout 0
repl-timeout 4
repl-ping-replica-period 1
repl-diskless-sync-delay 0
repl-backlog-size 64kb
busy-reply-threshold 400
client-output-buffer-limit pubsub 512kb 256kb 5
crash-log-enabled no
masterauth admin-pass
user default on >admin-pass ~* &* +@all
user app on >app-pass ~* &* +@all -@dangerous -@admin
"""


class Answer(Exception):
    """An error that the server answers."""


LOST = (OSError, Answer)
"""What a client gets when the server fails it."""


class Link:
    """A connection from `address` that speaks the server's protocol."""

    def __init__(self, address: str, user: str = "app", password: str | None = None, port: int = PORT) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 8.0, (address, 0))
        self._answers = self.socket.makefile("rb")
        self.call("AUTH", user, f"{'admin' if user == 'default' else user}-pass" if password is None else password)

    def call(self, *words: object) -> object:
        """One command; its answer. Raises `Answer` for an error, `OSError` when the connection ends."""
        self.send(*words)
        return self._read()

    def send(self, *words: object) -> None:
        """One command, without waiting."""
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def _read(self) -> object:
        line = self._answers.readline()
        if not line:
            raise ConnectionResetError("the server closed the connection")
        kind, rest = line[:1], line[1:].strip().decode(errors="replace")
        if kind == b"-":
            raise Answer(rest)
        if kind == b"$":
            return None if rest == "-1" else self._answers.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def close(self, abruptly: bool = False) -> None:
        """Hang up, or reset the connection."""
        if abruptly:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._answers.close()
        self.socket.close()


class Redis(Lab):
    """A primary whose data lie on a small disk, and its replica; both write to the same log."""

    settings: Settings
    log = HOME / "log" / "redis.log"

    def start(self) -> None:
        """Both servers, and some data."""
        make_folder(HOME / "log", "redis")
        faults.mount_small_disk(HOME / "data", "8m", "redis")
        make_folder(HOME / "replica", "redis")
        self.write_configuration()
        self.follower = LogFollower(self.log)
        self.primary = self.server("primary.conf", PORT)
        self.replica = self.server("replica.conf", REPLICA_PORT)
        self.primary.start()
        with contextlib.closing(Link(CLIENT_ADDRESSES[0])) as link:
            for number in range(1, 200):
                link.call("SET", f"item:{number}", f"price {number % 90}.99 " + "x" * 60)
                link.call("HSET", f"stock:{number}", "amount", 100000, "shelf", number % 12)
            link.call("LPUSH", "jobs", "mail", "invoice")
        self.replica.start()
        self.wait_for_replica()

    def server(self, configuration: str, port: int) -> Daemon:
        """One of the servers; what it says before it has a log goes to the log as well."""
        return Daemon(
            ["redis-server", HOME / configuration, "--port", str(port)], self.log, lambda: self.pongs(port), "redis"
        )

    def pongs(self, port: int) -> bool:
        """Whether a server answers, after it has loaded its data."""
        try:
            with contextlib.closing(Link(CLIENT_ADDRESSES[6], "default", port=port)) as link:
                return link.call("PING") == "PONG"
        except LOST:
            time.sleep(0.1)
            return False

    def wait_for_replica(self) -> None:
        """Until the replica follows the primary again."""
        with contextlib.closing(Link(CLIENT_ADDRESSES[6], "default", port=REPLICA_PORT)) as link:
            wait_until(lambda: "link_status:up" in str(link.call("INFO", "replication")), 20, "the replica follows")

    def recover(self) -> None:
        """Wait for the replica, and half a second more."""
        self.wait_for_replica()
        time.sleep(0.5)

    def write_configuration(self, extra: str = "") -> None:
        """Write the configurations, with `extra` at the end of the primary's."""
        for name, folder, more in (
            ("primary", "data", extra),
            ("replica", "replica", f"replicaof 127.0.0.1 {PORT}\nbind-source-addr {CLIENT_ADDRESSES[6]}\nsave ''"),
        ):
            append_only = "yes" if self.settings.append_only and name == "primary" else "no"
            text = CONFIGURATION.format(home=HOME, level=self.settings.level, folder=folder, append_only=append_only)
            (HOME / f"{name}.conf").write_text(f"{text}{more}\n")

    def employ_clients(self) -> None:
        """The shop's processes, and an administrator."""
        for number in range(9):
            self.crew.start(Application(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).work)
        self.crew.start(Administrator(self, CLIENT_ADDRESSES[6], self.client_rng(9)).work)

    def stop(self) -> None:
        """Both servers."""
        self.replica.stop()
        self.primary.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), parse)


# --- the log ---------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^(\d+):([MSCX]) \d+ \w+ \d{4} \d\d:\d\d:\d\d\.\d{3} ([-.*#]) (.*)$")
_ADDRESS = re.compile(r"(?<![\d.])127\.0\.0\.[2-9]\b")


def parse(line: str) -> Head | None:
    """A line of either server (its role as `process`), or what it says before it has a log."""
    if found := _LINE.match(line):
        host = _ADDRESS.search(found[4])
        return Head(found[4], int(found[1]), found[2], host[0] if host else None, None, found[3])
    return Head(line, process="console") if line.startswith("*** ") else None


ORDINARY = re.compile(
    r"^(Accepted |Client closed (?!.* flags=[MS])|Reading from client|Error (writing to|reading from) client"
    r"|\d+ changes in \d+ seconds|Background saving|DB saved|DB \d+: |Fork CoW|\d+ clients connected"
    r"|Background (AOF|append)|Parent agreed|Concatenating|SYNC append|AOF rewrite|Successfully|Removing the history"
    r"|Residual parent|Starting automatic|Creating AOF|Renamed|- )|^(?!Partial).* (from|at|by) 127\.0\.0\."
)
"""What clients, saves and rewrites write on an ordinary day."""


def odd(entry: Entry, interval: Interval) -> bool:
    """Whatever is not written on an ordinary day, until the fault is repaired."""
    repaired = interval.repair is not None and entry.time >= interval.repair
    return interval.contains(entry.time, GRACE) and not repaired and ORDINARY.search(entry.message) is None


# --- ordinary work ---------------------------------------------------------------------------------------------------

COMMANDS = (
    "GET item:{item}",
    "GET item:{item}",
    "HGETALL stock:{item}",
    "SET cart:{customer} item{item} EX 600",
    "LPUSH jobs mail{customer}",
    "RPOP jobs",
    "ZADD hits {customer} page:{item}",
    "EXPIRE cart:{customer} 900",
    "PUBLISH orders {item}",
)
MESSAGES = (
    ("NOTICE", "order {number} from {address}: {few} items for customer {customer}"),
    ("NOTICE", "order {number} from {address}: {few} items for customer {customer}"),
    ("NOTICE", "cart {customer} from {address} put aside for {number} s"),
    ("NOTICE", "session {number} from {address} renewed"),
    ("NOTICE", "price of item {item} read by {address}, cached for {few} min"),
    ("NOTICE", "job {number} taken by {address}, {few} left in queue mail"),
    ("NOTICE", "job {number} done by {address} in {number} ms"),
    ("NOTICE", "coupon GIFT{number} used from {address}"),
    ("NOTICE", "visit counted: page {item} from {address}"),
    ("VERBOSE", "cache hit: item {item} asked by {address}"),
    ("VERBOSE", "lock item {item} held by {address} for {few} ms"),
    ("DEBUG", "script started by {address}, memory {number} kB"),
)
SLIPS = (
    ("WARNING", "payment of order {number} from {address} failed: card declined"),
    ("WARNING", "stock of item {item} is low ({few} left), asked by {address}"),
    ("WARNING", "job {number} by {address} timed out, retry {few}"),
    ("WARNING", "warning: cart {customer} from {address} has expired"),
    ("NOTICE", "lock on item {item} not acquired by {address}, held elsewhere"),
    ("WARNING", "error in job {number} by {address}: mailbox of customer {customer} is full"),
)
SCRIPT = "redis.call('HINCRBY', KEYS[1], 'count', 1) redis.log(redis.LOG_%s, ARGV[1]) return 1"
REPORT = "#!lua flags=no-writes,allow-oom,allow-stale\nredis.log(redis.LOG_WARNING, ARGV[1])"


def filled(rng: random.Random, template: str, address: str) -> str:
    """A template with numbers."""
    return template.format(
        item=rng.randint(1, 199),
        customer=rng.randint(1, 90),
        number=rng.randint(100, 9999),
        few=rng.randint(1, 9),
        address=address,
    )


def log_through_script(link: Link, rng: random.Random, level: str, template: str, address: str) -> None:
    """Change something and write to the log."""
    link.call("EVAL", SCRIPT % level, 1, f"count:{rng.randint(1, 20)}", filled(rng, template, address))


class Client:
    """Someone whose connection is renewed now and then, and who reports errors to the log."""

    user = "app"

    def __init__(self, lab: Redis, address: str, rng: random.Random) -> None:
        self.lab, self.address, self.rng = lab, address, rng
        self.link: Link | None = None
        self.left = 0

    def step(self, link: Link) -> None:
        """One thing that it does."""
        raise NotImplementedError

    def work(self) -> None:
        """One step, and a pause."""
        try:
            if self.link is None or self.left == 0:
                self.leave()
                self.link, self.left = Link(self.address, self.user), self.rng.randint(2, 8)
            self.left -= 1
            self.step(self.link)
        except Answer as error:
            self.report(error)
        except OSError:
            self.leave()
            self.lab.crew.stopping.wait(0.3)
        self.lab.crew.stopping.wait(self.rng.expovariate(self.lab.settings.pace))

    def report(self, error: Answer) -> None:
        """Write an error to the log, as far as that works."""
        with contextlib.suppress(*LOST):
            if self.link is not None:
                self.link.call("EVAL", REPORT, 0, f"{self.user} at {self.address} got: {error}")

    def leave(self, abruptly: bool = False) -> None:
        """Hang up."""
        link, self.link = self.link, None
        if link is not None:
            link.close(abruptly)


class Application(Client):
    """A process of the shop."""

    def step(self, link: Link) -> None:
        """Mostly scripts, some plain commands, the usual slips."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.07:
            log_through_script(link, rng, *rng.choice(SLIPS), self.address)
        elif chance < 0.12:
            self.slip(link)
        elif chance < 0.7:
            log_through_script(link, rng, *rng.choice(MESSAGES), self.address)
        else:
            for _ in range(rng.randint(1, 4)):
                link.call(*filled(rng, rng.choice(COMMANDS), self.address).split())

    def slip(self, link: Link) -> None:
        """The wrong command, type, password or script, or gone without a word."""
        kind = self.rng.randrange(6)
        if kind == 0:
            link.call("LPUSH", "item:7", "x")
        elif kind == 1:
            link.call("EVALSHA", "f" * 40, 0)
        elif kind == 2:
            link.call("CONFIG", "GET", "maxmemory")
        elif kind == 3:
            link.call("GTE", "item:7")
        elif kind == 4:
            with contextlib.closing(Link(self.address, "app", "aap-pass")):
                pass
        else:
            self.leave(abruptly=True)


class Administrator(Client):
    """Looks at the server now and then, and saves by hand."""

    user = "default"

    def step(self, link: Link) -> None:
        """One look."""
        chance = self.rng.random()
        if chance < 0.1:
            link.call("BGSAVE")
        elif chance < 0.14 and self.lab.settings.append_only:
            link.call("BGREWRITEAOF")
        else:
            link.call(
                *self.rng.choice(["INFO stats", "CLIENT LIST", "SLOWLOG GET 5", "DBSIZE", "LATENCY RESET"]).split()
            )
        self.lab.crew.stopping.wait(1.0)


# --- faults ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def intruder(user: str = "default") -> Iterator[Link]:
    """A connection of the injector's."""
    link = Link(INJECTOR_ADDRESS, user)
    try:
        yield link
    finally:
        link.close()


killed = faults.lasting(lambda lab: faults.down(lab.primary), 0.5, 2.5, Redis.recover)
"""SIGKILL to the primary; someone starts it again."""


replica_killed = faults.lasting(lambda lab: faults.down(lab.replica), 0.5, 2.0, Redis.recover)
"""SIGKILL to the replica; someone starts it again."""


replica_cut_off = faults.lasting(
    lambda lab: faults.network_cut(PORT, source=CLIENT_ADDRESSES[6]), 5.0, 6.5, Redis.recover
)
"""The network between the replica and the primary drops everything until both give up."""


def saved(lab: Redis) -> None:
    """Wait for a save that succeeds."""
    with intruder() as link:

        def succeeds() -> bool:
            with contextlib.suppress(Answer):
                link.call("BGSAVE")
            time.sleep(0.3)
            said = str(link.call("INFO", "persistence"))
            return "last_bgsave_status:ok" in said and "last_write_status:ok" in said

        wait_until(succeeds, 15, "a save succeeds")


def save_killed(lab: Redis, interval: Interval) -> None:
    """Something kills the children that save."""
    for _ in range(lab.rng.randint(2, 4)):
        with intruder() as link:
            with contextlib.suppress(Answer):
                link.call("CONFIG", "SET", "rdb-key-save-delay", 5000)
            with contextlib.suppress(Answer):
                link.call("BGSAVE")
            link.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        for pid in children_of(lab.primary.pid):
            interval.touched[pid] = datetime.now(UTC)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        lab.hold(0.3, 1.0)
    saved(lab)


disk_full = faults.lasting(lambda lab: faults.full_disk(HOME / "data"), 3.5, 5.0, saved)
"""No room for the data; the server refuses to change anything until a save succeeds."""


folder_read_only = faults.lasting(lambda lab: faults.permissions(HOME / "data", 0o555, 0o755), 3.5, 5.0, saved)
"""Someone takes away the permission to write to the data's folder."""


connections_exhausted = faults.lasting(lambda lab: faults.held_connections(PORT, 80), 1.5, 3.0)
"""Someone opens connections and says nothing, until there are none left."""


MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: shop.example.org\r\n\r\n",
    b"POST /api HTTP/1.1\r\nHost: a\r\n\r\n",
    b"*99999999\r\n$3\r\nGET\r\n",
    b"*2\r\n+GET\r\n",
    b"*2\r\n$-7\r\nGET\r\n",
    b"GET 'item:7\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    b"SSH-2.0-Go\r\n",
)

malformed_requests = faults.garbage(PORT, MALFORMED, 10, 30, timeout=0.15)
"""Other protocols, and impossible lengths."""


def guess_password(lab: Redis, number: int) -> None:
    """Someone guesses passwords, each on a connection of its own; all that shows is that they come and go."""
    with contextlib.suppress(*LOST):
        Link(INJECTOR_ADDRESS, lab.rng.choice(["app", "default", "root"]), f"password{number}").close()


def surge(lab: Redis, interval: Interval) -> None:
    """One address does the ordinary things far too often."""
    for _ in range(lab.rng.randint(8, 20)):
        with intruder("app") as link:
            for _ in range(lab.rng.randint(3, 8)):
                log_through_script(link, lab.rng, *lab.rng.choice(MESSAGES[:9]), INJECTOR_ADDRESS)


def endless_script(lab: Redis, interval: Interval) -> None:
    """A script does not end, and nobody else gets an answer, until someone kills it."""
    with intruder() as runaway:
        runaway.send("EVAL", "while true do end", 0)
        lab.hold(1.5, 3.0)
        with contextlib.closing(Link(INJECTOR_ADDRESS, "default")) as link, contextlib.suppress(Answer):
            link.call("SCRIPT", "KILL")
    time.sleep(0.3)


def slow_subscriber(lab: Redis, interval: Interval) -> None:
    """A subscriber does not read, and what waits for it grows beyond the limit."""
    for _ in range(lab.rng.randint(2, 5)):
        with intruder() as deaf, intruder() as link:
            deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.send("SUBSCRIBE", "films")
            time.sleep(0.05)
            with contextlib.suppress(*LOST):
                for _ in range(60):
                    link.call("PUBLISH", "films", "z" * 100_000)
        lab.hold(0.1, 0.5)


def memory_limit(lab: Redis, interval: Interval) -> None:
    """A memory limit that has been reached; nothing can be stored."""
    with intruder() as link:
        link.call("CONFIG", "SET", "maxmemory", "1mb")
        lab.hold(2.0, 4.0)
        link.call("CONFIG", "SET", "maxmemory", "0")


def rights_lost(lab: Redis, interval: Interval) -> None:
    """The application may not run scripts or write any more."""
    rights = lab.rng.choice(["hincrby", "set", "lpush", "zadd"]) if lab.rng.random() < 0.3 else "hincrby"
    with intruder() as link:
        link.call("ACL", "SETUSER", "app", f"-{rights}")
        lab.hold(2.0, 4.0)
        link.call("ACL", "SETUSER", "app", f"+{rights}")


def made_replica(lab: Redis, interval: Interval) -> None:
    """Someone makes the primary follow a server that does not exist; it accepts no changes meanwhile."""
    with intruder() as link:
        link.call("REPLICAOF", "127.0.0.1", "7777")
        lab.hold(2.5, 4.5)
        link.call("REPLICAOF", "NO", "ONE")
    lab.recover()


BAD_LINES = ("maxmemroy 64mb", "save 900", "port 6379x", "appendfsync often", "user app on >", "loglevel loud")


broken_configuration = faults.broken_restart(lambda lab: lab.primary, BAD_LINES, 4, 0.2, 0.6, Redis.recover)


def corrupted_data(lab: Redis, interval: Interval) -> None:
    """The data's file is damaged while the server is down; a copy brings it back."""
    lab.primary.stop()
    time.sleep(0.3)
    interval.start = datetime.now(UTC)
    folder = HOME / "data/appendonlydir"
    file = max(folder.glob("*.aof"), key=lambda path: path.name) if folder.exists() else HOME / "data/dump.rdb"
    copy = HOME / "copy"
    shutil.copy2(file, copy)
    with file.open("r+b") as damaged:
        damaged.seek(lab.rng.choice([0, 3]))
        damaged.write(b"\x00damaged\xff" * 3)
    for _ in range(lab.rng.randint(1, 3)):
        faults.start_in_vain(lab.primary)
        lab.hold(0.2, 0.5)
    shutil.copyfile(copy, file)
    interval.repair = datetime.now(UTC)
    lab.primary.start()
    lab.recover()


def saves_stopped(lab: Redis, interval: Interval) -> None:
    """The periodic saves have been switched off; nothing else changes."""
    with contextlib.closing(Link(CLIENT_ADDRESSES[6], "default")) as link:
        link.call("CONFIG", "SET", "save", "")
        lab.hold(5.0, 7.0)
        link.call("CONFIG", "SET", "save", "2 5")


standstill = faults.lasting(lambda lab: faults.frozen(lab.primary.pids()), 2.0, 3.2)
"""The primary stands still for some seconds, then goes on."""


REFUSED = says(
    r"got: (MISCONF|OOM|READONLY|BUSY|ERR The user executing|NOPERM .*(hincrby|'set'|lpush|zadd)|LOADING|.*MISCONF)"
)
FAILED_SAVE = says(
    "No space left|Permission denied|Read-only|[Bb]ackground saving error|rewrite terminated with error|Failed|rror"
    "|looks solved|Can't|MISCONF|Short write|Starting automatic rewriting"
)


refused_or_odd = any_of(REFUSED, odd)
"""Errors that clients got, and whatever is not written on any day."""


def unsaved(entry: Entry, interval: Interval) -> bool:
    """Saves and rewrites that failed, and the writes refused because of it."""
    own = "at 127" not in entry.message and "by 127" not in entry.message and "from 127" not in entry.message
    return REFUSED(entry, interval) or (own and FAILED_SAVE(entry, interval))


save_signalled = any_of(REFUSED, says("by signal 9"))
"""Saves that the signal ended, and the writes refused because of it."""


limited = any_of(REFUSED, says("the new maxmemory value"))
"""Changes that were refused, and the server's complaint about the limit."""


def logs_connections(settings: Settings) -> bool:
    """Whether the log shows who comes and goes."""
    return settings.level != "notice"


FAULTS = {
    "killed": Fault(killed, refused_or_odd),
    "replica_killed": Fault(replica_killed, odd, often=False),
    "replica_cut_off": Fault(replica_cut_off, odd),
    "save_killed": Fault(save_killed, save_signalled),
    "disk_full": Fault(disk_full, unsaved),
    "folder_read_only": Fault(folder_read_only, unsaved),
    "connections_exhausted": Fault(connections_exhausted, visible="order", possible=logs_connections),
    "malformed_requests": Fault(malformed_requests, says("SECURITY ATTACK|Protocol error"), possible=logs_connections),
    "brute_force": Fault(
        faults.repeated(guess_password, 15, 40, pause=0.05), visible="order", possible=logs_connections
    ),
    "surge": Fault(surge, visible="order"),
    "endless_script": Fault(endless_script, says("Slow script|script killed|got: BUSY|SCRIPT KILL")),
    "slow_subscriber": Fault(slow_subscriber),
    "memory_limit": Fault(memory_limit, limited),
    "rights_lost": Fault(rights_lost, REFUSED),
    "made_replica": Fault(made_replica, refused_or_odd),
    "broken_configuration": Fault(broken_configuration, refused_or_odd, often=False),
    "corrupted_data": Fault(corrupted_data, refused_or_odd, often=False),
    "saves_stopped": Fault(saves_stopped, visible="silence", often=False),
    "standstill": Fault(standstill, visible="silence", often=False),
}


def clean_restart(lab: Redis) -> None:
    """What an administrator does after an update."""
    lab.primary.stop()
    lab.primary.start()
    lab.recover()


def replica_restart(lab: Redis) -> None:
    """The replica's turn."""
    lab.replica.stop()
    lab.replica.start()
    lab.recover()


def upkeep(lab: Redis) -> None:
    """Saves and rewritten files by hand, a setting changed and written down."""
    with contextlib.closing(Link(CLIENT_ADDRESSES[6], "default")) as link:
        for words in ("BGSAVE", "BGREWRITEAOF", "CONFIG SET maxmemory 0", "CONFIG SET save 2 5"):
            with contextlib.suppress(Answer):
                link.call(*words.split(maxsplit=3))
            lab.hold(0.2, 0.5)


SERVICE = Service(
    name="redis",
    lab=Redis,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "replica_restart": replica_restart, "upkeep": upkeep},
)
