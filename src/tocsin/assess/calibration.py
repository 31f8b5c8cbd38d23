"""What a judge's pass rate is worth: put right by people's labels, with an interval.

Two samples lie on top of each other. Of all answers a judge saw some, each chosen with a known
probability; of those, people saw a few. Whoever was chosen with probability p stands for 1/p
answers (Horvitz and Thompson); a share is the ratio of two such sums (Hajek), and a sample of
unequal weights is worth as many even ones as Kish says: (sum of weights)^2 / sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 2000
_Draws = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A labelled set: (passed, all) of its good answers, (failed, all) of its bad ones."""

    sensitivity: tuple[int, int]
    specificity: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a judge's sample. passed: share of judged answers that the judge passes,
    weighted (Hajek). size: how many even ones would say as much (Kish). human_passed, human_failed:
    (good, all) as people see them, of what the judge passed and of what it failed; of labels with
    weights, what even ones would be. labels: how many there are; by default all are even.
    """

    passed: float
    size: float
    human_passed: tuple[float, float]
    human_failed: tuple[float, float]
    labels: int = -1

    def __post_init__(self) -> None:
        if self.labels < 0:
            object.__setattr__(self, "labels", int(self.human_passed[1] + self.human_failed[1]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of good answers with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far judge and people agree beyond chance: Cohen's kappa with its 95 % interval.

    sensitivity: share of the good answers that the judge passes. specificity: share of the bad
    ones that it fails.
    """

    kappa: float
    low: float
    high: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True, slots=True)
class Doubles:
    """Answers that several people labelled, each by its weight: pairs of labels that are both good,
    one of each, both bad; of an answer with more than two labels, the shares of its pairs. squares:
    of the weights; answers: how many there are."""

    good: float = 0.0
    split: float = 0.0
    bad: float = 0.0
    squares: float = 0.0
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far people agree with each other beyond chance, with its 95 % interval."""

    alpha: float
    low: float
    high: float
    answers: int


def even(good: float, weight: float, squares: float) -> tuple[float, float]:
    """(good, all) of even answers that say as much as weighted ones: sums of the weights of the
    good ones, of all weights, and of their squares. (0, 0) of none.

    >>> even(30.0, 40.0, 80.0)
    (15.0, 20.0)
    """
    if weight <= 0.0 or squares <= 0.0:
        return 0.0, 0.0
    size = weight * weight / squares
    return good / weight * size, size


def post_stratified(sample: Sample, draws: int = DRAWS, seed: int = 20) -> Estimate:
    """The share of good answers: pass rate x how often a pass is right + the other way round.

    Each of the three factors has Jeffreys' posterior, Beta(k + 1/2, n - k + 1/2); the interval is
    that of their product by Monte Carlo with a fixed seed, so that the same counts always say the
    same. It holds when people's labels are a random sample within what the judge passed and within
    what it failed, or weighted to be one, whatever the two rates are: label more of the failed
    ones. It is prediction-powered inference for a verdict of two values, with the verdict as the
    stratum (Angelopoulos et al., "Prediction-powered inference", Science 382, 2023).
    """
    passed, right, missed = _factors(sample, draws, seed)
    theta = passed * right + (1.0 - passed) * missed
    low, high = np.quantile(theta, (0.025, 0.975))
    return Estimate(float(theta.mean()), float(low), float(high))


def agreement(sample: Sample, draws: int = DRAWS, seed: int = 20) -> Agreement:
    """How far a judge and people agree on the answers that the sample stands for.

    From the factors of `post_stratified`, so that labels which were not chosen evenly are no bias:
    kappa of the labelled answers alone is that of another mix of passed and failed ones.

    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 20 (1960).
    """
    passed, right, missed = _factors(sample, draws, seed)
    good = passed * right + (1.0 - passed) * missed
    both = passed * right + (1.0 - passed) * (1.0 - missed)
    chance = passed * good + (1.0 - passed) * (1.0 - good)
    kappa = (both - chance) / np.maximum(1.0 - chance, 1e-9)
    low, high = np.quantile(kappa, (0.025, 0.975))
    return Agreement(
        float(np.median(kappa)), float(low), float(high),
        sensitivity=float(np.median(passed * right / np.maximum(good, 1e-9))),
        specificity=float(
            np.median((1.0 - passed) * (1.0 - missed) / np.maximum(1.0 - good, 1e-9))
        ),
    )  # fmt: skip


def reliability(doubles: Doubles, draws: int = DRAWS, seed: int = 20) -> Reliability | None:
    """Krippendorff's alpha of labels of two values, None without an answer that has two.

    1 - (pairs that differ) / (pairs that would differ if labels were dealt out by chance): who said
    what does not matter, so that people may come and go. The three kinds of pairs have Jeffreys'
    posterior, over as many even answers as the weighted ones are worth. The correction of alpha for
    small samples is left out; the interval is wider than what it corrects.

    Krippendorff, "Content Analysis", 2004, chapter 11; of two labels each it is the pi of Scott,
    "Reliability of content analysis", Public Opinion Quarterly 19 (1955).
    """
    pairs = np.array([doubles.good, doubles.split, doubles.bad])
    if pairs.sum() <= 0.0 or doubles.squares <= 0.0:
        return None
    size = pairs.sum() ** 2 / doubles.squares
    rng = np.random.default_rng(seed)
    good, split, _ = rng.dirichlet(pairs / pairs.sum() * size + 0.5, draws).T
    share = good + split / 2.0
    alpha = 1.0 - split / np.maximum(2.0 * share * (1.0 - share), 1e-9)
    low, middle, high = np.quantile(alpha, (0.025, 0.5, 0.975))
    return Reliability(float(middle), float(low), float(high), doubles.answers)


def rogan_gladen(
    sample: Sample, known: Calibration, draws: int = DRAWS, seed: int = 20
) -> Estimate:
    """The share of good answers when a labelled set from elsewhere says how the judge errs:
    (pass rate + specificity - 1) / (sensitivity + specificity - 1), within 0 and 1.

    All three vary as in `post_stratified`. It holds as long as the judge errs on live answers as it
    did on that set, which nothing here can check.

    Rogan and Gladen, "Estimating prevalence from the results of a screening test", American Journal
    of Epidemiology 107 (1978).
    """
    rng = np.random.default_rng(seed)
    passed = _share(rng, sample.passed * sample.size, sample.size, draws)
    (k, n), (j, m) = known.sensitivity, known.specificity
    sensitivity, specificity = _share(rng, k, n, draws), _share(rng, j, m, draws)
    power = np.maximum(sensitivity + specificity - 1.0, 1e-6)
    theta = np.clip((passed + specificity - 1.0) / power, 0.0, 1.0)
    low, high = np.quantile(theta, (0.025, 0.975))
    return Estimate(float(np.median(theta)), float(low), float(high))


# --- private -----------------------------------------------------------------------------------


def _factors(sample: Sample, draws: int, seed: int) -> tuple[_Draws, _Draws, _Draws]:
    """Draws of the pass rate, and of the shares of good answers among the passed and the failed."""
    rng = np.random.default_rng(seed)
    return (
        _share(rng, sample.passed * sample.size, sample.size, draws),
        _share(rng, *sample.human_passed, draws),
        _share(rng, *sample.human_failed, draws),
    )


def _share(rng: np.random.Generator, good: float, total: float, draws: int) -> _Draws:
    return rng.beta(good + 0.5, max(total - good, 0.0) + 0.5, draws)
