"""Committee: a value is out of the ordinary for the week, the hour and the time of day alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tocsin.assess.gauges.committee import Committee as Baselines
from tocsin.assess.gauges.committee import Judged
from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats
from tocsin.assess.gauges.kind import GaugeConfig, Scored, Side, signs

DEFAULT_EVIDENCE = 3.5


@dataclass(frozen=True, slots=True)
class CommitteeConfig(GaugeConfig):
    """Settings of the committee; those of every gauge (measure, over, for_minutes, min_calls), and

    threshold: evidence needed, as -log10 p; at least 1. side: which side of the expected counts.
    """

    kind: ClassVar[str] = "committee"
    is_budgeted: ClassVar[bool] = True
    is_p: ClassVar[bool] = True

    threshold: float = DEFAULT_EVIDENCE
    side: Side = "both"

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if not 1.0 <= self.threshold <= 300.0:
            raise ValueError(f"threshold is -log10 p, from 1 to 300, not {self.threshold}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> CommitteeScorer:
        """As `GaugeConfig.scorer`."""
        return CommitteeScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"as rare as 1 in {10 ** min(evidence, 15.0):,.0f}"


class CommitteeScorer:
    """The committee behind the interface of all scorers."""

    def __init__(self, configs: Sequence[CommitteeConfig], grid: Grid) -> None:
        self.limit = np.array([config.threshold for config in configs])
        self._baselines = Baselines(len(configs), grid, signs([c.side for c in configs]))

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        judged = self._baselines.judge(recent, first)
        return Scored(judged.evidence, judged.deviations.expected, judged)

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        if not isinstance(scored.detail, Judged):
            raise TypeError("learn what judge returned")
        self._baselines.learn(block, values, scored.detail)


class Committee(GaugeDetector):
    """Rings when the median of four calibrated baselines finds a value too rare.

    What: the trailing week, the time of day, the trailing hour and the trailing three hours each
    expect something; the distance from each becomes a probability in the tail of its own history
    (peaks over a threshold); the evidence is the median of the four -log10 p. A run of three
    minutes counts 1.75 times its weakest. What most days have at this time is taken off.

    Assumes: the last week resembles the next, and what is rare in the history of the series is
    worth knowing. Nothing about the distribution: each tail is measured.

    Misleads: in the first day, while little is known; when a change was planned (a new level is
    usual only after a week); on series that idle at a constant and are busy without a clock; when
    the same fault comes back at the same hour of most days, which rings twice.

    Parameters: see `CommitteeConfig`.

    >>> from tocsin.assess.gauges.grid import Grid
    >>> grid = Grid(60)
    >>> scorer = CommitteeConfig.scorer([CommitteeConfig(side="above")], grid)
    >>> values = 200 + 20 * np.random.default_rng(1).standard_normal((grid.lead + 1440, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> spike = np.vstack([values[-grid.lead :], [[900.0]]])
    >>> bool(scorer.judge(spike, 1440).evidence[0, 0] > 3.5)
    True

    Paper: Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017, for
    the tails; Aggarwal and Sathe, "Theoretical foundations and algorithms for outlier ensembles",
    SIGKDD Explorations 17 (2015), for the median of detectors.
    """

    config = CommitteeConfig
