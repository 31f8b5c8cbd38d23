"""Data for other tools over HTTP: exports, and bills beside the price book.

The file of an export begins to arrive with its first page and is never held whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from tocsin.domain.clock import Clock
from tocsin.engine.exchange.exporting import SUFFIXES, encoded
from tocsin.engine.exchange.wishes import ExportWish
from tocsin.reports.costs import CostLine
from tocsin.store.telemetry import Telemetry
from tocsin.web.resources import Listing, ScoreResource
from tocsin.web.views import Page

ROWS_HEADER = "x-tocsin-rows"
_TYPES = {
    "parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson", "gzip": "application/gzip", "zstd": "application/zstd",
}  # fmt: skip
Moment = Annotated[datetime | None, Query(description="RFC 3339; without a zone it is UTC.")]
From = Annotated[
    datetime | None, Query(alias="from", description="RFC 3339; a day before `to` if not given.")
]
To = Annotated[datetime | None, Query(alias="to", description="RFC 3339; now if not given.")]
FirstDay = Annotated[date | None, Query(alias="from", description="30 days before `to`.")]
LastDay = Annotated[date | None, Query(alias="to", description="Not included; tomorrow.")]
Dims = Annotated[list[str] | None, Query(alias="dim", description="name=value; may be repeated.")]


def routes(telemetry: Telemetry, clock: Clock) -> APIRouter:
    """The endpoints for exports and costs of one store."""
    router = APIRouter(tags=["exports"])

    @router.get("/scores", summary="What was said about a call, as it holds")
    def scores(
        call: Annotated[str, Query(min_length=1, description="Span, response or trace id.")],
    ) -> Listing[ScoreResource]:
        found = tuple(ScoreResource.of(row) for row in telemetry.scores_about(call))
        return Listing[ScoreResource].of(Page(found, None, len(found)))

    @router.get("/costs", summary="What bills and the price book say, per day, provider and model")
    def costs(
        start: Annotated[
            date | None, Query(alias="from", description="30 days before `to`.")
        ] = None,
        stop: Annotated[
            date | None, Query(alias="to", description="Not included; tomorrow.")
        ] = None,
    ) -> Listing[CostLine]:
        last = stop or clock.now().date() + timedelta(days=1)
        found = tuple(telemetry.costs.lines(start or last - timedelta(days=30), last))
        return Listing[CostLine].of(Page(found, None, len(found)))

    @router.get(
        "/export/{what}",
        summary="calls, scores, changes or minutes as a file",
        response_class=StreamingResponse,
    )
    def export(
        what: str, start: From = None, stop: To = None, as_of: Moment = None, service: str = "",
        model: str = "", kind: str = "", env: str = "", dims: Dims = None, content: bool = False,
        form: Annotated[str, Query(alias="format")] = "parquet", compression: str = "",
    ) -> StreamingResponse:  # fmt: skip
        wish = ExportWish(
            what, form, compression, _utc(start), _utc(stop), _utc(as_of), service, model, kind,
            env, dims or (), content,
        )  # fmt: skip
        wanted = wish.wanted(clock.now())
        exports = telemetry.exports
        pieces = encoded(exports.pages(wanted), exports.schema(wanted), form, compression)
        name = f"{what}.{form}{SUFFIXES[compression]}"
        return StreamingResponse(
            _begun(pieces),
            media_type=_TYPES[compression or form],
            headers={
                ROWS_HEADER: str(exports.count(wanted)),
                "Content-Disposition": f'attachment; filename="{name}"',
                # It is compressed already, or small: nothing on the way is to do it again.
                "Content-Encoding": "identity",
            },
        )

    return router


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first of them made already: what fails at once is an answer."""
    return chain([next(pieces, b"")], pieces)


def _utc(instant: datetime | None) -> datetime | None:
    return instant.replace(tzinfo=UTC) if instant is not None and not instant.tzinfo else instant
