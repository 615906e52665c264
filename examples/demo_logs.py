"""Makes the two logs of `make demo` from the recordings: `python examples/demo_logs.py`.

Both come from an Apache web server, which the built-in model has never seen: its recordings are kept for tests. The
healthy log is of the same server under the same load without faults. Into the faulty one faults were injected every
few seconds, which is no service's day: what others than the three wrote is left out.
"""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

EXAMPLES = Path(__file__).resolve().parent
RECORDINGS = EXAMPLES.parent / "recordings" / "data" / "apache"
HEALTHY, FAULTY = EXAMPLES / "apache-healthy.log", EXAMPLES / "apache-faulty.log"

HEALTHY_RUN, HEALTHY_LINES = "apache-combined-301-twin", 2000
FAULTY_RUN, FAULTY_LINES = "apache-combined-301", slice(1063, 2560)
FAULTS = {
    "scan": "a stranger tries a hundred addresses that others forgot to protect",
    "broken_htaccess": "a typo in an .htaccess: every page of the handbook is an internal error",
    "application_killed": "the application behind the proxy is killed, and comes back after three seconds",
}


def lines_of(part: str, run: str) -> list[dict[str, Any]]:
    """The lines of a run, with the columns of the recordings."""
    table = pq.read_table(RECORDINGS / f"{part}.parquet")
    rows: list[dict[str, Any]] = table.filter(pc.equal(table["recording"], run)).to_pylist()
    return rows


def healthy_lines() -> list[str]:
    return [row["line"] for row in lines_of("twin", HEALTHY_RUN)[:HEALTHY_LINES]]


def faulty_lines() -> list[dict[str, Any]]:
    """The lines of the faulty log, with `fault` and `label`: 1 where the fault caused the line."""
    rows = lines_of("test", FAULTY_RUN)[FAULTY_LINES]
    return [row for row in rows if not row["label"] or row["fault"] in FAULTS]


def main() -> None:
    for path, lines in ((HEALTHY, healthy_lines()), (FAULTY, [row["line"] for row in faulty_lines()])):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
