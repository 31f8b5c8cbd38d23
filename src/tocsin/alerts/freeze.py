"""Deploy freezes: what an error-budget policy holds back while one of its alerts lasts.

A freeze is nothing beside the alert that imposes it: it begins and ends with it, in the same
transaction, and a stale alert still holds, because not knowing is not being well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tocsin.alerts.lifecycle import AlertChange
from tocsin.domain.findings import Alert, AlertState, LedgerEvent

# Labels of an alert that holds deploys back: how, and kinds of change that may go ahead.
GATE, EXCEPT = "gate", "gate_except"
Hold = Literal["block", "approval"]
_HOLDING = (AlertState.FIRING, AlertState.STALE)


@dataclass(frozen=True, slots=True)
class Freeze:
    """Deploys of a service are held back.

    hold: block, or approval by a person. exempt: kinds of change that go ahead. policy, slo: who
    says so, about which objective. stale: nothing has been known about it lately.
    """

    service: str
    hold: Hold
    exempt: tuple[str, ...]
    policy: str
    slo: str
    since: datetime
    reason: str
    stale: bool
    incident_id: str
    fingerprint: str


def freezes(alerts: Iterable[Alert]) -> tuple[Freeze, ...]:
    """Every freeze that is on, by service, blocks first."""
    found = [_freeze(alert) for alert in alerts if GATE in alert.labels and alert.state in _HOLDING]
    return tuple(sorted(found, key=lambda f: (f.service, f.hold != "block", f.since, f.slo)))


def freeze_events(changes: Iterable[AlertChange], now: datetime) -> tuple[LedgerEvent, ...]:
    """The ledger lines of freezes that begin or end with `changes`."""
    events = []
    for change in changes:
        before, after = change.before in _HOLDING, change.alert.state in _HOLDING
        if GATE not in change.alert.labels or before == after:
            continue
        freeze = _freeze(change.alert)
        events.append(
            LedgerEvent(
                at=now,
                kind="deploys.frozen" if after else "deploys.released",
                actor="engine",
                subject=freeze.service,
                reason=change.reason,
                data={
                    "hold": freeze.hold,
                    "except": list(freeze.exempt),
                    "policy": freeze.policy,
                    "slo": freeze.slo,
                    "alert": freeze.fingerprint,
                },
            )
        )
    return tuple(events)


def _freeze(alert: Alert) -> Freeze:
    labels = alert.labels
    return Freeze(
        service=labels.get("service", ""),
        hold="approval" if labels[GATE] == "approval" else "block",
        exempt=tuple(name for name in labels.get(EXCEPT, "").split(",") if name),
        policy=labels.get("budget_policy", ""),
        slo=labels.get("slo", ""),
        since=alert.since,
        reason=alert.reason,
        stale=alert.state is AlertState.STALE,
        incident_id=alert.incident_id,
        fingerprint=alert.fingerprint,
    )
