"""Status pages of a running server: what alerts say by themselves, and what people publish.

An alert degrades a component by itself, as far as the document lets it. Incidents are never
published by themselves: each is a draft until a person writes what customers may know. What was
published is kept beside the state, with a line in the ledger for every word of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from tocsin.assess.monitor import Monitor, Objective
from tocsin.domain.clock import Clock, iso, parse_iso, to_minute
from tocsin.domain.errors import NotFound, Unanswerable
from tocsin.domain.findings import AlertState, Incident, Judgement, LedgerEvent, NewEffect
from tocsin.domain.series import Ratio, SeriesId
from tocsin.engine.house import House
from tocsin.reports.status import (
    INCIDENT_STATUSES,
    MAINTENANCE_STATUSES,
    OVER,
    Component,
    ComponentStatus,
    Day,
    Impact,
    Notice,
    NoticeStatus,
    StatusPage,
    Update,
    identity,
    with_notices,
)
from tocsin.spec.documents import Document
from tocsin.spec.status_pages import StatusComponentShape, StatusPageShape

DAYS = 90
FRESH = timedelta(seconds=20)
LONGEST_TEXT, LONGEST_TITLE = 5000, 200
MOST_KEPT = 500
_HOURS = 24
# Shares of bad calls in the shortest window that an objective burns in: of a partial and of a major
# outage, where the document lets alerts say so.
_PARTIAL, _MAJOR = 0.1, 0.5


class NoSuchPage(NotFound):
    """A page, or something published on one, that does not exist."""


class BadNotice(Unanswerable):
    """What somebody wants to publish cannot be; the text says why."""

    status = 422


@dataclass(frozen=True, slots=True)
class Written:
    """What a person publishes. components: name -> how it fares until it is over."""

    status: NoticeStatus
    body: str
    title: str = ""
    impact: Impact = "minor"
    components: Mapping[str, ComponentStatus] | None = None
    incident: str = ""
    start: datetime | None = None
    stop: datetime | None = None


class StatusPages:
    """The pages of one house. Threads may share it. blind: why nothing is known of late. mails:
    the messages about what is published, written with it."""

    def __init__(
        self,
        house: House,
        blind: Any = lambda: "",
        mails: Callable[[Any, StatusPage, Notice], Iterable[NewEffect]] = lambda *_: (),
    ) -> None:
        self._mails = mails
        self._house = house
        self._blind = blind
        self._lock = threading.Lock()
        self._days: dict[tuple[str, int], tuple[Day, ...]] = {}
        self._made: dict[str, StatusPage] = {}

    @property
    def clock(self) -> Clock:
        """The clock of the house."""
        return self._house.clock

    def names(self) -> list[str]:
        """Every page that a document defines."""
        return [document.name for document, _ in self._documents()]

    def page(self, name: str) -> StatusPage:
        """A page as it is now, up to twenty seconds old. NoSuchPage."""
        with self._lock:
            made = self._made.get(name)
            if made is None or self._house.clock.now() - made.at >= FRESH:
                made = self._make(*self._document(name))
                self._made[name] = made
            return made

    def drafts(self, name: str) -> list[Incident]:
        """Live incidents of the page's services that nothing was published about."""
        document, shape = self._document(name)
        services = {component.service for component in shape.components}
        told = {notice.incident for notice in self._notices(document.name)}
        live = self._house.state.incidents(live_only=True).values()
        return [
            one for one in live
            if one.labels.get("service") in services and one.id not in told
            and one.state.is_live and not one.suppressed_by
        ]  # fmt: skip

    def publish(self, name: str, written: Written, actor: str) -> Notice:
        """Publish an incident or, with a start, a maintenance. NoSuchPage, BadNotice."""
        document, shape = self._document(name)
        now = self._house.clock.now()
        _check(written, shape, is_new=True, is_maintenance=written.start is not None)
        notice = Notice(
            id=identity(name, iso(now), written.title, written.body),
            title=written.title.strip(),
            impact="maintenance" if written.start is not None else written.impact,
            updates=(Update(now, written.status, written.body.strip()),),
            components=dict(written.components or {}),
            incident=written.incident,
            start=written.start,
            stop=written.stop,
        )
        self._keep(document.name, [notice], notice, actor)
        return notice

    def update(self, name: str, id_: str, written: Written, actor: str) -> Notice:
        """Add a word to what was published. NoSuchPage, BadNotice."""
        document, shape = self._document(name)
        found = {notice.id: notice for notice in self._notices(document.name)}
        if id_ not in found:
            raise NoSuchPage(f"nothing on {name} has the id {id_}")
        notice = found[id_]
        if notice.is_over:
            raise BadNotice(f"{notice.title!r} is {notice.status}: publish a new one")
        _check(written, shape, is_new=False, is_maintenance=notice.is_maintenance)
        update = Update(self._house.clock.now(), written.status, written.body.strip())
        said = notice.components if written.components is None else dict(written.components)
        changed = replace(notice, updates=(*notice.updates, update), components=said)
        self._keep(document.name, [changed], changed, actor)
        return changed

    # --- private

    def _documents(self) -> Iterator[tuple[Document, StatusPageShape]]:
        return self._house.desired.of(StatusPageShape)

    def _document(self, name: str) -> tuple[Document, StatusPageShape]:
        found = {document.name: (document, shape) for document, shape in self._documents()}
        if name not in found:
            known = ", ".join(found) or "there is none"
            raise NoSuchPage(f"no status page {name!r}; known: {known}")
        return found[name]

    def _make(self, document: Document, shape: StatusPageShape) -> StatusPage:
        now = self._house.clock.now()
        notices = self._notices(document.name)
        days = self._history(shape, now)
        components = [
            Component(
                name=one.name,
                status=self._measured(shape, one),
                description=one.description,
                group=one.group,
                days=days[one.service],
                unknown=self._unknown(one, days[one.service]),
            )
            for one in shape.components
        ]
        return self._laid_out(document, shape, components, notices, now)

    def _told(self, name: str, notices: Sequence[Notice], now: datetime) -> StatusPage:
        """The page as messages about it need it, without its history: publishing waits for no
        telemetry."""
        document, shape = self._document(name)
        components = [
            Component(one.name, self._measured(shape, one), one.description, one.group)
            for one in shape.components
        ]
        return self._laid_out(document, shape, components, notices, now)

    def _laid_out(
        self,
        document: Document,
        shape: StatusPageShape,
        components: Sequence[Component],
        notices: Sequence[Notice],
        now: datetime,
    ) -> StatusPage:
        return StatusPage(
            name=document.name,
            title=document.metadata.display_name or document.name,
            url=shape.url.rstrip("/") or f"/status/{document.name}",
            timezone=shape.timezone,
            at=now,
            components=tuple(with_notices(components, notices)),
            notices=tuple(notices),
            unknown=str(self._blind()),
        )

    def _measured(self, shape: StatusPageShape, one: StatusComponentShape) -> ComponentStatus:
        """What alerts say of a component, as far as they may."""
        if shape.automatic == "none":
            return "operational"
        firing = [
            alert for alert in self._house.state.alerts().values()
            if alert.state in (AlertState.FIRING, AlertState.STALE)
            and alert.labels.get("service") == one.service
            and (alert.labels.get("slo") in one.objectives if one.objectives
                 else alert.severity == "page")
        ]  # fmt: skip
        if not firing:
            return "operational"
        if shape.automatic == "degraded":
            return "degraded_performance"
        worst = max(self._bad_shares(one), default=0.0)
        if worst >= _MAJOR:
            return "major_outage"
        return "partial_outage" if worst >= _PARTIAL else "degraded_performance"

    def _promised(self, one: StatusComponentShape) -> list[Monitor]:
        """The objectives behind a component: those that are named, or all of its service."""
        return [
            monitor for monitor in self._monitors(one)
            if isinstance(monitor.method, Objective)
            and (not one.objectives or monitor.labels.get("slo") in one.objectives)
        ]  # fmt: skip

    def _monitors(self, one: StatusComponentShape) -> list[Monitor]:
        """Everything that judges the service of a component."""
        monitors = self._house.rules.monitors.monitors
        return [monitor for monitor in monitors if monitor.service == one.service]

    def _unknown(self, one: StatusComponentShape, days: Sequence[Day]) -> str:
        """Why nothing is known of a component now, or ""."""
        if not any(day.total for day in days):
            return f"no call came in {DAYS} days"
        judges = self._promised(one) or self._monitors(one)
        if not judges:
            return "no objective and no detector judges it"
        said = self._house.standing.verdicts
        found = [said.get(monitor.name) for monitor in judges]
        unknown = [v.reason for v in found if v and v.judgement is Judgement.UNKNOWN]
        return unknown[0] if unknown and len(unknown) == len(found) else ""

    def _bad_shares(self, one: StatusComponentShape) -> Iterator[float]:
        names = {monitor.name for monitor in self._promised(one)}
        for status in self._house.statuses():
            if status.monitor in names and status.mean is None:
                burns = [b.short_burn for b in status.burns if b.short_burn is not None]
                yield from ((1 - status.target) * burn for burn in burns[:1])

    def _history(self, shape: StatusPageShape, now: datetime) -> dict[str, tuple[Day, ...]]:
        """The last days of every service, by its calls that did not fail."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        hour = to_minute(now) // 60
        services = list(dict.fromkeys(component.service for component in shape.components))
        missing = [name for name in services if (name, hour) not in self._days]
        if missing:
            known = self._house.desired.services
            theirs = {name: known[name].service_name if name in known else name for name in missing}
            series = {SeriesId(own, "availability"): Ratio("failed") for own in theirs.values()}
            first = to_minute(today - timedelta(days=DAYS - 1)) // 60
            block = self._house.telemetry.hours(series, first, hour + 1)
            place = {sid.service: row for row, sid in enumerate(block.series)}
            for name, own in theirs.items():
                bad, total = block.bad[place[own]], block.total[place[own]]
                self._days[name, hour] = tuple(
                    Day(
                        (today - timedelta(days=DAYS - 1 - number)).date(),
                        int(bad[_HOURS * number : _HOURS * (number + 1)].sum()),
                        int(total[_HOURS * number : _HOURS * (number + 1)].sum()),
                    )
                    for number in range(DAYS)
                )
            for key in [key for key in self._days if key[1] != hour]:
                del self._days[key]
        return {name: self._days[name, hour] for name in services}

    def _notices(self, name: str) -> list[Notice]:
        """What was published, the newest first."""
        kept = self._house.state.get_meta(_key(name))
        return [_recalled(one) for one in kept] if isinstance(kept, list) else []

    def _keep(self, name: str, changed: Iterable[Notice], told: Notice, actor: str) -> None:
        new = {notice.id: notice for notice in changed}
        now = self._house.clock.now()
        with self._house.state.transaction() as tx:
            kept = tx.get_meta(_key(name))
            held = [_recalled(one) for one in kept] if isinstance(kept, list) else []
            merged = {notice.id: notice for notice in held} | new
            newest = sorted(merged.values(), key=lambda n: n.created, reverse=True)
            tx.set_meta(_key(name), [_plain(one) for one in newest[:MOST_KEPT]])
            update = told.updates[-1]
            data = {"page": name, "id": told.id, "title": told.title, "status": update.status,
                    "body": update.body, "components": dict(told.components)}  # fmt: skip
            subject = told.incident or f"status/{name}"
            reason = f"{told.title}: {update.status}"
            tx.append(LedgerEvent(now, "status.published", actor, subject, reason, data))
            for effect in self._mails(tx, self._told(name, newest, now), told):
                tx.add_effect(effect)
        with self._lock:
            self._made.pop(name, None)


def _key(name: str) -> str:
    return f"status/{name}"


def _check(written: Written, shape: StatusPageShape, *, is_new: bool, is_maintenance: bool) -> None:
    allowed = MAINTENANCE_STATUSES if is_maintenance else INCIDENT_STATUSES
    if written.status not in allowed:
        raise BadNotice(f"status is one of {', '.join(allowed)}, not {written.status!r}")
    if is_new and written.status in OVER:
        raise BadNotice("what begins is not over yet: publish it, then update it")
    if not written.body.strip():
        raise BadNotice("say in a few words what customers should know")
    if is_new and not written.title.strip():
        raise BadNotice("give it a title")
    if len(written.body) > LONGEST_TEXT or len(written.title) > LONGEST_TITLE:
        raise BadNotice(
            f"a title has at most {LONGEST_TITLE} characters, a text at most {LONGEST_TEXT}"
        )
    if written.impact not in get_args(Impact):
        raise BadNotice(f"impact is one of {', '.join(get_args(Impact))}, not {written.impact!r}")
    _check_components(written, shape)
    if written.start is not None and (written.stop is None or written.stop <= written.start):
        raise BadNotice("a maintenance ends after it starts: give start and stop")


def _check_components(written: Written, shape: StatusPageShape) -> None:
    known = {component.name for component in shape.components}
    for name, status in (written.components or {}).items():
        if name not in known:
            raise BadNotice(f"no component {name!r}; known: {', '.join(sorted(known))}")
        if status not in get_args(ComponentStatus):
            raise BadNotice(f"{name} is one of {', '.join(get_args(ComponentStatus))}")


def _plain(notice: Notice) -> dict[str, Any]:
    data = asdict(notice)
    data["updates"] = [{**asdict(u), "at": iso(u.at)} for u in notice.updates]
    for name in ("start", "stop"):
        data[name] = iso(data[name]) if data[name] is not None else None
    return data


def _recalled(data: Mapping[str, Any]) -> Notice:
    updates = tuple(Update(**{**u, "at": parse_iso(u["at"])}) for u in data["updates"])
    times = {n: parse_iso(data[n]) if data[n] else None for n in ("start", "stop")}
    return Notice(**{**data, "updates": updates, **times})
