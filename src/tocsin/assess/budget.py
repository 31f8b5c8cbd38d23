"""Where each error budget stands: what is left of it, how long it lasts, and what that proves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tocsin.assess.burn import burn_rate, burns_faster, span
from tocsin.assess.monitor import BurnStep, Monitor, Objective
from tocsin.assess.tails import clopper_pearson_lower, clopper_pearson_upper
from tocsin.assess.window import WEEK, Window

Standing = Literal["met", "breached", "inconclusive", "no_data"]
Counts = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class BurnNow:
    """One burn step as it stands; None where a window had no calls."""

    step: BurnStep
    long_burn: float | None
    short_burn: float | None
    is_over: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many minutes a budget lasts at the speed at which it is spent now.

    earliest, latest: the same at the exact 95 % bounds of that speed, each one-sided; None is not
    within reach (of a calendar's period: not before it ends).
    """

    minutes: float | None
    earliest: float | None
    latest: float | None


@dataclass(frozen=True, slots=True)
class ObjectiveStatus:
    """Everything there is to say about one objective at one minute.

    period: epoch minutes [from, to) of the budget, `to` of a calendar's in the future.
    period_name: how people call it. is_calendar: whether it begins anew some day.
    covered_minutes: how much of what has passed of it is held. sli: share of good calls in it, None
    without calls. remaining: share of the budget of the calls so far that is left, below 0 when
    overspent. remaining_projected: the same of the budget that a calendar's period will have at its
    end, if the traffic goes on like last week's. forecast: how long it lasts. standing: exact 95 %
    bounds on the period's counts.
    """

    monitor: str
    service: str
    title: str
    metric: str
    target: float
    period: tuple[int, int]
    period_name: str
    is_calendar: bool
    covered_minutes: int
    bad: int
    total: int
    sli: float | None
    remaining: float | None
    remaining_projected: float | None
    forecast: Forecast | None
    standing: Standing
    burns: tuple[BurnNow, ...]

    @property
    def period_minutes(self) -> int:
        """The whole length of the period."""
        return self.period[1] - self.period[0]

    @property
    def minutes_to_exhaustion(self) -> float | None:
        """The forecast without its bounds."""
        return self.forecast.minutes if self.forecast else None


def objective_status(window: Window, monitor: Monitor, minute: int) -> ObjectiveStatus:
    """Where one objective stands after `minute`. TypeError for a monitor that is no objective."""
    objective = monitor.method
    if not isinstance(objective, Objective):
        raise TypeError(f"{monitor.name} is a detector and has no budget")
    row = window.burn_rows([monitor.series])
    end = minute + 1

    def counts(until: int, width: int) -> tuple[int, int]:
        bad, total = window.burn.sums(until, width, row)[:, 0]
        return int(bad), int(total)

    period = objective.period_at(minute)
    elapsed = end - period[0]
    bad, total = counts(end, elapsed)
    expected = total
    if objective.calendar is not None:
        expected += _expected_calls(window, counts, end, period[1] - end)
    budget = objective.budget
    return ObjectiveStatus(
        monitor=monitor.name,
        service=monitor.service,
        title=monitor.title,
        metric=objective.metric,
        target=objective.target,
        period=period,
        period_name=str(objective.calendar or span(objective.window_minutes)),
        is_calendar=objective.calendar is not None,
        covered_minutes=window.burn.covered(end, elapsed),
        bad=bad,
        total=total,
        sli=1.0 - bad / total if total else None,
        remaining=1.0 - bad / total / budget if total else None,
        remaining_projected=1.0 - bad / expected / budget if expected else None,
        forecast=_forecast(objective, period, end, counts, (bad, total, expected)),
        standing=standing(bad, total, budget),
        burns=tuple(
            _burn_now(step, budget, counts(end, step.long_minutes), counts(end, step.short_minutes))
            for step in objective.steps
        ),
    )


def objective_statuses(
    window: Window, monitors: Iterable[Monitor], minute: int
) -> list[ObjectiveStatus]:
    """`objective_status` of every objective among `monitors`, in their order."""
    return [
        objective_status(window, monitor, minute)
        for monitor in monitors
        if isinstance(monitor.method, Objective)
    ]


def standing(bad: int, total: int, budget: float, confidence: float = 0.95) -> Standing:
    """met when the share of bad calls is surely within the budget, breached when surely beyond."""
    if total == 0:
        return "no_data"
    if float(clopper_pearson_upper(bad, total, confidence)) <= budget:
        return "met"
    if float(clopper_pearson_lower(bad, total, confidence)) > budget:
        return "breached"
    return "inconclusive"


# --------------------------------------------------------------------------------------------


def _expected_calls(window: Window, counts: Counts, end: int, minutes: int) -> int:
    """Calls in the `minutes` to come: those of the same hours of last week, week after week.

    With less than a week of history: as many a minute as there were.
    """
    held = window.burn.covered(end, WEEK)
    if held < WEEK:
        return round(counts(end, held)[1] / held * minutes) if held else 0
    weeks, rest = divmod(minutes, WEEK)
    return weeks * counts(end, WEEK)[1] + (
        counts(end, WEEK)[1] - counts(end, WEEK - rest)[1] if rest else 0
    )


def _forecast(
    objective: Objective, period: tuple[int, int], end: int, counts: Counts,
    now: tuple[int, int, int],
) -> Forecast | None:  # fmt: skip
    """How long the budget lasts; None when nothing can be said."""
    bad, total, expected = now
    if not expected or not objective.steps:
        return None
    budget = objective.budget
    left = budget * expected - bad
    if left <= 0:
        return Forecast(0.0, 0.0, 0.0)
    long = objective.steps[0].long_minutes
    recent_bad, recent = counts(end, long)
    if not recent:
        return None
    reach = period[1] - end if objective.calendar else None
    # Calls a minute: those to come in the period, or, when it rolls, those that leave it.
    pace = (expected - total) / max(reach, 1) if reach is not None else total / (end - period[0])

    def lasts(share: float) -> float | None:
        minutes = left / (share * pace) if share * pace > 0 else None
        return None if minutes is None or (reach is not None and minutes >= reach) else minutes

    return Forecast(
        lasts(recent_bad / recent),
        lasts(float(clopper_pearson_upper(recent_bad, recent))),
        lasts(float(clopper_pearson_lower(recent_bad, recent))),
    )


def _burn_now(
    step: BurnStep, budget: float, long: tuple[int, int], short: tuple[int, int]
) -> BurnNow:
    rates = [float(burn_rate(*counts, budget)) if counts[1] else None for counts in (long, short)]
    over = all(bool(burns_faster(*counts, budget, step.factor)) for counts in (long, short))
    return BurnNow(step, rates[0], rates[1], over)
