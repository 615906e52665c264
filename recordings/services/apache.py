"""Apache with pages, scripts, uploads and servers behind it: ordinary readers, faults, and what they caused."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, authorization, http_request, send_raw
from recordings.labels import Entry, Interval, Rule
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import Daemon, answers, children_of, make_folder, python_daemon
from recordings.service import Fault, Lab, Service
from recordings.web import AGENTS, Visitor, get, scan

HOME = Path("/srv/apache")
PORT, TLS_PORT, APP_PORT, PARTNER_PORT = 80, 443, 8001, 8443
HOST, TLS_HOST = "docs.example.org", "secure.example.org"
UPLOADS = HOME / "uploads"


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    access_format: str
    level: str
    error_format: str  # empty for the built-in one
    pace: float  # requests per second of one reader


_COMBINED = r"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""

SETTINGS = {
    "combined": Settings(_COMBINED, "warn", "", 3.0),
    "vhost_combined": Settings(f"%v:%p {_COMBINED}", "info", "", 2.0),
    "json": Settings(
        r"{\"time\":\"%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}tZ\",\"client\":\"%h\",\"user\":\"%u\",\"request\":\"%r\","
        r"\"status\":%>s,\"bytes\":%B,\"microseconds\":%D,\"host\":\"%v\",\"agent\":\"%{User-Agent}i\"}",
        "notice",
        "%{cu}t level=%l module=%-m pid=%P client=%-a error=%-E %M",
        3.0,
    ),
}

MODULES = (
    *("mpm_event", "authn_core", "authn_file", "auth_basic", "authz_core", "authz_host", "authz_user", "alias", "dir"),
    *("autoindex", "mime", "negotiation", "rewrite", "cgid", "dav", "dav_fs", "proxy", "proxy_http", "reqtimeout"),
    *("status", "socache_shmcb", "ssl"),
)
_LOAD = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in MODULES)

COMMON = """\
{load}
ServerRoot {home}
DefaultRuntimeDir {home}/run
PidFile {home}/run/{name}.pid
ScriptSock {home}/run/{name}-cgi
DavLockDB {home}/run/{name}-dav
User www-data
Group www-data
ServerName docs.example.org
Mutex file:{home}/run default
"""
CONFIGURATION = """\
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{tls}
StartServers 2
ThreadsPerChild 10
MaxRequestWorkers {workers}
MinSpareThreads 5
MaxSpareThreads 30
GracefulShutdownTimeout 2
Timeout 3
KeepAliveTimeout 1
RequestReadTimeout header=2-3,MinRate=500 body=2,MinRate=500
LogLevel {level}
ErrorLog {home}/log/apache.log
{error_format}
LogFormat "{access_format}" own
CustomLog {home}/log/apache.log own
TypesConfig /etc/mime.types
DocumentRoot {home}/www
LimitRequestFieldSize 4000
SSLSessionCache shmcb:{home}/run/sessions(64000)
SSLProxyEngine on
SSLProxyVerify require
SSLProxyCACertificateFile {home}/tls/ca.pem
SSLProxyCheckPeerName off
<Directory />
    Options FollowSymLinks
    AllowOverride None
    Require all denied
</Directory>
<Directory {home}/www>
    Require all granted
</Directory>
<Directory {home}/www/handbook>
    AllowOverride All
</Directory>
<Directory {home}/www/downloads>
    Options +Indexes
</Directory>
<Directory {home}/www/internal>
    Require ip 10.20.0.0/16
</Directory>
<Directory {home}/cgi-bin>
    Options +ExecCGI
    Require all granted
</Directory>
<Directory {home}/uploads>
    Dav On
    Require all granted
    LimitRequestBody 400000
</Directory>
<Location /team>
    AuthType Basic
    AuthName "Team"
    AuthUserFile {home}/passwords
    Require valid-user
