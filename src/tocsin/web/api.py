"""The JSON API: the same data as the pages, cursor pagination, RFC 9457 errors, OpenAPI.

Mounted under /api; the document is at /api/openapi.json. There is no interactive explorer, because
those load scripts from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tocsin.domain.errors import SpecError, TocsinError
from tocsin.engine.breakdown import MEASURES
from tocsin.engine.sources import TargetStatus
from tocsin.engine.testimony import Why
from tocsin.web import definitions, detectors
from tocsin.web.breakdown_views import Asked
from tocsin.web.call_views import CallView
from tocsin.web.data_quality_views import DataQualityView
from tocsin.web.desk import Desk, IncidentFilter
from tocsin.web.guard import problem
from tocsin.web.objective_detail import ObjectiveResource
from tocsin.web.objective_views import ObjectiveView
from tocsin.web.resources import (
    Acknowledge,
    GiveVerdict,
    IncidentResource,
    Ledger,
    Listing,
    Resolve,
    ServiceResource,
)
from tocsin.web.serving import MetricsResource
from tocsin.web.views import (
    CallRow,
    ChangeView,
    IncidentRow,
    MessageView,
    Page,
    QuarantineRow,
    Window,
)

log = structlog.get_logger(__name__)

LONGEST = timedelta(days=31)  # of metrics at once

Limit = Annotated[int, Query(ge=1, le=10_000, description="At most this many items.")]
Hours = Annotated[int, Query(ge=1, le=6, description="So many hours, up to now.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.")]
From = Annotated[
    datetime | None, Query(alias="from", description="RFC 3339; an hour before `to` if not given.")
]
To = Annotated[datetime | None, Query(alias="to", description="RFC 3339; now if not given.")]
BreakdownFrom = Annotated[
    datetime | None,
    Query(alias="from", description="RFC 3339; a quarter of an hour before `to` if not given."),
]
BaselineFrom = Annotated[
    datetime | None,
    Query(description="RFC 3339; as long before `from` as the range is, an hour at least."),
]
BaselineTo = Annotated[datetime | None, Query(description="RFC 3339; `from` if not given.")]
Measure = Annotated[str, Query(description=f"What is broken down: {', '.join(MEASURES)}.")]
Step = Annotated[int | None, Query(ge=1, le=1440, description="Minutes of a step.")]
Since = Annotated[datetime | None, Query(description="RFC 3339; without a zone it is UTC.")]
_PROBLEM: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "What is wrong and what to do (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"type": "object"}}},
    }
}


def create_api(
    desk: Desk, definer: definitions.Definer | None = None, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """The API as an application of its own, to be mounted under /api.

    definer: None when nothing can be defined here, as in a replay. routers: more of /v1.
    """
    app = FastAPI(
        title="Tocsin",
        version="1",
        summary="What Tocsin knows about your LLM services",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEM,
    )
    app.include_router(_reading(desk), prefix="/v1")
    app.include_router(_objectives(desk), prefix="/v1")
    app.include_router(_explaining(desk), prefix="/v1")
    app.include_router(_records(desk), prefix="/v1")
    app.include_router(_acting(desk), prefix="/v1")
    app.include_router(detectors.routes(desk), prefix="/v1")
    for router in routers:
        app.include_router(router, prefix="/v1")
    if definer is not None:
        app.include_router(definitions.routes(definer), prefix="/v1")
        app.add_exception_handler(SpecError, definitions.unfit)
    answer_errors(app)
    return app


def answer_errors(app: FastAPI) -> None:
    """Let it answer every error as a problem (RFC 9457), with the status that the error says."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(TocsinError, _tocsin)
    app.add_exception_handler(Exception, _unexpected)


def _objectives(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["objectives"])

    @router.get("/objectives", summary="Every SLO, least budget first")
    def objectives() -> Listing[ObjectiveView]:
        found = desk.objectives()
        return Listing[ObjectiveView].of(Page(found, None, len(found)))

    @router.get("/objectives/{name}", summary="One SLO, and what lay near its breaches")
    def objective(name: str) -> ObjectiveResource:
        return ObjectiveResource.of(desk.objective(name))

    return router


def _reading(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["services"])

    @router.get("/services", summary="Every service, worst first")
    def services(window: Window = Window.DAY) -> Listing[ServiceResource]:
        cards = desk.fleet(window).cards
        page = Page(tuple(ServiceResource.of(card) for card in cards), None, len(cards))
        return Listing[ServiceResource].of(page)

    @router.get("/calls", summary="Normalised calls, newest first")
    def calls(
        limit: Limit = 100, since: Since = None, service: str = "", cursor: Cursor = None
    ) -> Listing[CallRow]:
        return Listing[CallRow].of(desk.calls(limit, _utc(since), service, cursor))

    @router.get(
        "/calls/{trace_id}/{span_id}", summary="One call with its texts, log records and scores"
    )
    def call(trace_id: str, span_id: str) -> CallView:
        return desk.call(trace_id, span_id)

    @router.get("/changes", summary="Deploys and other changes, newest first")
    def changes(
        limit: Limit = 100, since: Since = None, service: str = "", cursor: Cursor = None
    ) -> Listing[ChangeView]:
        return Listing[ChangeView].of(desk.changes(service, _utc(since), cursor, limit))

    @router.get(
        "/metrics", summary="Metrics of a service: what it reports, and one metric's series"
    )
    def metrics(
        service: str, metric: str = "", start: From = None, stop: To = None, step: Step = None
    ) -> MetricsResource:
        return desk.metrics(service, metric, *_range(start, stop), step)

    @router.get("/data-quality", summary="What telemetry leaves out, service by service")
    def data_quality(hours: Hours = 1) -> DataQualityView:
        return desk.data_quality(hours)

    @router.get("/sources", summary="What is read from elsewhere, target by target")
    def sources() -> Listing[TargetStatus]:
        found = desk.sources()
        return Listing[TargetStatus].of(Page(found, None, len(found)))

    @router.get("/quarantine", summary="Input that was kept but could not be used")
    def quarantine(limit: Limit = 100, cursor: Cursor = None) -> Listing[QuarantineRow]:
        return Listing[QuarantineRow].of(desk.quarantine(cursor, limit))

    return router


