"""Quality: intervals that cover the truth, and verdicts that wait for people's labels."""

from __future__ import annotations

import numpy as np
import pytest

from tocsin.assess.calibration import (
    Calibration,
    Sample,
    post_stratified,
    rogan_gladen,
)
from tocsin.assess.judge import compile_monitors, judge
from tocsin.assess.monitor import Monitor
from tocsin.assess.quality import QualityConfig, quality
from tocsin.assess.window import Window
from tocsin.domain.expressions import Condition, Constant
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.series import MinuteBlock, Ratio, SeriesId

TRUE = Ratio("condition", condition=Condition(Constant(True, "truth")))
NAMES = ("judge", "judged", "squares", "passed", "failed")
SERIES = tuple(SeriesId("chat", f"q/{name}") for name in NAMES)


def drawn(
    rng: np.random.Generator, share: float, judged: int, labels: int, failed_part: float = 0.0
) -> Sample:
    """A judge of sensitivity .95 and specificity .75. failed_part: of the labels, given to what it
    failed on purpose; the others are drawn at random."""
    good = rng.random(judged) < share
    passes = np.where(good, rng.random(judged) < 0.95, rng.random(judged) < 0.25)
    mine = rng.choice(judged, int(labels * (1 - failed_part)), replace=False)
    if failed_part:
        failed = np.flatnonzero(~passes)
        mine = np.union1d(
            mine, rng.choice(failed, min(int(labels * failed_part), len(failed)), False)
        )
    return Sample(
        passes.mean(), judged,
        (int(good[mine][passes[mine]].sum()), int(passes[mine].sum())),
        (int(good[mine][~passes[mine]].sum()), int((~passes[mine]).sum())),
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.93, 0.98, 0.85])
@pytest.mark.parametrize("labels", [50, 200])
def test_its_interval_covers_the_truth(share: float, labels: int) -> None:
    """2,000 judged answers; the naive interval of the judge's rate covers it next to never."""
    rng = np.random.default_rng(int(1000 * share) + labels)
    runs, covered, naive = 1000, 0, 0
    for _ in range(runs):
        sample = drawn(rng, share, 2000, labels)
        found = post_stratified(sample, draws=1000)
        covered += found.low <= share <= found.high
        wide = 1.96 * np.sqrt(sample.passed * (1 - sample.passed) / 2000)
        naive += abs(sample.passed - share) <= wide
    assert 0.93 <= covered / runs <= 0.975
    if share != 0.85:  # where its two kinds of error happen to cancel out
        assert naive / runs < 0.05


def test_more_labels_for_what_the_judge_failed_are_no_bias_and_some_help() -> None:
    rng = np.random.default_rng(3)
    covered, widths = 0, np.zeros(2)
    for _ in range(300):
        found = post_stratified(drawn(rng, 0.93, 2000, 100, 0.5), draws=1000)
        plain = post_stratified(drawn(rng, 0.93, 2000, 100), draws=1000)
        covered += found.low <= 0.93 <= found.high
        widths += (found.high - found.low, plain.high - plain.low)
    assert covered / 300 >= 0.92


def test_weights_undo_a_sample_that_was_not_even() -> None:
    """Doubtful answers are judged ten times as often: the plain rate is off, Hajek's is not, and
    Kish's size is honest about what the weights cost."""
    rng = np.random.default_rng(4)
    plain, weighted, covered = [], [], 0
    for _ in range(300):
        doubtful = rng.random(20_000) < 0.1
        good = rng.random(20_000) < np.where(doubtful, 0.6, 0.97)
        chance = np.where(doubtful, 0.2, 0.02)
        mine = rng.random(20_000) < chance
        w = 1 / chance[mine]
        rate = (w * good[mine]).sum() / w.sum()
        size = w.sum() ** 2 / (w**2).sum()
        plain.append(good[mine].mean())
        weighted.append(rate)
        # A judge that is always right, so that only sampling is left.
        sample = Sample(rate, size, (10_000, 10_000), (0, 10_000))
        found = post_stratified(sample, draws=1000)
        covered += found.low <= 0.933 <= found.high
    assert abs(np.mean(plain) - 0.933) > 0.1
    assert abs(np.mean(weighted) - 0.933) < 0.003
    assert covered / 300 >= 0.92


