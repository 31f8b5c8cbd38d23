"""The figures of paging, read from incidents, messages, the ledger and responders' verdicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.domain.clock import Clock, parse_iso
from tocsin.domain.errors import Unanswerable
from tocsin.domain.findings import Incident
from tocsin.engine import documents
from tocsin.reports.responses import Figures, Response, figures, patch
from tocsin.routing.tree import compile_policy, decide
from tocsin.spec.yaml import dump
from tocsin.store.reading import Told
from tocsin.store.rows import from_us
from tocsin.store.state import StateStore

LONGEST_DAYS = 366
_ANSWERED = ("incident.acknowledged", "incident.resolved")


class BadFigures(Unanswerable):
    """Figures that cannot be computed as asked; the text says what to give."""


def figures_of(state: StateStore, now: datetime, days: int, time_zone: str = "UTC") -> Figures:
    """What paging came to in the last `days`. BadFigures for a time zone that is none."""
    if not 1 <= days <= LONGEST_DAYS:
        raise BadFigures(f"{days} days: give 1 to {LONGEST_DAYS}")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadFigures(f"{time_zone!r} is no time zone such as Europe/Berlin") from None
    since = now - timedelta(days=days)
    return figures(responses(state, since), since, now, time_zone)


def figures_at(state: StateStore, clock: Clock, days: int, time_zone: str) -> tuple[Figures, str]:
    """`figures_of` up to now, with what is proposed as YAML."""
    found = figures_of(state, clock.now(), days, time_zone)
    return found, proposed(found, state)


def responses(
    state: StateStore, since: datetime, known_by: datetime | None = None
) -> list[Response]:
    """Every incident since `since` of which somebody was told, oldest first.

    known_by: leave out what was told, answered, resolved or said later.
    """
    end = known_by or datetime.max.replace(tzinfo=UTC)
    told: dict[str, list[Told]] = {}
    for message in state.told_since(since):
        if message.at > end:
            continue
        told.setdefault(message.incident_id, []).append(message)
    answers: dict[str, tuple[datetime, str]] = {}
    for entry in state.entries_of(_ANSWERED, known_by):
        if entry.actor != "engine":
            answers.setdefault(entry.subject, (from_us(entry.at_us), entry.actor))
    verdicts = {mark.incident_id: mark.verdict for mark in state.marks() if mark.at <= end}
    found = [
        _response(incident, told[incident.id], answers.get(incident.id), verdicts)
        for incident in state.incidents_since(since)
        if incident.id in told
    ]
    found = [
        replace(one, resolved=None) if one.resolved and one.resolved > end else one for one in found
    ]
    return sorted(found, key=lambda each: (each.opened, each.incident))


def proposed(found: Figures, state: StateStore) -> str:
    """What the verdicts propose, as YAML that `tocsin plan` accepts; "" when nothing.

    It fits the configuration that was applied last to `state`.
    """
    if not found.proposals:
        return ""
    router = compile_policy(documents.desired_in_force(state).routing)
    homeless = [
        each.rule
        for each in found.proposals
        if each.what == "retire"
        and decide(router, {**each.alert, "tier": "3", "paging": "never"}, {}).route == "unmatched"
    ]
    documented = patch(found.proposals, homeless)
    why = [f"# {each.what} {each.rule}: {each.why}\n" for each in found.proposals]
    return "".join(why) + dump(documented)


def _response(
    incident: Incident,
    told: list[Told],
    answered: tuple[datetime, str] | None,
    verdicts: dict[str, str],
) -> Response:
    lead = incident.evidence.get("lead") or {}
    since = lead.get("since")
    return Response(
        incident=incident.id,
        rule=str(lead.get("monitor") or incident.title),
        service=incident.labels.get("service", ""),
        tier=incident.tier,
        began=min(parse_iso(str(since)), incident.opened) if since else incident.opened,
        opened=incident.opened,
        told=min(message.at for message in told),
        answered=answered[0] if answered else None,
        answered_by=answered[1] if answered else "",
        resolved=incident.resolved,
        people=tuple(dict.fromkeys(name for message in told for name in message.people)),
        verdict=verdicts.get(incident.id, ""),
        labels=dict(incident.labels),
    )
