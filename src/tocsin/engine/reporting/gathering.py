"""All facts of a report, read from the stores as they were known at its as-of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tocsin.assess.health import Reading, health
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.segments import SegmentsConfig, standings
from tocsin.domain.clock import from_minute, to_minute
from tocsin.engine.as_of import configuration_at
from tocsin.engine.health_periods import budget_reading, measured
from tocsin.engine.house import House
from tocsin.engine.reporting.asked import Wish
from tocsin.engine.reporting.objectives import Span, known, objectives, restated
from tocsin.engine.reporting.relations import followed
from tocsin.engine.reporting.vendors import contracts
from tocsin.engine.responses import responses
from tocsin.reports.facts import (
    Event,
    Facts,
    HealthFacts,
    ObjectiveFacts,
    Quality,
    ScoreFacts,
    SegmentFacts,
    ServiceFacts,
    Totals,
)
from tocsin.reports.report import Input, Version
from tocsin.reports.responses import figures
from tocsin.reports.vendors import compare
from tocsin.spec.desired import Desired
from tocsin.spec.health import HealthScoreShape
from tocsin.spec.services import Service
from tocsin.store.ledger import Head, LedgerEntry, verify
from tocsin.store.periods import Periods, Sums
from tocsin.store.reads import Timeline
from tocsin.store.rows import from_us

MOST_VERSIONS = 1000
_LEDGER = (
    "gate.decided",
    "config.applied",
    "config.document",
    "deploys.frozen",
    "deploys.released",
)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Facts, and what they were made from."""

    facts: Facts
    configurations: tuple[Version, ...]
    inputs: tuple[Input, ...]


def gather(house: House, wish: Wish) -> Gathered:
    """Everything about the period of `wish`. Raises `as_of.NotKnown`."""
    found, _ = configuration_at(house, wish.as_of)
    desired = found or house.desired
    start, stop = to_minute(wish.since), to_minute(wish.until)
    length = stop - start
    span = Span(start, stop, wish.as_of)
    reads = house.telemetry.periods(wish.as_of)
    zone = ZoneInfo(wish.time_zone)
    monitors = [
        m for m in desired.monitors
        if isinstance(m.method, Objective) and _wanted(wish, m.service)
    ]  # fmt: skip
    services = tuple(_services(house, desired, reads, wish))
    budgets = tuple(objectives(house, monitors, span, zone))
    told = [
        one for one in responses(house.state, wish.since, wish.as_of)
        if one.opened < wish.until and _wanted(wish, one.service)
    ]  # fmt: skip
    before = Span(start - length, start, wish.since + (wish.as_of - wish.until))
    segments = tuple(_segments(desired, reads, wish))
    inputs = tuple(Input(*one) for one in reads.inputs(start, stop))
    judged = sum(one.rows for one in inputs if one.name == "scores")
    quality = _quality(house, desired, reads, services, wish, judged)
    facts = Facts(
        since=wish.since,
        until=wish.until,
        as_of=wish.as_of,
        time_zone=wish.time_zone,
        services=services,
        objectives=budgets,
        responses=tuple(told),
        paging=figures(told, wish.since, wish.until, wish.time_zone),
        segments=segments,
        scores=tuple(_scores(desired, reads, wish)),
        health=tuple(_health(house, desired, reads, budgets, wish)),
        events=tuple(sorted(_events(house, reads, wish), key=lambda e: (e.at, e.kind, e.text))),
        restated=_restated(house, monitors, before, wish.as_of),
        quality=quality,
        incomplete=_incomplete(house, start),
        providers=compare(reads.vendors.strands(start, stop)),
        models=compare(reads.vendors.strands(start, stop, by_model=True)),
        relations=tuple(followed(desired, reads, wish)),
        contracts=tuple(
            contracts(
                desired,
                reads.vendors,
                wish.since,
                wish.until,
                lambda minute: _incomplete(house, minute),
            )
        ),
    )
    ledger = Input("ledger", quality.ledger, quality.ledger_head)
    return Gathered(facts, tuple(_versions(house, desired, wish)), (*inputs, ledger))


# --- services -----------------------------------------------------------------------------------


