"""PostgreSQL, as Debian packages it: how it is started, used, broken and healed, and which entries a fault caused.

The server writes every entry twice: to the log that is recorded (`stderr`, in the style of the chosen settings) and to
a private copy (`jsonlog`) with process id, client address and SQLSTATE whatever the style. Labels are decided on the
private copy; the recorded lines are kept as written.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pg8000
import pg8000.native

from recordings import faults
from recordings.clients import Crew
from recordings.labels import CLOCK_STEP, GRACE, INJECTOR_ADDRESS, Entry, Interval, Rule
from recordings.logs import read_from, size_of
from recordings.processes import children_of, end_process, free_port, is_running, wait_until
from recordings.service import Fault, Lab, Service

PRIVATE_FOLDER = Path("/var/lib/postgresql")
"""Where Debian keeps the database; a run sees an empty tmpfs here."""

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Settings:
    """How much the server logs and in which style. The styles differ so that no one prefix is the mark of a label."""

    prefix: str
    options: dict[str, str]
    pace: float  # operations per second of one client, chosen for about 25 lines per second in every style
    logs_connections: bool


SETTINGS = {
    "debian": Settings(
        prefix="%m [%p] %q%u@%d ",
        options={
            "log_connections": "on",
            "log_disconnections": "on",
            "log_min_duration_statement": "150ms",
            "log_autovacuum_min_duration": "0",
        },
        pace=3.2,
        logs_connections=True,
    ),
    "host": Settings(
        prefix="%t [%p]: user=%u,db=%d,app=%a,client=%h ",
        options={
            "log_connections": "on",
            "log_statement": "ddl",
            "log_min_duration_statement": "30ms",
            "log_autovacuum_min_duration": "50ms",
        },
        pace=3.2,
        logs_connections=True,
    ),
    "terse": Settings(
        prefix="%m [%p] ",
        options={
            "log_statement": "mod",
            "log_min_duration_statement": "60ms",
            "log_autovacuum_min_duration": "0",
        },
        pace=1.6,
        logs_connections=False,
    ),
}


@dataclass(frozen=True)
class Names:
    """Databases and roles of one run; they vary with the seed."""

    shop: str
    ledger: str
    web: str
    reports: str
    batch: str

    def clients(self) -> list[tuple[str, str, str, str]]:
        """The ordinary clients: role, database, address, application."""
        return [
            (self.web, self.shop, "127.0.0.2", "storefront"),
            (self.web, self.shop, "127.0.0.2", "storefront"),
            (self.web, self.shop, "127.0.0.3", "checkout"),
            (self.web, self.ledger, "127.0.0.4", "payments"),
            (self.web, self.ledger, "127.0.0.5", "payments"),
            (self.reports, self.shop, "127.0.0.6", "dashboard"),
            (self.batch, self.shop, "127.0.0.7", "import"),
            ("postgres", self.shop, "127.0.0.1", "upkeep"),
        ]


NAMES = (
    Names("shop", "ledger", "web", "reports", "batch"),
    Names("store", "bank", "storefront", "analyst", "etl"),
    Names("market", "accounting", "app", "bi_reader", "importer"),
)


# --- the server ------------------------------------------------------------------------------------------------------


class Server:
    """One PostgreSQL cluster in `PRIVATE_FOLDER`, on loopback, ended by its own process ids."""

    def __init__(self, settings: Settings, names: Names) -> None:
        self.settings, self.names = settings, names
        self.port = free_port(preferred=5432)
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.data = PRIVATE_FOLDER / self.binaries.parent.name / "main"
        self.configuration = self.data / "postgresql.conf"
        self.access = self.data / "pg_hba.conf"
        self.small_disk = self.data.parent / "events"
        self.log = PRIVATE_FOLDER / "log" / "postgresql.log"
        self.truth = self.log.with_suffix(".json")
        self.archive_file = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def postmaster(self) -> int:
        """Process id of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """Make the cluster, start it, and fill it with a shop and a bank."""
        for folder in (self.data.parent, self.log.parent, PRIVATE_FOLDER / "run", self.small_disk):
            folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "events", self.small_disk], check=True)
        for folder in (self.data.parent, self.log.parent, PRIVATE_FOLDER / "run", self.small_disk):
            shutil.chown(folder, "postgres", "postgres")
        password_file = PRIVATE_FOLDER / "password"
        password_file.write_text(PASSWORD)
        shutil.chown(password_file, "postgres", "postgres")
        # Small WAL segments make ordinary load wander through many checkpoints; checksums reveal a corrupted page.
        subprocess.run(
            [
                *(self.binaries / "initdb", "--pgdata", self.data, "--pwfile", password_file),
                *("--auth=scram-sha-256", "--data-checksums", "--wal-segsize=1", "--no-sync", "--locale=C.UTF-8"),
            ],
            check=True,
            user="postgres",
            group="postgres",
            extra_groups=[],
            cwd=PRIVATE_FOLDER,
            stdout=subprocess.DEVNULL,
        )
        with self.configuration.open("a") as file:
            for name, value in self._options().items():
                file.write(f"{name} = '{value}'\n")
        with self.access.open("a") as file:
            file.write("# applications on this machine\nhost    all    all    127.0.0.0/8    scram-sha-256\n")
        self.start()
        self._fill()

    def _options(self) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(PRIVATE_FOLDER / "run"),
            "max_connections": "40",
            "superuser_reserved_connections": "3",
            "shared_buffers": "4MB",
            "work_mem": "256kB",
            "temp_file_limit": "24MB",
            "fsync": "off",
            "min_wal_size": "4MB",
            "max_wal_size": "8MB",
            "checkpoint_timeout": "30s",
            "deadlock_timeout": "500ms",
            "autovacuum_naptime": "7s",
            "logging_collector": "on",
            "log_destination": "stderr,jsonlog",
            "log_directory": str(self.log.parent),
            "log_filename": self.log.name,
            "log_rotation_age": "0",
            "log_rotation_size": "0",
            "log_timezone": "UTC",
            "log_lock_waits": "on",
            "log_temp_files": "0",
            "log_line_prefix": self.settings.prefix,
            **self.settings.options,
        }

    def start(self) -> None:
        """Start the server and wait until it says that it is ready."""
        mark = size_of(self.log)
        with (self.log.parent / "startup.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data],
                stdout=output,
                stderr=output,
                user="postgres",
                group="postgres",
                extra_groups=[],
                cwd=PRIVATE_FOLDER,
            )
        self.wait_ready(mark)

    def wait_ready(self, mark: int) -> None:
        """Wait until the log, from byte `mark` on, says that connections are accepted."""

        def ready() -> bool:
            return self.log.exists() and b"ready to accept connections" in read_from(self.log, mark)

        wait_until(ready, 30, "PostgreSQL accepts connections")

    def stop(self, how: signal.Signals) -> None:
        """End the server with SIGINT (fast shutdown), SIGQUIT (immediate) or SIGKILL, and every process it started."""
        children = children_of(self.postmaster)
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=30)
        for pid in children:
            # Without their parent they notice its absence and leave, each in its own time.
            with contextlib.suppress(TimeoutError):
                wait_until(lambda pid=pid: not is_running(pid), 5, f"process {pid} leaves")  # type: ignore[misc]
            end_process(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def reload(self) -> None:
        """Tell the server to read its configuration again."""
        os.kill(self.postmaster, signal.SIGHUP)

    def client_processes(self) -> list[int]:
        """Backends that serve ordinary clients."""
        pattern = re.compile(r"^postgres: \S+ \S+ (127[\d.]+)\(\d+\)")
        found = {pid: pattern.match(command) for pid, command in children_of(self.postmaster).items()}
        return [pid for pid, match in found.items() if match and match[1] != INJECTOR_ADDRESS]

    def connect(
        self, user: str, database: str, address: str, application: str = "", password: str = PASSWORD
    ) -> pg8000.native.Connection:
        """A connection that comes from `address`, one of 127.0.0.0/8."""
        link = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(address, 0))
        try:
            return pg8000.native.Connection(
                user,
                database=database,
                password=password,
                application_name=application or None,
                sock=link,
                ssl_context=False,
            )
        except BaseException:
            link.close()
            raise

    def _fill(self) -> None:
        names = self.names
        with contextlib.closing(self.connect("postgres", "postgres", "127.0.0.1")) as db:
            for role in (names.web, names.reports, names.batch):
                db.run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            db.run(f"ALTER ROLE {names.web} SET statement_timeout = '1500ms'")
            db.run(f"ALTER ROLE {names.batch} SET lock_timeout = '900ms'")
            db.run(f"CREATE TABLESPACE event_space LOCATION '{self.small_disk}'")
            for database in (names.shop, names.ledger):
                db.run(f"CREATE DATABASE {database}")
        for database, schema in ((names.shop, SHOP_SCHEMA), (names.ledger, LEDGER_SCHEMA)):
            with contextlib.closing(self.connect("postgres", database, "127.0.0.1")) as db:
                db.run(schema)
                db.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO public")
                db.run("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO public")
                db.run("GRANT CREATE ON SCHEMA public TO public")
                db.run("ANALYZE")
                if database == names.shop:
                    [[path]] = db.run("SELECT pg_relation_filepath('archive')")
                    self.archive_file = self.data / path


