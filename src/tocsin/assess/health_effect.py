"""What a changed formula would have done to the past: the same readings, scored both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.assess.burn import span
from tocsin.assess.health import HealthConfig, Reading, health
from tocsin.assess.health_state import HealthTrack, follow

STATES = ("ok", "warning", "critical", "unknown", "idle")
_GAP = 30  # minutes without a sample that are nobody's


@dataclass(frozen=True, slots=True)
class Past:
    """A score over a stretch of time. minutes: in each state. changes: epoch minute and the state
    that began. mean: over minutes with a score, None without any."""

    minutes: Mapping[str, int]
    changes: tuple[tuple[int, str], ...]
    mean: float | None


@dataclass(frozen=True, slots=True)
class HealthEffect:
    """One health score before and after a change. missing: components of the new formula that were
    not measured in that time: what they would have said nobody knows."""

    name: str
    since: int
    until: int
    before: Past
    after: Past
    missing: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        moved = [
            f"{state} {span(self.before.minutes.get(state, 0))} -> "
            f"{span(self.after.minutes.get(state, 0))}"
            for state in STATES
            if self.before.minutes.get(state, 0) or self.after.minutes.get(state, 0)
        ]
        means = [_number(past.mean) for past in (self.before, self.after)]
        counts = f"{len(self.before.changes)} -> {len(self.after.changes)}"
        text = (
            f"HealthScore {self.name}, {span(self.until - self.since)} scored both ways:"
            f" {', '.join(moved) or 'nothing is known'};"
            f" mean {means[0]} -> {means[1]}; changes of state {counts}"
        )
        if self.missing:
            text += f"; not measured then: {', '.join(self.missing)}"
        return text


def rescored(config: HealthConfig, samples: Sequence[tuple[int, Mapping[str, Reading]]]) -> Past:
    """The past by `config`. samples: minute, and what counted of every component, oldest first.

    What was read holds until the next sample, for half an hour at most.
    """
    track = HealthTrack()
    told: list[tuple[int, str, float | None]] = []
    for place, (minute, read) in enumerate(samples):
        after = samples[place + 1][0] if place + 1 < len(samples) else minute + 1
        found = health(config, read)
        for at in range(minute, min(after, minute + _GAP)):
            track = follow(config, track, found)
            told.append((at, track.state, found.score))
    return past_of(told)


def past_of(told: Iterable[tuple[int, str, float | None]]) -> Past:
    """Minutes as they were told, (minute, state, score) in order, added up."""
    minutes: dict[str, int] = {}
    changes: list[tuple[int, str]] = []
    scores: list[float] = []
    before = ""
    for at, state, score in told:
        minutes[state] = minutes.get(state, 0) + 1
        if state != before:
            changes.append((at, state))
        before = state
        if score is not None:
            scores.append(score)
    mean = sum(scores) / len(scores) if scores else None
    return Past(minutes, tuple(changes[1:]), mean)  # the first is no change


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
