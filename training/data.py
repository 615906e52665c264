"""Labelled logs to training batches.

Logs repeat, so everything is kept once: distinct masked entries in a table, distinct logs as rows of that table, and
of every labelled log only which distinct log it is. Text is read in chunks and forgotten: four bytes for each entry of
a distinct log stay.
"""

import glob
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from logmoe import LogMoEProcessor
from logmoe.processing_logmoe import to_utf8

logger = logging.getLogger("logmoe.train")

LABEL_IDS = {"0": 0, "1": 1, "normal": 0, "anomaly": 1, "正常": 0, "异常": 1}
TABLE_FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}
LOGS_PER_CHUNK = 2000
PADDING = -1  # In place of an example, where a batch must be filled.


def label_id(label: Any, normal_label: str | None = None) -> int:
    """0 for normal, 1 for anomaly.

    Args:
        label: 0/1, `normal`/`anomaly` or 正常/异常.
        normal_label: where given, this label alone is normal and every other one is an anomaly.

    Raises:
        ValueError: no label, or an unknown one.
    """
    is_number = isinstance(label, bool | np.bool_) or (isinstance(label, float) and label.is_integer())
    key = str(int(label)) if is_number else str(label).strip()
    if normal_label is not None and label is not None and label == label and key:
        return int(key != normal_label)
    if key.lower() not in LABEL_IDS:
        raise ValueError(
            f"A label must be one of {', '.join(LABEL_IDS)}, got {label!r}. Where the data have other labels, "
            "`--normal_label` names the one that is normal."
        )
    return LABEL_IDS[key.lower()]


def label_ids(labels: pa.Array | pa.ChunkedArray, normal_label: str | None = None) -> np.ndarray:
    """`label_id` of a whole column, int8 `(rows,)`.

    Raises:
        ValueError: see `label_id`; the message names the first row that is wrong.
    """
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    encoded = pc.dictionary_encode(labels, null_encoding="encode")
    rows = encoded.indices.to_numpy(zero_copy_only=False)
    ids = np.empty(len(encoded.dictionary), dtype=np.int8)
    for row, label in enumerate(encoded.dictionary.to_pylist()):
        try:
            ids[row] = label_id(label, normal_label)
        except ValueError as error:
            raise ValueError(f"row {int((rows == row).argmax()) + 1}: {error}") from error
    return ids[rows]


@dataclass
class LogStore:
    """Every distinct entry and every distinct log of what was read so far.

    Attributes:
        processor: splits and masks the logs.
        entry_rows: the distinct masked entries, each with its row.
        logs: the distinct logs, each as int32 rows of its entries.
    """

    processor: LogMoEProcessor
    entry_rows: dict[str, int] = field(default_factory=dict)
    logs: list[np.ndarray] = field(default_factory=list)
    _log_of_rows: dict[bytes, int] = field(default_factory=dict)
    _log_of_text: dict[bytes, int] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """The distinct masked entries, by row."""
        return list(self.entry_rows)

    def add_logs(self, logs: Sequence[str | Sequence[str]]) -> np.ndarray:
        """Parses logs; those read before, word by word, are not parsed again.

        Args:
            logs: each a multi-line text or a list of entries.

        Returns:
            int64 `(logs,)`: which distinct log each is.

        Raises:
            ValueError: a log that is empty or no text; the message names its row.
        """
        keys = []
        new: dict[bytes, int] = {}  # The row where each new text stands first.
        for row, log in enumerate(logs):
            log = _as_log(log, row)
            text = log if isinstance(log, str) else "\x1e".join(log) + "\x1e" if log else ""
            keys.append(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest())
            if keys[-1] not in self._log_of_text:
                new.setdefault(keys[-1], row)
        if new:
            parsed, offsets = self.processor.parse_batch([logs[row] for row in new.values()])
            empty = np.flatnonzero(np.diff(offsets) == 0)
            if len(empty):
                row = list(new.values())[empty[0]]
                raise ValueError(f"row {row + 1}: the log holds no entry: it is empty or all blank lines.")
            rows = self.rows_of(parsed.distinct)[parsed.entry_index]
            for key, start, stop in zip(new, offsets, offsets[1:], strict=False):
                self._log_of_text[key] = self._add_rows(rows[start:stop])
        return np.array([self._log_of_text[key] for key in keys], dtype=np.int64)

    def add_sequences(self, rows: np.ndarray, sequences: list[np.ndarray]) -> np.ndarray:
        """Takes sequences of a log that was parsed already.

        Args:
            rows: `(entries,)`, the row of each entry of the log.
            sequences: positions of entries.

        Returns:
            int64 `(sequences,)`: which distinct log each is.
        """
        return np.array([self._add_rows(rows[positions]) for positions in sequences], dtype=np.int64)

    def rows_of(self, distinct: pa.Array) -> np.ndarray:
        """The row of each masked entry, new rows for new entries."""
        table = self.entry_rows
        return np.array([table.setdefault(text, len(table)) for text in distinct.to_pylist()], dtype=np.int32)

    def _add_rows(self, rows: np.ndarray) -> int:
        log = self._log_of_rows.setdefault(rows.tobytes(), len(self.logs))
        if log == len(self.logs):
            self.logs.append(rows.copy())
        return log


