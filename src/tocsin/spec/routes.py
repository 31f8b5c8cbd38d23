"""Documents about where an alert goes: Routing (rules, evidence, inhibition, routes, tests)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from tocsin.routing import policy as rules
from tocsin.routing.match import MatchError
from tocsin.routing.simulate import split_alert
from tocsin.spec.duty import Cron
from tocsin.spec.shape import (
    Condition,
    Duration,
    OneOrMany,
    SnakeShape,
    Text,
    Zone,
    read_duration,
)

Tier = Annotated[int, Field(ge=1, le=3)]


class FallbackShape(SnakeShape):
    """Where an alert goes that nothing else took care of."""

    tier: Tier
    receivers: OneOrMany = ()


class FlapShape(SnakeShape):
    """When an incident that comes and goes is held open."""

    changes: Annotated[int, Field(ge=2)] = 4
    within: Duration = rules.Flap().within
    then: Literal["hold"] = "hold"


class CommonCauseShape(SnakeShape):
    """When alerts of several services are one incident of the provider or other dependency that
    they all use."""

    services: Annotated[
        int, Field(ge=2, description="how many services must begin to fail together")
    ] = rules.CommonCause().services
    within: Annotated[Duration, Field(description="how far apart they may begin")] = (
        rules.CommonCause().within
    )


class DrillShape(SnakeShape):
    """A test page through every receiver at the times of `cron`; one that misses it is told."""

    cron: Cron
    tz: Zone = "UTC"
    receivers: OneOrMany = ()


class DefaultsShape(SnakeShape):
    """What holds for every alert unless a rule says otherwise."""

    identity: Annotated[tuple[Text, ...], Field(min_length=1)] = rules.Defaults().identity
    group_by: Annotated[tuple[Text, ...], Field(min_length=1)] = rules.Defaults().group_by
    group_wait: Duration = rules.Defaults().group_wait
    group_interval: Duration = rules.Defaults().group_interval
    repeat_interval: Duration = rules.Defaults().repeat_interval
    cooldown: Duration = rules.Defaults().cooldown
    flap: FlapShape | None = FlapShape()
    drill: DrillShape | None = None
    common_cause: CommonCauseShape | None = CommonCauseShape()
    unmatched: FallbackShape = FallbackShape(tier=2)
    on_rule_error: FallbackShape = FallbackShape(tier=1)

    def build(self) -> rules.Defaults:
        """The same, as routing reads it."""
        given = {name: getattr(self, name) for name in _PLAIN_DEFAULTS}
        flap, common, drill = self.flap, self.common_cause, self.drill
        return rules.Defaults(
            **given,
            drill=rules.Drill(drill.cron, drill.tz, drill.receivers) if drill else None,
            flap=rules.Flap(flap.changes, flap.within, flap.then) if flap else None,
            common_cause=rules.CommonCause(common.services, common.within) if common else None,
            unmatched=rules.Fallback(self.unmatched.tier, self.unmatched.receivers),
            on_rule_error=rules.Fallback(self.on_rule_error.tier, self.on_rule_error.receivers),
        )


_PLAIN_DEFAULTS = (
    "identity", "group_by", "group_wait", "group_interval", "repeat_interval", "cooldown",
)  # fmt: skip


def _check_set(labels: dict[str, str | int]) -> dict[str, str | int]:
    if "tier" in labels and labels["tier"] not in (1, 2, 3):
        raise ValueError(f"tier must be 1, 2 or 3, not {labels['tier']!r}")
    return labels


class ClassifyShape(SnakeShape):
    """If the condition holds, set these labels. A later rule may only raise the tier."""

    name: str = ""
    when: Condition = Field(default_factory=dict, alias="if")
    set: Annotated[dict[str, str | int], Field(min_length=1), AfterValidator(_check_set)]
    force: bool = False
    when_unset: bool = False

    def build(self) -> rules.ClassifyRule:
        """The same, as routing reads it."""
        return rules.ClassifyRule(self.when, self.set, self.force, self.when_unset, self.name)


class InhibitShape(SnakeShape):
    """While an alert matches `source`, alerts that match `target` are not told."""

    name: str = ""
    source: Condition
    target: Condition
    equal: tuple[Text, ...] = ()
    mode: Literal["mute", "annotate"] = "mute"

    def build(self) -> rules.InhibitRule:
        """The same, as routing reads it."""
        return rules.InhibitRule(self.source, self.target, self.equal, self.mode, self.name)


class RouteShape(SnakeShape):
    """A node of the routing tree: the first destination that matches ends the walk.

    `also`, `run`, `labels` and `auto_resolve` add and let the walk go on.
    """

    name: Text
    when: Condition = Field(default_factory=dict, alias="if")
    receivers: OneOrMany = ()
    also: OneOrMany = ()
    policy: str = ""
    digest: str = ""
    run: OneOrMany = ()
    auto_resolve: bool | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    continues: bool = Field(default=False, alias="continue")
    routes: tuple[RouteShape, ...] = ()

    def build(self) -> rules.Route:
        """The same, as routing reads it."""
        return rules.Route(
            name=self.name,
            when=self.when,
            receivers=self.receivers,
            also=self.also,
            policy=self.policy,
            digest=self.digest,
            run=self.run,
            auto_resolve=self.auto_resolve,
            labels=self.labels,
            continues=self.continues,
            routes=tuple(route.build() for route in self.routes),
        )


LONGEST_WAIT = timedelta(seconds=5)


def _check_no_settings(settings: dict[str, Any]) -> dict[str, Any]:
    if settings:
        raise ValueError(
            "nothing is asked while a page waits: write a Source of type statuspage or probe for"
            " each address, and remove `with`"
        )
    return settings


class EnrichShape(SnakeShape):
    """Evidence to gather for alerts that match. Without any, all of it is gathered."""

    name: Text
    use: Literal[
        "github.deployments", "tocsin.changes", "status.statuspage", "http.health",
        "tocsin.breakdown", "tocsin.runbook",
    ]  # fmt: skip
    when: Condition = Field(default_factory=dict, alias="if")
    timeout: Annotated[
        Duration | None, Field(description="how long a page waits for it; 5s at most, usually 3s")
    ] = None
    settings: Annotated[
        dict[str, Any],
        AfterValidator(_check_no_settings),
        Field(description="nothing: what is to be asked stands in Source documents"),
    ] = Field(default_factory=dict, alias="with")

    @model_validator(mode="after")
    def _delays_no_page(self) -> EnrichShape:
        if self.timeout is not None and not timedelta(0) < self.timeout <= LONGEST_WAIT:
            raise ValueError("timeout must be more than 0s and at most 5s: a page waits for it")
        return self

    def build(self) -> rules.Enrichment:
        """The same, as routing reads it."""
        return rules.Enrichment(self.name, self.use, self.when, self.timeout)


class SilenceShape(SnakeShape):
    """Nobody is told about alerts that match, from `start` until `stop`; escalation stops too."""

    name: Text
    when: Annotated[Condition, Field(min_length=1)] = Field(alias="if")
    start: AwareDatetime
    stop: AwareDatetime
    kind: Literal["silence", "maintenance"] = "maintenance"
    comment: str = ""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> SilenceShape:
        if self.stop <= self.start:
            raise ValueError("stop must lie after start")
        return self

    def build(self) -> rules.Silence:
        """The same, as routing reads it."""
        return rules.Silence(self.name, self.when, self.start, self.stop, self.kind,
                             comment=self.comment)  # fmt: skip


def _check_alert(alert: dict[str, Any]) -> dict[str, Any]:
    try:
        split_alert(alert)
    except MatchError as error:
        raise ValueError(str(error)) from None
    return alert


Names = Annotated[OneOrMany | None, Field(description="in any order; null for none")]
Label = str | int | float | bool | None


def _check_times(told: dict[str, Any]) -> dict[str, Any]:
    for after in told:
        read_duration(after)
    return told


class ExpectShape(SnakeShape):
    """What must become of an alert; what is not named may be as it likes."""

    tier: Tier = 3
    policy: str | None = None
    receivers: Names = None
    digest: str | None = None
    run: Names = None
    labels: Annotated[dict[str, Label], Field(description="at least these")] = Field(
        default_factory=dict
    )
    auto_resolve: bool = True
    route: str | None = None
    suppressed_by: str | None = None
    escalation: Annotated[
        dict[str, OneOrMany] | None,
        AfterValidator(lambda told: told and _check_times(told)),
        Field(description="whom the policy tells, by the time after the trigger; null for nobody"),
    ] = None

    @model_validator(mode="after")
    def _expects_something(self) -> ExpectShape:
        if not self.model_fields_set:
            raise ValueError("expects nothing: name the tier, the policy, the receivers or more")
        return self

    def build(self) -> dict[str, Any]:
        """What is named, as `routing.simulate` compares it."""
        expected = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.model_dump(include=self.model_fields_set).items()
        }
        if self.escalation:
            told = {read_duration(after): names for after, names in self.escalation.items()}
            expected["escalation"] = told
        return expected


class TestShape(SnakeShape):
    """An alert, and what must become of it. `tocsin plan` runs it."""

    __test__ = False

    name: Text
    alert: Annotated[dict[str, Any], AfterValidator(_check_alert)]
    expect: ExpectShape

    def build(self, where: str) -> rules.RoutingTest:
        """The same, as routing reads it. where: its file and line."""
        return rules.RoutingTest(self.name, self.alert, self.expect.build(), where)


class RoutingShape(SnakeShape):
    """Who is told about an alert: classify, inhibit, route, and the tests of it all.

    Several documents are read as one, in the order of their names; only one may have `defaults`.
    """

    defaults: DefaultsShape | None = None
    classify: tuple[ClassifyShape, ...] = ()
    enrich: tuple[EnrichShape, ...] = ()
    inhibit: tuple[InhibitShape, ...] = ()
    routes: tuple[RouteShape, ...] = ()
    silences: tuple[SilenceShape, ...] = ()
    tests: tuple[TestShape, ...] = ()
