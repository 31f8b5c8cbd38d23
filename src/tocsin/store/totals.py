"""What each user, session or other key of calls used in a stretch of time, the largest first."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping

from tocsin.domain.samples import Sample, Wish
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.schema import ENDED

_USED = "if(calls.usage_known = 1, calls.{}, 0)"
_AMOUNTS: Mapping[str, str] = {
    "calls": "count()",
    "input_tokens": f"sum({_USED.format('input_tokens')})",
    "output_tokens": f"sum({_USED.format('output_tokens')})",
    "total_tokens": f"sum({_USED.format('input_tokens')} + {_USED.format('output_tokens')})",
    "cost_usd": "sum(if(calls.cost_known = 1, calls.cost_usd, 0))",
    "errors": "countIf(calls.error_class != '')",
    "policy_violations": (
        "countIf(calls.error_class = 'content_filter' OR calls.finish_reason = 'content_filter')"
    ),
}
_KEYS = ("session_id", "user_id", "trace_id")


def read_totals(engine: ClickHouse, wish: Wish, start: int, stop: int) -> Sample:
    """Totals of the features of `wish` by key and stretch, see `Wish.per`; at most `wish.most`."""
    prefix, _, name = wish.per.partition(":")
    key = f"calls.{prefix}" if prefix in _KEYS else _named(prefix)
    bounds = [f"toDateTime64({{{end}:Int64}} * 60, 6, 'UTC')" for end in ("start", "stop")]
    rows = engine.rows(
        f"""SELECT key, at.1, at.2, {", ".join(wish.features)}, count() OVER () FROM (
          SELECT toString({key}) AS key,
            intDiv({{stop:Int64}} * 60 - 1 - toUnixTimestamp({ENDED}), {{width:Int64}}) AS stretch,
            argMax((calls.trace_id, calls.span_id), calls.ts) AS at,
            {", ".join(f"toFloat64({_AMOUNTS[each]}) AS {each}" for each in wish.features)}
          FROM {DATABASE}.calls AS calls
          WHERE {ENDED} >= {bounds[0]} AND {ENDED} < {bounds[1]}
            AND calls.ts >= {bounds[0]} - INTERVAL 1 DAY AND calls.ts < {bounds[1]}
            AND calls.service = {{service:String}} AND calls.kind = {{kind:String}} AND key != ''
          GROUP BY key, stretch)
        ORDER BY {wish.features[0]} DESC, key LIMIT {{most:UInt32}}""",
        {
            "service": wish.service, "kind": wish.kind, "start": start, "stop": stop,
            "width": wish.window_minutes * 60, "most": wish.most, "name": name,
        },
    )  # fmt: skip
    columns = list(zip(*rows, strict=True)) or [()] * (4 + len(wish.features))
    told = dict(zip(("key", *wish.features), (columns[0], *columns[3:-1]), strict=True))
    size = int(columns[-1][0]) if rows else 0
    return Sample(told, tuple(zip(columns[1], columns[2], strict=True)), size)


def _named(prefix: str) -> str:
    """SQL: a dimension or an attribute that people named; the name is a parameter."""
    return f"calls.{'dims' if prefix == 'dimension' else 'attrs'}[{{name:String}}]"
