"""Recurring maintenance against dateutil's reading of RFC 5545."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.assess.recurrence import parse_rule
from tocsin.domain.clock import to_minute

rrule = pytest.importorskip("dateutil.rrule", reason="needs python-dateutil (extra aws)")

DAYS = st.lists(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1,
                max_size=3, unique=True).map(",".join)  # fmt: skip
RULES = st.one_of(
    st.builds("FREQ=DAILY;INTERVAL={}".format, st.integers(1, 9)),
    st.builds("FREQ=DAILY;BYDAY={}".format, DAYS),
    st.builds("FREQ=WEEKLY;INTERVAL={};BYDAY={}".format, st.integers(1, 3), DAYS),
    st.builds("FREQ=WEEKLY;COUNT={}".format, st.integers(1, 40)),
    st.builds("FREQ=MONTHLY;BYDAY={}{}".format, st.sampled_from([1, 2, 5, -1, -2]),
              st.sampled_from(["MO", "TU", "SU"])),
    st.builds("FREQ=MONTHLY;BYMONTHDAY={}".format, st.sampled_from(["1", "15,31", "-1", "29,-1"])),
    st.builds("FREQ=MONTHLY;INTERVAL={}".format, st.integers(1, 5)),
    st.just("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13"),
    st.just("FREQ=YEARLY"),
    st.just("FREQ=DAILY;UNTIL=20261231T235900Z"),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    rule=RULES,
    start=st.datetimes(datetime.fromisoformat("2025-01-01"), datetime.fromisoformat("2026-06-01")),
)
def test_a_rule_happens_when_dateutil_says(rule, start) -> None:
    start = start.replace(second=0, microsecond=0)
    stop = datetime.fromisoformat("2027-03-01")
    zone = ZoneInfo("UTC")
    ours = parse_rule(rule, start, "UTC")
    theirs = rrule.rrulestr(rule, dtstart=start.replace(tzinfo=zone))
    expected = theirs.between(start.replace(tzinfo=zone), stop.replace(tzinfo=zone), inc=True)
    got = list(ours.starts(0, to_minute(stop.replace(tzinfo=zone)) + 1))
    assert got == [to_minute(at) for at in expected]


def test_two_in_the_morning_stays_two_in_the_morning() -> None:
    rule = parse_rule("FREQ=WEEKLY", datetime.fromisoformat("2026-03-22T02:00"), "Europe/Berlin")
    first = to_minute(datetime.fromisoformat("2026-03-22T01:00Z"))
    hours = [(minute - first) % 1440 // 60 for minute in rule.starts(first, first + 22 * 1440)]
    # 02:00 on the 29th is skipped: 03:00 summer time is 01:00 UTC, then 02:00 is 00:00 UTC.
    assert hours == [0, 0, 23, 23]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FREQ=HOURLY", "FREQ must be one of"),
        ("FREQ=DAILY;BYHOUR=3", "'BYHOUR=3' is not understood"),
        ("FREQ=DAILY;BYDAY=1TU", "needs FREQ=MONTHLY"),
        ("FREQ=DAILY;COUNT=0", "COUNT must be a whole number"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20260101", "either COUNT or UNTIL"),
        ("FREQ=MONTHLY;BYDAY=XX", "is not a weekday"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "is not a day of a month"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL must be a time"),
        ("FREQ=YEARLY;BYDAY=MO", "use MONTHLY"),
    ],
)
def test_a_rule_that_is_not_understood_is_refused_with_the_fix(text, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_rule(text, datetime.fromisoformat("2026-01-01"), "UTC")
