"""Cutting entries into windows and sessions, for whole logs and for logs that arrive in pieces."""

import time
from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe import LogParser, ParsedLog, SequenceCutter, SequenceRule
from logmoe.sequences_logmoe import Origin, count_windows, find_sessions, pad_sequences


def cut(log, max_sequence_length=8, **rule):
    """For each sequence the positions of its entries."""
    parser = LogParser()
    cutter = SequenceCutter(SequenceRule(max_sequence_length, **rule), parser)
    return [positions.tolist() for positions in cutter.cut(parser.parse(log))]


def test_windows_by_count():
    log = "\n".join("abcdefghij")
    assert cut(log) == [[0, 1, 2, 3, 4, 5, 6, 7], [8, 9]]
    assert cut(log, max_sequence_length=5) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert cut(log, max_sequence_length=4, stride=3) == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert cut("a", max_sequence_length=4, stride=1) == [[0]]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 10), st.integers(1, 10))
def test_windows_cover_every_entry_and_overlap_by_the_stride(entries, length, stride):
    stride = min(stride, length)
    sequences = cut("\n".join("x" * entries), max_sequence_length=length, stride=stride)
    assert {position for sequence in sequences for position in sequence} == set(range(entries))
    assert all(sequence == list(range(sequence[0], sequence[-1] + 1)) for sequence in sequences)
    assert all(len(sequence) == min(length, entries) for sequence in sequences[:-1])
    assert [sequence[0] for sequence in sequences] == list(range(0, len(sequences) * stride, stride))


def test_windows_by_time():
    log = "\n".join(f"2024-01-01 10:00:{second:02d} INFO x" for second in (1, 2, 9, 11, 12, 35)).replace(
        "INFO x\n2024-01-01 10:00:12", "INFO x\nno time here\n2024-01-01 10:00:12"
    )
    # Seconds 1, 2, 9 | 11, (no time), 12 | 35: windows of ten seconds from the first entry.
    assert cut(log, window_seconds=10) == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match="needs timestamps"):
        cut("a\nb", window_seconds=10)


def test_windows_by_time_that_are_too_long_are_cut_by_count():
    log = "\n".join(["2024-01-01 10:00:00 INFO x"] * 10)
    assert [len(s) for s in cut(log, window_seconds=60)] == [8, 2]


def test_sessions():
    log = "open blk_1\nopen blk_-2\nheartbeat\nwrite blk_1\nmove blk_1 blk_-2 blk_1\nheartbeat"
    expected = [[0, 3, 4], [1, 4], [2, 5]]
    assert cut(log, session_pattern=r"(blk_-?\d+)") == expected
    assert cut(log, session_pattern=r"blk_-?\d+") == expected
    with pytest.raises(ValueError, match="matches no entry"):
        cut(log, session_pattern="task_")
    # What tells matches apart is what the log has none of.
    marks = "".join(f"\ufdd0{number}\ufdd1" for number in (0, 1, 3))
    assert cut(f"task_7{marks} task_8\ntask_8 task_7", session_pattern=r"task_(\d)") == [[0, 1], [0, 1]]
    # Of several groups, the one that takes part; classes are ASCII, as in RE2.
    assert cut("blk_1\ntask_2\nplain\ntask_2", session_pattern=r"blk_(\d+)|task_(\d+)") == [[0], [1, 3], [2]]
    assert cut("a\n用户id_5 x\nid_5 y", session_pattern=r"\b(id_\d+)") == [[0], [1, 2]]


def test_entries_out_of_order_stay_in_their_window():
    log = "\n".join(f"2024-01-01 10:00:{second:02d} INFO x" for second in (1, 12, 2, 13, 3))
    assert cut(log, window_seconds=10) == [[0, 2, 4], [1, 3]]
    assert [len(s) for s in cut("\n".join(["x s1"] * 9), session_pattern=r"s\d")] == [8, 1]


# ---------------------------------------------------------------------- the rule


def test_rule_without_arguments_means_windows_of_32_that_do_not_overlap():
    assert SequenceRule() == SequenceRule(max_sequence_length=32, stride=32, window_seconds=None, session_pattern=None)


