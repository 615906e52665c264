"""MariaDB behind a shop: error log, general or slow query log or audit, faults, and which entries a fault caused."""

import contextlib
import dataclasses
import os
import random
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES, Client, send_raw
from recordings.labels import GRACE, INJECTOR_ADDRESS, Entry, Interval, Rule, any_of, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, make_folder, run_tool
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/mariadb")
PORT = 3306
LOST = (pymysql.err.Error, OSError)
"""What a client meets when the server fails it."""
Session = Any  # a connection of PyMySQL, which has no types


@dataclass(frozen=True)
class Settings:
    """Which logs go into the one file, and how much of them."""

    lines: str  # of the configuration
    pace: float  # steps per second of one client
    probe: float  # seconds between two probes of the monitor


_ERRORS = f"plugin_load_add=sql_errlog\nsql_error_log_filename={HOME}/log/mariadb.log\n"
SETTINGS = {
    "general": Settings(
        f"log_warnings=4\ngeneral_log=1\ngeneral_log_file={HOME}/log/mariadb.log\n{_ERRORS}", 1.4, 0.6
    ),
    "slow": Settings(
        f"log_warnings=9\ninnodb_print_all_deadlocks=ON\nslow_query_log=1\nlong_query_time=0\n"
        f"slow_query_log_file={HOME}/log/mariadb.log\n{_ERRORS}",
        0.42,
        2.5,
    ),
    "audit": Settings(
        f"log_warnings=4\nplugin_load_add=server_audit\nserver_audit_logging=ON\nserver_audit_events=CONNECT,QUERY\n"
        f"server_audit_file_path={HOME}/log/mariadb.log\nserver_audit_file_rotate_size=500M\n",
        1.5,
        0.6,
    ),
}

CONFIGURATION = """\
[mariadbd]
datadir={home}/data
tmpdir={home}/tmp
port={port}
bind_address=127.0.0.1
socket={home}/mariadb.sock
pid_file={home}/mariadb.pid
log_error={home}/log/mariadb.log
innodb_buffer_pool_size=32M
innodb_log_file_size=8M
innodb_flush_log_at_trx_commit=2
innodb_lock_wait_timeout=1
innodb_temp_data_file_path=ibtmp1:4M:autoextend
max_connections=60
max_connect_errors=1000000
key_buffer_size=1M
aria_pagecache_buffer_size=8M
sort_buffer_size=8K
skip_name_resolve=ON
wait_timeout=60
{lines}
{extra}
"""

SCHEMA = """
CREATE DATABASE shop;
USE shop;
CREATE TABLE shop.products (id INT PRIMARY KEY, name VARCHAR(60), price DECIMAL(8,2), KEY (name));
CREATE TABLE shop.stock (product INT PRIMARY KEY, amount INT NOT NULL);
CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, product INT, customer INT, placed DATETIME,
    KEY (customer));
CREATE TABLE shop.carts (customer INT PRIMARY KEY, content VARCHAR(200));
CREATE TABLE shop.coupons (code CHAR(8) PRIMARY KEY, customer INT);
CREATE TABLE shop.hits (id INT AUTO_INCREMENT PRIMARY KEY, page VARCHAR(40), KEY (page)) ENGINE=MyISAM;
CREATE TABLE shop.uploads (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40), body MEDIUMTEXT);
INSERT INTO shop.products SELECT seq, CONCAT('product ', seq), seq % 90 + 0.99 FROM seq_1_to_400;
INSERT INTO shop.stock SELECT seq, 100000 FROM seq_1_to_400;
INSERT INTO shop.orders (product, customer, placed) SELECT seq % 400 + 1, seq % 50, NOW() FROM seq_1_to_3000;
INSERT INTO shop.coupons SELECT CONCAT('GIFT', seq + 1000), seq FROM seq_1_to_200;
INSERT INTO shop.hits (page) SELECT CONCAT('/page/', seq % 40) FROM seq_1_to_3000;
CREATE USER app@'127.%' IDENTIFIED BY 'app-pass';
CREATE USER report@'127.%' IDENTIFIED BY 'report-pass';
CREATE USER monitor@'127.%' IDENTIFIED BY 'monitor-pass';
CREATE USER dba@'127.%' IDENTIFIED BY 'dba-pass';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON shop.* TO report@'127.%';
GRANT SELECT ON shop.products TO app@'127.%';
GRANT SELECT, UPDATE ON shop.stock TO app@'127.%';
GRANT SELECT, INSERT ON shop.orders TO app@'127.%';
GRANT SELECT, INSERT, UPDATE ON shop.carts TO app@'127.%';
GRANT SELECT, INSERT ON shop.coupons TO app@'127.%';
GRANT SELECT, INSERT ON shop.hits TO app@'127.%';
GRANT SELECT, INSERT ON shop.uploads TO app@'127.%';
GRANT PROCESS ON *.* TO monitor@'127.%';
GRANT ALL ON *.* TO dba@'127.%' WITH GRANT OPTION;
"""


