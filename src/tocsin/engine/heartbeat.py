"""What a house found at its last minute, and how its heart beats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tocsin.domain.findings import Judgement, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last tick found: at which minute, every verdict that is not ok, by monitor."""

    minute: int
    verdicts: Mapping[str, Verdict]

    @classmethod
    def of(cls, minute: int, verdicts: Iterable[Verdict]) -> Standing:
        """Of everything that was judged, those included that only sustain what is firing."""
        found = {v.monitor: v for v in verdicts if v.judgement is not Judgement.OK}
        return cls(minute, found)


@dataclass(slots=True)
class Pulse:
    """How the heart beats: ticks that failed, and how long the last one that judged took."""

    failures: int = 0
    duration_s: float = 0.0
