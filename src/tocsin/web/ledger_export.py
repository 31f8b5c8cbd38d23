"""The whole ledger over HTTP, for `tocsin ledger verify` and for auditors.

GET /ledger/export   JSON lines: head and signed checkpoints, then every entry
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from tocsin.engine.house import House
from tocsin.store.ledger_files import write


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["incidents"])

    @router.get("/ledger/export", summary="Every entry of the audit chain, to be checked offline")
    def export() -> StreamingResponse:
        return StreamingResponse(write(house.state), media_type="application/x-ndjson")

    return router
