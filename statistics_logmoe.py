"""What was seen of logs while they were judged: counts, and how they were judged.

The scan keeps one of these while it runs and shows it to whoever asks how far it is. Findings take from it what they
say of a log as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .silences_logmoe import Silence


@dataclass
class HowJudged:
    """How a log is judged.

    Attributes:
        mode: against a `"reference"`, its own other blocks (`"self"`), or by wording (`"none"`).
        measured_entries, familiar_entries: entries that were measured against a reference, and those of them whose
            template it knows.
        backward_entries: those of them that stand behind newer ones, see `TimeOrder`.
        faults_prevail: it is judged by wording, for what stands out in it reads less like a fault than the rest.
        is_rerun: it is another run of the healthy one, which it is compared with; nothing is promised.
        missing_kinds, first_missing: what it lacks, see `LogMeasure.missing`.
        healthy_entries: entries of the healthy logs that it is judged against, which are those of its kind, see
            `of_kind`; None where it is judged otherwise.
        promised_rate: share of their sequences that may be called anomalous, as it was asked for.
        kept_rate: the same as it can be promised: more where they are too few; None where nothing is promised.
        services: that wrote it, and were judged each for itself, what is of none of them as one; 1 where they are not
            told apart.
        silent: services that write throughout the healthy logs and have fallen silent.
    """

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
    services: int = 1
    silent: tuple[Silence, ...] = ()

    @property
    def familiarity(self) -> float | None:
        """Share of its entries that the healthy log knows; None where it is judged otherwise."""
        is_compared = self.mode == "reference" and self.measured_entries > 0
        return self.familiar_entries / self.measured_entries if is_compared else None

    @classmethod
    def together(cls, parts: "Sequence[HowJudged]", most: int | None = None) -> "HowJudged":
        """How a log is judged whose services are judged so, each for itself.

        Args:
            most: entries of the reference: what is of no service in it counts as judged by all of it.
        """
        measured = [part for part in parts if part.mode != "none"]
        if not measured:
            return cls(faults_prevail=any(part.faults_prevail for part in parts), services=len(parts))
        begun = [part for part in measured if part.measured_entries]
        is_rerun = bool(begun) and all(part.is_rerun for part in begun)
        # Another run is promised nothing, and does not count beside what is none.
        rates = [part.kept_rate for part in begun if is_rerun or not part.is_rerun]
        healthy = [part.healthy_entries for part in measured if part.healthy_entries is not None]
        return cls(
            mode=measured[0].mode,
            measured_entries=sum(part.measured_entries for part in parts),
            familiar_entries=sum(part.familiar_entries for part in parts),
            backward_entries=sum(part.backward_entries for part in parts),
            faults_prevail=any(part.faults_prevail for part in parts),
            is_rerun=is_rerun,
            missing_kinds=sum(part.missing_kinds for part in parts),
            first_missing=next((part.first_missing for part in parts if part.first_missing is not None), None),
            healthy_entries=min(sum(healthy), most or sum(healthy)) if healthy else None,
            promised_rate=max((part.promised_rate for part in parts if part.promised_rate is not None), default=None),
            kept_rate=None if None in rates else max((rate for rate in rates if rate is not None), default=None),
            services=len(parts),
        )


@dataclass
class ScanStatistics(HowJudged):
    """What a scan has seen so far; of the log that is being read, how it is judged.

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
    dtype: str = "float32"
    seconds: float = 0.0

    def say(self, how: HowJudged) -> None:
        """Takes over how the log is judged that is being read."""
        vars(self).update(vars(how))

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds to counts over all logs."""
        for name, value in counts.items():
            setattr(self, name, getattr(self, name) + value)


__all__ = ["HowJudged", "ScanStatistics"]
