"""`tocsin serve` as a process: telemetry in over HTTP, all of it after a restart, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server

CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {displayName: Chat of the test, team: cx}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: board}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 3, receivers: [board]}
    on_rule_error: {tier: 3, receivers: [board]}
  routes:
    - {name: all, receivers: [board]}
"""
PAUSE = threading.Event()  # never set: `wait` is a pause


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from tocsin.cli import main; main()", *map(str, words)]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))}


class Server:
    """A running `tocsin serve` on a free port."""

    def __init__(self, data: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._out = log.open("a")
        self.process = subprocess.Popen(
            command("serve", "--data-dir", data, "--port", str(self.port)),
            stdout=self._out, stderr=subprocess.STDOUT, env=environment(),
        )  # fmt: skip

    def wait_for(self, path: str, good: Callable[[httpx.Response], bool]) -> httpx.Response:
        """The first answer that is good; fails after half a minute."""
        for _ in range(300):
            assert self.process.poll() is None, self.log.read_text()
            try:
                answer = httpx.get(self.url + path, timeout=10)
            except httpx.TransportError:
                PAUSE.wait(0.1)
                continue
            if good(answer):
                return answer
            PAUSE.wait(0.1)
        raise AssertionError(f"{path} never came good: {self.log.read_text()}")

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._out.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    started: list[Server] = []

    def start() -> Server:
        started.append(Server(tmp_path / "data", tmp_path / "log"))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def export(url: str, failed: bool = False) -> tuple[str, str]:
    """One chat call by the OpenTelemetry SDK, as an instrumented application exports it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    provider = TracerProvider(resource=Resource.create({"service.name": "chat"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    with provider.get_tracer("app").start_as_current_span(
        "chat gpt-4o-mini", kind=SpanKind.CLIENT
    ) as span:
        span.set_attributes({
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.input_tokens": 31,
            "gen_ai.usage.output_tokens": 7,
            "gen_ai.response.finish_reasons": ["stop"],
        })  # fmt: skip
        if failed:
            span.set_attribute("error.type", "429")
            span.set_status(Status(StatusCode.ERROR, "Rate limit reached"))
        context = span.get_span_context()
    provider.shutdown()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def total(answer: httpx.Response) -> int:
    found: dict[str, Any] = answer.json()
    return int(found["total"])


def test_what_is_exported_is_shown_survives_a_restart_and_the_end_is_clean(
    serve: Callable[[], Server], tmp_path: Path
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "all.yaml").write_text(CONFIG)
    applied = subprocess.run(
        command("apply", "--config", tmp_path / "config", "--data-dir", tmp_path / "data"),
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert applied.returncode == 0, applied.stderr

    server = serve()
    assert server.wait_for("/healthz", lambda a: a.status_code == 200)
    assert server.wait_for("/readyz", lambda a: a.status_code == 200)
    assert "Chat of the test" in server.wait_for("/", lambda a: a.status_code == 200).text
    assert total(httpx.get(f"{server.url}/api/v1/calls")) == 0
    trace_id, span_id = export(server.url)
    export(server.url, failed=True)
    shown = server.wait_for("/api/v1/calls", lambda a: total(a) == 2).json()["items"]
    good = next(call for call in shown if call["span_id"] == span_id)
    assert good["trace_id"] == trace_id
    expected = {
        "kind": "llm", "provider": "openai", "model": "gpt-4o-mini", "input_tokens": 31,
        "output_tokens": 7, "usage_known": True, "error_class": None, "truncated": False,
    }  # fmt: skip
    assert {name: good[name] for name in expected} == expected
    bad = next(call for call in shown if call["span_id"] != span_id)
    assert bad["error_class"] == "rate_limit"
    assert server.stop() == 0, server.log.read_text()

    again = serve()
    after = again.wait_for("/api/v1/calls", lambda a: a.status_code == 200).json()["items"]
    assert after == shown
    assert again.stop() == 0
    assert "Traceback" not in server.log.read_text()


SOURCE = """
---
apiVersion: tocsin/v1
kind: Source
metadata: {name: vllm}
spec:
  type: prometheus
  service: chat
  interval: 1s
  timeout: 1s
  allow_private: true
  presets: [vllm]
  targets: ["http://127.0.0.1:PORT/metrics", "http://127.0.0.1:9/metrics"]
"""


def test_a_model_server_is_scraped_and_a_dead_one_is_unknown(
    serve: Callable[[], Server], tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    labels = ["model_name"]
    waiting = Gauge("vllm:num_requests_waiting", "Waiting", labels, registry=registry)
    waiting.labels("llama").set(294)
    exporter, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        (tmp_path / "config").mkdir()
        text = CONFIG + SOURCE.replace("PORT", str(exporter.server_port))
        (tmp_path / "config" / "all.yaml").write_text(text)
        applied = subprocess.run(
            command("apply", "--config", tmp_path / "config", "--data-dir", tmp_path / "data"),
            env=environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr
        server = serve()
        server.wait_for("/readyz", lambda a: a.status_code == 200)
        answer = server.wait_for(
            "/api/v1/sources", lambda a: all(item["polls"] > 1 for item in a.json()["items"])
        )
        up, dead = answer.json()["items"]
        assert (up["state"], dead["state"]) == ("up", "unknown")
        assert dead["reason"] == "no answer (ConnectError)"
        metric = "/api/v1/metrics?service=chat&metric=vllm:num_requests_waiting"
        found = server.wait_for(metric, lambda a: bool(a.json()["series"])).json()
        (series,) = found["series"]
        assert series["labels"] == {"model_name": "llama"}
        assert {point["last"] for point in series["points"]} == {294.0}
        page = server.wait_for("/services/chat", lambda a: a.status_code == 200).text
        assert "requests waiting" in page
        assert "vllm cannot read http://127.0.0.1:9/metrics: no answer" in page
        assert total(httpx.get(f"{server.url}/api/v1/calls")) == 0
        assert server.stop() == 0, server.log.read_text()
        assert "Traceback" not in server.log.read_text()
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join(10)


def test_what_was_acknowledged_before_a_kill_is_there_afterwards(
    serve: Callable[[], Server],
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    server = serve()
    server.wait_for("/healthz", lambda a: a.status_code == 200)
    for _ in range(3):
        export(server.url)
    server.process.kill()
    server.process.wait(10)
    again = serve()
    again.wait_for("/readyz", lambda a: a.status_code == 200)
    assert again.wait_for("/api/v1/calls", lambda a: total(a) == 3)
    assert again.stop() == 0


def test_a_port_that_is_taken_and_a_directory_in_use_are_clear_errors(
    serve: Callable[[], Server], tmp_path: Path
) -> None:
    server = serve()
    server.wait_for("/healthz", lambda a: a.status_code == 200)
    taken = subprocess.run(
        command("serve", "--data-dir", tmp_path / "other", "--port", str(server.port)),
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert taken.returncode == 1
    assert "choose another --port" in " ".join(taken.stderr.split())
    used = subprocess.run(
        command("serve", "--data-dir", tmp_path / "data", "--port", "0"),
        env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert used.returncode == 1, used.stdout
    assert "another" in used.stderr
    assert "Traceback" not in used.stderr
    assert httpx.get(f"{server.url}/healthz").status_code == 200
