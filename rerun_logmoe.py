"""Whether a log is another run of the healthy one: a build, a test run, an installation, a start-up.

Most entries of such a log come once. Measured against its own other blocks all of it is new, and among healthy
sequences like these nothing is odd; but another run of the same has nearly each of its steps. It is therefore compared
with the healthy run as a whole (`LogReference.as_run`): what that lacks stands out. Called by the pipeline and by the
scan of files, whose beginning can be read before they are judged.
"""

import numpy as np

from .measuring_logmoe import Measured
from .reference_logmoe import LogReference
from .surprise_logmoe import SEQUENCE_FEATURES, RunningLevel

# Share of a healthy log's steps, from one entry to the next, that the rest of it lacks, from which on another run of
# the same knows it better than it knows itself; and which part of that share such a run lacks at most. Logs of the
# training services, against references of 150 to 4,000 entries, lack .40 of it or more; builds, test runs and
# installations against one that went well .27 or less, failed ones too.
NEW_STEPS, RERUN_PART = 0.1, 1 / 3


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
        self._steps: list[np.ndarray] = []

    def add(self, measured: Measured) -> "Beginning":
        """Takes the next sequences; those that are too many are left."""
        if self.left and measured.around is not None:
            self._features.append(measured.inputs[: self.left, : len(SEQUENCE_FEATURES)])
            in_log = measured.around.in_log[: self.left]
            # One that is not known there is as many as there are templates, or more.
            template = np.minimum(measured.template[: self.left], len(self.reference.templates.texts))
            sequence = np.broadcast_to(np.arange(len(template))[:, None], template.shape)
            seconds = measured.around.log.seconds
            assert seconds is not None
            is_other = (in_log >= 0) & ~self._is_in_reference(template, seconds[in_log])
            # A stretch ends where entries are left out.
            sequence = sequence * (in_log.shape[1] + 1) + np.cumsum(~is_other, axis=1)
            self._steps.append(self.reference.steps_of(template[is_other], sequence[is_other]))
            self.left -= len(template)
        return self

    def _is_in_reference(self, template: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        """Which entries are in the reference at the same time: those of a log that has grown since it was fitted.

        Only what came since then tells what kind of log it is.
        """
        known = np.unique(self.reference.time[~np.isnan(self.reference.time)])
        if not len(known):
            return np.zeros(template.shape, bool)
        size = len(self.reference.templates.texts) + 1
        of_reference = np.searchsorted(known, self.reference.time) * size + self.reference.entries.template
        place = np.searchsorted(known, seconds).clip(max=len(known) - 1)
        return (known[place] == seconds) & np.isin(place * size + template, of_reference)

    @property
    def features(self) -> np.ndarray | None:
        """Sequence features, float32 `(sequences, len(SEQUENCE_FEATURES))`, the log's level; None without any."""
        return np.concatenate(self._features) if self._features else None

    @property
    def is_rerun(self) -> bool:
        """Whether the log goes the same steps as the healthy one, which goes few of them twice."""
        if not self._steps or not self.reference.origin.has_past:
            return False
        known, twice = self.reference.steps
        steps = np.concatenate(self._steps)
        lacking = int((~np.isin(steps, known)).sum())
        # Few steps tell little: two more of either kind (Agresti and Coull, 1998).
        return 1 - twice > NEW_STEPS and (lacking + 2) / (len(steps) + 4) < RERUN_PART * (1 - twice)


__all__ = ["Beginning"]
