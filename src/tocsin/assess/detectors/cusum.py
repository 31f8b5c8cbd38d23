"""CUSUM chart: a shift that lasts, by what it has added up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer
from tocsin.assess.gauges.history import Floats

_SLACK = 0.5
_CLIP = 10.0


class CusumScorer(DistanceScorer):
    """Evidence is the one-sided sum of what exceeds half a spread, over the last three hours."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        lead = self.grid.lead
        held = np.clip(self.from_the_week(recent), -_CLIP, _CLIP)
        sides = []
        for sign in (1.0, -1.0):
            running = np.cumsum(sign * held - _SLACK, axis=0)
            before = np.vstack([np.zeros((1, held.shape[1])), running])
            sliding = np.lib.stride_tricks.sliding_window_view(before[:-1], lead, axis=0)
            lowest = sliding.min(axis=-1)[1:]
            sides.append(np.maximum(running[lead:] - lowest, 0.0))
        up, down = sides
        distance = np.where(up >= down, up, -down)
        return np.where(self.is_known, distance, np.nan), self.history.learned.mean


@dataclass(frozen=True, slots=True)
class CusumConfig(DistanceConfig):
    """Settings of the CUSUM chart.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: the decision limit in
    usual spreads (h of the textbooks). side: which side counts.
    """

    kind: ClassVar[str] = "cusum"
    scores: ClassVar[type[DistanceScorer]] = CusumScorer

    k: float = 8.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"a shift of {evidence:.1f} spreads has added up"


class Cusum(GaugeDetector):
    """Rings when deviations from the week's mean have added up to k spreads.

    What: S = max(0, S + |x - mean| / spread - 0.5) per side, started anew three hours ago at the
    latest, each step clipped at ten spreads.

    Assumes: points are independent around a constant level; a shift of one spread is worth
    finding.

    Misleads: as the EWMA chart, and more so: every swing of a daily shape adds up. For flat series
    only; on public series its textbook limit of 5 was right in 2 to 7 % of its alerts.

    Parameters: see `CusumConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = CusumConfig.scorer([CusumConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Page, "Continuous inspection schemes", Biometrika 41 (1954).
    """

    config = CusumConfig
