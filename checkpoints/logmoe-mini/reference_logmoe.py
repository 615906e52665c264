"""What a healthy log looks like, as data: `LogReference`, fitted in one pass, merged, saved, and measured against.

A reference is the healthy log itself, kept small: its distinct masked texts and their templates, one embedding for
each template, and the order and times in which they came. Every table that surprise needs is made from that in a
fraction of a second, so two references merge exactly, and none is out of date. The pipeline fits and applies it.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .accepting_logmoe import Accepted, from_lines, newly_accepted, to_lines, together
from .folds_logmoe import HEALTHY_FOLDS, RUN_FOLDS, SHORT_FOLDS, Folds, elsewhere, in_other_blocks, log_blocks
from .habits_logmoe import run_windows, steps_of, usable_times, windows_of
from .keeping_logmoe import KeptEntries
from .parsing_logmoe import ParsedLog, check_integer
from .saving_logmoe import named_files, new_files, read_named, table_of
from .sequences_logmoe import Origin, SequenceRule, pad_sequences
from .services_logmoe import REST, Services
from .surprise_logmoe import Healthy, Occurrences, Surprise, Vocabulary, cross_fitted
from .templates_logmoe import Templates, learn_templates, readable

# Of the files; a reader refuses later ones. Without services they are of the first, which knows none.
FORMAT_VERSION = 2
MAX_REFERENCE_ENTRIES = 1 << 17
# Healthy sequences that scores are ranked among.
HEALTHY_SEQUENCES = 4096

# Embeddings float32 `(texts, encoder_hidden)` of masked texts.
Encode = Callable[[list[str]], np.ndarray]


class LogReference:
    """What a healthy log looks like.

    Made by [`LogAnomalyPipeline.fit`]. It holds masked text of somebody's log: share it as you would the log.

    Attributes:
        texts: the distinct masked texts.
        count: int64 `(texts,)`, how often each came, in entries that are kept or not.
        entries: the entries that are kept, in order, as rows of `texts` and `templates`. One without a time has that
            of the entry before it in its stretch; none has one if hardly any was written with one.
        time: float64 `(entries,)`, as they were written, NaN where unknown.
        first: int64 `(entries,)`, in the log it was fitted from, the place of the first entry of each one's sequence.
        services: of its logs, and int64 `(entries,)` which of them each entry is of, see [`Services`].
        templates: of the texts.
        embeddings: float32 `(templates, encoder_hidden)` as the encoder gives them, NaN where not encoded yet.
        origin: what it was made with.
        num_entries: entries it was fitted on, kept or not.
        num_dropped_texts: entries whose text was not kept, because there were too many.
        max_reference_entries: most entries that are kept, and most texts.
        accepted: findings that are fine, by their ids; see [`accept`].
        folds: how its own sequences are measured; see [`Folds`].
    """

    folds = HEALTHY_FOLDS

    def __init__(
        self,
        texts: list[str],
        count: np.ndarray,
        text: np.ndarray,
        time: np.ndarray,
        stretch: np.ndarray,
        origin: Origin,
        num_entries: int,
        num_dropped_texts: int = 0,
        max_reference_entries: int = MAX_REFERENCE_ENTRIES,
        first: np.ndarray | None = None,
        known: dict[str, np.ndarray] | None = None,
        services: tuple[Services, np.ndarray] | None = None,
    ):
        self.origin, self.num_entries, self.num_dropped_texts = origin, num_entries, num_dropped_texts
        self.max_reference_entries = max_reference_entries
        self.accepted: dict[str, Accepted] = {}
        self.first = np.zeros(len(text), np.int64) if first is None else first
        self.services, self.service = services or (Services(), np.full(len(text), REST))
        self._set_texts(texts, count, learn_templates(texts))
        self.template_of = self.templates.match(texts)
        self._set_entries(text, time, stretch)
        self.embeddings = np.full((len(self.templates.texts), 0), np.nan, np.float32)
        if known:
            width = len(next(iter(known.values())))
            missing = np.full(width, np.nan, np.float32)
            self.embeddings = np.stack([known.get(entry, missing) for entry in self.templates.texts])

    def _set_texts(self, texts: list[str], count: np.ndarray, templates: Templates) -> None:
        self.texts, self.count, self.templates = texts, count, templates
        self.row_of = {entry: row for row, entry in enumerate(texts)}
        self._rows: dict[str, int] | None = None
        self._vocabulary: tuple[np.ndarray, Vocabulary] | None = None  # and the embeddings that it is made of
        self._surprise: dict[int, Surprise] = {}
        self._healthy: dict[int, Healthy] = {}
        self._others: dict[Folds, LogReference] = {}  # the same, its own sequences measured in another way
        # Of its logs, see `kinds_of`; and some of them, see `of_kind` and `of_service`.
        self.kinds: np.ndarray | None = None
        self.parts: dict[bytes, LogReference] = {}
        self.of_service: dict[int, LogReference] = {}

    def _set_entries(self, text: np.ndarray, time: np.ndarray, stretch: np.ndarray) -> None:
        self.time = time
        self._steps: tuple[np.ndarray, float] | None = None
        self.entries = Occurrences(text, self.template_of[text], usable_times(time, stretch), stretch)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return (
            f"LogReference({self.num_entries:,} entries, {len(self):,} of them kept; {len(self.texts):,} distinct "
            f"texts, {len(self.templates.texts):,} templates)"
        )

    # ------------------------------------------------------------------ encoding

    def encode(self, encode: Encode) -> "LogReference":
        """Encodes the templates that have no embedding yet; returns itself."""
        if not self.embeddings.shape[1]:
            missing = np.arange(len(self.templates.texts))
        else:
            missing = np.flatnonzero(np.isnan(self.embeddings[:, 0]))
        if len(missing):
            new = encode([readable(self.templates.texts[row]) for row in missing])
            # Replaced as a whole: another thread may be reading them.
            known = self.embeddings.shape[1]
            table = (
                self.embeddings.copy() if known else np.empty((len(self.templates.texts), new.shape[1]), np.float32)
            )
            # As they are saved, so that a saved reference gives the same results.
            table[missing] = new.astype(np.float16)
            self.embeddings, self._surprise, self._healthy, self._others = table, {}, {}, {}
        return self

    def embedding_rows(self) -> dict[str, int]:
        """Rows of `embeddings`, by what the encoder read."""
        if self._rows is None:
            self._rows = {readable(template): row for row, template in enumerate(self.templates.texts)}
        return self._rows

    @property
    def vocabulary(self) -> Vocabulary:
        """Texts, templates and directions of embeddings; what measures shares one, for it may be large."""
        known = self._vocabulary
        if known is None or known[0] is not self.embeddings:
            self._vocabulary = known = self.embeddings, Vocabulary(self.template_of, unit(self.embeddings))
        return known[1]

    def known_embeddings(self) -> dict[str, np.ndarray]:
        """The embeddings of the templates that have one."""
        if not self.embeddings.shape[1]:
            return {}
        rows = zip(self.templates.texts, self.embeddings, strict=True)
        return {entry: row for entry, row in rows if not np.isnan(row[0])}

    # ------------------------------------------------------------------ measuring

    def surprise(self, length: int) -> Surprise:
        """Measures sequences of up to `length` entries against all of the reference."""
        known = self._surprise
        if length not in known:
            known[length] = Surprise(self.entries, self.vocabulary, length, self.count)
        return known[length]

    def surprise_without(self, block: int, length: int) -> Surprise:
        """The same, without a block and those beside it, for a single log whose own sequences are to be measured."""
        rest = self._without(block, length)
        jump = np.append(0, (np.diff(rest) > 1).cumsum())
        return Surprise(self.entries.take(rest, self.entries.stretch[rest] + jump), self.vocabulary, length)

    def _without(self, block: int, length: int) -> np.ndarray:
        low, high = self.blocks()[list(self.folds.left_out(block))]
        # Windows that overlap those of the block are its own as well.
        reach = length if self.origin.has_past else 1
        return np.flatnonzero((self.first <= low - reach) | (self.first >= high + reach - 1))

    def blocks(self) -> np.ndarray:
        """Where the blocks of a single log begin, int64 `(blocks + 1,)`, the last its end: places of entries."""
        starts, blocks = np.sort(self.first[self._starts()]), self.folds.blocks
        edges = starts[np.arange(blocks) * len(starts) // blocks]
        return np.concatenate([[0], edges[1:], [starts[-1] + 1]])

    def can_judge_itself(self, length: int) -> bool:
        """Whether each block of a single log has two sequences of `length` entries to be measured against."""
        return all(len(self._without(block, length)) >= 2 * length for block in range(self.folds.blocks))

    def _starts(self) -> np.ndarray:
        """Positions of the first entries of the sequences that it was fitted on."""
        is_start = np.diff(self.first, prepend=-1) != 0
        # Of two logs a sequence may begin at the same place.
        return np.flatnonzero(is_start | (np.diff(self.entries.stretch, prepend=-1) != 0))

    def healthy(self, length: int) -> Healthy:
        """The reference's own sequences of `length` entries, each measured against the other blocks."""
        known = self._healthy
        if length not in known:
            if self.is_windowed:
                stretch = self.entries.stretch
                sequences = run_windows(stretch, length) if self.is_run else windows_of(stretch, length, length)
            else:
                parts = np.split(np.arange(len(self)), self._starts()[1:])
                sequences = pad_sequences([part[:length] for part in parts])
            number = min(len(sequences), HEALTHY_SEQUENCES)
            some = np.arange(number) * len(sequences) // max(1, number)
            entry, features = cross_fitted(
                self.entries, sequences, self.vocabulary, length, self.folds, self.origin.has_past, some, self._block
            )
            templates = np.where(sequences[some] >= 0, self.entries.template[sequences[some]], -1)
            # A reference of a single sequence has nothing to measure it against.
            is_measured = ~np.isnan(features).all(1)
            known[length] = Healthy(features[is_measured], entry[is_measured], templates[is_measured])
        return known[length]

    def sequences_per_day(self, length: int) -> float:
        """How many sequences of `length` entries a day of healthy log has.

        Raises:
            ValueError: its entries have no times, or none that go forward.
        """
        same = self.entries.stretch[1:] == self.entries.stretch[:-1]
        gaps = np.clip(np.nan_to_num(np.diff(self.entries.time)[same]), 0, None)
        service = np.unique(self.service, return_inverse=True)[1]
        # Of long logs entries are left out, and their time: those that are kept stand for them.
        kept = np.maximum(np.bincount(self.entries.text, minlength=len(self.count)), 1)
        weight = np.bincount(service, (self.count / kept)[self.entries.text]) / np.bincount(service)
        seconds, number = (np.bincount(service[1:][same], of, len(weight)) * weight for of in (gaps, None))
        if not seconds.any():
            raise ValueError(
                "`false_alarms_per_day` needs times, and the entries of this reference have none, or none that go "
                "forward: give `false_alarm_rate`, a share of sequences, in its place."
            )
        # Services write side by side, one of them all the time.
        return float(number.sum() / seconds.max()) / length * 86400

    @property
    def own_familiarity(self) -> float:
        """Share of the kept entries whose template comes in another block too: how far the log knows itself.

        Of runs of the training services and of their first 4,000 entries it is .96 in the median, of 1,500 .93.
        """
        return float(elsewhere(self.entries.template, self._block).mean())

    @property
    def log(self) -> np.ndarray:
        """The number of each entry's log, int64 `(entries,)`, ascending from 0."""
        starts = self._starts()
        is_start = np.zeros(len(self), bool)
        is_start[starts[1:]] = np.diff(self.first[starts]) <= 0  # within a log they ascend
        return is_start.cumsum()

    @property
    def num_logs(self) -> int:
        """How many logs its entries are of."""
        return int(self.log[-1]) + 1

    @property
    def _block(self) -> np.ndarray:
        blocks = self.folds.blocks
        return log_blocks(self.entries.template, self.log, blocks, blocks * self.origin.max_sequence_length)

    @property
    def steps(self) -> tuple[np.ndarray, float]:
        """The steps of the log, see `steps_of`, each once, and the share of all that comes in another block too."""
        if self._steps is None:
            steps = steps_of(self.entries.template, self.entries.stretch, len(self.templates.texts))
            self._steps = in_other_blocks(steps, self.folds.blocks)
        return self._steps

    def as_run(self) -> "LogReference":
        """The same, for another run of it to be compared with: its own sequences are measured against all of it."""
        return self._measured_by(RUN_FOLDS)

    def for_log(self, sequences: list[np.ndarray], length: int) -> tuple["LogReference", int]:
        """What a log is measured by whose first sequences these are, and how many entries a sequence has at most.

        A log shorter than a sequence is one of its own length, and so are the healthy ones, each as if it were a whole
        log; those of a healthy run stay what they are.
        """
        if len(sequences) != 1 or not self.is_windowed or len(sequences[0]) >= length:
            return self, length
        return self if self.is_run else self._measured_by(SHORT_FOLDS), len(sequences[0])

    def _measured_by(self, folds: Folds) -> "LogReference":
        other = copy.copy(self)
        other.folds, other._healthy = folds, {}
        return self._others.setdefault(folds, other)

    @property
    def is_run(self) -> bool:
        """Another run of it is compared with it; see `as_run`."""
        return self.folds == RUN_FOLDS

    @property
    def is_windowed(self) -> bool:
        """Its sequences are windows by count."""
        return self.origin.has_past and self.origin.window_seconds is None

    # ------------------------------------------------------------------ what is fine, and merging

    def accept(self, findings: Iterable[Any], until: Any = None) -> None:
        """Leaves these findings out from now on, where they are about the same entries; nothing else changes.

        Args:
            findings: with `to_dict`, as [`Finding`] has it, or records with `id` and `masked` or `entries`.
            until: they are reported again from this date or date-time on; by default never.

        Raises:
            ValueError: one is no finding, or `until` no time; then none is accepted.
        """
        self.accepted = together(self.accepted.values(), newly_accepted(findings, until))

    def merge(self, other: "LogReference") -> "LogReference":
        """A reference of both logs: the one that fitting them together would give.

        If both have no more entries than a reference keeps; else each is thinned evenly. [`encode`] embeds templates
        that are new. Entries of a reference of one service are of the rest in one of several.

        Raises:
            ValueError: they were made with other rules or another encoder, or cut otherwise.
        """
        self.origin.check(other.origin, "The other reference")
        most = max(self.max_reference_entries, other.max_reference_entries)
        builder = ReferenceBuilder(self.origin, most, self.services.together(other.services))
        for reference in (self, other):
            builder.add_reference(reference)
        return builder.finish(self.known_embeddings() | other.known_embeddings())

    # ------------------------------------------------------------------ files

    def save_pretrained(self, save_directory: str | os.PathLike) -> None:
        """Saves the reference: `reference.json`, and the files that it names, of texts, numbers and what is fine.

        Their names come from their content, so that saving over another reference leaves it whole to its readers, and
        after a crash, until `reference.json` is replaced.
        """
        folder = Path(save_directory)
        if folder.is_file():
            raise FileExistsError(f"cannot save a reference to {str(folder)!r}: it is a file, a folder is needed")
        kinds = [("text", self.texts), ("template", self.templates.texts)]
        of_template = np.bincount(self.template_of, self.count, len(self.templates.texts)).astype(np.int64)
        table = pa.table(
            {
                "kind": pa.array([kind for kind, texts in kinds for _ in texts]).dictionary_encode(),
                "text": pa.array([text for _, texts in kinds for text in texts], pa.large_string()),
                "count": pa.array(np.append(self.count, of_template)),
            }
        )
        tensors = {
            "text": self.entries.text.astype(np.int32),
            "time": self.time,
            "stretch": self.entries.stretch.astype(np.int32),
            "first": self.first,
            "embeddings": self.embeddings.astype(np.float16),
            "template_of": self.template_of.astype(np.int32),
        }
        if self.services:
            tensors["service"] = self.service.astype(np.int16)
        with new_files(folder, "reference.json", _PART) as written:
            pq.write_table(table, written / "texts.parquet", compression="zstd")
            (written / "numbers.safetensors").write_bytes(save(tensors))  # as readable as the others
            if self.accepted:
                (written / "accepted.jsonl").write_bytes(to_lines(self.accepted.values()))
            files = {}
            for path in sorted(written.iterdir()):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                name = f"reference-{digest[:16]}{path.suffix}"
                os.replace(path, folder / name)
                files[name] = digest
            facts = {
                "format_version": FORMAT_VERSION if self.services else 1,
                "files": files,
                **vars(self.origin),
                **{name: getattr(self, name) for name in _FACTS},
                **self.services.facts(),
            }
            (written / "reference.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
            before = named_files(folder / "reference.json") or set()
            os.replace(written / "reference.json", folder / "reference.json")
        for name in before - set(files):
            (folder / name).unlink(missing_ok=True)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> "LogReference":
        """Loads a reference from a folder or from the Hub.

        Args:
            name_or_path: what `save_pretrained` or `push_to_hub` wrote.
            kwargs: of `huggingface_hub.snapshot_download`, such as `revision` and `token`.

        Raises:
            FileNotFoundError: there is no reference, or a part of it is missing.
            ValueError: it is damaged, or of another version.
        """
        folder = Path(name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            try:
                patterns = ["reference.json", "reference-*"]
                downloaded = snapshot_download(str(name_or_path), allow_patterns=patterns, **kwargs)
            except Exception as error:
                raise FileNotFoundError(f"no reference at {str(name_or_path)!r}: {error}") from error
            folder = Path(downloaded)
        if not (folder / "reference.json").is_file():
            raise FileNotFoundError(
                f"no reference in {str(name_or_path)!r}: it has no reference.json. `pipe.fit(…)` makes one of a "
                "healthy log, `save_pretrained` saves it."
            )
        try:
            return cls._read(*_read_files(folder))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the reference {str(name_or_path)!r} is incomplete: it lacks {Path(error.filename).name}. Download "
                "or fit it again."
            ) from error
        except _DAMAGED as error:
            problem = f"the reference {str(name_or_path)!r} cannot be used ({type(error).__name__}: {error})"
            raise ValueError(f"{problem}. Download or fit it again.") from error

    @classmethod
    def _read(cls, facts: dict[str, Any], table: pa.Table, tensors: dict[str, np.ndarray]) -> "LogReference":
        kinds = table["kind"].to_pylist()
        texts, counts = table["text"].to_pylist(), table["count"].to_numpy()
        number = kinds.count("text")
        reference = cls.__new__(cls)
        for name in _FACTS:
            setattr(reference, name, check_integer(name, facts[name], int(name != "num_dropped_texts"), 1 << 50))
        reference.origin = of = Origin(**{name: facts[name] for name in Origin.__annotations__ if name in facts})
        SequenceRule(of.max_sequence_length, None, of.window_seconds, of.session_pattern)  # refuses what is none
        reference.first, reference.accepted = tensors["first"], facts["accepted"]
        reference.services = Services.read(facts)
        reference.service = reference.services.checked(tensors.get("service"), len(reference.first))
        templates, count, entries = texts[number:], counts[:number], tensors["text"]
        vocabulary = Vocabulary(tensors["template_of"], tensors["embeddings"].astype(np.float32))
        vocabulary.check(texts[:number], templates, count)
        Occurrences(entries, entries, tensors["time"], tensors["stretch"]).check(vocabulary, reference.first)
        reference._set_texts(texts[:number], count.astype(np.int64), Templates(templates))
        reference.template_of, reference.embeddings = vocabulary.template_of.astype(np.int64), vocabulary.embeddings
        reference._set_entries(entries.astype(np.int64), tensors["time"], tensors["stretch"].astype(np.int64))
        return reference

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Uploads the reference, which holds masked text of its logs; a new repository is private.

        Args:
            repo_id: name on the Hub, `"org/name"`.
            kwargs: `private` (by default true) and `token`; others go to `huggingface_hub.upload_folder`.

        Returns:
            The address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=kwargs.pop("token", None))
        kwargs.setdefault("commit_message", "Upload LogReference")
        kwargs.setdefault("delete_patterns", ["reference-*"])  # of the reference before it
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=kwargs.pop("private", True), exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **kwargs))


