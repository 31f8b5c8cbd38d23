"""What recording costs the application: beside OpenTelemetry's batch processor, in the same run.

Each case runs in a process of its own, so that imports, memory and threads are its own. The server
is a process that reads each request and answers 200, or is away. What is measured:

    processor time of the application's thread per recorded call, in microseconds
    processor time of the whole process per call, sending included
    growth of the resident memory while calls are recorded as fast as one thread can
    what became of them

A call has a name, a model, a provider, two token counts, a prompt of 200 characters and an answer
of 400. OpenTelemetry's span has the same as attributes of the GenAI conventions, and its exporter
compresses, as this SDK does.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

SDK = Path(__file__).resolve().parents[1] / "sdk" / "src"
CALLS, ROUNDS = 20_000, 5
PACED = 200  # calls a second in the paced case
AWAY_CALLS = (50_000, 200_000)

_MEASURE = """
import json, resource, sys, time
import random
words = random.Random(7)
TEXTS = ["".join(words.choices("abcdefghijklmnopqrstuvwxyz     ", k=400)) for _ in range(2000)]
number = 0

def text():
    global number
    number += 1
    return TEXTS[number % 2000]

def rss_kb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * (resource.getpagesize() // 1024)

def run(record, finish, calls, pace):
    for _ in range(200):
        record()
    before, thread, process = rss_kb(), 0.0, time.process_time()
    began = time.perf_counter()
    for number in range(calls):
        at = time.thread_time()
        record()
        thread += time.thread_time() - at
        if pace:
            time.sleep(max(0.0, began + (number + 1) / pace - time.perf_counter()))
    recorded = time.perf_counter() - began
    after = rss_kb()
    told = finish()
    return {
        "thread_us_per_call": round(thread / calls * 1e6, 2),
        "process_us_per_call": round((time.process_time() - process) / calls * 1e6, 2),
        "recorded_per_s": round(calls / recorded),
        "rss_growth_mb": round((after - before) / 1024, 1),
        **told,
    }
"""
_TOCSIN = (
    _MEASURE
    + """
import tocsin_sdk
client = tocsin_sdk.init(sys.argv[1], service="bench", at_exit=0.0)

def record():
    with tocsin_sdk.call("answer", model="gpt-4o-mini", provider="openai") as c:
        c.tokens = (420, 96)
        answer = text()
        c.input, c.output = answer[:200], answer

def finish():
    client.flush(20 if sys.argv[4] == "up" else 0.1)
    s = client.stats()
    return {"delivered": s.delivered, "dropped": s.dropped, "waiting": s.waiting}

print(json.dumps(run(record, finish, int(sys.argv[2]), int(sys.argv[3]))))
"""
)
_OTEL = (
    _MEASURE
    + """
import logging
logging.disable(logging.CRITICAL)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
processor = BatchSpanProcessor(
    OTLPSpanExporter(sys.argv[1] + "/v1/traces", timeout=10, compression=Compression.Gzip),
    max_queue_size=10_000,
)
provider.add_span_processor(processor)
tracer = provider.get_tracer("bench")

def record():
    with tracer.start_as_current_span("answer") as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.request.model", "gpt-4o-mini")
        span.set_attribute("gen_ai.provider.name", "openai")
        span.set_attribute("gen_ai.usage.input_tokens", 420)
        span.set_attribute("gen_ai.usage.output_tokens", 96)
        answer = text()
        span.set_attribute("input.value", answer[:200])
        span.set_attribute("output.value", answer)

def finish():
    if sys.argv[4] == "up":
        processor.force_flush(20_000)
    return {}

print(json.dumps(run(record, finish, int(sys.argv[2]), int(sys.argv[3]))))
sys.stdout.flush()
import os
os._exit(0)
"""
)
PROGRAMS = {"tocsin_sdk": _TOCSIN, "opentelemetry_batch": _OTEL}


def run() -> dict[str, Any]:
    """Every case for both."""
    server = _Server()
    away = f"http://127.0.0.1:{_free_port()}"
    cases: dict[str, Any] = {
        "paced": {"what": f"{PACED} calls a second, server up"},
        "burst": {"what": f"{CALLS} calls as fast as one thread records, server up"},
    }
    cases["paced"] |= _rounds(server, PACED * 10, PACED)
    cases["burst"] |= _rounds(server, CALLS, 0)
    for calls in AWAY_CALLS:
        case = f"away_{calls}"
        cases[case] = {"what": f"{calls} calls as fast as one thread records, server away"}
        for name, program in PROGRAMS.items():
            cases[case][name] = _one(program, away, calls, 0, "away")
    server.close()
    return {
        "what": "processor time and memory that recording calls costs an application",
        "opentelemetry_sdk": version("opentelemetry-sdk"),
        "rounds": ROUNDS,
        "import_ms": {
            "tocsin_sdk": _import_ms("tocsin_sdk"),
            "opentelemetry_batch": _import_ms(
                "opentelemetry.sdk.trace.export, "
                "opentelemetry.exporter.otlp.proto.http.trace_exporter"
            ),
        },
        "cases": cases,
    }


def _rounds(server: _Server, calls: int, pace: int) -> dict[str, Any]:
    """Of each the round with the median thread time; they take turns, for the load changes."""
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            server.received = 0
            found = _one(program, server.url, calls, pace, "up")
            wire = round(server.received / calls, 1)
            rounds[name].append({**found, "wire_bytes_per_call": wire})
    result = {}
    for name, found in rounds.items():
        found.sort(key=lambda one: one["thread_us_per_call"])
        times = [one["thread_us_per_call"] for one in found]
        result[name] = {**found[ROUNDS // 2], "thread_us_of_rounds": times}
    return result


def _one(program: str, url: str, calls: int, pace: int, server: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, url, str(calls), str(pace), server],
        capture_output=True, text=True, check=True, timeout=300, env=_environment(),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _import_ms(modules: str) -> float:
    """Median processor time of importing, in milliseconds."""
    program = (
        f"import time; a = time.process_time(); import {modules}; print(time.process_time() - a)"
    )
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, check=True,
                timeout=60, env=_environment(),
            ).stdout
        )
        for _ in range(ROUNDS)
    ]  # fmt: skip
    return round(statistics.median(times) * 1000, 1)


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))}
    return {**kept, "PYTHONPATH": str(SDK)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server:
    """Reads requests and answers 200. received: bytes of bodies."""

    def __init__(self) -> None:
        self.received = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                self.rfile.read(length)
                outer.received += length
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
