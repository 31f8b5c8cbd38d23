"""Counts per minute of custom indicators: every condition is a pair of columns in one scan.

What is charged in proportion to a value (`Charge`) is such a pair as well.

    SELECT place of (service, kind), minute, countIf(...), countIf(...), ... FROM calls GROUP BY ...

One query serves up to `AT_ONCE` different conditions over however many services. What is counted
in segments is grouped by the values of their dimensions as well. Scores are joined to the calls
that they are about: by the span, by the response or prediction id within the project, or, when a
score names neither, by the trace, to every call of it.
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tocsin.domain.expressions import Condition
from tocsin.domain.series import EACH, MOST_SHARES, SHARE, Charge, Ratio, SeriesId
from tocsin.store import scores
from tocsin.store.clickhouse import DATABASE, ClickHouse
from tocsin.store.expressions import Compiler
from tocsin.store.minute_sql import SPLIT, ended_between, lookup, places_of, step_of
from tocsin.store.schema import ENDED

AT_ONCE = 40
# Columns of every call that may serve as a dimension without being declared as one.
OWN = frozenset({"model", "provider", "release", "prompt_version", "env"})
_SINCE = "toDateTime64({start:Int64} * {grain:Int64}, 6, 'UTC')"

Counted = tuple[SeriesId, int, int, int]


def count_conditions(
    engine: ClickHouse, chosen: Mapping[SeriesId, Ratio], window: Mapping[str, int]
) -> Iterator[Counted]:
    """(series, minute of the window, total, bad) wherever there was a call; a series of EACH as one
    for every value.

    window: epoch minutes `start` and `stop`.
    """
    for is_segmented in (False, True):
        group = {s: r for s, r in chosen.items() if bool(s.segment[0]) == is_segmented}
        ratios = list(dict.fromkeys(group.values()))
        for start in range(0, len(ratios), AT_ONCE):
            batch = _Batch(group, ratios[start : start + AT_ONCE])
            yield from batch.counts(engine, window)


@dataclass(frozen=True, slots=True)
class Conditional:
    """One condition for a query over `calls`. SQL: counts, bad: of a call. maps: goes before
    SELECT, joins: after the table. parameters: to be bound.
    """

    counts: str
    bad: str
    maps: str
    joins: str
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, ratio: Ratio, *, since: str) -> Conditional:
        """The condition of `ratio`. since: SQL of when the first call in question ended."""
        assert ratio.condition is not None  # noqa: S101 (its column says so)
        compiler = Compiler()
        counts, bad = _parts(compiler, ratio.condition)
        maps, joins = score_joins(compiler, sorted(ratio.scores), since)
        return cls(f"ifNull({counts}, 0)", f"ifNull({bad}, 0)", maps, joins, compiler.parameters)


class _Batch:
    """The conditions of one query, and the series that count them."""

    def __init__(self, group: Mapping[SeriesId, Ratio], ratios: Sequence[Ratio]) -> None:
        place = {ratio: number for number, ratio in enumerate(ratios)}
        mine = [(sid, ratio) for sid, ratio in group.items() if ratio in place]
        self._ratios = ratios
        self._keys = list(dict.fromkeys(_key(sid, ratio) for sid, ratio in mine))
        self._dimensions = sorted({sid.segment[0] for sid, _ in mine} - {""})
        self._at: dict[tuple[str, str, str], list[tuple[int, SeriesId]]] = {}
        for sid, ratio in mine:
            whose = (_key(sid, ratio), *sid.segment)
            self._at.setdefault(whose, []).append((place[ratio], sid))

    def counts(self, engine: ClickHouse, window: Mapping[str, int]) -> Iterator[Counted]:
        sql, parameters = self._query()
        found = engine.table(sql, {**window, **parameters}).to_pydict()
        for row in zip(*found.values(), strict=True):
            place, minute, dimension, value, *counts = row
            for number, sid in self._series(self._keys[place - 1], dimension, value):
                total, bad = counts[2 * number : 2 * number + 2]
                if total:
                    yield sid, minute, total, bad

    def _series(self, key: str, dimension: str, value: str) -> Iterator[tuple[int, SeriesId]]:
        yield from self._at.get((key, dimension, value), ())
        if value:
            for number, sid in self._at.get((key, dimension, EACH), ()):
                yield number, replace(sid, segment=(dimension, value))

    def _query(self) -> tuple[str, dict[str, Any]]:
        compiler = Compiler()
        columns = [column for ratio in self._ratios for column in _pair(compiler, ratio)]
        segment = "('', '')"
        if self._dimensions:
            told = [dimension(compiler, name) for name in self._dimensions]
            segment = f"arrayJoin([{', '.join(told)}])"
        names = sorted(frozenset().union(*(ratio.scores for ratio in self._ratios)))
        maps, joins = score_joins(compiler, names, _SINCE)
        sql = (
            f"{maps} SELECT {lookup('calls.service', 'calls.kind')} AS g, {step_of(ENDED)} AS m,"
            f" ({segment} AS segment).1 AS sk, segment.2 AS sv,"
            f" {', '.join(f'{column} AS n{i}' for i, column in enumerate(columns))}"
            f" FROM {DATABASE}.calls AS calls{joins}"
            f" WHERE {ended_between()} AND g > 0 GROUP BY g, m, segment"
        )
        places = places_of({key: place for place, key in enumerate(self._keys)})
        return sql, {**compiler.parameters, **places}


def dimension(compiler: Compiler, name: str) -> str:
    """SQL: (name, value) of a dimension; what every call has needs no declaration."""
    bound = compiler.bind(name, "String")
    value = f"toString(calls.dims[{bound}])"
    if name in OWN:
        value = f"if({value} != '', {value}, toString(calls.{name}))"
    return f"({bound}, {value})"


def _key(sid: SeriesId, ratio: Ratio) -> str:
    return SPLIT.join((sid.service, ratio.kind))


def _pair(compiler: Compiler, ratio: Ratio) -> tuple[str, str]:
    """SQL: how many calls count, and how many of them are bad."""
    model = f"calls.model = {compiler.bind(ratio.model, 'String')} AND " if ratio.model else ""
    if ratio.charge is not None:
        return _charged(compiler, ratio.charge, model)
    assert ratio.condition is not None  # noqa: S101 (its column says so)
    counts, bad = _parts(compiler, ratio.condition)
    counts = f"{model}{counts}"
    if ratio.weight is None:
        return f"toInt64(countIf({counts}))", f"toInt64(countIf({counts} AND {bad}))"
    weight = compiler.sql(ratio.weight)
    counts = f"({counts} AND {weight} > 0)"
    amount = f"ifNull(round(1000 * {weight}), 0)"
    return (
        f"toInt64(sumIf({amount}, ifNull({counts}, 0)))",
        f"toInt64(sumIf({amount}, ifNull({counts} AND {bad}, 0)))",
    )


def _charged(compiler: Compiler, charge: Charge, model: str) -> tuple[str, str]:
    """SQL: the calls with a known value, and the sum of their charges, both in 1 / SHARE.

    Every charge is rounded by itself, so that the sum is the same in whatever order it is made.
    """
    value = compiler.sql(charge.value)
    counts = f"ifNull({model}isFinite({value}), 0)"
    free, width = (
        compiler.bind(number, "Float64") for number in (charge.free, charge.limit - charge.free)
    )
    most = MOST_SHARES * SHARE
    share = f"ifNull(round({SHARE} * ({value} - {free}) / {width}), 0)"
    share = f"toInt64(least(greatest({share}, -{most}.), {most}.))"
    return f"toInt64({SHARE} * countIf({counts}))", f"toInt64(sumIf({share}, {counts}))"


def _parts(compiler: Compiler, condition: Condition) -> tuple[str, str]:
    """SQL: whether a call counts, and whether it is bad. Either may be NULL, which is not true."""
    bad = compiler.sql(condition.bad)
    known = f"isNotNull({bad})"
    if condition.total is None:
        return known, bad
    return f"({compiler.sql(condition.total)} AND {known})", bad


def score_joins(compiler: Compiler, names: Sequence[str], since: str) -> tuple[str, str]:
    """SQL: the maps of a call's scores as a WITH clause, and the joins that they come from; two
    empty texts when there are no names.

    A score of the span itself holds before one of the response, and that before one of the trace.
    since: SQL of when the first call in question ended.
    """
    if not names:
        return "", ""
    asked = compiler.bind(list(names), "Array(String)")
    told = f"name IN {asked} AND ts >= {since} - INTERVAL 1 DAY"
    held = (
        f"SELECT h.name AS name, h.value AS value, toString(h.label) AS label, h.at AS at,"
        " i.span AS span, i.response AS response, i.trace AS trace, i.project AS project"
        f" FROM ({scores.current(told)}) AS h INNER JOIN (SELECT key, any(span_id) AS span,"
        " any(call_id) AS response, lower(any(trace_id)) AS trace, any(toString(project))"
        f" AS project FROM {DATABASE}.scores WHERE {told} GROUP BY key) AS i ON h.key = i.key"
    )
    joins = ""
    for alias, id_, where, on in (
        ("by_trace", "trace", "span = '' AND response = ''", "calls.trace_id = by_trace.id"),
        ("by_response", "concat(project, char(31), response)", "response != ''",
         "concat(toString(calls.project), char(31), calls.response_id) = by_response.id"),
        ("by_span", "span", "span != ''", "calls.span_id = by_span.id"),
    ):  # fmt: skip
        newest = (
            f"SELECT {id_} AS id, name, argMax(value, at) AS v, argMax(label, at) AS l"
            f" FROM ({held}) WHERE {where} AND id != '' GROUP BY id, name"
        )
        joins += (
            f" LEFT ANY JOIN (SELECT id, {_map('v', 'NOT isNaN(v)')} AS score_values,"
            f" {_map('l', '1')} AS score_labels FROM ({newest}) GROUP BY id) AS {alias} ON {on}"
        )
    maps = ", ".join(
        f"mapUpdate(mapUpdate(by_trace.{name}, by_response.{name}), by_span.{name}) AS {name}"
        for name in ("score_values", "score_labels")
    )
    return f"WITH {maps}", joins


def _map(value: str, where: str) -> str:
    names = f"groupArrayIf(toString(name), {where})"
    return f"mapFromArrays({names}, groupArrayIf({value}, {where}))"
