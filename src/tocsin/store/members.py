"""Which alerts an incident is made of, one row each: a storm that grows writes what joined.

As a list in the incident's row it would be written whole with every alert that joins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from tocsin.domain.findings import Decided, Incident
from tocsin.store import bulk, tables

Members = Mapping[str, Decided | None]  # by fingerprint, in its order; None: decided no more
_AT_ONCE = 500


def members_of(incident: Incident) -> Members:
    """Its alerts, with what was decided about each."""
    decided = incident.decided
    return {name: decided.get(name) for name in incident.alerts}


def read(connection: sa.Connection, incident_ids: Collection[str]) -> dict[str, Members]:
    """The members of incidents, by the incident's id."""
    table, names = tables.incident_member, list(incident_ids)
    found: dict[str, dict[str, Decided | None]] = {name: {} for name in names}
    for start in range(0, len(names), _AT_ONCE):
        wanted = table.c.incident_id.in_(names[start : start + _AT_ONCE])
        query = sa.select(table).where(wanted).order_by(table.c.incident_id, table.c.fingerprint)
        for incident_id, name, tier, route, by in connection.execute(query):
            found[incident_id][name] = None if tier is None else (tier, route, by)
    return dict(found)


def write(connection: sa.Connection, incident_id: str, before: Members, after: Members) -> None:
    """Change the members of an incident that are stored as `before` says."""
    table = tables.incident_member
    gone = before.keys() - after.keys()
    changed = dict(after.items() - before.items())
    replaced = changed.keys() & before.keys()
    if gone or replaced:
        mine = sa.and_(
            table.c.incident_id == incident_id, table.c.fingerprint == sa.bindparam("name")
        )
        names: list[dict[str, Any]] = [{"name": name} for name in (*gone, *replaced)]
        connection.execute(sa.delete(table).where(mine), names)
    bulk.insert(
        connection, table, [_row(incident_id, name, made) for name, made in changed.items()]
    )


def _row(incident_id: str, name: str, decided: Decided | None) -> dict[str, Any]:
    tier, route, by = decided or (None, None, None)
    return {
        "incident_id": incident_id,
        "fingerprint": name,
        "tier": tier,
        "route": route,
        "suppressed_by": by,
    }
