"""The whole of Tocsin on one page: read, judge, fold, route, commit.

    counts -> verdicts -> budgets, scores -> alerts -> incidents -> decisions -> one transaction

`decide` is a function of its arguments. The server calls `tick` every minute, the demo on a fast
clock, the backtest over a file; none of them has a word in it here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.alerts.causes import causes, is_parent
from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.freeze import freeze_events
from tocsin.alerts.grouping import Routed
from tocsin.alerts.holding import RuleChange, rule_changes
from tocsin.alerts.incidents import fold_incidents
from tocsin.alerts.inhibit import MARK as INHIBITED
from tocsin.alerts.lifecycle import AlertChange, AlertChanges, fold
from tocsin.assess.judge import judge
from tocsin.assess.window import Window
from tocsin.domain.clock import to_minute
from tocsin.domain.dependencies import DependencyStatus
from tocsin.domain.errors import Conflict
from tocsin.domain.findings import MISSING, Alert, AlertState, Incident, LedgerEvent, Verdict
from tocsin.domain.ports import State
from tocsin.engine.budgets import Budgets
from tocsin.engine.commit import commit
from tocsin.engine.deciding import concerned, route_all
from tocsin.engine.feed import Feed
from tocsin.engine.rules import Rules
from tocsin.engine.scoring import Scoring
from tocsin.engine.vanishing import waited_for
from tocsin.routing.outcome import Happening, Outcome, alert_event, depends_on_messages, outcome
from tocsin.routing.playbook import with_playbooks
from tocsin.routing.policy import RoutingPolicy

MessagesAbout = Callable[[str], Sequence[tuple[str, str]]]
Explain = Callable[[Alert, datetime], Alert]

ATTEMPTS = 5
# What evidence was gathered once, and what a verdict on an error budget is called in a message.
EXPLAINED = frozenset(
    {
        "changes",
        "breakdown",
        "component",
        "components",
        "dependencies",
        "slice",
        "slices",
        "provider_note",
        "runbook",
        "first_steps",
        "note",
        INHIBITED,
        MISSING,
    }
)
BUDGET_FACTS = {"budget_remaining": "budget_left", "burn_long": "burn"}
LEAD_FACTS = ("monitor", "value", "expected", "unit", "reason", "since")


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything one tick decided, before anything of it was written.

    alerts: those to be written, their incident assigned. rule_changes: the rules behind alerts,
    which begin and end at once. outcomes: one per incident change.
    """

    now: datetime
    verdicts: tuple[Verdict, ...]
    alerts: tuple[Alert, ...]
    alert_changes: tuple[AlertChange, ...]
    rule_changes: tuple[RuleChange, ...]
    incident_changes: tuple[IncidentChange, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.alerts or self.incident_changes)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What others told of their alerts, to be decided and written at once.

    alerts: as they are to be kept, by fingerprint. changed: every change of them, in order. begun:
    fingerprints of those that are explained as our own are. settle: says in the transaction that
    what told of them was read.
    """

    alerts: Mapping[str, Alert]
    changed: Sequence[Alert]
    events: Sequence[LedgerEvent] = ()
    begun: Collection[str] = ()
    settle: Callable[[Any], None] = lambda _: None

    def onto(self, alerts: Mapping[str, Alert]) -> Mapping[str, Alert]:
        """Every alert that is not resolved, after this."""
        known = {**alerts, **self.alerts}
        for key, alert in self.alerts.items():
            if alert.state is AlertState.RESOLVED:
                del known[key]
        return known


def tick(
    rules: Rules,
    window: Window,
    feed: Feed,
    budgets: Budgets,
    scoring: Scoring,
    state: State,
    now: datetime,
    *,
    lateness: timedelta = timedelta(0),
    explain: Explain = lambda alert, _: alert,
) -> Decided:
    """Judge the last complete minute before `now - lateness`, and commit what follows.

    explain: adds evidence to an alert that begins to fire, or to one that was told before all of
    it was there; it never changes a decision.
    Raises Conflict if people change the same incidents faster than five attempts.
    """
    minute = to_minute(now - lateness) - 1
    block = feed.up_to(minute + 1)
    if block is not None:
        window.advance(block)
    verdicts = budgets.told(judge(rules.monitors, window, minute), minute, state)
    verdicts = scoring.told(verdicts, window, minute, state)
    verdicts = waited_for(verdicts, rules.monitors, scoring, window, minute, state.alerts())
    decided = settle(rules, verdicts, state, now, explain)
    if block is not None:
        # Reading samples takes a while, and no page waits for it: the next minute judges them.
        window.looks.update(feed.looks(minute + 1))
    return decided


def follow(rules: Rules, window: Window, feed: Feed, minute: int) -> Sequence[Verdict]:
    """Judge epoch minute `minute` as `tick` does, and leave the deciding to another process."""
    block = feed.up_to(minute + 1)
    if block is not None:
        window.advance(block)
    verdicts = judge(rules.monitors, window, minute)
    if block is not None:
        window.looks.update(feed.looks(minute + 1))
    return verdicts


def settle(
    rules: Rules,
    verdicts: Sequence[Verdict] | None,
    state: State,
    now: datetime,
    explain: Explain = lambda alert, _: alert,
    arrival: Arrival | None = None,
) -> Decided:
    """Decide about `verdicts` and commit it; see `decide`.

    arrival: without verdicts, what others told; it is written in the same transaction, and what it
    cannot bear on is left alone. None looks at everything. Raises Conflict if people change the
    same incidents faster than five attempts.
    """
    for attempt in range(ATTEMPTS):
        incidents, alerts = state.incidents(live_only=False), state.alerts()
        if arrival is not None:
            alerts = arrival.onto(alerts)
            alerts, incidents = concerned(rules, arrival.changed, alerts, incidents, now)
        decided = decide(
            rules, verdicts, alerts, incidents, now, explain, state.messages_about,
            state.dependencies(), arrival.begun if arrival else (),
        )  # fmt: skip
        try:
            if arrival is not None:
                told = {**arrival.alerts, **{a.fingerprint: a for a in decided.alerts}}
                commit(state, tuple(told.values()), decided.incident_changes, decided.outcomes,
                       (*arrival.events, *alert_events(decided)), arrival.settle)  # fmt: skip
            elif not decided.is_empty:
                commit(state, decided.alerts, decided.incident_changes, decided.outcomes,
                       alert_events(decided))  # fmt: skip
            return decided
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def decide(
    rules: Rules,
    verdicts: Sequence[Verdict] | None,
    alerts: Mapping[str, Alert],
    incidents: Mapping[str, Incident],
    now: datetime,
    explain: Explain = lambda alert, _: alert,
    messages_about: MessagesAbout = lambda _: (),
    statuses: Sequence[DependencyStatus] = (),
    arrived: Collection[str] = (),
) -> Decided:
    """What is to be done about `verdicts`, given every unresolved alert and the latest incident of
    every group, closed ones included.

    verdicts: None when nothing was judged now; our own alerts stay as they are, and what others
    raised or ended is routed. statuses: what is known of dependencies; nothing is fine. arrived:
    fingerprints of alerts that others just raised, to be explained like our own.
    """
    folded = fold_all(rules, verdicts, alerts, statuses, now)
    begun = {
        change.alert.fingerprint: explain(change.alert, now)
        for change in folded.changes
        if change.is_transition and change.alert.state == "firing" and change.before != "stale"
    }
    firing = folded.firing
    begun |= {key: explain(firing[key], now) for key in arrived if key in firing}
    kept = {
        change.alert.fingerprint: _still_explained(change.alert, alerts)
        for change in folded.changes
        if change.alert.fingerprint not in begun
    }
    written = kept | begun | _explained_since(alerts, firing, kept, now, explain)
    firing = {**firing, **{k: a for k, a in written.items() if k in firing}}
    at = rules.no_earlier(now)
    routed = route_all(rules, firing, at)
    changed = fold_incidents(
        incidents, routed, at, rules.incidents, lambda name: rules.snapshot_of(name, at)
    )
    changes = tuple(_told_by_lead(change, rules.policy) for change in changed.changes)
    written |= {m.alert.fingerprint: m.alert for m in routed if m.alert.fingerprint in written}
    for alert in changed.assigned:
        known = written.get(alert.fingerprint)
        written[alert.fingerprint] = (
            alert if known is None else replace(known, incident_id=alert.incident_id)
        )
    return Decided(
        now=at,
        verdicts=tuple(verdicts or ()),
        alerts=tuple(written.values()),
        alert_changes=folded.transitions,
        rule_changes=() if verdicts is None else rule_changes(alerts, verdicts, rules.lifecycle),
        incident_changes=changes,
        outcomes=outcomes(rules, changes, routed, at, messages_about),
    )


def fold_all(
    rules: Rules,
    verdicts: Sequence[Verdict] | None,
    alerts: Mapping[str, Alert],
    statuses: Sequence[DependencyStatus],
    now: datetime,
) -> AlertChanges:
    """Alerts after `verdicts`, and after that which dependencies explain several of them."""
    parents = {key: alert for key, alert in alerts.items() if is_parent(alert)}
    others = {k: a for k, a in alerts.items() if k not in parents} if parents else alerts
    folded = AlertChanges((), others)
    if verdicts is not None:
        names = {monitor.name for monitor in rules.monitors.monitors}
        removed = {alert.labels.get("monitor", "") for alert in others.values()} - names
        folded = fold(others, verdicts, names, now, rules.lifecycle, removed)
    if rules.causes is None and not parents:
        return folded
    explaining = (
        causes(folded.firing, parents.values(), rules.used, statuses, now, rules.causes)
        if rules.causes is not None
        else []
    )
    held = {alert.labels["monitor"] for alert in parents.values()}
    judged = held | {verdict.monitor for verdict in explaining}
    return folded.beside(fold(parents, explaining, judged, now, rules.lifecycle))


def outcomes(
    rules: Rules,
    changes: Collection[IncidentChange],
    routed: Sequence[Routed],
    now: datetime,
    messages_about: MessagesAbout,
) -> tuple[Outcome, ...]:
    """What each change of an incident leads to."""
    by_alert = {member.alert.fingerprint: member for member in routed}
    return tuple(
        outcome(
            rules.policy,
            Happening(
                before=change.before,
                after=change.after,
                event=change.event,
                reason=change.reason,
                tell=str(change.tell),
                actor=change.actor,
                decisions=tuple(
                    (by_alert[key].alert, by_alert[key].decision)
                    for key in change.decided
                    if key in by_alert
                ),
                messages=(
                    messages_about(change.after.id)
                    if depends_on_messages(str(change.tell), change.event)
                    else ()
                ),
            ),
            now,
        )
        for change in changes
    )


def alert_events(decided: Decided) -> tuple[LedgerEvent, ...]:
    """The ledger lines of alerts that changed their state, and of deploys they hold or let go."""
    told = tuple(
        alert_event(change.alert, str(change.before or ""), change.reason, decided.now)
        for change in decided.alert_changes
    )
    return told + freeze_events(decided.alert_changes, decided.now)


def _still_explained(alert: Alert, before: Mapping[str, Alert]) -> Alert:
    """A verdict replaces an alert's numbers every minute, not what was found out when it began."""
    known = before.get(alert.fingerprint)
    found = {} if known is None else {n: v for n, v in known.evidence.items() if n in EXPLAINED}
    return replace(alert, evidence={**found, **alert.evidence}) if found else alert


