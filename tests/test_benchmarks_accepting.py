"""The counting of benchmarks/accepting.py, on findings whose figures can be counted by hand."""

import sys
from types import SimpleNamespace

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, no part of the installed package

import accepting as benchmark

from logmoe.accepting_logmoe import Accepted

ONE, TWO = "1" * 12, "2" * 12


def told(recording, identity, faults, *masked):
    entries = [SimpleNamespace(masked=text, share=1 / len(masked)) for text in masked]
    accepted = Accepted(identity, tuple(sorted(masked)))
    return benchmark.Told(recording, SimpleNamespace(id=identity, entries=entries), accepted, frozenset(faults))


def test_what_is_hidden_and_what_is_left_out_elsewhere():
    seen = benchmark.measure(
        [
            told("a", ONE, (), "disk full"),  # a false alarm like what the fault "disk" makes in b
            told("a", ONE, ("disk",), "disk full", "write failed"),
            told("b", ONE, ("disk",), "disk full"),
            told("b", TWO, ("net",), "disk full"),
        ]
    )
    # In a "disk" is still told, in b it is hidden, "net" has another id.
    assert (seen["false_alarms"], seen["false_alarms:faults"], seen["false_alarms:faults_hidden"]) == (1, 3, 1)
    # Of the two of "disk" each could hide "net"; that of "net" could hide "disk" in both.
    assert (seen["of_a_fault"], seen["of_a_fault:faults"], seen["of_a_fault:faults_hidden"]) == (3, 4, 0)
    # a's and b's, both ways: b's accepted, a's has an entry more.
    assert (seen["same:pairs"], seen["same:left_out"]) == (2, 1)
    assert (seen["same:by_id_alone"], seen["same:by_entries_alone"]) == (2, 1)
    # a's with that of "net", both ways; a's covers its entry, but not its id.
    assert (seen["different:pairs"], seen["different:left_out"]) == (2, 0)
    assert (seen["different:by_id_alone"], seen["different:by_entries_alone"]) == (0, 1)
