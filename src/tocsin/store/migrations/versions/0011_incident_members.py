"""The alerts of an incident in rows of their own, out of the lists in its body."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    member = op.create_table(
        "incident_member",
        sa.Column("incident_id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("tier", sa.Integer),
        sa.Column("route", sa.Text),
        sa.Column("suppressed_by", sa.Text),
        sqlite_with_rowid=False,
    )
    incident = sa.table("incident", sa.column("id", sa.Text), sa.column("body", sa.JSON))
    connection = op.get_bind()
    ids = list(connection.execute(sa.select(incident.c.id)).scalars())
    for name in ids:
        mine = incident.c.id == name
        body = connection.execute(sa.select(incident.c.body).where(mine)).scalar_one()
        rows = _members(name, body)
        if rows:
            connection.execute(sa.insert(member), rows)
        connection.execute(sa.update(incident).where(mine).values(body=body))


def _members(incident_id: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the members in a body, which is rid of them."""
    decided = body.get("evidence", {}).get("memory", {}).pop("decided", {})
    rows = []
    for fingerprint in dict.fromkeys(body.pop("alerts", ())):
        tier, route, by = decided.get(fingerprint) or (None, None, None)
        rows.append(
            {
                "incident_id": incident_id,
                "fingerprint": fingerprint,
                "tier": tier,
                "route": route,
                "suppressed_by": by,
            }
        )
    return rows
