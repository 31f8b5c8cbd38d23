"""What is known of dependencies: one row per dependency, source and target, the latest word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from tocsin.domain.dependencies import DependencyState, DependencyStatus
from tocsin.store import tables
from tocsin.store.ledger import clean
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction

KEPT = timedelta(days=7)  # of what no source speaks of any more


def put(tx: Transaction, status: DependencyStatus, target: str) -> DependencyStatus | None:
    """Keep the latest word of a target; returns what it said before.

    A state that lasts keeps the time since when it does.
    """
    table = tables.dependency
    key = {"dependency": status.dependency, "source": status.source, "target": target}
    where = [table.c[name] == value for name, value in key.items()]
    row = tx.connection.execute(sa.select(table).where(*where)).mappings().first()
    before = None if row is None else status_of(row)
    if before is not None and before.state is status.state:
        status = replace(status, since=min(before.since, status.since))
    values = {
        "by": status.by,
        "state": status.state.value,
        "since": to_us(status.since),
        "at": to_us(status.at),
        "until": to_us(status.until),
        "reason": clean(status.reason),
        "link": clean(status.link),
    }
    if row is None:
        tx.connection.execute(sa.insert(table).values(**key, **values))
    else:
        tx.connection.execute(sa.update(table).where(*where).values(**values))
    tx.connection.execute(sa.delete(table).where(table.c.at < to_us(status.at - KEPT)))
    tx.touched.add("dependencies")
    return before


def read(tx: Transaction) -> Sequence[DependencyStatus]:
    """The latest word of every target."""
    table = tables.dependency
    query = sa.select(table).order_by(table.c.dependency, table.c.source, table.c.target)
    return [status_of(row) for row in tx.connection.execute(query).mappings()]


def status_of(row: sa.RowMapping) -> DependencyStatus:
    """The status of a row."""
    at: datetime = from_us(row["at"])
    return DependencyStatus(
        dependency=row["dependency"],
        source=row["source"],
        by=row["by"],
        state=DependencyState(row["state"]),
        since=from_us(row["since"]),
        at=at,
        until=from_us(row["until"]),
        reason=row["reason"],
        link=row["link"],
    )
