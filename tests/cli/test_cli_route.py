"""`tocsin route`: the embedded tests of a configuration, and single alerts, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tocsin.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "routing"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["route", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_tests_of_the_example_pass() -> None:
    done = run("test", EXAMPLES, "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["passed"], found["failed"], len(found["tests"])) == (24, 0, 24)
    by_name = {row["name"]: row for row in found["tests"]}
    assert by_name["W1 p95"]["decision"]["policy"] == "page-15m"


def test_a_broken_rule_fails_its_tests_with_the_reason(tmp_path: Path) -> None:
    for file in EXAMPLES.glob("*.yaml"):
        text = file.read_text().replace(
            'signal: latency_p95, value: ">=5"', 'signal: latency_p95, value: ">=7"'
        )
        (tmp_path / file.name).write_text(text)
    done = run("test", tmp_path, "--output", "jsonl")
    assert done.exit_code == 2
    failed = [row for row in map(json.loads, done.stdout.splitlines()) if not row["passed"]]
    assert [row["name"] for row in failed] == ["W1 p95"]
    assert "tier: expected 1" in failed[0]["reason"]
    assert "FAIL" in run("test", tmp_path).output


def test_a_configuration_without_tests_is_not_a_pass(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: tocsin/v1\nkind: Receiver\nmetadata: {name: nobody}\nspec: {type: none}\n"
    )
    done = run("test", tmp_path)
    assert done.exit_code == 1
    assert "has no routing tests" in done.output
    assert run("test", tmp_path / "nothing").exit_code == 1


def test_an_alert_is_tried() -> None:
    done = run("try", EXAMPLES, "env=prod", "signal=error_rate", "value=12%", "for=5m",
               "--output", "json")  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["tier"], found["policy"]) == (1, "page-15m")
    assert found["trail"][-1] == "page"
    shown = run("try", EXAMPLES, "env=staging", "signal=latency_p95", "value=50").output
    assert "daily-ds" in shown


@pytest.mark.parametrize(
    ("pair", "words"), [("prod", "write NAME=VALUE"), ("value=often", "often")]
)
def test_an_alert_that_cannot_be_read_is_refused(pair: str, words: str) -> None:
    done = run("try", EXAMPLES, pair)
    assert done.exit_code == 1
    assert words in done.output
