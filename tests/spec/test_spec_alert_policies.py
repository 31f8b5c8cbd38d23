"""OpenSLO's AlertPolicies, conditions, targets and data sources: across files, or in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.assess.absence import AbsenceConfig
from tocsin.assess.monitor import BurnStep, Objective
from tocsin.domain.errors import SpecError
from tocsin.routing.tree import compile_policy, decide
from tocsin.spec.desired import Desired, load
from tocsin.spec.documents import unlisted
from tocsin.spec.lint import lint
from tocsin.spec.openslo.inlining import inlined
from tocsin.spec.openslo.verdict import strict
from tocsin.spec.yaml import dump, read

FILES = {
    "slo.yaml": """
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-up}
spec:
  service: chat
  indicatorRef: answers
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
  alertPolicies:
    - alertPolicyRef: fast
    - kind: AlertPolicy
      metadata: {name: slow}
      spec:
        alertWhenBreaching: true
        alertWhenNoData: true
        conditions:
          - kind: AlertCondition
            metadata: {name: slow-burn}
            spec:
              severity: low
              condition: {kind: burnrate, op: gte, threshold: 1, lookbackWindow: 1d}
        notificationTargets: [{targetRef: team}]
""",
    "sli.yaml": """
apiVersion: openslo/v1
kind: SLI
metadata: {name: answers}
spec:
  ratioMetric:
    good: {metricSource: {metricSourceRef: here, spec: {use: availability}}}
    total: {metricSource: {metricSourceRef: here, spec: {count: all}}}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: here}
spec: {type: Tocsin, connectionDetails: {}}
---
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx}
""",
    "alerts.yaml": """
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast}
spec:
  alertWhenBreaching: true
  conditions: [{conditionRef: fast-burn}]
  notificationTargets:
    - {targetRef: oncall}
    - kind: AlertNotificationTarget
      metadata: {name: ops}
      spec: {target: slack}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast-burn}
spec:
  severity: page
  condition: {kind: burnrate, op: lte, threshold: 14, lookbackWindow: 1h, alertAfter: 5m}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: oncall}
