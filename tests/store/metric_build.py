"""Metric points as rows, and an honest slow way to say what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from telemetry_build import NOW

from tocsin.domain.clock import iso, to_minute
from tocsin.store.metrics import LOOK_BACK
from tocsin.store.otlp_kinds import METRIC_POINTS
from tocsin.store.schema import rows_kind
from tocsin.store.telemetry import Telemetry

POINT_ROWS = rows_kind(METRIC_POINTS, "points", "JSONEachRow")
MINUTE = to_minute(NOW)
_US = 1_000_000


@dataclass(frozen=True)
class Point:
    """A point of a monotonic sum. at_s, since_s: seconds from NOW; since_s None is unknown."""

    at_s: float
    value: float
    since_s: float | None = None


def row(point: Point, **more: Any) -> dict[str, Any]:
    start = "1970-01-01T00:00:00Z" if point.since_s is None else _moment(point.since_s)
    return {
        "project": "shop",
        "metric": "requests",
        "type": "sum",
        "monotonic": 1,
        "temporality": 2,
        "ts": _moment(point.at_s),
        "start": start,
        "value": point.value,
        "recv": iso(NOW),
        **more,
    }


def store_points(store: Telemetry, service: str, points: Iterable[Mapping[str, Any]]) -> None:
    store.add_rows(POINT_ROWS, [{**point, "service": service} for point in points])
    store.flush()


def slow_differences(points: Sequence[Point], first_s: int, last_s: int) -> dict[int, float]:
    """Minute (from NOW) -> increase, one point after another, without any cleverness."""
    runs: dict[float | None, dict[float, float]] = {}
    for point in points:
        held = runs.setdefault(point.since_s, {})
        held[point.at_s] = max(point.value, held.get(point.at_s, -math.inf))
    found: dict[int, float] = {}
    for since, held in runs.items():
        before: tuple[float, float] | None = None
        for at, value in sorted(held.items()):
            grown = _grown(since, at, value, before)
            before = (at, value)
            if grown is not None and first_s < at <= last_s:
                minute = math.ceil(at / 60) - 1
                found[minute] = found.get(minute, 0.0) + grown
    return found


def _grown(
    since: float | None, at: float, value: float, before: tuple[float, float] | None
) -> float | None:
    longest = LOOK_BACK.total_seconds()
    if before is None:
        is_base = since is None or since >= at or since < at - longest
        return None if is_base else value
    if at - before[0] > longest:
        return None
    return value - before[1] if value >= before[1] else value


def _moment(seconds: float) -> str:
    return iso(NOW + timedelta(seconds=seconds))
