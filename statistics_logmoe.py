"""What was seen of logs while they were judged: counts, and how they were judged.

The scan keeps one of these while it runs and shows it to whoever asks how far it is. Findings take from it what they
say of a log as a whole.
"""

from dataclasses import dataclass


@dataclass
class ScanStatistics:
    """What a scan has seen so far.

    Attributes:
        source: the log that is being read.
        bytes_read, total_bytes: of that log, as stored; the total is None if unknown.
        lines, entries, sequences, anomalies: over all logs, of the results given out.
        highest_probability: of "anomaly", over all sequences so far.
        encoded_entries, predicted_sequences: how often the two halves of the model ran, over all logs.
        replaced_bytes: bytes that were not valid UTF-8 and became U+FFFD.
        truncated_entries: occurrences of entries that are longer than the model reads.
        oversized_entries: lines and entries too long to be kept whole.
        split_sessions: sessions that were judged before the end of their log, because too many were open.
        mode: how the log is judged: against a `"reference"`, its own other blocks (`"self"`), or by wording
            (`"none"`).
        measured_entries, familiar_entries: entries that were measured against a reference, and those of them whose
            template it knows, of that log.
        backward_entries: those of them that stand behind newer ones, see `TimeOrder`.
        faults_prevail: that log is judged by wording, for what stands out in it reads less like a fault than the rest.
        is_rerun: that log is another run of the healthy one, which it is compared with; nothing is promised.
        missing_kinds, first_missing: what it lacks, see `LogMeasure.missing`.
        healthy_entries: entries of the healthy logs that it is judged against, which are those of its kind, see
            `of_kind`; None where it is judged otherwise.
        promised_rate: share of their sequences that may be called anomalous, as it was asked for.
        kept_rate: the same as it can be promised: more where they are too few; None where nothing is promised.
        dtype: the precision that the model computes in.
        seconds: since the scan began.
    """

    source: str | None = None
    bytes_read: int = 0
    total_bytes: int | None = None
    lines: int = 0
    entries: int = 0
    sequences: int = 0
    anomalies: int = 0
    highest_probability: float = 0.0
    encoded_entries: int = 0
    predicted_sequences: int = 0
    replaced_bytes: int = 0
    truncated_entries: int = 0
    oversized_entries: int = 0
    split_sessions: int = 0
    mode: str = "none"
    measured_entries: int = 0
    familiar_entries: int = 0
    backward_entries: int = 0
    faults_prevail: bool = False
    is_rerun: bool = False
    missing_kinds: int = 0
    first_missing: str | None = None
    healthy_entries: int | None = None
    promised_rate: float | None = None
    kept_rate: float | None = None
    dtype: str = "float32"
    seconds: float = 0.0


__all__ = ["ScanStatistics"]
