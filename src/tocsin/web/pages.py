"""The pages people read: query -> view -> template. GET only; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.domain.clock import parse_iso
from tocsin.engine.breakdown import BadRange
from tocsin.web.breakdown_views import MEASURE_NAMES, Asked, asked_of, refused
from tocsin.web.breakdown_views import view as breakdown_view
from tocsin.web.call_views import laid_out
from tocsin.web.desk import Desk, IncidentFilter
from tocsin.web.listing import paged
from tocsin.web.objective_list import STANDINGS, ObjectiveFilter, standing_counts
from tocsin.web.render import Renderer
from tocsin.web.tone import Tone
from tocsin.web.views import (
    FleetView,
    ServiceCard,
    Window,
)

CARDS = 24
PAGE_SIZE = 50
LONGEST_TEXT = 50_000  # characters
_DONE = {
    "acknowledged": "Acknowledged. Escalation stops; the incident stays open.",
    "resolved": "Resolved. Everyone who was told will be told.",
    "verdict": "Thank you. The verdict is recorded and counts towards the page budget.",
}


class Pages:
    """One method per page; they block, so the router runs them in worker threads."""

    def __init__(self, desk: Desk, renderer: Renderer) -> None:
        self._desk = desk
        self._renderer = renderer

    def routes(self) -> list[Route]:
        """Every page."""
        pages: tuple[tuple[str, Callable[[Request], Response]], ...] = (
            ("/", self.fleet),
            ("/services", self.services),
            ("/services/{name:path}", self.service),
            ("/objectives", self.objectives),
            ("/objectives/{name:path}", self.objective),
            ("/incidents", self.incidents),
            ("/incidents/{id:path}/why", self.why),
            ("/incidents/{id:path}", self.incident),
            ("/calls", self.calls),
            ("/calls/{trace_id}/{span_id}", self.call),
            ("/messages", self.messages),
            ("/audit", self.audit),
            ("/data-quality", self.data_quality),
            ("/sources", self.sources),
            ("/quarantine", self.quarantine),
            ("/setup", self.setup),
        )
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in pages]

    def fleet(self, request: Request) -> Response:
        """Every service at once; how to send telemetry when there is none yet."""
        window = _window(request)
        view = self._desk.fleet(window)
        if not view.cards:
            return self._setup(request, fresh=True)
        return self._renderer.page(
            request,
            "fleet.html",
            title="Fleet",
            live=True,
            view=view,
            cards=view.cards[:CARDS],
            rest=view.cards[CARDS:],
            summary=FleetSummary(view),
        )

    def services(self, request: Request) -> Response:
        """The whole list, filtered by name and state."""
        window, wanted = _window(request), request.query_params.get("q", "").strip()
        tone = _choice(request, "tone", ("", *(t.value for t in Tone)))
        view = self._desk.fleet(window)
        found = [c for c in view.cards if _matches(c, wanted) and tone in ("", c.tone)]
        return self._renderer.page(
            request, "services.html", title="Services", live=True,
            view=view, found=found, wanted=wanted, tone=tone,
        )  # fmt: skip

    def service(self, request: Request) -> Response:
        """One service over a window."""
        name, asked = request.path_params["name"], Asked()
        view = self._desk.service(name, _window(request))
        panel = None
        try:
            if (wanted := asked_of(request.query_params)) is not None:
                asked = wanted
                told = self._desk.breakdown(name, asked)
                panel = breakdown_view(told, asked, view.updated)
        except BadRange as error:
            panel = refused(asked, view.updated, str(error))
        return self._renderer.page(
            request, "service.html", title=view.card.title, live=True, view=view, panel=panel,
            blank=refused(Asked(), view.updated, ""), measures=MEASURE_NAMES,
        )  # fmt: skip

    def objectives(self, request: Request) -> Response:
        """Every SLO, filtered and in order."""
        wanted = ObjectiveFilter(
            q=request.query_params.get("q", "").strip(),
            tone=_choice(request, "tone", ("", *(t.value for t in Tone))),
            standing=_choice(request, "standing", ("", *STANDINGS)),
            sort=_choice(request, "sort", ("budget", "burn", "name")),
        )
        every = self._desk.objectives()
        page = paged(wanted.of(every), _cursor(request), PAGE_SIZE, lambda view: view.name)
        return self._renderer.page(
            request, "objectives.html", title="Objectives", live=True, page=page, wanted=wanted,
            every=len(every), standings=STANDINGS, counts=standing_counts(every),
        )  # fmt: skip

    def objective(self, request: Request) -> Response:
        """One SLO over its period."""
        view = self._desk.objective(request.path_params["name"])
        return self._renderer.page(
            request, "objective.html", title=view.view.title, live=True, view=view
        )

    def incidents(self, request: Request) -> Response:
        """The incident list."""
        wanted = incident_filter(request)
        page = self._desk.incidents(wanted, _cursor(request), PAGE_SIZE)
        return self._renderer.page(
            request, "incidents.html", title="Incidents", live=True, page=page, wanted=wanted
        )

    def incident(self, request: Request) -> Response:
        """One incident that explains itself."""
        view = self._desk.incident(request.path_params["id"])
        done = _DONE.get(request.query_params.get("done", ""), "")
        return self._renderer.page(
            request, "incident.html", title=view.row.title, live=True, view=view, done=done
        )

    def why(self, request: Request) -> Response:
        """Why this incident went where it went."""
        view = self._desk.why(request.path_params["id"])
        return self._renderer.page(request, "why.html", title=f"Why: {view.title}", view=view)

    def calls(self, request: Request) -> Response:
        """Normalised calls, newest first."""
        service, since = request.query_params.get("service", ""), _since(request)
        page = self._desk.calls(PAGE_SIZE, since, service, _cursor(request))
        return self._renderer.page(
            request, "calls.html", title="Calls", live=True,
            page=page, service=service, since=request.query_params.get("since", ""),
        )  # fmt: skip

    def call(self, request: Request) -> Response:
        """One call: what was asked and answered, and all that is kept about it."""
        view = self._desk.call(request.path_params["trace_id"], request.path_params["span_id"])
        texts = [(name, _shown(text)) for name, text in
                 (("Input", view.input), ("Output", view.output)) if text]  # fmt: skip
        title = view.call.name or view.call.kind
        return self._renderer.page(request, "call.html", title=title, view=view, texts=texts)

    def messages(self, request: Request) -> Response:
        """What receivers got."""
        incident = request.query_params.get("incident", "")
        page = self._desk.messages(incident, _cursor(request), PAGE_SIZE)
        return self._renderer.page(
            request, "messages.html", title="Messages", live=True, page=page, incident=incident
        )

    def audit(self, request: Request) -> Response:
        """The ledger and the state of its chain."""
        subject = request.query_params.get("subject", "")
        view = self._desk.ledger(subject, _cursor(request), PAGE_SIZE)
        return self._renderer.page(
            request, "audit.html", title="Audit", live=True, view=view, subject=subject
        )

    def quarantine(self, request: Request) -> Response:
        """Input that was kept but could not be used."""
        page = self._desk.quarantine(_cursor(request), PAGE_SIZE)
        return self._renderer.page(
            request, "quarantine.html", title="Quarantine", live=True, page=page
        )

    def data_quality(self, request: Request) -> Response:
        """What telemetry leaves out."""
        asked = request.query_params.get("hours", "")
        hours = int(asked) if asked in ("1", "2", "3", "4", "5", "6") else 1
        view = self._desk.data_quality(hours)
        return self._renderer.page(
            request, "quality.html", title="Data quality", view=view, hours=hours
        )

    def sources(self, request: Request) -> Response:
        """What is read from elsewhere, and how that goes."""
        found = self._desk.sources()
        unknown = sum(1 for status in found if status.state == "unknown")
        return self._renderer.page(
            request, "sources.html", title="Sources", live=True, sources=found, unknown=unknown
        )

    def setup(self, request: Request) -> Response:
        """How to send telemetry here."""
        return self._setup(request, fresh=False)

    def _setup(self, request: Request, *, fresh: bool) -> Response:
        base = str(request.base_url).rstrip("/")
        return self._renderer.page(
            request, "setup.html", title="Setup", live=fresh, base=base, fresh=fresh
        )


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """The sentences of the four tiles, from the counts of a fleet."""

    view: FleetView

    @property
    def lowest(self) -> ServiceCard | None:
        """The service with the least error budget left, None when no budget is known."""
        known = [card for card in self.view.cards if card.budget_left is not None]
        return min(known, key=lambda card: card.budget_left or 0.0, default=None)

    @property
    def slos_judged(self) -> int:
        """SLOs with an answer, good or bad."""
        return self.view.slos_met + self.view.slos_at_risk + self.view.slos_breached

    @property
    def slos_kept(self) -> int:
        """SLOs that are not breached: met, some of them at risk."""
        return self.view.slos_met + self.view.slos_at_risk

    @property
    def slo_note(self) -> str:
        """What is not fine, in words."""
        view = self.view
        parts = (
            (view.slos_breached, "breached"),
            (view.slos_at_risk, "at risk"),
            (view.slos_unknown, "unknown"),
        )
        named = [f"{number} {word}" for number, word in parts if number]
        return ", ".join(named) or ("all within budget" if view.slos_met else "none defined")

    @property
    def slo_tone(self) -> Tone:
        """The tone of the worst SLO."""
        view = self.view
        if view.slos_breached:
            return Tone.BAD
        if view.slos_at_risk:
            return Tone.WARN
        return Tone.OK if view.slos_met and not view.slos_unknown else Tone.UNKNOWN

    @property
    def spend_change(self) -> float | None:
        """Today's spend against the usual by this time, as a fraction."""
        now, usual = self.view.spend_today_usd, self.view.spend_usual_usd
        return None if now is None or not usual else now / usual - 1


