"""Which fields name other documents, and whether those exist.

The check reads plain data, so that a document with another fault in it still has its references
checked in the same run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tocsin.domain.errors import Problem
from tocsin.spec.explain import suggest
from tocsin.spec.yaml import Located, Place

Names = Mapping[str, frozenset[str]]

EVERY = "*"
_ON_CALL = "oncall/"

_PROMISE = "SLO|CompositeSLO"

# Of an indicator: where its metrics come from. Of a policy: when, and who is told.
_SLI = {
    f"{metric}.metricSource.metricSourceRef": "DataSource"
    for metric in ("thresholdMetric", *(f"ratioMetric.{s}" for s in ("good", "bad", "total")))
}
_ALERTING = {
    "conditions.*.conditionRef": "AlertCondition",
    "notificationTargets.*.targetRef": "AlertNotificationTarget",
}

# kind -> paths below `spec` -> kind of the document that is named, or kinds. A field may hold one
# name or a list of them; `*` stands for every entry of a list, `**` for routes inside of routes.
_REFERENCES: Mapping[str, Mapping[str, str]] = {
    "SLO": {
        "service": "Service",
        "indicatorRef": "SLI",
        "objectives.*.indicatorRef": "SLI",
        **{f"indicator.spec.{path}": kind for path, kind in _SLI.items()},
        **{f"objectives.*.indicator.spec.{path}": kind for path, kind in _SLI.items()},
        "alertPolicies.*.alertPolicyRef": "AlertPolicy",
        **{f"alertPolicies.*.spec.{path}": kind for path, kind in _ALERTING.items()},
    },
    "SLI": _SLI,
    "AlertPolicy": _ALERTING,
    "CompositeSLO": {"service": "Service", "good.*.slo": "SLO", "components.*.slo": "SLO"},
    "BurnRatePolicy": {"slos": _PROMISE, "slos.names": _PROMISE},
    "BudgetCorrection": {"slos": _PROMISE, "slos.names": _PROMISE},
    "ErrorBudgetPolicy": {
        "slos": _PROMISE,
        "slos.names": _PROMISE,
        "rules.*.actions.*.to": "Receiver",
        "rules.*.actions.*.ticket": "Receiver",
    },
    "Detector": {"service": "Service", "services": "Service"},
    "Evaluator": {"service": "Service"},
    "BreachMonitor": {"service": "Service", "services": "Service"},
    "EscalationPolicy": {"steps.*.notify": "Receiver", "steps.*.who": "OnCallSchedule"},
    "Digest": {"to": "Receiver"},
    "HealthScore": {
        "service": "Service",
        "components.*.fromSLO": _PROMISE,
        "components.*.fromDetector": "Detector",
    },
    "Gate": {"service": "Service", "health.score": "HealthScore"},
    "PageBudget": {"services": "Service"},
    "Report": {"services": "Service", "to": "Receiver"},
    "StatusPage": {
        "components.*.service": "Service",
        "components.*.objectives": _PROMISE,
        "subscribers": "Receiver",
        "webhooks": "Receiver",
    },
    "Source": {"service": "Service"},
    "Webhook": {"service": "Service"},
    "Redaction": {"services": "Service"},
    "Routing": {
        "defaults.unmatched.receivers": "Receiver",
        "defaults.on_rule_error.receivers": "Receiver",
        "routes.**.receivers": "Receiver",
        "routes.**.also": "Receiver",
        "routes.**.policy": "EscalationPolicy",
        "routes.**.digest": "Digest",
        "routes.**.run": "Playbook",
    },
    "Playbook": {
        "steps.*.notify": "Receiver",
        "steps.*.on_fail.notify": "Receiver",
        "steps.*.confirm": "OnCallSchedule",
    },
}


def declared(documents: Iterable[Located]) -> Names:
    """kind -> names that somebody wrote a document for, valid or not."""
    names: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        kind, name = _kind_of(document), _dig(document.data, ("metadata", "name"))
        if kind and isinstance(name, str):
            names[kind].add(name)
    return {kind: frozenset(found) for kind, found in names.items()}


def dangling(document: Located, names: Names) -> list[Problem]:
    """Every reference of `document` to something that nobody wrote down."""
    problems = []
    spec = _dig(document.data, ("spec",))
    for path, kind in _REFERENCES.get(_kind_of(document), {}).items():
        for place, name in _found(spec, path.split("."), ("spec",)):
            wanted = _wanted(name, path)
            known = frozenset().union(*(names.get(one, frozenset()) for one in kind.split("|")))
            if wanted and wanted not in known:
                named = kind.partition("|")[0]
                fix = suggest(wanted, known) or f"no {named} is defined; add one"
                problems.append(document.problem(place, f"there is no {named} {wanted!r}", fix))
    return problems


# --------------------------------------------------------------------------------------------


def _kind_of(document: Located) -> str:
    kind = _dig(document.data, ("kind",))
    return kind if isinstance(kind, str) else ""


def _dig(data: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _wanted(name: str, path: str) -> str:
    """The name that must exist, "" if the field names something else."""
    if path.endswith((".who", ".confirm")):
        return name.removeprefix(_ON_CALL) if name.startswith(_ON_CALL) else ""
    return "" if name == EVERY else name


def _found(data: Any, path: list[str], place: Place) -> Iterator[tuple[Place, str]]:
    """Every name at `path` below `data`, and where it stands."""
    if not path:
        if isinstance(data, str):
            yield place, data
        elif isinstance(data, list):
            yield from (((*place, i), item) for i, item in enumerate(data) if isinstance(item, str))
        return
    step, rest = path[0], path[1:]
    if step in ("*", "**"):
        for i, item in enumerate(data if isinstance(data, list) else ()):
            yield from _found(item, rest, (*place, i))
            if step == "**" and isinstance(item, dict):
                yield from _found(item.get("routes"), path, (*place, i, "routes"))
    elif isinstance(data, dict):
        yield from _found(data.get(step), rest, (*place, step))
