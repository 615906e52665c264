"""Metrics, fitted numbers, baselines and the embeddings on disk: known answers."""

import logging

import evaluate
import numpy as np
import pytest
import torch
from conftest import make_model
from test_training_data import labelled

from logmoe.judging_logmoe import anomaly_margin, anomaly_probability
from logmoe.predicting_logmoe import Predictor
from logmoe.training.baselines import BASELINES, measure_baselines
from logmoe.training.embeddings import EmbeddingCache
from logmoe.training.logs import LogStore
from logmoe.training.metrics import (
    DetectionMetric,
    detection_metrics,
    expected_calibration_error,
    fit_calibration,
    fit_threshold,
    log_loss,
)
from logmoe.training.report import results_table, spread
from logmoe.training.splits import Splits


def test_known_metrics():
    labels = np.array([0, 0, 0, 1, 1])
    metrics = detection_metrics(labels, np.array([0.1, 0.6, 0.2, 0.9, 0.4]), threshold=0.5)
    assert metrics["precision"] == metrics["recall"] == metrics["f1"] == 0.5
    assert metrics["false_positive_rate"] == pytest.approx(1 / 3)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["auroc"] == pytest.approx(5 / 6)
    assert metrics["pr_auc"] == pytest.approx((1 / 1 + 2 / 3) / 2)  # The anomalies are the first and the third.
    # Detections: 1 right of 2, misses: 1 of 2; (1·2 − 1·1) / sqrt(2·2·3·3).
    assert metrics["mcc"] == pytest.approx(1 / 6)
    assert np.isnan(detection_metrics(np.zeros(3), np.zeros(3), 0.5)["auroc"])
    assert np.isnan(detection_metrics(np.zeros(0), np.zeros(0), 0.5)["f1"])
    margin = anomaly_margin(np.array([[0.0, np.log(3)], [900.0, -900.0]]))
    assert anomaly_probability(margin).tolist() == pytest.approx([0.75, 0.0])
    assert log_loss(np.array([1, 0]), np.zeros(2)) == pytest.approx(np.log(2))
    assert log_loss(np.array([1, 0]), np.full(2, np.log(3))) == pytest.approx(-np.log([0.75, 0.25]).mean())


def test_a_score_at_the_threshold_is_a_detection():
    at, above = (detection_metrics(np.array([0, 1]), np.array([0.1, 0.7]), of) for of in (0.7, np.nextafter(0.7, 1)))
    assert (at["recall"], above["recall"]) == (1.0, 0.0)


def test_calibration_error():
    # Bins of 1/15: 0.31 and 0.32 share one, with a mean of 0.315 and half of them anomalous; 0.9 is right.
    labels, scores = np.array([0, 1, 1]), np.array([0.31, 0.32, 1.0])
    assert expected_calibration_error(labels, scores) == pytest.approx((2 * (0.5 - 0.315) + 0) / 3)


def test_the_metric_is_an_evaluate_module_that_needs_no_hub():
    metric = DetectionMetric(keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    assert "threshold" in metric.inputs_description
    metric.add_batch(predictions=[0.1, 0.9], references=[0, 1])
    metric.add(prediction=0.4, reference=1)
    assert metric.compute(threshold=0.5)["recall"] == 0.5
    assert metric.compute(predictions=[0.1, 0.9], references=[0, 1])["f1"] == 1.0


def test_calibration_undoes_overconfidence_and_weights():
    generator = np.random.default_rng(0)
    true_margin = generator.normal(-1, 2, 20_000)
    labels = (generator.random(20_000) < 1 / (1 + np.exp(-true_margin))).astype(int)
    for scale, shift in ((3, 0), (1, 0), (0.5, 4), (2, -30)):
        margin = scale * true_margin + shift
        temperature, offset = fit_calibration(labels, margin)
        assert temperature == pytest.approx(scale, rel=0.05)
        assert offset == pytest.approx(-shift, abs=0.15 * scale)
        assert expected_calibration_error(labels, anomaly_probability(margin + offset, temperature)) < 0.01
    # All on the right side: how certain depends on how many there are.
    labels, margin = np.array([0, 0, 1, 1]), np.array([-1.0, -1, 1, 1])
    temperature, offset = fit_calibration(labels, margin)
    scores = anomaly_probability(margin + offset, temperature)
    assert scores == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=1e-3)
    # Margins that say nothing.
    assert fit_calibration(np.array([0, 1, 0, 1]), margin)[0] == pytest.approx(20)


