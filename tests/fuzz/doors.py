"""Where bytes of others come in, and what must hold there whatever they are.

A door makes inputs and checks one. An input is nothing but bytes, so that one that fails can be saved and tried again:
what else a check needs, such as where to cut, it draws from a digest of them. A check passes, or raises: every
exception is a failure but those that are documented, which it catches itself.
"""

import atexit
import contextlib
import functools
import hashlib
import io
import itertools
import json
import math
import random
import shutil
import tempfile
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import make_model, tiny_processor
from inputs import COMPRESSORS, CORPUS, any_log, damaged, damaged_json
from safetensors.numpy import load, save
from test_reference import features_pipe, make_log

from logmoe import LogAnomalyPipeline, LogParser
from logmoe.accepting_logmoe import from_lines, to_lines
from logmoe.findings_logmoe import Findings
from logmoe.loading import load_pipeline
from logmoe.parsing_logmoe import EntryStream
from logmoe.reading_logmoe import Chunk, LogReader, to_utf8
from logmoe.reference_logmoe import LogReference
from logmoe.reporting import LIBRARIES, render
from logmoe.reports import read_findings
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule
from logmoe.training.arguments import DataArguments
from logmoe.training.logs import LogStore
from logmoe.training.sources import SourceReader
from logmoe.unwrapping_logmoe import _is_weak

FORMATS = ("text", "jsonl", "markdown", *LIBRARIES)
PARSER = LogParser()
WEAK = {rule["name"] for rule in PARSER.transports if _is_weak(rule)}


@dataclass(frozen=True)
class Door:
    """A way in.

    Attributes:
        make: an input.
        check: raises if something does not hold of it.
        few: how many inputs the tests try; they must stay fast.
    """

    make: Callable[[random.Random], bytes]
    check: Callable[[bytes], None]
    few: int


def drawn(data: bytes) -> random.Random:
    """What else the check of an input needs, always the same."""
    return random.Random(zlib.crc32(data))


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="fuzz-") as path:
        yield Path(path)


class Pieces(io.RawIOBase):
    """A stream that gives just these pieces."""

    def __init__(self, pieces):
        self.pieces = [piece for piece in pieces if piece]

    def read(self, size=-1):
        return self.pieces.pop(0) if self.pieces else b""


