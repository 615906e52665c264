"""Reasons: exact shares, and faults of known kind that are called by their name."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from logmoe import reasons_logmoe
from logmoe.habits_logmoe import is_regular, rate_weights
from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline
from logmoe.reasons_logmoe import KINDS, kind_of
from logmoe.surprise_logmoe import INPUTS, pool_weights
from logmoe.wording_logmoe import (
    SHOWN_CHARACTERS,
    alarms,
    cut,
    inner_line,
    message_of,
    seconds_in_words,
    shown,
    telling_line,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
STEPS = ("open basket", "price read", "basket saved", "payment asked", "payment granted", "parcel packed")
RARE = "cache rebuilt from disk"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "no time"), (0.0123, "12 ms"), (0.2, "0.2 s"), (60, "60 s"), (660, "11 min"), (7200, "2 h")],
)
def test_durations_have_the_unit_that_people_use(seconds, words):
    assert seconds_in_words(seconds) == words


def test_texts_are_cut_to_their_first_line():
    assert shown("one\ntwo") == "one"
    assert len(shown("x" * 500)) == SHOWN_CHARACTERS


@pytest.mark.parametrize(
    ("text", "line", "more"),
    [
        ("one\ntwo\nthree", "one", 2),
        ("one", "one", 0),
        ("Mar 12, 2026 6:25:01 AM demo.Shop pay\nSEVERE: no money\n\tat x", None, 1),
        ("März 12, 2026 18:25:01 demo.Shop pay \nSCHWERWIEGEND: kein Geld", None, 0),
        ("Mar 12, 2026 6:25:01 paid\nSEVERE: no money", "Mar 12, 2026 6:25:01 paid", 1),
    ],
)
def test_a_header_above_what_it_is_about_stands_with_it(text, line, more):
    """As java.util.logging writes it."""
    above, below, *_ = [*text.split("\n"), ""]
    assert telling_line(text) == (line or f"{above.rstrip()} {below}", more)
    assert shown(text) == telling_line(text)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ERROR job 7 failed\nTraceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'digest'",
            "KeyError: 'digest'",
        ),
        (
            "Traceback (most recent call last):\n  File x\nOSError: gone\n\nDuring handling of the above:\n"
            "Traceback (most recent call last):\n  File y\nstore.QuotaExceeded: bucket is full",
            "store.QuotaExceeded: bucket is full",
        ),
        (
            "SEVERE: cannot start\njava.net.ConnectException: refused\n\tat App.main(App.java:1)",
            "java.net.ConnectException: refused",
        ),
        (
            "node:internal/x:46\n      throw err;\n      ^\nError: cannot connect\n    at file:///t",
            "Error: cannot connect",
        ),
        ("thread 'main' (7) panicked at src/mail.rs:11:26:\nassertion failed", "assertion failed"),
        ("ERROR one line", None),
        ("two\nlines of an error", None),
        ("Traceback (most recent call last):\n  File x", None),
    ],
)
def test_the_line_that_names_an_exception(text, message):
    assert message_of(text) == message


def test_of_a_long_object_its_message_is_quoted():
    head = '{"level":50,"time":"<TIME>","req":{"method":"POST","url":"/orders","headers":{"a":"' + "b" * 80
    assert shown(head + '"}},"msg":"no stock"}') == '…"msg":"no stock"}'
    assert shown('{"msg":"no stock",' + head[1:] + '"}}}').startswith('{"msg":"no stock"')
    assert shown(head) == head[: SHOWN_CHARACTERS - 1] + "…"
    assert shown('{"a":1,"msg":"no stock"}') == '{"a":1,"msg":"no stock"}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("=== RUN   TestDial\n    queue_test.go:5: cannot start broker", "queue_test.go:5: cannot start broker"),
        ("--- FAIL: TestDo\n    === RUN TestDo/n=1\n        do_test.go:9: Do(1) = 2", "do_test.go:9: Do(1) = 2"),
        ("deploying\n  copied 3 files\n  restart failed: no such unit\n  done", "restart failed: no such unit"),
        ("Traceback (most recent call last):\n  File x\nOSError: full", "OSError: full"),
        ('Traceback (most recent call last):\n  File x\nbilliard.Lost: \n"""', "billiard.Lost:"),
        ("settings\n  a: 1\n  b: 2", None),
        ("one line", None),
        ("one line\n  ------", None),
    ],
)
def test_the_line_below_that_says_most(text, told):
    assert inner_line(text) == told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kernel: Out of memory: Killed process 7 (java)", True),
        ("kernel: java invoked oom-killer: order=0", True),
        ("cannot open /data: Permission denied", True),
        ("connect: Connection refused", True),
        ("errors=0, 3 refused", True),
        ("1 of 3 blocks corrupted", True),
        ("errors=0", False),
        ("web1 : ok=3 changed=1 unreachable=0 failed=0 skipped=0", False),
        ("web1 : ok=3 changed=1 unreachable=1 failed=0 skipped=0", True),
        ("Corrupt blocks: 0", False),
        ("no corruption found, timed out: 0, 0 packets denied", False),
        ('"OOMKilled": false', False),
        ('"OOMKilled": true', True),
        ("GET /cannot-find HTTP/1.1 200", False),
        ("kernel: docker0: port 1(veth1) entered disabled state", False),
        ("denim jackets: 3 in stock, canned food: none", False),
    ],
)
def test_what_says_that_something_failed(text, expected):
    assert alarms(text) is expected


