"""What a tick decided, as one flat record per decision: for `backtest`, `plan` and comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.holding import RuleChange, has_rules
from tocsin.alerts.lifecycle import AlertChange
from tocsin.domain.clock import iso, parse_iso
from tocsin.engine.tick import Decided

_KINDS = {1: "page", 2: "notify", 3: "digest"}


@dataclass(frozen=True, slots=True)
class AlertLine:
    """An alert began to fire or was resolved. object: the monitor.

    Of a monitor with rules, such as an objective: a rule of that severity began or ceased to hold.
    """

    at: str
    object: str
    service: str
    severity: str
    state: str
    reason: str
    kind: str = "alert"

    def record(self) -> dict[str, Any]:
        """As JSON, with `at` and `kind` in front."""
        return {"at": self.at, "kind": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """Somebody is told something, or is not and why.

    kind: page | notify | digest (by tier, when something new is told), update, acknowledge,
    resolve, quiet (recorded, nobody is told) or suppressed. receivers: who is told at once.
    """

    at: str
    kind: str
    object: str
    service: str
    tier: int
    receivers: tuple[str, ...]
    event: str
    state: str
    route: str
    reason: str
    suppressed_by: str
    alerts: tuple[str, ...]

    @property
    def when(self) -> datetime:
        """`at` as an instant."""
        return parse_iso(self.at)

    def record(self) -> dict[str, Any]:
        """As JSON, with `at` and `kind` in front."""
        return {"at": self.at, "kind": self.kind, **asdict(self)}


Line = AlertLine | DecisionLine


def lines(decided: Decided) -> Iterator[Line]:
    """Every alert and rule that began or ended, then every decision about an incident, in order."""
    at = iso(decided.now)
    for rule_change in decided.rule_changes:
        yield _rule_line(at, rule_change)
    for alert_change in decided.alert_changes:
        if not has_rules(alert_change.alert):
            yield from _alert_line(at, alert_change)
    for change, result in zip(decided.incident_changes, decided.outcomes, strict=True):
        receivers = [e.receiver for e in result.effects if e.kind == "notify"]
        digests = [e.receiver for e in result.effects if e.kind == "digest"]
        kind = _kind(change, told=bool(receivers), digested=bool(digests))
        yield DecisionLine(
            at=at,
            kind=kind,
            object=change.after.title,
            service=change.after.labels.get("service", ""),
            tier=change.after.tier,
            receivers=tuple(dict.fromkeys([*receivers, *digests])),
            event=change.event,
            state=change.after.state.value,
            route=change.after.route,
            reason=change.reason,
            suppressed_by=change.after.suppressed_by,
            alerts=change.after.alerts,
        )


def _alert_line(at: str, change: AlertChange) -> Iterator[AlertLine]:
    alert = change.alert
    was_firing = change.before is not None and change.before.value in ("firing", "stale")
    begins = alert.state.value == "firing" and not was_firing
    ends = alert.state.value == "resolved" and was_firing
    if begins or ends:
        yield AlertLine(
            at=at,
            object=alert.labels.get("monitor", ""),
            service=alert.labels.get("service", ""),
            severity=alert.severity,
            state="firing" if begins else "resolved",
            reason=change.reason,
        )


def _rule_line(at: str, change: RuleChange) -> AlertLine:
    return AlertLine(
        at=at,
        object=change.labels.get("monitor", ""),
        service=change.labels.get("service", ""),
        severity=change.severity,
        state="firing" if change.holds else "resolved",
        reason=change.reason,
    )


def _kind(change: IncidentChange, *, told: bool, digested: bool) -> str:
    tell = str(change.tell)
    if change.after.suppressed_by:
        return "suppressed"
    if tell in ("trigger", "join") and (told or digested):
        return _KINDS.get(change.after.tier, "notify") if told else "digest"
    if tell in ("update", "acknowledge", "resolve") and told:
        return tell
    return "quiet"
