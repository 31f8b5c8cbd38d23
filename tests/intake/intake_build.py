"""A real embedded store behind the real intake routes, for tests of what arrives where."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette

from tocsin.domain.clock import ManualClock, SystemClock
from tocsin.intake.front import routes
from tocsin.intake.intake import Intake
from tocsin.store.clickhouse import ClickHouse
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "otlp"
FIXTURES = Path(__file__).parent / "fixtures"
PROTOBUF = "application/x-protobuf"
MEMORY_BYTES = 3 << 30


@dataclass
class Bench:
    """The application, its store, and a client without a network between them."""

    store: Telemetry
    intake: Intake
    clock: ManualClock
    _flushed: int = -1

    def post(
        self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self.post_all([(path, body, headers or {})])[0]

    def post_all(
        self, requests: Sequence[tuple[str, bytes, Mapping[str, str]]]
    ) -> list[httpx.Response]:
        """The answers to all requests, sent one after another."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 40000))
            async with httpx.AsyncClient(transport=transport, base_url="http://tocsin") as client:
                return [
                    await client.post(path, content=body, headers=dict(headers))
                    for path, body, headers in requests
                ]

        return asyncio.run(send())

    @property
    def app(self) -> Starlette:
        return Starlette(routes=routes(self.intake))

    def calls(self, where: str = "1") -> list[dict[str, Any]]:
        return self.query(f"SELECT * FROM tocsin.calls WHERE {where} ORDER BY ts, span_id")

    def query(self, sql: str) -> list[dict[str, Any]]:
        if self.store.writer.appended != self._flushed:
            self.store.flush(300)  # all recordings at once take a busy machine minutes
            self._flushed = self.store.writer.appended
        engine: ClickHouse = self.store._engine
        return engine.records(sql)


@contextmanager
def bench(path: Path, dsn: str = "") -> Iterator[Bench]:
    """A bench over a data directory, with rows in a ClickHouse of its own or at `dsn`."""
    clock = ManualClock(NOW)
    keep = Retention(raw_days=0, minutes_days=0, hours_days=0)
    store = Telemetry.open(
        path, clock, kinds=KINDS, tables=TABLES, memory_bytes=MEMORY_BYTES, retention=keep, dsn=dsn
    )
    with store:
        yield Bench(store, Intake(store.writer, clock), clock)


@contextmanager
def served(path: Path) -> Iterator[tuple[Bench, str]]:
    """A bench behind a real socket, at the time of this machine; and its address."""
    with bench(path) as made, socket.socket() as listener:
        made.intake = Intake(made.store.writer, SystemClock())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(made.app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield made, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def manifest(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return loaded


def content_headers(capture: Mapping[str, Any]) -> dict[str, str]:
    """The headers that say how a captured body is to be read."""
    headers = {k: v for k, v in capture["headers"].items() if k.startswith("content-")}
    if capture["encoding"] in {"protobuf", "json"} and capture["transport"] == "http":
        kind = {"protobuf": PROTOBUF, "json": "application/json"}[capture["encoding"]]
        headers.setdefault("content-type", kind)
    if capture["compression"]:
        headers["content-encoding"] = capture["compression"]
    return headers


def path_of(capture: Mapping[str, Any]) -> str:
    """The door that takes a captured body."""
    path: str = capture["request_path"]
    return "/v1/flight/do_put" if path.startswith("flight:") else path


def span_request(
    spans: int = 1,
    *,
    service: str = "shop",
    scope: str = "openinference.instrumentation.openai",
    start_ns: int = NOW_NS - 60_000_000_000,
    duration_ns: int = 250_000_000,
    first_id: int = 1,
    attributes: Mapping[str, Any] | None = None,
) -> ExportTraceServiceRequest:
    """A request with `spans` LLM calls."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    put(resource.resource.attributes, {"service.name": service})
    scoped = resource.scope_spans.add()
    scoped.scope.name = scope
    values = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-mini"}
    for number in range(first_id, first_id + spans):
        span = scoped.spans.add()
        span.name = "ChatCompletion"
        span.trace_id = number.to_bytes(16, "big")
        span.span_id = number.to_bytes(8, "big")
        span.start_time_unix_nano = start_ns
        span.end_time_unix_nano = start_ns + duration_ns
        put(span.attributes, {**values, **(attributes or {})})
    return request


def put(target: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        pair = target.add()
        pair.key = name
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        else:
            pair.value.string_value = value


def zipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)
