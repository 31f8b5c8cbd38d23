"""An incident, its messages and its ledger lines, as pages show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from email import message_from_string, policy
from typing import Any

from tocsin.domain.calls import Call
from tocsin.domain.clock import iso
from tocsin.domain.figures import percent
from tocsin.domain.findings import MISSING, Incident
from tocsin.engine.breakdown import MEASURES
from tocsin.store.ledger import LedgerEntry
from tocsin.store.reading import TimelineItem
from tocsin.store.rows import SinkMessage, StoredEffect, from_us
from tocsin.web.breakdown_views import slice_rows
from tocsin.web.portraits import call_row
from tocsin.web.views import (
    ChangeView,
    ChartView,
    IncidentRow,
    IncidentView,
    LedgerRow,
    MessageView,
    SliceView,
    TimelineEntry,
    ToldView,
    Unit,
)

_UNITS: Mapping[str, Unit] = {
    "ms": "s", "s": "s", "share": "ratio", "ratio": "ratio", "usd": "usd",
}  # fmt: skip

# What a breakdown calls a column that a monitor counts by.
_MEASURED = {
    "duration_ms": "slow", "cost_usd": "cost", "feedback_negative": "feedback",
    "empty_result": "empty_retrieval",
}  # fmt: skip


def incident_view(
    incident: Incident,
    row: IncidentRow,
    *,
    chart: ChartView,
    effects: Sequence[StoredEffect],
    timeline: Sequence[TimelineItem],
    receivers: Mapping[str, str],
    changes: Sequence[ChangeView],
    behind: tuple[str, Sequence[Call]],
) -> IncidentView:
    """Everything about one incident that a person on call wants on one page."""
    evidence = incident.evidence
    unit = str(evidence.get("unit") or "")
    scale = 0.001 if unit == "ms" else 1.0
    before = [change for change in changes if change.at <= incident.opened]
    return IncidentView(
        row=row,
        what=str(evidence.get("reason") or incident.reason),
        expectation=_expectation(incident),
        route=incident.route,
        reason=incident.reason,
        value=_scaled(evidence.get("value"), scale),
        expected=_scaled(evidence.get("expected"), scale),
        unit=_UNITS.get(unit, "count"),
        components=tuple(_component(one) for one in evidence.get("components", ())),
        slices=_slices(evidence),
        since=str((evidence.get("breakdown") or {}).get("since") or ""),
        breakdown=_asked(incident),
        changes=tuple(before[-5:]),
        provider=str(evidence.get("provider_note") or ""),
        dependencies=tuple(map(str, evidence.get("dependencies", ()))),
        missing=str(evidence.get(MISSING) or ""),
        children=tuple(map(str, evidence.get("children", ()))),
        objective=incident.labels.get("slo", ""),
        budget_left=_number(evidence.get("budget_left")),
        burn=_number(evidence.get("burn")),
        chart=chart,
        source=incident.labels.get("source", ""),
        description=str(evidence.get("description") or ""),
        link=str(evidence.get("link") or ""),
        runbook=str(evidence.get("runbook") or ""),
        first_steps=tuple(
            str(step) for kind in ("first_steps", "playbook") for step in evidence.get(kind, ())
        ),
        told=tuple(_told(effect, receivers) for effect in effects if effect.kind == "notify"),
        timeline=tuple(
            TimelineEntry(item.at, item.kind, item.actor, item.text)
            for item in timeline
            if item.source != "effect"
        ),
        calls_title=behind[0],
        calls=tuple(map(call_row, behind[1])),
    )


def ledger_row(entry: LedgerEntry) -> LedgerRow:
    """One entry of the audit chain."""
    return LedgerRow(
        seq=entry.seq,
        at=from_us(entry.at_us),
        kind=entry.kind,
        actor=entry.actor,
        subject=entry.subject,
        reason=entry.reason,
        hash=entry.hash,
        previous=entry.prev,
        data=entry.data,
    )


def message_view(message: SinkMessage) -> MessageView:
    """What a built-in sink received, decoded by its kind; what cannot be decoded stays text."""
    channel = message.headers.get("x-tocsin-sink", "") or message.receiver.partition("/")[0]
    body: Mapping[str, Any] | str = message.body
    try:
        decoded = json.loads(message.body)
        body = decoded if isinstance(decoded, dict) else message.body
    except ValueError:
        if channel == "email":
            body = _mail_text(message.body)
    return MessageView(
        id=str(message.id),
        at=message.at,
        channel=channel,
        receiver=message.receiver,
        body=body,
        action=_action(body),
        incident_id=_incident_of(body, message.headers),
        status="received",
        headers=message.headers,
    )


def sent_view(effect: StoredEffect, receivers: Mapping[str, str]) -> MessageView:
    """A message to a real receiver: what it was about and how it went, not its exact body."""
    payload = effect.payload
    body = {name: payload[name] for name in ("title", "why", "state", "digest") if name in payload}
    return MessageView(
        id=f"effect-{effect.id}",
        at=effect.finished or effect.due,
        channel=receivers.get(effect.receiver, ""),
        receiver=effect.receiver,
        body={**body, "outcome": effect.last_outcome or effect.state.value},
        action=effect.action,
        incident_id=effect.incident_id,
        status=effect.state.value,
    )


def _expectation(incident: Incident) -> str:
    evidence = incident.evidence
    if "burn_long" in evidence:
        return (
            f"an error budget that lasts: burning at most {evidence.get('factor')} times the "
            f"sustainable rate over {evidence.get('long_minutes')} minutes"
        )
    if "children" in evidence:
        return "no services that fail together on what they all use"
    if evidence.get("expected") is not None:
        unit = str(evidence.get("unit") or "")
        if unit == "points":
            return f"a health score of {evidence['expected']:.4g} of 100 at least"
        return f"the trailing week: {evidence['expected']:.4g} {unit}".strip()
    return "what its monitor allows"


def _slices(evidence: Mapping[str, Any]) -> tuple[SliceView, ...]:
    """Slices with the part that each explains, and what else the breakdown has to say, in words."""
    told = evidence.get("breakdown")
    if not isinstance(told, Mapping):
        return tuple(SliceView(str(line)) for line in evidence.get("slices", ()))
    rows, lines = slice_rows(told)
    named = [SliceView(row.label, row.part, row.detail) for row in rows]
    return (*named, *(SliceView(line) for line in lines))


def _asked(incident: Incident) -> dict[str, str]:
    """What the panel of the service is asked for, to look at the incident's time again."""
    told = incident.evidence.get("breakdown") or {}
    measure = str(told.get("measure") or "failed")
    measure = _MEASURED.get(measure, measure)
    stop = incident.resolved or max(incident.updated, incident.opened)
    return {
        "measure": measure if measure in MEASURES else "failed",
        "from": iso(incident.opened - timedelta(minutes=15)),
        "to": iso(min(stop, incident.opened + timedelta(days=1))),
    }


