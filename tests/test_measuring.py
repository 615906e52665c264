"""A log seen through a reference: the same however it arrives, and never by itself."""

import numpy as np
import pytest
from test_reference import LENGTH, PARSER, encoded, fit, make_log

from logmoe import measuring_logmoe, surprise_logmoe
from logmoe.habits_logmoe import HORIZONS
from logmoe.measuring_logmoe import LogMeasure
from logmoe.reference_logmoe import unit
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS, SEQUENCE_FEATURES, Surprise, sequence_inputs

EVENTS = ("info connection a", "info connection b {number}", "warn size {word}", "error fatal {word} {number}")
NEW = "fatal hardware failed at {word}"


def embed(texts):
    seeds = [sum(text.encode()) for text in texts]
    return (
        np.stack([np.random.default_rng(seed).normal(size=4) for seed in seeds]).astype(np.float16).astype(np.float32)
    )


def measure(reference, log, chunk=None, is_self=False, length=LENGTH, measurer=None, **cut):
    """By the numbers of a sequence's entries its key, entry features, inputs, and the measurer."""
    parsed = PARSER.parse(log)
    parsed.seconds, parsed.number = PARSER.timestamps(parsed), np.arange(len(parsed))
    cutter = SequenceCutter(SequenceRule(length, fill_last=True, **cut), PARSER)
    measurer = measurer or LogMeasure(reference, length, is_self)
    found = {}
    size = chunk or len(parsed)
    for start in range(0, len(parsed), size):
        stop = min(start + size, len(parsed))
        log, sequences = cutter.push(parsed.take(np.arange(start, stop)), stop == len(parsed))
        texts = measurer.encoder_texts(log.distinct.to_pylist())
        measured = measurer.push(log, sequences, embed(texts) if texts else np.empty((0, 4), np.float32))
        assert len(measured.keys) == len(sequences) == len(measured.inputs)
        for row, sequence in enumerate(sequences):
            key = tuple(log.number[sequence].tolist())
            features = measured.entry_features[row, : len(sequence)]
            places = measured.template[row, : len(sequence)], measured.near[row, : len(sequence)]
            found[key] = measured.keys[row], features, measured.inputs[row], *places
    return found, measurer


def same(one, two, skip=0):
    """Equal, but for numbers given to texts in another order; the level of a log may be left out."""
    assert one.keys() == two.keys()
    for numbers, (_, features, inputs, _, near) in one.items():
        np.testing.assert_allclose(features, two[numbers][1], rtol=1e-5, atol=1e-5, err_msg=str(numbers))
        kept = slice(0, len(inputs) - skip)
        np.testing.assert_allclose(inputs[kept], two[numbers][2][kept], rtol=1e-5, atol=1e-5, err_msg=str(numbers))
        np.testing.assert_array_equal(near, two[numbers][4])


@pytest.fixture(scope="module")
def reference():
    return encoded(fit(make_log(600, 1, events=EVENTS)))


LOG = make_log(170, 2, events=(*EVENTS, NEW))


@pytest.mark.parametrize("cut", [{}, {"stride": 3}, {"stride": 1}], ids=str)
@pytest.mark.parametrize("is_self", [False, True], ids=["reference", "self"])
def test_chunks_do_not_matter(reference, cut, is_self):
    reference = encoded(fit(LOG)) if is_self else reference
    whole, measurer = measure(reference, LOG, is_self=is_self, **cut)
    assert not all(np.isnan(inputs).any() for _, _, inputs, _, _ in whole.values())
    for chunk in (7,) if "stride" in cut else (1, 7, 64):
        pieces, of_pieces = measure(reference, LOG, chunk, is_self, **cut)
        same(pieces, whole)
        assert (of_pieces.num_entries, of_pieces.num_familiar) == (170, measurer.num_familiar)
    assert (measurer.num_familiar == 170) == is_self


