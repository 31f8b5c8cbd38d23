"""Objectives judged on counts: multi-window burn alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.assess.budget import ObjectiveStatus, objective_status
from tocsin.assess.burn import HOUR, burns_faster, span
from tocsin.assess.components import components, told
from tocsin.assess.ledger import Floats
from tocsin.assess.means import charge_bounds_of
from tocsin.assess.monitor import BurnStep, Mean, Monitor, Objective, Severity
from tocsin.assess.ring import Rows
from tocsin.assess.window import Window
from tocsin.assess.wording import amount, counted
from tocsin.domain.figures import percent
from tocsin.domain.findings import Judgement, Verdict
from tocsin.domain.shares import clopper_pearson_lower

_URGENCY = {"page": 0, "ticket": 1}


class ObjectiveGroup:
    """All objectives at once: one row per (objective, burn step), judged without a Python loop.

    Windows are closed: W minutes ending with the judged one. A step fires when the burn rate lies
    strictly above its factor over both of its windows and the guards hold.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.monitors = tuple(monitors)
        found = [
            (at, monitor.method, step)
            for at, monitor in enumerate(self.monitors)
            if isinstance(monitor.method, Objective)
            for step in sorted(monitor.method.steps, key=lambda step: _URGENCY[step.severity])
        ]
        self._steps = [step for _, _, step in found]
        self._monitor = np.array([at for at, _, _ in found], np.intp)
        self._has_steps = np.bincount(self._monitor, minlength=len(self.monitors)) > 0
        self._budget = np.array([objective.budget for _, objective, _ in found], np.float64)
        self._mean = [objective.mean for _, objective, _ in found]
        self._is_mean = np.array([mean is not None for mean in self._mean], np.bool_)
        self._factor = np.array([step.factor for step in self._steps], np.float64)
        self._after = np.array([step.after_minutes for step in self._steps], np.int64)
        self._is_page = np.array([step.severity == "page" for step in self._steps], np.bool_)
        guards = [objective.guards for _, objective, _ in found]
        self._min_bad = np.array([guard.min_bad for guard in guards], np.int64)
        self._evidence = np.array([guard.evidence for guard in guards], np.float64)
        self._min_events = np.array([guard.min_events for guard in guards], np.int64)
        windows = [(step.long_minutes, step.short_minutes) for step in self._steps]
        self._widths = sorted({width for pair in windows for width in pair})
        place = {width: index for index, width in enumerate(self._widths)}
        self._long = np.array([place[long] for long, _ in windows], np.intp)
        self._short = np.array([place[short] for _, short in windows], np.intp)
        self._bound: tuple[Window, Rows] | None = None  # rows of the monitors

    def judge(self, window: Window, minute: int) -> list[Verdict]:
        """BREACH for objectives of which a step fires, UNKNOWN where that cannot be said."""
        verdicts = self._silent_without_steps(window, minute)
        if not self._steps:
            return verdicts
        rows = self._rows(window)[self._monitor]
        sums = np.stack([window.ledger.sums(minute + 1, width) for width in self._widths])
        long = sums[self._long, :, rows].T
        short = sums[self._short, :, rows].T
        burning = burns_faster(long[0], long[1], self._budget, self._factor) & (
            long[0] >= self._min_bad
        )
        burning &= self._is_proven(long, burning & ~self._is_mean)
        burning &= self._is_mean_proven(window, minute + 1, rows, burning & self._is_mean)
        fires = burning & burns_faster(short[0], short[1], self._budget, self._factor)
        fires &= self._is_lasting(window, minute, rows, fires)
        # Burning over the long window with the short one empty: nobody knows whether it is over.
        blind = burning & (short[1] == 0)
        silent = np.bincount(self._monitor, long[1], len(self.monitors)) == 0
        silent &= self._has_steps
        for mine in _by_monitor(np.flatnonzero(fires), self._monitor):
            verdicts.append(self._breach(window, minute, mine, long, short))
        quiet = np.bincount(self._monitor[blind], minlength=len(self.monitors)) > 0
        fired = np.bincount(self._monitor[fires], minlength=len(self.monitors)) > 0
        for at in np.flatnonzero((silent | quiet) & ~fired):
            verdicts.append(self._unknown(int(at), minute, never=bool(silent[at])))
        return verdicts

    def _silent_without_steps(self, window: Window, minute: int) -> list[Verdict]:
        """UNKNOWN for objectives that no alert is asked of and that had no call for an hour."""
        mine = np.flatnonzero(~self._has_steps)
        if not mine.size:
            return []
        calls = window.ledger.sums(minute + 1, HOUR, self._rows(window)[mine])[1]
        return [self._unknown(int(at), minute, never=True) for at in mine[calls == 0]]

    def _rows(self, window: Window) -> Rows:
        if self._bound is None or self._bound[0] is not window:
            self._bound = (window, window.ledger.rows(self.monitors))
        return self._bound[1]

    def _is_proven(self, long: Floats, asking: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether the exact lower bound of the long window's share lies above the budget."""
        proven = np.ones(len(asking), np.bool_)
        asked = np.flatnonzero(asking & (self._evidence > 0))
        bound = clopper_pearson_lower(long[0, asked], long[1, asked], self._evidence[asked])
        proven[asked] = bound > self._budget[asked]
        return proven

    def _is_lasting(
        self, window: Window, minute: int, rows: Rows, asking: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Whether what burns now has burnt as fast at each of the minutes that its step asks for.

        Minutes before the first one held burnt nothing.
        """
        lasting = np.ones(len(asking), np.bool_)
        for at in np.flatnonzero(asking & (self._after > 0)):
            step = self._steps[at]
            lasting[at] = all(
                self._burnt(window, end, width, int(rows[at]), int(at))
                for end in range(minute + 1 - step.after_minutes, minute + 1)
                for width in {step.long_minutes, step.short_minutes}
            )
        return lasting

    def _burnt(self, window: Window, end: int, width: int, row: int, at: int) -> bool:
        bad, total = window.ledger.sums(end, width, np.array([row], np.intp))[:, 0]
        return bool(burns_faster(bad, total, self._budget[at], self._factor[at]))

    def _is_mean_proven(
        self, window: Window, end: int, rows: Rows, asking: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Whether the lower bound of the mean charge lies above the budget, over the long window or
        over the short one: a step in the middle of a window makes all of it look uncertain."""
        proven = np.ones(len(asking), np.bool_)
        for at in np.flatnonzero(asking & (self._evidence > 0)):
            mean, step = self._mean[at], self._steps[at]
            assert mean is not None  # noqa: S101 (only those are asked about)
            bounds = charge_bounds_of(window.ledger, int(rows[at]), mean)
            lows = (
                bounds(end, width, float(self._evidence[at]))[0]
                for width in (step.long_minutes, step.short_minutes)
            )
            proven[at] = any(low > self._budget[at] for low in lows)
        return proven

    def _breach(
        self, window: Window, minute: int, mine: npt.NDArray[np.intp], long: Floats, short: Floats
    ) -> Verdict:
        pages = self._is_page[mine] & (long[1, mine] >= self._min_events[mine])
        firsts = {"page": mine[pages][:1], "ticket": mine[~pages][:1]}
        severity: Severity = "page" if pages.any() else "ticket"
        chosen = int(firsts[severity][0])
        monitor: Monitor = self.monitors[self._monitor[chosen]]
        step, total = self._steps[chosen], round(long[1, chosen])
        status = objective_status(window, monitor, minute)
        burn = float(long[0, chosen] / long[1, chosen] / self._budget[chosen])
        parts = components(window, monitor, minute + 1, step.long_minutes)
        reasons = {
            name: _reason(monitor, self._steps[at], long[:, at], status, told(parts))
            for name, first in firsts.items()
            for at in first
        }
        evidence: dict[str, Any] = {
            **_measured(self._mean[chosen], long[0, chosen], total),
            "total": total,
            "counts_in": status.counts_in,
            "budget": float(self._budget[chosen]),
            "long_minutes": step.long_minutes,
            "short_minutes": step.short_minutes,
            "burn_long": round(burn, 4),
            "burn_short": round(short[0, chosen] / short[1, chosen] / self._budget[chosen], 4),
            "factor": step.factor,
            "budget_remaining": status.remaining,
            "minutes_to_exhaustion": status.minutes_to_exhaustion,
            "steps_firing": [
                f"{span(s.long_minutes)} / {span(s.short_minutes)} {s.severity}"
                for s in (self._steps[index] for index in mine)
            ],
            "rules": reasons,
        }
        if parts:
            evidence["components"] = [asdict(part) for part in parts]
            evidence["component"] = told(parts)
        if severity == "ticket" and self._is_page[chosen]:
            noun = status.counts_in.split()[0]
            evidence["lowered"] = f"fewer than {self._min_events[chosen]} {noun}: a ticket, no page"
        return monitor.verdict(
            Judgement.BREACH,
            minute,
            severity=severity,
            value=burn,
            expected=step.factor,
            unit="x budget",
            window=(minute + 1 - step.long_minutes, minute + 1),
            reason=reasons[severity],
            evidence=evidence,
        )

    def _unknown(self, at: int, minute: int, *, never: bool) -> Verdict:
        monitor = self.monitors[at]
        method = monitor.method
        steps = method.steps if isinstance(method, Objective) else ()
        widest = max((step.long_minutes for step in steps), default=HOUR)
        reason = (
            f"no calls to judge in {span(widest)}"
            if never
            else "the budget was burning, and no calls have come since to say whether it still is"
        )
        return monitor.verdict(
            Judgement.UNKNOWN,
            minute,
            unit="x budget",
            window=(minute + 1 - widest, minute + 1),
            reason=reason,
        )


def _by_monitor(
    steps: npt.NDArray[np.intp], monitor: npt.NDArray[np.intp]
) -> list[npt.NDArray[np.intp]]:
    """`steps`, which are in order of their monitors, split where the monitor changes."""
    if not steps.size:
        return []
    return np.split(steps, np.flatnonzero(np.diff(monitor[steps])) + 1)


def _measured(mean: Mean | None, bad: float, total: int) -> dict[str, Any]:
    """What was counted, in numbers."""
    if mean is None:
        return {"bad": round(bad)}
    return {"mean": float(f"{mean.at(bad / total):.6g}"), "limit": mean.limit,
            "usual": mean.expected, "mean_unit": mean.unit}  # fmt: skip


def _reason(
    monitor: Monitor, step: BurnStep, counts: Floats, status: ObjectiveStatus, by: str
) -> str:
    """by: which components of a composite did it."""
    bad, total = counts
    objective = monitor.method
    assert isinstance(objective, Objective)  # noqa: S101 (only those are judged here)
    burn, within = bad / total / objective.budget, span(step.long_minutes)
    if objective.mean is not None:
        mean = objective.mean
        found, limit, usual = (
            amount(each, mean.unit) for each in (mean.at(bad / total), mean.limit, mean.expected)
        )
        said = (
            f"the mean of {round(total):,} calls in {within} is {found}, "
            f"the objective allows {limit} and expects {usual}"
        )
    else:
        what = (
            counted(round(bad), round(total), monitor.ratio)
            if status.counts_in == "calls"
            else f"{bad:,.3g} of {total:,.6g} {status.counts_in} were bad"
        )
        allowed = percent(objective.budget)
        said = f"{what} in {within} ({percent(bad / total)}), the objective allows {allowed}"
    said += f", mostly by {by}" if by else ""
    text = f"{said}: the {status.period_name} error budget burns {burn:.3g} times too fast"
    left = status.minutes_to_exhaustion
    if left == 0:
        return f"{text} and is used up"
    return f"{text} and lasts {span(max(round(left), 1))}" if left else text
