"""What services use and do not own, through the API: is it the provider, or us?

GET /dependencies?service=NAME   every dependency of a service, or of all, and who says how it is
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from tocsin.engine.house import House


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["dependencies"])

    @router.get("/dependencies", summary="How providers and other dependencies fare, and who says")
    def dependencies(service: str = "") -> dict[str, Any]:
        items = [asdict(one) for one in house.dependencies(service)]
        return {"total": len(items), "items": items}

    return router
