"""`LogAnomalyDetector`, and the command line in real processes."""

import json
import os
import shlex
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, WORDS
from transformers import AutoModel

from logmoe import LogAnomalyDetector
from logmoe.console import visible
from logmoe.inference import EXAMPLES, main

LOG = "2024-01-01 10:00:00 INFO a\n2024-01-01 10:00:01 ERROR b\n\tat c\nd"


@pytest.fixture
def detector(checkpoint):
    return LogAnomalyDetector(checkpoint, device="cpu")


def test_predict(detector, pipe):
    result = detector.predict(LOG)
    assert list(result) == ["prediction", "confidence", "probabilities", "logits"]
    expected = pipe(LOG)
    assert result["prediction"] == {"normal": "正常", "anomaly": "异常"}[expected["label"]]
    assert result["confidence"] == pytest.approx(expected["score"])
    assert set(result["probabilities"]) == {"正常", "异常"}
    assert result["confidence"] == result["probabilities"][result["prediction"]]
    assert json.loads(json.dumps(result, ensure_ascii=False)) == result


def test_predict_in_english(checkpoint):
    result = LogAnomalyDetector(checkpoint, labels="en").predict(LOG)
    assert set(result["probabilities"]) == {"normal", "anomaly"}
    assert result["prediction"] in result["probabilities"]


def test_predict_takes_the_documented_lengths(detector, pipe):
    log = "\n".join(f"error {word} b c d e" for word in "abcde")
    short = detector.predict(log, max_log_entry_length=4, max_sequence_length=2)
    expected = pipe(log, max_log_entry_length=4, max_sequence_length=2)
    assert short["logits"] == pytest.approx(expected["logits"], abs=1e-5)
    assert short["logits"] != pytest.approx(detector.predict(log)["logits"], abs=1e-5)


def test_predict_batch(detector):
    logs = [LOG, "a\nb", "c"]
    batch = detector.predict_batch(logs, batch_size=2)
    for one, many in zip(map(detector.predict, logs), batch, strict=True):
        assert many["prediction"] == one["prediction"]
        assert many["logits"] == pytest.approx(one["logits"], abs=1e-5)
    assert detector.predict_batch([]) == []


def test_preprocess_log_sequence(detector):
    embeddings, mask = detector.preprocess_log_sequence(LOG, max_log_entry_length=32, max_sequence_length=8)
    assert embeddings.shape == (1, 8, 32)
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert embeddings[0, 3:].abs().max() == 0
    output = detector.pipeline.model(entry_embeds=embeddings, entry_mask=mask)
    assert output.logits[0].tolist() == pytest.approx(detector.predict(LOG)["logits"], abs=1e-5)
    embeddings, mask = detector.preprocess_log_sequence(LOG, max_log_entry_length=32, max_sequence_length=2)
    assert embeddings.shape == (2, 2, 32)
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_bert_path_replaces_encoder_and_tokenizer(detector, checkpoint, tmp_path):
    """The checkpoint's own encoder, passed as `bert_path`, changes nothing; another one does."""
    encoder = detector.pipeline.model.model.encoder
    for name, prepare in (("same", lambda e: None), ("other", lambda e: torch.nn.init.normal_(next(e.parameters())))):
        copy = AutoModel.from_config(encoder.config)
        copy.load_state_dict(encoder.state_dict(), strict=False)
        prepare(copy)
        copy.save_pretrained(tmp_path / name)
        detector.pipeline.processor.tokenizer.save_pretrained(tmp_path / name)
    expected = detector.predict(LOG)["logits"]
    same = LogAnomalyDetector(checkpoint, bert_path=tmp_path / "same")
    assert same.predict(LOG)["logits"] == pytest.approx(expected, abs=1e-5)
    other = LogAnomalyDetector(checkpoint, bert_path=tmp_path / "other")
    assert other.predict(LOG)["logits"] != pytest.approx(expected, abs=1e-5)


def test_bert_path_without_placeholders_gets_them(detector, checkpoint, tmp_path):
    from conftest import tiny_encoder_config, tiny_tokenizer

    AutoModel.from_config(tiny_encoder_config()).save_pretrained(tmp_path / "bare")
    tiny_tokenizer().save_pretrained(tmp_path / "bare")
    bare = LogAnomalyDetector(checkpoint, bert_path=tmp_path / "bare")
    embeddings = bare.pipeline.model.get_input_embeddings().weight
    assert len(embeddings) == len(bare.pipeline.processor.tokenizer) > len(WORDS)
    assert bare.predict(LOG)["prediction"] in ("正常", "异常")


# ---------------------------------------------------------------------- command line


def test_visible_escapes_everything_that_controls_a_terminal():
    hostile = "a\x1b[31m\x07\r\n\tb\x9b2J\u202e\u200b\udc80\x7f\u2028é日"
    shown = visible(hostile)
    assert shown == "a\\x1b[31m\\x07\\r\\n\\tb\\x9b2J\\u202e\\u200b\\udc80\\x7f\\u2028é日"
    assert all(ch.isprintable() for ch in shown)


def command_line(checkpoint, *arguments):
    return [sys.executable, str(ROOT / "inference.py"), "--model", str(checkpoint), *map(str, arguments)]


