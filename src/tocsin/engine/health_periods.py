"""A health score over days, by the samples that were kept of it: for reports.

What pages showed and alerts were about is what a report says, added up; it computes no score anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.assess.health_effect import Past, past_of
from tocsin.domain.health import HealthSample
from tocsin.engine.scoring import EVERY, least_of

_HOLDS = 2 * EVERY  # minutes that a sample speaks for when none follows


@dataclass(frozen=True, slots=True)
class HealthPeriod:
    """What a score was. past: minutes in each state, and the mean. lowest: of all minutes. lost:
    points that each component cost, in the mean over minutes with a score, the most first."""

    past: Past
    lowest: float | None
    lost: Mapping[str, float]


def period_of(samples: Sequence[HealthSample], start: int, stop: int) -> HealthPeriod:
    """Of epoch minutes [start, stop), by samples that lie `_HOLDS` before them or in them.

    A sample holds until the next one. A minute that no sample speaks for is in no state.
    """
    told: list[tuple[int, str, float | None]] = []
    lost: dict[str, float] = {}
    lowest: list[float] = []
    for sample, minutes in _spans(samples, start, stop):
        told += [(minute, sample.state, sample.score) for minute in minutes]
        least = least_of(sample)
        if least is None or not minutes:
            continue
        lowest.append(least.score if least.since >= start else float(sample.score or 0.0))
        for metric, points in _lost(sample.body).items():
            lost[metric] = lost.get(metric, 0.0) + points * len(minutes)
    scored = sum(score is not None for _, _, score in told)
    costs = {m: lost[m] / scored for m in sorted(lost, key=lambda metric: -lost[metric])}
    return HealthPeriod(past_of(told), min(lowest, default=None), costs)


def _spans(
    samples: Sequence[HealthSample], start: int, stop: int
) -> Iterator[tuple[HealthSample, range]]:
    for place, sample in enumerate(samples):
        after = samples[place + 1].minute if place + 1 < len(samples) else stop
        yield sample, range(max(sample.minute, start), min(after, sample.minute + _HOLDS, stop))


def _lost(body: Mapping[str, Any]) -> Mapping[str, float]:
    """Points that each component took from a weighted sum."""
    weights: Mapping[str, float] = body["weights"]
    scores: Mapping[str, float | None] = body["scores"]
    return {m: weights.get(m, 0.0) * (100.0 - s) for m, s in scores.items() if s is not None}
