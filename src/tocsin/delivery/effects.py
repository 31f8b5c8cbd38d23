"""Whether a due effect is still to be carried out, and what follows from how it went.

Everything here runs inside one transaction of the outbox and decides from what that transaction
sees: a page whose incident was acknowledged a moment ago is cancelled, not sent. The rules:

notify      its guard holds and the incident is as the action supposes; a `resolve` cancels what
            was not sent yet, and is dropped itself if its receiver never heard of the incident.
escalate    runs the next step of the policy (`delivery.escalation`).
digest      fixes the lines of an issue and hands them to each receiver (`delivery.digests`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

from tocsin.delivery.message import Occasion
from tocsin.delivery.outcome import Ambiguous, Delivered, Outcome, Retry
from tocsin.domain.findings import EffectState, Incident, IncidentState, LedgerEvent, NewEffect
from tocsin.domain.ports import StateTransaction

ACTOR = "delivery"
FALLBACK, AGAIN = ":fallback:", ":again:"
SET_BACK = "delivery.set_back"
_NO_STEP = timedelta(seconds=1)  # a difference of two readings of the clocks
# How long a page that nobody took rests before it is tried afresh.
AGAIN_AFTER = timedelta(minutes=5)


class DueEffect(Occasion, Protocol):
    """An effect as the outbox shows it."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def incident_id(self) -> str: ...
    @property
    def lane(self) -> int: ...
    @property
    def state(self) -> EffectState: ...
    @property
    def scheduled(self) -> datetime: ...
    @property
    def due(self) -> datetime: ...
    @property
    def lease_until(self) -> datetime | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def last_outcome(self) -> str: ...
    @property
    def guard(self) -> Mapping[str, Any]: ...


class Claimed(Protocol):
    """A leased effect with what is needed to carry it out; see `store.outbox.Claim`."""

    @property
    def effect(self) -> DueEffect: ...
    @property
    def incident(self) -> Incident | None: ...
    @property
    def thread(self) -> Mapping[str, Any] | None: ...
    @property
    def told(self) -> Sequence[str]: ...
    @property
    def is_uncertain(self) -> bool: ...


class OutboxTransaction(StateTransaction, Protocol):
    """What delivery needs of a transaction besides the engine's part; effects are DueEffect."""

    def effects(self, incident_id: str, receiver: str | None = None) -> Sequence[Any]: ...
    def settle(self, effect_id: int, state: EffectState, *, reason: str, now: datetime) -> bool: ...
    def finish(
        self,
        effect: Any,
        state: EffectState,
        outcome: str,
        *,
        reason: str,
        now: datetime,
        due: datetime | None = None,
        remote_ref: Mapping[str, Any] | None = None,
    ) -> bool: ...
    def bring_forward(self, kinds: Sequence[str], by: timedelta) -> int: ...
    def record_attempt(
        self,
        effect: Any,
        outcome: str,
        *,
        reason: str,
        now: datetime,
        started: datetime,
        remote_ref: Mapping[str, Any] | None = None,
    ) -> None: ...
    def take_digest_items(self, digest: str, now: datetime) -> Sequence[Any]: ...
    def get_meta(self, name: str) -> Any: ...
    def set_meta(self, name: str, value: Any) -> None: ...


Judge = Callable[[Any, Any, Incident | None], bool]


