"""The decision path without telemetry: rules from YAML, a state, a clock one moves, receivers.

A verdict is said instead of measured; everything after it is what the server runs: fold, route,
commit, courier.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tocsin.alerts import responder
from tocsin.delivery.channel import Channel
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Delivered, Outcome
from tocsin.delivery.worker import Courier
from tocsin.domain.clock import ManualClock, to_minute
from tocsin.domain.findings import Incident, Judgement, Verdict
from tocsin.engine.arranging import Arranging, with_arrangements
from tocsin.engine.commit import respond
from tocsin.engine.rules import Rules, compile_desired
from tocsin.engine.tick import Decided, settle
from tocsin.spec.desired import Desired, load_text
from tocsin.store.state import StateStore

T0 = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)  # a Monday

CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: tocsin/v1
kind: Service
metadata: {name: claims}
spec: {team: legal, regulated: true}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec: {type: pagerduty, routing_key: {secret: KEY}, webhook_secret: {secret: KEY}}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: team}
spec: {type: slack, channel: "#team", token: {secret: KEY}}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: boss}
spec: {type: email, host: localhost, to: [boss@example.org], sender: tocsin@example.org}
---
apiVersion: tocsin/v1
kind: OnCallSchedule
metadata: {name: first}
spec: {users: [ana, bo], starting: "2026-11-16"}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: page-15m}
spec:
  ack_expires: 2h
  steps:
    - {after: 0m, notify: [pager], who: oncall/first}
    - {after: 15m, notify: [pager, boss], who: [oncall/first, user/boss]}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: review-1h}
spec:
  steps:
    - {after: 0m, notify: [team]}
    - {after: 1h, notify: [team]}
    - {after: 24h, notify: [boss]}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: all}
spec:
  defaults: {unmatched: {tier: 2, receivers: [team]}}
  classify:
    - {name: page is tier 1, if: {severity: page}, set: {tier: 1}}
    - {name: ticket is tier 2, if: {severity: ticket}, set: {tier: 2}}
  inhibit:
    - name: outage explains
      source: {signal: endpoint_down}
      target: {signal: [error_rate]}
      equal: [service]
  routes:
    - {name: page, if: {tier: 1}, policy: page-15m}
    - {name: review, if: {tier: 2}, policy: review-1h}
"""


@dataclass
class Receiver:
    """Takes everything and keeps it with the time."""

    clock: ManualClock
    seen: list[tuple[datetime, Message]] = field(default_factory=list)
    is_idempotent: bool = True
    rate_per_s: float = 1_000.0
    Config: Any = None

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        self.seen.append((self.clock.now(), message))
        return Delivered({"ref": message.key})

    def told(self) -> list[tuple[int, str]]:
        """(minutes after T0, action) of everything it was told."""
        return [(int((at - T0).total_seconds() // 60), m.action) for at, m in self.seen]


class Clockwork:
    """One Tocsin that is told what its monitors say. breaching: signal of a service -> severity."""

    def __init__(self, config: str = CONFIG, state: StateStore | None = None) -> None:
        self.clock = ManualClock(T0)
        self.state = state or StateStore.open(":memory:")
        self.desired: Desired = load_text(config)
        self.rules: Rules = compile_desired(self.desired)
        self.state.record_config(
            self.desired.digest, {"text": self.desired.text}, actor="ana", now=T0, reason="first"
        )
        self.arranging = Arranging(self.state, lambda: self.rules, self.reconsider)
        self.breaching: dict[tuple[str, str], str] = {}
        self.receivers = {name: Receiver(self.clock) for name in self.desired.receivers}
        channels: Mapping[str, Channel] = self.receivers
        self.courier = Courier(
            self.state, channels, httpx.AsyncClient(), self.clock, rng=random.Random(1)
        )

    def tick(self) -> Decided:
        """Every monitor speaks: what breaches breaches, what did before is well."""
        minute = to_minute(self.clock.now())
        known = {(a.labels["service"], a.labels["signal"]) for a in self.state.alerts().values()}
        verdicts = [
            Verdict(
                monitor=f"detector/{signal}", service=service, signal=signal, minute=minute,
                judgement=Judgement.BREACH if on else Judgement.OK,
                severity=self.breaching.get((service, signal), "ticket"),
                value=0.25, expected=0.01, unit="share", score=9.0, reason=f"{signal} is bad",
                labels=self.labels(service),
            )
            for service, signal in sorted({*self.breaching, *known})
            for on in [(service, signal) in self.breaching]
        ]  # fmt: skip
        return settle(self.present(), verdicts, self.state, self.clock.now())

    def reconsider(self) -> Decided:
        return settle(self.present(), None, self.state, self.clock.now())

    def labels(self, service: str) -> Mapping[str, str]:
        return self.desired.services[service].labels

    def present(self) -> Rules:
        """The rules with what people arranged."""
        return with_arrangements(self.rules, self.arranging.held(self.clock.now()))

    def play(self, minutes: int, every: int = 1) -> None:
        """Let so many minutes pass, a tick and a delivery at the beginning of each, or of some."""
        for _ in range(0, minutes, every):
            self.tick()
            self.deliver()
            self.clock.advance(timedelta(minutes=every))

    def deliver(self) -> None:
        asyncio.run(self.courier.drain(self.clock.now()))

    def acknowledge(self, incident: Incident, who: str = "ana") -> None:
        now = self.clock.now()
        respond(
            self.state, self.rules.policy, lambda: self.state.incident(incident.id) or incident,
            lambda found: responder.acknowledge(found, who, now), who, now,
        )  # fmt: skip

    def incident(self, service: str = "chat", signal: str = "error_rate") -> Incident:
        """The latest incident of a service about a signal."""
        found = [
            i for i in self.state.list_incidents(100)
            if (i.labels.get("service"), i.labels.get("signal")) == (service, signal)
        ]  # fmt: skip
        assert found, [i.title for i in self.state.list_incidents(100)]
        return found[0]

    def told(self, receiver: str) -> list[tuple[int, str]]:
        return self.receivers[receiver].told()
