"""Static threshold: a value beyond a limit that somebody chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tocsin.assess.gauges.detector import UNITS, GaugeDetector, shown
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.gauges.kind import GaugeConfig, Scored, signs


@dataclass(frozen=True, slots=True)
class StaticThresholdConfig(GaugeConfig):
    """Settings of the static threshold; those of every gauge (measure, over, for_minutes,
    min_calls), and

    limit: in the unit of the measure: a share, calls, milliseconds, or that of the value. side:
    above rings when the value is more than the limit, below when it is less.
    """

    kind: ClassVar[str] = "static_threshold"

    limit: float = 5000.0
    side: Literal["above", "below"] = "above"

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if self.measure == "share" and not 0.0 <= self.limit < 1.0:
            raise ValueError(f"limit is a share from 0 to below 1 here, not {self.limit:g}")
        if self.limit < 0.0:
            raise ValueError(f"limit is at least 0, not {self.limit:g}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> StaticThresholdScorer:
        """As `GaugeConfig.scorer`."""
        return StaticThresholdScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        side = "more" if self.side == "above" else "less"
        return f"{side} than the limit of {shown(self.limit, UNITS.get(self.measure, ''))}"


class StaticThresholdScorer:
    """Evidence is how far beyond the limit a value lies, in the unit of the gauge; on it is not."""

    def __init__(self, configs: Sequence[StaticThresholdConfig], grid: Grid) -> None:
        self._lead = grid.lead
        self._limits = np.array([config.limit for config in configs])
        self._signs = signs([config.side for config in configs])
        self.limit = np.full(len(configs), np.nextafter(0.0, 1.0))

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        now = recent[self._lead :]
        return Scored((now - self._limits) * self._signs, np.full(now.shape, np.nan))

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """Nothing: a limit is chosen, not learned."""


class StaticThreshold(GaugeDetector):
    """Rings when a value is beyond a fixed limit, for as long as it must last.

    What: value > limit (or < limit), minute by minute, over `over` minutes each.

    Assumes: somebody knows which value is bad, at every hour and at any traffic.

    Misleads: almost always. Over public labelled series, six to nine of ten alerts of a limit at
    three standard deviations were false, and on a share of few calls a limit rings for one failure.
    Use it for limits that are promises or physics, and an objective or the count scan for shares.

    Parameters: see `StaticThresholdConfig`.

    >>> scorer = StaticThresholdConfig.scorer([StaticThresholdConfig(limit=5000.0)], Grid(60))
    >>> recent = np.full((Grid(60).lead + 2, 1), 900.0)
    >>> recent[-1] = 9000.0
    >>> (scorer.judge(recent, 0).evidence >= scorer.limit).ravel().tolist()
    [False, True]

    Paper: none; Ewaschuk, "Monitoring Distributed Systems", in Beyer et al., "Site Reliability
    Engineering" (2016), says when symptoms deserve one.
    """

    config = StaticThresholdConfig
