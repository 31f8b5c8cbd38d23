"""Segments: what is found among many, how rarely falsely, and what the whole would hide."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.masked import fairness
from tocsin.assess.monitor import Monitor
from tocsin.assess.segments import (
    MOST_VALUES,
    OTHER,
    SegmentCounts,
    SegmentsConfig,
    discoveries,
    evidence,
    standings,
)
from tocsin.assess.window import Window
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import EACH, MinuteBlock, Ratio, SeriesId

WHOLE = SeriesId("chat", "availability")
NAMES = [("region", f"r{i:02}") for i in range(40)]


def series(value: str, dimension: str = "region") -> SeriesId:
    return SeriesId("chat", "availability", (dimension, value))


def monitor(config: SegmentsConfig) -> Monitor:
    return Monitor(
        "slo/chat/segments", "Chat, by region", "chat", "slo_breach", "ticket", WHOLE,
        Ratio("failed"), config, {"team": "a"},
    )  # fmt: skip


def played(
    config: SegmentsConfig, bad: np.ndarray, total: np.ndarray, names: list[str]
) -> tuple[Window, list[list[Verdict]]]:
    """Verdicts by minute of counts [segment, minute]."""
    watched = monitor(config)
    window, compiled = Window([watched]), compile_monitors([watched])
    said = []
    for at in range(total.shape[1]):
        k = np.append(bad[:, at].sum(), bad[:, at])[:, None]
        n = np.append(total[:, at].sum(), total[:, at])[:, None]
        window.advance(MinuteBlock(at, (WHOLE, *map(series, names)), k, n))
        said.append(judge(compiled, window, at))
    return window, said


def breaches(said: list[list[Verdict]]) -> list[int]:
    return [at for at, v in enumerate(said) if v and v[0].judgement is Judgement.BREACH]


def test_benjamini_hochberg_rejects_what_the_paper_says() -> None:
    """The worked example of the paper: 15 p-values, four rejections at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
         0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    shuffled = np.random.default_rng(1).permutation(p)
    found = discoveries(-np.log10(shuffled), 0.05)
    assert sorted(shuffled[found]) == p[:4]
    assert not discoveries(np.zeros(0), 0.1).any()


def test_false_discoveries_stay_within_the_rate_and_bad_segments_are_found() -> None:
    """40 segments, 3 of them at three times the budget: the average share of false findings."""
    rng = np.random.default_rng(2)
    config, shares, power = SegmentsConfig(by=("region",), budget=0.01), [], []
    for _ in range(400):
        total = rng.poisson(rng.lognormal(6.5, 0.7, 40))
        rate = np.where(np.arange(40) < 3, 0.03, 0.01)  # the others are at the very edge
        counts = np.stack([rng.binomial(total, rate), total])
        found = {
            s.value for s in standings(NAMES, counts, counts.sum(axis=1), config) if s.is_found
        }
        real = {"r00", "r01", "r02"}
        shares.append(len(found - real) / max(len(found), 1))
        power.append(len(found & real) / 3)
    assert np.mean(shares) <= 0.05
    assert np.mean(power) > 0.75


def test_a_naive_rule_finds_two_bad_segments_in_any_healthy_service() -> None:
    rng = np.random.default_rng(3)
    config, naive, ours = SegmentsConfig(by=("region",), budget=0.01), 0, 0
    for _ in range(100):
        total = rng.poisson(300, 40)
        counts = np.stack([rng.binomial(total, 0.005), total])
        naive += int((counts[0] / counts[1] > 0.01).sum())
        ours += sum(s.is_found for s in standings(NAMES, counts, counts.sum(axis=1), config))
    assert naive > 100
    assert ours == 0


def test_against_the_rest_the_evidence_is_the_exact_test_of_two_rates() -> None:
    """Null distribution by simulation: at a true ratio of 1.5 the p-values are not too small."""
    rng = np.random.default_rng(4)
    config = SegmentsConfig(by=("region",))
    small = np.array([0.1, 0.05, 0.01])
    hits = np.zeros(3)
    for _ in range(3000):
        total = np.array([400, 2000])
        bad = rng.binomial(total, [0.03, 0.02])
        score = evidence(np.stack([bad[:1], total[:1]]), np.array([bad.sum(), 2400]), config)[0]
        hits += score >= -np.log10(small)
    assert (hits / 3000 <= small * 1.15).all()
    strong = evidence(np.array([[40], [400]]), np.array([80, 2400]), config)[0]
    assert strong > 6
    everything = evidence(np.array([[9], [90]]), np.array([9, 90]), config)
    assert everything[0] == 0, "a segment without a rest is compared with nothing"


def test_a_masked_region_is_found_said_and_over_when_it_is_over() -> None:
    rng = np.random.default_rng(5)
    names, minutes = ["eu", "us", "apac"], 400
    total = rng.poisson([[300], [400], [12]], (3, minutes))
    rate = np.full((3, minutes), 0.004)
    rate[2, 150:240] = 0.2
    config = SegmentsConfig(by=("region",), budget=0.01)
    window, said = played(config, rng.binomial(total, rate), total, names)
    found = breaches(said)
    assert 150 < found[0] <= 190
    assert found == list(range(found[0], found[-1] + 1))
    assert found[-1] < 240 + 60 + 50
    (verdict,) = said[200]
    assert verdict.evidence["masked"]
    assert [s["value"] for s in verdict.evidence["segments"]] == ["apac"]
    assert verdict.reason.startswith("region apac: ")
    assert "the service as a whole looks fine" in verdict.reason
    assert (verdict.severity, verdict.labels, verdict.unit) == ("ticket", {"team": "a"}, "share")
    report = fairness(window, monitor(config), minutes - 1, 360)
    assert report.segments[0].value == "apac"
    assert report.segments[0].low < report.segments[0].share < report.segments[0].high
    ((dimension, gap),) = report.gaps
    assert (dimension, gap.worst) == ("region", "apac")
    assert 0 < gap.low < gap.size < gap.high


