"""Latency histograms of every value of a dimension, from raw calls.

Rollups have those of whole services alone: a map of buckets is most of a row, and there are as many
rows of segments as a service has values. The buckets are the same, and so are the calls that count.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tocsin.domain.buckets import LATENCY
from tocsin.domain.series import Ratio, SeriesId
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.conditions import dimension
from tocsin.store.expressions import Compiler
from tocsin.store.minute_sql import SPLIT, ended_between, lookup, places_of, step_of
from tocsin.store.schema import ANSWERED, ENDED, bucket

_Ints = npt.NDArray[np.int64]


def histograms_of_each(
    engine: ClickHouse, each: Mapping[SeriesId, Ratio], window: Mapping[str, int]
) -> tuple[tuple[SeriesId, ...], _Ints]:
    """Series of the values that occurred, and their cells as `MinuteBlock.cells` has them.

    each: series of EACH whose ratio has a histogram. window: epoch minutes `start` and `stop`.
    """
    keys = {SPLIT.join((sid.service, r.kind, sid.segment[0])): sid for sid, r in each.items()}
    if not keys:
        return (), np.zeros((4, 0), np.int64)
    compiler = Compiler()
    told = [dimension(compiler, name) for name in sorted({sid.segment[0] for sid in each})]
    services = compiler.bind(sorted({sid.service for sid in each}), "Array(String)")
    table = engine.table(
        f"""SELECT m, {lookup("service", "kind", "segment.1")} - 1 AS k, segment.2 AS v, b,
          toInt64(count()) AS n
        FROM (
          SELECT toString(calls.service) AS service, toString(calls.kind) AS kind,
            {step_of(ENDED)} AS m, toInt64({bucket("calls.duration_us", LATENCY)}) AS b,
            arrayJoin([{", ".join(told)}]) AS segment
          FROM {DATABASE}.calls AS calls
          WHERE {ended_between()} AND {ANSWERED} AND calls.service IN {services}
        ) WHERE k >= 0 AND v != '' GROUP BY m, k, v, b ORDER BY m, k, v, b""",
        {
            **window,
            **compiler.parameters,
            **places_of({key: place for place, key in enumerate(keys)}),
        },
    )
    minute, key, bucket_, calls = (np.asarray(table[name], np.int64) for name in "mkbn")
    values = table["v"].combine_chunks().dictionary_encode()
    names, code = values.dictionary.to_pylist(), np.asarray(values.indices, np.int64)
    pairs, row = np.unique(key * max(len(names), 1) + code, return_inverse=True)
    asked = list(keys.values())
    series = tuple(
        replace(asked[at], segment=(asked[at].segment[0], names[value]))
        for at, value in (divmod(pair, len(names)) for pair in pairs.tolist())
    )
    return series, np.stack([minute + window["start"], row, bucket_, calls])
