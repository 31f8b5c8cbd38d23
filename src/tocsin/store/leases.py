"""Leases: who of several processes does what only one may do, and how another one takes over.

A lease is a row: its holder, a term that rises with every holder, and a beat that the holder raises
while it lives. Clocks of two machines are never compared: whoever wants the lease watches the row,
and when neither term nor beat has changed for the lease's time on its own monotonic clock, takes it
under the next term. Kubernetes elects leaders this way (client-go, tools/leaderelection).

A lease alone proves nothing: a holder may be paused in the middle of its work, for longer than the
lease, and go on as if nothing had happened. Therefore the term is a fencing token. Every decision
begins with `require` in its own transaction, and writers of the state database wait for each other,
so that what it finds holds until the transaction ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tocsin.domain.errors import StoreError
from tocsin.store import tables
from tocsin.store.transaction import Transaction


class LeaseLost(StoreError):
    """Another process holds the lease by now: nothing of this transaction may be written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it stands. holder: "" when it was given back."""

    name: str
    holder: str
    term: int
    beat: int


def find(tx: Transaction, name: str) -> Lease | None:
    """The lease, None if nobody ever had it."""
    row = tx.connection.execute(_rows(name)).mappings().first()
    return None if row is None else Lease(**row)


def take(tx: Transaction, name: str, holder: str, seen: Lease | None) -> Lease | None:
    """The lease for `holder`, under a new term; None when it is no longer as it was `seen`."""
    if find(tx, name) != seen:
        return None
    taken = Lease(name, holder, 1 if seen is None else seen.term + 1, 0)
    _write(tx, taken, is_new=seen is None)
    return taken


def renew(tx: Transaction, held: Lease) -> Lease:
    """The lease one beat later. LeaseLost when somebody took it."""
    require(tx, held)
    beaten = Lease(held.name, held.holder, held.term, held.beat + 1)
    _write(tx, beaten)
    return beaten


def give_back(tx: Transaction, held: Lease) -> None:
    """Let another one take it at once. LeaseLost when somebody has."""
    require(tx, held)
    _write(tx, Lease(held.name, "", held.term, held.beat + 1))


def require(tx: Transaction, held: Lease) -> None:
    """Nothing, if the lease is still held under this term. LeaseLost if not."""
    found = find(tx, held.name)
    if found is None or (found.term, found.holder) != (held.term, held.holder):
        holder = "nobody" if found is None or not found.holder else found.holder
        raise LeaseLost(f"the lease {held.name!r} of term {held.term} is lost: {holder} has it")


# --- private -----------------------------------------------------------------------------------


def _rows(name: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(tables.lease).where(tables.lease.c.name == name)


def _write(tx: Transaction, lease: Lease, *, is_new: bool = False) -> None:
    values = {"holder": lease.holder, "term": lease.term, "beat": lease.beat}
    table = tables.lease
    if is_new:
        tx.connection.execute(sa.insert(table).values(name=lease.name, **values))
    else:
        tx.connection.execute(sa.update(table).where(table.c.name == lease.name).values(values))
