"""Rows of the state database to the nouns of the domain, and back, without losing a microsecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.domain.findings import (
    Alert,
    AlertState,
    EffectState,
    Incident,
    IncidentState,
    NewEffect,
)
from tocsin.domain.health import HealthSample
from tocsin.store.ledger import LedgerEntry, encoded, jsonable, plain
from tocsin.store.members import Members, members_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = sa.RowMapping


@dataclass(frozen=True, slots=True)
class StoredEffect:
    """An effect as it stands.

    scheduled: when it was first due; a retry moves `due`. fence: rises with every lease; an old
    one can no longer finish.
    last_outcome: "" before the first attempt, else delivered | retry | ambiguous | rejected.
    remote_ref: what the receiver called it (a message timestamp, an issue key).
    """

    id: int
    key: str
    kind: str
    action: str
    receiver: str
    incident_id: str
    lane: int
    state: EffectState
    scheduled: datetime
    due: datetime
    fence: int = 0
    attempts: int = 0
    lease_until: datetime | None = None
    lease_by: str = ""
    last_outcome: str = ""
    reason: str = ""
    finished: datetime | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    guard: Mapping[str, Any] = field(default_factory=dict)
    remote_ref: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at an effect, written when it ended and never changed."""

    effect_id: int
    fence: int
    worker: str
    started: datetime
    at: datetime
    outcome: str
    reason: str
    remote_ref: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DigestItem:
    """One line that waits for a digest, or was in one."""

    id: int
    digest: str
    at: datetime
    fingerprint: str
    text: str
    sent: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """A document that was made through the API: its YAML text, and who made it what it is."""

    api_version: str
    kind: str
    name: str
    text: str
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True)
class SinkMessage:
    """What a built-in sink received."""

    id: int
    receiver: str
    at: datetime
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class VerdictMark:
    """What a responder said an incident was: real, false, duplicate or noise."""

    incident_id: str
    at: datetime
    actor: str
    verdict: str
    note: str


