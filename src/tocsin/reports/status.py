"""A status page as data: how components fare, what was published, in the shapes that others read.

The JSON is that of Atlassian Statuspage's public API (https://www.atlassianstatus.com/api, v2), so
that whatever polls such pages reads this one; the feeds are Atom (RFC 4287) and RSS 2.0. Nothing
here knows an alert: what may be said was decided before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any, Literal, get_args
from xml.etree import ElementTree

from tocsin.domain.clock import iso

ComponentStatus = Literal[
    "operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"
]
NoticeStatus = Literal[
    "investigating", "identified", "monitoring", "resolved",
    "scheduled", "in_progress", "completed",
]  # fmt: skip
Impact = Literal["none", "minor", "major", "critical", "maintenance"]

# From best to worst, as a page shows one of several.
SEVERITY: tuple[ComponentStatus, ...] = (
    "operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage",
)  # fmt: skip
OVER: tuple[NoticeStatus, ...] = ("resolved", "completed")
INCIDENT_STATUSES: tuple[NoticeStatus, ...] = (
    "investigating", "identified", "monitoring", "resolved"
)  # fmt: skip
MAINTENANCE_STATUSES: tuple[NoticeStatus, ...] = ("scheduled", "in_progress", "completed")
IMPACTS: tuple[Impact, ...] = get_args(Impact)
_INDICATORS = ("none", "minor", "major", "critical")
_IN_WORDS = {
    "none": "All Systems Operational",
    "maintenance": "Service Under Maintenance",
    "minor": "Partially Degraded Service",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
_OF_COMPONENTS: Mapping[ComponentStatus, str] = {
    "operational": "none",
    "under_maintenance": "maintenance",
    "degraded_performance": "minor",
    "partial_outage": "major",
    "major_outage": "critical",
}
# How the bodies of webhooks look.
WEBHOOKS = "https://support.atlassian.com/statuspage/docs/enable-webhook-notifications/"
_MOST_WORDS = 20
_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a component: calls, and those of them that failed."""

    day: date
    bad: int
    total: int

    @property
    def uptime(self) -> float | None:
        """Share of the calls that did not fail; None when there was none."""
        return 1 - self.bad / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Component:
    """A component as it is now, with its last days, oldest first. unknown: why its status is only
    that nothing is known to be wrong, or ""."""

    name: str
    status: ComponentStatus
    description: str = ""
    group: str = ""
    days: tuple[Day, ...] = ()
    unknown: str = ""

    @property
    def uptime(self) -> float | None:
        """Share of the calls of all days that did not fail; None when there was none."""
        total = sum(day.total for day in self.days)
        return 1 - sum(day.bad for day in self.days) / total if total else None


@dataclass(frozen=True, slots=True)
class Update:
    """A word about a notice. Once published it stands."""

    at: datetime
    status: NoticeStatus
    body: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An incident or a maintenance that a person published.

    components: name -> how it fares until the notice is over. incident: the incident that it is
    about, never shown. start, stop: of a maintenance, as it is planned.
    """

    id: str
    title: str
    impact: Impact
    updates: tuple[Update, ...]
    components: Mapping[str, ComponentStatus]
    incident: str = ""
    start: datetime | None = None
    stop: datetime | None = None

    @property
    def is_maintenance(self) -> bool:
        """Whether it was planned."""
        return self.start is not None

    @property
    def status(self) -> NoticeStatus:
        """The last word."""
        return self.updates[-1].status

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.status in OVER

    @property
    def created(self) -> datetime:
        """When it was published."""
        return self.updates[0].at

    @property
    def updated(self) -> datetime:
        """When its last word was."""
        return self.updates[-1].at

    def first(self, *statuses: NoticeStatus) -> datetime | None:
        """When it first had one of these statuses."""
        return next((u.at for u in self.updates if u.status in statuses), None)


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Everything that is shown. unknown: why nothing is known of the last minutes, or ""."""

    name: str
    title: str
    url: str
    timezone: str
    at: datetime
    components: tuple[Component, ...]
    notices: tuple[Notice, ...]
    unknown: str = ""

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of the last minutes, of the whole or of a component."""
        return bool(self.unknown) or any(component.unknown for component in self.components)

    @property
    def indicator(self) -> str:
        """none, maintenance, minor, major or critical. Never none while nothing is known."""
        found = _OF_COMPONENTS[max((c.status for c in self.components), key=SEVERITY.index)]
        open_ones = [n.impact for n in self.notices if not n.is_over and not n.is_maintenance]
        impacts = [_INDICATORS.index(i) for i in open_ones if i in _INDICATORS]
        known = _INDICATORS.index(found) if found in _INDICATORS else -1
        most = max([known, *impacts, 1 if self.is_unknown else 0])
        return found if most <= 0 and found == "maintenance" else _INDICATORS[max(most, 0)]

    @property
    def description(self) -> str:
        """The same in words."""
        known = replace(
            self, unknown="", components=tuple(replace(c, unknown="") for c in self.components)
        )
        if self.is_unknown and known.indicator in ("none", "maintenance"):
            return "Status unknown"
        return _IN_WORDS[self.indicator]


def with_notices(components: Iterable[Component], notices: Iterable[Notice]) -> list[Component]:
    """Components as people said they fare, where that is worse than what was measured."""
    said: dict[str, list[ComponentStatus]] = {}
    for notice in notices:
        if not notice.is_over and notice.status != "scheduled":
            for name, status in notice.components.items():
                said.setdefault(name, []).append(status)
    return [
        replace(one, status=max([one.status, *said.get(one.name, ())], key=SEVERITY.index))
        for one in components
    ]


def identity(*parts: str) -> str:
    """A stable id, twelve letters and digits as Statuspage has them."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


