"""A page budget at work: which findings of a team's detectors page, learned from what they found.

    evidence of every hour -> without incidents that were real -> the limit of a day -> page, ticket
    or nothing

Detectors whose evidence is -log10 p share one scale, so that one limit holds for all that a team
has. They listen from `FLOOR` up; what is told is decided here. Everything else (objectives, hard
limits, missing calls, rules of thumb) has no such evidence and is outside of any budget.

Assumed: the next week resembles the last eight; hours of a monitor count alike, though neighbours
are not independent. Measured: how often an hour reached which evidence, and what people said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from scipy.special import bdtr, bdtrc, pdtrc

from tocsin.assess.gauges.budget import MIN_BLOCKS, TAIL_PEAKS, threshold
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Judgement, Verdict

FLOOR = 3.0  # evidence from which detectors under a budget are listened to
KEPT_DAYS = 56
REVIEWED = 0.8  # share of pages that somebody answered, from which the tail is measured
_BEGAN_BEFORE = timedelta(minutes=15)  # an incident is under way before it is noticed
_RECENT_DAYS = 7
_SHIFTED = 1e-3  # probability below which the last week is another than the weeks before
_OVERSPENT = 0.05

Method = Literal["bonferroni", "assumed", "measured"]


@dataclass(frozen=True, slots=True)
class Member:
    """A detector under a budget. least: evidence below which nobody is told, whatever the budget
    allows. pages: whether it asks to page."""

    service: str
    least: float = FLOOR
    pages: bool = True


@dataclass(frozen=True, slots=True)
class PageBudget:
    """False pages and tickets a week that a team tolerates over all `members`, by monitor."""

    name: str
    pages_per_week: float
    tickets_per_week: float
    members: Mapping[str, Member]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The limits of one day, and what they rest on.

    day: since 1970; nothing of it or after it was looked at. page, ticket: -log10 p to ask for.
    method: how the page limit was found. blocks: hours of monitors that were judged and are not
    part of a real incident; cut: those that are. peaks: blocks that reached `FLOOR`. answered,
    unanswered: pages of the last eight weeks. shifted: what has changed lately, "" for nothing.
    """

    budget: str
    day: int
    page: float
    ticket: float
    method: Method
    blocks: int
    cut: int
    peaks: int
    answered: int
    unanswered: int
    shifted: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Blocks of some monitors: how many, the evidence of those that reached `FLOOR`, highest first;
    how many there are in a week of now; how many were cut out."""

    blocks: int
    peaks: tuple[float, ...]
    per_week: float
    cut: int = 0

    def limit(self, per_week: float, *, reviewed: bool) -> float:
        """The evidence that so many false ones a week correspond to."""
        below = [0.0] * (self.blocks - len(self.peaks))
        found = threshold(
            [*self.peaks, *below], per_week, self.per_week, 60 * self.per_week,
            reviewed=reviewed, exact_from=FLOOR,
        )  # fmt: skip
        return round(found, 2)

    def method(self, *, reviewed: bool) -> Method:
        """How `limit` finds it."""
        if self.blocks < MIN_BLOCKS:
            return "bonferroni"
        return "measured" if reviewed and len(self.peaks) >= TAIL_PEAKS else "assumed"


def own_threshold(monitor: Monitor) -> float | None:
    """The evidence a detector asks for by itself; None when it cannot be under a budget."""
    method = monitor.method
    if not isinstance(method, DetectorConfig) or not method.is_budgeted:
        return None
    return float(getattr(method, "threshold"))  # noqa: B009 (every budgeted kind has one)


def listening(monitor: Monitor) -> Monitor:
    """The monitor as it is judged: from `FLOOR` up, where its evidence can be kept."""
    own = own_threshold(monitor)
    if own is None or own <= FLOOR:
        return monitor
    lowered: Any = monitor.method
    return replace(monitor, method=replace(lowered, threshold=FLOOR))


def told(verdict: Verdict, least: float) -> Verdict | None:
    """What is told of a detector's finding when no budget covers it."""
    if (verdict.score or 0.0) < least:
        return None
    return replace(verdict, evidence={**verdict.evidence, "limit": least})


def told_within(
    verdict: Verdict, member: Member, limits: Calibration, *, is_ongoing: bool
) -> Verdict | None:
    """What is told of a finding under a budget: a page, a ticket, or nothing.

    is_ongoing: there is an alert already; it goes on as long as the detector finds anything, so
    that evidence that wavers around a limit does not end and begin it again.
    """
    score = verdict.score or 0.0
    page, ticket = max(limits.page, member.least), max(limits.ticket, member.least)
    if member.pages and score >= page:
        limit, severity = page, "page"
        reason = verdict.reason
    elif score >= ticket or (is_ongoing and score >= member.least):
        limit, severity = ticket, "ticket"
        why = f"evidence {score:.1f}, a page needs {page:.1f} by PageBudget {limits.budget}"
        reason = f"{verdict.reason}; {why}" if member.pages else verdict.reason
    else:
        return None
    evidence = {**verdict.evidence, "limit": limit, "page_budget": limits.budget}
    return replace(verdict, severity=severity, reason=reason, evidence=evidence)


def is_found(verdict: Verdict, listened: Collection[str]) -> bool:
    """Whether it is a finding whose evidence is kept."""
    return verdict.judgement is Judgement.BREACH and verdict.monitor in listened


