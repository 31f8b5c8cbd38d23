"""What all series of a metric say together, step by step: for charts and for detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from tocsin.domain.series import Across, Metric, Taken
from tocsin.indicators.distributions import added
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
    mine = [each for each in found if _has(each, wanted.labels)]
    return together(mine, wanted.take, wanted.across, stop - start)


def together(series: Sequence[MetricSeries], take: Taken, across: Across, steps: int) -> Floats:
    """One value a step. Quantiles are those of all observations: of quantiles of single series
    neither the sum nor the mean is one, so that `across` says nothing about them."""
    quantile = _QUANTILES.get(take)
    if quantile is not None:
        return _quantile(series, quantile, steps)
    values = np.full(steps, np.nan)
    if series:
        stacked = np.stack([_taken(each, take) for each in series])
        known = np.isfinite(stacked).any(axis=0)
        values[known] = _ACROSS[across](stacked[:, known], axis=0)
    return values


def _taken(series: MetricSeries, take: Taken) -> Floats:
    if take == "rate":
        return series.rate_per_s
    level: Floats = getattr(series, take)
    return level


def _quantile(series: Sequence[MetricSeries], quantile: float, steps: int) -> Floats:
    values = np.full(steps, np.nan)
    for step in range(steps):
        held = [s.distributions[step] for s in series if s.distributions and s.count[step] > 0]
        whole = reduce(added, held[1:], held[0]) if held else None
        found = whole.quantile(quantile) if whole else None
        if found is not None and np.isfinite(found.value):
            values[step] = found.value
    return values


def _has(series: MetricSeries, labels: tuple[tuple[str, str], ...]) -> bool:
    known = {**series.resource, **series.labels}
    return all(known.get(name) == value for name, value in labels)