SMALL_DISK, LARGER_DISK = "48m", "96m"

SHOP_SCHEMA = dedent("""\
    CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE NOT NULL, name varchar(40) NOT NULL,
                            balance numeric NOT NULL CHECK (balance >= 0));
    CREATE TABLE products (id serial PRIMARY KEY, sku text UNIQUE NOT NULL, price numeric NOT NULL,
                           stock integer NOT NULL CHECK (stock >= 0));
    CREATE TABLE orders (id bigserial PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers,
                         status text NOT NULL DEFAULT 'new', placed_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE order_items (order_id bigint NOT NULL REFERENCES orders,
                              product_id integer NOT NULL REFERENCES products,
                              quantity integer NOT NULL CHECK (quantity > 0), PRIMARY KEY (order_id, product_id));
    CREATE TABLE events (id bigserial PRIMARY KEY USING INDEX TABLESPACE event_space, kind text NOT NULL, payload text)
        TABLESPACE event_space;
    ALTER TABLE events ALTER payload SET STORAGE EXTERNAL;
    CREATE TABLE archive (id integer, note text);
    INSERT INTO customers (email, name, balance)
        SELECT 'customer' || n || '@example.org', 'Customer ' || n, 100000 FROM generate_series(1, 400) n;
    INSERT INTO products (sku, price, stock) SELECT 'SKU-' || n, n % 90 + 1, 100000 FROM generate_series(1, 200) n;
    INSERT INTO orders (customer_id, status) SELECT n % 400 + 1, 'shipped' FROM generate_series(1, 4000) n;
    INSERT INTO order_items SELECT n, n % 200 + 1, n % 3 + 1 FROM generate_series(1, 4000) n;
    INSERT INTO archive SELECT n, repeat(md5(n::text), 16) FROM generate_series(1, 4500) n;
    CREATE FUNCTION check_stock(wanted integer) RETURNS integer LANGUAGE plpgsql AS $$
    BEGIN
        IF wanted > 50 THEN
            RAISE WARNING 'unusually large order of % pieces', wanted;
        END IF;
        RAISE LOG 'stock check for % pieces', wanted;
        RETURN wanted / (SELECT count(*) FROM products WHERE stock > wanted);
    END $$;
""")
LEDGER_SCHEMA = dedent("""\
    CREATE TABLE accounts (id integer PRIMARY KEY, owner text NOT NULL,
                           balance numeric NOT NULL CHECK (balance >= 0));
    CREATE TABLE transfers (id uuid PRIMARY KEY, source integer NOT NULL REFERENCES accounts,
                            target integer NOT NULL REFERENCES accounts, amount numeric NOT NULL CHECK (amount > 0),
                            booked_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO accounts SELECT n, 'Owner ' || n, 5000 FROM generate_series(1, 600) n;
""")


# --- ordinary work ---------------------------------------------------------------------------------------------------

LOST = (OSError, struct.error, pg8000.InterfaceError)
"""What pg8000 raises when the other side is gone."""


class ConnectionLost(Exception):
    """The server ended this session."""


