"""Gauges by segment: one value of a dimension against its own past, whatever the others do."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.detectors import CommitteeConfig, StaticThresholdConfig, VolumeDropConfig
from tocsin.assess.gauges.slices import MOST_VALUES, SlicesConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor, ratios
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import EACH, SHARE, MinuteBlock, SeriesId
from tocsin.indicators.catalogue import AVAILABILITY
from tocsin.indicators.custom import averaged

START, DAY = 29_000_160, 1440
COST = averaged("cost_usd")
SERIES = SeriesId("chat", COST.name)
REGIONS = {"eu": 20, "us": 200, "asia": 4}  # calls a minute


def monitor(inner: object, series: SeriesId = SERIES, by: tuple[str, ...] = ("region",)) -> Monitor:
    ratio = COST.ratio if series == SERIES else AVAILABILITY.ratio
    return Monitor("detector/cost/segments", "Cost", "chat", "cost", "ticket", series, ratio,
                   SlicesConfig(by=by, inner=inner))  # type: ignore[arg-type]  # fmt: skip


def spending(minutes: int, dear: int = 0, only: str = "eu") -> MinuteBlock:
    """A cent a call; in the last `dear` minutes a region pays four."""
    rng = np.random.default_rng(3)
    names = tuple(SeriesId("chat", COST.name, ("region", name)) for name in REGIONS)
    calls = rng.poisson(np.array(list(REGIONS.values()))[:, None], (len(names), minutes))
    cents = calls * (1.0 + 0.1 * rng.standard_normal(calls.shape))
    row = list(REGIONS).index(only)
    cents[row, minutes - dear :] *= 4.0
    return MinuteBlock(START, names, np.rint(SHARE * cents).astype(np.int64), SHARE * calls)


def part(block: MinuteBlock, start: int, stop: int) -> MinuteBlock:
    here = slice(start, stop)
    return MinuteBlock(START + start, block.series, block.bad[:, here], block.total[:, here])


def told(one: Monitor, block: MinuteBlock, step: int | None = None) -> list[Verdict]:
    window, compiled = Window([one]), compile_monitors([one])
    for start in range(0, block.width, step or block.width):
        window.advance(
            part(block, max(start - 2, 0), min(start + (step or block.width), block.width))
        )
    return judge(compiled, window, START + block.width - 1)


def test_what_is_counted_is_every_value_of_the_dimensions() -> None:
    assert ratios([monitor(CommitteeConfig(measure="mean"), by=("region", "plan"))]) == {
        SERIES: COST.ratio,
        SeriesId("chat", COST.name, ("region", EACH)): COST.ratio,
        SeriesId("chat", COST.name, ("plan", EACH)): COST.ratio,
    }


@pytest.mark.parametrize("step", [None, 37])
def test_a_small_segment_that_turns_dear_is_found_and_named(step: int | None) -> None:
    config = CommitteeConfig(measure="mean", over=5, min_calls=5, side="above")
    assert told(monitor(config), spending(3 * DAY), step) == []
    (verdict,) = told(monitor(config), spending(3 * DAY, dear=10), step)
    assert verdict.judgement is Judgement.BREACH
    assert verdict.monitor == "detector/cost/segments"
    assert verdict.reason.startswith("region eu: mean of cost_usd of llm calls $0.0")
    assert [s["value"] for s in verdict.evidence["segments"]] == ["eu"]
    assert verdict.evidence["tested"] == 3
    assert verdict.value == pytest.approx(0.04, rel=0.2)
    assert verdict.unit == "usd"


def test_a_region_without_calls_is_missed_however_busy_the_others_are() -> None:
    series = SeriesId("chat", "availability")
    block = spending(3 * DAY)
    calls = block.total // SHARE
    calls[0, -6:] = 0
    names = tuple(SeriesId("chat", "availability", s.segment) for s in block.series)
    (verdict,) = told(
        monitor(VolumeDropConfig(), series), MinuteBlock(START, names, 0 * calls, calls)
    )
    assert verdict.reason.startswith("region eu: calls 0 over 1 min, expected ")


def test_a_value_that_is_new_has_no_past_and_rings_for_nobody() -> None:
    config = StaticThresholdConfig(measure="sum", limit=1e-9, side="below")
    block = spending(300)
    block.bad[2, :250] = block.total[2, :250] = 0  # asia opened fifty minutes ago
    window = Window([monitor(config)])
    window.advance(block)
    rows = [r for r in range(MOST_VALUES) if window.slices.value(r) == "asia"]
    values = window.slices.gauges.look("static_threshold", START + 299, 250).values[:, rows[0]]
    assert np.isfinite(values).sum() == 50
    early = window.slices.gauges.look("static_threshold", START + 240, 100)
    assert not np.isfinite(early.values[:, rows[0]]).any()


def test_the_busiest_values_find_places_and_the_others_are_known_to_be_left_out() -> None:
    count = MOST_VALUES + 5
    names = tuple(SeriesId("chat", COST.name, ("region", f"r{n}")) for n in range(count))
    total = SHARE * np.tile(np.arange(1, count + 1)[:, None], (1, 60))
    one = monitor(CommitteeConfig(measure="mean"))
    window = Window([one])
    window.advance(MinuteBlock(START, names, total, total))
    held = {window.slices.value(row) for row in window.slices.rows["detector/cost/segments"]}
    assert held == {f"r{n}" for n in range(5, count)}
    (left,) = window.slices.left_out.values()
    assert left == {f"r{n}" for n in range(5)}
    (verdict,) = judge(
        compile_monitors([monitor(CommitteeConfig(measure="mean"))]), window, START + 59
    )
    assert verdict.judgement is Judgement.UNKNOWN
    assert "no segment by region can be judged" in verdict.reason


def block_of(calls: dict[str, int], day: int = 0, minutes: int = DAY) -> MinuteBlock:
    """So many calls a minute of each region, over the minutes of a day."""
    names = tuple(SeriesId("chat", COST.name, ("region", name)) for name in calls)
    total = SHARE * np.tile(np.array(list(calls.values()))[:, None], (1, minutes))
    return MinuteBlock(BEGUN + day * DAY, names, total, total)


BEGUN = -(-START // DAY) * DAY


def test_places_are_for_segments_that_alerts_name_and_for_the_busiest_of_late() -> None:
    calls = {f"r{n}": n + 1 for n in range(MOST_VALUES + 5)}
    window = Window([monitor(CommitteeConfig(measure="mean"))])
    window.slices.seat(block_of(calls), {("region", "r0")})
    # Who comes first has no say any more.
    early = block_of(dict.fromkeys(list(calls)[:10], 1), minutes=10)
    window.advance(early)
    held = {window.slices.value(row) for row in window.slices.rows["detector/cost/segments"]}
    assert held == {"r0"} | {f"r{n}" for n in range(6, MOST_VALUES + 5)}


def test_what_is_left_out_is_said_and_asks_for_a_place_when_it_matters() -> None:
    calls = {f"r{n}": 10 for n in range(MOST_VALUES)} | {"late": 0}
    window = Window([monitor(CommitteeConfig(measure="mean"))])
    window.advance(block_of(calls))
    assert window.slices.crowded() == []
    window.advance(block_of(calls | {"late": 12}, 1))
    window.advance(block_of(calls | {"late": 12}, 2, 1))
    (crowded,) = window.slices.crowded()
    assert (crowded.dimension, crowded.judged, crowded.left_out) == ("region", 30, ("late",))
    assert crowded.share == pytest.approx(12 / 312)
    assert not window.slices.is_outgrown, "the others have as many"
    window.advance(block_of(calls | {"late": 30}, 2))
    window.advance(block_of(calls, 3, 1))
    assert window.slices.is_outgrown


TENANTS = {"acme": 340, "globex": 25, "initech": 35}  # calls a minute


def volumes(minutes: int, silent: tuple[str, ...], since: int, whole: float = 1.0) -> MinuteBlock:
    """Calls of all tenants and of each; some send nothing in the last `since` minutes, all of them
    only so much of it."""
    rng = np.random.default_rng(11)
    calls = rng.poisson(np.array(list(TENANTS.values()))[:, None], (len(TENANTS), minutes))
    calls[:, minutes - since :] = rng.binomial(calls[:, minutes - since :], whole)
    for name in silent:
        calls[list(TENANTS).index(name), minutes - since :] = 0
    series = SeriesId("chat", "availability")
    names = (series, *(SeriesId("chat", "availability", ("tenant", t)) for t in TENANTS))
    total = np.vstack([calls.sum(axis=0), calls])
    return MinuteBlock(START, names, 0 * total, total)


@pytest.mark.parametrize(
    ("silent", "whole", "severity"),
    [
        (("acme",), 1.0, "ticket"),
        (("acme", "globex"), 1.0, "ticket"),
        (tuple(TENANTS), 1.0, "page"),
        ((), 0.1, "page"),
        (("acme",), 0.3, "page"),
    ],
)
def test_a_tenant_that_leaves_is_told_and_pages_nobody(
    silent: tuple[str, ...], whole: float, severity: str
) -> None:
    one = Monitor("detector/drop", "Calls", "chat", "volume", "page",
                  SeriesId("chat", "availability"), AVAILABILITY.ratio,
                  VolumeDropConfig(tenants="tenant"))  # fmt: skip
    assert SeriesId("chat", "availability", ("tenant", EACH)) in ratios([one])
    assert told(one, volumes(3 * DAY, (), 0), 360) == []
    (verdict,) = told(one, volumes(3 * DAY, silent, 20, whole), 360)
    assert (verdict.judgement, verdict.severity) == (Judgement.BREACH, severity)
    if severity == "ticket":
        named = " and ".join(silent)
        assert verdict.reason.startswith(f"tenant {named} send")
        assert "all others are as usual" in verdict.reason
        assert [gone["value"] for gone in verdict.evidence["gone"]] == list(silent)
    assert told(one, volumes(3 * DAY, silent, 20, whole), 360) == [verdict]
