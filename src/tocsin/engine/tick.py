"""The whole of Tocsin on one page: read, judge, fold, route, commit.

    counts -> verdicts -> page budgets -> alerts -> incidents -> decisions -> one transaction

`decide` is a function of its arguments. The server calls `tick` every minute, the demo on a fast
clock, the backtest over a file; none of them has a word in it here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.alerts.causes import causes, fold_children, is_parent
from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.freeze import freeze_events
from tocsin.alerts.grouping import Routed, grouped
from tocsin.alerts.holding import RuleChange, rule_changes
from tocsin.alerts.incidents import fold_incidents
from tocsin.alerts.inhibit import MARK as INHIBITED
from tocsin.alerts.inhibit import concerns, lingering
from tocsin.alerts.lifecycle import AlertChange, AlertChanges, fold
from tocsin.alerts.silence import Suppressions, suppressions
from tocsin.assess.judge import judge
from tocsin.assess.window import Window
from tocsin.domain.clock import iso, to_minute
from tocsin.domain.dependencies import DependencyStatus
from tocsin.domain.errors import Conflict
from tocsin.domain.findings import Alert, Incident, LedgerEvent, Verdict
from tocsin.domain.ports import State
from tocsin.engine.budgets import Budgets
from tocsin.engine.commit import commit
from tocsin.engine.feed import Feed
from tocsin.engine.rules import Rules
from tocsin.routing.classify import facts_of
from tocsin.routing.outcome import Happening, Outcome, alert_event, outcome

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


def tick(
    rules: Rules,
    window: Window,
    feed: Feed,
    budgets: Budgets,
    state: State,
    now: datetime,
    *,
    lateness: timedelta = timedelta(0),
    explain: Explain = lambda alert, _: alert,
) -> Decided:
    """Judge the last complete minute before `now - lateness`, and commit what follows.

    explain: adds evidence to an alert that begins to fire; it never changes a decision.
    Raises Conflict if people change the same incidents faster than five attempts.
    """
    minute = to_minute(now - lateness) - 1
    block = feed.up_to(minute + 1)
    if block is not None:
        window.advance(block)
    verdicts = budgets.told(judge(rules.monitors, window, minute), minute, state)
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
    arrived: Collection[str] = (),
    about: Sequence[Alert] | None = None,
) -> Decided:
    """Decide about `verdicts` and commit it; see `decide`.

    about: without verdicts, the alerts that changed; what they cannot bear on is left alone. None
    looks at everything. Raises Conflict if people change the same incidents faster than five
    attempts.
    """
    for attempt in range(ATTEMPTS):
        incidents, alerts = state.incidents(live_only=False), state.alerts()
        if about is not None:
            alerts, incidents = concerned(rules, about, alerts, incidents, now)
        decided = decide(
            rules, verdicts, alerts, incidents, now, explain, state.messages_about,
            state.dependencies(), arrived,
        )  # fmt: skip
        try:
            if not decided.is_empty:
                commit(state, decided.alerts, decided.incident_changes, decided.outcomes,
                       alert_events(decided))  # fmt: skip
            return decided
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def concerned(
    rules: Rules,
    about: Sequence[Alert],
    alerts: Mapping[str, Alert],
    incidents: Mapping[str, Incident],
    now: datetime,
) -> tuple[Mapping[str, Alert], Mapping[str, Incident]]:
    """The alerts and incidents that those which changed may bear on: their groups, whole.

    Everything, where an alert may bear on others than its own group: by inhibition, or as one of
    several with one cause.
    """
    names = {alert.fingerprint for alert in about}
    firing = {k: a for k in names if (a := alerts.get(k)) is not None and a.state != "pending"}
    group_by = rules.incidents.group_by
    keys = set(grouped(route_all(rules, firing, now), group_by))
    keys |= {_group_of(alert) for alert in about if alert.incident_id}
    near = {k: alert for k, alert in alerts.items() if k in names or _group_of(alert) in keys}
    if any(_bears_on_others(rules, alert, now) for alert in (*about, *near.values())):
        return alerts, incidents
    moves = "for" in rules.alike.numbers  # a rule may give an alert another group in time
    if moves and not keys.issuperset(grouped(route_all(rules, near, now), group_by)):
        return alerts, incidents
    return near, {key: incident for key, incident in incidents.items() if key in keys}


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
    begun |= {key: explain(folded.firing[key], now) for key in arrived if key in folded.firing}
    kept = {
        change.alert.fingerprint: _still_explained(change.alert, alerts)
        for change in folded.changes
        if change.alert.fingerprint not in begun
    }
    firing = {key: begun.get(key) or kept.get(key, alert) for key, alert in folded.firing.items()}
    routed = route_all(rules, firing, now)
    changed = fold_incidents(
        incidents, routed, now, rules.incidents, lambda name: rules.snapshot_of(name, now)
    )
    changes = tuple(_told_by_lead(change) for change in changed.changes)
    written = kept | begun
    written |= {m.alert.fingerprint: m.alert for m in routed if m.alert.fingerprint in written}
    written |= {
        alert.fingerprint: replace(
            written.get(alert.fingerprint, alert), incident_id=alert.incident_id
        )
        for alert in changed.assigned
    }
    return Decided(
        now=now,
        verdicts=tuple(verdicts or ()),
        alerts=tuple(written.values()),
        alert_changes=folded.transitions,
        rule_changes=() if verdicts is None else rule_changes(alerts, verdicts, rules.lifecycle),
        incident_changes=changes,
        outcomes=outcomes(rules, changes, routed, now, messages_about),
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
    others = {key: alert for key, alert in alerts.items() if key not in parents}
    names = {monitor.name for monitor in rules.monitors.monitors}
    removed = {alert.labels.get("monitor", "") for alert in others.values()} - names
    folded = (
        AlertChanges((), others)
        if verdicts is None
        else fold(others, verdicts, names, now, rules.lifecycle, removed)
    )
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


def route_all(rules: Rules, firing: Mapping[str, Alert], now: datetime) -> list[Routed]:
    """Every firing alert with its decision: classify, suppress, route, fold under its cause."""
    parents = [alert for alert in firing.values() if is_parent(alert)]
    firing = {key: alert for key, alert in firing.items() if not is_parent(alert)}
    classified = {}
    for key, alert in firing.items():
        facts = facts_of(alert, (now - alert.since).total_seconds())
        classified[key] = rules.alike.classify(alert.labels, facts)
    quiet = Suppressions()
    if rules.silences or rules.inhibitions:
        seen: dict[str, Mapping[str, str | float]] = {
            key: {**found.labels, **found.facts} for key, (_, found) in classified.items()
        }
        quiet = suppressions(seen, rules.silences, rules.inhibitions, now)
    routed = []
    for key, alert in firing.items():
        muted = quiet.muted.get(key, "")
        noted = _noted(alert, muted, quiet.notes.get(key, ""), now)
        by = muted or lingering(noted.evidence, now)
        routed.append(Routed(noted, rules.alike.route(*classified[key], by)))
    if rules.causes is None or not parents:
        return routed

    def first_step(policy: str) -> Sequence[str]:
        taken = rules.snapshot_of(policy, now)
        return taken["steps"][0]["receivers"] if taken else ()

    return fold_children(parents, routed, rules.used, now, rules.causes, first_step)


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
                messages=messages_about(change.after.id),
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


def _bears_on_others(rules: Rules, alert: Alert, now: datetime) -> bool:
    """Whether an alert may explain alerts of other groups, or be explained by them."""
    if is_parent(alert) or rules.used.by.get(alert.labels.get("service", "")):
        return True
    if not rules.inhibitions:
        return False
    facts = facts_of(alert, (now - alert.since).total_seconds())
    found = rules.alike.classify(alert.labels, facts)[1]
    values: Mapping[str, str | float] = {**found.labels, **found.facts}
    return any(concerns(rule, values) for rule in rules.inhibitions)


def _group_of(alert: Alert) -> str:
    """The group of the incident it was last part of."""
    return alert.incident_id.rpartition("-")[0]


def _still_explained(alert: Alert, before: Mapping[str, Alert]) -> Alert:
    """A verdict replaces an alert's numbers every minute, not what was found out when it began."""
    known = before.get(alert.fingerprint)
    found = {} if known is None else {n: v for n, v in known.evidence.items() if n in EXPLAINED}
    return replace(alert, evidence={**found, **alert.evidence}) if found else alert


def _told_by_lead(change: IncidentChange) -> IncidentChange:
    """The change with what its leading alert knows at the top of the incident's evidence, where
    messages and pages look for it."""
    lead = change.after.evidence.get("lead") or {}
    told = {name: lead[name] for name in LEAD_FACTS if name in lead}
    facts = lead.get("evidence", {})
    budget = {new: facts[old] for old, new in BUDGET_FACTS.items() if old in facts}
    # What the alert says of itself goes before evidence that happens to be called the same.
    kept = {**change.after.evidence, **facts, **told, **budget}
    return replace(change, after=replace(change.after, evidence=kept))


def _noted(alert: Alert, muted: str, note: str, now: datetime) -> Alert:
    """The alert with what routing found out about it: its probable cause, or what inhibits it."""
    found: dict[str, object] = {"note": note} if note else {}
    if muted.startswith("inhibition:"):
        found[INHIBITED] = {"by": muted, "at": iso(now)}
    return replace(alert, evidence={**alert.evidence, **found}) if found else alert
