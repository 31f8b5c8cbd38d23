"""A budget that will not last: told days ahead, and seldom when it would have lasted."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import ForecastConfig
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.clock import from_minute
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

GRID = Grid(3600)
DAY = 24


def outlooks(values: np.ndarray, begin: int, **settings: object):
    """(evidence, spent) [hour, row], judged hour by hour."""
    configs = [ForecastConfig(**settings)] * values.shape[1]
    scorer = ForecastConfig.scorer(configs, GRID)
    padded = np.concatenate([np.full((GRID.lead, values.shape[1]), np.nan), values])
    found = []
    for hour in range(len(values)):
        recent = padded[hour : hour + GRID.lead + 1]
        judged = scorer.judge(recent, begin + hour)
        found.append((judged.evidence[0], judged.detail.spent[0]))
        scorer.learn(begin + hour, recent[GRID.lead :], judged)
    return tuple(np.stack(part) for part in zip(*found, strict=True))


def spending(rng: np.random.Generator, days: int, rows: int) -> np.ndarray:
    """Dollars an hour: days differ by a fifth, hours by more."""
    a_day = 100.0 * rng.lognormal(-0.02, 0.2, (days, 1, rows))
    return (a_day / DAY * rng.gamma(4.0, 0.25, (days, DAY, rows))).reshape(-1, rows)


def test_a_period_begins_with_nothing_spent_and_with_what_days_cost_known() -> None:
    begin = 24 * 19_754
    assert from_minute(begin * 60).strftime("%d %b %Y") == "01 Feb 2024"
    values = np.full((40 * DAY, 1), 1.0)
    evidence, spent = outlooks(values, begin, budget=800.0)
    assert spent[29 * DAY - 1, 0] == 29 * DAY  # February has 29 days that year
    assert spent[29 * DAY, 0] == 1.0
    assert np.isnan(evidence[: 2 * DAY]).all()
    assert np.isfinite(evidence[2 * DAY :]).all()
    assert (evidence[3 * DAY : 29 * DAY] < 0.2).all()  # 696 of 800
    by_day, spent_by_day = outlooks(values, begin, budget=30.0, period="day")
    assert spent_by_day.max() == 24.0
    assert np.nanmax(by_day) < 0.1


def test_what_was_learned_counts_once_however_it_is_asked() -> None:
    rng = np.random.default_rng(3)
    values, begin = spending(rng, 12, 2), 24 * 19_760
    scorer = ForecastConfig.scorer([ForecastConfig(), ForecastConfig(period="day")], GRID)
    padded = np.concatenate([np.full((GRID.lead, 2), np.nan), values])
    for hour in range(200):
        recent = padded[hour : hour + GRID.lead + 1]
        scorer.learn(begin + hour, recent[GRID.lead :], scorer.judge(recent, begin + hour))
    ahead = scorer.judge(padded[205 : 205 + GRID.lead + 1], begin + 205).detail.spent[0]
    assert ahead[0] == pytest.approx(values[:206, 0].sum())
    assert ahead[1] == pytest.approx(values[192:206, 1].sum())


def test_false_forecasts_are_as_rare_as_the_confidence_says_and_true_ones_come_early() -> None:
    rng = np.random.default_rng(11)
    begin, rows = 24 * 19_754 - 28 * DAY, 60
    values = spending(rng, 28 + 29, rows)
    total = values[28 * DAY :].sum(axis=0)
    for budget, share in ((3300.0, "lasts"), (2500.0, "ends")):
        evidence, _ = outlooks(values, begin, budget=budget, confidence=0.95)
        rings = evidence[28 * DAY :] >= 0.95
        exceeded = total > budget
        if share == "lasts":
            assert rings[14 * DAY :, ~exceeded].mean() <= 0.05
        else:
            first = rings[:, exceeded].argmax(axis=0)
            assert exceeded.mean() > 0.95
            assert np.median(first) <= 14 * DAY


def test_spending_that_runs_away_is_told_on_the_same_day() -> None:
    rng = np.random.default_rng(5)
    values, begin = spending(rng, 40, 20), 24 * 19_754 - 28 * DAY
    values[33 * DAY :] *= 15.0
    evidence, _ = outlooks(values, begin, budget=4000.0)
    rings = evidence >= 0.9
    assert rings[33 * DAY - 1].mean() <= 0.1
    assert rings[34 * DAY].mean() >= 0.9


def test_its_verdict_says_how_long_the_budget_lasts() -> None:
    series = SeriesId("svc", "availability")
    config = ForecastConfig(measure="volume", budget=150_000.0)
    monitor = Monitor("detector/f", "f", "svc", "volume", "ticket", series, Ratio("failed"), config)
    window, compiled = Window([monitor]), compile_monitors([monitor])
    begin, minutes = 1440 * 19_754, 4 * 1440
    total = np.full((1, minutes), 4, np.int64)
    window.advance(MinuteBlock(begin, (series,), total * 0, total))
    (verdict,) = judge(compiled, window, begin + minutes - 1)
    assert verdict.reason == (
        "23,040 spent this month, at 5,760 a day the budget of 150,000 lasts until"
        " 27 Feb 01:00 UTC; it ends 01 Mar 00:00 UTC"
    )
    assert verdict.expected == 150_000.0 < verdict.value
    assert verdict.evidence["probability"] >= 0.9


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"budget": 0.0}, "budget is above 0"), ({"measure": "p95"}, "minute by minute"),
     ({"over": 5}, "minute by minute"), ({"confidence": 0.2}, "confidence"),
     ({"zone": "Vienna"}, "zone is a name")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ForecastConfig(**settings)