class Client:
    """An ordinary client: connects, works for a while, makes the usual mistakes, leaves, comes back."""

    def __init__(
        self, server: Server, crew: Crew, rng: random.Random, user: str, database: str, address: str, application: str
    ) -> None:
        self.server, self.crew, self.rng = server, crew, rng
        self.user, self.database, self.address, self.application = user, database, address, application
        self.db: Any = None
        names = server.names
        self.work, self.mistakes = {
            names.reports: (REPORTS_WORK, SHOP_MISTAKES),
            names.batch: (BATCH_WORK, SHOP_MISTAKES),
            "postgres": (UPKEEP, ()),
        }.get(user, (SHOP_WORK, SHOP_MISTAKES) if database == names.shop else (LEDGER_WORK, LEDGER_MISTAKES))

    def connect(self, **changes: str) -> Any:
        """One more connection like this client's own, with `changes`."""
        arguments = {
            "user": self.user,
            "database": self.database,
            "address": self.address,
            "application": self.application,
        }
        return self.server.connect(**{**arguments, **changes})

    def pause(self, seconds: float) -> None:
        """Wait, unless the recording ends."""
        self.crew.stopping.wait(seconds)

    def session(self) -> None:
        """One visit, from connecting to leaving."""
        rng = self.rng
        try:
            if self.user != "postgres" and rng.random() < 0.06:
                self._misspell()
            self.db = self.connect()
        except (*LOST, pg8000.DatabaseError):
            self.pause(rng.uniform(0.25, 0.7))
            return
        try:
            for _ in range(rng.randint(4, 18)):
                self.pause(rng.expovariate(self.server.settings.pace))
                if self.crew.stopping.is_set():
                    break
                self._step()
            self._leave()
        except (*LOST, ConnectionLost):
            self.pause(rng.uniform(0.05, 0.4))
        finally:
            with contextlib.suppress(*LOST, ValueError):  # ValueError: left by closing the socket already
                self.db.close()

    def _misspell(self) -> None:
        """Connect with a typo; the server refuses."""
        changes = self.rng.choice(
            [
                {"password": PASSWORD[:-1]},
                {"password": PASSWORD.title()},
                {"database": self.database[::-1]},
                {"user": self.user + "s"},
            ]
        )
        with contextlib.suppress(pg8000.DatabaseError):
            self.connect(**changes).close()
        self.pause(self.rng.uniform(0.3, 1.0))

    def _step(self) -> None:
        kinds = self.mistakes if self.mistakes and self.rng.random() < 0.13 else self.work
        step = self.rng.choice(kinds)
        try:
            step(self)
        except pg8000.DatabaseError as error:
            if error.args[0].get("S") in ("FATAL", "PANIC"):
                raise ConnectionLost from error

    def _leave(self) -> None:
        """Say goodbye, or now and then vanish, in the middle of a transaction or with a reset."""
        manner = self.rng.random()
        if manner < 0.06:
            self.db.run("BEGIN")
            self.db.run("SELECT 1")
            self.db._usock.shutdown(socket.SHUT_RDWR)
        elif manner < 0.10:
            self.db._usock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.db._usock.close()
            self.db._sock.close()

    @contextlib.contextmanager
    def transaction(self, mode: str = "") -> Iterator[Any]:
        """The connection inside BEGIN and COMMIT, or ROLLBACK after an error."""
        self.db.run(f"BEGIN {mode}".strip())
        try:
            yield self.db
        except pg8000.DatabaseError as error:
            if error.args[0].get("S") == "ERROR":
                self.db.run("ROLLBACK")
            raise
        self.db.run("COMMIT")


Step = Callable[[Client], None]


def sql(text: str) -> str:
    """A statement over several lines, as an application would hold it."""
    return dedent(text).strip()


def place_order(client: Client) -> None:
    """A customer buys one product."""
    rng = client.rng
    product, quantity = rng.randint(1, 200), rng.randint(1, 4)
    with client.transaction() as db:
        [[order]] = db.run(
            sql("""
                INSERT INTO orders (customer_id)
                VALUES (:customer)
                RETURNING id"""),
            customer=rng.randint(1, 400),
        )
        db.run(
            sql("""
                INSERT INTO order_items (order_id, product_id, quantity)
                VALUES (:order, :product, :quantity)"""),
            order=order,
            product=product,
            quantity=quantity,
        )
        db.run("UPDATE products SET stock = stock - :n WHERE id = :id", n=quantity, id=product)


def pay_order(client: Client) -> None:
    """Some orders become paid, the customers' balances shrink."""
    first = client.rng.randint(1, 3900)
    client.db.run(f"UPDATE orders SET status = 'paid' WHERE id BETWEEN {first} AND {first + 5}")
    client.db.run(f"UPDATE customers SET balance = balance - 1 WHERE id = {client.rng.randint(1, 400)}")


def browse(client: Client) -> None:
    """A customer looks at products and at former orders."""
    client.db.run(
        sql(f"""
            SELECT o.id, p.sku, i.quantity * p.price AS total
              FROM orders o
              JOIN order_items i ON i.order_id = o.id
              JOIN products p ON p.id = i.product_id
             WHERE o.customer_id = {client.rng.randint(1, 400)}
             ORDER BY o.placed_at DESC
             LIMIT 20""")
    )


def prepared_lookup(client: Client) -> None:
    """The same query several times, through a prepared statement."""
    statement = client.db.prepare("SELECT sku, price, stock FROM products WHERE id = :id")
    for _ in range(3):
        statement.run(id=client.rng.randint(1, 200))
    statement.close()


def track_event(client: Client) -> None:
    """The web site notes what visitors did; this table lies on the small disk."""
    kind, digit = client.rng.choice(["click", "search", "login"]), client.rng.randint(0, 9)
    client.db.run(
        sql(f"""
            INSERT INTO events (kind, payload)
            VALUES ('{kind}', repeat('{digit}', 9000))""")
    )


def read_archive(client: Client) -> None:
    """A scan of an old table, larger than the buffer pool keeps."""
    client.db.run(f"SELECT count(*) FROM archive WHERE note LIKE '%{client.rng.randint(100, 999)}%'")


LONGEST_SLEEP = 450.0
"""Milliseconds that an ordinary statement sleeps on purpose, at most."""


def slow_search(client: Client) -> None:
    """A statement that takes its time."""
    client.db.run(
        sql(f"""
            SELECT sku, pg_sleep({client.rng.uniform(50, LONGEST_SLEEP) / 1000:.3f})
              FROM products
             WHERE sku LIKE 'SKU-{client.rng.randint(1, 200)}'""")
    )


def check_stock(client: Client) -> None:
    """A function that writes to the log."""
    client.db.run(f"SELECT check_stock({client.rng.randint(1, 70)})")