def test_rogan_and_gladen_with_a_set_from_elsewhere() -> None:
    """A textbook case (pass rate .901, .95 and .75 known well), and coverage by simulation."""
    sure = Calibration((95_000, 100_000), (75_000, 100_000))
    found = rogan_gladen(Sample(0.901, 1e6, (0, 0), (0, 0)), sure)
    assert found.share == pytest.approx((0.901 + 0.75 - 1) / (0.95 + 0.75 - 1), abs=1e-3)
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        known = Calibration(
            (int(rng.binomial(400, 0.95)), 400), (int(rng.binomial(200, 0.75)), 200)
        )
        got = rogan_gladen(drawn(rng, 0.93, 2000, 0), known, draws=1000)
        covered += got.low <= 0.93 <= got.high
    assert covered / 300 >= 0.93


def monitor(config: QualityConfig) -> Monitor:
    return Monitor("quality/q", "Faithful", "chat", "quality", "page", SERIES[0], TRUE, config)


def config(**more: object) -> QualityConfig:
    parts = tuple((series, TRUE) for series in SERIES[1:])
    return QualityConfig(**{"target": 0.95, "window_minutes": 600, "labels_minutes": 600,
                            "parts": parts, **more})  # type: ignore[arg-type]  # fmt: skip


def said(
    counts: dict[str, tuple[int, int]], settings: QualityConfig, *, late: int = 0
) -> tuple[list[Verdict], Window, Monitor]:
    """Verdicts after an hour in which (bad, total) were counted. late: silent minutes after it."""
    watched = monitor(settings)
    window = Window([watched])
    both = np.array([counts.get(name, (0, 0)) for name in NAMES], np.int64)
    width = 60 + late
    bad, total = np.zeros((2, 5, width), np.int64)
    bad[:, 10], total[:, 10] = both.T
    window.advance(MinuteBlock(0, SERIES, bad, total))
    return judge(compile_monitors([watched]), window, width - 1), window, watched


def evenly(bad: int, total: int) -> dict[str, tuple[int, int]]:
    thousandths = (1000 * bad, 1000 * total)
    return {"judge": thousandths, "judged": (bad, total), "squares": thousandths}


def test_without_labels_of_people_nothing_breaches() -> None:
    """Half of the answers fail, and still nobody knows whether the judge is right."""
    counts = evenly(500, 1000) | {"passed": (1, 20), "failed": (18, 20)}
    (verdict,), window, watched = said(counts, config())
    assert verdict.judgement is Judgement.UNKNOWN
    assert verdict.evidence["state"] == "uncalibrated"
    assert "people labelled 40 of the judged answers in 10 h, 50 are needed" in verdict.reason
    assert quality(window.quality, watched, 59).estimate is None


@pytest.mark.parametrize(
    ("bad", "passed", "failed", "state"),
    [
        (20, (0, 200), (30, 40), "met"),
        (300, (1, 60), (38, 40), "breached"),
        (60, (1, 60), (15, 40), "inconclusive"),
        (100, (0, 200), (2, 100), "met"),  # the judge is too strict, and people say so
    ],
)
def test_it_breaches_when_the_whole_interval_is_below_the_target(
    bad: int, passed: tuple[int, int], failed: tuple[int, int], state: str
) -> None:
    counts = evenly(bad, 1000) | {"passed": passed, "failed": failed}
    verdicts, window, watched = said(counts, config())
    found = quality(window.quality, watched, 59)
    assert found.state == state
    assert found.judge == pytest.approx(1 - bad / 1000)
    assert found.size == pytest.approx(1000)
    assert [v.judgement for v in verdicts] == ([Judgement.BREACH] if state == "breached" else [])
    for verdict in verdicts:
        assert verdict.severity == "page"
        assert "the judge says 70 %" in verdict.reason
        assert verdict.value == pytest.approx(found.estimate.share)


