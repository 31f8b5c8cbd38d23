"""A page budget: the evidence that so many false pages a week correspond to, over all monitors.

Nobody can promise that; it is an empirical, backtested rate. What is assumed: evidence is -log10 of
a calibrated probability, so that its tail falls tenfold per unit. What is read off the history: how
often an hour of a monitor, all its looks together, reaches a level that incidents hardly touch.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

AIM = 0.6  # of the budget: tails wander, and a budget that is met half of the time is not held
MIN_BLOCKS = 100
WEEK_S = 7 * 86_400
_BODY = 0.8  # quantile of the hourly maxima where the tail is pinned
TAIL_PEAKS = 20  # confirmed calm maxima above the pin that let the measured tail speak


def threshold(
    maxima: npt.ArrayLike,
    per_week: float,
    blocks_per_week: float,
    steps_per_week: float,
    *,
    reviewed: bool = False,
    exact_from: float = -math.inf,
) -> float:
    """The evidence to ask for, so that false pages come at about 0.6 of `per_week`.

    maxima: the highest evidence of each block (an hour of one monitor), pooled over all monitors.
    blocks_per_week, steps_per_week: of all monitors together. reviewed: incidents have been cut out
    of `maxima` and false pages left in, so that the upper tail itself can be trusted: where enough
    peaks are known it is fitted instead of assumed. exact_from: maxima below it are only known to
    lie below; no answer is. With fewer than a hundred blocks: Bonferroni over all steps.

    Papers: Efron, "Size, power and false discovery rates", Annals of Statistics 35 (2007), on the
    empirical null; Coles, "An Introduction to Statistical Modeling of Extreme Values" (2001) on
    block maxima.
    """
    if per_week <= 0:
        raise ValueError(f"a page budget is above 0 pages a week, not {per_week:g}")
    seen = np.asarray(maxima, np.float64)
    seen = seen[np.isfinite(seen)]
    if len(seen) < MIN_BLOCKS:
        return max(math.log10(max(steps_per_week, 1.0) / per_week), exact_from)
    rate = min(AIM * per_week / max(blocks_per_week, 1e-9), 1.0 - _BODY)
    body = float(np.quantile(seen, _BODY))
    peaks = int((seen >= max(body, exact_from)).sum())
    if reviewed and (exact_from <= body or peaks >= TAIL_PEAKS):
        return max(_measured(seen, rate), exact_from)
    if exact_from <= body:
        return body + math.log10((1.0 - _BODY) / rate)
    # One more than was seen: none in a short history does not prove that none will come.
    over = math.log10((peaks + 1.0) / (len(seen) + 1.0) / rate)
    return exact_from + max(over, 0.0) * _units_per_tenfold(seen[seen >= exact_from] - exact_from)


def _units_per_tenfold(excess: Floats) -> float:
    """How much evidence makes a peak ten times as rare: one unit by the name of evidence, up to two
    where the middle of the peaks says so. Incidents that nobody has cut out lie far up and hardly
    move the middle; the bounds keep them from hiding each other where they are many."""
    if len(excess) < TAIL_PEAKS:
        return 1.0
    return min(max(float(np.median(excess)) / math.log10(2.0), 1.0), 2.0)


def _measured(seen: Floats, rate: float) -> float:
    """The quantile itself while history holds some peaks above it, an exponential tail beyond."""
    ordered = np.sort(seen)[::-1]
    wanted = rate * len(ordered)
    if wanted >= TAIL_PEAKS:
        return float(ordered[int(wanted) - 1])
    base = float(ordered[min(TAIL_PEAKS, len(ordered)) - 1])
    excess = ordered[: TAIL_PEAKS - 1] - base
    scale = max(float(excess.mean()), 1.0 / math.log(10.0) / 2.0)
    return base + scale * math.log(TAIL_PEAKS / max(wanted, 1e-9))
