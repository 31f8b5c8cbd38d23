"""Since when: the minute at which a rate changed, if there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, xlogy

from tocsin.assess.breakdown.cells import Floats

SIGNIFICANCE = 0.001


@dataclass(frozen=True, slots=True)
class Onset:
    """index: the first point of the new rate. before, after: amount per exposure. log10_p: of a
    change at any point, where there was none."""

    index: int
    before: float
    after: float
    log10_p: float


def onset(amounts: Floats, exposures: Floats) -> Onset | None:
    """The most likely point at which `amounts` per `exposures` changed; None when none is certain.

    amounts: counts [point], of bad calls or of calls. exposures: how much there was to count them
    in, calls or minutes. Two Poisson rates against one, at every split; dispersion is estimated
    from what the best split leaves, so that a bursty series does not change every minute. Assumes
    one change: of two it finds the larger. p is Bonferroni over the splits.

    >>> found = onset(np.array([1., 0, 1, 0, 9, 8, 9]), np.full(7, 50.))
    >>> found.index, found.before, round(found.after, 2)
    (4, 0.01, 0.17)

    Paper: Worsley, "Confidence regions and tests for a change-point in a sequence of exponential
    family random variables", Biometrika 73 (1986).
    """
    v, w = np.cumsum(amounts, dtype=float), np.cumsum(exposures, dtype=float)
    if len(v) < 2 or v[-1] <= 0:
        return None
    left, right = slice(None, -1), v[-1] - v[:-1]
    rest = w[-1] - w[:-1]
    usable = (w[left] > 0) & (rest > 0)
    if not usable.any():
        return None
    gain = np.full(len(v) - 1, -np.inf)
    gain[usable] = (
        _likelihood(v[left][usable], w[left][usable])
        + _likelihood(right[usable], rest[usable])
        - _likelihood(v[-1:], w[-1:])
    )
    at = int(np.argmax(gain))
    before, after = float(v[at] / w[at]), float(right[at] / rest[at])
    expected = np.where(np.arange(len(v)) <= at, before, after) * exposures
    told = expected > 0
    freedom = max(int(told.sum()) - 2, 1)
    spread = float((((amounts - expected) ** 2)[told] / expected[told]).sum()) / freedom
    statistic = 2.0 * float(gain[at]) / max(spread, 1.0)
    p = min(float(chdtrc(1.0, max(statistic, 0.0))) * int(usable.sum()), 1.0)
    if p >= SIGNIFICANCE:
        return None
    return Onset(at + 1, before, after, math.log10(max(p, 1e-300)))


def _likelihood(amount: Floats, exposure: Floats) -> Floats:
    return np.asarray(xlogy(amount, amount / exposure))
