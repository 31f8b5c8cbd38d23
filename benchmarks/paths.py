"""What every way in takes: the same spans by each of them, and logs and metrics beside.

Each path has a server of its own. The load is as its clients send it: OTLP in requests of 512
rows over eight connections, JSON lines of 512 calls, Arrow tables of 4,096 rows; judgements of
stored spans over Flight, one stream after the other. A row counts once it can be queried.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forms
from benchmarks.bodies import SPANS, bodies
from benchmarks.running import (
    Server,
    bytes_on_disk,
    cpu_seconds,
    memory_mb,
    spread,
    tocsin,
    wait_until,
)
from benchmarks.sending import CONNECTIONS, Sent, over_flight, over_grpc, over_http

ROUNDS, WITHIN_S, TEMPLATES = 2, 120, 20
TABLE_BODIES = 8  # bodies of 512 spans that make one Arrow table
_COMMAND = b'{"writeSpanEvaluationRequest": {"spaceId": "1", "externalModelId": "bench"}}'


@dataclass(frozen=True, slots=True)
class Way:
    """One way in. bodies: how many times 512 rows are sent. make: what is sent, from as many OTLP
    bodies. table: where the rows end. needs_spans: the spans that rows are about are stored first.
    """

    bodies: int
    make: Callable[[Sequence[bytes]], Sequence[Any]]
    send: Callable[[Server, Sequence[Any]], Sent]
    table: str = "calls"
    needs_spans: bool = False


def run() -> dict[str, Any]:
    """Every way in, beside OTLP/HTTP protobuf in the same run."""
    start_ns = time.time_ns() - 60_000_000_000
    most = max(way.bodies for way in WAYS.values())
    load = list(bodies(most, start_ns, content=False, templates=TEMPLATES))
    return {
        "what": "rows a second by every way in, durable before the answer, until queryable",
        "level": "a client of `tocsin serve` on loopback",
        "rounds": ROUNDS,
        "connections": CONNECTIONS,
        "ways": {name: measure(way, load[: way.bodies]) for name, way in WAYS.items()},
    }


def measure(way: Way, spans: Sequence[bytes]) -> dict[str, Any]:
    """The median round, by each result for itself."""
    sent = way.make(spans)
    rounds = [one_round(way, spans, sent) for _ in range(ROUNDS)]
    rows = way.bodies * SPANS
    wire = sum(one.nbytes if hasattr(one, "nbytes") else len(one) for one in sent)
    return {
        "rows": rows,
        "requests": len(sent),
        "queryable_rows_per_s": spread([rows / r["seconds"] for r in rounds]),
        "acknowledge_p50_ms": spread([r["p50_ms"] for r in rounds], 1),
        "server_cpu_us_per_row": spread([r["cpu_s"] * 1e6 / rows for r in rounds], 1),
        "server_peak_rss_mb": spread([r["peak_mb"] for r in rounds]),
        "wire_bytes_per_row": round(wire / rows),
        "table": way.table,
        "table_bytes_per_row": spread([r["bytes"] / rows for r in rounds], 1),
    }


def one_round(way: Way, spans: Sequence[bytes], sent: Sequence[Any]) -> dict[str, float]:
    """One fresh server."""
    rows = way.bodies * SPANS
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        data = Path(name) / "data"
        with tocsin(data) as server:
            if way.needs_spans:
                first = over_http(server.port, spans)
                wait_until(server.rows, rows, since=first.started, within_s=WITHIN_S)
            before = cpu_seconds(server.pid)
            told = way.send(server, sent)
            held = partial(server.rows, way.table)
            seconds = wait_until(held, rows, since=told.started, within_s=WITHIN_S)
            found = {
                "seconds": seconds,
                "p50_ms": told.latency_ms["p50"],
                "cpu_s": cpu_seconds(server.pid) - before,
                "peak_mb": memory_mb(server.pid, "VmHWM"),
            }
        return {**found, "bytes": bytes_on_disk(data, way.table)[way.table]}


def _http(path: str, kind: str) -> Callable[[Server, Sequence[Any]], Sent]:
    return lambda server, sent: over_http(server.port, sent, path=path, kind=kind)


def _gzipped(server: Server, sent: Sequence[Any]) -> Sent:
    kind = "application/x-protobuf\r\nContent-Encoding: gzip"
    return over_http(server.port, sent, kind=kind)


def _each(make: Callable[[bytes], bytes]) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    return lambda spans: [make(body) for body in spans]


def _tables(spans: Sequence[bytes]) -> list[bytes]:
    starts = range(0, len(spans), TABLE_BODIES)
    return [forms.arrow_spans(spans[at : at + TABLE_BODIES]) for at in starts]


def _judgements(spans: Sequence[bytes]) -> list[Any]:
    rng = np.random.default_rng(19)
    starts = range(0, len(spans), TABLE_BODIES)
    return [forms.evaluations(spans[at : at + TABLE_BODIES], "faithfulness", rng) for at in starts]


def _made(
    make: Callable[[int, int], Any],
) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    return lambda spans: list(make(len(spans), time.time_ns() - 60_000_000_000))


_PROTOBUF = "application/x-protobuf"
WAYS: dict[str, Way] = {
    "OTLP/HTTP protobuf": Way(300, list, _http("/v1/traces", _PROTOBUF)),
    "OTLP/HTTP protobuf, gzip": Way(
        300, _each(lambda body: gzip.compress(body, 6)), _gzipped
    ),
    "OTLP/gRPC": Way(300, list, lambda server, sent: over_grpc(server.grpc, sent)),
    "OTLP/HTTP JSON": Way(
        80, _each(forms.otlp_json), _http("/v1/traces", "application/json")
    ),
    "JSON lines, /api/v1/calls": Way(
        80, _each(forms.json_lines), _http("/api/v1/calls", "application/x-ndjson")
    ),
    "Arrow, /v1/pandas_arrow": Way(
        80, _tables, _http("/v1/pandas_arrow", "application/octet-stream")
    ),
    "Arrow Flight, judgements": Way(
        80, _judgements,
        lambda server, sent: over_flight(server.flight, sent, _COMMAND),
        table="scores", needs_spans=True,
    ),
    "OTLP/HTTP logs": Way(
        200, _made(forms.logs), _http("/v1/logs", _PROTOBUF), table="logs"
    ),
    "OTLP/HTTP metrics": Way(
        200, _made(forms.metrics), _http("/v1/metrics", _PROTOBUF), table="metric_points"
    ),
}  # fmt: skip