</Location>
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
Alias /uploads {home}/uploads
ScriptAlias /cgi-bin/ {home}/cgi-bin/
RewriteEngine On
RewriteCond {home}/maintenance -f
RewriteRule ^/app/ - [R=503,L]
RewriteRule ^/manual/(.*)$ /handbook/$1 [R=301,L]
ProxyPass /app/ http://127.0.0.1:{app}/ connectiontimeout=1 timeout=2 retry=0
ProxyPass /mirror/ https://127.0.0.1:{partner}/ connectiontimeout=1 timeout=2 retry=0
{extra}
<VirtualHost 127.0.0.1:{port}>
    ServerName docs.example.org
    RewriteEngine On
    RewriteOptions Inherit
</VirtualHost>
<VirtualHost 127.0.0.1:{tls}>
    ServerName secure.example.org
    SSLEngine on
    SSLCertificateFile {home}/tls/{certificate}.pem
    SSLCertificateKeyFile {home}/tls/{certificate}.key
</VirtualHost>
"""
PARTNER = """\
Listen 127.0.0.1:{partner}
StartServers 1
ThreadsPerChild 5
MaxRequestWorkers 5
MinSpareThreads 1
MaxSpareThreads 5
ErrorLog /dev/null
TypesConfig /etc/mime.types
SSLEngine on
SSLCertificateFile {home}/tls/{certificate}.pem
SSLCertificateKeyFile {home}/tls/{certificate}.key
DocumentRoot {home}/mirror
"""

SCRIPTS = {
    "lookup": """\
case "$QUERY_STRING" in
*=z*) echo "lookup: no entry for ${QUERY_STRING#*=}" >&2; echo "Status: 404 Not Found";;
esac
printf 'Content-Type: text/plain\\n\\nentry\\n'
""",
    "calendar": """\
case "$QUERY_STRING" in
*=12) echo "Status: 503 Service Unavailable";;
*=2) echo "calendar: warning: month has a leap day" >&2;;
esac
printf 'Content-Type: text/plain\\n\\nmonth\\n'
""",
    "convert": """\
