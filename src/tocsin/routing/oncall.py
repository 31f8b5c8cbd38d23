"""Who is on call at an instant: rotations with a handoff on the wall clock of a time zone.

A schedule may have times that are nobody's: outside its hours, while its person is away. What
matters is whether *anybody* of those whom an escalation step names is there; see `coverage`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.domain.errors import TocsinError
from tocsin.routing.policy import Hours, OnCallSchedule

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH = date(2024, 1, 1)  # a Monday
_HANDOFF = re.compile(r"(?:([A-Za-z]{3,9})\s+)?(\d{1,2}):(\d{2})")


class ScheduleError(TocsinError):
    """A schedule that cannot be read; the text names the schedule, the entry and the fix."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One person's turn, [start, stop) in UTC. A turn of the rotation ignores overrides in it."""

    user: str
    start: datetime
    stop: datetime
    is_override: bool = False


def on_call(schedule: OnCallSchedule, at: datetime) -> Shift | None:
    """Whose turn it is at `at`, or None when it is nobody's: no users, not its hours, away.

    Turns begin at the handoff's wall time: across a change to summer time a turn is an hour
    shorter, across the change back an hour longer. A wall time that a change skips is read as if
    the clock had not been changed; of a wall time that occurs twice, the first counts.
    Raises ScheduleError for an unknown zone, handoff or date.
    """
    for override in reversed(schedule.overrides):
        if override.start <= at < override.stop:
            return Shift(override.user, override.start, override.stop, is_override=True)
    if not schedule.users:
        return None
    zone = zone_of(schedule.tz, schedule.name)
    if schedule.hours is not None and not _is_within(schedule.hours, at.astimezone(zone)):
        return None
    shift = _turn(schedule, zone, at)
    is_away = any(a.user == shift.user and a.start <= at < a.stop for a in schedule.away)
    return None if is_away else shift


def edges(schedule: OnCallSchedule, start: datetime, stop: datetime) -> list[datetime]:
    """Every instant in (start, stop) at which somebody else, or nobody, may come on call."""
    zone = zone_of(schedule.tz, schedule.name)
    walls = [_handoff(schedule)[1]]
    if schedule.hours is not None:
        walls += [schedule.hours.start, schedule.hours.stop]
    spans = [(one.start, one.stop) for one in schedule.overrides]
    spans += [(one.start, one.stop) for one in schedule.away]
    found = {edge for span in spans for edge in span}
    first = start.astimezone(zone).date()
    for days in range((stop - start).days + 3):
        found.update(_instant(first, days - 1, wall, zone) for wall in walls)
        if schedule.hours is not None:
            found.add(_instant(first, days, time(), zone))  # the day of the week changes
    return sorted(instant for instant in found if start < instant < stop)


def _is_within(hours: Hours, local: datetime) -> bool:
    wall, day = local.time(), local.weekday()
    if hours.start < hours.stop:
        return day in hours.days and hours.start <= wall < hours.stop
    if wall >= hours.start:
        return day in hours.days
    return wall < hours.stop and (day - 1) % 7 in hours.days


def _turn(schedule: OnCallSchedule, zone: ZoneInfo, at: datetime) -> Shift:
    """The turn of the rotation that holds at `at`."""
    weekday, wall = _handoff(schedule)
    period = 1 if weekday is None else 7
    first = _first_turn(schedule, weekday)
    # One day ahead of the local date is enough for every zone; walk back to the last handoff.
    ahead = at.astimezone(zone).date() + timedelta(days=1)
    turn = (ahead - first).days // period
    while _instant(first, turn * period, wall, zone) > at:
        turn -= 1
    return Shift(
        user=schedule.users[turn % len(schedule.users)],
        start=_instant(first, turn * period, wall, zone),
        stop=_instant(first, (turn + 1) * period, wall, zone),
    )


def zone_of(name: str, owner: str) -> ZoneInfo:
    """The IANA zone `name`; ScheduleError naming `owner` when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            f"{owner}: {name!r} is not a time zone; use an IANA name such as Europe/Berlin"
        ) from None


def _instant(first: date, days: int, wall: time, zone: ZoneInfo) -> datetime:
    """The handoff `days` after the first turn's, in UTC."""
    local = datetime.combine(first + timedelta(days=days), wall, tzinfo=zone)
    return local.astimezone(UTC)


def _handoff(schedule: OnCallSchedule) -> tuple[int | None, time]:
    """Weekday (None for a daily rotation) and wall time of the handoff."""
    found = _HANDOFF.fullmatch(schedule.handoff.strip())
    day = (found[1] or "")[:3].lower() if found else ""
    is_known = found is not None and (day in WEEKDAYS or not day)
    if not is_known or found is None or int(found[2]) > 23 or int(found[3]) > 59:
        raise ScheduleError(
            f"{schedule.name}: handoff {schedule.handoff!r} is not a time such as "
            '"09:00" or "Mon 09:00"'
        )
    wall = time(int(found[2]), int(found[3]))
    if schedule.rotation == "daily":
        return None, wall
    return WEEKDAYS.index(day) if day else 0, wall


def _first_turn(schedule: OnCallSchedule, weekday: int | None) -> date:
    """The date of the handoff at which users[0] begins."""
    try:
        start = date.fromisoformat(schedule.starting) if schedule.starting else _EPOCH
    except ValueError:
        raise ScheduleError(
            f"{schedule.name}: starting {schedule.starting!r} is not a date such as 2026-01-05"
        ) from None
    if weekday is None:
        return start
    return start + timedelta(days=(weekday - start.weekday()) % 7)
