"""Labelled data of every kind become the same compact logs; splits do not leak; batches keep the loss."""

import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from training_fixtures import make_logs, write_jsonl

from logmoe import LogMoEProcessor
from logmoe.training.arguments import DataArguments
from logmoe.training.batches import PADDING, DistinctLogs, LogCollator, SimilarLengthSampler, TrainingVisits
from logmoe.training.logs import LabelledLogs, LogStore, samples_in_words
from logmoe.training.sources import SourceReader, label_id
from logmoe.training.splits import Splits, read_splits, require_both_labels, split_facts, split_logs
from logmoe.training.trainer import most_anomalous_sequence


@pytest.fixture
def store(processor):
    return LogStore(processor)


def read(path, store, **arguments):
    return SourceReader(DataArguments(**arguments), store).read_files([str(path)])


def entries(store, index):
    texts = store.texts
    return [texts[row] for row in store.distinct_logs[index]]


def labelled(logs, labels, **columns):
    number = len(logs)
    place = np.arange(number)
    values = {"time": place.astype(float), "group": None, "first": place, "last": place} | columns
    return LabelledLogs(np.array(logs), np.array(labels, dtype=np.int8), **values)


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("label", "expected"), [(0, 0), (1.0, 1), (True, 1), ("正常", 0), ("异常", 1), ("Anomaly", 1), (" normal ", 0)]
)
def test_labels(label, expected):
    assert label_id(label) == expected


@pytest.mark.parametrize("label", ["", "abnormal", 2, None, float("nan")])
def test_unknown_labels_are_refused(label):
    with pytest.raises(ValueError, match="label"):
        label_id(label)


def test_one_label_may_mean_normal():
    assert [label_id(label, "-") for label in ("-", "KERNDTLB", " - ")] == [0, 1, 0]
    for nothing in (None, "", float("nan")):
        with pytest.raises(ValueError, match="label"):
            label_id(nothing, "-")


# ---------------------------------------------------------------------- many logs at once


TEXT = st.text(alphabet="ab1 \t\n\r", max_size=30) | st.sampled_from(
    [
        "Traceback (most recent call last):\n  File x\nValueError: b",
        "  a\n  b",
        "a\n\tat b\nCaused by: c\nb",
        "ERROR a",
    ]
)
LOG = TEXT | st.lists(st.text(alphabet="a1 \n", max_size=5), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(LOG, max_size=5))
def test_logs_parsed_together_are_parsed_as_alone(logs):
    processor = LogMoEProcessor(tiny_tokenizer())
    together, offsets = processor.parse_batch(logs)
    assert len(offsets) == len(logs) + 1
    for log, start, stop in zip(logs, offsets, offsets[1:], strict=False):
        if start == stop:
            with pytest.raises(ValueError, match="no log entries"):
                processor.parse(log)
            continue
        alone = processor.parse(log)
        assert together.text[start:stop].to_pylist() == alone.text.to_pylist()
        for name in ("first_line", "last_line"):
            assert getattr(together, name)[start:stop].tolist() == getattr(alone, name).tolist()
        masked = together.distinct.take(pa.array(together.entry_index[start:stop]))
        assert masked.to_pylist() == alone.distinct.take(pa.array(alone.entry_index)).to_pylist()


def test_equal_logs_are_kept_once(store):
    first = store.add_logs(["a 1\nb", ["c"], "a 22\nb", "a 1\nb"])
    assert first.tolist() == [0, 1, 0, 0]  # The second differs in a number only, which is masked.
    assert store.add_logs([["c"], "d"]).tolist() == [1, 2]
    assert entries(store, 0) == ["a <NUM>", "b"]
    with pytest.raises(ValueError, match="row 2: no log entries"):
        store.add_logs(["new", "\n \n"])


# ---------------------------------------------------------------------- sources


