"""Metric points as what happened in each step of time: differences of counters, levels of gauges.

A *series* is one metric of one resource, scope and set of attributes. Its *runs* differ in their
start time: a process that starts again counts from zero. Within a run a cumulative point holds all
since the start, and what is told here is the difference to the point before it:

    the same point again        is one point, whoever sent it and however often
    unchanged                   nothing happened, which is known
    no point in a step          unknown, not zero; the next difference covers the silence
    less than before            the counter began anew: all of the point is new
    another start time          another run: all of its first point is new, since its start
    start unknown, or over a
    day ago with nothing before the first point is a base and tells nothing by itself
    late or out of order        points are read in the order of their own time

A difference belongs to the step in which its point ends ((a, b] belongs to the step that contains
the instant before b). Differences of whole steps add up: reading an hour is reading its minutes.
Points of delta temporality are told as they are, each (start, end) once.

Counts that metrics report are of the very calls that spans report. They are never added to calls.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tocsin.domain.clock import from_minute
from tocsin.indicators.distributions import (
    Distribution,
    Explicit,
    Exponential,
    added,
    since,
)
from tocsin.store.clickhouse import DATABASE, ClickHouse

Reading = Literal["level", "count", "unreadable"]
Floats = npt.NDArray[np.float64]

LOOK_BACK = timedelta(days=1)
MOST_SERIES = 200
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric that a service reported: in how many series, and when last."""

    metric: str
    type: str
    unit: str
    series: int
    last: datetime


