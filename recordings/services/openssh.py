"""OpenSSH's server with many users: their ordinary sessions, faults, and which entries a fault caused.

sshd speaks to the system's log, as on any Debian machine; `Journal` stands where the log daemon stands. So every entry
has the process id of its session, whatever the style of the written line, and that leads to the client's address.
"""

import base64
import contextlib
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from recordings import faults
from recordings.clients import CLIENT_ADDRESSES, Client, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, Rule, says
from recordings.namespaces import HOST_NAME
from recordings.processes import Daemon, children_of, is_listening, is_running, make_folder, run_tool, wait_until
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/openssh")
PORT, APPLICATION_PORT, NOBODYS_PORT = 22, 8080, 5432
HOMES, KEYS = HOME / "home", HOME / "keys"
CUT_ADDRESSES = ("127.0.0.4", "127.0.0.5")
"""Whom a network cut hits: clients that hold sessions open."""


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    style: (
        str  # `classic` (a time to the second), `iso` (what rsyslog writes today), `raw` (what a container collects)
    )
    level: str
    sftp_level: str
    verbose: str  # sshd's `LogVerbose`: source files that say more
    pace: float  # sessions per second of one client


SETTINGS = {
    "classic": Settings("classic", "INFO", "INFO", "none", 1.2),
    "iso": Settings("iso", "VERBOSE", "VERBOSE", "none", 0.35),
    "raw": Settings(
        "raw",
        "VERBOSE",
        "INFO",
        "auth.c:auth_log():*,auth2.c:input_userauth_request():278,auth2-pubkeyfile.c:auth_check_authkey_line():*,"
        "session.c:session_input_channel_req():*,serverloop.c:server_input_channel_open():*",
        0.32,
    ),
}

PASSWORDS = {"reports": "quarterly figures", "editor": "correct horse", "office": "battery staple", "intern": "coffee"}
KEY_USERS = ("deploy", "build", "mirror", "vault", "intern")
CERTIFICATE_USERS = ("ops",)
USERS = ("deploy", "build", "mirror", "vault", "ops", "reports", "editor", "office", "intern", "guest")
FIRST_ID = 2001
MISTYPED = ("deply", "edtior", "ofice", "mirorr", "admin", "Office", "git")

CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/keys/host
UsePAM no
PidFile none
LogLevel {level}
LogVerbose {verbose}
LoginGraceTime 4
MaxAuthTries {tries}
MaxStartups 14:100:14
ClientAliveInterval 1
ClientAliveCountMax 2
DenyUsers guest
PermitOpen 127.0.0.1:{application} 127.0.0.1:{nobody}
TrustedUserCAKeys {home}/keys/authority.pub
Subsystem sftp internal-sftp -f AUTH -l {sftp_level}
"""


# --- the machine -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One line as the log daemon got it."""

    time: datetime
    line: str
    tag: str
    pid: int
    text: str


