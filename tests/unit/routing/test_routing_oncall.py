"""Who is on call: turns, handoffs on the wall clock, overrides, gaps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.routing.oncall import ScheduleError, on_call
from tocsin.routing.policy import OnCallSchedule, Override

WEEKLY = OnCallSchedule("primary", ("ana", "bo", "cy"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def who(schedule: OnCallSchedule, text: str) -> str:
    shift = on_call(schedule, at(text))
    assert shift is not None
    return shift.user


def test_a_week_belongs_to_one_person_from_handoff_to_handoff() -> None:
    assert who(WEEKLY, "2024-01-01T08:59") == "cy"
    assert who(WEEKLY, "2024-01-01T09:00") == "ana"
    assert who(WEEKLY, "2024-01-08T08:59:59") == "ana"
    assert who(WEEKLY, "2024-01-08T09:00") == "bo"
    assert who(WEEKLY, "2024-01-22T09:00") == "ana"


def test_days_take_turns_in_a_daily_rotation() -> None:
    daily = OnCallSchedule("d", ("ana", "bo"), "daily", "09:00", starting="2026-03-01")
    assert [who(daily, f"2026-03-0{day}T12:00") for day in (1, 2, 3)] == ["ana", "bo", "ana"]
    assert who(daily, "2026-03-02T08:00") == "ana"


def test_the_first_turn_begins_on_the_first_handoff_after_the_start() -> None:
    late = replace(WEEKLY, starting="2026-03-04")  # a Wednesday
    assert who(late, "2026-03-09T09:00") == "ana"
    assert who(late, "2026-03-04T09:00") == "cy"


def test_the_handoff_is_a_time_on_the_wall_also_when_the_clocks_change() -> None:
    berlin = OnCallSchedule("b", ("ana", "bo"), "weekly", "Mon 09:00", "Europe/Berlin")
    shift = on_call(berlin, at("2026-03-25T12:00"))  # summer time begins on 29 March
    assert shift is not None
    assert (shift.start, shift.stop) == (at("2026-03-23T08:00"), at("2026-03-30T07:00"))
    assert shift.stop - shift.start == timedelta(days=7, hours=-1)
    before, after = "2026-03-30T06:59", "2026-03-30T07:00"
    assert who(berlin, before) != who(berlin, after)


def test_a_handoff_in_the_hour_that_a_change_skips_happens_all_the_same() -> None:
    daily = OnCallSchedule("d", ("ana", "bo"), "daily", "02:30", "Europe/Berlin")
    shift = on_call(daily, at("2026-03-29T12:00"))
    assert shift is not None
    assert shift.start == at("2026-03-29T01:30")


def test_a_handoff_in_the_hour_that_occurs_twice_happens_once() -> None:
    daily = OnCallSchedule("d", ("ana", "bo"), "daily", "02:30", "Europe/Berlin")
    first, second = at("2026-10-25T00:30"), at("2026-10-25T01:30")
    one, two = on_call(daily, first), on_call(daily, second)
    assert one is not None
    assert one == two
    assert one.start == first


def test_an_override_wins_while_it_lasts_and_the_last_one_listed_wins() -> None:
    swap = Override("dee", at("2024-01-02T00:00"), at("2024-01-03T00:00"))
    ill = Override("eli", at("2024-01-02T12:00"), at("2024-01-02T18:00"))
    covered = replace(WEEKLY, overrides=(swap, ill))
    assert who(covered, "2024-01-01T23:59") == "ana"
    assert who(covered, "2024-01-02T00:00") == "dee"
    assert who(covered, "2024-01-02T12:00") == "eli"
    assert who(covered, "2024-01-03T00:00") == "ana"


def test_nobody_is_a_value_not_an_error() -> None:
    assert on_call(replace(WEEKLY, users=()), at("2024-01-02T00:00")) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tz": "Mars/Olympus"}, "'Mars/Olympus' is not a time zone"),
        ({"tz": "../etc/passwd"}, "is not a time zone"),
        ({"handoff": "Mo 9"}, "handoff 'Mo 9'"),
        ({"handoff": "25:00"}, "handoff '25:00'"),
        ({"handoff": "Xyz 09:00"}, "handoff 'Xyz 09:00'"),
        ({"starting": "soon"}, "starting 'soon'"),
    ],
)
def test_a_schedule_that_cannot_be_read_says_what_is_wrong(
    change: dict[str, str], said: str
) -> None:
    with pytest.raises(ScheduleError, match="primary") as error:
        on_call(replace(WEEKLY, **change), at("2024-01-02T00:00"))  # type: ignore[arg-type]
    assert said in str(error.value)


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati",
     "Asia/Kathmandu", "America/St_Johns"]
)  # fmt: skip


@given(
    st.integers(1_300_000_000, 1_900_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    zones,
    st.sampled_from(["daily", "weekly"]),
    st.sampled_from(["Mon 09:00", "Sun 02:30", "Fri 00:00", "Wed 23:59"]),
)
def test_turns_cover_time_without_gap_or_overlap(
    instant: datetime, zone: str, rotation: str, handoff: str
) -> None:
    schedule = OnCallSchedule("s", ("a", "b", "c"), rotation, handoff, zone)  # type: ignore[arg-type]
    shift = on_call(schedule, instant)
    assert shift is not None
    assert shift.start <= instant < shift.stop
    following = on_call(schedule, shift.stop)
    last = on_call(schedule, shift.stop - timedelta(microseconds=1))
    assert following is not None
    assert last is not None
    assert following.start == shift.stop
    assert last == shift
    assert following.user == schedule.users[(schedule.users.index(shift.user) + 1) % 3]
