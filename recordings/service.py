"""The contract of a service: `Lab` runs it, `Fault` breaks it, `Service` is everything the recorder knows about it.

Each module in `recordings/services` ends in one `Service`; `record` looks it up and calls `Service.record`, which
starts the lab, follows the plan of healthy steps and faults, and returns a labelled `Recording`.
"""

import abc
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recordings.clients import Crew
from recordings.corpus import Run
from recordings.labels import Book, Entry, Interval, Recording, Rule, by_address
from recordings.logs import LineCounter

HEALTHY_STRETCH = 110
"""Lines of ordinary work between two steps: several windows of 32 entries."""
LONGEST_STRETCH = 12.0
"""Seconds after which even a quiet service gets its next step."""


class Lab(abc.ABC):
    """One running service in its private folder.

    Attributes:
        settings: one of the service's settings (style and detail of its log).
        seed: decides ordinary work, faults and their order.
        rng: source of chance of the faults. Clients have their own, so that a twin without faults works alike.
        crew: the ordinary clients.
        monitor_is_silent: set while the monitor's probes stop.
        log: the file whose growth paces the plan.
    """

    log: Path

    def __init__(self, settings: Any, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.rng = random.Random(seed)
        self.crew = Crew()
        self.monitor_is_silent = threading.Event()

    @abc.abstractmethod
    def start(self) -> None:
        """Set the service up, with all it depends on, and return once it answers."""

    @abc.abstractmethod
    def employ_clients(self) -> None:
        """Start the ordinary clients on `crew`."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End every process of the service, by its own id."""

    @abc.abstractmethod
    def entries(self) -> Sequence[Entry]:
        """The whole log, after `stop`."""

    def client_rng(self, number: int) -> random.Random:
        """The source of chance of an ordinary client; the same in the twin without faults."""
        return random.Random(f"{self.seed} client {number}")

    def hold(self, least: float, most: float) -> None:
        """Wait between `least` and `most` seconds."""
        time.sleep(self.rng.uniform(least, most))

    def watch(self, ask: Callable[[], object], pause: float = 0.5) -> None:
        """One probe of a monitor, unless a fault has silenced it, and a pause in seconds."""
        if not self.monitor_is_silent.is_set():
            ask()
        self.crew.stopping.wait(pause)


def always(settings: Any) -> bool:
    """Under any settings."""
    return True


@dataclass(frozen=True)
class Fault:
    """How to inject a fault and heal it, which entries it causes besides the injector's, and how it shows.

    Attributes:
        inject: breaks the service, keeps it broken for a while, and heals it. `recordings.faults` builds many of them.
        rule: whether it caused an entry that neither the injector nor a touched process wrote.
        visible: `text` (lines of its own), `order` (ordinary lines in unusual number) or `silence` (lines missing).
        often: twice as often as the others.
        possible: whether it can show under the settings at all.
    """

    inject: Callable[[Any, Interval], None]
    rule: Rule = by_address
    visible: str = "text"
    often: bool = True
    possible: Callable[[Any], bool] = always


@dataclass(frozen=True)
class Service:
    """All that the recorder needs to know about one service.

    A new one is a module in `recordings/services` that ends in `SERVICE = Service(...)`, and its name in
    `recordings.corpus.SERVICES`.
    """

    name: str
    lab: Callable[[Any, int], Lab]
    settings: Mapping[str, Any]
    faults: Mapping[str, Fault]
    healthy_steps: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    """How often a healthy step comes in a round; 2 by default."""
    private_folder: Path = Path("/srv")
    """An empty tmpfs in every run."""

    def plan(self, rng: random.Random, settings: Any) -> Iterator[str]:
        """Names of steps, without end: rounds of every fault and healthy step, each round in a new order."""
        names = [name for name, fault in self.faults.items() if fault.possible(settings)]
        names += [name for name in names if self.faults[name].often]
        names += [name for name in self.healthy_steps for _ in range(self.repeats.get(name, 2))]
        while True:
            rng.shuffle(names)
            yield from names

    def record(self, run: Run, duration: float) -> Recording:
        """Run the service for `duration` seconds after its set-up and label what it wrote.

        In a twin each fault of the plan is a pause instead.
        """
        lab, book = self.lab(self.settings[run.settings], run.seed), Book()
        lab.start()
        try:
            lab.employ_clients()
            time.sleep(2.0)  # until every client has arrived
            start, ends, counter = datetime.now(UTC), time.monotonic() + duration, LineCounter(lab.log)
            # A copy in the same state: what a fault draws must not change the order of the next round.
            plan_rng = random.Random()
            plan_rng.setstate(lab.rng.getstate())
            for step in self.plan(plan_rng, lab.settings):
                quiet_from, lines = time.monotonic(), counter.update()
                while counter.update() - lines < HEALTHY_STRETCH and time.monotonic() - quiet_from < LONGEST_STRETCH:
                    time.sleep(0.1)
                lab.hold(0.0, 1.0)
                if time.monotonic() > ends:
                    break
                if step in self.healthy_steps:
                    with book.step(step, None):
                        self.healthy_steps[step](lab)
                elif run.split != "twin":
                    with book.step(step, step, self.faults[step].visible) as interval:
                        self.faults[step].inject(lab, interval)
                else:
                    lab.hold(1.0, 3.0)
            end = datetime.now(UTC)
            lab.crew.close()
        finally:
            lab.crew.stopping.set()
            lab.stop()
        rules = {name: fault.rule for name, fault in self.faults.items()}
        return Recording(self.name, run.name(self.name), run.split, lab.entries(), book.intervals, start, end, rules)
