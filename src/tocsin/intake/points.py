"""Metric points that Tocsin reads somewhere, written as OTLP: every way in meets one store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tocsin.intake.records import put_all

DELTA, CUMULATIVE = 1, 2
UNKNOWN_START = 0
_MOST_COUNT = 1 << 63
_MOST_NS = 1 << 63  # in the year 2262


def nanoseconds(instant: datetime) -> int:
    """Since the epoch, in whole microseconds."""
    return int(instant.timestamp() * 1e6) * 1000


class MetricRequest:
    """One request for one resource. Times are nanoseconds since the epoch; start 0 is unknown."""

    def __init__(self, resource: Mapping[str, str], scope: str) -> None:
        self._request = ExportMetricsServiceRequest()
        held = self._request.resource_metrics.add()
        put_all(held.resource.attributes, resource)
        scoped = held.scope_metrics.add()
        scoped.scope.name = scope
        self._metrics = scoped.metrics
        self._known: dict[tuple[str, str, int], Any] = {}
        self.points = 0

    def level(
        self, name: str, at_ns: int, value: float, labels: Mapping[str, str], *, unit: str = ""
    ) -> None:
        """A gauge. What is not a number is not told. ValueError for a time that is none."""
        if math.isnan(value):
            return
        point = self._point(self._metric(name, "gauge", 0, unit), at_ns)
        point.as_double = value
        self._finish(point, 0, labels)

    def counter(
        self, name: str, start_ns: int, at_ns: int, value: float, labels: Mapping[str, str],
        *, unit: str = "", temporality: int = CUMULATIVE,
    ) -> None:  # fmt: skip
        """A sum that only grows. ValueError for what no counter can be."""
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{value} is not the value of a counter")
        held = self._metric(name, "sum", temporality, unit)
        held.is_monotonic = True
        point = self._point(held, at_ns)
        point.as_double = value
        self._finish(point, start_ns, labels)

    def histogram(
        self, name: str, start_ns: int, at_ns: int, buckets: Sequence[tuple[float, float]],
        count: float, total: float, labels: Mapping[str, str], *, unit: str = "",
    ) -> None:  # fmt: skip
        """A cumulative histogram. buckets: (upper bound, how many are at most that), +Inf included
        or not. ValueError when the buckets do not rise to `count`."""
        finite = [(bound, held) for bound, held in buckets if math.isfinite(bound)]
        rising = [0.0, *(held for _, held in finite), count]
        if not all(a <= b < _MOST_COUNT for a, b in pairwise(rising)):
            raise ValueError("its buckets do not rise to its count")
        counts = [int(b - a) for a, b in pairwise(rising)]
        point = self._point(self._metric(name, "histogram", CUMULATIVE, unit), at_ns)
        point.count = int(count)
        point.sum = total if math.isfinite(total) else 0.0
        point.explicit_bounds.extend(bound for bound, _ in finite)
        point.bucket_counts.extend(counts)
        self._finish(point, start_ns, labels)

    def summary(
        self, name: str, start_ns: int, at_ns: int, quantiles: Mapping[float, float],
        count: float, total: float, labels: Mapping[str, str], *, unit: str = "",
    ) -> None:  # fmt: skip
        """Quantiles that the sender computed, with a count and a sum. ValueError as above."""
        if not 0 <= count < _MOST_COUNT:
            raise ValueError(f"{count} is not a count")
        point = self._point(self._metric(name, "summary", 0, unit), at_ns)
        point.count = int(count)
        point.sum = total if math.isfinite(total) else 0.0
        for q, value in sorted(quantiles.items()):
            held = point.quantile_values.add()
            held.quantile, held.value = q, value
        self._finish(point, start_ns, labels)

    def body(self) -> bytes:
        """As protobuf."""
        return self._request.SerializeToString()

    def _metric(self, name: str, kind: str, temporality: int, unit: str) -> Any:
        key = (name, kind, temporality)
        if key not in self._known:
            metric = self._metrics.add()
            metric.name, metric.unit = name, unit
            held = getattr(metric, kind)
            held.SetInParent()
            if temporality:
                held.aggregation_temporality = temporality
            self._known[key] = held
        return self._known[key]

    def _point(self, held: Any, at_ns: int) -> Any:
        """A new point at a time; none when that is no time."""
        if not 0 < at_ns < _MOST_NS:
            raise ValueError(f"{at_ns} ns after the epoch is no time of a sample")
        point = held.data_points.add()
        point.time_unix_nano = at_ns
        return point

    def _finish(self, point: Any, start_ns: int, labels: Mapping[str, str]) -> None:
        point.start_time_unix_nano = max(start_ns, 0)
        put_all(point.attributes, labels)
        self.points += 1
