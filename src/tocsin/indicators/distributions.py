"""Histograms as OpenTelemetry and Prometheus send them: how they subtract, add, and what they say.

Two forms arrive. *Explicit* bounds are chosen by whoever made the histogram: a quantile is known to
lie between two of them and no closer, however many values there were. *Exponential* buckets grow by
base = 2^(2^-scale): a quantile is right to a factor of sqrt(base), which is 4.4 % at scale 3 and
0.3 % at scale 7. A sender lowers the scale when values spread, so that the histogram before and the
one after differ in scale; both are brought to the lower one, where pairs of buckets fall together
exactly. Neither form is turned into the buckets of calls (`domain.buckets`): that would add the
errors of both.

Source: opentelemetry-proto `metrics.proto`, the data model of exponential histograms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile: the best guess, and the bucket it lies in. high is inf in the last bucket.

    In a bucket without an upper end the guess is its lower end: it is at least that.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Explicit:
    """`counts[i]` values in (bounds[i-1], bounds[i]]; the last bucket has no upper end."""

    bounds: tuple[float, ...]
    counts: Counts

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def minus(self, earlier: Explicit) -> Explicit | None:
        """What came after `earlier`; None when that is not an earlier state of this one."""
        if self.bounds != earlier.bounds or len(self.counts) != len(earlier.counts):
            return None
        counts = self.counts - earlier.counts
        return None if (counts < 0).any() else Explicit(self.bounds, counts)

    def plus(self, other: Explicit) -> Explicit | None:
        """Both together; None when their bounds differ."""
        if self.bounds != other.bounds or len(self.counts) != len(other.counts):
            return None
        return Explicit(self.bounds, self.counts + other.counts)

    def quantile(self, q: float) -> Estimate | None:
        """Nearest rank, interpolated inside of its bucket; None without values or bounds.

        Values are taken to be positive where the first bound is.
        """
        if self.total == 0 or not self.bounds:
            return None
        place, into = _rank(self.counts, q)
        first = 0.0 if self.bounds[0] > 0 else -math.inf
        low = self.bounds[place - 1] if place else first
        high = self.bounds[place] if place < len(self.bounds) else math.inf
        if math.isinf(high):
            return Estimate(low, low, high)
        guess = high if math.isinf(low) else low + (high - low) * into
        return Estimate(guess, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Exponential:
    """`counts[i]` values in (base^(offset+i), base^(offset+i+1)]; `zeros` around 0.

    negatives, negative_offset: the same for values below 0, by size.
    """

    scale: int
    zeros: int
    offset: int
    counts: Counts
    negative_offset: int
    negatives: Counts

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.counts.sum() + self.negatives.sum()) + self.zeros

    def minus(self, earlier: Exponential) -> Exponential | None:
        """What came after `earlier`; None when that is not an earlier state of this one."""
        found = _combined(self, earlier, -1)
        is_less = found.zeros < 0 or (found.counts < 0).any() or (found.negatives < 0).any()
        return None if is_less else found

    def plus(self, other: Exponential) -> Exponential | None:
        """Both together, at the lower scale of the two."""
        return _combined(self, other, 1)

    def coarser(self, scale: int) -> Exponential:
        """The same at a scale that is not above its own: 2^(difference) buckets become one."""
        if scale == self.scale:
            return self
        offset, counts = _merged(self.offset, self.counts, self.scale - scale)
        below, negatives = _merged(self.negative_offset, self.negatives, self.scale - scale)
        return Exponential(scale, self.zeros, offset, counts, below, negatives)

    def quantile(self, q: float) -> Estimate | None:
        """Nearest rank, at the geometric middle of its bucket; None without values."""
        if self.total == 0:
            return None
        ordered = np.concatenate((self.negatives[::-1], [self.zeros], self.counts))
        place = _rank(ordered, q)[0] - len(self.negatives)
        if place == 0:
            return Estimate(0.0, 0.0, 0.0)
        if place > 0:
            return self._bucket(self.offset + place - 1)
        inside = self._bucket(self.negative_offset - place - 1)
        return Estimate(-inside.value, -inside.high, -inside.low)

    def _bucket(self, index: int) -> Estimate:
        step = 2.0**-self.scale
        return Estimate(
            _power((index + 0.5) * step), _power(index * step), _power((index + 1) * step)
        )


Distribution = Explicit | Exponential


def added(first: Distribution | None, second: Distribution | None) -> Distribution | None:
    """Both together; None when either is unknown or they cannot be added."""
    if isinstance(first, Explicit) and isinstance(second, Explicit):
        return first.plus(second)
    if isinstance(first, Exponential) and isinstance(second, Exponential):
        return first.plus(second)
    return None


def since(later: Distribution | None, earlier: Distribution | None) -> Distribution | None:
    """What came after `earlier`; None when that is not an earlier state of `later`."""
    if isinstance(later, Explicit) and isinstance(earlier, Explicit):
        return later.minus(earlier)
    if isinstance(later, Exponential) and isinstance(earlier, Exponential):
        return later.minus(earlier)
    return None


# --- private -----------------------------------------------------------------------------------


def _rank(counts: Counts, q: float) -> tuple[int, float]:
    """The bucket of the nearest-rank quantile, and how far into it, 0 to 1."""
    cumulative = counts.cumsum()
    rank = max(math.ceil(q * int(cumulative[-1])), 1)
    place = int(np.searchsorted(cumulative, rank))
    before = int(cumulative[place - 1]) if place else 0
    return place, (rank - before) / int(counts[place])


def _power(exponent: float) -> float:
    return 2.0**exponent if exponent < 1024 else math.inf


def _merged(offset: int, counts: Counts, halvings: int) -> tuple[int, Counts]:
    if not len(counts):
        return 0, counts
    indices = (offset + np.arange(len(counts))) >> halvings
    merged = np.zeros(int(indices[-1] - indices[0]) + 1, np.int64)
    np.add.at(merged, indices - indices[0], counts)
    return int(indices[0]), merged


def _combined(first: Exponential, second: Exponential, sign: int) -> Exponential:
    scale = min(first.scale, second.scale)
    a, b = first.coarser(scale), second.coarser(scale)
    offset, counts = _aligned(a.offset, a.counts, b.offset, b.counts, sign)
    below, negatives = _aligned(
        a.negative_offset, a.negatives, b.negative_offset, b.negatives, sign
    )
    return replace(
        a, zeros=a.zeros + sign * b.zeros, offset=offset, counts=counts,
        negative_offset=below, negatives=negatives,
    )  # fmt: skip


def _aligned(
    at: int, counts: Counts, other_at: int, other: Counts, sign: int
) -> tuple[int, Counts]:
    if not len(other):
        return at, counts
    if not len(counts):
        return other_at, sign * other
    start = min(at, other_at)
    stop = max(at + len(counts), other_at + len(other))
    whole = np.zeros(stop - start, np.int64)
    whole[at - start : at - start + len(counts)] += counts
    whole[other_at - start : other_at - start + len(other)] += sign * other
    return start, whole
