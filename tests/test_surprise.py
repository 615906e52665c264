"""Surprise features against their definitions, written out here as plain loops over one log."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmoe import habits_logmoe
from logmoe.folds_logmoe import OWN_FOLDS, log_blocks
from logmoe.habits_logmoe import HORIZONS, OF_ENTRY, OF_SEQUENCE, RETURNS, Habits, Runs, windows_of
from logmoe.surprise_logmoe import (
    ENTRY_FEATURES,
    INPUTS,
    POOLS,
    SEQUENCE_FEATURES,
    Occurrences,
    RunningLevel,
    Surprise,
    Vocabulary,
    cross_fitted,
    lower_quarter,
    pool,
    rank_evidence,
    sequence_inputs,
)
from logmoe.training.metrics import auroc

TEXTS, TEMPLATES, WIDTH = 7, 4, 3
TEMPLATE_OF = np.array([0, 0, 0, 1, 1, 2, 3])
CLOSE = {"atol": 2e-4, "rtol": 1e-4}


# ---------------------------------------------------------------------- the definitions


def plain_windows(stretches, length, stride):
    for stretch in stretches:
        for start in range(0, max(1, len(stretch) - length + 1), stride):
            yield stretch[start : start + length]


class PlainHabits:
    """One granularity; a stretch is a list of entries."""

    def __init__(self, stretches, length):
        self.count = Counter(entry for stretch in stretches for entry in stretch)
        self.total = sum(self.count.values())
        self.pairs, self.before, self.near = Counter(), Counter(), set()
        for stretch in stretches:
            for place, entry in enumerate(stretch):
                for distance in range(1, 6):
                    if place >= distance:
                        self.near.add((stretch[place - distance], entry))
                if place:
                    self.pairs[stretch[place - 1], entry] += 1
                    self.before[stretch[place - 1]] += 1
        self.windows = [Counter(window) for window in plain_windows(stretches, length, max(1, length // 2))]

    def rarity(self, entry):
        return -math.log((self.count[entry] + 0.5) / (self.total + 1))

    def of_entries(self, own, places):
        """Features of the entries of a sequence in the order of `OF_ENTRY`; `places` are the nearest known ones."""
        rows = []
        for i, (entry, place) in enumerate(zip(own, places, strict=True)):
            transition = unseen = 0.0
            if i:
                before = places[i - 1]
                prior = (self.count[place] + 0.5) / (self.total + 0.5 * len(self.count))
                transition = -math.log((self.pairs[before, place] + 2 * prior) / (self.before[before] + 2))
                near = places[max(0, i - 5) : i]
                unseen = sum((other, place) not in self.near for other in near) / len(near)
            at_least = sum(window[place] >= places.count(place) for window in self.windows)
            tail = -math.log10((at_least + 1) / (len(self.windows) + 1))
            rows.append([not self.count[entry], self.rarity(entry), self.rarity(place), transition, unseen, tail])
        return rows

    def of_sequence(self, own, places, log, end):
        """Features of a sequence in the order of `OF_SEQUENCE`; `log[:end]` is the log up to its last entry."""
        number, here = len(self.windows), Counter(places)
        missing = 0.0
        for entry in self.count:
            presence = sum(entry in window for window in self.windows) / number
            if presence > 0.5 and not here[entry]:
                missing -= math.log(max(1 - presence, 1 / (number + 1)))
        nearest = min(
            math.sqrt(sum((math.sqrt(here[e]) - math.sqrt(window[e])) ** 2 for e in here | window))
            for window in self.windows
        )
        row = [missing, nearest, math.log1p(len(here))]
        for horizon in HORIZONS:
            past = Counter(log[max(0, end - horizon) : end])
            length = min(end, horizon)

            def departure(count, expected):
                return 2 * (math.sqrt(count + 0.375) - math.sqrt(expected + 0.375))

            away = sorted(
                (departure(past[e], length * (self.count[e] + 0.25) / (self.total + 1)) for e in set(own)),
                reverse=True,
            )
            low = [0.0]
            for entry, count in self.count.items():
                expected = length * count / self.total
                if count * horizon >= 3 * self.total and expected >= 3:
                    low.append(-departure(past[entry], expected))
            row += [away[0], sum(away) / len(away), sum(away[:3]) / len(away[:3]), max(low)]
        return row


def plain_timing(stretches, length, log, time, sequence):
    """The gap of each entry; slow and fast; overdue and late, of templates `log` with `time`.

    Args:
        stretches: lists of `(entry, time)`.
    """
    gaps = [0.0] + [max(0, b[1] - a[1]) for stretch in stretches for a, b in itertools.pairwise(stretch)]
    gap_tails = []
    for position in sequence:
        gap = max(0, time[position] - time[position - 1]) if position else 0.0
        gap_tails.append(-math.log10(min(1, (sum(other >= gap for other in gaps) + 1) / len(gaps))))
    windows = list(plain_windows(stretches, length, max(1, length // 2)))
    full = [window for window in windows if len(window) == length] or windows
    durations = [max(0, window[-1][1] - window[0][1]) for window in full]
    took = max(0, time[sequence[-1]] - time[sequence[0]])
    shorter = sum(other < took for other in durations) / len(durations)
    floor = 1 / len(durations)
    slow, fast = -math.log10(min(1, 1 - shorter + floor)), -math.log10(min(1, shorter + floor))
    if len(sequence) == 1:
        slow = fast = math.nan

    most, late, is_timed = [0.0, 0.0], [0.0, 0.0], False
    for entry in {entry for stretch in stretches for entry, _ in stretch}:
        away, passed = [], []
        for stretch in stretches:
            places = [place for place, (other, _) in enumerate(stretch) if other == entry]
            for a, b in itertools.pairwise(places):
                away.append(stretch[b][1] - stretch[a][1])
                passed.append(b - a)
        if len(away) < RETURNS:
            continue
        is_timed = True
        last = max((p for p in range(sequence[0]) if log[p] == entry), default=None)
        since = (time[0], 0) if last is None else (time[last], last)
        here = next((p for p in sequence if log[p] == entry), sequence[-1])
        for column, (value, usual) in enumerate(((time[here] - since[0], away), (here - since[1], passed))):
            evidence = -math.log10((sum(other >= value for other in usual) + 1) / (len(usual) + 1))
            most[column] = max(most[column], evidence)
            late[column] += evidence * (value > max(usual))
    if not is_timed:
        most[0] = late[0] = math.nan
    return gap_tails, [slow, fast, *most, *map(math.log1p, late)]


# ---------------------------------------------------------------------- comparison


def unit_rows(rng, number):
    rows = rng.normal(size=(number, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def occurrences(rng, sizes, texts=TEXTS):
    """Stretches of random entries, of which the first ones are the most frequent."""
    text = np.minimum(rng.geometric(0.35, sum(sizes)) - 1, texts - 1)
    time = rng.choice([0.0, 0.5, 1.0, 30.0], len(text)).cumsum()
    return Occurrences(text, TEMPLATE_OF[text], time, np.repeat(np.arange(len(sizes)), sizes))


def as_stretches(log, values):
    return [[values[i] for i in np.flatnonzero(log.stretch == stretch)] for stretch in np.unique(log.stretch)]


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 8]),
    st.sampled_from([20, 150, 640]),
)
def test_features_are_those_of_the_plain_loops(seed, sizes, length, entries):
    """At both granularities, of a log that holds texts and templates that are new to the healthy one."""
    rng = np.random.default_rng(seed)
    healthy, log = occurrences(rng, sizes, texts=int(rng.integers(1, TEXTS))), occurrences(rng, [entries])
    vocabulary = Vocabulary(TEMPLATE_OF, unit_rows(rng, TEMPLATES))
    starts = np.unique(rng.integers(0, entries - length + 1, 12))
    sequences = starts[:, None] + np.arange(length)
    sequences[-1, max(1, length - 2) :] = -1  # a shorter one
    entry, features = Surprise(healthy, vocabulary, length).measure(log, sequences)
    entry_columns = {name: column for column, name in enumerate((*ENTRY_FEATURES, "gap"))}
    columns = {name: column for column, name in enumerate(SEQUENCE_FEATURES)}

    plain = {
        name: PlainHabits(as_stretches(healthy, healthy.ids(name).tolist()), length) for name in ("text", "template")
    }
    timed = as_stretches(healthy, list(zip(healthy.template.tolist(), healthy.time.tolist(), strict=True)))
    # The known template that is most alike, and the text that stands for it.
    similarity = vocabulary.embeddings @ vocabulary.embeddings.T
    near = [max(plain["template"].count, key=lambda other: similarity[own, other]) for own in range(TEMPLATES)]
    near = [own if plain["template"].count[own] else near[own] for own in range(TEMPLATES)]
    commonest = {
        own: max((t for t in range(TEXTS) if TEMPLATE_OF[t] == own), key=lambda t: (plain["text"].count[t], t))
        for own in plain["template"].count
    }
    near_text = [t if plain["text"].count[t] else commonest[near[TEMPLATE_OF[t]]] for t in range(TEXTS)]

    for row, sequence in enumerate(sequences):
        positions = [int(position) for position in sequence if position >= 0]
        for name, places in (("text", near_text), ("template", near)):
            ids = log.ids(name).tolist()
            own, place = [ids[p] for p in positions], [places[ids[p]] for p in positions]
            wanted = plain[name].of_entries(own, place)
            got = entry[row, : len(own), [entry_columns[f"{name}_{feature}"] for feature in OF_ENTRY]].T
            np.testing.assert_allclose(got, np.array(wanted, float), **CLOSE)
            wanted = plain[name].of_sequence(own, place, ids, positions[-1] + 1)
            got = features[row, [columns[f"{name}_{feature}"] for feature in OF_SEQUENCE]]
            np.testing.assert_allclose(got, wanted, err_msg=str(OF_SEQUENCE), **CLOSE)
        distance = [1 - similarity[t, near[t]] if near[t] != t else 0 for t in log.template[positions].tolist()]
        np.testing.assert_allclose(entry[row, : len(positions), entry_columns["distance"]], distance, **CLOSE)
        gaps, timing = plain_timing(timed, length, log.template.tolist(), log.time.tolist(), positions)
        np.testing.assert_allclose(entry[row, : len(positions), entry_columns["gap"]], gaps, **CLOSE)
        np.testing.assert_allclose(features[row, columns["slow"] :], timing, **CLOSE)
        assert not entry[row, len(positions) :].any()
        for feature, column in entry_columns.items():
            values = sorted(entry[row, : len(positions), column].tolist(), reverse=True)
            tops = [values[0], sum(values) / len(values), *(sum(values[:k]) / len(values[:k]) for k in (3, 8))]
            got = [features[row, columns[f"{feature}_{how}"]] for how in POOLS]
            np.testing.assert_allclose(got, tops, **CLOSE)


def test_a_large_table_of_windows_is_kept_in_lists_and_says_the_same(monkeypatch):
    generator = np.random.default_rng(0)
    # Some entries in most windows, and many in one or two.
    ids = np.where(generator.random(4000) < 0.4, generator.integers(0, 5, 4000), generator.integers(5, 1500, 4000))
    sequences = np.concatenate([generator.permutation(ids)[:3200], ids[:320]]).reshape(110, 32)
    runs, ends = Runs.of(sequences), np.arange(32, 32 * 111, 32)
    found, kept = [], []
    for cells in (1 << 30, 0):
        monkeypatch.setattr(habits_logmoe, "TABLE_CELLS", cells)
        habits = Habits(ids, np.zeros(len(ids), int), 1500, 32)
        kept.append(habits.compared._table.size)
        found.append(habits.sequence_features(runs, runs, ends, None)[:, 1])
        assert not found[-1][100:].any()  # windows themselves
        # By hand: the distance to the nearest of the windows that are kept.
        for sequence, distance in zip(sequences[:100:20], found[-1][:100:20], strict=True):
            there = [
                dict(zip(*map(np.ndarray.tolist, habits.compared.window(n)), strict=True))
                for n in range(habits.compared.number)
            ]
            own = {entry: math.sqrt(count) for entry, count in Counter(sequence.tolist()).items()}
            squares = [
                sum((own.get(entry, 0) - of.get(entry, 0)) ** 2 for entry in own.keys() | of.keys()) for of in there
            ]
            assert distance == pytest.approx(math.sqrt(min(squares)), abs=0.02)
    assert kept[1] < 0.05 * kept[0]
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_windows_lie_within_stretches():
    stretch = np.array([0] * 7 + [1] * 2 + [2] * 4)
    assert windows_of(stretch, 4, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [7, 8, -1, -1], [9, 10, 11, 12]]
    assert windows_of(stretch[:0], 4, 2).shape == (0, 4)


def test_without_times_what_needs_them_is_unknown_and_nothing_else():
    rng = np.random.default_rng(0)
    healthy, log = occurrences(rng, [200]), occurrences(rng, [64])
    vocabulary, sequences = Vocabulary(TEMPLATE_OF, unit_rows(rng, TEMPLATES)), np.arange(64).reshape(8, 8)
    untimed = Occurrences(log.text, log.template, np.full(64, np.nan), log.stretch)
    _, features = Surprise(healthy, vocabulary, 8).measure(untimed, sequences)
    unknown = {name for name, values in zip(SEQUENCE_FEATURES, features.T, strict=True) if np.isnan(values).any()}
    assert unknown == {"gap_max", "gap_mean", "gap_top3", "gap_top8", "slow", "fast", "overdue_time", "late_time"}
    _, of_timed = Surprise(healthy, vocabulary, 8).measure(log, sequences)
    is_known = ~np.isnan(features)
    np.testing.assert_array_equal(features[is_known], of_timed[is_known])


def test_sessions_have_no_past():
    """What stands between the entries of a session says nothing about it."""
    rng = np.random.default_rng(1)
    healthy, log = occurrences(rng, [8] * 40), occurrences(rng, [40])
    vocabulary, sequences = Vocabulary(TEMPLATE_OF, unit_rows(rng, TEMPLATES)), np.arange(0, 40, 5)[None]
    surprise = Surprise(healthy, vocabulary, 8)
    entry, features = surprise.measure(log, sequences, has_past=False)
    alone = log.take(sequences[0])
    entry_alone, features_alone = surprise.measure(alone, np.arange(8)[None], has_past=False)
    np.testing.assert_array_equal(entry, entry_alone)
    np.testing.assert_array_equal(features, features_alone)
    unknown = {name for name, value in zip(SEQUENCE_FEATURES, features[0], strict=True) if np.isnan(value)}
    rates = {name for name in SEQUENCE_FEATURES if "_rate" in name}
    assert unknown == rates | {"overdue_time", "overdue_count", "late_time", "late_count"}


def test_no_gap_is_as_equal_as_any_other_however_many_healthy_ones_there_are():
    log = occurrences(np.random.default_rng(0), [64])
    log = replace(log, time=np.zeros(64))
    for entries in (20, 200):
        healthy = replace(occurrences(np.random.default_rng(1), [entries]), time=np.zeros(entries))
        surprise = Surprise(healthy, Vocabulary(TEMPLATE_OF, unit_rows(np.random.default_rng(2), TEMPLATES)), 8)
        entry, features = surprise.measure(log, np.arange(64).reshape(8, 8))
        assert not entry[..., -1].any()
        assert not features[:, SEQUENCE_FEATURES.index("slow")].any()


def test_pools():
    values = np.array([[[1.0], [5.0], [3.0], [9.0]], [[2.0], [0.0], [0.0], [0.0]]])
    is_entry = np.array([[True, True, True, True], [True, False, False, False]])
    np.testing.assert_allclose(pool(values, is_entry), [[9, 4.5, 17 / 3, 4.5], [2, 2, 2, 2]])


# ---------------------------------------------------------------------- scales


def test_ranks_among_healthy_sequences():
    healthy = np.array([[0.0, np.nan], [1.0, np.nan], [2.0, np.nan], [2.0, np.nan]])
    values = np.array([[2.0, 1.0], [2.0 - 1e-6, np.nan], [2.1, 0.0], [-1.0, 0.0]])
    evidence = rank_evidence(values, healthy)
    np.testing.assert_allclose(evidence[:, 0], -np.log10(np.array([3, 3, 1, 5]) / 5), rtol=1e-6)
    # Without a healthy value nothing speaks for or against, and what is unknown stays so.
    np.testing.assert_array_equal(evidence[:, 1], [0, np.nan, 0, 0])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 70), min_size=1, max_size=8))
def test_the_level_of_a_log_does_not_depend_on_how_it_arrives(seed, sizes):
    values = np.random.default_rng(seed).normal(size=(sum(sizes), 3)).astype(np.float32)
    whole = RunningLevel(np.zeros(3)).push(values)
    pieces = RunningLevel(np.zeros(3))
    parts = [pieces.push(part) for part in np.split(values, np.cumsum(sizes)[:-1])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    # The level of a sequence is one of those before it, and the first ones have the prior.
    np.testing.assert_array_equal(whole[:16], 0)
    if len(values) > 16:
        np.testing.assert_array_equal(whole[16], lower_quarter(values[:16]))


def test_the_level_of_a_log_that_can_be_read_ahead(monkeypatch):
    monkeypatch.setattr(RunningLevel, "AHEAD", 20)
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    levels = RunningLevel(np.zeros(3), values).push(values)
    np.testing.assert_array_equal(levels[:30], np.broadcast_to(lower_quarter(values[:20]), (30, 3)))
    np.testing.assert_array_equal(levels[30:], np.broadcast_to(lower_quarter(values[:30]), (10, 3)))
    # A log of a few sequences is no measure of itself.
    np.testing.assert_array_equal(RunningLevel(np.zeros(3), values[:15]).push(values[:15]), 0)


def test_the_level_keeps_a_bounded_sample(monkeypatch):
    monkeypatch.setattr(RunningLevel, "MOST", 64)
    level = RunningLevel(np.zeros(1))
    values = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    for part in np.split(values, 50):
        level.push(part)
    assert sum(map(len, level._kept)) < 4 * RunningLevel.MOST
    assert abs(level.level[0] - np.quantile(values, 0.25)) < 0.2


def test_inputs_are_the_features_their_ranks_and_how_far_above_the_level():
    rng = np.random.default_rng(0)
    features, healthy = rng.normal(size=(2, len(SEQUENCE_FEATURES))), rng.normal(size=(9, len(SEQUENCE_FEATURES)))
    inputs = sequence_inputs(features, healthy, healthy[0])
    assert inputs.shape == (2, len(INPUTS))
    raw, ranks, above = np.split(inputs, 3, axis=1)
    np.testing.assert_allclose(raw, features, rtol=1e-6)
    np.testing.assert_allclose(ranks, rank_evidence(features, healthy))
    np.testing.assert_allclose(above, features - healthy[0], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------- never against itself


def marked_log(entries, low, high, length=8):
    """A log of three usual templates, in which one stands only from `low` to before `high`."""
    rng = np.random.default_rng(5)
    text = rng.integers(0, 3, entries)
    text[low:high:2] = 6
    template_of = np.arange(TEXTS)
    log = Occurrences(text, text, np.arange(entries, dtype=float), np.zeros(entries, int))
    sequences = windows_of(log.stretch, length, length)
    return log, sequences, Vocabulary(template_of, np.eye(TEXTS, dtype=np.float32))


@pytest.mark.parametrize(
    ("logs", "blocks"),
    [
        ([("a", 12)], "000011112222"),
        ([("a", 9), ("a", 3)], "000011112 222"),
        ([("a", 12), ("b", 6)], "000000111111 001122"),
        ([("b", 6), ("a", 12)], "001122 111111222222"),
        ([("a", 24), ("b", 6), ("b", 6)], "000000000000111111111111 001122 001122"),
        ([("a", 14), ("b", 4)], "00000011111122 2222"),
        ([("a", 6), ("b", 6), ("c", 6)], "001122 001122 001122"),
    ],
    ids=["one", "alike", "stranger last", "stranger first", "strangers alike", "small stranger", "all strangers"],
)
def test_a_healthy_log_of_another_kind_is_cut_by_itself(logs, blocks):
    """Logs of one kind of entry each; strangers of six entries or more."""
    ids = np.concatenate([np.full(size, ord(kind)) for kind, size in logs])
    log = np.repeat(np.arange(len(logs)), [size for _, size in logs])
    assert "".join(map(str, log_blocks(ids, log, 3, 6))) == blocks.replace(" ", "")


@pytest.mark.parametrize("step", [1, 3], ids=["all sequences", "one in three"])
@pytest.mark.parametrize("block", range(3))
def test_what_only_one_block_holds_is_new_everywhere_in_it(block, step):
    """As it would not be if a sequence were measured against itself, or its neighbours in the block."""
    log, sequences, vocabulary = marked_log(480, 160 * block, 160 * (block + 1))
    some = np.arange(0, len(sequences), step)
    entry, _ = cross_fitted(log, sequences, vocabulary, 8, measured=some)
    is_marked = log.text[sequences[some]] == 6
    assert is_marked.sum() == 4 * ((some >= 20 * block) & (some < 20 * (block + 1))).sum()
    for name in ("text_new", "template_new"):
        np.testing.assert_array_equal(entry[..., ENTRY_FEATURES.index(name)], is_marked)


@pytest.mark.parametrize("start", range(0, 1281, 160))
def test_a_fault_that_fills_a_third_of_a_log_stands_out_of_it_wherever_it_is(start):
    """Its sequences' untrained sum of ranks is above the median of most others'."""
    log, sequences, vocabulary = marked_log(1920, start, start + 640, length=16)
    _, features = cross_fitted(log, sequences, vocabulary, 8, OWN_FOLDS)
    ranks = np.nansum(rank_evidence(features, features), axis=1)
    is_faulty = (log.text[sequences] == 6).any(1)
    assert is_faulty.sum() == 40
    assert auroc(is_faulty.astype(int), ranks) > 0.85


def test_entries_on_the_two_sides_of_a_block_are_no_neighbours():
    """a b | c c | d d: only the log's own order may count as usual."""
    text = np.array([0] * 8 + [1] * 8 + [2] * 8)
    log = Occurrences(text, text, np.arange(24.0), np.zeros(24, int))
    vocabulary = Vocabulary(np.arange(TEXTS), np.eye(TEXTS, dtype=np.float32))
    judged = Occurrences(np.array([0, 2]), np.array([0, 2]), np.arange(2.0), np.zeros(2, int))
    rest = np.flatnonzero((text == 0) | (text == 2))
    together = Surprise(log.take(rest), vocabulary, 2).measure(judged, np.array([[0, 1]]))[0]
    apart = Surprise(log.take(rest, (rest >= 16).astype(int)), vocabulary, 2).measure(judged, np.array([[0, 1]]))[0]
    column = ENTRY_FEATURES.index("text_unseen_pairs")
    assert (together[0, 1, column], apart[0, 1, column]) == (0, 1)
    # The middle block holds one window that goes from the last entry of the first to the first of the last.
    sequences = np.array([[0, 1], [8, 9], [16, 17]])
    shifted = Occurrences(np.roll(text, 1)[:24], np.roll(text, 1)[:24], log.time, log.stretch)
    entry, _ = cross_fitted(shifted, sequences, vocabulary, 2)
    assert entry[1, 1, column] == 1
