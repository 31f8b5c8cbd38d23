"""A change of an incident becomes what is to be done: effects, cancellations, lines for digests,
ledger events, and a count of the messages that were spared, each under its reason.

Pure and deterministic: the same change gives the same keys, so doing it twice does nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.findings import (
    Alert,
    Decision,
    Incident,
    IncidentState,
    LedgerEvent,
    NewEffect,
)
from tocsin.routing.classify import facts_of
from tocsin.routing.digest import digest_item, digest_line, due_at, includes
from tocsin.routing.escalation import next_step, told_by
from tocsin.routing.policy import RoutingPolicy

# Why messages were spared, by the kind of suppression that a decision names.
_SPARED = {
    "silence": "silenced",
    "maintenance": "maintenance",
    "inhibition": "inhibited",
    "mode": "observed",
}
_PEOPLE = ("who", "resolved_who", "mention")
# Events after which an incident goes on afresh: who had been told is not told again, and whom that
# message never reached is.
_AFRESH = frozenset({"reopened", "eased", "unsuppressed"})
# Events after which what was decided before must not be sent any more.
_SUPERSEDING = {
    "reopened", "raised", "eased", "ack_expired", "unsuppressed", "suppressed", "resolved",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Happening:
    """A change of an incident in plain values.

    event and tell: as `alerts.changes` names them. decisions: alerts whose decision is new or
    changed, with that decision. messages: (receiver, action) of what was sent about it or is under
    way, oldest first, as the outbox has it; None if there is no outbox to ask, then as far as the
    incident remembers.
    """

    before: Incident | None
    after: Incident
    event: str
    reason: str
    tell: str
    actor: str = "engine"
    decisions: tuple[tuple[Alert, Decision], ...] = ()
    messages: Sequence[tuple[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Effects of these kinds of an incident that are still ready are not to be sent."""

    incident_id: str
    kinds: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """A line for the next issue of a digest. item: the same as data."""

    digest: str
    fingerprint: str
    text: str
    item: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one change leads to. Cancellations come before effects.

    spared: reason (grouped, digested, inhibited, silenced, maintenance, observed, cooldown,
    resolved_first) -> messages that were not sent because of it.
    """

    cancellations: tuple[Cancellation, ...] = ()
    effects: tuple[NewEffect, ...] = ()
    digest_entries: tuple[DigestEntry, ...] = ()
    events: tuple[LedgerEvent, ...] = ()
    spared: Mapping[str, int] = field(default_factory=dict)


def outcome(policy: RoutingPolicy, what: Happening, now: datetime) -> Outcome:
    """Everything that follows from one change at `now`.

    Tier 1 is told at once; tiers 2 and 3 after `group_wait`, so that company can join and what is
    over by then is never sent. One message per receiver, whatever number of alerts.
    """
    entries = _digest_entries(policy, what)
    effects = [*_notifications(policy, what, now), *_escalation(policy, what, now)]
    effects += [_digest_effect(policy, entry.digest, now) for entry in entries]
    return Outcome(
        cancellations=_cancellations(what),
        effects=tuple(effects),
        digest_entries=entries,
        events=(_incident_event(policy, what, now), *_decision_events(policy, what, now)),
        spared=_spared(policy, what, entries),
    )


def believing(messages: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Receivers that believe an incident is going on.

    messages: (receiver, action) of its messages that were sent or are under way, oldest first. A
    message that is still waiting does not count: it can be cancelled, and then nobody knows of it.
    """
    last = dict(messages)
    return tuple(receiver for receiver, action in last.items() if action != "resolve")


def depends_on_messages(tell: str, event: str) -> bool:
    """Whether what follows from a change depends on the messages before it."""
    return tell not in ("", "trigger", "join") or event in _AFRESH or event == "resolved"


def alert_event(alert: Alert, before: str, reason: str, now: datetime) -> LedgerEvent:
    """The ledger line of an alert's change of state (`before` is "" for a new alert)."""
    return LedgerEvent(
        at=now,
        kind=f"alert.{alert.state}",
        actor="engine",
        subject=alert.fingerprint,
        reason=reason,
        data={
            "from": before,
            "labels": dict(alert.labels),
            "value": alert.value,
            "expected": alert.expected,
            "unit": alert.unit,
            "score": alert.score,
            "severity": alert.severity,
            "since": iso(alert.since),
        },
    )


