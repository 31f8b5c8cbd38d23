"""What pages, the API and the evidence of alerts read from telemetry; windows are explicit."""

# ruff: noqa: S608 (SQL text is put together from names of this package; values are parameters)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.domain.buckets import LATENCY
from tocsin.domain.calls import Call
from tocsin.domain.errors import BadCursor
from tocsin.store.clickhouse import DATABASE, ClickHouse, literal
from tocsin.store.schema import FAILED

_Floats = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
CALL_COLUMNS = (
    "ts, project, service, kind, name, trace_id, span_id, parent_id, env, provider, model,"
    " response_id, duration_us, ttft_us, input_tokens, output_tokens, usage_known, cost_usd,"
    " cost_known, error_class, status_message, finish_reason, truncated, session_id, user_id,"
    " release, prompt_version, dims"
)
_PROVIDER_WINDOW_MIN = 24 * 60
_PAGE_WINDOWS_S = (3600, 24 * 3600, 30 * 24 * 3600)  # looked through before all of history is


@dataclass(frozen=True, slots=True)
class Timeline:
    """A service over time, one entry per step of `step_minutes` from epoch minute `start`.

    p50_ms, p95_ms, p99_ms: of answered calls, to +-2 %, NaN where there are none. tokens: input
    and output, NaN where no call reported any. cost_usd: of the priced calls, NaN where no call has
    a price; priced: their share of all calls.
    """

    start: int
    step_minutes: int
    n: _Counts
    failed: _Counts
    errors: _Counts
    p50_ms: _Floats
    p95_ms: _Floats
    p99_ms: _Floats
    tokens: _Floats
    cost_usd: _Floats
    priced: _Floats


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One service over a window, LLM calls only. None is unknown: no answered call, no price."""

    service: str
    calls: int
    failed: int
    errors: int
    p95_ms: float | None
    cost_usd: float | None
    priced: float
    model: str
    provider: str


class Reads:
    """Queries over one ClickHouse. Times are aware datetimes or epoch minutes, half-open."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def calls(
        self, limit: int = 100, *, since: datetime | None = None, before: str = "",
        service: str = "", kind: str = "", failed_only: bool = False,
    ) -> tuple[int, list[Call]]:  # fmt: skip
        """How many calls match, and the newest `limit` of them that are older than `before`.

        before: a cursor from `cursor_after`, "" for the newest. BadCursor for another.
        """
        filters = ["1"]
        values: dict[str, Any] = {"limit": limit, "service": service, "kind": kind}
        if since is not None:
            filters.append("ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')")
            values["since"] = _micros(since)
        if service:
            filters.append("service = {service:String}")
        if kind:
            filters.append("kind = {kind:String}")
        if failed_only:
            filters.append(FAILED)
        matching = f"FROM {DATABASE}.calls AS calls WHERE {' AND '.join(filters)}"
        total = self._engine.rows(f"SELECT count() {matching}", values)[0][0]
        oldest, newest = self._engine.rows(
            "SELECT toUnixTimestamp64Micro(min(ts)), toUnixTimestamp64Micro(max(ts))"
            f" FROM {DATABASE}.calls"  # answered from what the engine knows of its parts
        )[0]
        values["at"], values["span"] = _parse_cursor(before) if before else (newest + 1, "")
        rows = self._newest(matching, values, max(oldest, values.get("since", oldest)))
        return int(total), [call_of(row) for row in rows]

    def _newest(self, matching: str, values: dict[str, Any], oldest: int) -> list[dict[str, Any]]:
        """The newest `limit` rows of `matching` before the cursor `at`, `span`; none of them is
        older than `oldest`, in microseconds.

        Time is the last of the table's order, so that finding the newest of all means reading every
        time there is. A page is found in the latest hour or day as a rule; only when it is not full
        is more looked through, and all of history at last.
        """
        for window_s in (*_PAGE_WINDOWS_S, None):
            values["from"] = oldest
            if window_s is not None:
                values["from"] = max(oldest, values["at"] - window_s * 1_000_000)
            rows = self._engine.records(
                f"SELECT {CALL_COLUMNS} {matching}"
                " AND ts >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')"
                " AND ts <= fromUnixTimestamp64Micro({at:Int64}, 'UTC')"
                " AND (ts, span_id) < (fromUnixTimestamp64Micro({at:Int64}, 'UTC'), {span:String})"
                " ORDER BY ts DESC, span_id DESC LIMIT {limit:UInt32}",
                values,
            )
            if len(rows) == values["limit"] or values["from"] == oldest:
                break
        return rows

    def timeline(
        self, service: str, start: int, stop: int, step_minutes: int = 1, kind: str = "llm"
    ) -> Timeline:
        """One service over epoch minutes [start, stop) in equal steps.

        Whole hours on the hour are read from the hourly rollup, all else from the minutes.
        """
        steps = -(-(stop - start) // step_minutes)
        hourly = not (step_minutes % 60 or start % 60 or stop % 60)
        values = {
            "start": start * 60, "stop": stop * 60, "step": step_minutes * 60,
            "service": service, "kind": kind,
        }  # fmt: skip
        source = (
            f"FROM {DATABASE}.{'calls_1h' if hourly else 'calls_1m'}{{join}}"
            f" WHERE {_WINDOW} AND service = {{service:String}} AND kind = {{kind:String}}"
            " AND sk = '' GROUP BY i"
        )
        index = "toInt64(intDiv(toInt64(toUnixTimestamp(t)) - {start:Int64}, {step:Int64})) AS i"
        sums = self._engine.arrays(
            f"SELECT {index}, {_SUMS} " + source.replace("{join}", ""), values
        )
        grid = np.zeros((len(sums) - 1, steps))
        grid[:, sums[0]] = np.stack(sums[1:])
        n, failed, errors, tokens, used, cost, priced = grid
        buckets = self._engine.arrays(
            f"SELECT {index}, toInt64(b), toInt64(sum(c)) "
            + source.replace("{join}", _HISTOGRAM_JOIN)
            + ", b",
            values,
        )
        histogram = np.zeros((steps, LATENCY.count), np.int64)
        histogram[buckets[0], buckets[1]] = buckets[2]
        p50, p95, p99 = (LATENCY.quantile(histogram, q) / 1000 for q in (0.50, 0.95, 0.99))
        return Timeline(
            start, step_minutes, n.astype(np.int64), failed.astype(np.int64),
            errors.astype(np.int64), p50, p95, p99,
            np.where(used > 0, tokens, np.nan), np.where(priced > 0, cost, np.nan),
            np.divide(priced, n, out=np.zeros(steps), where=n > 0),
        )  # fmt: skip

    def fleet(self, start: int, stop: int) -> list[FleetRow]:
        """Every service that had LLM calls in epoch minutes [start, stop), by name."""
        values = {"start": start * 60, "stop": stop * 60}
        hourly = not (start % 60 or stop % 60)
        source = f"FROM {DATABASE}.{'calls_1h' if hourly else 'calls_1m'} AS r"
        where = f"WHERE {_WINDOW} AND kind = 'llm' AND sk = ''"
        sums = self._engine.rows(
            f"SELECT service, {_SUMS}, argMax(model, n) FROM"
            f" (SELECT service, model, {_PARTIAL} {source} {where}"
            " GROUP BY service, model) GROUP BY service ORDER BY service",
            values,
        )
        p95 = self._p95_by_service(source, where, values)
        providers = self._providers(start, stop)
        return [
            FleetRow(
                name, int(n), int(failed), int(errors), p95.get(name),
                float(cost) if priced else None, priced / n if n else 0.0, model,
                providers.get(name, ""),
            )
            for name, n, failed, errors, _tokens, _used, cost, priced, model in sums
        ]  # fmt: skip

    def callers(self, start: int, stop: int) -> list[tuple[str, str]]:
        """(service, model) pairs that had LLM calls in epoch minutes [start, stop), by hours."""
        rows = self._engine.rows(
            f"SELECT DISTINCT service, model FROM {DATABASE}.calls_1h AS r"
            f" WHERE {_WINDOW} AND kind = 'llm' AND sk = '' ORDER BY service, model",
            {"start": start // 60 * 3600, "stop": -(-stop // 60) * 3600},
        )
        return [(str(service), str(model)) for service, model in rows]

    def first_minute(self) -> int | None:
        """The epoch minute of the oldest call, None while there is none."""
        rows = self._engine.rows(
            f"SELECT count(), toInt64(toUnixTimestamp(min(t))) FROM {DATABASE}.calls_1h"
        )
        return int(rows[0][1]) // 60 if rows[0][0] else None

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Rows and bytes on disk of every table."""
        layout = self._engine.layout
        parts = (
            f"cluster({literal(layout.cluster)}, system.parts)"
            if layout.is_distributed
            else "system.parts"
        )
        rows = self._engine.rows(
            f"SELECT replaceRegexpOne(table, '_local$', '') AS name, sum(rows), sum(bytes_on_disk)"
            f" FROM {parts} WHERE database = {literal(DATABASE)} AND active"
            " GROUP BY name ORDER BY name"
        )
        return {name: (int(count), int(size)) for name, count, size in rows}

    def entry_ids(self, source: str, since: datetime) -> set[str]:
        """Ids of the calls and log records that were read from `source` and are newer than `since`.

        A call is filed under its start, so that those of the day before are looked at as well.
        """
        rows = self._engine.rows(
            f"SELECT DISTINCT attrs['log.record.uid'] FROM {DATABASE}.calls"
            " WHERE res['tocsin.source'] = {source:String}"
            " AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') - INTERVAL 1 DAY"
            f" UNION ALL SELECT DISTINCT attrs['log.record.uid'] FROM {DATABASE}.logs"
            " WHERE res['tocsin.source'] = {source:String}"
            " AND ts >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')",
            {"source": source, "since": _micros(since)},
        )
        return {str(row[0]) for row in rows} - {""}

    def quarantined(self, limit: int = 50) -> list[dict[str, Any]]:
        """The newest rows of the quarantine."""
        return self._engine.records(
            f"SELECT recv, source, reason, project, body FROM {DATABASE}.quarantine"
            " ORDER BY recv DESC LIMIT {limit:UInt32}",
            {"limit": limit},
        )

    def _p95_by_service(
        self, source: str, where: str, values: Mapping[str, int]
    ) -> dict[str, float]:
        rows = self._engine.rows(
            "SELECT service, groupArray(b), groupArray(c) FROM"
            f" (SELECT service, b, sum(k) AS c {source}"
            " ARRAY JOIN mapKeys(h) AS b, mapValues(h) AS k"
            f" {where} GROUP BY service, b) GROUP BY service",
            values,
        )
        found = {}
        for service, buckets, counts in rows:
            histogram = np.zeros(LATENCY.count, np.int64)
            histogram[list(buckets)] = list(counts)
            found[service] = float(LATENCY.quantile(histogram, 0.95)) / 1000
        return found

    def _providers(self, start: int, stop: int) -> dict[str, str]:
        """The main provider of each service; rollups do not carry it, so at most a day is read."""
        rows = self._engine.rows(
            "SELECT service, argMax(provider, n) FROM"
            f" (SELECT service, provider, count() AS n FROM {DATABASE}.calls"
            " WHERE ts >= toDateTime64({start:Int64}, 6, 'UTC')"
            " AND ts < toDateTime64({stop:Int64}, 6, 'UTC')"
            " AND kind = 'llm' GROUP BY service, provider) GROUP BY service",
            {"start": max(start, stop - _PROVIDER_WINDOW_MIN) * 60, "stop": stop * 60},
        )
        return {row[0]: row[1] for row in rows}


_WINDOW = "t >= toDateTime({start:Int64}, 'UTC') AND t < toDateTime({stop:Int64}, 'UTC')"
_HISTOGRAM_JOIN = " ARRAY JOIN mapKeys(h) AS b, mapValues(h) AS c"
_PARTIAL = ", ".join(
    f"sum(r.{name}) AS {name}"
    for name in (
        "n", "failed", "errors", "input_tokens", "output_tokens", "usage_known", "cost_usd",
        "cost_known",
    )
)  # fmt: skip
_SUMS = (
    "sum(n), sum(failed), sum(errors), sum(input_tokens + output_tokens), sum(usage_known),"
    " sum(cost_usd), sum(cost_known)"
)


def cursor_after(call: Call) -> str:
    """The cursor that continues behind `call`."""
    return f"{_micros(call.ts)}.{call.span_id}"


def _parse_cursor(text: str) -> tuple[int, str]:
    at, dot, span = text.partition(".")
    if not dot or not at.lstrip("-").isdigit():
        raise BadCursor(f"{text!r} is not a cursor; use the one of the previous answer")
    return int(at), span


def _micros(instant: datetime) -> int:
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def call_of(row: dict[str, Any]) -> Call:
    """A call from a row of CALL_COLUMNS, which is changed."""
    known, priced = bool(row.pop("usage_known")), bool(row.pop("cost_known"))
    ttft_us, duration_us = row.pop("ttft_us"), row.pop("duration_us")
    row |= {
        "ts": row["ts"].replace(tzinfo=UTC),
        "duration_ms": duration_us / 1000 if duration_us else None,
        "ttft_ms": ttft_us / 1000 if ttft_us else None,
        "usage_known": known,
        "input_tokens": row["input_tokens"] if known else None,
        "output_tokens": row["output_tokens"] if known else None,
        "cost_usd": row["cost_usd"] if priced else None,
        "truncated": bool(row["truncated"]),
    }
    return Call(**row)
