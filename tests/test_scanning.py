"""A scan equals judging the whole text at once, whatever the chunks, caches and threads, and its memory is bounded."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import MINI, ROOT, make_model

from logmoe import LogAnomalyPipeline, ScanCache, columns_logmoe, masking_logmoe
from logmoe.caching_logmoe import EntryCache
from logmoe.inference import load_pipeline
from logmoe.judging_logmoe import Judge, Prediction
from logmoe.predicting_logmoe import best_dtype, in_precision
from logmoe.reading_logmoe import LogReader, find_logs


def same(scanned, expected, tolerance=1e-4):
    """Checks that a scan gives the results of the plain path."""
    scanned, expected = list(scanned), list(expected)
    assert len(scanned) == len(expected)
    for one, other in zip(scanned, expected, strict=True):
        for name in ("label", "first_line", "last_line"):
            assert one[name] == other[name]
        assert one["logits"] == pytest.approx(other["logits"], abs=tolerance)
        assert one["score"] == pytest.approx(other["score"], abs=tolerance)
        for name in ("line", "last_line", "text", "truncated"):
            assert [entry[name] for entry in one["entries"]] == [entry[name] for entry in other["entries"]]
        scores = [entry["score"] for entry in other["entries"]]
        assert [entry["score"] for entry in one["entries"]] == pytest.approx(scores, abs=tolerance)


def plain(pipe, log, **overrides):
    """The plain path, for reference: one sequence at a time, each entry encoded on its own, nothing shared."""
    prepared = pipe.preprocess(log, **overrides)
    parsed, results = prepared.parsed, []
    for positions in prepared.sequences:
        ids, truncated = pipe.processor.tokenize([parsed.distinct[i].as_py() for i in parsed.entry_index[positions]])
        with torch.no_grad():
            batch = pipe.processor.pad(ids)
            output = pipe.model(**{name: tensor[None] for name, tensor in batch.items()})
        longer = pc.utf8_length(parsed.text).to_numpy()[positions] > pipe.processor.max_entry_characters
        prediction = Prediction(output.logits[0].double().numpy(), output.entry_scores[0].numpy())
        is_truncated = np.isin(np.arange(len(parsed)), positions[truncated | longer])
        judge = Judge.from_config(pipe.model.config)
        results += judge.sequence_results(parsed, [positions], [prediction], is_truncated)
    return results


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# ---------------------------------------------------------------------- exactness


@pytest.fixture(scope="module")
def mini():
    return load_pipeline(MINI, device="cpu", reference=False)


@pytest.fixture(scope="module")
def recordings():
    """The first 150 lines of each service's test recording, as text."""
    paths = sorted((ROOT / "recordings" / "data").glob("*/test.parquet"))
    return ["\n".join(pq.read_table(path, columns=["line"])["line"].to_pylist()[:150]) for path in paths]


@pytest.fixture(scope="module")
def judged(mini, recordings):
    """What the plain path says of each recording, and its number of distinct entries: the same whatever the limits."""
    return [(plain(mini, text), len(mini.processor.parse(text).distinct)) for text in recordings]


@pytest.mark.parametrize(
    "limits",
    [
        {},
        pytest.param({"cache": (3, 2), "chunk_bytes": 3000, "batch_size": 3}, marks=pytest.mark.slow),
        pytest.param({"num_workers": 1, "chunk_bytes": 20_000}, marks=pytest.mark.slow),
        # Shared indentation is taken from the first chunk, and a MariaDB log starts with a kilobyte of tabs.
        {"num_workers": 3, "chunk_bytes": 2000, "cache": (50, 1000)},
    ],
)
def test_scan_equals_the_plain_path_on_the_recordings(mini, recordings, judged, limits, tmp_path):
    encoded_again = 0
    for number, (text, (expected, distinct)) in enumerate(zip(recordings, judged, strict=True)):
        path = write(tmp_path / f"{number}.log", text)
        cache = ScanCache(*limits.get("cache", ()))
        scan = mini.scan(path, **limits | {"cache": cache})
        same(scan, expected)
        assert scan.statistics.sequences == len(expected)
        assert scan.statistics.lines == text.count("\n") + 1
        assert scan.statistics.dtype == "float32"
        if limits.get("cache") == (3, 2):
            again = scan.statistics.encoded_entries - distinct
            assert again >= 0
            encoded_again += again > 0  # evicted, then needed once more
    assert encoded_again >= (len(recordings) - 1 if limits.get("cache") == (3, 2) else 0)