class ReferenceBuilder:
    """Gathers healthy sequences, which may come in chunks, into a reference.

    Args:
        origin: what reads and cuts the logs.
        max_reference_entries: most entries that are kept, and most distinct texts. If there are more, sequences are
            kept evenly over the longest logs, see [`KeptEntries`].
        services: of these logs; each of them wrote a log of its own.
    """

    def __init__(
        self,
        origin: Origin,
        max_reference_entries: int = MAX_REFERENCE_ENTRIES,
        services: Services | None = None,
    ):
        self.origin, self.services = origin, services or Services()
        self.max_reference_entries = check_integer("max_reference_entries", max_reference_entries, 1)
        self.rows: dict[str, int] = {}
        self.accepted: dict[str, Accepted] = {}
        self.count = np.zeros(0, np.int64)
        self.num_entries = self.num_dropped_texts = 0
        # Text, time, first, service, order of its sequence in the log, place. Places of neighbours are consecutive.
        self._kept = KeptEntries(max_reference_entries, origin.max_sequence_length)
        self._num_logs = 0
        self._logs: dict[int, int] = {}  # of the log that comes, by service
        self._sequences: dict[int, int] = {}  # how many came, by service

    def start_log(self) -> None:
        """What comes next is another log."""
        self.services.logs |= {frozenset(self._logs)} - {frozenset()}
        self._logs, self._sequences = {}, {}

    def _log_of(self, service: int) -> int:
        """The number of what a service wrote into the log that comes."""
        if service not in self._logs:
            self._logs[service], self._num_logs = self._num_logs, self._num_logs + 1
        return self._logs[service]

    def add(self, log: ParsedLog, sequences: Sequence[np.ndarray], service: int = REST) -> None:
        """Takes sequences of a log, as positions in it, ordered by their first entry.

        Args:
            log: with `seconds` and `number`; of what one service wrote, if they are told apart.
            service: that wrote it.
        """
        assert log.seconds is not None
        assert log.number is not None
        if not len(sequences):
            return
        positions = np.concatenate(list(sequences))
        rows = np.array([self._row(text) for text in log.distinct.to_pylist()], np.int64)
        sizes = np.array([len(sequence) for sequence in sequences])
        starts = sizes.cumsum() - sizes
        first = log.number[positions[starts]]
        sequence = self._sequences.get(service, 0) + np.arange(len(sizes))
        self._sequences[service] = self._sequences.get(service, 0) + len(sizes)
        # Sessions are no neighbours, nor are their entries and what stands between them.
        place = first if self.origin.session_pattern is None else sequence << 32
        first, place, sequence = (np.repeat(of, sizes) for of in (first, place - starts, sequence))
        text = rows[log.entry_index[positions]]
        self.num_entries += len(text)
        self._count(text[text >= 0])
        self.num_dropped_texts += int((text < 0).sum())
        of_service = np.full(len(text), service)
        columns = text, log.seconds[positions], first, of_service, first, place + np.arange(len(text))
        self._kept.add(self._log_of(service), sequence[text >= 0], [column[text >= 0] for column in columns], service)

    def add_reference(self, reference: LogReference) -> None:
        """Takes the entries of a reference."""
        self.accepted = together(self.accepted.values(), reference.accepted.values())
        rows = np.array([self._row(text) for text in reference.texts], np.int64)
        entries, starts = reference.entries, reference._starts()
        sequence = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(reference))))
        place = (entries.stretch << 32) + np.arange(len(reference))
        numbers = reference.services.numbers_in(self.services)
        service = numbers[reference.service]
        columns = rows[entries.text], reference.time, reference.first, service, sequence, place
        self.start_log()
        self.services.logs |= {frozenset(numbers[list(log)].tolist()) for log in reference.services.logs}
        for of_log in np.split(np.arange(len(reference)), np.flatnonzero(np.diff(reference.log)) + 1):
            kept = of_log[columns[0][of_log] >= 0]
            number, of_service = sequence[kept] - sequence[of_log[0]], int(service[of_log[0]])
            self._kept.add(self._log_of(of_service), number, [column[kept] for column in columns], of_service)
            self._logs = {}  # each is a log of its own
        kept = rows >= 0
        self._count(rows[kept], reference.count[kept])
        self.num_entries += reference.num_entries
        self.num_dropped_texts += reference.num_dropped_texts + int(reference.count[~kept].sum())

    def _row(self, text: str) -> int:
        if text not in self.rows and len(self.rows) >= self.max_reference_entries:
            return -1
        return self.rows.setdefault(text, len(self.rows))

    def _count(self, rows: np.ndarray, counts: np.ndarray | None = None) -> None:
        new = np.bincount(rows, counts, minlength=len(self.rows)).astype(np.int64)
        new[: len(self.count)] += self.count
        self.count = new

    def finish(self, known: dict[str, np.ndarray] | None = None) -> LogReference:
        """The reference.

        Args:
            known: embeddings of templates that need not be encoded again.

        Raises:
            ValueError: there was no entry.
        """
        self.services.logs |= {frozenset(self._logs)} - {frozenset()}
        if not len(self._kept):
            raise ValueError("a reference needs at least one log entry, got none")
        # Sequences come when they are complete; the order of the log does not depend on its chunks.
        parts = [[column[np.argsort(kept[4], kind="stable")] for column in kept] for kept in self._kept.logs()]
        text, time, first, service, _, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        of_log = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        is_new = (np.diff(place) != 1) | (np.diff(of_log) != 0)
        stretch = np.append(0, is_new.cumsum())
        numbers = self.num_entries, self.num_dropped_texts, self.max_reference_entries
        entries, services = (text, time, stretch), (self.services, service)
        reference = LogReference(
            list(self.rows), self.count, *entries, self.origin, *numbers, first=first, known=known, services=services
        )
        reference.accepted = self.accepted
        return reference


# Names of the files of a reference; numbers that are saved as they are.
_PART = re.compile(r"reference-[0-9a-f]{16}\.(parquet|safetensors|jsonl)")
_FACTS = ("num_entries", "num_dropped_texts", "max_reference_entries")
# What reading a damaged file may raise.
_DAMAGED = (LookupError, TypeError, AttributeError, ValueError, OSError, pa.ArrowException, SafetensorError)


def _read_files(folder: Path) -> tuple[dict[str, Any], pa.Table, dict[str, np.ndarray]]:
    """What a saved reference holds: facts, with what was accepted, texts, numbers."""
    facts, contents = read_named(folder / "reference.json", FORMAT_VERSION)
    facts["accepted"] = from_lines(contents.get(".jsonl", b""))
    return facts, table_of(contents[".parquet"]), load(contents[".safetensors"])


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings `(entries, encoder_hidden)` at unit length."""
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


__all__ = ["LogReference", "Origin", "ReferenceBuilder", "unit"]
