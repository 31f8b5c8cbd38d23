"""Counts per minute of every value of a dimension that occurs.

Failures come from the marginal rows of the rollup: one row per value and minute, whatever the
traffic. Everything else is counted from raw calls as a condition.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tocsin.domain.series import Ratio, SeriesId
from tocsin.indicators.custom import as_condition
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.conditions import OWN, Counted, count_conditions
from tocsin.store.minute_sql import SPLIT, between, lookup, places_of, step_of

_COLUMNS = ("failed", "error", "truncated")


def count_each(
    engine: ClickHouse, each: Mapping[SeriesId, Ratio], window: Mapping[str, int]
) -> Mapping[SeriesId, npt.NDArray[np.int64]]:
    """Series of values -> (bad, total) by minute of the window. each: series of EACH."""
    rolled = {
        s: r
        for s, r in each.items()
        if r.column in _COLUMNS and not r.model and s.segment[0] not in OWN
    }
    others = {
        s: r if r.charge is not None else as_condition(r)
        for s, r in each.items()
        if s not in rolled
    }
    raw = {series: ratio for series, ratio in others.items() if ratio is not None}
    found: dict[SeriesId, npt.NDArray[np.int64]] = {}
    for counts in (_rolled(engine, rolled, window), count_conditions(engine, raw, window)):
        for series, minute, total, bad in counts:
            if series not in found:
                found[series] = np.zeros((2, window["stop"] - window["start"]), np.int64)
            found[series][:, minute] = bad, total
    return dict(sorted(found.items(), key=lambda item: (item[0].service, *item[0].segment)))


def _rolled(
    engine: ClickHouse, each: Mapping[SeriesId, Ratio], window: Mapping[str, int]
) -> Iterator[Counted]:
    if not each:
        return
    asking: dict[str, list[tuple[SeriesId, int]]] = {}
    for series, ratio in each.items():
        name = SPLIT.join((series.service, ratio.kind, series.segment[0]))
        asking.setdefault(name, []).append((series, _COLUMNS.index(ratio.column)))
    keys = list(asking)
    table = engine.table(
        f"SELECT {lookup('service', 'kind', 'sk')} - 1 AS k, {step_of('t')} AS m,"
        " toString(sv) AS v, toInt64(sum(n)) AS n, toInt64(sum(failed)), toInt64(sum(errors)),"
        f" toInt64(sum(truncated)) FROM {DATABASE}.calls_1m WHERE {between('t')}"
        " AND sk != '' AND sv != '' AND k >= 0 GROUP BY k, m, v",
        {**window, **places_of({key: place for place, key in enumerate(keys)})},
    )
    for key, minute, value, total, *bad in zip(*table.to_pydict().values(), strict=True):
        for series, column in asking[keys[key]]:
            segment = (series.segment[0], value)
            yield replace(series, segment=segment), minute, total, bad[column]
