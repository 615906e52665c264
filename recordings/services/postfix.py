"""Postfix as a company's mail server: ordinary mail, faults, and which entries a fault caused.

`python -m recordings.services.postfix mail FOLDER` is the other side: mail servers to send to, one of them by TLS;
`… passwords FOLDER` is a password server. While a file `slow`, `rejects`, `greylists` or `expired` lies in FOLDER,
the mail servers behave that way.
"""

import base64
import contextlib
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recordings import faults
from recordings.certificates import CertificateAuthority
from recordings.clients import CLIENT_ADDRESSES, Client, send_raw
from recordings.labels import INJECTOR_ADDRESS, Entry, Interval, Rule, says
from recordings.logs import Head, LogFollower, split_entries
from recordings.processes import (
    Daemon,
    children_of,
    end_process,
    is_listening,
    is_running,
    make_folder,
    python_daemon,
    wait_until,
)
from recordings.service import Fault, Lab, Service

HOME = Path("/srv/postfix")
ETC = Path("/etc/postfix")
FLAGS, BOXES, QUEUE = HOME / "remote", HOME / "mail", HOME / "queue"
PORT, REMOTE_PORT, TLS_PORT, PASSWORD_PORT = 25, 2525, 2526, 12345
PROGRAMS = Path("/usr/lib/postfix/sbin")


@dataclass(frozen=True)
class Settings:
    """Style and detail of the log."""

    extra: str  # lines of main.cf
    pace: float  # mails per second of one client


SETTINGS = {
    "default": Settings("", 0.4),
    "detailed": Settings(
        "smtpd_tls_loglevel = 1\nsmtp_tls_loglevel = 1\nheader_checks = regexp:/etc/postfix/header_checks_info\n"
        "smtpd_delay_reject = no\nsmtp_tls_note_starttls_offer = yes",
        0.33,
    ),
    "long_ids": Settings(
        "enable_long_queue_ids = yes\nsyslog_name = mx1\nsmtpd_client_port_logging = yes\nsmtpd_reject_footer = \\c. "
        "See https://example.org/postmaster\ndelay_logging_resolution_limit = 4",
        0.4,
    ),
}

NAMES = ("anna", "boris", "clara", "david", "elena", "felix", "grace", "hugo", "irene", "jonas", "karla", "leon")
PARTNERS = ("partner.example.org", "supplier.example.org", "agency.example.org", "clinic.example.org")
"""Domains elsewhere; the clinic greylists every first attempt, and the bank's mail goes over TLS."""
BANK = "bank.example.org"
SUBJECTS = (
    "Offer 4711",
    "Re: delivery",
    "Minutes",
    "Invoice",
    "Holiday plan",
    "Fwd: contract",
    "Lunch?",
    "Error report",
)