def _as_log(log: Any, row: int) -> Any:
    if log is None or (not isinstance(log, str | list | tuple)):
        raise ValueError(f"row {row + 1}: a log is a text or a list of entries, got {log!r}.")
    if not isinstance(log, str) and not all(isinstance(entry, str) for entry in log):
        raise ValueError(f"row {row + 1}: the entries of a log are texts, got {log!r}.")
    return log


@dataclass
class LabelledLogs:
    """Labelled logs in the order in which they were read.

    Attributes:
        log: int64 `(logs,)`, which distinct log of the store each is.
        labels: int8 `(logs,)`, 0 normal, 1 anomaly.
        time: float64 `(logs,)`, seconds or any number that grows with time; the position where no time was given.
        group: `(logs,)` of str, None where no group column was given.
        first, last: int64 `(logs,)`, positions in the source that the log covers: two that share one overlap.
    """

    log: np.ndarray
    labels: np.ndarray
    time: np.ndarray
    group: np.ndarray | None
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.log)

    def take(self, positions: np.ndarray) -> "LabelledLogs":
        group = None if self.group is None else self.group[positions]
        return LabelledLogs(
            self.log[positions],
            self.labels[positions],
            self.time[positions],
            group,
            self.first[positions],
            self.last[positions],
        )


def _concatenate(parts: list[LabelledLogs], times_go_on: bool) -> LabelledLogs:
    """One after the other; positions go on counting, and so do times that are but positions in a file."""
    start, time = 0, 0.0
    for part in parts:
        part.first, part.last = part.first + start, part.last + start
        start = int(part.last.max()) + 1
        if times_go_on:
            part.time = part.time + time
            time = float(part.time.max()) + 1
    group = None if parts[0].group is None else np.concatenate([part.group for part in parts])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("log", "labels", "time", "first", "last")
    }
    return LabelledLogs(group=group, **columns)


