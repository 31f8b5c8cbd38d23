"""The tree of routes: one alert in, exactly one decision with a reason out.

Depth first; the first destination that matches ends the walk unless it `continues`. Nodes that only
add (`also`, `run`, `auto_resolve`) let the walk go on. Whatever goes wrong, somebody is told: an
alert without a route goes to `unmatched`, a rule that cannot be applied adds `on_rule_error`.
After the shape of Prometheus Alertmanager's route tree (dispatch/route.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tocsin.domain.findings import Decision, Labels
from tocsin.routing.classify import Classified, Facts, Rule, classify, compile_rules
from tocsin.routing.match import Matcher, MatchError, Unreadable, compile_or_unreadable
from tocsin.routing.policy import EscalationPolicy, Fallback, Route, RoutingPolicy

TIER_MEANS = {1: "page now", 2: "a channel within the hour", 3: "digest or dashboard"}
# The label with the receivers, separated by commas, that a monitor's own configuration names; with
# the severity behind it (also_page) those that are told of such alerts only.
ALSO = "also"
_SEVERITY_TIER = {"page": 1, "ticket": 2}


@dataclass(frozen=True, slots=True)
class Node:
    """A route with its condition compiled and its inheritance resolved.

    missing: receivers, policies and digests it names that do not exist; they are left out.
    """

    route: Route
    matcher: Matcher | Unreadable
    ends_here: bool
    children: tuple[Node, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Router:
    """A routing policy made ready: compile it once, decide many times."""

    policy: RoutingPolicy
    rules: tuple[Rule, ...]
    nodes: tuple[Node, ...]


def compile_policy(policy: RoutingPolicy) -> Router:
    """`policy` with every condition compiled. Never raises; what is wrong fails open when used."""
    nodes = tuple(_compile(route, Route(name=""), policy) for route in policy.routes)
    return Router(policy, compile_rules(policy.classify), nodes)


def decide(router: Router, labels: Labels, facts: Facts, suppression: str = "") -> Decision:
    """Classify and route one alert. Total: always one decision, always with a reason.

    suppression: why nobody is to be told ("silence:…", "inhibition:…", "maintenance:…"), or "".
    """
    return route(router, classify(router.rules, labels, facts), suppression)


def tried_routes(router: Router, alert: Classified) -> tuple[tuple[str, bool], ...]:
    """Every route that was asked about a classified alert, in order, and whether it matched."""
    walk = _Walk(_with_tier(alert, router.policy), router.policy)
    walk.visit(router.nodes)
    return tuple(walk.tried)


def route(router: Router, alert: Classified, suppression: str = "") -> Decision:
    """As `decide`, for an alert that was classified already."""
    alert = _with_tier(alert, router.policy)
    walk = _Walk(alert, router.policy)
    walk.ask()
    is_matched = walk.visit(router.nodes)
    decision = _decision(walk, is_matched, router.policy)
    return _explained(_capped(decision, suppression, router.policy), walk)


@dataclass(slots=True)
class _Walk:
    """What a walk through the tree has gathered so far."""

    alert: Classified
    policy: RoutingPolicy
    receivers: list[str] = field(default_factory=list)
    escalation: str = ""
    digest: str = ""
    run: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    auto_resolve: bool = True
    ends: list[str] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tried: list[tuple[str, bool]] = field(default_factory=list)

    def ask(self) -> None:
        """Add the receivers that one of our own monitors was told to tell, beside the routes."""
        if self.alert.labels.get("source", "tocsin") != "tocsin":
            return
        labels = self.alert.labels
        for_all, for_such = labels.get(ALSO, ""), labels.get(f"{ALSO}_{labels.get('severity')}", "")
        for name in filter(None, f"{for_all},{for_such}".split(",")):
            if self.policy.receivers and name not in self.policy.receivers:
                self.missing.append(f"the monitor names receiver {name}, which does not exist")
            else:
                _extend(self.receivers, (name,))

    def visit(self, nodes: Sequence[Node]) -> bool:
        """Walk siblings in order; says whether a destination among them or below was reached."""
        reached = False
        for node in nodes:
            if self._enter(node):
                reached = True
                if not node.route.continues:
                    break
        return reached

    def _enter(self, node: Node) -> bool:
        try:
            matches = node.matcher.holds({**self.alert.labels, **self.alert.facts})
        except MatchError as error:
            self.faults.append(f"route {node.route.name}: {error}")
            matches = False
        self.tried.append((node.route.name, matches))
        if not matches:
            return False
        self.trail.append(node.route.name)
        _extend(self.receivers, node.route.also)
        _extend(self.run, node.route.run)
        self.auto_resolve = self.auto_resolve and node.route.auto_resolve is not False
        self.missing.extend(node.missing)
        if self.visit(node.children):
            return True
        self.labels.update(node.route.labels)
        if node.ends_here:
            self._arrive(node.route)
        return node.ends_here

    def _arrive(self, end: Route) -> None:
        self.ends.append(end.name)
        _extend(self.receivers, end.receivers)
        if not self.escalation:
            self.escalation = end.policy
        elif end.policy and end.policy != self.escalation:
            # One incident has one escalation; the second one's first step is told at once.
            _extend(self.receivers, _first_step(self.policy.policies[end.policy]))
        self.digest = self.digest or end.digest


def _compile(source: Route, parent: Route, policy: RoutingPolicy) -> Node:
    """`source` with what it inherits from `parent`, without the names that do not exist."""
    missing: list[str] = []

    def known(names: tuple[str, ...]) -> tuple[str, ...]:
        lost = [name for name in names if policy.receivers and name not in policy.receivers]
        missing.extend(f"receiver {name}" for name in lost)
        return tuple(name for name in names if name not in lost)

    if source.policy and not _has_steps(policy, source.policy):
        missing.append(f"policy {source.policy}")
    if source.digest and source.digest not in policy.digests:
        missing.append(f"digest {source.digest}")
    resolved = replace(
        source,
        receivers=known(source.receivers) or parent.receivers,
        also=known(source.also),
        policy=source.policy if _has_steps(policy, source.policy) else parent.policy,
        digest=source.digest if source.digest in policy.digests else parent.digest,
        labels={**parent.labels, **source.labels},
    )
    only_adds = bool(source.also or source.run or source.auto_resolve is not None)
    return Node(
        route=resolved,
        matcher=compile_or_unreadable(source.when),
        ends_here=source.is_destination or (parent.is_destination and not only_adds),
        children=tuple(_compile(child, resolved, policy) for child in source.routes),
        missing=tuple(
            f"route {source.name} names {what}, which does not exist" for what in missing
        ),
    )


def _has_steps(policy: RoutingPolicy, name: str) -> bool:
    found = policy.policies.get(name)
    return found is not None and any(not step.repeat for step in found.steps)


def _first_step(policy: EscalationPolicy) -> tuple[str, ...]:
    return next((step.notify for step in policy.steps if not step.repeat), ())


def _with_tier(alert: Classified, policy: RoutingPolicy) -> Classified:
    """Where no rule set a tier, the severity that the monitor asked for does."""
    if alert.tier is not None:
        return alert
    severity = alert.labels.get("severity", "")
    tier = _SEVERITY_TIER.get(severity, policy.defaults.unmatched.tier)
    if alert.labels.get("paging") == "never":
        tier = max(tier, 2)
    source = f"severity {severity}" if severity in _SEVERITY_TIER else "unmatched"
    return replace(alert, labels={**alert.labels, "tier": str(tier)}, tier_from=source)


def _decision(walk: _Walk, is_matched: bool, policy: RoutingPolicy) -> Decision:
    tier = walk.alert.tier or policy.defaults.unmatched.tier
    receivers = list(walk.receivers)
    never_pages = walk.alert.labels.get("paging") == "never"

    def fall_back(to: Fallback, *, raises: bool = True) -> None:
        nonlocal tier
        _extend(receivers, to.receivers or policy.defaults.unmatched.receivers)
        if raises:
            tier = min(tier, max(to.tier, 2) if never_pages else to.tier)

    if not is_matched:
        fall_back(policy.defaults.unmatched)
    if walk.faults or walk.alert.faults:
        fall_back(policy.defaults.on_rule_error)
    if walk.missing:
        fall_back(policy.defaults.on_rule_error, raises=False)
    tier = min(max(tier, 1), 3)
    return Decision(
        tier=tier,
        receivers=tuple(receivers),
        policy=walk.escalation,
        digest=walk.digest,
        run=tuple(walk.run),
        labels={**walk.alert.labels, **walk.labels, "tier": str(tier)},
        # What is regulated is closed by a person, whatever the routes say.
        auto_resolve=walk.auto_resolve and walk.alert.labels.get("regulated") != "true",
        route=", ".join(walk.ends) if is_matched else "unmatched",
        trail=(*walk.alert.matched, *walk.trail),
    )


def _capped(decision: Decision, suppression: str, policy: RoutingPolicy) -> Decision:
    """What the roll-out mode of the service leaves of a decision."""
    mode = policy.mode_of(decision.labels.get("service", ""))
    if mode == "observe":
        return replace(decision, suppressed_by=suppression or "mode:observe")
    if mode == "page":
        return replace(decision, suppressed_by=suppression)
    escalation = policy.policies.get(decision.policy)
    first = _first_step(escalation) if escalation else ()
    told = [*decision.receivers, *(name for name in first if name not in decision.receivers)]
    pages = decision.tier == 1 or any(
        policy.is_pager(name)
        for step in (escalation.steps if escalation else ())
        for name in step.notify
    )
    quiet = [name for name in (told if pages else decision.receivers) if not policy.is_pager(name)]
    is_empty = not quiet and not (decision.policy and not pages) and not decision.digest
    tier = max(decision.tier, 2)
    return replace(
        decision,
        tier=tier,
        receivers=policy.defaults.unmatched.receivers if is_empty else tuple(quiet),
        policy="" if pages else decision.policy,
        labels={**decision.labels, "tier": str(tier)},
        suppressed_by=suppression,
    )


def _explained(decision: Decision, walk: _Walk) -> Decision:
    """`decision` with its reason: what set the tier, which route, who, and what went wrong."""
    source = walk.alert.tier_from or "the alert's own tier"
    parts = [f"tier {decision.tier} ({TIER_MEANS[decision.tier]}) by {source}"]
    if decision.route == "unmatched":
        parts.append("no route matches, so it fails open")
    else:
        parts.append(f"route {decision.route}")
    if decision.policy:
        parts.append(f"escalation policy {decision.policy}")
    if decision.receivers:
        parts.append(f"to {', '.join(decision.receivers)}")
    elif not decision.policy and not decision.digest:
        parts.append("to nobody, because no receiver is configured")
    if decision.digest:
        parts.append(f"in digest {decision.digest}")
    faults = [*walk.alert.faults, *walk.faults, *walk.missing]
    if faults:
        parts.append(f"failing open because {'; '.join(faults)}")
    if walk.policy.mode_of(decision.labels.get("service", "")) == "notify":
        parts.append("mode notify, which never pages")
    if decision.suppressed_by:
        parts.append(f"not told: {decision.suppressed_by}")
    return replace(decision, reason="; ".join(parts))


def _extend(names: list[str], more: Sequence[str]) -> None:
    names.extend(name for name in dict.fromkeys(more) if name not in names)
