"""A runner over real stores, and pages on loopback for it to read."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.domain.clock import ManualClock, to_minute
from tocsin.engine.sources import SourceRunner, TargetStatus
from tocsin.intake.intake import Intake
from tocsin.spec.desired import load_text
from tocsin.spec.sources import ConfiguredSource
from tocsin.store.metrics import MetricSeries
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 21, 5, 0, 30, tzinfo=UTC)
FOREVER = Retention(raw_days=0, minutes_days=0, hours_days=0)
_HEAD = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: platform, match: {service.name: SERVICE}}
---
apiVersion: tocsin/v1
kind: Source
metadata: {name: SERVICE}
spec:
  service: chat
"""


def configured(
    spec: str, secrets: Mapping[str, str] | None = None, name: str = "source"
) -> dict[str, ConfiguredSource]:
    """A source from the lines of its spec, as a person writes them; its service has its name."""
    lines = "".join(f"  {line}\n" for line in spec.strip().splitlines())
    text = _HEAD.replace("SERVICE", name) + lines
    return dict(load_text(text, secrets=(secrets or {}).get).sources)


@dataclass
class Yard:
    """Stores, a clock that is moved by hand, and a runner."""

    store: Telemetry
    state: StateStore
    intake: Intake
    clock: ManualClock
    runner: SourceRunner
    name: str = "source"

    def use(self, spec: str, secrets: Mapping[str, str] | None = None) -> None:
        """Read this source from now on, for a service of its name."""
        self.runner.use(configured(spec, secrets, self.name))

    def another(self, name: str) -> Yard:
        """The same stores, with a clock and a runner of their own, and nothing in them by name."""
        clock = ManualClock(NOW)
        intake = Intake(self.store.writer, clock)
        runner = SourceRunner(intake, self.state, self.store, clock)
        return Yard(self.store, self.state, intake, clock, runner, name)

    def poll(self, times: int = 1, every: timedelta = timedelta(seconds=15)) -> TargetStatus:
        """Poll everything some times, moving the clock between; how the first target is doing."""
        return self.poll_at([self.clock.now() + every * number for number in range(times)])

    def poll_at(
        self, instants: Iterable[datetime], before: Callable[[int], None] = lambda _: None
    ) -> TargetStatus:
        """Poll everything at these instants; `before` is called with the number of each."""

        async def story() -> None:
            for number, instant in enumerate(instants):
                self.clock.set(instant)
                before(number)
                await self.runner.poll_once()
            await self.runner.close_connections()

        asyncio.run(story())
        return self.runner.statuses()[0]

    def metric(self, name: str, minutes: int = 30, step: int = 1) -> list[MetricSeries]:
        """The series of a metric over the last minutes."""
        self.store.flush()
        stop = to_minute(self.clock.now()) + 1
        return list(self.store.metrics.read(self.name, name, stop - minutes, stop, step).series)

    def names(self) -> list[str]:
        self.store.flush()
        stop = to_minute(self.clock.now()) + 1
        return [n.metric for n in self.store.metrics.names(self.name, stop - 60, stop)]

    def points(self, metric: str) -> list[float]:
        """Stored values of a metric, oldest first."""
        where = f"service = '{self.name}' AND metric = '{metric}'"
        rows = self.rows(f"SELECT value FROM tocsin.metric_points WHERE {where} ORDER BY ts")
        return [row["value"] for row in rows]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        self.store.flush()
        return self.store._engine.records(sql)


@contextmanager
def yard(path: Path, start: datetime = NOW) -> Iterator[Yard]:
    clock = ManualClock(start)
    store = Telemetry.open(path, clock, kinds=KINDS, tables=TABLES, retention=FOREVER)
    state = StateStore.open(path / "state.db")
    intake = Intake(store.writer, clock)
    with store:
        yield Yard(store, state, intake, clock, SourceRunner(intake, state, store, clock))
    state.close()


@dataclass
class Answer:
    """What a page answers."""

    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "text/plain; version=0.0.4"}
    )


@dataclass
class Pages:
    """A loopback HTTP server: `answer` is asked with the path and headers of every request."""

    url: str
    answer: Callable[[str, Mapping[str, str]], Answer]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def pages(answer: Callable[[str, Mapping[str, str]], Answer]) -> Iterator[Pages]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {k.lower(): v for k, v in self.headers.items()}
            held.asked.append((self.path, headers))
            given = held.answer(self.path, headers)
            body = given.body.encode() if isinstance(given.body, str) else given.body
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held = Pages(f"http://127.0.0.1:{server.server_address[1]}", answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
