"""The count scan: how surprising the bad calls of the last 1, 3 and 12 minutes are together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.ring import Counts
from tocsin.assess.tails import surprise

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WIDTHS = (1, 3, 12)
_BONFERRONI = float(np.log10(len(WIDTHS)))
# Within so many standard deviations of the mean no upper tail of a beta-binomial is below 10^-3,
# the lowest threshold a detector accepts: checked over a grid in the tests. A share that is bounded
# near by 1 has shorter tails.
_SCREEN, _SCREEN_BOUNDED, _BOUNDED = 3.0**2, 2.0**2, 0.3


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a breach. Scalars, or one value per row (last axis).

    threshold: -log10 p after correction for the three widths, at least 3. min_bad: bad calls in
    the window. min_ratio: how many times the usual rate at least.
    """

    threshold: npt.ArrayLike
    min_bad: npt.ArrayLike
    min_ratio: npt.ArrayLike

    def each(self) -> tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]:
        """The three limits, in the order of the fields."""
        return self.threshold, self.min_bad, self.min_ratio


@dataclass(frozen=True, slots=True)
class Scores:
    """Where the scan looked closely: indices into [width, ..., row] and the evidence there.

    Everything that is not listed stayed within what is usual.
    """

    index: tuple[npt.NDArray[np.intp], ...]
    score: Floats
    is_breach: Bools

    @property
    def breaching(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Indices of the breaches only."""
        return tuple(axis[self.is_breach] for axis in self.index)


def scan(bad: Counts, total: Counts, rate: npt.ArrayLike, rho: Floats, limits: Limits) -> Scores:
    """Judge counts [width, ..., row] against `rate` [row] and `rho` [width, ..., row].

    A cheap screen on mean and variance leaves the few cells whose exact beta-binomial tail is then
    computed. The score is -log10 p, less log10 3 because three widths were tried.
    """
    p = np.asarray(rate, np.float64)
    mean = total * p
    above = bad - mean
    variance = mean * (1.0 - p) * (1.0 + np.maximum(total - 1, 0) * rho)
    near = (
        (bad >= np.asarray(limits.min_bad))
        & (bad > np.asarray(limits.min_ratio) * mean)
        & (above * above > np.where(p <= _BOUNDED, _SCREEN, _SCREEN_BOUNDED) * variance)
    )
    index = np.nonzero(near)
    if not index[0].size:
        return Scores(index, np.zeros(0), np.zeros(0, np.bool_))
    expanded_p = np.broadcast_to(p, near.shape)[index]
    expanded_rho = np.broadcast_to(rho, near.shape)[index]
    score = surprise(bad[index], total[index], expanded_p, expanded_rho) - _BONFERRONI
    limit = np.broadcast_to(np.asarray(limits.threshold, np.float64), near.shape)[index]
    return Scores(index, score, np.asarray(score >= limit, np.bool_))