MAIN = """\
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = {programs}
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log/postfix.log
maillog_file_prefixes = /srv
myhostname = mail.example.org
mydestination = mail.example.org, localhost
mynetworks = {colleagues}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtp_host_lookup = native
relay_domains = hash:/etc/postfix/transport
transport_maps = hash:/etc/postfix/transport
alias_maps = hash:/etc/postfix/aliases
alias_database =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
header_checks = regexp:/etc/postfix/header_checks
smtpd_recipient_restrictions = reject_non_fqdn_sender, permit_mynetworks, permit_sasl_authenticated, \
reject_unauth_destination
smtpd_helo_restrictions = permit_mynetworks, reject_invalid_helo_hostname
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{password_port}
smtpd_sasl_security_options = noanonymous
smtpd_tls_security_level = may
smtpd_tls_cert_file = {home}/tls/mail.pem
smtpd_tls_key_file = {home}/tls/mail.key
smtp_tls_CAfile = {home}/tls/ca.pem
smtp_tls_policy_maps = inline:{{ {{ [127.0.0.1]:{tls_port} = secure match=localhost }} }}
message_size_limit = 200000
smtpd_timeout = 3s
smtpd_error_sleep_time = 0s
smtpd_hard_error_limit = 15
smtpd_client_connection_count_limit = 8
smtp_connect_timeout = 2s
smtp_helo_timeout = 2s
smtp_connection_cache_on_demand = no
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 8s
maximal_queue_lifetime = 30s
bounce_queue_lifetime = 20s
service_throttle_time = 2s
transport_retry_time = 2s
anvil_status_update_time = 25s
hopcount_limit = 14
max_use = 30
max_idle = 20s
in_flow_delay = 0s
notify_classes =
"""
MASTER = """\
smtp unix - - n - - smtp
smtp inet n - n - 14 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
relay unix - - n - - smtp
 -o syslog_name=postfix/relay
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
HEADER_CHECKS = """\
/^Subject: .*(lottery|cheap watches)/ REJECT message content rejected
/^Subject: .*Error report/ WARN error report
/^Subject: .*newsletter test/ DISCARD test of the newsletter
"""


class Postfix(Lab):
    """Postfix, the mail servers it delivers to, and the password server."""

    settings: Settings
    log = HOME / "log" / "postfix.log"

    def start(self) -> None:
        """Folders, configuration, the other side, Postfix."""
        for name in ("log", "tls", "remote"):
            make_folder(HOME / name)
        make_folder(HOME / "data", "postfix")
        faults.mount_small_disk(QUEUE, "8m")
        faults.mount_small_disk(BOXES, "4m", "nobody")
        for name in (*NAMES, "lists"):
            make_folder(BOXES / name, "nobody")
        authority = CertificateAuthority(HOME / "tls")
        for name in ("mail", "good", "expired"):
            authority.issue(name, expired=name == "expired")
        self.write_names()
        self.write_configuration()
        self.remotes = [self.other_side("mail", REMOTE_PORT), self.other_side("passwords", PASSWORD_PORT)]
        for remote in self.remotes:
            remote.start()
        self.follower = LogFollower(self.log)
        self.postfix = Daemon(["postfix", "start-fg"], HOME / "console.txt", lambda: is_listening(PORT))
        self.postfix.start()

    def other_side(self, what: str, port: int) -> Daemon:
        """The mail servers or the password server."""
        return python_daemon("services.postfix", what, FLAGS, console=HOME / "remote.txt", port=port)

    def write_names(self) -> None:
        """Names of some clients; there is no DNS, so the others are unknown."""
        names = [f"{address} pc{number}.example.org" for number, address in enumerate(CLIENT_ADDRESSES[:4], 1)]
        hosts = Path("/run/hosts")
        hosts.write_text("127.0.0.1 localhost mail.example.org server1\n" + "\n".join(names) + "\n")
        resolver = Path("/run/resolv.conf")
        resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)

    def write_configuration(self) -> None:
        """Everything in /etc/postfix, on a private disk over the packaged one."""
        kept = {path.name: path.read_bytes() for path in ETC.iterdir() if path.is_file()}
        faults.mount_small_disk(ETC, "4m")
        make_folder(ETC / "postfix-files.d")
        make_folder(ETC / "dynamicmaps.cf.d")
        for name, content in kept.items():
            (ETC / name).write_bytes(content)
        (ETC / "dynamicmaps.cf").touch()
        (ETC / "master.cf").write_text(MASTER)
        self.write_main()
        (ETC / "header_checks").write_text(HEADER_CHECKS)
        (ETC / "header_checks_info").write_text(HEADER_CHECKS + "/^(Subject|X-Mailer): / INFO\n")
        (ETC / "mailboxes").write_text("".join(f"{name}@example.org {name}/\n" for name in (*NAMES, "lists")))
        aliases = ", ".join(f"{name}@example.org" for name in NAMES[:5])
        (ETC / "aliases").write_text(
            f"root: anna@example.org\npostmaster: root\nnews: {aliases}, press@{PARTNERS[0]}, office@{BANK}\n"
            'archive: "|cat >/dev/null"\nhelpdesk: "|test $(($(date +%s) % 3)) = 0 || exit 75"\n'
        )
        postfix("postalias", "hash:/etc/postfix/aliases")
        self.write_transport()

    def write_main(self, change: str = "") -> None:
        """Write main.cf, with the line `change` in the place of what it says otherwise."""
        text = MAIN.format(
            programs=PROGRAMS,
            home=HOME,
            colleagues=" ".join(f"{address}/32" for address in ("127.0.0.1", *CLIENT_ADDRESSES[:4])),
            password_port=PASSWORD_PORT,
            tls_port=TLS_PORT,
        )
        changed = {line.partition(" =")[0] for line in f"{self.settings.extra}\n{change}".splitlines()}
        kept = [line for line in text.splitlines() if line.partition(" =")[0] not in changed]
        (ETC / "main.cf").write_text("\n".join([*kept, self.settings.extra, change]) + "\n")

    def write_transport(self) -> None:
        """Write and compile where the mail of other domains goes."""
        lines = [f"{name} smtp:[127.0.0.1]:{REMOTE_PORT}" for name in PARTNERS]
        lines += [f"{BANK} smtp:[127.0.0.1]:{TLS_PORT}", f"branch.example.org relay:[127.0.0.1]:{REMOTE_PORT}"]
        (ETC / "transport").write_text("\n".join(lines) + "\n")
        postfix("postmap", "hash:/etc/postfix/transport")

    def processes(self, name: str) -> list[int]:
        """Processes of one of Postfix's programs."""
        return [pid for pid, command in children_of(self.master()).items() if command.split(" ")[0] == name]

    def master(self) -> int:
        """The process above all others."""
        return int((QUEUE / "pid/master.pid").read_text())

    def kill_all(self) -> None:
        """SIGKILL to every program of Postfix, orphans too."""
        for pid in all_programs():
            end_process(pid, signal.SIGKILL)
        self.postfix.stop(signal.SIGKILL)

    def employ_clients(self) -> None:
        """Colleagues, other companies' servers, jobs, and those who read their mail."""
        for number in range(10):
            self.crew.start(Correspondent(self, CLIENT_ADDRESSES[number % 7], self.client_rng(number)).work)
        self.crew.start(Newsletter(self, CLIENT_ADDRESSES[3], self.client_rng(20)).work)
        self.crew.start(lambda: cron(self))
        self.crew.start(lambda: read_mail(self))

    def stop(self) -> None:
        """Postfix and the other side."""
        self.postfix.stop()
        for remote in self.remotes:
            remote.stop()

    def entries(self) -> Sequence[Entry]:
        """The log in the order it was written."""
        return split_entries(self.follower.close(), Reader().parse)


