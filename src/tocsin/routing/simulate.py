"""The tests that live beside the rules: an alert, and what must become of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.domain.findings import Decision
from tocsin.routing.classify import FACTS
from tocsin.routing.match import MatchError, as_label, quantity
from tocsin.routing.policy import RoutingTest
from tocsin.routing.tree import Router, decide


@dataclass(frozen=True, slots=True)
class TestResult:
    """Whether one embedded test passed; if not, every difference in plain words."""

    __test__ = False

    name: str
    passed: bool
    reason: str
    decision: Decision | None = None


def run_tests(router: Router, tests: Sequence[RoutingTest] | None = None) -> tuple[TestResult, ...]:
    """Run `tests`, by default the ones embedded in the policy, in order."""
    chosen = router.policy.tests if tests is None else tests
    return tuple(_run(router, test) for test in chosen)


def split_alert(alert: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
    """Labels and facts of a flat alert such as {signal: error_rate, value: 0.12, for: 5m}.

    Raises MatchError when a fact is not a number, percentage or time.
    """
    labels: dict[str, str] = {}
    facts: dict[str, float] = {}
    for name, value in alert.items():
        if name not in FACTS:
            labels[name] = "" if value is None else _label(value)
        elif value is not None:
            facts[name] = _fact(name, value)
    return labels, facts


def _run(router: Router, test: RoutingTest) -> TestResult:
    try:
        labels, facts = split_alert(test.alert)
    except MatchError as error:
        return TestResult(test.name, False, f"the test's alert cannot be read: {error}")
    decision = decide(router, labels, facts)
    faults = [
        fault
        for name, wanted in test.expect.items()
        if (fault := _difference(name, wanted, decision))
    ]
    return TestResult(test.name, not faults, "; ".join(faults) or decision.reason, decision)


def _difference(name: str, wanted: Any, decision: Decision) -> str:
    """What is wrong with one expectation, or "".

    receivers and run: the same names in any order. labels: at least these. policy, digest, route,
    suppressed_by: the same text, null for none.
    """
    if name in ("receivers", "run"):
        actual: tuple[str, ...] = getattr(decision, name)
        listed = wanted if isinstance(wanted, list | tuple) else [wanted] if wanted else []
        names = [str(entry) for entry in listed]
        return "" if sorted(names) == sorted(actual) else _says(name, names, list(actual))
    if name == "labels":
        if not isinstance(wanted, Mapping):
            return f"labels: expected a mapping of labels, not {wanted!r}"
        found = {label: decision.labels.get(label, "") for label in wanted}
        expected = {label: _label(value) for label, value in wanted.items()}
        return "" if found == expected else _says(name, expected, found)
    if name in ("tier", "auto_resolve"):
        value = getattr(decision, name)
        return "" if value == wanted else _says(name, wanted, value)
    if name in ("policy", "digest", "route", "suppressed_by"):
        text: str = getattr(decision, name)
        return "" if text == (wanted or "") else _says(name, wanted, text or None)
    return (
        f"unknown expectation {name!r}; known: tier, policy, receivers, digest, run, labels, "
        "auto_resolve, route, suppressed_by"
    )


def _says(name: str, wanted: object, actual: object) -> str:
    return f"{name}: expected {wanted}, got {actual}"


def _label(value: object) -> str:
    return as_label(value) if isinstance(value, bool | int | float) else str(value)


def _fact(name: str, value: object) -> float:
    if isinstance(value, str):
        return quantity(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise MatchError(f"{name}: {value!r} is not a number")
