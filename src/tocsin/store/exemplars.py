"""Single calls to look at: those that a finding names, and those that made it what it is."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.calls import Call
from tocsin.domain.expressions import Expression, fields
from tocsin.domain.series import Ratio
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.conditions import Conditional, score_joins
from tocsin.store.expressions import Compiler
from tocsin.store.reads import CALL_COLUMNS, call_of
from tocsin.store.scores import micros

_LONGEST_CALL = timedelta(days=1)
_SINCE = "fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
_COLUMNS = ", ".join(f"calls.{name.strip()}" for name in CALL_COLUMNS.split(","))


class ExemplarReader:
    """Reads exemplars from one ClickHouse. service: as telemetry calls it. Times are half-open, and
    of the begin of calls."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def bad(
        self, service: str, ratio: Ratio, since: datetime, until: datetime, limit: int
    ) -> list[Call]:
        """The newest calls that `ratio`, which has a condition, counts as bad."""
        told = Conditional.of(ratio, since=_SINCE)
        return self._chosen(
            (told.maps, told.joins), f"{told.counts} AND {told.bad}", "calls.ts DESC",
            {**told.parameters, **_whose(service, ratio.kind, ratio.model, limit)}, since, until,
        )  # fmt: skip

    def most(
        self, service: str, value: Expression, since: datetime, until: datetime, limit: int, *,
        kind: str = "llm", model: str = "", least: bool = False,
    ) -> list[Call]:  # fmt: skip
        """The calls with the highest `value`, a numeric expression, or with the lowest."""
        compiler = Compiler()
        sql = compiler.sql(value)
        scores = sorted(f.key for f in fields(value) if f.name in ("score", "label"))
        return self._chosen(
            score_joins(compiler, scores, _SINCE), f"isNotNull({sql})",
            f"{sql} {'ASC' if least else 'DESC'}, calls.ts DESC",
            {**compiler.parameters, **_whose(service, kind, model, limit)}, since, until,
        )  # fmt: skip

    def named(self, ids: Sequence[str], since: datetime, until: datetime) -> list[Call]:
        """The calls "TRACE/SPAN", in this order; those that are no longer kept are left out."""
        wanted = [(trace, span) for trace, _, span in (name.partition("/") for name in ids)]
        rows = self._engine.records(
            f"SELECT {_COLUMNS} FROM {DATABASE}.calls AS calls WHERE {_WITHIN} AND"
            " calls.trace_id IN {traces:Array(String)} AND calls.span_id IN {spans:Array(String)}",
            {"traces": [trace for trace, _ in wanted], "spans": [span for _, span in wanted]}
            | _window(since - _LONGEST_CALL, until),
        )
        calls = {(call.trace_id, call.span_id): call for call in map(call_of, rows)}
        return [calls[pair] for pair in dict.fromkeys(wanted) if pair in calls]

    def _chosen(
        self, joined: tuple[str, str], which: str, order: str, values: Mapping[str, Any],
        since: datetime, until: datetime,
    ) -> list[Call]:  # fmt: skip
        rows = self._engine.records(
            f"{joined[0]} SELECT {_COLUMNS} FROM {DATABASE}.calls AS calls{joined[1]}"
            f" WHERE {_WITHIN} AND calls.service = {{service:String}} AND calls.kind ="
            " {kind:String} AND ({model:String} = '' OR calls.model = {model:String})"
            f" AND {which} ORDER BY {order}, calls.span_id LIMIT {{limit:UInt32}}",
            {**values, **_window(since, until)},
        )
        return [call_of(row) for row in rows]


_WITHIN = f"calls.ts >= {_SINCE} AND calls.ts < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')"


def _window(since: datetime, until: datetime) -> dict[str, Any]:
    return {"since": micros(since), "until": micros(until)}


def _whose(service: str, kind: str, model: str, limit: int) -> dict[str, Any]:
    return {"service": service, "kind": kind, "model": model, "limit": limit}