def _explaining(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["services"])

    @router.get("/breakdown", summary="Which slice of a service's traffic explains a time range")
    def breakdown(
        service: str,
        measure: Measure = "failed",
        start: BreakdownFrom = None,
        stop: To = None,
        baseline_from: BaselineFrom = None,
        baseline_to: BaselineTo = None,
    ) -> dict[str, Any]:
        times = (_utc(instant) for instant in (start, stop, baseline_from, baseline_to))
        return desk.breakdown(service, Asked(measure, *times))

    return router


def _records(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["incidents"])

    @router.get("/incidents", summary="Incidents, newest first")
    def incidents(
        state: Literal["live", "resolved", "all"] = "all",
        service: str = "",
        tier: Annotated[int | None, Query(ge=1, le=3)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Listing[IncidentRow]:
        wanted = IncidentFilter(state, service, tier)
        return Listing[IncidentRow].of(desk.incidents(wanted, cursor, limit))

    @router.get("/incidents/{incident_id:path}", summary="One incident with its evidence")
    def incident(incident_id: str) -> IncidentResource:
        return IncidentResource.of(desk.incident(incident_id))

    @router.get("/why", summary="How an incident came to be told, derived again from the ledger")
    def why(
        subject: Annotated[
            str, Query(min_length=1, description="Incident id or alert fingerprint.")
        ],
    ) -> Why:
        return desk.why(subject)

    @router.get("/messages", summary="What receivers got, newest first")
    def messages(
        incident: str = "", limit: Limit = 100, cursor: Cursor = None
    ) -> Listing[MessageView]:
        return Listing[MessageView].of(desk.messages(incident, cursor, limit))

    @router.get("/ledger", summary="The audit chain, newest first, and whether it holds")
    def ledger(subject: str = "", limit: Limit = 100, cursor: Cursor = None) -> Ledger:
        view = desk.ledger(subject, cursor, limit)
        return Ledger(
            total=view.page.total,
            items=list(view.page.items),
            next=view.page.next,
            intact=view.intact,
            entries=view.entries,
            head=view.head,
            checked=view.checked,
            checked_whole=view.checked_whole,
            problem=view.problem,
        )

    return router


def _acting(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["incidents"])

    @router.post("/incidents/{incident_id:path}/acknowledge", summary="Take it on")
    def acknowledge(incident_id: str, body: Acknowledge) -> IncidentResource:
        desk.acknowledge(incident_id, f"api:{body.actor}")
        return IncidentResource.of(desk.incident(incident_id))

    @router.post("/incidents/{incident_id:path}/resolve", summary="Say that it is over")
    def resolve(incident_id: str, body: Resolve) -> IncidentResource:
        desk.resolve(incident_id, f"api:{body.actor}", body.reason)
        return IncidentResource.of(desk.incident(incident_id))

    @router.post("/incidents/{incident_id:path}/verdict", summary="Was the page worth it?")
    def verdict(incident_id: str, body: GiveVerdict) -> IncidentResource:
        desk.verdict(incident_id, body.kind, f"api:{body.actor}")
        return IncidentResource.of(desk.incident(incident_id))

    return router


def _utc(instant: datetime | None) -> datetime | None:
    return instant.replace(tzinfo=UTC) if instant is not None and not instant.tzinfo else instant


def _range(
    start: datetime | None, stop: datetime | None
) -> tuple[datetime | None, datetime | None]:
    first, last = _utc(start), _utc(stop)
    if first is not None and last is not None and not timedelta(0) < last - first <= LONGEST:
        raise HTTPException(422, f"`to` must come after `from`, by at most {LONGEST.days} days")
    return first, last


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this type only)
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "what": str(fault["msg"])}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    answer = {"type": "about:blank", "title": "Unprocessable Content", "status": 422}
    return JSONResponse(
        {**answer, "detail": detail, "errors": faults}, 422, media_type="application/problem+json"
    )


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type only)
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, str(error.detail), headers=headers)


async def _tocsin(request: Request, error: Exception) -> Response:
    assert isinstance(error, TocsinError)  # noqa: S101 (registered for this type only)
    if error.status == 500:
        log.error("api_failed", path=request.url.path, error=str(error))
    return problem(error.status, str(error))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("api_failed", path=request.url.path, exc_info=error)
    return problem(500, "Tocsin could not answer this. The log says why.")
