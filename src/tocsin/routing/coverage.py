"""Times at which an escalation step would call nobody, found before they come.

A step that names several schedules (days and nights, two regions) is covered while any of them has
somebody; that one of them is off duty is then no gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from tocsin.domain.clock import iso
from tocsin.routing.oncall import ScheduleError, edges, on_call
from tocsin.routing.policy import EscalationPolicy, OnCallSchedule

_PREFIX = "oncall/"


@dataclass(frozen=True, slots=True)
class Gap:
    """Nobody of `who` is on call in [start, stop) when step `step` (from 1) of `policy` is due."""

    policy: str
    step: int
    who: tuple[str, ...]
    start: datetime
    stop: datetime

    def __str__(self) -> str:
        when = f"from {iso(self.start)} to {iso(self.stop)}"
        return f"nobody is on call {when} for step {self.step} ({', '.join(self.who)})"


def gaps(
    policies: Mapping[str, EscalationPolicy],
    oncall: Mapping[str, OnCallSchedule],
    start: datetime,
    stop: datetime,
) -> tuple[Gap, ...]:
    """Every gap of every policy in [start, stop), by policy, step and time.

    A step that names no schedule, or a user as well, has none. A schedule that does not exist or
    cannot be read has nobody.
    """
    return tuple(
        Gap(policy.name, number, step.who, begin, end)
        for policy in policies.values()
        for number, step in enumerate((s for s in policy.steps if not s.repeat), 1)
        if step.who and all(who.startswith(_PREFIX) for who in step.who)
        for begin, end in uncovered([oncall.get(w.removeprefix(_PREFIX)) for w in step.who],
                                    start, stop)
    )  # fmt: skip


def uncovered(
    schedules: Sequence[OnCallSchedule | None], start: datetime, stop: datetime
) -> list[tuple[datetime, datetime]]:
    """Spans of [start, stop) in which none of `schedules` has anybody; neighbours are one."""
    found: list[tuple[datetime, datetime]] = []
    for begin, end in _spans([s for s in schedules if s is not None], start, stop):
        if any(schedule is not None and _has(schedule, begin) for schedule in schedules):
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _spans(
    schedules: Sequence[OnCallSchedule], start: datetime, stop: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """[start, stop) cut wherever anything may change."""
    cuts = {start, stop}
    for schedule in schedules:
        try:
            cuts.update(edges(schedule, start, stop))
        except ScheduleError:
            continue
    return pairwise(sorted(cuts))


def _has(schedule: OnCallSchedule, at: datetime) -> bool:
    try:
        return on_call(schedule, at) is not None
    except ScheduleError:
        return False
