"""The two short ways in: `LogAnomalyDetector` for Python, and the command `logmoe` (also `python inference.py`).

Both load a checkpoint with `load_pipeline`, which says clearly what is wrong with one, and leave the rest to the
pipeline. Nothing here travels with a checkpoint.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

import logmoe
from logmoe import LogAnomalyPipeline, LogMoEProcessor
from logmoe.answering import TextAnswer, misfit_of, notes
from logmoe.caching_logmoe import ScanCache
from logmoe.explaining import add_reading_arguments, explain, for_each_log, print_json, visible
from logmoe.findings_command import AnswerOptions, FindingsRun, Progress, show_effort
from logmoe.findings_logmoe import ORDERS, Findings, LogSummary
from logmoe.fitting_command import add_cutting_arguments, cutting, fit, learn
from logmoe.fitting_logmoe import FEWEST_SELF_ENTRIES
from logmoe.loading import load_pipeline
from logmoe.modeling_logmoe import load_encoder
from logmoe.reference_logmoe import LogReference
from logmoe.reporting import EXTENSIONS, format_of, require
from logmoe.scanning_logmoe import LogScan, ScanStatistics

DEFAULT_CHECKPOINT = str(Path(logmoe.__file__).parent / "checkpoints" / "logmoe-mini")

LABELS = {
    "zh": {"normal": "正常", "anomaly": "异常"},
    "en": {"normal": "normal", "anomaly": "anomaly"},
}

# Shown by `python inference.py` without arguments.
EXAMPLES = [
    (
        "正常系统启动",
        """2024-01-01 10:00:01 INFO [System] Application started successfully
2024-01-01 10:00:02 INFO [Database] Connection established
2024-01-01 10:00:03 INFO [API] Server listening on port 8080""",
    ),
    (
        "数据库连接异常",
        """2024-01-01 10:00:01 INFO [System] Application started successfully
2024-01-01 10:00:02 ERROR [Database] Connection failed: timeout
2024-01-01 10:00:03 ERROR [Database] Retry connection failed""",
    ),
    (
        "正常服务运行",
        """2024-01-01 10:00:01 INFO [System] Application started successfully
2024-01-01 10:00:02 INFO [Database] Connection established
2024-01-01 10:00:03 INFO [API] Server listening on port 8080
2024-01-01 10:00:04 INFO [Cache] Redis cache initialized
2024-01-01 10:00:05 INFO [Auth] Authentication service ready""",
    ),
    (
        "数据库服务不可用",
        """2024-01-01 10:00:01 INFO [System] Application started successfully
