"""May a service be deployed? Answered from the alerts of error-budget policies as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tocsin.alerts.freeze import GATE, Freeze, freezes
from tocsin.assess.monitor import Monitor
from tocsin.domain.errors import NotFound
from tocsin.domain.findings import Judgement
from tocsin.engine.house import House
from tocsin.spec.explain import suggest

Answer = Literal["open", "approval", "frozen", "unknown"]


class NoSuchService(NotFound):
    """A service that is not configured: a misspelt name must not look like a free way."""


@dataclass(frozen=True, slots=True)
class DeployGate:
    """Whether a service may be deployed.

    state: open, approval (by a person), frozen, or unknown: no freeze is on, and a policy that
    could impose one cannot tell. freezes: those that hold this change back. exempted: those that
    let it through by its kind. unknown: why a policy cannot tell. policies: that can hold it back.
    """

    service: str
    change: str
    state: Answer
    reason: str
    freezes: tuple[Freeze, ...] = ()
    exempted: tuple[Freeze, ...] = ()
    unknown: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()


def deploy_gates(
    house: House, service: str = "", change: str = "", blind: str = ""
) -> tuple[DeployGate, ...]:
    """The gate of a service, or of every one, for a kind of change ("" is any other).

    blind: why nothing is known about the last minutes. Raises NoSuchService.
    """
    known = house.desired.services
    if service and service not in known:
        hint = suggest(service, known) or "none is configured"
        raise NoSuchService(f"there is no service {service!r} ({hint})")
    held = freezes(house.state.alerts().values())
    names = (service,) if service else tuple(known)
    return tuple(_gate(house, name, change, held, blind) for name in names)


def _gate(
    house: House, service: str, change: str, held: tuple[Freeze, ...], blind: str
) -> DeployGate:
    rules = [m for m in house.rules.monitors.monitors
             if m.service == service and GATE in m.labels]  # fmt: skip
    policies = tuple(dict.fromkeys(m.labels["budget_policy"] for m in rules))
    mine = [freeze for freeze in held if freeze.service == service]
    exempted = tuple(freeze for freeze in mine if change and change in freeze.exempt)
    on = tuple(freeze for freeze in mine if freeze not in exempted)
    unknown = _unknown(house, rules, blind)
    state: Answer = "open"
    if on:
        state = "frozen" if any(freeze.hold == "block" for freeze in on) else "approval"
    elif unknown and not exempted:
        state = "unknown"
    reason = on[0].reason if on else unknown[0] if state == "unknown" else _free(policies, exempted)
    return DeployGate(service, change, state, reason, on, exempted, unknown, policies)


def _unknown(house: House, rules: Sequence[Monitor], blind: str) -> tuple[str, ...]:
    """Why rules cannot tell."""
    if not rules:
        return ()
    if blind:
        return (blind,)
    said = (house.standing.verdicts.get(rule.name) for rule in rules)
    found = (v.reason for v in said if v is not None and v.judgement is Judgement.UNKNOWN)
    return tuple(dict.fromkeys(found))


def _free(policies: tuple[str, ...], exempted: tuple[Freeze, ...]) -> str:
    if exempted:
        return "deploys are held back, and this kind of change is exempt"
    return "the error budgets allow it" if policies else "no policy holds its deploys back"
