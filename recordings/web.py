"""What the HTTP services (nginx, Apache, HAProxy, Squid, Tomcat) share: visitors, and injections by HTTP requests.

Their applications are those of `backend`. Each service brings its own pages, slips and faults.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from recordings.clients import Client, http_request
from recordings.faults import Injection
from recordings.labels import INJECTOR_ADDRESS, Interval

AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5",
    "okhttp/4.12.0",
    "curl/8.5.0",
)


class Visitor(Client):
    """Someone with a browser of their own who visits the site at `PORT`."""

    PORT = 80
    AGENTS: Sequence[str] = AGENTS
    HEADERS: dict[str, str] = {}

    def __init__(self, lab: Any, address: str, rng: random.Random) -> None:
        super().__init__(lab, address, rng)
        self.agent = rng.choice(self.AGENTS)

    def ask(self, method: str, path: str, **more: Any) -> int | None:
        """One request; `more` as `http_request` takes it."""
        headers = {"User-Agent": self.agent, **self.HEADERS, **more.pop("headers", {})}
        return http_request(self.PORT, method, path, self.address, headers=headers, **more)


def get(port: int, path: str, agent: str = "", **headers: str) -> int | None:
    """One GET request of the injector."""
    if agent:
        headers = {"User-Agent": agent, **headers}
    return http_request(port, "GET", path, INJECTOR_ADDRESS, headers=headers)


def scan(ask: Callable[[Any, str], object], names: Sequence[str], least: int, most: int, pause: float) -> Injection:
    """Someone looks for what other sites leave open: `ask(lab, path)` for `least` to `most` of `names`.

    Each line is an ordinary one of a mistyped address; their number is not.
    """

    def inject(lab: Any, interval: Interval) -> None:
        for name in lab.rng.choices(names, k=lab.rng.randint(least, most)):
            ask(lab, f"/{name}")
            lab.hold(0.0, pause)

    return inject