class Journal:
    """Writes down what programs send to /dev/log, and what sshd says on its console before it speaks to the log."""

    _RECORD = re.compile(r"^<\d+>\w{3} [ \d]\d \d\d:\d\d:\d\d ([\w-]+)\[(\d+)\]: (.*)$", re.DOTALL)

    def __init__(self, path: Path, console: Path, style: str, console_pid: Callable[[], int]) -> None:
        self.records: list[Record] = []
        self._path, self._console, self._style, self._console_pid = path, console, style, console_pid
        self._read = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("/dev/log")
        os.chmod("/dev/log", 0o666)
        self._socket.settimeout(0.01)
        self._stopping = threading.Event()
        for file in (path, console):
            file.touch()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with self._path.open("a") as log:
            while True:
                for record in self._arrived():
                    self.records.append(record)
                    log.write(record.line + "\n")
                    log.flush()
                if self._stopping.is_set():
                    return

    def _arrived(self) -> Iterator[Record]:
        with contextlib.suppress(TimeoutError):
            data = self._socket.recv(65536).decode(errors="backslashreplace")
            if match := self._RECORD.match(data):
                yield self._record(match[1], int(match[2]), match[3])
        if self._console.stat().st_size > self._read:
            said = self._console.read_bytes()[self._read :]
            whole = said[: said.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.decode(errors="backslashreplace").splitlines():
                yield self._record("sshd", self._console_pid(), line)

    def _record(self, tag: str, pid: int, text: str) -> Record:
        moment, text = datetime.now(UTC), text.strip()
        head = {
            "classic": f"{moment:%b %e %H:%M:%S} {HOST_NAME} {tag}[{pid}]: ",
            "iso": f"{moment.isoformat(timespec='microseconds')} {HOST_NAME} {tag}[{pid}]: ",
            "raw": "",
        }[self._style]
        return Record(moment, head + text, tag, pid, text)

    def close(self) -> list[Record]:
        """Stop; all records."""
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        return self.records


def own_devices() -> None:
    """Mount a /dev of the run's own, and with it a /dev/log."""
    folder = make_folder(Path("/run/dev"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "dev", folder], check=True)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (folder / name).touch()
        subprocess.run(["mount", "--bind", f"/dev/{name}", folder / name], check=True)
    (folder / "fd").symlink_to("/proc/self/fd")
    subprocess.run(["mount", "--move", folder, "/dev"], check=True)


def secret(password: str) -> str:
    """A password as /etc/shadow keeps it."""
    return run_tool("openssl", "passwd", "-5", password).decode().strip()


def own_accounts() -> None:
    """Users that exist in this run only."""
    lines = {"passwd": "", "shadow": ""}
    for number, user in enumerate(USERS, FIRST_ID):
        lines["passwd"] += f"{user}:x:{number}:65534::{HOMES / user}:/bin/sh\n"
        lines["shadow"] += f"{user}:{secret(PASSWORDS[user]) if user in PASSWORDS else '*'}:19000::::::\n"
    for name, text in lines.items():
        copy = HOME / name
        shutil.copy(f"/etc/{name}", copy)
        with copy.open("a") as file:
            file.write(text)
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)


