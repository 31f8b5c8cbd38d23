"""What histograms of others say about their values, held against the values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tocsin.indicators.distributions import Explicit, Exponential, added, since

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def values(seed: int, n: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(-1.0, 1.2, n)


def explicit(x: np.ndarray) -> Explicit:
    places = np.searchsorted(BOUNDS, x, side="left")
    return Explicit(BOUNDS, np.bincount(places, minlength=len(BOUNDS) + 1))


def exponential(x: np.ndarray, scale: int) -> Exponential:
    positive, negative = x[x > 0], -x[x < 0]

    def buckets(y: np.ndarray) -> tuple[int, np.ndarray]:
        if not len(y):
            return 0, np.zeros(0, np.int64)
        index = np.ceil(np.log2(y) * 2.0**scale).astype(int) - 1
        return int(index.min()), np.bincount(index - index.min())

    offset, counts = buckets(positive)
    below, negatives = buckets(negative)
    return Exponential(scale, int((x == 0).sum()), offset, counts, below, negatives)


def nearest_rank(x: np.ndarray, q: float) -> float:
    return float(np.sort(x)[max(math.ceil(q * len(x)), 1) - 1])


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("scale", [-1, 0, 3, 7])
def test_an_exponential_quantile_is_right_to_the_root_of_its_base(scale: int, q: float) -> None:
    x = values(1)
    found = exponential(x, scale).quantile(q)
    assert found is not None
    exact, most = nearest_rank(x, q), math.sqrt(2.0 ** (2.0**-scale))
    assert found.low < exact <= found.high
    assert 1 / most <= found.value / exact <= most * (1 + 1e-12)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.95, 0.999])
def test_an_explicit_quantile_lies_in_the_bucket_it_names(q: float) -> None:
    x = values(2)
    found = explicit(x).quantile(q)
    assert found is not None
    assert found.low <= nearest_rank(x, q) <= found.high
    assert found.low <= found.value <= found.high


def test_a_quantile_beyond_the_last_bound_is_at_least_that_bound() -> None:
    found = explicit(np.array([20.0, 30.0])).quantile(0.95)
    assert found is not None
    assert (found.value, found.low, found.high) == (10.0, 10.0, math.inf)


def test_nothing_has_no_quantile() -> None:
    assert explicit(np.array([])).quantile(0.5) is None
    assert exponential(np.array([]), 3).quantile(0.5) is None
    assert Explicit((), np.array([7])).quantile(0.5) is None


def test_values_below_zero_and_zeros_are_ordered_before_the_others() -> None:
    x = np.array([-8.5, -0.1, 0.0, 0.0, 3.0])
    found = [exponential(x, 5).quantile(q) for q in (0.2, 0.4, 0.6, 1.0)]
    assert [each.value for each in found if each] == pytest.approx(
        [-8.5, -0.1, 0.0, 3.0], rel=0.011
    )


@pytest.mark.parametrize("scales", [(4, 4), (4, 1), (6, -2)])
def test_what_came_since_is_the_histogram_of_what_came_since(scales: tuple[int, int]) -> None:
    first, second = values(3, 500), values(4, 700) * 40
    earlier, later = scales
    whole = exponential(np.concatenate((first, second)), later)
    fresh = since(whole, exponential(first, earlier))
    assert isinstance(fresh, Exponential)
    assert fresh.total == len(second)
    for q in (0.05, 0.5, 0.95):
        expected = exponential(second, later).quantile(q)
        assert fresh.quantile(q) == expected


def test_parts_of_unlike_scale_add_up_to_the_whole() -> None:
    x = values(5)
    both = added(exponential(x[:1000], 6), exponential(x[1000:], 2))
    whole = exponential(x, 2)
    assert isinstance(both, Exponential)
    assert both.offset == whole.offset
    assert both.counts.tolist() == whole.counts.tolist()


def test_unlike_bounds_are_neither_added_nor_subtracted() -> None:
    a, b = Explicit((1.0,), np.array([1, 2])), Explicit((2.0,), np.array([1, 2]))
    assert added(a, b) is None
    assert since(a, b) is None
    assert added(a, exponential(values(6), 3)) is None
    assert since(a, None) is None


def test_a_later_state_with_fewer_values_is_no_later_state() -> None:
    x = values(7)
    assert since(explicit(x[:10]), explicit(x)) is None
    assert since(exponential(x[:10], 3), exponential(x, 3)) is None
