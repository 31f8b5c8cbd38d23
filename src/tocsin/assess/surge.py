"""Surges that last: the count scan at the judged minute and at the minutes before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.assess.baseline import Usual
from tocsin.assess.ring import Counts, MinuteRing, Rows
from tocsin.assess.scan import LATEST, WIDTHS, Bools, Limits, Scores, scan


@dataclass(frozen=True, slots=True)
class Surge:
    """The strongest window of one series: its counts, width in minutes, and rho.

    score: the evidence, the weakest of the minutes that it lasted.
    """

    row: int
    width: int
    bad: int
    total: int
    score: float
    rho: float


def persistent_surges(
    ring: MinuteRing,
    rows: Rows,
    end: int,
    usual: Usual,
    limits: Limits,
    persistence: npt.NDArray[np.int64],
    widths: tuple[int, ...] = WIDTHS,
) -> tuple[list[Surge], Bools]:
    """Surges over windows ending at minute `end` (exclusive), and which rows had no calls at all
    in the last twelve minutes.

    usual, limits, persistence: one entry per entry of `rows`; `Surge.row` counts in the same way. A
    surge must have been one at each of the last `persistence` minutes. widths: the first few of
    WIDTHS, three at least.
    """
    counts = _counts(ring, rows, end, widths)
    quiet: Bools = counts[widths.index(LATEST), 1] == 0
    rho = usual.rho[: len(widths)]
    found = scan(counts[:, 0], counts[:, 1], usual.rate, rho, limits)
    if not found.is_breach.any():
        return [], quiet
    best = _strongest(found)
    weakest = {row: score for row, (_, score) in best.items()}
    lasting = [row for row in best if persistence[row] == 1]
    waiting = np.array([row for row in best if persistence[row] > 1], np.intp)
    back = 1
    while waiting.size:
        earlier = _counts(ring, rows[waiting], end - back, widths)
        before = _surging(earlier, usual, limits, waiting)
        weakest |= {row: min(weakest[row], score) for row, score in before.items()}
        waiting = np.array(sorted(before), np.intp)
        back += 1
        lasting += [int(row) for row in waiting[persistence[waiting] <= back]]
        waiting = waiting[persistence[waiting] > back]
    return [
        _surge(row, best[row][0], weakest[row], counts, usual) for row in sorted(lasting)
    ], quiet


def _counts(ring: MinuteRing, rows: Rows, end: int, widths: tuple[int, ...]) -> Counts:
    """Counts [width, (bad, total), row] of the windows that end at `end`."""
    return np.stack([ring.sums(end, width, rows) for width in widths])


def _strongest(found: Scores) -> dict[int, tuple[int, float]]:
    """Row -> (index of the width, score) of its most surprising breach."""
    widths, rows = found.breaching
    best: dict[int, tuple[int, float]] = {}
    for width, row, score in zip(widths, rows, found.score[found.is_breach], strict=True):
        if int(row) not in best or score > best[int(row)][1]:
            best[int(row)] = (int(width), float(score))
    return best


def _surging(counts: Counts, usual: Usual, limits: Limits, some: Rows) -> dict[int, float]:
    """Which of `some`, whose counts these are, surged, with what evidence."""
    narrowed = Limits(*(np.asarray(x)[some] for x in limits.each()))
    rho = usual.rho[: len(counts), some]
    found = scan(counts[:, 0], counts[:, 1], usual.rate[some], rho, narrowed)
    return {int(some[place]): score for place, (_, score) in _strongest(found).items()}


def _surge(row: int, width: int, score: float, counts: Counts, usual: Usual) -> Surge:
    bad, total = counts[width, :, row]
    rho = float(usual.rho[width, row])
    return Surge(row, WIDTHS[width], int(bad), int(total), score, float(f"{rho:.3g}"))
