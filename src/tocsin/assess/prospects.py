"""What a page budget would cost and find: the price in detection, before anybody agrees to it.

Read off the same history that limits are found from. Real incidents are those that people called
so, or took: what nobody was told of is not among them, so that the share found is an upper end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tocsin.assess.page_budget import KEPT_DAYS, PageBudget, calibrate, real_hours
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.shares import clopper_pearson_lower

MULTIPLES = (0.5, 1.0, 2.5, 10.0)  # of the budget that is stated
_SURE = 0.95


@dataclass(frozen=True, slots=True)
class Prospect:
    """One budget over the history there is.

    page, ticket: limits. calm_pages: hours a week, outside of real incidents, that would have
    paged; the limits were found from the same hours. real: incidents in which a detector under the
    budget could judge; paged, ticketed: what would have become of them. missed_at_most: the share
    of such incidents that would not page, at 95 % confidence (exact, one-sided); 1 when none is
    known.
    """

    pages_per_week: float
    page: float
    ticket: float
    calm_pages: float
    real: int
    paged: int
    ticketed: int
    missed_at_most: float

    def __str__(self) -> str:
        told = (
            f"{self.pages_per_week:g} a week: pages from evidence {self.page:.1f}; "
            f"{self.calm_pages:.2g} calm hours a week would have paged"
        )
        if not self.real:
            return f"{told}; no real incident is known to it"
        return (
            f"{told}; of {self.real} real incidents {self.paged} page and {self.ticketed} are "
            f"tickets; up to {self.missed_at_most:.0%} of such would not page"
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """A budget, and others than it. hours: of history. is_stated: which of them is the budget."""

    budget: str
    hours: int
    prospects: tuple[Prospect, ...]


def outlook(
    budget: PageBudget, days: Sequence[EvidenceDay], reviews: Sequence[Review], day: int
) -> Outlook:
    """What this budget and its multiples would do from `day` on, by what was seen before it."""
    kept = [d for d in days if d.monitor in budget.members and day - KEPT_DAYS <= d.day < day]
    paging = [d for d in kept if budget.members[d.monitor].pages]
    span = {d.day for d in kept if d.hours}
    weeks = (day - min(span)) / 7 if span else 0.0
    calm = _calm_peaks(budget, paging, reviews, day)
    found = [_peak_of(budget, paging, review, day) for review in reviews if review.is_real]
    peaks = [peak for peak in found if peak is not None]
    prospects = []
    for multiple in MULTIPLES:
        pages = budget.pages_per_week * multiple
        other = replace(
            budget, pages_per_week=pages, tickets_per_week=max(budget.tickets_per_week, pages)
        )
        limits = calibrate(other, kept, reviews, day)
        paged = sum(peak >= limits.page for peak in peaks)
        lower = float(clopper_pearson_lower(paged, len(peaks), _SURE)) if peaks else 0.0
        prospects.append(
            Prospect(
                pages_per_week=pages,
                page=limits.page,
                ticket=limits.ticket,
                calm_pages=sum(p >= limits.page for p in calm) / weeks if weeks else 0.0,
                real=len(peaks),
                paged=paged,
                ticketed=sum(limits.ticket <= peak < limits.page for peak in peaks),
                missed_at_most=1.0 - lower,
            )
        )
    return Outlook(budget.name, sum(d.hours.bit_count() for d in kept), tuple(prospects))


def _calm_peaks(
    budget: PageBudget, days: Iterable[EvidenceDay], reviews: Iterable[Review], day: int
) -> list[float]:
    real = real_hours(reviews, day)
    return [
        max(peak, 0.0)
        for one in days
        for hour, peak in one.peaks.items()
        if not real.get((budget.members[one.monitor].service, one.day), 0) >> hour & 1
        and peak >= budget.members[one.monitor].least
    ]


def _peak_of(
    budget: PageBudget, days: Iterable[EvidenceDay], review: Review, day: int
) -> float | None:
    """The strongest evidence about an incident; None when no detector could judge during it."""
    masks = real_hours([review], day)
    strongest: float | None = None
    for one in days:
        member = budget.members[one.monitor]
        mask = masks.get((member.service, one.day), 0) & one.hours
        if mask:
            peaks = [p for h, p in one.peaks.items() if mask >> h & 1 and p >= member.least]
            strongest = max([strongest or 0.0, *peaks])
    return strongest
