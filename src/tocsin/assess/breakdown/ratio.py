"""Which slices explain a rise in bad calls: failed ones, badly rated ones, slow ones.

Request-level risk ratios: a slice matters as far as it holds a good part of the bad calls that are
too many, and as far as its calls are bad more often than all others, both than they were and than
the others are. Real slices hold a handful of requests, which is why methods that judge leaf by leaf
collapse on them; here each slice is judged by its own sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import pdtrc

from tocsin.assess.breakdown.cells import MOST_DIMENSIONS, Cells, Cuboid, Floats, Where

MIN_SUPPORT = 0.2  # of the bad calls, and of those that are too many
MIN_RATIO = 1.5  # times as often bad as all others
SIGNIFICANCE = 0.05  # over all slices together
# A part moved with the rest of its whole when it went at least this far, on a log scale.
ALIKE = 0.25
KEPT = 0.5  # of the excess: a part with less is not what a whole is about
_PRIOR_CALLS = 5.0


@dataclass(frozen=True)
class Counts:
    """Calls and bad calls [cell] of the window in question, and of the one it is compared with.

    Without a baseline the slices are compared with one another only.
    """

    bad: Floats
    total: Floats
    usual_bad: Floats = field(default_factory=lambda: np.zeros(0))
    usual_total: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def has_baseline(self) -> bool:
        """Whether there is anything to compare with."""
        return bool(self.usual_total.size and self.usual_total.sum() > 0)

    def without(self, cells: npt.NDArray[np.bool_]) -> Counts:
        """The counts with nothing in `cells`: of two windows or of one."""
        parts = (self.bad, self.total, self.usual_bad, self.usual_total)
        return Counts(*(np.where(cells, 0.0, part) if part.size else part for part in parts))


@dataclass(frozen=True, slots=True)
class Suspect:
    """A slice that explains a rise.

    bad, total: its calls now. expected: bad calls if it were as before (as all, without a
    baseline). support: its part of the bad calls that are too many. ratio: how many times as often
    its calls are bad as all others'; infinite when no other call was bad. score: what it is ranked
    by.
    """

    where: Where
    bad: float
    total: float
    expected: float
    support: float
    ratio: float
    score: float


@dataclass(frozen=True)
class _Candidate:
    suspect: Suspect
    cuboid: Cuboid
    number: int

    @property
    def excess(self) -> float:
        return self.suspect.bad - self.suspect.expected


def suspects(
    cells: Cells, counts: Counts, *, most: int = 3, dimensions: int = MOST_DIMENSIONS
) -> tuple[Suspect, ...]:
    """The slices that explain the bad calls, the best first.

    What a slice explains is taken out before the next one is looked for: most slices stand out only
    because they overlap with the cause.

    >>> cells = Cells.of({"model": ["a", "a", "b", "b"], "region": ["eu", "us", "eu", "us"]})
    >>> counts = Counts(np.array([2., 1, 90, 2]), np.array([500., 500, 300, 500]))
    >>> [s.where for s in suspects(cells, counts)]
    [(('model', 'b'), ('region', 'eu'))]

    Paper: Li et al., "Constructing large-scale real-world benchmark datasets for AIOps" and the
    incidents of RobustSpot (Li et al., ISSRE 2021), on which `benchmarks rootcause` measures it;
    Tan et al., "Introduction to Data Mining" (2005), chapter 5, on support and lift.
    """
    cuboids = list(cells.cuboids(dimensions))
    first = _Whole.of(cells, counts)
    told: list[Suspect] = []
    while len(told) < most:
        whole = _Whole.of(cells, counts)
        found = _candidates(cuboids, counts, whole, first)
        if not found:
            break
        best = _cause(found, whole)
        told.append(best.suspect)
        counts = counts.without(best.cuboid.members(best.number))
    return tuple(told)


@dataclass(frozen=True, slots=True)
class _Whole:
    """All calls together. expected: bad calls if every slice were as before."""

    bad: float
    total: float
    expected: float

    @classmethod
    def of(cls, cells: Cells, counts: Counts) -> _Whole:
        sums = [_expected(cuboid, counts).sum() for cuboid in cells.cuboids(1)]
        bad, total = float(counts.bad.sum()), float(counts.total.sum())
        return cls(bad, total, float(np.mean(sums)) if sums else bad)


def _candidates(
    cuboids: Sequence[Cuboid], counts: Counts, whole: _Whole, first: _Whole
) -> Mapping[Where, _Candidate]:
    """Every slice that holds enough, differs enough, and is not chance.

    whole: the calls that no slice explains yet, among which slices are compared. first: all calls,
    of which a slice must hold enough.
    """
    tried = sum(min(cuboid.size, len(cuboid.slice_of)) for cuboid in cuboids)
    found = {}
    for cuboid in cuboids:
        bad, total = cuboid.sums(counts.bad), cuboid.sums(counts.total)
        expected = _expected(cuboid, counts)
        others = _ratio(bad, total, whole.bad - bad, whole.total - total)
        if counts.has_baseline:
            too_many = max(first.bad - first.expected, _TINY)
            support = np.clip((bad - expected) / too_many, 0.0, 1.5)
            before = _ratio(bad, expected, whole.bad - bad, whole.expected - expected)
            ratio = np.minimum(others, before)
        else:
            support, ratio = bad / max(first.bad, _TINY), others
        usual = np.maximum((whole.bad - bad) / np.maximum(whole.total - total, 1.0) * total, _TINY)
        chance = pdtrc(np.maximum(bad - 1.0, 0.0), np.maximum(usual, 0.0)) * tried
        holds = (support >= MIN_SUPPORT) & (bad > 0) & (bad >= MIN_SUPPORT * first.bad)
        apart = (total < whole.total) & (ratio >= MIN_RATIO) & (chance < SIGNIFICANCE)
        score = support * np.log(np.maximum(ratio, 1.0))
        for number in np.flatnonzero(holds & apart):
            inside, outside = bad[number] / total[number], whole.bad - bad[number]
            risk = math.inf
            if outside > 0.5:
                risk = float(inside / (outside / (whole.total - total[number])))
            suspect = Suspect(
                cuboid.where(int(number)), float(bad[number]), float(total[number]),
                float(expected[number]), float(min(support[number], 1.0)), risk,
                float(score[number]),
            )  # fmt: skip
            found[suspect.where] = _Candidate(suspect, cuboid, int(number))
    return found


_TINY = 1e-9


def _expected(cuboid: Cuboid, counts: Counts) -> Floats:
    """Bad calls of every slice if it were as before: its own share, shrunk to that of all calls by
    as much as a few calls weigh."""
    if not counts.has_baseline:
        share_of_all = float(counts.bad.sum()) / max(float(counts.total.sum()), 1.0)
        return cuboid.sums(counts.total) * share_of_all
    rate = counts.usual_bad.sum() / counts.usual_total.sum()
    usual = cuboid.sums(counts.usual_bad) + _PRIOR_CALLS * rate
    share = usual / (cuboid.sums(counts.usual_total) + _PRIOR_CALLS)
    return np.asarray(share * cuboid.sums(counts.total))


def _ratio(bad: Floats, of: Floats, other_bad: Floats, other_of: Floats) -> Floats:
    """How many times as many bad calls there are inside as outside, per call or per expected one.

    Half a call is added to each, so that empty slices do not divide by zero and tiny ones do not
    win.
    """
    inside = (bad + 0.5) / (of + 0.5)
    outside = (np.maximum(other_bad, 0.0) + 0.5) / (np.maximum(other_of, 0.0) + 0.5)
    return np.asarray(inside / outside)


def _cause(found: Mapping[Where, _Candidate], whole: _Whole) -> _Candidate:
    """The best-ranked slice, or the part of it, or the whole around it, that moved as one."""
    best = min(found.values(), key=lambda c: (-c.suspect.score, len(c.suspect.where)))
    for _ in range(2 * MOST_DIMENSIONS):
        narrower = [
            c for c in found.values()
            if set(c.suspect.where) > set(best.suspect.where)
            and len(c.suspect.where) == len(best.suspect.where) + 1
            and c.excess >= KEPT * best.excess and not _alike(best, c, whole)
        ]  # fmt: skip
        wider = [
            c for c in found.values()
            if set(c.suspect.where) < set(best.suspect.where)
            and len(c.suspect.where) == len(best.suspect.where) - 1
            and c.excess > 1.1 * best.excess and _alike(c, best, whole)
        ]  # fmt: skip
        moved = narrower or wider
        if not moved:
            break
        best = max(moved, key=lambda c: c.suspect.score)
    return best


def _alike(outer: _Candidate, inner: _Candidate, whole: _Whole) -> bool:
    """Whether what `outer` has beside `inner` rose like `inner`, and not like everything else."""
    out, part = outer.suspect, inner.suspect
    rest = out.expected - part.expected
    if rest <= _TINY:
        return False

    def rise(bad: float, expected: float) -> float:
        return math.log((max(bad, 0.0) + 0.5) / (max(expected, 0.0) + 0.5))

    elsewhere = rise(whole.bad - out.bad, whole.expected - out.expected)
    beside, inside = rise(out.bad - part.bad, rest), rise(part.bad, part.expected)
    return beside - elsewhere > ALIKE * (inside - elsewhere)
