"""Predictions become labels, scores and probabilities: known answers, and the same through the pipeline."""

import math

import numpy as np
import pytest
import torch
from conftest import tiny_config

from logmoe import LogParser
from logmoe.judging_logmoe import Evidence, Explanation, Judge, Prediction, anomaly_margin, anomaly_probability
from logmoe.pipeline_logmoe import PredictedLog
from logmoe.predicting_logmoe import Predictor

LOG = "2024-01-01 10:00:00 INFO a\n\n2024-01-01 10:00:01 ERROR b\n\tat c\n2024-01-01 10:00:05 FATAL d"
LABELS = {0: "normal", 1: "anomaly"}


def prediction(margin, entry_scores=(0.0,)):
    return Prediction(np.array([0.0, margin]), np.array(entry_scores))


def judge_one(margin, temperature=1.0, threshold=0.5):
    """The result of a sequence of one entry."""
    judge = Judge(LABELS, temperature, threshold)
    parsed = LogParser().parse("a")
    (result,) = judge.sequence_results(parsed, [np.array([0])], [prediction(margin)], np.array([False]))
    return result


# ---------------------------------------------------------------------- probabilities


def test_anomaly_margin_is_a_difference_of_logits_in_float64():
    margin = anomaly_margin(np.array([[1.0, 3.0], [2.5, 0.5]], dtype=np.float32))
    assert margin.tolist() == [2.0, -2.0]
    assert margin.dtype == np.float64


def test_anomaly_probability_is_the_softmax_of_the_two_logits():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)], [1.5, -2.0], [-4.0, 9.0]], dtype=torch.float64)
    probability = anomaly_probability(anomaly_margin(logits.numpy()))
    assert probability[:2].tolist() == pytest.approx([0.5, 0.75], rel=1e-15)
    assert probability.tolist() == pytest.approx(logits.softmax(dim=1)[:, 1].tolist(), rel=1e-12)


def test_anomaly_probability_divides_the_margin_by_the_temperature():
    assert anomaly_probability(np.array([2.0]), temperature=2.0) == pytest.approx(1 / (1 + math.exp(-1)))


