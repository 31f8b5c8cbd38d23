"""Energy distance and maximum mean discrepancy, with a permutation null."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.drift.counts import LEVEL, Floats, Measured, against

DRAWS = 999
MOST_ROWS = 1000  # of each sample: all pairs are looked at


def energy(
    reference: Floats, window: Floats, rng: np.random.Generator,
    kind: Literal["energy", "mmd"] = "energy", level: float = LEVEL,
) -> Measured:  # fmt: skip
    """How much further apart rows of different samples are than rows of the same one.

    reference, window: [row, dimension]. kind: "energy" takes distances as they are, "mmd" a
    Gaussian kernel whose width is the median distance. Both are 0 only for equal distributions.

    Null: the labels of the rows are dealt out anew over the one matrix of distances.

    Assumes: independent rows. At most a thousand rows of each sample are taken, by chance: the
    cost is quadratic.

    Misleads: in many dimensions all rows are equally far apart, and only large differences are
    seen; the width of the kernel decides what MMD sees, the energy distance has none to choose.

    >>> rng = np.random.default_rng(0)
    >>> narrow, wide = rng.normal(size=(200, 4)), rng.normal(0, 2, size=(200, 4))
    >>> energy(narrow, wide, rng).p < 0.01
    True

    Paper: Szekely and Rizzo, "Energy statistics", J. Stat. Plan. Inference 143 (2013); Gretton et
    al., "A kernel two-sample test", JMLR 13 (2012); Sejdinovic et al., Ann. Stat. 41 (2013), that
    the two are one.
    """
    a, b = (_some(rows, rng) for rows in (reference, window))
    n, m = len(a), len(b)
    pooled = np.concatenate([a, b]).astype(np.float32)
    pooled -= pooled.mean(axis=0)
    apart = _distances(pooled)
    if kind == "mmd":
        width = float(np.median(apart[apart > 0])) if apart.any() else 1.0
        likeness = np.exp(-(apart**2) / np.float32(2 * width**2))
    else:
        likeness = -apart
    weights = np.full((n + m, DRAWS + 1), np.float32(1 / n))
    weights[n:, 0] = -np.float32(1 / m)
    order = np.argsort(rng.random((n + m, DRAWS), dtype=np.float32), axis=0)[:m]
    np.put_along_axis(weights[:, 1:], order, -np.float32(1 / m), axis=0)
    values = np.einsum("ij,ij->j", weights, likeness @ weights, dtype=np.float64)
    distances = np.sqrt(np.maximum(values, 0.0))
    return against(float(distances[0]), distances[1:], level)


def _some(rows: Floats, rng: np.random.Generator) -> Floats:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[rng.choice(len(rows), MOST_ROWS, replace=False)]


def _distances(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    squares = np.einsum("ij,ij->i", rows, rows)
    apart = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(apart, 0.0)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0)), dtype=np.float32)
