"""Distance of centroids, as Arize defines embedding drift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.counts import LEVEL, Floats, Measured, against

DRAWS = 999
MOST_DEALT = 4000  # rows of both samples together up to which they are dealt out
MOST_COVARIANCE = 4000  # rows whose spread is taken when there are more
_TOGETHER = 128  # rows whose sum is taken in the precision that they have


def centroid(
    reference: Floats, window: Floats, rng: np.random.Generator, level: float = LEVEL
) -> Measured:
    """Euclidean distance between the mean vector of the reference and that of the window.

    reference, window: [row, dimension].

    Null: both samples dealt out anew, exactly, up to a few thousand rows. With more, the difference
    of two means is normal and only its covariance matters, which is estimated from some of the
    rows: the distance is then the root of a sum of chi-squares weighted by its eigenvalues.

    Assumes: independent rows. A conversation of forty turns is not forty rows.

    Misleads: a fixed threshold does. The distance without drift shrinks with the root of the window
    (0.14 at 50 rows, 0.03 at 1,500 for sentences), and ten per cent of traffic on a new topic is
    near 0.07. It does not see what leaves the mean where it is: half of the traffic moving left and
    half right. Energy distance sees that.

    >>> rng = np.random.default_rng(0)
    >>> here, there = rng.normal(size=(200, 8)), rng.normal(0.5, 1, size=(200, 8))
    >>> centroid(here, there, rng).p < 0.01
    True

    Source: Arize documentation, "Embedding drift" (Euclidean distance of averaged vectors); Chen
    and Qin, "A two-sample test for high-dimensional data", Ann. Stat. 38 (2010), on its null.
    """
    n, m = len(reference), len(window)
    apart = _mean(window) - _mean(reference)
    value = float(np.sqrt(apart @ apart))
    null = (
        _dealt(reference, window, rng) if n + m <= MOST_DEALT else _normal(reference, window, rng)
    )
    return against(value, null, level)


def _mean(rows: Floats) -> Floats:
    """The mean vector in 64 bits. A few rows lose nothing when they are summed up in the 32 bits
    that embeddings come in, and widening every row takes four times as long."""
    whole = len(rows) - len(rows) % _TOGETHER
    parts = rows[:whole].reshape(-1, _TOGETHER, rows.shape[1]).sum(axis=1)
    total = parts.sum(axis=0, dtype=np.float64) + rows[whole:].sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(rows), np.float64)


def _dealt(reference: Floats, window: Floats, rng: np.random.Generator) -> Floats:
    pooled = np.concatenate([reference, window]).astype(np.float32)
    pooled -= pooled.mean(axis=0)
    # The pooled mean is 0, so that one sample's mean gives the other's.
    n, m = len(reference), len(window)
    sums = _chosen(len(pooled), m, rng) @ pooled
    return np.asarray(np.sqrt((sums.astype(np.float64) ** 2).sum(axis=1)) * (1 / m + 1 / n))


def _chosen(rows: int, m: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """[draw, row]: 1 for the m rows that a draw puts into the window."""
    order = np.argsort(rng.random((DRAWS, rows), dtype=np.float32), axis=1)[:, :m]
    chosen = np.zeros((DRAWS, rows), np.float32)
    np.put_along_axis(chosen, order, np.float32(1.0), axis=1)
    return chosen


def _normal(reference: Floats, window: Floats, rng: np.random.Generator) -> Floats:
    spread = np.zeros((reference.shape[1], reference.shape[1]))
    for sample in (reference, window):
        rows = sample
        if len(sample) > MOST_COVARIANCE:
            rows = sample[rng.choice(len(sample), MOST_COVARIANCE, replace=False)]
        centred = (rows - rows.mean(axis=0)).astype(np.float32)
        spread += (centred.T @ centred).astype(np.float64) / (len(rows) - 1) / len(sample)
    weights = np.maximum(np.linalg.eigvalsh(spread), 0.0)
    return np.asarray(np.sqrt(rng.standard_normal((DRAWS, len(weights))) ** 2 @ weights))