def to_us(instant: datetime) -> int:
    """Whole microseconds since the epoch. ValueError for a time without a zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone; times in Tocsin are aware")
    return (instant - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The instant, aware and UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def alert_row(alert: Alert) -> tuple[dict[str, Any], Alert]:
    """Column values of an alert, and the alert that reading them gives."""
    row: dict[str, Any] = {
        "fingerprint": alert.fingerprint,
        "incident_id": alert.incident_id,
        "state": alert.state.value,
        "since": to_us(alert.since),
        "updated": to_us(alert.updated),
    }
    body = {
        "labels": alert.labels,
        "severity": alert.severity,
        "value": alert.value,
        "expected": alert.expected,
        "unit": alert.unit,
        "score": alert.score,
        "reason": alert.reason,
        "evidence": alert.evidence,
        "last_breach": _optional_us(alert.last_breach),
    }
    text = plain(body)
    if text is not None and alert.since.tzinfo is alert.updated.tzinfo is UTC:
        return {**row, "body": text}, alert
    kept = jsonable(body)
    return {**row, "body": encoded(kept)}, alert_of({**row, "body": kept})


def alert_of(row: Row | Mapping[str, Any]) -> Alert:
    """The alert of a row."""
    body = row["body"]
    return Alert(
        fingerprint=row["fingerprint"],
        labels=body["labels"],
        state=AlertState(row["state"]),
        since=from_us(row["since"]),
        updated=from_us(row["updated"]),
        severity=body["severity"],
        value=body["value"],
        expected=body["expected"],
        unit=body["unit"],
        score=body["score"],
        reason=body["reason"],
        evidence=body["evidence"],
        incident_id=row["incident_id"],
        last_breach=_optional_time(body["last_breach"]),
    )


def incident_row(incident: Incident, version: int) -> tuple[dict[str, Any], Incident]:
    """Column values of an incident at `version`, and the incident that reading them gives."""
    row: dict[str, Any] = {
        "id": incident.id,
        "group_key": incident.group_key,
        "episode": incident.episode,
        "version": version,
        "state": incident.state.value,
        "tier": incident.tier,
        "opened": to_us(incident.opened),
        "updated": to_us(incident.updated),
        "resolved": _optional_us(incident.resolved),
    }
    body = {
        "title": incident.title,
        "labels": incident.labels,
        "receivers": list(incident.receivers),
        "policy": incident.policy,
        "step": incident.step,
        "route": incident.route,
        "reason": incident.reason,
        "suppressed_by": incident.suppressed_by,
        "acknowledged_by": incident.acknowledged_by,
        "acknowledged_until": _optional_us(incident.acknowledged_until),
        "evidence": incident.evidence,
    }
    if (text := plain(body)) is not None:
        return {**row, "body": text}, replace(incident, version=version)
    kept = jsonable(body)
    return {**row, "body": kept}, incident_of({**row, "body": kept}, members_of(incident))


def incident_of(row: Row | Mapping[str, Any], members: Members) -> Incident:
    """The incident of a row and of those of its members."""
    body = row["body"]
    return Incident(
        id=row["id"],
        group_key=row["group_key"],
        episode=row["episode"],
        state=IncidentState(row["state"]),
        title=body["title"],
        labels=body["labels"],
        tier=row["tier"],
        opened=from_us(row["opened"]),
        updated=from_us(row["updated"]),
        alerts=tuple(members),
        decided={name: made for name, made in members.items() if made is not None},
        receivers=tuple(body["receivers"]),
        policy=body["policy"],
        step=body["step"],
        route=body["route"],
        reason=body["reason"],
        suppressed_by=body["suppressed_by"],
        acknowledged_by=body["acknowledged_by"],
        acknowledged_until=_optional_time(body["acknowledged_until"]),
        resolved=_optional_time(row["resolved"]),
        version=row["version"],
        evidence=body["evidence"],
    )


def effect_row(effect: NewEffect) -> dict[str, Any]:
    """Column values of an effect nobody has tried yet."""
    return {
        "key": effect.key,
        "kind": effect.kind,
        "action": effect.action,
        "receiver": effect.receiver,
        "incident_id": effect.incident_id,
        "guard": encoded(effect.guard),
        "payload": encoded(effect.payload),
        "scheduled_at": to_us(effect.due),
        "due_at": to_us(effect.due),
        "lane": effect.lane,
        "state": EffectState.READY.value,
        "fence": 0,
        "attempts": 0,
        "last_outcome": "",
        "reason": "",
    }


def effect_of(row: Row) -> StoredEffect:
    """The effect of a row."""
    return StoredEffect(
        id=row["id"],
        key=row["key"],
        kind=row["kind"],
        action=row["action"],
        receiver=row["receiver"],
        incident_id=row["incident_id"],
        lane=row["lane"],
        state=EffectState(row["state"]),
        scheduled=from_us(row["scheduled_at"]),
        due=from_us(row["due_at"]),
        fence=row["fence"],
        attempts=row["attempts"],
        lease_until=_optional_time(row["lease_until"]),
        lease_by=row["lease_by"] or "",
        last_outcome=row["last_outcome"],
        reason=row["reason"],
        finished=_optional_time(row["finished_at"]),
        payload=row["payload"],
        guard=row["guard"],
        remote_ref=row["remote_ref"],
    )


def attempt_of(row: Row) -> Attempt:
    """The attempt of a row."""
    return Attempt(
        effect_id=row["effect_id"],
        fence=row["fence"],
        worker=row["worker"],
        started=from_us(row["started_at"]),
        at=from_us(row["at"]),
        outcome=row["outcome"],
        reason=row["reason"],
        remote_ref=row["remote_ref"],
    )


def entry_of(row: Row) -> LedgerEntry:
    """The ledger entry of a row."""
    return LedgerEntry(
        seq=row["seq"],
        at_us=row["at"],
        kind=row["kind"],
        actor=row["actor"],
        subject=row["subject"],
        reason=row["reason"],
        data=row["data"],
        prev=row["prev"],
        hash=row["hash"],
    )


def digest_item_of(row: Row) -> DigestItem:
    """The digest item of a row."""
    return DigestItem(
        id=row["id"],
        digest=row["digest"],
        at=from_us(row["at"]),
        fingerprint=row["fingerprint"],
        text=row["text"],
        sent=_optional_time(row["sent_at"]),
    )


def api_document_of(row: Row) -> ApiDocument:
    """The document of a row."""
    times = {name: from_us(row[name]) for name in ("created_at", "updated_at")}
    return ApiDocument(**{**row, **times})


def _optional_us(instant: datetime | None) -> int | None:
    return None if instant is None else to_us(instant)


def _optional_time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)


def sample_row(sample: HealthSample) -> dict[str, Any]:
    """Column values of a health score at a minute."""
    return {
        "name": sample.name, "minute": sample.minute, "service": sample.service,
        "formula": sample.formula, "state": sample.state, "score": sample.score,
        "body": dict(sample.body),
    }  # fmt: skip


def sample_of(row: Any) -> HealthSample:
    """The health score in a row."""
    return HealthSample(
        row["name"], row["minute"], row["service"], row["formula"], row["state"], row["score"],
        row["body"],
    )  # fmt: skip
