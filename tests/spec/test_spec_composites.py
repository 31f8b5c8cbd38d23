"""Composites as OpenSLO writes them, and as CompositeSLO documents."""

from __future__ import annotations

import pytest

from tocsin.assess.accounts import Slices
from tocsin.assess.monitor import Objective
from tocsin.domain.errors import SpecError
from tocsin.spec.desired import Desired, load_text

BASE = """
{apiVersion: tocsin/v1, kind: Service, metadata: {name: chat}, spec: {team: cx}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: answers}
spec:
  ratioMetric:
    good: {metricSource: {type: Tocsin, spec: {use: availability}}}
    total: {metricSource: {type: Tocsin, spec: {count: all}}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: speed}
spec:
  thresholdMetric: {metricSource: {type: Tocsin, spec: {value: latency_ms, minEvents: 5}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: up}
spec:
  service: chat
  indicatorRef: answers
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.999}]
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast}
spec:
  service: chat
  indicatorRef: speed
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{op: lt, value: 2000, target: 0.95}]
---
"""
JOURNEY = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: journey}
spec:
  service: chat
  budgetingMethod: METHOD
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives:
    - {displayName: answers, indicatorRef: answers, target: 0.999, compositeWeight: 2 SLICE}
    - {displayName: speed, indicatorRef: speed, op: lt, value: 2000, target: 0.95 SLICE}
"""
BOTH = """
apiVersion: tocsin/v1
kind: CompositeSLO
metadata: {name: both, labels: {team: cx}}
spec: {service: chat, target: 0.93, window: {duration: 30d, isRolling: true}, REST}
"""


def objective(loaded: Desired, name: str) -> Objective:
    method = next(m.method for m in loaded.monitors if m.name == f"slo/{name}")
    assert isinstance(method, Objective)
    return method


def both(rest: str) -> Desired:
    return load_text(BASE + BOTH.replace("REST", rest))


def test_an_slo_whose_objectives_have_indicators_is_one_composite() -> None:
    loaded = load_text(BASE + JOURNEY.replace("METHOD", "Occurrences").replace(" SLICE", ""))
    found = objective(loaded, "journey")
    assert found.composite.method == "burn"
    assert [(p.name, p.weight, p.budget) for p in found.composite.parts] == [
        ("answers", 2, 0.001), ("speed", 1, 0.05)
    ]  # fmt: skip
    assert found.budget == 0.05


@pytest.mark.parametrize(
    ("method", "slices", "expected"),
    [
        ("Timeslices", ", timeSliceWindow: 5m, timeSliceTarget: 0.9", ("any", Slices(5, 0.9))),
        ("RatioTimeslices", ", timeSliceWindow: 15m", ("missing", Slices(15))),
    ],
)
def test_slices_of_a_composite_are_those_of_its_objectives(method, slices, expected) -> None:
    text = JOURNEY.replace("METHOD", method).replace(" SLICE", slices)
    found = objective(load_text(BASE + text), "journey")
    assert (found.composite.method, found.slices) == expected
    assert found.composite.parts[1].slices.min_events == 5


def test_a_call_of_an_event_composite_meets_every_condition() -> None:
    loaded = both("method: event, good: ['latency < 2s', {slo: up}, 'cost_usd <= 0.03']")
    monitor = next(m for m in loaded.monitors if m.name == "slo/both")
    assert monitor.ratio.condition is not None
    assert monitor.method.composite is None
    assert monitor.series.indicator == "composite both"


@pytest.mark.parametrize(
    ("rest", "method"),
    [
        ("method: weighted, components: [{slo: up, weight: 3}, {slo: fast}]", "weighted"),
        ("method: openslo, components: [{slo: up}, {slo: fast}], whenAbsent: bad", "burn"),
        ("method: all, components: [{slo: up}, {slo: fast}], timeSliceWindow: 10m", "any"),
    ],
)
def test_components_are_slos_with_weights(rest, method) -> None:
    found = objective(both(rest), "both")
    assert found.composite.method == method
    assert [part.name for part in found.composite.parts] == ["up", "fast"]
    if method == "any":
        assert [(p.slices.minutes, p.slices.target) for p in found.composite.parts] == [
            (10, 0.999), (10, 0.95)
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("method: event", "method event needs good"),
        ("method: weighted", r"method weighted needs components"),
        ("method: event, good: ['latency <']", "good"),
        ("method: weighted, components: [{slo: upp}]", "did you mean 'up'"),
        ("method: openslo, components: [{slo: up}], timeSliceWindow: 5m", "belongs to method all"),
    ],
)
def test_a_composite_that_cannot_be_is_refused(rest, problem) -> None:
    with pytest.raises(SpecError, match=problem):
        both(rest)


def test_policies_and_corrections_may_name_a_composite() -> None:
    extra = """
---
apiVersion: tocsin/v1
kind: BudgetCorrection
metadata: {name: works}
spec: {slos: [both], start: 2026-01-01T00:00:00Z, duration: 1h, reason: works}
"""
    text = BASE + BOTH.replace("REST", "method: weighted, components: [{slo: up}]") + extra
    assert [c.name for c in objective(load_text(text), "both").corrections] == ["works"]


def test_an_indicator_stands_in_one_place() -> None:
    text = JOURNEY.replace("METHOD", "Occurrences").replace(" SLICE", "")
    with pytest.raises(SpecError, match="not in both"):
        load_text(BASE + text.replace("service: chat", "service: chat\n  indicatorRef: answers"))
    with pytest.raises(SpecError, match="every objective of a composite"):
        load_text(BASE + text.replace("indicatorRef: speed, ", ""))
