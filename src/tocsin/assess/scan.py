"""The count scan: how surprising the bad calls of the last minutes are together, at five widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from tocsin.assess.ring import Counts
from tocsin.assess.tails import surprise, surprise_if_log_normal

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Short windows find fires, long ones what smoulders: at ten calls a minute a share that has risen
# sevenfold takes most of an hour to be told from chance.
WIDTHS = (1, 3, 12, 30, 60)
NARROW = WIDTHS[:3]
LATEST = NARROW[-1]
# A wide window would go on ringing for what is over. It counts while the next narrower one has more
# bad calls than usual, two at least, and the newest twelve minutes do not say otherwise: would so
# few bad calls be rarer than this, were the share still that of the window?
_OVER = 0.05
_STILL_BAD = 2
# Of the false alarms allowed, so much goes to the wide windows together: those who wait for an hour
# can ask for more, and fires are not found later for it.
_WIDE_SHARE = 0.2
# Where the rate makes counts vary so many times as much as chance does, few minutes are judged by
# the heavier of two tails: of 20,000 calls a minute, a rate that wanders by factors does once in
# ten thousand minutes what a beta distribution has once in a million. Over more it evens out.
_BY_RATE = 4.0
_FEW = 2  # widths
# Within so many standard deviations of the mean no upper tail of a beta-binomial is below 10^-3,
# the lowest threshold a detector accepts: checked over a grid in the tests. A share that is bounded
# near by 1 has shorter tails.
_SCREEN, _SCREEN_BOUNDED, _BOUNDED = 3.0**2, 2.0**2, 0.3


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a breach. Scalars, or one value per row (last axis).

    threshold: -log10 p after correction for the widths, at least 3. min_bad: bad calls in
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

    The first axis is WIDTHS, or the first few of them. A cheap screen on mean and variance leaves
    the few cells whose exact beta-binomial tail is then computed; of few minutes and many calls
    a log-normal one as well, where that would be a breach. The score is -log10 p, less `_tried`,
    because several widths were.
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
    if len(bad) > len(NARROW) and index[0].size and index[0][-1] >= len(NARROW):
        above_usual = (bad >= _STILL_BAD) & (bad > np.asarray(limits.min_ratio) * mean)
        index = _going_on(index, bad, total, above_usual)
    if not index[0].size:
        return Scores(index, np.zeros(0), np.zeros(0, np.bool_))
    given = bad[index], total[index], *(np.broadcast_to(x, near.shape)[index] for x in (p, rho))
    tried = _tried(len(bad))[index[0]]
    score = surprise(*given) - tried
    limit = np.broadcast_to(np.asarray(limits.threshold, np.float64), near.shape)[index]
    by_rate = (given[1] - 1) * given[3] > _BY_RATE
    few = np.flatnonzero((score >= limit) & (index[0] < _FEW) & by_rate)
    heavier = surprise_if_log_normal(*(x[few] for x in given)) - tried[few]
    score[few] = np.minimum(score[few], heavier)
    return Scores(index, score, np.asarray(score >= limit, np.bool_))


def _tried(widths: int) -> Floats:
    """log10 of what p is to be multiplied by at each width (Bonferroni, weighted). Windows that end
    together are far from independent, so that it errs on the quiet side."""
    narrow, wide = len(NARROW), widths - len(NARROW)
    share = _WIDE_SHARE if wide else 0.0
    factors = [narrow / (1.0 - share)] * narrow + [wide / _WIDE_SHARE] * wide
    return np.log10(factors)


def _going_on(
    index: tuple[npt.NDArray[np.intp], ...], bad: Counts, total: Counts, above_usual: Bools
) -> tuple[npt.NDArray[np.intp], ...]:
    """`index` without wide windows of what is over, or that have no calls in twelve minutes."""
    narrower = above_usual[index[0] - 1, *index[1:]]
    latest = WIDTHS.index(LATEST)
    newest_bad, newest_total = bad[latest][index[1:]], total[latest][index[1:]]
    share = bad[index] / np.maximum(total[index], 1)
    so_few = bdtr(newest_bad.astype(np.float64), newest_total, share)
    still = narrower & (so_few > _OVER) & (newest_total > 0)
    kept = (index[0] < len(NARROW)) | still
    return tuple(axis[kept] for axis in index)
