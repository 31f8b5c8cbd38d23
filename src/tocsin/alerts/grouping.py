"""Alerts that belong together: the group key, and what the members of a group amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.domain.clock import iso
from tocsin.domain.findings import Alert, AlertState, Decided, Decision, Labels, fingerprint


@dataclass(frozen=True, slots=True)
class Routed:
    """A firing or stale alert and what routing decided about it now."""

    alert: Alert
    decision: Decision


@dataclass(frozen=True, slots=True)
class Picture:
    """What the members of one group amount to, judged by those that may be told.

    Only if every member is suppressed is the group suppressed, and then the picture shows what
    would be told. policies: the escalation policies of the members and the tier of the most urgent
    that has each, most urgent first. lead: the member that speaks for the group. decided:
    fingerprint -> (tier, route, suppressed_by), to notice what changes.
    """

    alerts: tuple[str, ...]
    tier: int
    receivers: tuple[str, ...]
    policies: Mapping[str, int]
    digest: str
    run: tuple[str, ...]
    route: str
    reason: str
    labels: Labels
    suppressed_by: str
    auto_resolve: bool
    is_stale: bool
    lead: Mapping[str, Any]
    decided: Mapping[str, Decided]

    @property
    def policy(self) -> str:
        """The escalation policy of the most urgent member that has one, "" if none has."""
        return next(iter(self.policies), "")


def group_key(labels: Labels, group_by: Iterable[str]) -> str:
    """The incident key of `labels`: 16 hex digits; a missing label is the same as an empty one."""
    return fingerprint({name: labels[name] for name in group_by if labels.get(name, "") != ""})


def grouped(routed: Iterable[Routed], group_by: Sequence[str]) -> dict[str, list[Routed]]:
    """Members per group key, each group ordered by fingerprint."""
    alike: dict[tuple[str, ...], list[Routed]] = {}
    for member in routed:
        labels = member.decision.labels
        alike.setdefault(tuple([labels.get(name, "") for name in group_by]), []).append(member)
    groups: dict[str, list[Routed]] = {}
    for members in alike.values():
        groups.setdefault(group_key(members[0].decision.labels, group_by), []).extend(members)
    for members in groups.values():
        members.sort(key=_fingerprint)
    return groups


def picture(members: Sequence[Routed]) -> Picture:
    """What at least one member amounts to. The order of `members` does not matter."""
    loud = [member for member in members if not member.decision.suppressed_by]
    speaking = sorted(loud or members, key=_urgency)
    lead = speaking[0]
    distinct: dict[object, Decision] = {}  # of many who are told alike the first speaks
    for member in speaking:
        distinct.setdefault(_told(member.decision), member.decision)
    policies: dict[str, int] = {}
    for decision in distinct.values():
        if decision.policy:
            policies.setdefault(decision.policy, decision.tier)
    return Picture(
        alerts=tuple(sorted([member.alert.fingerprint for member in members])),
        tier=lead.decision.tier,
        receivers=_union(decision.receivers for decision in distinct.values()),
        policies=policies,
        digest=next((decision.digest for decision in distinct.values() if decision.digest), ""),
        run=_union(decision.run for decision in distinct.values()),
        route=lead.decision.route,
        reason=lead.alert.reason or lead.decision.reason,
        labels=_shared(members),
        suppressed_by="" if loud else lead.decision.suppressed_by,
        auto_resolve=all(member.decision.auto_resolve for member in members),
        is_stale=all(member.alert.state is AlertState.STALE for member in members),
        lead=_finding(lead),
        decided={
            m.alert.fingerprint: (m.decision.tier, m.decision.route, m.decision.suppressed_by)
            for m in members
        },
    )


def title_of(labels: Labels) -> str:
    """A short name for an incident: "support: error rate (staging)"."""
    parts = [labels.get("service", ""), labels.get("signal", "").replace("_", " ")]
    title = ": ".join(part for part in parts if part) or "unlabelled alert"
    env = labels.get("env", "")
    return f"{title} ({env})" if env and env != "prod" else title


def _fingerprint(member: Routed) -> str:
    return member.alert.fingerprint


def _told(decision: Decision) -> tuple[object, ...]:
    """Who is told, and what is done."""
    return decision.receivers, decision.policy, decision.digest, decision.run


def _urgency(member: Routed) -> tuple[int, bool, float, str]:
    alert, decision = member.alert, member.decision
    return (
        decision.tier,
        alert.state is AlertState.STALE,
        -(alert.score or 0.0),
        alert.fingerprint,
    )


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _shared(members: Sequence[Routed]) -> dict[str, str]:
    """Labels that every member has with the same value; the tier is the incident's to say."""
    shared = {n: text for n, text in members[0].decision.labels.items() if n != "tier"}
    for member in members:
        labels = member.decision.labels
        if not shared.items() <= labels.items():
            shared = {n: text for n, text in shared.items() if labels.get(n) == text}
    return shared


def _finding(lead: Routed) -> dict[str, Any]:
    """What a message needs to explain itself (JSON)."""
    alert = lead.alert
    return {
        "fingerprint": alert.fingerprint,
        "monitor": alert.labels.get("monitor", ""),
        "state": alert.state.value,
        "since": iso(alert.since),
        "value": alert.value,
        "expected": alert.expected,
        "unit": alert.unit,
        "score": alert.score,
        "reason": alert.reason,
        "decision": lead.decision.reason,
        "trail": list(lead.decision.trail),
        "evidence": dict(alert.evidence),
    }
