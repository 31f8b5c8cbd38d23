"""Realized precision: what is counted, and intervals that cover."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from tocsin.assess.precision import precision
from tocsin.domain.evidence import Review

AT = datetime(2026, 3, 2, tzinfo=UTC)


def said(**verdicts: int) -> list[Review]:
    return [
        Review("i", "chat", "detector/x", "error_rate", "cx", 1, AT, AT, verdict=verdict.strip("_"))
        for verdict, count in verdicts.items()
        for _ in range(count)
    ]


def test_duplicates_and_silence_are_in_no_share() -> None:
    found = precision(said(real=8, false=1, noise=1, duplicate=5, _=7))
    assert (found.share, found.judged, found.duplicate, found.unanswered) == (0.8, 10, 5, 7)
    exact = stats.binomtest(8, 10).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_nothing_said_is_unknown_and_not_zero() -> None:
    found = precision(said(_=3))
    assert (found.share, found.low, found.high) == (None, 0.0, 1.0)
    assert precision(said(real=4)).high == 1.0
    assert precision(said(false=4)).low == 0.0


def test_the_interval_covers_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    for true in (0.1, 0.5, 0.9):
        covered = 0
        for real in rng.binomial(15, true, 400).tolist():
            found = precision(said(real=real, false=15 - real))
            covered += found.low <= true <= found.high
        assert covered >= 400 * 0.95 - 2 * np.sqrt(400 * 0.95 * 0.05)
