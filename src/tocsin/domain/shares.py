"""How sure a share is that was counted: exact bounds, right at six counts and at six million.

C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
of the binomial", Biometrika 26 (1934).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

Floats = npt.NDArray[np.float64]


def clopper_pearson_lower(
    bad: npt.ArrayLike, total: npt.ArrayLike, confidence: npt.ArrayLike = 0.95
) -> Floats:
    """One-sided exact lower bound of a share; 0 where nothing was bad or nothing was counted.

    At most 1 - confidence of such bounds lie above the true share, at any n.
    """
    k, n = np.broadcast_arrays(np.asarray(bad, np.float64), np.asarray(total, np.float64))
    some = k > 0
    bound = betaincinv(
        np.where(some, k, 1.0), np.maximum(n - k, 0.0) + 1.0, 1.0 - np.asarray(confidence)
    )
    return np.asarray(np.where(some, bound, 0.0), np.float64)


def clopper_pearson_upper(
    bad: npt.ArrayLike, total: npt.ArrayLike, confidence: npt.ArrayLike = 0.95
) -> Floats:
    """One-sided exact upper bound of a share; 1 where everything was bad or nothing was counted."""
    k, n = np.broadcast_arrays(np.asarray(bad, np.float64), np.asarray(total, np.float64))
    return 1.0 - clopper_pearson_lower(n - k, n, confidence)


def exact_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two-sided interval of a share: as much is left out beyond either end; (0, 1) of none."""
    one_sided = (1.0 + confidence) / 2.0
    low = float(clopper_pearson_lower(count, total, one_sided))
    return low, float(clopper_pearson_upper(count, total, one_sided))
