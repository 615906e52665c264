"""Judges a PostgreSQL log that the shipped model never saw, and says how often it was right: `make demo`."""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logmoe.inference import DEFAULT_CHECKPOINT, load_pipeline, main, visible

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "examples" / "postgresql.log"
RECORDING = "postgresql-debian-109"
SHOWN = 5
SEVERITY = re.compile(r"\b(?:WARNING|ERROR|FATAL|PANIC)\b")


def line_labels() -> np.ndarray:
    """`(lines,)`: 1 where a fault caused the line of the log."""
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
    print(f"\nThe {SHOWN} most anomalous sequences, each with the two lines that speak most for an anomaly:")
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
    words = np.array([any(SEVERITY.search(e["text"]) for e in s["entries"]) for s in sequences])
    print(f"\nWhich of the {len(sequences)} sequences hold a line that a fault caused? ({truth.sum()} do)\n")
    print("                         precision  recall    F1")
    print(f"  LogMoE                 {precision_recall(said, truth)}")
    print(f"  a severity word        {precision_recall(words, truth)}")
    print(f"  always anomalous       {precision_recall(np.ones_like(truth), truth)}")
    top = np.array([labels[max(s["entries"], key=lambda e: e["score"])["line"] - 1] for s in sequences], dtype=bool)
    print(
        f"\nIn {top[said & truth].mean():.0%} of the sequences found, the line with the highest score is such a line."
    )

    print("\nThe original guide's four examples, of an application that the model knows nothing of:")
    return main([])


if __name__ == "__main__":
    sys.exit(demo())
