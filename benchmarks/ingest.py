"""OTLP spans per second, end to end over HTTP: acknowledged (on disk) and queryable; memory.

`tocsin serve` runs in a process of its own with an empty data directory; this process sends bodies
of 512 spans over eight connections as fast as they are answered and then waits until the last span
can be queried. The time includes making the rows queryable; load generator and server share the
machine. Bodies are not compressed: what is measured is Tocsin, not zlib.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bodies import SPANS, bodies
from benchmarks.running import cpu_seconds, memory_mb, spread, tocsin, wait_until
from benchmarks.sending import CONNECTIONS, over_http

REQUESTS = {"without content": 1000, "with content": 300}
TEMPLATES, ROUNDS = 40, 3
LOAD_WITHIN_S = 120


def run() -> dict[str, Any]:
    """Both kinds of bodies, each round against a fresh server."""
    return {
        "what": "OTLP/HTTP protobuf, durable before 200, both rollups, until queryable",
        "level": "HTTP to `tocsin serve`",
        "connections": CONNECTIONS,
        "rounds": ROUNDS,
        "runs": {
            name: measure(count, content=name == "with content") for name, count in REQUESTS.items()
        },
    }


def measure(requests: int, *, content: bool) -> dict[str, Any]:
    """The median round, by each result for itself, of servers that are sent the same bodies."""
    start_ns = time.time_ns() - 60_000_000_000
    load = list(bodies(requests, start_ns, content=content, templates=TEMPLATES))
    spans = requests * SPANS
    rounds = [one_round(load, spans) for _ in range(ROUNDS)]
    return {
        "spans": spans,
        "wire_bytes_per_span": round(sum(map(len, load)) / spans),
        "acknowledged_spans_per_s": spread([spans / r["acknowledged_s"] for r in rounds]),
        "queryable_spans_per_s": spread([spans / r["queryable_s"] for r in rounds]),
        "acknowledge_ms": {
            q: spread([r["latency_ms"][q] for r in rounds], 1) for q in ("p50", "p95", "p99")
        },
        "server_cpu_us_per_span": spread([r["cpu_s"] * 1e6 / spans for r in rounds], 1),
        "server_peak_rss_mb": spread([r["peak_mb"] for r in rounds]),
    }


def one_round(load: Sequence[bytes], spans: int) -> dict[str, Any]:
    """One fresh server."""
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name,
        tocsin(Path(name) / "data") as server,
    ):
        before = cpu_seconds(server.pid)
        sent = over_http(server.port, load)
        queryable_s = wait_until(server.rows, spans, since=sent.started, within_s=LOAD_WITHIN_S)
        return {
            "acknowledged_s": sent.seconds,
            "queryable_s": queryable_s,
            "latency_ms": sent.latency_ms,
            "cpu_s": cpu_seconds(server.pid) - before,
            "peak_mb": memory_mb(server.pid, "VmHWM"),
        }