def _explained_since(
    before: Mapping[str, Alert],
    firing: Mapping[str, Alert],
    kept: Mapping[str, Alert],
    now: datetime,
    explain: Explain,
) -> dict[str, Alert]:
    """Alerts that were told before all evidence was there, with what was found out since."""
    owed = [key for key, alert in before.items() if MISSING in alert.evidence and key in firing]
    known = (kept.get(key, firing[key]) for key in owed)
    found = ((alert, explain(alert, now)) for alert in known if alert.evidence.get(MISSING))
    return {told.fingerprint: told for alert, told in found if told is not alert}


def _told_by_lead(change: IncidentChange, policy: RoutingPolicy) -> IncidentChange:
    """The change with what its leading alert knows at the top of the incident's evidence, where
    messages and pages look for it, and the steps of its playbooks."""
    lead = change.after.evidence.get("lead") or {}
    told = {name: lead[name] for name in LEAD_FACTS if name in lead}
    facts = lead.get("evidence", {})
    budget = {new: facts[old] for old, new in BUDGET_FACTS.items() if old in facts}
    # What the alert says of itself goes before evidence that happens to be called the same.
    kept = {**change.after.evidence, **facts, **told, **budget}
    if policy.playbooks:
        kept |= with_playbooks(kept.get("memory", {}).get("run", ()), policy.playbooks, kept)
    return replace(change, after=replace(change.after, evidence=kept))
