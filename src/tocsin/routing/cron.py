"""When a digest is due: the five fields of cron, read in a time zone.

Minute, hour, day of month, month, day of week (0 or 7 is Sunday, names allowed); `*`, lists, ranges
and steps. If both days are restricted, either one suffices, as in every cron since Vixie's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tocsin.domain.errors import TocsinError

_PART = re.compile(r"(\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_HORIZON_DAYS = 8 * 366  # covers 29 February on any weekday


class CronError(TocsinError):
    """A cron expression that cannot be read, or that no date ever satisfies."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression: the values each field allows."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def next_after(self, instant: datetime, zone: ZoneInfo) -> datetime:
        """The first time after `instant` (aware), in UTC.

        A wall time that a change of clocks skips is taken at the same distance from midnight; one
        that occurs twice fires once, the first time. Raises CronError if there is none.
        """
        day = instant.astimezone(zone).date()
        for _ in range(_HORIZON_DAYS):
            if self._allows(day.month, day.day, day.isoweekday() % 7):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                        if (due := local.astimezone(UTC)) > instant:
                            return due
            day += timedelta(days=1)
        raise CronError("no date satisfies this cron expression")

    def _allows(self, month: int, day: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        by_date, by_week = day in self.days, weekday in self.weekdays
        return by_date or by_week if self.either_day else by_date and by_week


def parse_cron(text: str) -> Cron:
    """Read five fields. Raises CronError that names the field and the fix."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise CronError(f"{text!r} has {len(fields)} fields, not 5: minute hour day month weekday")
    minute, hour, day, month, weekday = fields
    weekdays = _values("weekday", weekday, 0, 7, {name: n for n, name in enumerate(_DAYS)})
    return Cron(
        minutes=_values("minute", minute, 0, 59),
        hours=_values("hour", hour, 0, 23),
        days=_values("day", day, 1, 31),
        months=_values("month", month, 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
        weekdays=frozenset(number % 7 for number in weekdays),
        either_day=not day.startswith("*") and not weekday.startswith("*"),
    )


def _values(
    name: str, text: str, low: int, high: int, words: dict[str, int] | None = None
) -> frozenset[int]:
    for word, number in (words or {}).items():
        text = re.sub(rf"\b{word}\b", str(number), text)
    allowed: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise CronError(f"{name} {part!r} is not *, a number, a range or a step such as */5")
        step = int(found[4] or 1)
        first = low if found[1] == "*" else int(found[2])
        is_open = found[1] == "*" or (found[4] is not None and found[3] is None)
        last = high if is_open else int(found[3] or found[2])
        if step < 1 or not low <= first <= last <= high:
            raise CronError(f"{name} {part!r} is not within {low}-{high}")
        allowed.update(range(first, last + 1, step))
    return frozenset(allowed)
