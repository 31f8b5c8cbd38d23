from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.web import format as fmt
from tocsin.web import scale

START = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_value_ticks_cover_the_range_evenly_and_are_few(low: float, extent: float) -> None:
    high = low + extent
    ticks = scale.value_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 4.6, (0, 1, 2, 3, 4, 5)),
        (0, 0.021, (0, 0.005, 0.01, 0.015, 0.02, 0.025)),
        (0, 0, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_value_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert scale.value_ticks(low, high) == expected


def test_ticks_without_a_range_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        scale.value_ticks(0, float("nan"))


@pytest.mark.parametrize(
    ("length", "first", "step"),
    [
        (timedelta(hours=1), "14:10", timedelta(minutes=10)),
        (timedelta(hours=24), "15:00", timedelta(hours=3)),
        (timedelta(days=7), "3 Mar", timedelta(days=1)),
        (timedelta(days=28), "3 Mar", timedelta(days=4)),
    ],
)
def test_time_ticks_are_round_times(length: timedelta, first: str, step: timedelta) -> None:
    ticks = scale.time_ticks(START, START + length)
    assert {b - a for a, b in itertools.pairwise(ticks)} == {step}
    assert len(ticks) <= 9
    if length != timedelta(days=28):
        assert scale.time_label(ticks[0], length) == first


@pytest.mark.parametrize(
    ("value", "ticks", "unit", "text"),
    [
        (2, (0, 1, 2), "s", "2 s"),
        (0.25, (0, 0.25, 0.5), "s", "250 ms"),
        (0.025, (0, 0.025, 0.05), "ratio", "2.5 %"),
        (180, (0, 180, 360), "s", "3 min"),
        (1500, (0, 1500, 3000), "per_min", "1.5 k"),
        (0.5, (0, 0.5, 1.0), "usd", "$0.5"),
        (-1, (-1, 0, 1), "count", "−1"),
    ],
)
def test_tick_labels_carry_the_unit(value: float, ticks: tuple, unit: str, text: str) -> None:
    assert scale.tick_label(value, ticks, unit) == text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (fmt.seconds, 0.0421, "42 ms"),
        (fmt.seconds, 0.9996, "1.0 s"),
        (fmt.seconds, 5.23, "5.2 s"),
        (fmt.seconds, 59.96, "1.0 min"),
        (fmt.seconds, 78, "1.3 min"),
        (fmt.percent, 0.0612, "6.1 %"),
        (fmt.percent, 0.05, "5 %"),
        (fmt.percent, 0.31, "31 %"),
        (fmt.percent, 0.95312, "95.31 %"),
        (fmt.percent, 0.999999, "99.999 %"),
        (fmt.percent, 1.0, "100 %"),
        (fmt.percent, 0.00042, "0.042 %"),
        (fmt.percent, 0.0, "0 %"),
        (fmt.percent, -0.5, "−50 %"),
        (fmt.budget, 0.069, "6 %"),
        (fmt.budget, -0.121, "−13 %"),
        (fmt.budget, 0.29, "29 %"),
        (fmt.budget, -1e300, "<−999 %"),
        (fmt.burn, 14.21, "14.2×"),
        (fmt.count, 1284, "1,284"),
        (fmt.count, 3_200_000, "3.2 M"),
        (fmt.usd, 1284.2, "$1,284"),
        (fmt.usd, 3.4, "$3.40"),
        (fmt.usd, 0.0061, "$0.0061"),
        (fmt.usd, 0.0, "$0.00"),
        (fmt.points, -0.03, "−3 pt"),
        (fmt.span, timedelta(hours=4, minutes=33), "4 h 33 min"),
        (fmt.span, timedelta(seconds=42), "42 s"),
        (fmt.span, timedelta(days=2), "2 d"),
    ],
)
def test_numbers_read_as_people_write_them(function: object, value: object, text: str) -> None:
    assert function(value) == text


@pytest.mark.parametrize(
    "function",
    [fmt.seconds, fmt.milliseconds, fmt.percent, fmt.budget, fmt.burn, fmt.count, fmt.usd],
)
def test_unknown_is_a_dash_and_never_a_zero(function: object) -> None:
    assert function(None) == "–"
    assert function(float("nan")) == "–"


@given(st.floats(0, 0.9999999))
def test_a_share_below_one_is_never_shown_as_100_percent(share: float) -> None:
    assert fmt.percent(share) != "100 %"