class Application:
    """What people reach through tunnels: it says hello and hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", APPLICATION_PORT))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._socket.accept()
                with link, contextlib.suppress(OSError):
                    link.sendall(b"hello\r\n")

    def close(self) -> None:
        """Go away."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class OpenSSH(Lab):
    """sshd, its users, and an application behind it."""

    settings: Settings
    log = HOME / "log" / "openssh.log"
    configuration = HOME / "sshd_config"

    def start(self) -> None:
        """Accounts, keys, certificates, homes, the application, sshd."""
        for folder in (HOME / "log", KEYS, HOME / "flags", HOME / "desk", Path("/run/sshd")):
            make_folder(folder)
        own_devices()
        own_accounts()
        for name in ("host", "authority", "stranger", *KEY_USERS, *CERTIFICATE_USERS, *(f"old{n}" for n in range(6))):
            write_key(KEYS / name)
        self.certify("-52w:+520w")
        faults.mount_small_disk(HOMES, "6m")
        for user in USERS:
            self.furnish(user)
        (HOMES / "intern/.ssh").chmod(0o777)
        self.askpass = HOME / "askpass"
        self.askpass.write_text('#!/bin/sh\necho "$SSH_PASSWORD"\n')
        self.askpass.chmod(0o755)
        for size in (300, 4_000, 30_000, 150_000):
            (HOME / "desk" / f"letter-{size}.txt").write_bytes(b"x" * size)
        self.application = Application()
        self.write_configuration()
        console = HOME / "console.txt"
        command: list[str | Path] = ["/usr/sbin/sshd", "-D", "-f", self.configuration]
        self.sshd = Daemon(command, console, self.listening)
        self.listeners: set[int] = set()
        self.journal = Journal(self.log, console, self.settings.style, lambda: self.sshd.pid)
        self.start_listener()

    def furnish(self, user: str) -> None:
        """A home with some files and the user's key."""
        home = make_folder(HOMES / user, user, 0o755)
        make_folder(home / ".ssh", user, 0o700)
        if user in KEY_USERS:
            self.allow_key(user)
        for number in range(12):
            (home / f"invoice-{number}.txt").write_text("item\n" * (50 + 30 * number))
        for path in home.rglob("*"):
            os.chown(path, FIRST_ID + USERS.index(user), 65534)

    def allow_key(self, user: str, text: str | None = None) -> None:
        """Write `authorized_keys`."""
        path = HOMES / user / ".ssh/authorized_keys"
        path.write_text((KEYS / f"{user}.pub").read_text() if text is None else text)
        path.chmod(0o644)

    def certify(self, validity: str) -> None:
        """The authority signs the keys of those who log in with a certificate."""
        for user in CERTIFICATE_USERS:
            keygen(
                *("-q", "-s", str(KEYS / "authority"), "-I", f"{user}@example.org", "-n", user, "-V", validity),
                str(KEYS / f"{user}.pub"),
            )

    def listening(self) -> bool:
        """Whether sshd listens; asked of the kernel, since a connection would write to the log."""
        return is_listening(PORT)

    def start_listener(self) -> None:
        """Start sshd."""
        try:
            self.sshd.start(10.0)
        finally:
            self.listeners.add(self.sshd.pid)

    def end_listener(self, how: signal.Signals) -> None:
        """End sshd, not the sessions: they are processes of their own and go on."""
        self.sshd.send(how)
        wait_until(lambda: not is_running(self.sshd.pid), 5, "sshd ends")

    def write_configuration(self, tries: int = 4, extra: str = "") -> None:
        """Write the configuration, with `extra` lines at its end."""
        self.configuration.write_text(
            CONFIGURATION.format(
                home=HOME,
                port=PORT,
                application=APPLICATION_PORT,
                nobody=NOBODYS_PORT,
                tries=tries,
                level=self.settings.level,
                verbose=self.settings.verbose,
                sftp_level=self.settings.sftp_level,
            )
            + extra
        )

    def employ_clients(self) -> None:
        """People, programs, those who hold sessions open, a backup job, a monitor."""
        for number in range(5):
            self.crew.start(Person(self, CLIENT_ADDRESSES[number], self.client_rng(number)).visit)
        for number, user in enumerate(("deploy", "ops", "reports", "build")):
            self.crew.start(partial(Person(self, CLIENT_ADDRESSES[5], self.client_rng(10 + number)).job, user))
        for number, address in enumerate(CUT_ADDRESSES * 2):
            self.crew.start(Person(self, address, self.client_rng(20 + number)).hold_session)
        self.crew.start(Person(self, CLIENT_ADDRESSES[6], self.client_rng(30)).back_up)
        self.crew.start(Monitor(self, CLIENT_ADDRESSES[6]).probe)

    def stop(self) -> None:
        """sshd, sessions it left behind, the application."""
        self.sshd.stop()
        for pid, command in children_of(os.getpid()).items():
            if command.startswith("sshd:"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.application.close()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return with_sessions(self.journal.close(), self.listeners)


def write_key(path: Path) -> None:
    """A key that is the same in every run, as keys stay the same from day to day."""
    seed, comment = random.Random(path.name).randbytes(32), f"{path.name}@example.org"
    der = bytes.fromhex("302e020100300506032b657004220420") + seed
    public = run_tool("openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER", input=der)[-32:]

    def field(data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + data

    kind = field(b"ssh-ed25519") + field(public)
    secret = bytes(8) + kind + field(seed + public) + field(comment.encode())
    secret += bytes(range(1, 1 + -len(secret) % 8))
    whole = b"openssh-key-v1\0" + field(b"none") * 2 + field(b"") + struct.pack("!I", 1) + field(kind) + field(secret)
    text = base64.encodebytes(whole).decode()
    path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n")
    path.chmod(0o600)
    path.with_name(f"{path.name}.pub").write_text(f"ssh-ed25519 {base64.b64encode(kind).decode()} {comment}\n")


def keygen(*arguments: str) -> None:
    """Run ssh-keygen."""
    run_tool("ssh-keygen", *arguments)


# --- the log ---------------------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"\b127\.0\.0\.[2-9]\b")
_CHILD = re.compile(r"(?:User child is on pid|Forked child) (\d+)")
_REUSED = timedelta(seconds=60)
"""Process ids come round again; no session is quiet as long as this."""


def with_sessions(records: Sequence[Record], listeners: set[int]) -> list[Entry]:
    """Entries with the address of the session's client and (as `statement`) all that the session's process wrote."""
    sessions: list[dict[str, str]] = []
    current: dict[int, tuple[datetime, dict[str, str]]] = {}
    for record in records:
        seen, session = current.get(record.pid, (None, {}))
        if seen is None or record.time - seen > _REUSED:
            session = {"text": "", "address": ""}
        current[record.pid] = (record.time, session)
        sessions.append(session)
        address = _ADDRESS.search(record.text)
        if record.pid in listeners:
            sessions[-1] = {"text": record.text, "address": address[0] if address else ""}
            continue
        session["text"] += record.text + "\n"
        session["address"] = session["address"] or (address[0] if address else "")
        if child := _CHILD.search(record.text):
            current[int(child[1])] = (record.time, {"text": "", "address": session["address"]})
    return [
        Entry((r.line,), r.time, r.text, r.pid, r.tag, session["address"] or None, statement=session["text"])
        for r, session in zip(records, sessions, strict=True)
    ]


def session_says(whole: str, *patterns: str, grace: float = 0.5) -> Rule:
    """Entries that match `patterns`, of a session whose process also wrote something that matches `whole`."""
    some, session = says(*patterns, grace=grace), re.compile(whole, re.DOTALL)

    def rule(entry: Entry, interval: Interval) -> bool:
        return some(entry, interval) and session.search(entry.statement) is not None

    return rule


# --- clients ---------------------------------------------------------------------------------------------------------

OPTIONS = (
    *(
        "-F",
        "/dev/null",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=QUIET",
    ),
    *("-o", "ConnectTimeout=4", "-o", "KexAlgorithms=curve25519-sha256", "-o", "IdentitiesOnly=yes"),
    *("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=3"),
)


def call(
    address: str,
    user: str,
    *arguments: str,
    program: str = "ssh",
    keys: Sequence[str] = (),
    password: str | None = None,
    script: str = "",
    patience: float = 8.0,
    options: Sequence[str] = (),
) -> None:
    """One run of a client from `address`; it hangs up (is killed) after `patience` seconds."""
    command = [program, *OPTIONS, "-o", f"BindAddress={address}", "-o", f"Port={PORT}"]
    command += [part for option in options for part in ("-o", option)]
    command += [part for key in keys for part in ("-o", f"IdentityFile={KEYS / key}")] or ["-o", "IdentityFile=none"]
    command += [
        "-o",
        f"PreferredAuthentications={'publickey,' if keys else ''}{'password' if password else ''}".strip(","),
    ]
    command += ["-b", "-"] if program == "sftp" else []
    command += [f"{user}@127.0.0.1", *arguments]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(HOME), "SSH_ASKPASS": str(HOME / "askpass")}
    env |= {"SSH_ASKPASS_REQUIRE": "force", "SSH_PASSWORD": password or ""}
    quiet = subprocess.DEVNULL
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command, input=script.encode(), stdout=quiet, stderr=quiet, env=env, timeout=patience, cwd=HOME / "desk"
        )


