"""Inputs that somebody hostile, or a broken disk, could have made: a small corpus, and ways to damage it.

All is drawn from one `random.Random`, so that a seed names an input.
"""

import bz2
import copy
import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pyarrow as pa

CORPUS = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").iterdir())}

# What parsers, terminals and browsers trip over.
TOKENS = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\t", b"  ", b"\n  ", b"\n\tat a.B(C.java:1)"),
    *(b"\x00", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xff", b"\xfe\xff", b"\xc3", b"\xe3\x80", b"\xed\xa0\x80"),
    *(b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\x7f", b"\x1b[2J", b"\x1b]0;a\x07", b"\x1b]8;;http://e\x1b\\"),
    *(text.encode() for text in ("\u00a0", "\u3000", "\u2028", "\u202e", "\u2066", "\ufffe", "\U000e0041", "²", "١")),
    *(b"\x9b1m", b"\x08", b"<script>", b"]]>", b"&#0;", b"```", b"|", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\n"),
    *(b"Traceback (most recent call last):\n", b"Caused by: x", b"ValueError: x\n", b"#Fields: a b\n", b"MESSAGE="),
    *(b"\\u0000", b'{"log":"', b'","stream":"stderr"}', b"stdout P ", b" F ", b"<0>", b"<999>", b"1e999", b"NaN"),
    *(b"2026-01-02T10:00:00Z ", b"9999-99-99 99:99:99 ", b"0000-00-00 00:00:00 ", b"ERROR ", b"INFO ", b"<*>"),
    *(b"<IP>", b"%s", b"-1", b"0" * 400, b"a" * 3000, b"[" * 300, b"9" * 25),
]
# In place of a key or a value of JSON.
KEYS = ["a", "", "auto_map", "model_type", "\x1b]0;x\x07", "a" * 300]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, 1e-320, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**30),
    *("", "a", "0", "\x1b[2J\u202e\n", "\ud800", "(", "((a+)+)+$", "../../etc/passwd", "int8", "a" * 5000, "\\1" * 50),
    *([], [None], [0], ["a", 1], {}, {"a": {}}, [[[]]], [{"pattern": "a"}]),
]
COMPRESSORS = [
    lambda data: data,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    lambda data: pa.compress(data, "zstd", asbytes=True),
]


def damaged(data: bytes, random: random.Random, corpus: list[bytes]) -> bytes:
    """A mutation of some bytes: usually few changes, sometimes none."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 5, 10, 30))):
        place = random.randint(0, len(data))
        end = min(len(data), place + random.choice((0, 1, 1, 2, 4, 16, 64, 500)))
        kind = random.randrange(9)
        if kind == 0 and data:
            place = min(place, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place] + random.choice(TOKENS) + data[place:]
        elif kind == 2:
            data = data[:place] + random.choice(TOKENS) + data[end:]
        elif kind == 3:
            data = data[:place] + data[end:]
        elif kind == 4:
            data = data[:place] + random.randbytes(end - place) + data[end:]
        elif kind == 5:
            data = data[:place] + data[place:end] * random.randint(2, 9) + data[end:]
        elif kind == 6:
            other = random.choice(corpus)
            start = random.randint(0, len(other))
            data = data[:place] + other[start : start + random.randint(0, 200)] + data[place:]
        elif kind == 7:
            lines = data.split(b"\n")
            random.shuffle(lines)
            data = b"\n".join(lines)
        elif random.random() < 0.3:
            data = data[:place]
    return data


def any_log(random: random.Random) -> bytes:
    """A log, as bytes."""
    logs = list(CORPUS.values())
    data = random.choice(logs)
    if random.random() < 0.1:
        data = b"".join(random.choice(TOKENS) for _ in range(random.randint(0, 30)))
    return damaged(data, random, logs)


def damaged_json(text: bytes, random: random.Random) -> bytes:
    """A JSON document with other values, other keys, or other bytes."""
    if random.random() < 0.3:
        return damaged(text, random, [text, b'{"a": [1, null]}'])
    document = json.loads(text)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        holder, key = None, None
        at = document
        while isinstance(at, dict | list) and at and (holder is None or random.random() < 0.85):
            holder, key = at, random.choice(list(at) if isinstance(at, dict) else range(len(at)))
            at = holder[key]
        if holder is None:
            break
        kind = random.randrange(5)
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[random.choice(KEYS)] = copy.deepcopy(random.choice(VALUES))
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(random.choice(VALUES)))
        elif kind == 3 and isinstance(at, int | float) and not isinstance(at, bool):
            holder[key] = random.choice((at + 1, at - 1, -at, at * 1000, at * 1e30, at / 7, str(at)))
        else:
            holder[key] = copy.deepcopy(random.choice(VALUES))
    return json.dumps(document).encode()
