"""The short way in from Python: `LogAnomalyDetector`; and `load_pipeline`, which says clearly what is wrong with a
checkpoint.

`python inference.py` shows the examples of the original guide, and with arguments it is the command `logmoe`. Nothing
here travels with a checkpoint.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer

import logmoe
import logmoe_command
from logmoe import LogAnomalyPipeline, LogMoEProcessor
from logmoe.console import Console
from logmoe.findings_logmoe import Findings
from logmoe.loading import load_pipeline
from logmoe.modeling_logmoe import load_encoder
from logmoe.reference_logmoe import LogReference

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
        distinct = pipe.predictor.embed(token_ids).cpu()  # (distinct_entries, encoder_hidden)
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
    processor = LogMoEProcessor(tokenizer, **pipe.processor.rules())
    vocabularies = [one.tokenizer.get_vocab() for one in (processor, pipe.processor)]
    if pipe.model.word_term is not None and vocabularies[0] != vocabularies[1]:
        raise ValueError(
            f"The tokenizer at `bert_path` {bert_path!r} has other word pieces than that of the checkpoint, which has "
            "learned what each of its own speaks for (`word_term_bound`): give the encoder that it was trained with."
        )
    pipe.processor = processor
    pipe.tokenizer = pipe.processor.tokenizer
    pipe.model.replace_encoder(load_encoder(bert_path, pipe.model.dtype).to(pipe.device).eval())
    pipe.model.add_placeholders(pipe.processor)


# ---------------------------------------------------------------------- command line


def run_examples(model_path: str | os.PathLike = DEFAULT_CHECKPOINT) -> int:
    """Prints the results of the original guide's examples; returns the exit code."""
    pipe = load_pipeline(model_path)
    for name, log in EXAMPLES:
        result = pipe(log)
        print(f"\n测试: {name}\n日志: {log}")
        print(f"结果: {LABELS['zh'][result['label']]} (置信度: {result['score']:.4f})")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """`python inference.py`: the examples of the original guide, or, with arguments, the command `logmoe`."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return logmoe_command.main(argv) if argv else logmoe_command.run(run_examples, Console())


if __name__ == "__main__":
    sys.exit(main())