2024-01-01 10:00:02 ERROR [Database] Connection failed: timeout
2024-01-01 10:00:03 ERROR [Database] Retry connection failed
2024-01-01 10:00:04 ERROR [Database] Database service unavailable
2024-01-01 10:00:05 WARN [System] Application running in degraded mode""",
    ),
]


class LogAnomalyDetector:
    """Labels a log as normal or anomalous, in one call.

    Args:
        model_path: a checkpoint's folder or Hub name; by default the checkpoint that ships with LogMoE.
        bert_path: a folder to take encoder and tokenizer from instead. They must have the shape that the checkpoint
            was trained with.
        device: by default a GPU if there is one, else the CPU.
        labels: language of the labels: `"zh"` (正常, 异常) or `"en"` (normal, anomaly).
        trust_remote_code: see [`load_pipeline`].

    Attributes:
        reference: what logs are judged against: what `fit` learned, or None.

    Raises:
        FileNotFoundError: there is no checkpoint at `model_path`, or no encoder at `bert_path`.
        ValueError: the checkpoint is damaged or of another kind of model, the encoder has another shape, or the
            language is unknown.

    Example:

    ```python
    >>> detector = LogAnomalyDetector(labels="en")
    >>> result = detector.predict(open("server.log").read())
    >>> result["prediction"], result["confidence"]

    >>> detector.fit("yesterday.log")  # from now on judged against a healthy log
    >>> detector.predict(open("server.log").read())
    ```
    """

    def __init__(
        self,
        model_path: str | os.PathLike = DEFAULT_CHECKPOINT,
        bert_path: str | os.PathLike | None = None,
        device: str | int | None = None,
        labels: str = "zh",
        trust_remote_code: bool = False,
    ):
        if labels not in LABELS:
            raise ValueError(f"`labels` must be one of {sorted(LABELS)}, got {labels!r}.")
        self.labels = LABELS[labels]
        self.pipeline = load_pipeline(model_path, device=device, trust_remote_code=trust_remote_code)
        self.reference: LogReference | None = None
        if bert_path is not None:
            _replace_encoder(self.pipeline, str(bert_path))

    def fit(self, *logs: Any, **kwargs: Any) -> LogReference:
        """Learns from healthy logs what is usual; later logs are judged against that.

        Args:
            logs: paths, folders, patterns, texts, lists of entries, or references; see [`LogAnomalyPipeline.fit`].
            kwargs: as for [`LogAnomalyPipeline.fit`].

        Returns:
            What was learned, also kept as `reference`.

        Raises:
            FileNotFoundError: there is no log.
            ValueError: there is no log entry, or the checkpoint cannot judge against a reference.
        """
        self.reference = self.pipeline.fit(*logs, **kwargs)
        return self.reference

    def predict(
        self,
        log: str,
        max_log_entry_length: int | None = None,
        max_sequence_length: int | None = None,
        reference: Any = None,
    ) -> dict[str, Any]:
        """Judges one log.

        Args:
            log: one or more lines.
            max_log_entry_length: tokens per entry; by default the checkpoint's.
            max_sequence_length: entries per sequence; by default the checkpoint's. A longer log is cut into sequences,
                and the most anomalous one gives the label.
            reference: what is healthy, as for [`LogAnomalyPipeline`]; by default what `fit` learned. `False` judges
                by wording alone.

        Returns:
            `prediction`; `confidence`, its probability; `probabilities` of both labels; `logits`, normal then anomaly.

        Raises:
            ValueError: the log is not a str or has no entries, or a length is out of range.
        """
        _require_string(log)
        lengths = {"max_log_entry_length": max_log_entry_length, "max_sequence_length": max_sequence_length}
        return self._translated(self.pipeline(log, reference=self._reference(reference), **lengths))

    def predict_batch(self, logs: Iterable[str], batch_size: int = 8, reference: Any = None) -> list[dict[str, Any]]:
        """Judges several logs together; entries that a batch shares are encoded once.

        Args:
            logs: each as for `predict`.
            batch_size: sequences per call of the model.
            reference: as for `predict`.

        Raises:
            ValueError: as `predict`; the message gives the position of the log.
        """
        if isinstance(logs, str):
            raise ValueError("`predict_batch` expects a list of logs, got a str: use `predict` for a single log.")
        logs = list(logs)
        for position, log in enumerate(logs):
            _require_string(log, f"Log {position} of the batch: ")
        results = self.pipeline(iter(logs), batch_size=batch_size, reference=self._reference(reference))
        return [self._translated(result) for result in results]

    def findings(self, log: Any, reference: Any = None, **options: Any) -> Findings:
        """What is wrong in a log, since when, which lines, and why; see [`LogAnomalyPipeline.findings`]."""
        return self.pipeline.findings(log, reference=self._reference(reference), **options)

    @torch.no_grad()
    def preprocess_log_sequence(
        self, log: str, max_log_entry_length: int = 128, max_sequence_length: int = 32
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The entry embeddings that the sequence stack reads.

        Returns:
            Entry embeddings `(sequences, max_sequence_length, encoder_hidden)`, 0 at padding, and their attention mask
            `(sequences, max_sequence_length)`, int64, 1 at entries. One sequence when the log fits in one.

        Raises:
            ValueError: as `predict`.
        """
        _require_string(log)
        pipe = self.pipeline
        pipe._sanitize_parameters(max_log_entry_length=max_log_entry_length, max_sequence_length=max_sequence_length)
        prepared = pipe.preprocess(log, max_sequence_length=max_sequence_length)
        token_ids, _ = pipe.processor.tokenize(prepared.parsed.distinct.to_pylist(), max_log_entry_length)
        distinct = pipe.predictor.encode(token_ids).cpu()  # (distinct_entries, encoder_hidden)
        embeddings = distinct.new_zeros(len(prepared.sequences), max_sequence_length, distinct.shape[-1])
        attention_mask = torch.zeros(embeddings.shape[:2], dtype=torch.long)
        for row, positions in enumerate(prepared.sequences):
            embeddings[row, : len(positions)] = distinct[prepared.parsed.entry_index[positions]]
            attention_mask[row, : len(positions)] = 1
        return embeddings, attention_mask

    def _reference(self, given: Any) -> Any:
        return self.reference if given is None else given

    def _translated(self, result: dict[str, Any]) -> dict[str, Any]:
        return {
            "prediction": self.labels[result["label"]],
            "confidence": result["score"],
            "probabilities": {self.labels[label]: value for label, value in result["probabilities"].items()},
            "logits": result["logits"],
        }