case "$QUERY_STRING" in
*=9?) echo "convert: failed to read input ${QUERY_STRING#*=}" >&2; exit 1;;
esac
printf 'Content-Type: text/plain\\n\\nconverted\\n'
""",
}


class Apache(Lab):
    """Apache, the application it stands before, and a mirror that it reaches over TLS."""

    settings: Settings
    log = HOME / "log" / "apache.log"
    configuration = HOME / "apache2.conf"

    def start(self) -> None:
        """Files, scripts, certificates, application, mirror, Apache."""
        for name in ("log", "app", "mirror", "cgi-bin", *(f"www/{part}" for part in FOLDERS)):
            make_folder(HOME / name)
        make_folder(HOME / "run", "www-data")
        faults.mount_small_disk(UPLOADS, "1m", "www-data")
        for number in range(40):
            for part in FOLDERS:
                (HOME / "www" / part / f"page-{number}.html").write_text("<p>text</p>\n" * (30 + 9 * number))
            (HOME / "mirror" / f"package-{number}.txt").write_text("package\n" * (20 + number))
        (HOME / "www/handbook/.htaccess").write_text(HTACCESS)
        (HOME / "passwords").write_text("".join(f"{user}:{_hashed(word)}\n" for user, word in STAFF.items()))
        for name, text in SCRIPTS.items():
            self.write_script(name, f"#!/bin/sh\n{text}")
        authority = CertificateAuthority(HOME / "tls")
        authority.issue("good", "secure.example.org")
        authority.issue("expired", "secure.example.org", expired=True)
        self.trust = ssl.create_default_context(cafile=str(authority.certificate))
        self.backend = python_daemon(
            "backend", APP_PORT, HOME / "app", console=HOME / "app" / "console.txt", port=APP_PORT
        )
        self.backend.start()
        self.mirror_with("good")
        self.write_configuration()
        self.follower = LogFollower(self.log)
        self.apache = Daemon(["apache2", "-f", self.configuration, "-DFOREGROUND"], self.log, self.is_ready)
        self.apache.start()

    def write_script(self, name: str, text: str) -> None:
        """Put a script in place of another atomically."""
        draft = HOME / "cgi-bin" / f".{name}"
        draft.write_text(text)
        draft.chmod(0o755)
        draft.rename(HOME / "cgi-bin" / name)

    def mirror_with(self, certificate: str) -> None:
        """Start the mirror with this certificate."""
        path = HOME / "mirror.conf"
        text = PARTNER.format(home=HOME, partner=PARTNER_PORT, certificate=certificate)
        path.write_text(COMMON.format(load=_LOAD, home=HOME, name="mirror") + text)
        command: list[str | Path] = ["apache2", "-f", path, "-DFOREGROUND"]
        self.mirror = Daemon(command, HOME / "app" / "mirror.txt", lambda: answers(PARTNER_PORT))
        self.mirror.start()

    def replace_mirror(self, certificate: str) -> None:
        """Restart the mirror with another certificate."""
        self.mirror.stop()
        self.mirror_with(certificate)

    def is_ready(self) -> bool:
        """Whether it serves."""
        return len(children_of(self.apache.pid)) >= 3 and answers(PORT)

    def write_configuration(self, workers: int = 30, certificate: str = "good", extra: str = "") -> None:
        """Write the configuration, with `extra` lines in it."""
        style = self.settings.error_format
        text = CONFIGURATION.format(
            home=HOME,
            port=PORT,
            tls=TLS_PORT,
            app=APP_PORT,
            partner=PARTNER_PORT,
            workers=workers,
            level=self.settings.level,
            error_format=f'ErrorLogFormat "{style}"' if style else "",
            access_format=self.settings.access_format,
            certificate=certificate,
            extra=extra,
        )
        self.configuration.write_text(COMMON.format(load=_LOAD, home=HOME, name="apache") + text)

    def workers(self) -> list[int]:
        """The processes that serve requests: those with threads."""
        found = []
        for pid in children_of(self.apache.pid):
            with contextlib.suppress(OSError):
                if len(os.listdir(f"/proc/{pid}/task")) > 4:
                    found.append(pid)
        return found

    def employ_clients(self) -> None:
        """Readers and a monitor."""
        for number in range(9):
            self.crew.start(Reader(self, CLIENT_ADDRESSES[number % 6], self.client_rng(number)).read)
        self.crew.start(lambda: self.watch(self.probe))

    def probe(self) -> None:
        """One probe of the monitor."""
        headers = {"User-Agent": "check_http/2.3", "Host": HOST}
        http_request(PORT, "GET", "/server-status?auto", CLIENT_ADDRESSES[6], headers=headers, timeout=3.0)

    def stop(self) -> None:
        """Apache, the mirror, the application."""
        for daemon in (self.apache, self.mirror, self.backend):
            daemon.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), parse)


FOLDERS = ("handbook", "news", "downloads", "internal", "team", "archive")
HTACCESS = "AddDefaultCharset utf-8\n"
STAFF = {"reviewer": "green apple", "translator": "quiet river", "press": "open window"}


def _hashed(word: str) -> str:
    """A password as `htpasswd -s` writes it."""
    return "{SHA}" + base64.b64encode(hashlib.sha1(word.encode()).digest()).decode()


# --- the log ---------------------------------------------------------------------------------------------------------

_TEXT = r'((?:[^"\\]|\\.)*)'
_ACCESS = re.compile(rf'^(?:\S+:\d+ )?([\d.]+) \S+ .*? \[[^]]*\] "{_TEXT}" (\d{{3}}) ')
_JSON = re.compile(rf'^\{{"time":"[^"]*","client":"([\d.]+)","user":"{_TEXT}","request":"{_TEXT}","status":(\d+),')
_ERROR = re.compile(r"^\[[^]]*\] \[(\w*):(\w+)\] \[pid (\d+)(?::tid \d+)?\] (.*)$")
_OWN_ERROR = re.compile(r"^[-\d]+ [\d:.]+ level=(\w+) module=(\S+) pid=(\d+) client=(\S+) (.*)$")
_SCRIPT = re.compile(r"^(?:/srv/apache/cgi-bin/)?(?:lookup|calendar|convert): ")
_CLIENT = re.compile(r"\[client ([\d.]+)(?::\d+)?\]")


def parse(line: str) -> Head:
    """An access line, an error line, or what scripts and Apache itself write in no such form."""
    if row := _JSON.match(line):
        return Head(row[3], 0, "access", row[1], row[4])
    if access := _ACCESS.match(line):
        return Head(access[2], 0, "access", access[1], access[3])
    if own := _OWN_ERROR.match(line):
        address = own[4].rpartition(":")[0] or own[4]
        return Head(own[5], int(own[3]), own[2], None if address == "-" else address, None, own[1])
    if error := _ERROR.match(line):
        client = _CLIENT.search(error[4])
        return Head(error[4], int(error[3]), error[1], client[1] if client else None, None, error[2])
    return Head(line, process="script" if _SCRIPT.match(line) else "console")


# --- ordinary work ---------------------------------------------------------------------------------------------------


class Reader(Visitor):
    """Someone who reads, looks up, uploads and downloads, with the usual slips."""

    AGENTS = (*AGENTS[:3], "Wget/1.21.3", "python-requests/2.31.0", "FeedFetcher/3.2")
    HEADERS = {"Host": HOST, "Referer": f"http://{HOST}/"}

    def page(self, folder: str, last: int = 39) -> None:
        """One of a folder's pages."""
        self.ask("GET", f"/{folder}/page-{self.rng.randint(0, last)}.html")

    def read(self) -> None:
        """One step, and a pause."""
        rng = self.rng
        kinds: Sequence[Callable[[], object]] = (
            *[lambda: self.page("handbook")] * 6,
            *[lambda: self.page("news")] * 3,
            *[lambda: self.page("downloads")] * 2,
            *[lambda: self.ask("GET", f"/app/{rng.choice(['items', 'report'])}/{rng.randint(1, 300)}")] * 5,
            *[lambda: self.ask("GET", f"/app/search?q={rng.choice(['index', 'install', 'upgrade'])}")] * 2,
            *[lambda: self.ask("GET", f"/cgi-bin/lookup?word={rng.choice(WORDS)}")] * 3,
            lambda: self.ask("GET", f"/cgi-bin/calendar?month={rng.randint(1, 12)}"),
            lambda: self.ask("POST", f"/cgi-bin/convert?page={rng.randint(1, 95)}", body=b"text " * 40),
            *[lambda: self.ask("GET", f"/mirror/package-{rng.randint(0, 39)}.txt")] * 2,
            *[self.upload] * 3,
            *[self.read_securely] * 3,
            lambda: self.ask("GET", f"/manual/page-{rng.randint(0, 39)}.html"),
            lambda: self.ask("HEAD", f"/downloads/page-{rng.randint(0, 39)}.html"),
            lambda: self.ask("GET", rng.choice(["/downloads/", "/downloads/?C=M;O=D"])),
            *[self.member] * 2,
        )
        slips: Sequence[Callable[[], object]] = (
            *[lambda: self.ask("GET", rng.choice(["/favicon.ico", "/handbok/", "/rss.xml", "/news/error.html"]))] * 3,
            *[lambda: self.page("news", 90)] * 2,
            *[lambda: self.ask("GET", rng.choice(["/archive/", "/news/", "/handbook/"]))] * 2,
            *[lambda: self.page("internal")] * 2,
            *[lambda: self.member(wrong=True)] * 3,
            lambda: self.ask("GET", "/app/broken"),
            lambda: self.ask("DELETE", f"/uploads/draft-{rng.randint(100, 999)}.txt"),
            lambda: self.ask("PUT", f"/uploads/drafts/{rng.randint(1, 9)}.txt", body=b"x" * 50),
            lambda: self.ask("POST", "/handbook/page-1.html", body=b"a=1"),
            lambda: self.ask("GET", f"/cgi-bin/convert?page=9{rng.randint(0, 9)}"),
            lambda: self.ask("GET", "/cgi-bin/search"),
            lambda: send_raw(PORT, f"GET /news HTTP/1.1\r\nHost: {HOST}\r\n".encode(), self.address, wait=False),
            lambda: send_raw(TLS_PORT, b"GET / HTTP/1.1\r\nHost: secure.example.org\r\n\r\n", self.address),
            lambda: self.ask("GET", f"/app/report/{rng.randint(1, 300)}", timeout=0.03),
        )
        self.act(kinds, slips, 0.12)

    def read_securely(self) -> None:
        """One page over TLS."""
        path, headers = f"/news/page-{self.rng.randint(0, 39)}.html", {"User-Agent": self.agent, "Host": TLS_HOST}
        http_request(TLS_PORT, "GET", path, self.address, headers=headers, timeout=5, tls=self.lab.trust)

    def upload(self) -> None:
        """Write a draft, a new one or an existing one."""
        size = self.rng.choice([2000, 9000, 20000])
        self.ask("PUT", f"/uploads/draft-{self.rng.randint(1, 24)}.txt", body=b"x" * size)

    def member(self, wrong: bool = False) -> None:
        """A page that needs a password."""
        user = self.rng.choice(list(STAFF))
        password = STAFF[user]
        if wrong:
            user, password = self.rng.choice([(user, password.title()), (user.title(), password)])
        path = f"/team/page-{self.rng.randint(0, 39)}.html"
        self.ask("GET", path, headers={"Authorization": authorization(user, password)})