def test_nothing_judged_is_no_data_and_what_has_not_settled_is_left_out() -> None:
    (verdict,), *_ = said({}, config())
    assert verdict.evidence["state"] == "no_data"
    counts = evenly(300, 1000) | {"passed": (1, 60), "failed": (38, 40)}
    waiting = config(settle_minutes=60)
    (early,), *_ = said(counts, waiting)
    assert early.evidence["state"] == "no_data"
    (settled,), *_ = said(counts, waiting, late=60)
    assert settled.judgement is Judgement.BREACH


def test_late_labels_restate_the_hour_of_their_calls() -> None:
    counts = evenly(300, 1000)
    (before,), window, watched = said(counts, config(), late=240)
    assert before.evidence["state"] == "uncalibrated"
    block = np.zeros((2, 5, 60), np.int64)
    both = counts | {"passed": (1, 60), "failed": (38, 40)}
    block[:, :, 10] = np.array([both[name] for name in NAMES]).T
    assert window.restate(MinuteBlock(0, SERIES, block[0], block[1]))
    assert quality(window.quality, watched, 299).state == "breached"


def test_a_judge_that_does_not_answer_is_unknown_however_good_the_rest_looks() -> None:
    """Of the answers chosen a fifth has no verdict; they may be just the long and hard ones."""
    chosen = SeriesId("chat", "q/chosen")
    settings = config(parts=(*config().parts, (chosen, TRUE)))
    watched = monitor(settings)
    counts = evenly(20, 1000) | {"passed": (0, 200), "failed": (30, 40)}
    for missing, state in ((50, "met"), (250, "failing")):
        window = Window([watched])
        both = [*(counts[name] for name in NAMES), (1000 * missing, 1000 * (1000 + missing))]
        bad, total = np.zeros((2, 6, 60), np.int64)
        bad[:, 10], total[:, 10] = np.array(both).T
        window.advance(MinuteBlock(0, (*SERIES, chosen), bad, total))
        found = quality(window.quality, watched, 59)
        assert found.state == state
        assert found.unanswered == pytest.approx(missing / (1000 + missing))
        verdicts = judge(compile_monitors([watched]), window, 59)
        assert [v.judgement for v in verdicts] == ([Judgement.UNKNOWN] if state != "met" else [])
        assert state == "met" or "gave no verdict on 20 %" in verdicts[0].reason


def test_weighted_labels_count_as_many_as_they_are_worth() -> None:
    """40 labels of weight 1 and 10 of weight 4, all of the latter good: sums are in thousandths."""
    more = ("passed_weight", "passed_squares", "failed_weight", "failed_squares")
    series = tuple(SeriesId("chat", f"q/{name}") for name in more)
    settings = config(parts=(*config().parts, *((one, TRUE) for one in series)))
    watched = monitor(settings)
    counts = evenly(100, 1000) | {"passed": (20, 50), "failed": (0, 0)}
    both = [*(counts[name] for name in NAMES), (20_000, 80_000), (20_000, 200_000), (0, 0), (0, 0)]
    bad, total = np.zeros((2, 9, 60), np.int64)
    bad[:, 10], total[:, 10] = np.array(both).T
    window = Window([watched])
    window.advance(MinuteBlock(0, (*SERIES, *series), bad, total))
    counted = window.quality.sample(watched, settings, 59)
    assert counted.sample.labels == 50
    good, size = counted.sample.human_passed
    assert (size, good / size) == pytest.approx((32.0, 0.75))
    assert quality(window.quality, watched, 59).agreement is not None


def test_the_same_counts_always_say_the_same() -> None:
    sample = Sample(0.9, 500, (40, 42), (3, 20))
    assert post_stratified(sample) == post_stratified(sample)


@pytest.mark.parametrize(
    "wrong",
    [{"target": 1.0}, {"min_labels": 0}, {"settle_minutes": 5000}, {"window_minutes": 50_000}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each says another sentence)
        QualityConfig(**wrong)
