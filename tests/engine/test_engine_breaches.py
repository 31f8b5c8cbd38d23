"""Presets and conditions over a file of calls, by the same tick as the server's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tocsin.domain.clock import from_minute, iso
from tocsin.engine.planning import backtest_lines
from tocsin.engine.settings import Settings

START = 29_000_160
INCIDENT = range(300, 330)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: a}
---
apiVersion: tocsin/v1
kind: BreachMonitor
metadata: {name: w2}
spec: {service: chat, preset: slow-five-minutes, severity: page}
---
apiVersion: tocsin/v1
kind: BreachMonitor
metadata: {name: ungrounded}
spec: {service: chat, when: "share(score('judge') < 0.5) > 20%", window: 15m}
---
apiVersion: tocsin/v1
kind: Receiver
metadata: {name: pager}
spec: {type: none}
---
apiVersion: tocsin/v1
kind: Routing
metadata: {name: r}
spec: {routes: [{name: all, receivers: pager}]}
"""


def test_a_preset_pages_in_the_fifth_slow_minute_and_a_judges_limit_follows(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(4)
    n = 600 * 40
    at = START * 60 + np.arange(n) * 1.5
    minute = (np.arange(n) * 1.5 // 60).astype(int)
    wrong = np.isin(minute, INCIDENT)
    slow = rng.random(n) < np.where(wrong, 0.3, 0.02)
    poor = rng.random(n) < np.where(wrong, 0.7, 0.1)
    judged = rng.random(n) < 0.3
    score = np.where(poor, 0.2, 0.9)
    table = pa.table({
        "ts": at - np.where(slow, 2.9, 0.5), "service": ["chat"] * n,
        "duration_ms": np.where(slow, 2900.0, 500.0),
        "score.judge": pa.array(np.where(judged, score, np.nan), from_pandas=True),
    })  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "calls.parquet")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "all.yaml").write_text(CONFIG)
    settings = Settings(data_dir=tmp_path / "data", config_dir=tmp_path / "config")
    lines = [line.record() for line in backtest_lines(settings, tmp_path / "calls.parquet")]
    alerts = [line for line in lines if line["kind"] == "alert"]
    firing = {line["object"]: line for line in alerts if line["state"] == "firing"}
    assert set(firing) == {"breach/w2", "breach/ungrounded"}
    assert len([line for line in alerts if line["object"] == "breach/w2"]) == 2
    fifth = iso(from_minute(START + INCIDENT[4] + 1))
    assert firing["breach/w2"]["at"] == fifth
    assert "over 5 % for 5 min" in firing["breach/w2"]["reason"]
    assert "met score('judge') < 0.5" in firing["breach/ungrounded"]["reason"]
