"""The recorded corpus: its services, runs and splits, how to read it, and what makes a window of lines anomalous.

Splits are defined here and nowhere else. Within a service, earlier recordings train and later ones test. Across
services, one is left out; those in `TEST_ONLY` never train a checkpoint that this project publishes as general.
Needs pyarrow and nothing else; `windows` reads the same runs as entries and windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.files import INTERVALS_SCHEMA, LINES_SCHEMA

FOLDER = Path(__file__).parent / "data"

SERVICES = (
    *("postgresql", "mariadb", "redis"),
    *("nginx", "apache", "haproxy", "squid", "tomcat"),
    *("rabbitmq", "mosquitto", "etcd", "zookeeper"),
    *("openssh", "bind", "postfix"),
)

TEST_ONLY = ("apache", "mosquitto", "zookeeper", "bind")
"""Services that a general model must never have seen, nor their faults: a close relative of a training service, a
second broker, a second Java service, and one unlike all others."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Run:
    """One recording of the corpus; `split` "twin" is a run without faults."""

    settings: str
    seed: int
    split: str

    def name(self, service: str) -> str:
        """The name of the recording."""
        return f"{service}-{self.settings}-{self.seed}" + ("-twin" if self.split == "twin" else "")


def runs_of(service: str, settings: Sequence[str]) -> list[Run]:
    """The runs of a service, in the order in which they are recorded.

    The first three settings train, the first one validates, the first two test, each with seeds of their own. The twin
    belongs to the first test run.
    """
    if service == "postgresql":  # recorded before the others, and more often
        styles = ["debian", "host", "terse", "debian", "host", "terse", "debian", "host", "debian", "host", "terse"]
        splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 3
        runs = [
            Run(style, 101 + number, split) for number, (style, split) in enumerate(zip(styles, splits, strict=True))
        ]
        return [*runs, Run("debian", 109, "twin")]
    styles = list(settings)
    training = [Run(styles[number % len(styles)], 101 + number, "train") for number in range(3)]
    testing = [Run(styles[number % len(styles)], 301 + number, "test") for number in range(2)]
    return [*training, Run(styles[0], 201, "validation"), *testing, Run(styles[0], 301, "twin")]


# --- reading ---------------------------------------------------------------------------------------------------------


def check_services(services: Sequence[str]) -> None:
    """Raise `ValueError` naming those that are not in the corpus."""
    if unknown := [name for name in services if name not in SERVICES]:
        raise ValueError(f"no such service: {', '.join(unknown)}; the corpus has {', '.join(SERVICES)}")


def read_lines(services: Sequence[str] = SERVICES, splits: Sequence[str] = SPLITS, folder: Path = FOLDER) -> pa.Table:
    """The lines of these services and splits, with the columns of `files.LINES_SCHEMA`.

    Args:
        services: names among `SERVICES`.
        splits: among `SPLITS` and "twin" (runs without faults, of the load of a test run).
        folder: where the corpus lies.

    Raises:
        ValueError: unknown service or split.
    """
    check_services(services)
    if unknown := [name for name in splits if name not in (*SPLITS, "twin")]:
        raise ValueError(f"no such split: {', '.join(unknown)}; the corpus has {', '.join(SPLITS)} and twin")
    paths = [folder / service / f"{split}.parquet" for service in services for split in splits]
    return pa.concat_tables([pq.read_table(path, schema=LINES_SCHEMA) for path in paths])


def read_intervals(services: Sequence[str] = SERVICES, folder: Path = FOLDER) -> pa.Table:
    """What was injected and when: one row per fault, with the columns of `files.INTERVALS_SCHEMA`."""
    check_services(services)
    return pa.concat_tables(
        [pq.read_table(folder / service / "intervals.parquet", schema=INTERVALS_SCHEMA) for service in services]
    )


# --- splits ----------------------------------------------------------------------------------------------------------


def within_service(service: str, folder: Path = FOLDER) -> dict[str, pa.Table]:
    """Training, validation and test of one service; later runs validate and test."""
    return {split: read_lines([service], [split], folder) for split in SPLITS}


def general(folder: Path = FOLDER) -> dict[str, pa.Table]:
    """What a general model learns from and is measured on.

    `train`, `validation` and `test` come from the services outside `TEST_ONLY`; `unseen` holds every run of those
    inside.
    """
    known = [service for service in SERVICES if service not in TEST_ONLY]
    tables = {split: read_lines(known, [split], folder) for split in SPLITS}
    return {**tables, "unseen": read_lines(TEST_ONLY, SPLITS, folder)}


def leave_one_out(service: str, folder: Path = FOLDER) -> dict[str, pa.Table]:
    """Training and validation on the other services that may train; test is every run of `service`."""
    check_services([service])
    others = [name for name in SERVICES if name != service and name not in TEST_ONLY]
    tables = {split: read_lines(others, [split], folder) for split in ("train", "validation")}
    return {**tables, "test": read_lines([service], SPLITS, folder)}


# --- windows ---------------------------------------------------------------------------------------------------------


def runs_in(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of each recording, in the order given."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end]["recording"] != rows[start]["recording"]:
            yield list(rows[start:end])
            start = end


def unseen_spans(intervals: Sequence[dict[str, Any]], recording: str) -> list[tuple[datetime, datetime]]:
    """When a fault of a recording was on that shows by order or silence, not by the text of lines."""
    return [
        (row["start"], row["end"])
        for row in intervals
        if row["recording"] == recording and row["visible"] in ("order", "silence")
    ]


def is_anomalous(rows: Sequence[dict[str, Any]], spans: Sequence[tuple[datetime, datetime]]) -> bool:
    """Whether a window of lines is anomalous.

    It is if one of the lines is, or if it overlaps in time one of `spans` (see `unseen_spans`).
    """
    if any(row["label"] for row in rows):
        return True
    return any(rows[0]["time"] <= end and start <= rows[-1]["time"] for start, end in spans)
