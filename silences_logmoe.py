"""Which services of a log have fallen silent: no sequence of theirs says so, for they write none.

Where services are told apart, what would be missing beside the others is not: so each that writes throughout the
healthy logs is watched by the clocks of the others. Called by the pipeline and by the scan.
"""

from dataclasses import dataclass

import numpy as np

from .parsing_logmoe import ParsedLog
from .reference_logmoe import LogReference

# A service is silent if it writes nothing for so many times the longest that it ever did in healthy logs, and so many
# seconds. Of eleven training services put together in six ways, in 270 healthy logs and beginnings of logs none is,
# at twice the longest 3; of 165 that were stopped all are.
TIMES_LONGEST, SHORTEST = 3.0, 10.0
# It writes throughout if it does so for this share of the time that healthy logs take.
THROUGHOUT = 0.9


@dataclass(frozen=True)
class Silence:
    """A service that the healthy logs hear from all the time.

    Attributes:
        service: its name.
        line: of the last entry that it wrote, from 1; None if it wrote none.
        seconds: for how long it has written nothing.
        longest: the same in the healthy logs, at most.
    """

    service: str
    line: int | None
    seconds: float
    longest: float


def longest_silences(reference: LogReference) -> dict[int, float]:
    """For how long each service writes nothing in healthy logs, in seconds, of those that write throughout.

    By its own clock, which need not be that of others.
    """
    same = np.diff(reference.log) == 0
    gaps = np.where(same, np.nan_to_num(np.diff(reference.entries.time)), 0).clip(0)
    spans: dict[int, float] = {}
    longest: dict[int, float] = {}
    for service in range(len(reference.services)):
        own = gaps[reference.service[1:] == service]
        spans[service], longest[service] = float(own.sum()), float(own.max(initial=0))
    whole = max(spans.values(), default=0)
    return {service: gap for service, gap in longest.items() if gap > 0 and spans[service] >= THROUGHOUT * whole}


class SilenceWatch:
    """Follows who writes in a log of several services, which may come in chunks.

    Args:
        reference: the healthy logs.
    """

    def __init__(self, reference: LogReference):
        self._services, self._longest = reference.services, longest_silences(reference)
        size = len(self._services) + 1  # the last is the rest
        self._first, self._last = np.full(size, np.nan), np.full(size, np.nan)  # by each service's clock
        # What each clock said when a service wrote last, and in which line.
        self._then = np.full((size, size), np.nan)
        self._line: dict[int, int] = {}

    def add(self, log: ParsedLog) -> "SilenceWatch":
        """Takes the next entries, with `seconds`."""
        assert log.seconds is not None
        size, is_timed = len(self._last), ~np.isnan(log.seconds)
        service = self._services.of(log) % size
        places = [np.flatnonzero((service == of) & is_timed) for of in range(size)]
        for row in np.unique(service).tolist():
            end = int(np.flatnonzero(service == row)[-1])
            self._line[row] = int(log.first_line[end])
            for of, timed in enumerate(places):
                number = int(np.searchsorted(timed, end, side="right"))
                self._then[row, of] = log.seconds[timed[number - 1]] if number else self._last[of]
        for of, timed in enumerate(places):
            if len(timed):
                self._first[of] = log.seconds[timed[0]] if np.isnan(self._first[of]) else self._first[of]
                self._last[of] = log.seconds[timed[-1]]
        return self

    def found(self) -> tuple[Silence, ...]:
        """The services that are silent at the end of these entries."""
        silent = []
        for service in self._expected():
            longest = self._longest[service]
            # A clock that was first seen later began then.
            then = np.where(np.isnan(self._then[service]), self._first, self._then[service])
            passed = np.delete(self._last - then, service)
            seconds = float(np.max(passed, where=~np.isnan(passed), initial=0))
            writer = self._services.writer(service)
            if seconds > max(TIMES_LONGEST * longest, SHORTEST) and writer is not None and writer.name is not None:
                silent.append(Silence(writer.name, self._line.get(service), seconds, longest))
        return tuple(silent)

    def _expected(self) -> list[int]:
        """The services that write throughout such a log: those that are here, and those of all healthy logs like it.

        A log is like this one if all that write here write there: not each log of a folder holds the same services.
        """
        here = self._line.keys() - {len(self._services)}
        alike = [log for log in self._services.logs if here <= log]
        common = frozenset.intersection(*alike) if alike else frozenset()
        return [service for service in self._longest if service in here or service in common]


__all__ = ["Silence", "SilenceWatch", "longest_silences"]
