"""One atomic write to the state database: findings, ledger and effects together or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.domain.errors import Conflict
from tocsin.domain.evidence import EvidenceDay
from tocsin.domain.findings import Alert, EffectState, Incident, LedgerEvent, NewEffect
from tocsin.domain.health import HealthSample
from tocsin.store import bulk, members, tables
from tocsin.store.checkpoints import Checkpoint, to_row
from tocsin.store.evidence import evidence_days, evidence_row
from tocsin.store.ledger import GENESIS, Head, clean, jsonable, seal
from tocsin.store.rows import (
    ApiDocument,
    DigestItem,
    StoredEffect,
    alert_of,
    alert_row,
    digest_item_of,
    effect_of,
    effect_row,
    incident_of,
    incident_row,
    sample_row,
    to_us,
)
from tocsin.store.together import subjects, together

_HEAD = "ledger.head"
_DOCUMENT_KEY = ("api_version", "kind", "name")
_AT_ONCE = 500  # fingerprints in one question
_OPEN_STATES = (EffectState.READY.value, EffectState.LEASED.value)


class Transaction:
    """Implements `domain.ports.StateTransaction`, and what delivery and the web need besides.

    touched: which of "findings" and "effects" were written, for whoever keeps copies of them.
    alerts_put, incidents_put: what was written, by fingerprint and by group key, as reading it
    gives it.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.touched: set[str] = set()
        self.alerts_put: dict[str, Alert] = {}
        self.incidents_put: dict[str, Incident] = {}
        self._head: Head | None = None

    # --- findings ---

    def put_alert(self, alert: Alert) -> None:
        """Insert or replace by fingerprint."""
        self.put_alerts((alert,))

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        """As `put_alert`, many at once."""
        if not alerts:
            return
        self.touched.add("findings")
        rows = {}
        for alert in alerts:
            rows[alert.fingerprint], self.alerts_put[alert.fingerprint] = alert_row(alert)
        bulk.insert(self.connection, tables.alert, list(rows.values()), by="fingerprint")

    def alerts(self, fingerprints: Collection[str]) -> dict[str, Alert]:
        """Those of them that there are, or were, by fingerprint."""
        names, found = list(fingerprints), dict[str, Alert]()
        for start in range(0, len(names), _AT_ONCE):
            wanted = tables.alert.c.fingerprint.in_(names[start : start + _AT_ONCE])
            rows = self.connection.execute(sa.select(tables.alert).where(wanted)).mappings()
            found |= {row["fingerprint"]: alert_of(row) for row in rows}
        return found

    def put_incident(
        self, incident: Incident, *, expect_version: int | None, before: Incident | None = None
    ) -> None:
        """Insert (None), or replace the version that `expect_version` names; raises Conflict.

        An insert is stored at `incident.version`, a replacement at `expect_version + 1`, whatever
        `incident.version` says. before: that version, whose members need not be read then.
        """
        self.touched.add("findings")
        table = tables.incident
        version = incident.version if expect_version is None else expect_version + 1
        row, stored = incident_row(incident, version)
        if expect_version is None:
            self._insert_incident(incident, row)
            known: members.Members = {}
        else:
            done = self.connection.execute(
                sa.update(table)
                .where(table.c.id == incident.id, table.c.version == expect_version)
                .values({name: value for name, value in row.items() if name != "id"})
            )
            if done.rowcount != 1:
                raise Conflict(
                    f"incident {incident.id} is no longer at version {expect_version}; "
                    "read it again and decide anew"
                )
            if before is None:
                known = members.read(self.connection, (incident.id,))[incident.id]
            else:
                known = members.members_of(before)
        members.write(self.connection, incident.id, known, members.members_of(incident))
        self.incidents_put[incident.group_key] = stored

    def incident(self, incident_id: str) -> Incident | None:
        """The incident as this transaction sees it."""
        query = sa.select(tables.incident).where(tables.incident.c.id == incident_id)
        row = self.connection.execute(query).mappings().first()
        return None if row is None else self.incidents_of([row])[0]

    def incidents_of(self, rows: Sequence[sa.RowMapping]) -> list[Incident]:
        """The incidents of rows of their table."""
        found = members.read(self.connection, [row["id"] for row in rows])
        return [incident_of(row, found[row["id"]]) for row in rows]

    # --- effects ---

    def add_effect(self, effect: NewEffect) -> bool:
        """Insert unless an effect with this key exists; says whether it was new."""
        self.touched.add("effects")
        table = tables.effect
        statement = (
            self._insert(table)
            .values(effect_row(effect))
            .on_conflict_do_nothing(index_elements=["key"])
            .returning(table.c.id)
        )
        return self.connection.execute(statement).first() is not None

    def cancel_effects(self, incident_id: str, *, reason: str, kinds: Sequence[str] = ()) -> int:
        """Cancel ready effects of an incident (all kinds by default); returns how many."""
        self.touched.add("effects")
        table = tables.effect
        statement = (
            sa.update(table)
            .where(table.c.incident_id == incident_id, table.c.state == EffectState.READY.value)
            .values(state=EffectState.CANCELLED.value, reason=clean(reason))
        )
        if kinds:
            statement = statement.where(table.c.kind.in_(kinds))
        return int(self.connection.execute(statement).rowcount)

    def effects(self, incident_id: str, receiver: str | None = None) -> Sequence[StoredEffect]:
        """Effects of an incident in the order they were decided, to one receiver if named."""
        table = tables.effect
        query = sa.select(table).where(table.c.incident_id == incident_id).order_by(table.c.id)
        if receiver is not None:
            query = query.where(table.c.receiver == receiver)
        return [effect_of(row) for row in self.connection.execute(query).mappings()]

    def settle(self, effect_id: int, state: EffectState, *, reason: str, now: datetime) -> bool:
        """End an effect that is ready or leased without sending it; says whether it was open.

        A lease that is taken away this way can no longer finish.
        """
        self.touched.add("effects")
        table = tables.effect
        done = self.connection.execute(
            sa.update(table)
            .where(table.c.id == effect_id, table.c.state.in_(_OPEN_STATES))
            .values(
                state=state.value,
                reason=clean(reason),
                finished_at=to_us(now),
                fence=table.c.fence + 1,
                lease_until=None,
            )
        )
        return done.rowcount == 1

    def bring_forward(self, kinds: Sequence[str], by: timedelta) -> int:
        """Let what of these kinds is not over come earlier, leases too; returns how many."""
        self.touched.add("effects")
        table, us = tables.effect, by // timedelta(microseconds=1)
        columns = ("due_at", "scheduled_at", "lease_until")
        done = self.connection.execute(
            sa.update(table)
            .where(table.c.kind.in_(kinds), table.c.state.in_(_OPEN_STATES))
            .values({name: table.c[name] - us for name in columns})
        )
        return int(done.rowcount)

    def record_attempt(
        self,
        effect: StoredEffect,
        outcome: str,
        *,
        reason: str,
        now: datetime,
        started: datetime,
        remote_ref: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one line to the append-only history of tries."""
        self.connection.execute(
            sa.insert(tables.attempt).values(
                effect_id=effect.id,
                fence=effect.fence,
                worker=effect.lease_by,
                started_at=to_us(started),
                at=to_us(now),
                outcome=outcome,
                reason=clean(reason),
                remote_ref=jsonable(remote_ref),
            )
        )

    def finish(
        self,
        effect: StoredEffect,
        state: EffectState,
        outcome: str,
        *,
        reason: str,
        now: datetime,
        due: datetime | None = None,
        remote_ref: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a leased try: done, dead, or ready again at `due`. False if the lease was lost.

        A worker that was paused past its lease finds the fence raised and changes nothing. Once
        a try was ambiguous the effect stays so until one is delivered: it may have arrived.
        """
        self.touched.add("effects")
        table = tables.effect
        stays = outcome != "delivered" and effect.last_outcome == "ambiguous"
        values: dict[str, Any] = {
            "state": state.value,
            "last_outcome": "ambiguous" if stays else outcome,
            "reason": clean(reason),
            "lease_until": None,
        }
        if state is EffectState.READY:
            values["due_at"] = to_us(due or now)
        else:
            values["finished_at"] = to_us(now)
        if remote_ref is not None:
            values["remote_ref"] = jsonable(remote_ref)
        done = self.connection.execute(
            sa.update(table)
            .where(
                table.c.id == effect.id,
                table.c.fence == effect.fence,
                table.c.state == EffectState.LEASED.value,
            )
            .values(values)
        )
        return done.rowcount == 1

    # --- digests ---

    def add_digest_item(self, digest: str, at: datetime, fingerprint: str, text: str) -> None:
        """Add a line to what the next digest will say."""
        self.connection.execute(
            sa.insert(tables.digest_item).values(
                digest=digest, at=to_us(at), fingerprint=fingerprint, text=clean(text)
            )
        )

    def take_digest_items(self, digest: str, now: datetime) -> Sequence[DigestItem]:
        """The lines that wait for `digest`, oldest first, marked as sent."""
        table = tables.digest_item
        waiting = sa.and_(table.c.digest == digest, table.c.sent_at.is_(None))
        rows = self.connection.execute(
            sa.select(table).where(waiting).order_by(table.c.id)
        ).mappings()
        items = [digest_item_of(row) for row in rows]
        if items:
            self.connection.execute(
                sa.update(table)
                .where(waiting, table.c.id <= items[-1].id)
                .values(sent_at=to_us(now))
            )
        return items

    # --- documents that were made through the API ---

    def put_api_document(self, document: ApiDocument) -> None:
        """Insert or replace by kind and name; who made it first, and when, stays."""
        row = {
            **asdict(document),
            "created_at": to_us(document.created_at),
            "updated_at": to_us(document.updated_at),
        }
        statement = self._insert(tables.api_document).values(row)
        changed = {name: statement.excluded[name] for name in ("text", "updated_at", "updated_by")}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=list(_DOCUMENT_KEY), set_=changed)
        )

    def delete_api_document(self, api_version: str, kind: str, name: str) -> None:
        """Forget a document; it may be gone already."""
        table = tables.api_document
        wanted = zip(_DOCUMENT_KEY, (api_version, kind, name), strict=True)
        self.connection.execute(sa.delete(table).where(*(table.c[c] == v for c, v in wanted)))

    # --- evidence ---

    def note_evidence(self, days: Sequence[EvidenceDay]) -> None:
        """Join these days, each of another monitor or date, to what is known of them."""
        if not days:
            return
        first, stop = min(d.day for d in days), max(d.day for d in days) + 1
        names = sorted({day.monitor for day in days})
        known = {
            (day.monitor, day.day): day
            for day in evidence_days(self.connection, first, stop, names)
        }
        joined = [day.joined(known.get((day.monitor, day.day), day)) for day in days]
        statement = self._insert(tables.evidence_day)
        changed = {name: statement.excluded[name] for name in ("hours", "peaks")}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=["monitor", "day"], set_=changed),
            [evidence_row(day) for day in joined],
        )

    def forget_evidence(self, before: int) -> None:
        """Days before this one, counted since 1970, are of no use any more."""
        self.connection.execute(
            sa.delete(tables.evidence_day).where(tables.evidence_day.c.day < before)
        )

    # --- health scores ---

    def put_health(self, samples: Sequence[HealthSample]) -> None:
        """Insert or replace, by name and minute."""
        if samples:
            statement = self._insert(tables.health_sample)
            changed = {n: statement.excluded[n] for n in ("formula", "state", "score", "body")}
            self.connection.execute(
                statement.on_conflict_do_update(index_elements=["name", "minute"], set_=changed),
                [jsonable(sample_row(sample)) for sample in samples],
            )

    def put_formula(self, digest: str, name: str, since: int, body: Mapping[str, Any]) -> None:
        """Keep what a score is computed by from epoch minute `since` on, if it is new."""
        row = {"digest": digest, "name": name, "since": since, "body": jsonable(body)}
        statement = self._insert(tables.health_formula).values(row)
        self.connection.execute(statement.on_conflict_do_nothing())

    def forget_health(self, before: int) -> None:
        """Drop samples before this epoch minute."""
        table = tables.health_sample
        self.connection.execute(sa.delete(table).where(table.c.minute < before))

    # --- ledger and small values ---

    def append(self, event: LedgerEvent) -> str:
        """Add to the hash chain; returns the entry's hash."""
        return self.append_all((event,)).hash

    def append_all(self, events: Sequence[LedgerEvent]) -> Head:
        """Add to the hash chain, in this order; returns where it ends."""
        head = self._head or self.ledger_head()
        rows = []
        named: list[dict[str, Any]] = []
        for event in together(events):
            row = seal(event, head, to_us(event.at))
            head = Head(row["seq"], row["hash"])
            rows.append(row)
            about = dict.fromkeys(map(clean, subjects(event)))
            named += [{"subject": name, "seq": head.seq} for name in about]
        bulk.insert(self.connection, tables.ledger_subject, named)
        bulk.insert(self.connection, tables.ledger, rows)
        if rows:
            self._head = head
            self.set_meta(_HEAD, {"seq": head.seq, "hash": head.hash})
        return head

    def ledger_head(self) -> Head:
        """Where the chain ends, as recorded apart from the chain itself."""
        found = self.get_meta(_HEAD)
        return Head() if found is None else Head(found["seq"], found["hash"] or GENESIS)

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep what was signed; the first of an entry stays."""
        statement = self._insert(tables.ledger_checkpoint).values(to_row(checkpoint))
        self.connection.execute(statement.on_conflict_do_nothing())

    def get_meta(self, name: str) -> Any:
        """A small durable value (JSON), or None."""
        query = sa.select(tables.meta.c.value).where(tables.meta.c.name == name)
        return self.connection.execute(query).scalar()

    def set_meta(self, name: str, value: Any) -> None:
        """Store a small durable value."""
        statement = self._insert(tables.meta).values(name=name, value=jsonable(value))
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"value": statement.excluded.value}
            )
        )

    # --- private ---

    def _insert_incident(self, incident: Incident, row: Mapping[str, Any]) -> None:
        table = tables.incident
        statement = self._insert(table).values(row).on_conflict_do_nothing().returning(table.c.id)
        if self.connection.execute(statement).first() is None:
            raise Conflict(
                f"incident {incident.id} (episode {incident.episode} of {incident.group_key}) "
                "exists already; read it again and decide anew"
            )

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        if self.connection.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)
