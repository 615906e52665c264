"""Lines become entries, entries are masked and equal ones found, in memory and in chunks."""

import io
import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmoe import LogParser, parsing_logmoe, reading_logmoe
from logmoe.parsing_logmoe import EntryStream, is_in_memory
from logmoe.reading_logmoe import Chunk, LogReader
from logmoe.terminal_logmoe import visible


@pytest.fixture
def parser():
    return LogParser()


# ---------------------------------------------------------------------- entries


def texts(parsed):
    return parsed.text.to_pylist()


def test_parser_needs_no_tokenizer():
    """Known answers for every column of a parsed log, from the parser alone."""
    parsed = LogParser().parse("2024-01-01 10:00:00 ERROR took 12 ms\n\tat 10.0.0.1\n\nb 7\nb 8\n")
    assert len(parsed) == 3
    assert texts(parsed) == ["2024-01-01 10:00:00 ERROR took 12 ms\n\tat 10.0.0.1", "b 7", "b 8"]
    assert parsed.first_line.tolist() == [1, 4, 5]
    assert parsed.last_line.tolist() == [2, 4, 5]
    assert parsed.distinct.to_pylist() == ["<TIME> ERROR took <DURATION> at <IP>", "b <NUM>"]
    assert parsed.entry_index.tolist() == [0, 1, 1]
    assert parsed.replaced_bytes == 0


def test_logs_parsed_together_equal_each_parsed_alone(parser):
    logs = ["a 1\n\tat x", ["b 2", "", "a 3"], "\n", b"a 4\nbad \xff"]
    together, offsets = parser.parse_batch(logs)
    assert offsets.tolist() == [0, 1, 3, 3, 5]
    assert together.distinct.to_pylist() == ["a <NUM> at x", "b <NUM>", "a <NUM>", "bad \ufffd"]
    assert together.replaced_bytes == 1
    for number in (0, 1, 3):
        alone, part = parser.parse(logs[number]), together.take(np.arange(offsets[number], offsets[number + 1]))
        assert texts(part) == texts(alone)
        assert part.first_line.tolist() == alone.first_line.tolist()
        assert part.last_line.tolist() == alone.last_line.tolist()
        masked = [parsed.distinct.take(pa.array(parsed.entry_index)).to_pylist() for parsed in (part, alone)]
        assert masked[0] == masked[1]


@pytest.mark.parametrize("closed", ["<Event>a</Event>", "<Event>", "Log Name: a"])
def test_a_block_does_not_depend_on_what_was_parsed_before_it(parser, closed):
    event = "<Event>\nb\n</Event>" if closed[0] == "<" else "Log Name: b\nc"
    _, offsets = parser.parse_batch([closed, event])
    assert offsets.tolist() == [0, 1, 2]
    if closed != "Log Name: a" and closed != "<Event>":  # in one log: that event has ended
        assert texts(parser.parse(f"{closed}\n{event}")) == [closed, event]


def test_a_log_followed_by_another(parser):
    both = parser.parse("a 1\nb") + parser.parse("b\na 2\nc")
    assert texts(both) == ["a 1", "b", "b", "a 2", "c"]
    assert both.distinct.to_pylist() == ["a <NUM>", "b", "c"]
    assert both.entry_index.tolist() == [0, 1, 1, 0, 2]
    assert both.first_line.tolist() == [1, 2, 1, 2, 3]
    assert both.seconds is None


def test_a_log_followed_by_another_keeps_what_both_know(parser):
    logs = [parser.parse(text) for text in ("a\nb", "c")]
    for log in logs:
        log.seconds, log.number = np.arange(len(log)) + 0.5, np.arange(len(log))
    both = logs[0] + logs[1]
    assert (both.seconds.tolist(), both.number.tolist()) == ([0.5, 1.5, 0.5], [0, 1, 0])
    assert (both.time, both.severity) == (None, None)
    # A transport's time and severity stay, beside entries that have none.
    from_transport, plain = parser.parse("<11>Oct 11 22:14:15 host app[1]: a"), logs[1]
    for pair in ((from_transport, plain), (plain, from_transport)):
        known = [log is from_transport for log in pair]
        both = pair[0] + pair[1]
        assert (both.severity >= 0).tolist() == both.time.is_valid().to_pylist() == known
    for one in (0, 1):  # What one of them lacks, both do.
        part = [log.take(np.arange(len(log))) for log in logs]
        part[one].seconds = None
        both = part[0] + part[1]
        assert both.seconds is None
        assert both.number.tolist() == [0, 1, 0]


