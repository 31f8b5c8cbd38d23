"""Where each error budget stands: what is left of it, how long it lasts, and what that proves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tocsin.assess.burn import burn_rate, burns_faster, span
from tocsin.assess.ledger import WEEK, Ledger
from tocsin.assess.means import MIN_KNOWN, SURE, Bounds, MeanNow, charge_bounds_of, mean_now
from tocsin.assess.monitor import BurnStep, Monitor, Objective
from tocsin.assess.window import Window
from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper, exact_interval

Standing = Literal["met", "breached", "inconclusive", "no_data"]
Counts = Callable[[int, int], tuple[float, float]]
Sums = Callable[[int, int], Any]


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
class Uncorrected:
    """A period as it would stand without its corrections.

    minutes: how many of it are corrected. names: by which corrections.
    """

    bad: int
    total: int
    sli: float | None
    remaining: float | None
    minutes: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ObjectiveStatus:
    """Everything there is to say about one objective at one minute.

    period: epoch minutes [from, to) of the budget, `to` of a calendar's in the future.
    counted_from: the first minute of it that counts: of one that rolls over more than three days
    the first whole hour.
    period_name: how people call it. is_calendar: whether it begins anew some day.
    covered_minutes: how much of what has passed of it is held. counts_in: calls, or slices of time;
    coverage: how many of the slices were judged. sli: share of the good ones in it, None without
    any. remaining: share of the budget of the calls so far that is left, below 0 when
    overspent. remaining_projected: the same of the budget that a calendar's period will have at its
    end, if the traffic goes on like last week's. forecast: how long it lasts. standing: exact 95 %
    bounds on the period's counts. correction: the same without corrections, when there are any.
    mean: of an objective about one, which has no share of good calls: `sli` is None and `bad` 0.
    """

    monitor: str
    service: str
    title: str
    metric: str
    target: float
    period: tuple[int, int]
    counted_from: int
    period_name: str
    is_calendar: bool
    covered_minutes: int
    counts_in: str
    coverage: float | None
    bad: int
    total: int
    sli: float | None
    remaining: float | None
    remaining_projected: float | None
    forecast: Forecast | None
    standing: Standing
    burns: tuple[BurnNow, ...]
    correction: Uncorrected | None = None
    mean: MeanNow | None = None

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
    ledger, end = window.ledger, minute + 1
    row = ledger.rows([monitor])

    def counts(until: int, width: int) -> tuple[float, float]:
        bad, total = ledger.sums(until, width, row)[:, 0]
        return float(bad), float(total)

    period = objective.period_at(minute)
    elapsed = end - period[0]
    bad, total = counts(end, elapsed)
    expected = total
    if objective.calendar is not None:
        expected += float(still_expected(window, counts, end, period[1] - end))
    budget = objective.budget
    covered = ledger.covered(end, elapsed)
    slices = objective.slices
    spread = dispersion(ledger.hourly(end, elapsed, int(row[0]))) if slices else 1.0
    bounds = _bounds(ledger, objective, int(row[0]), counts)
    mean = (
        mean_now(ledger, objective.mean, (end, elapsed), (bad, total), bounds)
        if objective.mean
        else None
    )
    return ObjectiveStatus(
        monitor=monitor.name,
        service=monitor.service,
        title=monitor.title,
        metric=objective.metric,
        target=objective.target,
        period=period,
        counted_from=period[0] if objective.calendar else ledger.raw.first_counted(end, elapsed),
        period_name=str(objective.calendar or span(objective.window_minutes)),
        is_calendar=objective.calendar is not None,
        covered_minutes=covered,
        counts_in=_counts_in(objective),
        coverage=total * slices.minutes / covered if slices and covered else None,
        bad=0 if mean else round(bad),
        total=round(total),
        sli=1.0 - bad / total if total and not mean else None,
        remaining=1.0 - bad / total / budget if total else None,
        remaining_projected=1.0 - bad / expected / budget if expected else None,
        forecast=_forecast(objective, period, end, (counts, bounds), (bad, total, expected)),
        standing=(
            _standing_of_mean(mean, total, bounds, (end, elapsed))
            if mean
            else standing(bad / spread, total / spread, budget)
        ),
        burns=tuple(
            _burn_now(step, budget, counts(end, step.long_minutes), counts(end, step.short_minutes))
            for step in objective.steps
        ),
        correction=_correction(window, monitor, objective, period[0], end),
        mean=mean,
    )


def _bounds(ledger: Ledger, objective: Objective, row: int, counts: Counts) -> Bounds:
    """How to bound what a call of a stretch of time is charged on average."""
    if objective.mean is not None:
        return charge_bounds_of(ledger, row, objective.mean)

    def of_shares(until: int, width: int, confidence: float) -> tuple[float, float]:
        bad, total = counts(until, width)
        return (
            float(clopper_pearson_lower(bad, total, confidence)),
            float(clopper_pearson_upper(bad, total, confidence)),
        )

    return of_shares


def _standing_of_mean(
    mean: MeanNow, calls: float, bounds: Bounds, when: tuple[int, int]
) -> Standing:
    """What a mean proves: its charge lies surely within the budget of 1, or surely beyond."""
    if not calls:
        return "no_data"
    if bounds(*when, 0.95)[0] > 1.0:
        return "breached"
    is_enough = mean.known is None or mean.known >= MIN_KNOWN
    return "met" if is_enough and bounds(*when, SURE)[1] <= 1.0 else "inconclusive"


def _counts_in(objective: Objective) -> str:
    if objective.slices:
        return f"slices of {span(objective.slices.minutes)}"
    return "weighted calls" if objective.composite else "calls"


def _correction(
    window: Window, monitor: Monitor, objective: Objective, begin: int, end: int
) -> Uncorrected | None:
    """What corrections made of the period; None when they touch nothing of it."""
    marked: set[int] = set()
    names = []
    for one in objective.corrections:
        spans = list(one.spans(begin, end))
        names += [one.name] if spans else []
        marked.update(minute for span_ in spans for minute in range(*span_))
    if not marked:
        return None
    row = window.ledger.uncorrected_rows([monitor])
    bad, total = window.ledger.sums(end, end - begin, row)[:, 0]
    is_mean = objective.mean is not None
    return Uncorrected(
        bad=0 if is_mean else round(bad),
        total=round(total),
        sli=1.0 - bad / total if total and not is_mean else None,
        remaining=1.0 - bad / total / objective.budget if total else None,
        minutes=len(marked),
        names=tuple(names),
    )


def sli_interval(status: ObjectiveStatus) -> tuple[float | None, float | None]:
    """The exact 95 % interval of the share of good calls: 2.5 % beyond either end. (None, None)
    without calls, and of a mean."""
    if not status.total or status.mean is not None:
        return None, None
    low, high = exact_interval(status.bad, status.total)
    return 1.0 - high, 1.0 - low


def objective_statuses(
    window: Window, monitors: Iterable[Monitor], minute: int
) -> list[ObjectiveStatus]:
    """`objective_status` of every objective among `monitors`, in their order."""
    return [
        objective_status(window, monitor, minute)
        for monitor in monitors
        if isinstance(monitor.method, Objective)
    ]


def standing(bad: float, total: float, budget: float, confidence: float = 0.95) -> Standing:
    """met when the share of bad calls is surely within the budget, breached when surely beyond."""
    if total == 0:
        return "no_data"
    if float(clopper_pearson_upper(bad, total, confidence)) <= budget:
        return "met"
    if float(clopper_pearson_lower(bad, total, confidence)) > budget:
        return "breached"
    return "inconclusive"


def dispersion(batches: npt.NDArray[np.float64]) -> float:
    """How many times more the counts [batch, (bad, total)] vary than independent ones would: >= 1.

    Slices follow each other: a bad one is rarely alone, and n of them say less than n coins. The
    effective number is n over this. Pearson's statistic over its degrees of freedom; McCullagh and
    Nelder, "Generalized Linear Models" (1989), section 4.5.
    """
    used = batches[batches[:, 1] > 0]
    bad, total = used[:, 0], used[:, 1]
    share = bad.sum() / total.sum() if len(used) else 0.0
    if len(used) < 2 or not 0.0 < share < 1.0:
        return 1.0
    residual = (bad - share * total) ** 2 / (total * share * (1.0 - share))
    return max(float(residual.sum()) / (len(used) - 1), 1.0)


def still_expected(window: Window, counts: Sums, end: int, minutes: int) -> Any:
    """Calls, or slices, in the `minutes` to come: those of the same hours of last week, of every
    row that `counts` sums.

    With less than a week of history: as many a minute as there were.
    """
    held = window.ledger.covered(end, WEEK)
    if held < WEEK:
        return counts(end, held)[1] / held * minutes if held else 0.0
    weeks, rest = divmod(minutes, WEEK)
    last = counts(end, WEEK)[1]
    return weeks * last + (last - counts(end, WEEK - rest)[1] if rest else 0)


# --------------------------------------------------------------------------------------------


def _forecast(
    objective: Objective, period: tuple[int, int], end: int, held: tuple[Counts, Bounds],
    now: tuple[float, float, float],
) -> Forecast | None:  # fmt: skip
    """How long the budget lasts; None when nothing can be said."""
    bad, total, expected = now
    counts, bounds = held
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

    slowest, fastest = bounds(end, long, 0.95)

    return Forecast(
        runway(left, recent_bad / recent * pace, reach),
        runway(left, fastest * pace, reach),
        runway(left, slowest * pace, reach),
    )


def runway(left: float, bad_per_minute: float, reach: float | None) -> float | None:
    """Minutes until what is left is used up at this pace; None is not within reach: of a calendar's
    period, whose budget comes back when it ends, not before that."""
    if left <= 0:
        return 0.0
    minutes = left / bad_per_minute if bad_per_minute > 0 else None
    return None if minutes is None or (reach is not None and minutes >= reach) else minutes


def _burn_now(
    step: BurnStep, budget: float, long: tuple[float, float], short: tuple[float, float]
) -> BurnNow:
    rates = [float(burn_rate(*counts, budget)) if counts[1] else None for counts in (long, short)]
    over = all(bool(burns_faster(*counts, budget, step.factor)) for counts in (long, short))
    return BurnNow(step, rates[0], rates[1], over)
