"""Evidence that may be looked at after every request: e-values and confidence sequences.

A z-test that is asked again and again is wrong sooner or later: of gates that compare two equal
arms at each of 200 looks, two in five raise an alarm. An e-value is a bet against the hypothesis
that both arms are equal. Its expectation under that hypothesis is at most 1 whenever one stops, so
that it exceeds 1/alpha with a probability of at most alpha, however often one looks (Ville 1939).

Two of them, whose mean is one again:

- `exact`: for rates, at any sample size. Turner, Ly and Gruenwald, "Generic E-variables for exact
  sequential k-sample tests" (2024): every batch is scored by the rates of the batches before it,
  against one rate for both arms.
- `mixture`: for means and rates with many events. The mixture SPRT of Robbins (1970) on the
  difference of means with its estimated variance (Johari et al. 2017; asymptotic as in Waudby-Smith
  et al. 2024), averaged over effects of a quarter of the margin to eight times of it.

All counts are of independent units: requests, or sessions where requests of one session are alike.
Of a rate a session's value is the share of its requests. Both hold for shares too: the likelihood
ratio is convex in the value, so that a share has at most the expectation of the coin with its mean,
and p (1 - p) is the largest variance that values between 0 and 1 with mean p can have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# What each of SCALES gets of the error probability of a confidence sequence: most goes to the one
# that proves soonest that a candidate is not worse by the margin, a little to the others, without
# which a difference of many margins would stand beside an interval that holds 0 for a long time.
_SHARES = (0.05, 0.75, 0.05, 0.05, 0.05, 0.05)
_LEAST_RATE = 1e-6


@dataclass(frozen=True, slots=True)
class Sums:
    """What is kept of one arm of one metric: units, their sum and their sum of squares.

    Of a rate the values are 0 and 1.
    """

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.n - other.n, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> float:
        """Mean of the units; 0 of none."""
        return self.total / self.n if self.n else 0.0

    def variance_of_mean(self, *, is_rate: bool) -> float:
        """Estimated variance of `mean`; of a rate smoothed, so that none of n is not certainty."""
        if is_rate:
            p = (self.total + 0.5) / (self.n + 1)
            return p * (1 - p) / max(self.n, 1)
        if self.n < 2:
            return math.inf
        spread = self.squares - self.total * self.total / self.n
        return max(spread, 0.0) / (self.n - 1) / self.n


NOTHING = Sums()


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus baseline: `d` and the variance `v` of its estimate."""

    d: float
    v: float


def difference(candidate: Sums, baseline: Sums, *, is_rate: bool) -> Difference:
    """The difference of two arms."""
    v = candidate.variance_of_mean(is_rate=is_rate) + baseline.variance_of_mean(is_rate=is_rate)
    return Difference(candidate.mean - baseline.mean, v)


def mixture(found: Difference, scale: float) -> float:
    """Log of the mean e-value over effects around `scale`, which is above 0."""
    if not 0 < found.v < math.inf:
        return 0.0
    logs = [_log_e(found, scale * factor) for factor in SCALES]
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs) / len(logs))


def _log_e(found: Difference, tau: float) -> float:
    v, spread = found.v, found.v + tau * tau
    return 0.5 * math.log(v / spread) + tau * tau * found.d**2 / (2 * v * spread)


def half_width(v: float, margin: float, alpha: float) -> float:
    """Half the width of a confidence sequence: true at all looks together with 1 - alpha.

    The narrowest of one sequence for each of `SCALES` times the margin (the boundary of a normal
    mixture, Robbins 1970), which share alpha among them. v: variance of the estimate.
    """
    if not 0 < v < math.inf:
        return math.inf
    return min(
        _boundary(v, margin * factor, alpha * share)
        for factor, share in zip(SCALES, _SHARES, strict=True)
    )


def _boundary(v: float, tau: float, alpha: float) -> float:
    """Where the bet on effects around tau against a difference of 0 is worth 1 / alpha."""
    spread = v + tau * tau
    return math.sqrt(2 * v * spread / tau**2 * math.log(math.sqrt(spread / v) / alpha))


def exact_step(candidate: Sums, baseline: Sums, new_candidate: Sums, new_baseline: Sums) -> float:
    """Log of the factor by which one batch of a rate multiplies the exact e-value.

    candidate, baseline: everything before the batch. A batch of one arm alone tells nothing.
    """
    n_c, n_b = new_candidate.n, new_baseline.n
    if not n_c or not n_b:
        return 0.0
    p_c, p_b = _guess(candidate), _guess(baseline)
    p_0 = (n_c * p_c + n_b * p_b) / (n_c + n_b)
    k_c, k_b = new_candidate.total, new_baseline.total
    told = _log_likelihood(k_c, n_c, p_c) + _log_likelihood(k_b, n_b, p_b)
    return told - _log_likelihood(k_c + k_b, n_c + n_b, p_0)


def _guess(before: Sums) -> float:
    """The rate by what came before: the mean of Beta(1/2, 1/2) after it."""
    return (before.total + 0.5) / (before.n + 1)


def _log_likelihood(k: float, n: int, p: float) -> float:
    p = min(max(p, _LEAST_RATE), 1 - _LEAST_RATE)
    return k * math.log(p) + (n - k) * math.log1p(-p)


def mean_of(logs: tuple[float, float]) -> float:
    """Log of the mean of two e-values given by their logs."""
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs) / 2)
