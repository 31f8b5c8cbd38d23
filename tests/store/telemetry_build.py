"""Calls for tests of the telemetry store, made by the thousand with a fixed seed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.domain.clock import ManualClock, to_minute
from tocsin.store.kinds import SegmentKind
from tocsin.store.layout import ONE_NODE
from tocsin.store.schema import CALLS, DOCUMENTS, ROLLUPS, Retention, rollup_select
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = to_minute(NOW)
FOREVER = Retention(0, 0, 0)  # these calls do not move with the wall clock
SERVICES = ("assistant", "search", "support")
CLASSES = ("", "", "", "", "", "rate_limit", "timeout", "bad_request")
TIERS = ("free", "pro", "")


class Where:
    """Which ClickHouse the stores of a test use: "" for an embedded one of their own."""

    dsn = ""
    layout = ONE_NODE


def clock() -> ManualClock:
    return ManualClock(NOW)


def frame(n: int, *, minutes: int = 30, seed: int = 1) -> dict[str, np.ndarray]:
    """`n` random calls in the `minutes` before NOW, as columns of numpy."""
    rng = np.random.default_rng(seed)
    start = int(NOW.timestamp() * 1e6) - minutes * 60_000_000
    known = rng.random(n) < 0.9
    ends = np.sort(start + rng.integers(0, minutes * 60_000_000, n))
    made = {
        "ts": ends,
        "service": rng.choice(SERVICES, n),
        "kind": rng.choice(["llm", "llm", "llm", "retriever"], n),
        "model": rng.choice(["gpt-4o", "claude-haiku"], n),
        "provider": rng.choice(["openai", "anthropic"], n),
        "error_class": rng.choice(CLASSES, n),
        "truncated": (rng.random(n) < 0.05).astype(np.uint8),
        "duration_us": rng.lognormal(13.5, 1.0, n).astype(np.uint64),
        "ttft_us": (rng.lognormal(12, 0.5, n) * (rng.random(n) < 0.5)).astype(np.uint32),
        "usage_known": known.astype(np.uint8),
        "input_tokens": (rng.integers(1, 5000, n) * known).astype(np.uint32),
        "output_tokens": (rng.integers(1, 900, n) * known).astype(np.uint32),
        "cost_known": (known & (rng.random(n) < 0.8)).astype(np.uint8),
        "cost_usd": rng.random(n) * 0.05,
        "tier": rng.choice(TIERS, n),
        "documents": rng.choice(["", "0", "4"], n),
    }
    made["ts"] = ends - made["duration_us"].astype(np.int64)
    order = np.argsort(made["ts"], kind="stable")
    return {name: values[order] for name, values in made.items()}


def ended_us(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """When each call ended, in microseconds since the epoch: the instant at which it counts."""
    return np.asarray(columns["ts"] + columns["duration_us"].astype(np.int64))


def table(columns: Mapping[str, np.ndarray], *, project: str = "shop") -> pa.Table:
    """The same calls as the store takes them."""
    n = len(columns["ts"])
    plain = {k: v for k, v in columns.items() if k not in {"ts", "tier", "documents"}}
    text = pa.map_(pa.string(), pa.string())
    found = columns["documents"].tolist()
    return pa.table({
        "project": pa.array([project] * n),
        "ts": pa.array(columns["ts"], pa.timestamp("us", tz="UTC")),
        "trace_id": pa.array([f"{i:032x}" for i in range(n)]),
        "span_id": pa.array([f"{i:016x}" for i in range(n)]),
        **{name: pa.array(values) for name, values in plain.items()},
        "dims": pa.array([[("tier", t)] if t else [] for t in columns["tier"].tolist()], text),
        "attrs": pa.array([[(DOCUMENTS, d)] if d else [] for d in found], text),
    })  # fmt: skip


_PROTO = (
    'syntax = "proto3"; message Line { string service = 1; int64 ts = 2; int64 number = 3; }'
    " message Batch { repeated Line lines = 1; }"
)

# A small protobuf kind: batches of (service, epoch microseconds, number).
BATCHES = SegmentKind(
    name="batches",
    table=CALLS.name,
    time="ts",
    format="Protobuf",
    structure="lines Array(Tuple(service String, ts Int64, number Int64))",
    settings={
        "format_schema_source": "string",
        "format_schema": _PROTO,
        "format_schema_message_name": "Batch",
    },
    select=(
        "SELECT 'shop' AS project, fromUnixTimestamp64Micro(line.ts, 'UTC') AS ts,"
        " line.service AS service, 'llm' AS kind, toUInt64(line.number) AS duration_us,"
        " lower(hex(toUInt64(line.number))) AS span_id, map('tier', 'free') AS dims,"
        " toUInt64({seg}) AS seg"
        " FROM {source} ARRAY JOIN lines AS line"
    ),
    columns=("project", "ts", "service", "kind", "duration_us", "span_id", "dims", "seg"),
)


def batch(numbers: range, *, service: str = "assistant", minute: int = MINUTE - 5) -> bytes:
    """The bytes of one `Batch`, one line a number, each a millisecond after the one before."""
    lines = b""
    for number in numbers:
        at = minute * 60_000_000 + number % 60_000 * 1000
        name = service.encode()
        line = b"\x0a" + bytes([len(name)]) + name + b"\x10" + _varint(at) + b"\x18"
        line += _varint(number)
        lines += b"\x0a" + bytes([len(line)]) + line
    return lines


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def assert_rollups_equal_raw(store: Telemetry) -> None:
    """Every key of both rollups, with histograms, is what the raw rows say."""
    for rollup, step in ROLLUPS:
        columns = [column.name for column in rollup.columns]
        keys = ", ".join([*columns[:7], "writer"])
        merged = ", ".join(
            f"sumMap({name}) AS {name}"
            if name in {"classes", "h", "p"}
            else f"sum({name}) AS {name}"
            for name in columns[7:-1]
        )
        stored = rows_of(
            store,
            f"SELECT {', '.join(columns)} FROM (SELECT * REPLACE(round(cost_usd, 6) AS cost_usd)"
            f" FROM (SELECT {keys}, {merged} FROM tocsin.{rollup.name} GROUP BY {keys}))"
            f" ORDER BY {keys}",
        )
        computed = rows_of(
            store,
            "SELECT * REPLACE(round(cost_usd, 6) AS cost_usd)"
            f" FROM ({rollup_select(step)}) ORDER BY {keys}",
        )
        assert stored == computed
        assert stored


def rows_of(store: Telemetry, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store._engine.rows(sql)]