def test_stack_trace_is_one_entry_and_line_numbers_are_physical(parser):
    log = (
        "\n2024-01-01 10:00:00 INFO a\r\n\r\n2024-01-01 10:00:01 ERROR b\r\n\tat x\n\n  at y\nCaused by: z\n"
        "\t... 3 more\n   \nlast"
    )
    parsed = parser.parse(log)
    assert texts(parsed) == [
        "2024-01-01 10:00:00 INFO a",
        "2024-01-01 10:00:01 ERROR b\n\tat x\n  at y\nCaused by: z\n\t... 3 more",
        "last",
    ]
    assert parsed.first_line.tolist() == [2, 4, 11]
    assert parsed.last_line.tolist() == [2, 9, 11]


def test_indented_line_with_a_timestamp_starts_an_entry(parser):
    parsed = parser.parse("    2024-01-01 10:00:00 INFO a\n    2024-01-01 10:00:01 INFO b\n        detail")
    assert len(parsed) == 2


def test_indented_lines_starting_with_a_time_or_severity_start_entries(parser):
    log = "x\n  INFO a\n  [ERROR] b\n    more of b\n  2024-01-01 10:11:12 c\n  WARN: d\n\t error = 1"
    assert [len(text.split("\n")) for text in texts(parser.parse(log))] == [1, 1, 2, 1, 2]


def test_indentation_shared_by_all_lines_is_ignored(parser):
    assert len(parser.parse("   a\n   b\n     more of b\n   c")) == 3


def test_consecutive_exceptions_are_separate_entries(parser):
    java = "java.io.IOException: disk failed\n\tat a.b.C.d(C.java:1)\n"
    assert len(parser.parse(java * 3)) == 3
    assert len(parser.parse("ConnectionError: host a\n" * 3)) == 3
    assert len(parser.parse(f"2024-01-01 10:00:00 ERROR x\n{java}2024-01-01 10:00:01 INFO y")) == 2


def test_closing_brackets_belong_to_their_object(parser):
    assert texts(parser.parse('{\n  "a": 1\n}\n{\n  "a": 2\n},\nb')) == ['{\n  "a": 1\n}', '{\n  "a": 2\n},', "b"]


def test_byte_order_marks(parser):
    plain = parser.parse("2024-01-01 错误\nb")
    for data in (b"\xef\xbb\xbf" + "2024-01-01 错误\nb".encode(), "2024-01-01 错误\nb".encode("utf-16")):
        marked = parser.parse(data)
        assert texts(marked) == texts(plain)
        assert marked.replaced_bytes == 0
    assert texts(parser.parse("\ufeffa")) == ["a"]


@pytest.mark.parametrize("blank", ["\u3000", "\u00a0 ", "\x1b[0m\x1b[1m", "\ufeff", "\u200b"])
def test_blank_lines_in_any_script_are_skipped(parser, blank):
    with pytest.raises(ValueError, match="no log entries"):
        parser.parse(f"{blank}\n")
    assert texts(parser.parse(f"{blank}\na")) == ["a"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b]0;title\x07error", "error"),
        ("\x1b]0;title error", "0;title error"),
        ("\x1b]8;;http://x.example\x1b\\error\x1b]8;;\x1b\\", "error"),
        ("\x1b[31merror", "error"),
        ("er\x1b[1mror\x1b[", "error"),
        ("\x1bcerror", "error"),
        ("\x1b7error", "error"),
        ("10%\rerror", "error"),
        ("error\r", "error"),
        ("error\r \x00", "error"),
        ("é", "é"),
    ],
)
def test_control_sequences_go_and_the_text_around_them_stays(parser, line, shown):
    assert texts(parser.parse(f"a\n{line}\nb")) == ["a", shown, "b"]
    assert texts(parser.parse([line])) == [shown]


