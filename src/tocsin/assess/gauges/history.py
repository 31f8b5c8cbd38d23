"""What is remembered of gauges: moments of a week, the shape of a day, and how far values stray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.grid import DAY_S, Grid

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

DAYS = 7
_MIN_DAYS = 2
_SMOOTH_S = 900  # a time of day is seen with a quarter of an hour on either side
# Mean absolute deviation -> standard deviation of a normal. Not the median: where values come in
# steps, as percentiles of a histogram do, half of them may not stray at all.
_NORMAL = 1.2533
_LEAST_SPREAD = 0.05  # of the week's standard deviation
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of some series before a block: one entry per series, NaN where unknown.

    count, mean, deviation: of the trailing week's values. spread: robust standard deviation around
    the level of the hour and the shape of the day; never below a trace of `deviation`.
    """

    count: Floats
    mean: Floats
    deviation: Floats
    spread: Floats


class History:
    """The trailing week of `rows` gauges, learned block by block in constant memory.

    Per series: three sums per block, a mean per time of day and day, one spread per block; nothing
    grows with time, and nothing is kept of single values. Missing values are NaN and count nothing.
    """

    def __init__(self, rows: int, grid: Grid) -> None:
        self.rows = rows
        self.grid = grid
        self._centre = np.full(rows, np.nan)
        self._moments = np.zeros((grid.week, 3, rows), np.float32)
        self._sums = np.zeros((3, rows), np.float64)
        self._spreads = np.full((grid.week, rows), np.nan, np.float32)
        days = (DAYS, grid.slots, rows) if grid.has_days else (0, 0, rows)
        self._days = np.full(days, np.nan, np.float32)
        self._shape = np.full(days[1:], np.nan, np.float32)
        self._blocks = 0
        self.learned = self._learn_all()

    def shape(self, steps: npt.NDArray[np.int64]) -> Floats:
        """What is usual at the time of day of each step [step, row]: the median of seven days."""
        if not self.grid.has_days:
            return np.full((len(steps), self.rows), np.nan)
        grid = self.grid
        second = steps * grid.step_s % DAY_S + grid.step_s / 2.0
        place = second / grid.slot_s - 0.5
        before = np.floor(place).astype(np.int64)
        share = (place - before)[:, None]
        low, high = self._shape[before % grid.slots], self._shape[(before + 1) % grid.slots]
        return np.asarray((1.0 - share) * low + share * high, np.float64)

    def learn(self, block: int, values: Floats, strays: Floats) -> None:
        """Take in the values [step, row] of a block, and how far each strayed from its level.

        block: its number since 1970; blocks are learned in order, each once.
        """
        self._add_moments(values)
        with np.errstate(invalid="ignore"):
            self._spreads[self._blocks % len(self._spreads)] = known_mean(np.abs(strays))
        self._add_day(block * self.grid.block, values)
        self._blocks += 1
        self.learned = self._learn_all()

    def _add_moments(self, values: Floats) -> None:
        first = _first_known(values)
        self._centre = np.where(np.isnan(self._centre), first, self._centre)
        known = np.isfinite(values)
        off = np.where(known, values - np.nan_to_num(self._centre), 0.0)
        slot = self._moments[self._blocks % len(self._moments)]
        self._sums -= slot
        slot[:] = np.stack([known.sum(axis=0), off.sum(axis=0), (off * off).sum(axis=0)])
        self._sums += slot
        if self._blocks % len(self._moments) == 0:
            # Summed anew now and then, so that no rounding error can pile up.
            self._sums = self._moments.sum(axis=0, dtype=np.float64)

    def _add_day(self, start: int, values: Floats) -> None:
        grid = self.grid
        if not grid.has_days:
            return
        seconds = (start + np.arange(len(values))) * grid.step_s
        day, slot = seconds // DAY_S, seconds % DAY_S // grid.slot_s
        for each in np.unique(slot):
            mine = slot == each
            self._days[day[mine][0] % DAYS, each] = known_mean(values[mine])
        beside = _SMOOTH_S // grid.slot_s
        # The last slot waits for its neighbours; the one before this block has them now.
        for each in np.unique((slot - beside) % grid.slots):
            near = (each + np.arange(-beside, beside + 1)) % grid.slots
            smooth = known_mean(self._days[:, near].swapaxes(0, 1))
            enough = np.isfinite(smooth).sum(axis=0) >= _MIN_DAYS
            self._shape[each] = np.where(enough, known_median(smooth), np.nan)

    def _learn_all(self) -> Learned:
        count, total, squares = self._sums
        with np.errstate(invalid="ignore", divide="ignore"):
            off = total / count
            variance = np.maximum(squares / count - off * off, 0.0) * count / (count - 1.0)
            mean = self._centre + off
            deviation = np.sqrt(variance)
        spread = _NORMAL * known_median(self._spreads)
        least = np.maximum(_LEAST_SPREAD * np.nan_to_num(deviation), _TINY * np.abs(mean))
        spread = np.where(count > 1, np.fmax(spread, np.maximum(least, _TINY)), np.nan)
        deviation = np.where(count > 1, np.fmax(deviation, np.maximum(least, _TINY)), np.nan)
        return Learned(count.copy(), mean, deviation, spread)


def _first_known(values: Floats) -> Floats:
    known = np.isfinite(values)
    first = values[known.argmax(axis=0), np.arange(values.shape[1])]
    return np.where(known.any(axis=0), first, np.nan)


def known_mean(values: npt.NDArray[np.floating]) -> Floats:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def known_median(values: npt.NDArray[np.floating]) -> Floats:
    """Median over the first axis of what is known; NaN where nothing is. Sorts, hence no warnings
    about columns without any value."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum((count - 1) // 2, 0), np.maximum(count // 2, 0)
    high = np.minimum(high, len(ordered) - 1)
    both = np.take_along_axis(ordered, np.stack([low, high]), axis=0)
    return np.asarray(np.where(count > 0, both.mean(axis=0, dtype=np.float64), np.nan), np.float64)
