"""What a report reads of telemetry: whole periods, from raw rows, as they were known at a time.

Pages read rollups, which keep no time of receipt; a report that is to come out the same next year
leaves out what was received after its as-of time, so that it reads the rows themselves. What counts
is the same text in both (`store.schema`), and the tests hold them together.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from tocsin.domain.buckets import LATENCY
from tocsin.domain.samples import Sample, Wish
from tocsin.domain.series import Change
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.minute_sql import ended_between
from tocsin.store.minutes import MINUTE, MinuteReader
from tocsin.store.samples import SampleReader
from tocsin.store.schema import ANSWERED, ENDED, FAILED, bucket
from tocsin.store.scores import Mean, means, micros
from tocsin.store.vendors import Vendors

_SEEN = ("calls", "scores", "score_versions", "changes", "quarantine")
_SUMS = (
    f"count(), countIf({FAILED}), sum(calls.cost_known),"
    # Decimals add up to the same in any order; what a report says must not depend on it.
    " sum(toDecimal128(calls.cost_usd * calls.cost_known, 12)),"
    " sum(calls.usage_known), sum(calls.input_tokens + calls.output_tokens)"
)
_LLM = f"calls.kind = 'llm' AND {ended_between()}"


@dataclass(frozen=True, slots=True)
class Sums:
    """Calls of one service, all of them or those of one day. cost_usd: of the priced ones."""

    calls: int
    failed: int
    priced: int
    cost_usd: float
    used: int
    tokens: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Periods:
    """Reads epoch minutes [start, stop) by what was received up to `known_by`."""

    def __init__(self, engine: ClickHouse, known_by: datetime) -> None:
        came = f"recv <= fromUnixTimestamp64Micro({micros(known_by)})"
        self._engine = engine.seeing(dict.fromkeys(_SEEN, came))

    def totals(self, start: int, stop: int) -> dict[str, Sums]:
        """LLM calls of every service."""
        return {key[0]: sums for key, sums in self._sums(start, stop).items()}

    def days(self, start: int, stop: int, time_zone: str) -> dict[str, list[tuple[date, Sums]]]:
        """The same by the days of a time zone, oldest first; days without calls are left out."""
        day = f"toDate({ENDED}, {{zone:String}})"
        return by_day(self._sums(start, stop, day, zone=time_zone))

    def segments(self, start: int, stop: int) -> dict[str, list[tuple[str, str, int, int]]]:
        """(dimension, value, calls, failed) by service, of every value of every dimension."""
        rows = self._engine.rows(
            f"SELECT service, segment.1 AS d, segment.2 AS v, count(), countIf({FAILED})"
            f" FROM {DATABASE}.calls AS calls"
            " ARRAY JOIN CAST(dims, 'Array(Tuple(String, String))') AS segment"
            f" WHERE {_LLM} GROUP BY service, d, v ORDER BY service, d, v",
            _window(start, stop),
        )
        return by_segment(rows)

    def scores(self, service: str, start: int, stop: int) -> dict[str, Mean]:
        """Means of a service's scores, corrections counted once."""
        return means(self._engine, service, start, stop)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """Changes, oldest first."""
        return MinuteReader(self._engine).changes(start, stop)

    def sample(self, wish: Wish, start: int, stop: int) -> Sample:
        """Calls chosen by a hash of their ids; see `store.samples`."""
        return SampleReader(self._engine).sample(wish, start, stop)

    @property
    def vendors(self) -> Vendors:
        """Calls by vendor."""
        return Vendors(self._engine)

    def quarantined(self, start: int, stop: int) -> int:
        """How many inputs were kept that could not be used."""
        rows = self._engine.rows(
            f"SELECT count() FROM {DATABASE}.quarantine"
            " WHERE recv >= toDateTime64({start:Int64} * {grain:Int64}, 6, 'UTC')"
            " AND recv < toDateTime64({stop:Int64} * {grain:Int64}, 6, 'UTC')",
            _window(start, stop),
        )
        return int(rows[0][0])

    def inputs(self, start: int, stop: int) -> Iterator[tuple[str, int, str]]:
        """(table, rows, SHA-256) of all that lies in the period: of the sorted digests of rows,
        hour by hour, so that the order in which rows came does not show."""
        for table, at, columns in _INPUTS:
            rows = self._engine.rows(
                f"SELECT toStartOfHour({at}) AS hour, count(), "
                f"lower(hex(SHA256(arrayStringConcat(arraySort(groupArray(SHA256(toString("
                f"tuple({columns}))))))))) FROM {DATABASE}.{table} AS {table}"
                f" WHERE {at} >= toDateTime64({{start:Int64}} * 60, 6, 'UTC')"
                f" AND {at} < toDateTime64({{stop:Int64}} * 60, 6, 'UTC')"
                " GROUP BY hour ORDER BY hour",
                {"start": start, "stop": stop},
            )
            whole = hashlib.sha256()
            for _, _, digest in rows:
                whole.update(bytes.fromhex(digest))
            yield table, sum(int(row[1]) for row in rows), whole.hexdigest()

    def _sums(self, start: int, stop: int, *by: str, **more: Any) -> dict[tuple[Any, ...], Sums]:
        values = {**_window(start, stop), **more}
        keys, named = 1 + len(by), ", ".join(["service", *by])
        source = f"FROM {DATABASE}.calls AS calls WHERE {_LLM}"
        buckets = self._engine.rows(
            f"SELECT {named}, {bucket('calls.duration_us', LATENCY)} AS b, count() {source}"
            f" AND {ANSWERED} GROUP BY ALL",
            values,
        )
        sums = self._engine.rows(f"SELECT {named}, {_SUMS} {source} GROUP BY ALL", values)
        return sums_of(keys, buckets, sums)


