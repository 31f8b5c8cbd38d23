"""An objective as it was known at some time, beside the same minutes as they are known now.

What was known then: the calls and scores received by then, under the configuration in force then.
Calls that came late, scores that came or were corrected later, and corrections of the budget that
people wrote later are what tells the two apart. Both are counted from raw rows, by the same ledger
that decides; so is `recount`, which holds a running ledger against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tocsin.assess.budget import ObjectiveStatus, objective_status
from tocsin.assess.ledger import WEEK
from tocsin.assess.monitor import Monitor, Objective, ratios
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.errors import NotFound, SpecError, Unanswerable
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId
from tocsin.engine.house import House
from tocsin.spec.desired import Desired, restore
from tocsin.spec.explain import suggest

MOST_LISTED = 200
MOST_VERSIONS = 1000


class NoSuchObjective(NotFound):
    """A name that no objective has."""


class NotKnown(Unanswerable):
    """A time of which nothing can be told; the text says why."""


@dataclass(frozen=True, slots=True)
class Restated:
    """Counts of one indicator in the hour from `hour` on, as known then and now; bad ones of a mean
    are what calls were charged, in whole budgets of one call."""

    hour: datetime
    indicator: str
    bad_then: float
    total_then: float
    bad_now: float
    total_now: float


@dataclass(frozen=True, slots=True)
class AsOf:
    """One objective after minute `until`, as known at `at` and now.

    then: None when it was not configured. configuration: digest of the one in force then, "" when
    none is on record, and today's was taken. rewritten: what people wrote otherwise since: target,
    window, corrections. restated: the hours whose counts differ, the first of `restated_hours`.
    incomplete: why counts of the beginning of the period are missing, or "".
    """

    name: str
    at: datetime
    until: datetime
    then: ObjectiveStatus | None
    now: ObjectiveStatus
    configuration: str
    rewritten: tuple[str, ...]
    restated: tuple[Restated, ...]
    restated_hours: int
    incomplete: str


@dataclass(frozen=True, slots=True)
class Recounted:
    """The ledger that decides, held against raw rows. counted: by these; differs: in what."""

    name: str
    until: datetime
    held: ObjectiveStatus
    counted: ObjectiveStatus
    differs: tuple[str, ...]
    incomplete: str


def as_of(house: House, name: str, at: datetime) -> AsOf:
    """What was known of an objective at `at`. Raises NoSuchObjective, NotKnown."""
    if at > house.clock.now():
        raise NotKnown(f"{at:%Y-%m-%dT%H:%M:%SZ} is still to come")
    monitor = objective_named(house, name)
    minute = to_minute(at - house.lateness) - 1
    before, digest = _configured_at(house, monitor.name, at)
    known = monitor if before is None and not digest else before
    now, block = _counted(house, monitor, minute, None)
    then, earlier = (None, None) if known is None else _counted(house, known, minute, at)
    restated = list(_restated(earlier, block, ratios([monitor]))) if earlier is not None else []
    return AsOf(
        name=name,
        at=at,
        until=from_minute(minute + 1),
        then=then,
        now=now,
        configuration=digest,
        rewritten=_rewritten(known, monitor) if known is not None else (),
        restated=tuple(restated[:MOST_LISTED]),
        restated_hours=len(restated),
        incomplete=_incomplete(house, now),
    )


def recount(house: House, name: str) -> Recounted:
    """Hold what the engine has counted against raw rows. Raises NoSuchObjective, NotKnown."""
    monitor = objective_named(house, name)
    with house.undisturbed():
        minute = house.standing.minute
        if house.window.start is None or minute < house.window.start:
            raise NotKnown("nothing has been judged yet")
        held = objective_status(house.window, monitor, minute)
    counted, _ = _counted(house, monitor, minute, None)
    differs = tuple(
        f"{what}: {getattr(held, what)} held, {getattr(counted, what)} in raw rows"
        for what in ("bad", "total", "remaining")
        if getattr(held, what) != getattr(counted, what)
    )
    until = from_minute(minute + 1)
    return Recounted(name, until, held, counted, differs, _incomplete(house, counted))


def objective_named(house: House, name: str) -> Monitor:
    """The monitor of an objective, with or without "slo/" before its name."""
    short = name.removeprefix("slo/")
    known = {
        monitor.name.removeprefix("slo/"): monitor
        for monitor in house.rules.monitors.monitors
        if isinstance(monitor.method, Objective)
    }
    if short not in known:
        hint = suggest(short, known) or "none is configured"
        raise NoSuchObjective(f"there is no objective {short!r} ({hint})")
    return known[short]


def counted(
    house: House,
    monitors: Sequence[Monitor],
    minute: int,
    known_by: datetime | None,
    since: int | None = None,
) -> tuple[Window, MinuteBlock]:
    """Objectives after `minute`, by raw rows, and the counts behind them.

    since: also count from this minute on, where budgets begin later. Raises NotKnown.
    """
    first = house.telemetry.reads.first_minute()
    if first is None or minute < first:
        raise NotKnown(f"no telemetry from before {from_minute(minute + 1):%Y-%m-%d %H:%M} is kept")
    begins = [minute + 1 if since is None else since]
    for monitor in monitors:
        method = monitor.method
        assert isinstance(method, Objective)  # noqa: S101 (found as one)
        reach = max((step.long_minutes for step in method.steps), default=0)
        back = max(reach, WEEK if method.calendar else 0)
        begins.append(min(method.period_at(minute)[0], minute + 1 - back))
    start = max(min(begins), first) // 60 * 60
    names = {s.name: s.service_name for s in house.desired.services.values()}
    wanted = ratios(list(monitors))
    theirs = {replace(s, service=names.get(s.service, s.service)): r for s, r in wanted.items()}
    counts = house.telemetry.recount(known_by).minutes(theirs, (), start, minute + 1)
    block = replace(counts, series=tuple(wanted))
    window = Window(monitors)
    window.advance(block)
    return window, block


def configuration_at(house: House, at: datetime) -> tuple[Desired | None, str]:
    """The configuration in force at `at`, and its digest; (None, "") when none is on record.
    Raises NotKnown."""
    versions = house.state.config_versions(MOST_VERSIONS)
    found: Mapping[str, object] | None = next((v for v in versions if v["at"] <= at), None)
    if found is None:
        return None, ""
    digest = str(found["digest"])
    if digest == house.desired.digest:
        return house.desired, digest
    try:
        return restore(str(found["body"]["text"])), digest  # type: ignore[index]
    except SpecError as error:
        raise NotKnown(f"the configuration of then cannot be read any more: {error}") from None


# --------------------------------------------------------------------------------------------


def _counted(
    house: House, monitor: Monitor, minute: int, known_by: datetime | None
) -> tuple[ObjectiveStatus, MinuteBlock]:
    """Where the objective stood after `minute`, by raw rows, and the counts behind it."""
    window, block = counted(house, [monitor], minute, known_by)
    return objective_status(window, monitor, minute), block


def _restated(
    then: MinuteBlock, now: MinuteBlock, counted: Mapping[SeriesId, Ratio]
) -> Iterator[Restated]:
    """Hours in which an indicator of both is counted otherwise, oldest first."""
    places = {series: at for at, series in enumerate(then.series)}
    pairs = [(places[s], at, s) for at, s in enumerate(now.series) if s in places]
    start = max(then.start, now.start)
    stop = min(then.start + then.width, now.start + now.width)
    for hour in range(start, stop, 60):
        end = min(hour + 60, stop)
        for old, new, series in pairs:
            counts = [
                counted[series].amount(
                    int(values[row, hour - block.start : end - block.start].sum())
                )
                for block, row in ((then, old), (now, new))
                for values in (block.bad, block.total)
            ]
            if counts[:2] != counts[2:]:
                yield Restated(from_minute(hour), series.indicator, *counts)


def _configured_at(house: House, name: str, at: datetime) -> tuple[Monitor | None, str]:
    """The objective of the configuration in force at `at`, and that one's digest; (None, "") when
    none is on record."""
    desired, digest = configuration_at(house, at)
    monitors = desired.monitors if desired is not None else ()
    if desired is house.desired:
        monitors = house.rules.monitors.monitors
    return next((m for m in monitors if m.name == name), None), digest


def _rewritten(then: Monitor, now: Monitor) -> tuple[str, ...]:
    old, new = then.method, now.method
    assert isinstance(old, Objective)  # noqa: S101 (found as one)
    assert isinstance(new, Objective)  # noqa: S101
    known = {one.name: one for one in old.corrections}
    after = {one.name: one for one in new.corrections}
    found = [f"correction {name} was added" for name in after.keys() - known.keys()]
    found += [f"correction {name} was taken back" for name in known.keys() - after.keys()]
    found += [f"correction {n} was changed" for n in known.keys() & after if known[n] != after[n]]
    if old.target != new.target:
        found.append(f"the target was {old.target:g} and is {new.target:g}")
    if (old.window_minutes, old.calendar) != (new.window_minutes, new.calendar):
        found.append("the period was another")
    if (
        then.counted != now.counted
        or old.slices != new.slices
        or old.composite != new.composite
        or old.mean != new.mean
    ):
        found.append("what is counted was another")
    return tuple(sorted(found))


def _incomplete(house: House, status: ObjectiveStatus) -> str:
    """Why raw rows do not reach back to the beginning of the period, or ""."""
    first = house.telemetry.reads.first_minute()
    begin = from_minute(max(status.counted_from, first or 0))
    kept = datetime.fromtimestamp(house.telemetry.keeping.complete_since(), UTC)
    if begin >= kept:
        return ""
    return f"calls from before {kept:%Y-%m-%d %H:%M} are not kept any more"
