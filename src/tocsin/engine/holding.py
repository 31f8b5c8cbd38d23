"""Alerts that Tocsin itself holds for as long as something is so: troubles, failed candidates.

No monitor says them, and their `source` is a name of their own, so that no tick ends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tocsin.domain.findings import Alert, AlertState, LedgerEvent
from tocsin.engine.house import House
from tocsin.engine.tick import Arrival


def hold(house: House, source: str, wanted: Mapping[str, Alert], event: str) -> list[Alert]:
    """Make the alerts of `source` those that are wanted, by fingerprint, and decide about them.

    Raises those that are new and returns them, ends those that are not wanted any more; those that
    stand stay as they were raised. event: what the ledger calls it. LeaseLost when this process
    does not conduct.
    """
    now = house.clock.now()
    with house.undisturbed():
        held = {
            key: alert
            for key, alert in house.state.alerts().items()
            if alert.labels.get("source") == source
        }
        begun = [wanted[key] for key in wanted if key not in held]
        ended = [
            replace(alert, state=AlertState.RESOLVED, updated=now)
            for key, alert in held.items()
            if key not in wanted
        ]
        if not begun and not ended:
            return []
        changed = [*begun, *ended]
        events = [
            LedgerEvent(
                now,
                event,
                source,
                alert.fingerprint,
                alert.reason,
                {"state": alert.state.value, "labels": dict(alert.labels)},
            )
            for alert in changed
        ]
        house.reconsider(Arrival({a.fingerprint: a for a in changed}, changed, events))
    return begun
