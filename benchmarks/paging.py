"""Seconds from the call that broke a service to the receiver's 2xx, on a real clock.

`tocsin serve` runs with eight services whose traffic (two calls a second each) is posted as OTLP.
One service after the other begins to fail, seven seconds apart, so that breaches fall all over the
evaluation interval. A breach has happened when the sixth failed call has ended: that is what the
detector asks for at least. The page has arrived when a webhook receiver in this process answered.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.running import tocsin

SERVICES = [f"service-{number}" for number in range(8)]
PER_SECOND = 2
HEALTHY_S, APART_S, GIVE_UP_S = 20, 7, 180
MIN_BAD = 6
SECRET = "whsec_" + "dG9jc2luIGJlbmNobWFyayBrZXkgMDEyMw=="


def run() -> dict[str, Any]:
    """Every service once; the latencies in seconds, sorted."""
    receiver = _Receiver()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        config = Path(name) / "config"
        config.mkdir()
        (config / "all.yaml").write_text("\n---\n".join(json.dumps(d) for d in documents()))
        secrets = {"HOOK_URL": receiver.url, "HOOK_SECRET": SECRET}
        with tocsin(Path(name) / "data", config=config, environment=secrets) as server:
            broken = asyncio.run(_traffic(server.port, receiver))
    receiver.close()
    seconds = sorted(receiver.told[s] - broken[s] for s in SERVICES if s in receiver.told)
    return {
        "what": "seconds from the sixth failed call to the receiver's 2xx",
        "evaluation_interval_s": 60,
        "services": len(SERVICES),
        "paged": len(seconds),
        "seconds": [round(s, 2) for s in seconds],
        "p50_s": round(seconds[len(seconds) // 2], 2) if seconds else None,
        "max_s": round(seconds[-1], 2) if seconds else None,
    }


def documents() -> list[dict[str, Any]]:
    """Services with a declared usual failure rate, and one receiver for all pages."""
    return [
        *(_doc("Service", name, {"team": "bench"}) for name in SERVICES),
        _doc("Detector", "failures", {
            "services": "*", "use": "count_scan", "indicator": {"use": "availability"},
            "severity": "page", "with": {"min_bad": MIN_BAD, "baseline": 0.005},
        }),
        _doc("Receiver", "hook", {
            "type": "webhook", "url": {"secret": "HOOK_URL"}, "secret": {"secret": "HOOK_SECRET"},
            "allow_private": True,
        }),
        _doc("Routing", "bench", {
            "classify": [{"if": {"severity": "page"}, "set": {"tier": 1}}],
            "routes": [{"name": "all", "receivers": ["hook"]}],
            "defaults": {"unmatched": {"tier": 1, "receivers": ["hook"]}},
        }),
    ]  # fmt: skip


def _doc(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tocsin/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


async def _traffic(port: int, receiver: _Receiver) -> dict[str, float]:
    """Post calls until every page has arrived; when the sixth failed call of each had ended."""
    began = time.time()
    failed: dict[str, int] = dict.fromkeys(SERVICES, 0)
    broken: dict[str, float] = {}
    async with httpx.AsyncClient() as http:
        while len(receiver.told) < len(SERVICES) and time.time() - began < GIVE_UP_S:
            now = time.time()
            for number, name in enumerate(SERVICES):
                is_failing = now - began > HEALTHY_S + number * APART_S
                await _post(http, port, name, now, is_failing=is_failing)
                failed[name] += is_failing
                if failed[name] >= MIN_BAD:
                    broken.setdefault(name, now)
            await asyncio.sleep(max(0.0, 1 / PER_SECOND - (time.time() - now)))
    return broken


async def _post(
    http: httpx.AsyncClient, port: int, service: str, now: float, *, is_failing: bool
) -> None:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = service
    span = resource.scope_spans.add().spans.add(
        trace_id=int(now * 1e9).to_bytes(16, "big"),
        span_id=abs(hash((service, now))).to_bytes(8, "big"),
        name="chat",
        start_time_unix_nano=int((now - 0.2) * 1e9),
        end_time_unix_nano=int(now * 1e9),
    )
    said = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai"}
    if is_failing:
        said["error.type"] = "500"
        span.status.code = 2
    for key, value in said.items():
        span.attributes.add(key=key).value.string_value = value
    await http.post(
        f"http://127.0.0.1:{port}/v1/traces",
        content=request.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    )


class _Receiver:
    """A webhook endpoint that notes when each service's first page was answered."""

    def __init__(self) -> None:
        told = self.told = dict[str, float]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                self.send_response(204)
                self.end_headers()
                for name in SERVICES:
                    if name in body:
                        told.setdefault(name, time.time())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
