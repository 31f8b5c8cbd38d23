"""What is left when slices are named, or none is: did the rest move as one, or apart, and how?

A total says little: one model that doubled and five that fell add up to "a little more than
expected", and everything that is half again as much is no slice. Either is said.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import xlogy

from tocsin.assess.breakdown.cells import Cells, Cuboid, Floats

LEAST_MOVE = 0.05  # of a total: less is as expected
AS_ONE = 0.35  # of the deviance: what is left at most when all move by one factor
LEAST_APART = 0.1  # of the total: what moved up and down at least
TOLD_BY = 0.5  # of the deviance: what a dimension tells at least to be named
_MOST = 6
_NOTHING = 1e-12


def rest_line(cells: Cells, actual: Floats, expected: Floats, *, is_all: bool) -> str:
    """A sentence about cells that no named slice holds; "" when they are as expected.

    is_all: no slice is named at all.
    """
    held = (actual > 0) | (expected > 0)
    v, f = actual[held], expected[held]
    if not len(v) or f.sum() <= 0:
        return ""
    factor = float(v.sum() / f.sum())
    deviance = float(_deviance(v, f).sum())
    left = float(_deviance(v, factor * f).sum())
    if left <= AS_ONE * deviance:
        who = "everything moved together, to" if is_all else "everything else:"
        return f"{who} {factor:.3g} times what was expected" if _moved(factor) else ""
    little = float(np.abs(v - f).sum()) < LEAST_APART * float(f.sum())
    if not is_all or little or (bool((v == np.round(v)).all()) and _is_chance(left, len(v))):
        return ""
    return _apart(cells, actual, expected, left)


def _apart(cells: Cells, actual: Floats, expected: Floats, deviance: float) -> str:
    """How parts moved that did not move as one: by the dimension that tells most of it."""
    total = float(actual.sum() / expected.sum())
    best: tuple[float, Cuboid] | None = None
    for cuboid in cells.cuboids(1):
        v, f = cuboid.sums(actual), cuboid.sums(expected)
        told = float(_deviance(v, total * f).sum()) / deviance
        if told >= TOLD_BY and (best is None or told > best[0]):
            best = told, cuboid
    head = "parts moved apart, and no slice explains it"
    if best is None:
        rose = int((actual > expected).sum())
        return f"{head}: {rose} of {len(actual)} combinations rose, and no column tells which"
    _, cuboid = best
    v, f = cuboid.sums(actual), cuboid.sums(expected)
    furthest = np.argsort(-np.abs(v - f), kind="stable")[:_MOST].tolist()
    named = [
        f"{cuboid.where(at)[0][1]} {v[at] / f[at]:.3g}" if f[at] > 0 else
        f"{cuboid.where(at)[0][1]} {v[at]:.4g} where nothing was expected"
        for at in furthest
    ]  # fmt: skip
    more = f" and {cuboid.size - _MOST} more" if cuboid.size > _MOST else ""
    return f"{head}; by {cuboid.where(furthest[0])[0][0]}, times what was expected: " + (
        ", ".join(named) + more
    )


def _is_chance(deviance: float, cells: int) -> bool:
    """Whether counts differ by so much by themselves: chi-squared, five deviations above its mean;
    doubled, for what was expected may have been counted as well."""
    return deviance < cells + 5.0 * math.sqrt(2.0 * cells)


def _moved(factor: float) -> bool:
    return abs(factor - 1.0) >= LEAST_MOVE


def _deviance(actual: Floats, expected: Floats) -> Floats:
    out: Floats = xlogy(actual, actual / np.maximum(expected, _NOTHING)) - (actual - expected)
    return np.maximum(out, 0.0)
