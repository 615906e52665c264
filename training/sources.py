"""Reads labelled logs from what may be trained on: tables, raw log text, and data sets of the Hub.

`DataArguments` say how to read, `splits.read_splits` says what; the logs go into a `LogStore` and come out as
`LabelledLogs`.
"""

import glob
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logmoe import ParsedLog, SequenceCutter, SequenceRule
from logmoe.reading_logmoe import to_utf8
from logmoe.sequences_logmoe import count_windows, find_sessions
from logmoe.training.arguments import DataArguments
from logmoe.training.logs import LabelledLogs, LogStore, concatenate

logger = logging.getLogger("logmoe.train")

LABEL_IDS = {"0": 0, "1": 1, "normal": 0, "anomaly": 1, "正常": 0, "异常": 1}
TABLE_FORMATS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
ROWS_PER_CHUNK = 2000


def label_id(label: Any, normal_label: str | None = None) -> int:
    """0 for normal, 1 for anomaly.

    Args:
        label: 0/1, `normal`/`anomaly` or 正常/异常.
        normal_label: if given, only this label is normal and every other one is an anomaly.

    Raises:
        ValueError: a missing or unknown label.
    """
    is_number = isinstance(label, bool | np.bool_) or (isinstance(label, float) and label.is_integer())
    key = str(int(label)) if is_number else str(label).strip()
    if normal_label is not None and label is not None and label == label and key:
        return int(key != normal_label)
    if key.lower() not in LABEL_IDS:
        raise ValueError(
            f"A label must be one of {', '.join(LABEL_IDS)}, got {label!r}. If the data use other labels, "
            "`--normal_label` names the one that means normal."
        )
    return LABEL_IDS[key.lower()]


