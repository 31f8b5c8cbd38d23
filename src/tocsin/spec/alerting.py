"""What the AlertPolicies of an SLO come to: burn steps, whether silence alerts, who is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tocsin.assess.ledger import MAX_WINDOW
from tocsin.assess.monitor import BurnStep, Severity
from tocsin.routing.tree import ALSO
from tocsin.spec.alert_policies import (
    AlertConditionShape,
    AlertNotificationTargetShape,
    AlertPolicyShape,
    ConditionEntry,
    PolicyEntry,
    TargetEntry,
)
from tocsin.spec.assembly import Assembly
from tocsin.spec.documents import Document
from tocsin.spec.yaml import Place

_PAGES = frozenset({"page", "critical", "high", "p1", "sev1"})


@dataclass(frozen=True, slots=True)
class Alerting:
    """When an SLO alerts and who is told beside those of the routes.

    silence: how urgently somebody is told that calls stay away, None for not at all. told:
    (severity, receiver), each once.
    """

    steps: tuple[BurnStep, ...]
    silence: Severity | None
    told: tuple[tuple[Severity, str], ...]

    def labels(self) -> dict[str, str]:
        """What alerts bring along for routing."""
        found: dict[str, list[str]] = {}
        for severity, name in self.told:
            found.setdefault(f"{ALSO}_{severity}", []).append(name)
        return {label: ",".join(names) for label, names in found.items()}


def alerting(
    assembly: Assembly, document: Document, entries: Sequence[PolicyEntry], period: int
) -> Alerting | None:
    """What the policies of an SLO with a budget of `period` minutes come to; None without any.

    What cannot be honoured is noted as a problem where it stands. Names that nobody wrote down are
    left out: `references` says so.
    """
    if not entries:
        return None
    steps: list[BurnStep] = []
    told: dict[tuple[Severity, str], None] = {}
    silences: list[Severity] = []
    for policy, owner, at in _policies(assembly, document, entries):
        found = []
        for condition, source, place in _conditions(assembly, policy.conditions, owner, at):
            step = _step(assembly, condition, source, place, period)
            found += [step] if step is not None else []
        severities: dict[Severity, None] = dict.fromkeys(step.severity for step in found)
        worst: Severity = "page" if "page" in severities else "ticket"
        if policy.alert_when_no_data:
            silences.append(worst)
            severities[worst] = None
        if policy.alert_when_breaching:
            steps += [step for step in found if step not in steps]
        elif not policy.alert_when_no_data:
            message = "alerts about nothing: alertWhenBreaching and alertWhenNoData are false"
            assembly.warnings.append(owner.problem(at, message))
        for target, source, place in _targets(assembly, policy.notification_targets, owner, at):
            if name := _receiver(assembly, target, source, place):
                told |= {(severity, name): None for severity in severities}
    silence: Severity | None = None
    if silences:
        silence = "page" if "page" in silences else "ticket"
    return Alerting(tuple(steps), silence, tuple(told))


# --------------------------------------------------------------------------------------------


def _policies(
    assembly: Assembly, document: Document, entries: Sequence[PolicyEntry]
) -> Iterator[tuple[AlertPolicyShape, Document, Place]]:
    """Every policy, the document that it stands in, and where."""
    for i, entry in enumerate(entries):
        if entry.spec is not None:
            yield entry.spec, document, ("spec", "alertPolicies", i, "spec")
        elif found := assembly.named("AlertPolicy", entry.ref):
            yield found.spec, found, ("spec",)


def _conditions(
    assembly: Assembly, entries: Sequence[ConditionEntry], owner: Document, at: Place
) -> Iterator[tuple[AlertConditionShape, Document, Place]]:
    for i, entry in enumerate(entries):
        if entry.spec is not None:
            yield entry.spec, owner, (*at, "conditions", i, "spec")
        elif found := assembly.named("AlertCondition", entry.ref):
            yield found.spec, found, ("spec",)


def _targets(
    assembly: Assembly, entries: Sequence[TargetEntry], owner: Document, at: Place
) -> Iterator[tuple[tuple[str, AlertNotificationTargetShape], Document, Place]]:
    for i, entry in enumerate(entries):
        if entry.spec is not None and entry.metadata is not None:
            yield (entry.metadata.name, entry.spec), owner, (*at, "notificationTargets", i, "spec")
        elif found := assembly.named("AlertNotificationTarget", entry.ref):
            yield (found.name, found.spec), found, ("spec",)


def _step(
    assembly: Assembly, spec: AlertConditionShape, source: Document, at: Place, period: int
) -> BurnStep | None:
    """The step that is the same as a condition: one window, so that both are as long."""
    asked, here = spec.condition, (*at, "condition")
    window, after = asked.lookback_window, asked.alert_after or 0
    if window > period:
        message = f"looks back {window} min, further than the budget's period of {period} min"
        assembly.problems.append(source.problem((*here, "lookbackWindow"), message))
        return None
    if window + after > MAX_WINDOW:
        message = "a burn rate is held for three days: lookbackWindow and alertAfter are longer"
        assembly.problems.append(source.problem((*here, "lookbackWindow"), message))
        return None
    if asked.op in ("lt", "lte"):
        message = f"{asked.op} is met while the budget does not burn; read as gt, which is meant"
        assembly.warnings.append(source.problem((*here, "op"), message, "write gt"))
    severity: Severity = "page" if spec.severity.lower() in _PAGES else "ticket"
    return BurnStep(severity, window, window, asked.threshold, after)


def _receiver(
    assembly: Assembly, named: tuple[str, AlertNotificationTargetShape], source: Document, at: Place
) -> str:
    """The receiver that a target stands for; "" when there is none, which is said."""
    name, target = named
    receivers = {document.name: document.spec for document in assembly.of("Receiver")}
    for wanted in (name, target.target):
        if wanted in receivers:
            return wanted
    of_type = [n for n, spec in receivers.items() if spec.type == target.target]
    if len(of_type) == 1:
        return of_type[0]
    which = f"{len(of_type)} receivers are" if of_type else "no Receiver is called so, or"
    message = f"{which} of type {target.target!r}; alerts go where the routes say"
    fix = f"name a Receiver {name!r}"
    assembly.warnings.append(source.problem((*at, "target"), message, fix))
    return ""
