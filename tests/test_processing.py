"""The processor: log text in, model inputs out, by rules that are saved with the checkpoint."""

import json

import numpy as np
import pytest
from conftest import tiny_tokenizer
from transformers import AutoProcessor

from logmoe import LogMoEProcessor


def cut(processor, log, **overrides):
    return [positions.tolist() for positions in processor.cut(processor.parse(log), **overrides)]


def test_session_pattern_of_the_processor_can_be_turned_off():
    processor = LogMoEProcessor(tiny_tokenizer(), session_pattern=r"s\d")
    assert cut(processor, "a s1\nb s2") == [[0], [1]]
    assert cut(processor, "a s1\nb s2", session_pattern="") == [[0, 1]]


def test_call_gives_the_compact_form(processor):
    batch = processor("\n".join(["error a", "info b"] * 6))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 4)  # [CLS] error a [SEP]
    assert batch["entry_index"].tolist() == [[0, 1] * 4, [0, 1] * 2 + [-1] * 4]


def test_call_gives_lists_or_numpy_arrays_on_request(processor):
    assert processor("a", return_tensors=None)["entry_index"] == [[0]]
    assert processor("a", return_tensors="np")["entry_index"].dtype == np.int64


def test_placeholders_and_special_tokens_in_a_log_are_text(processor):
    token = processor.tokenizer.convert_tokens_to_ids
    ((ids, small, special), _) = processor.tokenize(["<IP>", "<ip>", "[SEP] [PAD]"])
    assert ids == [2, token("<IP>"), 3]
    assert token("<IP>") not in small
    assert special.count(token("[SEP]")) == 1
    assert token("[PAD]") not in special


def test_truncated_entries_are_flagged(processor):
    token_ids, truncated = processor.tokenize(["a b", "a " * 40], max_log_entry_length=10)
    assert [len(ids) for ids in token_ids] == [4, 10]
    assert truncated.tolist() == [False, True]
    with pytest.raises(ValueError, match="at least 3, got 2"):
        processor.tokenize(["a"], max_log_entry_length=2)


def test_saving_and_loading_keeps_the_rules(processor, tmp_path):
    masks = [{"pattern": r"\d+", "replacement": "<NUM>", "phrase": "number"}]
    ours = LogMoEProcessor(
        tiny_tokenizer(), masks=masks, session_pattern=r"(s\d)", max_log_entry_length=16, max_sequence_length=4
    )
    ours.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["masks"] == masks
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.rules() == ours.rules()
    assert loaded("a s1\nb s1").data.keys() == {"input_ids", "attention_mask", "entry_index"}
    assert loaded.tokenizer.get_vocab() == ours.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"masks": [{"pattern": "(", "replacement": ""}]}, "not a valid RE2 pattern"),
        ({"masks": [{"pattern": r"(?=x)", "replacement": ""}]}, "not a valid RE2 pattern"),
        ({"masks": [{"pattern": "x", "replacement": "<X>"}]}, "phrase"),
        ({"masks": [{"pattern": "x"}]}, "needs `pattern` and `replacement`"),
        ({"masks": [{"pattern": "x", "replacement": r"\2"}]}, "not a valid RE2 pattern"),
        ({"header_pattern": r"^(\d+)"}, "group named `timestamp`"),
        ({"max_sequence_length": 0}, "at least 1, got 0"),
        ({"max_sequence_length": True}, "got True"),
        ({"max_log_entry_length": -1}, "at least 1, got -1"),
    ],
)
def test_bad_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        LogMoEProcessor(tiny_tokenizer(), **rules)