def test_colour_does_not_hide_what_continues_an_entry(parser):
    log = "ERROR boom\n\x1b[31m\tat a.b(C.java:1)\x1b[0m\n\x1b]0;title\x07Caused by: c\n\x1b[2m2026-01-01 10:00:00 b"
    assert texts(parser.parse(log)) == ["ERROR boom\n\tat a.b(C.java:1)\nCaused by: c", "2026-01-01 10:00:00 b"]


def test_first_line_always_starts_an_entry(parser):
    assert texts(parser.parse("\tat x\n\tat y\nb")) == ["\tat x\n\tat y", "b"]


def test_custom_entry_pattern():
    parser = LogParser(entry_pattern=r"^\[")
    assert texts(parser.parse("[1] a\nmore\n[2] b")) == ["[1] a\nmore", "[2] b"]


def test_list_of_entries_keeps_positions(parser):
    parsed = parser.parse(["a\n\tb", "", "c"])
    assert texts(parsed) == ["a\n\tb", "c"]
    assert parsed.first_line.tolist() == [1, 3]


def test_entries_are_masked_as_a_list_or_as_arrow(parser):
    for entries in (["a 1", "b"], pa.array(["a 1", "b"]), pa.array(["a 1", "b"], pa.large_string())):
        masked = parser.mask(entries)
        assert masked.type == pa.large_string()
        assert masked.to_pylist() == ["a <NUM>", "b"]


def test_what_is_no_log_is_named(parser):
    for log, kind in (([1, "a"], "a list of int and str"), ((b"a",), "a list of bytes"), (5, "int")):
        with pytest.raises(ValueError, match=rf"\(list of str\), got {kind}\.$"):
            parser.parse_batch([log])


def test_which_values_are_logs_and_which_are_places():
    for log in ("a\nb", b"a", ["a"], ("a", "b"), []):
        assert is_in_memory(log)
    for place in ("a.log", Path("a.log"), [Path("a.log")], [b"a"], io.BytesIO(), None):
        assert not is_in_memory(place)


def test_distinct_entries_are_in_order_of_first_appearance(parser):
    parsed = parser.parse("b 1\na 2\nb 3\nb 4")
    assert parsed.distinct.to_pylist() == ["b <NUM>", "a <NUM>"]
    assert parsed.entry_index.tolist() == [0, 1, 0, 0]


def test_invalid_utf8_is_replaced_and_counted(parser):
    parsed = parser.parse(b"ok\nbad \xff\xfe byte\n\xe6\x97\xa5")
    assert parsed.replaced_bytes == 2
    assert texts(parsed) == ["ok", "bad \ufffd\ufffd byte", "日"]
    surrogates = parser.parse("bad \udcff byte")
    assert surrogates.replaced_bytes == 1
    assert texts(surrogates) == ["bad \ufffd byte"]
    assert parser.parse(["bad \udcff byte"]).replaced_bytes == 1


def test_bytes_and_text_parse_alike(parser):
    log = "a 1\n日志 2\r\n\tx\n"
    text, data = parser.parse(log), parser.parse(log.encode())
    assert texts(text) == texts(data)
    assert text.first_line.tolist() == data.first_line.tolist()


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab \t\r\x00é日", max_size=5), max_size=12))
def test_no_line_is_lost(lines):
    """Every line with text is in exactly one entry, under its own line number, as a terminal shows it."""
    parser = LogParser()
    full = [number for number, line in enumerate(lines, 1) if line.strip(" \t\r\x00")]
    shown = visible(pa.array([line.lstrip("\r") for line in lines], pa.large_string())).to_pylist()
    if not full:
        with pytest.raises(ValueError, match="no log entries"):
            parser.parse("\n".join(lines))
        return
    parsed = parser.parse("\n".join(lines))
    seen = []
    for text, first, last in zip(texts(parsed), parsed.first_line, parsed.last_line, strict=True):
        numbers = [number for number in full if first <= number <= last]
        assert text.split("\n") == [shown[number - 1] for number in numbers]
        seen += numbers
    assert seen == full


