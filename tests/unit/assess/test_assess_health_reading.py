"""Intervals of what health scores measure hold what they are to hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import lognorm

from tocsin.assess.health_reading import mean_reading, quantile_reading, share_reading
from tocsin.domain.buckets import LATENCY


@pytest.mark.parametrize(("n", "q"), [(40, 0.5), (60, 0.95), (400, 0.95), (2000, 0.99)])
def test_the_interval_of_a_quantile_holds_it_whatever_the_distribution(n: int, q: float) -> None:
    rng = np.random.default_rng(n)
    true = float(lognorm(0.8, scale=900).ppf(q))
    held = 0
    for _ in range(400):
        buckets = LATENCY.bucket(rng.lognormal(math.log(900), 0.8, n) * 1000)
        found = quantile_reading(np.bincount(buckets, minlength=LATENCY.count), q, 1.0, n)
        assert found.low is not None
        assert found.high is not None
        # A bucket is 4 % wide, and its middle stands for all of it.
        held += found.low / 1.02 <= true <= found.high * 1.02
    assert held / 400 >= 0.94


@pytest.mark.parametrize("n", [5, 20, 200])
def test_the_interval_of_a_mean_is_students(n: int) -> None:
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(1000):
        values = rng.normal(0.7, 0.2, n)
        found = mean_reading(n, float(values.mean()), float((values**2).mean()))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.7 <= found.high
    assert 0.93 <= held / 1000 <= 0.97


def test_one_value_says_nothing_of_the_spread_and_few_calls_have_no_upper_bound() -> None:
    assert (mean_reading(1, 0.0, 0.0).low, mean_reading(1, 0.0, 0.0).high) == (-math.inf, math.inf)
    few = quantile_reading(np.bincount([300] * 20, minlength=LATENCY.count), 0.95, 1.0, 20)
    assert few.high == math.inf
    assert quantile_reading(np.zeros(LATENCY.count, np.int64), 0.95, 1.0, 0).value is None
    assert share_reading(0, 0, 7).events == 7
    assert share_reading(1, 10, 10, is_good=True).value == pytest.approx(0.9)
