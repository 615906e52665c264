"""Tomcat with a shop (`tomcat_app`): ordinary customers, faults, and which entries a fault caused.

All logs go to one file in the order they were made. `tomcat_app/recorder` prefixes each entry with the thread, the
visitor it served and the number of lines, between two control characters; labels rest on that prefix, which is then
removed.
"""

import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES, Client, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, any_of, says
from recordings.logs import read_from, size_of
from recordings.processes import ROOT, Daemon, make_folder, python_daemon, wait_until
from recordings.service import Fault, Lab, Service
from recordings.web import get, scan

HOME = Path("/srv/tomcat")
INSTALLED, CONFIGURATION = Path("/usr/share/tomcat10"), Path("/etc/tomcat10")
PORT, WAREHOUSE_PORT = 8080, 8001
SOURCES = ROOT / "recordings/tomcat_app"
CLASSES = HOME / "webapps/shop/WEB-INF/classes/org/example/shop"
SHOP_CONFIGURATION = HOME / "webapps/shop/WEB-INF/web.xml"
PICTURES = HOME / "shop/pictures"


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    formatter: str
    access: str  # pattern of the access log
    pace: float  # steps per second of one customer
    more: str = ""  # of the logging configuration


SETTINGS = {
    "oneline": Settings("org.apache.juli.OneLineFormatter", "common", 0.65),
    "simple": Settings("java.util.logging.SimpleFormatter", "combined", 0.65),
    "json": Settings(
        "org.apache.juli.JsonFormatter",
        '{"time": "%{yyyy-MM-dd\'T\'HH:mm:ss.SSSXXX}t", "host": "%a", "thread": "%I", "request": "%r", "status": %s, '
        '"size": "%b", "millis": %D}',
        1.5,
    ),
    "fine": Settings(
        "org.apache.juli.OneLineFormatter",
        '%a %v "%r" %s %B bytes %D us %I',
        0.35,
        "org.apache.juli.OneLineFormatter.timeFormat = yyyy-MM-dd HH:mm:ss.SSS\n"
        "org.example.shop.level = FINE\norg.apache.catalina.session.level = FINER\n"
        "org.apache.coyote.http11.Http11NioProtocol.level = FINER\n",
    ),
}

LOGGING = """\
handlers = recorder.Recorder
.handlers = recorder.Recorder
.level = INFO
recorder.Recorder.formatter = {formatter}
{more}"""

CONNECTOR = f"""<Connector port="{PORT}" address="127.0.0.1" protocol="HTTP/1.1" connectionTimeout="3000"
               keepAliveTimeout="1000" maxThreads="20" minSpareThreads="4" maxConnections="80" acceptCount="20"
               maxHttpRequestHeaderSize="4096" maxParameterCount="1000" />"""

CONTEXT = """\
    <Manager maxActiveSessions="45" processExpiresFrequency="1" />
    <JarScanner scanClassPath="false" />
</Context>"""

SERVLETS = {
    "CataloguePage": ("/items/*", "/search", "/categories", "/export", "/health"),
    "CustomerPage": ("/login", "/logout", "/cart"),
    "OrderPage": ("/orders", "/stock"),
    "OfficePage": ("/report", "/upload", "/prices", "/import"),
}


def shop_configuration() -> str:
    """The application's web.xml."""
    parts = ["<listener><listener-class>org.example.shop.Shop</listener-class></listener>"]
    for name, paths in SERVLETS.items():
        servlet = name.removesuffix("Page").lower()
        parts.append(
            f"<servlet><servlet-name>{servlet}</servlet-name><servlet-class>org.example.shop.{name}</servlet-class></servlet>"
        )
        patterns = "".join(f"<url-pattern>{path}</url-pattern>" for path in paths)
        parts.append(f"<servlet-mapping><servlet-name>{servlet}</servlet-name>{patterns}</servlet-mapping>")
    lines = "\n  ".join(parts)
    return (
        '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">\n'
        f"  {lines}\n</web-app>\n"
    )


