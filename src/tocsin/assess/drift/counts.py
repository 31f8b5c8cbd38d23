"""Two samples as counts over common bins, and every way of dealing the same values out anew.

All statistics of one feature are functions of two count vectors over bins that depend on the pooled
sample alone. If both samples come from one distribution, which of the pooled values went to which
of them is chance: the counts of the second are a draw without replacement from the pooled counts
(multivariate hypergeometric). Dealing out anew therefore tests any of the statistics exactly, at
any two sample sizes, without touching a row again, and its quantiles are the thresholds that a
statistic has at these sizes: a fixed 0.1 or 0.2 is right at one window size and wrong at others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# From counts [..., bin] of a reference and of a window to the statistic [...].
Statistic = Callable[[Floats, Floats], Floats]

DRAWS = 1999
MOST_BINS = 128
LEVEL = 0.05


@dataclass(frozen=True)
class Binned:
    """Counts of both samples over the same bins.

    edges: upper bounds of all bins but the last, for numbers; labels: values, for categories.
    centres: the mean value of each bin, for numbers.
    """

    reference: Ints
    window: Ints
    edges: Floats | None = None
    centres: Floats | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A statistic of two samples. threshold: what it exceeds in one of twenty cases without drift,
    at these sizes. p: how often it would be at least this large without drift."""

    value: float
    threshold: float
    p: float


def binned_numbers(reference: Floats, window: Floats, bins: int = MOST_BINS) -> Binned:
    """Bins that hold equal parts of the pooled sample; a value of its own each when there are few.

    ValueError for an empty sample or an unknown value.
    """
    if not reference.size or not window.size:
        raise ValueError("drift needs two samples, and one is empty")
    pooled = np.concatenate([reference, window]).astype(np.float64)
    if not np.isfinite(pooled).all():
        raise ValueError("numbers are finite; leave unknown ones out")
    ordered = np.sort(pooled)
    changes = np.flatnonzero(ordered[1:] != ordered[:-1])
    if len(changes) < bins:
        edges = ordered[changes]
    else:
        at = (np.arange(1, bins) * len(ordered)) // bins
        edges = np.unique(ordered[at])
        edges = edges[edges < ordered[-1]]
    sizes = len(edges) + 1
    places = np.searchsorted(edges, pooled, side="left")
    split = len(reference)
    held = np.bincount(places, minlength=sizes)
    sums = np.bincount(places, pooled, sizes)
    return Binned(
        np.bincount(places[:split], minlength=sizes),
        np.bincount(places[split:], minlength=sizes),
        edges,
        sums / np.maximum(held, 1),
    )


def binned_codes(
    reference: npt.NDArray[np.intp], window: npt.NDArray[np.intp], labels: tuple[str, ...]
) -> Binned:
    """One bin for each of `labels`, of which the samples are codes."""
    if not reference.size or not window.size:
        raise ValueError("drift needs two samples, and one is empty")
    size = len(labels)
    counts = [np.bincount(part, minlength=size) for part in (reference, window)]
    return Binned(counts[0], counts[1], labels=labels)


def coarser(counts: Floats, bins: int) -> Floats:
    """Neighbouring bins added up, [..., bin] to at most `bins` of them."""
    have = counts.shape[-1]
    if have <= bins:
        return counts
    starts = (np.arange(bins) * have) // bins
    return np.asarray(np.add.reduceat(counts, starts, axis=-1))


def dealt(pair: Binned, rng: np.random.Generator, draws: int = DRAWS) -> tuple[Floats, Floats]:
    """Counts [draw, bin] of both samples when the pooled values are dealt out anew."""
    pooled = pair.reference + pair.window
    window = rng.multivariate_hypergeometric(
        pooled, int(pair.window.sum()), size=draws, method="marginals"
    )
    return (pooled - window).astype(np.float64), window.astype(np.float64)


def measured(
    pair: Binned, statistic: Statistic, null: tuple[Floats, Floats], level: float = LEVEL
) -> Measured:
    """`statistic` of the two samples, beside its values when there is no drift.

    null: from `dealt`, the same for all statistics of a feature.
    """
    value = float(statistic(pair.reference.astype(float), pair.window.astype(float)))
    return against(value, statistic(*null), level)


def against(value: float, null: Floats, level: float = LEVEL) -> Measured:
    """A value beside the values it has without drift. p is never 0: it counts the draw that is."""
    # Ties that differ by rounding are ties.
    reached = int((null >= value * (1.0 - 1e-9) - 1e-15).sum())
    threshold = float(np.quantile(null, 1.0 - level, method="higher"))
    return Measured(value, threshold, (1 + reached) / (1 + len(null)))
