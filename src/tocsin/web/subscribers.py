"""Subscribing to a status page, for everybody: asking, confirming, ending.

/status/{name}/subscribe              the forms; `endpoint=` subscribes one, for programs as JSON
/status/{name}/confirm?token=         a button: a mail scanner that follows links confirms nothing
/status/{name}/unsubscribe?token=     a button, and one click for mail programs (RFC 8058)
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tocsin.delivery.http import client
from tocsin.engine.endpoints import CannotSubscribe, Subscribed
from tocsin.engine.subscribers import Subscriptions
from tocsin.web.actions import Actions, read_form
from tocsin.web.guard import problem
from tocsin.web.render import Renderer
from tocsin.web.status_pages import PUBLIC

_PRIVATE = {"Cache-Control": "no-store"}

_SENT = "Look into your mail: there is a link to confirm by."
_CONFIRMED = "You will get a mail whenever something is published here."
_GONE = "This link does not work any more. Subscribe again."
_ENDED = "There will be nothing further, and your address is forgotten."


class SubscriberPages:
    """Three small pages per status page."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    def routes(self, renderer: Renderer, _: Actions) -> list[BaseRoute]:
        """Every address; they lie among those of the public pages."""
        desk = _Desk(self._subscriptions, renderer)
        base = f"{PUBLIC}{{name}}"
        return [
            Route(f"{base}/subscribe", desk.form, methods=["GET"]),
            Route(f"{base}/subscribe", desk.ask, methods=["POST"]),
            Route(f"{base}/confirm", desk.button, methods=["GET"], name="confirm"),
            Route(f"{base}/confirm", desk.confirm, methods=["POST"]),
            Route(f"{base}/unsubscribe", desk.button, methods=["GET"], name="unsubscribe"),
            Route(f"{base}/unsubscribe", desk.end, methods=["POST"]),
        ]


class _Desk:
    def __init__(self, subscriptions: Subscriptions, renderer: Renderer) -> None:
        self._subscriptions = subscriptions
        self._renderer = renderer

    def form(self, request: Request) -> Response:
        """Where to write the address."""
        return self._page(request, step="ask")

    async def ask(self, request: Request) -> Response:
        """Take the address; the answer does not tell whether it is known."""
        form = await read_form(request)
        name = request.path_params["name"]
        if "endpoint" in form:
            return await self._ask_endpoint(request, name, form["endpoint"])
        try:
            await run_in_threadpool(self._subscriptions.ask, name, form.get("address", ""))
        except CannotSubscribe as error:
            return self._page(request, step="ask", said=str(error), status=error.status)
        return self._page(request, said=_SENT, status=202)

    async def _ask_endpoint(self, request: Request, name: str, endpoint: str) -> Response:
        """Challenge it at once: whoever asks learns here what its answer was, and its secret."""
        wants_json = "application/json" in request.headers.get("accept", "")
        try:
            async with client() as http:
                made = await self._subscriptions.endpoints.subscribe(name, endpoint, http)
        except CannotSubscribe as error:
            if wants_json:
                return problem(error.status, str(error))
            return self._page(request, step="ask", said=str(error), status=error.status)
        if wants_json:
            return JSONResponse(asdict(made), 201, headers=_PRIVATE)
        response = self._page(request, step="endpoint", made=made, status=201)
        response.headers.update(_PRIVATE)
        return response

    def button(self, request: Request) -> Response:
        """A link only shows a button."""
        step = request.url.path.rpartition("/")[2]
        return self._page(request, step=step, token=request.query_params.get("token", ""))

    async def confirm(self, request: Request) -> Response:
        """The second yes."""
        token = await self._token(request)
        name = request.path_params["name"]
        done = await run_in_threadpool(self._subscriptions.confirm, name, token)
        return self._page(request, said=_CONFIRMED if done else _GONE, status=200 if done else 404)

    async def end(self, request: Request) -> Response:
        """No more; the same answer for everybody."""
        token = await self._token(request)
        await run_in_threadpool(self._subscriptions.end, request.path_params["name"], token)
        return self._page(request, said=_ENDED)

    async def _token(self, request: Request) -> str:
        given = request.query_params.get("token", "")  # of one click, whose body may be of any kind
        return given or (await read_form(request)).get("token", "")

    def _page(
        self, request: Request, *, step: str = "", said: str = "", token: str = "",
        status: int = 200, made: Subscribed | None = None,
    ) -> Response:  # fmt: skip
        name = request.path_params["name"]
        if not self._subscriptions.offered(name):
            raise HTTPException(404, "there is no such status page, or it takes no subscribers")
        return self._renderer.page(
            request, "subscribe.html", title="Subscribe", status=status, bare=True, page_name=name,
            step=step, said=said, token=token, made=made,
            mails=self._subscriptions.takes_mails(name),
            endpoints=self._subscriptions.endpoints.offered(name),
        )  # fmt: skip
