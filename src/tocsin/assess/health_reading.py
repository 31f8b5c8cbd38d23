"""What was measured of every component of a health score, with the interval it deserves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrik, stdtrit

from tocsin.assess.budget import objective_statuses
from tocsin.assess.burn import span
from tocsin.assess.health import Reading
from tocsin.assess.health_monitor import Counted, HealthScoreConfig, Measured, config_of
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.buckets import LATENCY
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import SHARE
from tocsin.domain.shares import exact_interval

_TAIL = 0.025  # on either side of a 95 % interval


def readings(
    window: Window, monitor: Monitor, minute: int, found: Mapping[str, Verdict]
) -> dict[str, Reading]:
    """Every component of a health score at `minute`, by metric.

    found: what the other monitors say at this minute, by name; a monitor that says nothing is ok.
    """
    config = config_of(monitor)
    end, width = minute + 1, config.window_minutes
    calls = window.health.sums(config.calls[0], end, width)[1]
    return {
        one.metric: _reading(window, monitor, config, one, end, found, calls)
        for one in config.measured
    }


def _reading(
    window: Window, monitor: Monitor, config: HealthScoreConfig, one: Measured, end: int,
    found: Mapping[str, Verdict], calls: int,
) -> Reading:  # fmt: skip
    width = config.window_minutes
    if one.kind == "finding":
        return _finding(one.finds, found, calls)
    if one.kind == "budget":
        return _budget(window, one, end - 1, calls)
    if one.kind == "latency":
        histogram = window.health.latency(monitor.service, end, width)
        return quantile_reading(histogram, one.quantile, one.unit_ms, calls)
    if one.kind == "mean":
        return _mean(window, one, end, width, calls)
    bad, total = window.health.sums(one.series[0][0], end, width)
    return share_reading(bad, total, calls, is_good=one.kind == "good")


def _finding(name: str, found: Mapping[str, Verdict], calls: int) -> Reading:
    verdict = found.get(name)
    if verdict is not None and verdict.judgement is Judgement.UNKNOWN:
        return Reading(None, events=calls, reason=f"{name} cannot tell: {verdict.reason}")
    breaches = verdict is not None and verdict.judgement is Judgement.BREACH
    return Reading(float(breaches), events=calls)


def _budget(window: Window, one: Measured, minute: int, calls: int) -> Reading:
    assert one.objective is not None  # noqa: S101 (its kind says so)
    (status,) = objective_statuses(window, [one.objective], minute)
    if status.remaining is None:
        name = one.objective.name.removeprefix("slo/")
        reason = f"nothing is known of the error budget of {name}"
        return Reading(None, events=calls, reason=reason)
    return Reading(status.remaining, events=calls)


def _mean(window: Window, one: Measured, end: int, width: int, calls: int) -> Reading:
    for values, squares in _pairs(one.series):
        total, n = window.health.sums(values[0], end, width)
        if n:
            square, _ = window.health.sums(squares[0], end, width)
            (unit, unit2) = (c[1].charge.limit for c in (values, squares) if c[1].charge)
            return mean_reading(round(n / SHARE), total / n * unit, square / n * unit2)
    reason = f"no value of it came in the last {span(width)}"
    return Reading(None, events=calls, reason=reason if calls else "no calls in this time")


def _pairs(series: tuple[Counted, ...]) -> Iterator[tuple[Counted, Counted]]:
    return zip(series[::2], series[1::2], strict=True)


def share_reading(bad: int, total: int, calls: int, *, is_good: bool = False) -> Reading:
    """A share of calls with its exact interval (Clopper and Pearson, 1934)."""
    if not total:
        return Reading(None, events=calls, reason="no calls of this kind in this time")
    low, high = exact_interval(bad, total)
    if is_good:
        return Reading(1 - bad / total, 1 - high, 1 - low, total)
    return Reading(bad / total, low, high, total)


def mean_reading(n: int, mean: float, square: float) -> Reading:
    """A mean of n values with Student's interval. square: the mean of their squares.

    One value alone says nothing of the spread: its interval is the whole line.
    """
    if n < 2:
        return Reading(mean, -math.inf, math.inf, n)
    variance = max(square - mean * mean, 0.0) * n / (n - 1)
    half = float(stdtrit(n - 1, 1 - _TAIL)) * math.sqrt(variance / n)
    return Reading(mean, mean - half, mean + half, n)


def quantile_reading(
    histogram: npt.NDArray[np.int64], q: float, unit_ms: float, calls: int
) -> Reading:
    """A quantile of latencies, right to 2 %, between order statistics that hold it 95 times of 100
    whatever the distribution.

    The number of values below a quantile is binomial, so that its 2.5 and 97.5 % points are the
    ranks; beyond the largest value there is no bound. David and Nagaraja, "Order Statistics"
    (2003), section 7.1.
    """
    n = int(histogram.sum())
    if not n:
        return Reading(None, events=calls, reason="no answered calls in this time")
    lower = math.floor(float(bdtrik(_TAIL, n, q)))
    upper = math.ceil(float(bdtrik(1 - _TAIL, n, q))) + 1
    cumulative = histogram.cumsum()
    low = 0.0 if lower < 1 else _at_rank(cumulative, lower) / unit_ms
    high = math.inf if upper > n else _at_rank(cumulative, upper) / unit_ms
    value = float(LATENCY.quantile(histogram, q)) / 1000.0 / unit_ms
    return Reading(value, min(low, value), max(high, value), n)


def _at_rank(cumulative: npt.NDArray[np.int64], rank: int) -> float:
    """The value of this rank from 1 on, in milliseconds, at its bucket's geometric middle."""
    bucket = int(np.searchsorted(cumulative, rank))
    return float(LATENCY.ratio ** (bucket - 0.5)) / 1000.0
