"""What a page or an API answer shows, as frozen data with no presentation in it.

Whoever implements `tocsin.web.desk.Desk` fills these from the stores; templates and the JSON API
only read them. Conventions: times are aware UTC; shares are fractions (0.05 is five percent);
durations carry `_s` or `_ms`; unknown is None (NaN inside a `Series`) with the reason beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from tocsin.assess.masked import Fairness
from tocsin.assess.quality import QualityStanding
from tocsin.domain.dependencies import Dependency
from tocsin.domain.findings import IncidentState
from tocsin.engine.health import ServiceHealth
from tocsin.engine.health_history import HealthGroup
from tocsin.web.objective_views import ObjectiveView
from tocsin.web.tone import Tone

T = TypeVar("T")
Values = npt.NDArray[np.float64]
Unit = Literal["s", "ratio", "count", "per_min", "tokens", "usd"]


class Window(StrEnum):
    """The time ranges a page can show."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "28d"

    @property
    def label(self) -> str:
        """As people write it: "24 h"."""
        return f"{self.value[:-1]} {self.value[-1]}"

    @property
    def duration(self) -> timedelta:
        """How far back the window reaches."""
        hours = {"1h": 1, "24h": 24, "7d": 7 * 24, "28d": 28 * 24}
        return timedelta(hours=hours[self.value])

    @property
    def step_s(self) -> int:
        """Seconds per point of a chart over this window: at most 336 points."""
        return {"1h": 60, "24h": 300, "7d": 1800, "28d": 7200}[self.value]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list. `next` is an opaque cursor for the rest, None at the end.

    total: how many items the whole list has, None when counting would cost too much.
    """

    items: tuple[T, ...] = ()
    next: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Evenly spaced values; NaN where there was nothing to measure, which is drawn as a gap."""

    start: datetime
    step_s: int
    values: Values

    @property
    def stop(self) -> datetime:
        """The instant of the last value."""
        return self.start + timedelta(seconds=self.step_s * max(len(self.values) - 1, 0))


@dataclass(frozen=True, slots=True)
class Marker:
    """Something that happened at one instant of a chart, e.g. a deploy."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class ChartView:
    """One indicator over time against what was expected of it.

    low, expected, high: arrays as long as the series (NaN where there is no expectation).
    anomalous: True for the points found anomalous. anomalies: the shaded spans, stop None = still.
    status: a short finding such as "anomaly since 19:55". reason: why there is nothing to draw.
    measure: what a range drawn on it is broken down by, "" where that is not known.
    """

    service: str
    title: str
    unit: Unit
    series: Series
    low: Values | None = None
    expected: Values | None = None
    high: Values | None = None
    anomalous: npt.NDArray[np.bool_] | None = None
    anomalies: tuple[tuple[datetime, datetime | None], ...] = ()
    changes: tuple[Marker, ...] = ()
    threshold: float | None = None
    threshold_label: str = ""
    status: str = ""
    tone: Tone = Tone.OK
    reason: str = ""
    extra: tuple[tuple[str, Series], ...] = ()
    measure: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ServiceCard:
    """One service at a glance, judged by the objective with the least budget left.

    budget_change: budget_left now minus a day ago. reason: why the tone is unknown.
    """

    name: str
    title: str
    tone: Tone
    team: str = ""
    model: str = ""
    objective: str = ""
    budget_left: float | None = None
    budget_change: float | None = None
    burn: float | None = None
    firing: int = 0
    requests: int | None = None
    error_rate: float | None = None
    p95_s: float | None = None
    spark: Series | None = None
    mode: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FleetView:
    """Every service at once. Cards come worst first.

    spend_usual_usd: the usual spend by this time of such a day, None before there is history.
    worst: the chart of the service that needs a look most, None when nothing is drawn. groups:
    health scores by business unit and tier of risk.
    """

    window: Window
    updated: datetime
    environment: str = ""
    cards: tuple[ServiceCard, ...] = ()
    slos_met: int = 0
    slos_at_risk: int = 0
    slos_breached: int = 0
    slos_unknown: int = 0
    firing_pages: int = 0
    firing_tickets: int = 0
    spend_today_usd: float | None = None
    spend_usual_usd: float | None = None
    unpriced_calls: int = 0
    worst: ChartView | None = None
    groups: tuple[HealthGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class HistogramView:
    """Counts between edges: len(edges) == len(counts) + 1. marks: label and place, e.g. p95."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    unit: Unit = "s"
    marks: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeView:
    """Something somebody did."""

    at: datetime
    service: str
    kind: str
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallRow:
    """One normalised call. error_class is None for success; None means unknown everywhere else."""

    ts: datetime
    project: str
    service: str
    kind: str
    name: str = ""
    provider: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage_known: bool = False
    cost_usd: float | None = None
    error_class: str | None = None
    status_message: str | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    truncated: bool = False
    finish_reason: str | None = None
    trace_id: str = ""
    span_id: str = ""
    parent_id: str | None = None
    response_id: str | None = None
    env: str | None = None
    release: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One line of the incident list."""

    id: str
    title: str
    service: str
    signal: str
    state: IncidentState
    tier: int
    opened: datetime
    updated: datetime
    resolved: datetime | None = None
    acknowledged_by: str = ""
    suppressed_by: str = ""
    alerts: int = 1
    verdict: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ServiceView:
    """Everything about one service over a window. unread: sources that cannot be read, in words."""

    card: ServiceCard
    window: Window
    updated: datetime
    charts: tuple[ChartView, ...] = ()
    objectives: tuple[ObjectiveView, ...] = ()
    incidents: tuple[IncidentRow, ...] = ()
    changes: tuple[ChangeView, ...] = ()
    slowest: tuple[CallRow, ...] = ()
    failed: tuple[CallRow, ...] = ()
    latency: HistogramView | None = None
    runbook: str = ""
    serving: tuple[ChartView, ...] = ()
    unread: tuple[str, ...] = ()
    health: tuple[ServiceHealth, ...] = ()
    segments: tuple[Fairness, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    quality: tuple[QualityStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceView:
    """A slice of the traffic and how much of the breach it explains (fraction), if known."""

    label: str
    share: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ToldView:
    """One notification about an incident. state: ready, leased, done, cancelled or dead."""

    at: datetime
    receiver: str
    channel: str
    action: str
    state: str
    detail: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to an incident."""

    at: datetime
    kind: str
    actor: str
    text: str


