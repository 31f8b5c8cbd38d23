"""Embedded tests: what differs is said, what cannot be read is said, nothing is thrown."""

from __future__ import annotations

from datetime import timedelta

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
        'tier: expected 2, got 1; policy: expected "page", got null; '
        'receivers: expected ["slack"], got ["slack", "jira"]; '
        'labels: expected {"team": "b"}, got {"team": "a"}'
    )


def test_escalation_is_compared_by_the_time_after_the_trigger() -> None:
    rules = compile_policy(policy(Route("page", policy="page")))

    def told(wanted: object) -> str:
        (result,) = run_tests(rules, [RoutingTest("t", {}, {"escalation": wanted})])
        return "" if result.passed else result.reason

    minutes = lambda n: timedelta(minutes=n)  # noqa: E731 (a short word for a long one)
    assert not told({minutes(0): ["slack", "pd"], minutes(15): ["pd", "mail"]})
    assert not told({minutes(75): ("pd", "mail")}), "the second repetition ends the policy"
    assert told({minutes(10): ["pd"]}) == 'escalation after 10m: expected ["pd"], got []'
    assert told({minutes(90): ["pd"]}).endswith("got []")
    assert told(None).startswith('escalation: expected null, got {"0s": ["pd", "slack"], "15m"')
    assert "expected null" not in run({}, escalation=None).reason


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
    for wrong in ({"value": [1]}, {"team": ["a"]}, {"team": {"a": 1}}):
        with pytest.raises(MatchError):
            split_alert(wrong)