WORDS = ("server", "worker", "thread", "module", "handler", "filter", "zone", "zip", "log", "alias", "scope", "host")


# --- faults ----------------------------------------------------------------------------------------------------------


application_killed = faults.lasting(lambda lab: faults.down(lab.backend), 2.0, 4.0)
"""The application dies; someone starts it again."""


application_slow = faults.lasting(lambda lab: faults.slow_backend(HOME / "app", 2.6), 3.0, 4.5, faults.settle(2.2))
"""The application takes longer than Apache waits."""


application_unreachable = faults.lasting(lambda lab: faults.network_cut(APP_PORT), 2.5, 4.0, faults.settle(2.2))
"""The network between Apache and the application drops everything."""


def worker_killed(lab: Apache, interval: Interval) -> None:
    """Processes that serve die, of a signal or a segmentation fault; the parent starts others."""
    for _ in range(lab.rng.randint(1, 4)):
        if workers := lab.workers():
            os.kill(lab.rng.choice(workers), lab.rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS]))
        lab.hold(0.6, 1.4)


def parent_killed(lab: Apache, interval: Interval) -> None:
    """SIGKILL to all of Apache, which logs nothing about it; then it starts again."""
    for pid in lab.apache.pids():  # the parent first: it would write of the others
        os.kill(pid, signal.SIGKILL)
    lab.apache.stop(signal.SIGKILL)
    lab.hold(1.0, 2.5)
    lab.apache.start()


