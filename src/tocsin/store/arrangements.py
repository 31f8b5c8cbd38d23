"""Arrangements as rows, and as ledger entries from which they can be read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.domain.arrangements import Arrangement
from tocsin.domain.clock import iso, parse_iso
from tocsin.domain.findings import LedgerEvent
from tocsin.store import tables
from tocsin.store.ledger import LedgerEntry, jsonable
from tocsin.store.rows import from_us, to_us
from tocsin.store.transaction import Transaction

MADE, ENDED = "arrangement.made", "arrangement.ended"


def put(tx: Transaction, arrangement: Arrangement) -> None:
    """Keep a new one, and say so in the ledger."""
    body = to_json(arrangement)
    tx.touched.add("findings")
    tx.connection.execute(
        sa.insert(tables.arrangement).values(
            id=arrangement.id, kind=arrangement.kind, start=to_us(arrangement.start),
            stop=to_us(arrangement.stop), body=jsonable(body),
        )
    )  # fmt: skip
    _log(tx, MADE, arrangement, arrangement.made_by, arrangement.made_at, arrangement.comment)


def end(tx: Transaction, arrangement: Arrangement, actor: str, now: datetime) -> None:
    """Let it stop now."""
    tx.touched.add("findings")
    table = tables.arrangement
    tx.connection.execute(
        sa.update(table).where(table.c.id == arrangement.id).values(stop=to_us(now))
    )
    _log(tx, ENDED, arrangement, actor, now, f"ended {arrangement.kind} before its time")


def latest(tx: Transaction) -> Sequence[Arrangement]:
    """The thousand that end last, over or not, by when they begin."""
    table = tables.arrangement
    query = sa.select(table).order_by(table.c.stop.desc(), table.c.id).limit(1000)
    rows = tx.connection.execute(query).mappings()
    found = [of_json({**row["body"], "stop": iso(from_us(row["stop"]))}) for row in rows]
    return sorted(found, key=lambda each: (each.start, each.id))


def told_by(entries: Sequence[LedgerEntry], at: datetime) -> list[Arrangement]:
    """Those that held at `at`, as the ledger tells it. entries: of MADE and ENDED, in order."""
    known: dict[str, Arrangement] = {}
    for entry in entries:
        if from_us(entry.at_us) > at:
            break
        if entry.kind == MADE:
            known[entry.subject] = of_json(entry.data)
        else:
            known.pop(entry.subject, None)
    return [each for each in known.values() if each.start <= at < each.stop]


def to_json(arrangement: Arrangement) -> dict[str, Any]:
    """As plain data."""
    return {
        "id": arrangement.id, "kind": arrangement.kind, "start": iso(arrangement.start),
        "stop": iso(arrangement.stop), "made_by": arrangement.made_by,
        "made_at": iso(arrangement.made_at), "comment": arrangement.comment,
        "when": dict(arrangement.when), "schedule": arrangement.schedule, "user": arrangement.user,
    }  # fmt: skip


def of_json(data: Mapping[str, Any]) -> Arrangement:
    """From what `to_json` gave."""
    times = {name: parse_iso(data[name]) for name in ("start", "stop", "made_at")}
    return Arrangement(**{**data, **times})


def _log(
    tx: Transaction, kind: str, arrangement: Arrangement, actor: str, now: datetime, why: str
) -> None:
    tx.append(LedgerEvent(now, kind, actor, arrangement.id, why, to_json(arrangement)))