@pytest.mark.parametrize("is_self", [False, True], ids=["reference", "self"])
def test_how_many_are_measured_at_once_does_not_matter(reference, is_self, monkeypatch):
    reference = encoded(fit(LOG)) if is_self else reference
    whole, _ = measure(reference, LOG, is_self=is_self, stride=1)
    calls = []
    once = Surprise.measure
    monkeypatch.setattr(Surprise, "measure", lambda *args: calls.append(len(args[2])) or once(*args))
    for module in (measuring_logmoe, surprise_logmoe):
        monkeypatch.setattr(module, "SEQUENCES_PER_CALL", 5)
    same(measure(reference, LOG, is_self=is_self, stride=1)[0], whole)
    assert max(calls) == 5
    assert sum(calls) == len(whole)


@pytest.mark.parametrize("is_self", [False, True], ids=["reference", "self"])
def test_chunks_do_not_matter_to_windows_by_time(is_self):
    """Of which one waits while others are complete. Only the log's level is that of those complete before."""
    cut = {"window_seconds": 25.0}
    reference = encoded(fit(LOG if is_self else make_log(600, 1, events=EVENTS), **cut))
    whole, _ = measure(reference, LOG, is_self=is_self, **cut)
    for chunk in (7, 64):
        same(measure(reference, LOG, chunk, is_self, **cut)[0], whole, skip=0 if is_self else len(INPUTS) // 3)


def with_sessions(log, number=20):
    rng = np.random.default_rng(0)
    return "\n".join(f"{line} session_{rng.integers(number)}" for line in log.splitlines())


@pytest.mark.parametrize("is_self", [False, True], ids=["reference", "self"])
def test_chunks_do_not_matter_to_sessions_which_have_no_past(is_self):
    cut = {"session_pattern": r"session_\d+"}
    log = with_sessions(LOG)
    reference = encoded(fit(log if is_self else with_sessions(make_log(600, 1, events=EVENTS)), **cut))
    whole, measurer = measure(reference, log, is_self=is_self, **cut)
    assert len(measurer._tail) == 0
    for chunk in (7, 64):
        same(measure(reference, log, chunk, is_self, **cut)[0], whole, skip=0 if is_self else len(INPUTS) // 3)
    rates = [
        column for column, name in enumerate(INPUTS) if "_rate" in name or "overdue" in name or "late_time" in name
    ]
    assert all(np.isnan(inputs[rates]).all() for _, _, inputs, _, _ in whole.values())


def test_the_same_log_twice_gives_the_same_and_leaves_no_trace(reference):
    first, _ = measure(reference, LOG)
    measure(reference, make_log(50, 9, events=(NEW,)))
    same(measure(reference, LOG)[0], first)


def test_what_is_measured_is_what_surprise_says(reference):
    """Of entries that the reference lacks as well, by the nearest one that it knows."""
    whole, _ = measure(reference, LOG)
    column = {name: place for place, name in enumerate(ENTRY_FEATURES)}
    parsed = PARSER.parse(LOG)
    texts = [parsed.distinct[row].as_py() for row in parsed.entry_index]
    templates = reference.templates.match(texts)
    known = unit(reference.embeddings)
    for numbers, (_, features, _, template, near) in whole.items():
        for place, number in enumerate(numbers):
            assert features[place, column["text_new"]] == (texts[number] not in reference.row_of)
            is_new = templates[number] < 0
            assert features[place, column["template_new"]] == is_new
            if is_new:
                similarity = known @ unit(embed([texts[number]]))[0]
                assert near[place] == similarity.argmax()
                assert features[place, 0] == pytest.approx(1 - similarity.max(), abs=1e-5)
                assert template[place] >= len(reference.templates.texts)
            else:
                assert near[place] == template[place] == templates[number]
                assert features[place, 0] == 0


def test_keys_tell_apart_what_the_stack_reads(reference):
    log = "\n".join(["info connection a"] * 16 + ["info connection zzz"] * 8 + ["fatal x", *["info connection a"] * 7])
    whole, _ = measure(reference, log)
    keys = [key for key, *_ in whole.values()]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_self_measures_each_block_by_the_others():
    """What only one block holds is new everywhere in it, and nowhere counted as usual there."""
    lines = [f"info connection {'abcde'[i % 5]}" for i in range(480)]
    lines[160:320:2] = ["fatal hardware failed"] * 80
    reference = encoded(fit("\n".join(lines)))
    for chunk in (None, 50):
        whole, _ = measure(reference, "\n".join(lines), chunk, is_self=True)
        place = ENTRY_FEATURES.index("text_new")
        for numbers, (_, features, *_) in whole.items():
            expected = [lines[number].startswith("fatal") for number in numbers]
            np.testing.assert_array_equal(features[:, place], expected)


def test_self_equals_measuring_by_a_reference_of_the_other_blocks():
    log = make_log(480, 3, events=EVENTS)
    reference = encoded(fit(log))
    whole, measurer = measure(reference, log, is_self=True)
    rest = np.flatnonzero((reference.first < 160) | (reference.first >= 328))
    stretch = (rest >= 328).astype(int)
    surprise = Surprise(reference.entries.take(rest, stretch), reference.vocabulary, LENGTH)
    sequences = np.arange(160, 320).reshape(-1, LENGTH)
    entry, features = surprise.measure(reference.entries, sequences)
    inputs = sequence_inputs(features, reference.healthy(LENGTH).features, measurer._level)
    for row, sequence in enumerate(sequences.tolist()):
        _, got, got_inputs, *_ = whole[tuple(sequence)]
        np.testing.assert_allclose(got, entry[row], atol=1e-6)
        np.testing.assert_allclose(got_inputs, inputs[row], atol=1e-5)


def test_what_is_remembered_stays_bounded(reference, monkeypatch):
    """Of a log that never repeats itself."""
    monkeypatch.setattr(measuring_logmoe, "REMEMBERED_TEXTS", 300)
    measurer = LogMeasure(reference, LENGTH)
    letters = np.array(list("abcdefghij"))
    for start in range(0, 4000, 400):
        words = ("".join(letters[[int(digit) for digit in f"{number:05}"]]) for number in range(start, start + 400))
        log = PARSER.parse("\n".join(f"fatal {word} x {word[::-1]}" for word in words))
        log.seconds, log.number = np.full(len(log), np.nan), np.arange(start, start + 400)
        texts = measurer.encoder_texts(log.distinct.to_pylist())
        measurer.push(log, list(np.arange(400).reshape(-1, LENGTH)), embed(texts))
        assert len(measurer._unknown) <= 400
        assert len(measurer._tail) <= HORIZONS[-1] + 2 * LENGTH
    assert measurer.num_entries == 4000
    # Windows by time may leave one entry waiting for ever.
    monkeypatch.setattr(measuring_logmoe, "REMEMBERED_ENTRIES", 1000)
    _, measurer = measure(reference, make_log(1500, events=EVENTS, pace=0), 100, window_seconds=10.0)
    assert len(measurer._tail) <= 1000


@pytest.mark.parametrize("entries", [1, 2, LENGTH - 1])
def test_of_a_log_shorter_than_a_sequence_is_known_what_is_known_of_healthy_sequences(entries):
    """Not what only a past would show, which it does not have and they would."""
    whole = encoded(fit(make_log(300, 1, events=EVENTS)))
    reference, length = whole.for_log([np.arange(entries)], LENGTH)
    healthy = np.isnan(reference.healthy(length).features).all(0)
    (measured,) = measure(reference, make_log(entries, 2, events=EVENTS), length=length)[0].values()
    features = measured[2][: len(SEQUENCE_FEATURES)]
    unknown = {name for name, value in zip(SEQUENCE_FEATURES, features, strict=True) if np.isnan(value)}
    assert unknown == set(np.array(SEQUENCE_FEATURES)[healthy])
    rates = {name for name in SEQUENCE_FEATURES if "_rate" in name}
    assert unknown == rates | set(SEQUENCE_FEATURES[-4:]) | ({"slow", "fast"} if entries == 1 else set())


@pytest.mark.parametrize("entries", [1, 12, LENGTH, 40])
def test_small_references_measure_logs_of_any_length(entries):
    reference = encoded(fit(make_log(entries, 1, events=EVENTS)))
    for number in (1, LENGTH, LENGTH + 1):
        whole, _ = measure(reference, make_log(number, 2, events=(*EVENTS, NEW)), length=min(number, LENGTH))
        assert all(np.isfinite(features[:, :-1]).all() for _, features, *_ in whole.values())