def test_rule_takes_integers_of_any_type():
    rule = SequenceRule(np.int64(4), stride=np.int32(2))
    assert (rule.max_sequence_length, rule.stride) == (4, 2)
    assert type(rule.max_sequence_length) is type(rule.stride) is int


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_sequence_length": 0},
        {"max_sequence_length": 2.5},
        {"max_sequence_length": True},
        {"max_sequence_length": "4"},
        {"stride": 0},
        {"stride": 9},
        {"stride": 1.5},
        {"window_seconds": 0},
        {"window_seconds": -1.0},
        {"window_seconds": "5"},
        {"window_seconds": float("nan")},
        {"window_seconds": float("inf")},
        {"window_seconds": 5, "session_pattern": "x"},
        {"session_pattern": "(unclosed"},
    ],
)
def test_rule_refuses_bad_values_and_names_the_field(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        SequenceRule(**{"max_sequence_length": 8} | arguments)


# ---------------------------------------------------------------------- the parts


def windows_and_rest(positions, rule, **state):
    windows, rest = count_windows(np.array(positions, dtype=np.int64), rule, **state)
    return [window.tolist() for window in windows], rest.tolist()


def test_count_windows_without_overlap():
    rule = SequenceRule(4)
    assert windows_and_rest([7, 8, 9, 11, 12, 15], rule)[0] == [[7, 8, 9, 11], [12, 15]]
    assert windows_and_rest([7, 8, 9, 11], rule) == ([[7, 8, 9, 11]], [])
    assert windows_and_rest([7], rule)[0] == [[7]]
    assert windows_and_rest([7], SequenceRule(4, stride=2))[0] == [[7]]
    assert windows_and_rest([], rule) == ([], [])


def test_count_windows_with_overlap():
    rule = SequenceRule(4, stride=3)
    # The last full window has all that is left: no window repeats its tail.
    assert windows_and_rest(range(10, 20), rule)[0] == [[10, 11, 12, 13], [13, 14, 15, 16], [16, 17, 18, 19]]
    # One entry more, and a shorter window takes it.
    assert windows_and_rest(range(10, 21), rule)[0][-1] == [19, 20]


def test_count_windows_of_an_open_group_leave_a_rest():
    assert windows_and_rest([7, 8, 9, 11, 12, 15], SequenceRule(4), is_closed=False) == ([[7, 8, 9, 11]], [12, 15])
    assert windows_and_rest([7, 8, 9], SequenceRule(4), is_closed=False) == ([], [7, 8, 9])
    overlapping = SequenceRule(4, stride=3)
    assert windows_and_rest([7, 8, 9, 11], overlapping, is_closed=False) == ([[7, 8, 9, 11]], [11])
    # When the group closes, 11 alone is in an earlier window already, unless there was none.
    assert windows_and_rest([11], overlapping, is_started=True)[0] == []
    assert windows_and_rest([11], overlapping, is_started=False)[0] == [[11]]
    assert windows_and_rest([11, 12], overlapping, is_started=True)[0] == [[11, 12]]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"blk_-?\d+", {"blk_1": [0, 3], "blk_-2": [1, 3], None: [2]}),
        (r"blk_(-?\d+)", {"1": [0, 3], "-2": [1, 3], None: [2]}),
        (r"(open) blk_-?\d+|blk_(-?\d+)", {"open": [0, 1], "1": [3], "-2": [3], None: [2]}),
        (r"blk_(\d+)?", {"1": [0, 3], "blk_": [1, 3], None: [2]}),  # the whole match where no group takes part
        ("task", {None: [0, 1, 2, 3]}),
    ],
)
def test_find_sessions(pattern, expected):
    parsed = LogParser().parse("open blk_1\nopen blk_-2\nheartbeat\nmove blk_1 blk_-2 blk_1")
    found = find_sessions(parsed, pattern)
    assert {name: positions.tolist() for name, positions in found.items()} == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a valid RE2"),
        (5, "must be a str, got int"),
        ("x" * 10_001, "at most 10000 characters"),
        ("(a)" * 10, "10 groups, more than 9"),
    ],
)
def test_find_sessions_refuses_a_pattern(pattern, message):
    with pytest.raises(ValueError, match=f"`session_pattern`.*{message}"):
        find_sessions(LogParser().parse("a 1"), pattern)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r"(?i)(J\d)|\(?(k\d)\)", {"j1": [0], "k2": [0], "J3": [1]}),
        (r"[(](?:k)(?P<of>\d)", {"2": [0], None: [1]}),
        (r"(?:j|J)\pN", {"j1": [0], "J3": [1]}),  # which Python's `re` cannot read
        (r"(x)?", {None: [0, 1]}),  # matches, but names nothing
    ],
)
def test_find_sessions_by_patterns_of_many_kinds(pattern, names):
    # The characters that mark matches on the way may stand in a log as well.
    parsed = LogParser().parse("j1 \ufdd00\ufdd1 (k2)\nJ3 \ufdd01\ufdd1")
    assert {name: at.tolist() for name, at in find_sessions(parsed, pattern).items()} == names


def test_find_sessions_takes_linear_time():
    """Python's `re` takes twice as long with each letter more."""
    start = time.perf_counter()
    found = find_sessions(LogParser().parse("job=7 " + "a" * 2000 + "!"), r"job=(\d+)|((?:a+)+b)")
    assert {name: at.tolist() for name, at in found.items()} == {"7": [0]}
    assert time.perf_counter() - start < 5


def test_pad_sequences():
    padded = pad_sequences([np.array([3, 1]), np.array([2]), np.array([0, 0, 4])])
    assert padded.tolist() == [[3, 1, -1], [2, -1, -1], [0, 0, 4]]
    assert padded.dtype == np.int64


