"""What is read does not depend on when or where bytes arrive, nor on what lies beside it in a folder."""

import contextlib
import io
import itertools
import lzma
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmoe import LogParser, reading_logmoe, sources_logmoe
from logmoe.parsing_logmoe import EntryStream
from logmoe.reading_logmoe import Chunk, LogReader, find_logs
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule

PARSER = LogParser()


class Pieces(io.RawIOBase):
    """A stream that gives just these pieces."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]

    def read(self, size=-1):
        return self.pieces.pop(0) if self.pieces else b""


def as_tuples(entries):
    return list(zip(entries.first_line.tolist(), entries.last_line.tolist(), entries.text.to_pylist(), strict=True))


def read_entries(source, chunk_bytes):
    stream = EntryStream(PARSER, chunk_bytes)
    reader = LogReader(source, chunk_bytes)
    return [entry for chunk in reader for entry in as_tuples(stream.push(chunk).entries)]


def whole(data):
    return as_tuples(PARSER.parse_batch([data])[0])


def pieces_of(data, cuts):
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


ATOMS = [
    *(
        b"a",
        b"ERROR top",
        b"  at frame",
        b"\tat x.Y(Z.java:1)",
        b" ",
        b"  ",
        b"\r",
        b"\x0b",
        b"\x1c",
        b"\xff",
        b"\xc2",
    ),
    *(b"\xe3\x80", b"\x85", *(blank.encode() for blank in "\u3000\u00a0\u2028\ufeff")),
    *(b"Traceback (most recent call last):", b"ValueError: x", b"2026-01-01 10:00:00 INFO b", b"#Fields: a b"),
    *(b"\n", b"\n", b"\n", b"\n  ", b"\n\t"),
]
# A pasted log whose last lines are further left, behind a blank line; and one with a byte that is not valid.
PAUSING = b"\n  boot one\n  boot two\n  boot three\nERROR top\n  at frame one\n"
BROKEN = "\u3000a".encode() + b"\xff\n" + "\u00a0b\n c\nd\n".encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ATOMS), max_size=14).map(b"".join), st.lists(st.integers(0, 300)), st.integers(1, 40))
@example(PAUSING, [12, 37], 1)
@example(BROKEN, [5], 1)
@example("#Fields: a\n  b\n  c\nd\n".encode("utf-16"), [1], 1)
def test_entries_are_those_of_the_whole_wherever_it_is_cut(data, cuts, chunk_bytes):
    with contextlib.suppress(ValueError):  # it is no text, to a reader
        found = read_entries(Pieces(pieces_of(data, cuts)), chunk_bytes)
        assert found == whole(data)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_entries_of_a_pipe_are_those_of_the_whole_whenever_bytes_arrive(monkeypatch, start, encoding):
    monkeypatch.setattr(reading_logmoe, "PIPE_SECONDS", 0.01)
    data = PAUSING.decode().encode(encoding)
    data = start + data if encoding == "utf-8" else data
    ours, theirs = os.pipe()

    def write():
        for piece in pieces_of(data, [1, 2, 3, 14, 15, 40]):
            os.write(theirs, piece)
            time.sleep(0.05)
        os.close(theirs)

    writer = threading.Thread(target=write)
    writer.start()
    with open(ours, "rb", buffering=0) as pipe:
        assert read_entries(pipe, 1 << 20) == whole(data)
    writer.join()
    assert [entry[:2] for entry in whole(data)] == [(2, 4), (5, 6)]


def test_of_what_never_stops_being_indented_some_is_held_and_the_rest_given():
    """The exception: of an indented log no more is held than of an open entry."""
    stream = EntryStream(PARSER, 1)
    stream.max_open_bytes = 1000
    lines = b"".join(b"  boot %03d\n" % number for number in range(200))
    early = stream.push(Chunk(lines[:297], 1))
    late = stream.push(Chunk(lines[297:], 28))
    assert len(early.entries.text) == 0 < len(late.entries.text)
    idle = EntryStream(PARSER, 1)
    assert len(idle.push(Chunk(lines[:297], 1, is_idle=True)).entries.text) == 27


@pytest.mark.parametrize("cuts", [[], [9], [10, 11], [25], [1, 2, 30, 31]])
def test_a_long_line_is_shortened_alike_wherever_it_is_cut(monkeypatch, cuts):
    monkeypatch.setattr(reading_logmoe, "MAX_LINE_BYTES", 0)
    data = b"a\n" + "é".encode() * 12 + b"\nb\n" + b"c" * 30 + b"\n" + b"d" * 10
    reader = LogReader(Pieces(pieces_of(data, cuts)), 9, 9)
    read = b"".join(chunk.data for chunk in reader)
    assert read == b"a\n" + "é".encode() * 4 + b"\nb\n" + b"c" * 9 + b"\n" + b"d" * 9
    assert reader.oversized_lines == 3


def test_a_chunk_holds_few_lines_however_short(monkeypatch):
    monkeypatch.setattr(reading_logmoe, "CHUNK_LINES", 10)
    for data in (b"a\n" * 25 + b"b", b"\n" * 20, b"a\n" * 11, b"a\n" * 10):
        chunks = list(LogReader(io.BytesIO(data)))
        assert b"".join(chunk.data for chunk in chunks) == data
        assert max(chunk.data.count(b"\n") for chunk in chunks) <= 10
        assert [chunk.first_line for chunk in chunks] == list(range(1, data.count(b"\n") + 1, 10))
        assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


# ---------------------------------------------------------------------- sequences


WORDS = ["job=1", "job=2 job=3", "", "no time"]
RULES = [{"window_seconds": seconds} for seconds in (1e-300, 2.5, 1e308)]
RULES += [{}, {"fill_last": True}, {"session_pattern": r"job=(\d)"}, {"stride": 1}]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(WORDS)), min_size=1, max_size=40),
    st.sampled_from(RULES),
    st.integers(1, 5),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 50),
)
def test_every_entry_is_in_a_sequence(entries, rule, length, cuts, max_waiting):
    lines = [
        f"2026-01-01 10:00:0{second} INFO {word}" if word != "stamp" else "INFO no time" for second, word in entries
    ]
    lines[0] = "2026-01-01 10:00:05 INFO job=1"
    if "stride" in rule:
        length = max(length, 2)
    cutter = SequenceCutter(SequenceRule(length, **rule), PARSER, max_waiting)
    parsed = PARSER.parse(lines)
    places = [0, *sorted(cut % len(lines) for cut in cuts), len(lines)]
    found = set()
    for start, end in itertools.pairwise(places):
        log, sequences = cutter.push(parsed.take(np.arange(start, end)), is_last=end == len(lines))
        found.update(line for positions in sequences for line in log.first_line[positions].tolist())
        assert all(0 < len(positions) <= length for positions in sequences)
    assert found == set(range(1, len(lines) + 1))


def test_entries_of_different_times_are_apart_in_the_shortest_windows():
    lines = [f"2026-01-01 10:00:0{second} INFO a" for second in (0, 1, 2, 2, 9)]
    sequences = SequenceCutter(SequenceRule(window_seconds=1e-300), PARSER).cut(PARSER.parse(lines))
    assert [positions.tolist() for positions in sequences] == [[0], [1], [2, 3], [4]]


# ---------------------------------------------------------------------- folders


def test_a_folder_is_read_whatever_lies_in_it(tmp_path, caplog):
    names = ["a10.log", "a2.log", "x1²2.log", "x1²10.log", "e\x1b[31mRED\n\u202e.log", b"caf\xe9.log"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name)))).write_text("INFO ok\n")
    (tmp_path / "loop.log").symlink_to("loop.log")
    (tmp_path / "round").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse.log", "wb") as sparse:
        sparse.truncate(1 << 40)
    (tmp_path / "b\x1b[31m.bin").write_bytes(b"a\x00b\x00\x00\x00")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s"))
        found = [os.path.basename(os.fsencode(path)) for path in find_logs(tmp_path)]
    assert set(found) == {os.fsencode(name) for name in [*names, "loop.log"]}
    assert found.index(b"a2.log") < found.index(b"a10.log")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 5
    for what in ("empty", "a pipe, a socket or a device", "NUL bytes", r"b\x1b[31m.bin"):
        assert any(what in warning for warning in warnings)
    assert all(warning.isprintable() for warning in warnings)


def test_a_saved_reference_among_logs_is_no_log(tmp_path):
    (tmp_path / "a.log").write_text("a\n")
    (tmp_path / "reference.json").write_text("b\n")  # which may be anybody's
    saved = tmp_path / "shop.reference"
    saved.mkdir()
    for name in ("reference.json", *(f"reference-{'0' * 16}.{kind}" for kind in ("jsonl", "safetensors", "parquet"))):
        (saved / name).write_text("{}\n")
    (saved / "b.log").write_text("b\n")
    logs = [str(tmp_path / "a.log"), str(tmp_path / "reference.json"), str(saved / "b.log")]
    assert find_logs(tmp_path) == logs
    assert find_logs(str(tmp_path / "**" / "*")) == logs
    assert find_logs(saved / "reference.json") == [str(saved / "reference.json")]  # who names it wants it


def test_a_file_that_vanishes_while_a_folder_is_looked_at_stops_nothing(tmp_path, monkeypatch):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("INFO ok\n")
    look = sources_logmoe._no_log

    def late(path):
        if path.endswith("a.log"):
            os.remove(path)
        return look(path)

    monkeypatch.setattr(sources_logmoe, "_no_log", late)
    assert [os.path.basename(path) for path in find_logs(tmp_path)] == ["a.log", "b.log"]


def test_xz_is_read_in_all_its_streams_and_within_memory(tmp_path):
    path = tmp_path / "log.xz"
    text = b"".join(b"INFO %d\n" % number for number in range(20_000))
    two = lzma.compress(text) + bytes(8) + lzma.compress(b"INFO last\n", preset=9)
    path.write_bytes(two)
    assert b"".join(chunk.data for chunk in LogReader(path, 1000)) == text + b"INFO last\n"
    path.write_bytes(two + b"something else")
    assert b"".join(chunk.data for chunk in LogReader(path)) == text + b"INFO last\n"
    path.write_bytes(two[:-20])
    with pytest.raises(ValueError, match="damaged after"):
        list(LogReader(path))
    large = lzma.LZMACompressor(filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}])
    path.write_bytes(large.compress(b"INFO a\n") + large.flush())
    with pytest.raises(ValueError, match=r"more than 128 MiB of memory.*`xz -d`"):
        list(LogReader(path))
    assert find_logs(tmp_path) == [str(path)]  # named when it is read


# ---------------------------------------------------------------------- growing files


@contextlib.contextmanager
def following(path, monkeypatch, **options):
    """The lines that a follower has read, as they come, with their numbers."""
    monkeypatch.setattr(reading_logmoe, "POLL_SECONDS", 0.01)
    reader, lines = LogReader(path, follow=True, idle_seconds=0.02, **options), []

    def read():
        for chunk in reader:
            texts = chunk.data.decode().splitlines()
            lines.extend(zip(range(chunk.first_line, chunk.first_line + len(texts)), texts, strict=True))

    thread = threading.Thread(target=read)
    thread.start()

    def wait(number):
        deadline = time.monotonic() + 30
        while len(lines) < number and time.monotonic() < deadline and thread.is_alive():
            time.sleep(0.005)
        return lines

    try:
        yield wait
    finally:
        reader.stop()
        thread.join()


def test_following_goes_on_while_the_path_is_gone_a_loop_or_a_folder(tmp_path, monkeypatch):
    path = tmp_path / "log"
    with following(path, monkeypatch) as wait:
        path.write_text("a\n")
        wait(1)
        for between in (lambda: None, path.mkdir, lambda: path.symlink_to(path.name)):
            path.rename(tmp_path / f"old{len(wait(0))}")
            between()
            time.sleep(0.1)
            if path.is_symlink():
                path.unlink()
            elif path.exists():
                path.rmdir()
            path.write_text("b\n")
            wait(len(wait(0)) + 1)
        assert wait(4) == [(1, "a"), (1, "b"), (1, "b"), (1, "b")]


def test_a_file_that_is_truncated_and_grows_past_the_old_place_at_once_is_read_anew(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_text("old 1\nold 2\n")
    with following(path, monkeypatch) as wait:
        wait(2)
        path.write_text("".join(f"new {number}\n" for number in range(1, 9)))
        assert wait(10)[2:] == [(number, f"new {number}") for number in range(1, 9)]


def test_rotation_loses_no_line(tmp_path, monkeypatch):
    """A day of hours, each rotated while files of the hours before are still to be read."""
    path, written, seen = tmp_path / "log", [], set()
    open_file = reading_logmoe._open_file

    def seeing(*arguments, **options):
        if (raw := open_file(*arguments, **options)) is not None:
            seen.add(os.fstat(raw.fileno()).st_ino)
        return raw

    monkeypatch.setattr(reading_logmoe, "_open_file", seeing)
    path.touch()
    with following(path, monkeypatch) as wait, contextlib.ExitStack() as files:
        out = files.enter_context(path.open("a"))
        print("first", file=out, flush=True)
        wait(1)
        for hour in range(24):
            written += [f"{hour}:{line}" for line in range(5)]
            print(*written[-5:], sep="\n", file=out, flush=True)
            path.rename(tmp_path / f"log.{hour}")
            new = files.enter_context(path.open("a"))
            while os.fstat(new.fileno()).st_ino not in seen:  # within a poll
                time.sleep(0.001)
            written.append(f"{hour}:late")  # the writer holds on to the old file for a while
            print(written[-1], file=out, flush=True)
            out = new
        assert [line for _, line in wait(1 + len(written))] == ["first", *written]


@pytest.mark.parametrize("end", ["", "unfinished "])
def test_following_may_begin_at_the_end(tmp_path, monkeypatch, end):
    path = tmp_path / "log"
    path.write_text("1\n2\n3\n" + end)
    with following(path, monkeypatch, from_start=False) as wait:
        time.sleep(0.1)
        assert wait(0) == []
        with path.open("a") as file:
            file.write("new\n")
        assert wait(1) == [(4, end + "new")]
        path.rename(tmp_path / "old")
        path.write_text("next\n")  # all of what follows is new
        assert wait(2)[1:] == [(1, "next")]


def test_a_long_line_that_comes_in_small_pieces_takes_linear_time():
    """As of an archive of many small parts: each byte is looked at once, or so."""
    data = b"a" * (1 << 24) + b"\nb\n"
    begun = time.process_time()
    read = b"".join(chunk.data for chunk in LogReader(io.BytesIO(data), 256, 1 << 25))
    assert read == data
    assert time.process_time() - begun < 20  # more than a minute if each piece copies what came before


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    ["2026-01-01 10:00:00 ERROR a 1\nb", "2026-01-01 10:00:00 ошибка диска\nконец", "10:00 磁盘已满 7\n磁盘 正常\n"],
)
def test_wide_text_is_told_without_a_mark(tmp_path, encoding, text):
    data = text.encode(encoding)
    assert "".join(chunk.data.decode() for chunk in LogReader(io.BytesIO(data))) == text
    assert [entry[2] for entry in whole(data)] == text.strip().split("\n")
    (tmp_path / "a.log").write_bytes(data)
    assert find_logs(tmp_path) == [str(tmp_path / "a.log")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"abcd\x00abcd\x00abcd\x00\n",  # records that end in zeros
        b"INFO a\n" + b"\x00" * 4001 + b"\nINFO b\n",  # of a machine that crashed
        "журнал\x00\x00\n".encode(),
        b"\xff\xfe\x00\x00",  # the mark of UTF-32, and nothing else; or of UTF-16, and a zero
        bytes(range(256)) * 8,
    ],
)
def test_zeros_alone_make_no_text_wide(data):
    assert sources_logmoe.wide_encoding_of(data) in (None, *(["utf-32"] if data[:2] == b"\xff\xfe" else []))


WEAK = {
    "compose": ("{}  | INFO a {}", ("web-1", "db-1")),
    "timestamps": ("2026-03-12T06:25:01.{:0>9}Z INFO a {}", ("104522123", "104522124")),
    "kubectl": ("[pod/{}/app] INFO a {}", ("web-0", "web-1")),
}


@pytest.mark.parametrize("name", WEAK)
def test_what_only_looks_wrapped_is_told_by_what_was_read_before_and_no_line_is_lost(name):
    """The exception that docs/formats.md has: where a log begins or ceases to look wrapped, chunks tell."""
    form, streams = WEAK[name]
    wrapped = [form.format(streams[row % 2], row) for row in range(60)]
    if name == "timestamps":
        wrapped = [line.replace("INFO a", "    at a") if row % 5 == 1 else line for row, line in enumerate(wrapped)]
    data = "\n".join(wrapped).encode()
    # As long as all lines look alike nothing depends on chunks.
    assert whole(data) == read_entries(Pieces(pieces_of(data, [900, 1500])), 700)
    plain = [f"INFO plain {row}" for row in range(60)]
    for lines in (wrapped + plain, plain + wrapped):
        data = "\n".join(lines).encode()
        for chunk_bytes in (300, 1000, 1 << 20):
            entries = read_entries(Pieces(pieces_of(data, [])), chunk_bytes)
            covered = [row for first, last, _ in entries for row in range(first, last + 1)]
            assert covered == list(range(1, 121))
