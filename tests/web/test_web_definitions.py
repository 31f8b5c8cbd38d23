"""Objectives and health scores through the API: in force, in the ledger, and into Git."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tocsin.domain.clock import ManualClock, SystemClock
from tocsin.engine import documents, planning
from tocsin.engine.house import House
from tocsin.engine.settings import Settings
from tocsin.intake.intake import Intake
from tocsin.spec.apply import CannotApply
from tocsin.spec.desired import load, restore
from tocsin.spec.yaml import parse
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.server import NOTHING, configuration, web_app

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
SLO = {
    "name": "prod-gpt-4-turbo-latency-p95",
    "description": "P95 latency for customer-facing chat model",
    "metric": "llm_latency_ms",
    "threshold": 2000,
    "threshold_type": "less_than",
    "window": "rolling_24h",
    "evaluation": "percentile_95",
    "tags": {"model": "gpt-4-turbo", "environment": "production", "team": "ai-platform"},
}
SCORE = {
    "score_name": "support_chatbot_health",
    "formula": {
        "components": [{"metric_name": "p95_latency_seconds", "weight": 1, "inverse": True}]
    },
    "thresholds": {"critical": 0.6, "warning": 0.8},
}
CONFIG = """
{apiVersion: tocsin/v1, kind: Service, metadata: {name: chat},
 spec: {team: ai-platform, model: gpt-4-turbo}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-availability}
spec:
  service: chat
  indicator:
    metadata: {name: i}
    spec: {ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: availability}}},
                         total: {metricSource: {type: Tocsin, spec: {count: all}}}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""
ID = "prod-gpt-4-turbo-latency-p95"
YAML = {"Accept": "application/yaml"}


class Running:
    """A server's parts, without its sockets and its minute."""

    def __init__(self, directory: Path, *, configured: bool) -> None:
        self.directory = directory
        self.clock = ManualClock(NOW)
        self.config = directory / "config"
        self.config.mkdir(parents=True)
        self.state = StateStore.open(directory / "state.db")
        if configured:
            (self.config / "all.yaml").write_text(CONFIG)
            planning.apply(self.settings, "ann", (), "first", self.clock)
        keep = Retention(0, 0, 0)
        self.telemetry = Telemetry.open(
            directory, self.clock, kinds=KINDS, tables=TABLES, memory_bytes=2 << 30, retention=keep
        )
        desired = configuration(Settings(directory), self.state, lambda _: None)
        self.house = House(
            self.telemetry, self.state, self.clock, desired, lateness=timedelta(seconds=2)
        )
        intake = Intake(self.telemetry.writer, self.clock, authenticate=lambda _: None)
        app = web_app(self.house, intake, Settings(directory))
        self.web = TestClient(app, base_url="http://127.0.0.1:4318")

    @property
    def settings(self) -> Settings:
        return Settings(self.directory, config_dir=self.config)

    def adopt(self) -> None:
        """What the heartbeat does when the newest version is not the one at work."""
        self.house.adopt(restore(self.state.config_versions(1)[0]["body"]["text"]))

    def call(self, service: str, model: str) -> None:
        body = {"ts": NOW.isoformat(), "service": service, "model": model, "duration_ms": 90}
        assert self.web.post("/api/v1/calls", json=body).status_code == 200
        self.telemetry.flush()

    def close(self) -> None:
        self.telemetry.close()
        self.state.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, configured=True)
    yield made
    made.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path, configured=False)
    yield made
    made.close()


def ledger(running: Running) -> list[tuple[str, str, str]]:
    return [(e.kind, e.actor, e.subject) for e in running.state.ledger_entries(0, 100)]


def test_a_definition_becomes_an_objective_in_force(running: Running) -> None:
    answer = running.web.post("/api/v1/slos", json=SLO, headers={"X-Tocsin-Actor": "ci"})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["id"], body["status"], body["evaluated"]) == (ID, "created", True)
    assert (body["service"], body["warnings"], body["also"]) == ("chat", [], [])
    assert ("config.document", "api:ci", f"SLO/{ID}") in ledger(running)
    assert running.state.verify_ledger() is None
    running.adopt()
    names = {monitor.name for monitor in running.house.desired.monitors}
    assert names == {"slo/chat-availability", f"slo/{ID}"}
    running.house.tick(NOW + timedelta(minutes=1))
    titles = [item["name"] for item in running.web.get("/api/v1/objectives").json()["items"]]
    assert sorted(titles) == ["chat-availability", ID]


