"""Silences, maintenance and stand-ins that people make while Tocsin runs, and end when they like.

They lie beside the configuration: made at three in the morning, in force at once, over by
themselves. What is known weeks ahead belongs into documents. Every one is in the ledger, from which
`why` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from tocsin.alerts.silence import SilenceWindow
from tocsin.domain.arrangements import Arrangement, ArrangementKind
from tocsin.domain.errors import Unanswerable
from tocsin.engine.rules import Rules
from tocsin.routing.coverage import Gap, gaps
from tocsin.routing.match import MatchError, compile_condition, compile_or_unreadable
from tocsin.routing.oncall import ScheduleError, Shift, on_call
from tocsin.routing.policy import OnCallSchedule, Override
from tocsin.store import arrangements
from tocsin.store.state import StateStore

LONGEST = {"silence": timedelta(days=7), "maintenance": timedelta(days=30),
           "override": timedelta(days=60)}  # fmt: skip
AHEAD = timedelta(days=14)


class CannotArrange(Unanswerable):
    """Something that must not be arranged as it was asked for; the text says why."""


@dataclass(frozen=True, slots=True)
class OnDuty:
    """Who has a schedule. shift: None while it is nobody's. next: whose turn comes after."""

    schedule: OnCallSchedule
    shift: Shift | None
    next: Shift | None


def windows(found: Iterable[Arrangement]) -> tuple[SilenceWindow, ...]:
    """The silences and maintenance windows among arrangements."""
    return tuple(
        SilenceWindow(each.id, compile_or_unreadable(each.when).holds, each.start, each.stop,
                      each.kind)
        for each in found
        if each.kind != "override"
    )  # fmt: skip


def with_arrangements(rules: Rules, found: Sequence[Arrangement]) -> Rules:
    """`rules` as they are while these arrangements hold."""
    if not found:
        return rules
    oncall = dict(rules.policy.oncall)
    for each in found:
        schedule = oncall.get(each.schedule) if each.kind == "override" else None
        if schedule is not None:
            stand_in = Override(each.user, each.start, each.stop)
            oncall[each.schedule] = replace(schedule, overrides=(*schedule.overrides, stand_in))
    policy = replace(rules.policy, oncall=oncall)
    return replace(
        rules,
        router=replace(rules.router, policy=policy),
        silences=(*rules.silences, *windows(found)),
    )


class Arranging:
    """What people arrange about one Tocsin.

    rules: the configuration at work. then: called when something was made or ended, so that it
    counts at once and not a minute later.
    """

    def __init__(
        self,
        state: StateStore,
        rules: Callable[[], Rules],
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self._state = state
        self._rules = rules
        self._then = then

    def held(self, now: datetime) -> Sequence[Arrangement]:
        """Those that hold at `now` or will."""
        return [each for each in self._state.arrangements() if each.stop > now]

    def silence(
        self,
        kind: ArrangementKind,
        when: Mapping[str, Any],
        span: tuple[datetime, datetime],
        actor: str,
        comment: str,
        now: datetime,
    ) -> Arrangement:
        """Tell nobody about alerts matching `when` in `span`. CannotArrange when that is unsafe."""
        if not when:
            raise CannotArrange("a condition without labels would silence everything; name one")
        try:
            compile_condition(when)
        except MatchError as error:
            raise CannotArrange(str(error)) from None
        made = self._new(kind, span, actor, comment, now)
        return self._keep(replace(made, when=dict(when)))

    def override(
        self,
        schedule: str,
        user: str,
        span: tuple[datetime, datetime],
        actor: str,
        comment: str,
        now: datetime,
    ) -> Arrangement:
        """`user` is on call in `schedule` in `span`, whatever the rotation says."""
        known = self._rules().policy.oncall
        if schedule not in known:
            names = ", ".join(sorted(known)) or "none is configured"
            raise CannotArrange(f"there is no on-call schedule {schedule!r}; there is {names}")
        if not user:
            raise CannotArrange("name who is to be on call")
        made = self._new("override", span, actor, comment, now)
        return self._keep(replace(made, schedule=schedule, user=user))

    def end(self, arrangement_id: str, actor: str, now: datetime) -> Arrangement:
        """Let it be over now. CannotArrange when nothing of that name still holds or will."""
        with self._state.transaction() as tx:
            found = {each.id: each for each in arrangements.latest(tx) if each.stop > now}
            if arrangement_id not in found:
                raise CannotArrange(f"{arrangement_id} is over, or never was")
            arrangements.end(tx, found[arrangement_id], actor, now)
        self._then()
        return replace(found[arrangement_id], stop=now)

    def duty(self, now: datetime) -> list[OnDuty]:
        """Every schedule with who has it."""
        rules = with_arrangements(self._rules(), self.held(now))
        return [
            OnDuty(schedule, _shift(schedule, now), _following(schedule, now))
            for schedule in rules.policy.oncall.values()
        ]

    def gaps(self, now: datetime, ahead: timedelta = AHEAD) -> Sequence[Gap]:
        """When an escalation would call nobody, up to so far ahead."""
        policy = with_arrangements(self._rules(), self.held(now)).policy
        return gaps(policy.policies, policy.oncall, now, now + ahead)

    def _new(
        self,
        kind: ArrangementKind,
        span: tuple[datetime, datetime],
        actor: str,
        comment: str,
        now: datetime,
    ) -> Arrangement:
        start, stop = span
        if stop <= max(start, now):
            raise CannotArrange("it would be over before it begins; choose a later end")
        if stop - max(start, now) > LONGEST[kind]:
            raise CannotArrange(
                f"a {kind} of more than {LONGEST[kind].days} days belongs into a document, where "
                "it is reviewed; choose an earlier end"
            )
        if kind != "override" and not comment:
            raise CannotArrange("say in a few words why nobody is to be told")
        return Arrangement(uuid4().hex[:8], kind, start, stop, actor, now, comment)

    def _keep(self, made: Arrangement) -> Arrangement:
        with self._state.transaction() as tx:
            arrangements.put(tx, made)
        self._then()
        return made


def _shift(schedule: OnCallSchedule, at: datetime) -> Shift | None:
    try:
        return on_call(schedule, at)
    except ScheduleError:
        return None


def _following(schedule: OnCallSchedule, now: datetime) -> Shift | None:
    current = _shift(schedule, now)
    return None if current is None else _shift(schedule, current.stop)
