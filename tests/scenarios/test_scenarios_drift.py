"""Drift of live traffic, through the same tick, and the same in a backtest over a file of calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from world import CONFIG, ZERO, Phase, World, rows, traffic
from world import table as world_table

from tocsin.domain.clock import from_minute
from tocsin.domain.errors import StoreError
from tocsin.domain.findings import Judgement
from tocsin.engine.backtest import backtest
from tocsin.engine.files import open_source
from tocsin.engine.rules import compile_desired
from tocsin.spec.desired import load

DRIFT = """
apiVersion: tocsin/v1
kind: Detector
metadata: {name: lengths}
spec:
  service: chat
  use: drift
  severity: ticket
  with: {features: [output_tokens, input_tokens, "dimension:tenant"], window_hours: 1,
         reference_days: 1, every_minutes: 15, min_calls: 100}
"""
PHASES = [
    Phase("chat", -8 * 60, 60, per_minute=8.0),
    Phase("chat", 60, 240, per_minute=8.0, output=300),
]
MONITOR = "detector/lengths"


def config(tmp_path: Path) -> Path:
    made = tmp_path / "config"
    made.mkdir()
    (made / "world.yaml").write_text(CONFIG.read_text())
    (made / "drift.yaml").write_text(DRIFT)
    return made


def test_longer_answers_open_a_ticket_with_examples(tmp_path: Path) -> None:
    with World(tmp_path / "w", PHASES, config=config(tmp_path)) as made:
        made.play(55)
        assert MONITOR not in made.house.standing.verdicts
        made.play(150)
        verdict = made.house.standing.verdicts[MONITOR]
        assert verdict.judgement is Judgement.BREACH
        assert verdict.reason.startswith("output_tokens drifted: median 1")
        told = {feature["name"]: feature for feature in verdict.evidence["features"]}
        assert not told["input_tokens"]["drifted"]
        trace, span = told["output_tokens"]["examples"][0].split("/")
        call = made.web.get(f"/api/v1/calls/{trace}/{span}").json()["call"]
        assert call["output_tokens"] > 150
        (incident,) = [
            i for i in made.state.incidents().values() if i.labels.get("signal") == "drift"
        ]
        shown = made.web.get(f"/api/v1/incidents/{incident.id}").json()
        assert shown["calls_title"] == "Calls that moved it"
        assert all(call["output_tokens"] > 150 for call in shown["calls"][:3])
        near = made.web.get("/api/v1/objectives/chat-latency").json()["annotations"]
        assert [note["kind"] for note in near] == ["drift"]
        assert near[0]["text"].startswith("output_tokens drifted: median 1")


def test_a_backtest_over_calls_finds_the_same_and_one_over_counts_says_unknown(
    tmp_path: Path,
) -> None:
    table = rows(traffic(PHASES))
    pq.write_table(table, tmp_path / "calls.parquet")
    rules = compile_desired(load([config(tmp_path)]))
    source = open_source(tmp_path / "calls.parquet")
    found = [
        next((v for v in decided.verdicts if v.monitor == MONITOR), None)
        for decided in backtest(rules, source, (ZERO, ZERO + 205))
    ]
    assert found[40] is None
    assert found[-1] is not None
    assert found[-1].judgement is Judgement.BREACH
    assert found[-1].reason.startswith("output_tokens drifted")
    minutes = np.arange(ZERO, ZERO + 20)
    lines = [f"{from_minute(int(m)).isoformat()},chat,9,1" for m in minutes]
    (tmp_path / "counts.csv").write_text("minute,service,good,bad\n" + "\n".join(lines))
    counts = open_source(tmp_path / "counts.csv")
    *_, last = backtest(rules, counts, (ZERO, ZERO + 20))
    told = next(v for v in last.verdicts if v.monitor == MONITOR)
    assert (told.judgement, told.reason) == (
        Judgement.UNKNOWN, "this source has no single calls to compare",
    )  # fmt: skip


def test_what_cannot_be_read_is_unknown_and_tried_again(tmp_path: Path) -> None:
    with World(tmp_path / "w", PHASES, config=config(tmp_path)) as made:
        inner = made.source.inner

        class Broken:
            def __getattr__(self, name: str):
                return getattr(inner, name)

            def sample(self, *_: object) -> object:
                raise StoreError("the disk is slow")

        made.source.inner = Broken()  # type: ignore[assignment]
        made.play(2)
        told = made.house.standing.verdicts[MONITOR]
        assert told.reason == "calls could not be read: the disk is slow"
        assert made.house.standing.minute == ZERO + 1, "the tick goes on"
        made.source.inner = inner
        made.play(4)
        assert MONITOR not in made.house.standing.verdicts


def test_a_backtest_over_calls_with_scores_tells_a_relation_that_weakened(tmp_path: Path) -> None:
    table = rows(traffic([Phase("chat", -8 * 60, 240, per_minute=8.0)]))
    rng = np.random.default_rng(9)
    quality = rng.random(table.num_rows)
    later = np.asarray(table["ts"].cast("int64")) // 60_000_000 >= ZERO + 100
    reopened = rng.random(table.num_rows) > np.where(later, 0.5, quality)
    table = table.append_column("score.quality", [quality])
    table = table.append_column("score.reopened", [reopened.astype(float)])
    pq.write_table(table, tmp_path / "calls.parquet")
    folder = config(tmp_path)
    (folder / "drift.yaml").write_text(
        DRIFT.replace("use: drift", "use: correlation").replace(
            'features: [output_tokens, input_tokens, "dimension:tenant"]',
            'quality: "score:quality", outcome: "score:reopened"',
        )
    )
    rules = compile_desired(load([folder]))
    source = open_source(tmp_path / "calls.parquet")
    found = [
        next((v for v in decided.verdicts if v.monitor == MONITOR), None)
        for decided in backtest(rules, source, (ZERO, ZERO + 205))
    ]
    assert found[60] is None
    assert found[-1] is not None
    assert found[-1].judgement is Judgement.BREACH
    assert found[-1].reason.startswith("score:reopened follows score:quality less")


def test_a_session_in_a_loop_is_told_live_and_in_a_backtest(tmp_path: Path) -> None:
    calls = traffic([Phase("chat", -8 * 60, 60, per_minute=8.0)])
    rng = np.random.default_rng(4)
    sessions = np.array([f"s{n}" for n in rng.integers(0, 900, len(calls["ts"]))])
    late = calls["ts"] // 60_000_000 >= ZERO + 10
    sessions[late & (rng.random(len(late)) < 0.6)] = "loop"
    folder = config(tmp_path)
    (folder / "drift.yaml").write_text(
        DRIFT.replace("use: drift", "use: heavy_hitter").replace(
            'features: [output_tokens, input_tokens, "dimension:tenant"]', "amount: calls"
        )
    )
    pq.write_table(rows(calls).append_column("session_id", [sessions]), tmp_path / "calls.parquet")
    rules = compile_desired(load([folder]))
    source = open_source(tmp_path / "calls.parquet")
    *_, last = backtest(rules, source, (ZERO, ZERO + 58))
    (verdict,) = [v for v in last.verdicts if v.monitor == MONITOR]
    assert verdict.reason.startswith("session_id loop had ")
    with World(tmp_path / "w", [Phase("chat", -8 * 60, -8 * 60 + 1)], config=folder) as made:
        telemetry = made.house.telemetry
        telemetry.add_calls(world_table(calls).append_column("session_id", [sessions]))
        telemetry.flush()
        made.play(58)
        live = made.house.standing.verdicts[MONITOR]
    assert live.reason == verdict.reason
    assert live.evidence["keys"][0]["key"] == "loop"
