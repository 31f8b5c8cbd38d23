"""Tocsin beside Arize Phoenix: the same OTLP bodies, over HTTP, until they can be queried.

Both are given the same stream of bodies from its beginning, no two of which are copies of each
other. Phoenix answers from memory long before it has stored a span, so that it is sent as much as
it can store in about a minute and Tocsin more of the same; both are measured until their own API
counts the last span. When Phoenix is not done in time, its rate is that of the spans it counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import phoenix
from benchmarks.bodies import SPANS, unlike_bodies
from benchmarks.running import bytes_on_disk, cpu_seconds, memory_mb, tocsin, wait_until
from benchmarks.sending import over_http

OURS = {"without content": 1000, "with content": 300}  # bodies
THEIRS, THEIRS_WITHIN_S = 10, 60.0
REST_S, OURS_WITHIN_S, POLL_S = 5.0, 120, 1.0
TABLES = ("calls", "calls_1m", "calls_1h")


def run() -> dict[str, Any]:
    """Both, with both kinds of bodies, and how they compare."""
    try:
        version = phoenix.install()
    except phoenix.Absent as reason:
        version = ""
        skipped = {"skipped": str(reason)}
    else:
        skipped = {}
    return {
        "what": "the same OTLP/HTTP protobuf bodies until the API of each counts them",
        "phoenix": version or None,
        **skipped,
        "runs": {
            name: side_by_side(count, content=name == "with content", has_rival=bool(version))
            for name, count in OURS.items()
        },
    }


def side_by_side(count: int, *, content: bool, has_rival: bool) -> dict[str, Any]:
    """One kind of bodies."""
    start_ns = time.time_ns() - 60_000_000_000
    load = list(unlike_bodies(count, start_ns, content=content))
    result: dict[str, Any] = {
        "wire_bytes_per_span": round(sum(map(len, load)) / len(load) / SPANS),
        "tocsin": (ours := of_tocsin(load)),
    }
    if not has_rival:
        return result
    theirs = of_phoenix(load[:THEIRS])
    return {
        **result,
        "phoenix": theirs,
        "times_phoenix": {
            "spans_per_s": round(ours["queryable_spans_per_s"] / theirs["queryable_spans_per_s"]),
            "spans_per_cpu_s": round(theirs["cpu_us_per_span"] / ours["cpu_us_per_span"]),
            "bytes_per_span": round(ours["bytes_per_span"] / theirs["bytes_per_span"], 3),
            "rss_at_rest": round(ours["rss_at_rest_mb"] / theirs["rss_at_rest_mb"], 2),
            "peak_rss": round(ours["peak_rss_mb"] / theirs["peak_rss_mb"], 2),
        },
    }


def of_tocsin(load: Sequence[bytes]) -> dict[str, Any]:
    """A fresh `tocsin serve`."""
    spans = len(load) * SPANS
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        data = Path(name) / "data"
        with tocsin(data) as server:
            time.sleep(REST_S)
            at_rest, before = memory_mb(server.pid), cpu_seconds(server.pid)
            sent = over_http(server.port, load)
            seconds = wait_until(server.rows, spans, since=sent.started, within_s=OURS_WITHIN_S)
            cpu_s, peak = cpu_seconds(server.pid) - before, memory_mb(server.pid, "VmHWM")
        stored = bytes_on_disk(data, *TABLES)
    return {
        **_rates(spans, spans, seconds, cpu_s, at_rest, peak),
        "bytes_per_span": round(sum(stored.values()) / spans, 1),
        "bytes_per_span_by_table": {
            table: round(size / spans, 2) for table, size in stored.items()
        },
    }


def of_phoenix(load: Sequence[bytes]) -> dict[str, Any]:
    """A fresh `phoenix serve`, for at most THEIRS_WITHIN_S."""
    spans = len(load) * SPANS
    with tempfile.TemporaryDirectory(prefix="phoenix-bench-") as name:
        directory = Path(name) / "data"
        with phoenix.phoenix(directory) as server:
            time.sleep(REST_S)
            at_rest, before = memory_mb(server.pid), cpu_seconds(server.pid)
            sent = over_http(server.port, load)
            while True:
                found = server.spans()
                seconds = time.perf_counter() - sent.started
                if found >= spans or seconds > THEIRS_WITHIN_S:
                    break
                time.sleep(POLL_S)
            cpu_s, peak = cpu_seconds(server.pid) - before, memory_mb(server.pid, "VmHWM")
        size, stored = phoenix.database(directory)
    return {
        **_rates(found, spans, seconds, cpu_s, at_rest, peak),
        "bytes_per_span": round(size / stored, 1),
    }


def _rates(
    counted: int, sent: int, seconds: float, cpu_s: float, at_rest: float, peak: float
) -> dict[str, Any]:
    return {
        "spans_sent": sent,
        "spans_counted": counted,
        "seconds": round(seconds, 2),
        "queryable_spans_per_s": round(counted / seconds, 1),
        "cpu_us_per_span": round(cpu_s * 1e6 / counted, 1),
        "rss_at_rest_mb": round(at_rest),
        "peak_rss_mb": round(peak),
    }
