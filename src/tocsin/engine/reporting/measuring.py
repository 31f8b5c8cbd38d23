"""What was measured of services over the period of a report: calls, segments, scores, health."""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from tocsin.assess.health import Reading, health
from tocsin.assess.segments import SegmentsConfig, standings
from tocsin.engine.health_periods import budget_reading, measured
from tocsin.engine.reporting.inquiry import Inquiry
from tocsin.engine.reporting.objectives import known
from tocsin.reports.facts import HealthFacts, Part, ScoreFacts, SegmentFacts, ServiceFacts, Totals
from tocsin.spec.health import HealthScoreShape
from tocsin.store.periods import Sums
from tocsin.store.reads import Timeline


def services(asked: Inquiry, needs: Set[Part]) -> Iterator[ServiceFacts]:
    """Every configured service, and every one that had calls, by name."""
    start, stop, length = asked.start, asked.stop, asked.stop - asked.start
    now, missing = asked.totals, asked.incomplete()
    days, gone, before, no_before = {}, {}, {}, "not asked for"
    if "days" in needs:
        days = asked.reads.days(start, stop, asked.wish.time_zone)
        gone = {day: asked.incomplete(minute) for day, minute in asked.days()}
    if "before" in needs:
        no_before = _not_before(asked, start - length)
        before = {} if no_before else asked.reads.totals(start - length, start)
    for called in sorted({*now, *asked.theirs}):
        service = asked.service(called)
        if not asked.wants(service.name):
            continue
        by_day = dict(days.get(called, ()))
        yield ServiceFacts(
            name=service.name,
            title=service.display_name,
            labels={"team": service.team, **service.labels} if called in asked.theirs else {},
            now=_totals(now.get(called), missing),
            before=None if no_before else _totals(before.get(called)),
            no_before=no_before,
            days=tuple((day, _totals(by_day.get(day), gone[day])) for day in gone),
        )


def segments(asked: Inquiry) -> Iterator[SegmentFacts]:
    """Every value of every dimension, tested together as `assess.segments` does, per service."""
    counted = asked.reads.segments(asked.start, asked.stop)
    config = SegmentsConfig()
    for called in sorted(counted):
        service = asked.service(called)
        if not asked.wants(service.name):
            continue
        rows = [r for r in counted[called] if not service.dimensions or r[0] in service.dimensions]
        sums = asked.totals[called]
        whole = np.array([sums.failed, sums.calls], np.int64)
        counts = np.array([[r[3] for r in rows], [r[2] for r in rows]], np.int64).reshape(2, -1)
        for found in standings([(r[0], r[1]) for r in rows], counts, whole, config):
            yield SegmentFacts(
                service=service.name,
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


def scores(asked: Inquiry) -> Iterator[ScoreFacts]:
    """The mean of every score of every configured service."""
    for called, service in asked.theirs.items():
        if not asked.wants(service.name):
            continue
        for name, mean in sorted(asked.reads.scores(called, asked.start, asked.stop).items()):
            value, half = (float(f"{x:.9g}") for x in (mean.value, 1.96 * mean.standard_error))
            yield ScoreFacts(service.name, name, value, value - half, value + half, mean.n)


def health_scores(asked: Inquiry) -> Iterator[HealthFacts]:
    """Every health score with the whole period as its window."""
    left, missing = known(asked.objectives), asked.incomplete()
    for document in asked.desired.documents:
        spec = document.spec
        if not isinstance(spec, HealthScoreShape) or not asked.wants(spec.service):
            continue
        service = asked.desired.services.get(spec.service)
        if service is None:
            continue
        called = service.service_name
        calls = _timeline(asked.totals.get(called), asked.start, asked.stop - asked.start)
        judged = asked.reads.scores(called, asked.start, asked.stop)
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


# --- private -----------------------------------------------------------------------------------


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


def _not_before(asked: Inquiry, start: int) -> str:
    """Why nothing can be said from `start` on, or ""."""
    first = asked.house.telemetry.reads.first_minute()
    if first is None or first > start:
        return "no calls are held from the period before"
    return asked.incomplete(start)


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
