"""The state of a health score over time: one that neither flickers nor hides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tocsin.assess.health import Health, HealthConfig, State


@dataclass(frozen=True, slots=True)
class HealthTrack:
    """A state that is entered after a while below its threshold and left well above it.

    state: what is told. minutes: how long the score has asked for `towards`. flips: how often the
    state has changed.
    """

    state: State = "ok"
    towards: State = "ok"
    minutes: int = 0
    flips: int = 0


_RANK: Mapping[State, int] = {"ok": 0, "warning": 1, "critical": 2}


def follow(config: HealthConfig, track: HealthTrack, now: Health) -> HealthTrack:
    """The state after one more minute. Unknown and idle hold at once, and end at once."""
    if now.score is None:
        return _moved(track, now.state)
    if track.state not in _RANK:
        return _moved(track, now.state)
    asked = _asked(config, track.state, now)
    if asked == track.state:
        return replace(track, towards=track.state, minutes=0)
    minutes = track.minutes + 1 if asked == track.towards else 1
    worse = _RANK[asked] > _RANK[track.state]
    needed = config.enter_minutes if worse else config.leave_minutes
    if minutes >= needed:
        return _moved(track, asked)
    return replace(track, towards=asked, minutes=minutes)


def _moved(track: HealthTrack, state: State) -> HealthTrack:
    return HealthTrack(state, state, 0, track.flips + (state != track.state))


def _asked(config: HealthConfig, held: State, now: Health) -> State:
    """The state that a score asks for, given the one that is held.

    To enter, an interval has to lie below the threshold (or little above it) too; to leave, the
    score has to lie well above.
    """
    score = now.score or 0.0
    upper = score if now.high is None else now.high
    for state, limit in (("critical", config.critical), ("warning", config.warning)):
        named: State = "critical" if state == "critical" else "warning"
        if _RANK[held] >= _RANK[named]:
            if score <= limit + config.hysteresis:
                return named
        elif score < limit and upper < limit + config.hysteresis:
            return named
    return "ok"
