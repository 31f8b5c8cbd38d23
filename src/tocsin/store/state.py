"""The state store: what Tocsin knows, decided and still has to do, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tocsin.domain.arrangements import Arrangement
from tocsin.domain.dependencies import DependencyStatus
from tocsin.domain.findings import Alert, AlertState, Incident, IncidentState
from tocsin.store import arrangements, dependencies, outbox, responses, tables
from tocsin.store.database import Database, connect
from tocsin.store.ledger import clean, jsonable
from tocsin.store.reading import StateReader
from tocsin.store.rows import alert_of, from_us, to_us
from tocsin.store.transaction import Transaction

_AT_ONCE = 500


class StateStore(StateReader):
    """Implements `domain.ports.State` and `delivery.effects.Outbox`; safe to share by threads.

    What was read last is remembered until somebody writes: an engine that ticks through two weeks
    asks for the same alerts tens of thousands of times. PostgreSQL cannot tell cheaply whether
    somebody has, so nothing is remembered there.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._remembered: dict[str, Any] = {}
        self._incidents: Mapping[str, Incident] = {}

    @classmethod
    def open(cls, url_or_path: str | Path) -> StateStore:
        """Open a file, `:memory:`, or a postgresql:// URL, migrated to this release.

        Raises StoreError when it cannot be opened or a newer Tocsin has migrated it.
        """
        store = cls(connect(url_or_path))
        with store.transaction() as tx:
            if (tx.get_meta("schema_epoch") or 0) < tables.SCHEMA_EPOCH:
                tx.set_meta("schema_epoch", tables.SCHEMA_EPOCH)
        return store

    def close(self) -> None:
        """Give all connections back."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits on normal exit, rolls back on an exception. Does not nest."""
        written: list[tuple[Transaction, int | None]] = []
        with self._database.write(lambda: self._keep(*written[0])) as connection:
            tx = Transaction(connection)
            written.append((tx, self._database.version()))
            yield tx

    # --- domain.ports.State ---

    def alerts(self) -> Mapping[str, Alert]:
        """Every alert that is not resolved, by fingerprint."""
        return dict(self._remember("findings", "alerts", self._read_alerts))

    def incidents(self, *, live_only: bool = True) -> Mapping[str, Incident]:
        """Latest episode per group key, by group key; with `live_only`, not yet closed ones."""
        every = self._remember("findings", "incidents", self._read_incidents)
        if not live_only:
            return dict(every)
        return {key: i for key, i in every.items() if i.state is not IncidentState.CLOSED}

    def dependencies(self) -> Sequence[DependencyStatus]:
        """What sources say of dependencies, the latest word of each."""
        return tuple(self._remember("dependencies", "dependencies", self._read_dependencies))

    def arrangements(self) -> Sequence[Arrangement]:
        """Silences, maintenance and stand-ins, over or not; the thousand that end last."""
        found: Sequence[Arrangement] = self._remember(
            "findings", "arrangements", self._read_arrangements
        )
        return found

    def acknowledgements(self) -> Sequence[datetime]:
        """When those that hold end; those without an end are left out."""
        found: Sequence[datetime] = self._remember(
            "findings", "acknowledgements", self._read_acknowledgements
        )
        return found

    def next_due(self) -> datetime | None:
        """When the next effect becomes claimable, or None; reads only."""
        found: datetime | None = self._remember("effects", "next_due", super().next_due)
        return found

    def get_meta(self, name: str) -> Any:
        """A small durable value (JSON), or None."""
        with self.reading() as tx:
            return tx.get_meta(name)

    def set_meta(self, name: str, value: Any) -> None:
        """Store a small durable value; within this thread's transaction if one is open."""
        if self._database.is_writing:
            with self._database.write_or_join() as connection:
                Transaction(connection).set_meta(name, value)
        else:
            with self.transaction() as tx:
                tx.set_meta(name, value)

    # --- what people do ---

    def mark(
        self, incident_id: str, verdict: str, actor: str, now: datetime, note: str = ""
    ) -> None:
        """Record a responder's verdict: real, false, duplicate or noise."""
        with self.transaction() as tx:
            responses.mark(tx, incident_id, verdict, actor, now, note)

    # --- effects, configuration, sinks ---

    def claim(
        self,
        now: datetime,
        judge: Callable[[Any, Any, Incident | None], bool],
        *,
        worker: str,
        lease: timedelta,
        limit: int,
        lanes: tuple[int, int] = (0, 9),
        exclude: Collection[str] = (),
        only: Collection[str] | None = None,
        scheduled_before: datetime | None = None,
    ) -> Sequence[outbox.Claim]:
        """Lease due effects to `worker`; see `outbox.claim`."""
        with self.transaction() as tx:
            return outbox.claim(
                tx,
                now,
                judge,
                worker=worker,
                lease=lease,
                limit=limit,
                lanes=lanes,
                exclude=exclude,
                only=only,
                scheduled_before=scheduled_before,
            )

    def record_config(
        self, digest: str, body: Any, *, actor: str, now: datetime, reason: str = ""
    ) -> None:
        """Keep a configuration that was applied; `digest` names it."""
        with self._database.write_or_join() as connection:
            connection.execute(
                sa.insert(tables.config_version).values(
                    at=to_us(now), actor=actor, digest=digest, reason=clean(reason),
                    body=jsonable(body),
                )
            )  # fmt: skip

    def record_sink_message(
        self, receiver: str, at: datetime, headers: Mapping[str, str], body: str
    ) -> None:
        """Keep what a built-in sink received."""
        with self._database.write_or_join() as connection:
            connection.execute(
                sa.insert(tables.sink_message).values(
                    receiver=receiver, at=to_us(at), headers=jsonable(headers), body=clean(body)
                )
            )

    # --- private ---

    def _read_arrangements(self) -> Sequence[Arrangement]:
        with self.reading() as tx:
            return arrangements.latest(tx)

    def _read_acknowledgements(self) -> Sequence[datetime]:
        table = tables.incident
        until = table.c.body["acknowledged_until"].as_string()
        query = sa.select(until).where(table.c.state == IncidentState.ACKNOWLEDGED.value)
        with self._database.read() as connection:
            found = connection.execute(query).scalars()
            return [from_us(int(each)) for each in found if each is not None]

    def _read_alerts(self) -> dict[str, Alert]:
        table = tables.alert
        query = sa.select(table).where(table.c.state != AlertState.RESOLVED.value)
        return {row["fingerprint"]: alert_of(row) for row in self._rows(query)}

    def _read_dependencies(self) -> Sequence[DependencyStatus]:
        with self.reading() as tx:
            return dependencies.read(tx)

    def _read_incidents(self) -> dict[str, Incident]:
        """Latest episodes by group key; only those whose version changed are read in full."""
        table = tables.incident
        later = table.alias("later")
        query = sa.select(table.c.id, table.c.group_key, table.c.version).where(
            ~sa.exists().where(
                later.c.group_key == table.c.group_key, later.c.episode > table.c.episode
            )
        )
        with self.reading() as tx:
            heads = tx.connection.execute(query).mappings().all()
            held = self._incidents
            stale = [
                r["id"]
                for r in heads
                if r["id"] not in held or held[r["id"]].version != r["version"]
            ]
            for start in range(0, len(stale), _AT_ONCE):
                some = sa.select(table).where(table.c.id.in_(stale[start : start + _AT_ONCE]))
                found = tx.incidents_of(tx.connection.execute(some).mappings().all())
                held = {**held, **{incident.id: incident for incident in found}}
        self._incidents = {row["id"]: held[row["id"]] for row in heads}
        return {row["group_key"]: held[row["id"]] for row in heads}

    def _remember(self, topic: str, name: str, read: Callable[[], Any]) -> Any:
        if self._database.is_writing:
            return read()
        version = self._database.version()
        if version is None:
            return read()
        key = f"{topic}/{name}"
        held = self._remembered.get(key)
        if held is not None and held[0] == version:
            return held[1]
        # Somebody is committing, or has. Under a stream of commits what is read while they go on
        # would be out of date before it is remembered.
        with self._database.still():
            version, held = self._database.version(), self._remembered.get(key)
            if held is None or held[0] != version:
                # What another process commits from here on changes it, and is read next time.
                with self._database.read():
                    held = self._remembered[key] = (version, read())
        return held[1]

    def _keep(self, tx: Transaction, before: int | None) -> None:
        """Carry over what is remembered across a commit: findings with what it wrote of them.

        before: the version at the transaction's beginning. Nobody else has written since, so that
        what was remembered of it is what the commit changed.
        """
        after = self._database.version()
        if tx.incidents_put:
            self._incidents = {**self._incidents, **{i.id: i for i in tx.incidents_put.values()}}
        for key, (version, value) in list(self._remembered.items()):
            with_it = _WITH.get(key)
            if with_it is None and key.split("/")[0] in tx.touched:
                del self._remembered[key]
            elif version == before:
                self._remembered[key] = (after, with_it(value, tx) if with_it else value)


def _with_alerts(known: Mapping[str, Alert], tx: Transaction) -> Mapping[str, Alert]:
    if not tx.alerts_put:
        return known
    found = {**known, **tx.alerts_put}
    for name, alert in tx.alerts_put.items():
        if alert.state is AlertState.RESOLVED:
            del found[name]
    return found


def _with_incidents(known: Mapping[str, Incident], tx: Transaction) -> Mapping[str, Incident]:
    """With those that were written, unless there is a later episode of theirs."""
    later = {
        key: incident
        for key, incident in tx.incidents_put.items()
        if key not in known or known[key].episode <= incident.episode
    }
    return {**known, **later} if later else known


# What is known after a commit of what was known before it, by what it is called.
_WITH: Mapping[str, Callable[[Any, Transaction], Any]] = {
    "findings/alerts": _with_alerts,
    "findings/incidents": _with_incidents,
}