def incident_filter(request: Request) -> IncidentFilter:
    """The filter in the query. 400 for a state or tier that does not exist."""
    state = _choice(request, "state", ("live", "resolved", "all"))
    tier = _choice(request, "tier", ("", "1", "2", "3"))
    chosen: Literal["live", "resolved", "all"] = (
        "resolved" if state == "resolved" else "all" if state == "all" else "live"
    )
    return IncidentFilter(
        state=chosen,
        service=request.query_params.get("service", ""),
        tier=int(tier) if tier else None,
    )


def _shown(text: str) -> str:
    """A text laid out, cut where a page would become too long to read."""
    laid = laid_out(text)
    if len(laid) <= LONGEST_TEXT:
        return laid
    return f"{laid[:LONGEST_TEXT]}…\n({len(laid)} characters; the API has all of them)"


def _window(request: Request) -> Window:
    return Window(_choice(request, "window", tuple(w.value for w in Window), Window.DAY.value))


def _choice(request: Request, name: str, allowed: tuple[str, ...], default: str = "") -> str:
    value = request.query_params.get(name, default or allowed[0])
    if value not in allowed:
        named = ", ".join(a for a in allowed if a)
        raise HTTPException(400, f"{name}={value[:40]!r} is not one of {named}")
    return value


def _since(request: Request) -> datetime | None:
    text = request.query_params.get("since", "")
    if not text:
        return None
    try:
        return parse_iso(text)
    except ValueError:
        raise HTTPException(
            400, f"since={text[:40]!r} is not a time such as 2026-03-02T14:05:00Z"
        ) from None


def _cursor(request: Request) -> str | None:
    return request.query_params.get("cursor") or None


def _matches(card: ServiceCard, wanted: str) -> bool:
    text = f"{card.name} {card.title} {card.team} {card.model}".lower()
    return all(word in text for word in wanted.lower().split())
