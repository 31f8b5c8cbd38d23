"""Builders for alert tests: a virtual clock, verdicts, alerts, decisions, and a small engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.alerts.changes import IncidentChange, IncidentConfig
from tocsin.alerts.grouping import Routed
from tocsin.alerts.incidents import fold_incidents
from tocsin.alerts.lifecycle import AlertChanges, LifecycleConfig, fold
from tocsin.domain.findings import (
    Alert,
    AlertState,
    Decision,
    Incident,
    Judgement,
    Verdict,
    fingerprint,
)

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
PAGE: dict[str, Any] = {
    "name": "page", "owner": "tocsin", "ack_expires_s": 7200,
    "steps": [
        {"after_s": 0, "receivers": ["pd", "slack"], "who": [], "resolved_who": []},
        {"after_s": 900, "receivers": ["pd", "mail"], "who": [], "resolved_who": []},
    ],
}  # fmt: skip
REVIEW: dict[str, Any] = {
    "name": "review", "owner": "tocsin", "ack_expires_s": 7200,
    "steps": [{"after_s": 0, "receivers": ["legal"], "who": [], "resolved_who": []}],
}  # fmt: skip
POLICIES = {"page": PAGE, "review": REVIEW}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def verdict(judgement: str = "breach", minute: int = 0, **given: Any) -> Verdict:
    fields: dict[str, Any] = {
        "monitor": "m", "service": "bot", "signal": "error_rate", "severity": "page",
        "judgement": Judgement(judgement), "minute": minute, "reason": f"it is {judgement}",
    }  # fmt: skip
    return Verdict(**{**fields, **given})


def alert(name: str = "a", **given: Any) -> Alert:
    fields: dict[str, Any] = {
        "fingerprint": fingerprint({"name": name}), "labels": {"service": "bot", "monitor": name},
        "state": AlertState.FIRING, "since": START, "updated": START, "severity": "page",
        "reason": f"{name} is too high",
    }  # fmt: skip
    return Alert(**{**fields, **given})


def decision(tier: int = 1, **given: Any) -> Decision:
    fields: dict[str, Any] = {
        "tier": tier, "receivers": (), "policy": "page" if tier == 1 else "", "route": "r",
        "reason": "because", "labels": {"service": "bot", "env": "prod", "signal": "error_rate"},
    }  # fmt: skip
    if tier > 1:
        fields["receivers"] = ("slack",)
    return Decision(**{**fields, **given})


def routed(name: str = "a", tier: int = 1, *, since: datetime = START, **given: Any) -> Routed:
    return Routed(alert(name, since=since), decision(tier, **given))


@dataclass
class Judge:
    """A virtual minute clock over `lifecycle.fold`."""

    config: LifecycleConfig = field(default_factory=LifecycleConfig)
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    minute: int = 0

    def tick(self, *verdicts: Verdict, seen: Sequence[str] = ("m",), **given: Any) -> AlertChanges:
        self.minute += 1
        changes = fold(self.alerts, verdicts, seen, at(self.minute), self.config, **given)
        self.alerts = changes.current
        return changes

    @property
    def only(self) -> Alert:
        (alert,) = self.alerts.values()
        return alert


@dataclass
class World:
    """A virtual clock over `fold_incidents`; keeps the latest episode per group."""

    config: IncidentConfig = field(default_factory=IncidentConfig)
    incidents: dict[str, Incident] = field(default_factory=dict)
    now: datetime = START

    def advance(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)

    def tick(self, *members: Routed, minutes: float = 1) -> list[IncidentChange]:
        self.advance(minutes)
        changes = fold_incidents(self.incidents, members, self.now, self.config, POLICIES.get)
        for change in changes.changes:
            self.apply(change)
        return list(changes.changes)

    def one(self, *members: Routed, minutes: float = 1) -> IncidentChange:
        (change,) = self.tick(*members, minutes=minutes)
        return change

    def apply(self, change: IncidentChange) -> None:
        known = self.incidents.get(change.after.group_key)
        if change.expect_version is not None:
            assert known is not None
            assert known.version == change.expect_version
            assert change.after.version == known.version + 1
        assert change.reason
        self.incidents[change.after.group_key] = change.after

    @property
    def incident(self) -> Incident:
        (incident,) = self.incidents.values()
        return incident


def muted(member: Routed, by: str = "silence:s") -> Routed:
    return replace(member, decision=replace(member.decision, suppressed_by=by))
