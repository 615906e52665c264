"""Lines around findings: the right ones, of any kind of file, and never those of another log."""

import bz2
import gzip
import json
import lzma
import os
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_page import BREAKING, HARMLESS, Tree
from test_reporting import SCHEMA, entry, finding, findings_of

from logmoe import context, reporting
from logmoe.context import stamp, told_context, with_context
from logmoe.findings_logmoe import Context, ContextLine, Findings
from logmoe.page import html
from logmoe.reading_logmoe import CHUNK_BYTES

LINES = [f"line {number} is ordinary" for number in range(1, 101)]
LINES[41] = "disk full on node 7"
LINES[42] = "\tat Disk.write"
LINES[43] = "disk full on node 12"
OF = entry("disk full on node 7\n\tat Disk.write", line=42, first_line=42, last_line=44, count=2, share=0.5)
FOUND = finding(first_line=42, last_line=44, entries=(OF,))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


def of(path, *found, **options):
    found = [replace(one, source=str(path)) for one in found or (FOUND,)]
    return with_context(found, options.pop("around", 2), **options)


def numbers(one):
    return [line.line for line in one.context.lines]


def test_the_lines_around_and_which_of_them_are_telling(log):
    (one,) = of(log)
    assert [(line.line, line.text, line.share) for line in one.context.lines] == [
        (40, "line 40 is ordinary", None),
        (41, "line 41 is ordinary", None),
        (42, "disk full on node 7", 0.5),
        (43, "\tat Disk.write", 0.5),
        (44, "disk full on node 12", 0.5),  # nothing but a number differs
        (45, "line 45 is ordinary", None),
    ]
    assert one.context.note is None
    # What an entry goes on with stands elsewhere, as behind a line of another stream.
    (apart,) = of(log, replace(FOUND, entries=(replace(OF, text="disk full on node 7\n\tat Disk.sync"),)))
    assert [line.line for line in apart.context.lines if line.share] == [42, 44]
    assert list(told_context(one, "  ", 40))[1:3] == ["    41  line 41 is ordinary", "  > 42  disk full on node 7"]


def test_far_lines_are_left_out_and_the_ends_of_a_log_are_no_trouble(log):
    first, last = entry(LINES[0], line=1, first_line=1), entry(LINES[99], line=100, last_line=100)
    one, none = of(log, replace(FOUND, first_line=1, entries=(first, last)), replace(FOUND, entries=()), around=1)
    assert numbers(one) == [1, 2, 99, 100]
    assert numbers(none) == [41, 42, 43]
    assert [line.strip() for line in told_context(one)][2] == "⋮"
    assert one.context.note is none.context.note is None


@given(st.integers(0, 5), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_they_are_those_of_a_plain_reading(tmp_path_factory, around, places):
    path = tmp_path_factory.mktemp("log") / "app.log"
    text = "\n".join(f"{number} " + "é" * (number % 7) + "\r" * (number % 2) for number in range(1, 51))
    path.write_bytes(text.encode())
    lines = text.replace("\r", "").split("\n")
    found = replace(FOUND, first_line=places[0], entries=tuple(entry("x", line=line) for line in places))
    (one,) = of(path, found, around=around)
    wanted = sorted({near for line in places for near in range(line - around, line + around + 1) if 1 <= near <= 50})
    assert [(line.line, line.text) for line in one.context.lines] == [(near, lines[near - 1]) for near in wanted]
    assert (one.context.note is None) == (max(places) <= 50)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "utf-16", "gb18030", "chunks"])
