"""A whole Tocsin in one process: real stores, real decisions, real channels, a clock one can move.

Only two things stand in for the world: traffic is made from a seed and put into the store before
the clock reaches it, and PagerDuty, Slack, webhook and mail receivers are the strict sinks.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, cast

import httpx
import numpy as np
import pyarrow as pa
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tocsin.delivery.http import client as http_client
from tocsin.delivery.sinks import Sinks
from tocsin.delivery.smtp_sink import serve_smtp
from tocsin.domain.clock import ManualClock, from_minute, to_minute
from tocsin.domain.findings import Incident
from tocsin.domain.ports import MinuteSource
from tocsin.domain.series import Change
from tocsin.engine.answers import Answers
from tocsin.engine.feed import ReadAhead
from tocsin.engine.house import House
from tocsin.engine.scheduler import Scheduler
from tocsin.engine.settings import Settings
from tocsin.intake.intake import Intake
from tocsin.spec.desired import Desired, load
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.live import LiveDesk
from tocsin.web.server import courier_for, web_app

CONFIG = Path(__file__).with_name("config.yaml")
FOREVER = Retention(0, 0, 0)  # this traffic does not move with the wall clock
T0 = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)  # a Monday; when the clock of a world starts
ZERO = to_minute(T0)
HISTORY = 8 * 60  # minutes of traffic before T0: enough for every detector to know what is usual
LATENESS = timedelta(seconds=2)

WEBHOOK_SECRET = "the secret of a subscription"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
_SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ok!").decode()
_SINKS = "http://127.0.0.1/sinks"
Columns = Mapping[str, np.ndarray]


# --- traffic ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """Traffic of one service over minutes [start, stop) after T0.

    failing, cut: shares of calls that fail and of answers that are cut off. slow: factor on
    latency. input, output: tokens of a typical call. cost: dollars a call.
    """

    service: str
    start: int
    stop: int
    per_minute: float = 12.0
    failing: float = 0.005
    error: str = "server"
    cut: float = 0.0
    slow: float = 1.0
    tenant: str = "acme"
    input: int = 300
    output: int = 120
    cost: float = 0.0005


def columns(phase: Phase, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The calls of a phase, in columns of the table `calls`."""
    counts = rng.poisson(phase.per_minute, phase.stop - phase.start)
    minute = np.repeat(np.arange(ZERO + phase.start, ZERO + phase.stop), counts)
    n = len(minute)
    failed = rng.random(n) < phase.failing
    cut = ~failed & (rng.random(n) < phase.cut)
    inp = np.maximum(rng.lognormal(np.log(phase.input), 0.4, n), 1).astype(np.uint32)
    out = np.maximum(rng.lognormal(np.log(phase.output), 0.4, n), 1).astype(np.uint32)
    ms = np.exp(4.48 + 0.584 * np.log(out) + 0.147 * np.log(inp) + rng.normal(0, 0.3, n))
    known = ~failed
    return {
        "ts": minute * 60_000_000 + np.sort(rng.integers(0, 60_000_000, n)),
        "service": np.full(n, phase.service),
        "kind": np.full(n, "llm"),
        "error_class": np.where(failed, phase.error, ""),
        "truncated": cut.astype(np.uint8),
        "duration_us": np.where(failed, 300_000, ms * 1000 * phase.slow).astype(np.uint64),
        "ttft_us": np.where(failed, 0, ms * 200).astype(np.uint32),
        "usage_known": known.astype(np.uint8),
        "input_tokens": (inp * known).astype(np.uint32),
        "output_tokens": (out * known).astype(np.uint32),
        "cost_known": known.astype(np.uint8),
        "cost_usd": phase.cost * rng.lognormal(0, 0.3, n) * known,
        "tenant": np.full(n, phase.tenant),
    }


