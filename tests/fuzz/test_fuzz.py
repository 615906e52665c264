"""A few inputs for each way in, the same ones each time, and some that Hypothesis makes; `make fuzz` tries others."""

import random
from pathlib import Path

import pytest
from doors import DOORS
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import CORPUS, TOKENS

from logmoe.sources_logmoe import COMPRESSIONS

FOUND = Path(__file__).parent / "found"

# Logs as their writers, broken disks and attackers would put them together.
PIECES = st.sampled_from(TOKENS) | st.sampled_from([line for log in CORPUS.values() for line in log.splitlines(True)])
LOGS = st.lists(PIECES | st.binary(max_size=5) | st.text(max_size=20).map(str.encode), max_size=25).map(b"".join)


@pytest.mark.parametrize("name", DOORS)
def test_a_few_inputs(name):
    door = DOORS[name]
    for number in range(door.few):
        data = door.make(random.Random(f"{name} {number}"))
        try:
            door.check(data)
        except Exception as error:
            error.add_note(f"input {number} of {name}: {data[:2000]!r}")
            raise


# What begins like an archive is none to a reader, which says that it is damaged: `test_reader` has those as well.
@settings(max_examples=20, deadline=None)
@given(LOGS.filter(lambda data: not data.startswith(tuple(COMPRESSIONS))))
def test_text(data):
    DOORS["text"].check(data)


@settings(max_examples=60, deadline=None)
@given(LOGS)
def test_reader(data):
    DOORS["reader"].check(data)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_what_was_found_once(path):
    DOORS[path.name.partition("-")[0]].check(path.read_bytes())
