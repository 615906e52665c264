"""Values take the names that a fields line lists, and no line is lost or misnamed."""

import io

import pytest

from logmoe.parsing_logmoe import EntryStream, LogParser
from logmoe.reading_logmoe import LogReader
from logmoe.tables_logmoe import LONGEST_NAMES

LOG = """#Software: Microsoft Internet Information Services 10.0
#Fields: time date sc-status cs(User-Agent)
06:25:01 2026-03-12 500 Mozilla/5.0+(X11)
a line of words that is no record of this table
06:25:02 2026-03-12 404 "Mozilla/5.0 (X11; Linux)"
#Fields: date time cs-uri-stem
2026-03-12 06:25:03 /cart
#separator \\x09
#fields\tts\tuid\tnote
1773296704.5\tCk9\twith a space
"""
NAMED = [
    (3, "date=2026-03-12 time=06:25:01 sc-status=500 cs(User-Agent)=Mozilla/5.0+(X11)"),
    (4, "a line of words that is no record of this table"),
    (5, 'date=2026-03-12 time=06:25:02 sc-status=404 cs(User-Agent)="Mozilla/5.0 (X11; Linux)"'),
    (7, "date=2026-03-12 time=06:25:03 cs-uri-stem=/cart"),
    (10, "ts=1773296704.5 uid=Ck9 note=with a space"),
]


def test_values_take_the_names_of_the_fields_line_in_force():
    parser = LogParser()
    parsed = parser.parse(LOG)
    assert list(zip(parsed.first_line.tolist(), parsed.text.to_pylist(), strict=True)) == NAMED
    assert parser.headers(parsed).iso() == [
        "2026-03-12T06:25:01",
        None,
        "2026-03-12T06:25:02",
        "2026-03-12T06:25:03",
        "2026-03-12T06:25:04.5",
    ]
    assert "<HTTP_SERVER_ERROR> 500" in parser.mask(parsed.text)[0].as_py()
    assert "<HTTP_NOT_FOUND> 404" in parser.mask(parsed.text)[2].as_py()


@pytest.mark.parametrize("chunk_bytes", [1, 20, 64, 200])
def test_fields_hold_across_chunks(chunk_bytes):
    stream, found = EntryStream(LogParser(), chunk_bytes), []
    for chunk in LogReader(io.BytesIO(LOG.encode()), chunk_bytes):
        entries = stream.push(chunk).entries
        found += zip(entries.first_line.tolist(), entries.text.to_pylist(), strict=True)
    assert found == NAMED


def test_the_next_log_starts_without_fields():
    parsed, offsets = LogParser().parse_batch([LOG, "2026-03-12 06:25:03 /cart"])
    assert parsed.text[int(offsets[1])].as_py() == "2026-03-12 06:25:03 /cart"


def test_names_that_every_row_would_repeat_without_end_are_none():
    for longest, row in ((LONGEST_NAMES // 2, f"{'a' * (LONGEST_NAMES // 2)}=7 b=8"), (LONGEST_NAMES, "7 8")):
        assert LogParser().parse(f"#Fields: {'a' * longest} b\n7 8\n").text.to_pylist() == [row]


def test_rules_without_tables_leave_the_values_as_they_are():
    assert LogParser(transports=[]).parse("#Fields: date\n2026-03-12").text.to_pylist() == ["2026-03-12"]
