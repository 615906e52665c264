"""LogMoE as `accuracy.py` measures it, and the detectors that read what it reads.

Severity words need no reference. "New template", "1-NN distance" (of MiniLM's embeddings, LightAD's way: Yu et al.,
2024), the untrained sum of healthy ranks and gradient boosting read features that LogMoE measures. Boosting learned
from the episodes that LogMoE learned from: it tests whether the network earns its place. What is fitted to healthy
windows alone is in `accuracy_rivals.py`.
"""

import pickle
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy_rivals import RIVALS, promised_threshold, score_rivals, thresholds_of
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the recordings are no part of the installed package

from logmoe.applying_logmoe import PredictedLog, PreparedLog, predict_measured
from logmoe.findings_logmoe import Finding
from logmoe.fitting_logmoe import ReferenceFit, origin_of
from logmoe.gathering_logmoe import DetailingJudge, findings_in_memory
from logmoe.judging_logmoe import Judge, anomaly_margin, anomaly_probability
from logmoe.parsing_logmoe import ParsedLog
from logmoe.pipeline_logmoe import LogAnomalyPipeline
from logmoe.predicting_logmoe import Predictor
from logmoe.reference_logmoe import LogReference
from logmoe.rules_logmoe import SEVERITY_WORDS
from logmoe.sequences_logmoe import SequenceRule
from logmoe.surprise_logmoe import INPUTS, lower_quarter, sequence_inputs
from logmoe.training import general
from logmoe.training.episodes import KINDS, Episodes, training_services
from logmoe.weighing_logmoe import Against, Weigher, untrained_score
from recordings.corpus import SERVICES

BATCH_SIZE = 128
FEATURE = {name: column for column, name in enumerate(INPUTS)}
RATES = (0.05, 0.01, 0.001)
"""False alarms that are promised, as a share of healthy windows."""
LOGMOE, SEVERITY, UNTRAINED = "LogMoE", "severity words", "sum of ranks, untrained"
NEW, NEAREST, BOOSTING = "new template", "1-NN distance", "gradient boosting on LogMoE's features"


# --- the pipeline ----------------------------------------------------------------------------------------------------


class RememberingPredictor(Predictor):
    """Encodes each text once, however many logs and references have it."""

    def __init__(self, *args: Any, known: dict[tuple[int, ...], torch.Tensor]):
        super().__init__(*args)
        self.known = known

    def encode(self, token_ids: list[list[int]]) -> torch.Tensor:
        keys = [tuple(ids) for ids in token_ids]
        new = [key for key in dict.fromkeys(keys) if key not in self.known]
        if new:
            self.known |= zip(new, super().encode([list(key) for key in new]), strict=True)
        return torch.stack([self.known[key] for key in keys])


