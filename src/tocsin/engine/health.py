"""Health scores of a running server, for people: what they are, were, and are made of.

What a score is now comes from what the last tick judged; its state, which depends on the minutes
before, from what the process that decides has kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.assess.health import Health, HealthConfig
from tocsin.assess.health_monitor import config_of, health_monitors
from tocsin.assess.monitor import Monitor
from tocsin.domain.health import HealthSample
from tocsin.engine.house import House
from tocsin.engine.scoring import document_of, score_at, standing_of

STALE = 15  # minutes after which a sample says nothing of now


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A health score of a service as it stands.

    minutes: how far back it looks. state: as it is told: entered and left after a while; that of
    `health` is the score's own at this minute. since: the epoch minute it was last written down.
    moved: what made the state what it is.
    """

    name: str
    title: str
    service: str
    minutes: int
    health: Health
    state: str
    is_shadow: bool
    formula: str
    config: HealthConfig
    minute: int
    moved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warning(self) -> float:
        """Below it the state is warning, in points."""
        return self.config.warning

    @property
    def critical(self) -> float:
        """Below it the state is critical, in points."""
        return self.config.critical


def service_health(house: House, service: str = "") -> list[ServiceHealth]:
    """Every health score of a service, or of all services, after the last judged minute.

    Documents that name no service are about none, and only `tocsin score` computes them.
    """
    newest = house.state.newest_health()
    with house.undisturbed():  # a tick moves the window
        return [
            _standing(house, monitor, newest.get(document_of(monitor)))
            for monitor in health_monitors(house.rules.monitors.monitors)
            if service in ("", monitor.service)
        ]


def _standing(house: House, monitor: Monitor, sample: HealthSample | None) -> ServiceHealth:
    config, minute = config_of(monitor), house.standing.minute
    kept = None if sample is None else standing_of(sample, config)
    last = kept.last if kept is not None else {}
    _, found = score_at(monitor, house.window, minute, house.standing.verdicts, last)
    state: str = found.state if found.score is None else "unknown"
    is_followed = kept is not None and kept.minute >= minute - STALE
    if kept is not None and is_followed and found.score is not None:
        state = kept.track.known
    return ServiceHealth(
        name=document_of(monitor),
        title=monitor.title,
        service=monitor.service,
        minutes=config.window_minutes,
        health=found,
        state=state,
        is_shadow=not config.alerts,
        formula=config.digest,
        config=config.health,
        minute=minute,
        moved=kept.moved if kept is not None else {},
    )
