"""A sustained breach: to the minute, and quiet where a share of few calls says little."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import SustainedBreach, SustainedBreachConfig
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

SERIES = SeriesId("chat", "slow")


def monitor(config: SustainedBreachConfig) -> Monitor:
    ratio = Ratio("duration_ms", "gt", 2000)
    return Monitor("breach/slow", "slow", "chat", "latency_p95", "page", SERIES, ratio, config)


def judged(config: SustainedBreachConfig, bad: list[int], total: list[int]) -> str:
    """A letter a minute: b(reach), u(nknown), or a dot."""
    watched = monitor(config)
    window, kind = Window([watched]), SustainedBreach([watched])
    said = ""
    for minute, (k, n) in enumerate(zip(bad, total, strict=True)):
        window.advance(MinuteBlock(minute, (SERIES,), np.array([[k]]), np.array([[n]])))
        found = kind.judge(window, minute)
        said += (
            {Judgement.BREACH: "b", Judgement.UNKNOWN: "u"}[found[0].judgement] if found else "."
        )
    return said


LITERAL = {"min_events": 1, "evidence": 0.0}


@pytest.mark.parametrize(
    ("config", "bad", "total", "said"),
    [
        ((0.05, 1, 3), [1, 3, 3, 3, 3, 1, 3], [40] * 7, "...bb.."),
        ((0.05, 1, 1), [2, 3, 2], [40] * 3, ".b."),  # 2 of 40 is 5 %: not above
        ((0.1, 3, 1), [0, 0, 0, 13, 0, 0, 0], [40] * 7, "...bbb."),
        ((0.05, 1, 3), [9, 9, 0, 9, 9, 9], [40, 40, 0, 40, 40, 40], "uuuuub"),  # nobody called
        ((0.05, 1, 3), [9, 9, 9, 0, 0, 0], [40, 40, 40, 0, 40, 40], "uubu.."),
    ],
)
def test_it_is_exact_to_the_minute(
    config: tuple[float, int, int], bad: list[int], total: list[int], said: str
) -> None:
    assert judged(SustainedBreachConfig(*config, **LITERAL), bad, total) == said


def test_too_few_calls_are_unknown_and_not_fine() -> None:
    assert judged(SustainedBreachConfig(0.05, 1, 1), [9, 9], [19, 20]) == "ub"
    config = SustainedBreachConfig(0.05, 1, 1)
    watched = monitor(config)
    window = Window([watched])
    window.advance(MinuteBlock(0, (SERIES,), np.array([[3]]), np.array([[19]])))
    (verdict,) = SustainedBreach([watched]).judge(window, 0)
    assert "19 calls in 1 min, 20 in every window are needed" in verdict.reason


def test_all_its_minutes_together_must_prove_it() -> None:
    """3 of 40 is above 5 %, and no proof of it; three such minutes are no proof, six are."""
    config = SustainedBreachConfig(0.05, 1, 3, min_events=20, evidence=0.95)
    assert judged(config, [3] * 4, [40] * 4) == "uu.."
    assert judged(config, [8] * 4, [40] * 4) == "uubb"


@pytest.mark.parametrize("rate", [6, 60])
def test_the_guards_silence_a_healthy_service_and_keep_a_failing_one(rate: int) -> None:
    """ "Errors > 10 % in 5 minutes" over ten days at 2 % errors, and during an outage of 30 %."""
    rng = np.random.default_rng(rate)
    total = rng.poisson(rate, 14_400)
    healthy = rng.binomial(total, 0.02)
    failing = rng.binomial(total[:60], 0.3)
    literal, guarded = SustainedBreachConfig(0.1, 5, 1, **LITERAL), SustainedBreachConfig(0.1, 5, 1)

    def share(config: SustainedBreachConfig, bad: np.ndarray, n: np.ndarray) -> float:
        return judged(config, bad.tolist(), n.tolist()).count("b") / len(n)

    quiet = share(guarded, healthy, total)
    assert quiet < 1e-3
    if rate == 6:
        assert share(literal, healthy, total) > 20 * max(quiet, 1e-4)
    assert share(guarded, failing, total[:60]) > 0.5


@pytest.mark.parametrize(
    "wrong",
    [{"over": 1.0}, {"window_minutes": 0}, {"for_minutes": 61}, {"min_events": 0},
     {"evidence": 1.0}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SustainedBreachConfig(**wrong)