class Tomcat(Lab):
    """Tomcat, the shop in it, and the warehouse's service that the shop asks."""

    settings: Settings
    log = HOME / "log" / "tomcat.log"
    server = HOME / "conf/server.xml"

    def start(self) -> None:
        """Folders, configuration, classes, warehouse, Tomcat."""
        for name in ("log", "bin", "lib", "logs", "temp", "work", "webapps/shop/WEB-INF/classes", "shop", "warehouse"):
            make_folder(HOME / name, "tomcat")
        faults.mount_small_disk(PICTURES, "2m", "tomcat")
        shutil.copytree(CONFIGURATION, HOME / "conf")
        self.configure()
        self.write_prices()
        self.compile()
        for path in (HOME / "conf", *(HOME / "conf").rglob("*"), *(HOME / "webapps").rglob("*")):
            shutil.chown(path, "tomcat", "tomcat")
        self.warehouse = python_daemon(
            "backend",
            WAREHOUSE_PORT,
            HOME / "warehouse",
            console=HOME / "warehouse/console.txt",
            port=WAREHOUSE_PORT,
        )
        self.warehouse.start()
        self.launch()

    def configure(self) -> None:
        """Debian's configuration with our port, access log, logging and limits."""
        text = self.server.read_text()
        text = re.sub(r'<Connector port="8080".*?/>', CONNECTOR, text, count=1, flags=re.DOTALL)
        pattern = self.settings.access.replace("&", "&amp;").replace('"', "&quot;")
        valves = (
            f'<Valve className="recorder.Access" pattern="{pattern}" />\n'
            '        <Valve className="org.apache.catalina.valves.StuckThreadDetectionValve" threshold="2" />'
        )
        own_log = r'<Valve className="org.apache.catalina.valves.AccessLogValve".*?/>'
        text = re.sub(own_log, lambda _: valves, text, flags=re.DOTALL)
        self.server.write_text(text.replace("<Engine ", '<Engine backgroundProcessorDelay="1" '))
        context = HOME / "conf/context.xml"
        context.write_text(context.read_text().replace("</Context>", CONTEXT))
        more = {"formatter": self.settings.formatter, "more": self.settings.more}
        (HOME / "conf/logging.properties").write_text(LOGGING.format(**more))
        SHOP_CONFIGURATION.write_text(shop_configuration())

    def write_prices(self, wrong: Sequence[str] = ()) -> None:
        """A new price list, with some `wrong` lines."""
        lines = [f"{item},{self.rng.randint(90, 9900)}" for item in range(1, 501)]
        for line in wrong:
            lines.insert(self.rng.randrange(len(lines)), line)
        (HOME / "shop/prices.csv").write_text("\n".join(lines) + "\n")

    def compile(self) -> None:
        """Classes of the shop, and of the recorder: the log handler beside Tomcat's, the valve among its libraries."""
        libraries = ":".join(map(str, sorted((INSTALLED / "lib").glob("*.jar"))))
        for pattern, folder, known in (
            ("recorder/Recorder.java", HOME / "bin", ""),
            ("recorder/Access.java", HOME / "lib", str(HOME / "bin")),
            ("org/example/shop/*.java", CLASSES.parents[2], ""),
        ):
            command = ["javac", "-J-XX:-UsePerfData", "-cp", f"{libraries}:{INSTALLED}/bin/tomcat-juli.jar:{known}"]
            subprocess.run([*command, "-d", folder, *sorted(SOURCES.glob(pattern))], check=True)

    def launch(self) -> None:
        """Start Tomcat and wait until it is up."""
        self.tomcat = self.daemon()
        self.tomcat.start()

    def daemon(self) -> Daemon:
        """A Tomcat to start; ready once the log says so from here on."""
        self.log.touch()
        mark = size_of(self.log)

        def ready() -> bool:
            return b"Server startup in" in read_from(self.log, mark)

        options = ("-Xmx96m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:MaxJavaStackTraceDepth=90")
        properties = {
            "java.util.logging.config.file": HOME / "conf/logging.properties",
            "java.util.logging.manager": "org.apache.juli.ClassLoaderLogManager",
            "org.apache.juli.logging.UserDataHelper.CONFIG": "INFO_ALL",  # else only the first malformed request
            "java.io.tmpdir": HOME / "temp",
            "catalina.base": HOME,
            "catalina.home": INSTALLED,
            "shop.home": HOME / "shop",
            "shop.warehouse": WAREHOUSE_PORT,
        }
        jars = f"{INSTALLED}/bin/bootstrap.jar:{INSTALLED}/bin/tomcat-juli.jar:{HOME}/bin"
        command = ["java", *options, "-XX:-UsePerfData", *(f"-D{name}={value}" for name, value in properties.items())]
        for package in ("lang", "io", "util", "util.concurrent"):  # as Tomcat's own script does
            command.append(f"--add-opens=java.base/java.{package}=ALL-UNNAMED")
        command.append("--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED")
        command += ["-cp", jars, "org.apache.catalina.startup.Bootstrap", "start"]
        return Daemon(command, self.log, ready, "tomcat", cwd=HOME)

    def redeploy(self) -> None:
        """Tomcat looks at web.xml every second and redeploys the shop if it has changed."""
        os.utime(SHOP_CONFIGURATION, (time.time(), time.time()))

    def wait_for_line(self, pattern: str, act: Callable[[], None], seconds: float = 15.0) -> None:
        """Act, and wait until the log matches the regular expression `pattern` from here on."""
        mark = size_of(self.log)
        act()
        wait_until(lambda: re.search(pattern.encode(), read_from(self.log, mark)) is not None, seconds, pattern)

    def employ_clients(self) -> None:
        """Customers, the office, a monitor."""
        for number in range(9):
            self.crew.start(Customer(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).step)
        self.crew.start(Monitor(self, CLIENT_ADDRESSES[6]).probe)

    def stop(self) -> None:
        """Tomcat, the warehouse."""
        for daemon in (self.tomcat, self.warehouse):
            daemon.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return attribute(list(read_log(self.log)))


