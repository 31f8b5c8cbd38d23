"""ErrorBudgetPolicy documents into a monitor for every rule and every objective it chooses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from tocsin.assess.budget_rules import BudgetRuleConfig
from tocsin.assess.monitor import Monitor, Objective
from tocsin.routing.tree import ALSO
from tocsin.spec.assembly import Assembly
from tocsin.spec.budget_policies import BudgetRuleShape, ErrorBudgetPolicyShape, read_condition
from tocsin.spec.documents import Document


def budget_rules(assembly: Assembly, monitors: Iterable[Monitor]) -> Iterator[Monitor]:
    """A monitor for every rule of every policy and every objective that it chooses."""
    objectives = [m for m in monitors if isinstance(m.method, Objective)]
    for document in assembly.of("ErrorBudgetPolicy"):
        spec: ErrorBudgetPolicyShape = document.spec
        chosen = [m for m in objectives if spec.slos.covers(m.labels.get("slo", ""), m.labels)]
        if not chosen:
            message = "no SLO is chosen: nothing follows from this policy"
            assembly.warnings.append(document.problem(("spec", "slos"), message))
        for name, rule in spec.named():
            for objective in chosen:
                if found := _monitor(assembly, document, name, rule, objective):
                    yield found


# --------------------------------------------------------------------------------------------


def _monitor(
    assembly: Assembly, document: Document, name: str, rule: BudgetRuleShape, objective: Monitor
) -> Monitor | None:
    condition, method = read_condition(rule.when), objective.method
    period = method.window_minutes if isinstance(method, Objective) else 0
    if condition.minutes > period:
        slo = objective.name.removeprefix("slo/")
        message = f"rule {name}: {rule.when!r} looks back further than the period of SLO {slo!r}"
        fix = "choose a shorter time, or narrow slos"
        assembly.problems.append(document.problem(("spec", "rules"), message, fix))
        return None
    labels = rule.labels()
    return replace(
        objective,
        name=f"budget/{document.name}/{name}/{objective.name.removeprefix('slo/')}",
        title=f"{objective.title}: {rule.when}",
        signal=BudgetRuleConfig.signal,
        severity="page" if rule.tell == "page" else "ticket",
        series=None,
        ratio=None,
        method=BudgetRuleConfig(
            objective=objective,
            condition=condition,
            for_minutes=rule.lasting // timedelta(minutes=1),
            hysteresis=rule.hysteresis,
            tell=rule.tell,
            actions=tuple(action.text for action in rule.actions),
        ),
        labels={
            # Whom the objective's own alerts are told to as well was said of those alone.
            **{k: v for k, v in objective.labels.items() if not k.startswith(ALSO)},
            **document.metadata.labels,
            **{key: value for key, value in labels.items() if value},
            "budget_policy": document.name,
            "budget_rule": name,
        },
    )
