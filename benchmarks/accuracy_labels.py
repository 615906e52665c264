"""Labels of one's own, for `accuracy.py`: part `labels`.

Each detector learns from labelled sequences of a log and is judged on later ones, or on other machines, applications
and faults where a log has no order of time. `split_logs` of `train.py` splits, with its embargo; the threshold of each
detector is the one with the best F1 on validation data. All read the same masked entries, of the same sequences, with
severity words and with these masked too.

- LogMoE is trained from its encoder by the trainer of `train.py`, by the recipe of `detection.py` with fewer steps;
  its stack alone is the same network without the term of words.
- Severity words, look-up of entry counts, bag of words with logistic regression and the decision tree are those of
  `train.py`.
- n-grams and the next-entry LSTM learn from normal training sequences alone, see `accuracy_rivals.py`; Platt scaling
  on validation data makes probabilities of their scores.

*Unseen* are the test sequences whose set of entries no training sequence has: there no look-up helps.

The recordings are part `labels_recorded`, the public logs part `labels`. A step is one draw: a seed, and a split where
the split is drawn. LO2 has two faulty runs: the end of each log is judged, and its start, of the same run, is known.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from accuracy_metrics import mean_and_spread, paired_intervals
from accuracy_public import most_anomalous
from accuracy_rivals import LSTM, Windows, n_grams, next_entry
from accuracy_store import Arrays, Kept, Key, Part, Record
from detection import SMALL, flags
from transformers import PrinterCallback, set_seed
from transformers.utils import logging as transformers_logging

from logmoe import LogMoEForSequenceClassification, train
from logmoe.judging_logmoe import anomaly_probability
from logmoe.sequences_logmoe import pad_sequences
from logmoe.training.arguments import make_parser
from logmoe.training.baselines import BASELINES, Features, best_threshold
from logmoe.training.batches import LogCollator, TrainingVisits
from logmoe.training.embeddings import EmbeddingCache
from logmoe.training.logs import LabelledLogs, LogStore
from logmoe.training.metrics import detection_metrics, fit_calibration
from logmoe.training.splits import Splits, split_logs
from logmoe.training.trainer import LogMoETrainer, StopOnSignal, TwoPhases
from logmoe.training.words import Words, with_words
from recordings import corpus
from recordings.windows import read_runs

LOGMOE, STACK, N_GRAMS = "LogMoE", "LogMoE's stack alone", "n-grams of entries"
LEARNERS = {
    "severity words": "severity word",
    "look-up of entry counts": "look-up of entry counts, unseen is anomalous",
    "bag of words, logistic regression": "bag of words, logistic regression",
    "decision tree on entry counts": "entry counts, decision tree",
}
RECORDINGS = "recordings"
SERVICES = ("redis", "nginx", "haproxy", "squid", "etcd", "openssh")
"""Whose recordings are learned from and judged, together."""
STEPS, BATCH = 500, 32
"""Of LogMoE's training, and sequences of each."""
DRAWS = 5
"""Seeds of LogMoE, and of the split where that is drawn."""
SEVERITIES = ("kept", "masked")
"""What is done with severity words."""
SHARES = {"validation": 0.15, "test": 0.25}
WINDOW = 20
"""Lines of a window of a log that comes as lines."""
MOST_NORMAL = 600
"""Normal sequences that the next-entry LSTM learns from."""
METRICS = ("auroc", "pr_auc", "f1", "mcc", "expected_calibration_error")


