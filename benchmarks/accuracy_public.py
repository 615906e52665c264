"""Public logs, for `accuracy.py --data FOLDER`: part `public`.

Files that are missing are named and skipped. Each is a Parquet file, chronological where its log has times:

| log | file | columns | what is judged | source |
|---|---|---|---|---|
| HDFS | `hdfs_2pct_raw` | `log_sequence`, `label` | sessions, raw: a block's each | Loghub, HDFS_v1 |
| BGL | `bgl_stream` | `line`, `window20_label` | windows of templates | Loghub, CFDR |
| Spirit | `spirit_stream` | `line`, `window20_label` | windows of templates | Loghub, CFDR |
| MultiLog | `multilog_iotdb_lines` | `scenario`, `node`, `label`, `line` | windows of raw lines of a node | MultiLog |
| OpenStack | `openstack_kalaki_raw` | `log_sequence`, `label` | sessions, raw: a machine's each | Kalaki et al. |
| Hadoop | `hadoop_containers_raw` | `log_sequence`, `label` | sessions, raw: a container's each | Loghub |

[Loghub](https://github.com/logpai/loghub) is free for research, [CFDR](https://www.usenix.org/cfdr) asks to be named;
[MultiLog](https://github.com/AIOps-LogDB/MultiLog-Dataset) (KDD 2024) and Kalaki's OpenStack logs state their terms
where they are published. None of them is part of this repository.

The rule is one for all. The reference is the healthy part of the first third, of lines or of sessions, and nothing
else of it; what is judged is the rest. Against itself the whole log is judged. Windows have 32 entries; a session's
score is that of its most anomalous sequence. Of a long log the first `MOST_LINES` lines of each third stand for that
third, each a log of its own. OpenStack's file has its normal machines first and no times: its sessions are shuffled
once. Of MultiLog the first node of each scenario counts whose first third has a reference's worth of healthy lines and
whose rest has both labels; every line within a fault's time is anomalous there. BGL and Spirit have labels for the
twenty lines that begin at each block of ten (`window20_label`): a window is anomalous if it holds such twenty, normal
if all its lines lie in normal ones, and else left out. Hadoop's labels are those of the whole application.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import accuracy_store
import numpy as np
import pyarrow.parquet as pq
from accuracy_detectors import LOGMOE, RememberingPipeline, fit_reference, score, stretches_of
from accuracy_metrics import paired_intervals
from accuracy_rivals import RIVALS, SLOW
from accuracy_store import Arrays, Kept, Key, Record
from sklearn.ensemble import HistGradientBoostingClassifier

from logmoe.applying_logmoe import FEW_REFERENCE_ENTRIES, PreparedLog
from logmoe.fitting_logmoe import with_places
from logmoe.folds_logmoe import OWN_FOLDS
from logmoe.parsing_logmoe import ParsedLog
from logmoe.sequences_logmoe import SequenceCutter, SequenceRule, count_windows
from logmoe.training.metrics import auroc

MOST_LINES = 400_000
"""Lines of each third of a log."""
BLOCK = 10
"""Lines of a block; the label of a window of twenty lines stands at each."""
MULTILOG_LINES = 10_000
"""Lines of each node in each scenario."""
# Which entries belong together is known: no pattern finds it. It says that sequences are sessions.
GATHERED = "session"

# Labels int8 `(sequences,)` of sequences by their first and last lines, counted from 0; -1 where undecided.
Labeller = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Part:
    """What is judged as one log.

    Attributes:
        log: its entries and sequences.
        labels: int8 `(sequences,)`, -1 where undecided.
        session: int64 `(sequences,)`; the sequences of a session are judged as one.
    """

    log: PreparedLog
    labels: np.ndarray
    session: np.ndarray


@dataclass
class PublicLog:
    """One log, cut.

    Attributes:
        healthy: entries, and sequences of what is healthy in the first third.
        rest: the other two thirds.
        whole: all of it.
    """

    rule: SequenceRule
    healthy: tuple[ParsedLog, list[np.ndarray]]
    rest: list[Part]
    whole: list[Part]


# --- labels ----------------------------------------------------------------------------------------------------------


def label_by_lines(is_anomalous: np.ndarray) -> Labeller:
    """A sequence is anomalous if one of its lines is; bool `(lines,)`."""
    before = np.concatenate([[0], np.cumsum(is_anomalous)])
    return lambda first, last: (before[last + 1] > before[first]).astype(np.int8)


def normal_blocks(label: np.ndarray) -> np.ndarray:
    """Which blocks lie in a normal window, bool `(blocks,)`.

    Args:
        label: `(blocks,)`, of the window that each block and the next one make up.
    """
    is_normal = label == 0
    return is_normal | np.concatenate([[False], is_normal[:-1]])


def label_by_blocks(label: np.ndarray) -> Labeller:
    """By the labels of windows of two blocks, see `normal_blocks`; -1 where these do not tell."""
    anomalous_before = np.concatenate([[0], np.cumsum(label == 1)])
    unclear_before = np.concatenate([[0], np.cumsum(~normal_blocks(label))])

    def labels(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        # The windows that lie within: from the first block that begins there to the last but one that ends there.
        start, stop = -(-first // BLOCK), np.minimum((last + 1) // BLOCK - 1, len(label))
        is_anomalous = anomalous_before[np.maximum(start, stop)] > anomalous_before[start]
        is_unclear = unclear_before[last // BLOCK + 1] > unclear_before[first // BLOCK]
        return np.where(is_anomalous, 1, np.where(is_unclear, -1, 0)).astype(np.int8)

    return labels


# --- logs by lines ---------------------------------------------------------------------------------------------------


def cut_lines(pipe: RememberingPipeline, lines: list[str], label: Labeller) -> Part:
    """A log in windows."""
    rule = pipe._rule(pipe.processor)
    parsed = pipe.processor.parse(lines)
    sequences = SequenceCutter(rule, pipe.processor).cut(parsed)
    first, last = (np.array([sequence[place] for sequence in sequences]) for place in (0, -1))
    labels = label(parsed.first_line[first] - 1, parsed.last_line[last] - 1)
    return Part(PreparedLog(parsed, sequences, rule), labels, np.arange(len(sequences)))


def healthy_windows(
    pipe: RememberingPipeline, parsed: ParsedLog, is_healthy: np.ndarray
) -> tuple[ParsedLog, list[np.ndarray]]:
    """The healthy entries of a log, and windows of them that no other entry stands in.

    Args:
        is_healthy: bool `(lines,)`.
    """
    bad_before = np.concatenate([[0], np.cumsum(~is_healthy)])
    is_kept = bad_before[parsed.last_line] == bad_before[parsed.first_line - 1]
    rule = pipe._rule(pipe.processor)
    windows = [window for stretch in stretches_of(is_kept) for window in count_windows(stretch, rule)[0]]
    return with_places(parsed, pipe.processor), windows


def read_stream(pipe: RememberingPipeline, path: Path, most_lines: int) -> Iterator[PublicLog]:
    """BGL and Spirit."""
    table = pq.read_table(path, columns=["line", "window20_label"])
    third = len(table) // 3 // BLOCK * BLOCK
    size = min(most_lines, third) // BLOCK * BLOCK
    parts: list[Part] = []
    is_healthy = np.empty(0, bool)
    for start in (0, third, 2 * third):
        piece = table.slice(start, size)
        label = piece["window20_label"].to_numpy()[::BLOCK]
        if not parts:
            is_healthy = np.repeat(normal_blocks(label), BLOCK)
        parts.append(cut_lines(pipe, piece["line"].to_pylist(), label_by_blocks(label)))
    healthy = healthy_windows(pipe, parts[0].log.parsed, is_healthy)
    yield PublicLog(parts[0].log.rule, healthy, parts[1:], parts)


def read_multilog(pipe: RememberingPipeline, path: Path, most_lines: int) -> Iterator[PublicLog]:
    """One node of each scenario."""
    table = pq.read_table(path, columns=["scenario", "node", "label", "line"])
    name = table["scenario"].combine_chunks().dictionary_encode()
    scenario, node = name.indices.to_numpy(), table["node"].to_numpy()
    is_anomalous = table["label"].to_numpy() > 0
    most = max(1, most_lines // MULTILOG_LINES)
    for number in range(min(most, len(name.dictionary))):
        for of_node in np.unique(node):
            rows = np.flatnonzero((scenario == number) & (node == of_node))
            bad, third = is_anomalous[rows], len(rows) // 3
            if (~bad[:third]).sum() < FEW_REFERENCE_ENTRIES or bad[third:].all() or not bad[third:].any():
                continue
            lines = table["line"].take(rows).to_pylist()
            first = pipe.processor.parse(lines[:third])
            rest = cut_lines(pipe, lines[third:], label_by_lines(bad[third:]))
            whole = cut_lines(pipe, lines, label_by_lines(bad))
            yield PublicLog(rest.log.rule, healthy_windows(pipe, first, ~bad[:third]), [rest], [whole])
            break


# --- logs by sessions ------------------------------------------------------------------------------------------------


def cut_sessions(pipe: RememberingPipeline, sessions: Sequence[str], labels: np.ndarray) -> Part:
    """A log of sessions, one after the other, each cut by itself."""
    rule = pipe.processor.sequence_rule(session_pattern=GATHERED)
    parsed, offsets = pipe.processor.parse_batch(list(sessions))
    sequences: list[np.ndarray] = []
    owners: list[int] = []
    for owner in range(len(sessions)):
        windows, _ = count_windows(np.arange(offsets[owner], offsets[owner + 1]), rule)
        sequences += windows
        owners += [owner] * len(windows)
    session = np.array(owners)
    return Part(PreparedLog(parsed, sequences, rule), labels[session].astype(np.int8), session)


def read_sessions(
    pipe: RememberingPipeline, path: Path, most_lines: int, order: Callable[[list[str]], np.ndarray] | None = None
) -> Iterator[PublicLog]:
    """HDFS, OpenStack, Hadoop.

    Args:
        order: of the sessions, if it is not that of the file.
    """
    table = pq.read_table(path, columns=["log_sequence", "label"])
    texts, labels = table["log_sequence"].to_pylist(), table["label"].to_numpy()
    if order is not None:
        chosen = order(texts)
        texts, labels = [texts[row] for row in chosen], labels[chosen]
    third = len(texts) // 3
    number = np.array([text.count("\n") + 1 for text in texts])
    thirds = [np.arange(0, third), np.arange(third, 2 * third), np.arange(2 * third, len(texts))]
    thirds = [rows[number[rows].cumsum() <= most_lines] for rows in thirds]
    healthy_rows = thirds[0][labels[thirds[0]] == 0]
    if not len(healthy_rows):
        raise ValueError(f"the first third of {path.name} has no healthy session: give more --most_lines")

    def cut(rows: np.ndarray) -> Part:
        return cut_sessions(pipe, [texts[row] for row in rows], labels[rows])

    healthy = cut(healthy_rows).log
    rest, whole = cut(np.concatenate(thirds[1:])), cut(np.concatenate(thirds))
    places = with_places(healthy.parsed, pipe.processor)
    yield PublicLog(healthy.rule, (places, healthy.sequences), [rest], [whole])


def shuffled(texts: list[str]) -> np.ndarray:
    """A random order."""
    return np.random.default_rng(0).permutation(len(texts))


def by_time(texts: list[str]) -> np.ndarray:
    """By what texts begin with, an ISO time."""
    return np.argsort([text[:23] for text in texts], kind="stable")


# --- all of them -----------------------------------------------------------------------------------------------------

Reader = Callable[[RememberingPipeline, Path, int], Iterator[PublicLog]]

LOGS: dict[str, tuple[str, Reader]] = {
    "HDFS": ("hdfs_2pct_raw.parquet", read_sessions),
    "BGL": ("bgl_stream.parquet", read_stream),
    "Spirit": ("spirit_stream.parquet", read_stream),
    "MultiLog": ("multilog_iotdb_lines.parquet", read_multilog),
    "OpenStack": ("openstack_kalaki_raw.parquet", partial(read_sessions, order=shuffled)),
    "Hadoop": ("hadoop_containers_raw.parquet", partial(read_sessions, order=by_time)),
}


def most_anomalous(values: np.ndarray, session: np.ndarray) -> np.ndarray:
    """The largest value of each session, in the order of their numbers."""
    order = np.argsort(session, kind="stable")
    return np.maximum.reduceat(values[order], np.flatnonzero(np.diff(session[order], prepend=-1)))


def judge_log(
    pipe: RememberingPipeline, log: PublicLog, kind: str, boosting: HistGradientBoostingClassifier | None
) -> dict[str, np.ndarray]:
    """Of what is judged the scores by detector, `label` and `is_called`; what is undecided is left out.

    The slow rivals are left out of logs that are judged by themselves, whose blocks are each fitted anew.
    """
    is_self, has_sessions = kind == "self", log.rule.session_pattern is not None
    reference = None if is_self else fit_reference(pipe, log.rule, [log.healthy])
    rivals = [name for name in RIVALS if not is_self or name not in SLOW]
    found: list[dict[str, np.ndarray]] = []
    for part in log.whole if is_self else log.rest:
        given = reference
        if is_self and has_sessions:
            placed = with_places(part.log.parsed, pipe.processor)
            given = fit_reference(pipe, log.rule, [(placed, part.log.sequences)])
            given.folds = OWN_FOLDS
        scored = score(pipe, part.log, given, kind, boosting, 0, rivals, with_thresholds=False)
        columns = scored.scores | {"label": part.labels, "is_called": scored.is_called}
        columns = {name: most_anomalous(column, part.session) for name, column in columns.items()}
        found.append({name: column[columns["label"] >= 0] for name, column in columns.items()})
    return {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}


def record_of(logs: Sequence[dict[str, np.ndarray]]) -> Record:
    """What is measured of some logs, all scores together."""
    judged = {name: np.concatenate([columns[name] for columns in logs]) for name in logs[0]}
    label, is_called = judged.pop("label"), judged.pop("is_called").astype(bool)
    record: dict[str, Any] = {"logs": len(logs), "judged": len(label), "anomalous": float(label.mean())}
    record["auroc"] = {name: auroc(label, scores) for name, scores in judged.items()}
    if len(logs) > 1:
        of_each = [auroc(columns["label"], columns[LOGMOE]) for columns in logs]
        record["auroc_of_each_log"] = float(np.mean(of_each))
    record["found"] = float(is_called[label == 1].mean())
    record["called_normal"] = float(is_called[label == 0].mean())
    record["logmoe_less"] = paired_intervals([(np.zeros(len(label), int), label, judged)], LOGMOE, replicates=200)
    return record


def keys(options: Any) -> list[Key]:
    """A step for each log that is there, and what it is judged against."""
    if options.data is None:
        return []
    for name, (file, _) in LOGS.items():
        if not (options.data / file).exists():
            print(f"{name} is skipped: there is no {file} in {options.data}", file=sys.stderr)
    there = [name for name, (file, _) in LOGS.items() if (options.data / file).exists()]
    return [
        {"log": name, "reference": kind, "most_lines": options.most_lines}
        for name in there
        for kind in ("reference", "self")
    ]


def measure(bench: Any, key: Key) -> tuple[Record, Arrays | None]:
    """One public log, judged in one way."""
    file, read = LOGS[key["log"]]
    bench.pipe.forget()
    logs = read(bench.pipe, bench.options.data / file, key["most_lines"])
    boosting = bench.boosting.without("")
    return record_of([judge_log(bench.pipe, log, key["reference"], boosting) for log in logs]), None


def summarise(kept: Kept) -> Record:
    """All rows."""
    return {"rows": [key | record for key, record in zip(kept.keys, kept.records, strict=True)]}


PARTS = (
    accuracy_store.Part(
        "public",
        keys,
        measure,
        summarise,
        ("accuracy_detectors.py", "accuracy_rivals.py", "accuracy_public.py"),
        is_public=True,
        with_boosting=True,
    ),
)

__all__ = [
    "LOGS",
    "MOST_LINES",
    "PARTS",
    "label_by_blocks",
    "label_by_lines",
    "most_anomalous",
    "normal_blocks",
]
