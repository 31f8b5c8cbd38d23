"""The doors for alerts of other monitors: kept, answered, and only then understood.

POST /api/v1/alerts/{source}   a webhook of that format: 202 with the number it is kept under
POST /api/v2/alerts            what Prometheus sends to an Alertmanager: 200, nothing in it
POST /hooks/{name}             a request to a Webhook document: 202 likewise, 401 if not authentic
GET  /api/v1/inbox             the latest requests that could not be read, and why
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.domain.clock import iso
from tocsin.domain.errors import IntakeError
from tocsin.intake.admission import Admission
from tocsin.intake.bodies import BodyLimits, read_body
from tocsin.intake.intake import Intake
from tocsin.net.proof import NotAuthentic
from tocsin.store.inbox import Letter
from tocsin.web.guard import problem, refusal

log = structlog.get_logger(__name__)
HOOKS = "/hooks/"  # open without login: each request proves itself
LIMITS = BodyLimits(wire_bytes=4 << 20)
# Anybody may call a webhook, so that a body has little time.
HOOK_LIMITS = BodyLimits(wire_bytes=2 << 20, silence_s=5.0, whole_s=20.0)
_PREVIEW = 2000
# How often the inbox is looked into unasked: for what expires, and for what others took in.
ALONE_S, SHARED_S = 5.0, 0.5
_KEEPING_S = 30.0


class AlertTaker(Protocol):
    """What these doors ask of the engine; see `tocsin.engine.outside.Outside`."""

    def accept(self, source: str, body: bytes) -> int:
        """Keep a request; IntakeError for an unknown source."""
        ...

    def listens_to(self, name: str) -> bool:
        """Whether there is a webhook of this name."""
        ...

    async def admit(
        self, name: str, headers: Mapping[str, str], body: bytes, *, trusted: bool
    ) -> int:
        """Keep an authentic request to a webhook; NotAuthentic or IntakeError for any other."""
        ...

    def work(self) -> int:
        """Read what is in the inbox, and decide."""
        ...

    def refused(self) -> list[Letter]:
        """Requests that could not be read."""
        ...


class AlertDoors:
    """The routes, and the task that reads the inbox behind them, at least every `every_s`."""

    def __init__(self, taker: AlertTaker, *, every_s: float = ALONE_S) -> None:
        self._taker = taker
        self._every_s = every_s
        self._arrived = asyncio.Event()
        self._admission = Admission()
        self._hook_admission = Admission(32 << 20)

    def routes(self) -> Sequence[BaseRoute]:
        """To be mounted at the root, before the API."""
        return [
            Route("/api/v1/alerts/{source}", self._webhook, methods=["POST"]),
            Route("/api/v2/alerts", self._pushed, methods=["POST"]),
            Route(f"{HOOKS}{{name}}", self._hook, methods=["POST"]),
            Route("/api/v1/inbox", self._inbox, methods=["GET"]),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: read what arrived at once, and look for what has expired."""
        while not stop.is_set():
            self._arrived.clear()
            try:
                await asyncio.to_thread(self._taker.work)
            except Exception:  # worker loop: what is in the inbox is tried again
                log.exception("inbox_not_read")
            try:
                await asyncio.wait_for(self._arrived.wait(), self._every_s)
            except TimeoutError:
                continue

    def stop_waiting(self) -> None:
        """Let `run` notice that it is to stop."""
        self._arrived.set()

    async def _webhook(self, request: Request) -> Response:
        return await self._take(request, request.path_params["source"], 202)

    async def _pushed(self, request: Request) -> Response:
        return await self._take(request, "prometheus", 200)

    async def _hook(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self._taker.listens_to(name):
            return problem(404, "there is no webhook of this name")
        headers = dict(request.headers.items())
        trusted = bool(request.scope.get("tocsin.trusted"))
        try:
            with self._hook_admission.request() as ticket:
                body = await read_body(request, HOOK_LIMITS, ticket)
                number = await self._taker.admit(name, headers, body, trusted=trusted)
        except IntakeError as error:
            return refusal(error)
        except NotAuthentic as error:
            log.warning("webhook_refused", webhook=name, reason=str(error))
            return problem(401, str(error))
        self._arrived.set()
        return JSONResponse({"kept": number}, 202)

    async def _take(self, request: Request, source: str, status: int) -> Response:
        try:
            with self._admission.request() as ticket:
                body = await read_body(request, LIMITS, ticket)
                number = await run_in_threadpool(self._taker.accept, source, body)
        except IntakeError as error:
            return refusal(error)
        self._arrived.set()
        return JSONResponse({"kept": number} if status == 202 else {}, status)

    async def _inbox(self, _: Request) -> Response:
        found = await run_in_threadpool(self._taker.refused)
        items = [
            {
                "id": letter.id,
                "source": letter.source,
                "at": iso(letter.at),
                "reason": letter.reason,
                "body": letter.body[:_PREVIEW].decode("utf-8", "replace"),
            }
            for letter in found
        ]
        return JSONResponse({"total": len(items), "items": items})


def keeps_changes(intake: Intake) -> Callable[[Sequence[Mapping[str, Any]], bytes], None]:
    """Lets a thread keep rows of changes through the intake of this loop.

    The result blocks until they are durable; rows of a name that was kept before are not kept
    again. Raises IntakeError or TimeoutError when they cannot be kept now.
    """
    loop = asyncio.get_running_loop()

    def keep(rows: Sequence[Mapping[str, Any]], name: bytes) -> None:
        body = json.dumps(rows).encode()
        kept = intake.rows("changes", rows, body, batch=name)
        asyncio.run_coroutine_threadsafe(kept, loop).result(_KEEPING_S)

    return keep