@dataclass(frozen=True)
class Table:
    """Labelled sequences.

    Attributes:
        texts: each a text of several lines, or its entries.
        labels: int8 `(sequences,)`.
        time: float64 `(sequences,)`, any number that grows with time.
        group: `(sequences,)` of str, what a split keeps together.
    """

    texts: list[Any]
    labels: np.ndarray
    time: np.ndarray
    group: np.ndarray | None = None

    def every(self, most: int) -> "Table":
        """Every n-th sequence, so that no more than so many are left."""
        chosen = np.arange(0, len(self.texts), -(-len(self.texts) // most))
        group = None if self.group is None else self.group[chosen]
        return Table([self.texts[row] for row in chosen], self.labels[chosen], self.time[chosen], group)


# --- logs ------------------------------------------------------------------------------------------------------------


def read_table(path: Path, group: str | None = None) -> Table:
    """HDFS, BGL, Spirit, OpenStack, Hadoop: a row for each sequence, in the order of time if there is one."""
    table = pq.read_table(path, columns=["log_sequence", "label", *([] if group is None else [group])])
    names = None if group is None else np.array(table[group].to_pylist())
    labels = table["label"].to_numpy().astype(np.int8)
    return Table(table["log_sequence"].to_pylist(), labels, np.arange(len(labels), dtype=np.float64), names)


def cut(lines: list[str], labels: np.ndarray, size: int = WINDOW) -> tuple[list[str], np.ndarray]:
    """Whole windows of lines, anomalous if one of them is."""
    starts = range(0, len(lines) - size + 1, size)
    return ["\n".join(lines[s : s + size]) for s in starts], np.array([labels[s : s + size].max() for s in starts])


def read_multilog(path: Path) -> Table:
    """The first node of each scenario; a scenario is a group."""
    table = pq.read_table(path, columns=["scenario", "node", "label", "line"], filters=[("node", "=", 1)])
    name = np.array(table["scenario"].to_pylist())
    is_anomalous = (table["label"].to_numpy() > 0).astype(np.int8)
    texts: list[str] = []
    labels, groups = [], []
    for scenario in dict.fromkeys(name.tolist()):
        rows = np.flatnonzero(name == scenario)
        windows, label = cut(table["line"].take(rows).to_pylist(), is_anomalous[rows])
        texts += windows
        labels.append(label)
        groups += [scenario] * len(windows)
    return Table(texts, np.concatenate(labels), np.arange(len(texts), dtype=np.float64), np.array(groups))


def read_lo2(path: Path) -> Table:
    """Windows of each service's log; their time is their place in it."""
    table = pq.read_table(path, columns=["log_sequence", "label"])
    texts: list[str] = []
    labels, times = [], []
    for log, label in zip(table["log_sequence"].to_pylist(), table["label"].to_numpy(), strict=True):
        lines = log.split("\n")
        windows, of_window = cut(lines, np.full(len(lines), label, np.int8))
        texts += windows
        labels.append(of_window)
        times.append((np.arange(len(windows)) + 1) / len(windows))
    return Table(texts, np.concatenate(labels), np.concatenate(times))


@dataclass(frozen=True)
class Log:
    """How a log is read and split.

    Attributes:
        file: its name without suffix.
        how: see `split_logs`; "random" or "group" is drawn anew for each seed.
        most: sequences, evenly chosen.
        embargo: sequences; None for the one of `train.py`.
        arguments: of `train.py`, beside the common ones.
    """

    file: str
    read: Callable[[Path], Table]
    how: str
    most: int
    embargo: int | None = None
    arguments: tuple[tuple[str, Any], ...] = (("max_sequence_length", WINDOW),)


LOGS = {
    # Sessions that several nodes interleave, of up to 75 entries.
    "HDFS": Log(
        "hdfs_2pct_raw", read_table, "chronological", 4_600, None, (("max_sequence_length", 80), ("order_jitter", 32))
    ),
    "BGL": Log("bgl_windows20", read_table, "chronological", 12_000),
    "Spirit": Log("spirit_windows20", read_table, "chronological", 3_000),
    "MultiLog": Log("multilog_iotdb_lines", read_multilog, "group", 3_000),
    "Hadoop": Log(
        "hadoop_containers_raw", partial(read_table, group="application"), "group", 1_000, None,
        (("max_sequence_length", 80),),
    ),
    "OpenStack": Log("openstack_kalaki_raw", read_table, "random", 2_000, None, (("max_sequence_length", 64),)),
    "LO2": Log("lo2_raw_labelled", read_lo2, "chronological", 2_500, 49),
}  # fmt: skip


def own_splits(store: LogStore) -> Splits:
    """The recordings' own: windows of some services."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {split: [] for split in corpus.SPLITS}
    for service in SERVICES:
        for run in read_runs(service, corpus.SPLITS):
            windows = list(run.windows())
            index = store.add_logs([window.entries for window in windows])
            found[run.split].append((index, np.array([window.label for window in windows], np.int8)))
    return Splits({split: labelled(*map(np.concatenate, zip(*runs, strict=True))) for split, runs in found.items()})


def labelled(
    index: np.ndarray, labels: np.ndarray, time: np.ndarray | None = None, group: np.ndarray | None = None
) -> LabelledLogs:
    """Distinct logs of the store, labelled, none of which overlap."""
    place = np.arange(len(index))
    return LabelledLogs(index, labels, place.astype(np.float64) if time is None else time, group, place, place)


def splits_of(log: Log, logs: LabelledLogs, draw: int) -> Splits:
    """The split of a draw; one without both labels in each part is drawn again."""
    for attempt in range(100):
        splits = split_logs(logs, SHARES, log.how, log.embargo, 100 * draw + attempt)
        if all(0 < part.labels.sum() < len(part) for part in splits.values()):
            return splits
        if log.how == "chronological":
            break
    raise ValueError(f"{log.file}: no split has both labels in each part; give a file with more of both")


# --- detectors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What a detector says of the test sequences.

    Attributes:
        scores: float64 `(sequences,)`, probabilities.
        threshold: from which on one is anomalous.
        fit, judge: seconds of the processor.
    """

    scores: np.ndarray
    threshold: float
    fit: float
    judge: float


class Bound:
    """The encoder of the built-in checkpoint as `train.py` takes one, and the arguments of a log."""

    def __init__(self, bench: Any, folder: Path, arguments: dict[str, Any], masked: bool):
        encoder, cache = folder / "encoder", bench.options.work / "embeddings"
        bench.pipe.model.model.encoder.save_pretrained(encoder)
        bench.pipe.processor.tokenizer.save_pretrained(encoder)
        common = {"encoder": encoder, "hide_severity": masked, "output_dir": folder / "run", "max_steps": STEPS}
        # No epoch is chosen and no checkpoint kept: few steps, the last of which counts.
        common |= {"per_device_train_batch_size": BATCH, "eval_strategy": "no", "save_strategy": "no"}
        common |= {"repeat_power": 0, "embedding_cache": cache}
        given = list(flags(SMALL | common | arguments))
        self.model, self.data, self.training = make_parser().parse_args_into_dataclasses(args=given)
        self.processor = train.new_processor(self.model, self.data)

    def new_model(self) -> LogMoEForSequenceClassification:
        """All above the encoder new."""
        return train.new_model(self.model, self.processor)


def by_logmoe(
    bound: Bound, splits: Splits, store: LogStore, embeds: torch.Tensor, seed: int, clock: Any
) -> Iterator[tuple[str, Judged]]:
    """LogMoE, trained on these labels, whole and by its stack alone; `embeds` `(entries, encoder_hidden)`."""
    begun = clock()
    set_seed(seed)
    bound.training.seed = seed
    model = bound.new_model()
    token_ids, _ = bound.processor.tokenize(store.texts)
    words = Words.fit(splits["train"], store, bound.processor, token_ids)
    train.prepare(model, embeds[train.training_entries(splits["train"], store)], None, words)
    collator = LogCollator(bound.processor, bound.processor.max_sequence_length)
    collator.embeds = with_words(embeds, model, bound.processor, token_ids)
    trainer = LogMoETrainer(
        model=model,
        args=bound.training,
        train_dataset=TrainingVisits(splits["train"], store, bound.data, seed),
        data_collator=collator,
        processing_class=bound.processor,
        callbacks=[TwoPhases(bound.model.dense_share)],
        stop=StopOnSignal(),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    fit = clock() - begun
    for name in (LOGMOE, STACK):
        begun = clock()
        figures, scores = train.calibrate_and_measure(trainer, splits, store, None)
        yield name, Judged(scores["test"], figures["threshold"], fit, clock() - begun)
        collator.embeds[:, -1] = 0  # what words add


def by_learner(fit: Any, features: Features, splits: Splits, seed: int, clock: Any) -> Judged:
    """A baseline of `train.py`."""
    begun = clock()
    score = fit(features, seed)
    threshold = best_threshold(splits["validation"].labels, score(splits["validation"].distinct_log))
    fitted = clock()
    return Judged(score(splits["test"].distinct_log), threshold, fitted - begun, clock() - fitted)


def by_rival(fit: Any, splits: Splits, store: LogStore, length: int, seed: int, clock: Any) -> Judged:
    """A detector that learns from normal training sequences alone."""
    begun = clock()
    normal = splits["train"].take(np.flatnonzero(splits["train"].labels == 0))
    distinct = np.unique(normal.distinct_log)
    chosen = np.random.default_rng(seed).permutation(distinct)[:MOST_NORMAL] if fit is next_entry else distinct
    known, entries = np.unique(np.concatenate([store.distinct_logs[row] for row in distinct])), len(store.entry_rows)
    column = np.full(entries, len(known))
    column[known] = np.arange(len(known))

    def windows(rows: np.ndarray) -> tuple[Windows, np.ndarray]:
        # As the model reads a log: in sequences, of which the most anomalous counts.
        pieces = [
            (place, column[store.distinct_logs[row]][start : start + length])
            for place, row in enumerate(rows)
            for start in range(0, len(store.distinct_logs[row]), length)
        ]
        template = pad_sequences([piece for _, piece in pieces])
        return Windows(template, template, [], len(known)), np.array([place for place, _ in pieces])

    score = fit(windows(np.sort(chosen))[0], seed)

    def of(name: str) -> np.ndarray:
        rows, inverse = np.unique(splits[name].distinct_log, return_inverse=True)
        cut_rows, owner = windows(rows)
        return most_anomalous(score(cut_rows), owner)[inverse]

    validation, labels = of("validation"), splits["validation"].labels
    temperature, offset = fit_calibration(labels, validation)
    probability = partial(anomaly_probability, temperature=temperature)
    threshold = best_threshold(labels, probability(validation + offset))
    fitted = clock()
    scores = probability(of("test") + offset)
    return Judged(scores, threshold, fitted - begun, clock() - fitted)


def unseen_sets(splits: Splits, store: LogStore) -> np.ndarray:
    """Which test sequences have a set of entries that no training sequence has, bool `(sequences,)`."""
    keys = [np.unique(rows).tobytes() for rows in store.distinct_logs]
    known = {keys[index] for index in splits["train"].distinct_log}
    return np.array([keys[index] not in known for index in splits["test"].distinct_log])


# --- measuring -------------------------------------------------------------------------------------------------------


def keys_of(names: list[str]) -> list[Key]:
    """The steps of some logs, first draws first."""
    return [
        {"log": name, "severity": severity, "draw": draw}
        for draw in range(DRAWS)
        for severity in SEVERITIES
        for name in names
    ]


def keys(options: Any) -> list[Key]:
    """Those of the public logs that are there."""
    if options.data is None:
        return []
    return keys_of([name for name, log in LOGS.items() if (options.data / f"{log.file}.parquet").exists()])


def detect(
    bound: Bound, splits: Splits, store: LogStore, embeds: torch.Tensor, draw: int, all_of_them: bool, clock: Any
) -> Iterator[tuple[str, Judged]]:
    """All detectors on one split; where it is that of the first draw, those alone that draw."""
    yield from by_logmoe(bound, splits, store, embeds, draw, clock)
    length = bound.processor.max_sequence_length
    begun = clock()
    features = Features(splits["train"], store)
    counted = clock() - begun
    for name, baseline in LEARNERS.items():
        if all_of_them or name.startswith("decision tree"):
            judged = by_learner(BASELINES[baseline], features, splits, draw, clock)
            yield name, Judged(judged.scores, judged.threshold, judged.fit + counted, judged.judge)
    if all_of_them:
        yield N_GRAMS, by_rival(n_grams, splits, store, length, draw, clock)
    if draw == 0:
        yield LSTM, by_rival(next_entry, splits, store, length, draw, clock)


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One draw of one log: all detectors."""
    log, draw, clock = LOGS.get(key["log"]), key["draw"], bench.processor_clock
    level = transformers_logging.get_verbosity()
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"max_sequence_length": 32} if log is None else dict(log.arguments)
        bound = Bound(bench, Path(folder), arguments, key["severity"] == "masked")
        transformers_logging.set_verbosity_error()
        store = LogStore(bound.processor)
        if log is None:
            splits = own_splits(store)
        else:
            table = log.read(bench.options.data / f"{log.file}.parquet").every(log.most)
            logs = labelled(store.add_logs(table.texts), table.labels, table.time, table.group)
            splits = splits_of(log, logs, draw)
        begun = clock()
        embeds = EmbeddingCache(new_predictor(bound), bound.model.embedding_cache).embeddings_of(store.texts)
        encoded = clock() - begun
        is_new = draw == 0 or (log is not None and log.how != "chronological")
        judged = dict(detect(bound, splits, store, embeds, draw, is_new, clock))
    transformers_logging.set_verbosity(level)
    how = "own" if log is None else log.how
    return {"how": how, "entries": len(store.entry_rows), "encode": encoded} | record_of(splits, store, judged), None


def new_predictor(bound: Bound) -> Any:
    """Runs the encoder."""
    pipe = train.LogAnomalyPipeline(bound.new_model().eval(), processor=bound.processor, device="cpu")
    return pipe.predictor


def record_of(splits: Splits, store: LogStore, judged: dict[str, Judged]) -> Record:
    """The figures of one draw."""
    labels, unseen = splits["test"].labels, unseen_sets(splits, store)
    detectors = {}
    for name, of in judged.items():
        slices = {"all": np.ones(len(labels), bool), "unseen": unseen}
        figures = {
            which: detection_metrics(labels[rows], of.scores[rows], of.threshold) for which, rows in slices.items()
        }
        detectors[name] = {which: {m: found[m] for m in METRICS} for which, found in figures.items()}
        detectors[name]["seconds"] = {"fit": of.fit, "judge": of.judge}
    scores = {name: of.scores for name, of in judged.items()}
    sizes = {name: len(part) for name, part in splits.items()}
    return {
        "sizes": sizes | {"embargoed": splits.embargoed},
        "anomalous": int(labels.sum()),
        "unseen": int(unseen.sum()),
        "unseen_anomalous": int(labels[unseen].sum()),
        "detectors": detectors,
        "logmoe_less": paired_intervals([(np.zeros(len(labels), int), labels, scores)], LOGMOE, replicates=200),
    }


def summarise(kept: Kept) -> Record:
    """By log and severity, means and spreads over draws; sizes and differences are those of the first draw."""
    rows = []
    for log, severity in dict.fromkeys((key["log"], key["severity"]) for key in kept.keys):
        draws = [kept.records[place] for place in kept.places(log=log, severity=severity)]
        detectors: Record = {}
        for name in draws[0]["detectors"]:
            found = [draw["detectors"][name] for draw in draws if name in draw["detectors"]]
            detectors[name] = {"draws": len(found)}
            for which in ("all", "unseen"):
                values = {m: np.array([[of[which][m] for of in found]], np.float64) for m in METRICS}
                detectors[name][which] = {m: mean_and_spread(value) for m, value in values.items()}
            for step in ("fit", "judge"):
                detectors[name][step] = float(np.mean([of["seconds"][step] for of in found]))
        first = {name: value for name, value in draws[0].items() if name != "detectors"}
        rows.append({"log": log, "severity": severity, "draws": len(draws)} | first | {"detectors": detectors})
    return {"rows": rows, "training_steps": STEPS, "batch": BATCH}


OWN_FILES = ("accuracy_labels.py", "accuracy_rivals.py", "accuracy_metrics.py", "detection.py", "../train.py")
TRAINING = ("baselines", "batches", "logs", "metrics", "splits", "trainer", "words")
FILES = OWN_FILES + tuple(f"../training/{name}.py" for name in TRAINING)

PARTS = (
    Part("labels_recorded", lambda options: keys_of([RECORDINGS]), measure, summarise, FILES),
    Part("labels", keys, measure, summarise, FILES, is_public=True),
)
