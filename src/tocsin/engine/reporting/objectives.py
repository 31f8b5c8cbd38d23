"""Objectives over the period of a report, counted from raw rows as they were known at a time.

Every objective is counted twice in one reading: by its own window, which is what pages show at the
end of the period, and by a twin whose window is the period itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tocsin.assess.budget import ObjectiveStatus, objective_status, sli_interval
from tocsin.assess.burn import span as span_of
from tocsin.assess.ledger import Floats
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute, to_minute
from tocsin.engine.as_of import NotKnown, counted
from tocsin.engine.house import House
from tocsin.reports.facts import ObjectiveFacts, Restated

_TWIN = "period/"


@dataclass(frozen=True, slots=True)
class Span:
    """Epoch minutes [start, stop), counted by what was received up to `known_by`."""

    start: int
    stop: int
    known_by: datetime


def objectives(
    house: House,
    monitors: Sequence[Monitor],
    span: Span,
    zone: ZoneInfo,
    incomplete: Callable[[int], str],
) -> Iterator[ObjectiveFacts]:
    """Every objective among `monitors`, in their order.

    incomplete: why calls may be missing from an epoch minute on, or "". What is left of a period
    would say that the budget is less spent than it is.
    """
    held = [m for m in monitors if isinstance(m.method, Objective)]
    if not held:
        return
    missing = incomplete(span.start)
    if missing:
        yield from (_unknown(monitor, missing) for monitor in held)
        return
    try:
        window, own, twins = _counted(house, held, span)
    except NotKnown as error:
        yield from (_unknown(monitor, str(error)) for monitor in held)
        return
    days = list(days_of(span, zone))
    for monitor, status, period in zip(held, own, twins, strict=True):
        row = int(window.ledger.rows([_twin(monitor, span)])[0])
        hours = window.ledger.hourly(span.stop, span.stop - span.start, row)
        by_day = _by_day(hours, days, span) if len(hours) else ()
        found = _facts(monitor, status, period, by_day, span)
        why = incomplete(status.counted_from)
        yield replace(found, remaining=None, window_incomplete=why) if why else found


def restated(
    house: House, monitors: Sequence[Monitor], then: Span, now: datetime
) -> Iterator[Restated]:
    """Objectives of whose counts something else is known at `now` than by `then.known_by`."""
    held = [m for m in monitors if isinstance(m.method, Objective) and m.method.mean is None]
    if not held:
        return
    _, _, before = _counted(house, held, then)
    _, _, after = _counted(house, held, replace(then, known_by=now))
    for monitor, old, new in zip(held, before, after, strict=True):
        if (old.bad, old.total) != (new.bad, new.total):
            name = monitor.name.removeprefix("slo/")
            yield Restated(name, old.bad, old.total, new.bad, new.total)


def days_of(span: Span, zone: ZoneInfo) -> Iterator[tuple[date, int, int]]:
    """Days of a time zone in the period, each as [begin, end) in epoch minutes."""
    begin = span.start
    while begin < span.stop:
        local = from_minute(begin).astimezone(zone)
        midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), zone)
        end = min(to_minute(midnight), span.stop)
        yield local.date(), begin, end
        begin = end


# --------------------------------------------------------------------------------------------


def _counted(
    house: House, held: Sequence[Monitor], span: Span
) -> tuple[Window, list[ObjectiveStatus], list[ObjectiveStatus]]:
    twins = [_twin(monitor, span) for monitor in held]
    last = span.stop - 1
    window, _ = counted(house, [*held, *twins], last, span.known_by, span.start)
    own, period = (
        [objective_status(window, monitor, last) for monitor in some] for some in (held, twins)
    )
    return window, own, period


def _twin(monitor: Monitor, span: Span) -> Monitor:
    method = monitor.method
    assert isinstance(method, Objective)  # noqa: S101 (found as one)
    minutes = span.stop - span.start
    return replace(
        monitor,
        name=f"{_TWIN}{monitor.name}",
        method=replace(method, window_minutes=minutes, calendar=None, steps=()),
    )


def _by_day(
    hours: Floats, days: Sequence[tuple[date, int, int]], span: Span
) -> tuple[tuple[date, float, float], ...]:
    """Counts of whole hours, the last of which ends with the period, by day; () when days do not
    begin with whole hours."""
    if any(minute % 60 for _, *ends in days for minute in ends):
        return ()
    first = span.stop // 60 - len(hours)
    found = []
    for day, begin, end in days:
        bad, total = hours[max(begin // 60 - first, 0) : max(end // 60 - first, 0)].sum(axis=0)
        found.append((day, float(bad), float(total)))
    return tuple(found)


def _facts(
    monitor: Monitor,
    own: ObjectiveStatus,
    period: ObjectiveStatus,
    days: tuple[tuple[date, float, float], ...],
    span: Span,
) -> ObjectiveFacts:
    low, high = sli_interval(period)
    mean, correction = period.mean, period.correction
    return ObjectiveFacts(
        name=monitor.name.removeprefix("slo/"),
        title=own.title,
        service=own.service,
        target=own.target,
        window=own.period_name,
        counts_in=period.counts_in,
        bad=period.bad,
        total=period.total,
        low=low,
        high=high,
        standing=period.standing,
        remaining=own.remaining,
        days=days,
        uncorrected=(correction.bad, correction.total) if correction else None,
        corrections=correction.names if correction else (),
        amount=(
            (_rounded(mean.value), _rounded(mean.low), _rounded(mean.high), mean.limit, mean.unit)
            if mean
            else None
        ),
        incomplete=_incomplete(period, span),
    )


def _unknown(monitor: Monitor, why: str) -> ObjectiveFacts:
    """An objective of which nothing is known over the period."""
    method = monitor.method
    assert isinstance(method, Objective)  # noqa: S101 (found as one)
    return ObjectiveFacts(
        name=monitor.name.removeprefix("slo/"), title=monitor.title, service=monitor.service,
        target=method.target, window=str(method.calendar or span_of(method.window_minutes)),
        counts_in="calls", bad=0, total=0, low=None, high=None, standing="no_data",
        remaining=None, days=(), incomplete=why,
    )  # fmt: skip


def _incomplete(period: ObjectiveStatus, span: Span) -> str:
    missing = span.stop - span.start - period.covered_minutes
    if missing <= 0:
        return ""
    first = from_minute(span.start + missing)
    return f"nothing is held from before {first:%Y-%m-%d %H:%M} UTC"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")