def label_ids(
    labels: pa.Array | pa.ChunkedArray, normal_label: str | None = None, rows: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """`label_id` of a whole column, int8 `(rows,)`; `rows` are their numbers in the source, from 0, for errors."""
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    encoded = pc.dictionary_encode(labels, null_encoding="encode")
    index = encoded.indices.to_numpy(zero_copy_only=False)
    ids = np.empty(len(encoded.dictionary), dtype=np.int8)
    for value, label in enumerate(encoded.dictionary.to_pylist()):
        try:
            ids[value] = label_id(label, normal_label)
        except ValueError as error:
            position = int((index == value).argmax())
            raise ValueError(f"row {(position if rows is None else rows[position]) + 1}: {error}") from error
    return ids[index]


class SourceReader:
    """Reads files and data sets as the arguments say, and adds the logs to a store."""

    def __init__(self, args: DataArguments, store: LogStore):
        self.args, self.store = args, store

    def read_files(self, patterns: Sequence[str]) -> LabelledLogs:
        """Reads files: tables by their suffix, anything else as raw log text.

        Args:
            patterns: paths, or patterns such as `logs/*.jsonl`, whose matches are read in order of name.

        Raises:
            ValueError: a file that cannot be read as what it is; the message names it.
            FileNotFoundError: a path, or a pattern, that matches no file.
        """
        paths: list[str] = []
        for pattern in patterns:
            found = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
            if not found:
                raise FileNotFoundError(f"no such file: {pattern!r}.")
            paths += found
        logs = []
        for path in paths:
            suffix = "".join(Path(path).suffixes[-2:]).removesuffix(".gz").removesuffix(".zst")
            table_format = TABLE_FORMATS.get(Path(suffix).suffix or suffix)
            try:
                if table_format is None:
                    logs.append(self._read_text(Path(path)))
                else:
                    logs.append(self._read_tables(_stream_file(path, table_format)))
            except (ValueError, pa.ArrowException, UnicodeError) as error:
                raise ValueError(f"{path}: {error}") from error
        return concatenate(logs, times_continue=self.args.time_column is None)

    def read_dataset(self, name: str, config_name: str | None, split: str) -> LabelledLogs:
        """Reads one split of a data set on the Hub, or of a folder that is laid out like one.

        Raises:
            ValueError: no such data set, configuration or split, or rows that cannot be read.
        """
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            data = load_dataset(name, config_name, split=split, streaming=self.args.streaming)
            return self._read_tables(_tables(data))
        except (DatasetsError, ValueError, FileNotFoundError, ConnectionError) as error:
            raise ValueError(f"data set {name}, split {split}: {error}") from error

    def _refuse(self, kind: str, *options: str) -> None:
        """An option without effect is a misunderstanding."""
        for option in options:
            if getattr(self.args, option) is not None:
                raise ValueError(f"`--{option}` has no effect on {kind}.")

    # ------------------------------------------------------------------ tables

    def _read_tables(self, tables: Iterator[pa.Table]) -> LabelledLogs:
        """The chunks of one table, which has a row per log or, without `sequence_column`, a row per line."""
        args = self.args
        tables = (table for table in tables if len(table))
        first = next(tables, None)
        if first is None:
            raise ValueError("the table has no rows.")
        per_line = args.sequence_column not in first.column_names and args.line_column in first.column_names
        text_column = args.line_column if per_line else args.sequence_column
        names = (text_column, args.label_column, args.group_column, args.time_column)
        columns = list(dict.fromkeys(name for name in names if name is not None))
        lines: list[pa.Table] = []
        logs: list[LabelledLogs] = []
        start = 0
        for table in itertools.chain([first], tables):
            missing = [name for name in columns if name not in table.column_names]
            if missing:
                raise ValueError(
                    f"the columns {missing} are missing; there are {table.column_names}. `--sequence_column`, "
                    "`--label_column`, `--line_column`, `--time_column` and `--group_column` name them."
                )
            self._refuse("tables", "session_labels_file", "line_label_pattern")
            if per_line:
                lines.append(table.select(columns))
            else:
                self._refuse("a table with a row per log", "window_seconds", "stride")
                logs.append(self._read_rows(table, start))
            start += len(table)
        if per_line:
            return self._read_lines(pa.concat_tables(lines, promote_options="permissive"))
        return concatenate(logs, times_continue=args.time_column is None)

    def _read_rows(self, table: pa.Table, start: int) -> LabelledLogs:
        """A row per log; `start` counts the rows before this chunk of the table."""
        args = self.args
        labels = label_ids(table[args.label_column], args.normal_label, range(start, start + len(table)))
        distinct_log = self.store.add_logs(table[args.sequence_column].to_pylist(), start)
        position = np.arange(len(table))
        time = _as_time(table[args.time_column], start) if args.time_column else position.astype(np.float64)
        group = np.array(table[args.group_column].cast(pa.string()).to_pylist()) if args.group_column else None
        return LabelledLogs(distinct_log, labels, time, group, position, position)

    def _read_lines(self, table: pa.Table) -> LabelledLogs:
        """A row per physical line; the lines of a group, or all lines, are one log that is cut into sequences."""
        args = self.args
        labels = label_ids(table[args.label_column], args.normal_label)
        if args.time_column is None:
            times = np.arange(len(table), dtype=np.float64)
        else:
            times = _as_time(table[args.time_column])
        # A line break inside a line would shift every label after it.
        column = pc.replace_substring(table[args.line_column].cast(pa.large_string()).fill_null(""), "\n", " ")
        lines = column.to_pylist()
        if args.group_column is None:
            return self._cut_labelled_lines("\n".join(lines), labels, times)
        names = np.array(table[args.group_column].cast(pa.string()).fill_null("").to_pylist())
        groups, group_of_row = np.unique(names, return_inverse=True)
        order = group_of_row.argsort(kind="stable")
        logs = []
        for rows in np.split(order, np.flatnonzero(np.diff(group_of_row[order])) + 1):
            text = "\n".join(lines[row] for row in rows)
            cut = self._cut_labelled_lines(text, labels[rows], times[rows])
            cut.group = np.full(len(cut), str(groups[group_of_row[rows[0]]]), dtype=object)
            logs.append(cut)
        # Each line has its time, or its row in the table: groups may be interleaved.
        return concatenate(logs, times_continue=False)

    # ------------------------------------------------------------------ raw text

    def _read_text(self, path: Path) -> LabelledLogs:
        self._refuse("raw text", "time_column", "group_column")
        if path.suffix in (".gz", ".bz2", ".xz", ".zst", ".zip"):
            raise ValueError("compressed raw text cannot be read: decompress it first.")
        data, replaced = to_utf8(path.read_bytes())
        if replaced:
            logger.warning("%s: %d bytes are not UTF-8; each became U+FFFD.", path, replaced)
        text = data.decode()
        if self.args.session_labels_file is not None:
            return self._read_labelled_sessions(text, self.args.session_labels_file)
        if self.args.line_label_pattern is None:
            raise ValueError(
                "raw text without labels: give `--line_label_pattern` (labels stand in the lines) or "
                "`--session_pattern` and `--session_labels_file` (a table of session and label), or train on a table "
                f"({', '.join(TABLE_FORMATS)})."
            )
        lines, labels = self._take_labels(text, self.args.line_label_pattern)
        return self._cut_labelled_lines("\n".join(lines), labels, np.arange(len(lines), dtype=np.float64))

    def _take_labels(self, text: str, pattern: str) -> tuple[list[str], np.ndarray]:
        """Finds the label of each line and removes it from the text, so that no model can read it."""
        lines = pa.array(text.removesuffix("\n").split("\n"), pa.large_string())
        try:
            found = pc.extract_regex(lines, pattern)
        except pa.ArrowInvalid as error:
            raise ValueError(f"`--line_label_pattern` {pattern!r}: {error}") from error
        if "label" not in {child.name for child in found.type}:
            raise ValueError(f"`--line_label_pattern` needs a group (?P<label>…), got {pattern!r}.")
        names = pc.struct_field(found, "label")
        blank = pc.equal(pc.utf8_trim_whitespace(lines), "").to_numpy(zero_copy_only=False)
        unlabelled = np.flatnonzero(names.is_null().to_numpy(zero_copy_only=False) & ~blank)
        if len(unlabelled):
            raise ValueError(
                f"row {unlabelled[0] + 1}: `--line_label_pattern` {pattern!r} finds no label in this line, nor in "
                f"{len(unlabelled) - 1} others."
            )
        labels = np.zeros(len(lines), dtype=np.int8)
        labels[~blank] = label_ids(names.filter(pa.array(~blank)), self.args.normal_label, np.flatnonzero(~blank))
        return pc.replace_substring_regex(lines, pattern, "", max_replacements=1).to_pylist(), labels

    def _read_labelled_sessions(self, text: str, path: str) -> LabelledLogs:
        if not self.args.session_pattern:
            raise ValueError("`--session_labels_file` needs `--session_pattern`, which finds the session of a line.")
        label_of = self._read_session_labels(path)
        parsed = self.store.processor.parse(text)
        # Entries that name no session have no label.
        sessions = [(name, positions) for name, positions in self._cut(parsed) if name is not None]
        unknown = [name for name, _ in sessions if name not in label_of]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of {len(sessions)} sessions have no label in {path}, the first is {unknown[0]!r}."
            )
        labels = np.array([label_of[name] for name, _ in sessions], dtype=np.int8)
        return self._labelled(parsed, [positions for _, positions in sessions], labels)

    def _read_session_labels(self, path: str) -> dict[str, int]:
        suffix, label_column = Path(path).suffix, self.args.label_column
        if suffix not in TABLE_FORMATS:
            raise ValueError(f"`--session_labels_file` {path} must be a table ({', '.join(TABLE_FORMATS)}).")
        table = pa.concat_tables(_stream_file(path, TABLE_FORMATS[suffix]), promote_options="permissive")
        label = {name.lower(): name for name in table.column_names}.get(label_column.lower())
        others = [name for name in table.column_names if name != label]
        if label is None or len(others) != 1:
            raise ValueError(
                f"{path} must have two columns, the session and {label_column!r}; it has {table.column_names}."
            )
        sessions = table[others[0]].cast(pa.string()).to_pylist()
        return dict(zip(sessions, label_ids(table[label], self.args.normal_label).tolist(), strict=True))

    # ------------------------------------------------------------------ entries to sequences

    def _cut_labelled_lines(self, text: str, line_labels: np.ndarray, line_times: np.ndarray) -> LabelledLogs:
        """A sequence is an anomaly if one of its lines is; its time is that of its first line."""
        parsed = self.store.processor.parse(text)
        sequences = [positions for _, positions in self._cut(parsed)]
        running = np.append(0, np.cumsum(line_labels))
        entry_labels = running[parsed.last_line] > running[parsed.first_line - 1]
        labels = np.array([entry_labels[positions].any() for positions in sequences], dtype=np.int8)
        return self._labelled(parsed, sequences, labels, line_times)

    def _cut(self, parsed: ParsedLog) -> list[tuple[str | None, np.ndarray]]:
        """Sequences by first entry, each with its session; None for windows, and for entries that name no session.

        Sessions stay whole however long they are, since the label is the whole session's: the collator cuts them.
        """
        processor, pattern = self.store.processor, self.args.session_pattern
        length = processor.max_sequence_length
        if not pattern:
            rule = SequenceRule(length, self.args.stride, self.args.window_seconds)
            return [(None, positions) for positions in SequenceCutter(rule, processor).cut(parsed)]
        sessions = find_sessions(parsed, pattern)
        others = sessions.pop(None, np.empty(0, dtype=np.int64))
        if not sessions:
            raise ValueError(f"`--session_pattern` {pattern!r} matches no entry.")
        windows, _ = count_windows(others, SequenceRule(length))
        named = [*sessions.items(), *((None, positions) for positions in windows)]
        return sorted(named, key=lambda item: int(item[1][0]))

    def _labelled(
        self, parsed: ParsedLog, sequences: list[np.ndarray], labels: np.ndarray, line_times: np.ndarray | None = None
    ) -> LabelledLogs:
        """Adds sequences to the store; without times of lines, their position counts as time."""
        distinct_log = self.store.add_sequences(self.store.rows_of(parsed), sequences)
        first = np.array([positions[0] for positions in sequences])
        # A session reaches far without sharing lines; windows share them where they overlap.
        last = first if self.args.session_pattern else np.array([positions[-1] for positions in sequences])
        time = first.astype(np.float64) if line_times is None else line_times[parsed.first_line[first] - 1]
        return LabelledLogs(distinct_log, labels, time, None, first, last)


