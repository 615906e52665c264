"""References fitted and applied: what the pipeline does with healthy logs.

`predict_measured` judges a log in memory against a reference or its own other blocks, by the same steps as the scan.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from .fitting_logmoe import ReferenceFit, most_of_own, origin_of, read_entries, with_places
from .judging_logmoe import Evidence, Judge, Prediction
from .kinds_logmoe import KindCount, has_kinds, of_kind
from .measuring_logmoe import LogMeasure
from .parsing_logmoe import ParsedLog, is_in_memory, longer_than
from .predicting_logmoe import Predictor
from .processing_logmoe import LogMoEProcessor
from .reading_logmoe import CHUNK_BYTES, DamagedLogError, EmptyLogError, find_logs
from .reference_logmoe import MAX_REFERENCE_ENTRIES, LogReference
from .rerun_logmoe import Beginning
from .sequences_logmoe import SequenceCutter, SequenceRule
from .services_logmoe import AHEAD_ENTRIES, REST, ServiceCount, ServiceParts, Services, Writer
from .silences_logmoe import SilenceWatch
from .sources_logmoe import Repeats, is_readable_twice, visible
from .statistics_logmoe import HowJudged
from .surprise_logmoe import ENTRY_FEATURES, measures_surprise
from .suspects_logmoe import Suspects
from .weighing_logmoe import FALSE_ALARM_RATE, Against

logger = logging.get_logger(__name__)

# What `reference` says for the log itself, whatever is stored with the checkpoint.
SELF = "self"
# With fewer entries a reference misses much of what is normal.
FEW_REFERENCE_ENTRIES = 500


def warn_of_few(reference: LogReference) -> None:
    """Warns if a reference knows little."""
    if reference.num_entries < FEW_REFERENCE_ENTRIES:
        logger.warning(
            f"A reference of {reference.num_entries} entries misses much of what is normal for a service: what is new "
            f"to it counts as odd. {FEW_REFERENCE_ENTRIES} entries or more, a day's log if possible, serve better; "
            "for a job, a whole run is enough."
        )


def warn_of_order(name: str, said: str | None) -> None:
    """Warns if a healthy log is not in the order of time; `said` is what its fit returns."""
    if said is not None:
        logger.warning(f"{name}: {said}")


def warn_of_repeat(source: Any, repeats: Repeats) -> bool:
    """Warns of a healthy log, or a saved reference, that came before; returns whether it did."""
    if said := repeats.of(source):
        logger.warning(f"skipping {visible(source)}: {said}")
    return said is not None


@dataclass
class PreparedLog:
    """One log on its way to the model: its entries, and the sequences they were cut into."""

    parsed: ParsedLog
    sequences: list[np.ndarray]  # positions of entries
    rule: SequenceRule
    writer: Writer | None = None  # where the services of a log are told apart
    ahead: int | None = None  # its first entries, that may tell how it is judged; None for all
    most: int = MAX_REFERENCE_ENTRIES  # entries that are kept of it where it is judged by itself


@dataclass
class PredictedLog:
    """One log on its way back, with a prediction for each sequence.

    Attributes:
        is_truncated: bool `(entries,)`.
        suspects: gathers them when they are asked for, which calls of the pipeline never do; takes those that others
            have gathered.
        parts: of a log that is judged service by service what each wrote; then nothing is predicted of the whole.
    """

    prepared: PreparedLog
    predictions: list[Prediction]
    is_truncated: np.ndarray
    evidence: Evidence | None = None
    how: HowJudged = field(default_factory=HowJudged)
    suspects: Callable[[Suspects | None], Suspects] | None = None
    parts: "list[PredictedLog]" = field(default_factory=list)

    @classmethod
    def together(
        cls, prepared: PreparedLog, parts: "list[PredictedLog]", reference: LogReference | None
    ) -> "PredictedLog":
        """Of what its services wrote, judged against a reference; None for each by itself."""
        most = None if reference is None else reference.num_entries
        how = HowJudged.together([part.how for part in parts], most)
        if reference is not None:
            how.silent = SilenceWatch(reference).add(prepared.parsed).found()
        return cls(prepared, [], np.zeros(0, bool), how=how, parts=parts)

    @property
    def num_sequences(self) -> int:
        """How many sequences it has."""
        return sum(len(part.prepared.sequences) for part in self.parts or [self])

    @property
    def num_truncated(self) -> int:
        """How many of its entries were not read to their end."""
        return sum(int(part.is_truncated.sum()) for part in self.parts or [self])

    def results(self, judge: Judge, only_anomalies: bool = False) -> list[dict[str, Any]]:
        """The results of its sequences, see [`Judge.sequence_results`], ordered by their first line."""
        found: list[dict[str, Any]] = []
        for part in self.parts or [self]:
            prepared = part.prepared
            found += judge.sequence_results(
                prepared.parsed,
                prepared.sequences,
                part.predictions,
                part.is_truncated,
                only_anomalies=only_anomalies,
                evidence=part.evidence,
                writer=prepared.writer,
            )
        return sorted((one for one in found if one is not None), key=lambda result: int(result["first_line"]))

    def gathered(self) -> Suspects | None:
        """Its suspects; None where the model was trained on labels alone."""
        suspects = None
        for part in self.parts or [self]:
            suspects = None if part.suspects is None else part.suspects(suspects)
        return suspects


def encode_texts(
    predictor: Predictor, processor: LogMoEProcessor, texts: list[str], max_log_entry_length: int | None = None
) -> np.ndarray:
    """Embeddings float32 `(texts, encoder_hidden)` of masked texts."""
    token_ids, _ = processor.tokenize(texts, max_log_entry_length)
    embeddings: np.ndarray = predictor.encode(token_ids).float().cpu().numpy()
    return embeddings


def predict_measured(
    predictor: Predictor,
    prepared: PreparedLog,
    against: Against,
    reference: LogReference,
    processor: LogMoEProcessor,
    batch_size: int,
    max_log_entry_length: int | None,
) -> PredictedLog:
    """Judges one log against a reference, which may be its own."""
    parsed, sequences = with_places(prepared.parsed, processor), prepared.sequences

    def encode(texts: list[str]) -> np.ndarray:
        return encode_texts(predictor, processor, texts, max_log_entry_length)

    reference.encode(encode)
    # What learned from labels did so through all of them, and a log by itself is one.
    if against.is_comparing and reference.origin.has_past and has_kinds(reference):
        beginning = parsed if prepared.ahead is None else parsed.take(np.arange(prepared.ahead))
        reference = of_kind(reference, KindCount().add(beginning).number, encode)
    reference, length = reference.for_log(sequences, prepared.rule.max_sequence_length)
    measure = LogMeasure(reference, length, against.reference is None)
    texts = measure.encoder_texts(parsed.distinct.to_pylist())
    rows = reference.embedding_rows()
    new = [text for text in dict.fromkeys(texts) if text not in rows]
    row_of = rows | {text: len(reference.embeddings) + place for place, text in enumerate(new)}
    table = np.concatenate([reference.embeddings, encode(new)]) if new else reference.embeddings
    index = np.array([row_of[text] for text in texts])
    ahead = sum(prepared.ahead is None or int(sequence[-1]) < prepared.ahead for sequence in sequences)
    measured = measure.push(parsed, sequences, table[index], ahead if measure.has_past else 0)
    is_rerun = against.is_comparing and Beginning(reference).add(measured).is_rerun
    if is_rerun:
        reference = reference.as_run()
        measure = LogMeasure(reference, length)
        measured = measure.push(parsed, sequences, table[index], ahead)

    distinct = {key: row for row, key in reversed(list(enumerate(measured.keys)))}
    entries = [index[parsed.entry_index[sequences[row]]] for row in distinct.values()]
    features = [
        measured.entry_features[row, : len(sequences[row]), : len(ENTRY_FEATURES)] for row in distinct.values()
    ]
    embeddings = torch.from_numpy(table).to(predictor.device, predictor.model.dtype)
    found = predictor.predict(embeddings, entries, batch_size, features)
    by_key = dict(zip(distinct, found, strict=True))
    predictions = [by_key[key] for key in measured.keys]
    weigher = against.weigher(predictor, reference, length)
    evidence = weigher.weigh(measured, predictions)
    _, is_truncated = processor.tokenize(texts, max_log_entry_length)
    is_truncated = is_truncated[parsed.entry_index]
    is_truncated |= longer_than(parsed.text, processor.max_entry_characters)
    how = HowJudged(
        "self" if against.reference is None else "reference",
        measure.num_entries,
        measure.num_familiar,
        measure.order.num_backward,
        is_rerun=is_rerun,
        kept_rate=weigher.kept_rate,
    )
    how.missing_kinds, how.first_missing = measure.missing()
    if against.reference is not None:
        how.healthy_entries = reference.num_entries
        how.promised_rate = None if weigher.kept_rate is None else against.rate(reference, length)
    taken = parsed, sequences, measured.is_new, embeddings, index, measured.is_few
    suspects = partial(Suspects.of, predictor, taken)
    return PredictedLog(prepared, predictions, is_truncated, evidence, how, suspects)


def services_apart(
    prepared: PreparedLog, against: Against | None, processor: LogMoEProcessor
) -> dict[int, PreparedLog]:
    """What each of a log's services wrote, by service; the log itself, as `REST`, if they are not told apart."""
    rule = prepared.rule
    if against is None or rule.window_seconds is not None or rule.session_pattern:
        return {REST: prepared}
    if against.reference is None:
        services = ServiceCount().add(prepared.parsed).services()
    else:
        services = against.reference.services
    if not services:
        return {REST: prepared}
    prepared.parsed = parsed = with_places(prepared.parsed, processor)
    cutter = SequenceCutter(rule, processor)
    ahead = np.bincount(services.of(parsed)[:AHEAD_ENTRIES] - REST, minlength=len(services) + 1)
    return {
        service: PreparedLog(
            part, cutter.cut(part), rule, services.writer(service), int(ahead[service - REST]), most_of_own(services)
        )
        for service, part in ServiceParts(services).of(parsed).items()
    }


