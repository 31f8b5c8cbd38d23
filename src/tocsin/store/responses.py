"""What responders say of an incident afterwards: the page budget and the figures learn from it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from tocsin.domain.errors import StoreError
from tocsin.domain.findings import LedgerEvent
from tocsin.store import tables
from tocsin.store.ledger import clean
from tocsin.store.rows import to_us
from tocsin.store.transaction import Transaction

VERDICTS = ("real", "false", "duplicate", "noise")


def mark(
    tx: Transaction, incident_id: str, verdict: str, actor: str, now: datetime, note: str = ""
) -> None:
    """Record what a responder says the incident was; the page budget learns from it.

    Raises StoreError for an unknown incident or a verdict that is not one of VERDICTS.
    """
    incident = tx.incident(incident_id)
    if incident is None:
        raise StoreError(f"there is no incident {incident_id!r}")
    if verdict not in VERDICTS:
        raise StoreError(f"verdict {verdict!r} is not one of {', '.join(VERDICTS)}")
    tx.connection.execute(
        sa.insert(tables.verdict_mark).values(
            incident_id=incident_id, at=to_us(now), actor=actor, verdict=verdict, note=clean(note)
        )
    )
    data = {"version": incident.version, "step": incident.step, "verdict": verdict}
    said = note or verdict
    tx.append(LedgerEvent(now, "incident.verdict", actor, incident.id, said, data))
