"""Trains `checkpoints/logmoe-mini` from the PostgreSQL recordings: `make train-demo`.

Everything starts from scratch: a WordPiece vocabulary learned from the masked logs, a tiny BERT with random weights,
and a small sequence stack on top. `train.py` does the training.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers.implementations import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizer, set_seed

from logmoe import LogParser
from logmoe.train import main as train
from recordings.windows import ParsedRun, read_runs

SEED = 0
VOCABULARY_SIZE = 2000
MAX_LOG_ENTRY_LENGTH = 128
MAX_SEQUENCE_LENGTH = 32

# Files of the run, not of the checkpoint.
RECORDS = {"arguments.json", "split.json", "results.json", "trainer_state.json"}

DATA = """Logs of a PostgreSQL server (Debian's 15.18) that the project recorded itself under ordinary load and
injected faults of eighteen kinds, labelled line by line by cause: six recordings to train on, two to validate, three
to test. A sequence is a window of 32 entries; it is anomalous when a fault caused at least one of them. The datasheet
lies in the repository's `recordings/README.md`."""

POSTGRESQL_HEAD = re.compile(
    r"(?P<time>\S+ \S+) UTC \[\d+\].*?"
    r"(?P<severity>LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|STATEMENT|CONTEXT|QUERY|LOCATION):  "
)
SEVERITIES = {"LOG": "INFO", "INFO": "INFO", "NOTICE": "INFO", "WARNING": "WARN"} | {
    severity: severity for severity in ("ERROR", "FATAL", "PANIC")
}


def learn_vocabulary(texts: list[str], folder: Path) -> BertTokenizer:
    """Learns a WordPiece vocabulary from masked log entries; every printable ASCII character is in it.

    `BertWordPieceTokenizer` learns it, since transformers' `BertTokenizer`, which the checkpoint uses, cannot learn;
    both lower-case and split text alike. Of pieces that are equally frequent the learner picks others in each run,
    some twenty of 1,556: the same seed gives a model as good, not the same weights.
    """
    learner = BertWordPieceTokenizer(lowercase=True)
    characters = [chr(code) for code in range(33, 127)]
    learner.train_from_iterator(
        texts, vocab_size=VOCABULARY_SIZE, initial_alphabet=characters, limit_alphabet=400, show_progress=False
    )
    tokenizer = BertTokenizer(vocab=learner.get_vocab(), model_max_length=MAX_LOG_ENTRY_LENGTH)
    tokenizer.save_pretrained(folder)
    return tokenizer


def as_application_log(entries: list[str]) -> list[str]:
    """The same messages behind the header that many applications write: time, severity, component."""
    rewritten, severity = [], "INFO"
    for entry in entries:
        head = POSTGRESQL_HEAD.match(entry)
        if head is None:
            rewritten.append(entry)
            continue
        # DETAIL, HINT, STATEMENT and CONTEXT belong to the message before them.
        severity = SEVERITIES.get(head["severity"], severity)
        rewritten.append(f"{head['time']} {severity} [Database] {entry[head.end() :]}")
    return rewritten


def training_examples(run: ParsedRun, generator: np.random.Generator) -> Iterator[tuple[list[str], int]]:
    """Overlapping windows, and as many again that look like a user's log: shorter, some under another header."""
    run_entries = run.entries
    for window in run.windows(MAX_SEQUENCE_LENGTH, stride=8, lines_only=True):
        yield window.entries, int(window.label)
        length = int(generator.integers(3, MAX_SEQUENCE_LENGTH + 1))
        start = int(generator.integers(0, len(run_entries) - length))
        chosen = slice(start, start + length)
        entries = run_entries[chosen]
        rewrite = generator.random() < 0.5
        yield as_application_log(entries) if rewrite else entries, int(run.labels[chosen].max())


def write_examples(examples: Iterable[tuple[list[str], int]], path: Path) -> None:
    """Writes windows as the JSON lines that `train.py` reads."""
    with path.open("w", encoding="utf-8") as file:
        for entries, label in examples:
            print(json.dumps({"log_sequence": entries, "label": label}), file=file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default="checkpoints/logmoe-mini", help="where the checkpoint goes")
    parser.add_argument("--num_train_epochs", type=float, default=4, help="passes over the training windows")
    args = parser.parse_args()

    set_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder, "encoder")
        recordings = list(read_runs("postgresql"))
        training_text = [entry for run in recordings if run.split == "train" for entry in run.entries]
        training_text += as_application_log(training_text)
        tokenizer = learn_vocabulary(LogParser().mask(training_text).unique().to_pylist(), encoder)
        BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=256,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                max_position_embeddings=MAX_LOG_ENTRY_LENGTH,
            ),
            add_pooling_layer=False,
        ).save_pretrained(encoder)

        files = {split: Path(folder, f"{split}.jsonl") for split in ("train", "validation", "test")}
        generator = np.random.default_rng(SEED)
        for split, path in files.items():
            runs = [run for run in recordings if run.split == split]
            if split == "train":
                examples = (example for run in runs for example in training_examples(run, generator))
            else:
                windows = (window for run in runs for window in run.windows(MAX_SEQUENCE_LENGTH, lines_only=True))
                examples = ((window.entries, int(window.label)) for window in windows)
            write_examples(examples, path)
        arguments = f"""
            --encoder {encoder} --train_encoder
            --train_file {files["train"]} --validation_file {files["validation"]} --test_file {files["test"]}
            --hidden_size 128 --num_hidden_layers 2 --num_attention_heads 4
            --num_experts 4 --moe_intermediate_size 64 --router_entropy_loss_coef 0.003 --load_balance_loss_coef 0.02
            --max_log_entry_length {MAX_LOG_ENTRY_LENGTH} --max_sequence_length {MAX_SEQUENCE_LENGTH}
            --num_train_epochs {args.num_train_epochs} --per_device_train_batch_size 32
            --learning_rate 1e-3 --warmup_steps 0.1 --lr_scheduler_type cosine --weight_decay 0.01
            --logging_steps 50 --eval_strategy epoch --save_strategy no --use_cpu --disable_tqdm true
            --seed {SEED} --report_to none --license apache-2.0
        """.split()
        trained = Path(folder, "trained")
        code = train([*arguments, "--output_dir", str(trained), "--data_description", DATA])
        if code == 0:
            args.output_dir.mkdir(parents=True, exist_ok=True)
            for path in trained.iterdir():
                if path.is_file() and path.name not in RECORDS:
                    shutil.copyfile(path, args.output_dir / path.name)
        return code


if __name__ == "__main__":
    sys.exit(main())
