"""Logs in, results out: `pipeline("log-anomaly", model=…)` labels a log and says which entries made it so.

A call judges logs that are in memory, `scan` logs of any size; both parse, cut, predict and judge by the modules
before this one. Called by users, by `LogAnomalyDetector` and by the command.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, overload

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import logging

from .applying_logmoe import (
    JudgesAgainstReferences,
    PredictedLog,
    PreparedLog,
    encode_texts,
    predict_measured,
    services_apart,
)
from .caching_logmoe import ScanCache
from .findings_logmoe import Findings
from .fitting_logmoe import FEWEST_SELF_ENTRIES, ReferenceFit, origin_of
from .gathering_logmoe import DetailingJudge, findings_in_memory, findings_of_logs
from .judging_logmoe import Judge
from .kinds_logmoe import of_service
from .parsing_logmoe import ParsedLog, check_integer, is_in_memory, longer_than
from .predicting_logmoe import Predictor, resolve_dtype
from .processing_logmoe import LogMoEProcessor
from .publishing_logmoe import PublishesCheckpoints
from .reading_logmoe import CHUNK_BYTES, check_encoding, find_logs
from .reference_logmoe import LogReference
from .scanning_logmoe import LogScan
from .sequences_logmoe import SequenceCutter
from .statistics_logmoe import ScanStatistics
from .suspects_logmoe import Suspects
from .weighing_logmoe import faults_prevail

logger = logging.get_logger(__name__)

DEFAULT_BATCH_SIZE = 32
# Sequences per call of the model in a scan: on a CPU as many as stay in its caches.
SCAN_BATCH_SIZE = {"cpu": 128}
# Logs of a batch that are parsed at once.
LOGS_PER_PARSE = 256
# Fewer false alarms than one in three million years are no promise, and no number to count with.
LEAST_PER_DAY = 1e-9


class LogAnomalyPipeline(JudgesAgainstReferences, PublishesCheckpoints, Pipeline):
    """Judges logs with [`LogMoEForSequenceClassification`].

    Example:

    ```python
    >>> from transformers import pipeline

    >>> pipe = pipeline("log-anomaly", model="org/logmoe", trust_remote_code=True)
    >>> result = pipe(open("server.log").read())
    >>> result["label"], result["score"], result["sequences"][0]["entries"][0]["line"]
    ```

    All of these can be given to `pipeline()` or to a call:

    Args:
        max_log_entry_length (`int`): tokens per entry.
        max_sequence_length (`int`): entries per sequence, at most the model's.
        stride (`int`): entries from the start of a window to the start of the next.
        window_seconds (`float`): windows by time; a `ValueError` for a log without timestamps.
        session_pattern (`str`): sessions by the identifier that this pattern matches.
        entry_pattern (`str`): what starts an entry.
        threshold (`float`): smallest probability of "anomaly" that gives that label, in (0, 1).
        reference: what is healthy: a [`LogReference`], or the path of one, of a healthy log or of a folder of them. By
            default the reference that is stored with the checkpoint; if there is none, or with `"self"`, a log of 256
            entries or more is judged against its own other blocks, and a shorter one by its wording, as with
            `reference=False`.
        false_alarm_rate (`float`, defaults to 0.01): share of healthy sequences that may be called anomalous.
        false_alarms_per_day (`float`): the same as a number, in place of the share; needs a reference with times.
        batch_size (`int`, defaults to 32): sequences per call of the model; halved when memory runs out.

    Raises:
        ValueError: the model is not a LogMoE, or there is no processor.
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
                + (
                    "no model: pass its folder or Hub name as `model=`."
                    if model is None
                    else f"a {model.config.model_type!r} model."
                )
            )
        if kwargs.get("processor") is None:
            raise ValueError(
                "The log-anomaly pipeline needs the checkpoint's processor: pass `processor=`, or give `model=` the "
                "checkpoint's folder or name."
            )
        self._loaded: tuple[Any, LogReference] | None = None
        super().__init__(*args, **kwargs)
        self.processor: LogMoEProcessor
        # A processor that cuts longer sequences than the model reads would fail only at the first long log.
        for name, limit in (
            ("max_sequence_length", self.model.config.max_sequence_length),
            ("max_log_entry_length", self._longest_entry()),
        ):
            if getattr(self.processor, name) > limit:
                raise ValueError(
                    f"The model reads at most {limit} for `{name}`, but the processor's is "
                    f"{getattr(self.processor, name)}: make the processor with `{name}={limit}`."
                )

    @property
    def predictor(self) -> Predictor:
        """Runs the model."""
        return Predictor(self.model, self.processor, self.device)

    def _longest_entry(self) -> int:
        """Tokens that the encoder can read."""
        longest = self.processor.tokenizer.model_max_length
        # An encoder with relative positions sets no such limit.
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
                batch, and so is a generator or a torch `Dataset`, which is read as results are asked for. In a batch a
                log is a multi-line `str` or a list of entries.
            kwargs: see the class.

        Returns:
            For one log a dict, for a batch a list or an iterator of such dicts:

            - `label`, `score`: normal or anomaly, and the probability of that label;
            - `probabilities`: of both labels, `softmax(logits / calibration_temperature)`;
            - `logits`: normal, anomaly, as the model gave them;
            - `sequences`: for each sequence the same four, `first_line`, `last_line`, `source` (None here) and
              `entries`, each with `line` and `last_line` (one-based; positions for a list of entries), `text`, `score`
              (how much it speaks for "anomaly", in units of the logits) and `truncated`.

            Where the services of a log are told apart, each sequence also has the name of its `service`, or None, and
            `places`: those of its first and its last entry among all that this service wrote.

            The label of a log is that of its most anomalous sequence.

        Raises:
            ValueError: a log is not text or has no entries (a batch names its position), or an argument is out of
                range.
            FloatingPointError: a logit is not finite.
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
            raise ValueError(f"Got an open file ({type(logs).__name__}): pass its text, pipe(file.read()).")
        if hasattr(logs, "columns") or hasattr(logs, "column_names"):
            raise ValueError(f"Got a table ({type(logs).__name__}): pass one of its columns, data['log_sequence'].")
        if isinstance(logs, dict) or not (isinstance(logs, Iterable) or hasattr(logs, "__getitem__")):
            raise ValueError(
                f"Expected a log (a str of one or more lines) or a list of logs, got {type(logs).__name__}."
            )
        is_lazy = not hasattr(logs, "__len__") or isinstance(logs, torch.utils.data.Dataset)
        if is_lazy:
            return self._run_batch(_iterate(logs), *params)
        logs = list(_iterate(logs))
        if len(logs) > 1 and all(isinstance(log, str) and "\n" not in log.strip() for log in logs):
            logger.warning(
                f"Judging {len(logs)} logs of one line each. If these are the lines of one log, call pipe([lines])."
            )
        return list(self._run_batch(logs, *params))

    def _run_batch(
        self, logs: Iterable[Any], preprocess_params: dict, forward_params: dict, postprocess_params: dict
    ) -> Iterator[dict[str, Any]]:
        """Gathers logs until they fill a batch of sequences, runs the model over them together, and yields results."""
        waiting: list[PreparedLog] = []
        for prepared in self._prepare(logs, preprocess_params):
            waiting.append(prepared)
            if sum(len(prepared.sequences) for prepared in waiting) >= forward_params["batch_size"]:
                yield from self._finish(waiting, forward_params, postprocess_params)
                waiting = []
        yield from self._finish(waiting, forward_params, postprocess_params)

    def _prepare(self, logs: Iterable[Any], params: dict[str, Any]) -> Iterator[PreparedLog]:
        """Parses the logs of a list together, which takes a fraction of the time; others one by one, as they come."""
        group_size = LOGS_PER_PARSE if isinstance(logs, list) else 1
        processor = self._processor_for(params.get("entry_pattern"))
        cut_params = {name: value for name, value in params.items() if name != "entry_pattern"}
        iterator = iter(logs)
        position = 0
        while group := list(itertools.islice(iterator, group_size)):
            together: list[ParsedLog] = []
            if len(group) > 1:
                # If one of them is bad, parsing one by one below says which.
                with contextlib.suppress(ValueError):
                    parsed, offsets = processor.parse_batch(group)
                    bounds = itertools.pairwise(offsets.tolist())
                    together = [parsed.take(np.arange(start, end)) for start, end in bounds]
                    self._warn_of_replaced_bytes(parsed)
            for place, log in enumerate(group):
                try:
                    if together and len(together[place]):
                        rule = self._rule(processor, **cut_params)
                        sequences = SequenceCutter(rule, processor).cut(together[place])
                        yield PreparedLog(together[place], sequences, rule)
                    else:
                        yield self.preprocess(log, **params)
                except ValueError as error:
                    raise ValueError(f"Log {position} of the batch: {error}") from error
                position += 1

    def _finish(
        self, waiting: list[PreparedLog], forward_params: dict, postprocess_params: dict
    ) -> Iterator[dict[str, Any]]:
        if waiting:
            for predicted in self.forward(waiting, **forward_params):
                yield self.postprocess(predicted, **postprocess_params)

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
        encoding: str | None = None,
        follow: bool = False,
        from_start: bool = True,
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
        """Judges logs of any size in bounded memory, and gives the result of each sequence as it comes.

        In float32 the results equal those of `pipe(text)["sequences"]`, to floating-point tolerance, with the two
        exceptions that [`SequenceCutter`] explains: bounded memory asks for them.

        Args:
            source: a path, a folder, a pattern such as `"logs/*.gz"`, `"-"` for standard input, an open file (binary
                or text), or a list of those. Files may be compressed with gzip, bzip2, xz or zstd; each is a log.
            only_anomalies: leave out normal sequences, which is faster.
            encoding: of the text; by default UTF-8, or UTF-16 if the text says so.
            follow: go on as the file grows, is truncated or replaced; for one plain file.
            from_start: with `follow`, judge what the file holds already; false to begin at its end, as `tail -f` does.
            idle_seconds: with `follow`, a sequence that is not full is judged when nothing new came for so long.
            dtype: what the model computes in: `"float32"`, `"bfloat16"`, or `"auto"`: bfloat16 if the device is fast
                in it and the model large enough to gain.
            batch_size: sequences per call of the model; by default 128 on a CPU, 1024 elsewhere.
            num_workers: threads; by default as many as PyTorch uses, each of which computes alone.
            on_progress: called with the statistics after each chunk.
            chunk_bytes: bytes read at once.
            cache: keeps embeddings of distinct entries and predictions for distinct sequences, for this scan and
                others that share it; by default a new [`ScanCache`].
            max_waiting_entries: see [`SequenceCutter`].
            overrides: as for a call: `max_log_entry_length`, `max_sequence_length`, `stride`, `window_seconds`,
                `session_pattern`, `entry_pattern`, `threshold`.

        Returns:
            An iterator over the results of the sequences, each with the path of its log as `source`, ordered within a
            log by when they were complete. Its `statistics` says what was read so far; `close()` ends it early.

        Raises:
            FileNotFoundError: there is no log.
            ValueError: an argument is out of range, a compressed file damaged, or a log has no entries.
            FloatingPointError: a logit is not finite.
        """
        if batch_size is None:
            batch_size = self._batch_size or SCAN_BATCH_SIZE.get(self.device.type, 1024)
        num_workers = torch.get_num_threads() if num_workers is None else num_workers
        preprocess_params, forward_params, postprocess_params = self._sanitize_parameters(**overrides)
        cut_params = {**self._preprocess_params, **preprocess_params}
        processor = self._processor_for(cut_params.pop("entry_pattern", None))
        rule = self._rule(processor, **cut_params)
        given = {**self._forward_params, **forward_params}
        against = {name: given.get(name) for name in ("reference", "false_alarm_rate", "false_alarms_per_day")}
        check_encoding(encoding)
        sources = find_logs(source)
        if follow and (len(sources) > 1 or hasattr(sources[0], "read") or sources[0] == "-"):
            raise ValueError(f"`follow` needs the path of one file, got {source!r}.")
        return LogScan(
            sources,
            Predictor(self.model, processor, self.device),
            self._judge(**{**self._postprocess_params, **postprocess_params}),
            rule,
            self._against(processor, rule, **against),
            max_log_entry_length=given.get("max_log_entry_length"),
            batch_size=check_integer("batch_size", batch_size, 1),
            only_anomalies=only_anomalies,
            encoding=encoding,
            follow=follow,
            from_start=from_start,
            idle_seconds=idle_seconds,
            dtype=resolve_dtype(dtype, self.model, self.device),
            num_workers=check_integer("num_workers", num_workers, 1),
            on_progress=on_progress,
            chunk_bytes=check_integer("chunk_bytes", chunk_bytes, 1),
            cache=cache or ScanCache(),
            max_waiting_entries=check_integer("max_waiting_entries", max_waiting_entries, 1),
        )

    def findings(self, log: Any, *, order: str = "strength", **options: Any) -> Findings:
        """What is wrong in a log, since when, which lines, and why: for people, as `scan` is for programs.

        Args:
            log: a log in memory, as a text of several lines, bytes, or a list of its entries; or what `scan` takes:
                paths, given as `Path` where there are several, folders, patterns, `"-"`, open files.
            order: `"strength"`, or `"time"`.
            options: as for a call or, of logs that are read, for `scan`.

        Raises:
            FileNotFoundError, EmptyLogError, ValueError: as a call or `scan`; of several logs those that cannot be
                read are skipped, as `findings.summary.skipped` says.
        """
        if not is_in_memory(log):
            options |= {"only_anomalies": True, "cache": options.get("cache") or ScanCache()}  # of all the logs
            scans = (partial(self.scan, of_log, **options) for of_log in find_logs(log))
            return findings_of_logs(scans, options.get("reference"), order)
        batch_size = check_integer("batch_size", options.pop("batch_size", None) or DEFAULT_BATCH_SIZE, 1)
        preprocess_params, forward_params, postprocess_params = self._sanitize_parameters(**options)
        prepared = self.preprocess(log, **{**self._preprocess_params, **preprocess_params})
        given = {**self._forward_params, **forward_params}
        (predicted,) = self.forward([prepared], **given, batch_size=batch_size)
        processor = self._processor_for(given.pop("entry_pattern", None))
        given.pop("max_log_entry_length", None)
        judge = DetailingJudge.of(self._judge(**{**self._postprocess_params, **postprocess_params}), processor)
        against = self._against(processor, prepared.rule, **given)
        return findings_in_memory(predicted, judge, against, options.get("reference"), order)

    def _judge(self, threshold: float | None = None) -> Judge:
        return Judge.from_config(self.model.config, threshold)

    # ------------------------------------------------------------------ the steps

    def _sanitize_parameters(
        self,
        max_log_entry_length: int | None = None,
        max_sequence_length: int | None = None,
        stride: int | None = None,
        window_seconds: float | None = None,
        session_pattern: str | None = None,
        entry_pattern: str | None = None,
        threshold: float | None = None,
        reference: Any = None,
        false_alarm_rate: float | None = None,
        false_alarms_per_day: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if max_sequence_length is not None:
            max_sequence_length = check_integer(
                "max_sequence_length", max_sequence_length, 1, self.model.config.max_sequence_length
            )
        if max_log_entry_length is not None:
            max_log_entry_length = check_integer(
                "max_log_entry_length", max_log_entry_length, 1, self._longest_entry()
            )
        self._judge(threshold)  # checks it
        if false_alarm_rate is not None and false_alarms_per_day is not None:
            raise ValueError("Give `false_alarm_rate` or `false_alarms_per_day`, not both.")
        for name, value, lowest, highest in (
            ("false_alarm_rate", false_alarm_rate, 0, 1),
            ("false_alarms_per_day", false_alarms_per_day, LEAST_PER_DAY, float("inf")),
        ):
            if value is not None and (isinstance(value, str) or not lowest < value < highest):
                raise ValueError(f"`{name}` must be a number in ({lowest}, {highest}), got {value!r}.")
        preprocess_params = {
            "max_sequence_length": max_sequence_length,
            "stride": stride,
            "window_seconds": window_seconds,
            "session_pattern": session_pattern,
            "entry_pattern": entry_pattern,
        }
        forward_params = {
            "max_log_entry_length": max_log_entry_length,
            "entry_pattern": entry_pattern,
            "reference": reference,
            "false_alarm_rate": false_alarm_rate,
            "false_alarms_per_day": false_alarms_per_day,
        }
        postprocess_params = {"threshold": threshold}
        return tuple(  # type: ignore[return-value]
            {name: value for name, value in params.items() if value is not None}
            for params in (preprocess_params, forward_params, postprocess_params)
        )

    def _processor_for(self, entry_pattern: str | None) -> LogMoEProcessor:
        return self.processor if entry_pattern is None else self.processor.with_entry_pattern(entry_pattern)

    def preprocess(
        self, log: str | bytes | Sequence[str], entry_pattern: str | None = None, **params: Any
    ) -> PreparedLog:
        """Turns one log into entries and sequences; see [`LogMoEProcessor.sequence_rule`] for the parameters."""
        processor = self._processor_for(entry_pattern)
        parsed = processor.parse(log)
        self._warn_of_replaced_bytes(parsed)
        rule = self._rule(processor, **params)
        return PreparedLog(parsed, SequenceCutter(rule, processor).cut(parsed), rule)

    def _warn_of_replaced_bytes(self, parsed: ParsedLog) -> None:
        if parsed.replaced_bytes:
            logger.warning(f"{parsed.replaced_bytes} bytes of the log are not valid UTF-8; each became U+FFFD.")

    def _forward(
        self,
        prepared_logs: list[PreparedLog],
        batch_size: int = DEFAULT_BATCH_SIZE,
        max_log_entry_length: int | None = None,
        entry_pattern: str | None = None,
        **against: Any,
    ) -> list[PredictedLog]:
        """Judges logs against what `_against` says, those that are judged by wording together."""
        processor = self._processor_for(entry_pattern)
        # All logs of a call are cut by one rule.
        judged_against = self._against(processor, prepared_logs[0].rule, **against)
        apart = [services_apart(prepared, judged_against, processor) for prepared in prepared_logs]
        by_wording: list[PreparedLog] = []
        found: list[list[PredictedLog | None]] = []  # of each log, of each of its services; None by wording
        turned: list[bool] = []  # of what is judged by wording
        for parts in apart:
            found.append([])
            for service, part in parts.items():
                reference, is_turned = None, False
                if judged_against is not None and judged_against.reference is not None:
                    reference = of_service(judged_against.reference, service, self._encode_texts)
                elif judged_against is not None:
                    reference, is_turned = self._own_reference(part, processor, max_log_entry_length)
                if judged_against is None or reference is None:
                    by_wording.append(part)
                    turned.append(is_turned)
                    found[-1].append(None)
                else:
                    how = processor, batch_size, max_log_entry_length
                    found[-1].append(predict_measured(self.predictor, part, judged_against, reference, *how))
        worded = iter(self._predict_wording(by_wording, batch_size, max_log_entry_length) if by_wording else [])
        prevail = iter(turned)
        given = None if judged_against is None else judged_against.reference
        predicted = []
        for prepared, of_parts in zip(prepared_logs, found, strict=True):
            parts_found: list[PredictedLog] = []
            for one in of_parts:
                if one is None:
                    one = next(worded)
                    one.how.faults_prevail = next(prevail)
                parts_found.append(one)
            is_one = len(parts_found) == 1 and parts_found[0].prepared is prepared
            predicted.append(parts_found[0] if is_one else PredictedLog.together(prepared, parts_found, given))
        return predicted

    def _own_reference(
        self, prepared: PreparedLog, processor: LogMoEProcessor, max_log_entry_length: int | None
    ) -> tuple[LogReference | None, bool]:
        """What a log is judged by that is judged by itself; None of too few entries, and if faults prevail."""
        if len(prepared.parsed) < FEWEST_SELF_ENTRIES:
            return None, False
        rule = prepared.rule
        fit = ReferenceFit(processor, rule, origin_of(self.model, processor, rule), prepared.most)
        fit.add_parsed(prepared.parsed)
        own = fit.finish_own()
        if own is None:
            return None, False
        own.encode(lambda texts: encode_texts(self.predictor, processor, texts, max_log_entry_length))
        is_turned = faults_prevail(self.predictor, own, rule.max_sequence_length)
        return (None, True) if is_turned else (own, False)

    def _predict_wording(
        self, prepared_logs: list[PreparedLog], batch_size: int, max_log_entry_length: int | None
    ) -> list[PredictedLog]:
        """Encodes each distinct entry of these logs once, and runs the model once over each distinct sequence."""
        # Distinct entries over all logs, and each log's rows among them.
        row_of: dict[str, int] = {}
        rows_of_logs = [
            np.array([row_of.setdefault(text, len(row_of)) for text in prepared.parsed.distinct.to_pylist()])
            for prepared in prepared_logs
        ]
        token_ids, truncated = self.processor.tokenize(list(row_of), max_log_entry_length)
        embeddings = self.predictor.encode(token_ids)

        distinct_sequences: dict[bytes, int] = {}
        sequence_rows: list[np.ndarray] = []
        distinct_of_logs: list[list[int]] = []  # for each log the rows of its sequences among the distinct ones
        for prepared, rows in zip(prepared_logs, rows_of_logs, strict=True):
            distinct_of_logs.append([])
            for positions in prepared.sequences:
                sequence = rows[prepared.parsed.entry_index[positions]]
                distinct = distinct_sequences.setdefault(sequence.tobytes(), len(distinct_sequences))
                if distinct == len(sequence_rows):
                    sequence_rows.append(sequence)
                distinct_of_logs[-1].append(distinct)
        predictions = self.predictor.predict(embeddings, sequence_rows, batch_size)

        predicted = []
        for prepared, rows, found in zip(prepared_logs, rows_of_logs, distinct_of_logs, strict=True):
            parsed = prepared.parsed
            is_truncated = truncated[rows][parsed.entry_index]
            is_truncated |= longer_than(parsed.text, self.processor.max_entry_characters)
            predicted.append(PredictedLog(prepared, [predictions[row] for row in found], is_truncated))
            if self.measures_surprise:
                taken = parsed, prepared.sequences, np.ones(len(rows), bool), embeddings, rows
                predicted[-1].suspects = partial(Suspects.of, self.predictor, taken)
        return predicted

    def postprocess(self, predicted: PredictedLog, threshold: float | None = None) -> dict[str, Any]:
        """Turns predictions into the result of one log; see `__call__`."""
        judge = self._judge(threshold)
        result = judge.log_result(predicted.results(judge))
        return result | {"mode": predicted.how.mode, "familiarity": predicted.how.familiarity}


def _iterate(logs: Any) -> Iterator[Any]:
    """Torch datasets have a length and items, but no iterator that ends."""
    if isinstance(logs, torch.utils.data.Dataset) and hasattr(logs, "__len__"):
        return (logs[position] for position in range(len(logs)))
    return iter(logs)


# `pipeline()` knows the task once this module is imported, even if it came along with a checkpoint.
if "log-anomaly" not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        task="log-anomaly",
        pipeline_class=LogAnomalyPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="text",
    )

__all__ = ["LogAnomalyPipeline"]