def test_a_long_word_is_read_once():
    """In the square of its length this would take a quarter of an hour."""
    assert not alarms("err" * 100_000)


@pytest.mark.parametrize(
    "line",
    [
        "[Tue Nov 24 03:20:11.578109 2026] [proxy:error] refused",
        "2026-11-24 03:20:09.123 UTC [1234] ERROR: refused",
        "2026-11-24T03:20:09.123Z ERROR refused",
        "2026-11-24T03:20:09+02:00 ERROR refused",
        "Nov 24 03:20:11 host prog[1]: refused",
        "24-Nov-2026 03:20:11.123 queries: refused",
        "Nov 24, 2026 6:25:01 PM shop.Main refused",
    ],
)
def test_a_line_that_is_too_long_loses_its_time_before_its_end(line):
    assert cut(line, len(line)) == line
    short = cut(line, len(line) - 1)
    assert short[0] == "…"
    assert short.endswith(" refused")
    assert ":09" not in short
    assert ":11" not in short
    assert len(cut(line, 20)) <= 20
    assert cut(line, 8)[-1] == "…"


@pytest.mark.parametrize("line", ["10.0.0.1:8080 refused", '127.0.0.1 - - [24/Nov/2026:03:20:11 +0000] "GET', "1:2:3"])
def test_what_is_no_time_stays(line):
    assert cut(line, len(line) - 1) == line[: len(line) - 2].rstrip() + "…"


