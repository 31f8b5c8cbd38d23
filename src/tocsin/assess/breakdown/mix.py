"""Whether a rise is everybody failing more, or more of those who always failed more.

    rise = sum over values of (change of its share) x (its mean rate)      the mix
         + sum over values of (its mean share) x (change of its rate)     the rates

The two add up exactly (Kitagawa). A rise that is all mix is nobody's fault: half of the traffic
moved to the slow model. It is said, so that nobody looks for what broke.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.assess.breakdown.cells import Cells, Floats
from tocsin.assess.breakdown.ratio import Counts

MIN_PART = 0.2  # of the rise; less is not worth a sentence


@dataclass(frozen=True, slots=True)
class MixShift:
    """The part of a rise that is due to who calls, and the value whose share moved it most.

    part: of the rise, may be above 1 when rates fell meanwhile. before, after: share of all calls
    that have `value`.
    """

    dimension: str
    part: float
    value: str
    before: float
    after: float


def mix_shift(cells: Cells, counts: Counts) -> MixShift | None:
    """The dimension whose mix explains most of the rise of bad calls per call, None for none.

    >>> cells = Cells.of({"model": ["fast", "slow"]})
    >>> counts = Counts(np.array([1., 40]), np.array([100., 100]),
    ...                 np.array([2., 8]), np.array([200., 20]))
    >>> shift = mix_shift(cells, counts)
    >>> shift.value, round(shift.part, 2), round(shift.before, 2), shift.after
    ('slow', 1.0, 0.09, 0.5)

    Paper: Kitagawa, "Components of a difference between two rates", JASA 50 (1955).
    """
    if not counts.has_baseline or counts.total.sum() <= 0:
        return None
    rise = counts.bad.sum() / counts.total.sum() - counts.usual_bad.sum() / counts.usual_total.sum()
    if rise <= 0:
        return None
    best: MixShift | None = None
    for cuboid in cells.cuboids(1):
        now, then = cuboid.sums(counts.total), cuboid.sums(counts.usual_total)
        rates = _rates(cuboid.sums(counts.bad), now, cuboid.sums(counts.usual_bad), then)
        before, after = then / then.sum(), now / now.sum()
        # Against the mean rate, so that the moves of shares, which add up to 0, have their sign.
        moved = (after - before) * (rates - float(((before + after) / 2) @ rates))
        part = float(moved.sum() / rise)
        if part >= MIN_PART and (best is None or part > best.part):
            most = int(np.argmax(moved))
            name = cuboid.where(most)[0]
            best = MixShift(name[0], part, name[1], float(before[most]), float(after[most]))
    return best


def _rates(bad: Floats, now: Floats, usual_bad: Floats, then: Floats) -> Floats:
    """The mean of the two rates; of a value that was seen in one window only, that one."""
    after = np.divide(bad, now, out=np.full_like(bad, np.nan), where=now > 0)
    before = np.divide(usual_bad, then, out=np.full_like(bad, np.nan), where=then > 0)
    both = np.stack([np.where(np.isnan(after), before, after),
                     np.where(np.isnan(before), after, before)])  # fmt: skip
    return np.asarray(np.nan_to_num(both.mean(axis=0)))
