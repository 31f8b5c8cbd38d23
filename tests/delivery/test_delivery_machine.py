"""A random life on a virtual clock, over the real decisions, outbox, couriers and both databases.

Alerts begin and end, people acknowledge and resolve, receivers fail in every way there is, couriers
are killed before or after a send and paused past their lease, everything stands still for a while.
A small oracle with books of its own looks at what receivers accepted:

* nothing is lost: whoever is to be told of a page has accepted it, or it is still under way
* nobody is paged for what somebody has in hand, or for what is over
* a message arrives twice only under one key, and only where that cannot be known from here
* the next step of an escalation comes when it is due, never early
* whoever heard of an incident hears that it is over, or it is on record why not
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from delivery_build import T0
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tocsin.alerts.responder import Refused, acknowledge, resolve
from tocsin.delivery.channel import Channel
from tocsin.delivery.claiming import PAGES
from tocsin.delivery.message import Message
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Rejected, Retry
from tocsin.delivery.worker import Courier, DrainReport
from tocsin.domain.clock import ManualClock
from tocsin.domain.findings import Alert, AlertState, EffectState, Incident, IncidentState
from tocsin.engine.commit import respond
from tocsin.engine.rules import compile_desired
from tocsin.engine.tick import settle
from tocsin.spec.desired import load_text
from tocsin.store.outbox import Claim
from tocsin.store.state import StateStore
from tocsin.store.tables import METADATA

CONFIG = """
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: pd}, spec: {type: pagerduty, routing_key: {secret: KEY}}}
---
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: slack}, spec: {type: slack, channel: "#ops", token: {secret: KEY}}}
---
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: mail}, spec: {type: email, host: {secret: KEY}, sender: t@example.com, to: [o@example.com]}}
---
{apiVersion: tocsin/v1, kind: Receiver, metadata: {name: spare}, spec: {type: pagerduty, routing_key: {secret: KEY}}}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: page}
spec:
  steps:
    - {after: 0m, notify: [pd]}
    - {after: 15m, notify: [pd, slack]}
    - {after: 30m, repeat: 1}
  ack_expires: 40m
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults:
    unmatched: {tier: 2, receivers: [spare]}
    on_rule_error: {tier: 1, receivers: [spare]}
    flap: {changes: 50, within: 1m}
  classify:
    - {if: {severity: page}, set: {tier: 1}}
    - {if: {}, set: {tier: 2}, when_unset: true}
  routes:
    - {name: page, if: {tier: 1}, policy: page}
    - {name: tell, receivers: [slack, mail]}
