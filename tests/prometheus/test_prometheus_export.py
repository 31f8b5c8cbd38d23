"""Objectives as rules for Prometheus and sloth, held against promtool and sloth's own files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_build import check_rules, needs_promtool

from tocsin.spec.desired import load, load_text
from tocsin.spec.prometheus.names import duration, number, quoted
from tocsin.spec.prometheus.rules import DIALECTS, rules

ROOT = Path(__file__).resolve().parents[2]
SLOTH = ROOT / ".." / "shared" / "conformance" / "slo" / "slok+sloth"
GENERATED = SLOTH / "examples" / "_gen" / "getting-started.yml"
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: myservice, labels: {owner: "me \\"and\\" you"}}
spec: {team: cx}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: requests-availability
  displayName: "{{ not a template }}"
  labels: {tier: "2", not-a-label: x}
spec:
  service: myservice
  indicator:
    metadata: {name: i}
    spec: {ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: availability}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.999}]
"""


def of(dialect: str, text: str = CONFIG) -> Any:
    return yaml.safe_load(rules(load_text(text).monitors, dialect))


@needs_promtool
@pytest.mark.parametrize("dialect", ["sloth", "plain"])
def test_promtool_accepts_the_rules(tmp_path: Path, dialect: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(load_text(CONFIG).monitors, dialect))
    check_rules(path)


@needs_promtool
@pytest.mark.parametrize("example", ["demo"])
def test_the_rules_of_every_example_are_accepted(tmp_path: Path, example: str) -> None:
    monitors = load([ROOT / "examples" / example]).monitors
    for dialect in ("sloth", "plain"):
        path = tmp_path / f"{dialect}.yaml"
        path.write_text(rules(monitors, dialect))
        check_rules(path)


@pytest.mark.skipif(not GENERATED.is_file(), reason="needs ../shared/conformance/slo")
def test_the_shapes_are_those_of_sloths_own_rules() -> None:
    """The same groups, records, labels and alerts for the same objective; queries differ."""
    theirs, ours = yaml.safe_load(GENERATED.read_text())["groups"], of("sloth")["groups"]
    assert [g["name"] for g in ours] == [g["name"] for g in theirs]
    spoken = {"cmd", "repo", "owner", "tier", "category", "routing_key", "slack_channel",
              "severity", "env", "team", "exposure", "risk_tier"}  # fmt: skip
    for mine, other in zip(ours, theirs, strict=True):
        for rule, example in zip(mine["rules"], other["rules"], strict=True):
            assert rule.get("record") == example.get("record")
            labels = [{k: v for k, v in r["labels"].items() if k not in spoken}
                      for r in (rule, example)]  # fmt: skip
            assert labels[0].keys() == labels[1].keys()
            if "sloth_mode" not in labels[0]:
                assert labels[0] == labels[1]
            expected = example["expr"].replace("0.0009999999999999432", "0.001")
            if "alert" in rule or "sum_over_time" in expected or "slo:" in expected:
                assert rule["expr"].split() == expected.split()


def test_numbers_have_no_dust_and_lengths_are_prometheus_own() -> None:
    found = rules(load_text(CONFIG).monitors, "sloth")
    assert "14.4 * 0.001)" in found
    assert "0999999" not in found
    assert number(1 - 0.999) == "0.001"
    assert [duration(m) for m in (1, 60, 90, 1440, 10080, 43200)] == [
        "1m", "1h", "1h30m", "1d", "1w", "30d",
    ]  # fmt: skip
    assert quoted('a"\\\n') == '"a\\"\\\\\\n"'


def test_what_rules_cannot_say_is_said_beside_them() -> None:
    text = rules(load_text(CONFIG).monitors, "sloth")
    assert text.startswith(
        "# requests-availability: not in these rules: at least 3 bad calls, 95% evidence, no page"
    )
    plain = rules(load_text(CONFIG).monitors, "plain")
    assert plain.startswith("# requests-availability: not in these rules: 95% evidence\n")
    assert "> 2.5" in plain
    assert "> 29.5" in plain


def test_titles_are_not_templates_and_foreign_labels_are_left_out() -> None:
    (group,) = of("plain")["groups"]
    alert = group["rules"][-1]
    assert alert["annotations"]["summary"].startswith('{{"{{"}} not a template')
    assert "not-a-label" not in group["rules"][0]["labels"]


def test_sloths_specification_asks_for_the_alerts_that_there_are() -> None:
    policy = """
---
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: pages}
spec: {steps: [{severity: page, budget: 0.02, long: 1h, short: 5m}]}
"""
    found = of("sloth-spec", CONFIG + policy)
    assert (found["version"], found["service"]) == ("prometheus/v1", "myservice")
    (slo,) = found["slos"]
    assert slo["objective"] == 99.9
    assert "[{{.window}}]" in slo["sli"]["events"]["error_query"]
    assert slo["alerting"]["page_alert"] == {"labels": {"severity": "page"}}
    assert slo["alerting"]["ticket_alert"] == {"disable": True}


def test_the_command_writes_each_dialect_and_refuses_to_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(CONFIG)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from tocsin.cli import main; main()", "export", "prometheus",
             *words], capture_output=True, text=True, check=False,
        )  # fmt: skip

    for dialect in DIALECTS:
        done = run(str(tmp_path), "--dialect", dialect)
        assert done.returncode == 0, done.stderr
        assert done.stdout == rules(load_text(CONFIG).monitors, dialect)
    file = tmp_path / "out.yml"
    assert run(str(tmp_path), "--file", str(file)).returncode == 0
    assert yaml.safe_load(file.read_text())["groups"]
    file.unlink()
    (tmp_path / "all.yaml").write_text(CONFIG.partition("---")[0])
    done = run(str(tmp_path))
    assert done.returncode == 1
    assert "no objective" in done.stderr
