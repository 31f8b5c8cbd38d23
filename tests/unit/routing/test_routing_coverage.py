"""Gaps of on-call schedules: every one is found, and nothing that is covered is one."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.routing.coverage import gaps, uncovered
from tocsin.routing.oncall import on_call
from tocsin.routing.policy import (
    Absence,
    EscalationPolicy,
    EscalationStep,
    Hours,
    OnCallSchedule,
    Override,
)

DAY = timedelta(days=1)
WEEK = frozenset(range(5))
OFFICE = Hours(WEEK, time(9), time(17))
NIGHT = Hours(frozenset(range(7)), time(17), time(9))
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def policy(*who: str) -> dict[str, EscalationPolicy]:
    return {"p": EscalationPolicy("p", (EscalationStep(who=who), EscalationStep(repeat=2)))}


def test_days_and_nights_together_leave_the_weekend_by_day() -> None:
    schedules = {
        "office": OnCallSchedule("office", ("ana", "bo"), hours=OFFICE),
        "night": OnCallSchedule("night", ("cy",), hours=NIGHT),
    }
    found = gaps(policy("oncall/office", "oncall/night"), schedules, MONDAY, MONDAY + 7 * DAY)
    saturday = MONDAY + 5 * DAY + timedelta(hours=9)
    assert [(g.start, g.stop) for g in found] == [
        (saturday, saturday + timedelta(hours=8)), (saturday + DAY, saturday + DAY * 4 / 3),
    ]  # fmt: skip
    assert "step 1 (oncall/office, oncall/night)" in str(found[0])
    # A person who is named covers everything; a schedule nobody wrote covers nothing.
    assert gaps(policy("oncall/office", "user/boss"), schedules, MONDAY, MONDAY + DAY) == ()
    (whole,) = gaps(policy("oncall/other"), schedules, MONDAY, MONDAY + DAY)
    assert (whole.start, whole.stop) == (MONDAY, MONDAY + DAY)


instants = st.integers(0, 12 * 48).map(lambda n: MONDAY + timedelta(minutes=30 * n))
spans = st.tuples(instants, instants).filter(lambda span: span[0] < span[1])
schedules = st.builds(
    OnCallSchedule,
    name=st.just("s"),
    users=st.sampled_from([(), ("ana",), ("ana", "bo")]),
    rotation=st.sampled_from(["daily", "weekly"]),
    handoff=st.sampled_from(["Mon 09:00", "Sun 02:30"]),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    overrides=st.lists(spans.map(lambda s: Override("cy", *s)), max_size=2).map(tuple),
    away=st.lists(spans.map(lambda s: Absence("ana", *s)), max_size=2).map(tuple),
    hours=st.sampled_from([None, OFFICE, NIGHT, Hours(frozenset({6}), time(0), time(0))]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(schedules, min_size=1, max_size=2), st.sampled_from([0, 140]))
def test_gaps_are_what_asking_every_half_hour_finds(
    chosen: list[OnCallSchedule], days: int
) -> None:
    start = MONDAY - days * DAY  # the second one begins in June
    stop = start + 6 * DAY
    found = uncovered(chosen, start, stop)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    at = start
    while at < stop:
        is_gap = any(begin <= at < end for begin, end in found)
        assert is_gap == all(on_call(each, at) is None for each in chosen), at
        at += timedelta(minutes=30)


def test_an_hour_that_a_change_of_clocks_skips_or_repeats_is_no_gap() -> None:
    whole = Hours(frozenset(range(7)), time(2, 30), time(2, 30))
    berlin = OnCallSchedule("s", ("ana",), tz="Europe/Berlin", hours=whole)
    for day in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        assert uncovered([berlin], day, day + 3 * DAY) == []