class VerdictKind(StrEnum):
    """What a responder says about a page afterwards; the page budget learns from it."""

    REAL = "real"
    FALSE = "false"
    DUPLICATE = "duplicate"
    NOISE = "noise"


@dataclass(frozen=True, slots=True, eq=False)
class IncidentView:
    """An incident that explains itself.

    value, expected: in `unit`. expectation: in words, what the value was held against.
    provider: "us or them", in words, "" when not looked at. dependencies: how what the service uses
    fares, in words. missing: parts of the evidence that were not found out in time. children:
    alerts that it explains, and that nobody is told of by themselves.
    components: of a composite, in words. since: when the slices say that it changed, RFC 3339, ""
    when no one minute is certain. breakdown: what to ask the breakdown of the service for. calls:
    those behind it, calls_title: which they are.
    """

    row: IncidentRow
    what: str
    expectation: str
    route: str = ""
    reason: str = ""
    value: float | None = None
    expected: float | None = None
    unit: Unit = "ratio"
    components: tuple[str, ...] = ()
    slices: tuple[SliceView, ...] = ()
    since: str = ""
    breakdown: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[ChangeView, ...] = ()
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    missing: str = ""
    children: tuple[str, ...] = ()
    objective: str = ""
    budget_left: float | None = None
    burn: float | None = None
    chart: ChartView | None = None
    source: str = ""
    description: str = ""
    link: str = ""
    runbook: str = ""
    first_steps: tuple[str, ...] = ()
    told: tuple[ToldView, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    calls_title: str = ""
    calls: tuple[CallRow, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageView:
    """What a receiver got. channel: pagerduty, slack, email, webhook or another kind's name.

    body: the decoded JSON body, or for mail its headers and text. Secrets are already masked.
    """

    id: str
    at: datetime
    channel: str
    receiver: str
    body: Mapping[str, Any] | str
    action: str = ""
    incident_id: str = ""
    status: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One entry of the audit chain."""

    seq: int
    at: datetime
    kind: str
    actor: str
    subject: str
    reason: str
    hash: str
    previous: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerView:
    """A page of the chain, newest first, and whether the chain holds.

    intact: None when not verified. problem: which entry breaks it and how. checked: when what came
    since `checked_whole` was verified; then all of it was.
    """

    page: Page[LedgerRow]
    intact: bool | None
    entries: int
    head: str = ""
    checked: datetime | None = None
    checked_whole: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """Input that was kept but could not be used."""

    id: str
    at: datetime
    source: str
    reason: str
    size_bytes: int
    count: int = 1
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far an accelerated replay has come. at: the replayed instant."""

    start: datetime
    stop: datetime
    at: datetime
    calls: int
    calls_per_s: float | None = None

    @property
    def share(self) -> float:
        """Finished share, 0 to 1."""
        whole = (self.stop - self.start).total_seconds()
        done = (self.at - self.start).total_seconds()
        return min(max(done / whole, 0.0), 1.0) if whole > 0 else 1.0
