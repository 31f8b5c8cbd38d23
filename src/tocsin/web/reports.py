"""Reports through the API: which there are, one made for a period, and those that are kept."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tocsin.engine.house import House
from tocsin.engine.reporting.asked import BadOrder
from tocsin.engine.reporting.keeping import Shelf
from tocsin.engine.reporting.making import make
from tocsin.engine.reporting.ordering import named
from tocsin.engine.reporting.vendors import Proof, proof
from tocsin.reports.kinds import TEMPLATES
from tocsin.spec.reports import Format, ReportShape
from tocsin.web.report_asking import ordered, time_of

T = TypeVar("T")
Asked = Annotated[str, Query()]
USUAL: tuple[Format, ...] = ("html", "json", "csv")


class Wanted(BaseModel):
    """A report to be made and kept."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(description="a Report document or a template")]
    since: Annotated[str, Field(alias="from", description="day or time")] = ""
    to: str = ""
    as_of: Annotated[str, Field(description="what was received later is left out")] = ""
    period: Annotated[str, Field(description="week or month: the last complete one")] = ""
    tz: str = ""
    by: Annotated[str, Field(description="who asks, for the ledger")] = ""


def routes(house: House, shelf: Shelf) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["reports"])

    @router.get("/reports", summary="Reports that can be made, and those that were")
    def listed() -> dict[str, Any]:
        made = [{**asdict(one), "files": dict(one.files)} for one in shelf.listed()]
        return {"items": [*documents(house), *_templates()], "made": made}

    @router.post("/reports", summary="Make a report and keep it", status_code=201)
    def keep(given: Wanted) -> dict[str, Any]:
        asked = given.model_dump(by_alias=True, exclude={"name", "by"})
        document = named(house.desired, given.name)
        formats = document.spec.formats if document else USUAL
        who = f"api:{given.by or 'anonymous'}"
        kept = shelf.make(ordered(house, given.name, asked), formats, who)
        return {**asdict(kept), "files": dict(kept.files)}

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
        order = ordered(house, name, asked)
        made = make(house, order, [output])
        bodies = {key: base64.b64encode(body).decode() for key, body in made.files.items()}
        return {"name": name, "since": order.wish.since.isoformat(), "files": bodies}

    @router.get("/vendor-agreements/{name}/evidence", summary="The calls that count for it")
    def evidence(
        name: str,
        since: Annotated[str, Query(alias="from", description="Day or time (UTC).")],
        to: Asked,
        as_of: Annotated[str, Query(description="What was received later is left out.")] = "",
        output: Annotated[Literal["parquet", "csv"], Query(alias="format")] = "parquet",
    ) -> Response:
        found = evidence_of(house, name, since, to, as_of, output)
        kind = "text/csv" if output == "csv" else "application/vnd.apache.parquet"
        digest = base64.b64encode(hashlib.sha256(found.body).digest()).decode()
        headers = {"Repr-Digest": f"sha-256=:{digest}:", "X-Tocsin-Rows": f"{found.rows}",
                   "X-Tocsin-Failed": f"{found.failed}"}  # fmt: skip
        return Response(found.body, media_type=kind, headers=headers)

    return router


def evidence_of(house: House, name: str, since: str, until: str, as_of: str, format_: str) -> Proof:
    """The calls behind an agreement's figures. Raises NoSuchAgreement, BadOrder."""
    start, stop, known = (
        time_of(each, text, ZoneInfo("UTC"))
        for each, text in (("from", since), ("to", until), ("as_of", as_of))
    )
    if start is None or stop is None:
        raise BadOrder("give both ends of the period")
    return proof(house, name, start, stop, known or house.clock.now(), format_)


def documents(house: House) -> list[dict[str, Any]]:
    """Every Report document."""
    return [
        {
            "name": document.name,
            "title": document.metadata.display_name or document.name,
            "template": shape.template,
            "period": shape.period,
            "cron": shape.cron,
            "tz": shape.tz,
            "to": list(shape.to),
        }
        for document, shape in house.desired.of(ReportShape)
    ]


def _templates() -> list[dict[str, Any]]:
    return [
        {"name": one.name, "title": one.title, "template": one.name, "period": "week", "cron": None,
         "tz": "UTC", "to": []}
        for one in TEMPLATES.values()
    ]  # fmt: skip