# ---------------------------------------------------------------------- logs that arrive in pieces


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.integers(1, 6).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length))),
)
def test_a_log_in_pieces_is_cut_like_the_whole_log(sizes, length_and_stride):
    length, stride = length_and_stride
    parser = LogParser()
    total = sum(sizes)
    cutter = SequenceCutter(SequenceRule(length, stride), parser, max_waiting_entries=1000)
    found, start = [], 0
    for piece, size in enumerate(sizes):
        number = np.arange(start, start + size)
        text = pa.array([str(n) for n in number], pa.large_string())
        parsed = ParsedLog(text, number, number, np.zeros(size, dtype=np.int64), pa.array(["a"], pa.large_string()))
        log, sequences = cutter.push(parsed, piece == len(sizes) - 1)
        found += [log.first_line[positions].tolist() for positions in sequences]
        start += size
    if total:
        # The rule spelled out: a window every `stride` entries until one reaches the end.
        starts = range(0, max(total - length, 0) + stride, stride)
        assert found == [list(range(s, min(s + length, total))) for s in starts if s < total]
        assert found == [p.tolist() for p in cutter.cut(parser.parse(["a"] * total))]


def test_open_windows_are_given_out_when_the_log_ends_or_idles():
    parser = LogParser()
    cutter = SequenceCutter(SequenceRule(3), parser)
    log, sequences = cutter.push(parser.parse("a\nb"))
    assert sequences == []
    log, sequences = cutter.push(parser.parse("c\nd"))
    assert [log.text.take(pa.array(positions)).to_pylist() for positions in sequences] == [["a", "b", "c"]]
    log, sequences = cutter.push(parser.parse("e"), is_idle=True)
    assert [log.text.take(pa.array(positions)).to_pylist() for positions in sequences] == [["d", "e"]]
    log, sequences = cutter.push(parser.parse("f"), is_last=True)
    assert [log.text.take(pa.array(positions)).to_pylist() for positions in sequences] == [["f"]]


def in_pieces(pieces, rule, **arguments):
    """The texts of the sequences that each piece completes; the log ends with the last one."""
    parser = LogParser()
    cutter, found = SequenceCutter(rule, parser, **arguments), []
    for number, piece in enumerate(pieces, 1):
        entries = parser.parse(piece) if piece else parser.parse("a").take(np.arange(0))
        log, sequences = cutter.push(entries, is_last=number == len(pieces))
        found.append([log.text.take(pa.array(positions)).to_pylist() for positions in sequences])
    return found


def at(*seconds):
    return [f"2024-01-01 10:00:{second:06.3f} INFO x" for second in seconds]


def test_a_window_by_time_closes_when_the_next_but_one_begins():
    rule = SequenceRule(8, window_seconds=10)
    assert in_pieces([at(1), at(12), at(22), at(23)], rule) == [[], [], [at(1)], [at(12), at(22, 23)]]


def test_windows_by_time_may_be_shorter_than_a_second():
    rule = SequenceRule(8, window_seconds=0.5)
    assert in_pieces([at(0, 0.4, 0.6, 0.9)], rule) == [[at(0, 0.4), at(0.6, 0.9)]]
    assert in_pieces([at(0, 0.002)], SequenceRule(8, window_seconds=1e-3)) == [[at(0), at(0.002)]]


def test_an_entry_without_a_time_belongs_to_the_one_before_it_wherever_pieces_end():
    rule = SequenceRule(8, window_seconds=10)
    assert in_pieces([["a"], at(1, 15), ["b"]], rule) == [[], [], [["a", *at(1)], [*at(15), "b"]]]
    assert in_pieces([["a"], ["b"], at(1)], rule) == [[], [], [["a", "b", *at(1)]]]


def test_only_sessions_close_because_too_many_wait():
    pieces = [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert in_pieces(pieces, SequenceRule(4), max_waiting_entries=1) == [[], [], [], [["a", "b", "c", "d"]], [["e"]]]
    # Two entries may wait, and 2 KiB of text.
    sessions = SequenceRule(4, session_pattern=r"s\d")
    ends = ["s3", "s4"]
    for size, first in ((2048, []), (2049, [["s1"]])):
        two = [["s1"], ["s2" + "x" * (size - 4)]]
        assert in_pieces([*two, ends], sessions, max_waiting_entries=2)[1] == first


@pytest.mark.parametrize(
    "pieces", [["abcdef"], ["abcde", "f"], ["a", "bc", "def", ""], ["abcd", "ef"], ["abcdef", ""]]
)
def test_the_last_window_is_filled_with_entries_before_it(pieces):
    pieces = [list(piece) for piece in pieces]
    found = in_pieces(pieces, SequenceRule(4, fill_last=True))
    assert list(chain(*found)) == [list("abcd"), list("cdef")]
    # What is full, or all that there is, stays as it is.
    for text, length in (("abcd", 4), ("abcd", 2), ("abc", 4)):
        whole = in_pieces([list(text), []], SequenceRule(length, fill_last=True))
        assert list(chain(*whole)) == [list(text[at : at + length]) for at in range(0, len(text), length)]


def test_what_is_before_a_sequence_tells_of_stretches_of_one_log():
    of_windows = Origin("rules", "encoder", 32, None, None)
    assert [
        origin.has_past
        for origin in (
            of_windows,
            replace(of_windows, window_seconds=5.0),
            replace(of_windows, session_pattern="id"),
            replace(of_windows, is_separate=True),
        )
    ] == [True, True, False, False]
