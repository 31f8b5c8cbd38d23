"""The desk of a running Tocsin: what pages ask, answered from its stores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from tocsin.domain.calls import Call
from tocsin.domain.clock import from_minute, iso, to_minute
from tocsin.domain.findings import Incident
from tocsin.domain.series import Change, MinuteBlock, Ratio, SeriesId
from tocsin.engine.health import service_health
from tocsin.engine.health_history import groups as health_groups
from tocsin.engine.house import House, settled
from tocsin.engine.responses import figures_at
from tocsin.engine.sources import TargetStatus
from tocsin.engine.testimony import Why
from tocsin.engine.verified import Verified
from tocsin.engine.why import why
from tocsin.store.inbox import refused
from tocsin.store.reads import FleetRow
from tocsin.web import (
    breakdown_views,
    call_reading,
    crowded,
    data_quality_reading,
    objective_reading,
    portraits,
    readiness,
    reasons,
    serving,
    spending,
)
from tocsin.web.call_views import CallView
from tocsin.web.data_quality_views import DataQualityView
from tocsin.web.desk import IncidentFilter, Missing
from tocsin.web.detector_reading import DetectorReading
from tocsin.web.exhibits import calls_behind, failed, slowest
from tocsin.web.listing import number, paged, passes
from tocsin.web.objective_detail import ObjectiveDetail
from tocsin.web.objective_views import ObjectiveView
from tocsin.web.readiness import Readiness
from tocsin.web.tone import Tone
from tocsin.web.views import (
    CallRow,
    ChangeView,
    ChartView,
    FleetView,
    IncidentRow,
    IncidentView,
    LedgerView,
    MessageView,
    Page,
    QuarantineRow,
    ReplayProgress,
    ServiceCard,
    ServiceView,
    VerdictKind,
    Window,
)

T = TypeVar("T")

SPARK_POINTS = 72
MOST_INCIDENTS = 500
BLIND_MINUTES = 5
RECENT_CHANGES = timedelta(days=7)
_RANK = {Tone.BAD: 0, Tone.WARN: 1, Tone.UNKNOWN: 2, Tone.OK: 3}


class LiveDesk:
    """Implements `web.desk.Desk` over a House.

    progress: how far a running replay is; None when nothing is replayed. sources: what is read
    from elsewhere.
    """

    def __init__(
        self,
        house: House,
        progress: Callable[[], ReplayProgress | None] = lambda: None,
        sources: Callable[[], tuple[TargetStatus, ...]] = tuple,
    ) -> None:
        self._house = house
        self.arranging = house.arranging
        self.figures = partial(figures_at, house.state, house.clock)
        self._progress = progress
        self.sources = sources
        self.detectors = DetectorReading(house, self.blind)
        self._verified = Verified(house.state, house.clock)
        self._lock = threading.Lock()
        self._fleet: dict[Window, tuple[int, FleetView]] = {}

    # --- the fleet and its services ---

    def fleet(self, window: Window) -> FleetView:
        """Every service, worst first; drawn anew once a minute."""
        minute = to_minute(self._house.clock.now())
        with self._lock:
            held = self._fleet.get(window)
            if held is None or held[0] != minute:
                held = self._fleet[window] = (minute, self._draw_fleet(window))
            return held[1]

    def service(self, name: str, window: Window) -> ServiceView:
        """One service; Missing when it was never seen nor configured."""
        now = self._house.clock.now()
        incidents = self._recent_incidents(now - window.duration)
        cards = {card.name: card for card in self._cards(window, incidents)}
        start, stop, step = _grid(now, window)
        theirs = self._telemetry_name(name)
        reader = self._house.telemetry.metrics
        if name not in cards:
            if not reader.names(theirs, start, stop):
                known = ", ".join(sorted(cards)) or "none yet"
                raise Missing(f"there is no service {name}; known: {known}")
            reason = "it reports metrics and no calls"
            cards[name] = ServiceCard(name, name, Tone.UNKNOWN, reason=reason)
        timeline = self._house.telemetry.reads.timeline(theirs, start, stop, step)
        mine = [i for i in incidents if i.labels.get("service", "") == name]
        changes = self._changes(name, start, stop)
        title = cards[name].title
        span = from_minute(start), from_minute(stop)
        configured = self._house.desired.services.get(name)
        return ServiceView(
            card=cards[name],
            window=window,
            updated=now,
            charts=(
                portraits.latency_chart(title, timeline, mine, changes),
                portraits.failure_chart(title, timeline, mine, changes),
                portraits.percentile_chart(title, timeline),
                *portraits.plain_charts(title, timeline),
                portraits.feedback_chart(title, timeline, self._ratings(theirs, start, stop)),
            ),
            serving=serving.charts(reader, title, theirs, start, stop, step),
            objectives=tuple(view for view in self._objectives() if view.service == name),
            incidents=tuple(self._row(incident) for incident in mine),
            changes=tuple(portraits.change_view(c) for c in reversed(changes)),
            slowest=self._rows(slowest(self._house.telemetry.exemplars, theirs, *span)),
            failed=self._rows(failed(self._house.telemetry.exemplars, theirs, *span)),
            runbook=configured.runbook if configured else "",
            unread=serving.unread(self.sources(), name),
            health=tuple(service_health(self._house, name)),
            quality=tuple(self._house.qualities(name)),
            segments=tuple(self._house.fairness(name)),
            dependencies=tuple(self._house.dependencies(name)),
        )

    def objectives(self) -> tuple[ObjectiveView, ...]:
        """Every SLO, least budget first, unknown ones last."""
        return tuple(self._objectives())

    def objective(self, name: str) -> ObjectiveDetail:
        """One SLO with what lay near its breaches; Missing when there is none."""
        return objective_reading.detail(self._house, name, self._objectives())

    # --- incidents ---

    def incidents(
        self, wanted: IncidentFilter, cursor: str | None, limit: int
    ) -> Page[IncidentRow]:
        """Newest first."""
        if wanted.state == "live":  # read apart: an old one must not hide behind newer ones
            live = sorted(self._live(), key=lambda i: (i.opened, i.id), reverse=True)
            chosen = [self._row(incident) for incident in live if passes(incident, wanted)]
            return paged(chosen, cursor, limit, lambda row: row.id)
        read = self._house.state.list_incidents(MOST_INCIDENTS, cursor)
        found = [incident for incident in read if passes(incident, wanted)]
        rows = tuple(self._row(incident) for incident in found[:limit])
        if len(found) > limit:
            return Page(rows, rows[-1].id)
        return Page(rows, read[-1].id if len(read) == MOST_INCIDENTS else None)

    def live_incidents(self) -> int:
        """How many incidents are live and not suppressed."""
        return sum(1 for incident in self._live() if not incident.suppressed_by)

    def incident(self, incident_id: str) -> IncidentView:
        """One incident with its evidence; Missing when there is none."""
        incident = self._incident(incident_id)
        service = incident.labels.get("service", "")
        stop = min(incident.resolved or self._house.clock.now(), self._house.clock.now())
        end = to_minute(stop) + 30
        start = to_minute(incident.opened) - 180
        step = max(1, (end - start) // 240)
        timeline = self._house.telemetry.reads.timeline(
            self._telemetry_name(service), start, end, step
        )
        changes = self._changes(service, start, end)
        return reasons.incident_view(
            incident,
            self._row(incident),
            chart=portraits.chart_for(incident, service, timeline, changes),
            effects=self._house.state.effects(incident_id),
            timeline=self._house.state.timeline(incident_id),
            receivers={n: r.type for n, r in self._house.desired.receivers.items()},
            changes=tuple(portraits.change_view(c) for c in changes),
            behind=calls_behind(
                self._house.telemetry.exemplars,
                incident,
                self._house.desired.monitors,
                self._telemetry_name(service),
                stop,
            ),
        )

    def why(self, subject: str) -> Why:
        """How it came to be told, derived again from the ledger; NothingKnown of another name."""
        return why(self._house.state, subject, self._house.desired)

    def acknowledge(self, incident_id: str, actor: str) -> None:
        """Somebody looks at it: escalation stops."""
        settled(self._house.acknowledge(incident_id, actor))

    def resolve(self, incident_id: str, actor: str, reason: str) -> None:
        """Somebody says it is over."""
        settled(self._house.resolve(incident_id, actor, reason))

    def verdict(self, incident_id: str, kind: VerdictKind, actor: str) -> None:
        """Somebody says whether the page was worth it."""
        self._incident(incident_id)
        self._house.state.mark(incident_id, kind.value, actor, self._house.clock.now())

    # --- lists ---

    def messages(self, incident_id: str, cursor: str | None, limit: int) -> Page[MessageView]:
        """What the built-in sinks got; without any, what was sent to the real receivers."""
        found = [reasons.message_view(m) for m in self._house.state.sink_messages(10_000)]
        if not found:
            types = {n: r.type for n, r in self._house.desired.receivers.items()}
            effects = self._house.state.list_effects(10_000)
            found = [reasons.sent_view(e, types) for e in effects if e.kind == "notify"]
        wanted = [m for m in found if incident_id in ("", m.incident_id)]
        return paged(wanted, cursor, limit, lambda message: message.id)

    def ledger(self, subject: str, cursor: str | None, limit: int) -> LedgerView:
        """The audit chain, newest first, and whether it holds."""
        head = self._house.state.ledger_head()
        before = number(cursor) if cursor else head.seq + 1
        entries = (
            list(self._house.state.entries_about(subject))
            if subject
            else list(self._house.state.ledger_entries(max(0, before - 1 - limit), limit))
        )
        rows = [reasons.ledger_row(e) for e in reversed(entries) if e.seq < before][:limit]
        found = self._verified.look()
        more = bool(rows) and rows[-1].seq > 1 and (not subject or len(rows) == limit)
        return LedgerView(
            page=Page(tuple(rows), str(rows[-1].seq) if more else None),
            intact=found.broken is None,
            entries=head.seq,
            head=head.hash,
            checked=found.at,
            checked_whole=found.whole_at,
            problem="" if found.broken is None else str(found.broken),
        )

    def verify(self) -> None:
        """Verify the whole chain, not only what came since the last time."""
        self._verified.look(anew=True)

    def calls(
        self, limit: int, since: datetime | None, service: str, cursor: str | None
    ) -> Page[CallRow]:
        """Calls with ts >= since, newest first, with their total."""
        reads = self._house.telemetry.reads
        return call_reading.newest(reads, limit, since, service, cursor)

    def metrics(
        self, service: str, metric: str, start: datetime | None, stop: datetime | None,
        step_minutes: int | None,
    ) -> serving.MetricsResource:  # fmt: skip
        """Metrics of a service and the series of one of them; the last hour when not told."""
        last = stop or self._house.clock.now()
        first = start or last - timedelta(hours=1)
        reader, theirs = self._house.telemetry.metrics, self._telemetry_name(service)
        return serving.resource(reader, service, theirs, metric, first, last, step_minutes)

    def data_quality(self, hours: int) -> DataQualityView:
        """What telemetry leaves out, in the last 1 to 6 hours."""
        now = self._house.clock.now()
        found = data_quality_reading.view(self._house.telemetry, now, hours)
        return replace(found, crowded=crowded.sentences(self._house))

    def breakdown(self, service: str, asked: breakdown_views.Asked) -> dict[str, Any]:
        """Which slice of a service's traffic explains a time range; BadRange for what cannot be."""
        now = self._house.clock.now()
        return breakdown_views.account(self._house.breakdowns, service, asked, now)

    def call(self, trace_id: str, span_id: str) -> CallView:
        """One call with its texts, log records and scores; Missing when there is none."""
        return call_reading.one(self._house.telemetry, trace_id, span_id)

    def changes(
        self, service: str, since: datetime | None, cursor: str | None, limit: int
    ) -> Page[ChangeView]:
        """Deploys and other changes, newest first."""
        now = self._house.clock.now()
        start = to_minute(since or now - RECENT_CHANGES)
        found = [
            portraits.change_view(c) for c in self._changes(service, start, to_minute(now) + 1)
        ]
        found.reverse()
        return paged(found, cursor, limit, lambda view: f"{iso(view.at)} {view.title}")

    def quarantine(self, cursor: str | None, limit: int) -> Page[QuarantineRow]:
        """Input that was kept but could not be used, newest first."""
        with self._house.state.reading() as tx:
            letters = refused(tx)
        reads = self._house.telemetry.reads
        return data_quality_reading.quarantine(reads, letters, cursor, limit)

    def progress(self) -> ReplayProgress | None:
        """How far a running replay is."""
        return self._progress()

    def ready(self) -> Readiness:
        """Whether stores, intake and the engine do their work."""
        return readiness.readiness(self._house, self.blind())

    def trouble(self) -> str:
        """Why telemetry does not come in as it should, or ""."""
        return readiness.trouble(self._house)

    # --- private ---

    def _draw_fleet(self, window: Window) -> FleetView:
        now = self._house.clock.now()
        incidents = self._recent_incidents(now - window.duration)
        cards = self._cards(window, incidents)
        cards.sort(key=lambda c: (_RANK[c.tone], -c.firing, c.budget_left is None,
                                  c.budget_left or 0.0, c.name))  # fmt: skip
        objectives = self._objectives()
        tones = [view.tone for view in objectives]
        live = [i for i in incidents if i.state.is_live and not i.suppressed_by]
        start, stop, step = _grid(now, window)
        spend, unpriced = spending.today(self._house.telemetry.reads, now)
        return FleetView(
            window=window,
            updated=now,
            environment=", ".join(sorted({s.env for s in self._house.desired.services.values()})),
            cards=tuple(cards),
            slos_met=tones.count(Tone.OK),
            slos_at_risk=tones.count(Tone.WARN),
            slos_breached=tones.count(Tone.BAD),
            slos_unknown=tones.count(Tone.UNKNOWN),
            firing_pages=sum(1 for i in live if i.tier == 1),
            firing_tickets=sum(1 for i in live if i.tier != 1),
            spend_today_usd=spend,
            spend_usual_usd=spending.usual(self._house.telemetry.reads, now),
            unpriced_calls=unpriced,
            worst=self._worst(cards, incidents, start, stop, step),
            groups=tuple(health_groups(self._house)),
        )

    def _worst(
        self,
        cards: Sequence[ServiceCard],
        incidents: Sequence[Incident],
        start: int,
        stop: int,
        step: int,
    ) -> ChartView | None:
        shown = next((card for card in cards if card.requests), None)
        if shown is None:
            return None
        timeline = self._house.telemetry.reads.timeline(
            self._telemetry_name(shown.name), start, stop, step
        )
        mine = [i for i in incidents if i.labels.get("service", "") == shown.name]
        draw = portraits.failure_chart if portraits.is_failing(mine) else portraits.latency_chart
        return draw(shown.title, timeline, mine, self._changes(shown.name, start, stop))

    def _cards(self, window: Window, incidents: Sequence[Incident]) -> list[ServiceCard]:
        now = self._house.clock.now()
        start, stop, _ = _grid(now, window)
        rows = {row.service: row for row in self._house.telemetry.reads.fleet(start, stop)}
        services = self._house.desired.services
        firing = portraits.firing_by_service(incidents)
        objectives: dict[str, list[ObjectiveView]] = {}
        for view in self._objectives():
            objectives.setdefault(view.service, []).append(view)
        theirs = {service.service_name for service in services.values()}
        names = [*services, *(name for name in rows if name not in theirs)]
        return [
            self._card(name, rows.get(self._telemetry_name(name)), objectives.get(name, []),
                       firing.get(name, 0), start, stop)
            for name in names
        ]  # fmt: skip

    def _card(
        self,
        name: str,
        row: FleetRow | None,
        objectives: Sequence[ObjectiveView],
        firing: int,
        start: int,
        stop: int,
    ) -> ServiceCard:
        service = self._house.desired.services.get(name)
        worst = objectives[0] if objectives else None
        tone = min((v.tone for v in objectives), key=_RANK.__getitem__, default=Tone.UNKNOWN)
        if firing:
            tone = Tone.BAD
        step = max((stop - start) // SPARK_POINTS, 1)
        spark = None
        if row is not None:
            timeline = self._house.telemetry.reads.timeline(row.service, start, stop, step)
            spark = portraits.series(timeline, timeline.p95_ms / 1000)
        reason = ""
        if tone is Tone.UNKNOWN:
            reason = worst.reason if worst else "no objective is configured for it"
        return ServiceCard(
            name=name,
            title=service.display_name if service else name,
            tone=tone,
            team=service.team if service else "",
            model=row.model if row else (service.model if service else ""),
            objective=f"{worst.title}, {worst.window}" if worst else "",
            budget_left=worst.budget_left if worst else None,
            burn=worst.burns[0].long_burn if worst and worst.burns else None,
            firing=firing,
            requests=row.calls if row else None,
            error_rate=row.failed / row.calls if row and row.calls else None,
            p95_s=row.p95_ms / 1000 if row and row.p95_ms is not None else None,
            spark=spark,
            mode=service.mode if service else "",
            reason=reason,
        )

    def _objectives(self) -> list[ObjectiveView]:
        return objective_reading.views(self._house, self.blind())

    def blind(self) -> str:
        """Why nothing is known about the last minutes, or "": the engine has not judged them."""
        behind = to_minute(self._house.clock.now()) - self._house.standing.minute
        if behind <= BLIND_MINUTES or self._progress() is not None:
            return ""
        return f"the last judged minute is {behind} minutes ago"

    def _recent_incidents(self, since: datetime) -> list[Incident]:
        """Live ones, however old, and what changed since; the last opened first."""
        found = {i.id: i for i in self._house.state.list_incidents(MOST_INCIDENTS)}
        found |= {i.id: i for i in self._live()}
        recent = [i for i in found.values() if i.state.is_live or i.updated >= since]
        return sorted(recent, key=lambda i: (i.opened, i.id), reverse=True)

    def _live(self) -> list[Incident]:
        return [i for i in self._house.state.incidents().values() if i.state.is_live]

    def _changes(self, service: str, start: int, stop: int) -> list[Change]:
        found = self._house.telemetry.changes(start, stop)
        theirs = self._telemetry_name(service)
        return [c for c in found if not service or c.service in ("", service, theirs)]

    def _ratings(self, service: str, start: int, stop: int) -> MinuteBlock:
        rated = {SeriesId(service, "feedback"): Ratio("feedback_negative")}
        return self._house.telemetry.minutes(rated, (), start, stop)

    def _rows(self, calls: Sequence[Call]) -> tuple[CallRow, ...]:
        return tuple(portraits.call_row(call) for call in calls)

    def _row(self, incident: Incident) -> IncidentRow:
        marks = self._house.state.marks(incident.id)
        return portraits.incident_row(incident, marks[-1].verdict if marks else "")

    def _incident(self, incident_id: str) -> Incident:
        found = self._house.state.incident(incident_id)
        if found is None:
            raise Missing(f"there is no incident {incident_id}")
        return found

    def _telemetry_name(self, service: str) -> str:
        known = self._house.desired.services.get(service)
        return known.service_name if known else service


def _grid(now: datetime, window: Window) -> tuple[int, int, int]:
    """Epoch minutes [start, stop) of a window in whole steps, the open minute included, and the
    step in minutes."""
    step = max(window.step_s // 60, 1)
    stop = (to_minute(now) // step + 1) * step
    return stop - int(window.duration.total_seconds()) // 60, stop, step