def refusal_event(incident_id: str, actor: str, reason: str, now: datetime) -> LedgerEvent:
    """The ledger line of a person's request that came too late or does not apply."""
    return LedgerEvent(now, "incident.refused", actor, incident_id, reason)


# --- messages --------------------------------------------------------------------------------


def _notifications(policy: RoutingPolicy, what: Happening, now: datetime) -> Iterator[NewEffect]:
    """One message per receiver that the change concerns."""
    for receiver in _addressed(policy, what):
        if not policy.is_silent(receiver):
            yield _first_message(policy, what, receiver, now)
    in_place_only = what.event in ("updated", "acknowledged", "mitigating")
    tell = what.tell
    if what.event == "resolved" and what.messages is not None:
        tell = "resolve"  # also to whom the first message reached as it was taken for unsent
    for receiver in _knowing(what) if tell not in ("", "trigger", "join") else ():
        if in_place_only and not policy.is_updated_in_place(receiver):
            continue
        if not policy.is_silent(receiver):
            yield _notify(what, receiver, tell, now)


def _addressed(policy: RoutingPolicy, what: Happening) -> Iterator[str]:
    """Receivers to whom it is something new: those of the first step after all others."""
    incident, heard = what.after, _memory(what.before).get("heard", ())
    first = _first_step(what)["receivers"]
    everybody = [name for name in incident.receivers if name not in first]
    everybody += first
    if what.tell == "trigger":
        yield from everybody
    elif what.event in _AFRESH and not incident.suppressed_by:
        # Silent, because they had been told; whom that message never reached had not. What the
        # public reads must not go on saying that it is over.
        told, knowing = _reached(what), _knowing(what)
        for name in everybody:
            if name not in (knowing if policy.is_public(name) else told):
                yield name
    elif what.tell == "join":
        yield from (name for name in everybody if name not in heard)


def _first_message(
    policy: RoutingPolicy, what: Happening, receiver: str, now: datetime
) -> NewEffect:
    incident, first = what.after, _first_step(what)
    due = now + _wait(policy, incident.tier)
    if receiver not in first["receivers"]:
        effect = _notify(what, receiver, "trigger", due)
        is_guarded = policy.is_pager(receiver)
    else:
        effect = _notify(what, receiver, "trigger", due + timedelta(seconds=first["after_s"]))
        people = {name: first[name] for name in _PEOPLE if name in first}
        effect = replace(effect, payload={**effect.payload, **people})
        is_guarded = not _is_ticket(policy, what, receiver)
    guard = {"state": _wanted_in(what, receiver)} if is_guarded else {}
    return replace(effect, guard={**effect.guard, **guard})


def _first_step(what: Happening) -> Mapping[str, Any]:
    """The step that an escalation begins with; who joins later is told beside it."""
    if what.after.policy is None or not _begins(what):
        return {"after_s": 0, "receivers": []}
    step: Mapping[str, Any] = what.after.policy["steps"][0]
    return step


def _wanted_in(what: Happening, receiver: str) -> str | list[str]:
    """States of an incident in which a page about it is still wanted: while nobody has it in hand.

    Whoever has it took what was known then. A newcomer is told of what joined since, which may be
    another team's, also after that.
    """
    if what.tell == "join" and receiver not in _memory(what.before).get("heard", ()):
        return [IncidentState.TRIGGERED, IncidentState.ACKNOWLEDGED, IncidentState.MITIGATING]
    return IncidentState.TRIGGERED


def _is_ticket(policy: RoutingPolicy, what: Happening, receiver: str) -> bool:
    """Whether a message is the record that a person has to close: it wakes nobody, and is wanted
    also of what somebody has in hand or what has recovered meanwhile."""
    needs_person = not _memory(what.after).get("auto_resolve", True)
    return needs_person and not policy.is_pager(receiver)


def _notify(what: Happening, receiver: str, action: str, due: datetime) -> NewEffect:
    incident = what.after
    return NewEffect(
        key=_key(what, receiver, action),
        kind="notify",
        receiver=receiver,
        incident_id=incident.id,
        action=action,
        due=due,
        lane=incident.tier,
        payload=_payload(what, action),
        guard={"episode": incident.episode},
    )


