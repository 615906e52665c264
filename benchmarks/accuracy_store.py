"""What `accuracy.py` has measured, one file for each step; a step is measured again only where something changed.

A step belongs to a part, and is told from the others of that part by its key, such as a service and a draw. Its file
lies in a folder named by a digest of all that it depends on: the checkpoint, the code that serves, the code of the
part. Numbers that later parts read, such as the scores of windows, lie beside it as arrays.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"

Key = dict[str, Any]
Record = dict[str, Any]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """One part of what is measured.

    Attributes:
        name: on the command line and in the JSON.
        keys: of its steps, as the options ask for.
        measure: measures one step: a record for JSON, and arrays, if later parts need some.
        summarise: what the JSON says of the part, from all of its steps.
        files: its own code, by paths from `benchmarks/`.
        after: parts whose arrays it reads.
        is_public: it reads the public logs.
        with_boosting: it compares with gradient boosting, which is fitted beforehand.
    """

    name: str
    keys: Callable[[Any], list[Key]]
    measure: Callable[[Any, Key], tuple[Record, Arrays | None]]
    summarise: Callable[["Kept"], Record]
    files: tuple[str, ...]
    after: tuple[str, ...] = ()
    is_public: bool = False
    with_boosting: bool = False


@dataclass(frozen=True)
class Kept:
    """The steps of a part that are measured, in the order of their keys.

    Attributes:
        keys, records: of each step.
        arrays: of a step, by its place.
    """

    keys: Sequence[Key]
    records: Sequence[Record]
    arrays: Callable[[int], Arrays]

    def places(self, **wanted: Any) -> list[int]:
        """Which steps have these values in their keys."""
        return [place for place, key in enumerate(self.keys) if wanted.items() <= key.items()]


class Store:
    """The files of all steps.

    Args:
        folder: where they lie.
        model: digest of the checkpoint.
        parts: all there are, by name.
    """

    def __init__(self, folder: Path, model: str, parts: Mapping[str, Part]):
        self.folder, self.model, self.parts = folder, model, parts
        self._code: dict[str, str] = {}

    def code(self, name: str) -> str:
        """Digest of the code that a part depends on, and of the recordings."""
        if name not in self._code:
            part = self.parts[name]
            before = [self.code(other) for other in part.after]
            paths = [*sorted(ROOT.glob("*_logmoe.py")), ROOT / "recordings" / "data" / "SHA256SUMS"]
            self._code[name] = digest_of([*paths, *(BENCHMARKS / file for file in part.files)], before)
        return self._code[name]

    def path(self, name: str, key: Key) -> Path:
        """Where the record of a step lies; its arrays lie beside it."""
        told = "-".join(str(value) for value in key.values()) or "all"
        folder = self.folder / f"{name}-{self.model}-{self.code(name)}"
        return folder / f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in told)}.json"

    def has(self, name: str, key: Key) -> bool:
        """Whether a step is measured."""
        return self.path(name, key).exists()

    def write(self, name: str, key: Key, record: Record, arrays: Arrays | None, seconds: Mapping[str, float]) -> None:
        """Keeps a step; one that is cut off leaves nothing behind."""
        path = self.path(name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            temporary = path.with_suffix(f".{os.getpid()}.npz")
            np.savez_compressed(temporary, **arrays)
            os.replace(temporary, path.with_suffix(".npz"))
        content = {"key": key, "seconds": dict(seconds), "machine": describe(), "record": without_nan(record)}
        write_json(path, content)

    def read(self, name: str, key: Key) -> Record:
        """A step as it was kept: `key`, `seconds`, `machine`, `record`."""
        content: Record = json.loads(self.path(name, key).read_text(encoding="utf-8"))
        return content

    def arrays(self, name: str, key: Key) -> Arrays:
        """The arrays of a step."""
        with np.load(self.path(name, key).with_suffix(".npz")) as file:
            return {column: file[column] for column in file.files}

    def kept(self, name: str, keys: Iterable[Key]) -> tuple[Kept, list[Record]]:
        """Those of these steps that are measured, for `Part.summarise`; and as they were kept."""
        there = [key for key in keys if self.has(name, key)]
        read = [self.read(name, key) for key in there]
        return Kept(there, [step["record"] for step in read], lambda place: self.arrays(name, there[place])), read


def digest_of(paths: Iterable[Path], more: Iterable[str] = ()) -> str:
    """A digest of files, by name and content, and of words."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for word in more:
        digest.update(word.encode())
    return digest.hexdigest()[:12]


def model_digest(model: Any) -> str:
    """Tells one checkpoint from another: by its weights, and by what its config says that is no default.

    Not by where it was loaded from (`_name_or_path`): it is the same checkpoint in another folder.
    """
    defaults = {**type(model.config)().to_dict(), "_name_or_path": model.config.name_or_path}
    said = {name: value for name, value in model.config.to_dict().items() if value != defaults.get(name)}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole: a run that is killed meanwhile leaves it as it was."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def without_nan(value: Any) -> Any:
    """A value for JSON, which has no NaN: None in its place, in dicts and lists as well."""
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


class Clock:
    """Seconds of the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> dict[str, float]:
        """Both so far."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return {"wall": round(wall, 2), "processor": round(processor, 2)}


__all__ = [
    "Arrays",
    "Clock",
    "Kept",
    "Key",
    "Part",
    "Record",
    "Store",
    "digest_of",
    "model_digest",
    "without_nan",
    "write_json",
]
