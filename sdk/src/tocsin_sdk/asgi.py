"""ASGI middleware: every request of a gateway becomes a call, and nothing of it is buffered.

    app.add_middleware(TocsinMiddleware, kind="chain")            # FastAPI, Starlette
    app = TocsinMiddleware(app, kind="llm")                       # any ASGI application

A request is `kind="chain"` unless it is said to be more: what it calls is counted where it is
called. A gateway that passes requests on to a provider says kind="llm".
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, MutableMapping
from typing import Any, Callable

import tocsin_sdk
from tocsin_sdk.call import Call
from tocsin_sdk.client import Client
from tocsin_sdk.trace import from_traceparent

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# What the application answers to its own callers. 401 and 403 are the caller's fault here, while
# from a provider they would be ours.
_CLASSES = {429: "rate_limit", 503: "overloaded", 408: "timeout", 504: "timeout"}


class TocsinMiddleware:
    """Records latency, status, time to the first byte, route, user and session of each request.

    skip: paths that are not recorded, such as health checks. user_header, session_header: where the
    caller says who it is. The name of a call and its dimension `route` are the path as it is
    declared ("/chat/{id}"), never the path with its values in it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        client: Client | None = None,
        service: str = "",
        kind: str = "chain",
        skip: Iterable[str] = ("/health", "/healthz", "/ready", "/readyz", "/livez", "/metrics"),
        user_header: str = "x-user-id",
        session_header: str = "x-session-id",
    ) -> None:
        self.app = app
        self._client = client
        self._service = service
        self._kind = kind
        self._skip = frozenset(skip)
        self._user_header = user_header.lower().encode("latin-1")
        self._session_header = session_header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("path") in self._skip:
            await self.app(scope, receive, send)
            return
        client = self._client or tocsin_sdk.get_client()
        headers = dict(scope.get("headers") or ())
        place = from_traceparent(headers.get(b"traceparent", b"").decode("latin-1"))
        call = client.call(
            str(scope.get("method")),
            kind=self._kind,
            place=place,
            service=self._service or None,
            user_id=headers.get(self._user_header, b"").decode("latin-1") or None,
            session_id=headers.get(self._session_header, b"").decode("latin-1") or None,
        )
        exchange = _Exchange(call, receive, send)
        failure: BaseException | None = None
        call.begin()
        call.enter()
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            failure = error
            raise
        finally:
            call.leave()
            client.quietly(exchange.conclude, scope)
            call.end(failure)


class _Exchange:
    """What passes between server and application, looked at as it passes."""

    def __init__(self, call: Call, receive: Receive, send: Send) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._status = 0
        self._pieces = 0
        self._is_complete = False
        self._is_left = False

    async def receive(self) -> Message:
        """The next message of the server; a disconnect before the end is remembered."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._is_complete:
            self._is_left = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on, then look."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
        elif message["type"] == "http.response.body":
            self._body(message)

    def _body(self, message: Message) -> None:
        more = bool(message.get("more_body"))
        if message.get("body"):
            self._pieces += 1
            if self._pieces == 1 and more:
                self._call.first_chunk()
        if not more:
            self._is_complete = True

    def conclude(self, scope: Scope) -> None:
        """What is known of the whole exchange, put into the call."""
        call = self._call
        route = getattr(scope.get("route"), "path", None) or _declared(scope)
        call.name = f"{scope.get('method')} {route}"
        call.dims.setdefault("route", route)
        call.dims.setdefault("method", str(scope.get("method")))
        if self._is_left:
            call.abandoned = True
        elif call.streamed and self._is_complete:
            call.finish_reason = call.finish_reason or "completed"
        if self._status:
            call.http_status = self._status
        if self._status >= 400 and call.error_class is None and call.error_type is None:
            server = "server" if self._status >= 500 else "bad_request"
            call.error_class = _CLASSES.get(self._status, server)


def _declared(scope: Scope) -> str:
    """A path without its values: "/users/{id}" for /users/17 where the parameters are known.

    An address that no route of the application knows is one of unboundedly many: "(unmatched)".
    """
    if scope.get("endpoint") is None:
        return "(unmatched)"
    path = str(scope.get("path", ""))
    for name, value in (scope.get("path_params") or {}).items():
        text = str(value)
        if text:
            path = path.replace(text, "{" + str(name) + "}", 1)
    return path
