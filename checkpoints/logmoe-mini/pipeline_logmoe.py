"""Answers out: `pipeline("log-anomaly", model=…)` judges logs and names the entries that made the verdict."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForSequenceClassification, Pipeline, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import cached_file, logging

from .processing_logmoe import LogMoEProcessor, ParsedLog, check_integer
from .reading_logmoe import CHUNK_BYTES, find_logs
from .scanning_logmoe import LogScan, ScanCache, ScanStatistics, best_dtype, longer_than

logger = logging.get_logger(__name__)

DEFAULT_BATCH_SIZE = 32
# Sequences that a scan judges at once: on a CPU as many as stay in its caches.
SCAN_BATCH_SIZE = {"cpu": 128}
# Logs of a batch that are parsed at once.
LOGS_PER_PARSE = 256
# Entries that are padded together on their way to the encoder, which sorts them by length.
ENTRIES_PER_CALL = 4096

# Written beside the weights when the model came without a card of its own.
_PLAIN_CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- log-anomaly
- log-anomaly-detection
---

# LogMoE

A LogMoE checkpoint: it judges sequences of log entries as normal or anomalous. Nothing was measured for this card.

```python
from transformers import pipeline

pipe = pipeline("log-anomaly", model="<this repository>", trust_remote_code=True)
pipe(open("server.log").read())
```
"""


@dataclass
class PreparedLog:
    """One log on its way to the model: its entries and the sequences they were cut into."""

    parsed: ParsedLog
    sequences: list[np.ndarray]  # positions of entries


@dataclass
class JudgedLog:
    """One log on its way back: a row per sequence."""

    prepared: PreparedLog
    logits: np.ndarray  # (sequences, 2)
    entry_scores: list[np.ndarray]  # per sequence, one score per entry
    truncated: np.ndarray  # (entries,) bool


