"""A health score as something that is watched: how its components are measured, and over what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from tocsin.assess.health import HealthConfig
from tocsin.assess.monitor import DetectorConfig, Monitor
from tocsin.domain.series import Ratio, SeriesId

Counted = tuple[SeriesId, Ratio]


@dataclass(frozen=True, slots=True)
class Measured:
    """How one component is measured.

    kind: latency is a `quantile` of the service's calls, in units of `unit_ms`; bad and good are
    shares of the calls of the first series; mean is that of the first pair of `series`, values and
    their squares, that has any; budget is what is left of `objective`'s; finding is 1 while the
    monitor `finds` has found something, else 0.
    """

    metric: str
    kind: Literal["latency", "bad", "good", "mean", "budget", "finding"]
    quantile: float = 0.95
    unit_ms: float = 1.0
    series: tuple[Counted, ...] = ()
    objective: Monitor | None = None
    finds: str = ""


@dataclass(frozen=True, slots=True)
class HealthScoreConfig(DetectorConfig):
    """A health score. measured: its components, as far as a server can measure them. calls: what
    counts the calls of its service. alerts: whether anybody is told of its state; else it runs in
    shadow. digest: of the formula, written down with every score.
    """

    kind: ClassVar[str] = "health_score"
    needs: ClassVar[Literal["counts", "pace", "gauge", "samples", "budget", "others"]] = "others"
    signal: ClassVar[str] = "health_score"

    health: HealthConfig
    measured: tuple[Measured, ...]
    calls: Counted
    window_minutes: int = 15
    alerts: bool = False
    digest: str = ""

    @property
    def own(self) -> tuple[Counted, ...]:
        """Everything that is counted for it."""
        return tuple(dict.fromkeys((self.calls, *(s for m in self.measured for s in m.series))))


def health_monitors(monitors: Iterable[Monitor]) -> tuple[Monitor, ...]:
    """Those of `monitors` that are health scores."""
    return tuple(m for m in monitors if isinstance(m.method, HealthScoreConfig))


def config_of(monitor: Monitor) -> HealthScoreConfig:
    """Of a health score; TypeError for any other monitor."""
    if not isinstance(monitor.method, HealthScoreConfig):
        raise TypeError(f"{monitor.name} is no health score")
    return monitor.method
