"""Subscribers of status pages as rows. Who unsubscribes is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tocsin.store import tables
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A mailbox or an endpoint that asked to hear of a page. confirmed: None until its owner said
    so."""

    page: str
    address: str
    token: str
    asked: datetime
    confirmed: datetime | None = None

    @property
    def is_endpoint(self) -> bool:
        """Whether it is the address of an endpoint, not of a mailbox."""
        return "://" in self.address


def put(tx: Transaction, one: Subscriber) -> None:
    """Keep it, instead of what is kept of this address."""
    forget(tx, one.page, one.address)
    tx.connection.execute(
        sa.insert(tables.subscriber).values(
            page=one.page, address=one.address, token=one.token, asked_at=to_us(one.asked),
            confirmed_at=None if one.confirmed is None else to_us(one.confirmed),
        )
    )  # fmt: skip


def forget(tx: Transaction, page: str, address: str) -> None:
    """Keep nothing of an address."""
    table = tables.subscriber
    wanted = sa.and_(table.c.page == page, table.c.address == address)
    tx.connection.execute(sa.delete(table).where(wanted))


def of_page(tx: Transaction, page: str) -> Sequence[Subscriber]:
    """All of a page, by address."""
    table = tables.subscriber
    query = sa.select(table).where(table.c.page == page).order_by(table.c.address)
    return [_subscriber(row) for row in tx.connection.execute(query).mappings()]


def by_token(tx: Transaction, page: str, token: str) -> Subscriber | None:
    """Whose token it is, None when it is nobody's."""
    table = tables.subscriber
    query = sa.select(table).where(table.c.page == page, table.c.token == token)
    row = tx.connection.execute(query).mappings().first()
    return None if row is None else _subscriber(row)


def _subscriber(row: sa.RowMapping) -> Subscriber:
    confirmed = row["confirmed_at"]
    return Subscriber(
        row["page"], row["address"], row["token"], from_us(row["asked_at"]),
        None if confirmed is None else from_us(confirmed),
    )  # fmt: skip