# ---------------------------------------------------------------------- timestamps


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2024-02-29 10:00:02 ERROR x", datetime(2024, 2, 29, 10, 0, 2)),
        ("2024-02-29T10:00:02.250Z x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("2024/02/29 10:00:02 [error] x", datetime(2024, 2, 29, 10, 0, 2)),
        ("[2024-02-29 10:00:02,250] x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("2024-02-29 10:00:02.250 CET [7] x", datetime(2024, 2, 29, 9, 0, 2, 250000)),
        ('1.2.3.4 - - [29/Feb/2024:10:00:02 +0100] "GET /"', datetime(2024, 2, 29, 9, 0, 2)),
        ("[Thu Feb 29 10:00:02.250000 2024] [x]", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("Feb 29 10:00:02 host x", datetime(2000, 2, 29, 10, 0, 2)),
        ("29-Feb-2024 10:00:02.250 SEVERE x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("77:M 29 Feb 2024 10:00:02.250 * x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("02-29 10:00:02.250 77 78 D x", datetime(2000, 2, 29, 10, 0, 2, 250000)),
        ("240229 100002 148 INFO x", datetime(2024, 2, 29, 10, 0, 2)),
        ("2024-02-29-10.00.02.250000 R00 x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("1709200802: x", datetime(2024, 2, 29, 10, 0, 2)),
        ("1709200802.250 x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("1709200802250 x", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ('{"time":"2024-02-29T10:00:02Z"}', datetime(2024, 2, 29, 10, 0, 2)),
        ("ts=2024-02-29T10:00:02Z x", datetime(2024, 2, 29, 10, 0, 2)),
        ('{"level":"info","ts":"2024-02-29T10:00:02Z"}', datetime(2024, 2, 29, 10, 0, 2)),
        ('{"level":"info","ts":1709200802.25}', datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("<34>1 2024-02-29T10:00:02.250Z host app", datetime(2024, 2, 29, 10, 0, 2, 250000)),
        ("INFO:2024-02-29 10:00:02 x", datetime(2024, 2, 29, 10, 0, 2)),
        ("web_1  | 2024-02-29 10:00:02 x", datetime(2024, 2, 29, 10, 0, 2)),
        ("24/02/29 10:00:02 INFO x", datetime(2024, 2, 29, 10, 0, 2)),
        ("no time", None),
        ("size 1709200802 bytes", None),
    ],
)
def test_timestamps(parser, stamp, expected):
    seconds = parser.timestamps(parser.parse(stamp))[0]
    if expected is None:
        assert np.isnan(seconds)
    else:
        assert seconds == pytest.approx(expected.replace(tzinfo=UTC).timestamp(), abs=1e-6)


# ---------------------------------------------------------------------- logs that arrive in chunks


LINES = [
    "2024-01-01 10:00:00 INFO a",
    "\tat c",
    "ERROR b",
    "Traceback (most recent call last):",
    '  File "x", line 1',
    "ValueError: b",
    "java.io.IOException: c",
    "",
    "d é 日",
    "  2024-01-01 10:00:01 WARN e",
    "}",
]


def rows(entries):
    """What a chunk or a whole log says of each entry: text, lines, the transport's time and severity."""
    nothing = [None] * len(entries.text)
    return list(
        zip(
            entries.text.to_pylist(),
            entries.first_line.tolist(),
            entries.last_line.tolist(),
            nothing if entries.time is None else entries.time.to_pylist(),
            nothing if entries.severity is None else [level if level >= 0 else None for level in entries.severity],
            strict=True,
        )
    )


def open_bytes(stream):
    """How much text a stream holds back."""
    return sum(pc.sum(pc.binary_length(text)).as_py() or 0 for text in (stream._record, stream._open[0].text))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=60), st.integers(20, 200), st.booleans())
@example(
    ["Traceback (most recent call last):", "  2024-01-01 10:00:01 WARN e", "2024-01-01 10:00:00 INFO a"], 20, False
)
def test_chunked_log_has_the_same_entries_as_the_whole(lines, chunk_bytes, has_newline):
    """Whatever the chunk size, `EntryStream` yields the entries of the log parsed in one piece."""
    parser = LogParser()
    # Indentation shared by all lines is taken from the first chunk; the first line makes it none.
    data = ("\n".join(["INFO a", *lines]) + "\n" * has_newline).encode()
    whole, _ = parser.parse_batch([data])
    found = []
    stream = EntryStream(parser, chunk_bytes)
    for lines in LogReader(io.BytesIO(data), chunk_bytes):
        found += rows(stream.push(lines).entries)
    assert found == rows(whole)


STREAMS = [
    "2026-03-12T06:25:01Z stdout F INFO a",
    "2026-03-12T06:25:01Z stderr F ERROR b",
    "2026-03-12T06:25:01Z stdout F \tat c",
    "2026-03-12T06:25:01Z stderr F \tat d é",
    "2026-03-12T06:25:01Z stdout P begun ",
    "2026-03-12T06:25:01Z stderr P begun as well ",
    "2026-03-12T06:25:01Z stdout F ended",
    "2026-03-12T06:25:01Z stderr F",
    "2026-03-12T06:25:01Z stderr F Traceback (most recent call last):",
    '2026-03-12T06:25:01Z stdout F   File "x", line 1',
    "2026-03-12T06:25:01Z stderr F ValueError: b",
    "<11>Mar 12 06:25:01 edge1 app[9]: boom",
    "<11>Mar 12 06:25:01 edge1 app[8]: boom",
    "<11>Mar 12 06:25:01 edge1 app[9]: \tat x",
    "not wrapped",
    "  10%\r  100%",
    "",
    *("__CURSOR=s=1", "__REALTIME_TIMESTAMP=1773296701104522", "PRIORITY=3", "MESSAGE=c", "MESSAGE"),
    "\x05" + "\0" * 7 + "a",
]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=40), st.lists(st.integers(1, 40), max_size=6))
def test_chunked_streams_have_the_same_entries_as_the_whole(lines, cuts):
    """Interleaved streams, pieces of lines and records: the entries of each do not depend on where chunks end."""
    parser = LogParser()
    lines = ["INFO a", *lines]
    whole, _ = parser.parse_batch(["".join(f"{line}\n" for line in lines)])
    stream = EntryStream(parser, 1 << 20)
    cuts = sorted({0, *(cut for cut in cuts if cut < len(lines)), len(lines)})
    chunks = []
    for begin, end in itertools.pairwise(cuts):
        data = "".join(f"{line}\n" for line in lines[begin:end]).encode()
        chunks.append(stream.push(Chunk(data, begin + 1, is_last=end == len(lines))))
    numbers = [number for chunk in chunks for number in chunk.entries.first_line.tolist()]
    assert numbers == sorted(numbers)
    found = [row for chunk in chunks for row in rows(chunk.entries)]
    assert found == rows(whole)
    assert sum(chunk.num_lines for chunk in chunks) == len(lines)


def journal_export(message: str) -> str:
    length = len(message.encode()).to_bytes(8, "little").decode()
    return (
        f"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1773296701104522\nMESSAGE\n{length}{message}\nPRIORITY=3\n_PID=7\n\n"
        "__CURSOR=s=2\n__REALTIME_TIMESTAMP=1773296701104523\nMESSAGE=z\nPRIORITY=6\n\n"
    )


@pytest.mark.parametrize("message", ["a\n\tat b\n\nc", "a\n\n__CURSOR=s=9\nMESSAGE=b", "KEY=a\n\n\nb é", "\na\nb\n"])
def test_a_record_may_be_cut_anywhere(parser, monkeypatch, message):
    monkeypatch.setattr(reading_logmoe, "HEAD_BYTES", 2)
    data = journal_export(message).encode()
    whole = rows(parser.parse_batch([data])[0])
    assert [text for text, *_ in whole] == [message, "z"]
    assert [severity for *_, severity in whole] == [4, 2]
    chunkings = [list(LogReader(io.BytesIO(data), chunk_bytes)) for chunk_bytes in (1, 40)]
    for cut in (cut for cut in range(1, len(data)) if data[cut - 1] == ord("\n")):
        second = Chunk(data[cut:], data.count(b"\n", 0, cut) + 1, is_last=True)
        chunkings.append([Chunk(data[:cut]), second])
    for chunking in chunkings:
        stream = EntryStream(parser, 1000)
        found = [row for chunk in chunking for row in rows(stream.push(chunk).entries)]
        assert found == whole, [chunk.data for chunk in chunking]


@pytest.mark.parametrize("between", ["\n", "x\n", "x\n\n", "x\n#Fields: a b\n", "#Fields: a b\n", "x\ny\n"])
def test_pieces_of_a_line_do_not_depend_on_chunks(parser, between):
    """What no transport wrapped may stand between them; what came last is in an entry."""
    first = "2026-01-02T10:00:00.1Z stdout F start\n2026-01-02T10:00:01.1Z stderr P a part \n"
    last = "2026-01-02T10:00:01.2Z stderr F and the rest\n"
    whole = parser.parse(first + between + last)
    assert whole.text[-1].as_py().endswith("and the rest")
    for start, end in ((first, between + last), (first + between, last)):
        stream, found = EntryStream(parser, 1000), []
        found += stream.push(Chunk(start.encode(), 1)).entries.text.to_pylist()
        found += stream.push(Chunk(end.encode(), 1 + start.count("\n"), is_last=True)).entries.text.to_pylist()
        assert found == whole.text.to_pylist()


@pytest.mark.parametrize("nothing", ["", "\n", "\t\n"])
def test_a_chunk_without_entries_leaves_the_indentation_as_it_is(parser, nothing):
    """The pause after the first lines says that all share four characters; deeper ones go on with an entry."""
    stream = EntryStream(parser, 1000)
    found = []
    for data in ("    INFO a\n    WARN b\n", nothing):
        found += stream.push(Chunk(data.encode(), 1, is_idle=True)).entries.text.to_pylist()
    assert stream.indentation == 4
    found += stream.push(Chunk(b"        more c\n        more d\n", 9, is_last=True)).entries.text.to_pylist()
    assert [text.split() for text in found] == [["INFO", "a"], ["WARN", "b"], ["more", "c", "more", "d"]]


@pytest.mark.parametrize(
    "field", ["A=b", "MESSAGE\n\x05" + "\0" * 7 + "a", "MESSAGE\n" + "\x7f" * 4 + "\0" * 4 + "a\nb"]
)
def test_an_endless_record_is_not_held_back(parser, monkeypatch, field):
    monkeypatch.setattr(parsing_logmoe, "MAX_ENTRY_BYTES", 0)
    record = ["__CURSOR=s=1", *[field] * 60]
    stream = EntryStream(parser, 100)
    found = []
    for number, line in enumerate([*record, "", "end"], 1):
        lines = line.count("\n") + 1
        chunk = stream.push(Chunk(f"{line}\n".encode(), number, is_last=line == "end"))
        found += chunk.entries.text.to_pylist()
        assert open_bytes(stream) <= 2 * 100 + 16 * lines
    assert found[-1] == "end"
    assert stream.push(Chunk(b"x\n", is_last=True)).entries.text.to_pylist() == ["x"]


def test_many_quiet_streams_hold_back_no_more_than_their_share(parser, monkeypatch):
    monkeypatch.setattr(parsing_logmoe, "MAX_ENTRY_BYTES", 0)
    stream = EntryStream(parser, 1000)
    found = []
    for number in range(1, 201):
        line = f"<11>Mar 12 06:25:01 edge1 app[{number}]: boom\n".encode()
        found += stream.push(Chunk(line, number, is_last=number == 200)).entries.first_line.tolist()
        assert open_bytes(stream) <= 2 * 1000
    assert found == list(range(1, 201))
    assert stream.oversized_entries == 0


def test_a_live_log_gives_out_what_is_open_when_it_is_idle(parser):
    stream = EntryStream(parser, 1000)
    first = stream.push(Chunk(b"__CURSOR=s=1\nMESSAGE=a\n"))
    assert len(first.entries.text) == 0
    idle = stream.push(Chunk(b"", 3, is_idle=True))
    assert idle.entries.text.to_pylist() == ["a"]
    assert idle.is_idle
    assert stream.push(Chunk(b"", 3, is_last=True)).entries.text.to_pylist() == []


def test_what_a_chunk_says_of_the_lines_it_read(parser):
    chunk = EntryStream(parser, 1000).push(
        Chunk(b"2026-03-12T06:25:01Z stdout F a\nb\n", is_last=True, replaced_bytes=3)
    )
    assert (chunk.num_lines, chunk.num_bytes, chunk.replaced_bytes) == (2, 34, 3)
    assert chunk.formats == {"cri", "plain"}


def test_endless_lines_and_entries_do_not_stall_the_stream(parser, monkeypatch):
    monkeypatch.setattr(reading_logmoe, "MAX_LINE_BYTES", 0)
    monkeypatch.setattr(parsing_logmoe, "MAX_ENTRY_BYTES", 0)
    data = b"first\n" + "é".encode() * 50_000 + b"\nlast\n" + b"at\n" + b"\tgo on\n" * 300 + b"end"
    reader = LogReader(io.BytesIO(data), 100, 4 * parser.max_entry_characters)
    stream = EntryStream(parser, 100)
    chunks = []
    for read in reader:
        chunks.append(stream.push(read))
        assert open_bytes(stream) <= 4 * parser.max_entry_characters + 2 * 100
    assert chunks[-1].is_last
    assert sum(chunk.num_bytes for chunk in chunks) < len(data)
    lines = {}
    for chunk in chunks:
        parsed = parser.masked(chunk.entries)
        lines |= dict(zip(parsed.first_line.tolist(), parsed.text.to_pylist(), strict=True))
    assert lines[1] == "first"
    assert set(lines[2]) == {"é"}
    assert len(lines[2]) >= parser.max_entry_characters
    assert lines[3] == "last"
    assert lines[max(lines)] == "end"
    assert max(lines) == data.count(b"\n") + 1
    assert reader.oversized_lines == 1
    assert stream.oversized_entries >= 1


def test_the_clock_of_a_transport_goes_on_across_chunks(parser):
    """Its entries have no times of their own, and New Year lies between two chunks."""
    before = parser.parse("<13>Dec 31 23:59:58 edge1 app[7]: tick\n<13>Dec 31 23:59:59 edge1 app[7]: tick")
    after = parser.parse("<13>Jan  1 00:00:01 edge1 app[7]: tock\n<13>Jan  1 00:00:02 edge1 app[7]: tock")
    reader = parser.header_reader()
    seconds = np.concatenate([parser.timestamps(before, reader), parser.timestamps(after, reader)])
    assert np.diff(seconds).tolist() == [1, 2, 1]
    reader.start()  # another log
    assert parser.timestamps(after, reader)[0] < seconds[0]


def test_what_follows_the_last_newline_is_no_line():
    """Docker ends what goes on without a newline; an entry that the log ends in goes on nowhere."""
    record = '{"log":"%s","stream":"stderr","time":"2026-01-02T10:00:01Z"}\n'
    for log in (record % "a\\n" + record % "b", "a\nb\n"):
        parsed = LogParser().parse(log)
        assert (parsed.text.to_pylist(), parsed.last_line.tolist()) == (["a", "b"], [1, 2])


def test_an_entry_without_a_severity_has_that_of_its_transport():
    parser = LogParser()
    lines = ["<11>Oct 11 22:14:15 host app[1]: it failed", "<11>Oct 11 22:14:16 host app[1]: INFO it ran"] * 2
    assert parser.headers(parser.parse("\n".join(lines))).severities() == ["ERROR", "INFO"] * 2
    # Its own counts, the lowest of all too.
    lines = ["<11>Oct 11 22:14:15 host app[1]: TRACE it goes on", "<11>Oct 11 22:14:16 host app[1]: it failed"]
    assert parser.headers(parser.parse("\n".join(lines))).severities() == ["TRACE", "ERROR"]


def test_a_stream_counts_what_it_gives_out_unfinished():
    stream = EntryStream(LogParser(), 100)
    stream.push(Chunk(b"a\n\tat b\n", 1))
    assert stream.oversized_entries == 0


def test_published_defaults():
    assert LogParser().max_entry_characters == 8192
    assert parsing_logmoe.MAX_ENTRY_BYTES == 2**20