def test_the_same_again_changes_nothing_and_another_content_is_an_update(running: Running) -> None:
    assert running.web.post("/api/v1/slos", json=SLO).status_code == 201
    before = ledger(running)
    versions = len(running.state.config_versions(100))
    again = running.web.post("/api/v1/slos", json=SLO)
    assert (again.status_code, again.json()["status"]) == (200, "unchanged")
    assert again.json()["id"] == ID
    assert ledger(running) == before
    assert len(running.state.config_versions(100)) == versions
    running.clock.set(NOW + timedelta(hours=1))
    other = running.web.post("/api/v1/slos", json={**SLO, "threshold": 1500},
                             headers={"X-Tocsin-Actor": "bob"})  # fmt: skip
    assert (other.status_code, other.json()["status"]) == (200, "updated")
    assert len(ledger(running)) == len(before) + 1
    found = running.web.get(f"/api/v1/slos/{ID}").json()
    assert (found["created_by"], found["updated_by"]) == ("api", "api:bob")
    assert found["created"] < found["updated"]
    assert found["document"]["spec"]["objectives"][0]["value"] == 1500


def test_documents_of_files_and_of_the_api_are_listed_with_their_origin(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    listed = running.web.get("/api/v1/slos").json()
    assert listed["total"] == 2
    origins = {item["id"]: item["origin"] for item in listed["items"]}
    assert origins == {"chat-availability": "git", ID: "api"}
    assert running.web.get("/api/v1/slos/nobody").status_code == 404


def test_what_comes_from_a_file_is_not_changed_or_withdrawn_here(running: Running) -> None:
    answer = running.web.post("/api/v1/slos", json={**SLO, "name": "chat-availability"})
    assert answer.status_code == 409
    assert "belongs to the configuration that was applied from files" in answer.json()["detail"]
    gone = running.web.delete("/api/v1/slos/chat-availability")
    assert gone.status_code == 409
    assert "tocsin apply" in gone.json()["detail"]


def test_a_document_is_withdrawn(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    assert running.web.delete(f"/api/v1/slos/{ID}").status_code == 204
    assert running.web.delete(f"/api/v1/slos/{ID}").status_code == 404
    running.adopt()
    assert [m.name for m in running.house.desired.monitors] == ["slo/chat-availability"]
    assert ledger(running)[-1] == ("config.document", "api", f"SLO/{ID}")


def test_its_yaml_moves_to_git_and_the_one_made_here_is_retired(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    text = running.web.get(f"/api/v1/slos/{ID}", headers=YAML)
    assert text.headers["content-type"].startswith("application/yaml")
    assert running.web.get("/api/v1/slos", headers=YAML).text == text.text
    (running.config / "moved.yaml").write_text(text.text)
    assert planning.plan(running.settings, None, None, SystemClock()).changes == ()
    assert planning.apply(running.settings, "ann", (), "move", running.clock) is None
    assert list(running.state.api_documents()) == []
    assert ledger(running)[-1] == ("config.document", "ann", f"SLO/{ID}")
    found = running.web.get(f"/api/v1/slos/{ID}").json()
    assert found["origin"] == "git"


def test_apply_keeps_what_was_made_here_and_a_file_of_the_same_name_wins(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    (running.config / "more.yaml").write_text(
        "{apiVersion: tocsin/v1, kind: Service, metadata: {name: drafts}, spec: {team: x}}"
    )
    plan = planning.plan(running.settings, None, None, SystemClock())
    assert [(change.what, change.key) for change in plan.changes] == [("added", "Service/drafts")]
    assert planning.apply(running.settings, "ann", (), "", running.clock) is not None
    running.adopt()
    assert f"slo/{ID}" in {monitor.name for monitor in running.house.desired.monitors}

    text = running.web.get(f"/api/v1/slos/{ID}", headers=YAML).text
    (running.config / "moved.yaml").write_text(text.replace("target: 0.95", "target: 0.9"))
    plan = planning.plan(running.settings, None, None, SystemClock())
    assert [(change.what, change.key) for change in plan.changes] == [("changed", f"SLO/{ID}")]
    assert planning.apply(running.settings, "ann", (), "", running.clock) is not None
    assert list(running.state.api_documents()) == []


def test_a_file_that_takes_away_what_a_document_needs_cannot_be_applied(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    (running.config / "all.yaml").write_text(
        "{apiVersion: tocsin/v1, kind: Service, metadata: {name: drafts}, spec: {team: x}}"
    )
    with pytest.raises(Exception, match=f"made through the API: SLO/{ID}.*no Service 'chat'"):
        planning.apply(running.settings, "ann", (), "", running.clock)


def test_a_start_with_files_has_the_documents_too_and_is_never_kept_from_it_by_them(
    running: Running,
) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    both = configuration(running.settings, running.state, lambda _: None)
    assert len(both.monitors) == 2
    assert both.digest == running.state.config_versions(1)[0]["digest"]
    (running.config / "all.yaml").write_text(
        "{apiVersion: tocsin/v1, kind: Service, metadata: {name: drafts}, spec: {team: x}}"
    )
    without = configuration(running.settings, running.state, lambda _: None)
    assert list(without.services) == ["drafts"]
    assert without.monitors == ()
    assert len(documents.kept(running.state)) == 1


def test_routing_tests_hold_for_definitions_as_well(running: Running) -> None:
    with (running.config / "all.yaml").open("a") as file:
        file.write("""
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: main}
spec:
  defaults: {unmatched: {tier: 2}}
  tests:
    - {name: seen, alert: {service: chat, severity: ticket}, expect: {tier: 3}}
""")
    with pytest.raises(CannotApply):
        planning.apply(running.settings, "ann", (), "", running.clock)
    # However it came into force, nothing is defined on top of what its own tests refuse.
    broken = load([running.config])
    running.house.record_configuration(broken, "test", "")
    answer = running.web.post("/api/v1/slos", json=SLO)
    assert answer.status_code == 422
    assert "routing test 'seen'" in answer.json()["detail"]


# --- which service ---


def test_a_service_that_was_only_seen_is_configured_along(empty: Running) -> None:
    empty.call("Support Bot", "gpt-4-turbo")
    answer = empty.web.post("/api/v1/slos", json=SLO)
    assert answer.status_code == 201, answer.text
    assert answer.json()["service"] == "support-bot"
    assert answer.json()["also"] == ["Service/support-bot"]
    empty.adopt()
    service = empty.house.desired.services["support-bot"]
    assert (service.team, service.env, service.service_name) == (
        "ai-platform", "prod", "Support Bot",
    )  # fmt: skip
    assert empty.web.post("/api/v1/slos", json=SLO).json()["status"] == "unchanged"


def test_the_last_document_can_be_withdrawn_and_the_empty_configuration_starts(
    empty: Running,
) -> None:
    assert empty.web.post("/api/v1/composite-scores", json=SCORE).status_code == 201
    name = "support-chatbot-health"
    assert empty.web.delete(f"/api/v1/composite-scores/{name}").status_code == 204
    empty.adopt()
    assert empty.house.desired.digest == NOTHING.digest
    again = configuration(Settings(empty.directory), empty.state, lambda _: None)
    assert again.digest == NOTHING.digest
    assert configuration(empty.settings, empty.state, lambda _: None) is NOTHING


@pytest.mark.parametrize(
    ("tags", "field", "words"),
    [
        ({"model": "gpt-4-turbo"}, "tags.service_name", "no service is known that calls"),
        ({"service_name": "nobody"}, "tags.service_name", "no service 'nobody', configured or"),
    ],
)
def test_a_service_that_is_not_known_is_refused(
    empty: Running, tags: dict[str, str], field: str, words: str
) -> None:
    answer = empty.web.post("/api/v1/slos", json={**SLO, "tags": tags})
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["where"] == field
    assert words in fault["what"]
    assert fault["fix"]


def test_more_than_one_service_is_not_guessed_between(running: Running) -> None:
    running.call("drafts", "gpt-4-turbo")
    answer = running.web.post("/api/v1/slos", json=SLO)
    assert answer.status_code == 422
    assert "more than one service calls 'gpt-4-turbo': chat, drafts" in answer.json()["detail"]
    named = {**SLO, "tags": {**SLO["tags"], "service_name": "drafts"}}  # type: ignore[dict-item]
    assert running.web.post("/api/v1/slos", json=named).json()["service"] == "drafts"


def test_what_a_name_was_about_it_stays_about(running: Running) -> None:
    assert running.web.post("/api/v1/slos", json=SLO).json()["service"] == "chat"
    running.call("drafts", "gpt-4-turbo")  # now more than one service could be meant
    again = running.web.post("/api/v1/slos", json={**SLO, "threshold": 900}).json()
    assert (again["status"], again["service"]) == ("updated", "chat")


def test_a_service_needs_an_owner_and_the_right_environment(running: Running) -> None:
    running.call("drafts", "m")
    nobody = running.web.post("/api/v1/slos", json={**SLO, "tags": {"service_name": "drafts"}})
    assert nobody.json()["errors"][0]["where"] == "tags.team"
    tags = {"service_name": "chat", "environment": "staging"}
    staging = running.web.post("/api/v1/slos", json={**SLO, "tags": tags})
    assert staging.json()["errors"][0]["where"] == "tags.environment"
    other = {**SLO, "tags": {"service_name": "chat", "team": "search"}}
    assert "belongs to 'ai-platform'" in running.web.post("/api/v1/slos", json=other).json()[
        "warnings"
    ][0]  # fmt: skip


def test_an_objective_counts_the_calls_of_its_model(running: Running) -> None:
    running.web.post("/api/v1/slos", json=SLO)
    running.adopt()
    for model, duration in (("gpt-4-turbo", 3000), ("gpt-4-turbo", 100), ("other", 9000)):
        body: dict[str, Any] = {"ts": NOW.isoformat(), "service": "chat", "model": model}
        running.web.post("/api/v1/calls", json={**body, "duration_ms": duration})
    running.telemetry.flush()
    running.house.tick(NOW + timedelta(minutes=1, seconds=2))
    shown = running.web.get("/api/v1/objectives").json()["items"]
    counts = {item["name"]: (item["bad"], item["total"]) for item in shown}
    assert counts == {ID: (1, 2), "chat-availability": (0, 3)}


# --- health scores and the door itself ---


def test_a_health_score_is_kept_and_runs_in_shadow(running: Running) -> None:
    answer = running.web.post("/api/v1/composite-scores", json=SCORE)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["id"], body["evaluated"]) == ("support-chatbot-health", True)
    assert "in shadow" in body["warnings"][0]
    running.adopt()
    assert [m.name for m in running.house.desired.monitors] == [
        "slo/chat-availability", "health/support-chatbot-health",
    ]  # fmt: skip
    text = running.web.get("/api/v1/composite-scores/support-chatbot-health", headers=YAML).text
    located, problems = parse(text, "x")
    assert not problems
    assert located[0].data["kind"] == "HealthScore"
    plan = planning.plan(running.settings, None, None, SystemClock())
    assert any("in shadow" in warning.message for warning in plan.warnings)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b'{"threshold": NaN}', 400, "NaN is not a number of JSON"),
        (b"[1]", 400, "must be a JSON object"),
        (b'{"name": "' + b"x" * 300_000 + b'"}', 413, "at most"),
        (b"{}", 422, "name: is missing"),
        (json.dumps({**SLO, "window": "rolling_400d"}).encode(), 422, "lasts at most a year"),
    ],
)
def test_a_bad_body_is_a_problem_document(
    running: Running, body: bytes, status: int, words: str
) -> None:
    answer = running.web.post("/api/v1/slos", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert list(running.state.api_documents()) == []


def test_the_endpoints_are_in_the_description(running: Running) -> None:
    paths = running.web.get("/api/openapi.json").json()["paths"]
    assert {"get", "post"} <= set(paths["/v1/slos"])
    assert {"get", "delete"} <= set(paths["/v1/composite-scores/{name}"])