@pytest.mark.parametrize("overrides", [{"stride": 3, "max_sequence_length": 7}, {"window_seconds": 20}])
def test_windows_by_time_or_with_overlap_equal_the_plain_path(mini, recordings, overrides, tmp_path):
    for text in recordings[:3]:
        path = write(tmp_path / "log", text)
        same(mini.scan(path, chunk_bytes=5000, **overrides), mini(text, **overrides)["sequences"])


def test_sessions_equal_the_plain_path_up_to_order(pipe, tmp_path):
    rng = np.random.default_rng(0)
    text = "\n".join(f"info s{rng.integers(9)} {'abcde'[rng.integers(5)]}" for _ in range(400)) + "\ninfo none"
    path = write(tmp_path / "log", text)
    for options in ({}, {"stride": 2, "max_sequence_length": 5}):
        options = {"session_pattern": r"(s\d)", **options}
        scanned = sorted(pipe.scan(path, chunk_bytes=300, **options), key=lambda s: (s["first_line"], s["last_line"]))
        same(scanned, sorted(pipe(text, **options)["sequences"], key=lambda s: (s["first_line"], s["last_line"])))
    scan = pipe.scan(path, chunk_bytes=300, session_pattern=r"(s\d)", max_waiting_entries=4)
    entries = [entry["line"] for sequence in scan for entry in sequence["entries"]]
    assert sorted(entries) == list(range(1, 402))  # sessions closed early, but no entry lost or repeated
    assert scan.statistics.split_sessions > 0


def test_entry_cache_never_confuses_entries():
    rng = np.random.default_rng(0)
    cache = EntryCache(7)
    encoded = []

    def encode(texts):
        encoded.extend(texts)
        return torch.tensor([[float(text)] for text in texts]), np.array([int(text) % 3 == 0 for text in texts])

    number_of, text_of = {}, {}
    for _ in range(200):
        texts = [str(value) for value in rng.choice(20, size=rng.integers(1, 12), replace=False)]
        embeds, numbers, is_truncated = cache.look_up(texts, encode)
        assert embeds[:, 0].tolist() == [float(text) for text in texts]
        assert is_truncated.tolist() == [int(text) % 3 == 0 for text in texts]
        for text, number in zip(texts, numbers.tolist(), strict=True):
            assert text_of.setdefault(number, text) == text
            number_of[text] = number
        assert len(cache.row_of) <= 7
    assert 20 < len(encoded) < 200 * 6


# ---------------------------------------------------------------------- sources


