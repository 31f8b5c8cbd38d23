"""What a person does to an incident: acknowledge it, resolve it, say what it was.

Each is one transaction: compare-and-set on the incident, a ledger entry with who and why, and the
effects that follow. Everybody who was told is told again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.domain.errors import StoreError
from tocsin.domain.findings import Incident, IncidentState, LedgerEvent, NewEffect
from tocsin.store import tables
from tocsin.store.ledger import clean
from tocsin.store.rows import to_us
from tocsin.store.transaction import Transaction

VERDICTS = ("real", "false", "duplicate", "noise")

# What an acknowledgement can still change. Mitigating and recovered incidents have somebody.
_UNANSWERED = (IncidentState.OPEN, IncidentState.TRIGGERED)


def acknowledge(tx: Transaction, incident_id: str, actor: str, now: datetime) -> Incident:
    """Stop the escalation because `actor` has it; runs on after `ack_expires_s` of the policy.

    An incident that is acknowledged already, or over, stays as it is: the attempt is written to
    the ledger and the incident returned. Raises StoreError for an unknown incident.
    """
    incident = _existing(tx, incident_id)
    if incident.state not in _UNANSWERED:
        _log(tx, incident, "incident.ack_ignored", actor, now, f"already {incident.state.value}")
        return incident
    until = _ack_until(incident, now)
    after = replace(
        incident,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_by=actor,
        acknowledged_until=until,
        updated=now,
    )
    tx.put_incident(after, expect_version=incident.version)
    after = replace(after, version=incident.version + 1)
    tx.cancel_effects(incident_id, reason=f"acknowledged by {actor}", kinds=("escalate",))
    if until is not None:
        tx.add_effect(_escalation_after_ack(after, until))
    tell_everybody(tx, after, "acknowledge", now)
    _log(tx, after, "incident.acknowledged", actor, now, f"acknowledged by {actor}")
    return after


def resolve(tx: Transaction, incident_id: str, actor: str, now: datetime, reason: str) -> Incident:
    """End an incident; whoever was told of it is told that it is over.

    One that is over already stays as it is. Raises StoreError for an unknown incident.
    """
    incident = _existing(tx, incident_id)
    if not incident.state.is_live:
        _log(
            tx, incident, "incident.resolve_ignored", actor, now, f"already {incident.state.value}"
        )
        return incident
    after = replace(incident, state=IncidentState.RESOLVED, resolved=now, updated=now)
    tx.put_incident(after, expect_version=incident.version)
    after = replace(after, version=incident.version + 1)
    tx.cancel_effects(incident_id, reason=f"resolved by {actor}", kinds=("escalate",))
    tell_everybody(tx, after, "resolve", now)
    _log(tx, after, "incident.resolved", actor, now, reason or f"resolved by {actor}")
    return after


def mark(
    tx: Transaction, incident_id: str, verdict: str, actor: str, now: datetime, note: str = ""
) -> None:
    """Record what a responder says the incident was; the page budget learns from it.

    Raises StoreError for an unknown incident or a verdict that is not one of VERDICTS.
    """
    incident = _existing(tx, incident_id)
    if verdict not in VERDICTS:
        raise StoreError(f"verdict {verdict!r} is not one of {', '.join(VERDICTS)}")
    tx.connection.execute(
        sa.insert(tables.verdict_mark).values(
            incident_id=incident_id, at=to_us(now), actor=actor, verdict=verdict, note=clean(note)
        )
    )
    _log(tx, incident, "incident.verdict", actor, now, note or verdict, {"verdict": verdict})


def tell_everybody(tx: Transaction, incident: Incident, action: str, now: datetime) -> int:
    """Add a notify effect for every receiver that was told, or is about to be; returns how many.

    The keys carry the incident's version, so that the same transition is never told twice.
    """
    count = 0
    for receiver in tx.receivers_of(incident.id):
        count += tx.add_effect(
            NewEffect(
                key=f"{incident.id}:v{incident.version}:{receiver}:{action}",
                kind="notify",
                receiver=receiver,
                incident_id=incident.id,
                action=action,
                due=now,
                lane=incident.tier,
                guard={"episode": incident.episode},
            )
        )
    return count


# --- private -----------------------------------------------------------------------------------


def _existing(tx: Transaction, incident_id: str) -> Incident:
    incident = tx.incident(incident_id)
    if incident is None:
        raise StoreError(f"there is no incident {incident_id!r}")
    return incident


def _ack_until(incident: Incident, now: datetime) -> datetime | None:
    seconds = (incident.policy or {}).get("ack_expires_s")
    return now + timedelta(seconds=float(seconds)) if seconds else None


def _escalation_after_ack(incident: Incident, until: datetime) -> NewEffect:
    return NewEffect(
        key=f"{incident.id}:v{incident.version}:ack-expiry",
        kind="escalate",
        receiver="",
        incident_id=incident.id,
        action="trigger",
        due=until,
        lane=incident.tier,
        guard={
            "state": IncidentState.ACKNOWLEDGED.value,
            "episode": incident.episode,
            "step": incident.step,
        },
    )


def _log(
    tx: Transaction,
    incident: Incident,
    kind: str,
    actor: str,
    now: datetime,
    reason: str,
    data: dict[str, Any] | None = None,
) -> None:
    tx.append(
        LedgerEvent(
            at=now,
            kind=kind,
            actor=actor,
            subject=incident.id,
            reason=reason,
            data={"version": incident.version, "step": incident.step, **(data or {})},
        )
    )
