"""Which service wrote each entry of a log of many: a journal, a syslog, the output of Compose or of pods.

Such a log is judged service by service, as if each had written a log of its own: interleaved, what one does beside
another is chance, and what is odd for one drowns in the others. Programs that answer each other, as a mail server's
do, are one service; what too few entries are known of stays together. Called where logs are fitted and judged.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import dictionary_indices
from .grouping_logmoe import Entries
from .parsing_logmoe import LogParser, ParsedLog
from .templates_logmoe import learn_templates

# Entries at the beginning of a log that tell its services; of several logs twice as many together.
SAMPLE_ENTRIES = 1 << 16
# Entries at the beginning of a log of several services that are read before it is judged.
AHEAD_ENTRIES = 1 << 15
# A log whose first so many lines name no program names none.
FIRST_LINES = 1024
# A service of fewer entries in the sample stays with the rest, which has so many itself, or none: with few healthy
# sequences little can be promised.
FEWEST_ENTRIES = 512
# Services that are judged apart; programs that are compared with each other, and entries that each has at least.
MOST_SERVICES, MOST_COMPARED, FEWEST_COMPARED = 32, 64, 100
# Of what can be known of the next entry of one program by the last one of another, the share that is known if they are
# one service. Between programs of one training service that it takes to hold it together .30 or more (sshd and its
# SFTP server, Postfix), between those of two services .075 at most.
COUPLED = 0.15
# How often entries are shuffled to see what chance would know.
SHUFFLES = 5
# The service of what none of them wrote.
REST = -1


@dataclass(frozen=True)
class Writer:
    """Who wrote a part of a log whose services are told apart.

    Attributes:
        name: of the service, that of the program that writes the most of it; None of the rest.
    """

    name: str | None

    def of(self, number: np.ndarray) -> dict[str, Any]:
        """What a result says of it: its name, and the places of the first and the last entry among what it wrote.

        Args:
            number: int64 `(entries,)`, see [`ParsedLog`].
        """
        return {"service": self.name, "places": [int(number[0]), int(number[-1])]}


class Services:
    """The services of a log, by the programs that they consist of.

    Args:
        programs: of each program its service, a number from 0; those that are not here are `REST`.
        logs: which services wrote into one healthy log, of each that is like no other in this.
    """

    def __init__(self, programs: Mapping[str, int] | None = None, logs: Iterable[Iterable[int]] = ()):
        self.programs = dict(programs or {})
        self.logs = {frozenset(log) for log in logs}

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "Services":
        """From what was saved, see [`facts`].

        Raises:
            ValueError: it is no such thing.
        """
        services = cls(facts.get("programs", {}), facts.get("logs", []))
        numbers = set(services.programs.values())
        if not all(isinstance(name, str) for name in services.programs) or numbers != set(range(len(numbers))):
            given = facts["programs"]
            raise ValueError(f"`programs` must give each program the number of its service, got {given!r:.200}")
        if not all(log <= {REST, *numbers} for log in services.logs):
            raise ValueError(f"`logs` must hold numbers of {len(numbers)} services, got {facts['logs']!r:.200}")
        return services

    def facts(self) -> dict[str, Any]:
        """What is saved; nothing where none are told apart."""
        return {"programs": self.programs, "logs": sorted(map(sorted, self.logs))} if self else {}

    def checked(self, service: np.ndarray | None, number: int) -> np.ndarray:
        """The service of each of so many entries, int64 `(entries,)`, as it was saved; None stands for the rest.

        Raises:
            ValueError: these are not so many, or one is of a service that there is not.
        """
        if service is None:
            return np.full(number, REST)
        if service.shape != (number,) or not np.isin(service, np.arange(REST, len(self))).all():
            raise ValueError(f"`service` must give each of {number} entries one of {len(self)} services")
        return service.astype(np.int64)

    def numbers_in(self, other: "Services") -> np.ndarray:
        """The number that each service has there, int64 `(services + 1,)`; the last is that of the rest."""
        numbers = np.full(len(self) + 1, REST)
        for program, service in self.programs.items():
            numbers[service] = other.programs.get(program, REST)
        return numbers

    def __bool__(self) -> bool:
        return bool(self.programs)

    def __len__(self) -> int:
        """How many there are, without the rest."""
        return max(self.programs.values(), default=-1) + 1

    def writer(self, service: int) -> Writer | None:
        """What is known of a service; None where none are told apart."""
        names = {number: program for program, number in reversed(self.programs.items())}
        return Writer(names.get(service)) if self else None

    def of(self, log: ParsedLog) -> np.ndarray:
        """The service of each entry, int64 `(entries,)`."""
        if log.program is None or not self:
            return np.full(len(log), REST)
        names = pc.dictionary_encode(log.program.fill_null(""))
        service = np.array([self.programs.get(name, REST) for name in names.dictionary.to_pylist()], np.int64)
        return service[dictionary_indices(names)]

    def together(self, other: "Services") -> "Services":
        """The services of two references, without their logs: those that share a program are one.

        What only one of them knows by name is of the rest in the other.
        """
        groups = _Groups([*self.programs, *other.programs])
        for services in (self, other):
            of_service: dict[int, str] = {}
            for program, service in services.programs.items():
                groups.join(program, of_service.setdefault(service, program))
        return Services(groups.numbered())


class ServiceParts:
    """Takes a log apart into what its services wrote, each with entries numbered as if it were a log of its own.

    Args:
        services: that are told apart.
    """

    def __init__(self, services: Services):
        self.services = services
        self.number: dict[int, int] = {}  # of entries so far, by service, in the order in which they appear

    def of(self, log: ParsedLog) -> dict[int, ParsedLog]:
        """The next entries of the log, with `number`, by service; the log itself, as `REST`, if there is one."""
        if not self.services:
            return {REST: log}
        service = self.services.of(log)
        # In the order of their first entries.
        found, first = np.unique(service, return_index=True)
        parts = {}
        for number in found[first.argsort()].tolist():
            part = log.take(np.flatnonzero(service == number))
            start = self.number.get(number, 0)
            part.number = np.arange(start, start + len(part))
            self.number[number] = start + len(part)
            parts[number] = part
        return parts


class ServiceCount:
    """Learns from the beginnings of logs which services they hold; those that name no programs tell nothing.

    Args:
        num_logs: that will be taken: of many, less of each is looked at.
    """

    def __init__(self, num_logs: int = 1):
        self._most = max(FEWEST_ENTRIES, min(SAMPLE_ENTRIES, 2 * SAMPLE_ENTRIES // max(num_logs, 1)))
        # Numbers of programs and of masked texts, and those of the entries.
        self._program_of: dict[str, int] = {}
        self._text_of: dict[str, int] = {}
        self._entries: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, log: ParsedLog) -> "ServiceCount":
        """Takes a log."""
        if log.program is not None and names_program(log.program.filter(pa.array(log.first_line <= FIRST_LINES))):
            self._take(log.take(np.arange(min(len(log), self._most))))
        return self

    def add_all(self, chunks: Iterable[Entries], parser: LogParser) -> "ServiceCount":
        """Takes a log that comes in chunks, as far as it is looked at."""
        left = self._most
        for chunk in chunks:
            # Cut, so that nothing hangs on the size of chunks.
            entries = chunk.take(np.arange(min(len(chunk.text), left)))
            self._take(parser.masked(entries))
            left -= len(entries.text)
            if not left:
                break
        return self

    def _take(self, log: ParsedLog) -> None:
        program = pa.nulls(len(log), pa.large_string()) if log.program is None else log.program
        names = pc.dictionary_encode(program.fill_null(""))
        numbers = [
            np.array([known.setdefault(value, len(known)) for value in values.to_pylist()], np.int32)
            for known, values in ((self._program_of, names.dictionary), (self._text_of, log.distinct))
        ]
        self._entries.append((numbers[0][dictionary_indices(names)], numbers[1][log.entry_index]))

    def services(self) -> Services:
        """The services of these logs; none where all is of one."""
        if not self._entries:
            return Services()
        program, text = (np.concatenate(column) for column in zip(*self._entries, strict=True))
        number = Counter(dict(zip(self._program_of, np.bincount(program).tolist(), strict=True)))
        total = number.total()
        number.pop("", None)
        if len(number) < 2:
            return Services()
        groups = _Groups([name for name, _ in number.most_common()])
        for one, other in self._coupled(number, program, text):
            groups.join(one, other)
        size: Counter[str] = Counter()
        for name, count in number.items():
            size[groups.of(name)] += count
        apart = [name for name, count in size.most_common(MOST_SERVICES) if count >= FEWEST_ENTRIES]
        rest = total - sum(size[name] for name in apart)
        while apart and 0 < rest < FEWEST_ENTRIES:
            rest += size[apart.pop()]
        if len(apart) + (rest > 0) < 2:
            return Services()
        ordered = [name for name, _ in number.most_common()]
        return Services({name: apart.index(groups.of(name)) for name in ordered if groups.of(name) in apart})

    def _coupled(self, number: Counter[str], program: np.ndarray, text: np.ndarray) -> list[tuple[str, str]]:
        """Pairs of programs that answer each other."""
        compared = [name for name, count in number.most_common(MOST_COMPARED) if count >= FEWEST_COMPARED]
        distinct = list(self._text_of)
        template = learn_templates(distinct).match(distinct)[text]
        rows = np.split(np.argsort(program, kind="stable"), np.bincount(program).cumsum()[:-1])
        return [
            (one, other)
            for one, other in itertools.combinations(compared, 2)
            if share_known(rows[self._program_of[one]], rows[self._program_of[other]], template) >= COUPLED
        ]


def share_known(one: np.ndarray, other: np.ndarray, template: np.ndarray) -> float:
    """How far the entries of one program tell which entry of another comes next, in either direction.

    Mutual information of neighbours, where all other programs are left out, less what it is by chance, as a share of
    the smaller entropy: 0 if they have nothing to do with each other, 1 if one follows from the other.

    Args:
        one, other: int64, ascending, the places of their entries.
        template: int64 `(entries,)`, of all.
    """
    both = np.concatenate([one, other])
    order = np.argsort(both, kind="stable")
    template, is_one = template[both[order]], order < len(one)
    random = np.random.default_rng(0)
    known, knowable, pairs = 0.0, 0.0, 0
    for is_first in (is_one, ~is_one):
        rows = np.flatnonzero(is_first[:-1] & ~is_first[1:])
        if not len(rows):
            continue
        first = np.unique(template[rows], return_inverse=True)[1]
        second = np.unique(template[rows + 1], return_inverse=True)[1]
        chance = sum(_information(first, random.permutation(second)) for _ in range(SHUFFLES)) / SHUFFLES
        known += _information(first, second) - chance
        knowable += min(_information(first, first), _information(second, second)) - chance
        pairs += len(rows)
    return float(known / knowable) if pairs >= FEWEST_COMPARED and knowable > 0 else 0.0


def _information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two columns, in nats times their length; of a column with itself its entropy."""

    def weighed(values: np.ndarray) -> float:
        counts = np.unique(values, return_counts=True)[1]
        return float((counts * np.log(counts)).sum())

    pairs = first * (int(second.max()) + 1) + second
    return weighed(pairs) - weighed(first) - weighed(second) + len(first) * float(np.log(len(first)))


def names_program(program: pa.Array) -> bool:
    """Whether one of these is a program, not null."""
    return bool(program.null_count < len(program))


class _Groups:
    """Names that are put together, each group called by that of its names that came first."""

    def __init__(self, names: list[str]):
        self._rank = {name: row for row, name in enumerate(dict.fromkeys(names))}
        self._above = {name: name for name in self._rank}

    def of(self, name: str) -> str:
        while self._above[name] != name:
            name = self._above[name]
        return name

    def join(self, one: str, other: str) -> None:
        first, second = sorted((self.of(one), self.of(other)), key=self._rank.__getitem__)
        self._above[second] = first

    def numbered(self) -> dict[str, int]:
        """The group of each name, numbered in the order in which they come."""
        number: dict[str, int] = {}
        return {name: number.setdefault(self.of(name), len(number)) for name in self._rank}


__all__ = ["FIRST_LINES", "REST", "ServiceCount", "ServiceParts", "Services", "Writer", "names_program", "share_known"]
