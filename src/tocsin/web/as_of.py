"""One objective through the API: as it was known then, and held against raw rows.

GET /objectives/NAME/as-of?at=TIME   as known at that time, beside as known now
GET /objectives/NAME/recount         what the engine counted, beside what raw rows say
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from tocsin.assess.budget import ObjectiveStatus
from tocsin.engine.as_of import as_of, recount
from tocsin.engine.house import House
from tocsin.web.portraits import objective_view

At = Annotated[datetime, Query(description="RFC 3339; UTC unless it names an offset.")]


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["objectives"])

    @router.get("/objectives/{name}/as-of", summary="An objective as it was known at a time")
    def known_at(name: str, at: At) -> dict[str, Any]:
        return as_of_view(house, name, at)

    @router.get("/objectives/{name}/recount", summary="An objective counted from raw rows again")
    def recounted(name: str) -> dict[str, Any]:
        return recount_view(house, name)

    return router


def as_of_view(house: House, name: str, at: datetime) -> dict[str, Any]:
    """As the API and the terminal show it. Raises as `as_of`."""
    found = as_of(house, name, at if at.tzinfo else at.replace(tzinfo=UTC))
    return {**_plain(found), "then": _view(found.then), "now": _view(found.now)}


def recount_view(house: House, name: str) -> dict[str, Any]:
    """As the API and the terminal show it. Raises as `recount`."""
    found = recount(house, name)
    return {
        **_plain(found),
        "held": _view(found.held),
        "counted": _view(found.counted),
        "equal": not found.differs,
    }


def _plain(found: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name not in _STATUSES}


_STATUSES = ("then", "now", "held", "counted")


def _view(status: ObjectiveStatus | None) -> dict[str, Any] | None:
    return None if status is None else asdict(objective_view(status, None))
