"""From a view to HTML: the template environment, what every page shows, fragments for refresh."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from tocsin.domain.clock import Clock, iso
from tocsin.web import charts, messages, svg
from tocsin.web import format as fmt
from tocsin.web.assets import Assets
from tocsin.web.auth import FORM_COOKIE, AuthPolicy, form_token, new_form_id
from tocsin.web.desk import Desk
from tocsin.web.tone import Tone
from tocsin.web.views import (
    VerdictKind,
    Window,
)

THEME_COOKIE = "tocsin_theme"
THEMES = ("light", "dark")
FRAGMENT_HEADER = "tocsin-fragment"
REFRESH_S = 15
REPLAY_REFRESH_S = 2
NAVIGATION: tuple[tuple[str, str], ...] = (
    ("/", "Fleet"),
    ("/services", "Services"),
    ("/health", "Health"),
    ("/objectives", "Objectives"),
    ("/detectors", "Detectors"),
    ("/incidents", "Incidents"),
    ("/experiments", "Experiments"),
    ("/reports", "Reports"),
    ("/evaluators", "Evaluators"),
    ("/status-pages", "Status pages"),
    ("/oncall", "On call"),
    ("/figures", "Figures"),
    ("/calls", "Calls"),
    ("/messages", "Messages"),
    ("/audit", "Audit"),
    ("/data-quality", "Data quality"),
    ("/sources", "Sources"),
    ("/quarantine", "Quarantine"),
    ("/setup", "Setup"),
)


class Renderer:
    """Renders one part template inside the page, or alone when the script asks for a fragment."""

    def __init__(self, desk: Desk, policy: AuthPolicy, assets: Assets, clock: Clock) -> None:
        self._desk = desk
        self._policy = policy
        self._assets = assets
        self._clock = clock
        self._navigation = NAVIGATION
        self._templates = environment()

    def offer(self, paths: Collection[str]) -> None:
        """Lead to pages at these paths only: not every application has every page."""
        self._navigation = tuple(entry for entry in NAVIGATION if entry[0] in paths)

    def page(
        self,
        request: Request,
        part: str,
        *,
        title: str,
        status: int = 200,
        live: bool = False,
        bare: bool = False,
        **context: Any,
    ) -> HTMLResponse:
        """`part` with `context`. live: refreshed by the script. bare: no navigation, no desk."""
        fragment = live and FRAGMENT_HEADER in request.headers
        progress = None if bare else self._desk.progress()
        form_id = request.cookies.get(FORM_COOKIE) or new_form_id()
        theme = request.cookies.get(THEME_COOKIE, "")
        everything = {
            "part": part,
            "title": title,
            "bare": bare,
            "path": request.url.path,
            "address_here": request.url.path
            + (f"?{request.url.query}" if request.url.query else ""),
            "theme": theme if theme in THEMES else "",
            "navigation": self._navigation,
            "firing": 0 if bare else self._desk.live_incidents(),
            "progress": progress,
            "trouble": "" if bare else self._desk.trouble(),
            "refresh_s": (REPLAY_REFRESH_S if progress else REFRESH_S) if live else 0,
            "needs_login": self._policy.needs_login,
            "form_token": lambda: form_token(self._policy, form_id),
            "static": self._assets.url,
            "now": self._clock.now(),
            **context,
        }
        template = self._templates.get_template("_live.html" if fragment else "page.html")
        response = HTMLResponse(template.render(everything), status)
        response.headers["Vary"] = "Tocsin-Fragment, Cookie"
        if FORM_COOKIE not in request.cookies and not fragment:
            set_cookie(request, self._policy, response, FORM_COOKIE, form_id)
        return response


def set_cookie(
    request: Request,
    policy: AuthPolicy,
    response: HTMLResponse | Any,
    name: str,
    value: str,
    *,
    max_age: int | None = None,
) -> None:
    """A cookie no script can read; Secure when people reach us over TLS."""
    secure = request.url.scheme == "https" or policy.public_url.startswith("https://")
    response.set_cookie(
        name, value, max_age=max_age, httponly=True, samesite="lax", secure=secure, path="/"
    )


def address(path: str, /, **query: Any) -> str:
    """A link: `path` segments quoted, query without empty values."""
    pairs = {name: value for name, value in query.items() if value not in (None, "")}
    return quote(path, safe="/:@") + (f"?{urlencode(pairs)}" if pairs else "")


def attributes(values: Mapping[str, str]) -> Markup:
    """HTML attributes, escaped, with a leading space each."""
    return Markup("").join(Markup(' {}="{}"').format(k, v) for k, v in values.items())


@cache
def environment() -> Environment:
    """The templates, with what every one may call."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        Tone=Tone,
        VerdictKind=VerdictKind,
        Window=Window,
        address=address,
        band_chart=charts.band_chart,
        bar=svg.bar,
        histogram=svg.histogram,
        interval=svg.interval,
        hover_data=lambda view: attributes(charts.hover_data(view)),
        layout=messages.layout,
        ring=svg.ring,
        sparkline=svg.sparkline,
        strip=svg.strip,
    )
    made.filters.update(
        budget=fmt.budget,
        burn=fmt.burn,
        clock=fmt.clock,
        count=fmt.count,
        iso=iso,
        lasting=fmt.lasting,
        amount=fmt.amount,
        milliseconds=fmt.milliseconds,
        moment=fmt.moment,
        percent=fmt.percent,
        plural=fmt.plural,
        points=fmt.points,
        quantity=fmt.quantity,
        seconds=fmt.seconds,
        short=fmt.short,
        size_bytes=fmt.size_bytes,
        span=fmt.span,
        usd=fmt.usd,
    )
    return made
