"""Takes what sources say of how things are now: alerts of other monitors, how dependencies fare.

A report about a dependency is a fact and never an alert. It is stored, so that pages show it and
every process knows it; a change of state is a line of the ledger; and everything that fires is
decided anew, because a fact may say that several alerts are one incident.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from tocsin.domain.dependencies import DependencyState, DependencyStatus
from tocsin.domain.findings import LedgerEvent
from tocsin.engine.house import House
from tocsin.engine.outside import Outside
from tocsin.engine.waiting import Sender
from tocsin.intake.alerts.incoming import Incoming
from tocsin.intake.source import Reported
from tocsin.spec.sources import ConfiguredSource
from tocsin.store import dependencies
from tocsin.store.transaction import Transaction

log = structlog.get_logger(__name__)


class Listening:
    """The listener of one house's sources. Threads may share it."""

    def __init__(self, house: House, outside: Outside) -> None:
        self._house = house
        self._outside = outside
        self._wake: Callable[[], None] = lambda: None

    def then(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something was decided."""
        self._wake = wake

    def alerts(self, source: ConfiguredSource, alerts: Sequence[Incoming], at: datetime) -> None:
        """See `Outside.hear`."""
        sender = Sender(source.name, source.service, source.origin.labels)
        self._outside.hear(sender, alerts, at)

    def reports(
        self,
        source: ConfiguredSource,
        target: str,
        reports: Sequence[Reported],
        at: datetime,
        until: datetime,
    ) -> None:
        """Store what a target says; decide anew when a dependency changed its state."""
        has_changed = False
        with self._house.state.transaction() as tx:
            for report in reports:
                told = DependencyStatus(
                    dependency=report.dependency,
                    source=source.name,
                    by=report.by,
                    state=report.state,
                    since=min(report.since or at, at),
                    at=at,
                    until=until,
                    reason=report.reason,
                    link=report.link,
                )
                has_changed |= self._keep(tx, told, target)
        if has_changed and not self._house.reconsider().is_empty:
            self._wake()

    def _keep(self, tx: Transaction, told: DependencyStatus, target: str) -> bool:
        """Whether its state is another one than before."""
        before = dependencies.put(tx, told, target)
        was = DependencyState.UNKNOWN if before is None else before.state
        if was is told.state:
            return False
        log.info("dependency_changed", dependency=told.dependency, state=str(told.state),
                 source=told.source, reason=told.reason)  # fmt: skip
        data = {"from": str(was), "to": str(told.state), "target": target, "link": told.link}
        actor = f"source:{told.source}"
        tx.append(
            LedgerEvent(told.at, "dependency.changed", actor, told.dependency, str(told), data)
        )
        return True
