"""What paging people came to: the page and the API over `engine.responses`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.reports.responses import Figures
from tocsin.web.render import Renderer

USUAL_DAYS = 28
CHOICES = (7, 28, 90)
FiguresOf = Callable[[int, str], tuple[Figures, str]]  # and what is proposed, as YAML


class FiguresPage:
    """One page: tiles, rules, people, and what to change."""

    def __init__(self, figures: FiguresOf, renderer: Renderer) -> None:
        self._figures = figures
        self._renderer = renderer

    def routes(self) -> list[Route]:
        """Its address."""
        return [Route("/figures", self.page, methods=["GET"])]

    def page(self, request: Request) -> Response:
        """The figures of so many days, with hours of a time zone."""
        asked = request.query_params.get("days", "")
        days = int(asked) if asked.isdecimal() and len(asked) < 4 else USUAL_DAYS
        zone = request.query_params.get("tz", "") or "UTC"
        view, patch = self._figures(days, zone)
        return self._renderer.page(
            request, "figures.html", title="Figures", view=view, patch=patch, days=days,
            choices=CHOICES, zone=zone,
        )  # fmt: skip


def routes(figures: FiguresOf) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["incidents"])

    @router.get("/figures", summary="How fast, how often rightly, for whom, at what hours")
    def found(
        days: Annotated[int, Query(ge=1, le=366, description="So many days, up to now.")] = 28,
        tz: Annotated[str, Query(description="IANA time zone that off-hours are of.")] = "UTC",
    ) -> dict[str, Any]:
        view, patch = figures(days, tz)
        return {**asdict(view), "patch": patch}

    return router
