"""Forecast: a budget of money or tokens that will not last as long as its period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

import numpy as np
from scipy.special import ndtr

from tocsin.assess.gauges.board import Looked
from tocsin.assess.gauges.detector import GaugeDetector
from tocsin.assess.gauges.grid import DAY_S, Grid
from tocsin.assess.gauges.history import Floats, known_median
from tocsin.assess.gauges.kind import GaugeConfig, Measure, Scored
from tocsin.assess.period import Calendar, Length
from tocsin.assess.wording import amount
from tocsin.domain.clock import from_minute
from tocsin.domain.findings import Judgement, Verdict

Period = Literal["day", "week", "month"]

_DAYS = 28  # that a day is expected to be like
_HALF_LIFE = 3.0  # days: what was spent yesterday says more than what was spent last week
_MIN_DAYS = 2
_NORMAL = 1.4826  # median absolute deviation -> standard deviation of a normal
_LEAST_SPREAD = 0.05  # of a day: no two are alike
_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 (local time; also the first of a month)
_UNITS = {"day": Length(1, "d"), "week": Length(1, "w"), "month": Length(1, "M")}


@dataclass(frozen=True, slots=True)
class ForecastConfig(GaugeConfig):
    """Settings of the forecast; those of every gauge (measure, over, for_minutes, min_calls), of
    which measure is sum or volume, minute by minute, and

    budget: what may be spent in a period, in the unit of the value. period: day, week or month,
    each of the calendar, in `zone`. confidence: how likely it must be that the budget ends first.
    """

    kind: ClassVar[str] = "forecast"

    measure: Measure = "sum"
    budget: float = 1000.0
    period: Period = "month"
    zone: str = "UTC"
    confidence: float = 0.9

    def __post_init__(self) -> None:
        GaugeConfig.__post_init__(self)
        if self.measure not in ("sum", "volume") or self.over != 1:
            raise ValueError("forecast adds up a sum or a volume, minute by minute")
        if not self.budget > 0.0:
            raise ValueError(f"budget is above 0, not {self.budget:g}")
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"confidence is from 0.5 to below 1, not {self.confidence:g}")
        try:
            self.calendar().period_at(0)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"zone is a name such as Europe/Vienna, not {self.zone!r}") from None

    def calendar(self) -> Calendar:
        """When the budget begins anew."""
        return Calendar(_UNITS[self.period], _MONDAY, self.zone)

    @classmethod
    def scorer(cls, configs: Sequence[GaugeConfig], grid: Grid) -> ForecastScorer:
        """As `GaugeConfig.scorer`."""
        return ForecastScorer([c for c in configs if isinstance(c, cls)], grid)

    def tell(self, evidence: float) -> str:
        """As `GaugeConfig.tell`."""
        return f"the budget ends before its {self.period} does, with {100 * evidence:.0f} %"


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of each step [step, row]: what was spent since the period began, and what will have been at
    its end. ends: the epoch minutes of that end."""

    spent: Floats
    projected: Floats
    ends: Floats


