"""The configuration made ready for the tick: compiled once, used every minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.alerts.causes import CauseConfig, Used
from tocsin.alerts.changes import IncidentConfig
from tocsin.alerts.inhibit import Inhibition
from tocsin.alerts.lifecycle import LifecycleConfig
from tocsin.alerts.silence import SilenceWindow
from tocsin.assess.budget_rules import BudgetRuleConfig
from tocsin.assess.health_monitor import health_monitors
from tocsin.assess.judge import Compiled, compile_monitors
from tocsin.assess.monitor import ratios, wishes
from tocsin.assess.page_budget import listening, own_threshold
from tocsin.domain.findings import Alert
from tocsin.engine.feed import Watched
from tocsin.engine.knowing import Knowing
from tocsin.routing.alike import Alike, alike
from tocsin.routing.classify import classify, facts_of
from tocsin.routing.enrich import Enriching
from tocsin.routing.escalation import snapshot
from tocsin.routing.match import compile_or_unreadable
from tocsin.routing.policy import Defaults, RoutingPolicy
from tocsin.routing.tree import Router, compile_policy
from tocsin.spec.desired import Desired


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the tick needs to know about what people configured.

    monitors: as they are judged, detectors whose evidence is kept from low on. least: the evidence
    each of those asks for by itself. used, causes: which dependencies may explain several alerts;
    None when none may. knowing: what is remembered of alerts that were looked at. enriching: which
    evidence is gathered. decided: when something was decided last, if that is known.
    """

    desired: Desired
    monitors: Compiled
    router: Router
    alike: Alike
    knowing: Knowing
    lifecycle: LifecycleConfig
    incidents: IncidentConfig
    silences: tuple[SilenceWindow, ...]
    inhibitions: tuple[Inhibition, ...]
    watched: Watched
    least: Mapping[str, float]
    used: Used
    causes: CauseConfig | None
    enriching: Enriching
    decided: datetime | None = None

    def no_earlier(self, now: datetime) -> datetime:
        """When to decide what is judged as of `now`: never before what was decided already, or a
        silence that was over begins and ends once more, and everybody is told again."""
        return now if self.decided is None else max(now, self.decided)

    @property
    def policy(self) -> RoutingPolicy:
        """The routing policy as people wrote it."""
        return self.router.policy

    def evidence_for(self, alert: Alert, now: datetime) -> Mapping[str, float | None]:
        """Parts of the evidence that are gathered for an alert; see `Enriching.wanted`."""
        facts = facts_of(alert, (now - alert.since).total_seconds())
        return self.enriching.wanted(classify(self.router.rules, alert.labels, facts))

    def snapshot_of(self, name: str, now: datetime) -> Mapping[str, Any] | None:
        """What an incident triggered at `now` keeps of an escalation policy."""
        policy = self.policy.policies.get(name)
        if policy is None:
            return None
        return snapshot(policy, self.policy.oncall, now, self.policy.defaults.unmatched.receivers)


def compile_desired(desired: Desired) -> Rules:
    """`desired` made ready. Everything that can be wrong with it was said when it was loaded."""
    policy = replace(desired.routing, config=desired.digest)
    defaults = policy.defaults
    router = compile_policy(policy)
    common = defaults.common_cause
    inhibitions = tuple(
        Inhibition(
            rule.name or f"inhibit[{number}]",
            compile_or_unreadable(rule.source).holds,
            compile_or_unreadable(rule.target).holds,
            rule.equal,
            mutes=rule.mode == "mute",
        )
        for number, rule in enumerate(policy.inhibit, start=1)
    )
    remembering = alike(router)
    return Rules(
        desired=desired,
        monitors=compile_monitors(map(listening, desired.monitors)),
        router=router,
        alike=remembering,
        knowing=Knowing(remembering, inhibitions),
        lifecycle=_lifecycle(desired, defaults),
        incidents=_incidents(defaults),
        silences=tuple(
            SilenceWindow(
                silence.name,
                compile_or_unreadable(silence.when).holds,
                silence.start,
                silence.stop,
                silence.kind,
            )
            for silence in policy.silences
        ),
        inhibitions=inhibitions,
        watched=Watched(
            ratios(desired.monitors), tuple(desired.services), wishes(desired.monitors)
        ),
        used=Used(
            {service.name: service.env for service in desired.services.values()},
            {service.name: service.dependencies for service in desired.services.values()},
        ),
        causes=CauseConfig(common.services, common.within) if common else None,
        enriching=Enriching.of(policy.enrich),
        least={
            monitor.name: own
            for monitor in desired.monitors
            if (own := own_threshold(monitor)) is not None
        },
    )


def _lifecycle(desired: Desired, defaults: Defaults) -> LifecycleConfig:
    return LifecycleConfig(
        identity=defaults.identity,
        pending={
            monitor.name: timedelta(minutes=monitor.method.for_minutes)
            for monitor in desired.monitors
            if isinstance(monitor.method, BudgetRuleConfig)
        },
        # A health score says itself when its state is left.
        clear_after_of={
            monitor.name: timedelta(0) for monitor in health_monitors(desired.monitors)
        },
    )


def _incidents(defaults: Defaults) -> IncidentConfig:
    flap = defaults.flap
    return IncidentConfig(
        group_by=defaults.group_by,
        group_wait=defaults.group_wait,
        group_interval=defaults.group_interval,
        repeat_interval=defaults.repeat_interval,
        cooldown=defaults.cooldown,
        flap_changes=flap.changes if flap else 0,
        **({"flap_within": flap.within} if flap else {}),
    )
