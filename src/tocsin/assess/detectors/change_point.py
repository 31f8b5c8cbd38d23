"""Change point: a value has a new level, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import log_ndtr

from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats, History, known_mean
from tocsin.assess.gauges.kind import GaugeConfig, Scored, Side, one_sided, signs

_PARTS = (4, 8, 12)  # a new level has lasted for a fourth, eighth, twelfth of the steps before
_LEAST_WIDTH = 6
_CLIP = 2.0  # spreads: a spike, however high, is no level
_LN10 = float(np.log(10.0))
_HALF_LIFE = 168.0  # blocks, of what is known about how values hang together
_MOST_TIED = 0.95
_MOST = 300.0


@dataclass(frozen=True, slots=True)
class ChangePointConfig(GaugeConfig):
    """Settings of the change point.

    Those of every gauge (measure, over, for_minutes, min_calls), and threshold: evidence needed, as
    -log10 p corrected for the lengths that are tried; at least 2. min_change: the least change of
    level that is worth telling, in usual deviations of a single value. side: which side counts.
    """

    kind: ClassVar[str] = "change_point"
    is_p: ClassVar[bool] = True

    threshold: float = 6.0
    min_change: float = 1.0
    side: Side = "above"

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if not 2.0 <= self.threshold <= _MOST:
            raise ValueError(f"threshold is -log10 p, from 2 to 300, not {self.threshold}")
        if not self.min_change >= 0.0:
            raise ValueError(f"min_change is 0 or more, not {self.min_change:g}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> ChangePointScorer:
        """As `GaugeConfig.scorer`."""
        return ChangePointScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"a new level, as rare by chance as 1 in {10 ** min(evidence, 15.0):,.0f}"


class ChangePointScorer:
    """Evidence is -log10 P(the newest values differ so much in the mean from those before).

    Values are taken without the shape of the day where it is known, and clipped. The variance of
    their means is that of values that hang together (AR(1)), as history shows it.
    """

    def __init__(self, configs: Sequence[ChangePointConfig], grid: Grid) -> None:
        rows = len(configs)
        self.limit = np.array([config.threshold for config in configs])
        self._grid = grid
        self._history = History(rows, grid)
        self._least = np.array([config.min_change for config in configs])
        self._signs = signs([config.side for config in configs])
        self._widths = sorted({max(grid.lead // part, _LEAST_WIDTH) for part in _PARTS})
        self._tied = np.zeros((2, rows))  # sums of products of neighbours, and of squares

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        lead, length = self._grid.lead, len(recent) - self._grid.lead
        off = self._off(recent, first - lead)
        sums = [np.concatenate([np.zeros((1, off.shape[1])), np.cumsum(x, axis=0)])
                for x in (np.nan_to_num(off), np.isfinite(off))]  # fmt: skip
        end = np.arange(lead, lead + length) + 1
        tie = np.clip((self._tied[0] + 1.0) / (self._tied[1] + 3.0), 0.0, _MOST_TIED)
        inflation = (1.0 + tie) / (1.0 - tie)
        best = np.zeros((length, off.shape[1]))
        for width in self._widths:
            new, new_count = (x[end] - x[end - width] for x in sums)
            old, old_count = (x[end - width] - x[end - 1 - lead] for x in sums)
            with np.errstate(invalid="ignore", divide="ignore"):
                change = one_sided(new / new_count - old / old_count, self._signs)
                error = np.sqrt(inflation * (1.0 / new_count + 1.0 / old_count))
                enough = (new_count >= width / 2) & (old_count >= lead / 3)
                found = np.where(enough & (change >= self._least), change / error, 0.0)
            best = np.maximum(best, found)
        sides = np.where(self._signs == 0.0, 2.0, 1.0)
        rare = -log_ndtr(-best) / _LN10 - np.log10(len(self._widths) * sides)
        evidence = np.where(best > 0.0, np.clip(rare, 0.0, _MOST), 0.0)
        known = np.isfinite(off[lead:])
        expected = np.broadcast_to(self._history.learned.mean, known.shape)
        shape = self._history.shape(np.arange(first, first + length))
        return Scored(
            np.where(known, evidence, np.nan), np.where(np.isfinite(shape), shape, expected), off
        )

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        off = scored.detail
        assert isinstance(off, np.ndarray)  # noqa: S101 (what judge returned)
        here = np.nan_to_num(off[len(off) - len(values) - 1 :])
        keep = 0.5 ** (1.0 / _HALF_LIFE)
        products = (here[1:] * here[:-1]).sum(axis=0), (here[1:] ** 2).sum(axis=0)
        self._tied = keep * self._tied + np.stack(products)
        around = np.where(np.isfinite(scored.expected), scored.expected, known_mean(values))
        self._history.learn(block, values, values - around)

    def _off(self, recent: Floats, first: int) -> Floats:
        """How far values lie from what is usual, in usual deviations, clipped; NaN if unknown."""
        known = self._history.learned
        shape = self._history.shape(np.arange(first, first + len(recent)))
        enough = known.count >= 12 * self._grid.block
        usual = np.where(np.isfinite(shape), shape, known.mean)
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.clip((recent - usual) / known.spread, -_CLIP, _CLIP)
        return np.where(enough, off, np.nan)


class ChangePoint(GaugeDetector):
    """Rings when a value has a new level that has lasted, not when it is out of the ordinary once.

    What: the mean of the newest fifteen, twenty-two or forty-five minutes against the mean of the
    rest of three hours, by a normal of which the variance is that of values that hang together;
    three lengths, Bonferroni. Values are clipped at two usual deviations, and seen without the
    shape of the day after two days. It ends when the new level is three hours old.

    Assumes: between changes values wander no further than their neighbours tell.

    Misleads: a steep ramp is told as a change, and now and then a spike of five minutes that chance
    adds to. In the first two days a morning is one. Where
    values wander for hours it needs a large change, since that is what its history shows. A level
    beyond the clip is as good as one at it.

    Parameters: see `ChangePointConfig`.

    >>> grid = Grid(60)
    >>> scorer = ChangePointConfig.scorer([ChangePointConfig()], grid)
    >>> values = np.random.default_rng(1).normal(200.0, 20.0, (1440 + grid.lead, 1))
    >>> for hour in range(24):
    ...     recent = values[60 * hour : 60 * hour + grid.lead + 60]
    ...     scorer.learn(hour, recent[grid.lead :], scorer.judge(recent, 60 * hour))
    >>> spike, level = values[-grid.lead :].copy(), values[-grid.lead :].copy()
    >>> spike[-2:] += 500.0
    >>> level[-30:] += 40.0
    >>> for x in (spike, level):
    ...     bool(scorer.judge(np.vstack([x[:1], x]), 1440).evidence[-1, 0] >= 6)
    False
    True

    Paper: Page, "Continuous inspection schemes", Biometrika 41 (1954); Lavielle, "Detection of
    multiple changes in a sequence of dependent variables", Stochastic Processes and their
    Applications 83 (1999), for values that hang together.
    """

    config = ChangePointConfig