BAD_LINES = (
    "ProxyTimeot 5",
    "RewriteRule ^/new",
    "SSLCertificateFile /srv/apache/tls/missing.pem",
    "Include /srv/apache/sites/forum.conf",
    "LoadModule geoip_module /usr/lib/apache2/modules/mod_geoip.so",
    "LogLevel loud",
    "<Location /forum>",
)


def broken_configuration(lab: Apache, interval: Interval) -> None:
    """A reload of a wrong configuration ends Apache; it starts again only once the configuration is right."""
    lab.write_configuration(extra=lab.rng.choice(BAD_LINES))
    lab.apache.send(signal.SIGUSR1)
    lab.hold(1.0, 1.5)
    lab.apache.stop()
    for _ in range(lab.rng.randint(0, 2)):
        with contextlib.suppress(RuntimeError):
            lab.apache.start()
        lab.hold(0.3, 0.6)
    lab.write_configuration()
    lab.apache.start()


def workers_exhausted(lab: Apache, interval: Interval) -> None:
    """Someone starts requests and never finishes them, until no worker is left for others."""

    def begin(number: int) -> bytes:
        return f"GET /news/page-{number % 40}.html HTTP/1.1\r\nHost: {HOST}\r\n".encode()

    with faults.held_connections(PORT, lab.rng.randint(45, 90), begin):
        lab.hold(2.0, 3.5)


