"""Kolmogorov-Smirnov distance."""

from __future__ import annotations

import numpy as np

from tocsin.assess.drift.counts import Floats


def kolmogorov_smirnov(reference: Floats, window: Floats) -> Floats:
    """The largest difference of the two distribution functions, from 0 to 1.

    Assumes: independent values; an order among them. Over at most 128 bins of the pooled sample it
    misses at most 1/128 of the distance that all values would show, and ties, which make the usual
    tables conservative for token counts, are dealt out like everything else.

    Misleads: it looks at the middle. A change of the last per cent moves it by at most 0.01: use
    Wasserstein for tails.

    >>> kolmogorov_smirnov(np.array([5., 5.]), np.array([8., 2.]))
    np.float64(0.3)

    Paper: Smirnov, "Table for estimating the goodness of fit of empirical distributions", Ann.
    Math. Stat. 19 (1948).
    """
    p, q = (
        counts.cumsum(axis=-1) / counts.sum(axis=-1, keepdims=True)
        for counts in (reference, window)
    )
    return np.asarray(np.abs(p - q).max(axis=-1)).round(12)[()]
