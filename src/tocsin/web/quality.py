"""Quality objectives through the API: what judges say, put right by what people say.

GET /quality?service=NAME   every Evaluator, with its interval and how far its judge is known
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from tocsin.engine.house import House


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["quality"])

    @router.get("/quality", summary="Shares of good answers, with intervals and people's labels")
    def quality(service: str = "") -> dict[str, Any]:
        items = [asdict(one) for one in house.qualities(service)]
        return {"total": len(items), "items": items}

    return router
