"""Reads what detectors did, from the ledger, verdicts, evidence, and stored minutes replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from tocsin.alerts.lifecycle import alert_labels, identity_of
from tocsin.assess.band import expected_band
from tocsin.assess.gauges.kind import GaugeConfig
from tocsin.assess.gauges.slices import SlicesConfig
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.assess.page_budget import Calibration, PageBudget, overspent
from tocsin.assess.prospects import Outlook
from tocsin.domain.clock import from_minute, to_minute
from tocsin.domain.evidence import EvidenceDay, Review
from tocsin.domain.findings import Judgement
from tocsin.domain.precision import precision
from tocsin.engine.budgets import calibrations, outlooks
from tocsin.engine.house import House
from tocsin.engine.replay import Episode, Replayed, replay, settings_of, with_settings
from tocsin.web import crowded
from tocsin.web.desk import Missing
from tocsin.web.detector_views import (
    AlertRow,
    BudgetView,
    DetectorRow,
    DetectorsView,
    DetectorView,
    OutcomeView,
    Rang,
    TeamPrecision,
    TraceView,
)

PRECISION_DAYS, SHOWN_DAYS, BUDGET_DAYS = 90, 30, 28
PREFIX = "detector/"
_HELD = 24  # replays that are remembered
_FRESH = 10  # minutes that one holds
_RANK = {"found": 0, "unknown": 1, "ok": 2}
_TRACE = 24 * 60
_UNITS = {"share": "ratio", "volume": "count"}


class DetectorReading:
    """Implements `web.detector_views.DetectorDesk` over a House.

    blind: why nothing is known about the last minutes, or "".
    """

    def __init__(self, house: House, blind: Callable[[], str]) -> None:
        self._house = house
        self._blind = blind
        self._lock = threading.Lock()
        self._replays: dict[tuple[object, ...], Replayed] = {}
        self._outlooks: dict[str, tuple[tuple[int, PageBudget], Outlook]] = {}

    def all(self) -> DetectorsView:
        """Every detector, those that find something first, and every page budget."""
        now = self._house.clock.now()
        reviews = self._reviews(now)
        found = calibrations(self._house.state)
        rows = [self._row(monitor, reviews, found, now) for monitor in self._monitors()]
        rows.sort(key=lambda row: (_RANK[row.state], -row.incidents, row.name))
        pages = [review for review in reviews if review.tier == 1]
        teams = sorted({review.team for review in pages} - {""})
        return DetectorsView(
            updated=now,
            budgets=tuple(
                self._budget(b, found.get(b.name), reviews, now)
                for b in self._house.desired.budgets
            ),
            teams=tuple(
                TeamPrecision(team, precision(r.verdict for r in pages if r.team == team))
                for team in teams
            ),
            detectors=tuple(rows),
        )

    def one(self, name: str, asked: Mapping[str, float], days: int) -> DetectorView:
        """One detector; Missing when there is none, CannotReplay for settings it has not."""
        monitors = {monitor.name: monitor for monitor in self._monitors()}
        monitor = monitors.get(PREFIX + name)
        if monitor is None:
            known = ", ".join(sorted(n.removeprefix(PREFIX) for n in monitors)) or "none"
            raise Missing(f"there is no detector {name}; known: {known}")
        now = self._house.clock.now()
        reviews = self._reviews(now)
        found = calibrations(self._house.state)
        row = self._row(monitor, reviews, found, now)
        outcomes: tuple[OutcomeView, ...] = ()
        trace, note = None, ""
        base = self._as_it_is(monitor)
        settings = settings_of(base)
        if settings:
            changed = {n: v for n, v in asked.items() if v != settings.get(n)}
            other = with_settings(base, changed) if changed else None
            limits = found.get(row.budget)
            outcomes, trace = self._outcomes(base, other, row, limits, reviews, days, now)
        else:
            note = "It compares samples or segments, not minutes: there is nothing to replay."
        kept = self._evidence(monitor, now)
        by_segment = isinstance(monitor.method, SlicesConfig)
        return DetectorView(
            row=row,
            updated=now,
            settings=settings,
            days=days,
            asked={**settings, **asked},
            alerts=tuple(self._alerts(monitor, reviews, now)),
            peaks=_peaks(kept),
            judged_hours=sum(day.hours.bit_count() for day in kept),
            trace=trace,
            outcomes=outcomes,
            note=note,
            crowded=crowded.sentences(self._house, monitor) if by_segment else (),
        )

    # --- private ---

    def _monitors(self) -> list[Monitor]:
        return [m for m in self._house.desired.monitors if m.name.startswith(PREFIX)]

    def _reviews(self, now: datetime) -> Sequence[Review]:
        until = now + timedelta(seconds=1)  # what was said this moment counts
        return self._house.state.reviews(now - timedelta(days=PRECISION_DAYS), until)

    def _row(
        self,
        monitor: Monitor,
        reviews: Iterable[Review],
        found: Mapping[str, Calibration],
        now: datetime,
    ) -> DetectorRow:
        mine = [review for review in reviews if review.monitor == monitor.name]
        lately = [r for r in mine if (now - r.opened).days < SHOWN_DAYS]
        told = self._house.standing.verdicts.get(monitor.name)
        heard = self._house.budgets.heard.get(monitor.name, told)
        state, reason = "ok", heard.reason if heard else ""
        if blind := self._blind():  # what was found minutes ago is not known to be so now
            heard, state, reason = None, "unknown", blind
        elif heard is not None:
            state = "unknown" if heard.judgement is Judgement.UNKNOWN else "found"
        budget, least, limit = self._limits(monitor, found)
        return DetectorRow(
            name=monitor.name.removeprefix(PREFIX),
            title=monitor.title,
            service=monitor.service,
            team=monitor.labels.get("team", ""),
            kind=monitor.method.kind if isinstance(monitor.method, DetectorConfig) else "",
            severity=monitor.severity,
            budget=budget,
            state=state,
            reason=reason,
            evidence=heard.score if heard else None,
            least=least,
            page_limit=limit,
            incidents=len(lately),
            pages=sum(review.tier == 1 for review in lately),
            precision=precision(r.verdict for r in mine),
        )

    def _as_it_is(self, monitor: Monitor) -> Monitor:
        """The monitor as it works: under a budget, without a threshold that nobody has stated."""
        for budget in self._house.desired.budgets:
            if monitor.name in budget.members:
                return with_settings(monitor, {"threshold": budget.members[monitor.name].least})
        return monitor

    def _limits(
        self, monitor: Monitor, found: Mapping[str, Calibration]
    ) -> tuple[str, float | None, float | None]:
        """Its budget, the evidence that is told at all, and that which pages."""
        own = self._house.rules.least.get(monitor.name)
        for budget in self._house.desired.budgets:
            member = budget.members.get(monitor.name)
            limits = found.get(budget.name)
            if member is not None and limits is not None:
                page = max(limits.page, member.least) if member.pages else None
                return budget.name, max(limits.ticket, member.least), page
        return "", own, own if monitor.severity == "page" else None

    def _budget(
        self,
        budget: PageBudget,
        limits: Calibration | None,
        reviews: Sequence[Review],
        now: datetime,
    ) -> BudgetView:
        since = now - timedelta(days=BUDGET_DAYS)
        mine = [r for r in reviews if r.tier == 1 and r.monitor in budget.members]
        lately = [review for review in mine if review.opened >= since]
        false = sum(review.verdict in ("false", "noise") for review in lately)
        today = to_minute(now) // _TRACE
        days = {
            day.day
            for day in self._house.state.evidence(today - BUDGET_DAYS, today + 1)
            if day.monitor in budget.members and day.hours
        }
        weeks = (today + 1 - min(days)) / 7 if days else 0.0
        weeks = min(weeks, BUDGET_DAYS / 7)
        return BudgetView(
            name=budget.name,
            pages_per_week=budget.pages_per_week,
            tickets_per_week=budget.tickets_per_week,
            detectors=len(budget.members),
            limits=limits,
            weeks=round(weeks, 1),
            pages=len(lately),
            false_pages=false,
            unanswered=sum(not review.verdict for review in lately),
            is_overspent=overspent(false, budget, max(weeks, 1 / 7)),
            precision=precision(r.verdict for r in mine),
            outlook=self._outlook(budget, now),
        )

    def _outlook(self, budget: PageBudget, now: datetime) -> Outlook:
        """What budgets would do, by what was known at the last full ten minutes."""
        minute = to_minute(now)
        held = self._outlooks.get(budget.name)
        if held is None or held[0] != (minute // _FRESH, budget):
            (found,) = outlooks([budget], self._house.state, minute // _TRACE + 1)
            held = self._outlooks[budget.name] = ((minute // _FRESH, budget), found)
        return held[1]

    def _alerts(
        self, monitor: Monitor, reviews: Sequence[Review], now: datetime
    ) -> Iterable[AlertRow]:
        """Alerts that began in the last 30 days, the newest first, as the ledger has them."""
        config = self._house.rules.lifecycle
        labels = alert_labels(monitor.verdict(Judgement.OK, 0), config)
        subject = identity_of(labels, config.identity)
        since = now - timedelta(days=SHOWN_DAYS)
        rows: list[AlertRow] = []
        for entry in self._house.state.entries_about(subject):
            at = datetime.fromtimestamp(entry.at_us / 1e6, UTC)
            if entry.kind == "alert.firing" and entry.data.get("from") not in ("firing", "stale"):
                review = _incident_at(monitor, reviews, at)
                rows.append(
                    AlertRow(
                        began=at,
                        ended=None,
                        severity=str(entry.data.get("severity", "")),
                        reason=entry.reason,
                        incident_id=review.incident_id if review else "",
                        tier=review.tier if review else None,
                        verdict=review.verdict if review else "",
                    )
                )
            elif entry.kind == "alert.resolved" and rows and rows[-1].ended is None:
                last = rows[-1]
                rows[-1] = AlertRow(
                    last.began, at, last.severity, last.reason, last.incident_id, last.tier,
                    last.verdict,
                )  # fmt: skip
        return [row for row in reversed(rows) if row.began >= since]

    def _evidence(self, monitor: Monitor, now: datetime) -> list[EvidenceDay]:
        today = to_minute(now) // _TRACE
        names = [monitor.name]
        return list(self._house.state.evidence(today - SHOWN_DAYS, today + 1, names))

    def _outcomes(
        self,
        monitor: Monitor,
        other: Monitor | None,
        row: DetectorRow,
        limits: Calibration | None,
        reviews: Sequence[Review],
        days: int,
        now: datetime,
    ) -> tuple[tuple[OutcomeView, ...], TraceView]:
        stop = (to_minute(now) - 1) // _FRESH * _FRESH
        start = stop - days * 24 * 60
        as_is = self._replayed(monitor, start, stop)
        ticket = limits.ticket if limits else 0.0
        told = [_outcome("As it is", monitor, as_is, ticket, row, reviews)]
        if other is not None:
            tried = self._replayed(other, start, stop)
            told.append(_outcome("As asked", other, tried, ticket, row, reviews))
        return tuple(told), _trace(monitor, as_is)

    def _replayed(self, monitor: Monitor, start: int, stop: int) -> Replayed:
        key = (repr(monitor), start, stop)
        with self._lock:  # one at a time: each takes a processor for seconds
            found = self._replays.get(key)
            if found is None:
                found = replay(self._house.history, monitor, start, stop)
                self._replays = {
                    **dict(list(self._replays.items())[-_HELD + 1 :]), key: found,
                }  # fmt: skip
            return found


def _peaks(days: Iterable[EvidenceDay]) -> tuple[tuple[datetime, float], ...]:
    return tuple(
        (from_minute((24 * day.day + hour) * 60), peak)
        for day in days
        for hour, peak in sorted(day.peaks.items())
    )


def _incident_at(monitor: Monitor, reviews: Iterable[Review], at: datetime) -> Review | None:
    """The incident that an alert which began at `at` belongs to."""
    return next(
        (
            review
            for review in reviews
            if (review.service, review.signal) == (monitor.service, monitor.signal)
            and review.opened <= at
            and (review.resolved is None or at <= review.resolved)
        ),
        None,
    )


def _outcome(
    title: str,
    monitor: Monitor,
    found: Replayed,
    ticket: float,
    row: DetectorRow,
    reviews: Iterable[Review],
) -> OutcomeView:
    """What a replay amounts to. Under a budget, today's limits say what is told and what pages."""
    episodes = found.episodes(ticket)
    span = from_minute(found.start), from_minute(found.stop)
    known = [
        r
        for r in reviews
        if r.service == monitor.service
        and r.is_real is not None
        and r.opened < span[1]
        and (r.resolved or span[1]) >= span[0]
    ]
    rang = tuple(_rang(episode, monitor, row, known) for episode in episodes)
    hit = [review for review in known if any(_overlaps(review, e) for e in episodes)]
    return OutcomeView(
        title=title,
        settings=settings_of(monitor),
        alerts=len(episodes),
        pages=sum(each.pages for each in rang),
        minutes=sum(episode.minutes for episode in episodes),
        real=sum(review.is_real is True for review in known),
        real_found=sum(review.is_real is True for review in hit),
        false_found=sum(review.is_real is False for review in hit),
        rang=tuple(reversed(rang)),
    )


