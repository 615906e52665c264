"""Judges a PostgreSQL log that the built-in model has never seen, and says how often it was right: `make demo`."""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline, main, visible
from logmoe.rules_logmoe import ALARM_PATTERN

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "examples" / "postgresql.log"
RECORDING = "postgresql-debian-109"
SHOWN = 5
ALARM = re.compile(ALARM_PATTERN)


def line_labels() -> np.ndarray:
    """Which lines of the log a fault caused, `(lines,)` of 0 and 1."""
    table = pq.read_table(ROOT / "recordings" / "data" / "postgresql" / "test.parquet", columns=["recording", "label"])
    return table.filter(pc.equal(table["recording"], RECORDING))["label"].to_numpy()


def precision_recall(detected: np.ndarray, truth: np.ndarray) -> str:
    """One row of the table."""
    hits = (detected & truth).sum()
    precision, recall = hits / max(detected.sum(), 1), hits / truth.sum()
    f1 = 2 * hits / (detected.sum() + truth.sum())
    return f"{precision:9.2f}  {recall:6.2f}  {f1:4.2f}"


def demo() -> int:
    pipe = load_pipeline(DEFAULT_CHECKPOINT)
    result = pipe(LOG.read_text(encoding="utf-8"))
    sequences = result["sequences"]
    labels = line_labels()

    print(f"{LOG.relative_to(ROOT)}: a real PostgreSQL server under faults; {len(labels)} lines, ", end="")
    print(f"{len(sequences)} sequences of up to {pipe.processor.max_sequence_length} entries")
    print(f"\nThe {SHOWN} most anomalous sequences, each with its two most telling lines:")
    anomalous = [sequence for sequence in sequences if sequence["label"] == "anomaly"]
    surest = sorted(anomalous, key=lambda sequence: -sequence["score"])[:SHOWN]
    for sequence in sorted(surest, key=lambda sequence: sequence["first_line"]):
        print(f"\n  lines {sequence['first_line']}-{sequence['last_line']}: anomaly {sequence['score']:.3f}")
        for entry in sorted(sequence["entries"], key=lambda entry: -entry["score"])[:2]:
            cause = "caused by a fault" if labels[entry["line"] - 1] else "ordinary"
            text = visible(entry["text"].split("\n", 1)[0].expandtabs())
            print(f"  {entry['line']:>6} {entry['score']:+6.2f}  {text[:100]}  [{cause}]")

    truth = np.array([labels[s["first_line"] - 1 : s["last_line"]].any() for s in sequences])
    said = np.array([s["label"] == "anomaly" for s in sequences])
    words = np.array([any(ALARM.search(e["text"]) for e in s["entries"]) for s in sequences])
    print(f"\nWhich of the {len(sequences)} sequences contain a line that a fault caused? ({truth.sum()} do)\n")
    print("                         precision  recall    F1")
    print(f"  LogMoE                 {precision_recall(said, truth)}")
    print(f"  a severity word        {precision_recall(words, truth)}")
    print(f"  always anomalous       {precision_recall(np.ones_like(truth), truth)}")
    top = np.array([labels[max(s["entries"], key=lambda e: e["score"])["line"] - 1] for s in sequences], dtype=bool)
    print(
        f"\nIn {top[said & truth].mean():.0%} of the sequences found, a fault caused the line with the highest score."
    )

    print("\nThe original guide's four examples, from an application that the model knows nothing about:")
    return main([])


if __name__ == "__main__":
    sys.exit(demo())
