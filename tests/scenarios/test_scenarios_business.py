"""The relation of a score and an outcome, week by week, and why it is unknown where it is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from world import CONFIG, ZERO, Phase, World

from tocsin.store.row_kinds import SCORE_ROWS

DETECTOR = """
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: impact}
spec:
  service: chat
  use: correlation
  with: {quality: "score:quality", outcome: "score:reopened", min_calls: 100}
"""
WEEK_MIN = 7 * 24 * 60
CALLS = 300  # a week


def strengths(world: World) -> list[dict]:
    query = {"from": "2026-11-09T00:00Z", "to": "2026-11-16T00:00Z",
             "as_of": "2026-11-16T09:00Z", "format": "json"}  # fmt: skip
    answer = world.web.get("/api/v1/reports/business/files", params=query)
    told = json.loads(base64.b64decode(answer.json()["files"]["report.json"]))
    [table] = [t for s in told["sections"] if s["id"] == "relations" for t in s["tables"]]
    return table["rows"]


def test_a_relation_that_weakened_is_seen_in_its_week(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.read_text() + DETECTOR)
    with World(tmp_path / "data", [Phase("chat", -30, 1, 1)], config=config) as world:
        midnight = ZERO - 9 * 60
        tell(world, midnight)
        rows = strengths(world)
        by_week = {row["week"]["text"]: row for row in rows}
        assert list(by_week)[-1] == "2026-11-09"
        before, last = by_week["2026-11-02"], by_week["2026-11-09"]
        first = by_week["2026-10-26"]
        for row in (before, first):
            assert row["relation"]["low"] < -0.6 < -0.4 < row["relation"]["high"] + 0.35
        assert before["pairs"]["value"] == CALLS
        assert (first["finding"]["text"], before["finding"]["text"]) == (
            "nothing before", "not weaker",
        )  # fmt: skip
        assert last["finding"]["text"] == "weaker"
        assert abs(last["relation"]["value"]) < 0.2
        empty = by_week["2026-10-19"]["relation"]
        assert empty["unknown"] == "0 calls have both, 100 are needed"
        assert strengths(world) == rows


def tell(world: World, midnight: int) -> None:
    rng = np.random.default_rng(5)
    for weeks_ago, related in ((3, 1.0), (2, 1.0), (1, 0.0)):
        minute = midnight - weeks_ago * WEEK_MIN + rng.integers(0, WEEK_MIN - 10, CALLS)
        quality = rng.random(CALLS)
        reopened = rng.random(CALLS) > np.where(related, quality, 0.5)
        ids = [f"{weeks_ago:04x}{n:012x}" for n in range(CALLS)]
        world.telemetry.add_calls(pa.table({
            "project": ["default"] * CALLS,
            "ts": pa.array(minute * 60_000_000, pa.timestamp("us", tz="UTC")),
            "service": ["chat"] * CALLS,
            "kind": ["llm"] * CALLS,
            "trace_id": [i * 2 for i in ids],
            "span_id": ids,
            "duration_us": pa.array([1_000_000] * CALLS, pa.uint64()),
        }))  # fmt: skip
        for name, values in (("quality", quality), ("reopened", reopened * 1.0)):
            world.telemetry.add_rows(SCORE_ROWS, [
                {"ts": at, "service": "chat", "name": name, "call_id": i, "value": float(v)}
                for at, i, v in zip(_texts(minute), ids, values, strict=True)
            ])  # fmt: skip
    world.telemetry.flush()


def _texts(minutes: np.ndarray) -> list[str]:
    stamps = (minutes * 60).astype("datetime64[s]")
    return [f"{stamp}Z" for stamp in stamps.astype(str)]
