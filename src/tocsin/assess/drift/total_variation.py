"""Total variation distance: the share that moved."""

from __future__ import annotations

import numpy as np

from tocsin.assess.drift.counts import Floats


def total_variation(reference: Floats, window: Floats) -> Floats:
    """The share of the window that would have to change its bin to look like the reference.

    Assumes: independent values. Of all statistics here the one a person can picture, which is why
    the live detector asks it how much moved, after another has said that something did.

    Misleads: upwards. Without drift, k bins of n values have about sqrt(k / n) / 3 of it.

    >>> total_variation(np.array([5., 5.]), np.array([8., 2.])).round(3)
    np.float64(0.3)

    Source: Levin and Peres, "Markov Chains and Mixing Times" (2017), chapter 4.
    """
    p, q = (counts / counts.sum(axis=-1, keepdims=True) for counts in (reference, window))
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)[()]