SORTED = "SELECT o.id, p.name FROM orders o JOIN products p ON p.id = o.product ORDER BY p.name, o.placed"
"""Needs a temporary file."""


def connect(user: str, address: str, password: str | None = None, database: str | None = "shop") -> Session:
    """A session from `address`."""
    return pymysql.connect(
        host="127.0.0.1",
        port=PORT,
        user=user,
        password=f"{user}-pass" if password is None else password,
        database=database,
        bind_address=address,
        autocommit=True,
        connect_timeout=8,
        read_timeout=12,
    )


def run(session: Session, *statements: str) -> None:
    """Statements one after another, each answer read."""
    with session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()


class Mariadb(Lab):
    """The server, its tables, and a small disk for temporary files."""

    settings: Settings
    log = HOME / "log" / "mariadb.log"
    configuration = HOME / "my.cnf"

    def start(self) -> None:
        """Folders, system tables, server, the shop's tables and users."""
        make_folder(HOME, "mysql")
        make_folder(HOME / "log", "mysql")
        faults.mount_small_disk(HOME / "tmp", "2m", "mysql")
        folders = (f"--datadir={HOME}/data", f"--tmpdir={HOME}/tmp")
        run_tool("mariadb-install-db", "--no-defaults", *folders, "--user=mysql", "--skip-test-db")
        self.write_configuration()
        self.follower = LogFollower(self.log)
        self.server = Daemon(
            ["mariadbd", f"--defaults-file={self.configuration}"], HOME / "console.txt", self.is_ready, "mysql"
        )
        self.server.start()
        subprocess.run(
            ["mariadb", "--no-defaults", "-uroot", f"-S{HOME}/mariadb.sock"], input=SCHEMA.encode(), check=True
        )

    def write_configuration(self, extra: str = "") -> None:
        """Write the configuration, with `extra` at its end."""
        self.configuration.write_text(
            CONFIGURATION.format(home=HOME, port=PORT, lines=self.settings.lines, extra=extra)
        )

    def is_ready(self) -> bool:
        """Whether the server says so; a probe by TCP would write to the log."""
        status = subprocess.run(
            ["mariadb-admin", "--no-defaults", "-uroot", f"-S{HOME}/mariadb.sock", "ping"], capture_output=True
        )
        time.sleep(0.1)
        return status.returncode == 0

    def employ_clients(self) -> None:
        """Shoppers, two analysts, an administrator, a monitor."""
        for number in range(6):
            self.crew.start(Shopper(self, CLIENT_ADDRESSES[number % 4], self.client_rng(number)).work)
        for number in (6, 7):
            self.crew.start(Analyst(self, CLIENT_ADDRESSES[4], self.client_rng(number)).work)
        self.crew.start(Administrator(self, CLIENT_ADDRESSES[6], self.client_rng(8)).work)
        self.crew.start(Monitor(self, CLIENT_ADDRESSES[5]).probe)

    def stop(self) -> None:
        """The server."""
        self.server.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written, each entry with the address of its session."""
        return with_later_addresses([settled(entry) for entry in split_entries(self.follower.close(), Reader().parse)])


# --- the log ---------------------------------------------------------------------------------------------------------

_DATE = r"\d{4}-\d\d-\d\d +\d+:\d\d:\d\d"
_ERROR = re.compile(rf"^{_DATE} (\d+) \[(\w+)\] (.*)$")
_STATEMENT_ERROR = re.compile(rf"^{_DATE} \S* @ \S* ?\[([\d.]*)\] (?:ERROR|WARNING) (\d+): (.*)$")
_GENERAL = re.compile(r"^(?:\d{6} +\d+:\d\d:\d\d)?\t+ *(\d+) (\w[\w ]*)\t(.*)$")
_AUDIT = re.compile(r"^\d{8} \d\d:\d\d:\d\d,[^,]*,[^,]*,([^,]*),(\d+),\d+,(\w+),[^,]*,(.*),(\d*)$")
_AUDIT_NOTE = re.compile(r"^\d{6} +\d+:\d\d:\d\d (server_audit: .*)$")
_CONNECT = re.compile(r"@([\d.]+) on ")
_ABORTED = re.compile(r"Aborted connection (\d+) to .* host: '([\d.]+)'")
_DENIED = re.compile(r"Access denied for user '.*'@'([\d.]+)'")
_SLOW_USER = re.compile(r"^# User@Host: .*\[([\d.]*)\]$")
_SLOW_SESSION = re.compile(r"^# Thread_id: (\d+) ")
_SLOW_TIME = re.compile(r"^# Query_time: ([\d.]+)")


class Reader:
    """Recognises the first line of an entry, and remembers from which address each session came.

    An entry's `pid` is the number of its session, 0 for the server itself.
    """

    def __init__(self) -> None:
        self.addresses: dict[int, str] = {}
        self._after_time = False
        self._slow_user = ""

    def parse(self, line: str) -> Head | None:
        """A line of one of the logs; None continues the entry above."""
        after_time, self._after_time = self._after_time, line.startswith("# Time: ")
        if user := _SLOW_USER.match(line):
            self._slow_user = user[1]
        elif session := _SLOW_SESSION.match(line):
            self.addresses[int(session[1])] = self._slow_user
        if self._after_time or (user and not after_time):
            return Head(line, process="slow")
        if general := _GENERAL.match(line):
            if host := _CONNECT.search(general[3]):
                self.addresses[int(general[1])] = host[1]
            return self._of_session(general[1], Head(general[3], process=general[2]))
        if audit := _AUDIT.match(line):
            self.addresses[int(audit[2])] = audit[1]
            return self._of_session(audit[2], Head(audit[4], process=audit[3], code=audit[5]))
        if error := _ERROR.match(line):
            return self._error(line, error)
        if statement := _STATEMENT_ERROR.match(line):
            return Head(statement[3], process="statement", remote_host=statement[1], code=statement[2])
        if note := _AUDIT_NOTE.match(line):
            return Head(note[1], process="server")
        if ", Version: " in line:
            return Head(line, process="server")
        return None

    def _error(self, line: str, error: re.Match[str]) -> Head:
        """A line of the error log; numbers of sessions begin again with the server."""
        if error[3].startswith("Starting MariaDB"):
            self.addresses.clear()
        if host := _ABORTED.search(line):
            self.addresses[int(host[1])] = host[2]
        elif denied := _DENIED.search(line):
            self.addresses[int(error[1])] = denied[1]
        process = "server" if error[1] == "0" else "session"
        return self._of_session(error[1], Head(error[3], process=process, severity=error[2]))

    def _of_session(self, session: str, head: Head) -> Head:
        return dataclasses.replace(head, pid=int(session), remote_host=self.addresses.get(int(session)))


def settled(entry: Entry) -> Entry:
    """The entry, completed from its later lines: who asked, how long it took, whom a deadlock hit."""
    host, code = entry.remote_host, entry.code
    for line in entry.lines:
        if user := _SLOW_USER.match(line):
            host = user[1]
        elif took := _SLOW_TIME.match(line):
            code = f"{float(took[1]):.1f} s"
        elif f" {INJECTOR_ADDRESS} " in line and entry.process == "session":
            host = INJECTOR_ADDRESS
    return dataclasses.replace(entry, remote_host=host, code=code)


def with_later_addresses(entries: Sequence[Entry]) -> list[Entry]:
    """Fill in the client's address of sessions that only a later entry reveals."""
    known: dict[int, str] = {}
    found = []
    for entry in reversed(entries):
        if entry.message.startswith("Starting MariaDB"):
            known.clear()
        if entry.pid and entry.remote_host:
            known[entry.pid] = entry.remote_host
        elif host := _ABORTED.search(entry.lines[0]):
            known[int(host[1])] = host[2]
        found.append(dataclasses.replace(entry, remote_host=entry.remote_host or known.get(entry.pid)))
    return found[::-1]