def test_a_log_is_read_as_it_was_judged(tmp_path, kind):
    path, text, row = tmp_path / "app.log", "\n".join(["磁盘", *LINES]), 43
    if kind == "chunks":
        text = ("x" * 99 + "\n") * (3 * CHUNK_BYTES // 100) + text
        row += 3 * CHUNK_BYTES // 100
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(kind, lambda data: data)
    path.write_bytes(pack(text.encode(kind if kind in ("utf-16", "gb18030") else "utf-8")))
    found = replace(FOUND, first_line=row, entries=(replace(OF, line=row), entry("磁盘", line=row - 42)))
    (one,) = of(path, found, around=0, encoding="gb18030" if kind == "gb18030" else None)
    assert [line.text for line in one.context.lines] == ["磁盘", *LINES[41:43]]


def test_a_long_line_is_cut(tmp_path):
    path = tmp_path / "app.log"
    path.write_text("ü" * 10_000_000 + "\nshort\n")
    (one,) = of(path, replace(FOUND, first_line=1, entries=(entry("ü" * 5000, line=1, first_line=1, last_line=1),)))
    assert [line.text for line in one.context.lines] == ["ü" * context.LINE_CHARACTERS + "…", "short"]
    assert [len(line) for line in told_context(one, width=80)] == [80, 10]


def test_what_cannot_be_read_again_is_said(log, tmp_path):
    folder, pipe, damaged = tmp_path / "gone", tmp_path / "pipe", tmp_path / "app.log.gz"
    folder.mkdir()
    os.mkfifo(pipe)
    damaged.write_bytes(gzip.compress(os.urandom(1 << 20).hex("\n", 32).encode())[: 1 << 19])
    for source, note in (
        (None, "a stream cannot be read again"),
        ("-", "a stream cannot be read again"),
        (str(tmp_path / "nowhere.log"), "the log is gone"),
        (str(folder), "is no file"),
        (str(pipe), "is no file"),
        (str(damaged), "could not be read: the compressed log is damaged"),
    ):
        (one,) = with_context([replace(FOUND, source=source, first_line=10**6, entries=())], 1)
        assert (one.context.lines, note in one.context.note) == ((), True)
        assert list(told_context(one)) == [f"({one.context.note})"]


def test_a_log_that_changed_shows_nothing_and_one_that_grew_is_the_same(log):
    stamps = {str(log): stamp(str(log))}
    with log.open("a") as file:
        file.write("more\n" * 2000)
    (grown,) = of(log, stamps=stamps)
    assert numbers(grown) == [40, 41, 42, 43, 44, 45]
    text = log.read_text()
    for other in ("X" + text[1:], text[:2300], text[:1000], text[:2300] + "x" + text[2301:], ""):
        before = stamp(str(log))
        log.write_text(other)
        (changed,) = of(log, stamps={str(log): before} if other else stamps)
        assert changed.context.lines == ()
        assert "has changed since it was judged" in changed.context.note
        log.write_text(text)
    # Without a stamp only what is missing tells.
    log.write_text("\n".join(LINES[:40]))
    (shorter,) = of(log)
    assert (numbers(shorter), shorter.context.note) == ([40], "the log is shorter than it was")
    assert stamp(None) is stamp("-") is stamp(str(log.parent)) is None


def test_many_lines_are_bounded_the_strongest_get_theirs(log, monkeypatch):
    monkeypatch.setattr(context, "MOST_LINES", 10)
    weak, strong = of(log, replace(FOUND, strength=1.0), replace(FOUND, strength=2.0))
    assert numbers(strong) == [40, 41, 42, 43, 44, 45]
    assert weak.context.lines == ()
    assert "ask for fewer" in weak.context.note
    for around in (-1, context.MOST_AROUND + 1, 1.5, True, "3"):
        with pytest.raises(ValueError, match="from 0 to 100, got"):
            of(log, around=around)


def test_each_log_is_read_once(log, monkeypatch):
    read = []
    reader = context.LogReader
    monkeypatch.setattr(context, "LogReader", lambda source, **more: read.append(source) or reader(source, **more))
    of(log, *(replace(FOUND, first_line=line) for line in range(1, 90)))
    assert read == [str(log)]


# ---------------------------------------------------------------------- in reports


def hostile(text):
    return findings_of(
        replace(FOUND, context=Context((ContextLine(1, text), ContextLine(7, text, 0.5)), text)),
        replace(FOUND, id="b" * 12, context=Context(note=text)),
    )


def test_reports_have_them_and_nothing_of_them_is_markup():
    tree, harmless = (Tree(html(hostile(text))) for text in (BREAKING, HARMLESS))
    assert tree.tags == harmless.tags
    assert tree.tags.count("mark") == 1
    assert "50% 7 </script>" in tree.text
    records = [json.loads(line) for line in reporting.jsonl(hostile("a\x1b")).splitlines()]
    for record in records:
        jsonschema.validate(record, SCHEMA, jsonschema.Draft202012Validator)
    assert records[0]["context"] == [
        {"line": 1, "text": "a\x1b", "share": None},
        {"line": 7, "text": "a\x1b", "share": 0.5},
    ]
    assert (records[1]["context"], records[1]["context_note"]) == ([], "a\x1b")
    assert "context" not in json.loads(reporting.finding_record(FOUND))
    text = reporting.markdown(hostile("```\n@everyone \x1b[2J"))
    assert "> 7  ```\\n@everyone \\x1b[2J" in text
    assert "````text" in text


def test_markdown_stays_a_comment():
    long = Context(tuple(ContextLine(line, "x" * 1000) for line in range(1, 200)))
    found = [replace(FOUND, id=f"{row:012x}", context=long) for row in range(20)]
    assert len(reporting.markdown(Findings(found, findings_of().summary))) < 65_536
