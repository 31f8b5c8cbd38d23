"""Documents about who is told and when: OnCallSchedule, EscalationPolicy and Digest."""

from __future__ import annotations

from datetime import UTC, datetime, time
from itertools import pairwise
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from tocsin.routing import policy
from tocsin.routing.cron import CronError, parse_cron
from tocsin.routing.oncall import WEEKDAYS, ScheduleError, on_call
from tocsin.spec.shape import Condition, Duration, OneOrMany, SnakeShape, Text, Zone

_ANY_DAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


def _check_cron(cron: str) -> str:
    try:
        parse_cron(cron).next_after(_ANY_DAY, ZoneInfo("UTC"))
    except CronError as error:
        raise ValueError(str(error)) from None
    return cron


Cron = Annotated[str, AfterValidator(_check_cron)]


def _check_people(people: tuple[str, ...]) -> tuple[str, ...]:
    for who in people:
        if not who.startswith(("oncall/", "user/")):
            raise ValueError(f"{who!r} must be oncall/<schedule> or user/<name>")
    return people


People = Annotated[OneOrMany, AfterValidator(_check_people)]


class OverrideShape(SnakeShape):
    """Somebody else is on call from `start` until `stop`."""

    user: Text
    start: AwareDatetime
    stop: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> OverrideShape:
        if self.stop <= self.start:
            raise ValueError("stop must lie after start")
        return self


class AbsenceShape(OverrideShape):
    """A person is away from `start` until `stop`; without an override that time is a gap."""


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WallTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class HoursShape(SnakeShape):
    """The schedule is for this part of the week only: `from` until `to` on the wall clock.

    A `to` at or before `from` lies on the next day.
    """

    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = (
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
    )
    start: WallTime = Field(alias="from")
    stop: WallTime = Field(alias="to")

    def build(self) -> policy.Hours:
        """The same, as routing reads it."""
        days = frozenset(WEEKDAYS.index(day) for day in self.days)
        return policy.Hours(days, time.fromisoformat(self.start), time.fromisoformat(self.stop))


class OnCallShape(SnakeShape):
    """People who take turns. A turn begins at `handoff`, on the clock of the time zone."""

    users: Annotated[tuple[Text, ...], Field(min_length=1)]
    rotation: Literal["daily", "weekly"] = "weekly"
    handoff: str = "Mon 09:00"
    tz: Zone = "UTC"
    starting: str = ""
    overrides: tuple[OverrideShape, ...] = ()
    away: tuple[AbsenceShape, ...] = ()
    hours: HoursShape | None = None

    @model_validator(mode="after")
    def _can_be_read(self) -> OnCallShape:
        try:
            on_call(self.build("schedule"), _ANY_DAY)
        except ScheduleError as error:
            raise ValueError(str(error)) from None
        return self

    def build(self, name: str) -> policy.OnCallSchedule:
        """The same, as routing reads it."""
        overrides = tuple(policy.Override(o.user, o.start, o.stop) for o in self.overrides)
        return policy.OnCallSchedule(
            name, self.users, self.rotation, self.handoff, self.tz, self.starting, overrides,
            away=tuple(policy.Absence(a.user, a.start, a.stop) for a in self.away),
            hours=self.hours.build() if self.hours else None,
        )  # fmt: skip


class StepShape(SnakeShape):
    """Whom to tell `after` the incident was triggered; `repeat` starts the policy again."""

    after: Duration
    notify: OneOrMany = ()
    who: People = ()
    mention: str = ""
    raises: str = Field(default="", alias="raise")
    repeat: Annotated[int, Field(ge=0, le=100)] = 0

    def build(self) -> policy.EscalationStep:
        """The same, as routing reads it."""
        return policy.EscalationStep(
            self.after, self.notify, self.who, self.mention, self.raises, self.repeat
        )


def _check_order(steps: tuple[StepShape, ...]) -> tuple[StepShape, ...]:
    for earlier, later in pairwise(steps):
        if later.after < earlier.after:
            raise ValueError("steps must be in the order of `after`")
    return steps


class EscalationShape(SnakeShape):
    """Steps until somebody acknowledges. With another owner the vendor of the pager escalates."""

    owner: Literal["tocsin", "pagerduty", "opsgenie", "splunk_oncall"] = "tocsin"
    steps: Annotated[tuple[StepShape, ...], Field(min_length=1), AfterValidator(_check_order)]
    ack_expires: Duration | None = policy.EscalationPolicy("", ()).ack_expires

    def build(self, name: str) -> policy.EscalationPolicy:
        """The same, as routing reads it."""
        steps = tuple(step.build() for step in self.steps)
        return policy.EscalationPolicy(name, steps, self.owner, self.ack_expires)


class DigestShape(SnakeShape):
    """What is told together, at the times of `cron`, if it matches `include`."""

    cron: Cron
    tz: Zone = "UTC"
    to: Annotated[OneOrMany, Field(min_length=1)]
    include: Condition = Field(default_factory=dict)
    report: str = ""

    def build(self, name: str) -> policy.Digest:
        """The same, as routing reads it."""
        return policy.Digest(name, self.cron, self.to, self.tz, self.include, self.report)
