"""The shapes of the JSON API that differ from the views: without drawings, with their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tocsin.domain.findings import IncidentState
from tocsin.web.tone import Tone
from tocsin.web.views import (
    CallRow,
    ChangeView,
    IncidentRow,
    IncidentView,
    LedgerRow,
    Page,
    ServiceCard,
    SliceView,
    TimelineEntry,
    ToldView,
    Unit,
    VerdictKind,
)

T = TypeVar("T")


class Listing(BaseModel, Generic[T]):
    """Part of a list; pass `next` as `cursor` for the rest. total is null when not counted."""

    total: int | None
    items: list[T]
    next: str | None

    @classmethod
    def of(cls, page: Page[T]) -> Listing[T]:
        """From a view's page."""
        return cls(total=page.total, items=list(page.items), next=page.next)


@dataclass(frozen=True, slots=True)
class ScoreResource:
    """One judgement about a call; null is unknown. versions: 1, and one for each correction."""

    ts: datetime
    received: datetime
    project: str
    service: str
    name: str
    value: float | None
    label: str
    source: str
    annotator: str
    comment: str
    call_id: str
    trace_id: str
    versions: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ScoreResource:
        """From a row of the store, whose times are UTC without saying so."""
        times = {name: row[name].replace(tzinfo=UTC) for name in ("ts", "received")}
        return cls(**{**row, **times})


@dataclass(frozen=True, slots=True)
class ServiceResource:
    """One service at a glance; null is unknown."""

    name: str
    title: str
    state: Tone
    team: str
    model: str
    mode: str
    objective: str
    budget_left: float | None
    burn: float | None
    firing: int
    requests: int | None
    error_rate: float | None
    p95_s: float | None
    reason: str

    @classmethod
    def of(cls, card: ServiceCard) -> ServiceResource:
        """From a card."""
        same = {f.name: getattr(card, f.name) for f in fields(cls) if f.name != "state"}
        return cls(state=card.tone, **same)


@dataclass(frozen=True, slots=True)
class IncidentResource:
    """One incident with its evidence."""

    id: str
    title: str
    service: str
    signal: str
    state: IncidentState
    tier: int
    opened: datetime
    updated: datetime
    resolved: datetime | None
    acknowledged_by: str
    suppressed_by: str
    alerts: int
    verdict: str
    what: str
    expectation: str
    route: str
    reason: str
    value: float | None
    expected: float | None
    unit: Unit
    components: tuple[str, ...]
    slices: tuple[SliceView, ...]
    since: str
    changes: tuple[ChangeView, ...]
    provider: str
    objective: str
    budget_left: float | None
    burn: float | None
    source: str
    description: str
    link: str
    runbook: str
    first_steps: tuple[str, ...]
    told: tuple[ToldView, ...]
    timeline: tuple[TimelineEntry, ...]
    calls_title: str
    calls: tuple[CallRow, ...]

    @classmethod
    def of(cls, view: IncidentView) -> IncidentResource:
        """From a view."""
        row = {f.name: getattr(view.row, f.name) for f in fields(IncidentRow)}
        rest: dict[str, Any] = {
            f.name: getattr(view, f.name) for f in fields(cls) if f.name not in row
        }
        return cls(**row, **rest)


class Ledger(BaseModel):
    """A page of the audit chain. intact is null when it was not verified; checked_whole says when
    every entry was, checked when those that came since were."""

    total: int | None
    items: list[LedgerRow]
    next: str | None
    intact: bool | None
    entries: int
    head: str
    checked: datetime | None
    checked_whole: datetime | None
    problem: str


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    actor: str = Field(min_length=1, max_length=80, description="Who does it; kept in the ledger.")


class Acknowledge(_Input):
    """Take an incident on."""


class Resolve(_Input):
    """Say that an incident is over."""

    reason: str = Field(min_length=1, max_length=500)


class GiveVerdict(_Input):
    """Say whether the page was worth it."""

    kind: VerdictKind
