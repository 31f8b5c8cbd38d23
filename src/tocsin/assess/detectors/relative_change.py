"""Relative change: a value that has grown or fallen by a share of its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer
from tocsin.assess.gauges.history import Floats


class RelativeChangeScorer(DistanceScorer):
    """Evidence is the change as a share of the week's mean."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        usual = self.history.learned.mean
        now = recent[self.grid.lead :]
        mean = np.where(self.is_known & (usual != 0.0), usual, np.nan)
        return (now - mean) / np.abs(mean), mean


@dataclass(frozen=True, slots=True)
class RelativeChangeConfig(DistanceConfig):
    """Settings of the relative change.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: the change, as a share of
    the mean of seven days: 2 is +200 %, and below the mean 0.3 is -30 %. side: which side counts.
    """

    kind: ClassVar[str] = "relative_change"
    scores: ClassVar[type[DistanceScorer]] = RelativeChangeScorer

    k: float = 2.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"{100 * evidence:.0f} % from the mean of seven days"


class RelativeChange(GaugeDetector):
    """Rings when a value has changed by k times the mean of the trailing seven days.

    What: (x - mean) / mean. With `over: 15` it is a sliding window against the baseline. Unknown
    before half a day of history.

    Assumes: a change in per cent matters whatever the noise.

    Misleads: a quiet series never rings and a noisy one always does, because noise is not looked
    at; where the mean is near nothing any value is a large change.

    Parameters: see `RelativeChangeConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = RelativeChangeConfig.scorer([RelativeChangeConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: none; it is the rule that people say: "p95 up 200 % against its baseline".
    """

    config = RelativeChangeConfig
