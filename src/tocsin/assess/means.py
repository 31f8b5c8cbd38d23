"""How sure a mean of calls is, from what minutes and hours say of it.

Costs and durations of calls are heavy-tailed, and calls of one session or agent run resemble each
other: an interval that takes calls for independent covers the truth in 85 of 100 cases where it
claims 95. Time is cut into batches instead, so that what belongs together lies in one of them, or
in two neighbours; how far their means lie apart tells how sure the mean of all is. That needs no
more than the sums per minute that are held anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from tocsin.assess.ledger import Ledger
from tocsin.assess.monitor import Mean

Bounds = Callable[[int, int, float], tuple[float, float]]  # until, width, one-sided confidence

# More make each too short for its sessions, fewer cost certainty. Schmeiser, "Batch size effects in
# the analysis of simulation output", Operations Research 30 (1982).
BATCHES = 10
# What a mean must be to be called met: the upper bound of a heavy tail is the one that promises too
# much, by up to a tenth when there are few calls.
SURE = 0.99
# A mean of fewer of the calls than this says too little about all of them to be called met.
MIN_KNOWN = 0.7


@dataclass(frozen=True, slots=True)
class MeanNow:
    """A mean that is held to a limit, over the period so far.

    value: None without a call whose value is known. low, high: its 95 % interval, None where there
    is too little for one. known: the share of all calls whose value is known. left: what may still
    be spent by the calls so far, in the unit of the value times calls; below 0 when overspent.
    """

    value: float | None
    low: float | None
    high: float | None
    limit: float
    expected: float
    unit: str
    known: float | None
    left: float


def charge_bounds(
    batches: npt.NDArray[np.float64], mean: Mean, confidence: float = 0.95
) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean charge of batches [batch, (charged, calls)].

    The ratio of two sums with its linearised, cluster-robust error over the batches (Cochran,
    "Sampling Techniques" (1977), section 6.3), half of what neighbours have in common added
    (Newey and West, Econometrica 55 (1987)), and Student's t. Where a mean lies above 0 its upper
    bound is that of its logarithm, which is nearer to normal when few values are large; the lower
    one is not, so that one huge value proves nothing about the others. With fewer than two batches
    of calls nothing is known: (-inf, inf).
    """
    charged, calls = batches.sum(axis=0)
    count = int((batches[:, 1] > 0).sum())
    if count < 2:
        return -np.inf, np.inf
    charge = charged / calls
    residual = batches[:, 0] - charge * batches[:, 1]
    spread = (residual**2).sum() + max((residual[:-1] * residual[1:]).sum(), 0.0)
    error = float(np.sqrt(count / (count - 1) * spread) / calls)
    reach = float(stdtrit(count - 1, confidence)) * error
    value, margin = mean.at(charge), abs(mean.width) * reach
    high = value * np.exp(min(margin / value, 50.0)) if value > 0 else value + margin
    ends = sorted((float(each) - mean.expected) / mean.width for each in (value - margin, high))
    return ends[0], ends[1]


def charge_bounds_of(ledger: Ledger, row: int, mean: Mean) -> Bounds:
    """`charge_bounds` of any stretch of time of a row of the ledger."""

    def bounds(until: int, width: int, confidence: float) -> tuple[float, float]:
        return charge_bounds(ledger.batches(until, width, row, BATCHES), mean, confidence)

    return bounds


def mean_now(
    ledger: Ledger, mean: Mean, when: tuple[int, int], now: tuple[float, float], bounds: Bounds
) -> MeanNow:
    """The mean of a period (end, minutes elapsed) that was charged `now` (charged, calls)."""
    charged, calls = now
    ends = sorted(mean.at(each) for each in bounds(*when, 0.975))
    low, high = ends if np.isfinite(ends).all() else (None, None)
    every = None
    if mean.every is not None:
        row = np.array([ledger.series[mean.every[0]]], np.intp)
        every = float(ledger.sums(*when, row)[1, 0])
    return MeanNow(
        value=mean.at(charged / calls) if calls else None,
        low=low,
        high=high,
        limit=mean.limit,
        expected=mean.expected,
        unit=mean.unit,
        known=min(calls / every, 1.0) if every else None,
        left=(calls - charged) * abs(mean.width),
    )
