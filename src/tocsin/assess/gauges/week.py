"""What every hour of the week had, for those who ask when something was to be expected."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.grid import HOUR_S
from tocsin.assess.gauges.history import Floats, known_mean, known_median

_DAYS, _HOURS = 7, 24
_WEEK = _DAYS * _HOURS
_QUIETEST = 8  # hours, of which the mean is expected at least at any time
MOST_SILENT = 72  # hours of one silence that are part of what is usual: a long weekend
CALLS, HAZARD = 0, 1


class WeekOfHours:
    """Two figures [figure, row] of each of the 168 hours of a week (UTC), the newest there are.

    CALLS: the mean count of a step. HAZARD: -ln of the share of steps without calls, which is what
    a silence loses in likelihood with each step; calls that come at random lose as much as there
    are of them, and a batch of twenty no more than one. An hour in which nothing came is written
    down once something has come again: as long as a silence lasts, it does not become what is
    usual. One of more than three days never does.
    """

    def __init__(self, rows: int) -> None:
        self.hours = np.zeros(rows, np.int64)  # written down so far
        self._cells = np.full((_WEEK, 2, rows), np.nan, np.float32)
        self._silent = np.zeros((_WEEK, rows), np.bool_)
        self._has_come = np.zeros(rows, np.bool_)
        self._least = np.full((_WEEK, 2, rows), np.nan, np.float32)

    def learn(self, seconds: npt.NDArray[np.int64], values: Floats) -> None:
        """Take in counts [step, row] of steps that begin at `seconds` since 1970, in order."""
        hours = seconds // HOUR_S % _WEEK
        for hour in np.unique(hours):
            here = values[hours == hour]
            mean = known_mean(here)
            came, silent = mean > 0.0, mean == 0.0
            self._return(came)
            steps, without = np.isfinite(here).sum(axis=0), (here == 0.0).sum(axis=0)
            hazard = -np.log((without + 1.0) / (steps + 1.0))
            self._cells[hour][:, came] = np.stack([mean, hazard])[:, came]
            self._silent[hour] |= silent & self._has_come
            self.hours += came
        self._least = self._at_least()

    def expected(self, seconds: npt.NDArray[np.int64]) -> Floats:
        """The least [figure, step, row] that is to be expected of steps that begin at `seconds`;
        NaN where it is not known, which takes a day.

        It is what this hour and its neighbours had, whichever is less: days do not begin to the
        minute. Of an hour that is less of what it had a week ago and of the median of the seven
        days; no less than the quietest eight hours of the week had on average, so that one call an
        hour, all round the clock, is expected as well.
        """
        at = self._least[seconds // HOUR_S % _WEEK]
        return np.asarray(at.transpose(1, 0, 2), np.float64)

    def _return(self, came: npt.NDArray[np.bool_]) -> None:
        """A silence ends: its hours were silent, unless there were too many of them."""
        over = self._silent & came
        over &= over.sum(axis=0) <= MOST_SILENT
        self.hours += over.sum(axis=0)
        self._cells.swapaxes(1, 2)[over] = 0.0
        self._silent[:, came] = False
        self._has_come |= came

    def _at_least(self) -> npt.NDArray[np.float32]:
        by_day = self._cells.reshape(_DAYS, _HOURS, *self._cells.shape[1:])
        usual = known_median(by_day)
        each = np.fmin(self._cells, np.concatenate([usual] * _DAYS))
        beside = np.fmin(np.fmin(np.roll(each, 1, axis=0), np.roll(each, -1, axis=0)), each)
        around = np.concatenate([self._cells, self._cells[: _QUIETEST - 1]])
        windows = np.lib.stride_tricks.sliding_window_view(around, _QUIETEST, axis=0)
        means = windows.mean(axis=-1)
        quietest = np.where(np.isfinite(means), means, np.inf).min(axis=0)
        least = np.fmax(beside, np.where(np.isfinite(quietest), quietest, np.nan))
        return np.where(self.hours >= _HOURS, least, np.nan).astype(np.float32)
