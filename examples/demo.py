"""Judges the log of a web server that the built-in model has never seen, twice: `make demo`.

First against a healthy log of the same server, then with nothing but the log itself. What is printed of each is what
`logmoe LOG` prints; after it stands what was really injected, of which the model knows nothing.
"""

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable

from demo_logs import FAULTS, FAULTY, HEALTHY, faulty_lines

from logmoe.answering import answer
from logmoe.findings_logmoe import Finding
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline, run_examples

SHOWN = 5
WIDTH = shutil.get_terminal_size((150, 24)).columns


def demo(model: str) -> int:
    pipe = load_pipeline(model)
    rows = faulty_lines()
    # Of each line the fault that caused it.
    causes = [row["fault"] if row["label"] else None for row in rows]

    print(f"{FAULTY.name}: {len(rows):,} lines of an Apache web server, a service that the model has never seen.")
    print("Injected into it, unknown to the model:")
    for fault, what in FAULTS.items():
        lines = [number for number, cause in enumerate(causes, 1) if cause == fault]
        print(f"  lines {f'{lines[0]}-{lines[-1]}':<10} {what} ({fault})")

    found = {}
    for title, reference in (
        ("With a healthy log", HEALTHY.name),
        ("With nothing but the log itself", None),
    ):
        with contextlib.chdir(FAULTY.parent):  # so that logs are called by their names
            findings = pipe.findings(FAULTY.name, reference=reference)
        # As they are numbered: the same trouble at several places is told once.
        numbers = {name: number for number, name in enumerate(dict.fromkeys(finding.id for finding in findings), 1)}
        found[title] = [(numbers[finding.id], causes_of(finding, causes)) for finding in findings]
        print(f"\n{title}\n")
        for line in answer(findings, SHOWN, width=WIDTH):
            print(f"  {line}".rstrip())

    print("\nWhat was injected, and the findings that tell of it:\n")
    print(f"  {'':30}" + "".join(f"{title:>34}" for title in found))
    for fault in FAULTS:
        print_row(fault, found, lambda of, fault=fault: fault in of)
    print_row("nothing, yet found", found, lambda of: not of)

    print("\nThe original guide's four examples, too short to have habits, judged by their wording:")
    return run_examples(model)


def print_row(name: str, found: dict[str, list[tuple[int, set[str]]]], counts: Callable[[set[str]], bool]) -> None:
    """One row of the table: the numbers of the findings that count, each way."""
    numbers = [sorted({number for number, of in one if counts(of)}) for one in found.values()]
    cells = [",".join(map(str, of)) or "-" for of in numbers]
    print(f"  {name:30}" + "".join(f"{cell:>34}" for cell in cells))


def causes_of(finding: Finding, causes: list[str | None]) -> set[str]:
    """The faults that caused a line of a finding."""
    return {cause for cause in causes[finding.first_line - 1 : finding.last_line] if cause}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT, help="checkpoint (default: built in)")
    sys.exit(demo(parser.parse_args().model))
