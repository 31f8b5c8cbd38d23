"""What an objective looked like as known then, beside as known now; and the same from raw rows."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from test_scenarios_labels import LIKED, Live, ago, liked, rate
from world import CONFIG, T0, Phase, World, usual

from tocsin.domain.clock import iso

CORRECTION = """
---
apiVersion: tocsin/v1
kind: BudgetCorrection
metadata: {name: excused}
spec: {slos: [chat-availability], start: "START", duration: 10m, reason: the provider's outage}
"""


def known(world: World, name: str, minutes: float) -> dict:
    at = iso(T0 + timedelta(minutes=minutes))
    answer = world.web.get(f"/api/v1/objectives/{name}/as-of", params={"at": at})
    assert answer.status_code == 200, answer.text
    return answer.json()


def recount(world: World, name: str) -> dict:
    return world.web.get(f"/api/v1/objectives/{name}/recount").json()


def counts(view: dict) -> tuple[int, int]:
    return view["bad"], view["total"]


def late(world: World, minutes_ago: int, number: int) -> None:
    """Calls of the past that are told now, all failed."""
    call = {
        "service": "chat",
        "http_status": 500,
        "status": "error",
        "duration_ms": 100,
        "kind": "llm",
    }
    rows = [{**call, "ts": ago(minutes_ago)} for _ in range(number)]
    answer = world.web.post("/api/v1/calls", content="\n".join(json.dumps(r) for r in rows))
    assert answer.json()["accepted"] == number, answer.text
    world.telemetry.flush()


def test_what_came_after_a_time_is_not_in_what_was_known_then(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + LIKED)
    with Live(tmp_path / "data", usual("chat", until=60), config=config) as world:
        world.house.record_configuration(world.desired(), "ana", "first")
        rate(world, range(100, 130), 0, ts=ago(400))
        world.play(5)
        assert liked(world) == (30, 30)
        rate(world, range(100, 120), 1)  # somebody looked again
        late(world, 200, 7)
        world.play(12)
        assert liked(world) == (10, 30)
        labels = known(world, "chat-liked", 5)
        assert (counts(labels["then"]), counts(labels["now"])) == ((30, 30), (10, 30))
        assert [
            (r["bad_then"], r["total_then"], r["bad_now"], r["total_now"])
            for r in labels["restated"]
        ] == [(30, 30, 10, 30)]  # fmt: skip
        up = known(world, "chat-availability", 5)
        bad, total = counts(up["then"])
        assert counts(up["now"]) == (bad + 7, total + 7)
        assert known(world, "chat-availability", 11)["restated"] == []
        for name in ("chat-liked", "chat-availability", "chat-latency"):
            found = recount(world, name)
            assert found["equal"], found["differs"]
        start = iso(T0 - timedelta(minutes=205))
        config.write_text(config.read_text() + CORRECTION.replace("START", start))
        world.house.adopt(world.desired())
        world.house.record_configuration(world.desired(), "ana", "excused")
        world.play(14)
        corrected = known(world, "chat-availability", 11)
        assert corrected["rewritten"] == ["correction excused was added"]
        assert corrected["now"]["corrections"] == ["excused"]
        assert corrected["then"]["bad"] >= corrected["now"]["bad"] + 7
        assert recount(world, "chat-availability")["equal"]
        future = world.web.get("/api/v1/objectives/chat-liked/as-of?at=2031-01-01T00:00:00Z")
        assert (future.status_code, "still to come" in future.text) == (400, True)
        assert world.web.get("/api/v1/objectives/chat-likd/recount").status_code == 404


def test_counts_of_days_that_were_over_are_audited_when_they_change(tmp_path: Path) -> None:
    with Live(tmp_path, [Phase("chat", -30 * 60, 20)]) as world:
        world.play(3)
        late(world, 27 * 60, 4)
        late(world, 60, 2)  # of this day: it fills up
        world.play(6)
        (entry,) = world.house.state.entries_about("objectives")
        assert entry.kind == "counts.restated"
        changes = {(c["indicator"], c["bad"], c["total"]) for c in entry.data["changes"]}
        assert any((bad, total) == (4, 4) for _, bad, total in changes)
        (hour,) = entry.data["hours"]
        assert hour == iso(T0 - timedelta(hours=27))
