"""What is valid and still wrong: routes nobody reaches, pages nobody can answer, alarms that
cannot ring.

An error forbids `apply`; a warning is shown and left to the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.assess.burn import unreachable
from tocsin.assess.monitor import Objective
from tocsin.routing.match import MatchError, compile_condition, quantity
from tocsin.routing.policy import Condition, EscalationPolicy, Route, RoutingPolicy
from tocsin.routing.tree import ALSO, compile_policy, decide
from tocsin.spec.desired import Desired
from tocsin.spec.retention import dubious, shortfalls
from tocsin.spec.status_pages import StatusPageShape
from tocsin.store.schema import Retention

_MISSING = ""
# Fields of a status page that name who writes to subscribers, and of which type that is.
_WRITES_TO = {"subscribers": "email", "webhooks": "status_webhook"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth changing. rule: its stable name. subject: what it is about."""

    rule: str
    subject: str
    message: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.subject}: {self.message}"


def lint(desired: Desired) -> tuple[Finding, ...]:
    """Every finding, errors first."""
    found = [
        *_unreachable_routes(desired.routing),
        *_routes_that_cannot_page(desired.routing),
        *_pages_without_answer(desired),
        *_regulated_routes(desired.routing),
        *_unreachable_steps(desired),
        *_subscribers(desired),
        *_unused(desired),
        *_unwatched(desired),
        *_unrouted(desired),
        *_unredacted(desired),
        *_retention(desired),
    ]
    return tuple(sorted(found, key=lambda finding: not finding.is_error))


def implies(specific: Iterable[Condition], general: Iterable[Condition]) -> bool:
    """Whether every alert that meets all of `specific` certainly meets all of `general`.

    Conservative: False also means that it cannot be told.
    """
    known = list(specific)
    return all(
        any(name in one and _entry_implies(one[name], wanted) for one in known)
        for condition in general
        for name, wanted in condition.items()
    )


# --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stop:
    """A route in the order of the walk, with the conditions of all its ancestors."""

    route: Route
    conditions: tuple[Condition, ...]
    policy: str

    @property
    def ends_here(self) -> bool:
        return self.route.is_destination and not self.route.continues


def _walk(
    routes: Iterable[Route], above: tuple[Condition, ...] = (), policy: str = ""
) -> Iterator[_Stop]:
    """Every route in the order in which the tree is walked: children before their parent."""
    for route in routes:
        conditions = (*above, route.when)
        own = route.policy or policy
        yield from _walk(route.routes, conditions, own)
        yield _Stop(route, conditions, own)


def _unreachable_routes(policy: RoutingPolicy) -> Iterator[Finding]:
    ends: list[_Stop] = []
    for stop in _walk(policy.routes):
        for earlier in ends:
            if implies(stop.conditions, earlier.conditions):
                message = f"never reached: every alert it matches ends at {earlier.route.name!r}"
                yield Finding("unreachable-route", f"route {stop.route.name!r}", message)
                break
        if stop.ends_here:
            ends.append(stop)


def _routes_that_cannot_page(policy: RoutingPolicy) -> Iterator[Finding]:
    """A tier-1 alert must end where an escalation policy makes sure that somebody answers."""
    paging = False
    for stop in _walk(policy.routes):
        if not stop.ends_here:
            continue
        tiers = [condition["tier"] for condition in stop.conditions if "tier" in condition]
        if tiers and not any(_accepts(tier, "1") for tier in tiers):
            continue
        subject = f"route {stop.route.name!r}"
        if stop.policy:
            labels = {name for condition in stop.conditions for name in condition}
            paging = paging or labels <= {"tier", "paging"}
        elif tiers:
            message = "takes alerts of tier 1 but has no policy, so nobody is made to answer"
            yield Finding("page-without-policy", subject, message)
        elif not paging:
            message = "may take alerts of tier 1 and has no policy; put the paging route before it"
            yield Finding("page-without-policy", subject, message, is_error=False)


def _pages_without_answer(desired: Desired) -> Iterator[Finding]:
    """A policy that escalates until somebody acknowledges needs a receiver that can tell us."""
    routing = desired.routing
    for name, policy in sorted(routing.policies.items()):
        if policy.owner != "tocsin" or not _escalates(policy):
            continue
        told = {receiver for step in policy.steps for receiver in step.notify}
        if not told & set(desired.receivers):
            message = "none of its steps tells a receiver"
            yield Finding("page-without-ack", f"policy {name!r}", message)
        elif not any(desired.receivers[r].can_acknowledge for r in told if r in desired.receivers):
            message = (
                "escalates until somebody acknowledges, and none of its receivers "
                f"({', '.join(sorted(told))}) can bring an acknowledgement back"
            )
            yield Finding("page-without-ack", f"policy {name!r}", message)


def _escalates(policy: EscalationPolicy) -> bool:
    return len(policy.steps) > 1


def _regulated_routes(policy: RoutingPolicy) -> Iterator[Finding]:
    for stop in _walk(policy.routes):
        regulated = any(
            _accepts(condition.get("regulated", "!true"), "true") for condition in stop.conditions
        )
        if regulated and stop.route.auto_resolve:
            message = "auto_resolve is on for regulated services, whose incidents a person closes"
            yield Finding("regulated-auto-resolve", f"route {stop.route.name!r}", message)


def _unreachable_steps(desired: Desired) -> Iterator[Finding]:
    for monitor in desired.monitors:
        if isinstance(monitor.method, Objective):
            for sentence in unreachable(monitor.method):
                yield Finding("unreachable-burn", monitor.name, sentence, is_error=False)


