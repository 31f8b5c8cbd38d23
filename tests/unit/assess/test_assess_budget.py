"""Budgets: calendar periods, projections, forecasts, and what long memories hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from counting import DAY, START, block, objective, series
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.budget import objective_status
from tocsin.assess.period import Calendar, Length
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute
from tocsin.domain.series import HourBlock


def calendar(count: int = 1, unit: str = "M", zone: str = "UTC", minute: int = START):
    """Periods of which one begins with `minute`."""
    from zoneinfo import ZoneInfo

    local = from_minute(minute).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return Calendar(Length(count, unit), local, zone)


def periodic(name, periods: Calendar, target: float = 0.99):
    monitor = objective(name, target, periods.length.minutes)
    return replace(monitor, method=replace(monitor.method, calendar=periods))


def test_a_calendar_budget_begins_anew_with_its_period() -> None:
    names = series(1)
    minutes = 8 * DAY
    total = np.full((1, minutes), 10)
    bad = np.zeros_like(total)
    bad[0, 6 * DAY : 7 * DAY] = 1
    monitor = periodic(names[0], calendar(1, "w"))
    window = Window([monitor])
    week = 7 * DAY
    window.advance(block(names, bad, total, START, START + week))
    last = objective_status(window, monitor, START + week - 1)
    assert (last.bad, last.total, last.period) == (DAY, 10 * week, (START, START + week))
    window.advance(block(names, bad, total, START + week, START + week + 1))
    fresh = objective_status(window, monitor, START + week)
    assert (fresh.bad, fresh.total, fresh.remaining) == (0, 10, 1.0)
    assert fresh.period == (START + week, START + 2 * week)
    assert fresh.period_name == "calendar week, UTC"


def test_early_in_a_period_the_projection_says_what_the_so_far_exaggerates() -> None:
    names = series(1)
    minutes = 7 * DAY + DAY
    total = np.full((1, minutes), 10)
    bad = np.zeros_like(total)
    bad[0, 7 * DAY : 7 * DAY + 288] = 1
    monitor = periodic(names[0], calendar(1, "w"))
    window = Window([monitor])
    window.advance(block(names, bad, total))
    status = objective_status(window, monitor, START + minutes - 1)
    assert status.remaining == pytest.approx(1 - 288 / (0.01 * 10 * DAY))
    assert status.remaining_projected == pytest.approx(1 - 288 / (0.01 * 10 * 7 * DAY))


def test_the_projection_repeats_last_week_hour_by_hour() -> None:
    names = series(1)
    rng = np.random.default_rng(4)
    week = np.repeat(rng.integers(1, 50, 7 * 24), 60)
    total = np.tile(week, 3)[None, : 17 * DAY]
    monitor = periodic(names[0], calendar(2, "w"))
    window = Window([monitor])
    window.advance(block(names, total * 0, total))
    status = objective_status(window, monitor, START + 17 * DAY - 1)
    bad_if_all_budget = 0.01 * 2 * week.sum()
    assert status.remaining_projected == 1.0
    bad = total * 0
    bad[0, -1] = 1
    window.advance(block(names, bad, total, START + 17 * DAY - 1))
    status = objective_status(window, monitor, START + 17 * DAY - 1)
    assert status.remaining_projected == pytest.approx(1 - 1 / bad_if_all_budget)


def test_a_forecast_is_as_uncertain_as_the_speed_it_rests_on() -> None:
    names = series(1)
    total = np.full((1, 20 * DAY), 1)
    bad = np.zeros_like(total)
    bad[0, -60::10] = 1
    monitor = objective(names[0], 0.99)
    window = Window([monitor])
    window.advance(block(names, bad, total))
    forecast = objective_status(window, monitor, START + 20 * DAY - 1).forecast
    # 6 of 60: twice to nearly never as fast as it looks.
    assert forecast.earliest < forecast.minutes < forecast.latest
    assert forecast.earliest == pytest.approx(forecast.minutes * 0.1 / 0.1883, rel=0.01)


def test_a_budget_that_outlives_its_period_is_not_exhausted() -> None:
    names = series(1)
    total = np.full((1, 3 * DAY), 100)
    bad = np.zeros_like(total)
    bad[0, -60:] = 1
    for unit, is_within in (("M", True), ("w", False)):
        monitor = periodic(names[0], calendar(1, unit), 0.992)
        window = Window([monitor])
        window.advance(block(names, bad, total))
        status = objective_status(window, monitor, START + 3 * DAY - 1)
        assert (status.minutes_to_exhaustion is not None) is is_within


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_minutes_of_any_partition_sum_to_the_whole(data) -> None:
    """Cut time anywhere: blocks, overlaps, hours told late; periods of any zone stay exact."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    zone = data.draw(st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin"]))
    first = START + data.draw(st.integers(0, 200))
    minutes = data.draw(st.integers(10, 16)) * DAY
    total = rng.poisson(3, (2, minutes))
    bad = rng.binomial(total, 0.1)
    names = series(2)
    periods = calendar(1, "w", zone, START + data.draw(st.integers(0, 7 * DAY)))
    monitors = [periodic(name, periods) for name in names]
    window = Window(monitors)
    stop = first
    while stop < first + minutes:
        start = max(stop - int(rng.integers(0, 16)), first)
        stop = min(stop + int(rng.choice([1, 59, 60, 61, 700, 3000])), first + minutes)
        window.advance(block(names, bad, total, start, stop, origin=first))
    last = (first + minutes) // 60 - 1
    hour = data.draw(st.integers(last - 6 * 24, last))
    more = rng.poisson(2, 60)
    total[0, hour * 60 - first :][:60] += more
    restated = block(names, bad, total, hour * 60, hour * 60 + 60, origin=first)
    assert window.restate(replace(restated, series=names[:1], bad=restated.bad[:1],
                                  total=restated.total[:1]))  # fmt: skip
    end = first + minutes
    begin, _ = periods.period_at(end - 1)
    for row, monitor in enumerate(monitors):
        status = objective_status(window, monitor, end - 1)
        here = slice(max(begin - first, 0), None)
        assert (status.bad, status.total) == (bad[row, here].sum(), total[row, here].sum())


def test_hours_recalled_from_long_ago_count_in_a_quarter() -> None:
    names = series(1)
    quarter = periodic(names[0], calendar(1, "Q", minute=START))
    rng = np.random.default_rng(8)
    total = rng.poisson(5, (1, 85 * DAY))
    bad = rng.binomial(total, 0.01)
    whole, resumed = Window([quarter]), Window([quarter])
    whole.advance(block(names, bad, total))
    old = 55 * 24
    by_hour = [x[:, : old * 60].reshape(1, old, 60).sum(axis=2) for x in (bad, total)]
    resumed.recall(HourBlock(START // 60, names, by_hour[0][:, :700], by_hour[1][:, :700]))
    resumed.recall(HourBlock(START // 60 + 700, names, by_hour[0][:, 700:], by_hour[1][:, 700:]))
    resumed.advance(block(names, bad, total, START + old * 60))
    end = START + 85 * DAY
    one, other = (objective_status(w, quarter, end - 1) for w in (whole, resumed))
    assert one == other
    assert (one.bad, one.total) == (bad.sum(), total.sum())
    assert one.covered_minutes == 85 * DAY