# --- Statuspage's JSON -----------------------------------------------------------------------


def stamp(at: datetime) -> str:
    """A time with milliseconds, always: clients of Statuspage read it by that format."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def documents(page: StatusPage) -> dict[str, dict[str, Any]]:
    """Every document of the API by its path under /api/v2, without `.json`."""
    head = {"page": _page(page)}
    incidents = [n for n in page.notices if not n.is_maintenance]
    planned = [n for n in page.notices if n.is_maintenance]
    components = _components(page)
    status = {"status": {"indicator": page.indicator, "description": page.description}}

    def listed(notices: Sequence[Notice], name: str) -> dict[str, Any]:
        return {**head, name: [_notice(page, one) for one in notices]}

    unresolved = [n for n in incidents if not n.is_over]
    upcoming = [n for n in planned if n.status == "scheduled"]
    active = [n for n in planned if n.status == "in_progress"]
    maintenances = "scheduled_maintenances"
    return {
        "summary": {
            **head,
            "components": components,
            "incidents": [_notice(page, n) for n in unresolved],
            maintenances: [_notice(page, n) for n in (*upcoming, *active)],
            **status,
        },
        "status": {**head, **status},
        "components": {**head, "components": components},
        "incidents": listed(incidents, "incidents"),
        "incidents/unresolved": listed(unresolved, "incidents"),
        "scheduled-maintenances": listed(planned, maintenances),
        "scheduled-maintenances/upcoming": listed(upcoming, maintenances),
        "scheduled-maintenances/active": listed(active, maintenances),
    }


def _page(page: StatusPage) -> dict[str, Any]:
    return {
        "id": identity(page.name),
        "name": page.title,
        "url": page.url,
        "time_zone": page.timezone,
        "updated_at": stamp(page.at),
    }


def _components(page: StatusPage) -> list[dict[str, Any]]:
    groups = list(dict.fromkeys(c.group for c in page.components if c.group))
    ids = {c.name: identity(page.name, "component", c.name) for c in page.components}
    found = []
    for place, name in enumerate(groups, start=1):
        members = [c for c in page.components if c.group == name]
        worst = max((c.status for c in members), key=SEVERITY.index)
        about = Component(name, worst)
        record = _component(page, about, identity(page.name, "group", name), place, None)
        record |= {"group": True, "components": [ids[c.name] for c in members]}
        found.append(record)
    for place, one in enumerate(page.components, start=len(groups) + 1):
        group = identity(page.name, "group", one.group) if one.group else None
        found.append(_component(page, one, ids[one.name], place, group))
    return found


def _component(
    page: StatusPage, one: Component, id_: str, place: int, group: str | None
) -> dict[str, Any]:
    at = stamp(page.at)
    return {
        "id": id_,
        "name": one.name,
        "status": one.status,
        "created_at": at,
        "updated_at": at,
        "position": place,
        "description": one.description or None,
        "showcase": True,
        "start_date": None,
        "group_id": group,
        "page_id": identity(page.name),
        "group": False,
        "only_show_if_degraded": False,
    }


def webhook(page: StatusPage, notice: Notice, unsubscribe: str) -> dict[str, Any]:
    """What Statuspage posts to subscribers when an incident or a maintenance is published or gets a
    further word, with the newest 20 words.
    """
    told = _notice(page, notice, most=_MOST_WORDS)
    return {
        "meta": {"unsubscribe": unsubscribe, "documentation": WEBHOOKS},
        "page": {
            "id": identity(page.name),
            "status_indicator": page.indicator,
            "status_description": page.description,
        },
        "incident": {**told, "organization_id": identity(page.name)},
    }


def _notice(page: StatusPage, notice: Notice, most: int | None = None) -> dict[str, Any]:
    id_ = identity(page.name, "notice", notice.id)
    monitoring, resolved = notice.first("monitoring"), notice.first(*OVER)
    affected = [
        {"code": identity(page.name, "component", name), "name": name,
         "old_status": "operational", "new_status": status}
        for name, status in notice.components.items()
    ]  # fmt: skip
    return {
        "id": id_,
        "name": notice.title,
        "status": notice.status,
        "impact": notice.impact,
        "created_at": stamp(notice.created),
        "updated_at": stamp(notice.updated),
        "started_at": stamp(notice.start or notice.created),
        "monitoring_at": stamp(monitoring) if monitoring else None,
        "resolved_at": stamp(resolved) if resolved else None,
        "shortlink": link(page, notice),
        "page_id": identity(page.name),
        "incident_updates": [
            {
                "id": identity(page.name, "update", notice.id, str(number)),
                "status": update.status,
                "body": update.body,
                "incident_id": id_,
                "created_at": stamp(update.at),
                "updated_at": stamp(update.at),
                "display_at": stamp(update.at),
                "affected_components": affected,
            }
            for number, update in list(enumerate(notice.updates))[::-1][:most]
        ],
        "components": [
            one for one in _components(page) if one["name"] in notice.components
        ],
        **(
            {"scheduled_for": stamp(notice.start),
             "scheduled_until": stamp(notice.stop or notice.start)}
            if notice.start is not None
            else {}
        ),
    }  # fmt: skip


def link(page: StatusPage, notice: Notice) -> str:
    """Where a notice stands on the page."""
    return f"{page.url}#{identity(page.name, 'notice', notice.id)}"


# --- feeds -----------------------------------------------------------------------------------


def atom(page: StatusPage) -> bytes:
    """The notices as an Atom feed; an entry a notice, whose id never changes."""
    ElementTree.register_namespace("", _ATOM)
    feed = ElementTree.Element(f"{{{_ATOM}}}feed")
    domain = identity(page.name)

    def put(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> None:
        element = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
        element.text = text or None

    put(feed, "title", f"{page.title}: status")
    put(feed, "id", f"urn:tocsin:status:{domain}")
    put(feed, "updated", iso(max((n.updated for n in page.notices), default=page.at)))
    put(feed, "link", href=f"{page.url}/history.atom", rel="self")
    put(feed, "link", href=page.url or "/", rel="alternate", type="text/html")
    author = ElementTree.SubElement(feed, f"{{{_ATOM}}}author")
    put(author, "name", page.title)
    for notice in page.notices:
        entry = ElementTree.SubElement(feed, f"{{{_ATOM}}}entry")
        put(entry, "id", f"urn:tocsin:status:{domain}:{identity(page.name, 'notice', notice.id)}")
        put(entry, "title", notice.title)
        put(entry, "published", iso(notice.created))
        put(entry, "updated", iso(notice.updated))
        put(entry, "link", href=link(page, notice), rel="alternate", type="text/html")
        put(entry, "content", _told(notice), type="text")
    return bytes(ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True))


def rss(page: StatusPage) -> bytes:
    """The notices as RSS 2.0."""
    root = ElementTree.Element("rss", version="2.0")
    channel = ElementTree.SubElement(root, "channel")
    for name, text in (
        ("title", f"{page.title}: status"), ("link", page.url), ("description", page.description),
        ("pubDate", format_datetime(page.at)),
    ):  # fmt: skip
        ElementTree.SubElement(channel, name).text = text
    for notice in page.notices:
        item = ElementTree.SubElement(channel, "item")
        for name, text in (
            ("title", notice.title), ("description", _told(notice)),
            ("pubDate", format_datetime(notice.updated)), ("link", link(page, notice)),
        ):  # fmt: skip
            ElementTree.SubElement(item, name).text = text
        guid = ElementTree.SubElement(item, "guid", isPermaLink="false")
        guid.text = identity(page.name, "notice", notice.id)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _told(notice: Notice) -> str:
    """All updates, the newest first."""
    return "\n\n".join(
        f"{iso(u.at)} {u.status.replace('_', ' ').capitalize()}: {u.body}"
        for u in reversed(notice.updates)
    )