def test_a_pool_is_divided_among_the_entries_that_make_it():
    values = np.array([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    largest, nothing, mean, _, top3, _, top8, _ = pool_weights(values)
    assert largest.tolist() == [0, 1, 0, 0]
    assert nothing.tolist() == [1, 0, 0, 0]
    assert top3 == pytest.approx([0, 1 / 2, 1 / 6, 1 / 3])
    assert mean.tolist() == top8.tolist() == top3.tolist()
    assert pool_weights(np.zeros((2, 1)))[1].tolist() == [0.5, 0.5]
    below = pool_weights(np.array([[-2.0], [1.0], [-1.0], [-1.0]]))
    assert below[1] == pytest.approx([0, 3 / 5, 1 / 5, 1 / 5])


def test_returns_are_regular_if_they_are_about_equally_long():
    assert is_regular(np.sort(np.random.default_rng(0).uniform(50, 70, 100)))
    assert is_regular(np.sort(np.r_[np.full(95, 60.0), np.full(5, 600.0)]))  # a few missed
    assert is_regular(np.ones(8, int))
    assert not is_regular(np.sort(np.random.default_rng(0).exponential(60, 100)))
    assert not is_regular(np.sort(np.r_[np.full(90, 0.1), np.full(10, 3600.0)]))  # bursts
    assert not is_regular(np.sort(np.r_[np.full(50, 0.1), np.full(50, 59.9)]))  # pairs
    assert not is_regular(np.zeros(9))


def test_every_input_has_a_kind():
    assert {kind_of(name) for name in INPUTS} == set(KINDS) - {"known_anomaly"}
    assert kind_of("rank_template_rarity_max") == "rare_entry"
    assert kind_of("above_text_unseen_pairs_top3") == "unusual_order"


# ---------------------------------------------------------------------- with a model


@pytest.fixture(scope="module")
def pipe():
    return load_pipeline(DEFAULT_CHECKPOINT, device="cpu")


def healthy(number, seed):
    """Messages and seconds: orders in a fixed sequence, a heartbeat each tenth entry, hardly ever something else."""
    random = np.random.default_rng(seed)
    messages = [STEPS[place % len(STEPS)] for place in range(number)]
    messages = ["heartbeat of the scheduler" if place % 10 == 9 else text for place, text in enumerate(messages)]
    for place in range(333, number, 1000):
        messages[place] = RARE
    return messages, np.cumsum(random.uniform(0.8, 1.2, number))


def as_log(messages, seconds):
    return [
        f"{(START + timedelta(seconds=float(second))).isoformat(timespec='milliseconds')} {text}"
        for text, second in zip(messages, seconds, strict=True)
    ]


@pytest.fixture(scope="module")
def reference(pipe):
    return pipe.fit(as_log(*healthy(3200, 0)))


def with_fault(kind, factor=10):
    """A healthy log with a fault in its sequence of entries 320 to 351; gaps there are `factor` times as long."""
    messages, seconds = healthy(640, 1)
    messages[333] = STEPS[333 % len(STEPS)]
    if kind == "new_entry":
        messages[330] = "disk controller lost its battery, writes are no longer safe"
    elif kind == "rare_entry":
        messages[330] = RARE
    elif kind == "unusual_order":
        part = messages[320:352]
        messages[320:352] = sorted(part, key=lambda text: -part.count(text) if text in STEPS[::2] else 0)
    elif kind == "unusual_count":
        messages[325:345] = [STEPS[3]] * 20
    elif kind == "missing_entry":
        kept = [place for place in range(640) if not (250 <= place < 400 and place % 10 == 9)]
        return [messages[place] for place in kept], seconds[kept]
    elif kind == "unusual_pace":
        gaps = np.diff(seconds, prepend=0)
        gaps[320:352] *= factor
        seconds = np.cumsum(gaps)
    return messages, seconds


@pytest.fixture(scope="module")
def judged(pipe, reference):
    def judge(kind):
        # Reasons are worded for what is called anomalous, which here is all.
        result = pipe([as_log(*with_fault(kind))], reference=reference, threshold=1e-9)[0]
        return next(sequence for sequence in result["sequences"] if sequence["first_line"] == 321)

    return {kind: judge(kind) for kind in KINDS if kind != "known_anomaly"}


def test_the_first_reason_names_the_fault(judged):
    first = {kind: sequence["reasons"][0]["kind"] for kind, sequence in judged.items() if sequence["reasons"]}
    assert sum(first.get(kind) == kind for kind in judged) >= 5, first


def test_reasons_speak_of_the_fault(judged):
    def told(kind):
        return next(reason for reason in judged[kind]["reasons"] if reason["kind"] == kind)

    assert told("new_entry")["line"] == 331
    assert "disk controller" in told("new_entry")["text"]
    assert "in 3,200 healthy entries" in told("rare_entry")["text"]
    assert told("unusual_count")["entry"].endswith(STEPS[3])
    assert "heartbeat" in told("missing_entry")["text"]
    assert told("unusual_pace")["seconds"] > 200


@pytest.mark.parametrize(("factor", "expected"), [(3, "32 entries took 9"), (0.1, "32 entries within 3")])
def test_a_pace_is_told_beside_the_usual_one(pipe, reference, factor, expected):
    result = pipe([as_log(*with_fault("unusual_pace", factor))], reference=reference, threshold=1e-9)[0]
    sequence = next(sequence for sequence in result["sequences"] if sequence["first_line"] == 321)
    first = sequence["reasons"][0]
    assert first["kind"] == "unusual_pace"
    assert first["text"].startswith(expected)
    assert first["text"].endswith(", usually 31 s")


def test_a_pace_that_reads_as_the_usual_one_is_told_in_other_words(pipe, reference, monkeypatch):
    monkeypatch.setattr(reasons_logmoe, "seconds_in_words", lambda seconds: "no time")
    result = pipe([as_log(*with_fault("unusual_pace", 0.1))], reference=reference, threshold=1e-9)[0]
    sequence = next(sequence for sequence in result["sequences"] if sequence["first_line"] == 321)
    assert sequence["reasons"][0]["kind"] == "unusual_pace"
    assert sequence["reasons"][0]["text"] == "entries come faster or slower than usual"


def test_shares_add_up_to_the_margin(judged):
    """Less that of a healthy median sequence, which is the same for all sequences of a log."""
    medians = []
    for sequence in judged.values():
        shares = sum(entry["score"] for entry in sequence["entries"]) + sum(sequence["evidence"].values())
        medians.append(sequence["logits"][1] - sequence["logits"][0] - shares)
    assert medians == pytest.approx([medians[0]] * len(medians), abs=1e-3)
    assert medians[0] < 0


@pytest.mark.parametrize(
    ("departures", "mean", "top3", "most"),
    [
        ([3.0, -1.0, 4.0, 1.0], [9 / 52, 9 / 52, 0, 16 / 26, 1 / 26], [9 / 52, 9 / 52, 0, 16 / 26, 1 / 26], 3),
        ([3.0, 2.0, 4.0, 1.0], [9 / 60, 9 / 60, 4 / 30, 16 / 30, 1 / 30], [9 / 58, 9 / 58, 4 / 29, 16 / 29, 0], 3),
        ([-3.0, -1.0, -2.0, -4.0], [1 / 8, 1 / 8, 1 / 4, 1 / 4, 1 / 4], [1 / 6, 1 / 6, 1 / 3, 1 / 3, 0], 2),
    ],
    ids=["above and below", "all above", "all below"],
)
def test_rates_belong_to_the_entries_above_them(departures, mean, top3, most):
    """The first of four distinct entries stands twice in the sequence."""
    weights = rate_weights(np.array(departures), np.array([0, 0, 1, 2, 3]))
    assert weights["mean"] == pytest.approx(mean)
    assert weights["top3"] == pytest.approx(top3)
    assert weights["max"].tolist() == np.eye(5)[most].tolist()


def test_an_entry_of_which_there_is_too_much_carries_the_score(judged):
    """Not the sequence as a whole, though rates are measured of that."""
    sequence = judged["unusual_count"]
    of_flood = [entry["score"] for entry in sequence["entries"] if entry["text"].endswith(STEPS[3])]
    of_others = [entry["score"] for entry in sequence["entries"] if not entry["text"].endswith(STEPS[3])]
    assert min(of_flood) > max(of_others)
    assert sum(of_flood) > 2 * sum(map(abs, sequence["evidence"].values()))


@pytest.mark.parametrize("entries", [1600, 6400])
def test_the_usual_lines_of_a_healthy_log_are_healthy_one_by_one(pipe, entries):
    reference = pipe.fit(as_log(*healthy(entries, 0)))
    lines = [as_log([message], [0.0]) for message in (*STEPS, "heartbeat of the scheduler")]
    assert [result["label"] for result in pipe(lines, reference=reference)] == ["normal"] * len(lines)
    new = as_log(["disk controller lost its battery"], [0.0])
    assert pipe([new], reference=reference)[0]["label"] == "anomaly"


def test_a_new_name_in_a_known_kind_of_entry_is_named(pipe):
    names = "anna bert cleo dora emil finn gina hans iris jack kate luis".split()
    messages, seconds = healthy(1600, 2)
    for place in range(0, 1600, 5):
        messages[place] = f"worker {names[place // 5 % len(names)]} took a job"
    reference = pipe.fit(as_log(messages, seconds))
    assert "worker <*> took a job" in [template.split("> ", 1)[1] for template in reference.templates.texts]
    messages[800] = "worker zoe took a job"
    result = pipe([as_log(messages[640:960], seconds[640:960])], reference=reference, threshold=1e-9)[0]
    sequence = next(sequence for sequence in result["sequences"] if sequence["first_line"] == 161)
    (told,) = (reason for reason in sequence["reasons"] if reason["kind"] == "new_entry")
    assert (told["line"], told["words"]) == (161, ["zoe"])
    assert "never seen with `zoe`" in told["text"]


def with_ticks(ticks):
    """2,400 messages, ticks among them until the 2,000th."""
    is_tick = set(ticks) & set(range(2000))
    return ["tick of the clock" if place in is_tick else STEPS[place % len(STEPS)] for place in range(2400)]


@pytest.mark.parametrize(
    ("ticks", "words"),
    [
        (range(0, 2400, 60), r"usually every 60 s, not for 7\.0 min"),
        # Ten in a row, then nothing for four minutes.
        (
            [place + burst for place in range(0, 2400, 250) for burst in range(10)],
            r"at least every 4\.0 min in the healthy log, not for 11 min",
        ),
    ],
    ids=["periodic", "in bursts"],
)
def test_only_what_is_periodic_is_said_to_be(pipe, ticks, words):
    log = as_log(with_ticks(ticks), np.arange(2400.0))
    result = pipe([log[1500:]], reference=pipe.fit(log[:2000]), threshold=1e-9)[0]
    told = [reason for reason in result["sequences"][-1]["reasons"] if reason["kind"] == "missing_entry"]
    assert told, result["sequences"][-1]["reasons"]
    assert told[0]["entry"].endswith("tick of the clock")
    assert re.search(words, told[0]["text"]), told[0]["text"]
    assert ("usual_seconds" in told[0]) != ("longest_seconds" in told[0])


def test_where_what_was_missing_is_back_its_line_is_told(pipe):
    messages = with_ticks(range(0, 2000, 60))
    messages[2200] = "tick of the clock"
    log = as_log(messages, np.arange(2400.0))
    result = pipe([log[1500:]], reference=pipe.fit(log[:2000]), threshold=1e-9)[0]
    texts = {
        sequence["first_line"]: reason["text"]
        for sequence in result["sequences"]
        for reason in sequence["reasons"]
        if reason["kind"] == "missing_entry" and reason.get("entry", "").endswith("tick of the clock")
    }
    # From the 1,980th second to the 2,200th; it stands in the window that begins at line 673.
    assert texts[673].endswith("tick of the clock` is missing: usually every 60 s, not for 3.7 min before line 701")
    assert re.search(r"not for \d\.\d min now$", texts[641])
