"""A segment that was worse off and of which nothing more is heard: its alerts wait for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.domain.clock import to_minute
from tocsin.engine.backtest import backtest
from tocsin.engine.files import open_source
from tocsin.engine.rules import compile_desired
from tocsin.spec.desired import load_text
from tocsin.store.state import StateStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
START = to_minute(NOON)
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {name: chat}
spec: {team: cx, mode: page}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat-availability}
spec:
  service: chat
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  indicator:
    metadata: {name: answered}
    spec: {ratioMetric: {good: {metricSource: {type: Tocsin, spec: {use: availability}}}}}
  objectives: [{target: 0.95}]
---
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {name: by-region}
spec: {segments: {by: region, window: 10m, every: 2m, confirm: 2of3}}
---
apiVersion: tocsin/v1
kind: Detector
metadata: {name: slow}
spec:
  service: chat
  use: static_threshold
  value: latency_ms
  segments: {by: region}
  with: {measure: mean, over: 10, min_calls: 20, limit: 3000.0}
---
apiVersion: tocsin/v1
kind: HealthScore
metadata: {name: chat-health}
spec:
  service: chat
  mode: alerting
  window: 5m
  components: [{metric: error_rate, weight: 1, curve: [[0, 100], [0.5, 0]]}]
  segments: {by: region, window: 10m, every: 2m, confirm: 2of3}
"""


def calls(path: Path, minutes: int, ill: range, gone: range) -> Path:
    """A hundred and fifty calls a minute; every second one of br's six fails while it is ill, and
    the others are slow."""
    rows: dict[str, list[Any]] = {n: [] for n in (
        "ts", "service", "duration_ms", "error_class", "region")}  # fmt: skip
    for minute in range(minutes):
        for number in range(150):
            region = "br" if number % 25 == 24 else "eu" if number % 2 else "us"
            if region == "br" and minute in gone:
                continue
            is_ill = region == "br" and minute in ill
            is_failed = is_ill and number % 50 == 24
            rows["ts"].append(NOON + timedelta(minutes=minute, milliseconds=number * 100))
            rows["service"].append("chat")
            rows["region"].append(region)
            rows["duration_ms"].append(9000.0 if is_ill else 1000.0)
            rows["error_class"].append("timeout" if is_failed else "")
    rows["ts"] = pa.array(rows["ts"], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(rows), path)
    return path


def test_silence_of_a_segment_ends_no_alert_about_it(tmp_path: Path) -> None:
    path = calls(tmp_path / "c.parquet", 110, ill=range(20, 45), gone=range(45, 80))
    rules = compile_desired(load_text(CONFIG))
    state = StateStore.open(":memory:")
    source, span = open_source(path), (START, START + 110)
    before: dict[str, str] = {}
    changes: dict[str, list[tuple[int, str]]] = {}
    for minute, decided in enumerate(backtest(rules, source, span, state=state)):
        held = {a.labels["monitor"]: str(a.state) for a in state.alerts().values()}
        for name in before.keys() | held.keys():
            if held.get(name) != before.get(name):
                changes.setdefault(name, []).append((minute, held.get(name, "over")))
        before = held
        if minute == 75:
            said = {v.monitor: v for v in decided.verdicts if v.monitor.endswith("/segments")}
    names = {
        "slo/chat-availability/segments",
        "detector/slow/segments",
        "health/chat-health/segments",
    }
    assert changes.keys() == names
    for name in names:
        # It is over when br is called again and well, not before.
        assert [state for _, state in changes[name]] == ["firing", "stale", "firing", "over"]
        assert [minute for minute, _ in changes[name]][2] > 80
        assert "region br was worse off at 12:" in said[name].reason
    state.close()
