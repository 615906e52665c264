"""The pipeline: logs in, results out, in every form that a log or a batch may take."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import make_model
from datasets import Dataset
from transformers import pipeline

from logmoe import LogAnomalyPipeline

LOG = "2024-01-01 10:00:00 INFO a\n\n2024-01-01 10:00:01 ERROR b\n\tat c\n2024-01-01 10:00:05 FATAL d"


def close(one, other):
    """Whether two results are equal, floats within a tolerance."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, abs_tol=1e-5)
    return one == other


def lines(number, word="a"):
    return "\n".join(f"{word} {'abcde'[row * row % 5]}" for row in range(number))


def test_result_of_one_log(pipe):
    result = pipe(LOG)
    assert list(result) == ["label", "score", "probabilities", "logits", "sequences", "mode", "familiarity"]
    assert (result["mode"], result["familiarity"]) == ("none", None)  # the model reads no features
    assert result["label"] in ("normal", "anomaly")
    assert result["score"] == result["probabilities"][result["label"]]
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    (sequence,) = result["sequences"]
    assert (sequence["first_line"], sequence["last_line"], sequence["source"]) == (1, 5, None)
    entries = [(e["line"], e["last_line"], e["text"], e["truncated"]) for e in sequence["entries"]]
    assert entries == [
        (1, 1, "2024-01-01 10:00:00 INFO a", False),
        (3, 4, "2024-01-01 10:00:01 ERROR b\n\tat c", False),
        (5, 5, "2024-01-01 10:00:05 FATAL d", False),
    ]
    assert json.loads(json.dumps(result)) == result
    softmax = torch.tensor(result["logits"]).softmax(0).tolist()
    assert softmax == pytest.approx(list(result["probabilities"].values()), abs=1e-6)


def test_pipeline_gives_the_logits_and_entry_scores_of_the_model(pipe):
    batch = pipe.processor(LOG)
    output = pipe.model(**batch)
    (sequence,) = pipe(LOG)["sequences"]
    assert sequence["logits"] == pytest.approx(output.logits[0].tolist(), abs=1e-5)
    assert [e["score"] for e in sequence["entries"]] == pytest.approx(output.entry_scores[0].tolist(), abs=1e-5)


def test_long_log_is_cut_and_the_most_anomalous_sequence_decides(pipe):
    result = pipe(lines(29))
    assert [(s["first_line"], s["last_line"]) for s in result["sequences"]] == [(1, 8), (9, 16), (17, 24), (25, 29)]
    worst = max(result["sequences"], key=lambda s: s["probabilities"]["anomaly"])
    assert {k: worst[k] for k in ("label", "score", "probabilities", "logits")} == {
        k: v for k, v in result.items() if k not in ("sequences", "mode", "familiarity")
    }


def test_batches_of_logs(pipe):
    logs = [LOG, lines(29), ["a b", "c"], "a"]
    alone = [pipe(log) if isinstance(log, str) else pipe([log])[0] for log in logs]
    assert len({round(result["logits"][0], 3) for result in alone}) == 4
    for batch_size in (1, 2, 64):
        assert close(pipe(logs, batch_size=batch_size), alone)
    assert close(pipe(tuple(logs)), alone)
    assert pipe([]) == []


def test_generator_is_read_lazily(pipe):
    read = []

    def logs():
        for number in range(1, 5):
            read.append(number)
            yield lines(8 * number)

    results = pipe(logs(), batch_size=3)
    assert read == []
    assert len(next(results)["sequences"]) == 1
    assert read == [1, 2]  # three sequences fill a batch
    assert [len(result["sequences"]) for result in results] == [2, 3, 4]


def test_datasets_column_and_torch_dataset(pipe):
    logs = [LOG, "a\nb", "c"]
    expected = pipe(logs)
    dataset = Dataset.from_dict({"log": logs})
    assert close(pipe(dataset["log"]), expected)

    class Logs(torch.utils.data.Dataset):
        def __len__(self):
            return len(logs)

        def __getitem__(self, position):
            return logs[position]

    assert close(list(pipe(Logs())), expected)
    assert close(list(pipe(np.array(logs))), expected)


