"""What the tests of the SDK talk to: a server that answers as it is told, and a real Tocsin."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tocsin_sdk import Client, Settings

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "sdk" / "src"
PAUSE = threading.Event()  # never set: `wait` is a pause


@dataclass(frozen=True)
class Received:
    """One request as it arrived. at: seconds on the monotonic clock."""

    path: str
    headers: Mapping[str, str]
    raw: bytes
    at: float

    @property
    def rows(self) -> list[dict[str, Any]]:
        body = gzip.decompress(self.raw) if self.headers.get("content-encoding") else self.raw
        return [json.loads(line) for line in body.splitlines()]


@dataclass(frozen=True)
class Reply:
    """How the listener answers."""

    status: int = 200
    headers: Mapping[str, str] | None = None
    body: str = "{}"


class Listener:
    """An HTTP server that keeps what it gets and answers what `reply` says of it."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Received] = []
        self.reply: Callable[[Received], Reply] = lambda _: Reply()
        self._arrived = threading.Condition()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, raw, time.monotonic())
                reply = listener.reply(received)
                with listener._arrived:
                    listener.requests.append(received)
                    listener._arrived.notify_all()
                self.send_response(reply.status)
                for name, value in (reply.headers or {}).items():
                    self.send_header(name, value)
                body = reply.body.encode()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def rows(self, kind: str = "calls") -> list[dict[str, Any]]:
        """All rows of a kind that were taken, in order."""
        return [r for q in self.requests if q.path == f"/api/v1/{kind}" for r in q.rows]

    def wait_for(self, requests: int) -> None:
        """Until so many requests have arrived; fails after 20 s."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= requests, 20)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@contextmanager
def client_of(url: str, **settings: Any) -> Iterator[Client]:
    """A client that sends soon and tries again soon."""
    quick = {"linger": 0.02, "backoff": 0.02, "longest_backoff": 0.1, "service": "shop", **settings}
    client = Client(Settings(endpoint=url, **quick))
    try:
        yield client
    finally:
        client.shutdown(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: this checkout, and nothing of the surrounding one's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "OTEL_"))}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{SDK}", **more}


def run_python(
    code: str, *, python: str = sys.executable, warnings: str = "error", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own. warnings: what becomes of them."""
    return subprocess.run(
        [python, "-W", warnings, "-c", code], env=environment(**env), capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip


class Tocsin:
    """A real `tocsin serve`, which can be started, killed and started again on one port."""

    def __init__(self, data: Path, config: Path | None = None, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self._config = config
        self._env = env
        self._log = data.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["serve", "--data-dir", str(self.data), "--port", str(self.port)]
        if self._config is not None:
            words += ["--config", str(self._config)]
        command = [sys.executable, "-c", "from tocsin.cli import main; main()", *words]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment(**self._env)
            )
        self.get("/readyz", lambda answer: answer.status_code in (200, 503))

    def get(
        self, path: str, good: Callable[[httpx.Response], bool] = lambda answer: answer.is_success
    ) -> httpx.Response:
        """The first answer that is good; fails after a minute."""
        for _ in range(600):
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            try:
                answer = httpx.get(self.url + path, timeout=20)
            except httpx.TransportError:
                PAUSE.wait(0.1)
                continue
            if good(answer):
                return answer
            PAUSE.wait(0.1)
        raise AssertionError(f"{path} never came good: {self._log.read_text()}")

    def calls(self, count: int) -> list[dict[str, Any]]:
        """All calls, once there are as many."""
        answer = self.get("/api/v1/calls?limit=10000", lambda a: a.json()["total"] >= count)
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def stop(self) -> None:
        """Ask it to end, and wait, so that its store may be opened."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)


def stored(data: Path, sql: str) -> list[dict[str, Any]]:
    """Rows of the telemetry store of a server that has stopped."""
    from tocsin.domain.clock import SystemClock
    from tocsin.store.otlp_kinds import KINDS, TABLES
    from tocsin.store.telemetry import Telemetry

    with Telemetry.open(
        data, SystemClock(), kinds=KINDS, tables=TABLES, memory_bytes=2 << 30
    ) as store:
        store.flush()
        found: list[dict[str, Any]] = store._engine.records(sql)
        return found