def _escalation(policy: RoutingPolicy, what: Happening, now: datetime) -> Iterator[NewEffect]:
    """The timer of the step after the first, whenever an incident is triggered afresh."""
    incident = what.after
    if not _begins(what) or incident.state is not IncidentState.TRIGGERED or not incident.policy:
        return
    coming = next_step(incident.policy, incident.step)
    if coming is None:
        return
    first_s = incident.policy["steps"][0]["after_s"]
    delay = timedelta(seconds=first_s + coming.delay_s)
    yield NewEffect(
        key=_key(what, "escalate", "trigger", step=incident.step),
        kind="escalate",
        receiver="",
        incident_id=incident.id,
        action="trigger",
        due=now + _wait(policy, incident.tier) + delay,
        lane=incident.tier,
        payload={"policy": incident.policy["name"], "round": _round(incident)},
        guard={"state": "triggered", "episode": incident.episode, "step": incident.step},
    )


def _begins(what: Happening) -> bool:
    """Whether people are told as at the beginning, and the escalation runs from its first step."""
    return what.tell == "trigger" or what.event in _AFRESH


def _cancellations(what: Happening) -> tuple[Cancellation, ...]:
    if what.before is None:
        return ()
    if what.event in _SUPERSEDING:
        return (Cancellation(what.after.id, ("notify", "escalate"), what.reason),)
    if what.after.state is not IncidentState.TRIGGERED:
        return (Cancellation(what.after.id, ("escalate",), what.reason),)
    return ()


def _wait(policy: RoutingPolicy, tier: int) -> timedelta:
    return timedelta(0) if tier == 1 else policy.defaults.group_wait


def _knowing(what: Happening) -> tuple[str, ...]:
    """Receivers that are to hear how it goes on."""
    return _reached(what) if what.messages is None else believing(what.messages)


def _reached(what: Happening) -> tuple[str, ...]:
    """Receivers that have ever heard of it."""
    if what.messages is not None:
        heard = [receiver for receiver, _ in what.messages]
    elif what.before is None:
        heard = []
    else:
        heard = list(_memory(what.before).get("heard", ()))
        heard += told_by(what.before.policy, what.before.step) if what.before.policy else ()
    return tuple(dict.fromkeys(heard))


def _key(what: Happening, receiver: str, action: str, step: int = 0) -> str:
    """Stable over retries; a further round of triggering or a further update is a new key."""
    incident = what.after
    in_place = action in ("update", "acknowledge")
    number = _memory(incident).get("updates", 0) if in_place else _round(incident)
    suffix = "" if number == 1 else f":{number}"
    return f"{incident.id}:{step}:{receiver}:{action}{suffix}"


def _round(incident: Incident) -> int:
    return int(_memory(incident).get("round", 0))


def _memory(incident: Incident | None) -> Mapping[str, Any]:
    """What `alerts.memory` keeps with an incident."""
    found: Mapping[str, Any] = incident.evidence.get("memory", {}) if incident else {}
    return found


def _payload(what: Happening, action: str) -> dict[str, Any]:
    """What a message is made of (JSON)."""
    incident = what.after
    return {
        "incident": incident.id,
        "episode": incident.episode,
        "action": action,
        "event": what.event,
        "why": what.reason,
        "title": incident.title,
        "tier": incident.tier,
        "state": incident.state.value,
        "labels": dict(incident.labels),
        "route": incident.route,
        "reason": incident.reason,
        "opened": iso(incident.opened),
        "acknowledged_by": incident.acknowledged_by,
        "finding": incident.evidence.get("lead", {}),
    }


# --- digests ---------------------------------------------------------------------------------


def _digest_entries(policy: RoutingPolicy, what: Happening) -> tuple[DigestEntry, ...]:
    """A line when a digested incident begins and one when it ends; never while suppressed."""
    digest = policy.digests.get(str(_memory(what.after).get("digest", "")))
    is_news = what.tell == "trigger" or what.event in ("reopened", "resolved", "recovered")
    if digest is None or not is_news or what.after.suppressed_by:
        return ()
    if not includes(digest, what.after):
        return ()
    item = digest_item(what.after)
    return (DigestEntry(digest.name, what.after.id, digest_line(item), item),)


