"""The shipped PostgreSQL recordings as labelled windows of log entries."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logmoe import LogMoEProcessor

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings" / "data" / "postgresql"


@dataclass
class Recording:
    """One recorded run of the server.

    Attributes:
        name: for example `postgresql-debian-101`.
        split: train, validation or test.
        entries: the text of each log entry.
        labels: `(entries,)`, 1 where a fault caused the entry.
    """

    name: str
    split: str
    entries: list[str]
    labels: np.ndarray


def read_recordings(processor: LogMoEProcessor, folder: Path = RECORDINGS) -> Iterator[Recording]:
    """Reads every recording; an entry is anomalous when one of its lines is."""
    columns = ["recording", "split", "line", "label"]
    parts = ("train", "validation", "test")
    table = pa.concat_tables([pq.read_table(folder / f"{part}.parquet", columns=columns) for part in parts])
    for name in pc.unique(table["recording"]).to_pylist():
        run = table.filter(pc.equal(table["recording"], name))
        parsed = processor.parse("\n".join(run["line"].to_pylist()))
        line_labels = run["label"].to_numpy()
        labels = np.array(
            [
                line_labels[first - 1 : last].max()
                for first, last in zip(parsed.first_line, parsed.last_line, strict=True)
            ]
        )
        yield Recording(name, run["split"][0].as_py(), parsed.text.to_pylist(), labels)


def windows(recording: Recording, length: int, stride: int) -> Iterator[tuple[list[str], int]]:
    """Windows of `length` entries with their label: 1 when a fault caused one of them."""
    for start in range(0, max(len(recording.entries) - length, 0) + stride, stride):
        part = slice(start, start + length)
        if recording.entries[part]:
            yield recording.entries[part], int(recording.labels[part].max())
