"""What page budgets learn from: evidence hour by hour, and what people said of incidents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class EvidenceDay:
    """One day (UTC) of one monitor whose evidence is -log10 p.

    day: days since 1970. hours: bit h is set when it could judge in hour h. peaks: the highest
    evidence of each hour that had some worth keeping; an hour that was judged and is not here
    stayed below what the detectors listen for.
    """

    monitor: str
    day: int
    hours: int = 0
    peaks: Mapping[int, float] = field(default_factory=dict)

    def joined(self, other: EvidenceDay) -> EvidenceDay:
        """Both together, in any order and any number of times."""
        hours = self.peaks.keys() | other.peaks.keys()
        peaks = {h: max(self.peaks.get(h, 0.0), other.peaks.get(h, 0.0)) for h in sorted(hours)}
        return EvidenceDay(self.monitor, self.day, self.hours | other.hours, peaks)


@dataclass(frozen=True, slots=True)
class Review:
    """An incident, and what people made of it.

    monitor: the one that spoke for it. tier: 1 is a page. verdict: the last that a responder gave:
    real, false, duplicate or noise; "" for none. acknowledged: somebody took it.
    """

    incident_id: str
    service: str
    monitor: str
    signal: str
    team: str
    tier: int
    opened: datetime
    resolved: datetime | None
    acknowledged: bool = False
    verdict: str = ""

    @property
    def is_real(self) -> bool | None:
        """Whether it was a real one; who acknowledges and says nothing else is believed. None:
        nobody looked, or nobody said."""
        if self.verdict:
            return self.verdict in ("real", "duplicate")
        return True if self.acknowledged else None
