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


MINE = """
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: a}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: EscalationPolicy
metadata: {name: p}
spec: {steps: [{after: 0m, notify: a}, {after: 15m, notify: a}]}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: one}
spec: {routes: [{name: x, if: {severity: page}, policy: p}]}
"""
TESTS = """
apiVersion: tocsin/v1
kind: Routing
metadata: {name: two}
spec:
  tests: [%s]
"""


def mine(path: Path, *tests: str) -> Path:
    (path / "team" / "deep").mkdir(parents=True)
    (path / "rules.yaml").write_text(MINE)
    (path / "team" / "deep" / "tests.yml").write_text(TESTS % ", ".join(tests))
    return path


def test_directories_of_others_are_tested_file_by_file(tmp_path: Path) -> None:
    page = ", alert: {severity: page, value: 5%}, "
    found = mine(
        tmp_path,
        "{name: holds" + page + "expect: {tier: 1, escalation: {0m: a, 15m: [a]}}}",
        "{name: late" + page + "expect: {escalation: {10m: a}}}",
        "{name: holds, alert: {}, expect: {escalation: null, policy: null}}",
    )
    done = run("test", found, "--output", "json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert (told["passed"], told["failed"]) == (2, 1)
    assert [row["name"] for row in told["tests"]] == ["holds", "late", "holds"]
    assert told["tests"][1]["reason"] == 'escalation after 10m: expected ["a"], got []'
    assert told["tests"][1]["where"].endswith("deep/tests.yml:6")
    assert told["tests"][0]["decision"]["escalation"] == {"0s": ["a"], "15m": ["a"]}


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("{name: t, alert: {}, expect: {}}", "expects nothing"),
        ("{name: t, alert: {}, expect: {teir: 1}}", "did you mean 'tier'?"),
        ("{name: t, alert: {}, expect: {tier: '1'}}", "remove the quotes"),
        ("{name: t, alert: {}, expect: {tier: 4}}", "expect.tier"),
        ("{name: t, alert: {}, expect: {policy: [p]}}", "must be text"),
        ("{name: t, alert: {}, expect: {escalation: {soon: a}}}", "a time such as"),
        ("{name: t, alert: {env: [prod]}, expect: {tier: 1}}", "a label is text or a number"),
        ("{name: t, alert: {value: often}, expect: {tier: 1}}", "is not a number"),
        ("{name: t, alrt: {}, expect: {tier: 1}}", "did you mean 'alert'?"),
        ("{name: t, alert: {}}", "add expect"),
        ("t", "must be a mapping"),
    ],
)
def test_a_test_that_cannot_be_read_fails_alone_and_says_why_and_where(
    tmp_path: Path, test: str, words: str
) -> None:
    other = "\n    {name: other, alert: {}, expect: {policy: null}}"
    done = run("test", mine(tmp_path, test, other), "--output", "json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert (told["passed"], told["failed"]) == (1, 1)
    holds, row = told["tests"]
    assert (holds["name"], holds["where"].rpartition(":")[2]) == ("other", "7")
    assert row["where"].endswith("tests.yml:6")
    assert row["reason"].startswith("spec.tests[0]")
    assert words in row["reason"]
    assert row["decision"] is None
    assert "FAIL" in run("test", tmp_path).output


def test_what_is_no_document_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "flat.yaml").write_text("version: 1\nroutes: []\ntests: []\n")
    done = run("test", tmp_path)
    assert done.exit_code == 1
    assert done.output.count("error") == 1
    assert "is no document" in done.output


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
