"""One tenant suffers while the service as a whole is fine: found, said, shown, and over again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from world import CONFIG, World, usual

BY_TENANT = """
---
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: by-tenant}
spec:
  segments: {by: [tenant], severity: page}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: failures-by-tenant}
spec:
  service: chat
  use: count_scan
  indicator: {use: availability}
  segments: {by: tenant, minRatio: 3}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: slow-by-tenant}
spec:
  service: chat
  use: static_threshold
  value: latency_ms
  segments: {by: [tenant, model]}
  with: {measure: mean, over: 30, limit: 1.0}
"""


def test_a_tenant_that_the_whole_hides_is_found_and_explained(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + BY_TENANT)
    phases = [
        *usual("chat", until=260, per_minute=60, failing=0.001),
        *usual("chat", until=20, tenant="globex", per_minute=3, failing=0.001),
        *usual("chat", until=260, tenant="initech", per_minute=4, failing=0.001),
    ]
    ill = phases[1].__dict__ | {"start": 20, "stop": 120, "failing": 0.18}
    well = phases[1].__dict__ | {"start": 120, "stop": 260}
    phases += [type(phases[0])(**ill), type(phases[0])(**well)]
    with World(tmp_path / "data", phases, config=config) as world:
        world.play(18)
        assert not alerts(world)
        world.play(100)
        found = alerts(world)
        assert set(found) == {
            "slo/chat-availability/segments",
            "detector/failures-by-tenant/segments",
        }
        slo = found["slo/chat-availability/segments"]
        assert slo.reason.startswith("tenant globex: ")
        assert "the service as a whole looks fine" in slo.reason
        assert slo.evidence["masked"]
        slow = world.house.standing.verdicts["detector/slow-by-tenant/segments"]
        sliced = {(s["dimension"], s["value"]) for s in slow.evidence["segments"]}
        assert {value for name, value in sliced if name == "tenant"} == {
            "acme", "globex", "initech"
        }  # fmt: skip
        assert any(name == "model" for name, _ in sliced), "every call has a model"
        assert [s["value"] for s in slo.evidence["segments"]] == ["globex"]
        listed = world.web.get("/api/v1/segments?service=chat").json()
        report = next(i for i in listed["items"] if i["monitor"].startswith("slo/chat-avail"))
        assert report["confirmed"] == ["tenant=globex"]
        assert report["masked"]
        assert report["gaps"]["tenant"]["low"] > 0
        assert {s["value"] for s in report["segments"]} == {"acme", "globex", "initech"}
        page = world.web.get("/services/chat").text
        assert "tenant globex" in page
        assert "worse off" in page
        assert "hidden in the whole" in page
        world.play(255)
        assert not alerts(world), "an hour after it is over nothing is left of it"


SLOW = """
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: p95}
spec:
  service: chat
  use: rolling_level
  with: {measure: p95, over: 5, min_calls: 15, for_minutes: 2, side: above}
  segments: {by: tenant}
"""


def test_a_tenant_that_turns_slow_is_named_and_then_no_longer(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + SLOW)
    phases = [
        *usual("chat", until=50, per_minute=200),
        *usual("chat", until=5, per_minute=5, tenant="globex"),
        *usual("chat", until=50, per_minute=1, tenant="tiny"),
    ]
    before = phases[1]
    phases += [
        replace(before, start=5, stop=20, slow=3.0), replace(before, start=20, stop=50),
    ]  # fmt: skip
    with World(tmp_path / "data", phases, config=config) as world:
        world.play(5)
        assert "detector/p95/segments" not in world.house.standing.verdicts, "it has a past"
        world.play(18)
        (alert,) = [
            alert
            for alert in world.state.alerts().values()
            if alert.labels["monitor"].startswith("detector/p95")
        ]
        assert (alert.labels["monitor"], alert.state) == ("detector/p95/segments", "firing")
        assert alert.reason.startswith("tenant globex: p95 latency ")
        assert [s["value"] for s in alert.evidence["segments"]] == ["globex"]
        assert alert.evidence["tested"] == 2, "of a tenant with five calls nothing is said"
        assert "tenant globex: p95 latency" in world.web.get("/detectors/p95/segments").text
        world.play(50)
        assert alert.fingerprint not in world.state.alerts()


def alerts(world: World) -> dict[str, object]:
    """Firing alerts of monitors of segments, by monitor."""
    return {
        alert.labels["monitor"]: alert
        for alert in world.state.alerts().values()
        if alert.labels["monitor"].endswith("/segments")
        and "slow" not in alert.labels["monitor"]
        and alert.state == "firing"
    }
