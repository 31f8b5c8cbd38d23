"""A new level is told, and chance makes none, however values hang together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from tocsin.assess.detectors import ChangePointConfig
from tocsin.assess.gauges.grid import Grid

GRID, DAY = Grid(60), 1440


def judged(values: np.ndarray, **settings: object) -> np.ndarray:
    """Evidence [minute, row], judged hour by hour."""
    configs = [ChangePointConfig(**settings)] * values.shape[1]
    scorer = ChangePointConfig.scorer(configs, GRID)
    padded = np.concatenate([np.full((GRID.lead, values.shape[1]), np.nan), values])
    found = []
    for start in range(0, len(values), 60):
        recent = padded[start : start + GRID.lead + 60]
        one = scorer.judge(recent, start)
        found.append(one.evidence)
        scorer.learn(start // 60, recent[GRID.lead :], one)
    return np.concatenate(found)


def hanging(tie: float, days: int, rows: int, seed: int = 2) -> np.ndarray:
    """Values around 100 with deviation 10, each like its neighbour by `tie`."""
    noise = np.random.default_rng(seed).standard_normal((days * DAY, rows))
    return 100.0 + 10.0 * np.sqrt(1 - tie * tie) * lfilter([1], [1, -tie], noise, axis=0)


@pytest.mark.parametrize("tie", [0.0, 0.5, 0.9])
def test_evidence_is_as_rare_as_it_says_however_values_hang_together(tie: float) -> None:
    evidence = judged(hanging(tie, 6, 30), side="both", min_change=0.0)[2 * DAY :]
    assert (evidence >= 2.0).mean() <= 1e-2
    assert (evidence >= 3.0).mean() <= 2e-3
    assert not (evidence >= 6.0).any()


@pytest.mark.parametrize(("tie", "by", "within"), [(0.0, 15.0, 45), (0.5, 25.0, 60)])
def test_a_small_change_that_stays_is_told_and_one_that_passes_is_not(
    tie: float, by: float, within: int
) -> None:
    values = hanging(tie, 4, 20)
    at = 3 * DAY + 600
    values[at:] += by
    rings = judged(values) >= 6.0
    assert not rings[DAY:at].any()
    assert rings[at : at + within].any(axis=0).mean() >= 0.8
    values[at + 5 :] -= by
    values[at : at + 5] += 500.0
    # A third of the shortest length, and chance in the rest of it: seldom, not never.
    assert (judged(values)[DAY:] >= 6.0).any(axis=0).sum() <= 1


@pytest.mark.parametrize("settings", [{"threshold": 1.0}, {"min_change": -1.0}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ChangePointConfig(**settings)
