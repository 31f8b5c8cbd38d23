"""Western Electric rules: runs of points on one side that chance does not make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer
from tocsin.assess.gauges.history import Floats

# Points looked at, points needed, distance in spreads.
_RULES = ((1, 1, 3.0), (3, 2, 2.0), (5, 4, 1.0), (15, 15, 0.25))


class WesternElectricScorer(DistanceScorer):
    """Evidence is the most of the four rules, each as a share of its own limit."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        lead, held = self.grid.lead, self.from_the_week(recent)
        best = np.zeros((len(recent) - lead, held.shape[1]))
        for length, needed, limit in (rule for rule in _RULES if rule[0] <= lead):
            sliding = np.lib.stride_tricks.sliding_window_view(
                held[lead - length + 1 :], length, axis=0
            )
            ordered = np.sort(sliding, axis=-1)
            up, down = ordered[..., length - needed], -ordered[..., needed - 1]
            # A point inside its rule's distance ends the run that it stands in.
            found = np.where(up >= down, np.maximum(up, 0.0), -np.maximum(down, 0.0)) / limit
            best = np.where(np.abs(found) > np.abs(best), found, best)
        return np.where(self.is_known, best, np.nan), self.history.learned.mean


@dataclass(frozen=True, slots=True)
class WesternElectricConfig(DistanceConfig):
    """Settings of the Western Electric rules.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: scales every rule's
    distance; 1 is the textbook. side: which side counts.
    """

    kind: ClassVar[str] = "western_electric"
    scores: ClassVar[type[DistanceScorer]] = WesternElectricScorer

    k: float = 1.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"a run at {evidence:.2f} times the limit of a Western Electric rule"


class WesternElectric(GaugeDetector):
    """Rings on one point beyond 3 spreads, 2 of 3 beyond 2, 4 of 5 beyond 1, or 15 on one side.

    What: the four run rules around the week's mean, in usual spreads. The fourth asks for fifteen
    points beyond a quarter of a spread instead of eight on one side, which minutes reach every
    hour.

    Assumes: points are independent around a constant level.

    Misleads: as every control chart, on whatever follows the clock; together the rules ring by
    chance every few hundred points even where they are right. For the eye more than for a pager.

    Parameters: see `WesternElectricConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = WesternElectricConfig.scorer([WesternElectricConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Western Electric Company, "Statistical Quality Control Handbook" (1956).
    """

    config = WesternElectricConfig
