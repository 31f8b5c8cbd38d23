"""ErrorBudgetPolicy documents: what conditions say, what rules become, what is refused."""

from __future__ import annotations

import pytest

from tocsin.domain.errors import SpecError
from tocsin.spec.budget_policies import read_condition
from tocsin.spec.desired import load_text

BASE = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: up, labels: {tier: gold}}
spec:
  service: chat
  indicator:
    metadata: {name: up-sli}
    spec:
      ratioMetric:
        good: {metricSource: {type: Tocsin, spec: {use: availability}}}
        total: {metricSource: {type: Tocsin, spec: {count: all}}}
  timeWindow: [{duration: 7d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: board}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: ErrorBudgetPolicy
metadata: {name: p}
spec: SPEC
"""


def rules(spec: str):
    loaded = load_text(BASE.replace("SPEC", spec))
    return [m for m in loaded.monitors if m.name.startswith("budget/")], loaded.warnings


@pytest.mark.parametrize(
    ("text", "kind", "limit", "minutes"),
    [
        ("remaining < 0.25", "left", 0.25, 0),
        ("remaining < -10 %", "left", -0.1, 0),
        ("consumed  >= 75%", "left", 0.25, 0),
        ("consumed > 20 % in 1d", "spent", 0.2, 1440),
        ("exhausted within 3d", "exhausts", 4320.0, 360),
        ("exhausted within 12h at the rate of 30m", "exhausts", 720.0, 30),
    ],
)
def test_what_a_condition_says(text: str, kind: str, limit: float, minutes: int) -> None:
    found = read_condition(text)
    assert (found.kind, found.limit, found.minutes) == (kind, pytest.approx(limit), minutes)


def test_a_rule_becomes_a_monitor_with_what_routing_and_gates_need() -> None:
    found, warnings = rules(
        "{slos: {matchLabels: {tier: gold}}, preset: forecast, rules: [{name: empty, for: 1h,"
        " when: remaining < 0, actions: [{notify: page, to: board}, {ticket: board},"
        " {gate: block, except: [rollback, hotfix]}]}]}"
    )
    assert [m.name for m in found] == ["budget/p/1/up", "budget/p/empty/up"]
    empty = found[1]
    assert (empty.signal, empty.severity, empty.method.for_minutes) == ("error_budget", "page", 60)
    told = {"tier": "1", "also": "board", "gate": "block", "gate_except": "rollback,hotfix"}
    assert told.items() <= empty.labels.items()
    assert empty.method.actions == ("page", "open a ticket at board",
                                    "block deploys except rollback, hotfix")  # fmt: skip
    assert not warnings


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{}", "give rules, a preset, or both"),
        ("{preset: laddr}", "did you mean 'ladder'"),
        ("{rules: [{when: budget low, actions: [{notify: page}]}]}", "write remaining < 25 %"),
        ("{rules: [{when: remaining < 3, actions: [{notify: page}]}]}", "between -10 and 1"),
        ("{rules: [{when: remaining < 0, actions: []}]}", "at least 1"),
        ("{rules: [{when: remaining < 0, actions: [{}]}]}", "one of notify, ticket and gate"),
        ("{rules: [{when: remaining < 0, actions: [{ticket: jira}]}]}", "no Receiver 'jira'"),
        ("{slos: {names: upp}, preset: ladder}", "no SLO 'upp'"),
        (
            "{rules: [{when: consumed > 9 % in 30d, actions: [{notify: page}]}]}",
            "looks back further than the period of SLO 'up'",
        ),
    ],
)
def test_what_is_refused_and_why(spec: str, problem: str) -> None:
    with pytest.raises(SpecError) as raised:
        rules(spec)
    assert problem in str(raised.value)


def test_a_policy_that_chooses_nothing_is_warned_of() -> None:
    found, warnings = rules("{slos: {matchLabels: {tier: lead}}, preset: ladder}")
    assert not found
    assert "no SLO is chosen" in str(warnings[0])
