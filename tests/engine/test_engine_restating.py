"""Which hours are owed: those that memory cannot take in and that still count somewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.period import Calendar, Length
from tocsin.assess.window import Window
from tocsin.domain.clock import to_minute
from tocsin.domain.series import HourBlock, MinuteBlock, Ratio, SeriesId
from tocsin.engine.restating import OWED_FOR, Owed, restate

NOW = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)
DAY, LAST = 1440, to_minute(NOW)
RATED, OTHER = SeriesId("chat", "feedback"), SeriesId("chat", "availability")
RATIO = Ratio("feedback_negative")
YEAR = Calendar(Length(1, "Y"), datetime(2026, 1, 1), "UTC")  # noqa: DTZ001 (in its own zone)


class Labels:
    """Ten bad labels in the first minute of every hour that is asked for."""

    def minutes(self, series, services, start, stop):
        counts = np.zeros((1, stop - start), np.int64)
        counts[0, 0] = 10
        return MinuteBlock(start, tuple(series), counts, counts)


def monitor(series: SeriesId = RATED, calendar: Calendar | None = YEAR, days: int = 366) -> Monitor:
    method = Objective(0.9, days * DAY, (), calendar=calendar)
    return Monitor("slo/x", "x", "chat", "slo_breach", "page", series, RATIO, method)


def held(one: Monitor) -> Window:
    """A window that has read a year of nothing."""
    window = Window([one])
    hours = np.zeros((1, 300 * 24), np.int64)
    first = LAST // 60 - 1 - hours.shape[1]
    window.recall(HourBlock(first, (RATED,), hours, hours))
    window.advance(MinuteBlock(LAST - 60, (RATED,), hours[:, :60], hours[:, :60]))
    return window


def test_an_hour_of_this_year_that_is_no_longer_held_is_owed_and_one_that_is_is_restated() -> None:
    window, owed = held(monitor()), Owed()
    recent, old = (LAST - 10 * DAY) // 60, (LAST - 150 * DAY) // 60
    moved, missed = restate(window, Labels(), {RATED: RATIO}, (recent, old), LAST)
    assert moved == {(recent, RATED): (10, 10)}
    assert missed == {old}
    owed.add(missed, {RATED: RATIO}, [monitor()], LAST, NOW)
    assert not owed.is_due(NOW + OWED_FOR - timedelta(seconds=1))
    assert owed.is_due(NOW + OWED_FOR)


def test_what_counts_nowhere_is_owed_to_nobody() -> None:
    last_year, old = (LAST - 330 * DAY) // 60, (LAST - 150 * DAY) // 60
    for hours, one in (
        ((last_year,), monitor()),
        ((old,), monitor(calendar=None, days=28)),
        ((old,), monitor(series=OTHER)),
    ):
        owed = Owed()
        owed.add(hours, {RATED: RATIO}, [one], LAST, NOW)
        assert not owed.is_due(NOW + timedelta(days=9))
