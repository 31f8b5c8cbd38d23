"""Rows for people's own tools: flat columns, unknown as null, a bounded page at a time.

The embedded engine cannot stream an answer, so the time asked for is cut into pages of some ten
thousand rows before it is read. Everything is as it was known at one moment, `as_of`: what comes in
while an export runs is not in it, and a moment in the past shows what was known then.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.domain.buckets import LATENCY
from tocsin.domain.errors import StoreError
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.scores import repeats_of

KINDS = ("calls", "scores", "changes", "minutes")
PAGE_ROWS, PAGE_ROWS_WITH_CONTENT = 50_000, 5_000
_MINUTE_US, _FINEST_US = 60_000_000, 1_000
_TIME = pa.timestamp("us", tz="UTC")
_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()


class CannotExport(StoreError):
    """Something that cannot be exported, or not so; the text says what can."""

    status = 400


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: a kind of KINDS, over [start, stop).

    as_of: nothing received later is in it. service, model, kind, env, dims: only these, if given.
    content: texts that people wrote and models answered, and attributes, too.
    """

    what: str
    start: datetime
    stop: datetime
    as_of: datetime
    service: str = ""
    model: str = ""
    kind: str = ""
    env: str = ""
    dims: Mapping[str, str] = field(default_factory=dict)
    content: bool = False


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One kind of export: where its rows are, their columns (type, SQL), what it can be asked for.

    at: SQL of the time by which rows are chosen and ordered.
    """

    source: str
    at: str
    columns: Mapping[str, tuple[pa.DataType, str]]
    filters: Mapping[str, str]
    order: str
    where: str = "1"
    content: Mapping[str, tuple[pa.DataType, str]] = field(default_factory=dict)


def _texts(*names: str) -> dict[str, tuple[pa.DataType, str]]:
    return {name: (_TEXT, f"nullIf(toString({name}), '')") for name in names}


def _known(name: str, flag: str) -> tuple[pa.DataType, str]:
    kind = _NUMBER if name == "cost_usd" else _WHOLE
    return kind, f"if({flag} > 0, {name}, NULL)"


_TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_CALLS = _Sheet(
    source=f"{DATABASE}.calls",
    at="ts",
    columns={
        "ts": (_TIME, "ts"),
        **_texts(
            "project", "service", "env", "kind", "name", "operation", "scope", "provider", "model",
            "response_model", "response_id", "trace_id", "span_id", "parent_id",
        ),
        "duration_ms": (_NUMBER, "if(duration_us > 0, duration_us / 1000, NULL)"),
        "ttft_ms": (_NUMBER, "if(ttft_us > 0, ttft_us / 1000, NULL)"),
        **{name: _known(name, "usage_known") for name in _TOKENS},
        "cost_usd": _known("cost_usd", "cost_known"),
        **_texts("error_class", "error_type", "finish_reason"),
        "streamed": (pa.bool_(), "streamed"),
        "truncated": (pa.bool_(), "truncated"),
        **_texts("session_id", "user_id", "release", "prompt_version"),
        "dims": (_TEXT, "if(empty(dims), NULL, toJSONString(dims))"),
        "received": (_TIME, "recv"),
    },
    content={
        **_texts("status_message", "input", "output"),
        "attributes": (_TEXT, "if(empty(attrs), NULL, toJSONString(attrs))"),
        "resource": (_TEXT, "if(empty(res), NULL, toJSONString(res))"),
        "event_names": (_TEXT, "if(empty(ev_name), NULL, toJSONString(ev_name))"),
        "event_times": (_TEXT, "if(empty(ev_ts), NULL, toJSONString(ev_ts))"),
        "event_attributes": (_TEXT, "if(empty(ev_attrs), NULL, toJSONString(ev_attrs))"),
    },
    filters={name: name for name in ("service", "model", "kind", "env")} | {"dims": "dims"},
    order="ts, span_id",
    where="recv <= {as_of}",
)  # fmt: skip
_SCORES = _Sheet(
    source=f"{DATABASE}.scores AS s",
    at="at",
    columns={
        "ts": (_TIME, "at"),
        **_texts("project", "service", "name"),
        "value": (_NUMBER, "if(isNaN(value), NULL, value)"),
        **_texts("label", "source", "annotator", "call_id", "span_id", "trace_id", "id"),
        "version": (_WHOLE, "version"),
        "line": (_WHOLE, "line"),
        "dims": (_TEXT, "if(empty(dims), NULL, toJSONString(dims))"),
        "received": (_TIME, "recv"),
    },
    content=_texts("comment"),
    filters={"service": "service", "kind": "name", "dims": "dims"},
    order="at, recv, line, key",
)
_CHANGES = _Sheet(
    source=f"{DATABASE}.changes",
    at="ts",
    columns={
        "ts": (_TIME, "ts"),
        **_texts("project", "service", "kind", "title"),
        "labels": (_TEXT, "if(empty(labels), NULL, toJSONString(labels))"),
        "received": (_TIME, "recv"),
    },
    filters={"service": "service", "kind": "kind"},
    order="ts, title",
    where="recv <= {as_of}",
)
_SUMS = (
    "sum(n) AS calls, sum(r.errors) AS errors, sum(r.failed) AS failed,"
    " sum(r.truncated) AS truncated, sum(r.input_tokens) AS input_tokens,"
    " sum(r.output_tokens) AS output_tokens, sum(r.usage_known) AS usage_known,"
    " sum(r.cost_usd) AS cost_usd, sum(r.cost_known) AS cost_known, sumMap(r.h) AS h"
)
_MINUTES = _Sheet(
    source=f"(SELECT t, project, service, kind, model, sk, sv, {_SUMS} FROM {DATABASE}.calls_1m"
    " AS r WHERE {range} GROUP BY t, project, service, kind, model, sk, sv)",
    at="t",
    columns={
        "minute": (_TIME, "toDateTime64(t, 6, 'UTC')"),
        **_texts("project", "service", "kind", "model"),
        "dimension": (_TEXT, "nullIf(toString(sk), '')"),
        "segment": (_TEXT, "nullIf(toString(sv), '')"),
        **{name: (_WHOLE, name) for name in ("calls", "errors", "failed", "truncated")},
        **{name: _known(name, "usage_known") for name in _TOKENS[:2]},
        "calls_with_usage": (_WHOLE, "usage_known"),
        "cost_usd": _known("cost_usd", "cost_known"),
        "calls_with_cost": (_WHOLE, "cost_known"),
        "buckets": (pa.list_(pa.int64()), "arrayMap(b -> toInt64(b), mapKeys(h))"),
        "counts": (pa.list_(pa.int64()), "arrayMap(c -> toInt64(c), mapValues(h))"),
    },
    filters={"service": "service", "model": "model", "kind": "kind"},
    order="t, project, service, kind, model, sk, sv",
)
SHEETS: Mapping[str, _Sheet] = {
    "calls": _CALLS, "scores": _SCORES, "changes": _CHANGES, "minutes": _MINUTES,
}  # fmt: skip
_QUANTILES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}


class Exporter:
    """Exports of one store. Threads may share it."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def schema(self, wanted: Wanted) -> pa.Schema:
        """The columns of an export. CannotExport for what cannot be."""
        fields = [(name, kind) for name, (kind, _) in _columns(wanted).items()]
        if wanted.what == "minutes":
            fields = [*fields[:-2], *((name, _NUMBER) for name in _QUANTILES)]
        return pa.schema(fields)

    def count(self, wanted: Wanted) -> int:
        """How many rows an export has."""
        self.schema(wanted)
        return sum(rows for _, _, rows in self._busy(wanted, *_span(wanted), _MINUTE_US))

    def pages(self, wanted: Wanted) -> Iterator[pa.Table]:
        """The rows, oldest first, in tables of `schema`."""
        schema = self.schema(wanted)
        most = PAGE_ROWS_WITH_CONTENT if wanted.content else PAGE_ROWS
        for low, high in _gathered(self._cut(wanted, *_span(wanted), _MINUTE_US, most), most):
            page = self._page(wanted, low, high)
            if page.num_rows:
                yield page.select(schema.names).cast(schema)

    def _cut(
        self, wanted: Wanted, low: int, high: int, step: int, most: int
    ) -> Iterator[tuple[int, int, int]]:
        """As `_busy`, and what holds more than `most` rows in finer steps, down to a millisecond.

        A minute of counts is one row per series and cannot be cut.
        """
        for start, stop, rows in self._busy(wanted, low, high, step):
            if rows > most and step > _FINEST_US and wanted.what != "minutes":
                yield from self._cut(wanted, start, stop, max(step // 60, _FINEST_US), most)
            else:
                yield start, stop, rows

    def _busy(self, wanted: Wanted, low: int, high: int, step: int) -> list[tuple[int, int, int]]:
        """(first, end, rows) of every step of time in which there are rows, in microseconds."""
        at = f"toUnixTimestamp64Micro(toDateTime64({SHEETS[wanted.what].at}, 6, 'UTC'))"
        rows = self._engine.rows(
            f"SELECT intDiv({at}, {step}) AS m, count() FROM ({self._rows(wanted, '*')})"
            " GROUP BY m ORDER BY m",
            self._values(wanted, low, high),
        )
        return [
            (max(int(m) * step, low), min((int(m) + 1) * step, high), int(count))
            for m, count in rows
        ]

    def _page(self, wanted: Wanted, low: int, high: int) -> pa.Table:
        columns = _columns(wanted)
        names = ", ".join(f"c{place}" for place in range(len(columns)))
        inner = ", ".join(f"{sql} AS c{place}" for place, (_, sql) in enumerate(columns.values()))
        sheet = SHEETS[wanted.what]
        found = self._engine.table(
            f"SELECT {names} FROM (SELECT {inner}, {sheet.order} FROM"
            f" ({self._rows(wanted, '*')}) ORDER BY {sheet.order})",
            self._values(wanted, low, high),
        )
        table = found.rename_columns(list(columns))
        return _with_quantiles(table) if wanted.what == "minutes" else table

    def _rows(self, wanted: Wanted, what: str) -> str:
        """SELECT `what` of the rows in {low} to {high} that pass every filter."""
        sheet = SHEETS[wanted.what]
        as_of = "fromUnixTimestamp64Micro({as_of:Int64}, 'UTC')"
        filters = [sheet.where.replace("{as_of}", as_of)]
        if wanted.what == "minutes":
            return (
                f"SELECT {what} FROM {sheet.source.replace('{range}', _between('t'))} WHERE"
                f" {' AND '.join([*self._filters(wanted), _segment(wanted)])}"
            )
        filters += self._filters(wanted)
        if wanted.what == "scores":
            return f"SELECT {what} FROM ({_held(as_of)}) WHERE {' AND '.join(filters)}"
        return (
            f"SELECT {what} FROM {sheet.source} WHERE {_between(sheet.at)} AND"
            f" {' AND '.join(filters)}"
        )

    def _filters(self, wanted: Wanted) -> list[str]:
        known = SHEETS[wanted.what].filters
        asked = {name: getattr(wanted, name) for name in ("service", "model", "kind", "env")}
        unfit = [name for name, value in asked.items() if value and name not in known]
        if wanted.dims and "dims" not in known and wanted.what != "minutes":
            unfit.append("dims")
        if unfit:
            raise CannotExport(f"{wanted.what} cannot be filtered by {', '.join(unfit)}")
        filters = [f"{known[n]} = {{{n}:String}}" for n, value in asked.items() if value]
        if wanted.dims and wanted.what != "minutes":
            filters += [
                f"dims[{{dim{n}:String}}] = {{value{n}:String}}" for n in range(len(wanted.dims))
            ]
        return filters

    def _values(self, wanted: Wanted, low: int, high: int) -> dict[str, Any]:
        values: dict[str, Any] = {"low": low, "high": high, "as_of": _micros(wanted.as_of)}
        values |= {name: getattr(wanted, name) for name in ("service", "model", "kind", "env")}
        for number, (name, value) in enumerate(wanted.dims.items()):
            values |= {f"dim{number}": name, f"value{number}": value}
        return values


def _columns(wanted: Wanted) -> Mapping[str, tuple[pa.DataType, str]]:
    if wanted.what not in SHEETS:
        raise CannotExport(f"{wanted.what!r} cannot be exported; use {', '.join(KINDS)}")
    if wanted.stop < wanted.start:
        raise CannotExport("the time to export ends before it begins")
    if wanted.what == "minutes" and len(wanted.dims) > 1:
        raise CannotExport("minutes are kept by one dimension at a time; name one, or export calls")
    sheet = SHEETS[wanted.what]
    return {**sheet.columns, **sheet.content} if wanted.content else sheet.columns


def _segment(wanted: Wanted) -> str:
    """Rows of minutes: totals, or one value of one dimension."""
    return "sk = {dim0:String} AND sv = {value0:String}" if wanted.dims else "sk = ''"


def _between(at: str) -> str:
    if at == "t":
        return (
            "t >= toDateTime(intDiv({low:Int64}, 1000000), 'UTC')"
            " AND t < toDateTime(intDiv({high:Int64} + 999999, 1000000), 'UTC')"
        )
    low, high = (f"fromUnixTimestamp64Micro({{{end}:Int64}}, 'UTC')" for end in ("low", "high"))
    return f"{at} >= {low} AND {at} < {high}"


def _held(as_of: str) -> str:
    """SQL: scores as they held at a moment, with `at`, where each counts, in {low} to {high}."""
    window = f"{_between('ts')} AND recv <= {as_of}"
    repeated = repeats_of(window)
    version = "(v.version, v.recv, v.line, v.placed)"
    versions = (
        f"SELECT v.key AS k, max({version}) AS held,"
        f" if(max(v.told) = 1, argMax(v.ts, (v.told, {version})), min(v.ts)) AS counted"
        f" FROM {DATABASE}.score_versions AS v"
        f" WHERE v.key GLOBAL IN ({repeated}) AND v.recv <= {as_of} GROUP BY v.key"
    )
    return (
        f"SELECT s.*, s.ts AS at FROM {DATABASE}.scores AS s"
        f" WHERE {window} AND s.key GLOBAL NOT IN ({repeated})"
        f" UNION ALL SELECT s.*, h.counted AS at FROM {DATABASE}.scores AS s"
        f" GLOBAL INNER JOIN ({versions}) AS h ON s.key = h.k"
        " WHERE (s.version, s.recv, s.line, s.placed) = h.held"
        f" AND {_between('h.counted')}"
    )


def _gathered(busy: Iterable[tuple[int, int, int]], most: int) -> Iterator[tuple[int, int]]:
    """Consecutive steps joined while they hold at most `most` rows."""
    low, high, held = 0, 0, 0
    for start, stop, rows in busy:
        if held and held + rows > most:
            yield low, high
            held = 0
        if not held:
            low = start
        high, held = stop, held + rows
    if held:
        yield low, high


def _span(wanted: Wanted) -> tuple[int, int]:
    return _micros(wanted.start), _micros(wanted.stop)


def _with_quantiles(table: pa.Table) -> pa.Table:
    """Buckets and counts replaced by quantiles, null where no call was answered."""
    histogram = np.zeros((table.num_rows, LATENCY.count), np.int64)
    for row, (buckets, counts) in enumerate(
        zip(table["buckets"].to_pylist(), table["counts"].to_pylist(), strict=True)
    ):
        histogram[row, buckets] = counts
    for name, share in _QUANTILES.items():
        values = LATENCY.quantile(histogram, share) / 1000
        table = table.append_column(name, pa.array(values, from_pandas=True))
    return table.drop_columns(["buckets", "counts"])


def _micros(instant: datetime) -> int:
    return (instant - datetime.fromtimestamp(0, instant.tzinfo)) // timedelta(microseconds=1)