def _component(one: Mapping[str, Any]) -> str:
    """A part of a composite, in words: of several objectives, or of several conditions."""
    if "contribution" not in one:
        return f"{one['name']}: missed by {one['bad']:,} of {one['total']:,} calls"
    found = "no calls" if one["share"] is None else f"{percent(one['share'])} bad"
    return f"{one['name']}: {percent(one['contribution'])} of what was spent ({found})"


def _told(effect: StoredEffect, receivers: Mapping[str, str]) -> ToldView:
    detail = effect.reason
    if effect.attempts > 1:
        detail = f"{effect.attempts} attempts; {detail}".rstrip("; ")
    return ToldView(
        at=effect.finished or effect.due,
        receiver=effect.receiver,
        channel=receivers.get(effect.receiver, ""),
        action=effect.action,
        state=effect.state.value,
        detail=detail,
    )


def _mail_text(raw: str) -> str:
    mail = message_from_string(raw, policy=policy.default)
    part = mail.get_body(("plain", "html"))
    head = "\n".join(
        f"{name}: {mail[name]}" for name in ("Subject", "From", "To", "Message-ID") if mail[name]
    )
    return f"{head}\n\n{part.get_content() if part is not None else ''}"


def _action(body: Mapping[str, Any] | str) -> str:
    if isinstance(body, str):
        return ""
    found = body.get("event_action") or body.get("type") or ""
    return str(found)


def _incident_of(body: Mapping[str, Any] | str, headers: Mapping[str, str]) -> str:
    if isinstance(body, str):
        return headers.get("x-tocsin-incident", "")
    data = body.get("data")
    metadata = body.get("metadata")
    candidates = (
        body.get("dedup_key"),
        data.get("incident") if isinstance(data, dict) else None,
        metadata.get("event_payload", {}).get("incident") if isinstance(metadata, dict) else None,
    )
    return next((str(found) for found in candidates if found), "")


def _scaled(value: Any, scale: float) -> float | None:
    number = _number(value)
    return None if number is None else number * scale


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
