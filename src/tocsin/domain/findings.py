"""What Tocsin finds and what becomes of it: verdict -> alert -> incident -> decision -> effect.

All frozen. Every state here is JSON-able by `dataclasses.asdict`, apart from datetimes, which the
state store writes as RFC 3339 text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Labels = Mapping[str, str]
Decided = tuple[int, str, str]  # about an alert: tier, route, suppressed by


class Judgement(StrEnum):
    """What a monitor says. Unknown is its own answer: never green, never red."""

    OK = "ok"
    BREACH = "breach"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One monitor's answer at one minute.

    monitor: unique name of the monitor, e.g. "slo/support-availability".
    signal: the routing vocabulary (error_rate, latency_p95, cost, feedback, slo_burn, ...).
    severity: "page" | "ticket": what the monitor asks for, which routing may lower or raise.
    value, expected: in the unit named by `unit`; score: evidence as -log10 p where there is one.
    window: epoch minutes [from, to) that the answer rests on.
    sustains: an OK that is not well enough to end an alert (hysteresis); it opens none.
    """

    monitor: str
    service: str
    signal: str
    judgement: Judgement
    minute: int
    severity: str = "ticket"
    value: float | None = None
    expected: float | None = None
    unit: str = ""
    score: float | None = None
    window: tuple[int, int] = (0, 0)
    reason: str = ""
    labels: Labels = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    sustains: bool = False


class AlertState(StrEnum):
    """Pending waits for its `for:`; stale is a firing alert whose source fell silent."""

    PENDING = "pending"
    FIRING = "firing"
    STALE = "stale"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """A breach with an identity. The fingerprint is over identity labels, never over value."""

    fingerprint: str
    labels: Labels
    state: AlertState
    since: datetime
    updated: datetime
    severity: str
    value: float | None = None
    expected: float | None = None
    unit: str = ""
    score: float | None = None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    incident_id: str = ""
    last_breach: datetime | None = None


class IncidentState(StrEnum):
    """Life of an incident (DESIGN section 3). Suppression is a separate dimension."""

    OPEN = "open"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MITIGATING = "mitigating"
    RECOVERED = "recovered"
    RESOLVED = "resolved"
    CLOSED = "closed"

    @property
    def is_live(self) -> bool:
        """Whether something is still wrong or waits for a person."""
        return self not in (IncidentState.RESOLVED, IncidentState.CLOSED)


@dataclass(frozen=True, slots=True)
class Incident:
    """Episode n of a group of alerts.

    id: f"{group_key}-{episode}". version: for compare-and-set. policy: snapshot of the escalation
    steps taken when the incident opened. step: next escalation step to run. decided: what was last
    decided about those of its alerts that fire, by fingerprint.
    """

    id: str
    group_key: str
    episode: int
    state: IncidentState
    title: str
    labels: Labels
    tier: int
    opened: datetime
    updated: datetime
    alerts: tuple[str, ...] = ()
    decided: Mapping[str, Decided] = field(default_factory=dict)
    receivers: tuple[str, ...] = ()
    policy: Mapping[str, Any] | None = None
    step: int = 0
    route: str = ""
    reason: str = ""
    suppressed_by: str = ""
    acknowledged_by: str = ""
    acknowledged_until: datetime | None = None
    resolved: datetime | None = None
    version: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What routing said about one alert, and why, in names a person can look up.

    tier: 1 page now, 2 tell a channel within the hour, 3 digest or dashboard.
    receivers: notified at once. policy: escalation policy name, or "". digest: digest name, or "".
    suppressed_by: "" | "silence:…" | "inhibition:…" | "maintenance:…" | "mode:observe".
    trail: the rules that matched, in order.
    """

    tier: int
    receivers: tuple[str, ...]
    policy: str = ""
    digest: str = ""
    run: tuple[str, ...] = ()
    labels: Labels = field(default_factory=dict)
    auto_resolve: bool = True
    suppressed_by: str = ""
    route: str = ""
    reason: str = ""
    trail: tuple[str, ...] = ()

    def labelled(self, labels: Labels) -> Decision:
        """The same about an alert with these labels. `replace` takes three times as long."""
        return Decision(
            self.tier, self.receivers, self.policy, self.digest, self.run, labels,
            self.auto_resolve, self.suppressed_by, self.route, self.reason, self.trail,
        )  # fmt: skip


class EffectState(StrEnum):
    """Life of an effect: ready -> leased -> done | cancelled | dead, or back to ready."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    CANCELLED = "cancelled"
    DEAD = "dead"


# The last lane: changes for pagers, pictures, mails to subscribers. They go another way than what
# is told about incidents, and nobody who was called waits for them, so that whether they arrive
# says nothing of whether a page would, and they hold nothing up.
ASIDE = 9


@dataclass(frozen=True, slots=True)
class NewEffect:
    """A durable thing to do, before the state store gave it an id.

    key: stable over retries; the idempotency key towards the receiver.
    kind: notify | escalate | digest. action: trigger | update | acknowledge | resolve.
    guard: what must still hold when it is claimed, e.g. {"incident_version_max": …} or
    {"state": "triggered", "episode": 3, "step": 1}; a guard that fails cancels the effect.
    lane: the tier, so that digests never delay pages.
    """

    key: str
    kind: str
    receiver: str
    incident_id: str
    action: str
    due: datetime
    lane: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    guard: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One line of the audit trail, before the chain gave it a number and a hash."""

    at: datetime
    kind: str
    actor: str
    subject: str
    reason: str
    data: Mapping[str, Any] = field(default_factory=dict)


# What of an alert's evidence names the parts that were not found out in time.
MISSING = "evidence_missing"


def fingerprint(labels: Labels) -> str:
    """Identity of a set of labels: 16 hex digits of SHA-256 over sorted, length-prefixed pairs."""
    digest = hashlib.sha256()
    for name in sorted(labels):
        for part in (name, labels[name]):
            raw = part.encode()
            digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.hexdigest()[:16]


def services_of(incident: Incident) -> frozenset[str]:
    """What it is about; of a dependency that failed the services that it took along."""
    explained = incident.evidence.get("services")
    if isinstance(explained, list | tuple) and explained:
        return frozenset(map(str, explained))
    return frozenset({incident.labels.get("service", "")})


def example_calls(evidence: Mapping[str, Any]) -> list[str]:
    """The calls, TRACE/SPAN, that evidence gives as examples of what it found, the best first:
    of features that drifted, and of keys that use more than the crowd."""
    drifted = [one for one in evidence.get("features", ()) if one.get("drifted")]
    named = [name for feature in drifted for name in feature.get("examples", ())]
    named += [key.get("example", "") for key in evidence.get("keys", ())]
    return [name for name in dict.fromkeys(map(str, named)) if all(name.partition("/"))]