def test_jsonl_csv_and_parquet_are_read_alike(store, tmp_path):
    logs = make_logs(6)
    write_jsonl(tmp_path / "a.jsonl", logs, ("正常", "异常"))
    texts, labels = ["\n".join(words) for words, _ in logs], [label for _, label in logs]
    pq.write_table(pa.table({"log_sequence": texts, "label": labels}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": [words for words, _ in logs], "y": labels}), tmp_path / "lists.parquet")
    quoted = [f'"{text}",{label}' for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["log_sequence,label", *quoted]) + "\n")
    expected = read(tmp_path / "a.jsonl", store)
    assert expected.labels.tolist() == labels
    assert entries(store, expected.distinct_log[1]) == logs[1][0]
    for name in ("a.parquet", "a.csv"):
        other = read(tmp_path / name, store)
        assert other.distinct_log.tolist() == expected.distinct_log.tolist()
        assert other.labels.tolist() == labels
    lists = read(tmp_path / "lists.parquet", store, sequence_column="text", label_column="y")
    assert lists.distinct_log.tolist() == expected.distinct_log.tolist()


def test_several_files_and_patterns_follow_each_other(store, tmp_path):
    for name, seed in (("b", 1), ("a", 2)):
        write_jsonl(tmp_path / f"{name}.jsonl", make_logs(4, seed))
    both = read(tmp_path / "*.jsonl", store)
    reader = SourceReader(DataArguments(), store)
    named = reader.read_files([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    assert both.distinct_log.tolist() == named.distinct_log.tolist()
    assert both.time.tolist() == both.first.tolist() == list(range(8))
    with pytest.raises(FileNotFoundError, match=r"no such file: .*nothing\*"):
        read(tmp_path / "nothing*", store)


def test_time_and_group_columns(store, tmp_path):
    times = ["2024-01-02 10:00:00", "2024-01-01 10:00:00", "2024-01-03 10:00:00"]
    table = {"log_sequence": ["a", "b", "c"], "label": [0, 1, 0], "when": times, "node": ["x", "y", "x"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    logs = read(tmp_path / "a.parquet", store, time_column="when", group_column="node")
    assert logs.time.argsort().tolist() == [1, 0, 2]
    assert logs.group.tolist() == ["x", "y", "x"]
    pq.write_table(pa.table(table | {"when": ["soon", "b", "c"]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: .*--time_column"):
        read(tmp_path / "b.parquet", store, time_column="when")
    zones = [f"{time.replace(' ', 'T')}Z" for time in times]
    pq.write_table(pa.table(table | {"when": zones}), tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet", store, time_column="when").time.tolist() == logs.time.tolist()


def test_raw_text_whose_lines_begin_with_their_label(store, tmp_path):
    lines = ["- a"] * 7 + ["KERN b"] + ["- \tat c"] + ["- a"] * 9
    (tmp_path / "bgl.log").write_text("\n".join(lines) + "\n\n")
    logs = read(tmp_path / "bgl.log", store, line_label_pattern=r"^(?P<label>\S+) ", normal_label="-")
    # 17 entries, one with a continuation, in windows of 8; the label is taken out of the text.
    assert logs.labels.tolist() == [1, 0, 0]
    assert entries(store, logs.distinct_log[0]) == ["a"] * 7 + ["b at c"]
    assert [len(store.distinct_logs[index]) for index in logs.distinct_log] == [8, 8, 1]
    assert (logs.first.tolist(), logs.last.tolist()) == ([0, 8, 16], [7, 15, 16])
    overlapping = read(tmp_path / "bgl.log", store, line_label_pattern=r"^(?P<label>\S+) ", normal_label="-", stride=4)
    assert overlapping.labels.tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"bgl\.log: row 1: .*finds no label"):
        read(tmp_path / "bgl.log", store, line_label_pattern=r"^(?P<label>\d+) ")
    with pytest.raises(ValueError, match="without labels"):
        read(tmp_path / "bgl.log", store)


def test_raw_text_may_begin_with_a_mark_and_hold_any_byte(store, tmp_path, caplog):
    (tmp_path / "odd.log").write_bytes(b"\xef\xbb\xbf- a \xff\n- b\nKERN c\n")
    label = {"line_label_pattern": r"^(?P<label>\S+) ", "normal_label": "-"}
    logs = read(tmp_path / "odd.log", store, **label)
    assert logs.labels.tolist() == [1]
    assert entries(store, logs.distinct_log[0]) == ["a \ufffd", "b", "c"]
    assert "1 bytes are not UTF-8" in caplog.text
    (tmp_path / "odd.log.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ValueError, match="decompress"):
        read(tmp_path / "odd.log.gz", store, **label)


def test_labelled_lines_are_cut_by_time(store, tmp_path):
    seconds = range(0, 80, 5)
    lines = [f"{'X' if time == 65 else '-'} 2024-01-01 10:{time // 60:02}:{time % 60:02} a" for time in seconds]
    (tmp_path / "a.log").write_text("\n".join(lines))
    label = {"line_label_pattern": r"^(?P<label>\S+) ", "normal_label": "-"}
    logs = read(tmp_path / "a.log", store, window_seconds=30, **label)
    assert [len(store.distinct_logs[index]) for index in logs.distinct_log] == [6, 6, 4]
    assert logs.labels.tolist() == [0, 0, 1]


def test_lines_of_no_session_are_cut_by_count(store, tmp_path):
    lines = ["- no session"] * 9 + ["- a s1", "X b s2"] * 6
    (tmp_path / "mixed.log").write_text("\n".join(lines))
    label = {"line_label_pattern": r"^(?P<label>\S+) ", "normal_label": "-"}
    logs = read(tmp_path / "mixed.log", store, session_pattern=r"s\d", **label)
    assert [len(store.distinct_logs[index]) for index in logs.distinct_log] == [8, 1, 6, 6]
    assert logs.labels.tolist() == [0, 0, 0, 1]


def test_options_without_effect_are_refused(store, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", make_logs(2))
    (tmp_path / "a.log").write_text("- a\n")
    for name, option in (
        ("a.jsonl", {"stride": 4}),
        ("a.jsonl", {"window_seconds": 1.0}),
        ("a.log", {"time_column": "t"}),
    ):
        with pytest.raises(ValueError, match=f"--{next(iter(option))}` has no effect"):
            read(tmp_path / name, store, **option)


def test_a_row_per_line_in_groups(store, tmp_path):
    table = {"line": ["a", "b", "\tat c", "d", "e"], "label": [0, 0, 1, 0, 0], "node": ["x", "y", "y", "x", "z"]}
    pq.write_table(pa.table(table), tmp_path / "lines.parquet")
    logs = read(tmp_path / "lines.parquet", store, group_column="node")
    assert [entries(store, index) for index in logs.distinct_log] == [["a", "d"], ["b at c"], ["e"]]
    assert logs.labels.tolist() == [0, 1, 0]
    assert logs.group.tolist() == ["x", "y", "z"]


def test_sessions_with_a_table_of_labels(store, tmp_path):
    lines = [f"a blk_{row % 3}" for row in range(30)] + ["no session", "b blk_2"]
    (tmp_path / "hdfs.log").write_text("\n".join(lines))
    (tmp_path / "labels.csv").write_text("BlockId,Label\nblk_0,Normal\nblk_1,Normal\nblk_2,Anomaly\n")
    session = {"session_pattern": r"blk_\d+", "session_labels_file": str(tmp_path / "labels.csv")}
    logs = read(tmp_path / "hdfs.log", store, **session)
    # Whole sessions, longer than the eight entries of a sequence; the line without a session has no label.
    assert [len(store.distinct_logs[index]) for index in logs.distinct_log] == [10, 10, 11]
    assert logs.labels.tolist() == [0, 0, 1]
    (tmp_path / "labels.csv").write_text("BlockId,Label\nblk_0,Normal\n")
    with pytest.raises(ValueError, match="2 of 3 sessions have no label"):
        read(tmp_path / "hdfs.log", store, **session)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_by_name(store, tmp_path, streaming):
    for split, seed in (("train", 0), ("test", 1)):
        write_jsonl(tmp_path / f"{split}.jsonl", make_logs(4, seed))
    reader = SourceReader(DataArguments(streaming=streaming), store)
    assert len(reader.read_dataset(str(tmp_path), None, "test")) == 4
    with pytest.raises(ValueError, match="split validation"):
        reader.read_dataset(str(tmp_path), None, "validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"log": "a", "label": 0}\n', "the columns ['log_sequence'] are missing; there are ['log', 'label']"),
        ('{"log_sequence": "a"}\n', "the columns ['label'] are missing"),
        ('{"log_sequence": "a", "label": "odd"}\n', "row 1: A label must be one of"),
        ('{"log_sequence": "a", "label": 0}\n{"log_sequence": "", "label": 0}\n', "row 2: no log entries"),
        (
            '{"log_sequence": null, "label": 0}\n{"log_sequence": "a", "label": 0}\n',
            "row 1: 'log_sequence' must hold a text",
        ),
        ('{"log_sequence": 5, "label": 0}\n', "row 1: 'log_sequence' must hold a text"),
        ('{"log_sequence": [5], "label": 0}\n', "must hold a text or a list of texts, its entries; got [5]"),
        ("", "the file is empty"),
        ("{broken", "row 1 is not JSON"),
        ("[" * 100_000, "the file is not JSON"),
        ("[1]", "row 1: a row must be an object, got 1"),
    ],
)
def test_bad_files_are_named(store, tmp_path, content, message):
    (tmp_path / "bad.jsonl").write_text(content)
    with pytest.raises(ValueError, match=rf"bad\.jsonl: .*{re.escape(message)}"):
        read(tmp_path / "bad.jsonl", store)


GOOD = [{"log_sequence": "info start\nerror step", "label": "anomaly" if row % 3 else "normal"} for row in range(60)]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_as_dataset(path, store):
    return SourceReader(DataArguments(), store).read_dataset(str(path.parent), None, "train")


@pytest.mark.parametrize("at", [0, 60])
@pytest.mark.parametrize("source", ["file", "list", "data set"])
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"log_sequence": 5}, "'log_sequence' must hold a text or a list of texts, its entries; got 5"),
        ({"log_sequence": {"a": 1}}, "got {'a': 1}"),
        ({"log_sequence": ["x", None]}, r"got \['x', None\]"),
        ({"log_sequence": ["x", ["y"]]}, r"got \['x', \['y'\]\]"),
        ({"log_sequence": None}, "got None"),
        ({"label": 1}, "the label .*, but .* in row .*: write all labels as numbers or all as words"),
        ({"label": 2}, "A label must be one of .* got 2"),
        ({"label": None}, "A label must be one of .* got None"),
        ({"label": ["normal"]}, r"A label must be one of .* got \['normal'\]"),
        ({"label": "\x1b[31modd\n" + "x" * 500}, r"got '\\x1b\[31modd\\nx*…"),
    ],
)
def test_a_row_of_another_type_is_named_and_changes_no_other(store, tmp_path, source, bad, said, at):
    rows = [*GOOD[:at], GOOD[0] | {"log_sequence": "x", "label": "normal"} | bad, *GOOD[at:]]
    path = write_rows(tmp_path / "train.jsonl", rows)
    if source == "list":
        path.unlink()
        path = tmp_path / "train.json"
        path.write_text(json.dumps(rows))
    # Where a label is beside one of another kind, which of the two rows is wrong cannot be known.
    row = at + 1 if "two" not in said and "write all" not in said else r"\d+"
    with pytest.raises(ValueError, match=rf"(?s)row {row}: .*{said}") as error:
        (read_as_dataset if source == "data set" else read)(path, store)
    assert "\x1b" not in str(error.value)
    assert ("data set" if source == "data set" else str(path)) in str(error.value)


@pytest.mark.parametrize("source", ["file", "data set"])
def test_texts_and_lists_may_be_mixed(store, tmp_path, source):
    path = write_rows(tmp_path / "train.jsonl", [*GOOD, {"log_sequence": ["x", "y\nz"], "label": "normal"}, *GOOD])
    logs = (read_as_dataset if source == "data set" else read)(path, store)
    assert [len(store.distinct_logs[index]) for index in logs.distinct_log] == [2] * 121
    assert entries(store, logs.distinct_log[60]) == ["x", "y z"]


def test_a_data_set_that_changes_its_types_late_is_read_right(store, tmp_path):
    """The library looks for other types chunk by chunk, and each has ten megabytes."""
    long = [{"log_sequence": "info a\n" * 15_000, "label": 0}] * 110
    rows = [*long, {"log_sequence": ["x"], "label": 1}, *long[:2]]
    logs = read_as_dataset(write_rows(tmp_path / "train.jsonl", rows), store)
    lengths = [len(store.distinct_logs[index]) for index in logs.distinct_log]
    assert lengths == [15_000] * 110 + [1] + [15_000] * 2


def test_values_of_csv_are_texts_whatever_they_look_like(store, tmp_path):
    (tmp_path / "t.csv").write_text('label,log_sequence\n0,5\n1,NA\n0,null\n1,"a\nb"\n0,1e5\n1,true\n')
    logs = read(tmp_path / "t.csv", store)
    assert [entries(store, index) for index in logs.distinct_log] == [
        *(["<NUM>"], ["NA"], ["null"], ["a", "b"], ["<NUM>"], ["true"])
    ]
    for text, said in (("0,a\nnormal,b\n", "row 2: .*'normal'.*'0' in row 1"), ("0,a\n,b\n", "row 2: .* got ''")):
        (tmp_path / "t.csv").write_text("label,log_sequence\n" + text)
        with pytest.raises(ValueError, match=f"t.csv: {said}"):
            read(tmp_path / "t.csv", store)


def test_columns_of_parquet_that_are_no_text(store, tmp_path):
    for values, said in (([1, 2], "holds int64: it must hold a text"), (["a", None], "row 2: .*; got None")):
        pq.write_table(pa.table({"log_sequence": values, "label": [0, 1]}), tmp_path / "t.parquet")
        with pytest.raises(ValueError, match=rf"t\.parquet: .*{said}"):
            read(tmp_path / "t.parquet", store)
    pq.write_table(pa.table({"log_sequence": ["a", "b"], "label": [0.0, float("nan")]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="row 2: A label must be one of .* got nan"):
        read(tmp_path / "t.parquet", store)


def test_lines_and_times_of_other_types(store, tmp_path):
    rows = [{"line": f"a{row}", "label": 0, "at": row} for row in range(3)]
    for bad, said in (
        ({"line": 5}, "row 4: 'line' must hold a text; got 5"),
        ({"line": ["a"]}, "row 4: 'line' must hold a text; got"),
        ({"line": None}, "row 4: 'line' must hold a text; got None"),
        ({"at": "2024-01-01"}, "row 4: `--time_column` must not mix"),
        ({"at": float("nan")}, "row 4: `--time_column` is empty, or no finite number"),
        ({"at": None}, "row 4: `--time_column` must hold a number or an ISO 8601 time, got None"),
    ):
        path = write_rows(tmp_path / "t.jsonl", [*rows, rows[0] | bad])
        with pytest.raises(ValueError, match=re.escape(said)):
            read(path, store, time_column="at")


def test_labels_of_lines_and_sessions_are_of_one_kind(store, tmp_path):
    (tmp_path / "t.log").write_text("normal a\n1 b\n")
    with pytest.raises(ValueError, match=r"t\.log: row 2: the label '1', but 'normal' in row 1"):
        read(tmp_path / "t.log", store, line_label_pattern=r"^(?P<label>\w+) ")
    session = {"session_pattern": r"blk_\d+", "session_labels_file": str(tmp_path / "labels.csv")}
    (tmp_path / "t.log").write_text("a blk_1\nb blk_2\n")
    for more, said in (("blk_1,Anomaly", "the session 'blk_1' has two labels"), ("blk_3,2", "A label must be one of")):
        (tmp_path / "labels.csv").write_text(f"BlockId,Label\nblk_1,Normal\nblk_2,Anomaly\n{more}\n")
        with pytest.raises(ValueError, match=rf"labels\.csv: row 3: {said}"):
            read(tmp_path / "t.log", store, **session)


# ---------------------------------------------------------------------- splits


def test_a_chronological_split_goes_by_time_and_leaves_an_embargo():
    times = np.random.default_rng(0).permutation(100).astype(float)
    logs = labelled(np.arange(100), np.arange(100) % 2, time=times)
    splits = split_logs(logs, {"validation": 0.1, "test": 0.2}, embargo=3)
    assert {name: len(logs) for name, logs in splits.items()} == {"train": 67, "validation": 7, "test": 20}
    assert splits.embargoed == 6
    assert splits["train"].time.tolist() == list(range(67))
    assert splits["validation"].time.tolist() == list(range(70, 77))
    assert splits["test"].time.tolist() == list(range(80, 100))
    assert split_logs(logs, {"test": 0.2}).embargoed == 1  # By default 1% of the logs.


def test_windows_that_share_lines_are_never_in_two_splits():
    first = np.arange(0, 100, 2)
    logs = labelled(np.arange(50), np.zeros(50), first=first, last=first + 7)
    splits = split_logs(logs, {"validation": 0.2, "test": 0.2}, embargo=0)
    assert splits.embargoed == 6
    assert splits["train"].last.max() < splits["validation"].first.min()
    assert splits["validation"].last.max() < splits["test"].first.min()


def test_windows_of_interleaved_logs_are_split_by_time(store, tmp_path):
    table = {"line": [f"word{'x' * row}" for row in range(40)], "label": [0, 1] * 20, "node": ["x", "y"] * 20}
    pq.write_table(pa.table(table | {"when": list(range(40))}), tmp_path / "lines.parquet")
    for arguments in ({}, {"time_column": "when"}):
        logs = read(tmp_path / "lines.parquet", store, group_column="node", stride=4, **arguments)
        assert logs.time.tolist() == [0, 8, 16, 24, 1, 9, 17, 25]
        splits = split_logs(logs, {"test": 0.5}, embargo=0)
        assert splits["test"].time.tolist() == [16, 17, 24, 25]
        assert splits["train"].time.tolist() == [0, 1]  # Those at 8 and 9 reach into the test's lines.
    backwards = pa.table(table | {"when": list(range(40))[::-1]})
    pq.write_table(backwards, tmp_path / "backwards.parquet")
    logs = read(tmp_path / "backwards.parquet", store, group_column="node", time_column="when")
    assert logs.time.tolist() == [39, 23, 7, 38, 22, 6]
    with pytest.raises(ValueError, match=r"columns \['missing'\] are missing"):
        read(tmp_path / "lines.parquet", store, time_column="missing")


def test_overlapping_windows_are_not_split_at_random():
    first = np.arange(0, 100, 2)
    logs = labelled(np.arange(50), np.zeros(50), first=first, last=first + 7)
    with pytest.raises(ValueError, match="share lines"):
        split_logs(logs, {"test": 0.2}, "random")


def test_random_and_group_splits():
    groups = np.array([f"g{row % 7}" for row in range(70)], dtype=object)
    logs = labelled(np.arange(70), np.arange(70) % 2, group=groups)
    splits = split_logs(logs, {"validation": 0.2, "test": 0.2}, "group", seed=1)
    names = [set(split.group) for split in splits.values()]
    assert set().union(*names) == set(groups)
    assert sum(map(len, names)) == 7
    randomly, again = (split_logs(logs, {"test": 0.2}, "random", seed=1) for _ in range(2))
    assert sorted([*randomly["train"].distinct_log, *randomly["test"].distinct_log]) == list(range(70))
    assert randomly["test"].distinct_log.tolist() == again["test"].distinct_log.tolist()
    for bad, message in (
        ({"how": "group"}, "--group_column"),
        ({"how": "odd"}, "must be chronological"),
        ({"shares": {"test": 1.0}}, "leave something"),
        ({"embargo": 60}, "No train logs are left"),
        ({"embargo": -1}, "--embargo"),
        ({"embargo": 1, "how": "random"}, "--embargo"),
    ):
        arguments = {"shares": {"test": 0.2}} | bad
        with pytest.raises(ValueError, match=message):
            split_logs(labelled(np.arange(70), np.zeros(70)), **arguments)


@pytest.mark.parametrize("how", ["chronological", "random", "group"])
def test_a_split_has_one_log_or_group_at_least(how):
    logs = labelled(np.arange(3), np.arange(3), group=np.array(list("abc"), dtype=object))
    splits = split_logs(logs, {"validation": 0.01, "test": 0.01}, how)
    assert [len(split) for split in splits.values()] == [1, 1, 1]
    for number in (1, 2):
        with pytest.raises(ValueError, match="too few to split off"):
            split_logs(logs.take(np.arange(number)), {"validation": 0.01, "test": 0.01}, how)


def test_data_come_from_a_file_or_a_data_set(store, tmp_path):
    path = str(write_rows(tmp_path / "t.jsonl", [{"log_sequence": word, "label": 0} for word in "abcde"]))
    splits = read_splits(DataArguments(train_file=[path], test_file=[path], validation_share=0.2), store)
    assert {name: len(logs) for name, logs in splits.items()} == {"train": 4, "validation": 1, "test": 5}
    for wrong in ({}, {"train_file": [path], "dataset_name": "org/logs"}):
        with pytest.raises(ValueError, match="Give either `--train_file` or `--dataset_name`"):
            read_splits(DataArguments(**wrong), store)


def test_the_digest_of_a_split_changes_with_its_logs_their_labels_and_their_order(store):
    store.add_logs(["a", "b", "c\na"])
    logs = [([0, 1], [0, 1]), ([1, 0], [0, 1]), ([0, 1], [1, 1]), ([0, 2], [0, 1]), ([0, 1, 1], [0, 1, 1])]
    digests = [split_facts(Splits({"train": labelled(*each)}), store)["train"]["digest"] for each in logs]
    assert len(set(digests)) == len(logs)


def test_facts_and_unseen_logs(store):
    store.add_logs(["a", "b", "c\na", "a\nb\nc\nd\ne\nfatal\ninfo\nwarn\nerror"])
    splits = Splits({"train": labelled([0, 0, 1], [0, 0, 1]), "test": labelled([0, 2, 3], [0, 0, 1])}, embargoed=2)
    assert splits.unseen("test").tolist() == [False, True, True]
    facts = split_facts(splits, store)
    assert (facts["embargoed_logs"], facts["train"]["distinct_logs"], facts["train"]["entries"]) == (2, 2, 3)
    assert facts["test"]["logs_seen_in_training"] == 1
    assert facts["test"]["anomalous_logs_unseen_in_training"] == 1
    assert facts["test"]["longer_than_a_sequence"] == 1
    json.dumps(facts)


def test_what_was_read_is_shown(store, tmp_path):
    rows = [("info a\nerror \x1b[31mb \u202e", "normal"), ("fatal " + "c" * 500, "anomaly"), (["d"] * 9, "normal")]
    path = write_rows(tmp_path / "t.jsonl", [{"log_sequence": text, "label": label} for text, label in rows])
    shown = samples_in_words(read(path, store), store)
    assert shown.splitlines()[0] == "read as 3 logs of 12 entries, 2 normal and 1 anomaly; for example, masked:"
    assert [line.split(": ")[0] for line in shown.splitlines()[1:]] == [
        *("  log 1, normal, 2 entries", "  log 2, anomaly, 1 entry", "  log 3, normal, 9 entries")
    ]
    assert not set(shown) & {"\x1b", "\u202e"}
    assert max(map(len, shown.splitlines())) < 200


def test_splits_of_one_label_are_refused():
    both, normal = labelled([0, 1], [0, 1]), labelled([0, 1], [0, 0])
    require_both_labels(Splits({"train": both, "test": both}))
    with pytest.raises(ValueError, match="The test split has one label only"):
        require_both_labels(Splits({"train": both, "test": normal}))
    with pytest.raises(ValueError, match="The data have one label only"):
        require_both_labels(Splits({"train": normal, "test": normal}))


# ---------------------------------------------------------------------- batches


def visits_of(logs, store, **arguments):
    return TrainingVisits(logs, store, DataArguments(**arguments))


def batch_of(dataset, collator, rows=None):
    return collator([dataset[row] for row in (range(len(dataset)) if rows is None else rows)])


def weighted_loss(model, batch):
    logits = model(entry_embeds=batch["entry_embeds"], entry_mask=batch["entry_mask"]).logits
    logits = most_anomalous_sequence(logits, batch["log_index"], len(batch["labels"]))
    losses = F.cross_entropy(logits, batch["labels"], reduction="none")
    return (losses * batch["weights"]).mean()


def test_collapsed_logs_have_the_loss_and_gradient_of_all_logs(store):
    model = make_model()
    store.add_logs(["a", "b\nc", "d\na\nb", "\n".join("abcde" * 3)])
    generator = np.random.default_rng(0)
    logs = labelled(generator.choice(4, 200, p=[0.8, 0.1, 0.05, 0.05]), generator.integers(0, 2, 200))
    collator = LogCollator(store.processor, 8, embeds=torch.randn(len(store.texts), 32))
    everything = visits_of(logs, store, collapse=False)
    collapsed = visits_of(logs, store)
    assert (len(everything), collapsed.num_distinct) == (200, 8)
    assert len(collapsed) <= 2 * collapsed.num_distinct
    assert collapsed.weights.mean() == pytest.approx(1)
    gradients = []
    for visits in (everything, collapsed):
        model.zero_grad()
        loss = weighted_loss(model, batch_of(visits, collator))
        loss.backward()
        gradients.append((loss.detach(), model.classification_head.classifier.weight.grad.clone()))
    for whole, once in zip(*gradients, strict=True):
        torch.testing.assert_close(once, whole, atol=1e-5, rtol=1e-5)


def test_weights_of_anomalies_and_of_repeats(store):
    store.add_logs(["a", "b"])
    logs = labelled([0] * 9 + [1], [0] * 9 + [1])
    balanced = {"anomaly_weight": "balanced"}
    for weights in ({"anomaly_weight": "9"}, balanced, balanced | {"repeat_power": 0.5}):
        visits = visits_of(logs, store, **weights)
        by_label = [visits.weights[visits.pairs % 2 == label].sum() for label in (0, 1)]
        assert by_label[0] == pytest.approx(by_label[1])
    assert visits_of(logs, store, repeat_power=0.0).weights.tolist() == [1.0, 1.0]


def test_logs_longer_than_a_sequence_are_cut_as_the_pipeline_cuts_them(pipe):
    store = LogStore(pipe.processor)
    texts = ["a\nb", "\n".join("abcdeabcdeabcdeabcde"), "fatal"]
    store.add_logs(texts)
    token_ids, _ = pipe.processor.tokenize(store.texts)
    dataset = DistinctLogs(labelled([0, 1, 2], [0, 1, 0]), store)
    compact = batch_of(dataset, LogCollator(pipe.processor, 8, token_ids=token_ids))
    assert next(iter(compact)) == "labels"
    assert compact["log_index"].tolist() == [0, 0, 0, 1, 2]  # The longest first.
    embedded = batch_of(dataset, LogCollator(pipe.processor, 8, embeds=pipe.predictor.encode(token_ids)))
    logits = []
    for batch in (compact, embedded):
        inputs = {name: batch[name] for name in batch if name not in ("labels", "weights", "log_index")}
        of_sequences = pipe.model(**inputs).logits
        logits.append(dataset.expand(most_anomalous_sequence(of_sequences, batch["log_index"], 3).detach().numpy()))
    np.testing.assert_allclose(*logits, atol=1e-5)
    np.testing.assert_allclose(logits[0], [result["logits"] for result in pipe(texts)], atol=1e-5)


def test_the_order_of_an_epoch(store):
    store.add_logs(["\n".join(["info"] * (row % 7) + [f"word{'x' * row}"]) for row in range(53)])
    visits = visits_of(labelled(np.arange(53), np.arange(53) % 2), store)
    sampler = SimilarLengthSampler(visits, batch_size=8, seed=3)
    order = list(sampler)
    assert len(order) == len(sampler) == 56
    assert sorted(order)[3:] == list(range(53))
    assert order[-3:] == [PADDING] * 3
    assert visits[PADDING]["weights"] == 0.0
    again = SimilarLengthSampler(visits, batch_size=8, seed=3)
    assert list(again) == order
    again.set_epoch(1)
    assert list(again) != order
    spread = [np.ptp(visits.lengths[order[start : start + 8]]) for start in range(0, 48, 8)]
    assert np.mean(spread) < np.ptp(visits.lengths) / 2


def test_jitter_moves_entries_a_little_and_repeatably(store):
    store.add_logs(["\n".join(f"word{'x' * row}" for row in range(20))])
    visits = visits_of(labelled([0], [0]), store, order_jitter=2)
    moved = visits[0]["rows"]
    assert sorted(moved) == list(range(20))
    assert moved.tolist() == visits[0]["rows"].tolist() != list(range(20))
    assert np.abs(moved - np.arange(20)).max() <= 2
    visits.epoch = 1
    assert visits[0]["rows"].tolist() != moved.tolist()


def test_damage_inside_a_file_is_told_with_its_name(store, tmp_path):
    """Arrow says of some damage only what it is."""
    whole = gzip.compress(json.dumps({"log_sequence": "a", "label": 0}).encode() * 9)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    pq.write_table(pa.table({"log_sequence": ["a"], "label": [0]}), tmp_path / "cut.parquet")
    parquet = bytearray((tmp_path / "cut.parquet").read_bytes())
    footer = int.from_bytes(parquet[-8:-4], "little")
    parquet[-8 - footer : -8] = b"\xff" * footer
    (tmp_path / "cut.parquet").write_bytes(parquet)
    for name in ("cut.jsonl.gz", "cut.parquet"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name, store)