def by_server(entry: Entry, interval: Interval) -> bool:
    """What the server itself says while the fault is on, until someone puts it right."""
    return entry.process == "server" and interval.contains(entry.time, GRACE) and not is_repair(entry, interval)


def is_repair(entry: Entry, interval: Interval) -> bool:
    """Whether it was written after someone began to put things right."""
    return interval.repair is not None and entry.time >= interval.repair


def fails(*codes: int, text: str = "(?!)", longer: float | None = None, unless: str = "(?!)") -> Rule:
    """Statements that end with one of these errors, entries that say `text`, and statements that take too long.

    Those that say `unless` fail on any day.
    """
    names, said, ordinary = {str(code) for code in codes}, says(text), re.compile(unless)

    def rule(entry: Entry, interval: Interval) -> bool:
        if not interval.contains(entry.time, GRACE) or ordinary.search(entry.lines[0]):
            return False
        late = longer is not None and entry.process == "slow" and float((entry.code or "0 s").split()[0]) >= longer
        return late or entry.code in names or said(entry, interval)

    return rule


# --- ordinary work ---------------------------------------------------------------------------------------------------


class Customer(Client):
    """Someone whose session is renewed now and then."""

    user = "app"

    def __init__(self, lab: Mariadb, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.session: Session | None = None
        self.left = 0

    def tasks(self) -> Sequence[Callable[[], object]]:
        """What it does, the frequent things more often."""
        raise NotImplementedError

    def slips(self) -> Sequence[Callable[[], object]]:
        """What goes wrong on any day."""
        raise NotImplementedError

    def do(self, *statements: str) -> None:
        """Statements one after another in the session."""
        assert self.session is not None
        run(self.session, *statements)

    def work(self) -> None:
        """One step, and a pause."""
        try:
            if self.session is None or self.left == 0:
                self.leave()
                self.session, self.left = connect(self.user, self.address), self.rng.randint(3, 14)
            self.left -= 1
            self.rng.choice(self.slips() if self.rng.random() < 0.15 else self.tasks())()
        except LOST as error:
            self.recover(error)
        self.pause()

    def recover(self, error: Exception) -> None:
        """After an error of a statement roll back; after one of the session open another."""
        try:
            if self.session is None or not isinstance(
                error, (pymysql.err.ProgrammingError, pymysql.err.DatabaseError)
            ):
                raise error
            self.session.rollback()
        except LOST:
            self.vanish()
            self.lab.crew.stopping.wait(0.3)

    def leave(self) -> None:
        """Say goodbye."""
        session, self.session = self.session, None
        if session is not None:
            with contextlib.suppress(*LOST):
                session.close()

    def vanish(self) -> None:
        """Gone without a word (aborted connection)."""
        session, self.session = self.session, None
        if session is not None:
            session._force_close()

    def mistype(self) -> None:
        """The wrong password, or a user that does not exist."""
        user, password = self.rng.choice([(self.user, "aap-pass"), (self.user, ""), (self.user + "s", "app-pass")])
        connect(user, self.address, password).close()


class Shopper(Customer):
    """The shop's application: looks, orders, and the usual errors."""

    def tasks(self) -> Sequence[Callable[[], object]]:
        """Look and order."""
        number = self.rng.randint
        return (
            *[lambda: self.do(f"SELECT name, price FROM products WHERE id = {number(1, 400)}")] * 6,
            *[lambda: self.do(f"SELECT id, name FROM products WHERE name LIKE 'product {number(1, 9)}%' LIMIT 9")] * 3,
            *[self.order] * 4,
            *[lambda: self.do(f"INSERT INTO hits (page) VALUES ('/page/{number(1, 60)}')")] * 4,
            lambda: self.do(f"SELECT COUNT(*) FROM hits WHERE page = '/page/{number(1, 60)}'"),
            lambda: self.do(f"SELECT * FROM orders WHERE customer = {number(1, 90)} ORDER BY placed DESC LIMIT 10"),
            *[
                lambda: self.do(
                    f"INSERT INTO carts VALUES ({number(1, 90)}, 'item {number(1, 400)}') "
                    "ON DUPLICATE KEY UPDATE content = VALUES(content)"
                )
            ]
            * 2,
            *[self.upload] * 3,
        )

    def slips(self) -> Sequence[Callable[[], object]]:
        """Duplicates, mistyped statements and passwords, sessions that vanish, rows held too long."""
        number = self.rng.randint
        return (
            *[lambda: self.do(f"INSERT INTO coupons VALUES ('GIFT{number(1001, 1200)}', 7)")] * 3,
            lambda: self.do("SELECT nam FROM products WHERE id = 3"),
            lambda: self.do("SELECT * FROM product WHERE id = 3"),
            lambda: self.do("SELEC name FROM products"),
            lambda: self.do(f"DELETE FROM orders WHERE id = {number(1, 99)}"),
            *[self.mistype] * 3,
            *[self.vanish] * 3,
            self.hold_row,
        )

    def upload(self) -> None:
        """A picture."""
        name, size = f"photo-{self.rng.randint(1, 99)}.png", self.rng.randint(20, 90) * 1000
        self.do(f"INSERT INTO uploads (name, body) VALUES ('{name}', REPEAT('x', {size}))")

    def order(self) -> None:
        """A transaction."""
        product = self.rng.randint(1, 400)
        self.do("START TRANSACTION", f"SELECT amount FROM stock WHERE product = {product} FOR UPDATE")
        self.do(f"UPDATE stock SET amount = amount - 1 WHERE product = {product}")
        self.do(f"INSERT INTO orders (product, customer, placed) VALUES ({product}, {self.rng.randint(1, 90)}, NOW())")
        self.do("COMMIT" if self.rng.random() < 0.93 else "ROLLBACK")

    def hold_row(self) -> None:
        """Two sessions want the same row, and the second gives up (1205)."""
        product = self.rng.randint(1, 400)
        self.do("START TRANSACTION", f"UPDATE stock SET amount = amount - 1 WHERE product = {product}")
        with contextlib.closing(connect(self.user, self.address)) as other, contextlib.suppress(*LOST):
            run(other, f"UPDATE stock SET amount = amount - 2 WHERE product = {product}")
        self.do("COMMIT")


class Analyst(Customer):
    """Reads a lot at once."""

    user = "report"

    def tasks(self) -> Sequence[Callable[[], object]]:
        """Joins, sums, prepared statements, temporary tables."""
        number = self.rng.randint
        return (
            *[
                lambda: self.do(
                    "SELECT p.name, COUNT(*) FROM orders o JOIN products p ON p.id = o.product GROUP BY p.name LIMIT 5"
                )
            ]
            * 2,
            lambda: self.do("SELECT customer, COUNT(*) AS n FROM orders GROUP BY customer HAVING n > 5"),
            lambda: self.do("SELECT page, COUNT(*) FROM hits GROUP BY page ORDER BY 2 DESC LIMIT 5"),
            lambda: self.do(
                "PREPARE dear FROM 'SELECT name FROM products WHERE price > ?'",
                f"SET @least = {number(10, 80)}",
                "EXECUTE dear USING @least",
                "DEALLOCATE PREPARE dear",
            ),
            lambda: self.do(
                "CREATE TEMPORARY TABLE recent SELECT * FROM orders ORDER BY id DESC LIMIT 200",
                "SELECT MAX(placed) FROM recent",
                "DROP TEMPORARY TABLE recent",
            ),
            *[lambda: self.do(f"SELECT COUNT(*) FROM ({SORTED} LIMIT {number(1500, 2500)}) AS latest")] * 3,
            lambda: self.do("EXPLAIN SELECT * FROM orders WHERE customer = 7"),
            lambda: self.do("SHOW TABLES", "DESCRIBE orders"),
        )

    def slips(self) -> Sequence[Callable[[], object]]:
        """Queries cut off, tables and rights that it does not have."""
        return (
            lambda: self.do("SET STATEMENT max_statement_time=0.05 FOR SELECT SLEEP(1), 'too long'"),
            lambda: self.do("SELECT * FROM order WHERE id = 1"),
            lambda: self.do("SELECT User FROM mysql.user"),
            lambda: self.do("SELECT total FROM orders LIMIT 1"),
            lambda: self.do("CREATE TABLE keep SELECT * FROM orders"),
            self.mistype,
            self.vanish,
        )


class Administrator(Customer):
    """Looks after the tables."""

    user = "dba"

    def tasks(self) -> Sequence[Callable[[], object]]:
        """Upkeep, and a look at this and that."""
        return (
            *[lambda: self.do("SHOW FULL PROCESSLIST")] * 2,
            lambda: self.do("SHOW ENGINE INNODB STATUS"),
            lambda: self.do(f"SHOW GLOBAL VARIABLES LIKE '{self.rng.choice(['max_connections', 'read_only'])}'"),
            lambda: self.do("SHOW GRANTS FOR app@'127.%'"),
            *[lambda: self.do("DELETE FROM uploads ORDER BY id LIMIT 60")] * 4,
            lambda: self.do(f"CHECK TABLE {self.rng.choice(['orders', 'coupons'])}"),
            lambda: self.do(f"ANALYZE TABLE {self.rng.choice(['products', 'orders'])}"),
            lambda: self.do("SHOW TABLE STATUS FROM shop"),
        )

    def slips(self) -> Sequence[Callable[[], object]]:
        """A session ended by force, and the rest."""
        return (self.end_session, lambda: self.do("KILL 999999"), lambda: self.do("SHOW SLAVE HOSTS"), self.vanish)

    def end_session(self) -> None:
        """Kill an idle session of one's own."""
        with contextlib.closing(connect("report", self.address)) as other:
            self.do(f"KILL {other.thread_id()}")


class Monitor:
    """A probe again and again, each in a session of its own; a fault may silence it."""

    def __init__(self, lab: Mariadb, address: str) -> None:
        self.lab, self.address = lab, address

    def probe(self) -> None:
        """One probe."""
        self.lab.watch(self._ask, self.lab.settings.probe)

    def _ask(self) -> None:
        with (
            contextlib.suppress(*LOST),
            contextlib.closing(connect("monitor", self.address, None, None)) as session,
        ):
            run(session, "SHOW GLOBAL STATUS LIKE 'Threads_connected'")


# --- faults ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def intruder(user: str = "dba") -> Iterator[Session]:
    """A session of the injector's; its errors are the fault's."""
    session = connect(user, INJECTOR_ADDRESS)
    try:
        yield session
    finally:
        with contextlib.suppress(*LOST):
            session.close()


def try_to(session: Session, *statements: str) -> bool:
    """Whether all statements succeed."""
    try:
        run(session, *statements)
    except LOST:
        return False
    return True


killed = faults.lasting(lambda lab: faults.down(lab.server), 0.5, 2.0, faults.settle(1.0))
"""SIGKILL; the server starts again and recovers."""


BAD_LINES = (
    "inodb_buffer_pool_size=64M",
    "port=33o6\nquery_cache=fast",
    "innodb_data_file_path=ibdata1:76M",
    "character_set_server=utf9",
    "tmpdir=/srv/mariadb/temp",
    "bind_address=127.0.0.300",
    "default_storage_engine=RocksDB",
)


broken_configuration = faults.broken_restart(lambda lab: lab.server, BAD_LINES, 2, 0.3, 0.8)


def rows_locked(lab: Mariadb, interval: Interval) -> None:
    """A forgotten transaction holds the stock; orders give up after a second."""
    with intruder("report") as session:
        run(session, "START TRANSACTION", "SELECT COUNT(*) FROM stock FOR UPDATE")
        lab.hold(3.0, 5.0)
        run(session, "ROLLBACK")


def tables_locked(lab: Mariadb, interval: Interval) -> None:
    """A backup locks every table; nobody gets an answer until it lets go."""
    with intruder() as session:
        run(session, "FLUSH TABLES WITH READ LOCK", "SHOW MASTER STATUS")
        lab.hold(2.5, 4.0)
        run(session, "UNLOCK TABLES")


def deadlocks(lab: Mariadb, interval: Interval) -> None:
    """Two batches take the same rows in opposite order; one of them loses, every time."""
    with intruder("report") as one, intruder("report") as two:
        for _ in range(lab.rng.randint(2, 5)):
            first, second = lab.rng.sample(range(1, 401), 2)
            steps = ((one, first, second), (two, second, first))
            for session, row, _other in steps:
                try_to(session, "START TRANSACTION", f"UPDATE stock SET amount = amount + 1 WHERE product = {row}")
            threads = [
                threading.Thread(
                    target=try_to,
                    args=(session, f"UPDATE stock SET amount = amount + 1 WHERE product = {row}", "COMMIT"),
                )
                for session, _own, row in steps
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for session in (one, two):
                try_to(session, "ROLLBACK")
            lab.hold(0.1, 0.5)


def connections_exhausted(lab: Mariadb, interval: Interval) -> None:
    """An application that never closes its sessions takes all there are."""
    held = []
    try:
        with contextlib.suppress(*LOST):
            for _ in range(90):
                held.append(connect("app", INJECTOR_ADDRESS))
        for _ in range(lab.rng.randint(5, 15)):
            with contextlib.suppress(*LOST):
                held.append(connect("app", INJECTOR_ADDRESS))
            lab.hold(0.1, 0.3)
    finally:
        for session in held:
            with contextlib.suppress(*LOST):
                session.close()


def guess_password(lab: Mariadb, number: int) -> None:
    """Someone guesses passwords, also of users that exist."""
    with contextlib.suppress(*LOST):
        user = lab.rng.choice(["root", "admin", "app", "dba", "mysql"])
        connect(user, INJECTOR_ADDRESS, f"password{number}", None).close()


def malformed_packets(lab: Mariadb, interval: Interval) -> None:
    """Someone speaks other protocols on the port, or hangs up at once."""
    pieces = (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-Go\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 40, b"")
    for _ in range(lab.rng.randint(8, 25)):
        send_raw(PORT, lab.rng.choice(pieces), INJECTOR_ADDRESS, timeout=0.2, wait=lab.rng.random() < 0.5)
        lab.hold(0.0, 0.15)


def disk_full(lab: Mariadb, interval: Interval) -> None:
    """Someone's export fills the disk for temporary files; whoever has to sort fails."""
    with faults.full_disk(HOME / "tmp"), intruder("report") as session:
        for _ in range(lab.rng.randint(4, 12)):
            try_to(session, f"CREATE TEMPORARY TABLE export{lab.rng.randint(1, 9)} {SORTED}")
            try_to(session, "SELECT COUNT(*) FROM orders WHERE customer = 7")
            lab.hold(0.3, 0.6)


def unreadable_table(lab: Mariadb, interval: Interval) -> None:
    """A copied backup has taken away the right to read a table's files."""
    files = [HOME / "data/shop" / f"hits.{ending}" for ending in ("MYD", "MYI")]
    with intruder() as session:
        for file in files:
            file.chmod(0)
        run(session, "FLUSH TABLES hits")
        lab.hold(3.0, 5.0)
        for file in files:
            file.chmod(0o660)
        run(session, "FLUSH TABLES hits")


def corrupted_table(lab: Mariadb, interval: Interval) -> None:
    """The index file of a table is overwritten; someone repairs it."""
    index = HOME / "data/shop/hits.MYI"
    with intruder() as session:
        run(session, "LOCK TABLES hits WRITE", "FLUSH TABLES hits")
        with index.open("r+b") as file:
            file.seek(lab.rng.choice([0, 1024]))
            file.write(os.urandom(3000))
        try_to(session, "UNLOCK TABLES", "CHECK TABLE hits")
        lab.hold(3.0, 5.0)
        run(session, "FLUSH TABLES hits", "REPAIR TABLE hits USE_FRM", "CHECK TABLE hits")


def read_only(lab: Mariadb, interval: Interval) -> None:
    """The server has been made read-only by mistake."""
    with intruder() as session:
        run(session, "SET GLOBAL read_only = 1")
        lab.hold(3.0, 5.0)
        run(session, "SET GLOBAL read_only = 0")


def rights_lost(lab: Mariadb, interval: Interval) -> None:
    """Someone takes away rights that the application needs."""
    table, rights = lab.rng.choice([("orders", "SELECT, INSERT"), ("products", "SELECT"), ("hits", "INSERT")])
    with intruder() as session:
        run(session, f"REVOKE {rights} ON shop.{table} FROM app@'127.%'")
        lab.hold(3.0, 5.0)
        run(session, f"GRANT {rights} ON shop.{table} TO app@'127.%'")


def column_renamed(lab: Mariadb, interval: Interval) -> None:
    """A schema change that the application does not know about."""
    table, old, new = lab.rng.choice([("products", "price", "unit_price"), ("orders", "placed", "placed_at")])
    with intruder() as session:
        run(session, f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
        lab.hold(3.0, 5.0)
        run(session, f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")


def sessions_killed(lab: Mariadb, interval: Interval) -> None:
    """A script ends everyone else's sessions, several times."""
    with intruder() as session:
        for _ in range(lab.rng.randint(1, 3)):
            with session.cursor() as cursor:
                cursor.execute("SELECT id FROM information_schema.processlist WHERE user IN ('app', 'report')")
                ids = [row[0] for row in cursor.fetchall()]
            for number in ids:
                try_to(session, f"KILL {number}")
            lab.hold(0.4, 1.2)


def surge(lab: Mariadb, interval: Interval) -> None:
    """One address runs ordinary queries far too often, each in a session of its own."""
    for _ in range(lab.rng.randint(10, 30)):
        with intruder("app") as session:
            for _ in range(lab.rng.randint(1, 3)):
                run(session, f"SELECT name, price FROM products WHERE id = {lab.rng.randint(1, 400)}")
            run(
                session,
                f"SELECT * FROM orders WHERE customer = {lab.rng.randint(1, 90)} ORDER BY placed DESC LIMIT 10",
            )


standstill = faults.lasting(lambda lab: faults.frozen(lab.server.pids()), 2.0, 3.5)
"""The server stands still for some seconds, then goes on."""


_OF_TABLE = r"\./shop/hits|shop\.hits|'hits'|MariaDB thread id|an error from thread_id|[Cc]hecking table|Recovering"
BROKEN_TABLE = fails(
    *(126, 127, 130, 144, 145, 1017, 1030, 1033, 1034, 1194, 1195, 1712),
    text=rf"\[(ERROR|Warning|Note)\] .*({_OF_TABLE})",
)


killed_and_recovered = any_of(by_server, BROKEN_TABLE)
"""What the server says as it starts, and of the table that it had left open."""


FAULTS = {
    "killed": Fault(killed, killed_and_recovered),
    "broken_configuration": Fault(broken_configuration, by_server, often=False),
    "rows_locked": Fault(rows_locked, fails(1205, longer=0.7, unless="amount - 2")),
    "tables_locked": Fault(tables_locked, fails(1205, longer=0.7), visible="silence"),
    "deadlocks": Fault(deadlocks, fails(1213, text=r"\d [1-9]\d* \[\w+\] InnoDB: ")),
    "connections_exhausted": Fault(connections_exhausted, fails(1040, text="Too many connections")),
    "brute_force": Fault(faults.repeated(guess_password, 12, 40, pause=0.1)),
    "malformed_packets": Fault(malformed_packets),
    "disk_full": Fault(disk_full, fails(3, 20, 28, 1021, 1026, 1028, text="No space left|rr(no|code|or):? 28")),
    "unreadable_table": Fault(unreadable_table, fails(13, 29, 1016, 1017, 1018, 1030, 1036, text="rr(no|code): 13")),
    "corrupted_table": Fault(corrupted_table, BROKEN_TABLE),
    "read_only": Fault(read_only, fails(1290)),
    "rights_lost": Fault(rights_lost, fails(1142, 1143, unless=r"DELETE|FROM product |\bkeep\b|mysql")),
    "column_renamed": Fault(column_renamed, fails(1054, unless=r"\bnam\b|\btotal\b")),
    "sessions_killed": Fault(
        sessions_killed,
        fails(1927, 1317, 1160, text="KILLED|was killed|was interrupted|Could not write packet|error writing"),
    ),
    "surge": Fault(surge, visible="order"),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, fails(longer=1.5), visible="silence", often=False),
}


def clean_restart(lab: Mariadb) -> None:
    """What an administrator does after an update."""
    lab.server.stop()
    lab.server.start()


def upkeep(lab: Mariadb) -> None:
    """Repairs, checks and new logs, as every night."""
    with contextlib.closing(connect("dba", CLIENT_ADDRESSES[6])) as session:
        for statement in ("FLUSH TABLES hits", "CHECK TABLE hits", "REPAIR TABLE hits", "OPTIMIZE TABLE hits, carts"):
            try_to(session, statement)
            lab.hold(0.1, 0.3)
        try_to(session, "LOCK TABLES carts WRITE", "DELETE FROM carts", "UNLOCK TABLES", "FLUSH STATUS")


def change_rights(lab: Mariadb) -> None:
    """A new user and a limit, by the administrator."""
    with contextlib.closing(connect("dba", CLIENT_ADDRESSES[6])) as session:
        name = f"guest{lab.rng.randint(1, 99)}"
        try_to(session, f"CREATE USER {name}@'127.%'", f"GRANT SELECT ON shop.products TO {name}@'127.%'")
        try_to(session, "SET GLOBAL read_only = 0", f"SET GLOBAL max_connections = {lab.rng.choice([58, 60])}")
        try_to(session, f"REVOKE SELECT ON shop.products FROM {name}@'127.%'", f"DROP USER {name}@'127.%'")


SERVICE = Service(
    name="mariadb",
    lab=Mariadb,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "upkeep": upkeep, "change_rights": change_rights},
)
