"""The outbox: due effects are leased, each to one worker, in an order one may rely on.

An effect is claimable when it is due, or when the lease of the worker that had it ran out. Effects
of one incident to one receiver go one after the other, in the order they were decided; only a
`resolve` may be looked at while an earlier effect waits for its turn (never while one is under
way), because it makes that effect pointless. What is then done with it is the judge's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.domain.errors import StoreError
from tocsin.domain.findings import EffectState, Incident
from tocsin.store import tables
from tocsin.store.rows import StoredEffect, effect_of, to_us
from tocsin.store.tables import SCHEMA_EPOCH
from tocsin.store.transaction import Transaction

# Looks at one due effect inside the claim transaction. True: hand it to the worker. False: leave
# it, or it was settled by the judge itself.
Judge = Callable[[Transaction, StoredEffect, Incident | None], bool]

LAPSED = "the worker stopped before it could say what became of it"


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased effect with what is needed to carry it out.

    incident: as it was in the claim transaction. thread: what the receiver last called its
    message about this incident. told: receivers of this incident so far. is_uncertain: an earlier
    try may have reached the receiver.
    """

    effect: StoredEffect
    incident: Incident | None
    thread: dict[str, Any] | None
    told: tuple[str, ...]
    is_uncertain: bool


def claim(
    tx: Transaction,
    now: datetime,
    judge: Judge,
    *,
    worker: str,
    lease: timedelta,
    limit: int,
    lanes: tuple[int, int],
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
    scheduled_before: datetime | None = None,
) -> list[Claim]:
    """Lease up to `limit` due effects of `lanes` (first to last), pages first.

    exclude, only: receivers that have no room now, or that alone are asked for. scheduled_before:
    look instead at what was first due before then, whenever it is to be tried next. Raises
    StoreError once a newer Tocsin has migrated the database.
    """
    _check_epoch(tx)
    claimed: list[Claim] = []
    query = _due(to_us(now), scheduled_before).where(tables.effect.c.lane.between(*lanes))
    if exclude:
        query = query.where(tables.effect.c.receiver.not_in(sorted(exclude)))
    if only is not None:
        query = query.where(tables.effect.c.receiver.in_(sorted(only)))
    rows = tx.connection.execute(query.limit(limit)).mappings().all()
    for effect in map(effect_of, rows):
        tx.touched.add("effects")
        incident = tx.incident(effect.incident_id) if effect.incident_id else None
        is_uncertain = effect.last_outcome == "ambiguous"
        if effect.state is EffectState.LEASED:
            _record_lapse(tx, effect, now, lease)
            is_uncertain = True
        if judge(tx, effect, incident):
            leased = _lease(tx, effect, now, worker, lease)
            claimed.append(_claim(tx, leased, incident, is_uncertain))
    return claimed


def earliest(connection: sa.Connection) -> int | None:
    """When the next effect becomes claimable, in microseconds; None if nothing waits."""
    table = tables.effect
    ready = sa.select(sa.func.min(table.c.due_at)).where(table.c.state == "ready")
    leased = sa.select(sa.func.min(table.c.lease_until)).where(table.c.state == "leased")
    times = [connection.execute(query).scalar() for query in (ready, leased)]
    return min((time for time in times if time is not None), default=None)


# --- private -----------------------------------------------------------------------------------


def _check_epoch(tx: Transaction) -> None:
    epoch = tx.get_meta("schema_epoch")
    if epoch is not None and epoch > SCHEMA_EPOCH:
        raise StoreError(
            f"a newer Tocsin has migrated this state database (epoch {epoch}, this process knows "
            f"{SCHEMA_EPOCH}): nothing is delivered from here; upgrade this process"
        )


def _due(now: int, scheduled_before: datetime | None) -> sa.Select[Any]:
    table = tables.effect
    earlier = table.alias("earlier")
    blocked = sa.exists().where(
        earlier.c.incident_id == table.c.incident_id,
        earlier.c.receiver == table.c.receiver,
        earlier.c.kind == "notify",
        earlier.c.id < table.c.id,
        sa.or_(
            earlier.c.state == "leased",
            sa.and_(earlier.c.state == "ready", table.c.action != "resolve"),
        ),
    )
    is_due = table.c.due_at <= now
    if scheduled_before is not None:
        is_due = table.c.scheduled_at <= to_us(scheduled_before)
    return (
        sa.select(table)
        .where(
            sa.or_(
                sa.and_(table.c.state == "ready", is_due),
                sa.and_(table.c.state == "leased", table.c.lease_until <= now),
            ),
            sa.or_(table.c.kind != "notify", table.c.incident_id == "", ~blocked),
        )
        .order_by(table.c.lane, table.c.due_at, table.c.id)
        .with_for_update(skip_locked=True, of=table)
    )


def _record_lapse(tx: Transaction, effect: StoredEffect, now: datetime, lease: timedelta) -> None:
    started = (effect.lease_until or now) - lease
    tx.record_attempt(effect, "ambiguous", reason=LAPSED, now=now, started=started)
    table = tables.effect
    tx.connection.execute(
        sa.update(table).where(table.c.id == effect.id).values(last_outcome="ambiguous")
    )


def _lease(
    tx: Transaction, effect: StoredEffect, now: datetime, worker: str, lease: timedelta
) -> StoredEffect:
    table = tables.effect
    tx.connection.execute(
        sa.update(table)
        .where(table.c.id == effect.id)
        .values(
            state=EffectState.LEASED.value,
            lease_until=to_us(now + lease),
            lease_by=worker,
            fence=table.c.fence + 1,
            attempts=table.c.attempts + 1,
        )
    )
    row = tx.connection.execute(sa.select(table).where(table.c.id == effect.id)).mappings().one()
    return effect_of(row)


def _claim(
    tx: Transaction, effect: StoredEffect, incident: Incident | None, is_uncertain: bool
) -> Claim:
    if incident is None:
        return Claim(effect, None, None, (), is_uncertain)
    siblings = tx.effects(incident.id)
    told = dict.fromkeys(e.receiver for e in siblings if e.kind == "notify")
    refs = [
        dict(e.remote_ref)
        for e in siblings
        if e.receiver == effect.receiver and e.remote_ref and e.id != effect.id
    ]
    return Claim(effect, incident, refs[-1] if refs else None, tuple(told), is_uncertain)