spec: {target: pagerduty}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: team}
spec: {target: mail-of-the-team}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: oncall}
spec: {type: webhook, url: "https://hooks.example.com/oncall", secret: {secret: HOOK}}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: ops-channel}
spec: {type: slack, channel: "#ops", token: {secret: SLACK}}
""",
}


def written(folder: Path, **changes: tuple[str, str]) -> Path:
    """The files above; each change replaces a text in one of them."""
    for name, text in FILES.items():
        old, new = changes.get(name.removesuffix(".yaml"), ("", ""))
        assert old in text
        (folder / name).write_text(text.replace(old, new) if old else text)
    return folder


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load([folder])
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def objective_of(desired: Desired) -> Objective:
    method = desired.monitors[0].method
    assert isinstance(method, Objective)
    return method


def test_policies_conditions_and_sources_are_found_across_files(tmp_path: Path) -> None:
    desired = load([written(tmp_path)])
    silence = desired.monitors[1]
    assert isinstance(silence.method, AbsenceConfig)
    assert (silence.name, silence.severity) == ("slo/chat-up/no-data", "ticket")
    assert silence.method.after_minutes == 9, "a total outage burns 14 times 1 % of an hour in that"
    assert objective_of(desired).steps == (
        BurnStep("page", 60, 60, 14.0, 5),
        BurnStep("ticket", 1440, 1440, 1.0),
    )
    warnings = [str(w).removeprefix(f"{tmp_path}/") for w in desired.warnings]
    assert warnings == [
        "alerts.yaml:19: spec.condition.op: lte is met while the budget does not burn; read as gt,"
        " which is meant (write gt)",
        "alerts.yaml:29: spec.target: no Receiver is called so, or of type 'mail-of-the-team';"
        " alerts go where the routes say (name a Receiver 'team')",
    ]


@pytest.mark.parametrize(
    ("severity", "told"), [("page", {"oncall", "ops-channel"}), ("ticket", set())]
)
def test_targets_are_told_of_what_their_policy_is_about(
    tmp_path: Path, severity: str, told: set[str]
) -> None:
    desired = load([written(tmp_path)])
    assert not [found for found in lint(desired) if found.rule == "unused"]
    monitor = desired.monitors[0]
    labels = {**monitor.labels, "service": "chat", "source": "tocsin", "severity": severity}
    assert set(decide(compile_policy(desired.routing), labels, {}).receivers) == told


@pytest.mark.parametrize(
    ("file", "old", "new", "wanted"),
    [
        ("slo", "alertPolicyRef: fast", "alertPolicyRef: fsat",
         "slo.yaml:12: spec.alertPolicies[0].alertPolicyRef: there is no AlertPolicy 'fsat'"),
        ("slo", "targetRef: team", "targetRef: teem",
         "slo.yaml:24: spec.alertPolicies[1].spec.notificationTargets[0].targetRef: there is no"
         " AlertNotificationTarget 'teem'"),
        ("alerts", "conditionRef: fast-burn", "conditionRef: burn",
         "alerts.yaml:7: spec.conditions[0].conditionRef: there is no AlertCondition 'burn'"),
        ("sli", "good: {metricSource: {metricSourceRef: here",
         "good: {metricSource: {metricSourceRef: there",
         "sli.yaml:7: spec.ratioMetric.good.metricSource.metricSourceRef: there is no DataSource"
         " 'there'"),
        ("sli", "type: Tocsin", "type: Prometheus",
         "sli.yaml:7: spec.ratioMetric.good.metricSource.metricSourceRef: DataSource 'here' is of"
         " type 'Prometheus'"),
        ("alerts", "lookbackWindow: 1h", "lookbackWindow: 30d",
         "alerts.yaml:19: spec.condition.lookbackWindow: looks back 43200 min, further than"),
    ],
)  # fmt: skip
def test_what_is_named_and_does_not_exist_is_an_error_where_it_is_named(
    tmp_path: Path, file: str, old: str, new: str, wanted: str
) -> None:
    found = problems_of(written(tmp_path, **{file: (old, new)}))
    assert any(wanted in problem for problem in found), found


def test_a_burn_rate_policy_that_chooses_an_slo_goes_before_its_alert_policies(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path)
    policy = "{apiVersion: tocsin/v1, kind: BurnRatePolicy, metadata: {name: ours}, spec: {%s}}"
    (folder / "policy.yaml").write_text(policy % "guards: {minBad: 9}")
    general = objective_of(load([folder]))
    assert (general.steps[0].after_minutes, general.guards.min_bad) == (5, 9)
    listening = "slos: {names: chat-up}, noData: {alertAfter: 20m, severity: page}"
    (folder / "policy.yaml").write_text(policy % listening)
    desired = load([folder])
    assert [step.long_minutes for step in objective_of(desired).steps] == [60, 360, 1440, 4320]
    assert "BurnRatePolicy/ours chooses this SLO" in str(desired.warnings)
    silence = desired.monitors[1]
    assert silence.method == AbsenceConfig(desired.monitors[0], 20)
    assert (silence.severity, silence.signal) == ("page", "no_data")
    (folder / "policy.yaml").write_text(policy % listening.replace("20m", "4d"))
    assert "spec.noData.alertAfter: counts are held to the minute" in str(problems_of(folder))


def test_written_out_each_slo_stands_for_itself_and_means_the_same(tmp_path: Path) -> None:
    folder, again = tmp_path / "first", tmp_path / "again"
    folder.mkdir()
    again.mkdir()
    wholes, problems = read([written(folder)])
    assert not problems
    documents = inlined(wholes)
    assert [(one["kind"], one["metadata"]["name"]) for one in documents] == [
        ("DataSource", "here"), ("SLO", "chat-up")
    ]  # fmt: skip
    spec = documents[1]["spec"]
    assert "indicatorRef" not in spec
    assert [policy["metadata"]["name"] for policy in spec["alertPolicies"]] == ["fast", "slow"]
    assert all(strict(one).is_accepted for one in documents if one["kind"] != "DataSource")
    (again / "slo.yaml").write_text(dump(documents))
    ours = [w.data for w in wholes if w.data["apiVersion"].startswith("tocsin/")]
    (again / "ours.yaml").write_text(dump(ours))
    assert load([again]).monitors == load([folder]).monitors
    assert inlined(read([again])[0]) == documents, "there is nothing left to write out"


def test_nothing_is_written_out_that_names_what_is_not_there(tmp_path: Path) -> None:
    folder = written(tmp_path, slo=("indicatorRef: answers", "indicatorRef: questions"))
    with pytest.raises(SpecError, match=r"spec\.indicatorRef: there is no SLI 'questions'"):
        inlined(read([folder])[0])
    folder = written(tmp_path, alerts=("kind: burnrate", "kind: weather"))
    with pytest.raises(SpecError, match=r"spec\.condition\.kind"):
        inlined(read([folder])[0])


EXAMPLES = Path(__file__).resolve().parents[2] / ".." / "shared" / "conformance" / "slo"


@pytest.mark.skipif(not EXAMPLES.exists(), reason="needs ../shared/conformance beside the checkout")
@pytest.mark.parametrize("version", ["v1", "v2alpha"])
def test_the_reference_sdks_own_examples_name_what_is_nowhere(version: str) -> None:
    """Their files do not belong together: the names that dangle are told, and no others."""
    folder = EXAMPLES / "OpenSLO+go-sdk" / "pkg" / "openslo" / version / "examples"
    wholes = read([folder])[0]
    with pytest.raises(SpecError) as caught:
        inlined(one for whole in wholes for one in unlisted(whole))
    found = {problem.message.partition("there is no ")[2] for problem in caught.value.problems}
    assert found == {
        "AlertNotificationTarget 'on-call-mail-notification'",
        "AlertNotificationTarget 'on-call-pd-notification'",
        "DataSource 'my-datadog'", "DataSource 'appdynamics'", "DataSource 'my-prometheus'",
    }  # fmt: skip
