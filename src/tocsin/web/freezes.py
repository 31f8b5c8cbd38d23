"""Deploy freezes through the API, for pipelines: may this service be deployed now?

GET /deploy-freeze?service=NAME&change=KIND   the gate of a service, or of every one
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tocsin.engine.freezes import deploy_gates
from tocsin.engine.house import House

Change = Annotated[str, Query(description="The kind of change, for rules that exempt some.")]


def routes(house: House, blind: Callable[[], str]) -> APIRouter:
    """The routes, to be mounted under /api/v1. blind: why nothing is known of the last minutes."""
    router = APIRouter(tags=["objectives"])

    @router.get("/deploy-freeze", summary="Whether error-budget policies hold deploys back")
    def deploy_freeze(service: str = "", change: Change = "") -> dict[str, Any]:
        items = [asdict(gate) for gate in deploy_gates(house, service, change, blind())]
        return {"total": len(items), "items": items}

    return router
