"""What people do here: acknowledge, resolve, judge, log in, choose a theme. POST only.

Every form carries a token bound to the browser; a link, a prefetch or a mail scanner can never
acknowledge anything.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tocsin.domain.clock import Clock
from tocsin.web.auth import (
    FORM_COOKIE,
    SESSION_COOKIE,
    SESSION_LIFE,
    AuthPolicy,
    LoginThrottle,
    is_form_token,
    new_session,
)
from tocsin.web.desk import Desk
from tocsin.web.render import THEME_COOKIE, THEMES, Renderer, address, set_cookie
from tocsin.web.views import VerdictKind

LARGEST_FORM = 16_384
LONGEST_NAME = 80
LONGEST_REASON = 500
_YEAR_S = 365 * 86_400

Form = dict[str, str]


class Actions:
    """Handlers of forms."""

    def __init__(self, desk: Desk, renderer: Renderer, policy: AuthPolicy, clock: Clock) -> None:
        self._desk = desk
        self._renderer = renderer
        self._policy = policy
        self._clock = clock
        self._throttle = LoginThrottle()

    def routes(self) -> list[Route]:
        """Every form's target."""
        return [
            Route("/incidents/{id:path}/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/incidents/{id:path}/resolve", self.resolve, methods=["POST"]),
            Route("/incidents/{id:path}/verdict", self.verdict, methods=["POST"]),
            Route("/audit/verify", self.verify, methods=["POST"]),
            Route("/theme", self.theme, methods=["POST"]),
            Route("/login", self.login_form, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
        ]

    async def acknowledge(self, request: Request) -> Response:
        """Take an incident on."""
        form = await self.form(request)
        return await self._act(
            request, "acknowledged", lambda id_: self._desk.acknowledge(id_, actor(form))
        )

    async def resolve(self, request: Request) -> Response:
        """Say that it is over, and why."""
        form = await self.form(request)
        reason = form.get("reason", "").strip()
        if not reason:
            raise HTTPException(400, "say in a few words why it is over")
        if len(reason) > LONGEST_REASON:
            raise HTTPException(400, f"the reason is longer than {LONGEST_REASON} characters")
        return await self._act(
            request, "resolved", lambda id_: self._desk.resolve(id_, actor(form), reason)
        )

    async def verdict(self, request: Request) -> Response:
        """Say whether the page was worth it."""
        form = await self.form(request)
        try:
            kind = VerdictKind(form.get("verdict", ""))
        except ValueError:
            raise HTTPException(400, f"choose one of {', '.join(VerdictKind)}") from None
        return await self._act(
            request, "verdict", lambda id_: self._desk.verdict(id_, kind, actor(form))
        )

    async def verify(self, request: Request) -> Response:
        """Verify the whole ledger."""
        await self.form(request)
        await run_in_threadpool(self._desk.verify)
        return RedirectResponse("/audit", 303)

    async def theme(self, request: Request) -> Response:
        """Keep light or dark in a cookie; "auto" forgets it."""
        form = await read_form(request)
        response = RedirectResponse(local_path(form.get("next", "/")), 303)
        if form.get("theme") in THEMES:
            response.set_cookie(
                THEME_COOKIE, form["theme"], max_age=_YEAR_S, samesite="lax", path="/"
            )
        else:
            response.delete_cookie(THEME_COOKIE, path="/")
        return response

    def login_form(self, request: Request) -> Response:
        """The form; straight on when nobody has to log in."""
        wanted = local_path(request.query_params.get("next", "/"))
        if request.scope.get("tocsin.trusted"):
            return RedirectResponse(wanted, 303)
        return self._login_page(request, wanted, "", 200)

    async def login(self, request: Request) -> Response:
        """Token for cookie."""
        form = await self.form(request)
        wanted, now = local_path(form.get("next", "/")), self._clock.now()
        client = request.client.host if request.client else "unknown"
        wait = self._throttle.wait_s(client, now)
        if wait:
            page = self._login_page(
                request, wanted, f"Too many wrong tokens. Try again in {wait} s.", 429
            )
            page.headers["Retry-After"] = str(wait)
            return page
        if not self._policy.accepts(form.get("token", "").strip()):
            self._throttle.failed(client, now)
            return self._login_page(request, wanted, "That is not the access token.", 401)
        response = RedirectResponse(wanted, 303)
        life = int(SESSION_LIFE.total_seconds())
        session = new_session(self._policy, now)
        set_cookie(request, self._policy, response, SESSION_COOKIE, session, max_age=life)
        return response

    async def logout(self, request: Request) -> Response:
        """Forget the cookie."""
        await self.form(request)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE, path="/")
        return response

    def _login_page(self, request: Request, wanted: str, error: str, status: int) -> Response:
        return self._renderer.page(
            request, "login.html", title="Log in", status=status, bare=True,
            wanted=wanted, error=error,
        )  # fmt: skip

    async def form(self, request: Request) -> Form:
        """The fields of a form; 403 without the token of this browser's page."""
        form = await read_form(request)
        browser = request.cookies.get(FORM_COOKIE, "")
        if not is_form_token(self._policy, browser, form.get("form_token", "")):
            raise HTTPException(
                403, "this form is out of date (or cookies are off): go back, reload, try again"
            )
        return form

    async def _act(self, request: Request, done: str, act: Callable[[str], None]) -> Response:
        incident_id = request.path_params["id"]
        await run_in_threadpool(act, incident_id)
        return RedirectResponse(address(f"/incidents/{incident_id}", done=done), 303)


def actor(form: Form) -> str:
    """Who did it, for the ledger: the name given in the form, or that it came from the web."""
    name = " ".join(form.get("name", "").split())[:LONGEST_NAME]
    return f"web:{name or 'anonymous'}"


async def read_form(request: Request) -> Form:
    """The fields of an urlencoded form. 415, 413 or 400 when it is not one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "send a form as application/x-www-form-urlencoded")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, f"a form is at most {LARGEST_FORM} bytes")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError:
        raise HTTPException(400, "the form is not readable as UTF-8 key=value pairs") from None
    return dict(pairs)


def local_path(text: str) -> str:
    """`text` if it leads to a page of this server, "/" otherwise (no open redirect)."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_local and text.isprintable() else "/"
