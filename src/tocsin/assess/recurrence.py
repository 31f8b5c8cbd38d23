"""When something happens again: the part of RFC 5545's recurrence rules that maintenance needs.

    FREQ=DAILY|WEEKLY|MONTHLY|YEARLY [;INTERVAL=n] [;BYDAY=MO,1TU,-1FR] [;BYMONTHDAY=1,-1]
    [;COUNT=n | ;UNTIL=20261231T000000Z]

Times of day are those of the wall clock where the rule was made: 02:00 stays 02:00 when the clocks
change. As the RFC has it, the first start counts as an occurrence only if the rule meets it, and a
month without a 31st has none.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tocsin.domain.clock import to_minute

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_PARTS = ("FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "COUNT", "UNTIL")


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule, and where its wall clock hangs.

    days: (ordinal or 0, weekday from Monday = 0). month_days: 1 to 31, or -1 for the last. until:
    the epoch minute after which nothing starts.
    """

    start: datetime
    zone: str
    frequency: str
    interval: int = 1
    days: tuple[tuple[int, int], ...] = ()
    month_days: tuple[int, ...] = ()
    count: int | None = None
    until: int | None = None

    def starts(self, first: int, stop: int) -> Iterator[int]:
        """The epoch minutes in [first, stop) at which it happens, in order."""
        year = datetime.fromtimestamp(stop * 60, UTC).year
        return (minute for minute in _starts(self, year) if first <= minute < stop)


def parse_rule(text: str, start: datetime, zone: str) -> Recurrence:
    """The rule that `text` writes, from `start` (naive, in `zone`) on. ValueError with the fix."""
    parts = {}
    for part in text.removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS or not value or name in parts:
            raise ValueError(f"{part!r} is not understood; use {', '.join(_PARTS)}, once each")
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise ValueError(f"FREQ must be one of {', '.join(_FREQUENCIES)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("give either COUNT or UNTIL")
    rule = Recurrence(
        start,
        zone,
        parts["FREQ"],
        _number("INTERVAL", parts.get("INTERVAL", "1")),
        tuple(_weekday(day) for day in parts["BYDAY"].split(",")) if "BYDAY" in parts else (),
        tuple(_month_day(day) for day in parts["BYMONTHDAY"].split(","))
        if "BYMONTHDAY" in parts
        else (),
        _number("COUNT", parts["COUNT"]) if "COUNT" in parts else None,
        _until(parts["UNTIL"], zone) if "UNTIL" in parts else None,
    )
    if rule.frequency in ("DAILY", "WEEKLY") and any(ordinal for ordinal, _ in rule.days):
        raise ValueError("a weekday with a number (1TU) needs FREQ=MONTHLY")
    if rule.frequency == "YEARLY" and (rule.days or rule.month_days):
        raise ValueError("FREQ=YEARLY repeats the date of the start; use MONTHLY for weekdays")
    return rule


# --------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _starts(rule: Recurrence, year: int) -> tuple[int, ...]:
    """Every start up to the end of `year`, as epoch minutes."""
    found: list[int] = []
    zone = ZoneInfo(rule.zone)
    for day in _dates(rule, year):
        local = datetime.combine(day, rule.start.time(), zone)
        minute = to_minute(local.astimezone(UTC))
        if rule.until is not None and minute > rule.until:
            break
        found.append(minute)
        if len(found) == rule.count:
            break
    return tuple(found)


def _dates(rule: Recurrence, year: int) -> Iterator[date]:
    first = rule.start.date()
    if rule.frequency in ("DAILY", "WEEKLY"):
        weekdays = {weekday for _, weekday in rule.days}
        monday = first - timedelta(days=first.weekday())
        day = first
        while day.year <= year:
            if rule.frequency == "DAILY":
                due = (day - first).days % rule.interval == 0
                due = due and (not weekdays or day.weekday() in weekdays)
            else:
                due = (day - monday).days // 7 % rule.interval == 0
                due = due and day.weekday() in (weekdays or {first.weekday()})
            if due:
                yield day
            day += timedelta(days=1)
        return
    step = rule.interval * (12 if rule.frequency == "YEARLY" else 1)
    at = first.year * 12 + first.month - 1
    while at // 12 <= year:
        yield from (d for d in _month_dates(rule, at // 12, at % 12 + 1) if d >= first)
        at += step


def _month_dates(rule: Recurrence, year: int, month: int) -> list[date]:
    last = calendar.monthrange(year, month)[1]
    days = [date(year, month, number) for number in range(1, last + 1)]
    wanted = rule.month_days or (() if rule.days else (rule.start.day,))
    if wanted:
        days = [d for d in days if d.day in wanted or d.day - last - 1 in wanted]
    if rule.days:
        chosen: set[date] = set()
        for ordinal, weekday in rule.days:
            same = [d for d in days if d.weekday() == weekday]
            if not ordinal:
                chosen.update(same)
            elif abs(ordinal) <= len(same):
                chosen.add(same[ordinal - 1 if ordinal > 0 else ordinal])
        days = sorted(chosen)
    return days


def _number(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, not {text!r}")
    return int(text)


def _weekday(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a weekday such as MO, 1TU or -1FR")
    return int(found[1] or 0), _DAYS.index(found[2])


def _month_day(text: str) -> int:
    found = re.fullmatch(r"-?([1-9]|[12][0-9]|3[01])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a day of a month such as 1, 15 or -1")
    return int(text)


def _until(text: str, zone: str) -> int:
    for layout in ("%Y%m%dT%H%M%SZ", "%Y%m%dT%H%M%S", "%Y%m%d"):
        try:
            local = datetime.strptime(text, layout)  # noqa: DTZ007 (its zone follows)
        except ValueError:
            continue
        if layout == "%Y%m%d":
            local = local.replace(hour=23, minute=59)
        return to_minute(local.replace(tzinfo=UTC if text.endswith("Z") else ZoneInfo(zone)))
    raise ValueError(f"UNTIL must be a time such as 20261231T000000Z, not {text!r}")
