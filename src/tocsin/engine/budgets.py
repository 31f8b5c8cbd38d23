"""Page budgets beside the tick: evidence is kept, limits are found anew each day, verdicts asked.

The limits of a day rest on the days before it and on what people had said by its beginning, so the
same history gives the same limits on every clock; they are kept, so that a restart at noon does not
change them, and written to the ledger. Only history that came since, such as an import, changes
them within the day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tocsin.assess.page_budget import (
    FLOOR,
    KEPT_DAYS,
    Calibration,
    PageBudget,
    calibrate,
    explained,
    is_found,
    told,
    told_within,
)
from tocsin.assess.prospects import Outlook, outlook
from tocsin.domain.clock import from_minute
from tocsin.domain.evidence import EvidenceDay
from tocsin.domain.findings import Judgement, LedgerEvent, Verdict
from tocsin.domain.ports import State

DAY = 24 * 60
CALIBRATIONS = "page_budgets"


class Budgets:
    """What page budgets remember between two minutes; made anew with every configuration.

    budgets: which share no monitor. least: monitor -> evidence it asks for by itself, of every
    monitor whose evidence is kept, under a budget or not: a budget finds the history of its
    detectors when it is stated.
    """

    def __init__(self, budgets: Sequence[PageBudget], least: Mapping[str, float]) -> None:
        self._budgets = {budget.name: budget for budget in budgets}
        self._least = least
        self._of = {name: b for b in budgets for name in b.members}
        self._digest = hashlib.sha256(repr(sorted(map(repr, budgets))).encode()).hexdigest()[:16]
        self._hour = -1
        self._peaks: dict[str, float] = {}
        self._day = -1
        self._is_wiser = False  # history was read that the limits of the day know nothing of
        self.calibrations: Mapping[str, Calibration] = {}
        self.heard: Mapping[str, Verdict] = {}  # by monitor: what was found last, told or not

    def told(self, verdicts: Sequence[Verdict], minute: int, state: State) -> list[Verdict]:
        """What is told of `verdicts`: each as it is, as a ticket instead of a page, or not at all.

        Evidence is kept on the way, and the first minute of a day finds its limits.
        """
        if not self._least:
            return list(verdicts)
        self.note(verdicts, minute, state)
        if self._day != minute // DAY:
            self._begin_day(minute, state)
        self.heard = {v.monitor: v for v in verdicts if v.monitor in self._least}
        ongoing = {alert.labels.get("monitor", "") for alert in state.alerts().values()}
        asked = (self._told(v, v.monitor in ongoing) for v in verdicts)
        return [verdict for verdict in asked if verdict is not None]

    def missing(self, start: int, stop: int, state: State) -> set[int]:
        """Days of epoch minutes [start, stop) without evidence of any detector under a budget: the
        budget is newer than the telemetry."""
        if not self._of:
            return set()
        first, last = start // DAY, (stop - 1) // DAY
        known = {day.day for day in state.evidence(first, last + 1, sorted(self._of))}
        return set(range(first, last + 1)) - known

    def looked_at(self, days: Collection[int], state: State) -> None:
        """Whatever there was to be found on `days` is kept: they are missing no more, and the
        limits of today are found anew from them."""
        if not days:
            return
        self._is_wiser = True
        with state.transaction() as tx:
            tx.note_evidence(
                [EvidenceDay(m, day) for m in sorted(self._of) for day in sorted(days)]
            )

    def note(self, verdicts: Sequence[Verdict], minute: int, state: State) -> None:
        """Keep the highest evidence of the hour; at its end, who could judge."""
        day, hour = minute // DAY, minute // 60 % 24
        if self._hour != minute // 60:
            self._hour, self._peaks = minute // 60, {}
        higher = {
            v.monitor: v.score
            for v in verdicts
            if is_found(v, self._least)
            and v.score is not None
            and v.score >= FLOOR
            and v.score > self._peaks.get(v.monitor, 0.0)
        }
        self._peaks |= higher
        days = {m: EvidenceDay(m, day, 1 << hour, {hour: score}) for m, score in higher.items()}
        if minute % 60 == 59:
            blind = {v.monitor for v in verdicts if v.judgement is Judgement.UNKNOWN}
            for name in self._least.keys() - blind - days.keys():
                days[name] = EvidenceDay(name, day, 1 << hour)
        if days:
            with state.transaction() as tx:
                tx.note_evidence([days[name] for name in sorted(days)])

    def _told(self, verdict: Verdict, is_ongoing: bool) -> Verdict | None:
        if not is_found(verdict, self._least):
            return verdict
        budget = self._of.get(verdict.monitor)
        if budget is None:
            return told(verdict, self._least[verdict.monitor])
        limits = self.calibrations[budget.name]
        member = budget.members[verdict.monitor]
        return told_within(verdict, member, limits, is_ongoing=is_ongoing)

    def _begin_day(self, minute: int, state: State) -> None:
        day = minute // DAY
        kept = state.get_meta(CALIBRATIONS) or {}
        before = calibrations(state)
        is_of_today = (kept.get("day"), kept.get("of")) == (day, self._digest)
        if is_of_today and not self._is_wiser:
            self.calibrations, self._day = before, day
            return
        found = self._calibrated(day, state)
        self._is_wiser = False
        if is_of_today and found == before:
            self.calibrations, self._day = before, day
            return
        limits = {name: asdict(calibration) for name, calibration in found.items()}
        with state.transaction() as tx:
            tx.forget_evidence(day - KEPT_DAYS)
            if found or before:
                tx.set_meta(CALIBRATIONS, {"day": day, "of": self._digest, "limits": limits})
            for event in _events(found, before, minute):
                tx.append(event)
        self.calibrations, self._day = found, day

    def _calibrated(self, day: int, state: State) -> dict[str, Calibration]:
        if not self._budgets:
            return {}
        days = state.evidence(day - KEPT_DAYS, day)
        since, until = (from_minute(DAY * at) for at in (day - KEPT_DAYS, day))
        reviews = state.reviews(since, until)
        return {b.name: calibrate(b, days, reviews, day) for b in self._budgets.values()}


def calibrations(state: State) -> dict[str, Calibration]:
    """The limits found last, by the budget, in whatever process."""
    kept = state.get_meta(CALIBRATIONS) or {}
    return {name: Calibration(**found) for name, found in kept.get("limits", {}).items()}


def outlooks(budgets: Sequence[PageBudget], state: State, day: int) -> tuple[Outlook, ...]:
    """What budgets and their multiples would do, by what is known before `day`."""
    if not budgets:
        return ()
    days = state.evidence(day - KEPT_DAYS, day)
    since, until = (from_minute(DAY * at) for at in (day - KEPT_DAYS, day))
    reviews = state.reviews(since, until)
    return tuple(outlook(budget, days, reviews, day) for budget in budgets)


def _events(
    found: Mapping[str, Calibration], before: Mapping[str, Calibration], minute: int
) -> Iterator[LedgerEvent]:
    for name, calibration in found.items():
        data: dict[str, Any] = asdict(calibration)
        yield LedgerEvent(
            at=from_minute(minute + 1),
            kind="budget.calibrated",
            actor="engine",
            subject=f"PageBudget/{name}",
            reason=explained(calibration, before.get(name)),
            data=data,
        )