def compressors():
    def zstd(data):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()

    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_compressed_logs(pipe, suffix, tmp_path):
    text = "\n".join(f"info a {row} b" for row in range(300))
    compress = compressors()[suffix]
    expected = pipe(text)["sequences"]
    half = len(text) // 2
    data = compress(text[:half].encode()) + compress(text[half:].encode())  # two streams in one file
    path = write(tmp_path / f"log.{suffix}", data)
    same(pipe.scan(path, chunk_bytes=500), expected)
    same(pipe.scan(write(tmp_path / "no suffix", data)), expected)
    same(pipe.scan(io.BytesIO(data)), expected)
    damaged = write(tmp_path / "damaged", data[: len(data) // 4])
    with pytest.raises(ValueError, match="damaged"):
        list(pipe.scan(damaged))


def test_open_files_encodings_and_lists_of_paths(pipe, tmp_path):
    text = "\n".join(f"info a {row} b" for row in range(50))
    expected = pipe(text)["sequences"]
    path = tmp_path / "log"
    write(path, text)
    with open(path, encoding="utf-8") as stream:
        same(pipe.scan(stream), expected)
    with open(path, "rb") as stream:
        same(pipe.scan(stream), expected)
    for encoding in ("utf-16", "utf-16-le", "utf-8-sig"):
        if encoding == "utf-16-le":
            write(tmp_path / "odd", text.encode("utf-16") + b"\x00")
            odd = pipe.scan(tmp_path / "odd", chunk_bytes=64)
            assert len(list(odd)) == len(expected)
            assert odd.statistics.replaced_bytes == 1
            continue
        same(pipe.scan(write(tmp_path / "encoded", text.encode(encoding)), chunk_bytes=64), expected)
    results = list(pipe.scan([path, str(path)]))
    assert [result["source"] for result in results] == [str(path)] * 2 * len(expected)
    assert results[0]["first_line"] == results[len(expected)]["first_line"] == 1
    with pytest.raises(ValueError, match="path"):
        pipe.scan(3)
    with pytest.raises(ValueError, match="no log entries"):
        list(pipe.scan(io.BytesIO(b"\n \n")))


@pytest.mark.parametrize(
    "encoding", ["gb18030", "shift_jis", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"]
)
def test_encodings(pipe, tmp_path, encoding):
    text = "\n".join(f"2024-01-01 10:00:0{n} INFO b {'é' if encoding == 'latin-1' else '日志'} {n}" for n in range(9))
    path = write(tmp_path / "log", text.encode(encoding))
    # UTF-16 and UTF-8 are recognised without a name.
    given = None if encoding.startswith("utf") else encoding
    scan = pipe.scan(path, chunk_bytes=50, encoding=given)
    assert [entry["text"] for sequence in scan for entry in sequence["entries"]] == text.split("\n")
    assert scan.statistics.replaced_bytes == 0
    if given is None:
        assert pipe.processor.parse(text.encode(encoding)).text.to_pylist() == text.split("\n")


def test_unknown_encodings_are_refused_and_named(pipe, tmp_path):
    path = write(tmp_path / "log", "info a\n")
    for encoding in ("nope", "hex", "punycode", "IDNA"):
        with pytest.raises(ValueError, match=f"`encoding` must name an encoding of text.*'{encoding}'"):
            pipe.scan(path, encoding=encoding)


def test_entry_pattern_overrides_what_starts_an_entry(pipe, tmp_path):
    text = "BEGIN a\ninfo b\nBEGIN c\n  d\ne"
    expected = [(1, 2), (3, 5)]

    def lines(sequences):
        return [(entry["line"], entry["last_line"]) for sequence in sequences for entry in sequence["entries"]]

    path, cache = write(tmp_path / "log", text), ScanCache()
    for chunk_bytes in (9, 1000):  # both scans share a cache
        assert lines(pipe.scan(path, entry_pattern="^BEGIN", chunk_bytes=chunk_bytes, cache=cache)) == expected
    assert lines(pipe(text, entry_pattern="^BEGIN")["sequences"]) == expected
    assert lines(pipe([text, "a"], entry_pattern="^BEGIN")[0]["sequences"]) == expected
    assert lines(pipe(text)["sequences"]) != expected  # for that call only
    with pytest.raises(ValueError, match=r"`entry_pattern`: '\(' is not a valid RE2 pattern"):
        pipe(text, entry_pattern="(")


def test_find_logs(tmp_path, caplog):
    (tmp_path / "deep").mkdir()
    for name, data in (
        ("app.log.10", b"a"),
        ("app.log.2.gz", gzip.compress(b"a")),
        ("deep/x.log", b"a"),
        ("empty", b""),
        ("wtmp", b"\x00\x01\x00"),
        ("packed.gz", gzip.compress(b"\x00" * 99)),
        ("image.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 9),
        ("torn.gz", gzip.compress(b"a" * 99)[:20] + b"\xff" * 9),
    ):
        (tmp_path / name).write_bytes(data)
    names = [os.path.relpath(path, tmp_path) for path in find_logs(tmp_path)]
    assert names == ["app.log.2.gz", "app.log.10", os.path.join("deep", "x.log"), "torn.gz"]
    assert "image.png: it is an image" in caplog.text
    assert "packed.gz: it is not text, for it contains NUL bytes" in caplog.text
    assert "empty: it is empty" in caplog.text
    assert "wtmp: it is not text" in caplog.text
    assert find_logs(str(tmp_path / "app*")) == [str(tmp_path / "app.log.2.gz"), str(tmp_path / "app.log.10")]
    assert find_logs([str(tmp_path / "wtmp"), "-"]) == [str(tmp_path / "wtmp"), "-"]
    for nothing in (tmp_path / "nowhere", str(tmp_path / "*.txt")):
        with pytest.raises(FileNotFoundError, match="no log at"):
            find_logs(nothing)
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match="is empty or not text"):
        find_logs(tmp_path / "bare")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX named pipes")
def test_results_arrive_while_a_named_pipe_is_still_being_written(pipe, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    enough = threading.Event()

    def write_slowly():
        with open(path, "w") as fifo:
            for row in range(2000):
                fifo.write(f"info a {row}\n")
                fifo.flush()
                if enough.wait(0.05):
                    break

    writer = threading.Thread(target=write_slowly)
    writer.start()
    scan = pipe.scan(path)
    assert next(scan)["last_line"] == 8
    enough.set()
    writer.join()
    assert sum(1 for _ in scan) >= 0
    scan.close()


def test_results_before_damaged_data_are_given_and_the_cache_stays_sound(pipe, tmp_path):
    text = "\n".join(f"info {word} {row}" for row in range(3000) for word in "abc")
    data = gzip.compress(text.encode(), compresslevel=1)
    damaged = write(tmp_path / "damaged.gz", data[: len(data) * 9 // 10])
    cache = ScanCache()
    seen = []
    with pytest.raises(ValueError, match="damaged"):
        seen.extend(pipe.scan(damaged, chunk_bytes=2000, cache=cache))
    read = zlib.decompressobj(wbits=31).decompress(data[: len(data) * 9 // 10]).decode()
    same(seen, pipe(read)["sequences"])
    assert len(seen) > 500
    early = pipe.scan(write(tmp_path / "log", text), chunk_bytes=2000, cache=cache)
    next(early)
    early.close()
    same(pipe.scan(tmp_path / "log", cache=cache), pipe(text)["sequences"])
    garbled = write(tmp_path / "garbled.gz", data[:100] + b"\xff" * 100 + data[200:])
    with pytest.raises(ValueError, match="damaged"):
        list(pipe.scan(garbled))


@pytest.mark.parametrize("rule", [{}, {"session_pattern": r"job (\d)"}, {"window_seconds": 60.0}])
def test_what_is_open_where_a_log_breaks_off_is_judged(pipe, tmp_path, rule):
    """Half a line, the entry that it belongs to, and the windows and sessions that wait for more."""
    lines = "".join(f"2024-01-01 10:00:0{row} error job {row % 3}\n\tat b.c(D.java:{row})\n" for row in range(9))
    data = zlib.compressobj(wbits=31)
    packed = data.compress(f"{lines}\tat half".encode()) + data.flush(zlib.Z_FULL_FLUSH)
    torn = write(tmp_path / "torn.gz", packed)
    seen = []
    with pytest.raises(ValueError, match="damaged after"):
        seen.extend(pipe.scan(torn, **rule))
    same(seen, pipe(f"{lines}\tat half", **rule)["sequences"])
    assert max(result["last_line"] for result in seen) == 19


def test_little_is_lost_in_front_of_damaged_bytes(tmp_path):
    text = "".join(f"info {row}\n" for row in range(3000)).encode()
    data = zlib.compressobj(wbits=31)
    packed = data.compress(text) + data.flush(zlib.Z_FULL_FLUSH)
    reader = LogReader(write(tmp_path / "torn.gz", packed + b"\x07" * 99))  # no such block
    read = b""
    with pytest.raises(ValueError, match="damaged after"):  # noqa: PT012
        for chunk in reader:
            read += chunk.data
    assert text.startswith(read)
    assert len(text) - 4096 <= len(read)


def test_a_log_that_cannot_be_read_stops_no_other(pipe, tmp_path, caplog):
    write(tmp_path / "a.log.gz", gzip.compress(b"info a\n" * 99)[:-9])
    (tmp_path / "b.log").symlink_to("b.log")
    write(tmp_path / "c.log", "info a\n" * 9)
    write(tmp_path / "d.log", "\n")
    write(tmp_path / "e.log", "info b\n")
    seen = []
    with pytest.raises(ValueError, match="damaged"):
        seen.extend(pipe.scan(tmp_path))
    assert {os.path.basename(result["source"]) for result in seen} >= {"c.log", "e.log"}
    for name in ("a.log.gz", "b.log", "d.log"):
        assert f"{name} was not read to its end" in caplog.text


def test_a_process_with_unfinished_scans_exits(checkpoint, tmp_path):
    path = write(tmp_path / "log", "info a\n" * 20_000)
    program = (
        "import sys; from logmoe.inference import load_pipeline\n"
        "pipe = load_pipeline(sys.argv[1])\n"
        "scan = pipe.scan(sys.argv[2], chunk_bytes=1000); next(scan)\n"
        "follow = pipe.scan(sys.argv[2], follow=True); next(follow)\n"
        "silent = pipe.scan('-')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(checkpoint), path], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_timestamps_and_sessions_may_start_late_in_a_log(pipe, tmp_path):
    text = "\n".join(["info start"] * 30 + [f"2024-01-01 10:00:{row:02d} INFO s{row % 2} a" for row in range(20)])
    path = write(tmp_path / "log", text)
    for options in ({"window_seconds": 5}, {"session_pattern": r"(s\d)"}):
        same(
            sorted(pipe.scan(path, chunk_bytes=100, **options), key=lambda s: (s["first_line"], s["last_line"])),
            sorted(pipe(text, **options)["sequences"], key=lambda s: (s["first_line"], s["last_line"])),
        )


def test_one_timestamp_from_the_future_splits_at_most_one_window(pipe, tmp_path):
    stamps = [f"2024-01-01 10:00:{row:02d} INFO a" for row in range(60)]
    stamps.insert(20, "2030-01-01 00:00:00 INFO b")
    text = "\n".join(stamps)
    scan = list(pipe.scan(write(tmp_path / "log", text), chunk_bytes=60, window_seconds=8))
    # That entry closes the window it arrives in, which then opens once more.
    assert len(scan) <= len(pipe(text, window_seconds=8)["sequences"]) + 1


def test_follow_survives_rotation_and_truncation(pipe, tmp_path):
    path = tmp_path / "log"
    path.write_text("info a 1\n")
    scan = pipe.scan(path, follow=True, idle_seconds=0.3, max_sequence_length=2)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(scan), daemon=True)
    reader.start()

    def texts():
        return [[entry["text"] for entry in sequence["entries"]] for sequence in seen]

    def expect(what):
        deadline = time.monotonic() + 60
        while texts() != what:
            assert time.monotonic() < deadline, texts()
            time.sleep(0.02)

    expect([["info a 1"]])  # not full, but nothing arrived for a while
    with open(path, "a") as log:
        log.write("info b 2\ninfo c 3\n")
        log.flush()
        expect([["info a 1"], ["info b 2", "info c 3"]])
        log.write("info d half a li")
        log.flush()
        time.sleep(0.7)
        log.write("ne\n")
    expect([["info a 1"], ["info b 2", "info c 3"], ["info d half a line"]])
    path.rename(tmp_path / "log.1")
    path.write_text("info e 4\n")
    expect([["info a 1"], ["info b 2", "info c 3"], ["info d half a line"], ["info e 4"]])
    assert seen[-1]["first_line"] == 1
    os.truncate(path, 0)
    time.sleep(0.6)
    with open(path, "a") as log:
        log.write("error\n")
    expect([["info a 1"], ["info b 2", "info c 3"], ["info d half a line"], ["info e 4"], ["error"]])
    assert seen[-1]["first_line"] == 1
    scan.close()
    reader.join(30)
    assert not reader.is_alive()


def test_follow_refuses_anything_but_one_uncompressed_file(pipe, tmp_path):
    path = write(tmp_path / "log.gz", gzip.compress(b"a\n"))
    for bad in ([path, path], "-", io.BytesIO(b"a")):
        with pytest.raises(ValueError, match="one file"):
            pipe.scan(bad, follow=True)
    with pytest.raises(ValueError, match="compressed"):
        next(pipe.scan(path, follow=True))


# ---------------------------------------------------------------------- behaviour


def test_bad_arguments_are_refused(pipe, tmp_path):
    path = write(tmp_path / "log", "a\n" * 20)
    with pytest.raises(ValueError, match="batch_size"):
        pipe.scan(path, batch_size=0)
    for name in ("batch_size", "num_workers", "chunk_bytes", "max_waiting_entries"):
        with pytest.raises(ValueError, match=name):
            pipe.scan(path, **{name: -1})
    for bad, message in (
        ({"dtype": "int8"}, "'auto' or one of"),
        ({"stride": 0}, "stride"),
        ({"window_seconds": 1, "session_pattern": "a"}, "not both"),
        ({"threshold": 2}, "threshold"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe.scan(path, **bad)
    with pytest.raises(FileNotFoundError):
        pipe.scan(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs timestamps"):
        list(pipe.scan(path, window_seconds=1))
    with pytest.raises(ValueError, match="matches no entry"):
        list(pipe.scan(path, session_pattern="z"))


def test_only_anomalies_and_statistics(pipe, tmp_path):
    text = "\n".join(f"{word} {number % 3}" for number in range(40) for word in ("info", "error b", "fatal \xff"))
    path = write(tmp_path / "log", text.encode("latin-1") + b"\n" + b"a " * 200)
    everything = list(pipe.scan(path))
    threshold = float(np.median([result["probabilities"]["anomaly"] for result in everything]))
    expected = [result for result in pipe.scan(path, threshold=threshold) if result["label"] == "anomaly"]
    calls = []
    scan = pipe.scan(path, threshold=threshold, only_anomalies=True, on_progress=lambda s: calls.append(s.bytes_read))
    same(scan, expected)
    assert 0 < len(expected) < len(everything)
    seen = scan.statistics
    assert (seen.lines, seen.entries, seen.sequences, seen.anomalies) == (121, 121, len(everything), len(expected))
    assert (seen.replaced_bytes, seen.truncated_entries, seen.oversized_entries) == (40, 1, 0)
    assert seen.encoded_entries == 4
    assert seen.predicted_sequences < seen.sequences
    assert seen.highest_probability == pytest.approx(max(r["probabilities"]["anomaly"] for r in everything), abs=1e-5)
    assert calls[-1] == seen.bytes_read == seen.total_bytes == os.path.getsize(path)


def test_scans_share_a_cache(pipe, tmp_path):
    path = write(tmp_path / "log", "info a\n" * 8 + "error b\n" * 8)
    cache = ScanCache()
    first, again = pipe.scan(path, cache=cache), pipe.scan(path, cache=cache)
    same(again, first)
    assert (first.statistics.encoded_entries, first.statistics.predicted_sequences) == (0, 0)
    assert (again.statistics.encoded_entries, again.statistics.predicted_sequences) == (2, 2)
    for other in ({"max_log_entry_length": 4}, {"dtype": "bfloat16"}):
        with pytest.raises(ValueError, match="another model, tokenizer, device, dtype or max_log_entry_length"):
            pipe.scan(path, cache=cache, **other)
    with pytest.raises(ValueError, match="max_entries"):
        ScanCache(max_entries=0)


def test_a_scan_closed_early_ends_its_threads(pipe, tmp_path):
    path = write(tmp_path / "log", "info a\n" * 5000)
    before = threading.active_count()
    scan = pipe.scan(path, chunk_bytes=1000)
    next(scan)
    scan.close()
    assert threading.active_count() == before
    assert list(scan) == []


def test_a_scan_uses_one_torch_thread_and_restores_the_others(pipe, tmp_path):
    before = torch.get_num_threads()
    inside = []
    forward = pipe.model.model.sequence_stack.forward
    pipe.model.model.sequence_stack.forward = lambda *a: inside.append(torch.get_num_threads()) or forward(*a)
    list(pipe.scan(write(tmp_path / "log", "a\n" * 20)))
    assert set(inside) == {1}
    assert torch.get_num_threads() == before
    fresh = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [before]


def test_logits_that_are_not_finite_raise(processor, tmp_path):
    model = make_model()
    model.add_placeholders(processor)
    with torch.no_grad():
        model.classification_head.classifier.bias[0] = float("inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        list(LogAnomalyPipeline(model, processor=processor).scan(write(tmp_path / "log", "a\n")))


def test_bfloat16_is_close_to_float32_and_leaves_the_model_unchanged(mini, recordings, tmp_path):
    path = write(tmp_path / "log", recordings[0])
    exact = list(mini.scan(path, dtype="float32"))
    scan = mini.scan(path, dtype="bfloat16")
    near = list(scan)
    assert scan.statistics.dtype == "bfloat16"
    assert mini.model.dtype == torch.float32
    difference = [abs(a["score"] - b["score"]) for a, b in zip(exact, near, strict=True) if a["label"] == b["label"]]
    assert 0 < np.mean(difference) < 0.02
    assert len(difference) >= 0.9 * len(exact)


def test_precision_depends_on_processor_and_model_size(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    cpu = torch.device("cpu")
    assert best_dtype(make_model(), cpu) == torch.float32
    large = make_model(hidden_size=256)
    large.config.encoder_config.hidden_size = 256
    assert best_dtype(large, cpu) == torch.bfloat16
    assert best_dtype(large.half(), cpu) == torch.float16
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert best_dtype(large.float(), cpu) == torch.float32


@pytest.mark.parametrize(("has_amx", "attention"), [(True, "sdpa"), (False, "eager")])
def test_attention_in_bfloat16_is_the_faster_one_for_the_processor(monkeypatch, has_amx, attention):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": has_amx}, raising=False
    )
    model = make_model()
    converted = in_precision(model, torch.bfloat16)
    assert converted.model.sequence_stack.config._attn_implementation == attention
    assert model.config._attn_implementation == "sdpa"


def test_memory_does_not_grow_with_the_log(pipe, monkeypatch):
    """Memory allocated by Python and Arrow; benchmarks/memory.py measures resident memory."""
    for module in (columns_logmoe, masking_logmoe):  # what is remembered is bounded, by more than this log holds
        monkeypatch.setattr(module, "KNOWN_SHAPES", 100)

    class Endless(io.RawIOBase):
        def __init__(self, lines):
            self.lines, self.row = lines, 0

        def read(self, size=-1):
            rows = range(self.row, min(self.row + 400, self.lines))
            self.row = rows.stop if len(rows) else self.row
            # Words that no mask replaces, so that every entry and sequence is new.
            return b"".join(b"info " + b" ".join(b"abcde"[int(d) % 5 :][:1] for d in str(r * r)) + b"\n" for r in rows)

    def peak(lines):
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        highest = 0
        for _ in pipe.scan(Endless(lines), chunk_bytes=4000, cache=ScanCache(100, 100)):
            highest = max(highest, pa.total_allocated_bytes() - before)
        _, python = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return python, highest

    peak(500)
    # What threads hold at one moment varies by a third.
    small, large = [max(of_both) for of_both in zip(peak(2000), peak(4000), strict=True)], peak(20_000)
    assert large[0] < 1.5 * small[0]
    assert large[1] < 2 * small[1] + 100_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.3)])
def test_scan_on_a_gpu(recordings, dtype, tolerance, tmp_path):
    pipe = load_pipeline(MINI, device="cuda")
    text = recordings[0]
    scan = pipe.scan(write(tmp_path / "log", text), dtype=dtype, chunk_bytes=5000)
    expected = load_pipeline(MINI, device="cpu")(text)["sequences"]
    for one, other in zip(scan, expected, strict=True):
        assert one["logits"] == pytest.approx(other["logits"], abs=tolerance)
    assert scan.statistics.dtype == dtype


def test_command_line_on_folders_and_compressed_logs(checkpoint, tmp_path, capsys):
    from logmoe.inference import main

    (tmp_path / "logs").mkdir()
    write(tmp_path / "logs" / "b.log", "info a\n" * 9)
    write(tmp_path / "logs" / "a.log.gz", gzip.compress(b"error b\n" * 3))
    model = ["--model", str(checkpoint), "--device", "cpu"]
    assert main([*model, str(tmp_path / "logs"), "--all", "--json"]) == 0
    output = capsys.readouterr()
    found = [json.loads(line) for line in output.out.splitlines()]
    assert [(os.path.basename(s["source"]), s["last_line"]) for s in found] == [
        ("a.log.gz", 3),
        ("b.log", 8),
        ("b.log", 9),
    ]
    assert output.err == ""  # no progress bar without a terminal
    assert main([*model, str(tmp_path / "logs" / "*.txt")]) == 2
    assert main([*model, str(tmp_path / "logs"), "--follow"]) == 2
