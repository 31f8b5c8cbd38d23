"""A small world for delivery tests: a store, a clock one can move, receivers that can be told to
fail, and a strict server on loopback that speaks for PagerDuty, Slack and webhook receivers."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from delivery_services import Services
from starlette.applications import Starlette
from starlette.routing import Mount

from tocsin.alerts import responder
from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.responder import Refused
from tocsin.delivery.channel import Channel
from tocsin.delivery.claiming import CourierLimits
from tocsin.delivery.escalation import escalation
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome
from tocsin.delivery.sinks import Sinks
from tocsin.delivery.worker import Courier, DrainReport
from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import EffectState, Incident, IncidentState, NewEffect
from tocsin.engine.commit import respond
from tocsin.routing.policy import RoutingPolicy
from tocsin.store.rows import StoredEffect
from tocsin.store.state import StateStore

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ok!").decode()
BOT_TOKEN = "xoxb-verysecret-token"
ROUTING_KEY = "R0UT1NGK3Y0123456789abcdefABCDEF"

POLICY: Mapping[str, Any] = {
    "name": "page-15m",
    "ack_expires_s": 7200,
    "steps": [
        {"after_s": 0, "receivers": ["primary"], "who": ["oncall/a"], "resolved_who": ["ana"]},
        {"after_s": 900, "receivers": ["secondary", "manager"], "resolved_who": ["bo"]},
        {"after_s": 1800, "repeat": 2},
    ],
}
EVIDENCE: Mapping[str, Any] = {
    "value": 0.25,
    "expected": 0.01,
    "unit": "share",
    "reason": "one call in four fails",
    "since": "2026-03-02T09:55:00Z",
    "slice": "region=eu (81 % of the failures)",
    "changes": ["09:52 deploy support 4.2"],
    "budget_left": 0.4,
    "burn": 14.4,
    "provider_note": "the provider reports no incident",
    "runbook": "https://runbooks.example.org/support",
    "first_steps": ["look at the deploy", "roll it back"],
}


def incident(**changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": "support/prod/error_rate-1",
        "group_key": "support/prod/error_rate",
        "episode": 1,
        "state": IncidentState.TRIGGERED,
        "title": "support: error rate",
        "labels": {"service": "support", "env": "prod", "signal": "error_rate"},
        "tier": 1,
        "opened": T0,
        "updated": T0,
        "receivers": ("primary",),
        "evidence": EVIDENCE,
    }
    return Incident(**{**fields, **changes})


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "key": "support-1:0:pager:trigger",
        "at": T0,
        "action": "trigger",
        "subject": "support-1",
        "title": "support: error rate",
        "summary": "one call in four fails",
        "tier": 1,
        "severity": "critical",
        "state": "triggered",
        "service": "support",
        "labels": {"service": "support", "env": "prod"},
        "since": T0 - timedelta(minutes=5),
        "evidence": (("Now", "25 %"), ("Expected", "1 %")),
        "links": (("Incident", "https://tocsin.example.org/incidents/support-1"),),
        "changes": ("09:52 deploy support 4.2",),
        "first_steps": ("look at the deploy",),
        "told": ("slack",),
    }
    return Message(**{**fields, **changes})


@dataclass
class Scripted:
    """A receiver that answers as it was told to, then yes; it keeps what it was sent."""

    is_idempotent: bool = True
    rate_per_s: float = 1_000.0
    answers: deque[Outcome] = field(default_factory=deque)
    always: Outcome | None = None
    seen: list[Message] = field(default_factory=list)
    Config: Any = None

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        await asyncio.sleep(0)
        self.seen.append(message)
        if self.always is not None:
            return self.always
        return self.answers.popleft() if self.answers else Delivered({"ref": message.key})

    @property
    def told(self) -> list[str]:
        return [each.action for each in self.seen]


class World:
    """One process: a store, a courier, and a clock that moves when told."""

    def __init__(
        self,
        store: StateStore | None = None,
        fallbacks: Sequence[str] = (),
        limits: CourierLimits | None = None,
    ) -> None:
        self.store = store or StateStore.open(":memory:")
        self.clock = ManualClock(T0)
        self.receivers: dict[str, Scripted] = defaultdict(Scripted)
        for name in ("primary", "secondary", "manager", "chat", "fallback"):
            self.receivers[name] = Scripted()
        self.fallbacks = fallbacks
        self.limits = limits
        self.courier = self.new_courier("worker-1")

    def new_courier(self, name: str) -> Courier:
        channels: Mapping[str, Channel] = self.receivers
        return Courier(
            self.store,
            channels,
            httpx.AsyncClient(),
            self.clock,
            rng=random.Random(1),
            links_base="https://tocsin.example.org",
            fallbacks=self.fallbacks,
            worker=name,
            limits=self.limits,
        )

    def open(self, found: Incident | None = None, receivers: Sequence[str] = ()) -> Incident:
        """Open an incident as the engine does: step 0 at once, a timer for step 1."""
        found = found or incident(policy=POLICY, step=1)
        names = receivers or (POLICY["steps"][0]["receivers"] if found.policy else ())
        memory = {"round": 1, "heard": list(names)}
        found = replace(found, evidence={**found.evidence, "memory": memory})
        with self.store.transaction() as tx:
            tx.put_incident(found, expect_version=None)
            for name in names:
                tx.add_effect(self.effect("trigger", name, found))
            timer = escalation(found, self.clock.now())
            if timer is not None:
                tx.add_effect(timer)
        return found

    def effect(self, action: str, receiver: str, about: Incident, **changes: Any) -> NewEffect:
        fields: dict[str, Any] = {
            "key": f"{about.id}:0:{receiver}:{action}",
            "kind": "notify",
            "receiver": receiver,
            "incident_id": about.id,
            "action": action,
            "due": self.clock.now(),
            "lane": about.tier,
            "guard": {"episode": about.episode},
        }
        return NewEffect(**{**fields, **changes})

    def add(self, *effects: NewEffect) -> None:
        with self.store.transaction() as tx:
            for each in effects:
                tx.add_effect(each)

    def change(self, found: Incident, **changes: Any) -> Incident:
        current = self.store.incident(found.id)
        assert current is not None
        with self.store.transaction() as tx:
            tx.put_incident(replace(current, **changes), expect_version=current.version)
        after = self.store.incident(found.id)
        assert after is not None
        return after

    def acknowledge(self, incident_id: str) -> None:
        """As the engine does it when Ana says so."""
        now = self.clock.now()
        self._respond(incident_id, lambda it: responder.acknowledge(it, "ana", now))

    def resolve(self, incident_id: str) -> None:
        now = self.clock.now()
        self._respond(incident_id, lambda it: responder.resolve(it, "ana", "gone", now))

    def _respond(
        self, incident_id: str, ask: Callable[[Incident], IncidentChange | Refused]
    ) -> None:
        def current() -> Incident:
            found = self.store.incident(incident_id)
            assert found is not None
            return found

        respond(self.store, RoutingPolicy(), current, ask, "ana", self.clock.now())

    def drain(self) -> DrainReport:
        return asyncio.run(self.courier.drain(self.clock.now()))

    def advance(self, minutes: float = 0, seconds: float = 0, *, every: float = 60) -> None:
        """Move on, delivering once every so many seconds, as the server would."""
        end = self.clock.now() + timedelta(minutes=minutes, seconds=seconds)
        while self.clock.now() < end:
            self.clock.set(min(self.clock.now() + timedelta(seconds=every), end))
            self.drain()

    def effects(self, found: Incident) -> dict[str, StoredEffect]:
        return {each.key: each for each in self.store.effects(found.id)}

    def states(self, found: Incident) -> list[EffectState]:
        return [each.state for each in self.store.effects(found.id)]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.store.ledger_entries()]


# --- a server on loopback -------------------------------------------------------------------------


@dataclass
class Fault:
    """What happens instead of a normal answer. after: let the service do its work first."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    how: str = "answer"  # answer | hang | drop
    after: bool = False