def test_extreme_margins_neither_overflow_nor_lose_tiny_probabilities():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert anomaly_probability(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
        assert anomaly_probability(np.array([-1e4, 1e4]), temperature=1e-3).tolist() == [0.0, 1.0]
        assert anomaly_probability(np.array([-700.0]))[0] == pytest.approx(math.exp(-700), rel=1e-12)
        assert anomaly_probability(np.array([-30.0]))[0] == pytest.approx(math.exp(-30), rel=1e-12)
        # Of a near-certain anomaly, the probability of "normal" is as exact as the other way round.
        assert judge_one(700.0)["probabilities"]["normal"] == pytest.approx(math.exp(-700), rel=1e-12)


# ---------------------------------------------------------------------- labels and scores


def test_a_probability_equal_to_the_threshold_is_an_anomaly():
    assert anomaly_probability(np.array([0.0]))[0] == 0.5
    assert judge_one(0.0, threshold=0.5)["label"] == "anomaly"
    for margin in (-3.0, -0.1, math.log(3), 5.0):
        probability = float(anomaly_probability(np.array([margin]))[0])
        assert judge_one(margin, threshold=probability)["label"] == "anomaly"
        assert judge_one(margin, threshold=math.nextafter(probability, 1))["label"] == "normal"


def test_score_is_the_probability_of_the_label():
    anomaly, normal = judge_one(math.log(3), threshold=0.7), judge_one(math.log(3), threshold=0.8)
    assert (anomaly["label"], anomaly["score"]) == ("anomaly", pytest.approx(0.75))
    assert (normal["label"], normal["score"]) == ("normal", pytest.approx(0.25))  # below 0.5: the threshold decides
    assert anomaly["probabilities"] == normal["probabilities"] == pytest.approx({"normal": 0.25, "anomaly": 0.75})


def test_result_of_a_sequence():
    parsed = LogParser().parse("a\n\nb\n\tat c\nd")
    judge = Judge(LABELS, temperature=2.0, threshold=0.5)
    sequences = [np.array([0, 1]), np.array([2])]
    predictions = [prediction(2 * math.log(3), (0.5, -0.25)), prediction(-1)]
    is_truncated = np.array([False, True, False])
    first, second = judge.sequence_results(parsed, sequences, predictions, is_truncated, source="x.log")
    assert first == {
        "label": "anomaly",
        "score": pytest.approx(0.75),
        "probabilities": pytest.approx({"normal": 0.25, "anomaly": 0.75}),
        "logits": [0.0, 2 * math.log(3)],
        "first_line": 1,
        "last_line": 4,
        "source": "x.log",
        "mode": "none",
        "healthy_rarity": None,
        "evidence": {},
        "reasons": [],
        "entries": [
            {"line": 1, "last_line": 1, "text": "a", "score": 0.5, "truncated": False},
            {"line": 3, "last_line": 4, "text": "b\n\tat c", "score": -0.25, "truncated": True},
        ],
    }
    assert (second["label"], second["first_line"], second["last_line"]) == ("normal", 5, 5)
    assert judge.highest_probability(predictions) == first["probabilities"]["anomaly"]


@pytest.mark.parametrize(
    ("margins", "is_calibrated", "label"),
    [((2.0, -9.0), False, "anomaly"), ((2.0, -9.0), True, "normal"), ((-1.0, 0.0), False, "normal")],
)
def test_result_of_a_sequence_that_was_judged_by_evidence(margins, is_calibrated, label):
    asked = []

    def explain(row, is_anomaly):
        asked.append((row, is_anomaly))
        return Explanation(np.array([0.5]), {"level": 0.25}, [{"kind": "new_entry", "weight": 1.5}])

    rarity = np.array([0.02, np.nan])
    evidence = Evidence("self", np.zeros(2), np.array(margins), rarity, np.zeros((2, 1)), explain, is_calibrated)
    judge = Judge(LABELS, temperature=2.0, threshold=0.9, evidence_threshold=0.6)
    sequences, predictions = [np.array([0]), np.array([1])], [prediction(99), prediction(99)]
    first, second = judge.sequence_results(
        LogParser().parse("a\nb"), sequences, predictions, np.zeros(2, bool), evidence=evidence
    )
    anomaly = 1 / (1 + math.exp(-margins[0] / (2 if is_calibrated else 1)))
    assert first["probabilities"] == pytest.approx({"normal": 1 - anomaly, "anomaly": anomaly})
    assert (first["label"], first["logits"]) == (label, [-margins[0] / 2, margins[0] / 2])
    assert (first["healthy_rarity"], second["healthy_rarity"], first["mode"]) == (0.02, None, "self")
    assert (first["reasons"][0]["weight"], first["evidence"]) == (1.5, {"level": 0.25})
    assert first["entries"][0]["score"] == 0.5
    assert asked == [(0, label == "anomaly"), (1, False)]


@pytest.mark.parametrize("number", [1, 3])
def test_predictions_of_other_sequences_are_no_results(number):
    judge, predictions = Judge(LABELS, 1.0, 0.5), [prediction(0.0)] * number
    with pytest.raises(ValueError, match="zip|index"):
        list(
            judge.sequence_results(LogParser().parse("a\nb"), [np.array([0]), np.array([1])], predictions, np.zeros(2))
        )
    with pytest.raises(ValueError, match="zip"):  # nor do scores of other entries
        list(
            judge.sequence_results(
                LogParser().parse("a\nb"), [np.array([0, 1])], [prediction(0.0, [0.0] * number)], np.zeros(2)
            )
        )


def test_a_sequence_ends_with_the_last_line_of_any_entry_of_it():
    """An entry may go on past the beginning of the next one, where two streams are mixed."""
    parsed = LogParser().parse("a\nb\n\tat c\n\tat d\ne")
    judge = Judge(LABELS, 1.0, 0.5)
    whole = [np.array([0, 1])], [prediction(0.0, (0.0, 0.0))], np.zeros(3, bool)
    (result,) = judge.sequence_results(parsed, *whole)
    assert (result["first_line"], result["last_line"]) == (1, 4)
    parsed.last_line[0] = 9
    (result,) = judge.sequence_results(parsed, *whole)
    assert (result["first_line"], result["last_line"]) == (1, 9)


def test_normal_sequences_are_left_out_on_request():
    parsed = LogParser().parse("a\nb")
    judge = Judge(LABELS, temperature=1.0, threshold=0.5)
    sequences, predictions = [np.array([0]), np.array([1])], [prediction(-1), prediction(1)]
    results = list(judge.sequence_results(parsed, sequences, predictions, np.zeros(2, bool), only_anomalies=True))
    assert results[0] is None
    assert results[1]["label"] == "anomaly"
    assert list(judge.sequence_results(parsed, [], [], np.zeros(2, bool))) == []


def test_result_of_a_log_is_that_of_its_most_anomalous_sequence():
    judge = Judge(LABELS, temperature=1.0, threshold=0.5)
    for margins, worst in (([-2.0, 3.0, 1.0], 1), ([-2.0, -0.5, -1.0], 1), ([2.0], 0)):
        sequences = [judge_one(margin) for margin in margins]
        result = judge.log_result(sequences)
        assert list(result) == ["label", "score", "probabilities", "logits", "sequences"]
        assert all(result[key] == sequences[worst][key] for key in ("label", "score", "probabilities", "logits"))
        assert result["sequences"] == sequences


# ---------------------------------------------------------------------- threshold and temperature of a checkpoint


def test_judge_takes_threshold_and_temperature_from_the_config():
    config = tiny_config(anomaly_threshold=0.3, calibration_temperature=1.5)
    assert Judge.from_config(config) == Judge(LABELS, temperature=1.5, threshold=0.3)
    assert Judge.from_config(config, threshold=0.9) == Judge(LABELS, 1.5, threshold=0.9, evidence_threshold=0.9)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, "0.5", float("nan")])
