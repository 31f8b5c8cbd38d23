"""Realized precision: what is counted, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from tocsin.domain.precision import precision
from tocsin.domain.shares import exact_interval


def said(**verdicts: int) -> list[str]:
    return [verdict.strip("_") for verdict, count in verdicts.items() for _ in range(count)]


def test_duplicates_and_silence_are_in_no_share() -> None:
    found = precision(said(real=8, false=1, noise=1, duplicate=5, _=7))
    assert (found.share, found.judged, found.duplicate, found.unjudged) == (0.8, 10, 5, 7)
    exact = binomtest(8, 10).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_nothing_said_is_unknown_and_not_zero() -> None:
    found = precision(said(_=3, duplicate=2))
    assert (found.share, found.low, found.high) == (None, None, None)
    assert precision(said(real=4)).high == 1.0
    assert precision(said(false=4)).low == 0.0


@pytest.mark.parametrize(("real", "judged"), [(0, 1), (0, 6), (1, 1), (7, 9), (10, 10), (40, 100)])
def test_the_interval_is_that_of_clopper_and_pearson(real: int, judged: int) -> None:
    known = binomtest(real, judged).proportion_ci(method="exact")
    assert exact_interval(real, judged) == pytest.approx((known.low, known.high), abs=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_interval_covers_at_least_as_often_as_it_says(share: float) -> None:
    found = np.random.default_rng(7).binomial(15, share, 2000)
    bounds = {k: exact_interval(int(k), 15) for k in np.unique(found)}
    covered = np.mean([bounds[k][0] <= share <= bounds[k][1] for k in found])
    assert covered >= 0.945, "exact is never below 95 %, apart from the noise of the simulation"
