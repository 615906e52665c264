"""What detectors, references and public logs of benchmarks/accuracy.py are, on logs that can be worked out by hand."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, no part of the installed package

import accuracy_detectors as detectors
import accuracy_public as public
import accuracy_recordings as recordings_of
import accuracy_rivals as rivals

from logmoe.applying_logmoe import PreparedLog
from logmoe.fitting_logmoe import with_places
from logmoe.sequences_logmoe import SequenceCutter


@pytest.fixture
def remembering(model, processor):
    model.add_placeholders(processor)
    return detectors.RememberingPipeline(model, processor=processor)


def prepare(pipe, lines):
    rule = pipe._rule(pipe.processor)
    parsed = pipe.processor.parse(lines)
    return PreparedLog(parsed, SequenceCutter(rule, pipe.processor).cut(parsed), rule)


# ---------------------------------------------------------------------- recordings


def test_stretches():
    found = detectors.stretches_of(np.array([1, 1, 0, 1, 0, 0, 1, 1, 1], bool))
    assert [stretch.tolist() for stretch in found] == [[0, 1], [3], [6, 7, 8]]
    assert detectors.stretches_of(np.zeros(3, bool)) == []


def test_dirt_is_a_share_of_what_is_kept_and_comes_as_it_was_recorded():
    # Of 310 healthy entries 200 are kept; faults caused 3 in each of two stretches of one log, and none in the other.
    healthy, caused = [np.ones(120, bool), np.ones(200, bool)], [np.zeros(120, bool), np.zeros(200, bool)]
    healthy[0][20:25] = healthy[0][60:65] = False
    caused[0][[21, 22, 24, 61, 62, 64]] = True
    kept = [mask.copy() for mask in healthy]
    kept[0][110:] = kept[1][100:] = False
    before = kept[0].copy()
    recordings_of.soil(kept, healthy, caused, np.random.default_rng(0))
    added = np.flatnonzero(kept[0] & ~before)
    assert caused[0][added].sum() == round(0.02 * 200)
    # One stretch whole, and of the other, from its beginning, no more than is wanted.
    assert added.tolist() in ([20, 21, 60, 61, 62, 63, 64], [20, 21, 22, 23, 24, 60, 61])
    assert kept[1].sum() == 100


def test_without_enough_faults_dirt_is_all_there_is():
    healthy, caused = [np.ones(400, bool)], [np.zeros(400, bool)]
    healthy[0][7] = False
    caused[0][7] = True
    kept = [healthy[0].copy()]
    recordings_of.soil(kept, healthy, caused, np.random.default_rng(0))
    assert kept[0].all()


def test_references_of_a_recording(remembering):
    """No entry that a fault caused is in a healthy reference; a draw leaves some out; dirt adds some."""
    recorded = recordings_of.Recorded("redis", remembering)
    run = next(run for run in recorded.faulty if run.split == "test" and recorded.reference(run, "twin", 0))
    by_kind = {kind: recorded.reference(run, kind, 0) for kind in ("earlier", "twin", "both", "dirty")}
    sizes = {kind: reference.num_entries for kind, reference in by_kind.items()}
    assert sizes["both"] == sizes["earlier"] + sizes["twin"]
    assert sizes["earlier"] < sizes["dirty"] < 1.2 * sizes["earlier"]
    assert 0.5 * sizes["twin"] < recorded.reference(run, "twin", 1).num_entries < sizes["twin"]
    assert len(by_kind["earlier"].texts) < len(by_kind["dirty"].texts)
    for other in recorded.faulty:
        assert not (recorded.is_healthy(other) & other.labels.astype(bool)).any()


# ---------------------------------------------------------------------- detectors


def test_each_text_is_encoded_once(remembering, pipe, monkeypatch):
    encoded = []
    original = detectors.Predictor.encode
    monkeypatch.setattr(
        detectors.Predictor, "encode", lambda self, ids: encoded.extend(ids) or original(self, ids), raising=True
    )
    ids = [[2, 5, 3], [2, 6, 7, 3], [2, 5, 3]]
    found = remembering.predictor.encode(ids)
    again = remembering.predictor.encode([[2, 8, 3], *ids])[1:]
    assert encoded == [[2, 5, 3], [2, 6, 7, 3], [2, 8, 3]]
    torch.testing.assert_close(found, original(pipe.predictor, ids))
    assert torch.equal(found, again)
    remembering.forget()
    remembering.predictor.encode(ids[:1])
    assert len(encoded) == 4


def test_a_reference_knows_the_texts_of_its_own_sequences_alone(remembering):
    log = prepare(remembering, ["a b started"] * 8 + ["fatal c failed"] * 8 + ["d e started"] * 8)
    placed = with_places(log.parsed, remembering.processor)
    reference = detectors.fit_reference(remembering, log.rule, [(placed, [log.sequences[0], log.sequences[2]])])
    assert reference.texts == ["a b started", "d e started"]
    assert reference.num_entries == 16
    assert reference.entries.stretch.tolist() == [0] * 8 + [1] * 8  # what is between them makes them no neighbours


def test_counts_of_templates():
    template = np.array([[0, 1, 1], [2, 0, -1]])  # of two templates; the third is unknown
    assert rivals.count_templates(template, 2).tolist() == [[1, 2, 0], [1, 0, 1]]


def test_what_is_odd_in_counts_has_the_highest_score():
    generator = np.random.default_rng(0)
    healthy = generator.poisson([8, 4, 1, 0], size=(200, 4)).astype(np.float32)
    judged = np.array([[8, 4, 1, 0], [8, 4, 1, 20], [40, 0, 9, 0]], np.float32)
    usual, unknown, other = rivals.principal_components(healthy, 0)(judged)
    assert usual < unknown
    usual, unknown, other = rivals.isolation_forest(healthy, 0)(judged)
    assert usual < other
    assert unknown == pytest.approx(usual)  # it was never fitted to anything in that column


def test_principal_components_by_hand():
    healthy = np.array([[0, 0, 1], [2, 2, 1], [4, 4, 1]], np.float32)  # all on one line
    scores = rivals.principal_components(healthy, 0)(np.array([[6, 6, 1], [3, 1, 1], [2, 2, 4]], np.float32))
    assert scores.tolist() == pytest.approx([0, 2, 9], abs=1e-5)


def test_against_itself_a_block_is_judged_by_the_others(remembering):
    lines = ["a b started", "c d started"] * 48
    lines[40:48] = ["fatal error failed"] * 8  # one whole sequence of the second block
    log = prepare(remembering, lines)
    reference = detectors.fit_reference(
        remembering, log.rule, [(with_places(log.parsed, remembering.processor), log.sequences)]
    )
    scores = rivals.score_rivals(reference, log, True, 0, [rivals.PCA])[rivals.PCA]
    assert scores.argmax() == 5
    assert scores[[0, 4, 11]].tolist() == pytest.approx([0, 0, 0], abs=1e-5)


# ---------------------------------------------------------------------- public logs


def test_labels_by_lines():
    label = public.label_by_lines(np.array([0, 0, 1, 0, 0], bool))
    assert label(np.array([0, 1, 3]), np.array([1, 2, 4])).tolist() == [0, 1, 0]


def test_labels_by_blocks():
    # The windows of lines 0-19, 10-29 and so on; the last reaches beyond the piece.
    of_window = np.array([0, 1, 1, 0, 0])
    assert public.normal_blocks(of_window).tolist() == [True, True, False, True, True]
    label = public.label_by_blocks(of_window)
    first, last = np.array([0, 9, 0, 20, 30, 5]), np.array([19, 31, 28, 39, 49, 24])
    # 9-31 holds 10-29. 0-28 does not, but has lines of the third block, and so has 5-24: nobody can tell.
    assert label(first, last).tolist() == [0, 1, -1, 1, 0, -1]


def test_a_session_is_as_anomalous_as_its_most_anomalous_sequence():
    found = public.most_anomalous(np.array([1.0, 5.0, 2.0, 3.0]), np.array([0, 1, 0, 2]))
    assert found.tolist() == [2.0, 5.0, 3.0]


def test_sessions_are_split_by_order(remembering, tmp_path):
    # Nine sessions; the third is anomalous, in the first third.
    texts = ["\n".join([f"connection started {word}"] * 9) for word in "a b c d e info url ip at".split()]
    labels = [0, 0, 1, 0, 0, 1, 0, 0, 0]
    pq.write_table(pa.table({"log_sequence": texts, "label": labels}), tmp_path / "sessions.parquet")
    (log,) = public.read_sessions(remembering, tmp_path / "sessions.parquet", 1000)
    parsed, sequences = log.healthy
    assert parsed.distinct.to_pylist() == ["connection started a", "connection started b"]
    assert [len(sequence) for sequence in sequences] == [8, 1, 8, 1]
    (rest,), (whole,) = log.rest, log.whole
    assert rest.session.tolist() == np.repeat(np.arange(6), 2).tolist()
    assert rest.labels.tolist() == np.repeat(labels[3:], 2).tolist()
    assert whole.labels.tolist() == np.repeat(labels, 2).tolist()
    # Bounded: the first session of each third.
    (log,) = public.read_sessions(remembering, tmp_path / "sessions.parquet", 17)
    assert log.whole[0].log.parsed.distinct.to_pylist() == [
        "connection started a",
        "connection started d",
        "connection started url",
    ]
    labels[:3] = [1, 1, 1]
    pq.write_table(pa.table({"log_sequence": texts, "label": labels}), tmp_path / "sessions.parquet")
    with pytest.raises(ValueError, match=r"sessions\.parquet has no healthy session"):
        list(public.read_sessions(remembering, tmp_path / "sessions.parquet", 1000))


def test_streams_are_split_by_thirds(remembering, tmp_path):
    lines = ["connection started a"] * 30 + ["fatal error failed"] * 10 + ["connection started a"] * 140
    of_window = np.zeros(180, np.int8)
    of_window[20:40] = 1  # the windows that begin at the third and the fourth block
    pq.write_table(pa.table({"line": lines, "window20_label": of_window}), tmp_path / "stream.parquet")
    (log,) = public.read_stream(remembering, tmp_path / "stream.parquet", 1000)
    parsed, sequences = log.healthy
    healthy = np.concatenate(sequences).tolist()
    # The fourth block lies in two anomalous windows.
    assert healthy == [*range(30), *range(40, 60)][: len(healthy)]
    assert parsed.take(np.array(healthy)).distinct.to_pylist() == ["connection started a"]
    assert [len(part.log.parsed) for part in (*log.rest, *log.whole)] == [60, 60, 60, 60, 60]


def test_a_record_of_several_logs():
    one = {"LogMoE": np.array([0.0, 1.0]), "label": np.array([0, 1]), "is_called": np.array([0.0, 1.0])}
    two = {"LogMoE": np.array([3.0, 2.0]), "label": np.array([0, 1]), "is_called": np.array([1.0, 0.0])}
    record = public.record_of([one, two])
    assert record["auroc"] == {"LogMoE": 0.5}
    assert record["auroc_of_each_log"] == 0.5
    assert (record["judged"], record["found"], record["called_normal"]) == (4, 0.5, 0.5)
