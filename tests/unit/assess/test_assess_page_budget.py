"""Page budgets: false pages a week as stated, real incidents paged, on simulated count scans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tocsin.assess.gauges.budget import threshold
from tocsin.assess.page_budget import (
    FLOOR,
    Calibration,
    Member,
    PageBudget,
    calibrate,
    overspent,
    told_within,
)
from tocsin.assess.scan import NARROW, Limits, scan
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Judgement, Verdict

MONITORS, WEEKS, DAY0 = 12, 10, 20_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def budget(pages: float = 2.0, tickets: float = 20.0, monitors: int = MONITORS) -> PageBudget:
    members = {f"detector/{i}": Member(f"service-{i}") for i in range(monitors)}
    return PageBudget("team", pages, tickets, members)


@cache
def scanned(seed: int, faults: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hourly maxima [monitor, hour] of the count scan over calls whose failures cluster five times
    more than the scan was told, and which hours have a fault (a share six times as high for twenty
    minutes)."""
    rng = np.random.default_rng(seed)
    hours = WEEKS * 168
    peaks = np.zeros((MONITORS, hours))
    faulty = np.zeros((MONITORS, hours), np.bool_)
    if faults:
        at = rng.choice(MONITORS * hours, faults, replace=False)
        faulty[at // hours, at % hours] = True
    limits = Limits(FLOOR, 3, 1.5)
    a = 0.01 * (1.0 - 0.02) / 0.02
    for row in range(MONITORS):
        calls = rng.poisson(20.0, hours * 60)
        share = rng.beta(a, a * 99.0, hours * 60)
        share[(np.flatnonzero(faulty[row])[:, None] * 60 + np.arange(20, 40)).ravel()] *= 6.0
        bad = rng.binomial(calls, np.minimum(share, 1.0))
        k, n = (
            np.stack([np.convolve(x, np.ones(w, np.int64))[: hours * 60] for w in NARROW])
            for x in (bad, calls)
        )
        rho = np.broadcast_to(0.004 / np.array(NARROW)[:, None], k.shape)
        found = scan(k, n, 0.01, rho, limits)
        np.maximum.at(peaks[row], found.index[1] // 60, np.where(found.is_breach, found.score, 0.0))
    return peaks, faulty


def page(row: int, opened: datetime, resolved: datetime, **said: Any) -> Review:
    return Review(
        f"{row}-{opened}", f"service-{row}", f"detector/{row}", "error_rate", "team", 1,
        opened, resolved, **said,
    )  # fmt: skip


def lived(
    peaks: np.ndarray, faulty: np.ndarray, stated: PageBudget, *, answered: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Pages [monitor, hour] of weeks in which responders say of every page what it was, and the
    page limit of each day."""
    pages = np.zeros(peaks.shape, np.bool_)
    days: list[EvidenceDay] = []
    reviews: list[Review] = []
    limits = []
    for day in range(WEEKS * 7):
        limit = calibrate(stated, days, reviews, DAY0 + day).page
        limits.append(limit)
        here = peaks[:, 24 * day : 24 * day + 24]
        pages[:, 24 * day : 24 * day + 24] = here >= limit
        for row, hour in np.argwhere(here >= limit):
            opened = EPOCH + timedelta(days=DAY0 + day, hours=int(hour), minutes=30)
            said = ("real" if faulty[row, 24 * day + hour] else "false") if answered else ""
            reviews.append(page(int(row), opened, opened + timedelta(minutes=20), verdict=said))
        for row in range(MONITORS):
            kept = {int(h): float(here[row, h]) for h in np.flatnonzero(here[row] >= FLOOR)}
            days.append(EvidenceDay(f"detector/{row}", DAY0 + day, (1 << 24) - 1, kept))
    return pages, np.array(limits)


def test_false_pages_stay_within_the_budget_and_faults_page() -> None:
    """Evidence is worth less than it claims here: at its own threshold the scan pages many times
    what the team bears; under a budget it pages that, and still finds what is wrong."""
    peaks, faulty = scanned(seed=4, faults=100)
    settled = slice(4 * 168, None)
    weeks = WEEKS - 4
    nominal = MONITORS * 10_080 * 1e-5  # a week, if evidence 5 were worth what it claims
    assert ((peaks >= 5.0) & ~faulty)[:, settled].sum() / weeks > 8.0 * nominal
    recall = {}
    for stated in (1.0, 5.0, 20.0):
        pages, _ = lived(peaks, faulty, budget(stated, 40.0))
        false = int((pages & ~faulty)[:, settled].sum())
        assert false <= stats.poisson.ppf(0.99, stated * weeks), stated
        recall[stated] = (pages & faulty)[:, settled].sum() / faulty[:, settled].sum()
    assert recall[1.0] < recall[20.0]
    assert recall[5.0] > 0.5


def test_on_calm_series_the_budget_is_held_and_used() -> None:
    stated = budget(5.0, 40.0)
    weeks = WEEKS - 4
    held = int(lived(*scanned(seed=1), stated)[0][:, 4 * 168 :].sum())
    assert held <= stats.poisson.ppf(0.99, 5.0 * weeks)
    assert held >= stats.poisson.ppf(0.01, 0.3 * 5.0 * weeks), "nobody pays for silence"


def test_detectors_that_never_page_share_the_limit_of_tickets() -> None:
    members = {f"detector/{i}": Member("chat", pages=False) for i in range(3)}
    stated = PageBudget("team", 1.0, 1.0, members)
    days = [
        EvidenceDay(name, DAY0 + day, (1 << 24) - 1, {hour: 4.0 + hour / 10 for hour in range(12)})
        for name in members
        for day in range(56)
    ]
    strict = calibrate(stated, days, [], DAY0 + 56).ticket
    assert strict > 5.2, "one a week of the three dozen a day that are found"
    loose = replace(stated, tickets_per_week=200.0)
    assert FLOOR < calibrate(loose, days, [], DAY0 + 56).ticket < strict


def test_nobody_answering_does_not_let_incidents_raise_the_limit_without_bound() -> None:
    peaks, faulty = scanned(seed=4, faults=100)
    _, answered = lived(peaks, faulty, budget())
    pages, silent = lived(peaks, faulty, budget(), answered=False)
    assert (pages & faulty)[:, 4 * 168 :].any()
    assert abs(silent[-1] - answered[-1]) < 4.0


def verdict(score: float) -> Verdict:
    return Verdict(
        "detector/0", "service-0", "error_rate", Judgement.BREACH, 0, "page", score=score,
        reason="9 of 20 calls failed",
    )  # fmt: skip


def test_a_finding_is_a_page_a_ticket_or_nothing() -> None:
    limits = Calibration("team", DAY0, 7.5, 5.0, "measured", 1000, 0, 30, 0, 0)
    member = Member("service-0")

    def told(score: float, member: Member = member, *, is_ongoing: bool = False) -> str | None:
        found = told_within(verdict(score), member, limits, is_ongoing=is_ongoing)
        return found and found.severity

    assert [told(s) for s in (7.5, 7.4, 5.0, 4.9)] == ["page", "ticket", "ticket", None]
    assert told(3.5, is_ongoing=True) == "ticket", "an alert does not end because it weakens"
    assert told(9.0, replace(member, pages=False)) == "ticket"
    assert told(9.0, replace(member, least=9.5)) is None, "what its author asks for is the least"
    ticket = told_within(verdict(6.0), member, limits, is_ongoing=False)
    assert ticket is not None
    assert ticket.reason.endswith("evidence 6.0, a page needs 7.5 by PageBudget team")


def test_real_incidents_are_cut_out_and_false_ones_stay() -> None:
    stated = budget(monitors=1)
    opened = EPOCH + timedelta(days=DAY0, hours=3, minutes=5)
    days = [EvidenceDay("detector/0", DAY0, (1 << 24) - 1, {2: 4.0, 3: 30.0, 9: 3.2})]
    told = page(0, opened, opened + timedelta(hours=1))

    def seen(**said: Any) -> tuple[int, int, int]:
        found = calibrate(stated, days, [replace(told, **said)], DAY0 + 1)
        return found.blocks, found.cut, found.peaks

    # It was under way a quarter of an hour before it was noticed, and ended in the next hour.
    assert seen(verdict="real") == (21, 3, 1)
    assert seen(acknowledged=True) == (21, 3, 1)
    assert seen(verdict="false", acknowledged=True) == (24, 0, 3)
    assert seen() == (24, 0, 3)
    later = calibrate(stated, days, [], DAY0)
    assert (later.blocks, later.method) == (0, "bonferroni"), "a day is not judged by itself"


def test_a_week_that_differs_is_said() -> None:
    days = [
        EvidenceDay(f"detector/{i}", DAY0 + d, (1 << 24) - 1, {5: 3.5} if d >= 21 else {})
        for i in range(MONITORS)
        for d in range(28)
    ]
    assert "less calm than before: 84 hours" in calibrate(budget(), days, [], DAY0 + 28).shifted
    assert calibrate(budget(), days, [], DAY0 + 21).shifted == ""


def test_what_is_known_only_from_a_level_on_gives_no_answer_below_it() -> None:
    rng = np.random.default_rng(8)
    full = (-np.log10(rng.random((40_000, 60)))).max(axis=1)
    cut = np.where(full >= 3.0, full, 0.0)
    for pages in (1.0, 20.0):
        wanted = threshold(full, pages, 5000, 300_000)
        assert threshold(cut, pages, 5000, 300_000, exact_from=3.0) == pytest.approx(
            wanted, abs=0.2
        )
        assert threshold(cut, pages, 5000, 300_000, exact_from=3.0, reviewed=True) == pytest.approx(
            wanted, abs=0.5
        )
    assert threshold(np.zeros(9000), 20.0, 1000, 60_000, exact_from=3.0) == 3.0
    # Nothing seen in a day is no promise for a week.
    assert threshold(np.zeros(240), 2.0, 1680, 100_800, exact_from=3.0) > 3.5


def test_a_month_over_budget_is_told_from_chance() -> None:
    stated = budget(2.0)
    assert not overspent(0, stated, 4.0)
    assert not overspent(12, stated, 4.0)
    assert overspent(15, stated, 4.0)


def test_a_tail_heavier_than_its_name_is_seen_without_verdicts_and_within_bounds() -> None:
    """Runs count 1.75 times in the committee: tenfold takes 1.75 units of evidence there."""
    rng = np.random.default_rng(9)
    peaks = 3.0 + 1.75 * rng.exponential(1.0 / np.log(10.0), 400)
    calm = np.concatenate([peaks, np.zeros(39_600)])
    true = 3.0 + 1.75 * np.log10(400 / 40_000 / (0.6 * 2.0 / 1344))
    found = threshold(calm, 2.0, 1344, 80_640, exact_from=3.0)
    assert found == pytest.approx(true, abs=0.35)
    sick = np.concatenate([calm, rng.uniform(20.0, 60.0, 2000)])  # mostly incidents nobody answered
    assert threshold(sick, 2.0, 1344, 80_640, exact_from=3.0) < 8.0
