"""Findings that somebody called fine: kept with a reference, and left out when logs are judged against it.

What is said to be fine is one finding, not its entries: what these say may be trouble elsewhere. So the healthy log
stays what it was, and every score with it. A finding is left out only if it has the same id and is about nothing but
entries that were accepted with it; whatever joins them is reported. Saved as lines of JSON with the reference.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any, Protocol

# Of the strongest entry's share: only with as much is an entry what a finding is about. docs/accept.md has figures.
TOPIC_SHARE = 0.3
# Longer masked entries are not compared: the finding's id, which has their first line, stands for them.
LONGEST_MASKED = 20_000
FINDING_ID = re.compile("[0-9a-f]{12}")


class _Entry(Protocol):
    @property
    def masked(self) -> str: ...

    @property
    def share(self) -> float: ...


class _Finding(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def entries(self) -> Sequence[_Entry]: ...


@dataclass(frozen=True)
class Accepted:
    """A finding that is fine.

    Attributes:
        id: of the finding.
        masked: the masked entries that it told of, sorted.
        until: from then on it is reported again, in ISO 8601 with an offset; None for good.
        since: when it was accepted, likewise.
    """

    id: str
    masked: tuple[str, ...]
    until: str | None = None
    since: str | None = None

    @classmethod
    def of(cls, record: Any) -> "Accepted":
        """Of a line of JSON that was read: what a page calls fine, a finding's record, or what was saved.

        Raises:
            ValueError: it is none of these; says what is wrong.
        """
        if not isinstance(record, dict):
            raise ValueError(f"a JSON object is needed, got {_named(record)}")
        if not isinstance(record.get("id"), str) or not FINDING_ID.fullmatch(record["id"]):
            raise ValueError(f'"id" must be the 12 hexadecimal digits of a finding, got {_named(record.get("id"))}')
        masked = record.get("masked")
        if masked is None and isinstance(record.get("entries"), list):
            masked = [entry.get("masked") if isinstance(entry, dict) else None for entry in record["entries"]]
        if not isinstance(masked, list) or not all(isinstance(text, str) for text in masked):
            raise ValueError('"masked" must be a list of masked entries, or "entries" one of entries with "masked"')
        times = [record.get(name) for name in ("until", "since")]
        return cls(record["id"], _short(masked), *(None if of is None else moment(of).isoformat() for of in times))

    def is_over(self, now: datetime) -> bool:
        """Whether its time has passed."""
        return self.until is not None and datetime.fromisoformat(self.until) <= now

    @classmethod
    def joined(cls, times: list["Accepted"]) -> "Accepted":
        """Of one finding, accepted several times: the entries of all, for as long as was said last."""
        latest = max(times, key=lambda one: one.since or "")
        return cls(latest.id, _short(text for one in times for text in one.masked), latest.until, latest.since)

    def covers(self, finding: _Finding) -> bool:
        """Whether a finding is this one again: the same id, and about no entry that was not accepted with it."""
        least = TOPIC_SHARE * max((entry.share for entry in finding.entries), default=0.0)
        about = _short([entry.masked for entry in finding.entries if entry.share >= least])
        return finding.id == self.id and set(about) <= set(self.masked)


def moment(until: Any) -> datetime:
    """When an acceptance ends, with an offset: a date means the end of that day; without an offset it is local time.

    Args:
        until: a date or date-time, or one in ISO 8601.

    Raises:
        ValueError: it is neither.
    """
    try:
        if isinstance(until, str):
            until = date.fromisoformat(until) if len(until) <= 10 else datetime.fromisoformat(until)
        if not isinstance(until, datetime):
            until = datetime.combine(until, time.max)
        return until if until.tzinfo else until.astimezone()
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{_named(until)} is no time: give a date such as 2027-01-31, or a date-time such as 2027-01-31T18:00"
        ) from error


def together(*parts: Iterable[Accepted]) -> dict[str, Accepted]:
    """Accepted findings of several lists, by their ids."""
    by_id: dict[str, list[Accepted]] = {}
    for accepted in (one for part in parts for one in part):
        by_id.setdefault(accepted.id, []).append(accepted)
    return {which: Accepted.joined(times) for which, times in by_id.items()}


def newly_accepted(findings: Iterable[Any], until: Any = None) -> list[Accepted]:
    """Findings that are accepted now; see [`LogReference.accept`]."""
    records = [of.to_dict() if hasattr(of, "to_dict") else of for of in findings]
    end, now = None if until is None else moment(until).isoformat(), datetime.now(UTC).isoformat()
    return [replace(Accepted.of(record), until=end, since=now) for record in records]


def to_lines(accepted: Iterable[Accepted]) -> bytes:
    """As they are saved."""
    return "".join(json.dumps(asdict(one)) + "\n" for one in accepted).encode("ascii")


def from_lines(saved: bytes) -> dict[str, Accepted]:
    """What `to_lines` wrote.

    Raises:
        ValueError: it is damaged.
    """
    return together(Accepted.of(json.loads(line)) for line in saved.splitlines())


class LeavesOut:
    """Leaves out of the findings of a log those that were accepted.

    Args:
        accepted: by their ids.
        now: what counts as now; by default the time at which each finding is made.

    Attributes:
        number: how many were left out.
        ended: what was accepted until a time that has passed, and was found again.
    """

    def __init__(self, accepted: dict[str, Accepted], now: datetime | None = None):
        self.accepted, self.now, self.number = accepted, now, 0
        self.ended: dict[str, Accepted] = {}

    @classmethod
    def of(cls, against: Any) -> "LeavesOut":
        """What was accepted in the healthy log that is judged against, an [`Against`] or None."""
        return cls({} if against is None or against.reference is None else against.reference.accepted)

    def is_left_out(self, finding: _Finding) -> bool:
        """Whether a finding was accepted, and counts it."""
        accepted = self.accepted.get(finding.id)
        if accepted is None or not accepted.covers(finding):
            return False
        if accepted.is_over(self.now or datetime.now(UTC)):
            self.ended[accepted.id] = accepted
            return False
        self.number += 1
        return True


def _short(masked: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in masked if len(text) <= LONGEST_MASKED}))


def _named(given: Any) -> str:
    shown = repr(given)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"


__all__ = [
    "FINDING_ID",
    "LONGEST_MASKED",
    "TOPIC_SHARE",
    "Accepted",
    "LeavesOut",
    "from_lines",
    "moment",
    "newly_accepted",
    "to_lines",
    "together",
]