def test_command_line_reads_standard_input_and_writes_json_lines_while_it_is_open(checkpoint):
    command = command_line(checkpoint, "-", "--json", "--all", "--max_sequence_length", "2")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(LOG.encode() + b"\x7f\ne\nf\n")
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(2)]  # two windows of two; one entry waits
        assert not any(b"\x7f" in line for line in lines)
        sequences = [json.loads(line) for line in lines]
        assert [(s["first_line"], s["last_line"], s["source"]) for s in sequences] == [(1, 3, None), (4, 5, None)]
        assert sequences[1]["entries"][0]["text"] == "d\x7f"
        process.stdin.close()
        last = json.loads(process.stdout.readline())
        assert (last["first_line"], last["last_line"]) == (6, 6)
        assert process.stdout.read() == b""
        assert process.wait(60) == 0


def test_examples_of_the_original_guide_with_the_shipped_checkpoint(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.count("测试: ") == printed.count("日志: ") == printed.count("结果: ") == 4
    assert LogAnomalyDetector().predict(EXAMPLES[0][1])["prediction"] in ("正常", "异常")


def test_sequences_on_the_command_line(checkpoint, tmp_path, capsys):
    log = tmp_path / "log"
    log.write_text("\n".join(f"2024-01-01 10:00:{row:02d} INFO s{row % 2} a" for row in range(8)))
    for options, expected in (
        (["--stride", "2", "--max_sequence_length", "4"], 3),
        (["--session_pattern", r"(s\d)"], 2),
        (["--window_seconds", "2"], 4),
    ):
        assert main(["--model", str(checkpoint), "--device", "cpu", str(log), "--all", "--json", *options]) == 0
        assert len(capsys.readouterr().out.splitlines()) == expected


def test_hostile_file_and_ascii_terminal(checkpoint, tmp_path):
    log, foreign = tmp_path / "server.log", tmp_path / "foreign.log"
    log.write_bytes(b"info a\n\x1b]0;owned\x07error \x07\x08\x7f \x9b b \xff\n\tat c\n")
    foreign.write_text("错误 a\n" * 100, encoding="utf-8")
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = command_line(checkpoint, log, foreign, "--sequences", "--all", "--lines", "5")
    done = subprocess.run(command, env=ascii_only, capture_output=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.decode("ascii")
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "owned" not in printed
    assert "error \\x07\\x08\\x7f" in printed
    assert printed.count("(+1 line)") == 1
    assert "bytes are not valid UTF-8" not in printed  # a warning is not a result
    assert b"2 bytes are not valid UTF-8" in done.stderr
    assert "\\u9519\\u8bef a" in printed


def test_closed_pipe(checkpoint, tmp_path):
    log = tmp_path / "log"
    log.write_text("错误 a\n" * 4000, encoding="utf-8")
    command = shlex.join(command_line(checkpoint, log, "--json", "--all"))
    piped = subprocess.run(f"{command} | head -1", shell=True, capture_output=True)
    assert piped.stdout.startswith(b"{")
    assert b"Traceback" not in piped.stderr
    assert b"BrokenPipe" not in piped.stderr


def test_exit_codes(checkpoint, tmp_path, capsys):
    log = tmp_path / "log"
    log.write_text(LOG)
    model = ["--model", str(checkpoint), "--device", "cpu"]
    assert main([*model, str(log), "--threshold", "0.001"]) == 0
    assert "log: 1 finding in 4 lines (3 entries); judged by its wording" in capsys.readouterr().out
    for form in ([], ["--json"], ["--sequences"], ["--format", "jsonl"], ["--format", "markdown"]):
        assert main([*model, str(log), "--threshold", "0.001", "--fail-on-finding", *form]) == 1
        assert main([*model, str(log), "--threshold", "0.001", "--fail_on_anomaly", *form]) == 1
        assert main([*model, str(log), "--threshold", "0.001", *form]) == 0
        capsys.readouterr()
        assert main([*model, str(log), "--threshold", "0.999", "--fail-on-finding", *form]) == 0
    assert main([*model, str(log), "--threshold", "0.999"]) == 0
    assert "log: no findings in 4 lines" in capsys.readouterr().out
    assert main([*model, str(log), "--threshold", "0.999", "--sequences"]) == 0
    assert "0 of 1 sequences anomalous" in capsys.readouterr().out
    assert main([*model, str(tmp_path / "nowhere"), str(log), "--fail_on_anomaly"]) == 2
    output = capsys.readouterr()
    assert "nowhere" in output.err
    assert "log: " in output.out  # the other file is judged all the same
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "folder").mkdir()
    for bad in ([str(tmp_path / "empty")], [str(tmp_path / "folder")], [str(log), "--window_seconds", "-1"]):
        assert main([*model, *bad]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert main(["--model", str(tmp_path), str(log)]) == 2
    assert main(["--no_such_flag"]) == 2
    assert "No such option '--no-such-flag'" in capsys.readouterr().err
    for options in (
        ["--lines", "0"],
        ["--limit", "0"],
        ["--json", "--format", "jsonl"],
        ["--sequences", "-o", "a.md"],
    ):
        assert main([*model, str(log), *options]) == 2
        assert options[0] in capsys.readouterr().err