@dataclass
class Source:
    """Where labelled logs come from and how they are to be read; the names are those of `DataArguments`."""

    sequence_column: str = "log_sequence"
    label_column: str = "label"
    line_column: str = "line"
    time_column: str | None = None
    group_column: str | None = None
    normal_label: str | None = None
    line_label_pattern: str | None = None
    session_pattern: str | None = None
    session_labels_file: str | None = None
    window_seconds: float | None = None
    stride: int | None = None
    streaming: bool = False

    def read_files(self, patterns: Sequence[str], store: LogStore) -> LabelledLogs:
        """Reads files, tables by their ending, anything else as raw log text.

        Args:
            patterns: paths, or patterns such as `logs/*.jsonl`, whose matches are read in order of name.
            store: takes in the logs.

        Raises:
            ValueError: a file that cannot be read as what it is; the message names it.
            FileNotFoundError: a path, or pattern, without a file.
        """
        paths: list[str] = []
        for pattern in patterns:
            found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
            if not found:
                raise FileNotFoundError(f"There is no file {pattern!r}.")
            paths += found
        parts = []
        for path in paths:
            suffix = "".join(Path(path).suffixes[-2:]).removesuffix(".gz").removesuffix(".zst")
            table_format = TABLE_FORMATS.get(Path(suffix).suffix or suffix)
            try:
                if table_format is None:
                    parts.append(self._read_text(Path(path), store))
                else:
                    parts.append(self._read_tables(_stream_file(path, table_format), store))
            except (ValueError, pa.ArrowException, UnicodeError) as error:
                raise ValueError(f"{path}, {error}") from error
        if any(part.group is None for part in parts):
            for part in parts:
                part.group = None
        return _concatenate(parts, times_go_on=self.time_column is None)

    def read_dataset(self, name: str, config_name: str | None, split: str, store: LogStore) -> LabelledLogs:
        """Reads one split of a data set of the Hub, or of a folder that is laid out like one.

        Raises:
            ValueError: no such data set, configuration or split, or its rows are not what they should be.
        """
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            data = load_dataset(name, config_name, split=split, streaming=self.streaming)
            return self._read_tables(_tables(data), store)
        except (DatasetsError, ValueError, FileNotFoundError, ConnectionError) as error:
            raise ValueError(f"data set {name}, split {split}: {error}") from error

    # ------------------------------------------------------------------ tables

    def _read_tables(self, tables: Iterator[pa.Table], store: LogStore) -> LabelledLogs:
        parts: list[LabelledLogs] = []
        lines: list[pa.Table] = []
        start = 0
        for table in tables:
            if self.sequence_column in table.column_names:
                self._require_columns(table, self.label_column, self.time_column, self.group_column)
                self._refuse("a table with a row per log", "session_labels_file", "window_seconds", "stride")
                self._refuse("a table with a row per log", "line_label_pattern")
                parts.append(self._read_sequences(table, store, start))
            elif self.line_column in table.column_names:
                self._require_columns(table, self.label_column, self.time_column, self.group_column)
                self._refuse("a table with a row per line", "session_labels_file", "line_label_pattern")
                columns = (self.line_column, self.label_column, self.group_column, self.time_column)
                lines.append(table.select(list(dict.fromkeys(name for name in columns if name is not None))))
            else:
                self._require_columns(table, self.sequence_column, self.label_column)
            start += len(table)
        if not start:
            raise ValueError("it holds no rows.")
        if lines:
            return self._read_labelled_lines(pa.concat_tables(lines, promote_options="permissive"), store)
        # Positions count on within a source, unlike from file to file.
        first = np.arange(start)
        time = np.concatenate([part.time for part in parts]) if self.time_column else first.astype(np.float64)
        group = np.concatenate([part.group for part in parts]) if self.group_column else None
        log, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("log", "labels"))
        return LabelledLogs(log, labels, time, group, first, first)

    def _refuse(self, what: str, *options: str) -> None:
        """An option that has no effect is a misunderstanding."""
        for option in options:
            if getattr(self, option) is not None:
                raise ValueError(f"`--{option}` has no meaning for {what}.")

    def _require_columns(self, table: pa.Table, *names: str | None) -> None:
        missing = [name for name in names if name is not None and name not in table.column_names]
        if missing:
            raise ValueError(
                f"it lacks the columns {missing}; it has {table.column_names}. `--sequence_column`, "
                f"`--label_column`, `--line_column`, `--time_column` and `--group_column` name them."
            )

    def _read_sequences(self, table: pa.Table, store: LogStore, start: int) -> LabelledLogs:
        try:
            labels = label_ids(table[self.label_column], self.normal_label)
            log = store.add_logs(table[self.sequence_column].to_pylist())
            time = _as_time(table[self.time_column]) if self.time_column else np.empty(0)
        except ValueError as error:
            raise ValueError(f"from row {start + 1} on, {error}" if start else str(error)) from error
        group = np.array(table[self.group_column].cast(pa.string()).to_pylist()) if self.group_column else None
        return LabelledLogs(log, labels, time, group, np.empty(0), np.empty(0))

    def _read_labelled_lines(self, table: pa.Table, store: LogStore) -> LabelledLogs:
        """A row per physical line; the lines of a group, or all, are one log, cut into sequences."""
        labels = label_ids(table[self.label_column], self.normal_label)
        times = np.arange(len(table), dtype=np.float64)
        if self.time_column is not None:
            times = _as_time(table[self.time_column])
        lines = table[self.line_column].cast(pa.large_string()).fill_null("").to_pylist()
        if self.group_column is None:
            return self._cut(_text_of(lines), labels, store, times)
        names = np.array(table[self.group_column].cast(pa.string()).fill_null("").to_pylist())
        groups, group_of_row = np.unique(names, return_inverse=True)
        order = group_of_row.argsort(kind="stable")
        parts = []
        for rows in np.split(order, np.flatnonzero(np.diff(group_of_row[order])) + 1):
            text = _text_of([lines[row] for row in rows])
            parts.append(self._cut(text, labels[rows], store, times[rows], str(groups[group_of_row[rows[0]]])))
        # Times are those of the lines in the table, or their rows there: groups may be interleaved.
        return _concatenate(parts, times_go_on=False)

    # ------------------------------------------------------------------ raw text

    def _read_text(self, path: Path, store: LogStore) -> LabelledLogs:
        self._refuse("raw text", "time_column", "group_column")
        if path.suffix in (".gz", ".bz2", ".xz", ".zst", ".zip"):
            raise ValueError("raw text is not read compressed: decompress it first.")
        data, replaced = to_utf8(path.read_bytes())
        if replaced:
            logger.warning("%s: %d bytes are no UTF-8; each became U+FFFD.", path, replaced)
        text = data.decode()
        if self.session_labels_file is not None:
            return self._cut_labelled_sessions(text, store)
        if self.line_label_pattern is None:
            raise ValueError(
                "it is raw text and has no labels: give `--line_label_pattern` (labels stand in the lines) or "
                "`--session_pattern` and `--session_labels_file` (a table of session and label), or a table "
                f"({', '.join(TABLE_FORMATS)})."
            )
        lines, labels = self._take_labels(text)
        return self._cut("\n".join(lines), labels, store, np.arange(len(lines), dtype=np.float64))

    def _take_labels(self, text: str) -> tuple[list[str], np.ndarray]:
        """Finds the label of each line and takes it out of the text, so that no model can read it."""
        assert self.line_label_pattern is not None
        lines = pa.array(text.removesuffix("\n").split("\n"), pa.large_string())
        try:
            found = pc.extract_regex(lines, self.line_label_pattern)
        except pa.ArrowInvalid as error:
            raise ValueError(f"`--line_label_pattern` {self.line_label_pattern!r}: {error}") from error
        if "label" not in {child.name for child in found.type}:
            raise ValueError(f"`--line_label_pattern` needs a group (?P<label>…), got {self.line_label_pattern!r}.")
        names = pc.struct_field(found, "label")
        blank = pc.equal(pc.utf8_trim_whitespace(lines), "").to_numpy(zero_copy_only=False)
        unlabelled = np.flatnonzero(names.is_null().to_numpy(zero_copy_only=False) & ~blank)
        if len(unlabelled):
            raise ValueError(
                f"row {unlabelled[0] + 1}: `--line_label_pattern` {self.line_label_pattern!r} finds no label in it, "
                f"nor in {len(unlabelled) - 1} other lines."
            )
        labels = np.zeros(len(lines), dtype=np.int8)
        labels[~blank] = label_ids(names.filter(pa.array(~blank)), self.normal_label)
        return pc.replace_substring_regex(lines, self.line_label_pattern, "", max_replacements=1).to_pylist(), labels

    def _cut(
        self, text: str, line_labels: np.ndarray, store: LogStore, line_times: np.ndarray, group: str | None = None
    ) -> LabelledLogs:
        """Lines to entries to sequences; each is anomalous when one of its lines is, and as old as its first."""
        parsed, sequences, rows = self._parse_and_cut(text, store)
        running = np.append(0, np.cumsum(line_labels))
        entry_labels = running[parsed.last_line] > running[parsed.first_line - 1]
        labels = np.array([entry_labels[positions].any() for positions in sequences], dtype=np.int8)
        first = np.array([positions[0] for positions in sequences])
        # A session reaches far without sharing lines; windows share them where they overlap.
        last = first if self.session_pattern else np.array([positions[-1] for positions in sequences])
        times = line_times[parsed.first_line[first] - 1]
        groups = None if group is None else np.array([group] * len(sequences), dtype=object)
        return LabelledLogs(store.add_sequences(rows, sequences), labels, times, groups, first, last)

    def _parse_and_cut(self, text: str, store: LogStore) -> tuple[Any, list[np.ndarray], np.ndarray]:
        parsed = store.processor.parse(text)
        if self.session_pattern:
            # A labelled session stays whole, however long: it is cut only where the model reads it.
            sessions = store.processor.sessions(parsed, self.session_pattern)
            length = store.processor.max_sequence_length
            # Lines of no session have labels too: they are cut by count.
            others = sessions.pop(None, np.empty(0, dtype=np.int64))
            windows = [others[start : start + length] for start in range(0, len(others), length)]
            sequences = sorted([*sessions.values(), *windows], key=lambda positions: int(positions[0]))
        else:
            sequences = store.processor.cut(
                parsed, stride=self.stride, window_seconds=self.window_seconds, session_pattern=""
            )
        return parsed, sequences, store.rows_of(parsed.distinct)[parsed.entry_index]

    def _cut_labelled_sessions(self, text: str, store: LogStore) -> LabelledLogs:
        if not self.session_pattern:
            raise ValueError("`--session_labels_file` needs `--session_pattern`, which finds the session of a line.")
        assert self.session_labels_file is not None
        label_of = self._read_session_labels(self.session_labels_file)
        parsed = store.processor.parse(text)
        sessions = store.processor.sessions(parsed, self.session_pattern)
        sessions.pop(None, None)  # Lines of no session have no label.
        unknown = [name for name in sessions if name not in label_of]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of {len(sessions)} sessions have no label in {self.session_labels_file}, the first "
                f"is {unknown[0]!r}."
            )
        rows = store.rows_of(parsed.distinct)[parsed.entry_index]
        names = sorted(sessions, key=lambda name: int(sessions[name][0]))
        sequences = [sessions[name] for name in names]
        labels = np.array([label_of[str(name)] for name in names], dtype=np.int8)
        first = np.array([positions[0] for positions in sequences])
        return LabelledLogs(store.add_sequences(rows, sequences), labels, first.astype(np.float64), None, first, first)

    def _read_session_labels(self, path: str) -> dict[str, int]:
        suffix = Path(path).suffix
        if suffix not in TABLE_FORMATS:
            raise ValueError(f"{path}: session labels are a table ({', '.join(TABLE_FORMATS)}).")
        table = pa.concat_tables(_stream_file(path, TABLE_FORMATS[suffix]), promote_options="permissive")
        names = {name.lower(): name for name in table.column_names}
        label = names.get(self.label_column.lower())
        others = [name for name in table.column_names if name != label]
        if label is None or len(others) != 1:
            raise ValueError(
                f"{path} must have two columns, the session and {self.label_column!r}; it has {table.column_names}."
            )
        sessions = table[others[0]].cast(pa.string()).to_pylist()
        return dict(zip(sessions, label_ids(table[label], self.normal_label).tolist(), strict=True))


