"""Calendar budgets: where periods begin, whatever clocks and months do."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.period import Calendar, Length
from tocsin.domain.clock import from_minute, to_minute

BERLIN, NEW_YORK, KOLKATA = "Europe/Berlin", "America/New_York", "Asia/Kolkata"


def every(count: int, unit: str, start: str, zone: str = "UTC") -> Calendar:
    return Calendar(Length(count, unit), datetime.fromisoformat(start), zone)


def at(text: str) -> int:
    return to_minute(datetime.fromisoformat(text))


def local(periods: Calendar, minute: int) -> list[str]:
    """The period of `minute` in its own local time."""
    zone = ZoneInfo(periods.zone)
    return [
        from_minute(edge).astimezone(zone).isoformat(timespec="minutes")
        for edge in periods.period_at(minute)
    ]


@pytest.mark.parametrize(
    ("periods", "minute", "expected"),
    [
        # 29 March 2026 has 23 hours in Berlin, 25 October has 25.
        (every(1, "d", "2026-01-01", BERLIN), "2026-03-29T12:00Z",
         ["2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"]),
        (every(1, "d", "2026-01-01", BERLIN), "2026-10-25T12:00Z",
         ["2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"]),
        (every(1, "M", "2026-01-01", BERLIN), "2026-03-31T21:59Z",
         ["2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"]),
        (every(1, "M", "2026-01-01", BERLIN), "2026-03-31T22:00Z",
         ["2026-04-01T00:00+02:00", "2026-05-01T00:00+02:00"]),
        # The anchor's day survives short months.
        (every(1, "M", "2026-01-31"), "2026-02-15T00:00Z",
         ["2026-01-31T00:00+00:00", "2026-02-28T00:00+00:00"]),
        (every(1, "M", "2026-01-31"), "2026-03-30T23:59Z",
         ["2026-02-28T00:00+00:00", "2026-03-31T00:00+00:00"]),
        (every(1, "M", "2024-01-31"), "2024-02-29T00:00Z",
         ["2024-02-29T00:00+00:00", "2024-03-31T00:00+00:00"]),
        (every(1, "Q", "2025-11-30", NEW_YORK), "2026-03-01T12:00Z",
         ["2026-02-28T00:00-05:00", "2026-05-30T00:00-04:00"]),
        (every(1, "Y", "2024-02-29"), "2026-02-28T00:00Z",
         ["2026-02-28T00:00+00:00", "2027-02-28T00:00+00:00"]),
        (every(2, "w", "2022-01-01T12:00", NEW_YORK), "2026-11-01T12:00Z",
         ["2026-10-31T12:00-04:00", "2026-11-14T12:00-05:00"]),
        # Hours are spans of time: the wall clock shows the repeated hour twice.
        (every(12, "h", "2026-10-24T18:00", BERLIN), "2026-10-25T02:00Z",
         ["2026-10-24T18:00+02:00", "2026-10-25T05:00+01:00"]),
        # 02:30 does not exist on that morning in New York and comes twice in autumn.
        (every(1, "d", "2026-03-01T02:30", NEW_YORK), "2026-03-08T08:00Z",
         ["2026-03-08T03:30-04:00", "2026-03-09T02:30-04:00"]),
        (every(1, "d", "2026-03-01T01:30", NEW_YORK), "2026-11-01T05:45Z",
         ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
        (every(1, "M", "2026-01-01", KOLKATA), "2026-01-31T18:30Z",
         ["2026-02-01T00:00+05:30", "2026-03-01T00:00+05:30"]),
        # Before the anchor there are periods too.
        (every(1, "M", "2030-01-01"), "2026-11-16T09:00Z",
         ["2026-11-01T00:00+00:00", "2026-12-01T00:00+00:00"]),
    ],
)  # fmt: skip
def test_periods_begin_where_the_clock_on_the_wall_says(periods, minute, expected) -> None:
    assert local(periods, at(minute)) == expected


@settings(max_examples=200, deadline=None)
@given(
    unit=st.sampled_from("hdwMQY"),
    count=st.integers(1, 3),
    zone=st.sampled_from([BERLIN, NEW_YORK, KOLKATA, "Australia/Lord_Howe", "UTC"]),
    start=st.datetimes(datetime.fromisoformat("2019-01-01"), datetime.fromisoformat("2031-01-01")),
    minute=st.integers(at("2020-01-01T00:00Z"), at("2030-01-01T00:00Z")),
)
def test_periods_cover_time_without_gap_or_overlap(unit, count, zone, start, minute) -> None:
    periods = Calendar(Length(count, unit), start.replace(second=0, microsecond=0), zone)
    begin, end = periods.period_at(minute)
    assert begin <= minute < end
    assert periods.period_at(begin) == periods.period_at(end - 1) == (begin, end)
    assert periods.period_at(end)[0] == end
    assert list(periods.boundaries(begin, end + 1)) == [begin, end]
    assert list(periods.boundaries(begin + 1, end)) == []


def test_a_period_is_named_as_people_call_it() -> None:
    assert str(every(1, "M", "2026-01-01", BERLIN)) == "calendar month, Europe/Berlin"
    assert str(every(2, "w", "2026-01-01")) == "2 calendar weeks, UTC"
    assert (Length(1, "M").minutes, Length(2, "w").minutes) == (30 * 1440, 14 * 1440)
    assert from_minute(every(1, "d", "2026-01-01T00:00").period_at(0)[0]).tzinfo is UTC
