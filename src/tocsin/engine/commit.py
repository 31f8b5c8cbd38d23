"""One transaction for a decision: alerts, incidents, ledger and effects, together or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.responder import Refused
from tocsin.domain.errors import Conflict
from tocsin.domain.findings import Alert, Incident, LedgerEvent
from tocsin.domain.ports import State, StateTransaction
from tocsin.routing.outcome import Happening, Outcome, outcome, refusal_event
from tocsin.routing.policy import RoutingPolicy

ATTEMPTS = 5
SPARED = "messages.spared"


def commit(
    state: State,
    alerts: Sequence[Alert],
    changes: Sequence[IncidentChange],
    outcomes: Sequence[Outcome],
    events: Sequence[LedgerEvent] = (),
    beside: Callable[[Any], None] = lambda _: None,
) -> None:
    """Write everything, in the order it was decided. Conflict leaves nothing behind.

    beside: writes with the transaction what else is true with it.
    """
    with state.transaction() as tx:
        beside(tx)
        tx.put_alerts(alerts)
        told = list(events)
        for change, result in zip(changes, outcomes, strict=True):
            tx.put_incident(
                change.after, expect_version=change.expect_version, before=change.before
            )
            _carry_out(tx, result)
            told += result.events
        tx.append_all(told)
        _count_spared(tx, outcomes)


def respond(
    state: State,
    policy: RoutingPolicy,
    incident: Callable[[], Incident],
    ask: Callable[[Incident], IncidentChange | Refused],
    actor: str,
    now: datetime,
) -> Incident | Refused:
    """Do what a person asked for: compute, compare-and-set, and ask again when somebody was faster.

    A request that no longer applies is written to the ledger and returned as Refused.
    """
    for attempt in range(ATTEMPTS):
        change = ask(incident())
        if isinstance(change, Refused):
            with state.transaction() as tx:
                tx.append(refusal_event(change.incident_id, actor, change.reason, now))
            return change
        what = Happening(
            change.before,
            change.after,
            change.event,
            change.reason,
            str(change.tell),
            actor,
            messages=state.messages_about(change.after.id),
        )
        try:
            commit(state, (), (change,), (outcome(policy, what, now),))
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return change.after
    raise AssertionError("unreachable")


def _carry_out(tx: StateTransaction, result: Outcome) -> None:
    for cancelled in result.cancellations:
        tx.cancel_effects(cancelled.incident_id, reason=cancelled.reason, kinds=cancelled.kinds)
    for effect in result.effects:
        tx.add_effect(effect)
    for entry in result.digest_entries:
        at = result.events[0].at
        tx.add_digest_item(entry.digest, at, entry.fingerprint, entry.text)


def _count_spared(tx: StateTransaction, outcomes: Sequence[Outcome]) -> None:
    """Keep count, by reason, of the messages nobody had to read."""
    spared = sum((Counter(result.spared) for result in outcomes), Counter[str]())
    if spared:
        tx.set_meta(SPARED, dict(spared + Counter(tx.get_meta(SPARED) or {})))
