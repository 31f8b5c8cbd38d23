"""Health scores through the API: what they are, and what they are made of, now.

GET /health-scores?service=NAME   every health score that is about a service
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from tocsin.engine.health import service_health
from tocsin.engine.house import House


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["health scores"])

    @router.get("/health-scores", summary="Health scores as they stand, component by component")
    def health_scores(service: str = "") -> dict[str, Any]:
        items = [asdict(one) for one in service_health(house, service)]
        return {"total": len(items), "items": items}

    return router
