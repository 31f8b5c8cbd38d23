"""z-score: a value too many standard deviations from the mean of the trailing week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats, History
from tocsin.assess.gauges.kind import GaugeConfig, Scored, Side, one_sided, signs

_MIN_BLOCKS = 24  # hours of history


@dataclass(frozen=True, slots=True)
class ZScoreConfig(GaugeConfig):
    """Settings of the z-score; those of every gauge (measure, over, for_minutes, min_calls), and

    k: standard deviations from the mean. side: which side of the mean counts.
    """

    kind: ClassVar[str] = "zscore"

    k: float = 3.0
    side: Side = "above"
    for_minutes: int = 5

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if not self.k > 0.0:
            raise ValueError(f"k is above 0 standard deviations, not {self.k:g}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> ZScoreScorer:
        """As `GaugeConfig.scorer`."""
        return ZScoreScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"{evidence:.1f} standard deviations from the mean of seven days"


class ZScoreScorer:
    """Evidence is the distance from the week's mean in its standard deviations."""

    def __init__(self, configs: Sequence[ZScoreConfig], grid: Grid) -> None:
        self._history = History(len(configs), grid)
        self._signs = signs([config.side for config in configs])
        self._enough = _MIN_BLOCKS * grid.block
        self.limit = np.array([config.k for config in configs])

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`; NaN with less than a day of history."""
        known = self._history.learned
        now = recent[self._history.grid.lead :]
        with np.errstate(invalid="ignore"):
            z = one_sided((now - known.mean) / known.deviation, self._signs)
        z = np.where(known.count >= self._enough / 2, z, np.nan)
        return Scored(z, np.broadcast_to(known.mean, now.shape))

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        self._history.learn(block, values, values - self._history.learned.mean)


class ZScore(GaugeDetector):
    """Rings when values stay more than k standard deviations from the mean of seven days.

    What: z = (x - mean) / standard deviation over the trailing seven days, to the hour, without the
    running hour; for five minutes by default.

    Assumes: values are roughly normal and their mean does not follow the clock.

    Misleads: day and night widen the deviation, so that the peak hour hides what the night shows;
    one outage widens it for a week; heavy tails make three deviations common. Lasting five minutes
    is what makes the rule useful: pointwise it was wrong two times out of three on public series.

    Parameters: see `ZScoreConfig`.

    >>> grid = Grid(60)
    >>> scorer = ZScoreConfig.scorer([ZScoreConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440, 1))
    >>> for hour in range(24):
    ...     scorer.learn(hour, values[60 * hour : 60 * hour + 60], None)
    >>> recent = np.vstack([values[-grid.lead :], [[300.0]]])
    >>> round(float(scorer.judge(recent, 1440).evidence[0, 0]))
    5

    Paper: Shewhart, "Economic Control of Quality of Manufactured Product" (1931).
    """

    config = ZScoreConfig
