"""Clients: the addresses that they come from, the threads that they run in, and the requests that they make.

A service's `Lab` runs ordinary clients in its `Crew` of threads; each is a `Client` of the service's own. Faults use
the same requests from `labels.INJECTOR_ADDRESS`.
"""

import base64
import contextlib
import http.client
import random
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CLIENT_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 9))
"""Ordinary clients come from these."""


class Crew:
    """Threads that do ordinary work until told to stop; `close` raises an exception that one of them met."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[[], None]) -> None:
        """Call `work` again and again in a new thread."""

        def loop() -> None:
            try:
                while not self.stopping.is_set():
                    work()
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=loop, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop all threads; raise what one of them raised."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(timeout=15)
        if self._errors:
            raise self._errors[0]
        if stuck := sum(thread.is_alive() for thread in self._threads):
            raise TimeoutError(f"{stuck} ordinary clients did not stop within 15 s")


class Client:
    """An ordinary client at `address`: does one thing after another, now and then a wrong one.

    Attributes:
        lab: the running service.
        rng: its own source of chance, the same in the twin without faults.
    """

    lab: Any

    def __init__(self, lab: Any, address: str, rng: random.Random) -> None:
        self.lab, self.address, self.rng = lab, address, rng

    def act(
        self, usual: Sequence[Callable[[], object]], slips: Sequence[Callable[[], object]], share_of_slips: float
    ) -> None:
        """Do one of the usual things, or make one of the usual slips, and pause."""
        self.rng.choice(slips if self.rng.random() < share_of_slips else usual)()
        self.pause()

    def pause(self) -> None:
        """Wait for the next step, at the pace of the settings."""
        self.lab.crew.stopping.wait(self.rng.expovariate(self.lab.settings.pace))


# --- requests --------------------------------------------------------------------------------------------------------


def http_request(
    port: int,
    method: str,
    path: str,
    address: str,
    *,
    host: str = "127.0.0.1",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
    tls: ssl.SSLContext | None = None,
) -> int | None:
    """One HTTP request from `address`, over TLS if `tls` says whom to trust; its status, or None without an answer."""
    link: http.client.HTTPConnection
    if tls is None:
        link = http.client.HTTPConnection(host, port, timeout=timeout, source_address=(address, 0))
    else:
        link = http.client.HTTPSConnection(host, port, timeout=timeout, source_address=(address, 0), context=tls)
    try:
        link.request(method, path, body=body, headers=dict(headers or {}))
        answer = link.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def send_raw(port: int, data: bytes, address: str, *, timeout: float = 2.0, wait: bool = True) -> bytes:
    """Send bytes over TCP from `address`; return what comes back until the other side closes or `timeout` expires."""
    received = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(address, 0)) as link,
    ):
        link.sendall(data)
        while wait and (part := link.recv(65536)):
            received += part
    return received


def receive(link: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises `ConnectionError` if the other side hangs up before."""
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise ConnectionError("the service hung up")
        data += part
    return data


def authorization(user: str, password: str) -> str:
    """The value of HTTP's `Authorization` header for basic authentication."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
