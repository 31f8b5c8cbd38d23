"""Health scores of a running server: what is measured of a service, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tocsin.domain.clock import ManualClock
from tocsin.engine.health import ServiceHealth, service_health
from tocsin.engine.house import House
from tocsin.spec.desired import load_text
from tocsin.store.otlp_kinds import TABLES
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.schema import Retention
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, match: {service.name: chat-api}}
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-health, displayName: Chat}
spec:
  service: chat
  window: 10m
  components:
    - {metric: error_rate, weight: 0.4, critical: true}
    - {metric: p95_latency_seconds, weight: 0.3}
    - {metric: relevance_score, weight: 0.3}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = ManualClock(NOW)
    telemetry = Telemetry.open(
        tmp_path, clock, kinds=segment_kinds(), tables=TABLES, retention=Retention(0, 0, 0)
    )
    state = StateStore.open(tmp_path / "state.db")
    yield House(telemetry, state, clock, load_text(CONFIG), lateness=timedelta(seconds=2))
    telemetry.close()
    state.close()


def add_calls(house: House, *, failed: int, count: int = 200, seconds: float = 2.0) -> None:
    """Calls of the last minutes, so many of them failed."""
    at = [NOW - timedelta(seconds=180 + number) for number in range(count)]
    house.telemetry.add_calls(
        pa.table({
            "project": ["p"] * count,
            "service": ["chat-api"] * count,
            "kind": ["llm"] * count,
            "ts": pa.array(at, pa.timestamp("us", "UTC")),
            "span_id": [f"{number:016x}" for number in range(count)],
            "duration_us": pa.array([int(seconds * 1e6)] * count, pa.uint64()),
            "error_class": ["timeout"] * failed + [""] * (count - failed),
        })
    )  # fmt: skip
    house.telemetry.flush()


def only(house: House) -> ServiceHealth:
    house.adopt(house.desired)  # reads back what was there before the first minute
    (found,) = service_health(house, "chat")
    return found


def test_nothing_measured_is_unknown_and_not_healthy(house: House) -> None:
    found = only(house)
    assert (found.health.state, found.health.score) == ("idle", None)
    assert found.health.reason == "no calls: nothing to judge"
    assert found.state == "idle"


def test_calls_and_scores_make_it(house: House) -> None:
    add_calls(house, failed=4)
    house.telemetry.writer.append_now("scores", [
        b'{"ts":"2026-11-20 11:55:00","service":"chat-api","name":"relevance","value":%.1f,'
        b'"span_id":"%016x","id":"s%d","recv":"2026-11-20 11:55:00","version":1}'
        % (value, number, number)
        for number, value in enumerate([0.7, 0.8, 0.9])
    ])  # fmt: skip
    house.telemetry.flush()
    found = only(house)
    parts = {part.metric: part for part in found.health.parts}
    assert parts["error_rate"].value == pytest.approx(0.02)
    assert parts["error_rate"].low is not None
    assert parts["error_rate"].low < (parts["error_rate"].score or 0) < 100
    assert parts["p95_latency_seconds"].value == pytest.approx(2.0, rel=0.03)
    assert parts["relevance_score"].value == pytest.approx(0.8)
    assert found.health.coverage == 1
    assert found.health.state in ("ok", "warning")


def test_an_outage_is_critical_whatever_the_rest_says(house: House) -> None:
    add_calls(house, failed=150, seconds=0.5)
    found = only(house)
    assert found.health.coverage == pytest.approx(0.7)
    assert (found.health.state, found.health.capped_by) == ("critical", "error_rate")
    assert found.health.score == 20


def test_other_services_have_none(house: House) -> None:
    assert list(service_health(house, "search")) == []