def test_threshold_of_the_best_f1_and_of_a_false_positive_rate():
    labels, margin = np.array([0, 0, 0, 0, 1, 1]), np.array([-4.0, -3, -2, 2, 1, 3])
    threshold = fit_threshold(labels, margin)
    assert threshold == pytest.approx(1 / (1 + np.exp(0.5)))  # Between -2 and 1: F1 0.8.
    assert detection_metrics(labels, anomaly_probability(margin), threshold)["f1"] == pytest.approx(0.8)
    for rate, expected in ((0.0, 0.0), (0.25, 0.25), (0.6, 0.5)):
        threshold = fit_threshold(labels, margin, 2.0, rate)
        metrics = detection_metrics(labels, anomaly_probability(margin, 2.0), threshold)
        assert metrics["false_positive_rate"] == expected
    # A confident outlier moves no cut.
    labels, margin = np.array([0, 0, 1, 1]), np.array([-3.0, 16, 15, 17])
    temperature, offset = fit_calibration(labels, margin)
    margin = margin + offset
    threshold = fit_threshold(labels, margin, temperature, 0.0)
    metrics = detection_metrics(labels, anomaly_probability(margin, temperature), threshold)
    assert (metrics["false_positive_rate"], metrics["recall"]) == (0, 0.5)
    # A normal log above all anomalies: nothing may be labelled anomalous.
    labels, margin = np.array([1, 0]), np.array([-1.0, 1])
    threshold = fit_threshold(labels, margin, 1.0, 0.0)
    assert detection_metrics(labels, anomaly_probability(margin), threshold)["recall"] == 0


def test_baselines_know_what_they_should(processor):
    store = LogStore(processor)
    store.add_logs(["info a", "fatal b", "info a\nfatal b", "info c", "fatal b\ninfo a", "warn d", "info a\ninfo a"])
    splits = Splits(
        {
            "train": labelled([0, 0, 0, 1, 2, 3], [0, 0, 0, 1, 1, 0]),
            "validation": labelled([0, 1], [0, 1]),
            "test": labelled([0, 1, 4, 5, 3], [0, 1, 1, 0, 0]),
        }
    )
    results = measure_baselines(splits, store)
    assert list(results) == list(BASELINES)
    figures = {name: (row["all"]["precision"], row["all"]["recall"]) for name, row in results.items()}
    assert figures["always anomalous"] == (0.4, 1.0)
    assert figures["severity word"] == (pytest.approx(2 / 3), 1.0)  # "warn d" has one, and is normal.
    assert figures["entry not in normal training logs"] == (pytest.approx(2 / 3), 1.0)  # "warn d" is new.
    assert figures["look-up of training logs, unseen is anomalous"] == (pytest.approx(2 / 3), 1.0)
    # Counts know "fatal b\ninfo a", but not "warn d".
    assert figures["look-up of entry counts, unseen is anomalous"] == (pytest.approx(2 / 3), 1.0)
    assert figures["entry counts, decision tree"] == (1.0, 1.0)
    assert results["bag of words, logistic regression"]["all"]["auroc"] == 1.0
    assert figures["entry counts, 1-nearest neighbour"][1] == 1.0
    assert results["severity word"]["unseen"]["recall"] == 1.0


def test_the_table_and_the_spread():
    runs = [{"test": {"all": {"f1": f1}, "unseen": None}} for f1 in (0.8, 1.0)]
    figures = spread(runs)
    assert figures["all"]["f1"] == {"mean": pytest.approx(0.9), "std": pytest.approx(np.std([0.8, 1.0], ddof=1))}
    table = results_table(runs[0] | {"spread": figures, "split": {}})
    assert "| LogMoE (test) | – | – | 0.8000 |" in table
    assert "F1 0.9000 ± 0.1414 over 2 seeds" in table


class CountingPredictor(Predictor):
    encoded = 0

    def encode(self, token_ids):
        self.encoded += len(token_ids)
        return super().encode(token_ids)


def test_embeddings_are_computed_once_and_kept(processor, tmp_path, caplog):
    def cache(model):
        model.add_placeholders(processor)
        predictor = CountingPredictor(model, processor, torch.device("cpu"))
        return predictor, EmbeddingCache(predictor, tmp_path)

    predictor, first = cache(make_model())
    embeds = first.embeddings_of(["a", "b"])
    again = first.embeddings_of(["c", "b", "a"])
    assert predictor.encoded == 3
    torch.testing.assert_close(again[[2, 1]], embeds, atol=0, rtol=0)
    # Another run with the same encoder encodes nothing.
    predictor, second = cache(make_model())
    assert torch.equal(second.embeddings_of(["a", "c"]), again[[2, 0]])
    assert predictor.encoded == 0
    # Other weights, other rules: other files.
    other = make_model()
    with torch.no_grad():
        other.model.encoder.embeddings.word_embeddings.weight[5] += 1
    predictor, third = cache(other)
    third.embeddings_of(["a"])
    assert predictor.encoded == 1
    processor.max_log_entry_length = 16
    assert len({path.name for path in tmp_path.iterdir()} | {cache(make_model())[1].path.name}) == 3
    # A damaged file is replaced; no half file is left.
    third.path.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        third.embeddings_of(["a"])
    assert "replacing it" in caplog.text
    assert predictor.encoded == 2
    assert third.embeddings_of(["a"]).shape == (1, 32)
    assert predictor.encoded == 2
    assert not list(tmp_path.glob("*.partial"))
