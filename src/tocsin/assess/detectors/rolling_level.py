"""Rolling level: a value far from the median of the last three hours, in robust deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer, trailing_quantiles
from tocsin.assess.gauges.history import Floats


class RollingLevelScorer(DistanceScorer):
    """Evidence is the distance from the trailing median in robust standard deviations."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        now, lead = recent[self.grid.lead :], self.grid.lead
        (middle,) = trailing_quantiles(recent, self.grid, (0.5,))
        strays = np.empty_like(middle)
        for step in range(len(now)):
            around = np.abs(recent[step : lead + step] - middle[step])
            (strays[step],) = trailing_quantiles(
                np.vstack([around, now[[step]]]), self.grid, (0.5,)
            )[0]
        unit = np.fmax(1.4826 * strays, 1e-9 + 1e-6 * np.abs(middle))
        return (now - middle) / unit, middle


@dataclass(frozen=True, slots=True)
class RollingLevelConfig(DistanceConfig):
    """Settings of the rolling level.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: robust standard deviations
    (1.4826 x median absolute deviation) from the median. side: which side counts.
    """

    kind: ClassVar[str] = "rolling_level"
    scores: ClassVar[type[DistanceScorer]] = RollingLevelScorer

    k: float = 6.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"{evidence:.1f} robust deviations from the median of three hours"


class RollingLevel(GaugeDetector):
    """Rings when a value is k robust deviations from the median of the last three hours.

    What: (x - median) / (1.4826 MAD) over the trailing three hours, without the value; an incident
    shorter than half of that moves neither.

    Assumes: the level holds for hours, and what is usual now was usual an hour ago.

    Misleads: at the steep flanks of a daily shape; where more than half of the values are equal
    the deviation is nil and any other value is far (a trace of the median is the least unit).

    Parameters: see `RollingLevelConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = RollingLevelConfig.scorer([RollingLevelConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Hampel, "The influence curve and its role in robust estimation", Journal of the American
    Statistical Association 69 (1974).
    """

    config = RollingLevelConfig
