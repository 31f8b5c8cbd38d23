"""Runs an incident's escalation policy, one step at a time, until somebody has it.

The policy is the snapshot the incident was opened with:

    {"name": "page-15m", "ack_expires_s": 7200, "steps": [
      {"after_s": 0, "receivers": ["pager"], "who": ["ana"]},
      {"after_s": 900, "receivers": ["pager", "mail"], "who": ["bo", "boss"]},
      {"after_s": 1800, "repeat": 3}]}

`after_s` counts from when the escalation began. The step with `repeat` starts the policy again that
many times. `Incident.step` is the number of the next step, counted through all repetitions. Keys
carry the incident's version besides: an incident that is triggered afresh runs its steps again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.delivery.effects import ACTOR, DueEffect, OutboxTransaction, cancel, guard_failure
from tocsin.domain.findings import EffectState, Incident, IncidentState, LedgerEvent, NewEffect

# Later than this, the pauses between steps count from now: after an outage of Tocsin itself people
# get their time to react instead of every missed step at once.
TOLERANCE = timedelta(minutes=2)
_PEOPLE = ("who", "resolved_who", "mention")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a policy: when it is due, counted from the beginning, and whom it tells.

    people: who is meant, as the snapshot has it (who, resolved_who, mention).
    """

    number: int
    after: timedelta
    receivers: tuple[str, ...]
    people: Mapping[str, Any]


def step_of(policy: Mapping[str, Any] | None, number: int) -> Step | None:
    """Step `number` of a policy snapshot, repetitions unrolled; None when there are no more."""
    steps = list((policy or {}).get("steps", ()))
    telling = [step for step in steps if not step.get("repeat") or step.get("receivers")]
    if not telling:
        return None
    again = next((step for step in steps if step.get("repeat")), None)
    cycle, index = divmod(number, len(telling))
    if cycle > (int(again["repeat"]) if again else 0):
        return None
    loop_s = float(again["after_s"]) if again else 0.0
    step = telling[index]
    return Step(
        number=number,
        after=timedelta(seconds=cycle * loop_s + float(step.get("after_s", 0))),
        receivers=tuple(step.get("receivers", ())),
        people={name: step[name] for name in _PEOPLE if name in step},
    )


def escalation(incident: Incident, begins: datetime) -> NewEffect | None:
    """The effect that runs the next step of an incident whose escalation began at `begins`.

    For the engine, in the transaction that opens or re-triggers an incident. None without a step.
    """
    step = step_of(incident.policy, incident.step)
    return None if step is None else _effect(incident, step.number, begins + step.after)


def escalate(
    tx: OutboxTransaction, effect: DueEffect, incident: Incident | None, now: datetime
) -> None:
    """Run the next step if nobody has the incident: messages, next step and ledger in one."""
    reason = _why_not(effect, incident)
    if incident is None or reason:
        cancel(tx, effect, reason or "there is no such incident", now)
        return
    step = step_of(incident.policy, incident.step)
    if step is None:
        _end(tx, effect, incident, now, "escalation.exhausted", "the policy has no further step")
        return
    after = replace(
        incident,
        version=incident.version + 1,
        state=IncidentState.TRIGGERED,
        step=incident.step + 1,
        updated=now,
    )
    tx.put_incident(after, expect_version=incident.version)
    _tell(tx, after, step, now)
    _plan_next(tx, effect, after, step, now)
    told = ", ".join(step.receivers) or "nobody"
    _end(tx, effect, after, now, "incident.escalated", f"step {step.number} tells {told}")


# --- private -----------------------------------------------------------------------------------


def _why_not(effect: DueEffect, incident: Incident | None) -> str:
    if incident is None:
        return "there is no such incident"
    if not incident.state.is_live:
        return f"the incident is {incident.state.value}"
    failed = guard_failure(effect.guard, incident)
    if failed:
        return failed
    if incident.state is not IncidentState.TRIGGERED:
        return f"the incident is {incident.state.value}"
    return ""


def _tell(tx: OutboxTransaction, incident: Incident, step: Step, now: datetime) -> None:
    for receiver in step.receivers:
        tx.add_effect(
            NewEffect(
                key=f"{incident.id}:{step.number}:{receiver}:trigger:v{incident.version}",
                kind="notify",
                receiver=receiver,
                incident_id=incident.id,
                action="trigger",
                due=now,
                lane=incident.tier,
                payload={"step": step.number, **step.people},
                guard={"state": IncidentState.TRIGGERED.value, "episode": incident.episode},
            )
        )


def _plan_next(
    tx: OutboxTransaction, effect: DueEffect, incident: Incident, step: Step, now: datetime
) -> None:
    following = step_of(incident.policy, incident.step)
    if following is None:
        return
    begins = effect.due if now - effect.due <= TOLERANCE else now
    tx.add_effect(
        _effect(incident, following.number, begins + max(following.after - step.after, timedelta()))
    )


def _effect(incident: Incident, number: int, due: datetime) -> NewEffect:
    return NewEffect(
        key=f"{incident.id}:{number}:v{incident.version}:escalate",
        kind="escalate",
        receiver="",
        incident_id=incident.id,
        action="trigger",
        due=due,
        lane=incident.tier,
        guard={
            "state": IncidentState.TRIGGERED.value,
            "episode": incident.episode,
            "step": number,
        },
    )


def _end(
    tx: OutboxTransaction,
    effect: DueEffect,
    incident: Incident,
    now: datetime,
    kind: str,
    reason: str,
) -> None:
    tx.settle(effect.id, EffectState.DONE, reason=reason, now=now)
    _log(tx, incident, kind, now, reason)


def _log(tx: OutboxTransaction, incident: Incident, kind: str, now: datetime, reason: str) -> None:
    policy = (incident.policy or {}).get("name", "")
    tx.append(
        LedgerEvent(
            at=now,
            kind=kind,
            actor=ACTOR,
            subject=incident.id,
            reason=reason,
            data={"policy": policy, "step": incident.step},
        )
    )
