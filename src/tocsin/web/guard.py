"""What every request passes before a handler sees it: host, login, origin; and safe headers after.

Plain ASGI, so that the intake front behind it pays a dictionary look-up and no buffering.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from tocsin.domain.clock import Clock
from tocsin.domain.errors import IntakeError
from tocsin.intake.credentials import offered_tokens
from tocsin.web.auth import SESSION_COOKIE, AuthPolicy, is_session

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# `same-origin` rather than `no-referrer`: the latter makes browsers send `Origin: null` with our
# own forms, which the origin check could not tell from a sandboxed attacker's.
SAFE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """An RFC 9457 problem document."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        },
        status,
        media_type="application/problem+json",
        headers=headers,
    )


def refusal(error: IntakeError) -> JSONResponse:
    """The problem document of a request that is not taken."""
    later = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return problem(error.status, str(error), headers=later)


class SecurityHeaders:
    """Adds SAFE_HEADERS to every answer, and `no-store` where a handler said nothing better."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_safe)


class Guard:
    """Refuses a request for another host, without login, or sent by another site's page.

    Sets `scope["tocsin.trusted"]`: the caller may see details (logged in, or no login is needed).
    """

    def __init__(self, app: ASGIApp, policy: AuthPolicy, clock: Clock) -> None:
        self.app = app
        self.policy = policy
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        bearer = self._bearer(headers)
        trusted = not self.policy.needs_login or bearer or self._has_session(headers)
        scope["tocsin.trusted"] = trusted
        refusal = self._refusal(scope, headers, trusted=trusted, bearer=bearer)
        await (refusal or self.app)(scope, receive, send)

    def _refusal(
        self, scope: Scope, headers: Headers, *, trusted: bool, bearer: bool
    ) -> Response | None:
        path, host = scope["path"], headers.get("host", "")
        if not self.policy.allows_host(host):
            detail = (
                f"this server does not answer to the host name {host[:100]!r}; "
                "set TOCSIN_PUBLIC_URL if it should"
            )
            return _refuse(path, 421, detail)
        if not trusted and not self.policy.is_open(path):
            return self._ask_for_login(scope, headers)
        if scope["method"] not in _SAFE_METHODS and not bearer and not self._same_origin(headers):
            return _refuse(path, 403, "this request was sent by a page of another site")
        return None

    def _ask_for_login(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
        detail = "send the access token as `Authorization: Bearer …`"
        return problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="tocsin"'})

    def _bearer(self, headers: Headers) -> bool:
        return self.policy.needs_login and any(map(self.policy.accepts, offered_tokens(headers)))

    def _has_session(self, headers: Headers) -> bool:
        cookie = cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE, "")
        return bool(cookie) and is_session(self.policy, cookie, self.clock.now())

    def _same_origin(self, headers: Headers) -> bool:
        """Whether the request comes from one of our pages, or from no browser at all.

        Browsers that send Sec-Fetch-Site are believed; the others send Origin with every POST. The
        scheme is not compared, because a proxy may have ended TLS before us.
        """
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        origin = headers.get("origin")
        if origin is None or (origin != "null" and "://" not in origin):
            return True  # some clients name themselves in it; a browser sends "null" or a URL
        sender = urlsplit(origin).netloc.lower()
        own = {headers.get("host", "").lower(), urlsplit(self.policy.public_url).netloc.lower()}
        return bool(sender) and sender in own


def _refuse(path: str, status: int, detail: str) -> Response:
    if path.startswith("/api/"):
        return problem(status, detail)
    return PlainTextResponse(f"{HTTPStatus(status).phrase}: {detail}\n", status)
