"""What a page budget would cost: pages a week, incidents that would not page, and how sure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from tocsin.assess.page_budget import Member, PageBudget
from tocsin.assess.prospects import outlook
from tocsin.domain.evidence import EvidenceDay, Review

DAY0, DAYS, MONITORS = 20_000, 42, 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUDGET = PageBudget("team", 2.0, 20.0, {f"d/{i}": Member(f"s-{i}") for i in range(MONITORS)})


def history(incidents: int) -> tuple[list[EvidenceDay], list[Review]]:
    """Six weeks whose calm evidence is what it says; incidents of evidence 3 to 12 at noon."""
    rng = np.random.default_rng(7)
    days, reviews = [], []
    for day in range(DAY0, DAY0 + DAYS):
        for row in range(MONITORS):
            peaks = -np.log10(1.0 - rng.random((24, 60)).max(axis=1))
            kept = {int(h): float(peaks[h]) for h in np.flatnonzero(peaks >= 3.0)}
            if row == 0 and day - DAY0 < incidents:
                kept[12] = 3.0 + 9.0 * (day - DAY0) / max(incidents - 1, 1)
                at = EPOCH + timedelta(days=day, hours=12, minutes=20)
                reviews.append(
                    Review(str(day), "s-0", "d/0", "error_rate", "cx", 2, at,
                           at + timedelta(minutes=30), verdict="real")
                )  # fmt: skip
            days.append(EvidenceDay(f"d/{row}", day, (1 << 24) - 1, kept))
    return days, reviews


def test_more_pages_find_more_and_the_loss_is_bounded() -> None:
    days, reviews = history(30)
    found = outlook(BUDGET, days, reviews, DAY0 + DAYS)
    pages = [p.pages_per_week for p in found.prospects]
    assert pages == [1.0, 2.0, 5.0, 20.0]
    limits = [p.page for p in found.prospects]
    assert limits == sorted(limits, reverse=True)
    assert {p.real for p in found.prospects} == {30}
    for prospect in found.prospects:
        assert prospect.calm_pages <= prospect.pages_per_week
        assert prospect.paged + prospect.ticketed <= 30
        exact = stats.binomtest(prospect.paged, 30, alternative="greater")
        lower = exact.proportion_ci(0.95, "exact").low
        assert prospect.missed_at_most == pytest.approx(1.0 - lower)
    recall = [p.paged for p in found.prospects]
    assert recall == sorted(recall)
    assert recall[0] < recall[-1]
    assert "of 30 real incidents" in str(found.prospects[1])


def test_without_incidents_nothing_is_promised() -> None:
    days, reviews = history(0)
    found = outlook(BUDGET, days, reviews, DAY0 + DAYS)
    assert {(p.real, p.missed_at_most) for p in found.prospects} == {(0, 1.0)}
    assert "no real incident is known" in str(found.prospects[0])
    nothing = outlook(BUDGET, [], [], DAY0)
    assert (nothing.hours, nothing.prospects[0].calm_pages) == (0, 0.0)
