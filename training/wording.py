"""Sequences of mined log statements: what sounds bad, for logs too short to have habits.

`statements.py` mines the texts; here they get headers as logs have them, half of them without a severity, and come
together at random: none bad is a normal sequence, some bad an anomalous one. `general.py` trains on them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

from logmoe import LogMoEForSequenceClassification, LogParser
from logmoe.surprise_logmoe import ENTRY_FEATURES, INPUTS
from logmoe.training.episodes import WINDOW, Batch

# Statements of each level that are drawn, and how often each comes beside one of another level of its label: what is
# a warning to one is no news to the other.
DRAWN = {"error": 5400, "warning": 2800, "info": 4800, "debug": 2600}
WEIGHTS = {"error": 1.0, "warning": 0.5, "info": 1.0, "debug": 1.0}
# No project's way to speak may prevail.
MOST_OF_A_PACKAGE = 0.07
# Of the packages, left out to calibrate.
LEFT_OUT = 0.15

_SEVERITY = re.compile(
    r"\b(?:emerg(?:ency)?|alert|crit(?:ical)?|fatal|panic|severe|errors?|err|warn(?:ing)?s?|notice|info(?:rmation)?"
    r"|debug|trace)\b\s?[:\]]?",
    re.IGNORECASE,
)
_HOSTS = "web1 db-2 mail gw nas edge4 localhost node07 ip-10-0-3-7 srv".split()
_PROCESSES = "appd worker scheduler httpd backupd agent controller proxy authd queue".split()
_COMPONENTS = (
    "main core net.Server c.acme.api.Handler org.acme.store.Pool System Database cache auth api.server worker-3 "
    "pool-1-thread-4"
).split()
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_WORDS = {
    "debug": ["DEBUG", "debug"],
    "info": ["INFO", "info", "notice"],
    "warning": ["WARN", "WARNING", "warning"],
    "error": ["ERROR", "error", "FATAL", "crit"],
}


def without_severity(text: str) -> str:
    """The text without words that name a severity."""
    return re.sub(r"\s+", " ", _SEVERITY.sub(" ", text)).strip()


def with_header(text: str, level: str | None, generator: np.random.Generator) -> str:
    """The text behind a header as some program writes it, with its level unless that is None."""

    def number(low: int, high: int) -> int:
        return int(generator.integers(low, high + 1))

    def one(words: Sequence[str]) -> str:
        return words[number(0, len(words) - 1)]

    word = one(_WORDS[level]) if level else ""
    shout = word.upper()
    host, process, component = one(_HOSTS), one(_PROCESSES), one(_COMPONENTS)
    date = f"202{number(3, 6)}-{number(1, 12):02}-{number(1, 28):02}"
    clock = f"{number(0, 23):02}:{number(0, 59):02}:{number(0, 59):02}"
    month, day, milliseconds, process_id = one(_MONTHS), number(1, 28), f"{number(0, 999):03}", number(200, 60000)
    marks = {"error": "# ", "warning": "# ", "info": "* ", "debug": "- "}
    headers = (
        f"{month} {day:2} {clock} {host} {process}[{process_id}]: " + (f"{word}: " if word else ""),
        f"{month} {day:2} {clock} {host} {process}[{process_id}]: " + (f"{word}: " if word else ""),
        f"{date} {clock},{milliseconds} " + (f"{shout} " if word else "") + f"[{component}] ",
        f"[{date} {clock}.{milliseconds}] " + (f"[{word}] " if word else ""),
        f"{date}T{clock}.{milliseconds}Z " + (f"{word} " if word else "") + f"{component}: ",
        f"{date} {clock} " + (f"{shout} " if word else ""),
        f"{clock} [{component}] " + (f"{shout} " if word else "") + f"{component} - ",
        f"{shout[:1]}{date[5:7]}{date[8:]} {clock}.{milliseconds}000 {process_id} {process}.go:{number(20, 900)}] ",
        f"{process_id}:M {day:02} {month} 2025 {clock}.{milliseconds} " + (marks[level] if level else ""),
        f"{date} {clock}.{milliseconds} UTC [{process_id}] " + (f"{shout}:  " if word else ""),
    )
    return one(headers) + text


def dressed(text: str, level: str, generator: np.random.Generator) -> str:
    """A statement as a log may hold it: bare or behind a header, with or without its severity."""
    form = generator.integers(0, 6)
    if form == 0:
        return text
    if form == 1:
        return without_severity(text)
    if form in (2, 3):
        return with_header(without_severity(text) if form == 2 else text, None, generator)
    return with_header(text, level, generator)


@dataclass(frozen=True)
class Wording:
    """Statements to make sequences of.

    Attributes:
        embeddings: `(statements, encoder_hidden)`.
        is_bad: bool `(statements,)`.
        weight: `(statements,)`, how often each is drawn beside others of its label.
        is_left_out: bool `(statements,)`, to calibrate by.
    """

    embeddings: torch.Tensor
    is_bad: np.ndarray
    weight: np.ndarray
    is_left_out: np.ndarray

    @classmethod
    def read(
        cls, path: Path, encode: Callable[[Sequence[str]], torch.Tensor], seed: int, share: float = 1.0
    ) -> "Wording":
        """Draws statements from a table of them, dresses, masks and encodes them."""
        table = pq.read_table(path, columns=["text", "level", "package"])
        level, package = (np.array(table[name].to_pylist()) for name in ("level", "package"))
        generator = np.random.default_rng(seed)
        chosen: list[int] = []
        for name, most in DRAWN.items():
            rows = generator.permutation(np.flatnonzero(level == name))
            order = np.argsort(package[rows], kind="stable")
            _, starts, counts = np.unique(package[rows][order], return_index=True, return_counts=True)
            place = np.empty(len(rows), np.int64)
            place[order] = np.arange(len(rows)) - np.repeat(starts, counts)
            chosen += rows[place < MOST_OF_A_PACKAGE * most][: int(most * share)].tolist()
        texts = table["text"].take(chosen).to_pylist()
        entries = [dressed(text, level[row], generator) for text, row in zip(texts, chosen, strict=True)]
        masked = LogParser().mask(entries).to_pylist()
        packages = np.unique(package)
        left_out = generator.permutation(packages)[: round(LEFT_OUT * len(packages))]
        return cls(
            encode(masked),
            np.isin(level[chosen], ("error", "warning")),
            np.array([WEIGHTS[name] for name in level[chosen]]),
            np.isin(package[chosen], left_out),
        )

    def draw(self, number: int, generator: np.random.Generator, left_out: bool = False) -> tuple[Batch, torch.Tensor]:
        """Sequences of 1 to 32 statements, half of them with bad ones, as the model reads them, and their labels."""
        usable = self.is_left_out == left_out
        lengths = np.minimum(np.exp(generator.uniform(0, np.log(WINDOW + 1), number)).astype(int), WINDOW)
        labels = generator.random(number) < 0.5
        bad = np.where(labels, np.maximum(1, np.round(lengths * generator.uniform(0.05, 1, number))), 0).astype(int)
        bad_rows, fine_rows = np.flatnonzero(usable & self.is_bad), np.flatnonzero(usable & ~self.is_bad)
        chance = self.weight[bad_rows] / self.weight[bad_rows].sum()
        statements = np.where(
            np.arange(WINDOW) < bad[:, None],
            generator.choice(bad_rows, (number, WINDOW), p=chance),
            generator.choice(fine_rows, (number, WINDOW)),
        )
        # In any order, padding last.
        order = np.argsort(
            np.where(np.arange(WINDOW) < lengths[:, None], generator.random((number, WINDOW)), 2), axis=1
        )
        statements = np.take_along_axis(statements, order, axis=1)
        batch = Batch(
            self.embeddings[torch.from_numpy(statements)],
            torch.from_numpy(np.arange(WINDOW) < lengths[:, None]),
            torch.full((number, WINDOW, len(ENTRY_FEATURES)), torch.nan),
            torch.full((number, len(INPUTS)), torch.nan),
        )
        return batch, torch.from_numpy(labels).float()

    @torch.inference_mode()
    def margins(self, model: LogMoEForSequenceClassification, number: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
        """Margins of sequences of statements left out, and their labels."""
        batch, labels = self.draw(number, np.random.default_rng(0), left_out=True)
        logits = model(**batch.inputs()).logits
        return logits[:, 1] - logits[:, 0], labels

    def temperature(self, model: LogMoEForSequenceClassification) -> float:
        """What the logits of sequences without a reference are to be divided by."""
        margins, labels = self.margins(model)
        candidates = torch.logspace(-1, 1, 101)
        losses = [float(F.binary_cross_entropy_with_logits(margins / value, labels)) for value in candidates]
        return float(candidates[int(np.argmin(losses))])
