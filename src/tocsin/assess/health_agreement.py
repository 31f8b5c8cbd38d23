"""Whether people agree with a health score, and which weights they would agree with more.

A score that runs in shadow is held against what people say of it: right, too low, or too high. How
often they agree has an exact interval; whether they lean to one side is an exact sign test. From
enough opinions follow weights that would have met them better, drawn towards the declared ones, and
proposed only when they do better on opinions that they were not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from tocsin.assess.health import HealthConfig
from tocsin.domain.health import Opinion
from tocsin.domain.shares import exact_interval

Floats = npt.NDArray[np.float64]

LEAST = 40  # opinions before weights are suggested
LEAST_OTHER = 8  # of which so many do not agree
MARGIN = 5.0  # points: what a score may be off before people notice
_BLOCKS = 5  # of time, each of which is judged by weights fitted to the others
_PULLS = (0.3, 1.0, 3.0, 10.0, 30.0)
_STEPS = 300


@dataclass(frozen=True, slots=True)
class Rated:
    """A score that somebody had an opinion of. scores: of its components, None where missing."""

    minute: int
    opinion: Opinion
    state: str
    score: float
    scores: Mapping[str, float | None]
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total` with the exact two-sided 95 % interval (Clopper and Pearson, 1934)."""

    count: int
    total: int
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        """With its interval; all of 0 to 1 of none."""
        return cls(count, total, *exact_interval(count, total))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How people found a score. lean: "too_low" or "too_high" when, of those that do not agree,
    surely more say so than not; p_value: of the two-sided exact sign test. by_state: agreement in
    each state that was judged.
    """

    agree: Share
    too_low: Share
    too_high: Share
    by_state: Mapping[str, Share]
    lean: str
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Weights that opinions speak for. loss_before, loss_after: on opinions that they were not
    fitted to, lower is better. used: opinions they rest on. reason: why there are none."""

    weights: Mapping[str, float]
    declared: Mapping[str, float]
    used: int
    loss_before: float | None = None
    loss_after: float | None = None
    reason: str = ""


def agreement(rated: Sequence[Rated]) -> Agreement:
    """Statistics of opinions; those about a score that was unknown are not among them."""
    total = len(rated)
    counts = {kind: sum(one.opinion == kind for one in rated) for kind in _KINDS}
    low, high = counts["too_low"], counts["too_high"]
    p_value = _sign_test(low, high) if low + high else None
    lean = ""
    if p_value is not None and p_value < 0.05:
        lean = "too_low" if low > high else "too_high"
    by_state = {
        state: Share.of(
            sum(one.opinion == "agree" for one in rated if one.state == state),
            sum(one.state == state for one in rated),
        )
        for state in ("ok", "warning", "critical")
        if any(one.state == state for one in rated)
    }
    agree, below, above = (Share.of(counts[kind], total) for kind in _KINDS)
    return Agreement(agree, below, above, by_state, lean, p_value)


def suggested(config: HealthConfig, rated: Sequence[Rated]) -> Suggestion:
    """Weights that would have met the opinions better, if they are surely enough and do.

    A score said to be too low ought to be higher by `MARGIN` points at least, one too high lower,
    and one agreed with the same: an ordinal logistic loss, convex in the weights, plus a pull to
    the declared ones that is chosen by leaving out one block of time after the other. Only of
    weighted sums, and by scores that no critical component held down: there weights decide nothing.
    """
    counting = [one for one in config.components if one.weight > 0 and one.curve]
    total = sum(one.weight for one in counting)
    declared = {one.metric: one.weight / total for one in counting}
    useful = [one for one in rated if not one.is_capped]
    other = sum(one.opinion != "agree" for one in useful)
    reason = ""
    if config.method != "weighted_sum":
        reason = f"only weighted sums have weights to suggest, not {config.method}"
    elif len(counting) < 2:
        reason = "one component alone has no weights"
    elif len(useful) < LEAST or other < LEAST_OTHER:
        reason = (
            f"{len(useful)} opinions, {other} of which do not agree: {LEAST} and {LEAST_OTHER} are"
            " needed"
        )
    if reason:
        return Suggestion({}, declared, len(useful), reason=reason)
    names = [one.metric for one in counting]
    start = np.array([declared[name] for name in names])
    data = _Data.of(names, sorted(useful, key=lambda one: one.minute))
    losses = {pull: _held_out(data, start, pull) for pull in _PULLS}
    pull = min(_PULLS, key=losses.__getitem__)
    before = float(data.losses(start).mean())
    if losses[pull] >= before:
        said = "the declared weights meet opinions that were left out as well as any"
        return Suggestion({}, declared, len(useful), before, losses[pull], said)
    found = _fitted(data, start, pull)
    weights = dict(zip(names, (float(f"{weight:.3f}") for weight in found), strict=True))
    return Suggestion(weights, declared, len(useful), before, losses[pull])


