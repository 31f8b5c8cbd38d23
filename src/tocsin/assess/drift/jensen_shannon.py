"""Jensen-Shannon distance."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from tocsin.assess.drift.counts import Floats


def jensen_shannon(reference: Floats, window: Floats) -> Floats:
    """Square root of the Jensen-Shannon divergence in bits: from 0 to 1, a metric.

    Assumes: independent values. Needs no smoothing: a bin that is empty in one sample is fine.

    Misleads: like PSI, it knows no order of bins, and it grows as windows shrink (with a
    hundred categories it is near 0.5 at 100 values without any drift).

    >>> jensen_shannon(np.array([5., 5.]), np.array([5., 5.]))
    np.float64(0.0)
    >>> jensen_shannon(np.array([10., 0.]), np.array([0., 10.]))
    np.float64(1.0)

    Paper: Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37
    (1991); Endres and Schindelin, "A new metric for probability distributions", ibid. 49 (2003).
    """
    p, q = (_shares(counts) for counts in (reference, window))
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / (2 * np.log(2))
    return np.asarray(np.sqrt(np.maximum(divergence, 0.0)))[()]


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