def _digest_effect(policy: RoutingPolicy, name: str, now: datetime) -> NewEffect:
    """The next issue of a digest: one effect, whichever of its lines comes first."""
    digest = policy.digests[name]
    due = due_at(digest, now)
    return NewEffect(
        key=f"digest:{name}:{iso(due)}",
        kind="digest",
        receiver=name,
        incident_id="",
        action="trigger",
        due=due,
        lane=3,
        payload={"digest": name, "to": list(digest.to), "report": digest.report},
    )


# --- ledger and counts -----------------------------------------------------------------------


def _incident_event(policy: RoutingPolicy, what: Happening, now: datetime) -> LedgerEvent:
    """What happened to the incident; whom its escalation calls, whenever that begins."""
    incident = what.after
    begins = what.tell == "trigger" and incident.policy is not None
    return LedgerEvent(
        at=now,
        kind=f"incident.{what.event}",
        actor=what.actor,
        subject=incident.id,
        reason=what.reason,
        data={
            "from": "" if what.before is None else what.before.state.value,
            "to": incident.state.value,
            "tier": incident.tier,
            "route": incident.route,
            "policy": incident.policy["name"] if incident.policy else "",
            "receivers": list(incident.receivers),
            "suppressed_by": incident.suppressed_by,
            **_joined_and_left(what),
            "firing": len(incident.alerts),
            "tell": str(what.tell),
            "title": incident.title,
            "config": policy.config,
            **({"escalation": incident.policy} if begins else {}),
        },
    )


def _joined_and_left(what: Happening) -> dict[str, list[str]]:
    """Which alerts it has now and had not before, and the other way round."""
    known = set(what.before.alerts) if what.before else set[str]()
    firing = set(what.after.alerts)
    return {"joined": sorted(firing - known), "left": sorted(known - firing)}


def _decision_events(
    policy: RoutingPolicy, what: Happening, now: datetime
) -> Iterator[LedgerEvent]:
    """One line per alert whose decision is new or changed, suppressed or not.

    labels, facts, config: all that the decision follows from, so that it can be derived again.
    """
    for alert, decision in what.decisions:
        yield LedgerEvent(
            at=now,
            kind="alert.suppressed" if decision.suppressed_by else "alert.routed",
            actor=what.actor,
            subject=alert.fingerprint,
            reason=decision.reason,
            data={
                "incident": what.after.id,
                "tier": decision.tier,
                "route": decision.route,
                "receivers": list(decision.receivers),
                "policy": decision.policy,
                "digest": decision.digest,
                "run": list(decision.run),
                "suppressed_by": decision.suppressed_by,
                "trail": list(decision.trail),
                "labels": alert.labels,
                "facts": facts_of(alert, (now - alert.since).total_seconds()),
                "config": policy.config,
            },
        )


def _spared(
    policy: RoutingPolicy, what: Happening, entries: Sequence[DigestEntry]
) -> dict[str, int]:
    """Messages that a naive alerter (one per alert and receiver) would have sent."""
    known = what.before.decided if what.before else {}
    counts: Counter[str] = Counter()
    is_first = what.tell == "trigger"
    for alert, decision in what.decisions:
        if decision.suppressed_by:
            kind = _SPARED.get(decision.suppressed_by.partition(":")[0], "suppressed")
            counts[kind] += _audience(policy, decision)
        elif what.event == "reopened" and not what.tell:
            counts["cooldown"] += _audience(policy, decision)
        elif is_first:
            is_first = False
        elif alert.fingerprint not in known:
            counts["grouped"] += _audience(policy, decision)
    counts["digested"] += sum(len(policy.digests[entry.digest].to) for entry in entries)
    if what.event == "resolved" and not what.tell:
        heard = _memory(what.before).get("heard", ())
        counts["resolved_first"] += sum(not policy.is_silent(name) for name in heard)
    return {reason: count for reason, count in counts.items() if count}


def _audience(policy: RoutingPolicy, decision: Decision) -> int:
    """How many receivers would hear of an alert at once."""
    escalation = policy.policies.get(decision.policy)
    first = escalation.steps[0].notify if escalation and escalation.steps else ()
    names = {*decision.receivers, *first}
    return sum(not policy.is_silent(name) for name in names)
