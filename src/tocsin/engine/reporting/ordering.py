"""What somebody asked for, made precise: which report, over which time, as known when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tocsin.engine.reporting.asked import BadOrder, NoSuchReport, Wish
from tocsin.reports.kinds import TEMPLATES, Template
from tocsin.spec.desired import Desired
from tocsin.spec.documents import Document
from tocsin.spec.explain import suggest
from tocsin.spec.reports import Period, ReportShape

LONGEST = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Order:
    """A report to be made. name: of the document, or of the template. by: labels to roll up by."""

    name: str
    template: Template
    title: str
    wish: Wish
    by: tuple[str, ...] = ()


def order(
    desired: Desired,
    name: str,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    as_of: datetime | None = None,
    period: Period | None = None,
    time_zone: str = "",
) -> Order:
    """The order for `name`, by default over the last complete period, as known now.

    since, until: aware; one without the other is an error. Raises NoSuchReport, BadOrder.
    """
    document = named(desired, name)
    shape: ReportShape = (
        document.spec if document else ReportShape(template=_template(desired, name))
    )
    template = TEMPLATES[shape.template]
    zone = time_zone or shape.tz
    known = as_of or now
    if known > now:
        raise BadOrder(f"as-of {known:%Y-%m-%dT%H:%M:%SZ} is still to come")
    if (since is None) != (until is None):
        raise BadOrder("give both ends of the period, or neither for the last complete one")
    if since is None or until is None:
        since, until = last_complete(period or shape.period, known, ZoneInfo(zone))
    _check(since, until, known)
    title = document.metadata.display_name if document else ""
    return Order(
        name=name,
        template=template,
        title=title or f"{template.title}, {words(since, until, ZoneInfo(zone))}",
        wish=Wish(since, until, known, zone, shape.wanted),
        by=shape.group_by or template.by,
    )


def named(desired: Desired, name: str) -> Document | None:
    """The Report document of this name."""
    return next(
        (document for document, _ in desired.of(ReportShape) if document.name == name), None
    )


def last_complete(period: Period, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The last week (Monday to Monday) or month of a time zone that was over at `at`."""
    today = at.astimezone(zone).date()
    if period == "week":
        until = today - timedelta(days=today.weekday())
        since = until - timedelta(days=7)
    else:
        until = today.replace(day=1)
        since = (until - timedelta(days=1)).replace(day=1)
    return tuple(datetime.combine(day, time(), zone) for day in (since, until))  # type: ignore[return-value]


def words(since: datetime, until: datetime, zone: ZoneInfo) -> str:
    """A period for a title: a month by its name, else first and last day."""
    first, end = since.astimezone(zone), until.astimezone(zone)
    last = (end - timedelta(microseconds=1)).date()
    if first.day == 1 and end.day == 1 and (first.year, first.month) == (last.year, last.month):
        return f"{first:%B %Y}"
    return f"{first:%d %b %Y}" if first.date() == last else f"{first:%d %b} to {last:%d %b %Y}"


# --------------------------------------------------------------------------------------------


def _template(desired: Desired, name: str) -> str:
    if name in TEMPLATES:
        return name
    known = [document.name for document, _ in desired.of(ReportShape)]
    hint = suggest(name, [*known, *TEMPLATES]) or f"templates: {', '.join(TEMPLATES)}"
    raise NoSuchReport(f"there is no report {name!r} ({hint})")


def _check(since: datetime, until: datetime, known: datetime) -> None:
    if since >= until:
        raise BadOrder("the period ends after it begins: give an earlier from, or a later to")
    if until - since > LONGEST:
        raise BadOrder(f"a period lasts at most {LONGEST.days} days")
    if until > known:
        raise BadOrder(
            f"the period ends at {until:%Y-%m-%dT%H:%M:%S%z}, after the as-of time "
            f"{known:%Y-%m-%dT%H:%M:%S%z}: give an earlier to"
        )
    if any(end.second or end.microsecond for end in (since, until)):
        raise BadOrder("a period begins and ends with whole minutes")
