"""Capacity: what fills is told in time, what wanders or breathes is not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tocsin.assess.detectors.capacity import Capacity, CapacityConfig
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.kind import lasting
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.clock import to_minute
from tocsin.domain.findings import Judgement
from tocsin.domain.series import SHARE, Metric, MinuteBlock, SeriesId
from tocsin.indicators.custom import of_metric

GRID = Grid(60)
DAY = 1440


def judged(values: np.ndarray, **settings: float | str) -> tuple[np.ndarray, np.ndarray]:
    """(whether it rings, minutes until the limit) of each step and series."""
    config = CapacityConfig(**settings)
    scorer = CapacityConfig.scorer([config] * values.shape[1], GRID)
    padded = np.concatenate([np.full((GRID.lead, values.shape[1]), np.nan), values])
    evidence, left = (np.full(values.shape, np.nan) for _ in range(2))
    for start in range(0, len(values), 60):
        recent = padded[start : start + GRID.lead + 60]
        one = scorer.judge(recent, start)
        evidence[start : start + 60], left[start : start + 60] = one.evidence, one.detail.reached_s
        scorer.learn(start // 60, recent[GRID.lead :], one)
    with np.errstate(invalid="ignore"):
        return lasting(evidence, config.for_minutes) >= config.confidence, left / 60.0


def wandering(rng: np.random.Generator, steps: int, series: int, memory: float) -> np.ndarray:
    values = np.zeros((steps, series))
    noise = rng.standard_normal((steps, series)) * np.sqrt(1.0 - memory**2)
    for step in range(1, steps):
        values[step] = memory * values[step - 1] + noise[step]
    return values


@pytest.mark.parametrize(("memory", "a_week"), [(0.5, 1.0), (0.97, 4.0)])
def test_a_level_that_wanders_seldom_rings_however_long_it_remembers(
    memory: float, a_week: float
) -> None:
    values = 50.0 + 5.0 * wandering(np.random.default_rng(5), 6 * DAY, 10, memory)
    rings, _ = judged(values, limit=70.0)  # four deviations away
    begun = (rings[1:] & ~rings[:-1])[3 * DAY :].sum()
    assert begun <= a_week * 10 * 3 / 7


@pytest.mark.parametrize("rate", [0.5, 2.0])
@pytest.mark.parametrize("side", ["above", "below"])
def test_what_fills_is_told_with_half_of_the_time_left_and_when(rate: float, side: str) -> None:
    rng = np.random.default_rng(6)
    begin, full = 2 * DAY, 2 * DAY + int(250 / rate)
    values = 50.0 + 5.0 * wandering(rng, full + 60, 5, 0.5)
    values[begin:] += rate * np.arange(len(values) - begin)[:, None]
    if side == "below":
        values = 1000.0 - values
    rings, left = judged(values, limit=300.0 if side == "above" else 700.0, side=side)
    assert not rings[begin - DAY : begin].any()
    first = rings[begin:].argmax(axis=0) + begin
    assert rings[first, np.arange(5)].all()
    assert np.median(full - first) >= 0.4 * (full - begin)
    told = first + left[first, np.arange(5)]
    assert np.abs(np.median(told) - full) <= 0.15 * (full - begin)


def test_a_morning_like_every_other_is_no_trend_from_the_third_day_on() -> None:
    minute = np.arange(6 * DAY)[:, None]
    values = 60.0 - 30.0 * np.cos(2 * np.pi * minute / DAY)
    values = values + 3.0 * np.random.default_rng(7).standard_normal((6 * DAY, 3))
    rings, _ = judged(values, limit=100.0)
    assert not rings[2 * DAY :].any()


def test_at_its_limit_it_rings_and_a_still_level_below_it_never() -> None:
    rings, left = judged(np.full((300, 1), 100.0), limit=100.0)
    assert rings[200:].all()
    assert not left[200:].any()
    rings, _ = judged(np.full((300, 1), 99.0), limit=100.0)
    assert not rings.any()


def test_it_says_how_fast_and_when() -> None:
    start = to_minute(datetime(2026, 3, 2, tzinfo=UTC))
    metric = of_metric(Metric("vllm:num_requests_waiting"))
    series = SeriesId("chat", metric.name)
    monitor = Monitor("detector/queue", "Queue", "chat", "custom", "page", series, metric.ratio,
                      CapacityConfig(limit=500.0, min_calls=1))  # fmt: skip
    window = Window([monitor])
    queue = 100.0 + np.random.default_rng(8).normal(0, 3, 600)
    queue[470:] += 2.0 * np.arange(130)
    bad = np.rint(SHARE * queue).astype(np.int64)[None]
    window.advance(MinuteBlock(start, (series,), bad, np.full_like(bad, SHARE)))
    (verdict,) = Capacity([monitor]).judge(window, start + 599)
    assert verdict.judgement is Judgement.BREACH
    assert verdict.reason.startswith("vllm:num_requests_waiting (last) 3")
    assert "rising by 1" in verdict.reason
    assert "reaches its limit of 500 in 1 h " in verdict.reason
    assert verdict.evidence["exhausted"].startswith("02 Mar 11:")


@pytest.mark.parametrize(
    "wrong", [{"horizon_minutes": 5}, {"confidence": 1.0}, {"for_minutes": 0}]
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CapacityConfig(**wrong)
