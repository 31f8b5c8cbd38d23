"""Metrics of a service as charts and as JSON: what model servers report about themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.series import Across, Taken
from tocsin.engine.sources import TargetStatus
from tocsin.indicators.serving import SERVING, ServingMetric
from tocsin.store.metric_values import together
from tocsin.store.metrics import MetricReader, MetricSeries, Reading
from tocsin.web.views import ChartView, Series

Floats = npt.NDArray[np.float64]

# What a chart takes of each series, and how it puts them together.
_TAKEN: Mapping[str, tuple[Taken, Across]] = {
    "total": ("highest", "sum"),
    "highest": ("highest", "highest"),
    "rate": ("rate", "sum"),
    "p95": ("p95", "sum"),
}
MOST_STEPS = 1500
_USUAL_STEPS = 360


@dataclass(frozen=True, slots=True)
class MetricNameResource:
    """A metric that the service reported in the window."""

    metric: str
    type: str
    unit: str
    series: int
    last: datetime


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One step of a series; null is unknown.

    count: observations, or the increase of a counter. covered_s: the seconds that the count spans,
    more than a step after a silence. p50, p95, p99: of a histogram; p95_low and p95_high are the
    bucket that p95 lies in, p95_high is null when it has no upper end.
    """

    at: datetime
    count: float | None
    total: float | None
    covered_s: float | None
    rate_per_s: float | None
    last: float | None
    lowest: float | None
    highest: float | None
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    p95_low: float | None
    p95_high: float | None
    quantiles: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MetricSeriesResource:
    """One series. reading: level, count, or unreadable where its points do not say how they add."""

    metric: str
    type: str
    unit: str
    scope: str
    labels: Mapping[str, str]
    resource: Mapping[str, str]
    reading: Reading
    resets: int
    points: tuple[MetricPoint, ...]


@dataclass(frozen=True, slots=True)
class MetricsResource:
    """What a service's metrics say, in steps of `step_s` from `start` to `stop`.

    names: all that it reported. series: of the metric that was asked for. is_partial: there are
    more series than are given. Nothing of this is part of the calls.
    """

    service: str
    start: datetime
    stop: datetime
    step_s: int
    names: tuple[MetricNameResource, ...]
    series: tuple[MetricSeriesResource, ...] = ()
    is_partial: bool = False


def resource(
    reader: MetricReader, service: str, theirs: str, metric: str, start: datetime, stop: datetime,
    step_minutes: int | None,
) -> MetricsResource:  # fmt: skip
    """Names, and the series of `metric` if one is named. theirs: what telemetry calls `service`.

    Without a step there are at most 360 of them. The window is in whole minutes and widened to
    whole steps.
    """
    first, last = to_minute(start), max(to_minute(stop - timedelta(microseconds=1)) + 1, 1)
    step = max(step_minutes or -(-(last - first) // _USUAL_STEPS), -(-(last - first) // MOST_STEPS))
    last = first + max(-(-(last - first) // step), 1) * step
    names = reader.names(theirs, first, last)
    read = reader.read(theirs, metric, first, last, step) if metric else None
    return MetricsResource(
        service=service,
        start=from_minute(first),
        stop=from_minute(last),
        step_s=step * 60,
        names=tuple(MetricNameResource(n.metric, n.type, n.unit, n.series, n.last) for n in names),
        series=tuple(_series(each) for each in read.series) if read else (),
        is_partial=read.is_partial if read else False,
    )


def charts(
    reader: MetricReader, title: str, theirs: str, start: int, stop: int, step: int
) -> tuple[ChartView, ...]:
    """A chart for each serving metric that the service reported in epoch minutes [start, stop)."""
    reported = {name.metric for name in reader.names(theirs, start, stop)}
    drawn = []
    for each in SERVING:
        if metric := each.source(reported):
            series = reader.read(theirs, metric, start, stop, step).series
            values = combined(each, series, -(-(stop - start) // step))
            drawn.append(
                ChartView(
                    service=title,
                    title=each.title,
                    unit=each.unit,
                    series=Series(from_minute(start), step * 60, values),
                    reason=f"{metric} cannot be read: its points do not say how they add up",
                )
            )
    return tuple(drawn)


def unread(sources: Iterable[TargetStatus], service: str) -> tuple[str, ...]:
    """What cannot be read for a service, in words."""
    return tuple(
        f"{status.source} cannot read {status.target}: {status.reason}"
        for status in sources
        if status.service == service and status.state == "unknown" and status.polls
    )


def combined(wanted: ServingMetric, series: Sequence[MetricSeries], steps: int) -> Floats:
    """What all series of a metric say together, step by step; NaN where none says anything."""
    values = together(series, *_TAKEN[wanted.taken], steps)
    return np.asarray(values * wanted.factor, dtype=np.float64)


# --- private -----------------------------------------------------------------------------------


def _series(series: MetricSeries) -> MetricSeriesResource:
    arrays = (series.count, series.last)
    known = np.flatnonzero(np.any([np.isfinite(a) for a in arrays], axis=0))
    return MetricSeriesResource(
        metric=series.metric,
        type=series.type,
        unit=series.unit,
        scope=series.scope,
        labels=dict(series.labels),
        resource=dict(series.resource),
        reading=series.reading,
        resets=series.resets,
        points=tuple(_point(series, int(place)) for place in known),
    )


def _point(series: MetricSeries, place: int) -> MetricPoint:
    held = series.distributions[place] if series.distributions else None
    p50, p95, p99 = (held.quantile(q) if held else None for q in (0.5, 0.95, 0.99))
    count, total = _known(series.count[place]), _known(series.total[place])
    is_counter = series.type == "sum"
    mean = total / count if total is not None and count else None
    return MetricPoint(
        at=series.start + timedelta(seconds=series.step_s * place),
        count=count,
        total=None if is_counter else total,
        covered_s=_known(series.covered_s[place]) if count is not None else None,
        rate_per_s=_known(series.rate_per_s[place]),
        last=_known(series.last[place]),
        lowest=_known(series.lowest[place]),
        highest=_known(series.highest[place]),
        mean=_known(series.mean[place]) if count is None else None if is_counter else mean,
        p50=_known(p50.value) if p50 else None,
        p95=_known(p95.value) if p95 else None,
        p99=_known(p99.value) if p99 else None,
        p95_low=_known(p95.low) if p95 else None,
        p95_high=_known(p95.high) if p95 else None,
        quantiles={
            f"{q:g}": float(values[place])
            for q, values in series.quantiles.items()
            if math.isfinite(values[place])
        },
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
