"""Health scores as rows: samples, the formulas that made them, and what people said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from tocsin.domain.clock import iso
from tocsin.domain.findings import LedgerEvent
from tocsin.domain.health import HealthOpinion, HealthSample
from tocsin.store import tables
from tocsin.store.rows import from_us, sample_of, to_us
from tocsin.store.transaction import Transaction

OPINION = "health.opinion"


def samples(connection: sa.Connection, name: str, start: int, stop: int) -> list[HealthSample]:
    """Of one score in epoch minutes [start, stop), oldest first."""
    table = tables.health_sample
    query = (
        sa.select(table)
        .where(table.c.name == name, table.c.minute >= start, table.c.minute < stop)
        .order_by(table.c.minute)
    )
    return [sample_of(row) for row in connection.execute(query).mappings()]


def track(connection: sa.Connection, name: str, start: int, stop: int) -> list[HealthSample]:
    """As `samples`, without bodies: months of them are drawn."""
    table = tables.health_sample
    columns = [c for c in table.c if c.name != "body"]
    query = (
        sa.select(*columns)
        .where(table.c.name == name, table.c.minute >= start, table.c.minute < stop)
        .order_by(table.c.minute)
    )
    return [HealthSample(**row) for row in connection.execute(query).mappings()]


def samples_at(
    connection: sa.Connection, name: str, minutes: Sequence[int]
) -> dict[int, HealthSample]:
    """Those of one score at exactly these minutes, as far as they are kept."""
    table = tables.health_sample
    query = sa.select(table).where(table.c.name == name, table.c.minute.in_(minutes))
    return {row["minute"]: sample_of(row) for row in connection.execute(query).mappings()}


def newest(connection: sa.Connection) -> dict[str, HealthSample]:
    """The last of every score, by name.

    Pages ask for it all the time and months of minutes are kept: the primary key is entered twice
    per name, for the name that follows and for its last minute, instead of being read from end to
    end as GROUP BY does (a loose index scan, which neither database finds by itself).
    """
    table, next_, last = tables.health_sample, *(tables.health_sample.alias() for _ in range(2))
    first = sa.select(sa.func.min(table.c.name).label("name")).cte("known", recursive=True)
    following = sa.select(sa.func.min(next_.c.name)).where(next_.c.name > first.c.name)
    known = first.union_all(sa.select(following.scalar_subquery()).where(first.c.name.is_not(None)))
    minute = sa.select(sa.func.max(last.c.minute)).where(last.c.name == known.c.name)
    query = sa.select(table).join(
        known, sa.and_(table.c.name == known.c.name, table.c.minute == minute.scalar_subquery())
    )
    return {row["name"]: sample_of(row) for row in connection.execute(query).mappings()}


def formulas(connection: sa.Connection, digests: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What scores were computed by, by digest."""
    table = tables.health_formula
    query = sa.select(table.c.digest, table.c.body).where(table.c.digest.in_(digests))
    return {row["digest"]: row["body"] for row in connection.execute(query).mappings()}


def opinions(connection: sa.Connection, name: str) -> list[HealthOpinion]:
    """What people said of one score, by the minute it is about; of one person and minute the last
    word."""
    table = tables.health_opinion
    query = sa.select(table).where(table.c.name == name).order_by(table.c.minute, table.c.id)
    found = {
        (row["minute"], row["actor"]): HealthOpinion(
            row["name"], row["minute"], from_us(row["at"]), row["actor"], row["opinion"],
            row["note"],
        )
        for row in connection.execute(query).mappings()
    }  # fmt: skip
    return list(found.values())


def put_opinion(tx: Transaction, opinion: HealthOpinion) -> None:
    """Keep it, and say so in the ledger."""
    row = {
        "name": opinion.name, "minute": opinion.minute, "actor": opinion.actor,
        "opinion": opinion.opinion, "note": opinion.note,
    }  # fmt: skip
    tx.connection.execute(sa.insert(tables.health_opinion).values(**row, at=to_us(opinion.at)))
    reason = f"{opinion.actor}: {opinion.opinion.replace('_', ' ')}"
    tx.append(
        LedgerEvent(opinion.at, OPINION, opinion.actor, f"HealthScore/{opinion.name}", reason,
                    {**row, "at": iso(opinion.at)})
    )  # fmt: skip
