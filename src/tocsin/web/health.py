"""Health scores through the API: what they are and were, and what people say of them.

GET  /health-scores?service=NAME          every health score that is about a service, as it stands
GET  /health-scores/{name}?days=1         its samples, changes, opinions and their agreement
POST /health-scores/{name}/opinions       what somebody says of it: agree, too_low, too_high
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tocsin.domain.clock import from_minute
from tocsin.domain.health import Opinion
from tocsin.engine.health import service_health
from tocsin.engine.health_history import history, say
from tocsin.engine.house import House


class OpinionBody(BaseModel):
    """What somebody says of a score. minute: since 1970; of now by default."""

    opinion: Opinion
    actor: Annotated[str, Field(min_length=1, max_length=80)]
    minute: int | None = None
    note: Annotated[str, Field(max_length=500)] = ""


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["health scores"])

    @router.get("/health-scores", summary="Health scores as they stand, component by component")
    def health_scores(service: str = "") -> dict[str, Any]:
        items = [asdict(one) for one in service_health(house, service)]
        return {"total": len(items), "items": items}

    @router.get("/health-scores/{name}", summary="A health score over the last days")
    def health_score(name: str, days: Literal[1, 7, 30] = 1) -> dict[str, Any]:
        found = history(house, name, days)
        return {
            "now": asdict(found.now),
            "samples": [
                {
                    "at": from_minute(one.minute + 1), "state": one.state, "score": one.score,
                    "formula": one.formula,
                }
                for one in found.samples
            ],
            "changes": [asdict(one) for one in found.changes],
            "formulas": [
                {"digest": digest, "since": from_minute(since)} for digest, since in found.formulas
            ],
            "opinions": [asdict(one) for one in found.opinions],
            "agreement": asdict(found.agreement),
            "suggestion": asdict(found.suggestion),
            "patch": found.patch,
            "baselines": [asdict(one) for one in found.baselines],
            "segments": None if found.segments is None else asdict(found.segments),
        }  # fmt: skip

    @router.post(
        "/health-scores/{name}/opinions", summary="Say whether a health score is right",
        status_code=201,
    )  # fmt: skip
    def opinion(name: str, body: OpinionBody) -> dict[str, Any]:
        said = say(house, name, body.minute, body.opinion, f"api:{body.actor}", body.note)
        return asdict(said)

    return router
