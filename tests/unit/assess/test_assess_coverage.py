"""Intervals hold as often as they say, by simulation: those that no other test simulates.

Elsewhere: shares (test_assess_tails), means, quality, composites, slices (test_assess_accounts),
forecasts of policies (test_assess_budget_rules), precision of alerts, gates.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from counting import DAY, START, block, objective, series

from tocsin.assess.budget import objective_status
from tocsin.assess.detectors.correlation import relation
from tocsin.assess.health import Component, HealthConfig, Reading, health
from tocsin.assess.masked import widest_gap
from tocsin.assess.segments import SegmentsConfig, standings
from tocsin.assess.window import Window


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_segments_and_the_gap_between_the_extremes_picked_from_them(spread: float) -> None:
    """Eight segments, from 40 to 2,000 calls. The gap is of the two that look worst and best."""
    rng, rounds = np.random.default_rng(5), 1000
    config = SegmentsConfig(by=("region",), budget=0.05)
    names = [("region", f"r{n}") for n in range(8)]
    total = np.array([40, 60, 100, 150, 300, 500, 1000, 2000])
    each = gaps = 0
    for _ in range(rounds):
        share = 0.05 * np.exp(rng.normal(0, spread, 8))
        counts = np.stack([rng.binomial(total, share), total])
        found = standings(names, counts, counts.sum(axis=1), config)
        true = {name[1]: float(one) for name, one in zip(names, share, strict=True)}
        each += sum(one.low <= true[one.value] <= one.high for one in found)
        gap = widest_gap(found)
        gaps += gap.low <= true[gap.worst] - true[gap.best] <= gap.high
    assert each / rounds / 8 >= 0.95
    assert gaps / rounds >= 0.95


def scored(values, errors) -> dict[str, Reading]:
    return {
        f"m{n}": Reading(value, value - 1.96 * error, value + 1.96 * error)
        for n, (value, error) in enumerate(zip(values, errors, strict=True))
    }


@pytest.mark.parametrize(
    ("method", "headroom", "most"),
    [("weighted_sum", None, 0.97), ("weighted_sum", 20.0, 1.0), ("geometric", None, 1.0),
     ("min", None, 1.0)],
)  # fmt: skip
def test_health_scores_of_independent_components(method, headroom, most: float) -> None:
    """A mean's interval is exact; of minima and caps it may only be too wide."""
    rng, rounds = np.random.default_rng(6), 1000
    true, errors = np.array([80.0, 70.0, 62.0, 75.0, 66.0]), np.array([2.0, 4.0, 3.0, 1.0, 5.0])
    identity = ((0.0, 0.0), (100.0, 100.0))
    weights = (0.4, 0.25, 0.15, 0.1, 0.1)
    components = tuple(
        Component(f"m{n}", w, identity, critical=n == 2) for n, w in enumerate(weights)
    )
    config = HealthConfig(components, method=method, headroom=headroom)
    truth = health(config, scored(true, errors)).score
    assert truth is not None
    covered = 0
    for _ in range(rounds):
        found = health(config, scored(rng.normal(true, errors), errors))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / rounds <= most


def test_forecasts_of_budgets() -> None:
    """Half of a day's budget is spent; the rate since is what the last half hour shows of it."""
    names, rounds, share = series(1), 400, 0.02
    monitor = objective(names[0], 0.99, DAY)
    rng = np.random.default_rng(8)
    total = np.full((1, DAY), 20)
    bad = np.zeros_like(total)
    bad[0, :144] = 1
    begun = Window([monitor])
    begun.advance(block(names, bad, total, stop=START + DAY - 30))
    early = late = 0
    for _ in range(rounds):
        bad[0, -30:] = rng.binomial(20, share, 30)
        window = deepcopy(begun)
        window.advance(block(names, bad, total, start=START + DAY - 30))
        found = objective_status(window, monitor, START + DAY - 1).forecast
        assert found is not None
        true = (0.01 * 20 * DAY - bad.sum()) / (share * 20)
        assert found.earliest is not None
        early += found.earliest <= true
        late += found.latest is None or true <= found.latest
    assert early / rounds >= 0.94
    assert late / rounds >= 0.94


@pytest.mark.parametrize(("pairs", "related"), [(60, 0.5), (400, 0.8), (400, 0.0)])
def test_rank_correlations_of_scores_with_yes_and_no(pairs: int, related: float) -> None:
    def drawn(rng, n: int):
        quality = np.minimum(rng.beta(6, 2, n), 0.95)  # scores pile up at their end
        return quality, (rng.random(n) < related * quality + (1 - related) * 0.5) * 1.0

    whole = relation(*drawn(np.random.default_rng(1), 200_000))
    assert whole is not None
    rng, rounds, covered = np.random.default_rng(9), 600, 0
    for _ in range(rounds):
        found = relation(*drawn(rng, pairs))
        assert found is not None
        covered += found.bounds[0] <= whole.value <= found.bounds[1]
    assert 0.92 <= covered / rounds <= 0.98
