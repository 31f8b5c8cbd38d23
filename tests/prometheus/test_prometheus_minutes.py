"""A backtest beside Prometheus: every minute of every burn-rate rule, on the same counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prometheus_build import counter, needs_promtool, promtool, run_rules

from tocsin.domain.clock import parse_iso, to_minute
from tocsin.engine import planning
from tocsin.engine.decisions import AlertLine
from tocsin.engine.settings import Settings
from tocsin.spec.desired import load
from tocsin.spec.prometheus.rules import rules

START = 29_400_000
CONFIG = """
apiVersion: tocsin/v1
kind: Service
metadata: {{name: chat}}
spec: {{team: cx}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: up}}
spec:
  service: chat
  indicator:
    metadata: {{name: success}}
    spec: {{ratioMetric: {{good: {{metricSource: {{type: Tocsin, spec: {{use: availability}}}}}}}}}}
  timeWindow: [{{duration: {period}, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: {target}}}]
---
apiVersion: tocsin/v1
kind: BurnRatePolicy
metadata: {{name: bare}}
spec: {{guards: {{minBad: 0, evidence: 0, minEvents: 0}}}}
"""
SERIES = '{slo="up", service="chat"}'
SEVERITIES = ("page", "ticket")


@dataclass
class Traffic:
    """Calls and bad ones per minute, in episodes, with a silence in between."""

    seed: int
    minutes: int
    per_minute: float
    share: float
    budget: float

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        total = rng.poisson(self.per_minute, self.minutes)
        rate = np.full(self.minutes, self.share * self.budget)
        for _ in range(8):
            start = rng.integers(0, self.minutes)
            worse = rng.choice([1.5, 4, 8, 20, 60]) * self.budget
            rate[start : start + rng.integers(3, 180)] = min(worse, 1.0)
        for _ in range(2):
            total[rng.integers(0, self.minutes) :][: rng.integers(5, 90)] = 0
        bad = rng.binomial(total, rate)
        bad[: self.minutes // 10] = 0  # the counter of bad calls stays at zero for a while
        return bad, total


def told(folder: Path, period: str, target: float, bad: np.ndarray, total: np.ndarray) -> tuple[
    dict[str, set[int]], str
]:  # fmt: skip
    """Minutes, counted from the first, after which each rule of a backtest holds; the rules."""
    config, history = folder / "config", folder / "counts.csv"
    config.mkdir()
    (config / "all.yaml").write_text(CONFIG.format(period=period, target=target))
    rows = (
        f"{START + minute},{b},{n}\n"
        for minute, (b, n) in enumerate(zip(bad, total, strict=True))
        if n or minute in (0, len(total) - 1)
    )
    history.write_text("minute,errors,total\n" + "".join(rows))
    settings = Settings(data_dir=folder, config_dir=config)
    holding: dict[str, set[int]] = {severity: set() for severity in SEVERITIES}
    since: dict[str, int] = {}
    for line in planning.backtest_lines(settings, history):
        if isinstance(line, AlertLine):
            assert line.object == "slo/up"
            minute = to_minute(parse_iso(line.at)) - START
            if line.state == "firing":
                assert line.severity not in since, "it fires already"
                since[line.severity] = minute
            else:
                holding[line.severity] |= set(range(since.pop(line.severity), minute))
    for severity, minute in since.items():
        holding[severity] |= set(range(minute, len(total) + 1))
    return holding, rules(load([config]).monitors, "sloth")


def series(bad: np.ndarray, total: np.ndarray) -> dict[str, str]:
    return {
        f"tocsin_slo_bad_events_total{SERIES}": counter(bad),
        f"tocsin_slo_events_total{SERIES}": counter(total),
    }


def by_severity(firing: dict[str, Iterable[int]] | dict[str, set[int]]) -> dict[str, Iterable[int]]:
    return {f"sloth_severity='{severity}'": minutes for severity, minutes in firing.items()}


@needs_promtool
@pytest.mark.parametrize(
    ("period", "target", "traffic"),
    [
        ("24h", 0.95, Traffic(1, 900, 0.7, 0.5, 0.05)),
        ("24h", 0.99, Traffic(2, 900, 6.0, 0.9, 0.01)),
        ("24h", 0.999, Traffic(3, 900, 900.0, 0.9, 0.001)),
        ("1h", 0.9, Traffic(4, 500, 3.0, 1.0, 0.1)),
        ("7d", 0.99, Traffic(5, 900, 20.0, 0.9, 0.01)),
        ("28d", 0.99, Traffic(6, 900, 2.0, 0.9, 0.01)),
        ("30d", 0.995, Traffic(7, 4500, 40.0, 0.95, 0.005)),
    ],
    ids=lambda value: f"{value.per_minute:g}/min" if isinstance(value, Traffic) else str(value),
)
def test_prometheus_running_sloths_rules_fires_in_the_same_minutes(
    tmp_path: Path, period: str, target: float, traffic: Traffic
) -> None:
    version = re.search(r"version (\d+)", promtool("--version").stdout)
    if version is not None and int(version[1]) >= 3:
        pytest.skip("Prometheus 3 opens windows on the left: W minutes hold W - 1 increments")
    bad, total = traffic.counts()
    holding, text = told(tmp_path, period, target, bad, total)
    assert holding["page"], "a story in which nothing pages compares nothing"
    assert holding["ticket"]
    done = run_rules(tmp_path, text, series(bad, total), by_severity(holding), len(total))
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


@needs_promtool
def test_a_minute_more_or_less_would_be_noticed(tmp_path: Path) -> None:
    bad, total = Traffic(2, 500, 6.0, 0.9, 0.01).counts()
    holding, text = told(tmp_path, "24h", 0.99, bad, total)
    for shifted in (
        {**holding, "page": holding["page"] ^ {max(holding["page"])}},
        {**holding, "ticket": holding["ticket"] | {min(holding["ticket"]) - 1}},
    ):
        done = run_rules(tmp_path, text, series(bad, total), by_severity(shifted), len(total))
        assert done.returncode != 0