def _require_string(log: Any, where: str = "") -> None:
    if not isinstance(log, str):
        raise ValueError(f"{where}a log must be a str, got {type(log).__name__}.")


def _replace_encoder(pipe: LogAnomalyPipeline, bert_path: str) -> None:
    """Replaces the encoder and tokenizer of a loaded pipeline by those of a folder."""
    if not os.path.isfile(os.path.join(bert_path, "config.json")):
        raise FileNotFoundError(f"no encoder at `bert_path` {bert_path!r}: there is no config.json")
    # Read as attributes: some encoders spell them differently in their files.
    ours, theirs = pipe.model.config.encoder_config, AutoConfig.from_pretrained(bert_path, trust_remote_code=False)
    shape = (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    )
    different = {
        name: (getattr(ours, name, None), getattr(theirs, name, None))
        for name in shape
        if getattr(ours, name, None) != getattr(theirs, name, None)
    }
    if different:
        raise ValueError(
            f"The encoder at `bert_path` {bert_path!r} does not fit the checkpoint: "
            + ", ".join(f"{name} {theirs_} instead of {ours_}" for name, (ours_, theirs_) in different.items())
            + "."
        )
    tokenizer = AutoTokenizer.from_pretrained(bert_path, trust_remote_code=False)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise FileNotFoundError(f"no tokenizer at `bert_path` {bert_path!r}: there is no vocabulary")
    pipe.processor = LogMoEProcessor(tokenizer, **pipe.processor.rules())
    pipe.tokenizer = pipe.processor.tokenizer
    pipe.model.replace_encoder(load_encoder(bert_path, pipe.model.dtype).to(pipe.device).eval())
    pipe.model.add_placeholders(pipe.processor)


# ---------------------------------------------------------------------- command line


def _scan(
    pipe: LogAnomalyPipeline,
    args: argparse.Namespace,
    overrides: dict[str, Any],
    cache: ScanCache,
    only_anomalies: bool,
    source: str,
    on_progress: Callable[[ScanStatistics], None],
) -> LogScan:
    return pipe.scan(
        source,
        only_anomalies=only_anomalies,
        encoding=args.encoding,
        follow=args.follow,
        dtype=args.dtype,
        on_progress=on_progress,
        cache=cache,
        **overrides,
    )


def _judge_sequences(
    pipe: LogAnomalyPipeline, source: str, args: argparse.Namespace, overrides: dict[str, Any], cache: ScanCache
) -> bool:
    """Prints the sequences of one log as they come; true if one is anomalous."""
    name = "standard input" if source == "-" else visible(source)
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    progress = Progress(name, is_terminal and not args.follow)
    scan = _scan(pipe, args, overrides, cache, not args.all, source, progress.update)
    can_measure = pipe.measures_surprise and not args.no_baseline
    answer = TextAnswer(scan, name, _named(args.baseline), source == "-" or args.follow, can_measure, args.lines)
    try:
        for sequence in scan:
            progress.bar.clear()
            if args.json:
                print_json(sequence)
            else:
                answer.add(sequence)
    finally:
        scan.close()
        progress.bar.close()
        if sys.exc_info()[0] is not None:
            answer.flush()
    seen = scan.statistics
    if not args.json:
        answer.finish()
    elif misfit := misfit_of(scan):
        print(f"warning: {name}: {misfit}", file=sys.stderr)
    for note in notes(LogSummary.of(seen, 0), args.encoding):
        print(f"warning: {note}", file=sys.stderr)
    show_effort(name, seen)
    return seen.anomalies > 0


