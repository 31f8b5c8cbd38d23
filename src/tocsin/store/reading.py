"""Questions to the state database: what the web, the tests and the command line want to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import ASIDE, EffectState, Incident
from tocsin.domain.health import HealthOpinion, HealthSample
from tocsin.store import evidence, health, outbox, tables
from tocsin.store.checkpoints import Audit, Checkpoint, VerifyingKey, audit
from tocsin.store.database import Database
from tocsin.store.ledger import ChainBreak, Head, LedgerEntry, first_break, verify
from tocsin.store.ledger_index import Index
from tocsin.store.rows import (
    ApiDocument,
    Attempt,
    DigestItem,
    SinkMessage,
    StoredEffect,
    VerdictMark,
    api_document_of,
    attempt_of,
    digest_item_of,
    effect_of,
    entry_of,
    from_us,
    to_us,
)
from tocsin.store.together import apart
from tocsin.store.transaction import Transaction

_LEDGER_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One thing that happened to an incident, for people to read.

    source: ledger | effect | attempt. text: a sentence. data: the detail behind it.
    """

    at: datetime
    source: str
    kind: str
    actor: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """A first message about an incident that its receiver took. people: who was called by name."""

    incident_id: str
    receiver: str
    at: datetime
    people: tuple[str, ...]