def _services(house: House, desired: Desired, reads: Periods, wish: Wish) -> Iterator[ServiceFacts]:
    """Every configured service, and every one that had calls, by name."""
    start, stop = to_minute(wish.since), to_minute(wish.until)
    now, days = reads.totals(start, stop), reads.days(start, stop, wish.time_zone)
    no_before, missing = _not_before(house, start - (stop - start)), _incomplete(house, start)
    gone = {day: _incomplete(house, minute) for day, minute in _days_of(wish)}
    before = {} if no_before else reads.totals(start - (stop - start), start)
    theirs = {service.service_name: service for service in desired.services.values()}
    for name in sorted({*now, *theirs}):
        service = theirs.get(name) or Service(name, name)
        if not _wanted(wish, service.name):
            continue
        known_by_day = dict(days.get(name, ()))
        yield ServiceFacts(
            name=service.name,
            title=service.display_name,
            labels={"team": service.team, **service.labels} if name in theirs else {},
            now=_totals(now.get(name), missing),
            before=None if no_before else _totals(before.get(name)),
            no_before=no_before,
            days=tuple((day, _totals(known_by_day.get(day), gone[day])) for day in gone),
        )


def _days_of(wish: Wish) -> Iterator[tuple[date, int]]:
    """Days of the period, each with the epoch minute from which on it lies in the period."""
    zone = ZoneInfo(wish.time_zone)
    day = wish.since.astimezone(zone).date()
    last = (wish.until - timedelta(microseconds=1)).astimezone(zone).date()
    while day <= last:
        begin = datetime.combine(day, time(), zone)
        yield day, to_minute(max(begin, wish.since))
        day += timedelta(days=1)


def _totals(sums: Sums | None, incomplete: str = "") -> Totals:
    if sums is None:
        return Totals(incomplete=incomplete)
    return Totals(
        calls=sums.calls,
        failed=sums.failed,
        p50_s=None if sums.p50_ms is None else sums.p50_ms / 1000,
        p95_s=None if sums.p95_ms is None else sums.p95_ms / 1000,
        cost_usd=sums.cost_usd if sums.priced else None,
        priced=sums.priced,
        tokens=sums.tokens,
        used=sums.used,
        incomplete=incomplete,
    )


def _not_before(house: House, start: int) -> str:
    """Why nothing can be said from `start` on, or ""."""
    first = house.telemetry.reads.first_minute()
    if first is None or first > start:
        return "no calls are held from the period before"
    return _incomplete(house, start)


def _incomplete(house: House, start: int) -> str:
    kept = datetime.fromtimestamp(house.telemetry.keeping.complete_since(), UTC)
    if from_minute(start) >= kept:
        return ""
    return f"calls from before {kept:%Y-%m-%d %H:%M} UTC are not kept any more"


def _wanted(wish: Wish, service: str) -> bool:
    return not wish.services or service in wish.services


# --- segments, scores, health -------------------------------------------------------------------


def _segments(desired: Desired, reads: Periods, wish: Wish) -> Iterator[SegmentFacts]:
    """Every value of every dimension, tested together as `assess.segments` does, per service."""
    counted = reads.segments(to_minute(wish.since), to_minute(wish.until))
    totals = reads.totals(to_minute(wish.since), to_minute(wish.until))
    theirs = {service.service_name: service for service in desired.services.values()}
    config = SegmentsConfig()
    for name in sorted(counted):
        service = theirs.get(name)
        if not _wanted(wish, service.name if service else name):
            continue
        declared = service.dimensions if service and service.dimensions else None
        rows = [row for row in counted[name] if declared is None or row[0] in declared]
        whole = np.array([totals[name].failed, totals[name].calls], np.int64)
        counts = np.array([[r[3] for r in rows], [r[2] for r in rows]], np.int64).reshape(2, -1)
        for found in standings([(r[0], r[1]) for r in rows], counts, whole, config):
            yield SegmentFacts(
                service=service.name if service else name,
                dimension=found.dimension,
                value=found.value,
                calls=found.total,
                failed=found.bad,
                low=found.low,
                high=found.high,
                rest=found.rest,
                is_worse=found.is_found,
                is_judged=found.is_judged,
            )


def _scores(desired: Desired, reads: Periods, wish: Wish) -> Iterator[ScoreFacts]:
    start, stop = to_minute(wish.since), to_minute(wish.until)
    for service in desired.services.values():
        if not _wanted(wish, service.name):
            continue
        for name, mean in sorted(reads.scores(service.service_name, start, stop).items()):
            value, half = (float(f"{x:.9g}") for x in (mean.value, 1.96 * mean.standard_error))
            yield ScoreFacts(service.name, name, value, value - half, value + half, mean.n)


