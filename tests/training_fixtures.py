"""Small labelled logs and a tiny encoder for the tests of training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from conftest import ROOT, tiny_encoder_config, tiny_tokenizer
from transformers import AutoModel

WORDS = ["info a", "warn b", "error c", "info d"]
TINY = (
    "--hidden_size 32 --num_hidden_layers 1 --num_attention_heads 2 --moe_intermediate_size 16"
    " --max_log_entry_length 16 --max_sequence_length 8 --learning_rate 3e-3 --num_train_epochs 3"
    " --per_device_train_batch_size 8 --use_cpu --disable_tqdm true --logging_steps 4"
).split()


def make_encoder(folder: Path) -> Path:
    """A folder with a tiny random BERT and its tokenizer."""
    torch.manual_seed(0)
    AutoModel.from_config(
        tiny_encoder_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def make_logs(number: int, seed: int = 0, entries: int = 5) -> list[tuple[list[str], int]]:
    """Logs, as entries and label; every second one is anomalous and has an entry `fatal e`."""
    generator = np.random.default_rng(seed)
    logs = []
    for row in range(number):
        words = list(generator.choice(WORDS, size=entries))
        if row % 2:
            words[generator.integers(entries)] = "fatal e"
        logs.append((words, row % 2))
    return logs


def write_jsonl(path: Path, logs: list[tuple[list[str], int]], names: tuple = ("normal", "anomaly")) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for words, label in logs:
            print(json.dumps({"log_sequence": "\n".join(words), "label": names[label]}), file=file)
    return path


def run(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    """A training in an interpreter of its own, as a user starts it; `forking.train` is the faster way."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | kwargs.pop("env", {})
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **kwargs)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")