# --- the log ---------------------------------------------------------------------------------------------------------

_MARK = re.compile(r"^\x1e([^\x1f]*)\x1f(.*)$")
_REMOTE = re.compile(r"remote=[^/ ]*/([\d.]+):")
_SESSION = re.compile(r"session ([0-9A-F]{10}) (opened|closed)")
_NOT_DEPLOYED = r"Context \[.?/shop\] startup failed|Exception starting Context with name \[.?/shop\]"
_SLOW = "org.example.shop.Slow"


def read_log(path: Path) -> Iterator[Entry]:
    """Entries with their thread as `statement` and their logger as `process`; lines of the JVM itself stand alone."""
    lines = iter(path.read_bytes().decode(errors="backslashreplace").split("\n")[:-1])
    moment = datetime.now(UTC)
    for line in lines:
        mark = _MARK.match(line)
        if mark is None:
            yield Entry((line,), moment, line, process="jvm")
            continue
        micros, pid, thread, visitor, logger, level, code, count = mark[1].split("\t")
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(micros))
        text = (mark[2], *(next(lines) for _ in range(int(count) - 1)))
        yield Entry(text, moment, "\n".join(text), int(pid), logger, visitor or None, code, level, thread)


def attribute(entries: Sequence[Entry]) -> list[Entry]:
    """Complete the entries: the visitor of each and, for the last of a request, all that was said about it before."""
    last_first = _visitors(reversed(entries))
    owners: dict[str, str] = {}
    requests: dict[tuple[int, str], list[str]] = {}
    visitors: dict[tuple[int, str], str] = {}
    undeployed = False
    found = []
    for entry in reversed(last_first):
        thread = (entry.pid, entry.statement)
        if remote := _REMOTE.search(entry.message):
            visitors[thread] = remote[1]
        elif entry.process == "access" and entry.remote_host is not None:
            visitors[thread] = entry.remote_host
        served = entry.remote_host is not None
        if not served and "-exec-" in entry.statement:  # before or after the request itself
            entry = replace(entry, remote_host=visitors.get(thread))
        if session := _SESSION.search(entry.message):
            if session[2] == "opened" and entry.remote_host is not None:
                owners[session[1]] = entry.remote_host
            elif entry.remote_host is None:  # it expired
                entry = replace(entry, remote_host=owners.get(session[1]))
        if re.search(_NOT_DEPLOYED, entry.message):
            undeployed = True
        elif "shop opened with" in entry.message:
            undeployed = False
        request = requests.setdefault(thread, [])
        if served:
            request.append(entry.message)
        if entry.process in ("access", _SLOW):
            entry = replace(entry, message="\n".join(request))
        if entry.process == "access":
            request.clear()
            if undeployed and entry.code == "404" and "/shop/" in entry.lines[0]:
                entry = replace(entry, process="undeployed")
        found.append(entry)
    return found


def _visitors(last_first: Iterable[Entry]) -> list[Entry]:
    """The visitor of a request that could not be read: its end follows in the same thread."""
    visitors: dict[tuple[int, str], str | None] = {}
    found = []
    for entry in last_first:
        thread = (entry.pid, entry.statement)
        if entry.process == "access":
            visitors[thread] = entry.remote_host
        elif entry.remote_host is None and entry.process.endswith("Http11Processor"):
            entry = replace(entry, remote_host=visitors.get(thread))
        found.append(entry)
    return found


# --- ordinary work ---------------------------------------------------------------------------------------------------

CUSTOMERS = ("buyer01", "buyer02", "buyer03", "buyer04", "buyer05", "buyer06", "buyer07", "clerk", "manager")
WORDS = ("shoe", "hat", "coat", "gift", "lamp", "chair", "book")


