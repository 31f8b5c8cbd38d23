"""Counts by every combination of dimension values, in two windows at once: what a breakdown needs.

Rows that are added up here are those of `tocsin.store.minutes`: a ratio has the same numerator and
denominator in both. Reads are bounded: a dimension tells its most frequent values apart and adds up
the rest, and at most `MOST_CELLS` combinations come back, the largest first.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tocsin.domain.series import Ratio
from tocsin.store import scores
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.conditions import Conditional
from tocsin.store.minutes import MEASURED
from tocsin.store.schema import ANSWERED, ENDED, FAILED

MOST_VALUES = 50
MOST_CELLS = 20_000
MOST_DIMENSIONS = 12
OTHER = "(other)"

Amount = Literal["calls", "tokens", "cost_usd"]
AMOUNTS: Mapping[Amount, str] = {
    "calls": "1.0",
    "tokens": "toFloat64(calls.input_tokens + calls.output_tokens)",
    "cost_usd": "calls.cost_usd * calls.cost_known",
}
_FLAGS = {
    "failed": FAILED,
    "error": "(calls.error_class != '')",
    "truncated": "(calls.truncated = 1)",
}
# Beside what is declared as a dimension; every call has these.
_OWN = ("model", "provider", "release", "prompt_version", "env", "name", "user_id")


@dataclass(frozen=True)
class Window:
    """Epoch minutes [start, stop) in question, and those they are compared with."""

    start: int
    stop: int
    usual_start: int
    usual_stop: int


@dataclass(frozen=True)
class Joint:
    """Sums by combination of values. dimensions: name -> value [cell].

    now, usual: [cell] of how much there is; of it, bad_now and bad_usual, zeros for an amount.
    """

    dimensions: Mapping[str, Sequence[str]]
    now: npt.NDArray[np.float64]
    bad_now: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]
    bad_usual: npt.NDArray[np.float64]


class SliceReader:
    """Reads joint counts of one service from one ClickHouse."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def joint(self, service: str, measure: Ratio | Amount, window: Window) -> Joint:
        """Sums of `measure` by all dimensions that tell rows of the service apart."""
        source, values = _source(service, measure, window)
        named = self._engine.rows(
            f"""SELECT pair.1 AS dimension, uniqExact(pair.2) AS n,
              arrayMap(x -> x.1, topK({MOST_VALUES}, 3, 'counts')(pair.2)) AS top
            FROM ({source}) ARRAY JOIN CAST(d, 'Array(Tuple(String, String))') AS pair
            GROUP BY dimension HAVING n > 1 OR count() < (SELECT count() FROM ({source}))
            ORDER BY n, dimension LIMIT {MOST_DIMENSIONS}""",
            values,
        )
        names = [str(row[0]) for row in named]
        told = ", ".join(
            f"multiIf(d[{{name{i}:String}}] = '', '',"
            f" has({{top{i}:Array(String)}}, d[{{name{i}:String}}]), d[{{name{i}:String}}],"
            f" {{other:String}}) AS v{i}"
            for i in range(len(names))
        )
        for i, (name, _, top) in enumerate(named):
            values |= {f"name{i}": str(name), f"top{i}": [str(value) for value in top]}
        group = ", ".join(f"v{i}" for i in range(len(names)))
        rows = self._engine.rows(
            f"""SELECT sumIf(x, is_now), sumIf(x, is_now AND is_bad), sumIf(x, NOT is_now),
              sumIf(x, NOT is_now AND is_bad){", " + told if told else ""}
            FROM ({source}) {"GROUP BY " + group if group else ""}
            ORDER BY sum(x) DESC LIMIT {MOST_CELLS}""",
            values | {"other": OTHER},
        )
        columns = list(zip(*rows, strict=True)) or [()] * (4 + len(names))
        sums = [np.array(column, np.float64) for column in columns[:4]]
        dimensions = {
            name: [str(value) for value in column]
            for name, column in zip(names, columns[4:], strict=True)
        }
        return Joint(dimensions, *sums)

    def by_minute(
        self, service: str, measure: Ratio | Amount, window: Window
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(all, bad) of `measure` for each minute from `usual_start` to `stop`."""
        source, values = _source(service, measure, window)
        minute, total, bad = self._engine.arrays(
            f"SELECT toInt64(m), toFloat64(sum(x)), toFloat64(sumIf(x, is_bad))"
            f" FROM ({source}) GROUP BY m",
            values,
        )
        sums = np.zeros((2, window.stop - window.usual_start))
        sums[:, minute - window.usual_start] = np.stack([total, bad]) if len(minute) else 0.0
        return sums[0], sums[1]

    def slow(self, service: str, window: Window, kind: str = "llm") -> float | None:
        """The 95th percentile in ms of answered calls of the usual window; None below 20 calls."""
        count, value = self._engine.rows(
            f"SELECT count(), quantileExactLow(0.95)(calls.duration_us) FROM {DATABASE}.calls AS"
            f" calls WHERE {_IN_USUAL} AND service = {{service:String}} AND kind = {{kind:String}}"
            f" AND {ANSWERED}",
            {**_bounds(window), "service": service, "kind": kind},
        )[0]
        return float(value) / 1000.0 if count >= 20 else None


def _at(name: str) -> str:
    return f"toDateTime64({{{name}:Int64}} * 60, 6, 'UTC')"


def _within(column: str, start: str, stop: str) -> str:
    return f"({column} >= {_at(start)} AND {column} < {_at(stop)})"


# Partitions are chosen by where a call began: none that takes longer than a day is counted.
_BEGAN = "calls.ts >= {} - INTERVAL 1 DAY AND calls.ts < {}"
_IN_USUAL = (
    f"{_within(ENDED, 'usual_start', 'usual_stop')}"
    f" AND {_BEGAN.format(_at('usual_start'), _at('usual_stop'))}"
)


def _bounds(window: Window) -> dict[str, Any]:
    return {
        "start": window.start, "stop": window.stop,
        "usual_start": window.usual_start, "usual_stop": window.usual_stop,
    }  # fmt: skip


def _source(
    service: str, measure: Ratio | Amount, window: Window
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """SQL of rows (d: dimensions, m: epoch minute, is_now, x: amount, is_bad), and its values."""
    values = {**_bounds(window), "service": service}
    if isinstance(measure, Ratio) and measure.column == "feedback_negative":
        both = f"({_within('at', 'start', 'stop')} OR {_within('at', 'usual_start', 'usual_stop')})"
        reach = _within("ts", "usual_start", "stop")
        rated = scores.current(f"{reach} AND name = 'feedback' AND service = {{service:String}}")
        return (
            "SELECT CAST(dims, 'Map(String, String)') AS d,"
            " intDiv(toUnixTimestamp(at), 60) AS m, 1.0 AS x, value <= 0 AS is_bad,"
            f" {_within('at', 'start', 'stop')} AS is_now FROM ({rated}) WHERE {both}"
            " AND service = {service:String} AND name = 'feedback' AND NOT isNaN(value)",
            values,
        )
    known, bad, amount, kind, model = "1", "0", "1.0", "llm", ""
    maps, joins = "", ""
    if isinstance(measure, str):
        amount = AMOUNTS[measure]
    elif measure.column in _FLAGS:
        bad, kind, model = _FLAGS[measure.column], measure.kind, measure.model
    elif measure.condition is not None:
        condition = Conditional.of(measure, since=_at("usual_start"))
        known, bad, kind, model = condition.counts, condition.bad, measure.kind, measure.model
        maps, joins = condition.maps, condition.joins
        values |= condition.parameters
    else:
        value, known = MEASURED[measure.column]
        kind = "retriever" if measure.column == "empty_result" else measure.kind
        bad = f"({value} {'>=' if measure.op == 'ge' else '>'} {{threshold:Float64}})"
        values["threshold"], model = measure.threshold, measure.model
    values |= {"kind": kind, "model": model}
    own = ", ".join(f"'{name}', toString(calls.{name})" for name in _OWN)
    spans = f"({_within(ENDED, 'start', 'stop')} OR {_within(ENDED, 'usual_start', 'usual_stop')})"
    return (
        f"{maps} SELECT mapConcat(CAST(map({own}), 'Map(String, String)'),"
        f" CAST(calls.dims, 'Map(String, String)')) AS d,"
        f" intDiv(toUnixTimestamp({ENDED}), 60) AS m, {amount} AS x, {bad} AS is_bad,"
        f" {_within(ENDED, 'start', 'stop')} AS is_now FROM {DATABASE}.calls AS calls{joins}"
        f" WHERE {spans} AND {_BEGAN.format(_at('usual_start'), _at('stop'))}"
        " AND service = {service:String} AND kind = {kind:String}"
        f" AND ({{model:String}} = '' OR calls.model = {{model:String}}) AND {known}",
        values,
    )
