"""Labels that were not chosen evenly, and how far judge and people agree: both by simulation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tocsin.assess.calibration import (
    Doubles,
    Sample,
    agreement,
    even,
    post_stratified,
    reliability,
)

Floats = npt.NDArray[np.float64]


def world(
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Whether each of 20,000 answers is good, the judge's graded score, and the chance of being
    judged: those of a tenth of the users, who fare worse, are judged ten times as often."""
    gold = rng.random(20_000) < 0.1
    good = rng.random(20_000) < np.where(gold, 0.8, 0.95)
    score = np.clip(rng.normal(np.where(good, 0.85, 0.35), 0.2), 0.0, 1.0)
    return good, score, np.where(gold, 0.5, 0.05)


def weighed(good: npt.NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    return even(float(weight[good].sum()), float(weight.sum()), float((weight**2).sum()))


@pytest.mark.parametrize("labels", [60, 200])
def test_doubtful_answers_may_be_labelled_more_often_when_that_is_recorded(labels: int) -> None:
    """Judged by strata, labelled by doubt: weighted, the interval covers the truth; unweighted, it
    knows too much about answers that are not like the others."""
    rng = np.random.default_rng(labels)
    covered, naive, runs = 0, 0, 400
    for _ in range(runs):
        good, score, chance = world(rng)
        truth = good.mean()
        judged = rng.random(good.size) < chance
        good, score, chance = good[judged], score[judged], chance[judged]
        passes = score >= 0.5
        worth = np.where(passes, np.maximum(0.5, 1 - 2 * np.abs(score - 0.5)), 1.0)
        queue = np.flatnonzero(rng.random(good.size) < worth)
        mine = np.zeros(good.size, bool)
        mine[rng.permutation(queue)[:labels]] = True
        weight = 1 / chance
        whole = even(float(weight[passes].sum()), float(weight.sum()), float((weight**2).sum()))
        sides = [mine & passes, mine & ~passes]
        found = post_stratified(
            Sample(whole[0] / whole[1], whole[1],
                   *(weighed(good[s], weight[s] / worth[s]) for s in sides)),
            draws=800,
        )  # fmt: skip
        covered += found.low <= truth <= found.high
        plain = post_stratified(
            Sample(passes.mean(), good.size,
                   *((float(good[s].sum()), float(s.sum())) for s in sides)),
            draws=800,
        )  # fmt: skip
        naive += plain.low <= truth <= plain.high
    assert covered / runs >= 0.92
    assert naive / runs <= 0.75


def test_kappa_is_that_of_all_answers_and_its_interval_covers_it() -> None:
    """A judge of sensitivity .95 and specificity .75 at 90 % good: kappa is .66. Half of the labels
    go to what it failed; of the labelled answers alone kappa would be another."""
    rng = np.random.default_rng(8)
    passed = 0.9 * 0.95 + 0.1 * 0.25
    both, chance = 0.9 * 0.95 + 0.1 * 0.75, passed * 0.9 + (1 - passed) * 0.1
    truth = (both - chance) / (1 - chance)
    right, missed = 0.9 * 0.95 / passed, 0.9 * 0.05 / (1 - passed)
    covered = 0
    for _ in range(500):
        sample = Sample(
            rng.binomial(2000, passed) / 2000, 2000,
            (float(rng.binomial(60, right)), 60.0), (float(rng.binomial(60, missed)), 60.0),
        )  # fmt: skip
        found = agreement(sample, draws=800)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 500 <= 0.985
    sure = agreement(Sample(passed, 1e7, (1e6 * right, 1e6), (1e6 * missed, 1e6)))
    assert sure.kappa == pytest.approx(truth, abs=2e-3)
    assert (sure.sensitivity, sure.specificity) == pytest.approx((0.95, 0.75), abs=5e-3)


@pytest.mark.parametrize(
    ("answers", "good", "split"), [(15, 0.7, 0.1), (40, 0.5, 0.3), (200, 0.9, 0.08)]
)
def test_the_interval_of_agreement_between_people_covers_it(
    answers: int, good: float, split: float
) -> None:
    rng = np.random.default_rng(answers)
    share = good + split / 2
    truth = 1 - split / (2 * share * (1 - share))
    covered = 0
    for _ in range(500):
        pairs = rng.multinomial(answers, (good, split, 1 - good - split))
        found = reliability(Doubles(*map(float, pairs), float(answers), answers), draws=800)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert covered / 500 >= 0.92


def test_agreement_between_people_is_krippendorffs() -> None:
    """The worked example of two observers and ten units in Krippendorff, "Computing Krippendorff's
    Alpha-Reliability" (2011), part A: alpha .095, of which the small-sample correction is .05."""
    found = reliability(Doubles(1e6, 4e6, 5e6, 1e7, 10))
    assert found is not None
    uncorrected = 1 - 0.4 / (2 * 0.3 * 0.7)
    assert found.alpha == pytest.approx(uncorrected, abs=2e-3)
    assert 1 - (1 - uncorrected) * 19 / 20 == pytest.approx(0.095, abs=5e-4)
    assert reliability(Doubles()) is None


def test_even_weights_are_counts_and_none_is_nothing() -> None:
    assert even(3.0, 4.0, 4.0) == (3.0, 4.0)
    assert even(6.0, 8.0, 16.0) == (3.0, 4.0)
    assert even(0.0, 0.0, 0.0) == (0.0, 0.0)
