"""What a baseline learns, what it leaves out, and when it changes its mind."""

from __future__ import annotations

import numpy as np
import pytest
from counting import DAY, START, block, scanner, series, wandering

from tocsin.assess.window import Window


def learned(bad, total):
    names = series(len(total))
    window = Window([scanner(name) for name in names])
    window.advance(block(names, bad, total))
    return window.usual()


@pytest.mark.parametrize("per_minute", [20, 300, 20_000])
@pytest.mark.parametrize("rho", [0.002, 0.02])
def test_over_dispersion_is_found_by_moments(per_minute: int, rho: float) -> None:
    rng = np.random.default_rng(1)
    rate, shape = 0.03, (20, 7 * DAY)
    share = rng.beta(rate * (1 - rho) / rho, (1 - rate) * (1 - rho) / rho, shape)
    total = rng.poisson(per_minute, shape)
    usual = learned(rng.binomial(total, share), total)
    assert np.median(usual.rate) == pytest.approx(rate, rel=0.05)
    one, three, twelve, *_ = np.median(usual.rho, axis=1)
    # The prior, a rate that wanders by 70 % of itself, still weighs 5 in 89 after a week of hours.
    left = 5 / 89 * 0.5 * rate
    assert one == pytest.approx(rho + left, rel=0.12)
    # Independent minutes even out: over twelve of them a twelfth of the variance is left.
    assert three == pytest.approx(rho / 3 + left, rel=0.12)
    assert twelve == pytest.approx(rho / 12 + left, rel=0.12)


def test_a_rate_that_wanders_slowly_is_as_unsteady_over_twelve_minutes() -> None:
    rng = np.random.default_rng(2)
    share = wandering(rng, 20, 7 * DAY, 0.02, 0.25)
    total = rng.poisson(100, share.shape)
    usual = learned(rng.binomial(total, share), total)
    assert np.median(usual.rho[2]) == pytest.approx(np.median(usual.rho[0]), rel=0.15)


def test_low_traffic_keeps_the_cautious_prior() -> None:
    rng = np.random.default_rng(3)
    total = rng.poisson(2, (20, 7 * DAY))
    usual = learned(rng.binomial(total, 0.004), total)
    assert np.median(usual.rho[0]) > 0.0005


def test_an_incident_does_not_become_usual() -> None:
    rng = np.random.default_rng(4)
    total = rng.poisson(50, (10, 3 * DAY))
    share = np.full(3 * DAY, 0.01)
    share[2 * DAY : 2 * DAY + 240] = 0.4
    bad = rng.binomial(total, share)
    usual = learned(bad, total)
    assert bad.sum(axis=1).min() / total.sum(axis=1).max() > 0.03
    assert usual.rate == pytest.approx(np.full(10, 0.01), rel=0.12)


def test_after_a_whole_day_the_new_rate_is_the_usual_one() -> None:
    rng = np.random.default_rng(5)
    total = rng.poisson(50, (1, 5 * DAY))
    share = np.full(5 * DAY, 0.01)
    share[2 * DAY :] = 0.3
    bad = rng.binomial(total, share)
    names = series()
    window = Window([scanner(names[0])])
    window.advance(block(names, bad, total, START, START + 3 * DAY - 60))
    assert window.usual().rate[0] == pytest.approx(0.01, rel=0.1)
    window.advance(block(names, bad, total, START + 3 * DAY - 60, START + 5 * DAY))
    assert window.usual().rate[0] == pytest.approx(0.3, rel=0.05)


def test_what_is_older_than_a_week_is_forgotten() -> None:
    rng = np.random.default_rng(6)
    total = rng.poisson(50, (1, 20 * DAY))
    share = np.repeat([0.02, 0.012], 10 * DAY)
    usual = learned(rng.binomial(total, share), total)
    assert usual.rate[0] == pytest.approx(0.012, rel=0.05)
    assert 7 * 24 <= usual.hours[0] <= 8 * 24


def test_the_last_fifteen_minutes_are_not_learned() -> None:
    total = np.full((1, 8 * 60 + 14), 10)
    assert learned(total * 0, total).hours[0] == 7
    total = np.full((1, 8 * 60 + 15), 10)
    assert learned(total * 0, total).hours[0] == 8


def test_hours_without_calls_teach_nothing() -> None:
    total = np.zeros((1, DAY), np.int64)
    total[0, :120] = 200
    usual = learned(total * 0, total)
    assert (usual.hours[0], usual.calls[0]) == (2, 24_000)
    assert not usual.is_known[0]
