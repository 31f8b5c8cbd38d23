"""From points above a threshold to alerts: when one begins, when it is over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_QUIET_S = 3600
_QUIET_STEPS = 3


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert: the step at which it rang, its last step above the threshold, its strongest."""

    start: int
    stop: int
    peak: int


def quiet_steps(step_s: int) -> int:
    """Steps without evidence that end an alert: an hour, at least three."""
    return max(_QUIET_S // step_s, _QUIET_STEPS)


def episodes(evidence: npt.ArrayLike, limit: npt.ArrayLike, quiet: int) -> list[Episode]:
    """Alerts over evidence [step]: one rings where `limit` is reached, and is over after `quiet`
    steps below it. limit: one for all steps, or one a step. NaN never rings.

    What a step says depends on nothing after it, so that alerts of a longer series begin as those
    of its beginning did.
    """
    given = np.asarray(evidence, np.float64)
    with np.errstate(invalid="ignore"):
        above = np.flatnonzero(given >= np.asarray(limit, np.float64))
    if not len(above):
        return []
    breaks = np.flatnonzero(np.diff(above) > quiet) + 1
    return [
        Episode(int(run[0]), int(run[-1]), int(run[np.argmax(given[run])]))
        for run in np.split(above, breaks)
    ]
