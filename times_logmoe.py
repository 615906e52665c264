"""Shapes in, times out: how a time is written, as data, and how its digits become a date, a clock and a zone.

The rules (`TIME_RULES`) are tried on shapes, texts with every digit zeroed, so once for all entries that look alike;
the digits are then picked from the entries by position. Called by the header reader, which says where to look.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import (
    MANY_TEXTS,
    TextBytes,
    check_pattern,
    dictionary_indices,
    digit_alternatives,
    group_spans,
    matches,
    without_names,
)

Rule = Mapping[str, Any]

# A header's time starts within so many bytes.
MAX_TIME_START = 160
# How many rules may match an entry with values out of range.
CANDIDATES = 3

# ---------------------------------------------------------------------- time rules

DAY_SECONDS = 86_400

# Zones by name, in hours. Where a name has several meanings, the one most seen in logs.
ZONES = {
    **dict.fromkeys(("Z", "UTC", "GMT", "WET", "UCT"), 0.0),
    **dict.fromkeys(("WEST", "BST", "CET", "MET"), 1.0),
    **dict.fromkeys(("CEST", "MEST", "EET", "SAST"), 2.0),
    **dict.fromkeys(("EEST", "MSK", "EAT"), 3.0),
    **{"IST": 5.5, "PKT": 5.0, "WIB": 7.0, "HKT": 8.0, "SGT": 8.0, "AWST": 8.0, "JST": 9.0, "KST": 9.0},
    **{"ACST": 9.5, "ACDT": 10.5, "AEST": 10.0, "AEDT": 11.0, "NZST": 12.0, "NZDT": 13.0},
    **{"NST": -3.5, "NDT": -2.5, "AST": -4.0, "ADT": -3.0, "EST": -5.0, "EDT": -4.0, "CST": -6.0, "CDT": -5.0},
    **{"MST": -7.0, "MDT": -6.0, "PST": -8.0, "PDT": -7.0, "AKST": -9.0, "AKDT": -8.0, "HST": -10.0},
    **{"BRT": -3.0, "ART": -3.0},
}
_REGIONS = "Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc"

_WEEKDAY = r"(?i:Mon|Tues?|Wed(?:nes)?|Thu(?:rs?)?|Fri|Sat(?:ur)?|Sun)(?i:day)?"
_MONTH = (
    r"(?P<b>(?i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?))"
)
_HAS_MONTH = "(?i)jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_MONTH_PREFIXES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FRACTION = r"(?:[.,:](?P<f>\d+))?"
_AMPM = r"(?:[ \x{A0}\x{202F}]?(?P<p>[AaPp]\.?[Mm]\b\.?))?"
_ZONE = (
    r"(?: ?\(?(?P<z>[+-]\d{2}:?\d{2}|(?:UTC|GMT)[+-]\d{1,2}(?::?\d{2})?"
    rf"|(?:{'|'.join(sorted(ZONES, key=len, reverse=True))}|z)\b"
    rf"|(?:{_REGIONS})/[A-Z]\w+(?:/[A-Z]\w+)?)|(?P<zh>[+-]\d{{2}}))?"
)
_SECONDS = rf"(?P<H>\d{{1,2}}):(?P<M>\d{{2}}):(?P<S>\d{{2}}){_FRACTION}"
_CLOCK = rf"(?P<H>\d{{1,2}}):(?P<M>\d{{2}})(?::(?P<S>\d{{2}}){_FRACTION})?{_AMPM}{_ZONE}"
_YEAR, _MONTH_NUMBER, _DAY_NUMBER = r"(?P<Y>\d{4})", r"(?P<m>\d{1,2})", r"(?P<d>\d{1,2})"
_COMPACT = r"(?P<m>\d{2})(?P<d>\d{2})"
# AM and PM of China, Japan and Korea
_NOON = r"(?:(?:(?P<am>上午|午前|오전)|(?P<pm>下午|午後|오후)) ?)?"
_COMPACT_CLOCK = rf"(?P<H>\d{{2}})(?P<M>\d{{2}})(?P<S>\d{{2}}){_FRACTION}"

# How a time is written, tried on texts with every digit zeroed: a pattern may say `\d`, but name no digit. Groups: `Y`
# year, `y` year of two digits, `m` month, `b` its name, `d` day, `n1` and `n2` day and month in an order that the log
# must settle, `H`, `M`, `S`, `f` fraction, `p` AM or PM, `am` or `pm` before the clock, `z` or `zh` zone, and `s`,
# `ms`, `us`, `ns` since 1970. The earliest time wins, then the order of rules. `place`: "head" (default) near the
# beginning, "start" only at the very beginning, where brackets, quotes and a syslog priority may stand before it, and
# as the value of a key; others are in `_PLACES`. `needs` is a cheap pattern that matches wherever the rule does; it
# spares the dear one.
TIME_RULES: list[dict[str, str]] = [
    # 2026-03-12T06:25:01.104522+09:00, 2026/03/12 - 06:25:01, 2026-03-12 06:25
    {
        "name": "iso",
        "needs": r"\d{4}[-/.]\d",
        "pattern": rf"{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY_NUMBER}(?:[Tt_:-]|,?[ \t]+(?:- )?){_CLOCK}",
    },
    # 2026-03-12 06.25.01,104, 2005-06-03-15.42.50.363779
    {
        "name": "dotted clock",
        "needs": r"\d\.\d\d\.",
        "pattern": rf"{_YEAR}-(?P<m>\d{{2}})-(?P<d>\d{{2}})[-T ](?P<H>\d{{2}})\.(?P<M>\d{{2}})\.(?P<S>\d{{2}})"
        rf"{_FRACTION}{_ZONE}",
    },
    # 20260312T062501Z
    {"name": "iso basic", "needs": r"\d{8}[Tt]", "pattern": rf"{_YEAR}{_COMPACT}[Tt]{_COMPACT_CLOCK}{_ZONE}"},
    # 12/Mar/2026:06:25:01 +0000
    {"name": "access log", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}/{_MONTH}/{_YEAR}[: ]{_CLOCK}"},
    # mar/12/2026 06:25:01
    {"name": "mikrotik", "needs": _HAS_MONTH, "pattern": rf"{_MONTH}/{_DAY_NUMBER}/{_YEAR} {_CLOCK}"},
    # 2026/3/12 下午 06:25:01
    {
        "name": "cjk slashes",
        "needs": "[午오]",
        "pattern": rf"{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY_NUMBER}[. ] ?{_NOON}{_SECONDS}{_ZONE}",
    },
    # 12-Mar-2026 06:25:01, 12-Mar-2026::06:25:01
    {"name": "day-month", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}-{_MONTH}-{_YEAR}(?:::?|[ T]){_CLOCK}"},
    {"name": "day-month short", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER}-{_MONTH}-(?P<y>\d{{2}})[ T]{_CLOCK}"},
    # Thu, 12 Mar 2026 06:25:01 GMT
    {
        "name": "day month",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_DAY_NUMBER}\.? {_MONTH},? {_YEAR},?(?: at)? {_CLOCK}",
    },
    # Sun Dec 04 04:47:44.123456 2005, Thu Mar 12 06:25:01 AM CET 2026
    {
        "name": "ctime",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER} {_SECONDS}{_AMPM}{_ZONE} {_YEAR}(?: (?:GMT|UTC))?",
    },
    # Thursday, March 12, 2026 6:25:01 AM, Mar 12 2026 06:25:01
    {
        "name": "month day",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER},? {_YEAR},?(?: at)? {_CLOCK}",
    },
    # 2026 Mar 12 06:25:01.104
    {"name": "year month day", "needs": _HAS_MONTH, "pattern": rf"{_YEAR}[ -]{_MONTH}[ -]+{_DAY_NUMBER} {_CLOCK}"},
    # Mar 12 06:25:01
    {
        "name": "syslog",
        "needs": _HAS_MONTH,
        "pattern": rf"(?:{_WEEKDAY},? )?{_MONTH} +{_DAY_NUMBER} {_SECONDS}{_ZONE}",
    },
    # 12 Mar 06:25:01.104
    {"name": "day month without year", "needs": _HAS_MONTH, "pattern": rf"{_DAY_NUMBER} {_MONTH} {_SECONDS}{_ZONE}"},
    # Thu 12 Mar 06:25:01 2026
    {
        "name": "weekday day month",
        "needs": _HAS_MONTH,
        "pattern": rf"{_WEEKDAY},? {_DAY_NUMBER} {_MONTH} {_SECONDS}{_ZONE} {_YEAR}",
    },
    # 2026年3月12日 06:25:01, 2026年03月12日 06时25分01秒
    {
        "name": "cjk",
        "needs": "[年년]",
        "pattern": rf"{_YEAR}[年년] ?{_MONTH_NUMBER}[月월] ?{_DAY_NUMBER}[日일] ?"
        rf"(?:[(（][\p{{Han}}\p{{Hangul}}][)）] ?)?{_NOON}(?P<H>\d{{1,2}})(?:[:：时時]|시 ?)(?P<M>\d{{1,2}})"
        rf"(?:(?:[:：分]|분 ?)(?P<S>\d{{1,2}})[秒초]?{_FRACTION})?{_ZONE}",
    },
    # date=2026-03-12 time=06:25:01
    {
        "name": "date and time keys",
        "needs": "time",
        "pattern": rf"{_YEAR}[-/.]{_MONTH_NUMBER}[-/.]{_DAY_NUMBER}[\"']?[,; ]+[\"']?time[\"']?[:=] ?[\"']?{_CLOCK}",
    },
    # 12/31/2026 06:25:01 PM, 31.12.2026 18:25:01
    {
        "name": "slashes",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/{_YEAR}(?:,?[ \t]+|[T:-]|,| \| ){_CLOCK}",
    },
    {
        "name": "dots and dashes",
        "needs": r"\d[.-]\d{4}",
        "pattern": rf"(?P<n1>\d{{1,2}})[.-](?P<n2>\d{{1,2}})[.-]{_YEAR}(?:,?[ \t]+|[T:]|,){_CLOCK}",
    },
    # 12/31/26 6:25:01 PM, [3/12/26 6:25:01:104 CET], 03/12/26,06:25:01
    {
        "name": "slashes short",
        "needs": r"\d/\d",
        "pattern": r"(?P<n1>\d{1,2})/(?P<n2>\d{1,2})/(?P<y>\d{2}),?[ \t]+"
        rf"{_SECONDS}[ \x{{A0}}\x{{202F}}]?(?P<p>[AaPp]\.?[Mm]\b\.?){_ZONE}",
    },
    {
        "name": "comma short",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/(?P<y>\d{{2}}),[ \t]*{_CLOCK}",
    },
    # [03/12/26 06:25:01], as Rich writes it; [3/12/26 6:25:01:104 CET]
    {
        "name": "slashes in brackets",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/(?P<y>\d{{2}}) {_SECONDS}{_ZONE}",
        "place": "bracket",
    },
    # 17/06/09 20:10:40
    {
        "name": "year first",
        "needs": r"\d/\d",
        "pattern": rf"(?P<y>\d{{2}})/(?P<m>\d{{2}})/(?P<d>\d{{2}}) {_SECONDS}{_ZONE}",
    },
    {
        "name": "slashes of websphere",
        "needs": r"\d/\d",
        "pattern": rf"(?P<n1>\d{{1,2}})/(?P<n2>\d{{1,2}})/(?P<y>\d{{2}}) {_SECONDS}{_ZONE}",
    },
    # I0312 06:25:01.104522 and, with a year, I20260312 06:25:01.104522
    {"name": "klog", "needs": r"\d{4}", "pattern": rf"{_COMPACT} {_SECONDS}", "place": "letter"},
    {"name": "glog", "needs": r"\d{8}", "pattern": rf"{_YEAR}{_COMPACT} {_SECONDS}", "place": "letter"},
    # 20171223-22:15:29:606, 20260312 06:25:01
    {"name": "compact date", "needs": r"\d{6}", "pattern": rf"{_YEAR}{_COMPACT}[-_T ]{_CLOCK}", "place": "start"},
    # 20081109 203615, 20260312062501
    {
        "name": "compact",
        "needs": r"\d{6}",
        "pattern": rf"{_YEAR}{_COMPACT}[-_ ]?{_COMPACT_CLOCK}{_ZONE}",
        "place": "start",
    },
    # 081109 203615
    {"name": "hadoop", "needs": r"\d{6}", "pattern": rf"(?P<y>\d{{2}}){_COMPACT} {_COMPACT_CLOCK}", "place": "start"},
    # 130812 15:22:33
    {"name": "mysql", "needs": r"\d{6}", "pattern": rf"(?P<y>\d{{2}}){_COMPACT} +{_SECONDS}", "place": "start"},
    # 03-12 06:25:01.104
    {
        "name": "android",
        "needs": r"\d-\d\d \d",
        "pattern": rf"(?P<m>\d{{2}})-(?P<d>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    # ERROR [03-12|06:25:01.104]
    {"name": "geth", "needs": r"\d-\d\d\|", "pattern": rf"(?P<m>\d{{2}})-(?P<d>\d{{2}})\|{_SECONDS}"},
    # [12Mar2026 06:25:01.104]
    {"name": "forge", "needs": _HAS_MONTH, "pattern": rf"(?P<d>\d{{2}}){_MONTH}{_YEAR} {_SECONDS}"},
    # [2026.03.12-06.25.01:104]
    {
        "name": "unreal",
        "needs": r"\d\.\d\d-\d",
        "pattern": rf"{_YEAR}\.{_MONTH_NUMBER}\.{_DAY_NUMBER}-(?P<H>\d{{2}})\.(?P<M>\d{{2}})\.(?P<S>\d{{2}})"
        rf"{_FRACTION}",
    },
    # 12.03.26 06:25:01
    {
        "name": "dots short",
        "needs": r"\d\.\d\d\.\d\d ",
        "pattern": rf"(?P<d>\d{{2}})\.(?P<m>\d{{2}})\.(?P<y>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    # [10.30 16:49:06], [0312/062501.104:
    {
        "name": "proxifier",
        "needs": r"\d\.\d\d \d",
        "pattern": rf"(?P<m>\d{{2}})\.(?P<d>\d{{2}}) {_SECONDS}",
        "place": "start",
    },
    {
        "name": "chromium",
        "needs": r"\d{4}",
        "pattern": rf"(?:\d+:){{0,2}}{_COMPACT}/{_COMPACT_CLOCK}",
        "place": "start",
    },
    # 1773296701, 1773296701.104522, 1773296701104 and longer
    {"name": "epoch", "needs": r"\d{6}", "pattern": r"(?P<s>\d{10})(?:\.(?P<f>\d+))?", "place": "start"},
    {"name": "epoch ms", "needs": r"\d{6}", "pattern": r"(?P<ms>\d{13})(?:\.\d+)?", "place": "start"},
    {"name": "epoch us", "needs": r"\d{6}", "pattern": r"(?P<us>\d{16})(?:\.\d+)?", "place": "start"},
    {"name": "epoch ns", "needs": r"\d{6}", "pattern": r"(?P<ns>\d{19})", "place": "start"},
    # type=LOGIN msg=audit(1773296701.104:4711): of Linux; [ERROR] [1773296701.104522123] of ROS
    {
        "name": "audit",
        "needs": r"audit\(\d",
        "pattern": r"^(?:node=\S+ )?type=\S+ msg=audit\((?P<s>\d{10})\.(?P<f>\d+)",
        "place": "line",
    },
    {
        "name": "ros",
        "needs": r"\] \[\d{10}",
        "pattern": r"(?P<s>\d{10})\.(?P<f>\d+)",
        "place": "level",
    },
    # Started GET "/carts" for 10.0.0.8 at 2026-03-12 06:25:01 +0900
    {
        "name": "rails",
        "needs": "Started",
        "pattern": rf'^Started [A-Z]+ "[^"\n]*" for \S+ at {_YEAR}-{_MONTH_NUMBER}-{_DAY_NUMBER} {_CLOCK}',
        "place": "line",
    },
]

# What may stand before and after a time, by the rule's place.
_PLACES = {
    "head": r"(?:^|[^\w./+%&?\\-])",
    "start": r"^\x{FEFF}?(?:<\d{1,3}>\d? ?)?[\s\[(<{\"'#*]*(?:[DIWEFC] )?",
    "bracket": r"^\[",
    "level": r"^\[ {0,2}[A-Z]+\] \[",
    "letter": r"^\s*[DIWEFC]",
    "line": "",
}
_TIME_END = r"(?:$|[^0-9A-Za-z])"

# A time is no header after this: prose ("restored at", "the backup of volume seven from"), the value of some key, a
# request, an earlier line.
_NOT_HEADER = (
    r"(?i:\b(?:at|on|since|until|till|from|to|by|before|after|than|of|is|was|for|in|between|and|or|expires?|expired"
    r"|due|as|the|updated|created|modified|next|last)[ \t:]+[\"'\[(]?$)"
    r"|(?:\b[A-Za-z]*[a-z]{2}[ \t]+){3}[\"'\[(]?$"
    r"|[=?&][\"'\[(]?$|\w[\"']:\s*[\"']?$|\"[A-Z]{3,8} [^\"]*$|\n"
)

# ---------------------------------------------------------------------- times

_GROUPS = ("time", *"YymbdHMSfpz", "zh", "n1", "n2", "s", "ms", "us", "ns", "am", "pm")
WHOLE_TIME = 0
_GROUP = {name: number for number, name in enumerate(_GROUPS)}


class TimeRules:
    """Finds times in shapes."""

    def __init__(self, rules: Sequence[Rule]):
        self.rules: list[tuple[str, str]] = []  # pattern, and what a text needs to match
        for rule in rules:
            check_rule("time", rule, {"name", "pattern", "place", "needs"})
            name, pattern, place = rule["name"], rule["pattern"], rule.get("place", "head")
            groups = set(re.findall(r"\(\?P<(\w+)>", pattern))
            if place not in _PLACES:
                raise ValueError(f"the time rule {name!r} needs a `place` of {', '.join(_PLACES)}, got {place!r}")
            if not groups or not groups <= set(_GROUPS[1:]):
                raise ValueError(
                    f"the time rule {name!r} needs groups named {', '.join(_GROUPS[1:])}, "
                    f"got {sorted(groups) or 'none'}"
                )
            if digit_alternatives(pattern)[0] is not None:
                raise ValueError(f"the time rule {name!r} names a digit in {pattern!r}: write \\d, ranges are checked")
            complete = f"{_PLACES[place]}(?P<time>{pattern}){_TIME_END}"
            needs = rule.get("needs", r"\d")
            check_pattern(f"time rule {name}", complete)
            check_pattern(f"time rule {name}", needs)
            self.rules.append((complete, needs))
        self.any_pattern = "|".join(f"(?:{without_names(pattern)})" for pattern, _ in self.rules)

    def find(self, shapes: pa.Array) -> dict[str, np.ndarray]:
        """Finds the times in shapes.

        Returns:
            `rule`, int16 `(shapes, candidates)`, the rules that match, the earliest time first, -1 for none; and
            `spans`, int16 `(shapes, candidates, groups, 2)`, where their groups stand: start and length in bytes.
        """
        rule = np.full((len(shapes), CANDIDATES), -1, dtype=np.int16)
        spans = np.zeros((len(shapes), CANDIDATES, len(_GROUPS), 2), dtype=np.int16)
        hits = np.arange(len(shapes))
        if len(hits) > MANY_TEXTS:  # one pass over all pays
            hits = np.flatnonzero(matches(shapes, self.any_pattern))
        if not len(hits) or not self.rules:
            return {"rule": rule, "spans": spans}
        texts = shapes.take(pa.array(hits))
        nowhere = np.int32(1 << 30)
        start = np.full((len(hits), len(self.rules)), nowhere, dtype=np.int32)
        rows_of_rules: list[np.ndarray] = []
        spans_of_rules: list[np.ndarray] = []
        needed: dict[str, np.ndarray] = {}
        for number, (pattern, needs) in enumerate(self.rules):
            if needs not in needed:
                needed[needs] = np.flatnonzero(matches(texts, needs))
            rows = needed[needs]
            some = texts.take(pa.array(rows))
            if len(rows) > MANY_TEXTS:
                hit = np.flatnonzero(matches(some, pattern))
                rows, some = rows[hit], some.take(pa.array(hit))
            of_rule, is_match = group_spans(some, pattern, _GROUPS)
            begin = of_rule[:, WHOLE_TIME, 0]
            is_match &= begin <= MAX_TIME_START
            if is_match.any() and not pattern.startswith("^"):
                is_match &= ~matches(TextBytes(some).cut(0, begin), _NOT_HEADER)
            start[rows[is_match], number] = begin[is_match]
            row_of_hit = np.full(len(hits), -1)
            row_of_hit[rows] = np.arange(len(rows))
            rows_of_rules.append(row_of_hit)
            spans_of_rules.append(of_rule)
        order = start.argsort(axis=1, kind="stable")[:, :CANDIDATES]
        for candidate in range(min(CANDIDATES, len(self.rules))):
            chosen = order[:, candidate]
            exists = start[np.arange(len(hits)), chosen] < nowhere
            rule[hits[exists], candidate] = chosen[exists]
            for number in np.unique(chosen[exists]):
                of_rule = exists & (chosen == number)
                spans[hits[of_rule], candidate] = spans_of_rules[number][rows_of_rules[number][of_rule]]
        return {"rule": rule, "spans": spans}


@dataclass
class WrittenTimes:
    """What is written in the headers of entries, each an array `(entries,)`; -1 or 0 for what is not."""

    is_found: np.ndarray
    start: np.ndarray
    end: np.ndarray
    year: np.ndarray
    month: np.ndarray
    day: np.ndarray
    first_number: np.ndarray
    second_number: np.ndarray
    is_dotted: np.ndarray
    is_dashed: np.ndarray
    clock: np.ndarray
    nanoseconds: np.ndarray
    fraction_digits: np.ndarray
    is_epoch: np.ndarray
    epoch: np.ndarray
    has_zone: np.ndarray
    names_zone: np.ndarray
    zone_offset: np.ndarray
    region: np.ndarray

    @classmethod
    def names(cls) -> list[str]:
        return [each.name for each in fields(cls)]

    @classmethod
    def empty(cls, size: int) -> "WrittenTimes":
        is_flag = ("is_", "has_", "names_")
        return cls(
            **{
                name: np.zeros(size, dtype=bool) if name.startswith(is_flag) else np.full(size, 0, dtype=np.int64)
                for name in cls.names()
            }
        )

    def pick(
        self, entries: TextBytes, positions: np.ndarray, base: np.ndarray, spans: np.ndarray, zones: "Zones"
    ) -> np.ndarray:
        """Picks the values of times from entries and keeps those in range.

        Args:
            positions: which entries, `(picked,)`.
            base: what the spans count from, in bytes `(picked,)`.
            spans: where the groups stand, int64 `(picked, groups, 2)`.

        Returns:
            Which are in range, bool `(picked,)`.
        """

        def has(group: str) -> np.ndarray:
            return spans[:, _GROUP[group], 1] > 0

        def number(group: str, longest: int = 19) -> np.ndarray:
            start, size = spans[:, _GROUP[group], 0], spans[:, _GROUP[group], 1]
            if not size.any():
                return np.zeros(len(positions), dtype=np.int64)
            return entries.digits(positions, base + start, np.minimum(size, longest))

        def letter(group: str, index: int = 0) -> np.ndarray:
            return entries.letter(positions, base + spans[:, _GROUP[group], 0], index)

        short_year = number("y")
        year = np.where(
            has("Y"), number("Y"), np.where(has("y"), short_year + np.where(short_year < 70, 2000, 1900), -1)
        )
        month, day = number("m"), number("d")
        if has("b").any():
            name = (letter("b") << 16) | (letter("b", 1) << 8) | letter("b", 2)
            by_name = np.zeros(len(name), dtype=np.int64)
            for index, prefix in enumerate(_MONTH_PREFIXES):
                by_name[name == int.from_bytes(prefix.encode(), "big")] = index + 1
            month = np.where(has("b"), by_name, month)
        first, second = number("n1"), number("n2")
        is_open = has("n1")
        separator = entries.letter(positions, base + spans[:, _GROUP["n1"]].sum(axis=1))
        hour, minute, second_of_minute = number("H"), number("M"), number("S")
        is_valid = (hour < 24) & (minute < 60) & (second_of_minute <= 60)
        if has("p").any():
            is_pm = letter("p") == ord("p")
            is_valid &= ~has("p") | ((hour >= 1) & (hour <= 12)) | ((hour > 12) & is_pm) | ((hour == 0) & ~is_pm)
            hour = np.where(has("p") & (hour <= 12), hour % 12 + 12 * is_pm, hour)
        if has("am").any() or has("pm").any():
            hour = np.where((has("am") | has("pm")) & (hour <= 12), hour % 12 + 12 * has("pm"), hour)

        digits = np.minimum(spans[:, _GROUP["f"], 1], 9)
        nanoseconds = number("f", 9) * 10 ** (9 - digits)
        is_epoch = np.zeros(len(positions), dtype=bool)
        epoch = np.zeros(len(positions), dtype=np.int64)
        for group, places in (("s", 0), ("ms", 3), ("us", 6), ("ns", 9)):
            given = has(group)
            if given.any():
                value, unit = number(group), 10**places
                is_epoch |= given
                epoch = np.where(given, value // unit, epoch)
                if places:
                    digits = np.where(given, places, digits)
                    nanoseconds = np.where(given, value % unit * 10 ** (9 - places), nanoseconds)
        in_month = _days_in_month(np.where(year >= 0, year, 2000), np.clip(month, 1, 12))
        is_date = (month >= 1) & (month <= 12) & (day >= 1) & (day <= in_month)
        small, large = np.minimum(first, second), np.maximum(first, second)
        # Whether the larger can be a day is settled only where it can be nothing else.
        is_date = np.where(
            is_open,
            (small >= 1) & (small <= 12) & (large <= _days_in_month(np.maximum(year, 0), np.clip(small, 1, 12))),
            is_date,
        )
        is_valid &= is_date & ((year < 0) | ((year >= 1970) & (year < 2200)))
        is_valid = np.where(is_epoch, (epoch >= _EARLIEST_EPOCH) & (epoch < _LATEST_EPOCH), is_valid)

        has_zone, offset, region = zones.read(entries, positions, base, spans)
        values = {
            **{
                "is_found": is_valid,
                "start": base + spans[:, WHOLE_TIME, 0],
                "end": base + spans[:, WHOLE_TIME].sum(axis=1),
            },
            **{"year": year, "month": month, "day": day, "first_number": first, "second_number": second},
            **{"is_dotted": separator == ord("."), "is_dashed": separator == ord("-")},
            **{"clock": hour * 3600 + minute * 60 + second_of_minute, "nanoseconds": nanoseconds},
            **{"fraction_digits": digits, "is_epoch": is_epoch, "epoch": epoch},
            **{"has_zone": has_zone, "zone_offset": offset, "region": region},
        }
        kept = positions[is_valid]
        for name, value in values.items():
            getattr(self, name)[kept] = value[is_valid]
        return is_valid


# 2001-01-01 and 2100-01-01
_EARLIEST_EPOCH, _LATEST_EPOCH = 978_307_200, 4_102_444_800


class Zones:
    """Reads the zones of one log.

    Attributes:
        regions: the names of regions seen, such as `Europe/Berlin`.
    """

    def __init__(self) -> None:
        self.regions: list[str] = []
        self._read = functools.lru_cache(maxsize=4096)(self._parse)

    def read(
        self, entries: TextBytes, positions: np.ndarray, base: np.ndarray, spans: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads the zones of times: whether it is known, bool; its offset in seconds; its region, one-based, or 0."""
        has_zone = np.zeros(len(positions), dtype=bool)
        offset, region = np.zeros(len(positions), dtype=np.int64), np.zeros(len(positions), dtype=np.int64)
        full, hours = spans[:, _GROUP["z"]], spans[:, _GROUP["zh"]]
        span = np.where(full[:, 1:] > 0, full, hours)
        which = np.flatnonzero(span[:, 1] > 0)
        if len(which):
            texts = entries.take(positions[which]).cut(base[which] + span[which, 0], span[which, 1])
            encoded = pc.dictionary_encode(texts)
            # A handful of zones.
            read = np.array([self._read(zone) for zone in encoded.dictionary.to_pylist()], dtype=np.int64)
            read = read[dictionary_indices(encoded)]
            has_zone[which], offset[which], region[which] = read[:, 0] > 0, read[:, 1], read[:, 2]
        return has_zone, offset, region

    def _parse(self, zone: str) -> tuple[int, int, int]:
        if zone.upper() in ZONES:
            return 1, round(ZONES[zone.upper()] * 3600), 0
        found = re.fullmatch(r"(?:UTC|GMT)?([+-])([0-9]{1,2}):?([0-9]{2})?", zone)
        if found:
            hours, minutes = int(found[2]), int(found[3] or 0)
            if hours > 14 or minutes not in (0, 15, 30, 45):
                return 0, 0, 0
            return 1, (hours * 3600 + minutes * 60) * (1 if found[1] == "+" else -1), 0
        try:
            pc.assume_timezone(pa.array([0], pa.timestamp("s")), zone)
        except (pa.ArrowException, ValueError, OSError):
            return 0, 0, 0
        self.regions.append(zone)
        return 0, 0, len(self.regions)


_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def _days_in_month(year: np.ndarray, month: np.ndarray) -> np.ndarray:
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return _MONTH_DAYS[month - 1] + (is_leap & (month == 2))


def days_since_1970(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Days of dates of the Gregorian calendar, int64."""
    months = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1


def check_rule(kind: str, rule: Rule, allowed: set[str]) -> None:
    if not {"name", "pattern"} <= set(rule) <= allowed:
        raise ValueError(f"a {kind} rule needs `name` and `pattern` and may have {sorted(allowed)}, got {dict(rule)}")


__all__ = ["TIME_RULES", "ZONES"]
