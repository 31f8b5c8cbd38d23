"""Gauges by segment: one value of a dimension against its own past, whatever the others do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tocsin.assess.detectors import CommitteeConfig, StaticThresholdConfig, VolumeDropConfig
from tocsin.assess.gauges.slices import MOST_VALUES, SlicesConfig
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor, ratios
from tocsin.assess.window import Window
from tocsin.domain.buckets import LATENCY
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import EACH, SHARE, MinuteBlock, SeriesId
from tocsin.engine.feed import cut
from tocsin.indicators.catalogue import AVAILABILITY, DURATIONS
from tocsin.indicators.custom import averaged

START, DAY = 29_000_160, 1440
COST = averaged("cost_usd")
SERIES = SeriesId("chat", COST.name)
REGIONS = {"eu": 20, "us": 200, "asia": 4}  # calls a minute


def monitor(inner: object, series: SeriesId = SERIES, by: tuple[str, ...] = ("region",)) -> Monitor:
    known = {SERIES: COST.ratio, SeriesId("chat", DURATIONS.name): DURATIONS.ratio}
    ratio = known.get(series, AVAILABILITY.ratio)
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
    return cut(block, START + start, START + stop)


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


LATENCIES = SeriesId("chat", DURATIONS.name)
P95 = CommitteeConfig(measure="p95", over=5, min_calls=15, side="above")
PACE = {"eu": 5, "us": 300, "asia": 20}  # calls a minute
COUNT = 2 * DAY + 120


def slowing(slow: int) -> MinuteBlock:
    """Calls of about a second; in the last `slow` minutes those of eu take three."""
    rng = np.random.default_rng(8)
    names = tuple(SeriesId("chat", DURATIONS.name, ("region", name)) for name in PACE)
    calls = rng.poisson(np.array(list(PACE.values()))[:, None], (len(names), COUNT))
    minute, row = (np.repeat(at.ravel(), calls.T.ravel()) for at in np.indices(calls.T.shape))
    us = 1e6 * np.exp(0.4 * rng.standard_normal(len(row)))
    us[(row == 0) & (minute >= COUNT - slow)] *= 3.0
    place = (minute * len(names) + row) * LATENCY.count + LATENCY.bucket(us)
    cells, n = np.unique(place, return_counts=True)
    at = np.unravel_index(cells, (COUNT, len(names), LATENCY.count))
    return MinuteBlock(START, names, calls, calls, cells=np.stack([at[0] + START, *at[1:], n]))


def p95_ms(block: MinuteBlock, start: int, stop: int, rows: list[int]) -> float:
    _, row, bucket, calls = cut(block, START + start, START + stop).cells
    mine = np.isin(row, rows)
    summed = np.bincount(bucket[mine], calls[mine], LATENCY.count).astype(np.int64)
    return float(LATENCY.quantile(summed, 0.95)) / 1000


def as_services(block: MinuteBlock, names: tuple[str, ...]) -> MinuteBlock:
    """The same calls as histograms of services: one for each region, or one for them all."""
    latency = np.zeros((len(names), block.width, LATENCY.count), np.int64)
    minute, row, bucket, calls = block.cells
    np.add.at(latency, (row % len(names), minute - START, bucket), calls)
    none = np.zeros((0, block.width), np.int64)
    return MinuteBlock(START, (), none, none, names, latency)


def of_service(name: str, threshold: float) -> Monitor:
    method = replace(P95, threshold=threshold)
    return replace(monitor(P95), name=name, service=name, series=None, ratio=None, method=method)


@pytest.mark.parametrize("step", [None, 37])
def test_a_region_whose_p95_triples_is_found_though_the_whole_hardly_moves(
    step: int | None,
) -> None:
    block = slowing(6)
    (verdict,) = told(monitor(P95, LATENCIES), block, step)
    assert (verdict.judgement, verdict.unit) == (Judgement.BREACH, "ms")
    assert verdict.reason.startswith("region eu: p95 latency ")
    assert [s["value"] for s in verdict.evidence["segments"]] == ["eu"]
    assert verdict.evidence["tested"] == 3
    assert verdict.value == pytest.approx(p95_ms(block, COUNT - 5, COUNT, rows=[0]))
    assert verdict.value > 2.5 * (verdict.expected or np.inf)
    rises = p95_ms(block, COUNT - 5, COUNT, [0, 1, 2]) / p95_ms(block, 0, COUNT - 6, [0, 1, 2])
    assert rises < 1.1  # its calls are one in sixty of all


def test_segments_are_judged_as_services_with_their_calls_would_be() -> None:
    """And calls that stay as they are ring in hardly any minute."""
    block, rung = slowing(0), []
    corrected = P95.threshold + float(np.log10(len(PACE)))
    services = [of_service(name, corrected) for name in PACE]
    for monitors, minutes in (
        ([monitor(P95, LATENCIES)], block), (services, as_services(block, tuple(PACE))),
    ):  # fmt: skip
        window, compiled = Window(monitors), compile_monitors(monitors)
        window.advance(cut(minutes, START, START + 2 * DAY))
        told: list[int] = []
        for minute in range(START + 2 * DAY, START + COUNT):
            window.advance(cut(minutes, max(minute - 3, START), minute + 1))
            found = judge(compiled, window, minute)
            told += [minute] * any(v.judgement is Judgement.BREACH for v in found)
        rung.append(told)
    assert rung[0] == rung[1]
    assert len(rung[0]) <= 3


def test_a_percentile_of_too_few_calls_is_unknown() -> None:
    (verdict,) = told(monitor(replace(P95, min_calls=5000), LATENCIES), slowing(6))
    assert verdict.judgement is Judgement.UNKNOWN
    assert "fewer than 5000 calls in 5 min" in verdict.reason


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


def test_days_before_the_places_were_given_ask_for_none() -> None:
    """Else history would be read anew for what history holds, minute after minute."""
    calls = {f"r{n}": 10 for n in range(MOST_VALUES)}
    window = Window([monitor(CommitteeConfig(measure="mean"))])
    window.slices.seat(block_of(calls, 2))
    for day in (0, 1):
        window.advance(block_of(calls | {"gone": 1000}, day))
    window.advance(block_of(calls, 2))
    window.advance(block_of(calls | {"gone": 1000}, 3))
    assert not window.slices.is_outgrown
    window.advance(block_of(calls, 4, 1))
    assert window.slices.is_outgrown, "what came since does ask"


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
