"""Four ways in which a value can be out of the ordinary, each simple and each wrong by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.history import Floats, History

KINDS = 4
_LEAST_SHORT = 0.25  # the trailing hour's deviation, at least so much of the usual spread


@dataclass(frozen=True, slots=True)
class Deviations:
    """How far values lie from what four baselines expected, in their own units of spread.

    signed: [baseline, step, row]: the trailing week, the time of day, the trailing hour, the
    trailing three hours. expected: [step, row], the median of what they expected. strays: [step,
    row], distance from the level of the hour and the shape of the day, in the gauge's own unit.
    """

    signed: Floats
    expected: Floats
    strays: Floats


def deviations(recent: Floats, history: History, first: int) -> Deviations:
    """Deviations of recent[lead:], the steps from number `first` on.

    recent: [lead + step, row] with the grid's `lead` steps before them. History holds what was
    learned before `first`; the baselines of hours look at `recent` alone and never at the value
    itself.
    """
    grid, known = history.grid, history.learned
    lead = grid.lead
    now = recent[lead:]
    short_mean, short_deviation = _trailing(recent, grid.short, lead, len(now))
    long_mean, _ = _trailing(recent, grid.long, lead, len(now))
    begin = lead - grid.short
    steps = np.arange(first - grid.short, first + len(now))
    shape = history.shape(steps)
    level, _ = _trailing(recent[begin:] - shape, grid.short, grid.short, len(now))
    seasonal = shape[grid.short :] + level
    centres = np.stack([np.broadcast_to(known.mean, now.shape), seasonal, short_mean, long_mean])
    short_deviation = np.fmax(short_deviation, _LEAST_SHORT * known.spread)
    units = np.stack(
        [
            np.broadcast_to(known.deviation, now.shape),
            np.broadcast_to(known.spread, now.shape),
            short_deviation,
            np.broadcast_to(known.spread, now.shape),
        ]
    )
    # Equal values of a first hour have no spread to measure by.
    with np.errstate(invalid="ignore"):
        signed = (now - centres) / np.where(units > 0.0, units, np.nan)
    strays = now - np.where(np.isfinite(seasonal), seasonal, short_mean)
    return Deviations(signed, nanmedian4(centres), strays)


def nanmedian4(values: Floats) -> Floats:
    """Median over the first axis, of length four, of what is known."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    chosen = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [1, 2]])[count]
    low = np.take_along_axis(ordered, chosen[None, ..., 0], axis=0)[0]
    high = np.take_along_axis(ordered, chosen[None, ..., 1], axis=0)[0]
    return np.asarray(np.where(count > 0, (low + high) / 2.0, np.nan), np.float64)


def _trailing(
    values: Floats, width: int, lead: int, length: int
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Mean and deviation of the `width` values before each of the `length` steps after `lead`.

    NaN where fewer than half of them are known.
    """
    known = np.isfinite(values)
    centre = _centre(values, known)
    off = np.where(known, values - centre, 0.0)
    sums = []
    for part in (known.astype(np.float64), off, off * off):
        total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(part, axis=0)])
        sums.append(total[lead : lead + length] - total[lead - width : lead - width + length])
    count, total, squares = sums
    enough = count >= width / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = np.maximum(squares / count - mean * mean, 0.0)
    mean = np.where(enough, centre + mean, np.nan)
    return mean, np.where(enough, np.sqrt(variance), np.nan)


def _centre(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """A typical value per row, so that sums of squares lose no digits."""
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(count, 1), np.float64)
