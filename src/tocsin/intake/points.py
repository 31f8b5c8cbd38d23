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
        """A gauge. What is not a number is not told."""
        if math.isnan(value):
            return
        point = self._metric(name, "gauge", 0, unit).data_points.add()
        point.as_double = value
        self._finish(point, 0, at_ns, labels)

    def counter(
        self, name: str, start_ns: int, at_ns: int, value: float, labels: Mapping[str, str],
        *, unit: str = "", temporality: int = CUMULATIVE,
    ) -> None:  # fmt: skip
        """A sum that only grows. ValueError for what no counter can be."""
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: {value} is not the value of a counter")
        held = self._metric(name, "sum", temporality, unit)
        held.is_monotonic = True
        point = held.data_points.add()
        point.as_double = value
        self._finish(point, start_ns, at_ns, labels)

    def histogram(
        self, name: str, start_ns: int, at_ns: int, buckets: Sequence[tuple[float, float]],
        count: float, total: float, labels: Mapping[str, str], *, unit: str = "",
    ) -> None:  # fmt: skip
        """A cumulative histogram. buckets: (upper bound, how many are at most that), +Inf included
        or not. ValueError when the buckets do not rise to `count`."""
        finite = [(bound, held) for bound, held in buckets if math.isfinite(bound)]
        rising = [0.0, *(held for _, held in finite), count]
        counts = [int(b - a) for a, b in pairwise(rising)]
        if not math.isfinite(count) or count >= _MOST_COUNT or min(counts) < 0:
            raise ValueError(f"{name}: its buckets do not rise to its count")
        point = self._metric(name, "histogram", CUMULATIVE, unit).data_points.add()
        point.count = int(count)
        point.sum = total if math.isfinite(total) else 0.0
        point.explicit_bounds.extend(bound for bound, _ in finite)
        point.bucket_counts.extend(counts)
        self._finish(point, start_ns, at_ns, labels)

    def summary(
        self, name: str, start_ns: int, at_ns: int, quantiles: Mapping[float, float],
        count: float, total: float, labels: Mapping[str, str], *, unit: str = "",
    ) -> None:  # fmt: skip
        """Quantiles that the sender computed, with a count and a sum. ValueError as above."""
        if not 0 <= count < _MOST_COUNT:
            raise ValueError(f"{name}: {count} is not a count")
        point = self._metric(name, "summary", 0, unit).data_points.add()
        point.count = int(count)
        point.sum = total if math.isfinite(total) else 0.0
        for q, value in sorted(quantiles.items()):
            held = point.quantile_values.add()
            held.quantile, held.value = q, value
        self._finish(point, start_ns, at_ns, labels)

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

    def _finish(self, point: Any, start_ns: int, at_ns: int, labels: Mapping[str, str]) -> None:
        point.start_time_unix_nano, point.time_unix_nano = max(start_ns, 0), at_ns
        put_all(point.attributes, labels)
        self.points += 1
