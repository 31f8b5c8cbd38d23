"""The ASGI application: guard, intake, pages, forms, API, health. Everything is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from tocsin.domain.clock import Clock
from tocsin.domain.errors import TocsinError
from tocsin.engine.answers import Answers
from tocsin.web import duty, figures
from tocsin.web.actions import Actions
from tocsin.web.answer_pages import AnswerPages
from tocsin.web.api import create_api
from tocsin.web.assets import Assets
from tocsin.web.auth import AuthPolicy
from tocsin.web.callbacks import Callbacks
from tocsin.web.definitions import Definer
from tocsin.web.desk import Desk
from tocsin.web.detector_pages import DetectorPages
from tocsin.web.duty import DutyPages
from tocsin.web.figures import FiguresPage
from tocsin.web.guard import SAFE_HEADERS, Guard, SecurityHeaders, problem
from tocsin.web.pages import Pages
from tocsin.web.render import Renderer

log = structlog.get_logger(__name__)

_TITLES = {
    400: "That address is not right",
    403: "Refused",
    404: "Not found",
    405: "Not that way",
    409: "Somebody was faster",
    500: "That failed",
}


def create_app(
    desk: Desk,
    *,
    definer: Definer | None = None,
    intake_routes: Sequence[BaseRoute] = (),
    sink_app: ASGIApp | None = None,
    routers: Sequence[APIRouter] = (),
    answers: Answers | None = None,
    metrics: Sequence[BaseRoute] = (),
    more_pages: Sequence[Callable[[Renderer, Actions], Sequence[BaseRoute]]] = (),
    auth: AuthPolicy,
    clock: Clock,
) -> Starlette:
    """The whole web of one process.

    definer: takes definitions of objectives and health scores. routers: more of the API.
    intake_routes: come first, so that no page can shadow them. sink_app: the demo's receivers,
    mounted under /sinks. answers: takes what services of receivers send. metrics: for Prometheus.
    more_pages: pages that ask something else than the desk.
    """
    assets = Assets()
    renderer = Renderer(desk, auth, assets, clock)
    actions = Actions(desk, renderer, auth, clock)
    own = (duty.routes(lambda: desk.arranging, clock), figures.routes(desk.figures))
    routes: list[BaseRoute] = [
        *intake_routes,
        Route("/healthz", _healthz, methods=["GET"]),
        Route("/readyz", _Readyz(desk).answer, methods=["GET"]),
        *metrics,
        Route("/static/{name}", assets.serve, methods=["GET"]),
        Mount("/api", create_api(desk, definer, [*routers, *own])),
        *([Mount("/sinks", sink_app)] if sink_app is not None else []),
        *(Callbacks(answers).routes() if answers is not None else []),
        *(AnswerPages(answers, renderer, actions.form).routes() if answers is not None else []),
        *actions.routes(),
        *FiguresPage(desk.figures, renderer).routes(),
        *DutyPages(lambda: desk.arranging, renderer, clock, actions.form).routes(),
        *DetectorPages(desk, renderer).routes(),
        *Pages(desk, renderer).routes(),
        *(route for made in more_pages for route in made(renderer, actions)),
    ]
    renderer.offer({route.path for route in routes if isinstance(route, Route)})
    errors = _Errors(renderer)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Guard, policy=auth, clock=clock),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6),
        ],
        exception_handlers={
            HTTPException: errors.http,
            TocsinError: errors.tocsin,
            Exception: errors.unexpected,
        },
    )


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


class _Readyz:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def answer(self, request: Request) -> Response:
        """200 or 503 with one word per part; what is wrong only to those who may see it."""
        readiness = await run_in_threadpool(self._desk.ready)
        trusted = bool(request.scope.get("tocsin.trusted"))
        checks = {
            name: "ok" if not wrong else wrong if trusted else "failing"
            for name, wrong in readiness.checks.items()
        }
        status = "ready" if readiness.is_ready else "not ready"
        return JSONResponse(
            {"status": status, "checks": checks}, 200 if readiness.is_ready else 503
        )


class _Errors:
    """Pages for what goes wrong. Every text says what to do next."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    async def http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type only)
        detail = error.detail if error.status_code != 404 else "There is no such page."
        return await self._page(request, error.status_code, detail, error.headers)

    async def tocsin(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, TocsinError)  # noqa: S101 (registered for this type only)
        if error.status == 500:
            log.error("page_failed", path=request.url.path, error=str(error))
        return await self._page(request, error.status, str(error))

    async def unexpected(self, request: Request, error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            # Answered and logged by the API already; Starlette hands it up to be seen once more.
            return problem(500, "Tocsin could not answer this. The log says why.")
        log.error("page_failed", path=request.url.path, exc_info=error)
        detail = "Tocsin could not draw this page. The log says why; telemetry is not affected."
        response = await self._page(request, 500, detail)
        # This handler runs outside the middleware that adds them to every other answer.
        response.headers.update({**SAFE_HEADERS, "Cache-Control": "no-store"})
        return response

    async def _page(
        self, request: Request, status: int, detail: str, headers: object = None
    ) -> Response:
        if "text/html" not in request.headers.get("accept", "text/html"):
            return problem(status, detail, headers=headers if isinstance(headers, dict) else None)
        # Without the desk (bare): whatever failed may be the desk itself.
        response = await run_in_threadpool(
            lambda: self._renderer.page(
                request, "error.html", title=_TITLES.get(status, "That did not work"),
                status=status, bare=True, detail=detail, trusted=_trusted(request),
            )
        )  # fmt: skip
        if isinstance(headers, dict):
            response.headers.update(headers)
        return response


def _trusted(request: Request) -> bool:
    return bool(request.scope.get("tocsin.trusted"))
