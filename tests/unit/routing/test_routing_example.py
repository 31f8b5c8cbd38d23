"""The shared example file: all of its embedded tests pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from routing_build import flat_policy

from tocsin.routing.policy import RoutingPolicy
from tocsin.routing.simulate import TestResult, run_tests
from tocsin.routing.tree import compile_policy

EXAMPLE = Path(__file__).resolve().parents[3] / ".." / "shared" / "examples" / "routing.yaml"
pytestmark = pytest.mark.skipif(not EXAMPLE.is_file(), reason="needs ../shared/examples")


def load() -> RoutingPolicy:
    return flat_policy(yaml.safe_load(EXAMPLE.read_text()))


def results() -> tuple[TestResult, ...]:
    return run_tests(compile_policy(load())) if EXAMPLE.is_file() else ()


def test_the_example_has_its_tests() -> None:
    assert len(results()) == 24


@pytest.mark.parametrize("result", results(), ids=lambda result: result.name)
def test_an_alert_of_the_example_goes_where_its_author_expects(result: TestResult) -> None:
    assert result.passed, result.reason
    assert result.decision is not None
    assert result.decision.reason


def test_every_name_the_example_uses_exists() -> None:
    policy = load()
    used = policy.names_used()
    assert used["receivers"] <= set(policy.receivers)
    assert used["policies"] <= set(policy.policies)
    assert used["digests"] <= set(policy.digests)
    assert used["oncall"] <= set(policy.oncall)
