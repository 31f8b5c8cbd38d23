"""OTLP spans per second, end to end over HTTP: acknowledged (on disk) and queryable; memory; bytes.

`tocsin serve` runs in a process of its own with an empty data directory; this process sends bodies
of 512 spans over eight connections as fast as they are answered and then waits until the last span
can be queried. The time includes making the rows queryable; load generator and server share the
machine. Bodies are not compressed: what is measured is Tocsin, not zlib.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.bodies import SPANS, bodies

CONNECTIONS = 8
REQUESTS = {"without content": 600, "with content": 160}
START_WITHIN_S, LOAD_WITHIN_S = 60, 120


def run() -> dict[str, Any]:
    """Both kinds of bodies, each against a fresh server."""
    return {
        "what": "OTLP/HTTP protobuf, durable before 200, both rollups, until queryable",
        "level": "HTTP to `tocsin serve`",
        "connections": CONNECTIONS,
        "runs": {
            name: measure(count, content=name == "with content") for name, count in REQUESTS.items()
        },
    }


def measure(requests: int, *, content: bool) -> dict[str, Any]:
    """One server, `requests` bodies."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        data = Path(name) / "data"
        start_ns = time.time_ns() - 30_000_000_000
        load = list(bodies(requests, start_ns, content=content, templates=requests // 2))
        with server(data) as (process, port):
            sent = asyncio.run(send(port, load))
            queryable = wait_for(port, requests * SPANS, since=sent["started"])
            cpu_s, peak = cpu_seconds(process.pid), peak_memory(process.pid)
        stored = on_disk(data)
    spans = requests * SPANS
    return {
        "spans": spans,
        "wire_bytes_per_span": round(sum(map(len, load)) / spans),
        "acknowledged_spans_per_s": round(spans / sent["seconds"]),
        "queryable_spans_per_s": round(spans / queryable),
        "acknowledge_ms": sent["latency_ms"],
        "server_cpu_us_per_span": round(cpu_s * 1e6 / spans, 1),
        "server_peak_rss_mb": round(peak / 1e6),
        **stored,
    }


@contextlib.contextmanager
def server(
    data: Path, *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`tocsin serve` on a free port, ready to answer; ended by SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("tocsin")), "serve"]
    command += ["--data-dir", str(data), "--port", str(port)]
    command += ["--config", str(config)] if config else []
    log = data.parent / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **(environment or {})}
        )
    try:
        deadline = time.monotonic() + START_WITHIN_S
        while total_calls(port) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"tocsin serve did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()


async def send(port: int, load: list[bytes]) -> dict[str, Any]:
    """Send every body once over CONNECTIONS keep-alive connections; a refusal is an error."""
    waiting = iter(load)
    latencies: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            begun = time.perf_counter()
            writer.write(
                b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/x-protobuf\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n"
            )
            writer.write(body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = [
                line for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"
            ]
            if length:
                await reader.readexactly(int(length[0].split(b":")[1]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            latencies.append((time.perf_counter() - begun) * 1000)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - started
    ordered = sorted(latencies)
    quantiles = {
        f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)], 1)
        for q in (50, 95, 99)
    }
    return {"started": started, "seconds": seconds, "latency_ms": quantiles}


def wait_for(port: int, calls: int, *, since: float) -> float:
    """Seconds from `since` until `calls` calls can be queried."""
    while time.perf_counter() - since < LOAD_WITHIN_S:
        if total_calls(port) == calls:
            return time.perf_counter() - since
        time.sleep(0.05)
    raise RuntimeError(f"{total_calls(port)} of {calls} calls after {LOAD_WITHIN_S} s")


def total_calls(port: int) -> int | None:
    """What the API counts; None while nobody answers."""
    url = f"http://127.0.0.1:{port}/api/v1/calls?limit=1"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return int(json.load(reply)["total"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def on_disk(data: Path) -> dict[str, Any]:
    """Bytes per call once parts are merged, from the engine's own account."""
    script = (
        "import json, sys; from pathlib import Path\n"
        "from tocsin.store.clickhouse import ClickHouse\n"
        "from tocsin.store.reads import Reads\n"
        "engine = ClickHouse.embedded(Path(sys.argv[1]), memory_bytes=2_000_000_000)\n"
        "for table in ('calls', 'calls_1m', 'calls_1h'):\n"
        "    engine.execute(f'OPTIMIZE TABLE tocsin.{table} FINAL')\n"
        "print(json.dumps(dict(Reads(engine).sizes())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data / "clickhouse")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    sizes = json.loads(done.stdout)
    calls = sizes["calls"][0]
    per_table = {name: round(size / calls, 2) for name, (_, size) in sizes.items()}
    return {
        "bytes_per_call": round(sum(per_table.values()), 1),
        "bytes_per_call_by_table": per_table,
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> int:
    """The largest resident size of a process so far, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
