"""Counts per minute or hour for any number of series in five queries, and one per 40 conditions.

Ratios that a rollup can answer come from `calls_1m`; thresholds on durations, costs and tokens
come from raw `calls`, exact; feedback comes from `scores`; histograms from `calls_1m`. A query
carries its rules as parameters: every row is matched to the rules of its service by hash, so that
ten thousand monitors are one statement, and nothing a user wrote becomes SQL text. Counts of single
models are a query of their own, so that the others need not be told apart by model.

What counts:

    failed, error, truncated    all calls of the kind
    duration_ms, ttft_ms        calls that were answered: no error, not truncated (and, for
                                ttft_ms, with a known first token)
    cost_usd                    calls with a known cost
    input_tokens, output_tokens calls with known usage
    empty_result                retriever calls that failed or said how many documents they found
    condition                   calls for which `total` is true and `bad` is known
                                (`tocsin.store.expressions`)
    charge                      calls whose value is known, each as `SHARE`, and its charge
    feedback_negative           scores named `feedback` as they hold, corrections included
                                (`tocsin.store.scores`), with a known number; 0 and below is
                                negative
"""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.buckets import LATENCY, PACE, Scale
from tocsin.domain.errors import StoreError
from tocsin.domain.series import EACH, SHARE, Change, HourBlock, MinuteBlock, Ratio, SeriesId
from tocsin.store import scores
from tocsin.store.clickhouse import DATABASE, ClickHouse, literal
from tocsin.store.conditions import count_conditions
from tocsin.store.histograms import histograms_of_each
from tocsin.store.marginals import count_each
from tocsin.store.metric_values import MOST_VALUE, metric_minutes
from tocsin.store.minute_sql import SPLIT, between, ended_between, lookup, places_of, step_of
from tocsin.store.schema import ANSWERED, DOCUMENTS, ENDED

_Counts = npt.NDArray[np.int64]
_COUNTED = {"failed": 2, "error": 1, "truncated": 3}  # column of the rollup query
_FOUND = f"toInt64OrNull(calls.attrs[{literal(DOCUMENTS)}])"

# column -> (value, when it is known)
MEASURED = {
    "duration_ms": ("calls.duration_us / 1000", ANSWERED),
    "ttft_ms": ("calls.ttft_us / 1000", f"({ANSWERED} AND calls.ttft_us > 0)"),
    "cost_usd": ("calls.cost_usd", "calls.cost_known = 1"),
    "input_tokens": ("toFloat64(calls.input_tokens)", "calls.usage_known = 1"),
    "output_tokens": ("toFloat64(calls.output_tokens)", "calls.usage_known = 1"),
    "empty_result": (
        f"toFloat64(calls.error_class != '' OR ifNull({_FOUND} = 0, 0))",
        f"(calls.error_class != '' OR isNotNull({_FOUND}))",
    ),
}
_CODES = {column: code for code, column in enumerate(MEASURED, start=1)}
MINUTE, HOUR = 60, 3600  # grains, in seconds
_ROLLUP = {MINUTE: "calls_1m", HOUR: "calls_1h"}
# place, column, whether `ge`, threshold, segment's name and value, model
_RULE = "UInt32, UInt8, UInt8, Float64, String, String, String"


