"""The state of a health score over time: one that neither flickers nor hides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tocsin.assess.health import Health, HealthConfig, State

_STATES: tuple[State, ...] = ("ok", "warning", "critical")
_RANK: Mapping[State, int] = {state: rank for rank, state in enumerate(_STATES)}


@dataclass(frozen=True, slots=True)
class HealthTrack:
    """A state that is entered after a while below its threshold and left well above it.

    state: what is told. known: the last of ok, warning and critical, which not knowing does not
    change; "unknown" before the first. runs: of ok, warning and critical, for how many minutes in a
    row the score has asked for at least that, or, below 0, for less. flips: how often the state has
    changed.

    Each level is counted by itself: a score that moves about a threshold below another one asks for
    one or the other every minute, and for at least the milder of the two all the time.
    """

    state: State = "unknown"
    known: State = "unknown"
    runs: tuple[int, int, int] = (0, 0, 0)
    flips: int = 0

    @property
    def is_moving(self) -> bool:
        """Whether the score asked for another state than the known one in the last minute."""
        rank = _RANK.get(self.known, -1)
        return any(run > 0 if level > rank else run < 0 for level, run in enumerate(self.runs))


def track_of(kept: Mapping[str, Any]) -> HealthTrack:
    """A track from its fields as plain data, those kept before levels were counted among
    them: the state `towards` which the score was moving, for so many `minutes`."""
    if "runs" in kept:
        ok, warning, critical = kept["runs"]
        runs = (int(ok), int(warning), int(critical))
    else:
        towards, minutes = _RANK.get(kept["towards"], -1), int(kept["minutes"])
        ok, warning, critical = (minutes if level <= towards else -minutes for level in range(3))
        runs = (ok, warning, critical)
    return HealthTrack(kept["state"], kept["known"], runs, int(kept["flips"]))


def follow(config: HealthConfig, track: HealthTrack, now: Health) -> HealthTrack:
    """The state after one more minute.

    Unknown and idle hold at once. When something is known again the last known state holds until
    the score has asked for another one for as long as ever: a minute without data proves nothing,
    and neither does the first minute of all.
    """
    if now.score is None:
        return _moved(replace(track, runs=(0, 0, 0)), now.state)
    asked = _RANK[_asked(config, track.known, now)]
    ok, warning, critical = (
        max(run, 0) + 1 if asked >= level else min(run, 0) - 1
        for level, run in enumerate(track.runs)
    )
    after = replace(track, runs=(ok, warning, critical))
    known = _known(config, after, asked)
    return _moved(replace(after, known=known), known)


def _known(config: HealthConfig, track: HealthTrack, asked: int) -> State:
    """What is known after a minute that asked for a rank: that one, when nothing better (or, to
    leave, nothing worse) was asked for for long enough.

    A state between is not entered on the way to another one, which takes no longer.
    """
    rank = _RANK.get(track.known, -1)
    is_entered = asked > rank and track.runs[asked] >= config.enter_minutes
    is_left = asked < rank and track.runs[asked + 1] <= -config.leave_minutes
    return _STATES[asked] if is_entered or is_left else track.known


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
