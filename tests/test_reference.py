"""References: what is kept of a healthy log, merged, saved, loaded, and refused where it does not fit."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_model, tiny_processor
from safetensors.numpy import load_file, save_file

from hub_server import HubServer
from logmoe import LogAnomalyPipeline
from logmoe.folds_logmoe import Folds
from logmoe.habits_logmoe import filled_times, windows_of
from logmoe.keeping_logmoe import KeptEntries
from logmoe.parsing_logmoe import LogParser
from logmoe.reference_logmoe import LogReference, Origin, ReferenceBuilder
from logmoe.saving_logmoe import named_files, new_files
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS, SEQUENCE_FEATURES

LENGTH = 8
EVENTS = (
    "info connection started at {word}",
    "info connection moved caused by {word}",
    "info server time {number}",
    "warn size not found at {number}",
    "info browser {word} success",
)
WORDS = "a b c d e url ip email token hardware".split()


def make_log(entries, seed=0, start=0, events=EVENTS, pace=2, prefix=""):
    """A log of random entries, one every second or so."""
    rng = np.random.default_rng(seed)
    seconds = start + rng.integers(0, pace + 1, entries).cumsum()
    which = np.minimum(rng.geometric(0.4, entries) - 1, len(events) - 1)
    lines = []
    for row, second in zip(which.tolist(), seconds.tolist(), strict=True):
        filled = events[row].format(word=WORDS[rng.integers(len(WORDS))], number=rng.integers(10**6))
        clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        lines.append(f"2026-01-{1 + second // 86400:02} {clock} {prefix}{filled}")
    return "\n".join(lines) + "\n"


def features_pipe(length=LENGTH, **overrides):
    """A tiny model that reads surprise, with random weights."""
    model = make_model(
        entry_feature_names=list(ENTRY_FEATURES),
        sequence_feature_names=list(INPUTS),
        sequence_feature_terms={"surprise": list(INPUTS)},
        max_sequence_length=length,
        **overrides,
    )
    processor = tiny_processor()
    processor.max_sequence_length = length
    model.add_placeholders(processor)
    return LogAnomalyPipeline(model, processor=processor)


@pytest.fixture(scope="module")
def pipe():
    return features_pipe()


def origin_with(**values):
    return Origin(**{"rules": "r", "encoder": "e", "max_sequence_length": LENGTH} | UNCUT | values)


UNCUT = {"window_seconds": None, "session_pattern": None}
PARSER = LogParser()


def fit(*logs, bound=1 << 17, chunk=None, **cut):
    """A reference of logs without embeddings; each arrives in chunks of so many entries."""
    builder = ReferenceBuilder(origin_with(**UNCUT | cut), bound)
    for log in logs:
        parsed = PARSER.parse(log)
        parsed.seconds, parsed.number = PARSER.timestamps(parsed), np.arange(len(parsed))
        cutter = SequenceCutter(SequenceRule(LENGTH, **cut), PARSER)
        builder.start_log()
        for start in range(0, len(parsed), chunk or len(parsed)):
            stop = start + (chunk or len(parsed))
            builder.add(*cutter.push(parsed.take(np.arange(start, min(stop, len(parsed)))), stop >= len(parsed)))
    return builder.finish()


def encoded(reference):
    """With embeddings that are a function of the text."""

    def encode(texts):
        seeds = [sum(text.encode()) for text in texts]
        return np.stack([np.random.default_rng(seed).normal(size=4) for seed in seeds]).astype(np.float32)

    return reference.encode(encode)


def same(one, two):
    """All that a reference holds, and what comes of it."""
    assert one.texts == two.texts
    assert one.templates.texts == two.templates.texts
    assert one.origin == two.origin
    assert (one.num_entries, one.num_dropped_texts) == (two.num_entries, two.num_dropped_texts)
    assert one.max_reference_entries == two.max_reference_entries
    for name in ("count", "template_of", "time", "embeddings"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("text", "template", "time"):
        np.testing.assert_array_equal(getattr(one.entries, name), getattr(two.entries, name), err_msg=name)
    # The numbers of stretches mean nothing, where one ends and the next begins does.
    np.testing.assert_array_equal(np.diff(one.entries.stretch) != 0, np.diff(two.entries.stretch) != 0)
    np.testing.assert_array_equal(one._starts(), two._starts())
    if one.embeddings.shape[1]:
        for length in (LENGTH, 3):
            np.testing.assert_array_equal(one.healthy(length).features, two.healthy(length).features)


# ---------------------------------------------------------------------- fitting


@pytest.mark.parametrize("cut", [{}, {"window_seconds": 7.0}, {"session_pattern": r"session_\d+"}], ids=str)
def test_a_reference_does_not_depend_on_chunks(cut):
    if "session_pattern" in cut:
        rng = np.random.default_rng(0)
        lines = make_log(200).splitlines()
        log = "\n".join(f"{line} session_{rng.integers(30)}" for line in lines)
    else:
        log = make_log(200)
    whole = encoded(fit(log, **cut))
    for chunk in (7, 64) if cut else (1, 7, 64):
        pieces = encoded(fit(log, chunk=chunk, **cut))
        assert pieces.texts == whole.texts
        np.testing.assert_array_equal(pieces.count, whole.count)
        if not cut:
            same(pieces, whole)
    assert whole.num_entries == 200
    assert whole.is_windowed == (not cut)


def test_what_a_reference_holds():
    reference = fit("info a\ninfo b\ninfo a\n", "info c\ninfo a")
    assert reference.texts == ["info a", "info b", "info c"]
    assert reference.count.tolist() == [3, 1, 1]
    assert reference.entries.text.tolist() == [0, 1, 0, 2, 0]
    # The end of one log and the beginning of the next are no neighbours.
    assert (np.diff(reference.entries.stretch) != 0).tolist() == [False, False, True, False]
    assert np.isnan(reference.time).all()


@pytest.mark.parametrize(
    ("log", "known"), [("a b c", 0), ("a a a", 1), ("a a b b a c", 3 / 6), ("a a a a b a c d e", 5 / 9), ("a", 0)]
)
def test_how_far_a_reference_knows_itself(log, known):
    """The entries that come in more than one of its three blocks."""
    assert fit("\n".join(f"info {word}" for word in log.split())).own_familiarity == pytest.approx(known)


def test_times_are_filled_within_stretches():
    nan = np.nan
    time, stretch = np.array([nan, 1, nan, nan, 5, nan]), np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(filled_times(time, stretch), [nan, 1, 1, nan, 5, 5])
    np.testing.assert_array_equal(filled_times(time), [nan, 1, 1, 1, 5, 5])
    assert len(filled_times(time[:0])) == 0


def test_of_a_long_log_sequences_are_kept_evenly():
    log = make_log(5000)
    everything, bounded = fit(log), fit(log, bound=1000)
    assert bounded.num_entries == 5000
    assert 500 <= len(bounded) <= 1000
    # All is counted, whether it is kept or not.
    assert bounded.texts == everything.texts
    np.testing.assert_array_equal(bounded.count, everything.count)
    thirds = np.histogram(bounded.first, bins=3, range=(0, 5000))[0]
    assert thirds.max() - thirds.min() <= 64  # a group of eight sequences
    # What is left on both sides of what was dropped are no neighbours; all else still are.
    windows = windows_of(bounded.entries.stretch, LENGTH, LENGTH)
    assert len(windows) > 0.9 * len(bounded) / LENGTH
    starts = bounded._starts()
    jumps = np.diff(bounded.first[starts]) > LENGTH
    np.testing.assert_array_equal(jumps, np.diff(bounded.entries.stretch[starts]) != 0)
    same(encoded(bounded), encoded(fit(log, bound=1000, chunk=100)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=str)
def test_short_logs_beside_a_long_one_are_kept_whole(order):
    """A folder may hold a log of a thousand lines beside one of millions."""
    logs = [make_log(100, 1), make_log(6000, 2), make_log(150, 3)]
    given = [logs[place] for place in order]
    bounded = fit(*given, bound=1000)
    assert bounded.num_entries == 6250
    assert 500 <= len(bounded) <= 1000
    sizes = np.bincount(bounded.log)
    assert sizes[order.index(0)] == 100
    assert sizes[order.index(2)] == 150
    assert len(sizes) == 3
    same(bounded, fit(*given, bound=1000, chunk=70))
    parts = [fit(log, bound=1000) for log in given]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert np.bincount(merged.log)[[order.index(0), order.index(2)]].tolist() == [100, 150]


@pytest.mark.parametrize(("number", "entries"), [(12, 300), (300, 20), (1000, 3)])
def test_of_many_logs_the_same_is_kept_of_each_or_some_are(number, entries):
    place = np.arange(entries)
    kept = KeptEntries(1000, LENGTH)
    for log in range(number):
        kept.add(log, place // LENGTH, [np.full(entries, log), place])
    assert 500 <= len(kept) <= 1000
    logs = list(kept.logs())
    sizes = np.array([len(places) for _, places in logs])
    assert sizes.sum() == len(kept)
    assert all((log == log[0]).all() and (np.diff(places) > 0).all() for log, places in logs)
    if number == 12:  # all logs, and of each half a group or more
        assert len(logs) == 12
        assert sizes.max() <= 2 * sizes.min() + 8 * LENGTH
    else:  # every so manyth log, whole
        assert set(sizes) == {entries}
        (step,) = set(np.diff([log[0] for log, _ in logs]))
        assert step in (8, 4)
    # However they arrive.
    other = KeptEntries(1000, LENGTH)
    for log in range(number):
        for some in np.split(place, [1, 2, 3]):
            other.add(log, some // LENGTH, [np.full(len(some), log), some])
    for one, two in zip(logs, other.logs(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("services", [2, 3, 4, 20])
def test_of_many_logs_of_several_services_each_keeps_some(services):
    """Logs of services come in turn: every other log would be every other service."""
    place = np.arange(8)
    kept = KeptEntries(1000, LENGTH)
    for log in range(100 * services):
        kept.add(log, place // LENGTH, [np.full(8, log % services), place], log % services)
        assert len(kept) <= 1000
    number = np.bincount([of[0] for of, _ in kept.logs()], minlength=services)
    assert number.min() > 0
    assert number.max() - number.min() <= 1
    assert len(kept) >= 500


def test_of_more_services_than_there_is_room_for_the_first_ones_are_kept():
    kept = KeptEntries(20, LENGTH)
    for log in range(10):
        kept.add(log, np.zeros(8, int), [np.full(8, log)], log)
    assert len(kept) == 20
    assert [int(of[0]) for (of,) in kept.logs()] == [0, 1, 2]


@pytest.mark.parametrize("bound", [1, 5, 40, 100, 640])
def test_small_bounds_are_kept_as_well(bound):
    bounded = fit(make_log(2000), bound=bound)
    assert bound // 2 <= len(bounded) <= bound
    assert bounded.num_entries == 2000
    if bound >= 100:
        assert bounded.first.max() > 1000


def test_texts_beyond_the_bound_are_counted_and_not_kept():
    log = "\n".join(f"info {''.join('abcde'[int(digit)] for digit in np.base_repr(i, 5))}" for i in range(60))
    reference = fit(log, log, bound=40)
    assert (len(reference.texts), reference.num_dropped_texts) == (40, 2 * 20)
    assert reference.num_entries == 120
    assert reference.count.sum() == 80
    with pytest.raises(ValueError, match="at least 1"):
        fit(log, bound=0)


# ---------------------------------------------------------------------- merging


@pytest.mark.parametrize("cut", [{}, {"window_seconds": 7.0}, {"session_pattern": r"[abcde] success|time"}], ids=str)
def test_merging_equals_fitting_both_and_is_associative(cut):
    logs = [make_log(90, seed=1), make_log(5, seed=2), make_log(200, seed=3, events=EVENTS[::-1])]
    one, two, three = (encoded(fit(log, **cut)) for log in logs)
    together = encoded(fit(*logs, **cut))
    left, right = encoded(encoded(one.merge(two)).merge(three)), encoded(one.merge(encoded(two.merge(three))))
    same(left, together)
    same(right, together)


def test_merging_logs_of_a_single_sequence_keeps_them_apart():
    logs = ["info a\ninfo b", "info c\ninfo a", "info b"]
    one, two, three = map(fit, logs)
    same(one.merge(two).merge(three), fit(*logs))
    assert len(fit(*logs)._starts()) == 3


def test_merging_hardly_timed_logs_equals_fitting_both():
    """Whether a log counts as timed depends on all of it."""
    timed, untimed = make_log(100), "info connection a\n" * 60
    both = fit(untimed + make_log(1), timed)
    assert np.isnan(fit(untimed + make_log(1)).entries.time).all()
    same(fit(untimed + make_log(1)).merge(fit(timed)), both)
    assert not np.isnan(both.entries.time[-1])


def test_merging_beyond_the_bound_thins_both_evenly():
    one, two = (fit(make_log(900, seed), bound=1000) for seed in (1, 2))
    merged = one.merge(two)
    assert merged.num_entries == 1800
    assert 500 <= len(merged) <= 1000
    np.testing.assert_array_equal(np.sort(merged.count), np.sort(fit(make_log(900, 1), make_log(900, 2)).count))
    of_one = len(merged.first[: np.flatnonzero(np.diff(merged.first) < 0)[0]])
    assert 0.3 < of_one / len(merged) < 0.7


def test_embeddings_that_are_known_are_not_encoded_again():
    one, two = encoded(fit(make_log(100, 1))), encoded(fit("fatal url\nfatal ip"))
    merged = one.merge(two)
    assert not np.isnan(merged.embeddings).any()

    def refuse(texts):
        raise AssertionError(texts)

    assert merged.encode(refuse) is merged


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"rules": "other"}, "other rules of reading"),
        ({"encoder": "other"}, "another encoder"),
        ({"window_seconds": 5.0}, "`window_seconds` 5.0, not None"),
        ({"session_pattern": "x"}, "`session_pattern` 'x', not None"),
    ],
)
def test_references_of_other_origins_do_not_merge(values, problem):
    one, two = fit(make_log(20)), fit(make_log(20))
    two.origin = origin_with(**values)
    with pytest.raises(ValueError, match=rf"{problem}.*fit it again"):
        one.merge(two)
    two.origin = origin_with(max_sequence_length=5)  # a length may differ
    assert len(one.merge(two)) == 40


# ---------------------------------------------------------------------- saving


def test_a_saved_reference_gives_the_same_results(pipe, tmp_path):
    reference = pipe.fit(make_log(400, 1))
    reference.save_pretrained(tmp_path / "saved")
    loaded = LogReference.from_pretrained(tmp_path / "saved")
    same(loaded, reference)
    assert repr(loaded) == repr(reference)
    log = make_log(60, 2, events=(*EVENTS, "error fatal {word} hardware failed"))
    assert pipe(log, reference=loaded) == pipe(log, reference=reference) == pipe(log, reference=tmp_path / "saved")
    same(encoded(loaded.merge(reference)), encoded(reference.merge(reference)))
    assert {path.suffix for path in (tmp_path / "saved").iterdir()} == {".json", ".parquet", ".safetensors"}
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="it is a file"):
        reference.save_pretrained(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes")
def test_all_files_of_a_reference_are_as_readable_as_others(pipe, tmp_path):
    """One user fits it, and another may judge by it."""
    pipe.fit(make_log(100)).save_pretrained(tmp_path / "saved")
    (tmp_path / "other").write_text("")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "saved").iterdir()}
    assert modes == {(tmp_path / "other").stat().st_mode & 0o777}


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux to count threads")
def test_texts_are_read_without_a_thread_that_could_outlive_python(tmp_path):
    """On a busy machine such a thread aborted the process at its end, now and then."""
    pq.write_table(pa.table({"text": ["a", "b"], "count": [1, 2]}), tmp_path / "texts.parquet")
    script = (
        "import os, sys; from logmoe.saving_logmoe import table_of; data = open(sys.argv[1], 'rb').read()\n"
        "before = len(os.listdir('/proc/self/task')); rows = table_of(data).num_rows\n"
        "print(rows, len(os.listdir('/proc/self/task')) - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "texts.parquet")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["2", "0"]


def test_a_reference_without_embeddings_can_be_saved(tmp_path):
    reference = fit(make_log(50))
    reference.save_pretrained(tmp_path)
    same(LogReference.from_pretrained(tmp_path), reference)


def test_saving_over_a_reference_leaves_the_old_one_until_the_new_one_is_whole(tmp_path, monkeypatch):
    """Whatever a crash leaves is one of both; whoever reads in between gets one of both."""
    old, new = fit(make_log(50, 1)), fit(make_log(80, 2))
    old.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")  # of a checkpoint beside it
    replace, seen, state = os.replace, [], {}

    def watched(source, target):
        seen.append(len(LogReference.from_pretrained(tmp_path)))
        if len(seen) == state["crash_at"]:
            raise KeyboardInterrupt
        replace(source, target)
        seen.append(len(LogReference.from_pretrained(tmp_path)))

    monkeypatch.setattr(os, "replace", watched)
    for state["crash_at"] in (1, 3, 5):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            new.save_pretrained(tmp_path)
        assert set(seen) == {50}
        same(LogReference.from_pretrained(tmp_path), old)
    state["crash_at"] = None
    new.save_pretrained(tmp_path)
    assert seen[-1] == 80
    monkeypatch.undo()
    same(LogReference.from_pretrained(tmp_path), new)
    # Nothing is left of the old one, and nothing else was touched.
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".parquet", ".safetensors"]
    new.save_pretrained(tmp_path)
    same(LogReference.from_pretrained(tmp_path), new)


def test_what_a_killed_save_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    reference = fit(make_log(50, 1))
    reference.save_pretrained(tmp_path)
    child = os.fork()
    if not child:
        with new_files(tmp_path) as folder:
            (folder / "half").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.glob(".saving_*")
    orphan = tmp_path / f"reference-{'0' * 16}.safetensors"
    orphan.write_text("moved here before the index was")
    (tmp_path / "mine.safetensors").write_text("of somebody else")
    with new_files(tmp_path) as living:  # by another name this would sweep no orphans
        assert not left.exists()
        reference.save_pretrained(tmp_path)
        assert living.exists()
        assert orphan.exists()
    reference.save_pretrained(tmp_path)
    assert not list(tmp_path.glob(".saving_*"))
    assert not orphan.exists()
    assert (tmp_path / "mine.safetensors").exists()
    same(LogReference.from_pretrained(tmp_path), reference)
    # An index that cannot be read names nothing, and nothing is lost to that.
    (tmp_path / "reference.json").write_text("{")
    assert named_files(tmp_path / "reference.json") is None
    before = {path.name for path in tmp_path.glob("reference-*")}
    with new_files(tmp_path, "reference.json", re.compile("reference-.*")):
        assert {path.name for path in tmp_path.glob("reference-*")} == before


def test_where_a_folder_cannot_be_locked_saving_goes_on_and_sweeps_nothing(tmp_path, monkeypatch):
    (tmp_path / ".saving_other").mkdir()
    monkeypatch.setattr("logmoe.saving_logmoe.fcntl", None)
    fit(make_log(50, 1)).save_pretrained(tmp_path)
    assert len(LogReference.from_pretrained(tmp_path)) == 50
    assert [path.name for path in tmp_path.glob(".saving_*")] == [".saving_other"]


def test_a_reader_whose_files_were_replaced_reads_again(tmp_path, monkeypatch):
    old, new = fit(make_log(50, 1)), fit(make_log(80, 2))
    old.save_pretrained(tmp_path)
    loads = json.loads
    calls = []

    def save_meanwhile(text):
        facts = loads(text)
        calls.append(facts)
        if len(calls) == 1:
            new.save_pretrained(tmp_path)
        return facts

    monkeypatch.setattr(json, "loads", save_meanwhile)
    same(LogReference.from_pretrained(tmp_path), new)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("saved") for _ in range(2)]
    for seed, folder in enumerate(folders):
        fit(make_log(50, seed)).save_pretrained(folder)
    return folders


@pytest.mark.parametrize("kind", [".json", ".parquet", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "of another reference", "not what it should be"])
def test_damaged_references_are_refused_with_the_way_out(saved, tmp_path, kind, damage):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    (path,) = tmp_path.glob(f"*{kind}")
    (other,) = saved[1].glob(f"*{kind}")
    content = path.read_bytes()
    expected = ValueError
    if damage == "missing":
        path.unlink()
        expected = FileNotFoundError
    else:
        path.write_bytes(
            {
                "truncated": content[: len(content) // 2],
                "empty": b"",
                "of another reference": other.read_bytes(),
                "not what it should be": b"null",
            }[damage]
        )
    if (kind, damage) == (".json", "of another reference"):
        expected = FileNotFoundError  # it names files that are not there
    with pytest.raises(expected, match=r"fit it again|pipe\.fit") as caught:
        LogReference.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    if kind != ".json" and damage != "missing":  # Before anything of it is read.
        assert f"{path.name} is not what was saved" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("text", value) for value in (-1, 1 << 30)),
        *(("stretch", value) for value in (-1, 2, 1 << 30)),
        *(("first", -1), ("time", np.inf), ("time", 1e30), ("template_of", 1 << 30), ("embeddings", np.inf)),
        *((name, None) for name in ("text", "time", "stretch", "first", "template_of", "embeddings")),
    ],
)
def test_numbers_that_do_not_belong_together_are_refused(tmp_path, name, value):
    """Digests say that a file is what was saved, not that somebody honest saved it."""
    encoded(fit(make_log(50))).save_pretrained(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    tensors = load_file(path)
    if value is None:
        tensors[name] = tensors[name][:-1]
    else:
        tensors[name].reshape(-1)[len(tensors[name]) // 2] = value
    save_file(tensors, path)
    facts = json.loads((tmp_path / "reference.json").read_text())
    facts["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "reference.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"do not belong together.*fit it again"):
        LogReference.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        *({"num_entries": ""}, {"max_reference_entries": [[None]]}, {"num_dropped_texts": -1}),
        *({"window_seconds": []}, {"session_pattern": "("}, {"max_sequence_length": 0}),
    ],
    ids=str,
)
def test_facts_of_another_kind_are_refused(saved, tmp_path, change):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="fit it again"):
        LogReference.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "change", [{"format_version": 99}, {"origin": None}, {"files": {}}, {"files": ["a"]}], ids=str
)
def test_a_reference_of_another_version_is_refused(saved, tmp_path, change):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "reference.json"
    facts = json.loads(path.read_text()) | change
    if "origin" in change:
        del facts["rules"]
    path.write_text(json.dumps(facts))
    with pytest.raises((ValueError, FileNotFoundError), match="fit it again") as caught:
        LogReference.from_pretrained(tmp_path)
    assert "format_version" not in change or "version 99, this code reads versions up to 2" in str(caught.value)


def test_where_there_is_no_reference(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no reference in .*it has no reference.json.*pipe\.fit"):
        LogReference.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no reference at"):
        LogReference.from_pretrained(tmp_path / "nothing here")


def test_push_to_hub_leaves_a_repository_that_loads(tmp_path):
    """Also over another reference, of which nothing is left."""
    one, two = fit(make_log(50, 1)), fit(make_log(80, 2))
    one.save_pretrained(tmp_path / "one")
    two.save_pretrained(tmp_path / "two")
    code = """
    import sys
    from logmoe.reference_logmoe import LogReference

    for folder in sys.argv[1:]:
        reference = LogReference.from_pretrained(folder)
        reference.push_to_hub("org/healthy")
        loaded = LogReference.from_pretrained("org/healthy")
        assert loaded.texts == reference.texts and len(loaded) == len(reference)
    """
    with HubServer() as hub:
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "one"), str(tmp_path / "two")]
        done = subprocess.run(command, env=hub.env(tmp_path / "home"), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        files = {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
        assert {name: content for name, content in hub.files("org/healthy").items() if name[0] != "."} == files
        assert hub.unknown_requests == []


# ---------------------------------------------------------------------- measuring


@pytest.mark.parametrize("entries", [1, 2, LENGTH, LENGTH + 1, 12, 40])
def test_small_references_measure_themselves_as_far_as_they_can(entries):
    reference = encoded(fit(make_log(entries)))
    for length in (1, LENGTH, 32):
        healthy = reference.healthy(length)
        assert healthy.features.shape[1] == len(SEQUENCE_FEATURES)
        assert len(healthy.features) == len(healthy.templates) == len(healthy.entry_features)
        assert not np.isnan(healthy.features).all(1).any()
    assert len(reference.healthy(1).features) == (entries if entries > 1 else 0)


def test_healthy_sequences_are_those_of_the_fit():
    lines = [f"info {'abcde'[i % 5]} session_{i % 7}" for i in range(100)]
    reference = encoded(fit("\n".join(lines), session_pattern=r"session_\d+"))
    templates = reference.healthy(LENGTH).templates
    # Sessions of 15, 15 and five times 14 entries, in parts of at most eight.
    assert sorted((templates >= 0).sum(1).tolist()) == [6] * 5 + [7] * 2 + [8] * 7


def test_sequences_per_day():
    per_day = fit("\n".join(f"2026-01-01 10:00:{second:02} info a" for second in range(60))).sequences_per_day(LENGTH)
    assert per_day == pytest.approx(86400 / LENGTH)
    with pytest.raises(ValueError, match="give `false_alarm_rate`"):
        fit("info a\ninfo b").sequences_per_day(LENGTH)


def test_what_a_log_can_be_judged_by_of_itself():
    reference = encoded(fit(make_log(480)))
    blocks = reference.blocks()
    assert np.diff(blocks[:3]).tolist() == [160, 160]
    assert reference.can_judge_itself(LENGTH)
    without = reference._without(1, LENGTH)
    assert reference.first[without].tolist() == [f for f in reference.first.tolist() if f < 160 or f >= 328]
    reference.folds = Folds(6, beside=1)
    assert np.diff(reference.blocks()[:3]).tolist() == [80, 80]
    for block, (low, high) in {0: (0, 160), 2: (80, 320), 5: (320, 480)}.items():
        without = reference._without(block, LENGTH)
        assert reference.first[without].tolist() == [f for f in reference.first.tolist() if f < low or f >= high + 8]
    assert reference.can_judge_itself(LENGTH)
    assert not reference.can_judge_itself(400)
    assert not encoded(fit("info a")).can_judge_itself(LENGTH)
    # Sessions that all begin at once are told apart by nothing.
    crowd = encoded(fit("info session_1 session_2 session_3\n" * 8, session_pattern=r"session_\d"))
    assert not crowd.can_judge_itself(LENGTH)
    many = "\n".join(f"info session_{i % 50}" for i in range(200))
    assert encoded(fit(many, session_pattern=r"session_\d+")).can_judge_itself(LENGTH)