@dataclass(frozen=True, slots=True, eq=False)
class MetricSeries:
    """One series in equal steps of `step_s` from `start`; NaN and None are unknown.

    reading: "level" has last, lowest, highest, mean; "count" has count (of observations, or the
    increase of a counter), total (the sum of what was observed), covered_s (how many seconds the
    differences of the step span) and, of histograms, distributions; a summary has the quantiles
    that its sender computed. "unreadable" has nothing, because the sender did not say how its
    points add up.
    resets: how often it began anew.
    """

    metric: str
    type: str
    unit: str
    scope: str
    labels: Mapping[str, str]
    resource: Mapping[str, str]
    start: datetime
    step_s: int
    reading: Reading
    count: Floats
    total: Floats
    covered_s: Floats
    last: Floats
    lowest: Floats
    highest: Floats
    mean: Floats
    distributions: tuple[Distribution | None, ...] = ()
    quantiles: Mapping[float, Floats] = field(default_factory=dict)
    resets: int = 0

    @property
    def rate_per_s(self) -> Floats:
        """Increase per second, over the seconds that are covered."""
        seconds = np.where(self.covered_s > 0, self.covered_s, np.nan)
        return np.asarray(self.count / seconds, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MetricRead:
    """The series of one metric. is_partial: there are more than MOST_SERIES."""

    series: tuple[MetricSeries, ...]
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class _Span:
    """Epoch minutes [start, stop) in steps."""

    start: int
    stop: int
    step_minutes: int

    @property
    def steps(self) -> int:
        return -(-(self.stop - self.start) // self.step_minutes)

    @property
    def values(self) -> dict[str, int]:
        return {
            "start": self.start * 60 * _US,
            "stop": self.stop * 60 * _US,
            "step": self.step_minutes * 60 * _US,
            "back": int(LOOK_BACK.total_seconds()) * _US,
        }


class MetricReader:
    """Queries over `metric_points` of one ClickHouse."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def names(self, service: str, start: int, stop: int) -> list[MetricName]:
        """What a service reported in epoch minutes [start, stop), by name."""
        rows = self._engine.rows(
            f"SELECT metric, type, any(unit), uniqExact({_SERIES}), max(ts)"
            f" FROM {DATABASE}.metric_points WHERE service = {{service:String}}"
            " AND ts >= fromUnixTimestamp64Micro({start:Int64}, 'UTC')"
            " AND ts < fromUnixTimestamp64Micro({stop:Int64}, 'UTC')"
            " GROUP BY metric, type ORDER BY metric, type",
            {"service": service, **_Span(start, stop, 1).values},
        )
        return [
            MetricName(metric, kind, unit, int(series), last.replace(tzinfo=UTC))
            for metric, kind, unit, series, last in rows
        ]

    def read(
        self, service: str, metric: str, start: int, stop: int, step_minutes: int = 1
    ) -> MetricRead:
        """The series of one metric over epoch minutes [start, stop), in the order of their labels.

        At most MOST_SERIES of them.
        """
        span = _Span(start, stop, step_minutes)
        values = {"service": service, "metric": metric, **span.values}
        chosen = self._engine.rows(_CHOOSE, values)
        values["chosen"] = [row[0] for row in chosen[:MOST_SERIES]]
        found: list[MetricSeries] = []
        if chosen:
            found += _levels(self._engine.records(_LEVELS, values), span)
            found += _counts(self._engine.records(_CUMULATIVE, values), span)
            found += _deltas(self._engine.records(_DELTA, values), span)
            found += _unreadable(self._engine.records(_UNREADABLE, values), span)
        found.sort(key=lambda s: (s.type, sorted(s.labels.items()), sorted(s.resource.items())))
        return MetricRead(tuple(found), len(chosen) > MOST_SERIES)


# --- SQL ---------------------------------------------------------------------------------------

_SERIES = (
    "cityHash64(project, scope, metric, unit, type, temporality, monotonic,"
    " arraySort(CAST(attrs, 'Array(Tuple(String, String))')),"
    " arraySort(CAST(res, 'Array(Tuple(String, String))')))"
)
_IDENTITY = (
    "any(metric) AS metric, any(type) AS type, any(unit) AS unit, any(scope) AS scope,"
    " any(attrs) AS labels, any(res) AS resource"
)
_COUNTED = "(type IN ('histogram', 'exponential', 'summary') OR type = 'sum' AND monotonic = 1)"
_IS_LEVEL = "(type = 'gauge' OR type = 'sum' AND monotonic = 0 AND temporality = 2)"
_IS_CUMULATIVE = f"({_COUNTED} AND temporality = 2)"
_IS_DELTA = "(type != 'gauge' AND temporality = 1)"
_HELD = (
    "value", "count", "bounds", "counts", "scale", "zeros", "offset", "negative_offset",
    "negatives", "quantiles", "quantile_values",
)  # fmt: skip


_WITHIN = (
    "ts >= fromUnixTimestamp64Micro({start:Int64}, 'UTC')"
    " AND ts <= fromUnixTimestamp64Micro({stop:Int64}, 'UTC')"
)
_AFTER_START = _WITHIN.replace("ts >=", "ts >")
_BEFORE = (
    "ts >= fromUnixTimestamp64Micro({start:Int64} - {back:Int64}, 'UTC')"
    " AND ts <= fromUnixTimestamp64Micro({start:Int64}, 'UTC')"
)
_EACH_ONCE = "series, since, at", "recv DESC, count DESC, value DESC"
# Of cumulative ones the larger, because a counter does not fall.
_EACH_RISEN = "series, since, at", "count DESC, value DESC"
_LAST_OF_RUN = "series, since", "at DESC, count DESC, value DESC"


def _points(what: str, when: str, kept: tuple[str, str] = _EACH_ONCE) -> str:
    """SQL: points of the metric, one for each combination of `kept[0]`, the first by `kept[1]`.

    Usually each point once, as it was received last: a correction.
    """
    return f"""
    SELECT *, {_SERIES} AS series, toUnixTimestamp64Micro(ts) AS at,
      toUnixTimestamp64Micro(start) AS since
    FROM {DATABASE}.metric_points
    WHERE service = {{service:String}} AND metric = {{metric:String}} AND {what}
      AND {when} AND series IN {{chosen:Array(UInt64)}}
    ORDER BY {kept[0]}, {kept[1]}
    LIMIT 1 BY {kept[0]}"""


_SLOT = "intDiv(at - 1 - {start:Int64}, {step:Int64})"
_IN_WINDOW = "at > {start:Int64} AND at <= {stop:Int64}"
_CHOOSE = f"""
SELECT DISTINCT {_SERIES} AS series FROM {DATABASE}.metric_points
WHERE service = {{service:String}} AND metric = {{metric:String}}
  AND {_WITHIN}
ORDER BY series LIMIT {MOST_SERIES + 1}"""
_LEVELS = f"""
SELECT series, intDiv(at - {{start:Int64}}, {{step:Int64}}) AS slot, {_IDENTITY},
  argMax(value, at) AS last, min(value) AS lowest, max(value) AS highest, avg(value) AS mean
FROM ({_points(_IS_LEVEL, _WITHIN)})
WHERE isFinite(value) AND at < {{stop:Int64}}
GROUP BY series, slot ORDER BY series, slot"""
_DELTA = f"""
SELECT series, {_SLOT} AS slot, {_IDENTITY}, bounds, scale, offset, negative_offset,
  sum(value) AS value, sum(count) AS count, sumForEach(counts) AS counts, sum(zeros) AS zeros,
  sumForEach(negatives) AS negatives,
  intervalLengthSum(if(since = 0, at, since), at) AS covered
FROM ({_points(_IS_DELTA, _WITHIN)})
WHERE {_IN_WINDOW}
GROUP BY series, slot, bounds, scale, offset, negative_offset ORDER BY series, slot"""
_UNREADABLE = f"""
SELECT series, {_IDENTITY}
FROM ({_points(f"NOT {_IS_LEVEL} AND NOT {_IS_CUMULATIVE} AND NOT {_IS_DELTA}", _WITHIN)})
GROUP BY series ORDER BY series"""

_WINDOW = "OVER (PARTITION BY series, since ORDER BY at)"
_FELL = (
    "type = 'sum' AND value < was_value OR type != 'sum' AND (count < was_count"
    " OR zeros < was_zeros OR bounds != was_bounds OR type = 'histogram' AND"
    " arrayExists((now, was) -> now < was, counts, arrayResize(was_counts, length(counts))))"
)
# Of the time before the window the last point of every run is enough to take differences from.
# How a point relates to the one before it. A base tells nothing by itself; a start is new since the
# start time of its run, a fall since the point before it.
_RELATION = f"""multiIf(
    place = 1 AND (since = 0 OR since >= at OR since < at - {{back:Int64}}), 'base',
    place = 1, 'start',
    at - was_at > {{back:Int64}}, 'base',
    {_FELL}, 'fall',
    'next')"""
_CUMULATIVE = f"""
SELECT series, since, run, is_base, slot, {_IDENTITY},
  max(at) AS until, argMin(relation, at) AS relation, argMin(was_at, at) AS before,
  {", ".join(f"argMax(p.{name}, at) AS {name}" for name in _HELD)}
FROM (
  SELECT *, relation = 'base' AS is_base,
    if(is_base OR at <= {{start:Int64}}, -1, {_SLOT}) AS slot,
    sum(relation != 'next') {_WINDOW} AS run
  FROM (
    SELECT *, {_RELATION} AS relation FROM (
      SELECT *, row_number() {_WINDOW} AS place, lagInFrame(at) {_WINDOW} AS was_at,
        lagInFrame(value) {_WINDOW} AS was_value, lagInFrame(count) {_WINDOW} AS was_count,
        lagInFrame(zeros) {_WINDOW} AS was_zeros, lagInFrame(bounds) {_WINDOW} AS was_bounds,
        lagInFrame(counts) {_WINDOW} AS was_counts
      FROM (
        ({_points(_IS_CUMULATIVE, _AFTER_START, _EACH_RISEN)})
        UNION ALL ({_points(_IS_CUMULATIVE, _BEFORE, _LAST_OF_RUN)})
      )
    )
  )
) AS p
GROUP BY series, since, run, is_base, slot
ORDER BY series, since, run, is_base DESC, slot"""


# --- rows to series ----------------------------------------------------------------------------


class _Steps:
    """What the differences of one series add up to, step by step."""

    def __init__(self, span: _Span) -> None:
        self._span = span
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._quantiles: dict[float, dict[int, tuple[int, float]]] = {}
        self.count = np.full(span.steps, np.nan)
        self.total = np.full(span.steps, np.nan)
        self.distributions: list[Distribution | None] = [None] * span.steps
        self.covered_s = np.zeros(span.steps)
        self.resets = 0

    def add(self, slot: int, count: float, total: float, held: Distribution | None) -> None:
        """One difference."""
        is_first = np.isnan(self.count[slot])
        self.count[slot] = count if is_first else self.count[slot] + count
        self.total[slot] = total if is_first else self.total[slot] + total
        self.distributions[slot] = held if is_first else added(self.distributions[slot], held)

    def cover(self, slot: int, begin: int, end: int) -> None:
        """A difference of `slot` spans these microseconds."""
        self._spans.setdefault(slot, []).append((begin, end))

    def told(self, slot: int, at: int, quantiles: Mapping[float, float]) -> None:
        """Quantiles that the sender computed itself; the last of a step counts."""
        for q, value in quantiles.items():
            held = self._quantiles.setdefault(q, {})
            if np.isfinite(value) and at >= held.get(slot, (0, 0.0))[0]:
                held[slot] = (at, value)

    def close(self) -> None:
        """Once all is added: how long the differences of each step span together."""
        for slot, spans in self._spans.items():
            self.covered_s[slot] = _length(spans) / _US

    def quantiles(self) -> dict[float, Floats]:
        """Per step, NaN where nothing was told."""
        found = {}
        for q, held in sorted(self._quantiles.items()):
            found[q] = np.full(self._span.steps, np.nan)
            for slot, (_, value) in held.items():
                found[q][slot] = value
        return found


def _levels(rows: Sequence[Mapping[str, Any]], span: _Span) -> Iterator[MetricSeries]:
    for first, group in _by_series(rows):
        levels = {n: np.full(span.steps, np.nan) for n in ("last", "lowest", "highest", "mean")}
        for row in group:
            for name, values in levels.items():
                values[row["slot"]] = row[name]
        yield _series(first, span, "level", **levels)


def _counts(rows: Sequence[Mapping[str, Any]], span: _Span) -> Iterator[MetricSeries]:
    for first, group in _by_series(rows):
        steps = _Steps(span)
        is_known = False
        for _, run in groupby(group, key=lambda row: (row["since"], row["run"])):
            is_known = _add_run(steps, list(run)) or is_known
        steps.close()
        if is_known:
            yield _series(first, span, "count", **_summed(steps))


def _add_run(steps: _Steps, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Differences of what a counter held at the end of each step, in order.

    Whether a point lies in the window at all.
    """
    before: Mapping[str, Any] | None = None
    if rows[0]["relation"] == "fall" and rows[0]["slot"] >= 0:
        steps.resets += 1
    is_known = False
    for row in rows:
        slot = int(row["slot"])
        if not row["is_base"] and slot >= 0:
            begin = row["before"] if row["relation"] == "fall" else row["since"]
            steps.cover(slot, before["until"] if before else begin, row["until"])
            steps.add(slot, *_difference(row, before))
            steps.told(
                slot,
                row["until"],
                dict(zip(row["quantiles"], row["quantile_values"], strict=False)),
            )
        is_known = is_known or slot >= 0 or row["is_base"]
        before = row
    return is_known


def _difference(
    row: Mapping[str, Any], before: Mapping[str, Any] | None
) -> tuple[float, float, Distribution | None]:
    """(count, total, distribution) that came since `before`, or since the start."""
    held = _distribution(row)
    if row["type"] == "sum":
        grown = row["value"] - (before["value"] if before else 0.0)
        return grown, grown, None
    if before is None:
        return float(row["count"]), row["value"], held
    count, total = row["count"] - before["count"], row["value"] - before["value"]
    fresh = since(held, _distribution(before))
    return float(count), total, fresh


def _deltas(rows: Sequence[Mapping[str, Any]], span: _Span) -> Iterator[MetricSeries]:
    for first, group in _by_series(rows):
        steps = _Steps(span)
        for row in group:
            slot = int(row["slot"])
            count = row["value"] if row["type"] == "sum" else float(row["count"])
            steps.add(slot, count, row["value"], _distribution(row))
            # A sender that does not say since when is taken to speak of the whole step.
            covered = row["covered"] / _US or span.step_minutes * 60.0
            steps.covered_s[slot] = max(steps.covered_s[slot], covered)
        yield _series(first, span, "count", **_summed(steps))


def _unreadable(rows: Sequence[Mapping[str, Any]], span: _Span) -> Iterator[MetricSeries]:
    for first, _ in _by_series(rows):
        yield _series(first, span, "unreadable")


def _summed(steps: _Steps) -> dict[str, Any]:
    has_buckets = any(held is not None for held in steps.distributions)
    return {
        "count": steps.count,
        "total": steps.total,
        "covered_s": steps.covered_s,
        "distributions": tuple(steps.distributions) if has_buckets else (),
        "quantiles": steps.quantiles(),
        "resets": steps.resets,
    }


def _series(row: Mapping[str, Any], span: _Span, reading: Reading, **given: Any) -> MetricSeries:
    unknown = np.full(span.steps, np.nan)
    arrays = ("count", "total", "covered_s", "last", "lowest", "highest", "mean")
    return MetricSeries(
        metric=row["metric"],
        type=row["type"],
        unit=row["unit"],
        scope=row["scope"],
        labels=dict(row["labels"]),
        resource=dict(row["resource"]),
        start=from_minute(span.start),
        step_s=span.step_minutes * 60,
        reading=reading,
        **{**dict.fromkeys(arrays, unknown), **given},
    )


def _by_series(
    rows: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    for _, group in groupby(rows, key=lambda row: row["series"]):
        held = list(group)
        yield held[0], held


def _distribution(row: Mapping[str, Any]) -> Distribution | None:
    if row["type"] == "histogram" and len(row["counts"]):
        return Explicit(tuple(row["bounds"]), np.asarray(row["counts"], dtype=np.int64))
    if row["type"] == "exponential":
        return Exponential(
            int(row["scale"]), int(row["zeros"]),
            int(row["offset"]), np.asarray(row["counts"], dtype=np.int64),
            int(row["negative_offset"]), np.asarray(row["negatives"], dtype=np.int64),
        )  # fmt: skip
    return None


def _length(spans: Iterable[tuple[int, int]]) -> int:
    """How much of the line the spans cover together."""
    covered, reached = 0, -(1 << 62)
    for begin, end in sorted(spans):
        covered += max(end - max(begin, reached), 0)
        reached = max(reached, end)
    return covered
