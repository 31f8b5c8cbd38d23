"""What pages and the API show of detectors and of the page budgets that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tocsin.assess.page_budget import Calibration
from tocsin.assess.prospects import Outlook
from tocsin.domain.precision import Precision

Numbers = tuple[float | None, ...]
BY_SEGMENT = "/segments"  # ends the names of monitors that judge every value of a dimension


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One page budget. detectors: that share it. limits: of today, None before the first tick.

    weeks: how much of the last four there is evidence of. pages, false_pages, unanswered (without a
    verdict): of that time, by the detectors that share it. is_overspent: more false ones than
    chance lets a budget have that is held. precision: of all pages in 90 days. outlook: what it and
    other budgets would do, by the history there is.
    """

    name: str
    pages_per_week: float
    tickets_per_week: float
    detectors: int
    limits: Calibration | None
    weeks: float
    pages: int
    false_pages: int
    unanswered: int
    is_overspent: bool
    precision: Precision
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class TeamPrecision:
    """What people said of a team's pages in 90 days, of objectives and everything else too."""

    team: str
    precision: Precision


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """One detector at a glance. name: of its monitor, without "detector/".

    state: what it says now: ok, found, or unknown, with `reason`. evidence: what it found now.
    least: the evidence that is told at all, page_limit: that pages; None where evidence is no
    probability, or nothing pages. incidents: those it spoke for in 30 days; pages among them.
    """

    name: str
    title: str
    service: str
    team: str
    kind: str
    severity: str
    budget: str
    state: str
    reason: str
    evidence: float | None
    least: float | None
    page_limit: float | None
    incidents: int
    pages: int
    precision: Precision

    @property
    def document(self) -> str:
        """What people called it, and whether it looks at segments: two detectors of one service
        may watch the same."""
        name = self.name.removesuffix(BY_SEGMENT)
        part = " by segment" if name != self.name else ""
        return name.removesuffix(f"/{self.service}") + part

    @property
    def watches(self) -> str:
        """What it looks at, without the service that it looks at it of."""
        return self.title.partition(": ")[2] or self.title


@dataclass(frozen=True, slots=True)
class DetectorsView:
    """Every detector, those that find something first, and every budget."""

    updated: datetime
    budgets: tuple[BudgetView, ...]
    teams: tuple[TeamPrecision, ...]
    detectors: tuple[DetectorRow, ...]


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert of 30 days: severity is what it began as. verdict: of its incident, "" for none."""

    began: datetime
    ended: datetime | None
    severity: str
    reason: str
    incident_id: str
    tier: int | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Rang:
    """What would have rung: when, how strongly, and whether people called an incident of the
    service at that time real ("" when there was none, or nobody said)."""

    began: datetime
    ended: datetime
    evidence: float | None
    pages: bool
    reason: str
    verdict: str


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """What some settings would have done. real, real_found: incidents of the service that people
    took for real, and those in which it would have rung; false_found: in how many they called
    false."""

    title: str
    settings: Mapping[str, float]
    alerts: int
    pages: int
    minutes: int
    real: int
    real_found: int
    false_found: int
    rang: tuple[Rang, ...]


@dataclass(frozen=True, slots=True)
class TraceView:
    """Values minute by minute from `start` on, the range that was expected, and where something was
    found."""

    start: datetime
    step_s: int
    unit: str
    values: Numbers
    expected: Numbers
    low: Numbers
    high: Numbers
    found: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class DetectorView:
    """One detector: now, in the last 30 days, and as it would have been.

    settings: those that are numbers. asked: what was asked to be tried, days: over how many.
    outcomes: as it is and as asked; empty when it cannot be replayed, which `note` explains.
    peaks: hour, highest evidence of it. trace: the last day. crowded: segments it leaves out.
    """

    row: DetectorRow
    updated: datetime
    settings: Mapping[str, float]
    days: int
    asked: Mapping[str, float]
    alerts: tuple[AlertRow, ...]
    peaks: tuple[tuple[datetime, float], ...]
    judged_hours: int
    trace: TraceView | None
    outcomes: tuple[OutcomeView, ...]
    note: str
    crowded: tuple[str, ...] = ()


class DetectorDesk(Protocol):
    """What the web asks about detectors."""

    def all(self) -> DetectorsView:
        """Every detector and every page budget."""
        ...

    def one(self, name: str, asked: Mapping[str, float], days: int) -> DetectorView:
        """One detector, and what other settings would have done in the last days; Missing."""
        ...