@dataclass
class Loopback:
    """The strict sinks behind a real socket, with faults to order."""

    sinks: Sinks
    received: list[tuple[str, Mapping[str, str], str]]
    services: Services
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[httpx.Request] = field(default_factory=list)
    url: str = ""

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[*self.services.routes(), Mount("/", self.sinks.app)])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults else None
            if fault is None or fault.after:
                response = await httpx.ASGITransport(self.app).handle_async_request(request)
                await response.aread()
            if fault is not None:
                if fault.how == "drop":
                    return
                if fault.how == "hang":
                    await reader.read()
                    return
                response = httpx.Response(fault.status, headers=fault.headers, text=fault.body)
            await self._write(writer, response)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> httpx.Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        size = int({k.lower(): v for k, v in headers.items()}.get("content-length", "0"))
        content = await reader.readexactly(size)
        return httpx.Request(method, self.url + path, headers=headers, content=content)

    async def _write(self, writer: asyncio.StreamWriter, response: httpx.Response) -> None:
        lines = [f"HTTP/1.1 {response.status_code} X", "connection: close"]
        lines += [f"{k}: {v}" for k, v in response.headers.items() if k != "content-length"]
        lines += [f"content-length: {len(response.content)}", "", ""]
        writer.write("\r\n".join(lines).encode() + response.content)
        await writer.drain()


@asynccontextmanager
async def loopback(now: datetime = T0) -> AsyncIterator[Loopback]:
    received: list[tuple[str, Mapping[str, str], str]] = []

    def record(name: str, at: datetime, headers: Mapping[str, str], body: str) -> None:
        received.append((name, headers, body))

    sinks = Sinks(record, lambda: now, {"webhook": WEBHOOK_SECRET})
    place = Loopback(sinks, received, Services(record, lambda: now))
    server = await asyncio.start_server(place.serve, "127.0.0.1", 0)
    place.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield place
    finally:
        server.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
