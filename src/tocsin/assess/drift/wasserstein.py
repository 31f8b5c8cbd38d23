"""Wasserstein distance."""

from __future__ import annotations

import numpy as np

from tocsin.assess.drift.counts import Floats, Statistic


def wasserstein(centres: Floats) -> Statistic:
    """How far values have to be moved, on average, to make one sample of the other; in their unit.

    centres: the mean value of each bin, in order.

    Assumes: independent values; that differences of values mean something (seconds, tokens; not
    codes). Within a bin values count as their mean.

    Misleads: one outlier a thousand times as large is a shift of the whole by its share of that.
    Its threshold then comes from the same outlier, so it asks for more, not for less.

    >>> distance = wasserstein(np.array([1., 2., 4.]))
    >>> distance(np.array([4., 4., 0.]), np.array([0., 4., 4.]))
    np.float64(1.5)

    Paper: Ramdas, Garcia Trillos and Cuturi, "On Wasserstein two-sample testing and related
    families of nonparametric tests", Entropy 19 (2017).
    """
    gaps = np.diff(centres)

    def distance(reference: Floats, window: Floats) -> Floats:
        p, q = (
            counts.cumsum(axis=-1) / counts.sum(axis=-1, keepdims=True)
            for counts in (reference, window)
        )
        return np.asarray((np.abs(p - q)[..., :-1] * gaps).sum(axis=-1))[()]

    return distance
