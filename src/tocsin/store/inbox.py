"""The inbox: what other monitors sent, kept as it came before anybody tries to understand it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from tocsin.store import tables
from tocsin.store.ledger import clean
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction

KEPT = timedelta(days=7)
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Letter:
    """One request. state: new, done, or refused with the reason why it cannot be read.

    source: who sent it. form: how it is read.
    """

    id: int
    source: str
    at: datetime
    state: str
    reason: str
    body: bytes
    form: str


def put(
    tx: Transaction, source: str, at: datetime, body: bytes, *, form: str = "", delivery: str = ""
) -> int:
    """Keep a request; returns its number.

    form: how it is read, by default as `source` is called. delivery: the id that its sender gives
    it; one that is here already is not kept twice, and the number is that of the first.
    """
    table = tables.inbox
    if delivery:
        query = sa.select(table.c.id).where(table.c.source == source, table.c.delivery == delivery)
        if (known := tx.connection.execute(query).scalar()) is not None:
            return int(known)
    done = tx.connection.execute(
        sa.insert(table).values(
            source=source, at=to_us(at), state="new", reason="", body=body, format=form or source,
            delivery=delivery or None,
        )
    )  # fmt: skip
    assert done.inserted_primary_key is not None  # noqa: S101 (an insert of one row has one)
    return int(done.inserted_primary_key[0])


def unread(tx: Transaction, after: int = 0) -> Sequence[Letter]:
    """The oldest requests that nobody has read yet, a few hundred at a time.

    after: the number of the last of those before.
    """
    table = tables.inbox
    new = sa.and_(table.c.state == "new", table.c.id > after)
    query = sa.select(table).where(new).order_by(table.c.id).limit(_AT_ONCE)
    return [_letter(row) for row in tx.connection.execute(query).mappings()]


def refused(tx: Transaction, limit: int = 100) -> Sequence[Letter]:
    """The latest requests that could not be read."""
    table = tables.inbox
    query = (
        sa.select(table).where(table.c.state == "refused").order_by(table.c.id.desc()).limit(limit)
    )
    return [_letter(row) for row in tx.connection.execute(query).mappings()]


def settle(tx: Transaction, numbers: Collection[int], *, reason: str = "") -> None:
    """Say what became of requests: done, or refused for a reason."""
    tx.connection.execute(
        sa.update(tables.inbox)
        .where(tables.inbox.c.id.in_(numbers))
        .values(state="refused" if reason else "done", reason=clean(reason))
    )


def tidy(tx: Transaction, now: datetime) -> None:
    """Forget what was read or refused over a week ago, but never the newest.

    SQLite numbers on from the highest that is there: in an empty table it would begin again at 1,
    and what came then would pass for older than what alerts remember.
    """
    table = tables.inbox
    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    tx.connection.execute(
        sa.delete(table).where(
            table.c.state != "new", table.c.at < to_us(now - KEPT), table.c.id < newest
        )
    )


def _letter(row: sa.RowMapping) -> Letter:
    return Letter(
        row["id"], row["source"], from_us(row["at"]), row["state"], row["reason"], row["body"],
        row["format"] or row["source"],
    )  # fmt: skip
