"""Whole periods from hourly rollups, which are kept for longer than calls are.

The same sums, histograms and segments as those of `store.periods`, over whole hours. What they have
lost: when a call was received, so that calls that came after an as-of time are counted as well; its
provider, sizes and texts; and every threshold that is no edge of a bucket.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.periods import Sums, by_day, by_segment, sums_of

HOUR = 60
_SUMS = (
    # Sums of floats depend on how rows were merged; what a report says must not.
    "sum(n), sum(failed), sum(cost_known), round(sum(cost_usd), 9), sum(usage_known),"
    " sum(input_tokens + output_tokens)"
)
_WITHIN = (
    "t >= toDateTime({start:Int64} * 60, 'UTC') AND t < toDateTime({stop:Int64} * 60, 'UTC')"
    " AND kind = 'llm'"
)


class RolledUp:
    """Reads epoch minutes [start, stop), both on the hour."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def totals(self, start: int, stop: int) -> dict[str, Sums]:
        """LLM calls of every service."""
        return {key[0]: sums for key, sums in self._sums(start, stop).items()}

    def days(self, start: int, stop: int, time_zone: str) -> dict[str, list[tuple[date, Sums]]]:
        """The same by the days of a time zone, oldest first; days without calls are left out."""
        return by_day(self._sums(start, stop, "toDate(t, {zone:String})", zone=time_zone))

    def segments(self, start: int, stop: int) -> dict[str, list[tuple[str, str, int, int]]]:
        """(dimension, value, calls, failed) by service, of every value of every dimension."""
        rows = self._engine.rows(
            f"SELECT service, sk, sv, sum(n), sum(failed) FROM {DATABASE}.calls_1h"
            f" WHERE {_WITHIN} AND sk != '' GROUP BY service, sk, sv ORDER BY service, sk, sv",
            {"start": start, "stop": stop},
        )
        return by_segment(rows)

    def _sums(self, start: int, stop: int, *by: str, **more: Any) -> dict[tuple[Any, ...], Sums]:
        values: Mapping[str, Any] = {"start": start, "stop": stop, **more}
        keys, named = 1 + len(by), ", ".join(["service", *by])
        source = f"FROM {DATABASE}.calls_1h"
        where = f"WHERE {_WITHIN} AND sk = ''"
        buckets = self._engine.rows(
            f"SELECT {named}, b, sum(c) {source}"
            f" ARRAY JOIN mapKeys(h) AS b, mapValues(h) AS c {where} GROUP BY ALL",
            values,
        )
        sums = self._engine.rows(f"SELECT {named}, {_SUMS} {source} {where} GROUP BY ALL", values)
        return sums_of(keys, buckets, sums)
