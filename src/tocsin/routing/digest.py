"""What is told together later: which incidents a digest takes in, what each says, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.findings import Incident
from tocsin.routing.cron import CronError, parse_cron
from tocsin.routing.match import MatchError, compile_condition
from tocsin.routing.oncall import ScheduleError, zone_of
from tocsin.routing.policy import Digest


def due_at(digest: Digest, now: datetime) -> datetime:
    """When `digest` is sent next. One that cannot be read is due at once: late is worse."""
    try:
        return parse_cron(digest.cron).next_after(now, zone_of(digest.tz, digest.name))
    except (CronError, ScheduleError):
        return now


def includes(digest: Digest, incident: Incident) -> bool:
    """Whether `digest` takes `incident` in. A condition that cannot be applied takes it in."""
    labels = {**incident.labels, "tier": str(incident.tier)}
    try:
        return compile_condition(digest.include).holds(labels)
    except MatchError:
        return True


def digest_item(incident: Incident) -> dict[str, Any]:
    """One line of a digest (JSON): what, where, since when, how it stands, and why."""
    return {
        "incident": incident.id,
        "title": incident.title,
        "service": incident.labels.get("service", ""),
        "signal": incident.labels.get("signal", ""),
        "tier": incident.tier,
        "state": incident.state.value,
        "opened": iso(incident.opened),
        "resolved": None if incident.resolved is None else iso(incident.resolved),
        "alerts": len(incident.alerts),
        "suppressed_by": incident.suppressed_by,
        "reason": incident.reason,
    }


def digest_line(item: Mapping[str, Any]) -> str:
    """The item as one line of text: "support: cost, tier 3, resolved (since …): why"."""
    state = f"{item['state']}, since {item['opened']}"
    return f"{item['title']}, tier {item['tier']}, {state}: {item['reason']}"


def collect(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The items of one digest in reading order: the latest of each incident, worst tier first."""
    latest = {str(item["incident"]): dict(item) for item in items}
    return sorted(latest.values(), key=lambda item: (item["tier"], item["service"], item["opened"]))
