"""Whether a service tells less about its calls than it did before.

A field that nobody sends is normal: many instrumentations know no first token. A field that was
there and is missing now is a change of the instrumentation, and every objective and detector that
stands on it has gone blind, without anything looking broken. So shares of missing values are
compared with those of the same service a while ago.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import bdtrc

from tocsin.domain.shares import clopper_pearson_upper

_CONFIDENCE = 0.975
_CHANCE = 1e-6
_LEAST_RISE = 0.05
_LEAST_CALLS = 20


@dataclass(frozen=True, slots=True)
class Missing:
    """Of `total` calls that could have told a value, `missing` did not."""

    missing: int
    total: int

    @property
    def share(self) -> float:
        """Share of calls that did not tell; NaN when there were none."""
        return self.missing / self.total if self.total else math.nan


def has_risen(now: Missing, before: Missing) -> bool | None:
    """Whether more is missing now than chance explains, and by at least five percentage points.

    The share before is taken at the upper end of its exact 95 % interval (Clopper and Pearson,
    1934), and the number now must be less likely than one in a million under it. Calls come in
    clumps (one batch job, one client), which makes small rises look unlikely; hence the floor, and
    it takes 20 calls both times. None with fewer: that is unknown.
    """
    if now.total < _LEAST_CALLS or before.total < _LEAST_CALLS:
        return None
    if now.share - before.share < _LEAST_RISE:
        return False
    worst = float(clopper_pearson_upper(before.missing, before.total, _CONFIDENCE))
    return bool(bdtrc(now.missing - 1, now.total, worst) < _CHANCE)