def ask(
    method: str,
    path: str,
    address: str,
    cookie: str = "",
    body: bytes | None = None,
    timeout: float = 8.0,
    **fields: Any,
) -> tuple[int | None, str]:
    """One request with `fields` in its query; the status (None without an answer) and the session's cookie."""
    query = f"?{urllib.parse.urlencode(fields)}" if fields else ""
    link = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout, source_address=(address, 0))
    try:
        link.request(method, f"/shop{path}{query}", body=body, headers={"Cookie": cookie} if cookie else {})
        answer = link.getresponse()
        answer.read()
        return answer.status, (answer.getheader("Set-Cookie") or cookie).partition(";")[0]
    except (OSError, http.client.HTTPException):
        return None, cookie
    finally:
        link.close()


class Customer(Client):
    """Someone who buys, or works in the office, with the usual slips."""

    def __init__(self, lab: Tomcat, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.name, self.cookie, self.forms = rng.choice(CUSTOMERS), "", 0

    def ask(self, method: str, path: str, body: bytes | None = None, **fields: Any) -> int | None:
        """One request within the session."""
        status, self.cookie = ask(method, path, self.address, self.cookie, body, **fields)
        return status

    def step(self) -> None:
        """One step, and a pause."""
        rng = self.rng
        kinds: Sequence[tuple[int, Callable[[], object]]] = (
            (8, lambda: self.ask("GET", f"/items/{rng.randint(1, 60)}")),
            (5, lambda: self.ask("GET", "/search", q=rng.choice(WORDS), page=rng.randint(1, 9))),
            (3, self.log_in),
            (4, lambda: self.ask("POST", "/cart", pieces=rng.randint(1, 5))),
            (8, self.order),
            (2, lambda: self.ask("POST", "/logout") if self.cookie else None),
            (1, lambda: self.ask("GET", "/categories", depth=rng.randint(2, 9))),
            (1, lambda: self.ask("GET", "/export", format=rng.choice(["csv", "json"]))),
            (3, self.report),
            (2, lambda: self.ask("POST", "/upload", b"x" * rng.randint(300, 60000), item=rng.randint(1, 60))),
            (1, lambda: self.ask("POST", "/prices", line=f"{rng.randint(1, 500)},{rng.randint(90, 9900)}")),
            (1, lambda: self.ask("POST", "/stock", aisle=rng.randrange(8), ms=rng.randint(50, 400))),
            (1, lambda: self.ask("POST", "/import", kilobytes=rng.randint(10, 900))),
        )
        slips: Sequence[tuple[int, Callable[[], object]]] = (
            (5, lambda: self.ask("POST", "/login", name=self.name, password=f"secret{self.name}")),
            (4, lambda: self.ask("GET", f"/items/{rng.randint(501, 700)}")),
            (4, lambda: self.ask("GET", rng.choice(["/about", "/favicon.ico", "/itms/12", "/help", "/basket"]))),
            (2, lambda: ask("POST", "/logout", self.address)),
            (2, lambda: self.ask("POST", "/upload", b"x" * 120_000, item=rng.randint(1, 60))),
            (2, lambda: self.ask("PUT", "/orders", b"a=1")),
            (1, lambda: self.ask("POST", "/orders", item=rng.randint(1, 500), pieces=rng.choice([0, -1, 50, 100]))),
            (1, lambda: self.ask("GET", f"/items/{rng.choice(['abc', '12a', 'new'])}")),
            (1, lambda: self.ask("POST", "/prices", line=f"{rng.randint(1, 500)},{rng.choice(['n/a', '9.90', ''])}x")),
            (1, self.submit_twice),
            (1, self.leave_early),
            (1, self.mistyped_address),
        )
        chosen = slips if rng.random() < 0.12 else kinds
        rng.choices([act for _, act in chosen], [weight for weight, _ in chosen])[0]()
        self.pause()

    def log_in(self) -> None:
        """With a new session, as another customer now and then."""
        if self.rng.random() < 0.3:
            self.name, self.cookie = self.rng.choice(CUSTOMERS), ""
        self.ask("POST", "/login", name=self.name, password=f"secret-{self.name}")

    def order(self) -> None:
        """Most orders reach the warehouse at once; gifts have to wait, since it cannot pack them."""
        fields: dict[str, Any] = {"item": self.rng.randint(1, 500), "pieces": self.rng.randint(1, 9)}
        kind = self.rng.random()
        if kind < 0.06:
            fields["gift"] = 1
        elif kind < 0.3:
            fields["express"] = 1
        self.ask("POST", "/orders", **fields)

    def submit_twice(self) -> None:
        """The same form twice."""
        self.forms += 1
        for _ in range(2):
            token = f"{self.name}-{self.address.rpartition('.')[2]}-{id(self) % 97}-{self.forms}"
            self.ask("POST", "/orders", item=self.rng.randint(1, 500), token=token)

    def report(self) -> None:
        """Mostly short reports, rarely a long one."""
        days = self.rng.choice([1, 7, 7, 14, 30, 30, 60, 90, 220])
        self.ask("GET", "/report", kind=self.rng.choice(["sales", "stock", "customers"]), days=days)

    def leave_early(self) -> None:
        """Asks for a long report and closes the connection before it comes."""
        request = b"GET /shop/report?kind=sales&days=10&rows=20000 HTTP/1.1\r\nHost: shop.example.org\r\n\r\n"
        send_raw(PORT, request, self.address, wait=False)

    def mistyped_address(self) -> None:
        """A character that is not allowed in a URL."""
        mistyped = self.rng.choice([b"red|coat", b"<hat>", b"{gift}"])
        request = b"GET /shop/search?q=" + mistyped + b" HTTP/1.1\r\nHost: shop.example.org\r\n\r\n"
        send_raw(PORT, request, self.address)


class Monitor:
    """Asks for `/health` every second."""

    def __init__(self, lab: Tomcat, address: str) -> None:
        self.lab, self.address = lab, address

    def probe(self) -> None:
        """One probe."""
        ask("GET", "/health", self.address, timeout=3.0)
        self.lab.crew.stopping.wait(1.0)


# --- faults ----------------------------------------------------------------------------------------------------------


def inject(method: str, path: str, cookie: str = "", body: bytes | None = None, **fields: Any) -> str:
    """One request of the injector; the session's cookie."""
    return ask(method, path, INJECTOR_ADDRESS, cookie, body, **fields)[1]


def together(acts: Sequence[Callable[[], object]], pause: float = 0.0) -> None:
    """Several requests of the injector at the same time."""
    threads = [threading.Thread(target=act, daemon=True) for act in acts]
    for thread in threads:
        thread.start()
        time.sleep(pause)
    for thread in threads:
        thread.join()


warehouse_killed = faults.lasting(lambda lab: faults.down(lab.warehouse), 1.5, 3.0, faults.settle(2.3))
"""The warehouse's service dies; someone starts it again, and queued orders are sent."""


warehouse_slow = faults.lasting(lambda lab: faults.slow_backend(HOME / "warehouse", 1.3), 2.5, 4.0, faults.settle(2.3))
"""The warehouse takes longer than the shop waits."""


warehouse_unreachable = faults.lasting(
    lambda lab: faults.network_cut(WAREHOUSE_PORT, reset=lab.rng.random() < 0.5), 1.5, 3.0, faults.settle(2.3)
)
"""The network between shop and warehouse drops everything, or refuses it."""


def killed(lab: Tomcat, interval: Interval) -> None:
    """SIGKILL, which logs nothing about it; then it starts again."""
    lab.tomcat.stop(signal.SIGKILL)
    lab.hold(0.5, 2.0)
    lab.launch()


def memory_leak(lab: Tomcat, interval: Interval) -> None:
    """An import fills the heap and stays there, until Tomcat is restarted."""
    ask("POST", "/import", INJECTOR_ADDRESS, timeout=2.5, kilobytes=200_000, keep=1)
    lab.hold(0.3, 0.9)
    lab.tomcat.stop(seconds=1.5)
    lab.launch()


def huge_report(lab: Tomcat, interval: Interval) -> None:
    """Reports that need more memory than there is."""
    for _ in range(lab.rng.randint(1, 3)):
        inject("GET", "/report", kind="sales", days=1, rows=lab.rng.randint(500, 900) * 1000)
        lab.hold(0.1, 0.6)


def endless_categories(lab: Tomcat, interval: Interval) -> None:
    """A tree of categories too deep for the stack, among some that are not."""
    for depth in [lab.rng.randint(2, 9), 60_000, lab.rng.randint(2, 9)]:
        inject("GET", "/categories", depth=depth)
        lab.hold(0.1, 0.5)


def missing_format(lab: Tomcat, interval: Interval) -> None:
    """Exports without a format meet a mistake in the shop."""
    for _ in range(lab.rng.randint(1, 4)):
        fields: dict[str, Any] = {"format": "csv"} if lab.rng.random() < 0.5 else {}
        inject("GET", "/export", **fields)
        lab.hold(0.1, 0.5)
    inject("GET", "/export")


def aisle_locked(lab: Tomcat, interval: Interval) -> None:
    """Someone takes stock of half the aisles, slowly; orders there wait, and some give up."""
    aisles = lab.rng.sample(range(8), 4)
    together([partial(inject, "POST", "/stock", aisle=aisle, ms=lab.rng.randint(1400, 2600)) for aisle in aisles], 0.1)
    time.sleep(0.7)


def deadlock(lab: Tomcat, interval: Interval) -> None:
    """Two people take stock of the same aisles in opposite order; the watchdog interrupts one."""
    for _ in range(lab.rng.randint(1, 2)):
        one, other = lab.rng.sample(range(8), 2)
        orders = [(one, other), (other, one)]
        together([partial(inject, "POST", "/stock", aisle=aisle, then=then, ms=300) for aisle, then in orders])
    time.sleep(0.7)


def threads_exhausted(lab: Tomcat, interval: Interval) -> None:
    """Slow reports take every thread; other requests wait."""
    days = [330, 330, *(lab.rng.randint(120, 170) for _ in range(24))]
    together([partial(inject, "GET", "/report", kind="sales", days=number) for number in days], 0.01)
    time.sleep(1.2)


def session_flood(lab: Tomcat, interval: Interval) -> None:
    """Carts in more and more sessions until the limit; then all log out."""
    cookies: list[str] = []
    while len(cookies) < 70 and cookies.count("") < 3:
        cookies.append(inject("POST", "/cart", pieces=1))
    lab.hold(0.5, 1.2)
    for cookie in filter(None, cookies):
        inject("POST", "/logout", cookie)


def brute_force(lab: Tomcat, interval: Interval) -> None:
    """Guessing passwords; accounts are locked, for their owners too."""
    names = lab.rng.sample(CUSTOMERS, 3)
    for number in range(lab.rng.randint(20, 50)):
        inject("POST", "/login", name=lab.rng.choice(names), password=f"secret{number}")
        lab.hold(0.0, 0.08)
    time.sleep(2.0)


MALFORMED = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    b"GET /shop/search?q=<script> HTTP/1.1\r\nHost: shop.example.org\r\n\r\n",
    b"GET /shop/items/1 HTTP/1.1\r\nHost: shop example\r\n\r\n",
    b"GET /shop/items/1 HTTP/1.1\r\n\r\n",
    b"GET /shop/items/1 HTTP/9.1\r\nHost: shop.example.org\r\n\r\n",
    b"GET /shop/items/%zz HTTP/1.1\r\nHost: shop.example.org\r\n\r\n",
    b"SSH-2.0-Go\r\n\r\n",
    b"GET /shop/search?q=a HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 6000 + b"\r\n\r\n",
    b"POST /shop/cart HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n",
)


