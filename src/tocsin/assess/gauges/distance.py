"""Detectors that measure a distance from an expected value in some unit, and ask for k of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats, History, known_mean
from tocsin.assess.gauges.kind import GaugeConfig, Scored, Side, one_sided, signs

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DistanceConfig(GaugeConfig):
    """Settings of every distance: those of a gauge, k units of the kind, and which side counts.

    scores: what measures the distance.
    """

    scores: ClassVar[type[DistanceScorer]]

    k: float = 3.0
    side: Side = "above"

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if not self.k > 0.0:
            raise ValueError(f"k is above 0, not {self.k:g}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> DistanceScorer:
        """As `GaugeConfig.scorer`."""
        return cls.scores([config for config in configs if isinstance(config, cls)], grid)


class DistanceScorer:
    """Evidence is the distance on the side that counts; kinds say from what, and in which unit.

    What is judged far beyond the limit (twice k) is not learned.
    """

    def __init__(self, configs: Sequence[DistanceConfig], grid: Grid) -> None:
        self.grid = grid
        self.history = History(len(configs), grid)
        self.limit = np.array([config.k for config in configs])
        self._signs = signs([config.side for config in configs])

    @property
    def is_known(self) -> Bools:
        """Of which rows half a day of history is known."""
        return self.history.learned.count >= 12 * self.grid.block

    def from_the_week(self, recent: Floats) -> Floats:
        """Distance [step, row] from the week's mean in usual spreads; 0 where a value is unknown.

        The `lead` steps before those to judge are in it.
        """
        known = self.history.learned
        off = (recent - known.mean) / known.spread
        return np.where(np.isfinite(off), off, 0.0)

    def compare(self, recent: Floats, first: int) -> tuple[Floats, Floats]:
        """(distance in units, expected) of recent[lead:], each [step, row]."""
        raise NotImplementedError

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            distance, expected = self.compare(recent, first)
        now = recent[self.grid.lead :]
        evidence = np.where(np.isfinite(now), one_sided(distance, self._signs), np.nan)
        return Scored(evidence, np.broadcast_to(expected, now.shape))

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        with np.errstate(invalid="ignore"):
            normal = np.where(scored.evidence > 2.0 * self.limit, np.nan, values)
            # Where nothing was expected yet, values stray from the mean of their own block.
            around = np.where(np.isfinite(scored.expected), scored.expected, known_mean(normal))
            self.history.learn(block, normal, normal - around)


def trailing_quantiles(recent: Floats, grid: Grid, shares: Sequence[float]) -> list[Floats]:
    """Quantiles [step, row] of the three hours before each step, NaN where half are unknown.

    Nearest rank from below and above, halved: the median of four is the middle of two.
    """
    width, lead = grid.long, grid.lead
    found = [np.full((len(recent) - lead, recent.shape[1]), np.nan) for _ in shares]
    for step in range(len(recent) - lead):
        ordered = np.sort(recent[lead + step - width : lead + step], axis=0)
        count = np.isfinite(ordered).sum(axis=0)
        for share, each in zip(shares, found, strict=True):
            place = share * np.maximum(count - 1, 0)
            both = np.stack([np.floor(place), np.ceil(place)]).astype(np.intp)
            middle = np.take_along_axis(ordered, both, axis=0).mean(axis=0)
            each[step] = np.where(count >= width // 2, middle, np.nan)
    return found
