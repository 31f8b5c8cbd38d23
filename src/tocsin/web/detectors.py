"""Detectors and page budgets through the API.

GET /page-budgets       every PageBudget: limits, what they rest on, false pages, precision
GET /precision          realized precision of every team and every detector, with exact intervals
GET /detectors          every detector, those that find something first
GET /detectors/{name}   one: 30 days of alerts and evidence; settings as query are tried on `days`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tocsin.engine.replay import CannotReplay
from tocsin.web.desk import Desk

Days = Annotated[int, Query(ge=1, le=30, description="Stored days to replay, up to now.")]
LATELY = 7


def routes(desk: Desk) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["detectors"])

    @router.get("/page-budgets", summary="False pages a week: what is borne, and what happened")
    def page_budgets() -> dict[str, Any]:
        return _listed([asdict(budget) for budget in desk.detectors.all().budgets])

    @router.get("/precision", summary="How much of what people were told was worth it")
    def precision() -> dict[str, Any]:
        view = desk.detectors.all()
        return {
            "teams": [asdict(team) for team in view.teams],
            "detectors": [
                {"name": row.name, "precision": asdict(row.precision)} for row in view.detectors
            ],
        }

    @router.get("/detectors", summary="Every detector, those that find something first")
    def detectors() -> dict[str, Any]:
        return _listed([asdict(row) for row in desk.detectors.all().detectors])

    @router.get("/detectors/{name:path}", summary="What one detector did, and would have done")
    def detector(request: Request, name: str, days: Days = LATELY) -> dict[str, Any]:
        return asdict(desk.detectors.one(name, asked_of(request.query_params), days))

    return router


def asked_of(query: Mapping[str, str]) -> dict[str, float]:
    """The settings to be tried: every parameter but `days`. CannotReplay for what is no number."""
    asked = {}
    for name, text in query.items():
        if name == "days" or not text.strip():
            continue
        try:
            asked[name] = float(text)
        except ValueError:
            raise CannotReplay(f"{name} is a number, not {text[:40]!r}") from None
    return asked


def _listed(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"total": len(items), "items": items}