def _subscribers(desired: Desired) -> Iterator[Finding]:
    """A status page needs a receiver that can write to strangers."""
    for page in desired.documents:
        if not isinstance(page.spec, StatusPageShape):
            continue
        for field, type_ in _WRITES_TO.items():
            receiver = desired.receivers.get(getattr(page.spec, field))
            if receiver is not None and receiver.type != type_:
                message = f"{field} needs a receiver of type {type_}; {receiver.name!r} is of type"
                subject = f"status page {page.name!r}"
                yield Finding("subscribers", subject, f"{message} {receiver.type}")


def _unused(desired: Desired) -> Iterator[Finding]:
    used = {what: set(names) for what, names in desired.routing.names_used().items()}
    for monitor in desired.monitors:
        for label, told in monitor.labels.items():
            if label == ALSO or label.startswith(f"{ALSO}_"):
                used["receivers"] |= set(told.split(","))
    for document in desired.documents:
        if isinstance(document.spec, StatusPageShape):
            used["receivers"] |= {getattr(document.spec, field) for field in _WRITES_TO}
    # A digest needs no route: it gathers whatever meets its `include`.
    declared: Mapping[str, Iterable[str]] = {
        "receivers": desired.receivers,
        "policies": desired.routing.policies,
        "oncall": desired.routing.oncall,
    }
    nouns = {"receivers": "receiver", "policies": "policy", "oncall": "on-call schedule"}
    for what, names in declared.items():
        for name in sorted(set(names) - used[what]):
            subject = f"{nouns[what]} {name!r}"
            yield Finding("unused", subject, "nothing refers to it", is_error=False)


def _unwatched(desired: Desired) -> Iterator[Finding]:
    watched = {monitor.service for monitor in desired.monitors}
    for name in sorted(set(desired.services) - watched):
        message = "has neither an objective nor a detector"
        yield Finding("unwatched", f"service {name!r}", message, is_error=False)
    if desired.monitors and not desired.routing.routes:
        message = "there are none; every alert goes to defaults.unmatched"
        yield Finding("no-routes", "routes", message, is_error=False)


def _unrouted(desired: Desired) -> Iterator[Finding]:
    """What would become of an alert of each monitor, as far as its labels tell."""
    if not desired.routing.routes:
        return
    router = compile_policy(desired.routing)
    for monitor in desired.monitors:
        labels = {
            "source": "tocsin",
            **monitor.labels,
            "monitor": monitor.name,
            "service": monitor.service,
            "signal": monitor.signal,
            "severity": monitor.severity,
        }
        if decide(router, labels, {}).route == "unmatched":
            message = "its alerts match no route and go to defaults.unmatched"
            yield Finding("unrouted", monitor.name, message, is_error=False)


def _unredacted(desired: Desired) -> Iterator[Finding]:
    for service in desired.services.values():
        policy = desired.redactions.of(service.project, service.service_name)
        if service.regulated and policy.mode == "off":
            message = f"is regulated, and Redaction/{policy.name} stores what it sends as it came"
            yield Finding("regulated-unredacted", f"service {service.name!r}", message)


def _retention(desired: Desired) -> Iterator[Finding]:
    """Data must reach back as far as it is asked for; unsaid, the defaults are looked at."""
    said = desired.retention is not None
    keep = desired.retention or Retention()
    for monitor, message in shortfalls(keep, desired.monitors):
        yield Finding("retention-too-short", monitor, message, is_error=said)
    for message in dubious(keep):
        yield Finding("retention-in-vain", "retention", message, is_error=False)


# --- what one condition says about another ---------------------------------------------------


def _options(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _is_refusal(option: Any) -> bool:
    return isinstance(option, str) and option.startswith("!")


def _accepts(wanted: Any, value: str) -> bool:
    try:
        return compile_condition({"label": wanted}).holds({"label": value})
    except MatchError:
        return False


def _entry_implies(specific: Any, general: Any) -> bool:
    """Whether a label that meets `specific` certainly meets `general`."""
    options = _options(specific)
    refused = {option for option in options if _is_refusal(option)}
    accepted = [option for option in options if not _is_refusal(option)]
    if not accepted:
        wanted = _options(general)
        return all(_is_refusal(option) for option in wanted) and set(wanted) <= refused
    return all(_value_implies(option, general) for option in accepted)


def _value_implies(option: Any, general: Any) -> bool:
    bound = _bound(option)
    if bound is None:
        return _accepts(general, _text(option))
    return any(_bound_implies(bound, _bound(other)) for other in _options(general))


def _text(option: Any) -> str:
    if isinstance(option, bool):
        return "true" if option else "false"
    return _MISSING if option is None else str(option)


def _bound(option: Any) -> tuple[str, float] | None:
    """A comparison as (operator, number); None for a plain value."""
    if not isinstance(option, str):
        return None
    for symbol in (">=", "<=", ">", "<"):
        if option.strip().startswith(symbol):
            try:
                return symbol, quantity(option.strip().removeprefix(symbol))
            except MatchError:
                return None
    return None


def _bound_implies(specific: tuple[str, float], general: tuple[str, float] | None) -> bool:
    if general is None or specific[0][0] != general[0][0]:
        return False
    (symbol, number), (other, limit) = specific, general
    if number == limit:
        return len(symbol) == 1 or len(other) == 2
    return number > limit if symbol[0] == ">" else number < limit
