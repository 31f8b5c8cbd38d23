"""Every configuration in `examples/` loads, passes its own tests, and can be applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tocsin.assess.judge import compile_monitors
from tocsin.assess.monitor import Objective, ratios
from tocsin.domain.errors import SpecError
from tocsin.routing.simulate import run_tests
from tocsin.routing.tree import compile_policy
from tocsin.spec.desired import load, load_text
from tocsin.spec.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").iterdir()
    if path.is_dir() and not (path / "compose.yaml").exists()  # that is no configuration
)
SHARED = ROOT / ".." / "shared"
SECRETS = {
    "JUDGE_API_KEY": "k" * 20,
    "PAGERDUTY_ROUTING_KEY": "k" * 32,
    "SLACK_TOKEN": "xoxb-1",
    "SLACK": "xoxb-1",
    "PD_AIOPS": "k" * 32,
    "PD_AIOPS_WEBHOOK": "s" * 20,
    "VO_CALLBACK": "t" * 32,
    "JSM_CALLBACK": "t" * 32,
    "SLACK_APP": "xapp-1",
    "JIRA_WEBHOOK": "s" * 20,
    "AUDIT_WEBHOOK_URL": "https://audit.example.com",
    "AUDIT_WEBHOOK_SECRET": "whsec_" + "QUFB" * 11,
    "CRM_URL": "https://crm.example.com",
    "CRM_WHSEC": "whsec_" + "QUFB" * 11,
    "CREDO_URL": "https://credo.example.com",
    "CREDO_WHSEC": "whsec_" + "QUFB" * 11,
    "SMTP_HOST": "mail.example.com",
    "MAIL_PASSWORD": "p",
    "N8N_WEBHOOK_URL": "https://n8n.example.com/webhook/1",
    "N8N_WEBHOOK_SECRET": "whsec_" + "QUFB" * 11,
    "N8N_AUTHORIZATION": "Bearer t",
    "JIRA": "t",
    "JIRA_TOKEN": "t",
    "LINEAR": "lin_api_1",
    "LINEAR_API_KEY": "lin_api_1",
    "SNOW": "p",
    "SERVICENOW_PASSWORD": "p",
    "GRAFANA": "glsa_1",
    "TEAMS_WORKFLOW": "https://teams.example.com/w?sig=1",
    "TEAMS_WORKFLOW_URL": "https://teams.example.com/w?sig=1",
    "GRAFANA_TOKEN": "glsa_1",
    "DATADOG_API_KEY": "k" * 32,
    "STATUSPAGE_API_KEY": "k" * 32,
    "VO": "k" * 20,
    "JSM": "k" * 20,
    "JSM_API_KEY": "k" * 20,
    "SPLUNK_ONCALL_API_KEY": "k" * 20,
    "ARIZE_SIGNING_SECRET": "s" * 20,
    "ARIZE_API_KEY": "k" * 20,
    "GITHUB_WEBHOOK_SECRET": "s" * 20,
    "PIPELINES_SECRET": "whsec_" + "QUFB" * 11,
    "UPTIME_TOKEN": "t" * 20,
    "STATUS_SIGNING_KEY": "k" * 64,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_can_be_applied(path: Path) -> None:
    plan = make_plan(None, load([path]))
    assert plan.exit_code == 2, str(plan)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_runs_with_its_secrets(path: Path) -> None:
    desired = load([path], SECRETS.get)
    compile_monitors(desired.monitors)
    ratios(desired.monitors)
    for receiver in desired.receivers.values():
        assert receiver.channel is not None
    assert all(webhook.config is not None for webhook in desired.webhooks.values())


def test_the_demo_watches_six_services_in_every_way_it_can() -> None:
    desired = load([ROOT / "examples" / "demo"])
    assert sorted(desired.services) == [
        "claims-triage", "code-review", "contract-search", "email-drafts", "support-assistant",
        "voice-agent",
    ]  # fmt: skip
    names = {monitor.name for monitor in desired.monitors}
    for service in desired.services:
        assert {f"slo/{service}-availability", f"slo/{service}-latency"} <= names
        assert f"detector/failures/{service}" in names
        assert any(f"pace-{who}/{service}" in name for name in names for who in
                   ("customers", "internal"))  # fmt: skip
    assert "detector/retrieval" in names
    for monitor in desired.monitors:
        if isinstance(monitor.method, Objective):
            assert monitor.method.window_minutes == 28 * 1440
    assert {warning.path for warning in desired.warnings} == {"spec.mode"}  # scores in shadow


def test_the_demo_pages_for_slowness_only_where_customers_wait() -> None:
    desired = load([ROOT / "examples" / "demo"])
    for monitor in desired.monitors:
        if monitor.signal == "latency_p95":
            exposure = desired.services[monitor.service].exposure
            assert monitor.severity == ("page" if exposure == "customer" else "ticket")


def test_the_routing_example_says_what_the_sketch_says() -> None:
    sketch_path = SHARED / "examples" / "routing.yaml"
    if not sketch_path.exists():
        pytest.skip("the routing sketch is not here")
    sketch = yaml.safe_load(sketch_path.read_text())
    routing = load([ROOT / "examples" / "routing"]).routing
    assert len(routing.tests) == len(sketch["tests"]) == 24
    for test, wanted in zip(routing.tests, sketch["tests"], strict=True):
        assert (test.name, test.alert, test.expect) == (
            wanted["name"], wanted["alert"], wanted["expect"],
        )  # fmt: skip
    assert [rule.when for rule in routing.classify] == [rule["if"] for rule in sketch["classify"]]
    assert [route.name for route in routing.routes] == [route["name"] for route in sketch["routes"]]
    assert set(routing.receivers) == set(sketch["receivers"])
    assert set(routing.policies) == set(sketch["policies"])
    assert set(routing.oncall) == set(sketch["oncall"])
    assert set(routing.digests) == set(sketch["digests"])
    assert set(routing.playbooks) == set(sketch["playbooks"])
    assert all(result.passed for result in run_tests(compile_policy(routing)))


def test_openslo_documents_of_others_never_break_the_reader() -> None:
    folder = SHARED / "conformance" / "slo"
    if not folder.exists():
        pytest.skip("the OpenSLO documents are not here")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml"))
    assert paths
    for path in paths:
        try:
            load_text(path.read_text(), path.name)
        except SpecError as error:
            assert error.problems  # noqa: PT017
