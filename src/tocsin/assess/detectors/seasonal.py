"""Seasonal baseline: a value far from what is usual at this time of day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.deviations import deviations
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer
from tocsin.assess.gauges.history import Floats


class SeasonalScorer(DistanceScorer):
    """Evidence is the distance from the day's shape at the level of the hour, in usual spreads."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        found = deviations(recent, self.history, first)
        lead = self.grid.lead
        expected = recent[lead:] - found.strays
        return found.signed[1], np.where(np.isfinite(found.signed[1]), expected, np.nan)


@dataclass(frozen=True, slots=True)
class SeasonalConfig(DistanceConfig):
    """Settings of the seasonal baseline.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: usual spreads from what is
    expected. side: which side counts.
    """

    kind: ClassVar[str] = "seasonal"
    scores: ClassVar[type[DistanceScorer]] = SeasonalScorer

    k: float = 6.0
    for_minutes: int = 3

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"{evidence:.1f} usual spreads from this time of day"


class Seasonal(GaugeDetector):
    """Rings when values stay k spreads from what this time of day had, moved to today's level.

    What: the median of the same quarter of an hour on seven days, plus how far the last hour lay
    from it; the unit is the median spread around that over the week. Unknown before two days.

    Assumes: days have a shape, and today's level differs from it by a shift.

    Misleads: a series without a daily shape is judged worse than by a rolling level: choose it
    where a backtest says that it wins. Weekends are known only by the median of seven days.

    Parameters: see `SeasonalConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = SeasonalConfig.scorer([SeasonalConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (4320 + grid.lead, 1))
    >>> for hour in range(72):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 4320).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Cleveland et al., "STL: a seasonal-trend decomposition procedure based on loess",
    Journal of Official Statistics 6 (1990), for taking seasons out by robust smoothing.
    """

    config = SeasonalConfig
