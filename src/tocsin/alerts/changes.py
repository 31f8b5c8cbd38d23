"""What can happen to an incident, in nouns: changes, what is told about them, and time spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from tocsin.domain.findings import Alert, Incident

SnapshotOf = Callable[[str], Mapping[str, Any] | None]


class Tell(StrEnum):
    """What receivers are to hear about a change.

    TRIGGER: everybody, as something new. JOIN: only receivers that do not know of it yet. UPDATE:
    those who know, in place. ACKNOWLEDGE: those who know, that a person has it in hand. RESOLVE:
    those who know, that it is over.
    """

    NOTHING = ""
    TRIGGER = "trigger"
    JOIN = "join"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class IncidentConfig:
    """Time spans of an incident's life; see `Defaults` of the routing policy. 0 flaps: off."""

    group_by: tuple[str, ...] = ("service", "env", "signal")
    group_wait: timedelta = timedelta(seconds=20)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    cooldown: timedelta = timedelta(minutes=30)
    flap_changes: int = 4
    flap_within: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """One transition: from `before` (None: new) to `after`, what happened, and why.

    event: opened, reopened, raised, eased, ack_expired, suppressed, unsuppressed, stale, flapping,
    held, joined, updated, rerouted, reminded, recovered, resolved, closed, and those of
    `alerts.responder`. decided: alerts whose decision is new or changed, to be recorded.
    """

    before: Incident | None
    after: Incident
    event: str
    reason: str
    tell: Tell = Tell.NOTHING
    decided: tuple[str, ...] = ()
    actor: str = "engine"

    @property
    def expect_version(self) -> int | None:
        """For `StateTransaction.put_incident`."""
        return None if self.before is None else self.before.version


@dataclass(frozen=True, slots=True)
class IncidentChanges:
    """What a fold did: changes in the order to write them, and alerts that found their incident."""

    changes: tuple[IncidentChange, ...]
    assigned: tuple[Alert, ...]