MALFORMED = (
    b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + bytes(40),
    b"GET /news/ HTTP/1.1\r\n\r\n",
    b"GET /handbook/%zz HTTP/1.1\r\nHost: docs.example.org\r\n\r\n",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: docs.example.org\r\n\r\n",
    b"GET /cgi-bin/.%2e/.%2e/bin/sh HTTP/1.1\r\nHost: docs.example.org\r\n\r\n",
    b"POST /cgi-bin/convert HTTP/1.1\r\nHost: docs.example.org\r\nContent-Length: ten\r\n\r\n",
    b"GET /news/ HTTP/3.7\r\nHost: docs.example.org\r\n\r\n",
    b"GET /news/ HTTP/1.1\r\nHost: docs.example.org\r\nCookie: " + b"c" * 5000 + b"\r\n\r\n",
    b"GET /news/ HTTP/1.1\r\nHost: docs.example.org\r\nX Header: 1\r\n\r\n",
    b"TRACK / HTTP/1.1\r\nHost: docs.example.org\r\n\r\n",
    b"HELO docs.example.org\r\n",
)

malformed_requests = faults.garbage(PORT, MALFORMED, 10, 35, pause=0.1)
"""Garbage, TLS on a plain port, requests that contradict themselves."""

SCANNED = (
    *("administrator/index.php", "wp-admin/setup-config.php", "config.php.bak", ".svn/entries", "server-info", "old/"),
    *("cgi-bin/test.cgi", "cgi-bin/printenv", "internal/", "backup.tar.gz", "typo3/", "manager/html", "archive/"),
)


scan_site = scan(lambda lab, path: get(PORT, path, AGENTS[1], Host=HOST), SCANNED, 20, 50, pause=0.06)
"""Someone looks for what other sites leave open; each line is an ordinary one of a mistyped address."""


def surge(lab: Apache, interval: Interval) -> None:
    """One address copies the whole site, page after page."""
    agent = lab.rng.choice(AGENTS[:3])
    for number in range(lab.rng.randint(60, 140)):
        path = f"/{lab.rng.choice(['handbook', 'news', 'downloads'])}/page-{number % 40}.html"
        get(PORT, path, agent, Host=HOST)
        lab.hold(0.0, 0.03)


def guess_password(lab: Apache, number: int) -> None:
    """Someone guesses the passwords of the team's pages."""
    user = lab.rng.choice([*STAFF, "admin", "test"])
    login = authorization(user, f"secret{number}")
    get(PORT, f"/team/page-{number}.html", AGENTS[2], Host=HOST, Authorization=login)


disk_full = faults.lasting(lambda lab: faults.full_disk(UPLOADS), 3.0, 5.0)
"""No room for uploads."""


unreadable_files = faults.lasting(lambda lab: faults.permissions(HOME / "www/news", 0o700, 0o755), 2.0, 4.0)
"""A deployment takes away the permission to read the news."""


def broken_htaccess(lab: Apache, interval: Interval) -> None:
    """An author's `.htaccess` has a typo: every page of the handbook is an internal error."""
    path = HOME / "www/handbook/.htaccess"
    path.write_text(HTACCESS + lab.rng.choice(["RewriteEngin On\n", "Options +Indexs\n", "AddType text/plain\n"]))
    lab.hold(1.5, 3.0)
    path.write_text(HTACCESS)


def broken_script(lab: Apache, interval: Interval) -> None:
    """A script arrives with an interpreter that is not there, or with nothing to say."""
    name = lab.rng.choice(["lookup", "lookup", "calendar"])
    lab.write_script(name, lab.rng.choice(["#!/usr/bin/perl6\n", "#!/bin/sh\nexit 0\n", "#!/bin/sh\n. ./settings\n"]))
    lab.hold(4.0, 6.0)
    lab.write_script(name, f"#!/bin/sh\n{SCRIPTS[name]}")


def passwords_lost(lab: Apache, interval: Interval) -> None:
    """The file with the team's passwords is gone."""
    path = HOME / "passwords"
    path.rename(HOME / "passwords.old")
    lab.hold(4.0, 6.0)
    (HOME / "passwords.old").rename(path)


mirror_expired = faults.lasting(lambda lab: faults.swapped(lab.replace_mirror, "expired", "good"), 4.0, 6.0)
"""The mirror's certificate has expired."""


standstill = faults.lasting(lambda lab: faults.frozen(lab.apache.pids()), 2.0, 3.5)
"""All of Apache stands still for some seconds, then goes on."""


