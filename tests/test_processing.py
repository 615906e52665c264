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


# What checkpoints of before say of the text, without the names that came with transports.
OLD_CONFIG = {
    "continuation_pattern": r"^\s",
    "exception_pattern": r"^[\w.]+Error: ",
    "indented_entry_pattern": r"^\s+\d{4}-",
    "entry_pattern": None,
    "header_pattern": r"^(?P<timestamp>\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})",
    "timestamp_formats": ["%Y-%m-%d %H:%M:%S"],
    "masks": [{"pattern": r"\d+", "replacement": "<NUM>", "phrase": "number"}],
    "max_entry_characters": 100,
    "max_log_entry_length": 16,
    "max_sequence_length": 4,
    "session_pattern": None,
    "processor_class": "LogMoEProcessor",
}


def test_a_checkpoint_of_before_goes_on_with_its_rules(tmp_path):
    LogMoEProcessor(tiny_tokenizer(), masks=OLD_CONFIG["masks"]).save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps(OLD_CONFIG))
    old = LogMoEProcessor.from_pretrained(tmp_path)
    kept = {name: value for name, value in OLD_CONFIG.items() if name in old.rules() and name != "header_pattern"}
    assert {name: old.rules()[name] for name in kept} == kept
    assert old.transports == old.blocks == []
    cri = "2026-03-12T06:25:01.5Z stdout F ERROR 7"
    parsed = old.parse(f"{cri}\n#Fields: a\n2026-03-12 06:25:03 b\n\tat c\nno time")
    assert parsed.text.to_pylist() == [cri, "#Fields: a", "2026-03-12 06:25:03 b\n\tat c", "no time"]
    assert parsed.time is None
    assert parsed.distinct[2].as_py() == "<NUM>-<NUM>-<NUM> <NUM>:<NUM>:<NUM> b\n\tat c"
    seconds = old.timestamps(parsed)
    assert seconds[[0, 2]].tolist() == [1773296701.5, 1773296703.0]
    assert np.isnan(seconds[[1, 3]]).all()
    assert cut(old, f"{cri}\n2026-03-12 06:25:09 b", window_seconds=5) == [[0], [1]]


def test_numbers_of_severities_are_read_alike_after_saving(tmp_path):
    ours = LogMoEProcessor(tiny_tokenizer())
    ours.save_pretrained(tmp_path)
    log = '{"level":50,"time":1773296701000,"msg":"a"}\n{"level":30,"time":1773296701000,"msg":"a"}\n<11>b'
    severities = [
        each.headers(each.parse(log)).severities() for each in (ours, AutoProcessor.from_pretrained(tmp_path))
    ]
    assert severities[0] == severities[1] == ["ERROR", "INFO", "ERROR"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"masks": [{"pattern": "(", "replacement": ""}]}, "not a valid RE2 pattern"),
        ({"masks": [{"pattern": r"(?=x)", "replacement": ""}]}, "not a valid RE2 pattern"),
        ({"masks": [{"pattern": "x", "replacement": "<X>"}]}, "phrase"),
        ({"masks": [{"pattern": "x"}]}, "needs `pattern` and `replacement`"),
        ({"masks": [{"pattern": "x", "replacement": r"\2"}]}, "not a valid RE2 pattern"),
        ({"header_pattern": r"^(\d+)"}, "group named `timestamp`"),
        ({"max_sequence_length": 0}, "`max_sequence_length` must be an integer from 1 to 16384, got 0"),
        ({"max_sequence_length": True}, "got True"),
        ({"max_log_entry_length": -1}, "`max_log_entry_length` must be an integer from 1 to 65536, got -1"),
        ({"max_entry_characters": 2**40}, "`max_entry_characters` must be an integer from 1 to 1048576"),
        ({"masks": [{"pattern": "x", "replacement": ""}] * 1001}, "`masks` holds 1001 rules, more than 1000"),
        ({"masks": [{"pattern": "x", "replacement": "y" * 101}]}, "`masks`: a replacement has at most 100"),
        ({"masks": [{"pattern": "x", "replacement": "", "requires": 5}]}, "`masks`: `requires` must be a list of str"),
        ({"masks": ["x"]}, "`masks` must be a list of dicts"),
        ({"blocks": 5}, "`blocks` must be a list of dicts, got 5"),
        ({"blocks": "x" * 198}, f"got '{'x' * 198}'\\.$"),
        ({"blocks": "x" * 199}, f"got '{'x' * 199}…\\.$"),
        ({"entry_pattern": 5}, "`entry_pattern`: a pattern must be a str, got int"),
        ({"session_pattern": "x" * 10_001}, "`session_pattern`: a pattern has at most 10000 characters"),
    ],
)
def test_bad_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        LogMoEProcessor(tiny_tokenizer(), **rules)
