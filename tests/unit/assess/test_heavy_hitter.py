"""One key far out of the crowd: found and named; crowds with long tails of their own stay quiet."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import HeavyHitterConfig
from tocsin.assess.judge import compile_monitors
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement
from tocsin.domain.samples import Look, Sample

MINUTE = 29_000_160
CONFIG = HeavyHitterConfig()


def used(totals: np.ndarray, name: str = "u", amount: str = "total_tokens") -> Sample:
    order = np.argsort(-totals, kind="stable")[: CONFIG.most]
    columns = {
        "key": tuple(f"{name}{i}" for i in order),
        amount: tuple(totals[order].tolist()),
        "calls": tuple(np.ceil(totals[order] / 500).tolist()),
    }
    return Sample(columns, (("t", "s"),) * len(order), len(totals))


def verdict(before: Sample, now: Sample, config: HeavyHitterConfig = CONFIG):
    monitor = Monitor("detector/h", "h", "svc", "token_usage", "ticket", None, None, config)
    window, wish = Window([monitor]), config.wish("svc")
    window.looks[wish] = Look(MINUTE, before, now)
    (group,) = compile_monitors([monitor]).groups
    found = group.judge(window, MINUTE)
    return found[0] if found else None


def crowd(rng: np.random.Generator, shape: str, size: int) -> np.ndarray:
    if shape == "pareto":
        return 500.0 * (1.0 + rng.pareto(1.5, size))
    return rng.lognormal(7.0, 1.2, size)


@pytest.mark.parametrize("shape", ["lognormal", "pareto"])
def test_a_crowd_with_a_long_tail_seldom_rings(shape: str) -> None:
    rng = np.random.default_rng(8)
    rung = 0
    for _ in range(300):
        before, now = used(crowd(rng, shape, 6000)), used(crowd(rng, shape, 60), "n")
        rung += verdict(before, now) is not None
    assert rung <= 3  # a level of 1 in 1,000, and Hill's fit of the lognormal errs by a little


@pytest.mark.parametrize("shape", ["lognormal", "pareto"])
def test_a_runaway_loop_is_found_and_told(shape: str) -> None:
    rng = np.random.default_rng(9)
    before, now = crowd(rng, shape, 6000), crowd(rng, shape, 60)
    now[17] = 4e6
    found = verdict(used(before), used(now, "n"))
    assert found is not None
    assert found.judgement is Judgement.BREACH
    assert found.reason.startswith("session_id n17 had 4,000,000 tokens in 1 h (")
    assert found.value == 4e6 > found.expected
    assert found.evidence["keys"][0] == {
        "key": "n17", "total_tokens": 4e6, "calls": 8000.0, "example": "t/s"
    }  # fmt: skip
    assert found.score >= 3


def test_who_has_always_been_large_rings_for_nobody() -> None:
    rng = np.random.default_rng(10)
    before, now = crowd(rng, "lognormal", 6000), crowd(rng, "lognormal", 60)
    before[5], now[5] = 3e6, 4e6
    assert verdict(used(before), used(now)) is None


def test_what_nobody_ever_did_is_told_by_how_many_did_not() -> None:
    before = used(np.zeros(5000), amount="policy_violations")
    now = np.zeros(4)
    now[1] = 40.0
    config = HeavyHitterConfig(amount="policy_violations", per="user_id")
    found = verdict(before, used(now, "n", "policy_violations"), config)
    assert found is not None
    assert "n1 had 40 policy violations" in found.reason
    now[1] = 15.0
    assert verdict(before, used(now, "n", "policy_violations"), config) is None


def test_too_small_a_crowd_is_unknown() -> None:
    rng = np.random.default_rng(11)
    found = verdict(used(crowd(rng, "lognormal", 40)), used(crowd(rng, "lognormal", 5)))
    assert found.judgement is Judgement.UNKNOWN
    assert found.reason.startswith("too few of session_id to make a crowd: 40 stretches of 1 h")
    assert verdict(used(crowd(rng, "lognormal", 400)), Sample()) is None


def test_calls_that_tell_no_amount_are_unknown_and_not_light() -> None:
    rng = np.random.default_rng(11)
    found = verdict(used(crowd(rng, "lognormal", 400)), used(np.zeros(60), "n"))
    assert found is not None
    assert (found.judgement, found.reason) == (
        Judgement.UNKNOWN,
        "no call told its total_tokens in the last 1 h",
    )


@pytest.mark.parametrize("settings", [
    {"per": "mood"}, {"amount": "joy"}, {"times": 0.5}, {"every_minutes": 1},
])  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"key|amount|times|every_minutes"):
        HeavyHitterConfig(**settings)
