"""One line that a fault caused, in a log that is healthy but for it: is it told? Part `suspects`.

A fault that writes one line is the hardest to find, and in a job's log often all there is. Of the run without faults
of each service some lines are the healthy log, and the 200 after those are judged, with one line in their middle that
a fault caused in another recording and whose kind the healthy lines lack. What the two lines have in front that
differs in digits alone, a time for instance, is taken from the healthy neighbour, so that time does not give it away.
"""

import re
from typing import Any

import numpy as np
from accuracy_metrics import mean_and_spread
from accuracy_store import Arrays, Kept, Key, Part, Record

from logmoe.answering import SUSPECTS, suspects
from logmoe.gathering_logmoe import READ_ENTRIES
from logmoe.reference_logmoe import LogReference

SIZES = (60, 100, 200, 400, 800, 1_600)
"""Lines of the healthy log."""
JUDGED, PLACE = 200, 100
"""Lines that are judged, and where the fault's line stands among them."""
TRIES = 10
"""Lines that are put in, one at a time, for each size and draw."""
# Characters that two lines have in common at least, but for digits, where one begins as the other does.
_SAME_BEGINNING = 10
_DIGIT = re.compile(r"\d")


def keys(options: Any) -> list[Key]:
    """A step for each service and draw."""
    return [{"service": service, "draw": draw} for service in options.services for draw in range(options.draws)]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One service, one place in its run without faults."""
    recorded, generator = bench.recorded(key["service"]), np.random.default_rng(key["draw"])
    (twin,) = recorded.twins[:1]
    healthy = [row["line"] for row in twin.rows]
    caused = [row["line"] for run in recorded.faulty for row in run.rows if row["label"] and row["line"].strip()]
    # Each draw begins elsewhere.
    start = int(generator.integers(0, max(1, len(healthy) - max(SIZES) - JUDGED)))
    rows = []
    for size in SIZES:
        reference = bench.pipe.fit("\n".join(healthy[start : start + size]))
        rest = healthy[start + size : start + size + JUDGED]
        row = {"size": size, "tries": 0, "shown": 0, "told": 0}
        untouched = bench.pipe.findings("\n".join(rest), reference=reference)
        (seen,) = untouched.summary.logs
        row |= {"false_findings": len(untouched), "suspect_kinds": seen.suspect_kinds}
        for line in generator.permutation(caused).tolist():
            if row["tries"] == TRIES:
                break
            inserted = as_beside(line, rest[:PLACE])
            if inserted is not None and is_new(bench.pipe, reference, [*rest[:PLACE], inserted]):
                lines = [*rest[:PLACE], inserted, *rest[PLACE:]]
                findings = bench.pipe.findings("\n".join(lines), reference=reference)
                shown = (entry for finding in findings for entry in finding.entries[:READ_ENTRIES])
                is_shown = any(entry.line == PLACE + 1 for entry in shown)
                row["tries"] += 1
                row["shown"] += is_shown
                row["told"] += is_shown or any(
                    one.line == PLACE + 1 for _, one in suspects(findings, lines=READ_ENTRIES)[:SUSPECTS]
                )
        rows.append(row)
    return {"rows": rows}, None


def as_beside(line: str, before: list[str]) -> str | None:
    """A line with the beginning of the last one before it that begins alike but for digits; None if none does."""
    shape = _DIGIT.sub("0", line)
    for other in reversed(before):
        pairs = zip(shape, _DIGIT.sub("0", other), strict=False)
        alike = next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(line), len(other)))
        if alike >= _SAME_BEGINNING:
            return other[:alike] + line[alike:]
    return None


def is_new(pipe: Any, reference: LogReference, lines: list[str]) -> bool:
    """Whether the last line is an entry of its own, and the healthy log has none of its kind."""
    parsed = pipe.processor.parse("\n".join(lines))
    masked = parsed.distinct[int(parsed.entry_index[-1])].as_py()
    return bool(parsed.first_line[-1] == len(lines) and reference.templates.match([masked])[0] < 0)


def summarise(kept: Kept) -> Record:
    """By size: means over services, and their spread over draws."""
    services = sorted({key["service"] for key in kept.keys})
    draws = sorted({key["draw"] for key in kept.keys})
    result: Record = {}
    for place, size in enumerate(SIZES):
        names = ("shown", "told", "false_findings", "suspect_kinds")
        tables = {name: np.full((len(services), len(draws)), np.nan) for name in names}
        tries = 0
        for key, record in zip(kept.keys, kept.records, strict=True):
            row, where = record["rows"][place], (services.index(key["service"]), draws.index(key["draw"]))
            tries += row["tries"]
            for name, table in tables.items():
                of = row["tries"] if name in ("shown", "told") else 1
                table[where] = row[name] / of if of else np.nan
        result[str(size)] = {name: mean_and_spread(table) for name, table in tables.items()} | {"tries": tries}
    return result


PARTS = (Part("suspects", keys, measure, summarise, ("accuracy_suspects.py", "accuracy_recordings.py")),)
