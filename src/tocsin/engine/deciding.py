"""Every firing alert with its decision: classify, suppress, route, fold under its cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin.alerts.causes import fold_children, is_parent
from tocsin.alerts.grouping import Routed, grouped
from tocsin.alerts.inhibit import MARK as INHIBITED
from tocsin.alerts.inhibit import lingering
from tocsin.alerts.silence import Suppressions, suppressions
from tocsin.domain.clock import iso
from tocsin.domain.findings import Alert, AlertState, Incident
from tocsin.engine.rules import Rules


def route_all(rules: Rules, firing: Mapping[str, Alert], now: datetime) -> list[Routed]:
    """Every firing alert with its decision."""
    parents = [alert for alert in firing.values() if is_parent(alert)]
    if parents:
        firing = {key: alert for key, alert in firing.items() if not is_parent(alert)}
    look = rules.knowing.of
    known = {key: look(alert, now) for key, alert in firing.items()}
    quiet = Suppressions()
    if rules.silences or rules.inhibitions:
        seen: dict[str, Mapping[str, str | float]] = {
            key: {**one.found.labels, **one.found.facts, "for": _lasts(one.alert, now)}
            for key, one in known.items()
            if rules.silences or one.inhibits
        }
        quiet = suppressions(seen, rules.silences, rules.inhibitions, now)
    routed = []
    for key, alert in firing.items():
        muted, note = quiet.muted.get(key, ""), quiet.notes.get(key, "")
        noted = _noted(alert, muted, note, now) if muted or note else alert
        by = muted or (lingering(noted.evidence, now) if INHIBITED in noted.evidence else "")
        routed.append(rules.knowing.route(known[key], noted, by))
    if rules.causes is None or not parents:
        return routed

    def first_step(policy: str) -> Sequence[str]:
        taken = rules.snapshot_of(policy, now)
        return taken["steps"][0]["receivers"] if taken else ()

    return fold_children(parents, routed, rules.used, now, rules.causes, first_step)


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
    near = {k: a for k in names if (a := alerts.get(k)) is not None}
    firing = {k: a for k, a in near.items() if a.state is not AlertState.PENDING}
    group_by = rules.incidents.group_by
    keys = set(grouped(route_all(rules, firing, now), group_by))
    keys |= {_group_of(alert) for alert in about if alert.incident_id}
    found = {key: incidents[key] for key in keys if key in incidents}
    for incident in found.values():
        near |= {k: a for k in incident.alerts if (a := alerts.get(k)) is not None}
    if any(_bears_on_others(rules, alert, now) for alert in (*about, *near.values())):
        return alerts, incidents
    moves = "for" in rules.alike.numbers  # a rule may give an alert another group in time
    if moves and not keys.issuperset(grouped(route_all(rules, near, now), group_by)):
        return alerts, incidents
    return near, found


# --- private -----------------------------------------------------------------------------------


def _lasts(alert: Alert, now: datetime) -> float:
    return max((now - alert.since).total_seconds(), 0.0)


def _bears_on_others(rules: Rules, alert: Alert, now: datetime) -> bool:
    """Whether an alert may explain alerts of other groups, or be explained by them."""
    if is_parent(alert) or rules.used.by.get(alert.labels.get("service", "")):
        return True
    return bool(rules.inhibitions) and rules.knowing.of(alert, now).inhibits


def _group_of(alert: Alert) -> str:
    """The group of the incident it was last part of."""
    return alert.incident_id.rpartition("-")[0]


def _noted(alert: Alert, muted: str, note: str, now: datetime) -> Alert:
    """The alert with what routing found out about it: its probable cause, or what inhibits it."""
    found: dict[str, object] = {"note": note} if note else {}
    if muted.startswith("inhibition:"):
        found[INHIBITED] = {"by": muted, "at": iso(now)}
    return replace(alert, evidence={**alert.evidence, **found}) if found else alert