def _as_time(column: pa.ChunkedArray, start: int = 0) -> np.ndarray:
    """Numbers as they are, dates and times in microseconds, float64 `(rows,)`; `start` counts the rows before."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            has_zone = pc.all(pc.match_substring_regex(column, r"(?:Z|[+-]\d{2}:?\d{2})$")).as_py()
            column = column.cast(pa.timestamp("us", "UTC" if has_zone else None))
        except pa.ArrowInvalid as error:
            raise ValueError(f"`--time_column` must hold numbers or ISO 8601 times: {error}") from error
    if pa.types.is_temporal(column.type):
        zone = getattr(column.type, "tz", None)
        column = column.cast(pa.timestamp("us", zone)).cast(pa.int64())
    times = column.cast(pa.float64()).to_numpy()
    if np.isnan(times).any():
        raise ValueError(f"row {start + int(np.isnan(times).argmax()) + 1}: `--time_column` is empty.")
    return times


def _stream_file(path: str, table_format: str) -> Iterator[pa.Table]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    if Path(path).stat().st_size == 0:
        raise ValueError("the file is empty.")
    try:
        yield from _tables(load_dataset(table_format, data_files=path, split="train", streaming=True))
    except DatasetsError as error:
        raise ValueError(f"not readable as {table_format}: {error}") from error


def _tables(data: Any) -> Iterator[pa.Table]:
    return data.with_format("arrow").iter(batch_size=ROWS_PER_CHUNK)
