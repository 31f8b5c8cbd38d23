"""Evidence hour by hour, and incidents with what people said of them: what budgets learn from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.store import tables
from tocsin.store.rows import from_us, incident_of, to_us

_AT_ONCE = 500  # names in one question


def evidence_row(day: EvidenceDay) -> dict[str, Any]:
    """Column values."""
    return {
        "monitor": day.monitor,
        "day": day.day,
        "hours": day.hours,
        "peaks": {str(hour): peak for hour, peak in day.peaks.items()},
    }


def evidence_days(
    connection: sa.Connection, first: int, stop: int, monitors: Sequence[str] | None = None
) -> list[EvidenceDay]:
    """What is kept of days [first, stop) since 1970, of some monitors or of all."""
    table = tables.evidence_day
    query = (
        sa.select(table)
        .where(table.c.day >= first, table.c.day < stop)
        .order_by(table.c.day, table.c.monitor)
    )
    if monitors is None:
        return [_day_of(row) for row in connection.execute(query).mappings()]
    found = []
    for begin in range(0, len(monitors), _AT_ONCE):
        some = query.where(table.c.monitor.in_(monitors[begin : begin + _AT_ONCE]))
        found += [_day_of(row) for row in connection.execute(some).mappings()]
    return found


def reviews(connection: sa.Connection, since: datetime, until: datetime) -> list[Review]:
    """Incidents that were open at any time in [since, until), oldest first, each with the last
    verdict that was given before `until`."""
    table, marks = tables.incident, tables.verdict_mark
    query = (
        sa.select(table)
        .where(
            table.c.opened < to_us(until),
            sa.or_(table.c.resolved.is_(None), table.c.resolved >= to_us(since)),
        )
        .order_by(table.c.opened, table.c.id)
    )
    given = sa.select(marks).where(marks.c.at < to_us(until)).order_by(marks.c.id)
    said = {row["incident_id"]: row["verdict"] for row in connection.execute(given).mappings()}
    return [_review_of(row, said) for row in connection.execute(query).mappings()]


def _day_of(row: Any) -> EvidenceDay:
    peaks = {int(hour): float(peak) for hour, peak in row["peaks"].items()}
    return EvidenceDay(row["monitor"], row["day"], row["hours"], peaks)


def _review_of(row: Any, said: dict[str, str]) -> Review:
    incident = incident_of(row, {})
    return Review(
        incident_id=incident.id,
        service=incident.labels.get("service", ""),
        monitor=str(incident.evidence.get("monitor", "")),
        signal=incident.labels.get("signal", ""),
        team=incident.labels.get("team", ""),
        tier=incident.tier,
        opened=from_us(row["opened"]),
        resolved=incident.resolved,
        acknowledged=bool(incident.acknowledged_by),
        verdict=said.get(incident.id, ""),
    )
