"""A metric of a service as one number a minute, for what judges values over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tocsin.domain.series import Across, Metric, Taken
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.metrics import MetricReader, MetricSeries

Floats = npt.NDArray[np.float64]
# Beyond it a sum over an hour, in millionths, would not fit into 64 bits.
MOST_VALUE = 1e11
_QUANTILES: Mapping[Taken, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_ACROSS: Mapping[Across, Callable[..., Floats]] = {
    "sum": np.nansum, "highest": np.nanmax, "lowest": np.nanmin, "mean": np.nanmean,
}  # fmt: skip


def metric_minutes(
    engine: ClickHouse, service: str, wanted: Metric, start: int, stop: int
) -> Floats:
    """The value of each epoch minute of [start, stop); NaN where no series says anything.

    service: as telemetry calls it. A metric of a type that has not what is taken is unknown.
    """
    found = MetricReader(engine).read(service, wanted.name, start, stop, 1).series
    mine = [taken(each, wanted.take) for each in found if _has(each, wanted.labels)]
    values = np.full(stop - start, np.nan)
    if mine:
        stacked = np.stack(mine)
        known = np.isfinite(stacked).any(axis=0)
        values[known] = _ACROSS[wanted.across](stacked[:, known], axis=0)
    return values


def taken(series: MetricSeries, take: Taken) -> Floats:
    """What is taken of one series, step by step."""
    if take == "rate":
        return series.rate_per_s
    quantile = _QUANTILES.get(take)
    if quantile is None:
        level: Floats = getattr(series, take)
        return level
    values = np.full(series.count.size, np.nan)
    for step, held in enumerate(series.distributions):
        found = held.quantile(quantile) if held is not None and series.count[step] > 0 else None
        if found is not None:
            values[step] = found.value
    return values


def _has(series: MetricSeries, labels: tuple[tuple[str, str], ...]) -> bool:
    known = {**series.resource, **series.labels}
    return all(known.get(name) == value for name, value in labels)
