"""What a person or a pipeline asks of a report, as text, made into an order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.engine.house import House
from tocsin.engine.reporting.asked import BadOrder
from tocsin.engine.reporting.ordering import Order, named, order
from tocsin.spec.reports import Period

FIELDS = ("from", "to", "as_of", "period", "tz")


def ordered(house: House, name: str, asked: Mapping[str, str]) -> Order:
    """The order that `asked` (see FIELDS, all optional) names. Raises NoSuchReport, BadOrder."""
    period = asked.get("period") or None
    if period is not None and period not in get_args(Period):
        raise BadOrder(f"period {period!r}: give week or month")
    document = named(house.desired, name)
    zone = asked.get("tz") or (document.spec.tz if document else "UTC")
    try:
        local = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadOrder(f"{zone!r} is no time zone such as Europe/Berlin") from None
    since, until, as_of = (time_of(each, asked.get(each, ""), local) for each in FIELDS[:3])
    return order(
        house.desired, name, house.clock.now(), since=since, until=until, as_of=as_of,
        period=period, time_zone=zone,  # type: ignore[arg-type]  # checked above
    )  # fmt: skip


def time_of(name: str, text: str, zone: ZoneInfo) -> datetime | None:
    """A day (its first moment) or a time; without an offset it is one of `zone`."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise BadOrder(f"{name}: {text!r} is no time such as 2026-03-02T14:05Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return found
