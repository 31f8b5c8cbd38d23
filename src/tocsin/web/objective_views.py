"""What the page and the API show of one objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tocsin.assess.means import MeanNow
from tocsin.web.tone import Tone


@dataclass(frozen=True, slots=True)
class BurnView:
    """Burn over one pair of windows; alerts when both exceed `threshold`. None: no data."""

    long: str
    short: str
    long_burn: float | None
    short_burn: float | None
    threshold: float
    severity: Literal["page", "ticket"] = "page"
    is_firing: bool = False


@dataclass(frozen=True, slots=True)
class ObjectiveView:
    """One SLO now. budget_left: 1 untouched, 0 spent, negative overspent, None unknown.

    period_from, period_to: of the budget; one that rolls ends now. budget_left_projected: of what a
    calendar's period will have at its end. standing: what the counts prove (met, breached,
    inconclusive, no_data). exhausted_in_minutes: at the present speed, with its 95 % bounds; None
    is not in this period, or never. counts_in: what bad and total count: calls, or slices of time;
    coverage: how many of those were judged. corrections: what was charged otherwise than it went,
    for so many minutes; sli_uncorrected and budget_left_uncorrected are without them. sli_low,
    sli_high: exact two-sided 95 % interval of `sli`. rules: severity -> why its rule holds.
    unreachable: rules that can never fire, or only in a near-total outage. mean: of an objective
    that holds a mean to a limit; it has no sli, no bad calls, and its target says nothing. held:
    what error-budget policies hold back because of it.
    """

    name: str
    title: str
    service: str
    tone: Tone
    target: float
    window: str
    sli: float | None = None
    bad: int = 0
    total: int = 0
    budget_left: float | None = None
    burns: tuple[BurnView, ...] = ()
    slots: tuple[Tone, ...] = ()
    slots_from: datetime | None = None
    reason: str = ""
    standing: str = "no_data"
    period_from: datetime | None = None
    period_to: datetime | None = None
    budget_left_projected: float | None = None
    exhausted_in_minutes: float | None = None
    exhausted_earliest: float | None = None
    exhausted_latest: float | None = None
    counts_in: str = "calls"
    coverage: float | None = None
    corrections: tuple[str, ...] = ()
    corrected_minutes: int = 0
    sli_uncorrected: float | None = None
    budget_left_uncorrected: float | None = None
    sli_low: float | None = None
    sli_high: float | None = None
    rules: Mapping[str, str] = field(default_factory=dict)
    unreachable: tuple[str, ...] = ()
    mean: MeanNow | None = None
    held: tuple[str, ...] = ()
