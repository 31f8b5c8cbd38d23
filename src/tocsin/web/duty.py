"""Who is on call, who stands in, and what nobody is told about: the page, its forms, and the API.

Everything here lies beside the configuration (see `engine.arranging`): it counts at once and is
over by itself. Forms are POST only and carry the token of every form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tocsin.domain.clock import Clock, parse_iso
from tocsin.engine.arranging import Arranging
from tocsin.store.arrangements import to_json
from tocsin.web.actions import Form, actor
from tocsin.web.render import Renderer, address

LASTING = {
    "1h": timedelta(hours=1), "2h": timedelta(hours=2), "8h": timedelta(hours=8),
    "24h": timedelta(hours=24), "3d": timedelta(days=3), "7d": timedelta(days=7),
}  # fmt: skip
_DONE = {
    "silence": "Silenced. Nobody is told, and what was under way is stopped.",
    "maintenance": "Planned. In that time nobody is told.",
    "override": "Noted. Whoever is called from now on is the stand-in.",
    "ended": "Ended. What still fires is told at once.",
}
_NAMED = ("service", "env", "signal")
Kind = Literal["silence", "maintenance"]


class DutyPages:
    """The page and its forms. form: reads a form and checks its token."""

    def __init__(
        self,
        arranging: Callable[[], Arranging],
        renderer: Renderer,
        clock: Clock,
        form: Callable[[Request], Awaitable[Form]],
    ) -> None:
        self._arranging = arranging
        self._renderer = renderer
        self._clock = clock
        self._form = form

    def routes(self) -> list[Route]:
        """Every address of this page."""
        return [
            Route("/oncall", self.page, methods=["GET"]),
            Route("/oncall/silence", self.silence, methods=["POST"]),
            Route("/oncall/override", self.override, methods=["POST"]),
            Route("/oncall/{id}/end", self.end, methods=["POST"]),
        ]

    def page(self, request: Request) -> Response:
        """Schedules, gaps, what holds now or will, and the forms to make more."""
        arranging, now = self._arranging(), self._clock.now()
        query = request.query_params
        filled = "\n".join(f"{name}={query[name]}" for name in _NAMED if query.get(name))
        return self._renderer.page(
            request, "oncall.html", title="On call", duty=arranging.duty(now),
            gaps=arranging.gaps(now), held=arranging.held(now), filled=filled,
            lasting=tuple(LASTING), done=_DONE.get(query.get("done", ""), ""),
        )  # fmt: skip

    async def silence(self, request: Request) -> Response:
        """Tell nobody about what matches."""
        form = await self._form(request)
        kind: Kind = "maintenance" if form.get("kind") == "maintenance" else "silence"
        when, now = conditions(form.get("matches", "")), self._clock.now()
        await run_in_threadpool(
            self._arranging().silence, kind, when, span(form, now), actor(form),
            form.get("comment", "").strip()[:500], now,
        )  # fmt: skip
        return RedirectResponse(address("/oncall", done=kind), 303)

    async def override(self, request: Request) -> Response:
        """Somebody else is on call."""
        form = await self._form(request)
        now = self._clock.now()
        await run_in_threadpool(
            self._arranging().override, form.get("schedule", ""), form.get("user", "").strip(),
            span(form, now), actor(form), form.get("comment", "").strip()[:500], now,
        )  # fmt: skip
        return RedirectResponse(address("/oncall", done="override"), 303)

    async def end(self, request: Request) -> Response:
        """Let it be over now."""
        form = await self._form(request)
        await run_in_threadpool(
            self._arranging().end, request.path_params["id"], actor(form), self._clock.now()
        )
        return RedirectResponse(address("/oncall", done="ended"), 303)


def conditions(text: str) -> dict[str, str]:
    """Lines such as `service=chat` as a condition. 400 for a line that is none."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if not line.strip():
            continue
        if not name.strip() or not sign:
            raise HTTPException(400, f"{line.strip()[:40]!r} is no label: write service=chat")
        found[name.strip()] = value.strip()
    return found


