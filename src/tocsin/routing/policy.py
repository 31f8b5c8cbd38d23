"""What a team writes down about routing: rules, routes, escalation, on-call, digests, silences.

Frozen configuration and nothing else. Field names are those of the `Routing`, `EscalationPolicy`,
`OnCallSchedule` and `Digest` documents; where YAML's word is a word of Python, the field is named
`when` (for `if`), `continues` (for `continue`) and `raises` (for `raise`). Durations are
`timedelta`. A `Condition` stays the mapping a person wrote; `routing.match` compiles it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, Literal

Condition = Mapping[str, Any]
Mode = Literal["observe", "notify", "page"]

# Receiver types that wake somebody up: what `mode: notify` keeps silent.
PAGER_TYPES = frozenset({"pagerduty", "opsgenie", "splunk_oncall"})
# Receiver types that cannot change a message they sent: small news would only be more messages.
NOT_IN_PLACE_TYPES = frozenset({"email", "teams"})
# Receiver types that only show: nothing is sent.
SILENT_TYPES = frozenset({"none"})
# Receiver types that the public reads: nothing is tested there.
PUBLIC_TYPES = frozenset({"statuspage", "status_webhook"})


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where an alert goes that no rule took care of: nothing is ever dropped."""

    tier: int
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flap:
    """An incident that changes between firing and clear `changes` times `within` is held open."""

    changes: int = 4
    within: timedelta = timedelta(minutes=30)
    then: Literal["hold"] = "hold"


@dataclass(frozen=True, slots=True)
class CommonCause:
    """When alerts of several services are one incident of what they all use: `services` of them
    began to fail within `within` of each other."""

    services: int = 2
    within: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Drill:
    """A test page through every receiver at the times of `cron` in `tz`.

    receivers: only these; () is every one that tells somebody, status pages excepted.
    """

    cron: str
    tz: str = "UTC"
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for every alert unless said otherwise.

    identity: labels that make up an alert's fingerprint. group_by: labels that make up an
    incident's group key. group_wait: how long the first message of tiers 2 and 3 waits for company;
    tier 1 never waits. group_interval: the least time between two updates of one incident.
    repeat_interval: when somebody is reminded of an incident nobody acknowledged. cooldown: how
    long after it was resolved an incident re-opens as the same episode. drill: when every receiver
    is tested; None is never.
    """

    identity: tuple[str, ...] = ("source", "monitor", "service", "env", "segment")
    group_by: tuple[str, ...] = ("service", "env", "signal")
    group_wait: timedelta = timedelta(seconds=20)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    cooldown: timedelta = timedelta(minutes=30)
    flap: Flap | None = field(default_factory=Flap)
    common_cause: CommonCause | None = field(default_factory=CommonCause)
    drill: Drill | None = None
    unmatched: Fallback = Fallback(tier=2)
    on_rule_error: Fallback = Fallback(tier=1)


@dataclass(frozen=True, slots=True)
class ClassifyRule:
    """If `when` holds, set these labels.

    set: label -> text or number; `tier` is 1, 2 or 3. A later rule may raise the tier (towards 1)
    but not lower it, and not raise it once `paging: never` was set, unless it has `force`
    (in YAML: `force: true`). when_unset: sets only labels that nothing has set so far.
    """

    when: Condition = field(default_factory=dict)
    set: Mapping[str, str | int] = field(default_factory=dict)
    force: bool = False
    when_unset: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While an alert matches `source`, alerts matching `target` with equal labels are not told.

    mode "annotate" tells them anyway, with a note that says what probably caused them.
    """

    source: Condition
    target: Condition
    equal: tuple[str, ...] = ()
    mode: Literal["mute", "annotate"] = "mute"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One node of the tree.

    A node with receivers, a policy or a digest is a destination: the walk ends there unless
    `continues`. `also` and `run` add and let the walk go on. Children are tried first and inherit
    what they do not set themselves; labels are merged.
    """

    name: str
    when: Condition = field(default_factory=dict)
    receivers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    policy: str = ""
    digest: str = ""
    run: tuple[str, ...] = ()
    auto_resolve: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    continues: bool = False
    routes: tuple[Route, ...] = ()

    @property
    def is_destination(self) -> bool:
        """Whether an alert may end here."""
        return bool(self.receivers or self.policy or self.digest)


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """Whom to tell `after` the incident was triggered.

    who: "oncall/<schedule>" or "user/<name>". repeat: if set, the step tells nobody but starts the
    policy again from its first step, that many times.
    """

    after: timedelta = timedelta(0)
    notify: tuple[str, ...] = ()
    who: tuple[str, ...] = ()
    mention: str = ""
    raises: str = ""
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    """Steps in the order of `after`. With an `owner` other than "tocsin" the vendor escalates."""

    name: str
    steps: tuple[EscalationStep, ...]
    owner: str = "tocsin"
    ack_expires: timedelta | None = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Override:
    """`user` is on call in [start, stop) whatever the rotation says; the last one listed wins."""

    user: str
    start: datetime
    stop: datetime


@dataclass(frozen=True, slots=True)
class Absence:
    """`user` is away in [start, stop): unless somebody overrides it, that turn is nobody's."""

    user: str
    start: datetime
    stop: datetime


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the week on the wall clock: from `start` to `stop` on days (0 is Monday).

    A `stop` at or before `start` lies on the next day.
    """

    days: frozenset[int]
    start: time
    stop: time


@dataclass(frozen=True, slots=True)
class OnCallSchedule:
    """Users who take turns.

    rotation: a turn lasts a day or a week. handoff: "09:00" or "Mon 09:00" in the IANA zone `tz`;
    it is a time on the wall, so a turn across a change to or from summer time is an hour shorter
    or longer. starting: a date on or after which `users[0]` has the first turn; "" counts from
    Monday 2024-01-01. hours: the schedule is for this part of the week only, None for all of it.
    """

    name: str
    users: tuple[str, ...]
    rotation: Literal["daily", "weekly"] = "weekly"
    handoff: str = "Mon 09:00"
    tz: str = "UTC"
    starting: str = ""
    overrides: tuple[Override, ...] = ()
    away: tuple[Absence, ...] = ()
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Digest:
    """What is told together, at the times of `cron` in `tz`, to `to`, if it matches `include`."""

    name: str
    cron: str
    to: tuple[str, ...]
    tz: str = "UTC"
    include: Condition = field(default_factory=dict)
    report: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told about alerts matching `when` in [start, stop).

    kind "maintenance" is the same, planned: it is named as such wherever it shows.
    """

    name: str
    when: Condition
    start: datetime
    stop: datetime
    kind: Literal["silence", "maintenance"] = "silence"
    created_by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Enrichment:
    """Evidence to gather for alerts that match `when`.

    use: a name of `routing.enrich.USES`. timeout: how long a page waits for it, None as long as for
    any other.
    """

    name: str
    use: str
    when: Condition = field(default_factory=dict)
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PlaybookStep:
    """One thing to do, in words. check: the name of the check that it is, "" if it is none."""

    text: str
    check: str = ""


