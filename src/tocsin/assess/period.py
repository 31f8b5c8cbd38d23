"""When a calendar budget begins anew: days, weeks, months, quarters and years in local time.

Periods are start + k x length for every whole k, so that month ends stay month ends (31 January,
28 February, 31 March) and a change of the clocks never moves a boundary away from its hour of the
day. Lengths in hours and minutes are exact spans of time instead: the wall clock repeats an hour in
autumn, time does not. OpenSLO v1, `timeWindow.calendar`.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from tocsin.domain.clock import to_minute

Unit = Literal["m", "h", "d", "w", "M", "Q", "Y"]
MINUTES: dict[str, int] = {
    "m": 1, "h": 60, "d": 1440, "w": 7 * 1440, "M": 30 * 1440, "Q": 90 * 1440, "Y": 365 * 1440,
}  # fmt: skip
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_WORDS = {"m": "minute", "h": "hour", "d": "day", "w": "week", "M": "month", "Q": "quarter",
          "Y": "year"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Length:
    """A length of time as OpenSLO writes it: 28d, 1M, 1Q (m is minutes, M is months)."""

    count: int
    unit: Unit

    @property
    def minutes(self) -> int:
        """Its minutes; of a month, quarter and year the nominal 30, 90 and 365 days."""
        return self.count * MINUTES[self.unit]

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Budget periods that are aligned to a calendar.

    start: when one of the periods begins, in the local time of `zone` (naive; its seconds do not
    count). zone: an IANA name. A start that the clocks skip is taken as late as the skip is long,
    one that comes twice the first time.
    """

    length: Length
    start: datetime
    zone: str

    def period_at(self, minute: int) -> tuple[int, int]:
        """Epoch minutes [from, to) of the period that contains `minute`, be it before `start`."""
        k = (minute - self._boundary(0)) // self.length.minutes
        # The guess is off by what real lengths differ from nominal ones: little, in few periods.
        while self._boundary(k) > minute:
            k -= 1
        while self._boundary(k + 1) <= minute:
            k += 1
        return self._boundary(k), self._boundary(k + 1)

    def boundaries(self, start: int, stop: int) -> Iterator[int]:
        """The first minutes of periods in [start, stop)."""
        begin, end = self.period_at(start)
        if begin == start:
            yield begin
        while end < stop:
            yield end
            end = self.period_at(end)[1]

    def __str__(self) -> str:
        word = _WORDS[self.length.unit]
        if self.length.count == 1:
            return f"calendar {word}, {self.zone}"
        return f"{self.length.count} calendar {word}s, {self.zone}"

    def _boundary(self, k: int) -> int:
        return _boundary(self, k)


@lru_cache(maxsize=4096)
def _boundary(periods: Calendar, k: int) -> int:
    """The epoch minute at which period `k` begins."""
    length, zone = periods.length, ZoneInfo(periods.zone)
    steps = k * length.count
    if length.unit in _MONTHS:
        local = _months_after(periods.start, steps * _MONTHS[length.unit])
    elif length.unit in ("d", "w"):
        local = periods.start + timedelta(minutes=steps * MINUTES[length.unit])
    else:
        first = periods.start.replace(tzinfo=zone).astimezone(UTC)
        return to_minute(first) + steps * MINUTES[length.unit]
    return to_minute(local.replace(tzinfo=zone).astimezone(UTC))


def _months_after(start: datetime, months: int) -> datetime:
    """The same day of another month, or that month's last day when it has no such day."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(start.day, last))
