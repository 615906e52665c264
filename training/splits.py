"""Splits labelled logs into training, validation and test data, without leaks between them.

`train.py` calls `read_splits` with its arguments and gets `Splits`; `split_facts` describes them for `split.json` and
the model card.
"""

import hashlib
from typing import Any

import numpy as np

from logmoe.training.arguments import DataArguments
from logmoe.training.logs import LabelledLogs, LogStore
from logmoe.training.sources import SourceReader

NAMES = ("train", "validation", "test")


class Splits(dict[str, LabelledLogs]):
    """The logs of each split by its name, and how many logs were left out between the splits."""

    def __init__(self, logs: dict[str, LabelledLogs], embargoed: int = 0):
        super().__init__(logs)
        self.embargoed = embargoed

    def unseen(self, name: str) -> np.ndarray:
        """Bool `(logs,)`: which logs of a split do not occur in training once masked."""
        return ~np.isin(self[name].distinct_log, self["train"].distinct_log)


def read_splits(args: DataArguments, store: LogStore) -> Splits:
    """Reads the splits that are given, and splits the others off the training data."""
    if (args.train_file is None) == (args.dataset_name is None):
        raise ValueError("Give either `--train_file` or `--dataset_name`.")
    reader = SourceReader(args, store)
    given = {}
    for name in NAMES:
        files, dataset_split = getattr(args, f"{name}_file"), getattr(args, f"dataset_{name}_split")
        if files:
            given[name] = reader.read_files(files)
        elif args.dataset_name is not None and dataset_split is not None:
            given[name] = reader.read_dataset(args.dataset_name, args.dataset_config_name, dataset_split)
    shares = {name: getattr(args, f"{name}_share") for name in NAMES[1:] if name not in given}
    splits = split_logs(given.pop("train"), shares, args.split, args.embargo, args.split_seed)
    logs = splits | given
    return Splits({name: logs[name] for name in NAMES if name in logs}, splits.embargoed)