def test_an_outage_of_everything_is_not_called_masked() -> None:
    rng = np.random.default_rng(6)
    total = rng.poisson(60, (3, 120))
    config = SegmentsConfig(by=("region",), budget=0.01)
    _, said = played(config, rng.binomial(total, 0.1), total, ["a", "b", "c"])
    (verdict,) = said[-1]
    assert len(verdict.evidence["segments"]) == 3
    assert not verdict.evidence["masked"]
    assert "2 more segments" in verdict.reason


def test_a_detector_compares_with_the_rest_whatever_the_level() -> None:
    rng = np.random.default_rng(7)
    total = rng.poisson(60, (4, 120))
    config = SegmentsConfig(by=("region",))
    _, same = played(config, rng.binomial(total, 0.3), total, list("abcd"))
    assert not breaches(same), "bad everywhere is for other monitors"
    rate = np.array([[0.01], [0.01], [0.01], [0.06]])
    _, said = played(config, rng.binomial(total, rate), total, list("abcd"))
    (verdict,) = said[-1]
    assert [s["value"] for s in verdict.evidence["segments"]] == ["d"]
    assert "elsewhere" in verdict.reason


@pytest.mark.parametrize("share", [0.005, 0.008])
def test_a_service_within_its_budget_is_left_in_peace_for_a_week(share: float) -> None:
    """Overlapping windows, an evaluation every ten minutes, 20 segments of very different size."""
    rng = np.random.default_rng(8)
    rates = rng.lognormal(1.0, 1.0, 20)[:, None]
    total = rng.poisson(rates, (20, 7 * 1440))
    bad = rng.binomial(total, share)
    config = SegmentsConfig(by=("region",), budget=0.01)
    ends = range(60, 7 * 1440, config.every_minutes)
    sums = np.concatenate([np.zeros((2, 20, 1)), np.stack([bad, total]).cumsum(axis=2)], axis=2)
    found = np.zeros((len(ends), 20), np.bool_)
    for at, end in enumerate(ends):
        counts = (sums[:, :, end] - sums[:, :, end - 60]).astype(np.int64)
        for segment in standings(NAMES[:20], counts, counts.sum(axis=1), config):
            found[at, NAMES.index((segment.dimension, segment.value))] = segment.is_found
    often = sum(found[at : len(found) - 4 + at].astype(int) for at in range(5)) >= 3
    told = often.any(axis=1)
    episodes = int((told[1:] & ~told[:-1]).sum()) + int(told[0])
    assert episodes <= 2


def test_few_calls_are_unknown_and_a_restart_agrees() -> None:
    config = SegmentsConfig(by=("region",), budget=0.01)
    few = np.ones((2, 20), np.int64)
    _, said = played(config, few * 0, few, ["a", "b"])
    (verdict,) = said[-1]
    assert verdict.judgement is Judgement.UNKNOWN
    assert "no segment by region had 30 calls in 1 h" in verdict.reason
    rng = np.random.default_rng(9)
    total = rng.poisson(30, (3, 200))
    bad = rng.binomial(total, [[0.002], [0.002], [0.05]])
    _, live = played(config, bad, total, list("abc"))
    watched = monitor(config)
    window = Window([watched])
    both = [np.concatenate([x.sum(axis=0)[None], x]) for x in (bad, total)]
    window.advance(MinuteBlock(0, (WHOLE, *map(series, "abc")), *both))
    assert judge(compile_monitors([watched]), window, 199) == live[-1]


def test_values_come_and_go_and_too_many_are_one() -> None:
    family = series(EACH)
    counts = SegmentCounts([family, WHOLE])
    for minute in range(3):
        names = [f"v{i}" for i in range(minute * 90, minute * 90 + 90)]
        block = np.ones((91, 1), np.int64)
        counts.advance(MinuteBlock(minute, (WHOLE, *map(series, names)), block * 0, block))
    names, sums = counts.sums([family], 3, 3)
    assert len(names) == MOST_VALUES + 1
    assert dict(zip(names, sums[1].tolist(), strict=True))["region", OTHER] == 70
    assert counts.whole(WHOLE, 3, 3).tolist() == [0, 3]
    again = np.full((2, 1), 5, np.int64)
    counts.advance(MinuteBlock(2, (WHOLE, series("v200")), again, again * 2))  # read again
    assert counts.whole(WHOLE, 3, 3).tolist() == [5, 12]
    counts.advance(MinuteBlock(200, (WHOLE,), again[:1], again[:1]))
    assert counts.whole(WHOLE, 201, 60).tolist() == [5, 5]


@pytest.mark.parametrize(
    "wrong",
    [{"fdr": 0.0}, {"confirm": 6}, {"min_ratio": 0.5}, {"min_events": 0},
     {"window_minutes": 1440, "every_minutes": 60}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each says another sentence)
        SegmentsConfig(**wrong)