class Person(Client):
    """Someone at one machine, with several accounts."""

    def __init__(self, lab: OpenSSH, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.dumps = 0

    def log_in(self, user: str, *arguments: str, **more: object) -> None:
        """As `user`, with what that user logs in with."""
        if user in PASSWORDS:
            more = {"password": PASSWORDS[user], **more}
        else:
            more = {"keys": (user,), **more}
        call(self.address, user, *arguments, **more)  # type: ignore[arg-type]

    def visit(self) -> None:
        """One session, and a pause."""
        kinds = [self.command] * 7 + [self.fetch, self.tidy] + [self.send] * 2 + [self.files] * 2 + [self.tunnel] * 3
        slips = [self.wrong_password] * 3 + [self.wrong_name] * 2 + [self.wrong_key, self.many_keys, self.denied]
        slips += [self.intern, self.old_client, self.refused_tunnel, self.impatient, self.dead_tunnel, self.late]
        self.act(kinds, slips, 0.3)

    def command(self) -> None:
        """A command."""
        user = self.rng.choice(["deploy"] * 4 + ["ops"] * 4 + ["reports"] * 4 + ["build", "mirror", "editor"])
        self.log_in(user, self.rng.choice(["true", "uptime", "df -h /", "cat missing", "exit 3", "ls | wc -l"]))

    def sftp(self, user: str, script: str) -> None:
        """A session of file transfer."""
        self.log_in(user, program="sftp", script=script)

    def fetch(self) -> None:
        """A file or two, not always there."""
        names = [f"invoice-{self.rng.randint(0, 14)}.txt" for _ in range(self.rng.randint(1, 3))]
        self.sftp(
            self.rng.choice(["editor", "mirror", "deploy"]), "".join(f"-get {name} /dev/null\n" for name in names)
        )

    def send(self) -> None:
        """A file, to its final name once it is whole."""
        size, number = self.rng.choice([300, 4_000, 30_000, 150_000]), self.rng.randint(0, 9)
        script = f"-put letter-{size}.txt upload.part\n-rename upload.part letter-{number}.txt\n"
        self.sftp(self.rng.choice(["office", "mirror", "reports"]), script)

    def tidy(self) -> None:
        """Folders, permissions; a folder that exists already is a failure to the server."""
        number = self.rng.randint(0, 5)
        steps = [f"-mkdir year-{number}", f"-rmdir year-{number}", f"-chmod 640 invoice-{number}.txt", "-ls"]
        self.sftp(self.rng.choice(["office", "build", "ops"]), "\n".join(self.rng.choices(steps, k=3)) + "\n")

    def files(self) -> None:
        """A copy with scp."""
        user, size = self.rng.choice(["build", "mirror"]), self.rng.choice([300, 4_000, 30_000])
        command = [
            "scp",
            "-q",
            "-B",
            *OPTIONS,
            "-o",
            f"BindAddress={self.address}",
            "-o",
            f"IdentityFile={KEYS / user}",
        ]
        command += [f"letter-{size}.txt", f"{user}@127.0.0.1:copy-{self.rng.randint(0, 4)}.txt"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, cwd=HOME / "desk", capture_output=True, timeout=8)

    def tunnel(self) -> None:
        """A tunnel to the application behind sshd."""
        self.log_in(self.rng.choice(["editor", "build"]), "-W", f"127.0.0.1:{APPLICATION_PORT}")

    def dead_tunnel(self) -> None:
        """A tunnel to a port where nobody listens."""
        self.log_in("office", "-W", f"127.0.0.1:{NOBODYS_PORT}")

    def refused_tunnel(self) -> None:
        """A tunnel to a port that is not permitted."""
        self.log_in("editor", "-W", f"127.0.0.1:{self.rng.choice([3306, 6379])}")

    def wrong_password(self) -> None:
        """A mistyped password; the right one after a while, or never."""
        user = self.rng.choice(["editor", "office", "intern"])
        self.log_in(
            user, "true", password=PASSWORDS[user][:-1], options=(f"NumberOfPasswordPrompts={self.rng.randint(1, 4)}",)
        )
        if self.rng.random() < 0.6:
            self.log_in(user, "true")

    def wrong_name(self) -> None:
        """A mistyped name, or somebody else's."""
        self.log_in(
            self.rng.choice(MISTYPED), "true", password="correct horse", options=("NumberOfPasswordPrompts=1",)
        )

    def wrong_key(self) -> None:
        """A key that is not authorized."""
        self.log_in(self.rng.choice(["mirror", "office"]), "true", keys=("stranger",), password=None)

    def many_keys(self) -> None:
        """Someone whose agent offers every key it has."""
        self.log_in(self.rng.choice(["mirror", "editor"]), "true", keys=tuple(f"old{n}" for n in range(6)))

    def denied(self) -> None:
        """An account that may not log in."""
        self.log_in("guest", "true", password="guest", options=("NumberOfPasswordPrompts=1",))

    def intern(self) -> None:
        """Has a key, in a folder that everybody may write to; so it takes the password."""
        self.log_in("intern", "true", keys=("intern",))

    def old_client(self) -> None:
        """An old client whose algorithms the server no longer speaks."""
        self.log_in("office", "true", options=(self.rng.choice(["HostKeyAlgorithms=ssh-rsa", "Ciphers=aes128-cbc"]),))

    def impatient(self) -> None:
        """Hangs up in the middle of a session."""
        self.log_in("mirror", "sleep 5", patience=self.rng.choice([0.06, 0.12, 0.8]))

    def late(self) -> None:
        """Connects and forgets to log in."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2, (self.address, 0)) as link:
            link.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            self.lab.crew.stopping.wait(self.rng.choice([0.3, 1.0, 5.0]))

    def hold_session(self) -> None:
        """Stays for some time."""
        self.log_in(self.rng.choice(["mirror", "office"]), f"sleep {self.rng.randint(4, 11)}", patience=13.0)
        self.lab.crew.stopping.wait(self.rng.uniform(0.1, 1.0))

    def job(self, user: str) -> None:
        """A program that logs in every few seconds; one of them to look at the application."""
        arguments = ("-W", f"127.0.0.1:{APPLICATION_PORT}") if user == "build" else ("uptime",)
        self.log_in(user, *arguments)
        self.lab.crew.stopping.wait(self.rng.uniform(1.5, 2.5))

    def back_up(self) -> None:
        """The backup job; a fault may silence it."""
        if not (HOME / "flags/no-backup").exists():
            size, self.dumps = self.rng.choice([4_000, 30_000]), self.dumps + 1
            script = f"-put letter-{size}.txt dump-{self.dumps}.sql\n-rm dump-{self.dumps - 7}.sql\n-ls\n"
            self.sftp("vault", script)
        self.lab.crew.stopping.wait(1.5)


class Monitor:
    """Looks whether sshd still answers with its banner."""

    def __init__(self, lab: OpenSSH, address: str) -> None:
        self.lab, self.address = lab, address

    def probe(self) -> None:
        """One probe."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2, (self.address, 0)) as link:
            link.recv(100)
        self.lab.crew.stopping.wait(0.9)


# --- faults ----------------------------------------------------------------------------------------------------------


def at_once(lab: OpenSSH, number: int, work: Callable[[random.Random], object], width: int = 3) -> None:
    """The injector does something `number` times, up to `width` at a time."""
    with ThreadPoolExecutor(width) as pool:
        list(pool.map(work, [random.Random(lab.rng.random()) for _ in range(number)]))


def brute_force(lab: OpenSSH, interval: Interval) -> None:
    """Guessing passwords of accounts that exist, until the server hangs up."""

    def guess(rng: random.Random) -> None:
        user = rng.choice(["root", "office", "editor", "deploy", "vault"])
        call(
            INJECTOR_ADDRESS,
            user,
            "true",
            password=f"summer{rng.randint(1, 99)}",
            options=("NumberOfPasswordPrompts=6",),
        )

    at_once(lab, lab.rng.randint(8, 20), guess)


def user_enumeration(lab: OpenSSH, interval: Interval) -> None:
    """Trying names of accounts, one password each."""

    def guess(rng: random.Random) -> None:
        user = rng.choice(["admin", "test", "oracle", "postgres", "ubuntu", "git", "pi", "user", "ftp", "hadoop"])
        call(INJECTOR_ADDRESS, user, "true", password="123456", options=("NumberOfPasswordPrompts=1",))

    at_once(lab, lab.rng.randint(10, 30), guess)


def stolen_keys(lab: OpenSSH, interval: Interval) -> None:
    """Someone tries a heap of keys on every account."""
    keys = tuple(f"old{number}" for number in range(6))
    at_once(lab, lab.rng.randint(5, 12), lambda rng: call(INJECTOR_ADDRESS, rng.choice(USERS), "true", keys=keys))


startups_exhausted = faults.lasting(lambda lab: faults.held_connections(PORT, 24), 2.0, 5.0, faults.settle(0.5))
"""Someone connects many times without logging in, until sshd turns everybody away."""


key_folder_open = faults.lasting(lambda lab: faults.permissions(HOMES / "deploy/.ssh", 0o777, 0o700), 4.0, 6.0)
"""A script gives everybody write permission to the folder of a user's keys, and sshd no longer trusts it."""


def keys_lost(lab: OpenSSH, interval: Interval) -> None:
    """A deployment overwrites `authorized_keys`; nothing in the log says so."""
    for user in ("deploy", "build"):
        lab.allow_key(user, "")
    lab.hold(4.0, 6.0)
    for user in ("deploy", "build"):
        lab.allow_key(user)


def password_changed(lab: OpenSSH, interval: Interval) -> None:
    """An account's password changes, and those who use it know only the old one."""
    shadow = Path("/etc/shadow")
    before = shadow.read_text()
    shadow.write_text(re.sub(r"(?m)^reports:[^:]*", "reports:" + secret("annual figures"), before))
    lab.hold(5.0, 7.0)
    shadow.write_text(before)


expired_certificate = faults.lasting(
    lambda lab: faults.swapped(lab.certify, lab.rng.choice(["-9w:-2w", "+2w:+9w"]), "-52w:+520w"), 5.0, 8.0
)
"""Nobody renewed the certificates in time."""


BAD_LINES = (
    "PermitRootLogon no\n",
    "MaxSessions many\n",
    "UseDNS perhaps\n",
    "Ciphers aes512-ctr\n",
    "AllowTcpForwarding\n",
    "Match User\n",
)


def broken_configuration(lab: OpenSSH, interval: Interval) -> None:
    """A reload of a configuration that is wrong ends sshd; then the right one comes back."""
    lab.write_configuration(extra=lab.rng.choice(BAD_LINES))
    lab.end_listener(signal.SIGHUP)
    lab.hold(0.5, 1.5)
    if lab.rng.random() < 0.5:  # once more, before anybody looks
        with contextlib.suppress(RuntimeError):
            lab.start_listener()
    lab.write_configuration()
    lab.start_listener()


def host_key_open(lab: OpenSSH, interval: Interval) -> None:
    """Others may read the host's key; sshd refuses to start with it."""
    (KEYS / "host").chmod(0o644)
    lab.end_listener(signal.SIGTERM)
    for _ in range(lab.rng.randint(1, 3)):
        with contextlib.suppress(RuntimeError):
            lab.start_listener()
        lab.hold(0.3, 0.8)
    (KEYS / "host").chmod(0o600)
    lab.start_listener()


def listener_killed(lab: OpenSSH, interval: Interval) -> None:
    """SIGKILL to sshd, which logs nothing about it; then it starts again."""
    lab.end_listener(signal.SIGKILL)
    lab.hold(1.0, 2.5)
    lab.start_listener()


def protocol_garbage(lab: OpenSSH, interval: Interval) -> None:
    """Other protocols, impossible versions, banners grabbed."""
    pieces = (
        b"GET / HTTP/1.1\r\nHost: server1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"SSH-1.5-Scan\r\n",
        b"SSH-2.0-Go\r\n" + bytes([0, 0, 0, 12, 99, 20]) + bytes(12),
        b"SSH-2.0-libssh_0.9\r\n" + b"\xff" * 40,
        b"\x00" * 20 + b"\r\n",
        b"MGLNDD_127.0.0.1_22\n",
        b"",
    )

    def send(rng: random.Random) -> None:
        send_raw(PORT, rng.choice(pieces), INJECTOR_ADDRESS, timeout=0.3)

    at_once(lab, lab.rng.randint(15, 40), send)


def disk_full(lab: OpenSSH, interval: Interval) -> None:
    """No room for the files that people send."""
    more = HOMES / "ballast-2"
    with faults.full_disk(HOMES):
        for _ in range(lab.rng.randint(16, 26)):  # whoever overwrites a file makes some room
            with contextlib.suppress(OSError), more.open("ab", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            time.sleep(0.25)
    more.unlink()


@contextlib.contextmanager
def cut_off(addresses: Sequence[str]) -> Iterator[None]:
    """Packets from these addresses get lost."""
    with contextlib.ExitStack() as cuts:
        for address in addresses:
            cuts.enter_context(faults.network_cut(PORT, source=address))
        yield


network_cut_off = faults.lasting(lambda lab: cut_off(CUT_ADDRESSES), 5.0, 7.0, faults.settle(0.5))
"""The packets of two clients get lost; their sessions end when they stay silent."""


run_folder_open = faults.lasting(lambda lab: faults.permissions(Path("/run/sshd"), 0o777, 0o755), 2.0, 4.0)
"""Everybody may write to the folder that sshd confines itself to; it no longer serves anybody."""


def application_gone(lab: OpenSSH, interval: Interval) -> None:
    """What the tunnels lead to is not there."""
    lab.application.close()
    lab.hold(6.0, 9.0)
    lab.application = Application()


def login_storm(lab: OpenSSH, interval: Interval) -> None:
    """A script that should log in once logs in again and again; every line is ordinary."""
    at_once(
        lab,
        lab.rng.randint(8, 18),
        lambda rng: call(INJECTOR_ADDRESS, rng.choice(["deploy", "build"]), "uptime", keys=("deploy", "build")),
    )


def files_stolen(lab: OpenSSH, interval: Interval) -> None:
    """Someone with a user's key fetches all there is; every line is ordinary."""
    for user in lab.rng.sample(["build", "mirror", "deploy", "vault"], 2):
        script = "".join(f"-get invoice-{number}.txt /dev/null\n" for number in range(12))
        call(INJECTOR_ADDRESS, user, program="sftp", keys=(user,), script="-ls\n" + script)


def tunnels_probed(lab: OpenSSH, interval: Interval) -> None:
    """Someone probes other ports through tunnels."""
    ports = lab.rng.sample([21, 25, 80, 443, 3306, 5432, 6379, 8080, 9200, 11211], 5)
    for port in ports:
        call(INJECTOR_ADDRESS, "build", "-W", f"127.0.0.1:{port}", keys=("build",))


backup_silent = faults.lasting(lambda lab: faults.flag(HOME / "flags/no-backup"), 4.0, 7.0)
"""The backup job stops; nothing else changes."""


standstill = faults.lasting(lambda lab: faults.frozen(lab.sshd.pids()), 1.5, 2.5)
"""sshd and all its sessions stand still for some seconds, then go on."""


DIED = (
    r"Received (SIGHUP|signal)|Server listening|[Bb]ad configuration|sshd_config:? line|sshd_config: terminating",
    r"@@@@@|UNPROTECTED|Permissions 0644 for|required that your private key|private key will be ignored",
    r"[Uu]nable to load host key|no hostkeys available",
)
"""What sshd says when it ends because of its files, and when it starts again."""

FAULTS = {
    "brute_force": Fault(brute_force),
    "user_enumeration": Fault(user_enumeration),
    "stolen_keys": Fault(stolen_keys, often=False),
    "startups_exhausted": Fault(startups_exhausted, says(r"MaxStartups")),
    "key_folder_open": Fault(
        key_folder_open,
        session_says(
            r"bad ownership or modes for directory \S+/deploy/",
            r"bad ownership|Failed publickey|Connection closed by auth",
        ),
    ),
    "keys_lost": Fault(
        keys_lost,
        says(r"Failed publickey for (deploy|build) |Connection closed by authenticating user (deploy|build) "),
    ),
    "password_changed": Fault(
        password_changed, says(r"Failed password for reports |Connection closed by authenticating user reports ")
    ),
    "expired_certificate": Fault(
        expired_certificate,
        session_says(
            r"Certificate invalid",
            r"Certificate invalid|Failed publickey|Connection closed by authenticating user ops ",
        ),
    ),
    "broken_configuration": Fault(broken_configuration, says(*DIED)),
    "host_key_open": Fault(host_key_open, says(*DIED), often=False),
    "listener_killed": Fault(listener_killed, says(*DIED), often=False),
    "protocol_garbage": Fault(protocol_garbage),
    "disk_full": Fault(disk_full, session_says(r"flags WRITE", r"sent status Failure|No space left on device")),
    "network_cut_off": Fault(
        network_cut_off,
        says(
            r"Timeout, client not responding",
            r"(Timeout before authentication for|Read error from remote host) 127.0.0.[45] ",
        ),
    ),
    "run_folder_open": Fault(run_folder_open, says(r"must be owned by root and not group or world-writable")),
    "application_gone": Fault(application_gone, says(rf"connect_to 127.0.0.1 port {APPLICATION_PORT}: failed")),
    "login_storm": Fault(login_storm, visible="order"),
    "files_stolen": Fault(files_stolen, visible="order"),
    "tunnels_probed": Fault(tunnels_probed, often=False),
    "backup_silent": Fault(backup_silent, visible="silence", often=False),
    "standstill": Fault(standstill, says(r"Timeout, client not responding"), visible="silence", often=False),
}


def clean_restart(lab: OpenSSH) -> None:
    """What an administrator does after an update."""
    lab.end_listener(signal.SIGTERM)
    lab.start_listener()


def valid_reload(lab: OpenSSH) -> None:
    """A reload that changes a limit, or nothing."""
    lab.write_configuration(tries=lab.rng.choice([4, 5]))
    lab.sshd.send(signal.SIGHUP)
    time.sleep(0.5)


def changed_password(lab: OpenSSH) -> None:
    """Someone changes a password, tries the old one by habit, and then the new one."""
    call(CLIENT_ADDRESSES[0], "office", "true", password="old staple", options=("NumberOfPasswordPrompts=2",))
    call(CLIENT_ADDRESSES[0], "office", "true", password=PASSWORDS["office"])


SERVICE = Service(
    name="openssh",
    lab=OpenSSH,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={
        "clean_restart": clean_restart,
        "valid_reload": valid_reload,
        "changed_password": changed_password,
    },
)