def split_logs(
    logs: LabelledLogs,
    shares: dict[str, float],
    how: str = "chronological",
    embargo: int | None = None,
    seed: int = 0,
) -> Splits:
    """Splits labelled logs into training data and what `shares` names.

    Args:
        logs: all of them.
        shares: of the splits besides "train", in order of time, for example `{"validation": 0.1, "test": 0.2}`.
        how: "chronological": the earliest logs are for training, the last split is the latest; "random"; "group": all
            logs of a group are in one split.
        embargo: chronological only: leave out this many of the latest logs of each split but the last. By default 1%
            of the logs, at most 32. Logs that share lines with a later split are always left out.
        seed: of the random and the group split.

    Raises:
        ValueError: shares that leave nothing, no groups, or an unknown `how`.
    """
    number = len(logs)
    if not all(0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ValueError(f"The shares must be in [0, 1) and leave something for training, got {shares}.")
    shares = {name: share for name, share in shares.items() if share > 0}
    generator = np.random.default_rng(seed)
    if embargo is not None and (embargo < 0 or how != "chronological"):
        raise ValueError(
            f"`--embargo` must be at least 0 and needs `--split chronological`, got {embargo} and `--split {how}`."
        )
    if how == "group":
        return Splits(_split_by_group(logs, shares, generator))
    if how == "random":
        by_place = logs.first.argsort(kind="stable")
        if (logs.last > logs.first).any() and (logs.last[by_place][:-1] >= logs.first[by_place][1:]).any():
            raise ValueError(
                "`--split random` would put windows that share lines into different splits: leave out `--stride`, or "
                "use `--split chronological` or `--split group`."
            )
        order = generator.permutation(number)
    elif how == "chronological":
        order = logs.time.argsort(kind="stable")
    else:
        raise ValueError(f"`--split` must be chronological, random or group, got {how!r}.")
    names = ["train", *shares]
    sizes = [max(1, round(share * number)) for share in shares.values()]
    ends = np.append(number - np.cumsum(sizes[::-1])[::-1], number).astype(int)
    if ends[0] < 1:
        raise ValueError(f"{number} logs are too few to split off {shares}.")
    pieces = np.split(order, ends[:-1])
    if how == "random":
        return Splits({name: logs.take(np.sort(piece)) for name, piece in zip(names, pieces, strict=True)})
    embargo = min(32, number // 100) if embargo is None else embargo
    splits = {}
    for row, (name, piece) in enumerate(zip(names, pieces, strict=True)):
        if row + 1 < len(pieces):
            piece = piece[: max(len(piece) - embargo, 0)]
            piece = piece[~shares_lines(logs, piece, np.concatenate(pieces[row + 1 :]))]
        if not len(piece):
            raise ValueError(f"No {name} logs are left after an embargo of {embargo} logs: `--embargo` sets it.")
        splits[name] = logs.take(piece)
    return Splits(splits, number - sum(map(len, splits.values())))


def shares_lines(logs: LabelledLogs, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bool `(some,)`: which of some windows have a position in common with one of the others."""
    ends = np.zeros(int(logs.last.max()) + 2, dtype=np.int64)
    np.add.at(ends, logs.first[others], 1)
    np.add.at(ends, logs.last[others] + 1, -1)
    covered = np.append(0, (ends.cumsum() > 0).cumsum())
    shares = covered[logs.last[some] + 1] > covered[logs.first[some]]
    # A log that covers a single position is a session, or has a row of its own: no other log contains it.
    return shares & (logs.last[some] > logs.first[some])


def _split_by_group(
    logs: LabelledLogs, shares: dict[str, float], generator: np.random.Generator
) -> dict[str, LabelledLogs]:
    if logs.group is None:
        raise ValueError("`--split group` needs `--group_column`.")
    groups = generator.permutation(np.unique(logs.group.astype(str)))
    sizes = [max(1, round(share * len(groups))) for share in shares.values()]
    if sum(sizes) >= len(groups):
        raise ValueError(f"{len(groups)} groups are too few to split off {shares}.")
    pieces = np.split(groups, np.cumsum(sizes))
    splits = {"train": pieces[-1]} | dict(zip(shares, pieces[:-1], strict=True))
    return {name: logs.take(np.flatnonzero(np.isin(logs.group.astype(str), piece))) for name, piece in splits.items()}


def require_both_labels(splits: Splits) -> None:
    """
    Raises:
        ValueError: a split without anomalies or without normal logs: it could teach or measure nothing.
    """
    uniform = {name: logs.labels[0] for name, logs in splits.items() if logs.labels.min() == logs.labels.max()}
    if not uniform:
        return
    name, label = next(iter(uniform.items()))
    found = ", ".join(f"{name} {logs.labels.sum()} of {len(logs)}" for name, logs in splits.items())
    problem = f"one label only: all logs are {'anomalous' if label else 'normal'} (anomalous are {found})"
    if len(uniform) == len(splits) and len(set(uniform.values())) == 1:
        raise ValueError(f"The data have {problem}, and training needs both.")
    raise ValueError(
        f"The {name} split has {problem}. Give a file for it, another share (`--validation_share`, `--test_share`), "
        "`--split random` or `--split group`."
    )


# ---------------------------------------------------------------------- what the splits hold


def split_facts(splits: Splits, store: LogStore) -> dict[str, Any]:
    """What `split.json` says: the size of each split, and how much of it already occurs in training."""
    facts: dict[str, Any] = {"embargoed_logs": splits.embargoed, "distinct_entries": len(store.entry_rows)}
    lengths = np.array([len(rows) for rows in store.distinct_logs])
    for name, logs in splits.items():
        facts[name] = {
            "logs": len(logs),
            "anomalous_logs": int(logs.labels.sum()),
            "anomaly_rate": float(logs.labels.mean()),
            "distinct_logs": len(np.unique(logs.distinct_log)),
            "entries": int(lengths[logs.distinct_log].sum()),
            "longer_than_a_sequence": int((lengths[logs.distinct_log] > store.processor.max_sequence_length).sum()),
            "digest": _digest(logs, store),
        }
        if name != "train":
            unseen = splits.unseen(name)
            facts[name]["logs_seen_in_training"] = int((~unseen).sum())
            facts[name]["logs_unseen_in_training"] = int(unseen.sum())
            facts[name]["anomalous_logs_unseen_in_training"] = int(logs.labels[unseen].sum())
    return facts


def _digest(logs: LabelledLogs, store: LogStore) -> str:
    """Changes when a log, a label or their order does."""
    digest = hashlib.blake2b("\0".join(store.texts).encode(), digest_size=8)
    distinct, inverse = np.unique(logs.distinct_log, return_inverse=True)
    for index in distinct:
        digest.update(store.distinct_logs[index].tobytes() + b"\0")
    digest.update(inverse.tobytes() + logs.labels.tobytes())
    return digest.hexdigest()


def facts_in_words(facts: dict[str, Any]) -> str:
    """The facts as lines of the training log."""
    lines = []
    for name in (name for name in NAMES if name in facts):
        line = "{logs} logs, {anomaly_rate:.2%} anomalous, {distinct_logs} distinct"
        if name != "train":
            line += "; {logs_seen_in_training} occur in training, {logs_unseen_in_training} do not"
        lines.append(f"{name}: {line.format(**facts[name])}")
    last = "{distinct_entries} distinct entries; {embargoed_logs} logs left out between the splits"
    return "\n".join([*lines, last.format(**facts)])
