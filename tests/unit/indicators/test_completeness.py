"""When more is missing than before, and when that is chance."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.indicators.catalogue import COMPLETENESS, indicator_from
from tocsin.indicators.completeness import Missing, has_risen


@pytest.mark.parametrize(
    ("now", "before", "risen"),
    [
        (Missing(400, 1000), Missing(5, 2000), True),
        (Missing(1000, 1000), Missing(0, 2000), True),
        (Missing(60, 1000), Missing(40, 2000), False),  # four points more are no news
        (Missing(1000, 1000), Missing(2000, 2000), False),  # nobody ever sent it
        (Missing(10, 19), Missing(0, 2000), None),  # too few calls
        (Missing(20, 20), Missing(0, 19), None),
        (Missing(0, 0), Missing(0, 0), None),
        (Missing(5, 1000), Missing(400, 1000), False),  # fewer is no fault
    ],
)
def test_a_rise_is_one_that_chance_does_not_explain(
    now: Missing, before: Missing, risen: bool | None
) -> None:
    assert has_risen(now, before) is risen


@pytest.mark.parametrize("share", [0.001, 0.02, 0.2, 0.6])
def test_it_says_nothing_when_nothing_changed(share: float) -> None:
    rng = np.random.default_rng(7)
    for calls, sampled in ((40, 25), (300, 900), (5000, 12000)):
        now, before = rng.binomial(calls, share, 3000), rng.binomial(sampled, share, 3000)
        alarms = sum(
            has_risen(Missing(int(a), calls), Missing(int(b), sampled))
            for a, b in zip(now, before, strict=True)
        )
        assert alarms == 0


@pytest.mark.parametrize(("calls", "sampled"), [(100, 250), (1000, 2400)])
def test_it_sees_a_fifth_of_the_calls_fall_silent(calls: int, sampled: int) -> None:
    rng = np.random.default_rng(8)
    now, before = rng.binomial(calls, 0.25, 500), rng.binomial(sampled, 0.01, 500)
    seen = sum(
        has_risen(Missing(int(a), calls), Missing(int(b), sampled))
        for a, b in zip(now, before, strict=True)
    )
    assert seen >= 0.9 * 500


def test_every_kind_of_gap_is_an_indicator_that_can_be_named() -> None:
    for each in COMPLETENESS:
        assert indicator_from({"use": each.name}) == each
        assert each.signal == "data_quality"