class RememberingPipeline(LogAnomalyPipeline):
    """The pipeline, with a memory of embeddings that draws and kinds of reference share."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def predictor(self) -> Predictor:
        return RememberingPredictor(self.model, self.processor, self.device, known=self._known)

    def forget(self) -> None:
        """Forgets all embeddings."""
        self._known.clear()


def stretches_of(mask: np.ndarray) -> list[np.ndarray]:
    """Positions of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [np.arange(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def fit_reference(
    pipe: LogAnomalyPipeline, rule: SequenceRule, logs: Iterable[tuple[ParsedLog, list[np.ndarray]]]
) -> LogReference:
    """A reference of these sequences.

    Args:
        logs: entries as `with_places` gives them, and positions of each sequence among them, in the order of the log;
            no entry is in two. Sequences that follow one another in the log are neighbours.
    """
    fit = ReferenceFit(pipe.processor, rule, origin_of(pipe.model, pipe.processor, rule))
    for parsed, sequences in logs:
        if sequences:
            # Of the entries these alone: a reference knows every text of the log that it is given.
            part = parsed.take(np.concatenate(sequences))
            ends = np.cumsum([len(sequence) for sequence in sequences])
            fit.builder.start_log()
            fit.builder.add(part, np.split(np.arange(len(part)), ends[:-1]))
    return fit.finish().encode(pipe._encode_texts)


# --- gradient boosting -----------------------------------------------------------------------------------------------


class Boosting:
    """Gradient boosting, trained on the episodes of the training services without the one that is judged.

    scikit-learn's defaults; episodes are weighted as the network draws them.

    Args:
        pipe: whose processor and encoder read the episodes.
        folder: where episodes and what is fitted are kept.
    """

    def __init__(self, pipe: LogAnomalyPipeline, folder: Path):
        self.pipe, self.folder = pipe, folder
        self.names = training_services(SERVICES)
        self._measured: tuple[Episodes, torch.Tensor] | None = None
        self._fitted: dict[str, HistGradientBoostingClassifier] = {}

    def _kept(self, name: str, make: Any) -> Any:
        """What is kept under a name, made if it is not there."""
        path = self.folder / f"{name}.pickle"
        if path.exists():
            return pickle.loads(path.read_bytes())
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(pickle.dumps(made))
        temporary.replace(path)
        return made

    @property
    def episodes(self) -> tuple[Episodes, torch.Tensor]:
        """The episodes of all training services, and the embeddings of their templates."""
        if self._measured is None:
            self._measured = self._kept(
                "episodes", lambda: general.measure(self.names, self.pipe.model, self.pipe.processor, seed=0)
            )
        return self._measured

    def without(self, service: str) -> HistGradientBoostingClassifier:
        """Fitted to all training services but this one; to all of them if it is none of these."""
        left_out = service if service in self.names else ""
        if left_out not in self._fitted:
            row = self.names.index(left_out) if left_out else -1

            def fit() -> HistGradientBoostingClassifier:
                episodes, _ = self.episodes
                return fit_boosting(episodes, np.flatnonzero(episodes.service != row))

            self._fitted[left_out] = self._kept(f"boosting-without-{left_out or 'none'}", fit)
        return self._fitted[left_out]


def fit_boosting(episodes: Episodes, rows: np.ndarray) -> HistGradientBoostingClassifier:
    """Gradient boosting on the inputs of some of the episodes' sequences."""
    kind, service = episodes.kind[rows].astype(np.int64), episodes.service[rows].astype(np.int64)
    share = np.array([general.SHARES.get(name, 0.0) for name in KINDS])[kind]
    group = service * len(KINDS) + kind
    weight = share / np.bincount(group)[group]
    fitted = HistGradientBoostingClassifier(random_state=0, early_stopping=False)
    return fitted.fit(episodes.inputs[rows], episodes.visible[rows] > 0, sample_weight=weight / weight.mean())


# --- all of them -----------------------------------------------------------------------------------------------------


@dataclass
class Scored:
    """The windows of a log, scored.

    Attributes:
        scores: by detector, float64 `(windows,)`; of LogMoE the margin.
        thresholds: by detector, the score above which a window is anomalous at 1% promised; none against the log
            itself, where LogMoE's promises nothing either.
        is_called: bool `(windows,)`, labelled anomalous by LogMoE at 1% promised.
        called_at: the same at other rates.
        parts: what the score is made of, float64 `(windows,)` each: `stack`, `surprise`, `silence` in logit units,
            `learned` and `untrained` on the scale of healthy windows.
        predicted: what LogMoE says of them.
        against: what LogMoE judged against.
    """

    scores: dict[str, np.ndarray]
    thresholds: dict[str, float]
    is_called: np.ndarray
    called_at: dict[float, np.ndarray]
    parts: dict[str, np.ndarray]
    predicted: PredictedLog
    against: Against | None = None
    kept_rates: dict[float, float] = field(default_factory=dict)

    def top_entry(self, place: int) -> int:
        """The place of the most telling entry of a window."""
        evidence = self.predicted.evidence
        if evidence is None:
            return int(np.argmax(self.predicted.predictions[place].entry_scores))
        return int(np.argmax(evidence.explain(place, False).entry_scores))

    def findings(self, pipe: LogAnomalyPipeline) -> list[Finding]:
        """What people are shown."""
        judge = DetailingJudge.of(Judge.from_config(pipe.model.config), pipe.processor)
        return list(findings_in_memory(self.predicted, judge, self.against, None, "strength"))


def score_severity(log: PreparedLog) -> np.ndarray:
    """Entries of each sequence that have a word of severity."""
    words = re.compile("|".join(SEVERITY_WORDS), re.IGNORECASE)
    severe = np.array([bool(words.search(text)) for text in log.parsed.distinct.to_pylist()])[log.parsed.entry_index]
    return np.array([severe[positions].sum() for positions in log.sequences], float)


def predict(pipe: LogAnomalyPipeline, log: PreparedLog, reference: LogReference | None, mode: str) -> PredictedLog:
    """LogMoE's predictions for one log.

    Args:
        reference: to judge by; in mode "self" that of the log itself.
        mode: "reference", "self" or "none".
    """
    if mode == "self" and log.rule.session_pattern is not None:
        # Sessions that were gathered beforehand: the pipeline would cut the log again.
        assert reference is not None
        against = Against(None)
        return predict_measured(pipe.predictor, log, against, reference, pipe.processor, BATCH_SIZE, None)
    given = {"none": False, "self": None}.get(mode, reference)
    return pipe._forward([log], BATCH_SIZE, reference=given)[0]


def own_reference(pipe: LogAnomalyPipeline, log: PreparedLog) -> LogReference | None:
    """The reference of a log that is judged by itself."""
    fit = ReferenceFit(pipe.processor, log.rule, origin_of(pipe.model, pipe.processor, log.rule))
    fit.add_parsed(log.parsed)
    own = fit.finish_own()
    return None if own is None else own.encode(pipe._encode_texts)


def score(
    pipe: LogAnomalyPipeline,
    log: PreparedLog,
    reference: LogReference | None,
    mode: str,
    boosting: HistGradientBoostingClassifier | None,
    seed: int = 0,
    rivals: Iterable[str] = tuple(RIVALS),
    with_thresholds: bool = True,
) -> Scored:
    """The windows of one log by every detector that the mode allows.

    Args:
        reference: to judge by; in mode "self" it is made here if it is None.
        mode: "reference", "self" or "none".
        boosting: None to leave it out.
        seed: of detectors that draw.
        rivals: names among `RIVALS`.
        with_thresholds: also fit the thresholds of others, which takes longer.
    """
    if mode == "self" and reference is None:
        reference = own_reference(pipe, log)
    predicted = predict(pipe, log, reference, mode)
    scores = {SEVERITY: score_severity(log)}
    evidence, thresholds = predicted.evidence, {SEVERITY: 0.0}
    if evidence is None:
        judge = Judge.from_config(pipe.model.config)
        margins = anomaly_margin(np.stack([prediction.logits for prediction in predicted.predictions]))
        is_called = anomaly_probability(margins, judge.temperature) >= judge.threshold
        margins = margins / judge.temperature  # as they are shown
        return Scored(scores | {LOGMOE: margins}, thresholds, is_called, {}, {}, predicted)
    assert reference is not None
    is_self, length = mode == "self", log.rule.max_sequence_length
    scores |= of_features(evidence.inputs, boosting) | score_rivals(reference, log, is_self, seed, rivals)
    scores[LOGMOE] = evidence.margins
    against = Against(None if is_self else reference)
    if not is_self and with_thresholds:
        healthy = reference.healthy(length).features
        inputs = sequence_inputs(healthy, healthy, lower_quarter(healthy))
        thresholds |= {name: promised_threshold(values) for name, values in of_features(inputs, boosting).items()}
        thresholds |= healthy_thresholds(reference, length, seed, rivals) | {LOGMOE: 0.0}
    weigher = against.weigher(pipe.predictor, reference, length)
    called_at, kept = {}, {}
    is_new = np.isfinite(weigher.floor(evidence.inputs))  # called at any rate
    for rate in () if is_self else RATES:
        least, kept[rate] = weigher.scale.threshold(rate)
        called_at[rate] = (evidence.scores >= least) | is_new
    parts = parts_of(weigher, predicted)
    return Scored(scores, thresholds, evidence.margins >= 0, called_at, parts, predicted, against, kept)


def of_features(inputs: np.ndarray, boosting: HistGradientBoostingClassifier | None) -> dict[str, np.ndarray]:
    """Scores of the detectors that read what LogMoE's terms read, `(windows, len(INPUTS))`."""
    known = np.nan_to_num(inputs)
    scores = {
        NEW: known[:, FEATURE["template_new_mean"]],
        NEAREST: known[:, FEATURE["distance_top8"]],
        UNTRAINED: untrained_score(inputs),
    }
    return scores if boosting is None else scores | {BOOSTING: boosting.decision_function(inputs)}


def healthy_thresholds(reference: LogReference, length: int, seed: int, rivals: Iterable[str]) -> dict[str, float]:
    """Thresholds of rivals, found once for each reference, which several logs may share."""
    known: dict[Any, dict[str, float]] = reference.__dict__.setdefault("_thresholds", {})
    key = (length, seed, tuple(rivals))
    if key not in known:
        known[key] = thresholds_of(reference, length, seed, rivals)
    return known[key]


def parts_of(weigher: Weigher, predicted: PredictedLog) -> dict[str, np.ndarray]:
    """See `Scored.parts`."""
    assert predicted.evidence is not None
    inputs, scale = predicted.evidence.inputs, weigher.scale
    stack = anomaly_margin(np.stack([prediction.logits for prediction in predicted.predictions]))
    model = weigher.predictor.model
    with torch.inference_mode():
        terms = model.sequence_terms(torch.from_numpy(np.ascontiguousarray(inputs))).double().numpy()
    learned, untrained = stack + terms.sum(axis=1), untrained_score(inputs, scale.counts)
    return {
        "stack": stack,
        **dict(zip(model.sequence_terms.columns, terms.T, strict=True)),
        "learned": (learned - scale.learned[0]) / scale.learned[1],
        "untrained": (untrained - scale.untrained[0]) / scale.untrained[1],
    }


__all__ = [
    "BOOSTING",
    "LOGMOE",
    "NEAREST",
    "NEW",
    "RATES",
    "SEVERITY",
    "UNTRAINED",
    "Boosting",
    "RememberingPipeline",
    "Scored",
    "fit_reference",
    "own_reference",
    "predict",
    "score",
    "score_severity",
    "stretches_of",
]
