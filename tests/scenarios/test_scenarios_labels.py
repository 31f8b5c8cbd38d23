"""Labels that come late or are corrected change the objectives they belong to, and page nobody."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from world import CONFIG, T0, Failing, Phase, World, table, traffic, usual

from tocsin.domain.ports import MinuteSource
from tocsin.engine import restating

LIKED = """
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-liked}
spec:
  service: chat
  indicator:
    metadata: {name: chat-liked-ratings}
    spec:
      ratioMetric:
        good: {metricSource: {type: Tocsin, spec: {use: feedback}}}
        total: {metricSource: {type: Tocsin, spec: {count: all}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.7}]
"""


class Live(World):
    """A world that asks its store every minute, as a server does."""

    def _source(self, inner: MinuteSource) -> MinuteSource:
        self.source = Failing(inner)
        return self.source


def liked(world: World) -> tuple[int, int]:
    """(bad, total) of the objective, as the running process has it."""
    (status,) = (s for s in world.house.statuses() if "chat-liked" in s.monitor)
    return status.bad, status.total


def rate(world: World, calls: range, value: int, **more: Any) -> None:
    rows = [
        {"name": "feedback", "call_id": f"{n:016x}", "value": value, "service": "chat", **more}
        for n in calls
    ]
    body = "\n".join(json.dumps(row) for row in rows)
    answer = world.web.post("/api/v1/scores", content=body)
    assert answer.json()["accepted"] == len(calls), answer.text
    world.telemetry.flush()


def ago(minutes: int) -> str:
    return (T0 - timedelta(minutes=minutes)).isoformat()


def test_late_and_corrected_labels_reach_the_running_objective_and_a_restart_agrees(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + LIKED)
    with Live(tmp_path / "data", usual("chat", until=60), config=config) as world:
        world.play(3)
        rate(world, range(40), 1)
        world.play(5)
        assert liked(world) == (0, 40)
        rate(world, range(100, 130), 0, ts=ago(400))  # of this morning, labelled then, sent now
        world.play(7)
        assert liked(world) == (30, 70)
        rate(world, range(100, 120), 1)  # somebody looked again
        rate(world, range(5), 0)
        world.play(30)
        assert liked(world) == (15, 70)
        rate(world, range(120, 130), 1, ts=ago(30))  # and moves the rest
        world.play(32)
        assert liked(world) == (5, 70)
        (score,) = world.web.get(f"/api/v1/scores?call={110:016x}").json()["items"]
        assert (score["value"], score["versions"], score["service"]) == (1.0, 2, "chat")
        assert world.web.get("/api/v1/scores?call=nobody").json()["items"] == []
        assert not world.pages(), "old labels are no news"
        world.restart()
        world.play(33)
        assert liked(world) == (5, 70)


SLICED = LIKED.replace("chat-liked", "chat-slices").replace("Occurrences", "Timeslices").replace(
    "{target: 0.7}", "{target: 0.7, timeSliceTarget: 0.5, timeSliceWindow: 6h}"
)  # fmt: skip


def test_what_memory_cannot_take_in_is_owed_and_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices of six hours are held for three days; a label of last week changes one."""
    monkeypatch.setattr(restating, "OWED_FOR", timedelta(minutes=6))
    monkeypatch.setattr(restating, "READING_SHARE", 1e-9)  # as of a store that takes long to read
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + SLICED)
    days = 24 * 60
    phases = [Phase("chat", -6 * days, -6 * days + 30), *usual("chat", until=20)]
    with Live(tmp_path / "data", phases, config=config) as world:
        world.play(2)
        rate(world, range(40), 0, ts=ago(5 * days))
        world.play(4)
        assert slices(world) == (0, 0), "raw counts are restated, their slice is not"
        world.play(10)
        assert slices(world) == (1, 1), "history was read anew, without a restart"
        held = world.house.window
        world.play(15)
        assert world.house.window is held, "and once"


def test_history_that_is_sent_to_a_new_server_counts_at_once(tmp_path: Path) -> None:
    history = table(traffic([Phase("chat", -300, -60)]))
    at = history.schema.get_field_index("span_id")
    names = pa.array([f"a{n:015x}" for n in range(history.num_rows)])
    with Live(tmp_path / "data", [Phase("chat", 0, 20)]) as world:
        world.play(2)
        before = totals(world)
        received = pa.array([world.clock.now()] * history.num_rows, pa.timestamp("us", tz="UTC"))
        sent = history.set_column(at, "span_id", names).append_column("recv", received)
        world.telemetry.add_calls(sent)
        world.telemetry.flush()
        world.play(4)
        known = totals(world)
        assert all(known[name] > before[name] + 0.9 * history.num_rows for name in known)
        world.restart()
        assert totals(world) == known


def totals(world: World) -> dict[str, int]:
    return {status.monitor: status.total for status in world.house.statuses()}


def slices(world: World) -> tuple[int, int]:
    (status,) = (s for s in world.house.statuses() if "chat-slices" in s.monitor)
    return status.bad, status.total


GROUNDED = """
---
apiVersion: tocsin/v1
kind: Indicator
metadata: {name: grounded}
spec:
  good: "score('faithfulness') >= 0.5 and not failed"
  total: "known(score('faithfulness'))"
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-liked}
spec:
  service: chat
  indicator:
    metadata: {name: chat-grounded}
    spec: {ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: grounded}}}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.7}]
"""


