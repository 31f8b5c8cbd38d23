"""What people (and playbooks) do to an incident: acknowledge, mitigate, confirm, resolve.

Pure: the caller writes the change with compare-and-set and, on a conflict, asks again with the
incident as it is by then. A request that no longer applies is refused with a reason, not an error:
it goes to the ledger and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.alerts.changes import IncidentChange, Tell
from tocsin.alerts.memory import Memory
from tocsin.alerts.transitions import knows_of
from tocsin.domain.findings import Incident, IncidentState

DEFAULT_ACK = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that does not apply to the incident as it is."""

    incident_id: str
    reason: str


def acknowledge(incident: Incident, by: str, now: datetime) -> IncidentChange | Refused:
    """`by` has it in hand: escalation stops until the acknowledgement expires.

    It expires after the policy's ack_expires (None: never), without a policy after two hours. An
    acknowledgement of an incident somebody else holds takes it over.
    """
    if incident.state not in (
        IncidentState.OPEN,
        IncidentState.TRIGGERED,
        IncidentState.ACKNOWLEDGED,
    ):
        return Refused(incident.id, f"it is {incident.state} already; there is nothing to stop")
    until: datetime | None = now + DEFAULT_ACK
    if incident.policy is not None:
        expires_s = incident.policy.get("ack_expires_s")
        until = None if expires_s is None else now + timedelta(seconds=expires_s)
    after = replace(
        incident,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_by=by,
        acknowledged_until=until,
    )
    tell = Tell.ACKNOWLEDGE if knows_of(incident) else Tell.NOTHING
    return _change(incident, after, "acknowledged", f"{by} acknowledged it", by, now, tell)


def mitigate(incident: Incident, by: str, what: str, now: datetime) -> IncidentChange | Refused:
    """A mitigation (`what`, for people) runs; from now on a person has to confirm the recovery."""
    if not incident.state.is_live or incident.state is IncidentState.RECOVERED:
        return Refused(incident.id, f"it is {incident.state}; there is nothing to mitigate")
    after = replace(incident, state=IncidentState.MITIGATING)
    return _change(incident, after, "mitigating", f"{by}: {what}", by, now, Tell.UPDATE)


def resolve(incident: Incident, by: str, why: str, now: datetime) -> IncidentChange | Refused:
    """`by` declares it over, whatever its alerts say.

    Alerts that go on firing do not re-open it within the cooldown; a new one does, and one that
    has become more urgent. After the cooldown whatever still fires opens a new episode.
    """
    if not incident.state.is_live:
        return Refused(incident.id, f"it is {incident.state} already")
    memory = Memory.of(incident)
    kept = replace(memory, resolved_by=by, quiet_since=None, untold=False)
    after = replace(
        incident,
        state=IncidentState.RESOLVED,
        resolved=now,
        acknowledged_until=None,
        evidence=kept.onto(incident.evidence),
    )
    tell = Tell.RESOLVE if knows_of(incident) else Tell.NOTHING
    reason = f"{by} resolved it" + (f": {why}" if why else "")
    return _change(incident, after, "resolved", reason, by, now, tell)


def _change(
    before: Incident,
    after: Incident,
    event: str,
    reason: str,
    by: str,
    now: datetime,
    tell: Tell,
) -> IncidentChange:
    if tell in (Tell.UPDATE, Tell.ACKNOWLEDGE):
        memory = Memory.of(after)
        kept = replace(memory, last_told=now, untold=False, updates=memory.updates + 1)
        after = replace(after, evidence=kept.onto(after.evidence))
    after = replace(after, version=before.version + 1, updated=now)
    return IncidentChange(before, after, event, reason, tell, actor=by)
