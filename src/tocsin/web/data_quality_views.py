"""What the page and the API show of how good the telemetry itself is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class FieldQuality:
    """How often calls leave out what they could tell.

    indicator: the name by which objectives and detectors watch it. calls: that could tell it.
    share, before: of those that do not, now and in the day before; None when there were none.
    state: `risen` when it is more than chance explains, `unknown` when no call could tell it.
    """

    indicator: str
    title: str
    missing: int
    calls: int
    share: float | None
    before: float | None
    state: Literal["steady", "risen", "unknown"]


@dataclass(frozen=True, slots=True)
class ServiceQuality:
    """The telemetry of one service. ahead: calls that began after they were received, by the
    sender's clock. late: received more than ten minutes after they ended. repeated: calls of a span
    that counts already; an estimate when `one_id_in` is above 1. scores: received in the window;
    unplaced: those whose call is not known. scopes: instrumentation and version.
    """

    project: str
    service: str
    calls: int
    fields: tuple[FieldQuality, ...]
    ahead: int
    late: int
    repeated: int
    one_id_in: int
    scores: int
    unplaced: int
    new_attributes: tuple[str, ...]
    vanished_attributes: tuple[str, ...]
    new_scopes: tuple[str, ...]
    vanished_scopes: tuple[str, ...]

    @property
    def has_changed(self) -> bool:
        """Whether the service tells something else, or less, than it did, or something twice."""
        names = (*self.new_scopes, *self.vanished_scopes, *self.vanished_attributes)
        return bool(names or self.repeated) or any(field.state == "risen" for field in self.fields)


@dataclass(frozen=True, slots=True)
class SetAsideRow:
    """Items that were set aside, by what they were and why; numbers within a reason are `#`."""

    project: str
    source: str
    reason: str
    items: int


@dataclass(frozen=True, slots=True)
class DataQualityView:
    """Every service with calls or scores in [start, stop), those that changed first. crowded: which
    segments detectors do not judge, in words."""

    start: datetime
    stop: datetime
    services: tuple[ServiceQuality, ...]
    set_aside: tuple[SetAsideRow, ...]
    crowded: tuple[str, ...] = ()
