"""Two arms of a service's calls, summed up by minute: what gates read (`domain.comparison`)."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from tocsin.domain.comparison import ArmCount, Compared, Comparison
from tocsin.domain.expressions import fields
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.conditions import score_joins
from tocsin.store.expressions import Compiler
from tocsin.store.minute_sql import ended_between
from tocsin.store.schema import ENDED

_SINCE = "toDateTime64({start:Int64} * {grain:Int64}, 6, 'UTC')"
_MOST_ARMS = 20


class ArmReader:
    """Reads one ClickHouse."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def counts(self, wanted: Comparison, start: int, stop: int) -> list[ArmCount]:
        """What the units that are counted in epoch minutes [start, stop) did, by minute."""
        compiler = Compiler()
        sql = (
            f"{_summed(wanted, compiler)}"
            " SELECT m, a, i, count(), sum(v), sum(v * v) FROM valued GROUP BY m, a, i ORDER BY m"
        )
        parameters = {
            **compiler.parameters, "first": start, "last": stop, "grain": 60, "stop": stop,
            "start": start - (2 * wanted.window - 1 if wanted.unit else 0),
        }  # fmt: skip
        return [
            ArmCount(int(m), wanted.values[i - 1].name, bool(a), int(n), float(total), float(sq))
            for m, a, i, n, total, sq in self._engine.rows(sql, parameters)
        ]

    def arms(self, wanted: Comparison, start: int, stop: int) -> dict[str, int]:
        """What tells arms apart, with the calls of each that ended in [start, stop), most first."""
        compiler = Compiler()
        of_arm = compiler.sql(wanted.arm)
        rows = self._engine.rows(
            f"SELECT {of_arm} AS arm, count() AS n FROM {DATABASE}.calls AS calls"
            f" WHERE {ended_between()} AND {_whose(wanted, compiler)} AND isNotNull(arm)"
            f" GROUP BY arm ORDER BY n DESC, arm LIMIT {_MOST_ARMS}",
            {**compiler.parameters, "start": start, "stop": stop, "grain": 60},
        )
        return {str(arm): int(n) for arm, n in rows}


def _whose(wanted: Comparison, compiler: Compiler) -> str:
    service = compiler.bind(wanted.service, "String")
    return f"calls.service = {service} AND calls.kind = {compiler.bind(wanted.kind, 'String')}"


def _summed(wanted: Comparison, compiler: Compiler) -> str:
    """SQL: WITH `valued`, a row per unit and value: minute m, whether candidate a, place i, v."""
    names = sorted({f.key for each in wanted.values for f in fields(each.value)
                    if f.name in ("score", "label")})  # fmt: skip
    maps, joins = score_joins(compiler, names, _SINCE)
    values = ", ".join(
        f"({place}, {_number(each, compiler)})" for place, each in enumerate(wanted.values, start=1)
    )
    arm, unit = compiler.sql(wanted.arm), _unit(wanted, compiler)
    candidate = compiler.bind(wanted.candidate, "String")
    both = compiler.bind(list(wanted.arms), "Array(String)")
    calls = (
        f"{maps} SELECT toInt64(intDiv(toUnixTimestamp({ENDED}), 60)) AS m,"
        f" ifNull({arm} = {candidate}, 0) AS a, {unit} AS u, arrayJoin([{values}]) AS p,"
        f" p.1 AS i, p.2 AS v FROM {DATABASE}.calls AS calls{joins}"
        f" WHERE {ended_between()} AND {_whose(wanted, compiler)}"
        f" AND has({both}, ifNull({arm}, ''))"
    )
    if wanted.unit is None:
        # Not as `v`: WHERE would see the value behind a NULL.
        return (
            f"WITH valued AS (SELECT m, a, i, assumeNotNull(told.v) AS v FROM ({calls}) AS told"
            " WHERE isNotNull(told.v) AND isFinite(assumeNotNull(told.v)))"
        )
    width = wanted.window
    gaps = f"arrayMap(n -> if(n = 1, {width}, ms[n] - ms[n - 1]), arrayEnumerate(ms))"
    begun = (
        f"SELECT a, u, arrayJoin(arrayFilter((f, gap) -> gap >= {width}"
        f" AND f + {width} > {{first:Int64}} AND f + {width} <= {{last:Int64}}, ms, {gaps})) AS f"
        f" FROM (SELECT a, u, arraySort(groupUniqArray(m)) AS ms FROM ({calls}) GROUP BY a, u)"
    )
    return (
        f"WITH valued AS (SELECT begun.f + {width - 1} AS m, begun.a AS a, called.i AS i,"
        f" avg(assumeNotNull(called.v)) AS v FROM ({calls}) AS called INNER JOIN ({begun}) AS begun"
        " ON called.a = begun.a AND called.u = begun.u"
        f" WHERE called.m >= begun.f AND called.m < begun.f + {width}"
        " AND isNotNull(called.v) AND isFinite(assumeNotNull(called.v))"
        " GROUP BY begun.f, begun.a, begun.u, called.i)"
    )


def _unit(wanted: Comparison, compiler: Compiler) -> str:
    alone = "concat(char(0), calls.trace_id, calls.span_id)"
    return alone if wanted.unit is None else f"ifNull({compiler.sql(wanted.unit)}, {alone})"


def _number(each: Compared, compiler: Compiler) -> str:
    value = f"toFloat64({compiler.sql(each.value)})"
    return f"log(if({value} > 0, {value}, NULL))" if each.log else value
