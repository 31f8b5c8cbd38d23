"""Embedded tests: what differs is said, what cannot be read is said, nothing is thrown."""

from __future__ import annotations

import pytest
from routing_build import policy

from tocsin.routing.match import MatchError
from tocsin.routing.policy import Route, RoutingTest
from tocsin.routing.simulate import TestResult, run_tests, split_alert
from tocsin.routing.tree import compile_policy

RULES = compile_policy(
    policy(Route("all", receivers=("slack", "jira"), labels={"team": "a"}, run=("fix",)))
)


def run(alert: dict[str, object], **expect: object) -> TestResult:
    (result,) = run_tests(RULES, [RoutingTest("t", alert, expect)])
    return result


def test_a_test_passes_when_everything_it_expects_holds() -> None:
    result = run(
        {"severity": "page"},
        tier=1, receivers=["jira", "slack"], policy=None, digest=None, run="fix",
        labels={"team": "a"}, auto_resolve=True, route="all", suppressed_by=None,
    )  # fmt: skip
    assert result.passed
    assert result.reason.startswith("tier 1")


def test_every_difference_is_named() -> None:
    result = run(
        {"severity": "page"}, tier=2, policy="page", receivers=["slack"], labels={"team": "b"}
    )
    assert not result.passed
    assert result.reason == (
        "tier: expected 2, got 1; policy: expected page, got None; "
        "receivers: expected ['slack'], got ['slack', 'jira']; "
        "labels: expected {'team': 'b'}, got {'team': 'a'}"
    )


def test_an_expectation_nobody_knows_fails_the_test() -> None:
    assert "unknown expectation 'receiver'" in run({}, receiver="slack").reason
    assert "expected a mapping" in run({}, labels="a").reason


def test_an_alert_that_cannot_be_read_fails_the_test() -> None:
    assert "cannot be read" in run({"value": "lots"}).reason


def test_facts_are_told_from_labels() -> None:
    labels, facts = split_alert(
        {
            "env": "prod",
            "tier": 1,
            "regulated": True,
            "for": "5m",
            "value": 3,
            "zscore": None,
            "x": None,
        }
    )
    assert labels == {"env": "prod", "tier": "1", "regulated": "true", "x": ""}
    assert facts == {"for": 300.0, "value": 3.0}
    with pytest.raises(MatchError):
        split_alert({"value": [1]})
