"""Labelled logs in memory.

Logs repeat, so everything is stored once: each distinct masked entry as a row of a table, each distinct log as rows of
that table, four bytes per entry, and for each labelled log only the index of its distinct log. `sources` fills these
classes; `splits`, `batches` and `baselines` read them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from logmoe import LogMoEProcessor
from logmoe.console import visible


@dataclass
class LogStore:
    """Every distinct entry and every distinct log read so far.

    Attributes:
        processor: splits logs into entries and masks them.
        entry_rows: the row of each distinct masked entry.
        distinct_logs: each an int32 array with the rows of its entries.
    """

    processor: LogMoEProcessor
    entry_rows: dict[str, int] = field(default_factory=dict)
    distinct_logs: list[np.ndarray] = field(default_factory=list)
    _distinct_log_of_rows: dict[bytes, int] = field(default_factory=dict)
    _distinct_log_of_text: dict[bytes, int] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The distinct masked entries, by row."""
        return list(self.entry_rows)

    def add_logs(self, logs: Sequence[str | Sequence[str]], first_row: int = 0) -> np.ndarray:
        """Parses logs, except those whose text was seen before.

        Args:
            logs: each a multi-line text or a list of entries.
            first_row: where the first log stands in its source, counted from 0, for error messages.

        Returns:
            int64 `(logs,)`, the index of each log in `distinct_logs`.

        Raises:
            ValueError: a log without entries, or one that is neither text nor a list of texts; the message gives the
                row.
        """
        keys = []
        new: dict[bytes, int] = {}  # The position of the first log with this text.
        for position, log in enumerate(logs):
            if not isinstance(log, str) and not (
                isinstance(log, list | tuple) and all(isinstance(entry, str) for entry in log)
            ):
                row = first_row + position + 1
                got = repr(log)[:100]
                raise ValueError(f"row {row}: a log must be a text or a list of texts, its entries; got {got}.")
            text = log if isinstance(log, str) else "\x1e".join(log) + "\x1e" if log else ""
            keys.append(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest())
            if keys[-1] not in self._distinct_log_of_text:
                new.setdefault(keys[-1], position)
        if new:
            parsed, offsets = self.processor.parse_batch([logs[position] for position in new.values()])
            empty = np.flatnonzero(np.diff(offsets) == 0)
            if len(empty):
                row = first_row + list(new.values())[empty[0]] + 1
                raise ValueError(f"row {row}: no log entries: the log is empty or all blank lines.")
            rows = self.rows_of(parsed)
            for key, start, stop in zip(new, offsets, offsets[1:], strict=False):
                self._distinct_log_of_text[key] = self._add(rows[start:stop])
        return np.array([self._distinct_log_of_text[key] for key in keys], dtype=np.int64)

    def add_sequences(self, rows: np.ndarray, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Adds sequences, positions of entries, as logs of their own; `rows` `(entries,)` are the rows of the entries.

        Returns:
            int64 `(sequences,)`, the index of each in `distinct_logs`.
        """
        return np.array([self._add(rows[positions]) for positions in sequences], dtype=np.int64)

    def rows_of(self, parsed: Any) -> np.ndarray:
        """int32 `(entries,)`, the row of each entry of a parsed log; new entries get new rows."""
        table = self.entry_rows
        rows = np.array([table.setdefault(text, len(table)) for text in parsed.distinct.to_pylist()], dtype=np.int32)
        return rows[parsed.entry_index]

    def _add(self, rows: np.ndarray) -> int:
        index = self._distinct_log_of_rows.setdefault(rows.tobytes(), len(self.distinct_logs))
        if index == len(self.distinct_logs):
            self.distinct_logs.append(rows.copy())
        return index


@dataclass
class LabelledLogs:
    """Labelled logs in the order they were read.

    Attributes:
        distinct_log: int64 `(logs,)`, the index of each log among the distinct logs of the store.
        labels: int8 `(logs,)`, 0 normal, 1 anomaly.
        time: float64 `(logs,)`, any number that grows with time; the position in the source if it gives no time.
        group: `(logs,)` of str, None without a group column.
        first, last: int64 `(logs,)`, the positions in the source that a log covers: logs that share one overlap.
    """

    distinct_log: np.ndarray
    labels: np.ndarray
    time: np.ndarray
    group: np.ndarray | None
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.distinct_log)

    def take(self, positions: np.ndarray) -> "LabelledLogs":
        columns: dict[str, Any] = {
            name: column[positions] for name, column in vars(self).items() if column is not None
        }
        return LabelledLogs(**{"group": None} | columns)


def jitter(number: int, places: int, generator: np.random.Generator) -> np.ndarray:
    """An order of so many entries in which each has moved by up to so many places, int64 `(number,)`."""
    return (np.arange(number) + generator.uniform(0, places + 1, number)).argsort(kind="stable")


@dataclass(frozen=True)
class SeenLog:
    """A log cut into sequences, with what its entries and sequences depart from the reference by.

    Attributes:
        sequences: positions of the entries of each sequence.
        entry_features: of each sequence, float32 `(entries, features)`.
        inputs: float32 `(sequences, features)`.
    """

    sequences: list[np.ndarray]
    entry_features: list[np.ndarray]
    inputs: np.ndarray

    def unseen(self) -> "SeenLog":
        """The same log without the reference."""
        nothing = [np.full_like(features, np.nan) for features in self.entry_features]
        return SeenLog(self.sequences, nothing, np.full_like(self.inputs, np.nan))

    def jittered(self, places: int, generator: np.random.Generator) -> "SeenLog":
        """The same log, its entries moved by up to so many places within their sequences."""
        orders = [jitter(len(positions), places, generator) for positions in self.sequences]
        return SeenLog(
            [positions[order] for positions, order in zip(self.sequences, orders, strict=True)],
            [features[order] for features, order in zip(self.entry_features, orders, strict=True)],
            self.inputs,
        )


def samples_in_words(logs: LabelledLogs, store: LogStore, number: int = 3) -> str:
    """What was read, with samples, so that a person sees if it is not what was meant: of both labels, and the last.

    Raises:
        ValueError: there are no logs.
    """
    if not len(logs):
        raise ValueError("no logs were read.")
    names = ("normal", "anomaly")
    lengths = np.array([len(rows) for rows in store.distinct_logs])[logs.distinct_log]
    first_of_each = [int((logs.labels == label).argmax()) for label in np.unique(logs.labels)]
    chosen = list(dict.fromkeys([0, *first_of_each, len(logs) - 1, *range(len(logs))[:number]]))[:number]
    counts = " and ".join(f"{int((logs.labels == label).sum())} {name}" for label, name in enumerate(names))
    lines = [f"read as {len(logs)} logs of {int(lengths.sum())} entries, {counts}; for example, masked:"]
    texts = store.texts
    for row in sorted(chosen):
        rows = store.distinct_logs[logs.distinct_log[row]]
        text = visible(" | ".join(texts[entry][:120] for entry in rows[:3]) + (" | …" if len(rows) > 3 else ""))
        text = text if len(text) <= 120 else text[:120] + "…"
        count = f"{len(rows)} entr{'y' if len(rows) == 1 else 'ies'}"
        lines.append(f"  log {row + 1}, {names[logs.labels[row]]}, {count}: {text}")
    return "\n".join(lines)


def concatenate(pieces: Sequence[LabelledLogs], times_continue: bool) -> LabelledLogs:
    """One after the other. Positions continue from piece to piece, and so do times that are positions themselves."""
    start, time = 0, 0.0
    for piece in pieces:
        piece.first, piece.last = piece.first + start, piece.last + start
        start = int(piece.last.max()) + 1
        if times_continue:
            piece.time = piece.time + time
            time = float(piece.time.max()) + 1
    columns: dict[str, Any] = {name: [getattr(piece, name) for piece in pieces] for name in vars(pieces[0])}
    grouped = all(group is not None for group in columns["group"])
    columns = {name: np.concatenate(values) for name, values in columns.items() if name != "group" or grouped}
    return LabelledLogs(**{"group": None} | columns)
