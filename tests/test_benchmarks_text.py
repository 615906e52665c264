"""The counting of benchmarks/text.py, on logs whose figures can be counted by hand."""

import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, no part of the installed package

import text as benchmark


def test_novelty():
    # a b a | c b c: "a" and "b" occur before the middle, "c" does not.
    found = benchmark.novelty(np.array([0, 1, 0, 2, 1, 2]))
    assert found == {"entries": 6, "distinct": 3, "once": 0.0, "later_new": pytest.approx(2 / 3)}
    # a a | b c d: the middle entry of an odd number belongs to the later half.
    found = benchmark.novelty(np.array([0, 0, 1, 2, 3]))
    assert found == {"entries": 5, "distinct": 4, "once": pytest.approx(3 / 5), "later_new": 1.0}
    assert benchmark.novelty(np.array([], dtype=np.int64)) == {"entries": 0, "distinct": 0, "once": 0, "later_new": 0}


def test_new_texts_are_counted_and_shown():
    known = {"user <NUM> logged in", "disk full on sda"}
    texts = ["user <NUM> logged in", "disk full", "user <NUM> fell asleep", "disk full"]
    found = benchmark.new_texts(known, texts, ["user 1 logged in", "disk full", "user 2 fell asleep", "disk  full"])
    assert found == [
        {"text": "disk full", "count": 2, "example": "disk full", "new_words": []},
        {"text": "user <NUM> fell asleep", "count": 1, "example": "user 2 fell asleep"}
        | {"new_words": ["asleep", "fell"]},
    ]
    assert benchmark.new_texts(known, texts[:1], texts[:1]) == []


def test_measure_reads_each_log_for_itself():
    # The second log opens with lines that would continue the first one's last entry.
    found = benchmark.measure(["2026-11-24 03:39:15 INFO order 1\nFATAL no space", "\tat shop.Order\nINFO order 2"])
    assert {name: found[name] for name in ("lines", "entries", "distinct")} == {
        "lines": 4,
        "entries": 4,
        "distinct": 4,
    }
    assert found["lines_per_second"] > 0


def test_statements_of_a_general_log():
    lines = [
        "261124  3:39:15\t    19 Connect\tapp@localhost on shop",
        "\t\t    19 Query\tSELECT a",
        "\t FROM b",  # the statement goes on
        "261124 13:39:16\t    19 Close stmt\t",
        "2026-11-24  3:39:16 19 [Warning] Aborted connection 19",
    ]
    found = benchmark.statements(lines, np.array([1, 2, 4, 5]))
    assert found == {"lines": 5, "entries": 4, "statements": 3, "statements_that_begin_an_entry": 3}
    # Read as two entries, two statements are hidden inside the first.
    found = benchmark.statements(lines, np.array([1, 5]))
    assert found == {"lines": 5, "entries": 2, "statements": 3, "statements_that_begin_an_entry": 1}


def test_twin_of_recorded_service():
    found = benchmark.measure_twin("mosquitto")
    assert found["entries"] > 1000
    assert found["new_entries"] == sum(text["count"] for text in found["new_texts"])
    assert found["new_share"] <= benchmark.MOST_NEW
