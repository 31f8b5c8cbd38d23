"""What detectors did, as pages and API tell it: alerts, verdicts, precision, and other settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import ZERO, Phase, World, usual

from tocsin.domain.clock import from_minute
from tocsin.engine.replay import CannotReplay, replay, with_settings

NAME = "failures/chat"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path: Path = tmp_path_factory.mktemp("detectors")
    phases = [*usual("chat", until=60), Phase("chat", 10, 20, failing=0.7)]
    with World(path, phases) as w:
        w.play(60)
        w.state.mark(w.incident("chat").id, "real", "ana", w.clock.now())
        yield w


def test_the_page_of_a_detector_tells_what_it_did(world: World) -> None:
    found = world.web.get(f"/api/v1/detectors/{NAME}?days=1").json()
    (alert,) = found["alerts"]
    assert alert["severity"] == "page"
    assert alert["incident_id"] == world.incident("chat").id
    assert alert["verdict"] == "real"
    assert alert["began"] < alert["ended"]
    assert found["row"]["precision"]["share"] == 1.0
    assert found["row"]["precision"]["low"] == pytest.approx(0.025)  # one verdict says little
    assert found["row"]["page_limit"] == 6.0
    assert any(peak > 6.0 for _, peak in found["peaks"])
    assert found["judged_hours"] >= 1
    page = world.web.get(f"/detectors/{NAME}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "finds something" not in page.text
    assert f"/incidents/{world.incident('chat').id}" in page.text


def test_every_detector_and_team_has_a_precision_with_its_interval(world: World) -> None:
    listed = world.web.get("/api/v1/precision").json()
    assert {t["team"]: t["precision"]["real"] for t in listed["teams"]} == {"cx": 1}
    names = {d["name"] for d in listed["detectors"]}
    assert {NAME, "truncation", "pace/claims"} <= names
    assert world.web.get("/api/v1/page-budgets").json() == {"total": 0, "items": []}
    assert world.web.get("/detectors", headers={"accept": "text/html"}).status_code == 200


def test_another_setting_is_judged_by_the_same_code(world: World) -> None:
    """A replay finds, minute for minute, what was found; a deafer setting finds less."""
    rules = world.house.rules
    monitor = {m.name: m for m in world.house.desired.monitors}[f"detector/{NAME}"]
    as_is = replay(world.house.history, monitor, ZERO, ZERO + 60)
    (episode,) = as_is.episodes()
    alert = world.incident("chat")
    assert from_minute(episode.start) <= alert.opened <= from_minute(episode.start + 1)
    assert rules.least[monitor.name] == 6.0
    deaf = with_settings(monitor, {"threshold": 250.0, "for_minutes": 5})
    assert replay(world.house.history, deaf, ZERO, ZERO + 60).episodes() == ()
    with pytest.raises(CannotReplay, match="for_minutes is 1 to 60"):
        with_settings(monitor, {"for_minutes": 99})
    with pytest.raises(CannotReplay, match="whole number"):
        with_settings(monitor, {"for_minutes": 1.5})
    asked = world.web.get(f"/api/v1/detectors/{NAME}?days=1&thresold=7")
    assert asked.status_code == 422
    assert "no setting 'thresold'" in asked.json()["detail"]
    assert world.web.get("/api/v1/detectors/nothing").status_code == 404
