"""Common causes: when a dependency fails, its services' alerts are one incident and not many.

A dependency is held to be the cause when

* half or more of the services that use it, two at least, begin to fail within minutes of each
  other, and of the others at most half as large a share does: a few of many are chance, and what
  everybody suffers from is not one provider's; or
* its status page or a probe says that it has an outage, and one service that uses it fails.

Then there is an alert of its own (the parent), told to everybody whom its children would have been
told to, as urgently as the most urgent of them; they are inhibited by it and keep incidents of
their own, which nobody is told. Whom to tell is never looked up anew for the parent, so that
folding can lose nobody. It ends like every alert, minutes after its reasons ended; what then still
fires is told. Only signals that a dependency can cause count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.alerts.grouping import Routed, picture
from tocsin.alerts.inhibit import MARK
from tocsin.domain.clock import iso, to_minute
from tocsin.domain.dependencies import DependencyState, DependencyStatus, about, standing
from tocsin.domain.findings import Alert, AlertState, Decision, Judgement, Verdict

SIGNAL = "dependency_failure"
PREFIX = "dependency/"
# What a failing dependency makes of a service. Costs, drift and ratings have other reasons.
SIGNALS = frozenset({
    "error_rate", "endpoint_down", "retrieval_failure", "latency", "latency_p50", "latency_p95",
    "latency_p99",
})  # fmt: skip
# Objectives are all routed as one signal: what they are about says whether they count.
_OBJECTIVE = "slo_breach"
_PROMISES = ("availability", "errors", "success", "latency", "first_token", "retrieval")
MOST_CHILDREN = 20
LEAST_SHARE, MOST_ELSEWHERE = 0.5, 0.5


@dataclass(frozen=True, slots=True)
class CauseConfig:
    """services: how many must begin to fail within `within` of each other."""

    services: int = 2
    within: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Used:
    """What services use and do not own: service -> its environment, and names of dependencies."""

    env: Mapping[str, str]
    by: Mapping[str, tuple[str, ...]]
    _users: Mapping[tuple[str, str], frozenset[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found: dict[tuple[str, str], set[str]] = {}
        for service, dependencies in self.by.items():
            for name in ("", *dependencies) if dependencies else ():
                found.setdefault((name, self.env[service]), set()).add(service)
        frozen = {key: frozenset(services) for key, services in found.items()}
        object.__setattr__(self, "_users", frozen)

    def users(self, dependency: str, env: str) -> frozenset[str]:
        """The services of an environment that use it; of "" those that use anything."""
        return self._users.get((dependency, env), frozenset())

    def others(self, dependency: str, env: str) -> frozenset[str]:
        """The services of an environment that use other dependencies, and not this one."""
        return self.users("", env) - self.users(dependency, env)


def is_parent(alert: Alert) -> bool:
    """Whether an alert is a common cause."""
    labels = alert.labels
    return labels.get("source") == "tocsin" and labels.get("monitor", "").startswith(PREFIX)


def causes(
    firing: Mapping[str, Alert],
    parents: Iterable[Alert],
    used: Used,
    statuses: Sequence[DependencyStatus],
    now: datetime,
    config: CauseConfig,
) -> list[Verdict]:
    """A breach for every dependency that explains what fires now; the best explanation first.

    firing: every other alert. parents: causes that were held before; they go on while anything
    speaks for them, and before new ones. Each service is explained once.
    """
    if not any(used.by.values()):
        return []  # nobody uses anything
    failing = _failing(firing)
    held = {_key(parent): parent for parent in parents if parent.state is not AlertState.RESOLVED}
    found: list[tuple[tuple[Any, ...], _Cause]] = []
    for env in sorted({env for _, env in failing}):
        named = {name for service, at in failing if at == env for name in used.by.get(service, ())}
        for dependency in sorted(named):
            parent = held.get((dependency, env))
            cause = _Cause(dependency, env, used, tuple(about(statuses, dependency, now)), parent)
            services = cause.explained(failing, config)
            if services:
                found.append((cause.rank(services, failing), cause))
    verdicts = []
    explained: set[tuple[str, str]] = set()
    for _, cause in sorted(found, key=lambda pair: pair[0]):
        left = {key: since for key, since in failing.items() if key not in explained}
        services = cause.explained(left, config)
        if services:
            explained |= {(service, cause.env) for service in services}
            verdicts.append(cause.verdict(services, failing, firing, now))
    return verdicts


def fold_children(
    parents: Iterable[Alert],
    routed: Sequence[Routed],
    used: Used,
    now: datetime,
    config: CauseConfig,
    first_step: Callable[[str], Sequence[str]] = lambda _: (),
) -> list[Routed]:
    """`routed` with every alert that a parent explains folded under it, and those parents.

    A parent without children is left out: nobody suffers from it now. first_step: whom an
    escalation policy tells first, by its name.
    """
    members = list(routed)
    told = []
    for parent in sorted(parents, key=lambda alert: (alert.since, alert.fingerprint)):
        mine = [i for i, one in enumerate(members) if _is_child(one, parent, used, config)]
        if not mine:
            continue
        name = f"inhibition:{parent.labels['monitor']}"
        children = [members[i] for i in mine]
        told.append(Routed(parent, _decision(parent, children, name, first_step)))
        for i in mine:
            members[i] = _folded(members[i], name, now)
    return [*members, *told]


# --- private -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cause:
    """One dependency in one environment that may explain something."""

    dependency: str
    env: str
    used: Used
    said: tuple[DependencyStatus, ...]
    parent: Alert | None

    @property
    def has_outage(self) -> bool:
        return standing(self.said) is DependencyState.OUTAGE

    def explained(
        self, failing: Mapping[tuple[str, str], datetime], config: CauseConfig
    ) -> tuple[str, ...]:
        """Services that it explains, none when it explains too little."""
        users = self.used.users(self.dependency, self.env)
        mine = {s: since for (s, env), since in failing.items() if env == self.env and s in users}
        if not mine:
            return ()
        if self.parent is not None:
            lasting = [s for s, since in mine.items() if since >= self.parent.since - config.within]
            enough = 1 if self.has_outage else config.services
            return tuple(sorted(lasting)) if len(lasting) >= enough else ()
        latest = max(mine.values())
        together = sorted(s for s, since in mine.items() if since >= latest - config.within)
        if self.has_outage:
            began = min(one.since for one in self.said if one.state is DependencyState.OUTAGE)
            return tuple(sorted(s for s, since in mine.items() if since >= began - config.within))
        if len(together) < config.services:
            return ()
        share = len(together) / len(users)
        others = self.share_of_others(failing, latest - config.within)
        is_contrast = share >= LEAST_SHARE and others <= MOST_ELSEWHERE * share
        return tuple(together) if is_contrast else ()

    def share_of_others(
        self, failing: Mapping[tuple[str, str], datetime], since: datetime
    ) -> float:
        """Which part of the services that do not use it began to fail since then as well."""
        others = self.used.others(self.dependency, self.env)
        also = sum(
            1 for (s, env), at in failing.items() if env == self.env and s in others and at >= since
        )
        return also / len(others) if others else 0.0

    def rank(
        self, services: Sequence[str], failing: Mapping[tuple[str, str], datetime]
    ) -> tuple[Any, ...]:
        """What is held already goes first, then what is said to be down, then what fits best."""
        users = self.used.users(self.dependency, self.env)
        since = min(failing[service, self.env] for service in services)
        contrast = len(services) / len(users) - self.share_of_others(failing, since)
        is_new = self.parent is None
        return (is_new, not self.has_outage, -contrast, -len(services), self.dependency)

    def verdict(
        self,
        services: Sequence[str],
        failing: Mapping[tuple[str, str], datetime],
        firing: Mapping[str, Alert],
        now: datetime,
    ) -> Verdict:
        users = self.used.users(self.dependency, self.env)
        others = self.used.others(self.dependency, self.env)
        since = min(failing[service, self.env] for service in services)
        also = round(self.share_of_others(failing, since) * len(others))
        contrast = f"{len(services)} of {len(users)} services on {self.dependency} fail"
        compared = (
            f"{also} of {len(others)} others"
            if others
            else f"every service here uses it, so that it may be {self.dependency} or us"
        )
        mine = [a for a in firing.values() if _counts(a) and a.labels.get("service") in services]
        mine = [a for a in mine if a.labels.get("env", "") == self.env]
        lines = [_line(a) for a in sorted(mine, key=lambda a: (a.since, a.fingerprint))]
        said = [str(status) for status in self.said]
        severity = "page" if any(a.severity == "page" for a in mine) else "ticket"
        return Verdict(
            monitor=_monitor(self.dependency, self.env),
            service=self.dependency,
            signal=SIGNAL,
            judgement=Judgement.BREACH,
            minute=to_minute(now),
            severity=severity,
            value=float(len(services)),
            expected=0.0,
            unit="services",
            window=(to_minute(since), to_minute(now)),
            reason=f"{contrast} ({', '.join(services)}), {compared}"
            + (f"; {said[0]}" if said and self.said[0].state is DependencyState.OUTAGE else ""),
            labels={"dependency": self.dependency, "env": self.env, "kind": "dependency"},
            evidence={
                "provider_note": f"{contrast}, {compared}",
                "dependencies": said,
                "children": lines[:MOST_CHILDREN],
                "services": list(services),
            },
        )


def _failing(firing: Mapping[str, Alert]) -> dict[tuple[str, str], datetime]:
    """(service, environment) -> since when it fails in a way that a dependency can cause."""
    found: dict[tuple[str, str], datetime] = {}
    for alert in firing.values():
        if _counts(alert) and alert.state is AlertState.FIRING:
            key = (alert.labels.get("service", ""), alert.labels.get("env", ""))
            found[key] = min(found.get(key, alert.since), alert.since)
    return found


def _counts(alert: Alert) -> bool:
    signal = alert.labels.get("signal", "")
    if signal == _OBJECTIVE:
        return alert.labels.get("slo_metric", "").startswith(_PROMISES)
    return signal in SIGNALS


def _key(parent: Alert) -> tuple[str, str]:
    return parent.labels.get("dependency", ""), parent.labels.get("env", "")


def _monitor(dependency: str, env: str) -> str:
    return f"{PREFIX}{dependency}/{env}" if env else f"{PREFIX}{dependency}"


def _is_child(one: Routed, parent: Alert, used: Used, config: CauseConfig) -> bool:
    """Whether a parent explains an alert: it began no earlier than its cause may have."""
    dependency, env = _key(parent)
    alert = one.alert
    return (
        _counts(alert)
        and not is_parent(alert)
        and alert.labels.get("service", "") in used.users(dependency, env)
        and alert.labels.get("env", "") == env
        and alert.since >= parent.since - config.within
        and not _is_anothers(one, parent)
    )


def _is_anothers(one: Routed, parent: Alert) -> bool:
    by = one.decision.suppressed_by
    return by.startswith(f"inhibition:{PREFIX}") and by != f"inhibition:{parent.labels['monitor']}"


def _decision(
    parent: Alert,
    children: Sequence[Routed],
    name: str,
    first_step: Callable[[str], Sequence[str]],
) -> Decision:
    """Everybody whom a child would have been told to, as urgently as the most urgent one.

    A child that still lingers under this very parent speaks as loudly as it did before. One
    incident has one escalation, that of the most urgent when it began, which need not be that of
    the most urgent now: so everybody's first step is told, and who is in the escalation's is told
    by it.
    """
    loud = [
        replace(one, decision=replace(one.decision, suppressed_by=""))
        if one.decision.suppressed_by == name
        else one
        for one in children
    ]
    seen = picture(loud)
    told = [one.decision for one in loud if seen.suppressed_by or not one.decision.suppressed_by]
    policies = dict.fromkeys(one.policy for one in told if one.policy)
    more = [who for policy in policies for who in first_step(policy)]
    return Decision(
        tier=seen.tier,
        receivers=tuple(dict.fromkeys([*seen.receivers, *more])),
        policy=seen.policy,
        digest=seen.digest,
        run=seen.run,
        labels={**parent.labels, "tier": str(seen.tier)},
        auto_resolve=seen.auto_resolve,
        suppressed_by=seen.suppressed_by,
        route=seen.route,
        reason=f"tier {seen.tier} of the most urgent of {len(children)} alerts that it explains; "
        f"route {seen.route}; to everybody who would have been told of them",
        trail=(parent.labels["monitor"],),
    )


def _folded(one: Routed, name: str, now: datetime) -> Routed:
    if one.decision.suppressed_by:
        return one
    marked = {**one.alert.evidence, MARK: {"by": name, "at": iso(now)}}
    reason = f"{one.decision.reason}; not told: {name}"
    decision = replace(one.decision, suppressed_by=name, reason=reason)
    return Routed(replace(one.alert, evidence=marked), decision)


def _line(alert: Alert) -> str:
    service, signal = (alert.labels.get(name, "") for name in ("service", "signal"))
    return f"{service} {signal.replace('_', ' ')} since {alert.since:%H:%M}: {alert.reason}"[:300]
