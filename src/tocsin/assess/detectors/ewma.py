"""EWMA chart: a small shift that lasts, by an exponentially weighted mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.distance import DistanceConfig, DistanceScorer
from tocsin.assess.gauges.history import Floats

_LAMBDA = 0.2
_SPAN = 40  # steps after which a weight is nothing
_CLIP = 10.0


class EwmaScorer(DistanceScorer):
    """Evidence is the weighted mean's distance from the level, in its own standard deviations."""

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """As `DistanceScorer.compare`."""
        lead = self.grid.lead
        held = np.clip(self.from_the_week(recent), -_CLIP, _CLIP)
        span = min(_SPAN, lead)
        weights = _LAMBDA * (1.0 - _LAMBDA) ** np.arange(span)[::-1]
        sliding = np.lib.stride_tricks.sliding_window_view(held[lead - span + 1 :], span, axis=0)
        mean = sliding @ weights
        distance = mean / np.sqrt(_LAMBDA / (2.0 - _LAMBDA))
        return np.where(self.is_known, distance, np.nan), self.history.learned.mean


@dataclass(frozen=True, slots=True)
class EwmaConfig(DistanceConfig):
    """Settings of the EWMA chart.

    Those of every gauge (measure, over, for_minutes, min_calls), and k: standard deviations of the
    weighted mean from the level of the week. side: which side counts.
    """

    kind: ClassVar[str] = "ewma"
    scores: ClassVar[type[DistanceScorer]] = EwmaScorer

    k: float = 4.0

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"the weighted mean is {evidence:.1f} deviations off"


class Ewma(GaugeDetector):
    """Rings when the exponentially weighted mean of the deviations is too far from nothing.

    What: z = 0.2 x + 0.8 z of the distance from the week's mean in usual spreads, each clipped at
    ten, in units of its own standard deviation under independence.

    Assumes: points are independent around a constant level.

    Misleads: autocorrelation and a daily shape, which most telemetry has, make it ring without end
    (precision 2 to 8 % at the textbook limit of 3 on public series): for flat series only.

    Parameters: see `EwmaConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = EwmaConfig.scorer([EwmaConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> calm, broken = values[-grid.lead - 1 :], np.vstack([values[-grid.lead :], [[900.0]]])
    >>> [bool(scorer.judge(x, 1440).evidence[-1, 0] >= scorer.limit[0]) for x in (calm, broken)]
    [False, True]

    Paper: Roberts, "Control chart tests based on geometric moving averages", Technometrics 1
    (1959).
    """

    config = EwmaConfig
