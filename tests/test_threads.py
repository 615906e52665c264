"""One pipeline, many threads: results are those of one thread, and nothing is left behind.

`THREAD_CALLS` sets the number of calls of the slow test.
"""

import asyncio
import copy
import faulthandler
import multiprocessing
import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import MINI, ROOT, tiny_processor
from test_reference import features_pipe

from logmoe import LogAnomalyDetector
from logmoe.caching_logmoe import ScanCache
from logmoe.gathering_logmoe import FindingScan

faulthandler.enable()

THREADS = 8
HEALTHY = (ROOT / "examples" / "apache-healthy.log").read_text().splitlines()
FAULTY = (ROOT / "examples" / "apache-faulty.log").read_text().splitlines()


def rounded(value):
    """Results to compare: what floating-point arithmetic may change with the number of threads is rounded away."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(value, 2) + 0.0 if isinstance(value, float) else value


def entry_points(pipe, folder, size=300):
    """Calls of every kind, by name, each of which gives what can be compared; logs differ in how they are cut."""
    healthy, faulty = "\n".join(HEALTHY[:size]), "\n".join(FAULTY[-size:])
    long = "\n".join(f"error {'connection failed at a ' * n}number {n}" for n in (1, 40, 400))
    path = folder / "faulty.log"
    path.write_text(faulty)
    fitted = pipe.fit(healthy)
    fitted.save_pretrained(folder / "reference")
    fresh = type(fitted).from_pretrained(folder / "reference")  # whose memories the threads fill together
    detector = object.__new__(LogAnomalyDetector)
    detector.pipeline, detector.labels, detector.reference = pipe, {"normal": "n", "anomaly": "a"}, fitted
    cache = ScanCache(64, 16)  # so small that scans drop what others use
    # Found alike in each of its copies of the results, of which lines tell.
    findings = lambda found: [(f.id, [e.line for e in f.entries]) for f in found]  # noqa: E731
    return {
        "tokenize": lambda: [ids.tolist() for ids in map(np.array, pipe.processor.tokenize([long, "info a"], 16)[0])],
        "tokenize longer": lambda: pipe.processor.tokenize([long, "info a"], 24)[0],
        "call": lambda: pipe(long, reference=False),
        "call, shorter": lambda: pipe(long, reference=False, max_log_entry_length=8),
        "call, another rule": lambda: pipe(long, reference=False, entry_pattern="error"),
        "batch": lambda: pipe([faulty, long, healthy], reference=False),
        "self": lambda: pipe(faulty),
        "reference": lambda: pipe(faulty, reference=fitted),
        "fresh reference": lambda: pipe(faulty, reference=fresh),
        "saved reference": lambda: pipe(faulty, reference=folder / "reference"),
        "baseline": lambda: pipe(faulty, reference=path)["label"],
        "scan": lambda: list(pipe.scan(path, reference=False, num_workers=2)),
        "scan, shared cache": lambda: list(pipe.scan(path, reference=False, cache=cache, chunk_bytes=2000)),
        "scan, reference": lambda: list(pipe.scan(path, reference=fresh, cache=ScanCache(), chunk_bytes=5000)),
        "findings": lambda: findings(pipe.findings(path, reference=fitted)),
        "findings in memory": lambda: findings(pipe.findings(faulty)),
        "fit": lambda: pipe.fit(healthy).embeddings.tolist(),
        "detector": lambda: detector.predict(faulty),
        "detector's batch": lambda: detector.predict_batch([long, faulty]),
    }


def differences(calls, rounds, threads=THREADS):
    """Calls from many threads at once, each in an order of its own; what differs from one thread's."""
    names = list(calls)
    wanted = {name: rounded(calls[name]()) for name in names}
    start = threading.Barrier(threads)

    def work(number):
        generator = np.random.default_rng(number)
        found = []
        start.wait()
        for name in (name for _ in range(rounds) for name in generator.permutation(names).tolist()):
            try:
                result = rounded(calls[name]())
                found += [] if result == wanted[name] else [f"{name}: another result"]
            except Exception as error:
                found.append(f"{name}: {error!r}")
        return found

    with ThreadPoolExecutor(threads) as pool:
        return [each for found in pool.map(work, range(threads)) for each in found]


@pytest.fixture(scope="module")
def pipe():
    return features_pipe()


@pytest.fixture(scope="module")
def calls(pipe, tmp_path_factory):
    return entry_points(pipe, tmp_path_factory.mktemp("threads"), 60)


def test_threads_get_the_results_of_one_thread(calls):
    assert differences(calls, 1, 4) == []