"""  # noqa: E501 (a document a line)
RULES = compile_desired(load_text(CONFIG))
STEPS = (0, 15, 30, 45)  # minutes after the trigger at which a step of the policy is due
ALERTS = {"m1": ("bot", "page"), "m2": ("bot", "page"), "m3": ("desk", "ticket")}
RECEIVERS = {"pd": True, "slack": False, "mail": True, "spare": True}  # name: is it idempotent?
MODES = ("up", "down", "deaf", "mute", "refuses")
LEASE = timedelta(seconds=30)


class Killed(BaseException):
    """What kill -9 looks like from inside."""


@dataclass
class Wire:
    """One receiver. mode: up; down (refuses the connection); deaf (hangs, took nothing); mute
    (took it and never said so); refuses (a 400). deadly: what kills the courier that sends next."""

    name: str
    is_idempotent: bool
    clock: ManualClock
    mode: str = "up"
    deadly: str = ""
    rate_per_s: float = 1000.0
    Config: Any = None
    accepted: list[tuple[datetime, Message]] = field(default_factory=list)
    unclear: set[str] = field(default_factory=set)  # keys of which nobody can know

    async def send(self, message: Message, http: httpx.AsyncClient) -> Outcome:
        await asyncio.sleep(0)
        deadly, self.deadly = self.deadly, ""
        if deadly == "before":
            self.unclear.add(message.key)
            raise Killed
        if self.mode in ("up", "mute"):
            self.accepted.append((self.clock.now(), message))
        if deadly:
            self.unclear.add(message.key)
            raise Killed
        if self.mode in ("deaf", "mute"):
            self.unclear.add(message.key)
            return Ambiguous("no answer")
        if self.mode == "down":
            return Retry("no connection")
        return Rejected("HTTP 400") if self.mode == "refuses" else Delivered({"ref": message.key})

    async def reconcile(self, message: Message, http: httpx.AsyncClient) -> Delivered | None:
        found = any(each.key == message.key for _, each in self.accepted)
        return Delivered({"ref": message.key}) if found else None


@dataclass
class Book:
    """What the oracle knows of one incident: since when it calls, and its next step."""

    triggered: datetime
    step: int = 1
    base: datetime | None = None  # when the step before was due

    def due(self) -> datetime | None:
        if self.step >= len(STEPS):
            return None
        base = self.base or self.triggered
        return base + timedelta(minutes=STEPS[self.step] - STEPS[self.step - 1])

    def run(self, now: datetime) -> None:
        due = self.due()
        assert due is not None
        self.base = due if now - due <= timedelta(minutes=2) else now
        self.step += 1


class Life(RuleBasedStateMachine):
    url = ":memory:"

    @initialize()
    def begin(self) -> None:
        self.store = StateStore.open(self.url)
        self.empty()
        self.clock = ManualClock(T0)
        self.wires = {name: Wire(name, keyed, self.clock) for name, keyed in RECEIVERS.items()}
        self.couriers = [self.courier(0), self.courier(1)]
        self.born = 2
        self.firing: set[str] = set()
        self.books: dict[str, Book] = {}
        self.in_hand: set[str] = set()
        self.paused: list[tuple[Courier, Claim, datetime]] = []
        self.looked: dict[str, int] = defaultdict(int)

    def empty(self) -> None:
        with self.store.transaction() as tx:
            for table in reversed(METADATA.sorted_tables):
                tx.connection.execute(sa.delete(table))
        self.store.close()
        self.store = StateStore.open(self.url)

    def courier(self, number: int) -> Courier:
        channels: Mapping[str, Channel] = self.wires
        return Courier(
            self.store, channels, httpx.AsyncClient(), self.clock, rng=random.Random(number),
            fallbacks=("spare",), worker=f"worker-{number}",
        )  # fmt: skip

    # --- what happens in the world ---

    @rule(name=st.sampled_from(sorted(ALERTS)))
    def an_alert_begins_or_ends(self, name: str) -> None:
        self.firing ^= {name}
        service, severity = ALERTS[name]
        labels = {"source": "test", "monitor": name, "service": service, "signal": "errors",
                  "severity": severity}  # fmt: skip
        state = AlertState.FIRING if name in self.firing else AlertState.RESOLVED
        known = self.store.alerts().get(name)
        now = self.clock.now()
        since = known.since if known else now
        incident = known.incident_id if known else ""
        with self.store.transaction() as tx:
            tx.put_alert(
                Alert(name, labels, state, since, now, severity, reason="x", incident_id=incident)
            )
        self.decide()

    @rule(minutes=st.sampled_from([1, 2, 5, 16]))
    def time_passes(self, minutes: int) -> None:
        for _ in range(minutes):
            for _ in range(2):
                self.clock.advance(timedelta(seconds=30))
                self.deliver()
            self.decide()
            self.deliver()

    @rule(minutes=st.sampled_from([1, 10, 50]))
    def everything_stands_still(self, minutes: int) -> None:
        """A process that was stopped, a database that was locked, a machine that slept."""
        self.clock.advance(timedelta(minutes=minutes))

    @rule(
        name=st.sampled_from(sorted(RECEIVERS)),
        mode=st.sampled_from(MODES),
        minutes=st.sampled_from([1, 3, 16]),
    )
    def a_receiver_changes(self, name: str, mode: str, minutes: int) -> None:
        self.wires[name].mode = mode
        self.time_passes(minutes)

    @rule(mode=st.sampled_from(MODES), minutes=st.sampled_from([1, 3, 16]))
    def all_receivers_change(self, mode: str, minutes: int) -> None:
        for wire in self.wires.values():
            wire.mode = mode
        self.time_passes(minutes)

    @rule(name=st.sampled_from(sorted(RECEIVERS)), when=st.sampled_from(["before", "after"]))
    def the_next_send_kills_its_courier(self, name: str, when: str) -> None:
        self.wires[name].deadly = when
        self.time_passes(1)

    @rule(number=st.integers(0, 1))
    def a_courier_is_paused_after_its_claim(self, number: int) -> None:
        courier, now = self.couriers[number], self.clock.now()
        self.steps_are_taken()
        taken = courier._claimer.claim(now, PAGES, 4)
        self.paused += [(courier, claim, now) for claim in taken.claims]  # type: ignore[misc]

    @precondition(lambda self: self.paused)
    @rule()
    def a_paused_courier_goes_on(self) -> None:
        courier, claim, since = self.paused.pop(0)
        if self.clock.now() - since < LEASE:
            self.paused.append((courier, claim, since))
            return
        before = {name: len(wire.accepted) for name, wire in self.wires.items()}
        asyncio.run(courier._carry_out(claim, self.clock.now, DrainReport()))
        assert {name: len(wire.accepted) for name, wire in self.wires.items()} == before

    @precondition(lambda self: any(i.state.is_live for i in self.incidents()))
    @rule(data=st.data(), is_over=st.sampled_from([False, False, True]))
    def somebody_takes_it(self, data: st.DataObject, is_over: bool) -> None:
        live = sorted(i.id for i in self.incidents() if i.state.is_live)
        key, now = data.draw(st.sampled_from(live)), self.clock.now()
        ask = (lambda i: resolve(i, "ana", "", now)) if is_over else (
            lambda i: acknowledge(i, "ana", now)
        )  # fmt: skip
        answer = respond(self.store, RULES.policy, lambda: self.incident(key), ask, "ana", now)
        if not isinstance(answer, Refused):
            self.in_hand.add(key)
            self.books.pop(key, None)

    # --- the machinery ---

    def incidents(self) -> list[Incident]:
        return list(self.store.incidents(live_only=False).values())

    def incident(self, key: str) -> Incident:
        found = self.store.incident(key)
        assert found is not None
        return found

    def decide(self) -> None:
        decided = settle(RULES, None, self.store, self.clock.now())
        for change in decided.incident_changes:
            key = change.after.id
            if str(change.tell) == "trigger" or change.event == "reopened":
                self.in_hand.discard(key)
                if change.after.policy and change.after.state is IncidentState.TRIGGERED:
                    self.books[key] = Book(self.clock.now())
            if not change.after.state.is_live:
                self.books.pop(key, None)

    def deliver(self) -> None:
        for number in (0, 1):
            due = self.store.next_due()
            if due is None or due > self.clock.now():
                return
            self.steps_are_taken()
            try:
                asyncio.run(self.couriers[number].drain(self.clock.now()))
            except Killed:
                self.couriers[number] = self.courier(self.born)
                self.born += 1

    def steps_are_taken(self) -> None:
        """By whoever looks at what is due, in the same moment."""
        now = self.clock.now()
        for book in self.books.values():
            while (due := book.due()) is not None and due <= now:
                book.run(now)

    def accepted(self) -> Iterator[tuple[str, datetime, Message]]:
        for name, wire in self.wires.items():
            for at, message in wire.accepted:
                yield name, at, message

    # --- the oracle ---

    @invariant()
    def nothing_of_a_page_is_lost(self) -> None:
        for incident in self.incidents():
            if incident.state is not IncidentState.TRIGGERED or incident.tier != 1:
                continue
            pages = [e for e in self.store.effects(incident.id) if e.action == "trigger"]
            is_coming = any(e.state in (EffectState.READY, EffectState.LEASED) for e in pages)
            is_told = any(m.subject == incident.id for _, _, m in self.accepted())
            assert is_coming or is_told, f"{incident.id} calls and nobody will hear of it"

    @invariant()
    def nobody_is_paged_for_what_somebody_has_in_hand(self) -> None:
        for name, wire in self.wires.items():
            for _, message in wire.accepted[self.looked[name] :]:
                if message.action == "trigger" and name in ("pd", "spare"):
                    assert message.subject not in self.in_hand
            self.looked[name] = len(wire.accepted)

    @invariant()
    def twice_is_under_one_key_and_only_where_nobody_can_know(self) -> None:
        for name, wire in self.wires.items():
            counts = Counter(message.key for _, message in wire.accepted)
            for key, count in counts.items():
                assert count == 1 or key in wire.unclear, f"{name} took {key} {count} times"
                assert count == 1 or wire.is_idempotent, f"{name} could have been asked for {key}"

    @invariant()
    def steps_come_when_they_are_due(self) -> None:
        for key, book in self.books.items():
            incident = self.incident(key)
            if incident.state is IncidentState.TRIGGERED:
                assert incident.step == book.step, (incident.step, book)

    def teardown(self) -> None:
        """Everything gets well: what is still wanted is told, and then its end."""
        if not hasattr(self, "wires"):
            return
        for wire in self.wires.values():
            wire.mode, wire.deadly = "up", ""
        self.time_passes(16)
        for incident in self.incidents():
            if incident.state is IncidentState.TRIGGERED and incident.tier == 1:
                assert any(
                    message.subject == incident.id and name in ("pd", "spare")
                    for name, _, message in self.accepted()
                ), f"{incident.id} calls and the pager has not heard of it"
        for name in sorted(self.firing):
            self.an_alert_begins_or_ends(name)
        self.time_passes(41)
        self.everybody_who_heard_of_it_heard_its_end()
        assert self.store.verify_ledger() is None
        assert not self.store.list_effects(1000, EffectState.LEASED)
        self.store.close()

    def everybody_who_heard_of_it_heard_its_end(self) -> None:
        last: dict[tuple[str, str], str] = {}
        for name, _, message in self.accepted():
            last[message.subject, name] = message.action
        for (key, name), action in last.items():
            assert not self.incident(key).state.is_live
            theirs = [e for e in self.store.effects(key) if e.receiver == name]
            refused = any(e.state is EffectState.DEAD and e.action == "resolve" for e in theirs)
            assert action == "resolve" or refused, f"{name} believes that {key} goes on: {theirs}"


# The same lives each time, and a failure as it was found: making it smaller takes minutes.
PROFILE = settings(
    max_examples=25, stateful_step_count=30, deadline=None, phases=(Phase.generate,),
    derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


def test_a_random_life_on_sqlite() -> None:
    run_state_machine_as_test(Life, settings=PROFILE)


@pytest.mark.postgres
@pytest.mark.skipif(
    "TOCSIN_TEST_POSTGRES" not in os.environ, reason="TOCSIN_TEST_POSTGRES names no database"
)
def test_a_random_life_on_postgresql() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "store"))
    from state_build import postgres_schema

    with ExitStack() as stack:
        address = stack.enter_context(postgres_schema())
        life = type("LifeOnPostgres", (Life,), {"url": address})
        run_state_machine_as_test(life, settings=replace_examples(PROFILE, 6))


def replace_examples(profile: settings, count: int) -> settings:
    return settings(profile, max_examples=count)