def sorted_report(client: Client) -> None:
    """A sort that does not fit into memory and spills to a temporary file."""
    client.db.run(
        sql(f"""
            SELECT o.customer_id, o.id, i.product_id, md5(o.id::text || '{client.rng.randint(1, 999)}') AS key
              FROM orders o
              JOIN order_items i ON i.order_id = o.id
             ORDER BY key""")
    )


def revenue_report(client: Client) -> None:
    """An aggregate over the whole shop."""
    client.db.run(
        sql("""
            SELECT date_trunc('hour', o.placed_at) AS hour,
                   sum(i.quantity * p.price) AS revenue
              FROM orders o
              JOIN order_items i ON i.order_id = o.id
              JOIN products p ON p.id = i.product_id
             GROUP BY 1
             ORDER BY 1""")
    )


def export_orders(client: Client) -> None:
    """A file for another system."""
    with open(os.devnull, "wb") as sink:
        client.db.run("COPY (SELECT * FROM orders ORDER BY id DESC LIMIT 500) TO STDOUT WITH CSV", stream=sink)


def import_events(client: Client) -> None:
    """Many rows in one statement."""
    client.db.run(
        sql(f"""
            INSERT INTO events (kind, payload)
            SELECT 'import', repeat(md5(n::text), 40)
              FROM generate_series(1, {client.rng.randint(20, 120)}) n""")
    )


def restock(client: Client) -> None:
    """Goods arrive."""
    first = client.rng.randint(1, 180)
    client.db.run(f"UPDATE products SET stock = stock + 50 WHERE id BETWEEN {first} AND {first + 15}")


def stage_import(client: Client) -> None:
    """Tables come and go."""
    table = f"staging_{client.rng.randint(1, 99)}"
    client.db.run(f"CREATE TABLE IF NOT EXISTS {table} (sku text, price numeric)")
    client.db.run(f"INSERT INTO {table} SELECT sku, price FROM products")
    client.db.run(f"CREATE INDEX ON {table} (sku)")
    client.db.run(f"DROP TABLE {table}")


def transfer(client: Client) -> None:
    """Money moves; accounts are always touched in the order of their ids, so that two transfers never deadlock."""
    rng = client.rng
    low, high = sorted(rng.sample(range(1, 601), 2))
    amount = rng.randint(1, 9)
    with client.transaction() as db:
        db.run("UPDATE accounts SET balance = balance - :amount WHERE id = :id", amount=amount, id=low)
        db.run("UPDATE accounts SET balance = balance + :amount WHERE id = :id", amount=amount, id=high)
        db.run(
            sql(f"""
                INSERT INTO transfers (id, source, target, amount)
                VALUES (gen_random_uuid(), {low}, {high}, {amount})""")
        )


def read_balance(client: Client) -> None:
    """A look at one account."""
    client.db.run("SELECT owner, balance FROM accounts WHERE id = :id", id=client.rng.randint(1, 600))


def statement_of_account(client: Client) -> None:
    """The latest transfers of one account; slow, because nobody made an index."""
    account = client.rng.randint(1, 600)
    client.db.run(
        sql(f"""
            SELECT t.*, pg_sleep(0.04)
              FROM transfers t
             WHERE {account} IN (t.source, t.target)
             ORDER BY booked_at DESC
             LIMIT 10""")
    )


def upkeep_vacuum(client: Client) -> None:
    """What an administrator's timer does."""
    client.db.run(f"VACUUM (ANALYZE) {client.rng.choice(['orders', 'products', 'customers', 'order_items'])}")


def upkeep_checkpoint(client: Client) -> None:
    """A checkpoint by hand."""
    client.db.run("CHECKPOINT")


def upkeep_backup(client: Client) -> None:
    """Copy out whole tables, as a dump does."""
    with open(os.devnull, "wb") as sink, client.transaction("ISOLATION LEVEL REPEATABLE READ") as db:
        for table in ("customers", "products", "orders", "order_items"):
            db.run(f"COPY {table} TO STDOUT", stream=sink)


def upkeep_purge(client: Client) -> None:
    """Old events leave, so that the small disk keeps some room."""
    client.db.run("DELETE FROM events WHERE id < (SELECT max(id) - 6000 FROM events)")
    client.db.run("VACUUM events")


def upkeep_reindex(client: Client) -> None:
    """A fresh index."""
    client.db.run(f"REINDEX TABLE {client.rng.choice(['customers', 'products'])}")


def upkeep_watch(client: Client) -> None:
    """Monitoring."""
    client.db.run("SELECT state, count(*) FROM pg_stat_activity GROUP BY state")


def mistake(*statements: str) -> Step:
    """A step that sends one of `statements`, in which `{n}` is some number; the server answers with an error."""

    def step(client: Client) -> None:
        text = sql(client.rng.choice(statements))
        client.db.run(text.replace("{n}", str(client.rng.randint(1, 180))))

    return step


