"""Health scores of segments: which are found, and how seldom a healthy one is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tocsin.assess.health import Component, HealthConfig, Reading
from tocsin.assess.health_monitor import Measured
from tocsin.assess.health_segments import (
    HealthSegmentsConfig,
    as_whole,
    consistency,
    segment_scores,
)
from tocsin.domain.samples import Look, Sample
from tocsin.domain.series import Ratio, SeriesId

FAILED = (SeriesId("chat", "availability"), Ratio("failed"))
CONFIG = HealthSegmentsConfig(
    score="health/chat",
    health=HealthConfig(
        (
            Component("error_rate", 0.6, ((0.0, 100.0), (0.2, 0.0))),
            Component("p95_latency_seconds", 0.2, ((1.0, 100.0), (5.0, 0.0))),
            Component("budget", 0.2, ((0.0, 0.0), (1.0, 100.0))),
        )
    ),
    measured=(
        Measured("error_rate", "bad", series=(FAILED,)),
        Measured("p95_latency_seconds", "latency", 0.95, 1000.0),
        Measured("budget", "budget"),
    ),
    by=("region",),
)
WHOLE = {"budget": Reading(1.0)}


def look(rates: list[float], each: int, seed: int) -> Look:
    """As many calls of every region, failing at its rate."""
    rng = np.random.default_rng(seed)
    regions = [f"r{i}" for i in range(len(rates)) for _ in range(each)]
    failed = rng.random(len(regions)) < np.repeat(rates, each)
    columns = {
        "dimension:region": tuple(regions),
        "error_class": tuple("timeout" if one else "" for one in failed),
        "duration_ms": tuple(None if one else 900.0 for one in failed),
    }
    return Look(0, window=Sample(columns, tuple(("t", str(i)) for i in range(len(regions)))))


def test_a_bad_segment_is_found_and_a_small_one_is_not_judged() -> None:
    found = {
        one.value: one for one in segment_scores(CONFIG, look([0.01, 0.01, 0.2], 200, 1), WHOLE)
    }
    assert found["r2"].is_found
    assert not found["r0"].is_found
    assert found["r2"].score == pytest.approx(40, abs=15)
    few = segment_scores(CONFIG, look([0.01, 0.9], 20, 1), WHOLE)
    assert not any(one.is_judged or one.is_found for one in few)
    # What cannot be told apart by segment counts as for the whole, and is no reason of its own.
    assert as_whole(CONFIG) == ("budget",)
    (worse,) = segment_scores(CONFIG, look([0.05], 400, 1), {"budget": Reading(0.0)})
    assert worse.reason.startswith("error_rate costs ")
    spent = segment_scores(CONFIG, look([0.0], 50, 1), {"budget": Reading(0.0)})
    assert spent[0].score == pytest.approx(80)


def test_segments_at_the_threshold_are_seldom_found() -> None:
    """Twenty segments whose true score is the warning itself: one look in ten finds any at most."""
    on_edge = 0.2 * (1 - (80 - 40) / 60)  # errors that leave 80 of 100
    looks = [segment_scores(CONFIG, look([on_edge] * 20, 150, seed), WHOLE) for seed in range(100)]
    assert sum(any(one.is_found for one in scores) for scores in looks) <= 15


def test_consistency_is_full_when_segments_differ_by_chance_alone() -> None:
    same = segment_scores(CONFIG, look([0.03] * 8, 300, 3), WHOLE)
    apart = segment_scores(CONFIG, look([0.01] * 7 + [0.3], 300, 3), WHOLE)
    assert (consistency(same, "region") or 0) > 90
    assert (consistency(apart, "region") or 0) < 60
    assert consistency(same[:1], "region") is None
    assert consistency([replace(one, is_judged=False) for one in same], "region") is None
