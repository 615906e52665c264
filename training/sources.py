"""Reads labelled logs from what may be trained on: tables, raw log text, and data sets of the Hub.

`DataArguments` say how to read, `splits.read_splits` says what; the logs go into a `LogStore` and come out as
`LabelledLogs`.
"""

import glob
import io
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from logmoe import ParsedLog, SequenceCutter, SequenceRule
from logmoe.console import visible
from logmoe.reading_logmoe import to_utf8
from logmoe.sequences_logmoe import count_windows, find_sessions
from logmoe.training.arguments import DataArguments
from logmoe.training.logs import LabelledLogs, LogStore, concatenate

logger = logging.getLogger("logmoe.train")

LABEL_IDS = {"0": 0, "1": 1, "normal": 0, "anomaly": 1, "正常": 0, "异常": 1}
TABLE_FORMATS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
ROWS_PER_CHUNK = 2000
# Of a CSV file: a row must fit in.
CSV_BLOCK_BYTES = 32 << 20

# The columns of a chunk of a table by name: typed as in its file, or values of any type, from JSON.
Columns = Mapping[str, pa.ChunkedArray | list[Any]]


class _Missing:
    """What a row of JSON has in a column that it lacks."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


def shown(value: Any) -> str:
    """A value for a message: on one line, harmless to a terminal, not too long."""
    text = visible(repr(value))
    return text if len(text) <= 100 else text[:100] + "…"


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
    is_scalar = isinstance(label, str | int | float | np.bool_)
    if normal_label is not None and is_scalar and label == label and key:
        return int(key != normal_label)
    if not is_scalar or key.lower() not in LABEL_IDS:
        raise ValueError(
            f"A label must be one of {', '.join(LABEL_IDS)}, got {shown(label)}. If the data use other labels, "
            "`--normal_label` names the one that means normal."
        )
    return LABEL_IDS[key.lower()]


class LabelReader:
    """Reads the labels of one source, chunk by chunk.

    Numbers beside words are refused: they come from two hands, and what one of them means cannot be known.
    """

    def __init__(self, normal_label: str | None = None):
        self.normal_label = normal_label
        self._first: dict[bool, tuple[int, Any]] = {}  # of numbers and of words: the row, and the label

    def read(
        self, labels: pa.Array | pa.ChunkedArray | list[Any], rows: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """`label_id` of a column, int8 `(rows,)`; `rows` are their numbers in the source, from 0, for errors."""
        index, distinct = _distinct(labels)
        ids = np.empty(len(distinct), dtype=np.int8)
        for value, label in enumerate(distinct):
            position = int((index == value).argmax())
            row = (position if rows is None else int(rows[position])) + 1
            try:
                ids[value] = label_id(label, self.normal_label)
            except ValueError as error:
                raise ValueError(f"row {row}: {error}") from error
            is_number = str(label).strip() in ("0", "1") or not isinstance(label, str)
            if self.normal_label is None:
                self._first.setdefault(is_number, (row, label))
            if len(self._first) == 2:
                (one, first), (two, second) = (self._first[not is_number], self._first[is_number])
                raise ValueError(
                    f"row {two}: the label {shown(second)}, but {shown(first)} in row {one}: write all labels as "
                    "numbers or all as words."
                )
        return ids[index]


def _distinct(labels: pa.Array | pa.ChunkedArray | list[Any]) -> tuple[np.ndarray, list[Any]]:
    """For each label its place among the distinct ones, int64, and those, in order of first appearance."""
    if isinstance(labels, list):
        places: dict[tuple[type, str], int] = {}
        distinct: list[Any] = []
        index = np.empty(len(labels), dtype=np.int64)
        for row, label in enumerate(labels):
            place = places.setdefault((type(label), repr(label)), len(distinct))
            if place == len(distinct):
                distinct.append(label)
            index[row] = place
        return index, distinct
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    encoded = pc.dictionary_encode(labels, null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def label_ids(labels: Any, normal_label: str | None = None, rows: Any = None) -> np.ndarray:
    """Labels of one source that is read at once; see [`LabelReader`]."""
    return LabelReader(normal_label).read(labels, rows)


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
            except (ValueError, pa.ArrowException, EOFError, OSError) as error:
                if isinstance(error, OSError) and error.filename is not None:
                    raise  # it says which file; of damage inside one Arrow says only what it is
                raise ValueError(f"{visible(path)}: {error}") from error
        return concatenate(logs, times_continue=self.args.time_column is None)

    def read_dataset(self, name: str, config_name: str | None, split: str) -> LabelledLogs:
        """Reads one split of a data set on the Hub, or of a folder that is laid out like one.

        Raises:
            ValueError: no such data set, configuration or split, or rows that cannot be read.
        """
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            features = self._features_of_json(name, config_name, split)
            data = load_dataset(name, config_name, split=split, streaming=self.args.streaming, features=features)
            return self._read_tables(_tables(data))
        except (DatasetsError, ValueError, FileNotFoundError, ConnectionError) as error:
            raise ValueError(f"data set {name}, split {split}: {error}") from error

    def _features_of_json(self, name: str, config_name: str | None, split: str) -> Any:
        """What keeps a row of JSON from changing its neighbours; None for other data sets.

        The library turns a column with values of several types into JSON text, from the chunk on in which it meets
        the second type. Here it does so from the start, and says so by the type of the column.
        """
        from datasets import Features, Json, load_dataset, load_dataset_builder

        if not type(load_dataset_builder(name, config_name)).__module__.endswith(".json.json"):
            return None
        features = load_dataset(name, config_name, split=split, streaming=True).features
        if features is None:  # a file that is one list is read at once
            return None
        return Features({column: Json() if column in self._columns else of for column, of in features.items()})

    @property
    def _columns(self) -> list[str]:
        """The columns that may be read."""
        args = self.args
        names = args.sequence_column, args.line_column, args.label_column, args.group_column, args.time_column
        return list(dict.fromkeys(name for name in names if name is not None))

    def _refuse(self, kind: str, *options: str) -> None:
        """An option without effect is a misunderstanding."""
        for option in options:
            if getattr(self.args, option) is not None:
                raise ValueError(f"`--{option}` has no effect on {kind}.")

    # ------------------------------------------------------------------ tables

    def _read_tables(self, chunks: Iterator[Columns]) -> LabelledLogs:
        """The chunks of one table, which has a row per log or, without `sequence_column`, a row per line."""
        args = self.args
        first = next(chunks, None)
        if first is None:
            raise ValueError("the table has no rows.")
        per_line = args.sequence_column not in first and args.line_column in first
        text_column = args.line_column if per_line else args.sequence_column
        names = [name for name in self._columns if name not in (args.sequence_column, args.line_column)]
        labels = LabelReader(args.normal_label)
        lines: list[pa.Table] = []
        logs: list[LabelledLogs] = []
        start = 0
        for chunk in itertools.chain([first], chunks):
            missing = [name for name in [text_column, *names] if name not in chunk]
            if missing:
                raise ValueError(
                    f"the columns {missing} are missing; there are {shown(list(chunk))}. `--sequence_column`, "
                    "`--label_column`, `--line_column`, `--time_column` and `--group_column` name them."
                )
            self._refuse("tables", "session_labels_file", "line_label_pattern")
            texts = _as_texts(chunk[text_column], text_column, start, allow_lists=not per_line)
            rows = range(start, start + len(texts))
            ids = labels.read(chunk[args.label_column], rows)
            time = np.array(rows, dtype=np.float64)
            if args.time_column is not None:
                time = _as_time(chunk[args.time_column], start)
            group = (
                None if args.group_column is None else _as_groups(chunk[args.group_column], args.group_column, start)
            )
            if per_line:
                columns = {"line": pa.array(texts, pa.large_string()), "label": pa.array(ids), "time": pa.array(time)}
                lines.append(pa.table(columns | ({} if group is None else {"group": group})))
            else:
                self._refuse("a table with a row per log", "window_seconds", "stride")
                position = np.arange(len(ids))
                if args.time_column is None:
                    time = position.astype(np.float64)
                names_of = None if group is None else np.array(group.to_pylist())
                logs.append(LabelledLogs(self.store.add_logs(texts, start), ids, time, names_of, position, position))
            start += len(texts)
        if per_line:
            return self._read_lines(pa.concat_tables(lines))
        return concatenate(logs, times_continue=args.time_column is None)

    def _read_lines(self, table: pa.Table) -> LabelledLogs:
        """A row per physical line; the lines of a group, or all lines, are one log that is cut into sequences.

        Args:
            table: with `line`, `label` and `time`, and with `group` if there is a column of it.
        """
        labels, times = table["label"].to_numpy(), table["time"].to_numpy()
        # A line break inside a line would shift every label after it.
        lines = pc.replace_substring(table["line"], "\n", " ").to_pylist()
        if self.args.group_column is None:
            return self._cut_labelled_lines("\n".join(lines), labels, times)
        names = np.array(table["group"].fill_null("").to_pylist())
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
        labels = LabelReader(self.args.normal_label)
        label_of: dict[str, int] = {}
        start = 0
        for chunk in _stream_file(path, TABLE_FORMATS[suffix]):
            label = {name.lower(): name for name in chunk}.get(label_column.lower())
            others = [name for name in chunk if name != label]
            if label is None or len(others) != 1:
                raise ValueError(
                    f"{path} must have two columns, the session and {label_column!r}; it has {shown(list(chunk))}."
                )
            try:
                sessions = _as_groups(chunk[others[0]], others[0], start)
                ids = labels.read(chunk[label], range(start, start + len(sessions)))
            except ValueError as error:
                raise ValueError(f"{visible(path)}: {error}") from error
            for row, (session, of) in enumerate(zip(sessions.to_pylist(), ids.tolist(), strict=True), start + 1):
                if session is None:
                    raise ValueError(f"{visible(path)}: row {row}: there is no session.")
                if label_of.setdefault(session, of) != of:
                    raise ValueError(f"{visible(path)}: row {row}: the session {shown(session)} has two labels.")
            start += len(sessions)
        return label_of

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


# ---------------------------------------------------------------------- columns


def _as_texts(column: Any, name: str, start: int, allow_lists: bool) -> list[Any]:
    """The texts of a column, each a str or, if allowed, a list of str; `start` counts the rows before.

    Raises:
        ValueError: a value of another type; the message gives row and value.
    """
    wanted = "a text or a list of texts, its entries" if allow_lists else "a text"
    if not isinstance(column, list):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        text = kind.value_type if is_list else kind
        is_text = pa.types.is_string(text) or pa.types.is_large_string(text) or pa.types.is_string_view(text)
        if (not is_text or (is_list and not allow_lists)) and column.null_count < len(column):
            raise ValueError(f"the column {name!r} holds {kind}: it must hold {wanted}.")
    values = column if isinstance(column, list) else column.to_pylist()
    for row, value in enumerate(values, start + 1):
        if isinstance(value, str):
            continue
        if not (allow_lists and isinstance(value, list) and all(isinstance(entry, str) for entry in value)):
            raise ValueError(f"row {row}: {name!r} must hold {wanted}; got {shown(value)}.")
    return list(values)


def _as_groups(column: Any, name: str, start: int) -> pa.ChunkedArray | pa.Array:
    """Texts, or whole numbers as texts; null where there is none."""
    if not isinstance(column, list):
        return column.cast(pa.string())
    for row, value in enumerate(column, start + 1):
        if isinstance(value, bool) or not (value is None or value is MISSING or isinstance(value, str | int)):
            raise ValueError(f"row {row}: {name!r} must hold a text or a whole number; got {shown(value)}.")
    return pa.array([None if value is None or value is MISSING else str(value) for value in column], pa.string())


def _as_time(column: Any, start: int = 0) -> np.ndarray:
    """Numbers as they are, dates and times in microseconds, float64 `(rows,)`; `start` counts the rows before."""
    if isinstance(column, list):
        for row, value in enumerate(column, start + 1):
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError(
                    f"row {row}: `--time_column` must hold a number or an ISO 8601 time, got {shown(value)}."
                )
            if isinstance(value, str) != isinstance(column[0], str):
                raise ValueError(
                    f"row {row}: `--time_column` must not mix numbers and ISO 8601 times: {shown(value)} here, but "
                    f"{shown(column[0])} in row {start + 1}."
                )
        column = pa.chunked_array([pa.array(column, None if isinstance(column[0], str) else pa.float64())])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            if pc.all(pc.match_substring_regex(column, r"^[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$")).as_py():
                column = column.cast(pa.float64())
            else:
                has_zone = pc.all(pc.match_substring_regex(column, r"(?:Z|[+-]\d{2}:?\d{2})$")).as_py()
                column = column.cast(pa.timestamp("us", "UTC" if has_zone else None))
        except pa.ArrowInvalid as error:
            raise ValueError(f"`--time_column` must hold numbers or ISO 8601 times: {error}") from error
    if pa.types.is_temporal(column.type):
        zone = getattr(column.type, "tz", None)
        column = column.cast(pa.timestamp("us", zone)).cast(pa.int64())
    times = column.cast(pa.float64()).to_numpy()
    if not np.isfinite(times).all():
        row = start + int((~np.isfinite(times)).argmax()) + 1
        raise ValueError(f"row {row}: `--time_column` is empty, or no finite number.")
    return times


# ---------------------------------------------------------------------- files


def _stream_file(path: str, table_format: str) -> Iterator[Columns]:
    """The chunks of a table in a file, perhaps compressed, each with a row or more."""
    if Path(path).stat().st_size == 0:
        raise ValueError("the file is empty.")
    read = {"json": _stream_json, "csv": _stream_csv, "parquet": _stream_parquet}[table_format]
    try:
        yield from (chunk for chunk in read(path) if any(len(column) for column in chunk.values()))
    except pa.ArrowException as error:
        raise ValueError(f"not readable as {table_format}: {error}") from error


def _stream_json(path: str) -> Iterator[Columns]:
    """An object per line, or one list of objects. Values keep their types: that is why this is no job for Arrow."""
    with io.BufferedReader(pa.input_stream(path, compression="detect"), 1 << 20) as file:
        head = file.peek(1024).lstrip(b"\xef\xbb\xbf \t\r\n")
        if head.startswith(b"["):
            rows = _parsed(file.read(), "the file")
        else:
            lines = (line for line in file if line.strip())
            rows = (_parsed(line, f"row {number}") for number, line in enumerate(lines, 1))
        numbered = enumerate(rows, 1)
        while chunk := list(itertools.islice(numbered, ROWS_PER_CHUNK)):
            for number, row in chunk:
                if not isinstance(row, dict):
                    raise ValueError(f"row {number}: a row must be an object, got {shown(row)}.")
            names = dict.fromkeys(name for _, row in chunk for name in row)
            yield {name: [row.get(name, MISSING) for _, row in chunk] for name in names}


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not JSON: {error}") from error


def _stream_csv(path: str) -> Iterator[Columns]:
    """All values are texts, whatever the others of their column look like."""
    parse = csv.ParseOptions(newlines_in_values=True)
    read = csv.ReadOptions(block_size=CSV_BLOCK_BYTES)
    names = csv.open_csv(path, read, parse).schema.names
    if len(set(names)) < len(names):
        raise ValueError(f"a column is named twice: {shown(names)}.")
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False)
    for batch in csv.open_csv(path, read, parse, convert):
        yield _columns_of(pa.Table.from_batches([batch]))


def _stream_parquet(path: str) -> Iterator[Columns]:
    for batch in pq.ParquetFile(path).iter_batches(ROWS_PER_CHUNK):
        yield _columns_of(pa.Table.from_batches([batch]))


def _tables(data: Any) -> Iterator[Columns]:
    for table in data.with_format("arrow").iter(batch_size=ROWS_PER_CHUNK):
        if len(table):
            yield _columns_of(table)


def _columns_of(table: pa.Table) -> Columns:
    """The columns of a table; values that the `datasets` library keeps as JSON, as they were written."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        if isinstance(column.type, pa.JsonType):
            texts = column.cast(pa.string()).to_pylist()
            column = [None if text is None else json.loads(text) for text in texts]
        columns[name] = column
    return columns