def _health(
    house: House, desired: Desired, reads: Periods, budgets: Sequence[ObjectiveFacts], wish: Wish
) -> Iterator[HealthFacts]:
    """Every health score with the whole period as its window."""
    start, stop = to_minute(wish.since), to_minute(wish.until)
    totals, left, missing = reads.totals(start, stop), known(budgets), _incomplete(house, start)
    for document in desired.documents:
        spec = document.spec
        if not isinstance(spec, HealthScoreShape) or not _wanted(wish, spec.service):
            continue
        service = desired.services.get(spec.service)
        if service is None:
            continue
        calls = _timeline(totals.get(service.service_name), start, stop - start)
        judged = reads.scores(service.service_name, start, stop)
        readings = {
            one.metric: budget_reading(one.from_slo, left)
            if one.from_slo
            else Reading(None, reason=missing)
            if missing
            else measured(one.metric, calls, judged)
            for one in spec.parts
        }
        config = spec.build()
        found = health(config, readings)
        score, low, high = (
            None if v is None else float(f"{v:.9g}") for v in (found.score, found.low, found.high)
        )
        yield HealthFacts(
            document.name, spec.title(document.name, document.metadata.display_name), spec.service,
            score, low, high, found.state, found.coverage, found.reason, config.warning,
        )  # fmt: skip


def _timeline(sums: Sums | None, start: int, minutes: int) -> Timeline:
    """One step of a timeline: the whole period."""
    one = sums or Sums(0, 0, 0, 0.0, 0, 0, None, None, None)
    p50, p95, p99 = (
        np.array([np.nan if q is None else q]) for q in (one.p50_ms, one.p95_ms, one.p99_ms)
    )
    return Timeline(
        start, minutes, np.array([one.calls]), np.array([one.failed]), np.array([0]), p50, p95, p99,
        np.array([float(one.tokens)]), np.array([one.cost_usd if one.priced else np.nan]),
        np.array([one.priced / one.calls if one.calls else 0.0]),
    )  # fmt: skip


# --- what happened ------------------------------------------------------------------------------


def _events(house: House, reads: Periods, wish: Wish) -> Iterator[Event]:
    for change in reads.changes(to_minute(wish.since), to_minute(wish.until)):
        if not change.service or _wanted(wish, change.service):
            at = from_minute(change.at_minute)
            yield Event(at, change.kind, change.service, change.title)
    for entry in house.state.entries_of(_LEDGER, wish.as_of):
        at = from_us(entry.at_us)
        if wish.since <= at < wish.until:
            yield Event(at, entry.kind, entry.subject, entry.reason, entry.actor)


def _restated(
    house: House, monitors: Sequence[Monitor], before: Span, now: datetime
) -> tuple[Any, ...]:
    """What of the period before is known otherwise since its own report, if all of it is held."""
    first = house.telemetry.reads.first_minute()
    if first is None or first >= before.stop or not monitors:
        return ()
    return tuple(restated(house, monitors, before, now))


def _quality(
    house: House,
    desired: Desired,
    reads: Periods,
    services: Sequence[ServiceFacts],
    wish: Wish,
    judged: int,
) -> Quality:
    start, stop = to_minute(wish.since), to_minute(wish.until)
    calls = sum(one.now.calls for one in services)
    ledger = _Prefix(house, wish.as_of)
    broken = verify(ledger)
    return Quality(
        calls=calls,
        unpriced=calls - sum(one.now.priced for one in services),
        without_usage=calls - sum(one.now.used for one in services),
        scores=judged,
        quarantined=reads.quarantined(start, stop),
        ledger=ledger.last.seq,
        ledger_head=ledger.last.hash,
        ledger_broken=str(broken) if broken else "",
        documents=dict(sorted(Counter(d.kind.name for d in desired.documents).items())),
    )


class _Prefix:
    """The ledger as it stood at a time: all before the first entry that is later."""

    def __init__(self, house: House, until: datetime) -> None:
        self._state, self._until = house.state, until
        self.last = Head()

    def __iter__(self) -> Iterator[LedgerEntry]:
        for entry in self._state.ledger_up_to(self._state.ledger_head()):
            if from_us(entry.at_us) > self._until:
                return
            self.last = Head(entry.seq, entry.hash)
            yield entry


def _versions(house: House, desired: Desired, wish: Wish) -> Iterator[Version]:
    """Every configuration in force during the period or at the as-of time, oldest first."""
    found: list[Mapping[str, Any]] = [
        v for v in house.state.config_versions(MOST_VERSIONS) if v["at"] <= wish.as_of
    ]
    if not found:
        yield Version(desired.digest, None)
        return
    inside = [v for v in found if v["at"] > wish.since]
    started = [v for v in found if v["at"] <= wish.since][:1]
    for version in reversed([*inside, *started]):
        yield Version(str(version["digest"]), version["at"])
