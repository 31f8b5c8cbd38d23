"""Gauges in a window: the same values however the minutes arrive."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import CommitteeConfig, StaticThresholdConfig, VolumeDropConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.window import Window
from tocsin.domain.buckets import LATENCY
from tocsin.domain.expressions import Field
from tocsin.domain.findings import Judgement
from tocsin.domain.series import SHARE, Charge, MinuteBlock, Ratio, SeriesId

START = 29_000_160
SERIES = SeriesId("svc", "availability")


def monitors() -> list[Monitor]:
    def gauge(name: str, config: object, series: SeriesId | None) -> Monitor:
        ratio = Ratio("failed") if series else None
        return Monitor(
            f"detector/{name}", name, "svc", "latency_p95", "page", series, ratio, config
        )

    return [
        gauge("share", StaticThresholdConfig(measure="share", limit=0.2, over=5), SERIES),
        gauge("volume", StaticThresholdConfig(measure="volume", limit=9.0, side="below"), SERIES),
        gauge("p95", StaticThresholdConfig(over=3, limit=4000.0, for_minutes=2), None),
        gauge("rare", CommitteeConfig(measure="p50"), None),
        gauge("drop", VolumeDropConfig(), SERIES),
    ]


def minutes(count: int) -> MinuteBlock:
    rng = np.random.default_rng(50)
    total = rng.poisson(40, (1, count))
    bad = rng.binomial(total, 0.05)
    latency = np.zeros((1, count, LATENCY.count), np.int64)
    for minute in range(count):
        us = 1e6 * np.exp(0.5 * rng.standard_normal(int(total[0, minute])))
        np.add.at(latency[0, minute], LATENCY.bucket(us), 1)
    return MinuteBlock(START, (SERIES,), bad, total, ("svc",), latency)


def part(block: MinuteBlock, start: int, stop: int) -> MinuteBlock:
    here = slice(start, stop)
    return MinuteBlock(
        START + start, block.series, block.bad[:, here], block.total[:, here], block.services,
        block.latency[:, here],
    )  # fmt: skip


def verdicts(block: MinuteBlock, cuts: list[int], late: int = 0):
    watched = monitors()
    window, compiled = Window(watched), compile_monitors(watched)
    for start, stop in zip([0, *cuts], [*cuts, block.width], strict=True):
        window.advance(part(block, max(start - late, 0), stop))
    return judge(compiled, window, START + block.width - 1)


def test_verdicts_do_not_depend_on_how_the_minutes_arrive() -> None:
    block = minutes(1500)
    block.total[0, -3:] = 0
    block.bad[0, -3:] = 0
    block.latency[0, -3:] = 0
    whole = verdicts(block, [])
    assert whole == verdicts(block, list(range(700, 1500)), late=3)
    assert whole == verdicts(block, [61, 62, 777, 1499], late=12)
    assert {v.monitor: v.judgement for v in whole} == {
        "detector/volume": Judgement.BREACH,
        "detector/drop": Judgement.BREACH,
        "detector/p95": Judgement.UNKNOWN,
        "detector/rare": Judgement.UNKNOWN,
    }


def test_late_calls_count_in_every_value_they_belong_to() -> None:
    block, early = minutes(300), minutes(300)
    block.bad[0, 290] = block.total[0, 290] = 400
    watched = monitors()
    window, compiled = Window(watched), compile_monitors(watched)
    window.advance(early)

    def rings() -> set[str]:
        found = judge(compiled, window, START + 293)
        return {v.monitor for v in found if v.judgement is Judgement.BREACH}

    assert "detector/share" not in rings()
    window.advance(part(block, 290, 292))
    assert "detector/share" in rings()


def test_a_percentile_sums_up_its_minutes() -> None:
    block = minutes(200)
    watched = [m for m in monitors() if m.name == "detector/p95"]
    window = Window(watched)
    window.advance(block)
    looked = window.gauges.look("static_threshold", START + 199, 1)
    expected = LATENCY.quantile(block.latency[0, 197:200].sum(axis=0), 0.95) / 1000
    assert looked.values[-1, 0] == pytest.approx(float(expected))


def test_means_and_sums_are_in_the_unit_of_their_value() -> None:
    cost = Ratio("charge", charge=Charge(Field("cost_usd", "number"), 0.0, 0.01))
    series = SeriesId("svc", "cost_usd of llm calls")
    mean = StaticThresholdConfig(measure="mean", limit=0.05, over=2, min_calls=3)
    total = StaticThresholdConfig(measure="sum", limit=0.2)
    watched = [
        Monitor(f"detector/{c.measure}", "Cost", "svc", "cost", "ticket", series, cost, c)
        for c in (mean, total)
    ]
    # Dollars a minute, and calls: 0.3 of 10, 0.9 of 10, nothing, 0.1 of one.
    bad = np.round(np.array([[0.3, 0.9, 0.0, 0.1]]) / 0.01 * SHARE).astype(np.int64)
    block = MinuteBlock(START, (series,), bad, np.array([[10, 10, 0, 1]]) * SHARE, ("svc",))
    window, compiled = Window(watched), compile_monitors(watched)
    window.advance(part(block, 0, 2))
    found = {v.monitor: v for v in judge(compiled, window, START + 1)}
    assert found["detector/mean"].value == pytest.approx(1.2 / 20)
    assert found["detector/sum"].value == pytest.approx(0.9)
    assert found["detector/sum"].unit == "usd"
    assert "mean of cost_usd of llm calls $0.06 over 2 min" in found["detector/mean"].reason
    window.advance(part(block, 2, 4))
    looked = window.gauges.look("static_threshold", START + 3, 1)
    assert np.isnan(looked.values[-1, 0])  # one call is fewer than three
    assert looked.values[-1, 1] == pytest.approx(0.1)


def test_a_total_outage_rings_at_the_next_evaluation() -> None:
    block = minutes(1441)
    block.total[0, -1] = block.bad[0, -1] = 0
    block.latency[0, -1] = 0
    found = {v.monitor: v for v in verdicts(block, [])}
    drop = found["detector/drop"]
    assert drop.judgement is Judgement.BREACH
    assert (drop.value, drop.minute) == (0.0, START + 1440)


def test_silence_is_no_drop() -> None:
    block = minutes(1440)
    watched = monitors()
    window, compiled = Window(watched), compile_monitors(watched)
    window.advance(block)
    window.advance(part(minutes(1500), 1460, 1461))
    found = {v.monitor: v.judgement for v in judge(compiled, window, START + 1450)}
    assert found["detector/drop"] is Judgement.UNKNOWN


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (
        lambda: StaticThresholdConfig(over=16),
        lambda: StaticThresholdConfig(measure="share", limit=5.0),
        lambda: StaticThresholdConfig(for_minutes=0),
        lambda: VolumeDropConfig(measure="p95"),
        lambda: VolumeDropConfig(threshold=1.0),
        lambda: CommitteeConfig(threshold=0.5),
    ):
        with pytest.raises(ValueError, match=r"is|measures"):
            wrong()
    share = Monitor("detector/x", "", "svc", "s", "page", None, None,
                    StaticThresholdConfig(measure="share", limit=0.1))  # fmt: skip
    with pytest.raises(ValueError, match="needs a series"):
        Window([share])


@pytest.mark.parametrize("measure", ["sum", "mean"])
def test_values_of_a_busy_minute_are_exact(measure: str) -> None:
    """Millions of tokens a minute, in millionths: more than 32 bits hold."""
    series = SeriesId("svc", "output_tokens")
    ratio = Ratio("charge", charge=Charge(Field("output_tokens", "number"), 0.0, 1.0))
    config = StaticThresholdConfig(measure=measure, over=5, limit=1.0)  # type: ignore[arg-type]
    monitor = Monitor("d", "d", "svc", "token_usage", "page", series, ratio, config)
    window = Window([monitor])
    calls, tokens = 4_000, np.arange(3_000_000, 3_000_030)
    bad = SHARE * tokens[None]
    window.advance(MinuteBlock(START, (series,), bad, np.full_like(bad, SHARE * calls)))
    value = window.gauges.look(config.kind, START + 29, 1).values[-1, 0]
    whole = tokens[-5:].sum()
    assert value == pytest.approx(whole if measure == "sum" else whole / (5 * calls), rel=1e-12)
