"""Opinions about a health score: exact shares, and weights suggested only when they help."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from tocsin.assess.health import Component, HealthConfig
from tocsin.assess.health_agreement import Rated, agreement, suggested
from tocsin.domain.health import Opinion

IDENTITY = ((0.0, 0.0), (100.0, 100.0))
NAMES = ("quality", "latency", "errors", "cost")
EQUAL = HealthConfig(tuple(Component(name, 1.0, IDENTITY) for name in NAMES))
TRUE = np.array([0.6, 0.2, 0.15, 0.05])


def opinions(count: int, truth: np.ndarray, seed: int) -> list[Rated]:
    """People who weigh components by `truth`, and notice what is off by about five points."""
    rng = np.random.default_rng(seed)
    found = []
    for minute in range(count):
        scores = rng.uniform(20, 100, len(NAMES))
        shown = float(scores.mean())
        gap = float(scores @ truth) - shown + rng.normal(0, 2)
        opinion: Opinion = "agree" if abs(gap) < 5 else "too_low" if gap > 0 else "too_high"
        state = "ok" if shown >= 80 else "warning" if shown >= 60 else "critical"
        found.append(Rated(minute, opinion, state, shown, dict(zip(NAMES, scores, strict=True))))
    return found


def said(**counts: int) -> list[Rated]:
    return [
        Rated(number, kind, "ok", 90.0, {})  # type: ignore[arg-type]
        for kind, count in counts.items()
        for number in range(count)
    ]


def test_shares_and_leaning_are_exact() -> None:
    found = agreement(said(agree=30, too_low=9, too_high=1))
    exact = binomtest(30, 40).proportion_ci(method="exact")
    assert (found.agree.low, found.agree.high) == pytest.approx((exact.low, exact.high))
    assert found.p_value == pytest.approx(binomtest(1, 10).pvalue)
    assert found.lean == "too_low"
    assert agreement(said(agree=3, too_low=2, too_high=1)).lean == ""
    nobody = agreement([])
    assert (nobody.agree.low, nobody.agree.high, nobody.p_value) == (0, 1, None)


def test_weights_are_suggested_towards_what_people_weigh() -> None:
    """Half or more of the distance from equal weights to the people's is covered at 80 opinions."""
    errors = []
    for seed in range(8):
        found = suggested(EQUAL, opinions(80, TRUE, seed))
        assert found.weights
        assert found.loss_after is not None
        assert found.loss_before is not None
        assert found.loss_after < found.loss_before
        assert sum(found.weights.values()) == pytest.approx(1, abs=0.003)
        errors.append(np.abs(np.array(list(found.weights.values())) - TRUE).sum())
    assert np.mean(errors) < 0.5 * np.abs(0.25 - TRUE).sum()


def test_without_a_reason_the_weights_stay() -> None:
    """People who weigh as declared, and err at random: what is suggested stays close."""
    for seed in range(8):
        found = suggested(EQUAL, opinions(60, np.full(4, 0.25), seed) + said(too_low=4, too_high=4))
        if found.weights:
            assert np.abs(np.array(list(found.weights.values())) - 0.25).sum() < 0.15


def test_too_little_is_said_as_such() -> None:
    few = suggested(EQUAL, opinions(30, TRUE, 1))
    assert few.weights == {}
    assert "40 and 8 are needed" in few.reason
    agreed = suggested(EQUAL, said(agree=60))
    assert "0 of which do not agree" in agreed.reason
    capped = [Rated(i, "too_low", "critical", 20, {}, is_capped=True) for i in range(60)]
    assert suggested(EQUAL, capped).used == 0
