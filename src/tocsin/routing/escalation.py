"""Escalation: the snapshot of a policy that an incident keeps, and what comes next in it.

The snapshot is taken when the incident is triggered, so that an edited policy changes the next
incident and never one under way. It is plain JSON:

    {"name": "page-15m", "owner": "tocsin", "ack_expires_s": 7200,
     "steps": [{"after_s": 0, "receivers": ["pd"], "who": ["oncall/primary"],
                "resolved_who": ["ana"]},
               {"after_s": 900, ...},
               {"after_s": 1800, "repeat": 3}]}

`after_s` counts from the trigger (of each round, when a policy repeats). A policy that a vendor
owns keeps its first step only: there is exactly one owner of escalation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.routing.oncall import ScheduleError, on_call
from tocsin.routing.policy import EscalationPolicy, EscalationStep, OnCallSchedule

Snapshot = Mapping[str, Any]
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NextStep:
    """A step that is to run `delay_s` seconds after the one before it; repetitions count on."""

    number: int
    delay_s: float
    receivers: tuple[str, ...]
    who: tuple[str, ...]


def timetable(policy: EscalationPolicy) -> dict[timedelta, tuple[str, ...]]:
    """Whom a policy tells, by the time after the trigger, if nobody acknowledges.

    Only receivers: who is on call depends on when it is triggered.
    """
    nameless = tuple(replace(step, who=()) for step in policy.steps)
    taken = snapshot(replace(policy, steps=nameless), {}, _ANY_TIME)
    told: dict[timedelta, tuple[str, ...]] = {}
    number, after = 0, timedelta(0)
    while step := next_step(taken, number):
        after += timedelta(seconds=step.delay_s)
        told[after] = tuple(dict.fromkeys((*told.get(after, ()), *step.receivers)))
        number += 1
    return told


def snapshot(
    policy: EscalationPolicy,
    oncall: Mapping[str, OnCallSchedule],
    now: datetime,
    fallback: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What an incident that is triggered at `now` keeps of `policy`.

    resolved_who is whoever is on call when the step comes due. Where a step names people and
    nobody can be found, `gap` says why and the `fallback` receivers are told as well.
    """
    steps: list[dict[str, Any]] = []
    for step in policy.steps:
        if step.repeat:
            if not steps:
                continue  # nothing to repeat yet
            steps.append({"after_s": int(step.after.total_seconds()), "repeat": step.repeat})
            break
        steps.append(_step(step, oncall, now, fallback))
        if policy.owner != "tocsin":
            break
    expires = policy.ack_expires
    return {
        "name": policy.name,
        "owner": policy.owner,
        "steps": steps,
        "ack_expires_s": None if expires is None else int(expires.total_seconds()),
    }


def snapshots(
    policies: Mapping[str, EscalationPolicy],
    oncall: Mapping[str, OnCallSchedule],
    now: datetime,
    fallback: tuple[str, ...] = (),
) -> Callable[[str], Snapshot | None]:
    """Snapshots of policies by name, taken at `now`; None for one without steps or unknown."""

    def snapshot_of(name: str) -> Snapshot | None:
        policy = policies.get(name)
        taken = None if policy is None else snapshot(policy, oncall, now, fallback)
        return taken if taken and taken["steps"] else None

    return snapshot_of


def next_step(taken: Snapshot, step: int) -> NextStep | None:
    """The step of `taken` with number `step`; None when nothing is left to escalate to.

    Numbers go on through repetitions: of two steps repeated once, step 2 is the first one again.
    """
    steps = _telling(taken)
    begins_s = _offset_s(taken, step)
    if begins_s is None:
        return None
    before_s = _offset_s(taken, step - 1)
    entry = steps[step % len(steps)]
    return NextStep(
        number=step,
        delay_s=max(begins_s - (before_s or 0.0), 0.0),
        receivers=tuple(entry["receivers"]),
        who=tuple(entry["resolved_who"]),
    )


def told_by(taken: Snapshot, step: int) -> tuple[str, ...]:
    """Receivers of the steps that ran before `step` became the next one."""
    names = [name for entry in _telling(taken)[: max(step, 0)] for name in entry["receivers"]]
    return tuple(dict.fromkeys(names))


def _telling(taken: Snapshot) -> list[Mapping[str, Any]]:
    return [entry for entry in taken["steps"] if "repeat" not in entry]


def _offset_s(taken: Snapshot, step: int) -> float | None:
    """Seconds from the trigger to step `step`; None if it does not exist."""
    steps = _telling(taken)
    again = next((entry for entry in taken["steps"] if "repeat" in entry), None)
    if step < 0 or not steps:
        return None
    cycle, index = divmod(step, len(steps))
    if cycle > (again["repeat"] if again else 0):
        return None
    return float(cycle * (again["after_s"] if again else 0) + steps[index]["after_s"])


def _step(
    step: EscalationStep,
    oncall: Mapping[str, OnCallSchedule],
    now: datetime,
    fallback: tuple[str, ...],
) -> dict[str, Any]:
    people: list[str] = []
    gaps: list[str] = []
    for name in step.who:
        person, gap = _resolve(name, oncall, now + step.after)
        people.extend([person] if person else [])
        gaps.extend([gap] if gap else [])
    receivers = list(step.notify)
    entry: dict[str, Any] = {
        "after_s": int(step.after.total_seconds()),
        "receivers": receivers,
        "who": list(step.who),
        "resolved_who": list(dict.fromkeys(people)),
    }
    if step.who and not people:
        receivers.extend(name for name in fallback if name not in receivers)
    if gaps:
        entry["gap"] = "; ".join(gaps)
    if step.mention:
        entry["mention"] = step.mention
    if step.raises:
        entry["raise"] = step.raises
    return entry


def _resolve(name: str, oncall: Mapping[str, OnCallSchedule], at: datetime) -> tuple[str, str]:
    """The person behind "oncall/<schedule>" or "user/<name>", and why there is none."""
    if not name.startswith("oncall/"):
        return name.removeprefix("user/"), ""
    schedule = oncall.get(name.removeprefix("oncall/"))
    if schedule is None:
        return "", f"{name} is not a known schedule"
    try:
        shift = on_call(schedule, at)
    except ScheduleError as error:
        return "", str(error)
    return (shift.user, "") if shift else ("", f"{name} has nobody then")
