"""The tests that live beside the rules: an alert, and what must become of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tocsin.domain.findings import Decision
from tocsin.routing.classify import FACTS
from tocsin.routing.escalation import timetable
from tocsin.routing.match import MatchError, as_label, quantity
from tocsin.routing.policy import RoutingTest
from tocsin.routing.tree import Router, decide

Timetable = Mapping[timedelta, Sequence[str]]


@dataclass(frozen=True, slots=True)
class TestResult:
    """Whether one embedded test passed; if not, every difference in plain words.

    escalation: whom the decision's policy tells when. where: file and line of the test.
    """

    __test__ = False

    name: str
    passed: bool
    reason: str
    decision: Decision | None = None
    escalation: Timetable = field(default_factory=dict)
    where: str = ""


def run_tests(router: Router, tests: Sequence[RoutingTest] | None = None) -> tuple[TestResult, ...]:
    """Run `tests`, by default the ones embedded in the policy, in order."""
    chosen = router.policy.tests if tests is None else tests
    return tuple(_run(router, test) for test in chosen)


def split_alert(alert: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
    """Labels and facts of a flat alert such as {signal: error_rate, value: 0.12, for: 5m}.

    Raises MatchError when a fact is not a number, percentage or time, and when a label is a list
    or a mapping.
    """
    labels: dict[str, str] = {}
    facts: dict[str, float] = {}
    for name, value in alert.items():
        if name not in FACTS:
            labels[name] = _label_named(name, value)
        elif value is not None:
            facts[name] = _fact(name, value)
    return labels, facts


def escalation_of(router: Router, decision: Decision) -> Timetable:
    """Whom the escalation policy of a decision tells when, until somebody acknowledges."""
    policy = router.policy.policies.get(decision.policy)
    return {} if policy is None else timetable(policy)


def _run(router: Router, test: RoutingTest) -> TestResult:
    try:
        labels, facts = split_alert(test.alert)
    except MatchError as error:
        reason = f"the test's alert cannot be read: {error}"
        return TestResult(test.name, False, reason, where=test.where)
    decision = decide(router, labels, facts)
    escalation = escalation_of(router, decision)
    faults = [
        fault
        for name, wanted in test.expect.items()
        if (fault := _difference(name, wanted, decision, escalation))
    ]
    reason = "; ".join(faults) or decision.reason
    return TestResult(test.name, not faults, reason, decision, escalation, test.where)


def _difference(name: str, wanted: Any, decision: Decision, escalation: Timetable) -> str:
    """What is wrong with one expectation, or "".

    receivers and run: the same names in any order. labels: at least these. policy, digest, route,
    suppressed_by: the same text, null for none. escalation: at least these times, null for none.
    """
    if name in ("receivers", "run"):
        actual: tuple[str, ...] = getattr(decision, name)
        return _unlike(name, wanted, actual)
    if name == "labels":
        if not isinstance(wanted, Mapping):
            return f"labels: expected a mapping of labels, not {wanted!r}"
        expected = {label: _label_named(label, value) for label, value in wanted.items()}
        found = {label: decision.labels.get(label, "") for label in expected}
        return "" if found == expected else _says(name, expected, found)
    if name in ("tier", "auto_resolve"):
        value = getattr(decision, name)
        return "" if value == wanted else _says(name, wanted, value)
    if name in ("policy", "digest", "route", "suppressed_by"):
        text: str = getattr(decision, name)
        return "" if text == (wanted or "") else _says(name, wanted, text or None)
    if name == "escalation":
        if not wanted:
            return _says(name, None, _spelt(escalation)) if escalation else ""
        faults = [
            _unlike(f"escalation after {span(after)}", names, escalation.get(after, ()))
            for after, names in wanted.items()
        ]
        return "; ".join(filter(None, faults))
    return (
        f"unknown expectation {name!r}; known: tier, policy, receivers, digest, run, labels, "
        "auto_resolve, route, suppressed_by, escalation"
    )


def span(after: timedelta) -> str:
    """A time as it is written in YAML: 90s, 15m, 2h."""
    seconds = after.total_seconds()
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def _unlike(name: str, wanted: Any, actual: Sequence[str]) -> str:
    listed = wanted if isinstance(wanted, list | tuple) else [wanted] if wanted else []
    names = [str(entry) for entry in listed]
    return "" if sorted(set(names)) == sorted(set(actual)) else _says(name, names, list(actual))


def _spelt(escalation: Timetable) -> dict[str, list[str]]:
    return {span(after): list(names) for after, names in escalation.items()}


def _says(name: str, wanted: object, actual: object) -> str:
    """Both as YAML writes them, so that text and number, none and "none" look different."""
    return f"{name}: expected {_written(wanted)}, got {_written(actual)}"


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _label_named(name: str, value: object) -> str:
    if isinstance(value, list | tuple | Mapping):
        raise MatchError(f"{name}: a label is text or a number, not {_written(value)}")
    if value is None:
        return ""
    return as_label(value) if isinstance(value, bool | int | float) else str(value)


def _fact(name: str, value: object) -> float:
    if isinstance(value, str):
        return quantity(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise MatchError(f"{name}: {value!r} is not a number")