misspelt = mistake(
    "SELCT id, sku FROM products LIMIT 10",
    "SELECT id, sku FORM products",
    "SELECT * FROM orders WHERE id = {n} ORDER placed_at",
    """
    UPDATE products
       SET price = price * 1.1,
     WHERE id = {n}""",
    "SELECT colour FROM products WHERE id = {n}",
    "SELECT o.total FROM orders o WHERE o.id = {n}",
    "SELECT * FROM product WHERE id = {n}",
    "SELECT * FROM invoices WHERE customer = {n}",
    "SELECT id FROM orders WHERE placed_on > now()",
    "SELECT to_money(price) FROM products",
)
misspelt_ledger = mistake(
    "SELECT balance FROM account WHERE id = {n}",
    "SELECT ballance FROM accounts WHERE id = {n}",
    "SELECT * FROM accounts WHERE id == {n};;",
    """
    SELECT owner, sum(amount)
      FROM accounts a
      JOIN transfers t ON t.source = a.id
     WHERE a.id = {n}""",
)
duplicate = mistake(
    """
    INSERT INTO customers (email, name, balance)
    VALUES ('customer{n}@example.org', 'Customer {n}', 0)""",
    "INSERT INTO products (sku, price, stock) VALUES ('SKU-{n}', 9.99, 10)",
)
duplicate_account = mistake("INSERT INTO accounts (id, owner, balance) VALUES ({n}, 'Owner {n}', 0)")
bad_value = mistake(
    "SELECT sum(price) / (count(*) - count(*)) FROM products WHERE id < {n}",
    "SELECT * FROM orders WHERE id = 'A-{n}'",
    "INSERT INTO customers (email, name, balance) VALUES ('new{n}@example.org', NULL, 0)",
    "INSERT INTO customers (email, name, balance) VALUES ('long{n}@example.org', repeat('Anna ', {n} + 10), 0)",
    "INSERT INTO order_items (order_id, product_id, quantity) VALUES ({n}, 100{n}, 1)",
    """
    INSERT INTO order_items (order_id, product_id, quantity)
    VALUES ({n}, 7, 0)""",
    "UPDATE products SET stock = stock - 1000000 WHERE id = {n}",
    "SELECT '2023-02-3{n}'::date",
)
overdrawn = mistake(
    "UPDATE accounts SET balance = balance - 1000000 WHERE id = {n}",
    "INSERT INTO transfers (id, source, target, amount) VALUES (gen_random_uuid(), {n}, 9{n}00, 5)",
    "SELECT 100 * balance / (id - {n}) FROM accounts WHERE id = {n}",
)
out_of_place = mistake(
    "COMMIT",
    "DO $$ BEGIN RAISE WARNING 'price list is {n} days old'; END $$",
    """
    DO $$
    BEGIN
        RAISE WARNING 'feed answered slowly, {n} items skipped'
            USING HINT = 'The next run will try them again.';
    END $$""",
    "DO $$ BEGIN RAISE EXCEPTION 'order {n} is already closed' USING HINT = 'Open a new order.'; END $$",
    "DROP TABLE customers",
    "VACUUM pg_class",
)


def impatient(client: Client) -> None:
    """A person stops a query that takes too long."""
    [[pid]] = client.db.run("SELECT pg_backend_pid()")
    # Connected beforehand, so that a fault that refuses connections does not let the query run on.
    second = client.connect()

    def cancel() -> None:
        with contextlib.suppress(*LOST, pg8000.DatabaseError), contextlib.closing(second):
            second.run(f"SELECT pg_cancel_backend({pid})")

    timer = threading.Timer(client.rng.uniform(0.1, 0.4), cancel)
    timer.start()
    try:
        client.db.run("SELECT count(*), pg_sleep(5) FROM generate_series(1, 10) GROUP BY ()")
    finally:
        timer.join()


OVERLONG = "SELECT pg_sleep(2), count(*) FROM pg_class"
"""The one ordinary statement that is meant to run into a timeout."""


def out_of_time(client: Client) -> None:
    """A query with a limit of its own, deliberately short."""
    with client.transaction() as db:
        db.run(f"SET LOCAL statement_timeout = '{client.rng.randint(80, 250)}ms'")
        db.run(OVERLONG)


def outdated(client: Client) -> None:
    """A repeatable-read transaction meets a newer version of its row."""
    table = "products" if client.database == client.server.names.shop else "accounts"
    column = "stock" if table == "products" else "balance"
    row = client.rng.randint(1, 180)
    with client.transaction("ISOLATION LEVEL REPEATABLE READ") as db:
        db.run(f"SELECT {column} FROM {table} WHERE id = {row}")
        with contextlib.closing(client.connect()) as second:
            second.run(f"UPDATE {table} SET {column} = {column} + 1 WHERE id = {row}")
        db.run(f"UPDATE {table} SET {column} = {column} - 1 WHERE id = {row}")


# A step named twice is twice as frequent.
SHOP_WORK: Sequence[Step] = (
    *(place_order, place_order, place_order, pay_order, browse, browse, prepared_lookup),
    *(track_event, track_event, track_event, read_archive, read_archive, slow_search, check_stock),
)
LEDGER_WORK: Sequence[Step] = (transfer, transfer, transfer, read_balance, statement_of_account)
REPORTS_WORK: Sequence[Step] = (sorted_report, sorted_report, revenue_report, read_archive, export_orders, slow_search)
BATCH_WORK: Sequence[Step] = (import_events, import_events, restock, restock, stage_import, check_stock, read_archive)
UPKEEP: Sequence[Step] = (
    *(upkeep_vacuum, upkeep_vacuum, upkeep_checkpoint, upkeep_backup, upkeep_purge, upkeep_reindex),
    *(upkeep_watch, upkeep_watch),
)
SHOP_MISTAKES: Sequence[Step] = (
    *(misspelt, misspelt, misspelt, duplicate, duplicate, bad_value, bad_value, out_of_place, impatient),
    *(out_of_time, outdated),
)
LEDGER_MISTAKES: Sequence[Step] = (
    *(misspelt_ledger, misspelt_ledger, duplicate_account, overdrawn, impatient, out_of_time, outdated),
)


# --- faults ----------------------------------------------------------------------------------------------------------


class PostgreSQL(Lab):
    """One cluster and its clients."""

    settings: Settings

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(settings, seed)
        self.server = Server(settings, NAMES[seed % len(NAMES)])
        self.log = self.server.log

    def start(self) -> None:
        """Make the cluster and start it."""
        self.server.create()

    def employ_clients(self) -> None:
        """All ordinary clients."""
        for number, (user, database, address, application) in enumerate(self.server.names.clients()):
            rng = self.client_rng(number)
            self.crew.start(Client(self.server, self.crew, rng, user, database, address, application).session)

    def stop(self) -> None:
        """A clean shutdown."""
        self.server.stop(signal.SIGINT)

    def entries(self) -> Sequence[Entry]:
        """The log, joined with its private copy."""
        return read_log(self.server.log, self.server.truth)

    def intruder(self, role: str = "", database: str = "", password: str = PASSWORD) -> Any:
        """A connection from the injector's address that otherwise looks like some ordinary client's."""
        alike = [
            client
            for client in self.server.names.clients()
            if client[0] == role or (not role and client[0] != "postgres")
        ]
        alike = [client for client in alike if database in ("", client[1])]
        if not alike:  # a role nobody uses
            alike = [(role, database or self.server.names.shop, "", "")]
        role, database, _, application = self.rng.choice(alike)
        return self.server.connect(role, database, INJECTOR_ADDRESS, application, password)

    def attempt(self, db: Any, statement: str, **values: int) -> None:
        """Run a statement that may well fail."""
        with contextlib.suppress(pg8000.DatabaseError):
            db.run(sql(statement), **values)


