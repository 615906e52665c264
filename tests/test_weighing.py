"""Judging logs against references, end to end with a tiny model of random weights: any length, any way in."""

import gzip
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from conftest import tiny_encoder_config
from test_reference import EVENTS, LENGTH, WORDS, features_pipe, make_log

from logmoe.fitting_logmoe import StreamPast
from logmoe.judging_logmoe import anomaly_probability
from logmoe.measuring_logmoe import TimeOrder
from logmoe.reasons_logmoe import ranked
from logmoe.reference_logmoe import LogReference
from logmoe.surprise_logmoe import RunningLevel
from logmoe.weighing_logmoe import LEAST_LEARNED, LEAST_UNTRAINED, USUAL_UNTRAINED, Against, Scale, Weigher

FAULTY = (*EVENTS, "error fatal {word} hardware failed")


@pytest.fixture(scope="module")
def pipe():
    return features_pipe()


@pytest.fixture(scope="module")
def reference(pipe):
    return pipe.fit(make_log(800, 1))


@pytest.fixture
def log_file(tmp_path):
    def write(text, name="x.log"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def margins(sequences):
    """By the lines of a sequence its margin."""
    return {
        tuple(entry["line"] for entry in sequence["entries"]): sequence["logits"][1] - sequence["logits"][0]
        for sequence in sequences
    }


def assert_alike(sequences, others):
    one, two = margins(sequences), margins(others)
    assert one.keys() == two.keys()
    assert list(one.values()) == pytest.approx([two[lines] for lines in one], abs=1e-4)


@pytest.mark.parametrize("entries", [1, LENGTH, LENGTH + 1, 4 * LENGTH, 8 * LENGTH, 67])
def test_logs_of_any_length_by_call_scan_and_stream(pipe, reference, log_file, entries):
    """The last window is filled up with entries before it; a log shorter than one is a sequence of its own."""
    log = make_log(entries, 2, events=FAULTY)
    result = pipe(log, reference=reference)
    assert result["mode"] == "reference"
    assert 0 < result["familiarity"] <= 1
    assert all(len(sequence["entries"]) == min(entries, LENGTH) for sequence in result["sequences"])
    assert len(result["sequences"]) == -(-entries // LENGTH)
    path = log_file(log)
    for chunk_bytes in (90, 1000, 1 << 20):
        scan = pipe.scan(path, reference=reference, chunk_bytes=chunk_bytes)
        assert_alike(result["sequences"], scan)
        assert (scan.statistics.mode, scan.statistics.measured_entries) == ("reference", entries)
        assert scan.statistics.familiar_entries == round(result["familiarity"] * entries)
    assert_alike(result["sequences"], pipe.scan(io.BytesIO(log.encode()), reference=reference))
    assert_alike(result["sequences"], pipe([log.splitlines()], reference=reference)[0]["sequences"])
    both = pipe([make_log(30, 5), log], reference=reference)
    assert_alike(result["sequences"], both[1]["sequences"])


@pytest.mark.parametrize(("cut", "ahead"), [({}, 24), ({"window_seconds": 20.0}, 100)], ids=str)
def test_the_level_of_a_file_is_known_before_it_is_judged_that_of_a_stream_so_far(
    pipe, log_file, monkeypatch, cut, ahead
):
    monkeypatch.setattr(RunningLevel, "AHEAD", ahead)
    reference = pipe.fit(make_log(800, 1), **cut)
    log = make_log(60 * LENGTH, 2, events=FAULTY)
    expected = pipe(log, reference=reference, **cut)["sequences"]
    for chunk_bytes in (700, 1 << 20):
        assert_alike(expected, pipe.scan(log_file(log), reference=reference, chunk_bytes=chunk_bytes, **cut))
    # A stream is judged as it comes: nothing that follows is known.
    stream = list(pipe.scan(io.StringIO(log), reference=reference, **cut))
    beginning = "\n".join(log.splitlines()[: 40 * LENGTH])
    assert margins(stream[:20]) == pytest.approx(
        margins(list(pipe.scan(io.StringIO(beginning), reference=reference, **cut))[:20]), abs=1e-4
    )
    with pytest.raises(AssertionError):
        assert_alike(expected, stream)


@pytest.mark.parametrize(
    "cut", [{}, {"stride": 3}, {"window_seconds": 20.0}, {"session_pattern": "started|moved|time"}], ids=str
)
def test_a_log_judged_by_itself_by_call_and_scan(pipe, log_file, cut):
    log = make_log(260, 2, events=FAULTY)
    result = pipe(log, **cut)
    assert result["mode"] == "self"
    assert result["familiarity"] is None
    assert all(sequence["healthy_rarity"] is None for sequence in result["sequences"])
    for chunk_bytes in (2500, 1 << 20):
        scan = pipe.scan(log_file(log), chunk_bytes=chunk_bytes, **cut)
        assert_alike(result["sequences"], scan)
        assert (scan.statistics.mode, scan.statistics.kept_rate) == ("self", None)


@pytest.mark.parametrize(("entries", "mode"), [(255, "none"), (256, "self")])
def test_short_logs_are_judged_by_wording(pipe, log_file, entries, mode):
    log = make_log(entries, 2)
    assert pipe(log)["mode"] == mode
    scan = pipe.scan(log_file(log))
    list(scan)
    assert scan.statistics.mode == mode
    assert pipe(log, reference=False)["mode"] == "none"
    stream = pipe.scan(io.BytesIO(log.encode()))
    list(stream)
    assert stream.statistics.mode == "none"


def test_sessions_that_cannot_be_told_apart_are_judged_by_wording(pipe, log_file):
    """All begin in the first entry, so that no block is left to judge them by."""
    log = "info session_1 session_2\n" * 5 + "info session_1 session_2\n" * 300
    cut = {"session_pattern": r"session_\d"}
    pattern = {"session_pattern": "info"}
    for kwargs in (cut, pattern):
        result = pipe(log, **kwargs)
        scan = pipe.scan(log_file(log), **kwargs)
        assert_alike(result["sequences"], scan)
        assert scan.statistics.mode == result["mode"]


def test_a_log_whose_sequences_are_as_long_as_its_blocks_is_judged_by_wording(log_file):
    pipe = features_pipe(length=128)
    log = make_log(260, 2)
    assert pipe(log)["mode"] == "none"
    assert len(list(pipe.scan(log_file(log)))) == 3


def test_ways_to_give_what_is_healthy(pipe, log_file, tmp_path):
    text, other = make_log(200, 1), make_log(100, 4, events=EVENTS[::-1])
    path = log_file(text)
    expected = pipe.fit(text)
    for given in (path, str(path), text.splitlines(), expected, text.encode()):
        fitted = pipe.fit(given)
        assert fitted.texts == expected.texts
        assert fitted.count.tolist() == expected.count.tolist()
        np.testing.assert_allclose(fitted.embeddings, expected.embeddings, atol=1e-3)
    both = pipe.fit(text, other)
    for merged in (pipe.fit(expected, other), pipe.fit(expected, pipe.fit(other))):
        assert merged.texts == both.texts
        assert len(merged) == 300
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "1.log").write_text(text)
    (folder / "2.log").write_text(other)
    assert pipe.fit(folder).texts == both.texts
    saved = tmp_path / "saved"
    expected.save_pretrained(saved)
    assert pipe.fit(saved, other).texts == both.texts
    log = make_log(40, 3, events=FAULTY)
    results = [pipe(log, reference=given)["logits"] for given in (expected, saved, str(saved), path)]
    assert all(logits == pytest.approx(results[0], abs=1e-3) for logits in results)
    # What changed meanwhile is read again.
    both.save_pretrained(saved)
    assert pipe(log, reference=saved)["logits"] == pytest.approx(pipe(log, reference=both)["logits"], abs=1e-4)
    for nothing, error in (((), ValueError), (("\n\n",), ValueError), ((tmp_path / "none",), FileNotFoundError)):
        with pytest.raises(error):
            pipe.fit(*nothing)


def test_references_that_do_not_fit_are_refused(pipe, reference, model, processor):
    log = make_log(40)
    for cut in ({"window_seconds": 10.0}, {"session_pattern": "started|moved"}, {"entry_pattern": "^2026"}):
        with pytest.raises(ValueError, match="fit it again"):
            pipe(log, reference=reference, **cut)
        with pytest.raises(ValueError, match="fit it again"):
            pipe.scan(io.BytesIO(log.encode()), reference=reference, **cut)
        with pytest.raises(ValueError, match="fit it again"):
            pipe.fit(reference, **cut)
    other = features_pipe(encoder_config=tiny_encoder_config(intermediate_size=32))
    with pytest.raises(ValueError, match="another encoder"):
        other(log, reference=reference)
    assert pipe(log, reference=reference, max_sequence_length=5)["mode"] == "reference"
    plain = type(pipe)(model, processor=processor)
    for use in (lambda: plain(log, reference=reference), lambda: plain.fit(log)):
        with pytest.raises(ValueError, match="labels alone"):
            use()


def test_entries_too_long_for_the_model_are_said_to_be_truncated(pipe, log_file):
    """Also those whose embedding the reference has."""
    log = make_log(40, 1) + f"info {'fatal ' * 60}\n" + make_log(220, 2)
    for kwargs in ({"reference": pipe.fit(log)}, {"reference": pipe.fit(make_log(40))}, {}):
        sequences = pipe(log, **kwargs)["sequences"]
        truncated = {e["line"] for sequence in sequences for e in sequence["entries"] if e["truncated"]}
        scan = pipe.scan(log_file(log), chunk_bytes=4000, **kwargs)
        assert {e["line"] for sequence in scan for e in sequence["entries"] if e["truncated"]} == truncated == {41}
        assert scan.statistics.truncated_entries == 1


def test_a_file_damaged_at_its_end_gives_what_can_be_read(pipe, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "x.log.gz"
    log = "\n".join(f"{line} {rng.bytes(12).hex()}" for line in make_log(600).splitlines())
    path.write_bytes(gzip.compress(log.encode())[:-2000])
    scan, found = pipe.scan(path, chunk_bytes=4096), []
    with pytest.raises(ValueError, match="damaged|truncated|end"):
        found.extend(scan)
    assert scan.statistics.mode == "self"


# ---------------------------------------------------------------------- the promise on false alarms


def called(pipe, log, **kwargs):
    return sum(sequence["label"] == "anomaly" for sequence in pipe(log, **kwargs)["sequences"])


def test_a_stricter_rate_calls_no_more(pipe, reference):
    log = make_log(320, 7, events=FAULTY)
    rates = [0.3, 0.1, 0.02]
    calls = [called(pipe, log, reference=reference, false_alarm_rate=rate) for rate in rates]
    assert calls == sorted(calls, reverse=True)
    assert calls[0] > calls[-1]
    per_day = [called(pipe, log, reference=reference, false_alarms_per_day=number) for number in (5000, 500)]
    assert per_day == sorted(per_day, reverse=True)


def test_of_healthy_sessions_no_more_is_called_than_was_promised():
    """Split conformal: the rate, and three deviations of chance.

    Sessions, as windows share their past; and the sum of ranks: healthy sequences are measured against two thirds of a
    reference, so that they are rather more surprising than others, which random weights may take for the better.
    """
    pipe = features_pipe(untrained_weight=1.0)
    cut, rates = {"session_pattern": r"blk_\d+"}, (0.05, 0.2)

    def with_sessions(log):
        return "\n".join(f"{line} blk_{1000 + row // LENGTH}" for row, line in enumerate(log.splitlines()))

    shares = []
    for seed in range(3):
        reference = pipe.fit(with_sessions(make_log(960, 100 + seed)), **cut)
        log = with_sessions(make_log(960, 200 + seed))
        results = [pipe(log, reference=reference, false_alarm_rate=rate, **cut)["sequences"] for rate in rates]
        shares.append([np.mean([sequence["label"] == "anomaly" for sequence in result]) for result in results])
    for rate, share in zip(rates, np.mean(shares, axis=0), strict=True):
        chance = np.sqrt(2 * rate * (1 - rate) / 120 / len(shares))
        assert rate / 3 < share <= rate + 3 * chance


def test_the_threshold_keeps_the_rate_that_it_names():
    healthy = np.arange(99.0)
    scale = Scale((0.0, 1.0), (0.0, 1.0), 0.5, np.ones(1), healthy, np.zeros(1), 0.0)
    for rate, above in ((0.01, 0), (0.02, 1), (0.1, 9), (0.999, 98)):
        threshold, kept = scale.threshold(rate)
        assert kept == rate
        assert (healthy >= threshold).sum() == above
        assert (scale.rarity(np.array([threshold])) <= rate).all()
    # With fewer healthy sequences than the rate needs, the rate that they allow.
    threshold, kept = scale.threshold(0.001)
    assert kept == 1 / 100
    assert threshold > healthy.max()
    assert scale.rarity(np.array([98.0, 1e9])).tolist() == [0.02, 0.01]


@pytest.mark.parametrize(
    ("threshold", "above_usual", "expected"),
    [
        (1.0, 0.0, {-1.0: -2.0, 1.0: 0.0, 3.0: 2.0}),
        # Healthy sequences are much alike: what is a little odder would be usual elsewhere.
        (0.5, 0.0, {-1.0: -2.0, 0.4: -0.4, 0.5: 0.0, 0.75: 0.025, 3.0: 2.0}),
        # One stands out: what is odder is as sure as elsewhere, what is a little less odd is not.
        (2.0, 0.0, {-1.0: -2.0, 0.5: -0.5, 1.5: -0.05, 2.0: 0.0, 2.1: 0.4, 3.0: 2.0, 9.0: 8.0}),
        # All are odder than usual, and less odd.
        (2.0, 1.5, {-1.0: -0.5, 1.5: -0.05, 2.0: 0.0, 2.1: 0.4, 3.0: 3.5}),
        (1.0, -1.5, {-1.0: -3.5, 1.0: 0.0, 1.5: 0.05, 3.0: 0.5}),
    ],
)
def test_margins_are_alike_wherever_the_promise_ends(pipe, reference, threshold, above_usual, expected):
    weigher = Against(reference).weigher(pipe.predictor, reference, LENGTH)
    weigher.threshold, weigher.scale = threshold, replace(weigher.scale, above_usual=above_usual)
    scores = np.array(list(expected))
    assert weigher.margin(scores) == pytest.approx(weigher.slope * np.array(list(expected.values())))
    scores = np.unique(np.append(np.linspace(-3, 5, 1001), [threshold, np.nextafter(threshold, -1)]))
    margins = weigher.margin(scores)
    assert (np.diff(margins) > 0).all()
    assert np.abs(np.diff(margins)).max() < 0.04 * weigher.slope  # no jump
    assert ((margins >= 0) == (scores >= threshold)).all()
    # Also where it is a last bit that tells, the label is what the promise says.
    assert ((anomaly_probability(margins) >= 0.5) == (scores >= threshold)).all()


@pytest.mark.parametrize("threshold", [0.2, 1.5])
def test_shares_and_reasons_are_of_the_margin_wherever_the_promise_ends(pipe, reference, monkeypatch, threshold):
    monkeypatch.setattr(Scale, "threshold", lambda scale, rate: (threshold, rate))
    lost, weighed = [], []
    losses, weigh = Weigher.losses, Weigher.weigh

    def remembered(kept, value, result):
        kept.append(value)
        return result

    monkeypatch.setattr(Weigher, "losses", lambda self, *args: remembered(lost, found := losses(self, *args), found))
    monkeypatch.setattr(
        Weigher, "weigh", lambda self, *args: remembered(weighed, (self, found := weigh(self, *args)), found)
    )
    sequences = pipe(make_log(320, 7, events=FAULTY), reference=reference)["sequences"]
    assert {sequence["label"] for sequence in sequences} == {"anomaly", "normal"}
    ((weigher, evidence),) = weighed
    medians, told = [], 0
    for sequence, score in zip(sequences, evidence.scores, strict=True):
        margin = sequence["logits"][1] - sequence["logits"][0]
        shares = sum(entry["score"] for entry in sequence["entries"]) + sum(sequence["evidence"].values())
        medians.append(margin - shares)
        if sequence["label"] == "normal":
            continue
        # What the margin loses where what speaks for a reason is as in a healthy median sequence.
        of, told = lost[told], told + 1
        for reason in sequence["reasons"]:
            without = float(weigher.margin(score - of[reason["kind"]]))
            assert reason["weight"] == pytest.approx(margin - without, abs=1e-6)
        ranks = [ranked(reason["kind"], reason["weight"]) for reason in sequence["reasons"]]
        assert ranks == sorted(ranks, reverse=True)
    assert medians == pytest.approx([medians[0]] * len(medians), abs=1e-3)
    assert told == len(lost) > 0


def with_new_kinds(log, places, verb="failed"):
    lines = log.splitlines()
    for place in places:
        lines[place] = f"{lines[place][:19]} fatal {WORDS[place % len(WORDS)]} hardware {verb} {'to ' * (place % 4)}"
    return "\n".join(lines)


@pytest.mark.parametrize(("new_in_healthy", "fewest"), [(0, 2), (4, 6)])
def test_what_is_of_new_kinds_to_a_large_part_is_anomalous_whatever_speaks_against_it(
    pipe, monkeypatch, new_in_healthy, fewest
):
    """A quarter of a sequence's entries more than in any healthy one."""
    reference = pipe.fit(with_new_kinds(make_log(800, 1), range(400, 400 + new_in_healthy), verb="moved"))
    monkeypatch.setattr(Scale, "threshold", lambda scale, rate: (50.0, rate))
    few, many = range(9 * LENGTH, 9 * LENGTH + fewest - 1), range(12 * LENGTH, 12 * LENGTH + fewest)
    log = with_new_kinds(make_log(20 * LENGTH, 2), [*few, *many])
    sequences = pipe(log, reference=reference)["sequences"]
    assert [place for place, sequence in enumerate(sequences) if sequence["label"] == "anomaly"] == [12]
    medians, told = [], sequences[12]
    for sequence in sequences:
        shares = sum(entry["score"] for entry in sequence["entries"]) + sum(sequence["evidence"].values())
        medians.append(sequence["logits"][1] - sequence["logits"][0] - shares)
    assert medians == pytest.approx([medians[0]] * len(medians), abs=1e-3)
    # Nothing else made it so, and it is for these entries.
    assert [reason["kind"] for reason in told["reasons"]] == ["new_entry"]
    by_score = sorted(told["entries"], key=lambda entry: -entry["score"])
    assert {entry["line"] - 1 for entry in by_score[:fewest]} == set(many)


def test_where_all_is_new_nothing_stands_out_by_that(pipe, reference, monkeypatch):
    """A reference that does not fit is told by familiarity."""
    monkeypatch.setattr(Scale, "threshold", lambda scale, rate: (50.0, rate))
    log = with_new_kinds(make_log(40 * LENGTH, 2), range(40 * LENGTH))
    assert {sequence["label"] for sequence in pipe(log, reference=reference)["sequences"]} == {"normal"}


def test_only_healthy_sequences_say_how_much_is_new_in_one(pipe, reference):
    def most_new(against, of):
        return against.weigher(pipe.predictor, of, LENGTH).scale.most_new

    assert most_new(Against(reference), reference) == 0
    assert most_new(Against(reference, by_labels=True), reference) == np.inf
    assert most_new(Against(None), reference) == np.inf
    run, few = reference.as_run(), pipe.fit(make_log(3 * LENGTH, 1))
    assert most_new(Against(run), run) == most_new(Against(few), few) == np.inf


def test_a_healthy_log_that_repeats_itself_to_the_letter_leaves_room_for_others(pipe):
    def periodic(entries, skipped=()):
        return "\n".join(
            f"2026-01-01 {row // 3600:02}:{row // 60 % 60:02}:{row % 60:02} info step {'abcd'[row % 4]} done"
            for row in range(entries)
            if row not in skipped
        )

    reference = pipe.fit(periodic(200 * LENGTH))
    weigher = Against(reference).weigher(pipe.predictor, reference, LENGTH)
    config = pipe.model.config
    # Scores of healthy sequences are all but equal, and yet a difference of any size is not the rarest in a hundred.
    assert weigher.scale.learned[1] == pytest.approx(LEAST_LEARNED * config.reference_scale[1])
    assert weigher.scale.untrained[1] >= LEAST_UNTRAINED
    assert 0.5 < weigher.threshold <= 1.0


@pytest.mark.parametrize("chunk_bytes", [500, 1 << 20])
def test_entries_out_of_the_order_of_time_are_counted(pipe, reference, log_file, chunk_bytes):
    lines = make_log(100, 2).splitlines()
    counts = []
    for log in (lines, lines[50:] + lines[:50], lines[::-1]):
        scan = pipe.scan(log_file("\n".join(log)), reference=reference, chunk_bytes=chunk_bytes)
        list(scan)
        counts.append(scan.statistics.backward_entries)
    assert counts[:2] == [0, 1]
    assert counts[2] > 20  # not all: many entries are a second apart, or less
    in_memory = pipe.findings("\n".join(lines[::-1]), reference=reference)
    assert in_memory.summary.total("backward_entries") == counts[2]


@pytest.mark.parametrize(
    "written",
    ["%Y-%m-%dT%H:%M:%S.%f%z", "%b %d %H:%M:%S", "%Y-%m-%d %H:%M", "[%d/%b/%Y:%H:%M:%S %z]", "%Y/%m/%d %I:%M:%S %p"],
)
@pytest.mark.parametrize("step", [0.2, 1.0, 30.0])
def test_a_log_whose_newest_entries_come_first_is_noticed(pipe, reference, log_file, written, step):
    """However short the steps are, and however many entries one time stands before."""
    start = datetime(2026, 11, 28, 9, 59, tzinfo=UTC)
    times = [(start + timedelta(seconds=step * place)).strftime(written) for place in range(640)]
    lines = [f"{time} info step {'abcd'[place % 4]} done" for place, time in enumerate(times)]
    scan = pipe.scan(log_file("\n".join(lines)), reference=reference)
    list(scan)
    assert scan.statistics.backward_entries == 0
    for chunk_bytes in (3000, 1 << 20):
        scan = pipe.scan(log_file("\n".join(lines[::-1])), reference=reference, chunk_bytes=chunk_bytes)
        list(scan)
        # Two steps back, of a minute each, may be something else.
        is_few = written.endswith("%M") and step < 0.5
        assert scan.statistics.backward_entries == (2 if is_few else 639)


def test_entries_of_threads_that_overtake_each_other_are_in_order():
    order = TimeOrder()
    for start in range(0, 100, 10):
        number = np.arange(start, start + 10)
        for _ in range(2):  # counted once
            order.add(number, number + 1.7 * (number % 2))
    assert order.num_backward == 0
    assert (order.back, order.forward, order.number) == (49, 50, 100)
    order.add(np.arange(100, 104), np.array([99.0, 98.9, np.nan, 90.0]))
    assert (order.back, order.late, order.num_backward) == (52, 2, 2)


def test_a_stream_that_goes_back_in_time_is_counted_as_a_whole(pipe, monkeypatch):
    """From where it is judged by what came before, however often that is renewed."""
    monkeypatch.setattr(StreamPast, "FIRST", 64)
    lines = make_log(400, 2).splitlines()[::-1]
    counts = []
    for end in (128, 400):  # before the past is renewed, and long after
        scan = pipe.scan(io.StringIO("\n".join(lines[:end])))
        list(scan)
        counts.append(scan.statistics.backward_entries)
    assert counts[1] > 3 * counts[0] > 0


def test_the_start_of_a_healthy_log_does_not_set_the_bar(pipe):
    start = "\n".join(f"2026-01-01 00:00:00 warn slab class {word} of zebra" for word in "abcdefghijkl")
    log = make_log(800, 1)
    thresholds = []
    for healthy in (log, f"{start}\n{log}", f"{log}\n{start}\n{log}"):
        reference = pipe.fit(healthy)
        weigher = Against(reference).weigher(pipe.predictor, reference, LENGTH)
        thresholds.append(weigher.threshold)
    assert thresholds[1] == pytest.approx(thresholds[0], abs=0.5)
    assert len(weigher.scale.healthy) == len(reference) // LENGTH


def test_the_spread_of_few_healthy_scores_is_drawn_to_the_usual_one(pipe):
    spreads = []
    for entries in (5 * LENGTH, 1600 * LENGTH):
        reference = pipe.fit(make_log(entries, 1))
        spreads.append(Against(reference).weigher(pipe.predictor, reference, LENGTH).scale.untrained[1])
    assert abs(spreads[0] - USUAL_UNTRAINED) < 0.1 * USUAL_UNTRAINED < abs(spreads[1] - USUAL_UNTRAINED)
    # Nor do few promise what many do: what the usual spread would not call is not called.
    few = Scale((0.0, 1.0), (0.0, 1.0), 0.5, np.ones(1), np.array([-0.5, 0.0, 0.2, 0.5]), np.zeros(1), 0.0)
    assert few.threshold(0.01) == (1.0, 1 / 5)
    assert few.threshold(0.2) == (np.nextafter(0.5, 1), 0.2)


def test_saved_and_merged_references_keep_the_promise_of_fitted_ones(pipe, reference, tmp_path):
    reference.save_pretrained(tmp_path)
    log = make_log(100, 7, events=FAULTY)
    expected = pipe(log, reference=reference, false_alarm_rate=0.05)
    assert pipe(log, reference=LogReference.from_pretrained(tmp_path), false_alarm_rate=0.05) == expected
    halves = pipe.fit(make_log(400, 1)), pipe.fit(make_log(400, 2))
    merged = halves[0].merge(halves[1])
    assert_alike(
        pipe(log, reference=merged)["sequences"],
        pipe(log, reference=pipe.fit(make_log(400, 1), make_log(400, 2)))["sequences"],
    )


@pytest.mark.parametrize("chunk_bytes", [90, 700, 5000])
def test_a_stream_is_judged_by_what_came_before(pipe, monkeypatch, chunk_bytes):
    monkeypatch.setattr(StreamPast, "FIRST", 64)
    log = make_log(400, 2, events=FAULTY)
    expected = list(pipe.scan(io.StringIO(log)))
    assert [sequence["mode"] for sequence in expected] == ["none"] * (64 // LENGTH) + ["self"] * (336 // LENGTH)
    scan = pipe.scan(io.StringIO(log), chunk_bytes=chunk_bytes)
    assert_alike(expected, scan)
    assert scan.statistics.mode == "self"
    # What comes later changes nothing.
    beginning = "\n".join(log.splitlines()[: 40 * LENGTH])
    assert_alike(expected[:40], list(pipe.scan(io.StringIO(beginning)))[:40])


@pytest.mark.parametrize("promise", [{"false_alarm_rate": 0.1}, {"false_alarms_per_day": 5}], ids=str)
@pytest.mark.parametrize("reference", [None, False])
def test_nothing_is_promised_without_a_healthy_log(pipe, log_file, promise, reference):
    (name,) = promise
    for judge in (pipe, lambda log, **kwargs: pipe.scan(log_file(log), **kwargs)):
        with pytest.raises(ValueError, match=f"`{name}` is a promise about healthy logs, and needs one"):
            judge(make_log(300, 2), reference=reference, **promise)