def _answer_options(args: argparse.Namespace, can_measure: bool) -> AnswerOptions:
    return AnswerOptions(
        form=args.format,
        outputs=tuple(args.output),
        order=args.by,
        limit=None if args.all else args.limit,
        lines=args.lines,
        is_live="-" in args.files or args.follow,
        follow=args.follow,
        baseline=_named(args.baseline),
        can_measure=can_measure,
        encoding=args.encoding,
    )


def _named(baseline: Sequence[str]) -> str | None:
    """What the heading calls the healthy logs."""
    if not baseline:
        return None
    others = len(baseline) - 1
    first = "standard input" if baseline[0] == "-" else visible(baseline[0])
    return first + (f" and {others} other{'s' * (others > 1)}" if others else "")


def _run_examples(pipe: LogAnomalyPipeline, as_json: bool, overrides: dict[str, Any]) -> bool:
    """Prints the results of the built-in examples; true if one is anomalous."""
    results = [pipe(log, **overrides) for _, log in EXAMPLES]
    for (name, log), result in zip(EXAMPLES, results, strict=True):
        if as_json:
            for sequence in result["sequences"]:
                print_json(sequence | {"source": name})
            continue
        print(f"\n测试: {name}\n日志: {log}")
        print(f"结果: {LABELS['zh'][result['label']]} (置信度: {result['score']:.4f})")
    return any(result["label"] == "anomaly" for result in results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="logmoe",
        description="Finds what is wrong in logs of any size: since when, which lines, and why.",
        epilog="`logmoe fit GOOD -o REFERENCE` saves what is healthy, `logmoe explain LOG` shows how a log is read. "
        "Exit code: 0, or 2 on an error or if something could not be read; with --fail-on-finding 1 if there is a "
        "finding.",
    )
    parser.add_argument(
        "files",
        nargs="*",
        metavar="LOG",
        help="files (also .gz, .bz2, .xz, .zst), folders, patterns, or - for standard input (default: four examples)",
    )
    parser.add_argument(
        "--model", default=DEFAULT_CHECKPOINT, help="checkpoint folder or Hub name (default: built in)"
    )
    against = parser.add_mutually_exclusive_group()
    against.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="GOOD",
        help="what is healthy: a log, a folder or pattern of logs, or what `logmoe fit` saved; may be repeated "
        f"(default: a log of {FEWEST_SELF_ENTRIES} entries or more is judged against itself, a shorter one by its "
        "wording)",
    )
    against.add_argument("--no_baseline", action="store_true", help="judge by wording alone")
    promised = parser.add_mutually_exclusive_group()
    promised.add_argument(
        "--false_alarm_rate",
        type=float,
        metavar="SHARE",
        help="share of healthy sequences that may be called anomalous (default: 0.01); needs --baseline",
    )
    promised.add_argument(
        "--false_alarms_per_day",
        type=float,
        metavar="NUMBER",
        help="the same as a number for each day; needs a --baseline with times",
    )
    parser.add_argument(
        "--format",
        choices=["text", "html", "jsonl", "sarif", "junit", "markdown"],
        default="text",
        help="of the findings that are printed (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write the findings to a file as well, in the format of its extension: "
        + ", ".join(f"{extension} {name}" for extension, name in EXTENSIONS.items())
        + "; may be repeated",
    )
    parser.add_argument("--by", choices=ORDERS, default=ORDERS[0], help="order of the findings (default: %(default)s)")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="findings shown to people, at most (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="show all findings; of sequences, also normal ones")
    parser.add_argument(
        "--lines", type=int, default=3, help="entries shown of each, the most telling (default: %(default)s)"
    )
    parser.add_argument("--sequences", action="store_true", help="print anomalous sequences in place of findings")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line and anomalous sequence")
    parser.add_argument("--follow", action="store_true", help="go on as the file grows, is truncated or replaced")
    parser.add_argument(
        "--fail-on-finding",
        "--fail_on_anomaly",
        dest="fail_on_finding",
        action="store_true",
        help="exit with 1 if there is a finding",
    )
    parser.add_argument("--threshold", type=float, help="smallest probability of an anomaly to report")
    parser.add_argument("--max_log_entry_length", type=int, help="tokens per entry")
    parser.add_argument("--stride", type=int, help="entries from the start of a window to the start of the next")
    add_cutting_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument("--batch_size", type=int, help="sequences per call of the model")
    parser.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16"],
        default="auto",
        help="precision; auto is bfloat16 if that is fast and the model large enough to gain (default: %(default)s)",
    )
    parser.add_argument("--device", help="for example cpu or cuda:0 (default: a GPU if there is one)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python inference.py` and of the console script `logmoe`; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is not None:  # a terminal that cannot show a character must not end the run
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if argv[:1] == ["explain"]:
        return explain(argv[1:], DEFAULT_CHECKPOINT)
    if argv[:1] == ["fit"]:
        logging.disable_progress_bar()
        return fit(argv[1:], DEFAULT_CHECKPOINT, load_pipeline)
    parser = _parser()
    args = parser.parse_args(argv)
    if args.lines < 1:
        parser.error(f"argument --lines: must be at least 1, got {args.lines}")
    if args.limit < 1:
        parser.error(f"argument --limit: must be at least 1, got {args.limit}")
    if (args.json or args.sequences) and (args.format != "text" or args.output):
        parser.error("--json and --sequences print sequences: they go with neither --format nor --output")
    if args.follow and (len(args.files) != 1 or not os.path.isfile(args.files[0])):
        parser.error("--follow needs exactly one file")
    if args.baseline and not args.files:
        parser.error("--baseline needs a LOG to judge")
    for name in ("false_alarm_rate", "false_alarms_per_day"):
        if getattr(args, name) is not None and not args.baseline:
            parser.error(f"--{name} needs a --baseline: only healthy logs can tell how often they look anomalous")
    if [*args.files, *args.baseline].count("-") > 1:
        parser.error("standard input (-) can be read only once")
    if sys.stdout is None or ("-" in [*args.files, *args.baseline] and sys.stdin is None):
        return 2  # closed by the caller, and there may be nowhere to say so
    logging.disable_progress_bar()
    overrides = {
        name: getattr(args, name)
        for name in (
            "threshold",
            "max_log_entry_length",
            "stride",
            "batch_size",
            "false_alarm_rate",
            "false_alarms_per_day",
        )
        if getattr(args, name) is not None
    } | cutting(args)
    failed = anomalous = False
    try:
        for path in args.output:  # what cannot be written is said before the work, not after
            require(format_of(path))
            if not os.path.isdir(os.path.dirname(path) or "."):
                raise FileNotFoundError(f"cannot write {path}: there is no folder {os.path.dirname(path)}")
        require(args.format)
        pipe = load_pipeline(args.model, device=args.device)
        if args.baseline:
            overrides["reference"], _ = learn(pipe, args.baseline, args.encoding, **cutting(args))
        elif args.no_baseline:
            overrides["reference"] = False
        if not args.files:
            anomalous = _run_examples(pipe, args.json, overrides)
        cache = ScanCache()
        if args.json or args.sequences:
            answers, failed = for_each_log(args.files, lambda log: _judge_sequences(pipe, log, args, overrides, cache))
            anomalous |= any(answers)
        elif args.files:
            options = _answer_options(args, pipe.measures_surprise and not args.no_baseline)
            run = FindingsRun(partial(_scan, pipe, args, overrides, cache, not options.is_live), options)
            failed = run.run(args.files)
            anomalous |= run.found > 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, perhaps `head`, has seen enough; without this Python complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # the way to end --follow
        return 130
    except Exception as error:  # of any kind: an exit code of 1 would mean an anomaly
        print(f"error: {type(error).__name__}: {visible(str(error))}", file=sys.stderr)
        failed = True
    if failed:
        return 2
    return 1 if anomalous and args.fail_on_finding else 0


if __name__ == "__main__":
    sys.exit(main())
