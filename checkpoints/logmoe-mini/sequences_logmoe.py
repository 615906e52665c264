"""Entries in, sequences out: the one place where a log is cut into what the model reads together.

`SequenceRule` says how: windows by count, windows by time, or sessions gathered by an identifier. `SequenceCutter`
applies it to a whole log or to one that arrives in pieces. Called by the processor, the scan, training and
the recordings.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns_logmoe import check_groups, count_groups, dictionary_indices, named_by
from .parsing_logmoe import LogParser, ParsedLog, check_integer

# The shortest window by time that differs from a shorter one, in seconds.
SHORTEST_WINDOW = 1e-9
# Sequences whose features are made, and become margins, at once: with stride 1 a chunk has as many as entries.
SEQUENCES_PER_CALL = 1024


@dataclass(frozen=True)
class SequenceRule:
    """How entries become sequences; every entry is in at least one.

    By default windows by count. With `window_seconds` or `session_pattern` entries are first grouped by time or by
    identifier, and a group of more than `max_sequence_length` entries is cut by count. An entry that names several
    sessions belongs to each; entries that name none form windows of their own.

    Attributes:
        max_sequence_length: entries per sequence.
        stride: entries from the start of one window to the start of the next; by default `max_sequence_length`, so
            that windows do not overlap.
        window_seconds: length of a window by time. An entry without a timestamp belongs to the one before it.
        session_pattern: the session of an entry is what the first group of this pattern that takes part matches, or
            the whole match; "" or None for no sessions.
        fill_last: the last window by count, if it is shorter, begins earlier, with entries of the window before it.

    Raises:
        ValueError: a value is out of range, or `window_seconds` and `session_pattern` are both given.
    """

    max_sequence_length: int = 32
    stride: int | None = None
    window_seconds: float | None = None
    session_pattern: str | None = None
    fill_last: bool = False

    def __post_init__(self) -> None:
        length = check_integer("max_sequence_length", self.max_sequence_length, 1)
        stride = length if self.stride is None else check_integer("stride", self.stride, 1, length)
        object.__setattr__(self, "max_sequence_length", length)
        object.__setattr__(self, "stride", stride)
        seconds = self.window_seconds
        if seconds is not None and self.session_pattern:
            raise ValueError("Give `window_seconds` or `session_pattern`, not both.")
        if seconds is not None and (isinstance(seconds, str) or not 0 < seconds < float("inf")):
            raise ValueError(f"`window_seconds` must be a positive number, got {seconds!r}.")
        if self.session_pattern:
            check_groups("session_pattern", self.session_pattern)


@dataclass(frozen=True)
class Origin:
    """What a reference was made with; it fits nothing else.

    Attributes:
        rules: digest of the rules by which logs are read.
        encoder: digest of the encoder.
        max_sequence_length, window_seconds, session_pattern: how its logs were cut, see [`SequenceRule`].
        is_separate: each of its logs stands for itself: what was before them, and when, is unknown.
    """

    rules: str
    encoder: str
    max_sequence_length: int
    window_seconds: float | None
    session_pattern: str | None
    is_separate: bool = False

    @property
    def has_past(self) -> bool:
        """What stands before a sequence tells, as of stretches of one log."""
        return self.session_pattern is None and not self.is_separate

    def check(self, other: "Origin", what: str) -> None:
        """Refuses another origin; a length may differ.

        Raises:
            ValueError: says which part differs, and the way out.
        """
        different = {
            "rules": "was made with other rules of reading (masks or entry pattern)",
            "encoder": "was made with another encoder",
            "window_seconds": f"was cut with `window_seconds` {other.window_seconds}, not {self.window_seconds}",
            "session_pattern": f"was cut with `session_pattern` {other.session_pattern!r}, not "
            f"{self.session_pattern!r}",
        }
        for name, problem in different.items():
            # Logs that stand for themselves are seen alike, whatever they were cut from.
            is_cut = name in ("window_seconds", "session_pattern")
            if getattr(self, name) != getattr(other, name) and not (is_cut and other.is_separate):
                raise ValueError(f"{what} {problem}: fit it again from its logs with this checkpoint, `pipe.fit(…)`.")


class SequenceCutter:
    """Cuts a log into sequences, whole (`cut`) or as it arrives (`push`).

    A log that arrives in pieces is cut as it would be whole, with two exceptions that keep memory bounded: a window by
    time closes when an entry of the next window but one arrives, and when more than `max_waiting_entries` are in open
    sessions, those that have been quiet the longest close.

    Args:
        rule: how to cut.
        parser: reads timestamps.
        max_waiting_entries: see above; as many kilobytes of text may wait.

    Attributes:
        split_sessions: how many sessions were closed before the end of the log.
    """

    def __init__(self, rule: SequenceRule, parser: LogParser, max_waiting_entries: int = 65536):
        self.rule, self.parser, self.max_waiting_entries = rule, parser, max_waiting_entries
        self.split_sessions = 0
        self._start_log()

    def _start_log(self) -> None:
        self._waiting: ParsedLog | None = None
        self._untimed: ParsedLog | None = None  # entries before the first timestamp
        # For each open group its positions in `_waiting`, and whether a sequence of it has been given out.
        self._groups: dict[Any, tuple[np.ndarray, bool]] = {}
        # The first so many entries of a group are in windows already, and wait to fill the last one.
        self._num_past = 0
        self._newest_window = 0.0
        self._first_seconds: float | None = None
        self._last_seconds: float | None = None
        self._has_sessions = False
        self._reader = self.parser.time_reader()

    def cut(self, parsed: ParsedLog) -> list[np.ndarray]:
        """Cuts a whole log.

        Returns:
            For each sequence the positions of its entries, ascending; sequences are ordered by their first entry.

        Raises:
            ValueError: the rule asks for timestamps or sessions and the log has none.
        """
        self._start_log()
        return self.push(parsed, is_last=True)[1]

    def push(
        self, parsed: ParsedLog, is_last: bool = False, is_idle: bool = False
    ) -> tuple[ParsedLog, list[np.ndarray]]:
        """Takes the next entries of a log; after `is_last` the next call begins another log.

        Args:
            parsed: the entries.
            is_last: the log ends with them.
            is_idle: open sequences are to be given out as they are.

        Returns:
            Entries, and the sequences that are complete as positions in them, ordered by their first entry.

        Raises:
            ValueError: as `cut`.
        """
        rule = self.rule
        if rule.window_seconds is not None and self._last_seconds is None:
            parsed = parsed if self._untimed is None else self._untimed + parsed
            is_timed = len(parsed) and not np.isnan(self.parser.timestamps(parsed)).all()
            if not (is_timed or is_last or len(parsed) > self.max_waiting_entries):
                self._untimed = parsed
                return parsed.take(np.arange(0)), []
            self._untimed = None
        offset = 0 if self._waiting is None else len(self._waiting)
        log = parsed if self._waiting is None else self._waiting + parsed
        groups = self._groups
        for key, positions in self._group(parsed).items():
            held, is_started = groups.pop(key, (np.empty(0, dtype=np.int64), False))
            groups[key] = (np.concatenate([held, positions + offset]), is_started)  # the latest last
        if is_last and rule.session_pattern and not self._has_sessions and len(log):
            raise ValueError(
                f"`session_pattern` {rule.session_pattern!r} matches no entry of the log: check it, or leave it out."
            )

        sequences: list[np.ndarray] = []
        open_groups: dict[Any, tuple[np.ndarray, bool]] = {}
        for key, (positions, is_started) in groups.items():
            is_past = rule.window_seconds is not None and abs(key - self._newest_window) >= 2
            is_closed = is_last or is_idle or is_past
            if self._fills_last:
                windows, rest = self._filled_windows(positions, is_started, is_closed)
                is_closed = is_last
            else:
                windows, rest = count_windows(positions, rule, is_started, is_closed)
            sequences += windows
            if not is_closed and len(rest):
                open_groups[key] = (rest, (is_started or bool(windows)) and not is_idle)
        if rule.session_pattern and open_groups:
            sequences += self._close_quiet_sessions(log, open_groups)

        kept = np.unique(np.concatenate([rest for rest, _ in open_groups.values()])) if open_groups else None
        self._waiting = None if kept is None else log.take(kept)
        self._groups = {
            key: (np.searchsorted(kept, rest), is_started)  # type: ignore[arg-type]
            for key, (rest, is_started) in open_groups.items()
        }
        if is_last:
            self._start_log()
        return log, sorted(sequences, key=lambda positions: int(positions[0]))

    @property
    def num_waiting(self) -> int:
        """How many entries are in no sequence yet; of windows by count."""
        length, overlap = self.rule.max_sequence_length, 0
        positions, is_started = self._groups.get(None, (np.empty(0, np.int64), False))
        if is_started and self.rule.stride is not None:
            overlap = length - self.rule.stride
        return max(0, len(positions) - self._num_past - overlap)

    @property
    def _fills_last(self) -> bool:
        return self.rule.fill_last and self.rule.window_seconds is None and not self.rule.session_pattern

    def _filled_windows(
        self, positions: np.ndarray, is_started: bool, is_closed: bool
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """As `count_windows`, but a last window that is shorter is filled up with entries before it, which wait."""
        length = self.rule.max_sequence_length
        windows, rest = count_windows(positions[self._num_past :], self.rule, is_started, is_closed)
        if is_closed:
            rest = rest[:0]
            if windows and len(windows[-1]) < length:
                windows[-1] = positions[-length:]
        waiting = positions[max(0, len(positions) - len(rest) - length) :]
        self._num_past = len(waiting) - len(rest)
        return windows, waiting

    def _close_quiet_sessions(
        self, log: ParsedLog, open_groups: dict[Any, tuple[np.ndarray, bool]]
    ) -> list[np.ndarray]:
        """Closes the sessions that have been quiet the longest until the others keep within bounds."""
        sizes = pc.binary_length(log.text).to_numpy(zero_copy_only=False)
        waiting = sum(len(rest) for rest, _ in open_groups.values())
        waiting_bytes = sum(int(sizes[rest].sum()) for rest, _ in open_groups.values())
        sequences: list[np.ndarray] = []
        for key in list(open_groups):
            if waiting <= self.max_waiting_entries and waiting_bytes <= 1024 * self.max_waiting_entries:
                break
            rest, is_started = open_groups.pop(key)
            sequences += count_windows(rest, self.rule, is_started)[0]
            waiting -= len(rest)
            waiting_bytes -= int(sizes[rest].sum())
            self.split_sessions += 1
        return sequences

    def _group(self, parsed: ParsedLog) -> dict[Any, np.ndarray]:
        if not len(parsed):
            return {}
        if self.rule.window_seconds is not None:
            seconds = self._filled_timestamps(parsed)
            self._first_seconds = seconds[0] if self._first_seconds is None else self._first_seconds
            self._last_seconds = seconds[-1]
            # Times are no finer than that, and the number of a window stays finite.
            windows = np.floor((seconds - self._first_seconds) / max(self.rule.window_seconds, SHORTEST_WINDOW))
            self._newest_window = windows[-1]
            return group_by(windows)
        if self.rule.session_pattern:
            sessions = find_sessions(parsed, self.rule.session_pattern)
            self._has_sessions |= any(name is not None for name in sessions)
            return sessions
        return {None: np.arange(len(parsed))}

    def _filled_timestamps(self, parsed: ParsedLog) -> np.ndarray:
        """Seconds since 1970 of each entry, `(entries,)`: the latest timestamp up to it, or else the first one."""
        seconds = self.parser.timestamps(parsed, self._reader)
        known = np.flatnonzero(~np.isnan(seconds))
        before = self._last_seconds
        if not len(known):
            if before is not None:
                return np.full(len(seconds), before)
            raise ValueError(
                "`window_seconds` needs timestamps, and no entry of the log has one that is known: give the processor "
                "a `header_pattern` with a group named `timestamp`, or leave out `window_seconds`."
            )
        previous = np.searchsorted(known, np.arange(len(seconds)), side="right") - 1
        filled = seconds[known[np.maximum(previous, 0)]]
        return filled if before is None else np.where(previous < 0, before, filled)


def count_windows(
    positions: np.ndarray, rule: SequenceRule, is_started: bool = False, is_closed: bool = True
) -> tuple[list[np.ndarray], np.ndarray]:
    """Cuts a group of entries into windows by count.

    Args:
        positions: `(entries,)`, of the group's entries that are in no window yet or may be in the next one too.
        rule: gives length and stride.
        is_started: an earlier window holds the entries that overlap.
        is_closed: no entry will follow, so that what remains becomes a last, shorter window.

    Returns:
        The windows, and the positions that remain for the next one.
    """
    length, stride = rule.max_sequence_length, rule.stride or rule.max_sequence_length
    complete = max(0, (len(positions) - length) // stride + 1)
    windows = [positions[start : start + length] for start in range(0, complete * stride, stride)]
    rest = positions[complete * stride :]
    # The last full window may hold all that remains.
    if is_closed and len(rest) > (length - stride if is_started or complete else 0):
        windows.append(rest)
    return windows, rest


def find_sessions(parsed: ParsedLog, pattern: str) -> dict[str | None, np.ndarray]:
    """Gathers the entries of each session.

    Args:
        parsed: a log.
        pattern: see `SequenceRule`.

    Returns:
        For each identifier the positions of its entries, ascending; under None those that name no session.

    Raises:
        ValueError: the pattern is not RE2.
    """
    check_groups("session_pattern", pattern)
    groups = count_groups(pattern)
    count = pc.count_substring_regex(parsed.text, pattern).to_numpy(zero_copy_only=False)
    sessions: dict[str | None, list[np.ndarray]] = {}
    if (count == 0).any():
        sessions[None] = [np.flatnonzero(count == 0)]
    several = count > 1
    if groups > 1:
        several = count > 0
    else:
        # Cuts away what is around the only match, which is the name unless it has a group.
        inner = f"(?:{pattern})" if groups else f"({pattern})"
        single = np.flatnonzero(count == 1)
        around = rf"(?s:^.*?){inner}(?s:.*)$"
        names = pc.dictionary_encode(pc.replace_substring_regex(parsed.text.take(pa.array(single)), around, r"\1"))
        for row, positions in group_by(dictionary_indices(names)).items():
            if name := names.dictionary[row].as_py():
                sessions[name] = [single[positions]]
            else:  # the group took no part in the match
                several[single[positions]] = True
    at = np.flatnonzero(several)
    for position, names_of_entry in zip(at, named_by(parsed.text.take(pa.array(at)), pattern), strict=True):
        identifiers: list[str | None] = [*dict.fromkeys(names_of_entry)]
        for identifier in identifiers or [None]:
            sessions.setdefault(identifier, []).append(np.array([position]))
    return {identifier: np.sort(np.concatenate(runs)) for identifier, runs in sessions.items()}


def pad_sequences(sequences: list[np.ndarray]) -> np.ndarray:
    """Brings sequences of rows to one length: int64 `(sequences, entries)`, -1 where padded."""
    padded = np.full((len(sequences), max(map(len, sequences))), -1, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    return padded


def group_by(values: np.ndarray) -> dict[Any, np.ndarray]:
    """For each value its positions, ascending."""
    order = values.argsort(kind="stable")
    ordered = values[order]
    groups = np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    return {values[group[0]].item(): group for group in groups if len(group)}


def session_of(sequence: dict[str, Any], pattern: str) -> str | None:
    """The identifier that all entries of a sequence share; None if there is none."""
    first, *others = (entry["text"] for entry in sequence["entries"])
    names = named_by(pa.array([first], pa.large_string()), pattern)[0]
    return next((name for name in names if all(name in text for text in others)), None)


__all__ = ["Origin", "SequenceCutter", "SequenceRule", "count_windows", "find_sessions", "pad_sequences", "session_of"]