def cut(data: bytes, at: random.Random) -> list[bytes]:
    places = [0, *sorted(at.randint(0, len(data)) for _ in range(at.choice((0, 1, 2, 5, 20)))), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


# ---------------------------------------------------------------------- what must hold of what is shown


def check_shown(text: str) -> None:
    """Nothing in it controls a terminal or deceives its reader."""
    raw = {character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert raw <= {"\n"}, f"raw characters: {sorted(raw)!a}"


def check_json(text: str) -> None:
    """It is JSON, without NaN."""

    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    json.loads(text, parse_constant=refuse)


def check_reports(findings: Findings) -> None:
    for form in FORMATS:
        report = render(findings, form)
        report.encode("utf-8")
        # The page's own style and script have no such characters either.
        check_shown(report.replace("\t", " ") if form == "junit" else report)
        if form == "jsonl":
            for line in report.splitlines():
                check_json(line)
        elif form == "sarif":
            check_json(report)
        elif form == "junit":
            ElementTree.fromstring(report)


# ---------------------------------------------------------------------- text


def as_tuples(entries):
    return list(zip(entries.first_line.tolist(), entries.last_line.tolist(), entries.text.to_pylist(), strict=True))


def check_text(data: bytes) -> None:
    """Entries do not depend on where bytes arrive, no line is lost, and every entry is in some sequence."""
    at = drawn(data)
    parsed = PARSER.parse_batch([data])[0]
    chunk_bytes = at.choice((7, 100, 100, 1 << 20))
    stream = EntryStream(PARSER, chunk_bytes)
    found, formats, streamed = [], set(), None
    try:
        for chunk in LogReader(Pieces(cut(data, at)), chunk_bytes):
            given = stream.push(chunk)
            formats |= given.formats
            found += as_tuples(given.entries)
    except ValueError as error:  # it is no text to a reader, which is stricter than text in memory
        assert "not a log" in str(error)  # noqa: PT017 - it may also pass
    else:
        streamed = found
        # What only looks wrapped is told by the lines that have come so far.
        if not WEAK & (formats | EntryStream(PARSER, 1 << 20).push(Chunk(to_utf8(data)[0], 1, is_last=True)).formats):
            assert found == as_tuples(parsed), "entries differ from those of the whole"
    lines = to_utf8(data)[0].decode().split("\n")
    numbers = parsed.last_line - parsed.first_line
    assert (numbers >= 0).all()
    assert not len(parsed) or (parsed.first_line.min() >= 1 and parsed.last_line.max() <= len(lines))
    if streamed is not None and not formats:  # what a transport writes about itself is in no entry
        covered = set()
        for first, last in zip(parsed.first_line.tolist(), parsed.last_line.tolist(), strict=True):
            covered |= set(range(first, last + 1))
        for number, line in enumerate(lines, 1):
            if number not in covered and line.strip() and line.isprintable():
                assert line.startswith("#"), f"line {number} is in no entry: {line[:80]!r}"
    if not len(parsed):
        return
    parsed.seconds = PARSER.timestamps(parsed)
    parsed.number = np.arange(len(parsed))
    cuts = [
        {},
        *({"window_seconds": of} for of in (1.0, 1e-300, 1e300)),
        *({"session_pattern": of} for of in (r"\d+", ".")),
    ]
    rule = SequenceRule(at.randint(1, 9), **at.choice(cuts))
    with contextlib.suppress(ValueError):  # not every log has what a rule asks for
        placed = np.concatenate([np.empty(0, int), *SequenceCutter(rule, PARSER).push(parsed, True)])
        assert rule.session_pattern is not None or set(placed.tolist()) == set(range(len(parsed)))


# ---------------------------------------------------------------------- reader

ENCODINGS = (None, None, None, "utf-8", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "gb18030", "shift_jis")


def make_stored(at: random.Random) -> bytes:
    """A log as it lies on a disk, perhaps compressed, perhaps damaged after that."""
    data = at.choice(COMPRESSORS)(any_log(at))
    if at.random() < 0.3:
        data += at.choice(COMPRESSORS)(any_log(at))
    return damaged(data, at, [data]) if at.random() < 0.7 else data


def check_reader(data: bytes) -> None:
    at = drawn(data)
    chunk_bytes = at.choice((1, 50, 4096, 1 << 20))
    reader = LogReader(io.BytesIO(data), chunk_bytes, encoding=at.choice(ENCODINGS))
    number, is_last = 1, False
    try:
        for chunk in reader:
            assert not is_last
            assert chunk.first_line == number
            chunk.data.decode()
            number, is_last = number + chunk.data.count(b"\n"), chunk.is_last
    except (ValueError, EOFError) as error:
        assert str(error)  # noqa: PT017 - it may also pass
    else:
        assert is_last


# ---------------------------------------------------------------------- scan

HEALTHY = make_log(120, seed=1)


@functools.cache
def tiny_pipe():
    pipe = features_pipe()
    return pipe, pipe.fit(HEALTHY)


def make_scanned(at: random.Random) -> bytes:
    data = any_log(at)
    return HEALTHY[: at.randrange(3000)].encode() + data if at.random() < 0.5 else data


def check_scan(data: bytes) -> None:
    """A log is judged, or refused in words; what is said of it is finite, and harmless in every report."""
    pipe, reference = tiny_pipe()
    at = drawn(data)
    given = at.choice((reference, None, False))
    options = {"threshold": at.choice((0.01, 0.3, 0.9))}
    if at.random() < 0.2:
        options["session_pattern"] = at.choice((r"\d+", "[a-z]+"))
        given = False
    log = data if at.random() < 0.3 else io.BytesIO(data)
    try:
        findings = pipe.findings(log, reference=given, **options)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - it may also pass
        return
    for finding in findings:
        assert 1 <= finding.first_line <= finding.last_line
        for number in (finding.score, finding.strength, *(entry.share for entry in finding.entries)):
            assert math.isfinite(number)
    check_reports(Findings(findings, replace(findings.summary, baseline=data[:50].decode("latin-1"))))


# ---------------------------------------------------------------------- saved references


@functools.cache
def saved_reference() -> dict[str, bytes]:
    _, reference = tiny_pipe()
    reference.accepted = from_lines(b'{"id": "0123456789ab", "masked": ["a"]}\n')
    with folder() as path:
        reference.save_pretrained(path)
        reference.accepted = {}
        return {file.name: file.read_bytes() for file in path.iterdir()}


def make_reference(at: random.Random) -> bytes:
    """A part of a reference, damaged; what is damaged with care has valid digests."""
    name = at.choice(list(saved_reference()))
    data = saved_reference()[name]
    kind = Path(name).suffix
    if kind == ".json":
        data = damaged_json(data, at)
    elif at.random() < 0.4:
        data = damaged(data, at, [data])
    elif kind == ".safetensors":
        data = _other_numbers(data, at)
    elif kind == ".parquet":
        data = _other_texts(data, at)
    else:
        data = damaged_json(data, at) + at.choice((b"", b"\n", b"\n" + data))
    return f"{kind}\0".encode() + data  # names have digests in them, which vary


def _other_numbers(data: bytes, at: random.Random) -> bytes:
    tensors = load(data)
    name = at.choice(list(tensors))
    values = tensors[name].copy()
    kind = at.randrange(5)
    if kind == 0:
        del tensors[name]
        return save(tensors)
    if kind == 1:
        values = values[: at.randint(0, len(values))]
    elif kind == 2:
        values = values.astype(at.choice(("int8", "int64", "float32", "float64", "bool")))
    elif kind == 3 and values.ndim == 1:
        values = values.reshape(-1, 1)
    else:
        whole, broken = (-1, 0, 1 << 30, len(values)), (np.nan, np.inf, 1e30, -1.0)
        extreme = at.choice(whole if values.dtype.kind == "i" else broken)
        with np.errstate(over="ignore"):
            values.reshape(-1)[at.randrange(values.size)] = extreme
    tensors[name] = np.ascontiguousarray(values)
    return save(tensors)


def _other_texts(data: bytes, at: random.Random) -> bytes:
    columns = pq.read_table(pa.BufferReader(data)).to_pydict()
    name = at.choice(list(columns))
    kind = at.randrange(4)
    if kind == 0:
        del columns[name]
    elif kind == 1:
        columns = {column: values[: at.randint(0, len(values))] for column, values in columns.items()}
        shortest = min(map(len, columns.values()))
        columns = {column: values[:shortest] for column, values in columns.items()}
    else:
        values = columns[name]
        words = ("", "text", "template", "\x1b[2J", "<*>" * 99, None)
        value = at.choice((-1, 1 << 60, 0) if name == "count" else words)
        values[at.randrange(len(values))] = value
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def check_reference(data: bytes) -> None:
    """A damaged reference is refused by a ValueError or a FileNotFoundError, or judges as well as any other."""
    name, _, content = data.partition(b"\0")
    (named,) = (file for file in saved_reference() if Path(file).suffix == name.decode())
    pipe, _ = tiny_pipe()
    files = saved_reference() | {named: content}
    if named != "reference.json":
        facts = json.loads(files["reference.json"])
        facts["files"][named] = hashlib.sha256(content).hexdigest()
        files["reference.json"] = json.dumps(facts).encode()
    with folder() as path:
        for file, of in files.items():
            (path / file).write_bytes(of)
        try:
            reference = LogReference.from_pretrained(path)
            findings = pipe.findings(HEALTHY[:1500] + "fatal\n" * 9, reference=reference, threshold=0.01)
        except (ValueError, FileNotFoundError) as error:
            assert str(error)  # noqa: PT017 - it may also pass
            return
        for finding in findings:
            assert math.isfinite(finding.score + finding.strength)
        check_reports(findings)
        reference.merge(reference)


# ---------------------------------------------------------------------- checkpoints


@functools.cache
def saved_checkpoint() -> Path:
    path = Path(tempfile.mkdtemp(prefix="fuzz-checkpoint-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    model, processor = make_model(), tiny_processor()
    model.add_placeholders(processor)
    LogAnomalyPipeline(model, processor=processor).save_pretrained(path)
    for code in path.glob("*.py"):
        code.unlink()
    return path


PARTS = ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def make_checkpoint(at: random.Random) -> bytes:
    name = at.choice([name for name in PARTS if (saved_checkpoint() / name).exists()])
    data = (saved_checkpoint() / name).read_bytes()
    if name.endswith(".json"):
        data = damaged_json(data, at)
    else:  # what counts is the header
        size = 8 + int.from_bytes(data[:8], "little")
        header = damaged(data[:size], at, [data[:size]])
        if at.random() < 0.5 and (inner := damaged_json(data[8:size], at)):
            header = len(inner).to_bytes(8, "little") + inner
        data = header + data[size:]
    return f"{name}\0".encode() + data


def check_checkpoint(data: bytes) -> None:
    """A damaged checkpoint is refused by a ValueError or a FileNotFoundError, or judges."""
    name, _, content = data.partition(b"\0")
    with folder() as path:
        copy = Path(shutil.copytree(saved_checkpoint(), path / "copy"))
        (copy / name.decode()).write_bytes(content)
        try:
            pipe = load_pipeline(copy, device="cpu")
            result = pipe("INFO a\nERROR b\n" * 9)
        except (ValueError, FileNotFoundError) as error:
            assert str(error)  # noqa: PT017 - it may also pass
            return
        check_json(json.dumps(result))


# ---------------------------------------------------------------------- training files

ROWS = [
    {"log_sequence": "INFO a\nERROR b", "label": "anomaly", "time": 1},
    {"log_sequence": ["INFO a", "INFO b"], "label": "normal", "time": 2},
    {"log_sequence": "INFO c", "label": "normal", "time": 3},
    {"log_sequence": "WARN d", "label": "normal", "time": 4},
]
TEXTS = [row | {"log_sequence": "INFO e"} if isinstance(row["log_sequence"], list) else row for row in ROWS]


def _stored_rows() -> dict[str, bytes]:
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(TEXTS), parquet)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    return {
        "rows.jsonl": lines.encode(),
        "rows.json": json.dumps(ROWS).encode(),
        "rows.csv": b'log_sequence,label,time\n"INFO a\nERROR b",anomaly,1\nINFO c,normal,2\nWARN d,normal,3\n',
        "rows.parquet": parquet.getvalue(),
        "rows.jsonl.gz": COMPRESSORS[1](lines.encode()),
        "lines.csv": b"line,label,time\nINFO a,0,1\nERROR b,1,2\nINFO c,0,3\n",
        "lines.log": b"- INFO a\nbad ERROR b\n- INFO c\n",
    }


STORED_ROWS = _stored_rows()


def make_training(at: random.Random) -> bytes:
    name = at.choice(list(STORED_ROWS))
    data = STORED_ROWS[name]
    if name.endswith(".json"):
        data = damaged_json(data, at)
    elif name.endswith(".jsonl") and at.random() < 0.6:
        rows = data.splitlines()
        row = at.randrange(len(rows))
        rows[row] = damaged_json(rows[row], at)
        data = b"\n".join(rows) + b"\n"
    else:
        data = damaged(data, at, [*STORED_ROWS.values(), *CORPUS.values()])
    return f"{name}\0".encode() + data


def check_training(data: bytes) -> None:
    """A file is refused by a ValueError that names it, or every log of it has entries and a label."""
    at = drawn(data)
    name, _, content = data.partition(b"\0")
    named = name.decode()
    options = {}
    if named == "lines.log":
        options["line_label_pattern"] = r"^(?P<label>\S+) "
        options["normal_label"] = "-"
    elif at.random() < 0.5:
        options["time_column"] = "time"
    store = LogStore(tiny_processor())
    with folder() as path:
        (path / named).write_bytes(content)
        try:
            logs = SourceReader(DataArguments(**options), store).read_files([str(path / named)])
        except ValueError as error:
            assert named in str(error)  # noqa: PT017 - it may also pass
            return
    assert set(logs.labels.tolist()) <= {0, 1}
    for log in logs.distinct_log.tolist():
        assert len(store.distinct_logs[log])


# ---------------------------------------------------------------------- saved findings, and what is accepted


@functools.cache
def saved_findings() -> bytes:
    pipe, reference = tiny_pipe()
    log = HEALTHY[:1500] + "".join(text.decode("utf-8", "ignore") for text in CORPUS.values())
    return render(pipe.findings(log, reference=reference, threshold=0.01), "jsonl").encode()


def make_findings(at: random.Random) -> bytes:
    if at.random() < 0.3:
        accepted = b'{"id": "0123456789ab", "masked": ["a <IP>"], "until": "2026-01-02"}\n'
        return b"accepted\0" + damaged(accepted, at, [b"[]"])
    rows = saved_findings().splitlines()
    rows = [*at.choices(rows[:-1], k=at.randint(0, 3)), rows[-1]]
    row = at.randrange(len(rows))
    rows[row] = damaged_json(rows[row], at)
    return b"findings\0" + b"\n".join(rows) + b"\n"


def check_findings(data: bytes) -> None:
    name, _, content = data.partition(b"\0")
    try:
        if name == b"accepted":
            accepted = from_lines(content)
            assert from_lines(to_lines(accepted.values())) == accepted
            return
        with folder() as path:
            (path / "findings.jsonl").write_bytes(content)
            findings = read_findings([str(path / "findings.jsonl")])
    except ValueError as error:
        assert str(error)  # noqa: PT017 - it may also pass
        return
    check_reports(findings)


DOORS = {
    "text": Door(any_log, check_text, 40),
    "reader": Door(make_stored, check_reader, 300),
    "scan": Door(make_scanned, check_scan, 12),
    "reference": Door(make_reference, check_reference, 30),
    "checkpoint": Door(make_checkpoint, check_checkpoint, 12),
    "training": Door(make_training, check_training, 60),
    "findings": Door(make_findings, check_findings, 25),
}
