"""Status pages on the web: for everybody to read, for people here to write.

/status/{name}                the page of customers, without login; feeds beside it
/status/{name}/api/v2/*.json  the same as Statuspage's API has it, for its clients
/status-pages                 drafts and what was published, with the forms
/api/v1/status-pages/...      the same for pipelines
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

from fastapi import APIRouter
from markupsafe import Markup
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as PageError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.domain.clock import parse_iso
from tocsin.engine.status_pages import NoSuchPage, StatusPages, Written
from tocsin.reports.status import (
    IMPACTS,
    INCIDENT_STATUSES,
    MAINTENANCE_STATUSES,
    ComponentStatus,
    Day,
    Impact,
    NoticeStatus,
    StatusPage,
    atom,
    documents,
    identity,
    rss,
)
from tocsin.web.actions import Actions, Form, actor
from tocsin.web.format import percent
from tocsin.web.render import Renderer, address, environment
from tocsin.web.tone import Tone

PUBLIC = "/status/"  # open without login
_AGE_S = 30
_TONES: Mapping[str, Tone] = {
    "operational": Tone.OK, "none": Tone.OK, "under_maintenance": Tone.UNKNOWN,
    "maintenance": Tone.UNKNOWN, "degraded_performance": Tone.WARN, "minor": Tone.WARN,
    "partial_outage": Tone.WARN, "major": Tone.WARN, "major_outage": Tone.BAD,
    "critical": Tone.BAD,
}  # fmt: skip
# What a day's uptime looks like: from these shares on it is fine, and a little worse than that.
_FINE, _FAIR = 0.999, 0.99
_OPEN_HEADERS = {
    "Cache-Control": f"public, max-age={_AGE_S}",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


# Every file of `files`, for whoever fetches a page from a running server.
FILES = (
    "index.html", "history.atom", "history.rss",
    *(
        f"api/v2/{path}.json"
        for path in (
            "summary", "status", "components", "incidents", "incidents/unresolved",
            "scheduled-maintenances", "scheduled-maintenances/upcoming",
            "scheduled-maintenances/active",
        )
    ),
)  # fmt: skip


class NewNotice(BaseModel):
    """An incident, or a maintenance when it has a start."""

    model_config = ConfigDict(extra="forbid")

    title: str
    body: str
    status: NoticeStatus = "investigating"
    impact: Impact = "minor"
    components: dict[str, ComponentStatus] = Field(default_factory=dict)
    incident: Annotated[str, Field(description="the incident here that it is about")] = ""
    start: AwareDatetime | None = None
    stop: AwareDatetime | None = None
    by: str = ""


class NewUpdate(BaseModel):
    """A further word. components: null keeps what was said."""

    model_config = ConfigDict(extra="forbid")

    status: NoticeStatus
    body: str
    components: dict[str, ComponentStatus] | None = None
    by: str = ""


def standalone(page: StatusPage) -> str:
    """The page as one HTML file that asks for nothing else, to be kept where we are not."""
    style = (Path(__file__).parent / "static" / "tocsin.css").read_text()
    css = Markup(style)  # noqa: S704 (our own style sheet)
    template = environment().get_template("status_static.html")
    return template.render(css=css, **shown(page, base=""))


def files(page: StatusPage) -> dict[str, tuple[bytes, str]]:
    """A page as files that can be served from anywhere: path -> bytes and media type."""
    found = {
        f"api/v2/{path}.json": (
            json.dumps(document, ensure_ascii=False).encode(), "application/json; charset=utf-8"
        )
        for path, document in documents(page).items()
    }  # fmt: skip
    return {
        **found,
        "index.html": (standalone(page).encode(), "text/html; charset=utf-8"),
        "history.atom": (atom(page), "application/atom+xml; charset=utf-8"),
        "history.rss": (rss(page), "application/rss+xml; charset=utf-8"),
    }


def routes(pages: StatusPages) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["status pages"], prefix="/status-pages")

    @router.get("", summary="Status pages, with drafts")
    def listed() -> dict[str, Any]:
        items = [
            {
                "name": name,
                "status": documents(pages.page(name))["status"]["status"],
                "drafts": [draft.id for draft in pages.drafts(name)],
            }
            for name in pages.names()
        ]
        return {"total": len(items), "items": items}

    @router.post("/{name}/notices", summary="Publish", status_code=201)
    def publish(name: str, given: NewNotice) -> dict[str, Any]:
        written = Written(**given.model_dump(exclude={"by"}))
        return asdict(pages.publish(name, written, f"api:{given.by or 'anonymous'}"))

    @router.post("/{name}/notices/{id}/updates", summary="Add a word", status_code=201)
    def update(name: str, id: str, given: NewUpdate) -> dict[str, Any]:  # noqa: A002 (of the path)
        written = Written(given.status, given.body, components=given.components)
        return asdict(pages.update(name, id, written, f"api:{given.by or 'anonymous'}"))

    return router


class StatusRoutes:
    """The public pages, and the one behind the login with its forms."""

    def __init__(self, pages: StatusPages, offers: Callable[[str], bool]) -> None:
        self._pages = pages
        self._offers = offers  # whether one can subscribe to a page
        self._files: dict[str, tuple[StatusPage, dict[str, tuple[bytes, str]]]] = {}

    def routes(self, renderer: Renderer, actions: Actions) -> list[BaseRoute]:
        """Every page and form."""
        self._renderer, self._actions = renderer, actions
        return [
            Route("/status-pages", self.overview, methods=["GET"]),
            Route("/status-pages/{name}/publish", self.publish, methods=["POST"]),
            Route("/status-pages/{name}/notices/{id}", self.update, methods=["POST"]),
            Route(f"{PUBLIC}{{name}}", self.public, methods=["GET"]),
            Route(f"{PUBLIC}{{name}}/{{path:path}}", self.file, methods=["GET"]),
        ]

    def public(self, request: Request) -> Response:
        """The page of customers."""
        page = self._page(request)
        response = self._renderer.page(
            request,
            "status.html",
            title=page.title,
            bare=True,
            **shown(page, f"{PUBLIC}{page.name}/", subscribe=self._offers(page.name)),
        )
        response.headers["Cache-Control"] = f"public, max-age={_AGE_S}"
        return response

    def file(self, request: Request) -> Response:
        """One of the documents and feeds."""
        page, path = self._page(request), request.path_params["path"]
        made_of, made = self._files.get(page.name, (None, {}))
        if made_of is not page:  # anybody may ask, and a page stays the same for a while
            made = files(page)
            self._files[page.name] = page, made
        found = made.get(path)
        if found is None:
            raise PageError(404, "there is no such document of this page")
        body, kind = found
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {**_OPEN_HEADERS, "ETag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    def overview(self, request: Request) -> Response:
        """Drafts, what is published, and the forms."""
        names = self._pages.names()
        found = [(self._pages.page(name), self._pages.drafts(name)) for name in names]
        return self._renderer.page(
            request, "status_pages.html", title="Status pages", pages=found, tones=_TONES,
            incident_statuses=INCIDENT_STATUSES, maintenance_statuses=MAINTENANCE_STATUSES,
            impacts=IMPACTS[:-1], component_statuses=get_args(ComponentStatus),
            done=request.query_params.get("done", ""),
        )  # fmt: skip

    async def publish(self, request: Request) -> Response:
        """A new notice."""
        form = await self._actions.form(request)
        name = request.path_params["name"]
        start, stop = _instant(form, "start"), _instant(form, "stop")
        written = Written(
            status=form.get("status", ""),  # type: ignore[arg-type]  # checked when published
            body=form.get("body", ""),
            title=form.get("title", ""),
            impact=form.get("impact", "minor"),  # type: ignore[arg-type]
            components=_components(form),
            incident=form.get("incident", ""),
            start=start,
            stop=stop,
        )
        return await self._act(lambda: self._pages.publish(name, written, actor(form)))

    async def update(self, request: Request) -> Response:
        """A further word."""
        form = await self._actions.form(request)
        name, id_ = request.path_params["name"], request.path_params["id"]
        written = Written(
            form.get("status", ""),  # type: ignore[arg-type]
            form.get("body", ""),
            components=_components(form) or None,
        )
        return await self._act(lambda: self._pages.update(name, id_, written, actor(form)))

    async def _act(self, act: Any) -> Response:
        await run_in_threadpool(act)
        return RedirectResponse(address("/status-pages", done="published"), 303)

    def _page(self, request: Request) -> StatusPage:
        try:
            return self._pages.page(request.path_params["name"])
        except NoSuchPage:
            raise PageError(404, "there is no such status page") from None


def shown(page: StatusPage, base: str, *, subscribe: bool = False) -> dict[str, Any]:
    """What the template of the page is given. base: goes before its other files. subscribe: whether
    one can."""
    groups = dict.fromkeys(component.group for component in page.components)
    return {
        "page": page,
        "base": base,
        "subscribe": subscribe,
        "groups": [
            (group, [c for c in page.components if c.group == group]) for group in groups
        ],
        "tones": _TONES,
        "tone": Tone.UNKNOWN if page.description == "Status unknown" else _TONES[page.indicator],
        "day_tones": {c.name: [_day_tone(day.uptime) for day in c.days] for c in page.components},
        "day_titles": {c.name: [_day_title(day) for day in c.days] for c in page.components},
        "anchor": lambda notice: identity(page.name, "notice", notice.id),
    }  # fmt: skip


def _day_tone(uptime: float | None) -> Tone:
    if uptime is None:
        return Tone.UNKNOWN
    return Tone.OK if uptime >= _FINE else Tone.WARN if uptime >= _FAIR else Tone.BAD


def _day_title(day: Day) -> str:
    return f"{day.day}: {'no data' if day.uptime is None else percent(day.uptime)}"


def _components(form: Form) -> dict[str, ComponentStatus]:
    prefix = "component:"
    return {
        name.removeprefix(prefix): status  # type: ignore[misc]  # checked when published
        for name, status in form.items()
        if name.startswith(prefix) and status
    }


def _instant(form: Form, name: str) -> datetime | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    try:
        return parse_iso(text)
    except ValueError:
        raise PageError(400, f"{name}: {text[:40]!r} is no time such as 2026-03-02T14:05") from None