class Outbox(Protocol):
    """Where effects wait; implemented by `store.state.StateStore`."""

    def transaction(self) -> AbstractContextManager[Any]: ...
    def next_due(self) -> datetime | None: ...
    def claim(
        self,
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
    ) -> Sequence[Claimed]: ...


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long and how often something is tried.

    max_age: by lane, how long after it was first due; what is over gets at least `over_age`,
    because a pager that never hears of the end keeps paging. backoff: first pause, doubled up to
    `longest`, of which a random half is taken off.
    """

    max_age: tuple[timedelta, timedelta, timedelta] = (
        timedelta(minutes=15),
        timedelta(hours=6),
        timedelta(hours=24),
    )
    over_age: timedelta = timedelta(hours=6)
    backoff: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(minutes=5)

    def deadline(self, effect: DueEffect) -> datetime:
        """When it is given up."""
        age = self.max_age[min(max(effect.lane, 1), len(self.max_age)) - 1]
        if effect.action in {"resolve", "acknowledge"}:
            age = max(age, self.over_age)
        return effect.scheduled + age

    def pause(self, attempts: int, asked: timedelta | None, rng: Random) -> timedelta:
        """How long to wait after `attempts` tries; never less than the receiver asked for."""
        full = min(self.backoff * (1 << min(attempts - 1, 16)), self.longest)
        pause = full * (0.5 + 0.5 * rng.random())
        return max(pause, asked) if asked is not None else pause


# --- before: is it still to be done? -------------------------------------------------------------


def why_not(
    tx: OutboxTransaction, effect: DueEffect, incident: Incident | None, now: datetime
) -> str:
    """Why a notify effect is no longer to be sent; "" if it is."""
    if incident is None:
        return "there is no such incident"
    failed = guard_failure(effect.guard, incident)
    if failed:
        return failed
    siblings = tx.effects(incident.id, effect.receiver)
    if effect.action == "resolve":
        return _why_no_resolve(tx, effect, incident, siblings, now)
    if not incident.state.is_live:
        return f"the incident is {incident.state.value}"
    if effect.action == "acknowledge":
        if incident.state in (IncidentState.OPEN, IncidentState.TRIGGERED):
            return "the acknowledgement was taken back"
        return "" if was_announced(siblings) else "the receiver was never told of the incident"
    if effect.action == "update" and _is_superseded(effect, siblings, now):
        return "a later update says more"
    if "again" in effect.payload:
        return _why_not_again(tx, effect, incident)
    return ""


def guard_failure(guard: Mapping[str, Any], incident: Incident) -> str:
    """Which condition of a guard no longer holds; "" if all do.

    state (one or several), episode, step, incident_version_max, unacknowledged. A condition this
    release does not know holds: telling twice is better than telling nobody.
    """
    states = guard.get("state")
    allowed = [states] if isinstance(states, str) else states
    if allowed and incident.state.value not in allowed:
        return f"the incident is {incident.state.value}, no longer {' or '.join(allowed)}"
    if guard.get("unacknowledged") and incident.state is IncidentState.ACKNOWLEDGED:
        return f"acknowledged by {incident.acknowledged_by}"
    for name, current in (("episode", incident.episode), ("step", incident.step)):
        if name in guard and guard[name] != current:
            return f"the incident is at {name} {current}, no longer {guard[name]}"
    newest = guard.get("incident_version_max")
    if newest is not None and incident.version > newest:
        return f"the incident changed (version {incident.version})"
    return ""


def was_announced(siblings: Sequence[DueEffect]) -> bool:
    """Whether the receiver of these effects has, or may have, heard of the incident."""
    return any(
        each.action in {"trigger", "update"} and each.last_outcome in {"delivered", "ambiguous"}
        for each in siblings
    )


def cancel(tx: OutboxTransaction, effect: DueEffect, reason: str, now: datetime) -> None:
    """End an effect that is pointless, on record."""
    if tx.settle(effect.id, EffectState.CANCELLED, reason=reason, now=now):
        log(tx, effect, "delivery.cancelled", reason, now)


# --- after: how did it go? -----------------------------------------------------------------------


def conclude(
    tx: OutboxTransaction,
    claimed: Claimed,
    outcome: Outcome,
    *,
    now: datetime,
    started: datetime,
    persistence: Persistence,
    rng: Random,
    fallbacks: Sequence[str],
) -> EffectState | None:
    """Write down how a try went and what follows; None, and nothing, if the lease was lost."""
    effect = claimed.effect
    state, due, reason = _next_state(effect, outcome, now, persistence, rng)
    remote_ref = outcome.remote_ref if isinstance(outcome, Delivered) else None
    kept = tx.finish(
        effect, state, outcome.name, reason=reason, now=now, due=due, remote_ref=remote_ref
    )
    if not kept:
        return None
    tx.record_attempt(
        effect,
        outcome.name,
        reason=outcome.reason,
        now=now,
        started=started,
        remote_ref=remote_ref,
    )
    if state is EffectState.DONE:
        log(tx, effect, "delivery.delivered", f"{effect.action} to {effect.receiver}", now)
    elif state is EffectState.DEAD:
        bury(tx, effect, reason, now, fallbacks)
    return state


def bury(
    tx: OutboxTransaction,
    effect: DueEffect,
    reason: str,
    now: datetime,
    fallbacks: Sequence[str],
) -> None:
    """What follows when an effect is given up: it is on record, and a page goes to the fallback.

    A page that neither its receiver nor a fallback has taken is tried again until one does, or
    until its incident is acknowledged or over: an outage of the network that outlasts every
    deadline must not leave a fire that nobody hears of.
    """
    log(tx, effect, "delivery.dead", reason, now)
    is_page = effect.lane <= 1 and effect.kind == "notify" and effect.action == "trigger"
    if not is_page:
        return
    if not _is_taken(tx, effect):
        _try_again(tx, effect, now)
    if "fallback_for" in effect.payload or "again" in effect.payload:
        return
    for receiver in fallbacks:
        if receiver == effect.receiver:
            continue
        tx.add_effect(
            NewEffect(
                key=f"{effect.key}{FALLBACK}{receiver}",
                kind="notify",
                receiver=receiver,
                incident_id=effect.incident_id,
                action="trigger",
                due=now,
                lane=1,
                payload={
                    **effect.payload,
                    "fallback_for": effect.receiver,
                    "note": f"{effect.receiver} could not be reached ({reason})",
                },
                guard=effect.guard,
            )
        )


def log(tx: OutboxTransaction, effect: DueEffect, kind: str, reason: str, now: datetime) -> None:
    """Put one line about an effect into the ledger."""
    tx.append(
        LedgerEvent(
            at=now,
            kind=kind,
            actor=ACTOR,
            subject=effect.incident_id or effect.key,
            reason=reason,
            data={
                "key": effect.key,
                "receiver": effect.receiver,
                "action": effect.action,
                "lane": effect.lane,
                "attempts": effect.attempts,
            },
        )
    )


def bring_forward(outbox: Outbox, by: timedelta, now: datetime, step: str) -> None:
    """The clock was set back: messages and timers come when they were meant to, not `by` later.

    Digests stay: eight in the morning is still eight in the morning. step: names the time since
    when the clock is off; what was moved for it already, by a commit whose outcome nobody heard,
    is not moved again.
    """
    with outbox.transaction() as tx:
        known = tx.get_meta(SET_BACK) or {}
        moved = timedelta(seconds=known["seconds"] if known.get("step") == step else 0)
        if by - moved < _NO_STEP:
            return
        tx.set_meta(SET_BACK, {"step": step, "seconds": by.total_seconds()})
        count = tx.bring_forward(("notify", "escalate"), by - moved)
        reason = f"the clock was set back by {by}: {count} messages and timers follow it"
        data = {"seconds": by.total_seconds(), "effects": count}
        tx.append(LedgerEvent(now, "delivery.clock_set_back", ACTOR, "clock", reason, data))


# --- private -----------------------------------------------------------------------------------


def _root(key: str) -> str:
    """The key of the page that a fallback or a further attempt stands for."""
    return key.partition(AGAIN)[0].partition(FALLBACK)[0]


def _is_taken(tx: OutboxTransaction, effect: DueEffect) -> bool:
    """Whether the receiver of a page, or a fallback in its place, has taken it."""
    root = _root(effect.key)
    return any(
        each.last_outcome == "delivered" and _root(each.key) == root
        for each in tx.effects(effect.incident_id)
    )


def _why_not_again(tx: OutboxTransaction, effect: DueEffect, incident: Incident) -> str:
    if incident.state is IncidentState.ACKNOWLEDGED and "state" not in effect.guard:
        return f"acknowledged by {incident.acknowledged_by}"
    # The first time the fallback stands in for the receiver. When both were out of reach, the
    # receiver is told as well: a mail that gets through first wakes nobody.
    may_stand_in = "fallback_for" in effect.payload or effect.payload["again"] == 1
    return "it was taken meanwhile" if may_stand_in and _is_taken(tx, effect) else ""


def _try_again(tx: OutboxTransaction, effect: DueEffect, now: datetime) -> None:
    number = int(effect.payload.get("again", 0)) + 1
    tx.add_effect(
        NewEffect(
            key=f"{effect.key.partition(AGAIN)[0]}{AGAIN}{number}",
            kind="notify",
            receiver=effect.receiver,
            incident_id=effect.incident_id,
            action="trigger",
            due=now + AGAIN_AFTER,
            lane=effect.lane,
            payload={**effect.payload, "again": number},
            guard=effect.guard,
        )
    )


def _why_no_resolve(
    tx: OutboxTransaction,
    effect: DueEffect,
    incident: Incident,
    siblings: Sequence[DueEffect],
    now: datetime,
) -> str:
    if incident.state.is_live:
        return f"the incident is {incident.state.value} again"
    for each in siblings:
        if each.id < effect.id and each.kind == "notify" and each.state is EffectState.READY:
            cancel(tx, each, "the incident was over before it was sent", now)
    return "" if was_announced(siblings) else "the receiver was never told of the incident"


def _is_superseded(effect: DueEffect, siblings: Sequence[DueEffect], now: datetime) -> bool:
    return any(
        each.action == "update"
        and each.state is EffectState.READY
        and each.id > effect.id
        and each.due <= now
        for each in siblings
    )


def _next_state(
    effect: DueEffect, outcome: Outcome, now: datetime, persistence: Persistence, rng: Random
) -> tuple[EffectState, datetime | None, str]:
    if isinstance(outcome, Delivered):
        return EffectState.DONE, None, ""
    if not isinstance(outcome, Retry | Ambiguous):
        return EffectState.DEAD, None, outcome.reason
    deadline = persistence.deadline(effect)
    if now >= deadline or (outcome.after is not None and now + outcome.after > deadline):
        return EffectState.DEAD, None, f"given up after {effect.attempts} tries: {outcome.reason}"
    due = now + persistence.pause(effect.attempts, outcome.after, rng)
    return EffectState.READY, min(due, deadline), outcome.reason