def calibrate(
    budget: PageBudget, days: Iterable[EvidenceDay], reviews: Sequence[Review], day: int
) -> Calibration:
    """The limits for `day`, from days of evidence before it and from incidents as they were seen.

    A function of its arguments: the order of `days` and `reviews` does not matter.
    """
    kept = [d for d in days if d.monitor in budget.members and day - KEPT_DAYS <= d.day < day]
    masks = real_hours(reviews, day)
    mine = _pages(budget, reviews)
    answered = sum(review.is_real is not None for review in mine)
    reviewed = answered >= REVIEWED * len(mine)
    paging = {name for name, member in budget.members.items() if member.pages}
    page = pool(budget, [d for d in kept if d.monitor in paging], masks, paging, day)
    everything = pool(budget, kept, masks, budget.members.keys(), day)
    limit = page.limit(budget.pages_per_week, reviewed=reviewed)
    ticket = everything.limit(budget.tickets_per_week, reviewed=reviewed)
    if not paging:  # nothing can page: the limit of tickets is the only one
        page, limit = everything, ticket
    return Calibration(
        budget=budget.name,
        day=day,
        page=limit,
        ticket=min(ticket, limit),
        method=page.method(reviewed=reviewed),
        blocks=page.blocks,
        cut=page.cut,
        peaks=len(page.peaks),
        answered=answered,
        unanswered=len(mine) - answered,
        shifted=_shifted(budget, kept, masks, day),
    )


def pool(
    budget: PageBudget,
    days: Sequence[EvidenceDay],
    real: Mapping[tuple[str, int], int],
    monitors: Collection[str],
    day: int,
) -> Pool:
    """The blocks of `days`, without the hours in `real`, of `monitors` as there are on `day`."""
    blocks, cut, peaks = 0, 0, []
    first: dict[str, int] = {}
    judged: dict[str, int] = {}
    for one in days:
        mask = real.get((budget.members[one.monitor].service, one.day), 0)
        blocks += (one.hours & ~mask).bit_count()
        cut += (one.hours & mask).bit_count()
        peaks += [p for hour, p in one.peaks.items() if not mask >> hour & 1 and p >= FLOOR]
        if one.hours:
            begins = 24 * one.day + (one.hours & -one.hours).bit_length() - 1
            first[one.monitor] = min(first.get(one.monitor, begins), begins)
            judged[one.monitor] = judged.get(one.monitor, 0) + one.hours.bit_count()
    # A detector that is silent at night has fewer blocks in a week; a new one is taken for a whole.
    per_week = sum(
        168 * judged[m] / (24 * day - first[m]) if m in first else 168.0 for m in monitors
    )
    return Pool(blocks, tuple(sorted(peaks, reverse=True)), per_week, cut)


def real_hours(reviews: Iterable[Review], day: int) -> dict[tuple[str, int], int]:
    """(service, day) -> the hours, as bits, in which an incident was that people took for real."""
    masks: dict[tuple[str, int], int] = {}
    end = 24 * day
    for review in reviews:
        if not review.is_real:
            continue
        begins = max(_hour(review.opened - _BEGAN_BEFORE), end - 24 * KEPT_DAYS)
        ends = end if review.resolved is None else min(_hour(review.resolved) + 1, end)
        for hour in range(begins, ends):
            key = (review.service, hour // 24)
            masks[key] = masks.get(key, 0) | 1 << hour % 24
    return masks


def overspent(false_pages: int, budget: PageBudget, weeks: float) -> bool:
    """Whether so many false pages are more than chance lets a budget that is held have: Poisson,
    at 5 %."""
    allowed = budget.pages_per_week * weeks
    return false_pages > 0 and bool(pdtrc(false_pages - 1, allowed) < _OVERSPENT)


def explained(found: Calibration, before: Calibration | None) -> str:
    """A calibration in a sentence, for the ledger."""
    was = "" if before is None or before.page == found.page else f" (was {before.page:.2f})"
    cut = f", {found.cut} in real incidents left out" if found.cut else ""
    return (
        f"pages from evidence {found.page:.2f}{was}, tickets from {found.ticket:.2f}: "
        f"{found.method}, {found.peaks} of {found.blocks} hours reached {FLOOR:g}{cut}"
        + (f"; {found.shifted}" if found.shifted else "")
    )


def _pages(budget: PageBudget, reviews: Iterable[Review]) -> list[Review]:
    return [r for r in reviews if r.tier == 1 and r.monitor in budget.members]


def _shifted(
    budget: PageBudget,
    days: Sequence[EvidenceDay],
    real: Mapping[tuple[str, int], int],
    day: int,
) -> str:
    """What the last week has that the weeks before had not: given the number of peaks in all, those
    of the last week are binomial when nothing has changed."""
    since = day - _RECENT_DAYS
    lately, before = (
        pool(budget, [d for d in days if (d.day >= since) == is_late], real, (), day)
        for is_late in (True, False)
    )
    if min(lately.blocks, before.blocks) < MIN_BLOCKS:
        return ""
    share = lately.blocks / (lately.blocks + before.blocks)
    peaks, both = len(lately.peaks), len(lately.peaks) + len(before.peaks)
    more, fewer = float(bdtrc(peaks - 1, both, share)), float(bdtr(peaks, both, share))
    if 2.0 * min(more, fewer, 0.5) >= _SHIFTED:
        return ""
    usual = len(before.peaks) / before.blocks * lately.blocks
    return (
        f"the last {_RECENT_DAYS} days are {'less' if more < fewer else 'more'} calm than before: "
        f"{peaks} hours reached evidence {FLOOR:g}, {usual:.1f} were to be expected"
    )


def _hour(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(hours=1))