class ForecastScorer:
    """Evidence is the probability that a budget ends before its period.

    A day's spending is normal around the mean of the days behind, the last counting most; both how
    days differ and how well so few of them tell the mean are in the width of the forecast.
    """

    def __init__(self, configs: Sequence[ForecastConfig], grid: Grid) -> None:
        rows = len(configs)
        self.limit = np.array([config.confidence for config in configs])
        self._grid = grid
        self._budget = np.array([config.budget for config in configs])
        self._calendars: dict[Calendar, list[int]] = {}
        for row, config in enumerate(configs):
            self._calendars.setdefault(config.calendar(), []).append(row)
        self._a_day = max(DAY_S // (grid.block * grid.step_s), 1)  # blocks
        self._blocks = np.full((_DAYS * self._a_day, rows), np.nan)
        self._learned: int | None = None
        self._spent = np.zeros(rows)
        self._began = np.zeros(rows)  # the period that `_spent` is of
        self.mean = self.spread = self.size = np.full(rows, np.nan)

    def judge(self, recent: Floats, first: int) -> Scored:
        """As `Scorer.judge`."""
        lead, length = self._grid.lead, len(recent) - self._grid.lead
        since = first if self._learned is None else min(max(self._learned, first - lead), first)
        steps = np.arange(since, first + length)
        given = recent[lead - (first - since) :]
        minutes = (steps + 1) * self._grid.step_s // 60 - 1  # the last that a step has seen
        begins, ends = (np.empty(given.shape) for _ in range(2))
        for periods, rows in self._calendars.items():
            found = np.array([periods.period_at(minute) for minute in minutes.tolist()])
            begins[:, rows], ends[:, rows] = found[:, :1], found[:, 1:]
        # Of the steps of one period, those before each; what was learned counts in its own.
        running = np.cumsum(np.nan_to_num(given), axis=0)
        is_new = np.concatenate([begins[:1] != self._began, begins[1:] != begins[:-1]])
        before = np.concatenate([-self._spent[None], running[:-1]])
        start = np.where(
            is_new, np.concatenate([np.zeros_like(running[:1]), running[:-1]]), -np.inf
        )
        start[0] = np.where(is_new[0], 0.0, before[0])
        spent = (running - np.maximum.accumulate(start, axis=0))[first - since :]
        here = slice(first - since, None)
        left = (ends[here] - minutes[here, None] - 1) * 60 / DAY_S
        projected = spent + left * self.mean
        deviation = self.spread * np.sqrt(left + left * left / self.size)
        room = (projected - self._budget) / np.maximum(deviation, 1e-12)
        evidence = np.where(spent >= self._budget, 1.0, ndtr(np.clip(room, -40.0, 40.0)))
        known = np.isfinite(given[here]) & np.isfinite(projected)
        detail = Outlook(spent, projected, ends[here])
        return Scored(
            np.where(known, evidence, np.nan), np.broadcast_to(self.mean, spent.shape), detail
        )

    def learn(self, block: int, values: Floats, scored: Scored) -> None:
        """As `Scorer.learn`."""
        assert isinstance(scored.detail, Outlook)  # noqa: S101 (what judge returned)
        self._learned = block * self._grid.block + len(values)
        self._spent = scored.detail.spent[-1]
        minute = self._learned * self._grid.step_s // 60 - 1
        for periods, rows in self._calendars.items():
            self._began[rows] = periods.period_at(minute)[0]
        known = np.isfinite(values)
        share = known.mean(axis=0)
        total = np.where(known, values, 0.0).sum(axis=0) / np.maximum(share, 0.5)
        self._blocks = np.roll(self._blocks, -1, axis=0)
        self._blocks[-1] = np.where(share >= 0.5, total, np.nan)
        self._learn_days()

    def _learn_days(self) -> None:
        days = self._blocks.reshape(_DAYS, self._a_day, -1).sum(axis=1)
        age = np.arange(_DAYS)[::-1, None]
        weight = np.where(np.isfinite(days), 0.5 ** (age / _HALF_LIFE), 0.0)
        total = np.maximum(weight.sum(axis=0), 1e-12)
        mean = (weight * np.nan_to_num(days)).sum(axis=0) / total
        # A day that runs away moves the mean; were it in the spread, it would hide itself.
        spread = _NORMAL * known_median(np.abs(days - known_median(days)))
        self.mean = np.where((weight > 0.0).sum(axis=0) >= _MIN_DAYS, mean, np.nan)
        self.spread = np.fmax(spread, _LEAST_SPREAD * np.abs(mean))
        self.size = np.maximum(total**2 / np.maximum((weight**2).sum(axis=0), 1e-12), 1.0)


class Forecast(GaugeDetector):
    """Rings when a budget will, by all likelihood, be spent before its period ends.

    What: spent since the period began, plus the days that are left times what a day costs, by the
    last four weeks of which yesterday counts most (half as much every three days). It rings when
    the probability that this is more than the budget reaches `confidence`, and goes on until the
    forecast is better or the next period begins. It says when the budget will be spent.

    Assumes: days ahead are like days behind. What is left out is not expected: a value that is
    unknown, such as the cost of a model without a price, adds nothing.

    Misleads: before a weekend of a service that has none, when it rings early in short periods;
    at a launch; and when the last days were cheap by chance. A period of which the first days were
    not seen has spent less by these books than in truth.

    Parameters: see `ForecastConfig`.

    >>> grid = Grid(3600)
    >>> scorer = ForecastConfig.scorer([ForecastConfig(budget=1000.0)], grid)
    >>> begin = 455_832  # the hour that 2022 began in
    >>> spent = np.full((240 + grid.lead, 1), 2.0)  # dollars an hour
    >>> for hour in range(240):
    ...     recent = spent[hour : hour + grid.lead + 1]
    ...     scorer.learn(begin + hour, recent[grid.lead :], scorer.judge(recent, begin + hour))
    >>> now = scorer.judge(spent[-grid.lead - 1 :], begin + 240)
    >>> round(float(now.detail.spent[0, 0])), round(float(now.detail.projected[0, 0]))
    (482, 1488)
    >>> bool(now.evidence[0, 0] > 0.9)
    True

    Paper: Hyndman and Athanasopoulos, "Forecasting: principles and practice" (2021), 5.5, for the
    width of a forecast from a mean; Brown, "Statistical forecasting for inventory control" (1959)
    for weights that fade.
    """

    config = ForecastConfig

    def _breach(self, row: int, minute: int, looked: Looked, evidence: float) -> Verdict:
        outlook, config = looked.scored.detail, self._configs[row]
        assert isinstance(outlook, Outlook) and isinstance(config, ForecastConfig)  # noqa: S101, PT018
        monitor, unit = self.monitors[row], self.unit(row)
        spent, projected = float(outlook.spent[-1, row]), float(outlook.projected[-1, row])
        end, a_day = int(outlook.ends[-1, row]), float(looked.scored.expected[-1, row])
        if spent >= config.budget:
            when, lasts = "", f"the budget of {amount(config.budget, unit)} is spent"
        else:
            at = minute + 1 + int((config.budget - spent) / max(a_day, 1e-12) * 1440)
            when = f"{from_minute(min(at, end)):%d %b %H:%M} UTC"
            lasts = (
                f"at {amount(a_day, unit)} a day the budget of {amount(config.budget, unit)} lasts"
                f" until {when}"
            )
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            value=round(projected, 6),
            expected=round(config.budget, 6),
            unit=unit,
            score=round(evidence, 4),
            window=(config.calendar().period_at(minute)[0], minute + 1),
            reason=(
                f"{amount(spent, unit)} spent this {config.period}, {lasts};"
                f" it ends {from_minute(end):%d %b %H:%M} UTC"
            ),
            evidence={
                "spent": round(spent, 6),
                "projected": round(projected, 6),
                "a_day": round(a_day, 6),
                "budget": config.budget,
                "probability": round(evidence, 4),
                "exhausted": when,
                "period_ends": end,
            },
        )
