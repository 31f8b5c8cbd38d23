"""Memory of the whole process: at rest, under a steady load with ticks and reads, and its slope.

`tocsin serve` judges every minute by the configuration of `paging` while bodies come at a steady
rate and two readers ask for pages and JSON. Resident memory is read every second, the pages of the
engine's library included. The slope is Theil and Sen's (the median of the slopes of all pairs, so
that a few merges do not move it) over 10-second medians after a warm-up; its interval resamples
blocks of 30 seconds, because neighbouring readings are alike.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from benchmarks.bodies import SPANS, bodies
from benchmarks.paging import SECRET, documents
from benchmarks.running import Server, cpu_seconds, memory_mb, tocsin

REST_S, WARM_UP_S, END_S, LOADED_WITHIN_S = 20, 120, 15, 60
LOAD_S = max(WARM_UP_S + 60, int(os.environ.get("BENCH_SOAK_S", "300")))
BODIES_A_SECOND = 10
READS_A_SECOND = 2
READ = ("/", "/services/svc-03", "/api/v1/calls?limit=50", "/calls", "/objectives")
AT_ONCE, BIN_S, BLOCK_BINS, RESAMPLES = 4, 10, 3, 2000
# The store is not served, which is the default: serving it takes memory that others do not pay for.
ENVIRONMENT = {
    "HOOK_URL": "http://127.0.0.1:9/",
    "HOOK_SECRET": SECRET,
    "TOCSIN_STORE_PORT": "0",
}

_Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Watch:
    """Readings of a process, one a second: seconds since the start, and megabytes."""

    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)

    async def follow(self, pid: int, seconds: float) -> None:
        """Read for `seconds`."""
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            self.at.append(now)
            self.rss.append(memory_mb(pid))
            await asyncio.sleep(1)


@dataclass(slots=True)
class Told:
    """What came of requests."""

    sent: int = 0
    late: int = 0
    reads: int = 0
    failed: int = 0
    read_ms: list[float] = field(default_factory=list)


def run() -> dict[str, Any]:
    """One server: at rest, under load, and when the load is over."""
    start_ns = time.time_ns() + REST_S * 1_000_000_000  # about when the first is sent
    load = bodies(
        (LOAD_S + END_S) * BODIES_A_SECOND, start_ns, content=False, templates=20,
        apart_ns=1_000_000_000 // BODIES_A_SECOND,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        config = Path(name) / "config"
        config.mkdir()
        (config / "all.yaml").write_text("\n---\n".join(json.dumps(d) for d in documents()))
        with tocsin(Path(name) / "data", config=config, environment=ENVIRONMENT) as server:
            time.sleep(REST_S)
            at_rest, before = memory_mb(server.pid), cpu_seconds(server.pid)
            watch, told = Watch(), Told()
            asyncio.run(_soak(server, watch, told, load))
            cpu_s = cpu_seconds(server.pid) - before
            time.sleep(END_S)
            after = memory_mb(server.pid)
            private = memory_mb(server.pid, "RssAnon")
            peak = memory_mb(server.pid, "VmHWM")
            stored = _stored(server, told.sent * SPANS)
    return {
        "what": "resident memory of `tocsin serve`, megabytes",
        "load": f"{BODIES_A_SECOND * SPANS} spans and {READS_A_SECOND} reads a second, ticks",
        "seconds": LOAD_S,
        "spans_sent": told.sent * SPANS,
        "spans_stored": stored,
        "bodies_late": told.late,
        "reads": told.reads,
        "reads_failed": told.failed,
        "read_p50_ms": round(statistics.median(told.read_ms), 1) if told.read_ms else None,
        "server_cores": round(cpu_s / LOAD_S, 2),
        "rss_at_rest_mb": round(at_rest),
        "rss_under_load_mb": {
            "median": round(statistics.median(watch.rss)),
            "p95": round(float(np.quantile(watch.rss, 0.95))),
            "peak": round(peak),
        },
        "rss_by_minute_mb": by_minute(np.array(watch.at), np.array(watch.rss)),
        f"rss_{END_S}_s_after_mb": round(after),
        "rss_after_without_files_mb": round(private),
        "slope": slope(np.array(watch.at), np.array(watch.rss)),
    }


async def _soak(server: Server, watch: Watch, told: Told, load: Iterator[bytes]) -> None:
    until = time.monotonic() + LOAD_S
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as http:
        await asyncio.gather(
            watch.follow(server.pid, LOAD_S),
            _write(http, load, told, until),
            *(_read(http, told, until, offset) for offset in range(READS_A_SECOND)),
        )


async def _write(http: httpx.AsyncClient, load: Iterator[bytes], told: Told, until: float) -> None:
    """Bodies at a steady rate, a few at a time; one that could not begin in time is late."""
    free = asyncio.Semaphore(AT_ONCE)

    async def post(body: bytes) -> None:
        async with free:
            answer = await http.post(
                "/v1/traces", content=body, headers={"content-type": "application/x-protobuf"}
            )
            answer.raise_for_status()
            told.sent += 1

    async with asyncio.TaskGroup() as group:
        due = time.monotonic()
        while due < until:
            told.late += free.locked()
            group.create_task(post(next(load)))
            due += 1 / BODIES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _read(http: httpx.AsyncClient, told: Told, until: float, offset: int) -> None:
    for path in itertools.islice(itertools.cycle(READ), offset, None):
        began = time.monotonic()
        if began > until:
            return
        answer = await http.get(path)
        told.reads += 1
        told.failed += answer.status_code >= 500
        told.read_ms.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(max(0.0, 1 - (time.monotonic() - began)))


def _stored(server: Server, wanted: int) -> int:
    """Calls that its API counts, once they are all there or a while has passed."""
    deadline = time.monotonic() + LOADED_WITHIN_S
    while True:
        answer = httpx.get(f"http://127.0.0.1:{server.port}/api/v1/calls?limit=1", timeout=60)
        stored = int(answer.raise_for_status().json()["total"])
        if stored >= wanted or time.monotonic() > deadline:
            return stored
        time.sleep(1)


def by_minute(at: _Floats, rss: _Floats) -> list[int]:
    """The median of each minute of load."""
    minute = (at // 60).astype(int)
    return [round(float(np.median(rss[minute == one]))) for one in np.unique(minute)]


def slope(at: _Floats, rss: _Floats) -> dict[str, Any]:
    """Megabytes a minute after the warm-up: Theil and Sen's estimate, with a 95 % interval."""
    kept = at >= WARM_UP_S
    place = ((at[kept] - WARM_UP_S) // BIN_S).astype(int)
    minutes = np.array([at[kept][place == p].mean() for p in np.unique(place)]) / 60
    levels = np.array([np.median(rss[kept][place == p]) for p in np.unique(place)])
    middle = theil_sen(minutes, levels)
    trend = middle * (minutes - minutes.mean())
    rng = np.random.default_rng(23)
    resampled = [theil_sen(minutes, trend + _blocks(levels - trend, rng)) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {
        "mb_a_minute": round(middle, 2),
        "low": round(float(low), 2),
        "high": round(float(high), 2),
        "over_minutes": round(float(np.ptp(minutes)), 1),
    }


def theil_sen(x: _Floats, y: _Floats) -> float:
    """The median slope of all pairs of points. Source: Sen, JASA 63 (1968)."""
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))


def _blocks(values: _Floats, rng: np.random.Generator) -> _Floats:
    """As many values, in runs of BLOCK_BINS neighbours from anywhere."""
    starts = rng.integers(0, max(1, len(values) - BLOCK_BINS + 1), -(-len(values) // BLOCK_BINS))
    drawn: Sequence[_Floats] = [values[at : at + BLOCK_BINS] for at in starts]
    return np.resize(np.concatenate(drawn), len(values))
