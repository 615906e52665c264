"""Is a page of ten thousand findings usable? Opens it in headless Chromium, filters, orders and follows links.

    python benchmarks/page.py [--findings 10000] [--repeats 5]

Needs Chromium (Debian: `apt-get install chromium`). The findings are made up: of the shape, and about the length, of
those that the recordings give. Times are medians over fresh browsers, in milliseconds. "Opened" is from the start of
the navigation to the first frame after the load event: the page is drawn and answers. "All read" is to the frame after
the last findings have become elements; what needs all of them before, such as a filter, makes that happen at once.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

from logmoe.findings_logmoe import Finding, FindingEntry, Findings, LogSummary, Reason, Summary
from logmoe.page import html

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # where the browser is driven from
from chromium import FOUND, Chromium

RESULTS = Path(__file__).parent / "results" / "page.json"
ALLOWED = 1000
"""Milliseconds in which a page must have opened."""

# Runs before the page's own script: the first frame after the load event.
OPENED = (
    "addEventListener('load', () => requestAnimationFrame(() => setTimeout(() => { opened = performance.now(); })))"
)
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
ALL_READ = (
    f"(async () => {{ while (unread.length) await new Promise(done => setTimeout(done, 5)); return {FRAME} }})()"
)
# Each from an action to the frame that shows what it did.
ACTIONS = {
    "filter by text": "tools.elements.words.value = 'worker 77'; show()",
    "show all again": "tools.elements.words.value = ''; show()",
    "filter by kind": "tools.querySelector('[name=kind]').click(); show()",
    "order by time": "tools.reset(); tools.elements.order.value = 'time'; order(); show()",
    "follow a link to the middle": "location.hash = items[items.length >> 1].querySelector('.body').id; follow()",
    "mark one as fine": "isFine(items[7]).click()",
}
WORDS = "refused timeout worker pool exhausted retry backend upstream disk quota replica lag order payment".split()


def made_up(number: int) -> Findings:
    """Findings in five logs, some seconds apart."""
    random.seed(1)
    logs = [f"/var/log/shop/{name}.log" for name in ("web", "orders", "payments", "stock", "mail")]
    found = [_finding(row, logs) for row in range(number)]
    summaries = [
        LogSummary(
            *(log, 40 * number, 40 * number, number, number // 5, number // 5, "reference", 0.93, 0.01),
            start="2026-03-01T00:00:00",
            end="2026-03-31T00:00:00",
        )
        for log in logs
    ]
    return Findings(found, Summary(tuple(summaries), (), "last-week/", 1_000_000, 0.01))


def _finding(row: int, logs: list[str]) -> Finding:
    def text() -> str:
        said = " ".join(random.choices(WORDS, k=12))
        return f"2026-03-12 06:25:01.123 ERROR [worker {random.randrange(100)}] c.e.shop.Orders - {said} id={row}"

    line, start = 40 * row + 1, f"2026-03-{1 + row // 500 % 28:02d}T{row // 20 % 24:02d}:{row % 60:02d}:01"
    entries = tuple(
        FindingEntry(line + place, text(), 0.5 / (place + 1), 3, line, line + 30, start, start, text())
        for place in range(random.randint(1, 5))
    )
    reasons = (
        Reason(
            "new_entry", f"a new kind of entry (line {line}): `{text()}`; closest in the healthy log: `{text()}`", 2.0
        ),
        Reason("unusual_count", f"4 times in 32 entries, usually 2 times at most: `{text()}`", 0.4),
        Reason("known_anomaly", "in wording and order like faults of other services", 0.3),
    )
    strength = random.expovariate(1.0)
    return Finding(
        f"{row:012x}",
        logs[row % 5],
        line,
        line + 39,
        start,
        start,
        0.9,
        strength,
        0.001,
        "reference",
        reasons[random.randrange(2) :],
        entries,
    )


def measure(path: Path) -> dict[str, float]:
    """Milliseconds, of one fresh browser."""
    with Chromium() as browser:
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=f"let opened; {OPENED}")
        browser.open(path)
        browser.evaluate(FRAME)
        times = {
            "first paint": browser.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
            ),
            "loaded": browser.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"),
            "opened": browser.evaluate("opened"),
            "all read": browser.evaluate(ALL_READ),
        }
        for name, action in ACTIONS.items():
            times[name] = browser.evaluate(_timed(action))
        browser.open(path)
        times["filter by text as soon as it is opened"] = browser.evaluate(_timed(ACTIONS["filter by text"]))
        times["heap MB"] = browser.evaluate("performance.memory.usedJSHeapSize / 1e6")
        assert not browser.complaints, browser.complaints
    return times


def _timed(action: str) -> str:
    return f"(async () => {{ const start = performance.now(); {action}; return await {FRAME} - start; }})()"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    findings = made_up(args.findings)
    start = time.perf_counter()
    text = html(findings)
    rendered = 1000 * (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        runs = [measure(path) for _ in range(args.repeats)]
    result: dict[str, Any] = {
        "findings": args.findings,
        "repeats": args.repeats,
        "megabytes": round(len(text.encode()) / 1e6, 2),
        "rendered": round(rendered),
        "milliseconds": {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]},
        "opened in each": [round(run["opened"]) for run in runs],
        "browser": subprocess.run([str(FOUND), "--version"], capture_output=True, text=True).stdout.strip(),
        "machine": describe(),
    }
    print(f"{args.findings:,} findings, {result['megabytes']} MB, written in {rendered:,.0f} ms; {result['browser']}")
    for name, value in result["milliseconds"].items():
        print(f"  {name:<40} {value:>8,.1f}")
    print(f"  opened, each: {result['opened in each']}; {ALLOWED} allowed")
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    return int(result["milliseconds"]["opened"] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