class StateReader:
    """Everything that only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """What a transaction sees, for reading only: it waits for no writer."""
        with self._database.read() as connection:
            yield Transaction(connection)

    # --- incidents ---

    def incident(self, incident_id: str) -> Incident | None:
        """One incident, or None."""
        with self.reading() as tx:
            return tx.incident(incident_id)

    def list_incidents(
        self, limit: int, before: str | None = None, state: str | None = None
    ) -> Sequence[Incident]:
        """Incidents, the last opened first. before: id of the last one of the page before."""
        table = tables.incident
        query = sa.select(table).order_by(table.c.opened.desc(), table.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(table.c.state == state)
        if before is not None:
            cursor = sa.select(table.c.opened).where(table.c.id == before).scalar_subquery()
            query = query.where(
                sa.or_(
                    table.c.opened < cursor,
                    sa.and_(table.c.opened == cursor, table.c.id < before),
                )
            )
        return self._incidents_of(query)

    def incidents_since(self, since: datetime) -> Sequence[Incident]:
        """Incidents that were opened at `since` or later, in no order."""
        table = tables.incident
        query = sa.select(table).where(table.c.opened >= to_us(since))
        return self._incidents_of(query)

    def told_since(self, since: datetime) -> Sequence[Told]:
        """Messages that began something for a receiver and were taken at `since` or later."""
        table = tables.effect
        query = sa.select(
            table.c.incident_id, table.c.receiver, table.c.finished_at, table.c.payload
        ).where(
            table.c.kind == "notify",
            table.c.action == "trigger",
            table.c.state == EffectState.DONE.value,
            table.c.incident_id != "",
            table.c.finished_at >= to_us(since),
        )
        return [
            Told(
                incident_id=row["incident_id"],
                receiver=row["receiver"],
                at=from_us(row["finished_at"]),
                people=tuple(row["payload"].get("resolved_who") or ()),
            )
            for row in self._rows(query)
        ]

    def marks(self, incident_id: str | None = None) -> Sequence[VerdictMark]:
        """Responders' verdicts, oldest first, of one incident or of all."""
        table = tables.verdict_mark
        query = sa.select(table).order_by(table.c.id)
        if incident_id is not None:
            query = query.where(table.c.incident_id == incident_id)
        return [
            VerdictMark(
                incident_id=row["incident_id"],
                at=from_us(row["at"]),
                actor=row["actor"],
                verdict=row["verdict"],
                note=row["note"],
            )
            for row in self._rows(query)
        ]

    def reviews(self, since: datetime, until: datetime) -> Sequence[Review]:
        """Incidents that were open in [since, until), with what people said of them before the
        end, oldest first."""
        with self._database.read() as connection:
            return evidence.reviews(connection, since, until)

    def health_samples(self, name: str, start: int, stop: int) -> Sequence[HealthSample]:
        """Of one health score in epoch minutes [start, stop), oldest first."""
        with self._database.read() as connection:
            return health.samples(connection, name, start, stop)

    def health_track(self, name: str, start: int, stop: int) -> Sequence[HealthSample]:
        """As `health_samples`, without bodies."""
        with self._database.read() as connection:
            return health.track(connection, name, start, stop)

    def health_samples_at(self, name: str, minutes: Sequence[int]) -> Mapping[int, HealthSample]:
        """Of one health score at exactly these minutes, as far as they are kept."""
        with self._database.read() as connection:
            return health.samples_at(connection, name, minutes)

    def newest_health(self) -> Mapping[str, HealthSample]:
        """The last sample of every health score, by name."""
        with self._database.read() as connection:
            return health.newest(connection)

    def health_formulas(self, digests: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """What health scores were computed by, by digest."""
        with self._database.read() as connection:
            return health.formulas(connection, digests)

    def health_opinions(self, name: str) -> Sequence[HealthOpinion]:
        """What people said of a health score, by the minute it is about."""
        with self._database.read() as connection:
            return health.opinions(connection, name)

    def evidence(
        self, first: int, stop: int, monitors: Sequence[str] | None = None
    ) -> Sequence[EvidenceDay]:
        """What detectors found in days [first, stop) since 1970: some of them, or all."""
        with self._database.read() as connection:
            return evidence.evidence_days(connection, first, stop, monitors)

    def timeline(self, incident_id: str) -> Sequence[TimelineItem]:
        """Everything recorded about an incident, oldest first: decisions, messages and tries."""
        items = [
            TimelineItem(from_us(e.at_us), "ledger", e.kind, e.actor, e.reason, e.data)
            for e in self.entries_about(incident_id)
        ]
        effects = self.effects(incident_id)
        items += [_effect_item(effect) for effect in effects]
        by_id = {effect.id: effect for effect in effects}
        items += [_attempt_item(a, by_id[a.effect_id]) for a in self.attempts(incident_id)]
        return sorted(items, key=lambda item: item.at)

    # --- effects ---

    def effects(self, incident_id: str) -> Sequence[StoredEffect]:
        """Effects of an incident in the order they were decided ("" for digests)."""
        with self._database.read() as connection:
            return Transaction(connection).effects(incident_id)

    def messages_about(self, incident_id: str) -> Sequence[tuple[str, str]]:
        """(receiver, action) of messages that were sent, may have arrived, or are under way.

        An end counts only when it was sent: whoever may not have heard of it is told again.
        """
        return [
            (effect.receiver, effect.action)
            for effect in self.effects(incident_id)
            if effect.kind == "notify" and _is_believed(effect)
        ]

    def list_effects(
        self, limit: int, state: EffectState | None = None, *, aside: bool = True
    ) -> Sequence[StoredEffect]:
        """Effects of any incident, the newest first. aside: with those of the lane `ASIDE`."""
        table = tables.effect
        query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        if not aside:
            query = query.where(table.c.lane < ASIDE)
        if state is not None:
            query = query.where(table.c.state == state.value)
        return [effect_of(row) for row in self._rows(query)]

    def effects_named(self, keys: Sequence[str]) -> Sequence[StoredEffect]:
        """Effects by key, in the order they were decided; keys that name none are left out."""
        table = tables.effect
        query = sa.select(table).where(table.c.key.in_(keys)).order_by(table.c.id)
        return [effect_of(row) for row in self._rows(query)]

    def attempts(self, incident_id: str) -> Sequence[Attempt]:
        """Tries at the effects of an incident, in the order they ended."""
        table, effect = tables.attempt, tables.effect
        query = (
            sa.select(table)
            .join(effect, effect.c.id == table.c.effect_id)
            .where(effect.c.incident_id == incident_id)
            .order_by(table.c.id)
        )
        return [attempt_of(row) for row in self._rows(query)]

    def next_due(self) -> datetime | None:
        """When the next effect becomes claimable, or None; reads only."""
        with self._database.read() as connection:
            found = outbox.earliest(connection)
        return None if found is None else from_us(found)

    def overdue(
        self, now: datetime, by: timedelta = timedelta(minutes=2), *, aside: bool = True
    ) -> int:
        """How many effects should have been tried more than `by` ago; the auditor's question.

        aside: with those of the lane `ASIDE`, which wait for everything else.
        """
        table, limit = tables.effect, to_us(now - by)
        query = sa.select(sa.func.count()).where(
            sa.or_(
                sa.and_(table.c.state == "ready", table.c.due_at < limit),
                sa.and_(table.c.state == "leased", table.c.lease_until < limit),
            )
        )
        if not aside:
            query = query.where(table.c.lane < ASIDE)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many incidents, alerts, effects and tries there are, by state or outcome."""
        grouped = {
            "incidents": tables.incident.c.state,
            "alerts": tables.alert.c.state,
            "effects": tables.effect.c.state,
            "attempts": tables.attempt.c.outcome,
        }
        with self._database.read() as connection:
            found = {
                name: {
                    str(value): int(count)
                    for value, count in connection.execute(
                        sa.select(column, sa.func.count()).group_by(column)
                    )
                }
                for name, column in grouped.items()
            }
            head = Transaction(connection).ledger_head()
        return {**found, "ledger": {"entries": head.seq}}

    # --- ledger ---

    def ledger_entries(self, after: int = 0, limit: int = 1000) -> Sequence[LedgerEntry]:
        """Entries with a sequence number above `after`, in order."""
        return self._entries(tables.ledger.c.seq > after, limit)

    def entries_about(self, subject: str) -> Sequence[LedgerEntry]:
        """Every line with this subject, in order."""
        table, named = tables.ledger, tables.ledger_subject
        among = sa.select(named.c.seq).where(named.c.subject == subject)
        found = self._entries(sa.or_(table.c.subject == subject, table.c.seq.in_(among)))
        return [line for entry in found for line in apart(entry) if line.subject == subject]

    def entries_of(
        self, kinds: Sequence[str], until: datetime | None = None
    ) -> Sequence[LedgerEntry]:
        """Every line of these kinds, up to `until` if that is given, in order."""
        table = tables.ledger
        wanted: sa.ColumnElement[bool] = table.c.kind.in_(kinds)
        if until is not None:
            wanted = sa.and_(wanted, table.c.at <= to_us(until))
        return [line for entry in self._entries(wanted) for line in apart(entry)]

    def ledger_head(self) -> Head:
        """Where the chain ends."""
        with self._database.read() as connection:
            return Transaction(connection).ledger_head()

    def ledger_up_to(self, head: Head, after: int = 0) -> Iterator[LedgerEntry]:
        """Every entry behind `after` up to `head`, in pages; what is written meanwhile is left."""
        last = after
        while last < head.seq and (page := self.ledger_entries(last, _LEDGER_PAGE)):
            yield from (entry for entry in page if entry.seq <= head.seq)
            last = page[-1].seq

    def verify_ledger(self) -> ChainBreak | None:
        """None if the whole chain is as it was written, else where it breaks."""
        return self.audit_ledger().broken

    def audit_ledger(
        self, key: VerifyingKey | None = None, kept: Sequence[Checkpoint] = ()
    ) -> Audit:
        """Check the whole chain against its recorded end and its signed checkpoints, and the index
        of subjects against the chain. kept: checkpoints that were kept elsewhere."""
        seen = self.checkpoints()  # first: all that they saw has to be there afterwards
        head = self.ledger_head()
        index = self._index(0, head)
        entries = index.compared(self.ledger_up_to(head))
        found = audit(entries, [*seen, *kept], key=key, head=head)
        return replace(found, broken=first_break(found.broken, index.broken))

    def verify_ledger_from(self, start: Head) -> tuple[Head, ChainBreak | None]:
        """Check what was written behind `start`, which was right; also where the ledger ends."""
        head = self.ledger_head()
        if start.seq > head.seq:
            return head, ChainBreak(head.seq + 1, f"missing: the chain reached {start.seq} before")
        if start.seq:
            found = self.ledger_entries(start.seq - 1, 1)
            if not found or (found[0].seq, found[0].hash) != (start.seq, start.hash):
                return head, ChainBreak(start.seq, "is no longer the entry that was there before")
        index = self._index(start.seq, head)
        entries = index.compared(self.ledger_up_to(head, start.seq))
        return head, first_break(verify(entries, start=start, head=head), index.broken)

    def checkpoints(self) -> Sequence[Checkpoint]:
        """Signed checkpoints of the ledger, oldest first."""
        table = tables.ledger_checkpoint
        return [
            Checkpoint(row["seq"], row["hash"], row["at"], row["key"], row["signature"])
            for row in self._rows(sa.select(table).order_by(table.c.seq))
        ]

    # --- configuration, digests, sinks ---

    def config_versions(self, limit: int = 20) -> Sequence[Mapping[str, Any]]:
        """Applied configurations, the newest first: id, at, actor, digest, reason, body."""
        table = tables.config_version
        query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        return [{**row, "at": from_us(row["at"])} for row in self._rows(query)]

    def config_version(self, digest: str) -> Mapping[str, Any] | None:
        """The configuration of this digest as it was applied last, or None."""
        table = tables.config_version
        query = sa.select(table).where(table.c.digest == digest).order_by(table.c.id.desc())
        rows = self._rows(query.limit(1))
        return {**rows[0], "at": from_us(rows[0]["at"])} if rows else None

    def api_documents(self) -> Sequence[ApiDocument]:
        """Documents that were made through the API, by kind and name."""
        table = tables.api_document
        query = sa.select(table).order_by(table.c.api_version, table.c.kind, table.c.name)
        return [api_document_of(row) for row in self._rows(query)]

    def digest_items(self, digest: str, *, waiting_only: bool = True) -> Sequence[DigestItem]:
        """Lines of a digest, oldest first."""
        table = tables.digest_item
        query = sa.select(table).where(table.c.digest == digest).order_by(table.c.id)
        if waiting_only:
            query = query.where(table.c.sent_at.is_(None))
        return [digest_item_of(row) for row in self._rows(query)]

    def sink_messages(self, limit: int = 100, receiver: str | None = None) -> Sequence[SinkMessage]:
        """What the built-in sinks received, the newest first."""
        table = tables.sink_message
        query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
        if receiver is not None:
            query = query.where(table.c.receiver == receiver)
        return [
            SinkMessage(row["id"], row["receiver"], from_us(row["at"]), row["headers"], row["body"])
            for row in self._rows(query)
        ]

    # --- private ---

    def _index(self, after: int, head: Head) -> Index:
        with self._database.read() as connection:
            return Index.of(connection, after, head.seq)

    def _incidents_of(self, query: sa.Select[Any]) -> Sequence[Incident]:
        with self.reading() as tx:
            return tx.incidents_of(tx.connection.execute(query).mappings().all())

    def _rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        with self._database.read() as connection:
            return connection.execute(query).mappings().all()

    def _entries(
        self, condition: sa.ColumnElement[bool], limit: int | None = None
    ) -> Sequence[LedgerEntry]:
        table = tables.ledger
        query = sa.select(table).where(condition).order_by(table.c.seq).limit(limit)
        return [entry_of(row) for row in self._rows(query)]


def _is_believed(effect: StoredEffect) -> bool:
    if effect.state is EffectState.DONE:
        return True
    is_uncertain = effect.state is EffectState.LEASED or effect.last_outcome == "ambiguous"
    return is_uncertain and effect.action != "resolve"


def _effect_item(effect: StoredEffect) -> TimelineItem:
    target = f" to {effect.receiver}" if effect.receiver else ""
    why = f": {effect.reason}" if effect.reason else ""
    return TimelineItem(
        at=effect.scheduled,
        source="effect",
        kind=f"{effect.kind}.{effect.action}",
        actor="tocsin",
        text=f"{effect.kind} {effect.action}{target} is {effect.state.value}{why}",
        data={"key": effect.key, "state": effect.state.value, "attempts": effect.attempts},
    )


def _attempt_item(attempt: Attempt, effect: StoredEffect) -> TimelineItem:
    why = f": {attempt.reason}" if attempt.reason else ""
    return TimelineItem(
        at=attempt.at,
        source="attempt",
        kind=f"attempt.{attempt.outcome}",
        actor=attempt.worker,
        text=f"{effect.action} to {effect.receiver}: {attempt.outcome}{why}",
        data={"key": effect.key, "remote_ref": attempt.remote_ref, "fence": attempt.fence},
    )