def backend_killed(lab: PostgreSQL, interval: Interval) -> None:
    """SIGKILL to one backend: the server ends all sessions and recovers. Sometimes it happens again at once."""
    victims: list[int] = []

    def some_connected() -> bool:
        victims[:] = lab.server.client_processes()
        return bool(victims)

    for _ in range(lab.rng.choice([1, 1, 2])):
        wait_until(some_connected, 10, "a client is connected")
        victim = lab.rng.choice(victims)
        mark = lab.server.log.stat().st_size
        interval.touched[victim] = datetime.now(UTC)
        os.kill(victim, signal.SIGKILL)
        lab.server.wait_ready(mark)
        lab.hold(0.0, 0.8)


postmaster_killed = faults.lasting(lambda lab: faults.down(lab.server), 0.2, 1.5)
"""SIGKILL to the first process; the operator starts the server again and it recovers."""


immediate_shutdown = faults.lasting(lambda lab: faults.down(lab.server, signal.SIGQUIT), 0.2, 1.5)
"""Someone stops the server without letting it finish; it recovers at the next start."""


def connections_exhausted(lab: PostgreSQL, interval: Interval) -> None:
    """One client takes every connection slot, in half of the cases those of administrators too."""
    taken: list[Any] = []
    users = [""] * 40 + (["postgres"] * 5 if lab.rng.random() < 0.5 else [])
    refused = 0
    for user in users:
        try:
            taken.append(lab.intruder(user))
        except pg8000.DatabaseError:
            refused += 1
            if refused > lab.rng.randint(2, 8) and not user and len(users) == 40:
                break
    lab.hold(1.5, 3.5)
    for db in taken:
        db.close()


def brute_force(lab: PostgreSQL, interval: Interval) -> None:
    """Guessing passwords, of roles that exist and of some that do not."""
    names = lab.server.names
    many = [names.web, names.reports, "postgres", "admin", "root", "test"]
    users = lab.rng.choice([[names.web], ["postgres"], many])
    for number in range(lab.rng.randint(8, 35)):
        with contextlib.suppress(pg8000.DatabaseError):
            lab.intruder(lab.rng.choice(users), password=f"password{number}").close()
        lab.hold(0.0, 0.1)


def disk_full(lab: PostgreSQL, interval: Interval) -> None:
    """Something else fills the disk of one tablespace.

    Healed by a larger disk first: PostgreSQL needs room even to make room.
    """
    disk, ballast = lab.server.small_disk, lab.server.small_disk / "ballast"
    try:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            for _ in range(1 << 15):
                file.write(b"\0" * 4096)
        lab.hold(2.5, 4.5)
    finally:
        subprocess.run(["mount", "-o", f"remount,size={LARGER_DISK}", disk], check=True)
        ballast.unlink()
        subprocess.run(["mount", "-o", f"remount,size={SMALL_DISK}", disk], check=True)