def sums_of(
    keys: int, buckets: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]
) -> dict[tuple[Any, ...], Sums]:
    """Sums by the first `keys` columns. buckets: (keys, bucket of `LATENCY`, answered calls);
    rows: (keys, calls, failed, priced, dollars, with usage, tokens)."""
    histograms: dict[tuple[Any, ...], Any] = defaultdict(lambda: np.zeros(LATENCY.count, np.int64))
    for row in buckets:
        histograms[tuple(row[:keys])][int(row[keys])] += int(row[keys + 1])
    found = {}
    for row in rows:
        key = tuple(row[:keys])
        calls, failed, priced, cost, used, tokens = row[keys:]
        histogram = histograms.get(key)
        quantiles = [
            float(LATENCY.quantile(histogram, q)) / 1000 if histogram is not None else None
            for q in (0.50, 0.95, 0.99)
        ]
        found[key] = Sums(
            int(calls), int(failed), int(priced), float(cost), int(used), int(tokens), *quantiles
        )
    return found


def by_day(found: Mapping[tuple[Any, ...], Sums]) -> dict[str, list[tuple[date, Sums]]]:
    """Sums by (service, day) as days of each service, oldest first."""
    days: dict[str, list[tuple[date, Sums]]] = defaultdict(list)
    for (service, day), sums in sorted(found.items()):
        days[service].append((day, sums))
    return days


def by_segment(rows: Sequence[Sequence[Any]]) -> dict[str, list[tuple[str, str, int, int]]]:
    """Rows of (service, dimension, value, calls, failed) by service."""
    found: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    for service, dimension, value, calls, failed in rows:
        found[str(service)].append((str(dimension), str(value), int(calls), int(failed)))
    return found


def _window(start: int, stop: int) -> Mapping[str, Any]:
    return {"start": start, "stop": stop, "grain": MINUTE}


# table, SQL of when a row counts, what is digested of it
_INPUTS = (
    (
        "calls",
        ENDED,
        "project, service, kind, model, provider, ts, trace_id, span_id, duration_us, ttft_us,"
        " error_class, truncated, input_tokens, output_tokens, cost_usd, cost_known, dims, recv",
    ),
    ("scores", "ts", "key, version, name, value, label, source, recv"),
    ("changes", "ts", "service, kind, title, labels, recv"),
)