class MinuteReader:
    """Reads blocks of minutes from one ClickHouse; see `domain.ports.MinuteSource`."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def minutes(
        self, monitored: Mapping[SeriesId, Ratio], services: Sequence[str], start: int, stop: int
    ) -> MinuteBlock:
        """Counts of every series and histograms of every service, epoch minutes [start, stop)."""
        window = {"start": start, "stop": stop, "grain": MINUTE}
        one = {sid: ratio for sid, ratio in monitored.items() if sid.segment[1] != EACH}
        each = {sid: ratio for sid, ratio in monitored.items() if sid.segment[1] == EACH}
        bad, total = self._counts(one, window)
        found: Mapping[SeriesId, _Counts] = {}
        timed: tuple[SeriesId, ...] = ()
        cells = np.zeros((4, 0), np.int64)
        if each and stop > start:
            spread = {sid: ratio for sid, ratio in each.items() if ratio.histogram}
            counted = {sid: ratio for sid, ratio in each.items() if not ratio.histogram}
            found = count_each(self._engine, counted, window)
            timed, cells = histograms_of_each(self._engine, spread, window)
        if found:
            bad = np.concatenate([bad, np.stack([counts[0] for counts in found.values()])])
            total = np.concatenate([total, np.stack([counts[1] for counts in found.values()])])
        if timed:
            calls = np.zeros((len(timed), stop - start), np.int64)
            np.add.at(calls, (cells[1], cells[0] - start), cells[3])
            cells[1] += len(total)
            bad, total = np.concatenate([bad, calls]), np.concatenate([total, calls])
        return MinuteBlock(
            start,
            (*one, *found, *timed),
            bad,
            total,
            tuple(services),
            self._histogram("h", LATENCY, services, window),
            self._histogram("p", PACE, services, window),
            cells,
        )

    def hours(self, monitored: Mapping[SeriesId, Ratio], start: int, stop: int) -> HourBlock:
        """Counts of every series in epoch hours [start, stop), the same as those of their minutes.

        Rollups are read by the hour, which reaches back further and costs a sixtieth.
        """
        window = {"start": start, "stop": stop, "grain": HOUR}
        return HourBlock(start, tuple(monitored), *self._counts(monitored, window))

    def _counts(
        self, monitored: Mapping[SeriesId, Ratio], window: Mapping[str, int]
    ) -> tuple[_Counts, _Counts]:
        """(bad, total) [series, minute or hour] of a window."""
        start, stop = window["start"], window["stop"]
        if stop < start:
            raise StoreError(f"time runs forward: [{start}, {stop})")
        series = list(monitored.items())
        bad = np.zeros((len(series), stop - start), np.int64)
        total = np.zeros_like(bad)
        sources: list[tuple[Callable[..., None], Callable[[Ratio], bool]]] = [
            (self._counted, lambda ratio: ratio.column in _COUNTED and not ratio.model),
            (self._counted, lambda ratio: ratio.column in _COUNTED and ratio.model != ""),
            (self._measured, lambda ratio: ratio.column in MEASURED),
            (self._feedback, lambda ratio: ratio.column == "feedback_negative"),
            (self._conditions, lambda ratio: ratio.column in ("condition", "charge")),
            (self._metrics, lambda ratio: ratio.metric is not None),
        ]
        for read, belongs in sources:
            chosen = [(i, item[0], item[1]) for i, item in enumerate(series) if belongs(item[1])]
            if chosen and stop > start:
                read(chosen, window, bad, total)
        return bad, total

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        """Changes in epoch minutes [start, stop), oldest first."""
        rows = self._engine.rows(
            "SELECT intDiv(toUnixTimestamp(ts), 60), service, kind, title, labels"
            f" FROM {DATABASE}.changes WHERE {between('ts')} ORDER BY ts, title",
            {"start": start, "stop": stop, "grain": MINUTE},
        )
        return [Change(int(row[0]), *row[1:]) for row in rows]

    def _rollup(self, grain: int) -> str:
        """SQL: where rollup rows by the minute or the hour are read."""
        return f"{DATABASE}.{_ROLLUP[grain]}"

    def _counted(
        self, chosen: list[tuple[int, SeriesId, Ratio]], window: Mapping[str, int],
        bad: _Counts, total: _Counts,
    ) -> None:  # fmt: skip
        by = ("service", "kind", "sk", "sv", "model")[: 5 if chosen[0][2].model else 4]
        names = [
            SPLIT.join((sid.service, ratio.kind, *sid.segment, ratio.model)[: len(by)])
            for _, sid, ratio in chosen
        ]
        keys = {name: place for place, name in enumerate(dict.fromkeys(names))}
        columns = self._engine.arrays(
            f"SELECT {lookup(*by)} - 1 AS k, {step_of('t')} AS m,"
            " toInt64(sum(n)), toInt64(sum(errors)), toInt64(sum(failed)), toInt64(sum(truncated))"
            f" FROM {self._rollup(window['grain'])}"
            f" WHERE {between('t')} AND k >= 0 GROUP BY k, m",
            {**window, **places_of(keys)},
        )
        table = np.zeros((4, len(keys), bad.shape[1]), np.int64)
        table[:, columns[0], columns[1]] = np.stack(columns[2:]) if len(columns[0]) else 0
        rows = [i for i, _, _ in chosen]
        key_of = [keys[name] for name in names]
        bad[rows] = table[[_COUNTED[ratio.column] for _, _, ratio in chosen], key_of]
        total[rows] = table[0, key_of]

    def _measured(
        self, chosen: list[tuple[int, SeriesId, Ratio]], window: Mapping[str, int],
        bad: _Counts, total: _Counts,
    ) -> None:  # fmt: skip
        groups: dict[str, list[tuple[Any, ...]]] = {}
        for i, sid, ratio in chosen:
            kind = "retriever" if ratio.column == "empty_result" else ratio.kind
            is_ge = int(ratio.op == "ge")
            rule = (i, _CODES[ratio.column], is_ge, ratio.threshold, *sid.segment, ratio.model)
            groups.setdefault(sid.service + SPLIT + kind, []).append(rule)
        used = sorted({ratio.column for _, _, ratio in chosen}, key=_CODES.__getitem__)
        values = [f"toFloat64({MEASURED[column][0]})" for column in used]
        known = [f"toUInt8({MEASURED[column][1]})" for column in used]
        codes = {_CODES[column]: place for place, column in enumerate(used, start=1)}
        rules = [[(r[0], codes[r[1]], *r[2:]) for r in group] for group in groups.values()]
        dims = ", calls.dims AS dims" if any(r[4] for group in rules for r in group) else ""
        segment = " AND (rule.5 = '' OR dims[rule.5] = rule.6)" if dims else ""
        if any(r[6] for group in rules for r in group):
            dims += ", toString(calls.model) AS model"
            segment += " AND (rule.7 = '' OR model = rule.7)"
        self._add(
            f"""SELECT rule.1 AS k, m, count(), countIf(if(rule.3 = 1, x >= rule.4, x > rule.4))
            FROM (
              SELECT {lookup("calls.service", "calls.kind")} AS g, {step_of(ENDED)} AS m,
                [{", ".join(values)}] AS value, [{", ".join(known)}] AS is_known{dims}
              FROM {DATABASE}.calls AS calls WHERE {ended_between()} AND g > 0
            ) ARRAY JOIN arrayElement(
              {{rules:Array(Array(Tuple({_RULE})))}}, g
            ) AS rule
            WHERE is_known[rule.2]{segment} GROUP BY k, m""".replace(" x ", " value[rule.2] "),
            {**window, **places_of({name: i for i, name in enumerate(groups)}), "rules": rules},
            bad,
            total,
        )

    def _feedback(
        self, chosen: list[tuple[int, SeriesId, Ratio]], window: Mapping[str, int],
        bad: _Counts, total: _Counts,
    ) -> None:  # fmt: skip
        groups: dict[str, list[tuple[Any, ...]]] = {}
        for i, sid, _ in chosen:
            groups.setdefault(sid.service, []).append((i, *sid.segment))
        self._add(
            f"""SELECT rule.1 AS k, m, count(), countIf(value <= 0) FROM (
              SELECT {lookup("service")} AS g, {step_of("at")} AS m, value, dims
              FROM ({scores.current(f"{between('ts')} AND name = 'feedback'")})
              WHERE {between("at")} AND name = 'feedback' AND NOT isNaN(value) AND g > 0
            ) ARRAY JOIN arrayElement(
              {{rules:Array(Array(Tuple(UInt32, String, String)))}}, g
            ) AS rule
            WHERE rule.2 = '' OR dims[rule.2] = rule.3 GROUP BY k, m""",
            {
                **window,
                **places_of({name: i for i, name in enumerate(groups)}),
                "rules": list(groups.values()),
            },
            bad,
            total,
        )

    def _conditions(
        self, chosen: list[tuple[int, SeriesId, Ratio]], window: Mapping[str, int],
        bad: _Counts, total: _Counts,
    ) -> None:  # fmt: skip
        rows = {sid: i for i, sid, _ in chosen}
        for sid, at, counted, bad_ones in count_conditions(
            self._engine, {sid: ratio for _, sid, ratio in chosen}, window
        ):
            total[rows[sid], at] = counted
            bad[rows[sid], at] = bad_ones

    def _metrics(
        self, chosen: list[tuple[int, SeriesId, Ratio]], window: Mapping[str, int],
        bad: _Counts, total: _Counts,
    ) -> None:  # fmt: skip
        """Numbers of metrics, by the minute; they are no counts and have no hours."""
        if window["grain"] != MINUTE:
            return
        for i, sid, ratio in chosen:
            assert ratio.metric is not None  # noqa: S101 (it was chosen by that)
            values = metric_minutes(
                self._engine, sid.service, ratio.metric, window["start"], window["stop"]
            )
            known = np.isfinite(values)
            bad[i, known] = np.round(SHARE * np.clip(values[known], -MOST_VALUE, MOST_VALUE))
            total[i, known] = SHARE

    def _add(self, sql: str, parameters: Mapping[str, Any], bad: _Counts, total: _Counts) -> None:
        key, minute, counted, bad_ones = self._engine.arrays(sql, parameters)
        total[key, minute] = counted
        bad[key, minute] = bad_ones

    def _histogram(
        self, column: str, scale: Scale, services: Sequence[str], window: Mapping[str, int]
    ) -> _Counts:
        width = window["stop"] - window["start"]
        dense = np.zeros((len(services), width, scale.count), np.int64)
        if not services or not width:
            return dense
        service, minute, bucket, count = self._engine.arrays(
            f"SELECT {lookup('service')} - 1 AS s, {step_of('t')} AS m,"
            " toInt64(b), toInt64(sum(c))"
            f" FROM {self._rollup(MINUTE)}"
            f" ARRAY JOIN mapKeys({column}) AS b, mapValues({column}) AS c"
            f" WHERE {between('t')} AND kind = 'llm' AND sk = '' AND s >= 0 GROUP BY s, m, b",
            {**window, **places_of({name: i for i, name in enumerate(services)})},
        )
        dense[service, minute, bucket] = count
        return dense
