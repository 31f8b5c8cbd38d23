"""Tail probabilities against scipy.stats, and the bounds by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln, gammaln, logsumexp

from tocsin.assess.scan import Limits, scan
from tocsin.assess.tails import surprise, surprise_if_log_normal
from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper


def shapes(rate: float, rho: float) -> tuple[float, float]:
    return rate * (1 - rho) / rho, (1 - rate) * (1 - rho) / rho


@pytest.mark.parametrize("n", [1, 2, 6, 61, 300])
@pytest.mark.parametrize("rate", [1e-4, 0.004, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("rho", [1e-6, 0.002, 0.02, 0.3])
def test_the_tail_is_that_of_scipys_beta_binomial(n: int, rate: float, rho: float) -> None:
    k = np.arange(n + 1)
    alpha, beta = shapes(rate, rho)
    mass = stats.betabinom.pmf(k, n, alpha, beta)
    expected = mass[::-1].cumsum()[::-1]
    exact = np.flatnonzero(expected > 1e-250)
    assert surprise(k[exact], n, rate, rho) == pytest.approx(
        np.maximum(-np.log10(expected[exact]), 0), abs=1e-4
    )


@pytest.mark.parametrize("n", [20_000, 240_000])
@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.3])
@pytest.mark.parametrize("rho", [1e-6, 0.002, 0.2])
def test_the_tail_of_very_many_calls_equals_the_sum_of_all_terms(
    n: int, rate: float, rho: float
) -> None:
    x = np.arange(n + 1.0)
    alpha, beta = shapes(rate, rho)
    choose = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    log_mass = choose + betaln(x + alpha, n - x + beta) - betaln(alpha, beta)
    sd = np.sqrt(n * rate * (1 - rate) * (1 + (n - 1) * rho))
    for k in {int(min(n, n * rate + z * sd)) for z in (0, 1, 3, 6)} | {3}:
        expected = -logsumexp(log_mass[k:]) / np.log(10)
        assert surprise(k, n, rate, rho) == pytest.approx(max(expected, 0), abs=1e-4)


def test_without_over_dispersion_the_tail_is_binomial() -> None:
    expected = -stats.binom.logsf(8, 61, 0.004) / np.log(10)
    assert surprise(9, 61, 0.004, 0.0) == pytest.approx(expected, rel=1e-4)


def test_nothing_bad_is_no_surprise_and_more_than_all_is_impossible() -> None:
    assert surprise(0, 50, 0.1, 0.01) == 0.0
    assert surprise(0, 0, 0.1, 0.01) == 0.0
    assert surprise(7, 6, 0.1, 0.01) == np.inf


@given(
    n=st.integers(1, 5000),
    k=st.integers(0, 5000),
    rate=st.floats(1e-5, 0.6),
    rho=st.floats(0, 0.1),
)
def test_one_more_bad_call_never_surprises_less(n: int, k: int, rate: float, rho: float) -> None:
    k = min(k, n - 1)
    fewer, more = surprise([k, k + 1], n, rate, rho)
    assert more >= fewer - 1e-6


@pytest.mark.parametrize(
    ("k", "n", "rate", "rho"),
    [(4, 6, 0.005, 0.004), (60, 600, 0.01, 0.0025), (1300, 20_000, 0.01, 0.0028)],
)
def test_a_log_normal_rate_is_summed_up_to_a_twentieth(
    k: int, n: int, rate: float, rho: float
) -> None:
    sigma = np.sqrt(np.log1p(rho * (1 - rate) / rate))
    z = np.linspace(-8.0, 12.0, 200_001)
    each = np.minimum(rate * np.exp(sigma * z - sigma**2 / 2), 1.0)
    exact = np.trapezoid(stats.binom.sf(k - 1, n, each) * stats.norm.pdf(z), z)
    (found,) = surprise_if_log_normal(*([x] for x in (k, n, rate, rho)))
    assert found == pytest.approx(-np.log10(exact), abs=0.05)


def test_of_very_many_calls_only_the_rate_decides() -> None:
    n, rate, sigma = 10**9, 0.01, 0.5
    rho = np.expm1(sigma**2) * rate / (1 - rate)
    k = n * rate * np.exp(4 * sigma - sigma**2 / 2)  # four standard deviations of its logarithm
    (found,) = surprise_if_log_normal([k], [n], [rate], [rho])
    assert found == pytest.approx(-np.log10(stats.norm.sf(4)), abs=0.02)
    assert surprise(k, n, rate, rho) > found + 0.5  # a beta distribution has a lighter tail


@pytest.mark.parametrize("share", [0.001, 0.01, 0.2, 0.5])
@pytest.mark.parametrize("n", [20, 500, 20_000])
def test_clopper_pearson_bounds_miss_the_truth_at_most_as_often_as_promised(
    share: float, n: int
) -> None:
    k = np.arange(n + 1)
    mass = stats.binom.pmf(k, n, share)
    assert mass[clopper_pearson_lower(k, n, 0.95) > share].sum() <= 0.05 + 1e-9
    assert mass[clopper_pearson_upper(k, n, 0.95) < share].sum() <= 0.05 + 1e-9


def test_bounds_without_calls_say_nothing() -> None:
    assert clopper_pearson_lower(0, 0) == 0.0
    assert clopper_pearson_upper(0, 0) == 1.0
    assert clopper_pearson_upper(0, 10) == pytest.approx(1 - 0.05 ** (1 / 10))


def test_the_cheap_screen_of_the_scan_hides_no_breach() -> None:
    for n in (1, 3, 12, 60, 600, 60_000):
        for rate in (1e-4, 0.001, 0.01, 0.05, 0.2, 0.3, 0.5):
            for rho in (1e-8, 1e-4, 0.01, 0.05, 0.2):
                k = np.unique(np.linspace(max(n * rate, 1), n, 200).round().astype(np.int64))
                counts = np.broadcast_to(k, (3, k.size))
                total, rhos = np.full_like(counts, n), np.full(counts.shape, rho)
                found = scan(counts, total, np.full(k.size, rate), rhos, Limits(3.0, 1, 1.0))
                tail = surprise(k, n, rate, rho)
                if (n - 1) * rho > 4.0:  # the rate decides
                    each = (np.full(k.size, x) for x in (n, rate, rho))
                    tail = np.minimum(tail, surprise_if_log_normal(k, *each))
                exact = (tail - np.log10(3) >= 3.0) & (k > n * rate)
                breaching = set(found.breaching[1][found.breaching[0] == 0])
                assert set(np.flatnonzero(exact)) == breaching, (n, rate, rho)
