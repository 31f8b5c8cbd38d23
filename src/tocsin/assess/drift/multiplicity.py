"""Many features, one alarm: which of many p-values count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def benjamini_hochberg(p: Sequence[float]) -> npt.NDArray[np.float64]:
    """Adjusted p-values: those at most q make discoveries of which at most a share q is false.

    Assumes: independent or positively dependent features. When nothing drifted, an alarm at q is
    false with probability q whatever the number of features, which is what keeps a table of fifty
    columns from crying wolf every other day.

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]

    Paper: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)[::-1]
    ranks = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum.accumulate(values[order] * len(values) / ranks)
    return np.minimum(adjusted, 1.0)