def traffic(phases: Iterable[Phase], seed: int = 3) -> dict[str, np.ndarray]:
    """All phases together, in order of time."""
    rng = np.random.default_rng(seed)
    parts = [columns(phase, rng) for phase in phases]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["ts"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def table(calls: Columns) -> pa.Table:
    """Calls as the telemetry store takes them."""
    n = len(calls["ts"])
    plain = {k: v for k, v in calls.items() if k not in {"ts", "tenant"}}
    text = pa.map_(pa.string(), pa.string())
    return pa.table({
        "project": pa.array(["default"] * n),
        "ts": pa.array(calls["ts"], pa.timestamp("us", tz="UTC")),
        "trace_id": pa.array([f"{i:032x}" for i in range(n)]),
        "span_id": pa.array([f"{i:016x}" for i in range(n)]),
        "model": pa.array(["gpt-4o-mini"] * n),
        **{name: pa.array(values) for name, values in plain.items()},
        "dims": pa.array([[("tenant", t)] for t in calls["tenant"].tolist()], text),
    })  # fmt: skip


def rows(calls: Mapping[str, np.ndarray]) -> pa.Table:
    """The calls as people export them: unknown is empty, times in milliseconds."""
    unknown = calls["usage_known"] == 0
    return pa.table({
        "ts": pa.array(calls["ts"], pa.timestamp("us", tz="UTC")),
        "service": calls["service"],
        "kind": calls["kind"],
        "duration_ms": calls["duration_us"] / 1000,
        "ttft_ms": pa.array(calls["ttft_us"] / 1000, mask=calls["ttft_us"] == 0),
        "input_tokens": pa.array(calls["input_tokens"], mask=unknown),
        "output_tokens": pa.array(calls["output_tokens"], mask=unknown),
        "cost_usd": pa.array(calls["cost_usd"], mask=calls["cost_known"] == 0),
        "error_class": calls["error_class"],
        "truncated": calls["truncated"] == 1,
    })  # fmt: skip


# --- the world --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """A message that a receiver accepted. action: what it is about, as far as its kind says it."""

    receiver: str
    at: datetime
    body: Any
    text: str

    @property
    def action(self) -> str:
        """trigger, acknowledge, resolve (PagerDuty), the type (webhook), or "message"."""
        if not isinstance(self.body, dict):
            return "message"
        return str(self.body.get("event_action") or self.body.get("type") or "message")

    @property
    def minute(self) -> int:
        """Minutes after T0."""
        return int((self.at - T0).total_seconds() // 60)


class Failing:
    """A source of counts that can be told to fail a number of times."""

    def __init__(self, inner: MinuteSource) -> None:
        self.inner = inner
        self.failures: list[Exception] = []

    def minutes(self, *args: Any) -> Any:
        if self.failures:
            raise self.failures.pop()
        return self.inner.minutes(*args)

    def sample(self, *args: Any) -> Any:
        return self.inner.sample(*args)

    def changes(self, start: int, stop: int) -> Sequence[Change]:
        return self.inner.changes(start, stop)


class World:
    """One Tocsin over `path`. Use it as a context manager.

    phases: all the traffic there will ever be. changes: (minute after T0, service, kind, title).
    """

    def __init__(
        self,
        path: Path,
        phases: Iterable[Phase],
        changes: Iterable[tuple[int, str, str, str]] = (),
        config: Path = CONFIG,
    ) -> None:
        self.path = path
        self.config = config
        self.clock = ManualClock(T0)
        self.told: list[Told] = []
        self.sinks = Sinks(self._record, self.clock.now, {"audit": _SECRET})
        self._runner = asyncio.Runner()
        self._smtp = self._run(serve_smtp(self._record, self.clock.now, name="mail"))
        mounted = Starlette(routes=[Mount("/sinks", self.sinks.app)])
        self.http: httpx.AsyncClient = http_client(httpx.ASGITransport(mounted))
        self._open_stores()
        self.calls = traffic(phases)
        self._seed(table(self.calls), changes)
        self._open_house()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AttributeError):
            self.stop()
        self._run(self.http.aclose())
        self._smtp.close()
        self._runner.close()

    def start(self) -> None:
        """The process begins: opens its stores and goes on where the last one stopped."""
        self._open_stores()
        self._open_house()

    def _open_stores(self) -> None:
        self.telemetry = Telemetry.open(
            self.path, self.clock, kinds=KINDS, tables=TABLES, retention=FOREVER
        )
        self.state = StateStore.open(self.path / "state.db")

    def _open_house(self) -> None:
        self.house = House(
            self.telemetry, self.state, self.clock, self.desired(), lateness=LATENESS,
            source=self._source,
        )  # fmt: skip
        settings = Settings(self.path, public_url="http://localhost:4318")
        self.settings = settings
        self.courier = courier_for(self.house, self.http, settings, Random(1))
        self.scheduler = Scheduler(
            self.house, interval=timedelta(minutes=1), lateness=LATENESS, wake=lambda: None
        )
        self.desk = LiveDesk(self.house)
        self.answers = Answers(self.house)
        self.answers.use(self.house.desired.channels)
        app = web_app(self.house, Intake(self.telemetry.writer, self.clock), settings,
                      desk=self.desk, answers=self.answers)  # fmt: skip
        self.web = TestClient(cast(Any, app), base_url="http://localhost")

    def stop(self) -> None:
        """The process ends; nothing but its files stays."""
        self.web.close()
        self.telemetry.close()
        self.state.close()
        del self.house, self.courier, self.scheduler, self.desk, self.telemetry, self.state

    def restart(self) -> None:
        """The process ends and another one begins."""
        self.stop()
        self.start()

    def desired(self) -> Desired:
        """The configuration with its secrets."""
        return load([self.config], self._secret)

    def play(self, to: int, *, deliver: bool = True) -> None:
        """Let the clock run to `to` minutes after T0: a beat a minute, delivery twice a minute."""
        while self.clock.now() < T0 + timedelta(minutes=to):
            minute = to_minute(self.clock.now() - LATENESS) + 1
            self.clock.set(max(from_minute(minute) + LATENESS, self.clock.now()))
            self.scheduler.beat()
            if deliver:
                self.deliver()
                self.clock.advance(timedelta(seconds=25))
                self.deliver()

    def deliver(self) -> None:
        """Carry out everything that is due."""
        due = self.state.next_due()
        if due is not None and due <= self.clock.now():
            self._run(self.courier.drain(self.clock.now()))

    def pages(self) -> list[Told]:
        """What went to the two pagers."""
        return [told for told in self.told if told.receiver in ("pagerduty", "secondary")]

    def of(self, receiver: str, action: str = "") -> list[Told]:
        """What one receiver got."""
        return [t for t in self.told if t.receiver == receiver and action in ("", t.action)]

    def incidents(self) -> list[Incident]:
        """Every incident, oldest first."""
        return sorted(self.state.list_incidents(100), key=lambda i: (i.opened, i.id))

    def incident(self, service: str, signal: str = "error_rate") -> Incident:
        """The latest incident of a service about a signal."""
        found = [
            i for i in self.incidents()
            if (i.labels.get("service"), i.labels.get("signal")) == (service, signal)
        ]  # fmt: skip
        assert found, [i.id for i in self.incidents()]
        return found[-1]

    def form(self, path: str, on: str = "", **fields: str) -> httpx.Response:
        """Post a form the way a browser does: with the token of the page it stands on.

        on: that page; by default the one above `path`.
        """
        page = self.web.get(on or path.rpartition("/")[0], headers={"accept": "text/html"}).text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        assert token, page[:500]
        return self.web.post(path, data={"form_token": token, **fields}, follow_redirects=False)

    # --- private ---

    def _source(self, inner: MinuteSource) -> MinuteSource:
        self.source = Failing(ReadAhead(inner, minutes=180))
        return self.source

    def _seed(self, calls: pa.Table, changes: Iterable[tuple[int, str, str, str]]) -> None:
        self.telemetry.add_calls(calls)
        for minute, service, kind, title in changes:
            self.telemetry.add_change(Change(ZERO + minute, service, kind, title))
        self.telemetry.flush()

    def _record(self, receiver: str, at: datetime, headers: Mapping[str, str], body: str) -> None:
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = body
        self.told.append(Told(receiver, at, parsed, body))

    def _secret(self, name: str) -> str | None:
        known: dict[str, str] = {
            "ROUTING_KEY": "0123456789abcdef0123456789abcdef",
            "PRIMARY_URL": f"{_SINKS}/pagerduty/pagerduty/v2/enqueue",
            "SECONDARY_URL": f"{_SINKS}/pagerduty/secondary/v2/enqueue",
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            "SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_TOKEN": "xoxb-of-this-test",
            "SLACK_URL": f"{_SINKS}/slack/slack/api",
            "FINANCE_URL": f"{_SINKS}/slack/finance/api",
            "AUDIT_URL": f"{_SINKS}/webhook/audit",
            "AUDIT_SECRET": _SECRET,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self._smtp.sockets[0].getsockname()[1]),
        }
        return known.get(name)

    def _run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)


Build = Callable[..., World]


def usual(*services: str, until: int, **fields: Any) -> list[Phase]:
    """Ordinary traffic of services from the beginning of history to `until`."""
    return [Phase(name, -HISTORY, until, **fields) for name in services]


def with_phase(phases: Sequence[Phase], special: Phase) -> list[Phase]:
    """`phases` with the traffic of one service replaced by `special` while that lasts."""
    out: list[Phase] = []
    for phase in phases:
        if phase.service != special.service or not (
            phase.start < special.stop and special.start < phase.stop
        ):
            out.append(phase)
            continue
        before = {**phase.__dict__, "stop": special.start}
        after = {**phase.__dict__, "start": special.stop}
        out += [p for p in (Phase(**before), Phase(**after)) if p.start < p.stop]
    return [*out, special]
