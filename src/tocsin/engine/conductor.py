"""One of several processes conducts: it judges, decides, watches and asks. All take in and deliver.

Decisions about alerts hang together (grouping, inhibition, one ledger), so that one process makes
them and the others keep themselves ready: they follow its minutes and show the same pages. A lease
in the state database (`store.leases`) says who it is, and every decision proves in its own
transaction that the lease is still held. A conductor that dies is followed by another within the
lease; one that was only paused finds its term over and writes nothing.

A state database in a file has one process, which always conducts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog

from tocsin.domain.clock import Clock, monotonic_s
from tocsin.domain.dependencies import DependencyStatus
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Alert, Incident, LedgerEvent
from tocsin.domain.health import HealthSample
from tocsin.store import leases
from tocsin.store.leases import Lease, LeaseLost
from tocsin.store.state import StateStore
from tocsin.store.transaction import Transaction

log = structlog.get_logger(__name__)

LEASE = "conductor"
USUAL = timedelta(seconds=15)


def process_name() -> str:
    """What this process is called in leases and in the history of tries."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Fenced:
    """The state as a decision sees it: whatever is written is proven to be the conductor's.

    Implements `domain.ports.State`.
    """

    def __init__(self, conductor: Conductor, state: StateStore) -> None:
        self._conductor = conductor
        self._state = state

    def alerts(self) -> Mapping[str, Alert]:
        """See `State.alerts`."""
        return self._state.alerts()

    def incidents(self, *, live_only: bool = True) -> Mapping[str, Incident]:
        """See `State.incidents`."""
        return self._state.incidents(live_only=live_only)

    def dependencies(self) -> Sequence[DependencyStatus]:
        """See `State.dependencies`."""
        return self._state.dependencies()

    def messages_about(self, incident_id: str) -> Sequence[tuple[str, str]]:
        """See `State.messages_about`."""
        return self._state.messages_about(incident_id)

    def evidence(
        self, first: int, stop: int, monitors: Sequence[str] | None = None
    ) -> Sequence[EvidenceDay]:
        """See `State.evidence`."""
        return self._state.evidence(first, stop, monitors)

    def reviews(self, since: datetime, until: datetime) -> Sequence[Review]:
        """See `State.reviews`."""
        return self._state.reviews(since, until)

    def health_samples(self, name: str, start: int, stop: int) -> Sequence[HealthSample]:
        """See `State.health_samples`."""
        return self._state.health_samples(name, start, stop)

    def newest_health(self) -> Mapping[str, HealthSample]:
        """See `State.newest_health`."""
        return self._state.newest_health()

    def health_formulas(self, digests: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """See `State.health_formulas`."""
        return self._state.health_formulas(digests)

    def get_meta(self, name: str) -> Any:
        """See `State.get_meta`."""
        return self._state.get_meta(name)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See `Conductor.deciding`."""
        return self._conductor.deciding()

    def set_meta(self, name: str, value: Any) -> None:
        """Store a small durable value. LeaseLost when this process no longer conducts."""
        with self._conductor.deciding() as tx:
            tx.set_meta(name, value)


class Conductor:
    """Whether this process may decide. Threads may share it.

    is_alone: nobody else uses the state database, so that there is nothing to agree on. lasts: for
    how long the lease must not have changed before it is taken from whoever had it.
    """

    def __init__(
        self,
        state: StateStore,
        clock: Clock,
        *,
        name: str = "",
        is_alone: bool = True,
        lasts: timedelta = USUAL,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self._state = state
        self.state = Fenced(self, state)
        self._clock = clock
        self.name = name or process_name()
        self._is_alone = is_alone
        self._lasts_s = lasts.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._held: Lease | None = None
        self._seen: Lease | None = None
        self._seen_at = monotonic()

    @property
    def conducts(self) -> bool:
        """Whether this process decides, as far as it knows."""
        return self._is_alone or self._held is not None

    @contextmanager
    def deciding(self) -> Iterator[Transaction]:
        """A transaction that is this conductor's to write. LeaseLost when it no longer is."""
        held = self._held
        with self._state.transaction() as tx:
            if not self._is_alone:
                if held is None:
                    raise LeaseLost(f"{self.name} does not conduct")
                try:
                    leases.require(tx, held)
                except LeaseLost:
                    self._lose(held)
                    raise
            yield tx

    def step(self) -> bool:
        """Keep the lease, or take it when nobody keeps it. Whether this process conducts now."""
        if self._is_alone:
            return True
        with self._lock:
            if self._held is None:
                self._try_to_take()
            else:
                self._renew(self._held)
        return self.conducts

    async def run(self, stop: asyncio.Event) -> None:
        """Keep or take it until `stop` is set, then give it back."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self.step)
            except Exception:  # worker loop: a database that is away keeps nobody's lease
                log.exception("lease_not_renewed")
            try:
                await asyncio.wait_for(stop.wait(), self._lasts_s / 3)
            except TimeoutError:
                continue

    def give_back(self) -> None:
        """Let another process conduct at once."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                try:
                    with self._state.transaction() as tx:
                        leases.give_back(tx, held)
                except LeaseLost:
                    return

    # --- private ---

    def _try_to_take(self) -> None:
        with self._state.reading() as tx:
            found = leases.find(tx, LEASE)
        if found != self._seen:
            self._seen, self._seen_at = found, self._monotonic()
        is_kept = found is not None and found.holder != ""
        if is_kept and self._monotonic() - self._seen_at < self._lasts_s:
            return
        with self._state.transaction() as tx:
            taken = leases.take(tx, LEASE, self.name, found)
            if taken is None:
                return
            before = found.holder if found is not None and found.holder else "nobody"
            data = {"term": taken.term, "before": before}
            reason = f"{self.name} conducts, after {before}"
            tx.append(
                LedgerEvent(self._clock.now(), "conductor.taken", self.name, LEASE, reason, data)
            )
        self._held = taken
        log.info("conducting", term=taken.term, after=before)

    def _renew(self, held: Lease) -> None:
        try:
            with self._state.transaction() as tx:
                renewed = leases.renew(tx, held)
        except LeaseLost:
            self._lose(held)
            return
        self._held = renewed

    def _lose(self, held: Lease) -> None:
        """Somebody has taken it: watch it from now on."""
        self._held = None
        self._seen, self._seen_at = None, self._monotonic()
        log.warning("conducting_no_more", term=held.term)
