"""What is known about how a page came about: the nouns of `tocsin why`, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.domain.findings import IncidentState
from tocsin.engine.rederive import Answer, Rederived


@dataclass(frozen=True, slots=True)
class VerdictSeen:
    """What the monitor said when the alert began. score: -log10 p where there is one."""

    at: datetime
    monitor: str
    severity: str
    value: float | None
    expected: float | None
    unit: str
    score: float | None
    reason: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DecisionSeen:
    """One recorded decision, its ledger entry, and what came of deriving it again."""

    at: datetime
    entry: int
    hash: str
    config: str
    tier: int
    route: str
    receivers: tuple[str, ...]
    policy: str
    digest: str
    suppressed_by: str
    reason: str
    facts: Mapping[str, float]
    again: Rederived


@dataclass(frozen=True, slots=True)
class AlertSeen:
    """One alert of the incident. decisions: oldest first."""

    fingerprint: str
    verdict: VerdictSeen | None
    decisions: tuple[DecisionSeen, ...]


@dataclass(frozen=True, slots=True)
class CallSeen:
    """One step of the escalation: who was meant, who that was. gap: why there was nobody."""

    after_s: float
    receivers: tuple[str, ...]
    who: tuple[str, ...]
    people: tuple[str, ...]
    gap: str
    repeat: int


@dataclass(frozen=True, slots=True)
class MessageSeen:
    """What was sent. at: when it was settled, or is due. state and outcome: how it went."""

    at: datetime
    receiver: str
    action: str
    state: str
    outcome: str
    attempts: int
    people: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class AnswerSeen:
    """What a person did, or that nobody did in time."""

    at: datetime
    kind: str
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfigSeen:
    """A configuration that decided: who put it in force, when and why."""

    digest: str
    at: datetime | None
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Why:
    """Everything that led to an incident being told, or not.

    answer: of all its decisions and its escalation together. chain: "" or what is wrong with the
    ledger entries this rests on.
    """

    incident: str
    title: str
    state: IncidentState
    tier: int
    opened: datetime
    suppressed_by: str
    answer: Answer
    answer_why: str
    chain: str
    alerts: tuple[AlertSeen, ...]
    policy: str
    calls: tuple[CallSeen, ...]
    calls_again: Rederived | None
    messages: tuple[MessageSeen, ...]
    answers: tuple[AnswerSeen, ...]
    configs: tuple[ConfigSeen, ...]