def span(form: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    """From `start` (now when empty) for as long as `lasting` says, or until `stop`."""
    start = _instant(form.get("start", ""), "start") or now
    stop = _instant(form.get("stop", ""), "stop")
    if stop is None:
        lasting = LASTING.get(form.get("lasting", ""))
        if lasting is None:
            raise HTTPException(400, f"choose how long: {', '.join(LASTING)}, or an end")
        stop = start + lasting
    return start, stop


def _instant(text: str, name: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return parse_iso(text.strip())
    except ValueError:
        raise HTTPException(
            400, f"{name} {text[:40]!r} is not a time such as 2026-03-02T14:05 (UTC)"
        ) from None


# --- the API -----------------------------------------------------------------------------------

Actor = Annotated[str, Field(min_length=1, max_length=80)]
Words = Annotated[str, Field(max_length=500)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    actor: Annotated[Actor, Field(description="who asks for it, as the ledger shows it")]
    comment: Annotated[Words, Field(description="why")] = ""
    start: Annotated[AwareDatetime | None, Field(description="with a zone; null is now")] = None
    stop: Annotated[AwareDatetime, Field(description="with a zone")]


class MakeSilence(_Input):
    """Tell nobody about alerts that match, as in `if:` of a rule."""

    kind: Annotated[
        Kind, Field(description="a silence lasts seven days at most, maintenance thirty")
    ] = "silence"
    when: Annotated[
        dict[str, Any],
        Field(
            min_length=1,
            description='labels that an alert must have, as in `if:` of a rule, e.g. `{"service":'
            ' "support", "signal": "latency_p95"}`',
        ),
    ]


class MakeOverride(_Input):
    """`user` is on call in `schedule`."""

    schedule: Annotated[str, Field(description="name of an OnCallSchedule")]
    user: Annotated[str, Field(description="who stands in")]


class EndIt(BaseModel):
    """Let something arranged be over."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    actor: Actor


def routes(arranging: Callable[[], Arranging], clock: Clock) -> APIRouter:
    """The routes, to be mounted under /api/v1."""
    router = APIRouter(tags=["on call"])

    @router.get("/oncall", summary="Who is on call, and when nobody will be")
    def oncall() -> dict[str, Any]:
        now = clock.now()
        people = [
            {
                "schedule": one.schedule.name,
                "user": one.shift.user if one.shift else None,
                "until": one.shift.stop if one.shift else None,
                "next": one.next.user if one.next else None,
            }
            for one in arranging().duty(now)
        ]
        return {"schedules": people, "gaps": [asdict(gap) for gap in arranging().gaps(now)]}

    @router.get("/arrangements", summary="Silences, maintenance and stand-ins, now and to come")
    def held() -> dict[str, Any]:
        items = [to_json(each) for each in arranging().held(clock.now())]
        return {"total": len(items), "items": items}

    @router.post("/silences", summary="Tell nobody about what matches", status_code=201)
    def silence(body: MakeSilence) -> dict[str, Any]:
        now = clock.now()
        made = arranging().silence(
            body.kind, body.when, (body.start or now, body.stop), f"api:{body.actor}",
            body.comment, now,
        )  # fmt: skip
        return to_json(made)

    @router.post("/overrides", summary="Somebody else is on call", status_code=201)
    def override(body: MakeOverride) -> dict[str, Any]:
        now = clock.now()
        made = arranging().override(
            body.schedule, body.user, (body.start or now, body.stop), f"api:{body.actor}",
            body.comment, now,
        )  # fmt: skip
        return to_json(made)

    @router.post("/arrangements/{arrangement_id}/end", summary="Let it be over now")
    def end(arrangement_id: str, body: EndIt) -> dict[str, Any]:
        return to_json(arranging().end(arrangement_id, f"api:{body.actor}", clock.now()))

    return router
