"""What a report is made from: everything that was measured over its period, as known at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from tocsin.reports.responses import Figures, Response
from tocsin.reports.vendors import Comparison, Contract

Standing = Literal["met", "breached", "inconclusive", "no_data"]
# What only some reports say, and is read for them alone: fields of Facts, and of every service.
Part = Literal[
    "segments", "scores", "health", "events", "restated", "providers", "models", "contracts",
    "relations", "days", "before",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Totals:
    """Calls of a service over some time.

    failed: those the user did not get an answer to. p95_s: of answered calls, None without any.
    cost_usd: of the `priced` ones, None when there is none. tokens: of calls that reported it.
    incomplete: why some calls may be missing, so that nothing here is the whole, or "".
    """

    calls: int = 0
    failed: int = 0
    p95_s: float | None = None
    cost_usd: float | None = None
    priced: int = 0
    tokens: int = 0
    used: int = 0
    incomplete: str = ""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service over the period. labels: team, exposure, risk_tier and what else it carries.

    before: the same over the period before; no_before: why that is not known, or "". days: each
    day of the period. Both only where the report needs them.
    """

    name: str
    title: str
    labels: Mapping[str, str]
    now: Totals
    before: Totals | None
    no_before: str
    days: tuple[tuple[date, Totals], ...]


@dataclass(frozen=True, slots=True)
class ObjectiveFacts:
    """An objective over the period, and where its own budget stood at its end.

    bad, total: of the period, after corrections; low, high: the exact 95 % interval of the share of
    good ones, None where there is none to give. standing: what the period proves. remaining: of the
    objective's own window (`window`), as pages show it. uncorrected: (bad, total) without
    corrections, None when there are none. amount: the mean itself and its interval, of an objective
    about a mean, which has no share of good calls. incomplete: why counts are missing, or "";
    window_incomplete: the same of its own window, which may begin long before the period.
    """

    name: str
    title: str
    service: str
    target: float
    window: str
    counts_in: str
    bad: int
    total: int
    low: float | None
    high: float | None
    standing: Standing
    remaining: float | None
    days: tuple[tuple[date, float, float], ...]
    uncorrected: tuple[int, int] | None = None
    corrections: tuple[str, ...] = ()
    amount: tuple[float | None, float | None, float | None, float, str] | None = None
    incomplete: str = ""
    window_incomplete: str = ""

    @property
    def sli(self) -> float | None:
        """Share of good calls in the period; None without calls, and of a mean."""
        return 1 - self.bad / self.total if self.total and self.amount is None else None

    @property
    def spent(self) -> float | None:
        """How much of the budget of the period's own calls was spent; 1 is all of it."""
        if not self.total or self.amount is not None or self.target >= 1:
            return None
        return self.bad / self.total / (1 - self.target)


@dataclass(frozen=True, slots=True)
class Restated:
    """Counts of the period before that are others now than when that period was reported."""

    objective: str
    bad_then: int
    total_then: int
    bad_now: int
    total_now: int


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A part of a service's calls. rest: share of failed ones among all others. is_worse: found
    with the false discovery rate controlled over all of them; is_judged: had enough calls."""

    service: str
    dimension: str
    value: str
    calls: int
    failed: int
    low: float
    high: float
    rest: float | None
    is_worse: bool
    is_judged: bool


@dataclass(frozen=True, slots=True)
class ScoreFacts:
    """A score of a service over the period: its mean with a 95 % interval, over `n` of them."""

    service: str
    name: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class HealthFacts:
    """A health score in the period, by what was kept of it. mean: over its minutes with a score,
    None without any; lowest: of them all. state: that the mean would be. minutes: in each state, of
    `length`; what is missing was not kept. reason: what cost most, or why there is no score.
    """

    name: str
    title: str
    service: str
    mean: float | None
    lowest: float | None
    state: str
    minutes: Mapping[str, int]
    length: int
    reason: str
    warning: float


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days from `begin`. value: Spearman's rank correlation over `pairs` calls with its 95 %
    interval; None is unknown, and `unknown` says why. is_weaker: surely less than in all shown
    weeks before it; None where that cannot be said."""

    begin: datetime
    pairs: int
    value: float | None
    low: float | None
    high: float | None
    is_weaker: bool | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """A quality score and the outcome it is there for, as a detector follows them."""

    name: str
    service: str
    quality: str
    outcome: str
    weeks: tuple[Week, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a change, an applied configuration, a decision of a gate."""

    at: datetime
    kind: str
    subject: str
    text: str
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known about the data itself. ledger: entries up to the as-of time; documents: of each
    kind that is configured."""

    calls: int
    unpriced: int
    without_usage: int
    scores: int
    quarantined: int
    ledger: int
    ledger_head: str
    ledger_broken: str
    documents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, as far as a report's template needs it (`Part`). time_zone: whose days are
    counted. providers, models: held against each other. incomplete: why calls of the period may be
    missing; rolled_up: of which time sums, days and segments come from hourly rollups instead;
    both "" as a rule."""

    since: datetime
    until: datetime
    as_of: datetime
    time_zone: str
    services: tuple[ServiceFacts, ...]
    objectives: tuple[ObjectiveFacts, ...]
    responses: tuple[Response, ...]
    paging: Figures
    segments: tuple[SegmentFacts, ...] = ()
    scores: tuple[ScoreFacts, ...] = ()
    health: tuple[HealthFacts, ...] = ()
    events: tuple[Event, ...] = ()
    restated: tuple[Restated, ...] = ()
    quality: Quality | None = None
    providers: tuple[Comparison, ...] = ()
    models: tuple[Comparison, ...] = ()
    contracts: tuple[Contract, ...] = ()
    relations: tuple[Followed, ...] = ()
    incomplete: str = ""
    rolled_up: str = ""