def lock_wait(lab: PostgreSQL, interval: Interval) -> None:
    """One session locks a table and forgets it; others wait, and their timeouts strike."""
    names = lab.server.names
    database, table = lab.rng.choice([(names.shop, "products"), (names.shop, "orders"), (names.ledger, "accounts")])
    with contextlib.closing(lab.intruder(names.web, database)) as db:
        db.run("BEGIN")
        db.run(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        lab.hold(1.8, 3.5)
        db.run("ROLLBACK")
    time.sleep(0.3)


def statement_timeouts(lab: PostgreSQL, interval: Interval) -> None:
    """An application whose heavy statements never finish in the time it allows."""
    with contextlib.closing(lab.intruder("", lab.server.names.shop)) as db:
        db.run(f"SET statement_timeout = '{lab.rng.randint(100, 250)}ms'")
        for _ in range(lab.rng.randint(5, 14)):
            lab.attempt(
                db,
                """
                SELECT count(*)
                  FROM order_items a
                  JOIN order_items b ON b.quantity = a.quantity
                  JOIN orders o ON o.id = a.order_id""",
            )
            lab.hold(0.0, 0.1)


def deadlocks(lab: PostgreSQL, interval: Interval) -> None:
    """Pairs of sessions take the same two rows in opposite order."""

    def take(db: Any, row: int) -> None:
        lab.attempt(db, "UPDATE accounts SET balance = balance - :amount WHERE id = :id", amount=1, id=row)

    for _ in range(lab.rng.randint(1, 3)):
        pairs = []
        for _ in range(lab.rng.randint(1, 3)):
            rows = lab.rng.sample(range(1, 601), 2)
            sessions = [lab.intruder("", lab.server.names.ledger) for _ in rows]
            for db, row in zip(sessions, rows, strict=True):
                db.run("BEGIN")
                take(db, row)
            pairs.append((sessions, rows))
        threads = [
            threading.Thread(target=take, args=(db, row))
            for sessions, rows in pairs
            for db, row in zip(sessions, reversed(rows), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for sessions, _ in pairs:
            for db in sessions:
                db.run("ROLLBACK")
                db.close()


BAD_OPTIONS = (
    "shared_buffers = 'plenty'",
    "work_mem = 4X",
    "max_conections = 200",
    "log_min_duration_statement = fast",
    "synchronous_commit = maybe",
    "checkpoint_timeout = 5",
    "effective_cache_sise = 1GB",
    "this line is not a setting",
    "random_page_cost = -4",
    "max_connections = 300",
    "wal_level = minimum",
    "autovacuum = sometimes",
    "include 'tuning.conf'",
)
BAD_ACCESS = (
    "hosts   all   all   127.0.0.0/8   scram-sha-256",
    "host    all   all   127.0.0.0/40  scram-sha-256",
    "host    all   all   127.0.0.0/8   scram-sha-512",
    "host    all   all   127.0.0.0/8",
    "host    all   all   scram-sha-256",
    "host    all   all   127.0.0.0/8   md5 clientcert=maybe",
    "local   all   all   peer  map",
    "hostssl all",
)


def reload_with(lab: PostgreSQL, interval: Interval, file: Path, text: str, least: float, most: float) -> None:
    """Load `file` with another content for a while, then the right content again."""
    good = file.read_text()
    try:
        file.write_text(text)
        lab.server.reload()
        lab.hold(least, most)
    finally:
        interval.repair = datetime.now(UTC)
        file.write_text(good)
        lab.server.reload()
        time.sleep(0.2)


def broken_configuration(lab: PostgreSQL, interval: Interval) -> None:
    """A typo in postgresql.conf or pg_hba.conf; the server rejects it and goes on with the old file."""
    file, bad = lab.rng.choice([(lab.server.configuration, BAD_OPTIONS), (lab.server.access, BAD_ACCESS)])
    lines = lab.rng.sample(bad, lab.rng.randint(1, 4))
    reload_with(lab, interval, file, file.read_text() + "\n".join(lines) + "\n", 0.5, 1.5)


def locked_out(lab: PostgreSQL, interval: Interval) -> None:
    """A valid pg_hba.conf that forgets the applications: new connections are turned away."""
    forgotten = "".join(
        line for line in lab.server.access.read_text().splitlines(keepends=True) if "127.0.0.0/8" not in line
    )
    if lab.rng.random() < 0.4:
        forgotten += "host    all    all    127.0.0.0/8    reject\n"
    reload_with(lab, interval, lab.server.access, forgotten, 2.0, 3.5)


def corrupted_page(lab: PostgreSQL, interval: Interval) -> None:
    """Bytes of a table change on disk; readers run into a wrong checksum."""
    page, file = lab.rng.randint(20, 200), lab.server.archive_file
    offset, size = page * 8192 + 512, lab.rng.randint(16, 400)
    with file.open("r+b", buffering=0) as handle:
        handle.seek(offset)
        good = handle.read(size)
        handle.seek(offset)
        handle.write(lab.rng.randbytes(size))
        lab.hold(3.0, 5.0)
        handle.seek(offset)
        handle.write(good)


unreadable_file = faults.lasting(lambda lab: faults.permissions(lab.server.archive_file, 0, 0o600), 3.0, 5.0)
"""Someone changes the permissions of a table's file."""


def out_of_memory(lab: PostgreSQL, interval: Interval) -> None:
    """A session outgrows its limits: memory, the largest allocation, space for temporary files."""
    with contextlib.closing(lab.intruder("", lab.server.names.shop)) as db:
        [[pid]] = db.run("SELECT pg_backend_pid()")
        # The soft limit of another process is its own user's to lower; root without CAP_SYS_RESOURCE may not.
        limit = ["prlimit", f"--pid={pid}", f"--as={300 << 20}:"]
        subprocess.run(limit, check=True, user="postgres", group="postgres", extra_groups=[])
        for _ in range(lab.rng.randint(2, 6)):
            lab.attempt(
                db,
                lab.rng.choice(
                    [
                        "SELECT repeat('x', 1100000000)",
                        "SELECT a.id, b.note\n  FROM archive a, archive b\n ORDER BY b.note, a.id",
                        "SELECT string_agg(repeat(note, 2000), '')\n  FROM archive",
                    ]
                ),
            )
            lab.hold(0.1, 0.4)


def sessions_terminated(lab: PostgreSQL, interval: Interval) -> None:
    """An administrator ends other people's sessions."""
    with contextlib.closing(lab.intruder("postgres")) as db:
        for _ in range(lab.rng.randint(2, 5)):
            for pid in lab.server.client_processes():
                if lab.rng.random() < 0.6:
                    interval.touched[pid] = datetime.now(UTC)
                    db.run(f"SELECT pg_terminate_backend({pid})")
            lab.hold(0.3, 0.8)


def connection_storm(lab: PostgreSQL, interval: Interval) -> None:
    """A client that opens a connection for every small query; each line is ordinary, their number is not."""
    user = lab.rng.choice([lab.server.names.web, lab.server.names.reports])
    for _ in range(lab.rng.randint(15, 35)):
        with contextlib.closing(lab.intruder(user, lab.server.names.shop)) as db:
            db.run("SELECT 1")


def replayed_import(lab: PostgreSQL, interval: Interval) -> None:
    """An import runs a second time: the same small error as on any day, many times over."""
    with contextlib.closing(lab.intruder(lab.server.names.batch, lab.server.names.shop)) as db:
        for number in range(lab.rng.randint(15, 50)):
            lab.attempt(db, f"INSERT INTO products (sku, price, stock) VALUES ('SKU-{number + 1}', 9.99, 10)")
            lab.hold(0.0, 0.06)


standstill = faults.lasting(
    lambda lab: faults.frozen([lab.server.postmaster, *children_of(lab.server.postmaster)]),
    2.0,
    4.0,
    faults.settle(0.3),
)
"""The machine stands still for some seconds; then everything goes on, late."""


# --- which entries a fault caused ------------------------------------------------------------------------------------

CLIENT_PROCESSES = ("client backend", "not initialized", "parallel worker", "autovacuum worker")
NOTICEABLE_WAIT = 250.0
"""Milliseconds. Ordinary statements stay below, apart from REINDEX and from the time they sleep on purpose."""

_DURATION = re.compile(r"duration: (\d+\.\d+) ms")
_LOCK_WAIT = re.compile(r"process \d+ (still waiting for|acquired|detected deadlock while waiting for) ")


def by_crash(entry: Entry, interval: Interval) -> bool:
    """Everything the server's own processes say from the crash until it is ready again, and sessions lost by it."""
    if entry.process not in CLIENT_PROCESSES:
        return interval.contains(entry.time)
    return entry.code in ("57P01", "57P02", "57P03") and interval.contains(entry.time, GRACE)


def by_code(*codes: str, text: str = "") -> Rule:
    """Entries with one of these SQLSTATEs and this `text` in their message, whoever wrote them."""

    def rule(entry: Entry, interval: Interval) -> bool:
        return entry.code in codes and text in entry.message and interval.contains(entry.time, GRACE)

    return rule


def timed_out(entry: Entry) -> bool:
    """Whether a timeout ended a statement that ordinarily meets none."""
    return entry.code == "57014" and "timeout" in entry.message and entry.statement != OVERLONG


def by_waiting(entry: Entry, interval: Interval) -> bool:
    """Sessions that waited for the injector's lock: the wait, the timeout that ended it, or how long it took."""
    if not interval.contains(entry.time, GRACE):
        return False
    duration = _DURATION.match(entry.message)
    slow = "pg_sleep" in entry.message or "REINDEX" in entry.message
    least = NOTICEABLE_WAIT + (LONGEST_SLEEP if slow else 0)
    return (
        _LOCK_WAIT.match(entry.message) is not None
        or entry.code in ("55P03", "40P01")
        or timed_out(entry)
        or "canceling autovacuum task" in entry.message
        or (duration is not None and float(duration[1]) >= least)
    )


def by_standstill(entry: Entry, interval: Interval) -> bool:
    """Statements that were under way when the machine stood still, and ended late."""
    if not interval.contains(entry.time, GRACE):
        return False
    duration = _DURATION.match(entry.message)
    lasted = (interval.end - interval.start).total_seconds()
    return (
        _LOCK_WAIT.match(entry.message) is not None
        or timed_out(entry)
        or (duration is not None and float(duration[1]) >= 500 * lasted)
    )


def by_reload(entry: Entry, interval: Interval) -> bool:
    """What the first process says about the broken file, until the repair."""
    repair = interval.repair or interval.end
    # The broken file is read long before the repair; the repair's own lines may carry its very millisecond.
    return entry.process == "postmaster" and interval.contains(entry.time) and entry.time < repair - CLOCK_STEP


def by_lockout(entry: Entry, interval: Interval) -> bool:
    """The reload, and everyone turned away for lack of an entry in pg_hba.conf."""
    turned_away = entry.code == "28000" and "pg_hba.conf" in entry.message and interval.contains(entry.time, GRACE)
    return turned_away or by_reload(entry, interval)


FAULTS = {
    "backend_killed": Fault(backend_killed, by_crash),
    "postmaster_killed": Fault(postmaster_killed, by_crash),
    "immediate_shutdown": Fault(immediate_shutdown, by_crash, often=False),
    "connections_exhausted": Fault(connections_exhausted, by_code("53300")),
    "brute_force": Fault(brute_force),
    "disk_full": Fault(disk_full, by_code("53100")),
    "lock_wait": Fault(lock_wait, by_waiting),
    "statement_timeouts": Fault(statement_timeouts, often=False),
    "deadlocks": Fault(deadlocks, by_waiting),
    "broken_configuration": Fault(broken_configuration, by_reload),
    "locked_out": Fault(locked_out, by_lockout, often=False),
    "corrupted_page": Fault(corrupted_page, by_code("XX001"), often=False),
    "unreadable_file": Fault(unreadable_file, by_code("42501", text="could not open file"), often=False),
    "out_of_memory": Fault(out_of_memory, often=False),
    "sessions_terminated": Fault(sessions_terminated, often=False),
    "connection_storm": Fault(connection_storm, visible="order", possible=lambda settings: settings.logs_connections),
    "replayed_import": Fault(replayed_import, visible="order", often=False),
    "frozen": Fault(standstill, by_standstill, visible="silence", often=False),
}


def clean_restart(lab: PostgreSQL) -> None:
    """What an administrator does after an update."""
    lab.server.stop(signal.SIGINT)
    lab.hold(0.1, 0.6)
    lab.server.start()


def valid_reload(lab: PostgreSQL) -> None:
    """A reload that changes little or nothing."""
    memory = lab.rng.choice(["256kB", "256kB", "192kB", "320kB"])
    text = lab.server.configuration.read_text()
    lab.server.configuration.write_text(re.sub(r"work_mem = '\d+kB'", f"work_mem = '{memory}'", text))
    lab.server.reload()
    time.sleep(0.2)


SERVICE = Service(
    name="postgresql",
    lab=PostgreSQL,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload},
    repeats={"clean_restart": 1, "valid_reload": 3},
    private_folder=PRIVATE_FOLDER,
)


# --- the log ---------------------------------------------------------------------------------------------------------

_HEAD = re.compile(r"^\S+ \S+ UTC \[(\d+)\].*? ([A-Z][A-Z0-9]+):  (.*)$")
OUT_OF_MEMORY = "53200"
_PARTS = ("DETAIL", "HINT", "QUERY", "CONTEXT", "STATEMENT", "LOCATION", "BACKTRACE")


def split_entries(lines: Sequence[str]) -> Iterator[tuple[int | None, tuple[str, ...]]]:
    """Group the physical lines of a PostgreSQL log into entries, each with its process id.

    DETAIL, HINT, STATEMENT and the like belong to the entry above, as do tab-indented continuation lines. Lines with
    neither prefix nor tab are a table of memory contexts, which a process prints ahead of its "out of memory"; they
    form a group without process id.
    """
    pid: int | None = None
    current: list[str] = []
    for line in lines:
        head = _HEAD.match(line)
        starts_entry = head is not None and head[2] not in _PARTS
        starts_table = head is None and not line.startswith("\t") and (pid is not None or not current)
        if starts_entry or starts_table:
            if current:
                yield pid, tuple(current)
            pid, current = (int(head[1]) if head else None), []
        current.append(line)
    if current:
        yield pid, tuple(current)


def read_log(log: Path, truth: Path) -> list[Entry]:
    """Join the recorded log with its private copy: the n-th entry of a process is the n-th in both.

    Raises `ValueError` where the two disagree.
    """
    copies: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for text in truth.read_text().splitlines():
        copy = json.loads(text)
        copies[copy["pid"]].append(copy)
    entries: list[Entry] = []
    tables: list[tuple[int, tuple[str, ...]]] = []  # and where they go, once their owner is known
    for pid, lines in split_entries(log.read_text().split("\n")[:-1]):
        if pid is None:
            tables.append((len(entries) + len(tables), lines))
            continue
        copy = copies[pid].pop(0) if copies[pid] else {"message": None}
        head = _HEAD.match(lines[0])
        # The recorded line may go on: "... at character 8".
        if head is None or copy["message"] is None or not head[3].startswith(copy["message"].split("\n")[0]):
            raise ValueError(f"the log and its private copy disagree: {lines[0]!r}, {copy['message']!r}")
        entries.append(
            Entry(
                lines=lines,
                time=datetime.strptime(copy["timestamp"], "%Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC),
                pid=pid,
                process=copy["backend_type"],
                remote_host=copy.get("remote_host"),
                code=copy.get("state_code"),
                severity=copy["error_severity"],
                message=copy["message"],
                statement=copy.get("statement", ""),
            )
        )
        if entries[-1].code == OUT_OF_MEMORY:
            for position, table in tables:
                entries.insert(position, replace(entries[-1], lines=table))
            tables = []
    if tables:
        raise ValueError(f"nobody ran out of memory after {tables[0][1][0]!r}")
    return entries
