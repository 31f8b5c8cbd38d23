"""Builders for routing tests: a policy read from a flat mapping such as the example's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.routing.match import quantity
from tocsin.routing.policy import (
    ClassifyRule,
    Defaults,
    Digest,
    EscalationPolicy,
    EscalationStep,
    Fallback,
    InhibitRule,
    OnCallSchedule,
    Route,
    RoutingPolicy,
    RoutingTest,
)


def names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def span(value: Any) -> timedelta:
    return timedelta(seconds=quantity(str(value)))


def route(raw: Mapping[str, Any]) -> Route:
    return Route(
        name=raw["name"],
        when=raw.get("if", {}),
        receivers=names(raw.get("receivers")),
        also=names(raw.get("also")),
        policy=raw.get("policy", ""),
        digest=raw.get("digest", ""),
        run=names(raw.get("run")),
        auto_resolve=raw.get("auto_resolve"),
        labels=raw.get("labels", {}),
        continues=raw.get("continue", False),
        routes=tuple(route(child) for child in raw.get("routes", ())),
    )


def step(raw: Mapping[str, Any]) -> EscalationStep:
    return EscalationStep(
        after=span(raw["after"]),
        notify=names(raw.get("notify")),
        who=names(raw.get("who")),
        mention=raw.get("mention", ""),
        raises=raw.get("raise", ""),
        repeat=raw.get("repeat", 0),
    )


def escalation(name: str, raw: Mapping[str, Any]) -> EscalationPolicy:
    return EscalationPolicy(
        name=name,
        steps=tuple(step(entry) for entry in raw["steps"]),
        owner=raw.get("owner", "tocsin"),
        ack_expires=span(raw["ack_expires"]) if "ack_expires" in raw else timedelta(hours=2),
    )


def fallback(raw: Mapping[str, Any]) -> Fallback:
    return Fallback(raw["tier"], names(raw["receivers"]))


def rules(raw: Sequence[Mapping[str, Any]]) -> tuple[ClassifyRule, ...]:
    return tuple(
        ClassifyRule(
            when=entry.get("if", {}),
            set=entry["set"],
            force=entry.get("force", False),
            when_unset=entry.get("when_unset", False),
            name=entry.get("name", ""),
        )
        for entry in raw
    )


def flat_policy(raw: Mapping[str, Any]) -> RoutingPolicy:
    defaults = raw.get("defaults", {})
    return RoutingPolicy(
        defaults=Defaults(
            unmatched=fallback(defaults["unmatched"]),
            on_rule_error=fallback(defaults["on_rule_error"]),
        ),
        classify=rules(raw["classify"]),
        inhibit=tuple(
            InhibitRule(
                entry["source"], entry["target"], names(entry["equal"]), entry.get("mode", "mute")
            )
            for entry in raw["inhibit"]
        ),
        routes=tuple(route(entry) for entry in raw["routes"]),
        receivers={name: entry["type"] for name, entry in raw["receivers"].items()},
        policies={name: escalation(name, entry) for name, entry in raw["policies"].items()},
        oncall={
            name: OnCallSchedule(
                name, names(entry["users"]), entry["rotation"], entry["handoff"], entry["tz"]
            )
            for name, entry in raw["oncall"].items()
        },
        digests={
            name: Digest(
                name, entry["cron"], names(entry["to"]), entry["tz"], entry.get("include", {})
            )
            for name, entry in raw["digests"].items()
        },
        tests=tuple(RoutingTest(t["name"], t["alert"], t["expect"]) for t in raw["tests"]),
    )


RECEIVERS = {
    "pd": "pagerduty", "slack": "slack", "mail": "email", "jira": "jira", "ops": "email",
    "board": "none",
}  # fmt: skip

PAGE = EscalationPolicy(
    "page",
    (
        EscalationStep(notify=("pd", "slack"), who=("oncall/primary",)),
        EscalationStep(after=timedelta(minutes=15), notify=("pd", "mail"), who=("user/boss",)),
        EscalationStep(after=timedelta(minutes=30), repeat=2),
    ),
)
HOUR = EscalationPolicy(
    "hour",
    (
        EscalationStep(notify=("slack",)),
        EscalationStep(after=timedelta(hours=1), notify=("slack",), who=("oncall/primary",)),
    ),
)
ONCALL = {"primary": OnCallSchedule("primary", ("ana", "bo", "cy"))}


def policy(*routes: Route, **given: Any) -> RoutingPolicy:
    """A small policy: severity sets the tier; tier 1 pages, tier 2 has an hour, tier 3 a digest."""
    standard = (
        Route("page", when={"tier": 1, "paging": "!never"}, policy="page"),
        Route("hour", when={"tier": 2}, policy="hour"),
        Route("low", when={"tier": 3}, receivers=("board",), digest="daily"),
    )
    settings: dict[str, Any] = {
        "defaults": Defaults(unmatched=Fallback(2, ("ops",)), on_rule_error=Fallback(1, ("ops",))),
        "receivers": RECEIVERS,
        "policies": {"page": PAGE, "hour": HOUR},
        "oncall": ONCALL,
        "digests": {"daily": Digest("daily", "0 8 * * *", ("mail",))},
        "routes": routes or standard,
    }
    return RoutingPolicy(**{**settings, **given})
