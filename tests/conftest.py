"""Tiny models, tokenizers and checkpoints, built here: no test needs the network or a GPU."""

import os
from pathlib import Path

# Set before the libraries are imported: they read these once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from transformers import BertConfig, BertTokenizerFast

from logmoe import LogAnomalyPipeline, LogMoEConfig, LogMoEForSequenceClassification, LogMoEProcessor

# These files take longest, and begin first: one that begins last keeps the other processors waiting.
LONGEST = ("test_training_runs.py", "test_scanning.py", "test_weighing.py", "test_reporting.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; all else stays in order."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


ROOT = Path(__file__).resolve().parent.parent
MINI = ROOT / "checkpoints" / "logmoe-mini"

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e info warn error fatal failed connection started at caused by number time"
    " url ip address unique identifier email hardware success moved not found forbidden bad request unavailable server"
    " file path hexadecimal token browser duration size"
).split()


def tiny_tokenizer() -> BertTokenizerFast:
    return BertTokenizerFast(vocab={word: row for row, word in enumerate(WORDS)}, model_max_length=64)


def tiny_encoder_config(**overrides) -> BertConfig:
    return BertConfig(
        **{
            "vocab_size": len(WORDS),
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
        }
        | overrides
    )


def tiny_config(**overrides) -> LogMoEConfig:
    """Initial weights spread widely, so that routers have preferences and logits differ."""
    return LogMoEConfig(
        **{
            "encoder_config": tiny_encoder_config(),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "moe_intermediate_size": 16,
            "max_log_entry_length": 32,
            "max_sequence_length": 8,
            "initializer_range": 0.2,
        }
        | overrides
    )


def make_model(**overrides) -> LogMoEForSequenceClassification:
    torch.manual_seed(0)
    return LogMoEForSequenceClassification(tiny_config(**overrides)).eval()


def tiny_processor() -> LogMoEProcessor:
    return LogMoEProcessor(tiny_tokenizer(), max_log_entry_length=32, max_sequence_length=8)


@pytest.fixture
def model() -> LogMoEForSequenceClassification:
    return make_model()


@pytest.fixture
def processor() -> LogMoEProcessor:
    return tiny_processor()


@pytest.fixture
def pipe(model, processor) -> LogAnomalyPipeline:
    model.add_placeholders(processor)
    return LogAnomalyPipeline(model, processor=processor)


@pytest.fixture
def compact_batch() -> dict[str, torch.Tensor]:
    """Two sequences, of three and four entries, from five distinct entries of different lengths."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, len(WORDS), (5, 7), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[2, 4:] = 0
    attention_mask[4, 2:] = 0
    return {
        "input_ids": input_ids * attention_mask,
        "attention_mask": attention_mask,
        "entry_index": torch.tensor([[0, 1, 2, -1], [3, 3, 4, 0]]),
    }


@pytest.fixture
def checkpoint(pipe, tmp_path) -> Path:
    """A complete tiny checkpoint."""
    pipe.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def run_command(subcommand, *arguments, **options):
    """`logmoe SUBCOMMAND` in this process, with options by their names; returns the exit code."""
    from logmoe_command import main

    words = [str(argument) for argument in arguments]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}"] + ([] if one is True else [str(one)])
    return main([subcommand, *words])
