"""Capacity: a queue, a quota or a rate limit that will be reached within hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import stdtr

from tocsin.assess.gauges.board import Looked
from tocsin.assess.gauges.detector import GaugeDetector, shown
from tocsin.assess.gauges.grid import Grid
from tocsin.assess.gauges.history import Floats, History
from tocsin.assess.gauges.kind import GaugeConfig, Measure, Scored
from tocsin.assess.wording import span
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Judgement, Verdict

Bools = npt.NDArray[np.bool_]

_SHORT_S = 1800  # the trend of half an hour, and that of the three hours before a step
_LEAST_POINTS = 12
_FURTHER = 4  # times its own length that a trend is carried on
_POINTS = 12  # ahead, at which the forecast is looked at
_AT_ONCE = 4_000_000  # numbers that are looked at together
_STEADY = 4.0  # standard errors: a slope that is less certain is no trend
_UNKNOWN = 3.0  # times wider are errors than they say, as long as there is no day to know it from
_MIN_BLOCKS = 24
_MOST_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class CapacityConfig(GaugeConfig):
    """Settings of capacity; those of every gauge (measure, over, for_minutes, min_calls), and

    limit: what there is, in the unit of the value. side: above when the value rises to it, below
    when it falls to it, such as requests that remain. horizon_minutes: how far ahead is told, 15 to
    1440. confidence: how likely it must be that the limit is reached within it.
    """

    kind: ClassVar[str] = "capacity"

    measure: Measure = "mean"
    for_minutes: int = 5
    limit: float = 100.0
    side: Literal["above", "below"] = "above"
    horizon_minutes: int = 240
    confidence: float = 0.9

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if not 15 <= self.horizon_minutes <= _MOST_MINUTES:
            raise ValueError(f"horizon_minutes is 15 to 1440, not {self.horizon_minutes}")
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"confidence is from 0.5 to below 1, not {self.confidence:g}")

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> CapacityScorer:
        """As `GaugeConfig.scorer`."""
        return CapacityScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"the limit is reached in time with {100 * min(evidence, 1.0):.0f} %"


@dataclass(frozen=True, slots=True)
class Trend:
    """Of each step [step, row]: the level now, its slope per second, and in how many seconds the
    limit is reached (inf when it is not). steepness: of either line [step, line, row], its slope in
    its own standard errors."""

    level: Floats
    slope: Floats
    reached_s: Floats
    steepness: Floats


class CapacityScorer:
    """Evidence is the probability that the limit is reached within the horizon; 0 without a trend.

    A line through the last half hour, and one through the last three hours, each carried on up to
    four times its length; the likelier one counts. Its errors hang together (first-order
    autocorrelation), and are as much wider than that as the steepest slope of the week that led
    nowhere asks for: a level that wanders has slopes all the time. From the third day the shape of
    the day is taken out before and put back after.
    """

    def __init__(self, configs: Sequence[CapacityConfig], grid: Grid) -> None:
        self.limit = np.array([config.confidence for config in configs])
        self._grid = grid
        self._history = History(len(configs), grid)
        self._sign = np.array([1.0 if config.side == "above" else -1.0 for config in configs])
        self._at = np.array([config.limit for config in configs])
        self._horizon = np.array([60.0 * config.horizon_minutes for config in configs])
        short = max(_SHORT_S // grid.step_s, _LEAST_POINTS)
        self._widths = sorted({min(short, grid.lead), grid.lead})
        self._steepest = np.full((grid.week, len(self._widths), len(configs)), np.nan)
        self._wider = np.full((len(self._widths), len(configs)), _UNKNOWN)
        self._wait = np.ceil(self._horizon / grid.step_s + grid.lead) // grid.block + 1  # blocks

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        lead, rows = self._grid.lead, recent.shape[1]
        shape = self._history.shape(np.arange(first - lead, first - lead + len(recent)))
        has_shape = np.asarray(np.isfinite(shape).all(axis=0), np.bool_)
        calm = recent - np.where(has_shape, shape, 0.0)
        length = len(recent) - lead
        evidence = np.full((length, rows), np.nan)
        level, slope, reached = (np.full_like(evidence, np.nan) for _ in range(3))
        steepness = np.full((length, len(self._widths), rows), np.nan)
        for place, width in enumerate(self._widths):
            windows = sliding_window_view(calm[lead + 1 - width :], width, axis=0)
            at_once = max(_AT_ONCE // (width * max(rows, 1)), 1)
            for start in range(0, length, at_once):
                here = slice(start, min(start + at_once, length))
                line = _Line.through(windows[here], self._grid.step_s)
                steepness[here, place] = np.where(line.is_known, line.steepness, np.nan)
                line = line.wider(self._wider[place])
                found = self._carried(line, width, first + start, has_shape)
                is_better = np.isfinite(found[0]) & ~(evidence[here] >= found[0])
                for held, new in zip((evidence, level, slope, reached), found, strict=True):
                    held[here] = np.where(is_better, new, held[here])
        evidence = np.where(np.isfinite(recent[lead:]), evidence, np.nan)
        return Scored(evidence, level, Trend(level, slope, reached, steepness))

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`; a trend that was told is none of those that lead nowhere."""
        assert isinstance(scored.detail, Trend)  # noqa: S101 (what judge returned)
        self._history.learn(block, values, values - scored.expected)
        with np.errstate(invalid="ignore"):
            told = (scored.evidence >= self.limit).any(axis=0)
        steep = np.fmax.reduce(np.abs(scored.detail.steepness), axis=0)
        self._steepest = np.roll(self._steepest, -1, axis=0)
        self._steepest[-1] = steep
        # A slope has led nowhere when its time is over and nothing was told.
        age = np.arange(len(self._steepest))[::-1, None, None]
        self._steepest[(age < self._wait) & told & np.isfinite(self._steepest)] = np.nan
        over = np.where(age < self._wait, np.nan, self._steepest)
        blocks = np.isfinite(over).sum(axis=0)
        enough = blocks >= min(_MIN_BLOCKS, len(over) // 2)
        highest = np.fmax.reduce(over, axis=0)
        self._wider = np.where(enough, np.fmax(highest / _STEADY, 1.0), _UNKNOWN)

    def _carried(
        self, line: _Line, width: int, first: int, has_shape: Bools
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """(probability, level now, slope per second, seconds until the limit) [step, row] by lines
        through `width` steps each, the first of which ends at step `first`."""
        furthest = np.minimum(self._horizon, _FURTHER * width * self._grid.step_s)
        ahead = np.linspace(0.0, 1.0, _POINTS)[:, None, None] * furthest  # [point, 1, row], seconds
        expected = line.level + line.slope * ahead + self._daily(furthest, first, line, has_shape)
        room = self._sign * (expected - self._at)  # [point, step, row]
        error = np.sqrt(line.level_error**2 + (line.slope_error * ahead) ** 2)
        score = np.clip(room / np.maximum(error, 1e-12), -1e6, 1e6)
        likely = stdtr(line.freedom, score).max(axis=0)
        is_trend = self._sign * line.steepness >= _STEADY
        evidence = np.where(room[0] >= 0.0, 1.0, np.where(is_trend, likely, 0.0))
        # Between the point before it is reached and the one at which it is.
        at = np.maximum((room >= 0.0).argmax(axis=0), 1)[None]
        near, far = (np.take_along_axis(room, at - back, axis=0)[0] for back in (1, 0))
        part = (at[0] - 1) + np.clip(-near / np.maximum(far - near, 1e-12), 0.0, 1.0)
        reached = np.where((room >= 0.0).any(axis=0), part * furthest / (_POINTS - 1), np.inf)
        evidence, level = (np.where(line.is_known, x, np.nan) for x in (evidence, expected[0]))
        return evidence, level, line.slope, reached

    def _daily(self, furthest: Floats, first: int, line: _Line, has_shape: Bools) -> Floats:
        """What the shape of the day adds [point, step, row], 0 where it is not known."""
        daily = np.zeros((_POINTS, *line.level.shape))
        for far in np.unique(furthest[has_shape]).tolist():
            ahead = np.rint(np.linspace(0.0, far, _POINTS) / self._grid.step_s).astype(np.int64)
            mine = np.flatnonzero(has_shape & (furthest == far))
            for row in range(len(line.level)):
                daily[:, row, mine] = self._history.shape(first + row + ahead)[:, mine]
        return daily


@dataclass(frozen=True, slots=True)
class _Line:
    """Lines through points, one of each step and row: level at the last point, slope per second,
    their standard errors, and the degrees of freedom those are known with."""

    level: Floats
    slope: Floats
    level_error: Floats
    slope_error: Floats
    freedom: Floats
    is_known: Bools

    @property
    def steepness(self) -> Floats:
        """The slope in its standard errors."""
        return self.slope / np.maximum(self.slope_error, 1e-300)

    def wider(self, times: Floats) -> _Line:
        """The same with errors that are `times` as large."""
        level_error, slope_error = (times * e for e in (self.level_error, self.slope_error))
        return replace(self, level_error=level_error, slope_error=slope_error)

    @classmethod
    def through(cls, values: Floats, step_s: int) -> _Line:
        """Least squares over the last axis of `values`; half of the points must be known."""
        width = values.shape[-1]
        known = np.isfinite(values)
        found = known.sum(axis=-1)
        count = np.maximum(found, 1)
        seconds = (np.arange(width) - width + 1.0) * step_s
        middle = np.where(known, seconds, 0.0).sum(axis=-1) / count
        mean = np.where(known, values, 0.0).sum(axis=-1) / count
        off = np.where(known, seconds - middle[..., None], 0.0)
        rest = np.where(known, values - mean[..., None], 0.0)
        square = np.maximum((off * off).sum(axis=-1), 1e-12)
        slope = (off * rest).sum(axis=-1) / square
        rest -= slope[..., None] * off
        total = (rest * rest).sum(axis=-1)
        near = (rest[..., 1:] * rest[..., :-1]).sum(axis=-1) / np.maximum(total, 1e-300)
        # A line through n points takes two off and makes what is left look less alike than it is.
        near = np.clip(near + (2.0 + 4.0 * near) / count, 0.0, 0.99)
        freedom = np.maximum(count * (1.0 - near) / (1.0 + near) - 2.0, 1.0)
        variance = total / np.maximum(count - 2.0, 1.0) * (1.0 + near) / (1.0 - near)
        # A level that never strays is known to the last bit, and then any slope would be a trend.
        variance = np.maximum(variance, (1e-6 * mean) ** 2)
        level_error = np.sqrt(variance * (1.0 / count + middle**2 / square))
        return cls(
            mean - slope * middle, slope, level_error, np.sqrt(variance / square), freedom,
            found >= max(width / 2, _LEAST_POINTS / 2),
        )  # fmt: skip


class Capacity(GaugeDetector):
    """Rings when a value will, by its trend, reach its limit within the horizon.

    What: requests that wait against the length of the queue, memory of the cache, tokens or calls a
    minute against a provider's rate limit, what remains of a quota against 0. A line through the
    last half hour or three hours, less the shape of the day once that is known, is carried on; it
    rings when the line is no chance (four standard errors) and reaches the limit in time with the
    probability `confidence`, and says when. A value at its limit rings as well.

    Assumes: what drives the trend goes on. Errors around the line hang together from one minute to
    the next, not over hours.

    Misleads: in the first two days every morning is a trend; after that only one unlike the
    others. A queue that jumps has no trend: it is told when it is there, so that a limit below the
    real one leaves time. A counter of a quota that begins anew falls to 0 and is a new trend.

    Parameters: see `CapacityConfig`.

    >>> grid = Grid(60)
    >>> scorer = CapacityConfig.scorer([CapacityConfig(limit=500.0)], grid)
    >>> noise = np.random.default_rng(1).normal(0.0, 5.0, grid.lead + 1)
    >>> still, filling = 100.0 + noise, 100.0 + noise + 1.5 * np.arange(grid.lead + 1)
    >>> for values in (still, filling):
    ...     now = scorer.judge(values[:, None], 480_000)
    ...     round(float(now.evidence[0, 0]), 2), round(float(now.detail.reached_s[0, 0]) / 60, 0)
    (0.0, inf)
    (1.0, 87.0)

    Paper: Hyndman and Athanasopoulos, "Forecasting: principles and practice" (2021), 7.2, for a
    trend in a regression; Priestley, "Spectral analysis and time series" (1981), 5.3, for how much
    points are worth whose errors hang together.
    """

    config = CapacityConfig

    def _breach(self, row: int, minute: int, looked: Looked, evidence: float) -> Verdict:
        trend, config = looked.scored.detail, self._configs[row]
        assert isinstance(trend, Trend) and isinstance(config, CapacityConfig)  # noqa: S101, PT018
        unit = self.unit(row)
        level, slope = float(trend.level[-1, row]), float(trend.slope[-1, row])
        left = float(trend.reached_s[-1, row])
        limit = shown(config.limit, unit)
        moving = (
            f"{'rising' if slope > 0 else 'falling'} by {shown(abs(slope) * 3600, unit)} an hour"
        )
        if left <= 0.0:
            when, lasts = "", f"at its limit of {limit}"
        else:
            minutes = max(round(min(left, 60.0 * _MOST_MINUTES) / 60), 1)
            when = f"{from_minute(minute + 1 + minutes):%d %b %H:%M} UTC"
            lasts = f"reaches its limit of {limit} in {span(minutes)}, at {when}"
        return self.monitors[row].verdict(
            Judgement.BREACH,
            minute,
            value=round(level, 6),
            expected=round(config.limit, 6),
            unit=unit,
            score=round(evidence, 4),
            window=(minute + 1 - _SHORT_S // 60, minute + 1),
            reason=f"{self.named(row)} {shown(level, unit)}, {moving}: {lasts}",
            evidence={
                "level": round(level, 6),
                "per_hour": round(slope * 3600, 6),
                "limit": config.limit,
                "probability": round(evidence, 4),
                "exhausted": when,
            },
        )
