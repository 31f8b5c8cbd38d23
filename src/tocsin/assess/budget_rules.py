"""Rules about what is left of error budgets: a policy acts on them, edge by edge.

A rule is judged against the budget of the whole period: the bad calls that it allows when the rest
of it has the traffic that is expected. Three bad calls of the first hundred of a month are not
thirty times its budget. Within a calendar period what is spent only grows, so that a threshold is
crossed once; one that rolls can be crossed again, and only after it was left by more than the
rule's hysteresis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tocsin.assess.budget import Forecast, dispersion, runway, still_expected
from tocsin.assess.burn import span
from tocsin.assess.ledger import WEEK
from tocsin.assess.means import charge_bounds_of
from tocsin.assess.monitor import DetectorConfig, Mean, Monitor, Objective
from tocsin.assess.ring import MINUTES_PER_HOUR
from tocsin.assess.window import Window
from tocsin.assess.wording import amount
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.shares import clopper_pearson_lower, clopper_pearson_upper

LEAST_KNOWN = MINUTES_PER_HOUR  # of history, before anything is said of a whole period
_CONFIDENCE = 0.95
_FORECAST_SLACK = 1.25  # a forecast ends when the budget lasts that much longer than it asks for
_HOURS_FOR_SPREAD = 6
_SEVERITY = {"page": "page", "channel": "ticket", "digest": "info"}

Tell = Literal["page", "channel", "digest"]


@dataclass(frozen=True, slots=True)
class BudgetCondition:
    """When a rule holds.

    left: less than `limit` of the budget is left. spent: the last `minutes` alone spent more than
    `limit` of it. exhausts: it is used up within `limit` minutes at the rate of the last `minutes`.
    text: as people wrote it.
    """

    kind: Literal["left", "spent", "exhausts"]
    limit: float
    minutes: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class BudgetRuleConfig(DetectorConfig):
    """A rule of an error-budget policy, for one objective.

    objective: whose budget. for_minutes: how long it must hold before anybody is told. hysteresis:
    share of the budget by which it must be left again to end. tell: how urgently. actions: what
    follows, in words.
    """

    kind: ClassVar[str] = "budget_rule"
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget"]] = "budget"
    signal: ClassVar[str] = "error_budget"

    objective: Monitor
    condition: BudgetCondition
    for_minutes: int = 0
    hysteresis: float = 0.05
    tell: Tell = "channel"
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WholeBudget:
    """A budget of a whole period as it stands at one minute.

    period: epoch minutes [from, to), `end` the minute behind the last judged one. bad, total: so
    far. expected: calls of the whole period. budget: share that may be bad. row: in the ledger.
    mean: of an objective about one; bad is then what its calls are charged.
    """

    period: tuple[int, int]
    end: int
    bad: float
    total: float
    expected: float
    budget: float
    is_calendar: bool
    row: int
    mean: Mean | None = None

    def of_allowed(self, bad: float) -> str:
        """So much of what the whole period allows, in words."""
        if self.mean is None:
            return f"{bad:,.6g} bad of {self.allowed:,.4g} that all of it allows"
        spent, all_ = (
            amount(n * abs(self.mean.width), self.mean.unit) for n in (bad, self.allowed)
        )
        return f"{spent} beyond the expected of {all_} that all of it allows"

    @property
    def measured(self) -> dict[str, Any]:
        """What was spent and what the whole period allows: bad calls, or amounts of a mean."""
        if self.mean is None:
            return {"bad": round(self.bad), "allowed": round(self.allowed, 2)}
        spent, allowed = (
            float(f"{n * abs(self.mean.width):.6g}") for n in (self.bad, self.allowed)
        )
        return {"spent": spent, "allowed": allowed, "mean_unit": self.mean.unit}

    @property
    def allowed(self) -> float:
        """Bad calls that the whole period may have."""
        return self.expected * self.budget

    @property
    def left(self) -> float:
        """Share of the budget that is left, below 0 when it is overspent."""
        return 1.0 - self.bad / self.allowed

    def lasts(self, share: float) -> float | None:
        """Minutes until it is used up when this share of the calls is bad, see `runway`."""
        left = self.allowed - self.bad
        if not self.is_calendar:
            pace = self.expected / (self.period[1] - self.period[0])
            return runway(left, share * pace, None)
        reach = self.period[1] - self.end
        return runway(left, share * (self.expected - self.total) / max(reach, 1), reach)


def whole_budgets(
    window: Window, objectives: Sequence[Monitor], minute: int
) -> Iterator[WholeBudget | None]:
    """The whole budget of each objective after `minute`; None where too little is known: less than
    an hour of history, or no calls.

    Objectives with the same period are read together.
    """
    found: dict[str, WholeBudget] = {}
    periods: dict[tuple[tuple[int, int], bool], list[Monitor]] = {}
    for monitor in objectives:
        method = _objective(monitor)
        key = (method.period_at(minute), method.calendar is not None)
        periods.setdefault(key, []).append(monitor)
    ledger, end = window.ledger, minute + 1
    for (period, is_calendar), members in periods.items():
        rows = ledger.rows(members)

        def counts(until: int, width: int, rows: np.ndarray = rows) -> np.ndarray:
            return ledger.sums(until, width, rows)

        elapsed = end - period[0]
        if ledger.covered(end, max(WEEK, elapsed)) < min(LEAST_KNOWN, period[1] - period[0]):
            continue
        bad, total = counts(end, elapsed)
        expected = np.array(total)
        if is_calendar:
            expected = expected + still_expected(window, counts, end, period[1] - end)
        else:
            # What was there before the first minute that is known is taken to be like the rest.
            expected = expected * (elapsed / max(ledger.covered(end, elapsed), 1))
        for at, monitor in enumerate(members):
            if expected[at] > 0:
                found[monitor.name] = WholeBudget(
                    period, end, float(bad[at]), float(total[at]), float(expected[at]),
                    _objective(monitor).budget, is_calendar, int(rows[at]),
                    _objective(monitor).mean,
                )  # fmt: skip
    return (found.get(monitor.name) for monitor in objectives)


def forecast(window: Window, whole: WholeBudget, minutes: int) -> tuple[Forecast, float] | None:
    """How long a budget lasts at the rate of the last `minutes`, and the least share of bad calls
    that this rate proves; None when there were no calls, or not all of that time is known.

    Bounds are exact and one-sided at 95 %, on the effective number of calls: failures come in
    clumps, and hours differ more than independent calls would. Those of a mean are `assess.means`'.
    """
    bad, total = window.ledger.sums(whole.end, minutes, np.array([whole.row]))[:, 0]
    if not total or window.ledger.covered(whole.end, minutes) < minutes:
        return None
    if whole.mean is not None:
        bounds = charge_bounds_of(window.ledger, whole.row, whole.mean)
        least, most = bounds(whole.end, minutes, _CONFIDENCE)
        return Forecast(whole.lasts(bad / total), whole.lasts(most), whole.lasts(least)), least
    spread = 1.0
    if minutes >= _HOURS_FOR_SPREAD * MINUTES_PER_HOUR:
        spread = dispersion(window.ledger.hourly(whole.end, minutes, whole.row))
    n, k = total / spread, bad / spread
    least = float(clopper_pearson_lower(k, n, _CONFIDENCE))
    most = float(clopper_pearson_upper(k, n, _CONFIDENCE))
    return Forecast(whole.lasts(bad / total), whole.lasts(most), whole.lasts(least)), least


class BudgetRuleGroup:
    """All rules of all policies."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        self._objectives = list(
            {m.name: m for m in (_config(monitor).objective for monitor in monitors)}.values()
        )

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for rules that hold, OK that sustains within their hysteresis, UNKNOWN where
        nothing can be said."""
        names = (monitor.name for monitor in self._objectives)
        budgets = dict(zip(names, whole_budgets(window, self._objectives, minute), strict=True))
        found = (
            _judge(window, monitor, budgets[_config(monitor).objective.name], minute)
            for monitor in self.monitors
        )
        return [verdict for verdict in found if verdict is not None]


# --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """What a condition comes to: whether it holds, or nearly so; in words and numbers."""

    holds: bool
    is_near: bool
    value: float
    unit: str
    reason: str
    forecast: Forecast | None = None


def _judge(
    window: Window, monitor: Monitor, whole: WholeBudget | None, minute: int
) -> Verdict | None:
    config = _config(monitor)
    if whole is None:
        reason = "no calls are known of its period, or less than an hour of history"
        return monitor.verdict(Judgement.UNKNOWN, minute, unit="share", reason=reason)
    guards = _objective(config.objective).guards
    found = _condition(window, config, whole, guards.min_bad)
    if isinstance(found, str):
        return monitor.verdict(Judgement.UNKNOWN, minute, unit="share", reason=found)
    if not (found.holds or found.is_near):
        return None
    severity = _SEVERITY[config.tell]
    evidence: dict[str, Any] = {
        "objective": config.objective.name.removeprefix("slo/"),
        "condition": config.condition.text,
        "total": round(whole.total),
        **whole.measured,
        "budget_remaining": whole.left,
        "actions": list(config.actions),
        "rules": {severity: found.reason} if severity != "info" else {},
    }
    if found.forecast is not None:
        evidence["minutes_to_exhaustion"] = found.forecast.minutes
        evidence["minutes_to_exhaustion_bounds"] = [
            found.forecast.earliest,
            found.forecast.latest,
        ]
    return monitor.verdict(
        Judgement.BREACH if found.holds else Judgement.OK,
        minute,
        severity=severity,
        value=found.value,
        expected=config.condition.limit,
        unit=found.unit,
        window=(whole.period[0], whole.end),
        reason=found.reason,
        evidence=evidence,
        sustains=not found.holds,
    )


def _condition(
    window: Window, config: BudgetRuleConfig, whole: WholeBudget, min_bad: int
) -> _Found | str:
    """What the condition comes to, or why that cannot be said."""
    asked, period = config.condition, _period(config.objective)
    so_far = whole.of_allowed(whole.bad)
    if asked.kind == "left":
        holds, ends = whole.left < asked.limit, asked.limit + config.hysteresis
        against = f"less than {percent(asked.limit)}" if holds else f"it ends at {percent(ends)}"
        reason = (
            f"the {period} error budget is overspent by {percent(-whole.left)}: {so_far}"
            if whole.left < 0
            else f"{percent(whole.left)} of the {period} error budget is left, {against}: {so_far}"
        )
        acts = whole.bad >= min_bad
        return _Found(acts and holds, acts and whole.left < ends, whole.left, "share", reason)
    if asked.kind == "spent":
        bad = float(window.ledger.sums(whole.end, asked.minutes, np.array([whole.row]))[0, 0])
        spent, ends = bad / whole.allowed, max(asked.limit - config.hysteresis, 0.0)
        holds, acts = spent > asked.limit, bad >= min_bad
        known = window.ledger.covered(whole.end, asked.minutes)
        if not holds and known < asked.minutes:
            return f"only {span(known)} of the last {span(asked.minutes)} are known"
        against = f"more than {percent(asked.limit)}" if holds else f"it ends at {percent(ends)}"
        reason = (
            f"the last {span(asked.minutes)} spent {percent(spent)} of the {period} error budget,"
            f" {against}: {whole.of_allowed(bad)}"
        )
        return _Found(acts and holds, acts and spent > ends, spent, "share", reason)
    return _exhaustion(window, config, whole, min_bad)


def _exhaustion(
    window: Window, config: BudgetRuleConfig, whole: WholeBudget, min_bad: int
) -> _Found | str:
    asked, period = config.condition, _period(config.objective)
    told = forecast(window, whole, asked.minutes)
    if told is None:
        known = window.ledger.covered(whole.end, asked.minutes)
        return (
            f"no calls in the last {span(asked.minutes)}: it cannot be said how long it lasts"
            if known >= asked.minutes
            else f"only {span(known)} of the last {span(asked.minutes)} are known"
        )
    lasts, least = told
    if lasts.minutes is None or whole.bad < min_bad:
        return _Found(False, False, 0.0, "min", "")
    # Old failures leave a budget that rolls as new ones come: only a rate that is surely faster
    # than the sustainable one uses it up. A calendar's must surely end before its period does.
    is_proven = lasts.latest is not None if whole.is_calendar else least > whole.budget
    in_time = lasts.minutes <= asked.limit
    is_near = lasts.minutes <= asked.limit * _FORECAST_SLACK
    reason = (
        f"the {period} error budget is used up"
        if lasts.minutes == 0
        else f"the {period} error budget lasts {_lasting(lasts)} at the rate of the last"
        f" {span(asked.minutes)}; {percent(whole.left)} of it is left"
    )
    return _Found(
        in_time and (is_proven or lasts.minutes == 0), is_near, lasts.minutes, "min", reason, lasts
    )


def _lasting(lasts: Forecast) -> str:
    def text(minutes: float | None) -> str:
        return "longer" if minutes is None else span(_rounded(minutes))

    return f"{text(lasts.minutes)} ({text(lasts.earliest)} to {text(lasts.latest)})"


def _rounded(minutes: float) -> int:
    """As exact as a forecast deserves: to the hour from two days on."""
    whole = max(round(minutes), 1)
    return whole if whole < 2 * 1440 else round(whole / MINUTES_PER_HOUR) * MINUTES_PER_HOUR


def _period(objective: Monitor) -> str:
    method = _objective(objective)
    return str(method.calendar or span(method.window_minutes))


def _config(monitor: Monitor) -> BudgetRuleConfig:
    if not isinstance(monitor.method, BudgetRuleConfig):
        raise TypeError(f"{monitor.name} is no rule about an error budget")
    return monitor.method


def _objective(monitor: Monitor) -> Objective:
    if not isinstance(monitor.method, Objective):
        raise TypeError(f"{monitor.name} is a detector and has no budget")
    return monitor.method