def failed(asked: str, statuses: str, *errors: str, grace: float = 0.5) -> Rule:
    """Requests for `asked` that ended in one of `statuses`, and what Apache says about them (all patterns)."""
    request, status, text = re.compile(asked), re.compile(statuses), re.compile("|".join(errors) or "$^")

    def rule(entry: Entry, interval: Interval) -> bool:
        if not interval.contains(entry.time, grace):
            return False
        if entry.process == "access":
            return bool(status.fullmatch(entry.code or "") and request.search(entry.message))
        return text.search(entry.lines[0]) is not None

    return rule


_OF_A_CONNECTION = re.compile(r"\[remote |SSL Library Error|AH00957|AH00959|AH00940")


def of_the_server(entry: Entry, interval: Interval) -> bool:
    """What the server says about itself, not about a client or a server behind it."""
    own = entry.process not in ("access", "script") and entry.remote_host is None
    return own and interval.contains(entry.time, 0.3) and not _OF_A_CONNECTION.search(entry.message)


_APP = r" /app/"
_BEHIND = (r"AH00957|AH00959|AH00940", r"AH01114", r"AH01102.*127\.0\.0\.1:8001", r"returned by /app/")

FAULTS = {
    "application_killed": Fault(application_killed, failed(_APP, "50[234]", *_BEHIND)),
    "application_slow": Fault(application_slow, failed(_APP, "50[234]", *_BEHIND)),
    "application_unreachable": Fault(application_unreachable, failed(_APP, "50[234]", *_BEHIND), often=False),
    "worker_killed": Fault(worker_killed, of_the_server),
    "parent_killed": Fault(parent_killed, of_the_server, often=False),
    "broken_configuration": Fault(broken_configuration, of_the_server),
    "workers_exhausted": Fault(workers_exhausted, of_the_server),
    "malformed_requests": Fault(malformed_requests),
    "scan": Fault(scan_site, visible="order"),
    "surge": Fault(surge, visible="order"),
    "brute_force": Fault(faults.repeated(guess_password, 12, 35, pause=0.08)),
    "disk_full": Fault(disk_full, failed(r"^PUT /uploads/draft-", "50.|4..", "No space left", r"AH00\d+.*/uploads")),
    "unreadable_files": Fault(unreadable_files, failed(r" /news/", "403", r"Permission denied", grace=0.1)),
    "broken_htaccess": Fault(broken_htaccess, failed(r" /handbook/", "500", r"/handbook/\.htaccess", grace=0.1)),
    "broken_script": Fault(
        broken_script,
        failed(
            r" /cgi-bin/(lookup|calendar)",
            "500",
            r"before headers: (lookup|calendar)",
            r"cgi-bin/(lookup|calendar)(: |')",
            grace=0.1,
        ),
    ),
    "passwords_lost": Fault(passwords_lost, failed(r" /team/", "500", "AH01620", grace=0.1)),
    "mirror_expired": Fault(
        mirror_expired,
        failed(" /mirror/", "50[023]", "/mirror/", "8443", "certificate verify failed", grace=0.0),
        often=False,
    ),
    "monitor_silent": Fault(faults.monitor_silent, visible="silence", often=False),
    "standstill": Fault(standstill, failed(_APP, "50[234]", *_BEHIND), visible="silence", often=False),
}


def clean_restart(lab: Apache) -> None:
    """What an administrator does after an update."""
    lab.apache.stop(lab.rng.choice([signal.SIGTERM, signal.SIGWINCH]))
    lab.apache.start()


def valid_reload(lab: Apache) -> None:
    """A reload that changes a limit, or nothing, as a rotation of logs does too."""
    lab.write_configuration(workers=lab.rng.choice([30, 30, 40]))
    lab.apache.send(signal.SIGUSR1)
    time.sleep(1.0)


def maintenance(lab: Apache) -> None:
    """The application is announced as down (503) while a new version starts."""
    flag = HOME / "maintenance"
    flag.touch()
    time.sleep(0.5)
    lab.backend.stop()
    lab.hold(1.0, 2.0)
    lab.backend.start()
    flag.unlink()


SERVICE = Service(
    name="apache",
    lab=Apache,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "maintenance": maintenance},
)
