"""What was measured of services over the period of a report: calls, segments, scores, health."""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np

from tocsin.assess.health import state_of
from tocsin.assess.segments import SegmentsConfig, standings
from tocsin.engine.health_periods import HealthPeriod, period_of
from tocsin.engine.reporting.inquiry import Inquiry
from tocsin.engine.scoring import EVERY, KEPT
from tocsin.reports.facts import HealthFacts, Part, ScoreFacts, SegmentFacts, ServiceFacts, Totals
from tocsin.spec.health import HealthScoreShape
from tocsin.store.periods import Sums


def services(asked: Inquiry, needs: Set[Part]) -> Iterator[ServiceFacts]:
    """Every configured service, and every one that had calls, by name."""
    counts, now = asked.now, asked.totals
    days, gone, before, no_before = {}, {}, {}, "not asked for"
    if "days" in needs:
        days = counts.source.days(counts.start, counts.stop, asked.wish.time_zone)
        gone = {
            day: (counts.missing and asked.incomplete(begin)) or asked.unheard(end)
            for day, begin, end in asked.days()
        }
    if "before" in needs:
        then, no_before = asked.before, asked.before.missing
        before = {} if no_before else then.source.totals(then.start, then.stop)
    for called in sorted({*now, *asked.theirs}):
        service = asked.service(called)
        if not asked.wants(service.name):
            continue
        by_day = dict(days.get(called, ()))
        yield ServiceFacts(
            name=service.name,
            title=service.display_name,
            labels={"team": service.team, **service.labels} if called in asked.theirs else {},
            now=_totals(now.get(called), counts.missing),
            before=None if no_before else _totals(before.get(called)),
            no_before=no_before,
            days=tuple((day, _totals(by_day.get(day), gone[day])) for day in gone),
        )


def segments(asked: Inquiry) -> Iterator[SegmentFacts]:
    """Every value of every dimension, tested together as `assess.segments` does, per service."""
    counted = asked.now.source.segments(asked.start, asked.stop)
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
    """Every health score by the samples that were kept of it in the period."""
    start, stop = asked.start, asked.stop
    for document, spec in asked.desired.of(HealthScoreShape):
        if not asked.wants(spec.service) or spec.service not in asked.desired.services:
            continue
        samples = asked.house.state.health_samples(document.name, start - 2 * EVERY, stop)
        found, config = period_of(samples, start, stop), spec.build()
        mean = found.past.mean
        yield HealthFacts(
            document.name, spec.title(document.name, document.metadata.display_name), spec.service,
            _rounded(mean), _rounded(found.lowest), "" if mean is None else state_of(config, mean),
            dict(found.past.minutes), stop - start, _cause(found), config.warning,
        )  # fmt: skip


# --- private -----------------------------------------------------------------------------------


def _totals(sums: Sums | None, incomplete: str = "") -> Totals:
    if sums is None:
        return Totals(incomplete=incomplete)
    return Totals(
        calls=sums.calls,
        failed=sums.failed,
        p95_s=None if sums.p95_ms is None else sums.p95_ms / 1000,
        cost_usd=sums.cost_usd if sums.priced else None,
        priced=sums.priced,
        tokens=sums.tokens,
        used=sums.used,
        incomplete=incomplete,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")


def _cause(found: HealthPeriod) -> str:
    """What cost most of a mean, or why there is none."""
    if found.past.mean is not None:
        costs = [(metric, points) for metric, points in found.lost.items() if points >= 0.05]
        told = ", ".join(f"{metric} {points:.1f}" for metric, points in costs[:2])
        return f"points lost: {told}" if told else "nothing was lost"
    if not found.past.minutes:
        return f"no score of this time is kept; scores are kept for {KEPT // 1440} days"
    return f"it was {' or '.join(sorted(found.past.minutes))} all the time"
