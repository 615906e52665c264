"""The card of the default checkpoint says what is so: it is held equal to what writes it."""

import json
import sys

import pytest
from conftest import MINI, ROOT
from huggingface_hub import ModelCard
from transformers import pipeline

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, no part of the installed package

import card as benchmarks_card


@pytest.mark.skipif(not benchmarks_card.RESULTS.exists(), reason="`make accuracy` was not run yet: there is no JSON")
def test_card_of_the_default_checkpoint_shows_what_was_found_and_measured():
    """After a change: `python benchmarks/card.py`."""
    content = json.loads(benchmarks_card.RESULTS.read_text())
    text = (MINI / "README.md").read_text()
    assert text == benchmarks_card.card(pipeline("log-anomaly", model=str(MINI)), MINI.name, content)
    assert (MINI / "report.png").read_bytes() == benchmarks_card.PICTURE.read_bytes()
    assert "<this repository>" not in text
    assert text.count("\nlines ") == 3
    data = ModelCard(text).data
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.datasets == [result.dataset_type for result in data.eval_results][:1] == ["logmoe-recordings"]
    assert (data.language, data.library_name, "log-anomaly" in data.tags) == ("en", "transformers", True)
    # Every figure of LogMoE's in the table is in the index, and no other.
    rows = [[cell.strip(" *") for cell in row.split("|")[1:-1]] for row in text.splitlines() if "| **0." in row]
    shown = [float(cell) for row in rows for cell in (row[1], row[-1]) if cell]
    assert [result.metric_value for result in data.eval_results] == shown
    earlier = content["parts"]["recordings"]["result"]["judged_against"]["earlier"]["detectors"]
    assert f"{earlier['LogMoE']['auroc'][0]:.3f}" == rows[0][1]


def test_results_of_another_checkpoint_are_not_quoted(tmp_path):
    path = tmp_path / "accuracy.json"
    assert benchmarks_card.results("one", path) is None
    path.write_text(json.dumps({"model": "two", "parts": {"recordings": {"model": "two"}}}))
    assert benchmarks_card.results("one", path) is None
    assert benchmarks_card.results("two", path) is not None


def test_a_card_without_results_promises_none():
    from logmoe.training.card import general_card

    config = pipeline("log-anomaly", model=str(MINI)).model.config
    text = str(general_card(config, 1, ["redis"], "somewhere"))
    assert "model-index" not in text
    assert "## Results" not in text
    assert "```text" not in text
    assert "![" not in text
    assert 'model="somewhere"' in text
    assert "datasets:\n- org/recordings" in str(general_card(config, 1, [], "x", dataset="org/recordings"))
