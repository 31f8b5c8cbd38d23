"""Interquartile range: a value outside Tukey's fences around the last three hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer, trailing_quantiles
from tocsin.assess.gauges.history import Floats


class IqrScorer(DistanceScorer):
    """Evidence is the distance from the nearer quartile in interquartile ranges."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        now = recent[self.grid.lead :]
        low, middle, high = trailing_quantiles(recent, self.grid, (0.25, 0.5, 0.75))
        unit = np.fmax(high - low, 1e-9 + 1e-6 * np.abs(middle))
        distance = np.where(now > middle, np.maximum(now - high, 0.0), np.minimum(now - low, 0.0))
        return distance / unit, middle


@dataclass(frozen=True, slots=True)
class IqrConfig(DistanceConfig):
    """Settings of the interquartile range.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: interquartile ranges
    beyond the quartile; 1.5 is Tukey's fence, 3 his outer one. side: which side counts.
    """

    kind: ClassVar[str] = "iqr"
    scores: ClassVar[type[DistanceScorer]] = IqrScorer

    k: float = 3.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"{evidence:.1f} interquartile ranges beyond the quartile of three hours"


class Iqr(GaugeDetector):
    """Rings when a value lies k interquartile ranges beyond the quartiles of the last three hours.

    What: Tukey's fences over the trailing three hours (at least twelve points), without the value.

    Assumes: the last three hours are usual, half of their points known, the tails light.

    Misleads: heavy tails cross 1.5 ranges all the time (precision 3 to 27 % on public series),
    hence 3 by default; a level that moves within three hours is an outlier until it has moved
    through.

    Parameters: see `IqrConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = IqrConfig.scorer([IqrConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Tukey, "Exploratory Data Analysis" (1977).
    """

    config = IqrConfig
