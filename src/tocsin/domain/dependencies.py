"""What services use and do not own (a provider, a vector database, a gateway), and how it fares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class DependencyState(StrEnum):
    """What is said of a dependency, from best to worst; unknown is not on that scale."""

    OPERATIONAL = "operational"
    MAINTENANCE = "maintenance"
    DEGRADED = "degraded"
    OUTAGE = "outage"
    UNKNOWN = "unknown"


_SEVERITY = {state: rank for rank, state in enumerate(DependencyState)}
_SEVERITY[DependencyState.UNKNOWN] = -1


@dataclass(frozen=True, slots=True)
class DependencyStatus:
    """What one source says of one dependency: a fact that explains, never an alert.

    dependency: as a Service calls it (`provider`, `dependsOn`). source: the name of the Source that
    says so; by: what that is ("status page", "probe"). since: from when on it is in this state. at:
    when it was asked. until: how long the answer holds without being asked again. reason: in words.
    """

    dependency: str
    source: str
    by: str
    state: DependencyState
    since: datetime
    at: datetime
    until: datetime
    reason: str = ""
    link: str = ""

    def seen(self, now: datetime) -> DependencyStatus:
        """The same, as far as it is known at `now`: an old answer is none."""
        if self.state is DependencyState.UNKNOWN or now <= self.until:
            return self
        reason = f"not asked since {self.at:%H:%M} UTC"
        return replace(self, state=DependencyState.UNKNOWN, since=self.until, reason=reason)

    def __str__(self) -> str:
        """In words: "openai's status page: outage since 12:03 UTC: Elevated error rates"."""
        text = f"{self.dependency}'s {self.by}: {self.state}"
        if self.state is not DependencyState.OPERATIONAL:
            text += f" since {self.since:%H:%M} UTC"
        return f"{text}: {self.reason}" if self.reason else text


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependency as it stands: by everything said of it (the worst first), and who uses it."""

    name: str
    state: DependencyState
    said: tuple[DependencyStatus, ...]
    services: tuple[str, ...]


def about(
    statuses: Iterable[DependencyStatus], dependency: str, now: datetime
) -> Sequence[DependencyStatus]:
    """What is known of a dependency at `now`, the worst first."""
    found = [status.seen(now) for status in statuses if status.dependency == dependency]
    return sorted(found, key=lambda status: (-_SEVERITY[status.state], status.source))


def standing(statuses: Iterable[DependencyStatus]) -> DependencyState:
    """How a dependency is, by everything that is known of it now: see `about`.

    The worst that a source says. Of a source with several targets an outage is one of them all;
    while others answer it is degraded. Unknown when nothing is known.
    """
    by_source: dict[str, set[DependencyState]] = {}
    for status in statuses:
        if status.state is not DependencyState.UNKNOWN:
            by_source.setdefault(status.source, set()).add(status.state)
    worst = [_of_targets(states) for states in by_source.values()]
    return max(worst, key=_SEVERITY.__getitem__, default=DependencyState.UNKNOWN)


def _of_targets(states: set[DependencyState]) -> DependencyState:
    if DependencyState.OUTAGE in states and len(states) > 1:
        return DependencyState.DEGRADED
    return max(states, key=_SEVERITY.__getitem__)
