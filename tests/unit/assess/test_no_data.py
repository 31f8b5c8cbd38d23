"""Silence against a series' own silences: nights, weekends, trickles, bursts, and outages."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import NoDataConfig
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.gauges.week import WeekOfHours

GRID = Grid(60)
DAY = 1440
MINUTE = np.arange(21 * DAY)
# 29,000,160 is a full hour and DAY * 7 * n is a Thursday; begin on a Monday.
MONDAY = 4 * DAY


def traffic(pattern: str, rows: int = 12, seed: int = 5) -> Floats:
    """Calls [minute, row] of three weeks."""
    rng = np.random.default_rng(seed)
    hour, day = MINUTE // 60 % 24, MINUTE // DAY % 7
    rate = np.full(len(MINUTE), 3.0)
    if pattern == "trickle":
        rate[:] = 4.0 / 60.0
    if pattern in ("nights", "weekends"):
        rate[(hour < 8) | (hour >= 20)] = 0.0
    if pattern == "weekends":
        rate[day >= 5] = 0.0
    calls = rng.poisson(rate[:, None], (len(MINUTE), rows)).astype(float)
    if pattern == "bursts":
        starts = rng.random((len(MINUTE), rows)) < 1 / 90
        calls = rng.poisson(20.0, (len(MINUTE), rows)) * starts.astype(float)
    return calls


def rings(calls: Floats, **settings: float) -> np.ndarray:
    """Whether it rings [minute, row], judged hour by hour as time goes by."""
    config = NoDataConfig(**settings)
    scorer = NoDataConfig.scorer([config] * calls.shape[1], GRID)
    padded = np.concatenate([np.full((GRID.lead, calls.shape[1]), np.nan), calls])
    found = np.zeros(calls.shape, np.bool_)
    for start in range(0, len(calls), 60):
        recent = padded[start : start + GRID.lead + 60]
        judged = scorer.judge(recent, MONDAY + start)
        with np.errstate(invalid="ignore"):
            found[start : start + 60] = judged.evidence >= scorer.limit
        scorer.learn((MONDAY + start) // 60, recent[GRID.lead :], judged)
    return found


@pytest.mark.parametrize("pattern", ["steady", "trickle", "nights", "bursts"])
def test_silences_that_belong_to_a_series_ring_for_nobody(pattern: str) -> None:
    # Twelve series for twenty days: evidence of 6 allows well below one false alarm.
    assert rings(traffic(pattern)).sum() == 0


def test_weekends_ring_once_and_are_known_after_that() -> None:
    found = rings(traffic("weekends"))
    assert found[5 * DAY : 7 * DAY].any(axis=0).all()
    assert not found[7 * DAY + 9 * 60 :].any()


@pytest.mark.parametrize(
    ("pattern", "within"),
    [("steady", 6), ("nights", 20), ("trickle", 16 * 60), ("bursts", 2 * DAY)],
)
def test_an_outage_is_told_and_stays_told_until_calls_come_again(pattern: str, within: int) -> None:
    calls = traffic(pattern)
    begin, end = 15 * DAY + 10 * 60, 18 * DAY
    calls[begin:end] = 0.0
    found = rings(calls)
    for row in range(calls.shape[1]):
        first = int(np.argmax(found[:, row]))
        assert begin < first <= begin + within
        assert found[first:end, row].all()
        assert not found[end + np.argmax(calls[end:, row] > 0) + 1 :, row].any()


def test_minutes_that_nobody_read_are_no_silence() -> None:
    calls = traffic("steady")
    calls[15 * DAY : 15 * DAY + 300] = np.nan
    assert not rings(calls).any()


def test_what_never_called_is_unknown() -> None:
    scorer = NoDataConfig.scorer([NoDataConfig()], GRID)
    for hour in range(50):
        judged = scorer.judge(np.zeros((GRID.lead + 60, 1)), hour * 60)
        scorer.learn(hour, np.zeros((60, 1)), judged)
    assert np.isnan(judged.evidence).all()


def test_an_hour_expects_no_more_than_its_neighbours_and_last_week_had() -> None:
    week = WeekOfHours(1)
    for hour in range(168):
        busy = 10.0 if 9 <= hour % 24 < 17 else 0.0
        week.learn(np.array([hour * 3600]), np.array([[busy]]))
    at = np.array([12, 9, 16, 3, 24 + 12]) * 3600
    calls, hazard = week.expected(at)[:, :, 0]
    np.testing.assert_array_equal(calls, [10.0, 0.0, 0.0, 0.0, 10.0])
    np.testing.assert_allclose(hazard, np.log([2, 1, 1, 1, 2]), rtol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"measure": "p95"}, {"over": 5}, {"for_minutes": 2}, {"threshold": 1.0},
                 {"min_minutes": 0}]
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"volume minute by minute|threshold|min_minutes"):
        NoDataConfig(**settings)