def _text_of(lines: list[str]) -> str:
    """Lines of a table as one text; a line break within one would move every label after it."""
    return "\n".join(line.replace("\n", " ") if "\n" in line else line for line in lines)


def _as_time(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers as they are, dates and times in microseconds."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            has_zone = pc.all(pc.match_substring_regex(column, r"(?:Z|[+-]\d{2}:?\d{2})$")).as_py()
            column = column.cast(pa.timestamp("us", "UTC" if has_zone else None))
        except pa.ArrowInvalid as error:
            raise ValueError(f"`--time_column` holds no times in ISO 8601 nor numbers: {error}") from error
    if pa.types.is_temporal(column.type):
        zone = getattr(column.type, "tz", None)
        column = column.cast(pa.timestamp("us", zone)).cast(pa.int64())
    times = column.cast(pa.float64()).to_numpy()
    if np.isnan(times).any():
        raise ValueError(f"row {int(np.isnan(times).argmax()) + 1}: `--time_column` is empty there.")
    return times


def _stream_file(path: str, table_format: str) -> Iterator[pa.Table]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    if Path(path).stat().st_size == 0:
        raise ValueError("it is empty.")
    try:
        yield from _tables(load_dataset(table_format, data_files=path, split="train", streaming=True))
    except DatasetsError as error:
        raise ValueError(f"it cannot be read as {table_format}: {error}") from error


def _tables(data: Any) -> Iterator[pa.Table]:
    return data.with_format("arrow").iter(batch_size=LOGS_PER_CHUNK)


# ---------------------------------------------------------------------- splits


@dataclass
class Splits:
    """The parts of the data, and how many logs were left out between them."""

    parts: dict[str, LabelledLogs]
    embargoed: int = 0


def split_logs(
    logs: LabelledLogs,
    shares: dict[str, float],
    how: str = "chronological",
    embargo: int | None = None,
    seed: int = 0,
) -> Splits:
    """Cuts labelled logs into training data and what `shares` names.

    Args:
        logs: all of them.
        shares: of the parts besides "train", in order of time, for example `{"validation": 0.1, "test": 0.2}`.
        how: "chronological": the earliest are for training, the last part is the latest; "random"; "group": all logs
            of a group are in one part.
        embargo: chronological only: so many of the latest logs of each part but the last are left out. By default 1%
            of the logs, at most 32. Logs that share lines with a later part are always left out.
        seed: of the random and the group split.

    Raises:
        ValueError: shares that leave nothing, no groups, or an unknown `how`.
    """
    number = len(logs)
    if not all(0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ValueError(f"The shares of the parts must be in [0, 1) and leave something for training, got {shares}.")
    shares = {name: share for name, share in shares.items() if share > 0}
    generator = np.random.default_rng(seed)
    if embargo is not None and (embargo < 0 or how != "chronological"):
        raise ValueError(f"`--embargo` is a number from 0 upwards, of a chronological split; got {embargo}, {how}.")
    if how == "group":
        if logs.group is None:
            raise ValueError("`--split group` needs `--group_column`.")
        return Splits(_split_by_group(logs, shares, generator))
    if how == "random":
        by_place = logs.first.argsort(kind="stable")
        if (logs.last > logs.first).any() and (logs.last[by_place][:-1] >= logs.first[by_place][1:]).any():
            raise ValueError(
                "`--split random` would put windows that share lines in several parts: leave out `--stride`, or use "
                "`--split chronological` or `group`."
            )
        order = generator.permutation(number)
    elif how == "chronological":
        order = logs.time.argsort(kind="stable")
    else:
        raise ValueError(f"`split` must be chronological, random or group, got {how!r}.")
    names = ["train", *shares]
    sizes = [max(1, round(share * number)) for share in shares.values()]
    ends = np.append(number - np.cumsum(sizes[::-1])[::-1], number).astype(int)
    if ends[0] < 1:
        raise ValueError(f"{number} logs are too few for the parts {shares}.")
    chunks = np.split(order, ends[:-1])
    if how == "random":
        return Splits({name: logs.take(np.sort(chunk)) for name, chunk in zip(names, chunks, strict=True)})
    embargo = min(32, number // 100) if embargo is None else embargo
    parts, dropped = {}, 0
    for row, (name, chunk) in enumerate(zip(names, chunks, strict=True)):
        kept = chunk
        if row + 1 < len(chunks):
            kept = chunk[: max(len(chunk) - embargo, 0)]
            later = np.concatenate(chunks[row + 1 :])
            kept = kept[~_shares_lines(logs, kept, later)]
        if not len(kept):
            raise ValueError(
                f"Nothing is left of {name} between the embargoes of {embargo} logs: `--embargo` sets it."
            )
        dropped += len(chunk) - len(kept)
        parts[name] = logs.take(kept)
    return Splits(parts, dropped)


def _shares_lines(logs: LabelledLogs, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bool `(some,)`: which of some windows have a position in common with one of the others."""
    ends = np.zeros(int(logs.last.max()) + 2, dtype=np.int64)
    np.add.at(ends, logs.first[others], 1)
    np.add.at(ends, logs.last[others] + 1, -1)
    covered = np.append(0, (ends.cumsum() > 0).cumsum())
    shares = covered[logs.last[some] + 1] > covered[logs.first[some]]
    # What covers one position is a session or a log of its own, which no other contains.
    return shares & (logs.last[some] > logs.first[some])


def _split_by_group(
    logs: LabelledLogs, shares: dict[str, float], generator: np.random.Generator
) -> dict[str, LabelledLogs]:
    assert logs.group is not None
    groups = generator.permutation(np.unique(logs.group.astype(str)))
    if len(groups) <= len(shares):
        raise ValueError(f"{len(groups)} groups are too few for {len(shares) + 1} parts.")
    sizes = [max(1, round(share * len(groups))) for share in shares.values()]
    if sum(sizes) >= len(groups):
        raise ValueError(f"{len(groups)} groups are too few for the parts {shares}.")
    chunks = np.split(groups, np.cumsum(sizes))
    parts = {"train": chunks[-1]} | dict(zip(shares, chunks[:-1], strict=True))
    return {name: logs.take(np.flatnonzero(np.isin(logs.group.astype(str), chunk))) for name, chunk in parts.items()}


def split_facts(splits: Splits, store: LogStore) -> dict[str, Any]:
    """What the parts hold, and how much of each was already in training."""
    facts: dict[str, Any] = {"embargoed_logs": splits.embargoed, "distinct_entries": len(store.entry_rows)}
    lengths = np.array([len(rows) for rows in store.logs])
    for name, part in splits.parts.items():
        facts[name] = {
            "logs": len(part),
            "anomalous_logs": int(part.labels.sum()),
            "anomaly_rate": float(part.labels.mean()),
            "distinct_logs": len(np.unique(part.log)),
            "entries": int(lengths[part.log].sum()),
            "longer_than_a_sequence": int((lengths[part.log] > store.processor.max_sequence_length).sum()),
            "digest": _digest(part, store),
        }
        if name != "train":
            unseen = unseen_in_training(splits, name)
            facts[name]["logs_seen_in_training"] = int((~unseen).sum())
            facts[name]["logs_unseen_in_training"] = int(unseen.sum())
            facts[name]["anomalous_logs_unseen_in_training"] = int(part.labels[unseen].sum())
    return facts


def _digest(part: LabelledLogs, store: LogStore) -> str:
    """Changes when a log, a label or their order does."""
    digest = hashlib.blake2b("\0".join(store.texts).encode(), digest_size=8)
    distinct, inverse = np.unique(part.log, return_inverse=True)
    for log in distinct:
        digest.update(store.logs[log].tobytes() + b"\0")
    digest.update(inverse.tobytes() + part.labels.tobytes())
    return digest.hexdigest()


def unseen_in_training(splits: Splits, name: str) -> np.ndarray:
    """Bool `(logs,)`: the logs of a part that, masked, do not occur in training."""
    return ~np.isin(splits.parts[name].log, splits.parts["train"].log)


def require_both_labels(splits: Splits) -> None:
    """
    Raises:
        ValueError: a part without anomalies or without normal logs: nothing could be learned or measured there.
    """
    sizes = {name: f"{part.labels.sum()} of {len(part)} anomalous" for name, part in splits.parts.items()}
    for name, part in splits.parts.items():
        if part.labels.min() == part.labels.max():
            kind = "anomalous" if part.labels.min() else "normal"
            every = all(
                other.labels.min() == other.labels.max() == part.labels.min() for other in splits.parts.values()
            )
            if every or (name == "train" and len(splits.parts) == 1):
                raise ValueError(
                    f"The data have sequences of one label only ({sizes}): all are {kind}, and training needs both."
                )
            raise ValueError(
                f"The {name} part has sequences of one label only ({sizes}): all are {kind}. Give a file for it, "
                "another share (`--validation_share`, `--test_share`), or `--split random` or `group`."
            )


# ---------------------------------------------------------------------- batches


class TrainingVisits(torch.utils.data.Dataset):
    """What an epoch visits: each distinct labelled log, weighted by how often it occurs.

    A log that occurs n times counts n ** repeat_power. What counts c is visited ceil(c / m) times, m being the mean
    over distinct logs, with a weight in proportion to c / ceil(c / m): no visit weighs more than m, and an epoch has
    at most twice as many visits as there are distinct logs. With a repeat_power of 1 the weighted mean of the loss
    over an epoch is the mean over all logs. The mean weight of a visit is 1, so that a batch is a fair sample
    whatever it holds.

    Args:
        logs: the training part.
        store: holds them.
        anomaly_weight: an anomalous log counts so much more than a normal one; None: both kinds together the same.
        order_jitter: entries are moved at random by up to so many places, anew at each visit.
        seed: of that.
        repeat_power: between 0, where each distinct log counts the same, and 1, where each occurrence does.
        collapse: off, every occurrence is visited on its own.
    """

    def __init__(
        self,
        logs: LabelledLogs,
        store: LogStore,
        anomaly_weight: float | None = 1.0,
        repeat_power: float = 1.0,
        collapse: bool = True,
        order_jitter: int = 0,
        seed: int = 0,
    ):
        self.store, self.order_jitter, self.seed, self.epoch = store, order_jitter, seed, 0
        pairs = logs.log * 2 + logs.labels
        counts = np.ones(len(pairs))
        if collapse:
            pairs, repeats = np.unique(pairs, return_counts=True)
            counts = repeats.astype(np.float64) ** repeat_power
        self.num_distinct = len(pairs)
        visits = np.ceil(counts / counts.mean()).astype(np.int64)
        if anomaly_weight is None:
            anomaly_weight = counts[pairs % 2 == 0].sum() / counts[pairs % 2 == 1].sum()
        weights = np.repeat(counts / visits * np.where(pairs % 2, anomaly_weight, 1.0), visits)
        self.pairs = np.repeat(pairs, visits)
        self.weights = weights / weights.mean()
        self.lengths = np.array([len(store.logs[log]) for log in pairs // 2]).repeat(visits)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate, here or through the sampler, whichever of the two it reaches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """The visit; `PADDING` gives one of weight 0, which has no part in any loss."""
        log, label = divmod(int(self.pairs[row]), 2)
        rows = self.store.logs[log]
        if self.order_jitter:
            # By epoch and visit, so that a resumed run and any number of processes see the same.
            generator = np.random.default_rng((self.seed, self.epoch, row % len(self)))
            moved = np.arange(len(rows)) + generator.uniform(0, self.order_jitter + 1, len(rows))
            rows = rows[moved.argsort(kind="stable")]
        return {"rows": rows, "labels": label, "weights": 0.0 if row == PADDING else float(self.weights[row])}


class SimilarLengthSampler(torch.utils.data.Sampler):
    """A random order in which the logs of a batch are of similar length, so that little is padded.

    The order follows from seed and epoch alone: a resumed run, and any number of processes, see the same batches. The
    last batch is filled up with `PADDING`, lest several processes fill it with logs that were visited already.

    Args:
        visits: the training data.
        batch_size: examples per step, over all processes.
        seed: of the order.
    """

    BATCHES_SORTED_TOGETHER = 50

    def __init__(self, visits: TrainingVisits, batch_size: int, seed: int):
        self.visits, self.lengths, self.batch_size, self.seed = visits, visits.lengths, batch_size, seed

    def set_epoch(self, epoch: int) -> None:
        self.visits.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.batch_size

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.visits.epoch))
        order = generator.permutation(len(self.lengths))
        size = self.batch_size * self.BATCHES_SORTED_TOGETHER
        batches = []
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            chunk = chunk[self.lengths[chunk].argsort(kind="stable")]
            batches += [chunk[first : first + self.batch_size] for first in range(0, len(chunk), self.batch_size)]
        # Perhaps smaller than the others.
        last = np.append(batches.pop(), np.full(len(self) - len(order), PADDING))
        shuffled = [batches[row] for row in generator.permutation(len(batches))]
        return iter(np.concatenate([*shuffled, last]).tolist())


class DistinctLogs(torch.utils.data.Dataset):
    """Each distinct log of a part once, the longest first, to be judged; `expand` gives each log its verdict."""

    def __init__(self, logs: LabelledLogs, store: LogStore):
        distinct, inverse = np.unique(logs.log, return_inverse=True)
        order = np.argsort([-len(store.logs[log]) for log in distinct], kind="stable")
        self.store, self.distinct = store, distinct[order]
        self._row = order.argsort()[inverse]

    def __len__(self) -> int:
        return len(self.distinct)

    def __getitem__(self, row: int) -> dict[str, Any]:
        # The Trainer measures only where there are labels; the true ones are those of the logs, not of distinct ones.
        return {"rows": self.store.logs[self.distinct[row]], "labels": 0, "weights": 1.0}

    def expand(self, predictions: np.ndarray) -> np.ndarray:
        """From one row per distinct log to one per log."""
        return predictions[self._row]


@dataclass
class LogCollator:
    """Batches logs, each cut into parts of at most `max_sequence_length` entries as the pipeline cuts them.

    Gives `labels` and `weights` `(logs,)`, `log_index` `(parts,)`, and the parts in the compact form, or embedded.
    `labels` come first because the Trainer counts examples by the first tensor.

    Args:
        processor: pads.
        max_sequence_length: entries per part.
        token_ids: of each row of the entry table, where the encoder is trained.
        embeds: `(rows, encoder_hidden)`, where the entries were embedded before.
    """

    processor: LogMoEProcessor
    max_sequence_length: int
    token_ids: list[list[int]] | None = None
    embeds: torch.Tensor | None = None

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows, log_index = self._cut([example["rows"] for example in examples])
        batch = {
            "labels": torch.tensor([example["labels"] for example in examples]),
            "weights": torch.tensor([example["weights"] for example in examples], dtype=torch.float32),
            "log_index": torch.from_numpy(log_index),
        }
        if self.embeds is not None:
            index = torch.from_numpy(rows)
            return batch | {"entry_embeds": self.embeds[index.clamp(min=0)], "entry_mask": index >= 0}
        assert self.token_ids is not None
        real = rows >= 0
        distinct, inverse = np.unique(rows[real], return_inverse=True)
        entry_index = np.full_like(rows, -1)
        entry_index[real] = inverse
        padded = self.processor.pad([self.token_ids[row] for row in distinct])
        return batch | {"entry_index": torch.from_numpy(entry_index)} | padded

    def _cut(self, logs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Rows of entries `(parts, entries)`, -1 where padded, and the log of each part `(parts,)`, both int64."""
        length = self.max_sequence_length
        lengths = np.array([len(log) for log in logs])
        num_parts = -(-lengths // length)  # (logs,)
        log_index = np.repeat(np.arange(len(logs)), num_parts)
        width = min(length, int(lengths.max()))
        rows = np.full((len(log_index), width), -1, dtype=np.int64)
        log_of_entry = np.repeat(np.arange(len(logs)), lengths)
        position = np.arange(len(log_of_entry)) - (lengths.cumsum() - lengths)[log_of_entry]
        first_part = num_parts.cumsum() - num_parts
        rows[first_part[log_of_entry] + position // length, position % length] = np.concatenate(logs)
        return rows, log_index
