"""Shares of clusters: which topics grew and which shrank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.chi_square import chi_square
from tocsin.assess.drift.counts import LEVEL, Binned, Floats, Measured, dealt, measured

CLUSTERS = 20
MOST_FITTED = 4000
ROUNDS = 10


@dataclass(frozen=True)
class Clustered:
    """The shares of every cluster in both samples, and the rows of the window nearest to the centre
    of each, `nearest` [cluster, example], -1 where there are fewer."""

    reference: Floats
    window: Floats
    nearest: npt.NDArray[np.intp]
    measured: Measured


def cluster_shares(
    reference: Floats, window: Floats, rng: np.random.Generator, *,
    clusters: int = CLUSTERS, examples: int = 3, level: float = LEVEL,
) -> Clustered:  # fmt: skip
    """Chi-square over the shares of k clusters, and examples of each.

    reference, window: [row, dimension]. Clusters are found in both samples together without looking
    at which a row is from, so that dealing rows out anew tests their shares exactly.

    Assumes: independent rows; that topics are round and alike in size, as k-means does.

    Misleads: with fewer rows than ten a cluster it has little power; use it to name what a distance
    has found, not to find it.

    >>> rng = np.random.default_rng(0)
    >>> old = rng.normal(size=(300, 2))
    >>> new = np.concatenate([old[:200], rng.normal(9, 1, size=(100, 2))])
    >>> found = cluster_shares(old, new, rng, clusters=4)
    >>> grown = np.argmax(found.window - found.reference)
    >>> found.measured.p < 0.01, bool(new[found.nearest[grown][0]].min() > 5)
    (True, True)

    Paper: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28 (1982).
    """
    n = len(reference)
    pooled = np.concatenate([reference, window]).astype(np.float32)
    fitted = pooled
    if len(pooled) > MOST_FITTED:
        fitted = pooled[rng.choice(len(pooled), MOST_FITTED, replace=False)]
    centres = _centres(fitted, min(clusters, len(np.unique(fitted, axis=0))), rng)
    far = _squares(pooled, centres)
    belongs = np.argmin(far, axis=1)
    size = len(centres)
    pair = Binned(
        np.bincount(belongs[:n], minlength=size), np.bincount(belongs[n:], minlength=size)
    )
    nearest = np.full((size, examples), -1, np.intp)
    for cluster in range(size):
        mine = np.flatnonzero(belongs[n:] == cluster)
        order = np.argsort(far[n:][mine, cluster], kind="stable")[:examples]
        nearest[cluster, : len(order)] = mine[order]
    return Clustered(
        pair.reference / n,
        pair.window / len(window),
        nearest,
        measured(pair, chi_square, dealt(pair, rng), level),
    )


def _centres(
    rows: npt.NDArray[np.float32], count: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """k-means: far-apart rows to begin with (k-means++), then ten rounds of Lloyd's."""
    centres = rows[rng.integers(len(rows))][None]
    nearest = _squares(rows, centres)[:, 0]
    while len(centres) < count:
        total = float(nearest.sum(dtype=np.float64))
        chosen = rng.choice(len(rows), p=nearest.astype(np.float64) / total) if total > 0 else 0
        centres = np.concatenate([centres, rows[chosen][None]])
        nearest = np.minimum(nearest, _squares(rows, centres[-1:])[:, 0])
    for _ in range(ROUNDS):
        belongs = np.argmin(_squares(rows, centres), axis=1)
        for cluster in range(len(centres)):
            mine = rows[belongs == cluster]
            if len(mine):
                centres[cluster] = mine.mean(axis=0)
    return np.asarray(centres)


def _squares(
    rows: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    far = (
        np.einsum("ij,ij->i", rows, rows)[:, None]
        - 2 * rows @ centres.T
        + np.einsum("ij,ij->i", centres, centres)[None]
    )
    return np.asarray(np.maximum(far, 0.0), dtype=np.float32)