class LogAnomalyPipeline(Pipeline):
    """Judges logs with [`LogMoEForSequenceClassification`].

    Example:

    ```python
    >>> from transformers import pipeline

    >>> pipe = pipeline("log-anomaly", model="org/logmoe", trust_remote_code=True)
    >>> result = pipe(open("server.log").read())
    >>> result["label"], result["score"], result["sequences"][0]["entries"][0]["line"]
    ```

    All of these can be given when the pipeline is made, or at a call:

    Args:
        max_log_entry_length (`int`): tokens per entry.
        max_sequence_length (`int`): entries per sequence, at most the model's.
        stride (`int`): entries from the start of a window to the start of the next.
        window_seconds (`float`): windows by time; a log without timestamps is a `ValueError`.
        session_pattern (`str`): sessions by the identifier that this pattern finds.
        threshold (`float`): smallest probability of "anomaly" that gives that label, in (0, 1).
        batch_size (`int`, defaults to 32): sequences per call of the model; halved when memory runs out.

    Raises:
        ValueError: a model that is no LogMoE, or no processor.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False

    def __init__(self, *args: Any, **kwargs: Any):
        model = kwargs.get("model", args[0] if args else None)
        if model is None or model.config.model_type != "logmoe":
            raise ValueError(
                "The log-anomaly pipeline needs a LogMoE checkpoint (model_type 'logmoe'), got "
                + ("no model." if model is None else f"a {model.config.model_type!r} model.")
            )
        if kwargs.get("processor") is None:
            raise ValueError(
                "The log-anomaly pipeline needs the checkpoint's processor: give `processor=`, or load the model by "
                "its folder or name."
            )
        super().__init__(*args, **kwargs)
        self.processor: LogMoEProcessor
        # A processor that cuts longer than the model reads would fail at the first long log only.
        for name, limit in (
            ("max_sequence_length", self.model.config.max_sequence_length),
            ("max_log_entry_length", self._longest_entry()),
        ):
            if getattr(self.processor, name) > limit:
                raise ValueError(
                    f"The processor's `{name}` is {getattr(self.processor, name)}, but the model reads at most "
                    f"{limit}."
                )

    def _longest_entry(self) -> int:
        """Tokens that the encoder can read."""
        longest = self.processor.tokenizer.model_max_length
        # An encoder with relative positions has no such limit of its own.
        return min(longest, getattr(self.model.config.encoder_config, "max_position_embeddings", longest))

    # ------------------------------------------------------------------ the contract of a call

    @overload
    def __call__(self, logs: str | bytes, *, batch_size: int | None = None, **kwargs: Any) -> dict[str, Any]: ...

    @overload
    def __call__(self, logs: Iterable, *, batch_size: int | None = None, **kwargs: Any) -> Any: ...

    def __call__(
        self, logs: str | bytes | Iterable, *, batch_size: int | None = None, **kwargs: Any
    ) -> dict[str, Any] | list[dict[str, Any]] | Iterator[dict[str, Any]]:
        """Judges one log or a batch of logs.

        Args:
            logs: a `str` is one log of any number of lines (`bytes` likewise). A list, or a column of `datasets`, is a
                batch, and so is a generator or a torch `Dataset`, which is read as the results are asked for. In a
                batch a log is a multi-line `str` or a list of entries.
            kwargs: see the class.

        Returns:
            For one log a dict, for a batch a list or an iterator of such dicts:

            - `label`, `score`: the verdict and its probability;
            - `probabilities`: of each label; `softmax(logits / calibration_temperature)`;
            - `logits`: normal, anomaly; as the model gave them;
            - `sequences`: for each sequence the same four, `first_line`, `last_line`, `source` (None here) and
              `entries`, each with `line` and `last_line` (one-based; positions for a list of entries), `text`, `score`
              (how much it speaks for "anomaly", in units of the logits) and `truncated`.

            The verdict on a log is that on its most anomalous sequence.

        Raises:
            ValueError: not text, a log without entries (a batch names its position), an argument out of range.
            FloatingPointError: the model gave a logit that is not finite.
        """
        preprocess_params, forward_params, postprocess_params = self._sanitize_parameters(**kwargs)
        if batch_size is None:
            batch_size = self._batch_size or DEFAULT_BATCH_SIZE
        batch_size = check_integer("batch_size", batch_size, 1)
        params = (
            {**self._preprocess_params, **preprocess_params},
            {**self._forward_params, **forward_params, "batch_size": batch_size},
            {**self._postprocess_params, **postprocess_params},
        )
        if isinstance(logs, str | bytes):
            return self.run_single(logs, *params)
        if hasattr(logs, "read"):
            raise ValueError(f"Got an open file ({type(logs).__name__}): give its text, pipe(file.read()).")
        if hasattr(logs, "columns") or hasattr(logs, "column_names"):
            raise ValueError(f"Got a table ({type(logs).__name__}): give one column of it, data['log_sequence'].")
        if isinstance(logs, dict) or not (isinstance(logs, Iterable) or hasattr(logs, "__getitem__")):
            raise ValueError(
                f"A log is a str of one or more lines; several are a list of them. Got {type(logs).__name__}."
            )
        is_lazy = not hasattr(logs, "__len__") or isinstance(logs, torch.utils.data.Dataset)
        if is_lazy:
            return self._run_batch(_iterate(logs), *params)
        logs = list(_iterate(logs))
        if len(logs) > 1 and all(isinstance(log, str) and "\n" not in log.strip() for log in logs):
            logger.warning(
                f"Judging {len(logs)} logs of a single line each. If these are the lines of one log, call "
                "pipe([lines])."
            )
        return list(self._run_batch(logs, *params))

    def _run_batch(
        self, logs: Iterable[Any], preprocess_params: dict, forward_params: dict, postprocess_params: dict
    ) -> Iterator[dict[str, Any]]:
        """Gathers logs until they fill a batch of sequences, judges them together, and yields results in order."""
        waiting: list[PreparedLog] = []
        for prepared in self._prepare(logs, preprocess_params):
            waiting.append(prepared)
            if sum(len(prepared.sequences) for prepared in waiting) >= forward_params["batch_size"]:
                yield from self._finish(waiting, forward_params, postprocess_params)
                waiting = []
        yield from self._finish(waiting, forward_params, postprocess_params)

    def _prepare(self, logs: Iterable[Any], params: dict[str, Any]) -> Iterator[PreparedLog]:
        """Logs that are there are parsed together, which takes a fraction of the time; others as they come."""
        group_size = LOGS_PER_PARSE if isinstance(logs, list) else 1
        iterator = iter(logs)
        position = 0
        while group := list(itertools.islice(iterator, group_size)):
            together: list[ParsedLog] = []
            if len(group) > 1:
                # What is wrong with one of them is said below, where it is known which.
                with contextlib.suppress(ValueError):
                    parsed, offsets = self.processor.parse_batch(group)
                    bounds = itertools.pairwise(offsets.tolist())
                    together = [parsed.take(np.arange(start, end)) for start, end in bounds]
                    self._warn_of_replaced_bytes(parsed)
            for place, log in enumerate(group):
                try:
                    if together and len(together[place]):
                        yield PreparedLog(together[place], self.processor.cut(together[place], **params))
                    else:
                        yield self.preprocess(log, **params)
                except ValueError as error:
                    raise ValueError(f"Log {position} of the batch: {error}") from error
                position += 1

    def _finish(
        self, waiting: list[PreparedLog], forward_params: dict, postprocess_params: dict
    ) -> Iterator[dict[str, Any]]:
        if waiting:
            for judged in self.forward(waiting, **forward_params):
                yield self.postprocess(judged, **postprocess_params)

    def run_single(
        self, inputs: str | bytes, preprocess_params: dict, forward_params: dict, postprocess_params: dict
    ) -> dict[str, Any]:
        prepared = self.preprocess(inputs, **preprocess_params)
        return next(self._finish([prepared], forward_params, postprocess_params))

    # ------------------------------------------------------------------ logs of any size

    def scan(
        self,
        source: Any,
        *,
        only_anomalies: bool = False,
        follow: bool = False,
        idle_seconds: float = 2.0,
        dtype: str | torch.dtype = "auto",
        batch_size: int | None = None,
        num_workers: int | None = None,
        on_progress: Callable[[ScanStatistics], None] | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        cache: ScanCache | None = None,
        max_waiting_entries: int = 65536,
        **overrides: Any,
    ) -> LogScan:
        """Judges logs of any size in bounded memory, and gives a result per sequence as it comes.

        In float32 the results are those of `pipe(text)["sequences"]`, to floating-point tolerance, with two exceptions
        that bounded memory asks for: a window by time is closed when an entry of the next but one has come, and when
        more than `max_waiting_entries` wait in open sessions those that were quiet for longest are closed.

        Args:
            source: a path, a folder, a pattern such as `"logs/*.gz"`, `"-"` for standard input, an open file (binary
                or text), or a list of those. Files may be compressed by gzip, bzip2, xz or zstd; each is a log.
            only_anomalies: leave out sequences that are judged normal, which is faster.
            follow: go on at the end of the file as it grows, is truncated or replaced; one plain file.
            idle_seconds: with `follow`, a sequence that is not full is judged after so long without news.
            dtype: what the model computes in: `"auto"`, which is bfloat16 where the device is fast in it and the model
                large enough to gain, `"float32"`, `"bfloat16"`.
            batch_size: sequences per call of the model; by default 128 on a CPU, 1024 elsewhere.
            num_workers: threads; by default as many as PyTorch uses, each of which computes alone.
            on_progress: called with the statistics after each chunk.
            chunk_bytes: bytes that are read at once.
            cache: keeps embeddings of distinct entries and verdicts on distinct sequences, for this scan and others
                that are given it too; by default a new [`ScanCache`].
            max_waiting_entries: see above; as many kilobytes of text may wait.
            overrides: as for a call: `max_log_entry_length`, `max_sequence_length`, `stride`, `window_seconds`,
                `session_pattern`, `threshold`.

        Returns:
            An iterator over the sequences, `source` in each the path it is from, ordered within a log by where they
            became complete. Its `statistics` says what was read so far. `close()` ends it early.

        Raises:
            FileNotFoundError: there is no log.
            ValueError: an argument out of range, a damaged compressed file, a log without entries.
            FloatingPointError: the model gave a logit that is not finite.
        """
        for name, value in (
            ("chunk_bytes", chunk_bytes),
            ("max_waiting_entries", max_waiting_entries),
        ):
            check_integer(name, value, 1)
        if batch_size is None:
            batch_size = self._batch_size or SCAN_BATCH_SIZE.get(self.device.type, 1024)
        num_workers = torch.get_num_threads() if num_workers is None else num_workers
        preprocess_params, forward_params, postprocess_params = self._sanitize_parameters(**overrides)
        cut = {**self._preprocess_params, **preprocess_params}
        self.processor.check_cut(**cut)
        length = cut.get("max_sequence_length", self.processor.max_sequence_length)
        window_seconds = cut.get("window_seconds")
        session_pattern = cut.get("session_pattern")
        if window_seconds is None and session_pattern is None:
            session_pattern = self.processor.session_pattern
        sources = find_logs(source)
        if follow and (len(sources) > 1 or hasattr(sources[0], "read") or sources[0] == "-"):
            raise ValueError(f"`follow` takes the path of one file, got {source!r}.")
        return LogScan(
            self,
            sources,
            cut={
                "max_sequence_length": length,
                "stride": cut.get("stride", length),
                "window_seconds": window_seconds,
                "session_pattern": session_pattern,
            },
            max_log_entry_length={**self._forward_params, **forward_params}.get("max_log_entry_length"),
            threshold={**self._postprocess_params, **postprocess_params}.get("threshold"),
            batch_size=check_integer("batch_size", batch_size, 1),
            only_anomalies=only_anomalies,
            follow=follow,
            idle_seconds=idle_seconds,
            dtype=self._scan_dtype(dtype),
            workers=check_integer("num_workers", num_workers, 1),
            on_progress=on_progress,
            chunk_bytes=chunk_bytes,
            cache=cache or ScanCache(),
            max_waiting=max_waiting_entries,
        )

    def _scan_dtype(self, dtype: str | torch.dtype) -> torch.dtype:
        if dtype == "auto":
            return best_dtype(self.model, self.device)
        known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        dtype = known.get(str(dtype).removeprefix("torch."), dtype)
        if not isinstance(dtype, torch.dtype) or dtype not in known.values():
            raise ValueError(f"`dtype` must be 'auto' or one of {', '.join(known)}, got {dtype!r}.")
        return dtype

    # ------------------------------------------------------------------ the steps

    def _sanitize_parameters(
        self,
        max_log_entry_length: int | None = None,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
        threshold: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if max_sequence_length is not None:
            max_sequence_length = check_integer(
                "max_sequence_length", max_sequence_length, 1, self.model.config.max_sequence_length
            )
        if max_log_entry_length is not None:
            max_log_entry_length = check_integer(
                "max_log_entry_length", max_log_entry_length, 1, self._longest_entry()
            )
        if threshold is not None and (isinstance(threshold, str) or not 0 < threshold < 1):
            raise ValueError(f"`threshold` must be a number in (0, 1), got {threshold!r}.")
        preprocess_params = {
            "max_sequence_length": max_sequence_length,
            "stride": stride,
            "window_seconds": window_seconds,
            "session_pattern": session_pattern,
        }
        forward_params = {"max_log_entry_length": max_log_entry_length}
        postprocess_params = {"threshold": threshold}
        return tuple(  # type: ignore[return-value]
            {name: value for name, value in params.items() if value is not None}
            for params in (preprocess_params, forward_params, postprocess_params)
        )

    def preprocess(self, log: str | bytes | Sequence[str], **params: Any) -> PreparedLog:
        """One log to entries and sequences; see [`LogMoEProcessor.cut`] for the parameters."""
        parsed = self.processor.parse(log)
        self._warn_of_replaced_bytes(parsed)
        return PreparedLog(parsed, self.processor.cut(parsed, **params))

    def _warn_of_replaced_bytes(self, parsed: ParsedLog) -> None:
        if parsed.replaced_bytes:
            logger.warning(f"{parsed.replaced_bytes} bytes of the log are not UTF-8; each became U+FFFD.")

    def _forward(
        self,
        prepared_logs: list[PreparedLog],
        batch_size: int = DEFAULT_BATCH_SIZE,
        max_log_entry_length: int | None = None,
    ) -> list[JudgedLog]:
        """Encodes each distinct entry of these logs once and judges each distinct sequence of them once."""
        # Distinct entries over all logs, and each log's rows among them.
        row_of: dict[str, int] = {}
        rows_of_logs = [
            np.array([row_of.setdefault(text, len(row_of)) for text in prepared.parsed.distinct.to_pylist()])
            for prepared in prepared_logs
        ]
        token_ids, truncated = self.processor.tokenize(list(row_of), max_log_entry_length)
        embeds = self.encode(token_ids)

        distinct_sequences: dict[bytes, int] = {}
        sequence_rows: list[np.ndarray] = []
        verdict_of: list[list[int]] = []
        for prepared, rows in zip(prepared_logs, rows_of_logs, strict=True):
            verdict_of.append([])
            for positions in prepared.sequences:
                sequence = rows[prepared.parsed.entry_index[positions]]
                verdict = distinct_sequences.setdefault(sequence.tobytes(), len(distinct_sequences))
                if verdict == len(sequence_rows):
                    sequence_rows.append(sequence)
                verdict_of[-1].append(verdict)
        logits, entry_scores = self.judge(embeds, sequence_rows, batch_size)

        return [
            JudgedLog(
                prepared,
                logits[verdicts],
                [entry_scores[verdict] for verdict in verdicts],
                truncated[rows][prepared.parsed.entry_index]
                | longer_than(prepared.parsed.text, self.processor.max_entry_characters),
            )
            for prepared, rows, verdicts in zip(prepared_logs, rows_of_logs, verdict_of, strict=True)
        ]

    def encode(self, token_ids: list[list[int]], model: PreTrainedModel | None = None) -> torch.Tensor:
        """Embeds entries.

        Args:
            token_ids: of each entry, see [`LogMoEProcessor.tokenize`].
            model: computes in place of the pipeline's; a copy in another precision.

        Returns:
            `(entries, encoder_hidden)`, on the model's device.
        """
        model = model or self.model
        embeds = []
        size = ENTRIES_PER_CALL
        start = 0
        while start < len(token_ids):
            padded = self.processor.pad(token_ids[start : start + size])
            batch = {name: self._to_device(tensor) for name, tensor in padded.items()}
            # After memory ran out: as few tokens at once as it takes.
            tokens_per_batch = None if size == ENTRIES_PER_CALL else size
            try:
                embeds.append(model.encode_entries(**batch, tokens_per_batch=tokens_per_batch))
            except torch.OutOfMemoryError:
                size = _halved(size, "entries")
                continue
            start += size
        return torch.cat(embeds)

    def judge(
        self,
        embeds: torch.Tensor,
        sequences: list[np.ndarray],
        batch_size: int,
        model: PreTrainedModel | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Judges sequences; those of a length go together.

        Args:
            embeds: `(distinct_entries, encoder_hidden)`.
            sequences: of each the rows of its entries in `embeds`.
            batch_size: sequences per call of the model; halved when memory runs out.
            model: as for `encode`.

        Returns:
            Logits `(sequences, 2)`, and of each sequence the score of each entry; in the order given.

        Raises:
            FloatingPointError: a logit is not finite.
        """
        model = model or self.model
        logits = np.empty((len(sequences), 2))
        entry_scores: list[np.ndarray] = [np.empty(0)] * len(sequences)
        order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
        start = 0
        while start < len(order):
            rows = order[start : start + batch_size]
            entry_index = np.full((len(rows), len(sequences[rows[0]])), -1)
            for i, row in enumerate(rows):
                entry_index[i, : len(sequences[row])] = sequences[row]
            index = self._to_device(torch.from_numpy(entry_index))
            try:
                output = model(entry_embeds=embeds, entry_index=index)
            except torch.OutOfMemoryError:
                batch_size = _halved(batch_size, "sequences")
                continue
            logits[rows] = output.logits.double().cpu().numpy()
            scores = output.entry_scores.double().cpu().numpy()
            for i, row in enumerate(rows):
                entry_scores[row] = scores[i, : len(sequences[row])]
            start += len(rows)
        if not np.isfinite(logits).all():
            bad = int((~np.isfinite(logits).all(axis=1)).sum())
            raise FloatingPointError(
                f"The model gave logits that are not finite for {bad} of {len(logits)} distinct sequences, so there "
                "is no verdict. Its weights are damaged, or overflow in half precision: load it anew, in float32."
            )
        return logits, entry_scores

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        # From pinned memory the copy runs beside the computation.
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def postprocess(self, judged: JudgedLog, threshold: float | None = None) -> dict[str, Any]:
        """Logits to the result of one log; see `__call__`."""
        parsed = judged.prepared.parsed
        sequences = list(
            self.sequence_results(
                parsed,
                judged.prepared.sequences,
                judged.logits,
                judged.entry_scores,
                judged.truncated,
                threshold,
            )
        )
        worst = max(sequences, key=lambda sequence: sequence["probabilities"]["anomaly"])
        return {key: worst[key] for key in ("label", "score", "probabilities", "logits")} | {"sequences": sequences}

    def sequence_results(
        self,
        parsed: ParsedLog,
        sequences: list[np.ndarray],
        logits: np.ndarray,
        entry_scores: list[np.ndarray],
        is_truncated: np.ndarray,
        threshold: float | None = None,
        source: str | None = None,
        only_anomalies: bool = False,
    ) -> Iterator[Any]:
        """What `__call__` says of each sequence.

        Args:
            parsed: a log.
            sequences: positions of entries in it.
            logits, entry_scores: see `judge`.
            is_truncated: bool `(entries,)`.
            threshold: by default the checkpoint's.
            source: where the log came from.
            only_anomalies: None in the place of a normal sequence.
        """
        config = self.model.config
        threshold = config.anomaly_threshold if threshold is None else threshold
        scaled = logits / config.calibration_temperature
        probabilities = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        for positions, row, probs, scores in zip(sequences, logits, probabilities, entry_scores, strict=True):
            label = int(probs[1] >= threshold)
            if only_anomalies and not label:
                yield None
                continue
            entries = zip(
                parsed.first_line[positions].tolist(),
                parsed.last_line[positions].tolist(),
                parsed.text.take(pa.array(positions)).to_pylist(),
                np.asarray(scores, dtype=float).tolist(),
                is_truncated[positions].tolist(),
                strict=True,
            )
            keys = ("line", "last_line", "text", "score", "truncated")
            yield {
                "label": config.id2label[label],
                "score": float(probs[label]),
                "probabilities": {config.id2label[i]: float(probs[i]) for i in (0, 1)},
                "logits": row.tolist(),
                "first_line": int(parsed.first_line[positions[0]]),
                "last_line": int(parsed.last_line[positions].max()),
                "source": source,
                "entries": [dict(zip(keys, entry, strict=True)) for entry in entries],
            }

    # ------------------------------------------------------------------ publishing

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Saves a complete checkpoint: weights, config, tokenizer, processor, the Python files and README.md.

        Args:
            save_directory: a folder, made if it is not there. A README.md in it is kept.
            kwargs: see `PreTrainedModel.save_pretrained`.
        """
        card = self._model_card()
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)
        readme = Path(save_directory, "README.md")
        if not readme.exists():
            readme.write_text(card, encoding="utf-8")

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Uploads a complete checkpoint, its model card included.

        Args:
            repo_id: name on the Hub, `"org/name"`.
            kwargs: `private` and `token` as everywhere; others as `huggingface_hub.upload_folder`, `commit_message`
                and `revision` among them.

        Returns:
            The address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=kwargs.pop("token", None))
        kwargs.setdefault("commit_message", f"Upload {type(self).__name__}")
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=kwargs.pop("private", None), exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, **kwargs))

    def _model_card(self) -> str:
        """The card of the checkpoint that was loaded, or a plain one."""
        source = self.model.config.name_or_path
        path = None
        if source:
            path = cached_file(
                source,
                "README.md",
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_connection_errors=False,
            )
        return Path(path).read_text(encoding="utf-8") if path else _PLAIN_CARD


def _iterate(logs: Any) -> Iterator[Any]:
    """Datasets in the style of torch have a length and items, but no iterator that ends."""
    if isinstance(logs, torch.utils.data.Dataset) and hasattr(logs, "__len__"):
        return (logs[position] for position in range(len(logs)))
    return iter(logs)


def _halved(size: int, what: str) -> int:
    """Half the size of a batch; called while the error is handled, which goes on if nothing is left to halve."""
    if size == 1:
        raise
    logger.warning(f"Out of memory with {size} {what} at once: going on with {size // 2}.")
    return size // 2


# Known to `pipeline()` from the moment this module is imported, also where it came along with a checkpoint.
if "log-anomaly" not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        task="log-anomaly",
        pipeline_class=LogAnomalyPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="text",
    )

__all__ = ["LogAnomalyPipeline"]
