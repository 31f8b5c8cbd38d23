"""A random life on a virtual clock: alerts, silences, people, outages, and a tiny oracle.

The machine drives the real folds, router and outcomes with an outbox of twenty lines in place of
the state store, and looks only at what receivers get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import hypothesis.strategies as st
from alerts_build import START
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tocsin.alerts.changes import IncidentChange, IncidentConfig
from tocsin.alerts.grouping import Routed
from tocsin.alerts.incidents import fold_incidents
from tocsin.alerts.lifecycle import LifecycleConfig, fold
from tocsin.alerts.memory import Memory
from tocsin.alerts.responder import acknowledge, resolve
from tocsin.delivery.effects import guard_failure
from tocsin.domain.findings import (
    Alert,
    Decision,
    Incident,
    IncidentState,
    Judgement,
    LedgerEvent,
    NewEffect,
    Verdict,
)
from tocsin.routing.classify import facts_of
from tocsin.routing.escalation import next_step, snapshots
from tocsin.routing.outcome import Happening, outcome
from tocsin.routing.policy import (
    ClassifyRule,
    Defaults,
    EscalationPolicy,
    EscalationStep,
    Fallback,
    Route,
    RoutingPolicy,
)
from tocsin.routing.tree import compile_policy, decide

POLICY = RoutingPolicy(
    defaults=Defaults(unmatched=Fallback(2, ("mail",)), on_rule_error=Fallback(1, ("mail",))),
    classify=(
        ClassifyRule({"value": ">=5"}, {"tier": 1}),
        ClassifyRule({"value": "<5"}, {"tier": 2}),
        ClassifyRule({"monitor": "m4"}, {"team": "legal"}),
    ),
    routes=(
        Route("audit", when={"signal": "slo"}, also=("log",)),
        Route("theirs", when={"team": "legal", "tier": 1}, receivers=("pd2",)),
        Route("review", when={"team": "legal"}, policy="review", auto_resolve=False),
        Route("page", when={"tier": 1}, policy="page"),
        Route("tell", receivers=("slack",)),
    ),
    receivers={
        "pd": "pagerduty",
        "pd2": "pagerduty",
        "slack": "slack",
        "mail": "email",
        "log": "webhook",
        "ticket": "jira",
    },
    policies={
        "review": EscalationPolicy("review", (EscalationStep(notify=("ticket",)),)),
        "page": EscalationPolicy(
            "page",
            (
                EscalationStep(notify=("pd",)),
                EscalationStep(after=timedelta(minutes=15), notify=("pd", "mail")),
                EscalationStep(after=timedelta(minutes=30), repeat=1),
            ),
            ack_expires=timedelta(minutes=40),
        ),
    },
)
ROUTER = compile_policy(POLICY)
# The last one is another team's, with whom the first two share incidents.
MONITORS = {"m1": "errors", "m2": "errors", "m3": "slo", "m4": "errors"}
CONFIG = IncidentConfig()


@dataclass
class Sent:
    at: datetime
    key: str
    incident: str
    receiver: str
    action: str


class Life(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = START
        self.alerts: dict[str, Alert] = {}
        self.incidents: dict[str, Incident] = {}
        self.episodes: dict[str, Incident] = {}
        self.values: dict[str, float | None] = dict.fromkeys(MONITORS, 0.0)
        self.silenced: set[str] = set()
        self.outbox: dict[str, NewEffect] = {}
        self.open: list[str] = []
        self.sent: list[Sent] = []
        self.ledger: list[LedgerEvent] = []
        self.hands_off: set[str] = set()  # incidents somebody acknowledged; the oracle's own book
        self.is_down = False
        # (incident, receiver) -> since when an alert that may be told calls them, still or again
        self.called: dict[tuple[str, str], datetime] = {}
        self.known: dict[tuple[str, str], datetime] = {}  # when it called them first, or would
        self.taken: dict[str, datetime] = {}

    # --- what happens in the world ---

    @rule(monitor=st.sampled_from(sorted(MONITORS)), value=st.sampled_from([0.0, 2.0, 8.0, None]))
    def a_value_changes(self, monitor: str, value: float | None) -> None:
        self.values[monitor] = value

    @rule(monitor=st.sampled_from(sorted(MONITORS)))
    def a_silence_begins_or_ends(self, monitor: str) -> None:
        self.silenced ^= {monitor}

    @rule(minutes=st.sampled_from([1, 1, 1, 2, 5, 6, 20, 45]))
    def time_passes(self, minutes: int) -> None:
        for _ in range(minutes):
            self.now += timedelta(seconds=30)
            self.deliver()
            self.now += timedelta(seconds=30)
            self.deliver()
            self.tick()
            self.deliver()

    @rule()
    def delivery_fails_or_comes_back(self) -> None:
        self.is_down = not self.is_down
        self.deliver()

    @precondition(lambda self: any(i.state.is_live for i in self.incidents.values()))
    @rule(data=st.data(), is_resolving=st.booleans())
    def somebody_takes_it(self, data: st.DataObject, is_resolving: bool) -> None:
        live = sorted(key for key, i in self.incidents.items() if i.state.is_live)
        incident = self.incidents[data.draw(st.sampled_from(live))]
        answer = (
            resolve(incident, "ana", "enough", self.now)
            if is_resolving
            else acknowledge(incident, "ana", self.now)
        )
        if isinstance(answer, IncidentChange):
            self.commit([answer], {})
            self.hands_off.add(incident.id)
            self.taken[incident.id] = self.now
        self.deliver()

    # --- the engine, small ---

    def tick(self) -> None:
        verdicts = [self.verdict(name, value) for name, value in self.values.items()]
        folded = fold(self.alerts, verdicts, MONITORS, self.now, LifecycleConfig())
        self.alerts = dict(folded.current)
        routed = [self.route(alert) for alert in folded.firing.values()]
        fallback = POLICY.defaults.unmatched.receivers
        changes = fold_incidents(
            self.incidents,
            routed,
            self.now,
            CONFIG,
            snapshots(POLICY.policies, POLICY.oncall, self.now, fallback),
        )
        self.commit(changes.changes, {member.alert.fingerprint: member for member in routed})
        for alert in changes.assigned:
            self.alerts[alert.fingerprint] = alert
        self.note_calls(routed)

    def note_calls(self, routed: Sequence[Routed]) -> None:
        calls = set()
        for member in routed:
            decision = member.decision
            names = set(decision.receivers)
            if decision.policy:
                names |= set(POLICY.policies[decision.policy].steps[0].notify)
            incident = self.alerts[member.alert.fingerprint].incident_id
            for call in ((incident, name) for name in names):
                self.known.setdefault(call, self.now)
                if not decision.suppressed_by:
                    calls.add(call)
        self.called = {call: self.called.get(call, self.now) for call in calls}

    def verdict(self, monitor: str, value: float | None) -> Verdict:
        judgement = (
            Judgement.UNKNOWN if value is None else Judgement.BREACH if value else Judgement.OK
        )
        minute = int(self.now.timestamp()) // 60
        return Verdict(
            monitor, "bot", MONITORS[monitor], judgement, minute, value=value, reason="test"
        )

    def route(self, alert: Alert) -> Routed:
        seconds = (self.now - alert.since).total_seconds()
        by = "silence:s" if alert.labels["monitor"] in self.silenced else ""
        return Routed(alert, decide(ROUTER, alert.labels, facts_of(alert, seconds), by))

    def commit(self, changes: Sequence[IncidentChange], routed: dict[str, Routed]) -> None:
        for change in changes:
            decisions: tuple[tuple[Alert, Decision], ...] = tuple(
                (routed[key].alert, routed[key].decision) for key in change.decided
            )
            known = self.incidents.get(change.after.group_key)
            if change.expect_version is not None:
                assert known is not None
                assert known.version == change.expect_version
            self.keep(change.after)
            what = Happening(
                change.before, change.after, change.event, change.reason, change.tell,
                change.actor, decisions, self.messages(change.after.id),
            )  # fmt: skip
            found = outcome(POLICY, what, self.now)
            for cancelled in found.cancellations:
                self.open = [
                    key
                    for key in self.open
                    if self.outbox[key].incident_id != cancelled.incident_id
                    or self.outbox[key].kind not in cancelled.kinds
                ]
            for effect in found.effects:
                assert effect.key not in self.outbox, "an effect's key is never used for another"
                self.add(effect)
            self.ledger.extend(found.events)
            if change.event in ("opened", "reopened", "raised", "ack_expired", "unsuppressed"):
                self.hands_off.discard(change.after.id)

    def keep(self, incident: Incident) -> None:
        self.incidents[incident.group_key] = incident
        self.episodes[incident.id] = incident

    def messages(self, incident_id: str) -> list[tuple[str, str]]:
        return [(s.receiver, s.action) for s in self.sent if s.incident == incident_id]

    def add(self, effect: NewEffect) -> None:
        self.outbox[effect.key] = effect
        self.open.append(effect.key)

    def deliver(self) -> None:
        if self.is_down:
            return
        progressed = True
        while progressed:
            due = [key for key in self.open if self.outbox[key].due <= self.now]
            progressed = bool(due)
            for key in due:
                self.open.remove(key)
                self.carry_out(self.outbox[key])

    def carry_out(self, effect: NewEffect) -> None:
        incident = self.episodes[effect.incident_id]
        guard = effect.guard
        assert guard["episode"] == incident.episode
        if guard_failure(guard, incident):
            return
        if effect.kind == "escalate":
            self.escalate(incident, effect)
            return
        is_known = any(
            s.incident == effect.incident_id and s.receiver == effect.receiver for s in self.sent
        )
        if effect.action == "trigger" or is_known:
            self.sent.append(
                Sent(self.now, effect.key, incident.id, effect.receiver, effect.action)
            )

    def escalate(self, incident: Incident, effect: NewEffect) -> None:
        assert incident.policy is not None
        coming = next_step(incident.policy, incident.step)
        if coming is None:
            return
        version = incident.version + 1
        moved = replace(incident, step=incident.step + 1, version=version)
        self.keep(moved)
        for receiver in coming.receivers:
            self.add(
                NewEffect(
                    f"{incident.id}:{coming.number}:{receiver}:trigger:v{version}", "notify",
                    receiver, incident.id, "trigger", self.now, 1, {},
                    {"state": "triggered", "episode": incident.episode},
                )
            )  # fmt: skip
        later = next_step(incident.policy, moved.step)
        if later is not None:
            self.add(
                NewEffect(
                    f"{incident.id}:{moved.step}:escalate:v{version}", "escalate", "", incident.id,
                    "trigger", self.now + timedelta(seconds=later.delay_s), 1, {},
                    {"state": "triggered", "episode": incident.episode, "step": moved.step},
                )
            )  # fmt: skip

    # --- the oracle ---

    @invariant()
    def no_message_is_sent_twice(self) -> None:
        keys = [sent.key for sent in self.sent]
        assert len(keys) == len(set(keys))

    @invariant()
    def nobody_hears_the_end_of_something_they_did_not_hear_of(self) -> None:
        heard: set[tuple[str, str]] = set()
        for sent in self.sent:
            if sent.action == "trigger":
                heard.add((sent.incident, sent.receiver))
            else:
                assert (sent.incident, sent.receiver) in heard

    @invariant()
    def nobody_is_paged_for_what_somebody_has_in_hand(self) -> None:
        pages = [s for s in self.sent if s.receiver == "pd" and s.action == "trigger"]
        self.pages_seen = getattr(self, "pages_seen", 0)
        for sent in pages[self.pages_seen :]:
            assert sent.incident not in self.hands_off
        self.pages_seen = len(pages)

    @invariant()
    def a_live_unsuppressed_page_has_reached_the_pager(self) -> None:
        if self.is_down:
            return
        for incident in self.incidents.values():
            if incident.state is IncidentState.TRIGGERED and incident.tier == 1:
                if incident.suppressed_by:
                    continue
                since = Memory.of(incident).triggered_at
                assert since is not None
                assert any(
                    s.incident == incident.id and s.receiver in ("pd", "pd2") and s.at >= since
                    for s in self.sent
                )

    @invariant()
    def everybody_whom_an_alert_calls_has_heard_of_it(self) -> None:
        """A pager not of what was there when somebody took it; everybody else always."""
        if self.is_down:
            return
        for (key, name), since in self.called.items():
            incident = self.episodes[key]
            is_open = incident.state in (IncidentState.TRIGGERED, IncidentState.ACKNOWLEDGED)
            begun = max(since, Memory.of(incident).triggered_at or since)
            if incident.suppressed_by or not is_open or self.now - begun < timedelta(minutes=2):
                continue
            if POLICY.is_pager(name) and self.known[key, name] <= self.taken.get(key, START):
                continue
            heard = [s for s in self.sent if s.incident == key and s.receiver == name]
            assert any(s.action == "trigger" for s in heard), (incident, name)

    @invariant()
    def every_firing_alert_has_its_line_in_the_ledger(self) -> None:
        subjects = {event.subject for event in self.ledger}
        for key, alert in self.alerts.items():
            if alert.incident_id:
                assert key in subjects
        for event in self.ledger:
            assert event.reason

    def teardown(self) -> None:
        """Everything gets well: whoever heard of an incident hears that it is over."""
        if not hasattr(self, "now"):
            return
        self.is_down = False
        self.deliver()
        self.values = dict.fromkeys(MONITORS, 0.0)
        self.time_passes(80)
        assert not self.alerts
        for key, incident in list(self.incidents.items()):
            if incident.state is IncidentState.RECOVERED:
                done = resolve(incident, "ana", "checked", self.now)
                assert isinstance(done, IncidentChange)
                self.commit([done], {})
            else:
                assert incident.state is IncidentState.CLOSED, key
        self.time_passes(40)
        for incident in self.incidents.values():
            assert incident.state is IncidentState.CLOSED
        last: dict[tuple[str, str], str] = {}
        for sent in self.sent:
            last[(sent.incident, sent.receiver)] = sent.action
        assert set(last.values()) <= {"resolve"}


LifeTest = Life.TestCase
LifeTest.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
