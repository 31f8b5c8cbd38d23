"""Burn rates: how fast an error budget is spent, and which speeds are worth waking somebody."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tocsin.assess.monitor import BurnStep, Objective, Severity

Floats = npt.NDArray[np.float64]

HOUR = 60
DAY = 24 * HOUR
LONGEST = 3 * DAY
# Comparing counts with a product of decimal fractions: below this they are the same number.
_DUST = 1e-9

# share of the budget, long window, short window (minutes). The month's table is the one of the
# Google SRE workbook, chapter 5, with a ticket for what would empty the budget in time.
_Row = tuple[Severity, float, int, int]
_MONTH: tuple[_Row, ...] = (
    ("page", 0.02, HOUR, 5),
    ("page", 0.05, 6 * HOUR, 30),
    ("ticket", 0.10, DAY, 2 * HOUR),
    ("ticket", 0.10, 3 * DAY, 6 * HOUR),
)
_WEEK: tuple[_Row, ...] = (
    ("page", 0.08, HOUR, 5),
    ("page", 0.125, 6 * HOUR, 30),
    ("ticket", 0.20, DAY, 2 * HOUR),
    ("ticket", 0.42, 3 * DAY, 6 * HOUR),
)
_DAY: tuple[_Row, ...] = (
    ("page", 0.10, 30, 5),
    ("page", 0.25, 2 * HOUR, 15),
    ("ticket", 0.50, 6 * HOUR, HOUR),
)
_HOUR: tuple[_Row, ...] = (("page", 0.25, 5, 1), ("ticket", 0.50, 15, 5))
_TABLES = {HOUR: _HOUR, DAY: _DAY, 7 * DAY: _WEEK, 28 * DAY: _MONTH, 90 * DAY: _MONTH}


def presets(period_minutes: int) -> tuple[BurnStep, ...]:
    """Burn steps for an objective over `period_minutes`, most urgent first.

    1 h, 24 h, 7 d and from 28 d to 90 d have tables of their own; any other period takes the table
    nearest to it on a log scale with its windows stretched to the period (at most 3 d). The factor
    is always budget share x period / long window. Periods beyond 90 d alert like those of 90 d:
    2 % of a year's budget in an hour would need almost every call to be bad. ValueError below 1 h.

    >>> [(s.severity, round(s.factor, 2)) for s in presets(30 * 24 * 60)]
    [('page', 14.4), ('page', 6.0), ('ticket', 3.0), ('ticket', 1.0)]
    """
    if period_minutes < HOUR:
        raise ValueError(
            f"an objective's period is 1 h or longer, not {span(period_minutes)} "
            "(m is minutes, M is months)"
        )
    period_minutes = min(period_minutes, 90 * DAY)
    nearest = min(_TABLES, key=lambda table: abs(math.log(period_minutes / table)))
    stretch = 1.0 if period_minutes >= 28 * DAY else period_minutes / nearest
    steps = []
    for severity, share, long, short in _TABLES[nearest]:
        long_minutes = min(max(round(long * stretch), 2), LONGEST)
        short_minutes = min(max(round(short * stretch), 1), long_minutes)
        factor = round(share * period_minutes / long_minutes, 12)
        steps.append(BurnStep(severity, long_minutes, short_minutes, factor))
    return tuple(steps)


def for_slices(
    steps: Sequence[BurnStep], slice_minutes: int, period_minutes: int
) -> tuple[BurnStep, ...]:
    """The steps of a budget that is charged in slices: windows of whole slices, at least one.

    A longer window keeps its share of the budget, so that its factor falls. Steps that come to the
    same windows are one, the first.

    >>> [(s.long_minutes, s.short_minutes) for s in for_slices(presets(43200), 60, 43200)]
    [(60, 60), (360, 60), (1440, 120), (4320, 360)]
    """
    found: dict[tuple[int, int, int], BurnStep] = {}
    for step in steps:
        long, short = (
            -(-minutes // slice_minutes) * slice_minutes
            for minutes in (step.long_minutes, step.short_minutes)
        )
        factor = round(step.factor * step.long_minutes / long, 6)
        if long <= min(period_minutes, LONGEST):
            fitted = BurnStep(step.severity, long, short, factor, step.after_minutes)
            found.setdefault((long, short, step.after_minutes), fitted)
    return tuple(found.values())


def burn_rate(bad: npt.ArrayLike, total: npt.ArrayLike, budget: npt.ArrayLike) -> Floats:
    """How many times faster than allowed the budget is spent; NaN where there were no calls."""
    k, n = np.asarray(bad, np.float64), np.asarray(total, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 0, k / (n * np.asarray(budget, np.float64)), np.nan)


def burns_faster(
    bad: npt.ArrayLike, total: npt.ArrayLike, budget: npt.ArrayLike, factor: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Whether the burn rate lies strictly above `factor`; never where there were no calls."""
    allowed = np.asarray(factor, np.float64) * np.asarray(budget, np.float64) * np.asarray(total)
    return np.asarray(np.asarray(bad) > allowed * (1.0 + _DUST), np.bool_)


def unreachable(objective: Objective) -> tuple[str, ...]:
    """Sentences about burn steps that can never fire, or only in a near-total outage.

    A factor f needs more than f x budget of all calls to be bad, and no more than all can be. A
    mean has no such end.

    >>> unreachable(Objective(0.95, 43200, presets(43200)))[0]
    'the 1 h / 5 m page (14.4x) needs more than 72 % of calls to be bad'
    """
    found: list[str] = []
    for step in objective.steps if objective.mean is None else ():
        share = step.factor * objective.budget
        name = (
            f"the {span(step.long_minutes)} / {span(step.short_minutes)} {step.severity} "
            f"({step.factor:g}x)"
        )
        if share >= 1.0 - _DUST:
            found.append(
                f"{name} can never fire: it needs more than {share:.0%} of calls to be bad"
            )
        elif share > 0.5:
            found.append(f"{name} needs more than {100 * share:.3g} % of calls to be bad")
    return tuple(found)


def span(minutes: int) -> str:
    """A length of time as people write it: 5 m, 1 h, 3 d, 1 h 30 m."""
    days, rest = divmod(minutes, DAY)
    hours, left = divmod(rest, HOUR)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (left, "m")) if n]
    return " ".join(parts) or "0 m"