def _rang(episode: Episode, monitor: Monitor, row: DetectorRow, known: Iterable[Review]) -> Rang:
    pages = monitor.severity == "page"
    if row.budget:
        pages = row.page_limit is not None and episode.evidence >= row.page_limit
    said = ["real" if review.is_real else "false" for review in known if _overlaps(review, episode)]
    return Rang(
        began=from_minute(episode.start),
        ended=from_minute(episode.stop),
        evidence=episode.first.score and episode.evidence,
        pages=pages,
        reason=episode.first.reason,
        verdict=said[0] if said else "",
    )


def _overlaps(review: Review, episode: Episode) -> bool:
    return review.opened - timedelta(minutes=15) <= from_minute(episode.stop) and (
        review.resolved is None or from_minute(episode.start) <= review.resolved
    )


def _trace(monitor: Monitor, found: Replayed) -> TraceView:
    """The last day of a replay, for a chart."""
    first = max(len(found.values) - _TRACE, 0)
    breaching = {verdict.minute - found.start for verdict in found.breaches}
    method = monitor.method
    unit = _UNITS.get(method.measure, "s") if isinstance(method, GaugeConfig) else "ratio"
    if isinstance(method, DetectorConfig) and method.needs == "pace":
        unit = "s"
    scale = 1000.0 if unit == "s" else 1.0  # milliseconds to seconds
    values, expected = found.values[first:] / scale, found.expected[first:] / scale
    low, high = expected - found.spread[first:], expected + found.spread[first:]
    if not np.isfinite(found.spread).any():
        calm = np.where([at in breaching for at in range(first, len(found.values))], np.nan, values)
        band = expected_band(calm, scale="log" if unit == "s" else "linear")
        low, high = band.lower, band.upper
    return TraceView(
        start=from_minute(found.start + first),
        step_s=60,
        unit=unit,
        values=_numbers(values),
        expected=_numbers(expected),
        low=_numbers(np.maximum(low, 0.0)),
        high=_numbers(high),
        found=tuple(at in breaching for at in range(first, len(found.values))),
    )


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    return tuple(float(f"{v:.6g}") if np.isfinite(v) else None for v in values.tolist())
