"""Which slices moved an amount away from what was expected of it: cost, tokens, calls, seconds.

A slice that is a cause moves as one: every part of it by the same factor. A slice that merely
contains a cause is diluted, and a slice inside a cause explains less than the whole. The likelihood
of "this slice was multiplied by q" is therefore largest at the cause itself, and one pass over the
slices finds it. What was explained is taken out, and the next one is looked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from tocsin.assess.breakdown.cells import MOST_DIMENSIONS, Cells, Cuboid, Floats, Where

MOST_CAUSES = 5
MAX_HETEROGENEITY = 0.35  # of a slice's deviance: what is left when it is moved as one
MIN_EFFECT = 0.05  # |ln q|: a slice that moved by less is no cause
MIN_SHARE = 0.002  # of all deviance
SIGNIFICANCE = 0.05  # over all slices together
_CHI2_MEDIAN = 0.4549  # of one degree of freedom
_NOTHING = 1e-12
_MORE = 1.0 + 1e-6  # times what another explains, beyond the dust of sums


@dataclass(frozen=True, slots=True)
class Cause:
    """A slice that moved as one. share: of all deviance. factor: actual / expected."""

    where: Where
    actual: float
    expected: float
    share: float

    @property
    def factor(self) -> float:
        """How many times the expected amount it holds; infinite when nothing was expected."""
        return self.actual / self.expected if self.expected > 0 else math.inf


def causes(
    cells: Cells,
    actual: Floats,
    expected: Floats,
    *,
    most: int = MOST_CAUSES,
    dimensions: int = MOST_DIMENSIONS,
) -> tuple[Cause, ...]:
    """The slices that explain why `actual` is not `expected`, the one that explains most first.

    actual, expected: [cell], not negative, in any unit. The noise of a cell of size f is taken to
    have the variance phi f + s2 f^2 (counts, and a forecast that errs by a percentage), estimated
    from all cells by medians, so that the causes themselves do not pass for noise. Assumes that
    most cells are as expected: where everything moved, the mix did not and there is no slice to
    name. ValueError for a negative or unknown amount.

    >>> cells = Cells.of({"model": ["a", "a", "b", "b"], "region": ["eu", "us", "eu", "us"]})
    >>> found = causes(cells, np.array([50., 50, 150, 50]), np.array([50., 50, 50, 50]))
    >>> [(cause.where, cause.factor) for cause in found]
    [((('model', 'b'), ('region', 'eu')), 3.0)]

    Paper: Neill, "Expectation-based scan statistics for monitoring spatial time series data",
    International Journal of Forecasting 25 (2009); for causes that move as one, Li et al., "Generic
    and robust localization of multi-dimensional root causes", ISSRE 2019.
    """
    v, f = (np.array(amounts, np.float64) for amounts in (actual, expected))
    if not (np.all(v >= 0) and np.all(f >= 0) and np.isfinite(v).all() and np.isfinite(f).all()):
        raise ValueError("amounts are finite and not negative")
    cuboids = list(cells.cuboids(dimensions))
    tried = sum(min(cuboid.size, len(cells)) for cuboid in cuboids)
    if not tried:
        return ()
    scan = _Scan(v, f, 2.0 * math.log(tried / SIGNIFICANCE))
    everything = scan.deviance.sum()
    found: list[Cause] = []
    while len(found) < most:
        best = scan.best(cuboids)
        if best is None or best[0] < MIN_SHARE * everything or scan.as_one() > best[0] * _MORE:
            break
        gain, cuboid, number = best
        members = cuboid.members(number)
        found.append(
            Cause(
                cuboid.where(number),
                float(scan.actual[members].sum()),
                float(scan.expected[members].sum()),
                float(gain / everything),
            )
        )
        scan.take_out(members)
    return tuple(found)


class _Scan:
    """What is not explained yet. Cells of a cause weigh nothing once it is found: left in, the
    overlap of two causes, which moved by one of the two factors only, would look like a third."""

    def __init__(self, actual: Floats, expected: Floats, limit: float) -> None:
        self.actual, self.expected = actual, expected
        self.deviance = _deviance(actual, expected)
        phi, s2 = _noise(actual, expected)
        self._variance = phi * expected + s2 * expected**2
        self._limit = limit

    def best(self, cuboids: list[Cuboid]) -> tuple[float, Cuboid, int] | None:
        """The slice whose move explains the most deviance; of equals the coarser one."""
        best: tuple[float, Cuboid, int] | None = None
        for cuboid in cuboids:
            v, f = cuboid.sums(self.actual), cuboid.sums(self.expected)
            gain = _deviance(v, f)
            left = np.maximum(cuboid.sums(self.deviance) - gain, 0.0)
            effect = np.abs(np.log(np.maximum(v, _NOTHING) / np.maximum(f, _NOTHING)))
            certain = (v - f) ** 2 > self._limit * cuboid.sums(self._variance)
            as_one = left <= MAX_HETEROGENEITY * (gain + left)
            gain[~(certain & as_one & (effect >= MIN_EFFECT))] = 0.0
            number = int(np.argmax(gain))
            if gain[number] > (0.0 if best is None else best[0] * _MORE):
                best = (float(gain[number]), cuboid, number)
        return best

    def as_one(self) -> float:
        """The deviance that goes away when all that is left is moved by one factor; 0 when it did
        not move as one. Where that is more than any slice explains there is no slice to name."""
        v, f = self.actual.sum(), self.expected.sum()
        if not (v > 0 and f > 0) or abs(math.log(v / f)) < MIN_EFFECT:
            return 0.0
        gain = float(_deviance(np.array([v]), np.array([f]))[0])
        left = max(float(self.deviance.sum()) - gain, 0.0)
        return gain if left <= MAX_HETEROGENEITY * (gain + left) else 0.0

    def take_out(self, members: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        for amounts in (self.actual, self.expected, self.deviance, self._variance):
            amounts[members] = 0.0


def _deviance(actual: Floats, expected: Floats) -> Floats:
    """How unlikely `actual` is under `expected`, as half the deviance of a Poisson."""
    out: Floats = xlogy(actual, actual / np.maximum(expected, _NOTHING)) - (actual - expected)
    return out


def _noise(actual: Floats, expected: Floats) -> tuple[float, float]:
    """(phi, s2) of a variance phi f + s2 f^2, from the medians of small and of large cells."""
    known = expected > 0
    v, f = actual[known], expected[known]
    counted = bool(np.all(v == np.round(v)))
    if len(f) < 20:  # too few to tell noise from cause: believe counts, and forecasts to 5 %
        return (1.0, 0.0) if counted else (0.0, 0.05**2)
    squared = (v - f) ** 2 / f
    large = f > np.median(f)
    if not large.any():
        phi, s2 = float(np.median(squared)) / _CHI2_MEDIAN, 0.0
    else:
        low, high = (float(np.median(squared[part])) / _CHI2_MEDIAN for part in (~large, large))
        small, big = (float(np.median(f[part])) for part in (~large, large))
        s2 = max((high - low) / (big - small), 0.0)
        phi = max(low - s2 * small, 0.0)
    return (max(phi, 1.0) if counted else phi), s2