@dataclass(frozen=True, slots=True)
class Playbook:
    """What people do about an incident. tells: receivers that hear of it. link: where more is."""

    name: str
    steps: tuple[PlaybookStep, ...]
    tells: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class RoutingTest:
    """An alert, flat as in YAML (labels and facts together), and what must become of it.

    where: its file and line, "" if it has none.
    """

    name: str
    alert: Mapping[str, Any]
    expect: Mapping[str, Any]
    where: str = field(default="", compare=False)


# What an alert's monitor asks for, when a team wrote no classification of its own.
BY_SEVERITY = (
    ClassifyRule(name="severity page", when={"severity": "page"}, set={"tier": 1}),
    ClassifyRule(name="severity ticket", when={"severity": "ticket"}, set={"tier": 2}),
)


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """Everything that decides who is told about an alert.

    receivers: name -> type ("slack", "pagerduty", ...; "" if unknown). modes: service -> how much
    of a decision may leave: observe (nothing), notify (no paging), page (all of it). config: digest
    of the configuration it is part of, which every recorded decision names.
    """

    defaults: Defaults = field(default_factory=Defaults)
    classify: tuple[ClassifyRule, ...] = BY_SEVERITY
    inhibit: tuple[InhibitRule, ...] = ()
    routes: tuple[Route, ...] = ()
    receivers: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, EscalationPolicy] = field(default_factory=dict)
    oncall: Mapping[str, OnCallSchedule] = field(default_factory=dict)
    digests: Mapping[str, Digest] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)
    default_mode: Mode = "page"
    tests: tuple[RoutingTest, ...] = ()
    enrich: tuple[Enrichment, ...] = ()
    playbooks: Mapping[str, Playbook] = field(default_factory=dict)
    config: str = ""

    def mode_of(self, service: str) -> Mode:
        """How much of a decision about `service` may leave the house."""
        return self.modes.get(service, self.default_mode)

    def is_pager(self, receiver: str) -> bool:
        """Whether `receiver` wakes somebody up."""
        return self.receivers.get(receiver, "") in PAGER_TYPES

    def is_silent(self, receiver: str) -> bool:
        """Whether nothing is ever sent to `receiver`."""
        return self.receivers.get(receiver, "") in SILENT_TYPES

    def is_public(self, receiver: str) -> bool:
        """Whether the public reads what `receiver` shows."""
        return self.receivers.get(receiver, "") in PUBLIC_TYPES

    def drilled(self) -> tuple[str, ...]:
        """Receivers that a test page goes to."""
        drill = self.defaults.drill
        if drill is None or drill.receivers:
            return drill.receivers if drill else ()
        left_out = SILENT_TYPES | PUBLIC_TYPES
        return tuple(name for name, kind in self.receivers.items() if kind not in left_out)

    def is_updated_in_place(self, receiver: str) -> bool:
        """Whether `receiver` can change a message it has sent."""
        return self.receivers.get(receiver, "") not in NOT_IN_PLACE_TYPES

    def names_used(self) -> Mapping[str, frozenset[str]]:
        """Every name that rules refer to, by kind: receivers, policies, digests, oncall.

        For a linter, which compares them with the names that exist.
        """
        receivers = {*self.defaults.unmatched.receivers, *self.defaults.on_rule_error.receivers}
        receivers.update(self.defaults.drill.receivers if self.defaults.drill else ())
        policies: set[str] = set()
        digests: set[str] = set()
        pending = list(self.routes)
        while pending:
            route = pending.pop()
            receivers.update(route.receivers, route.also)
            policies.update({route.policy} - {""})
            digests.update({route.digest} - {""})
            pending.extend(route.routes)
        schedules: set[str] = set()
        for policy in self.policies.values():
            for step in policy.steps:
                receivers.update(step.notify)
                schedules.update(
                    name.removeprefix("oncall/") for name in step.who if name.startswith("oncall/")
                )
        for digest in self.digests.values():
            receivers.update(digest.to)
        return {
            "receivers": frozenset(receivers),
            "policies": frozenset(policies),
            "digests": frozenset(digests),
            "oncall": frozenset(schedules),
        }
