"""The state of a health score over time: one that neither flickers nor hides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tocsin.assess.health import Health, HealthConfig, State

_RANK: Mapping[State, int] = {"ok": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class HealthTrack:
    """A state that is entered after a while below its threshold and left well above it.

    state: what is told. known: the last of ok, warning and critical, which not knowing does not
    change; "unknown" before the first. towards: what the score asks for, and for how many `minutes`
    in a row. flips: how often the state has changed.
    """

    state: State = "unknown"
    known: State = "unknown"
    towards: State = "unknown"
    minutes: int = 0
    flips: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether a first state was found."""
        return self.known in _RANK


def follow(config: HealthConfig, track: HealthTrack, now: Health) -> HealthTrack:
    """The state after one more minute.

    Unknown and idle hold at once. When something is known again the last known state holds until
    the score has asked for another one for as long as ever: a minute without data proves nothing,
    and neither does the first minute of all.
    """
    if now.score is None:
        return _moved(replace(track, towards=track.known, minutes=0), now.state)
    asked = _asked(config, track.known, now)
    if asked == track.known:
        return _moved(replace(track, towards=asked, minutes=0), asked)
    minutes = track.minutes + 1 if asked == track.towards else 1
    if minutes >= _needed(config, track.known, asked):
        return _moved(replace(track, known=asked, towards=asked, minutes=0), asked)
    return _moved(replace(track, towards=asked, minutes=minutes), track.known)


def _needed(config: HealthConfig, known: State, asked: State) -> int:
    if known not in _RANK or _RANK[asked] > _RANK[known]:
        return config.enter_minutes
    return config.leave_minutes


def _moved(track: HealthTrack, state: State) -> HealthTrack:
    return replace(track, state=state, flips=track.flips + (state != track.state))


def _asked(config: HealthConfig, held: State, now: Health) -> State:
    """The state that a score asks for, given the one that is held.

    To enter, an interval has to lie below the threshold (or little above it) too; to leave, the
    score has to lie well above.
    """
    score = now.score or 0.0
    upper = score if now.high is None else now.high
    rank = _RANK.get(held, 0)
    for state, limit in (("critical", config.critical), ("warning", config.warning)):
        named: State = "critical" if state == "critical" else "warning"
        if rank >= _RANK[named]:
            if score <= limit + config.hysteresis:
                return named
        elif score < limit and upper < limit + config.hysteresis:
            return named
    return "ok"
