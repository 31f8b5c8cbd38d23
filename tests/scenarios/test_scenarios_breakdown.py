"""A breakdown of real traffic in a real store: as evidence of an alert, and through the API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from world import CONFIG, T0, Phase, World, usual

from tocsin.domain.clock import iso

GOOD = """
---
apiVersion: tocsin/v1
kind: CompositeSLO
metadata: {name: good-answer}
spec:
  service: chat
  method: event
  good: ["cost_usd <= 1", "not failed", {slo: chat-latency}]
  target: 0.97
  window: {duration: 24h, isRolling: true}
"""


def test_a_composite_says_which_condition_calls_missed_and_where(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + GOOD)
    phases = [
        *usual("chat", until=40),
        Phase("chat", -60, 10, per_minute=5.0, tenant="beta"),
        Phase("chat", 10, 40, per_minute=6.0, failing=0.9, tenant="beta"),
    ]
    with World(tmp_path, phases, config=config) as made:
        made.play(30)
        alerts = made.house.state.alerts().values()
        (found,) = [a for a in alerts if a.labels["monitor"] == "slo/good-answer"]
        told = found.evidence["components"]
        assert [one["name"] for one in told] == ["not failed"]
        assert found.evidence["component"].startswith("not failed (missed by ")
        assert found.evidence["breakdown"]["slices"][0]["where"] == {"tenant": "beta"}


def test_the_slice_that_fails_is_on_the_incident_and_in_the_api(tmp_path: Path) -> None:
    phases = [
        *usual("chat", until=60),
        Phase("chat", -60, 60, per_minute=5.0, tenant="beta"),
        Phase("chat", 10, 60, per_minute=6.0, failing=0.9, tenant="beta"),
    ]
    with World(tmp_path, phases) as made:
        made.play(25)
        told = made.incident("chat").evidence["breakdown"]
        assert told["slices"][0]["where"] == {"tenant": "beta"}
        assert told["measure"] == "failed"
        asked = {
            "service": "chat", "from": iso(T0 + timedelta(minutes=10)),
            "to": iso(T0 + timedelta(minutes=25)),
        }  # fmt: skip
        found = made.web.get("/api/v1/breakdown", params=asked).json()
        assert found["slices"][0]["where"] == {"tenant": "beta"}
        assert found["slices"][0]["support"] > 0.9
        assert found["since"] == iso(T0 + timedelta(minutes=10))
        assert found["baseline"] == [
            iso(T0 - timedelta(minutes=50)), iso(T0 + timedelta(minutes=10)),
        ]  # fmt: skip
        calls = made.web.get("/api/v1/breakdown", params=asked | {"measure": "calls"}).json()
        assert calls["slices"][0]["where"] == {"tenant": "beta"}
        assert calls["slices"][0]["factor"] > 1.5
        slow = made.web.get("/api/v1/breakdown", params=asked | {"measure": "slow"})
        assert slow.json()["threshold_ms"] > 0
        wrong = made.web.get("/api/v1/breakdown", params=asked | {"measure": "mood"})
        assert wrong.status_code == 422
        assert "known: failed, error" in wrong.json()["detail"]
        page = made.web.get("/services/chat", params={k: v for k, v in asked.items()
                                                      if k != "service"})  # fmt: skip
        assert "tenant beta" in page.text


BY_GAUGES = """
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: calls-missing}
spec:
  service: chat
  use: static_threshold
  with: {measure: volume, limit: 8, side: below, over: 5}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: slow-on-average}
spec:
  service: chat
  use: static_threshold
  value: latency_ms
  with: {measure: mean, over: 5, limit: 1.0}
"""


def test_a_gauge_is_broken_down_by_what_it_measures(tmp_path: Path) -> None:
    """A tenant that went silent is the slice of a drop, not the share of calls that fail."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + BY_GAUGES)
    phases = [
        Phase("chat", -120, 60, per_minute=1.0, tenant="beta"),
        Phase("chat", -120, 10, per_minute=12.0, tenant="acme"),
    ]
    with World(tmp_path, phases, config=config) as made:
        made.play(26)
        told = {
            alert.labels["monitor"]: alert.evidence.get("breakdown")
            for alert in made.house.state.alerts().values()
        }
    assert told["detector/calls-missing"]["measure"] == "calls"
    assert told["detector/calls-missing"]["slices"][0]["where"] == {"tenant": "acme"}
    assert told["detector/slow-on-average"]["measure"] == "slow"
