"""Burn tables, and what is said about steps nobody will ever see fire."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.assess.burn import burn_rate, burns_faster, presets, span, unreachable
from tocsin.assess.monitor import Objective

HOUR, DAY = 60, 1440


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        (30 * DAY, [(14.4, 60, 5), (6, 360, 30), (3, 1440, 120), (1, 4320, 360)]),
        (28 * DAY, [(13.44, 60, 5), (5.6, 360, 30), (2.8, 1440, 120), (0.933333, 4320, 360)]),
        (90 * DAY, [(43.2, 60, 5), (18, 360, 30), (9, 1440, 120), (3, 4320, 360)]),
        (7 * DAY, [(13.44, 60, 5), (3.5, 360, 30), (1.4, 1440, 120), (0.98, 4320, 360)]),
        (DAY, [(4.8, 30, 5), (3, 120, 15), (2, 360, 60)]),
        (HOUR, [(3, 5, 1), (2, 15, 5)]),
    ],
)
def test_the_named_periods_have_the_published_factors(period, expected) -> None:
    steps = presets(period)
    assert [(s.factor, s.long_minutes, s.short_minutes) for s in steps] == [
        (pytest.approx(factor, rel=1e-5), long, short) for factor, long, short in expected
    ]
    assert steps[0].severity == "page"
    assert steps[-1].severity == "ticket"


@given(st.integers(HOUR, 90 * DAY))
def test_every_period_gets_steps_that_make_sense(period: int) -> None:
    steps = presets(period)
    for step in steps:
        assert 1 <= step.short_minutes < step.long_minutes <= min(period, 3 * DAY)
        assert step.factor > 0.9
    assert [step.severity for step in steps] == sorted(step.severity for step in steps)


@pytest.mark.parametrize("period", [0, 1, 59])
def test_a_period_below_an_hour_is_refused(period: int) -> None:
    with pytest.raises(ValueError, match="M is months"):
        presets(period)


def test_a_year_alerts_like_ninety_days() -> None:
    assert presets(365 * DAY) == presets(90 * DAY)


def test_a_burn_rate_without_calls_is_not_a_number() -> None:
    assert math.isnan(burn_rate(0, 0, 0.01))
    assert not burns_faster(0, 0, 0.01, 1.0)


@pytest.mark.parametrize(
    ("bad", "total", "target", "factor", "fires"),
    [
        (1440, 100_000, 0.999, 14.4, False),
        (1441, 100_000, 0.999, 14.4, True),
        (10, 100, 0.9, 1.0, False),
        (11, 100, 0.9, 1.0, True),
        (3, 100, 0.97, 1.0, False),
    ],
)
def test_a_factor_must_be_exceeded_not_met(bad, total, target, factor, fires) -> None:
    budget = Objective(target, 30 * DAY, ()).budget
    assert bool(burns_faster(bad, total, budget, factor)) is fires


def test_steps_that_cannot_fire_are_named() -> None:
    never = unreachable(Objective(0.93, 30 * DAY, presets(30 * DAY)))
    assert never[0].startswith("the 1 h / 5 m page (14.4x) can never fire")
    rarely = unreachable(Objective(0.95, 30 * DAY, presets(30 * DAY)))
    assert rarely == ("the 1 h / 5 m page (14.4x) needs more than 72 % of calls to be bad",)
    assert unreachable(Objective(0.999, 30 * DAY, presets(30 * DAY))) == ()


def test_spans_read_like_people_write_them() -> None:
    assert [span(m) for m in (0, 5, 60, 90, 1440, 43_200)] == [
        "0 m", "5 m", "1 h", "1 h 30 m", "1 d", "30 d",
    ]  # fmt: skip


@given(st.integers(0, 1000), st.integers(1, 1000), st.floats(0.001, 0.5))
def test_more_bad_calls_never_lower_the_burn(bad: int, total: int, budget: float) -> None:
    bad = min(bad, total - 1)
    assert burn_rate(bad + 1, total, budget) > burn_rate(bad, total, budget)
    assert np.isfinite(burn_rate(bad, total, budget))
