"""One running Tocsin: its stores, its rules, what it holds in memory, and its clock.

The server, the demo and the tests each open one. It is the same object in all of them; they differ
in the clock they give it and in how often they call `tick`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from tocsin.alerts import responder
from tocsin.alerts.changes import IncidentChange
from tocsin.alerts.responder import Refused
from tocsin.assess.budget import ObjectiveStatus, objective_statuses
from tocsin.assess.judge import judge
from tocsin.assess.masked import Fairness, fairness
from tocsin.assess.monitor import Monitor, Objective
from tocsin.assess.quality import QualityConfig, QualityStanding, quality
from tocsin.assess.segments import SegmentsConfig
from tocsin.assess.window import Window
from tocsin.domain.clock import Clock, from_minute, monotonic_s, to_minute
from tocsin.domain.dependencies import Dependency, about, standing
from tocsin.domain.errors import Conflict, NotFound
from tocsin.domain.findings import Incident, LedgerEvent
from tocsin.domain.ports import History, MinuteSource
from tocsin.domain.series import Ratio, SeriesId
from tocsin.engine.arranging import Arranging, with_arrangements
from tocsin.engine.breakdown import Breakdowns
from tocsin.engine.budgets import DAY, Budgets
from tocsin.engine.commit import respond
from tocsin.engine.conductor import Conductor
from tocsin.engine.evidence import Witness
from tocsin.engine.feed import Feed, cut
from tocsin.engine.gathering import Gatherer
from tocsin.engine.heartbeat import Pulse, Standing
from tocsin.engine.moments import has_passed
from tocsin.engine.naming import Renamed
from tocsin.engine.restating import Moved, Owed, restate, restated_event
from tocsin.engine.rules import Rules, compile_desired
from tocsin.engine.scoring import Scoring
from tocsin.engine.tally import Tally
from tocsin.engine.tick import Arrival, Decided, follow, settle, tick
from tocsin.engine.vanishing import seat
from tocsin.spec.desired import Desired
from tocsin.spec.retention import WARM_UP_DAYS
from tocsin.store.leases import LeaseLost
from tocsin.store.row_kinds import segment_kinds
from tocsin.store.state import StateStore
from tocsin.store.telemetry import Telemetry

log = structlog.get_logger(__name__)

WARM_UP_STEP = 360
RECALL_STEP = 14 * 24  # hours
FAIRNESS_MINUTES = 24 * 60
MOST_MISSED = 24 * 60
RESTATE_OVERLAP = timedelta(minutes=5)
MOST_LATE_HOURS = 24  # that are read again in one beat; an import of a year takes its time
LAST_MINUTE = "engine.last_minute"


class NoSuchIncident(NotFound):
    """An incident id that names nothing."""


class House:
    """Stores, rules and memory of one process. Threads may share it.

    lateness: how long after its end a minute is judged for the first time. start: the epoch minute
    to begin at; None begins where the last process stopped. conductor: whether this process
    decides; by default nobody else does.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        state: StateStore,
        clock: Clock,
        desired: Desired,
        *,
        lateness: timedelta,
        reread: int = 3,
        start: int | None = None,
        source: Callable[[MinuteSource], MinuteSource] = lambda inner: inner,
        conductor: Conductor | None = None,
    ) -> None:
        self.telemetry = telemetry
        self.state = state
        self.clock = clock
        self.conductor = conductor or Conductor(state, clock)
        self.lateness = lateness
        self._reread = reread
        self._source = source
        self._lock = threading.RLock()
        self._decided = clock.now()  # about everything, for the last time
        self._latest: datetime | None = None  # when something was decided, if it was here
        self._gatherer = Gatherer()
        self.tally = Tally()
        self.pulse = Pulse()
        self.arranging = Arranging(state, lambda: self.rules, self._arranged)
        self.adopt(desired, start=start)

    def adopt(self, desired: Desired, *, start: int | None = None) -> None:
        """Work by `desired` from now on: rules are compiled and history is read into memory.

        Alerts and incidents stay; those of monitors that are gone resolve at the next tick.
        """
        if desired.retention is not None:
            self.telemetry.keeping.apply(desired.retention)
        rules = compile_desired(desired)
        self.telemetry.use(segment_kinds(desired.redactions))
        self.telemetry.price_by(desired.prices)
        names = {service.name: service.service_name for service in desired.services.values()}
        afresh = Renamed(self.telemetry, names)
        source = self._source(afresh)
        window = Window(rules.monitors.monitors, rules.watched.services)
        budgets = Budgets(desired.budgets, rules.least)
        resume = self._resume_at() if start is None else start
        began_s = monotonic_s()
        if start is None:
            self._warm_up(window, rules, budgets, source, afresh, resume)
        reading_s = monotonic_s() - began_s
        # What a tick would find in what was read back: shown until the first one, decides nothing.
        standing = Standing.of(resume - 1, judge(rules.monitors, window, resume - 1))
        with self._lock:
            self.rules: Rules = rules
            self.window = window
            self.budgets = budgets
            self.scoring = Scoring(rules.monitors.monitors)
            self._minutes = source
            self._afresh = afresh  # what a source may have read ahead is older than a late score
            self._restated = self.clock.now()
            self._late: set[int] = set()  # hours of late calls that wait to be read again
            self._owed = Owed(reading_s)
            self._feed = Feed(source, rules.watched, start=resume, reread=self._reread)
            self.standing = standing
            self.tally.begin(window, rules.monitors.monitors)

    @property
    def desired(self) -> Desired:
        """The configuration at work."""
        return self.rules.desired

    def tick(self, now: datetime) -> Decided:
        """Judge the last complete minute before `now`, commit what follows; see `engine.tick`."""
        with self._lock:
            rules = replace(self.present(now), decided=self._latest)
            decided = tick(
                rules, self.window, self._feed, self.budgets, self.scoring,
                self.conductor.state, now,
                lateness=self.lateness, explain=self._witness().explain,
            )  # fmt: skip
            minute = self._feed.position - 1
            self.standing = Standing.of(minute, decided.verdicts)
            self.tally.update()
            self._decided = self._latest = decided.now
        return decided

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """No tick runs meanwhile: a tick writes the alerts that it read when it began."""
        with self._lock:
            yield

    def reconsider(self, arrival: Arrival | None = None) -> Decided:
        """Decide anew about every alert as it stands, or about what others told of theirs.

        Nothing is judged; our own alerts stay as the last tick left them.
        """
        with self._lock:
            explain, now = self._witness().explain, self.clock.now()
            rules = self.present(now)
            decided = settle(rules, None, self.conductor.state, now, explain, arrival)
            self._latest = max(self._latest or now, now)
            if arrival is None:
                self._decided = now
        return decided

    def keep_time(self) -> bool:
        """Decide anew if an acknowledgement ended, or a silence began or ended, since everything
        was decided about; whether that changed anything."""
        since, now = self._decided, self.clock.now()
        ends = self.state.acknowledgements()
        return has_passed(self.present(since), ends, since, now) and not self.reconsider().is_empty

    def _arranged(self) -> None:
        """People changed a silence or who is on call. It holds; whoever conducts decides by it."""
        if self.conductor.conducts:
            with suppress(LeaseLost):
                self.reconsider()

    def present(self, now: datetime) -> Rules:
        """The rules with what people arranged beside the configuration."""
        return with_arrangements(self.rules, self.arranging.held(now))

    def catch_up(self, now: datetime) -> list[Decided]:
        """One tick for each minute that became complete since the last, oldest first.

        A process that was away judges what it missed, minute by minute, as if it had been there.
        """
        last = to_minute(now - self.lateness) - 1
        behind = last + 1 - self._feed.position
        if not -self._reread <= behind <= MOST_MISSED:
            # Waiting for a clock that was set back would be silence, for up to as long as it was
            # wrong; a clock that leapt a year ahead would be judged for hours.
            log.warning("clock_stepped", minutes=behind)
            self._decided, self._latest = now, None
            self.adopt(self.desired)
        decided = []
        for minute in range(self._feed.position, last + 1):
            decided.append(self.tick(from_minute(minute + 1) + self.lateness))
            # At once: what a process that dies half way has told must not be told again.
            with self.conductor.deciding() as tx:
                tx.set_meta(LAST_MINUTE, minute)
        self._restate(now)  # no minute waits while history is read
        if self._owed.is_due(now) or self.window.slices.is_outgrown:
            log.info("history_read_anew", outgrown=self.window.slices.is_outgrown)
            self.adopt(self.desired)
        return decided

    def follow(self) -> None:
        """Judge what another process has decided about, and decide nothing: pages show it, and
        when this process is to conduct it goes on from there."""
        last = self.state.get_meta(LAST_MINUTE)
        if not isinstance(last, int):
            return
        if last - self._feed.position >= MOST_MISSED:
            self.adopt(self.desired)
        for minute in range(self._feed.position, last + 1):
            with self._lock:
                verdicts = follow(self.rules, self.window, self._feed, minute)
                self.standing = Standing.of(minute, verdicts)
                self.tally.update()

    def statuses(self) -> list[ObjectiveStatus]:
        """Where every objective stands after the last judged minute."""
        with self._lock:
            if self.window.start is None:
                return []
            return objective_statuses(
                self.window, self.rules.monitors.monitors, self.standing.minute
            )

    def fairness(self, service: str = "") -> list[Fairness]:
        """How the segments fared in the last day, of every monitor of a service that judges some.

        service: "" is every one.
        """
        with self._lock:
            if self.window.start is None:
                return []
            parts = [
                monitor
                for monitor in self._monitors_of(service)
                if isinstance(monitor.method, SegmentsConfig)
            ]
            minute = self.standing.minute
            return [fairness(self.window, monitor, minute, FAIRNESS_MINUTES) for monitor in parts]

    def qualities(self, service: str = "") -> list[QualityStanding]:
        """Where every quality objective of a service ("": of all) stands after the last minute."""
        with self._lock:
            if self.window.start is None:
                return []
            return [
                quality(self.window.quality, monitor, self.standing.minute)
                for monitor in self._monitors_of(service)
                if isinstance(monitor.method, QualityConfig)
            ]

    def dependencies(self, service: str = "") -> list[Dependency]:
        """What a service ("": any) uses and does not own, and what is known of it now."""
        users: dict[str, list[str]] = {}
        for one in self.desired.services.values():
            for name in one.dependencies:
                users.setdefault(name, []).append(one.name)
        now, statuses = self.clock.now(), self.state.dependencies()
        found = []
        for name, services in sorted(users.items()):
            if service in ("", *services):
                said = tuple(about(statuses, name, now))
                found.append(Dependency(name, standing(said), said, tuple(services)))
        return found

    def _monitors_of(self, service: str) -> Iterator[Monitor]:
        return (m for m in self.rules.monitors.monitors if service in ("", m.service))

    def acknowledge(self, incident_id: str, actor: str) -> Incident | Refused:
        """`actor` looks at it: escalation stops until the acknowledgement expires."""
        now = self.clock.now()
        return self._respond(
            incident_id, lambda found: responder.acknowledge(found, actor, now), actor, now
        )

    def resolve(self, incident_id: str, actor: str, reason: str) -> Incident | Refused:
        """`actor` says it is over."""
        now = self.clock.now()
        return self._respond(
            incident_id, lambda found: responder.resolve(found, actor, reason, now), actor, now
        )

    def record_configuration(self, desired: Desired, actor: str, reason: str) -> bool:
        """Keep `desired` as the configuration in force; False when it already is."""
        versions = self.state.config_versions(1)
        if versions and versions[0]["digest"] == desired.digest:
            return False
        now = self.clock.now()
        body = {"text": desired.text}
        with self.state.transaction() as tx:
            self.state.record_config(desired.digest, body, actor=actor, now=now, reason=reason)
            tx.append(
                LedgerEvent(
                    now,
                    "config.applied",
                    actor,
                    desired.digest[:16],
                    reason,
                    {"digest": desired.digest, "documents": len(desired.documents)},
                )
            )
        return True

    def _respond(
        self,
        incident_id: str,
        ask: Callable[[Incident], IncidentChange | Refused],
        actor: str,
        now: datetime,
    ) -> Incident | Refused:
        def current() -> Incident:
            found = self.state.incident(incident_id)
            if found is None:
                raise NoSuchIncident(f"there is no incident {incident_id}")
            return found

        return respond(self.state, self.rules.policy, current, ask, actor, now)

    @property
    def history(self) -> MinuteSource:
        """Stored minutes, by the names of services that are configured."""
        return self._afresh

    @property
    def breakdowns(self) -> Breakdowns:
        """Answers which slice of a service's traffic, and what changed."""
        return Breakdowns(self.desired.services, self.telemetry.slices, self._minutes.changes)

    def _witness(self) -> Witness:
        monitors = {monitor.name: monitor for monitor in self.rules.monitors.monitors}
        store, named = self.telemetry.prompt, self._afresh.named
        prompt = Breakdowns(
            self.desired.services, store.slices, lambda a, b: named(store.changes(a, b))
        )
        return Witness(
            self.desired.services, monitors, prompt, self.standing.verdicts,
            self.state.dependencies(), self._gatherer, self.rules.evidence_for,
        )  # fmt: skip

    def _resume_at(self) -> int:
        """The first minute nobody has judged: after the last tick, or now for a new state."""
        last = self.state.get_meta(LAST_MINUTE)
        now = to_minute(self.clock.now() - self.lateness)
        if not isinstance(last, int):
            return now
        oldest = now - MOST_MISSED
        if last + 1 < oldest:
            log.warning("minutes_skipped", count=oldest - last - 1, reason="away for over a day")
        return min(max(last + 1, oldest), now)

    def _restate(self, now: datetime) -> None:
        """Let calls and scores that came late, and corrections, count in objectives where they
        belong, after what is known has been judged.

        Looks back further than the last success: what is received takes a moment to be loaded, and
        taking the same hour in twice changes nothing. Who waits to decide waits for one hour.
        """
        window, moved = self.window, dict[tuple[int, SeriesId], tuple[float, float]]()
        for series, hour in self._late_hours(window, self.rules.watched.series):
            with self._lock:
                if self.window is not window:
                    return  # history was read anew meanwhile
                moved |= self._restate_hours(series, (hour,), now)
        self._restated = now
        if event := restated_event(moved, now):
            with self.state.transaction() as tx:
                tx.append(event)

    def _late_hours(
        self, window: Window, watched: Mapping[SeriesId, Ratio]
    ) -> Iterator[tuple[Mapping[SeriesId, Ratio], int]]:
        """Hours in which something came late, with the series that it may concern."""
        since = self._restated - RESTATE_OVERLAP
        before = self._feed.position - self._reread
        held = {s: r for s, r in watched.items() if s in window.ledger.series}
        late_s = self.lateness.total_seconds() + 60 * (self._reread + 1)
        late = self.telemetry.late(since, before, late_s) if watched else ()
        self._owed.arrived(late, before, self.clock.now())
        if held:
            self._late |= set(late)
            for hour in sorted(self._late)[-MOST_LATE_HOURS:]:
                yield held, hour
                self._late.discard(hour)
        rated = {s: r for s, r in watched.items() if r.column == "feedback_negative"}
        for hour in self.telemetry.restated(since, before) if rated else ():
            yield rated, hour
        judged = {s: r for s, r in watched.items() if r.scores}
        if judged:
            names = sorted(frozenset().union(*(r.scores for r in judged.values())))
            for hour in self.telemetry.judged(since, before, names):
                yield judged, hour

    def _restate_hours(
        self, series: Mapping[SeriesId, Ratio], hours: Iterable[int], now: datetime
    ) -> Moved:
        position = self._feed.position
        moved, missed = restate(self.window, self._afresh, series, hours, position)
        self._owed.add(missed, series, self.rules.monitors.monitors, position, now)
        return moved

    def _warm_up(
        self, window: Window, rules: Rules, budgets: Budgets, source: MinuteSource,
        history: History, stop: int,
    ) -> None:  # fmt: skip
        """Read what the windows reach back to: long error budgets by the hour, then everything by
        the minute, hours at a time. Nothing is judged again, except on days whose evidence a page
        budget misses: nobody is told, what would have been found is kept."""
        first = self.telemetry.reads.first_minute()
        if first is None:
            first = stop - 1  # nothing ever came, which is what pages are to show
        start = max(first, stop - WARM_UP_DAYS * 24 * 60) // 60 * 60
        self._recall(window, rules, history, first, start, stop)
        seat(window, source, rules.watched.series, max(start, stop - DAY), stop, self.state)
        missing, looked_at = budgets.missing(start, stop, self.state), set[int]()
        for begin in range(start, stop, WARM_UP_STEP):
            end = min(begin + WARM_UP_STEP, stop)
            block = source.minutes(rules.watched.series, rules.watched.services, begin, end)
            days = missing & {begin // DAY, (end - 1) // DAY}  # without calls they stay missing:
            if not (days and (block.total.any() or block.latency.any())):  # an import may follow
                window.advance(block)
                continue
            looked_at |= days
            for minute in range(begin, end):
                window.advance(cut(block, minute, minute + 1))
                budgets.note(judge(rules.monitors, window, minute), minute, self.state)
        budgets.looked_at(looked_at, self.state)

    def _recall(
        self, window: Window, rules: Rules, history: History, first: int, start: int, stop: int
    ) -> None:
        """Read the hours [first, start) of the series whose budgets reach back there."""
        begins = [
            (monitor.method.period_at(stop)[0], series)
            for monitor in rules.monitors.monitors
            if isinstance(monitor.method, Objective)
            for series, _ in monitor.counted
        ]
        long = {series: rules.watched.series[series] for begin, series in begins if begin < start}
        fine = {
            series: long[series]
            for begin, series in begins
            if series in long and window.ledger.is_fine(series, begin)
        }
        oldest = max(min((begin for begin, _ in begins), default=start), first) // 60
        for begin in range(oldest, start // 60, RECALL_STEP):
            end = min(begin + RECALL_STEP, start // 60)
            minutes = history.minutes(fine, (), begin * 60, end * 60) if fine else None
            window.recall(history.hours(long, begin, end), minutes)


def settled(answer: Incident | Refused) -> Incident:
    """The incident, or Conflict with the reason why the request did not apply."""
    if isinstance(answer, Refused):
        raise Conflict(answer.reason)
    return answer