def test_thresholds_outside_0_to_1_are_refused(threshold):
    with pytest.raises(ValueError, match=r"`threshold` must be a number in \(0, 1\)"):
        Judge.from_config(tiny_config(), threshold=threshold)


def test_threshold_and_temperature_of_a_pipeline(pipe):
    anomaly = pipe(LOG)["probabilities"]["anomaly"]
    assert pipe(LOG, threshold=anomaly - 1e-4)["label"] == "anomaly"
    normal = pipe(LOG, threshold=anomaly + 1e-4)
    assert normal["label"] == "normal"
    assert normal["score"] == normal["probabilities"]["normal"]
    pipe.model.config.anomaly_threshold = anomaly - 1e-4
    assert pipe(LOG)["label"] == "anomaly"
    pipe.model.config.calibration_temperature = 2.0
    softer = pipe(LOG)
    expected = torch.tensor(softer["logits"]).div(2).softmax(0)[1].item()
    assert softer["probabilities"]["anomaly"] == pytest.approx(expected, abs=1e-6)


def test_known_probabilities_of_a_pipeline(pipe):
    prepared = pipe.preprocess("a")
    result = pipe.postprocess(PredictedLog(prepared, [prediction(math.log(3), (0.5,))], np.array([False])))
    assert result["probabilities"] == pytest.approx({"normal": 0.25, "anomaly": 0.75})
    assert (result["label"], result["score"]) == ("anomaly", pytest.approx(0.75))


# ---------------------------------------------------------------------- predictions


def test_predictions_are_copies_that_do_not_keep_their_batch_alive(model, processor):
    embeddings = torch.randn(3, 32)
    predictor = Predictor(model, processor, torch.device("cpu"))
    predictions = predictor.predict(embeddings, [np.array([0, 1, 2]), np.array([1])], batch_size=2)
    for one in predictions:
        assert one.logits.base is None
        assert one.entry_scores.base is None
    assert [len(one.entry_scores) for one in predictions] == [3, 1]
