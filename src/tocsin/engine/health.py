"""Health scores of a running server: what was measured of a service, and what that comes to.

Computed when somebody looks, from the rollups and the scores of the last minutes; in shadow, as the
documents say: shown, and told to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.assess.health import Health, Reading, health
from tocsin.domain.clock import to_minute
from tocsin.domain.shares import exact_interval
from tocsin.engine.house import House
from tocsin.spec.health import HealthScoreShape
from tocsin.store.reads import Timeline
from tocsin.store.scores import Mean, means

_LATENCY = re.compile(
    r"(p50|median|p95|p99)_(?:llm_|inference_|response_)?latency_(seconds|s|ms|milliseconds)"
)
_FAILURES, _SUCCESSES = ("error_rate", "failure_rate"), ("success_rate", "availability")
_COSTS = ("cost_per_query", "cost_per_query_usd", "cost_usd")


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A health score of a service as it stands. minutes: how far back it looks."""

    name: str
    title: str
    service: str
    minutes: int
    health: Health
    warning: float
    critical: float


def service_health(house: House, service: str = "") -> Iterator[ServiceHealth]:
    """Every health score of a service, or of all services, by the last complete minutes.

    Documents that name no service are about none, and only `tocsin score` computes them.
    """
    now = house.clock.now()
    for document in house.desired.documents:
        spec = document.spec
        if not isinstance(spec, HealthScoreShape) or not spec.service:
            continue
        if service in ("", spec.service):
            config = spec.build()
            yield ServiceHealth(
                name=document.name,
                title=document.metadata.display_name or document.name,
                service=spec.service,
                minutes=spec.minutes,
                health=health(config, readings(house, spec, now)),
                warning=config.warning,
                critical=config.critical,
            )


def readings(house: House, spec: HealthScoreShape, now: datetime) -> dict[str, Reading]:
    """What was measured of every component in the last complete minutes before `now`."""
    stop = to_minute(now)
    start = stop - spec.minutes
    known = house.desired.services.get(spec.service)
    theirs = known.service_name if known else spec.service
    calls = house.telemetry.reads.timeline(theirs, start, stop, spec.minutes)
    judged = means(house.telemetry.engine, theirs, start, stop)
    linked = any(one.from_slo for one in spec.components)
    budgets = {s.monitor: s.remaining for s in house.statuses()} if linked else {}
    return {
        one.metric: budget_reading(one.from_slo, budgets)
        if one.from_slo
        else measured(one.metric, calls, judged)
        for one in spec.components
    }


def budget_reading(slo: str, budgets: Mapping[str, float | None]) -> Reading:
    """What is left of the budget of an objective. budgets: by the names of monitors."""
    left = next((left for name, left in budgets.items() if name in (slo, f"slo/{slo}")), None)
    if left is None:
        return Reading(None, reason=f"nothing is known of the error budget of {slo}")
    return Reading(left)


def measured(metric: str, calls: Timeline, judged: Mapping[str, Mean]) -> Reading:
    """A metric over the first step of `calls`, or as scores judged it."""
    name, n = metric.lower(), int(calls.n[0])
    if timed := _LATENCY.fullmatch(name):
        values = {"p95": calls.p95_ms, "p99": calls.p99_ms}.get(timed[1], calls.p50_ms)
        factor = 1000.0 if timed[2] in ("s", "seconds") else 1.0
        return _of_calls(float(values[0]) / factor, n)
    if name in _FAILURES or name in _SUCCESSES:
        return _rate(int(calls.failed[0]), n, is_failure=name in _FAILURES)
    if name in _COSTS:
        priced = float(calls.priced[0]) * n
        return _of_calls(float(calls.cost_usd[0]) / priced if priced else float("nan"), n)
    mean = judged.get(metric) or judged.get(metric.removesuffix("_score"))
    if mean is None:
        return Reading(None, reason="no score of this name came in this time", events=n)
    half = 1.96 * mean.standard_error
    return Reading(mean.value, mean.value - half, mean.value + half, mean.n)


def _of_calls(value: float, n: int) -> Reading:
    return Reading(value, events=n, reason="" if n else "no calls in this time")


def _rate(failed: int, n: int, *, is_failure: bool) -> Reading:
    if not n:
        return Reading(None, events=0, reason="no calls in this time")
    low, high = exact_interval(failed, n)
    if is_failure:
        return Reading(failed / n, low, high, n)
    return Reading(1 - failed / n, 1 - high, 1 - low, n)
