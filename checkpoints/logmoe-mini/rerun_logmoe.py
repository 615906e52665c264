"""Whether a log is another run of the healthy one: a build, a test run, an installation, a start-up.

Most entries of such a log come once. Measured against its own other blocks all of it is new, and among healthy
sequences like these nothing is odd; but another run of the same has nearly each of its steps. It is therefore compared
with the healthy run as a whole (`LogReference.as_run`): what that lacks stands out. Called by the pipeline and by the
scan of files, whose beginning can be read before they are judged.
"""

import numpy as np

from .folds_logmoe import in_other_blocks
from .habits_logmoe import steps_of
from .measuring_logmoe import Measured
from .reference_logmoe import LogReference
from .surprise_logmoe import SEQUENCE_FEATURES, RunningLevel

# Share of a log's steps, from one entry to the next, that the rest of it lacks, from which on another run of the same
# knows it better than it knows itself; and which part of that share such a run lacks at most. Logs of the training
# services, against references of 150 to 4,000 entries, lack .40 of it or more; builds, test runs and installations
# against one that went well .27 or less, failed ones too.
NEW_STEPS, RERUN_PART = 0.1, 1 / 3
# The least share of such a run's different steps that are gone once: of 46 jobs .31 or more, of services that mix many
# kinds of entries, and so have not seen all pairs of these, .26 or less.
GONE_ONCE = 0.3
# Runs that a reference holds at most: what is longer knows of a service's log more than that knows of itself.
MOST_RUNS = 4
# What stands beside the whole reference in a log, as a share of it, from which on the log has grown: less is what a
# run that failed at its end wrote then.
GROWN_SHARE = 1 / 8


class Beginning:
    """The first sequences of a log, read before it is judged.

    Args:
        reference: what they are measured against.

    Attributes:
        left: how many more are wanted.
    """

    def __init__(self, reference: LogReference):
        self.reference, self.left = reference, RunningLevel.AHEAD
        self._features: list[np.ndarray] = []
        self._entries: list[tuple[np.ndarray, ...]] = []  # number, template, time

    def add(self, measured: Measured) -> "Beginning":
        """Takes the next sequences; those that are too many are left."""
        if self.left and measured.around is not None:
            log, in_log = measured.around.log, measured.around.in_log[: self.left]
            assert log.number is not None
            assert log.seconds is not None
            self._features.append(measured.inputs[: self.left, : len(SEQUENCE_FEATURES)])
            # One that is not known there is as many as there are templates, or more.
            template = np.minimum(measured.template[: self.left], len(self.reference.templates.texts))
            place = in_log[in_log >= 0]
            self._entries.append((log.number[place], template[in_log >= 0], log.seconds[place]))
            self.left -= len(in_log)
        return self

    @property
    def features(self) -> np.ndarray | None:
        """Sequence features, float32 `(sequences, len(SEQUENCE_FEATURES))`, the log's level; None without any."""
        return np.concatenate(self._features) if self._features else None

    @property
    def is_rerun(self) -> bool:
        """Whether the log goes the same steps as the healthy one, many of them once, and either few of them twice."""
        reference = self.reference
        if not self._entries or not reference.origin.has_past:
            return False
        number, template, seconds = (np.concatenate(column) for column in zip(*self._entries, strict=True))
        number, row = np.unique(number, return_index=True)  # in several sequences, some of them
        template, seconds = template[row], seconds[row]
        if len(reference) > MOST_RUNS * len(template):  # before all of it is looked through for each small log
            return False
        is_other = ~(self._is_at_that_time(template, seconds) | self._is_all_of_it(template))
        # What stands on the two sides of what is left out are no neighbours.
        stretch = np.cumsum(~is_other) + number - np.arange(len(number))
        steps = steps_of(template[is_other], stretch[is_other], len(reference.templates.texts))
        known, twice = reference.steps
        # Several runs know each other, and the log still not itself; with a long reference any log is so.
        new = 1 - min(twice, in_other_blocks(steps, reference.folds.blocks)[1])
        lacking = int((~np.isin(steps, known)).sum())
        # Few steps tell little: two more of either kind (Agresti and Coull, 1998).
        is_known = (lacking + 2) / (len(steps) + 4) < RERUN_PART * new
        _, times = np.unique(steps, return_counts=True)
        is_job = len(times) > 0 and (times == 1).mean() >= GONE_ONCE
        return bool(new > NEW_STEPS and is_known and is_job) and len(reference) <= MOST_RUNS * int(is_other.sum())

    # Of a log that has grown since the reference was fitted, only what came since then tells what kind of log it is.

    def _is_at_that_time(self, template: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Which entries are in the reference at the same time."""
        known = np.unique(self.reference.time[~np.isnan(self.reference.time)])
        if not len(known):
            return np.zeros(len(template), bool)
        size = len(self.reference.templates.texts) + 1
        of_reference = np.searchsorted(known, self.reference.time) * size + self.reference.entries.template
        place = np.searchsorted(known, seconds).clip(max=len(known) - 1)
        return (known[place] == seconds) & np.isin(place * size + template, of_reference)

    def _is_all_of_it(self, template: np.ndarray) -> np.ndarray:
        """Which entries are the whole reference, entry by entry, if more than a little stands beside it."""
        whole = self.reference.entries.template
        is_part = np.zeros(len(template), bool)
        if len(template) >= (1 + GROWN_SHARE) * len(whole):
            for start in np.flatnonzero(template[: len(template) - len(whole) + 1] == whole[0]).tolist():
                if (template[start : start + len(whole)] == whole).all():
                    is_part[start : start + len(whole)] = True
                    break
        return is_part


__all__ = ["Beginning"]