def test_texts_are_cut_at_the_length_that_was_asked_for():
    processor = tiny_processor()
    backend = processor.tokenizer.backend_tokenizer
    texts = ["info a b " * n for n in range(20)]
    found, stop = set(), threading.Event()

    def others():  # who call the same tokenizer for themselves
        while not stop.is_set():
            processor.tokenizer(texts, truncation=True, max_length=5, padding=True)

    def work(length):
        for _ in range(100):
            token_ids, is_truncated = processor.tokenize(texts, length)
            found.update((length, len(ids), cut) for ids, cut in zip(token_ids, is_truncated.tolist(), strict=True))

    other = threading.Thread(target=others)
    other.start()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, [8, 16, 8, 16, 32, 32, 64, 64]))
    stop.set()
    other.join()
    lengths = [3 * n + 2 for n in range(20)]
    assert found == {(most, min(most, n), n > most) for most in (8, 16, 32, 64) for n in lengths}
    assert backend is processor.tokenizer.backend_tokenizer


def test_truncation_is_that_of_the_tokenizer():
    processor = tiny_processor()
    texts = ["", "a", "info [SEP] a <IP> b c d e", "error " * 50, "<IP> " * 9]
    for side in ("right", "left"):
        processor.tokenizer.truncation_side = side
        for length in (3, 4, 9, 64):
            wanted = copy.deepcopy(processor.tokenizer)(
                texts, truncation=True, max_length=length, split_special_tokens=True
            )
            token_ids, is_truncated = processor.tokenize(texts, length)
            assert token_ids == wanted["input_ids"]
            assert is_truncated.tolist() == [bool(encoding.overflowing) for encoding in wanted.encodings]
    processor.tokenizer.add_tokens(["fatalfailed"])
    new = processor.tokenizer.convert_tokens_to_ids("fatalfailed")
    assert new in processor.tokenize(["a fatalfailed b"])[0][0]


def test_threads_take_the_results_of_one_scan_in_turn(pipe, tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"info {'abcde'[n % 5]}\n" for n in range(2000)))
    wanted = sorted(result["first_line"] for result in pipe.scan(path, reference=False))
    scan = pipe.scan(path, reference=False, chunk_bytes=500)
    with ThreadPoolExecutor(THREADS) as pool:
        taken = pool.map(lambda _: [result["first_line"] for result in scan], range(THREADS))
        assert sorted(line for lines in taken for line in lines) == wanted


def test_threads_take_the_findings_of_one_scan_in_turn(pipe, tmp_path):
    for number in range(40):  # a finding of each
        (tmp_path / f"{number}.log").write_text("".join(f"info {'abcde'[n % 5]}\n" for n in range(50 + number)))
    options = {"reference": False, "threshold": 0.01}
    wanted = sorted((f.source, f.last_line) for f in FindingScan(pipe.scan(tmp_path, **options)))
    assert len(wanted) == 40
    scan = FindingScan(pipe.scan(tmp_path, chunk_bytes=500, **options))
    with ThreadPoolExecutor(THREADS) as pool:
        taken = pool.map(lambda _: [(f.source, f.last_line) for f in scan], range(THREADS))
        assert sorted(places for found in taken for places in found) == wanted
    assert scan.found == len(wanted)


def test_scans_that_start_together_leave_torchs_threads_as_they_were(pipe, tmp_path):
    path = tmp_path / "log"
    path.write_text("info a\n" * 20)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: list(pipe.scan(path, reference=False, num_workers=2)), range(40)))
        fresh = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert fresh == [3]
    finally:
        torch.set_num_threads(before)


def test_asyncio(calls):
    names = ["call", "reference", "scan", "findings"]

    async def together():
        return await asyncio.gather(*(asyncio.to_thread(calls[name]) for name in names * 3))

    assert rounded(asyncio.run(together())) == rounded([calls[name]() for name in names] * 3)


def _send(connection, pipe, text):
    connection.send(rounded([pipe(text), pipe(text, reference=False)]))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes(pipe, start):
    text = "\n".join(FAULTY[-300:])
    wanted = rounded([pipe(text), pipe(text, reference=False)])
    context = multiprocessing.get_context(start)
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, pipe, text), daemon=True)
    process.start()
    try:
        assert ours.poll(120), "the process gives no answer"
        assert ours.recv() == wanted
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_calls_from_eight_threads_in_flat_memory(tmp_path):
    from transformers import pipeline

    calls = entry_points(pipeline("log-anomaly", model=str(MINI), device="cpu"), tmp_path, 40)
    number = int(os.environ.get("THREAD_CALLS", 10_000))
    rounds = max(1, -(-number // (2 * THREADS * len(calls))))
    assert differences(calls, rounds) == []
    half = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    assert differences(calls, rounds) == []
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - half) / 1024
    print(f"{2 * rounds * THREADS * len(calls)} calls, {time.monotonic() - begun:.0f} s, {grown:.0f} MiB more")
    assert grown < 50