# --------------------------------------------------------------------------------------------

_KINDS: tuple[Opinion, ...] = ("agree", "too_low", "too_high")
_WANTED = {"agree": 0.0, "too_low": 1.0, "too_high": -1.0}


@dataclass(frozen=True, slots=True)
class _Data:
    """scores: [opinion, component], a missing one in place of which the whole stands. was: the
    score that was judged. wanted: +1 higher, -1 lower, 0 the same."""

    scores: Floats
    was: Floats
    wanted: Floats

    @classmethod
    def of(cls, names: Sequence[str], rated: Sequence[Rated]) -> _Data:
        def score(one: Rated, name: str) -> float:
            known = one.scores.get(name)
            return one.score if known is None else known

        return cls(
            np.array([[score(one, name) for name in names] for one in rated]),
            np.array([one.score for one in rated]),
            np.array([_WANTED[one.opinion] for one in rated]),
        )

    def part(self, which: npt.NDArray[np.bool_]) -> _Data:
        return _Data(self.scores[which], self.was[which], self.wanted[which])

    def moves(self, weights: Floats) -> Floats:
        """By how many margins each score would have been another, on its side."""
        moved: Floats = (self.scores @ weights - self.was) / MARGIN
        return moved

    def losses(self, weights: Floats) -> Floats:
        """Of each opinion."""
        moved = self.moves(weights)
        asked = np.logaddexp(0.0, 1.0 - self.wanted * moved)
        found: Floats = np.where(self.wanted == 0, moved**2 / 2, asked)
        return found

    def gradient(self, weights: Floats) -> Floats:
        """Of the mean loss."""
        moved = self.moves(weights)
        asked = -self.wanted / (1.0 + np.exp(self.wanted * moved - 1.0))
        by_move = np.where(self.wanted == 0, moved, asked) / MARGIN
        found: Floats = by_move @ self.scores / len(self.was)
        return found


def _fitted(data: _Data, start: Floats, pull: float) -> Floats:
    """Weights on the simplex, by projected gradients with a step that never overshoots."""
    curvature = np.linalg.norm(data.scores / MARGIN, 2) ** 2 / len(data.was) + pull
    weights = start
    for _ in range(_STEPS):
        slope = data.gradient(weights) + pull * (weights - start)
        weights = _on_simplex(weights - slope / curvature)
    return weights


def _held_out(data: _Data, start: Floats, pull: float) -> float:
    """Mean loss of opinions in blocks of time by weights that were fitted to the other blocks."""
    block = np.arange(len(data.was)) * _BLOCKS // len(data.was)
    parts = [
        data.part(block == one).losses(_fitted(data.part(block != one), start, pull))
        for one in range(_BLOCKS)
    ]
    return float(np.concatenate(parts).mean())


def _on_simplex(weights: Floats) -> Floats:
    """The nearest weights that are not negative and add up to 1.

    Duchi et al., "Efficient projections onto the l1-ball for learning in high dimensions" (2008).
    """
    falling = np.sort(weights)[::-1]
    over = (falling.cumsum() - 1.0) / np.arange(1, len(weights) + 1)
    cut = over[np.flatnonzero(falling > over)[-1]]
    found: Floats = np.maximum(weights - cut, 0.0)
    return found


def _sign_test(low: int, high: int) -> float:
    """Two-sided p-value of so many on either side when both are as likely."""
    return min(1.0, 2.0 * float(bdtr(min(low, high), low + high, 0.5)))
