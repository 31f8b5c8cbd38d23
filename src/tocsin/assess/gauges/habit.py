"""What evidence each time of day brings on most days, so that it is not told every day."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.grid import DAY_S, Grid
from tocsin.assess.gauges.history import DAYS, Floats

_AROUND_S = 1800  # on either side: what a clock starts does not start to the minute
_MIN_DAYS = 2
# Evidence that most hours of a series with nothing wrong stay below; only what is usually above it
# is a habit.
_ORDINARY = 2.0


class Habit:
    """The evidence that each time of day reached on most of the last seven days [row].

    A backup at 2 a.m., a cache that is filled when the office opens: far from every baseline, and
    no news. How rare is evidence e at an hour that reaches u on most days? Evidence is -log10 p, so
    that beyond u its probability falls tenfold per unit: what is left is e - u, counted from what
    any hour may reach. Most days are more than half of those known, and at least two, so that an
    incident of one day hides none of the next. Memory: 5 kB a row.
    """

    def __init__(self, rows: int, grid: Grid) -> None:
        self._grid = grid
        self._beside = max(_AROUND_S // grid.slot_s, 1)
        slots = grid.slots if grid.has_days else 0
        self._days = np.full((DAYS, slots, rows), np.nan, np.float32)
        self._usual = np.zeros((slots, rows), np.float32)

    def beyond(self, evidence: Floats, first: int) -> Floats:
        """What is left of evidence [step, row] of the steps from number `first` on."""
        if not len(self._usual):
            return evidence
        _, slot = self._places(first, len(evidence))
        return np.asarray(evidence - np.maximum(self._usual[slot] - _ORDINARY, 0.0), np.float64)

    def learn(self, first: int, evidence: Floats) -> None:
        """Take in evidence [step, row], before anything was taken from it, in order of time."""
        if not len(self._usual):
            return
        day, slot = self._places(first, len(evidence))
        each = np.unique(slot)
        for one in each:
            mine = slot == one
            self._days[day[mine][0] % DAYS, one] = np.fmax.reduce(evidence[mine], axis=0)
        around = np.arange(-self._beside, self._beside + 1)
        for one in np.unique((each[:, None] + around) % len(self._usual)):
            days, slots = np.divmod(one + around, len(self._usual))
            near = self._days[(np.arange(DAYS)[:, None] + days) % DAYS, slots]
            highest = np.sort(np.fmax.reduce(near, axis=1), axis=0)
            known = np.isfinite(highest).sum(axis=0)
            # The lower of two middle days: more than half of them reached it.
            middle = np.maximum(known - 1, 0) // 2
            lower = np.take_along_axis(highest, middle[None], axis=0)[0]
            self._usual[one] = np.where(known >= _MIN_DAYS, lower, 0.0)

    def _places(self, first: int, steps: int) -> tuple[npt.NDArray[np.int64], ...]:
        seconds = (first + np.arange(steps)) * self._grid.step_s
        return seconds // DAY_S, seconds % DAY_S // self._grid.slot_s