def test_lines_of_a_list_of_entries_are_positions(pipe):
    (result,) = pipe([["a\n\tb", " ", "c"]])
    assert [(e["line"], e["last_line"]) for e in result["sequences"][0]["entries"]] == [(1, 1), (3, 3)]


def test_overrides_at_call_time(pipe):
    log = "\n".join(f"2024-01-01 10:00:{row:02d} INFO s{row % 2} a" for row in range(12))

    def shape(**overrides):
        return [len(s["entries"]) for s in pipe(log, **overrides)["sequences"]]

    assert shape() == [8, 4]
    assert shape(max_sequence_length=5) == [5, 5, 2]
    assert shape(max_sequence_length=6, stride=3) == [6, 6, 6]
    assert shape(window_seconds=4) == [4, 4, 4]
    assert shape(session_pattern=r"(s\d)") == [6, 6]
    assert shape() == [8, 4]  # overrides do not persist
    full, short = pipe(log), pipe(log, max_log_entry_length=4)
    assert not full["sequences"][0]["entries"][0]["truncated"]
    assert short["sequences"][0]["entries"][0]["truncated"]
    assert not close(full["logits"], short["logits"])


def test_overrides_when_the_pipeline_is_made(model, processor):
    model.add_placeholders(processor)
    pipe = pipeline("log-anomaly", model=model, processor=processor, max_sequence_length=3, threshold=0.01)
    result = pipe(lines(7))
    assert [len(s["entries"]) for s in result["sequences"]] == [3, 3, 1]
    assert result["label"] == "anomaly"
    assert [len(s["entries"]) for s in pipe(lines(7), max_sequence_length=7)["sequences"]] == [7]


def test_each_distinct_entry_is_encoded_once_and_each_distinct_sequence_predicted_once(pipe):
    encoded, judged = [], []
    encode, forward = pipe.model.model.encode_entries, pipe.model.model.sequence_stack.forward
    pipe.model.model.encode_entries = lambda **k: encoded.append(len(k["input_ids"])) or encode(**k)
    pipe.model.model.sequence_stack.forward = lambda e, m, i: judged.append(len(m)) or forward(e, m, i)
    pipe(["\n".join(["a 1", "b 2"] * 12), "\n".join(["a 3", "b 4"] * 4)])
    assert sum(encoded) == 2
    assert sum(judged) == 1


def test_single_lines_in_a_batch_get_a_hint(pipe, caplog):
    pipe(["a", "b"])
    assert "pipe([lines])" in caplog.text
    caplog.clear()
    pipe([["a", "b"]])
    pipe(["a\nb", "c"])
    pipe(["a"])
    assert "pipe([lines])" not in caplog.text


def test_out_of_memory_halves_the_batch(pipe, caplog):
    expected = pipe([lines(20), LOG])
    forward, encode = pipe.model.model.sequence_stack.forward, pipe.model.model._encode_batch

    def small_stack(embeds, mask, index):
        if len(mask) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(embeds, mask, index)

    def small_encoder(ids, mask):
        if ids.numel() > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(ids, mask)

    pipe.model.model.sequence_stack.forward = small_stack
    pipe.model.model._encode_batch = small_encoder
    assert close(pipe([lines(20), LOG]), expected)
    assert "Out of memory with 32 sequences at once: going on with 16" in caplog.text

    def no_stack(embeds, mask, index):
        raise torch.OutOfMemoryError("CUDA out of memory")

    pipe.model.model.sequence_stack.forward = no_stack
    with pytest.raises(torch.OutOfMemoryError):
        pipe(LOG)


def test_logits_that_are_not_finite_raise(processor):
    model = make_model()
    model.add_placeholders(processor)
    with torch.no_grad():
        model.classification_head.classifier.bias[0] = float("inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        LogAnomalyPipeline(model, processor=processor)("a")


def test_undecodable_bytes_are_reported(pipe, caplog):
    pipe(b"a \xff\nb")
    assert "1 bytes of the log are not valid UTF-8" in caplog.text