malformed_requests = faults.garbage(PORT, MALFORMED, 5, 12, pause=0.3)
"""Garbage, TLS on a plain port, headers too long or contradictory."""


SCANNED = (
    *("manager/html", "host-manager/html", "shop/WEB-INF/web.xml", "shop/.env", ".git/config", "actuator/env"),
    *("shop/admin", "shop/backup.zip", "wp-login.php", "struts2/index.action", "shop/items.bak", "console/"),
)


scan_site = scan(lambda lab, path: get(PORT, path), SCANNED, 15, 35, pause=0.05)
"""Someone looks for what other sites leave open; each line is an ordinary 404."""


def replayed_orders(lab: Tomcat, interval: Interval) -> None:
    """A client that does not wait for its answers sends the same orders again and again."""
    orders: list[dict[str, Any]] = [
        {"item": lab.rng.randint(1, 500), "pieces": lab.rng.randint(1, 9)} for _ in range(lab.rng.randint(2, 5))
    ]
    cookie = inject("POST", "/login", name="buyer02", password="secret-buyer02")
    for _ in range(lab.rng.randint(5, 10)):
        for order in orders:
            inject("POST", "/orders", cookie, **order)
    inject("POST", "/logout", cookie)


def surge(lab: Tomcat, interval: Interval) -> None:
    """One address reads the whole catalogue."""
    for item in range(1, lab.rng.randint(60, 120)):
        inject("GET", f"/items/{item}")
        if item % 10 == 0:
            inject("GET", "/search", q=lab.rng.choice(WORDS), page=item // 10)


def disk_full(lab: Tomcat, interval: Interval) -> None:
    """No room for pictures."""
    with faults.full_disk(PICTURES):
        for _ in range(3):  # more than the clients would bring in that time
            inject("POST", "/upload", body=b"x" * 20_000, item=lab.rng.randint(1, 60))
            lab.hold(1.0, 1.6)


def folder_unwritable(lab: Tomcat, interval: Interval) -> None:
    """Someone's deployment takes the pictures' folder away from Tomcat."""
    PICTURES.chmod(0)
    for _ in range(3):
        inject("POST", "/upload", body=b"x" * 2000, item=lab.rng.randint(1, 60))
        lab.hold(1.0, 1.6)
    PICTURES.chmod(0o755)


def corrupted_prices(lab: Tomcat, interval: Interval) -> None:
    """Half of the price list is garbage until the next one comes."""
    path = HOME / "shop/prices.csv"
    good = path.read_text()
    lines = good.splitlines()
    path.write_text("\n".join(line if lab.rng.random() < 0.5 else line.replace(",", ";") for line in lines) + "\n")
    lab.hold(5.2, 6.0)
    path.write_text(good)


def repair_by_deployment(lab: Tomcat, interval: Interval) -> None:
    """The operator deploys a shop that works."""
    interval.repair = datetime.now(UTC)
    lab.wait_for_line("shop opened with", lab.redeploy)
    time.sleep(0.5)


BAD_SHOPS = (
    ("</web-app>", ""),
    ("<servlet-name>office</servlet-name><url", "<servlet-name>ofice</servlet-name><url"),
    ("org.example.shop.Shop<", "org.example.shop.Schop<"),
    ("<url-pattern>/cart<", "<url-pattern>/items/*<"),
    ("<url-pattern>/login<", "<url-pattern>login<"),
    ("CustomerPage</servlet-class></servlet>", "CustomerPage</servlet-class>"),
)


def broken_deployment(lab: Tomcat, interval: Interval) -> None:
    """The shop is redeployed with a wrong web.xml; visitors find nothing until the right one is back."""
    good = SHOP_CONFIGURATION.read_text()
    SHOP_CONFIGURATION.write_text(good.replace(*lab.rng.choice(BAD_SHOPS), 1))
    try:
        lab.wait_for_line(_NOT_DEPLOYED, lab.redeploy)
        lab.hold(0.8, 2.0)
    finally:
        SHOP_CONFIGURATION.write_text(good)
    repair_by_deployment(lab, interval)


def class_missing(lab: Tomcat, interval: Interval) -> None:
    """A deployment without one class; searches fail until it is complete."""
    path = CLASSES / "PriceList.class"
    content = path.read_bytes()
    path.unlink()
    try:
        lab.wait_for_line("shop opened with", lab.redeploy)
        for _ in range(3):
            inject("GET", "/search", q=lab.rng.choice(WORDS), page=1)
            lab.hold(0.5, 1.0)
    finally:
        path.write_bytes(content)
    repair_by_deployment(lab, interval)


BAD_SERVERS = (
    ("</Host>", ""),
    ("recorder.Access", "recorder.Acces"),
    ('protocol="HTTP/1.1"', 'protocol="HTTP/1.1'),
)


def broken_server(lab: Tomcat, interval: Interval) -> None:
    """A restart with a wrong server.xml, or with the port taken by someone else; then one that works."""
    good = lab.server.read_text()
    lab.tomcat.stop()
    with contextlib.ExitStack() as things:
        if lab.rng.random() < 0.35:
            occupant = things.enter_context(socket.socket())
            occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            occupant.bind(("127.0.0.1", PORT))
            occupant.listen()
        else:
            lab.server.write_text(good.replace(*lab.rng.choice(BAD_SERVERS), 1))
        lab.tomcat = lab.daemon()
        with contextlib.suppress(RuntimeError):
            lab.tomcat.start()
        interval.touched[lab.tomcat.pid] = interval.start
        lab.hold(0.3, 1.0)
        lab.tomcat.stop()
    lab.server.write_text(good)
    lab.launch()


def job_silent(lab: Tomcat, interval: Interval) -> None:
    """The heartbeat, or another job, does not come any more; nothing else changes."""
    flags = [HOME / "shop" / f"pause-{name}" for name in ("heartbeat", "housekeeping", "prices")]
    for flag in flags[: lab.rng.choice([1, 1, 3])]:
        flag.touch()
    lab.hold(4.0, 7.0)
    for flag in flags:
        flag.unlink(missing_ok=True)


standstill = faults.lasting(lambda lab: faults.frozen(lab.tomcat.pids()), 2.0, 3.5, faults.settle(1.2))
"""Tomcat stands still for some seconds, then goes on."""


# --- rules -----------------------------------------------------------------------------------------------------------


tells = partial(says, grace=0.3, text=lambda entry: entry.message)
"""Entries that say one of these while the fault is on, and the ends of the requests in which it was said."""


def own(entry: Entry, interval: Interval) -> bool:
    """What Tomcat writes about itself (start, stop, deployment) from the fault until the repair."""
    until = interval.repair or interval.end
    mine = entry.remote_host is None and not entry.statement.startswith(("jobs-", "http-nio"))
    return (
        mine and interval.start <= entry.time <= until and not entry.process.startswith("org.apache.catalina.session")
    )


def undeployed(entry: Entry, interval: Interval) -> bool:
    """Visitors who found no shop."""
    return entry.process == "undeployed" and interval.contains(entry.time, 0.3)


WITHOUT_WAREHOUSE = tells(
    r"dropped connection", r"circuit to the warehouse", r"order \d+ queued: (?!warehouse answered)",
    r"express order \d+ cannot", r"without a delivery date", r"reconcile:", r"at the second attempt",
    r"no free connection to the warehouse",
)  # fmt: skip
WAITED = tells(
    r"waited \d+ ms for aisle", r"was not free", r"stocktaking of aisle \d took (1[1-9]|[2-9]\d)\d\d ms",
    r"/stock took ([6-9]|\d\d)\d\d ms",
)  # fmt: skip
OUT_OF_MEMORY = tells(
    r"OutOfMemoryError", r"Java heap space", r"heartbeat is late", r"(?<!/report) took [2-9]\d{3} ms"
)
STOOD_STILL = any_of(
    WITHOUT_WAREHOUSE, WAITED, tells(r"heartbeat is late", r"(?<!/report) took [2-9]\d{3} ms", r"stuck")
)
NO_PRICES = tells(r"NoClassDefFoundError", r"ClassNotFoundException", r"PriceList")

FAULTS = {
    "warehouse_killed": Fault(warehouse_killed, WITHOUT_WAREHOUSE),
    "warehouse_slow": Fault(warehouse_slow, WITHOUT_WAREHOUSE),
    "warehouse_unreachable": Fault(warehouse_unreachable, WITHOUT_WAREHOUSE, often=False),
    "killed": Fault(killed, own, often=False),
    "memory_leak": Fault(memory_leak, any_of(own, OUT_OF_MEMORY), often=False),
    "huge_report": Fault(huge_report, OUT_OF_MEMORY),
    "endless_categories": Fault(endless_categories, often=False),
    "missing_format": Fault(missing_format, often=False),
    "aisle_locked": Fault(aisle_locked, WAITED),
    "deadlock": Fault(deadlock, any_of(WAITED, tells(r"deadlock")), often=False),
    "threads_exhausted": Fault(threads_exhausted, tells(r"stuck"), often=False),
    "session_flood": Fault(session_flood, tells(r"[Tt]oo many active sessions"), visible="order", often=False),
    "brute_force": Fault(brute_force, tells(r"is locked")),
    "malformed_requests": Fault(malformed_requests),
    "scan": Fault(scan_site, visible="order"),
    "replayed_orders": Fault(replayed_orders, visible="order"),
    "surge": Fault(surge, visible="order", often=False),
    "disk_full": Fault(disk_full, tells(r"No space left"), often=False),
    "folder_unwritable": Fault(folder_unwritable, tells(r"AccessDeniedException"), often=False),
    "corrupted_prices": Fault(
        corrupted_prices, tells(r"prices\.csv line", r"prices\.csv, [1-9]", grace=0.05), often=False
    ),
    "broken_deployment": Fault(broken_deployment, any_of(own, undeployed), often=False),
    "class_missing": Fault(class_missing, any_of(own, NO_PRICES), often=False),
    "broken_server": Fault(broken_server, often=False),
    "job_silent": Fault(job_silent, visible="silence", often=False),
    "standstill": Fault(standstill, STOOD_STILL, visible="silence", often=False),
}  # fmt: skip


def clean_restart(lab: Tomcat) -> None:
    """What an administrator does after an update."""
    lab.tomcat.stop()
    lab.launch()


def valid_deployment(lab: Tomcat) -> None:
    """The shop is redeployed, and works."""
    lab.wait_for_line("shop opened with", lab.redeploy)


def new_prices(lab: Tomcat) -> None:
    """A new price list, often with a slip in it."""
    lab.write_prices(lab.rng.choice([[], ["item,price"], ["17;990", "18,n/a"]]))
    time.sleep(0.3)


SERVICE = Service(
    name="tomcat",
    lab=Tomcat,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_deployment": valid_deployment, "new_prices": new_prices},
)
