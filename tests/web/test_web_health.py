"""Pages and the API of health scores: history, what moved them, and what people say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from tocsin.domain.clock import ManualClock
from tocsin.engine.house import House
from tocsin.engine.settings import Settings
from tocsin.intake.intake import Intake
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import KINDS, TABLES
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry
from tocsin.web.server import web_app

TEXTS = pa.map_(pa.string(), pa.string())
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, businessUnit: care, riskTier: high}
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-health, displayName: Chat score}
spec:
  service: chat
  window: 5m
  components:
    - {metric: error_rate, weight: 0.5, critical: true}
    - {metric: p95_latency_seconds, weight: 0.5}
  thresholds: {warning: 80, critical: 60, for: 2m, clearFor: 2m}
  segments: {by: region, window: 20m, every: 1m}
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-alarm, displayName: Chat alarm}
spec:
  service: chat
  mode: alerting
  window: 5m
  components: [{metric: p95_latency_seconds, weight: 1}]
  thresholds: {warning: 80, critical: 60, for: 2m, clearFor: 2m}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Twenty minutes: ten of them well, then slow."""
    folder = tmp_path_factory.mktemp("health")
    clock = ManualClock(NOW)
    telemetry = Telemetry.open(
        folder,
        clock,
        kinds=KINDS,
        tables=TABLES,
        memory_bytes=2 << 30,
        retention=Retention(0, 0, 0),
    )
    state = StateStore.open(folder / "state.db")
    house = House(telemetry, state, clock, load_text(CONFIG), lateness=timedelta(seconds=2))
    at = [NOW + timedelta(seconds=second) for second in range(0, 20 * 60, 2)]
    slow = [moment >= NOW + timedelta(minutes=10) for moment in at]
    regions = ["eu" if number % 3 else "us" for number in range(len(at))]
    telemetry.add_calls(
        pa.table({
            "project": ["p"] * len(at),
            "service": ["chat"] * len(at),
            "kind": ["llm"] * len(at),
            "ts": pa.array(at, pa.timestamp("us", "UTC")),
            "span_id": [f"{number:016x}" for number in range(len(at))],
            "duration_us": pa.array([4_500_000 if one else 500_000 for one in slow], pa.uint64()),
            "error_class": [""] * len(at),
            "dims": pa.array([[("region", one)] for one in regions], TEXTS),
        })
    )  # fmt: skip
    telemetry.flush()
    clock.set(NOW + timedelta(minutes=20, seconds=2))
    house.catch_up(clock.now())
    intake = Intake(telemetry.writer, clock, authenticate=lambda _: None)
    yield TestClient(web_app(house, intake, Settings(folder)), base_url="http://127.0.0.1:4318")
    telemetry.close()
    state.close()


def test_every_page_shows_the_state_and_why(web: TestClient) -> None:
    listed = web.get("/health")
    assert listed.status_code == 200
    assert "Chat score" in listed.text
    assert "care" in listed.text
    assert 'class="word t-bad">critical' in web.get("/").text  # by business unit, on the fleet
    page = web.get("/health/chat-health?days=7").text
    assert page.count('<span class="chip t-bad">critical</span>') == 1
    assert "p95_latency_seconds" in page
    assert "in shadow: nobody is told" in page
    assert "region eu" in page
    assert re.search(r"a sample of [\d,]+ of [\d,]+ calls, one of each conversation", page)
    assert web.get("/health/nothing").status_code == 404


def test_the_api_has_the_history_and_the_change_adds_up(web: TestClient) -> None:
    found = web.get("/api/v1/health-scores/chat-health").json()
    assert [one["state"] for one in found["changes"]][:2] == ["critical", "ok"]
    moved = found["changes"][0]["moved"]
    assert sum(moved["terms"].values()) == pytest.approx(moved["total"])
    assert moved["terms"]["p95_latency_seconds"] == pytest.approx(moved["total"])
    assert len({one["formula"] for one in found["samples"]}) == 1
    assert web.get("/api/v1/health-scores/nothing").status_code == 404


def test_its_incident_says_what_moved_it_and_against_what(web: TestClient) -> None:
    (row,) = web.get("/api/v1/incidents").json()["items"]
    page = web.get(f"/incidents/{row['id']}").text
    assert "Chat alarm is critical: 12" in page
    assert "p95_latency_seconds -8" in page
    assert "held against: a health score of 60 of 100 at least" in page
    assert web.get(f"/incidents/{row['id']}/why").status_code == 200


def test_prometheus_reads_the_score_and_its_state(web: TestClient) -> None:
    text = web.get("/metrics").text
    label = 'health_score="chat-health",service="chat"'
    assert re.search(rf"tocsin_health_score{{{label}}} [0-9.]+", text)
    state = f'tocsin_health_state{{{label},tocsin_health_state="critical"}} 1.0'
    assert state in text


def test_what_people_say_is_kept_and_counted(web: TestClient) -> None:
    page = web.get("/health/chat-health")
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert token is not None
    form = {"form_token": token[1], "opinion": "too_low", "name": "Ann"}
    said = web.post("/health/chat-health/opinion", data=form, follow_redirects=False)
    assert said.status_code == 303
    assert web.post("/health/chat-health/opinion", data={**form, "opinion": "?"}).status_code == 400
    assert web.post("/health/chat-health/opinion", data={"opinion": "agree"}).status_code == 403
    body = {"opinion": "agree", "actor": "bob"}
    assert web.post("/api/v1/health-scores/chat-health/opinions", json=body).status_code == 201
    found = web.get("/api/v1/health-scores/chat-health").json()
    assert found["agreement"]["agree"] == {
        "count": 1, "total": 2, "low": pytest.approx(0.0126, abs=1e-3),
        "high": pytest.approx(0.9874, abs=1e-3),
    }  # fmt: skip
    assert "40 and 8 are needed" in found["suggestion"]["reason"]
    assert "Of 2" in web.get("/health/chat-health").text