def test_a_judges_late_scores_count_where_their_calls_ended(tmp_path: Path) -> None:
    """A call without a score does not count; a late one counts in the past."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + GROUNDED)
    with Live(tmp_path / "data", usual("chat", until=60), config=config) as world:
        world.play(20)
        assert liked(world) == (0, 0), "nothing is judged yet"
        found = world.web.get("/api/v1/calls?service=chat&limit=1000").json()["items"]
        past = [call for call in found if call["ts"] < ago(-15) and not call["error_class"]]
        early = [call["span_id"] for call in past[:40]]
        judge(world, early[:30], 0.9)
        judge(world, early[30:], 0.1)
        world.play(22)
        assert liked(world) == (10, 40)
        judge(world, early[35:], 0.8)  # a second look
        world.play(24)
        assert liked(world) == (5, 40)
        world.restart()
        world.play(25)
        assert liked(world) == (5, 40)


HELPFUL = """
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-liked}
spec:
  service: chat
  indicator:
    metadata: {name: helpfulness}
    spec:
      thresholdMetric:
        metricSource:
          type: Tocsin
          spec: {value: score('faithfulness'), aggregate: mean, expected: 0.9}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{op: gte, value: 0.8, target: 0.9}]
"""


def test_a_mean_of_late_scores_is_restated_and_a_restart_agrees(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + HELPFUL)
    with Live(tmp_path / "data", usual("chat", until=60), config=config) as world:
        world.play(20)
        found = world.web.get("/api/v1/calls?service=chat&limit=1000").json()["items"]
        past = [call["span_id"] for call in found if call["ts"] < ago(-15)][:40]
        judge(world, past[:30], 0.9)
        judge(world, past[30:], 0.5)
        world.play(22)
        (before,) = (s for s in world.house.statuses() if "chat-liked" in s.monitor)
        assert before.mean is not None
        assert (before.total, round(before.mean.value or 0, 6)) == (40, 0.8)
        assert before.remaining is not None
        assert abs(before.remaining) < 1e-6, "a mean at the limit has spent its budget"
        assert before.mean.known is not None
        assert before.mean.known < 0.5, "most calls were not judged"
        assert before.standing == "inconclusive"
        judge(world, past[30:], 0.9)  # a second look
        world.play(24)
        (after,) = (s for s in world.house.statuses() if "chat-liked" in s.monitor)
        assert after.remaining == 1.0
        page = world.web.get("/services/chat").text
        assert "mean of 40 calls" in page
        (shown,) = (
            item
            for item in world.web.get("/api/v1/objectives").json()["items"]
            if item["name"] == "chat-liked"
        )
        assert (shown["sli"], shown["mean"]["value"], shown["mean"]["limit"]) == (None, 0.9, 0.8)
        world.restart()
        world.play(25)
        (again,) = (s for s in world.house.statuses() if "chat-liked" in s.monitor)
        assert again.mean is not None
        assert after.mean is not None
        assert again.mean.value == after.mean.value


def judge(world: World, spans: list[str], value: float) -> None:
    rows = [{"name": "faithfulness", "call_id": span, "value": value} for span in spans]
    answer = world.web.post("/api/v1/scores", content="\n".join(json.dumps(r) for r in rows))
    assert answer.json()["accepted"] == len(spans), answer.text
    world.telemetry.flush()


EVALUATED = """
---
apiVersion: tocsin/v1
kind: Evaluator
metadata: {name: faithful}
spec:
  service: chat
  judge: score('faithful-v1') >= 0.5
  human: label('faithful-review') = 'yes'
  target: 0.95
  window: 1d
  humanLabels: {per: 1d, min: 30}
  severity: page
"""


def test_a_judge_alone_pages_nobody_and_people_decide(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + EVALUATED)
    with Live(tmp_path / "data", usual("chat", until=60), config=config) as world:
        world.play(20)
        found = world.web.get("/api/v1/calls?service=chat&limit=1000").json()["items"]
        past = [call["span_id"] for call in found if call["ts"] < ago(-15)][:200]
        tell(world, "faithful-v1", past, "value", [0.9 if n % 5 else 0.1 for n in range(200)])
        world.play(23)
        (standing,) = world.house.qualities()
        assert (standing.state, standing.judged, standing.judge) == ("uncalibrated", 200, 0.8)
        assert not world.pages(), "a fifth fails, says a judge whom nobody has checked"
        # People agree about 38 of 40.
        labels = [("yes" if n % 5 and n != 1 else "no") for n in range(40)]
        tell(world, "faithful-review", past[:40], "label", labels)
        world.play(26)
        (standing,) = world.house.qualities()
        assert (standing.state, standing.labels) == ("breached", 40)
        assert standing.estimate is not None
        assert standing.estimate.high < 0.95
        (firing,) = [
            a for a in world.state.alerts().values() if a.labels["monitor"] == "quality/faithful"
        ]
        assert "the judge says 80 %" in firing.reason
        listed = world.web.get("/api/v1/quality?service=chat").json()["items"]
        assert [item["state"] for item in listed] == ["breached"]
        assert "breached" in world.web.get("/services/chat").text
        world.restart()
        world.play(28)
        assert world.house.qualities()[0].estimate == standing.estimate


def tell(world: World, name: str, spans: list[str], field: str, told: list[Any]) -> None:
    rows = [
        {"name": name, "call_id": span, field: value}
        for span, value in zip(spans, told, strict=True)
    ]
    answer = world.web.post("/api/v1/scores", content="\n".join(json.dumps(r) for r in rows))
    assert answer.json()["accepted"] == len(rows), answer.text
    world.telemetry.flush()