def postfix(*command: str, standard_input: str | None = None) -> None:
    """Run one of Postfix's programs; what it says is in the log."""
    subprocess.run(command, input=standard_input, text=True, capture_output=True, timeout=30)


def all_programs() -> list[int]:
    """Every process that runs a program of Postfix; the run has a view of processes of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "exe").readlink().parent == PROGRAMS:
                found.append(int(folder.name))
    return sorted(found)


# --- the log ---------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"^\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ (\S+?)\[(\d+)\]: (.*)$")
_QUEUE_ID = re.compile(r"^(?:warning: )?([0-9A-F]{6,12}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{12,20}): (.*)$")
_ADDRESS = re.compile(r"\[(127\.0\.0\.\d+)\]")
_RATE = re.compile(r"for \(smtp:(127\.0\.0\.\d+)\)")
_CHILD = re.compile(r"(?:notification: |forwarded as )(\w+)")


class Reader:
    """Follows sessions and messages through the log.

    An entry's `remote_host` is the client of its session or of its message, or of the message that it reports on or
    forwards. Its `code` is, for a further attempt to deliver and for the report of a failure, why the last attempt
    failed; for the end of a session, what was refused in it.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, str] = {}  # process -> client
        self.refusals: dict[int, str] = {}  # process -> what it refused last in its session
        self.owners: dict[str, str] = {}  # mail -> client
        self.reasons: dict[str, str] = {}  # mail -> why its delivery failed
        self.reports: dict[str, str] = {}  # mail that is a report -> the failure that it reports

    def parse(self, line: str) -> Head | None:
        """One line."""
        match = _LINE.match(line)
        if match is None:
            return None
        process, pid, message = match[1].rpartition("/")[2], int(match[2]), match[3]
        owner = self.session(process, pid, message)
        code = None
        if process == "smtpd":
            code = self.refusal(pid, message)
        if mail := _QUEUE_ID.match(message):
            owner, code = self.mail(mail[1], mail[2], owner)
        return Head(message, pid, process, owner, code)

    def session(self, process: str, pid: int, message: str) -> str | None:
        """The client whose session a process serves."""
        if process == "anvil":
            rate = _RATE.search(message)
            return rate[1] if rate else None
        if process != "smtpd":
            return None
        address = _ADDRESS.search(message)
        owner = address[1] if address else self.sessions.get(pid)
        if message.startswith("disconnect from"):
            self.sessions.pop(pid, None)
        elif message.startswith("connect from") and address:
            self.sessions[pid] = address[1]
        return owner

    def refusal(self, pid: int, message: str) -> str | None:
        """Why a session ends early, if something was refused in it."""
        if message.startswith("connect from"):
            self.refusals.pop(pid, None)
        elif "reject: " in message:
            self.refusals[pid] = message
        elif message.startswith(("lost connection", "disconnect from")):
            return self.refusals.get(pid)
        return None

    def mail(self, name: str, text: str, owner: str | None) -> tuple[str | None, str | None]:
        """Whose message it is, and which failure makes Postfix log it."""
        if text.startswith("client=") and owner:
            self.owners[name] = owner
        owner = self.owners.get(name, owner)
        code = self.reports.get(name)
        if re.search(r"status=(?:deferred|bounced|undeliverable)", text):
            self.reasons[name] = text
        elif name in self.reasons and re.search(r"queue active|notification: |status=expired", text):
            code = self.reasons[name]
        if child := _CHILD.search(text):
            if owner:
                self.owners[child[1]] = owner
            if name in self.reasons and "forwarded" not in text:
                self.reports[child[1]] = self.reasons[name]
        if text == "removed":
            for known in (self.owners, self.reasons, self.reports):
                known.pop(name, None)
        return owner, code


def about(*patterns: str, grace: float = 3.0) -> Rule:
    """Entries that match, and those about a message whose last attempt failed in such words."""
    return says(*patterns, grace=grace, text=lambda entry: f"{entry.lines[0]}\n{entry.code}")


# --- ordinary work ---------------------------------------------------------------------------------------------------


def talk(address: str, name: str, work: Callable[[smtplib.SMTP], object]) -> None:
    """A session with Postfix; what it refuses, and that it leaves, is no surprise."""
    with contextlib.suppress(OSError, smtplib.SMTPException, ValueError):
        link = smtplib.SMTP("127.0.0.1", PORT, name, 12.0, (address, 0))
        try:
            work(link)
            link.quit()
        finally:
            link.close()


