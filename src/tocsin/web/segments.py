"""How the segments of a service fare, through the API: is one region, plan or cohort worse off?

GET /segments?service=NAME   every monitor that judges segments, over the last day
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from tocsin.engine.house import House


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["segments"])

    @router.get("/segments", summary="Shares of bad calls by segment, with intervals and gaps")
    def segments(service: str = "") -> dict[str, Any]:
        items = [
            {**asdict(one), "gaps": {name: asdict(gap) for name, gap in one.gaps}}
            for one in house.fairness(service)
        ]
        return {"total": len(items), "items": items}

    return router
