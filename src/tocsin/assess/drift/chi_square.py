"""Pearson's chi-square."""

from __future__ import annotations

import numpy as np

from tocsin.assess.drift.counts import Floats


def chi_square(reference: Floats, window: Floats) -> Floats:
    """Pearson's statistic of the table of two samples by categories.

    Assumes: independent values. The rule that every cell should expect five does not apply: the
    null is dealt out, not read from a table, and holds for the rarest category.

    Misleads: with very many rows any difference is certain, however small. Look at the shares of
    the categories that moved before anything is done about it.

    >>> chi_square(np.array([10., 10.]), np.array([15., 5.])).round(2)
    np.float64(2.67)

    Paper: Pearson, "On the criterion that a given system of deviations ...", Phil. Mag. 50 (1900).
    """
    n, m = (counts.sum(axis=-1, keepdims=True) for counts in (reference, window))
    pooled = reference + window
    apart = (np.sqrt(m / n) * reference - np.sqrt(n / m) * window) ** 2
    return np.asarray(np.divide(apart, pooled, out=np.zeros_like(apart), where=pooled > 0)
                      .sum(axis=-1))[()]  # fmt: skip