class JudgesAgainstReferences:
    """What a pipeline needs to fit references and to judge against them."""

    model: Any
    processor: LogMoEProcessor
    predictor: Any  # a Predictor
    _preprocess_params: dict[str, Any]
    stored_reference: Any  # a LogReference or None
    _loaded: tuple[Any, LogReference] | None
    _processor_for: Callable[[str | None], LogMoEProcessor]
    _sanitize_parameters: Callable[..., tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]

    def _rule(self, processor: LogMoEProcessor, **params: Any) -> SequenceRule:
        """How a log is cut. A model that measures surprise knows how long a sequence is: the last is no shorter."""
        return processor.sequence_rule(**params, fill_last=self.measures_surprise)

    @property
    def measures_surprise(self) -> bool:
        """Whether the model can judge against a reference."""
        return measures_surprise(self.model.config)

    def fit(
        self,
        *logs: Any,
        encoding: str | None = None,
        max_reference_entries: int = MAX_REFERENCE_ENTRIES,
        chunk_bytes: int = CHUNK_BYTES,
        max_waiting_entries: int = 65536,
        on_progress: Callable[[int, int | None], None] | None = None,
        on_problem: Callable[[Any, Exception], None] | None = None,
        **overrides: Any,
    ) -> LogReference:
        """Learns what is healthy, without training.

        Args:
            logs: healthy logs, each a path, a folder, a pattern such as `"logs/*.gz"`, a text of several lines, a list
                of entries, or a [`LogReference`], saved or not; several become one reference. A file or a saved
                reference that was given before, or a copy of one, is left out with a warning.
            encoding: as for `scan`.
            max_reference_entries: most entries that are kept; of more, sequences are kept evenly.
            chunk_bytes, max_waiting_entries: as for `scan`.
            on_progress: called after each chunk of a log with the bytes read of it, as stored, and its size, None if
                unknown.
            on_problem: called with a log that cannot be read to its end and what is wrong with it; the fit goes on,
                and keeps what came before. By default the first such log ends it.
            overrides: how logs are read and cut, as for a call.

        Returns:
            The reference, to be given to a call or a scan, saved, or merged with others.

        Raises:
            FileNotFoundError: there is no log.
            ValueError: there is no log entry, the model cannot judge against a reference, or an argument is out of
                range.
        """
        if not logs:
            raise ValueError("`fit` needs at least one healthy log: a path, a text or a list of entries.")
        self._require_surprise()
        preprocess_params, _, _ = self._sanitize_parameters(**overrides)
        cut_params = {**self._preprocess_params, **preprocess_params}
        processor = self._processor_for(cut_params.pop("entry_pattern", None))
        rule = self._rule(processor, **cut_params)
        origin = origin_of(self.model, processor, rule)
        is_windowed = rule.window_seconds is None and not rule.session_pattern
        services, parsed = Services(), dict[int, ParsedLog]()
        if is_windowed:
            services, parsed = self._services_of(logs, processor, encoding)
        fit = ReferenceFit(processor, rule, origin, max_reference_entries, services)
        repeats = Repeats()
        for place, log in enumerate(logs):
            if is_saved_reference(log):
                if warn_of_repeat(log, repeats):
                    continue
                log = LogReference.from_pretrained(log)
            if isinstance(log, LogReference):
                origin.check(log.origin, "The reference")
                fit.builder.add_reference(log)
            elif is_in_memory(log):
                whole = parsed.pop(place, None) or processor.parse(log)
                warn_of_order("the healthy log", fit.add_parsed(whole))
            else:
                try:
                    sources = find_logs(log)
                except FileNotFoundError as error:  # gone by now
                    if on_problem is None:
                        raise
                    on_problem(log, error)
                    continue
                for source in sources:
                    if warn_of_repeat(source, repeats):
                        continue
                    try:
                        said = fit.add_source(
                            source, encoding, chunk_bytes, max_waiting_entries, on_progress=on_progress
                        )
                        warn_of_order(visible(getattr(source, "name", source)), said)
                    except Exception as error:
                        if on_problem is not None:
                            on_problem(source, error)
                        elif isinstance(error, DamagedLogError) or type(error) is ValueError:
                            raise ValueError(f"{visible(getattr(source, 'name', source))}: {error}") from error
                        else:  # which name it
                            raise
        if on_problem is not None and not fit.builder.num_entries:
            raise EmptyLogError("no log entry could be read")
        reference = fit.finish().encode(self._encode_texts)
        warn_of_few(reference)
        if reference.num_dropped_texts or len(reference) < reference.num_entries:
            logger.info(
                f"Of {reference.num_entries} entries the reference keeps {len(reference)}, evenly spread "
                f"(`max_reference_entries`); {reference.num_dropped_texts} had a text that was not kept."
            )
        return reference

    def _services_of(
        self, logs: tuple[Any, ...], processor: LogMoEProcessor, encoding: str | None
    ) -> tuple[Services, dict[int, ParsedLog]]:
        """The services of healthy logs, by their beginnings; what cannot be read is said when it is learned from.

        Returns:
            Also those logs that are in memory, by their places, for they need not be parsed again.
        """
        services, repeats = Services(), Repeats()
        parsed: dict[int, ParsedLog] = {}
        sources: list[Any] = []
        for place, log in enumerate(logs):
            with contextlib.suppress(OSError, ValueError, EOFError):
                if is_saved_reference(log):
                    services = services.together(LogReference.from_pretrained(log).services)
                elif isinstance(log, LogReference):
                    services = services.together(log.services)
                elif is_in_memory(log):
                    parsed[place] = processor.parse(log)
                else:
                    sources += filter(is_readable_twice, find_logs(log))
        count = ServiceCount(len(parsed) + len(sources))
        for whole in parsed.values():
            count.add(whole)
        for source in sources:
            with contextlib.suppress(OSError, ValueError, EOFError):
                if not repeats.of(source):
                    count.add_all(read_entries(source, processor, encoding), processor)
        return services.together(count.services()), parsed

    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        return encode_texts(self.predictor, self.processor, texts)

    def _require_surprise(self) -> None:
        if not self.measures_surprise:
            raise ValueError(
                "This checkpoint cannot judge against a reference: it was trained on labels alone, its config names "
                "no features of surprise. Leave out `reference`, or use the checkpoint that ships with LogMoE."
            )

    def _against(
        self,
        processor: LogMoEProcessor,
        rule: SequenceRule,
        reference: Any = None,
        false_alarm_rate: float | None = None,
        false_alarms_per_day: float | None = None,
    ) -> Against | None:
        """What a log is judged against; None for its wording alone."""
        given = {"false_alarm_rate": false_alarm_rate, "false_alarms_per_day": false_alarms_per_day}
        promised = any(value is not None for value in given.values())
        is_self = isinstance(reference, str) and reference == SELF
        is_stored = reference is None and self.measures_surprise and self.stored_reference is not None
        if is_stored:
            reference = self.stored_reference
        if reference is None or reference is False or is_self:
            for name, value in given.items():
                if value is not None:
                    raise ValueError(
                        f"`{name}` is a promise about healthy logs, and needs one: give `reference`, a healthy log or "
                        f"what `pipe.fit` made of it. Without it nothing can be promised; leave out `{name}`."
                    )
        if reference is False or ((reference is None or is_self) and not self.measures_surprise):
            return None
        self._require_surprise()
        rate = FALSE_ALARM_RATE if false_alarm_rate is None else false_alarm_rate
        if reference is None or is_self:
            return Against(None, rate)
        if not isinstance(reference, LogReference):
            reference = self._load_reference(reference, processor, rule)
        what = "The reference stored with the checkpoint (`reference=False` judges without it)"
        origin_of(self.model, processor, rule).check(reference.origin, what if is_stored else "The reference")
        by_labels = is_stored and not promised and self.model.config.calibration_mode == "reference"
        reference = reference.encode(self._encode_texts)
        return Against(reference, rate, false_alarms_per_day, is_stored=is_stored, by_labels=by_labels)

    def _load_reference(self, path: Any, processor: LogMoEProcessor, rule: SequenceRule) -> LogReference:
        """A saved reference, or one fitted to logs; the latest is remembered."""
        key = (str(path), _last_change(path), processor.entry_pattern, rule)
        held = self._loaded  # which another thread may replace
        if held is None or held[0] != key:
            if is_saved_reference(path):
                loaded = LogReference.from_pretrained(path)
            else:
                loaded = self.fit(
                    path,
                    max_sequence_length=rule.max_sequence_length,
                    window_seconds=rule.window_seconds,
                    session_pattern=rule.session_pattern,
                    entry_pattern=processor.entry_pattern,
                )
            held = self._loaded = key, loaded
        return held[1]


def is_saved_reference(path: Any) -> bool:
    """Whether a path is the folder of a saved reference, not a log or a folder of logs."""
    return isinstance(path, str | os.PathLike) and os.path.isfile(os.path.join(path, "reference.json"))


def _last_change(path: Any) -> tuple[int, int] | None:
    """When the file at a path, or the reference saved there, was changed, and its size; None if it is neither."""
    try:
        found = os.stat(os.path.join(path, "reference.json") if is_saved_reference(path) else path)
    except (OSError, TypeError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


__all__ = [
    "SELF",
    "JudgesAgainstReferences",
    "PredictedLog",
    "PreparedLog",
    "predict_measured",
    "services_apart",
    "warn_of_few",
]
