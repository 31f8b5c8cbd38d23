"""Reports on the web: which there are, a form to make one, and those that were made.

/reports                    the list and the form
/reports/{id}/{file}        a file as it was made: report.html, report.csv, manifest.json, …
"""

from __future__ import annotations

import mimetypes
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.domain.errors import NotFound, Unanswerable
from tocsin.engine.house import House
from tocsin.engine.reporting.keeping import Shelf
from tocsin.engine.reporting.ordering import named
from tocsin.reports.kinds import TEMPLATES
from tocsin.web.actions import Actions, actor
from tocsin.web.render import Renderer, address
from tocsin.web.report_asking import FIELDS, ordered
from tocsin.web.reports import USUAL, documents

# A report brings its style with it and may do nothing else.
_ALONE = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


class ReportPages:
    """The page, its form, and the files."""

    def __init__(self, house: House, shelf: Shelf) -> None:
        self._house = house
        self._shelf = shelf

    def routes(self, renderer: Renderer, actions: Actions) -> list[BaseRoute]:
        """Every address."""
        desk = _Desk(self._house, self._shelf, renderer, actions)
        return [
            Route("/reports", desk.overview, methods=["GET"]),
            Route("/reports", desk.make, methods=["POST"]),
            Route("/reports/{id}/{file}", desk.file, methods=["GET"]),
        ]


class _Desk:
    def __init__(self, house: House, shelf: Shelf, renderer: Renderer, actions: Actions) -> None:
        self._house = house
        self._shelf = shelf
        self._renderer = renderer
        self._actions = actions

    def overview(self, request: Request) -> Response:
        """What can be made and what was."""
        return self._page(request, request.query_params.get("name", ""), {}, "", 200)

    async def make(self, request: Request) -> Response:
        """Make one, keep it, and lead to it."""
        form = await self._actions.form(request)
        name, asked = form.get("report", ""), {key: form.get(key, "") for key in FIELDS}
        try:
            kept = await run_in_threadpool(self._make, name, asked, actor(form))
        except (NotFound, Unanswerable) as error:  # the asker can mend it: keep what was filled in
            return await run_in_threadpool(
                self._page, request, name, asked, str(error), error.status
            )
        return RedirectResponse(address(f"/reports/{kept.id}/report.html"), 303)

    def file(self, request: Request) -> Response:
        """A file as it was made."""
        id_, name = request.path_params["id"], request.path_params["file"]
        body = self._shelf.file(id_, name)
        kept = self._shelf.named(id_)
        if body is None or kept is None:
            raise HTTPException(404, "there is no such report, or no such file of it")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        if name.endswith(".html"):
            headers["Content-Security-Policy"] = _ALONE
        else:
            told = f"{kept.name}-{kept.since:%Y-%m-%d}.{name.removeprefix('report.')}"
            headers["Content-Disposition"] = f'attachment; filename="{told}"'
        return Response(body, media_type=kind, headers=headers)

    def _make(self, name: str, asked: dict[str, str], who: str) -> Any:
        order = ordered(self._house, name, asked)
        document = named(self._house.desired, name)
        return self._shelf.make(order, document.spec.formats if document else USUAL, who)

    def _page(
        self, request: Request, name: str, asked: dict[str, str], error: str, status: int
    ) -> Response:
        return self._renderer.page(
            request, "reports.html", title="Reports", status=status, chosen=name, error=error,
            asked=asked, documents=documents(self._house), templates=list(TEMPLATES.values()),
            made=self._shelf.listed(),
        )  # fmt: skip
