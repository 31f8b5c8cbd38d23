"""Population stability index."""

from __future__ import annotations

import numpy as np

from tocsin.assess.drift.counts import Floats


def psi(reference: Floats, window: Floats) -> Floats:
    """Sum over bins of (q - p) ln(q / p): symmetric relative entropy of two histograms.

    Assumes: independent values, and bins that mean the same in both samples. Half a count is added
    to every bin, so that an empty one does not make it infinite. Numbers come in ten bins that hold
    equal parts of the pooled sample, not of the reference as elsewhere; values differ little.

    Misleads: by the folklore bands (0.1 "some", 0.25 "much"). Without any drift ten bins have a
    mean of about 9 (1/n + 1/m): 0.18 at two samples of 100, 0.0002 at 100,000. It is compared with
    its own null here. It does not know that bins lie side by side, so that a small shift of
    everything looks like noise in ten places: Kolmogorov-Smirnov sees that better.

    >>> psi(np.array([50., 50.]), np.array([50., 50.])).round(3)
    np.float64(0.0)
    >>> psi(np.array([90., 10.]), np.array([50., 50.])).round(2)
    np.float64(0.85)

    Paper: Yurdakul, "Statistical properties of population stability index" (2018), for its null;
    Kullback and Leibler, "On information and sufficiency", Ann. Math. Stat. 22 (1951).
    """
    p, q = (_shares(counts) for counts in (reference, window))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))[()]


def _shares(counts: Floats) -> Floats:
    smooth = counts + 0.5
    return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True))
