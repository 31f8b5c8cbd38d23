"""Reports through the API: which there are, and one made for a period as known at a time."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from tocsin.engine.house import House
from tocsin.engine.reporting.making import make
from tocsin.engine.reporting.ordering import BadOrder, NoSuchReport
from tocsin.reports.kinds import TEMPLATES
from tocsin.spec.reports import Format, ReportShape
from tocsin.web.report_asking import ordered

Asked = Annotated[str, Query()]


def routes(house: House) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["reports"])

    @router.get("/reports", summary="Reports that can be made")
    def listed() -> dict[str, Any]:
        return {"items": [*_documents(house), *_templates()]}

    @router.get("/reports/{name}/files", summary="A report, made now, as files in base64")
    def files(
        name: str,
        output: Annotated[Format, Query(alias="format")] = "html",
        since: Annotated[
            str, Query(alias="from", description="Day or time; by default the last period.")
        ] = "",
        to: Asked = "",
        as_of: Annotated[str, Query(description="What was received later is left out.")] = "",
        period: Annotated[str, Query(description="week or month.")] = "",
        tz: Annotated[str, Query(description="IANA time zone of days.")] = "",
    ) -> dict[str, Any]:
        asked = {"from": since, "to": to, "as_of": as_of, "period": period, "tz": tz}
        try:
            order = ordered(house, name, asked)
            made = make(house, order, [output])
        except NoSuchReport as error:
            raise HTTPException(404, str(error)) from None
        except BadOrder as error:
            raise HTTPException(400, str(error)) from None
        bodies = {key: base64.b64encode(body).decode() for key, body in made.files.items()}
        return {"name": name, "since": order.wish.since.isoformat(), "files": bodies}

    return router


def _documents(house: House) -> list[dict[str, Any]]:
    return [
        {
            "name": document.name,
            "title": document.metadata.display_name or document.name,
            "template": document.spec.template,
            "period": document.spec.period,
            "cron": document.spec.cron,
        }
        for document in house.desired.documents
        if isinstance(document.spec, ReportShape)
    ]


def _templates() -> list[dict[str, Any]]:
    return [
        {"name": one.name, "title": one.title, "template": one.name, "period": "week", "cron": None}
        for one in TEMPLATES.values()
    ]
