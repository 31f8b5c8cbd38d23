"""What health scores measure, over any period of the past, from the rollups: for reports.

A week is too long for the window of the tick. Means are of scores, by when these came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tocsin.assess.health import Reading
from tocsin.domain.shares import exact_interval
from tocsin.store.reads import Timeline
from tocsin.store.scores import Mean

_LATENCY = re.compile(
    r"(p50|median|p95|p99)_(?:llm_|inference_|response_)?latency_(seconds|s|ms|milliseconds)"
)
_FAILURES, _SUCCESSES = ("error_rate", "failure_rate"), ("success_rate", "availability")
_COSTS = ("cost_per_query", "cost_per_query_usd", "cost_usd")


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
