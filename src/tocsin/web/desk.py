"""The port between the web and everything behind it: what pages ask, and what people do.

Methods block (they read stores) and are called from worker threads, several at once. An
implementation raises `Missing` for an id that does not exist, `BadCursor` for a cursor it did not
hand out, and `Conflict` when somebody else was faster (both of `tocsin.domain.errors`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from tocsin.domain.errors import NotFound
from tocsin.engine.arranging import Arranging
from tocsin.engine.sources import TargetStatus
from tocsin.engine.testimony import Why
from tocsin.reports.responses import Figures
from tocsin.web.breakdown_views import Asked
from tocsin.web.call_views import CallView
from tocsin.web.data_quality_views import DataQualityView
from tocsin.web.detector_views import DetectorDesk
from tocsin.web.objective_detail import ObjectiveDetail
from tocsin.web.objective_views import ObjectiveView
from tocsin.web.readiness import Readiness
from tocsin.web.serving import MetricsResource
from tocsin.web.views import (
    CallRow,
    ChangeView,
    FleetView,
    IncidentRow,
    IncidentView,
    LedgerView,
    MessageView,
    Page,
    QuarantineRow,
    ReplayProgress,
    ServiceView,
    VerdictKind,
    Window,
)


class Missing(NotFound):
    """Nothing exists under this name; the text says what was looked for."""


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Which incidents to list. state: live ones, settled ones, or all; "" means any."""

    state: Literal["live", "resolved", "all"] = "live"
    service: str = ""
    tier: int | None = None


class Desk(Protocol):
    """What the web asks of the engine and its stores."""

    def fleet(self, window: Window) -> FleetView:
        """Every service, worst first. No cards means nothing has ever been received."""
        ...

    def service(self, name: str, window: Window) -> ServiceView:
        """One service; Missing when it was never seen nor configured."""
        ...

    def objectives(self) -> tuple[ObjectiveView, ...]:
        """Every SLO, least budget first, unknown ones last."""
        ...

    def objective(self, name: str) -> ObjectiveDetail:
        """One SLO with what lay near its breaches; Missing when there is none."""
        ...

    @property
    def detectors(self) -> DetectorDesk:
        """What is asked about detectors and page budgets."""
        ...

    def incidents(
        self, wanted: IncidentFilter, cursor: str | None, limit: int, /
    ) -> Page[IncidentRow]:
        """Newest first."""
        ...

    def live_incidents(self) -> int:
        """How many incidents are live and not suppressed; asked by every page, so keep it cheap."""
        ...

    def incident(self, incident_id: str) -> IncidentView:
        """One incident with its evidence; Missing when there is none."""
        ...

    def why(self, subject: str) -> Why:
        """How an incident, or that of an alert, came to be told; NothingKnown of another name."""
        ...

    def messages(self, incident_id: str, cursor: str | None, limit: int) -> Page[MessageView]:
        """What receivers got, newest first; of one incident, or of all with ""."""
        ...

    def ledger(self, subject: str, cursor: str | None, limit: int) -> LedgerView:
        """The audit chain, newest first; of one subject, or of all with ""."""
        ...

    def verify(self) -> None:
        """Verify the whole chain, not only what came since the last time."""
        ...

    def calls(
        self, limit: int, since: datetime | None, service: str, cursor: str | None
    ) -> Page[CallRow]:
        """Calls with ts >= since, newest first, with their total."""
        ...

    def metrics(
        self, service: str, metric: str, start: datetime | None, stop: datetime | None,
        step_minutes: int | None,
    ) -> MetricsResource:  # fmt: skip
        """Metrics of a service and the series of one of them; the last hour when not told."""
        ...

    def breakdown(self, service: str, asked: Asked) -> dict[str, Any]:
        """Which slice of a service's traffic explains a time range; BadRange for what cannot be."""
        ...

    def call(self, trace_id: str, span_id: str) -> CallView:
        """One call with its texts, log records and scores; Missing when there is none."""
        ...

    def changes(
        self, service: str, since: datetime | None, cursor: str | None, limit: int
    ) -> Page[ChangeView]:
        """Deploys and other changes, newest first."""
        ...

    def data_quality(self, hours: int) -> DataQualityView:
        """What telemetry leaves out, in the last 1 to 6 hours."""
        ...

    def sources(self) -> tuple[TargetStatus, ...]:
        """What is read from elsewhere, target by target."""
        ...

    def quarantine(self, cursor: str | None, limit: int) -> Page[QuarantineRow]:
        """Input that was kept but could not be used, newest first."""
        ...

    def progress(self) -> ReplayProgress | None:
        """How far a running replay is; None when nothing is replayed."""
        ...

    def ready(self) -> Readiness:
        """Whether stores, intake and the engine do their work."""
        ...

    def trouble(self) -> str:
        """Why telemetry does not come in as it should, or ""; asked by every page."""
        ...

    def figures(self, days: int, time_zone: str, /) -> tuple[Figures, str]:
        """What paging people came to in the last days, and the rules it proposes, as YAML.

        BadFigures for what cannot be asked.
        """
        ...

    @property
    def arranging(self) -> Arranging:
        """Silences, maintenance and stand-ins."""
        ...

    def acknowledge(self, incident_id: str, actor: str) -> None:
        """Somebody looks at it: escalation stops. Conflict when it is already settled."""
        ...

    def resolve(self, incident_id: str, actor: str, reason: str) -> None:
        """Somebody says it is over. Conflict when it is already settled."""
        ...

    def verdict(self, incident_id: str, kind: VerdictKind, actor: str) -> None:
        """Somebody says whether the page was worth it; may be changed later."""
        ...
