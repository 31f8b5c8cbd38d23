"""Alerts become incidents: episode n of a group, and its way from trigger to close.

    open ──> triggered <──> acknowledged ──> mitigating ──> recovered ──> resolved ──> closed

open          every alert of the group is suppressed: recorded, nobody was told
triggered     somebody is to be told, and told again until a person acknowledges
recovered     clear, but a person has to say so (regulated service, mitigation to confirm)
resolved      clear; coming back within the cooldown re-opens the same episode, silently unless it
              is tier 1; after it (closed) a new episode begins

Suppression (silence, inhibition, maintenance, mode) is a separate dimension. Every change names its
reason and the version it was computed from, for the compare-and-set of the state store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from tocsin.alerts.changes import IncidentChange, IncidentChanges, IncidentConfig, SnapshotOf
from tocsin.alerts.grouping import Routed, grouped, picture
from tocsin.alerts.transitions import Transitions
from tocsin.domain.findings import Alert, Incident

__all__ = ["IncidentChange", "IncidentChanges", "IncidentConfig", "SnapshotOf", "fold_incidents"]


def fold_incidents(
    incidents: Mapping[str, Incident],
    routed: Sequence[Routed],
    now: datetime,
    config: IncidentConfig,
    snapshot_of: SnapshotOf,
) -> IncidentChanges:
    """Incidents at `now`, given every alert that is firing or stale and its decision.

    incidents: the latest episode of every group key, closed ones included (their number counts).
    snapshot_of: the escalation snapshot of a policy by name, None if there is no such policy.
    A group whose alerts are no longer in `routed` has cleared.
    """
    groups = grouped(routed, config.group_by)
    fold = Transitions(now, config, snapshot_of)
    changes: list[IncidentChange] = []
    assigned: list[Alert] = []
    for key in sorted({*incidents, *groups}):
        members = groups.get(key, [])
        seen = picture(members) if members else None
        found = fold.group(key, incidents.get(key), members, seen)
        changes.extend(found)
        current = found[-1].after if found else incidents.get(key)
        if current is not None:
            assigned.extend(
                replace(member.alert, incident_id=current.id)
                for member in members
                if member.alert.incident_id != current.id
            )
    return IncidentChanges(tuple(changes), tuple(assigned))