def letter(rng: random.Random, sender: str, recipient: str, subject: str, size: int) -> str:
    """The text of a message."""
    domain = sender.rpartition("@")[2]
    return (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n"
        f"Message-ID: <{rng.randrange(10**10)}@{domain}>\r\n"
        f"X-Mailer: Mail {rng.randint(1, 9)}.{rng.randint(0, 9)}\r\n\r\n" + "a line of words\r\n" * (size // 17)
    )


def send(address: str, sender: str, recipient: str, text: str | bytes, tls: bool = False) -> None:
    """One message."""

    def work(link: smtplib.SMTP) -> None:
        if tls:
            link.starttls(context=ssl._create_unverified_context())
        link.sendmail(sender, [recipient], text)

    talk(address, sender.partition("@")[2], work)


class Correspondent(Client):
    """A colleague, another company's server, or someone on the road who logs in."""

    def __init__(self, lab: Postfix, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.inside = address in CLIENT_ADDRESSES[:4]

    def work(self) -> None:
        """One session, and a pause."""
        usual: list[Callable[[], None]] = [self.mail] * 12
        slips = [self.wrong_name, self.vanish] * 2 + [self.slow, self.too_large, *[self.error_report] * 3]
        if self.inside:
            usual += [self.probe, self.several, self.helpdesk]
            slips += [self.bad_partner] * 2
        else:
            usual += [self.on_the_road] * 5
            slips += [self.advertisement, self.relay, self.fool, *[self.wrong_password] * 2]
        self.act(usual, slips, 0.2)

    def sender(self) -> str:
        """Who writes."""
        name = self.rng.choice((*NAMES, "alert", "alert"))  # a machine that reports
        return f"{name}@{'example.org' if self.inside else self.rng.choice((*PARTNERS, BANK))}"

    def recipient(self) -> str:
        """Who is written to."""
        if self.inside and self.rng.random() < 0.2:
            return f"{self.rng.choice(NAMES)}@{BANK}"
        if self.inside and self.rng.random() < 0.5:
            return f"{self.rng.choice(NAMES)}@{self.rng.choice((*PARTNERS, *PARTNERS[:3]))}"
        return self.rng.choice(
            (*(f"{name}@example.org" for name in NAMES), "archive@mail.example.org", "root@mail.example.org")
        )

    def send(self, recipient: str, subject: str = "", size: int = 0) -> None:
        """A message with a subject of its own, or a usual one."""
        sender = self.sender()
        text = letter(
            self.rng, sender, recipient, subject or self.rng.choice(SUBJECTS[:7]), size or self.rng.randint(50, 4000)
        )
        send(self.address, sender, recipient, text, tls=self.rng.random() < 0.2)

    def mail(self) -> None:
        """A message to one recipient."""
        self.send(self.recipient())

    def several(self) -> None:
        """A message to several."""
        sender, recipients = self.sender(), [self.recipient() for _ in range(self.rng.randint(2, 4))]
        text = letter(self.rng, sender, recipients[0], self.rng.choice(SUBJECTS), 800)
        talk(self.address, "example.org", lambda link: link.sendmail(sender, recipients, text))

    def helpdesk(self) -> None:
        """To a program that is busy at first (deferred)."""
        self.send(self.rng.choice(("helpdesk@mail.example.org", "archive@mail.example.org", f"full@{PARTNERS[1]}")))

    def probe(self) -> None:
        """A monitor's probe."""
        talk(self.address, "monitor.example.org", lambda link: (link.ehlo(), link.noop()))

    def on_the_road(self, wrong: bool = False) -> None:
        """Someone logs in and sends from afar."""
        user = self.rng.choice(NAMES)
        recipient, text = (
            f"{self.rng.choice(NAMES)}@{self.rng.choice(PARTNERS)}",
            "Subject: From the train\r\n\r\nsoon",
        )

        def work(link: smtplib.SMTP) -> None:
            link.login(user, f"{user}2{'x' * wrong}")
            link.sendmail(f"{user}@example.org", [recipient], text)

        talk(self.address, "[192.0.2.7]", work)

    def wrong_password(self) -> None:
        """A mistyped password."""
        self.on_the_road(wrong=True)

    def wrong_name(self) -> None:
        """A mistyped recipient."""
        domain = self.rng.choice(PARTNERS) if self.inside and self.rng.random() < 0.5 else "example.org"
        name = "gone" if domain != "example.org" else self.rng.choice(NAMES) + self.rng.choice("esx1")
        self.send(f"{name}@{domain}")

    def bad_partner(self) -> None:
        """A partner's mailbox is full, or the name has no domain."""
        self.send(self.rng.choice((f"full@{PARTNERS[1]}", f"gone@{PARTNERS[0]}", "anna@partner")))

    def vanish(self) -> None:
        """Leaves in the middle."""
        lines = (
            "EHLO pc.example.org",
            f"MAIL FROM:<{self.sender()}>",
            "RCPT TO:<anna@example.org>",
            "DATA",
            "Subject: x",
        )
        data = "".join(f"{line}\r\n" for line in lines[: self.rng.randint(0, 5)])
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", PORT), 3.0, (self.address, 0)) as link,
        ):
            link.recv(200)
            for line in data.splitlines():
                link.sendall(line.encode() + b"\r\n")
                link.recv(500) if line != "Subject: x" else None

    def slow(self) -> None:
        """Says nothing until Postfix hangs up."""

        def work(link: smtplib.SMTP) -> None:
            link.ehlo()
            self.lab.crew.stopping.wait(3.3)

        talk(self.address, "laptop.example.org", work)

    def too_large(self) -> None:
        """A message beyond the limit."""
        self.send(self.recipient(), size=260_000)

    def error_report(self) -> None:
        """A message whose subject the mail server warns of."""
        self.send(self.recipient(), subject="Error report")

    def advertisement(self) -> None:
        """A message that nobody wants."""
        self.send(self.recipient(), subject=self.rng.choice(("cheap watches", "You won the lottery")))

    def relay(self) -> None:
        """Another company's server is set up wrong."""
        self.send(f"{self.rng.choice(NAMES)}@elsewhere.example.org")

    def fool(self) -> None:
        """Someone speaks HTTP, or greets with nonsense."""
        if self.rng.random() < 0.5:
            send_raw(PORT, b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n", self.address)
        else:
            talk(
                self.address,
                "bad_host_",
                lambda link: link.sendmail(self.sender(), ["anna@example.org"], "Subject: x\r\n\r\n"),
            )


class Newsletter(Client):
    """A job that sends to a list; a fault may silence it."""

    def work(self) -> None:
        """One number, and a pause."""
        if not (FLAGS / "no-newsletter").exists():
            recipient = "news@mail.example.org"
            text = letter(self.rng, "lists@example.org", recipient, f"Newsletter {self.rng.randint(1, 90)}", 1500)
            send(self.address, "lists@example.org", recipient, text)
        self.lab.crew.stopping.wait(2.5)


def cron(lab: Postfix) -> None:
    """The machine's own jobs mail what they did."""
    if not (FLAGS / "no-cron").exists():
        postfix("sendmail", "-f", "alert", "root", standard_input="Subject: Cron <root@server1> backup\n\ndone\n")
    lab.crew.stopping.wait(3.0)


def read_mail(lab: Postfix) -> None:
    """Everyone fetches his mail, so that the small disk does not fill by itself."""
    if not (BOXES / "ballast").exists():
        for path in BOXES.glob("*/new/*"):
            path.unlink(missing_ok=True)
    lab.crew.stopping.wait(1.0)


# --- faults ----------------------------------------------------------------------------------------------------------


remote_dead = faults.lasting(lambda lab: faults.down(lab.remotes[0]), 3.0, 5.0)
"""The partners' mail servers are gone for a while."""


remote_unreachable = faults.lasting(lambda lab: faults.network_cut(REMOTE_PORT), 4.0, 6.0, faults.settle(1.0))
"""The network to the partners drops everything."""


def while_remote(what: str) -> faults.Injection:
    """The partners' mail servers misbehave for a while."""
    return faults.lasting(lambda lab: faults.flag(FLAGS / what), 3.0, 6.0)


def wait_for_postfix(lab: Postfix) -> None:
    """Until it takes a session again; it waits after failures of its own."""

    def greets() -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", PORT, "x", 3.0, (INJECTOR_ADDRESS, 0)) as link:
                return link.ehlo()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    wait_until(greets, 20, "postfix answers")


passwords_gone = faults.lasting(lambda lab: faults.down(lab.remotes[1]), 2.0, 4.0, wait_for_postfix)
"""The password server is gone."""


def guess_passwords(lab: Postfix, interval: Interval) -> None:
    """Guessing the passwords of those on the road."""
    for _ in range(lab.rng.randint(4, 10)):
        user = lab.rng.choice((*NAMES, "admin", "info"))

        def work(link: smtplib.SMTP, user: str = user) -> None:
            for number in range(3):
                with contextlib.suppress(smtplib.SMTPAuthenticationError):
                    link.login(user, f"{user}{number + 3}")

        talk(INJECTOR_ADDRESS, "laptop.example.org", work)


def guess_names(lab: Postfix, interval: Interval) -> None:
    """Someone tries which names exist."""
    for _ in range(lab.rng.randint(2, 4)):

        def work(link: smtplib.SMTP) -> None:
            link.ehlo()
            link.mail(f"{lab.rng.choice(NAMES)}@{PARTNERS[0]}")
            for name in lab.rng.sample(("info", "sales", "paul", "mia", "otto", "nina", "ivan", "kim", *NAMES), k=12):
                link.rcpt(f"{name}@example.org")

        talk(INJECTOR_ADDRESS, PARTNERS[0], work)


def open_relay_attempts(lab: Postfix, interval: Interval) -> None:
    """Someone tries to send to others through this server."""
    for _ in range(lab.rng.randint(8, 25)):
        name, domain = lab.rng.choice(NAMES), lab.rng.choice(("example.net", "example.com", "elsewhere.example.org"))
        send(
            INJECTOR_ADDRESS,
            f"{name}@example.org",
            f"{name}%x@{domain}" if lab.rng.random() < 0.3 else f"{name}@{domain}",
            "x",
        )


def spam_wave(lab: Postfix, interval: Interval) -> None:
    """One address sends ordinary messages, far too many."""
    for _ in range(lab.rng.randint(12, 30)):
        sender, recipient = (
            f"{lab.rng.choice(NAMES)}@{lab.rng.choice(PARTNERS)}",
            f"{lab.rng.choice(NAMES)}@example.org",
        )
        send(
            INJECTOR_ADDRESS, sender, recipient, letter(lab.rng, sender, recipient, lab.rng.choice(SUBJECTS[:7]), 900)
        )


MALFORMED = (
    b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n",
    b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    b"HELO x\r\nMAIL FROM:<<>>\r\nMAIL FROM anna\r\nRCPT TO:<>\r\nQUIT\r\n",
    b"RCPT TO:<anna@example.org>\r\nDATA\r\nDATA\r\n" + b"XYZZY\r\n" * 20,
    b"EHLO " + b"a" * 3000 + b"\r\n",
    b"STARTTLS\r\n\x16garbage\r\n",
)

malformed_sessions = faults.garbage(PORT, MALFORMED, 8, 20, timeout=0.3)
"""Commands out of order, other protocols, impatient programs."""


def oversized_mails(lab: Postfix, interval: Interval) -> None:
    """Mails that do not tell how large they are, until they are too large."""
    for _ in range(lab.rng.randint(2, 5)):

        def work(link: smtplib.SMTP) -> None:
            link.helo()
            link.mail(f"boris@{PARTNERS[0]}")
            link.rcpt("anna@example.org")
            link.data("Subject: Photos\r\n\r\n" + "picture " * 40_000)

        talk(INJECTOR_ADDRESS, PARTNERS[0], work)


too_many_connections = faults.lasting(lambda lab: faults.held_connections(PORT, 20), 1.0, 2.0)
"""One address opens connections and holds them."""


queue_full = faults.lasting(lambda lab: faults.full_disk(QUEUE, leave=120_000), 3.0, 5.0)
"""No room for new mail."""


mailboxes_full = faults.lasting(lambda lab: faults.full_disk(BOXES), 3.0, 5.0)
"""No room in the mailboxes."""


def mailboxes_forbidden(lab: Postfix, interval: Interval) -> None:
    """Someone's clean-up takes some mailboxes from their owner."""
    taken = lab.rng.sample(NAMES, 7)
    for name in taken:
        shutil.chown(BOXES / name, "root")
        (BOXES / name).chmod(0o700)
    lab.hold(3.0, 5.0)
    for name in taken:
        shutil.chown(BOXES / name, "nobody")
        (BOXES / name).chmod(0o755)


def broken_map(lab: Postfix, interval: Interval) -> None:
    """The compiled transport map is damaged, or gone."""
    database = ETC / "transport.db"
    content = database.read_bytes()
    database.unlink()
    if lab.rng.random() < 0.5:
        database.write_bytes(content[:10] + bytes(3000))
    postfix("postfix", "reload")
    lab.hold(2.0, 3.0)
    database.unlink(missing_ok=True)
    lab.write_transport()
    postfix("postfix", "reload")
    wait_for_postfix(lab)


BAD_LINES = (
    "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destinaton",
    "virtual_alias_maps = texthash:/etc/postfix/virtual",
    "mynetworks = 127.0.0.0/33",
    "smtpd_sasl_type = dovecott",
    "smtpd_hard_error_limit = few",
)


def broken_configuration(lab: Postfix, interval: Interval) -> None:
    """A reload of a configuration that is wrong; then the right one comes back."""
    lab.write_main(lab.rng.choice(BAD_LINES))
    os.kill(lab.master(), signal.SIGHUP)
    lab.hold(2.0, 3.5)
    lab.write_main()
    if is_running(lab.master()):
        os.kill(lab.master(), signal.SIGHUP)
    else:
        lab.kill_all()
        lab.postfix.start()
    wait_for_postfix(lab)


def kill_processes(name: str) -> faults.Injection:
    """SIGKILL to all processes of one program; the master starts others."""

    def inject(lab: Postfix, interval: Interval) -> None:
        for _ in range(lab.rng.randint(1, 3)):
            for pid in lab.processes(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            lab.hold(0.5, 1.2)
        wait_for_postfix(lab)

    return inject


def all_killed(lab: Postfix, interval: Interval) -> None:
    """SIGKILL to all of Postfix, which logs nothing about it; then it starts again."""
    lab.kill_all()
    lab.hold(1.0, 2.0)
    lab.postfix.start()


def mail_loop(lab: Postfix, interval: Interval) -> None:
    """The branch's mail comes back to this server, again and again."""
    for _ in range(lab.rng.randint(1, 3)):
        text = letter(lab.rng, f"hugo@{PARTNERS[0]}", "team@branch.example.org", "Minutes", 700)
        send(INJECTOR_ADDRESS, f"hugo@{PARTNERS[0]}", "team@branch.example.org", text)
        lab.hold(0.8, 1.5)


def silenced(what: str) -> faults.Injection:
    """A job that messages stops; nothing else changes."""
    return faults.lasting(lambda lab: faults.flag(FLAGS / what), 5.0, 7.0)


standstill = faults.lasting(lambda lab: faults.frozen(lab.postfix.pids()), 2.0, 3.5)
"""All of Postfix stands still for some seconds, then goes on."""


def looped(entry: Entry, interval: Interval) -> bool:
    """The server's sessions with itself."""
    return entry.remote_host == "127.0.0.1" and interval.contains(entry.time, 3.0)


REFUSED = r"Connection refused|suspended: (?!unable)|Connection timed out|timed out while|lost connection with 127"
MISCONFIGURED = (
    r"reload|refreshing|configuration error|unknown smtpd restriction|Temporary lookup|/etc/postfix/virtual"
    r"|virtual_alias_|bad mask|try again later|unsupported SASL|overriding"
)
CRASHED = r"pid \d+ (?:killed by|exit status)|bad command startup|: fatal: |unexpected (?:end-of-input|EOF)|premature"


def unchecked_passwords(entry: Entry, interval: Interval) -> bool:
    """Processes that cannot start, and those that notice at their next login, perhaps much later."""
    noticed = about(r"authentication server|=\(unavailable\)", grace=30.0)
    return noticed(entry, interval) or about(CRASHED, "SASL: Connect", grace=1.0)(entry, interval)


FAULTS = {
    "remote_dead": Fault(remote_dead, about(REFUSED, grace=6.0)),
    "remote_unreachable": Fault(remote_unreachable, about(REFUSED, grace=6.0), often=False),
    "remote_slow": Fault(while_remote("slow"), about(REFUSED, grace=6.0), often=False),
    "remote_rejects": Fault(while_remote("rejects"), about(r"Service unavailable; client host")),
    "remote_greylists": Fault(while_remote("greylists"), about(r"^(?![\s\S]*clinic)[\s\S]*Greylisted")),
    "expired_certificate": Fault(
        while_remote("expired"), about(r"certificate|not trusted|not verified|Untrusted"), often=False
    ),
    "passwords_gone": Fault(passwords_gone, unchecked_passwords, often=False),
    "guess_passwords": Fault(guess_passwords),
    "guess_names": Fault(guess_names, visible="order"),
    "open_relay_attempts": Fault(open_relay_attempts, visible="order"),
    "spam_wave": Fault(spam_wave, visible="order"),
    "malformed_sessions": Fault(malformed_sessions),
    "oversized_mails": Fault(oversized_mails, often=False),
    "too_many_connections": Fault(too_many_connections, says("process limit|stress")),
    "queue_full": Fault(
        queue_full, about(r"Insufficient system storage|not enough free space|queue.*No space left", grace=0.5)
    ),
    "mailboxes_full": Fault(mailboxes_full, about(r"No space left")),
    "mailboxes_forbidden": Fault(
        mailboxes_forbidden, about(r"Permission denied|maildir access problem|perhaps you need"), often=False
    ),
    "broken_map": Fault(
        broken_map,
        about(
            CRASHED,
            r"transport|lookup (?:failure|error|problem)|resolver failure|service failure|reload|refreshing",
            grace=1.0,
        ),
        often=False,
    ),
    "broken_configuration": Fault(broken_configuration, about(CRASHED, MISCONFIGURED, grace=3.0)),
    "smtpd_killed": Fault(kill_processes("smtpd"), says(CRASHED)),
    "qmgr_killed": Fault(kill_processes("qmgr"), says(CRASHED), often=False),
    "all_killed": Fault(all_killed, says(r"starting the Postfix|daemon started"), often=False),
    "mail_loop": Fault(mail_loop, looped, visible="order"),
    "newsletter_silent": Fault(silenced("no-newsletter"), visible="silence", often=False),
    "cron_silent": Fault(silenced("no-cron"), visible="silence", often=False),
    "standstill": Fault(standstill, visible="silence", often=False),
}


def clean_restart(lab: Postfix) -> None:
    """What an administrator does after an update."""
    postfix("postfix", "stop")
    lab.postfix.stop()
    lab.postfix.start()


def valid_reload(lab: Postfix) -> None:
    """A reload that changes a limit, or nothing."""
    lab.write_main(f"smtpd_hard_error_limit = {lab.rng.choice([15, 16, 18])}")
    postfix("postfix", "reload")


def upkeep(lab: Postfix) -> None:
    """Requeue every waiting message."""
    postfix("postsuper", "-r", "ALL")
    postfix("postqueue", "-f")


SERVICE = Service(
    name="postfix",
    lab=Postfix,
    settings=SETTINGS,
    faults=FAULTS,
    healthy_steps={"clean_restart": clean_restart, "valid_reload": valid_reload, "upkeep": upkeep},
)


# --- the other side --------------------------------------------------------------------------------------------------


class MailServer(socketserver.StreamRequestHandler):
    """A partner's mail server: answers one session, and forgets the message."""

    folder = Path()
    seen: set[tuple[str, str]] = set()
    tls = False
    timeout = 10

    def say(self, text: str) -> None:
        """One answer."""
        self.wfile.write(f"{text}\r\n".encode())

    def has(self, what: str) -> bool:
        """Whether the partners are so just now."""
        return (self.folder / what).exists()

    def handle(self) -> None:
        """One session."""
        with contextlib.suppress(OSError):
            if self.has("slow"):
                time.sleep(4.0)
            self.say("220 mx.partner.example.org ESMTP")
            while line := self.rfile.readline():
                if not self.answer(line.decode(errors="replace").strip()):
                    break

    def answer(self, line: str) -> bool:
        """Answer one command; whether the session goes on."""
        word = line[:4].upper()
        if word == "EHLO":
            self.say(
                "250-mx.partner.example.org" + ("\r\n250-STARTTLS" * self.tls) + "\r\n250-SIZE 1000000\r\n250 8BITMIME"
            )
        elif word == "STAR":
            self.say("220 ready")
            self.secure()
        elif word == "MAIL":
            self.sender = line
            self.say("250 2.1.0 Ok")
        elif word == "RCPT":
            self.recipient = line[9:].partition(">")[0]
            self.say(self.reply_to(line))
        elif word == "DATA":
            self.say("354 go on")
            text = b""
            while (part := self.rfile.readline()) not in (b".\r\n", b""):
                text += part
            if part:
                self.say(f"250 2.0.0 Ok: queued as {random.randrange(16**10):010X}")
                if "branch" in self.recipient:
                    threading.Timer(0.1, send, ("127.0.0.1", "hugo@partner.example.org", self.recipient, text)).start()
        elif word == "QUIT":
            self.say("221 2.0.0 Bye")
            return False
        else:
            self.say("250 2.0.0 Ok")
        return True

    def reply_to(self, line: str) -> str:
        """The answer to a recipient."""
        key = (self.sender, line)
        if self.has("rejects"):
            return "550 5.7.1 Service unavailable; client host [127.0.0.1] blocked"
        if (self.has("greylists") or "clinic" in line) and key not in self.seen:
            self.seen.add(key)
            return "450 4.2.0 Greylisted, see https://example.org/greylist"
        self.seen.discard(key)
        if "<gone@" in line:
            return "550 5.1.1 User unknown in virtual mailbox table"
        if "<full@" in line and random.random() < 0.6:
            return "452 4.2.2 Mailbox full"
        return "250 2.1.5 Ok"

    def secure(self) -> None:
        """Go on over TLS."""
        name = HOME / "tls" / ("expired" if self.has("expired") else "good")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{name}.pem", f"{name}.key")
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.tls = False


class BankServer(MailServer):
    """One that offers TLS."""

    tls = True


class PasswordServer(socketserver.StreamRequestHandler):
    """Checks passwords in Dovecot's protocol; a user's password is the name and a 2."""

    def handle(self) -> None:
        """One client's questions."""
        with contextlib.suppress(OSError):
            self.wfile.write(
                b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\n"
                b"COOKIE\t0123456789abcdef0123456789abcdef\nDONE\n"
            )
            while line := self.rfile.readline().decode():
                parts = line.strip().split("\t")
                if parts[0] == "AUTH":
                    response = next((part[5:] for part in parts if part.startswith("resp=")), "")
                    _, user, password = (base64.b64decode(response).decode() + "\0\0").split("\0")[:3]
                    good = f"OK\t{parts[1]}\tuser={user}\n"
                    self.wfile.write((good if password == f"{user}2" else f"FAIL\t{parts[1]}\tuser={user}\n").encode())


class Server(socketserver.ThreadingTCPServer):
    """Takes many connections at once."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients that leave early are ordinary."""


def main() -> None:
    """Be the partners' mail servers, or the password server."""
    what, MailServer.folder = sys.argv[1], Path(sys.argv[2])
    if what == "mail":
        bank = Server(("127.0.0.1", TLS_PORT), BankServer)
        threading.Thread(target=bank.serve_forever, daemon=True).start()
    server = (
        Server(("127.0.0.1", REMOTE_PORT), MailServer)
        if what == "mail"
        else Server(("127.0.0.1", PASSWORD_PORT), PasswordServer)
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
